"""Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict."""

from collections import OrderedDict

import pytest
import rustgrad as rg
from rustgrad import nn


def numbered(kind, count):
    modules = [nn.Linear(1, size + 1) for size in range(count)]
    return kind(*modules) if kind is nn.Sequential else kind(modules)


def sizes(container):
    return [module.out_features for module in container]


@pytest.mark.parametrize("kind", [nn.Sequential, nn.ModuleList])
def test_sequence_protocol(kind):
    c = numbered(kind, 4)
    assert len(c) == 4 and sizes(c) == [1, 2, 3, 4]
    assert c[0].out_features == 1 and c[-1].out_features == 4
    assert type(c[1:3]) is kind and sizes(c[1:3]) == [2, 3] and sizes(c[::-1]) == [4, 3, 2, 1]
    for index in (4, -5):
        with pytest.raises(IndexError, match=f"index {index} is out of range"):
            c[index]
    with pytest.raises(TypeError, match="integers or slices"):
        c["x"]
    c[1] = nn.Linear(1, 20)
    c[-1] = nn.Linear(1, 40)
    assert sizes(c) == [1, 20, 3, 40] and list(c._modules) == ["0", "1", "2", "3"]
    del c[1]
    assert sizes(c) == [1, 3, 40] and list(c._modules) == ["0", "1", "2"]
    del c[:2]
    assert sizes(c) == [40] and list(c._modules) == ["0"]
    assert c.append(nn.Linear(1, 5)) is c and sizes(c) == [40, 5]
    c.insert(0, nn.Linear(1, 6))
    c.insert(-1, nn.Linear(1, 7))
    assert sizes(c) == [6, 40, 7, 5] and list(c._modules) == ["0", "1", "2", "3"]
    assert c.pop(1).out_features == 40 and sizes(c) == [6, 7, 5]
    assert c.extend(c) is c and sizes(c) == [6, 7, 5, 6, 7, 5]
    assert len(list(c.parameters())) == 6
    for bad in (lambda: c.append(3), lambda: c.insert(0, 3)):
        with pytest.raises(TypeError, match="not a Module subclass"):
            bad()
    with pytest.raises(TypeError, match="iterable"):
        c.extend(3)
    assert len(c) == 6


def test_module_list_operators_and_repr():
    a = numbered(nn.ModuleList, 2)
    b = a + [nn.ReLU()]
    assert type(b) is nn.ModuleList and len(b) == 3 and b[0] is a[0] and len(a) == 2
    a += [nn.ReLU(), nn.ReLU()]
    assert repr(a) == (
        "ModuleList(\n"
        "  (0): Linear(in_features=1, out_features=1, bias=True)\n"
        "  (1): Linear(in_features=1, out_features=2, bias=True)\n"
        "  (2-3): 2 x ReLU()\n"
        ")"
    )
    assert repr(nn.ModuleList()) == "ModuleList()"
    with pytest.raises(NotImplementedError, match="forward"):
        a(rg.zeros(1))


def test_sequential_operators():
    a = nn.Sequential(nn.ReLU(), nn.Tanh())
    assert len(a + a) == 4 and len(a * 3) == 6 and len(2 * a) == 4
    b = nn.Sequential(nn.ReLU())
    b += a
    b *= 2
    assert [type(m).__name__ for m in b] == ["ReLU", "ReLU", "Tanh"] * 2
    with pytest.raises(ValueError, match="only objects of Sequential"):
        a + [nn.ReLU()]
    with pytest.raises(ValueError, match="Non-positive"):
        a * 0
    with pytest.raises(TypeError, match="unsupported operand"):
        a * 1.5
    with pytest.raises(IndexError, match="out of range"):
        a.insert(5, nn.ReLU())


def test_sequential_keeps_given_names_and_runs_in_order():
    s = nn.Sequential(OrderedDict(grow=nn.Linear(1, 2), act=nn.ReLU(), out=nn.Linear(2, 1)))
    assert s.grow is s[0] and list(s[:2]._modules) == ["grow", "act"]
    x = rg.ones(3, 1)
    assert s(x).tolist() == s.out(s.act(s.grow(x))).tolist()
    del s[1]
    assert list(s._modules) == ["grow", "out"]
    assert nn.Sequential()(x) is x


