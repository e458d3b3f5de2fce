"""What a graph keeps for its backward: looked at, moved to disk, halved in precision.

Run it with ``python examples/saved_tensors.py``.
"""

import os
import tempfile

import rustgrad as rg
from rustgrad.autograd import graph

MIB = 1 << 20
rg.manual_seed(0)
layers = [rg.randn(256, 256) / 16 for _ in range(6)]
for w in layers:
    w.requires_grad_()


def forward(x):
    for w in layers:
        x = (x @ w).tanh()
    return x.square().mean()


x = rg.randn(1024, 256)
loss = forward(x)
node = loss.grad_fn
print("from the loss backwards:")
for _ in range(4):
    saved = [name for name in dir(node) if name.startswith("_saved_")]
    print(f"  {node.name():16} {', '.join(saved)}")
    node = node.next_functions[0][0]
want = rg.autograd.grad(loss, layers)
del loss, node

# Large saved tensors live in files until the backward reads them.
with tempfile.TemporaryDirectory() as folder:
    before = rg.memory.allocated()
    with graph.save_on_disk(folder):
        loss = forward(x)
    in_memory = (rg.memory.allocated() - before) / MIB
    sizes = [os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder)]
    print(
        f"on disk: {sum(sizes) / MIB:.1f} MiB in {len(sizes)} files, {in_memory:.1f} MiB in memory"
    )
    got = rg.autograd.grad(loss, layers)
    assert all(rg.equal(a, b) for a, b in zip(want, got, strict=True))
    assert not os.listdir(folder), "a file goes with the node that saved it"


# Activations in half the bits: parameters stay as they are.
def pack(t):
    return t if t.is_leaf and t.requires_grad else t.to(rg.bfloat16)


with graph.saved_tensors_hooks(pack, lambda t: t.float()):
    loss = forward(x)
got = rg.autograd.grad(loss, layers)
error = max(((a - b).norm() / a.norm()).item() for a, b in zip(want, got, strict=True))
print(f"saved as bfloat16: gradients differ by {error:.1%} at most")
assert error < 0.05
