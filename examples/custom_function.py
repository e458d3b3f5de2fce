"""An op of one's own: forward, backward, and derivatives of any order."""

import rustgrad as rg


class Softclip(rg.autograd.Function):
    """``x / sqrt(1 + x^2)``: slope ``(1 + x^2)^(-3/2)``."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x / (1 + x * x).sqrt()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (1 + x * x) ** -1.5


def main() -> None:
    x = rg.linspace(-2, 2, 5, dtype=rg.float64, requires_grad=True)
    assert rg.autograd.gradcheck(Softclip.apply, (x,))
    assert rg.autograd.gradgradcheck(Softclip.apply, (x,))

    y = Softclip.apply(x)
    (slope,) = rg.autograd.grad(y.sum(), x, create_graph=True)
    (bend,) = rg.autograd.grad(slope.sum(), x)
    print("y     =", y.detach())
    print("dy/dx =", slope.detach())
    print("d2y   =", bend)


if __name__ == "__main__":
    main()
