"""What it costs to watch a program: call sites, hooks, anomaly checks, guards, memory reports.

``python benches/python/watching.py [--smoke]``

Each pair of variants alternates in one process; a figure is the median of the differences (for
single ops) or of the ratios (for steps), each over many short runs.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import rustgrad as rg
from rustgrad import nn
from rustgrad.autograd import detect_anomaly, graph, guard

Run = Callable[[], None]


def seconds(run: Run, n: int) -> float:
    begin = time.perf_counter()
    for _ in range(n):
        run()
    return (time.perf_counter() - begin) / n


def nanoseconds_more(plain: Run, watched: Run, rounds: int, n: int = 2000) -> float:
    """Median of the differences of two runs that follow each other."""
    pairs = [(seconds(plain, n), seconds(watched, n)) for _ in range(rounds)]
    return 1e9 * statistics.median(w - p for p, w in pairs)


def ratio(plain: Run, watched: Run, rounds: int, n: int) -> float:
    pairs = [(seconds(plain, n), seconds(watched, n)) for _ in range(rounds)]
    return statistics.median(w / p for p, w in pairs)


def ops(rounds: int) -> None:
    x = rg.ones(4, requires_grad=True)
    y = rg.ones(4)

    def record() -> None:
        x * y

    def record_many() -> None:
        for _ in range(100):
            x * y  # noqa: B018

    def toggled(run: Run, n: int, enabled: bool) -> float:
        graph.set_call_sites(enabled)
        try:
            return seconds(run, n)
        finally:
            graph.set_call_sites(True)

    def sites(run: Run, n: int) -> float:
        pairs = [(toggled(run, n, False), toggled(run, n, True)) for _ in range(rounds)]
        return 1e9 * statistics.median(on - off for off, on in pairs)

    print(f"call site of a node                      {sites(record_many, 50) / 100:8.0f} ns")
    print(f"  of the first in a call of a function   {sites(record, 2000):8.0f} ns")

    hooked = rg.ones(4, requires_grad=True)
    handle = hooked.register_hook(lambda grad: None)
    ones = rg.ones(4)

    def backward(leaf: rg.Tensor) -> Run:
        return lambda: (leaf * y).backward(ones)

    set_ = nanoseconds_more(backward(x), backward(hooked), rounds)
    handle.remove()
    left = nanoseconds_more(backward(x), backward(hooked), rounds)
    print(f"a hook that does nothing, in a backward  {set_:8.0f} ns")
    print(f"a hook that was removed                  {left:8.0f} ns")

    def packed() -> None:
        with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            x * y

    blocks = nanoseconds_more(record, packed, rounds)
    print(f"a block of saved_tensors_hooks, one op   {blocks:8.0f} ns")


class Training:
    """A network of linear layers with its optimiser and one batch."""

    def __init__(self, sizes: tuple[int, ...], batch: int) -> None:
        layers: list[nn.Module] = []
        for a, b in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.net = nn.Sequential(*layers[:-1])
        self.optimizer = rg.optim.SGD(self.net.parameters(), lr=1e-3)
        self.x, self.y = rg.randn(batch, sizes[0]), rg.randint(0, sizes[-1], (batch,))

    def loss(self) -> rg.Tensor:
        return nn.functional.cross_entropy(self.net(self.x), self.y)

    def step(self, context: Callable[[], AbstractContextManager] = nullcontext) -> None:
        self.optimizer.zero_grad()
        with context():
            self.loss().backward()
        self.optimizer.step()


WATCHERS: dict[str, Callable[[], AbstractContextManager]] = {
    "detect_anomaly()": detect_anomaly,
    "detect_anomaly(inf=True, forward=True)": lambda: detect_anomaly(inf=True, forward=True),
    "guard()": guard,
}


def steps(rounds: int, smoke: bool) -> None:
    rg.manual_seed(0)
    nets = {
        "64-32-10, batch 32": ((64, 32, 10), 32, 50),
        "784-512-512-10, batch 128": ((784, 512, 512, 10), 128, 3),
        "1024-2048-2048-1024, batch 128": ((1024, 2048, 2048, 1024), 128, 1),
    }
    for title, (sizes, batch, n) in list(nets.items())[: 1 if smoke else None]:
        training = Training(sizes, batch)
        print(f"training step {title}")
        for name, watcher in WATCHERS.items():
            watched = functools.partial(training.step, watcher)
            print(f"  {name:38} x {ratio(training.step, watched, rounds, n):.2f}")
        loss = training.loss()
        report = 1e6 * statistics.median(
            seconds(lambda: graph.memory(loss), 50)  # noqa: B023
            for _ in range(rounds)
        )
        step = 1e6 * statistics.median(seconds(training.step, n) for _ in range(rounds))
        print(f"  memory(loss): {report:.0f} us, {100 * report / step:.2f} % of a step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--smoke", action="store_true", help="few rounds of the smallest")
    options = parser.parse_args()
    rounds = 3 if options.smoke else options.rounds
    ops(rounds)
    steps(rounds, options.smoke)


if __name__ == "__main__":
    main()
