"""Layers and functional: starting values, shapes, printed forms, errors."""

import math

import pytest
import rustgrad as rg
from rustgrad import nn
from rustgrad.nn import functional as F

REPRS = [
    (nn.Linear(2, 3, bias=False), "Linear(in_features=2, out_features=3, bias=False)"),
    (
        nn.Linear(2, 3, activation="tanh"),
        "Linear(in_features=2, out_features=3, bias=True, activation='tanh')",
    ),
    (
        nn.Bilinear(2, 3, 4),
        "Bilinear(in1_features=2, in2_features=3, out_features=4, bias=True)",
    ),
    (nn.Identity(1, x=2), "Identity()"),
    (nn.Embedding(4, 3, -1, max_norm=1.0), "Embedding(4, 3, padding_idx=3, max_norm=1.0)"),
    (nn.Dropout(0.2), "Dropout(p=0.2, inplace=False)"),
    (nn.LayerNorm(3), "LayerNorm((3,), eps=1e-05, elementwise_affine=True, bias=True)"),
    (nn.Flatten(), "Flatten(start_dim=1, end_dim=-1)"),
    (nn.Unflatten(1, (2, 3)), "Unflatten(dim=1, unflattened_size=(2, 3))"),
    (nn.ReLU(), "ReLU()"),
    (nn.ReLU(inplace=True), "ReLU(inplace=True)"),
    (nn.LeakyReLU(0.2, inplace=True), "LeakyReLU(negative_slope=0.2, inplace=True)"),
    (nn.ELU(), "ELU(alpha=1.0)"),
    (nn.GELU(approximate="tanh"), "GELU(approximate='tanh')"),
    (nn.Softplus(), "Softplus(beta=1.0, threshold=20.0)"),
    (nn.Hardtanh(-2, 2), "Hardtanh(min_val=-2, max_val=2)"),
    (nn.Threshold(0.1, 20), "Threshold(threshold=0.1, value=20)"),
    (nn.Softmax(dim=-1), "Softmax(dim=-1)"),
    (nn.PReLU(), "PReLU(num_parameters=1)"),
    (nn.Softshrink(), "Softshrink(0.5)"),
    (nn.GLU(), "GLU(dim=-1)"),
    (nn.CrossEntropyLoss(), "CrossEntropyLoss()"),
]


@pytest.mark.parametrize("module, text", REPRS, ids=lambda value: str(value)[:20])
def test_repr(module, text):
    assert repr(module) == text


def test_linear_draws_weight_then_bias():
    rg.manual_seed(5)
    layer = nn.Linear(16, 4)
    rg.manual_seed(5)
    weight = rg.empty(4, 16).uniform_(-0.25, 0.25)
    bias = rg.empty(4).uniform_(-0.25, 0.25)
    assert bool(((layer.weight - weight).abs() < 1e-6).all())
    assert layer.bias.tolist() == bias.tolist()


def _derivatives(f, *tensors):
    """The result, gradients, second gradients and a tangent, as lists."""
    inputs = [t.detach().requires_grad_() for t in tensors]
    y = f(*inputs)
    first = rg.autograd.grad((y * y).sum(), inputs, create_graph=True)
    second = rg.autograd.grad(sum((g * g).sum() for g in first), inputs)
    _, tangent = rg.func.jvp(f, tensors, tensors)
    return [t.tolist() for t in (y, *first, *second, tangent)]


@pytest.mark.parametrize("dtype", [rg.float64, rg.float32, rg.float16, rg.bfloat16], ids=str)
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize(
    "shape, out",
    [
        ((3, 2), 4),
        ((1, 300), 700),  # a vector
        ((300, 20), 1),
        ((2, 5000), 6),  # a sum in parts
        ((2, 75, 40), 130),  # tiles with remainders
        ((0, 3), 2),
        ((2, 0), 3),
    ],
)
def test_an_activation_in_linear_is_the_one_after_it(shape, out, activation, dtype):
    rg.manual_seed(1)
    k = shape[-1]
    x = rg.randn(k, *shape[:-1], dtype=dtype).movedim(0, -1)
    w, b = rg.randn(out, k, dtype=dtype) / (k + 1) ** 0.5, rg.randn(out, dtype=dtype)
    after = getattr(rg, activation)
    for terms in [(x, w), (x, w, b)]:
        fused = _derivatives(lambda *t: F.linear(*t, activation=activation), *terms)
        composed = _derivatives(lambda *t: after(F.linear(*t)), *terms)
        assert fused == composed
    assert rg.equal(F.linear(x, w, b, activation), after(F.linear(x, w, b)))


