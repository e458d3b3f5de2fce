"""What type checkers make of typical calls: `mypy` reads this file, and Python can run it."""

from __future__ import annotations

from typing import Any

import rustgrad as rg
from rustgrad import Tensor, nn, optim
from rustgrad.autograd import Function
from typing_extensions import assert_type


def functions(x: Tensor) -> None:
    """Functions of the op table, of the package, and constants."""
    assert_type(rg.add(x, 1), Tensor)
    assert_type(rg.add(2.0, x, alpha=3), Tensor)
    assert_type(rg.exp(x, out=rg.empty_like(x)), Tensor)
    assert_type(rg.zeros(2, 3, dtype=rg.float64), Tensor)
    assert_type(rg.zeros((2, 3), device="cpu", requires_grad=True), Tensor)
    assert_type(rg.randn(2, generator=rg.Generator().manual_seed(0)), Tensor)
    assert_type(rg.cat([x, x], dim=0), Tensor)
    assert_type(rg.einsum("ij->ji", x), Tensor)
    assert_type(rg.allclose(x, x), bool)
    assert_type(rg.split(x, 1), tuple[Tensor, ...])
    assert_type(rg.atleast_1d(x), Tensor)
    assert_type(rg.atleast_1d(x, x), tuple[Tensor, ...])
    assert_type(rg.where(x > 0), tuple[Tensor, ...])
    assert_type(rg.where(x > 0, x, 0.0), Tensor)
    assert_type(rg.nonzero(x), Tensor)
    assert_type(rg.nonzero(x, as_tuple=True), tuple[Tensor, ...])
    assert_type(rg.relu_(x.clone()), Tensor)
    assert_type(rg.float32, rg.dtype)
    assert_type(rg.pi, float)
    assert_type(rg.finfo(rg.float32).eps, float)


def methods(x: Tensor) -> None:
    """Methods and attributes of tensors."""
    assert_type(x.sum(), Tensor)
    assert_type(x.sum(dim=0), Tensor)
    assert_type(x.mean((0, 1), keepdim=True), Tensor)
    assert_type(x.max(), Tensor)
    assert_type(x.max(x), Tensor)
    assert_type(x.max(0).values, Tensor)
    values, indices = x.sort(descending=True)
    assert_type(indices, Tensor)
    assert_type(x.aminmax().min, Tensor)
    assert_type(x.reshape(-1), Tensor)
    assert_type(x.reshape((3, 2)), Tensor)
    assert_type(x.view(3, 2).permute(1, 0), Tensor)
    assert_type(x.to(rg.float64).to("cpu").to(x), Tensor)
    assert_type(x.type(), str)
    assert_type(x.float(), Tensor)
    assert_type(x.mT, Tensor)
    assert_type(x.shape, rg.Size)
    assert_type(x.shape[0], int)
    assert_type(x.shape[:1], rg.Size)
    assert_type(x.size(), rg.Size)
    assert_type(x.size(0), int)
    assert_type(x.dtype, rg.dtype)
    assert_type(x.device, rg.device)
    assert_type(x.grad, Tensor | None)
    assert_type([row for row in x], list[Tensor])


def operators(x: Tensor) -> None:
    """Operators, and indexing."""
    assert_type(x + 1, Tensor)
    assert_type(2.0**x, Tensor)
    assert_type(x @ x.T, Tensor)
    assert_type(-x, Tensor)
    assert_type(x == x, Tensor)
    assert_type(x < 1, Tensor)
    assert_type(x[0, ..., None], Tensor)
    assert_type(x[x > 0], Tensor)
    assert_type(bool(x.any()), bool)
    y = x.clone()
    y += 1
    y[0] = 0.0
    assert_type(y, Tensor)


def changes_in_place(p: nn.Parameter) -> None:
    """What is changed in place keeps its class."""
    with rg.no_grad():
        assert_type(p.add_(1), nn.Parameter)
        assert_type(p.zero_(), nn.Parameter)
        assert_type(p.uniform_(-1.0, 1.0), nn.Parameter)
        assert_type(p.detach().unsqueeze_(0), Tensor)
        assert_type(p.requires_grad_(), nn.Parameter)


class Cube(Function):
    """An op of the user's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * 3 * x * x


@rg.no_grad()
def evaluate(model: nn.Module, x: Tensor) -> float:
    """Decorators keep the type of what they decorate."""
    return float(model(x).sum())


def training(x: Tensor) -> None:
    """A model, an optimiser, derivatives."""
    layer = nn.Linear(3, 2)
    assert_type(layer.weight, nn.Parameter)
    model = nn.Sequential(layer, nn.ReLU())
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    # As in PyTorch, a module's result is of any type: it is what `forward` returns.
    assert_type(model(x), Any)
    loss: Tensor = nn.functional.mse_loss(model(x), rg.zeros(2, 2))
    assert_type(loss.backward(), None)
    assert_type(optimizer.zero_grad(), None)
    optimizer.step()
    assert_type(Cube.apply(x), Any)
    assert_type(rg.autograd.grad(model(x).sum(), layer.weight), tuple[Any, ...])
    assert_type(evaluate(model, x), float)


def main() -> None:
    """Runs everything, so that what is checked here is also true."""
    x = rg.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])
    functions(x)
    methods(x)
    operators(x)
    changes_in_place(nn.Parameter(x))
    training(x)


if __name__ == "__main__":
    main()
