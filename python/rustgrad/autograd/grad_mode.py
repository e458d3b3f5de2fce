"""Context managers (also decorators) that turn recording on and off, per thread."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from rustgrad import _C

if TYPE_CHECKING:
    from typing_extensions import Self

F = TypeVar("F", bound=Callable[..., Any])


def _is_generator(function: Callable[..., Any]) -> bool:
    # As `inspect.isgeneratorfunction`, whose module takes long to import.
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & 0x20)


class _Mode:
    """A context manager that may be entered again and again, and decorates functions."""

    def _clone(self) -> _Mode:
        return type(self)()

    def __enter__(self) -> None:
        raise NotImplementedError

    def __exit__(self, *exc: object) -> None:
        raise NotImplementedError

    def __call__(self, function: F) -> F:
        if _is_generator(function):
            return self._wrap_generator(function)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self._clone():
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    def _wrap_generator(self, function: F) -> F:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            # The mode holds while the generator runs, not while its consumer does.
            generator = function(*args, **kwargs)
            advance = functools.partial(next, generator)
            while True:
                try:
                    with self._clone():
                        value = advance()
                except StopIteration as stop:
                    return stop.value
                try:
                    advance = functools.partial(generator.send, (yield value))
                except GeneratorExit:
                    generator.close()
                    raise
                except BaseException as error:
                    advance = functools.partial(generator.throw, error)

        return wrapper  # type: ignore[return-value]


class _GradMode(_Mode):
    _enabled: bool

    @overload
    def __new__(cls, function: None = None) -> Self: ...

    @overload
    def __new__(cls, function: F) -> F: ...  # type: ignore[misc]

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        self = super().__new__(cls)
        return self if function is None else self(function)

    def __enter__(self) -> None:
        self._previous = _C.is_grad_enabled()
        _C.set_grad_enabled(self._enabled)

    def __exit__(self, *exc: object) -> None:
        _C.set_grad_enabled(self._previous)


class no_grad(_GradMode):
    """Nothing inside is recorded.

    Works as a context manager and as a decorator, with or without parentheses.

    >>> import rustgrad as rg
    >>> x = rg.ones(2, requires_grad=True)
    >>> with rg.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    _enabled = False


class enable_grad(_GradMode):
    """Recording is on inside, even within :class:`no_grad`."""

    _enabled = True


class set_grad_enabled(_Mode):
    """Turns recording on or off: at once, and back at the end of a ``with`` block.

    Args:
        mode: whether ops record.
    """

    def __init__(self, mode: bool) -> None:
        self._previous = _C.is_grad_enabled()
        self.mode = mode
        _C.set_grad_enabled(mode)

    def _clone(self) -> set_grad_enabled:
        return type(self)(self.mode)

    def __call__(self, function: F) -> F:
        # A decorator must not change the mode of the code around it.
        _C.set_grad_enabled(self._previous)
        return super().__call__(function)

    def __enter__(self) -> None:
        _C.set_grad_enabled(self.mode)

    def __exit__(self, *exc: object) -> None:
        _C.set_grad_enabled(self._previous)


class inference_mode(_Mode):
    """Nothing inside is recorded, and new tensors cannot be recorded later either.

    Args:
        mode: whether the mode is on.
    """

    @overload
    def __new__(cls, mode: bool = True) -> Self: ...

    @overload
    def __new__(cls, mode: F) -> F: ...  # type: ignore[misc]

    def __new__(cls, mode: bool | Callable[..., Any] = True) -> Any:
        self = super().__new__(cls)
        if isinstance(mode, bool):
            return self
        self.mode = True
        return self(mode)

    def __init__(self, mode: bool | Callable[..., Any] = True) -> None:
        self.mode = bool(mode)

    def _clone(self) -> inference_mode:
        return type(self)(self.mode)

    def __enter__(self) -> None:
        self._previous = (_C.is_grad_enabled(), _C.is_inference_mode_enabled())
        _C.set_grad_enabled(not self.mode)
        _C.set_inference_mode(self.mode)

    def __exit__(self, *exc: object) -> None:
        _C.set_grad_enabled(self._previous[0])
        _C.set_inference_mode(self._previous[1])
