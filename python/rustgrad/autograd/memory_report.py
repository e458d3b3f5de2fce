"""What graphs keep in memory: by op, module and line; which are alive, and who keeps them."""

from __future__ import annotations

import gc
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from rustgrad import _C
from rustgrad.utils._text import size_text, text_table
from rustgrad.utils.module_tracker import ModuleTracker, NodeClock

from ._holders import holders_of

__all__ = [
    "KeptRow",
    "LeakRow",
    "LiveGraph",
    "MemoryReport",
    "leaks",
    "live_graphs",
    "memory",
    "record_modules",
]


@contextmanager
def record_modules(module: Any) -> Iterator[ModuleTracker]:
    """While it is entered, notes which part of a module records which nodes, for :func:`memory`.

    Args:
        module: a :class:`~rustgrad.nn.Module`.

    Yields:
        A :class:`~rustgrad.utils.module_tracker.ModuleTracker`.

    >>> import rustgrad as rg
    >>> net = rg.nn.Sequential(rg.nn.Linear(2, 3), rg.nn.Tanh())
    >>> with rg.autograd.graph.record_modules(net) as modules:
    ...     loss = net(rg.ones(4, 2)).sum()
    >>> report = rg.autograd.graph.memory(loss, module=modules)
    >>> [(row.name, row.bytes) for row in report.by_module]
    [('0', 64), ('1', 64)]
    """
    with ModuleTracker(module) as tracker:
        yield tracker


class KeptRow(NamedTuple):
    """What the nodes of one op, module or line keep, or one tensor that others hold."""

    name: str
    #: Bytes of the buffers, as :func:`rustgrad.memory.allocated` counts them.
    bytes: int
    #: How many buffers those are.
    buffers: int


class MemoryReport(NamedTuple):
    """The memory that a graph keeps for its backward: what :func:`memory` returns.

    It is plain data, and keeps nothing of the graph alive. ``str(report)`` is a table.
    """

    #: Bytes that the graph keeps, each buffer counted once.
    total: int
    #: How many nodes the graph has, accumulators of leaves left out.
    nodes: int
    #: By the node's name, by module (if one was given), and by line of the program; the largest
    #: first. Each adds up to ``total``: a buffer counts for the node that was recorded first.
    by_op: list[KeptRow]
    by_module: list[KeptRow]
    by_line: list[KeptRow]
    #: Leaves that the graph needs: they belong to others.
    leaves: list[KeptRow]
    #: What the caller said to hold, as far as the graph keeps it too.
    held: list[KeptRow]
    #: How many saved tensors hooks have packed: where they are, and how large, is not known.
    packed: int = 0

    @property
    def leaf_bytes(self) -> int:
        """Bytes of the leaves."""
        return sum(row.bytes for row in self.leaves)

    def as_dict(self) -> dict[str, Any]:
        """The report as dictionaries, lists, strings and numbers."""
        rows = {
            name: [row._asdict() for row in value] if isinstance(value, list) else value
            for name, value in self._asdict().items()
        }
        return rows

    def json(self, path: str | os.PathLike | None = None) -> str:
        """The report as JSON, also written to ``path`` if there is one.

        Raises:
            OSError: the file cannot be written.
        """
        import json

        text = json.dumps(self.as_dict())
        if path is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return text

    def table(self, row_limit: int = 20) -> str:
        """The report as text.

        Args:
            row_limit: so many rows of each part at most; -1: all.
        """
        lines = [f"{size_text(self.total)} kept by {self.nodes} nodes"]
        if self.packed:
            lines[0] += f", and {self.packed} tensors packed by hooks"
        for title, rows in (
            ("Op", self.by_op),
            ("Module", self.by_module),
            ("Line", self.by_line),
            ("Leaf", self.leaves),
            ("Held by the caller", self.held),
        ):
            if not rows:
                continue
            owned = title not in ("Leaf", "Held by the caller")
            lines += ["", _rows_table(title, rows, self.total if owned else None, row_limit)]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()


def _rows_table(title: str, rows: Sequence[KeptRow], total: int | None, limit: int) -> str:
    shown = rows if limit < 0 else rows[:limit]
    cells = [[r.name, size_text(r.bytes), str(r.buffers)] for r in shown]
    rest = rows[len(shown) :]
    if rest:
        more = sum(r.bytes for r in rest), sum(r.buffers for r in rest)
        cells.append([f"... {len(rest)} more", size_text(more[0]), str(more[1])])
    header = [title, "Bytes", "Buffers"]
    if total is not None:
        header.append("Share")
        sizes = [r.bytes for r in shown] + ([more[0]] if rest else [])
        for row, size in zip(cells, sizes, strict=True):
            row.append(f"{100 * size / total:.1f}%" if total else "0.0%")
    return text_table(header, cells)


def _is_leaf(node: Any) -> bool:
    return node.name() == "torch::autograd::AccumulateGrad"


