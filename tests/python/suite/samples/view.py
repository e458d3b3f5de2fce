"""Views: other shapes, parts, pieces and windows; and what puts a part back."""

import numpy as np

from ..registry import Sample, op

LAYOUT = {"noncontiguous": "a view needs a layout that it fits: there is a test of its own"}


@op("view", ref=lambda x, *s: x.reshape(*s), dtypes="any", method_only=True, skip=LAYOUT)
def _(make):
    yield Sample(make(2, 6), 3, 4)
    yield Sample(make(2, 6), (4, -1))
    yield Sample(make(), 1, 1)
    yield Sample(make(1), [])
    yield Sample(make(0, 3), 3, 0)
    yield Sample(make(2, 3), (2, 3))


@op("reshape", ref=lambda x, *s: x.reshape(*s), dtypes="any")
def _(make):
    yield Sample(make(2, 6), (3, 4))
    yield Sample(make(2, 6), (4, -1))
    yield Sample(make(), (1, 1))
    yield Sample(make(0, 3), (3, 0))
    yield Sample(make(2, 3), (2, 3))
    yield Sample(make(2, 1, 3, 2), (2, 3, 1, 2))


@op("view_as", ref=lambda x, y: x.reshape(y.shape), method_only=True, skip=LAYOUT)
def _(make):
    yield Sample(make(2, 6), make(3, 4))
    yield Sample(make(), make(1))


@op("reshape_as", ref=lambda x, y: x.reshape(y.shape), method_only=True)
def _(make):
    yield Sample(make(2, 6), make(3, 4))
    yield Sample(make(0, 2), make(2, 0))


def _flatten(x, start_dim=0, end_dim=-1):
    if x.ndim == 0:
        return x.reshape(1)
    start, end = start_dim % x.ndim, end_dim % x.ndim
    return x.reshape(*x.shape[:start], int(np.prod(x.shape[start : end + 1])), *x.shape[end + 1 :])


@op("flatten", ref=_flatten, dtypes="any")
def _(make):
    yield Sample(make(2, 3, 2))
    yield Sample(make(2, 3, 2), 1)
    yield Sample(make(2, 3, 2), kwargs={"start_dim": 0, "end_dim": -2})
    yield Sample(make(2, 3), 1, 1)
    yield Sample(make())
    yield Sample(make(0, 3))


@op(
    "unflatten",
    ref=lambda x, dim, sizes: x.reshape(
        *x.shape[: dim % x.ndim], *sizes, *x.shape[dim % x.ndim + 1 :]
    ),
)
def _(make):
    yield Sample(make(2, 6), 1, (2, 3))
    yield Sample(make(6, 2), 0, (2, -1))
    yield Sample(make(2, 6), -1, (1, 6, 1))


@op("ravel", ref=np.ravel, dtypes="any")
def _(make):
    yield Sample(make(2, 3))
    yield Sample(make())
    yield Sample(make(4))


def _expand(x, *size):
    size = size[0] if isinstance(size[0], tuple) else size
    lead = len(size) - x.ndim
    shape = [x.shape[i - lead] if n == -1 else n for i, n in enumerate(size)]
    return np.broadcast_to(x, shape)


@op("expand", ref=_expand, dtypes="any", method_only=True)
def _(make):
    yield Sample(make(3, 1), 3, 4)
    yield Sample(make(3, 1), (2, -1, 4))
    yield Sample(make(), 2, 3)
    yield Sample(make(1), 0)


@op("expand_as", ref=lambda x, y: np.broadcast_to(x, y.shape), method_only=True)
def _(make):
    yield Sample(make(3, 1), make(2, 3, 4))


@op("broadcast_to", ref=np.broadcast_to)
def _(make):
    yield Sample(make(3, 1), (2, 3, 4))
    yield Sample(make(), (2,))


def _squeeze(x, dim=None):
    dims = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    axes = tuple(d for d in {d % max(x.ndim, 1) for d in dims} if x.ndim and x.shape[d] == 1)
    return x.squeeze(axes)


@op("squeeze", ref=_squeeze, dtypes="any")
def _(make):
    yield Sample(make(1, 3, 1))
    yield Sample(make(1, 3, 1), 0)
    yield Sample(make(1, 3, 1), 1)
    yield Sample(make(1, 3, 1), -1)
    yield Sample(make(1, 3, 1, 1), (0, -1))
    yield Sample(make(), 0)
    yield Sample(make(1), kwargs={"dim": 0})


