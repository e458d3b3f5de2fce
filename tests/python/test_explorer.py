"""Snapshots of graphs: what they contain, how they are grouped, arranged, written and compared."""

from __future__ import annotations

import json
import math
import random
import re
import sys
import xml.etree.ElementTree as ElementTree
from itertools import accumulate
from pathlib import Path

import pytest
import rustgrad as rg
from rustgrad import nn
from rustgrad.autograd.explorer import Call, Graph, backward_steps, diff, explore, trace_modules
from rustgrad.autograd.explorer.groups import default_view, hierarchy
from rustgrad.autograd.explorer.layout import (
    Level,
    _crossings,
    _neighbours,
    _order,
    _settle,
    arrange,
    place,
)
from rustgrad.autograd.explorer.model import size_text
from rustgrad.autograd.explorer.style import (
    FAMILIES,
    MARKS,
    THEMES,
    cards,
    family,
    sizes_of,
    value_color,
    value_text,
)
from rustgrad.autograd.explorer.view import seen


def product():
    """``sum(x sin x)``, and its leaf."""
    x = rg.tensor([1.0, 2.0], requires_grad=True)
    return (x * x.sin()).sum(), x


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.down(self.up(self.norm(x)).tanh())


class Tower(nn.Module):
    def __init__(self, layers=4, width=3):
        super().__init__()
        self.first = nn.Linear(2, width)
        self.blocks = nn.ModuleList([Block(width) for _ in range(layers)])

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return x


def tower(layers=4, **options):
    model = Tower(layers)
    return explore(lambda: model(rg.ones(5, 2)).square().mean(), module=model, **options)


def random_graph(seed, nodes=120):
    """A graph without much structure."""
    draw = random.Random(seed)
    values = [rg.ones(2, requires_grad=True) for _ in range(3)]
    values += [values[0] * 2.0]
    for _ in range(nodes):
        a, b = draw.choice(values[-12:]), draw.choice(values[-12:])
        values.append(draw.choice([rg.add, rg.mul, lambda a, _: a.exp()])(a, b))
    total = values[-1]
    for value in values[-12:-1]:
        total = total + value
    return explore(total.sum())


def arranged(graph, expand=True):
    boxes = hierarchy(graph)
    levels, across = arrange(graph, boxes)
    sizes = sizes_of(cards(graph, boxes))
    opened = default_view(boxes, len(graph), expand)
    return boxes, levels, place(boxes, levels, opened, sizes, len(graph)), across


# ------------------------------------------------------------------------------- snapshots


def test_nodes_and_edges():
    loss, x = product()
    graph = explore(loss, names={"x": x, "loss": loss})
    assert [node.op for node in graph.nodes] == ["Leaf", "Sin", "Mul", "Sum"]
    assert [node.label for node in graph.nodes] == ["x", None, None, "loss"]
    assert graph.edges == [(0, 0, 1, 0), (0, 0, 2, 0), (1, 0, 2, 1), (2, 0, 3, 0)]
    assert graph.roots == [(3, 0, "loss")]
    assert graph.leaves == [graph.nodes[0]]
    assert graph.nodes[3].arguments == {"dim": None, "keepdim": False, "dtype": None}
    assert graph.nodes[2].outputs == [((2,), "float32")]
    assert all(node.site and "test_explorer.py:" in node.site for node in graph.nodes[1:])
    assert repr(graph) == "<Graph: 4 nodes, 4 edges, 8 B saved>"


def test_what_is_saved_counts_each_storage_once_and_no_leaf():
    x = rg.ones(100, requires_grad=True)
    h = x.exp()  # saves its result
    loss = (h * h * x).sum()  # save h twice and the leaf
    graph = explore(loss)
    exp = next(node for node in graph.nodes if node.op == "Exp")
    square, last = (node for node in graph.nodes if node.op == "Mul")
    assert [(s.name, s.bytes, s.leaf) for s in exp.saved] == [("result", 400, False)]
    assert {s.storage for s in exp.saved} == {s.storage for s in square.saved}
    assert [s.leaf for s in last.saved] == [False, True]
    assert square.bytes == 800 and last.bytes == 400
    assert graph.saved_bytes == 800  # h, and h * h


