"""Counts floating-point operations, by module and op, from shapes alone.

A product of an (m, k) and a (k, n) matrix counts as ``2 * m * k * n``: a multiplication and an
addition for each term. Elementwise ops, reductions and moves count as nothing, as in PyTorch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

from rustgrad import _C

from ._text import share_text, text_table
from .module_tracker import ModuleTracker

__all__ = ["FlopCounterMode", "flop_registry", "register_flop_formula"]

Shape = tuple[int, ...]
Formula = Callable[..., int]

#: The formula of each op that is counted, by the op's name.
flop_registry: dict[str, Formula] = {}


def register_flop_formula(targets: Any, get_raw: bool = False) -> Callable[[Formula], Formula]:
    """Registers the decorated function as the FLOPs of one op, or of several.

    Args:
        targets: an op (``rg.cumsum``) or its name, or a sequence of them. What counts is the name
            that a profile shows: ops that are made of others show as those.
        get_raw: must be false: a formula gets shapes, not tensors.

    Returns:
        A decorator for ``formula(*input_shapes, out_shape)``, with the shapes of the op's tensors.

    Raises:
        RuntimeError: an op has a formula already.

    >>> import rustgrad as rg
    >>> from rustgrad.utils.flop_counter import FlopCounterMode, flop_registry
    >>> @register_flop_formula(rg.cumsum)
    ... def cumsum_flop(x, out_shape):
    ...     return x[0]
    >>> with FlopCounterMode(display=False) as counter:
    ...     _ = rg.ones(10).cumsum(0)
    >>> counter.get_total_flops()
    10
    >>> _ = flop_registry.pop("cumsum")
    """
    if get_raw:
        raise NotImplementedError("[register_flop_formula] get_raw=True: formulas get shapes only")

    def register(formula: Formula) -> Formula:
        names = [_name(t) for t in ([targets] if isinstance(targets, str | _C.Op) else targets)]
        for name in names:
            if name in flop_registry:
                raise RuntimeError(f"[register_flop_formula] {name} has a formula already")
        flop_registry.update(dict.fromkeys(names, formula))
        return formula

    return register


def _name(op: Any) -> str:
    if isinstance(op, str):
        return op
    if isinstance(op, _C.Op):
        return op.__name__
    raise TypeError(f"[flop_counter] expected an op or its name, but got {type(op).__name__}")


@register_flop_formula("mm")
def mm_flop(a: Shape, b: Shape, out_shape: Shape) -> int:
    """(m, k) by (k, n)."""
    return 2 * a[0] * a[1] * b[1]


@register_flop_formula("bmm")
def bmm_flop(a: Shape, b: Shape, out_shape: Shape) -> int:
    """(b, m, k) by (b, k, n)."""
    return 2 * a[0] * a[1] * a[2] * b[2]


@register_flop_formula("mv")
def mv_flop(a: Shape, v: Shape, out_shape: Shape) -> int:
    """(m, k) by (k,)."""
    return 2 * a[0] * a[1]


@register_flop_formula("dot")
def dot_flop(a: Shape, b: Shape, out_shape: Shape) -> int:
    """(k,) by (k,)."""
    return 2 * a[0]


@register_flop_formula("linear")
def linear_flop(x: Shape, weight: Shape, *bias: Shape, out_shape: Shape) -> int:
    """(..., k) by the transpose of (n, k); the bias is not counted."""
    return 2 * prod(x) * prod(weight[:-1])


def flops_of(event: tuple[Any, ...], registry: Mapping[str, Formula]) -> int | None:
    """The FLOPs of one of the core's events; ``None`` for an op without a formula."""
    formula = registry.get(event[0])
    if formula is None:
        return None
    outputs = [tuple(shape) for shape, _ in event[5]]
    return formula(
        *(tuple(shape) for shape, _ in event[4]),
        out_shape=outputs[0] if len(outputs) == 1 else outputs,
    )


