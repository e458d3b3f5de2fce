"""Events, and sums of events."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from rustgrad.utils._text import share_text, size_text, text_table, time_text

__all__ = [
    "EventList",
    "FunctionEvent",
    "FunctionEventAvg",
    "MemoryPoint",
]


class MemoryPoint(NamedTuple):
    """The bytes that tensors held at a time."""

    #: Microseconds since the profile began.
    time_us: float
    bytes: int
    #: The op that had just ended; ``None`` at the beginning.
    op: str | None
    #: The line of the program that called it.
    line: str | None


class Interval(NamedTuple):
    """Begin and end, in microseconds since the profile began."""

    start: float
    end: float

    def elapsed_us(self) -> float:
        """How long it is."""
        return self.end - self.start


class _Measured:
    """What single events and sums of events have in common. Times are in microseconds."""

    __slots__ = ()
    count: int

    @property
    def cpu_time_total(self) -> float:
        """How long it took; of several, the time in which at least one ran."""
        raise NotImplementedError

    @property
    def self_cpu_time_total(self) -> float:
        """How long it took itself, without what ran within it."""
        raise NotImplementedError

    @property
    def cpu_time(self) -> float:
        """Mean time of a call."""
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def cpu_time_total_str(self) -> str:
        """The time as text."""
        return time_text(self.cpu_time_total)

    @property
    def cpu_time_str(self) -> str:
        """The mean time as text."""
        return time_text(self.cpu_time)

    @property
    def self_cpu_time_total_str(self) -> str:
        """The time without that of what ran within, as text."""
        return time_text(self.self_cpu_time_total)


class FunctionEvent(_Measured):
    """An op that ran, a range, a call of a module, or a node of the backward.

    A node's event goes from the beginning of the first of its ops to the end of the last, and has
    the node's name: ``MulBackward0``.

    Attributes:
        name: what it is called; ``key`` is the same.
        kind: ``"op"``, ``"range"``, ``"module"`` or ``"node"``.
        begin: nanoseconds since the profile began; ``end`` likewise.
        input_shapes: of each tensor input, if ``record_shapes`` is set, else empty.
        input_types: likewise.
        output_shapes: likewise.
        line: ``file:line`` of the program that called the op; in a backward, of the op that is
            differentiated.
        call_line: ``file:line`` of the call that was running: that of ``backward()``, say.
        node: in a backward, the number of the node in the order of recording, else ``None``.
        module: the module it belongs to, if ``with_modules`` is set.
        flops: floating-point operations; 0 if ``with_flops`` is not set or they are not counted.
        self_cpu_memory_usage: bytes that tensors hold more than when the op before it ended.
        cpu_memory_usage: the same, with those of what ran within it.
        cpu_parent: what it ran within; ``cpu_children`` what ran within it.
    """

    __slots__ = (
        "id", "name", "kind", "begin", "end", "input_shapes", "input_types", "output_shapes",
        "line", "call_line", "node", "module", "flops", "self_cpu_memory_usage",
        "cpu_memory_usage", "cpu_parent", "cpu_children", "args", "stack",
    )  # fmt: skip

    count = 1

    def __init__(self, name: str, kind: str, begin: int, end: int) -> None:
        self.id = -1
        self.name, self.kind, self.begin, self.end = name, kind, begin, end
        self.input_shapes: list[list[int]] = []
        self.input_types: list[str] = []
        self.output_shapes: list[list[int]] = []
        self.line: str | None = None
        self.call_line: str | None = None
        self.node: int | None = None
        self.module: str | None = None
        self.flops = 0
        self.self_cpu_memory_usage = self.cpu_memory_usage = 0
        self.cpu_parent: FunctionEvent | None = None
        self.cpu_children: list[FunctionEvent] = []
        self.args: str | None = None
        self.stack: list[str] = []

    @property
    def key(self) -> str:
        """The name."""
        return self.name

    @property
    def time_range(self) -> Interval:
        """When it ran."""
        return Interval(self.begin / 1000, self.end / 1000)

    @property
    def cpu_time_total(self) -> float:
        """How long it took."""
        return (self.end - self.begin) / 1000

    @property
    def self_cpu_time_total(self) -> float:
        """The same, without what ran within it."""
        return self.self_nanoseconds / 1000

    @property
    def self_nanoseconds(self) -> int:
        """The same, in nanoseconds."""
        return self.end - self.begin - sum(c.end - c.begin for c in self.cpu_children)

    @property
    def sequence_nr(self) -> int:
        """The number of the node whose backward it is, or -1."""
        return -1 if self.node is None else self.node

    @property
    def is_user_annotation(self) -> bool:
        """Whether it is a range."""
        return self.kind == "range"

    def __repr__(self) -> str:
        at = f" at {self.line}" if self.line else ""
        return f"<{self.kind} {self.name}: {self.cpu_time_total_str}{at}>"


class FunctionEventAvg(_Measured):
    """The sum of the events of one name.

    Attributes:
        key: the name.
        count: how many events there were.
        cpu_time_total: microseconds; an event within another one of the same name counts once.
        self_cpu_time_total: microseconds, without what ran within.
        input_shapes: of the first event.
        line: of the first event.
        lines: how many different lines the events have.
    """

    def __init__(self, first: FunctionEvent) -> None:
        self.key = first.name
        self.kind = first.kind
        self.input_shapes = first.input_shapes
        self.line = first.line
        self.stack = first.stack
        self.count = 0
        self._nanoseconds = self._self_nanoseconds = 0
        self.cpu_memory_usage = self.self_cpu_memory_usage = 0
        self.flops = 0
        self._lines: set[str | None] = set()

    @property
    def name(self) -> str:
        """The key."""
        return self.key

    @property
    def cpu_time_total(self) -> float:
        """How long the events took."""
        return self._nanoseconds / 1000

    @property
    def self_cpu_time_total(self) -> float:
        """How long they took themselves."""
        return self._self_nanoseconds / 1000

    @property
    def lines(self) -> int:
        """How many different lines of the program the events belong to."""
        return len(self._lines)

    @property
    def is_user_annotation(self) -> bool:
        """Whether the events are ranges."""
        return self.kind == "range"

    def add(self, event: FunctionEvent, outermost: bool) -> None:
        """Adds an event, and its whole time if it is ``outermost``."""
        self.count += 1
        self._self_nanoseconds += event.self_nanoseconds
        self.self_cpu_memory_usage += event.self_cpu_memory_usage
        self.flops += event.flops
        self._lines.add(event.line)
        if outermost:
            self._nanoseconds += event.end - event.begin
            self.cpu_memory_usage += event.cpu_memory_usage

    def __repr__(self) -> str:
        return (
            f"<FunctionEventAvg {self.key}: {self.count} calls, self "
            f"{self.self_cpu_time_total_str}, total {self.cpu_time_total_str}>"
        )


_SORT_KEYS = (
    "count",
    "cpu_memory_usage",
    "cpu_time",
    "cpu_time_total",
    "flops",
    "self_cpu_memory_usage",
    "self_cpu_time_total",
)


class EventList(list):
    """A list of events, or of sums of events.

    Attributes:
        record_shapes: as the profile's; ``profile_memory``, ``with_stack``, ``with_flops`` too.

    >>> import rustgrad as rg
    >>> with rg.profiler.profile() as prof:
    ...     _ = rg.ones(2) + rg.ones(2)
    >>> events = prof.events()
    >>> [event.name for event in events]
    ['ones', 'ones', 'add']
    >>> [(row.key, row.count) for row in events.key_averages()]
    [('ones', 2), ('add', 1)]
    """

    def __init__(
        self,
        events: Iterable[Any] = (),
        *,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
    ) -> None:
        super().__init__(events)
        self.record_shapes = record_shapes
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.with_flops = with_flops
        self._by_shape = self._by_line = False

    def _like(self, events: Iterable[Any]) -> EventList:
        return EventList(
            events,
            record_shapes=self.record_shapes,
            profile_memory=self.profile_memory,
            with_stack=self.with_stack,
            with_flops=self.with_flops,
        )

    @property
    def self_cpu_time_total(self) -> float:
        """The sum of the times that events took themselves, in microseconds."""
        return sum(event.self_cpu_time_total for event in self)

    def key_averages(
        self,
        group_by_input_shape: bool = False,
        group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
    ) -> EventList:
        """As :meth:`profile.key_averages`."""
        if group_by_input_shape and not self.record_shapes:
            raise ValueError(
                "[key_averages] group_by_input_shape=True needs a profile with record_shapes=True"
            )
        self._check_single("key_averages")
        by_line = group_by_stack_n > 0
        sums: dict[Any, FunctionEventAvg] = {}
        for event in self:
            shapes = str(event.input_shapes) if group_by_input_shape else None
            key = (event.name, event.kind, shapes, event.line if by_line else None)
            if key not in sums:
                sums[key] = FunctionEventAvg(event)
            outer = event.cpu_parent
            while outer is not None and (outer.name, outer.kind) != key[:2]:
                outer = outer.cpu_parent
            sums[key].add(event, outermost=outer is None)
        averages = self._like(sums.values())
        averages._by_shape, averages._by_line = group_by_input_shape, by_line
        return averages

    def total_average(self) -> FunctionEventAvg:
        """The sum of all events, called ``Total``.

        Raises:
            RuntimeError: these are sums already.
        """
        self._check_single("total_average")
        total = FunctionEventAvg(FunctionEvent("Total", "op", 0, 0))
        for event in self:
            total.add(event, outermost=event.cpu_parent is None)
        return total

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int = 75,
        max_name_column_width: int = 55,
        max_shapes_column_width: int = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
        time_unit: str | None = None,
    ) -> str:
        """A table of text.

        Args:
            sort_by: ``"self_cpu_time_total"``, ``"cpu_time_total"``, ``"cpu_time"``, ``"count"``,
                ``"self_cpu_memory_usage"``, ``"cpu_memory_usage"`` or ``"flops"``, the largest
                first; the default is the order of the list.
            row_limit: so many rows at most; -1: all.
            max_src_column_width: the widths of columns, beyond which text is cut.
            max_name_column_width: likewise.
            max_shapes_column_width: likewise.
            header: a line above the table.
            top_level_events_only: leave out what ran within something else.
            time_unit: ``"s"``, ``"ms"`` or ``"us"``; by default what suits each time.

        Raises:
            ValueError: another ``sort_by`` or ``time_unit``.
        """
        if sort_by is not None and sort_by not in _SORT_KEYS:
            raise ValueError(
                f"[table] cannot sort by {sort_by!r}, but by one of {', '.join(_SORT_KEYS)}"
                + (": ops run on the CPU" if "cuda" in sort_by or "device" in sort_by else "")
            )
        if time_unit not in (None, "s", "ms", "us"):
            raise ValueError(f"[table] time_unit must be 's', 'ms' or 'us', not {time_unit!r}")
        rows = list(self)
        if top_level_events_only:
            rows = [e for e in rows if getattr(e, "cpu_parent", None) is None]
        if sort_by is not None:
            rows.sort(key=lambda e: getattr(e, sort_by), reverse=True)
        whole = self.self_cpu_time_total
        columns: list[tuple[str, Callable[[Any], str]]] = [
            ("Name", lambda e: _cut(e.key, max_name_column_width)),
            ("Self CPU %", lambda e: share_text(e.self_cpu_time_total, whole)),
            ("Self CPU", lambda e: time_text(e.self_cpu_time_total, time_unit)),
            ("CPU total %", lambda e: share_text(e.cpu_time_total, whole)),
            ("CPU total", lambda e: time_text(e.cpu_time_total, time_unit)),
            ("CPU time avg", lambda e: time_text(e.cpu_time, time_unit)),
        ]
        if self.profile_memory:
            columns += [
                ("CPU Mem", lambda e: size_text(e.cpu_memory_usage)),
                ("Self CPU Mem", lambda e: size_text(e.self_cpu_memory_usage)),
            ]
        columns.append(("# of Calls", lambda e: str(e.count)))
        if self.with_flops:
            columns.append(("Total FLOPs", lambda e: flops_text(e.flops)))
        if self._by_shape or (self.record_shapes and rows and isinstance(rows[0], FunctionEvent)):
            width = max_shapes_column_width
            columns.append(("Input Shapes", lambda e: _cut(str(e.input_shapes), width)))
        if self.with_stack or self._by_line:
            columns.append(("Source Location", lambda e: _place(e, max_src_column_width)))
        shown = rows if row_limit < 0 else rows[:row_limit]
        text = text_table(
            [title for title, _ in columns], [[cell(e) for _, cell in columns] for e in shown]
        )
        end = f"Self CPU time total: {time_text(whole, time_unit)}"
        return "\n".join([*([header] if header else []), text, end])

    def __str__(self) -> str:
        return self.table()

    def export_chrome_trace(self, path: str | os.PathLike) -> None:
        """As :meth:`profile.export_chrome_trace`, without the memory.

        Raises:
            RuntimeError: these are sums, which have no times.
        """
        from . import trace

        self._check_single("export_chrome_trace")
        trace.write(path, trace.chrome(self, (), {}))

    def export_stacks(self, path: str | os.PathLike, metric: str = "self_cpu_time_total") -> None:
        """As :meth:`profile.export_stacks`."""
        self._check_single("export_stacks")
        if metric != "self_cpu_time_total":
            raise ValueError(
                f"[export_stacks] metric must be 'self_cpu_time_total', not {metric!r}"
            )
        sums: dict[str, float] = {}
        for event in self:
            frames = [f for f in (event.line, event.name) if f]
            outer = event.cpu_parent
            while outer is not None:
                frames.insert(0, outer.name)
                outer = outer.cpu_parent
            stack = ";".join(f.replace(";", ",").replace(" ", "_") for f in frames)
            sums[stack] = sums.get(stack, 0.0) + event.self_cpu_time_total
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(f"{stack} {round(us)}\n" for stack, us in sums.items() if us >= 0.5)

    def _check_single(self, what: str) -> None:
        if self and not isinstance(self[0], FunctionEvent):
            raise RuntimeError(f"[{what}] these are sums of events; call it on profile.events()")


def flops_text(n: int) -> str:
    """A number of operations as text."""
    if n == 0:
        return "--"
    for size, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if n >= size:
            return f"{n / size:.3f}{unit}"
    return str(n)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width or width < 4 else text[: width - 3] + "..."


def _place(event: Any, width: int) -> str:
    """A line of the program; of long paths the end."""
    text = event.line or ""
    text = text if len(text) <= width or width < 4 else "..." + text[3 - width :]
    more = getattr(event, "lines", 1) - 1
    return f"{text} (+{more} more)" if more else text
