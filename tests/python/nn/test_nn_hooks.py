"""Forward hooks, hooks of all modules, and hooks of registration."""

import copy
import gc
import pickle
import weakref

import pytest
import rustgrad as rg
from rustgrad import nn
from rustgrad.nn.modules import module as modules
from rustgrad.utils.hooks import RemovableHandle, unserializable_hook


class Add(nn.Module):
    def forward(self, x, *, by=1.0):
        if x is None:
            raise ValueError("forward failed")
        return x + by


def test_order_and_prepend():
    m, calls = Add(), []

    def note(label):
        return lambda *args: calls.append(label)

    m.register_forward_pre_hook(note("pre1"))
    m.register_forward_hook(note("post1"))
    m.register_forward_pre_hook(note("pre0"), prepend=True)
    m.register_forward_hook(note("post0"), prepend=True)
    assert m(rg.tensor(1.0)).item() == 2.0
    assert calls == ["pre0", "pre1", "post0", "post1"]


def test_hooks_change_arguments_and_result():
    m = Add()
    m.register_forward_pre_hook(lambda module, args: args[0] * 10)
    m.register_forward_pre_hook(
        lambda module, args, kwargs: (args, {"by": kwargs["by"] + 1}), with_kwargs=True
    )
    m.register_forward_hook(lambda module, args, output: output * 2)
    m.register_forward_hook(
        lambda module, args, kwargs, output: output + kwargs["by"], with_kwargs=True
    )
    # by becomes 3, x becomes 10: (10 + 3) * 2 + 3
    assert m(rg.tensor(1.0), by=2.0).item() == 29.0


def test_bad_pre_hook_result():
    m = Add()
    m.register_forward_pre_hook(lambda module, args, kwargs: args, with_kwargs=True)
    with pytest.raises(RuntimeError, match="tuple of"):
        m(rg.tensor(1.0))


def test_handles_remove_and_work_as_contexts():
    m, calls = Add(), []
    with m.register_forward_hook(lambda *args: calls.append(1), always_call=True) as handle:
        m(rg.tensor(1.0))
    m(rg.tensor(1.0))
    assert calls == [1]
    handle.remove()
    assert not m._forward_hooks and not m._forward_hooks_always_called
    kwargs_handle = m.register_forward_pre_hook(lambda *args: None, with_kwargs=True)
    kwargs_handle.remove()
    assert not m._forward_pre_hooks_with_kwargs


def test_always_call_runs_after_an_error_and_does_not_hide_it():
    m, calls = Add(), []
    m.register_forward_hook(lambda *args: calls.append("plain"))
    m.register_forward_hook(lambda *args: calls.append("always"), always_call=True)
    with pytest.raises(ValueError, match="forward failed"):
        m(None)
    assert calls == ["always"]

    def fail(*args):
        raise KeyError("second")

    m.register_forward_hook(fail, always_call=True)
    with (
        pytest.raises(ValueError, match="forward failed"),
        pytest.warns(UserWarning, match="silen"),
    ):
        m(None)
    assert calls == ["always", "always"]


def test_a_hook_that_fails_does_not_run_twice():
    m, calls = Add(), []

    def fail(*args):
        calls.append(1)
        raise KeyError("hook")

    m.register_forward_hook(fail, always_call=True)
    with pytest.raises(KeyError):
        m(rg.tensor(1.0))
    assert calls == [1]


def test_a_hook_may_remove_itself():
    m, calls = Add(), []
    handles = []

    def once(*args):
        calls.append(1)
        handles[0].remove()

    handles.append(m.register_forward_hook(once))
    m(rg.tensor(1.0))
    m(rg.tensor(1.0))
    assert calls == [1]


def test_handle_does_not_keep_the_module():
    m = Add()
    handle = m.register_forward_hook(print)
    gone = weakref.ref(m)
    del m
    gc.collect()
    assert gone() is None
    handle.remove()


def test_loading_hook_makes_no_cycle():
    gc.collect()
    gc.disable()
    try:
        m = Add()
        m.register_load_state_dict_pre_hook(print)
        gone = weakref.ref(m)
        del m
        assert gone() is None
    finally:
        gc.enable()


def test_pre_hook_results():
    m = nn.Bilinear(1, 1, 1)
    one, two = rg.ones(1), rg.tensor([2.0])
    expected = m(one, two)
    m.register_forward_pre_hook(lambda module, args: (args[0], two))
    assert rg.equal(m(one, one), expected)
    m = nn.Identity()
    # A list is one argument.
    m.register_forward_pre_hook(lambda module, args: [1, 2])
    assert m(0) == [1, 2]


def test_forward_hooks_see_and_replace_any_output():
    m = Add()
    m.register_forward_hook(lambda module, args, output: {"sum": output})
    m.register_forward_hook(lambda module, args, output: None)
    assert m(rg.tensor(1.0))["sum"].item() == 2.0
    with rg.no_grad():
        assert m(rg.tensor(1.0))["sum"].item() == 2.0


