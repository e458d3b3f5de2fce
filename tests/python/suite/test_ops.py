"""Every op of the table, checked the same way on its samples.

A failure names the op, the sample's number and arguments, and the dtype:
``test_values[add-0(3x4,4)-bf16]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import rustgrad as rg

from . import promotion, samples  # noqa: F401
from .harness import (
    DTYPES,
    NAMES,
    Differentiable,
    agree,
    array,
    callable_of,
    caller,
    dot,
    dtype_name,
    expanded,
    forward,
    in_place_name,
    is_float,
    is_only_in_place,
    is_visible,
    outputs,
    pattern,
    share,
    strided_variants,
    table,
    tensor,
    tensors,
)
from .registry import CHECKS, CLASSES, OPS, Op, Sample

_C: Any = rg._C
TABLE = table()
# Finite differences of more elements than this take too long and show nothing new.
MOST_ELEMENTS = 40
# Ops whose result is a reduction, and whose samples stay valid when the last dimension grows.
REDUCTIONS = set(
    """
    sum mean prod amax amin max min argmax argmin all any norm var std logsumexp softmax log_softmax
    nansum cumsum cumprod logcumsumexp cummax cummin count_nonzero median nanmedian sort argsort
    linalg_vector_norm nanmean aminmax var_mean std_mean layer_norm rms_norm mse_loss l1_loss
    """.split()
)


def _samples(op: Op) -> list[Sample]:
    try:
        return op.samples()
    except Exception as error:  # A generator that fails must not keep other ops from being tested.
        _BROKEN[op.name] = error
        return []


_BROKEN: dict[str, Exception] = {}
CASES = [(op, i, s) for op in OPS if op.name in TABLE for i, s in enumerate(_samples(op))]


def _id(op: Op, i: int, sample: Sample) -> str:
    return f"{op.name}-{i}({sample!r})"


def each(
    check: str, only: Callable[[Op, dict[str, Any]], bool] = lambda op, entry: True
) -> pytest.MarkDecorator:
    """Parametrises over the samples of the ops for which a check applies."""
    params = []
    for op, i, sample in CASES:
        if only(op, TABLE[op.name]):
            marks = [pytest.mark.skip(reason=op.skip[check])] if check in op.skip else []
            params.append(pytest.param(op, sample, id=_id(op, i, sample), marks=marks))
    return pytest.mark.parametrize(("op", "sample"), params)


def each_dtype(
    check: str, only: Callable[[Op, dict[str, Any]], bool] = lambda op, entry: True
) -> pytest.MarkDecorator:
    """As :func:`each`, and over the dtypes that the op takes."""
    params = []
    for op, i, sample in CASES:
        if not only(op, TABLE[op.name]):
            continue
        for dtype in sample.runs(op.dtypes):
            reason = op.skip.get(check) or op.skip.get(dtype or "")
            marks = [pytest.mark.skip(reason=reason)] if reason else []
            name = f"{_id(op, i, sample)}-{dtype or 'as_is'}"
            params.append(pytest.param(op, sample, dtype, id=name, marks=marks))
    return pytest.mark.parametrize(("op", "sample", "dtype"), params)


def differentiable(op: Op, entry: dict[str, Any]) -> bool:
    """Whether gradients are to be checked."""
    return op.grad


# The table itself.


def test_every_visible_op_has_samples() -> None:
    have = {op.name for op in OPS}
    without = sorted(n for n, entry in TABLE.items() if is_visible(entry) and n not in have)
    assert not without, f"{len(without)} ops have no samples: {' '.join(without)}"


def test_samples_name_ops_of_the_table() -> None:
    unknown = sorted({op.name for op in OPS} - set(TABLE))
    assert not unknown, f"samples of ops that are not in the table: {' '.join(unknown)}"


def test_sample_generators_run() -> None:
    assert not _BROKEN, {name: repr(error) for name, error in _BROKEN.items()}
    empty = sorted(op.name for op in OPS if not _samples(op))
    assert not empty, f"no samples are yielded for {' '.join(empty)}"


def test_samples_are_reproducible() -> None:
    for op in OPS:
        for a, b in zip(_samples(op), _samples(op), strict=True):
            for x, y in zip(a.arrays(), b.arrays(), strict=True):
                np.testing.assert_array_equal(x, y, err_msg=op.name)


def test_options_of_ops_are_known() -> None:
    for op in OPS:
        unknown = set(op.skip) - set(CHECKS) - set(DTYPES)
        assert not unknown, f"{op.name}: skip names {unknown}"
        assert all(op.skip.values()), f"{op.name}: a skip needs a reason"
        assert (op.ref is None) != (op.check is None), f"{op.name}: give either ref= or check="
        assert set(op.dtypes.split("|")) <= set(CLASSES), f"{op.name}: dtypes={op.dtypes!r}"


def test_every_differentiable_op_has_gradients_checked() -> None:
    checked = {op.name for op in OPS if op.grad}
    missing = sorted(
        n
        for n, e in TABLE.items()
        if is_visible(e) and any(e["differentiable"]) and n not in checked
    )
    assert not missing, f"differentiable ops with grad=False: {' '.join(missing)}"


def test_op_names_are_unique() -> None:
    """Aliases need not be: ops that share one are overloads of each other."""
    assert len(TABLE) == len(_C.op_table())


@pytest.mark.parametrize("name", sorted(n for n, e in TABLE.items() if is_visible(e)))
def test_forms_exist_and_are_documented(name: str) -> None:
    entry = TABLE[name]
    for n in (entry["exported_name"], *entry["aliases"]):
        if entry["function"]:
            assert hasattr(rg, n), f"rustgrad.{n} is missing"
        if entry["nn"]:
            assert hasattr(_C, n)
        if entry["method"]:
            assert hasattr(rg.Tensor, n), f"Tensor.{n} is missing"
        if entry["in_place"]:
            assert hasattr(rg.Tensor, n + "_"), f"Tensor.{n}_ is missing"
    assert entry["doc"].strip(), "no docstring"
    assert entry["signatures"], "no signature"


# Values and types.


def _flat_reference(op: Op, sample: Sample) -> list[Any]:
    want = op.ref(*sample.args, **sample.kwargs)  # type: ignore[misc]
    return list(want) if isinstance(want, tuple | list) else [want]


def _judge(op: Op, cast: Sample, result: Any, factor: float = 1.0) -> None:
    """Compares a result with the reference on the same (rounded) inputs."""
    got = outputs(result)
    if op.check is not None:
        arrays = tuple(array(t) for t in got)
        op.check(arrays if len(arrays) != 1 else arrays[0], *cast.args, **cast.kwargs)
        return
    if cast.kind() == "b" and is_float(got[0]):
        # NumPy would compute the exponential of a bool in half precision.
        cast = cast.map(lambda a: a.astype(np.float64) if a.dtype.kind == "b" else a)
    with np.errstate(all="ignore"):
        want = _flat_reference(op, cast)
    assert len(got) == len(want), f"{len(got)} results, expected {len(want)}"
    for g, w in zip(got, want, strict=True):
        dtype = dtype_name(g) or ("f64" if isinstance(g, float) else None)
        if g is None or w is None:
            assert g is None and w is None
            continue
        agree(array(g), w, dtype, factor * op.tol * (4.0 if op.dtypes == "float" else 1.0))


@each_dtype("values")
def test_values(op: Op, sample: Sample, dtype: str | None) -> None:
    entry = TABLE[op.name]
    cast = sample.cast(dtype)
    result = caller(op, entry)(*(s := tensors(sample, dtype)).args, **s.kwargs)
    _judge(op, cast, result)
    for t, a in zip(_tensors_of(s), cast.arrays(), strict=True):
        np.testing.assert_array_equal(array(t), a.astype(array(t).dtype), "an input was changed")


def _tensors_of(sample: Sample) -> list[Any]:
    found: list[Any] = []
    for v in [*sample.args, *sample.kwargs.values()]:
        for x in v if isinstance(v, list | tuple) else [v]:
            if rg.is_tensor(x):
                found.append(x)
    return found


@each_dtype("dtype", lambda op, entry: promotion.is_ruled(op.name, entry))
def test_result_dtype(op: Op, sample: Sample, dtype: str | None) -> None:
    entry = TABLE[op.name]
    s = tensors(sample, dtype)
    want = promotion.expected(op.name, entry, list(s.args), s.kwargs)
    if want is None:
        pytest.skip("no operands")
    got = outputs(caller(op, entry)(*s.args, **s.kwargs))[0]
    if rg.is_tensor(got):
        assert NAMES[got.dtype] == want


@pytest.mark.parametrize("a", list(DTYPES))
@pytest.mark.parametrize("b", list(DTYPES))
def test_promote_types(a: str, b: str) -> None:
    assert rg.promote_types(DTYPES[a], DTYPES[b]) == DTYPES[promotion.promote(a, b)]


BINARY = [
    op.name
    for op in {o.name: o for o in OPS}.values()
    if op.dtypes == "any"
    and TABLE.get(op.name, {}).get("kernel") == "map"
    # The one refuses mixed types, as in PyTorch; the other has a target.
    and op.name not in ("heaviside", "copy_")
    and any(len(s.args) == 2 and len(s.arrays()) == 2 for s in _samples(op))
]


@pytest.mark.parametrize("name", BINARY)
def test_mixed_dtypes_promote(name: str) -> None:
    """All pairs of types, with dimensions, 0-d, and as numbers."""
    op = next(o for o in OPS if o.name == name)
    f = callable_of(op, TABLE[name])
    ones = np.ones((2,))
    for a in DTYPES:
        for b in DTYPES:
            if a in op.skip or b in op.skip:
                continue
            x, y = tensor(ones, a), tensor(ones, b)
            for left, right in [(x, y), (x, y[0]), (x[0], y), (x[0], y[0])]:
                want = promotion.expected(name, TABLE[name], [left, right], {})
                if want in op.skip:
                    continue
                got = f(left, right)
                assert NAMES[got.dtype] == want, f"{left!r} and {right!r}"
                assert got.shape == (() if left.dim() == right.dim() == 0 else (2,))
        for number in (True, 1, 1.0):
            want = promotion.expected(name, TABLE[name], [x, number], {})
            if want not in op.skip and "Scalar" in TABLE[name]["signatures"][0]:
                assert NAMES[f(x, number).dtype] == want, f"{x!r} and {number!r}"


# Layouts.


@each("noncontiguous")
def test_other_layouts_give_the_same_values(op: Op, sample: Sample) -> None:
    entry = TABLE[op.name]
    f = caller(op, entry)
    dtype = next((d for d in sample.runs(op.dtypes) if d not in op.skip), None)
    cast = sample.cast(dtype)
    names = {n for a in cast.arrays() for n in strided_variants(a)}
    for name in sorted(names):
        other = cast.map(lambda a, n=name: strided_variants(a).get(n, a))
        strided = other.map(share)
        _judge(op, cast, f(*strided.args, **strided.kwargs))


@each("noncontiguous", lambda op, entry: op.check is None)
def test_expanded_inputs_give_the_same_values(op: Op, sample: Sample) -> None:
    f = caller(op, TABLE[op.name])
    dtype = next((d for d in sample.runs(op.dtypes) if d not in op.skip), None)
    # Masks must keep their counts.
    kind = sample.kind()
    flat = sample.cast(dtype).map(lambda a: a if a.dtype.kind == "b" != kind else expanded(a))
    if not any(0 in a.strides and a.size > 1 for a in flat.arrays()):
        pytest.skip("nothing to expand")
    dense = flat.map(lambda a: tensor(np.array(a)))
    shared = flat.map(share)
    want = outputs(f(*dense.args, **dense.kwargs))
    got = outputs(f(*shared.args, **shared.kwargs))
    for g, w in zip(got, want, strict=True):
        # NaN-safe; sums may run in another order.
        agree(array(g), array(w), "f64" if is_float(g) else None)


@each("noncontiguous", differentiable)
def test_other_layouts_give_the_same_gradients(op: Op, sample: Sample) -> None:
    f = caller(op, TABLE[op.name])
    want = _gradients(Differentiable(f, sample))
    names = {n for a in sample.arrays() for n in strided_variants(a)}
    for name in sorted(names):

        def layout(a: np.ndarray, n: str = name) -> Any:
            return share(strided_variants(a).get(n, np.array(a)))

        other = Differentiable(f, sample, lambda a, _=None: layout(a))
        for g, w in zip(_gradients(other), want, strict=True):
            assert (g is None) == (w is None)
            if g is not None:
                agree(array(g), array(w), "f64")


def _gradients(d: Differentiable) -> tuple[Any, ...]:
    outs = [o for o in d(*d.leaves) if o.requires_grad]
    if not outs:
        return ()
    cotangents = [pattern(o, 7 + k) for k, o in enumerate(outs)]
    return rg.autograd.grad(outs, d.leaves, cotangents, allow_unused=True)


# Without elements.


def _metas(sample: Sample, dtype: str | None) -> Sample:
    return tensors(
        sample,
        dtype,
        lambda a, d=None: rg.empty(
            a.shape, dtype=tensor(a[:0] if a.ndim else a, d).dtype, device="meta"
        ),
    )


def _described(result: Any) -> list[tuple[tuple[int, ...], Any]]:
    return [(tuple(t.shape), t.dtype) for t in outputs(result) if rg.is_tensor(t)]


@each("meta", lambda op, e: e["kernel"] not in ("dynamic", "composite"))
def test_meta_tells_shapes_and_types(op: Op, sample: Sample) -> None:
    entry = TABLE[op.name]
    for dtype in sample.runs(op.dtypes):
        if dtype in op.skip:
            continue
        s = tensors(sample, dtype)
        real = _described(caller(op, entry)(*s.args, **s.kwargs))
        told = [(tuple(shape), d) for shape, d in _C.op_meta(entry["name"], *s.args, **s.kwargs)]
        assert told == real, dtype


@each("meta", lambda op, e: e["kernel"] != "dynamic" and e["returns"] != "Item")
def test_meta_device_gives_shapes_and_types(op: Op, sample: Sample) -> None:
    f = caller(op, TABLE[op.name])
    if not sample.arrays():
        pytest.skip("no tensors")
    dtype = next((d for d in sample.runs(op.dtypes) if d not in op.skip), None)
    s, m = tensors(sample, dtype), _metas(sample, dtype)
    result = f(*m.args, **m.kwargs)
    assert _described(result) == _described(f(*s.args, **s.kwargs))
    assert all(t.is_meta for t in outputs(result) if rg.is_tensor(t))


@each("meta", lambda op, entry: entry["kernel"] != "view")
def test_mixed_devices_raise(op: Op, sample: Sample) -> None:
    """A tensor without elements among others is refused, unless only its shape is looked at."""
    entry = TABLE[op.name]
    dtype = next((d for d in sample.runs(op.dtypes) if d not in op.skip), None)
    calls = [caller(op, entry)]
    if entry["in_place"]:
        calls.append(lambda x, *args, **kw: getattr(x, in_place_name(entry))(*args, **kw))
    places = len(sample.arrays())
    for place, call in [(p, c) for p in range(places) for c in calls if places > 1]:
        made = []

        def make(a: np.ndarray, d: str | None = None, place: int = place, made: Any = made) -> Any:
            made.append(tensor(a, d))
            is_meta = len(made) == place + 1
            return rg.empty_like(made[-1], device="meta") if is_meta else made[-1]

        s = tensors(sample, dtype, make)
        try:
            call(*s.args, **s.kwargs)
        except (RuntimeError, TypeError, NotImplementedError):
            continue
        assert entry["kernel"] == "composite"


# Derivatives.


def _small(d: Differentiable) -> None:
    if not d.leaves:
        pytest.skip("no float inputs")
    if sum(x.numel() for x in d.leaves) > MOST_ELEMENTS:
        pytest.skip("too many elements for finite differences; jvp = vjp checks it")


@each("gradcheck", differentiable)
def test_gradcheck(op: Op, sample: Sample) -> None:
    d = Differentiable(caller(op, TABLE[op.name]), sample)
    _small(d)
    rg.autograd.gradcheck(
        d,
        d.leaves,
        check_forward_ad=True,
        atol=1e-6 * op.tol,
        rtol=1e-5 * op.tol,
        check_grad_dtypes=True,
    )


@each("gradgradcheck", differentiable)
def test_gradgradcheck(op: Op, sample: Sample) -> None:
    d = Differentiable(caller(op, TABLE[op.name]), sample)
    _small(d)
    outs = [o for o in d(*d.leaves) if o.requires_grad]
    size = sum(x.numel() for x in d.leaves) + sum(o.numel() for o in outs)
    if not outs or size > 2 * MOST_ELEMENTS:
        pytest.skip("too many elements")
    cotangents = tuple(pattern(o, 3 + k).requires_grad_() for k, o in enumerate(outs))
    rg.autograd.gradgradcheck(
        d,
        d.leaves,
        cotangents,
        atol=1e-5 * op.tol,
        rtol=1e-4 * op.tol,
        check_fwd_over_rev=size <= MOST_ELEMENTS,
    )


@each("jvp", differentiable)
def test_jvp_is_the_transpose_of_vjp(op: Op, sample: Sample) -> None:
    """``<v, J u> = <J^T v, u>`` for random ``u``, ``v``, and again for the function
    ``(x, v) -> J(x)^T v``."""
    d = Differentiable(caller(op, TABLE[op.name]), sample)
    if not d.leaves:
        pytest.skip("no float inputs")
    _check_transpose(d, d.leaves, "order 1")
    live = [o for o in d(*d.leaves) if o.requires_grad]
    cotangents = tuple(pattern(o, 31 + k).requires_grad_() for k, o in enumerate(live))
    n = len(d.leaves)

    def vjp(*args: Any) -> tuple[Any, ...]:
        outs = [o for o in d(*args[:n]) if o.requires_grad]
        grads = rg.autograd.grad(
            outs, args[:n], list(args[n:]), create_graph=True, allow_unused=True
        )
        return tuple(g for g in grads if g is not None)

    if live:
        _check_transpose(vjp, (*d.leaves, *cotangents), "order 2")


def _check_transpose(f: Callable[..., Any], primals: tuple[Any, ...], what: str) -> None:
    us = [pattern(x, 11 + k) for k, x in enumerate(primals)]
    outs = outputs(f(*primals))
    vs = [pattern(o, 23 + k) for k, o in enumerate(outs)]
    pairs = [(o, v) for o, v in zip(outs, vs, strict=True) if o.requires_grad]
    vjps: tuple[Any, ...] = (None,) * len(primals)
    if pairs:
        vjps = rg.autograd.grad(
            [o for o, _ in pairs], primals, [v for _, v in pairs], allow_unused=True
        )
    jvps = forward(f, primals, us)
    right, left = dot(vjps, us), dot(vs, jvps)
    scale = max(abs(left), abs(right), 1.0)
    if np.isnan(left) and np.isnan(right):
        return
    assert left == right or abs(left - right) <= 1e-8 * scale, (
        f"{what}: <v, J u> = {left!r}, <J^T v, u> = {right!r}"
    )


@each("modes", differentiable)
def test_modes_agree_in_the_second_derivative(op: Op, sample: Sample) -> None:
    """``<v, D^2 f[u, w]>`` by each mode over each: forward and reverse, four ways."""
    d = Differentiable(caller(op, TABLE[op.name]), sample)
    live = [k for k, o in enumerate(d(*d.leaves)) if o.requires_grad]
    if not d.leaves or not live:
        pytest.skip("no float inputs or nothing is recorded")
    us, ws = ([pattern(x, seed + k) for k, x in enumerate(d.leaves)] for seed in (41, 53))
    vs = [pattern(d(*d.leaves)[k], 67 + k) for k in live]

    def slopes(*xs: Any) -> list[Any]:
        tangents = forward(d, xs, us)
        return [tangents[k] for k in live]

    def gradients(*xs: Any) -> list[Any]:
        outs = d(*xs)
        return list(
            rg.autograd.grad([outs[k] for k in live], xs, vs, create_graph=True, allow_unused=True)
        )

    found = {
        "forward over forward": dot(vs, forward(slopes, d.leaves, ws)),
        "reverse over forward": dot(_pull(slopes(*d.leaves), vs, d.leaves), ws),
        "forward over reverse": dot(us, forward(gradients, d.leaves, ws)),
        "reverse over reverse": dot(_pull(gradients(*d.leaves), us, d.leaves), ws),
    }
    values = np.array(list(found.values()))
    scale = max(1.0, float(np.abs(values).max()))
    assert np.isnan(values).all() or np.ptp(values) <= 1e-8 * scale * op.tol, found


def _pull(outs: Any, vs: Any, xs: Any) -> tuple[Any, ...]:
    """Gradients of ``<vs, outs>``; what is ``None`` or has no history gives none."""
    pairs = [(o, v) for o, v in zip(outs, vs, strict=True) if o is not None and o.requires_grad]
    if not pairs:
        return (None,) * len(xs)
    return rg.autograd.grad([o for o, _ in pairs], xs, [v for _, v in pairs], allow_unused=True)


@each("gradcheck", differentiable)
def test_only_what_requires_grad_gets_one(op: Op, sample: Sample) -> None:
    """Each float input alone requires grad: it gets the same gradient, and no other gets any."""
    f = caller(op, TABLE[op.name])
    d = Differentiable(f, sample)
    if not d.leaves:
        pytest.skip("no float inputs")
    want = _gradients(d)
    if not want:
        pytest.skip("nothing is recorded")
    for i, x in enumerate(d.leaves):
        args = [y if k == i else y.detach() for k, y in enumerate(d.leaves)]
        every = d(*args)
        all_outs = d(*d.leaves)
        cotangents = [
            pattern(o, 7 + k) for k, o in enumerate(o for o in all_outs if o.requires_grad)
        ]
        positions = [k for k, o in enumerate(all_outs) if o.requires_grad]
        pairs = [
            (every[k], v)
            for k, v in zip(positions, cotangents, strict=True)
            if every[k].requires_grad
        ]
        if not pairs:
            assert want[i] is None or not np.any(array(want[i]))
            continue
        rg.autograd.backward([o for o, _ in pairs], [v for _, v in pairs])
        assert all(y.grad is None for k, y in enumerate(args) if k != i)
        if want[i] is None:
            assert x.grad is None
        else:
            assert x.grad is not None and x.grad.shape == x.shape and x.grad.dtype == x.dtype
            agree(array(x.grad), array(want[i]), "f64")
        x.grad = None


GRAD = {op.name for op in OPS if op.grad}


@each("gradcheck", lambda op, e: op.name not in GRAD and not is_only_in_place(e))
def test_results_without_gradient_are_not_recorded(op: Op, sample: Sample) -> None:
    d = Differentiable(caller(op, TABLE[op.name]), sample)
    for o in d(*d.leaves):
        assert not o.requires_grad


LOW = ("f32", "f16", "bf16")


@each("gradcheck", differentiable)
def test_gradients_in_other_float_types(op: Op, sample: Sample) -> None:
    """Gradients have their input's type, and agree with those of float64."""
    f = caller(op, TABLE[op.name])
    if sample.kind() != "f":
        pytest.skip("no float inputs")
    for dtype in LOW:
        if dtype in op.skip:
            continue
        want = Differentiable(f, sample.cast(dtype))
        low = Differentiable(
            f,
            sample.cast(dtype),
            lambda a, _=None, t=dtype: tensor(a, t if a.dtype.kind == "f" else None),
        )
        low_outs = [o for o in low(*low.leaves) if o.requires_grad]
        outs = [o for o in want(*want.leaves) if o.requires_grad]
        if not outs:
            return
        vs = [pattern(o, 7 + k) for k, o in enumerate(low_outs)]
        got = rg.autograd.grad(low_outs, low.leaves, vs, allow_unused=True)
        ws = [tensor(np.asarray(array(v), dtype=np.float64)) for v in vs]
        exact = rg.autograd.grad(outs, want.leaves, ws, allow_unused=True)
        for g, w, x in zip(got, exact, low.leaves, strict=True):
            assert (g is None) == (w is None)
            if g is not None:
                assert g.dtype == x.dtype
                scale = max(1.0, float(np.nanmax(np.abs(array(w)), initial=0.0)))
                agree(array(g), array(w), dtype, 4 * op.tol * min(scale, 100.0))


