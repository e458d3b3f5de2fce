"""Products of matrices, and what is made of them."""

import functools

import numpy as np

from ..registry import Sample, op

# PyTorch has products of integers, but not of bools.
NUMBERS = "float|int"


@op("mm", ref=np.matmul, dtypes=NUMBERS, tol=4)
def _(make):
    yield Sample(make(2, 3), make(3, 4))
    yield Sample(make(1, 3), make(3, 1))
    yield Sample(make(3, 1), make(1, 3))
    yield Sample(make(0, 3), make(3, 2))
    yield Sample(make(2, 0), make(0, 3))
    yield Sample(make(17, 33), make(33, 9))
    yield Sample(make(70, 65), make(65, 90))


@op("bmm", ref=np.matmul, dtypes=NUMBERS)
def _(make):
    yield Sample(make(2, 2, 3), make(2, 3, 2))
    yield Sample(make(3, 1, 2), make(3, 2, 1))
    yield Sample(make(0, 2, 3), make(0, 3, 2))
    yield Sample(make(2, 2, 0), make(2, 0, 3))
    yield Sample(make(5, 9, 17), make(5, 17, 8))


@op("matmul", ref=np.matmul, dtypes=NUMBERS)
def _(make):
    yield Sample(make(3), make(3))
    yield Sample(make(2, 3), make(3))
    yield Sample(make(3), make(3, 2))
    yield Sample(make(2, 3), make(3, 4))
    yield Sample(make(2, 2, 3), make(3))
    yield Sample(make(2, 2, 3), make(3, 4))
    yield Sample(make(3), make(2, 3, 2))
    yield Sample(make(2, 3), make(2, 3, 2))
    yield Sample(make(2, 2, 3), make(2, 3, 2))
    yield Sample(make(2, 1, 2, 3), make(3, 3, 1))  # broadcast batches
    yield Sample(make(1, 2, 3), make(2, 3, 2))
    yield Sample(make(2, 0, 3), make(3, 4))
    yield Sample(make(0), make(0))
    yield Sample(make(2, 3, 0), make(2, 0, 2))


@op("mv", ref=np.matmul, dtypes=NUMBERS)
def _(make):
    yield Sample(make(2, 3), make(3))
    yield Sample(make(1, 4), make(4))
    yield Sample(make(0, 3), make(3))
    yield Sample(make(3, 0), make(0))
    yield Sample(make(40, 67), make(67))


@op("dot", ref=np.dot, dtypes=NUMBERS)
def _(make):
    yield Sample(make(5), make(5))
    yield Sample(make(1), make(1))
    yield Sample(make(0), make(0))
    yield Sample(make(300), make(300))


@op("outer", ref=np.outer, dtypes="any")
def _(make):
    yield Sample(make(3), make(4))
    yield Sample(make(1), make(2))
    yield Sample(make(0), make(3))


@op("inner", ref=np.inner, dtypes=NUMBERS)
def _(make):
    yield Sample(make(3), make(3))
    yield Sample(make(2, 3), make(3))
    yield Sample(make(2, 3), make(4, 3))
    yield Sample(make(2, 1, 3), make(2, 3))
    yield Sample(make(), make(2, 3))
    yield Sample(make(2, 0), make(3, 0))


@op("kron", ref=np.kron, dtypes="any")
def _(make):
    yield Sample(make(2, 2), make(2, 3))
    yield Sample(make(2), make(2, 3))
    yield Sample(make(2, 1, 2), make(3))
    yield Sample(make(), make(2))
    yield Sample(make(0, 2), make(2, 2))


def _cross(a, b, dim=None):
    a, b = np.broadcast_arrays(a, b)
    if dim is None:
        dim = a.shape.index(3)
    return np.cross(a, b, axis=dim)


@op("cross", ref=_cross, dtypes=NUMBERS)
def _(make):
    yield Sample(make(3), make(3))
    yield Sample(make(2, 3), make(2, 3))
    yield Sample(make(3, 4), make(3, 4), kwargs={"dim": 0})
    yield Sample(make(3, 1, 2), make(3, 2, 1), kwargs={"dim": -3})
    yield Sample(make(0, 3), make(0, 3))


@op("linalg_cross", ref=lambda a, b, dim=-1: _cross(a, b, dim), dtypes=NUMBERS)
def _(make):
    yield Sample(make(2, 3), make(2, 3))
    yield Sample(make(2, 1, 3), make(1, 2, 3))
    yield Sample(make(3, 2), make(3, 2), kwargs={"dim": 0})


def _sum(product):
    """``beta * input + alpha * product``; with ``beta`` 0 NaN in the input do not matter."""

    def ref(x, a, b, beta=1, alpha=1):
        result = alpha * product(a, b)
        return result if beta == 0 else beta * x + result

    return ref


