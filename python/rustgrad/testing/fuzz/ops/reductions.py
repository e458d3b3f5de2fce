"""Over dimensions; and products of matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from .. import scalar as sc, shapes as sh
from ..scalar import Scalar
from ..shapes import need
from .elementwise import bounded
from .table import Draw, Drawn, Value, add, one, one_and_dim, one_dim_and_keep


def folded(f: Callable[[list[Scalar]], Scalar]) -> Callable[..., list[Value]]:
    """The rule that makes one element of each row."""

    def rule(ins: list[Value], dim: int, keep: bool) -> list[Value]:
        ((shape, nodes),) = ins
        need(len(shape) > 0)
        found = [f([nodes[i] for i in row]) for row in sh.rows(shape, dim)]
        d = dim % len(shape)
        if not shape[d]:
            f([])  # Refused even if there is no row.
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
        return [((), [f(nodes)])]

    return rule


def mean(row: list[Scalar]) -> Scalar:
    """The mean."""
    need(bool(row))
    return sc.scaled(sc.total(row), 1 / len(row))


def multiplied(row: list[Scalar]) -> Scalar:
    """The product."""
    out = row[0] if row else Scalar(1.0)
    for n in row[1:]:
        out = sc.times(out, n)
    return out


def largest(row: list[Scalar]) -> Scalar:
    """The largest, if there is one."""
    need(bool(row))
    best = max(row, key=lambda n: n.v)
    need(all(n is best or best.v - n.v > 1e-4 for n in row))
    return best


def exponentials(row: list[Scalar]) -> list[Scalar]:
    """``exp`` of each."""
    return [sc.exp(bounded(n, -8.0, 8.0)) for n in row]


def logsumexp(row: list[Scalar]) -> Scalar:
    """``log(sum(exp(row)))``"""
    need(bool(row))
    return sc.log(sc.total(exponentials(row)))


def softmax(row: list[Scalar]) -> list[Scalar]:
    """``exp(row) / sum(exp(row))``"""
    if not row:
        return []
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


add("matmul", "matmul", "fresh", "{0} @ {1}", matrices, matmul, "1", "0", alike=True)
add("outer", "matmul", "fresh", "rg.outer({0}, {1})", vectors, outer, "1", "0")
add(
    "einsum",
    "matmul",
    "fresh",
    "rg.einsum('ij,kj->ik', {0}, {1})",
    rows_alike,
    transposed_product,
    "1",
    "0",
    alike=True,
)
