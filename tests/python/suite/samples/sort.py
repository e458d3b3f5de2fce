"""Sorting, ranks, sets of values, places in sorted rows, counts."""

import numpy as np
import scipy.stats

from ..registry import Sample, op

SHAPE = {"meta": "the shape of the result depends on the elements"}
# Floats that are rounded to these types may become equal.
COARSE = {"bf16": "distinct elements may be rounded to equal ones"}


def _wide(x):
    return x.reshape(1) if x.ndim == 0 else x


def _order(x, dim=-1, descending=False):
    wide = _wide(x)
    if descending:
        # Stable among equals, with the greatest first (and NaN as the greatest of all).
        flipped = np.argsort(np.flip(wide, dim), axis=dim, kind="stable")
        return (wide.shape[dim] - 1 - np.flip(flipped, dim)).reshape(x.shape)
    return np.argsort(wide, axis=dim, kind="stable").reshape(x.shape)


def _sort(x, dim=-1, descending=False, stable=False):
    order = _order(x, dim, descending)
    return np.take_along_axis(_wide(x), _wide(order), dim).reshape(x.shape), order


@op("sort", ref=_sort, dtypes="any")
def _(make):
    yield Sample(make(3, 4, distinct=True))
    yield Sample(make(4, 3, distinct=True), 0)
    yield Sample(make(3, 4, distinct=True), 1, True)
    yield Sample(make(2, 3, 2, distinct=True), kwargs={"dim": 1, "descending": True})
    yield Sample(make(), 0)
    yield Sample(make(0, 3))


# Equal elements keep their order; NaN is greatest.
@op(
    "sort",
    ref=_sort,
    dtypes="any",
    grad=False,
    skip={"parity": "PyTorch's order of equals may differ unless asked to be stable"},
)
def _(make):
    yield Sample(np.array([2, 1, 2, 1, 2]), kwargs={"stable": True})
    yield Sample(np.array([2, 1, 2, 1, 2]), kwargs={"stable": True, "descending": True})


@op("sort", ref=_sort, dtypes="float", skip={"gradcheck": "NaN", "gradgradcheck": "NaN"})
def _(make):
    yield Sample(np.array([2.0, np.nan, -np.inf, 1.0, np.inf]))
    yield Sample(np.array([2.0, np.nan, -np.inf, 1.0, np.inf]), 0, True)


@op(
    "argsort",
    ref=lambda x, dim=-1, descending=False, stable=False: _order(x, dim, descending),
    dtypes="any",
    grad=False,
    skip=COARSE,
)
def _(make):
    yield Sample(make(3, 4, distinct=True))
    yield Sample(make(3, 4, distinct=True), 0, True)
    yield Sample(make(5, kind="int", distinct=True), kwargs={"stable": True})
    yield Sample(make())


@op("msort", ref=lambda x: np.sort(x, axis=0), dtypes="any")
def _(make):
    yield Sample(make(4, 3, distinct=True))
    yield Sample(make(5, distinct=True))


def _topk(x, k, dim=-1, largest=True, sorted=True):
    order = _wide(_order(x, dim, largest)).take(range(k), axis=dim)
    order = order.reshape(x.shape) if x.ndim == 0 else order
    return np.take_along_axis(_wide(x), _wide(order), dim).reshape(order.shape), order


@op("topk", ref=_topk, dtypes="float", skip=COARSE)
def _(make):
    yield Sample(make(3, 5, distinct=True), 2)
    yield Sample(make(5, 2, distinct=True), 3, 0)
    yield Sample(make(3, 5, distinct=True), 2, 1, False)
    yield Sample(make(4, distinct=True), 4, kwargs={"sorted": True})
    yield Sample(make(4, distinct=True), 0)
    yield Sample(make(), 1)


@op("topk", ref=_topk, dtypes="int", grad=False)
def _(make):
    yield Sample(make(3, 5, kind="int", low=0, distinct=True), 2)


def _one(x, order, dim, i, keepdim):
    at = _wide(order).take([i], axis=dim)
    value = np.take_along_axis(_wide(x), at, dim)
    if x.ndim == 0:
        return value.reshape(()), at.reshape(())
    return (value, at) if keepdim else (value.squeeze(dim), at.squeeze(dim))


@op(
    "kthvalue",
    ref=lambda x, k, dim=-1, keepdim=False: _one(x, _order(x, dim), dim, k - 1, keepdim),
    dtypes="float",
    skip=COARSE,
)
def _(make):
    yield Sample(make(3, 5, distinct=True), 2)
    yield Sample(make(5, 2, distinct=True), 5, 0)
    yield Sample(make(3, 5, distinct=True), 1, 1, True)
    yield Sample(make(), 1)


@op("kthvalue", ref=lambda x, k: _one(x, _order(x), -1, k - 1, False), dtypes="int", grad=False)
def _(make):
    yield Sample(make(3, 5, kind="int", low=0, distinct=True), 2)


def _medians(place):
    """By the position of the median among ordered elements, of which there may be NaN."""

    def along(x, dim, keepdim=False):
        order = _order(x, dim)
        values = np.moveaxis(_wide(np.take_along_axis(_wide(x), _wide(order), dim)), dim, -1)
        at = np.array([place(row) for row in values.reshape(-1, values.shape[-1])], dtype=np.int64)
        at = at.reshape(values.shape[:-1])
        at = np.expand_dims(at, dim)
        found = np.take_along_axis(_wide(order), at, dim)
        median = np.take_along_axis(_wide(x), found, dim)
        if x.ndim == 0:
            return median.reshape(()), found.reshape(())
        if keepdim:
            return median, found
        return median.squeeze(dim), found.squeeze(dim)

    return along


def _middle(row):
    return int(np.argmax(np.isnan(row))) if np.isnan(row).any() else (len(row) - 1) // 2


def _middle_of_numbers(row):
    return max(int((~np.isnan(row)).sum()) - 1, 0) // 2


HOLES = np.array([[3.0, np.nan, 1.0, 2.0], [np.nan, np.nan, 5.0, 4.0]])

for _name, _place in (("median", _middle), ("nanmedian", _middle_of_numbers)):
    _along_dim = _medians(_place)

    @op(_name, ref=lambda x, _f=_along_dim: _f(x.reshape(-1), 0)[0], skip=COARSE)
    def _(make):
        yield Sample(make(3, 4, distinct=True))
        yield Sample(make(5, distinct=True))
        yield Sample(make())

    @op(_name, ref=lambda x, _f=_along_dim: _f(x.reshape(-1), 0)[0], dtypes="int", grad=False)
    def _(make):
        yield Sample(make(3, 4, kind="int", distinct=True))

    @op(f"{_name}.dim", ref=_along_dim, skip=COARSE, torch=_name)
    def _(make):
        yield Sample(make(3, 4, distinct=True), 1)
        yield Sample(make(4, 3, distinct=True), 0, True)
        yield Sample(make(2, 5, 2, distinct=True), kwargs={"dim": 1})
        yield Sample(make(), 0)
        yield Sample(make(0, 3), 1)

    @op(
        f"{_name}.dim",
        ref=_along_dim,
        skip=dict.fromkeys(("gradcheck", "gradgradcheck"), "NaN"),
        torch=_name,
    )
    def _(make):
        yield Sample(HOLES, 1)


def _mode(x, dim=-1, keepdim=False):
    wide = _wide(x)
    values = scipy.stats.mode(wide, axis=dim, keepdims=True).mode
    n = wide.shape[dim]
    hit = np.flip(wide == values, dim)
    at = n - 1 - np.expand_dims(np.argmax(hit, axis=dim), dim)
    if x.ndim == 0:
        return values.reshape(()), at.reshape(())
    return (values, at) if keepdim else (values.squeeze(dim), at.squeeze(dim))


@op("mode", ref=_mode, dtypes="float|int", skip=COARSE)
def _(make):
    yield Sample(make(3, 5, distinct=True))
    yield Sample(make(5, 2, distinct=True), 0, True)
    yield Sample(make())


@op("mode", ref=_mode, dtypes="int", grad=False)
def _(make):
    yield Sample(np.array([[3, 1, 3, 1, 2], [2, 2, 1, 0, 0]]))
    yield Sample(np.array([5, 7, 7, 5, 7]), kwargs={"keepdim": True})


# Sets of values.


def _parts(x, dim=None):
    if dim is None or x.ndim == 0:
        values, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
        return values, inverse.reshape(x.shape), counts
    values, inverse, counts = np.unique(x, axis=dim, return_inverse=True, return_counts=True)
    return values, inverse.reshape(-1), counts


def _torch_parts(f):
    def call(x, dim=None):
        import torch

        return getattr(torch, f)(x, return_inverse=True, return_counts=True, dim=dim)

    return call


UNIQUE = {**SHAPE, "parity_grad": "PyTorch has no gradient for it"}


@op("unique_parts", ref=_parts, dtypes="any", skip=UNIQUE, torch=_torch_parts("unique"))
def _(make):
    yield Sample(make(2, 3, distinct=True))
    yield Sample(make(3, 2, distinct=True), 0)
    yield Sample(make(2, 3, distinct=True), kwargs={"dim": 1})


@op("unique_parts", ref=_parts, dtypes="any", grad=False, skip=UNIQUE, torch=_torch_parts("unique"))
def _(make):
    yield Sample(np.array([3, 1, 3, 2, 1]))
    yield Sample(np.array([[2, 1], [0, 5], [2, 1]]), 0)
    yield Sample(np.array([[2, 1, 2], [0, 5, 0]]), 1)
    yield Sample(np.array(4))


