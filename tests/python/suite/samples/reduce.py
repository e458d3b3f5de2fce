"""Reductions: sums, products, extrema and their positions, variances, norms."""

import numpy as np
from scipy import special

from ..registry import Sample, op

INF = float("inf")
NO_BOOL = {"bool": "PyTorch raises for bools"}


def _axis(dim):
    return tuple(dim) if isinstance(dim, list | tuple) else dim


def _over(f, **fixed):
    """``f`` of NumPy with PyTorch's names of the arguments."""

    def ref(x, dim=None, keepdim=False, **options):
        # An empty list of dimensions means all of them.
        axis = _axis(dim) if dim != () else None
        if x.ndim == 0 and axis is not None:
            x, axis = x[None], 0
            return np.reshape(f(x, axis=axis, **fixed, **options), ())
        return f(x, axis=axis, keepdims=keepdim, **fixed, **options)

    return ref


def _dims(make, **options):
    """All dimensions, one, several, negative, kept or not; 0-d, empty, size 1."""
    yield Sample(make(2, 3, 4, **options))
    yield Sample(make(3, 4, **options), 0)
    yield Sample(make(3, 4, **options), -1, True)
    yield Sample(make(2, 3, 2, **options), (0, 2))
    yield Sample(make(2, 3, 2, **options), kwargs={"dim": (-1, 0), "keepdim": True})
    yield Sample(make(**options))
    yield Sample(make(1, 3, **options), 0)


def _sum_ref(x, dim=None, keepdim=False, dtype=None):
    out = _over(np.sum)(x, dim, keepdim)
    return out.astype(np.int64) if x.dtype.kind == "b" else out


@op("sum", ref=_sum_ref, dtypes="any")
def _(make):
    yield from _dims(make)
    yield Sample(make(0, 3))
    yield Sample(make(0, 3), 0)
    yield Sample(make(0, 3), 1)
    yield Sample(make(3), 0, True)
    yield Sample(make(), 0)


@op("sum", ref=lambda x, dtype: np.sum(x), dtypes="any")
def _(make):
    import rustgrad as rg

    yield Sample(make(3, 2), kwargs={"dtype": rg.float64})
    yield Sample(make(3, 2), kwargs={"dtype": rg.float64})


@op("mean", ref=lambda x, dim=None, keepdim=False: _over(np.mean)(x, dim, keepdim))
def _(make):
    yield from _dims(make)
    yield Sample(make(0, 3), 1)


@op(
    "mean",
    ref=lambda x, dim: _over(np.mean)(x, dim),
    skip={c: "the mean of nothing is NaN" for c in ("gradcheck", "gradgradcheck", "jvp", "modes")},
)
def _(make):
    yield Sample(make(0, 3), 0)


@op("mean", ref=lambda x, dtype: np.mean(x), dtypes="any")
def _(make):
    import rustgrad as rg

    yield Sample(make(3, 2), kwargs={"dtype": rg.float64})


def _prod_ref(x, dim=None, keepdim=False, dtype=None):
    x = x.astype(np.int64) if x.dtype.kind == "b" else x
    return _over(np.prod)(x, dim, keepdim)


def _zeros_at(x, *places):
    for p in places:
        x[p] = 0.0
    return x


@op("prod", ref=_prod_ref, dtypes="any")
def _(make):
    yield Sample(make(2, 3, low=0.5))
    yield Sample(make(3, 4), 0)
    yield Sample(make(3, 4), -1, True)
    yield Sample(make(2, 2, 3), kwargs={"dim": 1})
    yield Sample(make())
    yield Sample(make(), 0)
    yield Sample(make(0, 3))
    yield Sample(make(0, 3), 0)
    yield Sample(make(1))


@op("prod", ref=_prod_ref)
def _(make):
    # One zero, two zeros, and rows of each kind: no division by an element is right here.
    yield Sample(_zeros_at(make(4), 1))
    yield Sample(_zeros_at(make(4), 1, 3))
    yield Sample(_zeros_at(make(4), 0, 1, 2))
    yield Sample(_zeros_at(make(3, 3), (0, 1), (1, 0), (1, 2)), 1)
    yield Sample(_zeros_at(make(3, 3), (0, 1), (1, 1), (1, 2)), 0, True)


