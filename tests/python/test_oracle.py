"""Random programs of views, writes in place and reads, against a plain oracle.

The oracle knows no views and no graph: a tensor is a list of positions in a flat memory, and every
cell of the memory holds a value with its exact first and second derivatives by the input (a jet).
Writing through a view is assigning to cells. Each program is run by the engine too, and values,
gradients, Hessian-vector products and forward-mode derivatives must agree.

``RUSTGRAD_FUZZ_SEED`` and ``RUSTGRAD_FUZZ_EXAMPLES`` choose other programs, and how many.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import rustgrad as rg
import rustgrad.autograd.forward_ad as fwAD
from hypothesis import HealthCheck, given, note, seed, settings

SEED = int(os.environ.get("RUSTGRAD_FUZZ_SEED", "0"))
EXAMPLES = int(os.environ.get("RUSTGRAD_FUZZ_EXAMPLES", "150"))
SHAPE = (2, 3)
L = 6


@dataclass
class Jet:
    """Values with first and second derivatives by the ``L`` inputs, in the trailing dimensions."""

    v: np.ndarray
    j: np.ndarray
    h: np.ndarray

    def map(self, f: np.ndarray, df: np.ndarray, ddf: np.ndarray) -> Jet:
        """An elementwise function, given by its value and derivatives at ``self.v``."""
        outer = self.j[..., :, None] * self.j[..., None, :]
        return Jet(
            f, df[..., None] * self.j, df[..., None, None] * self.h + ddf[..., None, None] * outer
        )

    def sin(self) -> Jet:
        return self.map(np.sin(self.v), np.cos(self.v), -np.sin(self.v))

    def scale(self, s: float) -> Jet:
        return Jet(self.v * s, self.j * s, self.h * s)

    def shift(self, s: float) -> Jet:
        return Jet(self.v + s, self.j, self.h)

    def broadcast(self, shape: tuple[int, ...]) -> Jet:
        return Jet(
            np.broadcast_to(self.v, shape),
            np.broadcast_to(self.j, (*shape, L)),
            np.broadcast_to(self.h, (*shape, L, L)),
        )

    def __add__(self, other: Jet) -> Jet:
        a, b = together(self, other)
        return Jet(a.v + b.v, a.j + b.j, a.h + b.h)

    def __mul__(self, other: Jet) -> Jet:
        a, b = together(self, other)
        cross = a.j[..., :, None] * b.j[..., None, :]
        av, bv = a.v[..., None], b.v[..., None]
        return Jet(
            a.v * b.v,
            av * b.j + bv * a.j,
            av[..., None] * b.h + bv[..., None] * a.h + cross + np.swapaxes(cross, -1, -2),
        )


def together(a: Jet, b: Jet) -> tuple[Jet, Jet]:
    """Both, broadcast to one shape."""
    shape = np.broadcast_shapes(a.v.shape, b.v.shape)
    return a.broadcast(shape), b.broadcast(shape)


def constant(v: np.ndarray) -> Jet:
    """A value that depends on nothing."""
    return Jet(v, np.zeros((*v.shape, L)), np.zeros((*v.shape, L, L)))


class Memory:
    """Flat cells, each a jet."""

    def __init__(self, jet: Jet) -> None:
        n = jet.v.size
        self.v = jet.v.reshape(n).copy()
        self.j = jet.j.reshape(n, L).copy()
        self.h = jet.h.reshape(n, L, L).copy()


@dataclass
class Model:
    """A tensor of the oracle: positions in a memory."""

    memory: Memory
    at: np.ndarray
    writable: bool = True

    @staticmethod
    def new(jet: Jet) -> Model:
        return Model(Memory(jet), np.arange(jet.v.size).reshape(jet.v.shape))

    def read(self) -> Jet:
        m = self.memory
        return Jet(m.v[self.at].copy(), m.j[self.at].copy(), m.h[self.at].copy())

    def write(self, jet: Jet) -> None:
        jet = jet.broadcast(self.at.shape)
        m = self.memory
        m.v[self.at], m.j[self.at], m.h[self.at] = jet.v, jet.j, jet.h

    def view(self, f: Callable[[np.ndarray], np.ndarray], writable: bool = True) -> Model:
        return Model(self.memory, f(self.at), self.writable and writable)


# A step of a program: text, what the engine does, what the oracle does. Both get the list of
# tensors made so far, and append to it or write to its members.
Step = tuple[str, Callable[[list[Any]], None], Callable[[list[Model]], None]]


def broadcasts(a: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether ``a`` broadcasts to ``to``."""
    try:
        return np.broadcast_shapes(a, to) == to
    except ValueError:
        return False


