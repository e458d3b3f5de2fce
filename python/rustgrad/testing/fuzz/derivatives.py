"""Statements that take derivatives in reverse mode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rustgrad as rg

from . import functions, oracle, scalar as sc
from .engine import LARGEST, elements, literal, tensor, weighed, weights
from .oracle import Owner, Record, Tensor
from .scalar import Scalar
from .shapes import Unfit, need
from .statement import REFUSED, Difference, Statement

if TYPE_CHECKING:
    from .machine import Machine

ORDINALS = {1: "first", 2: "second", 3: "third"}


def is_definite(records: Iterable[Record], targets: Iterable[Tensor]) -> bool:
    """Whether the gradients of the targets follow from mathematics alone.

    Whether a gradient depends on a result, or on what that was computed from, is the engine's
    choice: it may compute the derivative of ``exp`` from either. So a gradient of a gradient is
    definite for leaves only.
    """
    return all(t.is_leaf for t in targets) or not any(r.derived for r in records)


def histories(m: Machine, tensors: Iterable[Tensor]) -> list[Record]:
    """The records of tensors, all of which require grad."""
    found = []
    for t in tensors:
        record = t.history if t.requires_grad else None
        if record is None:
            raise Unfit
        found.append(record)
    return found


def backward(m: Machine, s: Statement, ins: list[Tensor]) -> None:
    """``rg.autograd.backward(...)`` of ``params[0]`` roots, by the leaves after them if any."""
    count, retain, threaded = s.params
    roots, leaves = ins[:count], ins[count:]
    need(all(t.requires_grad for t in ins) and not any(t.ambiguous for t in ins))
    need(bool(roots) and all(t.is_leaf for t in leaves))
    records = oracle.on_paths(histories(m, roots), histories(m, leaves) if leaves else None)
    may = oracle.backward_refusals(records)
    found = sc.gradients(weighed([t.heads for t in roots], roots))
    ys, xs = ([m.engine[n] for n in names] for names in (s.ins[:count], s.ins[count:]))
    cotangents = [tensor(t.shape, weights(t.shape, i)) for i, t in enumerate(roots)]

    def call() -> None:
        rg.autograd.backward(ys, cotangents, retain_graph=retain, inputs=xs or None)

    def text() -> str:
        given = ", ".join(literal(t.shape, weights(t.shape, i)) for i, t in enumerate(roots))
        names = ", ".join(s.ins[:count])
        inputs = f", inputs=[{', '.join(s.ins[count:])}]" if leaves else ""
        line = f"rg.autograd.backward([{names}], [{given}], retain_graph={retain}{inputs})"
        return f"in_thread(lambda: {line})" if threaded else line

    got = m.attempt(s, text, lambda: functions.in_thread(call) if threaded else call(), may=may)
    m.features["in another thread"] += threaded
    m.features["backward for some leaves"] += bool(leaves)
    into = [t.owner for t in leaves] if leaves else None
    settle(m, records, found, roots, (), got is REFUSED, retain, into)


def settle(
    m: Machine,
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
        for name, t in m.tensors.items():
            arrives = t.is_leaf and (into is None or t.owner in into)
            if t.owner.grad is not None or t.owner.retains or arrives:
                m.engine[name].grad = None
                t.owner.grad = None
                m.say(f"{name}.grad = None")
        return
    reached = {*records, *histories(m, roots), *(o.record for o in into or ())}
    strays = set() if into is None else reached.difference(records)
    definite = not any(r.derived for r in records)
    numbers = {n: g.v if isinstance(g, Scalar) else g for n, g in found.items()}
    scale = max(map(abs, numbers.values()), default=0.0)
    skipped = [t.owner for t in targets if not t.is_view]
    for owner in {id(t.owner): t.owner for t in m.tensors.values()}.values():
        if owner.record not in reached or owner in skipped:
            continue
        if owner.retains and (not definite or owner.record in strays):
            # Whether it is retained at a root that leads to no target is the engine's choice.
            owner.retains, owner.blurred, owner.grad = False, True, None
        elif owner.retains or (owner.leaf and (into is None or owner in into)):
            old = owner.grad or [0.0] * len(owner.heads)
            new = [numbers.get(h, 0.0) for h in owner.heads]
            owner.grad = [a + b for a, b in zip(old, new, strict=True)]
    for name, t in m.tensors.items():
        if not t.is_view and t.owner.grad is not None:
            grad = m.engine[name].grad
            got = [0.0] * len(t.owner.grad) if grad is None else elements(grad)
            if grad is not None and grad.dtype != getattr(rg, t.dtype):
                check = [f"assert {name}.grad.dtype == rg.{t.dtype}, {name}.grad.dtype"]
                raise Difference("dtype", f"{name}.grad is {grad.dtype}", check)
            m.same_numbers("gradient", f"{name}.grad", t, got, t.owner.grad, scale)


def grad(m: Machine, s: Statement, ins: list[Tensor]) -> None:
    """``g = rg.autograd.grad(...)[0]``, a tensor of the program."""
    root, target = ins
    graph, retain, threaded = s.params
    need(root.requires_grad and target.requires_grad and not any(t.ambiguous for t in ins))
    target_record = histories(m, [target])[0]
    records = oracle.on_paths(histories(m, [root]), [target_record])
    need(is_definite(records, [target]) and not (graph and m.inner_hooks))
    # The block that copies what is overwritten is this thread's.
    need(not (threaded and graph and m.world.mutable))
    found = sc.gradients_with_graph([(n, Scalar(w)) for n, w in weighed([root.heads], [root])])
    nodes = [found.get(h, Scalar(0.0)) for h in target.heads]
    need(all(abs(n.v) < LARGEST for n in nodes))
    w = tensor(root.shape, weights(root.shape))
    y, x = (m.engine[n] for n in s.ins)
    how = dict(create_graph=graph, retain_graph=retain or graph, materialize_grads=True)

    def call() -> Any:
        return rg.autograd.grad(y, x, w, **how)[0].clone()

    def text() -> str:
        options = ", ".join(f"{k}={v}" for k, v in how.items())
        given = literal(root.shape, weights(root.shape))
        line = f"rg.autograd.grad({', '.join(s.ins)}, {given}, {options})[0].clone()"
        return f"{s.out} = in_thread(lambda: {line})" if threaded else f"{s.out} = {line}"

    got = m.attempt(
        s, text, lambda: functions.in_thread(call) if threaded else call(),
        may=oracle.backward_refusals(records),
    )  # fmt: skip
    m.features["in another thread"] += threaded
    settle(m, records, found, [root], [target], got is REFUSED, retain or graph)
    if got is REFUSED:
        return
    g = oracle.new(target.shape, [Scalar(n.v) for n in nodes], target.dtype)
    if got.requires_grad:
        g.owner.nodes = g.owner.heads = [sc.same(n) for n in nodes]
        g.owner.record, g.owner.leaf = oracle.derivative(records), False
    elif graph and any(n.number for n in nodes):
        check = [f"assert {s.out}.requires_grad"]
        raise Difference("requires_grad", f"the gradient {s.out} has lost its history", check)
    m.bind(s, [g], got)


def check(m: Machine, s: Statement, ins: list[Tensor]) -> None:
    """Derivatives of the roots by the targets, up to order ``params[1]``.

    The inputs are the roots and, after ``params[0]`` of them, the targets. What is
    differentiated again are the gradients, weighed and added up.
    """
    count, orders = s.params
    roots, targets = ins[:count], ins[count:]
    need(bool(roots) and bool(targets) and not any(t.ambiguous for t in ins))
    goals = histories(m, targets)
    records = oracle.on_paths(histories(m, roots), goals)
    need(is_definite(records, targets))
    if m.inner_hooks or not all(t.is_leaf for t in targets):
        orders = 1
    names, tensors, columns = list(s.ins[:count]), roots, [t.heads for t in roots]
    ys, xs = ([m.engine[n] for n in part] for part in (names, s.ins[count:]))
    for order, letter in enumerate("ghk"[:orders], start=1):
        graph = order == 1 or order < orders
        salt = 2 * (order - 1)
        seeds = weighed(columns, tensors, salt)
        found: Mapping[Scalar, Any]
        if graph:
            found = sc.gradients_with_graph([(n, Scalar(w)) for n, w in seeds])
        else:
            found = {n: Scalar(g) for n, g in sc.gradients(seeds).items()}
        got = gradients(m, s, letter, names, ys, tensors, xs, salt, graph, records)
        reached = roots if order == 1 else ()
        settle(m, records, found, reached, targets, got is REFUSED, True)
        if got is REFUSED:
            return
        m.features[f"{ORDINALS[order]} derivatives"] += 1
        kind = "gradient" if order == 1 else f"{ORDINALS[order]} derivative"
        columns = [[found.get(h, Scalar(0.0)) for h in t.heads] for t in targets]
        scale = max((abs(n.v) for n in found.values()), default=0.0)
        need(scale < 1e6)
        for k, (t, g, nodes) in enumerate(zip(targets, got, columns, strict=True)):
            want = [n.v for n in nodes]
            m.same_numbers(kind, f"{letter}[{k}]", t, elements(g), want, scale)
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


def gradients(
    m: Machine,
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

    return m.attempt(
        s,
        text,
        lambda: rg.autograd.grad(ys, xs, ws, **how),
        may=oracle.backward_refusals(records),
    )
