"""Boxes in boxes: nodes by phase, module call, and repeated block.

NOTE [Contiguous groups]
The nodes of a group are consecutive in the order of recording (leaves apart, which nothing leads
to). So what leads out of a group and back into it cannot exist, and the boxes of a level, opened or
closed, always form a graph without cycles.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from .model import Graph, Node

__all__ = ["Group", "Hierarchy", "hierarchy"]


@dataclass(slots=True)
class Group:
    """A box: ``graph``, ``phase``, ``module``, ``block``, and of blocks that follow each other
    ``repeat`` for all and ``more`` for all but the first."""

    kind: str
    name: str
    type: str
    parent: int
    #: Nodes, and groups as their index plus the number of nodes, in the order of the data.
    items: list[int] = field(default_factory=list)
    path: str = ""
    #: All nodes inside.
    count: int = 0
    #: As of a node, for all inside: sums, the largest gradient, the mark that they share.
    bytes: int = 0
    seconds: float | None = None
    gradient: float | None = None
    mark: str | None = None
    #: Whether data flows upwards in it.
    flip: bool = False
    #: How many blocks a ``repeat`` or ``more`` has.
    times: int = 0


@dataclass(slots=True)
class Hierarchy:
    """The boxes of a graph; the first holds all."""

    groups: list[Group]
    #: The group of each item: nodes, then groups. -1: none.
    parent: list[int]
    #: Parameters shown as lines of the nodes that take them: for each such node, what it shows.
    inline: dict[int, list[int]]
    #: Leaves that have no box of their own.
    hidden: set[int]


def hierarchy(graph: Graph) -> Hierarchy:
    """The boxes of a graph."""
    n = len(graph.nodes)
    groups = [Group("graph", graph.title, "", -1)]
    several = len(graph.phases) > 1
    tops = [0]
    if several:
        tops = []
        for i, name in enumerate(graph.phases):
            groups[0].items.append(n + len(groups))
            tops.append(len(groups))
            # A backward beside its forward reads upwards, node by node across from what it is of.
            groups.append(Group("phase", name, "", 0, flip=i == 1 and name == "backward"))

    hidden = {node.id for node in graph.nodes if node.kind == "parameter"}
    inline: dict[int, list[int]] = {}
    for node in graph.nodes:
        shown = list(dict.fromkeys(e[0] for e in node.inputs if e is not None and e[0] in hidden))
        if shown:
            inline[node.id] = shown
    hidden -= {root.node for root in graph.roots}

    chains: dict[int, list[int]] = {}

    def chain(call: int | None) -> list[int]:
        if call is None:
            return []
        if call not in chains:
            chains[call] = [*chain(graph.calls[call].parent), call]
        return chains[call]

    # The groups that are open, for each phase: (call, group).
    open_groups: list[list[tuple[int, int]]] = [[] for _ in graph.phases]
    for node in graph.nodes:
        if node.id in hidden:
            continue
        top = tops[node.phase]
        if node.is_leaf:
            groups[top].items.append(node.id)
            continue
        stack, calls = open_groups[node.phase], chain(node.call)
        same = 0
        while same < min(len(stack), len(calls)) and stack[same][0] == calls[same]:
            same += 1
        del stack[same:]
        for call in calls[same:]:
            parent = stack[-1][1] if stack else top
            groups[parent].items.append(n + len(groups))
            stack.append((call, len(groups)))
            made = graph.calls[call]
            groups.append(Group("module", made.path, made.type, parent, path=made.path))
        groups[stack[-1][1] if stack else top].items.append(node.id)

    _dissolve(groups, n, several)
    _repeats(graph, groups, n)
    return _numbered(graph, groups, n, inline, hidden)


def _dissolve(groups: list[Group], n: int, several: bool) -> None:
    """A module with a single box inside needs none of its own."""
    # Inner groups come after outer ones.
    for index in range(len(groups) - 1, 0, -1):
        group = groups[index]
        if group.kind == "module" and len(group.items) == 1:
            items = groups[group.parent].items
            items[items.index(n + index)] = group.items[0]
            if group.items[0] >= n:
                groups[group.items[0] - n].parent = group.parent
            group.items = []
            group.kind = "gone"


def _repeats(graph: Graph, groups: list[Group], n: int) -> None:
    """Wraps blocks that follow each other and have the same structure."""
    known: dict[tuple, int] = {}
    signature: dict[int, int] = {}
    weight: dict[int, int] = {}

    def sign(item: int, key: tuple) -> None:
        signature[item] = known.setdefault(key, len(known))

    for node in graph.nodes:
        key = (node.name, tuple(node.outputs), len(node.inputs))
        sign(node.id, key)
        weight[node.id] = 1
    parents = {}
    for index, group in enumerate(groups):
        for item in group.items:
            parents[item] = index

    for index in range(len(groups) - 1, -1, -1):
        group = groups[index]
        if group.kind == "gone":
            continue
        item = n + index
        weight[item] = sum(weight[i] for i in group.items)
        sign(item, (group.type, *(signature[i] for i in group.items)))
        if group.kind == "graph" and len(graph.phases) > 1:
            continue
        leaves = [i for i in group.items if i < n and graph.nodes[i].is_leaf]
        rest = [i for i in group.items if not (i < n and graph.nodes[i].is_leaf)]
        found = _runs([signature[i] for i in rest])
        if not found:
            group.items = leaves + rest
            continue
        items, at = leaves, 0
        for start, period, times in found:
            body = sum(weight[i] for i in rest[start : start + period])
            lone = period == 1
            if body < 3 and (lone or times < 5):
                continue
            blocks = [rest[start + k * period : start + (k + 1) * period] for k in range(times)]
            if not lone and not _alike(graph, blocks, n):
                # The first step of a loop often takes what needs no gradient.
                del blocks[0]
                start, times = start + period, times - 1
                if times < 2 or not _alike(graph, blocks, n):
                    continue
            items += rest[at:start]
            at = start + period * times
            holder = len(groups)
            items.append(n + holder)
            kind = groups[blocks[0][0] - n].type if lone else ""
            groups.append(Group("repeat", "", kind, index))
            for k, block in enumerate(blocks):
                if k == 1 and times > 2:
                    # The first stands for all; the others are a stack behind it.
                    groups[holder].items.append(n + len(groups))
                    groups.append(Group("more", "", kind, holder))
                    holder = len(groups) - 1
                if lone:
                    groups[holder].items.append(block[0])
                    groups[block[0] - n].parent = holder
                    continue
                groups[holder].items.append(n + len(groups))
                groups.append(Group("block", f"{k + 1} of {times}", "", holder, items=block))
                for member in block:
                    if member >= n:
                        groups[member - n].parent = len(groups) - 1
        group.items = items + rest[at:]


def _runs(signs: list[int], most: int = 12) -> list[tuple[int, int, int]]:
    """``(start, period, times)`` of repetitions that follow each other, without overlaps."""
    last: dict[int, int] = {}
    distances: Counter[int] = Counter()
    for i, s in enumerate(signs):
        if s in last:
            distances[i - last[s]] += 1
        last[s] = i
    runs = []
    for period, _ in distances.most_common(most):
        start = None
        for i in range(period, len(signs) + 1):
            same = i < len(signs) and signs[i] == signs[i - period]
            if same and start is None:
                start = i - period
            if not same and start is not None:
                times = (i - start) // period
                if times > 1:
                    runs.append((start, period, times))
                start = None
    runs.sort(key=lambda run: (-run[1] * run[2], run[1]))
    taken = bytearray(len(signs))
    chosen = []
    for start, period, times in runs:
        if not any(taken[start : start + period * times]):
            taken[start : start + period * times] = b"\1" * (period * times)
            chosen.append((start, period, times))
    return sorted(chosen)


def _alike(graph: Graph, blocks: list[list[int]], n: int) -> bool:
    """Whether the nodes of each block hang together, and in the same way."""
    if any(item >= n for block in blocks for item in block):
        return True

    def shape(block: list[int]) -> list:
        place = {item: k for k, item in enumerate(block)}
        return [
            [None if e is None else place.get(e[0], -1) for e in graph.nodes[item].inputs]
            for item in block
        ]

    first = shape(blocks[0])
    inner = sum(e is not None and e >= 0 for edges in first for e in edges)
    return inner >= len(first) - 1 and all(shape(block) == first for block in blocks[1:])


def _numbered(
    graph: Graph, groups: list[Group], n: int, inline: dict[int, list[int]], hidden: set[int]
) -> Hierarchy:
    """Without the groups that are gone, outer groups first."""
    order, todo = [], [0]
    while todo:
        index = todo.pop()
        order.append(index)
        todo.extend(i - n for i in reversed(groups[index].items) if i >= n)
    new = {old: i for i, old in enumerate(order)}
    kept = [groups[old] for old in order]
    parent = [-1] * (n + len(kept))
    for i, group in enumerate(kept):
        group.items = [item if item < n else n + new[item - n] for item in group.items]
        group.parent = new.get(group.parent, -1)
        for item in group.items:
            parent[item] = i
        if group.parent >= 0:
            group.flip = group.flip or kept[group.parent].flip
    _measure(graph, kept, n)
    for group in kept:
        if group.kind == "module":
            outer = group.parent
            while outer > 0 and kept[outer].kind != "module":
                outer = kept[outer].parent
            prefix = kept[outer].path + "." if outer > 0 and kept[outer].path else ""
            group.name = group.path.removeprefix(prefix) or group.type
    for group in reversed(kept):
        if group.kind in ("repeat", "more"):
            blocks = _blocks(group, kept, n)
            group.name = f"{blocks[0].name} … {blocks[-1].name}" if group.type else ""
            group.times = len(blocks)
    return Hierarchy(kept, parent, inline, hidden)


def _measure(graph: Graph, groups: list[Group], n: int) -> None:
    """What each group has inside; outer groups come first."""
    for group in reversed(groups):
        inner = [groups[item - n] for item in group.items if item >= n]
        own = [graph.nodes[item] for item in group.items if item < n]
        parts: list[Node | Group] = [*own, *inner]
        group.count = len(own) + sum([g.count for g in inner])
        group.bytes = sum([part.bytes for part in parts])
        seconds = [part.seconds for part in parts if part.seconds is not None]
        gradients = [part.gradient for part in parts if part.gradient is not None]
        marks = {part.mark for part in parts}
        group.seconds = sum(seconds) if seconds else None
        group.gradient = max(gradients, key=_or_infinite, default=None)
        group.mark = marks.pop() if len(marks) == 1 else "changed" if marks else None


def _or_infinite(value: float) -> float:
    """Orders what is not a number last."""
    return math.inf if math.isnan(value) else value


def _blocks(group: Group, groups: list[Group], n: int) -> list[Group]:
    """The blocks that are repeated."""
    inner = [groups[item - n] for item in group.items]
    return [inner[0], *_blocks(inner[1], groups, n)] if inner[-1].kind == "more" else inner


def default_view(hierarchy: Hierarchy, n: int, expand: bool | int) -> set[int]:
    """The groups that are open: outer ones first, as long as not too many boxes are seen."""
    groups = hierarchy.groups
    if expand is True:
        return set(range(len(groups)))
    opened, seen = {0}, len(groups[0].items)
    level = [0]
    budget = int(expand)
    while level:
        inside = [item - n for index in level for item in groups[index].items if item >= n]
        # What differs is opened first.
        inside.sort(key=lambda g: groups[g].mark is None)
        level = []
        for g in inside:
            kind, count = groups[g].kind, len(groups[g].items)
            if kind == "phase" or (kind != "more" and budget and seen + count <= budget):
                opened.add(g)
                seen += count
                level.append(g)
    return opened
