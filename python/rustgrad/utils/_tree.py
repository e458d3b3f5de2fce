"""Structures of tensors: tuples (also named ones), lists and dictionaries."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any


def map_tree(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same structure with ``function(leaf)`` for each leaf."""
    if isinstance(tree, dict):
        # Copies, since subclasses may be made from other things than their items.
        mapping = copy.copy(tree)
        mapping.update((key, map_tree(function, value)) for key, value in tree.items())
        return mapping
    if isinstance(tree, list):
        sequence = copy.copy(tree)
        sequence[:] = [map_tree(function, part) for part in tree]
        return sequence
    if isinstance(tree, tuple):
        parts = [map_tree(function, part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return function(tree)


def leaves(tree: Any) -> Iterator[Any]:
    """The leaves, in order."""
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (tuple, list)):
        yield tree
        return
    for part in tree:
        yield from leaves(part)
