"""Modules that hold modules or parameters in a sequence or a mapping."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import rustgrad as rg

from ..parameter import Parameter
from .module import Module, _indent

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


def _position(index: int, length: int) -> int:
    """Turns an index, which may count from the end, into a position."""
    try:
        position = index.__index__()
    except AttributeError:
        raise TypeError(f"indices must be integers or slices, not {type(index).__name__}") from None
    if not -length <= position < length:
        raise IndexError(f"index {position} is out of range")
    return position % length


def _require_iterable(where: str, values: Any, what: str = "an iterable") -> None:
    if not isinstance(values, Iterable) or isinstance(values, rg.Tensor):
        raise TypeError(f"{where} should be called with {what}, but got {type(values).__name__}")


def _dir_without_numbers(module: Module) -> list[str]:
    return [name for name in Module.__dir__(module) if not name.isdigit()]


class _ModuleSequence(Module):
    """What ``Sequential`` and ``ModuleList`` share: children named "0", "1", ..."""

    _modules: dict[str, Module]  # type: ignore[assignment]

    def _replace_all(self, modules: Iterable[Module]) -> None:
        """Numbers the children anew, as after a deletion."""
        self._modules = {str(position): module for position, module in enumerate(modules)}

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self._modules.values())[index])
        key = list(self._modules)[_position(index, len(self))]
        return self._modules[key]

    def __setitem__(self, index: int, module: Module) -> None:
        key = list(self._modules)[_position(index, len(self))]
        setattr(self, key, module)

    def __delitem__(self, index: int | slice) -> None:
        modules = list(self._modules.values())
        del modules[index if isinstance(index, slice) else _position(index, len(modules))]
        self._replace_all(modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def append(self, module: Module) -> Any:
        """Adds ``module`` at the end. Returns ``self``."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Adds all of ``modules`` at the end. Returns ``self``.

        Raises:
            TypeError: ``modules`` cannot be iterated over.
        """
        _require_iterable(f"{type(self).__name__}.extend", modules)
        # A copy, so that a container can be extended by itself.
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Puts ``module`` before position ``index``."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        modules = list(self._modules.values())
        modules.insert(index, module)
        self._replace_all(modules)

    def pop(self, index: int | slice) -> Module:
        """Takes out the module at ``index`` and returns it."""
        module = self[index]
        del self[index]
        return module

    def __iadd__(self, other: Iterable[Module]) -> Any:
        return self.extend(other)

    def __dir__(self) -> list[str]:
        return _dir_without_numbers(self)


class Sequential(_ModuleSequence):
    """Runs modules one after another: each gets what the one before returned.

    Args:
        args: the modules, or one ``OrderedDict`` of names and modules.

    Example:
        >>> import rustgrad as rg
        >>> m = rg.nn.Sequential(rg.nn.Linear(3, 4), rg.nn.ReLU(), rg.nn.Linear(4, 2))
        >>> m(rg.zeros(5, 3)).shape == (5, 2)
        True
        >>> m[1]
        ReLU()
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            for position, module in enumerate(args):
                self.add_module(str(position), module)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(OrderedDict(list(self._modules.items())[index]))
        return super().__getitem__(index)

    def __delitem__(self, index: int | slice) -> None:
        keys = list(self._modules)
        if isinstance(index, slice):
            for key in keys[index]:
                delattr(self, key)
        else:
            delattr(self, keys[_position(index, len(keys))])
        # Names given by the user stay; numbers must have no gap, or append would overwrite.
        if all(key.isdigit() for key in self._modules):
            self._replace_all(self._modules.values())

    def insert(self, index: int, module: Module) -> Sequential:
        """Puts ``module`` before position ``index``, and numbers all anew. Returns ``self``.

        Raises:
            IndexError: ``index`` is out of range.
            TypeError: ``module`` is not a module.
        """
        length = len(self)
        if not -length <= index <= length:
            raise IndexError(f"Index out of range: {index}")
        super().insert(index, module)
        return self

    def forward(self, input: Any) -> Any:
        for module in self._modules.values():
            input = module(input)
        return input

    def __add__(self, other: Sequential) -> Sequential:
        if not isinstance(other, Sequential):
            raise ValueError(
                "add operator supports only objects of Sequential class, but "
                f"{type(other)} is given."
            )
        return Sequential(*self, *other)

    def __iadd__(self, other: Iterable[Module]) -> Sequential:
        if not isinstance(other, Sequential):
            raise ValueError(
                "add operator supports only objects of Sequential class, but "
                f"{type(other)} is given."
            )
        return self.extend(other)

    def _check_factor(self, other: int) -> None:
        if not isinstance(other, int):
            raise TypeError(f"unsupported operand type(s) for *: {type(self)} and {type(other)}")
        if other <= 0:
            raise ValueError(f"Non-positive multiplication factor {other} for {type(self)}")

    def __mul__(self, other: int) -> Sequential:
        self._check_factor(other)
        return Sequential(*list(self) * other)

    def __rmul__(self, other: int) -> Sequential:
        return self * other

    def __imul__(self, other: int) -> Sequential:
        self._check_factor(other)
        return self.extend(list(self) * (other - 1))