def counted(
    events: Sequence[tuple[Any, ...]], registry: Mapping[str, Formula]
) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Those of the core's events that have a formula, with their FLOPs, the last one first.

    What an op that counts is made of does not count again.
    """
    begin = None
    # An op comes after those that it is made of.
    for event in reversed(events):
        if begin is None or event[1] < begin:
            flops = flops_of(event, registry)
            if flops is not None:
                begin = event[1]
                yield event, flops


class FlopCounterMode:
    """While it is entered, counts the FLOPs of this thread's ops, those of backwards too.

    An op in a backward counts for the module that recorded the node it runs for.

    Args:
        mods: accepted; all modules are followed.
        depth: how many levels of modules :meth:`get_table` shows.
        display: print the table at the end.
        custom_mapping: formulas beside, or instead of, those of ``flop_registry``: from an op or
            its name to ``formula(*input_shapes, out_shape)``.

    >>> import rustgrad as rg
    >>> net = rg.nn.Sequential(rg.nn.Linear(8, 16), rg.nn.ReLU(), rg.nn.Linear(16, 1))
    >>> with FlopCounterMode(display=False) as counter:
    ...     net(rg.ones(4, 8)).sum().backward()
    >>> counter.get_total_flops()  # 3 products for each layer, but for the data's gradient
    2432
    >>> counter.get_flop_counts()["Sequential.0"]
    {'linear': 1024, 'mm': 1024}
    """

    def __init__(
        self,
        mods: Any = None,
        depth: int = 2,
        display: bool = True,
        custom_mapping: Mapping[Any, Formula] | None = None,
    ) -> None:
        self.depth = depth
        self.display = display
        self._custom = {_name(op): f for op, f in (custom_mapping or {}).items()}
        self._counts: dict[str, dict[str, int]] = {}
        self._profiler: Any = None

    def __enter__(self) -> FlopCounterMode:
        if self._profiler is not None:
            raise RuntimeError("[FlopCounterMode] it is entered already; make another one")
        self._counts = defaultdict(lambda: defaultdict(int))
        self._registry = {**flop_registry, **self._custom}
        self._tracker = ModuleTracker(notice=self._count)
        self._profiler = _C.Profiler()
        self._tracker.__enter__()
        self._profiler.push()
        return self

    def __exit__(self, *exc: object) -> None:
        self._profiler.remove()
        self._tracker.__exit__()
        self._count()
        self._profiler = None
        if self.display and exc[:1] == (None,):
            print(self.get_table(self.depth))

    def _count(self) -> None:
        """Counts what has run since the last time, for the modules that are running."""
        tracker = self._tracker
        running = tracker.chain(tracker.running)
        for event, flops in counted(self._profiler.take(), self._registry):
            calls = running
            if event[7] is not None:
                recorded = tracker.chain(tracker.call_of(event[7][0]))
                # Else a module runs in the backward, as checkpoints do.
                if recorded[: len(running)] == running:
                    calls = recorded
            for path in dict.fromkeys(["Global", *(tracker.calls[i].path for i in calls)]):
                self._counts[path][event[0]] += flops

    def get_total_flops(self) -> int:
        """The FLOPs of all ops."""
        return sum(self.get_flop_counts().get("Global", {}).values())

    def get_flop_counts(self) -> dict[str, dict[str, int]]:
        """For each module, and for ``"Global"``, the FLOPs by op, those of parts included."""
        if self._profiler is not None:
            self._count()
        return {path: dict(ops) for path, ops in self._counts.items()}

    def get_table(self, depth: int | None = None) -> str:
        """The counts as text.

        Args:
            depth: how many levels of modules; the default is that of the counter.
        """
        depth = self.depth if depth is None else depth
        counts = self.get_flop_counts()
        total = self.get_total_flops()
        unit = _unit(total)
        rows: list[Sequence[str]] = []

        def add(path: str, level: int) -> None:
            ops = counts.get(path, {})
            flops = sum(ops.values())
            rows.append(("  " * level + path, _number(flops, unit), share_text(flops, total)))
            for op, n in ops.items():
                rows.append(("  " * level + " - " + op, _number(n, unit), share_text(n, total)))

        add("Global", 0)
        for path in sorted(counts.keys() - {"Global"}):
            level = path.count(".") + 1
            if level <= depth:
                add(path, level)
        return text_table(("Module", "FLOP", "% Total"), rows)


def _unit(n: int) -> tuple[int, str]:
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if n >= size:
            return size, letter
    return 1, ""


def _number(n: int, unit: tuple[int, str]) -> str:
    return str(n) if unit[0] == 1 else f"{n / unit[0]:.3f}{unit[1]}"
