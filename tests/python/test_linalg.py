"""`linalg`: norms and products, compared with NumPy."""

import numpy as np
import pytest
import rustgrad as rg

A = np.array([[1.0, -2.0, 0.0], [3.0, 4.0, -5.0]])


@pytest.mark.parametrize("ord", [None, "fro", 1, -1, np.inf, -np.inf])
@pytest.mark.parametrize("keepdim", [False, True])
def test_norm_of_a_matrix(ord, keepdim):
    got = rg.linalg.norm(rg.tensor(A), ord, keepdim=keepdim)
    want = np.linalg.norm(A, ord, keepdims=keepdim)
    assert tuple(got.shape) == np.shape(want)
    np.testing.assert_allclose(got.numpy(), want)


@pytest.mark.parametrize("ord", [None, 0, 1, 2, 3.5, np.inf, -np.inf])
@pytest.mark.parametrize("dim", [0, -1])
def test_norm_of_vectors(ord, dim):
    np.testing.assert_allclose(
        rg.linalg.norm(rg.tensor(A), ord, dim=dim).numpy(), np.linalg.norm(A, ord, axis=dim)
    )


def test_norm_of_matrices_in_any_two_dimensions():
    stack = np.random.default_rng(0).normal(size=(2, 3, 4))
    for dim in [(0, 2), (2, 0), (-1, 1)]:
        for ord in [1, -np.inf, "fro"]:
            np.testing.assert_allclose(
                rg.linalg.matrix_norm(rg.tensor(stack), ord, dim).numpy(),
                np.linalg.norm(stack, ord, axis=dim),
            )


def test_options():
    x = rg.tensor(A, dtype=rg.float32)
    assert rg.linalg.norm(x, dtype=rg.float64).dtype == rg.float64
    out = rg.empty(2)
    assert rg.linalg.norm(x, dim=1, out=out) is out
    np.testing.assert_allclose(out.numpy(), np.linalg.norm(A, axis=1), rtol=1e-6)
    assert rg.linalg.vector_norm(x, 1, (0, 1)).item() == 15.0


def test_gradients():
    x = rg.tensor(A + 0.5, requires_grad=True)
    for ord in ["fro", 1, np.inf]:
        assert rg.autograd.gradcheck(lambda x, ord=ord: rg.linalg.matrix_norm(x, ord), x)
    assert rg.autograd.gradcheck(lambda x: rg.linalg.vecdot(x, x + 1), x)


def test_products():
    x, y = rg.tensor(A), rg.tensor(A + 1)
    np.testing.assert_allclose(rg.linalg.vecdot(x, y, dim=0).numpy(), (A * (A + 1)).sum(0))
    np.testing.assert_allclose(rg.linalg.cross(x, y).numpy(), np.cross(A, A + 1))
    chain = [A, A.T, A]
    np.testing.assert_allclose(
        rg.linalg.multi_dot([rg.tensor(a) for a in chain]).numpy(), np.linalg.multi_dot(chain)
    )
    assert rg.linalg.diagonal(x, offset=1).tolist() == [-2.0, -5.0]


def test_refuses():
    x = rg.tensor(A)
    with pytest.raises(NotImplementedError, match="singular values"):
        rg.linalg.norm(x, 2)
    with pytest.raises(NotImplementedError, match="singular values"):
        rg.linalg.norm(x, "nuc")
    with pytest.raises(RuntimeError, match="not supported"):
        rg.linalg.matrix_norm(x, 3)
    with pytest.raises(RuntimeError, match="different"):
        rg.linalg.matrix_norm(x, dim=(0, -2))
    with pytest.raises(RuntimeError, match="1D or 2D"):
        rg.linalg.norm(rg.ones(1, 1, 1), 1)
