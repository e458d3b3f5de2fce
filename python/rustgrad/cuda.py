"""CUDA: there is none. What programs ask before they choose a device is answered."""

from __future__ import annotations


def is_available() -> bool:
    """Whether tensors can live on a CUDA device: never.

    >>> import rustgrad as rg
    >>> device = "cuda" if rg.cuda.is_available() else "cpu"
    >>> device
    'cpu'
    """
    return False


def device_count() -> int:
    """How many CUDA devices there are: 0."""
    return 0


def manual_seed(seed: int) -> None:
    """Seeds the current CUDA device's generator: there is none to seed, as on any such machine."""


def manual_seed_all(seed: int) -> None:
    """Seeds the generators of all CUDA devices: there is none to seed."""
