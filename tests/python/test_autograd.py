"""What the engine promises: backward, grad, modes, leaves, nodes."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import rustgrad as rg


def leaf(*values: float) -> Any:
    """A leaf of float64 that requires grad; 0-d for a single value."""
    data = values[0] if len(values) == 1 else list(values)
    return rg.tensor(data, dtype=rg.float64, requires_grad=True)


def here() -> int:
    """The line of the caller."""
    import sys

    return sys._getframe(1).f_lineno


class TestBackward:
    def test_adds_to_the_gradient_of_each_leaf(self) -> None:
        x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
        (x * y).sum().backward()
        assert x.grad.tolist() == [3.0, 4.0]
        assert y.grad.tolist() == [1.0, 2.0]

    def test_returns_nothing(self) -> None:
        assert leaf(1.0).mul(2).backward() is None

    def test_accumulates_over_calls(self) -> None:
        x = leaf(2.0)
        for _ in range(3):
            (x * x).backward()
        assert x.grad.item() == 12.0

    def test_a_tensor_used_many_times_gets_the_sum(self) -> None:
        x = leaf(3.0)
        y = x * x + x * x * x + x
        y.backward()
        assert x.grad.item() == 6 + 27 + 1

    def test_the_same_tensor_twice_in_an_op(self) -> None:
        x = leaf(3.0)
        (x / x + x - x).backward()
        assert x.grad.item() == 0.0

    def test_needs_a_gradient_for_more_than_one_element(self) -> None:
        x = leaf(1.0, 2.0)
        with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar"):
            (x * 2).backward()
        assert x.grad is None

    def test_takes_a_gradient(self) -> None:
        x = leaf(1.0, 2.0)
        (x * x).backward(rg.tensor([10.0, 100.0], dtype=rg.float64))
        assert x.grad.tolist() == [20.0, 400.0]

    def test_one_element_of_any_shape_needs_none(self) -> None:
        x = rg.ones(1, 1, 1, requires_grad=True)
        (x * 5).backward()
        assert x.grad.tolist() == [[[5.0]]]

    def test_gradient_of_another_shape(self) -> None:
        x = leaf(1.0, 2.0)
        with pytest.raises(RuntimeError, match="Mismatch in shape"):
            (x * x).backward(rg.ones(3, dtype=rg.float64))
        with pytest.raises(RuntimeError, match="Mismatch in shape"):
            (x * x).backward(rg.ones((), dtype=rg.float64))

    def test_gradient_of_another_kind(self) -> None:
        with pytest.raises(TypeError):
            (leaf(1.0) * 2).backward(1.0)
        with pytest.raises(TypeError):
            rg.autograd.backward([leaf(1.0) * 2], [1.0])

    def test_of_a_tensor_without_history(self) -> None:
        with pytest.raises(RuntimeError, match="does not require grad and does not have a grad_fn"):
            rg.ones(()).backward()

    def test_of_a_leaf_itself(self) -> None:
        x = leaf(1.0)
        x.backward()
        assert x.grad.item() == 1.0
        x.backward(rg.tensor(4.0, dtype=rg.float64))
        assert x.grad.item() == 5.0

    def test_of_several_tensors(self) -> None:
        x = leaf(2.0)
        rg.autograd.backward([x * 3, x * x], [None, rg.tensor(10.0, dtype=rg.float64)])
        assert x.grad.item() == 43.0

    def test_of_the_same_tensor_twice(self) -> None:
        x = leaf(2.0)
        y = x * 3
        rg.autograd.backward([y, y])
        assert x.grad.item() == 6.0

    def test_of_a_tensor_and_its_ancestor(self) -> None:
        x = leaf(2.0)
        y = x * 3
        z = y * y
        rg.autograd.backward([z, y])
        assert x.grad.item() == 2 * 6 * 3 + 3

    def test_lengths_must_agree(self) -> None:
        x = leaf(2.0)
        with pytest.raises(RuntimeError):
            rg.autograd.backward([x * 1, x * 2], [None])

    def test_skips_what_requires_no_grad(self) -> None:
        x, c = leaf(2.0), rg.tensor(5.0, dtype=rg.float64)
        (x * c).backward()
        assert c.grad is None and not c.requires_grad

    def test_a_root_that_is_a_leaf_but_no_target_accumulates_nothing(self) -> None:
        x, y = rg.ones(1, requires_grad=True), rg.ones(1, requires_grad=True)
        rg.autograd.backward([x, 2 * y], [rg.ones(1), rg.ones(1)], inputs=[y])
        assert x.grad is None and y.grad.item() == 2
        rg.autograd.backward([x], [rg.ones(1)], inputs=[x])
        assert x.grad.item() == 1

    def test_broadcast_inputs_get_sums(self) -> None:
        x = rg.ones(3, 1, requires_grad=True)
        y = rg.ones(4, requires_grad=True)
        z = rg.ones((), requires_grad=True)
        (x * y * z).sum().backward()
        assert x.grad.tolist() == [[4.0]] * 3
        assert y.grad.tolist() == [3.0] * 4
        assert z.grad.item() == 12.0

    def test_gradients_have_the_dtype_of_their_tensor(self) -> None:
        x = rg.ones(2, dtype=rg.float32, requires_grad=True)
        y = rg.ones(2, dtype=rg.float64, requires_grad=True)
        (x * y).sum().backward()
        assert x.grad.dtype == rg.float32 and y.grad.dtype == rg.float64


class TestInputs:
    def test_only_those_get_a_gradient(self) -> None:
        x, y = leaf(2.0), leaf(3.0)
        (x * y).backward(inputs=[x])
        assert x.grad.item() == 3.0 and y.grad is None

    def test_may_be_a_single_tensor(self) -> None:
        x, y = leaf(2.0), leaf(3.0)
        (x * y).backward(inputs=y)
        assert y.grad.item() == 2.0 and x.grad is None

    def test_accumulate(self) -> None:
        x = leaf(2.0)
        for _ in range(2):
            (x * x).backward(inputs=[x])
        assert x.grad.item() == 8.0

    def test_may_be_intermediate(self) -> None:
        x = leaf(2.0)
        y = x * 3
        y.retain_grad()
        (y * y).backward(inputs=[y])
        assert y.grad.item() == 12.0 and x.grad is None

    def test_must_not_be_empty(self) -> None:
        with pytest.raises(RuntimeError, match="cannot be empty"):
            (leaf(2.0) * 1).backward(inputs=[])


class TestGraphLifetime:
    def test_a_second_backward_raises(self) -> None:
        x = leaf(2.0)
        y = x * x
        y.backward()
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            y.backward()
        assert x.grad.item() == 4.0

    def test_the_error_names_the_line_that_freed_and_the_line_that_recorded(self) -> None:
        x = leaf(2.0)
        recorded = here() + 1
        y = x * x
        freed = here() + 1
        y.backward()
        with pytest.raises(RuntimeError) as info:
            y.backward()
        text = str(info.value)
        assert f"test_autograd.py:{freed}" in text
        assert f"test_autograd.py:{recorded}" in text
        assert "MulBackward0" in text

    @pytest.mark.parametrize(
        ("op", "needs", "writes"),
        [
            (lambda a, b: a @ b, "b", "b"),
            (lambda a, b: a @ b, "a", "a"),
            (lambda a, b: a * b, "a", "a"),
            (lambda a, b: a / b, "a", "a"),
            (lambda a, b: a + b, "ab", "ab"),
            (lambda a, b: (a - b).sum(0).view(-1), "ab", "ab"),
            (lambda a, b: rg.where(a > 0, a, b), "ab", "ab"),
        ],
    )
    def test_only_what_a_gradient_reads_is_saved(self, op: Any, needs: str, writes: str) -> None:
        """What no gradient reads may be overwritten before backward, and the gradient is right."""

        def gradients(write: bool) -> list[Any]:
            named = {n: rg.arange(1.0, 5.0).reshape(2, 2) for n in "ab"}
            for n in needs:
                named[n].requires_grad_()
            # Copies with history, which may be written.
            a, b = (named[n] * 1 for n in "ab")
            y = op(a, b)
            if write:
                with rg.no_grad():
                    for n, t in (("a", a), ("b", b)):
                        if n in writes:
                            t.zero_()
            y.sum().backward()
            return [named[n].grad for n in needs]

        assert all(map(rg.equal, gradients(False), gradients(True)))

    def test_ops_that_save_nothing_can_run_twice(self) -> None:
        x = leaf(2.0)
        y = x + x
        y.backward()
        y.backward()
        assert x.grad.item() == 4.0

    def test_retain_graph(self) -> None:
        x = leaf(2.0)
        y = x * x
        y.backward(retain_graph=True)
        y.backward(retain_graph=True)
        y.backward()
        assert x.grad.item() == 12.0
        with pytest.raises(RuntimeError, match="second time"):
            y.backward()

    def test_a_shared_part_is_freed(self) -> None:
        x = leaf(2.0)
        shared = x * x
        (shared * 2).backward()
        with pytest.raises(RuntimeError, match="second time"):
            (shared * 3).backward()

    def test_create_graph_retains(self) -> None:
        x = leaf(2.0)
        y = x * x * x
        (g,) = rg.autograd.grad(y, x, create_graph=True)
        (h,) = rg.autograd.grad(y, x)
        assert g.item() == h.item() == 12.0

    def test_grad_frees_too(self) -> None:
        x = leaf(2.0)
        y = x * x
        rg.autograd.grad(y, x)
        with pytest.raises(RuntimeError, match="second time"):
            rg.autograd.grad(y, x)

    def test_after_a_failed_backward_the_rest_of_the_graph_is_usable(self) -> None:
        x = leaf(2.0)
        a = x * 2
        b = a.exp()
        with rg.no_grad():
            b.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            (b * 1).backward()
        assert x.grad is None
        (a * a).backward()
        assert x.grad.item() == 16.0


class TestCreateGraph:
    def test_all_orders_of_a_power(self) -> None:
        x = leaf(1.5)
        y = x * x * x * x
        want = [4 * 1.5**3, 12 * 1.5**2, 24 * 1.5, 24.0, 0.0]
        for w in want:
            (y,) = rg.autograd.grad(y, x, create_graph=True, allow_unused=True)
            assert y is not None and y.item() == pytest.approx(w)
            if not y.requires_grad:
                break

    def test_backward_of_a_gradient(self) -> None:
        x = leaf(3.0)
        (g,) = rg.autograd.grad(x * x * x, x, create_graph=True)
        assert g.requires_grad
        g.backward()
        assert x.grad.item() == 18.0

    def test_backward_with_create_graph_gives_a_recorded_gradient(self) -> None:
        x = leaf(3.0)
        (x * x * x).backward(create_graph=True)
        assert x.grad.requires_grad
        g = x.grad
        x.grad = None
        g.backward()
        assert x.grad.item() == 18.0
        del g
        x.grad = None

    def test_without_it_gradients_have_no_history(self) -> None:
        x = leaf(3.0)
        (g,) = rg.autograd.grad(x * x, x)
        assert not g.requires_grad and g.grad_fn is None

    def test_gradient_of_the_cotangent(self) -> None:
        x, v = leaf(3.0), leaf(5.0)
        (g,) = rg.autograd.grad(x * x, x, v, create_graph=True)
        gx, gv = rg.autograd.grad(g, [x, v])
        assert gx.item() == 10.0 and gv.item() == 6.0

    def test_hessian_vector_product(self) -> None:
        x = leaf(1.0, 2.0, 3.0)
        v = rg.tensor([1.0, -1.0, 2.0], dtype=rg.float64)
        y = (x * x * x).sum() + x.sum() * x.sum()
        (g,) = rg.autograd.grad(y, x, create_graph=True)
        (hv,) = rg.autograd.grad(g, x, v)
        total = 2 * v.sum().item()
        want = [6 * a * b + total for a, b in zip([1, 2, 3], v.tolist(), strict=True)]
        assert hv.tolist() == want


class TestGrad:
    def test_does_not_touch_grad(self) -> None:
        x = leaf(2.0)
        (g,) = rg.autograd.grad(x * x, x)
        assert g.item() == 4.0 and x.grad is None

    def test_returns_a_tuple_for_one_input(self) -> None:
        x = leaf(2.0)
        assert isinstance(rg.autograd.grad(x * x, x), tuple)

    def test_of_an_intermediate(self) -> None:
        x = leaf(2.0)
        y = x * 3
        gy, gx = rg.autograd.grad(y * y, [y, x])
        assert gy.item() == 12.0 and gx.item() == 36.0

    def test_of_the_output_itself(self) -> None:
        x = leaf(2.0)
        y = x * 3
        (g,) = rg.autograd.grad(y, y)
        assert g.item() == 1.0

    def test_of_the_same_input_twice(self) -> None:
        x = leaf(2.0)
        a, b = rg.autograd.grad(x * x, [x, x])
        assert a.item() == b.item() == 4.0

    def test_of_an_input_and_its_alias_in_another_branch(self) -> None:
        x = leaf(2.0, 3.0)
        a, b = x * 1, x * 2
        ga, gb = rg.autograd.grad((a * b).sum(), [a, b])
        assert ga.tolist() == [4.0, 6.0] and gb.tolist() == [2.0, 3.0]

    def test_unused_raises(self) -> None:
        x, y = leaf(2.0), leaf(3.0)
        with pytest.raises(RuntimeError, match="not have been used in the graph"):
            rg.autograd.grad(x * x, [x, y])

    def test_allow_unused(self) -> None:
        x, y = leaf(2.0), leaf(3.0)
        gx, gy = rg.autograd.grad(x * x, [x, y], allow_unused=True)
        assert gx.item() == 4.0 and gy is None

    def test_materialize_grads(self) -> None:
        x, y = leaf(2.0), leaf(3.0, 4.0)
        gx, gy = rg.autograd.grad(x * x, [x, y], materialize_grads=True)
        assert gx.item() == 4.0 and gy.tolist() == [0.0, 0.0] and gy.dtype == rg.float64

    def test_materialize_grads_without_allow_unused(self) -> None:
        x = leaf(2.0)
        with pytest.raises(ValueError, match="materialize_grads"):
            rg.autograd.grad(x * x, x, allow_unused=False, materialize_grads=True)

    def test_input_without_grad_raises(self) -> None:
        x, c = leaf(2.0), rg.tensor(1.0, dtype=rg.float64)
        with pytest.raises(RuntimeError, match="does not require grad"):
            rg.autograd.grad(x * c, c)

    def test_several_outputs(self) -> None:
        x = leaf(2.0)
        (g,) = rg.autograd.grad([x * 3, x * x], x, [None, rg.tensor(2.0, dtype=rg.float64)])
        assert g.item() == 11.0

    def test_grad_outputs_of_one_output_may_be_bare(self) -> None:
        x = leaf(1.0, 2.0)
        v = rg.tensor([1.0, 10.0], dtype=rg.float64)
        (g,) = rg.autograd.grad(x * x, x, v)
        assert g.tolist() == [2.0, 40.0]

    def test_computes_only_what_is_asked(self) -> None:
        x, y = leaf(2.0), leaf(3.0)
        bad = y.exp()
        with rg.no_grad():
            bad.add_(1)
        # The path to y would raise, but no gradient of y is asked for.
        (g,) = rg.autograd.grad(x * x + bad, x)
        assert g.item() == 4.0

    def test_is_grads_batched(self) -> None:
        x = leaf(1.0, 2.0, 3.0)
        rows = rg.eye(3, dtype=rg.float64)
        (jacobian,) = rg.autograd.grad(x * x, x, rows, is_grads_batched=True)
        assert jacobian.tolist() == [[2.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 6.0]]


class TestGradAttribute:
    def test_accumulates_in_place_so_that_aliases_see_it(self) -> None:
        x = leaf(1.0, 2.0)
        (x * 2).sum().backward()
        alias = x.grad
        (x * 3).sum().backward()
        assert alias.tolist() == [5.0, 5.0]
        assert alias.data_ptr() == x.grad.data_ptr()

    def test_does_not_share_memory_with_the_given_gradient(self) -> None:
        x = leaf(1.0, 2.0)
        v = rg.tensor([1.0, 1.0], dtype=rg.float64)
        x.backward(v)
        x.backward(v)
        assert v.tolist() == [1.0, 1.0] and x.grad.tolist() == [2.0, 2.0]

    def test_two_leaves_do_not_share_a_gradient(self) -> None:
        x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
        (x + y).sum().backward()
        x.grad.mul_(10)
        assert y.grad.tolist() == [1.0, 1.0]
        (x + y).sum().backward()
        assert x.grad.tolist() == [11.0, 11.0] and y.grad.tolist() == [2.0, 2.0]

    def test_with_create_graph_the_old_gradient_stays_as_it_was(self) -> None:
        x = leaf(2.0)
        (x * x).backward()
        old = x.grad
        (x * x).backward(create_graph=True)
        assert old.item() == 4.0 and x.grad.item() == 8.0
        x.grad = None

    def test_a_new_object_for_the_same_gradient(self) -> None:
        x = leaf(2.0)
        (x * x).backward()
        x.grad.zero_()
        assert x.grad.item() == 0.0

    def test_can_be_assigned_and_removed(self) -> None:
        x = leaf(1.0, 2.0)
        x.grad = rg.tensor([5.0, 6.0], dtype=rg.float64)
        (x * 1).sum().backward()
        assert x.grad.tolist() == [6.0, 7.0]
        x.grad = None
        assert x.grad is None
        x.sum().backward()
        del x.grad
        assert x.grad is None

    def test_must_fit(self) -> None:
        x = leaf(1.0, 2.0)
        with pytest.raises(RuntimeError, match="size"):
            x.grad = rg.ones(3, dtype=rg.float64)
        with pytest.raises(RuntimeError, match="type"):
            x.grad = rg.ones(2, dtype=rg.float32)
        with pytest.raises(RuntimeError, match="own grad"):
            x.grad = x
        with pytest.raises(TypeError):
            x.grad = [1.0, 2.0]
        assert x.grad is None

    def test_of_a_tensor_that_needs_none(self) -> None:
        assert rg.ones(2).grad is None

    def test_zero_gradients_through_a_dead_branch(self) -> None:
        x = leaf(2.0)
        (x * 0 * 5).backward()
        assert x.grad.item() == 0.0

    @pytest.mark.parametrize("name", ["floor", "sign", "round", "trunc", "ceil", "zero_"])
    def test_a_gradient_of_zero_is_zeros_and_not_missing(self, name: str) -> None:
        x = leaf(1.25, 2.5)
        getattr(x * 1, name)().sum().backward()
        assert x.grad is not None and x.grad.tolist() == [0.0, 0.0]
        (g,) = rg.autograd.grad(getattr(x * 1, name)().sum(), x)
        assert g.tolist() == [0.0, 0.0]

    def test_undefined_gradients_leave_grad_alone(self) -> None:
        x, y = leaf(2.0), leaf(3.0)
        (x * y.detach()).backward()
        assert y.grad is None
        a = rg.stack([x, y])
        b = a.unbind(0)
        b[0].backward()
        assert y.grad is None or y.grad.item() == 0.0
        assert x.grad.item() == 4.0


class TestRetainGrad:
    def test_of_an_intermediate(self) -> None:
        x = leaf(2.0)
        y = x * 3
        assert not y.retains_grad
        y.retain_grad()
        assert y.retains_grad
        (y * y).backward()
        assert y.grad.item() == 12.0 and x.grad.item() == 36.0

    def test_without_it_there_is_none(self) -> None:
        x = leaf(2.0)
        y = x * 3
        (y * y).backward()
        assert y.grad is None

    def test_of_a_leaf_changes_nothing(self) -> None:
        x = leaf(2.0)
        x.retain_grad()
        assert not x.retains_grad
        (x * x).backward()
        assert x.grad.item() == 4.0

    def test_twice_counts_once(self) -> None:
        x = leaf(2.0)
        y = x * 3
        y.retain_grad()
        y.retain_grad()
        (y * y).backward()
        assert y.grad.item() == 12.0

    def test_accumulates(self) -> None:
        x = leaf(2.0)
        y = x * 3
        y.retain_grad()
        (y * y).backward(retain_graph=True)
        (y * y).backward()
        assert y.grad.item() == 24.0

    def test_needs_requires_grad(self) -> None:
        with pytest.raises(RuntimeError, match="can't retain_grad"):
            rg.ones(2).retain_grad()

    def test_follows_a_write_in_place(self) -> None:
        x = leaf(2.0)
        y = x * 3
        y.retain_grad()
        y.mul_(5)
        (y * 7).backward()
        assert y.grad.item() == 7.0 and x.grad.item() == 105.0


class TestLeaves:
    def test_flags(self) -> None:
        x = leaf(2.0)
        y = x * 2
        c = rg.ones(2)
        assert x.is_leaf and x.grad_fn is None and x.requires_grad
        assert not y.is_leaf and y.grad_fn is not None and y.requires_grad
        assert c.is_leaf and c.grad_fn is None and not c.requires_grad
        assert (c * 2).is_leaf

    def test_requires_grad_(self) -> None:
        x = rg.ones(2)
        assert x.requires_grad_() is x and x.requires_grad
        assert x.requires_grad_(False) is x and not x.requires_grad
        x.requires_grad = True
        assert x.requires_grad

    def test_only_floats(self) -> None:
        with pytest.raises(RuntimeError, match="floating point"):
            rg.ones(2, dtype=rg.int64).requires_grad_()
        with pytest.raises(RuntimeError, match="floating point"):
            rg.tensor([1, 2], requires_grad=True)
        with pytest.raises(RuntimeError, match="floating point"):
            rg.tensor([True]).requires_grad = True

    def test_flag_of_a_result_cannot_be_cleared(self) -> None:
        y = leaf(2.0) * 2
        with pytest.raises(RuntimeError, match="leaf variables"):
            y.requires_grad = False
        assert y.requires_grad

    def test_flag_cleared_after_use(self) -> None:
        x = leaf(2.0)
        y = x * x
        x.requires_grad_(False)
        y.backward()
        assert x.grad is None

    def test_integer_results_are_never_recorded(self) -> None:
        x = leaf(1.0, 5.0)
        for y in (x > 2, x.argmax(), x.to(rg.int64)):
            assert not y.requires_grad and y.is_leaf


class TestNodes:
    def test_names(self) -> None:
        x = leaf(1.0, 2.0)
        assert (x * x).grad_fn.name() == "MulBackward0"
        assert (x + 1).grad_fn.name() == "AddBackward0"
        assert x.exp().grad_fn.name() == "ExpBackward0"
        assert x.sum().grad_fn.name() == "SumBackward0"

    def test_next_functions(self) -> None:
        x, y = leaf(2.0), leaf(3.0)
        c = rg.tensor(1.0, dtype=rg.float64)
        z = (x * y) + c
        (mul, n), (none, m) = z.grad_fn.next_functions
        assert mul.name() == "MulBackward0" and n == 0
        assert none is None and m == 0
        (ax, _), (ay, _) = mul.next_functions
        assert "AccumulateGrad" in ax.name()
        assert ax.variable is x or ax.variable.data_ptr() == x.data_ptr()
        assert ay.variable.data_ptr() == y.data_ptr()
        assert ax.next_functions == ()

    def test_a_node_is_the_same_each_time(self) -> None:
        x = leaf(2.0)
        y = x * x
        assert y.grad_fn == y.grad_fn
        assert hash(y.grad_fn) == hash(y.grad_fn)
        (a, _), (b, _) = y.grad_fn.next_functions
        assert a == b
        assert y.grad_fn != (x * x).grad_fn

    def test_output_numbers(self) -> None:
        x = leaf(1.0, 2.0, 3.0)
        a, b, c = x.unbind(0)
        assert [t.output_nr for t in (a, b, c)] == [0, 1, 2]
        assert a.grad_fn == b.grad_fn
        (b * 7).backward()
        assert x.grad.tolist() == [0.0, 7.0, 0.0]

    def test_a_node_outlives_its_tensor(self) -> None:
        x = leaf(2.0)
        node = (x * x).grad_fn
        assert node.name() == "MulBackward0"
        assert len(node.next_functions) == 2


class TestDetach:
    def test_detach_shares_elements_and_forgets_history(self) -> None:
        x = leaf(1.0, 2.0)
        y = x * 2
        d = y.detach()
        assert not d.requires_grad and d.is_leaf and d.data_ptr() == y.data_ptr()
        (d * x).sum().backward()
        assert x.grad.tolist() == [2.0, 4.0]

    def test_detach_shares_the_version(self) -> None:
        x = leaf(1.0, 2.0)
        y = x.exp()
        y.detach().add_(1)
        assert y._version == 1
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()

    def test_data_is_counted_too(self) -> None:
        # Stricter than PyTorch, where a write through .data is not seen: no silent wrong gradient.
        x = leaf(1.0, 2.0)
        y = x.exp()
        y.data.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()

    def test_detach_in_place(self) -> None:
        x = leaf(2.0)
        y = x * 2
        assert y.detach_() is y
        assert y.is_leaf and not y.requires_grad and y.grad_fn is None
        z = x * y
        z.backward()
        assert x.grad.item() == 4.0

    def test_detach_in_place_of_a_view_raises(self) -> None:
        x = leaf(1.0, 2.0)
        y = x * 1
        with pytest.raises(RuntimeError, match="Can't detach views in-place"):
            y[0].detach_()

    def test_data_can_be_replaced(self) -> None:
        x = leaf(1.0, 2.0)
        x.data = rg.tensor([5.0, 6.0, 7.0], dtype=rg.float64)
        assert x.is_leaf and x.requires_grad and x.tolist() == [5.0, 6.0, 7.0]
        (x * x).sum().backward()
        assert x.grad.tolist() == [10.0, 12.0, 14.0]

    def test_data_of_a_leaf_can_be_written(self) -> None:
        x = leaf(1.0, 2.0)
        x.data.mul_(10)
        assert x.tolist() == [10.0, 20.0]
        (x * x).sum().backward()
        assert x.grad.tolist() == [20.0, 40.0]


class TestModes:
    def test_no_grad(self) -> None:
        x = leaf(2.0)
        with rg.no_grad():
            assert not rg.is_grad_enabled()
            y = x * 2
        assert rg.is_grad_enabled()
        assert not y.requires_grad and y.is_leaf

    def test_enable_grad_inside_no_grad(self) -> None:
        x = leaf(2.0)
        with rg.no_grad():
            with rg.enable_grad():
                y = x * 2
            assert not rg.is_grad_enabled()
        assert y.requires_grad

    def test_set_grad_enabled_as_context(self) -> None:
        for mode in (False, True):
            with rg.set_grad_enabled(mode):
                assert rg.is_grad_enabled() is mode
            assert rg.is_grad_enabled()

    def test_set_grad_enabled_at_once(self) -> None:
        try:
            rg.set_grad_enabled(False)
            assert not rg.is_grad_enabled()
        finally:
            rg.set_grad_enabled(True)
        assert rg.is_grad_enabled()

    @pytest.mark.parametrize("call", [True, False])
    def test_as_decorators(self, call: bool) -> None:
        x = leaf(2.0)

        @(rg.no_grad() if call else rg.no_grad)
        def f(y: Any) -> Any:
            """doc"""
            return y * 2

        assert not f(x).requires_grad and f.__name__ == "f" and f.__doc__ == "doc"

        @(rg.enable_grad() if call else rg.enable_grad)
        def g(y: Any) -> Any:
            return y * 2

        @(rg.inference_mode() if call else rg.inference_mode)
        def h(y: Any) -> Any:
            return y * 2

        with rg.no_grad():
            assert g(x).requires_grad
        assert h(x).is_inference()
        assert rg.is_grad_enabled() and not rg.is_inference_mode_enabled()

    def test_set_grad_enabled_as_decorator(self) -> None:
        @rg.set_grad_enabled(False)
        def f(y: Any) -> Any:
            return y * 2

        assert rg.is_grad_enabled()
        assert not f(leaf(2.0)).requires_grad
        assert rg.is_grad_enabled()

    def test_recursive_decorated_function(self) -> None:
        @rg.no_grad()
        def f(n: int) -> bool:
            return f(n - 1) if n else rg.is_grad_enabled()

        assert f(3) is False and rg.is_grad_enabled()

    def test_decorated_generator(self) -> None:
        @rg.no_grad()
        def f() -> Any:
            for _ in range(3):
                assert not rg.is_grad_enabled()
                got = yield rg.is_grad_enabled()
                assert got is None or got == "sent"

        for value in f():
            assert value is False and rg.is_grad_enabled()
        g = f()
        next(g)
        assert g.send("sent") is False
        g.close()
        assert rg.is_grad_enabled()

    def test_exceptions_restore_the_mode(self) -> None:
        for mode in (rg.no_grad, lambda: rg.set_grad_enabled(False), rg.inference_mode):
            with pytest.raises(KeyError), mode():
                raise KeyError
            assert rg.is_grad_enabled() and not rg.is_inference_mode_enabled()

    def test_a_mode_can_be_entered_again(self) -> None:
        mode = rg.no_grad()
        with mode:
            pass
        with mode:
            assert not rg.is_grad_enabled()
        assert rg.is_grad_enabled()

    def test_modes_are_per_thread(self) -> None:
        seen = []
        with rg.no_grad():
            thread = threading.Thread(target=lambda: seen.append(rg.is_grad_enabled()))
            thread.start()
            thread.join()
        assert seen == [True]

        def off() -> None:
            rg.set_grad_enabled(False)

        thread = threading.Thread(target=off)
        thread.start()
        thread.join()
        assert rg.is_grad_enabled()

    def test_backward_under_no_grad(self) -> None:
        x = leaf(2.0)
        y = x * x
        with rg.no_grad():
            y.backward()
        assert x.grad.item() == 4.0

    def test_create_graph_under_no_grad_records(self) -> None:
        x = leaf(2.0)
        y = x * x * x
        with rg.no_grad():
            (g,) = rg.autograd.grad(y, x, create_graph=True)
        assert g.requires_grad
        assert rg.autograd.grad(g, x)[0].item() == 12.0

    def test_requires_grad_can_be_set_under_no_grad(self) -> None:
        with rg.no_grad():
            x = rg.ones(2, requires_grad=True)
            assert x.requires_grad
        (x * 2).sum().backward()
        assert x.grad.tolist() == [2.0, 2.0]

    def test_leaf_can_be_written_under_no_grad(self) -> None:
        x = leaf(2.0)
        with rg.no_grad():
            x.sub_(0.5)
        assert x.item() == 1.5 and x.is_leaf and x.requires_grad
        (x * x).backward()
        assert x.grad.item() == 3.0


class TestInferenceMode:
    def test_results(self) -> None:
        x = leaf(2.0)
        with rg.inference_mode():
            assert rg.is_inference_mode_enabled() and not rg.is_grad_enabled()
            y = x * 2
            assert y.is_inference() and not y.requires_grad
        assert not x.is_inference() and not rg.is_inference_mode_enabled()

    def test_off(self) -> None:
        x = leaf(2.0)
        with rg.inference_mode(), rg.inference_mode(False):
            y = x * 2
            assert not y.is_inference() and y.requires_grad

    def test_cannot_be_saved_for_backward(self) -> None:
        x = leaf(2.0)
        with rg.inference_mode():
            y = rg.ones((), dtype=rg.float64)
        with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
            x * y
        assert (x * y.clone()).requires_grad

    def test_cannot_be_written_outside(self) -> None:
        with rg.inference_mode():
            y = rg.ones(2)
            y.add_(1)
        with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
            y.add_(1)
        assert y.tolist() == [2.0, 2.0]

    def test_requires_grad_outside(self) -> None:
        with rg.inference_mode():
            y = rg.ones(2)
        with pytest.raises(RuntimeError, match="inference tensor outside InferenceMode"):
            y.requires_grad_()

    def test_views_are_inference_tensors_where_what_they_show_is_one(self) -> None:
        x = rg.ones(3)
        with rg.inference_mode():
            t = rg.ones(3)
            assert not x[1:].is_inference() and not x.detach().is_inference()
        for view in (t[1:], t.detach(), t.data, t.view(3, 1)):
            assert view.is_inference()
        assert not t.clone().is_inference()
        with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
            t[0:1] = 9.0
        assert t.tolist() == [1, 1, 1]

    @pytest.mark.parametrize("write", ["mul_", "addcmul_"])
    def test_what_cannot_be_saved_is_refused_before_the_write(self, write: str) -> None:
        with rg.inference_mode():
            c = rg.full((2,), 3.0)
        z = rg.ones(2, requires_grad=True) * 1
        arguments = (c,) if write == "mul_" else (c, z.detach().requires_grad_())
        with pytest.raises(RuntimeError, match="Inference tensors cannot be saved"):
            getattr(z, write)(*arguments)
        assert z.tolist() == [1, 1] and z._version == 0


class TestForwardMode:
    def test_level_needed(self) -> None:
        import rustgrad.autograd.forward_ad as fwAD

        with pytest.raises(RuntimeError, match="no level exists"):
            fwAD.make_dual(rg.ones(2), rg.ones(2))

    def test_tangents_travel_and_end_with_their_level(self) -> None:
        import rustgrad.autograd.forward_ad as fwAD

        x, u = rg.tensor([1.0, 2.0]), rg.tensor([10.0, 100.0])
        with fwAD.dual_level():
            dual = fwAD.make_dual(x, u)
            y = dual * dual
            assert fwAD.unpack_dual(y).tangent.tolist() == [20.0, 400.0]
            assert fwAD.unpack_dual(x).tangent is None
            primal, tangent = fwAD.unpack_dual(dual)
            assert primal.tolist() == [1.0, 2.0] and tangent.tolist() == [10.0, 100.0]
        with fwAD.dual_level():
            assert fwAD.unpack_dual(y).tangent is None

    def test_tangent_must_fit(self) -> None:
        import rustgrad.autograd.forward_ad as fwAD

        with fwAD.dual_level():
            with pytest.raises(RuntimeError):
                fwAD.make_dual(rg.ones(2), rg.ones(3))
            with pytest.raises((RuntimeError, ValueError)):
                fwAD.make_dual(rg.ones(2, dtype=rg.int64), rg.ones(2))

    def test_reverse_over_forward(self) -> None:
        import rustgrad.autograd.forward_ad as fwAD

        x, u = leaf(2.0), leaf(5.0)
        with fwAD.dual_level():
            y = fwAD.make_dual(x, u)
            tangent = fwAD.unpack_dual(y * y * y).tangent
        gx, gu = rg.autograd.grad(tangent, [x, u])
        assert gx.item() == 6 * 2 * 5 and gu.item() == 12.0

    def test_forward_over_reverse(self) -> None:
        import rustgrad.autograd.forward_ad as fwAD

        x = leaf(2.0)
        with fwAD.dual_level():
            dual = fwAD.make_dual(x, rg.tensor(5.0, dtype=rg.float64))
            (g,) = rg.autograd.grad(dual * dual * dual, dual, create_graph=True)
            primal, tangent = fwAD.unpack_dual(g)
        assert primal.item() == 12.0 and tangent.item() == 60.0

    def test_in_place(self) -> None:
        import rustgrad.autograd.forward_ad as fwAD

        with fwAD.dual_level():
            x = fwAD.make_dual(rg.tensor([1.0, 2.0]), rg.tensor([1.0, 10.0]))
            y = x.clone()
            y[0].mul_(x[1])
            assert y.tolist() == [2.0, 2.0]
            assert fwAD.unpack_dual(y).tangent.tolist() == [1 * 2 + 10.0 * 1, 10.0]

    def test_no_grad_does_not_stop_tangents(self) -> None:
        import rustgrad.autograd.forward_ad as fwAD

        with fwAD.dual_level(), rg.no_grad():
            x = fwAD.make_dual(rg.tensor(3.0), rg.tensor(1.0))
            assert fwAD.unpack_dual(x * x).tangent.item() == 6.0


class TestThreads:
    def test_backward_in_many_threads_on_separate_graphs(self) -> None:
        results: list[float] = []

        def work(k: int) -> None:
            x = leaf(float(k))
            for _ in range(50):
                y = (x * x).exp().log()
                y.backward()
            results.append(x.grad.item() / (100 * k))

        threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 9)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert results == [pytest.approx(1.0)] * 8

    def test_backward_in_many_threads_into_one_leaf(self) -> None:
        x = leaf(1.0, 2.0)

        def work() -> None:
            for _ in range(100):
                (x * 2).sum().backward()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert x.grad.tolist() == [800.0, 800.0]

    def test_backward_of_a_graph_made_in_another_thread(self) -> None:
        x = leaf(3.0)
        made: list[Any] = []
        thread = threading.Thread(target=lambda: made.append(x * x))
        thread.start()
        thread.join()
        made[0].backward()
        assert x.grad.item() == 6.0
