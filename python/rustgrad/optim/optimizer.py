"""What all optimisers share: parameter groups, state, saving and loading."""

from __future__ import annotations

import functools
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

import rustgrad as rg
from rustgrad import _C

from ..utils.hooks import RemovableHandle, register

__all__ = [
    "Optimizer",
    "register_optimizer_step_post_hook",
    "register_optimizer_step_pre_hook",
]

# The hooks of steps of all optimisers.
_global_step_pre_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
_global_step_post_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(optimizer, args, kwargs)`` before each step of every optimiser.

    It runs before the hooks of the optimiser itself; see
    :meth:`Optimizer.register_step_pre_hook`.

    Returns:
        The handle that removes the hook.
    """
    return register(_global_step_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(optimizer, args, kwargs)`` after each step of every optimiser.

    It runs after the hooks of the optimiser itself.

    Returns:
        The handle that removes the hook.

    Example:
        >>> import rustgrad as rg
        >>> from rustgrad.optim.optimizer import register_optimizer_step_post_hook
        >>> optimizer = rg.optim.SGD([rg.ones(1, requires_grad=True)])
        >>> with register_optimizer_step_post_hook(lambda o, *_: print(type(o).__name__)):
        ...     optimizer.step()
        SGD
    """
    return register(_global_step_post_hooks, hook)


