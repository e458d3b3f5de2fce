"""nn.init: distributions, shapes, errors."""

import math

import pytest
import rustgrad as rg
from rustgrad.nn import init


def stats(tensor):
    return tensor.mean().item(), tensor.std().item()


@pytest.fixture(autouse=True)
def seed():
    rg.manual_seed(1)


def test_fills_change_in_place_without_gradient():
    p = rg.zeros(3, 3, requires_grad=True)
    for fill in (
        init.uniform_,
        init.normal_,
        init.trunc_normal_,
        init.ones_,
        init.zeros_,
        init.eye_,
        init.xavier_uniform_,
        init.xavier_normal_,
        init.kaiming_uniform_,
        init.kaiming_normal_,
        init.orthogonal_,
        lambda t: init.constant_(t, 3.0),
        lambda t: init.sparse_(t, 0.5),
    ):
        assert fill(p) is p and p.is_leaf and p.grad_fn is None and p.requires_grad


@pytest.mark.parametrize(
    "fill, std",
    [
        (lambda t: init.uniform_(t, -1.0, 1.0), 1 / math.sqrt(3)),
        (lambda t: init.normal_(t, 0.0, 2.0), 2.0),
        (lambda t: init.xavier_uniform_(t, gain=2.0), 2 * math.sqrt(2 / 300)),
        (init.xavier_normal_, math.sqrt(2 / 300)),
        (lambda t: init.kaiming_uniform_(t, a=math.sqrt(5)), math.sqrt(1 / 3 / 200)),
        (lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"), math.sqrt(0.02)),
        (init.trunc_normal_, 0.8796),
    ],
)
def test_moments(fill, std):
    mean, measured = stats(fill(rg.empty(100, 200)))
    assert abs(mean) < 0.05 * std and measured == pytest.approx(std, rel=0.03)


def test_fans_of_convolution_kernels():
    w = init.kaiming_uniform_(rg.empty(40, 10, 3, 3), nonlinearity="linear")
    bound = math.sqrt(3 / 90)
    assert w.abs().max().item() <= bound and w.abs().max().item() > 0.95 * bound
    assert init._calculate_fan_in_and_fan_out(rg.empty(4, 5, 3)) == (15, 12)


@pytest.mark.parametrize("a, b, mean", [(-2.0, 2.0, 0.0), (1.0, 2.0, 1.383), (-0.2, 0.1, -0.049)])
def test_trunc_normal_keeps_to_the_bounds(a, b, mean):
    w = init.trunc_normal_(rg.empty(50, 100), a=a, b=b)
    assert w.min().item() >= a and w.max().item() <= b
    assert w.mean().item() == pytest.approx(mean, abs=0.05)


def test_trunc_normal_warns_when_the_mean_is_far_out():
    with pytest.warns(UserWarning, match="more than 2 std"):
        init.trunc_normal_(rg.empty(3), mean=0.0, std=1.0, a=3.0, b=4.0)


@pytest.mark.parametrize("shape", [(8, 8), (5, 12), (12, 5), (4, 3, 2)])
def test_orthogonal(shape):
    w = init.orthogonal_(rg.empty(shape, dtype=rg.float64), gain=2.0).reshape(shape[0], -1)
    small = w if w.shape[0] <= w.shape[1] else w.t()
    product = small @ small.t()
    expected = rg.eye(small.shape[0], dtype=rg.float64) * 4
    assert (product - expected).abs().max().item() < 1e-12


def test_generator_and_seed_decide():
    a = init.normal_(rg.empty(5), generator=rg.Generator().manual_seed(3))
    rg.rand(10)
    b = init.normal_(rg.empty(5), generator=rg.Generator().manual_seed(3))
    assert a.tolist() == b.tolist()
    for fill in (init.uniform_, init.trunc_normal_):
        c = fill(rg.empty(5), generator=rg.Generator().manual_seed(4)).tolist()
        assert c == fill(rg.empty(5), generator=rg.Generator().manual_seed(4)).tolist()


def test_eye_dirac_sparse():
    assert init.eye_(rg.empty(2, 3)).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    w = init.dirac_(rg.empty(4, 2, 3), groups=2)
    assert w.sum().item() == 4.0
    assert [w[0, 0, 1].item(), w[1, 1, 1].item(), w[2, 0, 1].item(), w[3, 1, 1].item()] == [1.0] * 4
    x = rg.ones(1, 4, 5)
    w = init.dirac_(rg.empty(4, 4, 3, 3))
    assert w[:, :, 1, 1].tolist() == rg.eye(4).tolist() and x is not None
    s = init.sparse_(rg.empty(10, 6), sparsity=0.25)
    assert (s == 0).sum(0).tolist() == [3] * 6


@pytest.mark.parametrize(
    "name, param, gain",
    [
        ("linear", None, 1),
        ("conv2d", None, 1),
        ("sigmoid", None, 1),
        ("tanh", None, 5 / 3),
        ("relu", None, math.sqrt(2)),
        ("leaky_relu", None, math.sqrt(2 / 1.0001)),
        ("leaky_relu", 2, math.sqrt(2 / 5)),
        ("selu", None, 0.75),
    ],
)
def test_gain(name, param, gain):
    assert init.calculate_gain(name, param) == pytest.approx(gain)


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: init.calculate_gain("x"), "Unsupported nonlinearity x"),
        (lambda: init.calculate_gain("leaky_relu", True), "not a valid number"),
        (lambda: init.xavier_uniform_(rg.empty(3)), "fewer than 2 dim"),
        (lambda: init.kaiming_normal_(rg.empty(3, 3), mode="x"), "Mode x not supported"),
        (lambda: init.eye_(rg.empty(3)), "2 dimensions"),
        (lambda: init.sparse_(rg.empty(3), 0.1), "2 dimensions"),
        (lambda: init.orthogonal_(rg.empty(3)), "2 or more"),
        (lambda: init.dirac_(rg.empty(3, 3)), "3, 4, or 5"),
        (lambda: init.dirac_(rg.empty(3, 3, 3), groups=2), "divisible"),
    ],
)
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_empty_tensors():
    with pytest.warns(UserWarning, match="zero-element"):
        init.kaiming_uniform_(rg.empty(0, 3))
    assert init.orthogonal_(rg.empty(0, 3)).numel() == 0
