"""Backward hooks of modules: what they see, replace and survive."""

import copy
import gc
import pickle
import weakref
from collections import OrderedDict, namedtuple

import pytest
import rustgrad as rg
from rustgrad import nn

Pair = namedtuple("Pair", ["first", "second"])


class Boom(Exception):
    pass


def leaf(*values):
    return rg.tensor(values, dtype=rg.float64, requires_grad=True)


def lists(grads):
    """Gradients as numbers, in the same structure."""
    if isinstance(grads, tuple):
        return tuple(lists(grad) for grad in grads)
    return None if grads is None else grads.tolist()


class Call(nn.Module):
    """A module made of a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args, **kwargs):
        return self.function(*args, **kwargs)


def product(a, b):
    return a * b


def watched(function):
    """A module, and what its full backward hook sees: (grad_input, grad_output)."""
    m, seen = Call(function), []
    m.register_full_backward_hook(lambda module, *grads: seen.append(lists(grads)))
    return m, seen


class TestArguments:
    def test_of_inputs_and_outputs(self):
        m, seen = watched(product)
        m(leaf(2.0), leaf(3.0)).backward()
        assert seen == [(([3.0], [2.0]), ([1.0],))]

    def test_none_for_what_is_no_tensor_or_needs_no_gradient(self):
        m, seen = watched(lambda a, factor, b, c: (a * factor * b, "note", c))
        a, c = leaf(2.0), rg.ones(1)
        y, note, c_out = m(a, 5, rg.ones(1, dtype=rg.float64), c)
        assert note == "note" and not c_out.requires_grad
        y.sum().backward()
        assert seen == [(([5.0], None, None, None), ([1.0], None, None))]

    def test_none_for_outputs_that_were_not_used(self):
        m, seen = watched(lambda a: (2 * a, 3 * a))
        m(leaf(1.0))[1].backward()
        assert seen == [(([3.0],), (None, [1.0]))]

    def test_keyword_arguments_are_not_inputs(self):
        m, seen = watched(lambda a, *, b: a * b)
        a, b = leaf(2.0), leaf(3.0)
        m(a, b=b).backward()
        assert seen == [(([3.0],), ([1.0],))]
        assert a.grad.item() == 3.0 and b.grad.item() == 2.0

    def test_the_module_is_given(self):
        m, seen = Call(product), []
        m.register_full_backward_hook(lambda module, *grads: seen.append(module))
        m.register_full_backward_pre_hook(lambda module, grads: seen.append(module))
        m(leaf(2.0), leaf(3.0)).backward()
        assert seen[0] is m and seen[1] is m

    def test_sum_over_all_uses_of_an_input(self):
        m, seen = watched(lambda a: a * a + a)
        m(leaf(2.0)).backward()
        assert seen == [(([5.0],), ([1.0],))]

    def test_the_same_tensor_twice(self):
        m, seen = watched(lambda a, b: (a * b, a))
        a = leaf(2.0)
        y, same = m(a, a)
        (y + 10 * same).backward()
        assert seen == [(([12.0], [2.0]), ([1.0], [10.0]))] and a.grad.item() == 14.0

    def test_a_module_that_returns_its_input(self):
        m, seen = watched(lambda a: a)
        a = leaf(2.0)
        (3 * m(a)).backward()
        assert seen == [(([3.0],), ([3.0],))] and a.grad.item() == 3.0

    def test_empty_tensors_and_nan(self):
        m, seen = watched(lambda a: a * float("nan"))
        m(rg.ones(0, 3, requires_grad=True)).sum().backward()
        m(leaf(1.0)).backward()
        assert seen[0] == (([],), ([],)) and seen[1][0][0][0] != seen[1][0][0][0]


class TestStructures:
    @pytest.mark.parametrize(
        "make",
        [
            lambda a: (a, 2 * a),
            lambda a: [a, 2 * a],
            lambda a: Pair(a, 2 * a),
            lambda a: {"a": a, "b": 2 * a},
            lambda a: OrderedDict(a=a, b=2 * a),
        ],
    )
    def test_outputs(self, make):
        m, seen = watched(make)
        result = m(leaf(1.0))
        assert type(result) is type(make(leaf(1.0)))
        first, second = result.values() if isinstance(result, dict) else result
        (first + 10 * second).backward()
        assert seen == [(([21.0],), ([1.0], [10.0]))]

    def test_a_list_that_the_module_keeps_stays_as_it_is(self):
        kept = []

        def forward(a):
            kept.append(2 * a)
            return kept

        m, seen = watched(forward)
        result = m(leaf(1.0))
        assert result is not kept and kept[0] is not result[0]
        kept.pop().backward()
        assert not seen

    def test_named_tuples_of_ops(self):
        m, seen = watched(lambda a: a.max(0))
        result = m(leaf(1.0, 5.0))
        assert result.indices.item() == 1
        result.values.backward()
        assert seen == [(([0.0, 1.0],), (1.0, None))]

    def test_what_lies_deeper_is_not_seen(self):
        m, seen = watched(lambda a: (a * 2, (a * 3, a * 4)))
        y, (z, _) = m(leaf(1.0))
        (y + z).backward()
        assert seen == [(([5.0],), ([1.0], None))]

    @pytest.mark.parametrize("result", [None, 1.5, {1, 2}])
    def test_other_outputs_warn(self, result):
        m, seen = watched(lambda a: result)
        with pytest.warns(UserWarning, match="backward hooks of Call are not called") as caught:
            assert m(leaf(1.0)) is result
        assert caught[0].filename == __file__ and not seen


class TestFiring:
    def test_without_inputs_that_need_gradients(self):
        layer, seen = nn.Linear(2, 1).double(), []
        layer.register_full_backward_hook(lambda m, *grads: seen.append(lists(grads)))
        layer(rg.ones(2, dtype=rg.float64)).backward()
        assert seen == [((None,), ([1.0],))]
        assert layer.weight.grad.tolist() == [[1.0, 1.0]]

    def test_without_inputs_at_all(self):
        w, seen = leaf(2.0), []
        m = Call(lambda: w * 3)
        m.register_full_backward_hook(lambda m, *grads: seen.append(lists(grads)))
        m().backward()
        assert seen == [((), ([1.0],))]

    def test_not_without_outputs_that_need_gradients(self):
        m, seen = watched(lambda a: a.detach() * 2)
        assert not m(leaf(1.0)).requires_grad
        assert not seen

    def test_not_where_nothing_is_recorded(self):
        m, seen = watched(product)
        a = leaf(2.0)
        with rg.no_grad():
            assert not m(a, leaf(3.0)).requires_grad
        with rg.inference_mode():
            assert m(a, a).item() == 4.0
        assert not seen

    def test_not_if_the_inputs_are_not_reached(self):
        layer, calls = nn.Linear(2, 1), []
        layer.register_full_backward_hook(lambda *args: calls.append("hook"))
        layer.register_full_backward_pre_hook(lambda *args: calls.append("pre"))
        y = layer(rg.ones(2, requires_grad=True))
        rg.autograd.grad(y, layer.weight, retain_graph=True)
        y.backward(inputs=[layer.bias])
        assert calls == ["pre", "pre"]

    def test_not_for_a_gradient_that_did_not_come_by_way_of_the_outputs(self):
        w, a = leaf(5.0), leaf(2.0)
        m, seen = watched(lambda a: a * w)
        # This backward reaches the outputs, but not the inputs; the next one the inputs only.
        (g,) = rg.autograd.grad(m(a), w, create_graph=True)
        g.backward()
        assert g.item() == 2.0 and a.grad.item() == 1.0 and not seen

    def test_once_for_each_backward(self):
        m, seen = watched(product)
        a = leaf(2.0)
        y = m(a, leaf(3.0))
        y.backward(retain_graph=True)
        y.backward()
        assert seen == [(([3.0], [2.0]), ([1.0],))] * 2 and a.grad.item() == 6.0
        with pytest.raises(RuntimeError, match="second time"):
            y.backward()

    def test_once_for_each_call_of_a_shared_module(self):
        m, seen = watched(lambda a: a * a)
        m(m(leaf(3.0))).backward()
        assert seen == [(([18.0],), ([1.0],)), (([108.0],), ([18.0],))]

    def test_two_calls_side_by_side(self):
        m, seen = watched(lambda a: 2 * a)
        x = leaf(1.0)
        y, z = m(x), m(x)
        (y + 3 * z).backward()
        assert sorted(seen) == [(([2.0],), ([1.0],)), (([6.0],), ([3.0],))]
        assert x.grad.item() == 8.0

    def test_nested_modules(self):
        calls = []
        net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Tanh()))
        for name, module in net.named_modules():
            module.register_full_backward_hook(lambda *args, name=name: calls.append(name))
            module.register_full_backward_pre_hook(
                lambda *args, name=name: calls.append(f"before {name}")
            )
        net(rg.ones(2, requires_grad=True)).sum().backward()
        assert calls == ["before ", "before 1", "before 1.0", "1.0", "1", "before 0", "0", ""]

    def test_a_temporary_module(self):
        seen = []

        def run(x):
            m = Call(lambda a: 2 * a)
            m.register_full_backward_hook(lambda m, *grads: seen.append(type(m)))
            return m(x)

        y = run(leaf(1.0))
        gc.collect()
        y.backward()
        assert seen == [Call]


class TestReplacement:
    def test_of_grad_input(self):
        m = Call(product)
        m.register_full_backward_hook(lambda m, grad_in, grad_out: (grad_in[0] * 10, grad_in[1]))
        a, b = leaf(2.0), leaf(3.0)
        (2 * m(a, b)).backward()
        assert a.grad.item() == 60.0 and b.grad.item() == 4.0

    def test_of_grad_output(self):
        m, seen = watched(product)
        m.register_full_backward_pre_hook(lambda m, grads: (grads[0] + 1,))
        a, b = leaf(2.0), leaf(3.0)
        m(a, b).backward()
        assert seen == [(([6.0], [4.0]), ([2.0],))] and a.grad.item() == 6.0

    def test_reaches_the_parameters(self):
        layer = nn.Linear(2, 1, bias=False)
        layer.register_full_backward_pre_hook(lambda m, grads: (3 * grads[0],))
        layer(rg.ones(2)).backward()
        assert layer.weight.grad.tolist() == [[3.0, 3.0]]

    def test_each_hook_sees_the_result_of_the_last(self):
        m, seen = Call(lambda a: a * 1), []
        m.register_full_backward_hook(lambda m, i, o: (i[0] * 3,))
        m.register_full_backward_hook(lambda m, i, o: seen.append(lists(i)))
        m.register_full_backward_hook(lambda m, i, o: [i[0] + 1], prepend=True)
        m.register_full_backward_pre_hook(lambda m, o: o[0] * 2)
        m.register_full_backward_pre_hook(lambda m, o: (o[0] + 1,), prepend=True)
        a = leaf(1.0)
        m(a).backward()
        assert seen == [([15.0],)] and a.grad.item() == 15.0

    def test_none_stands_for_zero(self):
        m = Call(product)
        m.register_full_backward_hook(lambda m, i, o: (None, i[1]))
        a, b = leaf(2.0), leaf(3.0)
        m(a * 1, b).backward()
        assert a.grad.item() == 0.0 and b.grad.item() == 2.0

    def test_entries_for_no_tensors_are_ignored(self):
        m = Call(lambda a, factor, c: a * factor * c)
        m.register_full_backward_hook(lambda m, i, o: (i[0], rg.ones(7), rg.ones(1)))
        a, c = leaf(2.0), rg.ones(1)
        m(a, 5.0, c).backward()
        assert a.grad.item() == 5.0 and c.grad is None

    @pytest.mark.parametrize(
        ("result", "error", "message"),
        [
            ((rg.ones(1),), RuntimeError, "invalid number of grad_input: got 1, but expected 2"),
            (rg.ones(2), TypeError, "backward hook of Call .* tuple with 2 gradients"),
            (3.0, TypeError, "tuple with 2 gradients, but returned .*float"),
            ((1.0, None), TypeError, "Tensors or None as grad_input, but one is of type float"),
            ((rg.ones(3).double(), None), RuntimeError, "changed the size"),
        ],
    )
    def test_wrong_results_of_hooks(self, result, error, message):
        m = Call(product)
        handle = m.register_full_backward_hook(lambda m, i, o: result)
        with pytest.raises(error, match=message):
            m(leaf(2.0), leaf(3.0)).backward()
        handle.remove()
        m(leaf(2.0), leaf(3.0)).backward()

    def test_wrong_results_of_pre_hooks(self):
        m = Call(product)
        with m.register_full_backward_pre_hook(lambda m, grads: (None, None)):
            y = m(leaf(2.0), leaf(3.0))
        with pytest.raises(RuntimeError, match="pre-hook of Call .*grad_output: got 2"):
            y.backward()

    def test_gradients_for_inputs_that_need_none_are_refused(self):
        m = nn.Linear(2, 1)
        with m.register_full_backward_hook(lambda m, i, o: (rg.ones(2),)):
            y = m(rg.ones(2))
        with pytest.raises(RuntimeError, match="Linear, none of whose inputs .*None"):
            y.backward()
        with m.register_full_backward_hook(lambda m, i, o: (None,)):
            m(rg.ones(2)).backward()

    def test_freezing(self):
        net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
        net[2].register_full_backward_hook(lambda m, i, o: (rg.zeros_like(i[0]),))
        net(rg.ones(2)).backward()
        assert net[0].weight.grad.abs().sum() == 0 and net[2].weight.grad.abs().sum() > 0


class TestInPlace:
    """A hooked module gives the same gradients, whatever is written around or in it."""

    @staticmethod
    def check(make, shape=(2, 3)):
        """``make()`` is a net of which each module is hooked; compared with it unhooked."""
        rg.manual_seed(0)
        plain = make().double()
        hooked = copy.deepcopy(plain)
        calls = []
        for name, module in hooked.named_modules():
            module.register_full_backward_pre_hook(
                lambda m, o, name=name: calls.append((f"before {name}", lists(o)))
            )
            module.register_full_backward_hook(
                lambda m, i, o, name=name: calls.append((name, lists(i)))
            )
        x = rg.randn(*shape, dtype=rg.float64, requires_grad=True)
        twin = x.detach().clone().requires_grad_()
        y, z = plain(x), hooked(twin)
        assert rg.equal(y, z)
        y.square().sum().backward()
        z.square().sum().backward()
        assert rg.equal(x.grad, twin.grad)
        for p, q in zip(plain.parameters(), hooked.parameters(), strict=True):
            assert rg.equal(p.grad, q.grad)
        assert len(calls) == 2 * len(list(hooked.modules()))
        # The gradient of the net's input is the one that its first module saw, and the net itself.
        assert dict(calls)["0"] == (x.grad.tolist(),) == dict(calls)[""]

    def test_relu_after_a_module(self):
        self.check(lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True)))

    def test_relu_before_a_module(self):
        self.check(lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)))

    def test_chains(self):
        self.check(
            lambda: nn.Sequential(
                nn.Linear(3, 4),
                nn.LeakyReLU(inplace=True),
                nn.ELU(inplace=True),
                nn.Sequential(nn.SiLU(inplace=True), nn.Hardtanh(inplace=True)),
                nn.Linear(4, 2),
            )
        )

    def test_a_module_that_writes_its_input_and_returns_another(self):
        def forward(h):
            h.mul_(2)
            return h.sin() + h

        self.check(lambda: nn.Sequential(nn.Linear(3, 4), Call(forward), nn.Linear(4, 1)))

    def test_residuals(self):
        class Residual(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = nn.Sequential(nn.ReLU(), nn.Linear(4, 4))

            def forward(self, x):
                y = self.inner(x)
                y += x
                return y

        self.check(
            lambda: nn.Sequential(nn.Linear(3, 4), Residual(), nn.ReLU(inplace=True), Residual())
        )

    def test_the_caller_writes_the_output(self):
        m, seen = watched(lambda a: 3 * a)
        x = leaf(1.0, -2.0)
        y = m(x)
        y.mul_(2)
        y[0].zero_()
        y.sum().backward()
        assert seen == [(([0.0, 6.0],), ([0.0, 2.0],))] and x.grad.tolist() == [0.0, 6.0]

    def test_the_caller_sees_what_the_module_wrote_to_its_input(self):
        m, seen = watched(lambda h: h.mul_(2).sum())
        x = leaf(1.0, 2.0)
        h = x * 1
        total = m(h)
        assert h.tolist() == [2.0, 4.0]
        (total + (h * h).sum()).backward()
        # 2 for `total`, and 2 h * 2 for what the caller computed from what was written.
        assert x.grad.tolist() == [10.0, 18.0]
        assert seen == [(([10.0, 18.0],), (1.0,))]

    def test_outputs_that_share_memory(self):
        def halves(a):
            h = 2 * a
            return h[:1], h[1:]

        m, seen = watched(halves)
        x = leaf(1.0, 2.0)
        y, z = m(x)
        y.mul_(5)
        (y + z).sum().backward()
        # The gradients are right; that of `z` goes by way of the base, and past the gate.
        assert x.grad.tolist() == [10.0, 2.0]
        assert seen[0][1][0] == [5.0]

    def test_a_leaf_is_refused_as_without_hooks(self):
        m, _ = watched(lambda a: a.mul_(2))
        with pytest.raises(RuntimeError, match="leaf"):
            m(leaf(1.0))

    def test_data_may_be_written(self):
        m, seen = watched(lambda a, data: a * data.mul_(2))
        data = rg.ones(1).double()
        m(leaf(3.0), data).backward()
        assert data.item() == 2.0 and seen == [(([2.0], None), ([1.0],))]


class TestDerivatives:
    def test_create_graph(self):
        m, seen = watched(lambda a: a * a * a)
        x = leaf(2.0)
        (g,) = rg.autograd.grad(m(x), x, create_graph=True)
        assert seen == [(([12.0],), ([1.0],))]
        # The gradient's own gradient comes to the input without passing the output.
        (h,) = rg.autograd.grad(g, x)
        assert g.item() == 12.0 and h.item() == 12.0
        assert len(seen) == 1

    def test_a_hook_is_part_of_what_is_differentiated(self):
        m = Call(lambda a: a * 1)
        m.register_full_backward_hook(lambda m, i, o: (i[0] * x,))
        x = leaf(2.0)
        (g,) = rg.autograd.grad(m(x * x), x, create_graph=True)
        # 2 x * x
        assert g.item() == 8.0
        assert rg.autograd.grad(g, x)[0].item() == 8.0

    def test_a_loss_with_a_gradient_in_it(self):
        m, seen = watched(lambda a: a * a)
        x = leaf(3.0)
        y = m(x)
        (g,) = rg.autograd.grad(y, x, create_graph=True)
        seen.clear()
        (y + g).backward()
        assert x.grad.item() == 8.0
        assert len(seen) == 1 and seen[0][1] == ([1.0],)

    def test_gradcheck(self):
        layer = nn.Sequential(nn.Linear(3, 2), nn.Tanh()).double()
        for module in layer.modules():
            module.register_full_backward_hook(lambda *args: None)
            module.register_full_backward_pre_hook(lambda *args: None)
        x = rg.randn(4, 3, dtype=rg.float64, requires_grad=True)
        assert rg.autograd.gradcheck(layer, (x,)) and rg.autograd.gradgradcheck(layer, (x,))

    def test_forward_mode(self):
        m, _ = watched(lambda a: a * a)
        y, tangent = rg.func.jvp(m, (leaf(3.0),), (rg.ones(1, dtype=rg.float64),))
        assert y.item() == 9.0 and tangent.item() == 6.0

    def test_a_hook_may_run_a_backward(self):
        m, seen = watched(lambda a: a * a)
        inner = []

        def nested(module, grad_in, grad_out):
            if not inner:
                inner.append(None)
                with rg.enable_grad():
                    z = leaf(5.0)
                    module(z).backward()
                inner[0] = z.grad.item()

        m.register_full_backward_hook(nested)
        x = leaf(3.0)
        m(x).backward()
        assert inner == [10.0] and x.grad.item() == 6.0
        assert seen == [(([6.0],), ([1.0],)), (([10.0],), ([1.0],))]

    def test_a_hook_may_run_a_backward_through_the_same_call(self):
        m, seen = watched(lambda a: a * a)
        x, again = leaf(3.0), []

        def nested(module, grads):
            if not again:
                again.append(None)
                (again[0],) = rg.autograd.grad(y, x, 10 * grads[0], retain_graph=True)

        m.register_full_backward_pre_hook(nested)
        y = m(x)
        y.backward()
        assert again[0].item() == 60.0 and x.grad.item() == 6.0
        assert seen == [(([60.0],), ([10.0],)), (([6.0],), ([1.0],))]
        # The hook is in the graph that it holds.
        y = None


class TestExceptions:
    @pytest.mark.parametrize("register", ["full_backward_pre_hook", "full_backward_hook"])
    @pytest.mark.parametrize("needs", [False, True])
    @pytest.mark.parametrize("error", [Boom, KeyboardInterrupt])
    def test_travel_unchanged(self, register, needs, error):
        layer, raised = nn.Linear(2, 1), error("here")

        def hook(*args):
            raise raised

        handle = getattr(layer, f"register_{register}")(hook)
        y = layer(rg.ones(2, requires_grad=needs))
        with pytest.raises(error) as info:
            y.backward()
        assert info.value is raised and rg.is_grad_enabled()
        # The traceback holds `y`, and so a graph that holds the hook, which holds the error.
        raised.__traceback__ = None
        handle.remove()
        layer.zero_grad()
        layer(rg.ones(2, requires_grad=needs)).backward()
        assert layer.weight.grad.tolist() == [[1.0, 1.0]]

    def test_with_retain_graph_leave_it_usable(self):
        m, seen = watched(lambda a: a.exp())
        errors = [Boom()]

        def once(*args):
            if errors:
                raise errors.pop()

        m.register_full_backward_hook(once)
        x = leaf(0.0)
        y = m(x)
        with pytest.raises(Boom):
            y.backward(retain_graph=True)
        y.backward()
        assert x.grad.item() == 1.0 and len(seen) == 2


class TestHandles:
    def test_removal(self):
        m, calls = Call(lambda a: 2 * a), []
        for register in (
            m.register_full_backward_hook,
            m.register_full_backward_pre_hook,
            m.register_backward_hook,
        ):
            with register(lambda *args: calls.append(1)):
                m(leaf(1.0)).backward()
            m(leaf(1.0)).backward()
        assert len(calls) == 3 and not m._call_hooks

    def test_a_call_keeps_the_hooks_it_began_with(self):
        m, seen = Call(lambda a: 2 * a), []
        handle = m.register_full_backward_hook(lambda m, i, o: seen.append("early"))
        y = m(leaf(1.0))
        handle.remove()
        m.register_full_backward_hook(lambda m, i, o: seen.append("late"))
        y.backward()
        assert seen == ["early"]

    def test_a_hook_may_remove_itself(self):
        m, calls, handles = Call(lambda a: 2 * a), [], []

        def once(*args):
            calls.append(1)
            handles[0].remove()

        handles.append(m.register_full_backward_hook(once))
        m.register_full_backward_hook(lambda *args: calls.append(2))
        m(leaf(1.0)).backward()
        m(leaf(1.0)).backward()
        assert calls == [1, 2, 2]

    def test_must_be_callable(self):
        m = nn.Identity()
        for register in (
            m.register_full_backward_hook,
            m.register_full_backward_pre_hook,
            m.register_forward_hook,
            m.register_forward_pre_hook,
        ):
            with pytest.raises(TypeError, match="callable, not int"):
                register(3)
        assert not m._call_hooks


def scale_all(module, grad_input, grad_output):
    return tuple(None if grad is None else module.factor * grad for grad in grad_input)


class Scaled(nn.Module):
    factor = 1.0

    def forward(self, x):
        return x * 1


class TestCopies:
    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
    def test_have_the_hooks_and_pass_themselves(self, copied):
        m = Scaled()
        m.register_full_backward_hook(scale_all)
        twin = copied(m)
        twin.factor = 5.0
        for module, expected in ((m, 1.0), (twin, 5.0)):
            x = leaf(1.0)
            module(x).backward()
            assert x.grad.item() == expected

    def test_removal_does_not_reach_the_copy(self):
        m = Scaled()
        handle = m.register_full_backward_hook(scale_all)
        twin = copy.deepcopy(m)
        twin.factor = 5.0
        handle.remove()
        x = leaf(1.0)
        twin(x).backward()
        assert x.grad.item() == 5.0 and not m._call_hooks

    def test_modules_from_before_there_were_such_hooks(self):
        m = Scaled()
        m.register_forward_hook(print)
        state = m.__dict__.copy()
        for name in ("_call_hooks", "_backward_hooks", "_backward_pre_hooks"):
            del state[name]
        old = Scaled.__new__(Scaled)
        old.__setstate__(state)
        assert list(old._call_hooks) == list(m._forward_hooks)


class TestLifetime:
    def test_a_hook_that_closes_over_its_module(self):
        nodes = rg._C.live_nodes()
        m = nn.Linear(2, 1)
        m.register_full_backward_hook(lambda *args, m=m: None)
        m.register_full_backward_pre_hook(lambda *args, m=m: None)
        m(rg.ones(2, requires_grad=True)).backward()
        m(rg.ones(2, requires_grad=True))
        gone = weakref.ref(m)
        del m
        gc.collect()
        assert gone() is None and rg._C.live_nodes() == nodes

    def test_no_cycle_without_a_closure(self):
        gc.collect()
        gc.disable()
        try:
            nodes = rg._C.live_nodes()
            m = nn.Linear(2, 1)
            m.register_full_backward_hook(print)
            m.register_full_backward_pre_hook(print)
            y = m(rg.ones(2, requires_grad=True))
            gone = weakref.ref(m)
            del m
            assert gone() is not None
            del y
            assert gone() is None and rg._C.live_nodes() == nodes
        finally:
            gc.enable()

    @pytest.mark.parametrize("create_graph", [False, True])
    @pytest.mark.parametrize("reached", [False, True])
    def test_gradients_do_not_stay_in_a_retained_graph(self, reached, create_graph):
        w, x = rg.ones(1000, requires_grad=True), rg.ones(1000, requires_grad=True)
        m = Call(lambda a: a * w)
        m.register_full_backward_hook(lambda *args: None)
        y = m(x)
        seed = rg.ones(1000)

        def run():
            options = {"retain_graph": True, "create_graph": create_graph}
            # The gradient of `y` is a new tensor each time.
            rg.autograd.grad(y * 2, x if reached else w, seed, **options)

        run()
        before = rg._C.live_nodes(), rg._C.live_bytes()
        for _ in range(3):
            run()
        assert (rg._C.live_nodes(), rg._C.live_bytes()) == before

    def test_ten_steps_leave_nothing(self):
        net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True), nn.Linear(3, 1))
        for module in net.modules():
            module.register_full_backward_hook(lambda *args: None)
            module.register_full_backward_pre_hook(lambda *args: None)

        def step():
            net(rg.ones(2)).backward()
            net.zero_grad()

        step()
        before = rg._C.live_nodes(), rg._C.live_bytes()
        for _ in range(10):
            step()
        assert (rg._C.live_nodes(), rg._C.live_bytes()) == before
