"""A module's state dictionary: saving it and loading it."""

from __future__ import annotations

import weakref
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Mapping
from typing import Any

import rustgrad as rg

from ...utils.hooks import RemovableHandle, register
from ..parameter import Parameter

__all__ = ["IncompatibleKeys", "StateDict"]

_EXTRA_STATE_KEY = "_extra_state"
_PENDING = "_pending_copies"


_Keys = namedtuple("_Keys", ["missing_keys", "unexpected_keys"])


class IncompatibleKeys(_Keys):
    """What ``load_state_dict`` returns: the keys that found no counterpart."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


class StateDict:
    """The part of :class:`~rustgrad.nn.Module` that saves and loads its state.

    NOTE [Loading is all or nothing]: ``_load_from_state_dict`` compares names and shapes and puts
    the copies that are to be done into a list; ``load_state_dict`` runs that list only once the
    whole tree has been compared, so a failed load leaves every tensor as it was. Two cases must
    copy earlier, as PyTorch does: a subclass that overrides ``_load_from_state_dict`` may look
    at the loaded values right after ``super()``, so its own copies are immediate; and a
    post-hook may forgive keys that do not match, so hooks run after the copies.
    """

    _version: int = 1

    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _non_persistent_buffers_set: set[str]
    _modules: dict[str, Any]
    _state_dict_hooks: OrderedDict[int, Callable[..., Any]]
    _state_dict_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _load_state_dict_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _load_state_dict_post_hooks: OrderedDict[int, Callable[..., Any]]

    # Saving

    def state_dict(
        self,
        *args: Any,
        destination: dict[str, Any] | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        """Returns the parameters and persistent buffers, by name.

        The tensors share memory with the module. Versions are kept in the result's
        ``_metadata``.

        Args:
            args: ``destination``, ``prefix`` and ``keep_vars`` by position (deprecated).
            destination: a dictionary to fill, instead of a new one.
            prefix: put before every name. Default: ``""``.
            keep_vars: return the parameters themselves, not detached. Default: ``False``.

        Returns:
            An ordered dictionary from name to tensor.

        Example:
            >>> import rustgrad as rg
            >>> list(rg.nn.Linear(2, 3).state_dict())
            ['weight', 'bias']
        """
        if args:
            import warnings

            warnings.warn(
                "state_dict: positional arguments are deprecated; use destination=, prefix= "
                "and keep_vars=",
                FutureWarning,
                stacklevel=2,
            )
            if destination is None:
                destination = args[0]
            prefix = args[1] if len(args) > 1 and prefix == "" else prefix
            keep_vars = args[2] if len(args) > 2 and keep_vars is False else keep_vars
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()  # type: ignore[attr-defined]

        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in list(self._state_dict_pre_hooks.values()):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        for hook in list(self._state_dict_hooks.values()):
            replaced = hook(self, destination, prefix, local_metadata)
            if getattr(hook, "_from_public_api", False):
                if replaced is not None:
                    raise RuntimeError("state_dict post-hook must return None")
            elif replaced is not None:
                destination = replaced
        return destination

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        """Puts this module's own tensors, not its children's, into ``destination``."""
        for name, param in self._parameters.items():
            if param is not None:
                destination[prefix + name] = param if keep_vars else param.detach()
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = buffer if keep_vars else buffer.detach()
        if type(self).get_extra_state is not StateDict.get_extra_state:
            destination[prefix + _EXTRA_STATE_KEY] = self.get_extra_state()

    def get_extra_state(self) -> Any:
        """Returns state beyond tensors, to be saved with them; override together with
        :meth:`set_extra_state`.

        Raises:
            RuntimeError: the class does not override it.
        """
        raise RuntimeError(
            "Reached a code path in Module.get_extra_state() that should never be called; "
            "override it together with set_extra_state()"
        )

    def set_extra_state(self, state: Any) -> None:
        """Takes back what :meth:`get_extra_state` returned.

        Raises:
            RuntimeError: the class does not override it.
        """
        raise RuntimeError(
            "Reached a code path in Module.set_extra_state() that should never be called; "
            "override it together with get_extra_state()"
        )

    # Loading

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copies the values in ``state_dict`` into this module and its descendants.

        All mismatches are found before anything is copied, and are reported together.

        Args:
            state_dict: from name to tensor, as :meth:`state_dict` returns it.
            strict: whether the names must match exactly. Default: ``True``.
            assign: put the tensors of ``state_dict`` in place of the module's, keeping their
                dtype and memory, rather than copy. Default: ``False``.

        Returns:
            The ``missing_keys`` and ``unexpected_keys``.

        Raises:
            TypeError: ``state_dict`` is not a mapping.
            RuntimeError: shapes differ, or ``strict`` and names differ.

        Example:
            >>> import rustgrad as rg
            >>> a, b = rg.nn.Linear(2, 3), rg.nn.Linear(2, 3)
            >>> b.load_state_dict(a.state_dict())
            <All keys matched successfully>
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"Expected state_dict to be dict-like, got {type(state_dict)}; "
                "pass what module.state_dict() returned"
            )
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        pending: list[Callable[[], None]] = []
        walked: list[StateDict] = []
        metadata = getattr(state_dict, "_metadata", None)
        # Hooks may rename keys: they must do so in a copy, not in the caller's dictionary.
        state = OrderedDict(state_dict)
        if metadata is not None:
            state._metadata = metadata  # type: ignore[attr-defined]

        def compare(module: Any, entries: Mapping[str, Any], prefix: str) -> None:
            local_metadata = {} if metadata is None else dict(metadata.get(prefix[:-1], {}))
            if assign:
                local_metadata["assign_to_params_buffers"] = True
            if type(module)._load_from_state_dict is StateDict._load_from_state_dict:
                local_metadata[_PENDING] = pending
            module._load_from_state_dict(
                entries, prefix, local_metadata, True, missing, unexpected, errors
            )
            for name, child in module._modules.items():
                if child is not None:
                    child_prefix = f"{prefix}{name}."
                    below = {k: v for k, v in entries.items() if k.startswith(child_prefix)}
                    compare(child, below, child_prefix)
            walked.append(module)

        compare(self, state, "")
        incompatible = IncompatibleKeys(missing, unexpected)
        forgiving = any(module._load_state_dict_post_hooks for module in walked)
        if not errors and (forgiving or not strict or not (missing or unexpected)):
            for copy in pending:
                copy()
            for module in walked:
                for hook in list(module._load_state_dict_post_hooks.values()):
                    if hook(module, incompatible) is not None:
                        raise AssertionError(
                            "Hooks registered with register_load_state_dict_post_hook must "
                            "return None; change the incompatible_keys in place instead"
                        )
        if strict:
            for title, keys in (("Unexpected", unexpected), ("Missing", missing)):
                if keys:
                    names = ", ".join(f'"{key}"' for key in keys)
                    errors.insert(0, f"{title} key(s) in state_dict: {names}. ")
        if errors:
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t"
                + "\n\t".join(errors)
            )
        return incompatible

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Loads this module's own tensors, not its children's; see NOTE [Loading is all or
        nothing]. Appends to the three lists what does not fit.
        """
        pending = local_metadata.pop(_PENDING, None)
        assign = local_metadata.get("assign_to_params_buffers", False)
        for hook in list(self._load_state_dict_pre_hooks.values()):
            hook(
                state_dict,
                prefix,
                local_metadata,
                strict,
                missing_keys,
                unexpected_keys,
                error_msgs,
            )
        own = dict(self._parameters)
        for name, buffer in self._buffers.items():
            if name not in self._non_persistent_buffers_set:
                own[name] = buffer
        own = {name: tensor for name, tensor in own.items() if tensor is not None}

        todo: list[Callable[[], None]] = []
        for name, tensor in own.items():
            key = prefix + name
            if key not in state_dict:
                if strict:
                    missing_keys.append(key)
                continue
            value = state_dict[key]
            problem, value = _fit(key, tensor, value)
            if problem is not None:
                error_msgs.append(problem)
            elif assign:
                todo.append(_assignment(self, name, tensor, value))
            else:
                todo.append(_copy(tensor, value))

        extra_key = prefix + _EXTRA_STATE_KEY
        if type(self).set_extra_state is not StateDict.set_extra_state:
            if extra_key in state_dict:
                extra_state = state_dict[extra_key]
                todo.append(lambda: self.set_extra_state(extra_state))
            elif strict:
                missing_keys.append(extra_key)
        elif strict and extra_key in state_dict:
            unexpected_keys.append(extra_key)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra_key:
                    head, *rest = key[len(prefix) :].split(".", 1)
                    if head not in (self._modules if rest else own):
                        unexpected_keys.append(key)

        if pending is not None:
            pending.extend(todo)
        else:
            for copy in todo:
                copy()

    # Hooks

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Registers ``hook(module, prefix, keep_vars)``, run before :meth:`state_dict` works."""
        return register(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Registers ``hook(module, state_dict, prefix, local_metadata)``, which may change
        ``state_dict`` in place and must return ``None``.
        """
        hook._from_public_api = True  # type: ignore[attr-defined]
        return register(self._state_dict_hooks, hook)

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        if getattr(hook, "_from_public_api", False):
            raise RuntimeError(
                "Cannot register the same function as the state dict post hook that was "
                "previously registered via register_state_dict_post_hook"
            )
        return register(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Registers ``hook(module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs)``, run before this module's tensors are loaded; it may
        change ``state_dict`` in place, for example to rename keys.
        """
        return register(self._load_state_dict_pre_hooks, _Bound(hook, self))

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> RemovableHandle:
        return register(
            self._load_state_dict_pre_hooks, _Bound(hook, self) if with_module else hook
        )

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Registers ``hook(module, incompatible_keys)``, run after the tensors are loaded; it may
        take keys out of ``incompatible_keys`` in place, which forgives them.
        """
        return register(self._load_state_dict_post_hooks, hook)


class _Bound:
    """Calls a hook with the module it was registered on as first argument.

    A class rather than a closure, so that modules with hooks can be pickled and copied: the
    module inside is replaced by its copy. The reference is weak, as the module owns the hook.
    """

    def __init__(self, hook: Callable[..., Any], module: Any) -> None:
        self.__setstate__((hook, module))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._hook(self._module(), *args, **kwargs)

    def __getstate__(self) -> tuple[Callable[..., Any], Any]:
        return self._hook, self._module()

    def __setstate__(self, state: tuple[Callable[..., Any], Any]) -> None:
        self._hook, module = state
        self._module = weakref.ref(module)


def _fit(key: str, tensor: rg.Tensor, value: Any) -> tuple[str | None, Any]:
    """Compares a value with the tensor it is for: the complaint, if any, and the value."""
    if not isinstance(value, rg.Tensor):
        return (
            f'While copying the parameter named "{key}", expected Tensor or Tensor-like object '
            f"from checkpoint but received {type(value)}"
        ), None
    # Checkpoints from before 0-dimensional tensors existed hold a vector of one element.
    if tensor.dim() == 0 and value.dim() == 1 and value.shape[0] == 1:
        value = value[0]
    if tuple(value.shape) != tuple(tensor.shape):
        return (
            f"size mismatch for {key}: copying a param with shape {value.shape} from "
            f"checkpoint, the shape in current model is {tensor.shape}."
        ), None
    return None, value


def _copy(tensor: rg.Tensor, value: rg.Tensor) -> Callable[[], None]:
    def run() -> None:
        with rg.no_grad():
            tensor.copy_(value)

    return run


def _assignment(module: Any, name: str, tensor: rg.Tensor, value: rg.Tensor) -> Callable[[], None]:
    def run() -> None:
        new = value
        if isinstance(tensor, Parameter):
            if isinstance(value, Parameter):
                new.requires_grad_(tensor.requires_grad)
            else:
                new = Parameter(value, requires_grad=tensor.requires_grad)
        setattr(module, name, new)

    return run
