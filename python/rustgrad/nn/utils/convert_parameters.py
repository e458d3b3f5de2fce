"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

import rustgrad as rg

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[rg.Tensor]) -> rg.Tensor:
    """Joins the elements of all parameters into one vector.

    Args:
        parameters: tensors of any shapes, on one device.

    Returns:
        Shape (total number of elements,); gradients flow through it.

    Raises:
        TypeError: the parameters are on different devices.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.utils.parameters_to_vector(rg.nn.Linear(3, 2).parameters()).shape == (8,)
        True
    """
    parameters = list(parameters)
    _check_devices(parameters)
    return rg.cat([param.reshape(-1) for param in parameters])


def vector_to_parameters(vec: rg.Tensor, parameters: Iterable[rg.Tensor]) -> None:
    """Makes the parameters show the consecutive parts of ``vec``.

    Args:
        vec: shape (total number of elements,); its memory is shared with the parameters.
        parameters: tensors that take their values from it.

    Raises:
        TypeError: ``vec`` is not a tensor, or the parameters are on different devices.
        ValueError: ``vec`` has too few elements; nothing is changed then.
    """
    if not isinstance(vec, rg.Tensor):
        raise TypeError(f"expected Tensor, but got: {type(vec).__name__}")
    parameters = list(parameters)
    _check_devices(parameters)
    needed = sum(param.numel() for param in parameters)
    if vec.numel() < needed:
        raise ValueError(
            f"[vector_to_parameters] the parameters have {needed} elements, but the vector only "
            f"{vec.numel()}"
        )
    start = 0
    for param in parameters:
        size = param.numel()
        param.data = vec[start : start + size].view(param.shape).data
        start += size


def _check_devices(parameters: list[rg.Tensor]) -> None:
    if any(param.device != parameters[0].device for param in parameters):
        raise TypeError(
            "Found two parameters on different devices, this is currently not supported."
        )
