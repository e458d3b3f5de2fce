"""The loss functions of :mod:`rustgrad.nn.functional`.

All of them take ``reduction``: ``"none"`` returns the losses as they are, ``"mean"`` and
``"sum"`` one number. The older ``size_average`` and ``reduce`` are mapped to it with a warning.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import rustgrad as rg
from rustgrad import _C

_REDUCTIONS = ("none", "mean", "sum")


def _reduction(
    name: str, reduction: str, size_average: bool | None = None, reduce: bool | None = None
) -> str:
    """Checks ``reduction``, after the legacy flags, which override it."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, stacklevel=4)
    if reduction not in _REDUCTIONS:
        raise ValueError(
            f"[{name}] {reduction} is not a valid value for reduction; use one of "
            f"{', '.join(_REDUCTIONS)}"
        )
    return reduction


def legacy_reduction(size_average: bool | None, reduce: bool | None, stacklevel: int = 3) -> str:
    """Maps ``size_average`` and ``reduce``, both ``True`` by default, to ``reduction``."""
    import warnings

    if reduce is False:
        reduction = "none"
    else:
        reduction = "sum" if size_average is False else "mean"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{reduction}' "
        "instead.",
        stacklevel=stacklevel,
    )
    return reduction


def _reduced(losses: rg.Tensor, reduction: str) -> rg.Tensor:
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


def _warn_if_broadcast(input: rg.Tensor, target: rg.Tensor) -> None:
    if input.shape != target.shape:
        import warnings

        warnings.warn(
            f"Using a target size ({tuple(target.shape)}) that is different to the input size "
            f"({tuple(input.shape)}). This will likely lead to incorrect results due to "
            "broadcasting. Please ensure they have the same size.",
            stacklevel=3,
        )


def _check_weight(name: str, losses: rg.Tensor, weight: rg.Tensor) -> None:
    if weight.shape != losses.shape:
        raise ValueError(
            f"[{name}] weights and losses must have the same size, but got "
            f"{tuple(weight.shape)} and {tuple(losses.shape)}"
        )


def _weighted(name: str, losses: rg.Tensor, weight: rg.Tensor, reduction: str) -> rg.Tensor:
    """Reduces with weights; the mean divides by their sum."""
    _check_weight(name, losses, weight)
    total = losses * weight
    if reduction == "mean":
        return total.sum() / weight.sum()
    return _reduced(total, reduction)


