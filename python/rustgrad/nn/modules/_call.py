"""Calling a module: forward pre-hooks, ``forward``, forward hooks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ...utils.hooks import RemovableHandle

__all__ = ["HookedCall"]


class HookedCall:
    """The part of :class:`~rustgrad.nn.Module` that runs ``forward`` with its hooks."""

    _forward_hooks: OrderedDict[int, Callable[..., Any]]
    _forward_hooks_with_kwargs: OrderedDict[int, bool]
    _forward_hooks_always_called: OrderedDict[int, bool]
    _forward_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _forward_pre_hooks_with_kwargs: OrderedDict[int, bool]

    def forward(self, *inputs: Any) -> Any:
        """Computes the module's result. Every subclass says how.

        Call the module itself, ``module(x)``, not this method: the call runs the hooks too.

        Raises:
            NotImplementedError: the subclass does not define it.
        """
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not (self._forward_pre_hooks or self._forward_hooks):
            return self.forward(*args, **kwargs)
        return self._call_with_hooks(args, kwargs)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        pending = [hook_id for hook_id in self._forward_hooks_always_called]
        result: Any = None
        try:
            for hook_id, pre_hook in list(self._forward_pre_hooks.items()):
                if hook_id in self._forward_pre_hooks_with_kwargs:
                    changed = pre_hook(self, args, kwargs)
                    if changed is not None:
                        if not (isinstance(changed, tuple) and len(changed) == 2):
                            raise RuntimeError(
                                "forward pre-hook must return None or a tuple of "
                                f"(new_args, new_kwargs), but got {changed!r}"
                            )
                        args, kwargs = changed
                else:
                    changed = pre_hook(self, args)
                    if changed is not None:
                        args = changed if isinstance(changed, tuple) else (changed,)
            result = self.forward(*args, **kwargs)
            for hook_id, hook in list(self._forward_hooks.items()):
                if hook_id in pending:
                    pending.remove(hook_id)
                result = self._run_forward_hook(hook_id, hook, args, kwargs, result)
            return result
        except Exception:
            # The remaining always_call hooks see the error's partial result; what they
            # raise themselves must not hide the first error.
            for hook_id in pending:
                left = self._forward_hooks.get(hook_id)
                if left is None:
                    continue
                try:
                    result = self._run_forward_hook(hook_id, left, args, kwargs, result)
                except Exception as error:
                    import warnings

                    warnings.warn(
                        "a forward hook with always_call=True raised an exception that is "
                        f"silenced because another error was raised before: {error}",
                        stacklevel=3,
                    )
            raise

    def _run_forward_hook(
        self,
        hook_id: int,
        hook: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
    ) -> Any:
        if hook_id in self._forward_hooks_with_kwargs:
            changed = hook(self, args, kwargs, result)
        else:
            changed = hook(self, args, result)
        return result if changed is None else changed

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Registers a hook that runs before each ``forward``.

        Args:
            hook: called as ``hook(module, args)``; may return new args (one value is taken as
                the only argument). With ``with_kwargs`` it is called as
                ``hook(module, args, kwargs)`` and may return ``(args, kwargs)``.
            prepend: run it before the hooks registered so far. Default: ``False``.
            with_kwargs: pass the keyword arguments too. Default: ``False``.

        Returns:
            The handle whose ``remove()`` takes the hook back.

        Example:
            >>> import rustgrad as rg
            >>> m = rg.nn.Identity()
            >>> handle = m.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
            >>> m(rg.tensor(1.0)).item()
            2.0
        """
        handle = RemovableHandle(
            self._forward_pre_hooks, extra_dict=self._forward_pre_hooks_with_kwargs
        )
        self._forward_pre_hooks[handle.id] = hook
        if with_kwargs:
            self._forward_pre_hooks_with_kwargs[handle.id] = True
        if prepend:
            self._forward_pre_hooks.move_to_end(handle.id, last=False)
        return handle

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Registers a hook that runs after each ``forward``.

        Args:
            hook: called as ``hook(module, args, output)``; what it returns, unless ``None``,
                replaces the output. With ``with_kwargs``: ``hook(module, args, kwargs, output)``.
            prepend: run it before the hooks registered so far. Default: ``False``.
            with_kwargs: pass the keyword arguments too. Default: ``False``.
            always_call: run it even if ``forward`` or a hook raises. Default: ``False``.

        Returns:
            The handle whose ``remove()`` takes the hook back.

        Example:
            >>> import rustgrad as rg
            >>> m = rg.nn.Identity()
            >>> with m.register_forward_hook(lambda module, args, output: output * 2):
            ...     m(rg.tensor(3.0)).item()
            6.0
        """
        handle = RemovableHandle(
            self._forward_hooks,
            extra_dict=[self._forward_hooks_with_kwargs, self._forward_hooks_always_called],
        )
        self._forward_hooks[handle.id] = hook
        if with_kwargs:
            self._forward_hooks_with_kwargs[handle.id] = True
        if always_call:
            self._forward_hooks_always_called[handle.id] = True
        if prepend:
            self._forward_hooks.move_to_end(handle.id, last=False)
        return handle
