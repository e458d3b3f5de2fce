"""Analytic derivatives against central differences, element by element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rustgrad import _C

from . import forward_ad


class GradcheckError(RuntimeError):
    """A derivative disagrees with its finite difference."""


def _tuple(x: Any) -> tuple:
    if _C.is_tensor(x):
        return (x,)
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _differentiable_outputs(result: Any) -> tuple:
    return tuple(t for t in _tuple(result) if _C.is_tensor(t) and t.requires_grad)


def _float_outputs(result: Any) -> tuple:
    return tuple(t for t in _tuple(result) if _C.is_tensor(t) and t.is_floating_point())


def _numerical(
    fn: Callable[..., Any], inputs: tuple, i: int, eps: float
) -> list[list[list[float]]]:
    """For each output: rows of derivatives, one row an element of input ``i``."""
    x = inputs[i]
    flat = x.detach().clone().reshape(-1)
    rows: list[list[list[float]]] = []
    for k in range(flat.numel()):
        sides = []
        for sign in (1.0, -1.0):
            moved = flat.clone()
            moved[k] = moved[k].item() + sign * eps
            # A copy in the layout of the original, so that strided inputs stay strided.
            probe = _like_layout(x, moved.reshape(x.shape))
            args = [
                a if j != i else probe.requires_grad_(x.requires_grad) for j, a in enumerate(inputs)
            ]
            outs = _float_outputs(fn(*args))
            sides.append([o.detach().clone().reshape(-1) for o in outs])
        rows.append([((p - m) / (2 * eps)).tolist() for p, m in zip(*sides, strict=True)])
    n_out = len(rows[0]) if rows else 0
    return [[row[o] for row in rows] for o in range(n_out)]


def _like_layout(x: Any, values: Any) -> Any:
    if x.is_contiguous():
        return values
    order = sorted(range(x.dim()), key=lambda d: -x.stride(d))
    inverse = [order.index(d) for d in range(x.dim())]
    return values.permute(order).contiguous().permute(inverse)


def _analytical_reverse(out: Any, x: Any, create_graph: bool) -> list[list[float]]:
    """Rows of derivatives of ``out``: one row an element of ``x``."""
    columns = []
    for k in range(out.numel()):
        v = out.detach().new_zeros(out.shape).reshape(-1)
        v[k] = 1.0
        (g,) = _C.grad([out], [x], [v.reshape(out.shape)], True, create_graph, True)
        zero = [0.0] * x.numel()
        columns.append(zero if g is None else g.detach().reshape(-1).tolist())
    return [[column[k] for column in columns] for k in range(x.numel())]


def _analytical_forward(fn: Callable[..., Any], inputs: tuple, i: int) -> list[list[list[float]]]:
    rows = []
    x = inputs[i]
    for k in range(x.numel()):
        v = x.detach().new_zeros(x.shape).reshape(-1)
        v[k] = 1.0
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x, _like_layout(x, v.reshape(x.shape)))
            outs = _float_outputs(fn(*[dual if j == i else a for j, a in enumerate(inputs)]))
            tangents = [forward_ad.unpack_dual(o) for o in outs]
            rows.append(
                [
                    [0.0] * o.primal.numel()
                    if o.tangent is None
                    else o.tangent.detach().reshape(-1).tolist()
                    for o in tangents
                ]
            )
    n_out = len(rows[0]) if rows else 0
    return [[row[o] for row in rows] for o in range(n_out)]


def _compare(kind: str, i: int, o: int, got: list, want: list, atol: float, rtol: float) -> None:
    worst, where = 0.0, None
    for k, (g_row, w_row) in enumerate(zip(got, want, strict=True)):
        for j, (g, w) in enumerate(zip(g_row, w_row, strict=True)):
            excess = abs(g - w) - (atol + rtol * abs(w))
            # Written so that NaN counts as a mismatch; two equal infinities agree.
            if g != w and not excess <= 0 and not (excess <= worst):
                worst, where = excess, (k, j, g, w)
    if where is not None:
        k, j, g, w = where
        raise GradcheckError(
            f"Jacobian mismatch for output {o} with respect to input {i} ({kind}): the derivative "
            f"of element {j} of the output by element {k} of the input is numerical: {w!r}, "
            f"analytical: {g!r} (difference {abs(g - w):.3g}, allowed {atol + rtol * abs(w):.3g})"
        )


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
) -> bool:
    """Compares the gradients of ``func`` with central differences.

    Every element of every Jacobian is compared: ``|analytical - numerical| <= atol + rtol *
    |numerical|``. Inputs should be float64; a step of 1e-6 is lost in float32.

    Args:
        func: takes the inputs and returns a tensor or a tuple of tensors.
        inputs: a tensor or a tuple; those that require grad are checked.
        eps: the step of the differences.
        atol, rtol: absolute and relative tolerance.
        raise_exception: raise, rather than return ``False``, on a mismatch.
        nondet_tol: how much two runs of the backward may differ.
        check_undefined_grad: also check that the backward accepts a missing cotangent.
        check_grad_dtypes: also check that gradients have their input's dtype.
        check_batched_grad: accepted: batched gradients are computed one by one.
        check_batched_forward_grad: not available; ``True`` raises.
        check_forward_ad: also compare forward mode.
        check_backward_ad: compare reverse mode.
        fast_mode: accepted; every element is compared in any case.

    Raises:
        GradcheckError: names the input, the output, the element and both values.
        ValueError: no input requires grad.
    """
    if check_batched_forward_grad:
        raise NotImplementedError(
            "gradcheck: check_batched_forward_grad=True needs vmap, which is not available"
        )
    inputs = _tuple(inputs)
    try:
        _check(
            func,
            inputs,
            eps,
            atol,
            rtol,
            nondet_tol,
            check_undefined_grad,
            check_grad_dtypes,
            check_forward_ad,
            check_backward_ad,
        )
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check(
    func: Callable[..., Any],
    inputs: tuple,
    eps: float,
    atol: float,
    rtol: float,
    nondet_tol: float,
    check_undefined_grad: bool,
    check_grad_dtypes: bool,
    check_forward_ad: bool,
    check_backward_ad: bool,
) -> None:
    checked = [i for i, x in enumerate(inputs) if _C.is_tensor(x) and x.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them "
            "have requires_grad=True."
        )
    outputs = _float_outputs(func(*inputs))
    numerical = {i: _numerical(func, inputs, i, eps) for i in checked}
    for i in checked:
        if check_backward_ad:
            for o, out in enumerate(outputs):
                if not out.requires_grad:
                    got = [[0.0] * out.numel() for _ in range(inputs[i].numel())]
                else:
                    got = _analytical_reverse(out, inputs[i], create_graph=False)
                    again = _analytical_reverse(out, inputs[i], create_graph=False)
                    _compare_runs(i, o, got, again, nondet_tol)
                if numerical[i]:
                    _compare("reverse mode", i, o, got, numerical[i][o], atol, rtol)
        if check_forward_ad:
            forward = _analytical_forward(func, inputs, i)
            for o, got in enumerate(forward):
                _compare("forward mode", i, o, got, numerical[i][o], atol, rtol)
    if check_backward_ad:
        _check_types(outputs, inputs, checked, check_grad_dtypes)
        if check_undefined_grad and len(outputs) > 1:
            _check_undefined(func, inputs, checked)


def _compare_runs(i: int, o: int, a: list, b: list, tol: float) -> None:
    for row_a, row_b in zip(a, b, strict=True):
        for x, y in zip(row_a, row_b, strict=True):
            if x != y and not abs(x - y) <= tol and not (x != x and y != y):
                raise GradcheckError(
                    f"Backward is not reentrant: two runs for output {o} and input {i} differ "
                    f"({x!r} and {y!r}), by more than nondet_tol={tol}"
                )


def _check_types(outputs: tuple, inputs: tuple, checked: Sequence[int], dtypes: bool) -> None:
    recorded = [o for o in outputs if o.requires_grad]
    if not recorded:
        return
    cotangents = [o.detach().new_zeros(o.shape) for o in recorded]
    xs = [inputs[i] for i in checked]
    for i, g in zip(checked, _C.grad(recorded, xs, cotangents, True, False, True), strict=True):
        if g is None:
            continue
        if g.shape != inputs[i].shape:
            raise GradcheckError(f"the gradient of input {i} has shape {g.shape}")
        if dtypes and g.dtype != inputs[i].dtype:
            raise GradcheckError(f"the gradient of input {i} has dtype {g.dtype}")
        if bool((g != 0).any()):
            raise GradcheckError(f"a cotangent of zero gives input {i} a gradient that is not zero")


def _check_undefined(func: Callable[..., Any], inputs: tuple, checked: Sequence[int]) -> None:
    for o in range(len(_differentiable_outputs(func(*inputs)))):
        out = _differentiable_outputs(func(*inputs))[o]
        try:
            _C.grad(
                [out],
                [inputs[i] for i in checked],
                [out.detach().new_zeros(out.shape)],
                False,
                False,
                True,
            )
        except Exception as error:
            raise GradcheckError(
                f"the backward fails when only output {o} has a cotangent: {error}"
            ) from error


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
) -> bool:
    """Compares second derivatives of ``func`` with central differences of its gradients.

    The arguments are those of :func:`gradcheck`; ``grad_outputs`` are the cotangents (random ones
    are drawn from a fixed sequence when they are left out).
    """
    inputs = _tuple(inputs)
    if grad_outputs is None:
        outputs = _differentiable_outputs(func(*inputs))
        cotangents = tuple(
            _pattern(o, gen_non_contig_grad_outputs).requires_grad_() for o in outputs
        )
    else:
        cotangents = _tuple(grad_outputs)
    n = len(inputs)
    xs = [i for i, x in enumerate(inputs) if _C.is_tensor(x) and x.requires_grad]

    def gradients(*args: Any) -> tuple:
        outs = _differentiable_outputs(func(*args[:n]))
        wanted = [args[i] for i in xs]
        grads = _C.grad(list(outs), wanted, list(args[n:]), True, True, True)
        return tuple(g for g in grads if g is not None)

    return gradcheck(
        gradients,
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
    )


def _pattern(like: Any, strided: bool) -> Any:
    """Cotangents without symmetry: values in [0.5, 1.5) from a fixed low-discrepancy sequence."""
    n = like.numel()
    values = [0.5 + (0.6180339887498949 * (k + 1)) % 1.0 for k in range(n)]
    v = _C.tensor(values, dtype=like.dtype).reshape(like.shape)
    if strided and v.dim() > 1:
        v = v.transpose(0, -1).contiguous().transpose(0, -1)
    return v
