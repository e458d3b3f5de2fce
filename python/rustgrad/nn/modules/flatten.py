"""Layers that change the shape only."""

from __future__ import annotations

from collections.abc import Sequence

import rustgrad as rg

from .module import Module

__all__ = ["Flatten", "Unflatten"]


class Flatten(Module):
    """Joins the dimensions from ``start_dim`` to ``end_dim`` into one.

    Args:
        start_dim: the first. Default: ``1``.
        end_dim: the last. Default: ``-1``.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.Flatten()(rg.zeros(2, 3, 4)).shape == (2, 12)
        True
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits dimension ``dim`` into several.

    Args:
        dim: which.
        unflattened_size: the new sizes; one may be -1.

    Raises:
        TypeError: ``unflattened_size`` is not a tuple or list of ints.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.Unflatten(1, (3, 4))(rg.zeros(2, 12)).shape == (2, 3, 4)
        True
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(dim, int):
            raise TypeError(
                f"[Unflatten] dim must be an int, since named dimensions are not supported, but "
                f"got {type(dim).__name__}"
            )
        if not isinstance(unflattened_size, (tuple, list)):
            raise TypeError(
                "[Unflatten] unflattened_size must be tuple of ints, but found type "
                f"{type(unflattened_size).__name__}"
            )
        for position, size in enumerate(unflattened_size):
            if not isinstance(size, int):
                raise TypeError(
                    "[Unflatten] unflattened_size must be tuple of ints, but found element of "
                    f"type {type(size).__name__} at pos {position}"
                )
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
