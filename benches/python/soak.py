"""Trains for a while with shapes that change, and watches the memory.

``python benches/python/soak.py --minutes 10``

Every step has another batch, sequence length and width, and goes through many families of ops,
a second derivative, forward mode and two optimisers. Each combination of shapes comes back once a
cycle. After each cycle the memory is looked at. Once the first third of the time has passed,

* live nodes and the bytes that tensors hold must be what they were, exactly;
* resident memory must not grow: neither the largest figure of the last third over that of the
  middle third, nor the line through both by least squares, by more than ``--tolerance``.

Prints a table and exits with 1 if one of them does.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import astuple, dataclass, fields
from itertools import product

import rustgrad as rg
import rustgrad.autograd.forward_ad as fwAD
from rustgrad import nn

F = nn.functional
WORDS = 50
WIDTHS = (24, 40, 96)
BATCHES = (1, 7, 32)
LENGTHS = (3, 16, 33)
MIB = 1 << 20


class Block(nn.Module):
    """Attention over a sequence and two layers, for ids, (batch, length)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, width)
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, 3 * width)
        self.rest = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.1))
        self.head = nn.Linear(2 * width, WORDS)

    def forward(self, x: rg.Tensor) -> rg.Tensor:
        """Scores of the next word, (batch, length, words), for embedded words."""
        q, k, v = self.mix(self.norm(x)).chunk(3, dim=-1)
        scores = q @ k.transpose(1, 2) / x.shape[-1] ** 0.5
        length = x.shape[1]
        later = rg.ones(length, length, dtype=rg.bool).triu(1)
        weights = F.softmax(scores.masked_fill(later, float("-inf")), dim=-1)
        return self.head(self.rest(x + weights @ v))


class Trainer:
    """A model, its optimisers, and a step of training."""

    def __init__(self, width: int) -> None:
        self.model = Block(width)
        weights = [p for p in self.model.parameters() if p.dim() > 1]
        others = [p for p in self.model.parameters() if p.dim() <= 1]
        self.optimizers = [
            rg.optim.AdamW(weights, lr=1e-3),
            rg.optim.SGD(others, lr=1e-2, momentum=0.9),
        ]

    def step(self, batch: int, length: int) -> float:
        """One step on random words; the loss."""
        ids = rg.randint(0, WORDS, (batch, length))
        x = self.model.embed(ids)
        scores = self.model(x)
        loss = F.cross_entropy(scores.flatten(0, 1), ids.roll(1, 1).flatten())
        # A penalty on the gradient, whose own gradient is a second derivative.
        (g,) = rg.autograd.grad(loss, x, create_graph=True)
        loss = loss + 0.01 * g.square().sum(-1).sqrt().mean()
        # Elements sorted, scanned, chosen and joined.
        best = scores.topk(5, dim=-1).values
        ordered = scores.sort(dim=-1, descending=True).values[..., :5]
        loss = loss + 1e-3 * (rg.cat([best, ordered], dim=1).cumsum(1) * 0.1).tanh().mean()
        chosen = scores.gather(2, ids.unsqueeze(2)).squeeze(2)
        loss = loss - 1e-3 * chosen[chosen > chosen.mean()].sum() / ids.numel()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        return loss.item()

    def look_ahead(self, batch: int, length: int) -> None:
        """Forward mode, an op that fails, and a result that nobody differentiates."""
        x = rg.randn(batch, length, self.model.embed.embedding_dim)
        with fwAD.dual_level():
            self.model(fwAD.make_dual(x, rg.ones_like(x)))
        try:
            self.model(x[..., 1:])
        except RuntimeError:
            pass
        else:
            raise AssertionError("a product of matrices that do not fit")


@dataclass
class Figures:
    """What is looked at after a cycle; bytes, but for the first three."""

    seconds: float
    steps: int
    nodes: int
    held: int
    reserved: int
    resident: int


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(seconds: list[float], values: list[int]) -> float:
    """By how much the line through the values by least squares rises over the whole time."""
    n = len(values)
    t_mean, v_mean = sum(seconds) / n, sum(values) / n
    covariance = sum((t - t_mean) * (v - v_mean) for t, v in zip(seconds, values, strict=True))
    variance = sum((t - t_mean) ** 2 for t in seconds)
    return covariance / variance * (seconds[-1] - seconds[0])


def faults(figures: list[Figures], tolerance: int) -> list[str]:
    """What grew after the first third."""
    third = len(figures) // 3
    middle, last = figures[third : 2 * third], figures[2 * third :]
    found = []
    for name in ("nodes", "held"):
        seen = sorted({getattr(f, name) for f in middle + last})
        if len(seen) > 1:
            found.append(f"{name}: between {seen[0]} and {seen[-1]}, not the same after each cycle")
    seconds = [f.seconds for f in middle + last]
    values = [f.resident for f in middle + last]
    rise = growth(seconds, values)
    if rise > tolerance:
        found.append(f"resident: rises by {rise / MIB:.1f} MiB in {seconds[-1] - seconds[0]:.0f} s")
    step = max(f.resident for f in last) - max(f.resident for f in middle)
    if step > tolerance:
        found.append(f"resident: {step / MIB:.1f} MiB more in the last third than in the middle")
    return found


def run(minutes: float) -> list[Figures]:
    """Trains for so long; the figures after each cycle."""
    rg.manual_seed(0)
    trainers = {width: Trainer(width) for width in WIDTHS}
    shapes = list(product(WIDTHS, BATCHES, LENGTHS))
    figures: list[Figures] = []
    start = time.monotonic()
    steps = 0
    # Nine cycles at least: three for each third.
    while len(figures) < 9 or time.monotonic() - start < minutes * 60:
        for i in rg.randperm(len(shapes)).tolist():
            width, batch, length = shapes[i]
            trainers[width].step(batch, length)
            trainers[width].look_ahead(batch, length)
            steps += 1
        figures.append(
            Figures(
                time.monotonic() - start,
                steps,
                rg._C.live_nodes(),
                rg.memory.allocated(),
                rg.memory.reserved(),
                resident(),
            )
        )
    return figures


def show(figures: list[Figures]) -> None:
    """Prints some twenty of the figures as a table."""
    print("".join(f"{field.name:>10}" for field in fields(Figures)))
    every = max(1, len(figures) // 20)
    for f in figures[::-every][::-1]:
        seconds, steps, nodes, *sizes = astuple(f)
        row = [f"{seconds:.0f} s", steps, nodes, *(f"{size / MIB:.2f} M" for size in sizes)]
        print("".join(f"{x:>10}" for x in row), flush=True)


def main() -> int:
    """Runs, and says whether memory held still."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--tolerance", type=float, default=4.0, help="in MiB")
    options = parser.parse_args()
    figures = run(options.minutes)
    show(figures)
    found = faults(figures, int(options.tolerance * MIB))
    print("\n".join(found) or "memory holds still")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
