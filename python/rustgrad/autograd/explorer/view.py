"""What is seen of a graph: boxes with their places, and the paths of wires."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .groups import Hierarchy
from .layout import Level, Placed
from .model import Graph

__all__ = ["Box", "curve", "seen"]


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
) -> tuple[list[Box], list[tuple[str, str]]]:
    """All boxes, outer ones first, and the paths of wires with their kinds: ``to`` for one that
    ends with an arrow, ``far`` for one that goes straight whatever is between."""
    n = len(graph.nodes)
    found: list[Box] = []
    paths: list[tuple[str, str]] = []
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
        if part.offsets or levels[g].wires:
            framed = {c for c, item in enumerate(levels[g].items) if item - n in placed}
            paths += _wires(levels[g], part, left, top, boxes.groups[g].flip, framed)
    return found, paths


def _wires(
    level: Level, part: Placed, left: float, top: float, flip: bool, framed: set[int]
) -> Iterator[tuple[str, str]]:
    base = len(level.items)
    x = [left + v for v in part.x]
    enter = [top + v for v in part.y]
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
