"""Counting floating-point operations: formulas, modules, backward, and PyTorch's counts."""

from __future__ import annotations

import pytest
import rustgrad as rg
from rustgrad.nn.modules import _global_hooks as everywhere
from rustgrad.utils.checkpoint import checkpoint
from rustgrad.utils.flop_counter import (
    FlopCounterMode,
    flop_registry,
    register_flop_formula,
)


def count(function, **options):
    with FlopCounterMode(display=False, **options) as counter:
        function()
    return counter


def mlp(torch):
    return torch.nn.Sequential(
        torch.nn.Linear(8, 16),
        torch.nn.ReLU(),
        torch.nn.LayerNorm(16),
        torch.nn.Linear(16, 4, bias=False),
    )


def test_products_by_hand():
    cases = {
        "mm": (lambda: rg.ones(2, 3) @ rg.ones(3, 5), 2 * 2 * 3 * 5),
        "bmm": (lambda: rg.ones(7, 2, 3).bmm(rg.ones(7, 3, 5)), 2 * 7 * 2 * 3 * 5),
        "mv": (lambda: rg.ones(2, 3) @ rg.ones(3), 2 * 2 * 3),
        "dot": (lambda: rg.ones(9) @ rg.ones(9), 2 * 9),
        "linear": (
            lambda: rg.nn.functional.linear(rg.ones(4, 5, 3), rg.ones(2, 3), rg.ones(2)),
            2 * 4 * 5 * 3 * 2,
        ),
    }
    for name, (function, flops) in cases.items():
        counts = count(function).get_flop_counts()
        assert counts == {"Global": {name: flops}}, name


def test_empty_products_and_elementwise_ops_count_nothing():
    counter = count(lambda: (rg.ones(0, 3) @ rg.ones(3, 5), rg.ones(9).exp().sum()))
    assert counter.get_total_flops() == 0
    assert counter.get_table().startswith("Module")


def test_backward_counts_for_the_module_that_recorded():
    net = mlp(rg)
    x = rg.randn(32, 8, requires_grad=True)
    counts = count(lambda: net(x).sum().backward()).get_flop_counts()
    first, last = 2 * 32 * 8 * 16, 2 * 32 * 16 * 4
    assert counts["Sequential.0"] == {"linear": first, "mm": 2 * first}
    assert counts["Sequential.3"] == {"linear": last, "mm": 2 * last}
    assert (
        counts["Sequential"]
        == counts["Global"]
        == {"linear": first + last, "mm": 2 * (first + last)}
    )
    assert "Sequential.1" not in counts


def test_gradients_that_nobody_needs_are_not_counted():
    net = mlp(rg)
    net[0].requires_grad_(False)
    net[2].requires_grad_(False)
    counts = count(lambda: net(rg.randn(32, 8)).sum().backward()).get_flop_counts()
    assert "mm" not in counts["Sequential.0"]
    assert counts["Sequential.3"]["mm"] == 2 * 32 * 16 * 4


def test_checkpoints_count_again_for_their_module():
    layer = rg.nn.Linear(8, 8)
    x = rg.randn(4, 8, requires_grad=True)

    def run():
        checkpoint(layer, x, early_stop=False).sum().backward()

    one = 2 * 4 * 8 * 8
    assert count(run).get_flop_counts()["Linear"] == {"linear": 2 * one, "mm": 2 * one}


def test_a_module_called_twice_and_a_module_in_two_places():
    shared = rg.nn.Linear(4, 4)
    net = rg.nn.Sequential(shared, shared)
    counts = count(lambda: net(rg.ones(1, 4))).get_flop_counts()
    assert counts["Sequential.0"] == {"linear": 2 * 2 * 16}


def test_an_exception_in_a_module_does_not_spoil_what_follows():
    class Fails(rg.nn.Module):
        def forward(self, x):
            raise ValueError("no")

    net = rg.nn.Sequential(rg.nn.Linear(2, 2), Fails())
    layer = rg.nn.Linear(2, 2)
    with FlopCounterMode(display=False) as counter:
        with pytest.raises(ValueError, match="no"):
            net(rg.ones(1, 2))
        layer(rg.ones(1, 2))
    counts = counter.get_flop_counts()
    assert counts["Sequential"] == {"linear": 8}
    assert counts["Linear"] == {"linear": 8}
    assert not everywhere.forward_hooks and not everywhere.forward_pre_hooks