def test_errors_in_hooks_travel_unchanged():
    raised = KeyError("here")

    def fail(*args):
        raise raised

    for register in (nn.Module.register_forward_hook, nn.Module.register_forward_pre_hook):
        m = Add()
        handle = register(m, fail)
        with pytest.raises(KeyError) as info:
            m(rg.tensor(1.0))
        assert info.value is raised
        handle.remove()
        assert m(rg.tensor(1.0)).item() == 2.0


def test_always_call_is_for_errors_of_pre_hooks_and_hooks_too():
    m, calls = Add(), []

    def fail(*args):
        raise KeyError("hook")

    m.register_forward_hook(lambda m, args, out: calls.append(("first", out)), always_call=True)
    m.register_forward_hook(
        lambda m, args, kwargs, out: calls.append(("second", kwargs)),
        always_call=True,
        with_kwargs=True,
        prepend=True,
    )
    with m.register_forward_pre_hook(fail), pytest.raises(KeyError):
        m(rg.tensor(1.0), by=2.0)
    assert calls == [("second", {"by": 2.0}), ("first", None)]
    calls.clear()
    with m.register_forward_hook(fail, prepend=True), pytest.raises(KeyError):
        m(rg.tensor(1.0))
    assert [name for name, _ in calls] == ["second", "first"] and calls[1][1].item() == 2.0


def test_always_call_is_not_for_the_end_of_the_program():
    m, calls = nn.Identity(), []

    def stop(*args):
        raise KeyboardInterrupt

    m.register_forward_pre_hook(stop)
    m.register_forward_hook(lambda *args: calls.append(1), always_call=True)
    with pytest.raises(KeyboardInterrupt):
        m(1)
    assert not calls


def test_hooks_may_add_and_remove_hooks():
    m, calls, handles = nn.Identity(), [], []

    def first(*args):
        calls.append("first")
        handles[1].remove()
        handles.append(m.register_forward_hook(lambda *args: calls.append("new")))

    handles.append(m.register_forward_hook(first))
    handles.append(m.register_forward_hook(lambda *args: calls.append("second")))
    m(1)
    # A pass runs the hooks that it found.
    assert calls == ["first", "second"]
    handles[0].remove()
    m(1)
    assert calls[2:] == ["new"]


def test_shared_and_nested_modules():
    shared, calls = nn.Tanh(), []
    net = nn.Sequential(shared, nn.Sequential(shared))
    shared.register_forward_hook(lambda *args: calls.append("tanh"))
    net.register_forward_pre_hook(lambda *args: calls.append("before"))
    net[1].register_forward_hook(lambda *args: calls.append("inner"))
    net(rg.ones(1))
    assert calls == ["before", "tanh", "tanh", "inner"]


def double(module, args, output):
    return output * 2


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_keep_hooks(copied):
    m = nn.Identity()
    handle = m.register_forward_hook(double)
    twin = copied(m)
    handle.remove()
    assert m(1) == 1 and twin(1) == 2
    assert not m._call_hooks


def test_a_hook_that_closes_over_its_module_is_collected():
    m = nn.Linear(2, 1)
    m.register_forward_hook(lambda *args, m=m: None)
    m.register_forward_pre_hook(lambda *args, m=m: None)
    m(rg.ones(2))
    gone = weakref.ref(m)
    del m
    gc.collect()
    assert gone() is None


def test_hooks_removed_by_hand():
    m = nn.Identity()
    m.register_forward_hook(double)
    m._forward_hooks.clear()
    assert m(1) == 1


class TestStateDict:
    def test_order_and_arguments(self):
        m, calls = nn.Sequential(nn.Linear(1, 1)), []
        inner = m[0]
        inner.register_state_dict_pre_hook(lambda *args: calls.append(("before", args)))
        inner.register_state_dict_post_hook(
            lambda module, state, prefix, meta: calls.append(("after", list(state), prefix, meta))
        )
        m.state_dict()
        assert calls == [
            ("before", (inner, "0.", False)),
            ("after", ["0.weight", "0.bias"], "0.", {"version": 1}),
        ]

    def test_replacement(self):
        m = nn.Linear(1, 1)
        m._register_state_dict_hook(lambda module, state, prefix, meta: {"n": len(state)})
        assert m.state_dict() == {"n": 2}
        with pytest.raises(RuntimeError, match="must return None"):
            with m.register_state_dict_post_hook(lambda *args: {}):
                m.state_dict()

    def test_hooks_may_remove_themselves(self):
        m, calls, handles = nn.Linear(1, 1), [], []

        def once(*args):
            calls.append(len(args))
            handles.pop().remove()

        for register, use in (
            (m.register_state_dict_pre_hook, m.state_dict),
            (m.register_state_dict_post_hook, m.state_dict),
            (m.register_load_state_dict_pre_hook, lambda: m.load_state_dict(m.state_dict())),
            (m.register_load_state_dict_post_hook, lambda: m.load_state_dict(m.state_dict())),
        ):
            handles.append(register(once))
            use()
            use()
        assert calls == [3, 4, 8, 2]

    def test_loading(self):
        m = nn.Linear(1, 1)

        def rename(module, state, prefix, *others):
            state[prefix + "weight"] = state.pop(prefix + "w")

        m.register_load_state_dict_pre_hook(rename)
        m.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
        result = m.load_state_dict({"w": rg.full((1, 1), 7.0)})
        assert m.weight.item() == 7.0 and not result.missing_keys


