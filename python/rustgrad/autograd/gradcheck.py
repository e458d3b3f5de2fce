"""Analytic derivatives against central differences."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from rustgrad import _C

from .forward_ad import dual_level, make_dual, unpack_dual
from .function import Function

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]

# What derivatives may differ by, absolutely and relatively, when they are computed in a type and
# compared with differences in float64.
_TOLERANCES = {
    _C.float64: (1e-5, 1e-3),
    _C.float32: (1e-4, 1e-3),
    _C.float16: (2e-2, 2e-2),
    _C.bfloat16: (1e-1, 1e-1),
}


class GradcheckError(RuntimeError):
    """A derivative disagrees with its finite difference."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float | None = None,
    rtol: float | None = None,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
    reference: Callable[..., Any] | None = None,
    precision: Any = None,
) -> bool:
    """Compares the derivatives of ``func`` with central differences.

    For each output that requires grad and each input that does, every element of the Jacobian must
    satisfy ``|analytical - numerical| <= atol + rtol * |numerical|``. The input moves in its
    place, so ``func`` may also read it from its surroundings, as a module reads its parameters.

    Inputs should be float64: a step of 1e-6 is lost in float32. To check what runs in float32 or
    less, give ``precision=rustgrad.float64``: differences are taken of copies of the inputs in that
    type, and the derivatives in the inputs' own type must agree within what it can hold.

    Args:
        func: takes the inputs and returns a tensor or a tuple of tensors.
        inputs: a tensor or a tuple; those that require grad are checked.
        eps: the step of the differences.
        atol, rtol: absolute and relative tolerance. The default is 1e-5 and 1e-3; with
            ``precision`` it is 1e-4 and 1e-3 for inputs in float32, 2e-2 for both in float16,
            and 1e-1 in bfloat16.
        raise_exception: raise, rather than return ``False``, on a mismatch.
        nondet_tol: how much two runs of the backward may differ.
        check_undefined_grad: also check that a cotangent that is missing counts as zeros, and, with
            ``check_forward_ad``, a tangent.
        check_grad_dtypes: also check that gradients have their input's dtype, and tangents their
            output's.
        check_batched_grad: also compare gradients of a batch of cotangents with those of each.
        check_batched_forward_grad: not available; ``True`` raises.
        check_forward_ad: compare forward mode.
        check_backward_ad: compare reverse mode.
        fast_mode: compare ``v^T J u`` for one pair of vectors, instead of all of ``J``; in forward
            mode ``J u``.
        masked: about elements that sparse tensors leave out: without effect on strided ones.
        reference: what differences are taken of, if that is not ``func``: for instance a copy of a
            module in float64. It takes the inputs in ``precision``, or else in float64.
        precision: the type in which differences are taken.

    Raises:
        GradcheckError: names the output, the input, the element that differs most, and both
            values.
        ValueError: no input requires grad.
        RuntimeError: elements of an input share memory.
        AssertionError: options exclude each other.

    >>> import rustgrad as rg
    >>> x = rg.tensor([0.5, 2.0], dtype=rg.float64, requires_grad=True)
    >>> rg.autograd.gradcheck(lambda x: x * x.sin(), x, check_forward_ad=True)
    True
    >>> half = x.detach().half().requires_grad_()
    >>> rg.autograd.gradcheck(lambda x: x * x.sin(), half, precision=rg.float64)
    True
    """
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError(
            "Expected at least one of check_forward_ad or check_backward_ad to be True"
        )
    if check_batched_grad and not check_backward_ad:
        raise AssertionError(
            "Setting check_batched_grad=True requires check_backward_ad to be True"
        )
    if check_batched_forward_grad:
        raise NotImplementedError(
            "gradcheck: check_batched_forward_grad=True needs vmap, which is not available"
        )
    try:
        case = _case(func, _tuple(inputs), eps, atol, rtol, reference, precision)
        if not case.outputs:
            _check_constant(case)
            return True
        check = _check_fast if fast_mode else _check_slow
        if check_forward_ad:
            check(case, None, check_grad_dtypes)
            if check_undefined_grad:
                _check_undefined_tangents(case)
        if check_backward_ad:
            check(case, nondet_tol, check_grad_dtypes)
            if check_batched_grad:
                _check_batched(case)
            _check_zero_cotangents(case)
            if check_undefined_grad:
                _check_undefined_cotangents(case)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float | None = None,
    rtol: float | None = None,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
    reference: Callable[..., Any] | None = None,
    precision: Any = None,
) -> bool:
    """Compares second derivatives of ``func`` with central differences of its gradients.

    :func:`gradcheck` of the function that takes the inputs and the cotangents, and returns the
    gradients. It says nothing about the gradients themselves: check these first.

    Args:
        func: takes the inputs and returns a tensor or a tuple of tensors.
        inputs: a tensor or a tuple; those that require grad are checked.
        grad_outputs: a cotangent for each output that requires grad; those that require grad
            are checked too. If left out, they are made, from a fixed sequence.
        eps: the step of the differences.
        atol, rtol: absolute and relative tolerance, as in :func:`gradcheck`.
        gen_non_contig_grad_outputs: the cotangents that are made are not contiguous.
        raise_exception: raise, rather than return ``False``, on a mismatch.
        nondet_tol: how much two runs of the second backward may differ.
        check_undefined_grad: also check that a cotangent that is missing counts as zeros.
        check_grad_dtypes: also check that second derivatives have their input's dtype.
        check_batched_grad: also compare a batch of cotangents of gradients with each.
        check_fwd_over_rev: compare forward mode over the backward.
        check_rev_over_rev: compare a backward over the backward.
        fast_mode: compare ``v^T J u`` for one pair of vectors, instead of all of ``J``.
        masked: without effect on strided tensors.
        reference: what differences are taken of the gradients of, if that is not ``func``.
        precision: the type in which differences are taken.

    Raises:
        GradcheckError: names the gradient, the input or cotangent, the element that differs most,
            and both values.
        ValueError: no input requires grad.
        AssertionError: options exclude each other.

    >>> import rustgrad as rg
    >>> x = rg.tensor([0.5, 2.0], dtype=rg.float64, requires_grad=True)
    >>> rg.autograd.gradgradcheck(rg.tanh, x, check_fwd_over_rev=True)
    True
    """
    if not (check_fwd_over_rev or check_rev_over_rev):
        raise AssertionError(
            "Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True"
        )
    for name, value in (
        ("check_undefined_grad", check_undefined_grad),
        ("check_batched_grad", check_batched_grad),
    ):
        if value and not check_rev_over_rev:
            raise AssertionError(f"Setting {name}=True requires check_rev_over_rev to be True")
    inputs = _tuple(inputs)
    if grad_outputs is None:
        outputs = _differentiable(_tuple(func(*inputs)))
        cotangents = tuple(
            _pattern(y, gen_non_contig_grad_outputs).requires_grad_() for y in outputs
        )
    else:
        cotangents = _tuple(grad_outputs)
    n = len(inputs)
    checked = [i for i, x in enumerate(inputs) if _C.is_tensor(x) and x.requires_grad]

    def gradients_of(f: Callable[..., Any]) -> Callable[..., tuple]:
        def gradients(*args: Any) -> tuple:
            outputs = _differentiable(_tuple(f(*args[:n])))
            if not outputs:
                return ()
            xs = [args[i] for i in checked]
            grads = _C.grad(outputs, xs, args[n:], True, True, True)
            return tuple(g for g in grads if g is not None)

        return gradients

    return gradcheck(
        gradients_of(func),
        inputs + cotangents,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
        reference=None if reference is None else gradients_of(reference),
        precision=precision,
    )


