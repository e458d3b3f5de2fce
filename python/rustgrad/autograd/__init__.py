"""Derivatives: :func:`backward`, :func:`grad`, custom functions, modes, checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rustgrad import _C

from . import forward_ad, functional, graph
from .anomaly_mode import (
    detect_anomaly,
    is_anomaly_enabled,
    masked_gradients,
    set_detect_anomaly,
)
from .explain import guard, why
from .function import Function, FunctionCtx, once_differentiable
from .grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled
from .gradcheck import GradcheckError, gradcheck, gradgradcheck

if TYPE_CHECKING:
    from . import profiler
else:
    from .._lazy import lazily

    __getattr__, __dir__ = lazily(__name__, profiler="profiler")

__all__ = [
    "Function",
    "FunctionCtx",
    "GradcheckError",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "forward_ad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "guard",
    "inference_mode",
    "is_anomaly_enabled",
    "masked_gradients",
    "no_grad",
    "once_differentiable",
    "profiler",
    "set_detect_anomaly",
    "set_grad_enabled",
    "why",
]


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Adds the gradients of ``tensors`` to ``.grad`` of the leaves (or of ``inputs``).

    Args:
        tensors: a tensor or a sequence of tensors.
        grad_tensors: their cotangents; ``None`` stands for 1 where there is one element.
        retain_graph: keep saved values for another backward; the default is ``create_graph``.
        create_graph: record the backward, so that gradients can be differentiated.
        grad_variables: the old name of ``grad_tensors``.
        inputs: accumulate into these tensors only.
    """
    if grad_variables is not None:
        if grad_tensors is not None:
            raise RuntimeError("give either grad_tensors or its old name grad_variables, not both")
        grad_tensors = grad_variables
    _C.backward(tensors, grad_tensors, retain_graph, create_graph, inputs)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of the sum of ``outputs`` (weighted by ``grad_outputs``) for each input.

    Args:
        outputs: a tensor or a sequence of tensors.
        inputs: the tensors to differentiate with respect to.
        grad_outputs: cotangents; ``None`` stands for 1 where there is one element.
        retain_graph: keep saved values for another backward; the default is ``create_graph``.
        create_graph: record the backward, so that the gradients can be differentiated.
        only_inputs: accepted for compatibility; always true.
        allow_unused: an input that was not used gives ``None`` instead of an error.
        is_grads_batched: each cotangent has a leading batch dimension; one gradient each.
        materialize_grads: an input that was not used gives zeros.

    Returns:
        One tensor (or ``None``) for each input.

    >>> import rustgrad as rg
    >>> x = rg.tensor(2.0, requires_grad=True)
    >>> (g,) = rg.autograd.grad(x**3, x, create_graph=True)
    >>> rg.autograd.grad(g, x)
    (tensor(12.),)
    """
    if materialize_grads:
        if allow_unused is False:
            raise ValueError(
                "Expected allow_unused to be True or not passed when materialize_grads=True, but "
                "got: allow_unused=False."
            )
        allow_unused = True
    several = (inputs,) if _C.is_tensor(inputs) else tuple(inputs)
    if not several:
        raise RuntimeError("'inputs' argument to grad() cannot be empty.")
    run = _batched_grad if is_grads_batched else _C.grad
    grads = run(outputs, several, grad_outputs, retain_graph, create_graph, bool(allow_unused))
    if materialize_grads:
        grads = tuple(
            x.new_zeros(x.shape) if g is None else g for g, x in zip(grads, several, strict=True)
        )
    return grads


def _batched_grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any,
    retain_graph: bool | None,
    create_graph: bool,
    allow_unused: bool,
) -> tuple[Any, ...]:
    """One backward for each row of the cotangents, stacked."""
    cotangents: Sequence[Any] = (
        (grad_outputs,)
        if grad_outputs is None or _C.is_tensor(grad_outputs)
        else tuple(grad_outputs)
    )
    sizes = [len(g) for g in cotangents if g is not None]
    if not sizes:
        raise RuntimeError("is_grads_batched=True needs grad_outputs with a batch dimension")
    rows = []
    for i in range(sizes[0]):
        row = [None if g is None else g[i] for g in cotangents]
        keep = True if i < sizes[0] - 1 else retain_graph
        rows.append(_C.grad(outputs, inputs, row, keep, create_graph, allow_unused))
    return tuple(
        None if any(g is None for g in column) else _C.stack(list(column))
        for column in zip(*rows, strict=True)
    )


class _VariableMeta(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return _C.is_tensor(instance)


class Variable(metaclass=_VariableMeta):
    """The old name of a tensor: ``Variable(t)`` is ``t``."""

    def __new__(cls, data: Any, requires_grad: bool = False, volatile: bool = False) -> Any:
        data = data.detach()
        return data.requires_grad_() if requires_grad else data
