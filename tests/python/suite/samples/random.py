"""Random numbers: shapes, ranges and exact edges. What the distributions are is in
``test_random.py``."""

import numpy as np
import rustgrad as rg

from ..registry import Sample, op


def _shape(size):
    return size[0] if len(size) == 1 and not isinstance(size[0], int) else size


def _within(low, high):
    """Values in ``[low, high)``, of the shape that the call asks for."""

    def check(result, *args, size=None, **_):
        assert result.shape == tuple(_shape(args) if size is None else size)
        assert np.all((result >= low) & (result < high))

    return check


def _sizes(name, check):
    @op(name, check=check, grad=False)
    def _(make):
        yield Sample(2, 3)
        yield Sample((4, 50))
        yield Sample(())
        yield Sample(0, 3)
        yield Sample(kwargs={"size": (3,), "dtype": rg.float64})
        yield Sample(30, kwargs={"dtype": rg.float16})


_sizes("rand", _within(0, 1))
_sizes("randn", _within(-7, 7))


def _whole(result, low, high, shape):
    assert result.shape == tuple(shape)
    assert np.all((result >= low) & (result < high) & (result == np.floor(result)))


def _randint(result, *args, low=0, high=None, size=None, **_):
    if len(args) == 2:
        high, size = args
    elif len(args) == 3:
        low, high, size = args
    _whole(result, low, high, size)


@op("randint", check=_randint, grad=False)
def _(make):
    yield Sample(5, (2, 3))
    yield Sample(-3, 4, (40,))
    yield Sample(1, ())
    yield Sample(5, (0, 2))
    yield Sample(0, 256, (30,), kwargs={"dtype": rg.uint8})
    yield Sample(0, 2, (9,), kwargs={"dtype": rg.bool})
    yield Sample(10, (9,), kwargs={"dtype": rg.float32})
    yield Sample(kwargs={"low": 2, "high": 4, "size": (3,)})
    yield Sample(-(2**62), 2**62, (5,))


@op(
    "randint_like",
    check=lambda result, x, *bounds, **_: _whole(result, *((0, 0, *bounds)[-2:]), x.shape),
    dtypes="float|int",
    grad=False,
)
def _(make):
    yield Sample(make(2, 3), 5)
    yield Sample(make(2, 3), 2, 5)
    yield Sample(make(), 3)
    yield Sample(make(0), 3)


def _permutation(result, n, **_):
    np.testing.assert_array_equal(np.sort(result), np.arange(n))


@op("randperm", check=_permutation, grad=False)
def _(make):
    yield Sample(5)
    yield Sample(0)
    yield Sample(1)
    yield Sample(1000)
    yield Sample(20, kwargs={"dtype": rg.int16})
    yield Sample(20, kwargs={"dtype": rg.float32})


def _likes(name, low, high):
    @op(name, check=lambda r, x, **_: _within(low, high)(r, *x.shape, size=x.shape), grad=False)
    def _(make):
        yield Sample(make(2, 3))
        yield Sample(make())
        yield Sample(make(0, 2))
        yield Sample(make(2, 3), kwargs={"dtype": rg.float64})


_likes("rand_like", 0, 1)
_likes("randn_like", -7, 7)


def _zero_or_one(result, x, *args, **_):
    assert result.shape == x.shape
    assert np.all((result == 0) | (result == 1))
    p = args[0] if args else x
    assert np.all(result[np.broadcast_to(p == 0, x.shape)] == 0)
    assert np.all(result[np.broadcast_to(p == 1, x.shape)] == 1)


@op("bernoulli", check=_zero_or_one, grad=False)
def _(make):
    yield Sample(make(2, 3, low=0.0, high=1.0))
    yield Sample(np.array([0.0, 1.0] * 20))
    yield Sample(make(low=0.0, high=1.0))
    yield Sample(make(0))


