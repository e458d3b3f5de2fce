"""What the buffers of tensors take, in bytes.

Freed buffers are kept for reuse, because fresh memory costs more than most arithmetic on it.

>>> import rustgrad
>>> before = rustgrad.memory.allocated()
>>> x = rustgrad.zeros(256, 256)
>>> rustgrad.memory.allocated() - before
262144
>>> rustgrad.memory.reserved() >= rustgrad.memory.allocated()
True
"""

from rustgrad import _C

__all__ = ["allocated", "empty_cache", "peak", "reserved", "reset_peak"]


def allocated() -> int:
    """Bytes in buffers that tensors hold, each rounded up to its size class."""
    return _C.live_bytes()


def reserved() -> int:
    """Bytes in buffers that tensors hold or that wait for reuse."""
    return _C.live_bytes() + _C.cached_bytes()


def peak() -> int:
    """The most bytes that tensors held at once, since the start or :func:`reset_peak`."""
    return _C.peak_bytes()


def reset_peak() -> None:
    """Lets :func:`peak` start from what is held now."""
    _C.reset_peak()


def empty_cache() -> None:
    """Gives the buffers that wait for reuse back to the system."""
    _C.empty_cache()
