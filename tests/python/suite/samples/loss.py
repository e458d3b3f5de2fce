"""Losses."""

import numpy as np
from scipy import special

from ..registry import Sample, op


def _reduced(loss, reduction="mean"):
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](loss)


def _elementwise(name, f, *, low=-2.0, high=2.0, **options):
    """The three reductions, 0-d, empty, broadcasting."""

    @op(
        name,
        ref=lambda x, y, reduction="mean", *p, **k: _reduced(f(x, y, *p, **k), reduction),
        **options,
    )
    def _(make):
        def two(*shape):
            return make(*shape, low=low, high=high), make(*shape, low=low, high=high)

        yield Sample(*two(3, 4))
        yield Sample(*two(2, 3), kwargs={"reduction": "sum"})
        yield Sample(*two(2, 3), kwargs={"reduction": "none"})
        yield Sample(*two())
        yield Sample(*two(0, 3), kwargs={"reduction": "none"})
        yield Sample(make(3, 4, low=low, high=high), make(4, low=low, high=high))


_elementwise("mse_loss", lambda x, y: (x - y) ** 2)
_elementwise("l1_loss", lambda x, y: np.abs(x - y))


def _smooth_l1(x, y, beta=1.0):
    d = np.abs(x - y)
    return np.where(d < beta, 0.5 * d**2 / beta, d - 0.5 * beta) if beta else d


def _huber(x, y, delta=1.0):
    d = np.abs(x - y)
    return np.where(d < delta, 0.5 * d**2, delta * (d - 0.5 * delta))


_elementwise("smooth_l1_loss", _smooth_l1)
_elementwise("huber_loss", _huber)


@op("smooth_l1_loss", ref=lambda x, y, reduction, beta: _reduced(_smooth_l1(x, y, beta), reduction))
def _(make):
    yield Sample(make(3, 4), make(3, 4), kwargs={"reduction": "none", "beta": 0.4})
    yield Sample(make(3, 4), make(3, 4), kwargs={"reduction": "mean", "beta": 2.0})
    yield Sample(make(3, 4), make(3, 4), kwargs={"reduction": "sum", "beta": 0.0})
    # Where the target is met the slope is 0 and the curvature is 1 / beta.
    yield Sample(
        np.array([1.0, 2.0]), np.array([1.0, 2.5]), kwargs={"reduction": "none", "beta": 2.0}
    )


@op("huber_loss", ref=lambda x, y, reduction, delta: _reduced(_huber(x, y, delta), reduction))
def _(make):
    yield Sample(make(3, 4), make(3, 4), kwargs={"reduction": "none", "delta": 0.4})
    yield Sample(make(3, 4), make(3, 4), kwargs={"reduction": "mean", "delta": 2.0})
    yield Sample(
        np.array([1.0, 2.0]), np.array([1.0, 2.5]), kwargs={"reduction": "none", "delta": 2.0}
    )


for _name, _f in (("smooth_l1_loss", _smooth_l1), ("huber_loss", _huber)):

    @op(
        _name,
        ref=lambda x, y, f=_f: np.mean(f(x, y)),
        skip={"gradcheck": "infinite", "gradgradcheck": "infinite"},
    )
    def _(make):
        # The branch that is not taken must not turn the gradient into NaN.
        yield Sample(np.array([np.inf, 0.5]), np.zeros(2))


def _bce(x, y, weight=None):
    log, log1m = (np.maximum(np.log(v), -100) for v in (x, 1 - x))
    loss = -(y * log + (1 - y) * log1m)
    return loss if weight is None else loss * weight


def _bce_ref(x, y, weight=None, reduction="mean"):
    return _reduced(_bce(x, y, weight), reduction)


