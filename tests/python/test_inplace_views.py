"""Writes in place, views, and the versions by which the engine notices them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import rustgrad as rg


def leaf(data: Any) -> Any:
    """A leaf of float64 that requires grad."""
    return rg.tensor(data, dtype=rg.float64, requires_grad=True)


def plain(data: Any) -> Any:
    """A constant of float64."""
    return rg.tensor(data, dtype=rg.float64)


def line() -> int:
    """The line of the caller."""
    return sys._getframe(1).f_lineno


MATRIX = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
SMALL = [[0.1, 0.2, -0.3], [0.4, 0.5, 0.6]]


class TestVersions:
    def test_each_write_counts(self) -> None:
        x = plain([1.0, 2.0])
        assert x._version == 0
        x.add_(1)
        assert x._version == 1
        x.mul_(2)
        x += 1
        assert x._version == 3
        x[0] = 5
        assert x._version == 4
        x.zero_()
        x.fill_(3)
        x.copy_(plain([1.0, 1.0]))
        assert x._version == 7

    def test_shared_by_base_views_and_detached(self) -> None:
        x = plain(MATRIX)
        views = [x[0], x.t(), x.view(6), x.detach(), x.data, x[:, 1:], x.unsqueeze(0)]
        views[0].add_(1)
        assert all(v._version == 1 for v in [x, *views])
        views[2].mul_(2)
        assert all(v._version == 2 for v in [x, *views])

    def test_not_shared_with_copies(self) -> None:
        x = plain(MATRIX)
        y, z = x.clone(), x.t().contiguous()
        x.add_(1)
        assert y._version == 0 and z._version == 0

    def test_reading_counts_nothing(self) -> None:
        x = plain(MATRIX)
        x.sum(), x[0], x + 1, x.tolist(), x.clone()
        assert x._version == 0

    def test_a_failed_write_counts_nothing_and_changes_nothing(self) -> None:
        x = plain([1.0, 2.0])
        for bad in (plain([1.0, 2.0, 3.0]), plain(MATRIX)):
            with pytest.raises(RuntimeError):
                x.add_(bad)
        n = rg.tensor([1, 2])
        with pytest.raises(RuntimeError, match="can't be cast"):
            n.add_(1.5)
        y = leaf([1.0, 2.0])
        with pytest.raises(RuntimeError, match="leaf"):
            y.add_(1)
        with pytest.raises(RuntimeError):
            x[0] = plain([1.0, 2.0, 3.0])
        for t in (x, n, y):
            assert t._version == 0 and t.tolist() == [1, 2]

    def test_requires_grad_and_reading_grad_count_nothing(self) -> None:
        x = leaf([1.0, 2.0])
        (x * x).sum().backward()
        assert x._version == 0

    def test_out_counts(self) -> None:
        x = plain([1.0, 2.0])
        rg.add(x, 1, out=x)
        assert x._version >= 1 and x.tolist() == [2.0, 3.0]


class TestSavedTensors:
    def test_overwritten_result(self) -> None:
        x = leaf([1.0, 2.0])
        y = x.exp()
        y.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()

    def test_overwritten_input(self) -> None:
        x = leaf([1.0, 2.0])
        y = x * 1
        z = y * y
        y.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.sum().backward()
        assert x.grad is None

    def test_a_value_nobody_reads_may_be_overwritten(self) -> None:
        x = leaf([1.0, 2.0])
        y = x * 3
        y.add_(1)
        y.mul_(2)
        y.sum().backward()
        assert x.grad.tolist() == [6.0, 6.0]

    def test_overwritten_through_a_view(self) -> None:
        x = leaf([1.0, 2.0])
        y = x.exp()
        y[0].mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()

    def test_overwritten_constant(self) -> None:
        x, c = leaf([1.0, 2.0]), plain([3.0, 4.0])
        y = x * c
        c.zero_()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()

    def test_overwritten_under_no_grad(self) -> None:
        x = leaf([1.0, 2.0])
        y = x * x
        with rg.no_grad():
            x.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()

    def test_written_back_is_still_an_error(self) -> None:
        x = leaf([1.0, 2.0])
        y = x * x
        with rg.no_grad():
            x.add_(1)
            x.sub_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()

    def test_the_error_names_saver_and_writer_with_their_lines(self) -> None:
        x = leaf([[1.0, 2.0], [3.0, 4.0]])
        y = x * 1
        saved = line() + 1
        z = y.exp()
        written = line() + 1
        z.mul_(2)
        with pytest.raises(RuntimeError) as info:
            z.sum().backward()
        text = str(info.value)
        assert "exp" in text.lower() and f"test_inplace_views.py:{saved}" in text
        assert "mul" in text and f"test_inplace_views.py:{written}" in text
        assert "version 1" in text and "version 0" in text
        assert "2, 2" in text

    def test_the_error_names_an_input(self) -> None:
        x, c = leaf([1.0, 2.0]), plain([3.0, 4.0])
        saved = line() + 1
        y = x * c
        written = line() + 1
        c[0] = 7.0
        with pytest.raises(RuntimeError) as info:
            y.sum().backward()
        text = str(info.value)
        assert f"test_inplace_views.py:{saved}" in text
        assert f"test_inplace_views.py:{written}" in text

    def test_write_after_backward_is_harmless(self) -> None:
        x = leaf([1.0, 2.0])
        y = x * x
        y.sum().backward()
        with rg.no_grad():
            x.sub_(x.grad)
        assert x.tolist() == [-1.0, -2.0]
        (x * x).sum().backward()
        assert x.grad.tolist() == [0.0, 0.0]

    def test_op_that_needs_its_old_input_keeps_it(self) -> None:
        """``x.mul_(x)`` and the like read what they overwrite."""
        for f, df in [
            (lambda t: t.mul_(t), lambda v: 2 * v),
            (lambda t: t.pow_(3), lambda v: 3 * v * v),
            (lambda t: t.sin_(), None),
            (lambda t: t.div_(t.detach().clone()), lambda v: 1 / v),
        ]:
            x = leaf([1.0, 2.0])
            y = x * 1
            f(y)
            y.sum().backward()
            if df is not None:
                assert x.grad.tolist() == [df(1.0), df(2.0)]


class TestSentences:
    """PyTorch's sentences, which users search for."""

    def test_leaf(self) -> None:
        with pytest.raises(
            RuntimeError,
            match="a leaf Variable that requires grad is being used in an in-place operation",
        ):
            leaf([1.0]).add_(1)

    def test_view_of_a_leaf(self) -> None:
        x = leaf([1.0, 2.0])
        for view in (lambda: x[0], lambda: x[:], lambda: x.view(2, 1)):
            with pytest.raises(
                RuntimeError,
                match="a view of a leaf Variable that requires grad is being used in an in-place",
            ):
                view().add_(1)
        assert x.tolist() == [1.0, 2.0]

    def test_setitem_of_a_leaf(self) -> None:
        x = leaf([1.0, 2.0])
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            x[0] = 3.0
        assert x.tolist() == [1.0, 2.0]

    def test_view_made_under_no_grad(self) -> None:
        x = leaf([1.0, 2.0])
        y = x * 1
        with rg.no_grad():
            v = y[0]
        with pytest.raises(RuntimeError, match="A view was created in no_grad mode"):
            v.mul_(2)
        with rg.no_grad():
            v.mul_(2)
        assert y.tolist() == [2.0, 2.0]

    def test_output_of_a_function_with_several_views(self) -> None:
        x = leaf([1.0, 2.0])
        for f in (
            lambda y: y.unbind(0),
            lambda y: y.split(1),
            lambda y: y.chunk(2),
        ):
            a, _ = f(x * 1)
            with pytest.raises(RuntimeError, match="returns multiple views"):
                a.mul_(2)

    def test_expanded_target(self) -> None:
        x = plain([1.0]).expand(3)
        with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
            x.add_(1)

    def test_broadcast_of_the_target(self) -> None:
        with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
            plain([1.0]).add_(plain([1.0, 2.0]))

    def test_result_type(self) -> None:
        with pytest.raises(RuntimeError, match="can't be cast to the desired output type"):
            rg.tensor([1, 2]).mul_(0.5)

    def test_modified_variable(self) -> None:
        x = leaf([1.0])
        y = x.exp()
        y.add_(1)
        with pytest.raises(
            RuntimeError,
            match="one of the variables needed for gradient computation has been modified by an "
            "inplace operation",
        ):
            y.backward()

    def test_no_grad_write_through_a_view_of_a_leaf(self) -> None:
        x = leaf([1.0, 2.0])
        with rg.no_grad():
            x[0] = 7.0
            x[1:].mul_(3)
        assert x.tolist() == [7.0, 6.0] and x.is_leaf
        (x * x).sum().backward()
        assert x.grad.tolist() == [14.0, 12.0]