class _Required:
    """Marks a default that every group must give itself."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


class Optimizer:
    """Base class of all optimisers.

    A subclass passes the defaults of its options to ``__init__`` and defines :meth:`step`.

    Args:
        params: tensors, (name, tensor) pairs, or dictionaries with a key ``"params"`` and
            options that hold for that group only.
        defaults: options of the groups that do not set them.

    Attributes:
        param_groups: one dictionary per group, with its ``"params"`` and options.
        state: what the optimiser remembers of each parameter.
        defaults: the ``defaults`` given.

    Raises:
        TypeError: ``params`` is a tensor, a set, or holds other things than tensors.
        ValueError: there are no parameters, one is not a leaf, or one is in two groups.

    Example:
        >>> import rustgrad as rg
        >>> w = rg.nn.Parameter(rg.ones(2))
        >>> optimizer = rg.optim.SGD([w], lr=0.5)
        >>> w.sum().backward()
        >>> optimizer.step()
        >>> w.tolist()
        [0.5, 0.5]
    """

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        if isinstance(params, rg.Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or "
                f"dicts, but got {type(params).__name__}"
            )
        self.defaults = defaults
        self._make_hooks()
        self.state: defaultdict[rg.Tensor, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_step_pre_hooks" not in self.__dict__:
            self._make_hooks()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.__dict__["step"])  # type: ignore[method-assign]

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for index, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {index}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group, for example when a frozen layer is to be trained from now on.

        Args:
            param_group: a dictionary with a key ``"params"`` and options.

        Raises:
            TypeError: the group is not a dictionary, or its params not tensors in an order.
            ValueError: a parameter is not a leaf or in another group already, or an option
                without default is missing.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        group = dict(param_group)
        group.update(_read_params(group["params"]))
        for param in group["params"]:
            if not isinstance(param, rg.Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {type(param)}"
                )
            if not self.defaults.get("differentiable") and not param.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in group:
                raise ValueError(
                    "parameter group didn't specify a value of required optimization parameter "
                    f"{name}"
                )
            group.setdefault(name, default)
        ids = [id(param) for param in group["params"]]
        if len(ids) != len(set(ids)):
            import warnings

            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this "
                "will cause an error",
                stacklevel=3,
            )
        for other in self.param_groups:
            if not set(ids).isdisjoint(id(param) for param in other["params"]):
                raise ValueError("some parameters appear in more than one parameter group")
            if ("param_names" in other) != ("param_names" in group):
                raise ValueError(
                    "all optimizer param groups should be with/without names. cannot add param "
                    f"group with{'' if 'param_names' in group else 'out'} names to the optimizer"
                )
        self.param_groups.append(group)

    # Hooks

    # Whether a step is under way.
    _stepping = False

    def _make_hooks(self) -> None:
        self._step_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._step_post_hooks: OrderedDict[int, Any] = OrderedDict()
        self._state_dict_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._state_dict_post_hooks: OrderedDict[int, Any] = OrderedDict()
        self._load_state_dict_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._load_state_dict_post_hooks: OrderedDict[int, Any] = OrderedDict()

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` before each step.

        Args:
            hook: gets the positional arguments of :meth:`step`, of which the first is the optimiser
                itself, and the others; returns ``None``, or the pair ``(args, kwargs)`` that takes
                their place.

        Returns:
            The handle that removes the hook.

        Example:
            >>> import rustgrad as rg
            >>> optimizer = rg.optim.SGD([rg.ones(1, requires_grad=True)])
            >>> def with_closure(optimizer, args, kwargs):
            ...     return args, {"closure": lambda: 0.5}
            >>> handle = optimizer.register_step_pre_hook(with_closure)
            >>> optimizer.step()
            0.5
        """
        return register(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` after each step, unless it raised.

        Returns:
            The handle that removes the hook.

        Example:
            >>> import rustgrad as rg
            >>> optimizer = rg.optim.SGD([rg.ones(1, requires_grad=True)])
            >>> handle = optimizer.register_step_post_hook(lambda *args: print("stepped"))
            >>> optimizer.step()
            stepped
        """
        return register(self._step_post_hooks, hook)

    def register_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(optimizer)`` before :meth:`state_dict`; first of all with ``prepend``."""
        return register(self._state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` after :meth:`state_dict`.

        What the hook returns, unless ``None``, takes the place of the result.
        """
        return register(self._state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` before :meth:`load_state_dict`.

        What the hook returns, unless ``None``, is loaded instead. The dictionary it gets is a
        shallow copy.
        """
        return register(self._load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(optimizer)`` after :meth:`load_state_dict`."""
        return register(self._load_state_dict_post_hooks, hook, prepend)

    # Steps

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears the gradients of all parameters.

        Args:
            set_to_none: drop them rather than fill them with zeros. Default: ``True``.
        """
        params = [param for group in self.param_groups for param in group["params"]]
        if set_to_none:
            for param in params:
                param.grad = None
            return
        grads = [grad for param in params if (grad := param.grad) is not None]
        for grad in grads:
            if not grad.requires_grad:
                continue
            if grad.is_leaf:
                grad.requires_grad_(False)
            else:
                grad.detach_()
        with rg.no_grad():
            if not _C.zero_all(grads):
                for grad in grads:
                    grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Changes the parameters once.

        Args:
            closure: computes the loss, and its gradients, anew.

        Returns:
            What ``closure`` returned, or ``None``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define step()")

    @staticmethod
    def _evaluate(closure: Callable[[], Any] | None) -> Any:
        if closure is None:
            return None
        with rg.enable_grad():
            return closure()

    # Saving and loading

    def state_dict(self) -> dict[str, Any]:
        """Returns the state and the options.

        Returns:
            ``"state"``, from the number of a parameter to what is remembered of it, and
            ``"param_groups"``, the groups with numbers in place of parameters. The tensors
            share memory with the optimiser.
        """
        for hook in list(self._state_dict_pre_hooks.values()):
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            packed = {key: value for key, value in group.items() if key != "params"}
            packed["params"] = [
                numbers.setdefault(id(param), len(numbers)) for param in group["params"]
            ]
            groups.append(packed)
        state = {
            (numbers[id(key)] if isinstance(key, rg.Tensor) else key): value
            for key, value in self.state.items()
        }
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in list(self._state_dict_post_hooks.values()):
            changed = hook(self, result)
            if changed is not None:
                result = changed
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` returned; ``state_dict`` is not changed.

        Parameters are matched by their order. Tensors are copied, and converted to the dtype
        and device of their parameter.

        Raises:
            ValueError: the groups, or their numbers of parameters, differ; nothing is changed
                then.
        """
        state_dict = state_dict.copy()
        for hook in list(self._load_state_dict_pre_hooks.values()):
            changed = hook(self, state_dict)
            if changed is not None:
                state_dict = changed
        saved_groups = state_dict["param_groups"]
        groups = self.param_groups
        if len(groups) != len(saved_groups):
            raise ValueError(
                "loaded state dict has a different number of parameter groups: "
                f"{len(saved_groups)}, the optimizer has {len(groups)}"
            )
        for index, (group, saved) in enumerate(zip(groups, saved_groups, strict=True)):
            if len(group["params"]) != len(saved["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of "
                    f"optimizer's group: group {index} has {len(saved['params'])} parameters, "
                    f"the optimizer's has {len(group['params'])}"
                )
        params = dict(
            zip(
                chain.from_iterable(saved["params"] for saved in saved_groups),
                chain.from_iterable(group["params"] for group in groups),
                strict=True,
            )
        )
        state: defaultdict[Any, Any] = defaultdict(dict)
        for number, value in state_dict["state"].items():
            if number in params:
                state[params[number]] = _like_param(params[number], value)
            else:
                state[number] = value
        loaded_groups = []
        for group, saved in zip(groups, saved_groups, strict=True):
            loaded = deepcopy({key: value for key, value in saved.items() if key != "params"})
            loaded["params"] = group["params"]
            # The names say what is optimised here, not what the file was made from.
            if "param_names" in group:
                loaded["param_names"] = group["param_names"]
            loaded_groups.append(loaded)
        self.__setstate__({"state": state, "param_groups": loaded_groups})
        for hook in list(self._load_state_dict_post_hooks.values()):
            hook(self)


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """A subclass's ``step``, between the hooks."""
    if getattr(step, "_runs_hooks", False):
        return step

    @functools.wraps(step)
    def wrapper(self: Optimizer, *others: Any, **kwargs: Any) -> Any:
        if self._stepping:
            # The step of a base class, as part of this one.
            return step(self, *others, **kwargs)
        args = (self, *others)
        for hook in (*_global_step_pre_hooks.values(), *self._step_pre_hooks.values()):
            changed = hook(self, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(
                        "a step pre-hook must return None or a tuple of (new_args, new_kwargs), "
                        f"but got {changed!r}"
                    )
                args, kwargs = changed
                if not (args and args[0] is self):
                    raise RuntimeError(
                        "the new_args that a step pre-hook returns must begin with the optimizer, "
                        f"as those it gets do, but got {args!r}"
                    )
        self._stepping = True
        try:
            result = step(*args, **kwargs)
        finally:
            self._stepping = False
        for hook in (*self._step_post_hooks.values(), *_global_step_post_hooks.values()):
            hook(self, args, kwargs)
        return result

    wrapper._runs_hooks = True  # type: ignore[attr-defined]
    return wrapper


def _read_params(params: Any) -> dict[str, list[Any]]:
    """The parameters in a list and, if they came with names, the names."""
    if isinstance(params, rg.Tensor):
        return {"params": [params]}
    if isinstance(params, (set, frozenset)):
        raise TypeError(
            "optimizer parameters need to be organized in ordered collections, but the ordering "
            "of tensors in sets will change between runs. Please use a list instead."
        )
    params = list(params)
    named = [isinstance(param, tuple) for param in params]
    if not any(named):
        return {"params": params}
    if not all(named):
        raise ValueError(
            "all optimizer params should be with/without names. Some param names are missing"
        )
    return {
        "params": [param for _, param in params],
        "param_names": [name for name, _ in params],
    }


def _like_param(param: rg.Tensor, value: Any, key: str | None = None) -> Any:
    """Copies loaded state, with its tensors as the parameter's."""
    if isinstance(value, rg.Tensor):
        value = value.detach()
        # A count of steps stays exact and is read by the host.
        if key != "step":
            dtype = param.dtype if param.is_floating_point() else value.dtype
            value = value.to(device=param.device, dtype=dtype)
        return value.clone()
    if isinstance(value, dict):
        return {name: _like_param(param, entry, name) for name, entry in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return type(value)(_like_param(param, entry) for entry in value)  # type: ignore[call-arg]
    return value


def check_hints(foreach: bool | None, fused: bool | None, differentiable: bool) -> None:
    """Refuses combinations of performance hints that PyTorch refuses."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def check_option(name: str, value: Any, limit: float | None = None) -> None:
    """Refuses options that are negative, or not below ``limit``."""
    if not value >= 0.0 or (limit is not None and not value < limit):
        raise ValueError(f"Invalid {name}: {value}")


def scalar(value: Any) -> Any:
    """A one-element tensor's value as a number; numbers as they are."""
    return value.item() if isinstance(value, rg.Tensor) else value