def test_packed_and_freed():
    loss, _ = product()
    loss.backward()
    freed = explore(loss)
    assert [node.freed for node in freed.nodes] == [False, True, True, False]
    assert freed.saved_bytes == 0 and "freed" in freed.text()
    with rg.autograd.graph.saved_tensors_hooks(lambda t: t.tolist(), rg.tensor):
        loss, _ = product()
    packed = explore(loss)
    assert packed.nodes[1].saved[0].shape is None
    assert Graph.from_json(packed.json()) == packed
    assert "packed by hooks" in packed.html()


def test_names_go_both_ways_and_a_module_gives_its_own():
    loss, x = product()
    assert explore(loss, names={x: "x"}).nodes[0].label == "x"
    model = nn.Linear(2, 1)
    graph = explore(model(rg.ones(1, 2)), module=model)
    assert [(n.label, n.kind) for n in graph.leaves] == [
        ("weight", "parameter"),
        ("bias", "parameter"),
    ]
    assert graph.title == "Linear"


def test_a_leaf_alone_and_empty_tensors():
    x = rg.ones(0, 3, requires_grad=True)
    graph = explore(x, names={"x": x})
    assert len(graph) == 1 and not graph.edges
    graph = explore(x.exp().sum())
    assert [n.outputs[0][0] for n in graph.nodes] == [(0, 3), (0, 3), ()]
    for text in (graph.text(), graph.svg(), graph.html(), graph.dot()):
        assert "Exp" in text