def test_relu_in_linear_keeps_nan():
    x = rg.full((9, 3), math.nan)
    for dtype in (rg.float64, rg.float32, rg.float16, rg.bfloat16):
        for n in (1, 10, 40):  # a vector, through a buffer, in registers
            y = F.linear(x.to(dtype), rg.ones(n, 3, dtype=dtype), rg.ones(n, dtype=dtype), "relu")
            assert bool(y.isnan().all())


def test_an_activation_in_linear_is_recorded_on_its_own():
    layer = nn.Linear(3, 2, activation="relu")
    y = layer(rg.ones(5, 3))
    assert y.grad_fn.name() == "ReluBackward0"
    assert y.grad_fn.next_functions[0][0].name() == "LinearBackward0"
    y.mul_(2)  # overwrites what the derivative of relu reads
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_bilinear_and_embedding_draws():
    rg.manual_seed(5)
    bilinear, table = nn.Bilinear(4, 2, 3), nn.Embedding(5, 2, padding_idx=1)
    rg.manual_seed(5)
    assert bilinear.weight.tolist() == rg.empty(3, 4, 2).uniform_(-0.5, 0.5).tolist()
    assert bilinear.bias.tolist() == rg.empty(3).uniform_(-0.5, 0.5).tolist()
    rows = rg.empty(5, 2).normal_().tolist()
    rows[1] = [0.0, 0.0]
    assert table.weight.tolist() == rows


def test_dtype_reaches_every_parameter():
    for make in (
        lambda **kw: nn.Linear(2, 3, **kw),
        lambda **kw: nn.Bilinear(2, 3, 4, **kw),
        lambda **kw: nn.Embedding(2, 3, **kw),
        lambda **kw: nn.LayerNorm(3, **kw),
        lambda **kw: nn.PReLU(3, **kw),
    ):
        module = make(dtype=rg.float64, device="cpu")
        params = list(module.parameters())
        assert params and all(p.dtype == rg.float64 for p in params)
        assert all(p.requires_grad and p.is_leaf for p in params)


def test_forward_shapes_and_gradients():
    x = rg.ones(2, 6, requires_grad=True)
    net = nn.Sequential(
        nn.Linear(6, 4), nn.LayerNorm(4), nn.PReLU(4), nn.Dropout(0.5), nn.Linear(4, 2)
    )
    out = net(x)
    assert out.shape == (2, 2)
    out.sum().backward()
    assert x.grad.shape == (2, 6) and all(p.grad is not None for p in net.parameters())
    assert nn.Bilinear(6, 6, 3)(x, x).shape == (2, 3)
    assert nn.Unflatten(1, (2, -1))(x).shape == (2, 2, 3)
    assert nn.Flatten(0)(rg.zeros(2, 3, 4)).shape == (24,)
    assert nn.Softmax2d()(rg.zeros(3, 2, 2))[0, 0, 0].item() == pytest.approx(1 / 3)
    assert nn.LayerNorm(3, elementwise_affine=False).weight is None
    assert nn.LayerNorm(3, bias=False).bias is None


