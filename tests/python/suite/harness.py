"""From samples to tensors and back: what the checks of the suite are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import rustgrad as rg
import rustgrad.autograd.forward_ad as fwAD

from .registry import FLOATS, Op, Sample, round_to

_C: Any = rg._C

DTYPES = {
    "f64": rg.float64,
    "f32": rg.float32,
    "f16": rg.float16,
    "bf16": rg.bfloat16,
    "i64": rg.int64,
    "i32": rg.int32,
    "i16": rg.int16,
    "i8": rg.int8,
    "u8": rg.uint8,
    "bool": rg.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
NUMPY = {
    "f64": np.float64,
    "f32": np.float32,
    "f16": np.float16,
    "i64": np.int64,
    "i32": np.int32,
    "i16": np.int16,
    "i8": np.int8,
    "u8": np.uint8,
    "bool": np.bool_,
}
# Relative and absolute; the relative part is a few roundings of the type.
TOLERANCE = {"f64": (1e-10, 1e-11), "f32": (1e-5, 2e-6), "f16": (5e-3, 2e-3), "bf16": (4e-2, 2e-2)}
LARGEST = {"f64": np.inf, "f32": 3.4028235e38, "f16": 65504.0, "bf16": 3.3895314e38}


def table() -> dict[str, dict[str, Any]]:
    """The op table by name; an op that has no form but the one in place goes by that one's name."""
    return {
        in_place_name(entry) if is_only_in_place(entry) else entry["name"]: entry
        for entry in _C.op_table()
    }


def is_only_in_place(entry: dict[str, Any]) -> bool:
    """Whether an op has no form but the one in place."""
    return entry["in_place"] and not any(entry[form] for form in ("function", "method", "nn"))


def in_place_name(entry: dict[str, Any]) -> str:
    """The name of the form in place."""
    return f"{entry['exported_name']}_"


def is_visible(entry: dict[str, Any]) -> bool:
    """Whether Python can call the op in some form."""
    return any(entry[form] for form in ("function", "method", "in_place", "nn"))


def callable_of(op: Op, entry: dict[str, Any]) -> Callable[..., Any]:
    """The op as a function of its first argument and the others."""
    if is_only_in_place(entry):
        return lambda x, *args, **kwargs: getattr(x.clone(), op.name)(*args, **kwargs)
    name = entry["exported_name"]
    if op.method_only or not (entry["function"] or entry["nn"]):
        return lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)
    return getattr(rg, name) if entry["function"] else getattr(_C, name)


def caller(op: Op, entry: dict[str, Any]) -> Callable[..., Any]:
    """As :func:`callable_of`; an op that draws random numbers starts from a fixed seed."""
    f = callable_of(op, entry)
    if op.check is None:
        return f

    def seeded(*args: Any, **kwargs: Any) -> Any:
        rg.manual_seed(1234)
        return f(*args, **kwargs)

    return seeded


def tensor(a: np.ndarray, dtype: str | None = None) -> Any:
    """A contiguous tensor with the values of ``a``."""
    if dtype is None:
        dtype = {"f": "f64", "i": "i64", "b": "bool"}[a.dtype.kind]
    if dtype == "bf16":
        return rg.tensor(a, dtype=rg.bfloat16)
    return rg.tensor(np.ascontiguousarray(a, dtype=NUMPY[dtype]).reshape(a.shape))


def array(t: Any) -> np.ndarray:
    """The elements of a tensor (or a number); bfloat16 in float64."""
    if not rg.is_tensor(t):
        return np.asarray(t)
    t = t.detach()
    if t.dtype == rg.bfloat16:
        return np.asarray(t.tolist(), dtype=np.float64).reshape(tuple(t.shape))
    return t.numpy().copy()


def tensors(sample: Sample, dtype: str | None, make: Callable[..., Any] = tensor) -> Sample:
    """The sample with tensors for arrays; those whose dtype varies get ``dtype``."""
    kind = sample.kind()
    return sample.cast(dtype).map(lambda a: make(a, dtype if a.dtype.kind == kind else None))


def outputs(result: Any) -> tuple[Any, ...]:
    """The results as a flat tuple of tensors and numbers."""
    if isinstance(result, tuple | list):
        return tuple(x for r in result for x in outputs(r))
    return (result,)


def agree(got: np.ndarray, want: Any, dtype: str | None, factor: float = 1.0) -> None:
    """Asserts equal shapes, and values within the tolerance of ``dtype``."""
    want = np.asarray(want)
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    if dtype not in FLOATS:
        wrapped = want.astype(got.dtype)
        if not np.array_equal(got, wrapped):
            raise AssertionError(_worst(got, wrapped, got != wrapped))
        return
    rtol, atol = (factor * t for t in TOLERANCE[dtype])
    got, want = got.astype(np.float64), want.astype(np.float64)
    largest = LARGEST[dtype]
    with np.errstate(all="ignore"):
        # What the type cannot hold is infinite; near the border both are right.
        over = np.abs(want) > largest * (1 - 0.01)
        close = np.abs(got - want) <= atol + rtol * np.abs(want)
        fits = (
            close
            | (got == want)
            | (np.isnan(got) & np.isnan(want))
            | (over & (np.abs(got) > largest * 0.98) & (np.sign(got) == np.sign(want)))
        )
    if not fits.all():
        raise AssertionError(_worst(got, want, ~fits) + f" (rtol={rtol:.3g}, atol={atol:.3g})")