class ModuleList(_ModuleSequence):
    """Modules in a list; their parameters are registered.

    Args:
        modules: the modules, in any iterable.

    Example:
        >>> import rustgrad as rg
        >>> layers = rg.nn.ModuleList(rg.nn.Linear(2, 2) for _ in range(3))
        >>> len(layers), len(layers[1:]), len(list(layers.parameters()))
        (3, 2, 6)
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __repr__(self) -> str:
        """As for any module, with runs of equal children on one line."""
        runs: list[tuple[int, int, str]] = []
        for position, text in enumerate(repr(module) for module in self):
            if runs and runs[-1][2] == text:
                runs[-1] = (runs[-1][0], position, text)
            else:
                runs.append((position, position, text))
        if not runs:
            return f"{self._get_name()}()"
        lines = [
            f"({first}): {_indent(text)}"
            if first == last
            else f"({first}-{last}): {last - first + 1} x {_indent(text)}"
            for first, last, text in runs
        ]
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


class ModuleDict(Module):
    """Modules by name; their parameters are registered.

    Args:
        modules: a mapping, or pairs of name and module.

    Example:
        >>> import rustgrad as rg
        >>> heads = rg.nn.ModuleDict({"a": rg.nn.Linear(2, 1), "b": rg.nn.Linear(2, 3)})
        >>> list(heads), heads["b"].out_features
        (['a', 'b'], 3)
    """

    _modules: dict[str, Module]  # type: ignore[assignment]

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Module:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Takes all modules out."""
        self._modules.clear()

    def pop(self, key: str) -> Module:
        """Takes out the module of that name and returns it."""
        module = self[key]
        del self[key]
        return module

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def items(self) -> Iterable[tuple[str, Module]]:
        """The pairs of name and module."""
        return self._modules.items()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return self._modules.values()

    def update(self, modules: Any) -> None:
        """Adds modules, in place of those of the same names.

        Args:
            modules: a mapping, or pairs of name and module.

        Raises:
            TypeError: ``modules`` is neither.
            ValueError: an element is not a pair.
        """
        for key, module in _pairs("ModuleDict", modules):
            self[key] = module


def _pairs(kind: str, values: Any) -> list[tuple[Any, Any]]:
    """The pairs of a mapping or of an iterable of pairs."""
    _require_iterable(f"{kind}.update", values, "an iterable of key/value pairs")
    if isinstance(values, (Mapping, ModuleDict, ParameterDict)):
        return list(values.items())
    pairs = []
    for position, pair in enumerate(values):
        if not isinstance(pair, Iterable):
            raise TypeError(
                f"{kind} update sequence element #{position} should be Iterable; is "
                f"{type(pair).__name__}"
            )
        pair = tuple(pair)
        if len(pair) != 2:
            raise ValueError(
                f"{kind} update sequence element #{position} has length {len(pair)}; 2 is required"
            )
        pairs.append(pair)
    return pairs


def _as_member(value: Any) -> Any:
    """Tensors become parameters, so that they are registered; anything else stays."""
    if isinstance(value, rg.Tensor) and not isinstance(value, Parameter):
        return Parameter(value)
    return value


def _describe(value: Any) -> str:
    if not isinstance(value, rg.Tensor):
        return f"Object of type: {type(value).__name__}"
    kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
    size = "x".join(str(size) for size in value.shape)
    return f"{kind} containing: [{value.dtype} of size {size}]"


