"""The older names of :mod:`rustgrad.profiler`."""

from __future__ import annotations

import os
from typing import Any

from rustgrad.profiler import (
    EventList,
    FunctionEvent,
    FunctionEventAvg,
    profile as _profile,
    record_function,
)

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "profile", "record_function"]

_ELSEWHERE = {
    "emit_nvtx": "marks ranges for NVIDIA's tools",
    "emit_itt": "marks ranges for Intel's tools",
    "load_nvprof": "reads files of NVIDIA's tools",
    "parse_nvprof_trace": "reads files of NVIDIA's tools",
    "KinetoStepTracker": "counts the steps of another profiler",
}


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        raise AttributeError(
            f"[autograd.profiler] there is no {name}, which {_ELSEWHERE[name]}: use "
            "rustgrad.profiler.profile, whose traces open in chrome://tracing and Perfetto"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class profile:
    """:class:`rustgrad.profiler.profile` with the arguments it once had.

    Args:
        enabled: if false, nothing is noted.
        use_cuda: must be false: ops run on the CPU.
        use_device: must be ``None`` or ``"cpu"``.
        record_shapes: as there; ``with_flops``, ``profile_memory``, ``with_stack``,
            ``with_modules`` and ``acc_events`` too.
        use_kineto: accepted; there is one implementation.
        use_cpu: must be true.

    Raises:
        ValueError: another device than the CPU is asked for.

    >>> import rustgrad as rg
    >>> with rg.autograd.profiler.profile() as prof:
    ...     _ = rg.ones(2).exp()
    >>> [(event.key, event.count) for event in prof.key_averages()]
    [('ones', 1), ('exp', 1)]
    """

    def __init__(
        self,
        enabled: bool = True,
        *,
        use_cuda: bool = False,
        use_device: str | None = None,
        record_shapes: bool = False,
        with_flops: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_modules: bool = False,
        use_kineto: bool = False,
        use_cpu: bool = True,
        acc_events: bool = False,
    ) -> None:
        if use_cuda or not use_cpu or use_device not in (None, "cpu"):
            raise ValueError(
                f"[profile] use_cuda={use_cuda}, use_device={use_device!r}, use_cpu={use_cpu}: ops "
                "run on the CPU; leave these arguments out"
            )
        self.enabled = enabled
        self._profile = _profile(
            record_shapes=record_shapes,
            with_flops=with_flops,
            profile_memory=profile_memory,
            with_stack=with_stack,
            with_modules=with_modules,
            acc_events=acc_events,
        )

    def __enter__(self) -> profile | None:
        if not self.enabled:
            return None
        self._profile.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.enabled:
            self._profile.stop()

    @property
    def function_events(self) -> EventList:
        """The events.

        Raises:
            RuntimeError: nothing has been recorded.
        """
        if not self.enabled:
            raise RuntimeError("[profile] nothing has been recorded, because of enabled=False")
        return self._profile.events()

    @property
    def self_cpu_time_total(self) -> float:
        """The sum of the times that events took themselves, in microseconds."""
        return self.function_events.self_cpu_time_total

    def key_averages(
        self,
        group_by_input_shape: bool = False,
        group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
    ) -> EventList:
        """As :meth:`rustgrad.profiler.profile.key_averages`."""
        return self.function_events.key_averages(group_by_input_shape, group_by_stack_n)

    def total_average(self) -> FunctionEventAvg:
        """The sum of all events."""
        return self.function_events.total_average()

    def table(self, *args: Any, **kwargs: Any) -> str:
        """As :meth:`rustgrad.profiler.EventList.table`."""
        return self.function_events.table(*args, **kwargs)

    def export_chrome_trace(self, path: str | os.PathLike) -> None:
        """As :meth:`rustgrad.profiler.profile.export_chrome_trace`."""
        self._profile.export_chrome_trace(path)

    def export_stacks(self, path: str | os.PathLike, metric: str = "self_cpu_time_total") -> None:
        """As :meth:`rustgrad.profiler.profile.export_stacks`."""
        self._profile.export_stacks(path, metric)

    def __str__(self) -> str:
        if self._profile._events is None:
            return f"<unfinished {__name__}.profile>"
        return str(self.function_events)