# What is checked.


class _Case(NamedTuple):
    func: Callable[..., Any]
    inputs: tuple
    checked: list[int]  # the inputs that require grad
    outputs: tuple  # those that require grad
    places: list[int]  # their places among what the function returns
    reference: Callable[..., Any]
    reference_inputs: tuple
    eps: float
    atol: float
    rtol: float

    @property
    def xs(self) -> list:
        return [self.inputs[i] for i in self.checked]

    def run(self, func: Callable[..., Any], inputs: Sequence[Any]) -> list:
        """The outputs at :attr:`places`."""
        results = _tuple(func(*inputs))
        return [results[p] for p in self.places]


def _case(
    func: Callable[..., Any],
    inputs: tuple,
    eps: float,
    atol: float | None,
    rtol: float | None,
    reference: Callable[..., Any] | None,
    precision: Any,
) -> _Case:
    checked = [i for i, x in enumerate(inputs) if _C.is_tensor(x) and x.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them "
            "have requires_grad=True."
        )
    if precision is None and reference is not None:
        precision = _C.float64
    for i in checked:
        x = inputs[i]
        if any(step == 0 and size > 1 for step, size in zip(x.stride(), x.shape, strict=True)):
            raise RuntimeError(
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs "
                "that are non-overlapping to be able to compute the numerical gradients correctly. "
                "You should call .contiguous on the input before passing it to gradcheck."
            )
        if x.dtype != _C.float64 and precision is None:
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point. This "
                "check will likely fail: pass inputs in float64, or precision=rustgrad.float64 to "
                "check derivatives in less",
                stacklevel=4,
            )
    lowest = _C.float64
    if precision is not None:
        lowest = max((inputs[i].dtype for i in checked), key=list(_TOLERANCES).index)
    results = _tuple(func(*inputs))
    places = [p for p, y in enumerate(results) if _C.is_tensor(y) and y.requires_grad]
    if not places:
        places = [p for p, y in enumerate(results) if _C.is_tensor(y) and y.is_floating_point()]
    return _Case(
        func,
        inputs,
        checked,
        _differentiable(results),
        places,
        reference or func,
        inputs if precision is None else tuple(_promoted(x, precision) for x in inputs),
        eps,
        _TOLERANCES[lowest][0] if atol is None else atol,
        _TOLERANCES[lowest][1] if rtol is None else rtol,
    )


