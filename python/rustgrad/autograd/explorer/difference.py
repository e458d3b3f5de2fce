"""The difference of two graphs.

NOTE [Matching]
Nodes are matched in rounds, each of which pairs nodes that are left over with the same key, in the
order of recording: first by all that leads to them, then by all that uses them (what comes after an
inserted node), then by call site and module, then by op and module alone. A key that one graph has
more often pairs as many as there are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

from .model import Call, Graph, Node, Root, shape_text, short_site, size_text
from .style import title

__all__ = ["Change", "Difference", "diff"]


@dataclass(slots=True)
class Change:
    """A node that both graphs have, with what differs: each field's value before and after."""

    before: Node
    after: Node
    fields: dict[str, tuple[Any, Any]]


@dataclass(slots=True)
class Difference:
    """What :func:`diff` returns."""

    before: Graph
    after: Graph
    added: list[Node]
    removed: list[Node]
    changed: list[Change]
    #: The nodes that are the same, as pairs.
    same: list[tuple[Node, Node]]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def graph(self) -> Graph:
        """Both graphs side by side, with marks that :meth:`Graph.html` and the like show."""
        marks = {n.id: "removed" for n in self.removed}, {n.id: "added" for n in self.added}
        for change in self.changed:
            marks[0][change.before.id] = marks[1][change.after.id] = "changed"
        nodes: list[Node] = []
        roots: list[Root] = []
        calls: list[Call] = []
        for phase, graph in enumerate((self.before, self.after)):
            first, call = len(nodes), len(calls)
            number = nodes[-1].number + 1 if nodes else 0
            for node in graph.nodes:
                nodes.append(
                    replace(
                        node,
                        id=first + node.id,
                        number=number + node.number,
                        inputs=[None if e is None else (first + e[0], e[1]) for e in node.inputs],
                        call=None if node.call is None else call + node.call,
                        origin=None if node.origin is None else first + node.origin,
                        phase=phase,
                        mark=marks[phase].get(node.id),
                    )
                )
            roots += [Root(first + r.node, r.output, r.name) for r in graph.roots]
            for made in graph.calls:
                parent = None if made.parent is None else call + made.parent
                calls.append(Call(made.path, made.type, parent, made.first, made.last))
        name = f"{self.before.title} and {self.after.title}"
        if self.before.title == self.after.title:
            name = self.after.title
        return Graph(nodes, roots, calls, ["before", "after"], name)

    def text(self) -> str:
        """A line for each node that differs."""
        lines = [
            f"{len(self.added)} added, {len(self.removed)} removed, {len(self.changed)} changed, "
            f"{len(self.same)} the same"
        ]
        moved = self.after.saved_bytes - self.before.saved_bytes
        if moved:
            more = "more" if moved > 0 else "less"
            lines[0] += f"; {size_text(abs(moved))} {more} saved"
        for sign, nodes in (("-", self.removed), ("+", self.added)):
            for node in nodes:
                shape = shape_text(node.outputs[0][0])
                lines.append(f"{sign} {title(node)} {shape} {short_site(node.site)}".rstrip())
        for change in self.changed:
            node = change.after
            lines.append(f"~ {title(node)} {short_site(node.site)}".rstrip())
            for name, (old, new) in change.fields.items():
                lines.append(f"    {name}: {old} -> {new}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return (
            f"<Difference: {len(self.added)} added, {len(self.removed)} removed, "
            f"{len(self.changed)} changed>"
        )

    def _repr_html_(self) -> str:
        return self.graph()._repr_html_()


