"""The operations of programs. Each is declared once: its text, and its meaning for the oracle.

The text is run by the engine and printed in scripts. In it, ``{0}`` and ``{1}`` are tensors, ``{p0}``
and ``{p1}`` parameters. ``draw`` chooses both at random; ``rule`` computes the elements of the results
from those of the inputs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from . import scalar as sc, shapes as sh
from .oracle import MULTIPLE, Tensor
from .scalar import Scalar
from .shapes import Key, Picks, Shape, Unfit, need

Value = tuple[Shape, list[Scalar]]
Drawn = tuple[tuple[str, ...], tuple[Any, ...]]

MOST_ELEMENTS = 12


class Draw:
    """Chances, and the tensors there are."""

    def __init__(self, rng: random.Random, tensors: dict[str, Tensor]) -> None:
        self.rng, self.tensors = rng, tensors

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

    ``kind`` is ``fresh`` (new tensors), ``view`` (views of the first input) or ``write`` (of its
    first input, or of the ``region`` of it that a view rule and the parameters describe). ``barred``
    says why views must not be written, ``strided`` that a view needs fixed strides, ``many`` that results are a tuple,
    ``constants`` which results have no gradient, ``once`` that gradients have none.
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
    many: bool = False
    constants: tuple[int, ...] = ()
    once: bool = False


OPS: dict[str, Op] = {}


def add(name: str, family: str, kind: str, text: str, draw: Any, rule: Any, *reads: str, **more: Any) -> None:
    """Adds an operation to the table."""
    OPS[name] = Op(name, family, kind, text, draw, rule, reads or ("",), **more)


# Elementwise. ---------------------------------------------------------------------------------------


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


def away(a: Scalar, *kinks: float) -> Scalar:
    """``a``, if it is not so near a kink that rounding decides the side."""
    need(all(abs(a.v - k) > 1e-4 for k in kinks))
    return a


def bounded(a: Scalar, low: float, high: float = 20.0) -> Scalar:
    """``a``, if it lies in a range."""
    need(low <= a.v <= high)
    return a


def if_positive(a: Scalar, x: Scalar, y: Scalar) -> Scalar:
    """``x`` or ``y``"""
    return x if a.v > 0 else y


def reciprocal(a: Scalar) -> Scalar:
    """``1 / a``, away from 0."""
    need(abs(a.v) > 0.3)
    return sc.power(a, -1.0)


ZERO = Scalar(0.0)

UNARY: dict[str, tuple[Callable[[Scalar], Scalar], str]] = {
    "sin": (sc.sin, "0"),
    "cos": (sc.cos, "0"),
    "exp": (lambda a: sc.exp(bounded(a, -20.0, 3.0)), "o"),
    "tanh": (lambda a: sc.tanh(bounded(a, -5.0, 5.0)), "o"),
    "sigmoid": (lambda a: sc.sigmoid(bounded(a, -10.0, 10.0)), "o"),
    "sqrt": (lambda a: sc.power(bounded(a, 0.05), 0.5), "o"),
    "log": (lambda a: sc.log(bounded(a, 0.05)), "0"),
    "neg": (lambda a: sc.scaled(a, -1.0), ""),
    "square": (lambda a: sc.times(a, a), "0"),
    "reciprocal": (reciprocal, "o"),
    "abs": (lambda a: sc.scaled(away(a, 0.0), 1.0 if a.v > 0 else -1.0), "0"),
    "relu": (lambda a: if_positive(away(a, 0.0), a, ZERO), "0o"),
}

for _name, (_f, _reads) in UNARY.items():
    add(_name, "elementwise", "fresh", f"{{0}}.{_name}()", one, each(_f), _reads)
    add(f"{_name}_", "elementwise in place", "write", f"{{0}}.{_name}_()", one, each(_f), _reads)

WITH_NUMBER: dict[str, tuple[Callable[[Scalar, float], Scalar], str, str, str]] = {
    "scale": (sc.scaled, "{0} * {p0}", "{0}.mul_({p0})", ""),
    "shift": (sc.shifted, "{0} + {p0}", "{0}.add_({p0})", ""),
    "shrink": (lambda a, c: sc.scaled(a, 1 / c), "{0} / {p0}", "{0}.div_({p0})", ""),
    "rsub": (lambda a, c: sc.shifted(sc.scaled(a, -1.0), c), "{p0} - {0}", "", ""),
    "rdiv": (lambda a, c: sc.scaled(reciprocal(a), c), "{p0} / {0}", "", "0o"),
    "cubed": (lambda a, _: sc.power(a, 3.0), "{0} ** 3", "{0}.pow_(3)", "0"),
    "clamp": (
        lambda a, c: if_positive(sc.shifted(away(a, abs(c)), -abs(c)), Scalar(abs(c)), a),
        "{0}.clamp(max=abs({p0}))",
        "{0}.clamp_(max=abs({p0}))",
        "0",
    ),
    "fill": (lambda a, c: Scalar(c), "", "{0}.fill_({p0})", ""),
}

for _name, (_g, _text, _in_place, _reads) in WITH_NUMBER.items():
    if _text:
        add(_name, "elementwise", "fresh", _text, one_and_number, each(_g), _reads)
    if _in_place:
        add(f"{_name}_", "elementwise in place", "write", _in_place, one_and_number, each(_g), _reads)

BINARY: dict[str, tuple[Callable[..., Scalar], str, str, str, str]] = {
    "add": (sc.plus, "{0} + {1}", "{0}.add_({1})", "", ""),
    "sub": (lambda a, b: sc.plus(a, sc.scaled(b, -1.0)), "{0} - {1}", "{0} -= {1}", "", ""),
    "mul": (sc.times, "{0} * {1}", "{0} *= {1}", "1", "0"),
    "div": (lambda a, b: sc.times(a, reciprocal(b)), "{0} / {1}", "{0}.div_({1})", "1", "01o"),
    "maximum": (
        lambda a, b: if_positive(away(sc.plus(a, sc.scaled(b, -1.0)), 0.0), a, b),
        "rg.maximum({0}, {1})",
        "",
        "01",
        "01",
    ),
}

for _name, (_h, _text, _in_place, *_both) in BINARY.items():
    add(_name, "elementwise", "fresh", _text, two, each(_h), *_both)
    if _in_place:
        add(f"{_name}_", "elementwise in place", "write", _in_place, into, each(_h), *_both)


def two_and_number(d: Draw) -> Drawn:
    """Two tensors that broadcast, and a factor."""
    return two(d)[0], (d.number(),)


def into_and_number(d: Draw) -> Drawn:
    """A target, a tensor that broadcasts to it, and a factor."""
    return into(d)[0], (d.number(),)


def three_into(d: Draw) -> Drawn:
    """A target, and two tensors that broadcast to it."""
    a = d.any()
    shape = d.shape(a)
    return (a, source(d, shape), source(d, shape)), (d.number(),)


add_scaled = each(lambda a, b, c: sc.plus(a, sc.scaled(b, c)))
interpolate = each(lambda a, b, c: sc.plus(sc.scaled(a, 1 - c), sc.scaled(b, c)))
add_product = each(lambda a, x, y, c: sc.plus(a, sc.scaled(sc.times(x, y), c)))

add("add alpha", "elementwise", "fresh", "rg.add({0}, {1}, alpha={p0})", two_and_number, add_scaled, "", "")
add("add alpha_", "elementwise in place", "write", "{0}.add_({1}, alpha={p0})", into_and_number, add_scaled, "", "")
add("lerp", "elementwise", "fresh", "rg.lerp({0}, {1}, {p0})", two_and_number, interpolate, "", "")
add("lerp_", "elementwise in place", "write", "{0}.lerp_({1}, {p0})", into_and_number, interpolate, "", "")
add(
    "addcmul", "elementwise", "fresh", "rg.addcmul({0}, {1}, {2}, value={p0})",
    three_into, add_product, "", "2", "1",
)  # fmt: skip
add(
    "addcmul_", "elementwise in place", "write", "{0}.addcmul_({1}, {2}, value={p0})",
    three_into, add_product, "", "2", "1",
)  # fmt: skip


def copied(ins: list[Value]) -> list[Value]:
    """The second input, broadcast to the first."""
    (shape, _), (other, nodes) = ins
    _, at = sh.broadcast(other, shape)
    return [(shape, [nodes[i] for i in at])]


add("copy_", "elementwise in place", "write", "{0}.copy_({1})", into, copied, "", "")
add("zero_", "elementwise in place", "write", "{0}.zero_()", one, each(lambda a: ZERO), "")


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


def one_mask_and_number(d: Draw) -> Drawn:
    """A tensor, booleans in its shape, and a number."""
    names, params = one_and_mask(d)
    return names, (*params, d.number())


def mask_filled(ins: list[Value], mask: Any, c: float) -> list[Value]:
    """Elements replaced by a number where the mask is true."""
    ((shape, nodes),) = ins
    chosen = set(sh.masked(shape, mask)[1])
    return [(shape, [Scalar(c) if i in chosen else n for i, n in enumerate(nodes)])]


MASK = "rg.tensor({p0})"
add("masked_fill", "elementwise", "fresh", "{0}.masked_fill(" + MASK + ", {p1})", one_mask_and_number, mask_filled)
add("masked_fill_", "elementwise in place", "write", "{0}.masked_fill_(" + MASK + ", {p1})", one_mask_and_number, mask_filled)
add("set mask", "elementwise in place", "write", "{0}[" + MASK + "] = {p1}", one_mask_and_number, mask_filled)


def where(ins: list[Value], mask: Any) -> list[Value]:
    """Elements of the first input where the mask is true, else of the second."""
    (shape, a), (other, b) = ins
    need(shape == other)
    chosen = set(sh.masked(shape, mask)[1])
    return [(shape, [a[i] if i in chosen else b[i] for i in range(len(a))])]


def mask_and_two(d: Draw) -> Drawn:
    """Two tensors of one shape, and booleans in it."""
    (a,), params = one_and_mask(d)
    shape = d.shape(a)
    return (a, d.any(lambda t: t.shape == shape)), params


add("where", "elementwise", "fresh", "rg.where(" + MASK + ", {0}, {1})", mask_and_two, where, "", "")

# Reductions. ----------------------------------------------------------------------------------------


def one_and_dim(d: Draw) -> Drawn:
    """A tensor and a dimension."""
    a = d.with_dims()
    return (a,), (d.dim(a),)


def one_dim_and_keep(d: Draw) -> Drawn:
    """A tensor, a dimension, and whether it stays."""
    a = d.with_dims()
    return (a,), (d.dim(a), d.rng.random() < 0.5)


def folded(f: Callable[[list[Scalar]], Scalar]) -> Callable[..., list[Value]]:
    """The rule that makes one element of each row."""

    def rule(ins: list[Value], dim: int, keep: bool) -> list[Value]:
        ((shape, nodes),) = ins
        need(0 not in shape and len(shape) > 0)
        found = [f([nodes[i] for i in row]) for row in sh.rows(shape, dim)]
        d = dim % len(shape)
        return [((*shape[:d], *([1] if keep else []), *shape[d + 1 :]), found)]

    return rule


def along(f: Callable[[list[Scalar]], list[Scalar]]) -> Callable[..., list[Value]]:
    """The rule that replaces each row by another."""

    def rule(ins: list[Value], dim: int) -> list[Value]:
        ((shape, nodes),) = ins
        found = list(nodes)
        for row in sh.rows(shape, dim):
            for i, n in zip(row, f([nodes[i] for i in row]), strict=True):
                found[i] = n
        return [(shape, found)]

    return rule


def everything(f: Callable[[list[Scalar]], Scalar]) -> Callable[..., list[Value]]:
    """The rule that makes one element of all."""

    def rule(ins: list[Value]) -> list[Value]:
        ((_, nodes),) = ins
        need(bool(nodes))
        return [((), [f(nodes)])]

    return rule


def mean(row: list[Scalar]) -> Scalar:
    """The mean."""
    return sc.scaled(sc.total(row), 1 / len(row))


def multiplied(row: list[Scalar]) -> Scalar:
    """The product."""
    out = row[0]
    for n in row[1:]:
        out = sc.times(out, n)
    return out


def largest(row: list[Scalar]) -> Scalar:
    """The largest, if there is one."""
    best = max(row, key=lambda n: n.v)
    need(all(n is best or best.v - n.v > 1e-4 for n in row))
    return best


def exponentials(row: list[Scalar]) -> list[Scalar]:
    """``exp`` of each."""
    return [sc.exp(bounded(n, -8.0, 8.0)) for n in row]


def logsumexp(row: list[Scalar]) -> Scalar:
    """``log(sum(exp(row)))``"""
    return sc.log(sc.total(exponentials(row)))


def softmax(row: list[Scalar]) -> list[Scalar]:
    """``exp(row) / sum(exp(row))``"""
    terms = exponentials(row)
    scale = sc.power(sc.total(terms), -1.0)
    return [sc.times(t, scale) for t in terms]


def variance(row: list[Scalar]) -> Scalar:
    """The mean of the squares of the deviations from the mean."""
    centre = sc.scaled(mean(row), -1.0)
    deviations = [sc.plus(n, centre) for n in row]
    return mean([sc.times(n, n) for n in deviations])


def cumsum(row: list[Scalar]) -> list[Scalar]:
    """Sums of the first elements."""
    return [sc.total(row[: i + 1]) for i in range(len(row))]


def cumprod(row: list[Scalar]) -> list[Scalar]:
    """Products of the first elements."""
    return [multiplied(row[: i + 1]) for i in range(len(row))]


FOLDS: dict[str, tuple[Callable[[list[Scalar]], Scalar], str, str]] = {
    "sum": (sc.total, "{0}.sum({p0}, keepdim={p1})", ""),
    "mean": (mean, "{0}.mean({p0}, keepdim={p1})", ""),
    "prod": (multiplied, "{0}.prod({p0}, keepdim={p1})", "0o"),
    "amax": (largest, "{0}.amax({p0}, keepdim={p1})", "0o"),
    "max": (largest, "{0}.max({p0}, keepdim={p1})[0]", "0o"),
    "logsumexp": (logsumexp, "{0}.logsumexp({p0}, keepdim={p1})", "0o"),
    "var": (variance, "{0}.var({p0}, correction=0, keepdim={p1})", "0"),
}
for _name, (_fold, _text, _reads) in FOLDS.items():
    add(_name, "reduction", "fresh", _text, one_dim_and_keep, folded(_fold), _reads)
add("sum all", "reduction", "fresh", "{0}.sum()", one, everything(sc.total))
add("mean all", "reduction", "fresh", "{0}.mean()", one, everything(mean))

ALONG: dict[str, tuple[Callable[[list[Scalar]], list[Scalar]], str, str]] = {
    "softmax": (softmax, "{0}.softmax({p0})", "o"),
    "cumsum": (cumsum, "{0}.cumsum({p0})", ""),
    "cumprod": (cumprod, "{0}.cumprod({p0})", "0o"),
}
for _name, (_rows, _text, _reads) in ALONG.items():
    add(_name, "reduction", "fresh", _text, one_and_dim, along(_rows), _reads)
add("cumsum_", "reduction in place", "write", "{0}.cumsum_({p0})", one_and_dim, along(cumsum), "")

# Products of matrices. ------------------------------------------------------------------------------


def dot(a: Sequence[Scalar], b: Sequence[Scalar]) -> Scalar:
    """The sum of products."""
    return sc.total([sc.times(x, y) for x, y in zip(a, b, strict=True)])


def matmul(ins: list[Value]) -> list[Value]:
    """``a @ b``, of vectors and matrices."""
    (s, a), (t, b) = ins
    need(1 <= len(s) <= 2 and 1 <= len(t) <= 2 and s[-1] == t[0])
    n = s[-1]
    columns = prod(t[1:])
    out = [
        dot(a[i * n : (i + 1) * n], b[j::columns] if columns else [])
        for i in range(prod(s[:-1]))
        for j in range(columns)
    ]
    return [((*s[:-1], *t[1:]), out)]


def matrices(d: Draw) -> Drawn:
    """Two operands of a product."""
    a = d.any(lambda t: 1 <= len(t.shape) <= 2)
    n = d.shape(a)[-1]
    return (a, d.any(lambda t: 1 <= len(t.shape) <= 2 and t.shape[0] == n)), ()


def outer(ins: list[Value]) -> list[Value]:
    """Every product of elements of two vectors."""
    (s, a), (t, b) = ins
    need(len(s) == len(t) == 1)
    return [((*s, *t), [sc.times(x, y) for x in a for y in b])]


def vectors(d: Draw) -> Drawn:
    """Two vectors."""
    a, b = (d.any(lambda t: len(t.shape) == 1) for _ in range(2))
    return (a, b), ()


def transposed_product(ins: list[Value]) -> list[Value]:
    """``a b^T``"""
    (s, a), (t, b) = ins
    need(len(s) == len(t) == 2)
    turned, at = sh.transpose(t, 0, 1)
    return matmul([(s, a), (turned, [b[i] for i in at])])


def rows_alike(d: Draw) -> Drawn:
    """Two matrices with rows of one length."""
    a = d.any(lambda t: len(t.shape) == 2)
    n = d.shape(a)[1]
    return (a, d.any(lambda t: len(t.shape) == 2 and t.shape[1] == n)), ()


add("matmul", "matmul", "fresh", "{0} @ {1}", matrices, matmul, "1", "0")
add("outer", "matmul", "fresh", "rg.outer({0}, {1})", vectors, outer, "1", "0")
add("einsum", "matmul", "fresh", "rg.einsum('ij,kj->ik', {0}, {1})", rows_alike, transposed_product, "1", "0")

# Elements moved. ------------------------------------------------------------------------------------


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


def one_and_positions(d: Draw) -> Drawn:
    """A tensor, a dimension, and some positions in it."""
    a = d.with_dims()
    dim = d.dim(a)
    n = d.shape(a)[dim]
    return (a,), (dim, tuple(d.rng.randrange(n) for _ in range(d.rng.randint(1, 3))))


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


def matrix_and_offset(d: Draw) -> Drawn:
    """A matrix, and one of its diagonals."""
    return (d.with_dims(2),), (d.rng.randint(-1, 1),)


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
add("stack", "movement", "fresh", "rg.stack([{0}, {1}], {p0})", two_alike_and_place, stacked, "", "")


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
add("index_add", "movement", "fresh", "{0}.index_add" + INDEX_ADD, target_positions_and_slices, added_at, "", "")
add("index_add_", "movement in place", "write", "{0}.index_add_" + INDEX_ADD, target_positions_and_slices, added_at, "", "")

# Views. ---------------------------------------------------------------------------------------------


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
    return (a,), (dim, start, d.rng.randint(0 if d.rng.random() < 0.05 else min(1, n - start), n - start))


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
add("view", "view", "view", "{0}.view({p0})", one_and_new_shape, lambda *p: [sh.reshape(*p)], strided=True)
add("reshape", "view", "reshape", "{0}.reshape({p0})", one_and_new_shape, lambda *p: [sh.reshape(*p)])


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
add("split", "view", "view", "{0}.split({p0}, {p1})", one_size_and_dim, split, barred=MULTIPLE, many=True)


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

# Custom functions. ----------------------------------------------------------------------------------


def sine_and_cosine(ins: list[Value]) -> list[Value]:
    """Both."""
    return [each(sc.sin)(ins)[0], each(sc.cos)(ins)[0]]


def double_and_half(ins: list[Value]) -> list[Value]:
    """Twice the input, and half of it as a constant."""
    ((shape, nodes),) = ins
    return [(shape, [sc.scaled(n, 2.0) for n in nodes]), (shape, [Scalar(n.v / 2) for n in nodes])]


add("Cube", "custom function", "fresh", "Cube.apply({0})", one, each(lambda a: sc.power(a, 3.0)), "0")
add("Product", "custom function", "fresh", "Product.apply({0}, {1})", two, each(sc.times), "01", "01")
add("SinCos", "custom function", "fresh", "SinCos.apply({0})", one, sine_and_cosine, "o", many=True)
add("DoubleAndHalf", "custom function", "fresh", "DoubleAndHalf.apply({0})", one, double_and_half, many=True, constants=(1,))
add("Square", "custom function", "fresh", "Square.apply({0})", one, each(lambda a: sc.times(a, a)), "0", once=True)
add("Halve", "custom function in place", "write", "Halve.apply({0})", one, each(lambda a: sc.scaled(a, 0.5)))
