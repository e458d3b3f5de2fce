"""The gradients of a module's inputs and outputs, as its backward hooks see them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import rustgrad as rg
from rustgrad import _C

__all__ = ["BackwardHooks"]

Grads = tuple[Any, ...]


class BackwardHooks:
    """The backward hooks of one call of a module.

    NOTE [Gates of a module]: the inputs of ``forward`` pass a gate, and so do its outputs. A gate
    is the identity with one node, where the gradients of all its tensors meet. In backward the
    outputs' gate runs first: its gradients are ``grad_output``, which the pre-hooks may replace
    and which is kept for the hooks. These run at the inputs' gate, where ``grad_input`` is known;
    what they return goes on to what computed the inputs.

    Args:
        module: what is called.
        pre_hooks: called as ``hook(module, grad_output)``.
        hooks: called as ``hook(module, grad_input, grad_output)``.
    """

    def __init__(
        self,
        module: Any,
        pre_hooks: list[Callable[..., Any]],
        hooks: list[Callable[..., Any]],
    ) -> None:
        self.module = module
        self.pre_hooks = pre_hooks
        self.hooks = hooks
        self.n_inputs = 0
        # Held weakly: the node holds this object. `None` if no input needs a gradient.
        self.input_node: Any = None
        # By the number of the backward, of which several may be under way.
        self.grad_outputs: dict[int, Grads] = {}

    def gate_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The positional arguments for ``forward``."""
        self.n_inputs = len(args)
        if not self.hooks:
            return args
        places, views, node = _gate(args)
        if node is None:
            return args
        self.input_node = _C.weak_node(next(view for view in views if view.requires_grad))

        def at_inputs(grads: Grads) -> Grads | None:
            # Nothing is kept if the gradient did not come by way of the outputs, but from a
            # gradient that was computed with `create_graph`.
            grad_output = self.grad_outputs.pop(_C._current_graph_task_id(), None)
            if grad_output is None:
                return None
            grad_input = given = _spread(places, grads, self.n_inputs)
            for hook in self.hooks:
                changed = hook(self.module, grad_input, grad_output)
                grad_input = self._replaced("backward hook", "grad_input", grad_input, changed)
            return None if grad_input is given else tuple(grad_input[i] for i in places)

        node.register_prehook(at_inputs)
        return _replace(args, places, views)

    def gate_outputs(self, result: Any) -> Any:
        """What the call returns."""
        entries = _entries(result)
        if entries is None:
            import warnings

            warnings.warn(
                f"the backward hooks of {type(self.module).__name__} are not called: its output "
                "should be a Tensor, or a tuple, list or dict with Tensors, but is of type "
                f"{type(result).__name__}",
                stacklevel=4,
            )
            return result
        places, views, node = _gate(entries)
        if node is None:
            return result
        # The node must not hold the tensors: those that are written in place lead back to it.
        n_outputs = len(entries)

        def at_outputs(grads: Grads) -> Grads | None:
            grad_output = given = _spread(places, grads, n_outputs)
            for hook in self.pre_hooks:
                changed = hook(self.module, grad_output)
                grad_output = self._replaced(
                    "backward pre-hook", "grad_output", grad_output, changed
                )
            if not self.hooks:
                pass
            elif self.input_node is None:
                self._call_without_inputs(grad_output)
            elif _C._will_engine_execute_node(self.input_node):
                self.grad_outputs[_C._current_graph_task_id()] = grad_output
            return None if grad_output is given else tuple(grad_output[i] for i in places)

        node.register_prehook(at_outputs)
        return _replace(result, places, views)

    def _call_without_inputs(self, grad_output: Grads) -> None:
        nothing = (None,) * self.n_inputs
        for hook in self.hooks:
            changed = hook(self.module, nothing, grad_output)
            if isinstance(changed, tuple) and all(grad is None for grad in changed):
                continue
            if changed is not None:
                raise RuntimeError(
                    f"a backward hook of {type(self.module).__name__}, none of whose inputs "
                    "requires a gradient, should return None or None for all gradients, but "
                    f"returned {changed!r}"
                )

    def _replaced(self, kind: str, what: str, grads: Grads, changed: Any) -> Grads:
        """The gradients after a hook that returned ``changed``."""
        if changed is None:
            return grads
        if isinstance(changed, rg.Tensor) and len(grads) == 1:
            return (changed,)
        who = f"a {kind} of {type(self.module).__name__}"
        if not isinstance(changed, (tuple, list)):
            raise TypeError(
                f"{who} should return None or a tuple with {len(grads)} gradients, but returned "
                f"an object of type {type(changed).__name__}"
            )
        if len(changed) != len(grads):
            raise RuntimeError(
                f"{who} returned an invalid number of {what}: got {len(changed)}, but expected "
                f"{len(grads)}"
            )
        for grad in changed:
            if not (grad is None or isinstance(grad, rg.Tensor)):
                raise TypeError(
                    f"{who} should return Tensors or None as {what}, but one is of type "
                    f"{type(grad).__name__}"
                )
        return tuple(changed)


def _gate(entries: tuple[Any, ...]) -> tuple[list[int], tuple[rg.Tensor, ...], Any]:
    """The places of the tensors among ``entries``, views of them, and their gate's node."""
    places = [i for i, entry in enumerate(entries) if isinstance(entry, rg.Tensor)]
    views, node = _C.gate([entries[i] for i in places])
    return places, views, node


def _spread(places: list[int], grads: Grads, n: int) -> Grads:
    """``grads`` at their places among ``n`` entries, and ``None`` at the others."""
    spread: list[Any] = [None] * n
    for i, grad in zip(places, grads, strict=True):
        spread[i] = grad
    return tuple(spread)


def _entries(result: Any) -> tuple[Any, ...] | None:
    """What may be tensors in a module's result, in order."""
    if isinstance(result, rg.Tensor):
        return (result,)
    if isinstance(result, (tuple, list)):
        return tuple(result)
    if isinstance(result, dict):
        return tuple(result.values())
    return None


def _replace(result: Any, places: list[int], views: tuple[rg.Tensor, ...]) -> Any:
    """The same structure with ``views`` at ``places``."""
    if isinstance(result, rg.Tensor):
        return views[0]
    if isinstance(result, tuple):
        entries = list(result)
        for i, view in zip(places, views, strict=True):
            entries[i] = view
        cls = type(result)
        if cls is tuple:
            return tuple(entries)
        return cls._make(entries) if hasattr(cls, "_make") else cls(*entries)
    # A copy, as the module may keep its list or dict.
    new = copy.copy(result)
    keys = list(new) if isinstance(new, dict) else range(len(new))
    for i, view in zip(places, views, strict=True):
        new[keys[i]] = view
    return new
