"""Makes a program that shows a difference small, and prints it."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import rustgrad as rg

from . import functions
from .machine import Machine
from .ops import OPS
from .oracle import DOUBLE
from .shapes import Unfit
from .statement import Difference, Program, Statement


def live() -> tuple[int, int]:
    """Nodes and bytes that are alive."""
    return rg._C.live_nodes(), rg._C.live_bytes()


def leak(before: tuple[int, int]) -> Difference | None:
    """A difference, if more is alive than before."""
    if live() == before:
        return None
    gc.collect()
    nodes, size = (b - a for a, b in zip(before, live(), strict=True))
    more = nodes > 0 or size > 0
    return Difference("leak", f"{nodes} nodes and {size} bytes") if more else None


def examine(program: Program, script: bool = False) -> tuple[Difference | None, list[str]]:
    """Runs a program: the difference it shows, if any, and its lines.

    Raises:
        Unfit: the program makes no sense.

    >>> leaf = Statement("leaf", (), ((2,), (0.5, -1.0), True, DOUBLE), "x")
    >>> difference, lines = examine([leaf, Statement("sin", ("x",), (), "y")], script=True)
    >>> difference is None, lines[-1]
    (True, 'y = x.sin()')
    """
    before = live()
    machine = Machine(script)
    try:
        for s in program:
            machine.run(s)
        machine.finish()
        found = None
    except Difference as difference:
        found = difference.with_traceback(None)
    except Unfit:
        machine.close()
        raise
    lines = machine.lines or []
    machine.close()
    del machine
    return found or leak(before), lines


def sign(difference: Difference) -> str:
    """What stays the same while a program is shrunk: the kind, and the first words of an error."""
    words = difference.text.split() if "refusal" in difference.kind else []
    return " ".join([difference.kind, *(w for w in words[:8] if w.isalpha())])


def shrunk(program: Program, difference: Difference, tries: int = 2000) -> Program:
    """The smallest program found that shows such a difference."""
    wanted = sign(difference)
    left = tries

    def shows(candidate: Program) -> bool:
        nonlocal left
        left -= 1
        try:
            found, _ = examine(candidate)
        except Unfit:
            return False
        return found is not None and sign(found) == wanted

    best = list(program)
    progress = True
    while progress and left > 0:
        progress = False
        for candidate in candidates(best):
            if left <= 0:
                break
            if shows(candidate):
                best, progress = list(candidate), True
                break
    return best


def candidates(program: Program) -> Iterator[Program]:
    """Simpler programs, the simplest first."""
    n = len(program)
    size = n // 2
    while size > 1:
        for start in range(n - size, -1, -size):
            yield without(program, range(start, start + size))
        size //= 2
    for i in reversed(range(n)):
        yield without(program, [i])
    for i in reversed(range(n)):
        s = program[i]
        if s.ins and s.out:
            for name in s.ins:
                yield bypassed(program, i, name)
        for simpler in simplifications(s):
            yield [*program[:i], simpler, *program[i + 1 :]]


def without(program: Program, dropped: Sequence[int]) -> Program:
    """The program without some statements and without what reads their results."""
    kept: list[Statement] = []
    names: set[str] = set()
    for i, s in enumerate(program):
        if i in dropped or any(stem(n) in names for n in s.ins if s.op != "check"):
            if s.out:
                names.add(s.out)
        elif s.op == "check":
            kept += checked(s, [stem(n) not in names for n in s.ins])
        else:
            kept.append(s)
    return kept


def stem(name: str) -> str:
    """The statement that a name comes from."""
    return name.split("_")[0]


def checked(s: Statement, kept: Sequence[bool]) -> list[Statement]:
    """A check of some of the roots and targets."""
    count, *rest = s.params
    roots = [n for n, k in zip(s.ins[:count], kept, strict=False) if k]
    targets = [n for n, k in zip(s.ins[count:], kept[count:], strict=True) if k]
    params = (len(roots), *rest)
    return [replace(s, ins=(*roots, *targets), params=params)] if roots and targets else []


def bypassed(program: Program, i: int, name: str) -> Program:
    """The program with a statement's result replaced by one of its inputs."""
    out = program[i].out

    def renamed(s: Statement) -> Statement:
        return replace(s, ins=tuple(name if stem(n) == out else n for n in s.ins))

    return [*program[:i], *map(renamed, program[i + 1 :])]


