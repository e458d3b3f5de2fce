"""Looking up and writing elements: by an index, a vector of indices, a mask."""

import numpy as np

from ..registry import Sample, op

SHAPE = {"meta": "the shape of the result depends on the elements"}
MASK = {"meta": "which elements a mask names depends on its own"}


def _index(make, high, *shape):
    return make(*shape, low=0, high=high, kind="int")


def _wide(x):
    return x.reshape(1) if x.ndim == 0 else x


# By an index as large as the result.


def _gather(x, dim, index, sparse_grad=False):
    if index.size == 0:
        return np.zeros(index.shape, dtype=x.dtype)
    cut = tuple(
        slice(None) if d == dim % max(x.ndim, 1) else slice(n) for d, n in enumerate(index.shape)
    )
    wide = _wide(x)
    return np.take_along_axis(wide[cut], _wide(index), axis=dim).reshape(index.shape)


@op("gather", ref=_gather, dtypes="any")
def _(make):
    yield Sample(make(3, 4), 0, _index(make, 3, 2, 4))
    yield Sample(make(3, 4), 1, _index(make, 4, 3, 6))
    yield Sample(make(3, 4), -1, _index(make, 4, 2, 2))
    yield Sample(make(5), 0, _index(make, 5, 7))
    yield Sample(make(), 0, np.array(0))
    yield Sample(make(3), 0, np.zeros(0, dtype=np.int64))
    yield Sample(make(2, 3), 1, _index(make, 3, 2, 1), kwargs={"sparse_grad": False})


def _take_along(x, indices, dim=None):
    if dim is None:
        return np.take_along_axis(x.reshape(-1), indices.reshape(-1), 0)
    return np.take_along_axis(x, indices, dim)


@op("take_along_dim", ref=_take_along, dtypes="any")
def _(make):
    yield Sample(make(3, 4), _index(make, 4, 3, 2), 1)
    yield Sample(make(3, 4), _index(make, 3, 1, 4), kwargs={"dim": 0})
    yield Sample(make(3, 1), _index(make, 3, 2, 4), 0)
    yield Sample(make(2, 3), _index(make, 6, 2, 2))


def _places(index, dim):
    """The coordinates that each entry of an index stands for, entry by entry."""
    for at in np.ndindex(index.shape):
        place = list(at)
        if place:
            place[dim % index.ndim] = int(index[at])
        yield at, tuple(place)


def _scatter(x, dim, index, src, reduce=None):
    out = x.copy()
    for at, place in _places(index, dim):
        value = src[at] if isinstance(src, np.ndarray) else src
        if reduce == "add":
            value = out[place] + value
        elif reduce == "multiply":
            value = out[place] * value
        out[place] = value
    return out


@op("scatter", ref=_scatter, dtypes="any")
def _(make):
    yield Sample(make(3, 4), 1, np.array([[0, 2], [3, 1], [2, 0]]), make(3, 2))
    yield Sample(make(3, 4), 0, np.array([[0, 2, 1, 1]]), make(2, 5))
    yield Sample(make(5), 0, np.array([4, 0]), make(2))
    yield Sample(make(3), 0, np.zeros(0, dtype=np.int64), make(2))
    yield Sample(make(), 0, np.array(0), make())


TWICE = {"parity_grad": "PyTorch gives elements that are overwritten a gradient too"}


@op("scatter", ref=_scatter, dtypes="any", skip=TWICE)
def _(make):
    yield Sample(make(3, 4), -1, np.array([[0, 2, 0], [3, 3, 3]]), make(2, 3))


@op("scatter", ref=_scatter, dtypes="float|int")
def _(make):
    yield Sample(make(3, 4), 1, np.array([[0, 2], [3, 3]]), 2)
    yield Sample(make(3, 4), 1, np.array([[0, 0], [3, 1]]), make(2, 2), kwargs={"reduce": "add"})
    yield Sample(make(4), 0, np.array([1, 1]), 2, kwargs={"reduce": "add"})


