"""Differentiation of scalars, one object a number: the calculus of the oracle.

A :class:`Scalar` knows its value, the scalars it was computed from, and its partial derivatives by
them. Reverse mode adds up products of partial derivatives along all paths, and that is all there is
to it: no tensors, no views, no writes. Five operations make every other one: a linear combination,
a product, a power, and ``sin``, ``cos``, ``exp``, ``log``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence

_numbers = itertools.count(1)


class Scalar:
    """A number and where it came from.

    ``number`` rises with each scalar that depends on a variable, so parents have smaller ones; it
    is 0 for constants. ``slopes`` gives the partial derivatives as scalars, where they are not
    constant. ``hook`` scales the gradient that arrives here.
    """

    __slots__ = ("hook", "number", "parents", "partials", "slopes", "v")

    def __init__(
        self,
        v: float,
        parents: tuple[Scalar, ...] = (),
        partials: tuple[float, ...] = (),
        slopes: Callable[[], tuple[Scalar, ...]] | None = None,
        variable: bool = False,
    ) -> None:
        self.v = v
        self.parents = parents
        self.partials = partials
        self.slopes = slopes
        self.hook: float | None = None
        self.number = next(_numbers) if parents or variable else 0


def variable(v: float) -> Scalar:
    """A number to differentiate by."""
    return Scalar(v, variable=True)


def linear(v: float, terms: Iterable[tuple[Scalar, float]]) -> Scalar:
    """A number of value ``v`` whose derivatives by the terms are constants."""
    kept = [(p, c) for p, c in terms if p.number]
    if not kept:
        return Scalar(v)
    parents, partials = zip(*kept, strict=True)
    return Scalar(v, parents, partials)


def same(a: Scalar) -> Scalar:
    """A number equal to ``a``, with a gradient of its own even if ``a`` is constant."""
    return Scalar(a.v, (a,), (1.0,))


def replaced(a: Scalar, v: float) -> Scalar:
    """``a`` with its value overwritten behind the back of differentiation."""
    return Scalar(v, (a,), (1.0,)) if a.number else Scalar(v)


def scaled(a: Scalar, c: float) -> Scalar:
    """``c * a``"""
    return Scalar(a.v * c, (a,), (c,)) if a.number else Scalar(a.v * c)


def shifted(a: Scalar, c: float) -> Scalar:
    """``a + c``"""
    return replaced(a, a.v + c)


def plus(a: Scalar, b: Scalar) -> Scalar:
    """``a + b``"""
    return linear(a.v + b.v, ((a, 1.0), (b, 1.0)))


def total(terms: Sequence[Scalar]) -> Scalar:
    """The sum of all terms."""
    return linear(math.fsum([t.v for t in terms]), [(t, 1.0) for t in terms])


def times(a: Scalar, b: Scalar) -> Scalar:
    """``a * b``"""
    if not a.number:
        return scaled(b, a.v)
    if not b.number:
        return scaled(a, b.v)
    return Scalar(a.v * b.v, (a, b), (b.v, a.v), lambda: (b, a))


def _function(a: Scalar, v: float, slope: float, slopes: Callable[[], Scalar]) -> Scalar:
    return Scalar(v, (a,), (slope,), lambda: (slopes(),)) if a.number else Scalar(v)


def sin(a: Scalar) -> Scalar:
    """``d sin(a) = cos(a) da``"""
    return _function(a, math.sin(a.v), math.cos(a.v), lambda: cos(a))


def cos(a: Scalar) -> Scalar:
    """``d cos(a) = -sin(a) da``"""
    return _function(a, math.cos(a.v), -math.sin(a.v), lambda: scaled(sin(a), -1.0))


def exp(a: Scalar) -> Scalar:
    """``d exp(a) = exp(a) da``"""
    v = math.exp(a.v)
    return _function(a, v, v, lambda: exp(a))


def log(a: Scalar) -> Scalar:
    """``d log(a) = 1/a da``"""
    return _function(a, math.log(a.v), 1.0 / a.v, lambda: power(a, -1.0))


def power(a: Scalar, n: float) -> Scalar:
    """``d a^n = n a^(n-1) da``, for a constant ``n`` other than 0."""
    if n == 1.0:
        return same(a)
    slope = n * a.v ** (n - 1.0)
    return _function(a, a.v**n, slope, lambda: scaled(power(a, n - 1.0), n))


def quotient(a: Scalar, b: Scalar) -> Scalar:
    """``a / b``"""
    return times(a, power(b, -1.0))


def sigmoid(a: Scalar) -> Scalar:
    """``1 / (1 + exp(-a))``"""
    return power(shifted(exp(scaled(a, -1.0)), 1.0), -1.0)


def tanh(a: Scalar) -> Scalar:
    """``2 sigmoid(2 a) - 1``"""
    return shifted(scaled(sigmoid(scaled(a, 2.0)), 2.0), -1.0)


def ancestors(roots: Iterable[Scalar]) -> list[Scalar]:
    """All scalars that the roots depend on, and the roots, parents first."""
    seen = {r for r in roots if r.number}
    stack = list(seen)
    while stack:
        for p in stack.pop().parents:
            if p not in seen:
                seen.add(p)
                stack.append(p)
    return sorted(seen, key=lambda s: s.number)


def gradients(seeds: Sequence[tuple[Scalar, float]]) -> dict[Scalar, float]:
    """The derivative of ``sum(c * root for root, c in seeds)`` by every ancestor."""
    found: dict[Scalar, float] = {}
    for root, c in seeds:
        found[root] = found.get(root, 0.0) + c
    for s in reversed(ancestors(found)):
        g = found[s]
        if s.hook is not None:
            g = found[s] = g * s.hook
        for p, d in zip(s.parents, s.partials, strict=True):
            found[p] = found.get(p, 0.0) + g * d
    return found


def gradients_with_graph(seeds: Sequence[tuple[Scalar, Scalar]]) -> dict[Scalar, Scalar]:
    """As :func:`gradients`, as scalars that can be differentiated again."""
    found: dict[Scalar, Scalar] = {}
    for root, c in seeds:
        found[root] = plus(found[root], c) if root in found else c
    for s in reversed(ancestors(found)):
        g = found[s]
        if s.hook is not None:
            g = found[s] = scaled(g, s.hook)
        if s.slopes is None:
            terms = [scaled(g, d) for d in s.partials]
        else:
            terms = [times(g, d) for d in s.slopes()]
        for p, term in zip(s.parents, terms, strict=True):
            found[p] = plus(found[p], term) if p in found else term
    return found


def tangents(directions: dict[Scalar, float], of: Iterable[Scalar]) -> dict[Scalar, float]:
    """Forward mode: how every ancestor of ``of`` changes along the directions of the variables."""
    found = dict(directions)
    for s in ancestors(of):
        if s not in directions:
            pairs = zip(s.parents, s.partials, strict=True)
            found[s] = math.fsum(found[p] * d for p, d in pairs)
    return found
