"""Optimizer: groups, errors, zero_grad, closures, saving and resuming."""

import copy
import pickle

import pytest
import rustgrad as rg
from rustgrad import nn, optim

MAKERS = {
    "sgd": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda ps: optim.Adam(ps, lr=0.1, amsgrad=True),
    "adamw": lambda ps: optim.AdamW(ps, lr=0.1),
}


def model():
    rg.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def train(net, opt, steps, first=0):
    for t in range(first, first + steps):
        x = rg.tensor([[0.1 * t, 1.0, -0.2 * t], [0.5, -0.1 * t, 0.3]])
        opt.zero_grad()
        (net(x) ** 2).sum().backward()
        opt.step()


def values(net):
    return [p.tolist() for p in net.parameters()]


def p(*shape):
    return nn.Parameter(rg.ones(*shape))


def test_groups_have_their_own_options():
    a, b = p(1), p(1)
    opt = optim.SGD([{"params": [a]}, {"params": b, "lr": 1.0}], lr=0.1)
    assert [g["lr"] for g in opt.param_groups] == [0.1, 1.0]
    assert opt.param_groups[1]["params"] == [b] and opt.defaults["lr"] == 0.1
    a.grad = rg.ones(1)
    b.grad = rg.ones(1)
    opt.step()
    assert a.item() == pytest.approx(0.9) and b.item() == 0.0
    c = p(1)
    opt.add_param_group({"params": (q for q in [c]), "momentum": 0.5})
    assert opt.param_groups[2]["params"] == [c] and opt.param_groups[2]["momentum"] == 0.5
    assert opt.param_groups[2]["lr"] == 0.1


