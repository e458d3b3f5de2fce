"""Hooks of optimisers: around steps, saving and loading."""

import copy
import pickle

import pytest
import rustgrad as rg


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
