"""`ModuleTracker`: which modules run, and in what pass."""

from __future__ import annotations

import pytest
import rustgrad as rg
from rustgrad.utils.module_tracker import ModuleTracker


class Noting(rg.nn.Module):
    """Notes what a tracker says while it runs, and while its backward does."""

    def __init__(self, notes: list) -> None:
        super().__init__()
        self.notes = notes
        self.tracker: ModuleTracker | None = None

    def note(self) -> None:
        assert self.tracker is not None
        self.notes.append((sorted(self.tracker.parents), self.tracker.is_bw))

    def forward(self, x: rg.Tensor) -> rg.Tensor:
        self.note()
        y = x * 2
        y.register_hook(lambda g: self.note())
        return y


@pytest.mark.parametrize("given", [False, True])
def test_parents_and_passes(given: bool) -> None:
    notes: list = []
    noting = Noting(notes)
    net = rg.nn.Sequential(rg.nn.Sequential(noting))
    tracker = noting.tracker = ModuleTracker(net if given else None)
    with tracker:
        y = net(rg.ones(2, requires_grad=True))
        assert tracker.parents == {"Global"} and not tracker.is_bw
        y.sum().backward()
    names = ["", "0", "0.0"] if given else ["Sequential", "Sequential.0", "Sequential.0.0"]
    assert notes == [(sorted(["Global", *names]), False), (["Global"], True)]


def test_entered_twice() -> None:
    with ModuleTracker() as tracker, pytest.raises(RuntimeError, match="entered already"):
        tracker.__enter__()
