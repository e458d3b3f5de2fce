"""A picture of a graph, as SVG."""

from __future__ import annotations

from html import escape

from .groups import default_view, hierarchy
from .layout import PHASE_GAP, arrange, place
from .model import Graph, size_text
from .style import (
    FAMILIES,
    MARKS,
    MEASURES,
    RAMP,
    THEMES,
    Card,
    cards,
    heat,
    share,
    size_of,
    text_width,
    value_text,
)
from .view import Box, seen

__all__ = ["picture"]

MARGIN = 28.0


def _styles() -> str:
    def variables(theme: dict[str, str], which: int) -> str:
        colors = {**theme, **{k: v[which] for k, v in (FAMILIES | MARKS).items()}}
        return "".join(f"--{name}:{value};" for name, value in colors.items())

    rules = [
        f"svg{{{variables(THEMES['light'], 0)}}}",
        f"@media(prefers-color-scheme:dark){{svg{{{variables(THEMES['dark'], 1)}}}}}",
        "text{font-family:Inter,ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,"
        "'Helvetica Neue',Arial,sans-serif;fill:var(--ink);font-variant-numeric:tabular-nums}",
        ".t{font-size:13px;font-weight:600}.a{font-size:12px;font-weight:400;fill:var(--soft)}",
        ".l{font-size:11.5px;fill:var(--soft)}.r{font-size:11px}.r.s{fill:var(--soft)}",
        ".h{font-size:12px;font-weight:600}.p{font-size:15px;font-weight:650}",
        ".c{fill:var(--card);stroke:var(--line)}.o{stroke:var(--ink);stroke-width:1.6}",
        ".g{fill:var(--inside);fill-opacity:.06;stroke:var(--inside);stroke-opacity:.28}",
        ".w{fill:none;stroke:var(--wire);stroke-width:1.4}",
        ".far{stroke-opacity:.35}",
        ".x{fill:none;stroke:var(--wire);stroke-width:1;stroke-dasharray:2 4;stroke-opacity:.55}",
        "marker path{fill:var(--wire)}.e{stroke:var(--line)}",
    ]
    return "<style>" + "".join(rules) + "</style>"


class _Colours:
    """The colour of each box."""

    def __init__(self, graph: Graph, color: str) -> None:
        if color not in ("kind", "mark", *MEASURES):
            allowed = ", ".join(["kind", *MEASURES, "mark"])
            raise ValueError(f"[Graph.svg] color must be one of {allowed}, but got {color!r}")
        self.graph, self.color = graph, color
        values = [] if color in ("kind", "mark") else [MEASURES[color][1](n) for n in graph.nodes]
        known = [v for v in values if v is not None and 0 < v < float("inf")]
        self.low, self.high = min(known, default=0.0), max(known, default=0.0)

    def of(self, item: int, card: Card) -> tuple[str, float]:
        """The colour and how much of it the ground of the box has."""
        node = self.graph.nodes[item] if item < len(self.graph.nodes) else None
        if self.color == "kind" or node is None:
            return ("var(--inside)" if node is None else f"var(--{card.family})"), 0.05
        if self.color == "mark":
            return (f"var(--{node.mark})", 0.14) if node.mark else ("var(--line)", 0.0)
        value = MEASURES[self.color][1](node)
        if value is None:
            return "var(--line)", 0.0
        return heat(share(value, self.low, self.high)), 0.22

    def value(self, item: int) -> str:
        """What is measured, as text."""
        if item >= len(self.graph.nodes) or self.color not in MEASURES:
            return ""
        value = MEASURES[self.color][1](self.graph.nodes[item])
        return "" if value is None else value_text(self.color, value)


def picture(graph: Graph, expand: bool | int, color: str) -> str:
    """The SVG of a graph."""
    colours = _Colours(graph, color)
    boxes = hierarchy(graph)
    levels, across = arrange(graph, boxes)
    n = len(graph.nodes)
    says = cards(graph, boxes)
    sizes = [size_of(card, colours.value(item)) for item, card in enumerate(says)]
    placed = place(boxes, levels, default_view(boxes, n, expand), sizes, n)
    found, paths = seen(graph, boxes, levels, placed)
    phased = len(graph.phases) > 1
    top = MARGIN + (26 if phased else 0)
    legend, legend_width = _legend(graph, colours, found, says)
    width = max(placed[0].width, legend_width) + 2 * MARGIN
    height = placed[0].height + top + MARGIN + 34
    shift = (width - placed[0].width) / 2
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img">',
        f"<title>{escape(graph.title)}</title>",
        _styles(),
        '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6.5" '
        'markerHeight="6.5" orient="auto"><path d="M0 .8L7.4 4 0 7.2z"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="var(--ground)"/>',
        f'<g transform="translate({shift:.1f} {top:.1f})">',
    ]
    roots = {root.node for root in graph.roots}
    closed = [box for box in found if not box.open]
    out += [
        _frame(box, says[box.item], boxes.groups[box.item - n].kind) for box in found if box.open
    ]
    out += [f'<path class="x" d="{d}"/>' for d in _across(across, found, boxes.parent, n)]
    ends = {"to": 'class="w" marker-end="url(#to)"', "far": 'class="w far"', "": 'class="w"'}
    out += [f'<path {ends[kind]} d="{d}"/>' for d, kind in paths]
    out += [_card(box, says[box.item], colours, roots) for box in closed]
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


