"""What nodes save: hooks, offloading, reading, mutation."""

from __future__ import annotations

import gc
import os
import threading
import weakref

import pytest
import rustgrad as rg
from rustgrad.autograd import graph
from rustgrad.nn import functional as F


def leaf(*values: float) -> rg.Tensor:
    return rg.tensor(values, dtype=rg.float64, requires_grad=True)


class Boom(Exception):
    pass


def fail(*args):
    raise Boom


class TestHooks:
    def test_pack_and_unpack(self) -> None:
        x, packed, unpacked = leaf(2.0), [], []

        def pack(t):
            packed.append(t)
            return {"kept": t.tolist()}

        def unpack(box):
            unpacked.append(box)
            return rg.tensor(box["kept"], dtype=rg.float64)

        with graph.saved_tensors_hooks(pack, unpack):
            y = x.exp() * x
        y.sum().backward()
        assert x.grad.item() == pytest.approx(3 * rg.tensor(2.0, dtype=rg.float64).exp().item())
        # The result of exp, saved by exp and by mul; x, saved by mul.
        assert len(packed) == 3 and packed[-1] is x or packed[-2] is x
        assert len(unpacked) == 3

    def test_what_is_given_has_no_history_unless_it_is_a_leaf(self) -> None:
        x, w = leaf(2.0), rg.nn.Parameter(rg.ones(1, dtype=rg.float64))
        seen = []
        with graph.saved_tensors_hooks(lambda t: seen.append(t) or t, lambda t: t):
            (x * 2) * w
        assert any(t is w for t in seen)
        assert all(t is w or t.grad_fn is None for t in seen)

    def test_run_without_recording(self) -> None:
        x, modes = leaf(2.0), []

        def note(t):
            modes.append(rg.is_grad_enabled())
            return t

        with graph.saved_tensors_hooks(note, note):
            y = x * x
        rg.autograd.grad(y, x, create_graph=True)
        assert modes and not any(modes)

    def test_only_the_innermost_count(self) -> None:
        x, calls = leaf(2.0), []
        outer = graph.saved_tensors_hooks(lambda t: calls.append("outer") or t, lambda t: t)
        inner = graph.saved_tensors_hooks(lambda t: calls.append("inner") or t, lambda t: t)
        with outer:
            with inner:
                x.exp()
            x.exp()
        x.exp()
        assert calls == ["inner", "outer"]

    def test_belong_to_a_thread(self) -> None:
        x, calls = leaf(2.0), []
        with graph.saved_tensors_hooks(lambda t: calls.append(t) or t, lambda t: t):
            thread = threading.Thread(target=lambda: x.exp())
            thread.start()
            thread.join()
        assert not calls

    def test_orders_of_differentiation(self) -> None:
        x = leaf(1.5)
        with graph.saved_tensors_hooks(lambda t: t.tolist(), lambda v: rg.tensor(v).double()):
            y = x.sin() * x * x
            for _ in range(3):
                (y,) = rg.autograd.grad(y, x, create_graph=True)
        z = leaf(1.5)
        want = z.sin() * z * z
        for _ in range(3):
            (want,) = rg.autograd.grad(want, z, create_graph=True)
        assert y.item() == pytest.approx(want.item())

    def test_layers_custom_functions_and_retained_graphs(self) -> None:
        class Cube(rg.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                y = x**3
                ctx.save_for_backward(x, y)
                return y

            @staticmethod
            def backward(ctx, g):
                x, y = ctx.saved_tensors
                assert y.shape == x.shape
                return 3 * g * x * x

        rg.manual_seed(0)
        w = rg.randn(4, 3, dtype=rg.float64, requires_grad=True)
        x = rg.randn(2, 3, dtype=rg.float64)

        def loss():
            h = Cube.apply(F.linear(x, w))
            return F.cross_entropy(F.layer_norm(h, (4,)), rg.tensor([1, 2]))

        (want,) = rg.autograd.grad(loss(), w)
        with graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t.clone()):
            hooked = loss()
        for retain in (True, True, False):
            (got,) = rg.autograd.grad(hooked, w, retain_graph=retain)
            assert rg.equal(got, want)

    def test_in_place_ops(self) -> None:
        x = leaf(2.0)
        with graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
            y = x * 1
            y.mul_(x)
            y.exp_()
        y.sum().backward()
        want = leaf(2.0)
        (want * want).exp().sum().backward()
        assert x.grad.item() == pytest.approx(want.grad.item())

    def test_freed_with_the_node(self) -> None:
        class Box:
            def __init__(self, t):
                self.t = t

        boxes = []

        def pack(t):
            box = Box(t)
            boxes.append(weakref.ref(box))
            return box

        x = leaf(2.0)
        with graph.saved_tensors_hooks(pack, lambda box: box.t):
            y, z = x.exp(), x.exp()
        y.backward()
        del z
        gc.collect()
        assert [box() for box in boxes] == [None, None]


