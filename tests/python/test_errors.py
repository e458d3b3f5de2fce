"""What a mistake says: the op, the shapes, the way out. And that it changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import rustgrad as rg

F: Any = rg.nn.functional

# What is called, the kind of error, and its whole text.
MESSAGES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "shapes of a sum": (
        lambda: rg.ones(2) + rg.ones(3),
        RuntimeError,
        "[add] The size of tensor a (2) must match the size of tensor b (3) at non-singleton "
        "dimension 0: shapes [2] and [3] do not broadcast",
    ),
    "shapes of a product of matrices": (
        lambda: rg.ones(2, 3) @ rg.ones(2, 3),
        RuntimeError,
        "[mm] mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)",
    ),
    "input of a layer": (
        lambda: rg.nn.Linear(3, 4)(rg.ones(2, 5)),
        RuntimeError,
        "[linear] mat1 and mat2 shapes cannot be multiplied (2x5 and 3x4): input [2, 5] and "
        "weight [4, 3]",
    ),
    "class that is none": (
        lambda: F.cross_entropy(rg.ones(2, 3), rg.tensor([0, 5])),
        IndexError,
        "[nll_loss_forward] Target 5 is out of bounds. Classes are numbered from 0 to 2",
    ),
    "number of targets": (
        lambda: F.cross_entropy(rg.ones(2, 3), rg.tensor([0, 1, 2])),
        ValueError,
        "[cross_entropy] Expected input batch_size (2) to match target batch_size (3).",
    ),
    "view": (
        lambda: rg.ones(6).view(4, 2),
        RuntimeError,
        "[view] shape '[4, 2]' is invalid for input of size 6",
    ),
    "index": (
        lambda: rg.ones(3)[5],
        IndexError,
        "index 5 is out of bounds for dimension 0 with size 3",
    ),
    "dimension": (
        lambda: rg.ones(3).sum(dim=2),
        IndexError,
        "[sum] Dimension out of range (expected to be in range of [-1, 0], but got 2)",
    ),
    "unknown argument": (
        lambda: rg.add(rg.ones(2), 1, beta=3),
        TypeError,
        "add() got an unexpected keyword argument 'beta'",
    ),
    "missing argument": (
        lambda: rg.add(rg.ones(2)),
        TypeError,
        'add() missing 1 required positional arguments: "other"',
    ),
    "type of an argument": (
        lambda: rg.zeros(2, dtype="float"),
        TypeError,
        "zeros(): argument 'dtype' (position 2) must be rustgrad.dtype, not str",
    ),
    "backward of many": (
        lambda: rg.ones(2, requires_grad=True).mul(2).backward(),
        RuntimeError,
        "grad can be implicitly created only for scalar outputs, but output 0 has shape [2]; pass "
        "gradient=",
    ),
    "leaf in place": (
        lambda: rg.ones(2, requires_grad=True).add_(1),
        RuntimeError,
        "[add_] a leaf Variable that requires grad is being used in an in-place operation. Wrap "
        "the write in no_grad(), or write to a clone()",
    ),
    "view of a leaf in place": (
        lambda: rg.ones(2, requires_grad=True)[0].mul_(2),
        RuntimeError,
        "[mul_] a view of a leaf Variable that requires grad is being used in an in-place "
        "operation. Wrap the write in no_grad(), or write to a clone()",
    ),
    "integers that require grad": (
        lambda: rg.ones(2, dtype=rg.int64).requires_grad_(),
        RuntimeError,
        "only Tensors of floating point dtype can require gradients, but this one is int64",
    ),
    "unused input": (
        lambda: rg.autograd.grad(
            rg.ones((), requires_grad=True) * 2, rg.ones(2, requires_grad=True)
        ),
        RuntimeError,
        "One of the differentiated Tensors appears to not have been used in the graph (input 0, of "
        "shape [2]). Set allow_unused=True if this is the desired behavior.",
    ),
    "devices": (
        lambda: rg.ones(2, device="meta") + rg.ones(2),
        RuntimeError,
        "[add] Expected all tensors to be on the same device, but found at least two devices, meta "
        "and cpu! Move one with to()",
    ),
    "device that is not there": (
        lambda: rg.ones(2, device="cuda"),
        RuntimeError,
        "device 'cuda' is not available: this build has 'cpu' and 'meta'",
    ),
    "equation": (
        lambda: rg.einsum("ij,jk", rg.ones(2, 3), rg.ones(2, 3)),
        RuntimeError,
        "[einsum] einsum(): subscript j has size 2 for operand 1 which does not broadcast with "
        "previously seen size 3",
    ),
    "mean of integers": (
        lambda: rg.arange(3).mean(),
        RuntimeError,
        "[mean] mean(): could not infer output dtype. Input dtype must be either a floating point "
        "or complex dtype. Got: Long; pass dtype=, or cast the input",
    ),
    "parameters that are none": (
        lambda: rg.optim.SGD([1, 2], lr=0.1),
        TypeError,
        "optimizer can only optimize Tensors, but one of the params is <class 'int'>",
    ),
    "learning rate": (
        lambda: rg.optim.SGD([rg.ones(1, requires_grad=True)], lr=-1),
        ValueError,
        "Invalid learning rate: -1",
    ),
    "state of another module": (
        lambda: rg.nn.Linear(2, 2).load_state_dict({"weight": rg.ones(3, 3), "foo": rg.ones(1)}),
        RuntimeError,
        'Error(s) in loading state_dict for Linear:\n\tMissing key(s) in state_dict: "bias". \n\t'
        'Unexpected key(s) in state_dict: "foo". \n\tsize mismatch for weight: copying a param '
        "with shape rustgrad.Size([3, 3]) from checkpoint, the shape in current model is "
        "rustgrad.Size([2, 2]).",
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_message(name: str) -> None:
    call, kind, text = MESSAGES[name]
    with pytest.raises(kind) as error:
        call()
    assert type(error.value) is kind and str(error.value) == text


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
