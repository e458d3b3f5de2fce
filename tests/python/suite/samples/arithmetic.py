"""Arithmetic of two and three operands, powers, extrema, limits."""

import numpy as np
from scipy import special

from ..registry import Sample, op


def _two(name, ref, *, scalar=2.5, low=-2.0, high=2.0, dtypes="any", **options):
    """Broadcasting in both operands, 0-d, empty, and a number on the right."""

    @op(name, ref=ref, dtypes=dtypes, **options)
    def _(make):
        def number():
            return make(3, 4, low=low, high=high)

        yield Sample(number(), make(4, low=low, high=high))
        yield Sample(make(2, 1, low=low, high=high), make(1, 3, low=low, high=high))
        yield Sample(make(low=low, high=high), make(low=low, high=high))
        yield Sample(make(2, 3, low=low, high=high), make(low=low, high=high))
        yield Sample(make(0, 3), make(3))
        if scalar is not None:
            yield Sample(make(2, 3, low=low, high=high), scalar)


NO_BOOL = {"bool": "PyTorch raises for bools"}
NOT_FINITE = dict.fromkeys(
    ("gradcheck", "gradgradcheck", "jvp", "modes"), "differences of infinities and NaN tell nothing"
)


def _add(x, y, alpha=1):
    return x + alpha * y


_two("add", _add)


@op("add", ref=_add, dtypes="float|int")
def _(make):
    yield Sample(make(2, 3), make(3), kwargs={"alpha": 2})
    yield Sample(make(2, 3), 2, kwargs={"alpha": -1})


@op("add", ref=_add)
def _(make):
    yield Sample(make(2, 3), make(3), kwargs={"alpha": 0.5})
    yield Sample(2.5, make(2, 3), kwargs={"alpha": 0.5})


_two("sub", lambda x, y, alpha=1: x - alpha * y, skip=NO_BOOL)


@op("sub", ref=lambda x, y, alpha=1: x - alpha * y, dtypes="float|int")
def _(make):
    yield Sample(make(2, 3), make(3), kwargs={"alpha": 2})
    yield Sample(3, make(2, 3))


_two("rsub", lambda x, y, alpha=1: y - alpha * x, dtypes="float|int")
_two("mul", lambda x, y: x * y)


@op("mul", ref=lambda x, y: x * y, dtypes="any")
def _(make):
    yield Sample(2, make(2, 3))


_two("div", lambda x, y: x / y, low=0.5, skip={"bool": "1 / 0 at False"})


@op("div", ref=lambda x, y: x / y, dtypes="float|int")
def _(make):
    yield Sample(2, make(2, 3, low=0.5))
    yield Sample(make(2, 3), make(3, low=-2.0, high=-0.5))


def _rounded(x, y, *, rounding_mode):
    return {"floor": np.floor, "trunc": np.trunc}[rounding_mode](x / y)


@op("div", ref=_rounded, dtypes="float|int")
def _(make):
    # The quotients stay away from integers, where the result jumps.
    x, y = np.array([[5.5, -7.25, 9.5], [3.5, -4.75, 1.25]]), np.array([2.0, 2.0, -2.0])
    for mode in ("floor", "trunc"):
        yield Sample(x, y, kwargs={"rounding_mode": mode})
        yield Sample(x, 2, kwargs={"rounding_mode": mode})
        yield Sample(make(0, 3), make(3), kwargs={"rounding_mode": mode})


def _divisions(name, ref, **options):
    @op(name, ref=ref, dtypes="float|int", **options)
    def _(make):
        x = np.array([[5.5, -7.25, 9.5], [3.5, -4.75, 1.25]])
        yield Sample(x, np.array([2.0, 2.0, -2.0]))
        yield Sample(x, 2)
        yield Sample(x, 2.0)
        yield Sample(np.array(7.5), np.array(-2.0))
        yield Sample(make(0, 3), make(3, low=1.0))

    if name == "fmod":
        return

    @op(name, ref=ref, dtypes="float|int", skip={"parity_grad": "PyTorch has none"})
    def _(make):
        yield Sample(7, np.array([2.0, 3.0, -4.0]))


_divisions("floor_divide", lambda x, y: np.floor(x / y), skip={"parity_grad": "PyTorch has none"})
_divisions("remainder", np.mod)
_divisions("fmod", np.fmod)