def _tuple(x: Any) -> tuple:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _differentiable(results: tuple) -> tuple:
    return tuple(y for y in results if _C.is_tensor(y) and y.requires_grad)


def _promoted(x: Any, dtype: Any) -> Any:
    if not (_C.is_tensor(x) and x.is_floating_point()):
        return x
    # In the layout of the original, so that what depends on it is seen here too.
    return _in_layout_of(x, x.detach().to(dtype)).requires_grad_(x.requires_grad)


def _in_layout_of(x: Any, values: Any) -> Any:
    """A copy of ``values`` with the strides of ``x``."""
    if x.is_contiguous():
        return values.clone()
    span = 1 + sum((n - 1) * s for n, s in zip(x.shape, x.stride(), strict=True))
    room = _C.zeros(span if x.numel() else 0, dtype=values.dtype, device=values.device)
    return room.as_strided(x.shape, x.stride()).copy_(values)


def _pattern(like: Any, strided: bool = False) -> Any:
    """Values without symmetry: in [0.5, 1.5), from a fixed low-discrepancy sequence."""
    n = like.numel()
    values = [0.5 + (0.6180339887498949 * (k + 1)) % 1.0 for k in range(n)]
    v = _C.tensor(values, dtype=like.dtype, device=like.device).reshape(like.shape)
    if strided and v.dim():
        # Every other element of a wider tensor.
        v = _C.stack([v, v], -1)[..., 0]
    return v


# Derivatives.


@contextlib.contextmanager
def _moved(inputs: tuple, i: int, step: Any) -> Iterator[tuple]:
    """Inputs of which the one at ``i`` holds other elements for a while.

    It gets another storage: what graphs saved of it stays as it was. A view has its elements from
    its base: another tensor takes its place.
    """
    x = inputs[i]
    elements = x.detach()
    moved = _in_layout_of(x, elements + step)
    if x._is_view():
        yield (*inputs[:i], moved.requires_grad_(), *inputs[i + 1 :])
        return
    x.data = moved
    try:
        yield inputs
    finally:
        x.data = elements


def _differences(case: _Case, i: int, direction: Any) -> list:
    """``(f(x + eps d) - f(x - eps d)) / (2 eps)`` of each output, flat."""
    sides = []
    for eps in (case.eps, -case.eps):
        with _moved(case.reference_inputs, i, direction * eps) as inputs:
            # Copies: the function may return the same buffer again.
            ys = case.run(case.reference, inputs)
            sides.append([y.detach().reshape(-1).clone() for y in ys])
    for o, (a, b) in enumerate(zip(*sides, strict=True)):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise GradcheckError(
                "Expected `func` to return outputs with the same shape and dtype when inputs are "
                f"perturbed, but output {o} has {a.numel()} elements of {a.dtype} and "
                f"{b.numel()} of {b.dtype} around input {i}"
            )
    return [((a - b) / (2 * case.eps)).double() for a, b in zip(*sides, strict=True)]


