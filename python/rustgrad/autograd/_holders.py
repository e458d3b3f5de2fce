"""Which Python objects hold tensors."""

from __future__ import annotations

import gc
import sys
from collections.abc import Collection
from types import CellType, FrameType
from typing import Any

from rustgrad import _C

__all__ = ["holders_of"]

#: How many containers in containers are looked through.
_DEPTH = 3


def holders_of(nodes: Collection[int], limit: int) -> list[str]:
    """Who holds the results of some nodes, given by their numbers.

    Args:
        nodes: the numbers.
        limit: how many tensors to look at, and how many holders of each.

    Returns:
        Texts such as ``train.history[0] (SumBackward0, shape [])``.
    """
    search = _Search(limit)
    texts: list[str] = []
    seen = 0
    for t in search.tensors:
        node = t.grad_fn
        if node is None or node._sequence_nr() not in nodes:
            continue
        seen += 1
        if seen > limit:
            texts.append("... and more tensors")
            break
        what = f"({node.name()}, shape {list(t.shape)})"
        places = search.places(t) or ["something unknown"]
        texts += [f"{place} {what}" for place in places]
    return texts


class _Search:
    """Looks for what refers to objects, but for what the search itself does."""

    def __init__(self, limit: int) -> None:
        # It would double the time of importing the package.
        from inspect import CO_OPTIMIZED

        self.limit = limit
        self.tensors = [o for o in gc.get_objects() if _C.is_tensor(o)]
        self.locals = [
            (frame.f_code.co_name, _locals(frame))
            for top in sys._current_frames().values()
            for frame in _stack(top)
            if frame.f_code.co_flags & CO_OPTIMIZED
            and frame.f_globals.get("__name__") not in (__name__, _REPORT)
        ]
        self.own = {id(self.tensors), id(self.locals), *(id(names) for _, names in self.locals)}

    def places(self, t: Any) -> list[str]:
        """Where an object is held, as text."""
        found: dict[str, None] = {}
        self._look(t, "", _DEPTH, found)
        return list(found)[: self.limit]

    def _look(self, held: Any, path: str, depth: int, found: dict[str, None]) -> None:
        """Adds the places of ``held``, of which ``path`` is the part that matters."""
        for function, names in self.locals:
            for name, value in names.items():
                if value is held:
                    found[f"{name}{path} in {function}()"] = None
        referrers = gc.get_referrers(held)
        self.own.add(id(referrers))
        for holder in referrers:
            if len(found) >= self.limit:
                break
            if id(holder) in self.own or isinstance(holder, FrameType):
                continue
            self._step(holder, held, path, depth, found)
        self.own.discard(id(referrers))

    def _step(self, holder: Any, held: Any, path: str, depth: int, found: dict[str, None]) -> None:
        if isinstance(holder, CellType):
            found[f"a closure{': ' + path if path else ''}"] = None
            return
        if isinstance(holder, dict):
            key = next((k for k, v in holder.items() if v is held), None)
            module = sys.modules.get(str(holder.get("__name__")))
            if module is not None and vars(module) is holder:
                found[f"{module.__name__}.{key}{path}"] = None
                return
            for owner in gc.get_referrers(holder):
                if getattr(owner, "__dict__", None) is holder:
                    found[f"{type(owner).__name__}.{key}{path}"] = None
                    return
            inner = f"[{key!r}]{path}"
        elif isinstance(holder, (list, tuple)):
            inner = f"[{next((i for i, v in enumerate(holder) if v is held), '?')}]{path}"
        elif type(holder).__module__ in ("builtins", "collections"):
            inner = path
        else:
            names = getattr(holder, "__dict__", {})
            name = next((f".{k}" for k, v in names.items() if v is held), "")
            found[f"{type(holder).__name__}{name}{path}"] = None
            return
        count = len(found)
        if depth > 1:
            self._look(holder, inner, depth - 1, found)
        if len(found) == count:
            found[f"a {type(holder).__name__}: {inner}"] = None


_REPORT = "rustgrad.autograd.memory_report"


def _stack(top: FrameType) -> list[FrameType]:
    frames = []
    at: FrameType | None = top
    while at is not None:
        frames.append(at)
        at = at.f_back
    return frames


def _locals(frame: FrameType) -> dict[str, Any]:
    """The local variables of a function that runs.

    Up to Python 3.12 the frame then keeps a dictionary of them, which would hold what the function
    itself has let go of since. It is emptied, unless the program has it from ``locals()``.
    """
    kept = frame.f_locals
    names = dict(kept)
    # The frame, this variable, and the argument of `getrefcount`.
    if type(kept) is dict and sys.getrefcount(kept) <= 3:
        kept.clear()
    return names
