"""nn.utils: clipping and conversion."""

import math

import pytest
import rustgrad as rg
from rustgrad import nn
from rustgrad.nn import utils


def params(*grads):
    result = []
    for grad in grads:
        p = nn.Parameter(rg.zeros(len(grad)))
        p.grad = rg.tensor(grad)
        result.append(p)
    return [*result, nn.Parameter(rg.zeros(2))]


@pytest.mark.parametrize(
    "norm_type, norm",
    [(2, 13.0), (1, 19.0), (3, (27 + 64 + 1728) ** (1 / 3)), (math.inf, 12.0), ("inf", 12.0)],
)
def test_clip_grad_norm(norm_type, norm):
    ps = params([3.0, -4.0], [12.0])
    total = utils.clip_grad_norm_(iter(ps), 1.3, norm_type)
    assert total.item() == pytest.approx(norm, rel=1e-6) and total.dim() == 0
    factor = 1.3 / (norm + 1e-6)
    assert ps[0].grad.tolist() == pytest.approx([3 * factor, -4 * factor])
    assert ps[1].grad.tolist() == pytest.approx([12 * factor])
    assert ps[2].grad is None


def test_small_gradients_stay():
    ps = params([0.3, -0.4])
    assert utils.clip_grad_norm_(ps, 1.0).item() == pytest.approx(0.5)
    assert ps[0].grad.tolist() == rg.tensor([0.3, -0.4]).tolist()
    assert utils.clip_grad_norm_(ps[0], 1.0).item() == pytest.approx(0.5)
    assert utils.clip_grad_norm_([], 1.0).item() == 0.0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nonfinite_norm_raises_before_anything_changes(value):
    ps = params([1.0, 2.0], [value])
    with pytest.raises(RuntimeError, match="non-finite"):
        utils.clip_grad_norm_(ps, 1.0, error_if_nonfinite=True)
    assert ps[0].grad.tolist() == [1.0, 2.0]
    assert not math.isfinite(utils.clip_grad_norm_(ps, 1.0).item())


def test_parts_do_the_same_as_the_whole():
    a, b = params([3.0, 4.0]), params([3.0, 4.0])
    utils.clip_grad_norm_(a, 1.0)
    total = utils.get_total_norm([p.grad for p in b if p.grad is not None])
    utils.clip_grads_with_norm_(b, 1.0, total)
    assert a[0].grad.tolist() == b[0].grad.tolist()


def test_clip_grad_value():
    ps = params([3.0, -4.0, 0.5])
    assert utils.clip_grad_value_(ps, 1) is None
    assert ps[0].grad.tolist() == [1.0, -1.0, 0.5]


def test_vector_conversion():
    m, n = nn.Linear(3, 2), nn.Linear(3, 2)
    vector = utils.parameters_to_vector(m.parameters())
    assert vector.shape == (8,)
    vector.sum().backward()
    assert m.weight.grad.tolist() == [[1.0] * 3] * 2
    weight = n.weight
    utils.vector_to_parameters(vector, n.parameters())
    assert n.weight is weight and n.weight.tolist() == m.weight.tolist()
    assert n.bias.tolist() == m.bias.tolist() and n.weight.is_leaf
    before = n.weight.tolist()
    with pytest.raises(ValueError, match="8 elements, but the vector only 3"):
        utils.vector_to_parameters(rg.zeros(3), n.parameters())
    assert n.weight.tolist() == before
    with pytest.raises(TypeError, match="expected Tensor"):
        utils.vector_to_parameters([1.0], n.parameters())
