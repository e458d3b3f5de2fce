"""Normalisation, and similarity of directions."""

import numpy as np

from ..registry import Sample, op


def _layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    n = len(normalized_shape) if isinstance(normalized_shape, list | tuple) else 1
    axes = tuple(range(x.ndim - n, x.ndim))
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    y = (x - mean) / np.sqrt(var + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


# Differences from the mean of rounded numbers, divided by a small deviation.
@op("layer_norm", ref=_layer_norm, tol=4, skip={"large": "its sizes are among the arguments"})
def _(make):
    yield Sample(make(3, 4), [4])
    yield Sample(make(3, 4), [4], make(4))
    yield Sample(make(3, 4), [4], make(4), make(4))
    yield Sample(make(3, 4), (4,), None, make(4), 1e-3)
    yield Sample(make(2, 2, 3), (2, 3), make(2, 3), make(2, 3))
    yield Sample(make(2, 3, 2), [2], kwargs={"eps": 0.1})
    yield Sample(make(4), [4])
    yield Sample(make(0, 4), [4], make(4), make(4))


def _norm(x, p, dim):
    size = np.abs(x)
    if p == np.inf:
        return size.max(axis=dim, keepdims=True)
    return (size**p).sum(axis=dim, keepdims=True) ** (1 / p)


def _normalize(x, p=2.0, dim=1, eps=1e-12):
    return x / np.maximum(_norm(x, p, dim), eps)


@op("normalize", ref=_normalize, tol=2)
def _(make):
    yield Sample(make(3, 4))
    yield Sample(make(3, 4), 2.0, 0)
    yield Sample(make(3, 4), 1.0, -1)
    yield Sample(make(2, 3), 3.0)
    yield Sample(make(2, 3, distinct=True), float("inf"))
    yield Sample(make(4), kwargs={"dim": 0})
    # The norm is below eps, which takes its place.
    yield Sample(make(2, 3), kwargs={"eps": 100.0})
    yield Sample(make(0, 3))


@op(
    "normalize",
    ref=_normalize,
    skip={
        "gradcheck": "the zero vector",
        "gradgradcheck": "the zero vector",
        "f16": "eps is zero in this type",
        "parity_grad": "PyTorch's second derivative is NaN",
    },
)
def _(make):
    yield Sample(np.array([[0.0, 0.0], [3.0, 4.0]]))


def _cosine(x, y, dim=1, eps=1e-8):
    x, y = np.broadcast_arrays(x, y)
    unit = [v / np.maximum(np.linalg.norm(v, axis=dim, keepdims=True), eps) for v in (x, y)]
    return (unit[0] * unit[1]).sum(dim)


@op("cosine_similarity", ref=_cosine, tol=2)
def _(make):
    yield Sample(make(3, 4), make(3, 4))
    yield Sample(make(3, 4), make(3, 4), 0)
    yield Sample(make(4), make(4), kwargs={"dim": 0})
    yield Sample(make(2, 3, 2), make(2, 3, 2), -1)
    yield Sample(make(2, 3), make(1, 3))
    yield Sample(make(2, 3), make(2, 3), kwargs={"eps": 0.1})