# What overflows and underflows on the way.
@op(
    "prod",
    ref=_prod_ref,
    skip={
        "parity_grad": "PyTorch's overflows",
        **dict.fromkeys(("f32", "f16", "bf16"), "holds no such numbers"),
    },
)
def _(make):
    yield Sample(np.array([1e-200, 1e-200, 1e200, 2.0]) if make.stretch == 1 else make(4))


@op("any", ref=_over(np.any), dtypes="any", grad=False)
def _(make):
    yield from _dims(make, kind="bool")
    yield Sample(make(3, 2))
    yield Sample(np.zeros((2, 3)), 1)
    yield Sample(make(0, 3), 0)
    yield Sample(make(0))


@op("all", ref=_over(np.all), dtypes="any", grad=False)
def _(make):
    yield from _dims(make, kind="bool")
    yield Sample(make(3, 2))
    yield Sample(np.array([[1.0, np.nan], [0.0, 2.0]]), 1)
    yield Sample(make(0, 3), 0)
    yield Sample(make(0))


@op(
    "count_nonzero",
    ref=lambda x, dim=None: np.count_nonzero(x, axis=_axis(dim)),
    dtypes="any",
    grad=False,
)
def _(make):
    yield Sample(make(3, 4, kind="bool"))
    yield Sample(_zeros_at(make(3, 4), (0, 1), (2, 2)), 1)
    yield Sample(make(2, 3, 2, kind="int"), (0, 2))
    yield Sample(make())
    yield Sample(make(0, 2), kwargs={"dim": 0})


def _nan_at(x, *places):
    for p in places:
        x[p] = np.nan
    return x


@op("nansum", ref=_over(np.nansum))
def _(make):
    yield Sample(make(3, 4))
    yield Sample(_nan_at(make(3, 4), (0, 1), (2, 3)), 1)
    yield Sample(_nan_at(make(2, 3), (0, 0), (1, 0)), kwargs={"dim": (0,), "keepdim": True})
    yield Sample(np.array(np.nan))


@op("nansum", ref=lambda x: np.sum(x), dtypes="int")
def _(make):
    yield Sample(make(3, 4, kind="int"))


@op("nanmean", ref=_over(np.nanmean))
def _(make):
    yield Sample(make(3, 4))
    yield Sample(_nan_at(make(3, 4), (0, 1), (2, 3)), 1)
    yield Sample(_nan_at(make(2, 3), (0, 0)), kwargs={"dim": (0,), "keepdim": True})


# Extrema


def _extrema(name, f):
    @op(name, ref=_over(f), dtypes="any")
    def _(make):
        yield from _dims(make, distinct=True)
        yield Sample(make(3, 0), 0)


_extrema("amax", np.max)
_extrema("amin", np.min)


@op(
    "amax",
    ref=_over(np.max),
    skip={"gradcheck": "ties are kinks", "gradgradcheck": "ties are kinks"},
)
def _(make):
    yield Sample(np.array([[1.0, 2.0, 2.0], [3.0, 3.0, 3.0]]))
    yield Sample(np.array([[1.0, 2.0, 2.0], [3.0, 3.0, 3.0]]), 1)


@op(
    "amin",
    ref=_over(np.min),
    skip={"gradcheck": "ties are kinks", "gradgradcheck": "ties are kinks"},
)
def _(make):
    yield Sample(np.array([[1.0, 1.0, 2.0], [3.0, 3.0, 3.0]]), (0, 1))
    yield Sample(np.array([[1.0, 1.0, 2.0], [3.0, 3.0, 3.0]]), 1, True)


def _extremum_ref(f, position, two):
    def ref(x, other=None, dim=None, keepdim=False):
        if isinstance(other, np.ndarray):
            return two(x, other)
        if isinstance(other, int):
            dim = other
        if dim is None:
            return f(x)
        if x.ndim == 0:
            return x, np.array(0)
        return f(x, axis=dim, keepdims=keepdim), position(x, axis=dim, keepdims=keepdim)

    return lambda *args, **kwargs: ref(
        *args[:2], **dict(zip(("keepdim",), args[2:], strict=False)), **kwargs
    )


