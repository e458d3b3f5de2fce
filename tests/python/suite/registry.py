"""Samples of ops: what to call an op with, and what must come out.

A family's file in ``samples/`` registers its ops::

    @op("add", ref=lambda x, y, alpha=1: x + alpha * y)
    def _(make):
        yield Sample(make(3, 4), make(4))
        yield Sample(make(2, 3), 2.5, kwargs={"alpha": 2})

Positional and keyword ndarrays become tensors, lists (tuples) of ndarrays become lists (tuples) of
tensors, everything else is passed as it is.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FLOATS = ("f64", "f32", "f16", "bf16")
INTS = ("i64", "i32", "i16", "i8", "u8")
CLASSES = {"float": FLOATS, "int": INTS, "bool": ("bool",), "any": (*FLOATS, *INTS, "bool")}

# What `skip` may name besides dtypes.
CHECKS = {
    "values": "result against `ref`, for each dtype",
    "dtype": "type of the result against PyTorch's promotion rules",
    "noncontiguous": "transposed, strided and expanded inputs",
    "meta": "shapes and types without running",
    "gradcheck": "first derivatives, both modes, against differences",
    "gradgradcheck": "second derivatives against differences",
    "jvp": "jvp = vjp at orders 1 and 2",
    "modes": "second derivatives by forward and reverse mode over each other",
    "in_place": "`name_`",
    "method": "`x.name()`",
    "out": "`out=`",
    "large": "more elements than a kernel's block",
    "parity": "values, types and gradients against PyTorch",
    "parity_grad": "only the gradients against PyTorch",
}


class Sample:
    """The arguments of one call."""

    def __init__(self, *args: Any, kwargs: dict[str, Any] | None = None) -> None:
        self.args = args
        self.kwargs = dict(kwargs or {})

    def map(self, f: Callable[[np.ndarray], Any]) -> Sample:
        """The same call with ``f`` of every array."""
        args = tuple(_map(a, f) for a in self.args)
        return Sample(*args, kwargs={k: _map(v, f) for k, v in self.kwargs.items()})

    def arrays(self) -> list[np.ndarray]:
        """The arrays, in order."""
        found: list[np.ndarray] = []
        self.map(lambda a: found.append(a) or a)
        return found

    def runs(self, classes: str) -> list[str | None]:
        """The dtypes to run with; ``None``: as the arrays are.

        If there are float arrays, these take on each dtype, and the others (indices, masks) stay.
        Otherwise the integer arrays do, or, if there are none, the bool ones.
        """
        kind = self.kind()
        if kind is None:
            return [None]
        names = [n for c in classes.split("|") for n in CLASSES[c]]
        if kind == "i":
            names = [n for n in names if n in INTS]
        elif kind == "b":
            names = [n for n in names if n == "bool"]
        return list(names) or [None]

    def kind(self) -> str | None:
        """The NumPy kind of the arrays whose dtype varies."""
        kinds = {a.dtype.kind for a in self.arrays()}
        return next((k for k in "fib" if k in kinds), None)

    def cast(self, dtype: str | None) -> Sample:
        """The arrays with values of ``dtype``, held in float64, int64 or bool."""
        if dtype is None:
            return self
        kind = self.kind()
        return self.map(lambda a: round_to(a, dtype) if a.dtype.kind == kind else a)

    def __repr__(self) -> str:
        def text(a: Any) -> str:
            if isinstance(a, np.ndarray):
                return "x".join(map(str, a.shape)) or "0-d"
            if isinstance(a, list | tuple) and any(isinstance(x, np.ndarray) for x in a):
                return "[" + ",".join(map(text, a)) + "]"
            return str(a).replace(" ", "").replace("rustgrad.", "")

        parts = [text(a) for a in self.args]
        parts += [f"{k}={text(v)}" for k, v in self.kwargs.items()]
        return ",".join(parts)[:60]


def _map(value: Any, f: Callable[[np.ndarray], Any]) -> Any:
    if isinstance(value, np.ndarray):
        return f(value)
    if isinstance(value, list | tuple) and any(isinstance(x, np.ndarray) for x in value):
        return type(value)(_map(x, f) for x in value)
    return value


def round_to(a: np.ndarray, dtype: str) -> np.ndarray:
    """The values nearest to ``a`` that ``dtype`` holds, in float64, int64 or bool.

    Floats become integers away from zero, so that a positive number stays positive; their absolute
    value, if the type is unsigned.
    """
    if dtype == "bool":
        return np.asarray(a > 0)
    if dtype in INTS:
        if a.dtype.kind == "f":
            a = np.sign(a) * np.ceil(np.abs(a))
        a = np.asarray(a, dtype=np.int64)
        return np.asarray(np.abs(a)) if dtype == "u8" else a
    a = np.asarray(a, dtype=np.float64)
    if dtype == "bf16":
        return to_bf16(a)
    return a.astype({"f64": "f8", "f32": "f4", "f16": "f2"}[dtype]).astype(np.float64)


def to_bf16(a: np.ndarray) -> np.ndarray:
    """Rounded to eight bits of mantissa, to nearest, ties to even."""
    mantissa, exponent = np.frexp(a)
    rounded = np.ldexp(np.round(mantissa * 256.0), exponent - 8)
    return np.asarray(np.where(np.isfinite(a), rounded, a))


class Make:
    """Makes reproducible arrays.

    Args:
        key: what the values depend on: the op's name.
        stretch: the last dimension is this many times as long, unless it is 0 or 1.
    """

    def __init__(self, key: str, stretch: int = 1) -> None:
        self.rng = np.random.default_rng(zlib.crc32(key.encode()))
        self.stretch = stretch

    def __call__(
        self,
        *shape: int,
        low: float = -2.0,
        high: float = 2.0,
        kind: str = "float",
        distinct: bool = False,
    ) -> np.ndarray:
        """An array of float64, int64 or bool, with values in ``[low, high)``.

        ``distinct``: all values differ (clearly so for floats: by at least half the mean gap).
        """
        if shape and shape[-1] > 1:
            shape = (*shape[:-1], shape[-1] * self.stretch)
        n = math.prod(shape)
        if kind == "bool":
            return np.asarray(self.rng.random(shape) < 0.5)
        if kind == "int":
            low, high = math.ceil(low), math.ceil(high)
            if distinct:
                pool = np.arange(low, max(high, low + n))
                return self.rng.permutation(pool)[:n].reshape(shape).astype(np.int64)
            return np.asarray(self.rng.integers(low, high, size=shape), dtype=np.int64)
        if kind != "float":
            raise ValueError(f"make: kind {kind!r} is none of 'float', 'int', 'bool'")
        if distinct:
            places = self.rng.permutation(n) + 0.25 + 0.5 * self.rng.random(n)
            return (low + (high - low) * places / max(n, 1)).reshape(shape)
        return np.asarray(self.rng.uniform(low, high, size=shape))


@dataclass
class Op:
    """What an op's samples are, and how to judge its results."""

    name: str
    samples_of: Callable[[Make], Iterator[Sample]]
    ref: Callable[..., Any] | None = None
    check: Callable[..., Any] | None = None
    dtypes: str = "float"
    grad: bool = True
    tol: float = 1.0
    method_only: bool = False
    skip: dict[str, str] = field(default_factory=dict)
    torch: str | Callable[..., Any] | None = None

    def samples(self, stretch: int = 1) -> list[Sample]:
        """The samples; always the same ones."""
        return list(self.samples_of(Make(self.name, stretch)))


