"""A layered layout (Sugiyama, Tagawa and Toda 1981) of boxes in boxes.

Each group is a level of its own: its items are put in layers so that edges lead downwards, ordered
within them so that few edges cross, and placed so that edges are straight. That an item is a group,
opened or closed, changes its size, not its layer: so :func:`arrange` runs once for a graph, and
:func:`place` for each view of it. (``assets/place.js`` does the same as :func:`place`.)

An edge between different groups is a chain of wires, one on each level that it passes, which meet
in ports on the borders of the groups. The wires of one source share their way.

Both take time in proportion to the boxes and wires, times a logarithm: the sweeps are bounded in
number, and so is the length of wires that get a way of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import sub
from typing import NamedTuple

from .groups import Hierarchy
from .model import Graph

__all__ = ["Level", "Wire", "arrange", "place", "Placed"]

#: Distances between boxes of a layer, to wires, and between layers.
GAP, WIRE_GAP, LAYER_GAP = 26.0, 14.0, 34.0
#: Inside a group: at the sides and the end, and for its name.
PADDING, HEADER = 18.0, 34.0
#: Between phases.
PHASE_GAP = 90.0


class Wire(NamedTuple):
    """The part of an edge on one level."""

    source: int
    target: int
    #: The node whose output it carries.
    node: int
    #: The first of the turns it passes between the layers of its ends, and their number: they are
    #: consecutive. ``None`` if it goes straight there, whatever is between.
    way: tuple[int, int] | None


@dataclass(slots=True)
class Level:
    """The inside of a group. Cells are its items, then ports, then turns of wires."""

    items: list[int]
    #: For each port after the items: its node, and whether it leads out.
    ports: list[tuple[int, bool]] = field(default_factory=list)
    port_of: dict[tuple[int, bool], int] = field(default_factory=dict)
    cells: int = 0
    #: Cells from top to bottom, each layer from left to right.
    layers: list[list[int]] = field(default_factory=list)
    ways: list[tuple[int, int] | None] = field(default_factory=list)
    #: What wires of one source share: the source, the first turn, the number of turns.
    trunks: list[tuple[int, int, int]] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    #: A level of the same structure, which shares layers and ways; maybe itself.
    like: Level | None = None


def arrange(graph: Graph, boxes: Hierarchy) -> tuple[list[Level], list[tuple[int, int]]]:
    """Layers and orders of all groups, and the edges between phases."""
    n, groups, parent = len(graph.nodes), boxes.groups, boxes.parent
    depth = [0] * len(groups)
    for i, group in enumerate(groups):
        depth[i] = 0 if group.parent < 0 else depth[group.parent] + 1
    levels = [Level(group.items) for group in groups]
    cell_of = [0] * (n + len(groups))
    for group in groups:
        for cell, item in enumerate(group.items):
            cell_of[item] = cell
    ends: list[dict[tuple[int, int, int], None]] = [{} for _ in groups]
    across: dict[tuple[int, int], None] = {}

    def port(g: int, node: int, out: bool) -> int:
        key = (node, out)
        level = levels[g]
        cell = level.port_of.get(key)
        if cell is None:
            cell = level.port_of[key] = len(level.items) + len(level.ports)
            level.ports.append(key)
        return cell

    hidden, phased = boxes.hidden, len(graph.phases) > 1
    for consumer in graph.nodes:
        v = consumer.id
        if v in hidden:
            continue
        for edge in consumer.inputs:
            if edge is None or edge[0] in hidden:
                continue
            u = edge[0]
            if phased and graph.nodes[u].phase != consumer.phase:
                across[u, v] = None
                continue
            source, target = cell_of[u], cell_of[v]
            gu, gv = parent[u], parent[v]
            while gu != gv:
                if depth[gu] >= depth[gv]:
                    ends[gu][source, port(gu, u, True), u] = None
                    source, gu = cell_of[n + gu], parent[n + gu]
                else:
                    ends[gv][port(gv, u, False), target, u] = None
                    target, gv = cell_of[n + gv], parent[n + gv]
            ends[gu][source, target, u] = None
    # Blocks of the same structure are arranged once.
    known: dict[tuple, Level] = {}
    for g, level in enumerate(levels):
        nodes: dict[int, int] = {}
        own = tuple([(s, t, nodes.setdefault(u, len(nodes))) for s, t, u in ends[g]])
        key = (len(level.items), tuple([out for _, out in level.ports]), own)
        like = known.setdefault(key, level)
        if like is level:
            _rank(level, own)
            _order(level, own)
        else:
            level.cells, level.layers = like.cells, like.layers
            level.ways, level.trunks = like.ways, like.trunks
        level.like = like
        level.wires = [Wire(*end, way) for end, way in zip(ends[g], level.ways, strict=True)]
    return levels, list(across)


def _rank(level: Level, ends: Sequence[tuple[int, int, int]]) -> None:
    """Puts cells in layers, and turns where wires pass layers."""
    items, base = len(level.items), len(level.items) + len(level.ports)
    inward = [items + i for i, (_, out) in enumerate(level.ports) if not out]
    outward = [items + i for i, (_, out) in enumerate(level.ports) if out]
    before: list[list[int]] = [[] for _ in range(base)]
    after: list[list[int]] = [[] for _ in range(base)]
    for source, target, _ in ends:
        before[target].append(source)
        after[source].append(target)
    rank = [0] * base
    lowest = 1 if inward else 0
    for cell in range(items):
        rank[cell] = max((rank[c] + 1 for c in before[cell]), default=lowest)
        rank[cell] = max(rank[cell], lowest)
    if outward:
        last = max((rank[c] for c in range(items)), default=0) + 1
        for cell in outward:
            rank[cell] = last
    # Wires get shorter where more of them leave a cell than arrive.
    for cell in range(items - 1, -1, -1):
        if len(after[cell]) > len(before[cell]):
            rank[cell] = max(rank[cell], min(rank[c] for c in after[cell]) - 1)

    shared: dict[tuple[int, int], list[int]] = {}
    for i, (source, _, node) in enumerate(ends):
        shared.setdefault((source, node), []).append(i)
    layers: list[list[int]] = [[] for _ in range(max(rank, default=-1) + 1)]
    for cell in range(base):
        layers[rank[cell]].append(cell)
    spans = sorted(
        (max([rank[ends[i][1]] for i in same]) - rank[source] - 1, source, same)
        for (source, _), same in shared.items()
    )
    # The longest wires have no way of their own if all ways together were too long.
    budget = 2 * base + 500
    ways: list[tuple[int, int] | None] = [(0, 0)] * len(ends)
    cells = base
    for span, source, same in spans:
        if span <= 0:
            continue
        if span > budget:
            for i in same:
                ways[i] = None if rank[ends[i][1]] > rank[source] + 1 else (0, 0)
            continue
        budget -= span
        for turn in range(span):
            layers[rank[source] + 1 + turn].append(cells + turn)
        level.trunks.append((source, cells, span))
        for i in same:
            ways[i] = (cells, rank[ends[i][1]] - rank[source] - 1)
        cells += span
    level.cells, level.layers, level.ways = cells, layers, ways


def _neighbours(
    level: Level, ends: Sequence[tuple[int, int, int]]
) -> tuple[list[list[int]], list[list[int]]]:
    """The cells above and below each cell to which wires lead."""
    above: list[list[int]] = [[] for _ in range(level.cells)]
    below: list[list[int]] = [[] for _ in range(level.cells)]
    for source, first, turns in level.trunks:
        cell = source
        for turn in range(first, first + turns):
            above[turn].append(cell)
            below[cell].append(turn)
            cell = turn
    for (source, target, _), way in zip(ends, level.ways, strict=True):
        if way is not None:
            first, turns = way
            cell = first + turns - 1 if turns else source
            above[target].append(cell)
            below[cell].append(target)
    return above, below


def _order(level: Level, ends: Sequence[tuple[int, int, int]]) -> None:
    """Orders layers by the mean place of neighbours, in sweeps down and up."""
    layers = level.layers
    if all(len(layer) < 2 for layer in layers):
        return
    above, below = _neighbours(level, ends)
    at = [0.0] * level.cells

    def number(layer: list[int]) -> None:
        for i, cell in enumerate(layer):
            at[cell] = i

    for layer in layers:
        number(layer)
    small = level.cells < 3000
    best, fewest = None, None
    for _ in range(6 if small else 2):
        for side, direction in ((above, layers), (below, layers[::-1])):
            for layer in direction:
                if len(layer) < 2:
                    continue
                mean = {}
                for cell in layer:
                    near = side[cell]
                    if len(near) == 1:
                        mean[cell] = at[near[0]]
                    elif near:
                        mean[cell] = sum([at[c] for c in near]) / len(near)
                    else:
                        mean[cell] = at[cell]
                layer.sort(key=mean.__getitem__)
                number(layer)
            if small:
                count = _crossings(layers, below, at)
                if fewest is None or count < fewest:
                    best, fewest = [layer[:] for layer in layers], count
        if fewest == 0:
            break
    if best is not None:
        level.layers = best


def _crossings(layers: list[list[int]], below: list[list[int]], at: list[float]) -> int:
    """How many wires cross, by counting inversions."""
    total = 0
    for upper, lower in zip(layers, layers[1:], strict=False):
        ends = [int(at[c]) for cell in upper for c in sorted(below[cell], key=at.__getitem__)]
        if len(ends) < 2:
            continue
        size = len(lower)
        tree = [0] * (size + 1)
        for seen, end in enumerate(ends):
            smaller, i = 0, end + 1
            while i > 0:
                smaller += tree[i]
                i -= i & -i
            total += seen - smaller
            i = end + 1
            while i <= size:
                tree[i] += 1
                i += i & -i
    return total


@dataclass(slots=True)
class Placed:
    """A group that is open, in coordinates of its own."""

    width: float
    height: float
    #: Centre, top and height of each cell; widths of the items.
    x: list[float]
    y: list[float]
    heights: list[float]
    widths: list[float]
    #: For each wire, where it leaves its source and reaches its target, from their centres.
    offsets: list[tuple[float, float]]


def place(
    boxes: Hierarchy,
    levels: list[Level],
    opened: set[int],
    sizes: list[tuple[float, float]],
    n: int,
) -> dict[int, Placed]:
    """Coordinates of all that is seen.

    Args:
        boxes: the groups.
        levels: what :func:`arrange` made of them.
        opened: the groups that are open.
        sizes: width and height of each item, nodes and closed groups.
        n: the number of nodes.
    """
    placed: dict[int, Placed] = {}
    seen, todo = [], [0]
    while todo:
        g = todo.pop()
        seen.append(g)
        todo.extend(i - n for i in levels[g].items if i >= n and i - n in opened)
    known: dict[tuple, Placed] = {}
    for g in reversed(seen):
        if boxes.groups[g].kind == "graph" and any(
            i >= n and boxes.groups[i - n].kind == "phase" for i in levels[g].items
        ):
            placed[g] = _side_by_side(levels[g], placed, n)
        else:
            placed[g] = _place(g, boxes, levels, placed, sizes, n, known)
    return placed


def _side_by_side(level: Level, placed: dict[int, Placed], n: int) -> Placed:
    inner = [placed[i - n] for i in level.items]
    x, at = [], 0.0
    for part in inner:
        x.append(at + part.width / 2)
        at += part.width + PHASE_GAP
    height = max(part.height for part in inner)
    heights, widths = [part.height for part in inner], [part.width for part in inner]
    return Placed(at - PHASE_GAP, height, x, [0.0] * len(inner), heights, widths, [])


def _place(
    g: int,
    boxes: Hierarchy,
    levels: list[Level],
    placed: dict[int, Placed],
    sizes: list[tuple[float, float]],
    n: int,
    known: dict[tuple, Placed],
) -> Placed:
    level, items = levels[g], len(levels[g].items)
    inner = [placed.get(item - n) if item >= n else None for item in level.items]
    own = [
        sizes[item] if part is None else (part.width, part.height)
        for item, part in zip(level.items, inner, strict=True)
    ]

    def offset(cell: int, node: int, out: bool) -> float:
        """From the centre of a cell to where a wire meets it."""
        part = inner[cell] if cell < items else None
        if part is None:
            return 0.0
        port = levels[level.items[cell] - n].port_of[node, out]
        return part.x[port] - part.width / 2

    offsets = [
        (offset(w.source, w.node, True), offset(w.target, w.node, False)) for w in level.wires
    ]
    flip, least = boxes.groups[g].flip, sizes[n + g][0]
    framed = boxes.groups[g].kind not in ("graph", "phase")
    # Blocks of the same structure and sizes are placed once.
    key = (id(level.like), tuple(own), tuple(offsets), flip, framed, least)
    if key in known:
        return known[key]
    half = [width / 2 for width, _ in own] + [0.0] * (level.cells - items)
    x = _columns(level, half, offsets)
    left = min((x[c] - half[c] for c in range(level.cells)), default=0.0)
    right = max((x[c] + half[c] for c in range(level.cells)), default=0.0)
    pad = PADDING if framed else 0.0
    width = max(right - left + 2 * pad, least)
    shift = (width - (right - left)) / 2 - left
    x = [v + shift for v in x]

    begin, end = (HEADER, PADDING) if framed else (0.0, 0.0)
    if flip:
        begin, end = end, begin
    y, heights = [0.0] * level.cells, [0.0] * level.cells
    at = begin
    for layer in level.layers:
        if all(items <= c < items + len(level.ports) for c in layer):
            continue
        tallest = max((own[c][1] for c in layer if c < items), default=0.0)
        for c in layer:
            heights[c] = own[c][1] if c < items else tallest
            y[c] = at + (tallest - heights[c]) / 2
        at += tallest + LAYER_GAP
    height = max(at - LAYER_GAP + end, 0.0)
    for i, (_, out) in enumerate(level.ports):
        y[items + i] = height if out else 0.0
    if flip:
        y = [height - top - tall for top, tall in zip(y, heights, strict=True)]
    result = known[key] = Placed(width, height, x, y, heights, [w for w, _ in own], offsets)
    return result


def _columns(level: Level, half: list[float], offsets: list[tuple[float, float]]) -> list[float]:
    """Centres of cells: as straight as the order and the distances in each layer allow."""
    base = len(level.items) + len(level.ports)
    # For each cell: its neighbours, how far aside they want it, and how much.
    above: list[list[tuple[int, float, float]]] = [[] for _ in range(level.cells)]
    below: list[list[tuple[int, float, float]]] = [[] for _ in range(level.cells)]

    def link(upper: int, lower: int, aside: float, weight: float) -> None:
        above[lower].append((upper, aside, weight))
        below[upper].append((lower, -aside, weight))

    leaving = {(w.source, w.node): o[0] for w, o in zip(level.wires, offsets, strict=True)}
    node_of = {w.way[0]: w.node for w in level.wires if w.way and w.way[1]}
    # Bends are seen best in long wires.
    for source, first, turns in level.trunks:
        link(source, first, leaving[source, node_of[first]], 3.0)
        for turn in range(first + 1, first + turns):
            link(turn - 1, turn, 0.0, 8.0)
    for wire, (leaves, reaches) in zip(level.wires, offsets, strict=True):
        if wire.way is not None:
            first, turns = wire.way
            if turns:
                link(first + turns - 1, wire.target, -reaches, 3.0)
            else:
                link(wire.source, wire.target, leaves - reaches, 1.0)
    x = [0.0] * level.cells
    # Layers with the places that their cells need, one beside the other.
    down: list[tuple[list[int], list[float]]] = []
    for layer in level.layers:
        shifts, at = [0.0], 0.0
        for left, right in zip(layer, layer[1:], strict=False):
            at += half[left] + half[right] + (GAP if left < base and right < base else WIRE_GAP)
            shifts.append(at)
        down.append((layer, shifts))
        for cell, shift in zip(layer, shifts, strict=True):
            x[cell] = shift - at / 2
    rounds = 6 if level.cells < 3000 else 1
    both = [a + b for a, b in zip(above, below, strict=True)]
    sweeps = [(above, down), (below, down[::-1])] * rounds + [(both, down)]
    for side, direction in sweeps:
        for layer, shifts in direction:
            want, weights = _wanted(layer, side, x)
            _settle(layer, want, weights, shifts, x)
    _straighten(above, below, down, x)
    return x


def _wanted(
    layer: list[int], side: list[list[tuple[int, float, float]]], x: list[float]
) -> tuple[list[float], list[float]]:
    """Where the neighbours of each cell want it, and how much."""
    want, weights = [], []
    for cell in layer:
        near = side[cell]
        if not near:
            want.append(x[cell])
            weights.append(0.05)
        elif len(near) == 1:
            other, aside, weight = near[0]
            want.append(x[other] + aside)
            weights.append(weight)
        else:
            total = moment = 0.0
            for other, aside, weight in near:
                total += weight
                moment += weight * (x[other] + aside)
            want.append(moment / total)
            weights.append(total)
    return want, weights


def _straighten(
    above: list[list[tuple[int, float, float]]],
    below: list[list[tuple[int, float, float]]],
    down: list[tuple[list[int], list[float]]],
    x: list[float],
) -> None:
    """Makes chains straight: cells of which each is the only neighbour of the next, but for such
    that nothing leads to, which keep their distance from it.

    A chain wants to be where the mean of its cells is. Moving chains to the right until all have
    the distances that they need, or to the left, gives two solutions, and so does their mean.
    """
    cells = len(x)
    chain, aside, at = list(range(cells)), [0.0] * cells, [0] * cells
    want, count = x[:], [1] * cells
    for layer, _ in down:
        # Chains that crossed could not keep a distance.
        last = -1
        for i, cell in enumerate(layer):
            at[cell] = i
            near = above[cell]
            if len(near) > 1:
                near = [link for link in near if above[link[0]]]
            if len(near) == 1:
                upper, shift, _ = near[0]
                if len(below[upper]) == 1 and at[upper] > last:
                    last = at[upper]
                    head = chain[cell] = chain[upper]
                    aside[cell] = aside[upper] + shift
                    want[head] += x[cell] - aside[cell]
                    count[head] += 1
    follows: list[list[tuple[int, float]]] = [[] for _ in range(cells)]
    waits = [0] * cells
    for layer, shifts in down:
        head, at_head = chain[layer[0]], aside[layer[0]]
        for i in range(1, len(layer)):
            other, at_other = chain[layer[i]], aside[layer[i]]
            follows[head].append((other, shifts[i] - shifts[i - 1] + at_head - at_other))
            waits[other] += 1
            head, at_head = other, at_other
    rightmost = [w / c for w, c in zip(want, count, strict=True)]
    for cell in range(cells):
        if not above[cell] and len(below[cell]) == 1:
            lower = below[cell][0][0]
            if chain[lower] != cell:
                rightmost[cell] = rightmost[chain[lower]] + aside[lower] + x[cell] - x[lower]
    leftmost = rightmost[:]
    order = [cell for cell in range(cells) if chain[cell] == cell and not waits[cell]]
    for cell in order:
        place = rightmost[cell]
        for other, step in follows[cell]:
            if place + step > rightmost[other]:
                rightmost[other] = place + step
            waits[other] -= 1
            if not waits[other]:
                order.append(other)
    for cell in reversed(order):
        place = leftmost[cell]
        for other, step in follows[cell]:
            if leftmost[other] - step < place:
                place = leftmost[other] - step
        leftmost[cell] = place
    for cell in range(cells):
        x[cell] = (leftmost[chain[cell]] + rightmost[chain[cell]]) / 2 + aside[cell]


def _settle(
    layer: list[int], want: list[float], weights: list[float], shifts: list[float], x: list[float]
) -> None:
    """Places a layer nearest to where its cells want to be, in least squares, at the distances
    that they need: isotonic regression, by pooling adjacent violators."""
    wishes = list(map(sub, want, shifts))
    if wishes == sorted(wishes):
        for cell, place in zip(layer, want, strict=True):
            x[cell] = place
        return
    blocks: list[tuple[float, float, int]] = []
    for mean, weight in zip(wishes, weights, strict=True):
        count = 1
        while blocks and blocks[-1][0] >= mean:
            other, more, many = blocks.pop()
            mean = (other * more + mean * weight) / (more + weight)
            weight += more
            count += many
        blocks.append((mean, weight, count))
    i = 0
    for mean, _, count in blocks:
        for k in range(i, i + count):
            x[layer[k]] = mean + shifts[k]
        i += count