def simplifications(s: Statement) -> Iterator[Statement]:
    """Simpler statements in place of one."""
    if s.mode:
        yield replace(s, mode="")
    if s.op == "check":
        for i in range(len(s.ins)):
            yield from checked(s, [k != i for k in range(len(s.ins))])
        if s.params[1] > 2:
            yield replace(s, params=(s.params[0], 2))
    elif s.op == "leaf":
        yield from simpler_leaves(s)
    elif s.op == "backward":
        count = s.params[0]
        yield from switched(s, (count, True, False))
        for i in range(len(s.ins)):
            fewer = (count - (i < count), *s.params[1:])
            if fewer[0]:
                yield replace(s, ins=(*s.ins[:i], *s.ins[i + 1 :]), params=fewer)
    elif s.op == "grad":
        yield from switched(s, (False, True, False))
    elif s.op in OPS:
        kind = OPS[s.op].kind
        names = {
            "fresh": ["clone", "scale", "mul"],
            "write": ["zero_", "scale_", "mul_"],
            "view": ["all"],
        }
        for other in names.get(kind, []):
            if other == s.op:
                break
            ins = s.ins[: 2 if other.startswith("mul") else 1]
            if other.startswith("mul") and len(ins) < 2:
                continue
            yield replace(s, op=other, ins=ins, params=(2.0,) if other.startswith("scale") else ())


def switched(s: Statement, simplest: Sequence[Any]) -> Iterator[Statement]:
    """Statements with one parameter as in the simplest case."""
    for i, (value, wanted) in enumerate(zip(s.params, simplest, strict=True)):
        if value != wanted:
            yield replace(s, params=(*s.params[:i], wanted, *s.params[i + 1 :]))


def simpler_leaves(s: Statement) -> Iterator[Statement]:
    """Smaller leaves, without a gradient, with simpler numbers, of the usual type."""
    shape, data, requires_grad, dtype = s.params
    shapes: list[Any] = [()] if shape else []
    for d, n in enumerate(shape):
        shapes.append(shape[:d] + shape[d + 1 :])
        shapes += [(*shape[:d], k, *shape[d + 1 :]) for k in sorted({1, 2, n - 1}) if 0 < k < n]
    for new in shapes:
        if prod(new) <= len(data):
            yield replace(s, params=(new, data[: prod(new)], requires_grad, dtype))
    if requires_grad:
        yield replace(s, params=(shape, data, False, dtype))
    plain = tuple(float(i + 1) for i in range(len(data)))
    if data != plain:
        yield replace(s, params=(shape, plain, requires_grad, dtype))
    if dtype != DOUBLE:
        yield replace(s, params=(shape, data, requires_grad, DOUBLE))


def script(program: Program) -> str:
    """Plain code that fails as the program does; empty if it does not."""
    difference, lines = examine(program, script=True)
    if difference is None:
        return ""
    check = difference.check
    if difference.kind == "leak":
        live = "(rg._C.live_nodes(), rg._C.live_bytes())"
        lines = [f"    {line}" for line in lines]
        lines = ["def program():", *lines, "", "", f"before = {live}", "program()"]
        check = ["gc.collect()", f"assert {live} == before"]
    text = "\n".join(check if difference.alone else [*lines, *check]) + "\n"
    head = "import rustgrad as rg\n"
    if "forward_ad" in text:
        head += "from rustgrad.autograd import forward_ad\n"
    if "checkpoint(" in text:
        head += "from rustgrad.utils.checkpoint import checkpoint\n"
    for module in ("gc", "contextlib"):
        if f"{module}." in text:
            head = f"import {module}\n{head}"
    for name, thing in vars(functions).items():
        if getattr(thing, "__module__", "") == functions.__name__ and f"{name}" in text:
            imports = "import threading\n" if name == "in_thread" else ""
            head += f"{imports}\n\n{inspect.getsource(thing)}"
    head = head.replace(": Any", "").replace(" -> Any", "").replace("list[Any]", "list")
    head = head.replace("(f: Callable[[], Any])", "(f)")
    return f"{head}\n{text}"
