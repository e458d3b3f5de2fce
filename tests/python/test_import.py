"""What `import rustgrad` imports, and what it leaves until it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest
import rustgrad as rg

LATER = {
    "profiler": "rustgrad.profiler",
    "testing": "rustgrad.testing",
    "autograd.profiler": "rustgrad.autograd.profiler",
    "nn.utils.summary": "rustgrad.nn.utils.module_summary",
    "utils.checkpoint": "rustgrad.utils.checkpoint",
    "utils.flop_counter": "rustgrad.utils.flop_counter",
}


def test_tools_are_imported_when_they_are_asked_for() -> None:
    program = (
        "import operator, sys, rustgrad\n"
        f"later = {LATER}\n"
        "assert sys.modules.keys().isdisjoint(later.values())\n"
        "for name, module in later.items():\n"
        "    operator.attrgetter(name)(rustgrad)\n"
        "    assert module in sys.modules, module\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_they_are_listed() -> None:
    assert {"profiler", "testing", "ones"} <= set(dir(rg))
    assert "profiler" in dir(rg.autograd) and "summary" in dir(rg.nn.utils)


@pytest.mark.parametrize("package", [rg, rg.autograd, rg.utils, rg.nn.utils])
def test_other_names_are_missing(package) -> None:
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'x'"):
        package.x  # noqa: B018
