"""Activations."""

import numpy as np
from scipy import special

from ..registry import Sample, op


def _map(name, ref, *, low=-4.0, high=4.0, dtypes="float", **options):
    @op(name, ref=ref, dtypes=dtypes, **options)
    def _(make):
        yield Sample(make(3, 4, low=low, high=high))
        yield Sample(make(low=low, high=high))
        yield Sample(make(2, 1, 3, low=low, high=high))
        yield Sample(make(0, 3))


NO_BOOL = {"bool": "PyTorch raises for bools"}

_map("sigmoid", special.expit, dtypes="any")
_map("relu", lambda x: np.maximum(x, 0), dtypes="any", skip=NO_BOOL)
_map("relu6", lambda x: np.clip(x, 0, 6), low=-9.0, high=9.0, dtypes="float|int")
_map("silu", lambda x: x * special.expit(x))
_map("mish", lambda x: x * np.tanh(np.logaddexp(0, x)))
_map("softsign", lambda x: x / (1 + np.abs(x)))
_map(
    "hardsigmoid",
    lambda x: np.clip(x + 3, 0, 6) / 6,
    low=-5.0,
    high=5.0,
    skip={"parity_grad": "PyTorch's 1/6 has the precision of float32"},
)
_map("hardswish", lambda x: x * np.clip(x + 3, 0, 6) / 6, low=-5.0, high=5.0)
_map("logsigmoid", special.log_expit)


def _elu(x, alpha=1.0, scale=1.0, k=1.0):
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) * k))


_map(
    "selu", lambda x: _elu(x, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)
)


@op("elu", ref=_elu)
def _(make):
    yield Sample(make(3, 4))
    yield Sample(make(), 0.5)
    yield Sample(make(2, 3, low=-30.0, high=-20.0), kwargs={"alpha": 2.0})
    yield Sample(make(0, 3))


@op("celu", ref=lambda x, alpha=1.0: _elu(x, alpha, k=1 / alpha))
def _(make):
    yield Sample(make(3, 4))
    yield Sample(make(), 0.5)
    yield Sample(make(2, 3), kwargs={"alpha": 2.0})
    yield Sample(make(0, 3))


@op("leaky_relu", ref=lambda x, s=0.01: np.where(x > 0, x, s * x))
def _(make):
    yield Sample(make(3, 4))
    yield Sample(make(), 0.5)
    yield Sample(make(2, 3), -0.25)
    yield Sample(make(0, 3))


@op("prelu", ref=lambda x, w: np.where(x > 0, x, w * x))
def _(make):
    yield Sample(make(3, 4), make(3, 4))
    yield Sample(make(2, 3, 2), make(3, 1))
    yield Sample(make(2, 3), make())
    yield Sample(make(), make())
    yield Sample(make(0, 3), make(1))


@op("hardshrink", ref=lambda x, bound=0.5: np.where(np.abs(x) <= bound, 0, x))
@op("softshrink", ref=lambda x, bound=0.5: x - np.clip(x, -bound, bound))
def _(make):
    yield Sample(make(3, 4))
    yield Sample(make(), 0.25)
    yield Sample(make(2, 3), 0)
    yield Sample(make(0, 3))


@op("threshold", ref=lambda x, t, v: np.where(x > t, x, v), dtypes="float|int")
def _(make):
    yield Sample(make(3, 4), 0, 3)
    yield Sample(make(low=0.5), 1, -1)
    yield Sample(make(0, 3), 0, 0)


@op("threshold", ref=lambda x, t, v: np.where(x > t, x, v))
def _(make):
    yield Sample(make(2, 3), 0.125, 3.5)


@op("hardtanh", ref=lambda x, min_val=-1, max_val=1: np.clip(x, min_val, max_val))
def _(make):
    yield Sample(make(3, 4))
    yield Sample(make(), -0.5, 2.0)
    yield Sample(make(2, 3), kwargs={"min_val": -0.25, "max_val": 0.75})
    yield Sample(make(0, 3))


def _softplus(x, beta=1.0, threshold=20.0):
    return np.where(x * beta > threshold, x, np.logaddexp(0, x * beta) / beta)


@op("softplus", ref=_softplus)
def _(make):
    yield Sample(make(3, 4))
    yield Sample(make(low=-30.0, high=30.0), 2.0)
    yield Sample(make(2, 3, low=-40.0, high=40.0))
    yield Sample(make(2, 3), 0.5, 0.25)
    yield Sample(make(0, 3))


def _gelu(x, approximate="none"):
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return x * special.ndtr(x)


@op("gelu", ref=_gelu)
def _(make):
    yield Sample(make(3, 4, low=-4.0, high=4.0))
    yield Sample(make())
    yield Sample(make(2, 3, low=-4.0, high=4.0), kwargs={"approximate": "tanh"})
    yield Sample(make(5, low=-30.0, high=30.0), kwargs={"approximate": "tanh"})
    yield Sample(make(0, 3))
