"""rustgrad: automatic differentiation with a dynamic tape in Rust and PyTorch's names.

>>> import rustgrad as rg
>>> x = rg.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4., 6.])
"""

from __future__ import annotations

from . import _C
from ._C import *  # noqa: F403
from ._C import __version__
from ._return_types import Size
