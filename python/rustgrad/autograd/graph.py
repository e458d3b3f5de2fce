"""The graph: its nodes and edges, hooks on them, and what they keep.

>>> import rustgrad as rg
>>> x = rg.tensor([1.0, 2.0], requires_grad=True)
>>> y = (x * x).sum()
>>> y.grad_fn
<SumBackward0>
>>> node = y.grad_fn.next_functions[0][0]
>>> handle = node.register_hook(lambda grad_inputs, grad_outputs: print(grad_outputs))
>>> y.backward()
(tensor([1., 1.]),)
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from rustgrad import _C
from rustgrad.utils.hooks import RemovableHandle

from .memory_report import leaks, live_graphs, memory, record_modules

__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "leaks",
    "live_graphs",
    "memory",
    "record_modules",
    "register_multi_grad_hook",
    "save_on_cpu",
    "save_on_disk",
    "saved_tensors_hooks",
    "set_call_sites",
]

Node = _C.Node


class GradientEdge(NamedTuple):
    """Where a gradient goes: stands for a tensor in ``grad`` and ``backward``.

    It keeps the tensor's part of the graph alive, but not its elements.
    """

    node: Any
    output_nr: int
    ownership_token: Any = None


def get_gradient_edge(tensor: Any) -> GradientEdge:
    """The edge to which the gradient of a tensor goes.

    Raises:
        RuntimeError: the tensor requires no gradient.

    >>> import rustgrad as rg
    >>> x = rg.tensor(3.0, requires_grad=True)
    >>> hidden = x * x
    >>> edge = rg.autograd.graph.get_gradient_edge(hidden)
    >>> loss = 2 * hidden
    >>> del hidden
    >>> rg.autograd.grad(loss, edge)
    (tensor(2.),)
    """
    return GradientEdge(*_C.gradient_edge(tensor))


def increment_version(tensor: Any) -> None:
    """Counts a write to a tensor, or to each of several, that the engine could not see.

    A backward that needs what was saved before then raises instead of using what was written.

    >>> import rustgrad as rg
    >>> t = rg.zeros(2)
    >>> rg.autograd.graph.increment_version(t)
    >>> t._version
    1
    """
    for t in (tensor,) if _C.is_tensor(tensor) else tensor:
        _C.increment_version(t)


def set_call_sites(enabled: bool) -> None:
    """Sets whether nodes and writes in place note the line of the program that makes them.

    They do from the start, for errors, ``why()``, profiles and the graph explorer. It costs some
    20 ns a node, and 40 to 200 ns for the first one in each call of a Python function.

    >>> import rustgrad as rg
    >>> rg.autograd.graph.set_call_sites(False)
    >>> (rg.ones(1, requires_grad=True) * 2).grad_fn.site is None
    True
    >>> rg.autograd.graph.set_call_sites(True)
    """
    _C.set_provenance(enabled)


class saved_tensors_hooks:
    """While it is entered, tensors that are saved for backward go through two functions.

    ``pack_hook(tensor)`` is called when an op saves a tensor, and returns anything;
    ``unpack_hook(anything)`` is called when the tensor is needed, and returns a tensor with the
    same elements. Both run without recording. Of nested hooks only the innermost are called.

    Versions are not followed through hooks: if the tensor is kept as it is and then written in
    place, the backward sees what was written.

    Args:
        pack_hook: takes a tensor, which it must not write in place.
        unpack_hook: takes what ``pack_hook`` returned.

    >>> import rustgrad as rg
    >>> x = rg.tensor([1.0, 2.0], requires_grad=True)
    >>> with rg.autograd.graph.saved_tensors_hooks(lambda t: t.tolist(), rg.tensor):
    ...     y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 4.])
    """

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        _C.push_saved_tensors_hooks(self.pack_hook, self.unpack_hook)

    def __exit__(self, *exc: object) -> None:
        _C.pop_saved_tensors_hooks()


class save_on_cpu(saved_tensors_hooks):
    """Keeps what is saved for backward in the memory of the CPU, and brings it back when needed.

    Args:
        pin_memory: accepted; there is no device that copies from pinned memory.
        device_type: accepted for the same reason.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def pack(t: Any) -> tuple[Any, Any]:
            return t.device, t.cpu()

        def unpack(packed: tuple[Any, Any]) -> Any:
            device, t = packed
            return t.to(device)

        super().__init__(pack, unpack)


class _File:
    """A tensor in a file, which goes when this does."""

    def __init__(self, t: Any, directory: str) -> None:
        import tempfile

        descriptor, path = tempfile.mkstemp(prefix="saved-", suffix=".bin", dir=directory)
        # Whatever happens from here on, the file does not stay.
        self._remove = weakref.finalize(self, _remove, path)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_C._to_bytes(t.detach().contiguous()))
        self.path, self.dtype, self.shape = path, t.dtype, tuple(t.shape)

    def read(self) -> Any:
        t = _C.empty(self.shape, dtype=self.dtype)
        with open(self.path, "rb") as file:
            t.view(-1).copy_(_C.frombuffer(bytearray(file.read()), dtype=self.dtype))
        return t


def _remove(path: str) -> None:
    if os.path.exists(path):
        os.remove(path)