class TestAllModules:
    def test_order_with_a_modules_own(self):
        layer, calls = nn.Linear(1, 1), []

        def note(label):
            return lambda *args: calls.append(label)

        layer.register_forward_pre_hook(note("pre"), prepend=True)
        layer.register_forward_hook(note("post"), prepend=True)
        layer.register_full_backward_pre_hook(note("backward pre"), prepend=True)
        layer.register_full_backward_hook(note("backward"), prepend=True)
        with (
            modules.register_module_forward_pre_hook(note("all pre")),
            modules.register_module_forward_hook(note("all post")),
            modules.register_module_full_backward_pre_hook(note("all backward pre")),
            modules.register_module_full_backward_hook(note("all backward")),
            modules.register_module_backward_hook(note("all backward, old")),
        ):
            y = layer(rg.ones(1, requires_grad=True))
        y.backward()
        assert calls == [
            *("all pre", "pre", "all post", "post"),
            *("all backward pre", "backward pre", "all backward", "all backward, old", "backward"),
        ]
        calls.clear()
        layer(rg.ones(1)).backward()
        assert not [call for call in calls if "all" in call]
        assert not modules.Module()._call_hooks

    def test_change_arguments_and_results(self):
        m = Add()
        with (
            modules.register_module_forward_pre_hook(lambda module, args: args[0] * 10),
            modules.register_module_forward_hook(
                lambda module, args, kwargs, out: out + kwargs["by"], with_kwargs=True
            ),
        ):
            assert m(rg.tensor(1.0), by=2.0).item() == 14.0
        assert m(rg.tensor(1.0), by=2.0).item() == 3.0

    def test_always_call(self):
        m, calls = Add(), []
        m.register_forward_hook(lambda *args: calls.append("own"), always_call=True)
        with (
            modules.register_module_forward_hook(
                lambda *args: calls.append(len(args)), always_call=True, with_kwargs=True
            ),
            pytest.raises(ValueError, match="forward failed"),
        ):
            m(None)
        assert calls == [4, "own"]

    def test_gradients(self):
        net, names = nn.Sequential(nn.Linear(2, 2), nn.Tanh()), []

        def scale(module, grad_input, grad_output):
            names.append(type(module).__name__)
            return (2 * grad_input[0],)

        x = rg.ones(2, requires_grad=True)
        net(x).sum().backward()
        before, x.grad = x.grad, None
        with modules.register_module_full_backward_hook(scale):
            net(x).sum().backward()
        assert names == ["Tanh", "Linear", "Sequential"]
        assert rg.allclose(x.grad, 8 * before)


class TestRegistration:
    def test_hooks_see_and_replace(self):
        calls = []

        def note(module, name, value):
            calls.append((type(module).__name__, name, type(value).__name__))

        with (
            modules.register_module_parameter_registration_hook(note),
            modules.register_module_buffer_registration_hook(note),
            modules.register_module_module_registration_hook(note),
            modules.register_module_parameter_registration_hook(
                lambda module, name, p: nn.Parameter(p * 0 + 3) if name == "w" else None
            ),
        ):
            m = nn.Module()
            m.w = nn.Parameter(rg.ones(1))
            m.register_buffer("b", rg.zeros(1))
            m.b = rg.ones(1)
            m.child = nn.ReLU()
            m.add_module("other", nn.ReLU())
            m.child = None
        assert m.w.item() == 3.0 and m.child is None
        assert calls == [
            ("Module", "w", "Parameter"),
            ("Module", "b", "Tensor"),
            ("Module", "b", "Tensor"),
            ("Module", "child", "ReLU"),
            ("Module", "other", "ReLU"),
            ("Module", "child", "NoneType"),
        ]
        m.w = nn.Parameter(rg.ones(1))
        assert m.w.item() == 1.0 and len(calls) == 6

    @pytest.mark.parametrize(
        ("kind", "assign", "message"),
        [
            ("parameter", lambda m: m.register_parameter("x", nn.Parameter(rg.ones(1))), "Param"),
            ("buffer", lambda m: m.register_buffer("x", rg.ones(1)), "Tensor"),
            ("module", lambda m: m.add_module("x", nn.ReLU()), "Module"),
        ],
    )
    def test_a_wrong_result_is_refused(self, kind, assign, message):
        register = getattr(modules, f"register_module_{kind}_registration_hook")
        m = nn.Module()
        with register(lambda *args: 3), pytest.raises(TypeError, match=f"'x' of .*{message}"):
            assign(m)
        assert not hasattr(m, "x")
        assign(m)


def test_handles_are_those_of_tensors():
    m = nn.Identity()
    assert isinstance(m.register_full_backward_hook(print), RemovableHandle)
    mark = unserializable_hook(double)
    assert mark is double
