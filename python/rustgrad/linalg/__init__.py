"""Norms and products of vectors and matrices. Decompositions are not there yet."""

from __future__ import annotations

from typing import Any

import rustgrad as rg
from rustgrad import _C

__all__ = [
    "cross",
    "diagonal",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "multi_dot",
    "norm",
    "vecdot",
    "vector_norm",
]

matmul = _C.matmul
matrix_power = _C.matrix_power


def vector_norm(
    x: rg.Tensor,
    ord: float = 2,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    out: rg.Tensor | None = None,
) -> rg.Tensor:
    """The ``ord``-norm of all elements, or of the vectors along ``dim``.

    Args:
        x: any shape.
        ord: a number; ``inf`` and ``-inf`` take the largest and smallest absolute value, and 0
            counts the elements that are not zero. Default: ``2``.
        dim: a dimension, or several that are taken together as one vector.
        keepdim: keep the dimensions, with size 1. Default: ``False``.
        dtype: convert to this before computing.
        out: a tensor that takes the result.

    >>> import rustgrad as rg
    >>> rg.linalg.vector_norm(rg.tensor([[3.0, -4.0], [0.0, 2.0]]), dim=1)
    tensor([5., 2.])
    """
    return _C.linalg_vector_norm(x, ord, dim, keepdim, dtype=dtype, out=out)


def matrix_norm(
    A: rg.Tensor,
    ord: Any = "fro",
    dim: Any = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: Any = None,
    out: rg.Tensor | None = None,
) -> rg.Tensor:
    """A norm of the matrices in two dimensions.

    Args:
        A: shape (*, m, n).
        ord: ``"fro"`` for the root of the sum of squares; 1 and -1 for the largest and smallest
            sum of absolute values of a column, ``inf`` and ``-inf`` of a row. Default: ``"fro"``.
        dim: which two dimensions. Default: ``(-2, -1)``.
        keepdim: keep the dimensions, with size 1. Default: ``False``.
        dtype: convert to this before computing.
        out: a tensor that takes the result.

    Raises:
        NotImplementedError: ``ord`` is 2, -2 or ``"nuc"``, which need singular values.
        RuntimeError: ``ord`` is something else, or ``dim`` not two dimensions.

    >>> import rustgrad as rg
    >>> rg.linalg.matrix_norm(rg.tensor([[1.0, -2.0], [3.0, 4.0]]), 1)
    tensor(6.)
    """
    if A.dim() < 2:
        raise RuntimeError(
            "linalg.matrix_norm: The input tensor A must have at least 2 dimensions, but has "
            f"shape {tuple(A.shape)}"
        )
    rows, columns = (d % A.dim() for d in dim)
    if rows == columns:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got {tuple(dim)}")
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim, dtype=dtype, out=out)
    if ord == "nuc" or abs(ord) == 2:
        raise NotImplementedError(
            f"linalg.matrix_norm: ord={ord!r} needs singular values, which are not available; use "
            "'fro', 1, -1, inf or -inf"
        )
    if abs(ord) not in (1, float("inf")):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    along, across = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = vector_norm(A, 1, along, True, dtype=dtype)
    norms = sums.amax(across, True) if ord > 0 else sums.amin(across, True)
    if not keepdim:
        norms = norms.squeeze((rows, columns))
    return norms if out is None else out.copy_(norms)


def norm(
    A: rg.Tensor,
    ord: Any = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    out: rg.Tensor | None = None,
    dtype: Any = None,
) -> rg.Tensor:
    """A norm of vectors or matrices.

    Args:
        A: any shape.
        ord: see :func:`vector_norm` and :func:`matrix_norm`. Default: the root of the sum of
            squares.
        dim: one dimension for norms of vectors, two for norms of matrices. Without it ``A`` is one
            vector or matrix, of any shape if ``ord`` is not given either.
        keepdim: keep the dimensions, with size 1. Default: ``False``.
        out: a tensor that takes the result.
        dtype: convert to this before computing.

    >>> import rustgrad as rg
    >>> rg.linalg.norm(rg.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor(5.)
    """
    if dim is not None and not isinstance(dim, int):
        dim = tuple(dim)
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype, out=out)
    if dim is None and A.dim() not in (1, 2):
        raise RuntimeError(
            "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
            f"{A.dim()}D."
        )
    if (A.dim() == 2) if dim is None else (isinstance(dim, tuple) and len(dim) == 2):
        return matrix_norm(A, ord, dim or (0, 1), keepdim, dtype=dtype, out=out)
    return vector_norm(A, ord, dim, keepdim, dtype=dtype, out=out)


def vecdot(x: rg.Tensor, y: rg.Tensor, *, dim: int = -1, out: rg.Tensor | None = None) -> rg.Tensor:
    """The products of the vectors along ``dim``, which broadcast.

    >>> import rustgrad as rg
    >>> rg.linalg.vecdot(rg.tensor([[1.0, 2.0], [3.0, 4.0]]), rg.tensor([10.0, 1.0]))
    tensor([12., 34.])
    """
    dot = (x * y).sum(dim)
    return dot if out is None else out.copy_(dot)


def cross(
    input: rg.Tensor, other: rg.Tensor, *, dim: int = -1, out: rg.Tensor | None = None
) -> rg.Tensor:
    """The cross products of the vectors with three elements along ``dim``.

    >>> import rustgrad as rg
    >>> rg.linalg.cross(rg.tensor([1.0, 0.0, 0.0]), rg.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    return _C.linalg_cross(input, other, dim=dim, out=out)


def multi_dot(tensors: Any, *, out: rg.Tensor | None = None) -> rg.Tensor:
    """The product of matrices, in the order that takes the fewest multiplications.

    The first and the last may be vectors.

    >>> import rustgrad as rg
    >>> rg.linalg.multi_dot([rg.ones(2, 3), rg.ones(3, 4), rg.ones(4)]).shape
    rustgrad.Size([2])
    """
    return _C.linalg_multi_dot(list(tensors), out=out)


def diagonal(A: rg.Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> rg.Tensor:
    """The diagonals of the matrices in the last two dimensions, as a view.

    >>> import rustgrad as rg
    >>> rg.linalg.diagonal(rg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 4.])
    """
    return _C.diagonal(A, offset, dim1, dim2)
