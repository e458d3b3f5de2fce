"""Runs a program by the engine and by the oracle, statement by statement, and compares."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any

import rustgrad as rg

from . import derivatives, forward, history, oracle
from .engine import LARGEST, MODES, PRECISION, UNRECORDED, close, compiled, elements, literal
from .ops import MOST_ELEMENTS, OPS, Op
from .oracle import Tensor, World
from .scalar import Scalar
from .shapes import Shape, Unfit, is_adjacent, is_strided, need
from .statement import REFUSED, Difference, Statement

# Statements that are no operations of the table.
STATEMENTS: dict[str, Callable[[Machine, Statement, list[Tensor]], None]] = {
    "leaf": history.leaf,
    "detach": history.detach,
    "detach_": history.detach_,
    "requires_grad_": history.requires_grad_,
    "retain_grad": history.retain_grad,
    "register_hook": history.register_hook,
    "node_hook": history.node_hook,
    "allow_mutation": history.allow_mutation,
    "delete": history.delete,
    "backward": derivatives.backward,
    "grad": derivatives.grad,
    "check": derivatives.check,
    "jvp": forward.jvp,
}


def keeps(op: Op, s: Statement) -> bool:
    """Whether an operation may keep its parameters, or itself, for its gradient."""
    return bool(s.params) or op.family.startswith(("custom", "checkpoint")) or "3" in op.text


class Machine:
    """Both sides of one program."""

    def __init__(self, script: bool = False) -> None:
        self.world = World()
        self.blocks = contextlib.ExitStack()
        self.tensors: dict[str, Tensor] = {}
        self.engine: dict[str, Any] = {}
        self.lines: list[str] | None = [] if script else None
        self.features: Counter[str] = Counter()
        self.refused: set[int] = set()
        # Views that were made leaves of their own.
        self.own: set[str] = set()
        self.ran: list[Statement] = []
        # Whether a gradient that is not a leaf's passes through a hook.
        self.inner_hooks = False
        # The scalars that leaves began with.
        self.leaves: dict[str, list[Scalar]] = {}
        # The text of each statement, where scripts are made.
        self.texts: dict[int, str] = {}
        # By how much numbers may differ, in units of the largest of what they come from.
        self.precision = PRECISION[oracle.DOUBLE]

    # The two sides of a statement. --------------------------------------------------------------

    def run(self, s: Statement) -> None:
        """Runs a statement; raises :class:`Unfit` if it makes no sense.

        Raises:
            Difference: engine and oracle disagree.
        """
        self.world.recording, self.world.packing = s.mode not in UNRECORDED, s.mode == "packed"
        self.world.inferring = s.mode == "inference"
        op = OPS.get(s.op)
        try:
            ins = [self.tensors[n] for n in s.ins]
        except KeyError:
            raise Unfit from None
        family = s.op if op is None else op.family
        if op is None:
            STATEMENTS[s.op](self, s, ins)
        else:
            getattr(self, f"_{op.kind}")(s, op, ins)
        self.ran.append(s)
        self.features[family] += 1
        if s.mode:
            self.features[s.mode] += 1

    def attempt(
        self,
        s: Statement,
        text: Callable[[], str],
        call: Callable[[], Any],
        must: Iterable[str] = (),
        may: Iterable[str] = (),
    ) -> Any:
        """What the engine returns, or ``REFUSED`` if it refuses for a reason that holds."""
        line = ""
        if self.lines is not None:
            line = self.texts[len(self.ran)] = text()
            if s.mode:
                line = f"with {MODES[s.mode][0]}: {line}"
        try:
            if s.mode:
                with MODES[s.mode][1]():
                    result = call()
            else:
                result = call()
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            known = isinstance(error, RuntimeError)
            for reason in (*must, *may):
                if known and reason in message:
                    self.refused.add(len(self.ran))
                    self.features[f"refused: {reason}"] += 1
                    if self.lines is not None:
                        self.lines.append(f"with contextlib.suppress(RuntimeError): {line}")
                    return REFUSED
            reasons = " or ".join(repr(r) for r in (*must, *may))
            allowed = f"only {reasons} would be right" if reasons else "there is no reason to"
            raise Difference(
                "refusal", f"{message} ({allowed})", [f"{line}  # must not raise this"]
            ) from None
        if must:
            check = [
                "try:", f"    {line}", "except RuntimeError:", "    pass", "else:",
                f"    raise AssertionError({' or '.join(must)!r})",
            ]  # fmt: skip
            raise Difference("missing refusal", f"{s.op}: {' or '.join(must)}", check)
        if self.lines is not None:
            self.lines.append(line)
        return result

    def say(self, line: str) -> None:
        """Adds a line to the script."""
        if self.lines is not None:
            self.lines.append(line)

    def names(self, s: Statement, op: Op | None, count: int) -> list[str]:
        """What the results of a statement are called."""
        return [f"{s.out}_{i}" for i in range(count)] if op is not None and op.many else [s.out]

    def call(
        self,
        s: Statement,
        op: Op,
        must: Iterable[str],
        results: int = 0,
        may: Iterable[str] = (),
    ) -> Any:
        """Runs an operation of the table by the engine."""
        function = compiled(op.text, len(s.ins), len(s.params), op.kind != "write")
        arguments = [self.engine[n] for n in s.ins]

        def text() -> str:
            line = op.text.format(*s.ins, **{f"p{i}": p for i, p in enumerate(s.params)})
            if op.kind == "write":
                return line
            names = self.names(s, op, results)
            return f"{', '.join(names)}{',' * (op.many and results == 1)} = {line}"

        return self.attempt(s, text, lambda: function(*arguments, *s.params), must, may)

    def bind(self, s: Statement, outs: Sequence[Tensor], results: Any) -> None:
        """Names results and compares them."""
        op = OPS.get(s.op)
        names = self.names(s, op, len(outs))
        if op is None or not op.many:
            results = [results]
        need(not any(n in self.tensors for n in names))
        for name, t, result in zip(names, outs, results, strict=True):
            self.tensors[name], self.engine[name] = t, result
            self.precision = max(self.precision, PRECISION[t.dtype])
        for name in names:
            self.compare(name)

    def compare(self, name: str) -> None:
        """Holds the value, shape and flags of a tensor against the oracle's."""
        t, got = self.tensors[name], self.engine[name]
        if tuple(got.shape) != t.shape:
            check = [f"assert {name}.shape == {t.shape}, {name}.shape"]
            raise Difference("shape", f"{name} is {tuple(got.shape)} instead of {t.shape}", check)
        if got.dtype != getattr(rg, t.dtype):
            check = [f"assert {name}.dtype == rg.{t.dtype}, {name}.dtype"]
            raise Difference("dtype", f"{name} is {got.dtype} instead of {t.dtype}", check)
        self.same_numbers("value", name, t, elements(got), t.values, 1.0)
        # Whether a view is a leaf whose history is ambiguous cannot be said.
        for flag in ("requires_grad",) if t.ambiguous else ("requires_grad", "is_leaf"):
            if getattr(got, flag) != getattr(t, flag):
                check = [f"assert {name}.{flag} is {getattr(t, flag)}"]
                raise Difference(flag, f"of {name} should be {getattr(t, flag)}", check)

    def same_numbers(
        self, kind: str, name: str, t: Tensor, got: list[float], want: list[float], scale: float
    ) -> None:
        """Compares numbers of a tensor, or its gradient.

        ``scale`` is the largest of what they were computed from.
        """
        if close(got, want, self.precision * max([scale, 1.0, *map(abs, want)])):
            return
        allowed = 100 * self.precision
        check = [
            f"want = {literal(t.shape, want, t.dtype)}",
            f"assert rg.allclose({name}, want, rtol={allowed:g}, atol={allowed:g}), ({name}, want)",
        ]
        raise Difference(kind, f"{name} is {got} instead of {want}", check)

    def constants(self, t: Tensor) -> list[Scalar]:
        """The elements without their history."""
        return [Scalar(v) for v in t.values]

    def values(self, tensors: Sequence[Tensor], refused: bool) -> list[tuple[Shape, list[Scalar]]]:
        """What the inputs are for an operation."""
        read = self.constants if refused else self.world.read
        return [(t.shape, read(t)) for t in tensors]

    # Operations of the table. -------------------------------------------------------------------

    def _fresh(self, s: Statement, op: Op, ins: list[Tensor]) -> None:
        must = self.world.read_refusals(ins)
        need(self.are_of_fit_types(op, ins))
        results = op.rule(self.values(ins, bool(must)), *s.params)
        for shape, nodes in results:
            need(prod(shape) <= MOST_ELEMENTS and all(abs(n.v) < LARGEST for n in nodes))
        may = self.world.save_refusals(ins, op.reads)
        got = self.call(s, op, must, len(results), may)
        if got is REFUSED:
            return
        outs = self.world.fresh(results, ins, op.reads, keeps(op, s), op.constants, op.dtype)
        if op.once and outs[0].owner.record is not None:
            outs[0].owner.record.once = True
        self.bind(s, outs, got)

    def are_of_fit_types(self, op: Op, ins: Sequence[Tensor]) -> bool:
        """Whether an operation takes tensors of these types together."""
        return not op.alike or len({t.dtype for t in ins}) == 1

    def is_of_this_mode(self, t: Tensor) -> bool:
        """Whether views and ``detach`` are clear: those of the other mode's tensors are mixed."""
        return t.owner.storage.inference == self.world.inferring

    def _view(self, s: Statement, op: Op, ins: list[Tensor]) -> None:
        (t,) = ins
        need(self.is_of_this_mode(t))
        need(not op.adjacent or is_adjacent(t.positions))
        found = op.rule(t.shape, *s.params)
        for shape, at in found:
            need(prod(shape) <= MOST_ELEMENTS)
            positions = t.positions
            need(not op.strided or is_strided([positions[i] for i in at], shape))
        got = self.call(s, op, self.world.read_refusals(ins), len(found))
        if got is not REFUSED:
            self.bind(s, self.world.views(t, found, op.barred if len(found) > 1 else None), got)

    def _reshape(self, s: Statement, op: Op, ins: list[Tensor]) -> None:
        (t,) = ins
        need(self.is_of_this_mode(t))
        ((shape, at),) = op.rule(t.shape, *s.params)
        got = self.call(s, op, self.world.read_refusals(ins))
        if got is REFUSED:
            return
        if is_strided(t.positions, shape):
            outs = self.world.views(t, [(shape, at)])
        else:
            outs = self.world.fresh([(shape, self.world.read(t))], ins, op.reads)
        self.bind(s, outs, got)

    def _write(self, s: Statement, op: Op, ins: list[Tensor]) -> None:
        world = self.world
        target, *sources = ins
        need(self.are_of_fit_types(op, ins))
        # A subscript may make a view.
        need(self.is_of_this_mode(target) or not op.text.startswith("{0}["))
        must = world.read_refusals(ins if op.region else sources)
        if op.region and not must:
            (target,) = world.views(target, [op.region(target.shape, *s.params)])
        must = must | world.write_refusals(target, sources)
        refused = bool(must)
        if refused and op.region:
            shape, at = op.region(ins[0].shape, *s.params)
            values = [(shape, [self.constants(ins[0])[i] for i in at])]
        else:
            values = self.values([target], refused)
        ((shape, nodes),) = op.rule(values + self.values(sources, refused), *s.params)
        need(shape == values[0][0] and all(abs(n.v) < LARGEST for n in nodes))
        need(not (refused and op.family.startswith("custom")))
        may = world.save_refusals([target, *sources], op.reads)
        if self.call(s, op, must, may=may) is REFUSED:
            self.compare(s.ins[0])
            return
        if ins[0].is_view or op.region:
            self.features["writes through views"] += 1
        world.write(target, nodes, sources, op.reads, keeps(op, s))
        self.compare(s.ins[0])

    # The end. -------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Compares everything that is left."""
        for name in self.tensors:
            self.compare(name)

    def roots_and_targets(self) -> tuple[list[str], list[str]]:
        """The tensors whose derivatives can be taken, and those to take them by."""
        self.world.recording = True
        roots: list[str] = []
        targets: list[str] = []
        for name, t in self.tensors.items():
            if t.requires_grad and not t.ambiguous:
                (targets if t.is_leaf else roots).append(name)
        return roots, targets

    def close(self) -> None:
        """Leaves the blocks that statements have entered, and lets go of everything."""
        self.blocks.close()
        self.tensors.clear()
        self.engine.clear()
