"""Nothing may leak: after each test, live nodes and bytes are what they were before."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import rustgrad as rg


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Any:
    """Remembers whether the test itself passed: a traceback keeps tensors alive."""
    report = yield
    if call.when == "call":
        item.stash[_PASSED] = report.passed
    return report


_PASSED = pytest.StashKey[bool]()


@pytest.fixture(scope="session", autouse=True)
def _small_gc() -> None:
    # What exists now stays: collections after each test look at new objects only.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _modes_are_restored() -> Iterator[None]:
    yield
    modes = rg._C.is_grad_enabled(), rg._C.is_inference_mode_enabled()
    rg._C.set_grad_enabled(True)
    rg._C.set_inference_mode(False)
    assert modes == (True, False), "the test left a mode behind"


@pytest.fixture(autouse=True)
def _no_leaks(request: pytest.FixtureRequest, _small_gc: None) -> Iterator[None]:
    before = rg._C.live_nodes(), rg._C.live_bytes()
    yield
    if not request.node.stash.get(_PASSED, False):
        return
    if rg._C.live_nodes() > before[0] or rg._C.live_bytes() > before[1]:
        # Only cycles through Python objects may need the collector, which takes milliseconds.
        gc.collect()
    after = rg._C.live_nodes(), rg._C.live_bytes()
    assert after[0] <= before[0], f"{after[0] - before[0]} nodes are still alive"
    assert after[1] <= before[1], f"{after[1] - before[1]} bytes are still alive"