def _max_and_min(name, f, position, two):
    ref = _extremum_ref(f, position, two)

    @op(name, ref=ref, dtypes="any")
    def _(make):
        yield Sample(make(3, 4, distinct=True))
        yield Sample(make(3, 4, distinct=True), 0)
        yield Sample(make(3, 4, distinct=True), -1, True)
        yield Sample(make(2, 3, 2, distinct=True), kwargs={"dim": 1})
        yield Sample(make(3, 4), make(4))
        yield Sample(make(), make(2))
        yield Sample(make())
        yield Sample(make(), 0)
        yield Sample(make(3, 0), 0)

    @op(name, ref=ref, skip={"gradcheck": "ties are kinks", "gradgradcheck": "ties are kinks"})
    def _(make):
        yield Sample(np.array([[1.0, 3.0, 3.0], [1.0, 3.0, 2.0]]))
        yield Sample(np.array([[1.0, 3.0, 3.0], [1.0, 1.0, 2.0]]), 1)


_max_and_min("max", np.max, np.argmax, np.maximum)
_max_and_min("min", np.min, np.argmin, np.minimum)


@op("max", ref=lambda x, dim: (np.max(x, dim), np.argmax(x, dim)), grad=False)
def _(make):
    yield Sample(_nan_at(make(3, 4), (0, 1), (0, 2), (2, 3)), 1)


def _positions(name, f):
    def ref(x, dim=None, keepdim=False):
        return np.array(0) if x.ndim == 0 else f(x, axis=dim, keepdims=keepdim)

    @op(name, ref=ref, dtypes="float|int", grad=False)
    def _(make):
        yield Sample(make(3, 4, distinct=True))
        yield Sample(make(3, 4, distinct=True), 0)
        yield Sample(make(3, 4, distinct=True), -1, True)
        yield Sample(make(2, 3, 2, distinct=True), kwargs={"dim": 1, "keepdim": True})
        yield Sample(make(2, 3, distinct=True), kwargs={"keepdim": True})
        yield Sample(make())
        yield Sample(make(), 0)
        yield Sample(make(3, 0), 0)
        yield Sample(np.array([[1.0, 1.0], [0.0, 0.0]]))

    @op(name, ref=ref, grad=False)
    def _(make):
        yield Sample(_nan_at(make(3, 4), (0, 1), (0, 2), (2, 3)), 1)


_positions("argmax", np.argmax)
_positions("argmin", np.argmin)


def _aminmax_ref(x, dim=None, keepdim=False):
    return _over(np.min)(x, dim, keepdim), _over(np.max)(x, dim, keepdim)


@op("aminmax", ref=_aminmax_ref, dtypes="any")
def _(make):
    yield Sample(make(3, 4, distinct=True))
    yield Sample(make(3, 4, distinct=True), kwargs={"dim": 1})
    yield Sample(make(3, 4, distinct=True), kwargs={"dim": 0, "keepdim": True})
    yield Sample(make())


# Variances


def _ddof(correction=1, unbiased=None):
    return correction if unbiased is None else int(unbiased)


def _spread(f):
    def ref(x, dim=None, unbiased=None, keepdim=False, correction=1):
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        return _over(f, ddof=_ddof(correction, unbiased))(x, dim, keepdim)

    return ref


def _spread_samples(make):
    yield Sample(make(3, 4))
    yield Sample(make(3, 4), 0)
    yield Sample(make(2, 3, 2), (0, 2), kwargs={"keepdim": True})
    yield Sample(make(3, 4), kwargs={"dim": -1, "correction": 0})
    yield Sample(make(3, 4), 1, False)
    yield Sample(make(3, 4), 1, True, True)
    yield Sample(make(3, 4), False)
    yield Sample(make(3, 4), kwargs={"dim": 1, "unbiased": False})
    yield Sample(make(5), kwargs={"correction": 2})


# Squares of rounded distances: a few more roundings than other reductions have.
op("var", ref=_spread(np.var), tol=3)(_spread_samples)
op("std", ref=_spread(np.std), tol=3)(_spread_samples)


def _with_mean(f):
    def ref(x, dim=None, correction=1, keepdim=False, unbiased=None):
        return (
            _over(f, ddof=_ddof(correction, unbiased))(x, dim, keepdim),
            _over(np.mean)(x, dim, keepdim),
        )

    return ref


