"""What boxes say, their sizes and their colours."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

from .groups import Group, Hierarchy
from .model import Graph, Node, size_text

__all__ = ["Card", "FAMILIES", "MEASURES", "cards", "family", "heat", "size_of"]

#: Colours of kinds of ops, on light and on dark ground.
FAMILIES = {
    "product": ("#3b5bdb", "#7791ff"),
    "activation": ("#099268", "#3ecf9f"),
    "arithmetic": ("#64748b", "#94a3b8"),
    "reduction": ("#d9780a", "#ffb454"),
    "normalisation": ("#c2255c", "#ff7aa8"),
    "loss": ("#d6332a", "#ff7b72"),
    "shape": ("#0c8599", "#4cc9dd"),
    "indexing": ("#8432c4", "#c490f5"),
    "leaf": ("#2b8a3e", "#69db7c"),
    "custom": ("#a3690b", "#e5b23c"),
}

#: The ground, boxes and text.
THEMES = {
    "light": {
        "ground": "#f8f9fb",
        "card": "#ffffff",
        "line": "#d3d8e0",
        "ink": "#1a1e27",
        "soft": "#5b6475",
        "wire": "#98a2b3",
        "inside": "#5a6b8a",
    },
    "dark": {
        "ground": "#0f1219",
        "card": "#1a1f2a",
        "line": "#323a49",
        "ink": "#e9ecf2",
        "soft": "#a0a9ba",
        "wire": "#667085",
        "inside": "#9db2de",
    },
}

#: From small to large.
RAMP = ("#3b82f6", "#8b5cf6", "#d946ef", "#f43f5e", "#f97316")

#: Colours of differences.
MARKS = {
    "added": ("#2b8a3e", "#69db7c"),
    "removed": ("#d6332a", "#ff7b72"),
    "changed": ("#d9780a", "#ffb454"),
}

#: Beginnings of the names of ops; the first family that knows one counts.
_BEGINNINGS = {
    "loss": "NllLoss MseLoss L1Loss SmoothL1Loss HuberLoss BinaryCrossEntropy CrossEntropy KlDiv",
    "normalisation": "LayerNorm Softmax LogSoftmax Softmin Logsumexp Normalize BatchNorm GroupNorm",
    "product": "Linear Mm Bmm Matmul Mv Dot Addmm Addmv Addr Baddbmm Addbmm Einsum Outer Inner "
    "Bilinear Conv Tensordot",
    "activation": "Relu Gelu Silu Elu Selu Celu Glu Mish Tanh Sigmoid Softplus Softsign Hard Leaky "
    "Logsigmoid Threshold Dropout FeatureDropout AlphaDropout",
    "reduction": "Sum Mean Prod Amax Amin Max Min Var Std Norm LinalgVectorNorm VectorNorm Cum "
    "Logcumsumexp Median Trace Nansum Nanmean",
    "shape": "View Reshape Transpose Permute Expand Squeeze Unsqueeze Flatten Unflatten Movedim "
    "Clone Contiguous Ravel Repeat Tile Flip Roll AsStrided Strided ToDtype Copy Adjoint",
    "indexing": "Index Gather Scatter Embedding Select Slice Narrow Take Where Masked Split Unbind "
    "Chunk Cat Stack Sort Topk Diag Tril Triu Unfold ViewEmbed Put",
}
_FAMILIES = [
    (name, re.compile(f"(?:{'|'.join(words.split())})(?![a-z])"))
    for name, words in _BEGINNINGS.items()
]
_PLAIN = re.compile(r"^Native|Exact$|Forward$|Elements$")


def title(node: Node) -> str:
    """The op as a reader would call it."""
    if node.is_leaf:
        return node.label or ("parameter" if node.kind == "parameter" else "leaf")
    return _titles[node.op]


class _Titles(dict[str, str]):
    """What ops are called; each is found once."""

    def __missing__(self, op: str) -> str:
        self[op] = name = _PLAIN.sub("", op) or op
        return name


class _Kinds(dict[str, str]):
    """The families of titles."""

    def __missing__(self, name: str) -> str:
        kinds = (kind for kind, pattern in _FAMILIES if pattern.match(name))
        self[name] = kind = next(kinds, "arithmetic")
        return kind


_titles, _kinds = _Titles(), _Kinds()


def family(node: Node) -> str:
    """One of :data:`FAMILIES`."""
    if node.is_leaf:
        return "leaf"
    if node.kind == "custom":
        return "custom"
    return _kinds[title(node)]


#: What colours can show: a title and a node's value.
MEASURES: dict[str, tuple[str, Callable[[Node], float | None]]] = {
    "bytes": ("Saved", lambda node: node.bytes or None),
    "seconds": ("Time", lambda node: node.seconds),
    "gradient": ("Gradient", lambda node: node.gradient),
}


def value_text(color: str, value: float) -> str:
    """A measured value with its unit."""
    if color == "bytes":
        return size_text(value)
    if color == "seconds":
        for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
            if value >= scale:
                return f"{value / scale:.3g} {unit}"
        return f"{value / 1e-9:.0f} ns"
    return f"{value:.2g}"


def heat(share: float) -> str:
    """The colour at a place between 0 and 1 of the ramp."""
    at = min(max(share, 0.0), 1.0) * (len(RAMP) - 1)
    i = min(int(at), len(RAMP) - 2)
    low, high = (tuple(int(c[k : k + 2], 16) for k in (1, 3, 5)) for c in RAMP[i : i + 2])
    mixed = (round(a + (b - a) * (at - i)) for a, b in zip(low, high, strict=True))
    return "#" + "".join(f"{v:02x}" for v in mixed)


def share(value: float, low: float, high: float) -> float:
    """Where a value lies between two others, on a logarithmic scale."""
    if not (value > 0 and math.isfinite(value)):
        return 0.0 if value == 0 else 1.0
    if high <= low:
        return 1.0
    return math.log(value / low) / math.log(high / low)


class Card(NamedTuple):
    """What a box says."""

    title: str
    #: Beside the title: the name of a module.
    aside: str
    line: str
    #: Parameters: name and shape.
    rows: list[tuple[str, str]]
    family: str
    #: Boxes drawn behind it, for what is repeated.
    stacked: bool = False


def shape_line(node: Node) -> str:
    """The shape of the outputs."""
    shape, dtype = node.outputs[0]
    text = " × ".join(map(str, shape)) if shape else "scalar"
    if dtype != "float32":
        text += f" {dtype}"
    return text + (f" (+{len(node.outputs) - 1})" if len(node.outputs) > 1 else "")


def cards(graph: Graph, boxes: Hierarchy) -> list[Card]:
    """What the boxes of all items say: nodes, then closed groups."""
    found = []
    roots = {root.node: root.name for root in graph.roots}
    nodes, groups, parent = graph.nodes, boxes.groups, boxes.parent
    scope: list[str] = []
    for group in groups:
        outer = scope[group.parent] if group.parent >= 0 else ""
        scope.append(group.path if group.kind == "module" else outer)
    for node in nodes:
        aside = ""
        if node.is_leaf:
            aside = "" if node.label is None else node.op.lower()
        elif node.call is not None and parent[node.id] >= 0:
            path, outer = graph.calls[node.call].path, scope[parent[node.id]]
            if path != outer:
                aside = path.removeprefix(outer + ".") if outer else path
        name = None if node.is_leaf else node.label or roots.get(node.id)
        aside = " · ".join(part for part in (aside, name) if part)
        rows = []
        for leaf in boxes.inline.get(node.id, ()):
            name = (nodes[leaf].label or "parameter").rpartition(".")[2]
            rows.append((name, " × ".join(map(str, nodes[leaf].outputs[0][0])) or "scalar"))
        found.append(Card(title(node), aside, shape_line(node), rows, family(node)))
    for group in groups:
        found.append(_closed(group, boxes, len(nodes)))
    return found


def _many(count: int) -> str:
    return f"{count:,}".replace(",", "\u202f")


def _closed(group: Group, boxes: Hierarchy, n: int) -> Card:
    ops = f"{_many(group.count)} ops"
    if group.kind in ("repeat", "more"):
        more = "more " if group.kind == "more" else ""
        title = f"{_many(group.times)} {more}× {group.type or 'block'}"
        return Card(title, "", f"{group.name} · {ops}" if group.name else ops, [], "group", True)
    kind = f"{group.type} · " if group.type and group.type != group.name else ""
    return Card(group.name, "", kind + ops, [], "group")


_WIDE, _THIN = set("mwMWQOGCD@%—…×"), set("iljtfrI.,:;'|()[] ")


def text_width(text: str, size: float, bold: bool = False) -> float:
    """About how wide a text is in a sans-serif font; rather too wide than too narrow."""
    units = sum(0.86 if c in _WIDE else 0.36 if c in _THIN else 0.6 for c in text)
    return units * size * (1.06 if bold else 1.0)


def size_of(card: Card, value: str = "") -> tuple[float, float]:
    """Width and height of a box, with what is measured in it."""
    head = text_width(card.title, 13, True)
    if card.aside:
        head += 8 + text_width(card.aside, 12)
    rows = [text_width(a, 11) + 18 + text_width(b, 11) + 12 for a, b in card.rows]
    line = text_width(card.line, 11.5) + (14 + text_width(value, 11.5) if value else 0)
    width = max(head + (18 if card.family == "group" else 0), line, *rows, 72)
    height = 46 + (len(rows) * 17 + 7 if rows else 0)
    return round(width) + 30.0, float(height)
