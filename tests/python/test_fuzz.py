"""Any op with any arguments gives a result or one of Python's usual errors: never a crash."""

from __future__ import annotations

import random
from typing import Any

import pytest
import rustgrad as rg

CALLS = 25
ERRORS = (TypeError, RuntimeError, ValueError, IndexError, NotImplementedError, OverflowError)
SHAPES = [(), (0,), (1,), (3,), (2, 3), (3, 3), (2, 0, 3), (1, 1, 1), (2, 3, 4)]
DTYPES = [rg.float32, rg.float64, rg.int64, rg.bool, rg.uint8, rg.float16, rg.bfloat16]
# Either small, or so large that nothing of that size can be made.
INTEGERS = [0, 1, -1, 2, 3, 5, -2, -5, 7, 2**47, -(2**47), 2**62, -(2**63), 2**63 - 1]
FLOATS = [0.5, -1.5, 1e300, float("nan"), float("inf"), -float("inf")]
OTHERS = [None, True, False, "mean", "sum", "none", "abc", rg.float64, "cpu", "meta", slice(0, 2)]


def forms() -> list[tuple[str, Any, bool]]:
    """Each form of each op: its name, the callable, and whether it is a method."""
    found = []
    for entry in rg._C.op_table():
        name = entry["exported_name"]
        if entry["function"] or entry["nn"]:
            found.append((name, getattr(rg._C, name), False))
        if entry["method"]:
            found.append((f"Tensor.{name}", getattr(rg.Tensor, name), True))
        if entry["in_place"]:
            found.append((f"Tensor.{name}_", getattr(rg.Tensor, f"{name}_"), True))
    return found


def tensor(r: random.Random) -> Any:
    """A small tensor, now and then transposed, a leaf, or without elements."""
    dtype = r.choice(DTYPES)
    low = 0 if dtype == rg.uint8 else -3
    t = rg.randint(low, 4, r.choice(SHAPES)).to(dtype)
    if dtype.is_floating_point and r.random() < 0.2:
        t.requires_grad_()
    if t.dim() > 1 and r.random() < 0.3:
        t = t.transpose(0, 1)
    return t.to("meta") if r.random() < 0.05 else t


def argument(r: random.Random) -> Any:
    """Something that an op might be given."""
    kind = r.randrange(10)
    if kind < 4:
        return tensor(r)
    if kind < 6:
        return r.choice(INTEGERS)
    if kind == 6:
        return r.choice(FLOATS)
    if kind == 7:
        return [r.choice(INTEGERS) for _ in range(r.randrange(4))]
    if kind == 8:
        return [tensor(r) for _ in range(r.randrange(3))]
    return r.choice(OTHERS)


@pytest.mark.parametrize(
    ("name", "call", "is_method"), [pytest.param(*f, id=f[0]) for f in forms()]
)
def test_no_arguments_crash(name: str, call: Any, is_method: bool) -> None:
    r = random.Random(name)
    for _ in range(CALLS):
        args = [argument(r) for _ in range(r.choice([0, 1, 1, 2, 2, 3, 4]))]
        if is_method:
            args.insert(0, tensor(r))
        try:
            call(*args)
        except ERRORS as error:
            assert str(error)
