"""Joining, repeating, reversing, padding; triangles and diagonals."""

import numpy as np
import scipy.linalg

from ..registry import Sample, op


@op("cat", ref=lambda xs, dim=0: np.concatenate(xs, axis=dim), dtypes="any")
def _(make):
    yield Sample([make(2, 3), make(1, 3)])
    yield Sample([make(2, 1), make(2, 3), make(2, 0)], 1)
    yield Sample([make(2, 3)], kwargs={"dim": -1})
    yield Sample([make(3, 2, 2), make(3, 1, 2)], -2)
    x = make(2)
    yield Sample([x, x, make(1)])


def _cat_skipping(xs, dim=0):
    kept = [x for x in xs if x.shape != (0,)]
    return np.concatenate(kept, axis=dim)


# Vectors without elements are skipped, whatever the other shapes.
@op("cat", ref=_cat_skipping)
def _(make):
    yield Sample([make(0), make(2, 3), make(0), make(1, 3)])


@op("stack", ref=lambda xs, dim=0: np.stack(xs, axis=dim), dtypes="any")
def _(make):
    yield Sample([make(2, 3), make(2, 3)])
    yield Sample([make(2, 3), make(2, 3), make(2, 3)], 1)
    yield Sample([make(2), make(2)], kwargs={"dim": -1})
    yield Sample([make(), make()])
    yield Sample([make(0, 2)], 2)


@op("hstack", ref=np.hstack)
def _(make):
    yield Sample([make(2, 3), make(2, 1)])
    yield Sample([make(2), make(3)])
    yield Sample([make(), make(2)])


@op("vstack", ref=np.vstack)
def _(make):
    yield Sample([make(2, 3), make(3)])
    yield Sample([make(2), make(2)])


@op("dstack", ref=np.dstack)
def _(make):
    yield Sample([make(2, 3), make(2, 3)])
    yield Sample([make(2), make(2)])
    yield Sample([make(), make()])


@op("column_stack", ref=np.column_stack)
def _(make):
    yield Sample([make(2), make(2, 3), make(2)])
    yield Sample([make(2), make(2)])


for _n in (1, 2, 3):
    _ref = getattr(np, f"atleast_{_n}d")

    @op(f"atleast_{_n}d", ref=_ref)
    def _(make):
        yield Sample(make())
        yield Sample(make(3))
        yield Sample(make(2, 3))
        yield Sample(make(1, 2, 3))

    @op(
        f"atleast_{_n}d.each",
        ref=lambda *xs, _f=_ref: tuple(_f(x) for x in xs),
        torch=f"atleast_{_n}d",
    )
    def _(make):
        yield Sample(make(), make(3))
        yield Sample(make(2, 2), make(), make(1, 2, 3))


@op("broadcast_tensors", ref=lambda *xs: tuple(np.broadcast_arrays(*xs)))
def _(make):
    yield Sample(make(3, 1), make(4))
    yield Sample(make(2), make(), make(1, 1))


def _meshgrid(*xs, indexing="ij"):
    return tuple(np.meshgrid(*xs, indexing=indexing))


@op("meshgrid", ref=_meshgrid)
def _(make):
    yield Sample(make(2), make(3), kwargs={"indexing": "ij"})
    yield Sample(make(2), make(3), make(2), kwargs={"indexing": "xy"})
    yield Sample(make(2), kwargs={"indexing": "xy"})
    yield Sample(make(), make(3), kwargs={"indexing": "ij"})


def _cartesian(*xs):
    grids = np.meshgrid(*xs, indexing="ij")
    return np.stack([g.reshape(-1) for g in grids], axis=-1) if len(xs) > 1 else xs[0]


@op("cartesian_prod", ref=_cartesian)
def _(make):
    yield Sample(make(2), make(3))
    yield Sample(make(3))
    yield Sample(make(2), make(1), make(2))


@op("block_diag", ref=lambda *xs: scipy.linalg.block_diag(*xs))
def _(make):
    yield Sample(make(2, 3), make(1, 2))
    yield Sample(make(2), make(), make(2, 2))
    yield Sample(make(2, 2))


@op("flip", ref=lambda x, dims: np.flip(x, dims), dtypes="any")
def _(make):
    yield Sample(make(2, 3), (0,))
    yield Sample(make(2, 3), (0, 1))
    yield Sample(make(2, 3, 2), (-1, 0))
    yield Sample(make(2, 3), ())
    yield Sample(make(0, 3), (1,))
    yield Sample(make(), ())


@op("fliplr", ref=np.fliplr)
def _(make):
    yield Sample(make(2, 3))


@op("flipud", ref=np.flipud)
def _(make):
    yield Sample(make(2, 3))
    yield Sample(make(4))


def _roll(x, shifts, dims=()):
    return np.roll(x, shifts, dims if dims != () else None)


@op("roll", ref=_roll, dtypes="any")
def _(make):
    yield Sample(make(2, 3), 1)
    yield Sample(make(2, 3), 1, 1)
    yield Sample(make(4, 3), (1, -2), (0, 1))
    yield Sample(make(5), -7, 0)
    yield Sample(make(2, 3), (1, 1), (0, 0))
    yield Sample(make(0, 3), 1, 0)
    yield Sample(make(2, 3), 0, -1)


