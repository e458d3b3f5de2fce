"""What it costs to profile, to count, and to ask what a graph keeps.

Run as a program: ``python benches/python/profile_cost.py``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import rustgrad as rg
from rustgrad.autograd import graph
from rustgrad.profiler import profile, record_function
from rustgrad.utils.flop_counter import FlopCounterMode

OPS = 2000
ROUNDS = 15


def seconds(run: Callable[[], object]) -> float:
    """How long a call takes."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def alternating(*runs: Callable[[], float], rounds: int = ROUNDS) -> list[float]:
    """The best time of each, measured in turns since the machine's speed varies."""
    best = [float("inf")] * len(runs)
    for _ in range(rounds):
        for i, run in enumerate(runs):
            best[i] = min(best[i], run())
    return best


def small_ops() -> None:
    """Nanoseconds that each op of four elements takes longer."""
    x, y = rg.ones(4), rg.ones(4)
    leaf = rg.ones(4, requires_grad=True)

    def forward() -> None:
        for _ in range(OPS):
            x * y  # noqa: B018

    def both() -> None:
        z = leaf
        for _ in range(OPS // 2):
            z = z * y
        z.sum().backward()

    def ranges() -> None:
        for _ in range(OPS):
            with record_function("range"):
                pass

    def profiled(run: Callable[[], None]) -> Callable[[], float]:
        def timed() -> float:
            prof = profile()
            prof.start()
            time_ = seconds(run)
            prof.stop()
            return time_

        return timed

    def read() -> float:
        prof = profile(record_shapes=True, profile_memory=True, with_stack=True, with_flops=True)
        prof.start()
        forward()
        time_ = seconds(prof.stop)
        return time_ + seconds(prof.key_averages)

    def counted() -> float:
        with FlopCounterMode(display=False):
            return seconds(forward)

    plain, noted, flops, reading = alternating(
        lambda: seconds(forward), profiled(forward), counted, read
    )
    both_plain, both_noted = alternating(lambda: seconds(both), profiled(both))
    range_plain, range_noted = alternating(lambda: seconds(ranges), profiled(ranges))
    unit = 1e9 / OPS
    print(f"x * y: {plain * unit:.0f} ns; profiled {noted * unit:.0f}; counted {flops * unit:.0f}")
    print(f"an op and its backward: {both_plain * 2 * unit:.0f} ns; profiled", end=" ")
    print(f"{both_noted * 2 * unit:.0f}")
    print(f"reading events and averages, per op: {reading * unit:.0f} ns")
    print(f"record_function: {range_plain * unit:.0f} ns; profiled {range_noted * unit:.0f} ns")


def small_network() -> None:
    """What following modules costs, where arithmetic costs nothing."""
    nn = rg.nn
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    x = rg.randn(1, 4)

    def recorded() -> None:
        with graph.record_modules(net):
            net(x)

    plain, noted = alternating(
        lambda: seconds(lambda: net(x)), lambda: seconds(recorded), rounds=300
    )
    print(f"record_modules, 6 modules: {(noted - plain) * 1e6:.0f} us")


def training_step(batch: int) -> None:
    """A step of a network of medium size: how much longer it takes."""
    nn = rg.nn
    net = nn.Sequential(
        nn.Linear(1024, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 1024)
    )
    optimizer = rg.optim.SGD(net.parameters(), lr=1e-3)
    x, y = rg.randn(batch, 1024), rg.randn(batch, 1024)
    report_times: list[float] = []

    def step(ask: bool = False, modules: bool = False) -> None:
        optimizer.zero_grad()
        if modules:
            with graph.record_modules(net) as tracker:
                loss = nn.functional.mse_loss(net(x), y)
        else:
            tracker = None
            loss = nn.functional.mse_loss(net(x), y)
        if ask:
            report_times.append(seconds(lambda: graph.memory(loss, module=tracker, held=(x, y))))
        loss.backward()
        optimizer.step()

    def profiled() -> float:
        prof = profile(with_modules=True)
        prof.start()
        time_ = seconds(step)
        prof.stop()
        return time_

    step()
    plain, full = alternating(lambda: seconds(step), profiled)
    for _ in range(ROUNDS):
        step(ask=True, modules=True)
    report = min(report_times), statistics.median(report_times)
    print(
        f"step of an MLP 1024-2048-2048-1024, batch {batch}: {plain * 1e3:.2f} ms; profiled with "
        f"modules {full * 1e3:.2f} ms\n  memory(loss): {report[0] * 1e6:.0f} us at best, "
        f"{report[1] * 1e6:.0f} us in the middle: {100 * report[0] / plain:.2f} % of the step"
    )


def deep_graph() -> None:
    """The report's time for each node of a long chain."""
    x = rg.ones(4, requires_grad=True)
    z = x
    for _ in range(20_000):
        z = z.sin()
    (best,) = alternating(lambda: seconds(lambda: graph.memory(z)), rounds=5)
    print(f"memory(loss) of 20,000 nodes: {best * 1e3:.0f} ms, {best * 1e6 / 20_000:.1f} us a node")


if __name__ == "__main__":
    small_ops()
    small_network()
    for batch in (16, 256):
        training_step(batch)
    deep_graph()
