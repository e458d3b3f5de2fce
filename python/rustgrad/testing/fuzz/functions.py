"""Custom functions that programs call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import rustgrad as rg


class Cube(rg.autograd.Function):
    """``x^3``"""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


class Product(rg.autograd.Function):
    """``x y``, with a context of its own."""

    @staticmethod
    def forward(x: Any, y: Any) -> Any:
        return x * y

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, y = ctx.saved_tensors
        return g * y, g * x


class SinCos(rg.autograd.Function):
    """The sine and the cosine, whose gradients read both."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        s, c = x.sin(), x.cos()
        ctx.save_for_backward(s, c)
        return s, c

    @staticmethod
    def backward(ctx: Any, gs: Any, gc: Any) -> Any:
        s, c = ctx.saved_tensors
        return gs * c - gc * s


class DoubleAndHalf(rg.autograd.Function):
    """``2 x``, and ``x / 2`` as a constant."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        double, half = x * 2, x / 2
        ctx.mark_non_differentiable(half)
        return double, half

    @staticmethod
    def backward(ctx: Any, g: Any, _: Any) -> Any:
        return g * 2


class Square(rg.autograd.Function):
    """``x^2``, differentiable once."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @rg.autograd.function.once_differentiable
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * 2 * x


class Halve(rg.autograd.Function):
    """``x / 2``, in place."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x)
        return x.mul_(0.5)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * 0.5


def packed() -> Any:
    """A block in which what is saved for backward is a copy, packed and unpacked by hooks."""
    return rg.autograd.graph.saved_tensors_hooks(lambda t: [t.clone()], lambda kept: kept[0])


def in_thread(f: Callable[[], Any]) -> Any:
    """What ``f`` returns or raises in another thread."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append((f(), None))
        except Exception as error:
            found.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    result, error = found.pop()
    if error is not None:
        raise error
    return result
