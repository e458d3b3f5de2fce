"""Functions of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rustgrad import _C
from rustgrad.autograd import forward_ad
from rustgrad.utils._tree import leaves, map_tree

__all__ = ["jvp"]


def jvp(
    func: Callable[..., Any],
    primals: Any,
    tangents: Any,
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """The value of ``func`` and its derivative in a direction, in one forward pass.

    Args:
        func: takes the primals; returns tensors, also in tuples, lists and dictionaries.
        primals: the tuple of arguments, tensors or such structures of them.
        tangents: the direction: as ``primals``, with the same shapes and types.
        strict: an output that does not depend on the primals raises, instead of giving zeros.
        has_aux: ``func`` returns a pair, and its second part is handed through.

    Returns:
        ``(output, derivative)``, or ``(output, derivative, aux)`` with ``has_aux``.

    Raises:
        RuntimeError: ``primals`` is not a tuple of such structures, ``tangents`` does not match
            it, ``func`` returns something else than tensors, or ``strict`` is violated.
        ValueError: a primal is not floating point, or its tangent of another type.

    >>> import rustgrad as rg
    >>> rg.func.jvp(rg.sin, (rg.tensor(0.0),), (rg.tensor(2.0),))
    (tensor(0.), tensor(2.))
    """
    if not isinstance(primals, tuple):
        raise RuntimeError(
            "jvp(f, primals, tangents): expected primals to be a tuple. E.g. it should be valid "
            f"to call f(*primals), but got {type(primals).__name__}"
        )
    points, directions = list(leaves(primals)), list(leaves(tangents))
    if not points:
        raise RuntimeError("jvp(f, primals, tangents): expected primals to be non-empty")
    for kind, parts in (("primals", points), ("tangents", directions)):
        for leaf in parts:
            if not _C.is_tensor(leaf):
                raise RuntimeError(
                    f"jvp(f, primals, tangents): expected {kind} to contain only tensors, but got "
                    f"{type(leaf).__name__}"
                )
    if _shape_of(primals) != _shape_of(tangents):
        raise RuntimeError(
            "jvp(f, primals, tangents): expected primals and tangents to have the same python "
            f"structure, but got {_shape_of(primals)} and {_shape_of(tangents)}"
        )
    with forward_ad.dual_level() as level:
        pairs = zip(points, directions, strict=True)
        duals = iter([forward_ad.make_dual(x, v, level=level) for x, v in pairs])
        result = func(*map_tree(lambda _: next(duals), primals))
        aux: tuple = ()
        if has_aux:
            if not (isinstance(result, tuple) and len(result) == 2):
                raise RuntimeError(
                    "jvp(f, primals, tangents): with has_aux=True, f is expected to return "
                    "(output, aux)"
                )
            result, extra = result
            aux = (map_tree(lambda t: _unpack(t, level)[0], extra),)
        for leaf in leaves(result):
            if not _C.is_tensor(leaf):
                raise RuntimeError(
                    "jvp(f, primals, tangents): expected f to return only tensors, but got "
                    f"{type(leaf).__name__}"
                )
        output = map_tree(lambda t: _unpack(t, level)[0], result)
        derivative = map_tree(lambda t: _tangent(t, level, strict), result)
    return (output, derivative, *aux)


def _unpack(value: Any, level: int) -> tuple[Any, Any]:
    return forward_ad.unpack_dual(value, level=level) if _C.is_tensor(value) else (value, None)


def _tangent(output: Any, level: int, strict: bool) -> Any:
    primal, tangent = _unpack(output, level)
    if tangent is not None:
        return tangent
    if strict:
        raise RuntimeError(
            "jvp(f, primals, tangents, strict=True): an output of f is independent of the inputs"
        )
    return _C.zeros_like(primal.detach())


def _shape_of(tree: Any) -> Any:
    return map_tree(lambda leaf: "*", tree)
