"""Finding the first value that is not a number, and keeping it out of masked branches."""

from __future__ import annotations

from rustgrad import _C

__all__ = ["detect_anomaly", "is_anomaly_enabled", "masked_gradients", "set_detect_anomaly"]


class detect_anomaly:
    """Raises at the first op or gradient that is not a number, with its line and its inputs.

    It belongs to a thread, and costs one pass over what is computed.

    Args:
        check_nan: PyTorch's name of ``nan``.
        nan: look for values that are not numbers.
        inf: look for infinite values too.
        forward: look at the results of ops, while no backward runs. PyTorch does not, and results
            may be masked later; so it must be asked for.
        backward: look at the gradients that nodes compute.

    Raises:
        RuntimeError: names the op or node, the line of the (forward) call, and the statistics of
            what it worked with.

    >>> import rustgrad as rg
    >>> x = rg.tensor([0.0, 1.0], requires_grad=True)
    >>> with rg.autograd.detect_anomaly():  # doctest: +ELLIPSIS
    ...     (x.sqrt() * rg.tensor([0.0, 1.0]) / x).sum().backward()
    Traceback (most recent call last):
        ...
    RuntimeError: ...Function 'DivBackward0' returned nan values in its 1th output...
    """

    def __init__(
        self,
        check_nan: bool = True,
        *,
        nan: bool | None = None,
        inf: bool = False,
        forward: bool = False,
        backward: bool = True,
    ) -> None:
        self.checks = (check_nan if nan is None else nan, inf, forward, backward)
        self._watches = False

    def __enter__(self) -> None:
        nan, inf, forward, _ = self.checks
        self._before = _C.set_anomaly_checks(self.checks)
        if forward:
            _C.push_anomaly_observer(nan, inf)

    def __exit__(self, *exc: object) -> None:
        if self.checks[2]:
            _C.pop_observer()
        _C.set_anomaly_checks(self._before)


class set_detect_anomaly:
    """Turns :class:`detect_anomaly` on or off: as a function, or while it is entered.

    Args:
        mode: whether gradients are looked at.
        check_nan: whether for values that are not numbers.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        checks = (check_nan, False, False, True) if mode else None
        self._before = _C.set_anomaly_checks(checks)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        _C.set_anomaly_checks(self._before)


def is_anomaly_enabled() -> bool:
    """Whether gradients are looked at, on this thread."""
    checks = _C.set_anomaly_checks(None)
    _C.set_anomaly_checks(checks)
    return checks is not None and checks[3]


class masked_gradients:
    """Backward passes that begin inside keep a gradient of zero zero, whatever the slope.

    Where the gradient of a result is zero, that of what it was computed from becomes zero: element
    by element for elementwise ops, line by line for ops along a dimension (softmax, norms,
    products, ...). A branch or a row that a mask has not chosen then contributes nothing, even if
    its values are infinite or not a number. Elementwise rules do so by themselves where their slope
    is infinite, so ``where(x > 0, sqrt(x), x)`` needs nothing; a row of attention in which
    everything is masked does. It costs a pass or two for each gradient, so it must be asked for.

    >>> import rustgrad as rg
    >>> scores = rg.tensor([[1.0, 2.0], [1.0, 2.0]], requires_grad=True)
    >>> allowed = rg.tensor([[True, True], [False, False]])
    >>> weights = scores.masked_fill(~allowed, float("-inf")).softmax(1)
    >>> loss = rg.where(allowed, weights, 0.0)[:, 0].sum()
    >>> with rg.autograd.masked_gradients():
    ...     loss.backward()
    >>> scores.grad
    tensor([[ 0.1966, -0.1966],
            [ 0.0000,  0.0000]])
    """

    def __enter__(self) -> None:
        self._before = _C.set_masking(True)

    def __exit__(self, *exc: object) -> None:
        _C.set_masking(self._before)
