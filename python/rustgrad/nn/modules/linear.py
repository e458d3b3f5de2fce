"""Linear and bilinear maps."""

from __future__ import annotations

import math
from typing import Any

import rustgrad as rg

from .. import functional as F, init
from ..parameter import Parameter
from .module import Module

__all__ = ["Bilinear", "Identity", "Linear"]


class Identity(Module):
    """Returns its input; takes any arguments and ignores them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return input


class Linear(Module):
    """y = f(x W^T + b).

    Shapes: input (*, in_features), output (*, out_features).

    Args:
        in_features: size of each input.
        out_features: size of each output.
        bias: whether to add b. Default: ``True``.
        device: where the parameters live.
        dtype: their type.
        activation: f: ``'relu'``, ``'tanh'``, ``'sigmoid'``, or ``None`` for the identity. The same
            as a module of its own after this one, to the bit.

    Attributes:
        weight: W, shape (out_features, in_features), drawn from U(-k, k) with
            k = 1 / sqrt(in_features).
        bias: b, shape (out_features,), drawn from the same, or ``None``.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.Linear(3, 2)(rg.zeros(5, 3)).shape == (5, 2)
        True
        >>> rg.nn.Linear(3, 2, activation="relu")
        Linear(in_features=3, out_features=2, bias=True, activation='relu')
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        activation: str | None = None,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(rg.empty((out_features, in_features), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(rg.empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new values for the parameters."""
        # With this a, the bound sqrt(6 / ((1 + a^2) fan_in)) is 1 / sqrt(fan_in).
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.linear(input, self.weight, self.bias, self.activation)

    def extra_repr(self) -> str:
        activation = "" if self.activation is None else f", activation={self.activation!r}"
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}{activation}"
        )


class Bilinear(Module):
    """y_k = x1^T A_k x2 + b_k.

    Shapes: inputs (*, in1_features) and (*, in2_features), output (*, out_features).

    Args:
        in1_features: size of each first input.
        in2_features: size of each second input.
        out_features: size of each output.
        bias: whether to add b. Default: ``True``.
        device: where the parameters live.
        dtype: their type.

    Attributes:
        weight: A, shape (out_features, in1_features, in2_features), drawn from U(-k, k) with
            k = 1 / sqrt(in1_features).
        bias: b, shape (out_features,), drawn from the same, or ``None``.

    Raises:
        ValueError: ``in1_features`` is not positive.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.Bilinear(3, 4, 2)(rg.zeros(5, 3), rg.zeros(5, 4)).shape == (5, 2)
        True
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"in1_features must be > 0, but got {in1_features}")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        shape = (out_features, in1_features, in2_features)
        self.weight = Parameter(rg.empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(rg.empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new values for the parameters."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: rg.Tensor, input2: rg.Tensor) -> rg.Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
