"""Every op has the same bits whatever instruction set its kernels use, and so have its gradients.

So what the other checks of the suite find with the best instruction set holds for all. Products of
matrices may differ in their rounding; the unit tests of the kernels run with each instruction set.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import rustgrad as rg

from . import samples  # noqa: F401
from .harness import array, caller, is_float, outputs, pattern, table, tensor, tensors
from .registry import OPS, Op, Sample
from .test_ops import REDUCTIONS


def differs(op: Op) -> bool:
    """Whether an op is a product of matrices, or does not say what its elements are."""
    return op.samples_of.__module__.endswith(".products") or "empty" in op.name


def digest(tensors: list[Any]) -> str:
    """Of the bits of tensors and numbers, where any NaN equals any other."""
    found = hashlib.sha256()
    for t in tensors:
        a = np.ascontiguousarray(array(t))
        if a.dtype.kind == "f":
            a = np.where(np.isnan(a), np.nan, a).astype(a.dtype)
        found.update(a.tobytes())
    return found.hexdigest()[:16]


def run(op: Op, entry: dict[str, Any], sample: Sample, dtype: str | None) -> str:
    """The digest of an op's results and gradients."""
    leaves: list[Any] = []

    def make(a: np.ndarray, dtype: str | None) -> Any:
        t = tensor(a, dtype)
        if op.grad and is_float(t):
            leaves.append(t.requires_grad_())
        return t

    call = tensors(sample, dtype, make)
    results = list(outputs(caller(op, entry)(*call.args, **call.kwargs)))
    roots = [y for y in results if is_float(y) and y.requires_grad]
    if roots:
        seeds = [pattern(y, i) for i, y in enumerate(roots)]
        grads = rg.autograd.grad(roots, leaves, seeds, allow_unused=True)
        results += [g for g in grads if g is not None]
    return digest([y for y in results if y is not None])


def calls(op: Op, entry: dict[str, Any]) -> list[Sample]:
    """The samples, and as many with more elements than a vector holds, of ops that take those."""
    if differs(op):
        return []
    can_stretch = entry["kernel"] == "map" or op.name in REDUCTIONS
    longer = op.samples(stretch=41) if can_stretch and "large" not in op.skip else []
    return op.samples() + longer


def digests() -> dict[str, str]:
    """For each op, sample and type of its elements."""
    found = {}
    entries = table()
    for op in OPS:
        for i, sample in enumerate(calls(op, entries[op.name])):
            for dtype in sample.runs(op.dtypes):
                if dtype not in op.skip:
                    found[f"{op.name}-{i}-{dtype}"] = run(op, entries[op.name], sample, dtype)
    return found


def test_instruction_sets_have_the_same_bits() -> None:
    program = (
        f"import sys, json; sys.path.insert(0, {str(Path(__file__).parents[1])!r});"
        "from suite.test_instruction_sets import digests; print(json.dumps(digests()))"
    )
    found = {}
    for isa in ("base", "avx2", "avx512"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "RUSTGRAD_ISA": isa},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        found[isa] = json.loads(done.stdout)
    for isa, results in found.items():
        wrong = [case for case, d in found["base"].items() if results[case] != d]
        assert not wrong, f"{len(wrong)} results with {isa} are not those of base: {wrong[:20]}"
