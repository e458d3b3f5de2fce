"""From tensors to a :class:`~rustgrad.autograd.explorer.Graph`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import rustgrad as rg
from rustgrad import _C
from rustgrad.utils.module_tracker import ModuleTracker, NodeClock

from ..graph import GradientEdge
from .model import Call, Graph, Node, Root, Saved, plain

__all__ = ["Modules", "Step", "backward_steps", "explore", "trace_modules"]

ORDERS = ("forward", "backward", "double backward", "triple backward")


class Modules:
    """The calls of a module and its parts: what :func:`trace_modules` yields."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.tracker = ModuleTracker(module)

    @property
    def calls(self) -> list[Call]:
        """The calls so far, in their order."""
        return [
            Call(c.path, c.type, c.parent, c.first, max(c.first, c.last))
            for c in self.tracker.calls
        ]

    def explore(self, tensors: Any, **options: Any) -> Graph:
        """:func:`explore` with these modules."""
        return explore(tensors, module=self, **options)


@contextmanager
def trace_modules(module: Any) -> Iterator[Modules]:
    """While it is entered, notes which part of a module records which nodes.

    It adds hooks to the module and its parts, and takes them away again: modules that are not
    traced pay nothing. Only what is recorded by this thread should be recorded meanwhile, since
    nodes are told apart by the numbers that all threads share.

    Args:
        module: a :class:`~rustgrad.nn.Module`.

    Yields:
        What :func:`explore` takes as its ``module``.

    >>> import rustgrad as rg
    >>> from rustgrad.autograd.explorer import explore, trace_modules
    >>> model = rg.nn.Sequential(rg.nn.Linear(2, 3), rg.nn.Tanh())
    >>> with trace_modules(model) as modules:
    ...     loss = model(rg.ones(1, 2)).sum()
    >>> graph = explore(loss, module=modules)
    >>> [(node.op, graph.calls[node.call].path) for node in graph.nodes if node.call is not None]
    [('Linear', '0'), ('Tanh', '1')]
    """
    modules = Modules(module)
    with modules.tracker:
        yield modules


def explore(
    tensors: Any,
    *,
    names: Mapping[Any, Any] | None = None,
    module: Any = None,
    backward: int = 0,
    gradients: Any = None,
    title: str | None = None,
) -> Graph:
    """A snapshot of the graph that leads to some tensors.

    Args:
        tensors: a tensor or a sequence of tensors; or a dictionary of such by the name of a phase,
            whose phases are shown side by side (a node belongs to the first phase that reaches
            it); or a function without arguments that computes them, which is called with
            ``module`` traced.
        names: names of leaves or other tensors, ``{"x": x}`` or ``{x: "x"}``.
        module: a :class:`~rustgrad.nn.Module`, whose parameters give leaves their names, or what
            :func:`trace_modules` yielded, which also groups nodes by module.
        backward: how many derivatives to record and to show beside the graph: 1 (or ``True``) for
            the backward, 2 for the double backward too. The derivatives are those of the sum of
            the tensors with respect to all leaves. It keeps what the graph saved, and no ``.grad``
            changes.
        gradients: ``True``, or the cotangents of the tensors: runs a backward that measures each
            node's time and the norm of the gradients that arrive. It keeps what the graph saved,
            and no ``.grad`` changes.
        title: a heading; the default is the module's type.

    Returns:
        Plain data, with methods that show it.

    Raises:
        RuntimeError: a tensor has no graph; with ``gradients``, a backward cannot run.
        ValueError: ``backward`` is no number from 0 to 3.

    >>> import rustgrad as rg
    >>> from rustgrad.autograd.explorer import explore
    >>> x = rg.tensor([1.0, 2.0], requires_grad=True)
    >>> explore((x * x).sum(), names={"x": x})
    <Graph: 3 nodes, 3 edges, 0 B saved>
    """
    if not 0 <= int(backward) < len(ORDERS):
        raise ValueError(f"[explore] backward must be a number from 0 to 3, but got {backward!r}")
    modules = module if isinstance(module, Modules) else None
    if modules is not None:
        module = modules.module
    if callable(tensors) and not _C.is_tensor(tensors):
        if module is None:
            tensors = tensors()
        else:
            with trace_modules(module) as modules:
                tensors = tensors()
    phases = dict(tensors) if isinstance(tensors, Mapping) else {ORDERS[0]: tensors}
    phases = {str(name): _sequence(group) for name, group in phases.items()}
    outputs = [t for group in phases.values() for t in group]
    with rg.inference_mode(False), rg.enable_grad():
        walk = _Walk(_named(names, module), modules)
        for name, group in phases.items():
            walk.add(name, group)
        if gradients is not None and gradients is not False:
            walk.measure(outputs, None if gradients is True else _sequence(gradients))
        for order in range(1, int(backward) + 1):
            outputs = walk.differentiate(outputs, order)
            if not outputs:
                break
            walk.add(ORDERS[order], outputs)
        if title is None:
            title = "Graph" if module is None else type(module).__name__
        return walk.graph(title)


