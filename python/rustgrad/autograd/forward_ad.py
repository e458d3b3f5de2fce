"""Forward mode: dual tensors carry a tangent through every op.

>>> import rustgrad as rg
>>> import rustgrad.autograd.forward_ad as fwAD
>>> with fwAD.dual_level():
...     x = fwAD.make_dual(rg.tensor(3.0), rg.tensor(1.0))
...     fwAD.unpack_dual(x * x).tangent
tensor(6.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

from rustgrad import _C

_levels: list[int] = []


class UnpackedDualTensor(NamedTuple):
    """A primal and its tangent (``None`` if it has none)."""

    primal: Any
    tangent: Any


def enter_dual_level() -> int:
    """Opens a level and returns its number; :class:`dual_level` does both ends."""
    level = _C.enter_dual_level()
    _levels.append(level)
    return level


def exit_dual_level(*, level: int | None = None) -> None:
    """Closes a level: its tangents are gone."""
    if not _levels:
        raise RuntimeError("Trying to exit a forward AD level that was not entered")
    _C.exit_dual_level(_levels.pop() if level is None else level)
    if level is not None:
        _levels.remove(level)


class dual_level:
    """The scope of a level of tangents."""

    def __enter__(self) -> int:
        self.level = enter_dual_level()
        return self.level

    def __exit__(self, *exc: object) -> None:
        exit_dual_level(level=self.level)


def _level(level: int | None) -> int | None:
    if level is not None and level >= 0:
        return level
    return _levels[-1] if _levels else None


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
