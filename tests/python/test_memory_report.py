"""What graphs keep: the allocator agrees; live graphs; leaks and who holds them."""

from __future__ import annotations

import gc
import json
import sys
import types

import pytest
import rustgrad as rg
from rustgrad.autograd import graph

F = rg.nn.functional


def buffer_bytes(n):
    """What the allocator counts for a buffer of ``n`` bytes."""
    before = rg.memory.allocated()
    buffer = rg.empty(n, dtype=rg.uint8)
    size = rg.memory.allocated() - before
    del buffer
    return size


def leaf(*shape):
    return rg.randn(*shape, requires_grad=True)


def elementwise():
    x = leaf(1000)
    return [x], lambda: ((x.exp() * x).sin() + 2).sum()


def shared_results():
    x = leaf(300)
    # Both ops that use the result of exp save it: once is enough.
    return [x], lambda: (lambda e: e.tanh() + e * e.sigmoid())(x.exp()).sum()


def views():
    x = leaf(64, 64)
    # The product saves views of one buffer.
    return [x], lambda: (lambda e: (e[:32] * e.t()[:32]).sum())(x.exp())


def products():
    a, b = leaf(30, 40), leaf(40, 50)
    return [a, b], lambda: rg.einsum("ij,jk->ik", a, b).softmax(1).log().sum()


def loss_with_indices():
    x, target = leaf(20, 7), rg.randint(0, 7, (20,))
    return [x, target], lambda: F.cross_entropy(x * 2, target) + x[target].mean()


def result_of_the_graph_is_saved():
    x = leaf(5000)
    return [x], lambda: x.exp()


def network():
    net = rg.nn.Sequential(
        rg.nn.Linear(64, 100),
        rg.nn.GELU(),
        rg.nn.LayerNorm(100),
        rg.nn.Dropout(0.2),
        rg.nn.Linear(100, 10),
    )
    x, target = rg.randn(33, 64), rg.randint(0, 10, (33,))
    return [x, target, *net.parameters()], lambda: F.cross_entropy(net(x), target)


