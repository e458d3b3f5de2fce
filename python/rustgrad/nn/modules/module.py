"""The base class of every layer and model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import rustgrad as rg

from ..parameter import Buffer, Parameter
from ._call import HookedCall
from ._global_hooks import (
    of_registration,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from ._state import StateDict

__all__ = [
    "Module",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]

# Attributes by which a module files what is assigned to it.
_TABLES = ("_parameters", "_buffers", "_modules")
# Hooks of calls, and flags for them: see NOTE [Calls].
_CALL_TABLES = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_backward_pre_hooks",
    "_backward_hooks",
)
_HOOK_TABLES = (
    *_CALL_TABLES,
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


class Module(HookedCall, StateDict):
    """Holds parameters, buffers and other modules, and computes something in ``forward``.

    Parameters, buffers and modules are registered when they are assigned as attributes.

    Attributes:
        training: whether the module is in training mode; see :meth:`train`.

    Example:
        >>> import rustgrad as rg
        >>> class Scale(rg.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.factor = rg.nn.Parameter(rg.ones(1))
        ...
        ...     def forward(self, x):
        ...         return x * self.factor
        >>> [name for name, _ in Scale().named_parameters()]
        ['factor']
    """

    training: bool
    call_super_init: bool = False

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, rg.Tensor | None]
    _non_persistent_buffers_set: set[str]
    _modules: dict[str, Module | None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and (args or kwargs):
            given = next(iter(kwargs)) if kwargs else None
            raise TypeError(
                f"{type(self).__name__}.__init__() got an unexpected keyword argument '{given}'"
                if given
                else f"{type(self).__name__}.__init__() takes 1 positional argument but "
                f"{len(args) + 1} were given"
            )
        # Straight into __dict__: __setattr__ would look for the tables that are made here.
        attributes = self.__dict__
        attributes["training"] = True
        for table in _TABLES:
            attributes[table] = {}
        attributes["_non_persistent_buffers_set"] = set()
        attributes["_call_hooks"] = OrderedDict()
        for table in _HOOK_TABLES:
            attributes[table] = OrderedDict()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # Registration

    def _check_name(self, kind: str, name: Any, table: str) -> None:
        if table not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise KeyError(f"attribute '{name}' already exists")

    def _put(self, table: str, name: str, value: Any) -> None:
        """Registers a value, or what the hooks of registration give in its place."""
        for hook in list(of_registration[table].values()):
            changed = hook(self, name, value)
            if changed is None:
                continue
            kind = {"_parameters": Parameter, "_buffers": rg.Tensor, "_modules": Module}[table]
            if not isinstance(changed, kind):
                raise TypeError(
                    f"a registration hook for '{name}' of {type(self).__name__} should return None "
                    f"or a {kind.__name__}, but returned an object of type {_typename(changed)}"
                )
            value = changed
        self.__dict__[table][name] = value

    def register_buffer(self, name: str, tensor: rg.Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that is state but not trained, such as a running mean.

        Args:
            name: the attribute's name.
            tensor: the buffer, of any shape; ``None`` reserves the name.
            persistent: whether it is part of ``state_dict``. Default: ``True``.

        Raises:
            AttributeError: ``super().__init__()`` has not run.
            KeyError: the name is taken, empty or contains a dot.
            TypeError: ``tensor`` is not a tensor, or ``name`` not a string.

        Example:
            >>> import rustgrad as rg
            >>> m = rg.nn.Module()
            >>> m.register_buffer("mean", rg.zeros(2))
            >>> [name for name, _ in m.named_buffers()]
            ['mean']
        """
        self._check_name("buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, rg.Tensor):
            raise TypeError(
                f"cannot assign '{_typename(tensor)}' object to buffer '{name}' "
                "(Tensor or None required)"
            )
        self._put("_buffers", name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter under a name; ``None`` reserves the name.

        Raises:
            AttributeError: ``super().__init__()`` has not run.
            KeyError: the name is taken, empty or contains a dot.
            TypeError: ``param`` is not a ``Parameter``, or ``name`` not a string.
            ValueError: ``param`` was computed from other tensors.
        """
        self._check_name("parameter", name, "_parameters")
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{_typename(param)}' object to parameter '{name}' "
                    "(nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must "
                    f"be created explicitly. To express '{name}' as a function of another "
                    "Tensor, compute the value in the forward() method."
                )
            self._put("_parameters", name, param)
        else:
            self._parameters[name] = None

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a child module under a name; ``None`` reserves the name.

        Raises:
            AttributeError: ``super().__init__()`` has not run.
            KeyError: the name is taken, empty or contains a dot.
            TypeError: ``module`` is not a ``Module``, or ``name`` not a string.
        """
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{_typename(module)} is not a Module subclass")
        self._check_name("module", name, "_modules")
        self._put("_modules", name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as :meth:`add_module`."""
        self.add_module(name, module)

    # Attributes

    def __getattr__(self, name: str) -> Any:
        # Runs only when the normal look-up found nothing.
        attributes = self.__dict__
        for table in _TABLES:
            entries = attributes.get(table)
            if entries is not None and name in entries:
                return entries[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        attributes = self.__dict__
        params = attributes.get("_parameters")
        if isinstance(value, Parameter):
            if params is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, keep="_parameters")
            self.register_parameter(name, value)
        elif params is not None and name in params:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{_typename(value)}' as parameter '{name}' "
                    "(nn.Parameter or None expected)"
                )
            self.register_parameter(name, None)
        elif isinstance(value, Module):
            if "_modules" not in attributes:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, keep="_modules")
            self._put("_modules", name, value)
        elif name in attributes.get("_modules", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{_typename(value)}' as child module '{name}' "
                    "(nn.Module or None expected)"
                )
            self._put("_modules", name, None)
        elif isinstance(value, Buffer):
            if "_buffers" not in attributes:
                raise AttributeError("cannot assign buffer before Module.__init__() call")
            self._forget(name, keep="_buffers")
            self.register_buffer(name, value, value.persistent)
        elif name in attributes.get("_buffers", ()):
            if value is not None and not isinstance(value, rg.Tensor):
                raise TypeError(
                    f"cannot assign '{_typename(value)}' as buffer '{name}' "
                    "(nn.Buffer, Tensor or None expected)"
                )
            self._put("_buffers", name, value)
        else:
            super().__setattr__(name, value)

    def _forget(self, name: str, keep: str) -> None:
        """Makes room for ``name`` in table ``keep``: one name lives in one place."""
        self.__dict__.pop(name, None)
        for table in _TABLES:
            if table != keep:
                self.__dict__[table].pop(name, None)
        if keep != "_buffers":
            self._non_persistent_buffers_set.discard(name)

    def __delattr__(self, name: str) -> None:
        for table in _TABLES:
            if name in self.__dict__[table]:
                del self.__dict__[table][name]
                if table == "_buffers":
                    self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = set(dir(type(self))) | set(self.__dict__)
        for table in _TABLES:
            names.update(self.__dict__[table])
        # "0" and the like cannot be written after a dot.
        return sorted(name for name in names if not name[:1].isdigit())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # Modules pickled by an older version may lack tables that came later.
        for table in _HOOK_TABLES:
            self.__dict__.setdefault(table, OrderedDict())
        if "_call_hooks" not in self.__dict__:
            ids = (hook_id for table in _CALL_TABLES for hook_id in self.__dict__[table])
            self.__dict__["_call_hooks"] = OrderedDict.fromkeys(ids, True)
        self.__dict__.setdefault("_non_persistent_buffers_set", set())

    # Walking the tree

    def _named_members(
        self,
        get_members_fn: Callable[[Module], Any],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        """Yields full name and member of all members that ``get_members_fn`` finds."""
        seen = set()
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for module_prefix, module in modules:
            for name, member in get_members_fn(module):
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield (f"{module_prefix}.{name}" if module_prefix else name), member

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yields each parameter once.

        Args:
            recurse: also those of the modules below. Default: ``True``.
        """
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yields name and parameter.

        Args:
            prefix: put before every name. Default: ``""``.
            recurse: also those of the modules below. Default: ``True``.
            remove_duplicate: yield a shared parameter only under its first name.
                Default: ``True``.

        Example:
            >>> import rustgrad as rg
            >>> [name for name, _ in rg.nn.Linear(2, 3).named_parameters(prefix="head")]
            ['head.weight', 'head.bias']
        """
        yield from self._named_members(
            lambda module: module._parameters.items(), prefix, recurse, remove_duplicate
        )

    def buffers(self, recurse: bool = True) -> Iterator[rg.Tensor]:
        """Yields each buffer once.

        Args:
            recurse: also those of the modules below. Default: ``True``.
        """
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, rg.Tensor]]:
        """Yields name and buffer; arguments as for :meth:`named_parameters`."""
        yield from self._named_members(
            lambda module: module._buffers.items(), prefix, recurse, remove_duplicate
        )

    def children(self) -> Iterator[Module]:
        """Yields each direct child once."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yields name and module of each direct child, a shared one under its first name."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self) -> Iterator[Module]:
        """Yields this module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_modules(
        self,
        memo: set[Module] | None = None,
        prefix: str = "",
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Module]]:
        """Yields name and module for this module (named ``prefix``) and all below it.

        Args:
            memo: modules to leave out; those yielded are added.
            prefix: put before every name. Default: ``""``.
            remove_duplicate: yield a shared module only under its first name. Default: ``True``.

        Example:
            >>> import rustgrad as rg
            >>> m = rg.nn.Sequential(rg.nn.Identity(), rg.nn.ReLU())
            >>> [name for name, _ in m.named_modules()]
            ['', '0', '1']
        """
        if memo is None:
            memo = set()
        if self not in memo:
            if remove_duplicate:
                memo.add(self)
            yield prefix, self
            for name, module in self._modules.items():
                if module is not None:
                    below = f"{prefix}.{name}" if prefix else name
                    yield from module.named_modules(memo, below, remove_duplicate)

    def get_submodule(self, target: str) -> Module:
        """Returns the module with the dotted name ``target``; ``""`` is the module itself.

        Raises:
            AttributeError: there is none of that name.
        """
        module = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Puts ``module`` at the dotted name ``target``.

        Args:
            target: where; all but the last part must exist.
            module: the new module.
            strict: whether the last part must exist too. Default: ``False``.

        Raises:
            AttributeError: a part of the path is missing or not a module.
            ValueError: ``target`` is empty, or ``module`` is not a module.
        """
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{type(parent).__name__} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """Returns the parameter with the dotted name ``target``.

        Raises:
            AttributeError: there is none of that name.
        """
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        param = getattr(module, name)
        if not isinstance(param, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return param

    def get_buffer(self, target: str) -> rg.Tensor:
        """Returns the buffer with the dotted name ``target``.

        Raises:
            AttributeError: there is none of that name.
        """
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return module._buffers[name]  # type: ignore[return-value]

    # Changing the whole tree

    def apply(self, fn: Callable[[Module], Any]) -> Module:
        """Calls ``fn`` with every module below, then with this one. Returns ``self``.

        Example:
            >>> import rustgrad as rg
            >>> m = rg.nn.Sequential(rg.nn.Linear(2, 2, bias=False))
            >>> _ = m.apply(lambda l: isinstance(l, rg.nn.Linear) and rg.nn.init.ones_(l.weight))
            >>> m[0].weight.sum().item()
            4.0
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self, fn: Callable[[rg.Tensor], rg.Tensor], recurse: bool = True) -> Module:
        """Replaces every parameter, gradient and buffer by ``fn`` of it; parameters keep their
        identity, so that optimisers go on working.
        """
        if recurse:
            for module in self.children():
                module._apply(fn)
        for param in self._parameters.values():
            if param is None:
                continue
            grad = param.grad
            with rg.no_grad():
                values = fn(param)
                new_grad = None if grad is None else fn(grad)
            if values is not param:
                param.data = values
            if grad is not None and new_grad is not None and new_grad is not grad:
                param.grad = new_grad.requires_grad_(grad.requires_grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Module:
        """Moves or converts all parameters and buffers, in place.

        Call it as ``to(device, dtype)``, ``to(dtype)`` or ``to(tensor)``, with ``non_blocking``
        as an option. Only floating-point tensors are converted to ``dtype``.

        Returns:
            ``self``.

        Raises:
            TypeError: ``dtype`` is not a floating-point type, or the arguments make no sense.

        Example:
            >>> import rustgrad as rg
            >>> rg.nn.Linear(2, 2).to(rg.float64).weight.dtype == rg.float64
            True
        """
        device, dtype, non_blocking = _parse_to(args, kwargs)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(
                f"nn.Module.to only accepts floating point dtypes, but got desired dtype={dtype}"
            )

        def convert(tensor: rg.Tensor) -> rg.Tensor:
            options: dict[str, Any] = {}
            if device is not None:
                options["device"] = device
            if dtype is not None and tensor.is_floating_point():
                options["dtype"] = dtype
            return tensor.to(**options, non_blocking=non_blocking) if options else tensor

        return self._apply(convert)

    def _to_float_type(self, dtype: Any) -> Module:
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def float(self) -> Module:
        """Converts all floating-point parameters and buffers to ``float32``."""
        return self._to_float_type(rg.float32)

    def double(self) -> Module:
        """Converts all floating-point parameters and buffers to ``float64``."""
        return self._to_float_type(rg.float64)

    def half(self) -> Module:
        """Converts all floating-point parameters and buffers to ``float16``."""
        return self._to_float_type(rg.float16)

    def bfloat16(self) -> Module:
        """Converts all floating-point parameters and buffers to ``bfloat16``."""
        return self._to_float_type(rg.bfloat16)

    def type(self, dst_type: Any) -> Module:
        """Converts all parameters and buffers, integer ones too, to ``dst_type``."""
        return self._apply(lambda t: t.to(dst_type))

    def cpu(self) -> Module:
        """Moves all parameters and buffers to the CPU."""
        return self._apply(lambda t: t.to(device="cpu"))

    def to_empty(self, *, device: Any, recurse: bool = True) -> Module:
        """Moves parameters and buffers to ``device`` without their values, which are arbitrary.

        Example:
            >>> import rustgrad as rg
            >>> layer = rg.nn.Linear(2, 3, device="meta")
            >>> layer.to_empty(device="cpu").weight.shape
            rustgrad.Size([3, 2])
        """
        return self._apply(lambda t: rg.empty_like(t, device=device), recurse=recurse)

    def train(self, mode: bool = True) -> Module:
        """Sets training mode, which layers such as ``Dropout`` look at, on the whole tree.

        Raises:
            ValueError: ``mode`` is not a bool.
        """
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Module:
        """Sets evaluation mode: ``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Sets whether gradients are computed for the parameters. Returns ``self``."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears the gradients of all parameters.

        Args:
            set_to_none: drop them rather than fill them with zeros. Default: ``True``.
        """
        for param in self.parameters():
            grad = param.grad
            if grad is None:
                continue
            if set_to_none:
                param.grad = None
            else:
                if grad.grad_fn is not None:
                    grad.detach_()
                else:
                    grad.requires_grad_(False)
                grad.zero_()

    def share_memory(self) -> Module:
        """Not supported.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            f"[{type(self).__name__}.share_memory] tensors cannot be put into memory shared "
            "between processes; send module.state_dict() to the other process instead"
        )

    # Printing

    def _get_name(self) -> str:
        return self.__class__.__name__

    def extra_repr(self) -> str:
        """Returns what stands between the brackets of the module's printed form."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {_indent(repr(module))}" for name, module in self._modules.items()]
        if len(lines) <= 1 and not children:
            return f"{self._get_name()}({extra})"
        body = "\n  ".join(lines + children)
        return f"{self._get_name()}(\n  {body}\n)"


def _indent(text: str) -> str:
    """Indents all lines but the first."""
    return text.replace("\n", "\n  ")


def _typename(value: Any) -> str:
    cls = type(value)
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__name__}"


def _parse_to(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, bool]:
    """Reads the arguments of ``Module.to``: device, dtype, non_blocking."""
    known = {"device", "dtype", "tensor", "other", "non_blocking", "memory_format"}
    for name in kwargs:
        if name not in known:
            raise TypeError(f"to() got an unexpected keyword argument '{name}'")
    if kwargs.get("memory_format") is not None:
        raise TypeError("to() does not support memory_format; tensors keep their own layout")
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    non_blocking = kwargs.get("non_blocking", False)
    other = kwargs.get("tensor", kwargs.get("other"))
    rest = list(args)
    if rest and isinstance(rest[0], rg.Tensor):
        other = rest.pop(0)
    elif rest and isinstance(rest[0], rg.dtype):
        dtype = rest.pop(0)
    elif rest:
        device = rest.pop(0)
        if device is not None and not isinstance(device, (str, int, rg.device)):
            raise TypeError(
                "to() received an invalid first argument: expected a device, a dtype or a "
                f"Tensor, but got {type(device).__name__}"
            )
        if rest and not isinstance(rest[0], bool):
            dtype = rest.pop(0)
            if dtype is not None and not isinstance(dtype, rg.dtype):
                raise TypeError(f"to() expected a dtype, but got {type(dtype).__name__}")
    if rest:
        non_blocking = rest.pop(0)
    if rest:
        raise TypeError(f"to() takes at most 3 positional arguments ({len(args)} given)")
    if other is not None:
        device, dtype = other.device, other.dtype
    return device, dtype, bool(non_blocking)