OPS: list[Op] = []


def op(
    name: str,
    *,
    ref: Callable[..., Any] | None = None,
    check: Callable[..., Any] | None = None,
    dtypes: str = "float",
    grad: bool = True,
    tol: float = 1.0,
    method_only: bool = False,
    skip: dict[str, str] | None = None,
    torch: str | Callable[..., Any] | None = None,
) -> Callable[[Callable[[Make], Iterator[Sample]]], Callable[[Make], Iterator[Sample]]]:
    """Registers the samples that the decorated generator yields.

    Args:
        name: the op's name in the table.
        ref: computes the result from NumPy arrays: an array, a number, or a tuple.
        check: for random ops, instead of ``ref``: ``check(result, *args, **kwargs)`` gets NumPy
            arrays and asserts what must hold. Such an op is called with a fixed seed.
        dtypes: the classes of input types: ``"float"``, ``"int"``, ``"bool"``, ``"any"``, or
            several joined by ``|``.
        grad: whether it is differentiable.
        tol: a factor on the tolerances.
        method_only: only ``x.name(...)`` exists.
        skip: a check (a key of :data:`CHECKS`) or a dtype, and the reason to leave it out.
        torch: PyTorch's name of the op if it is another, or a function that does the same.
    """

    def register(
        samples_of: Callable[[Make], Iterator[Sample]],
    ) -> Callable[[Make], Iterator[Sample]]:
        OPS.append(
            Op(name, samples_of, ref, check, dtypes, grad, tol, method_only, skip or {}, torch)
        )
        return samples_of

    return register
