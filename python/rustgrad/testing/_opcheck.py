"""Whether an op of one's own keeps what ops promise."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

from rustgrad import _C
from rustgrad.autograd import forward_ad
from rustgrad.autograd.function import Function, FunctionCtx
from rustgrad.autograd.grad_mode import set_grad_enabled
from rustgrad.autograd.gradcheck import gradcheck, gradgradcheck
from rustgrad.utils._tree import leaves, map_tree

from ._comparison import assert_close

# What a result in a type may differ by from the one in float64, relatively and absolutely.
_TOLERANCES = {
    _C.float64: (1e-7, 1e-7),
    _C.float32: (1e-4, 1e-4),
    _C.float16: (2e-2, 2e-2),
    _C.bfloat16: (1e-1, 1e-1),
}


class OpCheckError(AssertionError):
    """An op does not keep what ops promise; says all that was found."""


def opcheck(
    op: Any,
    args: Any,
    kwargs: dict[str, Any] | None = None,
    *,
    test_utils: str | Sequence[str] = "ALL",
    raise_exception: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
) -> dict[str, Any]:
    """Checks a custom function, or any function of tensors, in the ways in which ops go wrong.

    What requires grad among the arguments is differentiated: all float tensors, if nothing
    does. They may be of any float type: derivatives are checked on copies in float64. The
    arguments themselves stay as they are.

    - ``test_inputs_unchanged``: the op writes into no argument, unless it returns it;
    - ``test_determinism``: two calls, and two backwards, give the same bits;
    - ``test_gradcheck``: first derivatives are those of differences, in float64;
    - ``test_gradgradcheck``: second derivatives are, by reverse and forward mode;
    - ``test_forward_ad``: forward mode is right; so is the ``jvp`` of a Function that has one;
    - ``test_dtypes``: results and gradients in float32, and in float16 and bfloat16 if the op
      runs in them, are those of float64, and keep their type;
    - ``test_noncontiguous``: other strides of inputs and cotangents change nothing;
    - ``test_broadcasting``: of inputs of one shape, one that would broadcast to it raises, or
      does what it does expanded, to outputs of that shape;
    - ``test_undefined_grad``: a cotangent that is missing counts as zeros;
    - ``test_needs_input_grad``: each input gets the same gradient if no other requires one;
    - ``test_saved_tensors``: when results are gone, all that was kept for backward is, without
      the garbage collector.

    A test for which an op has nothing to check (undefined cotangents of a single output) succeeds.

    Args:
        op: a subclass of :class:`rustgrad.autograd.Function`, or a callable that returns a tensor
            or a tuple of them.
        args: its arguments: a tuple, in which tensors may also stand in lists and tuples.
        kwargs: its named arguments.
        test_utils: ``"ALL"``, or the name or names of tests: an op that is meant to be
            differentiated once, for instance, does without ``test_gradgradcheck``.
        raise_exception: raise if a test fails; otherwise failures are returned.
        rtol, atol: tolerances of derivatives in float64, as in :func:`gradcheck`.

    Returns:
        For each test ``"SUCCESS"``, or the exception.

    Raises:
        OpCheckError: lists each test that failed, and why.
        ValueError: there is no such test, or only one of ``rtol`` and ``atol`` was given.
        TypeError: ``op`` cannot be called, or ``args`` is no tuple.

    >>> import rustgrad as rg
    >>> def softsign(x):
    ...     return x / (1 + x.abs())
    >>> set(rg.testing.opcheck(softsign, (rg.tensor([0.5, -2.0]),)).values())
    {'SUCCESS'}
    >>> wrong = lambda x: x.mul_(2) + 1
    >>> rg.testing.opcheck(wrong, (rg.ones(2),), test_utils="test_inputs_unchanged")
    Traceback (most recent call last):
        ...
    rustgrad.testing._opcheck.OpCheckError: opcheck(<lambda>): 1 of 1 tests failed
    <BLANKLINE>
    test_inputs_unchanged: tensor 0 of the arguments was written in place, and is not returned: ...
    """
    if (rtol is None) != (atol is None):
        raise ValueError("opcheck(op, ...): if you specify one of rtol/atol, you must specify both")
    if not isinstance(args, (tuple, list)):
        raise TypeError(
            f"opcheck(op, args, ...): args must be a tuple of the op's arguments, but got "
            f"{type(args).__name__}"
        )
    names = tuple(_TESTS) if test_utils == "ALL" else test_utils
    names = (names,) if isinstance(names, str) else tuple(names)
    if unknown := sorted(set(names) - set(_TESTS)):
        raise ValueError(
            f"opcheck(op, ..., test_utils={test_utils!r}): there is no {', '.join(unknown)}; the "
            f"tests are {', '.join(_TESTS)}"
        )
    case = _Case(op, tuple(args), dict(kwargs or {}), rtol, atol)
    results: dict[str, Any] = {}
    for name in names:
        try:
            _TESTS[name](case)
            results[name] = "SUCCESS"
        except Exception as error:
            results[name] = error
    failures = {name: e for name, e in results.items() if e != "SUCCESS"}
    if failures and raise_exception:
        lines = [f"opcheck({case.name}): {len(failures)} of {len(names)} tests failed"]
        for name, e in failures.items():
            kind = "" if isinstance(e, AssertionError) else f"{type(e).__name__}: "
            lines.append(f"{name}: {kind}{e}".replace("\n", "\n    "))
        raise OpCheckError("\n\n".join(lines)) from next(iter(failures.values()))
    return results


class _Case:
    """An op as a function of its float tensors."""

    def __init__(
        self, op: Any, args: tuple, kwargs: dict, rtol: float | None, atol: float | None
    ) -> None:
        self.op = op
        self.is_function = isinstance(op, type) and issubclass(op, Function)
        self.call = op.apply if self.is_function else op
        if not callable(self.call) or (isinstance(op, type) and not self.is_function):
            raise TypeError(
                f"opcheck(op, ...): op must be a subclass of autograd.Function or a function of "
                f"tensors, but got {op!r}"
            )
        self.name = getattr(op, "__name__", repr(op))
        self.tree = (args, kwargs)
        self.rtol, self.atol = rtol, atol
        self.floats = [t for t in leaves(self.tree) if _is_float(t)]
        some = any(t.requires_grad for t in self.floats)
        self.wanted = [t.requires_grad or not some for t in self.floats]

    def arguments(self, xs: Sequence[Any]) -> tuple[tuple, dict]:
        """The arguments with ``xs`` for the float tensors."""
        left = iter(xs)
        return map_tree(lambda t: next(left) if _is_float(t) else t, self.tree)

    def __call__(self, *xs: Any) -> tuple:
        """The results that are tensors."""
        args, kwargs = self.arguments(xs)
        result = self.call(*args, **kwargs)
        return tuple(y for y in _several(result) if _C.is_tensor(y))

    def inputs(self, dtype: Any = None, make: Callable[[Any], Any] | None = None) -> list:
        """New float tensors in place of the arguments; those that are wanted require grad."""
        made = []
        for t, wanted in zip(self.floats, self.wanted, strict=True):
            x = t.detach().to(t.dtype if dtype is None else dtype).clone()
            made.append((x if make is None else make(x)).requires_grad_(wanted))
        return made

    def gradients(self, ys: Sequence[Any], xs: Sequence[Any], vs: Sequence[Any]) -> list:
        """Those of ``<vs, ys>`` by the inputs that require grad; zeros where there is none."""
        wanted = [x for x in xs if x.requires_grad]
        pairs = [(y, v) for y, v in zip(ys, vs, strict=True) if y.requires_grad and v is not None]
        if not pairs or not wanted:
            return [_C.zeros_like(x.detach()) for x in wanted]
        outs, cotangents = zip(*pairs, strict=True)
        grads = _C.grad(outs, wanted, cotangents, True, False, True)
        return [
            _C.zeros_like(x.detach()) if g is None else g
            for g, x in zip(grads, wanted, strict=True)
        ]


def _several(result: Any) -> Sequence[Any]:
    return result if isinstance(result, (tuple, list)) else (result,)


def _tensors(tree: Any) -> list:
    return [t for t in leaves(tree) if _C.is_tensor(t)]


def _is_float(t: Any) -> bool:
    return _C.is_tensor(t) and t.is_floating_point()


def _cotangent(like: Any) -> Any:
    """Values without symmetry, in [0.5, 1.5), in the type of ``like``."""
    k = _C.arange(1, like.numel() + 1, dtype=_C.float64)
    values = (k * 0.6180339887498949) % 1.0 + 0.5
    return values.reshape(like.shape).to(like.dtype)


def _cotangents(ys: Sequence[Any]) -> list:
    return [_cotangent(y) if y.is_floating_point() else None for y in ys]


def _same(what: str, actual: Any, expected: Any, rtol: float = 1e-7, atol: float = 1e-7) -> None:
    """Asserts that values are close, in float64."""
    if actual.shape != expected.shape:
        raise AssertionError(
            f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
        )
    a, e = actual.detach(), expected.detach()
    if e.is_floating_point():
        a, e = a.double(), e.double()
    assert_close(a, e, rtol=rtol, atol=atol, equal_nan=True, msg=lambda text: f"{what}: {text}")


# The tests.


def _test_inputs_unchanged(case: _Case) -> None:
    for mode in (False, True):
        xs = [x.detach() for x in case.inputs()]
        args, kwargs = case.arguments(xs)
        others = _tensors((args, kwargs))
        before = [t.detach().clone() for t in others]
        with set_grad_enabled(mode):
            result = case.call(*args, **kwargs)
        returned = _several(result)
        for k, (t, old) in enumerate(zip(others, before, strict=True)):
            if not _C.equal(t.detach().nan_to_num(), old.nan_to_num()) and not any(
                y is t for y in returned
            ):
                raise AssertionError(
                    f"tensor {k} of the arguments was written in place, and is not returned: write "
                    "into a copy, or name it in ctx.mark_dirty and return it"
                )


def _test_determinism(case: _Case) -> None:
    xs = case.inputs()
    runs = []
    for _ in range(2):
        ys = case(*xs)
        vs = _cotangents(ys)
        runs.append((ys, case.gradients(ys, xs, vs), case.gradients(ys, xs, vs)))
    (ys, g, again), (zs, h, _) = runs
    for what, first, second in (
        ("two calls give different results", ys, zs),
        ("two backwards of one call give different gradients", g, again),
        ("backwards of two calls give different gradients", g, h),
    ):
        for k, (a, b) in enumerate(zip(first, second, strict=True)):
            if not _C.equal(a.detach().nan_to_num(), b.detach().nan_to_num()):
                raise AssertionError(f"{what}: number {k} differs")


def _doubles(case: _Case) -> list:
    xs = case.inputs(_C.float64)
    return xs if any(x.requires_grad for x in xs) else []


def _test_gradcheck(case: _Case) -> None:
    if xs := _doubles(case):
        gradcheck(case, xs, check_grad_dtypes=True, rtol=case.rtol, atol=case.atol)


def _test_gradgradcheck(case: _Case) -> None:
    xs = _doubles(case)
    if any(y.requires_grad for y in (case(*xs) if xs else ())):
        gradgradcheck(case, xs, check_fwd_over_rev=True, rtol=case.rtol, atol=case.atol)


def _test_forward_ad(case: _Case) -> None:
    xs = _doubles(case)
    if not xs:
        return
    gradcheck(
        case, xs, check_forward_ad=True, check_backward_ad=False, rtol=case.rtol, atol=case.atol
    )
    if not (case.is_function and "jvp" in vars(case.op)):
        return
    # The engine derives forward mode from backward: the function's own rule must say the same.
    us = [_cotangent(x.detach()) if x.requires_grad else None for x in xs]
    with forward_ad.dual_level() as level:
        duals = [
            x if u is None else forward_ad.make_dual(x, u, level=level)
            for x, u in zip(xs, us, strict=True)
        ]
        pairs = [forward_ad.unpack_dual(y, level=level) for y in case(*duals)]
    ctx = _ForwardCtx()
    args, kwargs = case.arguments([x.detach() for x in xs])
    if kwargs:
        raise AssertionError("jvp takes no named arguments: give all in args")
    if case.op._has_setup_context:
        result = case.op.forward(*args)
        case.op.setup_context(ctx, args, result)
    else:
        case.op.forward(ctx, *args)
    left = iter(us)
    tangents = case.op.jvp(ctx, *(next(left) if _is_float(a) else None for a in args))
    for k, ((y, want), got) in enumerate(zip(pairs, _several(tangents), strict=True)):
        zero = _C.zeros_like(y.detach())
        what = f"output {k} of jvp is not what its backward says"
        _same(what, zero if got is None else got, zero if want is None else want)


class _ForwardCtx(FunctionCtx):
    """A context whose saved tensors are those saved for forward mode, if any are."""

    def save_for_forward(self, *tensors: Any) -> None:
        self.to_save = tensors


def _test_dtypes(case: _Case) -> None:
    if not case.floats:
        return
    for dtype in (_C.float32, _C.float16, _C.bfloat16):
        xs = case.inputs(dtype)
        # The same numbers in float64: inputs are not judged by how they were rounded.
        exact = [x.detach().double().requires_grad_(x.requires_grad) for x in xs]
        try:
            ys = case(*xs)
        except Exception as error:
            if dtype != _C.float32:
                continue  # Half precision is for ops that take it.
            raise AssertionError(f"does not run in {dtype}: {error}") from error
        zs = case(*exact)
        rtol, atol = _TOLERANCES[dtype]
        for k, (y, z) in enumerate(zip(ys, zs, strict=True)):
            if z.dtype == _C.float64 and y.dtype != dtype:
                raise AssertionError(
                    f"output {k} has dtype {y.dtype} for inputs in {dtype}: forward mixes in a "
                    "tensor of another type"
                )
            _same(f"output {k} in {dtype} is not that in float64", y, z, rtol, atol)
        vs = _cotangents(ys)
        grads = case.gradients(ys, xs, vs)
        wants = case.gradients(
            zs, exact, [v if v is None else v.to(z.dtype) for v, z in zip(vs, zs, strict=True)]
        )
        for k, (g, w) in enumerate(zip(grads, wants, strict=True)):
            scale = max(1.0, float(w.abs().amax())) if w.numel() else 1.0
            what = f"gradient {k} in {dtype} is not that in float64"
            _same(what, g, w, rtol, atol * scale)


def _transposed(x: Any) -> Any:
    return x.transpose(0, -1).contiguous().transpose(0, -1) if x.dim() > 1 else x


def _spread(x: Any) -> Any:
    return _C.stack([x, x], -1)[..., 0] if x.dim() else x


def _repeated(x: Any) -> Any:
    return x[:1].expand(x.shape) if x.dim() and x.numel() else x


def _test_noncontiguous(case: _Case) -> None:
    for name, make in (
        ("transposed", _transposed),
        ("not adjacent", _spread),
        ("expanded", _repeated),
    ):
        xs = case.inputs(_C.float64, make)
        plain = [x.detach().clone().contiguous().requires_grad_(x.requires_grad) for x in xs]
        ys, zs = case(*xs), case(*plain)
        for k, (y, z) in enumerate(zip(ys, zs, strict=True)):
            _same(f"output {k} depends on strides (inputs {name})", y, z)
        ones = [v if v is None else v.new_ones(()).expand(v.shape) for v in _cotangents(ys)]
        for vs in (
            _cotangents(ys),
            [v if v is None else _spread(v) for v in _cotangents(ys)],
            ones,
        ):
            dense = [v if v is None else v.clone().contiguous() for v in vs]
            grads = zip(case.gradients(ys, xs, vs), case.gradients(zs, plain, dense), strict=True)
            for k, (g, h) in enumerate(grads):
                _same(f"gradient {k} depends on strides (inputs {name})", g, h)


def _smaller(x: Any) -> Iterator[Any]:
    """Tensors that broadcast to the shape of ``x``."""
    for d in range(x.dim()):
        if x.shape[d] > 1:
            yield x.narrow(d, 0, 1).clone()
    if x.dim() and x.shape[0]:
        yield x[0].clone()


def _test_broadcasting(case: _Case) -> None:
    shapes = [tuple(t.shape) for t in case.floats]
    for i, shape in enumerate(shapes):
        if shapes.count(shape) < 2:
            continue  # Not an op that combines tensors element by element.
        for small in _smaller(case.floats[i].detach().double()):
            xs = case.inputs(_C.float64)
            xs[i] = small.requires_grad_(case.wanted[i])
            what = f"input {i} of shape {tuple(small.shape)} instead of {shape}"
            try:
                ys = case(*xs)
            except Exception:
                continue  # The op does not broadcast, and says so.
            zs = case(*xs[:i], xs[i].expand(shape), *xs[i + 1 :])
            # Of an output of another shape, a reduction for instance, it is not known.
            places = [k for k, z in enumerate(zs) if z.shape == shape]
            wide, zs = [], tuple(zs[k] for k in places)
            for k, z in zip(places, zs, strict=True):
                y = ys[k]
                try:
                    wide.append(y.broadcast_to(z.shape))
                except Exception as error:
                    raise AssertionError(
                        f"{what}: output {k} has shape {tuple(y.shape)}, that of the expanded "
                        f"input has {tuple(z.shape)}"
                    ) from error
                _same(f"{what}: output {k} is not that of the expanded input", wide[-1], z)
            vs = _cotangents(zs)
            grads = zip(case.gradients(wide, xs, vs), case.gradients(zs, xs, vs), strict=True)
            for k, (g, h) in enumerate(grads):
                _same(f"{what}: gradient {k} is not that of the expanded input", g, h)


def _test_undefined_grad(case: _Case) -> None:
    xs = case.inputs(_C.float64)
    ys = case(*xs)
    places = [k for k, y in enumerate(ys) if y.requires_grad]
    sizes = range(1, len(places)) if len(places) <= 4 else (1, len(places) - 1)
    for missing in (m for size in sizes for m in combinations(places, size)):
        vs = _cotangents(ys)
        zeros = [_C.zeros_like(v) if k in missing else v for k, v in enumerate(vs)]
        vs = [None if k in missing else v for k, v in enumerate(vs)]
        outs = ", ".join(map(str, missing))
        want = case.gradients(ys, xs, zeros)
        try:
            got = case.gradients(ys, xs, vs)
        except Exception as error:
            raise AssertionError(
                f"backward fails without a cotangent of output {outs}: {type(error).__name__}: "
                f"{error}; a missing one is None after set_materialize_grads(False)"
            ) from error
        for k, (g, w) in enumerate(zip(got, want, strict=True)):
            _same(f"without a cotangent of output {outs}, gradient {k} is not that of zeros", g, w)


def _test_needs_input_grad(case: _Case) -> None:
    xs = case.inputs(_C.float64)
    ys = case(*xs)
    vs = _cotangents(ys)
    every = iter(case.gradients(ys, xs, vs))
    for i, wanted in enumerate(case.wanted):
        if not wanted:
            continue
        alone = [x if k == i else x.detach() for k, x in enumerate(xs)]
        zs = case(*alone)
        for k, (z, y) in enumerate(zip(zs, ys, strict=True)):
            _same(f"output {k} differs if only input {i} requires grad", z, y)
        (got,) = case.gradients(zs, alone, vs)
        _same(f"the gradient of input {i} differs if only it requires grad", got, next(every))


def _test_saved_tensors(case: _Case) -> None:
    def forward_only() -> None:
        case(*case.inputs())

    def backward() -> None:
        xs = case.inputs()
        ys = case(*xs)
        case.gradients(ys, xs, _cotangents(ys))

    for what, run in (("a call", forward_only), ("a call and its backward", backward)):
        run()  # What is made once, stays.
        collecting = gc.isenabled()
        gc.disable()
        try:
            before = _live()
            for _ in range(3):
                run()
            nodes, size = ((n - b) / 3 for n, b in zip(_live(), before, strict=True))
        finally:
            if collecting:
                gc.enable()
        if nodes <= 0 and size <= 0:
            continue
        gc.collect()
        gone = all(n <= b for n, b in zip(_live(), before, strict=True))
        raise AssertionError(
            f"{what} keeps {nodes:g} nodes and {size:g} bytes alive"
            f"{' until the garbage collector runs' if gone else ''}, after its results are gone: "
            "keep inputs and outputs with ctx.save_for_backward, not as attributes of ctx or "
            "outside"
        )


def _live() -> tuple[int, int]:
    return _C.live_nodes(), _C.live_bytes()


_TESTS: dict[str, Callable[[_Case], None]] = {
    "test_inputs_unchanged": _test_inputs_unchanged,
    "test_determinism": _test_determinism,
    "test_gradcheck": _test_gradcheck,
    "test_gradgradcheck": _test_gradgradcheck,
    "test_forward_ad": _test_forward_ad,
    "test_dtypes": _test_dtypes,
    "test_noncontiguous": _test_noncontiguous,
    "test_broadcasting": _test_broadcasting,
    "test_undefined_grad": _test_undefined_grad,
    "test_needs_input_grad": _test_needs_input_grad,
    "test_saved_tensors": _test_saved_tensors,
}
