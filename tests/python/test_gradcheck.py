"""`gradcheck` and `gradgradcheck`: what they accept, what they find, and what they say of it."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import rustgrad as rg
from rustgrad.autograd import Function, GradcheckError, gradcheck, gradgradcheck


def leaf(*values: float, dtype: Any = rg.float64) -> Any:
    return rg.tensor(list(values), dtype=dtype, requires_grad=True)


def function(forward: Callable[..., Any], backward: Callable[..., Any], **static: Any) -> Any:
    """A custom function from its two rules; ``backward(x, g)``."""

    class F(Function):
        @staticmethod
        def forward(ctx, *xs):
            ctx.save_for_backward(*xs)
            return forward(*xs)

        @staticmethod
        def backward(ctx, *gs):
            return backward(*ctx.saved_tensors, *gs)

    return F.apply


X = leaf(0.5, -1.0, 2.0)
_ = X * 1  # A leaf keeps its accumulator from its first use on.
right = function(lambda x: x * x, lambda x, g: g * 2 * x)
wrong = function(
    lambda x: x * x, lambda x, g: g * rg.tensor([1.0, 1.0, 1.01], dtype=rg.float64) * 2 * x
)
constant = function(lambda x: x * x, lambda x, g: 2 * x)


class TestAccepts:
    @pytest.mark.parametrize("fast", [False, True])
    @pytest.mark.parametrize(
        "f",
        [
            lambda x: x * x.sin(),
            lambda x: (x.exp(), x.sum(), (x[:, None] * x)),
            lambda x: [x * 2, x.detach()],
            lambda x: (x.tanh(), 3, None, rg.arange(3)),
            right,
        ],
    )
    def test_right_gradients(self, f, fast) -> None:
        assert gradcheck(f, X, check_forward_ad=True, check_batched_grad=True, fast_mode=fast)
        assert gradgradcheck(f, X, check_fwd_over_rev=True, check_batched_grad=True, fast_mode=fast)

    def test_several_inputs_and_those_without_grad(self) -> None:
        y, k = leaf(1.0, 2.0, 3.0), rg.arange(3)
        f = lambda x, y, k, s: (x * y * k * s, x @ y)  # noqa: E731
        assert gradcheck(f, (X, y, k, 2.0), check_forward_ad=True)
        assert gradcheck(f, (X, y.detach(), k, 2.0))
        assert gradgradcheck(f, [X, y, k, 2.0], check_fwd_over_rev=True)

    def test_of_any_layout(self) -> None:
        """The function sees the strides of its input, in each of its runs."""
        wide = rg.arange(24, dtype=rg.float64).reshape(4, 6) / 10 + 0.1
        for x in (wide.t(), wide[1:, ::2], wide[:, 3], wide.flip(0)[::3]):
            x = x.detach().requires_grad_()
            seen = set()

            def f(y: Any, seen: Any = seen) -> Any:
                seen.add(tuple(y.stride()))
                return y.log()

            assert gradcheck(f, x, check_forward_ad=True)
            assert seen == {tuple(x.stride())}

    def test_without_elements_and_0d(self) -> None:
        for f in (rg.sin, rg.sum):
            for shape in ((0, 3), ()):
                x = rg.full(shape, 0.7, dtype=rg.float64, requires_grad=True)
                for fast in (False, True):
                    assert gradcheck(f, x, check_forward_ad=True, fast_mode=fast)
                    assert gradgradcheck(f, x, check_fwd_over_rev=True, fast_mode=fast)

    def test_parameters_that_are_read_from_outside(self) -> None:
        layer = rg.nn.Linear(3, 2).double()
        x = rg.tensor([[1.0, 2.0, 3.0]], dtype=rg.float64)
        assert gradcheck(lambda *_: layer(x).tanh(), tuple(layer.parameters()))
        assert gradgradcheck(lambda *_: layer(x).tanh(), tuple(layer.parameters()))

    def test_intermediate_tensors_and_views(self) -> None:
        base = rg.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=rg.float64, requires_grad=True)
        for x in (base * 2, base[0], base.t()):
            assert gradcheck(lambda x: x.sin() * x, x)
        assert base.grad is None and base.tolist() == [[1.0, 2.0], [3.0, 4.0]]

    def test_writes_in_place_in_the_function(self) -> None:
        def f(x: Any) -> Any:
            y = x.clone()
            y[0] = y[1] * 2
            return y.mul_(x)

        assert gradcheck(f, X, check_forward_ad=True) and gradgradcheck(f, X)

    def test_a_function_that_returns_the_same_buffer_again(self) -> None:
        buffer = rg.zeros(3, dtype=rg.float64)

        def f(x: Any) -> Any:
            buffer.detach_().copy_(x * x)
            return buffer

        assert gradcheck(f, X, check_undefined_grad=False)

    def test_constants(self) -> None:
        assert gradcheck(lambda x: rg.ones(2), X)
        assert gradcheck(lambda x: (x > 0, 3), X)
        assert gradcheck(lambda x: x.sign().detach(), X)

    def test_cotangents_of_the_callers(self) -> None:
        v = leaf(1.0, -2.0, 0.5)
        assert gradgradcheck(rg.exp, X, v)
        assert gradgradcheck(rg.exp, X, v.detach())
        assert gradgradcheck(rg.exp, X, gen_non_contig_grad_outputs=True)

    def test_masked_says_nothing_about_strided_tensors(self) -> None:
        assert gradcheck(rg.sin, X, masked=True) and gradcheck(rg.sin, X, masked=False)


class TestLeavesThingsAsTheyWere:
    def test_inputs(self) -> None:
        x = leaf(0.5, 1.5)
        y = (x * x).sum()
        pointer, version = x.data_ptr(), x._version
        gradcheck(rg.sin, x, check_forward_ad=True)
        assert (x.data_ptr(), x._version, x.tolist()) == (pointer, version, [0.5, 1.5])
        assert x.grad is None
        # A graph from before is still good.
        y.backward()
        assert x.grad.tolist() == [1.0, 3.0]

    def test_inputs_after_an_exception(self) -> None:
        x, calls = leaf(0.5, 1.5), []

        def f(x: Any) -> Any:
            calls.append(x.tolist())
            if len(calls) == 3:
                raise KeyError("x")
            return x * x

        with pytest.raises(KeyError):
            gradcheck(f, x)
        assert calls[1] != calls[0] and x.tolist() == [0.5, 1.5]

    def test_nothing_leaks(self) -> None:
        x = leaf(0.5, 1.5)
        used = x * 1
        gc.collect()
        before = rg._C.live_nodes(), rg._C.live_bytes()
        for _ in range(3):
            gradcheck(right, x, check_forward_ad=True, check_batched_grad=True)
            gradgradcheck(right, x, check_fwd_over_rev=True, fast_mode=True)
            assert not gradcheck(constant, x, raise_exception=False)
        gc.collect()
        assert used.requires_grad
        assert (rg._C.live_nodes(), rg._C.live_bytes()) == before


class TestFinds:
    def test_a_wrong_gradient(self) -> None:
        with pytest.raises(GradcheckError) as info:
            gradcheck(wrong, X)
        text = str(info.value)
        assert text.startswith(
            "Jacobian mismatch for output 0 with respect to input 0 (reverse mode): 1 of 9 elements"
        )
        for part in ("output[2] by input[2]", "numerical:  4.0", "analytical: 4.04", "ce: 0.04 ("):
            assert part in text, text
        assert "atol=1e-05, rtol=0.001" in text

    def test_names_output_input_and_place(self) -> None:
        bad = function(lambda x: x * 1, lambda x, g: g * (rg.arange(6).reshape(2, 3) != 5))
        y = rg.ones(2, 3, dtype=rg.float64, requires_grad=True)
        with pytest.raises(GradcheckError, match=r"output 1 with respect to input 1") as info:
            gradcheck(lambda x, y: (x.sum(), bad(y)), (X, y))
        assert "output[1, 2] by input[1, 2]" in str(info.value)

    @pytest.mark.parametrize("fast", [False, True])
    def test_returns_false_if_asked(self, fast) -> None:
        assert gradcheck(wrong, X, raise_exception=False, fast_mode=fast) is False
        assert gradcheck(right, X, raise_exception=False, fast_mode=fast) is True

    def test_fast_mode_tells_the_element(self) -> None:
        with pytest.raises(GradcheckError, match=r"most the derivative of output\[2\] by input"):
            gradcheck(wrong, X, fast_mode=True)

    def test_a_wrong_second_derivative(self) -> None:
        """The gradient is right, but it is a constant for the engine."""
        f = function(lambda x: x**3, lambda x, g: g * 3 * x.detach() ** 2)
        assert gradcheck(f, X)
        for fast in (False, True):
            with pytest.raises(GradcheckError, match="output 0 with respect to input 0"):
                gradgradcheck(f, X, fast_mode=fast)

    def test_a_wrong_forward_mode(self) -> None:
        f = function(lambda x: x * x, lambda x, g: g * x)
        for fast in (False, True):
            with pytest.raises(GradcheckError, match="forward mode"):
                gradcheck(f, X, check_forward_ad=True, check_backward_ad=False, fast_mode=fast)

    def test_a_dependence_that_is_not_differentiable(self) -> None:
        with pytest.raises(GradcheckError, match="Numerical gradient .* expected to be zero"):
            gradcheck(lambda x: x.detach() * 2, X)

    def test_nan(self) -> None:
        f = function(lambda x: x * 1, lambda x, g: g / (x - x))
        with pytest.raises(GradcheckError, match="analytical: (nan|inf)"):
            gradcheck(f, X)

    def test_a_backward_that_ignores_its_cotangent(self) -> None:
        f = function(lambda x: x.sum(), lambda x, g: rg.ones(3, dtype=rg.float64))
        with pytest.raises(GradcheckError, match="not multiplied by grad_output"):
            gradcheck(f, X)

    def test_a_backward_that_changes(self) -> None:
        calls = []

        def backward(x: Any, g: Any) -> Any:
            calls.append(1)
            return g * (1 + 1e-9 * len(calls))

        f = function(lambda x: x * 1, backward)
        with pytest.raises(GradcheckError, match="not reentrant.*output 0 and input 0"):
            gradcheck(f, X)
        with pytest.raises(GradcheckError, match="not reentrant"):
            gradcheck(f, X, fast_mode=True)
        assert gradcheck(f, X, nondet_tol=1e-6)

    @pytest.mark.parametrize(
        ("mistake", "text"), [(None, "handle undefined"), (7.0, "treat undefined")]
    )
    def test_a_missing_cotangent_among_others(self, mistake, text) -> None:
        """Seen only when two outputs have cotangents and the third has none."""

        class Three(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.set_materialize_grads(False)
                return x * 2, x * 3, x * 4

            @staticmethod
            def backward(ctx, *gs):
                there = [g for g in gs if g is not None]
                if len(there) == 2 and gs[1] is None:
                    return there[0] * mistake
                return sum(g * k for g, k in zip(gs, (2, 3, 4), strict=True) if g is not None)

        with pytest.raises(GradcheckError, match=f"{text}.*output 1"):
            gradcheck(Three.apply, X)
        assert gradcheck(Three.apply, X, check_undefined_grad=False)

    def test_a_shape_that_depends_on_values(self) -> None:
        with pytest.raises(GradcheckError, match="same shape and dtype when inputs are perturbed"):
            gradcheck(lambda x: x[x >= 0.5], X)

    def test_gradients_of_another_type(self) -> None:
        """Types are the engine's matter here: gradients arrive in their input's."""
        f = function(lambda x: x * 2, lambda x, g: (g * 2).float())
        x = leaf(0.5, 1.0)
        assert gradcheck(f, x, check_grad_dtypes=True, check_forward_ad=True)


class TestPrecision:
    """Derivatives in float32 and less, against differences in float64."""

    @pytest.mark.parametrize("dtype", [rg.float32, rg.float16, rg.bfloat16])
    @pytest.mark.parametrize("fast", [False, True])
    def test_right_gradients(self, dtype, fast) -> None:
        x = leaf(0.5, -1.0, 2.0, dtype=dtype)
        f = lambda x: (x * x.sin(), (x * x).sum())  # noqa: E731
        options: Any = {"precision": rg.float64, "fast_mode": fast}
        assert gradcheck(f, x, check_forward_ad=True, check_grad_dtypes=True, **options)
        assert gradgradcheck(f, x, check_fwd_over_rev=True, **options)
        assert x.tolist() == [0.5, -1.0, 2.0] and x.dtype == dtype

    @pytest.mark.parametrize("dtype", [rg.float32, rg.float16])
    def test_wrong_gradients(self, dtype) -> None:
        f = function(lambda x: x * x, lambda x, g: g * 2.2 * x)
        x = leaf(0.5, -1.0, 2.0, dtype=dtype)
        with pytest.raises(GradcheckError, match=r"output\[2\] by input\[2\]:\nnumerical:  4\.0"):
            gradcheck(f, x, precision=rg.float64)

    def test_float32_alone_warns(self) -> None:
        with pytest.warns(UserWarning, match="Input #0 .*precision=rustgrad.float64"):
            assert gradcheck(lambda x: x * 2, leaf(1.0, dtype=rg.float32), eps=1e-2)

    def test_a_reference(self) -> None:
        """A module in float32 is compared with its copy in float64."""
        rg.manual_seed(0)
        low, high = rg.nn.Linear(3, 2), rg.nn.Linear(3, 2).double()
        high.load_state_dict({k: v.double() for k, v in low.state_dict().items()})
        x = leaf(0.5, -1.0, 2.0, dtype=rg.float32)
        f, g = lambda x: low(x).tanh(), lambda x: high(x).tanh()
        with pytest.raises(RuntimeError, match="dtype"):
            gradcheck(f, x, precision=rg.float64)
        for fast in (False, True):
            assert gradcheck(f, x, reference=g, check_forward_ad=True, fast_mode=fast)
            assert gradgradcheck(f, x, reference=g, fast_mode=fast)
        with pytest.raises(GradcheckError):
            gradcheck(f, x, reference=lambda x: high(x).sin())

    def test_tolerances_can_be_given(self) -> None:
        x = leaf(0.5, 2.0, dtype=rg.float16)
        with pytest.raises(GradcheckError, match="atol=0, rtol=1e-08"):
            gradcheck(rg.sin, x, precision=rg.float64, atol=0.0, rtol=1e-8)

    def test_constants_and_other_types_stay(self) -> None:
        seen = []

        def f(x: Any, k: Any, w: Any) -> Any:
            seen.append((x.dtype, k.dtype, w.dtype))
            return x * k * w

        x, w = leaf(1.0, 2.0, dtype=rg.float32), rg.ones(2)
        assert gradcheck(f, (x, rg.arange(2), w), precision=rg.float64)
        assert set(seen) == {
            (rg.float32, rg.int64, rg.float32),
            (rg.float64, rg.int64, rg.float64),
        }


class TestRefuses:
    def test_nothing_to_check(self) -> None:
        for check in (gradcheck, gradgradcheck):
            with pytest.raises((ValueError, RuntimeError), match="at least one input tensor"):
                check(rg.sin, X.detach())

    def test_shared_memory(self) -> None:
        x = rg.ones(1, dtype=rg.float64).expand(3).requires_grad_()
        with pytest.raises(RuntimeError, match="0th input has a dimension with stride 0"):
            gradcheck(rg.sin, x)

    @pytest.mark.parametrize(
        ("check", "options", "text"),
        [
            (gradcheck, {"check_backward_ad": False}, "check_forward_ad or check_backward_ad"),
            (
                gradcheck,
                {"check_batched_grad": True, "check_backward_ad": False, "check_forward_ad": True},
                "requires check_backward_ad",
            ),
            (gradgradcheck, {"check_rev_over_rev": False}, "check_fwd_over_rev or check_rev"),
            (
                gradgradcheck,
                {"check_rev_over_rev": False, "check_fwd_over_rev": True},
                "check_undefined_grad=True requires check_rev_over_rev",
            ),
        ],
    )
    def test_options_that_exclude_each_other(self, check, options, text) -> None:
        with pytest.raises(AssertionError, match=text):
            check(rg.sin, X, **options)

    def test_what_needs_vmap(self) -> None:
        with pytest.raises(NotImplementedError, match="vmap"):
            gradcheck(rg.sin, X, check_forward_ad=True, check_batched_forward_grad=True)

    def test_errors_of_the_function_pass(self) -> None:
        def fails(x: Any) -> Any:
            raise KeyError("x")

        with pytest.raises(KeyError):
            gradcheck(fails, X, raise_exception=False)


@pytest.mark.parametrize("name", ["gradcheck", "gradgradcheck"])
def test_takes_the_arguments_of_pytorch(name) -> None:
    torch = pytest.importorskip("torch")
    theirs = inspect.signature(getattr(torch.autograd, name)).parameters
    ours = inspect.signature(getattr(rg.autograd, name)).parameters
    for key, parameter in theirs.items():
        assert ours[key].kind == parameter.kind
        # Tolerances follow from the type here: those of float64 are PyTorch's.
        assert key in ("atol", "rtol", "masked") or ours[key].default == parameter.default
    assert set(ours) - set(theirs) == {"reference", "precision"}
