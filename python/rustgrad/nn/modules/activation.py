"""Activation functions as layers."""

from __future__ import annotations

from typing import Any

import rustgrad as rg

from .. import functional as F, init
from ..parameter import Parameter
from .module import Module

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]


class _Inplace(Module):
    """A layer whose only setting is whether it overwrites its input."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_Inplace):
    """max(x, 0), element by element; see :func:`~rustgrad.nn.functional.relu`.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.ReLU()(rg.tensor([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.relu(input, self.inplace)


class ReLU6(_Inplace):
    """min(max(x, 0), 6), element by element; see :func:`~rustgrad.nn.functional.relu6`."""

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.relu6(input, self.inplace)


class SELU(_Inplace):
    """The scaled ELU that keeps mean 0 and variance 1 fixed, element by element."""

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.selu(input, self.inplace)


class SiLU(_Inplace):
    """x * sigmoid(x), element by element; see :func:`~rustgrad.nn.functional.silu`."""

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.silu(input, self.inplace)


class Mish(_Inplace):
    """x * tanh(softplus(x)), element by element; see :func:`~rustgrad.nn.functional.mish`."""

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.mish(input, self.inplace)


class Hardsigmoid(_Inplace):
    """min(max(x / 6 + 1 / 2, 0), 1), element by element."""

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.hardsigmoid(input, self.inplace)


class Hardswish(_Inplace):
    """x * hardsigmoid(x), element by element; see :func:`~rustgrad.nn.functional.hardswish`."""

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.hardswish(input, self.inplace)


class Tanh(Module):
    """tanh(x), element by element."""

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.tanh(input)


class Sigmoid(Module):
    """1 / (1 + exp(-x)), element by element."""

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.sigmoid(input)


class LogSigmoid(Module):
    """log(1 / (1 + exp(-x))), element by element."""

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.logsigmoid(input)


class Softsign(Module):
    """x / (1 + abs(x)), element by element."""

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.softsign(input)


class Tanhshrink(Module):
    """x - tanh(x), element by element."""

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.tanhshrink(input)


class LeakyReLU(Module):
    """x where x > 0, ``negative_slope`` * x elsewhere."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class ELU(Module):
    """x where x > 0, ``alpha`` * (exp(x) - 1) elsewhere."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class CELU(Module):
    """max(0, x) + min(0, ``alpha`` * (exp(x / ``alpha``) - 1))."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.celu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class Softshrink(Module):
    """x moved towards 0 by ``lambd``, and 0 within that distance."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Hardshrink(Module):
    """0 where abs(x) <= ``lambd``, x elsewhere."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class GELU(Module):
    """x * Phi(x), with Phi the normal distribution function; ``approximate="tanh"`` is faster."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """log(1 + exp(``beta`` * x)) / ``beta``; x itself where ``beta`` * x > ``threshold``."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Threshold(Module):
    """x where x > ``threshold``, ``value`` elsewhere."""

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}" + (
            ", inplace=True" if self.inplace else ""
        )


class GLU(Module):
    """a * sigmoid(b), with a and b the halves of the input along ``dim``."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(Module):
    """exp(x) / sum(exp(x)) along ``dim``."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.softmax(input, self.dim, _stacklevel=5)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """log(softmax(x)) along ``dim``."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.log_softmax(input, self.dim, _stacklevel=5)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmin(Module):
    """softmax(-x) along ``dim``."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.softmin(input, self.dim, _stacklevel=5)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax2d(Module):
    """softmax over the channels, for inputs of shape (N, C, H, W) or (C, H, W).

    Raises:
        ValueError: the input has another number of dimensions.
    """

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        if input.dim() not in (3, 4):
            raise ValueError(
                f"Softmax2d: expected input to be 3D or 4D, got shape {tuple(input.shape)}"
            )
        return F.softmax(input, -3)


class Hardtanh(Module):
    """x limited to the range from ``min_val`` to ``max_val``.

    ``min_value`` and ``max_value`` are deprecated names for the same.

    Raises:
        ValueError: the range is empty.
    """

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__()
        if min_value is not None or max_value is not None:
            import warnings

            warnings.warn(
                "Hardtanh: min_value and max_value are deprecated, use min_val and max_val",
                FutureWarning,
                stacklevel=2,
            )
            min_val = min_val if min_value is None else min_value
            max_val = max_val if max_value is None else max_value
        if max_val <= min_val:
            raise ValueError(
                f"Hardtanh: max_val must be larger than min_val, but got {max_val} and {min_val}"
            )
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        inplace = ", inplace=True" if self.inplace else ""
        return f"min_val={self.min_val}, max_val={self.max_val}{inplace}"


class PReLU(Module):
    """x where x > 0, ``weight`` * x elsewhere, with a trained slope ``weight``.

    Args:
        num_parameters: 1, or the number of channels of inputs of shape (N, C, ...).
        init: the slope to start from. Default: ``0.25``.
        device: where the slope lives.
        dtype: its type.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.PReLU()(rg.tensor([-4.0, 2.0])).tolist()
        [-1.0, 2.0]
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(rg.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the slopes back to ``init``."""
        init.constant_(self.weight, self.init)

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """x where x > 0, elsewhere x times a random slope; see
    :func:`~rustgrad.nn.functional.rrelu`.
    """

    def __init__(
        self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False
    ) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        inplace = ", inplace=True" if self.inplace else ""
        return f"lower={self.lower}, upper={self.upper}{inplace}"
