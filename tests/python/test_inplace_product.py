"""The product of views and writes in place, against the same program written without either.

The oracle knows one flat tensor and, for each view, the numbers of its elements: reading a view is
``flat[numbers]``, writing through it is ``flat.index_copy(0, numbers, f(flat[numbers]))`` with
``f`` out of place. What shares memory but no history (``detach()``) has a flat tensor of its own,
which takes the values of every write and the history of none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
import rustgrad as rg
from suite import samples  # noqa: F401
from suite.harness import array, caller, in_place_name, table, tensor
from suite.registry import OPS, Op, Sample

SHAPE = (2, 3, 4)
SIZE = math.prod(SHAPE)

# Views that adapt to any shape; `None` where there is none of that kind.
View = Callable[[Any], Any]


def _if(needed: int, view: View) -> View:
    """``view`` of tensors with at least so many dimensions."""
    return lambda t: view(t) if t.dim() >= needed else None


def _even(t: Any) -> bool:
    return t.dim() > 0 and t.shape[-1] % 2 == 0


VIEWS: dict[str, View] = {
    "alias": lambda t: t.view_as(t),
    "all": lambda t: t[...],
    "select": _if(1, lambda t: t.select(0, t.shape[0] - 1)),
    "iteration": _if(1, lambda t: next(iter(t))),
    "item": _if(1, lambda t: t[..., 0]),
    "slice": _if(1, lambda t: t[..., 1:]),
    "step": _if(1, lambda t: t[..., ::2]),
    "new axis": lambda t: t[..., None],
    "narrow": _if(1, lambda t: t.narrow(-1, 0, max(1, t.shape[-1] - 1))),
    "diagonal": _if(2, lambda t: t.diagonal(1 if t.shape[1] > 1 else 0)),
    "transpose": _if(2, lambda t: t.transpose(0, -1)),
    "swapaxes": _if(2, lambda t: t.swapaxes(-1, -2)),
    "swapdims": _if(2, lambda t: t.swapdims(0, 1)),
    "permute": lambda t: t.permute(*reversed(range(t.dim()))),
    "movedim": _if(2, lambda t: t.movedim(0, -1)),
    "moveaxis": _if(2, lambda t: t.moveaxis(-1, 0)),
    "t": lambda t: t.t() if t.dim() <= 2 else None,
    "T": lambda t: t.T if t.dim() in (0, 2) else None,
    "mT": _if(2, lambda t: t.mT),
    "mH": _if(2, lambda t: t.mH),
    "H": lambda t: t.H if t.dim() == 2 else None,
    "adjoint": _if(2, lambda t: t.adjoint()),
    "real": lambda t: t.real,
    "view": lambda t: t.view(-1),
    "reshape": lambda t: t.reshape(-1, 1),
    "reshape_as": lambda t: t.reshape_as(t),
    "flatten": lambda t: t.flatten(),
    "ravel": lambda t: t.ravel(),
    "unflatten": lambda t: t.unflatten(-1, (2, -1)) if _even(t) else None,
    "squeeze": lambda t: t.unsqueeze(0).squeeze(),
    "squeeze dim": lambda t: t.unsqueeze(-1).squeeze(-1),
    "unsqueeze": lambda t: t.unsqueeze(0),
    "unfold": lambda t: t.unfold(-1, 2, 2) if t.dim() and t.shape[-1] >= 2 else None,
    "as_strided": _if(1, lambda t: t.as_strided(t.shape[:1], t.stride()[:1], t.storage_offset())),
    "expand": lambda t: t.expand(t.shape),
    "expand_as": lambda t: t.expand_as(t),
    "broadcast_to": lambda t: t.broadcast_to(t.shape),
    "one of the expanded": lambda t: t.expand(2, *t.shape)[1],
    "detach": lambda t: t.detach(),
    "data": lambda t: t.data,
}
# They share memory but no history.
CUTS = ("detach", "data")
# Of what they return, none may be written while its history counts.
MULTIPLE: dict[str, View] = {
    "split": lambda t: t.split(1)[0],
    "split sizes": lambda t: t.split([1, t.shape[0] - 1])[1],
    "split_with_sizes": lambda t: t.split_with_sizes([1, t.shape[0] - 1])[0],
    "chunk": lambda t: t.chunk(2, -1)[-1],
    "tensor_split": lambda t: t.tensor_split(2)[0],
    "unbind": lambda t: t.unbind(-1)[1],
    "hsplit": lambda t: t.hsplit(3)[0],
    "dsplit": lambda t: t.dsplit(2)[-1],
}
# Elements that lie in the same place.
OVERLAPPING: dict[str, View] = {
    "expand": lambda t: t.expand(2, *t.shape),
    "unfold": lambda t: t.unfold(-1, 2, 1),
    "as_strided": lambda t: t.as_strided((3, 2), (1, 1)),
}


def viewed(name: str, numbers: Any) -> Any:
    """The numbers of a view's elements; ``None`` where there is no such view, or only a copy."""
    try:
        found = VIEWS[name](numbers)
    except RuntimeError as error:
        assert name == "view" and "view size is not compatible" in str(error)
        return None
    if found is None or found.numel() == 0:
        return None
    if abs(found.data_ptr() - numbers.data_ptr()) > numbers.element_size() * SIZE:
        assert name in ("reshape", "flatten", "ravel")
        return None
    return found


