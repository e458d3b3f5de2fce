"""Dropout layers: they do something in training mode only."""

from __future__ import annotations

import rustgrad as rg

from .. import functional as F
from .module import Module

__all__ = [
    "AlphaDropout",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
]


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        F._check_probability(p)
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Zeroes each element with probability ``p`` and divides the others by 1 - ``p``.

    Args:
        p: the probability. Default: ``0.5``.
        inplace: overwrite the input. Default: ``False``.

    Raises:
        ValueError: ``p`` is not between 0 and 1.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.Dropout(0.5).eval()(rg.ones(3)).tolist()
        [1.0, 1.0, 1.0]
    """

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """Zeroes whole channels of inputs (N, C, L) or (C, L); otherwise as :class:`Dropout`."""

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Zeroes whole channels of inputs (N, C, H, W); otherwise as :class:`Dropout`."""

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """Zeroes whole channels of inputs (N, C, D, H, W) or (C, D, H, W); otherwise as
    :class:`Dropout`.
    """

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """Dropout for ``SELU``: keeps mean 0 and variance 1."""

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(_Dropout):
    """:class:`AlphaDropout` of whole channels."""

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)