def _runs(x, dim=None):
    rows = x.reshape(-1, 1) if dim is None else np.moveaxis(x, dim, 0).reshape(x.shape[dim], -1)
    starts = np.concatenate([[True], (rows[1:] != rows[:-1]).any(axis=1)])
    inverse = np.cumsum(starts) - 1
    counts = np.bincount(inverse)
    first = np.flatnonzero(starts)
    if dim is None:
        return x.reshape(-1)[first], inverse.reshape(x.shape), counts
    return x.take(first, axis=dim), inverse, counts


@op(
    "unique_consecutive_parts",
    ref=_runs,
    dtypes="any",
    skip=UNIQUE,
    torch=_torch_parts("unique_consecutive"),
)
def _(make):
    yield Sample(make(2, 3, distinct=True))
    yield Sample(make(3, 2, distinct=True), 0)


@op(
    "unique_consecutive_parts",
    ref=_runs,
    dtypes="any",
    grad=False,
    skip=UNIQUE,
    torch=_torch_parts("unique_consecutive"),
)
def _(make):
    yield Sample(np.array([1, 1, 2, 1, 1]))
    yield Sample(np.array([[2, 1], [2, 1], [0, 5]]), 0)


# Places and counts.


def _search(rows, x, out_int32=False, right=False, side=None, sorter=None):
    x = np.asarray(x)
    if sorter is not None:
        rows = np.take_along_axis(rows, sorter, -1)
    side = side or ("right" if right else "left")
    if rows.ndim == 1:
        return np.searchsorted(rows, x, side)
    out = np.empty(x.shape, dtype=np.int64)
    for at in np.ndindex(rows.shape[:-1]):
        out[at] = np.searchsorted(rows[at], x[at], side)
    return out


INT32 = {"dtype": "out_int32 asks for another type"}


@op("searchsorted", ref=_search, dtypes="float|int", grad=False, skip=INT32)
def _(make):
    rows = np.array([-1.0, 0.0, 0.0, 2.0])
    yield Sample(rows, make(2, 3))
    yield Sample(rows, rows, kwargs={"right": True})
    yield Sample(rows, rows, kwargs={"side": "left", "out_int32": True})
    yield Sample(rows, 0.0)
    yield Sample(np.sort(make(2, 4), axis=1), make(2, 3))
    yield Sample(np.array([2.0, -1.0, 0.0]), make(2), kwargs={"sorter": np.array([1, 2, 0])})
    yield Sample(np.zeros(0), make(2))


@op(
    "bucketize",
    ref=lambda x, b, out_int32=False, right=False: _search(b, x, right=right),
    dtypes="float|int",
    grad=False,
    skip=INT32,
)
def _(make):
    bounds = np.array([-1.0, 0.0, 2.0])
    yield Sample(make(2, 3), bounds)
    yield Sample(bounds, bounds, kwargs={"right": True})
    yield Sample(0.5, bounds)
    yield Sample(bounds, bounds, kwargs={"out_int32": True})


def _bincount(x, weights=None, minlength=0):
    return np.bincount(x, weights, minlength)


@op("bincount", ref=_bincount, dtypes="int", grad=False, skip=SHAPE)
def _(make):
    yield Sample(np.array([1, 0, 3, 1]))
    yield Sample(np.array([1, 1]), kwargs={"minlength": 5})
    yield Sample(np.zeros(0, dtype=np.int64))


WEIGHTS = {
    **SHAPE,
    "parity_grad": "PyTorch has no gradient of the weights",
    "f16": "results are float64",
    "bf16": "results are float64",
}


@op("bincount", ref=_bincount, skip=WEIGHTS)
def _(make):
    yield Sample(np.array([1, 0, 3, 1]), make(4))
    yield Sample(np.array([1, 0]), make(2), 4)


def _histc(x, bins=100, min=0, max=0):
    low, high = (min, max) if min != max else (x.min(), x.max())
    return np.histogram(x, bins, (low, high))[0]


@op("histc", ref=_histc, grad=False, skip={"meta": "the range depends on the elements"})
def _(make):
    yield Sample(np.array([1.0, 2.0, 1.0, 5.0]), 4)
    yield Sample(np.array([[1.0, 2.0], [0.5, 5.0]]), 4, 0, 3)
    yield Sample(np.array([1.0, 1.0]), 2, kwargs={"min": 0, "max": 4})


def _isin(x, tests, assume_unique=False, invert=False):
    return np.isin(x, tests, invert=invert)


@op("isin", ref=_isin, dtypes="float|int", grad=False)
def _(make):
    x = make(2, 3, low=0, high=4, kind="int")
    yield Sample(x, np.array([1, 3]))
    yield Sample(x, np.array([[1], [0]]), kwargs={"invert": True})
    yield Sample(x, 2)
    yield Sample(1, x)
    yield Sample(x, np.zeros(0, dtype=np.int64))
    yield Sample(np.array([0.5, 1.0]), np.array([1.0, 2.0]))
