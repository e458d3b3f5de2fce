"""Hooks on tensors and nodes: order, replacement, removal, exceptions, leaks."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest
import rustgrad as rg
from rustgrad.autograd import graph
from rustgrad.utils.hooks import RemovableHandle


def leaf(*values: float) -> rg.Tensor:
    return rg.tensor(values, dtype=rg.float64, requires_grad=True)


class Boom(Exception):
    pass


class TestTensorHooks:
    def test_sees_the_gradient_and_leaves_it(self) -> None:
        x, seen = leaf(1.0, 2.0), []
        x.register_hook(seen.append)
        (3 * x).sum().backward()
        assert [g.tolist() for g in seen] == [[3.0, 3.0]]
        assert x.grad.tolist() == [3.0, 3.0]

    def test_replaces_for_everything_below(self) -> None:
        x = leaf(2.0)
        y = x * x
        y.register_hook(lambda g: 10 * g)
        y.backward()
        assert x.grad.item() == 40.0

    def test_runs_in_order_each_on_the_result_of_the_last(self) -> None:
        x = leaf(1.0)
        x.register_hook(lambda g: g + 1)
        x.register_hook(lambda g: None)
        x.register_hook(lambda g: g * 3)
        x.sum().backward()
        assert x.grad.item() == 6.0

    def test_runs_once_with_the_sum_of_all_contributions(self) -> None:
        x, seen = leaf(2.0), []
        y = x * 1
        y.register_hook(lambda g: seen.append(g.item()))
        (y * y + y).backward()
        assert seen == [5.0]

    def test_applies_to_results_of_grad(self) -> None:
        x = leaf(2.0)
        x.register_hook(lambda g: -g)
        y = x * 5
        y.register_hook(lambda g: g * 2)
        gx, gy = rg.autograd.grad(y.sum(), (x, y))
        assert gx.item() == -10.0 and gy.item() == 2.0

    def test_and_retain_grad_sees_the_replacement(self) -> None:
        x = leaf(2.0)
        y = x * 5
        y.retain_grad()
        y.register_hook(lambda g: g * 2)
        y.sum().backward()
        assert y.grad.item() == 2.0

    def test_stays_with_the_value_before_a_write(self) -> None:
        x, seen = leaf(2.0), []
        y = x * 1
        y.register_hook(lambda g: seen.append(("before", g.item())))
        y.mul_(3)
        y.register_hook(lambda g: seen.append(("after", g.item())))
        y.sum().backward()
        assert seen == [("after", 1.0), ("before", 3.0)]

    def test_a_gradient_of_zero_arrives_as_zeros(self) -> None:
        x, seen = leaf(2.0), []
        y = x * 1
        y.register_hook(lambda g: seen.append(g.tolist()))
        rg.where(rg.tensor([False]), y, rg.zeros(1, dtype=rg.float64)).sum().backward()
        assert seen == [[0.0]]

    def test_is_not_called_where_no_gradient_arrives(self) -> None:
        x, seen = leaf(1.0, 2.0), []
        a, b = x.unbind()
        b.register_hook(seen.append)
        a.backward()
        assert not seen and x.grad.tolist() == [1.0, 0.0]

    def test_under_create_graph_its_work_is_recorded(self) -> None:
        x = leaf(2.0)
        y = x * 1
        y.register_hook(lambda g: g * x)
        (g,) = rg.autograd.grad((y * y).sum(), x, create_graph=True)
        # g = 2 y * x, and what comes back through y passes the hook again: 2 x * x + 2 y.
        assert g.item() == 8.0
        assert rg.autograd.grad(g, x)[0].item() == 12.0

    def test_works_without_recording_otherwise(self) -> None:
        x, modes = leaf(2.0), []
        x.register_hook(lambda g: modes.append(rg.is_grad_enabled()))
        x.sum().backward()
        rg.autograd.grad(x.sum(), x, create_graph=True)
        assert modes == [False, True]

    def test_needs_a_tensor_that_requires_grad(self) -> None:
        with pytest.raises(RuntimeError, match="doesn't require gradient"):
            rg.ones(2).register_hook(print)
        with pytest.raises(TypeError, match="callable"):
            leaf(1.0).register_hook(3)

    @pytest.mark.parametrize(
        ("result", "error", "message"),
        [
            (rg.ones(2), RuntimeError, "changed the size of value"),
            (rg.ones(1), RuntimeError, "changed the type of value"),
            (3.0, TypeError, "'wrong' .*incorrect type .got 'float'"),
            ((), TypeError, "incorrect type"),
        ],
    )
    def test_a_wrong_result_is_refused(self, result, error, message) -> None:
        x = leaf(1.0)

        def wrong(grad):
            return result

        handle = x.register_hook(wrong)
        y = (x * x).sum()
        with pytest.raises(error, match=message):
            y.backward(retain_graph=True)
        handle.remove()
        y.backward()
        assert x.grad.item() == 2.0


class TestHandles:
    def test_remove_is_idempotent(self) -> None:
        x, seen = leaf(1.0), []
        handle = x.register_hook(seen.append)
        assert isinstance(handle, RemovableHandle)
        handle.remove()
        handle.remove()
        x.sum().backward()
        assert not seen

    def test_as_context_manager(self) -> None:
        x, seen = leaf(1.0), []
        with x.register_hook(seen.append):
            x.sum().backward()
        x.sum().backward()
        assert len(seen) == 1

    def test_a_hook_may_remove_itself(self) -> None:
        x, seen = leaf(1.0), []

        def once(grad):
            seen.append(grad)
            handle.remove()

        handle = x.register_hook(once)
        x.register_hook(seen.append)
        x.sum().backward()
        x.sum().backward()
        assert len(seen) == 3

    def test_may_outlive_its_tensor(self) -> None:
        handle = leaf(1.0).register_hook(print)
        gc.collect()
        handle.remove()
        assert isinstance(pickle.loads(pickle.dumps(handle)), RemovableHandle)


class TestPostAccumulate:
    def test_runs_after_the_gradient_is_there(self) -> None:
        x, seen = leaf(1.0), []
        x.grad = rg.ones(1, dtype=rg.float64)
        x.register_hook(lambda g: g * 2)
        x.register_post_accumulate_grad_hook(lambda p: seen.append((p is x, p.grad.item())))
        x.sum().backward()
        assert seen == [(True, 3.0)]

    def test_gets_the_parameter_itself(self) -> None:
        w, seen = rg.nn.Parameter(rg.ones(2)), []
        w.register_post_accumulate_grad_hook(seen.append)
        w.sum().backward()
        assert seen[0] is w

    def test_optimiser_in_backward(self) -> None:
        rg.manual_seed(0)
        net = rg.nn.Sequential(rg.nn.Linear(3, 4), rg.nn.Tanh(), rg.nn.Linear(4, 1))
        twin = copy.deepcopy(net)
        steps = {p: rg.optim.SGD([p], lr=0.1) for p in net.parameters()}

        def step(parameter):
            steps[parameter].step()
            steps[parameter].zero_grad()

        for p in net.parameters():
            p.register_post_accumulate_grad_hook(step)
        all_at_once = rg.optim.SGD(twin.parameters(), lr=0.1)
        for _ in range(3):
            x = rg.randn(5, 3)
            net(x).square().mean().backward()
            all_at_once.zero_grad()
            twin(x).square().mean().backward()
            all_at_once.step()
        for p, q in zip(net.parameters(), twin.parameters(), strict=True):
            assert p.grad is None and rg.equal(p, q)

    def test_runs_with_inputs_too(self) -> None:
        x, y, seen = leaf(1.0), leaf(2.0), []
        x.register_post_accumulate_grad_hook(lambda p: seen.append("x"))
        y.register_post_accumulate_grad_hook(lambda p: seen.append("y"))
        (x * y).sum().backward(inputs=[x])
        assert seen == ["x"] and x.grad.item() == 2.0 and y.grad is None

    def test_is_for_leaves(self) -> None:
        with pytest.raises(RuntimeError, match="non-leaf"):
            (leaf(1.0) * 2).register_post_accumulate_grad_hook(print)

    def test_does_not_run_for_grad(self) -> None:
        x, seen = leaf(1.0), []
        x.register_post_accumulate_grad_hook(seen.append)
        rg.autograd.grad(x.sum(), x)
        assert not seen


class TestNodeHooks:
    def test_order_at_a_node(self) -> None:
        x, calls = leaf(2.0), []
        y = x * 3
        y.retain_grad()
        node = y.grad_fn
        node.register_hook(lambda i, o: calls.append("after"))
        node.register_prehook(lambda o: calls.append("before"))
        y.register_hook(lambda g: calls.append("tensor"))
        x.register_hook(lambda g: calls.append("leaf"))
        x.register_post_accumulate_grad_hook(lambda p: calls.append("accumulated"))
        y.sum().backward()
        assert calls == ["tensor", "before", "after", "leaf", "accumulated"]

    def test_arguments(self) -> None:
        x, w, seen = leaf(2.0), rg.ones(1, dtype=rg.float64), []
        y = x * w
        y.grad_fn.register_hook(lambda i, o: seen.append((i, o)))
        y.sum().backward()
        ((inputs, outputs),) = seen
        assert inputs[0].item() == 1.0 and inputs[1] is None and outputs[0].item() == 1.0

    def test_replacement(self) -> None:
        x = leaf(2.0)
        y = x * 3
        y.grad_fn.register_prehook(lambda o: (o[0] + 1,))
        y.grad_fn.register_hook(lambda i, o: (i[0] * 10, None))
        y.sum().backward()
        assert x.grad.item() == 60.0

    def test_of_an_accumulator(self) -> None:
        x, seen = leaf(2.0), []
        node = graph.get_gradient_edge(x).node
        node.register_hook(lambda i, o: seen.append((i, o[0].item())))
        node.register_prehook(lambda o: (o[0] * 2,))
        (x * 3).sum().backward()
        assert seen == [((), 6.0)] and x.grad.item() == 6.0
        assert node.variable is x

    def test_prehook_of_a_target_runs_only_if_the_node_does(self) -> None:
        x, seen = leaf(2.0), []
        y = x * 3
        y.grad_fn.register_prehook(lambda o: seen.append("before"))
        rg.autograd.grad(y.sum(), y, retain_graph=True)
        assert not seen
        rg.autograd.grad(y.sum(), (x, y))
        assert seen == ["before"]

    def test_of_a_custom_function(self) -> None:
        class Double(rg.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2, x * 3

            @staticmethod
            def backward(ctx, a, b):
                return 2 * a + 3 * b

        x, seen = leaf(1.0), []
        a, b = Double.apply(x)
        a.grad_fn.register_prehook(lambda o: seen.append(o))
        a.grad_fn.register_hook(lambda i, o: (i[0] + 100,))
        a.sum().backward()
        assert seen[0][0].item() == 1.0 and seen[0][1] is None
        assert x.grad.item() == 102.0

    def test_wrong_numbers_of_results(self) -> None:
        x = leaf(1.0)
        y = x * 2
        with y.grad_fn.register_hook(lambda i, o: (i[0], i[0], i[0])):
            with pytest.raises(RuntimeError, match="incorrect number of values"):
                y.sum().backward(retain_graph=True)
        y.sum().backward()
        assert x.grad.item() == 2.0


class TestExceptions:
    @pytest.mark.parametrize("place", ["tensor", "before", "after", "leaf", "accumulated"])
    @pytest.mark.parametrize("error", [Boom, KeyboardInterrupt, SystemExit])
    def test_travel_unchanged(self, place: str, error: type[BaseException]) -> None:
        x = leaf(2.0)
        y = x * x
        raised = error("here")

        def hook(*args):
            raise raised

        register = {
            "tensor": y.register_hook,
            "before": y.grad_fn.register_prehook,
            "after": y.grad_fn.register_hook,
            "leaf": x.register_hook,
            "accumulated": x.register_post_accumulate_grad_hook,
        }[place]
        handle = register(hook)
        with pytest.raises(error) as info:
            y.sum().backward()
        assert info.value is raised and rg.is_grad_enabled()
        handle.remove()
        if place in ("tensor", "before", "after"):
            # Nothing was freed yet: the graph is as it was.
            y.sum().backward()
            assert x.grad.item() == 4.0
        else:
            with pytest.raises(RuntimeError, match="second time"):
                y.sum().backward()

    def test_never_half_of_a_backward_is_repeated(self) -> None:
        x, y = leaf(2.0), leaf(3.0)
        a = x.exp()
        # The branch of `y` saves nothing, so it could run again.
        loss = y.sum() + a.exp().sum()
        handle = a.register_hook(lambda g: (_ for _ in ()).throw(Boom()))
        with pytest.raises(Boom):
            loss.backward()
        handle.remove()
        before = y.grad.clone() if y.grad is not None else None
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()
        assert x.grad is None
        assert (y.grad is None) if before is None else rg.equal(y.grad, before)
        # What did not run is there for others.
        a.sum().backward()
        assert x.grad is not None

    def test_with_retain_graph_leave_it_usable(self) -> None:
        x = leaf(2.0)
        a = x.exp()
        b = a.exp()
        handle = a.register_hook(lambda g: (_ for _ in ()).throw(Boom()))
        with pytest.raises(Boom):
            b.sum().backward(retain_graph=True)
        handle.remove()
        b.sum().backward()
        assert x.grad is not None


class TestNested:
    def test_a_hook_may_run_a_backward(self) -> None:
        x, y = leaf(2.0), leaf(3.0)

        def hook(grad):
            with rg.enable_grad():
                (y * y).sum().backward()

        (x * x).sum().register_hook(hook)
        z = x * x
        z.register_hook(hook)
        z.sum().backward()
        assert x.grad.item() == 4.0 and y.grad.item() == 6.0

    def test_a_hook_may_register_hooks(self) -> None:
        x, seen = leaf(2.0), []
        z = x * x
        z.register_hook(lambda g: x.register_hook(seen.append) and None)
        z.sum().backward()
        assert len(seen) == 1


class TestMultiGrad:
    def test_all(self) -> None:
        a, b, c = leaf(1.0), leaf(2.0), leaf(3.0)
        seen = []
        handle = graph.register_multi_grad_hook((a, b, c), seen.append)
        (a * b).sum().backward()
        (grads,) = seen
        assert grads[0].item() == 2.0 and grads[1].item() == 1.0 and grads[2] is None
        (a * b * c).sum().backward()
        assert [g.item() for g in seen[1]] == [6.0, 3.0, 2.0]
        handle.remove()
        (a * b).sum().backward()
        assert len(seen) == 2

    def test_all_with_targets(self) -> None:
        a, b, seen = leaf(1.0), leaf(2.0), []
        graph.register_multi_grad_hook((a, b), seen.append)
        rg.autograd.grad((a * b).sum(), a)
        assert seen[0][0].item() == 2.0 and seen[0][1] is None

    def test_any(self) -> None:
        a, b, seen = leaf(1.0), leaf(2.0), []
        with graph.register_multi_grad_hook((a, b), seen.append, mode="any"):
            (a * b).sum().backward()
            (a * b).sum().backward()
        (a * b).sum().backward()
        assert len(seen) == 2

    def test_wrong_mode(self) -> None:
        with pytest.raises(ValueError, match="mode"):
            graph.register_multi_grad_hook((leaf(1.0),), print, mode="some")

    def test_inner_tensors_and_nested_backward(self) -> None:
        a, seen = leaf(2.0), []
        b = a * 2
        c = b * 3
        graph.register_multi_grad_hook((c, a, b), lambda gs: seen.append([g.item() for g in gs]))

        def another(grad):
            with rg.enable_grad():
                (leaf(1.0) * 2).sum().backward()

        c.register_hook(another)
        c.sum().backward()
        assert seen == [[1.0, 6.0, 3.0]]


class TestEdges:
    def test_stand_for_tensors(self) -> None:
        x = leaf(2.0)
        y = x * x
        edge = graph.get_gradient_edge(y)
        assert edge.node == y.grad_fn and edge.output_nr == 0
        z = (y * 3).sum()
        del y
        assert rg.autograd.grad(z, edge, retain_graph=True)[0].item() == 3.0
        assert rg.autograd.grad(edge, x, rg.ones(1, dtype=rg.float64))[0].item() == 4.0

    def test_as_roots_need_a_fitting_cotangent(self) -> None:
        edge = graph.get_gradient_edge(leaf(1.0, 2.0) * 2)
        with pytest.raises(RuntimeError, match="scalar outputs"):
            rg.autograd.backward(edge)
        with pytest.raises(RuntimeError, match="Mismatch in shape"):
            rg.autograd.backward(edge, rg.ones(3, dtype=rg.float64))
        with pytest.raises(IndexError, match="1 outputs"):
            rg.autograd.backward(graph.GradientEdge(edge.node, 7))

    def test_of_a_leaf_accumulate(self) -> None:
        x = leaf(2.0)
        edge = graph.get_gradient_edge(x)
        rg.autograd.backward((x * 3).sum(), inputs=[edge])
        assert x.grad.item() == 3.0

    def test_needs_grad(self) -> None:
        with pytest.raises(RuntimeError, match="gradient edge"):
            graph.get_gradient_edge(rg.ones(1))


class TestLifetime:
    def test_a_hook_that_holds_its_tensor_is_collected(self) -> None:
        nodes = rg._C.live_nodes()
        for make in (lambda: leaf(1.0), lambda: leaf(1.0) * 2):
            x = make()
            x.register_hook(lambda g, x=x: x)
            alive = weakref.ref(x)
            del x
            gc.collect()
            assert alive() is None
        gc.collect()
        assert rg._C.live_nodes() == nodes

    def test_hooks_go_with_the_graph(self) -> None:
        class Callable:
            def __call__(self, grad):
                return None

        hook = Callable()
        alive = weakref.ref(hook)
        y = leaf(1.0) * 2
        y.register_hook(hook)
        del hook, y
        gc.collect()
        assert alive() is None

    def test_metadata(self) -> None:
        y = leaf(1.0) * 2
        y.grad_fn.metadata["name"] = "double"
        assert y.grad_fn.metadata == {"name": "double"}
