"""The interactive page: one file with its data, styles and program."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from .groups import default_view, hierarchy
from .layout import Level, arrange
from .model import Graph, near, number, size_text, source_line
from .style import FAMILIES, MARKS, RAMP, THEMES, cards

__all__ = ["page"]

_ASSETS = Path(__file__).with_name("assets")


def page(graph: Graph, expand: bool | int) -> str:
    """The HTML of a graph."""
    parts = {
        "title": escape(graph.title),
        "style": (_ASSETS / "page.css").read_text(encoding="utf-8"),
        "place": (_ASSETS / "place.js").read_text(encoding="utf-8"),
        "page": (_ASSETS / "page.js").read_text(encoding="utf-8"),
        # In a script element, only `<` could mean something else.
        "data": json.dumps(_data(graph, expand), separators=(",", ":")).replace("<", "\\u003c"),
    }
    for i, name in enumerate(("light", "dark")):
        colors = {**THEMES[name], **{k: v[i] for k, v in (FAMILIES | MARKS).items()}}
        rules = " ".join(f"--{key}: {value};" for key, value in colors.items())
        parts["style"] = parts["style"].replace("{{" + name + "}}", rules)
    # Each place is filled once, so that what is put in is not searched again.
    text = (_ASSETS / "page.html").read_text(encoding="utf-8")
    pieces = text.split("{{")
    for i, piece in enumerate(pieces[1:], 1):
        name, _, rest = piece.partition("}}")
        pieces[i] = parts[name] + rest
    return "".join(pieces)


def _data(graph: Graph, expand: bool | int) -> dict[str, Any]:
    boxes = hierarchy(graph)
    levels, across = arrange(graph, boxes)
    says = cards(graph, boxes)
    n = len(graph.nodes)
    sources: dict[str | None, str | None] = {}
    sites: dict[str | None, str | None] = {}
    nodes = []
    for node, card in zip(graph.nodes, says, strict=False):
        if node.site not in sources:
            sources[node.site], sites[node.site] = source_line(node.site), near(node.site)
        entry = {
            "title": card.title,
            "aside": card.aside,
            "line": card.line,
            "rows": [
                [name, shape, leaf]
                for (name, shape), leaf in zip(
                    card.rows, boxes.inline.get(node.id, ()), strict=True
                )
            ],
            "family": card.family,
            "name": node.name,
            "label": node.label,
            "module": None if node.call is None else graph.calls[node.call].path,
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
        # What is empty is left out.
        nodes.append({key: value for key, value in entry.items() if value or value == 0})
    shapes: list[Level] = []
    places: dict[int, int] = {}
    groups = []
    for i, (group, level) in enumerate(zip(boxes.groups, levels, strict=True)):
        like = level.like or level
        if id(like) not in places:
            places[id(like)] = len(shapes)
            shapes.append(like)
        card = says[n + i]
        groups.append(
            {
                "kind": group.kind,
                "title": card.title,
                "line": card.line,
                "type": group.type,
                "stacked": card.stacked,
                "path": group.path,
                "items": group.items,
                "count": group.count,
                "bytes": group.bytes,
                "flip": group.flip,
                "shape": places[id(like)],
                "ports": level.ports,
                "ends": [wire[:3] for wire in level.wires],
            }
        )
    return {
        "title": graph.title,
        "phases": graph.phases,
        "roots": [root.node for root in graph.roots],
        "saved": size_text(graph.saved_bytes),
        "edges": len(graph.edges),
        "nodes": nodes,
        "groups": groups,
        "shapes": [
            {"cells": s.cells, "layers": s.layers, "trunks": s.trunks, "ways": s.ways}
            for s in shapes
        ],
        "across": across,
        "hidden": sorted(boxes.hidden),
        "open": sorted(default_view(boxes, n, expand)),
        "ramp": RAMP,
    }
