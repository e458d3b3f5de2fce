"""Anomalies: the first value that is not a number is named; masked branches stay finite."""

from __future__ import annotations

import sys

import pytest
import rustgrad as rg
from rustgrad.autograd import detect_anomaly, masked_gradients


def leaf(*values: float) -> rg.Tensor:
    return rg.tensor(values, dtype=rg.float64, requires_grad=True)


class TestBackward:
    def test_names_the_node_its_line_and_what_it_worked_with(self) -> None:
        x = leaf(0.0, 1.0)
        with detect_anomaly():
            y = x.sqrt() * x.new_tensor([0.0, 1.0])
            line = sys._getframe().f_lineno + 1
            z = (y / x).sum()
            with pytest.raises(RuntimeError) as info:
                z.backward()
        message = str(info.value)
        assert "Function 'DivBackward0' returned nan values in its 1th output" in message
        assert f"test_anomaly.py:{line}" in message
        assert "gradient of output 0: [float64 [2]] min 1" in message
        assert "saved: [float64 [2]]" in message
        assert x.grad is None

    def test_infinities_must_be_asked_for(self) -> None:
        x = leaf(0.0)
        with detect_anomaly():
            x.sqrt().backward()
        assert x.grad.item() == float("inf")
        with detect_anomaly(inf=True):
            with pytest.raises(RuntimeError, match="SqrtBackward0' returned inf"):
                leaf(0.0).sqrt().backward()

    def test_custom_functions(self) -> None:
        class Bad(rg.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 1

            @staticmethod
            def backward(ctx, g):
                return g * float("nan")

        with detect_anomaly():
            with pytest.raises(RuntimeError, match="'BadBackward' returned nan"):
                Bad.apply(leaf(1.0)).backward()

    def test_large_finite_values_are_no_anomaly(self) -> None:
        x = rg.full((4,), 3e38, requires_grad=True)
        h = rg.full((4,), 6e4, dtype=rg.float16, requires_grad=True)
        with detect_anomaly(inf=True, forward=True):
            (x * 1).backward(rg.full((4,), 3e38))
            (h * 1).backward(rg.full((4,), 6e4, dtype=rg.float16))
        assert x.grad.isfinite().all()

    def test_switches(self) -> None:
        assert not rg.autograd.is_anomaly_enabled()
        with detect_anomaly():
            assert rg.autograd.is_anomaly_enabled()
            with detect_anomaly(backward=False):
                assert not rg.autograd.is_anomaly_enabled()
            assert rg.autograd.is_anomaly_enabled()
        with detect_anomaly(check_nan=False):
            leaf(float("nan")).sqrt().backward()
        rg.autograd.set_detect_anomaly(True)
        try:
            with pytest.raises(RuntimeError, match="nan"):
                leaf(-1.0).sqrt().backward()
        finally:
            rg.autograd.set_detect_anomaly(False)
        with rg.autograd.set_detect_anomaly(True):
            assert rg.autograd.is_anomaly_enabled()
        assert not rg.autograd.is_anomaly_enabled()


class TestForward:
    def test_names_the_op_its_line_and_its_inputs(self) -> None:
        x = leaf(-1.0, 4.0)
        with detect_anomaly(forward=True):
            with pytest.raises(RuntimeError) as info:
                line = sys._getframe().f_lineno + 1
                (x * 2).log()
        message = str(info.value)
        assert message.startswith("[log] returned nan values at")
        assert f"test_anomaly.py:{line}" in message
        assert "result: [float64 [2]] min 2.0794e0, max 2.0794e0" in message
        assert "1 nan and 0 inf of 2" in message
        assert "input 0: [float64 [2]] min -2.0000e0, max 8.0000e0" in message

    def test_in_place_and_data(self) -> None:
        x = rg.tensor([-1.0])
        with detect_anomaly(forward=True):
            with pytest.raises(RuntimeError, match="sqrt.*\n.*\n.*overwritten by the result"):
                x.sqrt_()
        # The write happened, and counts.
        assert x.isnan().item() and x._version == 1

    def test_is_off_by_default(self) -> None:
        with detect_anomaly():
            assert rg.tensor([-1.0]).sqrt().isnan().all()

    def test_integers_and_empty_tensors(self) -> None:
        with detect_anomaly(forward=True):
            rg.arange(3) + 1
            rg.empty(0).exp()


class TestMaskedBranches:
    """Gradients that are finite without asking, and with `masked_gradients`."""

    CASES = {
        "where sqrt": (lambda x: rg.where(x > 0, x.sqrt(), x), [0.0, 4.0], [1.0, 0.25]),
        "where log": (lambda x: rg.where(x > 0, x.log(), x), [0.0, 4.0], [1.0, 0.25]),
        "where pow": (lambda x: rg.where(x > 0, x**0.5, x), [0.0, 4.0], [1.0, 0.25]),
        "where rsqrt": (lambda x: rg.where(x > 0, x.rsqrt(), x), [0.0, 4.0], [1.0, -0.0625]),
        "where reciprocal": (lambda x: rg.where(x > 0, 1 / x, x), [0.0, 4.0], [1.0, -0.0625]),
        "where acos": (lambda x: rg.where(x < 1, x.acos(), x), [1.0, 0.0], [1.0, -1.0]),
        "norm at zero": (lambda x: x.norm(), [0.0, 0.0], [0.0, 0.0]),
        "masked_fill": (lambda x: x.log().masked_fill(x <= 0, 0.0), [0.0, 2.0], [0.0, 0.5]),
    }

    @pytest.mark.parametrize("name", list(CASES))
    def test_by_default(self, name: str) -> None:
        function, values, want = self.CASES[name]
        x = leaf(*values)
        function(x).sum().backward()
        assert x.grad.tolist() == pytest.approx(want)

    @pytest.mark.parametrize("function", [rg.exp, rg.nn.functional.silu, rg.nn.functional.gelu])
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_elements_that_are_no_numbers(self, function, value: float) -> None:
        x = leaf(value, 1.0)
        with masked_gradients():
            rg.where(x == 1, function(x), 0.0).sum().backward()
        assert x.grad[0].item() == 0.0 and x.grad[1].item() != 0.0

    ROWS = {
        "softmax": lambda x: x.softmax(1),
        "log_softmax": lambda x: x.log_softmax(-1),
        "prod": lambda x: x.prod(1),
        "cumprod": lambda x: x.cumprod(1),
        "norm": lambda x: x.norm(dim=1),
        "std": lambda x: x.std(1),
        "var keepdim": lambda x: x.var(1, keepdim=True),
        "logsumexp": lambda x: x.logsumexp(1),
        "layer_norm": lambda x: rg.nn.functional.layer_norm(x, (3,)),
    }

    @pytest.mark.parametrize("name", list(ROWS))
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_rows_that_are_no_numbers(self, name: str, value: float) -> None:
        x = rg.tensor([[value] * 3, [1.0, 2.0, 3.0]], dtype=rg.float64, requires_grad=True)
        alone = rg.tensor([[1.0, 2.0, 3.0]], dtype=rg.float64, requires_grad=True)
        y, z = self.ROWS[name](x), self.ROWS[name](alone)
        weights = rg.zeros_like(y)
        weights[1] = rg.arange(1, weights[1].numel() + 1).double().reshape(weights[1].shape)
        with masked_gradients():
            y.backward(weights)
        z.backward(weights[1:])
        assert (x.grad[0] == 0).all() and rg.allclose(x.grad[1:], alone.grad)

    def test_other_ops_are_left_alone(self) -> None:
        x = rg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        with masked_gradients():
            a, b = (x @ x).split(1)
            (b * rg.tensor([0.0, 1.0])).sum().backward()
        y = x.detach().requires_grad_()
        ((y @ y)[1:] * rg.tensor([0.0, 1.0])).sum().backward()
        assert rg.equal(x.grad, y.grad)

    def test_orders_and_other_values(self) -> None:
        x = leaf(0.3, 2.0)
        with masked_gradients():
            (g,) = rg.autograd.grad((x**3).sum(), x, create_graph=True)
            (h,) = rg.autograd.grad(g.sum(), x)
        assert rg.allclose(g, 3 * x * x) and rg.allclose(h, 6 * x)
