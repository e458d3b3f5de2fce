"""What the extension module returns besides tensors: sizes and named tuples."""

from __future__ import annotations

from collections import namedtuple
from typing import Any, SupportsIndex

from rustgrad._C import _Size


class Size(_Size):
    """The sizes of a tensor: a tuple of ints.

    >>> import rustgrad as rg
    >>> rg.zeros(2, 3).shape
    rustgrad.Size([2, 3])
    """

    __slots__ = ()

    def numel(self) -> int:
        """The product of the sizes: the number of elements."""
        n = 1
        for size in self:
            n *= size
        return n

    def __repr__(self) -> str:
        return f"rustgrad.Size({list(self)})"

    def __add__(self, other: tuple[int, ...]) -> Size:  # type: ignore[override]
        return Size(tuple.__add__(self, tuple(other)))

    def __radd__(self, other: tuple[int, ...]) -> Size:
        return Size(tuple(other) + tuple(self))

    def __mul__(self, n: SupportsIndex) -> Size:
        return Size(tuple.__mul__(self, n))

    def __reduce__(self) -> tuple:
        return (Size, (tuple(self),))


_classes: dict[str, type] = {}


def make(name: str, fields: tuple[str, ...], values: tuple) -> tuple:
    """The named tuple that the op ``name`` returns: ``max`` has ``values`` and ``indices``."""
    cls = _classes.get(name)
    if cls is None:
        cls = _classes[name] = namedtuple(name, fields, module="rustgrad.return_types")
    return cls(*values)


def find_op(name: str) -> Any:
    """The function of that name, for unpickling it."""
    from rustgrad import _C

    return getattr(_C, name)
