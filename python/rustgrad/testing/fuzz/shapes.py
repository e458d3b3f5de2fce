"""Where the elements of a result come from, as lists of row-major indices.

``Picks`` is a shape and, for each of its elements, the index of an element of the source. Views,
broadcasting and everything else that only moves elements are described by nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any, TypeVar, cast

Shape = tuple[int, ...]
Index = tuple[int, ...]
Picks = tuple[Shape, list[int]]
F = TypeVar("F", bound=Callable[..., Any])


class Unfit(Exception):
    """The arguments do not go together: the statement makes no sense."""


def need(condition: bool) -> None:
    """Raises :class:`Unfit` unless the condition holds."""
    if not condition:
        raise Unfit


def remembered(f: F) -> F:
    """Decorates a function of shapes and parameters, whose results are kept."""
    return cast(F, lru_cache(maxsize=4096)(f))


@remembered
def indices(shape: Shape) -> list[Index]:
    """All indices into a shape, in row-major order."""
    return list(itertools.product(*map(range, shape)))


def flat(shape: Shape, index: Index) -> int:
    """The row-major number of an index."""
    number = 0
    for n, i in zip(shape, index, strict=True):
        number = number * n + i
    return number


def picked(shape: Shape, new: Shape, f: Callable[[Index], Index]) -> Picks:
    """The picks of an array of shape ``new`` whose element ``i`` is element ``f(i)``."""
    return new, [flat(shape, f(i)) for i in indices(new)]


def _dim(shape: Shape, d: int) -> int:
    need(-len(shape) <= d < len(shape))
    return d % len(shape)


def _with(i: Index, d: int, v: int) -> Index:
    return (*i[:d], v, *i[d + 1 :])


@remembered
def whole(shape: Shape) -> Picks:
    """All elements as they are."""
    return shape, list(range(prod(shape)))


@remembered
def select(shape: Shape, d: int, at: int) -> Picks:
    """One position of a dimension, which goes."""
    d = _dim(shape, d)
    n = shape[d]
    need(-n <= at < n)
    return picked(shape, shape[:d] + shape[d + 1 :], lambda i: (*i[:d], at % n, *i[d:]))


@remembered
def cut(shape: Shape, d: int, start: int, stop: int, step: int) -> Picks:
    """``start:stop:step`` of a dimension."""
    d = _dim(shape, d)
    r = range(shape[d])[start:stop:step]
    return picked(shape, _with(shape, d, len(r)), lambda i: _with(i, d, r[i[d]]))


@remembered
def narrow(shape: Shape, d: int, start: int, length: int) -> Picks:
    """``length`` positions of a dimension."""
    need(0 <= start and 0 <= length and start + length <= shape[_dim(shape, d)])
    return cut(shape, d, start, start + length, 1)


@remembered
def permute(shape: Shape, order: tuple[int, ...]) -> Picks:
    """Dimensions in another order."""
    need(sorted(order) == list(range(len(shape))))
    inverse = [order.index(d) for d in range(len(shape))]
    new = tuple(shape[d] for d in order)
    return picked(shape, new, lambda i: tuple(i[k] for k in inverse))


@remembered
def transpose(shape: Shape, d: int, e: int) -> Picks:
    """Two dimensions exchanged."""
    order = list(range(len(shape)))
    d, e = _dim(shape, d), _dim(shape, e)
    order[d], order[e] = order[e], order[d]
    return permute(shape, tuple(order))


@remembered
def movedim(shape: Shape, d: int, e: int) -> Picks:
    """One dimension moved to another place."""
    d, e = _dim(shape, d), _dim(shape, e)
    order = [k for k in range(len(shape)) if k != d]
    order.insert(e, d)
    return permute(shape, tuple(order))


@remembered
def matrix_transpose(shape: Shape) -> Picks:
    """The last two dimensions exchanged."""
    need(len(shape) == 2)
    return transpose(shape, 0, 1)


@remembered
def unsqueeze(shape: Shape, d: int) -> Picks:
    """A new dimension of size 1."""
    d = d % (len(shape) + 1)
    return picked(shape, (*shape[:d], 1, *shape[d:]), lambda i: i[:d] + i[d + 1 :])


@remembered
def squeeze(shape: Shape) -> Picks:
    """Without dimensions of size 1."""
    new = tuple(n for n in shape if n != 1)
    return new, list(range(prod(shape)))


@remembered
def reshape(shape: Shape, new: Shape) -> Picks:
    """The same elements in another shape."""
    if new.count(-1) == 1:
        rest = -prod(new)
        need(rest > 0 and prod(shape) % rest == 0)
        new = tuple(prod(shape) // rest if n == -1 else n for n in new)
    need(-1 not in new and prod(new) == prod(shape))
    return new, list(range(prod(shape)))


@remembered
def broadcast(shape: Shape, new: Shape) -> Picks:
    """Dimensions of size 1 repeated, and new ones in front."""
    k = len(new) - len(shape)
    need(k >= 0 and all(a in (1, b) for a, b in zip(shape, new[k:], strict=True)))
    return picked(
        shape, new, lambda i: tuple(0 if n == 1 else j for n, j in zip(shape, i[k:], strict=True))
    )


def common(*shapes: Shape) -> Shape:
    """The shape that all broadcast to."""
    out: list[int] = []
    for sizes in itertools.zip_longest(*(s[::-1] for s in shapes), fillvalue=1):
        others = {n for n in sizes if n != 1}
        need(len(others) <= 1)
        out.append(others.pop() if others else 1)
    return tuple(out[::-1])


@remembered
def diagonal(shape: Shape, offset: int) -> Picks:
    """A diagonal of the first two dimensions, as the last one."""
    need(len(shape) >= 2)
    rows, columns = max(-offset, 0), max(offset, 0)
    n = max(min(shape[0] - rows, shape[1] - columns), 0)
    return picked(shape, (*shape[2:], n), lambda i: (i[-1] + rows, i[-1] + columns, *i[:-1]))


@remembered
def unfold(shape: Shape, d: int, size: int, step: int) -> Picks:
    """Windows of a dimension, as a new last one."""
    d = _dim(shape, d)
    need(0 < size <= shape[d] and step > 0)
    windows = (shape[d] - size) // step + 1
    return picked(
        shape,
        (*_with(shape, d, windows), size),
        lambda i: _with(i[:-1], d, i[d] * step + i[-1]),
    )


@remembered
def as_strided(shape: Shape, new: Shape, strides: tuple[int, ...]) -> Picks:
    """Elements at fixed distances, from the first one on.

    Dimensions may meet the same elements, but not pass between each other's.
    """
    at = [sum(s * k for s, k in zip(strides, i, strict=True)) for i in indices(new)]
    need(max(at, default=0) < max(prod(shape), 1))
    reach, passes = 0, False
    for s, n in sorted(zip(strides, new, strict=True)):
        passes = passes or n > 1 and s <= reach
        reach += s * (n - 1)
    need(not passes or len(set(at)) < len(at))
    return new, at


@remembered
def flip(shape: Shape, d: int) -> Picks:
    """A dimension backwards."""
    d = _dim(shape, d)
    return picked(shape, shape, lambda i: _with(i, d, shape[d] - 1 - i[d]))


@remembered
def roll(shape: Shape, by: int, d: int) -> Picks:
    """A dimension moved round."""
    d = _dim(shape, d)
    need(shape[d] > 0)
    return picked(shape, shape, lambda i: _with(i, d, (i[d] - by) % shape[d]))


@remembered
def index_select(shape: Shape, d: int, at: tuple[int, ...]) -> Picks:
    """Positions of a dimension."""
    d = _dim(shape, d)
    need(all(0 <= k < shape[d] for k in at))
    return picked(shape, _with(shape, d, len(at)), lambda i: _with(i, d, at[i[d]]))


@remembered
def masked(shape: Shape, mask: Any) -> Picks:
    """The elements where a nested tuple of booleans is true, in one dimension."""
    chosen = []
    for number, i in enumerate(indices(shape)):
        m = mask
        for k in i:
            need(isinstance(m, tuple) and k < len(m))
            m = m[k]
        need(isinstance(m, bool))
        if m:
            chosen.append(number)
    return (len(chosen),), chosen


@remembered
def repeat(shape: Shape, times: tuple[int, ...]) -> Picks:
    """The whole array, several times along each dimension."""
    need(len(times) == len(shape))
    new = tuple(n * k for n, k in zip(shape, times, strict=True))
    return picked(shape, new, lambda i: tuple(j % n for j, n in zip(i, shape, strict=True)))


@remembered
def rows(shape: Shape, d: int) -> list[list[int]]:
    """The elements along a dimension, for each index of the others."""
    d = _dim(shape, d)
    rest = shape[:d] + shape[d + 1 :]
    return [[flat(shape, (*i[:d], k, *i[d:])) for k in range(shape[d])] for i in indices(rest)]


def is_strided(positions: list[int], shape: Shape) -> bool:
    """Whether elements at these positions form an array of this shape with fixed strides."""
    if not positions:
        return True
    strides = []
    for d in range(len(shape)):
        unit = tuple(int(k == d) for k in range(len(shape)))
        strides.append(positions[flat(shape, unit)] - positions[0] if shape[d] > 1 else 0)
    return all(
        p == positions[0] + sum(s * k for s, k in zip(strides, i, strict=True))
        for p, i in zip(positions, indices(shape), strict=True)
    )


def is_adjacent(positions: list[int]) -> bool:
    """Whether elements at these positions lie one after another."""
    return all(q == p + 1 for p, q in itertools.pairwise(positions))


class Key(tuple):
    """A subscript: integers, slices, ``None`` and ``...``; prints as it is written."""

    __slots__ = ()

    def __str__(self) -> str:
        def show(k: Any) -> str:
            if k is Ellipsis:
                return "..."
            if isinstance(k, slice):
                ends = [k.start, k.stop, *([] if k.step is None else [k.step])]
                return ":".join("" if e is None else str(e) for e in ends)
            return str(k)

        return ", ".join(map(show, self))


def then(first: Picks, f: Callable[..., Picks], *args: Any) -> Picks:
    """The picks of ``f`` from what ``first`` picks."""
    shape, at = first
    new, of = f(shape, *args)
    return new, [at[i] for i in of]


def subscript(shape: Shape, key: Key) -> Picks:
    """``x[key]``"""
    taken = sum(isinstance(k, (int, slice)) for k in key)
    need(taken <= len(shape))
    out, d = whole(shape), 0
    for k in key:
        if k is Ellipsis:
            d += len(shape) - taken
        elif k is None:
            out, d = then(out, unsqueeze, d), d + 1
        elif isinstance(k, slice):
            n = out[0][d]
            out, d = then(out, cut, d, *k.indices(n)), d + 1
        else:
            out = then(out, select, d, k)
    return out
