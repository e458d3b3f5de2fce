"""Runs a program by the engine and by the oracle, statement by statement, and compares."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import rustgrad as rg
from rustgrad.autograd import forward_ad
from rustgrad.utils.checkpoint import checkpoint

from . import functions, oracle, scalar as sc
from .ops import MOST_ELEMENTS, OPS, Op, nested
from .oracle import Owner, Record, Tensor, World
from .scalar import Scalar
from .shapes import Shape, Unfit, is_adjacent, is_strided, need

LARGEST = 100.0
# By which numbers may differ, given the largest of what they were computed from.
PRECISION = {oracle.DOUBLE: 1e-9, oracle.SINGLE: 1e-4}


@dataclass(frozen=True)
class Statement:
    """One line of a program; ``mode`` is empty or names the block it stands in."""

    op: str
    ins: tuple[str, ...] = ()
    params: tuple[Any, ...] = ()
    out: str = ""
    mode: str = ""


class Difference(Exception):
    """Engine and oracle disagree; ``kind`` says on what, ``check`` is code that shows it."""

    def __init__(
        self, kind: str, text: str, check: Sequence[str] = (), alone: bool = False
    ) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind, self.text, self.check = kind, text, list(check)
        # Whether the check repeats the program.
        self.alone = alone
        # The statements that led here, as far as they are known.
        self.program: Sequence[Statement] = ()


REFUSED = object()
NAMES = {"rg": rg, **{n: v for n, v in vars(functions).items() if n[0].isupper()}}
NAMES |= {"in_thread": functions.in_thread, "checkpoint": checkpoint}
MODES: dict[str, tuple[str, Callable[[], Any]]] = {
    "no_grad": ("rg.no_grad()", rg.no_grad),
    "inference": ("rg.inference_mode()", lambda: rg.inference_mode()),
    "packed": ("packed()", functions.packed),
}
UNRECORDED = ("no_grad", "inference")
ORDINALS = {1: "first", 2: "second", 3: "third"}
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


def keeps(op: Op, s: Statement) -> bool:
    """Whether an operation may keep its parameters, or itself, for its gradient."""
    return bool(s.params) or op.family.startswith(("custom", "checkpoint")) or "3" in op.text


def is_plain(s: Statement) -> bool:
    """Whether forward mode means by a statement what reverse mode does."""
    if s.op in OPS:
        return s.mode not in UNRECORDED and not OPS[s.op].once
    return s.op not in ("grad", "requires_grad_", "node_hook", "detach_")


def is_definite(records: Iterable[Record], targets: Iterable[Tensor]) -> bool:
    """Whether the gradients of the targets follow from mathematics alone.

    Whether a gradient depends on a result, or on what that was computed from, is the engine's
    choice: it may compute the derivative of ``exp`` from either. So a gradient of a gradient is
    definite for leaves only.
    """
    return all(t.is_leaf for t in targets) or not any(r.derived for r in records)


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
            getattr(self, f"do_{s.op}")(s, ins)
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

    # Statements about history. ------------------------------------------------------------------

    def do_leaf(self, s: Statement, ins: list[Tensor]) -> None:
        """``x = rg.tensor(...)``"""
        shape, data, requires_grad, dtype = s.params
        t = oracle.new(shape, [Scalar(v) for v in data], dtype)
        if requires_grad:
            t.owner.require(True)
            self.leaves[s.out] = t.owner.heads
        suffix = ".requires_grad_()" if requires_grad else ""
        x = self.attempt(
            s,
            lambda: f"{s.out} = {literal(shape, data, dtype)}{suffix}",
            lambda: tensor(shape, data, dtype).requires_grad_(requires_grad),
        )
        self.bind(s, [t], x)

    def do_detach(self, s: Statement, ins: list[Tensor]) -> None:
        """``y = x.detach()``"""
        x = self.engine[s.ins[0]]
        need(self.is_of_this_mode(ins[0]))
        (attribute,) = s.params
        call = x.detach if attribute == "detach()" else lambda: x.data
        got = self.attempt(s, lambda: f"{s.out} = {s.ins[0]}.{attribute}", call)
        self.bind(s, [self.world.detach(ins[0])], got)

    def do_requires_grad_(self, s: Statement, ins: list[Tensor]) -> None:
        """``x.requires_grad_(...)``"""
        (t,), (wanted,), (name,) = ins, s.params, s.ins
        need(t.requires_grad != wanted and t.is_leaf and (not t.is_view or wanted))
        need(self.is_of_this_mode(t))
        # Whether a view that was written meanwhile follows suit depends on when it was last used.
        views = [
            v for v in self.tensors.values() if v.owner is t.owner and v.is_view and v is not t
        ]
        need(all(v.born == t.owner.storage.version for v in views))
        need(t.barred is None and (wanted or name not in self.own))
        need(not t.is_view or t.owner.record is None)
        x = self.engine[name]
        self.attempt(
            s, lambda: f"{name}.requires_grad_({wanted})", lambda: x.requires_grad_(wanted)
        )
        if t.is_view:
            # A leaf of its own, wherever its memory comes from.
            d = self.world.detach(t)
            t.owner, t.at, t.is_view = d.owner, d.at, False
            self.own.add(name)
        t.owner.require(wanted)
        self.compare(name)

    def do_retain_grad(self, s: Statement, ins: list[Tensor]) -> None:
        """``y.retain_grad()``"""
        (t,), (name,) = ins, s.ins
        need(t.requires_grad and not t.is_leaf and not t.is_view)
        need(not t.owner.retains and not t.owner.blurred)
        y = self.engine[name]
        self.attempt(s, lambda: f"{name}.retain_grad()", y.retain_grad)
        t.owner.retains = True

    def do_register_hook(self, s: Statement, ins: list[Tensor]) -> None:
        """``y.register_hook(...)``: scales the gradient."""
        (t,), (name,), (factor,) = ins, s.ins, s.params
        need(t.requires_grad and not t.ambiguous)
        need(t.is_leaf or not any(r.op == "grad" and r.params[0] for r in self.ran))
        self.inner_hooks = self.inner_hooks or not t.is_leaf
        y = self.engine[name]
        self.attempt(
            s,
            lambda: f"{name}.register_hook(lambda g: g * {factor})",
            lambda: y.register_hook(lambda g: g * factor),
        )
        for n in t.heads:
            n.hook = factor * (1.0 if n.hook is None else n.hook)

    def do_node_hook(self, s: Statement, ins: list[Tensor]) -> None:
        """``y.grad_fn.register_hook(...)``: scales what goes on, but not the gradient of ``y``."""
        (t,), (name,), (factor, before) = ins, s.ins, s.params
        need(t.requires_grad and not t.is_leaf and not t.ambiguous)
        # The outputs of one node share its hooks.
        need("_" not in name and not any(r.op == "grad" and r.params[0] for r in self.ran))
        self.inner_hooks = True
        node = self.engine[name].grad_fn

        def scale(first: Any, *_: Any) -> tuple[Any, ...]:
            return tuple(g if g is None else g * factor for g in first)

        method, arguments = ("register_prehook", "gs") if before else ("register_hook", "gs, _")
        self.attempt(
            s,
            lambda: (
                f"{name}.grad_fn.{method}"
                f"(lambda {arguments}: tuple(g if g is None else g * {factor} for g in gs))"
            ),
            lambda: getattr(node, method)(scale),
        )
        for n in t.heads:
            n.partials = tuple(p * factor for p in n.partials)

    def do_detach_(self, s: Statement, ins: list[Tensor]) -> None:
        """``y.detach_()``: a leaf without a history."""
        (t,), (name,) = ins, s.ins
        # What a view says that still has the history is not settled.
        need(
            not t.is_view
            and not any(v.owner is t.owner for v in self.tensors.values() if v is not t)
        )
        need(t.requires_grad and not t.is_leaf and not t.owner.retains and not t.owner.blurred)
        y = self.engine[name]
        self.attempt(s, lambda: f"{name}.detach_()", y.detach_)
        owner = t.owner
        owner.nodes = owner.heads = self.constants(t)
        owner.record, owner.leaf, owner.grad = None, True, None
        self.compare(name)

    def do_allow_mutation(self, s: Statement, ins: list[Tensor]) -> None:
        """From here on, what is saved is copied before it is overwritten."""
        need(not self.world.mutable)
        block = rg.autograd.graph.allow_mutation_on_saved_tensors()
        line = "mutable = rg.autograd.graph.allow_mutation_on_saved_tensors(); mutable.__enter__()"
        self.attempt(s, lambda: line, lambda: self.blocks.enter_context(block))
        self.world.mutable = True

    def do_delete(self, s: Statement, ins: list[Tensor]) -> None:
        """``del x``"""
        (name,) = s.ins
        self.attempt(s, lambda: f"del {name}", lambda: self.engine.pop(name))
        del self.tensors[name]

    # Derivatives. -------------------------------------------------------------------------------

    def histories(self, tensors: Iterable[Tensor]) -> list[Record]:
        """The records of tensors, all of which require grad."""
        found = []
        for t in tensors:
            record = t.history if t.requires_grad else None
            if record is None:
                raise Unfit
            found.append(record)
        return found

    def do_backward(self, s: Statement, ins: list[Tensor]) -> None:
        """``rg.autograd.backward(...)`` of ``params[0]`` roots, by the leaves after them if any."""
        count, retain, threaded = s.params
        roots, leaves = ins[:count], ins[count:]
        need(all(t.requires_grad for t in ins) and not any(t.ambiguous for t in ins))
        need(bool(roots) and all(t.is_leaf for t in leaves))
        need(not leaves or not any(t.is_leaf for t in roots))
        records = oracle.on_paths(self.histories(roots), self.histories(leaves) if leaves else None)
        may = oracle.backward_refusals(records)
        found = sc.gradients(weighed([t.heads for t in roots], roots))
        ys, xs = ([self.engine[n] for n in names] for names in (s.ins[:count], s.ins[count:]))
        cotangents = [tensor(t.shape, weights(t.shape, i)) for i, t in enumerate(roots)]

        def call() -> None:
            rg.autograd.backward(ys, cotangents, retain_graph=retain, inputs=xs or None)

        def text() -> str:
            given = ", ".join(literal(t.shape, weights(t.shape, i)) for i, t in enumerate(roots))
            names = ", ".join(s.ins[:count])
            inputs = f", inputs=[{', '.join(s.ins[count:])}]" if leaves else ""
            line = f"rg.autograd.backward([{names}], [{given}], retain_graph={retain}{inputs})"
            return f"in_thread(lambda: {line})" if threaded else line

        got = self.attempt(
            s, text, lambda: functions.in_thread(call) if threaded else call(), may=may
        )
        self.features["in another thread"] += threaded
        self.features["backward for some leaves"] += bool(leaves)
        into = [t.owner for t in leaves] if leaves else None
        self.settle(records, found, roots, (), got is REFUSED, retain, into)

    def settle(
        self,
        records: Sequence[Record],
        found: Mapping[Scalar, float | Scalar],
        roots: Sequence[Tensor],
        targets: Sequence[Tensor],
        refused: bool,
        retain: bool,
        into: Sequence[Owner] | None = (),
    ) -> None:
        """Does what a backward pass does to the graph and to ``.grad``, and compares that.

        Gradients of leaves are added to those ``into`` which they go: all, if it is ``None``.
        """
        if not retain:
            for r in records:
                r.free(refused)
        if refused:
            # Some gradients may have arrived, and some not.
            for name, t in self.tensors.items():
                arrives = t.is_leaf and (into is None or t.owner in into)
                if t.owner.grad is not None or t.owner.retains or arrives:
                    self.engine[name].grad = None
                    t.owner.grad = None
                    self.say(f"{name}.grad = None")
            return
        reached = {*records, *self.histories(roots), *(o.record for o in into or ())}
        strays = set() if into is None else reached.difference(records)
        definite = not any(r.derived for r in records)
        numbers = {n: g.v if isinstance(g, Scalar) else g for n, g in found.items()}
        scale = max(map(abs, numbers.values()), default=0.0)
        skipped = [t.owner for t in targets if not t.is_view]
        for owner in {id(t.owner): t.owner for t in self.tensors.values()}.values():
            if owner.record not in reached or owner in skipped:
                continue
            if owner.retains and (not definite or owner.record in strays):
                # Whether it is retained at a root that leads to no target is the engine's choice.
                owner.retains, owner.blurred, owner.grad = False, True, None
            elif owner.retains or (owner.leaf and (into is None or owner in into)):
                old = owner.grad or [0.0] * len(owner.heads)
                new = [numbers.get(h, 0.0) for h in owner.heads]
                owner.grad = [a + b for a, b in zip(old, new, strict=True)]
        for name, t in self.tensors.items():
            if not t.is_view and t.owner.grad is not None:
                grad = self.engine[name].grad
                got = [0.0] * len(t.owner.grad) if grad is None else elements(grad)
                if grad is not None and grad.dtype != getattr(rg, t.dtype):
                    check = [f"assert {name}.grad.dtype == rg.{t.dtype}, {name}.grad.dtype"]
                    raise Difference("dtype", f"{name}.grad is {grad.dtype}", check)
                self.same_numbers("gradient", f"{name}.grad", t, got, t.owner.grad, scale)

    def do_grad(self, s: Statement, ins: list[Tensor]) -> None:
        """``g = rg.autograd.grad(...)[0]``, a tensor of the program."""
        root, target = ins
        graph, retain, threaded = s.params
        need(root.requires_grad and target.requires_grad and not any(t.ambiguous for t in ins))
        target_record = self.histories([target])[0]
        records = oracle.on_paths(self.histories([root]), [target_record])
        need(is_definite(records, [target]) and not (graph and self.inner_hooks))
        # The block that copies what is overwritten is this thread's.
        need(not (threaded and graph and self.world.mutable))
        found = sc.gradients_with_graph([(n, Scalar(w)) for n, w in weighed([root.heads], [root])])
        nodes = [found.get(h, Scalar(0.0)) for h in target.heads]
        need(all(abs(n.v) < LARGEST for n in nodes))
        w = tensor(root.shape, weights(root.shape))
        y, x = (self.engine[n] for n in s.ins)
        how = dict(create_graph=graph, retain_graph=retain or graph, materialize_grads=True)

        def call() -> Any:
            return rg.autograd.grad(y, x, w, **how)[0].clone()

        def text() -> str:
            options = ", ".join(f"{k}={v}" for k, v in how.items())
            given = literal(root.shape, weights(root.shape))
            line = f"rg.autograd.grad({', '.join(s.ins)}, {given}, {options})[0].clone()"
            return f"{s.out} = in_thread(lambda: {line})" if threaded else f"{s.out} = {line}"

        got = self.attempt(
            s, text, lambda: functions.in_thread(call) if threaded else call(),
            may=oracle.backward_refusals(records),
        )  # fmt: skip
        self.features["in another thread"] += threaded
        self.settle(records, found, [root], [target], got is REFUSED, retain or graph)
        if got is REFUSED:
            return
        g = oracle.new(target.shape, [Scalar(n.v) for n in nodes], target.dtype)
        if got.requires_grad:
            g.owner.nodes = g.owner.heads = [sc.same(n) for n in nodes]
            g.owner.record, g.owner.leaf = oracle.derivative(records), False
        elif graph and any(n.number for n in nodes):
            check = [f"assert {s.out}.requires_grad"]
            raise Difference("requires_grad", f"the gradient {s.out} has lost its history", check)
        self.bind(s, [g], got)

    def do_check(self, s: Statement, ins: list[Tensor]) -> None:
        """Derivatives of the roots by the targets, up to order ``params[1]``.

        The inputs are the roots and, after ``params[0]`` of them, the targets. What is
        differentiated again are the gradients, weighed and added up.
        """
        count, orders = s.params
        roots, targets = ins[:count], ins[count:]
        need(bool(roots) and bool(targets) and not any(t.ambiguous for t in ins))
        goals = self.histories(targets)
        records = oracle.on_paths(self.histories(roots), goals)
        need(is_definite(records, targets))
        if self.inner_hooks or not all(t.is_leaf for t in targets):
            orders = 1
        names, tensors, columns = list(s.ins[:count]), roots, [t.heads for t in roots]
        ys, xs = ([self.engine[n] for n in part] for part in (names, s.ins[count:]))
        for order, letter in enumerate("ghk"[:orders], start=1):
            graph = order == 1 or order < orders
            salt = 2 * (order - 1)
            seeds = weighed(columns, tensors, salt)
            found: Mapping[Scalar, Any]
            if graph:
                found = sc.gradients_with_graph([(n, Scalar(w)) for n, w in seeds])
            else:
                found = {n: Scalar(g) for n, g in sc.gradients(seeds).items()}
            got = self._gradients(s, letter, names, ys, tensors, xs, salt, graph, records)
            reached = roots if order == 1 else ()
            self.settle(records, found, reached, targets, got is REFUSED, True)
            if got is REFUSED:
                return
            self.features[f"{ORDINALS[order]} derivatives"] += 1
            kind = "gradient" if order == 1 else f"{ORDINALS[order]} derivative"
            columns = [[found.get(h, Scalar(0.0)) for h in t.heads] for t in targets]
            scale = max((abs(n.v) for n in found.values()), default=0.0)
            need(scale < 1e6)
            for k, (t, g, nodes) in enumerate(zip(targets, got, columns, strict=True)):
                want = [n.v for n in nodes]
                self.same_numbers(kind, f"{letter}[{k}]", t, elements(g), want, scale)
            if order == orders:
                return
            for k, (g, nodes) in enumerate(zip(got, columns, strict=True)):
                if not g.requires_grad and any(n.number for n in nodes):
                    check = [f"assert {letter}[{k}].requires_grad"]
                    text = f"{letter}[{k}] has lost its history"
                    raise Difference("requires_grad", text, check)
            which = [k for k, g in enumerate(got) if g.requires_grad]
            if not which:
                return
            names, ys = [f"{letter}[{k}]" for k in which], [got[k] for k in which]
            tensors, columns = [targets[k] for k in which], [columns[k] for k in which]
            records = oracle.on_paths([oracle.derivative(records)], None)

    def _gradients(
        self,
        s: Statement,
        letter: str,
        names: Sequence[str],
        ys: Sequence[Any],
        tensors: Sequence[Tensor],
        xs: Sequence[Any],
        salt: int,
        graph: bool,
        records: Iterable[Record],
    ) -> Any:
        """What the engine says of the roots of a check, or of gradients; or ``REFUSED``."""
        factors = [weights(t.shape, i + salt) for i, t in enumerate(tensors)]
        ws = [tensor(t.shape, f) for t, f in zip(tensors, factors, strict=True)]
        how = {"create_graph" if graph else "retain_graph": True, "materialize_grads": True}

        def text() -> str:
            w = ", ".join(literal(t.shape, f) for t, f in zip(tensors, factors, strict=True))
            by = ", ".join(s.ins[s.params[0] :])
            options = ", ".join(f"{k}={v}" for k, v in how.items())
            return f"{letter} = rg.autograd.grad([{', '.join(names)}], [{by}], [{w}], {options})"

        return self.attempt(
            s,
            text,
            lambda: rg.autograd.grad(ys, xs, ws, **how),
            may=oracle.backward_refusals(records),
        )

    # Forward mode. ------------------------------------------------------------------------------

    def do_jvp(self, s: Statement, ins: list[Tensor]) -> None:
        """Runs the program again, with tangents."""
        program = [r for i, r in enumerate(self.ran) if i not in self.refused]
        need(all(is_plain(r) for r in program))
        directions: dict[Scalar, float] = {}
        env: dict[str, Any] = {}
        lines = ["with forward_ad.dual_level():"]
        try:
            with forward_ad.dual_level():
                for i, r in enumerate(self.ran):
                    if i not in self.refused and r.op in ("leaf", "delete", "detach", *OPS):
                        if r.op == "leaf":
                            lines.append(self.dual_leaf(r, env, directions))
                        else:
                            lines.append(self.texts.get(i, ""))
                            self.run_dual(r, env)
                self.compare_tangents(env, directions, lines)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            lines = [lines[0], *(f"    {line}" for line in lines[1:])]
            lines[-1] += "  # must not raise"
            raise Difference("tangent", f"{type(error).__name__}: {error}", lines, True) from None
        self.features["forward mode"] += 1

    def dual_leaf(self, s: Statement, env: dict[str, Any], directions: dict[Scalar, float]) -> str:
        """Makes a leaf; one that requires grad gets a tangent instead. Returns its text."""
        shape, data, requires_grad, dtype = s.params
        x, text = tensor(shape, data, dtype), literal(shape, data, dtype)
        if requires_grad:
            w = weights(shape, len(env))
            x = forward_ad.make_dual(x, tensor(shape, w, dtype))
            text = f"forward_ad.make_dual({text}, {literal(shape, w, dtype)})"
            directions.update(zip(self.leaves[s.out], w, strict=True))
        env[s.out] = x
        return f"{s.out} = {text}"

    def run_dual(self, s: Statement, env: dict[str, Any]) -> None:
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
        self, env: dict[str, Any], directions: dict[Scalar, float], lines: list[str]
    ) -> None:
        """Holds the tangents of all tensors against the oracle's."""
        everything = [n for t in self.tensors.values() for n in t.owner.nodes]
        found = sc.tangents(directions, everything)
        scale = max(map(abs, found.values()), default=0.0)
        need(scale < 1e6)
        for name, t in self.tensors.items():
            want = [found.get(t.owner.nodes[i], 0.0) for i in t.at]
            tangent = forward_ad.unpack_dual(env[name]).tangent
            got = [0.0] * len(want) if tangent is None else elements(tangent)
            if not close(got, want, self.precision * max(scale, 1.0)):
                allowed = 100 * self.precision
                check = [
                    *lines[1:],
                    f"want = {literal(t.shape, want, t.dtype)}",
                    f"got = forward_ad.unpack_dual({name}).tangent",
                    f"assert rg.allclose(got, want, rtol={allowed:g}, atol={allowed:g})",
                ]
                text = f"of {name} is {got} instead of {want}"
                code = [lines[0], *(f"    {line}" for line in check)]
                raise Difference("tangent", text, code, True)

    def close(self) -> None:
        """Leaves the blocks that statements have entered, and lets go of everything."""
        self.blocks.close()
        self.tensors.clear()
        self.engine.clear()

    # The end. -----------------------------------------------------------------------------------

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
