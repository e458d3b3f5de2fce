"""Nothing stays alive that nobody holds, and nothing recurses over the graph."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import rustgrad as rg
from rustgrad.autograd import Function

_C: Any = rg._C


def leaf(*values: float) -> Any:
    """A leaf of float64 that requires grad; 0-d for a single value."""
    data = values[0] if len(values) == 1 else list(values)
    return rg.tensor(data, dtype=rg.float64, requires_grad=True)


def used(*values: float) -> Any:
    """A leaf that has been used once: it keeps its accumulator from then on."""
    x = leaf(*values)
    _ = x * 1
    return x


def live() -> tuple[int, int]:
    """Live nodes and bytes, after a collection."""
    gc.collect()
    return _C.live_nodes(), _C.live_bytes()


class TestCounters:
    def test_nodes_live_as_long_as_their_tensors(self) -> None:
        nodes, size = live()
        x = leaf(*[1.0] * 1000)
        assert _C.live_bytes() - size >= 8000
        y = x * 2
        z = y + 1
        assert _C.live_nodes() - nodes >= 2
        assert _C.live_bytes() - size >= 24000
        del z
        after = _C.live_nodes()
        del y
        assert _C.live_nodes() < after
        del x
        assert (_C.live_nodes(), _C.live_bytes()) == (nodes, size)

    def test_without_a_collection(self) -> None:
        """Reference counts suffice: a program that never makes cycles needs no collector."""
        before = live()
        gc.disable()
        try:
            x = leaf(1.0, 2.0)
            for _ in range(10):
                y = ((x * x).exp() + x).sum()
                y.backward(retain_graph=True)
                (g,) = rg.autograd.grad(y, x, create_graph=True)
                (h,) = rg.autograd.grad(g.sum(), x)
            del x, y, g, h
            assert (_C.live_nodes(), _C.live_bytes()) == before
        finally:
            gc.enable()

    def test_saved_values_go_with_backward(self) -> None:
        x = leaf(*[1.0] * 1000)
        y = (x * 2).exp().sum()
        before = _C.live_bytes()
        y.backward()
        # exp's result was saved: 8000 bytes, and x.grad came.
        assert _C.live_bytes() <= before
        assert x.grad.numel() == 1000


class TestForwardWithoutBackward:
    def test_hundred_thousand(self) -> None:
        x = used(1.0, 2.0)
        w = used(3.0, 4.0)
        before = live()
        for _ in range(100_000):
            y = x * w
        del y
        assert (_C.live_nodes(), _C.live_bytes()) == before

    def test_with_saved_results(self) -> None:
        x = used(1.0, 2.0)
        before = live()
        for _ in range(10_000):
            y = x.exp()
            z = (y * y).sum()
        del y, z
        assert (_C.live_nodes(), _C.live_bytes()) == before

    def test_custom_functions(self) -> None:
        x = used(1.0, 2.0)
        before = live()
        for _ in range(5_000):
            KeepsSaved.apply(x)
        assert live() == before

    def test_views_and_writes(self) -> None:
        x = used(1.0, 2.0)
        before = live()
        for _ in range(5_000):
            y = x * 1
            y[0].mul_(2)
            y[1] = y[0]
        del y
        assert (_C.live_nodes(), _C.live_bytes()) == before


class TestCreateGraph:
    def test_backward_in_a_loop(self) -> None:
        x = used(1.0, 2.0)
        counts = []
        for _ in range(50):
            x.grad = None
            (x * x * x).sum().backward(create_graph=True)
            counts.append(_C.live_nodes())
        assert counts[-1] == counts[5]
        x.grad = None

    def test_gradient_does_not_keep_the_leaf(self) -> None:
        """PyTorch warns of this cycle; here it must not exist."""
        before = live()
        gc.disable()
        try:
            for _ in range(20):
                x = used(1.0, 2.0)
                (x * x * x).sum().backward(create_graph=True)
                assert x.grad.requires_grad
            del x
            assert (_C.live_nodes(), _C.live_bytes()) == before
        finally:
            gc.enable()

    def test_several_leaves_that_know_each_other(self) -> None:
        before = live()
        for _ in range(20):
            x, y = leaf(1.0, 2.0), used(3.0, 4.0)
            (x * x * y * y).sum().backward(create_graph=True)
            assert x.grad.requires_grad and y.grad.requires_grad
        del x, y
        assert live() == before

    def test_accumulating_keeps_working_after(self) -> None:
        x = leaf(2.0)
        for _ in range(3):
            (x * x * x).backward(create_graph=True)
        assert x.grad.item() == 36.0
        (h,) = rg.autograd.grad(x.grad, x)
        assert h.item() == 36.0
        x.grad = None

    def test_third_order_in_a_loop(self) -> None:
        x = used(1.0, 2.0)
        before = live()
        for _ in range(100):
            y = (x * x * x * x).sum()
            for _ in range(3):
                (g,) = rg.autograd.grad(y, x, create_graph=True)
                y = g.sum()
        del y, g
        assert live() == before

    def test_a_retained_gradient_whose_tensor_is_gone(self) -> None:
        before = live()
        x = leaf(1.0, 2.0)
        y = x * x
        y.retain_grad()
        z = (y * y).sum()
        del y
        rg.autograd.grad(z, x, create_graph=True)
        del x, z
        assert live() == before


class KeepsSaved(Function):
    @staticmethod
    def forward(ctx, x):
        y = x * 2
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, g):
        ctx.saved_tensors  # noqa: B018
        return g * 2


class KeepsInput(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.x = x
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


class KeepsOutput(Function):
    """A cycle through Python: the output's node owns the ctx, which owns the output."""

    @staticmethod
    def forward(ctx, x):
        ctx.out = x * 2
        return ctx.out

    @staticmethod
    def backward(ctx, g):
        return g * 2


