"""Methods and functions of tensors that are made of others."""

import pickle
import sys

import pytest
import rustgrad as rg


def test_where_as_a_method():
    x = rg.tensor([1.0, -2.0], requires_grad=True)
    y = x.where(x > 0, rg.zeros(()))
    y.sum().backward()
    assert y.tolist() == [1.0, 0.0] and x.grad.tolist() == [1.0, 0.0]


def test_sum_to_size():
    x = rg.arange(24.0).view(2, 3, 4)
    assert rg.equal(x.sum_to_size(4), x.sum((0, 1)))
    assert rg.equal(x.sum_to_size(3, 1), x.sum(0).sum(1, keepdim=True))
    assert rg.equal(x.sum_to_size((2, 1, 4)), x.sum(1, keepdim=True))
    assert rg.equal(x.sum_to_size(()), x.sum())
    assert x.sum_to_size(x.shape) is x
    for bad in [(2, 4), (1, 2, 3, 4)]:
        with pytest.raises(RuntimeError, match="not expandable"):
            x.sum_to_size(bad)


def test_fill_diagonal():
    assert rg.zeros(2, 3).fill_diagonal_(5).tolist() == [[5, 0, 0], [0, 5, 0]]
    assert rg.zeros(3, 2).T.fill_diagonal_(5).tolist() == [[5, 0, 0], [0, 5, 0]]
    assert rg.zeros(2, 2, 2).fill_diagonal_(1).nonzero(as_tuple=False).tolist() == [
        [0, 0, 0],
        [1, 1, 1],
    ]
    assert rg.zeros(4, 2)[1:].fill_diagonal_(1).tolist() == [[1, 0], [0, 1], [0, 0]]
    tall = rg.zeros(7, 3)
    assert tall.fill_diagonal_(1, wrap=True).sum(1).tolist() == [1, 1, 1, 0, 1, 1, 1]
    with pytest.raises(RuntimeError, match="larger than 1"):
        rg.zeros(2).fill_diagonal_(1)
    with pytest.raises(RuntimeError, match="equal length"):
        rg.zeros(2, 2, 3).fill_diagonal_(1)
    x = rg.ones(2, 2, requires_grad=True)
    (x * 1).fill_diagonal_(0).sum().backward()
    assert x.grad.tolist() == [[0, 1], [1, 0]]


def test_broadcast_shapes():
    assert rg.broadcast_shapes((2, 1), (3,), 1) == (2, 3)
    assert rg.broadcast_shapes() == ()
    assert isinstance(rg.broadcast_shapes((2,)), rg.Size)
    with pytest.raises(RuntimeError):
        rg.broadcast_shapes((2,), (3,))
    with pytest.raises(RuntimeError, match="negative"):
        rg.broadcast_shapes((-1,))


def test_questions():
    x = rg.ones(2, 3)
    assert x.is_cpu and not x.to("meta").is_cpu
    assert x.is_same_size(x) and not rg.is_same_size(x, x[0])
    assert rg.tensor(2).is_nonzero() and not rg.tensor(0.0).is_nonzero()
    assert rg.is_signed(x) and not rg.is_signed(x > 0) and not rg.is_inference(x)


def test_functions_of_methods():
    x = rg.ones(2, requires_grad=True)
    assert rg.detach(x).requires_grad is False
    assert rg.fill(x, 3.0).tolist() == [3.0, 3.0] and x.tolist() == [1.0, 1.0]
    y = rg.ones(2)
    assert rg.fill_(y, 2.0) is y and rg.zero_(y) is y and y.tolist() == [0.0, 0.0]


def test_settings_that_change_no_result():
    before = rg.get_num_threads()
    rg.set_num_threads(4)
    assert rg.get_num_threads() == 4
    rg.set_num_threads(before)
    rg.set_float32_matmul_precision("high")
    assert rg.get_float32_matmul_precision() == "highest"
    rg.set_default_device(None)
    assert rg.get_default_device() == rg.device("cpu")
    with pytest.raises(RuntimeError, match="positive"):
        rg.set_num_threads(0)
    with pytest.raises(RuntimeError, match="medium"):
        rg.set_float32_matmul_precision("low")


def test_activations_at_the_top():
    x = rg.tensor([-1.0, 0.25, 2.0])
    assert rg.hardshrink(x).tolist() == x.hardshrink(0.5).tolist() == [-1.0, 0.0, 2.0]
    slope = rg.tensor(0.5).reshape(1)
    assert rg.prelu(x, slope).tolist() == x.prelu(slope).tolist() == [-0.5, 0.25, 2.0]
    assert rg.pairwise_distance(x, x, eps=0.0).item() == 0.0


def test_sizes_stay_sizes():
    size = rg.zeros(2, 3, 4).shape
    assert size == (2, 3, 4) and isinstance(size, tuple) and hash(size) == hash((2, 3, 4))
    assert (size[0], size[-1]) == (2, 4)
    for part in (size[1:], size[:], size[::-1], size + (1,), (1,) + size, size * 2):
        assert type(part) is rg.Size
    assert size[1:].numel() == 12 and rg.zeros(()).shape[:].numel() == 1
    assert type(pickle.loads(pickle.dumps(size))) is rg.Size
    with pytest.raises(IndexError, match="out of range"):
        size[3]
    with pytest.raises(TypeError, match="indices must be integers or slices"):
        size["a"]

    class Named(rg.Size):
        pass

    assert type(Named([1, 2, 3])[1:]) is Named
    # Each object keeps its class, and lets it go.
    before = sys.getrefcount(rg.Size)
    sizes = [rg.zeros(2, 3).shape[:1] for _ in range(100)]
    held = sys.getrefcount(rg.Size)
    del sizes
    after = sys.getrefcount(rg.Size)
    assert held == before + 100 and after == before