class TestMistakes:
    def test_exceptions_in_pack_change_nothing(self) -> None:
        x = leaf(2.0)
        y = x * 1
        with graph.saved_tensors_hooks(fail, lambda t: t):
            with pytest.raises(Boom):
                y.exp_()
            with pytest.raises(Boom):
                y.exp()
        assert y.item() == 2.0 and y._version == 0
        y.exp().backward()
        assert x.grad is not None

    def test_exceptions_in_unpack_leave_the_graph(self) -> None:
        x = leaf(2.0)
        state = {"fails": True}
        with graph.saved_tensors_hooks(lambda t: t, lambda t: fail() if state["fails"] else t):
            y = x.exp()
        with pytest.raises(Boom):
            y.backward()
        state["fails"] = False
        y.backward()
        assert x.grad is not None

    def test_unpack_must_return_a_tensor(self) -> None:
        with graph.saved_tensors_hooks(lambda t: t, lambda t: 3):
            y = leaf(2.0).exp()
        with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor but got .* int"):
            y.backward()

    def test_pack_must_not_write(self) -> None:
        x = leaf(2.0) * 1
        with graph.saved_tensors_hooks(lambda t: t.add_(1), lambda t: t):
            with pytest.raises(RuntimeError, match="modifying its input in place"):
                x.exp()

    def test_hooks_are_left_when_the_block_raises(self) -> None:
        with pytest.raises(Boom):
            with graph.saved_tensors_hooks(fail, fail):
                fail()
        leaf(2.0).exp().backward()

    def test_disabled(self) -> None:
        with graph.disable_saved_tensors_hooks("no"):
            with pytest.raises(RuntimeError, match="^no$"):
                with graph.save_on_cpu():
                    pass
            with graph.disable_saved_tensors_hooks("never"):
                pass
            with pytest.raises(RuntimeError, match="^no$"):
                graph.saved_tensors_hooks(fail, fail).__enter__()
        with graph.save_on_cpu():
            with pytest.raises(RuntimeError, match="too late"):
                with graph.disable_saved_tensors_hooks("too late"):
                    pass


class TestOffload:
    def test_cpu(self) -> None:
        x = leaf(1.0, 2.0)
        with graph.save_on_cpu(pin_memory=True):
            y = (x * x).sum()
        y.backward()
        assert x.grad.tolist() == [2.0, 4.0]

    @pytest.mark.parametrize("dtype", [rg.float16, rg.bfloat16, rg.float32, rg.float64])
    def test_disk(self, tmp_path, dtype) -> None:
        rg.manual_seed(0)
        x = rg.randn(50, 40, dtype=dtype, requires_grad=True)
        (want,) = rg.autograd.grad((2 * x).exp().t().exp().sum(), x)
        with graph.save_on_disk(tmp_path, min_bytes=100):
            y = (2 * x).exp().t().exp().sum()
        files = os.listdir(tmp_path)
        assert len(files) == 2
        assert sum((tmp_path / f).stat().st_size for f in files) == 2 * x.nbytes
        y.backward()
        assert rg.equal(x.grad, want)
        gc.collect()
        assert not os.listdir(tmp_path)

    def test_disk_lets_memory_go(self, tmp_path) -> None:
        x = rg.ones(1 << 16, requires_grad=True)
        before = rg._C.live_bytes()
        with graph.save_on_disk(tmp_path):
            kept = x
            for _ in range(8):
                kept = kept.exp().neg()
        assert rg._C.live_bytes() - before > 8 * x.nbytes
        del kept
        with graph.save_on_disk(tmp_path, min_bytes=1):
            kept = x
            for _ in range(8):
                kept = kept.exp().neg()
        assert rg._C.live_bytes() - before == x.nbytes
        assert len(os.listdir(tmp_path)) == 8
        del kept
        assert not os.listdir(tmp_path)

    def test_disk_parameters_and_small_tensors_stay(self, tmp_path) -> None:
        x = rg.ones(1 << 20, requires_grad=True)
        with graph.save_on_disk(tmp_path):
            y = x * x
            z = rg.ones(3, requires_grad=True).exp().exp()
        assert not os.listdir(tmp_path)
        del y, z

    def test_disk_without_a_folder(self, tmp_path) -> None:
        x = leaf(2.0)
        with graph.save_on_disk(tmp_path / "missing", min_bytes=1):
            with pytest.raises(FileNotFoundError):
                (x * 2).exp()


