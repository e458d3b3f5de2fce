"""Ops tell their signatures to `inspect`, and so to `help()` and editors."""

import inspect

import pytest
import rustgrad as rg


@pytest.mark.parametrize(
    ("op", "signature"),
    [
        (rg.add, "(input, other, *, alpha=1, out=None)"),
        (rg.relu_, "(self, /)"),
        (rg.zeros, "(*size, dtype=None, device=None, requires_grad=False, out=None)"),
        (rg.rot90, "(input, k=1, dims=(0, 1), *, out=None)"),
        (rg.unsqueeze, "(input, dim)"),
        (rg.allclose, "(input, other, rtol=1e-05, atol=1e-08, equal_nan=False)"),
        (rg.Tensor.sum, "(self, /, dim=None, keepdim=False, *, dtype=None)"),
        (rg.Tensor.uniform_, "(self, from_=0.0, /, to=1.0, *, generator=None)"),
        (rg.Tensor.squeeze_, "(self, /, dim=None)"),
        (rg.ones(2).sum, "(dim=None, keepdim=False, *, dtype=None)"),
    ],
)
def test_signature(op, signature):
    assert str(inspect.signature(op)) == signature


@pytest.mark.parametrize("op", [rg.max, rg.ones(2).max])
def test_overloads_have_none(op):
    with pytest.raises(ValueError):
        inspect.signature(op)


def test_every_signature_can_be_read():
    for owner, names in (rg, rg._C._functions), (rg.Tensor, vars(rg.Tensor)):
        for name in names:
            op = getattr(owner, name)
            if isinstance(op, rg._C.Op) and len(op.signatures) == 1:
                inspect.signature(op)
