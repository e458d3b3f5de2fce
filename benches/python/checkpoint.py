"""What checkpointing costs and saves: time and peak memory of a training step, each way.

``python benches/python/checkpoint.py [--markdown] [--smoke]``

Two networks: 30 blocks of Linear-GELU-Linear (512-2048-512, batch 16) and a GPT. Each way of
keeping what the backward needs runs in turn, round after round; a row has the median of its time
over that of the plain step in the same round, and the peak of ``rustgrad.memory`` above what the
parameters take.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable

import rustgrad as rg
from rustgrad import nn
from rustgrad.utils.checkpoint import (
    checkpoint,
    create_selective_checkpoint_contexts,
    memory_budget,
)

F = nn.functional
MIB = 1 << 20
Run = Callable[..., rg.Tensor]


def plain(function: Callable[..., rg.Tensor], *args: rg.Tensor) -> rg.Tensor:
    return function(*args)


selective = functools.partial(checkpoint, context_fn=create_selective_checkpoint_contexts)


class Blocks(nn.Module):
    """30 blocks of width 512."""

    def __init__(self, blocks: int = 30, width: int = 512) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
            for _ in range(blocks)
        )
        self.x = rg.randn(16, width)

    def forward(self, run: Run) -> rg.Tensor:
        x = self.x
        for block in self.blocks:
            x = x + run(block, x)
        return x.square().mean()


class Layer(nn.Module):
    """Attention and two products."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: rg.Tensor) -> rg.Tensor:
        batch, length, width = x.shape
        parts = self.mix(self.norms[0](x)).view(batch, length, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.transpose(-1, -2) * (width // self.heads) ** -0.5
        later = rg.ones(length, length, dtype=rg.bool).triu(1)
        weights = F.softmax(scores.masked_fill(later, float("-inf")), dim=-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class GPT(nn.Module):
    """Six layers of width 256, 128 words long."""

    def __init__(self, layers: int = 6, width: int = 256, words: int = 512) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.layers = nn.ModuleList(Layer(width, 8) for _ in range(layers))
        self.head = nn.Linear(width, words)
        self.tokens = rg.randint(0, words, (8, 129))

    def forward(self, run: Run) -> rg.Tensor:
        x = self.embed(self.tokens[:, :-1])
        for layer in self.layers:
            x = run(layer, x)
        scores = self.head(x)
        return F.cross_entropy(scores.flatten(0, 1), self.tokens[:, 1:].flatten())


def step(net: nn.Module, run: Run) -> tuple[float, int]:
    """Seconds, and bytes above those of the parameters and their gradients."""
    before = rg.memory.allocated()
    rg.memory.reset_peak()
    begin = time.perf_counter()
    net(run).backward()
    return time.perf_counter() - begin, rg.memory.peak() - before


def budgeted(net: nn.Module, nbytes: int) -> tuple[float, int]:
    with memory_budget(rg.memory.allocated() + nbytes):
        return step(net, plain)


def measure(net: nn.Module, rounds: int) -> list[tuple[str, float, float]]:
    """Rows: a way, its time over that of the plain step, its peak in MiB."""
    # Gradients are there from now on, and are added to.
    step(net, plain)
    _, kept = step(net, plain)
    _, least = step(net, checkpoint)
    ways: dict[str, Callable[[], tuple[float, int]]] = {
        "everything kept": lambda: step(net, plain),
        "checkpoint for each block": lambda: step(net, checkpoint),
        "the same, products kept": lambda: step(net, selective),
        "memory_budget, half": lambda: budgeted(net, kept // 2),
        "memory_budget, as a checkpoint needs": lambda: budgeted(net, least),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    peaks: dict[str, int] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds, peaks[name] = way()
            times[name].append(seconds)
    base = times["everything kept"]
    return [
        (
            name,
            statistics.median(t / b for t, b in zip(times[name], base, strict=True)),
            peaks[name] / MIB,
        )
        for name in ways
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--smoke", action="store_true", help="one round of small networks")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    rg.manual_seed(0)
    nets = {
        "30 blocks Linear 512-2048-GELU-Linear, batch 16": Blocks(3 if options.smoke else 30),
        "GPT, 6 layers of 256, batch 8 x 128": GPT(1 if options.smoke else 6),
    }
    for title, net in nets.items():
        rows = measure(net, 1 if options.smoke else options.rounds)
        if options.markdown:
            print(f"\n| {title} | time | peak above parameters and gradients |\n|---|---|---|")
        else:
            print(f"\n{title}")
        for name, ratio, peak in rows:
            if options.markdown:
                print(f"| {name} | {ratio:.2f} | {peak:.1f} MiB |")
            else:
                print(f"  {name:36} time x {ratio:.2f}   peak {peak:7.1f} MiB")


if __name__ == "__main__":
    main()
