"""Limiting the size of gradients before an optimiser uses them."""

from __future__ import annotations

import math
from collections.abc import Iterable

import rustgrad as rg
from rustgrad import _C

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _listed(tensors: rg.Tensor | Iterable[rg.Tensor]) -> list[rg.Tensor]:
    return [tensors] if isinstance(tensors, rg.Tensor) else list(tensors)


def _grads(parameters: rg.Tensor | Iterable[rg.Tensor]) -> list[rg.Tensor]:
    return [grad for p in _listed(parameters) if (grad := p.grad) is not None]


def get_total_norm(
    tensors: rg.Tensor | Iterable[rg.Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> rg.Tensor:
    """The norm of all elements together, as if the tensors were one vector.

    Args:
        tensors: one or more tensors of any shapes.
        norm_type: the p of the norm; may be ``inf``. Default: ``2.0``.
        error_if_nonfinite: raise if the norm is not a finite number. Default: ``False``.
        foreach: a performance hint, without effect here.

    Returns:
        The norm, shape ().

    Raises:
        RuntimeError: the norm is not finite and ``error_if_nonfinite`` is set.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.utils.get_total_norm([rg.tensor([3.0]), rg.tensor([[4.0]])]).item()
        5.0
    """
    tensors = _listed(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return rg.tensor(0.0)
    with rg.no_grad():
        norms = [tensor.norm(norm_type) for tensor in tensors]
        total = norms[0] if len(norms) == 1 else rg.stack(norms).norm(norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is "
            "non-finite, so it cannot be clipped. To disable this error and scale the gradients "
            "by the non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(
    parameters: rg.Tensor | Iterable[rg.Tensor],
    max_norm: float,
    total_norm: rg.Tensor,
    foreach: bool | None = None,
) -> None:
    """Multiplies the gradients, in place, by min(1, max_norm / (total_norm + 1e-6)).

    Args:
        parameters: tensors whose gradients are scaled; those without one are passed over.
        max_norm: the largest norm allowed.
        total_norm: the norm of all gradients; see :func:`get_total_norm`.
        foreach: a performance hint, without effect here.
    """
    grads = _grads(parameters)
    if not grads:
        return
    with rg.no_grad():
        # Always multiplied, by 1 if need be, so that versions do not depend on the norm.
        factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
        if factor.device.type == "cpu" and _C.scale_all(grads, factor.item()):
            return
        for grad in grads:
            grad.mul_(factor)


def clip_grad_norm_(
    parameters: rg.Tensor | Iterable[rg.Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> rg.Tensor:
    """Scales the gradients, in place, so that their total norm is at most ``max_norm``.

    Args:
        parameters: tensors whose gradients are scaled; those without one are passed over.
        max_norm: the largest norm allowed.
        norm_type: the p of the norm; may be ``inf``. Default: ``2.0``.
        error_if_nonfinite: raise, before anything is changed, if the norm is not a finite
            number. Default: ``False``.
        foreach: a performance hint, without effect here.

    Returns:
        The total norm before scaling, shape ().

    Raises:
        RuntimeError: the norm is not finite and ``error_if_nonfinite`` is set.

    Example:
        >>> import rustgrad as rg
        >>> w = rg.nn.Parameter(rg.zeros(2))
        >>> w.grad = rg.tensor([3.0, 4.0])
        >>> rg.nn.utils.clip_grad_norm_([w], max_norm=1.0).item()
        5.0
        >>> round(w.grad.norm().item(), 4)
        1.0
    """
    # Listed once: an iterator, such as model.parameters(), can be walked only once.
    parameters = _listed(parameters)
    total_norm = get_total_norm(_grads(parameters), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total_norm)
    return total_norm


def clip_grad_value_(
    parameters: rg.Tensor | Iterable[rg.Tensor],
    clip_value: float,
    foreach: bool | None = None,
) -> None:
    """Limits every element of the gradients, in place, to -clip_value .. clip_value.

    Args:
        parameters: tensors whose gradients are limited; those without one are passed over.
        clip_value: the largest absolute value allowed.
        foreach: a performance hint, without effect here.
    """
    clip_value = float(clip_value)
    with rg.no_grad():
        for grad in _grads(parameters):
            grad.clamp_(min=-clip_value, max=clip_value)
