"""Two threads against one: sharing work must not make it slower, whatever the helpers do.

    python benches/python/threads.py [--rounds 15]

Each program runs with one thread and with two, in turns: `hot`, in a loop; `cold`, after ten
milliseconds of rest, in which helpers fall asleep; `busy`, in a loop beside a process that never
rests. The table shows the median of the ratios of time.
"""

import argparse
import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import rustgrad as rg

REST = 0.01
PROGRAMS: dict[str, Callable[[rg.Tensor], object]] = {
    "x * x": lambda x: x * x,
    "exp(x)": rg.exp,
    "sum(x)": rg.sum,
    "softmax of rows of 100": lambda x: rg.nn.functional.softmax(x.view(-1, 100), 1),
    "x @ x.t(), 64 columns": lambda x: x.view(-1, 64)[:256] @ x.view(-1, 64)[:256].t(),
}
SIZES = (10**4, 10**5, 10**6)


def hot(run: Callable[[], object]) -> float:
    """Seconds of a call in a loop of about five milliseconds."""
    start = time.perf_counter()
    run()
    n = max(1, int(0.005 / (time.perf_counter() - start)))
    start = time.perf_counter()
    for _ in range(n):
        run()
    return (time.perf_counter() - start) / n


def cold(run: Callable[[], object]) -> float:
    """Seconds of a call after a rest."""
    time.sleep(REST)
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def ratio(measure: Callable, run: Callable[[], object], rounds: int) -> float:
    """The median of the ratios of two threads to one."""
    found = []
    for _ in range(rounds):
        seconds = []
        for threads in (1, 2):
            rg.set_num_threads(threads)
            seconds.append(measure(run))
        found.append(seconds[1] / seconds[0])
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    columns = {"hot": (hot, False), "cold": (cold, False), "busy": (hot, True)}
    print("| two threads : one | " + " | ".join(columns) + " |")
    print("|---" + "|--:" * len(columns) + "|")
    for name, program in PROGRAMS.items():
        for size in SIZES:
            x = rg.rand(size // 6400 * 6400)
            run = functools.partial(program, x)
            cells = []
            for measure, busy in columns.values():
                neighbour = None
                if busy:
                    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
                try:
                    cells.append(f"{ratio(measure, run, rounds):.2f}")
                finally:
                    if neighbour:
                        neighbour.kill()
            print(f"| `{name}`, {len(x)} elements | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