def _sequence(tensors: Any) -> list[Any]:
    several = [tensors] if _C.is_tensor(tensors) else list(tensors)
    for t in several:
        if t is not None and not _C.is_tensor(t):
            raise TypeError(f"[explore] expected tensors, but got {type(t).__name__}")
    return several


def _named(names: Mapping[Any, Any] | None, module: Any) -> dict[tuple[Any, int], str]:
    """Names by node and output."""
    pairs: list[tuple[Any, str]] = []
    if module is not None:
        pairs += [(t, name) for name, t in module.named_parameters()]
    for key, value in (names or {}).items():
        pairs.append((value, key) if isinstance(key, str) else (key, value))
    found: dict[tuple[Any, int], str] = {}
    for t, name in pairs:
        if not (_C.is_tensor(t) and isinstance(name, str)):
            raise TypeError(
                "[explore] names must be a dictionary of tensors and strings, but has "
                f"{type(t).__name__} and {type(name).__name__}"
            )
        if t.requires_grad:
            found[_edge(t)] = name
    return found


def _edge(t: Any) -> tuple[Any, int]:
    """The node and the output that a tensor is."""
    node, output = _C.gradient_edge(t)[:2]
    return node, output


class _Walk:
    """Reads nodes, phase by phase."""

    def __init__(self, names: dict[tuple[Any, int], str], modules: Modules | None) -> None:
        self.names = names
        self.calls = [] if modules is None else modules.calls
        self.nodes: dict[int, Any] = {}
        self.phase: dict[int, int] = {}
        self.roots: list[tuple[int, int, str | None]] = []
        self.phases: list[str] = []
        self.seconds: dict[int, float] = {}
        self.gradients: dict[int, float] = {}
        # Which node's backward recorded the nodes from a number on.
        self.windows: list[tuple[int, int]] = []

    def add(self, phase: str, tensors: Sequence[Any]) -> None:
        """Visits what leads to some tensors and was not visited before."""
        number = len(self.phases)
        self.phases.append(phase)
        todo = []
        for t in tensors:
            if not t.requires_grad:
                raise RuntimeError(
                    f"[explore] a tensor of shape {tuple(t.shape)} requires no gradient, so there "
                    "is no graph that leads to it; compute it from a tensor that does, with "
                    "gradients enabled"
                )
            node, output = _edge(t)
            self.roots.append((node._sequence_nr(), output, self.names.get((node, output))))
            todo.append(node)
        while todo:
            node = todo.pop()
            key = node._sequence_nr()
            if key not in self.nodes:
                self.nodes[key] = node
                self.phase[key] = number
                todo.extend(after for after, _ in node.next_functions if after is not None)

    def leaves(self) -> list[GradientEdge]:
        """Where the gradients of leaves go, also of those that nobody holds any more."""
        nodes = self.nodes.values()
        return [GradientEdge(n, 0) for n in nodes if n.name().endswith("AccumulateGrad")]

    def measure(self, outputs: list[Any], cotangents: list[Any] | None) -> None:
        """Runs a backward and notes times and norms."""
        begun: dict[int, float] = {}

        def watch(key: int, node: Any) -> Iterator[Any]:
            def before(_: Any) -> None:
                begun[key] = time.perf_counter()

            def after(_: Any, grads: Any) -> None:
                self.seconds[key] = time.perf_counter() - begun[key]
                self.gradients[key] = _norm(grads)

            yield node.register_prehook(before)
            yield node.register_hook(after)

        with _hooks(self.nodes, watch):
            leaves = self.leaves()
            found = rg.autograd.grad(
                outputs, leaves, cotangents, retain_graph=True, allow_unused=True
            )
        for leaf, grad in zip(leaves, found, strict=True):
            if grad is not None:
                self.gradients[leaf.node._sequence_nr()] = _norm([grad])

    def differentiate(self, outputs: list[Any], order: int) -> list[Any]:
        """The gradients of all leaves that have graphs themselves, which are recorded."""
        clock = NodeClock()

        def watch(key: int, node: Any) -> Iterator[Any]:
            yield node.register_prehook(
                lambda _: self.windows.append((clock.now(), key)),
            )

        leaves = self.leaves()
        with _hooks(self.nodes, watch):
            found = rg.autograd.grad(
                outputs,
                leaves,
                [rg.ones_like(t) for t in outputs],
                create_graph=True,
                allow_unused=True,
            )
        grads = []
        sign = ("", "d", "d²", "d³")[order]
        for leaf, grad in zip(leaves, found, strict=True):
            if grad is not None and grad.requires_grad:
                name = self.names.get((leaf.node, 0))
                if name is not None:
                    self.names.setdefault(_edge(grad), f"{sign}/d {name}")
                grads.append(grad)
        return grads

    def graph(self, title: str) -> Graph:
        """What was visited, as plain data."""
        order = sorted(self.nodes)
        ids = {key: i for i, key in enumerate(order)}
        calls = _Intervals([(c.first, c.last, i) for i, c in enumerate(self.calls)])
        labels: dict[int, str] = {}
        for (node, output), name in self.names.items():
            key = node._sequence_nr()
            if key in ids:
                labels[key] = name if output == 0 else f"{labels.get(key, '')} {name}".strip()
        saved = _Storages(leaf.node.variable for leaf in self.leaves())
        nodes: list[Node] = []
        window = 0
        for key in order:
            node = self.nodes[key]
            name = node.name().removeprefix("torch::autograd::")
            kind = "op" if _OP.search(name) else "custom"
            if name == "AccumulateGrad":
                is_parameter = isinstance(node.variable, rg.nn.Parameter)
                kind = "parameter" if is_parameter else "leaf"
            is_leaf = kind in ("leaf", "parameter")
            # Those that a backward recorded belong where the node belongs that it was visiting.
            while window < len(self.windows) and self.windows[window][0] < key:
                window += 1
            recorded = self.phase[key] and window and not is_leaf
            origin = ids.get(self.windows[window - 1][1]) if recorded else None
            call = None if is_leaf else calls.innermost(key)
            if call is None and origin is not None:
                call = nodes[origin].call
            nodes.append(
                Node(
                    id=len(nodes),
                    name=name,
                    kind=kind,
                    number=key,
                    inputs=[
                        None if after is None else (ids[after._sequence_nr()], output)
                        for after, output in node.next_functions
                    ],
                    outputs=[(tuple(shape), _types[dtype]) for shape, dtype in node._output_meta],
                    saved=[saved.entry(*meta) for meta in node._saves],
                    arguments={k: plain(v) for k, v in node._arguments.items()},
                    site=node.site,
                    label=labels.get(key),
                    call=call,
                    phase=self.phase[key],
                    origin=origin,
                    freed=node._is_freed,
                    seconds=self.seconds.get(key, (node._metadata or {}).get("seconds")),
                    gradient=self.gradients.get(key),
                )
            )
        roots = [Root(ids[key], output, name) for key, output, name in self.roots]
        return Graph(nodes, roots, [replace(c) for c in self.calls], self.phases, title)


