"""The oracle: what a program of tensors means, said with lists of scalars.

An :class:`Owner` is a tensor that is not a view: positions in a :class:`Storage` and a scalar for
each of its elements. A view is a list of indices into its owner. A recorded write makes new scalars
for the elements it covers; any other write keeps their derivatives and changes their values. What
shares a storage without sharing history (``detach``) is another owner of the storage.

A :class:`Record` stands for a recorded operation. It plays no part in the values and gradients: it
says only which refusals of a backward pass are right, by noting what derivatives must read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .scalar import Scalar, replaced, same, variable
from .shapes import Picks, Shape

LEAF = "leaf Variable that requires grad"
OVERLAP = "more than one element of the written-to tensor"
NO_GRAD_VIEW = "A view was created in no_grad mode"
MULTIPLE = "returns multiple views"
OVERWRITTEN = "modified by an inplace operation"
FREED = "through the graph a second time"
ONCE = "once_differentiable"
SAVED_INFERENCE = "Inference tensors cannot be saved for backward"
WRITTEN_INFERENCE = "Inplace update to inference tensor"

DOUBLE, SINGLE = "float64", "float32"


class Storage:
    """Memory of one type; counts the writes to it. ``inference`` says in which mode it was made."""

    __slots__ = ("dtype", "inference", "owners", "version")

    def __init__(self, dtype: str, inference: bool) -> None:
        self.dtype, self.inference = dtype, inference
        self.version = 0
        self.owners: list[Owner] = []


class Record:
    """A recorded operation: what leads to it, and the versions of what its derivatives read."""

    __slots__ = ("derived", "edges", "freed", "keeps", "last", "once", "saved")

    def __init__(self, edges: Iterable[Record | None] = (), saved: Iterable[Storage] = ()) -> None:
        self.edges = [e for e in edges if e is not None]
        self.saved = [(s, s.version) for s in saved]
        # It saved something; all of that is gone.
        self.keeps = self.freed = False
        # Its gradients cannot be differentiated; it is such a gradient; it is a gradient.
        self.once = self.last = self.derived = False

    def free(self, failed: bool) -> None:
        """What a backward pass does that does not retain the graph.

        One that failed may have freed something: then it may be refused from the start.
        """
        self.freed = self.freed or self.keeps or failed


class Owner:
    """A tensor that is not a view.

    ``heads`` are the scalars whose gradient is the tensor's own: those of its last recorded write,
    before any write that was not recorded.
    """

    __slots__ = (
        "asleep",
        "at",
        "blurred",
        "grad",
        "heads",
        "leaf",
        "nodes",
        "record",
        "retains",
        "storage",
    )

    def __init__(self, storage: Storage, at: list[int], nodes: list[Scalar]) -> None:
        self.storage, self.at, self.nodes, self.heads = storage, at, nodes, nodes
        self.record: Record | None = None
        # The record of a leaf while it does not require grad.
        self.asleep: Record | None = None
        self.leaf = True
        # Whether its gradient is kept, and whether what is kept is not known.
        self.retains = self.blurred = False
        self.grad: list[float] | None = None
        storage.owners.append(self)

    def require(self, wanted: bool) -> None:
        """Makes a leaf require grad, or not."""
        if not wanted:
            self.record, self.asleep = None, self.record
        elif self.asleep is not None:
            self.record, self.asleep = self.asleep, None
        else:
            self.nodes = self.heads = [variable(n.v) for n in self.nodes]
            self.record = Record()


class Tensor:
    """A handle: the elements ``at`` of an owner, in a shape.

    A view has scalars and a record of its own, good for one version of the storage; after a write
    it takes them from its owner again.
    """

    __slots__ = ("at", "barred", "born", "is_view", "nodes", "owner", "record", "shape", "version")

    def __init__(self, owner: Owner, shape: Shape, at: list[int], is_view: bool) -> None:
        self.owner, self.shape, self.at, self.is_view = owner, shape, at, is_view
        self.barred: str | None = None
        self.nodes: list[Scalar] = []
        self.record: Record | None = None
        self.version = self.born = owner.storage.version

    @property
    def stale(self) -> bool:
        """Whether this is a view whose storage was written since."""
        return self.is_view and self.version != self.owner.storage.version

    @property
    def values(self) -> list[float]:
        """The elements as they are."""
        nodes = self.owner.nodes
        return [nodes[i].v for i in self.at]

    @property
    def dtype(self) -> str:
        """The type of the elements."""
        return self.owner.storage.dtype

    @property
    def positions(self) -> list[int]:
        """Where the elements lie in the storage."""
        at = self.owner.at
        return [at[i] for i in self.at]

    @property
    def requires_grad(self) -> bool:
        """As the engine should say."""
        if self.is_view and not self.stale:
            return self.record is not None
        return self.owner.record is not None

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this."""
        return not self.requires_grad or (not self.is_view and self.owner.leaf)

    @property
    def ambiguous(self) -> bool:
        """Whether this is a view from ``no_grad`` whose base has got a history by a write."""
        return self.barred == NO_GRAD_VIEW and self.stale and self.requires_grad

    def refresh(self) -> None:
        """Takes the scalars of the owner, if it was written."""
        if self.stale:
            owner = self.owner
            self.version = owner.storage.version
            if owner.record is None:
                self.record, self.nodes = None, [Scalar(v) for v in self.values]
            else:
                self.record = Record([owner.record])
                self.nodes = [same(owner.nodes[i]) for i in self.at]

    @property
    def history(self) -> Record | None:
        """The record that a gradient of this tensor goes to."""
        self.refresh()
        return self.record if self.is_view else self.owner.record

    @property
    def heads(self) -> list[Scalar]:
        """The scalars whose gradient is this tensor's."""
        self.refresh()
        return self.nodes if self.is_view else self.owner.heads


