"""Views, and writes to parts of tensors."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from .. import scalar as sc, shapes as sh
from ..oracle import MULTIPLE
from ..scalar import Scalar
from ..shapes import Key, Picks, Shape, need
from .table import (
    MOST_ELEMENTS,
    Draw,
    Drawn,
    Value,
    add,
    copied,
    each,
    matrix_and_offset,
    one,
    one_and_dim,
    source,
)


def one_and_key(d: Draw) -> Drawn:
    """A tensor and a subscript."""
    a = d.any()
    key: list[Any] = []
    for n in d.shape(a):
        chance = d.rng.random()
        if chance < 0.35 and n:
            key.append(d.rng.randrange(-n, n))
        elif chance < 0.7:
            start = d.rng.randint(0, max(n - 1, 0))
            stop = d.rng.randint(min(start + 1, n), n)
            key.append(slice(start or None, stop, d.rng.choice((None, None, 2))))
        elif chance < 0.8:
            key += [None, slice(None, None)]
        elif chance < 0.9 and Ellipsis not in key:
            key.append(Ellipsis)
            break
        else:
            key.append(slice(None, None))
    return (a,), (Key(key or [Ellipsis]),)


def one_dim_and_position(d: Draw) -> Drawn:
    """A tensor, a dimension, and a position in it."""
    a = d.with_dims()
    dim = d.dim(a)
    n = d.shape(a)[dim]
    return (a,), (dim, d.rng.randrange(-n, n))


def one_and_range(d: Draw) -> Drawn:
    """A tensor, a dimension, and a start and a length."""
    a = d.with_dims()
    dim = d.dim(a)
    n = d.shape(a)[dim]
    start = d.rng.randint(0, n)
    return (a,), (
        dim,
        start,
        d.rng.randint(0 if d.rng.random() < 0.05 else min(1, n - start), n - start),
    )


def one_and_two_dims(d: Draw) -> Drawn:
    """A tensor and two of its dimensions."""
    a = d.with_dims()
    return (a,), (d.dim(a), d.dim(a))


def one_and_order(d: Draw) -> Drawn:
    """A tensor and an order of its dimensions."""
    a = d.with_dims()
    order = list(range(len(d.shape(a))))
    d.rng.shuffle(order)
    return (a,), (tuple(order),)


def one_and_place(d: Draw) -> Drawn:
    """A tensor and where a dimension can be added."""
    a = d.any()
    return (a,), (d.rng.randint(0, len(d.shape(a))),)


def one_and_larger(d: Draw) -> Drawn:
    """A tensor and a shape to expand it to."""
    a = d.any()
    shape = [d.rng.randint(1, 3) if n == 1 else n for n in d.shape(a)]
    if d.rng.random() < 0.5:
        shape.insert(0, d.rng.randint(1, 2))
    need(prod(shape) <= MOST_ELEMENTS)
    return (a,), (tuple(shape),)


def one_and_new_shape(d: Draw) -> Drawn:
    """A tensor and another shape of as many elements."""
    a = d.any(lambda t: 0 < prod(t.shape))
    n = prod(d.shape(a))
    shapes: list[Shape] = [(n,), (1, n), (n, 1), (-1,)]
    shapes += [s for k in (2, 3) if n % k == 0 for s in ((k, n // k), (-1, k))]
    shapes += [(2, 2, n // 4)] if n % 4 == 0 else []
    return (a,), (d.rng.choice(shapes),)


def one_and_window(d: Draw) -> Drawn:
    """A tensor, a dimension, and the size and step of windows."""
    a = d.with_dims()
    dim = d.dim(a)
    size = d.rng.randint(1, d.shape(a)[dim])
    return (a,), (dim, size, d.rng.randint(1, 3))


def one_and_strides(d: Draw) -> Drawn:
    """A tensor, and a shape and strides that stay within it; elements may be met twice."""
    a = d.any(lambda t: 0 not in t.shape)
    last = prod(d.shape(a)) - 1
    shape, strides = [], []
    for _ in range(d.rng.randint(1, 2)):
        strides.append(d.rng.randint(1, 3))
        shape.append(d.rng.randint(1, 1 + min(last // strides[-1], 3)))
        last -= strides[-1] * (shape[-1] - 1)
    return (a,), (tuple(shape), tuple(strides))


def region_and_source(d: Draw) -> Drawn:
    """A target, a tensor that broadcasts to a part of it, and the subscript of that."""
    (a,), (key,) = one_and_key(d)
    shape, _ = sh.subscript(d.shape(a), key)
    return (a, source(d, shape)), (key,)


def region_and_number(d: Draw) -> Drawn:
    """A target, a subscript of a part, and a number."""
    (a,), (key,) = one_and_key(d)
    return (a,), (key, d.number())


VIEWS: dict[str, tuple[str, Callable[[Draw], Drawn], Callable[..., Picks]]] = {
    "subscript": ("{0}[{p0}]", one_and_key, sh.subscript),
    "select": ("{0}.select({p0}, {p1})", one_dim_and_position, sh.select),
    "narrow": ("{0}.narrow({p0}, {p1}, {p2})", one_and_range, sh.narrow),
    "transpose": ("{0}.transpose({p0}, {p1})", one_and_two_dims, sh.transpose),
    "movedim": ("{0}.movedim({p0}, {p1})", one_and_two_dims, sh.movedim),
    "permute": ("{0}.permute({p0})", one_and_order, sh.permute),
    "mT": ("{0}.mT", lambda d: ((d.with_dims(2),), ()), sh.matrix_transpose),
    "unsqueeze": ("{0}.unsqueeze({p0})", one_and_place, sh.unsqueeze),
    "squeeze": ("{0}.squeeze()", one, sh.squeeze),
    "expand": ("{0}.expand({p0})", one_and_larger, sh.broadcast),
    "diagonal": ("{0}.diagonal({p0})", matrix_and_offset, sh.diagonal),
    "unfold": ("{0}.unfold({p0}, {p1}, {p2})", one_and_window, sh.unfold),
    "all": ("{0}[...]", one, sh.whole),
}
for _name, (_text, _draw, _view) in VIEWS.items():
    add(_name, "view", "view", _text, _draw, lambda shape, *p, f=_view: [f(shape, *p)])
add(
    "view",
    "view",
    "view",
    "{0}.view({p0})",
    one_and_new_shape,
    lambda *p: [sh.reshape(*p)],
    strided=True,
)
add(
    "as_strided",
    "view",
    "view",
    "{0}.as_strided({p0}, {p1})",
    one_and_strides,
    lambda *p: [sh.as_strided(*p)],
    adjacent=True,
)
add(
    "reshape",
    "view",
    "reshape",
    "{0}.reshape({p0})",
    one_and_new_shape,
    lambda *p: [sh.reshape(*p)],
)


def unbound(shape: Shape, dim: int) -> list[Picks]:
    """Each position of a dimension."""
    need(-len(shape) <= dim < len(shape) and shape[dim] > 0)
    return [sh.select(shape, dim, i) for i in range(shape[dim])]


def split(shape: Shape, size: int, dim: int) -> list[Picks]:
    """Pieces of a dimension."""
    need(size > 0 and -len(shape) <= dim < len(shape) and shape[dim] > 0)
    n = shape[dim]
    return [sh.cut(shape, dim, i, min(i + size, n), 1) for i in range(0, n, size)]


def one_size_and_dim(d: Draw) -> Drawn:
    """A tensor, a size of pieces, and a dimension."""
    (a,), (dim,) = one_and_dim(d)
    return (a,), (d.rng.randint(1, 2), dim)


add("unbind", "view", "view", "{0}.unbind({p0})", one_and_dim, unbound, barred=MULTIPLE, many=True)
add(
    "split",
    "view",
    "view",
    "{0}.split({p0}, {p1})",
    one_size_and_dim,
    split,
    barred=MULTIPLE,
    many=True,
)


def filled(ins: list[Value], key: Key, c: float) -> list[Value]:
    """A number everywhere."""
    ((shape, nodes),) = ins
    return [(shape, [Scalar(c) for _ in nodes])]


def region(shape: Shape, key: Key, *_: Any) -> Picks:
    """The part that a subscript describes."""
    return sh.subscript(shape, key)


add(
    "set part", "elementwise in place", "write", "{0}[{p0}] = {1}",
    region_and_source, lambda ins, key: copied(ins), "", "", region=region,
)  # fmt: skip
add(
    "fill part", "elementwise in place", "write", "{0}[{p0}] = {p1}",
    region_and_number, filled, "", region=region,
)  # fmt: skip
add(
    "add to part", "elementwise in place", "write", "{0}[{p0}] += {1}",
    region_and_source, lambda ins, key: each(sc.plus)(ins), "", "", region=region,
)  # fmt: skip
add(
    "scale part", "elementwise in place", "write", "{0}[{p0}] *= {p1}",
    region_and_number, lambda ins, key, c: each(sc.scaled)(ins, c), "", region=region,
)  # fmt: skip
