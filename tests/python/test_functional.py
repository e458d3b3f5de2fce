"""`autograd.functional`: against closed forms, against PyTorch, strict mode, what is refused."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rustgrad as rg
from rustgrad.autograd import functional
from rustgrad.autograd.functional import hessian, hvp, jacobian, jvp, vhp, vjp

STRATEGIES = ["reverse-mode", "forward-mode"]
PRODUCTS = {"vjp": vjp, "jvp": jvp, "vhp": vhp, "hvp": hvp}
rng = np.random.default_rng(0)
A = rng.uniform(-1, 1, (3, 4))
B = rng.uniform(0.5, 1.5, (2, 3))


def t(a: Any, dtype: Any = rg.float64, grad: bool = False) -> Any:
    return rg.tensor(np.asarray(a), dtype=dtype).requires_grad_(grad)


def close(got: Any, want: Any, tol: float = 1e-12) -> None:
    got, want = np.asarray(got.tolist()), np.asarray(want)
    np.testing.assert_allclose(got.reshape(want.shape), want, rtol=tol, atol=tol)


class TestClosedForms:
    @pytest.mark.parametrize("strategy", STRATEGIES)
    @pytest.mark.parametrize("vectorize", [False, True])
    @pytest.mark.parametrize(("dtype", "tol"), [(rg.float64, 1e-12), (rg.float32, 1e-6)])
    def test_jacobian_of_a_linear_map(self, strategy, vectorize, dtype, tol) -> None:
        m = t(A, dtype)
        j = jacobian(
            lambda x: m @ x, t(B[0].tolist() + [1.0], dtype), False, False, vectorize, strategy
        )
        assert j.shape == (3, 4) and j.dtype == dtype and not j.requires_grad
        close(j, m.tolist(), tol)

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_jacobian_of_an_elementwise_function_is_diagonal(self, strategy) -> None:
        j = jacobian(rg.exp, t(B), strategy=strategy)
        assert j.shape == (2, 3, 2, 3)
        close(j, np.diag(np.exp(B).ravel()).reshape(2, 3, 2, 3))

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_blocks_of_several_inputs_and_outputs(self, strategy) -> None:
        """Of ``(x y, x^T y, 7)`` with ``x`` in R^2 and ``y`` in R^2."""
        x, y = t([1.0, 2.0]), t([3.0, 5.0])
        c = t(7.0)
        j = jacobian(lambda x, y: (x * y, x @ y, c), (x, y), strategy=strategy)
        assert isinstance(j, tuple) and all(isinstance(row, tuple) for row in j)
        close(j[0][0], np.diag([3.0, 5.0]))
        close(j[0][1], np.diag([1.0, 2.0]))
        close(j[1][0], [3.0, 5.0])
        close(j[1][1], [1.0, 2.0])
        close(j[2][0], [0.0, 0.0])

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_hessian_of_a_quadratic_form(self, strategy) -> None:
        m = rng.uniform(-1, 1, (3, 3))
        h = hessian(lambda x: x @ t(m) @ x, t([1.0, 2.0, 3.0]), outer_jacobian_strategy=strategy)
        close(h, m + m.T)

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_hessian_of_two_inputs(self, strategy) -> None:
        """Of ``sum(x^2) y + y^3``."""
        x, y = t([1.0, 2.0]), t(3.0)
        h = hessian(lambda x, y: (x * x).sum() * y + y**3, (x, y), outer_jacobian_strategy=strategy)
        close(h[0][0], 6 * np.eye(2))
        close(h[0][1], [2.0, 4.0])
        close(h[1][0], [2.0, 4.0])
        close(h[1][1], 18.0)
        assert h[0][1].shape == (2,) and h[1][1].shape == ()

    def test_products_with_tiny_factors(self) -> None:
        x = rg.tensor([-2.1, 2.3, 1e-17], dtype=rg.float64)
        a, b, c = x.tolist()
        expected = rg.tensor([[0, c, b], [c, 0, a], [b, a, 0]], dtype=rg.float64)
        close(hessian(rg.prod, x), expected)

    def test_products_are_those_with_the_matrices(self) -> None:
        x, v, w = t(B), t(rng.uniform(-1, 1, (2, 3))), t(rng.uniform(-1, 1, (2,)))
        f = lambda x: (x.sin() * x.flip(1)).sum(1)  # noqa: E731
        g = lambda x: f(x).prod()  # noqa: E731
        j, h = jacobian(f, x).reshape(2, 6), hessian(g, x).reshape(6, 6)
        close(vjp(f, x, w)[1], (w @ j).reshape(2, 3).tolist())
        close(jvp(f, x, v)[1], (j @ v.reshape(6)).tolist())
        close(vhp(g, x, v)[1], (v.reshape(6) @ h).reshape(2, 3).tolist())
        close(hvp(g, x, v)[1], (h @ v.reshape(6)).reshape(2, 3).tolist())
        close(h, h.t().tolist())
        close(jvp(f, x, v)[0], f(x).tolist())

    @pytest.mark.parametrize("name", PRODUCTS)
    def test_the_only_element_needs_no_vector(self, name) -> None:
        value, product = PRODUCTS[name](lambda x: x**3, t(2.0))
        assert value.item() == 8.0 and product.item() == 12.0
        assert not value.requires_grad and not product.requires_grad

    def test_the_types_of_mixed_inputs_and_outputs(self) -> None:
        f = lambda x: x.double() * 2  # noqa: E731
        x = rg.ones(2)
        assert jacobian(f, x).dtype == rg.float32
        assert jacobian(f, x, strategy="forward-mode").dtype == rg.float64

    def test_of_float16(self) -> None:
        j = jacobian(lambda x: x * x, rg.tensor([1.0, 2.0], dtype=rg.float16))
        assert j.dtype == rg.float16 and j.tolist() == [[2.0, 0.0], [0.0, 4.0]]

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_without_elements(self, strategy) -> None:
        empty, two = rg.ones(0, 3), rg.ones(2)
        assert jacobian(rg.sin, empty, strategy=strategy).shape == (0, 3, 0, 3)
        j = jacobian(lambda x, y: (x.sum() * y, x), (empty, two), strategy=strategy)
        assert [[b.shape for b in row] for row in j] == [
            [(2, 0, 3), (2, 2)],
            [(0, 3, 0, 3), (0, 3, 2)],
        ]
        assert hessian(lambda x: x.sum(), empty, outer_jacobian_strategy=strategy).numel() == 0
        for name in PRODUCTS:
            f = rg.sum if name.endswith("hp") or name == "hvp" else rg.sin
            assert PRODUCTS[name](f, empty, empty)[1].shape == (0, 3)


class TestHigherOrders:
    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_the_third_derivative_as_jacobian_of_the_hessian(self, strategy) -> None:
        x = t([1.0, 2.0])

        def second(x: Any) -> Any:
            return hessian(
                lambda x: (x**4).sum(), x, create_graph=True, outer_jacobian_strategy=strategy
            )

        third = jacobian(second, x, strategy=strategy)
        want = np.zeros((2, 2, 2))
        want[0, 0, 0], want[1, 1, 1] = 24.0, 48.0
        close(third, want)

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_create_graph_keeps_history_to_the_inputs(self, strategy) -> None:
        x = t([1.0, 2.0], grad=True)
        j = jacobian(lambda x: x**3, x, create_graph=True, strategy=strategy)
        assert j.requires_grad
        (g,) = rg.autograd.grad(j.sum(), x)
        close(g, [6.0, 12.0])
        h = hessian(lambda x: (x**3).sum(), x, create_graph=True, outer_jacobian_strategy=strategy)
        (g,) = rg.autograd.grad(h.sum(), x)
        close(g, [6.0, 6.0])
        assert x.grad is None

    @pytest.mark.parametrize("name", PRODUCTS)
    def test_products_are_differentiable_by_inputs_and_vector(self, name) -> None:
        x, v = t([0.5, 1.5], grad=True), t([1.0, -2.0], grad=True)
        f = (lambda x: x**3) if name in ("vjp", "jvp") else lambda x: (x**4).sum()
        product = PRODUCTS[name](f, x, v, create_graph=True)[1]
        gx, gv = rg.autograd.grad(product.sum(), (x, v))
        n, d = np.array([0.5, 1.5]), np.array([1.0, -2.0])
        slope, bend = (3 * n**2, 6 * n) if name in ("vjp", "jvp") else (12 * n**2, 24 * n)
        close(product, slope * d)
        close(gx, bend * d)
        close(gv, slope)

    @pytest.mark.parametrize("name", PRODUCTS)
    def test_without_create_graph_nothing_has_history(self, name) -> None:
        x = t(2.0, grad=True)
        value, product = PRODUCTS[name](lambda x: x**3, x, t(1.0, grad=True))
        assert not value.requires_grad and not product.requires_grad
        j = jacobian(rg.sin, x), jacobian(rg.sin, x, strategy="forward-mode")
        assert not any(m.requires_grad for m in j)

    @pytest.mark.parametrize("name", PRODUCTS)
    def test_under_no_grad(self, name) -> None:
        x = t(2.0, grad=True)
        with rg.no_grad():
            product = PRODUCTS[name](lambda x: x**3, x, create_graph=True)[1]
        (g,) = rg.autograd.grad(product, x)
        assert g.item() == (12.0 if name in ("vjp", "jvp") else 6.0)

    def test_within_a_level_of_the_caller(self) -> None:
        """The derivative of a Jacobian, in forward mode from outside."""
        x, one = t([1.0, 2.0], grad=True), rg.ones(2, dtype=rg.float64)
        for strategy in STRATEGIES:
            f = lambda x: jacobian(rg.sin, x, True, strategy=strategy).sum(1)  # noqa: E731, B023
            close(rg.func.jvp(f, (x,), (one,))[1], (-x.sin()).tolist())
        for product in vjp, jvp:
            f = lambda x: product(rg.sin, x, one, True)[1]  # noqa: E731, B023
            close(rg.func.jvp(f, (x,), (one,))[1], (-x.sin()).tolist())

    def test_a_function_that_takes_gradients_itself(self) -> None:
        def slope(x: Any) -> Any:
            assert x.requires_grad
            return rg.autograd.grad((x**3).sum(), x, create_graph=True)[0]

        x, one = t([1.0, 2.0]), rg.ones(2, dtype=rg.float64)
        close(jacobian(slope, x), np.diag([6.0, 12.0]))
        close(jacobian(slope, x, strategy="forward-mode"), np.diag([6.0, 12.0]))
        close(jvp(slope, x, one)[1], [6.0, 12.0])


class TestInputs:
    def test_the_function_gets_other_tensors(self) -> None:
        x = t(2.0, grad=True)
        seen: list[Any] = []

        def f(y: Any) -> Any:
            seen.append(y is x)
            return x * y

        # `x` as the function sees it around it is a constant.
        assert jacobian(f, x).item() == 2.0
        assert jacobian(f, x, create_graph=True).item() == 2.0
        assert jacobian(f, x, strategy="forward-mode").item() == 2.0
        assert not any(seen)

    def test_no_gradient_is_left_in_the_inputs(self) -> None:
        x, w = t([1.0, 2.0], grad=True), t([3.0, 4.0], grad=True)
        hessian(lambda x: (x * x * w).sum(), x)
        assert x.grad is None and w.grad is None and x.requires_grad

    def test_an_exception_leaves_no_level_or_mode_behind(self) -> None:
        def fails(x: Any) -> Any:
            raise KeyError("x")

        for f in (jacobian, hessian, *PRODUCTS.values()):
            with rg.no_grad(), pytest.raises(KeyError):
                f(fails, t(1.0))
            with pytest.raises(KeyError):
                jacobian(fails, t(1.0), strategy="forward-mode")
        assert not rg.autograd.forward_ad._levels.open and rg.is_grad_enabled()

    def test_writing_into_an_input_raises(self) -> None:
        for f in (jacobian, jvp, vjp):
            with pytest.raises(RuntimeError, match="in-place"):
                f(lambda x: x.mul_(2), t(1.0))

    def test_a_custom_function(self) -> None:
        class Cube(rg.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x**3

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return g * 3 * x**2

        x, v = t([1.0, 2.0]), t([1.0, 1.0])
        for strategy in STRATEGIES:
            close(jacobian(Cube.apply, x, strategy=strategy), np.diag([3.0, 12.0]))
            f = lambda x: Cube.apply(x).sum()  # noqa: E731
            close(hessian(f, x, outer_jacobian_strategy=strategy), np.diag([6.0, 12.0]))
        close(hvp(lambda x: Cube.apply(x).sum(), x, v)[1], [6.0, 12.0])


def test_nothing_leaks() -> None:
    """Counted without a collection: none of it makes cycles."""
    import gc

    x, v = t([1.0, 2.0], grad=True), t([1.0, 1.0])
    _ = x * 1
    gc.collect()
    before = rg._C.live_nodes(), rg._C.live_bytes()
    gc.disable()
    try:
        for graph in (False, True):
            for strategy in STRATEGIES:
                jacobian(lambda x: x**3, x, graph, strategy=strategy)
                hessian(lambda x: (x**3).sum(), x, graph, outer_jacobian_strategy=strategy)
            for name, f in PRODUCTS.items():
                g = (lambda x: x**3) if name in ("vjp", "jvp") else lambda x: (x**3).sum()
                f(g, x, v, graph)
        assert (rg._C.live_nodes(), rg._C.live_bytes()) == before
    finally:
        gc.enable()


# Against PyTorch: the same calls of both, whose results and errors must agree.


def _cut(x: Any) -> Any:
    """A result that requires grad and does not depend on the argument."""
    return x.detach().clone().requires_grad_().clone()


# Functions of one tensor that both packages can run.
MAPS: dict[str, Callable[..., Any]] = {
    "exp": lambda x: x.exp(),
    "sum": lambda x: x.sum(1),
    "tuple": lambda x: (x.sin(), x.sum(), x[0] * x[1]),
    "one in a tuple": lambda x: (x.cos(),),
    "clone": lambda x: x.clone(),
    "detached": lambda x: x.detach(),
    "cut": _cut,
    "half cut": lambda x: (x * 2, _cut(x)),
    "list": lambda x: [x, x],
    "number": lambda x: 3.0,
    "tuple with a number": lambda x: (x, 3.0),
}
SCALARS: dict[str, Callable[..., Any]] = {
    "cubes": lambda x: x.pow(3).sum(),
    "shape (1,)": lambda x: x.pow(3).sum().reshape(1),
    "linear": lambda x: (3 * x).sum(),
    "detached": lambda x: x.detach().sum(),
    "cut": lambda x: _cut(x).sum(),
    "many": lambda x: x * 2,
    "tuple": lambda x: (x.sum(), x.sum()),
    "number": lambda x: 3.0,
}
PAIRS: dict[str, Callable[..., Any]] = {
    "product": lambda x, y: x * y.sum(),
    "both": lambda x, y: (x.sin() @ y, y * 2),
    "first only": lambda x, y: x * x,
}
PAIR_SCALARS: dict[str, Callable[..., Any]] = {
    "mixed": lambda x, y: (x.sin().sum() * y.exp()).sum(),
    "separate": lambda x, y: x.sin().sum() + y.exp().sum(),
    "first only": lambda x, y: x.exp().sum(),
}
X, Y = rng.uniform(0.5, 1.5, (2, 3)), rng.uniform(0.5, 1.5, 3)


def _run(module: Any, make: Callable[..., Any], name: str, args: Any, options: Any) -> Any:
    """What a call gives, or the error: structure, shapes, types, values, history."""

    def describe(r: Any) -> Any:
        if isinstance(r, tuple):
            return tuple(describe(x) for x in r)
        return tuple(r.shape), str(r.dtype).rsplit(".")[-1], r.requires_grad, r.tolist()

    func, *rest = args
    build = lambda a: (  # noqa: E731
        tuple(build(x) for x in a) if isinstance(a, tuple) else make(a) if a is not None else None
    )
    try:
        return describe(getattr(module, name)(func, *(build(a) for a in rest), **options))
    except Exception as error:
        return type(error).__name__, str(error).replace("torch.", "").replace("rustgrad.", "")


def _agree(got: Any, want: Any) -> None:
    assert type(got) is type(want)
    if isinstance(want, tuple):
        assert len(got) == len(want), (got, want)
        for g, w in zip(got, want, strict=True):
            _agree(g, w)
    elif isinstance(want, (list, float)):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
    else:
        assert got == want


def _both(name: str, args: Any, dtype: str = "float64", grad: bool = False, **options: Any) -> Any:
    torch = pytest.importorskip("torch")
    want = _run(
        torch.autograd.functional,
        lambda a: torch.tensor(a, dtype=getattr(torch, dtype)).requires_grad_(grad),
        name,
        args,
        options,
    )
    got = _run(
        functional,
        lambda a: rg.tensor(a, dtype=getattr(rg, dtype)).requires_grad_(grad),
        name,
        args,
        options,
    )
    return got, want


FLAGS = [
    {},
    {"strict": True},
    {"create_graph": True},
    {"create_graph": True, "strict": True},
]


def _message(result: Any) -> str:
    """The first words of an error; what follows is explanation."""
    text = result[1].split(". ")[0].split(", but")[0]
    # PyTorch counts outputs in one of these sentences.
    if text.startswith("The jacobian of"):
        text = text.rstrip("0123456789")
    return text


def _compare(got: Any, want: Any) -> None:
    if isinstance(want[0], str):
        assert got[0] == want[0], (got, want)
        assert _message(got) == _message(want)
    else:
        _agree(got, want)


@pytest.mark.parametrize("flags", FLAGS, ids=str)
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("f", MAPS)
@pytest.mark.parametrize("name", ["jacobian", "jvp", "vjp"])
def test_maps_are_those_of_pytorch(name, f, grad, flags) -> None:
    options = dict(flags)
    args: Any = (MAPS[f], X)
    if name == "jvp":
        args += (np.ones_like(X),)
    if name == "vjp":
        outs = {"sum": np.ones(2), "tuple": (np.ones((2, 3)), np.array(2.0), np.ones(3))}
        outs |= {"one in a tuple": (np.ones((2, 3)),), "half cut": (X, X)}
        args += (outs.get(f, np.ones((2, 3))),)
    got, want = _both(name, args, grad=grad, **options)
    _compare(got, want)


@pytest.mark.parametrize("flags", FLAGS, ids=str)
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("f", SCALARS)
@pytest.mark.parametrize("name", ["hessian", "vhp", "hvp"])
def test_second_derivatives_are_those_of_pytorch(name, f, grad, flags) -> None:
    args: Any = (SCALARS[f], X) + (() if name == "hessian" else (np.ones_like(X),))
    got, want = _both(name, args, grad=grad, **flags)
    if f == "number" and name == "hessian":
        assert want[0] == got[0] == "TypeError"
        return
    _compare(got, want)


@pytest.mark.parametrize("flags", FLAGS, ids=str)
@pytest.mark.parametrize("f", PAIRS)
@pytest.mark.parametrize("name", ["jacobian", "jvp", "vjp"])
def test_maps_of_two_tensors_are_those_of_pytorch(name, f, flags) -> None:
    args: Any = (PAIRS[f], (X, Y))
    if name == "jvp":
        args += ((np.ones_like(X), np.ones_like(Y)),)
    if name == "vjp":
        args += ((np.ones(2), np.ones(3)) if f == "both" else np.ones((2, 3)),)
    _compare(*_both(name, args, grad=True, **flags))


@pytest.mark.parametrize("flags", FLAGS, ids=str)
@pytest.mark.parametrize("f", PAIR_SCALARS)
@pytest.mark.parametrize("name", ["hessian", "vhp", "hvp"])
def test_second_derivatives_of_two_tensors_are_those_of_pytorch(name, f, flags) -> None:
    vs = () if name == "hessian" else ((np.ones_like(X), np.ones_like(Y)),)
    _compare(*_both(name, (PAIR_SCALARS[f], (X, Y), *vs), grad=True, **flags))


@pytest.mark.parametrize("f", ["exp", "sum", "tuple", "one in a tuple", "clone"])
def test_forward_jacobians_are_those_of_pytorch(f) -> None:
    _compare(*_both("jacobian", (MAPS[f], X), strategy="forward-mode", vectorize=True))


@pytest.mark.parametrize("f", ["cubes", "linear", "shape (1,)"])
def test_forward_hessians_are_those_of_pytorch(f) -> None:
    options = {"outer_jacobian_strategy": "forward-mode", "vectorize": True}
    got, want = _both("hessian", (SCALARS[f], X), **options)
    # PyTorch's has history, though none was asked for.
    assert got[:2] == want[:2] and not got[2]
    np.testing.assert_allclose(got[3], want[3], rtol=1e-12)


@pytest.mark.parametrize("name", ["jvp", "vjp", "vhp", "hvp"])
@pytest.mark.parametrize(
    ("inputs", "v"),
    [
        (X, None),
        ((X, Y), None),
        (X, np.ones(3)),
        ((X, Y), (X,)),
        (X, (X, X)),
        ((X, Y), (X, X)),
        (X, (X,)),
    ],
    ids=range(7),
)
def test_vectors_that_do_not_fit(name, inputs, v) -> None:
    if name in ("vhp", "hvp"):
        f = lambda *xs: sum(x.pow(3).sum() for x in xs)  # noqa: E731
    else:
        f = lambda *xs: xs if len(xs) > 1 else xs[0] * 2  # noqa: E731
    _compare(*_both(name, (f, inputs, v)))


def test_signatures_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    for name in functional.__all__:
        theirs = inspect.signature(getattr(torch.autograd.functional, name)).parameters
        ours = inspect.signature(getattr(functional, name)).parameters
        assert {k: p.default for k, p in ours.items()} == {k: p.default for k, p in theirs.items()}
    assert sorted(functional.__all__) == sorted(torch.autograd.functional.__all__)


class TestRefuses:
    @pytest.mark.parametrize("name", functional.__all__)
    def test_what_is_no_tensor(self, name) -> None:
        f = getattr(functional, name)
        with pytest.raises(
            TypeError, match=rf"inputs given to {name} must be either .* given inputs"
        ):
            f(rg.sin, 1.0)
        with pytest.raises(TypeError, match="the value at index 1 has type <class 'list'>"):
            f(rg.add, (t(1.0), [1.0]))
        with pytest.raises(TypeError, match="outputs of the user-provided function"):
            f(lambda x: [x], t(1.0))
        if name not in ("jacobian", "hessian"):
            with pytest.raises(TypeError, match="v given to"):
                f(rg.sin, t(1.0), 1.0)

    def test_integers(self) -> None:
        with pytest.raises(RuntimeError, match="floating point"):
            jacobian(rg.square, rg.ones(2, dtype=rg.int64))

    def test_strategies(self) -> None:
        with pytest.raises(AssertionError, match="Expected strategy to be either"):
            jacobian(rg.sin, t(1.0), strategy="sideways")
        with pytest.raises(AssertionError, match="Expected strategy to be either"):
            hessian(rg.sin, t(1.0), outer_jacobian_strategy="sideways")

    @pytest.mark.parametrize(
        ("f", "text"),
        [
            (lambda x: (x, t(1.0)), "Output 1 of the user-provided function is independent"),
            (lambda x: t([1.0]), "Output 0 of the user-provided function is independent of"),
        ],
    )
    def test_strict_forward_mode(self, f, text) -> None:
        with pytest.raises(RuntimeError, match=text):
            jacobian(f, t([1.0, 2.0]), strict=True, strategy="forward-mode")
        assert jacobian(lambda x: x * x, t(1.0), strict=True, strategy="forward-mode") == 2

    def test_strict_forward_mode_with_a_graph(self) -> None:
        with pytest.raises(RuntimeError, match="jacobian of the user-provided function is indep"):
            jacobian(lambda x: 2 * x, t(1.0, grad=True), True, True, strategy="forward-mode")

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_strict_hessian_of_a_sum(self, strategy) -> None:
        with pytest.raises(RuntimeError, match="Output [01] .* is independent of input [01]"):
            hessian(
                lambda x, y: (x * x + y * y).sum(),
                (t(1.0), t(2.0)),
                strict=True,
                outer_jacobian_strategy=strategy,
            )
