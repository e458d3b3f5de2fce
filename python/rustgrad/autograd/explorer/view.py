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
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        if abs(x0 - x1) < 0.5:
            parts.append(f"L{x1:.1f} {y1:.1f}")
        else:
            half = (y0 + y1) / 2
            parts.append(f"C{x0:.1f} {half:.1f} {x1:.1f} {half:.1f} {x1:.1f} {y1:.1f}")
    return "".join(parts)


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

    def leave(cell: int, aside: float = 0.0) -> tuple[float, float]:
        y = part.y[cell] + (0.0 if flip else part.heights[cell])
        return left + part.x[cell] + aside, top + y

    def enter(cell: int, aside: float = 0.0) -> tuple[float, float]:
        y = part.y[cell] + (part.heights[cell] if flip else 0.0)
        return left + part.x[cell] + aside, top + y

    asides = {w.way[0]: o[0] for w, o in zip(level.wires, part.offsets, strict=True) if w.way}
    for source, first, turns in level.trunks:
        points = [leave(source, asides.get(first, 0.0))]
        for turn in range(first, first + turns):
            points += [enter(turn), leave(turn)]
        yield curve(points), ""
    drawn = set()
    for wire, (leaves, reaches) in zip(level.wires, part.offsets, strict=True):
        if wire.way is not None and wire.way[1]:
            start = leave(sum(wire.way) - 1)
        else:
            start = leave(wire.source, leaves)
        ends = (start, enter(wire.target, reaches))
        if ends not in drawn:
            drawn.add(ends)
            arrow = "to" if wire.target < base and wire.target not in framed else ""
            yield curve(list(ends)), "far" if wire.way is None else arrow