def custom_function():
    class Cube(rg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            square = x * x
            ctx.save_for_backward(x, square)
            return square * x

        @staticmethod
        def backward(ctx, g):
            _, square = ctx.saved_tensors
            return 3 * square * g

    x = leaf(700)
    return [x], lambda: Cube.apply(x * 1).sum()


def second_order():
    x = leaf(500)

    def build():
        (g,) = rg.autograd.grad(x.exp().tanh().sum(), x, create_graph=True)
        return g.square().sum()

    return [x], build


def half():
    x = rg.randn(999, requires_grad=True)
    return [x], lambda: (x.bfloat16().exp().double() ** 3).sum()


def written_in_place():
    x = leaf(777)
    return [x], lambda: (x * 2).exp_().mul_(3).sum()


PROGRAMS = [
    elementwise, shared_results, views, products, loss_with_indices, result_of_the_graph_is_saved,
    network, custom_function, second_order, half, written_in_place,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_the_total_is_what_goes_with_the_graph(program):
    held, build = program()
    gc.collect()
    before = rg.memory.allocated()
    loss = build()
    report = graph.memory(loss, held=[*held, loss])
    without = graph.memory(loss, held=held)
    built = rg.memory.allocated()
    # What the program holds itself is the loss.
    of_loss = buffer_bytes(loss.nbytes)
    assert report.total == built - before - of_loss
    assert without.total - report.total in (0, of_loss)
    del loss
    assert rg.memory.allocated() == before
    assert without.total > 0
    for rows in (report.by_op, report.by_line):
        assert sum(row.bytes for row in rows) == report.total
        assert [row.bytes for row in rows] == sorted((row.bytes for row in rows), reverse=True)


def test_a_result_that_is_saved_counts():
    x = leaf(5000)
    y = x.exp()
    assert graph.memory(y).total == buffer_bytes(20000)
    report = graph.memory(y, held=[y])
    assert report.total == 0 and [row.bytes for row in report.held] == [buffer_bytes(20000)]


def test_a_backward_frees_what_was_reported():
    held, build = network()
    loss = build()
    report = graph.memory(loss, held=[*held, loss])
    before = rg.memory.allocated()
    loss.backward()
    grads = sum(buffer_bytes(t.grad.nbytes) for t in held if t.grad is not None)
    assert before + grads - rg.memory.allocated() == report.total
    assert graph.memory(loss).total == 0


@pytest.mark.parametrize("size", [1, 16, 17, 33, 1000, 4097, 123_457])
def test_a_buffer_has_the_bytes_that_the_allocator_counts(size):
    x = leaf(size)
    before = rg.memory.allocated()
    y = x.exp()
    kept = rg.memory.allocated() - before
    assert graph.memory(y).total == kept == buffer_bytes(y.nbytes)


def test_leaves_are_listed_apart_by_name():
    net = rg.nn.Sequential(rg.nn.Linear(8, 16), rg.nn.Linear(16, 1))
    report = graph.memory(net(rg.ones(4, 8)).sum(), module=net)
    assert {row.name for row in report.leaves} == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert report.leaf_bytes == sum(buffer_bytes(p.nbytes) for p in net.parameters())
    assert report.by_module == []


def test_by_module():
    net = rg.nn.Sequential(rg.nn.Linear(8, 16), rg.nn.Sequential(rg.nn.Tanh(), rg.nn.Sigmoid()))
    x = rg.ones(4, 8)
    with graph.record_modules(net) as modules:
        loss = net(x).exp().sum()
        net(x)
    report = graph.memory(loss, module=modules, held=[x])
    found = {row.name: row.bytes for row in report.by_module}
    assert found == {"1.0": 256, "1.1": 256, "(outside)": 256}
    assert sum(found.values()) == report.total
    # Nothing stays on the modules.
    assert not net._forward_hooks and not net[0]._forward_pre_hooks


def test_what_a_module_itself_records():
    class Scale(rg.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = rg.nn.Tanh()

        def forward(self, x):
            return self.inner(x).exp() * 2

    net = Scale()
    with graph.record_modules(net) as modules:
        loss = net(leaf(100)).sum()
    names = {row.name for row in graph.memory(loss, module=modules).by_module}
    assert names == {"(Scale)", "inner"}


def test_modules_in_a_checkpoint_and_after_an_exception():
    net = rg.nn.Sequential(rg.nn.Linear(4, 4), rg.nn.Tanh())
    x = leaf(2, 4)
    with graph.record_modules(net) as modules:
        with pytest.raises(RuntimeError):
            net(rg.ones(2, 3))
        loss = net(x).sum()
    report = graph.memory(loss, module=modules)
    assert [row.name for row in report.by_module] == ["1"]
    assert modules.running is None


def test_lines():
    x = leaf(100)
    a = x.exp()
    b = a.tanh()
    report = graph.memory(b.sum())
    lines = [int(row.name.rpartition(":")[2]) for row in report.by_line]
    assert len(lines) == 2 and abs(lines[0] - lines[1]) == 1


def test_packed_tensors_are_counted_apart():
    x = leaf(100)
    with graph.saved_tensors_hooks(lambda t: t.tolist(), rg.tensor):
        y = x.exp().tanh().sum()
        report = graph.memory(y)
    assert report.packed == 2 and report.total == 0
    assert "2 tensors packed by hooks" in str(report)


def test_several_losses_nodes_and_edges():
    x = leaf(100)
    e = x.exp()
    a, b = e.tanh().sum(), e.sin().sum()
    both = graph.memory([a, b])
    assert both.total == 448 * 2
    assert graph.memory(a.grad_fn).total == graph.memory(a).total == 448 * 2
    assert graph.memory(graph.get_gradient_edge(a)).nodes == graph.memory(a).nodes == 3


def test_errors():
    with pytest.raises(RuntimeError, match=r"shape \(2, 3\) requires no gradient"):
        graph.memory(rg.ones(2, 3))
    with pytest.raises(TypeError, match="expected tensors or nodes, but got float"):
        graph.memory(3.0)


def test_a_leaf_alone():
    report = graph.memory(leaf(10))
    assert (report.total, report.nodes, len(report.leaves)) == (0, 0, 1)
    assert str(report).startswith("0 B kept by 0 nodes")


def test_as_data(tmp_path):
    held, build = network()
    report = graph.memory(build(), held=held)
    data = json.loads(report.json(tmp_path / "m.json"))
    assert data == report.as_dict() == json.loads((tmp_path / "m.json").read_text())
    assert data["total"] == report.total
    text = report.table(row_limit=1)
    assert "... " in text and "100.0%" in str(report)


def test_it_keeps_nothing_alive():
    x = leaf(10)
    y = x.exp().sum()
    nodes = rg._C.live_nodes()
    report = graph.memory(y)
    live = graph.live_graphs()
    assert rg._C.live_nodes() == nodes
    del y
    assert rg._C.live_nodes() < nodes and report.total == 64 and live


def test_a_deep_graph():
    x = leaf(4)
    y = x
    for _ in range(20_000):
        y = y.sin()
    report = graph.memory(y, held=[y])
    assert report.nodes == 20_000 and report.total == 19_999 * 64
    live = graph.live_graphs()[-1]
    assert live.nodes == 20_000


# Graphs that are alive.


def test_live_graphs():
    # Of other tests' modules.
    others = len(graph.live_graphs())
    x = leaf(100)
    a = x.exp()
    b, c = a.sum(), a.tanh()
    other = (x * 2).sum()
    first, second = graph.live_graphs()[others:]
    assert sorted(first.roots) == ["SumBackward0", "TanhBackward0"]
    assert first.nodes == 3 and first.bytes == 448 * 2
    assert second.roots == ["SumBackward0"] and second.nodes == 2
    first_line, last_line = (int(s.rpartition(":")[2]) for s in (first.first_line, first.last_line))
    assert last_line == first_line + 1
    del a, b, c
    assert graph.live_graphs()[others:] == [second]
    del other
    assert len(graph.live_graphs()) == others


# Leaks.


class Trainer:
    def __init__(self):
        self.log = {"losses": []}


def test_no_leaks():
    x = leaf(10)
    with graph.leaks() as leaked:
        x.exp().sum().backward()
    assert leaked.nodes == 0 and leaked.lines == [] and leaked.holders == []
    assert str(leaked) == "No node recorded since is still alive."


def test_what_was_there_before_is_no_leak():
    x = leaf(10)
    before = x.exp()
    with graph.leaks() as leaked:
        x.sin()
    assert leaked.nodes == 0
    del before


def test_leaks_say_line_ops_and_bytes():
    x = leaf(100)
    with graph.leaks() as leaked:
        kept = [x.exp().sum() for _ in range(3)]
    (row,) = leaked.lines
    assert row.ops == {"ExpBackward0": 3, "SumBackward0": 3} and row.nodes == leaked.nodes == 6
    assert row.bytes == 3 * 448
    assert row.line.startswith(__file__)
    assert row.line in str(leaked) and "3 ExpBackward0" in str(leaked)
    del kept
    assert leaked.find().nodes == 0


def test_holders_have_names(monkeypatch):
    # A module of its own, since the tests' ones are hidden from the collector.
    program = types.ModuleType("program")
    program.history = []
    monkeypatch.setitem(sys.modules, "program", program)
    x = leaf(3)
    trainer = Trainer()
    with graph.leaks() as leaked:
        loss = (x * 2).sum()
        program.history.append(loss)
        program.loss = loss
        trainer.log["losses"].append(loss)
        trainer.last = loss
    text = "\n".join(leaked.holders)
    assert "program.history[0] (SumBackward0, shape [])" in text
    assert "program.loss (" in text
    assert "Trainer.log['losses'][0]" in text
    assert "Trainer.last" in text
    assert "loss in test_holders_have_names()" in text


def test_a_closure_holds():
    x = leaf(3)

    def make():
        loss = (x * 2).sum()
        return lambda: loss

    with graph.leaks() as leaked:
        kept = make()
    assert any("a closure" in h for h in leaked.holders)
    del kept


def test_nothing_is_held_by_looking():
    """The dictionaries of local variables that Python makes for the look must not keep tensors."""
    x = leaf(3)
    with graph.leaks() as leaked:
        loss = (x * 2).sum()
    assert leaked.nodes == 2
    before = rg._C.live_nodes()
    del loss
    assert rg._C.live_nodes() < before
    assert leaked.find().nodes == 0


def test_a_programs_own_locals_are_left_alone():
    x = leaf(3)
    own = locals()
    with graph.leaks() as leaked:
        kept = x.sin()
    assert leaked.holders and own["x"] is x
    own.clear()
    del kept


def test_cycles_are_collected_first():
    x = leaf(3)

    class Cycle:
        pass

    with graph.leaks() as leaked:
        c = Cycle()
        c.me, c.loss = c, (x * 2).sum()
        del c
    assert leaked.nodes == 0
    gc.disable()
    try:
        with graph.leaks(collect=False) as leaked:
            c = Cycle()
            c.me, c.loss = c, (x * 2).sum()
            del c
        assert leaked.nodes == 2
    finally:
        gc.enable()
        gc.collect()


def test_leaks_are_bounded():
    x = leaf(3)
    with graph.leaks(max_holders=2) as leaked:
        kept = [x.sin() for _ in range(10)]
    assert leaked.nodes == 10
    assert leaked.holders[-1] == "... and more tensors"
    assert len(leaked.holders) <= 5
    del kept


def test_leaks_pass_exceptions_on():
    x = leaf(3)
    with pytest.raises(ValueError, match="mine"):
        with graph.leaks() as leaked:
            kept = x.sin()
            raise ValueError("mine")
    assert leaked.nodes == 1
    del kept
