"""The engine's side: texts that it runs, its tensors, and their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import rustgrad as rg
from rustgrad.utils.checkpoint import checkpoint

from . import functions, oracle
from .ops import nested
from .oracle import Tensor
from .scalar import Scalar
from .shapes import Shape

LARGEST = 100.0
# By which numbers may differ, given the largest of what they were computed from: functions like
# ``(a * b).sin()`` magnify what was rounded by as much as their arguments, up to LARGEST ** 2.
PRECISION = {oracle.DOUBLE: 1e-9, oracle.SINGLE: 1e-3}

NAMES = {"rg": rg, **{n: v for n, v in vars(functions).items() if n[0].isupper()}}
NAMES |= {"in_thread": functions.in_thread, "checkpoint": checkpoint}
MODES: dict[str, tuple[str, Callable[[], Any]]] = {
    "no_grad": ("rg.no_grad()", rg.no_grad),
    "inference": ("rg.inference_mode()", lambda: rg.inference_mode()),
    "packed": ("packed()", functions.packed),
}
UNRECORDED = ("no_grad", "inference")
_compiled: dict[str, Callable[..., Any]] = {}


def compiled(text: str, ins: int, params: int, is_expression: bool) -> Callable[..., Any]:
    """The text of an operation as a function."""
    found = _compiled.get(text)
    if found is None:
        names = [f"a{i}" for i in range(ins)]
        fields = {f"p{i}": f"p{i}" for i in range(params)}
        body = text.format(*names, **fields)
        arguments = ", ".join([*names, *fields])
        scope = dict(NAMES)
        exec(f"def f({arguments}): {'return ' if is_expression else ''}{body}", scope)
        found = _compiled[text] = scope["f"]
    return found


def weights(shape: Shape, salt: int = 0) -> list[float]:
    """Factors that no two neighbours share."""
    return [
        (-1.0 if i % 3 == 1 else 1.0) * ((7 * i + 3 * salt) % 5 + 1) / 4 for i in range(prod(shape))
    ]


def weighed(
    columns: Sequence[Sequence[Scalar]], tensors: Sequence[Tensor], salt: int = 0
) -> list[tuple[Scalar, float]]:
    """Scalars of some tensors, each with its weight."""
    return [
        pair
        for i, (nodes, t) in enumerate(zip(columns, tensors, strict=True))
        for pair in zip(nodes, weights(t.shape, i + salt), strict=True)
    ]


def literal(shape: Shape, values: Sequence[float], dtype: str = oracle.DOUBLE) -> str:
    """The text of a tensor."""
    if 0 in shape:
        return f"rg.zeros({tuple(shape)}, dtype=rg.{dtype})"
    text = str(nested(shape, values)).replace("(", "[").replace(",)", "]").replace(")", "]")
    return f"rg.tensor({text}, dtype=rg.{dtype})"


def tensor(shape: Shape, values: Sequence[float], dtype: str = oracle.DOUBLE) -> Any:
    """A tensor of the engine."""
    if 0 in shape:
        return rg.zeros(shape, dtype=getattr(rg, dtype))
    return rg.tensor(nested(shape, values), dtype=getattr(rg, dtype))


def elements(t: Any) -> list[float]:
    """The elements of a tensor of the engine."""
    return t.detach().reshape(-1).tolist()


def close(got: Sequence[float], want: Sequence[float], allowed: float) -> bool:
    """Whether all numbers agree."""
    return len(got) == len(want) and all(
        abs(g - w) <= allowed for g, w in zip(got, want, strict=True)
    )