def _roots(tensors: Any) -> list[Any]:
    """The nodes of tensors, nodes or edges."""
    several = [tensors]
    if isinstance(tensors, (list, tuple)) and not hasattr(tensors, "ownership_token"):
        several = list(tensors)
    nodes = []
    for t in several:
        if _C.is_tensor(t):
            if not t.requires_grad:
                raise RuntimeError(
                    f"[memory] a tensor of shape {tuple(t.shape)} requires no gradient, so no "
                    "graph leads to it; rustgrad.autograd.why(tensor) says why"
                )
            nodes.append(_C.gradient_edge(t)[0])
        elif isinstance(t, _C.Node):
            nodes.append(t)
        elif hasattr(t, "ownership_token"):
            nodes.append(t.node)
        else:
            raise TypeError(f"[memory] expected tensors or nodes, but got {type(t).__name__}")
    return nodes


def memory(loss: Any, *, module: Any = None, held: Sequence[Any] = ()) -> MemoryReport:
    """The memory that the graph of a loss keeps until its backward has run or it is dropped.

    Args:
        loss: a tensor or a node of the graph, or a sequence of them.
        module: what :func:`record_modules` yielded, to tell by module; or a module, whose
            parameters then have their names.
        held: tensors that the program holds anyway (the batch, say). What the graph keeps of them
            is listed apart.

    Returns:
        A report. Its total is what :func:`rustgrad.memory.allocated` falls by when the graph goes,
        if the program holds none of the tensors it has saved but the leaves and ``held``. Memory
        of others (a NumPy array under a tensor) counts here, and not there.

    Raises:
        RuntimeError: no graph leads to a tensor.
        TypeError: ``loss`` is something else.

    >>> import rustgrad as rg
    >>> w = rg.ones(100, requires_grad=True)
    >>> loss = (w.exp() * 2).sum()
    >>> report = rg.autograd.graph.memory(loss)
    >>> report.total
    448
    >>> report.by_op
    [KeptRow(name='ExpBackward0', bytes=448, buffers=1)]
    >>> report.leaves
    [KeptRow(name='[100]', bytes=448, buffers=1)]
    """
    tracker = module if isinstance(module, ModuleTracker) else None
    if tracker is not None:
        module = tracker.module
    held = list(held)
    nodes, by_op, by_line, by_node, leaves, used, packed = _C.kept_memory(_roots(loss), held, True)
    names = {} if module is None else {id(p): name for name, p in module.named_parameters()}

    def row(tensor: Any, shape: str, size: int) -> KeptRow:
        return KeptRow(names.get(id(tensor), shape), size, 1)

    return MemoryReport(
        total=sum(size for _, size, _ in by_node),
        nodes=nodes,
        by_op=[KeptRow(*sums) for sums in by_op],
        by_module=[] if tracker is None else _by_module(tracker, by_node),
        by_line=[KeptRow(*sums) for sums in by_line],
        leaves=sorted((row(*leaf) for leaf in leaves), key=lambda row: -row.bytes),
        held=[row(held[i], str(list(held[i].shape)), size) for i, size in used],
        packed=packed,
    )


def _by_module(tracker: ModuleTracker, by_node: list[tuple[int, int, int]]) -> list[KeptRow]:
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for number, size, buffers in by_node:
        path = tracker.path_of(number)
        name = "(outside)" if path is None else path or f"({type(tracker.module).__name__})"
        sums[name][0] += size
        sums[name][1] += buffers
    rows = [KeptRow(name, *both) for name, both in sums.items()]
    return sorted(rows, key=lambda row: -row.bytes)


def kept_by_node(loss: Any, held: Sequence[Any] = ()) -> dict[int, int]:
    """The bytes that count for each node of a graph, by its number: see :func:`memory`."""
    by_node = _C.kept_memory(_roots(loss), list(held), True)[3]
    return {number: size for number, size, _ in by_node}


class LiveGraph(NamedTuple):
    """Nodes that are alive and hang together: plain data, which keeps nothing alive."""

    #: The names of the nodes that no other one consumes.
    roots: list[str]
    #: How many nodes there are, accumulators of leaves left out.
    nodes: int
    #: Bytes of what they have saved, leaves left out.
    bytes: int
    #: The lines that recorded the first node and the last one.
    first_line: str | None
    last_line: str | None


