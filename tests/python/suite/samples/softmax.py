"""The softmax family."""

import numpy as np
from scipy import special

from ..registry import Sample, op


def _along(f):
    def ref(x, dim, dtype=None):
        return f(x, axis=dim) if x.ndim else f(x[None], axis=0)[0]

    return ref


def _samples(make):
    import rustgrad as rg

    yield Sample(make(3, 4), 1)
    yield Sample(make(3, 4), 0)
    yield Sample(make(2, 3, 2), -2)
    yield Sample(make(2, 3), kwargs={"dim": -1})
    # Without the shift by the maximum these overflow.
    yield Sample(make(2, 3, low=900.0, high=1000.0), 1)
    yield Sample(make(2, 3, low=-1000.0, high=-900.0), 1)
    yield Sample(make(), 0)
    yield Sample(make(0, 3), 1)
    yield Sample(make(3, 1), 1)
    yield Sample(make(2, 3), 1, kwargs={"dtype": rg.float64})


op("softmax", ref=_along(special.softmax))(_samples)
op("log_softmax", ref=_along(special.log_softmax))(_samples)

for _name in ("softmax", "log_softmax"):

    @op(
        _name,
        ref=_along(getattr(special, _name)),
        skip=dict.fromkeys(("gradcheck", "gradgradcheck"), "no differences of infinities"),
    )
    def _(make):
        yield Sample(np.array([[0.5, -np.inf, 1.0], [0.0, -np.inf, -np.inf]]), 1)


@op("softmin", ref=_along(lambda x, axis: special.softmax(-x, axis=axis)))
def _(make):
    yield Sample(make(3, 4), 1)
    yield Sample(make(3, 4), 0)
    yield Sample(make(2, 3, low=900.0, high=1000.0), -1)
    yield Sample(make(), 0)


@op("softmax", ref=lambda x, dim, dtype: special.softmax(x, axis=dim), dtypes="int")
def _(make):
    import rustgrad as rg

    yield Sample(make(3, 4, kind="int"), 1, kwargs={"dtype": rg.float32})