def _pulled(case: _Case, y: Any, v: Any) -> list:
    """The gradients of ``<v, y>`` for the checked inputs, flat; zeros where there is none."""
    grads = _C.grad([y], case.xs, [v], True, False, True)
    return [
        _C.zeros(x.numel(), dtype=x.dtype) if g is None else g.detach().reshape(-1)
        for g, x in zip(grads, case.xs, strict=True)
    ]


def _pushed(case: _Case, i: int, direction: Any, check_dtypes: bool) -> list:
    """The tangents of the outputs for one of input ``i``, flat; zeros where there is none."""
    with dual_level() as level:
        inputs = list(case.inputs)
        inputs[i] = make_dual(inputs[i], _in_layout_of(inputs[i], direction), level=level)
        pairs = [unpack_dual(y, level=level) for y in case.run(case.func, inputs)]
    tangents = []
    for o, (y, t) in enumerate(pairs):
        if t is None:
            t = _C.zeros_like(y.detach())
        if check_dtypes and t.dtype != y.dtype:
            raise GradcheckError(
                f"Forward AD gradient has dtype mismatch: {t.dtype} for output {o} of {y.dtype}"
            )
        tangents.append(t.detach().reshape(-1).double())
    return tangents


def _units(like: Any) -> Iterator[Any]:
    """The standard basis of the space of ``like``."""
    for k in range(like.numel()):
        unit = _C.zeros(like.numel(), dtype=like.dtype, device=like.device)
        unit[k] = 1
        yield unit.reshape(like.shape)


def _numerical(case: _Case, i: int) -> list:
    """For each output a matrix: rows for the elements of input ``i``, columns for the output's."""
    x = case.reference_inputs[i].detach()
    return _matrices([_differences(case, i, u) for u in _units(x)], case)


def _matrices(rows: list[list], case: _Case) -> list:
    if not rows:
        return [_C.zeros((0, y.numel()), dtype=_C.float64) for y in case.outputs]
    return [_C.stack(list(column)) for column in zip(*rows, strict=True)]


def _analytical(case: _Case, y: Any, nondet_tol: float, o: int, check_dtypes: bool) -> list:
    """Matrices as in :func:`_numerical`, for one output and each checked input."""
    columns = []
    for unit in _units(y.detach()):
        once, again = _pulled(case, y, unit), _pulled(case, y, unit)
        _check_same(case, o, once, again, nondet_tol, check_dtypes)
        columns.append([g.double() for g in once])
    if not columns:
        return [_C.zeros((x.numel(), 0), dtype=_C.float64) for x in case.xs]
    return [_C.stack(list(g), -1) for g in zip(*columns, strict=True)]


# Checks.


def _check_slow(case: _Case, nondet_tol: float | None, check_dtypes: bool) -> None:
    """Every element of every Jacobian; in forward mode if ``nondet_tol`` is ``None``."""
    numerical = [_numerical(case, i) for i in case.checked]
    if nondet_tol is None:
        for i, want in zip(case.checked, numerical, strict=True):
            units = _units(case.inputs[i].detach())
            got = _matrices([_pushed(case, i, u, check_dtypes) for u in units], case)
            for o, (a, n) in enumerate(zip(got, want, strict=True)):
                _compare(case, "forward mode", i, o, a, n)
        return
    for o, y in enumerate(case.outputs):
        for k, a in enumerate(_analytical(case, y, nondet_tol, o, check_dtypes)):
            _compare(case, "reverse mode", case.checked[k], o, a, numerical[k][o])


