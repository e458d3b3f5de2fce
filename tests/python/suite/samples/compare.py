"""Comparisons, tests, choosing by a condition, logic and bits."""

import numpy as np

from ..registry import Sample, op


def _comparison(name, ref):
    @op(name, ref=ref, dtypes="any", grad=False)
    def _(make):
        yield Sample(make(3, 4), make(4))
        x = make(2, 3, low=-2, high=2, kind="int")
        yield Sample(x, make(2, 3, low=-2, high=2, kind="int"))
        yield Sample(make(), make())
        yield Sample(make(0, 3), make(3))
        yield Sample(make(2, 3), 0.5)
        yield Sample(x, 1)
        yield Sample(np.array([np.nan, 1.0, np.inf]), np.array([np.nan, np.nan, np.inf]))


for _name, _ref in {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}.items():
    _comparison(_name, _ref)

SPECIAL = np.array([0.0, -0.0, 1.0, -2.0, np.nan, np.inf, -np.inf])


def _test(name, ref):
    @op(name, ref=ref, dtypes="float", grad=False)
    def _(make):
        yield Sample(SPECIAL)
        yield Sample(make())
        yield Sample(make(0, 3))

    @op(name, ref=lambda x: ref(x.astype(float)), dtypes="int|bool", grad=False)
    def _(make):
        yield Sample(make(2, 3, low=-2, high=2, kind="int"))
        yield Sample(make(2, 3, kind="bool"))


for _name, _ref in {
    "isnan": np.isnan,
    "isinf": np.isinf,
    "isposinf": np.isposinf,
    "isneginf": np.isneginf,
    "isfinite": np.isfinite,
    "signbit": np.signbit,
}.items():
    _test(_name, _ref)


def _close(make):
    x = make(2, 3)
    yield Sample(x, x + 1e-9)
    yield Sample(x, x + np.array([0.0, 1e-9, 0.5]))
    yield Sample(x, x + 0.01, kwargs={"atol": 0.05})
    yield Sample(x, x * 1.01, 0.25)
    yield Sample(SPECIAL, SPECIAL)
    yield Sample(SPECIAL, SPECIAL, kwargs={"equal_nan": True})
    yield Sample(np.array([1.0, np.inf]), np.array([np.inf, -np.inf]), 1.0)
    yield Sample(make(0, 3), make(3))


op("isclose", ref=np.isclose, dtypes="float", grad=False)(_close)
op("allclose", ref=np.allclose, dtypes="float", grad=False)(_close)


def _near(x, y, rtol=1e-5, atol=1e-8):
    return np.isclose(x.astype(float), y.astype(float), rtol, atol)


def _integers(make):
    x = make(2, 3, low=-100, high=100, kind="int")
    yield Sample(x, x + np.array([0, 1, 2]))
    yield Sample(x, x + 1, kwargs={"atol": 1.5})


op("isclose", ref=_near, dtypes="int", grad=False)(_integers)
op("allclose", ref=lambda *a, **k: _near(*a, **k).all(), dtypes="int", grad=False)(_integers)


@op("equal", ref=np.array_equal, dtypes="any", grad=False)
def _(make):
    x = make(2, 3)
    yield Sample(x, x.copy())
    yield Sample(x, make(2, 3))
    yield Sample(x, make(3, 2))
    yield Sample(x, make(2))
    yield Sample(make(0, 3), make(0, 3))
    yield Sample(np.array([np.nan]), np.array([np.nan]))


@op("where", ref=np.where, dtypes="any")
def _(make):
    yield Sample(make(3, 4, kind="bool"), make(3, 4), make(3, 4))
    yield Sample(make(4, kind="bool"), make(3, 1), make(1, 4))
    yield Sample(make(kind="bool"), make(), make())
    yield Sample(make(0, 3, kind="bool"), make(3), make(0, 3))


@op("where", ref=np.where)
def _(make):
    yield Sample(make(2, 3, kind="bool"), make(3), 1.5)
    yield Sample(make(2, 3, kind="bool"), 0, make(2, 3))


@op("masked_fill", ref=lambda x, m, v: np.where(m, v, x), dtypes="any")
def _(make):
    yield Sample(make(3, 4), make(3, 4, kind="bool"), 1)
    yield Sample(make(3, 4), make(4, kind="bool"), True)
    yield Sample(make(), make(kind="bool"), 0)
    yield Sample(make(3, 4), make(3, 1, kind="bool"), make())
    yield Sample(make(0, 3), make(3, kind="bool"), 1)


@op("masked_fill", ref=lambda x, m, v: np.where(m, v, x))
def _(make):
    yield Sample(make(4), make(3, 4, kind="bool"), 2.5)


@op(
    "masked_fill",
    ref=lambda x, m, v: np.where(m, v, x),
    skip=dict.fromkeys(
        ("gradcheck", "gradgradcheck", "jvp", "modes"), "differences of infinities are NaN"
    ),
)
def _(make):
    yield Sample(make(3, 4), make(3, 4, kind="bool"), -np.inf)


for _name, _ref in {
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}.items():

    @op(_name, ref=_ref, dtypes="any", grad=False)
    def _(make):
        x = make(3, 4, low=-1, high=2, kind="int")
        yield Sample(x, make(4, low=-1, high=2, kind="int"))
        yield Sample(make(2, 3), make(2, 3))
        yield Sample(make(4, kind="bool"), make(4, kind="bool"))
        yield Sample(make(), make())
        yield Sample(make(0, 3), make(3))


@op("logical_not", ref=np.logical_not, dtypes="any", grad=False)
def _(make):
    yield Sample(make(3, 4, low=-1, high=2, kind="int"))
    yield Sample(np.array([0.0, -0.0, 1.0, np.nan]))
    yield Sample(make(4, kind="bool"))
    yield Sample(make(0, 3))


for _name, _ref in {
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
}.items():

    @op(_name, ref=_ref, dtypes="int|bool", grad=False)
    def _(make):
        yield Sample(make(3, 4, low=-9, high=99, kind="int"), make(4, low=-9, high=99, kind="int"))
        yield Sample(make(3, 4, kind="bool"), make(4, kind="bool"))
        yield Sample(make(2, 3, low=-9, high=99, kind="int"), 5)
        yield Sample(make(4, kind="bool"), True)
        yield Sample(make(kind="int"), make(kind="int"))
        yield Sample(make(0, 3, kind="int"), make(3, kind="int"))


@op("bitwise_not", ref=np.invert, dtypes="int|bool", grad=False)
def _(make):
    yield Sample(make(3, 4, low=-9, high=99, kind="int"))
    yield Sample(make(3, 4, kind="bool"))
    yield Sample(make(kind="int"))
    yield Sample(make(0, 3, kind="int"))


for _name, _ref in {
    "bitwise_left_shift": np.left_shift,
    "bitwise_right_shift": np.right_shift,
}.items():

    @op(_name, ref=_ref, dtypes="int", grad=False)
    def _(make):
        x = make(3, 4, low=-9, high=99, kind="int")
        yield Sample(x, make(4, low=0, high=5, kind="int"))
        yield Sample(x, 3)
        yield Sample(make(low=1, high=9, kind="int"), make(low=0, high=3, kind="int"))
        yield Sample(make(0, 3, kind="int"), make(3, low=0, high=5, kind="int"))