# log1p(-x) of an x rounded to a half type near 1.
@op("binary_cross_entropy", ref=_bce_ref, tol=2)
def _(make):
    def p(*shape):
        return make(*shape, low=0.1, high=0.9)

    yield Sample(p(3, 4), p(3, 4))
    yield Sample(p(2, 3), p(2, 3), make(2, 3), kwargs={"reduction": "sum"})
    yield Sample(p(2, 3), p(2, 3), make(3), kwargs={"reduction": "none"})
    yield Sample(p(3), make(3, kind="bool").astype(np.float64))
    yield Sample(p(), p())


@op(
    "binary_cross_entropy",
    ref=_bce_ref,
    skip={"gradcheck": "the ends of the interval", "gradgradcheck": "the ends of the interval"},
)
def _(make):
    yield Sample(
        np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0]), kwargs={"reduction": "none"}
    )


def _bce_logits(x, y, weight=None, pos_weight=None, reduction="mean"):
    w = 1.0 if pos_weight is None else pos_weight
    loss = -(w * y * special.log_expit(x) + (1 - y) * special.log_expit(-x))
    return _reduced(loss if weight is None else loss * weight, reduction)


def _torch_bce_logits(x, y, weight=None, pos_weight=None, reduction="mean"):
    import torch.nn.functional as F  # noqa: N812

    return F.binary_cross_entropy_with_logits(
        x, y, weight, pos_weight=pos_weight, reduction=reduction
    )


@op("binary_cross_entropy_with_logits", ref=_bce_logits, torch=_torch_bce_logits)
def _(make):
    def p(*shape):
        return make(*shape, low=0.1, high=0.9)

    yield Sample(make(3, 4), p(3, 4))
    yield Sample(make(2, 3), p(2, 3), make(2, 3), None, "sum")
    yield Sample(make(2, 3), p(2, 3), None, make(3, low=0.5), "none")
    yield Sample(make(2, 3), p(2, 3), make(3), make(3, low=0.5))
    yield Sample(
        np.array([90.0, -90.0, 90.0, -90.0]), np.array([0.0, 0.0, 1.0, 1.0]), None, None, "none"
    )
    yield Sample(make(), p())


def _kl(x, y, reduction="mean", log_target=False):
    loss = np.exp(y) * (y - x) if log_target else special.xlogy(y, y) - y * x
    return loss.sum() / x.shape[0] if reduction == "batchmean" else _reduced(loss, reduction)


def _torch_kl(x, y, reduction="mean", log_target=False):
    import torch.nn.functional as F  # noqa: N812

    return F.kl_div(x, y, reduction=reduction, log_target=log_target)


@op("kl_div", ref=_kl, torch=_torch_kl)
def _(make):
    yield Sample(make(3, 4, high=0.0), make(3, 4, low=0.1, high=1.0))
    yield Sample(make(2, 3, high=0.0), make(2, 3, low=0.1, high=1.0), "batchmean")
    yield Sample(make(2, 3, high=0.0), make(2, 3, high=0.0), "sum", True)
    yield Sample(make(2, 3, high=0.0), make(3, low=0.1, high=1.0), kwargs={"reduction": "none"})


# Losses of classes


def _nll_parts(x, y, weight, ignore_index):
    dim = 1 if x.ndim > 1 else 0
    counted = y != ignore_index
    safe = np.where(counted, y, 0)
    w = np.ones(x.shape[dim]) if weight is None else weight
    picked = np.take_along_axis(x, np.expand_dims(safe, dim), dim).reshape(y.shape)
    scale = np.where(counted, w[safe], 0.0)
    return np.where(counted, -picked * scale, 0.0), scale, dim


def _by_weight(loss, scale, reduction):
    return loss.sum() / scale.sum() if reduction == "mean" else _reduced(loss, reduction)


def _nll(x, y, weight=None, reduction="mean", ignore_index=-100):
    loss, scale, _ = _nll_parts(x, y, weight, ignore_index)
    return _by_weight(loss, scale, reduction)


