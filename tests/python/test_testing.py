"""`rustgrad.testing`: `assert_close` beside PyTorch's, and what `opcheck` finds in broken ops."""

from __future__ import annotations

import gc
import inspect
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import rustgrad as rg
from rustgrad.autograd import Function
from rustgrad.testing import OpCheckError, assert_close, opcheck

NAN, INF = float("nan"), float("inf")


def pairs() -> dict[str, tuple[Any, dict[str, Any]]]:
    """Arguments of `assert_close`, as functions of a package."""
    t: Any = lambda *a, **k: lambda m: m.tensor(*a, **k)  # noqa: E731
    same = {
        "equal": (t([1.0, 2.0]), t([1.0, 2.0])),
        "close": (t([1.0, 2.0]), t([1.0, 2.0 + 1e-6])),
        "not close": (t([[1.0, 2.0], [3.0, 0.0]]), t([[1.0, 2.1], [4.0, 0.0]])),
        "zero expected": (t([1.0, 2.0]), t([0.0, 2.0])),
        "0-d": (t(1.0), t(1.5)),
        "0-d close": (t(1.0), t(1.0 + 1e-6)),
        "shapes": (t([1.0, 2.0]), t([[1.0, 2.0]])),
        "shapes that broadcast": (t([1.0]), t(1.0)),
        "integers": (t([1, 2, 300]), t([1, 2, -300])),
        "equal integers": (t([1, 2]), t([1, 2])),
        "bools": (t([True, False]), t([True, True])),
        "empty": (t([]), t([])),
        "nan": (t([NAN, 1.0]), t([NAN, 1.0])),
        "nan and number": (t([NAN, 1.0]), t([1.0, 1.0])),
        "infinite": (t([INF, -INF]), t([INF, -INF])),
        "infinite of other sign": (t([INF]), t([-INF])),
        "numbers": (lambda m: 1.0, lambda m: 1.1),
        "close numbers": (lambda m: 1.0, lambda m: 1.0 + 1e-9),
        "zero number": (lambda m: 1.0, lambda m: 0.0),
        "int and float": (lambda m: 1, lambda m: 1.0),
        "ints": (lambda m: 1, lambda m: 2),
        "nan numbers": (lambda m: NAN, lambda m: NAN),
        "python bools": (lambda m: True, lambda m: False),
        "none": (lambda m: None, lambda m: None),
        "none and number": (lambda m: None, lambda m: 1.0),
        "number and none": (lambda m: 1.0, lambda m: None),
        "tensor and number": (t(1.0), lambda m: 1.0),
        "arrays": (lambda m: np.ones(3), lambda m: np.ones(3) * 2),
        "equal arrays": (lambda m: np.ones(3), lambda m: np.ones(3)),
        "numpy numbers": (lambda m: np.float64(1.0), lambda m: 1.5),
        "array and tensor": (lambda m: np.ones(3), lambda m: m.ones(3)),
        "strings": (lambda m: "a", lambda m: "a"),
        "lists": (lambda m: [1.0, m.ones(2)], lambda m: (1.0, m.ones(2) * 2)),
        "lengths": (lambda m: [1.0], lambda m: [1.0, 2.0]),
        "nested": (lambda m: {"a": [1.0, {"b": 2.0}]}, lambda m: {"a": [1.0, {"b": 3.0}]}),
        "ordered": (lambda m: {"b": 1.0, "a": 2.0}, lambda m: OrderedDict(a=2.0, b=1.0)),
        "keys": (lambda m: {"a": 1.0, "c": 1}, lambda m: {"a": 1.0, "b": 2.0}),
        "structure before values": (lambda m: [1.0, "a"], lambda m: [2.0, "a"]),
        "type in a list": (lambda m: [1.0, "a"], lambda m: [1.0, m.ones(1)]),
        "requires grad": (t([1.0], requires_grad=True), t([1.0])),
        "dtypes": (lambda m: m.ones(2), lambda m: m.ones(2).double()),
        "half": (lambda m: m.ones(2).half(), lambda m: m.ones(2).half() * 1.0005),
        "bfloat16": (lambda m: m.ones(2).bfloat16(), lambda m: m.ones(2).bfloat16() * 1.01),
        "float64": (lambda m: m.ones(2).double(), lambda m: m.ones(2).double() + 1e-6),
        "strides": (lambda m: m.ones(2, 3), lambda m: m.ones(3, 2).t()),
        "parameter": (lambda m: m.nn.Parameter(m.ones(2)), lambda m: m.ones(2)),
        "meta": (lambda m: m.ones(2, device="meta"), lambda m: m.zeros(2, device="meta")),
        "meta and cpu": (lambda m: m.ones(2, device="meta"), lambda m: m.zeros(2)),
        "int8": (
            lambda m: m.tensor([127], dtype=m.int8),
            lambda m: m.tensor([-128], dtype=m.int8),
        ),
    }
    cases = {name: (pair, {}) for name, pair in same.items()}
    for name, key, options in (
        ("equal_nan", "nan", {"equal_nan": True}),
        ("equal_nan of numbers", "nan numbers", {"equal_nan": True}),
        ("equal_nan of others", "nan and number", {"equal_nan": True}),
        ("tolerances", "not close", {"rtol": 0.5, "atol": 0.0}),
        ("no tolerance", "close", {"rtol": 0, "atol": 0}),
        ("one tolerance", "close", {"rtol": 0.5}),
        ("the other tolerance", "close", {"atol": 0.5}),
        ("any dtype", "dtypes", {"check_dtype": False}),
        ("any number", "int and float", {"check_dtype": False}),
        ("any device", "meta and cpu", {"check_device": False}),
        ("checked strides", "strides", {"check_stride": True}),
        ("no subclasses", "parameter", {"allow_subclasses": False}),
        ("message", "not close", {"msg": "mine"}),
        ("message of a structure", "nested", {"msg": lambda s: f"<{s}>"}),
        ("message of numbers", "numbers", {"msg": lambda s: f"<{s}>"}),
    ):
        cases[name] = (same[key], options)
    return cases


