"""state_dict and load_state_dict."""

import copy
from collections import OrderedDict

import pytest
import rustgrad as rg
from rustgrad import nn


def make():
    net = nn.Sequential(
        OrderedDict(lin=nn.Linear(2, 3), norm=nn.LayerNorm(3), tail=nn.Sequential(nn.Linear(3, 1)))
    )
    net.register_buffer("count", rg.tensor(7))
    net.register_buffer("scratch", rg.zeros(2), persistent=False)
    return net


def values(module):
    return {name: tensor.tolist() for name, tensor in module.state_dict().items()}


def test_names_metadata_and_memory():
    net = make()
    state = net.state_dict()
    assert list(state) == [
        "count",
        "lin.weight",
        "lin.bias",
        "norm.weight",
        "norm.bias",
        "tail.0.weight",
        "tail.0.bias",
    ]
    assert dict(state._metadata) == {
        key: {"version": 1} for key in ("", "lin", "norm", "tail", "tail.0")
    }
    assert not state["lin.weight"].requires_grad
    with rg.no_grad():
        net.lin.weight.fill_(5)
    assert state["lin.weight"].tolist() == [[5.0, 5.0]] * 3
    kept = net.state_dict(prefix="m.", keep_vars=True)
    assert kept["m.lin.weight"] is net.lin.weight
    with pytest.warns(FutureWarning, match="positional"):
        assert list(net.state_dict(OrderedDict(), "p.", False))[0] == "p.count"


def test_round_trip():
    a, b = make(), make()
    assert values(a) != values(b)
    result = b.load_state_dict(a.state_dict())
    assert repr(result) == "<All keys matched successfully>"
    assert result.missing_keys == [] and result.unexpected_keys == []
    assert values(a) == values(b)
    assert b.lin.weight is not a.lin.weight
    with rg.no_grad():
        a.lin.weight.zero_()
    assert values(a) != values(b)


def test_all_complaints_come_together_and_nothing_has_changed():
    net = make()
    before = values(net)
    state = {name: rg.zeros(t.shape, dtype=t.dtype) for name, t in net.state_dict().items()}
    del state["lin.bias"], state["count"]
    state["extra"] = rg.zeros(1)
    state["tail.9.weight"] = rg.zeros(1)
    state["norm.weight"] = rg.zeros(4)
    state["tail.0.bias"] = [1.0]
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    lines = message.split("\n\t")
    assert lines[0] == "Error(s) in loading state_dict for Sequential:"
    assert lines[1] == 'Missing key(s) in state_dict: "count", "lin.bias". '
    assert lines[2] == 'Unexpected key(s) in state_dict: "extra", "tail.9.weight". '
    assert lines[3].startswith("size mismatch for norm.weight: copying a param with shape ")
    assert "[4]" in lines[3] and "[3]" in lines[3]
    assert lines[4].startswith('While copying the parameter named "tail.0.bias", expected Tensor')
    assert values(net) == before


@pytest.mark.parametrize("strict", [True, False])
def test_a_wrong_size_is_never_forgiven(strict):
    net = make()
    before = values(net)
    state = {name: rg.zeros(t.shape, dtype=t.dtype) for name, t in net.state_dict().items()}
    state["tail.0.weight"] = rg.zeros(1, 4)
    with pytest.raises(RuntimeError, match="size mismatch for tail.0.weight"):
        net.load_state_dict(state, strict=strict)
    assert values(net) == before


def test_not_strict_loads_what_fits():
    net = make()
    result = net.load_state_dict({"lin.bias": rg.ones(3), "other": rg.ones(1)}, strict=False)
    assert net.lin.bias.tolist() == [1.0, 1.0, 1.0]
    assert result.unexpected_keys == ["other"]
    assert "lin.weight" in result.missing_keys and len(result.missing_keys) == 6
    assert "missing_keys" in repr(result)


def test_the_argument_is_checked_and_left_alone():
    net = make()
    with pytest.raises(TypeError, match="dict-like"):
        net.load_state_dict([1])
    state = net.state_dict()
    keys = list(state)
    net.register_load_state_dict_pre_hook(lambda module, entries, *rest: entries.pop("count"))
    net.load_state_dict(state, strict=False)
    assert list(state) == keys


def test_assign_puts_tensors_in_place():
    net = nn.Linear(2, 1)
    net.bias.requires_grad_(False)
    weight, bias = rg.ones(1, 2, dtype=rg.float64), nn.Parameter(rg.ones(1))
    net.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    assert isinstance(net.weight, nn.Parameter) and net.weight.dtype == rg.float64
    assert net.weight.requires_grad and net.bias is bias and not bias.requires_grad
    with rg.no_grad():
        weight.fill_(4)
    assert net.weight.tolist() == [[4.0, 4.0]]


