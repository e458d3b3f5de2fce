"""One element at a time, with broadcasting; and custom functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import scalar as sc, shapes as sh
from ..oracle import DOUBLE, SINGLE
from ..scalar import Scalar
from ..shapes import need
from .table import (
    Draw,
    Drawn,
    Value,
    add,
    copied,
    each,
    into,
    one,
    one_and_mask,
    one_and_number,
    source,
    two,
)


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
        add(
            f"{_name}_",
            "elementwise in place",
            "write",
            _in_place,
            one_and_number,
            each(_g),
            _reads,
        )

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

add(
    "add alpha",
    "elementwise",
    "fresh",
    "rg.add({0}, {1}, alpha={p0})",
    two_and_number,
    add_scaled,
    "",
    "",
)
add(
    "add alpha_",
    "elementwise in place",
    "write",
    "{0}.add_({1}, alpha={p0})",
    into_and_number,
    add_scaled,
    "",
    "",
)
add(
    "lerp", "elementwise", "fresh", "rg.lerp({0}, {1}, {p0})",
    two_and_number, interpolate, "", "", alike=True,
)  # fmt: skip
add(
    "lerp_",
    "elementwise in place",
    "write",
    "{0}.lerp_({1}, {p0})",
    into_and_number,
    interpolate,
    "",
    "",
    alike=True,
)
add(
    "addcmul", "elementwise", "fresh", "rg.addcmul({0}, {1}, {2}, value={p0})",
    three_into, add_product, "", "2", "1",
)  # fmt: skip
add(
    "addcmul_", "elementwise in place", "write", "{0}.addcmul_({1}, {2}, value={p0})",
    three_into, add_product, "", "2", "1",
)  # fmt: skip


add("copy_", "elementwise in place", "write", "{0}.copy_({1})", into, copied, "", "")
add("zero_", "elementwise in place", "write", "{0}.zero_()", one, each(lambda a: ZERO), "")


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
add(
    "masked_fill",
    "elementwise",
    "fresh",
    "{0}.masked_fill(" + MASK + ", {p1})",
    one_mask_and_number,
    mask_filled,
)
add(
    "masked_fill_",
    "elementwise in place",
    "write",
    "{0}.masked_fill_(" + MASK + ", {p1})",
    one_mask_and_number,
    mask_filled,
)
add(
    "set mask",
    "elementwise in place",
    "write",
    "{0}[" + MASK + "] = {p1}",
    one_mask_and_number,
    mask_filled,
)


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


add(
    "where", "elementwise", "fresh", "rg.where(" + MASK + ", {0}, {1})", mask_and_two, where, "", ""
)


def sine_and_cosine(ins: list[Value]) -> list[Value]:
    """Both."""
    return [each(sc.sin)(ins)[0], each(sc.cos)(ins)[0]]


def double_and_half(ins: list[Value]) -> list[Value]:
    """Twice the input, and half of it as a constant."""
    ((shape, nodes),) = ins
    return [(shape, [sc.scaled(n, 2.0) for n in nodes]), (shape, [Scalar(n.v / 2) for n in nodes])]


add(
    "Cube",
    "custom function",
    "fresh",
    "Cube.apply({0})",
    one,
    each(lambda a: sc.power(a, 3.0)),
    "0",
)
add(
    "Product",
    "custom function",
    "fresh",
    "Product.apply({0}, {1})",
    two,
    each(sc.times),
    "01",
    "01",
)
add("SinCos", "custom function", "fresh", "SinCos.apply({0})", one, sine_and_cosine, "o", many=True)
add(
    "DoubleAndHalf",
    "custom function",
    "fresh",
    "DoubleAndHalf.apply({0})",
    one,
    double_and_half,
    many=True,
    constants=(1,),
)
add(
    "Square",
    "custom function",
    "fresh",
    "Square.apply({0})",
    one,
    each(lambda a: sc.times(a, a)),
    "0",
    once=True,
)
add(
    "Halve",
    "custom function in place",
    "write",
    "Halve.apply({0})",
    one,
    each(lambda a: sc.scaled(a, 0.5)),
)

# What is inside is computed again in the backward.
add(
    "checkpoint",
    "checkpoint",
    "fresh",
    "checkpoint(lambda a, b: (a * b).sin() * b, {0}, {1}, use_reentrant=False)",
    two,
    each(lambda a, b: sc.times(sc.sin(sc.times(a, b)), b)),
    "01",
    "01",
)
add(
    "checkpoint in place",
    "checkpoint",
    "fresh",
    "checkpoint(lambda a: a.exp().mul_(a).neg_(), {0}, use_reentrant=False)",
    one,
    each(lambda a: sc.scaled(sc.times(sc.exp(bounded(a, -20.0, 2.0)), a), -1.0)),
    "0",
)
add(
    "checkpoint in a checkpoint",
    "checkpoint",
    "fresh",
    "checkpoint(lambda a, b: checkpoint(lambda c, d: (c * d).sin(), a.exp(), b) * b, {0}, {1})",
    two,
    each(lambda a, b: sc.times(sc.sin(sc.times(sc.exp(bounded(a, -20.0, 2.0)), b)), b)),
    "01",
    "01",
)


def of_other_type(dtype: str) -> Callable[[Draw], Drawn]:
    """A tensor that is not of a type, in a program with several."""

    def draw(d: Draw) -> Drawn:
        need(len(d.dtypes) > 1)
        return (d.any(lambda t: t.dtype != dtype),), ()

    return draw


for _name, _dtype in (("double", DOUBLE), ("float", SINGLE)):
    add(
        _name, "cast", "fresh", f"{{0}}.{_name}()",
        of_other_type(_dtype), each(lambda a: sc.scaled(a, 1.0)), dtype=_dtype,
    )  # fmt: skip
