"""Looking at a graph: as a tree, a picture or a page, step by step, and compared with another.

:func:`explore` takes a snapshot of the graph that leads to a tensor; the :class:`Graph` that it
returns shows itself in the terminal, in notebooks and in a browser, and writes JSON, SVG and
Graphviz' language. Nothing here is loaded with the engine, and nothing costs a program that does
not use it.

>>> import rustgrad as rg
>>> from rustgrad.autograd.explorer import explore
>>> x = rg.tensor([1.0, 2.0], requires_grad=True)
>>> loss = (x * x.sin()).sum()
>>> print(explore(loss, names={"x": x}).dot().splitlines()[2])
  n0 [label="x\\n[2]", shape=ellipse];
"""

from .difference import Change, Difference, diff
from .model import Call, Graph, Node, Root, Saved
from .snapshot import Modules, Step, backward_steps, explore, trace_modules

__all__ = [
    "Call",
    "Change",
    "Difference",
    "Graph",
    "Modules",
    "Node",
    "Root",
    "Saved",
    "Step",
    "backward_steps",
    "diff",
    "explore",
    "trace_modules",
]