def test_a_custom_function():
    class Twice(rg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return 2 * x

        @staticmethod
        def backward(ctx, grad):
            return 2 * grad

    graph = explore(Twice.apply(rg.ones(2, requires_grad=True).exp()).sum())
    node = graph.nodes[2]
    assert (node.name, node.op, node.kind, family(node)) == (
        "TwiceBackward",
        "Twice",
        "custom",
        "custom",
    )
    assert node.saved[0].name == "saved_tensors[0]"


def test_what_cannot_be_explored_says_so():
    with pytest.raises(RuntimeError, match=r"\[explore\] a tensor of shape \(3,\) requires no"):
        explore(rg.ones(3))
    with pytest.raises(TypeError, match="expected tensors, but got int"):
        explore([1])
    loss, x = product()
    with pytest.raises(TypeError, match="dictionary of tensors and strings"):
        explore(loss, names={"x": 1})
    with pytest.raises(ValueError, match="from 0 to 3"):
        explore(loss, backward=4)
    with pytest.raises(ValueError, match="width must be at least 40"):
        explore(loss).text(10)
    with pytest.raises(ValueError, match="color must be one of kind, bytes"):
        explore(loss).svg(color="red")
    with pytest.raises(ValueError, match="not the JSON of a graph"):
        Graph.from_json("[1]")
    with pytest.raises(OSError):
        explore(loss).svg("/dev/null/graph.svg")


def test_a_snapshot_keeps_nothing_alive():
    before = rg._C.live_nodes()
    loss, x = product()
    graph = explore(loss, gradients=True, backward=1)
    del loss, x
    assert rg._C.live_nodes() == before
    assert len(graph.text().splitlines()) > 4


def test_a_leaf_that_nobody_holds():
    graph = explore((rg.ones(2, requires_grad=True) * 3.0).sum(), gradients=True)
    assert [n.op for n in graph.nodes] == ["Leaf", "Mul", "Sum"]
    assert graph.nodes[0].gradient == pytest.approx(3 * 2**0.5)


@pytest.mark.parametrize("mode", [rg.no_grad, rg.inference_mode])
def test_modes_do_not_matter(mode):
    loss, x = product()
    with mode():
        graph = explore(loss, names={"x": x}, gradients=True, backward=1)
    assert len(graph) > 4 and graph.nodes[0].gradient > 0


# -------------------------------------------------------------- gradients and derivatives


def test_gradients_are_measured_and_nothing_else_happens():
    loss, x = product()
    graph = explore(loss, gradients=True)
    want = rg.autograd.grad(loss, x, retain_graph=True)[0]
    assert x.grad is None
    assert graph.nodes[0].gradient == pytest.approx(want.norm().item())
    assert graph.nodes[3].gradient == 1.0
    assert all(node.seconds > 0 for node in graph.nodes[1:])
    loss.backward()
    assert rg.equal(x.grad, want)
    with pytest.raises(RuntimeError, match="second time"):
        explore(loss, gradients=True)


def test_cotangents_and_infinite_gradients():
    x = rg.tensor([4.0, 0.0], requires_grad=True)
    y = x.sqrt()
    graph = explore(y, gradients=rg.tensor([1.0, 1.0]))
    assert graph.nodes[0].gradient == math.inf
    assert Graph.from_json(graph.json()) == graph
    json.loads(graph.json(), parse_constant=pytest.fail)
    assert "inf" in graph.svg(color="gradient")
    with pytest.raises(RuntimeError, match="scalar outputs"):
        explore(y, gradients=True)


def test_a_failing_backward_leaves_no_hooks():
    class Fails(rg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            raise ArithmeticError("no")

    x = rg.ones(2, requires_grad=True)
    hidden = x.exp()
    for run in (
        lambda: explore(Fails.apply(hidden).sum(), gradients=True),
        lambda: explore(Fails.apply(hidden).sum(), backward=1),
        lambda: backward_steps(Fails.apply(hidden).sum()),
    ):
        with pytest.raises(ArithmeticError, match="no"):
            run()
    graph = explore(hidden.sum())
    hidden.sum().backward()
    assert all(node.seconds is None and node.gradient is None for node in graph.nodes)
    assert x.grad is not None


def test_backward_and_double_backward_side_by_side():
    x = rg.tensor([1.0, 2.0], requires_grad=True)
    y = (x**3).sum()
    graph = explore(y, names={"x": x}, backward=2)
    assert graph.phases == ["forward", "backward", "double backward"]
    assert {node.phase for node in graph.nodes} == {0, 1, 2}
    assert x.grad is None
    power = next(node for node in graph.nodes if node.op == "Pow")
    recorded = [node for node in graph.nodes if node.phase == 1]
    assert {node.origin for node in recorded if node.origin is not None} == {power.id}
    assert [root.name for root in graph.roots] == [None, "d/d x", "d²/d x"]
    # The gradient 3 x^2 depends on x, which belongs to the forward.
    assert any(graph.nodes[u].phase < graph.nodes[v].phase for u, _, v, _ in graph.edges)
    boxes = hierarchy(graph)
    assert [boxes.groups[i - len(graph)].name for i in boxes.groups[0].items] == graph.phases
    (first,) = rg.autograd.grad(y, x, create_graph=True)
    by_hand = explore({"forward": y, "backward": first})
    assert len(by_hand) == sum(node.phase < 2 for node in graph.nodes)


def test_a_linear_function_has_no_double_backward():
    x = rg.ones(2, requires_grad=True)
    assert explore((2 * x).sum(), backward=2).phases == ["forward"]


def test_steps_are_those_of_backward():
    loss, x = product()
    loss.backward()
    want = x.grad
    loss, x = product()
    steps = backward_steps(loss, names={"x": x})
    assert rg.equal(x.grad, want)
    steps = list(steps)
    assert [s.name for s in steps] == [
        "SumBackward0",
        "MulBackward0",
        "SinBackward0",
        "AccumulateGrad",
    ]
    assert [s.index for s in steps] == [0, 1, 2, 3]
    assert [s.label for s in steps] == [None, None, None, "x"]
    assert all("test_explorer.py:" in s.site for s in steps[:3]) and steps[3].site is None
    total, mul, sin, leaf = steps
    assert total.grad_outputs[0].item() == 1.0
    assert rg.equal(mul.grad_inputs[0], x.detach().sin())
    assert rg.equal(sin.grad_outputs[0], mul.grad_inputs[1])
    assert rg.equal(leaf.grad_outputs[0], want) and leaf.grad_inputs == ()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_steps_with_a_cotangent_and_a_kept_graph():
    x = rg.ones(2, requires_grad=True)
    x.grad = rg.ones(2)
    y = x * x
    steps = list(backward_steps(y, rg.tensor([1.0, 10.0]), retain_graph=True))
    assert x.grad.tolist() == [3.0, 21.0]
    # What arrived at the leaf is not what was there before.
    assert steps[-1].grad_outputs[0].tolist() == [2.0, 20.0]
    y.backward(rg.ones(2))
    assert len(steps) == 2
    with pytest.raises(RuntimeError, match="scalar outputs"):
        backward_steps(y)


def test_steps_are_let_go_as_they_pass():
    loss, _ = product()
    steps = backward_steps(loss)
    held = rg._C.live_bytes()
    for step in steps:
        del step
    assert rg._C.live_bytes() < held


# -------------------------------------------------------------------- modules and repeats


def test_modules_and_repeated_blocks():
    graph = tower(4)
    boxes = hierarchy(graph)
    kinds = [(g.kind, g.name, g.count) for g in boxes.groups]
    assert kinds[:5] == [
        ("graph", "Tower", 23),
        ("module", "Tower", 21),
        ("repeat", "blocks.0 … blocks.3", 20),
        ("module", "blocks.0", 5),
        ("more", "blocks.1 … blocks.3", 15),
    ]
    assert [boxes.groups[2].times, boxes.groups[4].times] == [4, 3]
    # Single ops of modules have no box of their own, but their module's name.
    says = cards(graph, boxes)
    assert ["Linear up" in f"{c.title} {c.aside}" for c in says].count(True) == 4
    assert says[len(graph) + 2].title == "4 × Block"
    linear = next(n for n in graph.nodes if n.op == "Linear")
    assert says[linear.id].rows == (("weight", "3 × 2"), ("bias", "3"))


def test_every_node_is_in_one_group_and_groups_are_contiguous():
    for graph in (tower(5, backward=2), random_graph(3)):
        boxes = hierarchy(graph)
        n = len(graph)
        inside = [[] for _ in boxes.groups]
        for i in range(len(boxes.groups) - 1, -1, -1):
            for item in boxes.groups[i].items:
                assert boxes.parent[item] == i
                inside[i] += [item] if item < n else inside[item - n]
        shown = [node.id for node in graph.nodes if node.id not in boxes.hidden]
        assert sorted(inside[0]) == shown
        ops = [node.id for node in graph.nodes if not node.is_leaf]
        for group, nodes in zip(boxes.groups, inside, strict=True):
            if group.kind == "phase":
                continue
            numbers = sorted(i for i in nodes if not graph.nodes[i].is_leaf)
            phase = graph.nodes[numbers[0]].phase
            between = [i for i in ops if numbers[0] <= i <= numbers[-1]]
            if group.kind != "graph":
                between = [i for i in between if graph.nodes[i].phase == phase]
            assert numbers == between


def test_a_loop_without_modules_is_a_repeat():
    x = rg.ones(2, requires_grad=True)
    h = x
    for _ in range(10):
        h = (h * 3.0).sin() + 1.0
    boxes = hierarchy(explore(h.sum()))
    assert [(g.kind, g.times) for g in boxes.groups if g.times] == [("repeat", 10), ("more", 9)]
    assert [g.count for g in boxes.groups if g.kind == "block"] == [3] * 10


def test_a_module_called_twice():
    layer = Block(3)
    with trace_modules(layer) as modules:
        loss = layer(layer(rg.ones(1, 3))).sum()
        with pytest.raises((RuntimeError, ValueError)):
            layer(rg.ones(1, 4))
        loss = loss + layer.norm(rg.ones(1, 3)).sum()
    graph = modules.explore(loss)
    assert not layer._forward_hooks and not layer._forward_pre_hooks
    paths = [graph.calls[n.call].path for n in graph.nodes if n.call is not None]
    assert paths == ["norm", "up", "", "down", ""] * 2 + ["norm"]


# ------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize(
    "make", [lambda: random_graph(1), lambda: tower(3), lambda: explore(product()[0])]
)
def test_boxes_do_not_overlap_and_wires_lead_down(make):
    graph = make()
    boxes, levels, placed, _ = arranged(graph)
    n = len(graph)
    found, wires = seen(graph, boxes, levels, placed)
    assert {box.item for box in found} | boxes.hidden >= set(range(n))
    by_parent = {}
    for box in found:
        by_parent.setdefault(boxes.parent[box.item], []).append(box)
    frames = {box.item - n: box for box in found if box.open}
    for parent, siblings in by_parent.items():
        for i, a in enumerate(siblings):
            for b in siblings[i + 1 :]:
                apart = (
                    a.x + a.width < b.x
                    or b.x + b.width < a.x
                    or a.y + a.height < b.y
                    or b.y + b.height < a.y
                )
                assert apart, (a, b)
            if parent in frames:
                frame = frames[parent]
                assert frame.x < a.x and a.x + a.width < frame.x + frame.width
                assert frame.y + 30 < a.y and a.y + a.height < frame.y + frame.height
    numbers = re.compile(r"-?\d+\.\d")
    for path, _ in (path for group in wires for path in group.paths):
        ys = [float(v) for v in numbers.findall(path)[1::2]]
        assert ys == sorted(ys)


def test_layers_follow_edges():
    graph = random_graph(7)
    boxes = hierarchy(graph)
    levels, _ = arrange(graph, boxes)
    for level in levels:
        at = {cell: i for i, layer in enumerate(level.layers) for cell in layer}
        assert len(at) == level.cells
        for source, target, _, way in level.wires:
            assert at[source] < at[target]
            if way is not None:
                first, turns = way
                between = [at[c] for c in range(first, first + turns)]
                assert between == list(range(at[source] + 1, at[target]))


def test_a_recurrent_loop_is_a_straight_repeat():
    cell, entry, h = nn.Linear(3, 3), nn.Linear(2, 3), rg.zeros(1, 3)
    for _ in range(6):
        h = (cell(h) + entry(rg.ones(1, 2))).tanh()
    graph = explore(h.sum())
    boxes, levels, placed, _ = arranged(graph)
    # The first step starts from what needs no gradient.
    (repeat,) = (group for group in boxes.groups if group.kind == "repeat")
    assert repeat.times == 5
    block = next(i for i, group in enumerate(boxes.groups) if group.kind == "block")
    at = [
        (graph.nodes[item].op, x)
        for item, x in zip(levels[block].items, placed[block].x, strict=False)
    ]
    assert [op for op, _ in at] == ["Linear", "Linear", "Add", "Tanh"]
    # The second layer, to which nothing leads, stands beside the chain of the others.
    chain = {round(x, 6) for _, x in at[:1] + at[2:]}
    assert len(chain) == 1 and at[1][1] > max(chain)


def test_what_differs_is_opened_first():
    change = diff(tower(2), tower(3)).graph()
    boxes = hierarchy(change)
    opened = default_view(boxes, len(change), 14)
    marks = {boxes.groups[g].mark for g in opened if boxes.groups[g].kind == "repeat"}
    assert marks == {"changed"}


def test_sweeps_remove_crossings():
    # Two chains whose ends are listed the other way round.
    ends = [(0, 3, 0), (1, 2, 1), (2, 5, 2), (3, 4, 3)]
    level = Level(list(range(6)), cells=6, layers=[[0, 1], [2, 3], [4, 5]], ways=[(0, 0)] * 4)
    above, below = _neighbours(level, ends)
    at = [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
    assert _crossings(level.layers, below, at) == 2
    _order(level, ends)
    for layer in level.layers:
        for i, cell in enumerate(layer):
            at[cell] = i
    assert _crossings(level.layers, below, at) == 0


def test_settling_is_least_squares():
    draw = random.Random(0)
    for _ in range(50):
        count = draw.randrange(1, 7)
        want = [draw.uniform(-5, 5) for _ in range(count)]
        weights = [draw.uniform(0.1, 3) for _ in range(count)]
        steps = [draw.uniform(0, 2) for _ in range(count - 1)]
        x = [0.0] * count
        _settle(list(range(count)), want, weights, [0.0, *accumulate(steps)], x)
        assert all(b - a >= s - 1e-9 for a, b, s in zip(x, x[1:], steps, strict=False))

        def cost(x, want=want, weights=weights):
            return sum(w * (a - b) ** 2 for w, a, b in zip(weights, x, want, strict=True))

        # No feasible point nearby is better: the problem is convex.
        for _ in range(200):
            near = [v + draw.gauss(0, 0.05) for v in x]
            if all(b - a >= s for a, b, s in zip(near, near[1:], steps, strict=False)):
                assert cost(near) >= cost(x) - 1e-9


def test_long_wires_are_bounded():
    x = rg.ones(1, requires_grad=True)
    values = [x * 1.0]
    for _ in range(150):
        # Each value uses one from long ago.
        values.append(values[-1].sin() + values[len(values) // 3])
    graph = explore(values[-1])
    _, levels, _, _ = arranged(graph)
    for level in levels:
        base = len(level.items) + len(level.ports)
        assert level.cells - base <= 2 * base + 500


def test_svg_is_xml_in_every_colour(tmp_path):
    graph = tower(3, gradients=True, backward=1)
    for color in ("kind", "bytes", "seconds", "gradient", "mark"):
        for expand in (True, False, 10):
            root = ElementTree.fromstring(graph.svg(color=color, expand=expand))
            assert root.tag.endswith("svg")
    text = graph.svg(tmp_path / "new" / "graph.svg")
    assert (tmp_path / "new" / "graph.svg").read_text() == text
    assert "4 × 2" not in text and "3 × Block" in text


HOSTILE = [
    '</script><b>"&',
    "<!--<script>",
    "]]>\\",
    "'onload='x' {{data}} \\u003c",
    "a\nb\r\tc",
    "\x00\x08\x1b\ufffe",
    "\u2028\u202e\U0001f600 名前",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_markup_in_names_is_escaped(name):
    x = rg.ones(1, requires_grad=True)
    graph = explore(x.exp(), names={name: x}, title=name)
    node = graph.nodes[1]
    node.site = f"{name}.py:1"
    node.arguments = {name: name}
    graph.calls.append(Call(name, name, None, node.number - 1, node.number))
    node.call = 0
    graph = Graph.from_json(graph.json())
    picture = ElementTree.fromstring(graph.svg())
    assert {element.tag.rpartition("}")[2] for element in picture.iter()} == PARTS
    page = graph.html()
    assert page.count("<script") == page.count("</script>") == 2
    assert json.loads(_data(page))["nodes"][0]["label"] == name
    assert graph._repr_html_().count("<") == 2
    # Quoted strings of Graphviz' language end at a quote that no backslash escapes.
    assert graph.dot().replace("\n", "").isprintable()
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', '""', graph.dot())
    assert re.fullmatch(r'[\w\s=,;{}\[\]>"-]*', outside)
    lines = graph.text().splitlines()
    assert len(lines) == 2 and all(line.isprintable() for line in lines)


PARTS = {"svg", "title", "style", "defs", "marker", "path", "rect", "g", "text", "tspan"}


def test_json_of_others_is_checked():
    data = json.loads(chain("exp").json())
    for field, value in (("mark", "x)"), ("kind", "<b>")):
        other = json.loads(json.dumps(data))
        other["nodes"][0][field] = value
        with pytest.raises(ValueError, match="not the JSON of a graph: a node has the kind"):
            Graph.from_json(json.dumps(other))


def _data(page):
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    return text


def test_the_page_needs_no_network():
    page = tower(2, gradients=True).html()
    assert not re.search(
        r"(?:src|href)\s*=|url\((?!#)|@import|fetch\(|https?://(?!www\.w3\.org)", page
    )
    assert "{{" not in page.replace("=>{{", "")
    data = json.loads(_data(page), parse_constant=pytest.fail)
    assert len(data["nodes"]) == len(tower(2))


def test_notebooks_show_the_page():
    loss, _ = product()
    shown = explore(loss)._repr_html_()
    assert shown.startswith("<iframe srcdoc=") and shown.count("<") == 2
    assert 'sandbox="allow-scripts"' in shown
    assert not hasattr(loss, "_repr_html_")


# ------------------------------------------------------------------------------- as text


def without_sites(text):
    return [re.sub(r"\s+\S+\.py:\d+$", "", line) for line in text.splitlines()]


def test_tree_of_a_shared_leaf():
    loss, x = product()
    graph = explore(loss, names={"x": x, "loss": loss})
    assert without_sites(str(graph)) == [
        "Graph: 4 nodes, 4 edges, 8 B saved for backward",
        "loss = Sum []",
        "Mul [2] saves 8 B",
        "├─ ↓ #0 x",
        "Sin [2]",
        "#0 x [2]",
    ]
    assert all(len(line) <= 60 for line in graph.text(60).splitlines())
    assert "test_explorer.py:" in graph.text(60)


def test_tree_of_residual_blocks_stays_narrow():
    graph = tower(3)
    lines = without_sites(graph.text(160))
    assert lines[3] == "Add blocks.2 [5, 3]"
    assert lines[4].startswith(
        "├─ Linear blocks.2.down [5, 3] (weight [3, 6], bias [3]) saves 120 B"
    )
    assert lines[5] == "│  Tanh blocks.2 [5, 6] saves 120 B"
    assert lines[8].startswith("│  ↓ #") and lines[8].endswith(" Add")
    assert max(len(re.match(r"[│├─ ]*", line)[0]) for line in lines) == 3
    # Every node is there once: on a line of its own or in brackets.
    assert sum(line.count("weight [") + line.count("bias [") for line in lines) == len(graph.leaves)


def test_tree_of_a_loop_stays_narrow():
    x = rg.ones(2, requires_grad=True)
    h = x
    for _ in range(100):
        h = h * x + 1.0
    lines = explore(h, names={"x": x}).text().splitlines()
    assert max(len(re.match(r"[│├─ ]*", line)[0]) for line in lines) == 3
    assert (
        len(lines) == 1 + 201 + 99
    )  # a title, the nodes, and a branch to x at each step but the first


def test_tree_says_what_is_shared_and_phases():
    x = rg.ones(1, requires_grad=True)
    text = explore((x**3).sum(), backward=1).text()
    assert re.search(r"\n\nbackward\n(.|\n)+\n\nforward\n", text)


def test_deep_graphs_need_no_recursion():
    x = rg.ones(1, requires_grad=True)
    h = x
    for i in range(3000):
        h = h.sin() if i % 3 else h * x
    graph = explore(h)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        for text in (graph.text(), graph.dot(), graph.svg(expand=True), graph.html()):
            assert text
        assert not diff(graph, graph)
    finally:
        sys.setrecursionlimit(limit)


def test_dot_parses():
    graph = tower(2)
    text = graph.dot()
    assert text.startswith('digraph "Tower" {') and text.count("{") == text.count("}")
    nodes = re.findall(r"^ +n(\d+) \[label=\"((?:[^\"\\]|\\.)*)\"", text, re.M)
    assert sorted(int(i) for i, _ in nodes) == list(range(len(graph)))
    edges = re.findall(r"^  n(\d+) -> n(\d+);$", text, re.M)
    assert [(int(a), int(b)) for a, b in edges] == [(u, v) for u, _, v, _ in graph.edges]
    assert re.search(r'subgraph cluster_\d+ {\n +label="blocks.1";', text)


def test_json_says_all_and_comes_back(tmp_path):
    graph = tower(2, gradients=True, backward=1)
    text = graph.json(tmp_path / "graph.json")
    assert Graph.from_json((tmp_path / "graph.json").read_text()) == graph
    data = json.loads(text)
    assert len(data["nodes"]) == len(graph) and data["phases"] == ["forward", "backward"]


def test_find():
    graph = tower(2)
    assert {n.op for n in graph.find("linear")} == {"Linear"}
    assert len(graph.find("blocks.0.up linear")) == 1
    assert {n.outputs[0][0] for n in graph.find("[5, 6]")} == {(5, 6)}
    assert {n.op for n in graph.find("TANH [5,6]")} == {"Tanh"}
    assert graph.find("no such op") == []


def test_the_page_of_documentation(tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs" / "graph_explorer.md"
    program = "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
    monkeypatch.chdir(tmp_path)
    exec(compile(program, str(page), "exec"), {})
    assert (tmp_path / "out" / "change.html").exists()


# --------------------------------------------------------------------------- differences


def test_no_difference():
    a, b = tower(3), tower(3)
    same = diff(a, b)
    assert not same and len(same.same) == len(a)
    assert str(same) == f"0 added, 0 removed, 0 changed, {len(a)} the same"


def chain(*ops):
    x = rg.ones(3, requires_grad=True)
    h = x
    for op in ops:
        h = getattr(h, op)()
    return explore(h.sum(), names={"x": x})


def test_inserted_and_removed():
    change = diff(chain("sin", "exp", "cos"), chain("sin", "tanh", "exp", "cos"))
    assert [n.op for n in change.added] == ["Tanh"] and not change.removed
    assert [(c.after.op, list(c.fields)) for c in change.changed] == [("Exp", ["inputs"])]
    assert change.changed[0].fields["inputs"] == ("Sin", "Tanh")
    back = diff(change.after, change.before)
    assert [n.op for n in back.removed] == ["Tanh"] and not back.added
    assert "+ Tanh [3]" in str(change) and "- Tanh [3]" in str(back)


def test_changed_shapes_and_arguments():
    def make(size, dim):
        x = rg.ones(size, 2, requires_grad=True)
        return explore(x.exp().softmax(dim).sum(), names={"x": x})

    change = diff(make(3, 0), make(4, 1))
    fields = {c.after.op: set(c.fields) for c in change.changed}
    assert fields == {
        "Leaf": {"outputs"},
        "Exp": {"outputs", "saved"},
        "Softmax": {"outputs", "arguments", "saved"},
    }
    assert not change.added and not change.removed


def test_one_block_more():
    change = diff(tower(2), tower(3))
    assert not change.removed
    assert {change.after.calls[n.call].path.split(".")[1] for n in change.added if n.call} == {"2"}
    assert {n.label.split(".")[1] for n in change.added if n.is_leaf} == {"2"}


def test_the_graph_of_a_difference():
    change = diff(chain("sin", "exp"), chain("sin", "cos", "exp"))
    both = change.graph()
    assert both.phases == ["before", "after"]
    assert [n.mark for n in both.nodes if n.mark] == ["changed", "added", "changed"]
    numbers = [n.number for n in both.nodes]
    assert numbers == sorted(numbers)
    assert Graph.from_json(both.json()) == both
    assert "var(--added)" in both.svg(color="mark")
    assert "<added>" in both.text() and change._repr_html_().startswith("<iframe")


# ------------------------------------------------------------------------------- reading


def luminance(color):
    channels = [v / 255 for v in color]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in channels]
    return sum(a * b for a, b in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return high / low


def rgb(color):
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def mixed(color, ground, tint):
    return [tint * a + (1 - tint) * b for a, b in zip(rgb(color), rgb(ground), strict=True)]


@pytest.mark.parametrize(("which", "theme"), enumerate(THEMES.values()))
def test_texts_and_wires_stand_out(which, theme):
    """WCAG 2 asks for 4.5 where there is text (AA), and for 3 where there are lines."""
    tints = [value_color(v, 1.0, 1000.0) for v in (0.0, 1.0, 5.0, 30.0, 200.0, 1000.0, math.inf)]
    tints += [(pair[which], 0.05) for pair in FAMILIES.values()]
    tints += [(pair[which], 0.14) for pair in MARKS.values()]
    grounds = [mixed(color, theme["card"], tint) for color, tint in tints]
    grounds += [rgb(theme["ground"]), rgb(theme["card"])]
    for text in (theme["ink"], theme["soft"]):
        assert min(contrast(rgb(text), ground) for ground in grounds) >= 4.5
    assert contrast(rgb(theme["wire"]), rgb(theme["ground"])) >= 3
    bars = [pair[which] for pair in [*FAMILIES.values(), *MARKS.values()]]
    assert min(contrast(rgb(bar), rgb(theme["card"])) for bar in bars) >= 3


def test_numbers_as_text():
    assert [size_text(v) for v in (0, 999, 1000, 999_999, 1_234_567, 5e13)] == [
        "0 B",
        "999 B",
        "1 KB",
        "1 MB",
        "1.23 MB",
        "50 TB",
    ]
    assert [value_text("seconds", v) for v in (2.5, 0.9999, 1e-3, 4.2e-7)] == [
        "2.5 s",
        "1 s",
        "1 ms",
        "420 ns",
    ]
    values = (0.0, 100.0, 12345.0, 0.0123, 1e-4, 2e5, math.inf, math.nan)
    assert [value_text("gradient", v) for v in values] == (
        ["0", "100", "12000", "0.012", "1.0e-4", "2.0e+5", "inf", "nan"]
    )
