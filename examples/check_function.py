"""Checking an op of one's own: what goes wrong, and what finds it."""

import rustgrad as rg
from rustgrad.testing import OpCheckError, assert_close, opcheck


class Huber(rg.autograd.Function):
    """``d^2 / 2`` near zero, ``c (|d| - c / 2)`` beyond ``c``, of ``d = x - y``."""

    @staticmethod
    def forward(ctx, x, y, c):
        d = x - y
        ctx.save_for_backward(x, y)
        ctx.c = c
        return rg.where(d.abs() < c, 0.5 * d * d, c * (d.abs() - 0.5 * c))

    @staticmethod
    def backward(ctx, g):
        # Computed anew from the inputs, so that the backward can be differentiated.
        x, y = ctx.saved_tensors
        slope = g * (x - y).clamp(-ctx.c, ctx.c)
        return slope, -slope, None


class Careless(Huber):
    """The same with two mistakes: a sign, and the slope kept where no derivative finds it."""

    @staticmethod
    def forward(ctx, x, y, c):
        ctx.slope = (x - y).clamp(-c, c)
        return Huber.forward(ctx, x, y, c)

    @staticmethod
    def backward(ctx, g):
        return g * ctx.slope, g * ctx.slope, None


def main() -> None:
    rg.manual_seed(0)
    x, y = rg.randn(2, 3), rg.randn(2, 3)

    for test, result in opcheck(Huber, (x, y, 1.0)).items():
        print(f"{test:24} {result}")

    try:
        opcheck(Careless, (x, y, 1.0))
    except OpCheckError as error:
        print(f"\n{error}\n")
        assert "with respect to input 1" in str(error)
    else:
        raise AssertionError("the mistakes were not found")

    # Against an implementation that is known to be right, and in float32.
    assert_close(
        Huber.apply(x, y, 1.0),
        rg.nn.functional.huber_loss(x, y, reduction="none", delta=1.0),
    )
    x.requires_grad_()
    assert rg.autograd.gradcheck(
        lambda x: Huber.apply(x, y, 1.0), x, precision=rg.float64, check_forward_ad=True
    )


if __name__ == "__main__":
    main()