_OP = re.compile(r"Backward\d+$")


class _Intervals:
    """Finds the innermost of nested intervals; asked in ascending order."""

    def __init__(self, intervals: Iterable[tuple[int, int, int]]) -> None:
        self._waiting = sorted(intervals, key=lambda i: (-i[0], i[1]))
        self._open: list[tuple[int, int]] = []

    def innermost(self, number: int) -> int | None:
        while self._waiting and self._waiting[-1][0] < number:
            first, last, index = self._waiting.pop()
            while self._open and self._open[-1][0] <= first:
                self._open.pop()
            self._open.append((last, index))
        while self._open and self._open[-1][0] <= number:
            self._open.pop()
        return self._open[-1][1] if self._open else None


@contextmanager
def _hooks(nodes: Mapping[int, Any], watch: Callable[[int, Any], Iterable[Any]]) -> Iterator[None]:
    """Hooks on all nodes, taken away again."""
    handles: list[Any] = []
    try:
        for key, node in nodes.items():
            handles.extend(watch(key, node))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _norm(grads: Iterable[Any]) -> float:
    """The Euclidean norm of all elements."""
    squares = [float(g.double().norm().item()) ** 2 for g in grads if g is not None]
    return sum(squares) ** 0.5


class _Types(dict[Any, str]):
    """The names of types; each is made once."""

    def __missing__(self, dtype: Any) -> str:
        self[dtype] = name = str(dtype).removeprefix("rustgrad.")
        return name