class TestMutation:
    def test_writes_in_inference_mode(self) -> None:
        x = rg.tensor([1.0, 2.0], requires_grad=True)
        with graph.allow_mutation_on_saved_tensors():
            y = x.sigmoid()
            before = y.detach().clone()
            with rg.inference_mode():
                y.zero_()
            (g,) = rg.autograd.grad(y.sum(), x, create_graph=True)
            assert rg.allclose(g, before * (1 - before)) and g.requires_grad

    def test_inference_tensors_that_a_function_saves(self) -> None:
        class Product(rg.autograd.Function):
            @staticmethod
            def forward(ctx, x, y):
                ctx.save_for_backward(x, y)
                return x * y

            @staticmethod
            def backward(ctx, g):
                x, y = ctx.saved_tensors
                return g * y, g * x

        x = rg.tensor(3.0, requires_grad=True)
        with rg.inference_mode():
            y = rg.tensor(2.0)
        with graph.allow_mutation_on_saved_tensors():
            (g,) = rg.autograd.grad(Product.apply(x, y), x, create_graph=True)
        assert g.item() == 2.0

    def test_is_refused_without(self) -> None:
        b = leaf(1.0, 2.0).clone()
        out = (b**2).sum()
        b.sin_()
        with pytest.raises(RuntimeError, match="modified by an inplace"):
            out.backward()

    @pytest.mark.parametrize("through", ["tensor", "view", "data", "no_grad", "copy"])
    def test_sees_what_was_saved(self, through: str) -> None:
        a = leaf(1.0, 2.0)
        with graph.allow_mutation_on_saved_tensors():
            b = a.clone()
            out = (b**2).sum() + b.exp().sum()
            match through:
                case "tensor":
                    b.sin_()
                case "view":
                    b[0].zero_()
                case "data":
                    b.data.mul_(7)
                case "no_grad":
                    with rg.no_grad():
                        b.add_(1)
                case "copy":
                    b.copy_(rg.zeros(2))
            b.mul_(3)
            out.backward()
        want = a.detach() * 2 + a.detach().exp()
        assert rg.allclose(a.grad, want)

    def test_copies_once_and_only_what_is_written(self) -> None:
        a = rg.ones(1000, requires_grad=True)
        with graph.allow_mutation_on_saved_tensors():
            b = a.clone()
            outs = [b**2 for _ in range(3)]
            before = rg._C.live_bytes()
            b.add_(1)
            copied = rg._C.live_bytes() - before
            b.add_(1)
            assert rg._C.live_bytes() - before == copied
            sum(o.sum() for o in outs).backward()
        assert a.grad.unique().tolist() == [6.0]

    def test_results_saved_by_their_own_node(self) -> None:
        a = leaf(0.5)
        with graph.allow_mutation_on_saved_tensors():
            b = a.exp()
            b.mul_(2)
            b.sum().backward()
        assert a.grad.item() == pytest.approx(2 * rg.tensor(0.5, dtype=rg.float64).exp().item())

    def test_backward_belongs_inside(self) -> None:
        with graph.allow_mutation_on_saved_tensors():
            out = leaf(2.0).exp()
        with pytest.raises(RuntimeError, match="outside of the 'allow_mutation"):
            out.backward()


class TestReading:
    def test_saved_operands_by_name(self) -> None:
        x, w = leaf(2.0), leaf(3.0)
        node = (x * w).grad_fn
        assert node._saved_self is x and node._saved_other is w
        y = x.exp()
        assert y.grad_fn._saved_result.item() == y.item()
        assert y.grad_fn._saved_result.grad_fn == y.grad_fn

    def test_arguments_and_lists(self) -> None:
        x = leaf(1.0, 2.0)
        assert x.sum(0).grad_fn._saved_dim == (0,)
        assert "_saved_dim" in dir(x.sum(0).grad_fn)
        assert "_saved_self" in dir((x * x).grad_fn)

    def test_unknown_and_freed(self) -> None:
        y = leaf(2.0).exp()
        with pytest.raises(AttributeError, match="ExpBackward0 has no attribute '_saved_weight'"):
            _ = y.grad_fn._saved_weight
        assert not hasattr(y.grad_fn, "no_such_thing")
        y.backward()
        with pytest.raises(RuntimeError, match="second time"):
            _ = y.grad_fn._saved_result

    def test_of_custom_functions(self) -> None:
        class F1(rg.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return 2 * g

        x = leaf(1.0)
        y = F1.apply(x)
        assert y.grad_fn.saved_tensors[0] is x
        with pytest.raises(AttributeError, match="MulBackward0 has no attribute"):
            _ = (x * 2).grad_fn.saved_tensors

    def test_a_write_is_noticed(self) -> None:
        x = leaf(2.0) * 1
        y = x.sin()
        x.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace"):
            _ = y.grad_fn._saved_self

    def test_parameters_stay_themselves(self) -> None:
        w = rg.nn.Parameter(rg.ones(2))
        r = rg.randn(2, requires_grad=True)
        assert (w * w).grad_fn._saved_self is w
        assert (r * r).grad_fn._saved_self is r
        assert (w * 1).grad_fn.next_functions[0][0].variable is w


class TestVersions:
    def test_increment(self) -> None:
        x = leaf(2.0) * 1
        y = x.sin()
        graph.increment_version(x)
        assert x._version == 1
        with pytest.raises(RuntimeError, match="overwritten by increment_version at .*test_saved"):
            y.backward()
        a, b = rg.ones(1), rg.ones(1)
        graph.increment_version([a, b])
        assert (a._version, b._version) == (1, 1)
