"""The soak program holds still for a few cycles, and would notice if memory grew."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benches" / "python" / "soak.py"


@pytest.fixture(scope="module")
def soak():
    spec = importlib.util.spec_from_file_location("soak", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules["soak"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["soak"]


def test_memory_holds_still():
    """In a process of its own: what earlier tests held may wait for reuse."""
    run = subprocess.run(
        [sys.executable, PROGRAM, "--minutes", "0"], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout + run.stderr


def figures(soak, count=30, **grow):
    """Figures that stay the same, but for those that grow by so much each second."""
    base = {"nodes": 20, "held": 1 << 20, "reserved": 1 << 25, "resident": 1 << 26}
    return [
        soak.Figures(float(i), 27 * i, **{k: v + i * grow.get(k, 0) for k, v in base.items()})
        for i in range(count)
    ]


def test_growth_is_found(soak):
    assert soak.faults(figures(soak), tolerance=1 << 20) == []
    (found,) = soak.faults(figures(soak, nodes=1), tolerance=1 << 20)
    assert found.startswith("nodes")
    (found,) = soak.faults(figures(soak, held=4), tolerance=1 << 20)
    assert found.startswith("held")
    slope, step = soak.faults(figures(soak, resident=1 << 18), tolerance=1 << 20)
    assert "rises by 4.8 MiB" in slope and "2.5 MiB more" in step


def test_a_step_is_found(soak):
    seen = figures(soak)
    for f in seen[25:]:
        f.resident += 3 << 20
    assert any("last third" in fault for fault in soak.faults(seen, tolerance=2 << 20))
    # What grows while it warms up is no fault.
    seen = figures(soak)
    for f in seen[:8]:
        f.resident -= 30 << 20
    assert soak.faults(seen, tolerance=2 << 20) == []
