"""autograd.Function: everything that PyTorch's documentation promises, and what it leaves open."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rustgrad as rg
import rustgrad.autograd.forward_ad as fwAD
from rustgrad.autograd import Function
from rustgrad.autograd.function import once_differentiable


def leaf(*values: float) -> Any:
    """A leaf of float64 that requires grad; 0-d for a single value."""
    data = values[0] if len(values) == 1 else list(values)
    return rg.tensor(data, dtype=rg.float64, requires_grad=True)


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


class CubeSetup(Function):
    @staticmethod
    def forward(x):
        return x * x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        (x,) = inputs
        assert rg.is_tensor(output)
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


class Exp(Function):
    """Saves its output."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


class TestBasics:
    @pytest.mark.parametrize("function", [Cube, CubeSetup])
    def test_gradients_of_all_orders(self, function: Any) -> None:
        x = leaf(2.0)
        y = function.apply(x)
        assert y.item() == 8.0 and y.requires_grad and not y.is_leaf
        want = [12.0, 12.0, 6.0]
        for w in want:
            (y,) = rg.autograd.grad(y, x, create_graph=True)
            assert y.item() == w

    def test_saved_output(self) -> None:
        x = leaf(0.5)
        y = Exp.apply(x)
        for _ in range(3):
            (y,) = rg.autograd.grad(y, x, create_graph=True)
            assert y.item() == pytest.approx(2.718281828459045**0.5)

    def test_gradcheck(self) -> None:
        x = leaf(0.5, -1.0, 2.0)
        for function in (Cube, CubeSetup, Exp):
            assert rg.autograd.gradcheck(function.apply, (x,))
            assert rg.autograd.gradgradcheck(function.apply, (x,))

    def test_node(self) -> None:
        x = leaf(2.0)
        y = Cube.apply(x)
        assert y.grad_fn.name() == "CubeBackward"
        ((node, n),) = y.grad_fn.next_functions
        assert "AccumulateGrad" in node.name() and n == 0

    def test_inside_a_graph(self) -> None:
        x = leaf(1.0, 2.0)
        y = (Cube.apply(x * 2) * x).sum()
        y.backward()
        assert x.grad.tolist() == [4 * 8.0 * 1, 4 * 8.0 * 8]

    def test_nothing_is_recorded_inside_forward(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                assert not rg.is_grad_enabled()
                assert not (x * 2).requires_grad
                return x * 2

            @staticmethod
            def backward(ctx, g):
                assert not rg.is_grad_enabled()
                return g * 2

        x = leaf(1.0)
        F.apply(x).backward()
        assert x.grad.item() == 2.0 and rg.is_grad_enabled()

    def test_backward_records_under_create_graph(self) -> None:
        modes = []

        class F(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                modes.append(rg.is_grad_enabled())
                return g * 2

        x = leaf(1.0)
        rg.autograd.grad(F.apply(x), x, create_graph=True)
        rg.autograd.grad(F.apply(x), x)
        assert modes == [True, False]

    def test_without_grad_nothing_is_recorded(self) -> None:
        x = leaf(2.0)
        with rg.no_grad():
            assert not Cube.apply(x).requires_grad
        assert not Cube.apply(x.detach()).requires_grad

    def test_several_inputs_and_outputs(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x, y):
                ctx.save_for_backward(x, y)
                return x * y, x + y

            @staticmethod
            def backward(ctx, g, h):
                x, y = ctx.saved_tensors
                return g * y + h, g * x + h

        x, y = leaf(2.0), leaf(3.0)
        out = F.apply(x, y)
        assert isinstance(out, tuple) and len(out) == 2
        p, s = out
        (p * 10 + s).backward()
        assert x.grad.item() == 31.0 and y.grad.item() == 21.0
        assert p.grad_fn == s.grad_fn and (p.output_nr, s.output_nr) == (0, 1)

    def test_arguments_that_are_not_tensors(self) -> None:
        class Scale(Function):
            @staticmethod
            def forward(ctx, x, factor, name=None):
                ctx.factor = factor
                return x * factor

            @staticmethod
            def backward(ctx, g):
                return g * ctx.factor, None, None

        x = leaf(2.0)
        Scale.apply(x, 5.0, "five").backward()
        assert x.grad.item() == 5.0

    def test_an_output_that_is_not_a_tensor(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2, "text", 7

            @staticmethod
            def backward(ctx, g, a, b):
                assert a is None and b is None
                return g * 2

        x = leaf(1.0)
        y, text, number = F.apply(x)
        assert text == "text" and number == 7
        y.backward()
        assert x.grad.item() == 2.0

    def test_single_output_in_a_tuple_stays_a_tuple(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                return (x * 2,)

            @staticmethod
            def backward(ctx, g):
                return (g * 2,)

        x = leaf(1.0)
        out = F.apply(x)
        assert isinstance(out, tuple)
        out[0].backward()
        assert x.grad.item() == 2.0

    def test_needs_input_grad(self) -> None:
        seen = []

        class F(Function):
            @staticmethod
            def forward(ctx, x, k, y):
                seen.append(ctx.needs_input_grad)
                return x + y

            @staticmethod
            def backward(ctx, g):
                seen.append(ctx.needs_input_grad)
                return g, None, None

        x, c = leaf(1.0), rg.tensor(2.0, dtype=rg.float64)
        F.apply(x, 3, c).backward()
        assert seen == [(True, False, False)] * 2

    def test_missing_forward_or_backward(self) -> None:
        class NoForward(Function):
            pass

        class NoBackward(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

        x = leaf(1.0)
        with pytest.raises(NotImplementedError, match="forward"):
            NoForward.apply(x)
        y = NoBackward.apply(x)
        with pytest.raises(NotImplementedError, match="backward"):
            y.backward()
        assert x.grad is None

    def test_keeps_attributes_of_ctx(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x, n):
                ctx.n = n
                ctx.shape = x.shape
                return x.sum() * n

            @staticmethod
            def backward(ctx, g):
                return (g * ctx.n).expand(ctx.shape), None

        x = leaf(1.0, 2.0, 3.0)
        F.apply(x, 4).backward()
        assert x.grad.tolist() == [4.0, 4.0, 4.0]

    def test_gradient_is_summed_over_broadcast_dimensions_only_if_it_fits(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x, y):
                return x + y

            @staticmethod
            def backward(ctx, g):
                return g, g

        x, y = rg.ones(3, 1, requires_grad=True), rg.ones(4, requires_grad=True)
        F.apply(x, y).sum().backward()
        assert x.grad.tolist() == [[4.0]] * 3 and y.grad.tolist() == [3.0] * 4

    def test_gradient_is_summed_in_forward_mode_too(self) -> None:
        class Product(Function):
            @staticmethod
            def forward(ctx, x, y):
                ctx.save_for_backward(x, y)
                return x * y

            @staticmethod
            def backward(ctx, g):
                x, y = ctx.saved_tensors
                return g * y, g * x

        with fwAD.dual_level():
            x = fwAD.make_dual(leaf(2.0).detach(), leaf(1.0).detach())
            y = leaf(3.0, 4.0).detach()
            tangent = fwAD.unpack_dual(Product.apply(x, y)).tangent
        assert tangent.tolist() == [3.0, 4.0]

    def test_gradient_is_cast_to_the_inputs_type(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return g.to(rg.float64) * 2

        x = rg.ones(2, requires_grad=True)
        F.apply(x).sum().backward()
        assert x.grad.dtype == rg.float32 and x.grad.tolist() == [2.0, 2.0]

    def test_subclass_of_a_function(self) -> None:
        class Negated(Cube):
            @staticmethod
            def forward(ctx, x):
                return -Cube.forward(ctx, x)

            @staticmethod
            def backward(ctx, g):
                return -Cube.backward(ctx, g)

        x = leaf(2.0)
        Negated.apply(x).backward()
        assert x.grad.item() == -12.0


class TestSavedTensors:
    def test_are_freed_after_backward(self) -> None:
        x = leaf(2.0)
        y = Cube.apply(x)
        y.backward()
        with pytest.raises(RuntimeError, match="second time"):
            y.backward()

    def test_retain_graph(self) -> None:
        x = leaf(2.0)
        y = Cube.apply(x)
        y.backward(retain_graph=True)
        y.backward()
        assert x.grad.item() == 24.0

    def test_write_in_place_is_noticed(self) -> None:
        x = leaf(2.0)
        a = x * 1
        y = Cube.apply(a)
        a.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation") as info:
            y.backward()
        assert "CubeBackward" in str(info.value) and "add" in str(info.value)

    def test_none_may_be_saved(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(None, x, None)
                return x * 2

            @staticmethod
            def backward(ctx, g):
                a, x, b = ctx.saved_tensors
                assert a is None and b is None and rg.is_tensor(x)
                return g * 2

        x = leaf(2.0)
        F.apply(x).backward()
        assert x.grad.item() == 2.0

    def test_only_tensors_and_none(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x, 3.0)
                return x * 2

        with pytest.raises(TypeError, match="save_for_backward can only save"):
            F.apply(leaf(2.0))

    def test_saved_leaf_is_the_leaf_again(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * 2

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                assert x.requires_grad and x.is_leaf and x.tolist() == 2.0
                return g * 2

        F.apply(leaf(2.0)).backward()

    def test_access_outside_of_backward(self) -> None:
        kept = []

        class F(Function):
            @staticmethod
            def forward(ctx, x):
                kept.append(ctx)
                ctx.save_for_backward(x)
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return g * 2

        x = leaf(2.0)
        y = F.apply(x)
        assert kept[0].saved_tensors[0].item() == 2.0
        y.backward()
        with pytest.raises(RuntimeError, match="already been freed"):
            _ = kept[0].saved_tensors
        kept.clear()


class Double(Function):
    """Keeps an intermediate value, by ``keep``."""

    keep = "saved"

    @staticmethod
    def forward(ctx, x):
        square = x * x
        if Double.keep == "saved":
            ctx.save_for_backward(square)
        elif Double.keep == "attribute":
            ctx.square = square
        else:
            ctx.hidden = {"deep": [square * 1]}
        return square * x

    @staticmethod
    def backward(ctx, g):
        if Double.keep == "saved":
            (square,) = ctx.saved_tensors
        elif Double.keep == "attribute":
            square = ctx.square
        else:
            (square,) = ctx.hidden["deep"]
        return g * 3 * square


class Through(Function):
    """Runs ``Through.forward_with(ctx, x)`` and ``Through.backward_with(ctx, g)``."""

    forward_with: Any = None
    backward_with: Any = None

    @staticmethod
    def forward(ctx, x):
        return Through.forward_with(ctx, x)

    @staticmethod
    def backward(ctx, g):
        return Through.backward_with(ctx, g)


def _filled(x: Any) -> Any:
    square = rg.zeros_like(x)
    square[...] = x * x
    return square


def _seen_through_an_older_view(x: Any) -> Any:
    buffer = rg.zeros(2, dtype=x.dtype)
    view = buffer[0]
    buffer.copy_((x * x).expand(2))
    return view


# Ways to compute x * x in a forward such that its history is lost.
LOSSES: dict[str, Callable[[Any], Any]] = {
    "product": lambda x: x * x,
    "view": lambda x: (x * x).reshape(1, 1)[0, 0],
    "detached": lambda x: (x * x).detach(),
    "data": lambda x: (x * x).data,
    "in place": lambda x: x.clone().mul_(x),
    "assignment": _filled,
    "an older view": _seen_through_an_older_view,
    "numpy": lambda x: rg.from_numpy(np.asarray(np.square(x.detach().numpy()))),
    "an array of numpy's": lambda x: rg.tensor(np.square(x.detach().numpy()[None]))[0],
    "lists": lambda x: rg.tensor([x.tolist() ** 2], dtype=rg.float64)[0],
    "a number": lambda x: rg.full((), x.item() ** 2, dtype=rg.float64),
    "another function": lambda x: Cube.apply(x) / x,
    "no_grad": lambda x: _without_grad(x),
}


def _without_grad(x: Any) -> Any:
    with rg.no_grad():
        array = x.detach().numpy() ** 2
    return rg.as_tensor(array)


# Ways to compute g * 3 * square from it.
USES: dict[str, Callable[[Any, Any], Any]] = {
    "product": lambda g, square: g * 3 * square,
    "constant": lambda g, square: square * 3,
    "in place": lambda g, square: rg.zeros_like(g).add_(square).mul_(3).mul_(g),
    "through a list": lambda g, square: rg.stack([g * square, square * 2 * g]).sum(0),
    "another function": lambda g, square: Cube.apply(square) / square**2 * 3 * g,
}


class TestIntermediates:
    """A tensor made in forward has no history: using it in a recorded backward loses a term."""

    @pytest.mark.parametrize("use", USES)
    @pytest.mark.parametrize("loss", LOSSES)
    def test_no_second_derivative_is_silently_wrong(
        self, loss: str, use: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(LOSSES[loss](x))
            return x * x * x

        def backward(ctx: Any, g: Any) -> Any:
            return USES[use](g, ctx.saved_tensors[0])

        monkeypatch.setattr(Through, "forward_with", forward)
        monkeypatch.setattr(Through, "backward_with", backward)
        x = leaf(2.0)
        (g,) = rg.autograd.grad(Through.apply(x), x, create_graph=True)
        assert g.item() == 12.0
        with pytest.raises(RuntimeError, match="second derivative would lose"):
            rg.autograd.grad(g * x, x)
        # In forward mode the tangent is right, its derivative would not be.
        with fwAD.dual_level():
            y = Through.apply(fwAD.make_dual(x, rg.tensor(1.0, dtype=rg.float64)))
            tangent = fwAD.unpack_dual(y).tangent
            if use != "constant":
                assert tangent.item() == pytest.approx(12.0)
                with pytest.raises(RuntimeError, match="second derivative would lose"):
                    rg.autograd.grad(tangent, x)

    def test_only_what_depends_on_the_inputs_raises(self) -> None:
        x, z = leaf(2.0), leaf(5.0)
        (g,) = rg.autograd.grad(Double.apply(x), x, create_graph=True)
        (d,) = rg.autograd.grad(g * z, z)
        assert d.item() == 12.0

    def test_a_constant_may_be_detached_in_backward(self, monkeypatch: Any) -> None:
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x, x.abs().max())
            return x * x / x.abs().max()

        def backward(ctx: Any, g: Any) -> Any:
            x, scale = ctx.saved_tensors
            return g * 2 * x / scale.detach()

        monkeypatch.setattr(Through, "forward_with", forward)
        monkeypatch.setattr(Through, "backward_with", backward)
        x = leaf(2.0)
        (g,) = rg.autograd.grad(Through.apply(x), x, create_graph=True)
        (h,) = rg.autograd.grad(g, x)
        assert g.item() == 2.0 and h.item() == 1.0

    @pytest.mark.parametrize("keep", ["saved", "attribute", "hidden"])
    def test_first_order_is_right(self, keep: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Double, "keep", keep)
        x = leaf(2.0)
        Double.apply(x).backward()
        assert x.grad.item() == 12.0

    @pytest.mark.parametrize("keep", ["saved", "attribute", "hidden"])
    def test_second_derivative_raises(self, keep: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Double, "keep", keep)
        x = leaf(2.0)
        y = Double.apply(x)
        (g,) = rg.autograd.grad(y, x, create_graph=True)
        assert g.item() == 12.0 and rg.is_grad_enabled()
        with pytest.raises(RuntimeError, match="gradient of DoubleBackward cannot.*second deriv"):
            g.backward()
        # A plain backward still works.
        (g,) = rg.autograd.grad(Double.apply(x), x)
        assert g.item() == 12.0

    def test_returned_intermediate_is_fine(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                square = x * x
                ctx.save_for_backward(x, square)
                return square * x, square

            @staticmethod
            def backward(ctx, g, h):
                x, square = ctx.saved_tensors
                return g * 3 * square + h * 2 * x

        x = leaf(2.0)
        y, _ = F.apply(x)
        (g,) = rg.autograd.grad(y, x, create_graph=True)
        (h,) = rg.autograd.grad(g, x)
        assert g.item() == 12.0 and h.item() == 12.0

    def test_constant_intermediate_is_fine(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.mask = x.detach() > 0
                ctx.c = rg.full((), 3.0, dtype=rg.float64)
                return x * x * ctx.c * ctx.mask

            @staticmethod
            def backward(ctx, g):
                return None

        # Neither depends on x differentiably, or through a type that has gradients.
        class G(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                ctx.mask = x > 0
                ctx.c = rg.full((), 3.0, dtype=rg.float64)
                return x * x * ctx.c * ctx.mask

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return g * 2 * x * ctx.c * ctx.mask

        x = leaf(2.0)
        (g,) = rg.autograd.grad(G.apply(x), x, create_graph=True)
        (h,) = rg.autograd.grad(g, x)
        assert g.item() == 12.0 and h.item() == 6.0
        assert F.apply(x).item() == 12.0

    def test_input_kept_as_an_attribute_has_its_history(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.x = x
                return x * x * x

            @staticmethod
            def backward(ctx, g):
                return g * 3 * ctx.x * ctx.x

        x = leaf(2.0)
        a = x * 1
        (g,) = rg.autograd.grad(F.apply(a), x, create_graph=True)
        (h,) = rg.autograd.grad(g, x)
        assert h.item() == 12.0

    def test_output_kept_as_an_attribute_has_its_history(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.y = x.exp()
                return ctx.y

            @staticmethod
            def backward(ctx, g):
                return g * ctx.y

        x = leaf(0.0)
        (g,) = rg.autograd.grad(F.apply(x), x, create_graph=True)
        (h,) = rg.autograd.grad(g, x)
        assert g.item() == 1.0 and h.item() == 1.0

    def test_number_taken_from_an_input_by_item_is_a_constant(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x, s):
                ctx.s = s.item()
                return x * ctx.s

            @staticmethod
            def backward(ctx, g):
                return g * ctx.s, None

        x = leaf(2.0)
        (g,) = rg.autograd.grad(F.apply(x, rg.tensor(3.0)), x, create_graph=True)
        assert g.item() == 3.0


class Twice_(Function):
    """``2 x``, in place."""

    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx, g):
        return g * 2


class TestMarks:
    def test_mark_non_differentiable(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                y = x * 2
                order = x * 0 + 7
                ctx.mark_non_differentiable(order)
                return y, order

            @staticmethod
            def backward(ctx, g, h):
                assert h is None or not h.any()
                return g * 2

        x = leaf(1.0, 2.0)
        y, order = F.apply(x)
        assert y.requires_grad and not order.requires_grad and order.is_leaf
        y.sum().backward()
        assert x.grad.tolist() == [2.0, 2.0]

    def test_integer_outputs_are_not_differentiable(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2, (x > 0), x.to(rg.int64)

            @staticmethod
            def backward(ctx, g, a, b):
                return g * 2

        x = leaf(1.0, -2.0)
        y, mask, number = F.apply(x)
        assert y.requires_grad and not mask.requires_grad and not number.requires_grad
        y.sum().backward()
        assert x.grad.tolist() == [2.0, 2.0]

    def test_mark_dirty(self) -> None:
        class Inc(Function):
            @staticmethod
            def forward(ctx, x):
                x.add_(1)
                ctx.mark_dirty(x)
                return x

            @staticmethod
            def backward(ctx, g):
                return g * 5

        x = leaf(1.0, 2.0)
        a = x * 3
        b = Inc.apply(a)
        assert b is a and a.tolist() == [4.0, 7.0] and a._version >= 1
        assert a.grad_fn.name() == "IncBackward"
        (a * 2).sum().backward()
        assert x.grad.tolist() == [30.0, 30.0]

    def test_mark_dirty_of_a_leaf_raises(self) -> None:
        class Inc(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.mark_dirty(x)
                x.add_(1)
                return x

            @staticmethod
            def backward(ctx, g):
                return g

        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            Inc.apply(leaf(1.0))

    def test_mark_dirty_of_a_view(self) -> None:
        class Double_(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.mark_dirty(x)
                return x.mul_(2)

            @staticmethod
            def backward(ctx, g):
                return g * 2

        x = leaf(1.0, 2.0)
        a = x * 1
        Double_.apply(a[0])
        assert a.tolist() == [2.0, 2.0]
        (a * a).sum().backward()
        assert x.grad.tolist() == [8.0, 4.0]

    def test_hooks_of_a_dirty_view(self) -> None:
        x = leaf(1.0, 2.0)
        a = x * 1
        v = a[0]
        v.register_hook(lambda g: g * 10)
        Twice_.apply(v)
        a.sum().backward()
        assert x.grad.tolist() == [20.0, 1.0]

    def test_a_dirty_view_leaves_no_mark_on_its_base(self) -> None:
        x = leaf(1.0, 2.0)
        with rg.no_grad():
            Twice_.apply(x[0])
        (g,) = rg.autograd.grad(Cube.apply(x).sum(), x, create_graph=True)
        (h,) = rg.autograd.grad(g.sum(), x)
        assert h.tolist() == [12.0, 12.0]

    def test_dirty_in_forward_mode(self) -> None:
        with fwAD.dual_level():
            x = fwAD.make_dual(leaf(1.0, 2.0).detach(), leaf(1.0, 3.0).detach())
            a, b = x * 1, x * 1
            v = b[1]
            assert Twice_.apply(a) is a
            Twice_.apply(v)
            tangents = [fwAD.unpack_dual(t).tangent.tolist() for t in (a, b, v)]
        assert tangents == [[2.0, 6.0], [1.0, 6.0], 6.0]

    def test_dirty_must_be_returned(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                x.add_(1)
                ctx.mark_dirty(x)
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return g

        with pytest.raises(RuntimeError, match="marked as dirty"):
            F.apply(leaf(1.0) * 1)

    def test_write_without_mark_raises(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                x.add_(1)
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return g * 2

        with pytest.raises(RuntimeError, match="mark_dirty"):
            F.apply(leaf(1.0) * 1)

    def test_materialize_grads(self) -> None:
        seen = []

        class F(Function):
            @staticmethod
            def forward(ctx, x, materialize):
                ctx.set_materialize_grads(materialize)
                return x * 2, x * 3

            @staticmethod
            def backward(ctx, g, h):
                seen.append(h)
                return g * 2, None

        x = leaf(1.0, 2.0)
        F.apply(x, True)[0].sum().backward()
        F.apply(x, False)[0].sum().backward()
        assert seen[0].tolist() == [0.0, 0.0] and seen[1] is None
        assert x.grad.tolist() == [4.0, 4.0]
        seen.clear()


class TestInputsReturnedAsTheyAre:
    class Same(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 7

    def test_gets_the_functions_history(self) -> None:
        x = leaf(2.0)
        y = self.Same.apply(x)
        assert y is not x and y.grad_fn.name() == "SameBackward"
        y.backward()
        assert x.grad.item() == 7.0 and x.is_leaf

    def test_of_an_intermediate(self) -> None:
        x = leaf(2.0)
        a = x * 3
        y = self.Same.apply(a)
        (y + a).backward()
        assert x.grad.item() == 24.0

    def test_must_not_be_written(self) -> None:
        x = leaf(2.0)
        y = self.Same.apply(x * 1)
        with pytest.raises(RuntimeError):
            y.add_(1)

    def test_view_of_an_input(self) -> None:
        class First(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.n = x.shape[0]
                return x[0]

            @staticmethod
            def backward(ctx, g):
                return rg.cat([g.reshape(1), g.new_zeros(ctx.n - 1)])

        x = leaf(2.0, 3.0)
        y = First.apply(x)
        (y * 5).backward()
        assert x.grad.tolist() == [5.0, 0.0]


class TestWrongGradients:
    def make(self, result: Any) -> Any:
        class F(Function):
            @staticmethod
            def forward(ctx, x, y):
                return x * 2 + (y if rg.is_tensor(y) else 0)

            @staticmethod
            def backward(ctx, g):
                return result(g) if callable(result) else result

        return F

    @pytest.mark.parametrize("n", [0, 1, 3])
    def test_number(self, n: int) -> None:
        x = leaf(1.0, 2.0)
        y = self.make(lambda g: (g,) * n).apply(x, None)
        with pytest.raises(
            RuntimeError, match=f"incorrect number of gradients.*expected 2.*got {n}"
        ):
            y.sum().backward()
        assert x.grad is None

    def test_more_nones_are_harmless(self) -> None:
        x = leaf(1.0, 2.0)
        self.make(lambda g: (g, None, None, None)).apply(x, None).sum().backward()
        assert x.grad.tolist() == [1.0, 1.0]

    def test_shape(self) -> None:
        x = leaf(1.0, 2.0)
        y = self.make(lambda g: (g.new_zeros(3), None)).apply(x, None)
        with pytest.raises(RuntimeError, match="invalid gradient at index 0"):
            y.sum().backward()
        assert x.grad is None

    def test_type(self) -> None:
        x = leaf(1.0, 2.0)
        y = self.make(lambda g: (1.0, None)).apply(x, None)
        with pytest.raises((RuntimeError, TypeError), match="expected a? ?(Tensor|Variable)"):
            y.sum().backward()
        assert x.grad is None

    def test_gradient_for_what_is_not_a_tensor(self) -> None:
        x = leaf(1.0, 2.0)
        y = self.make(lambda g: (g, g)).apply(x, None)
        with pytest.raises(RuntimeError, match="not a Variable"):
            y.sum().backward()
        assert x.grad is None

    def test_none_is_no_gradient(self) -> None:
        x, z = leaf(1.0, 2.0), leaf(3.0, 4.0)
        self.make(lambda g: (None, g)).apply(x, z).sum().backward()
        assert x.grad is None and z.grad.tolist() == [1.0, 1.0]

    def test_a_gradient_for_an_input_that_needs_none_is_dropped(self) -> None:
        x, c = leaf(1.0, 2.0), rg.ones(2, dtype=rg.float64)
        self.make(lambda g: (g, g)).apply(x, c).sum().backward()
        assert c.grad is None and x.grad.tolist() == [1.0, 1.0]

    def test_forward_returns_no_tensor(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                return 5

        assert F.apply(leaf(1.0)) == 5

    def test_wrong_gradient_dtype_is_integer(self) -> None:
        x = leaf(1.0, 2.0)
        y = self.make(lambda g: (rg.ones(2, dtype=rg.int64), None)).apply(x, None)
        y.sum().backward()
        assert x.grad.dtype == rg.float64


class Boom(Exception):
    """An exception of the user's, with state."""

    def __init__(self, payload: Any) -> None:
        super().__init__("boom")
        self.payload = payload


class TestExceptions:
    class Fails(Function):
        where = "forward"

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            if TestExceptions.Fails.where == "forward":
                raise Boom("forward")
            return x * 2

        @staticmethod
        def backward(ctx, g):
            if TestExceptions.Fails.where == "backward":
                raise Boom("backward")
            return g * 2

    def test_in_forward_travel_unchanged(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self.Fails, "where", "forward")
        x = leaf(1.0)
        with pytest.raises(Boom) as info:
            self.Fails.apply(x)
        assert info.value.payload == "forward" and type(info.value) is Boom
        assert rg.is_grad_enabled() and x.grad is None
        (x * x).backward()
        assert x.grad.item() == 2.0

    def test_in_backward_travel_unchanged(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self.Fails, "where", "backward")
        x = leaf(1.0)
        y = self.Fails.apply(x * 3)
        with pytest.raises(Boom) as info:
            y.backward()
        assert info.value.payload == "backward" and type(info.value) is Boom
        assert rg.is_grad_enabled() and x.grad is None
        # The graph is as it was: mended, it runs.
        monkeypatch.setattr(self.Fails, "where", "nowhere")
        y.backward()
        assert x.grad.item() == 6.0

    def test_traceback_leads_to_the_users_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self.Fails, "where", "backward")
        with pytest.raises(Boom) as info:
            self.Fails.apply(leaf(1.0)).backward()
        names = [entry.name for entry in info.traceback]
        assert names[-1] == "backward"

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration])
    def test_base_exceptions(self, error: type[BaseException]) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                raise error

        with pytest.raises(error):
            F.apply(leaf(1.0)).backward()
        assert rg.is_grad_enabled()

    def test_in_setup_context(self) -> None:
        class F(Function):
            @staticmethod
            def forward(x):
                return x * 2

            @staticmethod
            def setup_context(ctx, inputs, output):
                raise Boom("setup")

        with pytest.raises(Boom):
            F.apply(leaf(1.0))
        assert rg.is_grad_enabled()

    def test_chained_cause_is_kept(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                try:
                    raise KeyError("inner")
                except KeyError as e:
                    raise Boom("outer") from e

        with pytest.raises(Boom) as info:
            F.apply(leaf(1.0)).backward()
        assert isinstance(info.value.__cause__, KeyError)


class TestOnceDifferentiable:
    class Once(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            assert not rg.is_grad_enabled()
            (x,) = ctx.saved_tensors
            return g * 2 * x

    def test_once(self) -> None:
        x = leaf(3.0)
        self.Once.apply(x).backward()
        assert x.grad.item() == 6.0

    def test_twice_raises_only_when_it_is_tried(self) -> None:
        x = leaf(3.0)
        (g,) = rg.autograd.grad(self.Once.apply(x), x, create_graph=True)
        assert g.item() == 6.0 and g.requires_grad
        with pytest.raises(RuntimeError, match="once_differentiable"):
            g.backward()

    def test_may_use_intermediates(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.y = x * 2
                return x * x

            @staticmethod
            @once_differentiable
            def backward(ctx, g):
                return g * ctx.y

        x = leaf(3.0)
        (g,) = rg.autograd.grad(F.apply(x), x, create_graph=True)
        assert g.item() == 6.0
        with pytest.raises(RuntimeError, match="once_differentiable"):
            rg.autograd.grad(g, x)

    def test_returning_the_cotangent_itself(self) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 1

            @staticmethod
            @once_differentiable
            def backward(ctx, g):
                return g

        x, v = leaf(3.0), leaf(2.0)
        (g,) = rg.autograd.grad(F.apply(x), x, v, create_graph=True)
        assert v.is_leaf and v.grad_fn is None
        with pytest.raises(RuntimeError, match="once_differentiable"):
            rg.autograd.grad(g, v)


class TestForwardMode:
    """Forward mode through a custom function runs its backward twice."""

    def test_jvp(self) -> None:
        x, u = rg.tensor([1.0, 2.0], dtype=rg.float64), rg.tensor([10.0, 1.0], dtype=rg.float64)
        for function in (Cube, CubeSetup):
            with fwAD.dual_level():
                y = function.apply(fwAD.make_dual(x, u))
                assert fwAD.unpack_dual(y).tangent.tolist() == [30.0, 12.0]

    def test_jvp_with_saved_output(self) -> None:
        with fwAD.dual_level():
            y = Exp.apply(fwAD.make_dual(leaf(0.0), rg.tensor(3.0, dtype=rg.float64)))
            assert fwAD.unpack_dual(y).tangent.item() == 3.0

    def test_several_inputs(self) -> None:
        class Mul(Function):
            @staticmethod
            def forward(ctx, x, k, y):
                ctx.k = k
                ctx.save_for_backward(x, y)
                return x * y * k, x + y

            @staticmethod
            def backward(ctx, g, h):
                x, y = ctx.saved_tensors
                return g * y * ctx.k + h, None, g * x * ctx.k + h

        with fwAD.dual_level():
            x = fwAD.make_dual(leaf(2.0), rg.tensor(1.0, dtype=rg.float64))
            p, s = Mul.apply(x, 10, leaf(3.0))
            assert fwAD.unpack_dual(p).tangent.item() == 30.0
            assert fwAD.unpack_dual(s).tangent.item() == 1.0

    def test_gradcheck(self) -> None:
        x = leaf(0.5, -1.0)
        assert rg.autograd.gradcheck(Cube.apply, (x,), check_forward_ad=True)
        assert rg.autograd.gradgradcheck(Cube.apply, (x,), check_fwd_over_rev=True)

    def test_an_intermediate_loses_no_term_of_a_tangent(self) -> None:
        x = leaf(2.0)
        with fwAD.dual_level():
            y = Double.apply(fwAD.make_dual(x, rg.tensor(1.0, dtype=rg.float64)))
            assert fwAD.unpack_dual(y).tangent.item() == 12.0

    def test_once_differentiable(self) -> None:
        with fwAD.dual_level():
            dual = fwAD.make_dual(leaf(3.0), rg.tensor(1.0, dtype=rg.float64))
            with pytest.raises(RuntimeError):
                TestOnceDifferentiable.Once.apply(dual)


class TestNesting:
    def test_a_function_within_a_function(self) -> None:
        class Outer(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return Cube.apply(x) * 2

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                with rg.enable_grad():
                    y = Cube.apply(x.detach().requires_grad_())
                    assert y.requires_grad
                return g * 6 * x * x

        x = leaf(2.0)
        Outer.apply(x).backward()
        assert x.grad.item() == 24.0

    def test_backward_within_backward(self) -> None:
        class Reentrant(Function):
            @staticmethod
            def forward(ctx, x):
                with rg.enable_grad():
                    ctx.x = x.detach().requires_grad_()
                    ctx.y = (ctx.x * ctx.x).sum()
                return ctx.y.detach()

            @staticmethod
            def backward(ctx, g):
                with rg.enable_grad():
                    ctx.y.backward()
                return ctx.x.grad * g

        x = leaf(1.0, 2.0)
        (Reentrant.apply(x) * 3).backward()
        assert x.grad.tolist() == [6.0, 12.0]

    def test_deeply_nested_backward(self) -> None:
        class Down(Function):
            @staticmethod
            def forward(ctx, x, n):
                ctx.n = n
                return x * 1

            @staticmethod
            def backward(ctx, g):
                if ctx.n:
                    with rg.enable_grad():
                        x = rg.ones((), requires_grad=True, dtype=rg.float64)
                        Down.apply(x, ctx.n - 1).backward()
                        assert x.grad.item() == 1.0
                return g, None

        x = leaf(1.0)
        Down.apply(x, 40).backward()
        assert x.grad.item() == 1.0

    def test_in_threads(self) -> None:
        results = []

        def work(k: float) -> None:
            x = leaf(k)
            for _ in range(50):
                Cube.apply(x).backward()
            results.append(x.grad.item() == 150 * k * k)

        threads = [threading.Thread(target=work, args=(float(k),)) for k in range(1, 6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert results == [True] * 5
