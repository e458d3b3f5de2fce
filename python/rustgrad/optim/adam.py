"""Adam: steps scaled by running moments of the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rustgrad as rg
from rustgrad import _C

from .optimizer import Optimizer, check_hints, check_option, scalar

__all__ = ["Adam"]


class Adam(Optimizer):
    """Adam; Kingma and Ba 2015.

    With gradient g, parameter p and step number t, each step does::

        g = g + weight_decay * p                     (or p = p * (1 - lr * weight_decay)
                                                      with decoupled_weight_decay)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        p = p - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    ``amsgrad`` puts the largest v so far in place of v.

    Args:
        params: what to optimise; see :class:`Optimizer`.
        lr: learning rate. Default: ``1e-3``.
        betas: decay of the two moments. Default: ``(0.9, 0.999)``.
        eps: keeps the divisor from 0. Default: ``1e-8``.
        weight_decay: factor of the L2 penalty. Default: ``0``.
        amsgrad: use the variant of Reddi et al. 2018. Default: ``False``.
        foreach: a performance hint, without effect here.
        maximize: go up rather than down. Default: ``False``.
        capturable: not supported.
        differentiable: record the step, so that gradients flow through it. Default: ``False``.
        fused: a performance hint, without effect here.
        decoupled_weight_decay: decay the parameter rather than add to the gradient, as
            :class:`AdamW` does. Default: ``False``.

    Raises:
        ValueError: an option is out of range or not supported.

    Example:
        >>> import rustgrad as rg
        >>> w = rg.nn.Parameter(rg.tensor(4.0))
        >>> optimizer = rg.optim.Adam([w], lr=0.5)
        >>> (w * w).backward()
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
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        if isinstance(lr, rg.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        check_option("learning rate", scalar(lr))
        check_option("epsilon value", eps)
        check_option("beta parameter at index 0", scalar(betas[0]), limit=1.0)
        check_option("beta parameter at index 1", scalar(betas[1]), limit=1.0)
        check_option("weight_decay value", scalar(weight_decay))
        if capturable:
            raise ValueError(
                f"[{type(self).__name__}] capturable=True is not supported: there are no CUDA "
                "graphs to capture; leave it out"
            )
        check_hints(foreach, fused, differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("amsgrad", False)
            group.setdefault("maximize", False)
            group.setdefault("foreach", None)
            group.setdefault("capturable", False)
            group.setdefault("differentiable", False)
            group.setdefault("fused", None)
            group.setdefault("decoupled_weight_decay", False)
            for param in group["params"]:
                entry = self.state.get(param)
                # Old checkpoints count steps with a plain number.
                if entry and not isinstance(entry["step"], rg.Tensor):
                    entry["step"] = _count(float(entry["step"]))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Changes the parameters once; see :meth:`Optimizer.step`."""
        loss = self._evaluate(closure)
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            if not params:
                continue
            grads = [param.grad for param in params]
            differentiable = group["differentiable"]
            with rg.set_grad_enabled(differentiable):
                states = [self._state_of(param, group["amsgrad"]) for param in params]
                update = _update_recorded if differentiable else _update
                update(params, grads, states, group)
        return loss

    def _state_of(self, param: rg.Tensor, amsgrad: bool) -> dict[str, Any]:
        state = self.state[param]
        if not state:
            start = param.detach()
            state["step"] = _count(0.0)
            state["exp_avg"] = rg.zeros_like(start)
            state["exp_avg_sq"] = rg.zeros_like(start)
            if amsgrad:
                state["max_exp_avg_sq"] = rg.zeros_like(start)
        return state


def _count(steps: float) -> rg.Tensor:
    """A count of steps: always on the host, exact up to 2^24 or more."""
    wide = rg.get_default_dtype() == rg.float64
    return rg.tensor(steps, dtype=rg.float64 if wide else rg.float32)


def _update(
    params: list[rg.Tensor],
    grads: list[rg.Tensor],
    states: list[dict[str, Any]],
    group: dict[str, Any],
) -> None:
    """One step of all parameters of a group, in place: in one call where that can be."""
    lr = scalar(group["lr"])
    beta1, beta2 = (scalar(beta) for beta in group["betas"])
    eps = group["eps"]
    weight_decay = scalar(group["weight_decay"])
    decoupled = group["decoupled_weight_decay"]
    amsgrad = group["amsgrad"]
    maximize = group["maximize"]
    for state in states:
        state["step"] += 1
    steps = [state["step"].item() for state in states]
    if _C.adam_step(
        params,
        grads,
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [state["max_exp_avg_sq"] for state in states] if amsgrad else [],
        steps,
        lr,
        beta1,
        beta2,
        eps,
        weight_decay,
        decoupled,
        maximize,
    ):
        return
    for param, grad, state, step in zip(params, grads, states, steps, strict=True):
        if maximize:
            grad = -grad
        if weight_decay != 0:
            if decoupled:
                param.mul_(1 - lr * weight_decay)
            else:
                grad = grad.add(param, alpha=weight_decay)
        mean = state["exp_avg"]
        square = state["exp_avg_sq"]
        mean.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        if amsgrad:
            largest = state["max_exp_avg_sq"]
            square = largest.copy_(rg.maximum(largest, square))
        divisor = square.sqrt().div_((1 - beta2**step) ** 0.5).add_(eps)
        param.addcdiv_(mean, divisor, value=-lr / (1 - beta1**step))


def _update_recorded(
    params: list[rg.Tensor],
    grads: list[rg.Tensor],
    states: list[dict[str, Any]],
    group: dict[str, Any],
) -> None:
    """The same with gradients, also for ``lr``, betas and ``weight_decay`` that are tensors.

    The moments are new tensors in each step: earlier steps may have saved the old ones.
    """
    lr = group["lr"]
    beta1, beta2 = group["betas"]
    weight_decay = group["weight_decay"]
    for param, grad, state in zip(params, grads, states, strict=True):
        if group["maximize"]:
            grad = -grad
        state["step"] = state["step"].detach() + 1
        step = state["step"].item()
        if isinstance(weight_decay, rg.Tensor) or weight_decay != 0:
            # A copy, since the parameter is overwritten below.
            decay = param.clone() * weight_decay
            if group["decoupled_weight_decay"]:
                param.sub_(decay * lr)
            else:
                grad = grad + decay
        mean = state["exp_avg"] * beta1 + grad * (1 - beta1)
        square = state["exp_avg_sq"] * beta2 + grad * grad * (1 - beta2)
        state["exp_avg"], state["exp_avg_sq"] = mean, square
        if group["amsgrad"]:
            square = state["max_exp_avg_sq"] = rg.maximum(state["max_exp_avg_sq"], square)
        divisor = square.sqrt() / (1 - beta2**step) ** 0.5 + group["eps"]
        param.sub_(mean / divisor * (lr / (1 - beta1**step)))
