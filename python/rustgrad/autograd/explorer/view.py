"""What is seen of a graph: boxes with their places, and the paths of wires."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .groups import Hierarchy
from .layout import Level, Placed
from .model import Graph

__all__ = ["Box", "Wires", "seen"]


@dataclass(slots=True)
class Box:
    """A node or group in the coordinates of the picture."""

    item: int
    x: float
    y: float
    width: float
    height: float
    #: Whether it is a group that shows what is inside.
    open: bool


class Wires(NamedTuple):
    """The wires of a group."""

    #: The corner of the group, from which the paths go.
    x: float
    y: float
    #: Each with its kind: ``to`` if it ends with an arrow, ``far`` if it goes straight whatever is
    #: between.
    paths: list[tuple[str, str]]


def curve(points: list[tuple[float, float]]) -> str:
    """A smooth path that starts and ends upright; points with the same x are joined straight."""
    x0, y0 = points[0]
    at = f"{x0:.1f}"
    path = f"M{at} {y0:.1f}"
    for x1, y1 in points[1:]:
        if -0.5 < x0 - x1 < 0.5:
            path += f"L{at} {y1:.1f}"
        else:
            half, end = f"{(y0 + y1) / 2:.1f}", f"{x1:.1f}"
            path += f"C{at} {half} {end} {half} {end} {y1:.1f}"
            x0, at = x1, end
        y0 = y1
    return path


def seen(
    graph: Graph, boxes: Hierarchy, levels: list[Level], placed: dict[int, Placed]
) -> tuple[list[Box], list[Wires]]:
    """All boxes, outer ones first, and the wires of each group."""
    n = len(graph.nodes)
    found: list[Box] = []
    wires: list[Wires] = []
    # Groups that look alike have the same wires.
    known: dict[tuple[int, frozenset[int]], list[tuple[str, str]]] = {}
    todo = [(0, 0.0, 0.0)]
    while todo:
        g, left, top = todo.pop()
        part = placed[g]
        for cell, item in enumerate(levels[g].items):
            width = part.widths[cell]
            x, y = left + part.x[cell] - width / 2, top + part.y[cell]
            inner = item >= n and item - n in placed
            found.append(Box(item, x, y, width, part.heights[cell], inner))
            if inner:
                todo.append((item - n, x, y))
        # Phases stand side by side, without wires.
        if part.offsets:
            framed = frozenset([c for c, item in enumerate(levels[g].items) if item - n in placed])
            key = id(part), framed
            if key not in known:
                known[key] = list(_paths(levels[g], part, boxes.groups[g].flip, framed))
            wires.append(Wires(left, top, known[key]))
    return found, wires


def _paths(
    level: Level, part: Placed, flip: bool, framed: frozenset[int]
) -> Iterator[tuple[str, str]]:
    base, x, enter = len(level.items), part.x, part.y
    leave = [y + tall for y, tall in zip(enter, part.heights, strict=True)]
    if flip:
        enter, leave = leave, enter
    if level.trunks:
        leaving = {
            w.way[0]: leaves
            for w, (leaves, _) in zip(level.wires, part.offsets, strict=True)
            if w.way is not None
        }
        for source, first, turns in level.trunks:
            points = [(x[source] + leaving[first], leave[source])]
            for turn in range(first, first + turns):
                points += [(x[turn], enter[turn]), (x[turn], leave[turn])]
            yield curve(points), ""
    drawn = set()
    for (source, target, _, way), (leaves, reaches) in zip(level.wires, part.offsets, strict=True):
        if way is not None and way[1]:
            source, leaves = way[0] + way[1] - 1, 0.0
        start, end = x[source] + leaves, x[target] + reaches
        ends = (source, start, target, end)
        if ends not in drawn:
            drawn.add(ends)
            arrow = "to" if target < base and target not in framed else ""
            path = curve([(start, leave[source]), (end, enter[target])])
            yield path, "far" if way is None else arrow
