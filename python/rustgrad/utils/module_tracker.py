"""Which part of a model runs, and which part recorded a node of the graph."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from rustgrad import _C

__all__ = ["Call", "ModuleTracker", "NodeClock"]


class NodeClock:
    """Tells where in the order of recording the program is.

    A leaf that no graph uses gets a new number whenever its accumulator is asked for. That runs no
    op, and works in every mode.
    """

    def __init__(self) -> None:
        self._leaf = _C.zeros((), requires_grad=True)

    def now(self) -> int:
        """A number between those of the nodes before and after."""
        return _C.gradient_edge(self._leaf)[0]._sequence_nr()


class Call:
    """A call of a module.

    Attributes:
        path: the module's name: ``"encoder.0"``; of what :class:`ModuleTracker` was given, ``""``.
        type: the name of its class.
        parent: the call within which it happened, as a place in the list of calls, or ``None``.
        first: the numbers of the nodes that were recorded during it are greater;
        last: and less than this, or -1 while it has not ended.
        began: what ``notice`` returned when it began; ``ended`` likewise.
    """

    __slots__ = ("began", "ended", "first", "last", "parent", "path", "type")

    def __init__(self, path: str, type: str, parent: int | None, first: int, began: Any) -> None:
        self.path, self.type, self.parent, self.first, self.began = path, type, parent, first, began
        self.last = -1
        self.ended: Any = None

    def __repr__(self) -> str:
        return f"<Call of {self.path or self.type}: nodes {self.first} to {self.last}>"


class ModuleTracker:
    """While it is entered, notes this thread's calls of modules, and what they recorded.

    Nodes take the next number of one counter of all threads, so nodes that another thread records
    during a call count as recorded by it. Modules that run outside pay nothing.

    Args:
        module: a :class:`~rustgrad.nn.Module`, whose parts are followed by the names they have in
            it; or ``None`` for all modules, whose names begin with the class of the outermost
            module that was called first.
        notice: called whenever a call is about to begin or to end; what it returns is kept as the
            call's ``began`` and ``ended``.

    Attributes:
        module: the module that was given.
        calls: a :class:`Call` for each call so far, in their order.

    >>> import rustgrad as rg
    >>> net = rg.nn.Sequential(rg.nn.Linear(2, 3), rg.nn.Tanh())
    >>> with ModuleTracker(net) as tracker:
    ...     loss = net(rg.ones(1, 2)).sum()
    >>> [call.path for call in tracker.calls]
    ['', '0', '1']
    >>> tracker.path_of(loss.grad_fn) is None
    True
    >>> tracker.path_of(loss.grad_fn.next_functions[0][0])
    '1'
    """

    def __init__(self, module: Any = None, notice: Callable[[], Any] | None = None) -> None:
        self.calls: list[Call] = []
        self.module = module
        self._notice = notice
        self._open: list[tuple[Any, int]] = []
        self._names: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
        self._handles: list[Any] = []
        self._thread = 0
        self._clock = NodeClock()

    def __enter__(self) -> ModuleTracker:
        from rustgrad.nn.modules import module as everywhere

        if self._handles:
            raise RuntimeError("[ModuleTracker] it is entered already; make another one")
        self._thread = threading.get_ident()
        if self.module is None:
            self._handles = [
                everywhere.register_module_forward_pre_hook(self._begin),
                everywhere.register_module_forward_hook(self._end, always_call=True),
            ]
            return self
        for path, part in self.module.named_modules():
            self._names[part] = path
            self._handles += [
                part.register_forward_pre_hook(self._begin, prepend=True),
                part.register_forward_hook(self._end, always_call=True),
            ]
        return self

    def __exit__(self, *exc: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._open:
            self._close(0)

    def _name(self, module: Any) -> str:
        """The module's name, and those of its parts, once and for all."""
        if module not in self._names:
            outer = type(module).__name__
            for path, part in module.named_modules():
                self._names.setdefault(part, f"{outer}.{path}" if path else outer)
        return self._names[module]

    def _begin(self, module: Any, *_: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        began = self._notice() if self._notice else None
        parent = self._open[-1][1] if self._open else None
        name, kind = self._name(module), type(module).__name__
        call = Call(name, kind, parent, self._clock.now(), began)
        self._open.append((module, len(self.calls)))
        self.calls.append(call)

    def _end(self, module: Any, *_: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        # Calls within it that were left by something that is no `Exception` have not ended.
        for i in range(len(self._open) - 1, -1, -1):
            if self._open[i][0] is module:
                self._close(i)
                return

    def _close(self, depth: int) -> None:
        ended = self._notice() if self._notice else None
        number = self._clock.now()
        for _, index in self._open[depth:]:
            self.calls[index].last, self.calls[index].ended = number, ended
        del self._open[depth:]

    @property
    def running(self) -> int | None:
        """The innermost call that has not ended, as a place in ``calls``."""
        return self._open[-1][1] if self._open else None

    @property
    def is_bw(self) -> bool:
        """Whether a backward runs on this thread."""
        return _C._current_graph_task_id() >= 0

    @property
    def parents(self) -> set[str]:
        """The names of all modules that are running, and ``"Global"``."""
        return {"Global", *(self.calls[i].path for _, i in self._open)}

    def chain(self, index: int | None) -> list[int]:
        """A call and those within which it happened, the outermost first."""
        found = []
        while index is not None:
            found.append(index)
            index = self.calls[index].parent
        return found[::-1]

    def call_of(self, node: Any) -> int | None:
        """The innermost call that recorded a node (or the node of a number), or ``None``."""
        number = node if isinstance(node, int) else node._sequence_nr()
        index = bisect_left(self.calls, number, key=lambda call: call.first) - 1
        at = index if index >= 0 else None
        while at is not None and -1 < self.calls[at].last < number:
            at = self.calls[at].parent
        return at

    def path_of(self, node: Any) -> str | None:
        """The name of the module that recorded a node, or ``None``."""
        index = self.call_of(node)
        return None if index is None else self.calls[index].path
