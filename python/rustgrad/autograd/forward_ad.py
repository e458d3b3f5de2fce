"""Forward mode: dual tensors carry a tangent through every op.

>>> import rustgrad as rg
>>> import rustgrad.autograd.forward_ad as fwAD
>>> with fwAD.dual_level():
...     x = fwAD.make_dual(rg.tensor(3.0), rg.tensor(1.0))
...     fwAD.unpack_dual(x * x).tangent
tensor(6.)

Levels nest: a tangent is itself a tensor with a tangent for each outer level. Each thread has its
own.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from rustgrad import _C

from .grad_mode import _Mode

__all__ = [
    "UnpackedDualTensor",
    "dual_level",
    "enter_dual_level",
    "exit_dual_level",
    "make_dual",
    "unpack_dual",
]


class _Levels(threading.local):
    """The levels that are open on this thread, outermost first."""

    def __init__(self) -> None:
        self.open: list[int] = []


_levels = _Levels()


class UnpackedDualTensor(NamedTuple):
    """A primal and its tangent (``None`` if it has none)."""

    primal: Any
    tangent: Any


def enter_dual_level() -> int:
    """Opens a level and returns its number; :class:`dual_level` does both ends."""
    level = _C.enter_dual_level()
    _levels.open.append(level)
    return level


def exit_dual_level(*, level: int | None = None) -> None:
    """Closes the innermost level: its tangents are gone.

    Args:
        level: its number, if it is to be checked.

    Raises:
        RuntimeError: no level is open, or ``level`` is not the innermost.
    """
    if not _levels.open:
        raise RuntimeError("Trying to exit a forward AD level that was not entered")
    if level is not None and level != _levels.open[-1]:
        raise RuntimeError(
            "Trying to exit a forward AD level that was not the last one that was created. This is "
            f"not supported: level {level} was given, and {_levels.open} are open"
        )
    _C.exit_dual_level(_levels.open.pop())


class dual_level(_Mode):
    """The scope of a level of tangents; also decorates functions.

    Levels that were opened inside and not closed are closed too.
    """

    def __enter__(self) -> int:  # type: ignore[override]
        self.level = enter_dual_level()
        return self.level

    def __exit__(self, *exc: object) -> None:
        while _levels.open and _levels.open[-1] > self.level:
            exit_dual_level()
        exit_dual_level(level=self.level)


class _set_fwd_grad_enabled(_Mode):
    """Turns forward mode off for what runs inside, or on: open levels then do not count."""

    def __init__(self, mode: bool) -> None:
        self.mode = mode
        self._before = _C.hide_dual_levels(not mode)

    def _clone(self) -> _set_fwd_grad_enabled:
        return type(self)(self.mode)

    def __enter__(self) -> None:
        _C.hide_dual_levels(not self.mode)

    def __exit__(self, *exc: object) -> None:
        _C.hide_dual_levels(self._before)


def _level(level: int | None) -> int | None:
    if level is not None and level >= 0:
        return level
    return _levels.open[-1] if _levels.open else None


def make_dual(tensor: Any, tangent: Any, *, level: int | None = None) -> Any:
    """A dual tensor: the elements and history of ``tensor``, with a tangent.

    Raises:
        RuntimeError: no level is open, or the shapes differ.
        ValueError: the tensors are not floating point, or of different types.
    """
    level = _level(level)
    if level is None:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to "
            "enter_dual_level() first."
        )
    return _C.make_dual(tensor, tangent, level)


def unpack_dual(tensor: Any, *, level: int | None = None) -> UnpackedDualTensor:
    """The primal and the tangent of a dual tensor; the tangent of any other tensor is ``None``."""
    level = _level(level)
    if level is None:
        return UnpackedDualTensor(tensor, None)
    return UnpackedDualTensor(*_C.unpack_dual(tensor, level))