@op("bernoulli", check=_zero_or_one, grad=False, dtypes="any")
def _(make):
    yield Sample(make(2, 3), 0.5)
    yield Sample(make(2, 3), 0.0)
    yield Sample(make(2, 3), 1.0)


def _categories(result, weights, num_samples, replacement=False):
    assert result.shape == (*weights.shape[:-1], num_samples)
    for row, drawn in zip(np.atleast_2d(weights), result.reshape(-1, num_samples), strict=True):
        assert np.all(row[drawn] > 0)
        assert replacement or len(set(drawn.tolist())) == num_samples


@op("multinomial", check=_categories, grad=False)
def _(make):
    yield Sample(make(5, low=0.1, high=1.0), 3)
    yield Sample(make(5, low=0.1, high=1.0), 5)
    yield Sample(make(3, 4, low=0.1, high=1.0), 2)
    yield Sample(np.array([0.0, 2.0, 0.0, 1.0]), 2)
    yield Sample(np.array([0.0, 2.0, 0.0]), 9, True)
    yield Sample(make(2, 3, low=0.1, high=1.0), 7, kwargs={"replacement": True})


def _normal(result, mean, std=1.0, size=None, **_):
    shape = np.broadcast_shapes(np.shape(mean), np.shape(std)) if size is None else tuple(size)
    assert result.shape == shape
    assert np.all(np.abs(result - mean) <= 7 * std * (1 + 1e-2) + 0.1 * np.abs(mean))


@op("normal", check=_normal, grad=False)
def _(make):
    yield Sample(make(2, 3), make(3, low=0.1, high=1.0))
    yield Sample(make(2, 3), 0.5)
    yield Sample(make(2, 3))
    yield Sample(1.0, make(3, low=0.1, high=1.0))
    yield Sample(make(2, 3), np.zeros(3))
    yield Sample(1.0, 2.0, (2, 3))
    yield Sample(0, 1, (4,), kwargs={"dtype": rg.float64})
    yield Sample(kwargs={"mean": 1.0, "std": 0.0, "size": (3,)})


def _counts(result, rate):
    assert result.shape == rate.shape
    assert np.all((result >= 0) & (result == np.floor(result)))
    assert np.all(result <= rate + 10 * np.sqrt(rate) + 10)
    assert np.all(result[rate == 0] == 0)


@op("poisson", check=_counts, grad=False)
def _(make):
    yield Sample(make(2, 3, low=0.0, high=30.0))
    yield Sample(np.array([0.0, 1e-3, 5.0, 10.0, 500.0]))
    yield Sample(make(low=0.0, high=3.0))
    yield Sample(make(0, 2))


# In place.


def _fills(name, check, *calls, dtypes="float"):
    """The fill of a matrix, a 0-d tensor and an empty one, with different arguments."""

    @op(name, check=check, grad=False, dtypes=dtypes)
    def _(make):
        for args, kwargs in calls:
            yield Sample(make(3, 4), *args, kwargs=kwargs)
        args, kwargs = calls[0]
        yield Sample(make(), *args, kwargs=kwargs)
        yield Sample(make(0, 2), *args, kwargs=kwargs)


def _between(result, x, low=0.0, high=1.0, **kwargs):
    low, high = kwargs.get("from", low), kwargs.get("to", high)
    assert result.shape == x.shape
    assert np.all((result >= low) & ((result < high) | (low == high)))


_fills(
    "uniform_", _between, ((), {}), ((-2.0, 0.5), {}), ((1.0, 1.0), {}), ((), {"from": 1, "to": 2})
)


def _around(result, x, mean=0.0, std=1.0):
    assert result.shape == x.shape
    assert np.all(np.abs(result - mean) <= 7 * std + 0.1)


_fills("normal_", _around, ((), {}), ((3.0, 0.0), {}), ((), {"mean": -1, "std": 0.5}))