def diff(before: Graph, after: Graph) -> Difference:
    """What was added, removed and changed from one graph to another.

    Nodes are matched by structure, call site and module: see NOTE [Matching]. A matched node counts
    as changed if its shape, type, arguments, what it saves, or which nodes its inputs come from
    differ; call sites, times and gradients do not count.

    >>> import rustgrad as rg
    >>> from rustgrad.autograd.explorer import diff, explore
    >>> def loss(x, squash):
    ...     h = x * 2
    ...     return (h.tanh() if squash else h).sum()
    >>> x = rg.ones(3, requires_grad=True)
    >>> print(diff(explore(loss(x, False)), explore(loss(x, True))).text().split(";")[0])
    1 added, 0 removed, 1 changed, 2 the same
    """
    left = {node.id: node for node in before.nodes}
    right = {node.id: node for node in after.nodes}
    pairs: dict[int, int] = {}
    known: dict[Hashable, int] = {}
    up = _fingerprints(before, known), _fingerprints(after, known)
    down = _fingerprints(before, known, True), _fingerprints(after, known, True)
    modules = _paths(before), _paths(after)
    rounds: list[Callable[[int, Node], Hashable]] = [
        lambda side, node: (up[side][node.id], down[side][node.id]),
        lambda side, node: (up[side][node.id], node.site, modules[side][node.id]),
        lambda side, node: (down[side][node.id], node.site, modules[side][node.id]),
        lambda side, node: up[side][node.id],
        lambda side, node: down[side][node.id],
        lambda side, node: (node.name, node.label, node.site, modules[side][node.id]),
        lambda side, node: (node.name, node.label, modules[side][node.id]),
    ]
    for key in rounds:
        waiting: dict[Hashable, list[int]] = {}
        for node in reversed(left.values()):
            waiting.setdefault(key(0, node), []).append(node.id)
        for node in list(right.values()):
            same = waiting.get(key(1, node))
            if same:
                other = same.pop()
                pairs[other] = node.id
                del left[other], right[node.id]
    changed, same_ = [], []
    for i, j in sorted(pairs.items(), key=lambda p: p[1]):
        a, b = before.nodes[i], after.nodes[j]
        fields = _differences(a, b, before, after, pairs)
        if fields:
            changed.append(Change(a, b, fields))
        else:
            same_.append((a, b))
    return Difference(before, after, list(right.values()), list(left.values()), changed, same_)


def _fingerprints(graph: Graph, known: dict[Hashable, int], reverse: bool = False) -> list[int]:
    """A number for each node: the same for nodes with the same structure before (after) them."""
    found = [0] * len(graph.nodes)
    if not reverse:
        for node in graph.nodes:
            inputs = tuple(None if e is None else (found[e[0]], e[1]) for e in node.inputs)
            before = ("up", node.name, node.label, inputs)
            found[node.id] = known.setdefault(before, len(known) + 1)
        return found
    users: list[list[tuple[int, int, int]]] = [[] for _ in graph.nodes]
    for node in reversed(graph.nodes):
        name = node.label if node.is_leaf else None
        after = ("down", node.name, name, tuple(sorted(users[node.id])))
        found[node.id] = known.setdefault(after, len(known) + 1)
        for i, edge in enumerate(node.inputs):
            if edge is not None:
                users[edge[0]].append((found[node.id], edge[1], i))
    return found


def _paths(graph: Graph) -> list[str | None]:
    return [None if node.call is None else graph.calls[node.call].path for node in graph.nodes]


def _differences(
    a: Node, b: Node, before: Graph, after: Graph, pairs: dict[int, int]
) -> dict[str, tuple[Any, Any]]:
    """The fields in which two nodes differ."""
    fields: dict[str, tuple[Any, Any]] = {}
    if a.outputs != b.outputs:
        fields["outputs"] = (_outputs(a), _outputs(b))
    if repr(a.arguments) != repr(b.arguments):
        fields["arguments"] = (a.arguments, b.arguments)
    saved = [[(s.name, s.shape, s.dtype) for s in node.saved] for node in (a, b)]
    if saved[0] != saved[1]:
        fields["saved"] = (size_text(a.bytes), size_text(b.bytes))
    moved = [None if e is None else (pairs.get(e[0]), e[1]) for e in a.inputs]
    if moved != b.inputs:
        fields["inputs"] = (_inputs(a, before), _inputs(b, after))
    return fields


def _outputs(node: Node) -> str:
    return ", ".join(f"{shape_text(shape)} {dtype}" for shape, dtype in node.outputs)


def _inputs(node: Node, graph: Graph) -> str:
    return ", ".join("-" if e is None else title(graph.nodes[e[0]]) for e in node.inputs)