def live_graphs() -> list[LiveGraph]:
    """The graphs that are alive, whoever keeps them, in the order of their last nodes.

    Two results of which a part was computed together are roots of one graph; a leaf that both use
    does not join them.

    >>> import rustgrad as rg
    >>> before = len(rg.autograd.graph.live_graphs())
    >>> x = rg.ones(3, requires_grad=True)
    >>> losses = [(x * x).sum() for _ in range(2)]
    >>> graphs = rg.autograd.graph.live_graphs()[before:]
    >>> [(graph.roots, graph.nodes) for graph in graphs]
    [(['SumBackward0'], 2), (['SumBackward0'], 2)]
    """
    alive = {node._sequence_nr(): node for node in _C.live_graph()}
    nodes = {number: node for number, node in alive.items() if not _is_leaf(node)}
    group = {number: number for number in nodes}

    def find(number: int) -> int:
        while group[number] != number:
            group[number] = group[group[number]]
            number = group[number]
        return number

    consumed = set()
    for number, node in nodes.items():
        for after, _ in node.next_functions:
            other = None if after is None else after._sequence_nr()
            if other in nodes:
                consumed.add(other)
                group[find(number)] = find(other)
    leaves = _leaves(alive.values())
    members: dict[int, list[int]] = defaultdict(list)
    for number in sorted(nodes):
        members[find(number)].append(number)
    graphs = []
    for numbers in sorted(members.values(), key=lambda numbers: numbers[-1]):
        roots = [nodes[n].name() for n in numbers if n not in consumed]
        size = _kept_bytes([nodes[n] for n in numbers], leaves)
        first, last = (nodes[numbers[i]].site for i in (0, -1))
        graphs.append(LiveGraph(roots, len(numbers), size, first, last))
    return graphs


def _leaves(nodes: Iterable[Any]) -> list[Any]:
    variables = (node.variable for node in nodes if _is_leaf(node))
    return [leaf for leaf in variables if leaf is not None]


def _kept_bytes(nodes: list[Any], leaves: list[Any]) -> int:
    """Bytes that some nodes keep, whatever others do, but for those of leaves."""
    return sum(size for _, size, _ in _C.kept_memory(nodes, leaves, False)[3])


class LeakRow(NamedTuple):
    """Nodes of one line that are still alive."""

    line: str
    nodes: int
    #: The nodes' names, and how many of each there are.
    ops: dict[str, int]
    #: Bytes that they have saved, leaves left out.
    bytes: int


class leaks:
    """Finds the nodes that were recorded since and are still alive, and who keeps them.

    Use it as a context manager, whose block should leave nothing behind; or make one, and call
    :meth:`find` whenever you want to know. Nodes are those of all threads.

    Args:
        collect: first collect cycles of Python objects, so that what only those keep is no leak.
        max_holders: how many tensors to look at, and how many holders of each.

    Attributes:
        lines: a :class:`LeakRow` for each line that recorded some, the most nodes first.
        holders: which Python objects hold the results that no other node consumes, as far as the
            garbage collector and the stacks of all threads tell (what ``gc.freeze`` has set apart,
            it does not).

    >>> import rustgrad as rg
    >>> history = []
    >>> x = rg.ones(3, requires_grad=True)
    >>> with rg.autograd.graph.leaks() as leaked:
    ...     for _ in range(2):
    ...         loss = (x * x).sum()
    ...         history.append(loss)
    ...     del loss
    >>> leaked.nodes, leaked.lines[0].ops
    (4, {'MulBackward0': 2, 'SumBackward0': 2})
    >>> print(leaked)  # doctest: +ELLIPSIS
    4 nodes recorded since are still alive, and keep ...
    """

    def __init__(self, *, collect: bool = True, max_holders: int = 5) -> None:
        self.collect = collect
        self.max_holders = max_holders
        self.lines: list[LeakRow] = []
        self.holders: list[str] = []
        self._clock = NodeClock()
        self._since = self._clock.now()

    def __enter__(self) -> leaks:
        self._since = self._clock.now()
        return self

    def __exit__(self, *exc: object) -> None:
        self.find()

    @property
    def nodes(self) -> int:
        """How many nodes were found."""
        return sum(row.nodes for row in self.lines)

    def find(self) -> leaks:
        """Looks, and returns itself."""
        if self.collect:
            gc.collect()
        alive = {node._sequence_nr(): node for node in _C.live_graph()}
        found = {n: v for n, v in alive.items() if n > self._since and not _is_leaf(v)}
        leaves = _leaves(alive.values())
        by_line: dict[str, list[Any]] = defaultdict(list)
        consumed: set[int] = set()
        for number in sorted(found):
            node = found[number]
            by_line[node.site or "(unknown)"].append(node)
            consumed.update(n._sequence_nr() for n, _ in node.next_functions if n is not None)
        self.lines = []
        for line, nodes in by_line.items():
            ops = Counter(node.name() for node in nodes)
            size = _kept_bytes(nodes, leaves)
            self.lines.append(LeakRow(line, len(nodes), dict(ops), size))
        self.lines.sort(key=lambda row: -row.nodes)
        roots = found.keys() - consumed
        self.holders = holders_of(roots, self.max_holders) if roots else []
        return self

    def __str__(self) -> str:
        if not self.lines:
            return "No node recorded since is still alive."
        size = size_text(sum(row.bytes for row in self.lines))
        text = [f"{self.nodes} nodes recorded since are still alive, and keep {size}:"]
        for row in self.lines:
            ops = ", ".join(f"{n} {name}" if n > 1 else name for name, n in row.ops.items())
            text.append(f"  {row.line}: {ops} ({size_text(row.bytes)})")
        text.append("Held by:" if self.holders else "No Python object was found that holds them.")
        text += [f"  {holder}" for holder in self.holders]
        return "\n".join(text)
