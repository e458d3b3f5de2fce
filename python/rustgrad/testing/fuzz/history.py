"""Statements about history: leaves, flags, hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rustgrad as rg

from . import oracle
from .engine import literal, tensor
from .oracle import Tensor
from .scalar import Scalar
from .shapes import need
from .statement import Statement

if TYPE_CHECKING:
    from .machine import Machine


def leaf(m: Machine, s: Statement, ins: list[Tensor]) -> None:
    """``x = rg.tensor(...)``"""
    shape, data, requires_grad, dtype = s.params
    t = oracle.new(shape, [Scalar(v) for v in data], dtype)
    if requires_grad:
        t.owner.require(True)
        m.leaves[s.out] = t.owner.heads
    suffix = ".requires_grad_()" if requires_grad else ""
    x = m.attempt(
        s,
        lambda: f"{s.out} = {literal(shape, data, dtype)}{suffix}",
        lambda: tensor(shape, data, dtype).requires_grad_(requires_grad),
    )
    m.bind(s, [t], x)


def detach(m: Machine, s: Statement, ins: list[Tensor]) -> None:
    """``y = x.detach()``"""
    x = m.engine[s.ins[0]]
    need(m.is_of_this_mode(ins[0]))
    (attribute,) = s.params
    call = x.detach if attribute == "detach()" else lambda: x.data
    got = m.attempt(s, lambda: f"{s.out} = {s.ins[0]}.{attribute}", call)
    m.bind(s, [m.world.detach(ins[0])], got)


def requires_grad_(m: Machine, s: Statement, ins: list[Tensor]) -> None:
    """``x.requires_grad_(...)``"""
    (t,), (wanted,), (name,) = ins, s.params, s.ins
    need(t.requires_grad != wanted and t.is_leaf and (not t.is_view or wanted))
    need(m.is_of_this_mode(t))
    # Whether a view that was written meanwhile follows suit depends on when it was last used.
    views = [v for v in m.tensors.values() if v.owner is t.owner and v.is_view and v is not t]
    need(all(v.born == t.owner.storage.version for v in views))
    need(t.barred is None and (wanted or name not in m.own))
    need(not t.is_view or t.owner.record is None)
    x = m.engine[name]
    m.attempt(s, lambda: f"{name}.requires_grad_({wanted})", lambda: x.requires_grad_(wanted))
    if t.is_view:
        # A leaf of its own, wherever its memory comes from.
        d = m.world.detach(t)
        t.owner, t.at, t.is_view = d.owner, d.at, False
        m.own.add(name)
    t.owner.require(wanted)
    m.compare(name)


def retain_grad(m: Machine, s: Statement, ins: list[Tensor]) -> None:
    """``y.retain_grad()``"""
    (t,), (name,) = ins, s.ins
    need(t.requires_grad and not t.is_leaf and not t.is_view)
    need(not t.owner.retains and not t.owner.blurred)
    y = m.engine[name]
    m.attempt(s, lambda: f"{name}.retain_grad()", y.retain_grad)
    t.owner.retains = True


def register_hook(m: Machine, s: Statement, ins: list[Tensor]) -> None:
    """``y.register_hook(...)``: scales the gradient."""
    (t,), (name,), (factor,) = ins, s.ins, s.params
    need(t.requires_grad and not t.ambiguous)
    need(t.is_leaf or not any(r.op == "grad" and r.params[0] for r in m.ran))
    m.inner_hooks = m.inner_hooks or not t.is_leaf
    y = m.engine[name]
    m.attempt(
        s,
        lambda: f"{name}.register_hook(lambda g: g * {factor})",
        lambda: y.register_hook(lambda g: g * factor),
    )
    for n in t.heads:
        n.hook = factor * (1.0 if n.hook is None else n.hook)


def node_hook(m: Machine, s: Statement, ins: list[Tensor]) -> None:
    """``y.grad_fn.register_hook(...)``: scales what goes on, but not the gradient of ``y``."""
    (t,), (name,), (factor, before) = ins, s.ins, s.params
    need(t.requires_grad and not t.is_leaf and not t.ambiguous)
    # The outputs of one node share its hooks.
    need("_" not in name and not any(r.op == "grad" and r.params[0] for r in m.ran))
    m.inner_hooks = True
    node = m.engine[name].grad_fn

    def scale(first: Any, *_: Any) -> tuple[Any, ...]:
        return tuple(g if g is None else g * factor for g in first)

    method, arguments = ("register_prehook", "gs") if before else ("register_hook", "gs, _")
    m.attempt(
        s,
        lambda: (
            f"{name}.grad_fn.{method}"
            f"(lambda {arguments}: tuple(g if g is None else g * {factor} for g in gs))"
        ),
        lambda: getattr(node, method)(scale),
    )
    for n in t.heads:
        n.partials = tuple(p * factor for p in n.partials)


def detach_(m: Machine, s: Statement, ins: list[Tensor]) -> None:
    """``y.detach_()``: a leaf without a history."""
    (t,), (name,) = ins, s.ins
    # What a view says that still has the history is not settled.
    need(not t.is_view and not any(v.owner is t.owner for v in m.tensors.values() if v is not t))
    need(t.requires_grad and not t.is_leaf and not t.owner.retains and not t.owner.blurred)
    y = m.engine[name]
    m.attempt(s, lambda: f"{name}.detach_()", y.detach_)
    owner = t.owner
    owner.nodes = owner.heads = m.constants(t)
    owner.record, owner.leaf, owner.grad = None, True, None
    m.compare(name)


def allow_mutation(m: Machine, s: Statement, ins: list[Tensor]) -> None:
    """From here on, what is saved is copied before it is overwritten."""
    need(not m.world.mutable)
    block = rg.autograd.graph.allow_mutation_on_saved_tensors()
    line = "mutable = rg.autograd.graph.allow_mutation_on_saved_tensors(); mutable.__enter__()"
    m.attempt(s, lambda: line, lambda: m.blocks.enter_context(block))
    m.world.mutable = True


def delete(m: Machine, s: Statement, ins: list[Tensor]) -> None:
    """``del x``"""
    (name,) = s.ins
    m.attempt(s, lambda: f"del {name}", lambda: m.engine.pop(name))
    del m.tensors[name]
