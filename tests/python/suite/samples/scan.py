"""Samples of the scans."""

from __future__ import annotations

import numpy as np

from ..registry import Sample, op


def _cum(f):
    def ref(x, dim, dtype=None):
        if x.ndim == 0:
            return x.copy()
        return f(x, axis=dim)

    return ref


for _name, _f in (("cumsum", np.cumsum), ("cumprod", np.cumprod)):

    @op(_name, ref=_cum(_f), dtypes="float|int")
    def _(make):
        yield Sample(make(3, 4), 0)
        yield Sample(make(3, 4), -1)
        yield Sample(make(2, 3, 2), kwargs={"dim": 1})
        yield Sample(np.array([[1.5, 0.0, 2.0, 0.0, 3.0]]), 1)
        yield Sample(make(), 0)
        yield Sample(make(0, 3), 1)


def _extremum(pick):
    def ref(x, dim):
        rows = np.moveaxis(x, dim, 0) if x.ndim else x.reshape(1)
        values, places = rows.copy(), np.zeros(rows.shape, dtype=np.int64)
        for i in range(1, len(rows)):
            new = pick(rows[i], values[i - 1])
            values[i] = np.where(new, rows[i], values[i - 1])
            places[i] = np.where(new, i, places[i - 1])
        if not x.ndim:
            return values.reshape(()), places.reshape(())
        return np.moveaxis(values, 0, dim), np.moveaxis(places, 0, dim)

    return ref


for _name, _pick in (("cummax", np.greater_equal), ("cummin", np.less_equal)):

    @op(_name, ref=_extremum(_pick), dtypes="float|int")
    def _(make):
        yield Sample(make(3, 5, distinct=True), 0)
        yield Sample(make(3, 5, distinct=True), -1)
        yield Sample(make(), 0)
        yield Sample(make(0, 3), 1)


@op(
    "logcumsumexp",
    ref=lambda x, dim: np.logaddexp.accumulate(x, axis=dim) if x.ndim else x.copy(),
)
def _(make):
    yield Sample(make(3, 4), 0)
    yield Sample(make(3, 4, low=-30.0, high=30.0), -1)
    yield Sample(make(), 0)
    yield Sample(make(0, 3), 1)


def _diff(x, n=1, dim=-1, prepend=None, append=None):
    ends = {k: v for k, v in (("prepend", prepend), ("append", append)) if v is not None}
    return np.diff(x, n, dim, **ends)


@op("diff", ref=_diff)
def _(make):
    yield Sample(make(3, 4))
    yield Sample(make(4, 3), kwargs={"n": 2, "dim": 0})
    yield Sample(make(3, 4), kwargs={"prepend": make(3, 1), "append": make(3, 2)})
    yield Sample(make(2, 1))
    yield Sample(make(0, 3), 1)


def _trapezoid(y, x=None, dx=1, dim=-1):
    return np.trapezoid(y, x, dx, dim)


@op("trapezoid", ref=_trapezoid)
def _(make):
    yield Sample(make(3, 4))
    yield Sample(make(3, 4), kwargs={"dx": 0.5, "dim": 0})
    yield Sample(make(3, 4), make(4))
    yield Sample(make(3, 4), make(3, 4), kwargs={"dim": 0})
    yield Sample(make(0, 3))


@op("dist", ref=lambda x, y, p=2: np.linalg.norm((x - y).ravel(), p))
def _(make):
    yield Sample(make(3, 4), make(3, 4))
    yield Sample(make(3, 4, low=1.0), make(4, high=-1.0), kwargs={"p": 1})
    yield Sample(make(3), make(3), kwargs={"p": 3.0})
    yield Sample(make(), make())