def _random(result, x, *bounds, **kwargs):
    low = kwargs.get("from", bounds[0] if len(bounds) == 2 else 0)
    high = kwargs.get("to", bounds[-1] if bounds else None)
    assert result.shape == x.shape
    assert np.all((result >= low) & (result == np.floor(result)))
    assert high is None or np.all(result < high)


_fills(
    "random_",
    _random,
    ((), {}),
    ((9,), {}),
    ((3, 9), {}),
    ((3, None), {}),
    ((), {"from": 1, "to": 2}),
    dtypes="float|int",
)


@op(
    "bernoulli_",
    check=lambda result, x, p=0.5: _zero_or_one(result, x, np.float64(p)),
    grad=False,
    dtypes="any",
)
def _(make):
    yield Sample(make(3, 4))
    yield Sample(make(3, 4), 0.25)
    yield Sample(make(3, 4), 0.0)
    yield Sample(make(3, 4), 1.0)


@op("bernoulli_", check=_zero_or_one, grad=False)
def _(make):
    yield Sample(make(3, 4), make(4, low=0.0, high=1.0))
    yield Sample(make(2, 2), np.array([0.0, 1.0]))


def _positive(result, x, *_):
    assert result.shape == x.shape
    assert np.all(result > 0)


_fills("exponential_", _positive, ((), {}), ((2.5,), {}))


def _not_negative(result, x, *_, **__):
    assert result.shape == x.shape
    assert np.all(result >= 0)


# A standard deviation whose exponentials half precision holds.
_fills("log_normal_", _not_negative, ((0.0, 0.5), {}), ((), {"mean": -1.0, "std": 0.25}))


def _shaped(result, x, *_):
    assert result.shape == x.shape
    assert not np.any(np.isnan(result))


_fills("cauchy_", _shaped, ((), {}), ((1.0, 0.5), {}))


def _trials(result, x, p):
    assert result.shape == x.shape
    assert np.all((result >= 1) & (result == np.floor(result)))


_fills("geometric_", _trials, ((0.5,), {}), ((0.9,), {}), dtypes="float|int")


# Dropout.


def _dropped(result, x, p=0.5, train=True, features=False):
    assert result.shape == x.shape
    if not train or p == 0:
        np.testing.assert_array_equal(result, x)
        return
    if p == 1:
        assert not result.any()
        return
    kept = result != 0
    np.testing.assert_allclose(result[kept], (x / (1 - p))[kept], rtol=1e-2)
    if features:
        rows = kept.reshape(*x.shape[:2], int(np.prod(x.shape[2:])))
        assert np.all(rows == rows[..., :1])


def _drops(name, check, *shapes):
    @op(name, check=check)
    def _(make):
        for shape in shapes:
            yield Sample(make(*shape, low=0.5), 0.5, True)
        yield Sample(make(*shapes[0], low=0.5), 0.0, True)
        yield Sample(make(*shapes[0], low=0.5), 1.0, True)
        yield Sample(make(*shapes[0], low=0.5), 0.5, False)
        yield Sample(make(*shapes[0], low=0.5), 0.2, True)


_drops("dropout", _dropped, (3, 4), (), (0, 2))
_drops(
    "feature_dropout", lambda *args: _dropped(*args, features=True), (2, 2, 3), (3, 4), (2, 0, 2)
)


def _alpha(result, x, p=0.5, train=False):
    assert result.shape == x.shape
    if not train or p == 0:
        np.testing.assert_array_equal(result, x)
        return
    if p == 1:
        assert not result.any()
        return
    m = -1.7580993408473766
    a = ((1 - p) * (1 + p * m * m)) ** -0.5
    b = -a * p * m
    kept, gone = a * x + b, a * m + b
    near = [np.isclose(result, want, rtol=1e-2, atol=2e-2) for want in (kept, gone)]
    assert np.all(near[0] | near[1])


_drops("alpha_dropout", _alpha, (3, 4), (), (0, 2))
_drops("feature_alpha_dropout", _alpha, (2, 2, 3), (3, 4), (2, 0, 2))