_types = _Types()


class _Storages:
    """Numbers the storages that nodes save, and knows those of leaves."""

    def __init__(self, leaves: Iterable[Any | None]) -> None:
        self._numbers: dict[int, int] = {}
        self._leaves = set()
        probe = _C.zeros((), requires_grad=True)
        for t in leaves:
            if t is None:
                continue
            # A node that saves no element of the leaf, but its storage, tells which it is.
            node: Any = (probe * t.detach().unsqueeze(0).narrow(0, 0, 0)).grad_fn
            self._leaves |= {s[5] for s in node._saves if s[4]}

    def entry(
        self,
        name: str,
        shape: Any,
        dtype: Any,
        size: int | None,
        storage_size: int | None,
        storage: int | None,
    ) -> Saved:
        """What a node's ``_saves`` says of a tensor."""
        name = "self" if name == "input" else name
        if shape is None or storage is None:
            return Saved(name, None, None, None, None, None)
        number = self._numbers.setdefault(storage, len(self._numbers))
        is_leaf = storage in self._leaves
        return Saved(name, tuple(shape), _types[dtype], size, number, storage_size, is_leaf)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a backward pass."""

    #: Position in the order in which nodes ran.
    index: int
    #: ``MulBackward0``, ``AccumulateGrad``.
    name: str
    #: Position in the order of recording: ``Node.number`` of a :class:`Graph`.
    number: int
    #: ``file:line`` of the call that recorded the node.
    site: str | None
    #: The name of a leaf, or of the node's first output.
    label: str | None
    #: The gradients that arrived, one an output.
    grad_outputs: tuple[Any, ...]
    #: The gradients that it sent on, one an input; ``None`` where none is needed. A leaf's step
    #: has none: it adds what arrived to ``.grad``.
    grad_inputs: tuple[Any, ...]


def backward_steps(
    loss: Any,
    gradient: Any = None,
    *,
    retain_graph: bool = False,
    names: Mapping[Any, Any] | None = None,
    module: Any = None,
) -> Iterator[Step]:
    """Runs ``loss.backward(gradient)`` and walks through its steps with their values.

    The backward has run, and the leaves have their ``.grad``, when the function returns. All
    gradients of all steps are kept until the iterator has passed them (or is dropped), so it needs
    the memory of every gradient that a backward lets go of early: it is for looking at a program,
    not for training. The graph is freed as by ``backward``.

    Args:
        loss: a tensor.
        gradient: its cotangent; ``None`` stands for 1 where there is one element.
        retain_graph: keep what the graph saved for another backward.
        names: names of leaves or other tensors, as for :func:`explore`.
        module: a module, whose parameters give leaves their names.

    Yields:
        A :class:`Step` for each node, in the order in which they ran.

    Raises:
        RuntimeError: the tensor has no graph, or the backward fails.

    >>> import rustgrad as rg
    >>> from rustgrad.autograd.explorer import backward_steps
    >>> x = rg.tensor(3.0, requires_grad=True)
    >>> for step in backward_steps(x.square() * 2, names={"x": x}):
    ...     print(step.name, step.label, *step.grad_outputs, *step.grad_inputs)
    MulBackward0 None tensor(1.) tensor(2.) None
    SquareBackward0 None tensor(2.) tensor(12.)
    AccumulateGrad x tensor(12.)
    """
    walk = _Walk(_named(names, module), None)
    walk.add(ORDERS[0], [loss])
    steps: list[Step | None] = []

    def watch(key: int, node: Any) -> Iterator[Any]:
        name, site = node.name().removeprefix("torch::autograd::"), node.site
        label = walk.names.get((node, 0))

        def after(grad_inputs: Any, grad_outputs: Any) -> None:
            steps.append(Step(len(steps), name, key, site, label, grad_outputs, grad_inputs))

        yield node.register_hook(after)

    with _hooks(walk.nodes, watch):
        loss.backward(gradient, retain_graph=retain_graph)

    def passing() -> Iterator[Step]:
        for i, step in enumerate(steps):
            assert step is not None, "each step is passed once"
            steps[i] = None
            yield step

    return passing()
