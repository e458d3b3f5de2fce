"""PyTorch's rules for the type of a result, written out."""

from __future__ import annotations

from typing import Any

import rustgrad as rg

from .harness import DTYPES, NAMES

_ORDER = ["bool", "u8", "i8", "i16", "i32", "i64", "f16", "bf16", "f32", "f64"]
DEFAULT = "f32"


def promote(a: str, b: str) -> str:
    """The smallest type that holds both, as PyTorch sees it."""
    if a == b:
        return a
    if {a, b} == {"u8", "i8"}:
        return "i16"
    if {a, b} == {"f16", "bf16"}:
        return "f32"
    return max(a, b, key=_ORDER.index)


def category(dtype: str) -> int:
    """0 for bool, 1 for integers, 2 for floats."""
    return 0 if dtype == "bool" else 1 if dtype[0] in "iu" else 2


def result_type(operands: list[Any]) -> str:
    """The type that tensors and numbers promote to.

    Tensors with dimensions decide; a 0-d tensor counts only if its category is higher, and a number
    only if its is higher still.
    """
    groups: list[str | None] = [None, None, None]
    for x in operands:
        if rg.is_tensor(x):
            place, dtype = (0 if x.dim() else 1), NAMES[x.dtype]
        elif isinstance(x, bool):
            place, dtype = 2, "bool"
        elif isinstance(x, int):
            place, dtype = 2, "i64"
        elif isinstance(x, float):
            place, dtype = 2, DEFAULT
        else:
            continue
        old = groups[place]
        groups[place] = dtype if old is None else promote(old, dtype)
    found: str | None = None
    for dtype in groups:
        if dtype is not None and (found is None or category(dtype) > category(found)):
            found = dtype
    return found or DEFAULT


# Elementwise ops whose integer inputs become the default float type.
FLOAT = set(
    """
    acos acosh asin asinh atan atanh atan2 copysign cos cosh deg2rad digamma div erf erfc erfinv exp
    exp2 expm1 i0 i0e i1 i1e igamma igammac lgamma log log10 log1p log2 log_ndtr logaddexp
    logit ndtr ndtri polygamma rad2deg reciprocal rsqrt sigmoid sin sinc sinh sqrt tan tanh xlog1py
    logaddexp2 xlogy zeta erfcx log_sigmoid
    """.split()
)
# Elementwise ops whose result is bool.
TRUTH = set(
    """
    eq ne lt le gt ge isnan isinf isfinite isposinf isneginf isclose logical_and logical_or
    logical_xor logical_not signbit
    """.split()
)
# Reductions that add up integers in int64.
SUM = {"sum", "nansum", "prod", "cumsum", "cumprod"}
# What returns positions or counts.
INDEX = {"argmax", "argmin", "argsort", "nonzero", "count_nonzero", "searchsorted"}
# What has the type of the first operand.
FIRST = {"clone", "copy_", "masked_fill"}
# What needs floats (or makes them).
ANY = {"all", "any"}


def is_ruled(name: str, entry: dict[str, Any]) -> bool:
    """Whether this table tells the type of the result; if not, the comparison with PyTorch does."""
    if name in ("to", "type", "cast"):
        return False
    named = INDEX | FIRST | TRUTH | ANY | SUM
    return name in named or entry["kernel"] in ("view", "map")


def expected(name: str, entry: dict[str, Any], args: list[Any], kwargs: dict) -> str | None:
    """The type of the (first) result; ``None`` if no rule of this table tells."""
    if isinstance(kwargs.get("dtype"), rg.dtype):
        return NAMES[kwargs["dtype"]]
    operands = [*args, *(v for k, v in kwargs.items() if rg.is_tensor(v))]
    if name in INDEX:
        return "i64"
    if name in TRUTH or name in ANY:
        return "u8" if name in ANY and NAMES[args[0].dtype] == "u8" else "bool"
    if name in SUM:
        dtype = NAMES[args[0].dtype]
        return dtype if category(dtype) == 2 else "i64"
    if entry["kernel"] == "view" or name in FIRST:
        return NAMES[args[0].dtype]
    if not operands:
        return None
    if name in ("where", "_where"):
        return result_type(operands[1:])
    if name == "div" and kwargs.get("rounding_mode") is not None:
        return result_type(operands)
    dtype = result_type([x for x in operands if rg.is_tensor(x)] + _numbers(entry, args))
    if name in FLOAT and category(dtype) < 2:
        return DEFAULT
    return dtype


def _numbers(entry: dict[str, Any], args: list[Any]) -> list[Any]:
    """The numbers among positional arguments that stand for tensors."""
    params = [p.strip() for p in entry["signatures"][0].strip("()").split(", ")]
    tensors = [":" not in p or "Tensor" in p for p in params]
    return [
        a
        for a, is_operand in zip(args, tensors, strict=False)
        if is_operand and not rg.is_tensor(a)
    ]


assert set(_ORDER) == set(DTYPES)