VIEWS: dict[str, Callable[[Any], Any]] = {
    "select": lambda t: t[1],
    "negative": lambda t: t[-1],
    "slice": lambda t: t[:, 1:],
    "step": lambda t: t[:, ::2],
    "element": lambda t: t[0, 2],
    "ellipsis": lambda t: t[..., 1],
    "new axis": lambda t: t[None, 1],
    "t": lambda t: t.t(),
    "transpose": lambda t: t.transpose(0, 1),
    "permute": lambda t: t.permute(1, 0),
    "view": lambda t: t.view(3, 2),
    "flat": lambda t: t.view(-1),
    "reshape": lambda t: t.reshape(6),
    "unsqueeze": lambda t: t.unsqueeze(1),
    "squeeze": lambda t: t.unsqueeze(0).squeeze(0),
    "narrow": lambda t: t.narrow(1, 1, 2),
    "diagonal": lambda t: t.diagonal(),
    "chain": lambda t: t.t()[1:][:, 0],
    "unflatten": lambda t: t.view(6)[2:].view(2, 2).t(),
    "all": lambda t: t[:],
    "detour": lambda t: t.unsqueeze(0).transpose(0, 2)[1],
    "view_as": lambda t: t.view_as(t),
    "expand_as_self": lambda t: t.expand(2, 3),
}
WRITES: dict[str, Callable[[Any, Any], Any]] = {
    "mul_": lambda v, w: v.mul_(w),
    "add_ scalar": lambda v, w: v.add_(3),
    "exp_": lambda v, w: v.exp_(),
    "copy_": lambda v, w: v.copy_(v.detach() * 0 + 2 * w),
    "zero_": lambda v, w: v.zero_(),
    "fill_": lambda v, w: v.fill_(7),
    "self": lambda v, w: v.mul_(v),
}


