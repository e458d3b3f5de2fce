"""Answers about gradients that are not there, and buffers that others write to."""

from __future__ import annotations

from typing import Any

from rustgrad import _C

__all__ = ["guard", "why"]


def why(tensor: Any) -> str:
    """Says where the gradient of a tensor comes from, or why it has none.

    Args:
        tensor: any tensor.

    Returns:
        Sentences, with the lines of the program that matter.

    >>> import rustgrad as rg
    >>> w = rg.ones(2, requires_grad=True)
    >>> print(rg.autograd.why((w * 2).argmax()))  # doctest: +ELLIPSIS
    It requires no gradient: its history ends with argmax, which has no gradient at ...
    """
    if not _C.is_tensor(tensor):
        return (
            f"A {type(tensor).__name__} is not a tensor: item(), tolist(), float() and NumPy "
            "arrays leave the graph. Compute with the tensor itself."
        )
    return _history(tensor) if tensor.requires_grad else _no_history(tensor)


def _no_history(t: Any) -> str:
    cut = _C.cut_of(t)
    if cut is not None:
        by, op, at = cut
        if by == "detach":
            what, remedy = (
                f"its history ends with detach() or .data{at}",
                ("Compute with the tensor from before."),
            )
        elif by == "no_grad":
            what, remedy = (
                f"its history ends where {op} ran without recording{at}",
                ("Leave no_grad (or inference mode) around that line."),
            )
        elif by == "backward":
            what, remedy = (
                f"it comes from a gradient computed without create_graph=True{at}",
                ("Pass create_graph=True there to differentiate gradients."),
            )
        else:
            what, remedy = (
                f"its history ends with {op}, which has no gradient{at}",
                (
                    "Nothing flows through that op: use a smooth one in its place (a softmax for "
                    "an argmax, say)."
                ),
            )
        return f"It requires no gradient: {what}. {remedy}"
    if not t.is_floating_point():
        return (
            f"It requires no gradient: its type {t.dtype} is not floating point, and only "
            "floating-point tensors can require one. Convert it with float() first."
        )
    if t.is_inference():
        return (
            "It requires no gradient: it was made in inference mode. clone() it outside, then "
            "requires_grad_()."
        )
    return (
        "It requires no gradient: it is a leaf that was not asked to, or was computed from such "
        "leaves alone. Call requires_grad_() on it (or on them, before the computation). Data that "
        "went through Python numbers or NumPy counts as new."
    )


def _history(t: Any) -> str:
    if not t.is_leaf:
        node = t.grad_fn
        made = f"It is the result of {node.name()}" + (f" at {node.site}" if node.site else "")
        if t.grad is not None:
            return f"{made}, and retain_grad() has kept its gradient."
        if node._is_freed:
            return (
                f"{made}. A backward has freed what that saved: pass retain_graph=True to it to "
                "run another."
            )
        if t.retains_grad:
            return f"{made}, and retain_grad() is set, but no backward has passed it since."
        return (
            f"{made}, so it is not a leaf: its gradient is passed on, and .grad stays None. Call "
            "retain_grad() on it before the backward to keep it."
        )
    if t.grad is not None:
        return "It is a leaf, and backward has added its gradient to .grad."
    uses = [
        node
        for node in _C.live_graph()
        if any(n is not None and n.variable is t for n, _ in node.next_functions)
    ]
    if not uses:
        return (
            "It is a leaf that requires a gradient, but no history that is alive uses it: either "
            "nothing was computed from it while recording, or the results are gone, or .grad was "
            "set to None (zero_grad) after the backward. Is it the tensor that the loss was "
            "computed from? A copy (to(), clone(), a new Parameter) is another one."
        )
    first = uses[0]
    at = f" at {first.site}" if first.site else ""
    return (
        f"It is a leaf, and {len(uses)} op{'s' if len(uses) > 1 else ''} in graphs that are alive "
        f"use it, the first being {first.name()}{at}; but no backward has come through any of "
        "them, or .grad was set to None since. Does the loss depend on their results? Call "
        "backward() on it, and not grad(), which returns gradients instead of adding them to "
        ".grad."
    )


class guard:
    """While it is entered, tensors are saved with a hash, which is checked in the backward.

    Writes by ops are always noticed. Writes through a NumPy array, a DLPack consumer or another
    buffer over the same memory are noticed by themselves only if the buffer was handed out before
    the tensor was saved; in here they are noticed in every case. It costs a pass over what is
    saved, and one more in the backward.

    Raises:
        RuntimeError: in the backward, when elements have changed that no op has written.

    >>> import numpy as np, rustgrad as rg
    >>> array = np.ones(2)
    >>> with rg.autograd.guard():
    ...     x = rg.from_numpy(array).requires_grad_()
    ...     y = (x * x).sum()
    >>> array[0] = 5
    >>> y.backward()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    RuntimeError: ...modified from outside...
    """

    def __enter__(self) -> None:
        self._before = _C.set_guarding(True)

    def __exit__(self, *exc: object) -> None:
        _C.set_guarding(self._before)