@op(
    "scatter",
    ref=_scatter,
    dtypes="float|int",
    grad=False,
    skip={"gradcheck": "a product has its gradient in scatter_reduce: here it raises"},
)
def _(make):
    yield Sample(
        make(3, 4), 1, np.array([[0, 0], [3, 1]]), make(2, 2), kwargs={"reduce": "multiply"}
    )


@op("scatter_add", ref=lambda x, d, i, s: _scatter(x, d, i, s, "add"), dtypes="float|int")
def _(make):
    yield Sample(make(3, 4), 1, np.array([[0, 0], [3, 1], [2, 2]]), make(3, 2))
    yield Sample(make(3, 4), 0, np.array([[0, 2, 0, 1]]), make(2, 4))
    yield Sample(make(5), -1, np.array([4, 4, 4]), make(3))
    yield Sample(make(), 0, np.array(0), make())


def _reduce(x, dim, index, src, reduce, include_self=True):
    groups: dict = {}
    for at, place in _places(index, dim):
        groups.setdefault(place, [x[place]] if include_self else []).append(src[at])
    out = x.copy()
    for place, values in groups.items():
        stacked = np.array(values)
        if reduce == "mean":
            total = stacked.sum()
            floats = x.dtype.kind == "f"
            out[place] = total / len(values) if floats else total // len(values)
        else:
            f = {"sum": np.sum, "prod": np.prod, "amax": np.max, "amin": np.min}[reduce]
            out[place] = f(stacked)
    return out


@op("scatter_reduce", ref=_reduce, dtypes="float|int")
def _(make):
    index = np.array([[0, 0, 3], [3, 1, 3]])
    for reduce in ("sum", "prod", "mean", "amax", "amin"):
        x, src = make(2, 4, distinct=True), make(2, 3, low=-1.9, high=2.1, distinct=True)
        yield Sample(x, 1, index, src, reduce)
        yield Sample(x, 1, index, src, reduce, kwargs={"include_self": False})


# A factor of zero: the other factors' gradient is zero, and its own is their product. The second
# derivative raises.
@op(
    "scatter_reduce",
    ref=_reduce,
    skip={
        "gradgradcheck": "the second derivative at a factor of zero raises",
        "jvp": "the second derivative at a factor of zero raises",
        "modes": "the second derivative at a factor of zero raises",
        "in_place": "the second derivative at a factor of zero raises",
        "parity_grad": "PyTorch's second gradient differs where this raises",
        "gradcheck": "forward mode differentiates the rule again, which raises",
    },
)
def _(make):
    src = np.array([0.0, 1.5, -2.0])
    yield Sample(make(3), 0, np.array([1, 1, 2]), src, "prod")


def _index_reduce(x, dim, index, source, reduce, include_self=True):
    full = np.broadcast_to(
        index.reshape([-1 if d == dim % x.ndim else 1 for d in range(x.ndim)]), source.shape
    )
    return _reduce(x, dim, full, source, reduce, include_self)


@op("index_reduce", ref=_index_reduce, dtypes="float|int")
def _(make):
    index = np.array([0, 2, 2])
    for reduce in ("prod", "mean", "amax", "amin"):
        x, source = make(3, 2, distinct=True), make(3, 2, low=-1.9, high=2.1, distinct=True)
        yield Sample(x, 0, index, source, reduce)
    yield Sample(make(2, 3), 1, index, make(2, 3), "mean", kwargs={"include_self": False})


# By a vector of indices.


def _select(x, dim, index):
    if x.ndim == 0:
        return x
    return np.take(x, index.reshape(-1), axis=dim)


@op("index_select", ref=_select, dtypes="any")
def _(make):
    yield Sample(make(3, 4), 0, np.array([2, 0, 2, 1]))
    yield Sample(make(3, 4), 1, np.array([3]))
    yield Sample(make(2, 3, 2), -2, np.array([2, 0]))
    yield Sample(make(3), 0, np.array(1))
    yield Sample(make(), 0, np.array([0]))
    yield Sample(make(2, 3), 1, np.zeros(0, dtype=np.int64))


def _slices(x, dim, index, f):
    out = np.moveaxis(x.copy(), dim, 0) if x.ndim else x.copy().reshape(1)
    for n, i in enumerate(index.reshape(-1)):
        f(out, int(i), n)
    return np.moveaxis(out, 0, dim) if x.ndim else out.reshape(())


