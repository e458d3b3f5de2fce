"""Where time and memory go: by op, line, range of the program, and module.

>>> import rustgrad as rg
>>> from rustgrad.profiler import profile, record_function
>>> x = rg.randn(64, 64, requires_grad=True)
>>> with profile(profile_memory=True, with_flops=True) as prof:
...     with record_function("forward"):
...         loss = (x @ x).sum()
...     loss.backward()
>>> print(prof.key_averages().table(sort_by="self_cpu_time_total"))  # doctest: +ELLIPSIS
Name ...
>>> prof.export_chrome_trace("out/trace.json")  # doctest: +SKIP
"""

from .events import EventList, FunctionEvent, FunctionEventAvg, MemoryPoint
from .profiler import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)
from .ranges import record_function

__all__ = [
    "EventList",
    "FunctionEvent",
    "FunctionEventAvg",
    "MemoryPoint",
    "ProfilerAction",
    "ProfilerActivity",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]
