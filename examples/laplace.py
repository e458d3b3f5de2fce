"""Newton's method to the most probable weights, and Laplace's approximation around them.

Bayesian logistic regression: the posterior of the weights is approximated by a normal distribution
whose precision is the Hessian of the negative log posterior at its minimum.
"""

import rustgrad as rg
from rustgrad.autograd.functional import hessian, jacobian


def solve(a: rg.Tensor, b: rg.Tensor) -> rg.Tensor:
    """``a^-1 b`` for a positive definite matrix, by Gauss-Jordan elimination."""
    m = rg.cat([a, b.reshape(len(b), -1)], 1)
    for i in range(len(a)):
        m[i] /= m[i, i].clone()
        for j in range(len(a)):
            if j != i:
                m[j] -= m[j, i].clone() * m[i]
    return m[:, len(a) :].reshape(b.shape)


def main() -> None:
    rg.manual_seed(0)
    truth = rg.tensor([1.5, -2.0, 0.5], dtype=rg.float64)
    x = rg.randn(200, 3, dtype=rg.float64)
    y = (rg.rand(200, dtype=rg.float64) < (x @ truth).sigmoid()).double()

    def energy(w: rg.Tensor) -> rg.Tensor:
        """Minus the log of the posterior, with a standard normal prior."""
        logits = x @ w
        return (rg.nn.functional.softplus(logits) - y * logits).sum() + 0.5 * (w @ w)

    w = rg.zeros(3, dtype=rg.float64)
    for step in range(20):
        gradient, curvature = jacobian(energy, w), hessian(energy, w)
        print(
            f"step {step}: energy {energy(w).item():.6f}, |gradient| {gradient.norm().item():.1e}"
        )
        if gradient.norm() < 1e-9:
            break
        w = w - solve(curvature, gradient)
    # Newton's method doubles the digits in each step.
    assert step < 8

    covariance = solve(hessian(energy, w), rg.eye(3, dtype=rg.float64))
    deviation = covariance.diagonal().sqrt()
    for name, center, spread in zip("abc", w.tolist(), deviation.tolist(), strict=True):
        print(f"{name} = {center:+.3f} +- {spread:.3f}")
    assert ((w - truth).abs() < 3 * deviation).all()

    # The Hessian is known here: X^T S X + I.
    p = (x @ w).sigmoid()
    assert rg.allclose(hessian(energy, w), (x.t() * p * (1 - p)) @ x + rg.eye(3))

    # How the optimum moves with the strength of the prior, by the implicit function theorem:
    # dw/da = -H^-1 d(gradient)/da, where a scales the prior's term.
    def gradient_of(a: rg.Tensor, w: rg.Tensor) -> rg.Tensor:
        return jacobian(lambda w: energy(w) + 0.5 * (a - 1) * (w @ w), w, create_graph=True)

    one = rg.ones((), dtype=rg.float64)
    by_prior, _ = jacobian(gradient_of, (one, w))
    moved = -solve(hessian(energy, w), by_prior)
    print("dw/da =", moved)
    assert (moved * w).sum() < 0  # A stronger prior pulls the weights to zero.


if __name__ == "__main__":
    main()
