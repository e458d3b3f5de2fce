"""Devices other than the CPU: there is none. What programs ask before they choose is answered."""

from __future__ import annotations


def is_available() -> bool:
    """Whether there is a device other than the CPU: never.

    >>> import rustgrad as rg
    >>> rg.accelerator.is_available()
    False
    """
    return False


def current_accelerator(check_available: bool = False) -> None:
    """The device other than the CPU: ``None``."""


def device_count() -> int:
    """How many devices other than the CPU there are: 0."""
    return 0
