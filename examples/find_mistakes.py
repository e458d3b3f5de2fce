"""Four mistakes that a training loop can hide, and what says where they are."""

import warnings

import rustgrad as rg
from rustgrad.autograd import guard, why


def no_gradient() -> None:
    """A history that ends too early: ``why`` says where."""
    w = rg.ones(3, requires_grad=True)
    features = (w * 2).detach()
    loss = (features * features).sum()
    told = why(loss)
    print("no gradient: ", told)
    assert "detach" in told and "find_mistakes.py" in told


def growing_graph() -> None:
    """A running total that keeps the graph of every step: a warning names the line."""
    w = rg.ones(3, requires_grad=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        total = 0.0
        for _ in range(3):
            loss = (w * w).sum()
            loss.backward()
            total += loss
    (warning,) = caught
    print("growing graph:", warning.message)
    assert "loss.item()" in str(warning.message)


def overwritten_result() -> None:
    """A write in place over what a gradient needs: the error names both lines."""
    x = rg.tensor([0.5, 1.0], requires_grad=True)
    try:
        gate = x.sigmoid()
        gate.mul_(2)
        gate.sum().backward()
        raise AssertionError("the gradient would have been wrong")
    except RuntimeError as error:
        print("overwritten:  ", error)
        assert "output 0 of sigmoid" in str(error) and "overwritten by mul_" in str(error)
    # Out of place, the result of sigmoid stays what it was.
    gate = x.sigmoid() * 2
    gate.sum().backward()
    s = x.detach().sigmoid()
    assert rg.allclose(x.grad, 2 * s * (1 - s))


def changed_from_outside() -> None:
    """An array that shares a tensor's memory is written: a guard notices."""
    x = rg.ones(3, requires_grad=True)
    hidden = x * 2
    with guard():
        loss = (hidden * hidden).sum()
    hidden.detach().numpy()[0] = 5.0
    try:
        loss.backward()
        raise AssertionError("the gradient would have been wrong")
    except RuntimeError as error:
        print("from outside: ", error)
        assert "modified from outside" in str(error)


def main() -> None:
    no_gradient()
    growing_graph()
    overwritten_result()
    changed_from_outside()


if __name__ == "__main__":
    main()
