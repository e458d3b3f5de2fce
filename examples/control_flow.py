"""The graph is what the program did: loops and branches that depend on values."""

import rustgrad as rg


def collatz_like(x: rg.Tensor) -> tuple[rg.Tensor, int]:
    """Halves large numbers and stretches small ones until they land in [1, 2)."""
    steps = 0
    while not 1 <= x < 2:
        x = x / 2 if x >= 2 else x * 3
        steps += 1
    return x, steps


def main() -> None:
    for start in (0.2, 1.5, 37.0):
        x = rg.tensor(start, requires_grad=True)
        y, steps = collatz_like(x)
        y.backward()
        # The result is linear in x along the path that was taken.
        assert abs(x.grad.item() * start - y.item()) < 1e-5
        print(f"{start:5.1f} -> {y.item():.4f} in {steps} steps, slope {x.grad.item():.6f}")


if __name__ == "__main__":
    main()