def _check_fast(case: _Case, nondet_tol: float | None, check_dtypes: bool) -> None:
    """As :func:`_check_slow`, but products with one vector of unit length for each tensor."""
    us = [_unit_pattern(x) for x in case.xs]
    numerical = []
    for i, u in zip(case.checked, us, strict=True):
        numerical.append(_differences(case, i, u.to(case.reference_inputs[i].dtype)))
    for o, y in enumerate(case.outputs):
        if nondet_tol is not None:
            v = _unit_pattern(y)
            once, again = _pulled(case, y, v), _pulled(case, y, v)
            _check_same(case, o, once, again, nondet_tol, check_dtypes)
        for k, (i, u) in enumerate(zip(case.checked, us, strict=True)):
            n, scale = numerical[k][o], float(u.sum())
            if nondet_tol is None:
                a = _pushed(case, i, u, check_dtypes)[o]
            else:
                weights = v.reshape(-1).double()
                a = (once[k].double() * u.reshape(-1).double()).sum().reshape(1)
                n, scale = (n * weights).sum().reshape(1), scale * float(v.sum())
            bad, allowed = _excess(a, n, case.atol * scale, case.rtol)
            if not bad.any():
                continue
            # The elements tell more; but they may agree, if their differences only add up.
            _check_slow(case, nondet_tol, check_dtypes)
            raise GradcheckError(
                f"Jacobian mismatch for output {o} with respect to input {i} in fast mode: "
                f"numerical: {n.tolist()}, analytical: {a.tolist()}, allowed {allowed.tolist()}; "
                "but every element of the Jacobian agrees: use fast_mode=False"
            )


def _unit_pattern(like: Any) -> Any:
    v = _pattern(like.detach())
    return v / v.double().norm().to(v.dtype) if v.numel() else v


def _excess(a: Any, n: Any, atol: float, rtol: float) -> tuple[Any, Any]:
    """Where values differ by more than allowed (as NaN does from anything), and what is allowed."""
    allowed = n.abs() * rtol + atol
    return ((a - n).abs() <= allowed).logical_or(a == n).logical_not(), allowed


def _compare(case: _Case, kind: str, i: int, o: int, a: Any, n: Any) -> None:
    bad, allowed = _excess(a, n, case.atol, case.rtol)
    if not bad.any():
        return
    difference = (a - n).abs()
    # NaN is the largest of differences, equal elements are none.
    ranked = _C.where(difference.isnan(), float("inf"), difference).masked_fill(~bad, -1.0)
    at = int(ranked.argmax())
    row, column = divmod(at, n.shape[1])
    of_y, of_x = _place(column, case.outputs[o].shape), _place(row, case.inputs[i].shape)
    a, n, difference, allowed = (float(t.reshape(-1)[at]) for t in (a, n, difference, allowed))
    raise GradcheckError(
        f"Jacobian mismatch for output {o} with respect to input {i} ({kind}): "
        f"{int(bad.sum())} of {bad.numel()} elements differ by more than allowed, most the "
        f"derivative of output{of_y} by input{of_x}:\nnumerical:  {n!r}\nanalytical: {a!r}\n"
        f"difference: {difference:.3g} (allowed {allowed:.3g}: atol={case.atol:g}, "
        f"rtol={case.rtol:g})"
    )


def _place(flat: int, shape: Any) -> list[int]:
    index = []
    for size in reversed(shape):
        flat, k = divmod(flat, size)
        index.append(k)
    return index[::-1]


def _check_same(
    case: _Case, o: int, once: list, again: list, nondet_tol: float, check_dtypes: bool
) -> None:
    for i, a, b in zip(case.checked, once, again, strict=True):
        if check_dtypes and a.dtype != case.inputs[i].dtype:
            raise GradcheckError(
                f"Gradient has dtype mismatch: {a.dtype} for input {i} of {case.inputs[i].dtype}"
            )
        if not _C.allclose(a, b, rtol=0.0, atol=nondet_tol, equal_nan=True):
            raise GradcheckError(
                "Backward is not reentrant, i.e., running backward with same input and grad_output "
                f"multiple times gives different values: by {float((a - b).abs().max()):.3g} for "
                f"output {o} and input {i}. The tolerance for nondeterminism was {nondet_tol}."
            )


