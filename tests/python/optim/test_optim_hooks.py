"""Hooks of optimisers: around steps, saving and loading."""

import copy
import pickle

import pytest
import rustgrad as rg
from rustgrad.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)


def make(cls=rg.optim.SGD, **options):
    w = rg.nn.Parameter(rg.ones(2))
    w.grad = rg.ones(2)
    return w, cls([w], lr=0.5, **options)


@pytest.mark.parametrize("cls", [rg.optim.SGD, rg.optim.Adam, rg.optim.AdamW])
def test_steps_are_announced(cls):
    _, optimizer = make(cls)
    calls = []
    before = optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append(("pre", args)))
    optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append(("post", o is not None)))
    optimizer.step()
    assert calls == [("pre", (optimizer,)), ("post", True)]
    before.remove()
    optimizer.step()
    assert calls[2:] == [("post", True)]


def test_pre_hook_changes_the_arguments():
    w, optimizer = make()
    optimizer.register_step_pre_hook(lambda o, args, kwargs: ((o, lambda: 7.0), {}))
    assert optimizer.step() == 7.0
    optimizer.register_step_pre_hook(lambda o, args, kwargs: 3)
    with pytest.raises(RuntimeError, match="tuple of"):
        optimizer.step()


def test_users_optimizers_have_them():
    class Sign(rg.optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        @rg.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.sub_(p.grad.sign(), alpha=group["lr"])

    w, optimizer = make(Sign)
    seen = []
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(w.tolist()))
    optimizer.step()
    assert seen == [[0.5, 0.5]]
    assert Sign.step.__name__ == "step"


def test_saving_and_loading():
    _, optimizer = make(momentum=0.9)
    order = []
    optimizer.register_state_dict_pre_hook(lambda o: order.append("second"))
    optimizer.register_state_dict_pre_hook(lambda o: order.append("first"), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "note": 1})
    saved = optimizer.state_dict()
    assert order == ["first", "second"] and saved["note"] == 1

    _, other = make(momentum=0.9)

    def rename(o, state):
        state["param_groups"] = state.pop("groups")

    other.register_load_state_dict_pre_hook(rename)
    other.register_load_state_dict_post_hook(lambda o: order.append("loaded"))
    state = {"state": {}, "groups": saved["param_groups"]}
    other.load_state_dict(state)
    assert order[-1] == "loaded"
    assert list(state) == ["state", "groups"]


def test_copies_have_no_hooks():
    _, optimizer = make()
    optimizer.register_step_pre_hook(lambda *args: None)
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert not twin._step_pre_hooks
        twin.step()


def test_order_of_all_optimizers_hooks_and_its_own():
    _, optimizer = make()
    calls = []

    def note(label):
        return lambda o, args, kwargs: calls.append((label, o is optimizer, args, kwargs))

    optimizer.register_step_pre_hook(note("pre"))
    optimizer.register_step_post_hook(note("post"))
    with (
        register_optimizer_step_pre_hook(note("all pre")),
        register_optimizer_step_post_hook(note("all post")),
    ):
        optimizer.step(closure=None)
    assert [call[0] for call in calls] == ["all pre", "pre", "post", "all post"]
    assert all(call[1:] == (True, (optimizer,), {"closure": None}) for call in calls)
    optimizer.step()
    assert [call[0] for call in calls[4:]] == ["pre", "post"]


def test_each_pre_hook_sees_what_the_last_returned():
    _, optimizer = make()
    seen = []
    with register_optimizer_step_pre_hook(lambda o, args, kwargs: (args, {"closure": lambda: 2.0})):
        optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append(kwargs["closure"]()))
        optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(kwargs["closure"]()))
        assert optimizer.step() == 2.0
    assert seen == [2.0, 2.0]


def test_arguments_must_begin_with_the_optimizer():
    w, optimizer = make()
    optimizer.register_step_pre_hook(lambda o, args, kwargs: ((), {}))
    with pytest.raises(RuntimeError, match="begin with the optimizer"):
        optimizer.step()
    assert w.tolist() == [1.0, 1.0]


def test_a_step_that_calls_its_base_is_one_step():
    class Twice(rg.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            return super().step(closure)

    w, optimizer = make(Twice)
    calls = []
    optimizer.register_step_pre_hook(lambda *args: calls.append("pre"))
    optimizer.register_step_post_hook(lambda *args: calls.append("post"))
    optimizer.step()
    assert calls == ["pre", "post"] and w.tolist() == [0.0, 0.0]


class Boom(Exception):
    pass


def boom(*args):
    raise Boom


def test_exceptions_travel_and_leave_it_usable():
    w, optimizer = make()
    calls = []
    optimizer.register_step_post_hook(lambda *args: calls.append("post"))
    with pytest.raises(Boom):
        optimizer.step(boom)
    with optimizer.register_step_pre_hook(boom), pytest.raises(Boom):
        optimizer.step()
    assert not calls and w.tolist() == [1.0, 1.0]
    with optimizer.register_step_post_hook(boom), pytest.raises(Boom):
        optimizer.step()
    assert calls == ["post"] and w.tolist() == [0.5, 0.5]
    optimizer.step()
    assert calls == ["post"] * 2 and w.tolist() == [0.0, 0.0]


def test_a_hook_may_remove_itself():
    _, optimizer = make()
    calls, handles = [], []

    def once(*args):
        calls.append("once")
        handles[0].remove()

    handles.append(optimizer.register_step_post_hook(once))
    optimizer.register_step_post_hook(lambda *args: calls.append("always"))
    optimizer.step()
    optimizer.step()
    assert calls == ["once", "always", "always"]


def test_must_be_callable():
    _, optimizer = make()
    with pytest.raises(TypeError, match="callable"):
        optimizer.register_step_pre_hook(None)


def program(lib):
    """What the hooks of an optimiser see, in order, and where the parameter ends."""
    from importlib import import_module

    optimizers = import_module(f"{lib.__name__}.optim.optimizer")
    w = lib.nn.Parameter(lib.ones(2))
    optimizer = lib.optim.SGD([w], lr=0.5, momentum=0.5)
    calls = []

    def note(label):
        def hook(o, args, kwargs):
            calls.append((label, o is optimizer, [type(a).__name__ for a in args], list(kwargs)))

        return hook

    handles = [
        optimizer.register_step_post_hook(note("post")),
        optimizer.register_step_pre_hook(note("pre")),
        optimizers.register_optimizer_step_post_hook(note("all post")),
        optimizers.register_optimizer_step_pre_hook(note("all pre")),
        optimizer.register_step_pre_hook(lambda o, args, kwargs: (args, {"closure": loss})),
        optimizer.register_step_pre_hook(note("pre, last")),
        optimizer.register_state_dict_pre_hook(lambda o: calls.append("save")),
        optimizer.register_state_dict_post_hook(lambda o, state: calls.append(sorted(state))),
        optimizer.register_load_state_dict_pre_hook(lambda o, state: calls.append(sorted(state))),
        optimizer.register_load_state_dict_post_hook(lambda o: calls.append("loaded")),
    ]

    def loss():
        optimizer.zero_grad()
        value = (w * w).sum()
        value.backward()
        return value

    calls.append(optimizer.step().item())
    optimizer.load_state_dict(optimizer.state_dict())
    for handle in handles:
        handle.remove()
    loss()
    optimizer.step()
    return calls, w.tolist()


def test_as_in_pytorch():
    torch = pytest.importorskip("torch")
    assert program(rg) == program(torch)
