"""Hooks that hold for all modules: on their calls, their gradients, and what is registered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ...utils.hooks import RemovableHandle, register

__all__ = [
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]

Hooks = OrderedDict[int, Callable[..., Any]]
Flags = OrderedDict[int, bool]

# The hooks of calls, by kind; `of_calls` has the ids of all of them: see NOTE [Calls].
of_calls: Flags = OrderedDict()
forward_pre_hooks: Hooks = OrderedDict()
forward_hooks: Hooks = OrderedDict()
forward_hooks_with_kwargs: Flags = OrderedDict()
forward_hooks_always_called: Flags = OrderedDict()
backward_pre_hooks: Hooks = OrderedDict()
backward_hooks: Hooks = OrderedDict()

# The hooks of registration, by the table that something is registered in.
of_registration: dict[str, Hooks] = {
    "_parameters": OrderedDict(),
    "_buffers": OrderedDict(),
    "_modules": OrderedDict(),
}


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, args)`` before the ``forward`` of every module.

    It runs before the hooks of the module itself.

    Args:
        hook: returns ``None``, or what takes the place of the positional arguments.

    Returns:
        The handle whose ``remove()`` takes the hook back.

    Example:
        >>> import rustgrad as rg
        >>> from rustgrad.nn.modules.module import register_module_forward_pre_hook
        >>> net = rg.nn.Sequential(rg.nn.Linear(2, 1), rg.nn.Tanh())
        >>> with register_module_forward_pre_hook(lambda m, args: print(type(m).__name__)):
        ...     y = net(rg.ones(2))
        Sequential
        Linear
        Tanh
    """
    return register(forward_pre_hooks, hook, flags=[of_calls])


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Calls ``hook(module, args, output)`` after the ``forward`` of every module.

    It runs before the hooks of the module itself.

    Args:
        hook: returns ``None``, or what takes the place of the output.
        with_kwargs: call it as ``hook(module, args, kwargs, output)``. Default: ``False``.
        always_call: run it even if ``forward`` or a hook raises. Default: ``False``.

    Returns:
        The handle whose ``remove()`` takes the hook back.

    Example:
        >>> import rustgrad as rg
        >>> from rustgrad.nn.modules.module import register_module_forward_hook
        >>> net = rg.nn.Sequential(rg.nn.Linear(2, 3), rg.nn.Tanh())
        >>> with register_module_forward_hook(lambda m, args, out: print(list(out.shape))):
        ...     y = net(rg.ones(5, 2))
        [5, 3]
        [5, 3]
        [5, 3]
    """
    flags = [of_calls]
    if with_kwargs:
        flags.append(forward_hooks_with_kwargs)
    if always_call:
        flags.append(forward_hooks_always_called)
    return register(forward_hooks, hook, flags=flags)


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, grad_output)`` in every module's backward.

    It runs before the hooks of the module itself; see
    :meth:`rustgrad.nn.Module.register_full_backward_pre_hook`.

    Returns:
        The handle whose ``remove()`` takes the hook back.

    Example:
        >>> import rustgrad as rg
        >>> from rustgrad.nn.modules.module import register_module_full_backward_pre_hook
        >>> net = rg.nn.Sequential(rg.nn.Linear(2, 1), rg.nn.Tanh())
        >>> with register_module_full_backward_pre_hook(lambda m, grad: print(type(m).__name__)):
        ...     net(rg.ones(2, requires_grad=True)).sum().backward()
        Sequential
        Tanh
        Linear
    """
    return register(backward_pre_hooks, hook, flags=[of_calls])


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, grad_input, grad_output)`` after every module's backward.

    It runs before the hooks of the module itself; see
    :meth:`rustgrad.nn.Module.register_full_backward_hook`.

    Returns:
        The handle whose ``remove()`` takes the hook back.

    Example:
        >>> import rustgrad as rg
        >>> from rustgrad.nn.modules.module import register_module_full_backward_hook
        >>> net = rg.nn.Sequential(rg.nn.Linear(2, 1), rg.nn.Tanh())
        >>> with register_module_full_backward_hook(lambda m, *grads: print(type(m).__name__)):
        ...     net(rg.ones(2, requires_grad=True)).sum().backward()
        Tanh
        Linear
        Sequential
    """
    return register(backward_hooks, hook, flags=[of_calls])


def register_module_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """The same as :func:`register_module_full_backward_hook`, under its old name."""
    return register_module_full_backward_hook(hook)


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, name, parameter)`` whenever a parameter is registered in a module.

    Args:
        hook: returns ``None``, or the parameter to register instead.

    Returns:
        The handle whose ``remove()`` takes the hook back.

    Example:
        >>> import rustgrad as rg
        >>> from rustgrad.nn.modules.module import register_module_parameter_registration_hook
        >>> with register_module_parameter_registration_hook(lambda m, name, p: print(name)):
        ...     layer = rg.nn.Linear(2, 3)
        weight
        bias
    """
    return register(of_registration["_parameters"], hook)


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, name, buffer)`` whenever a buffer is registered in a module.

    Args:
        hook: returns ``None``, or the tensor to register instead.

    Returns:
        The handle whose ``remove()`` takes the hook back.

    Example:
        >>> import rustgrad as rg
        >>> from rustgrad.nn.modules.module import register_module_buffer_registration_hook
        >>> module = rg.nn.Module()
        >>> with register_module_buffer_registration_hook(lambda m, name, buffer: buffer.double()):
        ...     module.register_buffer("mean", rg.zeros(2))
        >>> module.mean.dtype
        rustgrad.float64
    """
    return register(of_registration["_buffers"], hook)


def register_module_module_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, name, child)`` whenever a child is registered in a module.

    Args:
        hook: returns ``None``, or the module to register instead.

    Returns:
        The handle whose ``remove()`` takes the hook back.

    Example:
        >>> import rustgrad as rg
        >>> from rustgrad.nn.modules.module import register_module_module_registration_hook
        >>> with register_module_module_registration_hook(lambda _, name, part: print(name, part)):
        ...     net = rg.nn.Sequential(rg.nn.Tanh(), rg.nn.ReLU())
        0 Tanh()
        1 ReLU()
    """
    return register(of_registration["_modules"], hook)