def numeric(f: Callable[[Any], Any], data: list[Any]) -> Any:
    """The gradient of ``f`` by central differences."""
    base = plain(data)
    grads = []
    flat = base.reshape(-1)
    for k in range(flat.numel()):
        sides = []
        for sign in (1, -1):
            moved = flat.clone()
            moved[k] = moved[k].item() + sign * 1e-6
            sides.append(f(moved.reshape(base.shape)).item())
        grads.append((sides[0] - sides[1]) / 2e-6)
    return plain(grads).reshape(base.shape)


def close(a: Any, b: Any) -> None:
    """Asserts that two tensors agree to six digits."""
    assert a.shape == b.shape
    flat = zip(a.reshape(-1).tolist(), b.reshape(-1).tolist(), strict=True)
    assert all(x == pytest.approx(y, rel=1e-6, abs=1e-6) for x, y in flat), f"{a} and {b}"


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("view", VIEWS)
class TestViewsTimesWrites:
    def test_gradient_of_the_base(self, view: str, write: str) -> None:
        """Write through a view, then read the base."""
        weights = plain([[1.0, -2.0, 3.0], [0.5, 0.25, -1.0]])

        def f(x: Any) -> Any:
            y = x * 2
            v = VIEWS[view](y)
            WRITES[write](v, 1.5 * x.sum())
            return (y * y * weights).sum()

        x = leaf(SMALL)
        f(x).backward()
        close(x.grad, numeric(f, SMALL))

    def test_gradient_of_the_view_and_others(self, view: str, write: str) -> None:
        """Write to the base, then read old views; write through one, read another."""

        def f(x: Any) -> Any:
            y = x * 2
            before = VIEWS[view](y)
            other = y.view(-1)
            y.mul_(0.25)
            WRITES[write](before, x.sum())
            other.add_(x.reshape(-1))
            return (before * before).sum() + (other * other * other).sum() + VIEWS[view](y).sum()

        x = leaf(SMALL)
        if write == "exp_":
            # Its result is saved, and written through the other view.
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                f(x).backward()
            return
        f(x).backward()
        close(x.grad, numeric(f, SMALL))

    def test_second_derivative(self, view: str, write: str) -> None:
        def f(x: Any) -> Any:
            y = x * x
            WRITES[write](VIEWS[view](y), x.sum())
            return (y * y).sum()

        def g(x: Any) -> Any:
            if not x.requires_grad:
                x = x.clone().requires_grad_()
            (first,) = rg.autograd.grad(f(x), x, create_graph=True)
            return (first * first).sum() / 100

        x = leaf(SMALL)
        y = g(x)
        y.backward()
        close(x.grad, numeric(lambda t: g(t).detach(), SMALL))


