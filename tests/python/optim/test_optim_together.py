"""The step of all parameters in one call has the bits of steps by single operations."""

import pytest
import rustgrad as rg
from rustgrad import _C
from rustgrad.optim import adam, sgd

SHAPES = [(3,), (40, 50), (), (200, 100)]
SGD = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    {"momentum": 0.9, "nesterov": True, "maximize": True},
    {"weight_decay": 0.01, "maximize": True},
]
ADAM = [
    {},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "decoupled_weight_decay": True},
    {"amsgrad": True, "maximize": True},
    {"betas": (0.3, 0.4), "eps": 1e-3},
]


def train(optimizer, options, dtype, steps=4):
    rg.manual_seed(1)
    params = [rg.nn.Parameter(rg.randn(shape, dtype=dtype)) for shape in SHAPES]
    made = optimizer(params, lr=0.1, **options)
    for _ in range(steps):
        for p in params:
            p.grad = rg.randn(p.shape, dtype=dtype)
        made.step()
    state = [list(made.state[p].values()) for p in params]
    tensors = [t for s in state for t in s if isinstance(t, rg.Tensor)]
    return [t.tolist() for t in params + tensors]


@pytest.mark.parametrize("dtype", [rg.float32, rg.float64])
@pytest.mark.parametrize(
    ("optimizer", "module", "name", "options"),
    [(rg.optim.SGD, sgd, "sgd_step", o) for o in SGD]
    + [(rg.optim.Adam, adam, "adam_step", o) for o in ADAM],
)
def test_same_bits(optimizer, module, name, options, dtype, monkeypatch):
    together = train(optimizer, options, dtype)

    class Refusing:
        def __getattr__(self, other):
            return (lambda *_: False) if other == name else getattr(_C, other)

    monkeypatch.setattr(module, "_C", Refusing())
    assert together == train(optimizer, options, dtype)


def test_versions_and_refusals():
    p, q = rg.ones(3), rg.ones(3)
    with rg.no_grad():
        version = p._version
        assert _C.scale_all([p, q], 2.0)
        assert p.tolist() == [2.0] * 3 and p._version == version + 1
        assert not _C.scale_all([p, p], 2.0), "the same memory twice"
        assert not _C.scale_all([p, p[:2]], 2.0)
        assert not _C.scale_all([rg.ones(2, 3).t()], 2.0), "not dense"
        assert not _C.scale_all([rg.ones(3, dtype=rg.int64)], 2.0)
        assert not _C.scale_all([p, rg.ones(3, dtype=rg.float64)], 2.0)
        assert _C.scale_all([], 2.0)
        assert not _C.zero_all([rg.ones(1).expand(3)]), "its elements share memory"
    assert not _C.scale_all([p], 2.0), "it might be recorded"
    assert p.tolist() == [2.0] * 3


def test_a_saved_parameter_that_a_step_changed_is_noticed():
    w = rg.nn.Parameter(rg.ones(3))
    y = (w * w).sum()
    w.grad = rg.ones(3)
    rg.optim.SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