def _products(name, product, x, a, b, **options):
    """``input`` of the product's shape and of fewer dimensions, both factors, no input."""
    ref = _sum(product)

    @op(name, ref=ref, dtypes=NUMBERS, **options)
    def _(make):
        yield Sample(make(*x), make(*a), make(*b))
        yield Sample(make(*x), make(*a), make(*b), kwargs={"beta": 2, "alpha": 3})
        yield Sample(make(1), make(*a), make(*b), kwargs={"alpha": -1})

    @op(name, ref=ref, **options)
    def _(make):
        yield Sample(make(*x), make(*a), make(*b), kwargs={"beta": 0.5, "alpha": -1.5})
        yield Sample(make(*x), make(*a), make(*b), kwargs={"alpha": 0})

    # The input is not read.
    @op(name, ref=ref, **options, skip={"parity_grad": "PyTorch counts the input as used"})
    def _(make):
        yield Sample(make(*x) * np.nan, make(*a), make(*b), kwargs={"beta": 0})


_products("addmm", np.matmul, (2, 2), (2, 3), (3, 2))
_products("addmv", np.matmul, (2,), (2, 3), (3,))
_products("addr", np.outer, (2, 3), (2,), (3,))
_products("baddbmm", np.matmul, (2, 2, 1), (2, 2, 3), (2, 3, 1))
_products("addbmm", lambda a, b: np.matmul(a, b).sum(0), (2, 2), (2, 2, 2), (2, 2, 2))


@op("addbmm", ref=_sum(lambda a, b: np.matmul(a, b).sum(0)))
def _(make):
    yield Sample(make(2, 3), make(0, 2, 4), make(0, 4, 3))


def _linear(x, weight, bias=None):
    return x @ weight.T + (0 if bias is None else bias)


@op("linear", ref=_linear, dtypes=NUMBERS)
def _(make):
    yield Sample(make(2, 3), make(4, 3), make(4))
    yield Sample(make(2, 3), make(4, 3))
    yield Sample(make(3), make(2, 3), make(2))
    yield Sample(make(2, 2, 3), make(2, 3), make(2))
    yield Sample(make(2, 3), make(3))  # a weight without outputs
    yield Sample(make(0, 3), make(2, 3), make(2))
    yield Sample(make(2, 0), make(2, 0), make(2))
    yield Sample(make(2, 3), make(0, 3), make(0))
    yield Sample(make(2, 3), make(2, 3), kwargs={"bias": None})
    yield Sample(make(33, 70), make(65, 70), make(65))


_ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


def _activated(x, weight, bias=None, activation=None):
    return _ACTIVATIONS[activation](_linear(x, weight, bias))


def _torch_activated(x, weight, bias=None, activation=None):
    import torch

    return getattr(torch, activation)(torch.nn.functional.linear(x, weight, bias))


@op("linear", ref=_activated, dtypes=NUMBERS, torch=_torch_activated)
def _(make):
    for name in _ACTIVATIONS:
        yield Sample(make(2, 3), make(4, 3), make(4), name)
        yield Sample(make(2, 3), make(4, 3), kwargs={"activation": name})
        yield Sample(make(3), make(2, 3), make(2), name)
        yield Sample(make(2, 2, 3), make(2, 3), make(2), name)
        yield Sample(make(2, 3), make(3), None, name)
        yield Sample(make(0, 3), make(2, 3), make(2), name)
        yield Sample(make(2, 0), make(2, 0), make(2), name)
        yield Sample(make(2, 3), make(0, 3), make(0), name)
    yield Sample(make(33, 70), make(65, 70), make(65), "relu")


def _bilinear(x, y, w, b=0.0):
    return np.einsum("...i,kij,...j->...k", x, w, y) + b


@op("bilinear", ref=_bilinear)
def _(make):
    yield Sample(make(2, 3), make(2, 2), make(2, 3, 2), make(2))
    yield Sample(make(2, 3), make(2, 2), make(1, 3, 2))
    yield Sample(make(3), make(2), make(2, 3, 2), make(2))
    yield Sample(make(2, 1, 2), make(2, 1, 2), make(3, 2, 2), make(3))
    yield Sample(make(0, 3), make(0, 2), make(4, 3, 2))


@op("chain_matmul", ref=lambda *m: functools.reduce(np.matmul, m), dtypes=NUMBERS)
def _(make):
    yield Sample(make(2, 3))
    yield Sample(make(2, 3), make(3, 2))
    yield Sample(make(1, 3), make(3, 4), make(4, 2))
    yield Sample(make(3, 2), make(2, 3), make(3, 1), make(1, 2))
    yield Sample(make(2, 0), make(0, 3), make(3, 1))


@op(
    "linalg_multi_dot",
    ref=lambda m: functools.reduce(np.matmul, m),
    dtypes=NUMBERS,
)
def _(make):
    yield Sample([make(2, 3), make(3, 2)])
    yield Sample([make(3), make(3, 2), make(2, 2)])
    yield Sample([make(2, 3), make(3, 2), make(2)])
    yield Sample([make(3), make(3, 2), make(2)])
    yield Sample([make(10, 3), make(3, 10), make(10, 3), make(3, 1)])