class World:
    """Memory, and what the oracle knows of the history of each tensor that owns one."""

    def __init__(self) -> None:
        self.flats: list[Any] = []

    def owner(self, flat: Any) -> int:
        """A new tensor over the memory, with the elements and the history of ``flat``."""
        self.flats.append(flat)
        return len(self.flats) - 1


class Twin:
    """A tensor and what the oracle says about it."""

    def __init__(self, world: World, real: Any, owner: int, numbers: Any) -> None:
        self.world, self.real, self.owner, self.numbers = world, real, owner, numbers

    def view(self, name: str) -> Twin | None:
        """A view of both; ``None`` where there is none of that kind, or only a copy."""
        numbers = viewed(name, self.numbers)
        if numbers is None:
            return None
        owner = self.owner
        if name in CUTS:
            owner = self.world.owner(self.world.flats[owner].detach())
        return Twin(self.world, VIEWS[name](self.real), owner, numbers)

    def through(self, view: View) -> Twin:
        """A view that exists and shares the history."""
        return Twin(self.world, view(self.real), self.owner, view(self.numbers))

    def expected(self) -> Any:
        """What the tensor is, without a view."""
        flat = self.world.flats[self.owner]
        return flat[self.numbers.reshape(-1)].reshape(self.numbers.shape)

    def write(self, write: Write, value: Any) -> None:
        """Writes to both."""
        want = write.functional(self.expected(), value).to(self.real.dtype)
        where = self.numbers.reshape(-1)
        flats = self.world.flats
        for i, flat in enumerate(flats):
            source = want.expand(self.numbers.shape).reshape(-1)
            if i == self.owner:
                flats[i] = flat.index_copy(0, where, source)
            else:
                moved = flat.detach().index_copy(0, where, source.detach())
                flats[i] = flat + (moved - flat.detach())
        result = write.in_place(self.real, value)
        assert result is None or result is self.real


class Write:
    """A write in place, and what it computes."""

    def __init__(
        self,
        in_place: Callable[[Any, Any], Any],
        functional: Callable[[Any, Any], Any],
        number: bool = False,
        keeps: bool = False,
    ) -> None:
        self.in_place, self.functional = in_place, functional
        # Whether the value must be 0-d.
        self.number = number
        # Whether what was written is saved for backward, and so must stay.
        self.keeps = keeps


TABLE = table()


