"""Checkpointing: a training step in a third of the memory, with the same gradients to the last bit.

Run it with ``python examples/checkpointing.py``.
"""

import functools

import rustgrad as rg
from rustgrad import nn
from rustgrad.utils.checkpoint import (
    checkpoint,
    create_selective_checkpoint_contexts,
    memory_budget,
)

MIB = 1 << 20
rg.manual_seed(0)
blocks = nn.ModuleList(
    nn.Sequential(nn.Linear(256, 1024), nn.GELU(), nn.Dropout(0.1), nn.Linear(1024, 256))
    for _ in range(8)
)
x = rg.randn(256, 256)


def step(run):
    """A training step's gradients, and its peak of memory above what is held before."""
    for p in blocks.parameters():
        p.grad = rg.zeros_like(p)
    rg.manual_seed(1)
    before = rg.memory.allocated()
    rg.memory.reset_peak()
    h = x
    for block in blocks:
        h = h + run(block, h)
    h.square().mean().backward()
    return [p.grad for p in blocks.parameters()], rg.memory.peak() - before


def budgeted(nbytes):
    """The same under a budget, without marking anything."""
    for p in blocks.parameters():
        p.grad = rg.zeros_like(p)
    with memory_budget(rg.memory.allocated() + nbytes) as budget:
        gradients, peak = step(lambda block, h: block(h))
    return gradients, peak, budget


want, most = step(lambda block, h: block(h))
print(f"everything kept              {most / MIB:6.1f} MiB")

# Each block keeps its input alone, and runs again in the backward: with the same dropout.
got, peak = step(checkpoint)
print(f"a checkpoint for each block  {peak / MIB:6.1f} MiB")
assert peak < most / 2
assert all(rg.equal(a, b) for a, b in zip(want, got, strict=True))

# Products are kept, cheap ops run again.
contexts = functools.partial(create_selective_checkpoint_contexts, [nn.functional.linear])
got, peak = step(functools.partial(checkpoint, context_fn=contexts))
print(f"the same, products kept      {peak / MIB:6.1f} MiB")
assert all(rg.equal(a, b) for a, b in zip(want, got, strict=True))

got, peak, budget = budgeted(most // 3)
print(
    f"a budget of {most / 3 / MIB:4.1f} MiB         {peak / MIB:6.1f} MiB, "
    f"{budget.evictions} tensors evicted, {budget.recomputations} ops run again"
)
# Working memory of kernels comes on top of the budget.
assert budget.exceeded == 0 and peak < most / 2
assert all(rg.equal(a, b) for a, b in zip(want, got, strict=True))