def _rows(source, dim):
    return np.moveaxis(source, dim, 0) if source.ndim else source.reshape(1)


def _index_add(x, dim, index, source, alpha=1):
    rows = _rows(source, dim)

    def add(out, i, n):
        out[i] = out[i] + alpha * rows[n]

    return _slices(x, dim, index, add)


@op("index_add", ref=_index_add, dtypes="float|int")
def _(make):
    yield Sample(make(3, 4), 0, np.array([2, 0, 2]), make(3, 4))
    yield Sample(make(3, 4), 1, np.array([3]), make(3, 1), kwargs={"alpha": 2})
    yield Sample(make(2, 3, 2), -2, np.array([2, 0]), make(2, 2, 2))
    yield Sample(make(3), 0, np.array([1, 1]), make(2))
    yield Sample(make(), 0, np.array([0]), make())


def _index_copy(x, dim, index, source):
    rows = _rows(source, dim)

    def copy(out, i, n):
        out[i] = rows[n]

    return _slices(x, dim, index, copy)


@op("index_copy", ref=_index_copy, dtypes="any")
def _(make):
    yield Sample(make(3, 4), 0, np.array([2, 0]), make(2, 4))
    yield Sample(make(3, 4), 1, np.array([3]), make(3, 1))
    yield Sample(make(3), 0, np.array([1]), make(1))


@op("index_copy", ref=_index_copy, dtypes="any", skip=TWICE)
def _(make):
    yield Sample(make(2, 3), -1, np.array([1, 1, 0]), make(2, 3))


def _index_fill(x, dim, index, value):
    def fill(out, i, n):
        out[i] = value

    return _slices(x, dim, index, fill)


@op("index_fill", ref=_index_fill, dtypes="float|int")
def _(make):
    yield Sample(make(3, 4), 0, np.array([2, 0]), 3)
    yield Sample(make(3, 4), 1, np.array([-1, 3]), 2)
    yield Sample(make(3), 0, np.array([1, 1]), make())
    yield Sample(make(2, 3), -1, np.array([0, 2]), make())


@op("embedding", ref=lambda w, i, padding_idx=-1: w[i])
def _(make):
    yield Sample(make(4, 3), _index(make, 4, 2, 3))
    yield Sample(make(4, 2), np.array([1, 1, 0, 1]))
    yield Sample(make(4, 2), np.array(2))
    yield Sample(make(4, 2), np.zeros((0, 2), dtype=np.int64))


PADDING = "the padding row has a value but, by convention, no gradient"


@op(
    "embedding",
    ref=lambda w, i, padding_idx=-1, scale_grad_by_freq=False: w[i],
    skip={"gradcheck": PADDING, "gradgradcheck": PADDING},
)
def _(make):
    yield Sample(make(4, 2), np.array([1, 3, 1, 0]), kwargs={"padding_idx": 1})
    yield Sample(make(4, 2), np.array([1, 3, 1, 0]), 3, kwargs={"scale_grad_by_freq": True})


def _one_hot(x, num_classes=-1):
    n = num_classes if num_classes > 0 else int(x.max()) + 1
    return (x[..., None] == np.arange(n)).astype(np.int64)


HOT = {name: "class numbers are int64" for name in ("i32", "i16", "i8", "u8")}


@op("one_hot", ref=_one_hot, dtypes="int", grad=False, skip={**SHAPE, **HOT})
def _(make):
    yield Sample(np.array([0, 2, 1]))
    yield Sample(np.array([[0, 1], [3, 0]]), 5)
    yield Sample(np.array(1))
    yield Sample(np.zeros(0, dtype=np.int64), kwargs={"num_classes": 3})


# By flat indices, masks and tensors of coordinates.


@op("take", ref=lambda x, i: x.reshape(-1)[i], dtypes="any")
def _(make):
    yield Sample(make(3, 4), np.array([[0, 11], [-1, 5]]))
    yield Sample(make(3), np.array([1, 1, 2]))
    yield Sample(make(), np.array(0))