def _cross_entropy(x, y, weight=None, reduction="mean", ignore_index=-100, label_smoothing=0.0):
    dim = 1 if x.ndim > 1 else 0
    classes = x.shape[dim]
    log_p = special.log_softmax(x, axis=dim)
    w = np.ones(classes) if weight is None else weight
    weighted = log_p * w.reshape(-1, *[1] * (x.ndim - dim - 1))
    if y.dtype.kind == "f":
        y = y * (1 - label_smoothing) + label_smoothing / classes
        return _reduced(-(weighted * y).sum(dim), reduction)
    loss, scale, _ = _nll_parts(log_p, y, weight, ignore_index)
    uniform = np.where(y != ignore_index, -weighted.sum(dim), 0.0) / classes
    return _by_weight((1 - label_smoothing) * loss + label_smoothing * uniform, scale, reduction)


def _torch_nll(x, y, weight=None, reduction="mean", ignore_index=-100):
    import torch.nn.functional as F  # noqa: N812

    return F.nll_loss(x, y, weight, reduction=reduction, ignore_index=ignore_index)


def _torch_cross_entropy(
    x, y, weight=None, reduction="mean", ignore_index=-100, label_smoothing=0.0
):
    import torch.nn.functional as F  # noqa: N812

    return F.cross_entropy(
        x,
        y,
        weight,
        reduction=reduction,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )


def _classes(make, *shape, n=4):
    return make(*shape, kind="int", low=0, high=n)


def _class_samples(make):
    yield Sample(make(3, 4), _classes(make, 3))
    yield Sample(make(3, 4), _classes(make, 3), None, "sum")
    yield Sample(make(3, 4), _classes(make, 3), kwargs={"reduction": "none"})
    yield Sample(make(4), _classes(make))
    yield Sample(make(2, 4, 3), _classes(make, 2, 3))
    yield Sample(make(2, 4, 1, 2), _classes(make, 2, 1, 2), make(4, low=0.5), "none")
    yield Sample(make(3, 4), _classes(make, 3), make(4, low=0.5))
    yield Sample(make(3, 4), np.array([1, 2, 0]), None, "mean", 2)
    yield Sample(make(4, 4), np.array([1, -100, 0, -100]), make(4, low=0.5))
    yield Sample(make(2, 4), np.array([-100, -100]), None, "none")
    yield Sample(make(0, 4), _classes(make, 0), None, "sum")


# A class dimension must not be stretched under class numbers.
FIXED = {"large": "the classes are the last dimension"}

op("nll_loss", ref=_nll, torch=_torch_nll, skip=FIXED)(_class_samples)
op("cross_entropy", ref=_cross_entropy, torch=_torch_cross_entropy, skip=FIXED)(_class_samples)


@op("cross_entropy", ref=_cross_entropy, torch=_torch_cross_entropy, skip=FIXED)
def _(make):
    smooth = {"label_smoothing": 0.2}
    yield Sample(make(3, 4), _classes(make, 3), kwargs=smooth)
    yield Sample(make(3, 4), np.array([1, -100, 3]), make(4, low=0.5), kwargs=smooth)
    yield Sample(make(3, 4), np.array([1, -100, 3]), None, "none", -100, 0.2)
    yield Sample(make(2, 4, 2), _classes(make, 2, 2), None, "sum", -100, 0.2)
    yield Sample(make(4), _classes(make), kwargs=smooth)
    # Probabilities of the classes.
    yield Sample(make(3, 4), make(3, 4, low=0.0, high=1.0))
    yield Sample(make(3, 4), make(3, 4, low=0.0, high=1.0), make(4, low=0.5), "sum", -100, 0.1)
    yield Sample(make(2, 4, 2), make(2, 4, 2, low=0.0, high=1.0), None, "none")
    yield Sample(make(2, 4, 2), make(2, 4, 2, low=0.0, high=1.0), make(4, low=0.5))
    yield Sample(make(4), make(4, low=0.0, high=1.0), kwargs=smooth)
    # Scores that overflow an exponential.
    yield Sample(make(3, 4, low=-900.0, high=900.0), _classes(make, 3))
