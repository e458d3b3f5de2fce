"""Mathematical functions of one operand, and rounding."""

import numpy as np
from scipy import special

from ..registry import Make, Sample, op


def _unary(name, ref, *, low=-2.0, high=2.0, dtypes="any", **options):
    """Shapes of all kinds, with values in a domain away from kinks and poles."""

    @op(name, ref=ref, dtypes=dtypes, **options)
    def _(make: Make):
        yield Sample(make(3, 4, low=low, high=high))
        yield Sample(make(low=low, high=high))
        yield Sample(make(2, 1, 3, low=low, high=high))
        yield Sample(make(0, 3, low=low, high=high))


NO_BOOL = {"bool": "PyTorch raises for bools"}
NOT_FINITE = dict.fromkeys(
    ("gradcheck", "gradgradcheck", "jvp", "modes"), "differences of infinities and NaN tell nothing"
)

_unary("neg", lambda x: -x, skip=NO_BOOL)
_unary("positive", lambda x: +x, skip=NO_BOOL)
_unary("abs", np.abs, low=0.5, skip=NO_BOOL)
_unary("sign", lambda x: np.sign(x.astype(float)), low=0.5)
_unary("square", lambda x: x * x, skip=NO_BOOL)
_unary("reciprocal", lambda x: 1.0 / x, low=0.5, skip={"bool": "1 / 0 at False"})
_unary("sqrt", np.sqrt, low=0.1)
_unary("rsqrt", lambda x: 1.0 / np.sqrt(x), low=0.3, skip={"bool": "1 / 0 at False"})
_unary("exp", np.exp)
_unary("exp2", np.exp2)
_unary("expm1", np.expm1)
_unary("log", np.log, low=0.2, high=4.0)
_unary("log2", np.log2, low=0.2, high=4.0)
_unary("log10", np.log10, low=0.2, high=4.0)
_unary("log1p", np.log1p, low=-0.8, high=4.0, dtypes="float")
_unary("sin", np.sin, low=-4.0, high=4.0)
_unary("cos", np.cos, low=-4.0, high=4.0)
_unary("tan", np.tan, low=-1.2, high=1.2)
_unary("asin", np.arcsin, low=-0.9, high=0.9, dtypes="float")
_unary("acos", np.arccos, low=-0.9, high=0.9, dtypes="float")
_unary("atan", np.arctan)
_unary("sinh", np.sinh)
_unary("cosh", np.cosh)
_unary("tanh", np.tanh)
_unary("asinh", np.arcsinh)
_unary("acosh", np.arccosh, low=1.2, high=4.0, skip={"bool": "NaN at False"})
_unary("atanh", np.arctanh, low=-0.9, high=0.9, dtypes="float")
_unary("erf", special.erf)
_unary("erfc", special.erfc)
_unary("erfinv", special.erfinv, low=-0.9, high=0.9, dtypes="float")
_unary("lgamma", special.gammaln, low=0.3, high=5.0)
_unary("digamma", special.digamma, low=0.3, high=5.0, skip={"bool": "the pole at False"})
_unary("deg2rad", np.deg2rad, low=-400.0, high=400.0)
_unary("rad2deg", np.rad2deg)
_unary("frac", lambda x: x - np.trunc(x), low=0.1, high=0.9, dtypes="float")
_unary("floor", np.floor, low=0.1, high=0.9, skip=NO_BOOL)
_unary("ceil", np.ceil, low=0.1, high=0.9, skip=NO_BOOL)
_unary("trunc", np.trunc, low=0.1, high=0.9, skip=NO_BOOL)


@op("sinc", ref=np.sinc, dtypes="any")
def _(make):
    yield Sample(make(3, 4))
    yield Sample(make())
    yield Sample(make(0, 3))


@op("sinc", ref=np.sinc, skip={"parity_grad": "PyTorch's gradient cancels near 0"})
def _(make):
    yield Sample(np.array([0.0, 1e-9, 1e-4, -1e-2, 0.3]))


@op(
    "polygamma",
    ref=lambda n, x: special.polygamma(n, x),
    dtypes="float|int",
    skip={"parity": "PyTorch's zeta is good to 1e-9"},
)
def _(make):
    yield Sample(0, make(3, 4, low=0.5, high=4.0))
    yield Sample(1, make(2, 3, low=0.5, high=4.0))
    yield Sample(3, make(4, low=1.0, high=4.0))
    yield Sample(2, make(low=1.0, high=4.0))
    yield Sample(1, make(0, 2))


def _logit(x, eps=None):
    return special.logit(x if eps is None else np.clip(x, eps, 1 - eps))


@op("logit", ref=_logit)
def _(make):
    yield Sample(make(3, 4, low=0.05, high=0.95))
    yield Sample(make(low=0.05, high=0.95))
    yield Sample(make(2, 3, low=0.05, high=0.95), 1e-3)
    # Beyond eps the result, and so the gradient, is constant.
    yield Sample(np.array([-0.5, 0.02, 0.3, 0.9, 1.5]), kwargs={"eps": 0.125})
    yield Sample(make(0, 3))


def _round(x, decimals=0):
    return np.round(x.astype(float), decimals)


@op("round", ref=_round, skip=NO_BOOL)
def _(make):
    yield Sample(make(3, 4, low=0.1, high=0.4))
    yield Sample(make(low=0.6, high=0.9))
    yield Sample(np.array([[-7.3, 1.2, 2.8], [1e3, -0.3, 0.7]]))
    yield Sample(make(0, 3))


@op("round", ref=_round, dtypes="float", skip={"f16": "rounds the decimal twice"})
def _(make):
    yield Sample(np.array([1.23456, -2.7182, 0.06]), kwargs={"decimals": 2})
    yield Sample(np.array([1234.5, -271.0, 18.0]), kwargs={"decimals": -2})


@op("round", ref=_round, dtypes="int")
def _(make):
    yield Sample(make(3, 4, low=-5, high=9, kind="int"))


def _nan_to_num(x, nan=0.0, posinf=None, neginf=None):
    return np.nan_to_num(x.astype(float), nan=nan, posinf=posinf, neginf=neginf)


@op("nan_to_num", ref=_nan_to_num, dtypes="any")
def _(make):
    yield Sample(make(3, 4))
    yield Sample(make())
    yield Sample(make(0, 3))


@op("nan_to_num", ref=_nan_to_num)
def _(make):
    yield Sample(make(2, 3), kwargs={"nan": 1.0, "posinf": 5.0, "neginf": -5.0})


@op("nan_to_num", ref=_nan_to_num, skip=NOT_FINITE)
def _(make):
    special_values = np.array([1.0, np.nan, np.inf, -np.inf, -2.0])
    yield Sample(special_values, kwargs={"nan": 1.0, "posinf": 5.0, "neginf": -5.0})
    yield Sample(special_values, 3.0, 4.0, -4.0)