class Programs:
    """Draws steps; keeps a list of models to know which steps are possible."""

    def __init__(self, draw: Callable[..., Any], safe: bool) -> None:
        self.draw = draw
        self.safe = safe
        self.models = [
            Model.new(constant(np.zeros(SHAPE))),
        ]

    def number(self) -> float:
        return self.draw(st.sampled_from([-1.5, -0.5, 0.25, 0.75, 2.0]))

    def index(self, only: Callable[[Model], bool] = lambda m: True) -> int | None:
        fits = [k for k, m in enumerate(self.models) if only(m)]
        return self.draw(st.sampled_from(fits)) if fits else None

    def dim(self, m: Model) -> int:
        return self.draw(st.integers(0, m.at.ndim - 1))

    def view(self) -> Step:
        k = self.index()
        assert k is not None
        m = self.models[k]
        names = ["unsqueeze", "expand", "all"]
        if m.at.ndim:
            names += ["select", "slice", "transpose", "permute", "unbind", "split", "narrow"]
            if 1 in m.at.shape:
                names += ["squeeze"]
        if m.at.ndim >= 2:
            names += ["diagonal"]
        name = self.draw(st.sampled_from(names))
        d = self.dim(m) if m.at.ndim else 0
        n = m.at.shape[d] if m.at.ndim else 0
        writable = True
        f: Callable[[Any], Any]
        g: Callable[[np.ndarray], np.ndarray]
        if name == "unsqueeze":
            text, f, g = (
                f".unsqueeze({d})",
                lambda t: t.unsqueeze(d),
                lambda a: a[(slice(None),) * d + (None,)],
            )
        elif name == "all":
            text, f, g = "[...]", lambda t: t[...], lambda a: a[...]
        elif name == "expand":
            size = (2, *m.at.shape)
            text, f, g = (
                f".expand{size}",
                lambda t: t.expand(size),
                lambda a: np.broadcast_to(a, size),
            )
            writable = False
        elif name == "select":
            if n == 0:
                return self.view()
            i = self.draw(st.integers(-n, n - 1))
            text, f, g = f".select({d}, {i})", lambda t: t.select(d, i), lambda a: a.take(i, axis=d)
        elif name == "slice":
            lo = self.draw(st.integers(0, n))
            hi = self.draw(st.integers(lo, n))
            step = self.draw(st.integers(1, 2))
            key = (slice(None),) * d + (slice(lo, hi, step),)
            text, f, g = f"[{key}]", lambda t: t[key], lambda a: a[key]
        elif name == "narrow":
            lo = self.draw(st.integers(0, n))
            size = self.draw(st.integers(0, n - lo))
            key = (slice(None),) * d + (slice(lo, lo + size),)
            text = f".narrow({d}, {lo}, {size})"
            f, g = lambda t: t.narrow(d, lo, size), lambda a: a[key]
        elif name == "transpose":
            e = self.dim(m)
            text, f, g = (
                f".transpose({d}, {e})",
                lambda t: t.transpose(d, e),
                lambda a: a.swapaxes(d, e),
            )
        elif name == "permute":
            p = tuple(self.draw(st.permutations(range(m.at.ndim))))
            text, f, g = f".permute{p}", lambda t: t.permute(p), lambda a: a.transpose(p)
        elif name == "squeeze":
            text, f, g = ".squeeze()", lambda t: t.squeeze(), lambda a: a.squeeze()
        elif name == "diagonal":
            o = self.draw(st.integers(-1, 1))
            text, f, g = f".diagonal({o})", lambda t: t.diagonal(o), lambda a: a.diagonal(o)
        elif name == "unbind":
            if n == 0:
                return self.view()
            i = self.draw(st.integers(0, n - 1))
            text, f, g = f".unbind({d})[{i}]", lambda t: t.unbind(d)[i], lambda a: a.take(i, axis=d)
            writable = False
        else:
            if n == 0:
                return self.view()
            text = f".split(1, {d})[0]"
            key = (slice(None),) * d + (slice(0, 1),)
            f, g = lambda t: t.split(1, d)[0], lambda a: a[key]
            writable = False
        return (
            f"t{len(self.models)} = t{k}{text}",
            lambda ts: ts.append(f(ts[k])),
            lambda ms: ms.append(ms[k].view(g, writable)),
        )

    def reshape(self) -> Step | None:
        k = self.index(lambda m: m.at.size > 0 and is_dense(m.at))
        if k is None:
            return None
        n = self.models[k].at.size
        shapes = [(n,), (1, n), (n, 1)] + [(d, n // d) for d in (2, 3) if n % d == 0]
        shape = self.draw(st.sampled_from(shapes))
        return (
            f"t{len(self.models)} = t{k}.view{shape}",
            lambda ts: ts.append(ts[k].view(shape)),
            lambda ms: ms.append(ms[k].view(lambda a: a.reshape(shape))),
        )

    def write(self) -> Step | None:
        k = self.index(lambda m: m.writable)
        if k is None:
            return None
        shape = self.models[k].at.shape
        name = self.draw(
            st.sampled_from(["add", "mul", "copy", "scale", "shift", "zero", "fill", "sin", "set"])
        )
        s = self.number()
        if name == "scale":
            return f"t{k}.mul_({s})", lambda ts: _(ts[k].mul_(s)), on(k, lambda a: a.scale(s))
        if name == "shift":
            return f"t{k}.add_({s})", lambda ts: _(ts[k].add_(s)), on(k, lambda a: a.shift(s))
        if name == "zero":
            return f"t{k}.zero_()", lambda ts: _(ts[k].zero_()), on(k, lambda a: constant(a.v * 0))
        if name == "fill":
            full = on(k, lambda a: constant(np.full(a.v.shape, s)))
            return f"t{k}.fill_({s})", lambda ts: _(ts[k].fill_(s)), full
        if name == "sin":
            if self.safe:
                text = f"t{k}.copy_(t{k}.clone().sin())"
                return text, lambda ts: _(ts[k].copy_(ts[k].clone().sin())), on(k, Jet.sin)
            return f"t{k}.sin_()", lambda ts: _(ts[k].sin_()), on(k, Jet.sin)
        other = self.index(lambda m: broadcasts(m.at.shape, shape))
        assert other is not None
        o = other

        def operand(ts: list[Any]) -> Any:
            return ts[o].clone() if self.safe and name == "mul" else ts[o]

        clone = ".clone()" if self.safe and name == "mul" else ""
        if name == "add":

            def add(ms: list[Model]) -> None:
                ms[k].write(ms[k].read() + ms[o].read())

            return f"t{k}.add_(t{o}{clone})", lambda ts: _(ts[k].add_(operand(ts))), add
        if name == "mul":

            def mul(ms: list[Model]) -> None:
                ms[k].write(ms[k].read() * ms[o].read())

            return f"t{k}.mul_(t{o}{clone})", lambda ts: _(ts[k].mul_(operand(ts))), mul

        def copy(ms: list[Model]) -> None:
            ms[k].write(ms[o].read())

        if name == "copy":
            return f"t{k}.copy_(t{o})", lambda ts: _(ts[k].copy_(ts[o])), copy
        return f"t{k}[...] = t{o}", lambda ts: ts[k].__setitem__(..., ts[o]), copy

    def read(self) -> Step | None:
        # Contiguous, since PyTorch keeps the strides of a transposed operand.
        k = self.index()
        assert k is not None
        shape = self.models[k].at.shape
        name = self.draw(st.sampled_from(["clone", "sin", "mul", "add"]))
        new = f"t{len(self.models)}"
        if name in ("clone", "sin"):
            f: Callable[[Any], Any] = (
                (lambda t: t.clone())
                if name == "clone"
                else (lambda t: (t.clone() if self.safe else t).sin())
            )
            g: Callable[[Jet], Jet] = (lambda a: a) if name == "clone" else Jet.sin
            return (
                f"{new} = t{k}.{name}()",
                lambda ts: ts.append(f(ts[k]).contiguous()),
                lambda ms: ms.append(Model.new(g(ms[k].read()))),
            )
        o = self.index(lambda m: broadcasts(m.at.shape, shape))
        assert o is not None
        if name == "add":
            return (
                f"{new} = t{k} + t{o}",
                lambda ts: ts.append((ts[k] + ts[o]).contiguous()),
                lambda ms: ms.append(Model.new(ms[k].read() + ms[o].read())),
            )

        def product(ts: list[Any]) -> None:
            a, b = ts[k], ts[o]
            ts.append((a.clone() * b.clone() if self.safe else a * b).contiguous())

        return (
            f"{new} = t{k} * t{o}",
            product,
            lambda ms: ms.append(Model.new(ms[k].read() * ms[o].read())),
        )

    def step(self) -> Step:
        kind = self.draw(st.sampled_from(["view", "view", "reshape", "write", "write", "read"]))
        made = getattr(self, kind)()
        return made if made is not None else self.view()

    def program(self) -> list[Step]:
        steps = []
        for _ in range(self.draw(st.integers(1, 12))):
            step = self.step()
            step[2](self.models)
            steps.append(step)
        return steps


def _(result: Any) -> None:
    """Drops the result of an in-place method."""


def on(k: int, f: Callable[[Jet], Jet]) -> Callable[[list[Model]], None]:
    """Replaces a tensor by a function of itself."""

    def run(ms: list[Model]) -> None:
        ms[k].write(f(ms[k].read()))

    return run


def is_dense(at: np.ndarray) -> bool:
    """Whether positions rise by one: such a tensor is contiguous and can be viewed anew."""
    flat = at.reshape(-1)
    return bool(np.all(np.diff(flat) == 1))


@st.composite
def programs(draw: Callable[..., Any], safe: bool) -> list[Step]:
    """Lists of steps."""
    return Programs(draw, safe).program()


def loss_of(ts: list[Any]) -> Any:
    """Weighs each element of each tensor differently."""
    total: Any = 0.0
    for k, t in enumerate(ts):
        total = total + (t * rg.tensor(weights(k, tuple(t.shape)))).sum()
    return total


def weights(k: int, shape: tuple[int, ...]) -> Any:
    """Numbers without symmetry, as nested lists."""
    n = int(np.prod(shape))
    values = 0.3 + np.modf(0.61803398875 * (np.arange(n) + 7 * k + 1))[0]
    return np.asarray(values, dtype=np.float64).reshape(shape)


def engine_values(steps: list[Step], x: Any) -> list[Any]:
    """Runs a program; the first tensor is a copy of the input."""
    ts = [x.clone()]
    for _text, run, _model in steps:
        run(ts)
    return ts


def check(steps: list[Step], may_refuse: bool) -> None:
    """Runs a program by both, and compares."""
    note(
        "\n".join([f"RUSTGRAD_FUZZ_SEED={SEED}", "t0 = x.clone()", *(text for text, _, _ in steps)])
    )
    start = np.array([0.3, -0.7, 1.1, 0.9, -0.2, 0.5])
    jet = Jet(start.reshape(SHAPE), np.eye(L).reshape(*SHAPE, L), np.zeros((*SHAPE, L, L)))
    models = [Model.new(jet)]
    for _text, _run, model in steps:
        model(models)
    total = constant(np.zeros(()))
    for k, m in enumerate(models):
        part = m.read() * constant(weights(k, m.at.shape))
        axes = tuple(range(m.at.ndim))
        total = total + Jet(part.v.sum(), part.j.sum(axis=axes), part.h.sum(axis=axes))

    x = rg.tensor(start.reshape(SHAPE)).requires_grad_()
    ts = engine_values(steps, x)
    for k, (t, m) in enumerate(zip(ts, models, strict=True)):
        got = np.asarray(t.detach().numpy())
        np.testing.assert_allclose(got, m.read().v, rtol=1e-12, atol=1e-12, err_msg=f"t{k}")
    loss = loss_of(ts)
    try:
        (g,) = rg.autograd.grad(loss, x, create_graph=True, materialize_grads=True)
        np.testing.assert_allclose(
            g.detach().numpy(), total.j.reshape(SHAPE), rtol=1e-9, atol=1e-9, err_msg="gradient"
        )
        u = rg.tensor(np.asarray(weights(99, SHAPE)))
        want = (total.h @ weights(99, (L,))).reshape(SHAPE)
        if g.requires_grad:
            (hv,) = rg.autograd.grad(g, x, u, allow_unused=True)
            got = np.zeros(SHAPE) if hv is None else hv.numpy()
        else:
            got = np.zeros(SHAPE)
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9, err_msg="Hessian times vector")
    except RuntimeError as error:
        if not (may_refuse and "modified by an inplace operation" in str(error)):
            raise

    # Forward mode saves nothing, so no program may be refused.
    with fwAD.dual_level():
        v = weights(99, (L,))
        dual = fwAD.make_dual(rg.tensor(start.reshape(SHAPE)), rg.tensor(v.reshape(SHAPE)))
        tangent = fwAD.unpack_dual(loss_of(engine_values(steps, dual))).tangent
        got = 0.0 if tangent is None else tangent.item()
        assert got == pytest.approx(float(total.j @ v), rel=1e-9, abs=1e-9), "forward mode"


COMMON = dict(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@seed(SEED)
@settings(**COMMON)  # type: ignore[arg-type]
@given(programs(safe=True))
def test_programs_that_overwrite_nothing_that_is_saved(steps: list[Step]) -> None:
    check(steps, may_refuse=False)


@seed(SEED)
@settings(**COMMON)  # type: ignore[arg-type]
@given(programs(safe=False))
def test_any_program_is_right_or_refused(steps: list[Step]) -> None:
    check(steps, may_refuse=True)


def test_the_oracle_itself() -> None:
    """The jets against central differences, on a fixed program."""

    def f(x: np.ndarray) -> Jet:
        a = Model.new(Jet(x, np.eye(L), np.zeros((L, L, L))))
        b = a.view(lambda at: at.reshape(2, 3)[:, 1:])
        b.write(b.read().sin() * b.read() + b.read())
        a.view(lambda at: at[::2]).write(a.view(lambda at: at[1::2]).read().scale(2.0).shift(1.0))
        return a.read() * a.read()

    x = np.array([0.3, -0.7, 1.1, 0.9, -0.2, 0.5])
    y = f(x)
    for k in range(L):
        step = np.zeros(L)
        step[k] = 1e-5
        p, m = f(x + step), f(x - step)
        np.testing.assert_allclose((p.v - m.v) / 2e-5, y.j[:, k], atol=1e-8)
        np.testing.assert_allclose((p.j - m.j) / 2e-5, y.h[:, :, k], atol=1e-8)
