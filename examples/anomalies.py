"""Finding where a NaN comes from, and keeping it out of rows that a mask has not chosen.

Run it with ``python examples/anomalies.py``.
"""

import rustgrad as rg
from rustgrad.autograd import detect_anomaly, masked_gradients


def spread(x):
    """The standard deviation of each row."""
    return (x - x.mean(1, keepdim=True)).square().mean(1).sqrt()


x = rg.tensor([[2.0, 2.0, 2.0], [1.0, 2.0, 3.0]], requires_grad=True)
spread(x).sum().backward()
print("gradient:", x.grad.tolist())
assert x.grad[0].isnan().all(), "the slope of sqrt at 0, times 0"

# Which node made it, on which line, and what it worked with.
x.grad = None
try:
    with detect_anomaly():
        spread(x).sum().backward()
except RuntimeError as error:
    print(f"\n{error}\n")
    assert "SquareBackward0" in str(error) and "anomalies.py:12" in str(error)

# In the forward: the first op whose result is not a number.
try:
    with detect_anomaly(forward=True):
        (x - 2.0).log()
except RuntimeError as error:
    print(f"{error}\n")
    assert str(error).startswith("[log] returned nan values")


def attention(scores, allowed):
    """Weights of what is allowed; none in a row where nothing is."""
    weights = scores.masked_fill(~allowed, float("-inf")).softmax(1)
    return rg.where(allowed, weights, 0.0)


# The softmax of the last row is 0 / 0. Nobody uses it, but its gradient is not a number either.
allowed = rg.tensor([[True, True, False], [False, False, False]])
scores = rg.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], requires_grad=True)
attention(scores, allowed)[:, 0].sum().backward()
print("gradient:", scores.grad.tolist())

scores.grad = None
with masked_gradients():
    attention(scores, allowed)[:, 0].sum().backward()
print("with masked gradients:", scores.grad.tolist())
assert scores.grad.isfinite().all() and (scores.grad[1] == 0).all()
