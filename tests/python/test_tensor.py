"""Tensors as Python objects: printing, NumPy, copies, the protocol of numbers, threads and fork."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rustgrad as rg

INF, NAN = float("inf"), float("nan")

PRINTED: dict[str, Callable[[Any], Any]] = {
    "0-d": lambda m: m.tensor(3.5),
    "0-d integer": lambda m: m.tensor(3),
    "bool": lambda m: m.tensor([True, False]),
    "empty": lambda m: m.tensor([]),
    "empty matrix": lambda m: m.zeros(0, 3),
    "empty integers": lambda m: m.zeros(2, 0, dtype=m.int64),
    "whole floats": lambda m: m.tensor([1.0, -2.0, 30.0]),
    "fractions": lambda m: m.tensor([1.5, -2.25, 3.125]),
    "rounded": lambda m: m.tensor([1 / 3, 2 / 3, 100 / 3]),
    "wide range": lambda m: m.tensor([1e-5, 1.0, 1e5]),
    "tiny": lambda m: m.tensor([1e-10, 2e-10]),
    "huge": lambda m: m.tensor([1e10, 2e20]),
    "zeros among small": lambda m: m.tensor([0.0, 1e-3, 5e-4]),
    "not finite": lambda m: m.tensor([NAN, 1.0, INF, -INF]),
    "only not finite": lambda m: m.tensor([NAN, INF]),
    "negative and nan": lambda m: m.tensor([NAN, -1.5]),
    "negative zero": lambda m: m.tensor([-0.0, 1.0]),
    "integers": lambda m: m.tensor([[1, -20], [300, 4]]),
    "int32": lambda m: m.tensor([1, 2], dtype=m.int32),
    "uint8": lambda m: m.tensor([1, 255], dtype=m.uint8),
    "float64": lambda m: m.tensor([1.5, 2.5], dtype=m.float64),
    "float16": lambda m: m.tensor([1.5, 2.5], dtype=m.float16),
    "bfloat16": lambda m: m.tensor([1.5, 2.5], dtype=m.bfloat16),
    "matrix": lambda m: m.arange(6.0).reshape(2, 3) / 4,
    "three dimensions": lambda m: m.arange(12).reshape(2, 3, 2),
    "four dimensions": lambda m: m.arange(8).reshape(2, 2, 1, 2),
    "long row": lambda m: m.arange(60),
    "long row of floats": lambda m: m.arange(30.0) / 7,
    "summary": lambda m: m.arange(2000),
    "summary of a matrix": lambda m: m.arange(3000.0).reshape(100, 30),
    "summary of three dimensions": lambda m: m.ones(20, 20, 20),
    "one long dimension": lambda m: m.arange(4000).reshape(2, 2000),
    "leaf": lambda m: m.tensor([1.0], requires_grad=True),
    "result": lambda m: m.tensor([1.0], requires_grad=True) * 2,
    "result of a view": lambda m: m.ones(2, 2, requires_grad=True).transpose(0, 1),
    "long suffix": lambda m: (m.arange(12.0, dtype=m.float64) / 3).requires_grad_(),
    "meta": lambda m: m.empty(2, 3, device="meta"),
    "transposed": lambda m: m.arange(6).reshape(2, 3).t(),
}


@pytest.mark.parametrize("name", PRINTED)
def test_prints_like_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    want = repr(PRINTED[name](torch)).replace("torch.", "rustgrad.")
    assert repr(PRINTED[name](rg)) == want


class TestNumpy:
    def test_shares_memory_both_ways(self) -> None:
        a = np.arange(6.0).reshape(2, 3)
        t = rg.from_numpy(a)
        t[0, 0] = 10.0
        a[1, 2] = 20.0
        assert a[0, 0] == 10.0 and t[1, 2].item() == 20.0
        b = t.numpy()
        b[0, 1] = 30.0
        assert a[0, 1] == 30.0

    def test_keeps_memory_alive(self) -> None:
        t = rg.arange(1000)
        a = t.numpy()
        del t
        gc.collect()
        assert a.sum() == 499_500
        u = rg.from_numpy(np.arange(1000))
        gc.collect()
        assert u.sum().item() == 499_500

    def test_strides(self) -> None:
        t = rg.arange(12).reshape(3, 4)[:, ::2].t()
        assert t.numpy().tolist() == t.tolist()
        a = np.arange(12).reshape(3, 4)[:, 1:3].T
        assert rg.from_numpy(a).tolist() == a.tolist()
        # A tensor's strides are not negative: copied.
        assert rg.from_numpy(np.arange(4)[::-1]).tolist() == [3, 2, 1, 0]

    @pytest.mark.parametrize("dtype", "f8 f4 f2 i8 i4 i2 i1 u1 ?".split())
    def test_types(self, dtype: str) -> None:
        a = np.array([[0, 1], [1, 0]], dtype=dtype)
        t = rg.from_numpy(a)
        assert t.numpy().dtype == a.dtype and t.tolist() == a.tolist()
        assert rg.tensor(a).dtype == rg.as_tensor(a).dtype == t.dtype

    def test_refusals(self) -> None:
        with pytest.raises(TypeError, match="BFloat16"):
            rg.ones(2, dtype=rg.bfloat16).numpy()
        with pytest.raises(RuntimeError, match=r"Use tensor.detach\(\).numpy\(\) instead"):
            rg.ones(2, requires_grad=True).numpy()
        with pytest.raises(TypeError, match="format"):
            rg.from_numpy(np.array([1 + 2j]))
        with pytest.raises(TypeError, match="expected np.ndarray"):
            rg.from_numpy([1, 2])

    def test_protocols(self) -> None:
        t = rg.tensor([1.5, 2.5])
        assert np.asarray(t).dtype == np.float32
        assert np.array(t, dtype=np.int64).tolist() == [1, 2]
        assert memoryview(t).tolist() == [1.5, 2.5]
        assert np.exp(t).dtype == np.float32

    def test_dlpack(self) -> None:
        t = rg.arange(6.0).reshape(2, 3).t()
        a = np.from_dlpack(t)
        t[0, 0] = 9.0
        assert a[0, 0] == 9.0 and a.tolist() == t.tolist()
        b = np.zeros((2, 2))
        u = rg.from_dlpack(b)
        u[0, 1] = 4.0
        assert b[0, 1] == 4.0
        assert rg.from_dlpack(t).data_ptr() == t.data_ptr()
        with pytest.raises(BufferError, match="require gradient"):
            np.from_dlpack(rg.ones(2, requires_grad=True))

    def test_dlpack_with_pytorch(self) -> None:
        torch = pytest.importorskip("torch")
        t = rg.arange(4.0)
        ours = torch.from_dlpack(t)
        ours[1] = 7.0
        assert t.tolist() == [0.0, 7.0, 2.0, 3.0]
        theirs = torch.zeros(3)
        rg.from_dlpack(theirs).add_(2)
        assert theirs.tolist() == [2.0, 2.0, 2.0]

    def test_scalars_keep_their_type(self) -> None:
        assert rg.tensor(np.float64(1.5)).dtype == rg.float64
        assert rg.tensor([np.float32(1.5), 2.0]).dtype == rg.float32
        assert rg.tensor([np.ones(2), np.zeros(2)]).dtype == rg.float64
        assert rg.tensor(np.int32(4)).dtype == rg.int32

    def test_ragged_lists(self) -> None:
        with pytest.raises(ValueError, match="expected sequence of length 2 at dim 1"):
            rg.tensor([[1, 2], [3]])
        with pytest.raises(RuntimeError, match="Could not infer dtype of NoneType"):
            rg.tensor([None])


class TestCopies:
    @pytest.mark.parametrize("dtype", "float64 float16 bfloat16 int32 uint8 bool".split())
    def test_pickle(self, dtype: str) -> None:
        t = rg.tensor([[1, 0, 3], [4, 5, 0]]).to(getattr(rg, dtype)).t()
        u = pickle.loads(pickle.dumps(t))
        assert rg.equal(t, u) and u.dtype == t.dtype

    def test_pickle_of_leaves(self) -> None:
        x = rg.ones(2, requires_grad=True)
        assert pickle.loads(pickle.dumps(x)).requires_grad
        p = pickle.loads(pickle.dumps(rg.nn.Parameter(rg.ones(2))))
        assert type(p) is rg.nn.Parameter and p.requires_grad

    def test_deepcopy(self) -> None:
        x = rg.ones(2, requires_grad=True)
        (x * 3).sum().backward()
        y = copy.deepcopy(x)
        assert y.requires_grad and y.is_leaf and y.grad.tolist() == [3.0, 3.0]
        with rg.no_grad():
            y.zero_()
            y.grad.zero_()
        assert x.tolist() == [1.0, 1.0] and x.grad.tolist() == [3.0, 3.0]
        with pytest.raises(RuntimeError, match="deepcopy"):
            copy.deepcopy(x * 2)

    def test_deepcopy_keeps_what_is_shared(self) -> None:
        base = rg.zeros(4)
        a, b, c = copy.deepcopy((base, base[1:3], base))
        assert a is c
        b[0] = 7.0
        assert a.tolist() == [0.0, 7.0, 0.0, 0.0] and base.tolist() == [0.0] * 4


class TestProtocol:
    def test_iteration_and_len(self) -> None:
        t = rg.arange(6).reshape(3, 2)
        assert len(t) == 3 and [row.tolist() for row in t] == [[0, 1], [2, 3], [4, 5]]
        for bad in (len, iter):
            with pytest.raises(TypeError, match="0-d"):
                bad(rg.tensor(1))

    def test_truth(self) -> None:
        assert rg.tensor(2.0) and not rg.tensor([0])
        with pytest.raises(RuntimeError, match="ambiguous"):
            bool(rg.ones(2))
        with pytest.raises(RuntimeError, match="ambiguous"):
            bool(rg.ones(0))

    def test_numbers(self) -> None:
        assert int(rg.tensor([3.7])) == 3 and float(rg.tensor(2)) == 2.0
        assert [10, 20, 30][rg.tensor(1)] == 20
        assert f"{rg.tensor(1.23456):.2f}" == "1.23"
        with pytest.raises(TypeError):
            _ = [10, 20][rg.tensor(1.0)]
        with pytest.raises(ValueError, match="NaN"):
            int(rg.tensor(NAN))

    def test_identity(self) -> None:
        a, b = rg.ones(2), rg.ones(2)
        assert len({a, b}) == 2 and a in {a} and hash(a) != hash(b)
        assert (a == b).tolist() == [True, True]
        assert rg.tensor(2) in rg.tensor([1, 2, 3])

    def test_attributes_and_weak_references(self) -> None:
        t = rg.ones(2)
        t.note = "mine"
        r = weakref.ref(t)
        assert r() is t and t.note == "mine"
        del t
        assert r() is None

    def test_subclass(self) -> None:
        class Named(rg.Tensor):
            pass

        t = rg.Tensor._make_subclass(Named, rg.ones(2))
        assert isinstance(t, Named) and (t + 1).tolist() == [2.0, 2.0]


class TestMemory:
    WRITES: dict[str, Callable[[Any], Any]] = {
        "add_": lambda t: t.add_(1),
        "setitem": lambda t: t.__setitem__(0, 5.0),
        "copy_": lambda t: t.copy_(t + 1),
        "zero_": lambda t: t.zero_(),
        "through a view": lambda t: t[1:].mul_(2),
        "through detach": lambda t: t.detach().mul_(2),
        "through data": lambda t: t.data.mul_(2),
        "out": lambda t: rg.add(t, 1, out=t),
    }

    @pytest.mark.parametrize("name", WRITES)
    def test_versions_count_writes(self, name: str) -> None:
        t = rg.ones(3)
        self.WRITES[name](t)
        assert t._version == 1

    def test_layout(self) -> None:
        t = rg.zeros(3, 4)[1:, ::2]
        assert t.stride() == (4, 2) and t.storage_offset() == 4 and not t.is_contiguous()
        assert t.element_size() == 4 and t.nbytes == 16 and t.numel() == 4
        assert t.contiguous().stride() == (2, 1)
        assert t.data_ptr() == t._base.data_ptr() + 16


class TestTypes:
    def test_default(self) -> None:
        try:
            rg.set_default_dtype(rg.float64)
            assert rg.tensor(1.0).dtype == rg.ones(1).dtype == rg.float64
            assert (rg.arange(3) / 2).dtype == rg.float64
        finally:
            rg.set_default_dtype(rg.float32)
        with pytest.raises(TypeError, match="floating-point"):
            rg.set_default_dtype(rg.int64)

    @pytest.mark.parametrize("name", ["float16", "float32", "float64"])
    def test_finfo(self, name: str) -> None:
        ours, theirs = rg.finfo(getattr(rg, name)), np.finfo(name)
        for field in ("bits", "eps", "max", "min", "tiny"):
            assert getattr(ours, field) == getattr(theirs, field), field

    @pytest.mark.parametrize("name", ["int8", "uint8", "int16", "int32", "int64"])
    def test_iinfo(self, name: str) -> None:
        ours, theirs = rg.iinfo(getattr(rg, name)), np.iinfo(name)
        assert (ours.min, ours.max, ours.bits) == (theirs.min, theirs.max, theirs.bits)

    def test_to(self) -> None:
        t = rg.ones(2)
        assert t.to(rg.float32) is t and t.to("cpu") is t and t.float() is t
        assert t.to(t.double()).dtype == rg.float64
        assert t.to(rg.float32, copy=True) is not t
        with pytest.raises(RuntimeError, match="not available"):
            t.to("cuda")


class TestThreadsAndFork:
    def test_modes_belong_to_threads(self) -> None:
        seen = []
        with rg.no_grad():
            thread = threading.Thread(target=lambda: seen.append(rg.is_grad_enabled()))
            thread.start()
            thread.join()
            assert not rg.is_grad_enabled()
        assert seen == [True]

    def test_threads_compute_the_same(self) -> None:
        x = rg.randn(20, 20, dtype=rg.float64)
        grads: list[Any] = [None] * 4

        def work(i: int) -> None:
            z = x.clone().requires_grad_()
            for _ in range(20):
                z.grad = None
                (z @ z).tanh().sum().backward()
            grads[i] = z.grad

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(rg.equal(g, grads[0]) for g in grads)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_fork(self) -> None:
        x = rg.randn(30, 30, requires_grad=True)
        (x @ x).sum().backward()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                x.grad = None
                (x @ x).exp().mean().backward()
                code = 0 if x.grad is not None else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0


def test_copies_to_just_ahead_but_for_whole_pages():
    for dtype in (rg.float32, rg.float64, rg.int64):
        page = 4096 // rg.empty(0, dtype=dtype).element_size()
        for ahead in (1, 3, 7, 20):
            x = rg.arange(3 * page, dtype=dtype)
            expected = x.tolist()
            expected[page + ahead : 2 * page] = expected[: page - ahead]
            x[page + ahead : 2 * page] = x[: page - ahead]
            assert x.tolist() == expected