def _seeded(f: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def run(t: Any, v: Any) -> Any:
        rg.manual_seed(3)
        return f(t, v)

    return run


def _set_item(t: Any, v: Any) -> None:
    t[...] = v


def _set_masked(t: Any, v: Any) -> None:
    t[t.detach() > 0] = v


def _add(t: Any, v: Any) -> None:
    t += v


def _positive(t: Any) -> Any:
    return t.detach() > 0


F: Any = rg.nn.functional
# One of each class: reads nothing, its target, its result, its value, all; copies; makes; chooses;
# goes by kernels over whole tensors, by other ops, by random numbers.
WRITES: dict[str, Write] = {
    "add_": Write(lambda t, v: t.add_(v, alpha=2), lambda t, v: t.add(v, alpha=2)),
    "add_ of a number": Write(lambda t, v: t.add_(v), lambda t, v: t.add(v), number=True),
    "sin_": Write(lambda t, v: t.sin_(), lambda t, v: t.sin()),
    "exp_": Write(lambda t, v: t.exp_(), lambda t, v: t.exp(), keeps=True),
    "mul_": Write(lambda t, v: t.mul_(v), lambda t, v: t.mul(v)),
    "mul_ of itself": Write(lambda t, v: t.mul_(t), lambda t, v: t.mul(t)),
    "pow_": Write(lambda t, v: t.pow_(3), lambda t, v: t.pow(3)),
    "addcmul_": Write(lambda t, v: t.addcmul_(t, v), lambda t, v: t.addcmul(t, v)),
    "gt_": Write(lambda t, v: t.gt_(v), lambda t, v: t.gt(v)),
    "copy_": Write(lambda t, v: t.copy_(v), lambda t, v: v),
    "zero_": Write(lambda t, v: t.zero_(), lambda t, v: rg.zeros_like(t)),
    "fill_": Write(lambda t, v: t.fill_(v), lambda t, v: v, number=True),
    "clamp_": Write(lambda t, v: t.clamp_(-0.5, 0.5), lambda t, v: t.clamp(-0.5, 0.5)),
    "masked_fill_": Write(
        lambda t, v: t.masked_fill_(_positive(t), v),
        lambda t, v: t.masked_fill(_positive(t), v),
        number=True,
    ),
    "polygamma_": Write(lambda t, v: t.polygamma_(1), lambda t, v: t.polygamma(1)),
    "cumsum_": Write(lambda t, v: t.cumsum_(0), lambda t, v: t.cumsum(0)),
    "logit_": Write(lambda t, v: t.logit_(0.25), lambda t, v: t.logit(0.25)),
    "dropout_": Write(
        _seeded(lambda t, v: F.dropout(t, 0.5, inplace=True)),
        _seeded(lambda t, v: F.dropout(t, 0.5)),
    ),
    "uniform_": Write(
        _seeded(lambda t, v: t.uniform_(1, 2)),
        _seeded(lambda t, v: rg.empty(t.shape, dtype=t.dtype).uniform_(1, 2)),
    ),
    "operator": Write(_add, lambda t, v: t + v),
    "setitem": Write(_set_item, lambda t, v: v),
    "setitem of a mask": Write(_set_masked, lambda t, v: rg.where(_positive(t), v, t), number=True),
}


class Program:
    """A base with views from before, values to write, and the loss of all that is read.

    Args:
        values: the elements of the base.
        constant: the base has no history of its own.
        leaves: other tensors whose gradients are compared.
        dtype: the type of the base.
    """

    def __init__(
        self,
        values: np.ndarray,
        constant: bool = False,
        leaves: Sequence = (),
        dtype: str | None = None,
    ) -> None:
        self.draw = np.random.default_rng(5)
        x = tensor(values, dtype).requires_grad_(not constant)
        self.w = rg.tensor(self.draw.uniform(0.5, 1.5, SIZE), requires_grad=True)
        self.leaves = [self.w, *leaves, *([] if constant else [x])]
        self.world = World()
        owner = self.world.owner(x.clone().reshape(-1))
        numbers = rg.arange(values.size).reshape(values.shape)
        self.base = Twin(self.world, x.clone(), owner, numbers)
        self.losses: list[Any] = [self.w.sum() * 0, self.w.sum() * 0]

    def write(self, target: Twin, write: Write, turn: int = 0) -> None:
        """Writes a value that depends on a leaf."""
        if write.number:
            value = self.w[turn] * 1.25
        else:
            n = target.numbers.numel()
            value = self.w[:n].flip(0) if turn else self.w[:n]
            value = value.reshape(target.numbers.shape)
        target.write(write, value)

    def read(self, *twins: Twin | None) -> None:
        """Compares tensors, and adds their weighted elements to both losses."""
        for twin in twins:
            if twin is None:
                continue
            want = twin.expected()
            assert twin.real.shape == want.shape and twin.real.dtype == want.dtype
            np.testing.assert_allclose(array(twin.real), array(want), rtol=1e-10, atol=1e-12)
            if want.is_floating_point():
                weights = rg.tensor(self.draw.uniform(-1, 1, tuple(want.shape)))
                for i, t in enumerate((twin.real, want)):
                    self.losses[i] = self.losses[i] + (t * weights).sum()

    def check(self) -> None:
        """Compares the gradients."""
        got, want = (
            rg.autograd.grad(loss, self.leaves, retain_graph=True, materialize_grads=True)
            for loss in self.losses
        )
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(array(g), array(w), rtol=1e-9, atol=1e-9)


NUMBERS = rg.arange(SIZE).reshape(SHAPE)


def program(first: str, constant: bool = False) -> Program:
    """A program with a base that has a view of kind ``first``."""
    values = np.random.default_rng(4).uniform(-2, 2, SHAPE)
    return Program(values.reshape(4, 6) if first in ("t", "T", "H") else values, constant)


def named(numbers: Iterable[int], of: dict[str, Any]) -> list[str]:
    """Names by their numbers, which wrap."""
    names = list(of)
    return [names[n % len(names)] for n in numbers]


# Writes that are tried with all pairs of views, and not only with some of them.
THOROUGH = ("mul_", "sin_", "setitem")


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("first", VIEWS)
def test_write_through_a_view_of_a_view(first: str, write: str) -> None:
    """Other views from before and after are read too; some bases are constants."""
    start = list(VIEWS).index(first) + list(WRITES).index(write)
    step = 1 if write in THOROUGH else 7
    seconds = named(range(start, start + len(VIEWS), step), VIEWS)
    tried = 0
    for turn, second in enumerate(seconds):
        p = program(first, constant=turn % 5 == 0)
        try:
            other = p.base.view("slice")
            a = p.base.view(first)
            b = a and a.view(second)
            if a is None or b is None:
                continue
            p.write(b, WRITES[write])
            p.read(a, b, p.base, other, p.base.view(first), a.view(second))
            p.check()
        except Exception as error:
            raise AssertionError(f"{write} through {second} of {first}: {error}") from error
        tried += 1
    assert tried >= len(seconds) / 3


@pytest.mark.parametrize("first", VIEWS)
def test_two_writes_through_different_views(first: str) -> None:
    """One through a view of a view, one through a view beside it; what lies between is read."""
    i = list(VIEWS).index(first)
    tried = 0
    for j, second in enumerate(VIEWS):
        one, two = named((7 * i + 3 * j, 5 * i + 11 * j + 1), WRITES)
        p = program(first, constant=j % 5 == 0)
        try:
            a = p.base.view(first)
            b = a and a.view(second)
            beside = p.base.view(named([i + j], VIEWS)[0]) or p.base
            if a is None or b is None:
                continue
            p.write(b, WRITES[one])
            p.read(a, beside)
            p.write(beside, WRITES[two], turn=1)
            p.read(a, b, beside, p.base)
            p.write(p.base, WRITES["mul_"])
            p.read(a, b, beside, p.base, a.view(second))
            if WRITES[one].keeps or WRITES[two].keeps:
                try:
                    p.check()
                except RuntimeError as error:
                    assert "modified by an inplace operation" in str(error)
            else:
                p.check()
        except Exception as error:
            told = f"{one} through {second} of {first}, then {two}"
            raise AssertionError(f"{told}: {error}") from error
        tried += 1
    assert tried >= len(VIEWS) / 3


# Where a tensor of some shape lies in a base: the base's shape, and views that lead there.
Place = Callable[[tuple[int, ...]], tuple[tuple[int, ...], tuple[View, ...]]]
PLACES: dict[str, Place] = {
    "base": lambda s: (s, ()),
    "view": lambda s: ((3, *s), (lambda t: t[1],)),
    "column": lambda s: ((*s, 2), (lambda t: t.select(-1, 1),)),
    "transposed": lambda s: (
        (2, *s[::-1]),
        (lambda t: t.narrow(0, 1, 1).squeeze(0), lambda t: t.permute(*reversed(range(t.dim())))),
    ),
    "gaps": lambda s: (
        (*s[:-1], 2 * s[-1] + 1) if s else (2,),
        (lambda t: t[1:], lambda t: t[0])
        if not s
        else (lambda t: t[..., 1:], lambda t: t[..., ::2]),
    ),
}
IN_PLACE = {op.name for op in OPS if op.name in TABLE and TABLE[op.name]["in_place"]}
# Its first argument is a number; it is among `WRITES`.
IN_PLACE -= {"polygamma"}


@pytest.mark.parametrize("name", sorted(IN_PLACE))
def test_every_op(name: str) -> None:
    """All ops of the table that have a form in place, with the samples of their own suite."""
    wrote = 0
    pairs = [(op, sample) for op in OPS if op.name == name for sample in op.samples()]
    for i, (op, sample) in enumerate(pairs):
        if not sample.args or not isinstance(sample.args[0], np.ndarray):
            continue
        for place in PLACES:
            try:
                wrote += _write_sample(op, sample, place)
            except Exception as error:
                told = f"sample {i} ({sample!r}) of {name} in place {place!r}"
                raise AssertionError(f"{told}: {error}") from error
    assert wrote > 0


def _write_sample(op: Op, sample: Sample, place: str) -> bool:
    """Writes with a sample's arguments; whether the result fits into the target."""
    entry = TABLE[op.name]
    kind = sample.kind()
    dtype = "f64" if kind == "f" else next(d for d in sample.runs(op.dtypes) if d not in op.skip)
    target, *rest = sample.cast(dtype).args
    leaves: list[Any] = []

    def make(a: np.ndarray) -> Any:
        t = tensor(a, dtype if a.dtype.kind == kind else None)
        if a.dtype.kind == "f":
            leaves.append(t.requires_grad_())
        return t

    others = Sample(*rest, kwargs=sample.kwargs).map(make)
    shape, views = PLACES[place](target.shape)
    # Elsewhere there is what every op can take.
    values = np.full(shape, 0.5 if target.dtype.kind == "f" else 1).astype(target.dtype)
    numbers = rg.arange(values.size).reshape(shape)
    for view in views:
        numbers = view(numbers)
    values.reshape(-1)[numbers.numpy().reshape(-1)] = target.reshape(-1)

    p = Program(values, target.dtype.kind != "f", leaves, dtype)
    twins = [p.base]
    for view in views:
        twins.append(twins[-1].through(view))
    call = caller(op, entry)
    name = in_place_name(entry)

    def in_place(t: Any, _: Any) -> Any:
        if op.check is not None:
            rg.manual_seed(1234)
        return getattr(t, name)(*others.args, **others.kwargs)

    write = Write(in_place, lambda t, _: call(t, *others.args, **others.kwargs))
    last = twins[-1]
    try:
        result = write.functional(last.expected(), None)
    except NotImplementedError as error:
        # An option that has no gradient.
        with pytest.raises(NotImplementedError, match=re.escape(str(error).split("] ")[1])):
            in_place(last.real, None)
        assert all(t.real._version == 0 for t in twins)
        return False
    if result.shape != last.real.shape or not rg.can_cast(result.dtype, last.real.dtype):
        with pytest.raises(RuntimeError, match="cast|shape|must match"):
            in_place(last.real, None)
        assert all(t.real._version == 0 for t in twins)
        p.read(*twins)
        return False
    p.write(last, write)
    p.read(*twins, twins[0].through(lambda t: t.view(-1)))
    p.check()
    return True


# Writes that must be refused.


def refused(view: Any, sentence: str) -> None:
    """Asserts that no write of any class is possible, and that each changes nothing."""
    value = rg.ones((), dtype=rg.float64, requires_grad=True)
    before, version = array(view), view._version
    for write in ("mul_", "exp_", "cumsum_", "clamp_", "uniform_", "dropout_", "gt_", "copy_"):
        with pytest.raises(RuntimeError, match=sentence):
            WRITES[write].in_place(view, value)
        assert view._version == version
    np.testing.assert_array_equal(array(view), before)


@pytest.mark.parametrize("first", MULTIPLE)
def test_outputs_of_ops_that_return_several_views(first: str) -> None:
    x = rg.arange(24.0, dtype=rg.float64).reshape(SHAPE).requires_grad_()
    for second in VIEWS:
        base = x * 1
        if viewed(second, MULTIPLE[first](NUMBERS)) is None:
            continue
        view = VIEWS[second](MULTIPLE[first](base))
        if second not in CUTS:
            refused(view, "function that returns multiple views")
            with rg.no_grad():
                view.zero_()
        else:
            view.zero_()
        assert base._version == 1


@pytest.mark.parametrize("first", MULTIPLE)
def test_outputs_without_a_history_may_be_written(first: str) -> None:
    base = rg.ones(SHAPE)
    MULTIPLE[first](base).mul_(2)
    assert base.sum() > SIZE and base._version == 1
    # They must not get a history, though: the others would have to learn of it.
    with pytest.raises(RuntimeError, match="function that returns multiple views"):
        MULTIPLE[first](base).mul_(rg.ones((), requires_grad=True))
    assert base._version == 1 and not base.requires_grad


@pytest.mark.parametrize("overlap", OVERLAPPING)
def test_overlapping_elements(overlap: str) -> None:
    x = rg.arange(24.0, dtype=rg.float64).reshape(SHAPE).requires_grad_()
    tried = 0
    for first in VIEWS:
        base = x * 1
        view = VIEWS[first](base) if viewed(first, NUMBERS) is not None else None
        if view is None or view.dim() < 2 or view.shape[-1] < 3 or not view.is_contiguous():
            continue
        view = OVERLAPPING[overlap](view)
        refused(view, "more than one element of the written-to tensor")
        # One of them alone is a place of its own.
        (view[0] if overlap == "expand" else view[..., 0]).mul_(2)
        assert base._version == 1
        tried += 1
    assert tried > 5


@pytest.mark.parametrize("first", VIEWS)
def test_views_of_a_leaf(first: str) -> None:
    """Refused while recording, also two views down; a write without recording is seen by all."""
    shape = (4, 6) if first in ("t", "T", "H") else SHAPE
    for second in VIEWS:
        numbers = viewed(first, NUMBERS.reshape(shape))
        if numbers is None or viewed(second, numbers) is None or {first, second} & {*CUTS}:
            continue
        x = rg.ones(shape, dtype=rg.float64, requires_grad=True)
        view = VIEWS[second](VIEWS[first](x))
        refused(view, "leaf Variable that requires grad")
        with rg.no_grad():
            view.zero_()
        assert x._version == 1 and x.sum() < x.numel() and x.is_leaf
