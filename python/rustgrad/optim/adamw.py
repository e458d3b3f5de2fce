"""AdamW: Adam with the weight decay taken out of the gradient."""

from __future__ import annotations

from typing import Any

import rustgrad as rg

from .adam import Adam

__all__ = ["AdamW"]


class AdamW(Adam):
    """Adam with decoupled weight decay; Loshchilov and Hutter 2019.

    Each step first does p = p * (1 - lr * weight_decay), then what :class:`Adam` does without
    weight decay.

    Args:
        params: what to optimise; see :class:`Optimizer`.
        lr: learning rate. Default: ``1e-3``.
        betas: decay of the two moments. Default: ``(0.9, 0.999)``.
        eps: keeps the divisor from 0. Default: ``1e-8``.
        weight_decay: Default: ``1e-2``.
        amsgrad: use the variant of Reddi et al. 2018. Default: ``False``.
        maximize: go up rather than down. Default: ``False``.
        foreach: a performance hint, without effect here.
        capturable: not supported.
        differentiable: record the step, so that gradients flow through it. Default: ``False``.
        fused: a performance hint, without effect here.

    Raises:
        ValueError: an option is out of range or not supported.

    Example:
        >>> import rustgrad as rg
        >>> w = rg.nn.Parameter(rg.tensor(4.0))
        >>> optimizer = rg.optim.AdamW([w], lr=0.5, weight_decay=0.25)
        >>> (w * 0).backward()
        >>> optimizer.step()
        >>> w.item()
        3.5
    """

    def __init__(
        self,
        params: Any,
        lr: float | rg.Tensor = 1e-3,
        betas: tuple[float | rg.Tensor, float | rg.Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        # Checkpoints from before this option existed come with Adam's default.
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