@op("unsqueeze", ref=lambda x, dim: np.expand_dims(x, dim), dtypes="any")
def _(make):
    yield Sample(make(2, 3), 0)
    yield Sample(make(2, 3), 1)
    yield Sample(make(2, 3), -1)
    yield Sample(make(), 0)
    yield Sample(make(0, 3), 2)


@op("transpose", ref=np.swapaxes, dtypes="any")
def _(make):
    yield Sample(make(2, 3), 0, 1)
    yield Sample(make(2, 3, 2), -1, 0)
    yield Sample(make(2, 3), 1, 1)
    yield Sample(make(0, 3), 0, -1)


@op("t", ref=np.transpose, dtypes="any")
def _(make):
    yield Sample(make(2, 3))
    yield Sample(make(3))
    yield Sample(make())


@op("adjoint", ref=lambda x: np.swapaxes(x, -2, -1))
def _(make):
    yield Sample(make(2, 3))
    yield Sample(make(2, 1, 3))


@op("permute", ref=lambda x, dims: x.transpose(dims), dtypes="any")
def _(make):
    yield Sample(make(2, 3, 2), (2, 0, 1))
    yield Sample(make(2, 3), (-1, 0))
    yield Sample(make(), ())
    yield Sample(make(0, 3), (1, 0))


@op("movedim", ref=np.moveaxis, dtypes="any")
def _(make):
    yield Sample(make(2, 3, 4), 0, 2)
    yield Sample(make(2, 3, 2), (0, 1), (-1, 0))
    yield Sample(make(2, 3), -1, 0)


@op("contiguous", ref=lambda x: x, dtypes="any", method_only=True)
def _(make):
    yield Sample(make(2, 3))
    yield Sample(make())


@op("select", ref=lambda x, dim, i: x.take(i, axis=dim), dtypes="any")
def _(make):
    yield Sample(make(2, 3), 0, 1)
    yield Sample(make(2, 3), 1, -1)
    yield Sample(make(3), 0, 0)
    yield Sample(make(2, 0, 3), -1, 2)


def _narrow(x, dim, start, length):
    start = start + x.shape[dim] if start < 0 else start
    return x.take(range(start, start + length), axis=dim)


@op("narrow", ref=_narrow, dtypes="any")
def _(make):
    yield Sample(make(2, 4), 1, 1, 2)
    yield Sample(make(4, 2), 0, -2, 2)
    yield Sample(make(4), 0, 4, 0)
    yield Sample(make(2, 3), -1, 0, 3)


def _diagonal(x, offset=0, dim1=0, dim2=1):
    return np.diagonal(x, offset, dim1, dim2)


@op("diagonal", ref=_diagonal, dtypes="any")
def _(make):
    yield Sample(make(3, 3))
    yield Sample(make(3, 4), 1)
    yield Sample(make(3, 2), -1)
    yield Sample(make(2, 3, 3), kwargs={"dim1": -2, "dim2": -1, "offset": 1})
    yield Sample(make(2, 2), 5)
    yield Sample(make(2, 3, 2), 0, 2, 0)


def _unfold(x, dim, size, step):
    if x.ndim == 0:
        return x.reshape(1)[:size]
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=dim)
    return windows[(slice(None),) * (dim % x.ndim) + (slice(None, None, step),)]


@op("unfold", ref=_unfold, dtypes="any", method_only=True)
def _(make):
    yield Sample(make(6), 0, 3, 1)  # overlapping
    yield Sample(make(7), 0, 2, 3)  # with gaps
    yield Sample(make(2, 5), 1, 3, 2)
    yield Sample(make(5, 2), -2, 2, 1)
    yield Sample(make(), 0, 1, 1)
    yield Sample(make(2, 3), 1, 3, 7)


def _as_strided(x, size, stride, storage_offset=0):
    x = np.ascontiguousarray(x).reshape(-1)[storage_offset:]
    return np.lib.stride_tricks.as_strided(x, size, [s * x.itemsize for s in stride]).copy()


@op("as_strided", ref=_as_strided, dtypes="any", skip=LAYOUT)
def _(make):
    yield Sample(make(6), (2, 3), (3, 1))
    yield Sample(make(2, 3), (3, 2), (1, 3))
    yield Sample(make(6), (4, 3), (1, 1))  # overlapping
    yield Sample(make(6), (2, 2), (0, 2), 1)
    yield Sample(make(2, 3), (2,), (4,), kwargs={"storage_offset": 1})
    yield Sample(make(3), (), ())


def _put(x, key, src):
    x = x.copy()
    x[key] = src
    return x


def _strided_scatter(x, src, size, stride, storage_offset=0):
    flat = x.reshape(-1).copy()
    view = np.lib.stride_tricks.as_strided(
        flat[storage_offset:], size, [s * flat.itemsize for s in stride]
    )
    view[...] = src
    return flat.reshape(x.shape)


