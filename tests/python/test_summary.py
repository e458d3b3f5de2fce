"""Module summaries."""

from __future__ import annotations

import pytest
import rustgrad as rg
from rustgrad.autograd import graph
from rustgrad.nn.utils import summary
from rustgrad.utils.flop_counter import FlopCounterMode

nn = rg.nn


def net():
    return nn.Sequential(
        nn.Linear(8, 16), nn.Sequential(nn.ReLU(), nn.LayerNorm(16)), nn.Linear(16, 2)
    )


def test_rows():
    found = summary(net(), rg.ones(4, 8))
    assert [(r.name, r.type, r.depth) for r in found.rows] == [
        ("", "Sequential", 0),
        ("0", "Linear", 1),
        ("1", "Sequential", 1),
        ("1.0", "ReLU", 2),
        ("1.1", "LayerNorm", 2),
        ("2", "Linear", 1),
    ]
    assert [r.output_shapes for r in found.rows] == [[(4, 2)], *[[(4, 16)]] * 4, [(4, 2)]]
    assert [r.params for r in found.rows] == [144 + 32 + 34, 144, 32, 0, 32, 34]
    first, last = 2 * 4 * 8 * 16, 2 * 4 * 16 * 2
    assert [r.flops for r in found.rows] == [first + last, first, 0, 0, 0, last]
    assert found.flops == first + last and found.input_bytes == 128
    kept = [r.kept_bytes for r in found.rows]
    assert kept[0] == kept[1] + kept[2] + kept[5] == found.kept_bytes > 0
    assert kept[2] == kept[3] + kept[4]


def test_it_agrees_with_the_counter_and_the_report():
    model, x = net(), rg.randn(4, 8)
    found = summary(model, x)
    with FlopCounterMode(display=False) as counter:
        y = model(x)
    assert found.flops == counter.get_total_flops()
    assert found.kept_bytes == graph.memory(y, held=[x]).total


def test_totals():
    model = net()
    model[0].requires_grad_(False)
    model.register_buffer("b", rg.zeros(3))
    found = summary(model, rg.ones(4, 8))
    assert (found.params, found.trainable_params) == (210, 66)
    assert (found.param_bytes, found.buffer_bytes) == (840, 12)
    assert found.rows[0].trainable_params == 66
    text = str(found)
    assert "Parameters: 210 (840 B), of which 66 are trained and 144 are not" in text
    assert "ReLU (0)" in text
    assert "ReLU (0)" not in found.table(depth=1)


def test_a_module_that_is_called_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.unused = nn.Linear(2, 2)

        def forward(self, x, *, scale):
            return {"y": self.layer(self.layer(x)) * scale, "n": 3}

    found = summary(Twice(), rg.ones(1, 4), scale=rg.ones(1, 4))
    outer, first, second = found.rows
    assert (first.params, second.params) == (20, 0)
    assert first.flops == second.flops == 32 and outer.flops == 64
    assert outer.output_shapes == [(1, 4)]
    assert found.params == 26 and found.input_bytes == 32
    assert found.rows[0].params == 26


def test_no_gradient_anywhere():
    model = net().requires_grad_(False)
    found = summary(model, rg.ones(4, 8))
    assert found.kept_bytes == 0 and found.flops > 0
    assert "--" in str(found)


def test_state_is_as_before():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", rg.zeros(1))
            self.register_buffer("still", rg.zeros(1))
            self.dropout = nn.Dropout(0.5)

        def forward(self, x):
            self.calls += 1
            return self.dropout(x)

    model = Counts()
    rg.manual_seed(3)
    expected = rg.rand(2).tolist()
    rg.manual_seed(3)
    versions = model.still._version
    summary(model, rg.ones(4))
    assert model.calls.item() == 0 and model.still._version == versions
    assert rg.rand(2).tolist() == expected
    assert model.training and not model.dropout._forward_hooks and not model._forward_pre_hooks
    assert all(p.grad is None for p in model.parameters())


def test_within_no_grad():
    with rg.no_grad():
        assert summary(net(), rg.ones(4, 8)).kept_bytes > 0


def test_errors():
    model = net()
    with pytest.raises(RuntimeError, match="linear"):
        summary(model, rg.ones(4, 9))
    assert not model._forward_hooks
    with rg.profiler.profile() as prof:
        rg.ones(1)
    assert [e.name for e in prof.events()] == ["ones"]
    with pytest.raises(TypeError, match="expected a module, but got function"):
        summary(lambda x: x, rg.ones(1))
    with rg.inference_mode(), pytest.raises(RuntimeError, match="inference mode"):
        summary(model, rg.ones(4, 8))
