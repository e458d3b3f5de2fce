"""Parts of a package that are imported when they are first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def lazily(package: str, **parts: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` for a package.

    Args:
        package: the package's name.
        parts: for each name, the module of the package that it comes from; a module has its own.
    """
    namespace = vars(sys.modules[package])

    def __getattr__(name: str) -> Any:
        if name not in parts:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        found = import_module(f"{package}.{parts[name]}")
        # From now on it is found without this function.
        namespace[name] = found if name == parts[name] else getattr(found, name)
        return namespace[name]

    def __dir__() -> list[str]:
        return sorted({*namespace, *parts})

    return __getattr__, __dir__
