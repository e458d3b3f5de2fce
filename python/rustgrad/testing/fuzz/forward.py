"""Programs in forward mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rustgrad.autograd import forward_ad

from . import scalar as sc
from .engine import UNRECORDED, close, compiled, elements, literal, tensor, weights
from .ops import OPS
from .oracle import Tensor
from .scalar import Scalar
from .shapes import need
from .statement import Difference, Statement

if TYPE_CHECKING:
    from .machine import Machine


def is_plain(s: Statement) -> bool:
    """Whether forward mode means by a statement what reverse mode does."""
    if s.op in OPS:
        return s.mode not in UNRECORDED and not OPS[s.op].once
    return s.op not in ("grad", "requires_grad_", "node_hook", "detach_")


def jvp(m: Machine, s: Statement, ins: list[Tensor]) -> None:
    """Runs the program again, with tangents."""
    program = [r for i, r in enumerate(m.ran) if i not in m.refused]
    need(all(is_plain(r) for r in program))
    directions: dict[Scalar, float] = {}
    env: dict[str, Any] = {}
    lines = ["with forward_ad.dual_level():"]
    try:
        with forward_ad.dual_level():
            for i, r in enumerate(m.ran):
                if i not in m.refused and r.op in ("leaf", "delete", "detach", *OPS):
                    if r.op == "leaf":
                        lines.append(dual_leaf(m, r, env, directions))
                    else:
                        lines.append(m.texts.get(i, ""))
                        run_dual(m, r, env)
            compare_tangents(m, env, directions, lines)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        lines = [lines[0], *(f"    {line}" for line in lines[1:])]
        lines[-1] += "  # must not raise"
        raise Difference("tangent", f"{type(error).__name__}: {error}", lines, True) from None
    m.features["forward mode"] += 1


def dual_leaf(
    m: Machine, s: Statement, env: dict[str, Any], directions: dict[Scalar, float]
) -> str:
    """Makes a leaf; one that requires grad gets a tangent instead. Returns its text."""
    shape, data, requires_grad, dtype = s.params
    x, text = tensor(shape, data, dtype), literal(shape, data, dtype)
    if requires_grad:
        w = weights(shape, len(env))
        x = forward_ad.make_dual(x, tensor(shape, w, dtype))
        text = f"forward_ad.make_dual({text}, {literal(shape, w, dtype)})"
        directions.update(zip(m.leaves[s.out], w, strict=True))
    env[s.out] = x
    return f"{s.out} = {text}"


def run_dual(m: Machine, s: Statement, env: dict[str, Any]) -> None:
    """Runs one statement in forward mode."""
    if s.op == "delete":
        del env[s.ins[0]]
        return
    if s.op == "detach":
        x = env[s.ins[0]]
        env[s.out] = x.data if s.params == ("data",) else x.detach()
        return
    op = OPS[s.op]
    function = compiled(op.text, len(s.ins), len(s.params), op.kind != "write")
    result = function(*(env[n] for n in s.ins), *s.params)
    if op.many:
        env.update((f"{s.out}_{i}", r) for i, r in enumerate(result))
    elif op.kind != "write":
        env[s.out] = result


def compare_tangents(
    m: Machine, env: dict[str, Any], directions: dict[Scalar, float], lines: list[str]
) -> None:
    """Holds the tangents of all tensors against the oracle's."""
    everything = [n for t in m.tensors.values() for n in t.owner.nodes]
    found = sc.tangents(directions, everything)
    scale = max(map(abs, found.values()), default=0.0)
    need(scale < 1e6)
    for name, t in m.tensors.items():
        want = [found.get(t.owner.nodes[i], 0.0) for i in t.at]
        tangent = forward_ad.unpack_dual(env[name]).tangent
        got = [0.0] * len(want) if tangent is None else elements(tangent)
        if not close(got, want, m.precision * max(scale, 1.0)):
            allowed = 100 * m.precision
            check = [
                *lines[1:],
                f"want = {literal(t.shape, want, t.dtype)}",
                f"got = forward_ad.unpack_dual({name}).tangent",
                f"assert rg.allclose(got, want, rtol={allowed:g}, atol={allowed:g})",
            ]
            text = f"of {name} is {got} instead of {want}"
            code = [lines[0], *(f"    {line}" for line in check)]
            raise Difference("tangent", text, code, True)
