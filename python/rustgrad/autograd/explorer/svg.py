"""A picture of a graph, as SVG."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from .groups import Group, default_view, hierarchy
from .layout import PHASE_GAP, arrange, place
from .model import Graph, Node, size_text
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
    sizes_of,
    text_width,
    value_color,
    value_text,
    variables,
)
from .view import Box, Wires, seen

__all__ = ["picture"]

MARGIN = 28.0


def _styles() -> str:
    # Inside of a page, the rules hold for this picture alone: each begins with its class.
    return (
        f"<style>.graph{{{variables('light')}font-family:Inter,ui-sans-serif,system-ui,"
        "-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;"
        "font-variant-numeric:tabular-nums}"
        f"@media(prefers-color-scheme:dark){{.graph{{{variables('dark')}}}}}"
        f"{asset('graph.css')}</style>"
    )


class _Colours:
    """What colours show: a colour and a text for each node and group."""

    def __init__(self, graph: Graph, groups: list[Group], color: str) -> None:
        if color not in ("kind", "mark", *MEASURES):
            allowed = ", ".join(["kind", *MEASURES, "mark"])
            raise ValueError(f"[Graph.svg] color must be one of {allowed}, but got {color!r}")
        self.items: list[Node | Group] = [*graph.nodes, *groups]
        self.color = color
        self.low, self.high = limits(graph, color) if color in MEASURES else (0.0, 0.0)

    def of(self, item: int, family: str) -> tuple[str, float]:
        """The colour and how much of it the ground of the box has."""
        if self.color == "kind":
            return f"var(--{family})", 0.05
        if self.color == "mark":
            mark = self.items[item].mark
            return (f"var(--{mark})", 0.14) if mark else ("var(--line)", 0.0)
        return value_color(measured(self.color, self.items[item]), self.low, self.high)

    def value(self, item: int) -> str:
        """What is measured, as text."""
        if self.color not in MEASURES:
            return ""
        value = measured(self.color, self.items[item])
        return "" if value is None else value_text(self.color, value)


def picture(graph: Graph, expand: bool | int, color: str) -> str:
    """The SVG of a graph."""
    boxes = hierarchy(graph)
    colours = _Colours(graph, boxes.groups, color)
    levels, across = arrange(graph, boxes)
    n = len(graph.nodes)
    says = cards(graph, boxes)
    values = [colours.value(item) for item in range(len(says))]
    sizes = sizes_of(says, values)
    placed = place(boxes, levels, default_view(boxes, n, expand), sizes, n)
    found, wires = seen(graph, boxes, levels, placed)
    top = MARGIN + (26 if len(graph.phases) > 1 else 0)
    closed = [box for box in found if not box.open]
    legend, legend_width = _legend(graph, colours, [says[box.item] for box in closed])
    width = max(placed[0].width, legend_width) + 2 * MARGIN
    height = placed[0].height + top + MARGIN + 34
    shift = (width - placed[0].width) / 2
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" role="img" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}">',
        f"<title>{_escape(graph.title)}</title>",
        _styles(),
        '<defs><marker id="graph-to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6.5" '
        'markerHeight="6.5" orient="auto"><path class="arrow" d="M0 .8L7.4 4 0 7.2z"/></marker>'
        "</defs>",
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="var(--ground)"/>',
        f'<g transform="translate({shift:.1f} {top:.1f})">',
    ]
    frames = [(box, boxes.groups[box.item - n]) for box in found if box.open]
    out += [_frame(box) for box, group in frames if group.kind != "phase"]
    out += [f'<path class="x" d="{d}"/>' for d in _across(across, found, boxes.parent, n)]
    out += _wires(wires)
    out += [_head(box, group) for box, group in frames]
    out += _cards(closed, says, values, colours, {root.node for root in graph.roots})
    out += ["</g>", f'<g transform="translate({MARGIN} {height - 26:.1f})">', legend, "</g></svg>"]
    return "".join(out)


def _across(edges: list[tuple[int, int]], found: list[Box], parent: list[int], n: int) -> list[str]:
    """The paths of edges between phases."""
    shown = {box.item: box for box in found if not box.open}

    def visible(item: int) -> Box | None:
        while item not in shown:
            if parent[item] < 0:
                return None
            item = n + parent[item]
        return shown[item]

    paths = {}
    for u, v in edges:
        a, b = visible(u), visible(v)
        if a is None or b is None:
            continue
        x0, x1 = a.x + a.width, b.x
        y0, y1 = a.y + a.height / 2, b.y + b.height / 2
        bend = max(PHASE_GAP / 2, (x1 - x0) / 2)
        ends = f"{x1 - bend:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
        paths[a.item, b.item] = f"M{x0:.1f} {y0:.1f}C{x0 + bend:.1f} {y0:.1f} {ends}"
    return list(paths.values())


def _wires(wires: list[Wires]) -> Iterator[str]:
    """The wires of all groups."""
    ends = {"to": 'class="w" marker-end="url(#graph-to)"', "far": 'class="w far"', "": 'class="w"'}
    known: dict[int, str] = {}
    for x, y, paths in wires:
        if id(paths) not in known:
            known[id(paths)] = "".join([f'<path {ends[kind]} d="{d}"/>' for d, kind in paths])
        yield f'<g transform="translate({x:.1f} {y:.1f})">{known[id(paths)]}</g>'


#: What XML cannot hold, not even escaped.
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def _escape(text: str) -> str:
    return escape(_NO_XML.sub("\ufffd", text))


def _text(x: float, y: float, kind: str, text: str, end: bool = False) -> str:
    anchor = ' text-anchor="end"' if end else ""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}"{anchor}>{_escape(text)}</text>'


def _heading(x: float, y: float, kind: str, title: str, aside: str) -> str:
    """A title, and what stands beside it."""
    more = f'<tspan class="a" dx="7">{_escape(aside)}</tspan>' if aside else ""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{_escape(title)}{more}</text>'


def _frame(box: Box) -> str:
    """The border of an open group."""
    return (
        f'<rect class="g" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="12"/>'
    )


def _head(box: Box, group: Group) -> str:
    """The name of an open group, above the wires."""
    place = f'<g transform="translate({box.x:.1f} {box.y:.1f})">'
    if group.kind == "phase":
        return f"{place}{_text(0, -14, 'p', group.name[:1].upper() + group.name[1:])}</g>"
    title, aside = heading(group)
    width = text_width(title, 12, True) + (7 + text_width(aside, 12) if aside else 0)
    plate = f'<rect class="plate" x="9" y="8" width="{width + 10:.0f}" height="18" rx="5"/>'
    return f"{place}{plate}{_heading(14, 21, 'h', title, aside)}</g>"


def _cards(
    closed: list[Box], says: list[Card], values: list[str], colours: _Colours, roots: set[int]
) -> Iterator[str]:
    """The boxes of nodes and closed groups."""
    # Most boxes of a large graph look like others.
    known: dict[tuple[object, ...], str] = {}
    for box in closed:
        card, value = says[box.item], values[box.item]
        color, tint = colours.of(box.item, card.family)
        key = (card, value, color, tint, box.width)
        if key not in known:
            known[key] = _card(card, value, color, tint, box.width, box.height)
        kind = ' class="root"' if box.item in roots else ""
        yield f'<g{kind} transform="translate({box.x:.1f} {box.y:.1f})">{known[key]}</g>'


def _card(card: Card, value: str, color: str, tint: float, width: float, height: float) -> str:
    """A box, with its upper left corner at the origin."""
    size = f'width="{width:g}" height="{height:g}" rx="{22 if card.family == "leaf" else 9}"'
    out = []
    if card.stacked:
        out += [f'<rect class="c" x="{step}" y="{step}" {size}/>' for step in (8, 4)]
    out.append(f'<rect class="c" {size}/>')
    if tint:
        out.append(f'<rect {size} fill="{color}" fill-opacity="{tint}"/>')
    out.append(f'<rect x="8" y="9" width="4" height="28" rx="2" fill="{color}"/>')
    out.append(_heading(20, 20, "t", card.title, card.aside))
    out.append(_text(20, 36, "l", card.line))
    if value:
        out.append(_text(width - 11, 36, "l", value, end=True))
    if card.rows:
        out.append(f'<path class="e" d="M1 46H{width - 1:g}"/>')
    for row, (name, shape) in enumerate(card.rows):
        y = 60 + 17 * row
        out.append(f'<circle cx="23" cy="{y - 3.5}" r="2.5" fill="var(--leaf)"/>')
        out.append(_text(31, y, "r", name))
        out.append(_text(width - 11, y, "r s", shape, end=True))
    return "".join(out)


def _legend(graph: Graph, colours: _Colours, shown: list[Card]) -> tuple[str, float]:
    """What colours mean, and how wide that is."""
    out, x = [], 0.0
    if colours.color in MEASURES:
        low, high = (value_text(colours.color, v) for v in (colours.low, colours.high))
        text = f"{MEASURES[colours.color]}: {low}"
        out.append(_text(x, 4, "l", text))
        x += text_width(text, 11.5) + 8
        stops = "".join(
            f'<stop offset="{i / (len(RAMP) - 1)}" stop-color="{c}"/>' for i, c in enumerate(RAMP)
        )
        out.append(f'<linearGradient id="graph-ramp">{stops}</linearGradient>')
        out.append(
            f'<rect x="{x:.1f}" y="-4" width="120" height="8" rx="4" fill="url(#graph-ramp)"/>'
        )
        out.append(_text(x + 128, 4, "l", high))
        x += 128 + text_width(high, 11.5) + 18
    else:
        kinds = {card.family for card in shown}
        if any(card.rows for card in shown):
            kinds.add("leaf")
        if colours.color == "mark":
            kinds = {node.mark for node in graph.nodes if node.mark}
        for kind in (k for k in [*FAMILIES, *MARKS] if k in kinds):
            out.append(
                f'<rect x="{x:.1f}" y="-5" width="10" height="10" rx="3" fill="var(--{kind})"/>'
            )
            out.append(_text(x + 16, 4, "l", kind))
            x += 34 + text_width(kind, 11.5)
    saved = f"{size_text(graph.saved_bytes)} saved for backward"
    out.append(_text(x + 8, 4, "l", saved))
    return "".join(out), x + 16 + text_width(saved, 11.5)
