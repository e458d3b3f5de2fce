"""Ops whose forward and backward are written in Python."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from rustgrad import _C


class FunctionCtx:
    """What a :class:`Function` keeps from its forward for its backward."""

    needs_input_grad: tuple[bool, ...] = ()
    materialize_grads: bool = True
    dirty_tensors: tuple | None = None
    non_differentiable: tuple | None = None
    to_save: tuple | None = None
    _saved: Any = None

    def save_for_backward(self, *tensors: Any) -> None:
        """Keeps tensors (or ``None``) for :attr:`saved_tensors`.

        Inputs and outputs keep their history, so that the backward can itself be differentiated.
        Another tensor computed in forward has none: if the backward uses it while a graph of the
        backward is built, that raises, because the second derivative would be wrong.
        """
        for i, tensor in enumerate(tensors):
            if tensor is not None and not _C.is_tensor(tensor):
                raise TypeError(
                    f"save_for_backward can only save tensors or None, but argument {i} is of type "
                    f"{type(tensor).__name__}; keep other values as attributes of ctx"
                )
        self.to_save = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Accepted for compatibility: forward mode runs through the backward here."""

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What :meth:`save_for_backward` kept.

        Raises:
            RuntimeError: a saved tensor was written in place since, or the graph was freed.
        """
        if self._saved is None:
            return self.to_save or ()
        return self._saved.unpack()

    def mark_dirty(self, *tensors: Any) -> None:
        """Names the inputs that forward wrote in place; forward must return them."""
        self.dirty_tensors = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Names the outputs that have no gradient."""
        self.non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether a zero cotangent arrives as zeros (as it does from the start) or as ``None``."""
        self.materialize_grads = value


class _FunctionMeta(type):
    def __init__(cls, name: str, bases: tuple, namespace: dict) -> None:
        super().__init__(name, bases, namespace)
        if bases:
            own = cls.setup_context is not Function.setup_context  # type: ignore[attr-defined]
            cls._has_setup_context = own


class Function(metaclass=_FunctionMeta):
    """An op with a forward and a backward of the user's.

    Subclasses define two static methods. ``forward(ctx, *args)`` computes the result; it runs
    unrecorded. ``backward(ctx, *grad_outputs)`` returns one gradient (or ``None``) for each
    argument of forward. With ``setup_context(ctx, inputs, output)``, forward takes no ``ctx``. The
    op is called through :meth:`apply`, and differentiable to any order if its backward is.

    >>> import rustgrad as rg
    >>> class Cube(rg.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return g * 3 * x * x
    >>> x = rg.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    _has_setup_context = False

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Computes the result."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Keeps what backward needs, when forward takes no ``ctx``."""
        raise NotImplementedError("setup_context() is not defined")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Returns one gradient for each argument of forward."""
        raise NotImplementedError(
            "You must implement the backward function for your custom autograd.Function to use it "
            "with reverse mode."
        )

    @classmethod
    def _parameters(cls) -> list[inspect.Parameter]:
        """The arguments of forward, without ``ctx``."""
        parameters = [*inspect.signature(cls.forward).parameters.values()]
        return parameters if cls._has_setup_context else parameters[1:]

    @classmethod
    def _forward_name(cls) -> str:
        """What messages call forward."""
        names = [str(p.replace(annotation=p.empty)) for p in cls._parameters()]
        return f"{cls.__name__}.forward({', '.join(names)})"

    @classmethod
    def _argument_name(cls, i: int) -> str:
        """What messages call argument ``i`` of forward."""
        parameters = cls._parameters()
        last = parameters[min(i, len(parameters) - 1)]
        star = last.kind is inspect.Parameter.VAR_POSITIONAL
        place = f"{last.name}[{i - len(parameters) + 1}]" if star else last.name
        return f"argument '{place}' of {cls.__name__}.forward"

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs the op and records it."""
        return _C.apply(cls, FunctionCtx(), args, kwargs or None)


def once_differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a backward that must not itself be differentiated: doing so raises."""

    @functools.wraps(function)
    def wrapper(ctx: Any, *args: Any) -> Any:
        recording = _C.is_grad_enabled()
        _C.set_grad_enabled(False)
        try:
            outputs = function(ctx, *args)
        finally:
            _C.set_grad_enabled(recording)
        if recording:
            several = outputs if isinstance(outputs, tuple) else (outputs,)
            several = tuple(
                _C.delay_error(
                    ctx,
                    args,
                    several,
                    "trying to differentiate twice a function that was marked with "
                    f"@once_differentiable: {function.__qualname__} returns gradients without a "
                    "history. Write it with differentiable ops, and remove the mark",
                )
            )
            return several if isinstance(outputs, tuple) else several[0]
        return outputs

    return wrapper
