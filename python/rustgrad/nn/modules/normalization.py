"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rustgrad as rg

from .. import functional as F, init
from ..parameter import Parameter
from .module import Module

__all__ = ["LayerNorm"]


class LayerNorm(Module):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last dimensions.

    Shapes: input and output (*, ``*normalized_shape``).

    Args:
        normalized_shape: sizes of the dimensions normalised together; a number means one.
        eps: keeps the divisor from 0. Default: ``1e-5``.
        elementwise_affine: whether to train ``weight`` and ``bias``. Default: ``True``.
        bias: whether to train ``bias``. Default: ``True``.
        device: where the parameters live.
        dtype: their type.

    Attributes:
        weight: shape ``normalized_shape``, ones at first, or ``None``.
        bias: shape ``normalized_shape``, zeros at first, or ``None``.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.LayerNorm(3)(rg.full((2, 3), 7.0)).abs().max().item()
        0.0
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if isinstance(normalized_shape, int):
            normalized_shape = (normalized_shape,)
        self.normalized_shape = tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        for name, wanted in (("weight", True), ("bias", bias)):
            param = None
            if elementwise_affine and wanted:
                param = Parameter(rg.empty(self.normalized_shape, device=device, dtype=dtype))
            self.register_parameter(name, param)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets ``weight`` to ones and ``bias`` to zeros."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )
