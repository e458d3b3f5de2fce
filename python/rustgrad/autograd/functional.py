"""Derivatives of functions as whole objects: Jacobians, Hessians, and products with vectors.

>>> import rustgrad as rg
>>> x = rg.tensor([1.0, 2.0])
>>> rg.autograd.functional.jacobian(lambda x: x**2, x)
tensor([[2., 0.],
        [0., 4.]])
>>> rg.autograd.functional.hessian(lambda x: (x**3).sum(), x)
tensor([[ 6.,  0.],
        [ 0., 12.]])

NOTE [Inputs of functional]
A function gets new tensors, never the ones that were passed: so a tensor that it also reads from
its surroundings counts as a constant. With ``create_graph`` and an input that requires grad they
are views, and results have history back to the input; otherwise they are detached leaves that
require grad, and results are detached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rustgrad import _C

from .forward_ad import dual_level, make_dual, unpack_dual
from .grad_mode import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

_STRATEGIES = ("forward-mode", "reverse-mode")
_OUTPUTS = "outputs of the user-provided function"


@enable_grad()
def vjp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The value of ``func``, and a vector times its Jacobian: ``v^T J(inputs)``.

    One backward pass. Tensors come back where tensors were given, tuples where tuples were.

    Args:
        func: takes tensors; returns a tensor or a tuple of them.
        inputs: a tensor or a tuple of tensors.
        v: in the shapes of the outputs; may be left out if there is a single element.
        create_graph: results can be differentiated, by the inputs and by ``v``.
        strict: an output without gradient or an input that no output depends on raises, instead
            of giving zeros.

    Returns:
        ``(func(*inputs), product)``; the product has the structure and the shapes of the inputs.

    Raises:
        TypeError: ``inputs``, ``v`` or what ``func`` returns is neither a tensor nor a tuple of
            tensors.
        RuntimeError: ``v`` does not fit, or ``strict`` is violated.

    >>> import rustgrad as rg
    >>> value, product = vjp(lambda x: x.exp(), rg.zeros(2), rg.tensor([1.0, 3.0]))
    >>> product
    tensor([1., 3.])
    """
    several, inputs = _tensors(inputs, "inputs", "vjp")
    inputs = _prepare(inputs, create_graph)
    several_out, outputs = _tensors(func(*inputs), _OUTPUTS, "vjp")
    if strict:
        _check_outputs(outputs)
    if v is None:
        if len(outputs) != 1 or outputs[0].numel() != 1:
            raise RuntimeError(
                "The vector v can only be None if the user-provided function returns a single "
                "Tensor with a single element."
            )
        vs: tuple = (None,)
    else:
        vs = _vectors(v, outputs, several_out, create_graph, "vjp")
    grads = _gradients(outputs, inputs, vs, create_graph)
    for i, g in enumerate(grads if strict else ()):
        if g is None:
            raise RuntimeError(_independent_output(i))
        if create_graph and not g.requires_grad:
            raise RuntimeError(_constant("jacobian", i))
    products = _with_zeros(grads, inputs)
    return _result(outputs, several_out, create_graph), _result(products, several, create_graph)


@enable_grad()
def jvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The value of ``func``, and its Jacobian times a vector: ``J(inputs) v``.

    Two backward passes: ``J^T u`` is linear in ``u``, and its derivative by ``u`` is ``J``. So what
    ``func`` detaches is constant. Forward mode (:func:`rustgrad.func.jvp`) is quicker.

    Args:
        func: takes tensors; returns a tensor or a tuple of them.
        inputs: a tensor or a tuple of tensors.
        v: in the shapes of the inputs; may be left out if there is a single element.
        create_graph: results can be differentiated, by the inputs and by ``v``.
        strict: an output without gradient or an input that no output depends on raises, instead
            of giving zeros.

    Returns:
        ``(func(*inputs), product)``; the product has the structure and the shapes of the outputs.

    Raises:
        TypeError: ``inputs``, ``v`` or what ``func`` returns is neither a tensor nor a tuple of
            tensors.
        RuntimeError: ``v`` does not fit, or ``strict`` is violated.

    >>> import rustgrad as rg
    >>> value, product = jvp(lambda x: (x * x).sum(), rg.tensor([1.0, 2.0]), rg.ones(2))
    >>> product
    tensor(6.)
    """
    several, inputs = _tensors(inputs, "inputs", "jvp")
    inputs = _prepare(inputs, create_graph)
    vs = _directions(v, inputs, several, create_graph, "jvp")
    several_out, outputs = _tensors(func(*inputs), _OUTPUTS, "jvp")
    if strict:
        _check_outputs(outputs)
    grads, cotangents = _linear_gradients(outputs, inputs, strict)
    products = _gradients(grads, cotangents, vs, create_graph)
    for i, t in enumerate(products if strict else ()):
        if t is None:
            raise RuntimeError(
                "The gradient with respect to the input is independent of entry "
                f"{i} in the grad_outputs when using the double backward trick to compute forward "
                f"mode gradients. {_NOT_ALLOWED}."
            )
        if create_graph and not t.requires_grad:
            raise RuntimeError(_constant("jacobian", i))
    products = _with_zeros(products, outputs)
    return (
        _result(outputs, several_out, create_graph),
        _result(products, several_out, create_graph),
    )


@enable_grad()
def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of ``func``: the derivatives of its outputs' elements by its inputs' elements.

    Args:
        func: takes tensors; returns a tensor or a tuple of them.
        inputs: a tensor or a tuple of tensors.
        create_graph: the result can be differentiated, by the inputs.
        strict: an output that does not depend on an input raises, instead of giving zeros.
        vectorize: accepted; rows are computed one by one in any case.
        strategy: ``"reverse-mode"``: one backward pass for each element of the outputs.
            ``"forward-mode"``: one run of ``func`` for each element of the inputs, better where
            those are fewer; ``func`` must do the same in each run.

    Returns:
        ``J[i][j]``, of shape ``outputs[i].shape + inputs[j].shape``, is the derivative of output
        ``i`` by input ``j``. Without the index ``i`` if ``func`` returns a tensor, without ``j`` if
        ``inputs`` is one. Its type is the input's in reverse mode, the output's in forward mode.

    Raises:
        TypeError: ``inputs`` or what ``func`` returns is neither a tensor nor a tuple of tensors.
        RuntimeError: ``strict`` is violated.
        AssertionError: there is no such strategy.

    >>> import rustgrad as rg
    >>> by_x, by_y = jacobian(lambda x, y: 2 * x + x * y, (rg.ones(2), rg.tensor([3.0, 4.0])))
    >>> by_x
    tensor([[5., 0.],
            [0., 6.]])
    """
    if strategy not in _STRATEGIES:
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode", but got '
            f'{strategy!r}. Hint: If your function has more outputs than inputs, "forward-mode" '
            'tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
    several, inputs = _tensors(inputs, "inputs", "jacobian")
    inputs = _prepare(inputs, create_graph)
    compute = _jacobian_forward if strategy == "forward-mode" else _jacobian_reverse
    several_out, rows = compute(func, inputs, create_graph, strict)
    return _result([_result(row, several, create_graph) for row in rows], several_out, True)


def _jacobian_reverse(
    func: Callable[..., Any], inputs: tuple, create_graph: bool, strict: bool
) -> tuple[bool, list]:
    several_out, outputs = _tensors(func(*inputs), _OUTPUTS, "jacobian")
    if strict:
        _check_outputs(outputs)
    jacobian = []
    for i, output in enumerate(outputs):
        rows: list[list] = [[] for _ in inputs]
        for unit in _units(output):
            grads = _gradients((output,), inputs, (unit,), create_graph)
            for j, g in enumerate(grads if strict else ()):
                if g is None:
                    raise RuntimeError(_independent(i, j))
                if create_graph and not g.requires_grad:
                    raise RuntimeError(_constant("jacobian", j))
            for row, g in zip(rows, _with_zeros(grads, inputs), strict=True):
                row.append(g)
        blocks = [_stack(row, x) for row, x in zip(rows, inputs, strict=True)]
        jacobian.append(
            [b.reshape(output.shape + x.shape) for b, x in zip(blocks, inputs, strict=True)]
        )
    return several_out, jacobian


def _jacobian_forward(
    func: Callable[..., Any], inputs: tuple, create_graph: bool, strict: bool
) -> tuple[bool, list]:
    jacobian: list[list] = []
    for j, x in enumerate(inputs):
        columns: list[list] = []
        # An input without elements still tells what the outputs are.
        for unit in _units(x) if x.numel() else [x.detach()]:
            with dual_level() as level:
                dual = make_dual(x, unit, level=level)
                results = func(*inputs[:j], dual, *inputs[j + 1 :])
                several_out, results = _tensors(results, _OUTPUTS, "jacobian")
                pairs = [unpack_dual(y, level=level) for y in results]
            outputs = [pair.primal for pair in pairs]
            columns = columns or [[] for _ in outputs]
            for i, t in enumerate(pair.tangent for pair in pairs):
                if strict and t is None:
                    raise RuntimeError(_independent(i, j))
                if strict and create_graph and not t.requires_grad:
                    raise RuntimeError(_constant("jacobian", j))
                if x.numel():
                    columns[i].append(_C.zeros_like(outputs[i].detach()) if t is None else t)
        jacobian = jacobian or [[] for _ in outputs]
        for row, column, y in zip(jacobian, columns, outputs, strict=True):
            # Columns are stacked in front; where they belong is behind.
            block = _stack(column, y)
            row.append(block.permute(*range(1, block.dim()), 0).reshape(y.shape + x.shape))
    return several_out, jacobian


@enable_grad()
def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of ``func``: all its second derivatives.

    The Jacobian of the gradient. The gradient is computed in reverse mode.

    Args:
        func: takes tensors; returns a tensor with one element.
        inputs: a tensor or a tuple of tensors.
        create_graph: the result can be differentiated, by the inputs.
        strict: a gradient that does not depend on an input raises, instead of giving zeros.
        vectorize: accepted; rows are computed one by one in any case.
        outer_jacobian_strategy: how to differentiate the gradient: see :func:`jacobian`.

    Returns:
        ``H[i][j]``, of shape ``inputs[i].shape + inputs[j].shape``; without indices if ``inputs``
        is a tensor.

    Raises:
        TypeError: ``inputs`` or what ``func`` returns is neither a tensor nor a tuple of tensors.
        RuntimeError: ``func`` returns a tuple or more than one element, or ``strict`` is violated.
        AssertionError: there is no such strategy.

    >>> import rustgrad as rg
    >>> hessian(lambda x: x.prod(), rg.tensor([2.0, 3.0, 5.0]))
    tensor([[0., 5., 3.],
            [5., 0., 2.],
            [3., 2., 0.]])
    """
    if outer_jacobian_strategy not in _STRATEGIES:
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode", but got '
            f"{outer_jacobian_strategy!r}."
        )
    several, inputs = _tensors(inputs, "inputs", "hessian")

    def scalar(*args: Any) -> Any:
        return _scalar(func(*args), "hessian", strict).reshape(())

    def gradient(*args: Any) -> tuple:
        grads = jacobian(scalar, args, create_graph=True)
        if strict:
            _check_gradient(grads)
        return grads

    rows = jacobian(gradient, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)
    return _result([_result(row, several, True) for row in rows], several, True)


@enable_grad()
def vhp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The value of ``func``, and a vector times its Hessian: ``v^T H(inputs)``.

    Two backward passes; memory for vectors, not for the matrix.

    Args:
        func: takes tensors; returns a tensor with one element.
        inputs: a tensor or a tuple of tensors.
        v: in the shapes of the inputs; may be left out if there is a single element.
        create_graph: results can be differentiated, by the inputs and by ``v``.
        strict: a gradient that does not depend on an input raises, instead of giving zeros.

    Returns:
        ``(func(*inputs), product)``; the product has the structure and the shapes of the inputs.

    Raises:
        TypeError: ``inputs``, ``v`` or what ``func`` returns is neither a tensor nor a tuple of
            tensors.
        RuntimeError: ``func`` returns a tuple or more than one element, ``v`` does not fit, or
            ``strict`` is violated.

    >>> import rustgrad as rg
    >>> vhp(lambda x: (x**3).sum(), rg.tensor([1.0, 2.0]), rg.ones(2))[1]
    tensor([ 6., 12.])
    """
    several, inputs = _tensors(inputs, "inputs", "vhp")
    inputs = _prepare(inputs, create_graph)
    vs = _directions(v, inputs, several, create_graph, "vhp")
    output, gradient = _gradient(func, inputs, strict, "vhp")
    grads = _gradients(gradient, inputs, vs, create_graph)
    for i, g in enumerate(grads if strict else ()):
        if g is None:
            raise RuntimeError(
                "The jacobian of the user-provided function is independent of input "
                f"{i}. This is not allowed in strict mode."
            )
        if create_graph and not g.requires_grad:
            raise RuntimeError(_constant("hessian", i))
    products = _with_zeros(grads, inputs)
    return _result((output,), False, create_graph), _result(products, several, create_graph)


