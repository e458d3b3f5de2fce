"""SGD, Adam and AdamW against a written-out NumPy reference, and against PyTorch."""

import itertools

import numpy as np
import pytest
import rustgrad as rg

STEPS = 20
SHAPES = [(3, 4), (5,), ()]


def sgd_reference(params, grads_of, lr, momentum, dampening, weight_decay, nesterov, maximize):
    velocity = [None] * len(params)
    for t in range(STEPS):
        for i, g in enumerate(grads_of(params, t)):
            g = (-g if maximize else g) + weight_decay * params[i]
            if momentum:
                v = velocity[i]
                v = g if v is None else momentum * v + (1 - dampening) * g
                velocity[i] = v
                g = g + momentum * v if nesterov else v
            params[i] = params[i] - lr * g
    return params


def adam_reference(
    params, grads_of, lr, betas, eps, weight_decay, amsgrad, maximize, decoupled=False
):
    b1, b2 = betas
    m = [np.zeros_like(p) for p in params]
    v = [np.zeros_like(p) for p in params]
    largest = [np.zeros_like(p) for p in params]
    for t in range(STEPS):
        for i, g in enumerate(grads_of(params, t)):
            g = -g if maximize else g
            if decoupled:
                params[i] = params[i] * (1 - lr * weight_decay)
            else:
                g = g + weight_decay * params[i]
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            largest[i] = np.maximum(largest[i], v[i])
            second = largest[i] if amsgrad else v[i]
            first = m[i] / (1 - b1 ** (t + 1))
            second = second / (1 - b2 ** (t + 1))
            params[i] = params[i] - lr * first / (np.sqrt(second) + eps)
    return params


def start():
    rng = np.random.default_rng(0)
    params = [rng.standard_normal(shape) for shape in SHAPES]
    noise = [[rng.standard_normal(shape) for shape in SHAPES] for _ in range(STEPS)]
    return params, lambda current, t: [2 * p + n for p, n in zip(current, noise[t], strict=True)]


def run(framework, optimizer, options, **extra):
    """Twenty steps with gradients 2 p + noise, in float64; returns the parameters."""
    values, grads_of = start()
    params = [
        framework.nn.Parameter(framework.tensor(v.tolist(), dtype=framework.float64))
        for v in values
    ]
    opt = getattr(framework.optim, optimizer)(params, **options, **extra)
    for t in range(STEPS):
        current = [np.array(p.tolist()) for p in params]
        for p, g in zip(params, grads_of(current, t), strict=True):
            p.grad = framework.tensor(g.tolist(), dtype=framework.float64)
        opt.step()
    return [np.array(p.tolist()) for p in params], opt


def close(a, b, tolerance=1e-12):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


SGD_OPTIONS = [
    dict(
        lr=0.05,
        momentum=momentum,
        dampening=dampening,
        weight_decay=weight_decay,
        nesterov=nesterov,
        maximize=maximize,
    )
    for momentum, dampening, weight_decay, nesterov, maximize in itertools.product(
        (0, 0.9), (0, 0.3), (0, 0.1), (False, True), (False, True)
    )
    if not nesterov or (momentum and not dampening)
]
ADAM_OPTIONS = [
    dict(
        lr=0.05,
        betas=betas,
        eps=eps,
        weight_decay=weight_decay,
        amsgrad=amsgrad,
        maximize=maximize,
    )
    for betas, eps, weight_decay, amsgrad, maximize in itertools.product(
        ((0.9, 0.999), (0.5, 0.8)), (1e-8, 0.1), (0, 0.1), (False, True), (False, True)
    )
]


def label(options):
    return "-".join(str(value) for value in options.values())


@pytest.mark.parametrize("options", SGD_OPTIONS, ids=label)
def test_sgd_reference(options):
    close(run(rg, "SGD", options)[0], sgd_reference(*start(), **options))


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW"])
@pytest.mark.parametrize("options", ADAM_OPTIONS, ids=label)
def test_adam_reference(optimizer, options):
    expected = adam_reference(*start(), **options, decoupled=optimizer == "AdamW")
    close(run(rg, optimizer, options)[0], expected)


@pytest.mark.parametrize(
    "optimizer, options",
    [("SGD", options) for options in SGD_OPTIONS]
    + [(name, options) for name in ("Adam", "AdamW") for options in ADAM_OPTIONS],
    ids=lambda value: value if isinstance(value, str) else label(value),
)
def test_torch(optimizer, options):
    torch = pytest.importorskip("torch")
    ours, opt = run(rg, optimizer, options)
    theirs, their_opt = run(torch, optimizer, options)
    close(ours, theirs)
    assert repr(opt) == repr(their_opt)
    a, b = opt.state_dict(), their_opt.state_dict()
    assert a["param_groups"] == b["param_groups"]
    assert list(a["state"]) == list(b["state"])
    for key, state in b["state"].items():
        assert list(a["state"][key]) == list(state)
        for name, value in state.items():
            np.testing.assert_allclose(
                np.array(a["state"][key][name].tolist()),
                np.array(value.tolist()),
                rtol=1e-12,
                atol=1e-12,
            )


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW"])
@pytest.mark.parametrize("maximize", [False, True])
def test_recorded_steps_have_the_same_values(optimizer, maximize):
    options = {"lr": 0.05, "weight_decay": 0.1, "maximize": maximize}
    options |= {"momentum": 0.9, "nesterov": True} if optimizer == "SGD" else {"amsgrad": True}
    values, grads_of = start()
    params = [rg.tensor(v.tolist(), dtype=rg.float64, requires_grad=True).clone() for v in values]
    opt = getattr(rg.optim, optimizer)(params, **options, differentiable=True)
    for p in params:
        p.retain_grad()
    for t in range(STEPS):
        current = [np.array(p.tolist()) for p in params]
        for p, g in zip(params, grads_of(current, t), strict=True):
            p.grad = rg.tensor(g.tolist(), dtype=rg.float64)
        opt.step()
    close([np.array(p.tolist()) for p in params], run(rg, optimizer, options)[0], 1e-10)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW"])
def test_gradient_of_a_run_with_respect_to_the_learning_rate(optimizer):
    options = {"weight_decay": 0.1}
    options |= {"momentum": 0.9} if optimizer == "SGD" else {"amsgrad": True}

    def loss_after(lr, steps=4):
        p = rg.tensor([1.0, -2.0], dtype=rg.float64, requires_grad=True).clone()
        opt = getattr(rg.optim, optimizer)([p], lr=lr, differentiable=True, **options)
        p.retain_grad()
        for t in range(steps):
            p.grad = rg.tensor([0.5 + t, -0.3 * t], dtype=rg.float64)
            opt.step()
        return (p * p).sum()

    lr = rg.tensor(0.1, dtype=rg.float64, requires_grad=True)
    (grad,) = rg.autograd.grad(loss_after(lr), lr)
    h = 1e-6
    numeric = (loss_after(0.1 + h).item() - loss_after(0.1 - h).item()) / (2 * h)
    assert grad.item() == pytest.approx(numeric, rel=1e-6)


def test_hints_change_nothing():
    for name in ("SGD", "Adam", "AdamW"):
        plain = run(rg, name, {"lr": 0.1})[0]
        close(run(rg, name, {"lr": 0.1}, foreach=True)[0], plain, 0)
        close(run(rg, name, {"lr": 0.1}, fused=True)[0], plain, 0)
        close(run(rg, name, {"lr": rg.tensor(0.1, dtype=rg.float64)})[0], plain, 0)