def _check_constant(case: _Case) -> None:
    """Nothing requires grad: then nothing may change."""
    for i in case.checked:
        x = case.reference_inputs[i].detach()
        for u in _units(x):
            for o, d in enumerate(_differences(case, i, u)):
                if not (d.abs() <= case.atol).all():
                    raise GradcheckError(
                        "Numerical gradient for function expected to be zero: no output requires "
                        f"grad, but output {o} changes with input {i}"
                    )


def _check_zero_cotangents(case: _Case) -> None:
    zeros = [_C.zeros_like(y.detach()) for y in case.outputs]
    grads = _C.grad(case.outputs, case.xs, zeros, True, False, True)
    for i, x, g in zip(case.checked, case.xs, grads, strict=True):
        if g is None:
            continue
        if (g != 0).any():
            raise GradcheckError(
                "backward not multiplied by grad_output: cotangents of zero give input "
                f"{i} a gradient of {g.reshape(-1).tolist()[:5]}"
            )
        if g.dtype != x.dtype:
            raise GradcheckError(f"grad is incorrect type: {g.dtype} for input {i} of {x.dtype}")
        if g.shape != x.shape:
            raise GradcheckError(f"grad is incorrect size: {g.shape} for input {i} of {x.shape}")


class _Undefined(Function):
    """The same elements; its gradient is missing."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, g: Any) -> None:
        return None


def _check_undefined_cotangents(case: _Case) -> None:
    """The cotangent of each output is missing while others are there: it counts as zeros."""
    n = len(case.outputs)
    for o in range(n) if n > 1 else ():
        ys = case.run(case.func, case.inputs)
        vs = [_C.zeros_like(y.detach()) if k == o else _pattern(y) for k, y in enumerate(ys)]
        want = _C.grad(ys, case.xs, vs, True, False, True)
        ys[o] = _Undefined.apply(ys[o])
        try:
            got = _C.grad(ys, case.xs, vs, False, False, True)
        except Exception as error:
            raise GradcheckError(
                "Expected backward function to handle undefined output grads, but without a "
                f"cotangent for output {o} it raised {type(error).__name__}: {error}"
            ) from error
        for i, g, w in zip(case.checked, got, want, strict=True):
            g, w = (_C.zeros_like(case.inputs[i].detach()) if t is None else t for t in (g, w))
            if not _C.allclose(g, w, equal_nan=True):
                raise GradcheckError(
                    "Expected backward function to treat undefined output grads as zeros, but the "
                    f"gradient of input {i} differs by {float((g - w).abs().max()):.3g} "
                    f"without a cotangent for output {o}"
                )


def _check_undefined_tangents(case: _Case) -> None:
    """A missing tangent of an input is one of zeros."""
    for i in case.checked if len(case.checked) > 1 else ():
        found = []
        for zeros in (True, False):
            with dual_level() as level:
                inputs = list(case.inputs)
                for j in case.checked:
                    x = inputs[j].detach()
                    u = _pattern(x) if j != i else _C.zeros_like(x)
                    if j != i or zeros:
                        inputs[j] = make_dual(inputs[j], u, level=level)
                pairs = [unpack_dual(y, level=level) for y in case.run(case.func, inputs)]
            found.append([_C.zeros_like(y) if t is None else t for y, t in pairs])
        for o, (a, b) in enumerate(zip(*found, strict=True)):
            if not _C.allclose(a, b, equal_nan=True):
                raise GradcheckError(
                    f"Mismatch in tangent values for output {o} when input {i} has no tangent: it "
                    f"differs by {float((a - b).abs().max()):.3g} from that with zeros"
                )


def _check_batched(case: _Case) -> None:
    from . import grad

    for o, y in enumerate(case.outputs):
        vs = [_pattern(y.detach()), _pattern(y.detach()).flip(list(range(y.dim())))]
        each = [_C.grad([y], case.xs, [v], True, False, True) for v in vs]
        batch = grad(y, case.xs, _C.stack(vs), True, allow_unused=True, is_grads_batched=True)
        for i, got, *rows in zip(case.checked, batch, *each, strict=True):
            same = got is None if rows[0] is None else got is not None
            if not same or (got is not None and not _C.allclose(got, _C.stack(rows))):
                raise GradcheckError(
                    f"For output {o} and input {i}: gradients of a batch of cotangents are not "
                    f"those of each: got {got}, expected {rows}"
                )
