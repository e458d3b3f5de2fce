"""Tensors from nothing."""

import numpy as np
import rustgrad as rg

from ..registry import Sample, op

NUMPY = {
    rg.float64: np.float64,
    rg.float32: np.float32,
    rg.float16: np.float16,
    rg.int64: np.int64,
    rg.int32: np.int32,
    rg.int16: np.int16,
    rg.int8: np.int8,
    rg.uint8: np.uint8,
    rg.bool: np.bool_,
}


def _size(size):
    return size[0] if len(size) == 1 and not isinstance(size[0], int) else size


def _typed(a, dtype=None, **_):
    return a if dtype is None else np.asarray(a).astype(NUMPY[dtype])


def _sizes(name, ref=None, check=None):
    @op(name, ref=ref, check=check, grad=False)
    def _(make):
        yield Sample(2, 3)
        yield Sample((2, 3))
        yield Sample([4])
        yield Sample(())
        yield Sample(0, 2)
        yield Sample(3, kwargs={"dtype": rg.int64})
        yield Sample(3, kwargs={"dtype": rg.bool})
        yield Sample(3, kwargs={"dtype": rg.float16})
        yield Sample(kwargs={"size": (2, 1)})


def _constant(f):
    def ref(*args, size=None, **kwargs):
        return _typed(f(_size(args) if size is None else size), **kwargs)

    return ref


def _has_size(result, *args, size=None, **_):
    assert result.shape == tuple(_size(args) if size is None else size)


_sizes("zeros", _constant(np.zeros))
_sizes("ones", _constant(np.ones))
_sizes("empty", check=_has_size)


@op("full", ref=lambda size, fill_value, **k: _typed(np.full(size, fill_value), **k), grad=False)
def _(make):
    yield Sample((2, 3), 1.5)
    yield Sample((2,), 7)  # int64
    yield Sample((2,), True)  # bool
    yield Sample((), -2)
    yield Sample((0, 2), 1.0)
    yield Sample((2,), 3.7, kwargs={"dtype": rg.int32})
    yield Sample((2,), -1, kwargs={"dtype": rg.uint8})  # wraps, as in PyTorch
    yield Sample((2,), float("inf"), kwargs={"dtype": rg.float16})
    yield Sample((2,), kwargs={"fill_value": 2, "dtype": rg.float64})


@op("scalar_tensor", ref=lambda s, **k: _typed(np.float64(s), **k), grad=False)
def _(make):
    yield Sample(3)
    yield Sample(2.5)
    yield Sample(2.5, kwargs={"dtype": rg.int64})
    yield Sample(True, kwargs={"dtype": rg.bool})


@op("eye", ref=lambda n, m=None, **k: _typed(np.eye(n, m), **k), grad=False)
def _(make):
    yield Sample(3)
    yield Sample(2, 4)
    yield Sample(4, 2)
    yield Sample(0)
    yield Sample(3, 0)
    yield Sample(2, kwargs={"dtype": rg.bool})
    yield Sample(2, kwargs={"m": 3, "dtype": rg.int8})


def _arange(*args, start=0, end=None, step=1, dtype=None, **_):
    if len(args) == 1:
        end = args[0]
    else:
        start, end, step = (*args, *(start, end, step)[len(args) :])
    if dtype == rg.int64:
        start, end, step = int(start), int(end), int(step)
    n = max(0, int(np.ceil((end - start) / step)))
    if dtype is not None and not dtype.is_floating_point:
        start, step = int(start), int(step)
    return _typed(start + step * np.arange(n), dtype)


@op("arange", ref=_arange, grad=False)
def _(make):
    yield Sample(5)
    yield Sample(2.5)
    yield Sample(2, 7)
    yield Sample(2, 8, 3)
    yield Sample(8, 2, -3)
    yield Sample(0, 1, 0.1)
    yield Sample(1, 2.5, 0.5)
    yield Sample(3, 3)
    yield Sample(kwargs={"end": 3})
    yield Sample(kwargs={"start": 1, "end": 6, "step": 2})
    yield Sample(5, kwargs={"dtype": rg.float64})
    yield Sample(5, kwargs={"dtype": rg.float16})
    yield Sample(2.5, kwargs={"dtype": rg.int64})
    yield Sample(2.5, kwargs={"dtype": rg.int32})
    yield Sample(300, kwargs={"dtype": rg.uint8})  # wraps


