"""A call that fails changes nothing. What errors say is in ``test_error_snapshots.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import rustgrad as rg


def test_second_backward_names_the_first() -> None:
    x = rg.ones(2, requires_grad=True)
    y = (x * x).sum()
    y.backward()
    line = y.backward.__self__ is y and _line() - 1
    with pytest.raises(RuntimeError, match="a second time") as error:
        y.backward()
    assert f"They were freed by the call at {__file__}:{line}." in str(error.value)


def _line() -> int:
    import sys

    return sys._getframe(1).f_lineno


# Calls that fail, and so must change nothing.
FAILURES: dict[str, Callable[[Any], Any]] = {
    "shape": lambda t: t.add_(rg.ones(3)),
    "type": lambda t: t.to(rg.int64).add_(1.5),
    "device": lambda t: t.mul_(rg.ones(2, 2, device="meta")),
    "index": lambda t: t.__setitem__((0, 7), 1.0),
    "index of a tensor": lambda t: t.__setitem__(rg.tensor([0, 5]), 1.0),
    "shape of a value": lambda t: t.__setitem__(0, rg.ones(3)),
    "index_add_": lambda t: t.index_add_(0, rg.tensor([0, 9]), rg.ones(2, 2)),
    "scatter_": lambda t: t.scatter_(1, rg.tensor([[0], [4]]), 5.0),
    "index_put_": lambda t: t.index_put_((rg.tensor([0, 3]),), rg.ones(2)),
    "masked_scatter_": lambda t: t.masked_scatter_(t > 0, rg.ones(1)),
    "expanded": lambda t: t[:1].expand(2, 2).add_(1),
    "argument": lambda t: t.clamp_(lo=3),
    "probability": lambda t: t.bernoulli_(1.5),
    "bounds": lambda t: t.uniform_(3, 1),
    "out": lambda t: rg.add(rg.ones(3), 1, out=t),
    "copy": lambda t: t.copy_(rg.ones(5)),
    "view of many": lambda t: t.requires_grad_().unbind()[0].mul_(2),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_call_changes_nothing(name: str) -> None:
    t = rg.arange(1.0, 5.0).reshape(2, 2)
    with pytest.raises((RuntimeError, IndexError, TypeError, ValueError)):
        FAILURES[name](t)
    assert t.tolist() == [[1.0, 2.0], [3.0, 4.0]] and t._version == 0
    assert rg.is_grad_enabled() and t.grad is None


def test_a_failed_load_changes_only_what_fits() -> None:
    layer = rg.nn.Linear(2, 2)
    weight = layer.weight.detach().clone()
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        layer.load_state_dict({"weight": rg.ones(3, 3), "bias": rg.ones(2)})
    assert rg.equal(layer.weight, weight)


def test_a_failed_backward_can_be_repeated() -> None:
    x = rg.ones(2, requires_grad=True)
    y = x * 2
    z = y.exp()
    saved = z.detach().clone()
    z.detach().mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()
    assert x.grad is None
    # Without the write it works.
    y.exp().sum().backward()
    assert rg.equal(x.grad, 2 * saved)


def test_a_failing_hook_restores_modes_and_leaves_nothing() -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("from the hook")

    layer = rg.nn.Linear(2, 2)
    handle = layer.register_forward_hook(fail)
    before = rg._C.live_nodes()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError, match="from the hook"):
            layer(rg.ones(1, 2))
    assert rg.is_grad_enabled() and rg._C.live_nodes() == before
    handle.remove()
    assert layer(rg.ones(1, 2)).shape == (1, 2)
