"""The fuzzer of programs: a run of it, and proof that it finds what is wrong."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import rustgrad as rg
from rustgrad.testing import fuzz
from rustgrad.testing.fuzz import engine, generate, history, machine, oracle, scalar as sc, shapes
from rustgrad.testing.fuzz.ops import OPS
from rustgrad.testing.fuzz.ops.table import each

SEED = int(os.environ.get("RUSTGRAD_FUZZ_SEED", "0"))
PROGRAMS = int(os.environ.get("RUSTGRAD_FUZZ_PROGRAMS", "1500"))


@pytest.fixture(scope="module")
def report() -> fuzz.Report:
    return fuzz.run(programs=PROGRAMS, seed=SEED)


class TestRun:
    def test_no_difference(self, report: fuzz.Report) -> None:
        assert not report.findings, "\n".join(map(str, report.findings))
        assert report.programs == PROGRAMS

    def test_covers_every_kind_of_statement(self, report: fuzz.Report) -> None:
        kinds = {*generate.FAMILIES, *generate.SPECIAL, *engine.MODES, "check", "forward mode"}
        kinds |= {f"{order} derivatives" for order in ("first", "second", "third")}
        kinds |= {"writes through views", "in another thread", "backward for some leaves"}
        assert kinds <= set(report.features), kinds - set(report.features)

    def test_covers_every_refusal(self, report: fuzz.Report) -> None:
        reasons = {v for k, v in vars(oracle).items() if k.isupper() and isinstance(v, str)}
        reasons -= {oracle.DOUBLE, oracle.SINGLE}
        found = {k.removeprefix("refused: ") for k in report.features if k.startswith("refused")}
        assert found == reasons

    def test_most_programs_are_differentiated(self, report: fuzz.Report) -> None:
        assert report.features["first derivatives"] > 0.5 * report.programs
        assert report.features["second derivatives"] > 0.2 * report.programs

    def test_does_not_depend_on_the_number_of_jobs(self) -> None:
        one, two = (fuzz.run(programs=60, seed=5, jobs=jobs) for jobs in (1, 2))
        assert one.features == two.features and one.statements == two.statements

    @pytest.mark.parametrize("wrong", [{"programs": -1}, {"jobs": 0}, {"max_statements": 1}])
    def test_numbers_that_are_too_small(self, wrong: dict[str, int]) -> None:
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be at least"):
            fuzz.run(**wrong)

    def test_command_line(self) -> None:
        command = [sys.executable, "-m", "rustgrad.testing.fuzz", "--programs", "20", "--seed", "3"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "20 programs of seed 3" in done.stdout and "no difference" in done.stdout


def first_finding(most: int = 600) -> fuzz.Finding:
    """The first program that shows a difference, and does so again."""
    for number in range(most):
        finding = fuzz.one(11, number)
        # A wrong oracle may change by what is asked of it while a program is drawn.
        if finding is not None and finding.script:
            return finding
    raise AssertionError(f"{most} programs show nothing")


def changed(monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> None:
    """Replaces parts of an operation's declaration."""
    monkeypatch.setitem(OPS, name, replace(OPS[name], **changes))
    ops = {f: [OPS[op.name] for op in ops] for f, ops in generate._ops.items()}
    monkeypatch.setattr(generate, "_ops", ops)