PAIRS = pairs()


def _outcome(module: Any, name: str) -> tuple[str, str]:
    (actual, expected), options = PAIRS[name]
    try:
        module.testing.assert_close(actual(module), expected(module), **options)
    except Exception as error:
        text = str(error).replace("torch.", "").replace("rustgrad.", "")
        return type(error).__name__, text.replace("_C.Tensor", "Tensor")
    return "", ""


@pytest.mark.parametrize("name", PAIRS)
def test_assert_close_says_what_pytorch_says(name) -> None:
    torch = pytest.importorskip("torch")
    got, want = _outcome(rg, name), _outcome(torch, name)
    assert got[0] == want[0], (got, want)
    if want[0] == "TypeError":
        assert got[1].startswith("No comparison pair was able to handle inputs of type")
    else:
        assert got[1] == want[1]


def test_assert_close_takes_the_arguments_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    theirs = inspect.signature(torch.testing.assert_close).parameters
    ours = inspect.signature(assert_close).parameters
    assert [(k, p.kind, p.default) for k, p in ours.items()] == [
        (k, p.kind, p.default) for k, p in theirs.items()
    ]


class TestAssertClose:
    def test_passes_and_fails(self) -> None:
        """Without PyTorch."""
        assert_close(rg.ones(2), rg.ones(2))
        assert_close([1.0, None, rg.ones(2)], (1.0, None, rg.ones(2)))
        with pytest.raises(AssertionError) as info:
            assert_close(rg.tensor([[1.0, 2.0]]), rg.tensor([[1.0, 4.0]]))
        assert str(info.value) == (
            "Tensor-likes are not close!\n\n"
            "Mismatched elements: 1 / 2 (50.0%)\n"
            "Greatest absolute difference: 2.0 at index (0, 1) (up to 1e-05 allowed)\n"
            "Greatest relative difference: 0.5 at index (0, 1) (up to 1.3e-06 allowed)"
        )
        assert info.value.__context__ is None

    def test_the_item_of_a_type_error_is_named(self) -> None:
        with pytest.raises(TypeError, match=r"at item \['a'\]\[1\]"):
            assert_close({"a": [1.0, "x"]}, {"a": [1.0, rg.ones(1)]})

    def test_does_not_record(self) -> None:
        x = rg.ones(2, requires_grad=True)
        with pytest.raises(AssertionError):
            assert_close(x * 2, x)