def _put(x, index, source, accumulate=False):
    out = x.copy().reshape(-1)
    for i, v in zip(index.reshape(-1), source.reshape(-1), strict=True):
        out[i] = out[i] + v if accumulate else v
    return out.reshape(x.shape)


@op("put", ref=_put, dtypes="float|int")
def _(make):
    yield Sample(make(2, 3), np.array([0, -1]), make(2))
    yield Sample(make(2, 3), np.array([4, 4]), make(2), True)


@op("put", ref=_put, dtypes="float|int", skip=TWICE)
def _(make):
    yield Sample(make(2, 3), np.array([[4, 4], [1, 2]]), make(4))


@op(
    "masked_select",
    ref=lambda x, m: np.broadcast_arrays(x, m)[0][np.broadcast_arrays(x, m)[1]],
    dtypes="any",
    skip=SHAPE,
)
def _(make):
    yield Sample(make(3, 4), make(3, 4, kind="bool"))
    yield Sample(make(3, 1), np.array([True, False, True]))
    yield Sample(make(), np.array(True))
    yield Sample(make(3), np.zeros(3, dtype=bool))


def _masked_scatter(x, mask, source):
    x, mask = (a.copy() for a in np.broadcast_arrays(x, mask))
    x[mask] = source.reshape(-1)[: int(mask.sum())]
    return x


@op("masked_scatter", ref=_masked_scatter, dtypes="float|int", skip=MASK)
def _(make):
    yield Sample(make(2, 3), make(2, 3, kind="bool"), make(8))
    yield Sample(make(2, 3), np.array([True, False, True]), make(2, 2))
    yield Sample(make(), np.array(True), make(1))
    yield Sample(make(3), np.zeros(3, dtype=bool), make(0))


def _index_put(x, indices, values, accumulate=False):
    x = x.copy()
    key = tuple(slice(None) if i is None else i for i in indices)
    if accumulate:
        np.add.at(x, key, values)
    else:
        x[key] = values
    return x


@op("index_put", ref=_index_put, dtypes="float|int")
def _(make):
    yield Sample(make(3, 4), (np.array([0, 2]), np.array([1, 3])), make(2))
    yield Sample(make(3, 4), (np.array([0, 2]),), make(2, 4))
    yield Sample(make(3, 4), (np.array([1, 1]),), make(4), kwargs={"accumulate": True})
    yield Sample(make(3, 2), (np.array([[0], [2]]), np.array([0, 1])), make())


@op("index_put", ref=_index_put, dtypes="float|int", skip=TWICE)
def _(make):
    yield Sample(make(3), (np.array([1, 1, 0]),), make(3))


@op("index_put", ref=_index_put, dtypes="float|int", skip=MASK)
def _(make):
    yield Sample(make(2, 3), (np.array([[True, False, True], [False, False, True]]),), make(3))
    yield Sample(make(2, 3), (np.array([True, False]),), make(3), True)


@op("nonzero", ref=lambda x, as_tuple=False: np.argwhere(x), dtypes="any", grad=False, skip=SHAPE)
def _(make):
    yield Sample(make(3, 4, low=-1, high=2, kind="int"))
    yield Sample(make(2, 2, 2, kind="bool"))
    yield Sample(np.array([0.0, -0.0, 1.0, np.nan]))
    yield Sample(np.array(3))
    yield Sample(make(0, 3))


def _nonzero(x, as_tuple=True):
    return tuple(np.nonzero(x)) if x.ndim else (np.flatnonzero(x),)


@op("nonzero.tuple", ref=_nonzero, dtypes="any", grad=False, skip=SHAPE)
def _(make):
    yield Sample(make(3, 4, low=-1, high=2, kind="int"), kwargs={"as_tuple": True})
    yield Sample(np.array(True), kwargs={"as_tuple": True})


@op("where.nonzero", ref=_nonzero, dtypes="any", grad=False, skip=SHAPE)
def _(make):
    yield Sample(make(3, 4, low=-1, high=2, kind="int"))
    yield Sample(make(4, kind="bool"))
    yield Sample(np.array(True))