def _pow(x, y):
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype.kind == "f" or y.dtype.kind == "f":
        return np.power(x.astype(float), y.astype(float))
    return np.power(x.astype(np.int64), y.astype(np.int64))


@op("pow", ref=_pow)
def _(make):
    yield Sample(make(3, 4, low=0.3), make(4))
    yield Sample(make(low=0.3), make())
    yield Sample(make(2, 1, low=0.3), make(1, 3))
    yield Sample(make(0, 3), make(3))
    for exponent in (0, 1, 2, 3, 4, -1, -2):
        yield Sample(make(3, 2), exponent)
    for exponent in (0.5, 2.0, -0.5, 1.5, -1.0, 3.0):
        yield Sample(make(3, 2, low=0.3), exponent)
    for base in (2, 2.5, 0.5):
        yield Sample(base, make(2, 3))


@op("pow", ref=_pow)
def _(make):
    # Derivatives of every order are finite at 0.
    zeros = np.array([0.0, -1.5, 0.0, 2.0])
    for exponent in (0, 1, 2, 3, 2.0, 4.0):
        yield Sample(zeros, exponent)


@op("pow", ref=_pow, dtypes="int")
def _(make):
    yield Sample(make(3, 4, low=-3, high=4, kind="int"), make(4, low=0, high=4, kind="int"))
    yield Sample(make(3, 4, low=-3, high=4, kind="int"), 3)
    yield Sample(2, make(5, low=0, high=5, kind="int"))


@op("float_power", ref=lambda x, y: np.float_power(x, y), dtypes="any")
def _(make):
    yield Sample(make(3, 4, low=0.3), make(4, low=0.5))
    yield Sample(make(low=0.3), 2)
    yield Sample(3, make(2, low=0.5))
    yield Sample(make(0, 3), make(3))


_two("atan2", np.arctan2, scalar=None, low=0.3, skip={"bool": "compared in atan2 of ints"})


@op("atan2", ref=np.arctan2)
def _(make):
    yield Sample(make(4, 5, low=-3.0, high=3.0), make(4, 5, low=-3.0, high=3.0))


_two("hypot", np.hypot, scalar=None, low=0.3, dtypes="float")


def _pairs(make):
    values = make(24, low=-3.0, high=3.0, distinct=True)
    yield Sample(values[:12].reshape(3, 4), values[12:16])
    yield Sample(values[16], values[17])
    yield Sample(values[:6].reshape(2, 3), values[20])
    yield Sample(make(0, 3), make(3))


def _scalars_are_arrays(samples):
    def wrapped(make):
        for sample in samples(make):
            yield Sample(*(np.asarray(a) for a in sample.args))

    return wrapped


for _name, _ref in {
    "maximum": np.maximum,
    "minimum": np.minimum,
    "fmax": np.fmax,
    "fmin": np.fmin,
}.items():
    op(_name, ref=_ref, dtypes="any")(_scalars_are_arrays(_pairs))

    @op(_name, ref=_ref, skip=NOT_FINITE)
    def _(make):
        nan = np.nan
        yield Sample(np.array([1.0, nan, nan, np.inf, 2.0]), np.array([nan, 1.0, nan, 0.0, 2.0]))


_two("logaddexp", np.logaddexp, scalar=None, low=-4.0, high=4.0, dtypes="float")
_two("logaddexp2", np.logaddexp2, scalar=None, low=-4.0, high=4.0, dtypes="float")


@op("logaddexp", ref=np.logaddexp, skip=NOT_FINITE | {"parity_grad": "NaN in PyTorch"})
def _(make):
    yield Sample(np.array([1e3, -1e3, np.inf, -np.inf]), np.array([1e3, 1e3, np.inf, -np.inf]))


_two("xlogy", special.xlogy, low=0.3, scalar=None)


@op("xlogy", ref=special.xlogy, skip={"parity_grad": "PyTorch rounds the number to float32"})
def _(make):
    yield Sample(make(2, 3), 2.5)


@op("xlogy", ref=special.xlogy)
def _(make):
    yield Sample(np.array([0.0, 0.0, 2.0]), np.array([1.5, 3.0, 0.5]))


@op("xlogy", ref=special.xlogy, skip={"parity_grad": "PyTorch rounds the number to float32"})
def _(make):
    yield Sample(2.5, make(2, 3, low=0.3))


def _lerp(x, y, w):
    return x + w * (y - x)


