"""The same inputs through our layers and PyTorch's, and the same signatures."""

import inspect
import warnings

import numpy as np
import pytest
import rustgrad as rg

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def both(call, *inputs, tolerance=1e-6):
    """Compares values and input gradients of ``call(framework, *tensors)``."""
    results = []
    for framework in (rg, torch):
        tensors = [
            framework.tensor(
                x.tolist(),
                dtype=framework.float64 if x.dtype == np.float64 else framework.int64,
                requires_grad=x.dtype == np.float64,
            )
            for x in inputs
        ]
        out = call(framework, *tensors)
        out.sum().backward()
        grads = [t.grad for t in tensors if t.requires_grad and t.grad is not None]
        results.append([np.array(t.tolist()) for t in (out, *grads)])
    assert len(results[0]) == len(results[1])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


# Class numbers up to the first -1: two, none, all, one.
LABELS = np.array([[0, 2, -1, 1], [-1, 0, 1, 2], [3, 2, 1, 0], [1, -1, -1, -1], [1, 1, 0, -1]])
NO_ARGUMENTS = (
    "ReLU ReLU6 LeakyReLU ELU SELU CELU GELU SiLU Mish Softplus Softsign Hardtanh Hardsigmoid "
    "Hardswish LogSigmoid Tanh Sigmoid Tanhshrink Softshrink Hardshrink GLU"
).split()
WITH_ARGUMENTS = [
    ("Softmax", (1,)),
    ("LogSoftmax", (0,)),
    ("Softmin", (-1,)),
    ("Softmax", ()),
    ("Threshold", (0.1, 2.0)),
    ("LeakyReLU", (0.3,)),
    ("ELU", (0.5,)),
    ("CELU", (2.0,)),
    ("GELU", ("tanh",)),
    ("Softplus", (2.0, 1.0)),
    ("Hardtanh", (-0.2, 0.4)),
    ("Softshrink", (0.1,)),
    ("Hardshrink", (0.1,)),
    ("GLU", (0,)),
]


@pytest.mark.parametrize("name, args", [(name, ()) for name in NO_ARGUMENTS] + WITH_ARGUMENTS)
def test_activations(name, args):
    both(lambda f, x: getattr(f.nn, name)(*args)(x), numbers(4, 6))
    assert repr(getattr(rg.nn, name)(*args)) == repr(getattr(torch.nn, name)(*args))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("log_target", [False, True])
def test_losses(reduction, log_target):
    x, y = numbers(5, 4), numbers(5, 4, seed=1)
    inside, target = 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(-y))
    classes = np.array([0, 3, 1, -100, 2])
    signs = np.array([1, -1, 1, -1, 1])
    for name, inputs in [
        ("CrossEntropyLoss", (x, classes)),
        ("CrossEntropyLoss", (x, target)),
        ("NLLLoss", (x, classes)),
        ("MSELoss", (x, y)),
        ("L1Loss", (x, y)),
        ("SmoothL1Loss", (x, y)),
        ("HuberLoss", (x, y)),
        ("BCELoss", (inside, target)),
        ("BCEWithLogitsLoss", (x, target)),
        ("PoissonNLLLoss", (x, target)),
        ("CosineEmbeddingLoss", (x, y, signs)),
        ("MarginRankingLoss", (x[:, 0], y[:, 0], signs)),
        ("TripletMarginLoss", (x, y, x * y)),
        ("TripletMarginWithDistanceLoss", (x, y, x * y)),
        ("GaussianNLLLoss", (x, y, target)),
        ("GaussianNLLLoss", (x, y, target[:, :1])),
        ("GaussianNLLLoss", (x, y, target[:, 0])),
        ("HingeEmbeddingLoss", (x[:, 0], signs)),
        ("SoftMarginLoss", (x[:, 0], signs)),
        ("MultiMarginLoss", (x, abs(classes) % 4)),
        ("MultiMarginLoss", (x[0], classes[1])),
        ("MultiLabelMarginLoss", (x, LABELS)),
        ("MultiLabelMarginLoss", (x[0], LABELS[1])),
        ("MultiLabelSoftMarginLoss", (x, target)),
    ]:
        both(lambda f, *t, name=name: getattr(f.nn, name)(reduction=reduction)(*t), *inputs)
    y = np.log(target) if log_target else target
    both(lambda f, a, b: f.nn.KLDivLoss(reduction=reduction, log_target=log_target)(a, b), x, y)
    for name in ("mse_loss", "l1_loss", "huber_loss"):
        both(
            lambda f, a, b, w, name=name: getattr(f.nn.functional, name)(
                a, b, weight=w, reduction=reduction
            ),
            x,
            y,
            target,
        )


