"""How hooks are registered, and the handles through which they are taken back."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Any

__all__ = ["RemovableHandle", "unserializable_hook"]

_next_id = count()


class RemovableHandle:
    """Takes a hook out of the dictionaries it was registered in.

    Usable as a context manager: the hook lives until the block is left.

    Args:
        hooks_dict: the dictionary that maps the handle's ``id`` to the hook.
        extra_dict: dictionaries with flags for the same ``id``, cleaned up together with it.

    Example:
        >>> from collections import OrderedDict
        >>> hooks = OrderedDict()
        >>> handle = RemovableHandle(hooks)
        >>> hooks[handle.id] = print
        >>> handle.remove()
        >>> len(hooks)
        0
    """

    __slots__ = ("id", "_hooks", "_extra", "__weakref__")

    def __init__(
        self,
        hooks_dict: OrderedDict[int, Any],
        *,
        extra_dict: OrderedDict[int, Any] | list[OrderedDict[int, Any]] | None = None,
    ) -> None:
        if extra_dict is None:
            extra_dict = []
        elif not isinstance(extra_dict, list):
            extra_dict = [extra_dict]
        # Weak, so that a handle someone keeps does not keep the whole module alive.
        self._hooks = weakref.ref(hooks_dict)
        self._extra = tuple(weakref.ref(extra) for extra in extra_dict)
        self.id = next(_next_id)

    def remove(self) -> None:
        """Removes the hook; does nothing if it is gone already."""
        for reference in (self._hooks, *self._extra):
            hooks = reference()
            if hooks is not None:
                hooks.pop(self.id, None)

    def __getstate__(self) -> tuple[Any, ...]:
        return (self._hooks(), self.id, tuple(ref() for ref in self._extra))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        global _next_id
        hooks, self.id, extra = state
        self._hooks = weakref.ref(OrderedDict() if hooks is None else hooks)
        self._extra = tuple(weakref.ref(OrderedDict() if d is None else d) for d in extra)
        # Hooks registered from now on must not collide with the restored id.
        _next_id = count(max(next(_next_id), self.id + 1))

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.remove()


def register(
    hooks: OrderedDict[int, Any],
    hook: Callable[..., Any],
    prepend: bool = False,
    flags: list[OrderedDict[int, Any]] | None = None,
) -> RemovableHandle:
    """Adds ``hook`` to ``hooks`` and returns the handle that removes it.

    Args:
        hooks: the hooks of one kind, in the order of their calls.
        hook: the function.
        prepend: put it first rather than last. Default: ``False``.
        flags: dictionaries that say ``True`` for the hook's id as long as it is there.

    Raises:
        TypeError: ``hook`` cannot be called.
    """
    if not callable(hook):
        raise TypeError(f"a hook must be callable, not {type(hook).__name__}")
    handle = RemovableHandle(hooks, extra_dict=flags)
    hooks[handle.id] = hook
    for flag in flags or ():
        flag[handle.id] = True
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def unserializable_hook(f: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a tensor's hook as one that is not meant to be saved with the tensor; returns it.

    Hooks are never saved with tensors here, so nothing depends on the mark: programs that use it
    run as they are.

    Example:
        >>> import rustgrad as rg
        >>> x = rg.ones(2, requires_grad=True)
        >>> handle = x.register_hook(unserializable_hook(lambda g: g * 2))
        >>> x.sum().backward()
        >>> x.grad
        tensor([2., 2.])
    """
    f.__torch_unserializable__ = True  # type: ignore[attr-defined]
    return f