def _worst(got: np.ndarray, want: np.ndarray, wrong: np.ndarray) -> str:
    with np.errstate(all="ignore"):
        error = np.where(wrong, np.abs(got.astype(np.float64) - want.astype(np.float64)), -1.0)
    error = np.where(np.isnan(error) & wrong, np.inf, error)
    at = np.unravel_index(np.argmax(error), error.shape) if error.ndim else ()
    return (
        f"{int(wrong.sum())} of {wrong.size} elements differ, most at {tuple(map(int, at))}: "
        f"got {got[at]!r}, expected {want[at]!r}"
    )


def dtype_name(t: Any) -> str | None:
    """The short name of a tensor's dtype."""
    return NAMES[t.dtype] if rg.is_tensor(t) else None


def is_float(t: Any) -> bool:
    """Whether ``t`` is a tensor that can have a gradient."""
    return rg.is_tensor(t) and t.is_floating_point()


class Differentiable:
    """A sample of an op as a function of its float tensors, in float64."""

    def __init__(self, f: Callable[..., Any], sample: Sample, make: Any = tensor) -> None:
        self.f = f
        self.sample = tensors(sample, "f64" if sample.kind() == "f" else None, make)
        leaves: list[Any] = []

        def mark(a: np.ndarray) -> Any:
            t = make(a)
            if a.dtype.kind == "f":
                leaves.append(t.requires_grad_())
            return t

        self.marked = sample.cast("f64" if sample.kind() == "f" else None).map(mark)
        self.leaves = tuple(leaves)

    def __call__(self, *floats: Any) -> tuple[Any, ...]:
        """The float results, with ``floats`` for the float tensors."""
        places = {id(t): x for t, x in zip(self.leaves, floats, strict=True)}
        args = [_replaced(a, places) for a in self.marked.args]
        kwargs = {k: _replaced(v, places) for k, v in self.marked.kwargs.items()}
        return tuple(o for o in outputs(self.f(*args, **kwargs)) if is_float(o))


def _replaced(v: Any, places: dict[int, Any]) -> Any:
    if rg.is_tensor(v):
        return places.get(id(v), v)
    if isinstance(v, list | tuple) and any(rg.is_tensor(x) for x in v):
        return type(v)(_replaced(x, places) for x in v)
    return v


def pattern(t: Any, seed: int) -> Any:
    """A random tensor like ``t``, the same for the same seed."""
    values = np.random.default_rng(seed).uniform(-1, 1, size=tuple(t.shape))
    return rg.tensor(np.asarray(values), dtype=t.dtype)


def dot(xs: Any, ys: Any) -> float:
    """The inner product of two lists of tensors; ``None`` is zero."""
    total = 0.0
    for x, y in zip(xs, ys, strict=True):
        if x is not None and y is not None:
            total += float(np.sum(array(x) * array(y)))
    return total


def forward(f: Callable[..., Any], primals: Any, tangents: Any) -> list[Any]:
    """The tangents of the results of ``f``."""
    with fwAD.dual_level():
        duals = [fwAD.make_dual(x, u) for x, u in zip(primals, tangents, strict=True)]
        return [y if y is None else fwAD.unpack_dual(y).tangent for y in outputs(f(*duals))]


def strided_variants(a: np.ndarray) -> dict[str, np.ndarray]:
    """The same values in other layouts, by name; only those that differ from a contiguous one."""
    variants = {}
    if a.ndim >= 2 and a.size > 1:
        variants["transposed"] = np.ascontiguousarray(a.T).T
    if a.ndim >= 1 and a.size:
        wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1] + 1), dtype=a.dtype)
        wide[..., 1::2] = a
        variants["sliced"] = wide[..., 1::2]
    return variants


def expanded(a: np.ndarray) -> np.ndarray:
    """The first row of ``a`` for all rows, with a stride of 0."""
    if a.ndim == 0 or a.shape[0] == 0:
        return a
    row = np.ascontiguousarray(a[:1])
    strides = (0, *row.strides[1:])
    return np.lib.stride_tricks.as_strided(row, a.shape, strides, writeable=True)


def share(a: np.ndarray, dtype: str | None = None) -> Any:
    """A tensor in the layout of ``a``; its float type varies by ``dtype``."""
    t = rg.from_numpy(a)
    strides = [s * a.itemsize for s in t.stride()]
    same = [n <= 1 or s == t for n, s, t in zip(a.shape, a.strides, strides, strict=True)]
    assert all(same) or a.size == 0
    return t if dtype is None or DTYPES[dtype] == t.dtype else tensor(round_to(a, dtype), dtype)