class KeepsIntermediate(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.y = x.exp()
        return ctx.y * 2

    @staticmethod
    def backward(ctx, g):
        return g * ctx.y * 2


class KeepsItself(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.ctx = ctx
        ctx.list = [ctx, x]
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


FUNCTIONS = [KeepsSaved, KeepsInput, KeepsOutput, KeepsIntermediate, KeepsItself]


class TestContexts:
    @pytest.mark.parametrize("function", FUNCTIONS)
    @pytest.mark.parametrize("use", ["forward", "backward", "twice", "inner", "create_graph"])
    def test_tensors_kept_on_ctx(self, function: Any, use: str) -> None:
        before = live()
        for _ in range(10):
            x = leaf(1.0, 2.0)
            y = function.apply(x * 1 if use == "inner" else x)
            if use in ("backward", "inner"):
                (y * 3).sum().backward()
            elif use == "twice":
                y.sum().backward(retain_graph=True)
                y.sum().backward()
            elif use == "create_graph" and function is not KeepsIntermediate:
                rg.autograd.grad((y * y).sum(), x, create_graph=True)
        del x, y
        assert live() == before

    def test_a_chain_of_cycles(self) -> None:
        """Each collection frees the outermost, as in PyTorch: the next one is its edge."""
        before = live()
        x = leaf(1.0, 2.0)
        y = x
        for _ in range(30):
            y = KeepsOutput.apply(y)
        del x, y
        for _ in range(30):
            gc.collect()
        assert live() == before

    def test_a_cycle_that_is_still_in_use_is_not_collected(self) -> None:
        x = leaf(1.0, 2.0)
        y = KeepsOutput.apply(x)
        z = y * 3
        del y
        for _ in range(3):
            gc.collect()
        z.sum().backward()
        assert x.grad.tolist() == [6.0, 6.0]

    def test_a_cycle_held_through_a_view_is_not_collected(self) -> None:
        x = leaf(1.0, 2.0)
        y = KeepsOutput.apply(x)[0]
        for _ in range(3):
            gc.collect()
        y.backward()
        assert x.grad.tolist() == [2.0, 0.0]

    def test_a_context_is_freed_with_its_node(self) -> None:
        contexts: list[Any] = []

        class F(Function):
            @staticmethod
            def forward(ctx, x):
                contexts.append(weakref.ref(ctx))
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return g * 2

        y = F.apply(leaf(1.0))
        gc.collect()
        assert contexts[0]() is not None
        del y
        gc.collect()
        assert contexts[0]() is None

    def test_held_only_by_the_node(self) -> None:
        x = leaf(1.0, 2.0)
        y = KeepsOutput.apply(x)
        node = y.grad_fn
        del y
        gc.collect()
        assert node.name() == "KeepsOutputBackward"
        assert len(node.next_functions) == 1


class TestPythonCycles:
    def test_through_an_attribute_of_a_tensor(self) -> None:
        before = live()
        for _ in range(10):
            x = leaf(*[1.0] * 100)
            x.me = x
            y = x * 2
            y.parent = [x, y]
        del x, y
        assert live() == before

    def test_through_an_object(self) -> None:
        class Holder:
            pass

        before = live()
        for _ in range(10):
            h = Holder()
            h.x = leaf(*[1.0] * 100)
            h.y = h.x * 2
            h.y.holder = h
        ref = weakref.ref(h)
        del h
        assert live() == before and ref() is None

    def test_through_a_closure(self) -> None:
        before = live()

        def make() -> Callable[[], Any]:
            x = leaf(*[1.0] * 100)

            def f() -> Any:
                return x * 2, f

            x.f = f
            return f

        make()()
        assert live() == before

    def test_weak_references_to_tensors(self) -> None:
        x = leaf(1.0)
        ref = weakref.ref(x)
        assert ref() is x
        del x
        gc.collect()
        assert ref() is None

    def test_a_generator_that_is_dropped(self) -> None:
        before = live()

        def batches() -> Any:
            x = leaf(*[1.0] * 100)
            while True:
                yield x * 2

        g = batches()
        next(g)
        del g
        assert live() == before


class TestExceptions:
    def test_failing_ops(self) -> None:
        x = used(1.0, 2.0)
        bad = used(1.0, 2.0, 3.0)
        before = live()
        for _ in range(100):
            with pytest.raises(RuntimeError):
                x * bad
            with pytest.raises(TypeError):
                x * 1 + "text"  # type: ignore[operator]
        assert live() == before

    def test_failing_backward(self) -> None:
        x = used(1.0, 2.0)
        before = live()
        for _ in range(50):
            y = x * 1
            z = y.exp()
            z.mul_(2)
            try:
                (z * y).sum().backward()
            except RuntimeError as error:
                assert "inplace" in str(error)
            else:
                pytest.fail("no error")
        del y, z
        assert live() == before

    def test_failing_functions(self) -> None:
        class F(Function):
            fail = "forward"

            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                ctx.y = x.exp()
                if F.fail == "forward":
                    raise ValueError("forward")
                return ctx.y

            @staticmethod
            def backward(ctx, g):
                raise ValueError("backward")

        x = used(1.0, 2.0)
        before = live()
        for fail in ("forward", "backward") * 20:
            F.fail = fail
            try:
                F.apply(x).sum().backward()
            except ValueError as error:
                assert str(error) == fail
                traceback.clear_frames(error.__traceback__)
            else:
                pytest.fail("no error")
        assert live() == before

    def test_an_exception_that_keeps_tensors(self) -> None:
        before = live()

        def work() -> None:
            x = leaf(*[1.0] * 100)
            y = x * 2
            raise ValueError(y)

        try:
            work()
        except ValueError:
            pass
        assert live() == before


DEEP = """
import threading, sys
import rustgrad as rg

def work():
    x = rg.tensor(1.0, dtype=rg.float64, requires_grad=True)
    y = x
    for _ in range({n}):
        y = y {op}
    {then}
    del y
    assert rg._C.live_nodes() <= 2, rg._C.live_nodes()
    done.append(x.grad.item() if x.grad is not None else None)

done = []
threading.stack_size(512 * 1024)
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(done[0])
"""


def run(code: str, timeout: float = 300.0) -> str:
    """The output of a program run by another interpreter: a crash fails the test only."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=timeout
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr[-2000:]}"
    return done.stdout.strip()


class TestDeepGraphs:
    """A million nodes, on a stack of 512 KiB."""

    N = 1_000_000

    def test_forward_and_drop(self) -> None:
        assert run(DEEP.format(n=self.N, op="+ 1.0", then="pass")) == "None"

    def test_backward(self) -> None:
        assert run(DEEP.format(n=self.N, op="+ 1.0", then="y.backward()")) == "1.0"

    def test_with_saved_values(self) -> None:
        assert run(DEEP.format(n=self.N, op="* x.detach()", then="y.backward()")) == "1.0"

    def test_drop_with_saved_values(self) -> None:
        assert run(DEEP.format(n=self.N // 4, op="* y", then="pass")) == "None"

    def test_a_failing_backward(self) -> None:
        then = """
    with rg.no_grad():
        y0 = y.exp()
    z = y.exp()
    z.data.add_(1)
    try:
        (z * 1).backward()
    except RuntimeError:
        pass
    del z, y0
"""
        assert run(DEEP.format(n=self.N // 4, op="+ 1.0", then=then)) == "None"

    def test_create_graph(self) -> None:
        then = """(g,) = rg.autograd.grad(y, x, create_graph=True)
    g.backward()
    del g"""
        assert float(run(DEEP.format(n=100_000, op="* x", then=then))) > 0

    def test_custom_functions(self) -> None:
        code = """
import rustgrad as rg
class F(rg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x + 1
    @staticmethod
    def backward(ctx, g):
        return g
""" + DEEP.replace("y = y {op}", "y = F.apply(y)")
        assert run(code.format(n=50_000, op="", then="pass")) == "None"
        assert run(code.format(n=50_000, op="", then="y.backward()")) == "1.0"

    def test_a_chain_of_views(self) -> None:
        code = DEEP.replace("y = y {op}", "y = y.view(())")
        assert run(code.format(n=20_000, op="", then="y.backward()")) == "1.0"

    def test_a_chain_of_writes(self) -> None:
        code = DEEP.replace("y = x\n", "y = x * 1\n").replace("y = y {op}", "y.add_(1)")
        assert run(code.format(n=100_000, op="", then="y.backward()")) == "1.0"


class TestThreads:
    def test_many_threads_leave_nothing(self) -> None:
        before = live()
        failed: list[BaseException] = []

        def work(k: int) -> None:
            try:
                x = leaf(*[float(k)] * 10)
                for _ in range(100):
                    y = KeepsOutput.apply((x * x).exp())
                    (y * 1e-100).sum().backward()
                    x.grad = None
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(16)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not failed
        del threads
        assert live() == before

    def test_dropped_in_another_thread(self) -> None:
        before = live()
        box = [leaf(*[1.0] * 100)]
        for _ in range(1000):
            box.append(box[-1] + 1)
        thread = threading.Thread(target=box.clear)
        thread.start()
        thread.join()
        del thread
        assert live() == before

    def test_one_graph_read_by_many_threads(self) -> None:
        x = leaf(*[1.0] * 10)
        y = x
        for _ in range(200):
            y = y * 1.01
        y = y.sum()
        grads = []

        def work() -> None:
            for _ in range(20):
                (g,) = rg.autograd.grad(y, x, retain_graph=True)
                grads.append(g[0].item())

        threads = [threading.Thread(target=work) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(grads) == 160 and len(set(grads)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
class TestFork:
    FORK = """
import os, sys
import rustgrad as rg
x = rg.rand(300, 300) if hasattr(rg, "rand") else rg.tensor([[0.5] * 300] * 300)
x.requires_grad_()
def step():
    y = (x @ x).exp().sum()
    y.backward()
    return x.grad.sum().item()
want = step()
x.grad = None
children = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        ok = step() == want
        os._exit(0 if ok else 3)
    children.append(pid)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
assert codes == [0, 0, 0], codes
assert step() == want
print("fine")
"""

    def test_after_backward(self) -> None:
        assert run(self.FORK, timeout=60) == "fine"

    def test_while_another_thread_computes(self) -> None:
        code = self.FORK.replace(
            "children = []",
            "import threading\n"
            "stop = []\n"
            "def busy():\n"
            "    z = rg.tensor([[0.5] * 100] * 100, requires_grad=True)\n"
            "    while not stop:\n"
            "        (z @ z).sum().backward()\n"
            "t = threading.Thread(target=busy); t.start()\n"
            "children = []",
        ).replace("assert codes ==", "stop.append(1); t.join()\nassert codes ==")
        assert run(code, timeout=60) == "fine"

    def test_the_graph_of_the_parent_can_be_used_in_the_child(self) -> None:
        code = """
import os
import rustgrad as rg
x = rg.tensor([1.0, 2.0], requires_grad=True)
y = (x * x).sum()
pid = os.fork()
if pid == 0:
    y.backward()
    os._exit(0 if x.grad.tolist() == [2.0, 4.0] else 3)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert x.grad is None
y.backward()
print(x.grad.tolist())
"""
        assert run(code, timeout=60) == "[2.0, 4.0]"


class TestInterpreterExit:
    @pytest.mark.parametrize("n", [1, 200_000])
    def test_with_a_live_graph(self, n: int) -> None:
        code = f"""
import rustgrad as rg
x = rg.tensor(1.0, requires_grad=True)
y = x
for _ in range({n}):
    y = y + 1
class F(rg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.out = x * 2
        return ctx.out
z = F.apply(y)
print("end")
"""
        assert run(code) == "end"