# Custom functions: a right one, and those that break one promise each.


class Softclip(Function):
    """``x / sqrt(1 + y^2)``."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x / (1 + y * y).sqrt()

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        r = (1 + y * y) ** -0.5
        return g * r, -g * x * y * r**3


class Divmod(Function):
    """Three outputs, one of them of integers; set up apart, with a rule for forward mode."""

    @staticmethod
    def forward(x, k):
        return x * x, x.long(), x.sin() * k

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.k = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx, g, _, h):
        (x,) = ctx.saved_tensors
        return 2 * x * g + x.cos() * ctx.k * h, None

    @staticmethod
    def jvp(ctx, dx, _):
        (x,) = ctx.saved_tensors
        return 2 * x * dx, None, x.cos() * ctx.k * dx


class Fill(Function):
    """Writes its input."""

    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx, g):
        return g * 2


X = rg.tensor([[0.5, -1.0, 2.0], [0.1, 0.7, -0.4]])
Y = rg.tensor([[1.5, 0.3, -0.6], [0.8, -2.0, 1.1]])
ALL = {
    "test_inputs_unchanged",
    "test_determinism",
    "test_gradcheck",
    "test_gradgradcheck",
    "test_forward_ad",
    "test_dtypes",
    "test_noncontiguous",
    "test_broadcasting",
    "test_undefined_grad",
    "test_needs_input_grad",
    "test_saved_tensors",
}


class TestOpcheckAccepts:
    @pytest.mark.parametrize("dtype", [rg.float32, rg.float64, rg.float16])
    @pytest.mark.parametrize(
        ("op", "args"),
        [
            (Softclip, (X, Y)),
            (Divmod, (X, 2.0)),
            (rg.matmul, (X, Y.t())),
            (lambda x, y: (x.exp() * y, y.sum(1)), (X, Y)),
            (rg.logsumexp, (X, 1)),
            (rg.take, (X, rg.tensor([0, 4, 4]))),
            (rg.argmax, (X,)),
        ],
    )
    def test_right_ops(self, op, args, dtype) -> None:
        args = tuple(a.to(dtype) if rg.is_tensor(a) and a.is_floating_point() else a for a in args)
        assert opcheck(op, args) == dict.fromkeys(ALL, "SUCCESS")

    def test_an_op_that_writes_its_input_and_says_so(self) -> None:
        """What is written in place cannot be a leaf: the op works on a copy for the derivatives."""
        tests = ALL - {"test_forward_ad", "test_gradgradcheck"}
        assert opcheck(lambda x: Fill.apply(x.clone()), (X,), test_utils=tuple(tests))
        assert opcheck(Fill, (X.clone(),), test_utils="test_inputs_unchanged")

    def test_keywords_and_lists(self) -> None:
        f = lambda xs, *, scale, other=None: sum(xs) * scale * other  # noqa: E731
        r = opcheck(f, ([X, Y],), {"scale": 2.0, "other": rg.ones(3)})
        assert set(r.values()) == {"SUCCESS"}

    def test_only_what_requires_grad(self) -> None:
        """The second argument has no gradient; it is not asked for one."""

        class Scale(Function):
            @staticmethod
            def forward(ctx, x, y):
                ctx.save_for_backward(y)
                return x * y

            @staticmethod
            def backward(ctx, g):
                (y,) = ctx.saved_tensors
                return g * y, None

        assert set(opcheck(Scale, (X.clone().requires_grad_(), Y)).values()) == {"SUCCESS"}
        with pytest.raises(OpCheckError, match="with respect to input 1"):
            opcheck(Scale, (X, Y))

    def test_without_elements_and_0d(self) -> None:
        for x in (rg.ones(0, 3), rg.ones(())):
            assert set(opcheck(Softclip, (x, x)).values()) == {"SUCCESS"}

    def test_arguments_stay_as_they_were(self) -> None:
        x = X.clone().requires_grad_()
        used = x * 1
        gc.collect()
        before = rg._C.live_nodes(), rg._C.live_bytes()
        opcheck(Softclip, (x, Y))
        gc.collect()
        assert used.requires_grad and x.grad is None and x._version == 0
        assert x.tolist() == X.tolist()
        assert (rg._C.live_nodes(), rg._C.live_bytes()) == before


def broken(**changes: Any) -> Any:
    """:class:`Softclip` of one argument, with other rules."""

    class Broken(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x / (1 + x * x).sqrt()

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * (1 + x * x) ** -1.5

    for name, rule in changes.items():
        setattr(Broken, name, staticmethod(rule))
    return Broken


def _save(ctx: Any, x: Any, out: Any) -> Any:
    ctx.save_for_backward(x)
    return out


KEPT: list[Any] = []


def _keeps_output(ctx: Any, x: Any) -> Any:
    ctx.out = x * 2
    return ctx.out


def _keeps_outside(ctx: Any, x: Any) -> Any:
    KEPT.append(x * 1)
    return x * 2


class Pair(Function):
    """Two outputs, and a backward that wants both cotangents."""

    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 2, x * 3

    @staticmethod
    def backward(ctx, g, h):
        return g * 2 + h * 3


class Needs(Function):
    """Gradients that get mixed up when only one is wanted."""

    @staticmethod
    def forward(ctx, x, y):
        return x * 2 + y * 3

    @staticmethod
    def backward(ctx, g):
        both = all(ctx.needs_input_grad)
        return (g * 2, g * 3) if both else (g * 3, g * 2)


class Sloppy(Function):
    """Multiplies by the mean of the second argument if the shapes differ."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y if x.shape == y.shape else x * y.mean()

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return g * y, g * x