# In place, as a method, into out=.


def _in_place(op: Op, entry: dict[str, Any]) -> bool:
    return bool(entry["in_place"])


@each_dtype("in_place", lambda op, entry: entry["in_place"])
def test_in_place_gives_the_same_values(op: Op, sample: Sample, dtype: str | None) -> None:
    entry = TABLE[op.name]
    s = tensors(sample, dtype)
    if not s.args or not rg.is_tensor(s.args[0]):
        pytest.skip("the first argument is a number")
    x, *rest = s.args
    want = outputs(caller(op, entry)(*s.args, **s.kwargs))[0]
    name = in_place_name(entry)
    if op.check is not None:
        rg.manual_seed(1234)
    version, ptr = x._version, x.data_ptr()
    if want.shape != x.shape or not rg.can_cast(want.dtype, x.dtype):
        before = array(x)
        with pytest.raises(RuntimeError):
            getattr(x, name)(*rest, **s.kwargs)
        np.testing.assert_array_equal(array(x), before, "a failed write changed the tensor")
        assert x._version == version
        return
    result = getattr(x, name)(*rest, **s.kwargs)
    assert result is x
    assert x._version > version, "the version does not count the write"
    assert x.data_ptr() == ptr
    agree(array(x), array(want).astype(array(x).dtype), dtype_name(x))