@op(
    "as_strided_scatter",
    ref=_strided_scatter,
    skip={**LAYOUT, "parity_grad": "PyTorch's gradient fails its own gradcheck"},
)
def _(make):
    yield Sample(make(2, 3), make(2), (2,), (2,), 1)
    yield Sample(make(6), make(2, 2), (2, 2), (3, 1))


def _select_scatter(x, src, dim, index):
    return _put(x, (slice(None),) * (dim % x.ndim) + (index,), src)


@op("select_scatter", ref=_select_scatter, dtypes="any")
def _(make):
    yield Sample(make(2, 3), make(3), 0, 1)
    yield Sample(make(2, 3), make(2), -1, -1)


def _slice_scatter(x, src, dim=0, start=None, end=None, step=1):
    return _put(x, (slice(None),) * (dim % x.ndim) + (slice(start, end, step),), src)


@op("slice_scatter", ref=_slice_scatter, dtypes="any")
def _(make):
    yield Sample(make(4, 2), make(2, 2), 0, 1, 3)
    yield Sample(make(2, 5), make(2, 3), kwargs={"dim": 1, "step": 2})
    yield Sample(make(3), make(1), 0, -1)


def _diagonal_scatter(x, src, offset=0, dim1=0, dim2=1):
    x = x.copy()
    view = np.diagonal(x, offset, dim1, dim2)
    view.flags.writeable = True
    view[...] = src
    return x


@op("diagonal_scatter", ref=_diagonal_scatter, dtypes="any")
def _(make):
    yield Sample(make(3, 3), make(3))
    yield Sample(make(3, 4), make(2), -1)
    yield Sample(make(2, 3, 2), make(3, 2), 0, 0, 2)


# Several pieces.


def _pieces(x, sizes, dim=0):
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis=dim))


@op("split_with_sizes", ref=_pieces, dtypes="any")
def _(make):
    yield Sample(make(5, 2), (2, 3))
    yield Sample(make(2, 4), [1, 0, 3], -1)
    yield Sample(make(3), (3,), kwargs={"dim": 0})


def _split(x, size, dim=0):
    if not isinstance(size, int):
        return _pieces(x, size, dim)
    n = x.shape[dim]
    return tuple(x.take(range(i, min(i + size, n)), axis=dim) for i in range(0, max(n, 1), size))


@op("split", ref=_split, dtypes="any")
def _(make):
    yield Sample(make(5, 2), 2)
    yield Sample(make(2, 4), 4, 1)
    yield Sample(make(2, 4), (1, 3), -1)
    yield Sample(make(0, 2), 2)
    yield Sample(make(4), [4])


def _chunk(x, chunks, dim=0):
    n = x.shape[dim]
    return _split(x, -(-n // chunks), dim) if n else tuple([x] * chunks)


@op("chunk", ref=_chunk, dtypes="any")
def _(make):
    yield Sample(make(5, 2), 2)
    yield Sample(make(2, 6), 4, 1)
    yield Sample(make(2), 5)
    yield Sample(make(0, 2), 3)


def _tensor_split(x, sections, dim=0):
    if isinstance(sections, np.ndarray):
        sections = int(sections) if sections.ndim == 0 else sections.tolist()
    return tuple(np.array_split(x, sections, axis=dim))


@op("tensor_split", ref=_tensor_split, dtypes="float")
def _(make):
    yield Sample(make(5, 2), 3)
    yield Sample(make(2, 5), (1, 3), 1)
    yield Sample(make(5), [2, 2, 9])
    yield Sample(make(5), (-1,))


def _evenly(f):
    return lambda x, sections: tuple(f(x, sections))


@op("hsplit", ref=_evenly(np.hsplit))
def _(make):
    yield Sample(make(2, 4), 2)
    yield Sample(make(4), 2)
    yield Sample(make(2, 4), (1, 3))


@op("vsplit", ref=_evenly(np.vsplit))
def _(make):
    yield Sample(make(4, 2), 2)
    yield Sample(make(4, 2), (1, 3))


@op("dsplit", ref=_evenly(np.dsplit))
def _(make):
    yield Sample(make(2, 1, 4), 2)
    yield Sample(make(1, 2, 4), (3,))


@op("unbind", ref=lambda x, dim=0: tuple(np.moveaxis(x, dim, 0)), dtypes="any")
def _(make):
    yield Sample(make(3, 2))
    yield Sample(make(2, 3), 1)
    yield Sample(make(3), kwargs={"dim": -1})
