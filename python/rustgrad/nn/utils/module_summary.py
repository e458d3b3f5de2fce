"""A model at a glance: layers, shapes, parameters, FLOPs, and what a backward needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import rustgrad as rg
from rustgrad import _C
from rustgrad.autograd.memory_report import kept_by_node
from rustgrad.utils._text import size_text, text_table
from rustgrad.utils._tree import leaves
from rustgrad.utils.flop_counter import counted, flop_registry
from rustgrad.utils.module_tracker import ModuleTracker

__all__ = ["ModuleSummary", "SummaryRow", "summary"]


class SummaryRow(NamedTuple):
    """A call of a module."""

    #: The module's name in the model: ``"encoder.0"``; ``""`` is the model itself.
    name: str
    type: str
    #: How many modules it lies within.
    depth: int
    #: The shape of each tensor that it returned.
    output_shapes: list[tuple[int, ...]]
    #: Parameters of the module and its parts; 0 where it is called again.
    params: int
    trainable_params: int
    #: Floating-point operations of its forward, parts included.
    flops: int
    #: Bytes that its part of the graph keeps for the backward, parts included.
    kept_bytes: int


class ModuleSummary(NamedTuple):
    """What :func:`summary` returns; ``str()`` of it is a table."""

    rows: list[SummaryRow]
    #: Each parameter once, whether it is used or not.
    params: int
    trainable_params: int
    param_bytes: int
    buffer_bytes: int
    #: Of the forward.
    flops: int
    #: Bytes that the graph keeps for the backward, leaves and inputs left out.
    kept_bytes: int
    #: Bytes of the tensors that were passed.
    input_bytes: int

    def table(self, depth: int | None = None) -> str:
        """The summary as text.

        Args:
            depth: how many levels of modules are shown; ``None``: all.
        """
        rows = [row for row in self.rows if depth is None or row.depth <= depth]
        cells = []
        for row in rows:
            shapes = ", ".join(str(list(shape)) for shape in row.output_shapes)
            name = row.name.rpartition(".")[2]
            title = f"{row.type} ({name})" if name else row.type
            cells.append(
                [
                    "  " * row.depth + title,
                    shapes or "--",
                    f"{row.params:,}" if row.params else "--",
                    f"{row.flops:,}" if row.flops else "--",
                    size_text(row.kept_bytes) if row.kept_bytes else "--",
                ]
            )
        frozen = self.params - self.trainable_params
        text = text_table(["Module", "Output", "Params", "FLOPs", "Kept for backward"], cells)
        return "\n".join(
            [
                text,
                "",
                f"Parameters: {self.params:,} ({size_text(self.param_bytes)}), of which "
                f"{self.trainable_params:,} are trained and {frozen:,} are not",
                f"Buffers: {size_text(self.buffer_bytes)}",
                f"FLOPs of a forward: {self.flops:,}",
                f"Input: {size_text(self.input_bytes)}; kept for the backward: "
                f"{size_text(self.kept_bytes)}",
            ]
        )

    def __str__(self) -> str:
        return self.table()


def _tensors(value: Any) -> list[Any]:
    return [leaf for leaf in leaves(value) if _C.is_tensor(leaf)]


@contextmanager
def _kept_as_it_is(module: Any) -> Iterator[None]:
    """Puts the module's buffers, and the generator of random numbers, back to what they were."""
    buffers = [(b, b._version, b.clone()) for b in module.buffers()]
    generator = rg.get_rng_state()
    try:
        yield
    finally:
        rg.set_rng_state(generator)
        with rg.no_grad():
            for buffer, version, before in buffers:
                if buffer._version != version:
                    buffer.copy_(before)