def test_other_functions():
    x, y = numbers(5, 4), numbers(5, 4, seed=1)
    functional = [
        ("cosine_similarity", (x, y), {}),
        ("pairwise_distance", (x, y), {"p": 3.0, "keepdim": True}),
        ("normalize", (x,), {"p": 1.0, "dim": 0}),
        ("linear", (x, numbers(3, 4), numbers(3)), {}),
        ("bilinear", (x, y, numbers(2, 4, 4), numbers(2)), {}),
        ("prelu", (x, numbers(4)), {}),
        ("prelu", (x, numbers(1)), {}),
        ("layer_norm", (x,), {"normalized_shape": (4,)}),
        ("embedding", (np.array([[0, 1], [4, 4]]), x), {"padding_idx": -1}),
        ("kl_div", (x, y), {"reduction": "batchmean", "log_target": True}),
        ("poisson_nll_loss", (np.exp(x), np.exp(y) * 2), {"log_input": False, "full": True}),
        ("triplet_margin_loss", (x, y, x - y), {"swap": True, "p": 1}),
        ("triplet_margin_with_distance_loss", (x, y, x - y), {"swap": True, "margin": 0.3}),
        ("gaussian_nll_loss", (x, y, abs(x) - abs(x).min()), {"full": True, "eps": 0.1}),
        ("hinge_embedding_loss", (x, np.sign(y)), {"margin": 0.2}),
        ("multi_margin_loss", (x, np.array([0, 3, 1, 1, 2])), {"p": 2, "margin": 0.5}),
        ("pad", (x,), {"pad": (1, -1, 0, 2), "value": 3.0}),
        ("pad", (x,), {"pad": (1, 2), "mode": "reflect"}),
        ("pad", (x,), {"pad": (1, 2), "mode": "circular"}),
        ("pad", (x,), {"pad": (1, 2), "mode": "replicate"}),
        ("rrelu", (x,), {"lower": 0.2}),
        ("rrelu", (x,), {"lower": 0.2, "upper": 0.2, "training": True}),
        ("alpha_dropout", (x,), {"p": 0.3}),
        ("embedding", (np.array([[0, 1], [4, 4]]), x), {"scale_grad_by_freq": True}),
    ]
    for name, inputs, options in functional:
        both(
            lambda f, *t, name=name, options=options: getattr(f.nn.functional, name)(*t, **options),
            *inputs,
        )


def test_weights_of_the_classes():
    x, weight = numbers(5, 4), abs(numbers(4, seed=1))
    classes, labels = np.array([0, 3, 1, 1, 2]), (numbers(5, 4, seed=2) > 0).astype(float)
    for name, target in [("multi_margin_loss", classes), ("multilabel_soft_margin_loss", labels)]:
        both(
            lambda f, *t, name=name: getattr(f.nn.functional, name)(
                t[0], t[1], weight=t[2].detach()
            ),
            x,
            target,
            weight,
        )


X = numbers(4, 6)


def test_activations_in_place():
    for name, args in [
        ("elu_", (0.5,)),
        ("leaky_relu_", (0.3,)),
        ("hardtanh_", (-0.2, 0.4)),
        ("celu_", (2.0,)),
        ("selu_", ()),
        ("threshold_", (0.1, 2.0)),
        ("rrelu_", (0.3, 0.3)),
        ("relu_", ()),
    ]:
        both(lambda f, x, name=name, args=args: getattr(f.nn.functional, name)(x * 1, *args), X)


def test_gumbel_softmax():
    logits = rg.tensor([[2.0, 0.0, -1.0]] * 4000, requires_grad=True)
    sample = rg.nn.functional.gumbel_softmax(logits, tau=0.5, hard=True)
    assert sample.detach().unique().tolist() == pytest.approx([0.0, 1.0], abs=1e-6)
    share = rg.softmax(logits.detach()[0], 0)
    np.testing.assert_allclose(sample.detach().mean(0).numpy(), share.numpy(), atol=0.03)
    (sample * rg.arange(3.0)).sum().backward()
    assert logits.grad.abs().sum() > 0
    soft = rg.nn.functional.gumbel_softmax(logits.detach(), tau=0.5)
    np.testing.assert_allclose(soft.sum(-1).numpy(), 1.0, rtol=1e-5)


def test_rrelu_draws_slopes():
    x = rg.full((1000,), -1.0, requires_grad=True)
    y = rg.nn.RReLU(0.1, 0.3)(x)
    y.sum().backward()
    assert rg.equal(x.grad, -y.detach())
    assert 0.1 <= x.grad.min().item() < 0.15 < 0.25 < x.grad.max().item() <= 0.3


def parameter_names(thing):
    try:
        return list(inspect.signature(thing).parameters)
    except ValueError:
        return None


# Parameters that PyTorch does not have, behind those that it has.
OWN = {"Linear": ["activation"]}


@pytest.mark.parametrize("module", ["nn", "nn.functional", "nn.init", "nn.utils", "optim"])
def test_signatures(module):
    ours, theirs = rg, torch
    for part in module.split("."):
        ours, theirs = getattr(ours, part), getattr(theirs, part)
    for name in ours.__all__:
        if name == "summary":  # PyTorch has none
            continue
        mine, other = getattr(ours, name), getattr(theirs, name)
        if name in ("Module", "Buffer", "Parameter") or inspect.ismodule(mine):
            continue
        expected = parameter_names(other)
        if expected is not None:
            assert parameter_names(mine) == expected + OWN.get(name, []), name


def test_state_dicts_are_interchangeable():
    def build(f):
        return f.nn.Sequential(
            f.nn.Embedding(3, 4), f.nn.LayerNorm(4), f.nn.Linear(4, 2), f.nn.PReLU(2)
        )

    ours, theirs = build(rg), build(torch)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert dict(ours.state_dict()._metadata) == dict(theirs.state_dict()._metadata)
    state = {name: rg.tensor(value.tolist()) for name, value in theirs.state_dict().items()}
    ours.load_state_dict(state)
    indices = [0, 2, 1]
    with warnings.catch_warnings():
        np.testing.assert_allclose(
            np.array(ours(rg.tensor(indices)).tolist()),
            np.array(theirs(torch.tensor(indices)).tolist()),
            rtol=1e-5,
            atol=1e-6,
        )
    assert repr(ours) == repr(theirs)


def test_load_errors_read_alike():
    ours, theirs = rg.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    messages = []
    for f, layer in ((rg, ours), (torch, theirs)):
        with pytest.raises(RuntimeError) as caught:
            layer.load_state_dict({"weight": f.zeros(1, 2), "x": f.zeros(1)})
        messages.append(str(caught.value).replace("torch.Size", "Size"))
    assert messages[0].replace("rustgrad.Size", "Size") == messages[1]
