"""A graph as plain data: nodes, edges and what they keep, without a tensor in it."""

from __future__ import annotations

import gc
import html as _html
import json
import linecache
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Call", "Graph", "Node", "Root", "Saved", "size_text"]


_KINDS = ("op", "custom", "leaf", "parameter")
_MARKS = (None, "added", "removed", "changed")


class Saved(NamedTuple):
    """A tensor that a node keeps for its backward.

    ``shape`` and what follows are ``None`` where hooks have packed the tensor.
    """

    name: str
    shape: tuple[int, ...] | None
    dtype: str | None
    bytes: int | None
    #: Which of the graph's storages it lies in, and the bytes of that.
    storage: int | None
    storage_bytes: int | None
    #: Whether it is in memory anyway: it lies in the storage of a leaf.
    leaf: bool = False


class Root(NamedTuple):
    """An output of a node from which the graph was explored."""

    node: int
    output: int
    name: str | None


@dataclass(slots=True)
class Call:
    """A call of a module, during which nodes were recorded."""

    path: str
    type: str
    #: The call within which it happened.
    parent: int | None
    #: The numbers of what was recorded during it lie between these.
    first: int
    last: int


@dataclass(slots=True)
class Node:
    """A step of the program, as a backward pass sees it."""

    id: int
    #: ``MulBackward0``, ``AccumulateGrad``.
    name: str
    #: ``op``, ``custom`` (a function of the user's), ``leaf`` or ``parameter``.
    kind: str
    #: Position in the order of recording.
    number: int
    #: For each input, the node and output that it was; ``None`` where none needs a gradient.
    inputs: list[tuple[int, int] | None]
    #: Shape and type of each output.
    outputs: list[tuple[tuple[int, ...], str]]
    saved: list[Saved] = field(default_factory=list)
    #: Arguments of the op that are not tensors; what JSON cannot hold as its ``repr``.
    arguments: dict[str, Any] = field(default_factory=dict)
    #: ``file:line`` of the call that recorded it.
    site: str | None = None
    #: The name of a leaf, or of the output of an op.
    label: str | None = None
    #: The innermost call of a module in which it was recorded.
    call: int | None = None
    #: Which of the graph's phases it belongs to.
    phase: int = 0
    #: The node whose backward recorded it.
    origin: int | None = None
    #: Whether a backward has freed what it saved.
    freed: bool = False
    #: Time of its backward.
    seconds: float | None = None
    #: Euclidean norm of the gradients that arrived at its outputs.
    gradient: float | None = None
    #: In a difference: ``added``, ``removed`` or ``changed``.
    mark: str | None = None

    @property
    def op(self) -> str:
        """The name without ``Backward0``: ``Mul``."""
        if self.is_leaf:
            return "Parameter" if self.kind == "parameter" else "Leaf"
        return self.name.rstrip("0123456789").removesuffix("Backward") or self.name

    @property
    def is_leaf(self) -> bool:
        """Whether it adds to the ``.grad`` of a leaf."""
        return self.kind in ("leaf", "parameter")

    @property
    def bytes(self) -> int:
        """Bytes of the elements of what it saved, leaves left out."""
        return sum(s.bytes or 0 for s in self.saved if not s.leaf)


