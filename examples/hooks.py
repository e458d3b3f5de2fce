"""Looking into a network, and changing its gradients, without changing its code.

A network whose head was initialised far too large, so that its first steps drive the hidden units
into saturation, is trained three times: as it is, with the gradients between its layers clipped by
backward hooks, and with everything below its head frozen by one. Other hooks collect what share of
a layer's outputs is saturated, and the largest gradient that came back to it.
"""

import math
from collections.abc import Callable

import rustgrad as rg
from rustgrad import nn
from rustgrad.optim.optimizer import register_optimizer_step_post_hook


def network() -> nn.Sequential:
    rg.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    with rg.no_grad():
        net[0].weight *= 8
        net[4].weight *= 30
    return net


def spirals(n: int) -> tuple[rg.Tensor, rg.Tensor]:
    """Points of two interleaved spirals, and which of them each belongs to."""
    rg.manual_seed(1)
    radius = rg.rand(n)
    kind = (rg.rand(n) < 0.5).float()
    angle = 5 * radius + math.pi * kind
    x = rg.stack([radius * angle.cos(), radius * angle.sin()], dim=1) + 0.02 * rg.randn(n, 2)
    return x, kind.unsqueeze(1)


class Report:
    """Statistics of a network's layers, by hooks that are gone when the block is left."""

    def __init__(self, net: nn.Sequential) -> None:
        self.net = net
        self.saturated: dict[str, float] = {}
        self.gradient: dict[str, float] = {}
        self.steps = 0

    def __enter__(self) -> "Report":
        self.handles = [register_optimizer_step_post_hook(self.count)]
        for name, layer in self.net.named_children():
            self.handles += [
                layer.register_forward_hook(self.look(name)),
                layer.register_full_backward_pre_hook(self.measure(name)),
            ]
        return self

    def __exit__(self, *exc: object) -> None:
        for handle in self.handles:
            handle.remove()

    def count(self, optimizer: rg.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        self.steps += 1

    def look(self, name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple, output: rg.Tensor) -> None:
            self.saturated[name] = (output.detach().abs() > 0.99).float().mean().item()

        return hook

    def measure(self, name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, grad_output: tuple) -> None:
            norm = grad_output[0].norm().item()
            self.gradient[name] = max(norm, self.gradient.get(name, 0.0))

        return hook


def clip(limit: float) -> Callable[..., tuple]:
    """A backward hook: the gradient that leaves a layer has at most this norm."""

    def hook(layer: nn.Module, grad_input: tuple, grad_output: tuple) -> tuple:
        (grad,) = grad_input
        return (None if grad is None else grad * (limit / grad.norm().clamp(min=limit)),)

    return hook


def freeze(layer: nn.Module, grad_input: tuple, grad_output: tuple) -> tuple:
    """A backward hook: what lies below a layer gets no gradient."""
    return tuple(None if grad is None else rg.zeros_like(grad) for grad in grad_input)


def train(net: nn.Sequential, x: rg.Tensor, y: rg.Tensor) -> tuple[float, Report]:
    optimizer = rg.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    with Report(net) as report:
        for _ in range(300):
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(net(x), y)
            loss.backward()
            optimizer.step()
    return loss.item(), report


def main() -> None:
    x, y = spirals(200)
    results = {}
    for label in ("as it is", "clipped", "head only"):
        net = network()
        before = net[0].weight.detach().clone()
        if label == "clipped":
            for layer in (net[2], net[4]):
                layer.register_full_backward_hook(clip(0.05))
        elif label == "head only":
            net[4].register_full_backward_hook(freeze)
        loss, report = train(net, x, y)
        moved = (net[0].weight - before).norm().item()
        results[label] = loss, moved, report

    print(f"{'':12}{'loss':>8}{'first layer moved by':>22}{'saturated':>12}{'gradient':>10}")
    for label, (loss, moved, report) in results.items():
        saturated, gradient = report.saturated["3"], report.gradient["1"]
        print(f"{label:12}{loss:8.4f}{moved:22.3f}{saturated:12.0%}{gradient:10.4f}")
        assert report.steps == 300
    share = {label: report.saturated["3"] for label, (_, _, report) in results.items()}
    assert share["clipped"] < 0.2 < 0.5 < share["as it is"]
    assert results["head only"][1] == 0.0


if __name__ == "__main__":
    main()
