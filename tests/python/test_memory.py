"""The figures of ``rustgrad.memory``, and that memory is reused."""

import subprocess
import sys

import rustgrad as rg

memory = rg.memory


def test_counts_what_tensors_hold():
    before = memory.allocated()
    x = rg.zeros(1024, 1024)
    assert memory.allocated() - before == 4 << 20
    view = x[:10]
    assert memory.allocated() - before == 4 << 20
    del x
    assert memory.allocated() - before == 4 << 20, "the view keeps it"
    del view
    assert memory.allocated() == before
    assert memory.reserved() >= memory.allocated()


def test_peak():
    memory.reset_peak()
    start = memory.peak()
    assert start == memory.allocated()
    x = rg.zeros(1024, 1024)
    del x
    assert memory.peak() - start == 4 << 20
    memory.reset_peak()
    assert memory.peak() == memory.allocated()


def test_freed_buffers_are_used_again():
    x = rg.zeros(777, 777)
    address = x.data_ptr()
    reserved = memory.reserved()
    del x
    y = rg.zeros(777, 777)
    assert y.data_ptr() == address and memory.reserved() == reserved


def test_empty_cache():
    x = rg.zeros(500, 500)
    del x
    memory.empty_cache()
    assert memory.reserved() == memory.allocated()


CHANGING_SHAPES = """
import rustgrad as rg
memory = rg.memory
for step in range(400):
    n = 64 + 37 * step % 900
    x = rg.ones(n, n, requires_grad=True)
    (x @ x).tanh().sum().backward()
    assert memory.reserved() <= memory.peak() + (32 << 20), step
"""


def test_changing_shapes_hold_memory_flat():
    """In a process of its own: what earlier tests held may wait for reuse."""
    subprocess.run([sys.executable, "-c", CHANGING_SHAPES], check=True, timeout=120)
