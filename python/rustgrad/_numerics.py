"""Limits of the element types."""

from __future__ import annotations

from typing import Any

from . import _C

# bits, digits of mantissa (without the hidden one), least exponent of a normal number, resolution
_FLOATS = {
    _C.float64: (64, 52, -1022, 1e-15),
    _C.float32: (32, 23, -126, 1e-06),
    _C.float16: (16, 10, -14, 1e-03),
    _C.bfloat16: (16, 7, -126, 1e-02),
}
_INTS = {
    _C.int64: (64, True),
    _C.int32: (32, True),
    _C.int16: (16, True),
    _C.int8: (8, True),
    _C.uint8: (8, False),
}


class finfo:
    """Limits of a floating-point type (the default type if none is named).

    >>> import rustgrad as rg
    >>> rg.finfo(rg.float32).eps
    1.1920928955078125e-07
    """

    def __init__(self, type: Any = None) -> None:
        dtype = _C.get_default_dtype() if type is None else type
        if dtype not in _FLOATS:
            raise TypeError(
                f"rustgrad.finfo() requires a floating point input type. Use rustgrad.iinfo to "
                f"handle {dtype}"
            )
        bits, mantissa, least, resolution = _FLOATS[dtype]
        greatest = 1 - least
        self.bits = bits
        self.eps = 2.0**-mantissa
        self.tiny = self.smallest_normal = 2.0**least
        self.max = (2.0 - self.eps) * 2.0**greatest
        self.min = -self.max
        self.resolution = resolution
        self.dtype = str(dtype).rsplit(".", 1)[-1]

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, "
            f"eps={self.eps:g}, smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, "
            f"dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer type.

    >>> import rustgrad as rg
    >>> rg.iinfo(rg.int8).max
    127
    """

    def __init__(self, type: Any) -> None:
        if type not in _INTS:
            raise TypeError(
                f"rustgrad.iinfo() requires an integer input type. Use rustgrad.finfo to handle "
                f"{type}"
            )
        self.bits, signed = _INTS[type]
        self.max = 2 ** (self.bits - signed) - 1
        self.min = -(2 ** (self.bits - 1)) if signed else 0
        self.dtype = str(type).rsplit(".", 1)[-1]

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
