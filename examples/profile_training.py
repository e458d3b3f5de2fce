"""Where a training step's time and memory go, and what its graph keeps.

Trains a small network on noise, prints the costliest ops, the layers, and what the backward needs,
and writes ``out/trace.json``, which opens in chrome://tracing and https://ui.perfetto.dev.
"""

from pathlib import Path

import rustgrad as rg
from rustgrad import nn
from rustgrad.autograd import graph
from rustgrad.profiler import profile, record_function, schedule
from rustgrad.utils.flop_counter import FlopCounterMode

STEPS = 6


def main() -> None:
    rg.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(128, 256), nn.GELU(), nn.LayerNorm(256), nn.Dropout(0.1), nn.Linear(256, 10)
    )
    optimizer = rg.optim.AdamW(model.parameters())
    x, y = rg.randn(64, 128), rg.randint(0, 10, (64,))

    def step() -> None:
        with record_function("forward"):
            loss = nn.functional.cross_entropy(model(x), y)
        with record_function("backward"):
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()

    print(nn.utils.summary(model, x), end="\n\n")

    # The first steps are not typical.
    plan = schedule(wait=1, warmup=1, active=STEPS - 2)
    options = dict(profile_memory=True, with_flops=True, with_stack=True, with_modules=True)
    with profile(schedule=plan, **options) as prof:
        for _ in range(STEPS):
            step()
            prof.step()
    print(prof.key_averages().table(sort_by="self_cpu_time_total", row_limit=12), end="\n\n")
    peak = max(prof.memory_timeline(), key=lambda point: point.bytes)
    print(f"Tensors hold most after {peak.op}: {peak.bytes:,} bytes", end="\n\n")
    out = Path("out")
    prof.export_chrome_trace(out / "trace.json")
    print(f"wrote {out / 'trace.json'}", end="\n\n")

    with graph.record_modules(model) as modules:
        loss = nn.functional.cross_entropy(model(x), y)
    report = graph.memory(loss, module=modules, held=(x, y))
    print(report.table(row_limit=4), end="\n\n")

    with FlopCounterMode(display=False) as counter:
        loss.backward()
    forward = nn.utils.summary(model, x).flops
    print(f"FLOPs: {forward:,} forward, {counter.get_total_flops():,} backward")

    with graph.leaks() as leaked:
        step()
    print(leaked)
    assert leaked.nodes == 0


if __name__ == "__main__":
    main()