def test_module_dict():
    d = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(1, 1)})
    assert list(d) == ["a", "b"] and len(d) == 2 and "a" in d and "c" not in d
    assert d["b"] is d.b and list(d.keys()) == ["a", "b"]
    assert [v for _, v in d.items()] == list(d.values())
    d.update([("c", nn.Tanh()), ("a", nn.SELU())])
    assert isinstance(d["a"], nn.SELU) and list(d) == ["a", "b", "c"]
    assert isinstance(d.pop("a"), nn.SELU) and "a" not in d
    d.update(nn.ModuleDict({"d": nn.ReLU()}))
    del d["d"]
    assert [name for name, _ in d.named_parameters()] == ["b.weight", "b.bias"]
    for bad, error in [
        (lambda: d.update(3), TypeError),
        (lambda: d.update([1]), TypeError),
        (lambda: d.update([(1,)]), ValueError),
        (lambda: d.update({"x": 1}), TypeError),
        (lambda: d.update({1: nn.ReLU()}), TypeError),
        (lambda: d["nope"], KeyError),
    ]:
        with pytest.raises(error):
            bad()
    assert list(d) == ["b", "c"]
    d.clear()
    assert repr(d) == "ModuleDict()"


def test_parameter_list():
    p = nn.ParameterList([rg.zeros(2, 3), nn.Parameter(rg.ones(1), requires_grad=False)])
    assert len(p) == 2 and all(isinstance(x, nn.Parameter) for x in p)
    assert p[0].requires_grad and not p[-1].requires_grad
    p.append("text")
    p += [rg.ones(4)]
    assert list(p.state_dict()) == ["0", "1", "3"] and p[2] == "text"
    assert type(p[1:]) is nn.ParameterList and len(p[1:]) == 3 and p[1:][0] is p[1]
    p[0] = rg.full((1,), 5.0)
    assert p[0].item() == 5.0 and isinstance(p[0], nn.Parameter)
    lines = repr(p).split("\n")
    assert lines[0] == "ParameterList(" and lines[-1] == ")"
    assert lines[1].startswith("    (0): Parameter containing: [") and lines[1].endswith("size 1]")
    assert lines[3] == "    (2): Object of type: str"
    for bad, error in [
        (lambda: p.extend(rg.ones(2)), TypeError),
        (lambda: p[9], IndexError),
        (lambda: p(1), RuntimeError),
    ]:
        with pytest.raises(error):
            bad()
    assert "0" not in dir(p)


def test_parameter_dict():
    d = nn.ParameterDict({"b": rg.zeros(1), "a": rg.ones(1)})
    assert list(d) == ["a", "b"]  # plain dictionaries are taken sorted
    d = nn.ParameterDict(OrderedDict(b=rg.zeros(1), a=rg.ones(1)))
    assert list(d) == ["b", "a"] and list(reversed(d)) == ["a", "b"] and len(d) == 2
    assert isinstance(d["a"], nn.Parameter) and d.a is d["a"] and "a" in d
    d["note"] = "text"
    assert d.get("note") == "text" and d.get("nope", 3) == 3
    assert list(d.state_dict()) == ["b", "a"]
    assert d.popitem() == ("note", "text")
    assert d.setdefault("a", 9) is d["a"] and d.setdefault("n", 9) == 9
    assert d.pop("n") == 9 and "n" not in d
    copied = d.copy()
    del copied["a"]
    assert "a" in d and list(copied) == ["b"]
    both = copied | nn.ParameterDict({"z": rg.ones(1)})
    assert list(both) == ["b", "z"] and list(copied) == ["b"]
    copied |= nn.ParameterDict({"y": rg.ones(1)})
    assert list(copied) == ["b", "y"]
    assert list(d.fromkeys(["p", "q"], 1).items()) == [("p", 1), ("q", 1)]
    assert [v.item() for v in d.values()] == [0.0, 1.0]
    assert "(b): Parameter containing: [" in repr(d)
    for bad, error in [
        (lambda: d[3], TypeError),
        (lambda: d.update([("x",)]), ValueError),
        (lambda: d.update(3), TypeError),
        (lambda: d(1), RuntimeError),
        (lambda: d["nope"], AttributeError),
    ]:
        with pytest.raises(error):
            bad()
    d.clear()
    assert len(d) == 0 and list(d.parameters()) == []