once = rg.autograd.function.once_differentiable
scale = rg.tensor(2.0, dtype=rg.float64).reshape(1)
COUNT = [0]


def _counts(ctx: Any, g: Any) -> Any:
    COUNT[0] += 1
    (x,) = ctx.saved_tensors
    return g * (1 + x * x) ** -1.5 * (1 + 1e-4 * COUNT[0])


BROKEN: dict[str, tuple[Any, tuple, str, str]] = {
    "gradient": (
        broken(backward=lambda ctx, g: g * 2),
        (X,),
        "test_gradcheck",
        r"Jacobian mismatch for output 0 with respect to input 0 \(reverse mode\)",
    ),
    "once differentiable": (
        broken(backward=once(lambda ctx, g: g * (1 + ctx.saved_tensors[0] ** 2) ** -1.5)),
        (X,),
        "test_gradgradcheck",
        "once_differentiable",
    ),
    "second derivative": (
        broken(backward=lambda ctx, g: g * (1 + ctx.saved_tensors[0].detach() ** 2) ** -1.5),
        (X,),
        "test_gradgradcheck",
        "Jacobian mismatch",
    ),
    "forward mode": (
        broken(jvp=lambda ctx, dx: dx * 3),
        (X,),
        "test_forward_ad",
        "output 0 of jvp is not what its backward says",
    ),
    "type": (
        broken(forward=lambda ctx, x: _save(ctx, x, x / (1 + x * x).sqrt() * scale / 2)),
        (X,),
        "test_dtypes",
        "output 0 has dtype .*float64 for inputs in .*float32",
    ),
    "float64 only": (
        lambda x: x @ rg.ones(3, 2, dtype=rg.float64),
        (X.double(),),
        "test_dtypes",
        "does not run in .*float32",
    ),
    "strides": (
        broken(forward=lambda ctx, x: _save(ctx, x, x * (1.0 if x.is_contiguous() else 2.0))),
        (X,),
        "test_noncontiguous",
        "output 0 depends on strides",
    ),
    "strides of cotangents": (
        broken(
            backward=lambda ctx, g: (
                g * (1 + ctx.saved_tensors[0] ** 2) ** -1.5 * (1.0 if g.is_contiguous() else 2.0)
            )
        ),
        (X,),
        "test_noncontiguous",
        "gradient 0 depends on strides",
    ),
    "broadcasting": (Sloppy, (X, Y), "test_broadcasting", r"input 0 of shape .* instead of"),
    "cotangent": (Pair, (X,), "test_undefined_grad", "fails without a cotangent of output 0"),
    "needs_input_grad": (Needs, (X, Y), "test_needs_input_grad", "gradient of input 0 differs"),
    "cycle": (
        broken(forward=_keeps_output, backward=lambda ctx, g: g * 2),
        (X,),
        "test_saved_tensors",
        "until the garbage collector runs",
    ),
    "leak": (
        broken(forward=_keeps_outside, backward=lambda ctx, g: g * 2),
        (X,),
        "test_saved_tensors",
        "keeps 0 nodes and .* bytes alive, after",
    ),
    "nondeterministic": (broken(backward=_counts), (X,), "test_determinism", "two backwards of"),
    "random": (
        lambda x: x * rg.rand(3),
        (X,),
        "test_determinism",
        "two calls give different results",
    ),
    "input": (lambda x: x.detach().mul_(2) * 1, (X,), "test_inputs_unchanged", "written in place"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_opcheck_finds(name) -> None:
    op, args, test, text = BROKEN[name]
    try:
        with pytest.raises(OpCheckError, match=f"{test}: .*{text}") as info:
            opcheck(op, args)
        assert "opcheck(" in str(info.value) and " tests failed" in str(info.value)
        result = opcheck(op, args, raise_exception=False, test_utils=[test, "test_dtypes"])
        assert isinstance(result[test], Exception)
        del result, info
    finally:
        KEPT.clear()


def test_opcheck_tells_all_failures_at_once() -> None:
    bad = broken(backward=lambda ctx, g: g * 2, jvp=lambda ctx, dx: dx)
    with pytest.raises(OpCheckError) as info:
        opcheck(bad, (X,))
    text = str(info.value)
    assert text.startswith("opcheck(Broken): 2 of 11 tests failed\n\ntest_gradcheck: Grad")
    assert "test_forward_ad:" in text
    results = opcheck(bad, (X,), raise_exception=False)
    assert set(results) == ALL
    failed = {k for k, v in results.items() if v != "SUCCESS"}
    assert failed == {"test_gradcheck", "test_forward_ad"}


def test_tests_can_be_chosen() -> None:
    bad = broken(backward=lambda ctx, g: g * 2)
    assert opcheck(bad, (X,), test_utils=("test_dtypes",)) == {"test_dtypes": "SUCCESS"}
    assert opcheck(bad, (X,), test_utils="test_dtypes") == {"test_dtypes": "SUCCESS"}
    loose = broken(backward=lambda ctx, g: g * (1 + ctx.saved_tensors[0] ** 2) ** -1.5 * 1.05)
    assert opcheck(loose, (X,), test_utils="test_gradcheck", rtol=0.1, atol=0.1)


class TestOpcheckRefuses:
    @pytest.mark.parametrize(
        ("op", "args", "options", "error", "text"),
        [
            (3, (X,), {}, TypeError, "must be a subclass of autograd.Function or a function"),
            (rg.nn.Linear, (X,), {}, TypeError, "must be a subclass of autograd.Function"),
            (rg.sin, X, {}, TypeError, "args must be a tuple .* got Tensor"),
            (rg.sin, (X,), {"test_utils": "test_all"}, ValueError, "there is no test_all; the"),
            (rg.sin, (X,), {"rtol": 1.0}, ValueError, "you must specify both"),
        ],
    )
    def test_arguments(self, op, args, options, error, text) -> None:
        with pytest.raises(error, match=text):
            opcheck(op, args, **options)

    def test_an_op_that_fails(self) -> None:
        with pytest.raises(OpCheckError, match="10 of 11 .*\n\n.*: KeyError: 'x'"):
            opcheck(lambda x: {}["x"], (X,))