@op("rot90", ref=lambda x, k=1, dims=(0, 1): np.rot90(x, k, dims))
def _(make):
    yield Sample(make(2, 3))
    yield Sample(make(2, 3), 2)
    yield Sample(make(2, 2, 3), 3, (2, 0))
    yield Sample(make(2, 3), -1)
    yield Sample(make(2, 3), 4)


def _repeat(x, *repeats):
    return np.tile(x, repeats[0] if isinstance(repeats[0], tuple) else repeats)


@op("repeat", ref=_repeat, dtypes="any", method_only=True)
def _(make):
    yield Sample(make(2, 3), 2, 1)
    yield Sample(make(2), (3, 2))
    yield Sample(make(), 2)
    yield Sample(make(2), 0)
    yield Sample(make(2, 1), 1, 2, 2)


@op("tile", ref=np.tile, dtypes="any")
def _(make):
    yield Sample(make(2, 3), (2,))
    yield Sample(make(2), (2, 3))
    yield Sample(make(2, 2), (2, 1))


def _interleave(x, repeats, dim=None, output_size=None):
    return np.repeat(x, repeats, axis=dim)


@op("repeat_interleave", ref=_interleave, dtypes="any")
def _(make):
    yield Sample(make(3), 2)
    yield Sample(make(2, 3), 2)
    yield Sample(make(2, 3), 2, 1)
    yield Sample(make(2, 3), 3, kwargs={"dim": 0, "output_size": 6})
    yield Sample(make(), 2)
    yield Sample(make(2), 0)


REPEATS = {"meta": "the shape depends on how often each element is repeated"}


@op("repeat_interleave.each", ref=_interleave, torch="repeat_interleave", skip=REPEATS)
def _(make):
    yield Sample(make(3), np.array([1, 0, 2]))
    yield Sample(make(2, 3), np.array([2, 1, 0]), 1)
    yield Sample(make(2, 2), np.array([2]), 0)


def _triangle(f):
    return lambda x, diagonal=0: f(x, diagonal)


for _name, _f in {"tril": np.tril, "triu": np.triu}.items():

    @op(_name, ref=_triangle(_f), dtypes="any")
    def _(make):
        yield Sample(make(3, 3))
        yield Sample(make(3, 4), 1)
        yield Sample(make(4, 2), -1)
        yield Sample(make(2, 2, 3), kwargs={"diagonal": 9})
        yield Sample(make(0, 3))


@op("diag", ref=lambda x, diagonal=0: np.diag(x, diagonal), dtypes="any")
def _(make):
    yield Sample(make(3))
    yield Sample(make(2), 1)
    yield Sample(make(3, 4))
    yield Sample(make(3, 3), -1)


def _diag_embed(x, offset=0, dim1=-2, dim2=-1):
    n = x.shape[-1] + abs(offset)
    out = np.zeros((*x.shape[:-1], n, n), dtype=x.dtype)
    i = np.arange(x.shape[-1])
    out[..., i + max(-offset, 0), i + max(offset, 0)] = x
    return np.moveaxis(out, (-2, -1), (dim1, dim2))


@op("diag_embed", ref=_diag_embed, dtypes="any")
def _(make):
    yield Sample(make(3))
    yield Sample(make(2, 2), 1)
    yield Sample(make(2, 3), -1, 0, 2)
    yield Sample(make(2), kwargs={"dim1": 1, "dim2": 0, "offset": 1})


@op("diagflat", ref=lambda x, offset=0: np.diagflat(x, offset))
def _(make):
    yield Sample(make(3))
    yield Sample(make(2, 2), 1)
    yield Sample(make())


@op("trace", ref=np.trace, dtypes="float|int")
def _(make):
    yield Sample(make(3, 3))
    yield Sample(make(2, 3))
    yield Sample(make(0, 3))


def _borders(x, pad):
    widths = [(0, 0)] * x.ndim
    for i in range(len(pad) // 2):
        widths[-1 - i] = (pad[2 * i], pad[2 * i + 1])
    return widths


def _constant(x, pad, value=0):
    widths = _borders(x, pad)
    cut = tuple(
        slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(widths, x.shape, strict=True)
    )
    grown = [(max(a, 0), max(b, 0)) for a, b in widths]
    return np.pad(x[cut], grown, constant_values=value)


@op("constant_pad_nd", ref=_constant, dtypes="float|int")
def _(make):
    yield Sample(make(2, 3), (1, 2))
    yield Sample(make(2, 3), (1, 0, 0, 2), 3)
    yield Sample(make(2, 4), (-1, 2), kwargs={"value": 2})
    yield Sample(make(2, 3), (0, -2, -1, 1))
    yield Sample(make(0, 3), (1, 1))


MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _pad(x, pad, mode="constant", value=None):
    if mode == "constant":
        return _constant(x, pad, 0 if value is None else value)
    return np.pad(x, _borders(x, pad), mode=MODES[mode])


@op("pad", ref=_pad)
def _(make):
    yield Sample(make(2, 3), (1, 2))
    yield Sample(make(2, 3), (1, 2), kwargs={"mode": "constant", "value": 1.5})
    yield Sample(make(2, 4), (1, 2), "reflect")
    yield Sample(make(2, 3), (2, 1), "replicate")
    yield Sample(make(2, 3), (2, 3), "circular")
    yield Sample(make(1, 2, 3), (1, 2, 1, 0), "reflect")
