"""Module: registration, names, walking the tree, conversion, printing, copying."""

import copy
import pickle

import pytest
import rustgrad as rg
from rustgrad import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.scale = nn.Parameter(rg.ones(3))
        self.register_buffer("mean", rg.zeros(3))
        self.register_buffer("scratch", rg.zeros(1), persistent=False)
        self.absent = None

    def forward(self, x):
        return self.first(x) * self.scale + self.mean


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = Block()
        self.b = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        self.shared = self.a.first
        self.tied = self.a.scale


def names(pairs):
    return [name for name, _ in pairs]


def test_named_parameters_yields_shared_ones_once_unless_asked():
    net = Net()
    once = ["tied", "a.first.weight", "a.first.bias", "b.0.weight", "b.0.bias"]
    assert names(net.named_parameters()) == once
    everything = names(net.named_parameters(remove_duplicate=False))
    assert everything == [
        "tied",
        "a.scale",
        "a.first.weight",
        "a.first.bias",
        "b.0.weight",
        "b.0.bias",
        "shared.weight",
        "shared.bias",
    ]
    assert names(net.named_parameters(prefix="m", recurse=False)) == ["m.tied"]
    assert len(list(net.parameters())) == 5


def test_named_modules_children_and_buffers():
    net = Net()
    assert names(net.named_modules()) == ["", "a", "a.first", "b", "b.0", "b.1"]
    assert names(net.named_modules(prefix="x", remove_duplicate=False))[-1] == "x.shared"
    assert names(net.named_children()) == ["a", "b", "shared"]
    net.again = net.b
    assert names(net.named_children()) == ["a", "b", "shared"]
    assert names(net.named_buffers()) == ["a.mean", "a.scratch"]
    assert len(list(net.modules())) == 6


def test_assigning_before_init_is_an_error():
    class Early(nn.Module):
        def __init__(self, value):
            self.value = value

    for value, kind in [
        (nn.Parameter(rg.zeros(1)), "parameters"),
        (nn.ReLU, "module"),
        (nn.Buffer(rg.zeros(1)), "buffer"),
    ]:
        if value is nn.ReLU:
            value = nn.ReLU()
        with pytest.raises(AttributeError, match=f"cannot assign {kind} before"):
            Early(value)


def test_init_takes_no_arguments():
    with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
        nn.Module(size=3)
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        nn.Module(3)


def test_wrong_kinds_are_refused_and_the_old_value_stays():
    m = Block()
    weight, first, mean = m.scale, m.first, m.mean
    for name in ("scale", "first", "mean"):
        with pytest.raises(TypeError, match=name):
            setattr(m, name, 3)
    with pytest.raises(TypeError, match="as parameter 'scale'"):
        m.scale = rg.zeros(3)
    assert m.scale is weight and m.first is first and m.mean is mean
    with pytest.raises(TypeError, match="not a Module subclass"):
        m.add_module("x", 3)
    with pytest.raises(TypeError, match="Tensor or None required"):
        m.register_buffer("x", 3)
    with pytest.raises(TypeError, match="nn.Parameter or None required"):
        m.register_parameter("x", rg.zeros(1))
    with pytest.raises(ValueError, match="non-leaf"):
        m.register_parameter("x", _computed_parameter())
    assert not hasattr(m, "x")


def _computed_parameter():
    class Fake(nn.Parameter):
        @property
        def grad_fn(self):
            return "MulBackward0"

    return Fake(rg.zeros(1))


@pytest.mark.parametrize("kind", ["buffer", "parameter", "module"])
@pytest.mark.parametrize(
    "name, error, text",
    [
        ("a.b", KeyError, 'contain ".", got: a.b'),
        ("", KeyError, "empty string"),
        (3, TypeError, "should be a string"),
        ("forward", KeyError, "already exists"),
    ],
)
def test_names_are_checked(kind, name, error, text):
    m = nn.Module()
    register = {
        "buffer": m.register_buffer,
        "parameter": m.register_parameter,
        "module": m.add_module,
    }[kind]
    with pytest.raises(error) as caught:
        register(name, None)
    assert text in caught.value.args[0]