def test_custom_mapping_and_registration():
    mapping = {rg.exp: lambda x, out_shape: 10 * x[0], "mm": lambda a, b, out_shape: 1}
    counter = count(
        lambda: rg.ones(3).exp() + (rg.ones(1, 1) @ rg.ones(1, 1)).sum(), custom_mapping=mapping
    )
    assert counter.get_flop_counts()["Global"] == {"exp": 30, "mm": 1}
    with pytest.raises(RuntimeError, match="mm has a formula already"):
        register_flop_formula("mm")(lambda *a: 0)
    with pytest.raises(NotImplementedError, match="get_raw"):
        register_flop_formula("sin", get_raw=True)
    with pytest.raises(TypeError, match="expected an op or its name, but got int"):
        FlopCounterMode(custom_mapping={3: None})
    assert "exp" not in flop_registry


def test_what_a_counted_op_is_made_of_does_not_count_again():
    x = rg.randn(4, 3)
    mapping = {"logsumexp": lambda *s, out_shape: 100, "where": lambda *s, out_shape: 1}
    assert count(lambda: x.logsumexp(1), custom_mapping=mapping).get_total_flops() == 100


def test_display_and_depth(capsys):
    net = rg.nn.Sequential(rg.nn.Sequential(rg.nn.Linear(1000, 1000)))
    with FlopCounterMode(depth=1) as counter:
        net(rg.ones(1, 1000))
    text = capsys.readouterr().out
    assert "2.000M" in text and "100.00%" in text
    assert "Sequential.0" not in text
    assert "Sequential.0.0" in counter.get_table(depth=3)
    with pytest.raises(RuntimeError, match="entered already"):
        with counter:
            counter.__enter__()


def test_counters_nest():
    with FlopCounterMode(display=False) as outer:
        _ = rg.ones(1, 2) @ rg.ones(2, 1)
        with FlopCounterMode(display=False) as inner:
            _ = rg.ones(1, 3) @ rg.ones(3, 1)
    assert (outer.get_total_flops(), inner.get_total_flops()) == (10, 6)


# PyTorch's counts of the same programs.


def dense(torch):
    net = mlp(torch)
    net(torch.randn(32, 8)).sum().backward()


def sequence(torch):
    layer = torch.nn.Linear(8, 6)
    layer(torch.randn(3, 5, 8, requires_grad=True)).sum().backward()


def attention(torch):
    q, k, v = (torch.randn(2, 4, 7, 8, requires_grad=True) for _ in range(3))
    weights = torch.softmax(q @ k.transpose(-2, -1) / 8**0.5, -1)
    (weights @ v).sum().backward()


def einsum(torch):
    a, b = torch.randn(5, 3, 4, requires_grad=True), torch.randn(5, 4, 6, requires_grad=True)
    torch.einsum("bij,bjk->bik", a, b).sum().backward()


def contraction(torch):
    a, b = torch.randn(3, 4, 5, requires_grad=True), torch.randn(4, 5, 6, requires_grad=True)
    torch.einsum("ijk,jkl->il", a, b).sum().backward()


def sums_of_products(torch):
    a, b, c = (torch.randn(4, 4, requires_grad=True) for _ in range(3))
    d, e = torch.randn(2, 4, 3, requires_grad=True), torch.randn(2, 3, 4, requires_grad=True)
    (torch.addmm(a, b, c).sum() + torch.baddbmm(a, d, e, alpha=2).sum()).backward()


def penalty(torch):
    # PyTorch's counter cannot follow modules here.
    a, b = torch.randn(4, 8, requires_grad=True), torch.randn(8, 1, requires_grad=True)
    x = torch.randn(6, 4, requires_grad=True)
    (g,) = torch.autograd.grad(((x @ a).tanh() @ b).sum(), x, create_graph=True)
    g.square().sum().backward()


@pytest.mark.parametrize(
    "program",
    [dense, sequence, attention, einsum, contraction, sums_of_products, penalty],
    ids=lambda f: f.__name__,
)
def test_pytorch_counts_the_same(program):
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode as Theirs

    with Theirs(display=False) as theirs:
        program(torch)
    ours = count(lambda: program(rg))
    assert ours.get_total_flops() == theirs.get_total_flops()


def test_pytorch_names_modules_the_same():
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode as Theirs

    with Theirs(display=False) as theirs:
        dense(torch)
    ours = count(lambda: dense(rg)).get_flop_counts()
    totals = {name: sum(ops.values()) for name, ops in theirs.get_flop_counts().items() if ops}
    assert {name: sum(ops.values()) for name, ops in ours.items()} == totals