@each("in_place", lambda op, e: op.grad and e["in_place"])
def test_in_place_gives_the_same_gradients(op: Op, sample: Sample) -> None:
    entry = TABLE[op.name]
    d = Differentiable(caller(op, entry), sample)
    first = d.marked.args[0] if d.marked.args else None
    if not any(first is x for x in d.leaves):
        pytest.skip("the first argument is not a float tensor")
    want = outputs(d(*d.leaves))[0]
    if want.shape != first.shape:
        pytest.skip("the result does not fit")
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        getattr(first, in_place_name(entry))(*d.marked.args[1:], **d.marked.kwargs)
    assert first._version == 0

    def in_place(x: Any, *rest: Any, **kwargs: Any) -> Any:
        if op.check is not None:
            rg.manual_seed(1234)
        y = x.clone()
        return getattr(y, in_place_name(entry))(*rest, **kwargs)

    other = Differentiable(in_place, sample)
    (got,) = other(*other.leaves)
    assert got.requires_grad == want.requires_grad
    if not want.requires_grad:
        return
    v = pattern(want, 5)
    a = rg.autograd.grad(want, d.leaves, v, create_graph=True, allow_unused=True)
    b = rg.autograd.grad(got, other.leaves, v, create_graph=True, allow_unused=True)
    for x, y in zip(a, b, strict=True):
        _agree_or_zero(y, x)
    firsts = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and x.requires_grad]
    if firsts:
        ws = [pattern(x, 40 + k) for k, (x, _) in enumerate(firsts)]
        a = rg.autograd.grad([x for x, _ in firsts], d.leaves, ws, allow_unused=True)
        b = rg.autograd.grad([y for _, y in firsts], other.leaves, ws, allow_unused=True)
        for x, y in zip(a, b, strict=True):
            _agree_or_zero(y, x)