def test_a_name_lives_in_one_table():
    m = nn.Module()
    m.x = 1
    m.x = nn.Parameter(rg.zeros(1))
    assert "x" not in m.__dict__ and names(m.named_parameters()) == ["x"]
    m.x = None
    assert m.x is None and names(m.named_parameters()) == []
    m.x = nn.Parameter(rg.zeros(2))
    del m.x
    assert not hasattr(m, "x")
    with pytest.raises(AttributeError, match="'Module' object has no attribute 'x'"):
        _ = m.x
    with pytest.raises(AttributeError):
        del m.x

    m.y = nn.ReLU()
    m.y = None
    assert names(m.named_children()) == []
    m.register_buffer("z", rg.zeros(1), persistent=False)
    del m.z
    m.register_buffer("z", rg.zeros(1))
    assert list(m.state_dict()) == ["z"]


def test_buffer_class_registers_itself():
    m = nn.Module()
    m.kept = nn.Buffer(rg.ones(2))
    m.lost = nn.Buffer(rg.ones(2), persistent=False)
    assert names(m.named_buffers()) == ["kept", "lost"]
    assert list(m.state_dict()) == ["kept"]
    m.kept = rg.zeros(5)
    assert m.get_buffer("kept").shape == (5,)


def test_dir_lists_members_and_leaves_out_numbers():
    net = Net()
    assert {"a", "tied", "forward"} <= set(dir(net))
    assert "0" not in dir(net.b) and {"mean", "scale"} <= set(dir(net.a))


def test_get_and_set_by_dotted_name():
    net = Net()
    assert net.get_submodule("") is net
    assert net.get_submodule("b.0") is net.b[0]
    assert net.get_parameter("a.first.weight") is net.a.first.weight
    assert net.get_buffer("a.mean") is net.a.mean
    for call, text in [
        (lambda: net.get_submodule("a.nope"), "no attribute `nope`"),
        (lambda: net.get_submodule("a.scale"), "not an nn.Module"),
        (lambda: net.get_parameter("a.mean"), "not an nn.Parameter"),
        (lambda: net.get_buffer("a.scale"), "not a buffer"),
    ]:
        with pytest.raises(AttributeError, match=text):
            call()
    net.set_submodule("b.0", nn.Identity())
    assert isinstance(net.b[0], nn.Identity)
    with pytest.raises(AttributeError, match="no attribute `nope`"):
        net.set_submodule("a.nope", nn.Identity(), strict=True)
    with pytest.raises(AttributeError, match="not an nn.Module"):
        net.set_submodule("a.scale", nn.Identity())
    with pytest.raises(ValueError):
        net.set_submodule("", nn.Identity())


def test_train_eval_requires_grad_and_apply():
    net = Net()
    assert net.eval() is net and not any(m.training for m in net.modules())
    net.a.train()
    assert net.a.first.training and not net.b.training
    with pytest.raises(ValueError, match="boolean"):
        net.train("yes")
    assert not any(p.requires_grad for p in net.requires_grad_(False).parameters())
    seen = []
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "Block", "Linear", "ReLU", "Sequential", "Linear", "Net"]


def test_conversion_keeps_parameters_and_leaves_integers():
    m = Block()
    m.register_buffer("count", rg.tensor(3))
    weight = m.first.weight
    m.first.weight.grad = rg.ones(3, 2)
    assert m.double() is m
    assert m.first.weight is weight and weight.dtype == rg.float64
    assert isinstance(weight, nn.Parameter) and weight.requires_grad and weight.is_leaf
    assert weight.grad.dtype == rg.float64 and m.mean.dtype == rg.float64
    assert m.count.dtype == rg.int64
    assert m.to(rg.float16).mean.dtype == rg.float16
    assert m.to("cpu", rg.float32).mean.dtype == rg.float32
    assert m.to(rg.zeros(1, dtype=rg.float64)).mean.dtype == rg.float64
    assert m.to(device="cpu", dtype=rg.bfloat16).mean.dtype == rg.bfloat16
    assert m.float().half().bfloat16().cpu().float().mean.dtype == rg.float32
    assert m.type(rg.float64).count.dtype == rg.float64


