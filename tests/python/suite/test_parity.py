"""The same samples through PyTorch: values, types, first and second gradients, kinds of errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rustgrad as rg

from .harness import (
    DTYPES,
    NAMES,
    TOLERANCE,
    Differentiable,
    agree,
    array,
    callable_of,
    dtype_name,
    is_float,
    is_only_in_place,
    outputs,
    pattern,
    tensors,
)
from .registry import Op, Sample
from .test_ops import CASES, TABLE, each, each_dtype

torch = pytest.importorskip("torch")

TORCH = {
    "f64": torch.float64,
    "f32": torch.float32,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "i64": torch.int64,
    "i32": torch.int32,
    "i16": torch.int16,
    "i8": torch.int8,
    "u8": torch.uint8,
    "bool": torch.bool,
}
# Ops that PyTorch does not have: name and what they are.
OWN: dict[str, str] = {}


def torch_function(op: Op) -> Callable[..., Any] | None:
    """PyTorch's function of the same name; ``None`` if there is none."""
    if callable(op.torch):
        return op.torch
    name = op.torch or op.name.split(".")[0]
    entry = TABLE[op.name]
    places = [torch, torch.nn.functional, torch.special]
    if entry["nn"]:
        places = [torch.nn.functional, torch]
    for place in places:
        found = getattr(place, name, None)
        if found is not None and not (op.method_only or not (entry["function"] or entry["nn"])):
            return found
    for prefix, place in [("linalg_", torch.linalg), ("special_", torch.special)]:
        if name.startswith(prefix) and hasattr(place, name.removeprefix(prefix)):
            return getattr(place, name.removeprefix(prefix))
    if is_only_in_place(entry):
        return lambda x, *args, **kwargs: getattr(x.clone(), name)(*args, **kwargs)
    if hasattr(torch.Tensor, name):
        return lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)
    return next((getattr(p, name) for p in places if hasattr(p, name)), None)


def as_torch(value: Any) -> Any:
    """Types and devices of rustgrad as PyTorch's; everything else as it is."""
    if isinstance(value, rg.dtype):
        return TORCH[NAMES[value]]
    if isinstance(value, rg.device):
        return torch.device(str(value))
    return value


def torch_tensor(a: np.ndarray, dtype: str | None = None) -> Any:
    """As ``harness.tensor``, in PyTorch."""
    t = torch.tensor(a)
    return t if dtype is None else t.to(TORCH[dtype])


def torch_sample(sample: Sample, dtype: str | None, grad: bool = False) -> tuple[Sample, list[Any]]:
    """The sample with PyTorch's tensors, and its leaves."""
    kind = sample.kind()
    leaves = []

    def make(a: np.ndarray) -> Any:
        t = torch_tensor(a, dtype if a.dtype.kind == kind else None)
        if grad and a.dtype.kind == "f":
            leaves.append(t.requires_grad_())
        return t

    made = sample.cast(dtype).map(make)
    args = tuple(as_torch(a) for a in made.args)
    return Sample(*args, kwargs={k: as_torch(v) for k, v in made.kwargs.items()}), leaves


def torch_array(t: Any) -> np.ndarray:
    """The elements of PyTorch's tensor; bfloat16 in float64."""
    if not torch.is_tensor(t):
        return np.asarray(t)
    t = t.detach()
    return (t.to(torch.float64) if t.dtype == torch.bfloat16 else t).numpy(force=True)


def known(op: Op, entry: dict[str, Any]) -> bool:
    """Whether PyTorch has the op."""
    return torch_function(op) is not None


def test_ops_that_pytorch_does_not_have_are_listed() -> None:
    unknown = {op.name for op, _, _ in CASES if torch_function(op) is None}
    assert unknown <= set(OWN), f"unknown to PyTorch: {' '.join(sorted(unknown - set(OWN)))}"


