"""Stateless versions of the layers: activations, dropout, embeddings, normalisation.

The losses are in :mod:`rustgrad.nn._losses` and appear here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rustgrad as rg
from rustgrad import _C

from ._losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    cross_entropy,
    gaussian_nll_loss,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    margin_ranking_loss,
    mse_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    nll_loss,
    pairwise_distance,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)

__all__ = [
    "alpha_dropout",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "celu_",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "elu_",
    "embedding",
    "feature_alpha_dropout",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "leaky_relu_",
    "linear",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rrelu",
    "rrelu_",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


# Activations


def _inplace(name: str, input: rg.Tensor, *args: float) -> rg.Tensor:
    """Overwrites ``input`` with the core's op ``name`` of it."""
    native = getattr(_C, name + "_", None)
    if native is not None:
        return native(input, *args)
    # The op reads a copy: what it saves for its gradient must survive the overwriting.
    return input.copy_(getattr(_C, name)(input.clone(), *args))


def relu(input: rg.Tensor, inplace: bool = False) -> rg.Tensor:
    """max(x, 0), element by element.

    Args:
        input: any shape.
        inplace: overwrite ``input``. Default: ``False``.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.functional.relu(rg.tensor([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """
    return _inplace("relu", input) if inplace else rg.relu(input)


def relu_(input: rg.Tensor) -> rg.Tensor:
    """The in-place form of :func:`relu`."""
    return relu(input, inplace=True)


def relu6(input: rg.Tensor, inplace: bool = False) -> rg.Tensor:
    """min(max(x, 0), 6), element by element."""
    return _inplace("relu6", input) if inplace else _C.relu6(input)


def leaky_relu(input: rg.Tensor, negative_slope: float = 0.01, inplace: bool = False) -> rg.Tensor:
    """x where x > 0, ``negative_slope`` * x elsewhere."""
    return (
        _inplace("leaky_relu", input, negative_slope)
        if inplace
        else _C.leaky_relu(input, negative_slope)
    )


def elu(input: rg.Tensor, alpha: float = 1.0, inplace: bool = False) -> rg.Tensor:
    """x where x > 0, ``alpha`` * (exp(x) - 1) elsewhere."""
    return _inplace("elu", input, alpha) if inplace else _C.elu(input, alpha)


def selu(input: rg.Tensor, inplace: bool = False) -> rg.Tensor:
    """The scaled ELU whose scale and alpha keep mean 0 and variance 1 fixed."""
    return _inplace("selu", input) if inplace else rg.selu(input)


def celu(input: rg.Tensor, alpha: float = 1.0, inplace: bool = False) -> rg.Tensor:
    """max(0, x) + min(0, ``alpha`` * (exp(x / ``alpha``) - 1))."""
    return _inplace("celu", input, alpha) if inplace else rg.celu(input, alpha)


