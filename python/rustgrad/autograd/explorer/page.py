"""The interactive page: one file with its data, styles and program."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

from .groups import Hierarchy, default_view, hierarchy
from .layout import Level, arrange
from .model import Graph, near, number, size_text, source_line
from .style import (
    FAMILIES,
    MARKS,
    MEASURES,
    RAMP,
    Card,
    asset,
    cards,
    heading,
    limits,
    measured,
    variables,
)

__all__ = ["page"]

#: The page's program, in the order in which its parts need each other.
_PROGRAM = (
    *("data", "words", "colours", "place", "cards", "view", "drawing", "map", "choice"),
    *("details", "search", "pointer", "keyboard", "controls"),
)


def page(graph: Graph, expand: bool | int) -> str:
    """The HTML of a graph."""
    style = {"light": variables("light"), "dark": variables("dark"), "graph": asset("graph.css")}
    parts = {
        "title": escape(graph.title),
        "style": _filled(asset("page.css"), style),
        "program": "".join(asset(f"{name}.js") for name in _PROGRAM),
        # In a script element, only `<` could mean something else.
        "data": json.dumps(_data(graph, expand), separators=(",", ":")).replace("<", "\\u003c"),
    }
    return _filled(asset("page.html"), parts)


def _filled(text: str, parts: dict[str, str]) -> str:
    """A text with something in each place ``{{name}}``, in which no place is looked for."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], text)


def _data(graph: Graph, expand: bool | int) -> dict[str, Any]:
    """What the program gets to know."""
    boxes = hierarchy(graph)
    levels, across = arrange(graph, boxes)
    says = cards(graph, boxes)
    n = len(graph.nodes)
    groups, shapes = _groups(boxes, levels, says[n:])
    families = {card.family for card in says[:n]}
    marks = {node.mark for node in graph.nodes}
    return {
        "title": graph.title,
        "phases": graph.phases,
        "roots": [root.node for root in graph.roots],
        "saved": size_text(graph.saved_bytes),
        "nodes": _nodes(graph, boxes, says),
        "groups": groups,
        "shapes": shapes,
        "across": across,
        "hidden": sorted(boxes.hidden),
        "open": sorted(default_view(boxes, n, expand)),
        "legend": {
            "kind": [kind for kind in FAMILIES if kind in families],
            "mark": [mark for mark in MARKS if mark in marks],
        },
        "measures": {
            name: dict(zip(("title", "low", "high"), (title, *limits(graph, name)), strict=True))
            for name, title in MEASURES.items()
            if any(measured(name, node) is not None for node in graph.nodes)
        },
        "ramp": RAMP,
    }


def _nodes(graph: Graph, boxes: Hierarchy, says: list[Card]) -> list[dict[str, Any]]:
    sources: dict[str | None, str | None] = {}
    sites: dict[str | None, str | None] = {}
    found = []
    for node, card in zip(graph.nodes, says, strict=False):
        if node.site not in sources:
            sources[node.site], sites[node.site] = source_line(node.site), near(node.site)
        leaves = boxes.inline.get(node.id, ())
        module = None if node.call is None else graph.calls[node.call].path or graph.title
        found.append(
            _without_empty(
                {
                    "title": card.title,
                    "aside": card.aside,
                    "line": card.line,
                    "rows": [[*row, leaf] for row, leaf in zip(card.rows, leaves, strict=True)],
                    "family": card.family,
                    "name": node.name,
                    "label": node.label,
                    "module": module,
                    "site": sites[node.site],
                    "source": sources[node.site],
                    "outputs": node.outputs,
                    "inputs": node.inputs,
                    "number": node.number,
                    "saved": [[s.name, s.shape, s.dtype, s.bytes, s.leaf] for s in node.saved],
                    "arguments": [[k, str(v)] for k, v in node.arguments.items()],
                    "phase": node.phase,
                    "origin": node.origin,
                    "freed": node.freed,
                    "bytes": node.bytes,
                    "seconds": node.seconds,
                    "gradient": number(node.gradient),
                    "mark": node.mark,
                    "leaf": node.is_leaf,
                }
            )
        )
    return found


def _groups(
    boxes: Hierarchy, levels: list[Level], says: list[Card]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The groups, and the arrangements that they share."""
    shapes: list[dict[str, Any]] = []
    places: dict[int, int] = {}
    groups = []
    for group, level, card in zip(boxes.groups, levels, says, strict=True):
        like = level.like or level
        if id(like) not in places:
            places[id(like)] = len(shapes)
            shapes.append(
                {key: getattr(like, key) for key in ("cells", "layers", "trunks", "ways")}
            )
        entry = {
            "kind": group.kind,
            "title": card.title,
            "subtitle": heading(group)[1],
            "line": card.line,
            "family": card.family,
            "type": group.type,
            "stacked": card.stacked,
            "path": group.path,
            "count": group.count,
            "bytes": group.bytes,
            "seconds": group.seconds,
            "gradient": number(group.gradient),
            "mark": group.mark,
            "flip": group.flip,
            "shape": places[id(like)],
        }
        wires = [wire[:3] for wire in level.wires]
        inside = {"items": group.items, "ports": level.ports, "ends": wires}
        groups.append(_without_empty(entry) | inside)
    return groups, shapes


def _without_empty(entry: dict[str, Any]) -> dict[str, Any]:
    """What is not empty, not false and not ``None``: a zero is something."""
    return {k: v for k, v in entry.items() if v or (v == 0 and v is not False)}