@each_dtype("parity")
def test_values_and_dtypes(op: Op, sample: Sample, dtype: str | None) -> None:
    f = torch_function(op)
    if f is None:
        pytest.skip("PyTorch does not have it")
    theirs, _ = torch_sample(sample, dtype)
    try:
        want = outputs(f(*theirs.args, **theirs.kwargs))
    except (RuntimeError, NotImplementedError, TypeError) as error:
        pytest.skip(f"PyTorch does not take it: {str(error)[:100]}")
    s = tensors(sample, dtype)
    got = outputs(callable_of(op, TABLE[op.name])(*s.args, **s.kwargs))
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        assert rg.is_tensor(g) == torch.is_tensor(w)
        if not rg.is_tensor(g):
            assert g == pytest.approx(w, rel=1e-6, nan_ok=True)
            continue
        assert tuple(g.shape) == tuple(w.shape)
        assert TORCH[NAMES[g.dtype]] == w.dtype, f"{g.dtype}, PyTorch: {w.dtype}"
        if op.check is None:
            agree(array(g), torch_array(w), dtype_name(g), 4 * op.tol)


@each("parity_grad", lambda op, e: op.grad and op.check is None and known(op, e))
def test_first_and_second_gradients(op: Op, sample: Sample) -> None:
    if "parity" in op.skip:
        pytest.skip(op.skip["parity"])
    ours = Differentiable(callable_of(op, TABLE[op.name]), sample)
    if not ours.leaves:
        pytest.skip("no float inputs")
    theirs, leaves = torch_sample(sample, "f64" if sample.kind() == "f" else None, grad=True)
    try:
        result = torch_function(op)(*theirs.args, **theirs.kwargs)  # type: ignore[misc]
    except (RuntimeError, NotImplementedError, TypeError) as error:
        pytest.skip(f"PyTorch does not take it: {str(error)[:100]}")
    want = [w for w in outputs(result) if torch.is_tensor(w) and w.dtype.is_floating_point]
    got = [g for g in ours(*ours.leaves) if is_float(g)]
    assert [g.requires_grad for g in got] == [w.requires_grad for w in want]
    got = [g for g in got if g.requires_grad]
    want = [w for w in want if w.requires_grad]
    if not got:
        return
    vs = [pattern(g, 7 + k) for k, g in enumerate(got)]
    us = [torch.tensor(array(v)) for v in vs]
    g1 = rg.autograd.grad(got, ours.leaves, vs, create_graph=True, allow_unused=True)
    try:
        w1 = torch.autograd.grad(want, leaves, us, create_graph=True, allow_unused=True)
    except RuntimeError as error:
        pytest.skip(f"PyTorch's gradient fails: {str(error)[:100]}")
    _compare(g1, w1, op.tol)
    pairs = [
        (g, w)
        for g, w in zip(g1, w1, strict=True)
        if g is not None and w is not None and w.requires_grad
    ]
    if not pairs:
        return
    vs = [pattern(g, 17 + k) for k, (g, _) in enumerate(pairs)]
    us = [torch.tensor(array(v)) for v in vs]
    # A gradient that is constant has no history here: its own gradient is zero.
    live = [(g, v) for (g, _), v in zip(pairs, vs, strict=True) if g.requires_grad]
    g2: tuple[Any, ...] = (None,) * len(leaves)
    if live:
        g2 = rg.autograd.grad(
            [g for g, _ in live], ours.leaves, [v for _, v in live], allow_unused=True
        )
    try:
        w2 = torch.autograd.grad([w for _, w in pairs], leaves, us, allow_unused=True)
    except (RuntimeError, NotImplementedError) as error:
        pytest.skip(f"PyTorch has no second derivative: {str(error)[:100]}")
    _compare(g2, w2, op.tol)


def _compare(ours: Any, theirs: Any, tol: float) -> None:
    for g, w in zip(ours, theirs, strict=True):
        if g is None or w is None:
            # One of them may leave a zero out.
            other = array(g) if g is not None else torch_array(w) if w is not None else 0.0
            assert not np.any(other)
            continue
        agree(array(g), torch_array(w), "f64", 100 * tol)


def test_promotion_is_pytorchs() -> None:
    for a in DTYPES:
        for b in DTYPES:
            want = torch.promote_types(TORCH[a], TORCH[b])
            assert TORCH[NAMES[rg.promote_types(DTYPES[a], DTYPES[b])]] == want
            can = torch.can_cast(TORCH[a], TORCH[b])
            assert rg.can_cast(DTYPES[a], DTYPES[b]) == can, f"{a} to {b}"