def test_embedding_options():
    table = nn.Embedding(4, 3, padding_idx=-1)
    assert table.padding_idx == 3 and table.weight[3].tolist() == [0.0] * 3
    table(rg.tensor([0, 3, 3])).sum().backward()
    assert table.weight.grad.tolist() == [[1.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3]

    table = nn.Embedding(4, 2, max_norm=1.0, _weight=rg.tensor([[3.0, 4.0]] * 3 + [[0.3, 0.4]]))
    out = table(rg.tensor([0, 0, 3]))
    norms = table.weight.detach().norm(2, 1).tolist()
    assert norms == pytest.approx([1.0, 5.0, 5.0, 0.5], abs=1e-5)
    assert out[0].tolist() == pytest.approx([0.6, 0.8], abs=1e-5)
    assert table.weight.requires_grad and table.weight.is_leaf

    given = rg.ones(3, 2)
    frozen = nn.Embedding.from_pretrained(given)
    assert not frozen.weight.requires_grad
    assert nn.Embedding.from_pretrained(given, freeze=False).weight.requires_grad
    for bad, text in [
        (lambda: nn.Embedding(3, 2, padding_idx=3), "within num_embeddings"),
        (lambda: nn.Embedding(3, 2, padding_idx=-4), "within num_embeddings"),
        (lambda: nn.Embedding(3, 2, sparse=True), "sparse=True is not supported"),
        (lambda: nn.Embedding(3, 2, _weight=rg.zeros(2, 2)), "does not match"),
        (lambda: nn.Embedding.from_pretrained(rg.zeros(2)), "2-dimensional"),
        (lambda: F.embedding(rg.tensor([0]), given, padding_idx=7), "outside a table of 3"),
    ]:
        with pytest.raises(ValueError, match=text):
            bad()


@pytest.mark.parametrize(
    "make, shape, kept",
    [
        (nn.Dropout, (4, 50), (4, 50)),
        (nn.Dropout1d, (8, 16, 5), (8, 16, 1)),
        (nn.Dropout1d, (32, 5), (32, 1)),
        (nn.Dropout2d, (8, 16, 3, 3), (8, 16, 1, 1)),
        (nn.Dropout3d, (8, 16, 2, 2, 2), (8, 16, 1, 1, 1)),
        (nn.Dropout3d, (64, 2, 2, 2), (64, 1, 1, 1)),
    ],
)
def test_dropout_zeroes_and_rescales(make, shape, kept):
    rg.manual_seed(0)
    layer = make(0.25)
    x = rg.ones(shape)
    out = layer(x)
    flat = out.reshape(-1).tolist()
    assert all(v == 0.0 or v == pytest.approx(4 / 3) for v in flat)
    assert 0.1 < flat.count(0.0) / len(flat) < 0.45
    first = out[tuple(slice(0, size) for size in kept)]
    assert bool((out == first).all())
    assert layer.eval()(x).tolist() == x.tolist()
    layer.train()
    layer.p = 1.0
    assert layer(x).abs().sum().item() == 0.0
    layer.p = 0.25
    layer.inplace = True
    y = x.clone()
    assert layer(y) is y and 0.0 in y.reshape(-1).tolist()


def test_dropout_arguments():
    for p in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            nn.Dropout(p)
        with pytest.raises(ValueError, match="between 0 and 1"):
            F.dropout(rg.ones(1), p)
    with pytest.raises(RuntimeError, match="2D or 3D"):
        nn.Dropout1d()(rg.ones(2))
    with pytest.warns(UserWarning, match="dropout2d"):
        nn.Dropout2d()(rg.ones(2, 3))


SIMPLE = "ReLU ReLU6 LeakyReLU ELU SELU CELU SiLU Mish Hardtanh Hardsigmoid Hardswish".split()


@pytest.mark.parametrize("name", SIMPLE)
def test_inplace_overwrites_and_has_the_same_gradient(name):
    make = getattr(nn, name)
    a = rg.tensor([-4.0, -1.5, -0.3, 0.2, 1.7, 7.0], requires_grad=True)
    b = a.detach().clone().requires_grad_()
    plain = make()(a * 1)
    source = b * 1
    over = make(inplace=True)(source)
    assert over is source and over.tolist() == plain.tolist()
    plain.sum().backward()
    over.sum().backward()
    assert b.grad.tolist() == pytest.approx(a.grad.tolist(), rel=1e-5)


def test_composites():
    x = rg.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], requires_grad=True)

    def grad(out):
        return rg.autograd.grad(out.sum(), x)[0].tolist()

    assert F.softshrink(x).tolist() == [-1.5, 0.0, 0.0, 0.0, 1.5]
    assert grad(F.softshrink(x, 0.25)) == [1.0, 1.0, 0.0, 1.0, 1.0]
    assert F.hardshrink(x).tolist() == [-2.0, 0.0, 0.0, 0.0, 2.0]
    assert grad(F.hardshrink(x)) == [1.0, 0.0, 0.0, 0.0, 1.0]
    assert F.tanhshrink(x)[4].item() == pytest.approx(2 - math.tanh(2))
    slope = rg.tensor([0.25])
    assert F.prelu(x, slope).tolist() == [-0.5, -0.125, 0.0, 0.5, 2.0]
    assert grad(F.prelu(x, slope)) == [0.25, 0.25, 0.25, 1.0, 1.0]
    assert F.prelu(rg.tensor(-1.0), slope).dim() == 0
    assert F.glu(rg.tensor([[3.0, 0.0]])).tolist() == [[1.5]]
    assert math.isnan(F.softshrink(rg.tensor(math.nan)).item())
    assert math.isnan(F.hardshrink(rg.tensor(math.nan)).item())


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda: F.mse_loss(rg.ones(1), rg.ones(1), reduction="avg"), ValueError, "avg is not a"),
        (lambda: nn.MSELoss(reduction="x")(rg.ones(1), rg.ones(1)), ValueError, "none, mean, sum"),
        (
            lambda: F.nll_loss(rg.ones(1, 2), rg.tensor([0]), reduction="batchmean"),
            ValueError,
            "batchmean",
        ),
        (lambda: F.gelu(rg.ones(1), approximate="x"), ValueError, "none or tanh"),
        (
            lambda: F.linear(rg.ones(1, 1), rg.ones(1, 1), activation="gelu"),
            ValueError,
            "'relu', 'tanh', 'sigmoid' or None, but got 'gelu'",
        ),
        (lambda: nn.Linear(1, 1, activation="x")(rg.ones(1)), ValueError, "activation must be"),
        (lambda: F.glu(rg.ones(3)), ValueError, "even"),
        (lambda: F.glu(rg.tensor(1.0)), ValueError, "0-dim"),
        (lambda: F.prelu(rg.ones(2, 3), rg.ones(2)), ValueError, "1 or 3 elements"),
        (lambda: F.softshrink(rg.ones(1), -1), ValueError, ">= 0"),
        (lambda: F.hardtanh(rg.ones(1), 2, 1), ValueError, "greater"),
        (lambda: nn.Hardtanh(1, 1), ValueError, "larger"),
        (lambda: nn.Softmax2d()(rg.ones(2)), ValueError, "3D or 4D"),
        (lambda: nn.Bilinear(0, 1, 1), ValueError, "> 0"),
        (lambda: nn.Unflatten(1, 3), TypeError, "tuple of ints"),
        (lambda: nn.Unflatten(1, (3, "x")), TypeError, "pos 1"),
        (lambda: F.binary_cross_entropy(rg.ones(2), rg.ones(3)), ValueError, "same as input"),
        (lambda: F.huber_loss(rg.ones(1), rg.ones(1), delta=0), ValueError, "positive"),
        (lambda: F.smooth_l1_loss(rg.ones(1), rg.ones(1), beta=-1), ValueError, "negative"),
        (lambda: nn.TripletMarginLoss(margin=0), ValueError, "greater than 0"),
        (lambda: F.mse_loss(rg.ones(2), rg.ones(2), weight=rg.ones(3)), ValueError, "same size"),
        (lambda: F.cosine_embedding_loss(rg.ones(2), rg.ones(2), rg.ones(2)), ValueError, "shapes"),
    ],
)
def test_bad_arguments(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_legacy_reduction_flags():
    x, y = rg.tensor([1.0, 3.0]), rg.zeros(2)
    for flags, expected in [
        ({"size_average": True}, 5.0),
        ({"size_average": False}, 10.0),
        ({"reduce": True}, 5.0),
        ({"reduce": False}, [1.0, 9.0]),
        ({"size_average": False, "reduce": False}, [1.0, 9.0]),
    ]:
        with pytest.warns(UserWarning, match="please use reduction="):
            assert F.mse_loss(x, y, **flags).tolist() == expected
        with pytest.warns(UserWarning, match="please use reduction="):
            assert nn.MSELoss(**flags)(x, y).tolist() == expected


def test_warnings():
    with pytest.warns(UserWarning, match="broadcasting"):
        F.mse_loss(rg.ones(2, 1), rg.ones(2))
    with pytest.warns(UserWarning, match="Implicit dimension"):
        assert F.softmax(rg.zeros(2, 4)).sum().item() == pytest.approx(2.0)
    with pytest.warns(UserWarning, match="batchmean"):
        F.kl_div(rg.zeros(1, 1), rg.ones(1, 1))
    assert F.kl_div(rg.zeros(2, 1), rg.ones(2, 1) * 2, reduction="batchmean").item() == (
        pytest.approx(2 * math.log(2))
    )


def test_losses_carry_their_settings():
    weight = rg.tensor([1.0, 3.0])
    loss = nn.CrossEntropyLoss(weight, ignore_index=5, reduction="sum", label_smoothing=0.1)
    assert list(loss.state_dict()) == ["weight"]
    x, y = rg.tensor([[0.0, 1.0], [2.0, 0.0]]), rg.tensor([1, 5])
    expected = F.cross_entropy(x, y, weight, ignore_index=5, reduction="sum", label_smoothing=0.1)
    assert loss(x, y).item() == expected.item()
    assert loss(x, y).item() != nn.CrossEntropyLoss()(x, rg.tensor([1, 0])).item()
    assert nn.HuberLoss(delta=0.5)(rg.tensor([2.0]), rg.zeros(1)).item() == 0.5 * (2 - 0.25)
    assert nn.SmoothL1Loss(beta=0.0)(rg.tensor([2.0]), rg.zeros(1)).item() == 2.0
