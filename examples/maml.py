"""Tiny MAML: learning an initialisation from which one gradient step fits a new sine wave.

Finn et al., "Model-agnostic meta-learning for fast adaptation of deep networks" (2017): the outer
gradient flows through the inner step, so it contains second derivatives.
"""

import math

import rustgrad as rg


def network(parameters: list[rg.Tensor], x: rg.Tensor) -> rg.Tensor:
    w1, b1, w2, b2 = parameters
    return rg.tanh(x @ w1 + b1) @ w2 + b2


def task() -> tuple[rg.Tensor, ...]:
    """Support and query points of a sine wave of random amplitude and phase."""
    amplitude, phase = 0.5 + 1.5 * rg.rand(1), math.pi * rg.rand(1)
    x = 10 * rg.rand(20, 1) - 5
    y = amplitude * rg.sin(x / 2 + phase)
    return x[:10], y[:10], x[10:], y[10:]


def adapted(parameters: list[rg.Tensor], x: rg.Tensor, y: rg.Tensor) -> list[rg.Tensor]:
    """One recorded gradient step on the support points."""
    loss = ((network(parameters, x) - y) ** 2).mean()
    gradients = rg.autograd.grad(loss, parameters, create_graph=True)
    return [p - 0.1 * g for p, g in zip(parameters, gradients, strict=True)]


def main() -> None:
    rg.manual_seed(1)
    shapes = [(1, 24), (24,), (24, 1), (1,)]
    parameters = [(0.5 * rg.randn(*s)).requires_grad_() for s in shapes]
    optimizer = rg.optim.Adam(parameters, lr=1e-2)
    history = []
    for _ in range(300):
        total = 0.0
        for _ in range(4):
            x, y, query_x, query_y = task()
            fast = adapted(parameters, x, y)
            total = total + ((network(fast, query_x) - query_y) ** 2).mean()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append(total.item() / 4)
    first, last = sum(history[:20]) / 20, sum(history[-20:]) / 20
    print(f"query loss after one step: {first:.3f} before meta-training, {last:.3f} after")
    assert last < 0.7 * first


if __name__ == "__main__":
    main()