@enable_grad()
def hvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The value of ``func``, and its Hessian times a vector: ``H(inputs) v``.

    Three backward passes, as in :func:`jvp`. The Hessian is symmetric where ``func`` is twice
    continuously differentiable: there :func:`vhp` gives the same with two.

    Args:
        func: takes tensors; returns a tensor with one element.
        inputs: a tensor or a tuple of tensors.
        v: in the shapes of the inputs; may be left out if there is a single element.
        create_graph: results can be differentiated, by the inputs and by ``v``.
        strict: a gradient that does not depend on the inputs raises, instead of giving zeros.

    Returns:
        ``(func(*inputs), product)``; the product has the structure and the shapes of the inputs.

    Raises:
        TypeError: ``inputs``, ``v`` or what ``func`` returns is neither a tensor nor a tuple of
            tensors.
        RuntimeError: ``func`` returns a tuple or more than one element, ``v`` does not fit, or
            ``strict`` is violated.

    >>> import rustgrad as rg
    >>> hvp(lambda x: (x**3).sum(), rg.tensor([1.0, 2.0]), rg.ones(2))[1]
    tensor([ 6., 12.])
    """
    several, inputs = _tensors(inputs, "inputs", "hvp")
    inputs = _prepare(inputs, create_graph)
    vs = _directions(v, inputs, several, create_graph, "hvp")
    output, gradient = _gradient(func, inputs, strict, "hvp")
    grads, cotangents = _linear_gradients(_with_zeros(gradient, inputs), inputs, False)
    products = _gradients(grads, cotangents, vs, create_graph)
    for i, t in enumerate(products if strict else ()):
        if t is None:
            raise RuntimeError(
                f"The hessian of the user-provided function is independent of entry {i} in the "
                f"grad_jacobian. {_NOT_ALLOWED} as it prevents from using the double backward "
                "trick to replace forward mode AD."
            )
        if create_graph and not t.requires_grad:
            raise RuntimeError(_constant("hessian", i))
    products = _with_zeros(products, inputs)
    return _result((output,), False, create_graph), _result(products, several, create_graph)


# Arguments.


def _tensors(value: Any, what: str, function: str) -> tuple[bool, tuple]:
    """Whether ``value`` is a tuple, and its tensors."""
    several = isinstance(value, tuple)
    tensors = value if several else (value,)
    for i, t in enumerate(tensors):
        if not _C.is_tensor(t):
            which = f"value at index {i}" if several else f"given {what}"
            raise TypeError(
                f"The {what} given to {function} must be either a Tensor or a tuple of Tensors but "
                f"the {which} has type {type(t)}."
            )
    return several, tensors


def _prepare(inputs: tuple, create_graph: bool) -> tuple:
    """NOTE [Inputs of functional]: the tensors that the function gets."""
    return tuple(
        x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_()
        for x in inputs
    )


def _vectors(v: Any, like: tuple, several: bool, create_graph: bool, function: str) -> tuple:
    _, vs = _tensors(v, "v", function)
    if len(vs) != len(like):
        raise RuntimeError(
            f"v is a tuple of invalid length: should be {len(like)} but got {len(vs)}."
            if several
            else "The given v should contain a single Tensor."
        )
    for i, (u, x) in enumerate(zip(vs, like, strict=True)):
        if u.shape != x.shape:
            entry = f"Entry {i} in " if several else ""
            raise RuntimeError(f"{entry}v has invalid size: should be {x.shape} but got {u.shape}.")
    return tuple(u.view_as(u) if create_graph and u.requires_grad else u.detach() for u in vs)


def _directions(v: Any, inputs: tuple, several: bool, create_graph: bool, function: str) -> tuple:
    """As :func:`_vectors`, with 1 for the only element of the inputs."""
    if v is not None:
        return _vectors(v, inputs, several, create_graph, function)
    if len(inputs) != 1 or inputs[0].numel() != 1:
        raise RuntimeError(
            "The vector v can only be None if the input to the user-provided function is a single "
            "Tensor with a single element."
        )
    return (_C.ones_like(inputs[0].detach()),)


def _scalar(output: Any, function: str, strict: bool) -> Any:
    """What a function returned that must return one number."""
    several, outputs = _tensors(output, _OUTPUTS, function)
    if strict:
        _check_outputs(outputs)
    if several:
        raise RuntimeError(f"The function given to {function} should return a single Tensor")
    if output.numel() != 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {function} should contain a single "
            f"element, but it has shape {tuple(output.shape)}"
        )
    return output


# Derivatives.


def _gradients(outputs: Any, inputs: tuple, vs: tuple, create_graph: bool) -> tuple:
    """A gradient for each input; ``None`` for those that no output depends on."""
    pairs = [(y, v) for y, v in zip(outputs, vs, strict=True) if y is not None and y.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    ys, cotangents = zip(*pairs, strict=True)
    return _C.grad(ys, inputs, cotangents, True, create_graph, True)


def _gradient(func: Callable, inputs: tuple, strict: bool, function: str) -> tuple[Any, tuple]:
    """The one number that a function returns, and its gradient, which has a history."""
    output = _scalar(func(*inputs), function, strict)
    gradient = _gradients((output,), inputs, (None,), True)
    if strict:
        _check_gradient(gradient)
    return output, gradient


def _linear_gradients(outputs: tuple, inputs: tuple, strict: bool) -> tuple[tuple, tuple]:
    """``J^T u`` for cotangents ``u`` that require grad, and these: it is linear in them."""
    cotangents = tuple(_C.zeros_like(y.detach()).requires_grad_() for y in outputs)
    grads = _gradients(outputs, inputs, cotangents, True)
    for i, g in enumerate(grads if strict else ()):
        if g is None:
            raise RuntimeError(_independent_output(i))
        if not g.requires_grad:
            raise RuntimeError(
                f"The gradient with respect to input {i} is independent of the inputs of the "
                f"user-provided function. {_NOT_ALLOWED}."
            )
    return grads, cotangents


def _units(like: Any) -> Iterator[Any]:
    """The standard basis of the space of ``like``."""
    for k in range(like.numel()):
        # A new one each time: a gradient may be its cotangent.
        unit = _C.zeros(like.numel(), dtype=like.dtype, device=like.device)
        unit[k] = 1
        yield unit.reshape(like.shape)


def _with_zeros(tensors: Any, like: Any) -> tuple:
    """Zeros for what is ``None``."""
    return tuple(
        _C.zeros_like(x.detach()) if t is None else t for t, x in zip(tensors, like, strict=True)
    )


def _stack(rows: list, like: Any) -> Any:
    """The rows, each in the shape of ``like``, along a new first dimension."""
    return _C.stack(rows) if rows else like.new_zeros((0, *like.shape))


def _result(tensors: Any, several: bool, create_graph: bool) -> Any:
    """A tuple if it was one, and without history if none was asked for."""
    tensors = tuple(tensors) if create_graph else tuple(t.detach() for t in tensors)
    return tensors if several else tensors[0]


# What strict mode refuses.


def _check_outputs(outputs: tuple) -> None:
    for i, y in enumerate(outputs):
        if not y.requires_grad:
            raise RuntimeError(
                f"Output {i} of the user-provided function does not require gradients. The outputs "
                "must be computed in a differentiable manner from the input when running in strict "
                "mode."
            )


def _check_gradient(grads: tuple) -> None:
    for i, g in enumerate(grads):
        if g is None:
            raise RuntimeError(_independent_output(i))
        if not g.requires_grad:
            raise RuntimeError(
                "While computing the hessian, found that the jacobian of the user-provided "
                f"function with respect to input {i} is independent of the input. This is not "
                "allowed in strict mode. You should ensure that your function is twice "
                "differentiable and that the jacobian depends on the inputs (this would be "
                "violated by a linear function for example)."
            )


def _independent_output(i: int) -> str:
    return f"The output of the user-provided function is independent of input {i}. {_NOT_ALLOWED}."


def _independent(i: int, j: int) -> str:
    return f"Output {i} of the user-provided function is independent of input {j}. {_NOT_ALLOWED}."


def _constant(what: str, i: int) -> str:
    return (
        f"The {what} of the user-provided function is independent of input {i}. {_NOT_ALLOWED} "
        "when create_graph=True."
    )


_NOT_ALLOWED = "This is not allowed in strict mode"
