"""`func.jvp`, and options of gradients: values, structures, nesting, and what is refused."""

import pytest
import rustgrad as rg
from rustgrad.func import jvp


def test_value_and_derivative():
    x = rg.tensor([1.0, 2.0])
    value, slope = jvp(lambda x: (x**3).sum(), (x,), (rg.tensor([1.0, 10.0]),))
    assert value.item() == 9.0
    assert slope.item() == 123.0


def test_several_arguments_and_structures():
    x, y = rg.tensor(2.0), rg.tensor(3.0)

    def function(pair, scale):
        return {"product": pair[0] * pair[1] * scale, "rest": [pair[0], rg.ones(1)]}

    primals = ((x, y), rg.tensor(1.0))
    tangents = ((rg.tensor(1.0), rg.tensor(0.0)), rg.tensor(1.0))
    value, slope = jvp(function, primals, tangents)
    assert value["product"].item() == 6.0
    assert slope["product"].item() == 9.0
    assert slope["rest"][0].item() == 1.0
    # An output that does not depend on the arguments.
    assert slope["rest"][1].tolist() == [0.0]


def test_aux_is_handed_through():
    x = rg.tensor(2.0)
    value, slope, aux = jvp(lambda x: (x * x, {"x": x}), (x,), (rg.tensor(1.0),), has_aux=True)
    assert (value.item(), slope.item(), aux["x"].item()) == (4.0, 4.0, 2.0)


def test_nested_gives_the_second_derivative():
    one = rg.tensor(1.0)
    inner = lambda x: jvp(rg.sin, (x,), (one,))[1]  # noqa: E731
    x = rg.tensor(0.5)
    assert jvp(inner, (x,), (one,))[1].item() == pytest.approx(-rg.sin(x).item())


def test_reverse_over_forward():
    x = rg.tensor([1.0, 2.0], requires_grad=True)
    slope = jvp(lambda x: (x**3).sum(), (x,), (rg.ones(2),))[1]
    (grad,) = rg.autograd.grad(slope, x)
    assert grad.tolist() == [6.0, 12.0]


def test_no_level_is_left_open_after_an_error():
    def fails(x):
        raise KeyError("x")

    with pytest.raises(KeyError):
        jvp(fails, (rg.ones(1),), (rg.ones(1),))
    assert not rg.autograd.forward_ad._levels.open


X, V = rg.ones(2), rg.ones(2)


@pytest.mark.parametrize(
    "function, primals, tangents, options, text",
    [
        (rg.sin, [X], [V], {}, "to be a tuple"),
        (rg.sin, (), (), {}, "non-empty"),
        (rg.sin, (1.0,), (V,), {}, "only tensors, but got float"),
        (rg.sin, (X,), (1.0,), {}, "tangents to contain only tensors"),
        (rg.sin, (X,), (V, V), {}, "same python structure"),
        (rg.sin, (X,), (rg.ones(3),), {}, "shape"),
        (lambda x: 3, (X,), (V,), {}, "return only tensors, but got int"),
        (lambda x: x, (X,), (V,), {"has_aux": True}, "output, aux"),
        (lambda x: rg.ones(1), (X,), (V,), {"strict": True}, "independent"),
    ],
)
def test_refuses(function, primals, tangents, options, text):
    with pytest.raises(RuntimeError, match=text):
        jvp(function, primals, tangents, **options)


def test_gradcheck_of_batched_gradients_is_accepted():
    x = rg.ones(2, dtype=rg.float64, requires_grad=True)
    assert rg.autograd.gradcheck(rg.sin, x, check_batched_grad=True)
    with pytest.raises(NotImplementedError, match="check_batched_forward_grad"):
        rg.autograd.gradcheck(rg.sin, x, check_batched_forward_grad=True)


def test_batched_gradients_of_unused_inputs():
    x, y = rg.ones(2, requires_grad=True), rg.ones(3, requires_grad=True)
    options = {"grad_outputs": rg.eye(2), "is_grads_batched": True}
    gx, gy = rg.autograd.grad(x * 2, (x, y), materialize_grads=True, **options)
    assert gx.tolist() == [[2.0, 0.0], [0.0, 2.0]] and gy.tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(RuntimeError, match="allow_unused"):
        rg.autograd.grad(x * 2, y, **options)
    with pytest.raises(RuntimeError, match="grad_outputs"):
        rg.autograd.grad(x * 2, x, is_grads_batched=True)
    with pytest.raises(RuntimeError, match="cannot be empty"):
        rg.autograd.grad(x.sum(), [])
