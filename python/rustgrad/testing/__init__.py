"""Assertions about tensors, and checks of ops of one's own."""

from __future__ import annotations

from ._comparison import assert_close
from ._opcheck import OpCheckError, opcheck

__all__ = ["OpCheckError", "assert_close", "opcheck"]
