"""Gradients at kinks, ties and ends of domains: ``docs/subgradients.md`` says what they are."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import rustgrad as rg

ROOT = Path(__file__).resolve().parent.parent.parent


def _tool() -> Any:
    """``tools/subgradients.py``, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("subgradients", ROOT / "tools/subgradients.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tool = _tool()
CASES = [c for cases in tool.SECTIONS.values() for c in cases]
# The page's rows, in the order of the cases: expression, points, our gradient, PyTorch's.
ROWS = [
    [cell.strip() for cell in row.replace("\\|", "&").strip("|\n").split("|")]
    for row in tool.PAGE.read_text().splitlines()
    if row.startswith("| `")
]


def test_the_page_has_all_cases() -> None:
    assert [row[0] for row in ROWS] == [f"`{c.call.replace('m.', '')}`" for c in CASES]


IDS = [f"{i}-{c.call}" for i, c in enumerate(CASES)]


@pytest.mark.parametrize(("case", "row"), zip(CASES, ROWS, strict=True), ids=IDS)
def test_row(case: Any, row: list[str]) -> None:
    """What the page says is what happens; where PyTorch does something else, it says why."""
    ours = case.cell(rg)
    assert ours != "raises" and row[2] == ours
    torch = pytest.importorskip("torch")
    theirs = case.cell(torch)
    assert (ours != theirs) == bool(case.differs), f"PyTorch gives {theirs}"
    assert row[3] == (f"{theirs}: {case.differs}" if case.differs else "=")


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_forward_mode_agrees(case: Any) -> None:
    """The tangents of unit vectors are the gradient's elements."""
    points = [rg.tensor(p, dtype=rg.float64) for p in case.points]

    def f(*leaves: Any) -> Any:
        names = dict(zip("xy", leaves, strict=False))
        space = {"m": rg, "F": rg.nn.functional, "inf": float("inf"), **names}
        return eval(case.call, space).sum()

    for k, (point, want) in enumerate(zip(points, case.gradients(rg), strict=True)):
        for i, slope in enumerate(want):
            tangents = [rg.zeros_like(p) for p in points]
            tangents[k].view(-1)[i] = 1.0
            with rg.autograd.forward_ad.dual_level():
                duals = map(rg.autograd.forward_ad.make_dual, points, tangents)
                got = rg.autograd.forward_ad.unpack_dual(f(*duals)).tangent
            value = 0.0 if got is None else got.item()
            assert value == pytest.approx(slope, nan_ok=True), f"element {i} of {point}"
