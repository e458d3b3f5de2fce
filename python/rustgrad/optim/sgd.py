"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rustgrad as rg
from rustgrad import _C

from .optimizer import Optimizer, check_hints, check_option, scalar

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked for.

    With gradient g, parameter p and velocity v, each step does::

        g = g + weight_decay * p
        v = momentum * v + (1 - dampening) * g      (v = g in the first step)
        p = p - lr * v                              (g + momentum * v with nesterov)

    Args:
        params: what to optimise; see :class:`Optimizer`.
        lr: learning rate. Default: ``1e-3``.
        momentum: Default: ``0``.
        dampening: Default: ``0``.
        weight_decay: factor of the L2 penalty. Default: ``0``.
        nesterov: use Nesterov's momentum. Default: ``False``.
        maximize: go up rather than down. Default: ``False``.
        foreach: a performance hint, without effect here.
        differentiable: record the step, so that gradients flow through it. Default: ``False``.
        fused: a performance hint, without effect here.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> import rustgrad as rg
        >>> w = rg.nn.Parameter(rg.tensor(4.0))
        >>> optimizer = rg.optim.SGD([w], lr=0.25)
        >>> (w * w).backward()
        >>> optimizer.step()
        >>> w.item()
        2.0
    """

    def __init__(
        self,
        params: Any,
        lr: float | rg.Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | rg.Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if isinstance(lr, rg.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        check_option("learning rate", scalar(lr))
        check_option("momentum value", momentum)
        check_option("weight_decay value", scalar(weight_decay))
        check_hints(foreach, fused, differentiable)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("nesterov", False)
            group.setdefault("maximize", False)
            group.setdefault("foreach", None)
            group.setdefault("differentiable", False)
            group.setdefault("fused", None)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Changes the parameters once; see :meth:`Optimizer.step`."""
        loss = self._evaluate(closure)
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            if not params:
                continue
            grads = [param.grad for param in params]
            has_momentum = group["momentum"] != 0
            states = [self.state[param] for param in params] if has_momentum else []
            buffers = [state.get("momentum_buffer") for state in states]
            differentiable = group["differentiable"]
            update = _update_recorded if differentiable else _update
            with rg.set_grad_enabled(differentiable):
                update(params, grads, buffers, group)
            for state, buffer in zip(states, buffers, strict=True):
                state["momentum_buffer"] = buffer
        return loss


def _update(
    params: list[rg.Tensor],
    grads: list[rg.Tensor],
    buffers: list[rg.Tensor | None],
    group: dict[str, Any],
) -> None:
    """One step of all parameters of a group, in place; new velocities go into ``buffers``."""
    lr = scalar(group["lr"])
    weight_decay = scalar(group["weight_decay"])
    momentum = group["momentum"]
    keep = 1 - group["dampening"]
    nesterov = group["nesterov"]
    maximize = group["maximize"]
    filled = [buffer for buffer in buffers if buffer is not None]
    if len(filled) == len(buffers) and _C.sgd_step(
        params,
        grads,
        filled,
        lr,
        momentum,
        group["dampening"],
        weight_decay,
        nesterov,
        maximize,
    ):
        return
    for i, param in enumerate(params):
        grad = grads[i]
        # Going up by g is going down by -g; without weight decay or a velocity to fill, the sign
        # can go into the last operation.
        sign = 1
        if maximize:
            if weight_decay == 0 and momentum == 0:
                sign = -1
            else:
                grad = -grad
        if weight_decay != 0:
            grad = grad.add(param, alpha=weight_decay)
        if momentum != 0:
            buffer = buffers[i]
            if buffer is None:
                buffer = buffers[i] = grad.detach().clone()
            else:
                buffer.mul_(momentum).add_(grad, alpha=keep)
            grad = grad.add(buffer, alpha=momentum) if nesterov else buffer
        param.add_(grad, alpha=-lr * sign)


def _update_recorded(
    params: list[rg.Tensor],
    grads: list[rg.Tensor],
    buffers: list[rg.Tensor | None],
    group: dict[str, Any],
) -> None:
    """The same with gradients, also for ``lr`` and ``weight_decay`` that are tensors.

    Velocities are new tensors in each step: earlier steps may have saved the old ones.
    """
    momentum = group["momentum"]
    for i, param in enumerate(params):
        grad = -grads[i] if group["maximize"] else grads[i]
        if scalar(group["weight_decay"]) != 0 or isinstance(group["weight_decay"], rg.Tensor):
            # A copy, since the parameter is overwritten below.
            grad = grad + param.clone() * group["weight_decay"]
        if momentum != 0:
            buffer = buffers[i]
            if buffer is None:
                buffer = grad.clone()
            else:
                buffer = buffer * momentum + grad * (1 - group["dampening"])
            buffers[i] = buffer
            grad = grad + buffer * momentum if group["nesterov"] else buffer
        param.sub_(grad * group["lr"])