def _with_mean_samples(make):
    yield Sample(make(3, 4))
    yield Sample(make(3, 4), 0)
    yield Sample(make(2, 3, 2), (0, 2), kwargs={"keepdim": True, "correction": 0})


op("var_mean", ref=_with_mean(np.var), tol=3)(_with_mean_samples)
op("std_mean", ref=_with_mean(np.std), tol=3)(_with_mean_samples)


def _kinks(what):
    return {"gradcheck": what, "gradgradcheck": what}


@op("std", ref=_spread(np.std), skip=_kinks("no slope where all elements are equal"))
def _(make):
    yield Sample(np.full((3,), 2.0))
    yield Sample(np.array([[1.0, 1.0], [1.0, 2.0]]), 1)


# Norms


def _norm(x, p=2, dim=None, keepdim=False, dtype=None):
    p = 2 if p in ("fro", None) else p
    axis = tuple(range(x.ndim)) if dim is None else _axis(dim)
    size = np.abs(x)
    if p == INF:
        return np.max(size, axis=axis, keepdims=keepdim)
    if p == -INF:
        return np.min(size, axis=axis, keepdims=keepdim)
    if p == 0:
        return np.sum(x != 0, axis=axis, keepdims=keepdim).astype(x.dtype)
    return np.sum(size**p, axis=axis, keepdims=keepdim) ** (1 / p)


def _norm_samples(make):
    def away(*shape):
        x = make(*shape, distinct=True)
        return np.asarray(x + 0.3 * np.sign(x))

    yield Sample(away(3, 4))
    yield Sample(away(3, 4), 2, 1)
    yield Sample(away(3, 4), 1)
    yield Sample(away(3, 4), 0)
    yield Sample(away(3, 4), 3, 0, True)
    yield Sample(away(2, 3), 1.5)
    yield Sample(away(2, 3), 0.5, -1)
    yield Sample(away(2, 3), -1, 1)
    yield Sample(away(3, 4), INF)
    yield Sample(away(3, 4), INF, 1)
    yield Sample(away(3, 4), -INF, (0,), True)
    yield Sample(away(2, 3, 2), 2, (0, 2))
    yield Sample(away())
    yield Sample(np.zeros((0, 3)), 2, 1)
    yield Sample(np.zeros((0, 3)))


# Powers and roots: the relative error grows with the exponent.
op("norm", ref=_norm, tol=3)(_norm_samples)
op("linalg_vector_norm", ref=_norm, tol=3)(_norm_samples)


@op("norm", ref=_norm)
def _(make):
    yield Sample(make(3, 4), "fro")
    yield Sample(make(3, 4), kwargs={"p": "fro", "dim": 1, "keepdim": True})
    yield Sample(make(3, 4), kwargs={"dim": 1})


# A gradient of 0 at the zero vector, in every order.
ZERO = {
    **_kinks("norms have a kink at the zero vector"),
    "parity_grad": "PyTorch's second derivative is NaN",
}
for _name in ("norm", "linalg_vector_norm"):

    @op(_name, ref=_norm, skip=ZERO)
    def _(make):
        yield Sample(np.zeros((3,)))
        yield Sample(np.array([[0.0, 0.0], [3.0, 4.0]]), 2, 1)
        yield Sample(np.zeros((3,)), 1)
        yield Sample(np.zeros((3,)), 3)
        yield Sample(np.array([0.0, 2.0, -2.0]), INF)


@op("linalg_vector_norm", ref=lambda x, ord, dtype: _norm(x, ord))
def _(make):
    import rustgrad as rg

    yield Sample(make(3, 4), 2, kwargs={"dtype": rg.float64})


@op(
    "logsumexp",
    ref=lambda x, dim, keepdim=False: special.logsumexp(x, axis=_axis(dim), keepdims=keepdim),
)
def _(make):
    yield Sample(make(3, 4), 1)
    yield Sample(make(3, 4), 0, True)
    yield Sample(make(2, 3, 2), (0, 2))
    yield Sample(make(0, 3), 1)


@op(
    "logsumexp",
    ref=lambda x, dim: special.logsumexp(x, axis=dim),
    skip={d: "the result is rounded by more than 1" for d in ("f16", "bf16")},
)
def _(make):
    yield Sample(make(3, 4, low=900.0, high=1000.0) if make.stretch == 1 else make(3, 4), -1)