def summary(module: Any, /, *args: Any, **kwargs: Any) -> ModuleSummary:
    """Runs ``module(*args, **kwargs)`` once, and says what each of its parts did.

    The module runs in the mode it is in, and records a graph, since that tells what a backward
    needs. The generator of random numbers and the module's buffers are as before afterwards.

    Args:
        module: a :class:`~rustgrad.nn.Module`.
        args: the arguments of its ``forward``.
        kwargs: likewise.

    Returns:
        The summary; print it for a table.

    Raises:
        TypeError: ``module`` is not a module.
        RuntimeError: the module is called in inference mode, in which no graph is recorded.

    >>> import rustgrad as rg
    >>> net = rg.nn.Sequential(rg.nn.Linear(8, 16), rg.nn.ReLU(), rg.nn.Linear(16, 1))
    >>> print(rg.nn.utils.summary(net, rg.ones(4, 8)))
    Module         Output  Params  FLOPs  Kept for backward
    ------------  -------  ------  -----  -----------------
    Sequential     [4, 1]     161  1,152              256 B
      Linear (0)  [4, 16]     144  1,024                 --
      ReLU (1)    [4, 16]      --     --              256 B
      Linear (2)   [4, 1]      17    128                 --
    <BLANKLINE>
    Parameters: 161 (644 B), of which 161 are trained and 0 are not
    Buffers: 0 B
    FLOPs of a forward: 1,152
    Input: 128 B; kept for the backward: 256 B
    """
    if not isinstance(module, rg.nn.Module):
        raise TypeError(f"[summary] expected a module, but got {type(module).__name__}")
    if rg.is_inference_mode_enabled():
        raise RuntimeError("[summary] no graph is recorded in inference mode; leave it")
    core = _C.Profiler()
    flops: Counter[int | None] = Counter()
    shapes: dict[int | None, list[tuple[int, ...]]] = {}

    def count() -> None:
        for _, n in counted(core.take(), flop_registry):
            flops[tracker.running] += n

    def note_output(_: Any, __: Any, output: Any) -> None:
        shapes[tracker.running] = [tuple(t.shape) for t in _tensors(output)]

    tracker = ModuleTracker(module, count)
    inputs = _tensors((args, kwargs))
    with _kept_as_it_is(module), ExitStack() as hooks:
        # Before those of the tracker, after which the call is not running any more.
        for m in module.modules():
            hooks.enter_context(m.register_forward_hook(note_output))
        with rg.enable_grad(), tracker:
            core.push()
            try:
                outputs = _tensors(module(*args, **kwargs))
            finally:
                _C.pop_observer()

    kept: Counter[int | None] = Counter()
    results = [t for t in outputs if t.requires_grad]
    if results:
        for number, size in kept_by_node(results, held=inputs).items():
            kept[tracker.call_of(number)] += size
    # From the parts to the whole.
    total_flops, total_kept = flops.total(), kept.total()
    for i in range(len(tracker.calls) - 1, -1, -1):
        parent = tracker.calls[i].parent
        if parent is not None:
            flops[parent] += flops[i]
            kept[parent] += kept[i]
    return ModuleSummary(
        rows=_rows(module, tracker, shapes, flops, kept),
        params=sum(p.numel() for p in module.parameters()),
        trainable_params=sum(p.numel() for p in module.parameters() if p.requires_grad),
        param_bytes=sum(p.nbytes for p in module.parameters()),
        buffer_bytes=sum(b.nbytes for b in module.buffers()),
        flops=total_flops,
        kept_bytes=total_kept,
        input_bytes=sum(t.nbytes for t in inputs),
    )


def _rows(
    module: Any,
    tracker: ModuleTracker,
    shapes: dict[int | None, list[tuple[int, ...]]],
    flops: Counter[int | None],
    kept: Counter[int | None],
) -> list[SummaryRow]:
    parts = dict(module.named_modules())
    rows: list[SummaryRow] = []
    seen: set[str] = set()
    for i, call in enumerate(tracker.calls):
        params = [] if call.path in seen else list(parts[call.path].parameters())
        seen.add(call.path)
        rows.append(
            SummaryRow(
                name=call.path,
                type=call.type,
                depth=len(tracker.chain(i)) - 1,
                output_shapes=shapes.get(i, []),
                params=sum(p.numel() for p in params),
                trainable_params=sum(p.numel() for p in params if p.requires_grad),
                flops=flops[i],
                kept_bytes=kept[i],
            )
        )
    return rows
