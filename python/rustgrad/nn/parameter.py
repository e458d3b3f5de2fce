"""Tensors that a :class:`~rustgrad.nn.Module` registers by itself when they are assigned to it."""

from __future__ import annotations

from typing import Any, SupportsIndex

import rustgrad as rg

__all__ = ["Buffer", "Parameter"]


class Parameter(rg.Tensor):
    """A tensor that is trained.

    Assigned as an attribute of a module, it appears in ``module.parameters()``.

    Args:
        data: the values, of any shape. Shares its memory; ``None`` means an empty tensor.
        requires_grad: whether gradients are to be computed. Default: ``True``.

    Raises:
        TypeError: ``data`` is not a tensor.

    Example:
        >>> import rustgrad as rg
        >>> w = rg.nn.Parameter(rg.zeros(2))
        >>> w.requires_grad, w.is_leaf
        (True, True)
    """

    def __new__(cls, data: rg.Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = rg.empty(0)
        elif not isinstance(data, rg.Tensor):
            raise TypeError(
                f"[Parameter] data must be a Tensor, but got {type(data).__name__}; "
                "build one with rustgrad.tensor(...)"
            )
        return rg.Tensor._make_subclass(cls, data.detach(), requires_grad)

    def __init__(self, data: rg.Tensor | None = None, requires_grad: bool = True) -> None:
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) in memo:
            return memo[id(self)]
        result = type(self)(self.detach().clone(), self.requires_grad)
        memo[id(self)] = result
        return result

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        # Attributes that a program hung on the parameter (p.no_decay = True) travel with it.
        return _rebuild, (type(self), self.data, self.requires_grad, dict(vars(self)))


class Buffer(rg.Tensor):
    """A tensor that belongs to a module's state but is not trained.

    Assigned as an attribute of a module, it appears in ``module.buffers()``.

    Args:
        data: the values, of any shape. Shares its memory; ``None`` means an empty tensor.
        persistent: whether the buffer is part of the module's ``state_dict``. Default: ``True``.

    Raises:
        TypeError: ``data`` is not a tensor.

    Example:
        >>> import rustgrad as rg
        >>> m = rg.nn.Module()
        >>> m.mean = rg.nn.Buffer(rg.zeros(2))
        >>> list(m.state_dict())
        ['mean']
    """

    persistent: bool

    def __new__(cls, data: rg.Tensor | None = None, *, persistent: bool = True) -> Buffer:
        if data is None:
            data = rg.empty(0)
        elif not isinstance(data, rg.Tensor):
            raise TypeError(
                f"[Buffer] data must be a Tensor, but got {type(data).__name__}; "
                "build one with rustgrad.tensor(...)"
            )
        buffer = rg.Tensor._make_subclass(cls, data.detach(), data.requires_grad)
        buffer.persistent = persistent
        return buffer

    def __init__(self, data: rg.Tensor | None = None, *, persistent: bool = True) -> None:
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        if id(self) in memo:
            return memo[id(self)]
        result = type(self)(self.detach().clone(), persistent=self.persistent)
        memo[id(self)] = result.requires_grad_(self.requires_grad)
        return result

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return _rebuild_buffer, (type(self), self.data, self.requires_grad, self.persistent)


def _rebuild(
    cls: type[Parameter], data: rg.Tensor, requires_grad: bool, attributes: dict[str, Any]
) -> Parameter:
    param = cls(data, requires_grad)
    vars(param).update(attributes)
    return param


def _rebuild_buffer(
    cls: type[Buffer], data: rg.Tensor, requires_grad: bool, persistent: bool
) -> Buffer:
    return cls(data, persistent=persistent).requires_grad_(requires_grad)
