"""From what a recorder has noted to a tree of events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rustgrad import _C
from rustgrad.utils.flop_counter import flop_registry, flops_of

from .events import EventList, FunctionEvent, MemoryPoint
from .ranges import Recorder

__all__ = ["events_of", "memory_of"]


class _Lines(dict[int, "str | None"]):
    """``file:line`` by the numbers that the core gives to lines."""

    def __missing__(self, site: int) -> str | None:
        self[site] = _C.describe_site(site).removeprefix(" at ") or None
        return self[site]


def memory_of(recorder: Recorder, raw: Sequence[Any]) -> list[MemoryPoint]:
    """The memory after each of the core's events."""
    lines = _Lines()
    points = [MemoryPoint(recorder.begin / 1000, recorder.bytes_at_begin, None, None)]
    points += [MemoryPoint(e[2] / 1000, e[6], e[0], lines[e[3]]) for e in raw]
    return points


def events_of(recorder: Recorder, raw: Sequence[Any], options: dict[str, Any]) -> EventList:
    """The core's events, ranges, calls of modules, and nodes, as a tree."""
    now = recorder.core.now()
    tracker = recorder.tracker
    events = []
    for r in recorder.ranges:
        event = FunctionEvent(r.name, "range", r.begin, r.end if r.end >= 0 else now)
        event.args = r.args
        events.append(event)
    for call in () if tracker is None else tracker.calls:
        end = now if call.ended is None else call.ended
        if end >= recorder.begin:
            begin = max(call.began, recorder.begin)
            events.append(FunctionEvent(call.path, "module", begin, end))
    names: dict[int, str] = {}
    lines = _Lines()
    ops = []
    held = recorder.bytes_at_begin
    for entry in raw:
        ops.append(_op_event(entry, options, lines))
        ops[-1].self_cpu_memory_usage = entry[6] - held
        held = entry[6]
        if entry[7] is not None:
            names[entry[7][0]] = entry[7][1].removeprefix("torch::autograd::")
    # Of two that begin at once the longer is the outer one. The core notes inner ops first.
    events += reversed(ops)
    events.sort(key=lambda e: (e.begin, -e.end))
    found = EventList(**options)
    todo: list[tuple[FunctionEvent, str | None]] = [
        (root, None) for root in reversed(_with_nodes(_nest(events), None, names))
    ]
    while todo:
        event, module = todo.pop()
        event.id = len(found)
        if event.kind == "module":
            module = event.name
        event.module = module
        if tracker is not None and event.node is not None:
            event.module = tracker.path_of(event.node) or module
        found.append(event)
        if event.kind in ("range", "module"):
            event.cpu_children = _with_nodes(event.cpu_children, event, names)
        todo.extend((child, module) for child in reversed(event.cpu_children))
    for event in reversed(found):
        if event.flops:
            _forget_flops(event)
        event.cpu_memory_usage = event.self_cpu_memory_usage + sum(
            child.cpu_memory_usage for child in event.cpu_children
        )
    return found


def _op_event(entry: Any, options: dict[str, Any], lines: _Lines) -> FunctionEvent:
    name, begin, end, site, inputs, outputs, _, node = entry
    event = FunctionEvent(name, "op", begin, end)
    event.call_line = event.line = lines[site]
    if node is not None:
        event.node = node[0]
        event.line = lines[node[2]] or event.line
    if options["record_shapes"]:
        event.input_shapes = [list(shape) for shape, _ in inputs]
        event.input_types = [str(dtype).removeprefix("rustgrad.") for _, dtype in inputs]
        event.output_shapes = [list(shape) for shape, _ in outputs]
    if options["with_stack"] and event.line:
        event.stack = [event.line]
    if options["with_flops"]:
        event.flops = flops_of(entry, flop_registry) or 0
    return event


def _nest(events: Iterable[FunctionEvent]) -> list[FunctionEvent]:
    """Makes events, sorted by begin, children of those that contain them; returns the others."""
    roots: list[FunctionEvent] = []
    open_: list[FunctionEvent] = []
    for event in events:
        while open_ and open_[-1].end < event.end:
            open_.pop()
        if open_:
            event.cpu_parent = open_[-1]
            open_[-1].cpu_children.append(event)
        else:
            roots.append(event)
        open_.append(event)
    return roots


def _with_nodes(
    siblings: list[FunctionEvent], parent: FunctionEvent | None, names: dict[int, str]
) -> list[FunctionEvent]:
    """Puts ops that follow each other and run for the same node into an event for the node."""
    grouped: list[FunctionEvent] = []
    for event in siblings:
        if event.kind != "op" or event.node is None:
            grouped.append(event)
            continue
        last = grouped[-1] if grouped else None
        if last is None or last.kind != "node" or last.node != event.node:
            last = FunctionEvent(names[event.node], "node", event.begin, event.end)
            last.node, last.line, last.call_line = event.node, event.line, event.call_line
            last.stack, last.cpu_parent = event.stack, parent
            grouped.append(last)
        event.cpu_parent = last
        last.cpu_children.append(event)
        last.end = max(last.end, event.end)
    return grouped


def _forget_flops(event: FunctionEvent) -> None:
    """An op with a formula counts for all that ran within it."""
    todo = list(event.cpu_children)
    while todo:
        inner = todo.pop()
        inner.flops = 0
        todo.extend(inner.cpu_children)