def _agree_or_zero(got: Any, want: Any) -> None:
    """Compares gradients; none at all is zero."""
    if got is not None and want is not None:
        agree(array(got), array(want), "f64")
    else:
        assert all(t is None or not np.any(array(t)) for t in (got, want))


@each("method", lambda op, e: e["method"] and (e["function"] or e["nn"]) and not op.method_only)
def test_method_is_the_function(op: Op, sample: Sample) -> None:
    entry = TABLE[op.name]
    dtype = next((d for d in sample.runs(op.dtypes) if d not in op.skip), None)
    s = tensors(sample, dtype)
    if not s.args or not rg.is_tensor(s.args[0]):
        pytest.skip("the first argument is not a tensor")
    want = outputs(caller(op, entry)(*s.args, **s.kwargs))
    for name in (entry["exported_name"], *entry["aliases"]):
        if op.check is not None:
            rg.manual_seed(1234)
        got = outputs(getattr(s.args[0], name)(*s.args[1:], **s.kwargs))
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            np.testing.assert_array_equal(array(g), array(w))


@each("out", lambda op, e: e["function"] and e["kernel"] in ("map", "compute"))
def test_out_is_filled(op: Op, sample: Sample) -> None:
    entry = TABLE[op.name]
    f = caller(op, entry)
    dtype = next((d for d in sample.runs(op.dtypes) if d not in op.skip), None)
    s = tensors(sample, dtype)
    result = f(*s.args, **s.kwargs)
    want = outputs(result)
    if not all(rg.is_tensor(w) for w in want) or (s.args and want[0] is s.args[0]):
        pytest.skip("the result is not a new tensor")
    outs = [rg.empty(w.shape, dtype=w.dtype) for w in want]
    out = tuple(outs) if isinstance(result, tuple) else outs[0]
    versions = [o._version for o in outs]
    got = f(*s.args, **s.kwargs, out=out)
    assert got is out or all(g is o for g, o in zip(outputs(got), outs, strict=True))
    for o, w, v in zip(outs, want, versions, strict=True):
        np.testing.assert_array_equal(array(o), array(w))
        assert o._version > v
    if is_float(outs[0]):
        outs[0].requires_grad_()
        with pytest.raises(RuntimeError, match="out="):
            f(*s.args, **s.kwargs, out=out)


