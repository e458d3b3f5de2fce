"""Filling tensors with starting values, in place and outside of the gradient graph.

Every function returns the tensor it was given. Those that draw numbers take a ``generator``.
"""

from __future__ import annotations

import math
import warnings

import rustgrad as rg

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_LINEAR = (
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity shrinks the standard deviation, to be made up for.

    Args:
        nonlinearity: name of a layer kind or an activation: ``"linear"``, ``"conv1d"`` ...,
            ``"sigmoid"`` (1), ``"tanh"`` (5/3), ``"relu"`` (sqrt(2)), ``"leaky_relu"``
            (sqrt(2 / (1 + slope^2))), ``"selu"`` (3/4).
        param: the slope of ``leaky_relu``. Default: 0.01.

    Raises:
        ValueError: the name is not known, or the slope not a number.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.init.calculate_gain("leaky_relu", 1.0)
        1.0
    """
    if nonlinearity in _LINEAR or nonlinearity == "sigmoid":
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is None:
            slope = 0.01
        elif isinstance(param, (int, float)) and not isinstance(param, bool):
            slope = param
        else:
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def uniform_(
    tensor: rg.Tensor, a: float = 0.0, b: float = 1.0, generator: rg.Generator | None = None
) -> rg.Tensor:
    """Draws from the uniform distribution on [a, b)."""
    with rg.no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(
    tensor: rg.Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    generator: rg.Generator | None = None,
) -> rg.Tensor:
    """Draws from the normal distribution."""
    with rg.no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: rg.Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: rg.Generator | None = None,
) -> rg.Tensor:
    """Draws from the normal distribution, keeping to [a, b].

    Values outside are drawn again. Where that would reject most of them, candidates are uniform
    on [a, b] and accepted with a probability proportional to the normal density.

    Args:
        tensor: any shape.
        mean: of the normal distribution before truncation. Default: ``0.0``.
        std: its standard deviation. Default: ``1.0``.
        a: smallest value. Default: ``-2.0``.
        b: largest value. Default: ``2.0``.
        generator: the source of random numbers.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of "
            "values may be incorrect.",
            stacklevel=2,
        )

    def below(x: float) -> float:
        return 0.5 + 0.5 * math.erf((x - mean) / (std * math.sqrt(2.0)))

    with rg.no_grad():
        # The same threshold as PyTorch's, so that the draws come in the same order.
        if below(b) - below(a) > 0.3:
            _redraw_outside(tensor, mean, std, a, b, generator)
        else:
            _accept_by_density(tensor, mean, std, a, b, generator)
    return tensor


def _redraw_outside(
    tensor: rg.Tensor,
    mean: float,
    std: float,
    a: float,
    b: float,
    generator: rg.Generator | None,
) -> None:
    # Bounds as the dtype holds them, or a value that rounds to a bound would be out for ever.
    low = rg.tensor(a, dtype=tensor.dtype).item()
    high = rg.tensor(b, dtype=tensor.dtype).item()
    tensor.normal_(mean, std, generator=generator)
    while True:
        outside = (tensor < low) | (tensor > high)
        if not outside.any().item():
            return
        fresh = rg.empty_like(tensor).normal_(mean, std, generator=generator)
        tensor.copy_(rg.where(outside, fresh, tensor))


def _accept_by_density(
    tensor: rg.Tensor,
    mean: float,
    std: float,
    a: float,
    b: float,
    generator: rg.Generator | None,
) -> None:
    mode = min(max(mean, a), b)
    log_peak = -0.5 * ((mode - mean) / std) ** 2
    pending = None
    while pending is None or pending.any().item():
        candidates = rg.empty_like(tensor).uniform_(a, b, generator=generator)
        log_density = ((candidates - mean) / std) ** 2 * -0.5 - log_peak
        rejected = rg.empty_like(tensor).uniform_(generator=generator).log() > log_density
        if pending is None:
            tensor.copy_(candidates)
            pending = rejected
        else:
            tensor.copy_(rg.where(pending, candidates, tensor))
            pending = pending & rejected


def constant_(tensor: rg.Tensor, val: float) -> rg.Tensor:
    """Fills with ``val``."""
    with rg.no_grad():
        return tensor.fill_(val)


def ones_(tensor: rg.Tensor) -> rg.Tensor:
    """Fills with 1.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.init.ones_(rg.empty(2)).tolist()
        [1.0, 1.0]
    """
    return constant_(tensor, 1.0)


def zeros_(tensor: rg.Tensor) -> rg.Tensor:
    """Fills with 0."""
    with rg.no_grad():
        return tensor.zero_()


