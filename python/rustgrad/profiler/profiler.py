"""Profiles: what is noted when, and what becomes of it."""

from __future__ import annotations

import enum
import os
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from .events import EventList, MemoryPoint
from .ranges import Range, Recorder
from .tree import events_of, memory_of

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "profile",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


class ProfilerActivity(enum.Enum):
    """Where ops run."""

    CPU = 0
    XPU = 1
    CUDA = 2
    MTIA = 3
    HPU = 4
    PrivateUse1 = 5


class ProfilerAction(enum.Enum):
    """What a profile does in a step."""

    #: Nothing.
    NONE = 0
    #: It notes ops and forgets them.
    WARMUP = 1
    #: It notes ops.
    RECORD = 2
    #: It notes ops, and hands them to ``on_trace_ready`` at the end of the step.
    RECORD_AND_SAVE = 3


_RECORDING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


def supported_activities() -> set[ProfilerActivity]:
    """The activities that can be profiled.

    >>> supported_activities()
    {<ProfilerActivity.CPU: 0>}
    """
    return {ProfilerActivity.CPU}


def schedule(
    *,
    wait: int,
    warmup: int,
    active: int,
    repeat: int = 0,
    skip_first: int = 0,
    skip_first_wait: int = 0,
) -> Callable[[int], ProfilerAction]:
    """What a profile does in each step: cycles of waiting, warming up, and recording.

    Args:
        wait: steps at the beginning of a cycle that are not noted.
        warmup: steps after those whose notes are thrown away.
        active: steps after those that are recorded.
        repeat: how many cycles there are; 0: as many as there are steps for.
        skip_first: steps before the first cycle.
        skip_first_wait: if not 0, the first cycle does not wait.

    Returns:
        A function from the number of a step to its :class:`ProfilerAction`.

    Raises:
        ValueError: a number is negative, or ``active`` is 0.

    >>> plan = schedule(wait=1, warmup=1, active=2, repeat=1)
    >>> [plan(step).name for step in range(5)]
    ['NONE', 'WARMUP', 'RECORD', 'RECORD_AND_SAVE', 'NONE']
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active < 1:
        raise ValueError(
            "[schedule] wait, warmup, repeat and skip_first must not be negative, and active must "
            f"be positive, but got wait={wait}, warmup={warmup}, active={active}, "
            f"repeat={repeat}, skip_first={skip_first}"
        )
    cycle = wait + warmup + active

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise ValueError(f"[schedule] the number of a step must not be negative: {step}")
        step -= skip_first
        if step < 0:
            return ProfilerAction.NONE
        if skip_first_wait:
            step += wait
        if repeat and step >= repeat * cycle:
            return ProfilerAction.NONE
        step %= cycle
        if step < wait:
            return ProfilerAction.NONE
        if step < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if step < cycle - 1 else ProfilerAction.RECORD_AND_SAVE

    return action


def tensorboard_trace_handler(
    dir_name: str | os.PathLike, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[profile], None]:
    """For ``on_trace_ready``: writes each trace to a file of its own in a folder.

    Args:
        dir_name: the folder, which is made if need be.
        worker_name: the beginning of the files' names; the default is host and process.
        use_gzip: compress the files.

    >>> import tempfile
    >>> import rustgrad as rg
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     handler = tensorboard_trace_handler(folder, "worker")
    ...     with rg.profiler.profile(on_trace_ready=handler):
    ...         _ = rg.ones(2)
    ...     os.listdir(folder)  # doctest: +ELLIPSIS
    ['worker....pt.trace.json']
    """
    import socket

    def handler(prof: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        suffix = ".pt.trace.json" + (".gz" if use_gzip else "")
        name = f"{worker}.{time.time_ns()}{suffix}"
        prof.export_chrome_trace(os.path.join(dir_name, name))

    return handler


class profile:
    """While it is entered, notes each op that runs on this thread, in forward and backward.

    Ops that are made of others show as those. The times of ops are exact to some hundred
    nanoseconds, which noting costs; ranges and totals contain that.

    Args:
        activities: must contain something; ops run on the CPU, and others are warned of.
        schedule: a function from the number of a step to a :class:`ProfilerAction`, such as
            :func:`schedule` returns. The program then calls :meth:`step` at the end of each step.
            Without it everything is recorded.
        on_trace_ready: called with the profile whenever a part that was to be recorded has ended.
        record_shapes: show the shapes of ops' inputs.
        profile_memory: show how much memory ops took: bytes that tensors hold when the op ends,
            less those when the op before it ended. So what is freed between two ops counts for
            the second of them.
        with_stack: show the line of the program that called each op; in a backward the line whose
            op is differentiated.
        with_flops: show floating-point operations, by the formulas of
            :mod:`rustgrad.utils.flop_counter`.
        with_modules: also note calls of modules, and which module an op belongs to.
        acc_events: keep the events of all cycles of a schedule, not only of the last one.

    Raises:
        ValueError: ``activities`` is empty.
        TypeError: an activity is none, or ``schedule`` or ``on_trace_ready`` cannot be called.

    Profiles nest like any block: what watches ops (a memory budget, another profile) and was
    entered after :meth:`start` must be left before :meth:`stop`.

    >>> import rustgrad as rg
    >>> with rg.profiler.profile(record_shapes=True) as prof:
    ...     _ = rg.ones(2, 3) @ rg.ones(3, 4)
    >>> (event,) = [event for event in prof.events() if event.name == "mm"]
    >>> event.input_shapes
    [[2, 3], [3, 4]]
    """

    def __init__(
        self,
        activities: Iterable[ProfilerActivity] | None = None,
        *,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        acc_events: bool = False,
    ) -> None:
        activities = None if activities is None else list(activities)
        if activities == []:
            raise ValueError("[profile] activities is empty: leave it out, or give the CPU's")
        for name, function in (("schedule", schedule), ("on_trace_ready", on_trace_ready)):
            if function is not None and not callable(function):
                raise TypeError(f"[profile] {name} cannot be called: a {type(function).__name__}")
        for activity in activities or ():
            if not isinstance(activity, ProfilerActivity):
                raise TypeError(
                    "[profile] activities must be of ProfilerActivity, but one is a "
                    f"{type(activity).__name__}"
                )
            if activity is not ProfilerActivity.CPU:
                warnings.warn(
                    f"{activity.name} is not available: only the CPU's ops are profiled",
                    stacklevel=2,
                )
        self.schedule = schedule
        self.on_trace_ready = on_trace_ready
        self.record_shapes = record_shapes
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.with_flops = with_flops
        self.with_modules = with_modules
        self.acc_events = acc_events
        self.step_num = 0
        self.current_action = ProfilerAction.NONE
        self._recorder: Recorder | None = None
        self._step: Range | None = None
        self._events: EventList | None = None
        self._memory: list[MemoryPoint] = []
        self._metadata: dict[str, Any] = {}

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begins, with the action of the current step.

        Raises:
            RuntimeError: it has begun.
        """
        if self._recorder is not None:
            raise RuntimeError("[profile.start] it has been started; stop() it first")
        recorder = Recorder(self.with_modules)
        self.current_action = self._planned()
        recorder.start()
        self._recorder = recorder
        self._begin_step()

    def stop(self) -> None:
        """Ends. What was being recorded goes to ``on_trace_ready``.

        Raises:
            RuntimeError: it has not begun, or began on another thread.
        """
        recorder = self._recorder
        if recorder is None:
            raise RuntimeError("[profile.stop] it has not been started")
        recorder.stop()
        self._recorder = None
        recording = self.current_action in _RECORDING
        if recording:
            self._collect(recorder)
        self.current_action = ProfilerAction.NONE
        if recording and self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def step(self) -> None:
        """Ends a step, and begins the next one with what the schedule says.

        Raises:
            RuntimeError: it has not begun.
        """
        recorder = self._recorder
        if recorder is None:
            raise RuntimeError("[profile.step] it has not been started")
        if self._step is not None:
            recorder.close(self._step)
        before = self.current_action
        self.step_num += 1
        self.current_action = self._planned()
        saving = before is ProfilerAction.RECORD_AND_SAVE
        ended = before in _RECORDING and (saving or self.current_action not in _RECORDING)
        if ended:
            self._collect(recorder)
            if saving and self.on_trace_ready is not None:
                self.on_trace_ready(self)
        if ended or before not in _RECORDING:
            # The observer stays, since another one may have been entered on top of it.
            recorder.reset()
        self._begin_step()

    def _planned(self) -> ProfilerAction:
        return ProfilerAction.RECORD if self.schedule is None else self.schedule(self.step_num)

    def _begin_step(self) -> None:
        if self.schedule is not None and self._recorder is not None:
            self._step = self._recorder.open(f"ProfilerStep#{self.step_num}")

    def _collect(self, recorder: Recorder) -> None:
        raw = recorder.core.take()
        options = {
            name: getattr(self, name)
            for name in ("record_shapes", "profile_memory", "with_stack", "with_flops")
        }
        events = events_of(recorder, raw, options)
        points = memory_of(recorder, raw)
        if self.acc_events and self._events is not None:
            self._events.extend(events)
            self._memory += points
        else:
            self._events, self._memory = events, points

    def events(self) -> EventList:
        """Each op, range, module call, and node of the backward, in the order in which they began.

        Raises:
            RuntimeError: nothing has been recorded yet.
        """
        if self._events is None:
            raise RuntimeError(
                "[profile] nothing has been recorded: leave the profile (or stop() it) first; with "
                "a schedule, run as many steps as it needs"
            )
        return self._events

    def key_averages(
        self,
        group_by_input_shape: bool = False,
        group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
    ) -> EventList:
        """Sums of the events of each name.

        Args:
            group_by_input_shape: other shapes of inputs are another row; needs ``record_shapes``.
            group_by_stack_n: if positive, another line of the program is another row. One line is
                known of each op, whatever the number.
            group_by_overload_name: accepted; overloads of an op have names of their own.

        Raises:
            RuntimeError: nothing has been recorded yet.
            ValueError: ``group_by_input_shape`` without ``record_shapes``.
        """
        return self.events().key_averages(group_by_input_shape, group_by_stack_n)

    def memory_timeline(self) -> list[MemoryPoint]:
        """The bytes that tensors held at the beginning and after each op.

        Raises:
            RuntimeError: nothing has been recorded yet.

        >>> import rustgrad as rg
        >>> with rg.profiler.profile() as prof:
        ...     x = rg.zeros(1024)
        >>> before, after = prof.memory_timeline()
        >>> after.bytes - before.bytes
        4096
        """
        self.events()
        return list(self._memory)

    def export_memory_timeline(self, path: str | os.PathLike, device: str | None = None) -> None:
        """Writes :meth:`memory_timeline` to a file.

        Args:
            path: ends with ``.json``, or ``.json.gz``: lists of equal length, ``times_us``,
                ``bytes``, ``ops`` and ``lines``.
            device: accepted, if it is the CPU.

        Raises:
            ValueError: another ending, or another device.
            RuntimeError: nothing has been recorded yet.
            OSError: the file cannot be written.
        """
        if device is not None and str(device).partition(":")[0] != "cpu":
            raise ValueError(f"[export_memory_timeline] tensors are on the CPU, not on {device}")
        if not str(path).endswith((".json", ".json.gz")):
            raise ValueError(
                f"[export_memory_timeline] path must end with .json or .json.gz: {path}; "
                "export_chrome_trace() writes a picture of it"
            )
        from . import trace

        points = self.memory_timeline()
        columns = {
            "times_us": [p.time_us for p in points],
            "bytes": [p.bytes for p in points],
            "ops": [p.op for p in points],
            "lines": [p.line for p in points],
        }
        trace.write(path, columns)

    def export_chrome_trace(self, path: str | os.PathLike) -> None:
        """Writes a trace for chrome://tracing and Perfetto.

        It has a lane each for ranges and modules, forward, and backward, and the memory that
        tensors hold.

        Args:
            path: a file; compressed if it ends with ``.gz``.

        Raises:
            RuntimeError: nothing has been recorded yet.
            OSError: the file cannot be written.
        """
        from . import trace

        trace.write(path, trace.chrome(self.events(), self._memory, self._metadata))

    def export_stacks(self, path: str | os.PathLike, metric: str = "self_cpu_time_total") -> None:
        """Writes ``range;...;line;op microseconds`` lines, from which flame graphs are drawn.

        Args:
            path: a file.
            metric: ``"self_cpu_time_total"``; there is no other device.

        Raises:
            RuntimeError: nothing has been recorded yet.
            ValueError: another ``metric``.
            OSError: the file cannot be written.
        """
        self.events().export_stacks(path, metric)

    def add_metadata(self, key: str, value: str) -> None:
        """Adds text to the traces that are written from now on."""
        self._metadata[key] = value

    def add_metadata_json(self, key: str, value: str) -> None:
        """Adds a value, given as JSON, to the traces that are written from now on.

        Raises:
            ValueError: it is not JSON.
        """
        import json

        self._metadata[key] = json.loads(value)