@pytest.mark.parametrize(
    "args, kwargs, text",
    [
        ((rg.int64,), {}, "only accepts floating point"),
        ((), {"what": 1}, "unexpected keyword argument 'what'"),
        ((3.5,), {}, "invalid first argument"),
        (("cpu", "float32"), {}, "expected a dtype"),
        (("cpu", rg.float32, False, 1), {}, "at most 3"),
    ],
)
def test_to_refuses_what_makes_no_sense(args, kwargs, text):
    with pytest.raises(TypeError, match=text):
        nn.Linear(2, 2).to(*args, **kwargs)


def test_zero_grad():
    m = nn.Linear(2, 2)
    m(rg.ones(1, 2)).sum().backward()
    m.zero_grad(set_to_none=False)
    assert m.weight.grad.abs().sum().item() == 0
    m.zero_grad()
    assert m.weight.grad is None


def test_share_memory_says_what_to_do_instead():
    with pytest.raises(NotImplementedError, match="state_dict"):
        nn.Linear(1, 1).share_memory()


def test_missing_forward_names_the_class():
    with pytest.raises(NotImplementedError, match=r'Module \[Net\] is missing the required "for'):
        Net()(1)


def test_repr_of_a_tree():
    assert repr(Net()) == (
        "Net(\n"
        "  (a): Block(\n"
        "    (first): Linear(in_features=2, out_features=3, bias=True)\n"
        "  )\n"
        "  (b): Sequential(\n"
        "    (0): Linear(in_features=3, out_features=3, bias=True)\n"
        "    (1): ReLU()\n"
        "  )\n"
        "  (shared): Linear(in_features=2, out_features=3, bias=True)\n"
        ")"
    )

    class Two(nn.Module):
        def extra_repr(self):
            return "one\ntwo"

    assert repr(Two()) == "Two(\n  one\n  two\n)"


def test_call_super_init_continues_the_chain():
    class Mixin:
        def __init__(self, size):
            self.size = size

    class Both(nn.Module, Mixin):
        call_super_init = True

        def __init__(self):
            super().__init__(size=4)

    assert Both().size == 4


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_equal_and_independent(duplicate):
    net = Net()
    other = duplicate(net)
    assert repr(other) == repr(net)
    for (name, p), (other_name, q) in zip(
        net.named_parameters(), other.named_parameters(), strict=True
    ):
        assert name == other_name and q is not p and isinstance(q, nn.Parameter)
        assert q.tolist() == p.tolist() and q.requires_grad == p.requires_grad
    assert other.shared is other.a.first and other.tied is other.a.scale
    with rg.no_grad():
        other.tied.zero_()
    assert net.tied.tolist() == [1.0, 1.0, 1.0]
    assert other.a.scale.tolist() == [0.0, 0.0, 0.0]


def test_parameter():
    base = rg.zeros(2)
    p = nn.Parameter(base)
    assert p.requires_grad and p.is_leaf and isinstance(p, rg.Tensor)
    assert repr(p).startswith("Parameter containing:\ntensor([0., 0.]")
    with rg.no_grad():
        base.fill_(3)
    assert p.tolist() == [3.0, 3.0]
    assert not nn.Parameter(base, requires_grad=False).requires_grad
    assert nn.Parameter().numel() == 0
    assert type(p * 2) is rg.Tensor and type(p.data) is rg.Tensor
    with pytest.raises(TypeError, match="must be a Tensor"):
        nn.Parameter([1.0])

    p.no_decay = True
    clone = pickle.loads(pickle.dumps(p))
    assert clone.no_decay and type(clone) is nn.Parameter
    both = copy.deepcopy([p, p])
    assert both[0] is both[1] and both[0] is not p


def test_buffer_copies_keep_persistent():
    b = nn.Buffer(rg.ones(2), persistent=False)
    for other in (copy.deepcopy(b), pickle.loads(pickle.dumps(b))):
        assert type(other) is nn.Buffer and other.persistent is False
        assert other.tolist() == [1.0, 1.0]