def eye_(tensor: rg.Tensor) -> rg.Tensor:
    """Fills a matrix with the identity.

    Raises:
        ValueError: the tensor is not 2-dimensional.
    """
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    with rg.no_grad():
        return tensor.copy_(rg.eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


def dirac_(tensor: rg.Tensor, groups: int = 1) -> rg.Tensor:
    """Fills the kernel of a convolution so that it passes on as many channels as it can.

    Args:
        tensor: shape (out_channels, in_channels / groups, k1) with 1 to 3 kernel dimensions.
        groups: groups of the convolution. Default: ``1``.

    Raises:
        ValueError: the tensor has another number of dimensions, or out_channels is not a
            multiple of ``groups``.
    """
    if tensor.dim() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if tensor.shape[0] % groups:
        raise ValueError("dim 0 must be divisible by groups")
    out_channels = tensor.shape[0] // groups
    centre = tuple(size // 2 for size in tensor.shape[2:])
    with rg.no_grad():
        tensor.zero_()
        for group in range(groups):
            for channel in range(min(out_channels, tensor.shape[1])):
                tensor[(group * out_channels + channel, channel, *centre)] = 1
    return tensor


def _calculate_fan_in_and_fan_out(tensor: rg.Tensor) -> tuple[int, int]:
    """How many inputs each output of a layer with this weight has, and the reverse."""
    if tensor.dim() < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, but "
            f"got shape {tuple(tensor.shape)}"
        )
    receptive_field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive_field, tensor.shape[0] * receptive_field


def _calculate_correct_fan(tensor: rg.Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return fan_in if mode == "fan_in" else fan_out


def xavier_uniform_(
    tensor: rg.Tensor, gain: float = 1.0, generator: rg.Generator | None = None
) -> rg.Tensor:
    """Draws from U(-a, a) with a = gain * sqrt(6 / (fan_in + fan_out)); Glorot and Bengio 2010.

    Args:
        tensor: at least 2-dimensional.
        gain: see :func:`calculate_gain`. Default: ``1.0``.
        generator: the source of random numbers.

    Raises:
        ValueError: the tensor has fewer than 2 dimensions.
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    bound = math.sqrt(3.0) * gain * math.sqrt(2.0 / (fan_in + fan_out))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(
    tensor: rg.Tensor, gain: float = 1.0, generator: rg.Generator | None = None
) -> rg.Tensor:
    """Draws from N(0, std^2) with std = gain * sqrt(2 / (fan_in + fan_out)).

    Arguments and errors as for :func:`xavier_uniform_`.
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / (fan_in + fan_out)), generator)


def _kaiming_std(tensor: rg.Tensor, a: float, mode: str, nonlinearity: str) -> float | None:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return None
    fan = _calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: rg.Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: rg.Generator | None = None,
) -> rg.Tensor:
    """Draws from U(-b, b) with b = gain * sqrt(3 / fan); He et al. 2015.

    Args:
        tensor: at least 2-dimensional.
        a: the slope of the leaky ReLU that follows. Default: ``0``.
        mode: ``"fan_in"`` keeps the variance forward, ``"fan_out"`` backward.
        nonlinearity: see :func:`calculate_gain`. Default: ``"leaky_relu"``.
        generator: the source of random numbers.

    Raises:
        ValueError: the tensor has fewer than 2 dimensions, or a name is not known.
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    if std is None:
        return tensor
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: rg.Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: rg.Generator | None = None,
) -> rg.Tensor:
    """Draws from N(0, std^2) with std = gain / sqrt(fan).

    Arguments and errors as for :func:`kaiming_uniform_`.
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor if std is None else normal_(tensor, 0.0, std, generator)


def orthogonal_(
    tensor: rg.Tensor, gain: float = 1, generator: rg.Generator | None = None
) -> rg.Tensor:
    """Fills with a random (semi-)orthogonal matrix; Saxe et al. 2014.

    Args:
        tensor: at least 2-dimensional; the dimensions after the first are taken as one.
        gain: factor of the matrix. Default: ``1``.
        generator: the source of random numbers.

    Raises:
        ValueError: the tensor has fewer than 2 dimensions.

    Example:
        >>> import rustgrad as rg
        >>> w = rg.nn.init.orthogonal_(rg.empty(3, 5))
        >>> bool(((w @ w.T - rg.eye(3)).abs() < 1e-5).all())
        True
    """
    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    with rg.no_grad():
        drawn = rg.empty((rows, columns), dtype=tensor.dtype, device=tensor.device)
        vectors = drawn.normal_(0, 1, generator=generator).to(rg.float64)
        # The shorter side is made orthonormal, so the vectors are always independent.
        if rows < columns:
            q = _orthonormal_rows(vectors)
        else:
            q = _orthonormal_rows(vectors.t().contiguous()).t()
        return tensor.copy_((q * gain).reshape(tensor.shape))


def _orthonormal_rows(vectors: rg.Tensor) -> rg.Tensor:
    """Orthonormalises the rows in turn, in float64.

    Gram-Schmidt, with each projection done twice: rounding then costs no orthogonality (Giraud
    et al. 2005). The result is the Q^T of the QR decomposition whose R has a positive diagonal.
    """
    q = rg.empty_like(vectors)
    for i in range(vectors.shape[0]):
        row = vectors[i]
        if i > 0:
            done = q[:i]
            for _ in range(2):
                row = row - (done @ row) @ done
        q[i] = row / (row * row).sum().sqrt()
    return q


def sparse_(
    tensor: rg.Tensor,
    sparsity: float,
    std: float = 0.01,
    generator: rg.Generator | None = None,
) -> rg.Tensor:
    """Draws from N(0, std^2), then zeroes a share of each column; Martens 2010.

    Args:
        tensor: 2-dimensional.
        sparsity: share of the elements of each column to zero.
        std: Default: ``0.01``.
        generator: the source of random numbers.

    Raises:
        ValueError: the tensor is not 2-dimensional.
    """
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    with rg.no_grad():
        tensor.normal_(0, std, generator=generator)
        for column in range(columns):
            # The numbers for all columns come from the default source in PyTorch too.
            tensor[rg.randperm(rows)[:zeros], column] = 0
    return tensor