def gelu(input: rg.Tensor, approximate: str = "none") -> rg.Tensor:
    """x * Phi(x), with Phi the normal distribution function.

    Args:
        input: any shape.
        approximate: ``"none"``, or ``"tanh"`` for the approximation by tanh.

    Raises:
        ValueError: ``approximate`` is neither.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(
            f"[gelu] approximate argument must be either none or tanh, but got {approximate!r}"
        )
    return _C.gelu(input, approximate=approximate)


def silu(input: rg.Tensor, inplace: bool = False) -> rg.Tensor:
    """x * sigmoid(x), element by element."""
    return _inplace("silu", input) if inplace else _C.silu(input)


def mish(input: rg.Tensor, inplace: bool = False) -> rg.Tensor:
    """x * tanh(softplus(x)), element by element."""
    return _inplace("mish", input) if inplace else _C.mish(input)


def softplus(input: rg.Tensor, beta: float = 1.0, threshold: float = 20.0) -> rg.Tensor:
    """log(1 + exp(``beta`` * x)) / ``beta``; x itself where ``beta`` * x > ``threshold``."""
    return _C.softplus(input, beta, threshold)


def softsign(input: rg.Tensor) -> rg.Tensor:
    """x / (1 + abs(x)), element by element."""
    return _C.softsign(input)


def hardtanh(
    input: rg.Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> rg.Tensor:
    """x limited to the range from ``min_val`` to ``max_val``.

    Raises:
        ValueError: ``min_val`` is greater than ``max_val``.
    """
    if min_val > max_val:
        raise ValueError(
            f"[hardtanh] min_val cannot be greater than max_val, but got {min_val} > {max_val}"
        )
    return (
        _inplace("hardtanh", input, min_val, max_val)
        if inplace
        else _C.hardtanh(input, min_val, max_val)
    )


def hardsigmoid(input: rg.Tensor, inplace: bool = False) -> rg.Tensor:
    """min(max(x / 6 + 1 / 2, 0), 1), element by element."""
    return _inplace("hardsigmoid", input) if inplace else _C.hardsigmoid(input)


def hardswish(input: rg.Tensor, inplace: bool = False) -> rg.Tensor:
    """x * hardsigmoid(x), element by element."""
    return _inplace("hardswish", input) if inplace else _C.hardswish(input)


def logsigmoid(input: rg.Tensor) -> rg.Tensor:
    """log(1 / (1 + exp(-x))), element by element."""
    return _C.logsigmoid(input)


def threshold(input: rg.Tensor, threshold: float, value: float, inplace: bool = False) -> rg.Tensor:
    """x where x > ``threshold``, ``value`` elsewhere."""
    return (
        _inplace("threshold", input, threshold, value)
        if inplace
        else rg.threshold(input, threshold, value)
    )


def leaky_relu_(input: rg.Tensor, negative_slope: float = 0.01) -> rg.Tensor:
    """The in-place form of :func:`leaky_relu`."""
    return leaky_relu(input, negative_slope, inplace=True)


def elu_(input: rg.Tensor, alpha: float = 1.0) -> rg.Tensor:
    """The in-place form of :func:`elu`."""
    return elu(input, alpha, inplace=True)


def selu_(input: rg.Tensor) -> rg.Tensor:
    """The in-place form of :func:`selu`."""
    return selu(input, inplace=True)


def celu_(input: rg.Tensor, alpha: float = 1.0) -> rg.Tensor:
    """The in-place form of :func:`celu`."""
    return celu(input, alpha, inplace=True)


def hardtanh_(input: rg.Tensor, min_val: float = -1.0, max_val: float = 1.0) -> rg.Tensor:
    """The in-place form of :func:`hardtanh`."""
    return hardtanh(input, min_val, max_val, inplace=True)


def threshold_(input: rg.Tensor, threshold: float, value: float) -> rg.Tensor:
    """The in-place form of :func:`threshold`."""
    return _inplace("threshold", input, threshold, value)


def rrelu(
    input: rg.Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> rg.Tensor:
    """x where x > 0, elsewhere x times a slope that is drawn anew for each element.

    Args:
        input: any shape.
        lower: the smallest slope. Default: ``1 / 8``.
        upper: the largest slope. Default: ``1 / 3``.
        training: draw slopes; otherwise all are (lower + upper) / 2. Default: ``False``.
        inplace: overwrite ``input``. Default: ``False``.

    Raises:
        ValueError: ``lower`` is greater than ``upper``.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.functional.rrelu(rg.tensor([-1.0, 2.0]), 0.5, 0.5).tolist()
        [-0.5, 2.0]
    """
    if lower > upper:
        raise ValueError(f"[rrelu] lower must not exceed upper, but got {lower} > {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slopes = rg.empty_like(input.detach()).uniform_(lower, upper)
    slopes = slopes.masked_fill(input.detach() > 0, 1.0)
    return input.mul_(slopes) if inplace else input * slopes


def rrelu_(
    input: rg.Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> rg.Tensor:
    """The in-place form of :func:`rrelu`."""
    return rrelu(input, lower, upper, training, inplace=True)


def tanh(input: rg.Tensor) -> rg.Tensor:
    """tanh(x), element by element."""
    return rg.tanh(input)


def sigmoid(input: rg.Tensor) -> rg.Tensor:
    """1 / (1 + exp(-x)), element by element."""
    return rg.sigmoid(input)


def tanhshrink(input: rg.Tensor) -> rg.Tensor:
    """x - tanh(x), element by element."""
    return input - rg.tanh(input)


def softshrink(input: rg.Tensor, lambd: float = 0.5) -> rg.Tensor:
    """x moved towards 0 by ``lambd``, and 0 within that distance.

    Raises:
        ValueError: ``lambd`` is negative.
    """
    if lambd < 0:
        raise ValueError(f"[softshrink] lambda must be >= 0, but got {lambd}")
    return _C.softshrink(input, lambd)


def hardshrink(input: rg.Tensor, lambd: float = 0.5) -> rg.Tensor:
    """0 where abs(x) <= ``lambd``, x elsewhere."""
    return _C.hardshrink(input, lambd)


def prelu(input: rg.Tensor, weight: rg.Tensor) -> rg.Tensor:
    """x where x > 0, ``weight`` * x elsewhere.

    Args:
        input: shape (N, C, ...), or any shape if ``weight`` has one element.
        weight: one slope for all, or shape (C,).

    Raises:
        ValueError: ``weight`` has neither one nor C elements.
    """
    if weight.numel() != 1:
        channels = input.shape[1] if input.dim() > 1 else 1
        if weight.dim() != 1 or weight.shape[0] != channels:
            raise ValueError(
                f"[prelu] weight needs 1 or {channels} elements for an input of shape "
                f"{tuple(input.shape)}, but has shape {tuple(weight.shape)}"
            )
        weight = weight.reshape(-1, *([1] * (input.dim() - 2)))
    elif weight.dim() > input.dim():
        weight = weight.reshape([])
    return _C.prelu(input, weight)


def glu(input: rg.Tensor, dim: int = -1) -> rg.Tensor:
    """a * sigmoid(b), with a and b the two halves of ``input`` along ``dim``.

    Raises:
        ValueError: the size along ``dim`` is odd.
    """
    if input.dim() == 0:
        raise ValueError("[glu] cannot halve a 0-dimensional tensor")
    if input.shape[dim] % 2:
        raise ValueError(
            f"[glu] halving dimension must be even, but dimension {dim} of shape "
            f"{tuple(input.shape)} has size {input.shape[dim]}"
        )
    a, b = input.chunk(2, dim)
    return a * rg.sigmoid(b)


def _softmax_dim(name: str, ndim: int, dim: int | None, stacklevel: int) -> int:
    if dim is not None:
        return dim
    import warnings

    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include "
        "dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(
    input: rg.Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> rg.Tensor:
    """exp(x) / sum(exp(x)) along ``dim``.

    Args:
        input: any shape.
        dim: the dimension that sums to 1.
        dtype: convert to this before computing.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.functional.softmax(rg.zeros(2, 4), dim=1)[0].tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    dim = _softmax_dim("softmax", input.dim(), dim, _stacklevel)
    return rg.softmax(input, dim, dtype=dtype)


