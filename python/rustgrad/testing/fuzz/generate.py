"""Draws programs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from .machine import Machine
from .ops import MOST_ELEMENTS, OPS, Draw
from .oracle import Tensor
from .shapes import Unfit, need
from .statement import Difference, Statement

SHAPES = [
    (),
    (1,),
    (2,),
    (3,),
    (4,),
    (1, 3),
    (2, 2),
    (2, 3),
    (3, 1),
    (3, 3),
    (2, 1, 3),
    (2, 2, 2),
    (3, 4),
]
EMPTY = [(0,), (2, 0), (0, 3)]
assert all(len(s) <= MOST_ELEMENTS for s in SHAPES)

FAMILIES = {
    "elementwise": 20,
    "elementwise in place": 26,
    "reduction": 8,
    "reduction in place": 1,
    "matmul": 6,
    "movement": 8,
    "movement in place": 1,
    "view": 28,
    "custom function": 5,
    "custom function in place": 1,
    "checkpoint": 3,
    "cast": 4,
}

Special = Callable[[Draw], tuple[tuple[str, ...], tuple[Any, ...]]]


def differentiable(d: Draw, fits: Callable[[Tensor], bool] = lambda t: True) -> str:
    """A tensor that requires grad."""
    return d.any(lambda t: t.requires_grad and fits(t))


def leaf(d: Draw) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """A shape, distinct numbers, whether they require grad, and their type."""
    shape = d.rng.choice(EMPTY if d.rng.random() < 0.03 else SHAPES)
    count = 1
    for n in shape:
        count *= n
    data = [k / 10 for k in d.rng.sample([k for k in range(-15, 16) if k], count)]
    return (), (shape, tuple(data), d.rng.random() < 0.75, d.rng.choice(d.dtypes))


def flag(d: Draw) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """A leaf, and the other value of its flag."""
    name = d.any(lambda t: t.is_leaf)
    return (name,), (not d.tensors[name].requires_grad,)


def backward(d: Draw) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """One or two roots, some leaves or all, whether the graph is kept, and threads."""
    roots = sorted({differentiable(d) for _ in range(d.rng.choice((1, 1, 2)))})
    some = d.rng.random() < 0.25
    leaves = {differentiable(d, lambda t: t.is_leaf) for _ in range(d.rng.choice((1, 2)) * some)}
    how = (len(roots), d.rng.random() < 0.7, d.rng.random() < 0.15)
    return (*roots, *sorted(leaves)), how


def node_hook(d: Draw) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """A result, a factor, and whether it is applied before the node runs."""
    name = differentiable(d, lambda t: not t.is_leaf)
    return (name,), (d.number(), d.rng.random() < 0.5)


def detach_(d: Draw) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """A result."""
    return (differentiable(d, lambda t: not t.is_leaf and not t.is_view),), ()


def grad(d: Draw) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """A root, a target, whether gradients have a graph, whether the graph is kept, and threads."""
    root = differentiable(d, lambda t: not t.is_leaf)
    graph = d.rng.random() < 0.75
    return (root, differentiable(d)), (graph, graph or d.rng.random() < 0.7, d.rng.random() < 0.1)


SPECIAL: dict[str, tuple[int, Special]] = {
    "leaf": (3, leaf),
    "detach": (4, lambda d: ((d.any(),), (d.rng.choice(("detach()", "data")),))),
    "requires_grad_": (3, flag),
    "retain_grad": (2, lambda d: ((differentiable(d, lambda t: not t.is_leaf),), ())),
    "backward": (4, backward),
    "grad": (4, grad),
    "detach_": (1, detach_),
    "node_hook": (1, node_hook),
    "register_hook": (3, lambda d: ((differentiable(d),), (d.number(),))),
    "delete": (4, lambda d: ((d.any(),), ())),
}

# What must be said with the grad mode on.
RECORDED = {"leaf", "grad", "requires_grad_", "delete", "detach_", "node_hook"}

_ops = {family: [op for op in OPS.values() if op.family == family] for family in FAMILIES}
assert sum(map(len, _ops.values())) == len(OPS)
_kinds = [*FAMILIES, *SPECIAL]
_chances = [*FAMILIES.values(), *(chance for chance, _ in SPECIAL.values())]


def statement(rng: random.Random, d: Draw, out: str) -> Statement:
    """A statement that may make sense; raises :class:`Unfit` if there is none of its kind."""
    (kind,) = rng.choices(_kinds, _chances)
    chance = rng.random()
    mode = "no_grad" if chance < 0.07 and kind not in RECORDED else ""
    if kind in FAMILIES and chance > 0.92:
        mode = "packed" if chance > 0.95 else "inference"
    if kind in SPECIAL:
        name, draw = kind, SPECIAL[kind][1]
    else:
        op = rng.choice(_ops[kind])
        name, draw = op.name, op.draw
    ins, params = draw(d)
    if kind in FAMILIES and op.kind == "write" and not mode and rng.random() < 0.8:
        # Most writes to leaves would be refused.
        target = d.tensors[ins[0]].owner
        need(target.record is None or not target.leaf)
    return Statement(name, ins, params, out, mode)


def program(machine: Machine, rng: random.Random, most: int) -> list[Statement]:
    """Draws a program of up to ``most`` statements while running it.

    Raises:
        Difference: with the statements so far, the last of which shows it, as ``program``.
    """
    done: list[Statement] = []
    d = Draw(rng, machine.tensors)

    def run(s: Statement) -> None:
        done.append(s)
        try:
            machine.run(s)
        except Unfit:
            done.pop()
            raise
        except Difference as difference:
            difference.program = done
            raise

    for i in range(rng.randint(1, 3)):
        run(Statement("leaf", (), leaf(d)[1], f"x{i}"))
    if rng.random() < 0.05:
        run(Statement("allow_mutation"))
    for i in range(rng.randint(2, most)):
        for _ in range(8):
            try:
                s = statement(rng, d, f"t{i}")
                run(s)
                if s.op == "backward" and rng.random() < 0.4:
                    run(s)  # Gradients add up, or the graph is gone.
                break
            except Unfit:
                continue
    for s in checks(machine, rng):
        try:
            run(s)
        except Unfit:
            continue
    try:
        machine.finish()
    except Difference as difference:
        difference.program = done
        raise
    return done


def checks(machine: Machine, rng: random.Random) -> Iterator[Statement]:
    """Derivatives of all results, or of each where that is refused; tangents."""
    roots, targets = machine.roots_and_targets()
    if roots and rng.random() < 0.3:
        targets.append(rng.choice(roots))
    if roots and targets:
        place = len(machine.ran)
        orders = 3 if rng.random() < 0.2 else 2
        yield Statement("check", (*roots, *targets), (len(roots), orders))
        if place in machine.refused and len(roots) > 1:
            for root in roots:
                yield Statement("check", (root, *targets), (1, 2))
    if rng.random() < 0.7:
        yield Statement("jvp")
