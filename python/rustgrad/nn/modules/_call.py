"""Calling a module: ``forward``, between its hooks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ...utils.hooks import RemovableHandle, register
from . import _global_hooks as everywhere
from ._backward_hooks import BackwardHooks

__all__ = ["HookedCall"]

_of_all_calls = everywhere.of_calls


class HookedCall:
    """The part of :class:`~rustgrad.nn.Module` that runs ``forward`` with its hooks.

    NOTE [Calls]: a call looks at one dictionary of the module, and at one of all modules, to know
    that there are no hooks at all. They have the ids of the hooks of every kind, and are kept by
    the hooks' handles.
    """

    _call_hooks: OrderedDict[int, bool]
    _forward_hooks: OrderedDict[int, Callable[..., Any]]
    _forward_hooks_with_kwargs: OrderedDict[int, bool]
    _forward_hooks_always_called: OrderedDict[int, bool]
    _forward_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _forward_pre_hooks_with_kwargs: OrderedDict[int, bool]
    _backward_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _backward_hooks: OrderedDict[int, Callable[..., Any]]

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
        if not (self._call_hooks or _of_all_calls):
            return self.forward(*args, **kwargs)
        return self._call_with_hooks(args, kwargs)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        called: set[int] = set()
        result: Any = None
        try:
            backward = None
            pre_hooks = [
                *everywhere.backward_pre_hooks.values(),
                *self._backward_pre_hooks.values(),
            ]
            hooks = [*everywhere.backward_hooks.values(), *self._backward_hooks.values()]
            for hook_id, pre_hook in _all(everywhere.forward_pre_hooks, self._forward_pre_hooks):
                args, kwargs = self._run_forward_pre_hook(hook_id, pre_hook, args, kwargs)
            if pre_hooks or hooks:
                backward = BackwardHooks(self, pre_hooks, hooks)
                args = backward.gate_inputs(args)
            result = self.forward(*args, **kwargs)
            for hook_id, hook in _all(everywhere.forward_hooks, self._forward_hooks):
                called.add(hook_id)
                result = self._run_forward_hook(hook_id, hook, args, kwargs, result)
            return result if backward is None else backward.gate_outputs(result)
        except Exception:
            # The remaining always_call hooks see the error's partial result; what they
            # raise themselves must not hide the first error.
            for hook_id, hook in _all(everywhere.forward_hooks, self._forward_hooks):
                if hook_id in called or not (
                    hook_id in self._forward_hooks_always_called
                    or hook_id in everywhere.forward_hooks_always_called
                ):
                    continue
                try:
                    result = self._run_forward_hook(hook_id, hook, args, kwargs, result)
                except Exception as error:
                    import warnings

                    warnings.warn(
                        "a forward hook with always_call=True raised an exception that is "
                        f"silenced because another error was raised before: {error}",
                        stacklevel=3,
                    )
            raise

    def _run_forward_pre_hook(
        self, hook_id: int, hook: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if hook_id not in self._forward_pre_hooks_with_kwargs:
            changed = hook(self, args)
            if changed is None:
                return args, kwargs
            return (changed if isinstance(changed, tuple) else (changed,)), kwargs
        changed = hook(self, args, kwargs)
        if changed is None:
            return args, kwargs
        if not (isinstance(changed, tuple) and len(changed) == 2):
            raise RuntimeError(
                "forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got "
                f"{changed!r}"
            )
        return changed

    def _run_forward_hook(
        self,
        hook_id: int,
        hook: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
    ) -> Any:
        if (
            hook_id in self._forward_hooks_with_kwargs
            or hook_id in everywhere.forward_hooks_with_kwargs
        ):
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
        flags = [self._call_hooks]
        if with_kwargs:
            flags.append(self._forward_pre_hooks_with_kwargs)
        return register(self._forward_pre_hooks, hook, prepend, flags)

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
        flags = [self._call_hooks]
        if with_kwargs:
            flags.append(self._forward_hooks_with_kwargs)
        if always_call:
            flags.append(self._forward_hooks_always_called)
        return register(self._forward_hooks, hook, prepend, flags)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Registers a hook that runs in backward, before the gradients pass through the module.

        Args:
            hook: called as ``hook(module, grad_output)`` with the gradients of what the call
                returned: a tuple with an entry for each entry of the output, ``None`` for one that
                is not a tensor or got no gradient. It must not write to them; it may return a tuple
                that takes their place.
            prepend: run it before the hooks registered so far. Default: ``False``.

        Returns:
            The handle whose ``remove()`` takes the hook back, for later calls of the module.

        Example:
            >>> import rustgrad as rg
            >>> m = rg.nn.Identity()
            >>> handle = m.register_full_backward_pre_hook(lambda module, grads: (2 * grads[0],))
            >>> x = rg.tensor(1.0, requires_grad=True)
            >>> m(x).backward()
            >>> x.grad
            tensor(2.)
        """
        return register(self._backward_pre_hooks, hook, prepend, [self._call_hooks])

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Registers a hook that runs in backward, when the gradients of the inputs are known.

        It runs once for each call of the module, in each backward that reaches the inputs. If no
        input requires a gradient, it runs as soon as the gradients of the outputs are known; if no
        output requires one, it does not run.

        Args:
            hook: called as ``hook(module, grad_input, grad_output)``. Both are tuples:
                ``grad_input`` with an entry for each positional argument, ``grad_output`` for each
                entry of the output (of a tuple or list; for each value of a dict); ``None`` for
                what is not a tensor or got no gradient. It must not write to them; it may return a
                tuple that takes the place of ``grad_input``.
            prepend: run it before the hooks registered so far. Default: ``False``.

        Returns:
            The handle whose ``remove()`` takes the hook back, for later calls of the module.

        Raises:
            RuntimeError: in backward, if the hook returns another number of gradients, or a
                gradient although no input requires one.
            TypeError: in backward, if it returns something else.

        Example:
            >>> import rustgrad as rg
            >>> m = rg.nn.Linear(2, 1, bias=False)
            >>> _ = rg.nn.init.ones_(m.weight)
            >>> handle = m.register_full_backward_hook(lambda m, grad_in, grad_out: print(grad_in))
            >>> m(rg.ones(2, requires_grad=True)).backward()
            (tensor([1., 1.]),)
        """
        return register(self._backward_hooks, hook, prepend, [self._call_hooks])

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """The same as :meth:`register_full_backward_hook`, under its old name.

        PyTorch's hook of this name sees the gradients of the last op in ``forward`` only, which
        are not those of the module's inputs.
        """
        return self.register_full_backward_hook(hook)


def _all(
    of_all: everywhere.Hooks, of_one: everywhere.Hooks
) -> list[tuple[int, Callable[..., Any]]]:
    """The hooks of all modules, then those of one, as they are now: a hook may remove hooks."""
    return [*of_all.items(), *of_one.items()]
