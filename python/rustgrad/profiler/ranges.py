"""Ranges of a program that have a name, and what notes them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from rustgrad import _C, memory
from rustgrad.utils.module_tracker import ModuleTracker

__all__ = ["Range", "Recorder", "record_function"]

_F = TypeVar("_F", bound=Callable[..., Any])


class Range:
    """A range, in nanoseconds of the recorder's clock. ``end`` is -1 while it is open."""

    __slots__ = ("name", "begin", "end", "args")

    def __init__(self, name: str, begin: int, args: str | None = None) -> None:
        self.name, self.begin, self.end, self.args = name, begin, -1, args


class _Active(threading.local):
    """What records on this thread, the first one first."""

    recorders: tuple[Recorder, ...] = ()


_active = _Active()


class Recorder:
    """Notes the ops and ranges of one thread.

    Args:
        with_modules: also note calls of modules.
    """

    def __init__(self, with_modules: bool) -> None:
        self.core = _C.Profiler()
        self.ranges: list[Range] = []
        self.tracker = ModuleTracker(notice=self.core.now) if with_modules else None
        # Steps of optimisers that have begun.
        self._steps: list[tuple[Any, Range]] = []
        self._handles: list[Any] = []
        self._thread = threading.get_ident()
        self.begin = 0
        self.bytes_at_begin = 0

    def start(self) -> None:
        """Begins."""
        if self.tracker is not None:
            self.tracker.__enter__()
        from rustgrad.optim import optimizer as optimisers

        self._handles = [
            optimisers.register_optimizer_step_pre_hook(self._begin_step),
            optimisers.register_optimizer_step_post_hook(self._end_step),
        ]
        _active.recorders += (self,)
        self.core.push()
        self.reset()

    def stop(self) -> None:
        """Ends.

        Raises:
            RuntimeError: it began on another thread.
        """
        if threading.get_ident() != self._thread:
            raise RuntimeError(
                "[profile] it was started on another thread; stop it on that, since it notes that "
                "thread's ops"
            )
        end = self.core.now()
        self.core.remove()
        _active.recorders = tuple(r for r in _active.recorders if r is not self)
        if self.tracker is not None:
            self.tracker.__exit__()
        for handle in self._handles:
            handle.remove()
        for _, r in self._steps:
            self.ranges.remove(r)
        for r in self.ranges:
            if r.end < 0:
                r.end = end

    def reset(self) -> None:
        """Forgets what was noted so far, but for ranges that are open."""
        self.core.take()
        self.begin = self.core.now()
        self.bytes_at_begin = memory.allocated()
        self.ranges = [r for r in self.ranges if r.end < 0]
        for r in self.ranges:
            r.begin = self.begin
        if self.tracker is not None and self.tracker.running is None:
            self.tracker.calls.clear()

    def open(self, name: str, args: str | None = None) -> Range:
        """Begins a range."""
        r = Range(name, self.core.now(), args)
        self.ranges.append(r)
        return r

    def close(self, r: Range) -> None:
        """Ends a range, unless it has ended."""
        if r.end < 0:
            r.end = self.core.now()

    def _begin_step(self, optimiser: Any, *_: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        for entry in self._steps:
            if entry[0] is optimiser:
                # That step raised, so its end was not noted.
                self._steps.remove(entry)
                self.ranges.remove(entry[1])
                break
        name = type(optimiser).__name__
        self._steps.append((optimiser, self.open(f"Optimizer.step#{name}.step")))

    def _end_step(self, optimiser: Any, *_: Any) -> None:
        if self._steps and self._steps[-1][0] is optimiser:
            self.close(self._steps.pop()[1])


class record_function:
    """A range of the program that has a name in profiles: a context manager, or a decorator.

    Ranges nest. Where nothing is profiled it does nothing.

    Args:
        name: what the range is called.
        args: any text, shown in traces.

    Raises:
        TypeError: the name is no text.
        RuntimeError: a range is left that was not entered.

    >>> import rustgrad as rg
    >>> @rg.profiler.record_function("my step")
    ... def step(x):
    ...     with rg.profiler.record_function("inner"):
    ...         return x * 2
    >>> x = rg.ones(2)
    >>> with rg.profiler.profile() as prof:
    ...     _ = step(x)
    >>> [event.name for event in prof.events()]
    ['my step', 'inner', 'mul']
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        if not isinstance(name, str):
            raise TypeError(f"[record_function] name must be a str, not a {type(name).__name__}")
        self.name = name
        self.args = args
        self._entered: list[list[tuple[Recorder, Range]]] = []

    def __enter__(self) -> record_function:
        self._entered.append([(r, r.open(self.name, self.args)) for r in _active.recorders])
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._entered:
            raise RuntimeError(f"[record_function] the range {self.name!r} was not entered")
        for recorder, entered in self._entered.pop():
            recorder.close(entered)

    def __call__(self, function: _F) -> _F:
        name, args = self.name, self.args

        @functools.wraps(function)
        def run(*positional: Any, **keywords: Any) -> Any:
            with record_function(name, args):
                return function(*positional, **keywords)

        return run  # type: ignore[return-value]