def test_tolerances_cover_all_float_types() -> None:
    assert set(TOLERANCE) == {n for n, t in TORCH.items() if t.is_floating_point}


# Bad calls: the same kind of error.

BAD: dict[str, Callable[[Any], Any]] = {
    "add shapes": lambda m: m.ones(2) + m.ones(3),
    "mul shapes": lambda m: m.ones(2, 3) * m.ones(2),
    "add text": lambda m: m.ones(2) + "a",
    "add None": lambda m: m.ones(2) + None,
    "add list": lambda m: m.ones(2) + [1, 2],
    "add keyword": lambda m: m.add(m.ones(2), 1, beta=3),
    "add missing": lambda m: m.add(m.ones(2)),
    "add too many": lambda m: m.ones(2).add(1, 2, 3, 4),
    "mul twice": lambda m: m.mul(m.ones(2), 1, other=3),
    "exp number": lambda m: m.exp(2.0),
    "exp of text": lambda m: m.exp("a"),
    "mm dims": lambda m: m.mm(m.ones(2), m.ones(2, 2)),
    "mm shapes": lambda m: m.mm(m.ones(2, 3), m.ones(2, 3)),
    "mm types": lambda m: m.mm(m.ones(2, 2), m.ones(2, 2, dtype=m.float64)),
    "matmul shapes": lambda m: m.ones(2, 3) @ m.ones(4),
    "matmul number": lambda m: m.ones(2, 3) @ 2.0,
    "matmul 0-d": lambda m: m.matmul(m.ones(()), m.ones(2)),
    "bmm dims": lambda m: m.bmm(m.ones(2, 2), m.ones(2, 2)),
    "dot 2-d": lambda m: m.dot(m.ones(2, 2), m.ones(2, 2)),
    "sum dim": lambda m: m.ones(2, 3).sum(2),
    "sum dim negative": lambda m: m.ones(2, 3).sum(-3),
    "sum dim twice": lambda m: m.ones(2, 3).sum((0, 0)),
    "sum dim text": lambda m: m.ones(2, 3).sum("a"),
    "mean of ints": lambda m: m.ones(2, dtype=m.int64).mean(),
    "max empty": lambda m: m.ones(0).max(),
    "argmax empty": lambda m: m.ones(0).argmax(),
    "amax empty": lambda m: m.ones(0).amax(),
    "max dim empty": lambda m: m.ones(2, 0).max(1),
    "softmax dim": lambda m: m.ones(2).softmax(3),
    "view size": lambda m: m.ones(2, 3).view(4),
    "view of transposed": lambda m: m.ones(2, 3).t().view(6),
    "view two unknown": lambda m: m.ones(2, 3).view(-1, -1),
    "reshape size": lambda m: m.ones(2, 3).reshape(5),
    "reshape unknown": lambda m: m.ones(2, 3).reshape(-1, 4),
    "reshape unknown empty": lambda m: m.ones(0, 3).reshape(-1, 0),
    "expand": lambda m: m.ones(2, 3).expand(4, 3),
    "expand fewer": lambda m: m.ones(2, 3).expand(3),
    "expand unknown": lambda m: m.ones(3).expand(-1, 3),
    "transpose dim": lambda m: m.ones(2, 3).transpose(0, 2),
    "t of 3-d": lambda m: m.ones(2, 3, 4).t(),
    "permute number": lambda m: m.ones(2, 3).permute(0),
    "permute twice": lambda m: m.ones(2, 3).permute(0, 0),
    "permute dim": lambda m: m.ones(2, 3).permute(0, 2),
    "squeeze dim": lambda m: m.ones(2, 1).squeeze(3),
    "unsqueeze dim": lambda m: m.ones(2, 1).unsqueeze(4),
    "select index": lambda m: m.ones(2, 3).select(0, 2),
    "select dim": lambda m: m.ones(2, 3).select(2, 0),
    "narrow": lambda m: m.ones(2, 3).narrow(1, 2, 2),
    "split size": lambda m: m.ones(4).split([1, 2]),
    "split zero": lambda m: m.ones(4).split(0),
    "split negative": lambda m: m.ones(4).split(-1),
    "chunk zero": lambda m: m.ones(4).chunk(0),
    "cat empty": lambda m: m.cat([]),
    "cat shapes": lambda m: m.cat([m.ones(2, 3), m.ones(2, 4)]),
    "cat dims": lambda m: m.cat([m.ones(2, 3), m.ones(2)]),
    "cat dim": lambda m: m.cat([m.ones(2, 3)], 2),
    "cat of numbers": lambda m: m.cat([1, 2]),
    "cat of a number": lambda m: m.cat(3),
    "stack empty": lambda m: m.stack([]),
    "stack shapes": lambda m: m.stack([m.ones(2), m.ones(3)]),
    "stack dim": lambda m: m.stack([m.ones(2)], 3),
    "gather types": lambda m: m.ones(2, 3).gather(0, m.ones(2, 3)),
    "gather range": lambda m: m.ones(2, 3).gather(0, m.full((2, 3), 5)),
    "gather dims": lambda m: m.ones(2, 3).gather(0, m.zeros(2, dtype=m.int64)),
    "index_select range": lambda m: m.ones(3).index_select(0, m.tensor([3])),
    "index_select type": lambda m: m.ones(3).index_select(0, m.tensor([0.5])),
    "item many": lambda m: m.ones(2).item(),
    "bool many": lambda m: bool(m.ones(2)),
    "float many": lambda m: float(m.ones(2)),
    "index float": lambda m: [1, 2][m.ones(())],
    "len 0-d": lambda m: len(m.ones(())),
    "iter 0-d": lambda m: list(m.ones(())),
    "getitem range": lambda m: m.ones(2)[2],
    "getitem too many": lambda m: m.ones(2)[0, 0],
    "getitem 0-d": lambda m: m.ones(())[0],
    "getitem float": lambda m: m.ones(2)[0.5],
    "getitem text": lambda m: m.ones(2)["a"],
    "getitem negative step": lambda m: m.ones(4)[::-1],
    "getitem mask shape": lambda m: m.ones(4)[m.tensor([True, False])],
    "getitem tensor range": lambda m: m.ones(4)[m.tensor([4])],
    "getitem float tensor": lambda m: m.ones(4)[m.tensor([0.5])],
    "getitem index shapes": lambda m: m.ones(4, 4)[m.tensor([0, 1]), m.tensor([0, 1, 2])],
    "setitem shape": lambda m: m.ones(2, 3).__setitem__(0, m.ones(2)),
    "setitem range": lambda m: m.ones(2).__setitem__(5, 1.0),
    "setitem text": lambda m: m.ones(2).__setitem__(0, "a"),
    "backward no grad": lambda m: m.ones(()).backward(),
    "backward many": lambda m: m.ones(2, requires_grad=True).mul(2).backward(),
    "backward shape": lambda m: m.ones(2, requires_grad=True).mul(2).backward(m.ones(3)),
    "grad unused": lambda m: m.autograd.grad(
        m.ones((), requires_grad=True) * 1, m.ones((), requires_grad=True)
    ),
    "requires grad of ints": lambda m: m.ones(2, dtype=m.int64).requires_grad_(),
    "in place leaf": lambda m: m.ones(2, requires_grad=True).add_(1),
    "in place shape": lambda m: m.ones(1).add_(m.ones(2)),
    "in place type": lambda m: m.ones(2, dtype=m.int64).add_(0.5),
    "in place expanded": lambda m: m.ones(1).expand(2).add_(1),
    "numpy of grad": lambda m: m.ones(2, requires_grad=True).numpy(),
    "tensor ragged": lambda m: m.tensor([[1, 2], [3]]),
    "tensor text": lambda m: m.tensor("a"),
    "tensor of texts": lambda m: m.tensor(["a"]),
    "tensor of None": lambda m: m.tensor([None]),
    "tensor dtype": lambda m: m.tensor([1], dtype="float32"),
    "tensor device": lambda m: m.tensor([1], device="nowhere"),
    "zeros negative": lambda m: m.zeros(-1),
    "zeros text": lambda m: m.zeros("a"),
    "zeros float": lambda m: m.zeros(1.5),
    "arange empty step": lambda m: m.arange(0, 3, 0),
    "arange wrong sign": lambda m: m.arange(0, 3, -1),
    "linspace negative": lambda m: m.linspace(0, 1, -1),
    "full missing": lambda m: m.full((2,)),
    "where types": lambda m: m.where(m.ones(2), 1.0, 2.0),
    "masked_fill type": lambda m: m.ones(2).masked_fill(m.ones(2), 0.0),
    "masked_fill value": lambda m: m.ones(2).masked_fill(m.tensor([True, False]), m.ones(2)),
    "clamp nothing": lambda m: m.ones(2).clamp(),
    "bitwise float": lambda m: m.ones(2) & m.ones(2),
    "invert float": lambda m: ~m.ones(2),
    "neg bool": lambda m: -m.tensor([True]),
    "sub bool": lambda m: m.tensor([True]) - m.tensor([True]),
    "pow negative int": lambda m: m.tensor([2]) ** -1,
    "integer division by zero": lambda m: m.tensor([1]) // m.tensor([0]),
    "remainder by zero": lambda m: m.tensor([1]) % m.tensor([0]),
    "topk range": lambda m: m.ones(2).topk(3),
    "kthvalue range": lambda m: m.ones(2).kthvalue(3),
    "cumsum dim": lambda m: m.ones(2).cumsum(1),
    "diagonal same": lambda m: m.ones(2, 2).diagonal(0, 0, 0),
    "flip twice": lambda m: m.ones(2).flip(0, 0),
    "roll": lambda m: m.ones(2).roll((1, 2), 0),
    "repeat fewer": lambda m: m.ones(2, 2).repeat(2),
    "unflatten": lambda m: m.ones(4).unflatten(0, (3, 2)),
    "flatten order": lambda m: m.ones(2, 2).flatten(1, 0),
    "movedim": lambda m: m.ones(2, 2).movedim((0, 1), (0,)),
    "cross": lambda m: m.linalg.cross(m.ones(2), m.ones(2)),
    "norm dim": lambda m: m.ones(2).norm(dim=3),
    "one_hot negative": lambda m: m.nn.functional.one_hot(m.tensor([-1])),
    "embedding range": lambda m: m.nn.functional.embedding(m.tensor([5]), m.ones(2, 2)),
    "linear": lambda m: m.nn.functional.linear(m.ones(2, 3), m.ones(4, 2)),
    "cross_entropy target": lambda m: m.nn.functional.cross_entropy(m.ones(2, 3), m.tensor([0, 5])),
    "cross_entropy batch": lambda m: m.nn.functional.cross_entropy(m.ones(2, 3), m.tensor([0])),
    "nll reduction": lambda m: m.nn.functional.nll_loss(
        m.ones(2, 3), m.tensor([0, 1]), reduction="median"
    ),
    "dropout p": lambda m: m.nn.functional.dropout(m.ones(2), p=1.5),
    "layer_norm shape": lambda m: m.nn.functional.layer_norm(m.ones(2, 3), (2,)),
    "unknown attribute": lambda m: m.ones(2).no_such_thing,
    "unknown function": lambda m: m.no_such_thing(2),
}


def _kind(m: Any, call: Callable[[Any], Any]) -> type[BaseException] | None:
    try:
        call(m)
    except Exception as error:
        return type(error)
    return None


@pytest.mark.parametrize("name", BAD)
def test_bad_calls_raise_the_same_type(name: str) -> None:
    theirs = _kind(torch, BAD[name])
    assert theirs is not None, "PyTorch accepts this"
    ours = _kind(rg, BAD[name])
    assert ours is not None, f"no error; PyTorch raises {theirs.__name__}"
    # Subclasses of RuntimeError, such as LinAlgError, count as what users catch.
    bases = {t for t in theirs.__mro__ if t not in (Exception, BaseException, object)}
    assert ours in bases or issubclass(ours, theirs), f"{ours.__name__}, not {theirs.__name__}"
