"""Time and memory of typical programs, side by side with PyTorch where it is installed.

Every workload runs in processes of its own, one for each engine, which take turns: so both see the
same moods of the machine, and neither one's threads or memory disturb the other. The table shows
medians, the median of the ratios, and the peak of memory beyond what the imported engine takes.

    python benches/python/vs_torch.py [--threads 2] [--busy] [--only REGEX] [--smoke] [--shared]
                                      [--json FILE]
    python benches/python/vs_torch.py --report FILE [FILE ...]

The second form prints the table of one or several runs, from the files they wrote.
"""

import argparse
import contextlib
import importlib
import importlib.util
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from workloads import WORKLOADS

ENGINES = ("rustgrad", "torch")

# Seconds for the other engine's threads to go to sleep: those of OpenMP spin for about 0.01.
PAUSE = 0.03


def status(key: str) -> float:
    """A figure of this process in MB (Linux; 0 elsewhere)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def serve(engine: str, threads: int) -> None:
    """The side of the engine: answers requests from standard input, one JSON object a line."""
    start, before = time.perf_counter(), status("VmRSS")
    lib = importlib.import_module(engine)
    imported = {"seconds": time.perf_counter() - start, "megabytes": status("VmRSS") - before}
    lib.set_num_threads(threads)
    lib.optim.SGD([lib.zeros(1, requires_grad=True)], lr=0.1)  # an engine may put imports off
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    before = status("VmRSS")
    run = None

    def answer(make: str | None = None, seconds: float | None = None) -> dict:
        """Prepares a workload, or times the last one for about so many seconds."""
        nonlocal run
        if make is not None:
            run = None
            run = WORKLOADS[make].make(lib)
            run()
            return {}
        if seconds is None:
            return imported
        time.sleep(PAUSE if seconds else 0)
        start = time.perf_counter()
        run()
        once = time.perf_counter() - start
        n = max(1, int(seconds / max(once, 1e-7)))
        start = time.perf_counter()
        for _ in range(n):
            run()
        spent = (time.perf_counter() - start) / n
        return {"seconds": spent, "megabytes": status("VmHWM") - before}

    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a workload prints is not a reply
    for line in sys.stdin:
        try:
            reply = answer(**json.loads(line))
        except Exception as e:
            reply = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(reply), file=replies, flush=True)


class Engine:
    """The other side: a process that serves."""

    def __init__(self, name: str, threads: int):
        count = str(threads)
        variables = {"OMP_NUM_THREADS": count, "RUSTGRAD_NUM_THREADS": count}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", name, "--threads", count],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables},
        )

    def ask(self, **request: object) -> dict:
        """Sends a request and waits for the answer.

        Raises:
            RuntimeError: what went wrong on the other side.
        """
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with {self.process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


@contextlib.contextmanager
def engines(names: list[str], threads: int) -> Iterator[dict[str, Engine]]:
    """A process for each engine."""
    started = {name: Engine(name, threads) for name in names}
    try:
        yield started
    finally:
        for engine in started.values():
            engine.close()


def measure(
    workload: str, started: dict[str, Engine], rounds: int, seconds: float, alone: bool
) -> dict:
    """Medians of time, the ratio to PyTorch and, in processes that run nothing else, the peaks of
    memory.
    """
    for engine in started.values():
        engine.ask(make=workload)
    times = {name: [] for name in started}
    peaks = {}
    for _ in range(rounds):
        for name, engine in started.items():
            reply = engine.ask(seconds=seconds)
            times[name].append(reply["seconds"] / WORKLOADS[workload].per)
            peaks[name] = reply["megabytes"]
    row = {name: {"seconds": statistics.median(t)} for name, t in times.items()}
    for name in row if alone else ():
        row[name]["megabytes"] = peaks[name]
    if len(times) == 2:
        row["ratio"] = statistics.median(
            a / b for a, b in zip(times["rustgrad"], times["torch"], strict=True)
        )
    return row


def shown(seconds: float) -> str:
    """A time with three digits and its unit."""
    units = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}
    unit = next((u for u, scale in units.items() if seconds * scale >= 1), "ns")
    return f"{seconds * units[unit]:.3g} {unit}"


def limits(threads: int) -> dict[str, float]:
    """What the machine can do: copying floats in so many threads, in GB/s read and written."""
    if not importlib.util.find_spec("numpy"):
        return {}
    import numpy as np

    def copy(share: tuple[np.ndarray, np.ndarray], times: int) -> None:
        for _ in range(times):
            np.copyto(*share)

    found = {}
    with ThreadPoolExecutor(threads) as pool:
        for n in (10**5, 10**6, 10**7):
            x, y = np.zeros(n, "f4"), np.zeros(n, "f4")
            shares = list(zip(np.array_split(y, threads), np.array_split(x, threads), strict=True))
            repeats = 2 * 10**7 // n
            seconds = []
            for _ in range(10):
                start = time.perf_counter()
                list(pool.map(copy, shares, [repeats] * threads))
                seconds.append((time.perf_counter() - start) / repeats)
            found[f"10^{len(str(n)) - 1}"] = 8 * n / min(seconds) / 1e9
    return found


def summary(rows: dict[str, dict]) -> list[str]:
    """What the ratios say together."""
    ratios = {name: row["ratio"] for name, row in rows.items() if "ratio" in row}
    if not ratios:
        return []

    def named(names: list[str]) -> str:
        return "".join(f"; {n} ({ratios[n]:.2f})" for n in names)

    mean = math.exp(statistics.fmean(math.log(r) for r in ratios.values()))
    above = sorted((n for n in ratios if ratios[n] > 1), key=ratios.get, reverse=True)
    lines = [
        f"{len(ratios)} workloads; geometric mean of the ratios {mean:.2f}",
        f"above 1: {len(above)}{named(above)}",
    ]
    peaks = {n: [rows[n][e].get("megabytes") for e in ENGINES] for n in ratios}
    if all(all(p is not None for p in pair) for pair in peaks.values()):
        heavier = [n for n, (ours, theirs) in peaks.items() if ours > theirs + 1]
        lines.append(f"peaks of memory over 1 MB above: {len(heavier)}{named(heavier)}")
    return lines


def setting(run: dict) -> str:
    """How a run was made, in a few words."""
    threads = f"{run['threads']} thread" + "s" * (run["threads"] > 1)
    return threads + ", busy neighbour" * run["busy"]


def report(runs: list[dict]) -> str:
    """The table of all rows, by groups: times and memory of the first run, ratios of all."""
    first = runs[0]["rows"]
    peaks = any("megabytes" in row["rustgrad"] for row in first.values())
    head = ["", "rustgrad", "PyTorch", *(setting(run) for run in runs)]
    head += ["MB", "PyTorch's MB"] * peaks
    lines = []
    for group in dict.fromkeys(w.group for w in WORKLOADS.values()):
        names = [n for n in first if WORKLOADS[n].group == group]
        if not names:
            continue
        lines += [f"### {group[0].upper()}{group[1:]}", ""]
        lines += [f"| {' | '.join(head)} |", "|---" + "|--:" * (len(head) - 1) + "|"]
        for n in names:
            cells = [f"`{n}`"] + [shown(first[n][e]["seconds"]) for e in ENGINES]
            cells += [f"{run['rows'][n]['ratio']:.2f}" if n in run["rows"] else "" for run in runs]
            if peaks:
                cells += [f"{first[n][e]['megabytes']:.1f}" for e in ENGINES]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    for run in runs:
        speeds = ", ".join(f"{v:.0f} GB/s at {n} floats" for n, v in run["machine"].items())
        lines += [f"**{setting(run)}**; copying: {speeds}", ""]
        lines += [f"- {line}" for line in summary(run["rows"])] + [""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--busy", action="store_true", help="beside a process that never rests")
    parser.add_argument("--only", default="", help="workloads whose group or name this matches")
    parser.add_argument("--smoke", action="store_true", help="each workload once")
    parser.add_argument("--shared", action="store_true", help="one process for each engine: quick")
    parser.add_argument("--json", type=Path, default=Path("out/vs_torch.json"))
    parser.add_argument("--report", type=Path, nargs="+", metavar="FILE", help="print a table")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve, options.threads)
    if options.report:
        return print(report([json.loads(path.read_text()) for path in options.report]))

    names = ["rustgrad"]
    if importlib.util.find_spec("torch") and not options.smoke:
        names.append("torch")
    chosen = [n for n, w in WORKLOADS.items() if re.search(options.only, f"{w.group}: {n}")]
    neighbour = None
    if options.busy:
        neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    rows, machine = {}, limits(options.threads)
    print("; ".join(f"copy of {k} floats: {v:.0f} GB/s" for k, v in machine.items()))
    try:
        groups = [chosen] if options.smoke or options.shared else [[name] for name in chosen]
        rounds, seconds = (1, 0) if options.smoke else (7, 0.05)
        for group in groups:
            with engines(names, options.threads) as started:
                for workload in group:
                    rows[workload] = row = measure(
                        workload, started, rounds, seconds, alone=len(group) == 1
                    )
                    times = "".join(f"{shown(row[name]['seconds']):>12}" for name in names)
                    ratio = f"{row['ratio']:8.2f}" if "ratio" in row else ""
                    print(f"{workload:55}{times}{ratio}", flush=True)
                imported = {name: engine.ask() for name, engine in started.items()}
        for name, cost in imported.items():
            print(f"import {name}: {cost['seconds'] * 1e3:.0f} ms, {cost['megabytes']:.0f} MB")
    finally:
        if neighbour:
            neighbour.kill()
    print(*(summary(rows) or [f"{len(rows)} workloads ran"]), sep="\n")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    result = {"threads": options.threads, "busy": options.busy, "machine": machine, "rows": rows}
    options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
