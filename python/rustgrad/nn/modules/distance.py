"""Distances and similarities as layers."""

from __future__ import annotations

import rustgrad as rg

from .. import functional as F
from .module import Module

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class CosineSimilarity(Module):
    """The cosine of the angle between x1 and x2 along ``dim``.

    Args:
        dim: the dimension that disappears. Default: ``1``.
        eps: smallest value of each norm. Default: ``1e-8``.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.CosineSimilarity(dim=0)(rg.tensor([2.0, 0.0]), rg.tensor([0.0, 3.0])).item()
        0.0
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: rg.Tensor, x2: rg.Tensor) -> rg.Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The ``p``-norm of x1 - x2 + ``eps`` along the last dimension.

    Args:
        p: Default: ``2.0``.
        eps: added to the difference. Default: ``1e-6``.
        keepdim: keep the last dimension, with size 1. Default: ``False``.
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: rg.Tensor, x2: rg.Tensor) -> rg.Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