def nll_loss(
    input: rg.Tensor,
    target: rg.Tensor,
    weight: rg.Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> rg.Tensor:
    """-weight[y] * x[y], for log-probabilities x and class numbers y.

    Args:
        input: log-probabilities, shape (N, C), (C,) or (N, C, d1, ...).
        target: class numbers, shape (N,), () or (N, d1, ...).
        weight: one factor per class, shape (C,).
        size_average: deprecated.
        ignore_index: targets of this value count for nothing. Default: ``-100``.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` (weighted) or ``"sum"``. Default: ``"mean"``.

    Raises:
        ValueError: ``reduction`` is none of these.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.functional.nll_loss(rg.tensor([[-1.0, -2.0]]), rg.tensor([1])).item()
        2.0
    """
    reduction = _reduction("nll_loss", reduction, size_average, reduce)
    return _C.nll_loss(input, target, weight, reduction, ignore_index)


def cross_entropy(
    input: rg.Tensor,
    target: rg.Tensor,
    weight: rg.Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> rg.Tensor:
    """-log(softmax(x)[y]), for scores x and class numbers or class probabilities y.

    Args:
        input: scores, shape (N, C), (C,) or (N, C, d1, ...).
        target: class numbers, shape (N,), () or (N, d1, ...), or probabilities of ``input``'s
            shape.
        weight: one factor per class, shape (C,).
        size_average: deprecated.
        ignore_index: class numbers of this value count for nothing. Default: ``-100``.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` (weighted) or ``"sum"``. Default: ``"mean"``.
        label_smoothing: share of the target spread evenly over all classes. Default: ``0.0``.

    Raises:
        ValueError: ``reduction`` is none of these.

    Example:
        >>> import rustgrad as rg
        >>> loss = rg.nn.functional.cross_entropy(rg.zeros(2, 4), rg.tensor([0, 3]))
        >>> round(loss.item(), 4)  # log(4)
        1.3863
    """
    reduction = _reduction("cross_entropy", reduction, size_average, reduce)
    return _C.cross_entropy(input, target, weight, reduction, ignore_index, label_smoothing)


def mse_loss(
    input: rg.Tensor,
    target: rg.Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: rg.Tensor | None = None,
) -> rg.Tensor:
    """(x - y)^2.

    Args:
        input: any shape.
        target: the same shape.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"mean"``.
        weight: factors of the same shape; the mean then divides by their sum.

    Raises:
        ValueError: ``reduction`` is none of these, or ``weight`` has another shape.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.functional.mse_loss(rg.tensor([1.0, 3.0]), rg.zeros(2)).item()
        5.0
    """
    reduction = _reduction("mse_loss", reduction, size_average, reduce)
    _warn_if_broadcast(input, target)
    if weight is None:
        return _C.mse_loss(input, target, reduction)
    return _weighted("mse_loss", _C.mse_loss(input, target, "none"), weight, reduction)


def l1_loss(
    input: rg.Tensor,
    target: rg.Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: rg.Tensor | None = None,
) -> rg.Tensor:
    """abs(x - y); arguments and errors as for :func:`mse_loss`."""
    reduction = _reduction("l1_loss", reduction, size_average, reduce)
    _warn_if_broadcast(input, target)
    if weight is None:
        return _C.l1_loss(input, target, reduction)
    return _weighted("l1_loss", _C.l1_loss(input, target, "none"), weight, reduction)


def smooth_l1_loss(
    input: rg.Tensor,
    target: rg.Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> rg.Tensor:
    """0.5 * d^2 / beta where d = abs(x - y) < beta, d - 0.5 * beta elsewhere.

    Arguments and errors as for :func:`mse_loss`; ``beta`` must not be negative, and 0 gives
    :func:`l1_loss`.
    """
    reduction = _reduction("smooth_l1_loss", reduction, size_average, reduce)
    if beta < 0:
        raise ValueError(f"[smooth_l1_loss] beta must not be negative, but got {beta}")
    _warn_if_broadcast(input, target)
    if beta == 0.0:
        return _C.l1_loss(input, target, reduction)
    return _C.smooth_l1_loss(input, target, reduction, beta)


def huber_loss(
    input: rg.Tensor,
    target: rg.Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: rg.Tensor | None = None,
) -> rg.Tensor:
    """0.5 * d^2 where d = abs(x - y) <= delta, delta * (d - 0.5 * delta) elsewhere.

    Arguments and errors as for :func:`mse_loss`, except that the weighted mean divides by the
    number of elements, as PyTorch's does; ``delta`` must be positive.
    """
    reduction = _reduction("huber_loss", reduction)
    if delta <= 0:
        raise ValueError(f"[huber_loss] delta must be positive, but got {delta}")
    _warn_if_broadcast(input, target)
    if weight is None:
        return _C.huber_loss(input, target, reduction, delta)
    losses = _C.huber_loss(input, target, "none", delta)
    _check_weight("huber_loss", losses, weight)
    return _reduced(losses * weight, reduction)


def binary_cross_entropy(
    input: rg.Tensor,
    target: rg.Tensor,
    weight: rg.Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> rg.Tensor:
    """-(y * log(x) + (1 - y) * log(1 - x)), with the logarithms kept above -100.

    Args:
        input: probabilities, any shape.
        target: probabilities, the same shape.
        weight: factors that broadcast to that shape.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"mean"``.

    Raises:
        ValueError: the shapes differ, or ``reduction`` is none of these.
    """
    reduction = _reduction("binary_cross_entropy", reduction, size_average, reduce)
    _same_shape("binary_cross_entropy", input, target)
    if weight is not None:
        weight = weight.expand(target.shape)
    return _C.binary_cross_entropy(input, target, weight, reduction)


def binary_cross_entropy_with_logits(
    input: rg.Tensor,
    target: rg.Tensor,
    weight: rg.Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: rg.Tensor | None = None,
) -> rg.Tensor:
    """The binary cross-entropy of sigmoid(x), computed without overflow.

    Args:
        input: scores, any shape.
        target: probabilities, the same shape.
        weight: factors that broadcast to that shape.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"mean"``.
        pos_weight: factor of the positive part, one per class; broadcasts to that shape.

    Raises:
        ValueError: the shapes differ, or ``reduction`` is none of these.

    Example:
        >>> import rustgrad as rg
        >>> F = rg.nn.functional
        >>> round(F.binary_cross_entropy_with_logits(rg.zeros(3), rg.ones(3)).item(), 4)
        0.6931
    """
    reduction = _reduction("binary_cross_entropy_with_logits", reduction, size_average, reduce)
    _same_shape("binary_cross_entropy_with_logits", input, target)
    return _C.binary_cross_entropy_with_logits(input, target, weight, pos_weight, reduction)


def _same_shape(name: str, input: rg.Tensor, target: rg.Tensor) -> None:
    if input.shape != target.shape:
        raise ValueError(
            f"[{name}] Target size ({tuple(target.shape)}) must be the same as input size "
            f"({tuple(input.shape)})"
        )


def kl_div(
    input: rg.Tensor,
    target: rg.Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> rg.Tensor:
    """y * (log(y) - x), for log-probabilities x.

    Args:
        input: log-probabilities, any shape.
        target: probabilities, or log-probabilities with ``log_target``; the same shape.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"``, ``"sum"`` or ``"batchmean"``, the sum divided by the
            batch size, which is the divergence itself. Default: ``"mean"``.
        log_target: whether ``target`` is in log space. Default: ``False``.

    Raises:
        ValueError: ``reduction`` is none of these.
    """
    if reduction == "batchmean" and size_average is None and reduce is None:
        total = _C.kl_div(input, target, "sum", log_target)
        return total / input.shape[0] if input.dim() > 0 else total
    reduction = _reduction("kl_div", reduction, size_average, reduce)
    if reduction == "mean":
        import warnings

        warnings.warn(
            "kl_div: reduction='mean' averages over all elements; reduction='batchmean' gives "
            "the divergence as it is defined",
            stacklevel=2,
        )
    return _C.kl_div(input, target, reduction, log_target)


def poisson_nll_loss(
    input: rg.Tensor,
    target: rg.Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> rg.Tensor:
    """exp(x) - y * x, the negative log-likelihood of counts y under Poisson(exp(x)).

    Args:
        input: log of the expected counts, or the counts without ``log_input``; any shape.
        target: counts, the same shape.
        log_input: whether ``input`` is in log space. Default: ``True``.
        full: add Stirling's approximation of log(y!) where y > 1. Default: ``False``.
        size_average: deprecated.
        eps: keeps log(input) finite when ``log_input`` is false. Default: ``1e-8``.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"mean"``.

    Raises:
        ValueError: ``reduction`` is none of these.
    """
    reduction = _reduction("poisson_nll_loss", reduction, size_average, reduce)
    if log_input:
        losses = rg.exp(input) - target * input
    else:
        losses = input - target * rg.log(input + eps)
    if full:
        stirling = target * rg.log(target) - target + 0.5 * rg.log(6.283185307179586 * target)
        losses = losses + stirling.masked_fill(target <= 1, 0.0)
    return _reduced(losses, reduction)


def pairwise_distance(
    x1: rg.Tensor, x2: rg.Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> rg.Tensor:
    """The ``p``-norm of x1 - x2 + eps along the last dimension."""
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)


def cosine_embedding_loss(
    input1: rg.Tensor,
    input2: rg.Tensor,
    target: rg.Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> rg.Tensor:
    """1 - cos(x1, x2) where y is 1, max(0, cos(x1, x2) - margin) where y is -1.

    Args:
        input1: shape (N, D) or (D,).
        input2: the same shape.
        target: 1 and -1, shape (N,) or ().
        margin: Default: ``0``.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"mean"``.

    Raises:
        ValueError: ``reduction`` is none of these, or the numbers of dimensions do not fit.
    """
    reduction = _reduction("cosine_embedding_loss", reduction, size_average, reduce)
    if input1.dim() != target.dim() + 1 or input2.dim() != input1.dim():
        raise ValueError(
            f"[cosine_embedding_loss] shapes (N, D), (N, D), (N,) or (D,), (D,), () expected, "
            f"but got {tuple(input1.shape)}, {tuple(input2.shape)}, {tuple(target.shape)}"
        )
    # PyTorch adds its 1e-12 to the squared norms rather than limiting them from below.
    dot = (input1 * input2).sum(-1)
    squares1 = (input1 * input1).sum(-1) + 1e-12
    squares2 = (input2 * input2).sum(-1) + 1e-12
    cosine = dot / (squares1 * squares2).sqrt()
    zeros = rg.zeros_like(cosine)
    attract = rg.where(target == 1, 1 - cosine, zeros)
    repel = rg.where(target == -1, (cosine - margin).clamp(min=0), zeros)
    return _reduced(attract + repel, reduction)


def margin_ranking_loss(
    input1: rg.Tensor,
    input2: rg.Tensor,
    target: rg.Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> rg.Tensor:
    """max(0, -y * (x1 - x2) + margin), with y 1 or -1.

    Arguments as for :func:`cosine_embedding_loss`, but all of one shape.
    """
    reduction = _reduction("margin_ranking_loss", reduction, size_average, reduce)
    if not input1.dim() == input2.dim() == target.dim():
        raise ValueError(
            "[margin_ranking_loss] All input tensors should have same dimension but got sizes: "
            f"{tuple(input1.shape)}, {tuple(input2.shape)}, {tuple(target.shape)}"
        )
    return _reduced((-target * (input1 - input2) + margin).clamp(min=0), reduction)


def triplet_margin_loss(
    anchor: rg.Tensor,
    positive: rg.Tensor,
    negative: rg.Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> rg.Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin).

    Args:
        anchor: shape (N, D) or (D,).
        positive: the same shape.
        negative: the same shape.
        margin: must be positive. Default: ``1.0``.
        p: the norm that measures distance d. Default: ``2``.
        eps: added to each difference. Default: ``1e-6``.
        swap: use d(positive, negative) where that is smaller. Default: ``False``.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"mean"``.

    Raises:
        ValueError: ``reduction`` is none of these, or ``margin`` is not positive.
    """
    reduction = _reduction("triplet_margin_loss", reduction, size_average, reduce)
    if margin <= 0:
        raise ValueError(f"[triplet_margin_loss] margin must be greater than 0, got {margin}")
    to_positive = pairwise_distance(anchor, positive, p, eps)
    to_negative = pairwise_distance(anchor, negative, p, eps)
    if swap:
        across = pairwise_distance(positive, negative, p, eps)
        to_negative = rg.minimum(to_negative, across)
    return _reduced((margin + to_positive - to_negative).clamp(min=0), reduction)


def triplet_margin_with_distance_loss(
    anchor: rg.Tensor,
    positive: rg.Tensor,
    negative: rg.Tensor,
    *,
    distance_function: Callable[[rg.Tensor, rg.Tensor], rg.Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> rg.Tensor:
    """:func:`triplet_margin_loss` with any distance; the default is :func:`pairwise_distance`.

    Example:
        >>> import rustgrad as rg
        >>> a, b = rg.tensor([[0.0]]), rg.tensor([[3.0]])
        >>> loss = rg.nn.functional.triplet_margin_with_distance_loss
        >>> loss(a, b, b, distance_function=lambda x, y: (x - y).abs().sum(-1)).item()
        1.0
    """
    name = "triplet_margin_with_distance_loss"
    reduction = _reduction(name, reduction)
    if margin <= 0:
        raise ValueError(f"[{name}] margin must be greater than 0, got {margin}")
    distance = pairwise_distance if distance_function is None else distance_function
    to_positive, to_negative = distance(anchor, positive), distance(anchor, negative)
    if swap:
        to_negative = rg.minimum(to_negative, distance(positive, negative))
    return _reduced((margin + to_positive - to_negative).clamp(min=0), reduction)


def gaussian_nll_loss(
    input: rg.Tensor,
    target: rg.Tensor,
    var: rg.Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> rg.Tensor:
    """(log(var) + (x - y)^2 / var) / 2, the negative log-likelihood of y under N(x, var).

    Args:
        input: expected values, any shape.
        target: observed values, the same shape.
        var: variances: a number, or the same shape, or that shape with the last dimension of size
            1 or without it.
        full: add log(2 pi) / 2. Default: ``False``.
        eps: variances below it count as ``eps``; they get no gradient from that.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"mean"``.

    Raises:
        ValueError: a variance is negative or has a wrong shape, or ``reduction`` is none of these.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.functional.gaussian_nll_loss(rg.zeros(2), rg.ones(2), 1.0).item()
        0.5
    """
    reduction = _reduction("gaussian_nll_loss", reduction)
    if not isinstance(var, rg.Tensor):
        var = rg.full_like(input.detach(), var)
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = var.unsqueeze(-1)
        elif input.shape[:-1] != var.shape[:-1] or var.shape[-1] != 1:
            raise ValueError(
                f"[gaussian_nll_loss] var is of incorrect size: {tuple(var.shape)} for an input of "
                f"shape {tuple(input.shape)}"
            )
    if (var < 0).any():
        raise ValueError("[gaussian_nll_loss] var has negative entry/entries")
    # The limit moves the value, not the gradient: as in PyTorch, which clamps without recording.
    var = var + (var.detach().clamp(min=eps) - var.detach())
    losses = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return _reduced(losses, reduction)


def hinge_embedding_loss(
    input: rg.Tensor,
    target: rg.Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> rg.Tensor:
    """x where y is 1, max(0, margin - x) where y is -1.

    Example:
        >>> import rustgrad as rg
        >>> loss = rg.nn.functional.hinge_embedding_loss
        >>> loss(rg.tensor([0.5, 0.75]), rg.tensor([1, -1]), reduction="none").tolist()
        [0.5, 0.25]
    """
    reduction = _reduction("hinge_embedding_loss", reduction, size_average, reduce)
    zeros = rg.zeros_like(input.detach())
    near = rg.where(target != -1, input, zeros)
    far = rg.where(target != 1, (margin - input).clamp(min=0), zeros)
    return _reduced(near + far, reduction)


def soft_margin_loss(
    input: rg.Tensor,
    target: rg.Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> rg.Tensor:
    """log(1 + exp(-y * x)), with y 1 or -1, without overflow.

    Example:
        >>> import rustgrad as rg
        >>> loss = rg.nn.functional.soft_margin_loss(rg.zeros(2), rg.tensor([1.0, -1.0]))
        >>> round(loss.item(), 4)  # log(2)
        0.6931
    """
    reduction = _reduction("soft_margin_loss", reduction, size_average, reduce)
    return _reduced(-_C.logsigmoid(target * input), reduction)


def multi_margin_loss(
    input: rg.Tensor,
    target: rg.Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: rg.Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> rg.Tensor:
    """The mean over classes i other than y of max(0, margin - x[y] + x[i])^p.

    Args:
        input: scores, shape (N, C) or (C,).
        target: class numbers, shape (N,) or ().
        p: 1 or 2. Default: ``1``.
        margin: Default: ``1.0``.
        weight: one factor per class y, shape (C,).
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"mean"``.

    Raises:
        ValueError: ``p`` is neither 1 nor 2, or ``reduction`` is none of these.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.functional.multi_margin_loss(rg.tensor([[1.0, 0.5]]), rg.tensor([0])).item()
        0.25
    """
    reduction = _reduction("multi_margin_loss", reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f"[multi_margin_loss] only p == 1 and p == 2 supported, but got {p}")
    right = target.unsqueeze(-1)
    excess = (margin - input.gather(-1, right) + input).clamp(min=0)
    if p == 2:
        excess = excess * excess
    if weight is not None:
        excess = excess * weight[right]
    others = rg.ones_like(excess.detach()).scatter_(-1, right, 0.0)
    return _reduced((excess * others).mean(-1), reduction)


def multilabel_margin_loss(
    input: rg.Tensor,
    target: rg.Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> rg.Tensor:
    """The sum over classes y of the target and i not of it of max(0, 1 - x[y] + x[i]) / C.

    Args:
        input: scores, shape (N, C) or (C,).
        target: class numbers, the same shape; those before the first -1 count.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"mean"``.

    Example:
        >>> import rustgrad as rg
        >>> loss = rg.nn.functional.multilabel_margin_loss
        >>> loss(rg.tensor([1.0, 0.5]), rg.tensor([0, -1])).item()
        0.25
    """
    reduction = _reduction("multilabel_margin_loss", reduction, size_average, reduce)
    if input.shape != target.shape:
        raise ValueError(
            "[multilabel_margin_loss] input and target must have the same shape, but got "
            f"{tuple(input.shape)} and {tuple(target.shape)}"
        )
    counts = ((target < 0).cumsum(-1) == 0).to(input.dtype)
    classes = target.clamp(min=0)
    named = rg.zeros_like(input.detach()).scatter_add_(-1, classes, counts) > 0
    differences = 1 - input.gather(-1, classes).unsqueeze(-1) + input.unsqueeze(-2)
    pairs = counts.unsqueeze(-1) * (~named).to(input.dtype).unsqueeze(-2)
    losses = (differences.clamp(min=0) * pairs).sum((-2, -1)) / input.shape[-1]
    return _reduced(losses, reduction)


def multilabel_soft_margin_loss(
    input: rg.Tensor,
    target: rg.Tensor,
    weight: rg.Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> rg.Tensor:
    """The mean over classes of -y * log(sigmoid(x)) - (1 - y) * log(sigmoid(-x)).

    Args:
        input: scores, shape (N, C) or (C,).
        target: 0 and 1, the same shape.
        weight: one factor per class, shape (C,).
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"mean"``.

    Example:
        >>> import rustgrad as rg
        >>> loss = rg.nn.functional.multilabel_soft_margin_loss(rg.zeros(3), rg.ones(3))
        >>> round(loss.item(), 4)  # log(2)
        0.6931
    """
    reduction = _reduction("multilabel_soft_margin_loss", reduction, size_average, reduce)
    losses = -(target * _C.logsigmoid(input) + (1 - target) * _C.logsigmoid(-input))
    if weight is not None:
        losses = losses * weight
    return _reduced(losses.mean(-1), reduction)