@dataclass(slots=True)
class Graph:
    """A snapshot of a graph: what :func:`explore` returns.

    It holds no tensor and keeps nothing of the graph alive. Nodes are sorted by the order of
    recording, so the inputs of a node come before it, and ``graph.nodes[i].id == i``.

    In a notebook it shows itself as an interactive page.
    """

    nodes: list[Node]
    roots: list[Root]
    calls: list[Call] = field(default_factory=list)
    #: The names of what lies side by side: ``("forward", "backward")``.
    phases: list[str] = field(default_factory=lambda: ["forward"])
    title: str = "Graph"

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def edges(self) -> list[tuple[int, int, int, int]]:
        """``(node, output, consumer, input)`` for each edge, in the order of the data."""
        return [
            (edge[0], edge[1], node.id, i)
            for node in self.nodes
            for i, edge in enumerate(node.inputs)
            if edge is not None
        ]

    @property
    def leaves(self) -> list[Node]:
        """The nodes that add to the ``.grad`` of a leaf."""
        return [node for node in self.nodes if node.is_leaf]

    @property
    def saved_bytes(self) -> int:
        """Bytes that are in memory only because the graph keeps them, each storage once."""
        storages = {
            s.storage: s.storage_bytes or 0
            for node in self.nodes
            for s in node.saved
            if s.storage is not None and not s.leaf
        }
        return sum(storages.values())

    def find(self, text: str) -> list[Node]:
        """The nodes whose name, label, module, shape or call site contains ``text``.

        Upper and lower case are the same; several words must all be found.

        >>> import rustgrad as rg
        >>> from rustgrad.autograd.explorer import explore
        >>> x = rg.ones(2, 3, requires_grad=True)
        >>> graph = explore((x.exp() * 2).sum(), names={"x": x})
        >>> [node.op for node in graph.find("[2, 3]")]
        ['Leaf', 'Exp', 'Mul']
        >>> [node.op for node in graph.find("mul [2, 3]")]
        ['Mul']
        """
        words = _joined(text).split()
        return [n for n in self.nodes if all(word in self._haystack(n) for word in words)]

    def _haystack(self, node: Node) -> str:
        """What is searched: all that a reader may know of a node."""
        shapes = " ".join(shape_text(shape) for shape, _ in node.outputs)
        module = "" if node.call is None else self.calls[node.call].path
        # All leaves are called AccumulateGrad, in which a search for "mul" should not find them.
        name = node.op if node.is_leaf else node.name
        parts = (name, node.label, module, shapes, node.site)
        return _joined(" ".join(part for part in parts if part))

    def to_dict(self) -> dict[str, Any]:
        """The graph as dictionaries, lists, strings and numbers."""
        nodes = [
            {
                **{name: getattr(node, name) for name in Node.__slots__},
                "saved": [s._asdict() for s in node.saved],
                "gradient": number(node.gradient),
            }
            for node in self.nodes
        ]
        return {
            "title": self.title,
            "phases": self.phases,
            "roots": [root._asdict() for root in self.roots],
            "calls": [asdict(call) for call in self.calls],
            "nodes": nodes,
        }

    def json(self, path: str | os.PathLike | None = None) -> str:
        """The graph as JSON, also written to ``path`` if there is one.

        Raises:
            OSError: the file cannot be written.
        """
        return _written(json.dumps(self.to_dict(), allow_nan=False), path)

    @classmethod
    def from_json(cls, text: str) -> Graph:
        """The graph that :meth:`json` wrote.

        Raises:
            ValueError: the text is no such JSON.

        >>> import rustgrad as rg
        >>> from rustgrad.autograd.explorer import Graph, explore
        >>> graph = explore(rg.ones(2, requires_grad=True).sum())
        >>> Graph.from_json(graph.json()) == graph
        True
        """
        try:
            data = json.loads(text)
            nodes = []
            for entry in data["nodes"]:
                entry["inputs"] = [None if e is None else tuple(e) for e in entry["inputs"]]
                entry["outputs"] = [(tuple(shape), dtype) for shape, dtype in entry["outputs"]]
                entry["saved"] = [
                    Saved(**{**s, "shape": None if s["shape"] is None else tuple(s["shape"])})
                    for s in entry["saved"]
                ]
                if isinstance(entry["gradient"], str):
                    entry["gradient"] = float(entry["gradient"])
                if entry["kind"] not in _KINDS or entry["mark"] not in _MARKS:
                    raise ValueError(
                        "[Graph.from_json] not the JSON of a graph: a node has the kind "
                        f"{entry['kind']!r} and the mark {entry['mark']!r}"
                    )
                nodes.append(Node(**entry))
            calls = [Call(**call) for call in data["calls"]]
            roots = [Root(**root) for root in data["roots"]]
            return cls(nodes, roots, calls, list(data["phases"]), data["title"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"[Graph.from_json] not the JSON of a graph: {error}") from error

    def text(self, width: int = 100) -> str:
        """A tree for the terminal: see :mod:`~rustgrad.autograd.explorer.text`.

        Args:
            width: lines are cut to so many characters; at least 40.
        """
        from .text import tree

        return tree(self, width)

    def dot(self, path: str | os.PathLike | None = None) -> str:
        """The graph in Graphviz' language, also written to ``path`` if there is one.

        Raises:
            OSError: the file cannot be written.
        """
        from .text import dot

        return _written(dot(self), path)

    def svg(
        self, path: str | os.PathLike | None = None, *, expand: bool | int = 40, color: str = "kind"
    ) -> str:
        """A picture, also written to ``path`` if there is one.

        Args:
            path: a file.
            expand: modules and repeated blocks are opened as long as not more than so many boxes
                are seen; ``True`` opens all, ``False`` none.
            color: ``"kind"`` of the op, ``"bytes"`` saved, ``"seconds"``, norm of the
                ``"gradient"``, or ``"mark"`` of a difference.

        Raises:
            ValueError: another ``color``.
            OSError: the file cannot be written.
        """
        from .svg import picture

        with uncollected():
            text = picture(self, expand, color)
        return _written(text, path)

    def html(self, path: str | os.PathLike | None = None, *, expand: bool | int = 40) -> str:
        """A page to explore the graph in a browser, also written to ``path`` if there is one.

        One file that needs no network: modules and repeated blocks open and close, nodes show
        their details, and colours show kinds, bytes, times or gradients.

        Args:
            path: a file.
            expand: as in :meth:`svg`, for what is open at first.

        Raises:
            OSError: the file cannot be written.
        """
        from .page import page

        with uncollected():
            text = page(self, expand)
        return _written(text, path)

    def _repr_html_(self) -> str:
        document = _html.escape(self.html(), quote=True)
        style = "width:100%;height:640px;border:1px solid #8884;border-radius:8px"
        # A frame keeps the page's styles, and a sandbox its program, away from the notebook.
        return (
            f'<iframe srcdoc="{document}" style="{style}" sandbox="allow-scripts" '
            f'title="{_html.escape(self.title)}"></iframe>'
        )

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return (
            f"<Graph: {len(self.nodes)} nodes, {len(self.edges)} edges, "
            f"{size_text(self.saved_bytes)} saved>"
        )


def plain(value: Any) -> Any:
    """What JSON can hold; of other things their ``repr``."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return repr(value).removeprefix("rustgrad.")


def number(value: float | None) -> float | str | None:
    """JSON has no numbers for what is not finite."""
    return value if value is None or math.isfinite(value) else str(value)


def _joined(text: str) -> str:
    """In lower case, a shape as one word: ``[2,3]``."""
    return re.sub(r",\s+(?=\d)", ",", text.lower())


def _written(text: str, path: str | os.PathLike | None) -> str:
    if path is not None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return text


@contextmanager
def uncollected() -> Iterator[None]:
    """Pauses the garbage collector, which took a third of the time of a large graph: millions of
    small objects are made, and none of them is garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def shape_text(shape: tuple[int, ...] | None) -> str:
    """``[2, 3]``."""
    return "?" if shape is None else f"[{', '.join(map(str, shape))}]"


def size_text(count: float) -> str:
    """``1.5 KB``, in powers of 1000, with three digits."""
    count = float(digits(count, 3))
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{digits(count, 3)} {unit}"
        count /= 1000
    return f"{digits(count, 3)} TB"


def digits(value: float, many: int) -> str:
    """A number rounded to so many digits, without an exponent."""
    return f"{float(f'{value:.{many}g}'):.15g}"


def short_site(site: str | None) -> str:
    """The call site without its folders."""
    return "" if site is None else os.path.basename(site)


def near(site: str | None) -> str | None:
    """The call site from the working directory, if it lies in there."""
    return site and site.removeprefix(os.getcwd() + os.sep)


def source_line(site: str | None) -> str | None:
    """The text of the line, when the file can be read."""
    file, _, line = (site or "").rpartition(":")
    if not file or not line.isdigit():
        return None
    try:
        return linecache.getline(file, int(line)).strip() or None
    except ValueError:  # no name of a file
        return None
