"""Levels of forward mode: scopes, nesting, threads, what dual tensors show, what is refused."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
import rustgrad as rg
import rustgrad.autograd.forward_ad as fwAD

X, V = rg.tensor([1.0, 2.0]), rg.tensor([1.0, 10.0])


def slope(f: Any, x: Any, v: Any) -> Any:
    with fwAD.dual_level():
        return fwAD.unpack_dual(f(fwAD.make_dual(x, v))).tangent


def test_names_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    assert sorted(fwAD.__all__) == sorted(torch.autograd.forward_ad.__all__)


class TestDualTensors:
    def test_primal_and_tangent(self) -> None:
        with fwAD.dual_level():
            dual = fwAD.make_dual(X, V)
            primal, tangent = pair = fwAD.unpack_dual(dual)
            assert isinstance(pair, fwAD.UnpackedDualTensor)
            assert primal is pair.primal and tangent is pair.tangent
            assert primal.tolist() == X.tolist() and tangent.tolist() == V.tolist()
            # The same elements, not a copy; the primal alone has no tangent.
            assert dual.data_ptr() == X.data_ptr() == primal.data_ptr()
            assert fwAD.unpack_dual(primal).tangent is None
            assert fwAD.unpack_dual(X).tangent is None

    def test_results_of_ops_are_dual(self) -> None:
        assert slope(lambda x: (x * x).sum(), X, V).item() == 42.0
        assert slope(lambda x: x[1] * 3, X, V).item() == 30.0
        assert slope(lambda x: rg.ones(2), X, V) is None
        assert slope(lambda x: x > 1, X, V) is None

    def test_one_tangent_of_two_inputs(self) -> None:
        with fwAD.dual_level():
            y = fwAD.make_dual(X, V) * rg.tensor([3.0, 4.0])
            assert fwAD.unpack_dual(y).tangent.tolist() == [3.0, 40.0]

    def test_in_place(self) -> None:
        def f(x: Any) -> Any:
            y = rg.zeros(2)
            y[0] = x[1] * 2
            y.mul_(x)
            return y

        assert slope(f, X, V).tolist() == [2 * (10.0 * 1.0 + 2.0 * 1.0), 0.0]

    def test_the_tangent_goes_with_its_level(self) -> None:
        with fwAD.dual_level():
            y = fwAD.make_dual(X, V) * 2
        with fwAD.dual_level():
            assert fwAD.unpack_dual(y).tangent is None
        assert fwAD.unpack_dual(y).tangent is None
        assert (y + 1).tolist() == [3.0, 5.0]

    def test_under_no_grad(self) -> None:
        with rg.no_grad():
            assert slope(rg.square, X, V).tolist() == [2.0, 40.0]

    def test_of_tensors_that_require_grad(self) -> None:
        x, v = X.clone().requires_grad_(), V.clone().requires_grad_()
        tangent = slope(lambda x: x**3, x, v)
        gx, gv = rg.autograd.grad(tangent.sum(), (x, v))
        assert gx.tolist() == [6.0, 120.0] and gv.tolist() == [3.0, 12.0]


class TestLevels:
    def test_nested(self) -> None:
        """An inner tangent has a tangent at the outer level: the second derivative."""
        with fwAD.dual_level() as outer:
            x = fwAD.make_dual(rg.tensor(2.0), rg.tensor(1.0), level=outer)
            with fwAD.dual_level() as inner:
                y = fwAD.make_dual(x, rg.tensor(1.0), level=inner) ** 3
                first = fwAD.unpack_dual(y, level=inner).tangent
                assert fwAD.unpack_dual(y, level=outer).tangent.item() == 12.0
            assert first.item() == 12.0
            assert fwAD.unpack_dual(first, level=outer).tangent.item() == 12.0

    def test_three_levels(self) -> None:
        one = rg.tensor(1.0, dtype=rg.float64)
        f: Any = rg.sin
        for _ in range(3):
            f = lambda x, f=f: slope(f, x, one)  # noqa: E731
        x = rg.tensor(0.5, dtype=rg.float64)
        assert f(x).item() == pytest.approx(-rg.cos(x).item(), abs=1e-15)

    def test_a_tangent_that_depends_on_the_outer_level(self) -> None:
        """``d/da (d/dx (x a) along v = a)`` at ``a = 3``: perturbations do not mix."""

        def outer(a: Any) -> Any:
            return slope(lambda x: x * a, rg.tensor(5.0), a)

        assert slope(outer, rg.tensor(3.0), rg.tensor(1.0)).item() == 6.0

    def test_as_a_decorator(self) -> None:
        @fwAD.dual_level()
        def f(x: Any, v: Any) -> Any:
            return fwAD.unpack_dual(fwAD.make_dual(x, v).exp()).tangent

        for _ in range(2):
            assert f(rg.zeros(2), V).tolist() == V.tolist()
        assert not fwAD._levels.open

    def test_by_hand(self) -> None:
        level = fwAD.enter_dual_level()
        assert fwAD.unpack_dual(fwAD.make_dual(X, V)).tangent is not None
        fwAD.exit_dual_level(level=level)
        assert fwAD.unpack_dual(X).tangent is None

    def test_only_the_innermost_can_be_closed(self) -> None:
        with fwAD.dual_level() as outer, fwAD.dual_level():
            with pytest.raises(RuntimeError, match="not the last one that was created"):
                fwAD.exit_dual_level(level=outer)
            assert rg._C.is_dual_level_open(outer)
        with pytest.raises(RuntimeError, match="not entered"):
            fwAD.exit_dual_level()

    def test_what_was_left_open_inside_is_closed(self) -> None:
        with fwAD.dual_level():
            inner = fwAD.enter_dual_level()
        assert not rg._C.is_dual_level_open(inner) and not fwAD._levels.open

    def test_an_exception_closes_the_level(self) -> None:
        with pytest.raises(KeyError), fwAD.dual_level() as level:
            raise KeyError
        assert not rg._C.is_dual_level_open(level)

    def test_threads_have_their_own(self) -> None:
        failed: list[BaseException] = []

        def work(k: float) -> None:
            try:
                for _ in range(50):
                    assert slope(rg.square, rg.tensor(k), rg.tensor(1.0)).item() == 2 * k
                assert fwAD.unpack_dual(X).tangent is None
            except BaseException as error:
                failed.append(error)

        with fwAD.dual_level():
            threads = [threading.Thread(target=work, args=(float(k),)) for k in range(8)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            assert slope(rg.square, X, V).tolist() == [2.0, 40.0]
        assert not failed, failed


class TestOverReverse:
    def test_the_gradient_of_a_dual_tensor_is_dual(self) -> None:
        x = X.clone().requires_grad_()
        with fwAD.dual_level():
            dual = fwAD.make_dual(x, V)
            (g,) = rg.autograd.grad((dual**3).sum(), dual, create_graph=True)
            assert g.tolist() == [3.0, 12.0]
            assert fwAD.unpack_dual(g).tangent.tolist() == [6.0, 120.0]

    def test_a_dual_tensor_can_come_to_require_grad(self) -> None:
        with fwAD.dual_level():
            dual = fwAD.make_dual(X, V).requires_grad_()
            (g,) = rg.autograd.grad((dual**2).sum(), dual)
            assert fwAD.unpack_dual(g).tangent.tolist() == [2.0, 20.0]

    def test_through_a_custom_function(self) -> None:
        class Cube(rg.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x**3

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return g * 3 * x**2

        assert slope(Cube.apply, X, V).tolist() == [3.0, 120.0]
        x = X.clone().requires_grad_()
        (g,) = rg.autograd.grad(slope(Cube.apply, x, V).sum(), x)
        assert g.tolist() == [6.0, 120.0]
        with fwAD.dual_level():
            dual = fwAD.make_dual(x, V)
            (g,) = rg.autograd.grad(Cube.apply(dual).sum(), dual, create_graph=True)
            assert fwAD.unpack_dual(g).tangent.tolist() == [6.0, 120.0]


class TestRefuses:
    def test_without_a_level(self) -> None:
        with pytest.raises(RuntimeError, match="no level exists"):
            fwAD.make_dual(X, V)
        assert fwAD.unpack_dual(X) == (X, None)

    def test_a_level_that_is_closed(self) -> None:
        with fwAD.dual_level() as level:
            pass
        with pytest.raises(RuntimeError, match="not open"):
            fwAD.make_dual(X, V, level=level)

    @pytest.mark.parametrize(
        ("tensor", "tangent", "error", "text"),
        [
            (X, rg.ones(3), RuntimeError, "shape"),
            (X, rg.ones(()), RuntimeError, "shape"),
            (X, V.double(), ValueError, "one dtype"),
            (X, V.long(), ValueError, "floating point"),
            (X.long(), V, ValueError, "floating point"),
            (X, 1.0, TypeError, "float"),
        ],
    )
    def test_what_does_not_fit(self, tensor, tangent, error, text) -> None:
        with fwAD.dual_level(), pytest.raises(error, match=text):
            fwAD.make_dual(tensor, tangent)


def test_nothing_leaks() -> None:
    x = rg.ones(100, requires_grad=True)
    used = x * 1
    gc.collect()
    before = rg._C.live_nodes(), rg._C.live_bytes()
    for _ in range(10):
        slope(lambda x: slope(lambda y: (x * y).exp().sum(), x, x), x, rg.ones(100))
        with fwAD.dual_level():
            dual = fwAD.make_dual(x, rg.ones(100))
            rg.autograd.grad(dual.exp().sum(), dual, create_graph=True)
        del dual
    gc.collect()
    assert used.requires_grad
    assert (rg._C.live_nodes(), rg._C.live_bytes()) == before
