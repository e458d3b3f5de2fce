"""A Hessian times a vector, without the Hessian: the gradient of ``grad(f) . v``."""

import rustgrad as rg


def rosenbrock(x: rg.Tensor) -> rg.Tensor:
    """A narrow curved valley; its minimum is at all ones."""
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def hvp(f, x: rg.Tensor, v: rg.Tensor) -> rg.Tensor:
    """``H(x) v``: two backward passes, memory for two vectors."""
    (gradient,) = rg.autograd.grad(f(x), x, create_graph=True)
    (product,) = rg.autograd.grad(gradient, x, grad_outputs=v)
    return product


def main() -> None:
    x = rg.tensor([-1.2, 1.0, 0.5], dtype=rg.float64, requires_grad=True)
    v = rg.tensor([1.0, 0.0, -1.0], dtype=rg.float64)
    product = hvp(rosenbrock, x, v)

    # The whole matrix, row by row, for comparison.
    rows = [hvp(rosenbrock, x, unit) for unit in rg.eye(3, dtype=rg.float64)]
    assert rg.allclose(rg.stack(rows) @ v, product)

    # Newton's method needs only products: a few conjugate-gradient steps a point.
    for _ in range(30):
        (g,) = rg.autograd.grad(rosenbrock(x), x)
        step, r = rg.zeros_like(g), g.clone()
        p = r.clone()
        for _ in range(6):
            hp = hvp(rosenbrock, x, p)
            curvature = p @ hp
            if curvature <= 0 or r.norm() < 1e-12:
                break
            a = (r @ r) / curvature
            step += a * p
            new = r - a * hp
            p = new + (new @ new) / (r @ r) * p
            r = new
        if not step.any():
            step = g
        length = 1.0
        while rosenbrock((x - length * step).detach()) > rosenbrock(x) and length > 1e-10:
            length /= 2
        x = (x - length * step).detach().requires_grad_()
    print("H v     =", product)
    print("minimum =", x.detach())
    assert rg.allclose(x, rg.ones_like(x), atol=1e-6)


if __name__ == "__main__":
    main()
