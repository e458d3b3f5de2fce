"""Loss functions as layers; the formulas are in :mod:`rustgrad.nn.functional`."""

from __future__ import annotations

from collections.abc import Callable

import rustgrad as rg

from .. import functional as F
from .._losses import legacy_reduction
from .module import Module

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


class _Loss(Module):
    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if size_average is not None or reduce is not None:
            reduction = legacy_reduction(size_average, reduce, stacklevel=4)
        self.reduction = reduction


class _WeightedLoss(_Loss):
    weight: rg.Tensor | None

    def __init__(
        self,
        weight: rg.Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class CrossEntropyLoss(_WeightedLoss):
    """-log(softmax(x)[y]); see :func:`~rustgrad.nn.functional.cross_entropy`.

    Args:
        weight: one factor per class, shape (C,).
        size_average: deprecated.
        ignore_index: class numbers of this value count for nothing. Default: ``-100``.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"mean"``.
        label_smoothing: share of the target spread evenly over all classes. Default: ``0.0``.

    Example:
        >>> import rustgrad as rg
        >>> loss = rg.nn.CrossEntropyLoss(reduction="sum")
        >>> round(loss(rg.zeros(2, 4), rg.tensor([0, 3])).item(), 4)  # 2 log(4)
        2.7726
    """

    def __init__(
        self,
        weight: rg.Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_WeightedLoss):
    """-weight[y] * x[y]; see :func:`~rustgrad.nn.functional.nll_loss`."""

    def __init__(
        self,
        weight: rg.Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.nll_loss(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class MSELoss(_Loss):
    """(x - y)^2; see :func:`~rustgrad.nn.functional.mse_loss`.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.MSELoss()(rg.tensor([1.0, 3.0]), rg.zeros(2)).item()
        5.0
    """

    def forward(self, input: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """abs(x - y); see :func:`~rustgrad.nn.functional.l1_loss`."""

    def forward(self, input: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """Quadratic near 0, linear beyond ``beta``, slope 1 there; see
    :func:`~rustgrad.nn.functional.smooth_l1_loss`.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """Quadratic near 0, linear beyond ``delta``, slope ``delta`` there; see
    :func:`~rustgrad.nn.functional.huber_loss`.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class BCELoss(_WeightedLoss):
    """-(y * log(x) + (1 - y) * log(1 - x)); see
    :func:`~rustgrad.nn.functional.binary_cross_entropy`.
    """

    def forward(self, input: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """The binary cross-entropy of sigmoid(x); see
    :func:`~rustgrad.nn.functional.binary_cross_entropy_with_logits`.
    """

    weight: rg.Tensor | None
    pos_weight: rg.Tensor | None

    def __init__(
        self,
        weight: rg.Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: rg.Tensor | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.binary_cross_entropy_with_logits(
            input,
            target,
            weight=self.weight,
            reduction=self.reduction,
            pos_weight=self.pos_weight,
        )


class KLDivLoss(_Loss):
    """y * (log(y) - x); see :func:`~rustgrad.nn.functional.kl_div`.

    ``reduction="batchmean"`` gives the divergence as it is defined.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class PoissonNLLLoss(_Loss):
    """exp(x) - y * x; see :func:`~rustgrad.nn.functional.poisson_nll_loss`."""

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.poisson_nll_loss(
            log_input,
            target,
            log_input=self.log_input,
            full=self.full,
            eps=self.eps,
            reduction=self.reduction,
        )


class CosineEmbeddingLoss(_Loss):
    """Pulls pairs with y = 1 together and pushes pairs with y = -1 apart; see
    :func:`~rustgrad.nn.functional.cosine_embedding_loss`.
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: rg.Tensor, input2: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.cosine_embedding_loss(
            input1, input2, target, margin=self.margin, reduction=self.reduction
        )


class MarginRankingLoss(_Loss):
    """max(0, -y * (x1 - x2) + margin); see
    :func:`~rustgrad.nn.functional.margin_ranking_loss`.
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: rg.Tensor, input2: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.margin_ranking_loss(
            input1, input2, target, margin=self.margin, reduction=self.reduction
        )


class TripletMarginLoss(_Loss):
    """max(0, d(a, p) - d(a, n) + margin); see
    :func:`~rustgrad.nn.functional.triplet_margin_loss`.

    Raises:
        ValueError: ``margin`` is not positive.
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginLoss: margin must be greater than 0, got {margin}")
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: rg.Tensor, positive: rg.Tensor, negative: rg.Tensor) -> rg.Tensor:
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            p=self.p,
            eps=self.eps,
            swap=self.swap,
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(_Loss):
    """:class:`TripletMarginLoss` with any distance; see
    :func:`~rustgrad.nn.functional.triplet_margin_with_distance_loss`.

    Raises:
        ValueError: ``margin`` is not positive.
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[rg.Tensor, rg.Tensor], rg.Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise ValueError(
                f"TripletMarginWithDistanceLoss: margin must be greater than 0, got {margin}"
            )
        self.distance_function = (
            F.pairwise_distance if distance_function is None else distance_function
        )
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: rg.Tensor, positive: rg.Tensor, negative: rg.Tensor) -> rg.Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


class GaussianNLLLoss(_Loss):
    """(log(var) + (x - y)^2 / var) / 2; see :func:`~rustgrad.nn.functional.gaussian_nll_loss`."""

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: rg.Tensor, target: rg.Tensor, var: rg.Tensor | float) -> rg.Tensor:
        return F.gaussian_nll_loss(
            input, target, var, full=self.full, eps=self.eps, reduction=self.reduction
        )


class HingeEmbeddingLoss(_Loss):
    """x where y is 1, max(0, margin - x) where y is -1; see
    :func:`~rustgrad.nn.functional.hinge_embedding_loss`.
    """

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class SoftMarginLoss(_Loss):
    """log(1 + exp(-y * x)); see :func:`~rustgrad.nn.functional.soft_margin_loss`."""

    def forward(self, input: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiMarginLoss(_WeightedLoss):
    """The mean over i != y of max(0, margin - x[y] + x[i])^p; see
    :func:`~rustgrad.nn.functional.multi_margin_loss`.

    Raises:
        ValueError: ``p`` is neither 1 nor 2.
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: rg.Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: only p == 1 and p == 2 supported, but got {p}")
        self.p = p
        self.margin = margin

    def forward(self, input: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.multi_margin_loss(
            input, target, self.p, self.margin, self.weight, reduction=self.reduction
        )


class MultiLabelMarginLoss(_Loss):
    """The sum over classes y of the target and i not of it of max(0, 1 - x[y] + x[i]) / C; see
    :func:`~rustgrad.nn.functional.multilabel_margin_loss`.
    """

    def forward(self, input: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """The mean over classes of the binary cross entropy of scores; see
    :func:`~rustgrad.nn.functional.multilabel_soft_margin_loss`.
    """

    def forward(self, input: rg.Tensor, target: rg.Tensor) -> rg.Tensor:
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)