def test_names_are_kept():
    net = model()
    opt = optim.Adam(net.named_parameters())
    names = ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert opt.param_groups[0]["param_names"] == names
    assert opt.param_groups[0]["params"][0] is net[0].weight
    assert opt.state_dict()["param_groups"][0]["param_names"] == names
    with pytest.raises(ValueError, match="with/without names"):
        opt.add_param_group({"params": [p(1)]})
    with pytest.raises(ValueError, match="with/without names"):
        optim.SGD([("a", p(1)), p(1)])
    assert len(opt.param_groups) == 1


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: optim.SGD(p(1)), TypeError, "iterable of Tensors or dicts, but got Parameter"),
        (lambda: optim.SGD([]), ValueError, "empty parameter list"),
        (lambda: optim.SGD([1]), TypeError, "can only optimize Tensors"),
        (lambda: optim.SGD([{"params": {p(1)}}]), TypeError, "ordered collections"),
        (lambda: optim.SGD([p(1) * 2]), ValueError, "non-leaf"),
        (lambda: optim.SGD([p(1)], lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda: optim.SGD([p(1)], momentum=-1), ValueError, "momentum value: -1"),
        (lambda: optim.SGD([p(1)], weight_decay=-1), ValueError, "weight_decay value: -1"),
        (lambda: optim.SGD([p(1)], nesterov=True), ValueError, "Nesterov"),
        (lambda: optim.SGD([p(1)], lr=rg.ones(2)), ValueError, "1-element"),
        (lambda: optim.Adam([p(1)], lr=float("nan")), ValueError, "learning rate"),
        (lambda: optim.Adam([p(1)], eps=-1), ValueError, "epsilon value"),
        (lambda: optim.Adam([p(1)], betas=(1.0, 0.9)), ValueError, "index 0: 1.0"),
        (lambda: optim.AdamW([p(1)], betas=(0.9, -0.1)), ValueError, "index 1: -0.1"),
        (lambda: optim.AdamW([p(1)], capturable=True), ValueError, r"\[AdamW\] capturable"),
        (lambda: optim.Adam([p(1)], fused=True, foreach=True), RuntimeError, "together"),
        (lambda: optim.Adam([p(1)], fused=True, differentiable=True), RuntimeError, "fused"),
    ],
)
def test_bad_arguments(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_parameters_must_not_appear_twice():
    a = p(1)
    opt = optim.SGD([a])
    with pytest.raises(ValueError, match="more than one parameter group"):
        opt.add_param_group({"params": [a]})
    with pytest.raises(TypeError, match="must be a dict"):
        opt.add_param_group([a])
    assert len(opt.param_groups) == 1
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optim.SGD([a, a])


def test_a_required_option():
    class Mine(optim.Optimizer):
        def __init__(self, params):
            from rustgrad.optim.optimizer import required

            super().__init__(params, {"lr": required})

    with pytest.raises(ValueError, match="required optimization parameter lr"):
        Mine([p(1)])
    opt = Mine([{"params": [p(1)], "lr": 1}])
    with pytest.raises(NotImplementedError, match="Mine"):
        opt.step()


def test_parameters_without_gradient_are_passed_over():
    a, b = p(1), p(1)
    opt = optim.Adam([a, b], lr=0.5)
    opt.step()
    assert not opt.state
    a.grad = rg.ones(1)
    opt.step()
    assert list(opt.state) == [a] and b.item() == 1.0 and a.item() == pytest.approx(0.5)
    assert opt.state[a]["step"].item() == 1.0


def test_zero_grad():
    a = p(1)
    opt = optim.SGD([a])
    a.grad = rg.ones(1)
    grad = a.grad
    opt.zero_grad(set_to_none=False)
    assert a.grad is grad and grad.item() == 0.0
    opt.zero_grad()
    assert a.grad is None


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_closure_runs_with_gradients(make):
    a = p(2)
    opt = make([a])

    def closure():
        opt.zero_grad()
        loss = (a * a).sum()
        loss.backward()
        return loss

    with rg.no_grad():
        first = opt.step(closure)
    assert first.item() == 2.0
    assert opt.step(closure).item() < 2.0
    assert a.is_leaf and a.grad_fn is None and a.requires_grad


def test_repr():
    opt = optim.SGD([{"params": [p(1)]}, {"params": [p(1)], "lr": 1}], lr=0.5)
    assert repr(opt) == (
        "SGD (\n"
        + "".join(
            f"Parameter Group {i}\n    dampening: 0\n    differentiable: False\n    foreach: None\n"
            f"    fused: None\n    lr: {lr}\n    maximize: False\n    momentum: 0\n"
            "    nesterov: False\n    weight_decay: 0\n"
            for i, lr in enumerate([0.5, 1])
        )
        + ")"
    )


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_resuming_equals_an_uninterrupted_run(make):
    straight = model()
    opt = make(straight.parameters())
    train(straight, opt, 8)

    first = model()
    opt = make(first.parameters())
    train(first, opt, 5)
    saved = pickle.loads(pickle.dumps((first.state_dict(), opt.state_dict())))

    second = model()
    second.load_state_dict(saved[0])
    resumed = make(second.parameters())
    resumed.load_state_dict(saved[1])
    train(second, resumed, 3, first=5)
    assert values(second) == values(straight) != values(first)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_loaded_state_is_a_copy(make):
    net, other = model(), model()
    a, b = make(net.parameters()), make(other.parameters())
    train(net, a, 2)
    state = a.state_dict()
    before = copy.deepcopy(state)
    b.load_state_dict(state)
    train(other, b, 3)
    for key, entry in before["state"].items():
        for name, value in entry.items():
            assert state["state"][key][name].tolist() == value.tolist()
    assert state["param_groups"] == before["param_groups"]


def test_loading_checks_before_it_changes():
    a, b = p(1), p(2)
    opt = optim.Adam([{"params": [a]}, {"params": [b]}], lr=0.1)
    a.grad = rg.ones(1)
    opt.step()
    good = opt.state_dict()
    with pytest.raises(ValueError, match="different number of parameter groups"):
        opt.load_state_dict({"state": {}, "param_groups": good["param_groups"][:1]})
    bad = copy.deepcopy(good)
    bad["param_groups"][1]["params"] = [1, 2]
    bad["param_groups"][0]["lr"] = 9.0
    with pytest.raises(ValueError, match="group 1 has 2 parameters, the optimizer's has 1"):
        opt.load_state_dict(bad)
    assert opt.param_groups[0]["lr"] == 0.1 and list(opt.state) == [a]
    good["param_groups"][0]["lr"] = 0.7
    opt.load_state_dict(good)
    assert opt.param_groups[0]["lr"] == 0.7 and opt.param_groups[0]["params"][0] is a


def test_loading_converts_to_the_parameters_dtype_but_not_the_count():
    a = p(1)
    opt = optim.Adam([a])
    a.grad = rg.ones(1)
    opt.step()
    b = nn.Parameter(rg.ones(1, dtype=rg.float64))
    other = optim.Adam([b])
    other.load_state_dict(opt.state_dict())
    assert other.state[b]["exp_avg"].dtype == rg.float64
    assert other.state[b]["step"].dtype == opt.state[a]["step"].dtype


def test_old_checkpoints_load():
    a = p(1)
    old = {
        "state": {0: {"step": 3, "exp_avg": rg.ones(1), "exp_avg_sq": rg.ones(1)}},
        "param_groups": [
            {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0, "params": [0]}
        ],
    }
    for kind, decoupled in ((optim.Adam, False), (optim.AdamW, True)):
        opt = kind([a])
        opt.load_state_dict(old)
        group = opt.param_groups[0]
        assert group["amsgrad"] is False and group["decoupled_weight_decay"] is decoupled
        a.grad = rg.ones(1)
        opt.step()
        assert opt.state[a]["step"].item() == 4.0
    assert old["state"][0]["step"] == 3


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_pickle_and_deepcopy_together_with_the_model(make):
    net = model()
    opt = make(net.parameters())
    train(net, opt, 2)
    for duplicate in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
        other, other_opt = duplicate((net, opt))
        assert other_opt.param_groups[0]["params"][0] is other[0].weight
        assert repr(other_opt) == repr(opt)
        train(other, other_opt, 2, first=2)
        again, again_opt = copy.deepcopy((net, opt))
        train(again, again_opt, 2, first=2)
        assert values(other) == values(again) != values(net)
