"""Elements copied to other places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import scalar as sc, shapes as sh
from ..oracle import Tensor
from ..shapes import Picks, need
from .elementwise import MASK, ZERO
from .table import (
    Draw,
    Drawn,
    Value,
    add,
    matrix_and_offset,
    one,
    one_and_dim,
    one_and_mask,
    one_and_positions,
)


def moved(f: Callable[..., Picks]) -> Callable[..., list[Value]]:
    """The rule of an operation that copies elements."""

    def rule(ins: list[Value], *params: Any) -> list[Value]:
        ((shape, nodes),) = ins
        new, at = f(shape, *params)
        return [(new, [nodes[i] for i in at])]

    return rule


def joined(ins: list[Value], dim: int) -> list[Value]:
    """Arrays one after another along a dimension."""
    (s, a), (t, b) = ins
    need(len(s) == len(t) > 0 and -len(s) <= dim < len(s))
    d = dim % len(s)
    need(s[:d] + s[d + 1 :] == t[:d] + t[d + 1 :])
    new = (*s[:d], s[d] + t[d], *s[d + 1 :])
    out = []
    for i in sh.indices(new):
        if i[d] < s[d]:
            out.append(a[sh.flat(s, i)])
        else:
            out.append(b[sh.flat(t, (*i[:d], i[d] - s[d], *i[d + 1 :]))])
    return [(new, out)]


def two_alike_and_dim(d: Draw) -> Drawn:
    """Two tensors that differ in one dimension at most, and that."""
    a = d.with_dims()
    s, dim = d.shape(a), d.dim(a)
    k = dim % len(s)

    def fits(t: Tensor) -> bool:
        return len(t.shape) == len(s) and t.shape[:k] + t.shape[k + 1 :] == s[:k] + s[k + 1 :]

    return (a, d.any(fits)), (dim,)


def stacked(ins: list[Value], dim: int) -> list[Value]:
    """Arrays along a new dimension."""
    need(-len(ins[0][0]) - 1 <= dim <= len(ins[0][0]))
    return joined([(sh.unsqueeze(s, dim)[0], nodes) for s, nodes in ins], dim)


def two_alike_and_place(d: Draw) -> Drawn:
    """Two tensors of one shape, and where a dimension can be added."""
    a = d.any()
    s = d.shape(a)
    return (a, d.any(lambda t: t.shape == s)), (d.rng.randint(-len(s) - 1, len(s)),)


def one_shift_and_dim(d: Draw) -> Drawn:
    """A tensor, a number of positions, and a dimension."""
    (a,), params = one_and_dim(d)
    return (a,), (d.rng.randint(-2, 2), *params)


def one_and_times(d: Draw) -> Drawn:
    """A tensor, and how often it is repeated along each dimension."""
    a = d.any()
    return (a,), (tuple(d.rng.choice((1, 1, 2)) for _ in d.shape(a)),)


def lower(ins: list[Value], offset: int) -> list[Value]:
    """Zero above a diagonal."""
    ((shape, nodes),) = ins
    need(len(shape) >= 2)
    pairs = zip(sh.indices(shape), nodes, strict=True)
    return [(shape, [n if i[-1] - i[-2] <= offset else ZERO for i, n in pairs])]


add("clone", "movement", "fresh", "{0}.clone()", one, moved(sh.whole))
add("flip", "movement", "fresh", "{0}.flip({p0})", one_and_dim, moved(sh.flip))
add("roll", "movement", "fresh", "{0}.roll({p0}, {p1})", one_shift_and_dim, moved(sh.roll))
add("repeat", "movement", "fresh", "{0}.repeat({p0})", one_and_times, moved(sh.repeat))
add("masked_select", "movement", "fresh", "{0}[" + MASK + "]", one_and_mask, moved(sh.masked))
add(
    "index_select", "movement", "fresh", "{0}.index_select({p0}, rg.tensor({p1}))",
    one_and_positions, moved(sh.index_select),
)  # fmt: skip
add("tril", "movement", "fresh", "{0}.tril({p0})", matrix_and_offset, lower)
add("cat", "movement", "fresh", "rg.cat([{0}, {1}], {p0})", two_alike_and_dim, joined, "", "")
add(
    "stack", "movement", "fresh", "rg.stack([{0}, {1}], {p0})", two_alike_and_place, stacked, "", ""
)


def added_at(ins: list[Value], dim: int, at: tuple[int, ...]) -> list[Value]:
    """Slices of the second input added to positions of a dimension of the first."""
    (shape, a), (other, b) = ins
    expected, picked = sh.index_select(shape, dim, at)
    need(other == expected)
    out = list(a)
    for i, n in zip(picked, b, strict=True):
        out[i] = sc.plus(out[i], n)
    return [(shape, out)]


def target_positions_and_slices(d: Draw) -> Drawn:
    """A target, positions of a dimension, and a tensor with a slice for each."""
    (a,), (dim, at) = one_and_positions(d)
    shape, _ = sh.index_select(d.shape(a), dim, at)
    return (a, d.any(lambda t: t.shape == shape)), (dim, at)


INDEX_ADD = "({p0}, rg.tensor({p1}), {1})"
add(
    "index_add",
    "movement",
    "fresh",
    "{0}.index_add" + INDEX_ADD,
    target_positions_and_slices,
    added_at,
    "",
    "",
    alike=True,
)
add(
    "index_add_",
    "movement in place",
    "write",
    "{0}.index_add_" + INDEX_ADD,
    target_positions_and_slices,
    added_at,
    "",
    "",
    alike=True,
)