@op(
    "linspace",
    ref=lambda start, end, steps, **k: _typed(np.linspace(start, end, steps), **k),
    grad=False,
)
def _(make):
    yield Sample(0, 1, 5)
    yield Sample(-2.5, 3.5, 7)
    yield Sample(3, -3, 4)
    yield Sample(2, 5, 1)
    yield Sample(2, 5, 0)
    yield Sample(0, 1, kwargs={"steps": 3, "dtype": rg.float64})
    yield Sample(0, 10, 5, kwargs={"dtype": rg.int64})


@op(
    "logspace",
    ref=lambda start, end, steps, base=10.0, **k: _typed(
        np.logspace(start, end, steps, base=base), **k
    ),
    grad=False,
)
def _(make):
    yield Sample(0, 2, 3)
    yield Sample(-1, 1, 5, 2.0)
    yield Sample(0, 3, 4, kwargs={"base": 2, "dtype": rg.float64})
    yield Sample(0, 2, 1)
    yield Sample(0, 2, 0)


def _likes(name, ref=None, check=None, args=()):
    @op(name, ref=ref, check=check, dtypes="any", grad=False)
    def _(make):
        yield Sample(make(2, 3), *args)
        yield Sample(make(), *args)
        yield Sample(make(0, 2), *args)

    @op(name, ref=ref, check=check, grad=False)
    def _(make):
        yield Sample(make(2, 3), *args, kwargs={"dtype": rg.int64})
        yield Sample(make(2, 3), *args, kwargs={"dtype": rg.float64})


def _like(value):
    def ref(x, *args, dtype=None):
        return _typed(np.full(x.shape, args[0] if args else value), dtype)

    return ref


def _is_like(result, x, **_):
    assert result.shape == x.shape


_likes("zeros_like", _like(0))
_likes("ones_like", _like(1))
_likes("full_like", _like(None), args=(3,))
_likes("empty_like", check=_is_like)


def _news(name, ref=None, check=None, args=()):
    @op(name, ref=ref, check=check, dtypes="any", grad=False, method_only=True)
    def _(make):
        yield Sample(make(2, 3), (3, 1), *args)
        yield Sample(make(), (), *args)
        yield Sample(make(2), (0, 2), *args)

    @op(name, ref=ref, check=check, grad=False, method_only=True)
    def _(make):
        yield Sample(make(2), (2,), *args, kwargs={"dtype": rg.int64})

    if not args:

        @op(name, ref=ref, check=check, grad=False, method_only=True)
        def _(make):
            yield Sample(make(2), 2, 3)


def _new(value):
    def ref(x, *args, dtype=None):
        if value is None:
            return _typed(np.full(*args), dtype)
        return _typed(np.full(_size(args), value), dtype)

    return ref


_news("new_zeros", _new(0))
_news("new_ones", _new(1))
_news("new_full", _new(None), args=(3,))
_news("new_empty", check=lambda result, x, *size, **_: _has_size(result, *size))


@op("empty_strided", check=lambda result, size, stride, **_: _has_size(result, size), grad=False)
def _(make):
    yield Sample((2, 3), (1, 2))
    yield Sample((2, 3), (0, 1))
    yield Sample((), ())
    yield Sample((0, 2), (2, 1))
    yield Sample((2,), (3,), kwargs={"dtype": rg.int64})


@op(
    "new_empty_strided",
    check=lambda result, x, size, stride: _has_size(result, size),
    grad=False,
    dtypes="any",
    method_only=True,
)
def _(make):
    yield Sample(make(1), (2, 3), (1, 2))


@op("empty_permuted", check=lambda result, size, order, **_: _has_size(result, size), grad=False)
def _(make):
    yield Sample((2, 3, 4), (2, 0, 1))
    yield Sample((), ())
    yield Sample((0, 2), (1, 0), kwargs={"dtype": rg.int64})


def _triangle(f):
    def ref(row, col, offset=0, **kwargs):
        return _typed(np.stack(f(row, offset, col)), **kwargs)

    return ref


def _triangles(name, f):
    @op(name, ref=_triangle(f), grad=False)
    def _(make):
        yield Sample(3, 3)
        yield Sample(3, 2, -1)
        yield Sample(2, 4, 1)
        yield Sample(3, 3, 5)
        yield Sample(3, 3, -5)
        yield Sample(0, 3)
        yield Sample(2, 2, kwargs={"dtype": rg.int32})


_triangles("tril_indices", np.tril_indices)
_triangles("triu_indices", np.triu_indices)