def _text(x: float, y: float, kind: str, text: str, end: bool = False) -> str:
    anchor = ' text-anchor="end"' if end else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}"{anchor}>{escape(text)}</text>'


def _heading(x: float, y: float, kind: str, title: str, aside: str) -> str:
    """A title, and what stands beside it."""
    more = f'<tspan class="a" dx="7">{escape(aside)}</tspan>' if aside else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(title)}{more}</text>'


def _frame(box: Box, card: Card, kind: str) -> str:
    if kind == "phase":
        return _text(box.x, box.y - 14, "p", card.title[:1].upper() + card.title[1:])
    size = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
    line = card.line.partition(" · ")[0] if " · " in card.line else ""
    if kind in ("repeat", "more"):
        line = ""
    head = _heading(box.x + 14, box.y + 21, "h", card.title, line)
    return f'<rect class="g" {size} rx="12"/>{head}'


def _card(box: Box, card: Card, colours: _Colours, roots: set[int]) -> str:
    x, y, w, h = box.x, box.y, box.width, box.height
    color, tint = colours.of(box.item, card)
    out = []
    radius = 22 if card.family == "leaf" else 9
    if card.stacked:
        for step in (8, 4):
            out.append(
                f'<rect class="c" x="{x + step:.1f}" y="{y + step:.1f}" width="{w:.1f}" '
                f'height="{h:.1f}" rx="{radius}"/>'
            )
    size = f'x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{radius}"'
    out.append(f'<rect class="c" {size}/>')
    if tint:
        out.append(f'<rect {size} fill="{color}" fill-opacity="{tint}"/>')
    if box.item in roots:
        out.append(f'<rect class="o" {size} fill="none"/>')
    out.append(
        f'<rect x="{x + 7:.1f}" y="{y + 9:.1f}" width="4" height="28" rx="2" fill="{color}"/>'
    )
    out.append(_heading(x + 19, y + 20, "t", card.title, card.aside))
    out.append(_text(x + 19, y + 36, "l", card.line))
    value = colours.value(box.item)
    if value:
        out.append(_text(x + w - 10, y + 36, "l", value, end=True))
    for i, (label, shape) in enumerate(card.rows):
        row = y + 60 + 17 * i
        if i == 0:
            out.append(
                f'<line class="e" x1="{x + 1:.1f}" x2="{x + w - 1:.1f}" y1="{y + 46:.1f}" '
                f'y2="{y + 46:.1f}"/>'
            )
        out.append(f'<circle cx="{x + 22:.1f}" cy="{row - 4:.1f}" r="2.5" fill="var(--leaf)"/>')
        out.append(_text(x + 30, row, "r", label))
        out.append(_text(x + w - 10, row, "r s", shape, end=True))
    return "".join(out)


def _legend(
    graph: Graph, colours: _Colours, found: list[Box], says: list[Card]
) -> tuple[str, float]:
    out, x = [], 0.0
    n = len(graph.nodes)
    if colours.color in MEASURES:
        name = MEASURES[colours.color][0]
        low, high = (value_text(colours.color, v) for v in (colours.low, colours.high))
        out.append(_text(x, 4, "l", f"{name}  {low}"))
        x += text_width(f"{name}  {low}", 11.5) + 10
        stops = "".join(
            f'<stop offset="{i / (len(RAMP) - 1)}" stop-color="{c}"/>' for i, c in enumerate(RAMP)
        )
        out.append(f'<linearGradient id="ramp">{stops}</linearGradient>')
        out.append(f'<rect x="{x:.1f}" y="-4" width="120" height="8" rx="4" fill="url(#ramp)"/>')
        out.append(_text(x + 130, 4, "l", high))
        x += 130 + text_width(high, 11.5)
    else:
        kinds = [says[b.item].family for b in found if b.item < n]
        if colours.color == "mark":
            kinds = [node.mark for node in graph.nodes if node.mark]
        for kind in (k for k in [*FAMILIES, *MARKS] if k in kinds):
            out.append(
                f'<rect x="{x:.1f}" y="-5" width="10" height="10" rx="3" fill="var(--{kind})"/>'
            )
            out.append(_text(x + 16, 4, "l", kind))
            x += 34 + text_width(kind, 11.5)
    saved = f"{size_text(graph.saved_bytes)} saved for backward"
    out.append(_text(x + 8, 4, "l", saved))
    return "".join(out), x + 16 + text_width(saved, 11.5)