def new(shape: Shape, nodes: list[Scalar], dtype: str = DOUBLE, inference: bool = False) -> Tensor:
    """A tensor with memory of its own and no history."""
    everything = list(range(len(nodes)))
    return Tensor(Owner(Storage(dtype, inference), everything, nodes), shape, everything, False)


def promoted(tensors: Sequence[Tensor]) -> str:
    """The type of what is computed from these: tensors without dimensions do not count."""
    counted = [t for t in tensors if t.shape] or tensors
    return DOUBLE if any(t.dtype == DOUBLE for t in counted) else SINGLE


def needed(ins: Sequence[Tensor], reads: Sequence[str]) -> set[str]:
    """What the derivatives by those inputs that require grad read."""
    return {c for t, read in zip(ins, reads, strict=True) if t.requires_grad for c in read}


def saved_by(ins: Sequence[Tensor], reads: Sequence[str]) -> list[Storage]:
    """The memory of the inputs among that."""
    return [ins[int(c)].owner.storage for c in needed(ins, reads) if c != "o"]


class World:
    """The rules.

    ``recording`` is the grad mode, ``inferring`` inference mode. While ``packing``, copies are
    saved; while ``mutable``, what was saved is copied before it is overwritten.
    """

    def __init__(self) -> None:
        self.recording, self.inferring, self.packing, self.mutable = True, False, False, False

    def read_refusals(self, tensors: Iterable[Tensor]) -> set[str]:
        """Why the tensors cannot be read while recording."""
        return {NO_GRAD_VIEW} if self.recording and any(t.ambiguous for t in tensors) else set()

    def read(self, t: Tensor) -> list[Scalar]:
        """The elements, as an operation sees them."""
        if not (self.recording and t.requires_grad):
            return [Scalar(v) for v in t.values]
        if t.is_view:
            t.refresh()
            return t.nodes
        return t.owner.nodes

    def records(self, tensors: Iterable[Tensor]) -> bool:
        """Whether an operation on these is recorded."""
        return self.recording and any(t.requires_grad for t in tensors)

    def fresh(
        self,
        results: Sequence[tuple[Shape, list[Scalar]]],
        ins: Sequence[Tensor],
        reads: Sequence[str],
        keeps: bool = False,
        constants: Sequence[int] = (),
        dtype: str | None = None,
    ) -> list[Tensor]:
        """The results of an operation, given their elements.

        ``reads[i]`` names what the derivative by input ``i`` reads: digits are inputs, ``o`` is the
        outputs. ``keeps`` says that it reads something else, too. ``constants`` are outputs without
        a gradient. The type is ``dtype``, or follows from the inputs'.
        """
        dtype = dtype or promoted(ins)
        if not self.records(ins):
            return [new(shape, nodes, dtype, self.inferring) for shape, nodes in results]
        outs = [new(shape, [same(n) for n in nodes], dtype) for shape, nodes in results]
        record = self._record(ins, reads, [t.owner.storage for t in outs], keeps)
        for i, t in enumerate(outs):
            if i in constants:
                t.owner.nodes = t.owner.heads = [Scalar(v) for v in t.values]
            else:
                t.owner.record, t.owner.leaf = record, False
        return outs

    def save_refusals(self, ins: Sequence[Tensor], reads: Sequence[str]) -> set[str]:
        """Why an operation may not be recorded."""
        inference = self.records(ins) and any(s.inference for s in saved_by(ins, reads))
        return {SAVED_INFERENCE} if inference else set()

    def _record(
        self, ins: Sequence[Tensor], reads: Sequence[str], outs: Sequence[Storage], keeps: bool
    ) -> Record:
        saved = saved_by(ins, reads) + (list(outs) if "o" in needed(ins, reads) else [])
        record = Record([t.history for t in ins], saved)
        record.keeps = keeps or bool(needed(ins, reads))
        if self.packing or self.mutable:
            record.saved = []
        return record

    def views(self, t: Tensor, found: Sequence[Picks], barred: str | None = None) -> list[Tensor]:
        """The views that one operation makes of ``t``; ``barred`` says why not to write them."""
        nodes = self.read(t)
        record = Record([t.history]) if self.records([t]) else None
        made = []
        for shape, at in found:
            v = Tensor(t.owner, shape, [t.at[i] for i in at], True)
            v.barred = t.barred or (barred if self.recording else NO_GRAD_VIEW)
            v.record = record
            v.nodes = [same(nodes[i]) if record else Scalar(nodes[i].v) for i in at]
            made.append(v)
        return made

    def detach(self, t: Tensor) -> Tensor:
        """Another owner of the same memory."""
        owner = Owner(t.owner.storage, t.positions, [Scalar(v) for v in t.values])
        return Tensor(owner, t.shape, list(range(len(t.at))), False)

    def write_refusals(self, t: Tensor, sources: Sequence[Tensor]) -> set[str]:
        """Why ``t`` must not be written."""
        reasons = set()
        positions = t.positions
        if len(set(positions)) < len(positions):
            reasons.add(OVERLAP)
        if t.owner.storage.inference and not self.inferring:
            reasons.add(WRITTEN_INFERENCE)
        if self.recording:
            owner = t.owner
            if t.requires_grad and t.is_leaf or owner.record is not None and owner.leaf:
                reasons.add(LEAF)
            if t.barred and (owner.record is not None or self.records([t, *sources])):
                reasons.add(t.barred)
                if t.stale and t.barred == NO_GRAD_VIEW:
                    reasons.add(LEAF)
        return reasons

    def write(
        self,
        t: Tensor,
        nodes: Sequence[Scalar],
        sources: Sequence[Tensor],
        reads: Sequence[str],
        keeps: bool,
    ) -> None:
        """Replaces the elements of ``t``; ``reads`` is about ``[t, *sources]``.

        What the derivatives read of the written storage is copied before.
        """
        owner, storage = t.owner, t.owner.storage
        ins = [t, *sources]
        recorded = self.records(ins)
        if recorded:
            record = self._record(ins, reads, (), keeps)
            record.saved = [(s, v) for s, v in record.saved if s is not storage]
            before = owner.record
        storage.version += 1
        values = dict(zip(t.positions, [n.v for n in nodes], strict=True))
        for other in storage.owners:
            if not (recorded and other is owner):
                other.nodes = [
                    replaced(n, values[p]) if p in values else n
                    for n, p in zip(other.nodes, other.at, strict=True)
                ]
        if not recorded:
            return
        if any("o" in read for read in reads) and not (self.packing or self.mutable):
            record.saved.append((storage, storage.version))
        written = [same(n) for n in nodes]
        if t.is_view:
            record = Record([before, record])
            old = owner.nodes if before is not None else [Scalar(n.v) for n in owner.nodes]
            content = dict(enumerate(old)) | dict(zip(t.at, written, strict=True))
            written = [same(content[i]) for i in range(len(old))]
        if owner.leaf:
            owner.grad = None
        owner.nodes = owner.heads = written
        owner.record, owner.asleep, owner.leaf = record, None, False


def on_paths(roots: Iterable[Record], targets: Iterable[Record] | None) -> list[Record]:
    """The records from which a target can be reached, targets excepted; all without targets."""
    goals = None if targets is None else set(targets)
    leads: dict[Record, bool] = {}
    stack = list(roots)
    while stack:
        r = stack[-1]
        if r in leads:
            stack.pop()
            continue
        todo = [e for e in r.edges if e not in leads]
        if todo:
            stack.extend(todo)
            continue
        stack.pop()
        leads[r] = goals is None or any(e in goals or leads[e] for e in r.edges)
    return [r for r, does in leads.items() if does]


def backward_refusals(records: Iterable[Record]) -> set[str]:
    """Why a backward pass through the records may be refused."""
    reasons = set()
    for r in records:
        if r.freed:
            reasons.add(FREED)
        if r.last:
            reasons.add(ONCE)
        if any(s.version != version for s, version in r.saved):
            reasons.add(OVERWRITTEN)
    return reasons


def derivative(records: Sequence[Record]) -> Record:
    """The record of a gradient that was computed from these, with a graph."""
    record = Record(records)
    record.saved = [pair for r in records for pair in r.saved]
    record.last = any(r.once or r.last for r in records)
    record.derived = True
    return record