class ParameterList(Module):
    """Parameters in a list; they are registered, and tensors become parameters.

    Args:
        values: the parameters, in any iterable; other objects are kept as they are.

    Example:
        >>> import rustgrad as rg
        >>> weights = rg.nn.ParameterList(rg.zeros(2) for _ in range(3))
        >>> len(weights), weights[-1].requires_grad
        (3, True)
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        if values is not None:
            self.extend(values)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return getattr(self, str(_position(index, len(self))))

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, str(_position(index, len(self))), _as_member(value))

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return iter([self[position] for position in range(len(self))])

    def append(self, value: Any) -> ParameterList:
        """Adds ``value`` at the end. Returns ``self``."""
        self._size += 1
        self[-1] = value
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Adds all of ``values`` at the end. Returns ``self``.

        Raises:
            TypeError: ``values`` is a tensor or cannot be iterated over.
        """
        _require_iterable("ParameterList.extend", values)
        for value in list(values):
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Any]) -> ParameterList:
        return self.extend(values)

    def __dir__(self) -> list[str]:
        return _dir_without_numbers(self)

    def extra_repr(self) -> str:
        return "\n".join(f"  ({position}): {_describe(v)}" for position, v in enumerate(self))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ParameterList should not be called.")


class ParameterDict(Module):
    """Parameters by name; they are registered, and tensors become parameters.

    Args:
        parameters: a mapping, or pairs of name and parameter; other objects are kept as they
            are.

    Example:
        >>> import rustgrad as rg
        >>> weights = rg.nn.ParameterDict({"left": rg.zeros(2), "right": rg.ones(2)})
        >>> [name for name, _ in weights.named_parameters()]
        ['left', 'right']
    """

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        # In the order of insertion, which the tables of parameters and others together lack.
        self._keys: dict[str, None] = {}
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key: str) -> Any:
        return getattr(self, self._checked(key))

    def __setitem__(self, key: str, value: Any) -> None:
        key = self._checked(key)
        setattr(self, key, _as_member(value))
        self._keys[key] = None

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, key)

    @staticmethod
    def _checked(key: Any) -> str:
        if not isinstance(key, str):
            raise TypeError(
                f"keys of a ParameterDict must be strings, but got {key!r} of type "
                f"{type(key).__name__}"
            )
        return key

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self._keys))

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def copy(self) -> ParameterDict:
        """Returns a new dictionary with the same parameters."""
        return ParameterDict(OrderedDict(self.items()))

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Returns the value of ``key``; sets it to ``default`` first if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def clear(self) -> None:
        """Takes everything out."""
        for key in list(self._keys):
            del self[key]

    def pop(self, key: str) -> Any:
        """Takes out the value of ``key`` and returns it."""
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Takes out the pair that was put in last and returns it."""
        key = next(reversed(self))
        return key, self.pop(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Returns the value of ``key``, or ``default``."""
        return self[key] if key in self else default

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """Returns a new dictionary with every key set to ``default``."""
        return ParameterDict((key, default) for key in keys)

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._keys.keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """The pairs of name and value."""
        return ((key, self[key]) for key in self._keys)

    def values(self) -> Iterable[Any]:
        """The values."""
        return (self[key] for key in self._keys)

    def update(self, parameters: Any) -> None:
        """Adds values, in place of those of the same names.

        Args:
            parameters: a mapping, or pairs of name and value. Plain dictionaries are taken in
                the order of their sorted keys, ordered ones as they are.

        Raises:
            TypeError: ``parameters`` is neither.
            ValueError: an element is not a pair.
        """
        pairs = _pairs("ParameterDict", parameters)
        if isinstance(parameters, Mapping) and not isinstance(parameters, OrderedDict):
            pairs.sort(key=lambda pair: pair[0])
        for key, value in pairs:
            self[key] = value

    def extra_repr(self) -> str:
        return "\n".join(f"  ({key}): {_describe(value)}" for key, value in self.items())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ParameterDict should not be called.")

    def __or__(self, other: ParameterDict) -> ParameterDict:
        result = self.copy()
        result.update(other)
        return result

    def __ror__(self, other: ParameterDict) -> ParameterDict:
        result = other.copy()
        result.update(self)
        return result

    def __ior__(self, other: ParameterDict) -> ParameterDict:
        self.update(other)
        return self
