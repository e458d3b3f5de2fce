"""Checkpointing: trade time for memory by computing parts of the forward again in the backward.

>>> import rustgrad as rg
>>> from rustgrad.utils.checkpoint import checkpoint
>>> layer = rg.nn.Sequential(rg.nn.Linear(4, 64), rg.nn.GELU(), rg.nn.Linear(64, 4))
>>> x = rg.randn(8, 4)
>>> checkpoint(layer, x).sum().backward()
>>> layer[0].weight.grad.shape
rustgrad.Size([64, 4])

NOTE [Checkpoint]: while the function runs, each tensor that an op saves becomes a place holder.
When the backward asks for the first of them, the function runs again, on the saved arguments and
with the random numbers of the first time, and the tensors that ops save now fill the place holders;
it stops as soon as all are filled. A place holder lives as long as the node that saved it, so what
was computed again goes as soon as the backward has used it. Arguments are saved like any tensor, so
a checkpoint within a checkpoint keeps nothing itself, and an argument that is written in place
before the backward is noticed. So is a leaf that requires grad, like a parameter, wherever the
function has it from; other tensors that it reads without getting them are its own business.
"""

from __future__ import annotations

import enum
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from rustgrad import _C
from rustgrad.autograd.grad_mode import enable_grad
from rustgrad.autograd.graph import saved_tensors_hooks

from ._tree import leaves, map_tree

__all__ = [
    "CheckpointError",
    "CheckpointPolicy",
    "SelectiveCheckpointContext",
    "checkpoint",
    "checkpoint_sequential",
    "create_selective_checkpoint_contexts",
    "memory_budget",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
]


class CheckpointError(RuntimeError):
    """A function did something else when it was computed again."""


class _Stop(BaseException):
    """All that a checkpoint needs is there. Not an ``Exception``: functions must not catch it."""

    def __init__(self, frame: _Frame) -> None:
        super().__init__("a checkpoint has all that it needs: let this pass")
        self.frame = frame


_early_stop: bool | None = None


@contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Sets whether checkpoints that are made inside stop computing again when they have enough.

    >>> import rustgrad as rg
    >>> def function(x):
    ...     y = x.exp()
    ...     print("exp is done")
    ...     return y
    >>> with set_checkpoint_early_stop(False):
    ...     y = checkpoint(function, rg.ones(2, requires_grad=True))
    exp is done
    >>> y.sum().backward()
    exp is done
    """
    global _early_stop
    before, _early_stop = _early_stop, enable
    try:
        yield
    finally:
        _early_stop = before


@contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """Accepted: errors of checkpoints always name the ops that differ.

    >>> import rustgrad as rg
    >>> with set_checkpoint_debug_enabled(True):
    ...     checkpoint(rg.exp, rg.ones(2, requires_grad=True)).sum().backward()
    """
    yield


def noop_context_fn() -> tuple[AbstractContextManager, AbstractContextManager]:
    """The default ``context_fn``: two contexts that do nothing.

    >>> first, again = noop_context_fn()
    >>> with first:
    ...     pass
    """
    return nullcontext(), nullcontext()


# Arguments: tensors in tuples, lists and dictionaries are saved, everything else is held as it is.


def _save(args: Any) -> Any:
    return map_tree(lambda x: _C.SavedTensor(x, "checkpoint") if _C.is_tensor(x) else x, args)


def _load(args: Any) -> Any:
    return map_tree(lambda x: x.unpack() if isinstance(x, _C.SavedTensor) else x, args)


class _Holder:
    """The place of a tensor that an op has saved."""

    __slots__ = ("index", "__weakref__")

    def __init__(self, index: int) -> None:
        self.index = index


class _Saved:
    """What is known of a tensor that an op has saved."""

    __slots__ = ("holder", "op", "site", "shape", "dtype")

    def __init__(self, t: Any, holder: _Holder) -> None:
        self.holder = weakref.ref(holder)
        self.op, self.site = _C.saving_op(), _C.current_site()
        self.shape, self.dtype = t.shape, t.dtype

    def __str__(self) -> str:
        where = _C.describe_site(self.site)
        return f"[{self.op}] saved {self.dtype} of shape {tuple(self.shape)}{where}"


class _Frame:
    """One call of a checkpoint: see NOTE [Checkpoint]."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: AbstractContextManager,
        rng_state: Any,
        early_stop: bool,
        determinism_check: str,
    ) -> None:
        self.function, self.context, self.rng_state = function, context, rng_state
        self.early_stop, self.determinism_check = early_stop, determinism_check
        self.args, self.kwargs = _save(args), _save(kwargs)
        self.given = {id(x) for x in leaves((args, kwargs)) if _C.is_tensor(x)}
        self.saved: list[_Saved] = []
        # Of a leaf it is the tensor itself, not another handle, that is saved: with its version.
        self.leaves: list[tuple[weakref.ref[Any], int, _Saved]] = []
        # What was computed again, for the backward of this number.
        self.task: int | None = None
        self.tensors: weakref.WeakKeyDictionary[_Holder, Any] = weakref.WeakKeyDictionary()

    def hooks(self) -> saved_tensors_hooks:
        """What stands for saved tensors while the function runs for the first time."""

        def pack(t: Any) -> _Holder:
            holder = _Holder(len(self.saved))
            saved = _Saved(t, holder)
            self.saved.append(saved)
            # Arguments know by themselves.
            if t.requires_grad and t.is_leaf and id(t) not in self.given:
                self.leaves.append((weakref.ref(t), t._version, saved))
            return holder

        return saved_tensors_hooks(pack, self.tensor)

    def tensor(self, holder: _Holder) -> Any:
        """The tensor of a place holder, computed again if this backward has not done so."""
        task = _C._current_graph_task_id()
        if self.task != task or holder not in self.tensors:
            self.tensors.clear()
            self.task = task
            self.compute_again()
            if task < 0:
                # Somebody reads what is saved outside of a backward: nothing is kept.
                tensors, self.tensors = self.tensors, weakref.WeakKeyDictionary()
                self.task = None
                return tensors[holder]
        return self.tensors[holder]

    def check_leaves(self) -> None:
        """Raises if a leaf that the function reads was written in place since."""
        for reference, version, saved in self.leaves:
            t = reference()
            if t is not None and t._version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an "
                    f"inplace operation: a leaf that a checkpoint's function reads is at version "
                    f"{t._version}; expected version {version} instead. It is what {saved}. "
                    "Write to it after the backward, or to a clone"
                )

    def compute_again(self) -> None:
        self.check_leaves()
        args, kwargs = _load(self.args), _load(self.kwargs)
        found = 0

        def pack(t: Any) -> Any:
            nonlocal found
            if found < len(self.saved):
                expected = self.saved[found]
                self.check(expected, t, found)
                holder = expected.holder()
                t = t.detach()
                if holder is not None:
                    self.tensors[holder] = t
            found += 1
            if found == len(self.saved) and self.early_stop:
                raise _Stop(self)
            if found > len(self.saved):
                now = f"[{_C.saving_op()}]{_C.describe_site(_C.current_site())}"
                raise CheckpointError(
                    "a checkpoint's function saves more tensors when it is computed again than the "
                    f"{len(self.saved)} of the first time: the first one is saved by {now}. The "
                    "function must do the same both times"
                )
            return t

        def unpack(t: Any) -> Any:
            return t

        state = None
        if self.rng_state is not None:
            state = _C.get_rng_state()
            _C.set_rng_state(self.rng_state)
        try:
            with enable_grad(), self.context, saved_tensors_hooks(pack, unpack):
                self.function(*args, **kwargs)
        except _Stop as stop:
            if stop.frame is not self:
                raise
        finally:
            if state is not None:
                _C.set_rng_state(state)
        if found < len(self.saved):
            raise CheckpointError(
                f"a checkpoint's function saved {len(self.saved)} tensors, but only {found} when "
                f"it was computed again: the first one that is missing is {self.saved[found]}. The "
                "function must do the same both times: does it depend on something that has "
                "changed?"
            )

    def check(self, expected: _Saved, t: Any, index: int) -> None:
        op = _C.saving_op()
        same = expected.op == op
        if self.determinism_check == "default":
            same = same and expected.shape == t.shape and expected.dtype == t.dtype
        elif self.determinism_check == "none":
            same = True
        if not same:
            now = _Saved(t, _Holder(index))
            raise CheckpointError(
                "a checkpoint's function does something else when it is computed again. The first "
                f"difference is at saved tensor {index}:\n  at first     {expected}\n  "
                f"now          {now}\nThe function must do the same both times: does it depend on "
                "something that has changed?"
            )


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[
        [], tuple[AbstractContextManager, AbstractContextManager]
    ] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, of which the backward computes again what ops have saved.

    Only the arguments are kept. Gradients, of any order and of whatever the function reads, are the
    same to the last bit, also with dropout: the generator is set back to where it was. It must do
    the same both times: what it writes to (lists, running statistics) is written twice.

    Args:
        function: anything callable. It may take tensors in tuples, lists and dictionaries, and
            anything else, and return anything.
        args: its arguments.
        use_reentrant: accepted; there is one implementation, which can do what both of
            PyTorch's can.
        context_fn: returns two contexts, for the first run and for those in the backward:
            :func:`create_selective_checkpoint_contexts` makes some.
        determinism_check: ``"default"`` compares op, shape and type of what is saved both times;
            ``"none"`` compares nothing but the number.
        debug: accepted; errors always name the ops that differ.
        early_stop: stop computing again as soon as all is there.
        preserve_rng_state: set the default generator back to compute again.
        kwargs: the function's keyword arguments.

    Raises:
        CheckpointError: in the backward, when the function does something else than before. The
            first op that differs is named.
        RuntimeError: in the backward, when an argument, or a leaf that requires grad and that the
            function has from elsewhere, was written in place since.

    >>> import rustgrad as rg
    >>> x = rg.ones(3, requires_grad=True)
    >>> y = checkpoint(lambda t, scale: (t * scale).exp().sum(), x, scale=0.0)
    >>> y.backward()
    >>> x.grad
    tensor([0., 0., 0.])
    """
    if determinism_check not in ("default", "none"):
        raise ValueError(
            f"determinism_check must be 'default' or 'none', not {determinism_check!r}"
        )
    first, again = context_fn()
    if not _C.is_grad_enabled():
        with first:
            return function(*args, **kwargs)
    frame = _Frame(
        function,
        args,
        kwargs,
        again,
        _C.get_rng_state() if preserve_rng_state else None,
        early_stop if _early_stop is None else _early_stop,
        determinism_check,
    )
    with first, frame.hooks():
        return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Runs functions one after the other, in segments of which each but the last is checkpointed.

    Args:
        functions: a ``Sequential`` or a sequence of functions of one argument.
        segments: into how many parts of equal length they are divided.
        input: the argument of the first.
        use_reentrant: accepted, as in :func:`checkpoint`.
        kwargs: ``preserve_rng_state``, as in :func:`checkpoint`.

    >>> import rustgrad as rg
    >>> net = rg.nn.Sequential(*[rg.nn.Linear(4, 4) for _ in range(6)])
    >>> checkpoint_sequential(net, 3, rg.randn(2, 4)).shape
    rustgrad.Size([2, 4])
    """
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    functions = list(functions.children() if hasattr(functions, "children") else functions)
    if segments < 1:
        raise ValueError(f"segments must be positive, not {segments}")

    def run(part: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
        def forward(x: Any) -> Any:
            for function in part:
                x = function(x)
            return x

        return forward

    size = len(functions) // segments
    if size == 0:
        warnings.warn(
            f"{len(functions)} functions cannot make {segments} segments: each is one", stacklevel=2
        )
        segments, size = len(functions), 1
    x = input
    for i in range(segments - 1):
        part = run(functions[i * size : (i + 1) * size])
        x = checkpoint(part, x, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return run(functions[(segments - 1) * size :])(x)


class CheckpointPolicy(enum.Enum):
    """What a selective checkpoint does with the results of an op.

    Both ways of saving are the same here, and both of computing again.

    >>> import functools, rustgrad as rg
    >>> def policy(ctx, op, *inputs):
    ...     return CheckpointPolicy.MUST_SAVE if op == "exp" else CheckpointPolicy.PREFER_RECOMPUTE
    >>> contexts = functools.partial(create_selective_checkpoint_contexts, policy)
    >>> x = rg.zeros(2, requires_grad=True)
    >>> checkpoint(lambda t: t.exp().sin(), x, context_fn=contexts).sum().backward()
    """

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3


class SelectiveCheckpointContext:
    """What a policy function gets first.

    Attributes:
        is_recompute: always false: a policy is asked once.
    """

    def __init__(self, *, is_recompute: bool) -> None:
        self.is_recompute = is_recompute


def _name(op: Any) -> str:
    return op if isinstance(op, str) else op.__name__


class _Keep:
    """Keeps what a policy says of the ops that run inside."""

    def __init__(self, kept: Any, policy: Callable[..., bool] | None) -> None:
        self.kept, self.policy = kept, policy

    def __enter__(self) -> None:
        _C.push_keeper(self.kept, self.policy)

    def __exit__(self, *exc: object) -> None:
        _C.pop_observer()


class _Replay:
    """Gives ops that run inside what was kept; entered each time that a function runs again."""

    def __init__(self, kept: Any) -> None:
        self.kept = kept

    def __enter__(self) -> None:
        _C.push_replayer(self.kept)

    def __exit__(self, *exc: object) -> None:
        _C.pop_observer()


def create_selective_checkpoint_contexts(
    policy_fn_or_list: Any = None, allow_cache_entry_mutation: bool = False
) -> tuple[AbstractContextManager, AbstractContextManager]:
    """Contexts for :func:`checkpoint` that keep the results of some ops.

    What is kept is not computed again, nor is anything that only it was needed for saved.

    Args:
        policy_fn_or_list: which results are kept: ops (``rg.matmul``, or names); or a function
            ``policy(ctx, op, *inputs)`` of the op's name and its tensors that returns a
            :class:`CheckpointPolicy` or a bool; or ``None`` for the ops that the op table calls
            expensive: products and sorts.
        allow_cache_entry_mutation: must be false: what is kept cannot be written in place.

    >>> import functools, rustgrad as rg
    >>> contexts = functools.partial(create_selective_checkpoint_contexts, [rg.matmul])
    >>> w = rg.randn(4, 4, requires_grad=True)
    >>> y = checkpoint(lambda t: (t @ w).tanh().exp(), rg.randn(2, 4), context_fn=contexts)
    >>> y.sum().backward()
    """
    if allow_cache_entry_mutation:
        raise ValueError("allow_cache_entry_mutation=True is not supported: write out of place")
    policy = policy_fn_or_list
    keeps: Callable[..., bool] | None = None
    if policy is None:
        pass
    elif callable(policy) and not isinstance(policy, _C.Op):
        ctx = SelectiveCheckpointContext(is_recompute=False)

        def keeps(op: str, *inputs: Any) -> bool:
            answer = policy(ctx, op, *inputs)
            if isinstance(answer, CheckpointPolicy):
                return answer in (CheckpointPolicy.MUST_SAVE, CheckpointPolicy.PREFER_SAVE)
            if isinstance(answer, bool):
                return answer
            raise TypeError(f"a policy must return a CheckpointPolicy or a bool, not {answer!r}")
    else:
        names = {_name(op) for op in ([policy] if isinstance(policy, str | _C.Op) else policy)}

        def keeps(op: str, *inputs: Any) -> bool:
            return op in names

    kept = _C.Kept()
    return _Keep(kept, keeps), _Replay(kept)


class memory_budget:
    """While it is entered, tensors are kept under a number of bytes as far as possible.

    Forward and backward run inside. When tensors hold more, those that are saved for backward go,
    the cheapest to compute again first, and are computed again when the backward needs them. What
    is not the result of a recorded op (parameters, data, random numbers), and what the program
    itself holds, stays. Results are the same to the last bit. Nothing has to be marked, and nothing
    is computed again as long as the budget lasts.

    Args:
        nbytes: bytes for all that tensors hold (``rustgrad.memory.allocated()``), parameters and
            gradients included.

    Attributes:
        evictions: how many saved tensors went.
        recomputations: how many ops ran again.
        exceeded: the most bytes that tensors held when nothing was left to go; 0 if the budget was
            kept. A budget below what single ops need makes everything go all the time, and the step
            slow. Working memory of kernels (packed operands of products) comes on top.

    >>> import rustgrad as rg
    >>> x = rg.ones(1000, requires_grad=True)
    >>> with memory_budget(rg.memory.allocated() + 20_000) as budget:
    ...     y = x
    ...     for _ in range(20):
    ...         y = y.sin()
    ...     y.sum().backward()
    >>> budget.evictions > 0, budget.exceeded
    (True, 0)
    """

    def __init__(self, nbytes: int) -> None:
        if nbytes < 0:
            raise ValueError(f"a budget cannot be negative: {nbytes} bytes")
        self._budget = _C.Budget(nbytes)

    def __enter__(self) -> memory_budget:
        self._budget.push()
        return self

    def __exit__(self, *exc: object) -> None:
        _C.pop_observer()
        _C.pop_saved_tensors_hooks()

    @property
    def evictions(self) -> int:
        """How many saved tensors went."""
        return self._budget.account()[0]

    @property
    def recomputations(self) -> int:
        """How many ops ran again."""
        return self._budget.account()[1]

    @property
    def exceeded(self) -> int:
        """The most bytes that tensors held when nothing was left to go."""
        return self._budget.account()[2]