class WrongSecond(rg.autograd.Function):
    """``x^3``, whose gradient forgets that it depends on ``x``."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * 3 * (x * x).detach()


class WrongFirst(WrongSecond):
    """``x^3``, with half the gradient where ``x > 1``."""

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * 3 * x * x * rg.where(x > 1, 0.5, 1.0)


def first_two_of_sine(a: sc.Scalar) -> sc.Scalar:
    """``sin(a)``, whose second derivative is taken for a constant."""
    s, c = math.sin(a.v), math.cos(a.v)
    slope = lambda: sc._function(a, c, -s, lambda: sc.Scalar(-s))  # noqa: E731
    return sc._function(a, s, c, slope)


SINE = {"text": "{0}.sin()"}
FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a wrong value": ("cos", SINE, "value"),
    "a wrong view": ("transpose", {"text": "{0}.transpose({p0}, {p0})"}, "shape"),
    "a copy instead of a view": (
        "movedim",
        {"text": "{0}.movedim({p0}, {p1}).clone()"},
        "value|missing refusal",
    ),
    "a view instead of a copy": ("clone", {"text": "{0}[...]"}, "value|refusal"),
    "a wrong gradient": ("neg", {"text": "{0} - 2 * {0}.detach()"}, "gradient"),
    "a wrong gradient of some elements": ("Cube", {"text": "WrongFirst.apply({0})"}, "gradient"),
    "a wrong second derivative": ("Cube", {"text": "WrongSecond.apply({0})"}, "second derivative"),
    "a lost history": ("square", {"text": "({0} * {0}).detach()"}, "requires_grad"),
    "an error": ("flip", {"text": "{0}.flip(99 + {p0})"}, "refusal"),
    "a leak": ("tril", {"text": "(hoard.append({0}), {0}.tril({p0}))[1]"}, "leak"),
    "a write that is lost": (
        "add_",
        {"text": "{0}.clone().add_({1})"},
        "value|missing refusal",
    ),
    "a write to too much": ("fill part", {"text": "{0}.fill_({p1})"}, "value"),
    "strides that go to a copy": (
        "as_strided",
        {"text": "{0}.as_strided({p0}, {p1}).clone()"},
        "value|missing refusal",
    ),
    "a sum of nothing that is not 0": (
        "sum",
        {"text": "{0}.sum({p0}, keepdim={p1}) + float(0 in {0}.shape)"},
        "value",
    ),
    "a wrong type": ("add", {"text": "({0} + {1}).double()"}, "dtype"),
    "a cast without a history": ("double", {"text": "{0}.double().detach()"}, "requires_grad"),
    "a checkpoint in a checkpoint that is lost": (
        "checkpoint in a checkpoint",
        {
            "text": "checkpoint(lambda a, b: checkpoint(lambda c: c.sin(), (a * b).detach()) * b, "
            "{0}, {1})",
            "rule": each(lambda a, b: sc.times(sc.sin(sc.times(a, b)), b)),
        },
        "gradient",
    ),
    "an oracle with a wrong third derivative": (
        "sin",
        {"rule": each(lambda a: first_two_of_sine(a))},
        "third derivative",
    ),
    "an oracle that rolls the other way": (
        "roll",
        {"rule": lambda ins, by, d: OPS["roll_"].rule(ins, -by, d)},
        "value",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, changes, kind = FAULTS[fault]
    hoard: list[Any] = []
    monkeypatch.setitem(OPS, "roll_", OPS["roll"])
    for key, value in {
        "hoard": hoard,
        "WrongFirst": WrongFirst,
        "WrongSecond": WrongSecond,
    }.items():
        monkeypatch.setitem(engine.NAMES, key, value)
    changed(monkeypatch, name, **changes)
    finding = first_finding()
    hoard.clear()
    assert finding.kind in {*kind.split("|"), "requires_grad", "is_leaf"}, finding
    assert len(finding.program) <= 6, finding
    code = [line for line in finding.script.splitlines() if line and "import" not in line]
    assert len(code) <= 11, finding
    scope = {"hoard": hoard, "WrongFirst": WrongFirst, "WrongSecond": WrongSecond}
    with pytest.raises((AssertionError, IndexError, RuntimeError)):
        exec(finding.script, scope)
    scope.clear()
    hoard.clear()


def forgets_stale_views(self: Any) -> None:
    """Views never take the history that their base got from a write."""
    self.version = self.owner.storage.version


def writes_views_only(world: Any, t: Any, nodes: Any, *rest: Any) -> None:
    """A write that others who share the storage do not see."""
    t.owner.nodes = list(t.owner.nodes)
    for i, n in zip(t.at, nodes, strict=True):
        t.owner.nodes[i] = n


def backward_for_all(tensors: Any, grads: Any, retain_graph: Any, inputs: Any = None) -> None:
    """``backward`` that gives to all leaves."""
    rg._C.backward(tensors, grads, retain_graph, False, None)


def backward_once(tensors: Any, grads: Any, retain_graph: Any, inputs: Any = None) -> None:
    """``backward`` that does nothing the second time."""
    if not hasattr(tensors[0], "done"):
        tensors[0].done = True
        rg._C.backward(tensors, grads, retain_graph, False, inputs)


ENGINES: dict[str, tuple[Any, str, Any, str]] = {
    "inputs of backward are ignored": (
        rg.autograd, "backward", backward_for_all, "gradient|refusal",
    ),
    "a second backward is ignored": (
        rg.autograd, "backward", backward_once, "gradient|missing refusal",
    ),
    "detach_ does nothing": (rg.Tensor, "detach_", lambda t: t, "requires_grad"),
    "inference mode is no_grad": (
        rg, "inference_mode", rg.no_grad, "missing refusal",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", ENGINES)
def test_a_wrong_engine_is_found(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, wrong, kind = ENGINES[change]
    monkeypatch.setattr(where, name, wrong)
    finding = first_finding()
    assert finding.kind in kind.split("|") and len(finding.program) <= 5, finding
    with pytest.raises((AssertionError, RuntimeError)):
        exec(finding.script, {})


def unhooked(m: Any, s: Any, ins: Any) -> None:
    """Hooks of nodes that scale nothing."""
    history.node_hook(m, s, ins)
    for n in ins[0].heads:
        n.partials = (1.0,)


ORACLES: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "nothing is refused a write": (oracle.World, "write_refusals", lambda *_: set()),
    "every write is refused": (oracle.World, "write_refusals", lambda *_: {oracle.LEAF}),
    "no backward is refused": (oracle, "backward_refusals", lambda _: set()),
    "views do not follow writes": (oracle.Tensor, "refresh", forgets_stale_views),
    "detached tensors share nothing": (
        oracle.World, "detach", lambda _, t: oracle.new(t.shape, [sc.Scalar(v) for v in t.values]),
    ),
    "a write is one of constants": (oracle.World, "write", writes_views_only),
    "hooks of nodes are forgotten": (machine.STATEMENTS, "node_hook", unhooked),
    "float32 is float64": (oracle, "promoted", lambda _: oracle.DOUBLE),
    "anything can be saved": (oracle.World, "save_refusals", lambda *_: set()),
    "a product forgets a factor": (sc, "times", lambda a, b: sc.scaled(a, b.v)),
}  # fmt: skip


@pytest.mark.parametrize("change", ORACLES)
def test_a_wrong_oracle_is_found(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its rules matters: without it, the engine seems wrong."""
    where, name, wrong = ORACLES[change]
    put = monkeypatch.setitem if isinstance(where, dict) else monkeypatch.setattr
    put(where, name, wrong)
    assert len(first_finding().program) <= 8


