"""Elementwise ops where the table-driven suite does not look: poles, ties, types, errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rustgrad as rg
import rustgrad.autograd.forward_ad as fwAD

F: Any = rg.nn.functional
INF, NAN = math.inf, math.nan


def leaf(*values: float) -> Any:
    return rg.tensor(values, dtype=rg.float64, requires_grad=True)


def grad(f: Callable[..., Any], *inputs: Any) -> list[list[float]]:
    return [g.tolist() for g in rg.autograd.grad(f(*inputs).sum(), inputs)]


# Where an op has an infinite or undefined slope, and an input there.
POLES: dict[str, tuple[Callable[..., Any], float]] = {
    "sqrt": (rg.sqrt, 0.0),
    "sqrt of a negative": (rg.sqrt, -1.0),
    "rsqrt": (rg.rsqrt, 0.0),
    "reciprocal": (rg.reciprocal, 0.0),
    "log": (rg.log, 0.0),
    "log2": (rg.log2, 0.0),
    "log10": (rg.log10, 0.0),
    "log1p": (rg.log1p, -1.0),
    "exp": (rg.exp, 1e4),
    "exp2": (rg.exp2, 1e5),
    "expm1": (rg.expm1, 1e4),
    "sinh": (rg.sinh, 1e4),
    "sin": (rg.sin, INF),
    "cos": (rg.cos, INF),
    "asin": (rg.asin, 1.0),
    "acos": (rg.acos, -1.0),
    "acosh": (rg.acosh, 1.0),
    "atanh": (rg.atanh, 1.0),
    "erfinv": (rg.erfinv, 1.0),
    "logit": (rg.logit, 0.0),
    "lgamma": (rg.lgamma, 0.0),
    "digamma": (rg.digamma, 0.0),
    "pow 0.5": (lambda x: x**0.5, 0.0),
    "pow -1": (lambda x: x**-1, 0.0),
    "pow 1/3": (lambda x: x ** (1 / 3), -1.0),
    "pow tensor": (lambda x: x**x, -1.5),
    "2 / x": (lambda x: 2 / x, 0.0),
    "x / x": (lambda x: x / x, 0.0),
    "x * inf": (lambda x: x * rg.tensor([INF, 1.0], dtype=rg.float64), 0.0),
    "xlogy": (lambda x: rg.xlogy(1 - x, x), 0.0),
    "hypot": (lambda x: rg.hypot(x, x), NAN),
    "atan2": (lambda x: rg.atan2(x, x), 0.0),
    "addcdiv": (lambda x: rg.addcdiv(x, x, x), 0.0),
    "lerp": (lambda x: rg.lerp(x, x * x, x), INF),
}


@pytest.mark.parametrize("name", POLES)
def test_elements_that_are_not_chosen_spoil_no_gradient(name: str) -> None:
    """``where(safe, f(x), x)`` has the gradient of ``x`` at the pole, at every order."""
    f, pole = POLES[name]
    x = leaf(pole, 1.5 if name == "acosh" else 0.5)
    y = rg.where(rg.tensor([False, True]), f(x), 3 * x)
    (g,) = rg.autograd.grad(y.sum(), x, create_graph=True)
    assert g[0] == 3.0 and math.isfinite(g[1])
    if not g.requires_grad:
        return
    (h,) = rg.autograd.grad(g.sum(), x, create_graph=True)
    assert h[0] == 0.0 and math.isfinite(h[1])
    (k,) = rg.autograd.grad(h.sum(), x)
    assert k[0] == 0.0 and math.isfinite(k[1])
    with fwAD.dual_level():
        dual = fwAD.make_dual(x.detach(), rg.tensor([0.0, 1.0], dtype=rg.float64))
        tangent = fwAD.unpack_dual(f(dual)).tangent
        assert tangent[0] == 0.0 and math.isfinite(tangent[1])


def test_a_slope_that_matters_stays_infinite() -> None:
    assert grad(rg.sqrt, leaf(0.0)) == [[INF]]
    assert grad(rg.log, leaf(0.0)) == [[INF]]
    assert math.isnan(grad(rg.log, leaf(NAN))[0][0])


@pytest.mark.parametrize(
    ("n", "want"),
    [
        (0, [1, 0, 0, 0]),
        (1, [0, 1, 0, 0]),
        (2, [0, 0, 2, 0]),
        (3, [0, 0, 0, 6]),
        (4, [0, 0, 0, 0]),
    ],
)
@pytest.mark.parametrize("kind", ["int", "float", "tensor"])
def test_derivatives_of_powers_at_zero(n: int, want: list[float], kind: str) -> None:
    exponent: Any = {"int": n, "float": float(n), "tensor": rg.tensor([float(n)])}[kind]
    x = leaf(0.0)
    y = x**exponent
    found = [y.item()]
    for _ in range(3):
        if not y.requires_grad:
            found.append(0.0)
            continue
        (y,) = rg.autograd.grad(y.sum(), x, create_graph=True, allow_unused=True)
        y = rg.zeros(1) if y is None else y
        found.append(y.item())
    assert found == want


def test_mixed_derivative_of_a_power() -> None:
    # d^2 x^n / (dx dn) = x^(n-1) (1 + n ln x)
    x, n = leaf(2.0, 3.0, 0.0), leaf(0.0, 2.0, 3.0)
    (g,) = rg.autograd.grad((x**n).sum(), x, create_graph=True)
    (h,) = rg.autograd.grad(g.sum(), n)
    np.testing.assert_allclose(h.numpy(), [0.5, 3 * (1 + 2 * math.log(3)), 0.0])
    (g,) = rg.autograd.grad((x**n).sum(), n, create_graph=True)
    (h,) = rg.autograd.grad(g.sum(), x)
    np.testing.assert_allclose(h.numpy(), [0.5, 3 * (1 + 2 * math.log(3)), 0.0])


def test_exponents_of_zero() -> None:
    assert grad(lambda n: 0**n, leaf(0.0, 1.0, 2.0)) == [[0, 0, 0]]
    x, n = leaf(0.0, 0.0, 0.0), leaf(0.0, 1.0, 2.0)
    assert grad(rg.pow, x, n) == [[0, 1, 0], [0, 0, 0]]


def test_ties_share() -> None:
    x, y = leaf(1.0, 2.0, INF, NAN), leaf(1.0, 1.0, INF, 0.0)
    assert grad(rg.maximum, x, y) == [[0.5, 1, 0.5, 1], [0.5, 0, 0.5, 1]]
    assert grad(rg.minimum, x, y) == [[0.5, 0, 0.5, 1], [0.5, 1, 0.5, 1]]
    assert grad(rg.fmax, x, y) == [[1, 1, 1, 0], [0, 0, 0, 1]]
    assert grad(rg.fmin, x, y) == [[1, 0, 1, 0], [0, 1, 0, 1]]


def test_kinks() -> None:
    cases: list[tuple[Callable[..., Any], list[float], list[float]]] = [
        (rg.abs, [0.0], [0.0]),
        (rg.relu, [0.0], [0.0]),
        (F.relu6, [0.0, 6.0, 3.0], [0, 0, 1]),
        (F.hardtanh, [-1.0, 1.0, 0.5], [0, 0, 1]),
        (F.hardsigmoid, [-3.0, 3.0], [0, 0]),
        (F.hardswish, [-3.0, 3.0], [0, 1]),
        (lambda x: F.leaky_relu(x, 0.25), [0.0], [0.25]),
        (lambda x: F.elu(x, 0.25), [0.0], [0.25]),
        (lambda x: rg.threshold(x, 1, 5), [1.0, 2.0], [0, 1]),
        (lambda x: x.clamp(-1, 1), [-1.0, 1.0, 1.5, NAN], [1, 1, 0, 0]),
        (lambda x: x.clamp(min=0), [0.0, -1.0], [1, 0]),
        (lambda x: x.clamp(2, 1), [0.0, 1.5, 3.0], [0, 0, 0]),
        (rg.nan_to_num, [NAN, INF, 1.0], [0, 0, 1]),
        (lambda x: rg.hypot(x, 0 * x), [0.0], [0.0]),
        (lambda x: rg.atan2(x, 0 * x), [0.0], [0.0]),
        (lambda x: rg.copysign(x, -1.0), [0.0, 2.0], [0, -1]),
    ]
    for f, at, want in cases:
        assert grad(f, leaf(*at)) == [want]


def test_bounds_that_are_tensors_get_the_gradient() -> None:
    x, low, high = leaf(-2.0, 0.0, 2.0, 0.0), leaf(-1.0, -1.0, -1.0, 2.0), leaf(1.0, 1.0, 1.0, 1.0)
    assert grad(rg.clamp, x, low, high) == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]]


def test_logaddexp_of_infinities() -> None:
    x, y = leaf(INF, -INF, 1.0, -INF), leaf(INF, -INF, -INF, 2.0)
    assert grad(rg.logaddexp, x, y) == [[0.5, 0.5, 1, 0], [0.5, 0.5, 0, 1]]


def test_gradients_of_activations_far_out() -> None:
    for f in (F.silu, F.gelu, F.mish, F.softplus, lambda x: F.gelu(x, approximate="tanh")):
        x = leaf(-1e3, 1e3, -1e200, 1e200)
        y = f(x)
        for want in ([0, 1, 0, 1], [0, 0, 0, 0]):
            (y,) = rg.autograd.grad(y.sum(), x, create_graph=True)
            np.testing.assert_allclose(y.detach().numpy(), want, atol=1e-300)


def test_numbers_are_compared_in_the_tensors_type() -> None:
    for dtype in (rg.float16, rg.bfloat16, rg.float32, rg.float64):
        x = rg.tensor([0.1], dtype=dtype)
        assert (x == 0.1).item() and (x <= 0.1).item() and not (x < 0.1).item()
    assert (rg.tensor([2]) < 2.5).item()


def test_integers_divided_by_zero_raise() -> None:
    x = rg.tensor([1, 2])
    zero = rg.tensor([1, 0])
    for f in (
        lambda: x // 0,
        lambda: x % zero,
        lambda: rg.fmod(x, zero),
        lambda: rg.div(x, zero, rounding_mode="floor"),
        lambda: rg.div(x, 0, rounding_mode="trunc"),
        lambda: x.floor_divide_(0),
        lambda: 5 // zero,
    ):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            f()
    assert x.tolist() == [1, 2]
    assert (x / 0).tolist() == [INF, INF]


def test_what_bools_cannot_do_raises() -> None:
    b, i = rg.tensor([True, False]), rg.tensor([1, 2])
    for f in (
        lambda: b - b,
        lambda: b - i,
        lambda: 1 - b,
        lambda: -b,
        lambda: +b,
        lambda: rg.rsub(b, b),
    ):
        with pytest.raises(RuntimeError, match="bool tensor"):
            f()
    for f in (
        lambda: rg.abs(b),
        lambda: rg.floor(b),
        lambda: b // b,
        lambda: b % b,
        lambda: b**b,
        lambda: b << b,
        lambda: rg.frac(i),
        lambda: rg.hypot(i, i),
        lambda: rg.logaddexp(i, i),
        lambda: F.gelu(i),
        lambda: F.silu(b),
        lambda: rg.bitwise_and(rg.ones(2), 1),
    ):
        with pytest.raises(NotImplementedError, match="not implemented for '(Bool|Long|Float)'"):
            f()
    with pytest.raises(RuntimeError, match="Boolean inputs not supported for relu"):
        rg.relu(b)
    assert rg.square(b).dtype == rg.int64


def test_arguments_that_do_not_fit_raise() -> None:
    i, x = rg.tensor([1, 2]), rg.tensor([1.0, 2.0])
    cases: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: i**-1, RuntimeError, "negative integer powers"),
        (lambda: rg.add(i, i, alpha=0.5), RuntimeError, "alpha must not be a floating point"),
        (lambda: rg.add(x, x, alpha=True), RuntimeError, "Boolean alpha"),
        (lambda: rg.addcmul(i, i, i, value=0.5), RuntimeError, "value must not be a floating"),
        (lambda: rg.div(x, x, rounding_mode="up"), RuntimeError, "rounding_mode"),
        (lambda: rg.clamp(x), RuntimeError, "At least one of 'min' or 'max'"),
        (
            lambda: rg.where(x, x, x),
            RuntimeError,
            "boolean tensor, but got a tensor with dtype Float",
        ),
        (lambda: x.masked_fill(i, 1), RuntimeError, "boolean masks"),
        (lambda: x.masked_fill(x > 1, x), RuntimeError, "0-dimensional value"),
        (lambda: x.half().masked_fill(x > 1, 1e9), RuntimeError, "without overflow"),
        (lambda: rg.heaviside(x, i), RuntimeError, "different dtypes"),
        (lambda: rg.polygamma(-1, x), RuntimeError, "negative n"),
        (lambda: rg.isclose(x, x.double()), RuntimeError, "Float did not match Double"),
        (lambda: rg.isclose(x, x, rtol=-1), RuntimeError, "rtol must be greater"),
        (lambda: F.celu(x, 0.0), RuntimeError, "alpha cannot be 0"),
        (lambda: rg.maximum(x, rg.ones(3)), RuntimeError, "must match the size"),
        (lambda: i.div_(2), RuntimeError, "can't be cast to the desired output type"),
        (lambda: i.clamp_(min=0.5), RuntimeError, "can't be cast to the desired output type"),
        (lambda: x.add_(rg.ones(3, 2)), RuntimeError, "doesn't match the broadcast shape"),
    ]
    for f, kind, text in cases:
        with pytest.raises(kind, match=text):
            f()
    assert i.tolist() == [1, 2] and x.tolist() == [1, 2]


def test_masked_fill_keeps_the_type() -> None:
    mask = rg.tensor([True, False])
    assert rg.tensor([5, 5]).masked_fill(mask, 1.5).tolist() == [1, 5]
    assert rg.tensor([False, False]).masked_fill(mask, 0.5).tolist() == [True, False]
    big = rg.tensor([2**53 + 1, 2**53 + 1]).masked_fill(mask, 2**53 + 3)
    assert big.tolist() == [2**53 + 3, 2**53 + 1]
    half = rg.tensor([1.0, 2.0], dtype=rg.float16).masked_fill(mask, -INF)
    assert half.tolist() == [-INF, 2.0] and half.dtype == rg.float16
    value = rg.tensor(2.5, requires_grad=True)
    rg.ones(2).masked_fill(mask, value).sum().backward()
    assert value.grad.item() == 1.0


def test_integers_wrap_in_their_type() -> None:
    assert (rg.tensor([255], dtype=rg.uint8) + 2).tolist() == [1]
    assert (-rg.tensor([1], dtype=rg.uint8)).tolist() == [255]
    assert (rg.tensor([127], dtype=rg.int8) * 2).tolist() == [-2]
    assert rg.abs(rg.tensor([-128], dtype=rg.int8)).tolist() == [-128]
    assert (rg.tensor([1], dtype=rg.int32) << 40).tolist() == [0]
    assert (rg.tensor([1, -5, 7]) << rg.tensor([-1, 64, 1])).tolist() == [0, 0, 14]
    assert (rg.tensor([-5]) >> 70).tolist() == [-1]
    assert (rg.tensor([2, 1, -1, 0]) ** rg.tensor([-1, -1, -1, 2])).tolist() == [0, 1, -1, 0]
    assert (rg.tensor([-7, 7]) // 2).tolist() == [-4, 3]
    assert (rg.tensor([-7, 7]) % 3).tolist() == [2, 1]


def test_complements() -> None:
    assert (~rg.tensor([True, False])).tolist() == [False, True]
    assert (~rg.tensor([0, 5], dtype=rg.uint8)).tolist() == [255, 250]
    b = rg.tensor([True, False])
    b.bitwise_not_()
    assert b.tolist() == [False, True]


def test_names_of_nodes() -> None:
    x = leaf(0.5)
    for y, name in [
        (x + 1, "Add"),
        (x.clamp(0, 1), "Clamp"),
        (x.clamp(min=x), "Clamp"),
        (x**2, "Pow"),
        (F.gelu(x), "Gelu"),
        (F.elu(x), "Elu"),
        (x.masked_fill(x > 1, 0.0), "MaskedFill"),
        (x.div(2, rounding_mode="floor"), "Div"),
        (x.clone().clamp_(0, 1), "Clamp"),
    ]:
        assert y.grad_fn.name() == name + "Backward0"


def test_in_place_forms_that_are_programs_keep_their_gradients() -> None:
    for f in ("logit_", "deg2rad_", "float_power_"):
        x = leaf(0.25, 0.5)
        args = (2,) if f == "float_power_" else ()
        want = grad(lambda x, f=f, a=args: getattr(x, f[:-1])(*a), x)
        assert grad(lambda x, f=f, a=args: getattr(x.clone(), f)(*a), x) == want
