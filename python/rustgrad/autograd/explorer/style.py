"""What boxes say, their sizes and their colours."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import NamedTuple
from unicodedata import east_asian_width

from .groups import Group, Hierarchy
from .model import Graph, Node, digits, size_text

__all__ = [
    "Card",
    "FAMILIES",
    "MARKS",
    "MEASURES",
    "asset",
    "cards",
    "family",
    "heading",
    "limits",
    "measured",
    "sizes_of",
    "text_width",
    "value_color",
    "value_text",
    "variables",
]

_ASSETS = Path(__file__).with_name("assets")

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
        "soft": "#566070",
        "wire": "#76829a",
        "inside": "#5a6b8a",
    },
    "dark": {
        "ground": "#0f1219",
        "card": "#1a1f2a",
        "line": "#323a49",
        "ink": "#e9ecf2",
        "soft": "#a0a9ba",
        "wire": "#7a869d",
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


def asset(name: str) -> str:
    """The text of a file that belongs to the page."""
    return (_ASSETS / name).read_text(encoding="utf-8")


def variables(theme: str) -> str:
    """The colours of a theme, ``light`` or ``dark``, as CSS."""
    which = list(THEMES).index(theme)
    colors = THEMES[theme] | {name: pair[which] for name, pair in (FAMILIES | MARKS).items()}
    return "".join(f"--{name}:{value};" for name, value in colors.items())


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


#: What colours can show of nodes and groups: an attribute, and what a legend says of it.
MEASURES = {
    "bytes": "Bytes saved",
    "seconds": "Time of the backward",
    "gradient": "Norm of the gradient",
}


def measured(measure: str, of: Node | Group) -> float | None:
    """The value that a measure has; nothing saved is none."""
    value = getattr(of, measure)
    return None if measure == "bytes" and not value else value


def limits(graph: Graph, measure: str) -> tuple[float, float]:
    """The least and the largest value of nodes that is finite and not zero."""
    values = [measured(measure, node) for node in graph.nodes]
    known = [v for v in values if v is not None and 0 < v < math.inf]
    return min(known, default=0.0), max(known, default=0.0)


def value_text(measure: str, value: float) -> str:
    """A measured value with its unit."""
    if measure == "bytes":
        return size_text(value)
    if measure == "seconds":
        value = float(digits(value, 3))
        for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
            if value >= scale:
                return f"{digits(value / scale, 3)} {unit}"
        return f"{value / 1e-9:.0f} ns"
    if math.isfinite(value) and (value == 0 or 1e-3 <= abs(value) < 1e5):
        return digits(value, 2)
    return re.sub(r"e([+-])0", r"e\1", f"{value:.1e}")


def value_color(value: float | None, low: float, high: float) -> tuple[str, float]:
    """The colour of a measured value, and how much of it the ground of a box has."""
    if value is None:
        return "var(--line)", 0.0
    if not math.isfinite(value):
        return RAMP[-1], 0.26
    if value <= 0:
        return RAMP[0], 0.1
    return heat(math.log(value / low) / math.log(high / low) if high > low else 1.0), 0.22


def heat(share: float) -> str:
    """The colour at a place between 0 and 1 of the ramp."""
    at = min(max(share, 0.0), 1.0) * (len(RAMP) - 1)
    i = min(int(at), len(RAMP) - 2)
    low, high = (tuple(int(c[k : k + 2], 16) for k in (1, 3, 5)) for c in RAMP[i : i + 2])
    mixed = (round(a + (b - a) * (at - i)) for a, b in zip(low, high, strict=True))
    return "#" + "".join(f"{v:02x}" for v in mixed)


class Card(NamedTuple):
    """What a box says."""

    title: str
    #: Beside the title: the name of a module.
    aside: str
    line: str
    #: Parameters: name and shape.
    rows: tuple[tuple[str, str], ...]
    family: str
    #: Boxes drawn behind it, for what is repeated.
    stacked: bool = False


def _times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) or "scalar"


def _short(name: str) -> str:
    """A name that fits a box; what is long loses its middle."""
    return name if len(name) <= 40 else f"{name[:18]}…{name[-21:]}"


def _shape_line(node: Node) -> str:
    """The shape of the outputs."""
    shape, dtype = node.outputs[0]
    text = _times(shape)
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
        rows = tuple(
            (_short(title(leaf).rpartition(".")[2]), _times(leaf.outputs[0][0]))
            for leaf in (nodes[i] for i in boxes.inline.get(node.id, ()))
        )
        head = _short(title(node)), _short(aside)
        found.append(Card(*head, _shape_line(node), rows, family(node)))
    for group in groups:
        found.append(_closed(group))
    return found


def heading(group: Group) -> tuple[str, str]:
    """What an open group is called, and of which type it is."""
    if group.kind in ("repeat", "more"):
        return _repeated(group), ""
    return _short(group.name), "" if group.type == group.name else _short(group.type)


def _many(count: int) -> str:
    return f"{count:,}".replace(",", "\u202f")


def _repeated(group: Group) -> str:
    more = "more " if group.kind == "more" else ""
    return f"{_many(group.times)} {more}× {_short(group.type or 'block')}"


def _closed(group: Group) -> Card:
    """What the box of a closed group says."""
    title, kind = heading(group)
    repeated = group.kind in ("repeat", "more")
    parts = (_short(group.name) if repeated else kind, f"{_many(group.count)} ops")
    line = " · ".join(part for part in parts if part)
    return Card(title, "", line, (), "inside", repeated)


class _Widths(dict[str, float]):
    """How wide characters are; most others are as wide as digits, but not those of East Asia."""

    def __missing__(self, character: str) -> float:
        self[character] = width = 1.0 if east_asian_width(character) in "FW" else 0.63
        return width


_widths = _Widths(
    dict.fromkeys("mwMWQOGCDNHU@%&—…×", 0.86) | dict.fromkeys("iljtfrI.,:;'|()[] ·", 0.38)
)


def text_width(text: str, size: float, bold: bool = False) -> float:
    """About how wide a text is, in sans-serif fonts as wide as DejaVu Sans."""
    return sum(map(_widths.__getitem__, text)) * size * (1.1 if bold else 1.0)


def sizes_of(says: list[Card], values: Sequence[str] = ()) -> list[tuple[float, float]]:
    """Widths and heights of boxes, with what is measured in them."""
    known: dict[tuple[Card, str], tuple[float, float]] = {}
    found = []
    for key in zip(says, values or repeat(""), strict=False):
        if key not in known:
            known[key] = _size(*key)
        found.append(known[key])
    return found


def _size(card: Card, value: str) -> tuple[float, float]:
    head = text_width(card.title, 13, True)
    if card.aside:
        head += 8 + text_width(card.aside, 12)
    rows = [text_width(a, 11) + 18 + text_width(b, 11) + 12 for a, b in card.rows]
    line = text_width(card.line, 11.5) + (14 + text_width(value, 11.5) if value else 0)
    width = max(head, line, *rows, 72)
    height = 46 + (len(rows) * 17 + 7 if rows else 0)
    return round(width) + 30.0, float(height)