class TestScalars:
    """The oracle's calculus against central differences."""

    def functions(self) -> list[Callable[[sc.Scalar, sc.Scalar], sc.Scalar]]:
        return [
            lambda a, b: sc.times(sc.sin(a), sc.cos(b)),
            lambda a, b: sc.quotient(sc.exp(a), sc.shifted(sc.times(b, b), 2.0)),
            lambda a, b: sc.times(sc.log(a), sc.power(b, 2.5)),
            lambda a, b: sc.plus(sc.tanh(sc.times(a, b)), sc.sigmoid(sc.scaled(b, -3.0))),
            lambda a, b: sc.total([sc.power(a, -1.0), sc.same(b), sc.times(b, sc.times(a, b))]),
        ]

    def test_first_and_second_derivatives(self) -> None:
        point, h = (0.7, 1.3), 1e-5
        for f in self.functions():

            def gradient(p: tuple[float, ...], f: Any = f) -> tuple[float, float]:
                a, b = map(sc.variable, p)
                found = sc.gradients([(f(a, b), 1.0)])
                return found[a], found[b]

            a, b = map(sc.variable, point)
            y = f(a, b)
            first = sc.gradients_with_graph([(y, sc.Scalar(1.0))])
            forward = sc.tangents({a: 0.3, b: -0.4}, [y])[y]
            assert forward == pytest.approx(0.3 * first[a].v - 0.4 * first[b].v, abs=1e-12)
            for i, x in enumerate((a, b)):
                up, down = (
                    tuple(v + s * h * (k == i) for k, v in enumerate(point)) for s in (1, -1)
                )
                values = [f(*map(sc.variable, p)).v for p in (up, down)]
                assert first[x].v == pytest.approx((values[0] - values[1]) / (2 * h), abs=1e-7)
                slopes = [
                    (p - q) / (2 * h) for p, q in zip(gradient(up), gradient(down), strict=True)
                ]
                second = sc.gradients([(first[x], 1.0)])
                assert [second[a], second[b]] == pytest.approx(slopes, abs=1e-7)

    def test_an_overwritten_value_keeps_its_derivatives(self) -> None:
        a = sc.variable(2.0)
        y = sc.replaced(sc.times(a, a), 7.0)
        assert y.v == 7.0 and sc.gradients([(y, 1.0)])[a] == 4.0


class TestShapes:
    def test_strided(self) -> None:
        assert shapes.is_strided([0, 2, 4, 1, 3, 5], (2, 3))
        assert not shapes.is_strided([0, 2, 4, 1, 3, 5], (6,))
        assert shapes.is_strided([3, 3, 3], (3,)) and shapes.is_strided([], (0, 2))

    def test_subscripts_print_as_they_are_written(self) -> None:
        key = shapes.Key([slice(None), None, -1, slice(1, 4, 2), Ellipsis])
        assert str(key) == ":, None, -1, 1:4:2, ..."
        shape, at = shapes.subscript((2, 3, 5), key)
        assert shape == (2, 1, 2) and at == [11, 13, 26, 28]