class TestViewsAndHistory:
    def test_a_view_sees_the_write_to_its_base(self) -> None:
        x = leaf([1.0, 2.0])
        y = x * 1
        v = y[0]
        y.mul_(3)
        assert v.item() == 3.0
        v.backward()
        assert x.grad.tolist() == [3.0, 0.0]

    def test_a_view_of_a_constant_becomes_differentiable(self) -> None:
        x = leaf(5.0)
        y = rg.zeros(3, dtype=rg.float64)
        v = y[1:]
        assert not v.requires_grad
        y[2] = x
        assert y.requires_grad and v.requires_grad
        v.sum().backward()
        assert x.grad.item() == 1.0

    def test_a_base_becomes_differentiable_through_its_view(self) -> None:
        x = leaf([5.0, 6.0])
        y = rg.zeros(2, 2, dtype=rg.float64)
        y.t()[0].copy_(x)
        assert y.requires_grad and y.tolist() == [[5.0, 0.0], [6.0, 0.0]]
        (y * plain([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
        assert x.grad.tolist() == [1.0, 3.0]

    def test_base_of_a_view_of_a_view(self) -> None:
        x = plain(MATRIX)
        v = x.t()[1:]
        assert v._is_view() and v._base is not None and v._base.data_ptr() == x.data_ptr()
        assert v._base.shape == x.shape
        assert not x._is_view() and x._base is None

    def test_detached_views_are_cut(self) -> None:
        x = leaf([1.0, 2.0])
        y = x * 1
        d = y.detach()
        d.mul_(3)
        assert y.tolist() == [3.0, 6.0] and not d.requires_grad
        y.sum().backward()
        assert x.grad.tolist() == [1.0, 1.0]

    def test_grad_fn_of_a_view_is_renewed(self) -> None:
        x = leaf([1.0, 2.0])
        y = x * 1
        v = y[0]
        before = v.grad_fn
        y.mul_(2)
        assert v.grad_fn != before
        v.backward()
        assert x.grad.tolist() == [2.0, 0.0]

    def test_writes_in_a_loop(self) -> None:
        x = leaf([1.0, 2.0, 3.0, 4.0])
        y = x * 1
        for i in range(1, 4):
            y[i] = y[i].clone() * y[i - 1].clone()
        y.sum().backward()
        # y = [a, ab, abc, abcd]
        a, b, c, d = 1.0, 2.0, 3.0, 4.0
        want = [1 + b + b * c + b * c * d, a + a * c + a * c * d, a * b + a * b * d, a * b * c]
        assert x.grad.tolist() == want

    def test_many_writes_do_not_slow_down_quadratically(self) -> None:
        x = leaf([1.0] * 8)
        y = x * 1
        for i in range(2000):
            y[i % 8] += 1
        y.sum().backward()
        assert x.grad.tolist() == [1.0] * 8

    def test_source_and_target_overlap(self) -> None:
        x = leaf([1.0, 2.0, 3.0, 4.0])
        y = x * 1
        y[1:].mul_(y[:-1])
        assert y.tolist() == [1.0, 2.0, 6.0, 12.0]
        y.sum().backward()
        assert x.grad.tolist() == [3.0, 4.0, 6.0, 3.0]

    def test_transpose_of_itself(self) -> None:
        x = leaf([[1.0, 2.0], [3.0, 4.0]])
        y = x * 1
        y.add_(y.t())
        assert y.tolist() == [[2.0, 5.0], [5.0, 8.0]]
        y[0, 1].backward()
        assert x.grad.tolist() == [[0.0, 1.0], [1.0, 0.0]]

    def test_operator_in_place_on_an_item(self) -> None:
        x = leaf([1.0, 2.0])
        y = x * 1
        y[0] += x[1]
        y[1] *= 5
        assert y.tolist() == [3.0, 10.0]
        y.sum().backward()
        assert x.grad.tolist() == [1.0, 6.0]


class TestViewsThatAreLeaves:
    """A part of a buffer that requires grad by itself, as flat parameters do."""

    def parts(self) -> tuple[Any, Any]:
        flat = plain([1.0, 2.0, 3.0, 4.0])
        return flat, flat[:2].requires_grad_()

    def test_is_the_base_of_its_views(self) -> None:
        _, p = self.parts()
        v = p[:1]
        assert v._base is not None and v._base.requires_grad and v._base.shape == (2,)
        with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
            v.mul_(2)
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
            p[0] = 5.0
        assert p.tolist() == [1.0, 2.0]

    def test_its_views_keep_their_history_when_it_is_written(self) -> None:
        flat, p = self.parts()
        v, w = p.view(2, 1), p[1]
        with rg.no_grad():
            p.mul_(2)
            flat.add_(1)
        assert v.requires_grad and v.tolist() == [[3.0], [5.0]]
        ((v * v).sum() + w).backward()
        assert p.grad.tolist() == [6.0, 11.0]

    def test_a_write_after_it_requires_grad_no_more_reaches_the_buffer(self) -> None:
        flat, p = self.parts()
        v = p[1:]
        p.requires_grad_(False)
        x = leaf([5.0])
        v.mul_(x)
        assert flat.tolist() == [1.0, 10.0, 3.0, 4.0] and flat.requires_grad and p.requires_grad
        (flat.sum() + 10 * p.sum() + 100 * v.sum()).backward()
        assert x.grad.tolist() == [222.0]

    def test_a_view_whose_base_requires_grad_no_more_is_constant(self) -> None:
        x = leaf([1.0, 2.0])
        v = x[:1]
        x.requires_grad_(False)
        x.mul_(3)
        assert v.is_leaf and not v.requires_grad and (v * 2).grad_fn is None
        v.requires_grad_()
        (v * v).backward()
        assert v.grad.tolist() == [6.0] and x.grad is None


class TestGradientsOfWrittenBases:
    """What a view holds after a write is part of its base."""

    def test_gradient_through_the_written_view(self) -> None:
        x = leaf([1.0, 2.0])
        y = x * 1
        v = y[0]
        v.mul_(3)
        (g,) = rg.autograd.grad(v, y)
        assert g.tolist() == [1.0, 0.0]

    def test_retained_and_hooked(self) -> None:
        x = leaf([1.0, 2.0])
        y = x * 1
        v = y[1]
        v.mul_(3)
        y.retain_grad()
        y.register_hook(lambda g: g * 2)
        v.backward()
        assert y.grad.tolist() == [0.0, 2.0] and x.grad.tolist() == [0.0, 6.0]

    def test_a_retained_gradient_of_a_view_follows_a_write(self) -> None:
        x = leaf([1.0, 2.0])
        y = x * 1
        v = y[1]
        v.retain_grad()
        y.mul_(3)
        (v * 5).backward()
        assert v.grad.item() == 5.0 and x.grad.tolist() == [0.0, 15.0]


class TestAmbiguousOperands:
    """A view from no_grad whose base was written cannot be read; nothing is written then."""

    def operands(self) -> tuple[Any, Any]:
        y = leaf([1.0, 2.0]) * 1
        with rg.no_grad():
            v = y[:]
        y.mul_(2)
        return v, plain([3.0, 4.0])

    @pytest.mark.parametrize("name", ["mul_", "add_", "copy_", "div_"])
    def test_a_refused_write_changes_nothing(self, name: str) -> None:
        v, z = self.operands()
        with pytest.raises(RuntimeError, match="A view was created in no_grad mode"):
            getattr(z, name)(v)
        assert z.tolist() == [3.0, 4.0] and z._version == 0 and not z.requires_grad

    def test_may_be_read_and_written_without_recording(self) -> None:
        v, z = self.operands()
        with rg.no_grad():
            z.mul_(v)
            v *= v
        assert z.tolist() == [6.0, 16.0] and v.tolist() == [4.0, 16.0]


class TestSetitem:
    def run(self, f: Callable[[Any, Any], None], value: list[Any] | float) -> tuple[Any, Any, Any]:
        """Sets items of a 2x3 matrix; the gradients of the weighted sum of all elements."""
        x, v = leaf(MATRIX), leaf(value)
        weights = plain([[1.0, 10.0, 100.0], [1e3, 1e4, 1e5]])
        y = x * 1
        f(y, v)
        (y * weights).sum().backward()
        return y, x.grad, v.grad

    def test_row(self) -> None:
        def f(y: Any, v: Any) -> None:
            y[1] = v

        y, gx, gv = self.run(f, [7.0, 8.0, 9.0])
        assert y.tolist() == [[1.0, 2.0, 3.0], [7.0, 8.0, 9.0]]
        assert gx.tolist() == [[1.0, 10.0, 100.0], [0.0, 0.0, 0.0]]
        assert gv.tolist() == [1e3, 1e4, 1e5]

    def test_broadcast_value(self) -> None:
        def f(y: Any, v: Any) -> None:
            y[:, 1:] = v

        y, gx, gv = self.run(f, 7.0)
        assert y.tolist() == [[1.0, 7.0, 7.0], [4.0, 7.0, 7.0]]
        assert gx.tolist() == [[1.0, 0.0, 0.0], [1e3, 0.0, 0.0]]
        assert gv.item() == 10 + 100 + 1e4 + 1e5

    def test_leading_ones_of_the_value(self) -> None:
        def f(y: Any, v: Any) -> None:
            y[0] = v

        _, _, gv = self.run(f, [[7.0, 8.0, 9.0]])
        assert gv.tolist() == [[1.0, 10.0, 100.0]]

    def test_mask(self) -> None:
        def f(y: Any, v: Any) -> None:
            y[y > 3.5] = v

        y, gx, gv = self.run(f, [7.0, 8.0, 9.0])
        assert y.tolist() == [[1.0, 2.0, 3.0], [7.0, 8.0, 9.0]]
        assert gx.tolist() == [[1.0, 10.0, 100.0], [0.0, 0.0, 0.0]]
        assert gv.tolist() == [1e3, 1e4, 1e5]

    def test_mask_with_a_number(self) -> None:
        x = leaf(MATRIX)
        y = x * 1
        y[y > 3.5] = 0
        (y * y).sum().backward()
        assert x.grad.tolist() == [[2.0, 4.0, 6.0], [0.0, 0.0, 0.0]]

    def test_index_tensor(self) -> None:
        def f(y: Any, v: Any) -> None:
            y[rg.tensor([1, 0]), rg.tensor([2, 0])] = v

        y, gx, gv = self.run(f, [7.0, 8.0])
        assert y.tolist() == [[8.0, 2.0, 3.0], [4.0, 5.0, 7.0]]
        assert gx.tolist() == [[0.0, 10.0, 100.0], [1e3, 1e4, 0.0]]
        assert gv.tolist() == [1e5, 1.0]

    def test_list_index(self) -> None:
        def f(y: Any, v: Any) -> None:
            y[:, [0, 2]] = v

        y, _, gv = self.run(f, [7.0, 8.0])
        assert y.tolist() == [[7.0, 2.0, 8.0], [7.0, 5.0, 8.0]]
        assert gv.tolist() == [1001.0, 100100.0]

    def test_tensor_into_an_integer_tensor_is_cut(self) -> None:
        n = rg.tensor([1, 2, 3])
        n[0] = rg.tensor(7.9)
        n[1] = 5
        assert n.tolist() == [7, 5, 3] and n.dtype == rg.int64

    def test_wrong_shape(self) -> None:
        y = plain(MATRIX)
        with pytest.raises(RuntimeError):
            y[0] = plain([1.0, 2.0])
        with pytest.raises(IndexError):
            y[2] = 1.0
        with pytest.raises(IndexError):
            y[0, 0, 0] = 1.0
        assert y.tolist() == MATRIX

    def test_parts_of_what_overlaps(self) -> None:
        x = plain([[1.0], [2.0]])
        y = x.expand(2, 3)
        y[0, 1] = 5.0
        y[1, 0] *= 2
        assert x.tolist() == [[5.0], [4.0]]
        windows = plain([1.0, 2.0, 3.0]).unfold(0, 2, 1)
        windows[:, 0] = 7.0
        assert windows.tolist() == [[7.0, 7.0], [7.0, 3.0]]
        with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
            y[0] = 5.0
        with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
            y[y > 4.5] = 0.0
        assert x.tolist() == [[5.0], [4.0]]

    def test_returns_to_the_same_storage(self) -> None:
        y = plain(MATRIX)
        p = y.data_ptr()
        y[0, 0] = 9.0
        y[y > 100] = 0.0
        assert y.data_ptr() == p and y[0, 0].item() == 9.0


class TestOperators:
    def test_in_place_operators_return_the_same_object(self) -> None:
        x = leaf([1.0, 2.0])
        y = x * 1
        z = y
        y += 1
        y *= 2
        y /= 4
        y -= 1
        assert z is y
        y.sum().backward()
        assert x.grad.tolist() == [0.5, 0.5]

    def test_power_and_floor(self) -> None:
        y = plain([5.0, 7.0])
        z = y
        y **= 2
        assert z is y and y.tolist() == [25.0, 49.0]
        y //= 2
        assert z is y and y.tolist() == [12.0, 24.0]
        y %= 5
        assert z is y and y.tolist() == [2.0, 4.0]

    def test_integer_tensors(self) -> None:
        y = rg.tensor([6, 3])
        z = y
        y &= 2
        assert z is y and y.tolist() == [2, 2]
        y |= 1
        y ^= 2
        y <<= 3
        y >>= 1
        assert z is y and y.tolist() == [4, 4]

    def test_unsupported_operand(self) -> None:
        y = plain([5.0])
        with pytest.raises(TypeError):
            y += "text"
        with pytest.raises(TypeError):
            y -= None


class TestShapeInPlace:
    def test_squeeze_unsqueeze_transpose(self) -> None:
        x = leaf(MATRIX)
        y = x * 1
        assert y.unsqueeze_(0) is y and y.shape == (1, 2, 3)
        assert y.squeeze_(0) is y and y.shape == (2, 3)
        assert y.t_() is y and y.shape == (3, 2)
        assert y.transpose_(0, 1) is y and y.shape == (2, 3)
        (y * y).sum().backward()
        assert x.grad.tolist() == [[2.0, 4.0, 6.0], [8.0, 10.0, 12.0]]

    def test_requires_grad_is_kept_by_writes(self) -> None:
        y = rg.zeros(2, dtype=rg.float64)
        y.add_(leaf([1.0, 2.0]))
        assert y.requires_grad and not y.is_leaf
        assert y.grad_fn is not None

    def test_write_of_a_constant_cuts_the_gradient(self) -> None:
        x = leaf([1.0, 2.0])
        y = x * 3
        y.zero_()
        y.sum().backward()
        assert x.grad is None or x.grad.tolist() == [0.0, 0.0]
        z = x * 3
        z.copy_(plain([5.0, 6.0]))
        (z * z).sum().backward()
        assert x.grad is None or x.grad.tolist() == [0.0, 0.0]


class TestOtherData:
    """A base that was given other elements by assigning to `.data`."""

    def test_a_recorded_write_to_an_old_view_is_refused(self) -> None:
        w = rg.ones(2, dtype=rg.float64, requires_grad=True)
        h = w * 1
        v = h[0]
        h.data = rg.zeros(2, dtype=rg.float64)
        with pytest.raises(RuntimeError, match=r"assigning to \.data.*SelectBackward0"):
            v.mul_(3)
        assert v.item() == 1.0 and h.tolist() == [0.0, 0.0]
        h.sum().backward()
        assert w.grad.tolist() == [1.0, 1.0]

    def test_new_views_may_be_written(self) -> None:
        w = rg.ones(2, dtype=rg.float64, requires_grad=True)
        h = w * 1
        h.data = rg.full((2,), 5.0, dtype=rg.float64)
        h[0].mul_(3)
        h.sum().backward()
        assert h.tolist() == [15.0, 5.0] and w.grad.tolist() == [3.0, 1.0]

    def test_writes_that_are_not_recorded_are_free(self) -> None:
        p = rg.ones(2)
        v = p[0]
        p.data = rg.zeros(2)
        v.add_(1)
        assert v.item() == 2.0 and p.tolist() == [0.0, 0.0]


def test_a_reshape_that_copies_is_no_view():
    x = rg.ones(2, 3, requires_grad=True)
    copy = x.t().reshape(6)
    assert not copy._is_view() and copy._base is None and x.reshape(6)._is_view()
    assert not x.t().flatten()._is_view()
    copy.mul_(rg.arange(6.0))
    copy.sum().backward()
    assert x.grad.tolist() == [[0, 2, 4], [1, 3, 5]]
    assert not copy.detach_().requires_grad