@op("matrix_power", ref=np.linalg.matrix_power, dtypes=NUMBERS)
def _(make):
    yield Sample(make(2, 2, low=-1, high=1), 2)
    yield Sample(make(2, 2, low=-1, high=1), 1)
    yield Sample(make(2, 3, 3, low=-1, high=1), 3)
    yield Sample(make(2, 2, low=-1, high=1), 6)
    yield Sample(make(0, 0), 2)


@op(
    "matrix_power",
    ref=np.linalg.matrix_power,
    dtypes=NUMBERS,
    skip={"parity_grad": "no gradient is recorded"},
)
def _(make):
    yield Sample(make(3, 3), 0)
    yield Sample(make(2, 2, 2), 0)


# Sums over names.


def _einsum(equation, *operands):
    if len(operands) == 1 and isinstance(operands[0], list):
        operands = tuple(operands[0])
    # NumPy does not broadcast a size of 1 under a letter.
    left = equation.replace(" ", "").split("->")[0].split(",")
    sizes = {}
    for text, a in zip(left, operands, strict=True):
        if "." not in text:
            for letter, n in zip(text, a.shape, strict=True):
                sizes[letter] = max(n, sizes.get(letter, 1)) if n else 0
    wide = []
    for text, a in zip(left, operands, strict=True):
        if "." not in text and len(set(text)) == len(text):
            a = np.broadcast_to(a, [sizes[letter] for letter in text])
        wide.append(a)
    return np.einsum(equation, *wide)


@op("einsum", ref=_einsum)
def _(make):
    yield Sample("ij,jk->ik", make(2, 3), make(3, 4))
    yield Sample("ij,jk", make(2, 3), make(3, 2))
    yield Sample("bA,aB", make(2, 1), make(2, 2))  # capitals come first
    yield Sample("i,i->", make(4), make(4))
    yield Sample("i,j->ij", make(3), make(2))
    yield Sample("ij,ij->ij", make(2, 3), make(2, 3))
    yield Sample("ij->ji", make(2, 3))
    yield Sample("ij->", make(2, 3))
    yield Sample("ii", make(3, 3))
    yield Sample("ii->i", make(3, 3))
    yield Sample("iji->j", make(2, 3, 2))
    yield Sample("iii->i", make(2, 2, 2))
    yield Sample("ijij->ji", make(2, 3, 2, 3))
    yield Sample("bij,bjk->bik", make(2, 2, 3), make(2, 3, 2))
    yield Sample("bij,bjk->ki", make(2, 2, 3), make(2, 3, 2))
    yield Sample("bi,bj,bk->ijk", make(2, 2), make(2, 3), make(2, 2))
    yield Sample("ij,jk,kl->il", make(2, 3), make(3, 2), make(2, 2))
    yield Sample("ij,k->i", make(2, 3), make(2))  # names of one operand only
    yield Sample("ab,cb->ca", make(2, 1), make(3, 4))  # a size of 1 broadcasts
    yield Sample("a,a->a", make(1), make(3))
    yield Sample("...ij,...jk->...ik", make(2, 1, 2, 2), make(3, 2, 1))
    yield Sample("...i,i...->...", make(2, 3), make(3, 2))
    yield Sample("i...->...", make(2, 3, 2))
    yield Sample("...ii", make(2, 3, 3))
    yield Sample("i...i", make(3, 2, 3))
    yield Sample(" i j , j -> i ", make(2, 3), make(3))
    yield Sample("...,...->...", make(2, 3), make(3))
    yield Sample("", make())
    yield Sample(",i->i", make(), make(3))
    yield Sample("ij,jk->ik", make(2, 0), make(0, 3))
    yield Sample("ij,jk->ik", [make(2, 3), make(3, 2)])  # operands in a list


# NumPy does not sum over an ellipsis.
@op("einsum", ref=lambda equation, a: a.sum(0))
def _(make):
    yield Sample("...i->i", make(2, 3))


@op("einsum", ref=_einsum, dtypes=NUMBERS)
def _(make):
    yield Sample("ik,kj->ij", make(2, 3), make(3, 2))
    yield Sample("i,j->ji", make(2), make(3))


def _tensordot(a, b, dims=2):
    dims = dims if isinstance(dims, int) else [[d] if isinstance(d, int) else d for d in dims]
    return np.tensordot(a, b, dims)


@op("tensordot", ref=_tensordot, dtypes=NUMBERS)
def _(make):
    yield Sample(make(2, 3, 2), make(3, 2, 2))
    yield Sample(make(2, 3), make(3, 2), 1)
    yield Sample(make(2, 3), make(2), kwargs={"dims": 0})
    yield Sample(make(2, 3), make(3, 2), kwargs={"dims": ([1, 0], [0, 1])})
    yield Sample(make(3, 2, 2), make(2, 3), kwargs={"dims": ([0], [-1])})
    yield Sample(make(3, 2), make(3, 2), kwargs={"dims": (0, 0)})
    yield Sample(make(2, 0), make(0, 3), 1)


# A size of 1 broadcasts, unlike in NumPy.
@op("tensordot", ref=lambda a, b, dims: a * b.sum(0))
def _(make):
    yield Sample(make(2, 1), make(3, 2), 1)