# Large.


def _large_cases() -> Iterator[Any]:
    for op in OPS:
        entry = TABLE.get(op.name)
        if entry is None or "large" in op.skip or op.name in _BROKEN:
            continue
        if entry["kernel"] != "map" and op.name not in REDUCTIONS:
            continue
        for i, sample in enumerate(_samples(op)):
            sizes = [a.size for a in sample.arrays()]
            if sizes and max(sizes) > 1 and min(sizes) > 0 and len(sample.args) < 9:
                yield pytest.param(op, i, id=_id(op, i, sample))
                break


@pytest.mark.parametrize(("op", "i"), list(_large_cases()))
def test_large(op: Op, i: int) -> None:
    """More elements than a kernel's block or a vector register, and not a multiple of them."""
    entry = TABLE[op.name]
    sample = op.samples(stretch=1709)[i]
    if max(a.size for a in sample.arrays()) < 5000:
        sample = op.samples(stretch=5003)[i]
    wanted = [d for d in ("f32", "f64", "i32", "bf16", "bool") if d in sample.runs(op.dtypes)]
    for dtype in [d for d in wanted if d not in op.skip][:3]:
        s = tensors(sample, dtype)
        factor = 30.0 if op.name in REDUCTIONS else 1.0
        if dtype == "bf16" and op.name in REDUCTIONS:
            continue
        _judge(op, sample.cast(dtype), caller(op, entry)(*s.args, **s.kwargs), factor)
    if op.grad and sample.kind() == "f":
        d = Differentiable(caller(op, entry), sample)
        _check_transpose(d, d.leaves, "large")
