"""Helpers that are not tensors, derivatives, layers or optimisers."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import checkpoint, flop_counter, hooks, module_tracker
else:
    from .._lazy import lazily

    _modules = ("checkpoint", "flop_counter", "hooks", "module_tracker")
    __getattr__, __dir__ = lazily(__name__, **{name: name for name in _modules})

__all__ = ["checkpoint", "flop_counter", "hooks", "module_tracker"]
