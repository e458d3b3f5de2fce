"""Forward hooks."""

import gc
import weakref

import pytest
import rustgrad as rg
from rustgrad import nn


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
