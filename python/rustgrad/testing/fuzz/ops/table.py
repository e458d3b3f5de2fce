"""What an operation of the table is, and the chances by which its arguments are drawn."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from .. import shapes as sh
from ..oracle import DOUBLE, SINGLE, Tensor
from ..scalar import Scalar
from ..shapes import Picks, Shape, Unfit, need

Value = tuple[Shape, list[Scalar]]
Drawn = tuple[tuple[str, ...], tuple[Any, ...]]

MOST_ELEMENTS = 12


class Draw:
    """Chances, and the tensors there are."""

    def __init__(self, rng: random.Random, tensors: dict[str, Tensor]) -> None:
        self.rng, self.tensors = rng, tensors
        # The types of leaves.
        self.dtypes = (DOUBLE, SINGLE) if rng.random() < 0.08 else (DOUBLE,)

    def any(self, fits: Callable[[Tensor], bool] | None = None) -> str:
        """One of the tensors that fit, rather a late one."""
        names = list(self.tensors)
        if self.rng.random() < 0.5:
            names = names[-4:]
        if fits is not None:
            names = [n for n in names if fits(self.tensors[n])]
        need(bool(names))
        return self.rng.choice(names)

    def shape(self, name: str) -> Shape:
        """The shape of a tensor."""
        return self.tensors[name].shape

    def with_dims(self, least: int = 1) -> str:
        """A tensor of so many dimensions at least, none of size 0."""
        return self.any(lambda t: len(t.shape) >= least and 0 not in t.shape)

    def dim(self, name: str) -> int:
        """A dimension of a tensor, counted from either end."""
        n = len(self.shape(name))
        return self.rng.randrange(-n, n)

    def number(self) -> float:
        """A factor."""
        return self.rng.choice((-1.5, -1.0, -0.5, 0.25, 0.5, 0.75, 1.25, 2.0))


@dataclass
class Op:
    """What a statement does.

    ``kind`` is ``fresh`` (new tensors), ``view`` (views of the first input), ``reshape`` (one or
    the other) or ``write`` (to the first input, or to the ``region`` of it that a view rule and the
    parameters describe). ``barred`` says why the views must not be written, ``strided`` that they
    need fixed strides, ``adjacent`` that the elements they are made of lie one after another,
    ``many`` that results are a tuple, ``constants`` which results have no gradient, ``once`` that
    gradients have none, ``alike`` that inputs must have one type, ``dtype`` that of the results.
    """

    name: str
    family: str
    kind: str
    text: str
    draw: Callable[[Draw], Drawn]
    rule: Callable[..., Any]
    reads: Sequence[str] = ("",)
    region: Callable[..., Picks] | None = None
    barred: str | None = None
    strided: bool = False
    adjacent: bool = False
    many: bool = False
    constants: tuple[int, ...] = ()
    once: bool = False
    alike: bool = False
    dtype: str | None = None


OPS: dict[str, Op] = {}


def add(
    name: str, family: str, kind: str, text: str, draw: Any, rule: Any, *reads: str, **more: Any
) -> None:
    """Adds an operation to the table."""
    OPS[name] = Op(name, family, kind, text, draw, rule, reads or ("",), **more)


def each(f: Callable[..., Scalar]) -> Callable[..., list[Value]]:
    """The rule that applies ``f`` to corresponding elements, broadcast."""

    def rule(ins: list[Value], *params: Any) -> list[Value]:
        if len(ins) == 1:
            ((shape, nodes),) = ins
            return [(shape, [f(n, *params) for n in nodes])]
        shape = sh.common(*(s for s, _ in ins))
        columns = [
            nodes if s == shape else [nodes[i] for i in sh.broadcast(s, shape)[1]]
            for s, nodes in ins
        ]
        return [(shape, [f(*elements, *params) for elements in zip(*columns, strict=True)])]

    return rule


def copied(ins: list[Value]) -> list[Value]:
    """The second input, broadcast to the first."""
    (shape, _), (other, nodes) = ins
    _, at = sh.broadcast(other, shape)
    return [(shape, [nodes[i] for i in at])]


def one(d: Draw) -> Drawn:
    """Any tensor."""
    return (d.any(),), ()


def one_and_number(d: Draw) -> Drawn:
    """Any tensor, and a factor."""
    return (d.any(),), (d.number(),)


def broadcastable(a: Shape, b: Shape) -> bool:
    """Whether two shapes broadcast to a third that is small."""
    try:
        return prod(sh.common(a, b)) <= MOST_ELEMENTS
    except Unfit:
        return False


def two(d: Draw) -> Drawn:
    """Two tensors that broadcast."""
    a = d.any()
    shape = d.shape(a)
    return (a, d.any(lambda t: broadcastable(t.shape, shape))), ()


def into(d: Draw) -> Drawn:
    """A target, and a tensor that broadcasts to it."""
    a = d.any()
    return (a, source(d, d.shape(a))), ()


def source(d: Draw, shape: Shape) -> str:
    """A tensor that broadcasts to a shape."""

    def fits(t: Tensor) -> bool:
        return broadcastable(t.shape, shape) and sh.common(t.shape, shape) == shape

    return d.any(fits)


def one_and_mask(d: Draw) -> Drawn:
    """A tensor, and booleans in its shape."""
    a = d.with_dims()
    return (a,), (nested(d.shape(a), [d.rng.random() < 0.5 for _ in range(prod(d.shape(a)))]),)


def nested(shape: Shape, flat: Sequence[Any]) -> Any:
    """A flat list as nested tuples."""
    if not shape:
        return flat[0]
    size = prod(shape[1:])
    return tuple(nested(shape[1:], flat[i * size : (i + 1) * size]) for i in range(shape[0]))


def one_and_dim(d: Draw) -> Drawn:
    """A tensor and a dimension."""
    a = d.any(lambda t: len(t.shape) > 0)
    return (a,), (d.dim(a),)


def one_dim_and_keep(d: Draw) -> Drawn:
    """A tensor, a dimension, and whether it stays."""
    a = d.any(lambda t: len(t.shape) > 0)
    return (a,), (d.dim(a), d.rng.random() < 0.5)


def one_and_positions(d: Draw) -> Drawn:
    """A tensor, a dimension, and some positions in it."""
    a = d.with_dims()
    dim = d.dim(a)
    n = d.shape(a)[dim]
    return (a,), (dim, tuple(d.rng.randrange(n) for _ in range(d.rng.randint(1, 3))))


def matrix_and_offset(d: Draw) -> Drawn:
    """A matrix, and one of its diagonals."""
    return (d.with_dims(2),), (d.rng.randint(-1, 1),)