def softmin(
    input: rg.Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> rg.Tensor:
    """softmax(-x) along ``dim``."""
    dim = _softmax_dim("softmin", input.dim(), dim, _stacklevel)
    return rg.softmin(input, dim, dtype=dtype)


def log_softmax(
    input: rg.Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> rg.Tensor:
    """log(softmax(x)) along ``dim``, computed without overflow."""
    dim = _softmax_dim("log_softmax", input.dim(), dim, _stacklevel)
    return rg.log_softmax(input, dim, dtype=dtype)


def gumbel_softmax(
    logits: rg.Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> rg.Tensor:
    """A sample of classes that gradients flow through: softmax((x + Gumbel noise) / ``tau``).

    Args:
        logits: unnormalised log-probabilities, any shape.
        tau: the temperature: the lower, the nearer to vectors with a single 1. Default: ``1``.
        hard: return vectors with a single 1, with the gradient of the soft ones.
        eps: deprecated, without effect.
        dim: the dimension of the classes. Default: ``-1``.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.functional.gumbel_softmax(rg.zeros(2, 3), hard=True).sum(-1)
        tensor([1., 1.])
    """
    noise = -rg.empty_like(logits.detach()).exponential_().log()
    soft = rg.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    chosen = soft.detach().argmax(dim, keepdim=True)
    one = rg.zeros_like(soft.detach()).scatter_(dim, chosen, 1.0)
    return one - soft.detach() + soft


# Linear maps


def linear(
    input: rg.Tensor,
    weight: rg.Tensor,
    bias: rg.Tensor | None = None,
    activation: str | None = None,
) -> rg.Tensor:
    """f(x W^T + b).

    Args:
        input: shape (*, in_features).
        weight: shape (out_features, in_features) or (in_features,).
        bias: shape (out_features,).
        activation: f: ``'relu'``, ``'tanh'``, ``'sigmoid'``, or ``None`` for the identity. The
            result and its derivatives are those of ``f(linear(...))``, to the bit; with
            ``'relu'``, a pass over the result is saved.

    Raises:
        ValueError: ``activation`` is none of those.

    Example:
        >>> import rustgrad as rg
        >>> weight = rg.tensor([[1.0, 1.0], [-1.0, -1.0]])
        >>> rg.nn.functional.linear(rg.ones(2), weight).tolist()
        [2.0, -2.0]
        >>> rg.nn.functional.linear(rg.ones(2), weight, activation="relu").tolist()
        [2.0, 0.0]
    """
    return _C.linear(input, weight, bias, activation)


def bilinear(
    input1: rg.Tensor, input2: rg.Tensor, weight: rg.Tensor, bias: rg.Tensor | None = None
) -> rg.Tensor:
    """x1^T A x2 + b.

    Args:
        input1: shape (*, in1_features).
        input2: shape (*, in2_features).
        weight: shape (out_features, in1_features, in2_features).
        bias: shape (out_features,).
    """
    return rg.bilinear(input1, input2, weight, bias)


# Normalisation and similarity


def layer_norm(
    input: rg.Tensor,
    normalized_shape: Sequence[int],
    weight: rg.Tensor | None = None,
    bias: rg.Tensor | None = None,
    eps: float = 1e-5,
) -> rg.Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last dimensions.

    Args:
        input: shape (*, ``*normalized_shape``).
        normalized_shape: the sizes of the dimensions that are normalised together.
        weight: shape ``normalized_shape``.
        bias: shape ``normalized_shape``.
        eps: keeps the divisor from 0. Default: ``1e-5``.
    """
    return rg.layer_norm(input, normalized_shape, weight, bias, eps)


def normalize(
    input: rg.Tensor,
    p: float = 2.0,
    dim: int = 1,
    eps: float = 1e-12,
    out: rg.Tensor | None = None,
) -> rg.Tensor:
    """x / max(norm(x), eps), with the ``p``-norm taken along ``dim``."""
    result = _C.normalize(input, p, dim, eps)
    return result if out is None else out.copy_(result)


def cosine_similarity(x1: rg.Tensor, x2: rg.Tensor, dim: int = 1, eps: float = 1e-8) -> rg.Tensor:
    """x1 . x2 / (max(norm(x1), eps) * max(norm(x2), eps)) along ``dim``."""
    return rg.cosine_similarity(x1, x2, dim, eps)


def pad(
    input: rg.Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> rg.Tensor:
    """Adds elements at the edges, or cuts them off where ``pad`` is negative.

    Args:
        input: any shape.
        pad: numbers of elements before and after, first of the last dimension, then of the one
            before it, and so on.
        mode: ``"constant"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        value: what a constant padding consists of. Default: ``0``.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.functional.pad(rg.tensor([1.0, 2.0]), (1, 2))
        tensor([0., 1., 2., 0., 0.])
    """
    return _C.pad(input, pad, mode, value)


# Embeddings


def one_hot(tensor: rg.Tensor, num_classes: int = -1) -> rg.Tensor:
    """Class numbers as vectors with a single 1.

    Args:
        tensor: int64, shape (*).
        num_classes: length of the vectors; ``-1`` means the largest class plus 1.

    Returns:
        int64, shape (*, num_classes).
    """
    return _C.one_hot(tensor, num_classes)


def embedding(
    input: rg.Tensor,
    weight: rg.Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> rg.Tensor:
    """Rows of a table.

    Args:
        input: row numbers, int64 or int32, shape (*).
        weight: the table, shape (num_embeddings, embedding_dim).
        padding_idx: this row gets no gradient; counts from the end if negative.
        max_norm: rows that are looked up are first shrunk, in place, to this norm.
        norm_type: the p of that norm. Default: ``2.0``.
        scale_grad_by_freq: divide the gradient of a row by how often it is looked up.
        sparse: not supported.

    Returns:
        Shape (*, embedding_dim).

    Raises:
        ValueError: ``padding_idx`` is outside the table, or an option is not supported.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.functional.embedding(rg.tensor([1, 0]), rg.eye(2)).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    _refuse_sparse("embedding", sparse)
    rows = weight.shape[0]
    if padding_idx is None:
        padding_idx = -1
    else:
        if not -rows <= padding_idx < rows:
            raise ValueError(
                f"[embedding] padding_idx must be within num_embeddings: {padding_idx} is "
                f"outside a table of {rows} rows"
            )
        padding_idx %= rows
    if max_norm is not None:
        _limit_norms(weight, input, max_norm, norm_type)
    return _C.embedding(weight, input, padding_idx, scale_grad_by_freq)


def _refuse_sparse(name: str, sparse: bool) -> None:
    if sparse:
        raise ValueError(
            f"[{name}] sparse=True is not supported: gradients are always dense; leave it out"
        )


def _limit_norms(weight: rg.Tensor, indices: rg.Tensor, max_norm: float, norm_type: float) -> None:
    with rg.no_grad():
        chosen = indices.reshape(-1)
        rows = weight.index_select(0, chosen)
        norms = rows.norm(norm_type, 1, keepdim=True)
        # The 1e-7 is PyTorch's, so that the shrunk rows are equal to its rows.
        shrunk = rows * (max_norm / (norms + 1e-7))
        # A row that is looked up twice is written twice, with the same values.
        weight.index_copy_(0, chosen, rg.where(norms > max_norm, shrunk, rows))


# Dropout


def _check_probability(p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(
    input: rg.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> rg.Tensor:
    """Zeroes each element with probability ``p`` and divides the others by 1 - ``p``.

    Args:
        input: any shape.
        p: the probability. Default: ``0.5``.
        training: do nothing if false. Default: ``True``.
        inplace: overwrite ``input``. Default: ``False``.

    Raises:
        ValueError: ``p`` is not between 0 and 1.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.functional.dropout(rg.ones(3), training=False).tolist()
        [1.0, 1.0, 1.0]
    """
    _check_probability(p)
    if inplace:
        return _inplace("dropout", input, p, True) if training else input
    return _C.dropout(input, p, training)


def _feature_dropout(
    input: rg.Tensor, p: float, training: bool, inplace: bool, kept_dims: int
) -> rg.Tensor:
    """Zeroes whole features: everything that shares its first ``kept_dims`` indices."""
    _check_probability(p)
    if not training or p == 0.0:
        return input
    shape = (*input.shape[:kept_dims], *([1] * (input.dim() - kept_dims)))
    noise = rg.empty(shape, dtype=input.dtype, device=input.device)
    if p == 1.0:
        noise.zero_()
    else:
        noise.bernoulli_(1.0 - p).div_(1.0 - p)
    return input.mul_(noise) if inplace else input * noise


def _feature_dims(name: str, input: rg.Tensor, batched: int) -> int:
    """How many leading dimensions tell channels apart; 2 of an input that has a batch."""
    ndim = input.dim()
    unbatched_is_known = batched == 5
    if ndim != batched and not (unbatched_is_known and ndim == batched - 1):
        import warnings

        warnings.warn(
            f"{name} is meant for {batched}-D inputs, but got one of shape {tuple(input.shape)}; "
            "what it takes for channels may not be what you mean, use dropout instead",
            stacklevel=3,
        )
    # For inputs without a batch PyTorch's dropout2d and dropout3d differ, and so do these.
    return 1 if unbatched_is_known and ndim != batched else min(2, ndim)


def alpha_dropout(
    input: rg.Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> rg.Tensor:
    """Dropout for :func:`selu`: keeps mean 0 and variance 1.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.functional.alpha_dropout(rg.ones(3)).tolist()
        [1.0, 1.0, 1.0]
    """
    _check_probability(p)
    return (_C.alpha_dropout_ if inplace else _C.alpha_dropout)(input, p, training)


def feature_alpha_dropout(
    input: rg.Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> rg.Tensor:
    """:func:`alpha_dropout` of whole channels."""
    _check_probability(p)
    return (_C.feature_alpha_dropout_ if inplace else _C.feature_alpha_dropout)(input, p, training)


def dropout1d(
    input: rg.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> rg.Tensor:
    """Zeroes whole channels of an input of shape (N, C, L) or (C, L); see :func:`dropout`.

    Raises:
        RuntimeError: the input has another number of dimensions.
    """
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"[dropout1d] expected 2D or 3D input, but received shape {tuple(input.shape)}"
        )
    return _feature_dropout(input, p, training, inplace, input.dim() - 1)


def dropout2d(
    input: rg.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> rg.Tensor:
    """Zeroes whole channels of an input of shape (N, C, H, W); see :func:`dropout`.

    Like PyTorch, takes the first two dimensions of any other input as batch and channel, with a
    warning.
    """
    return _feature_dropout(input, p, training, inplace, _feature_dims("dropout2d", input, 4))


def dropout3d(
    input: rg.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> rg.Tensor:
    """Zeroes whole channels of an input of shape (N, C, D, H, W) or (C, D, H, W); see
    :func:`dropout`.
    """
    return _feature_dropout(input, p, training, inplace, _feature_dims("dropout3d", input, 5))
