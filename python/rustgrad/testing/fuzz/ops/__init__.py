"""The operations of programs. Each is declared once: its text, and its meaning for the oracle.

The text is run by the engine and printed in scripts. In it, ``{0}`` and ``{1}`` are tensors,
``{p0}`` and ``{p1}`` parameters. ``draw`` chooses both at random; ``rule`` computes the elements of
the results from those of the inputs.
"""

from . import elementwise, movement, reductions, views
from .table import MOST_ELEMENTS, OPS, Draw, Op, nested

__all__ = [
    "MOST_ELEMENTS",
    "OPS",
    "Draw",
    "Op",
    "elementwise",
    "movement",
    "nested",
    "reductions",
    "views",
]
