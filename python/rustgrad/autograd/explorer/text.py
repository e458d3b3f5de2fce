"""A graph as text: a tree for the terminal, and Graphviz' language.

NOTE [The tree]
It reads from the outputs back to the leaves. A node with a single input stands above it, without
indentation; a node with several has a branch for each but one, which goes on below in the same
column: the oldest that is no leaf. So a long chain with residual branches stays narrow, and so does
a loop. A node stands below all that use it, once; where a branch reaches one that has more users,
the branch ends with its number.
"""

from __future__ import annotations

from collections import Counter

from .model import Graph, Node, shape_text, short_site, size_text
from .style import title

__all__ = ["dot", "tree"]


def _line(graph: Graph, node: Node, inline: list[Node]) -> str:
    """What a line says of a node."""
    head = [title(node)]
    module = "" if node.call is None else graph.calls[node.call].path
    if module:
        head.append(module)
    if node.label and not node.is_leaf:
        head.insert(0, f"{node.label} =")
    head += [shape_text(shape) for shape, _ in node.outputs[:1]]
    if len(node.outputs) > 1:
        head.append(f"(+{len(node.outputs) - 1})")
    if node.outputs[0][1] != "float32":
        head.append(node.outputs[0][1])
    if inline:
        names = ((leaf.label or "leaf").removeprefix(f"{module}.") for leaf in inline)
        shapes = (shape_text(leaf.outputs[0][0]) for leaf in inline)
        pairs = (f"{name} {shape}" for name, shape in zip(names, shapes, strict=True))
        head.append(f"({', '.join(pairs)})")
    if node.bytes:
        head.append(f"saves {size_text(node.bytes)}")
    if node.freed:
        head.append("freed")
    if node.mark:
        head.append(f"<{node.mark}>")
    return " ".join(head)


def _printable(text: str) -> str:
    """Names may hold what ends a line or moves a terminal's cursor."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _cut(text: str, width: int) -> str:
    text = _printable(text)
    return text if len(text) <= width else text[: width - 1] + "…"


def _row(left: str, right: str, width: int) -> str:
    """Something at the left, and a call site at the right edge."""
    room = width - len(right) - 2
    if not right or room < 24:
        return _cut(left, width)
    left, right = _cut(left, room), _printable(right)
    return f"{left}{' ' * (width - len(left) - len(right))}{right}"


def tree(graph: Graph, width: int) -> str:
    """See NOTE [The tree].

    Raises:
        ValueError: ``width`` is less than 40.
    """
    if width < 40:
        raise ValueError(f"[Graph.text] width must be at least 40, but got {width}")
    nodes = graph.nodes
    users = Counter(i for node in nodes for i in {e[0] for e in node.inputs if e is not None})
    roots = {root.node for root in graph.roots}
    for number in roots:
        users[number] += 1
    # A leaf with one user stands on its line.
    inline = {n.id for n in nodes if n.is_leaf and users[n.id] == 1 and n.id not in roots}
    several = {n.id for n in nodes if users[n.id] > 1}
    left = Counter(users)
    phases = len(graph.phases) > 1
    lines = [
        _cut(
            f"{graph.title}: {len(nodes)} nodes, {len(graph.edges)} edges, "
            f"{size_text(graph.saved_bytes)} saved for backward",
            width,
        )
    ]
    # What is to come: a node, and what stands before its first line and before what follows.
    todo: list[tuple[int, str, str]] = []
    shown = -1
    # Later phases use earlier ones.
    for number in sorted(roots, key=lambda i: (nodes[i].phase, i)):
        todo.append((number, "", ""))
    while todo:
        number, first, rest = todo.pop()
        node = nodes[number]
        left[number] -= 1
        if left[number]:
            lines.append(_cut(f"{first}↓ #{number} {title(node)}", width))
            continue
        if phases and node.phase != shown and not rest:
            shown = node.phase
            lines += ["", graph.phases[shown]]
        inputs = list(dict.fromkeys(e[0] for e in node.inputs if e is not None))
        leaves = [nodes[i] for i in inputs if i in inline]
        tag = f"#{number} " if number in several else ""
        text = f"{first}{tag}{_line(graph, node, leaves)}"
        lines.append(_row(text, short_site(node.site), width))
        # The last goes on in this column, after the others.
        branches = [i for i in inputs if i not in inline]
        branches.sort(key=lambda i: (nodes[i].is_leaf, i), reverse=True)
        if branches:
            todo.append((branches[-1], rest, rest))
        for branch in reversed(branches[:-1]):
            # What is cut off need not be written.
            todo.append((branch, f"{rest}├─ ", f"{rest}│  " if len(rest) < width else rest))
    return "\n".join(lines)


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{_printable(text)}"'


def dot(graph: Graph) -> str:
    """A ``digraph`` with a cluster for each call of a module."""
    lines = [
        f"digraph {_quoted(graph.title)} {{",
        "  node [shape=box, style=rounded, fontname=Helvetica];",
    ]
    members: dict[int | None, list[Node]] = {}
    for node in graph.nodes:
        members.setdefault(node.call if node.phase == 0 else None, []).append(node)
    inner: dict[int | None, list[int]] = {}
    wanted = set()
    for call in members:
        while call is not None and call not in wanted:
            wanted.add(call)
            inner.setdefault(graph.calls[call].parent, []).append(call)
            call = graph.calls[call].parent

    # Calls nest as deep as modules do, and a call may hold thousands of nodes: no recursion.
    todo: list[int | str | None] = [None]
    depth = 1
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            depth -= 1
            lines.append(f"{'  ' * depth}{item}")
            continue
        call = item
        if call is not None:
            made = graph.calls[call]
            lines.append(f"{'  ' * depth}subgraph cluster_{call} {{")
            depth += 1
            lines.append(f"{'  ' * depth}label={_quoted(made.path or made.type)};")
            todo.append("}")
        for node in members.get(call, ()):
            shape = ", shape=ellipse" if node.is_leaf else ""
            label = _quoted(f"{title(node)}\n{shape_text(node.outputs[0][0])}")
            tip = f", tooltip={_quoted(node.site)}" if node.site else ""
            lines.append(f"{'  ' * depth}n{node.id} [label={label}{shape}{tip}];")
        todo.extend(reversed(inner.get(call, [])))
    for source, _, target, _ in graph.edges:
        lines.append(f"  n{source} -> n{target};")
    lines.append("}")
    return "\n".join(lines) + "\n"