def test_values_are_converted_when_copied():
    net = nn.Linear(1, 1)
    state = {"weight": rg.full((1, 1), 2.0, dtype=rg.float64), "bias": rg.tensor([3])}
    net.load_state_dict(state)
    assert net.weight.dtype == rg.float32 and net.weight.item() == 2.0 and net.bias.item() == 3.0


def test_one_element_vectors_load_into_scalars():
    m = nn.Module()
    m.s = nn.Parameter(rg.tensor(0.0))
    m.load_state_dict({"s": rg.tensor([2.0])})
    assert m.s.item() == 2.0 and m.s.dim() == 0


class Extra(nn.Linear):
    def __init__(self):
        super().__init__(1, 1)
        self.note = "new"

    def get_extra_state(self):
        return {"note": self.note}

    def set_extra_state(self, state):
        self.note = state["note"]


def test_extra_state():
    a, b = Extra(), Extra()
    a.note = "old"
    state = a.state_dict()
    assert state["_extra_state"] == {"note": "old"}
    b.load_state_dict(state)
    assert b.note == "old"
    del state["_extra_state"]
    with pytest.raises(RuntimeError, match='Missing key.*"_extra_state"'):
        b.load_state_dict(state)
    with pytest.raises(RuntimeError, match='Unexpected key.*"_extra_state"'):
        nn.Linear(1, 1).load_state_dict(a.state_dict())
    with pytest.raises(RuntimeError, match="override"):
        nn.Linear(1, 1).get_extra_state()


def test_version_reaches_an_override_which_sees_loaded_values():
    seen = []

    class Old(nn.Linear):
        _version = 3

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
            seen.append((prefix, local_metadata.get("version"), self.weight.item()))

    net = nn.Sequential(Old(1, 1))
    state = net.state_dict()
    state["0.weight"] = rg.full((1, 1), 9.0)
    net.load_state_dict(state)
    assert seen == [("0.", 3, 9.0)]


def test_saving_hooks():
    net = make()
    calls = []
    net.lin.register_state_dict_pre_hook(
        lambda module, prefix, keep_vars: calls.append((prefix, keep_vars))
    )

    def rename(module, state, prefix, metadata):
        state[prefix + "kernel"] = state.pop(prefix + "weight")
        assert metadata == {"version": 1}

    with net.lin.register_state_dict_post_hook(rename):
        assert "lin.kernel" in net.state_dict()
        with pytest.raises(RuntimeError, match="post hook"):
            net.lin._register_state_dict_hook(rename)
    assert "lin.kernel" not in net.state_dict()
    assert calls == [("lin.", False)] * 2
    net._register_state_dict_hook(lambda module, state, prefix, metadata: {"only": 1})
    assert net.state_dict() == {"only": 1}


def test_a_post_hook_must_return_none():
    net = nn.Linear(1, 1)
    net.register_state_dict_post_hook(lambda *args: {})
    with pytest.raises(RuntimeError, match="must return None"):
        net.state_dict()


def test_loading_hooks_rename_and_forgive():
    net = nn.Sequential(nn.Linear(1, 1))

    def rename(module, state, prefix, *rest):
        assert module is net[0]
        state[prefix + "weight"] = state.pop(prefix + "kernel")

    net[0].register_load_state_dict_pre_hook(rename)
    net.load_state_dict({"0.kernel": rg.full((1, 1), 5.0), "0.bias": rg.zeros(1)})
    assert net[0].weight.item() == 5.0

    handle = net.register_load_state_dict_post_hook(
        lambda module, keys: keys.missing_keys.remove("0.bias")
    )
    net.load_state_dict({"0.kernel": rg.full((1, 1), 6.0)})
    assert net[0].weight.item() == 6.0
    handle.remove()
    with pytest.raises(RuntimeError, match='Missing key.*"0.bias"'):
        net.load_state_dict({"0.kernel": rg.full((1, 1), 7.0)})
    assert net[0].weight.item() == 6.0
    net.register_load_state_dict_post_hook(lambda module, keys: keys)
    with pytest.raises(AssertionError, match="None"):
        net.load_state_dict({"0.kernel": rg.full((1, 1), 7.0), "0.bias": rg.zeros(1)})


def test_a_bound_loading_hook_follows_the_copy():
    net = nn.Linear(1, 1)
    net.register_load_state_dict_pre_hook(remember_module)
    other = copy.deepcopy(net)
    other.load_state_dict(net.state_dict())
    assert other.seen is other and not hasattr(net, "seen")


def remember_module(module, *args):
    object.__setattr__(module, "seen", module)


def test_loading_post_hooks_run_children_first_once_everything_is_loaded():
    net = make()
    seen = []
    for name, module in net.named_modules():
        module.register_load_state_dict_post_hook(
            lambda m, keys, name=name: seen.append((name, net.tail[0].bias.item()))
        )
    state = net.state_dict()
    state["tail.0.bias"] = rg.tensor([4.0])
    net.load_state_dict(state)
    assert seen == [(name, 4.0) for name in ("lin", "norm", "tail.0", "tail", "")]