class save_on_disk(saved_tensors_hooks):
    """Keeps what is saved for backward in files, and reads it when it is needed.

    Leaves (parameters), which are in memory anyway, and small tensors stay there. A file is removed
    when the graph lets go of what it saved.

    Args:
        directory: an existing folder; the default is the system's for temporary files.
        min_bytes: tensors of fewer bytes stay in memory.

    Raises:
        OSError: a file cannot be written or read.

    >>> import rustgrad as rg
    >>> x = rg.ones(1000, requires_grad=True)
    >>> with rg.autograd.graph.save_on_disk(min_bytes=1024):
    ...     y = (2 * x).exp().sum()
    >>> y.backward()
    """

    def __init__(self, directory: str | os.PathLike | None = None, min_bytes: int = 1 << 20):
        # Imported where it is needed: it takes longer than most of this package.
        import tempfile

        folder = tempfile.gettempdir() if directory is None else os.fspath(directory)

        def pack(t: Any) -> Any:
            stays = t.nbytes < max(min_bytes, 1) or (t.is_leaf and t.requires_grad)
            return t if stays else _File(t, folder)

        def unpack(packed: Any) -> Any:
            return packed.read() if isinstance(packed, _File) else packed

        super().__init__(pack, unpack)


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """While it is entered, setting hooks for saved tensors raises ``error_message``.

    Raises:
        RuntimeError: hooks are set already.

    >>> import rustgrad as rg
    >>> graph = rg.autograd.graph
    >>> with graph.disable_saved_tensors_hooks("not in here"):
    ...     with graph.save_on_cpu():
    ...         pass
    Traceback (most recent call last):
        ...
    RuntimeError: not in here
    """
    before = _C.disable_saved_tensors_hooks(error_message)
    try:
        yield
    finally:
        _C.disable_saved_tensors_hooks(before)


@contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[None]:
    """While it is entered, what was saved for backward may be written in place.

    A saved tensor is copied before the first write to its elements, so the backward sees it as it
    was when it was saved. The backward belongs inside the block too.

    >>> import rustgrad as rg
    >>> with rg.autograd.graph.allow_mutation_on_saved_tensors():
    ...     a = rg.ones(2, requires_grad=True)
    ...     b = a.clone()
    ...     out = (b**2).sum()
    ...     _ = b.sin_()
    ...     out.backward()
    >>> a.grad
    tensor([2., 2.])
    """
    _C.push_mutation_hooks()
    try:
        yield
    finally:
        _C.pop_saved_tensors_hooks()


class _Handles(RemovableHandle):
    """Several handles as one."""

    handles: tuple[RemovableHandle, ...]

    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        self.handles = tuple(handles)

    def remove(self) -> None:
        """Removes the hook from every tensor."""
        for handle in self.handles:
            handle.remove()

    def __getstate__(self) -> tuple[Any, ...]:
        return self.handles

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.handles = state


def register_multi_grad_hook(
    tensors: Sequence[Any],
    fn: Callable[..., None],
    *,
    mode: Literal["all", "any"] = "all",
) -> RemovableHandle:
    """Calls ``fn`` when the gradients of several tensors are known.

    Args:
        tensors: tensors that require a gradient.
        fn: with ``"all"`` it gets the list of all gradients, in the order of ``tensors``, ``None``
            for tensors that the backward does not reach; it is called once in each backward that
            reaches one of them, as soon as the last gradient is there. With ``"any"`` it gets the
            gradient that is there first. It must not write to them; what it returns is ignored.
        mode: ``"all"`` or ``"any"``.

    Returns:
        A handle with ``remove()``.

    Raises:
        ValueError: another ``mode``.
        RuntimeError: a tensor requires no gradient.

    >>> import rustgrad as rg
    >>> a, b = (rg.tensor(v, requires_grad=True) for v in (2.0, 3.0))
    >>> handle = rg.autograd.graph.register_multi_grad_hook((a, b), print)
    >>> (a * b).backward()
    [tensor(3.), tensor(2.)]
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    lock = threading.Lock()
    if mode == "any":
        last_task = -1

        def first(grad: Any) -> None:
            nonlocal last_task
            task = _C._current_graph_task_id()
            with lock:
                ran, last_task = last_task == task, task
            if not ran:
                fn(grad)

        return _Handles([t.register_hook(first) for t in tensors])

    # Weakly: a hook that held its own node would keep it alive for ever.
    nodes = [_C.weak_node(t) for t in tensors]
    # For each backward that is under way: what is known, and how many gradients are to come.
    known: dict[int, tuple[list[Any], list[int]]] = {}

    def note(i: int) -> Callable[[Any], None]:
        def hook(grad: Any) -> None:
            task = _C._current_graph_task_id()
            with lock:
                if task not in known:
                    missing = sum(_C._will_engine_execute_node(node) for node in nodes)
                    known[task] = [None] * len(nodes), [missing]
                grads, missing_ = known[task]
                grads[i] = grad
                missing_[0] -= 1
                complete = missing_[0] == 0
                if complete:
                    del known[task]
            if complete:
                fn(grads)

        return hook

    return _Handles([t.register_hook(note(i)) for i, t in enumerate(tensors)])