@op("lerp", ref=_lerp)
def _(make):
    yield Sample(make(3, 4), make(3, 4), 0.25)
    yield Sample(make(3, 4), make(4), make(3, 1, low=0.6, high=1.4))
    yield Sample(make(), make(), make(low=0.1, high=0.4))
    yield Sample(make(2, 3), make(2, 3), 1.5)
    yield Sample(make(0, 3), make(3), 0.5)


@op("addcmul", ref=lambda x, a, b, value=1: x + value * a * b, dtypes="float|int")
def _(make):
    yield Sample(make(3, 4), make(3, 4), make(3, 4))
    yield Sample(make(3, 4), make(4), make(3, 1), kwargs={"value": 2})
    yield Sample(make(), make(), make(), kwargs={"value": -1})
    yield Sample(make(0, 3), make(3), make(1))


@op("addcmul", ref=lambda x, a, b, value=1: x + value * a * b)
def _(make):
    yield Sample(make(3, 4), make(3, 4), make(3, 4), kwargs={"value": 0.5})


@op("addcdiv", ref=lambda x, a, b, value=1: x + value * a / b)
def _(make):
    yield Sample(make(3, 4), make(3, 4), make(3, 4, low=0.5))
    yield Sample(make(3, 4), make(4), make(3, 1, low=0.5), kwargs={"value": 0.5})
    yield Sample(make(), make(), make(low=-2.0, high=-0.5), kwargs={"value": -2})
    yield Sample(make(0, 3), make(3), make(1, low=0.5))


@op("copysign", ref=lambda x, y: np.copysign(x.astype(float), y))
def _(make):
    yield Sample(make(3, 4, low=0.3), make(4))
    yield Sample(make(2, 3, high=-0.3), make(2, 3))
    yield Sample(make(low=0.3), make())
    yield Sample(make(2, 3, low=0.3), -1.0)
    yield Sample(make(0, 3), make(3))


@op(
    "copysign",
    ref=lambda x, y: np.copysign(x.astype(float), y),
    dtypes="any",
    skip={"large": "signs chosen by hand"},
)
def _(make):
    yield Sample(make(3, low=1, high=5, kind="int"), np.array([-1, 2, -3]))
    yield Sample(make(3, low=1, high=5, kind="int"), -2)


@op(
    "nextafter",
    ref=np.nextafter,
    skip={
        "f32": "the neighbour of a float64",
        "f16": "the neighbour of a float64",
        "bf16": "the neighbour of a float64",
    },
)
def _(make):
    yield Sample(make(3, 4), make(4))
    yield Sample(make(), make())


@op("heaviside", ref=lambda x, y: np.heaviside(x.astype(float), y), dtypes="any", grad=False)
def _(make):
    yield Sample(make(2, 3), make(3))
    yield Sample(make(2, 3, low=-1, high=2, kind="int"), make(3, kind="int"))
    yield Sample(np.array([-1.5, 0.0, 2.0]), make(3, 1))
    yield Sample(make(), make())
    yield Sample(make(0, 3), make(3))


def _clamp(x, min=None, max=None):
    if min is not None:
        x = np.maximum(x, min)
    return x if max is None else np.minimum(x, max)


@op("clamp", ref=_clamp, dtypes="float|int")
def _(make):
    yield Sample(make(3, 4), -1, 1)
    yield Sample(make(3, 4), kwargs={"min": 0})
    yield Sample(make(), kwargs={"max": 1})
    yield Sample(make(3, 4), make(4, high=0.0), make(3, 1, low=0.1))
    yield Sample(make(3, 4), make(4))
    yield Sample(make(3, 4), kwargs={"max": make()})
    yield Sample(make(2, 3), 1, -1)
    yield Sample(make(0, 3), 0, 1)


@op("clamp", ref=_clamp)
def _(make):
    yield Sample(make(3, 4), -0.5, 0.5)
    yield Sample(make(3, 4), None, 0.25)
    yield Sample(make(3, 4), -0.5, make(4, low=0.0))


@op("clamp_min", ref=np.maximum, dtypes="float|int")
def _(make):
    yield Sample(make(3, 4), 0)
    yield Sample(make(), 1.5)
    yield Sample(make(3, 4), make(4))
    yield Sample(make(0, 3), 0)


@op("clamp_max", ref=np.minimum, dtypes="float|int")
def _(make):
    yield Sample(make(3, 4), 0)
    yield Sample(make(), 1.5)
    yield Sample(make(3, 4), make(4))
    yield Sample(make(0, 3), 0)
