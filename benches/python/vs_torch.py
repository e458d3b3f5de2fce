"""Small-tensor costs, side by side with PyTorch where it is installed.

Each workload is timed for both engines in turn, several times over, in one process with one thread;
the table shows the median time of each and the median of the ratios. Import times and sizes are
taken in fresh processes. Writes a JSON file beside the table.

    python benches/python/vs_torch.py [--smoke] [--json out/vs_torch.json]
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import timeit
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")


STATEMENTS = {
    # name: (statement, how many ops it stands for)
    "x * y": ("x * y", 1),
    "x * y, recorded": ("w * y", 1),
    "the same, one in a function": ("product()", 1),
    "x * 2.5": ("x * 2.5", 1),
    "x.exp()": ("x.exp()", 1),
    "x.sum()": ("x.sum()", 1),
    "x[1]": ("x[1]", 1),
    "100 ops, forward and backward (per op)": ("chain()", 100),
    "training step, 64-32-10, Adam": ("train()", 1),
}


def namespace(lib) -> dict[str, object]:
    """What the statements see."""
    x = lib.tensor([1.0, 2.0, 3.0, 4.0])
    y = lib.tensor([0.5, 1.0, 1.5, 2.0])
    w = lib.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    scale = lib.tensor([1.01, 0.99, 1.02, 0.98])

    def product():
        return w * y

    def chain():
        t = w
        for _ in range(100):
            t = t * scale
        t.sum().backward()
        w.grad = None

    lib.manual_seed(0)
    model = lib.nn.Sequential(lib.nn.Linear(64, 32), lib.nn.Tanh(), lib.nn.Linear(32, 10))
    optimizer = lib.optim.Adam(model.parameters(), lr=1e-3)
    inputs, targets = lib.randn(32, 64), lib.randint(0, 10, (32,))

    def train():
        optimizer.zero_grad()
        lib.nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

    return {"x": x, "y": y, "w": w, "product": product, "chain": chain, "train": train}


def seconds(timer: timeit.Timer, budget: float) -> float:
    """The time of one run of a statement, from enough runs to fill the budget."""
    timer.timeit(1)
    once = max(timer.timeit(3) / 3, 1e-7)
    n = max(1, int(budget / once))
    return timer.timeit(n) / n


def imported(name: str) -> dict[str, float]:
    """Import time in seconds and memory that it takes in MB (Linux), each in a fresh process."""
    program = (
        "import time\n"
        "def resident():\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return next(int(l.split()[1]) for l in lines if l.startswith('VmRSS')) / 1024\n"
        f"before, t = resident(), time.perf_counter()\nimport {name}\n"
        "print(time.perf_counter() - t, resident() - before)"
    )
    runs = [
        [float(v) for v in subprocess.check_output([sys.executable, "-c", program]).split()]
        for _ in range(3)
    ]
    return {
        "seconds": statistics.median(r[0] for r in runs),
        "megabytes": statistics.median(r[1] for r in runs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="each workload once, briefly")
    parser.add_argument("--json", type=Path, default=Path("out/vs_torch.json"))
    options = parser.parse_args()
    rounds, budget = (1, 0.01) if options.smoke else (15, 0.05)

    import rustgrad

    engines = {"rustgrad": namespace(rustgrad)}
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
        engines["torch"] = namespace(torch)
    else:
        print("PyTorch is not installed: no comparison")

    results = {}
    unit = 1e9
    print(
        f"{'workload':42}" + "".join(f"{name + ' (ns)':>16}" for name in engines) + f"{'ratio':>8}"
    )
    for workload, (statement, ops) in STATEMENTS.items():
        times = {name: [] for name in engines}
        for _ in range(rounds):
            for name, seen in engines.items():
                timer = timeit.Timer(statement, globals=seen)
                times[name].append(seconds(timer, budget) / ops)
        row = {name: statistics.median(t) * unit for name, t in times.items()}
        ratio = None
        if "torch" in times:
            pairs = zip(times["rustgrad"], times["torch"], strict=True)
            ratio = statistics.median(a / b for a, b in pairs)
        results[workload] = {**row, "ratio": ratio}
        shown = "".join(f"{row[name]:16.0f}" for name in engines)
        print(f"{workload:42}{shown}" + (f"{ratio:8.2f}" if ratio else f"{'-':>8}"))

    for name in engines:
        cost = imported(name)
        results[f"import {name}"] = cost
        print(f"import {name}: {cost['seconds'] * 1e3:.0f} ms, {cost['megabytes']:.0f} MB")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
