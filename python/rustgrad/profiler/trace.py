"""Traces for chrome://tracing and Perfetto, in the Trace Event Format."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .events import FunctionEvent, MemoryPoint

__all__ = ["chrome", "write"]

_LANES = {"ranges": 1, "forward": 2, "backward": 3}


def write(path: str | os.PathLike, data: Any) -> None:
    """Writes data as JSON, compressed if the path ends with ``.gz``."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(data)
    if target.suffix == ".gz":
        target.write_bytes(gzip.compress(text.encode()))
    else:
        target.write_text(text, encoding="utf-8")


def _lane(event: FunctionEvent) -> str:
    if event.kind in ("range", "module"):
        return "ranges"
    return "forward" if event.node is None else "backward"


def chrome(
    events: Sequence[FunctionEvent], memory: Sequence[MemoryPoint], metadata: dict[str, Any]
) -> dict[str, Any]:
    """The trace as plain data."""
    pid = os.getpid()
    entries: list[dict[str, Any]] = [
        {"ph": "M", "pid": pid, "tid": 0, "name": "process_name", "args": {"name": "rustgrad"}}
    ]
    for lane, tid in _LANES.items():
        entries.append(
            {"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": lane}}
        )
        entries.append(
            {
                "ph": "M",
                "pid": pid,
                "tid": tid,
                "name": "thread_sort_index",
                "args": {"sort_index": tid},
            }
        )
    for event in events:
        args: dict[str, Any] = {}
        if event.input_shapes:
            args["Input Dims"] = event.input_shapes
            args["Input type"] = event.input_types
        if event.line:
            args["line"] = event.line
        if event.node is not None:
            args["Sequence number"] = event.node
            args["called at"] = event.call_line
        if event.module:
            args["module"] = event.module
        if event.flops:
            args["FLOPs"] = event.flops
        if event.cpu_memory_usage:
            args["bytes"] = event.cpu_memory_usage
        if event.args:
            args["args"] = event.args
        entries.append(
            {
                "ph": "X",
                "cat": {"op": "cpu_op", "node": "cpu_op"}.get(event.kind, "user_annotation"),
                "name": event.name,
                "pid": pid,
                "tid": _LANES[_lane(event)],
                "ts": event.begin / 1000,
                "dur": (event.end - event.begin) / 1000,
                "args": args,
            }
        )
    for point in memory:
        entries.append(
            {
                "ph": "C",
                "name": "memory",
                "pid": pid,
                "ts": point.time_us,
                "args": {"allocated": point.bytes},
            }
        )
    return {
        "schemaVersion": 1,
        "displayTimeUnit": "ms",
        **metadata,
        "traceEvents": entries,
    }
