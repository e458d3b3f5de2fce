"""Random numbers: what the distributions are, and whose numbers they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rustgrad as rg
from scipy import stats

N = 50_000
# How unlikely a right generator's numbers may be; seeds are fixed, so the tests are not flaky.
LEAST = 1e-3


def numbers(t: Any) -> np.ndarray:
    """The elements in float64."""
    return np.asarray(t.detach().double().reshape(-1).numpy())


CONTINUOUS: dict[str, tuple[Callable[[], Any], Any]] = {
    "rand": (lambda: rg.rand(N), stats.uniform()),
    "rand f64": (lambda: rg.rand(N, dtype=rg.float64), stats.uniform()),
    "rand f16": (lambda: rg.rand(N, dtype=rg.float16) + rg.rand(N) / 2048, stats.uniform()),
    "randn": (lambda: rg.randn(N), stats.norm()),
    "randn f64": (lambda: rg.randn(N, dtype=rg.float64), stats.norm()),
    "rand_like": (lambda: rg.rand_like(rg.empty(N)), stats.uniform()),
    "normal": (lambda: rg.normal(2.0, 3.0, (N,)), stats.norm(2, 3)),
    "normal of means": (lambda: rg.normal(rg.full((N,), 2.0), 3.0), stats.norm(2, 3)),
    "normal of deviations": (lambda: rg.normal(2.0, rg.full((N,), 3.0)), stats.norm(2, 3)),
    "uniform_": (lambda: rg.empty(N).uniform_(-1, 3), stats.uniform(-1, 4)),
    "normal_": (lambda: rg.empty(N).normal_(1, 0.5), stats.norm(1, 0.5)),
    "exponential_": (lambda: rg.empty(N).exponential_(2.0), stats.expon(scale=0.5)),
    "cauchy_": (lambda: rg.empty(N).cauchy_(1.0, 2.0), stats.cauchy(1, 2)),
    "log_normal_": (lambda: rg.empty(N).log_normal_(0.5, 0.8), stats.lognorm(0.8, scale=np.e**0.5)),
    "a transposed tensor": (lambda: rg.empty(100, N // 100).t().normal_(), stats.norm()),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name: str) -> None:
    draw, law = CONTINUOUS[name]
    rg.manual_seed(1)
    assert stats.kstest(numbers(draw()), law.cdf).pvalue > LEAST


def expect(found: np.ndarray, chances: dict[float, float]) -> None:
    """Asserts by a chi-square test that values come as often as they should, and no others."""
    counts = Counter(found.tolist())
    assert set(counts) <= {v for v, p in chances.items() if p > 0}
    values = [v for v, p in chances.items() if p > 0]
    got = [counts.get(v, 0) for v in values]
    want = [chances[v] * len(found) for v in values]
    assert stats.chisquare(got, want).pvalue > LEAST


class TestDiscrete:
    def test_randint(self) -> None:
        rg.manual_seed(2)
        expect(numbers(rg.randint(-2, 3, (N,))), {v: 0.2 for v in range(-2, 3)})

    def test_bernoulli(self) -> None:
        rg.manual_seed(3)
        expect(numbers(rg.bernoulli(rg.full((N,), 0.3))), {0: 0.7, 1: 0.3})
        expect(numbers(rg.empty(N).bernoulli_(0.9)), {0: 0.1, 1: 0.9})

    def test_geometric(self) -> None:
        rg.manual_seed(4)
        found = np.minimum(numbers(rg.empty(N).geometric_(0.4)), 8)
        chances = {k: 0.4 * 0.6 ** (k - 1) for k in range(1, 8)}
        expect(found, {**chances, 8: 0.6**7})

    def test_random(self) -> None:
        rg.manual_seed(5)
        expect(numbers(rg.empty(N, dtype=rg.int64).random_(4, 8)), {v: 0.25 for v in range(4, 8)})

    def test_permutations_are_equally_likely(self) -> None:
        rg.manual_seed(6)
        found = [tuple(rg.randperm(4).tolist()) for _ in range(12_000)]
        counts = Counter(found)
        assert len(counts) == 24
        assert stats.chisquare(list(counts.values())).pvalue > LEAST

    def test_multinomial_with_replacement(self) -> None:
        rg.manual_seed(7)
        found = rg.multinomial(rg.tensor([1.0, 0.0, 3.0, 4.0]), N, replacement=True)
        expect(numbers(found), {0: 1 / 8, 1: 0.0, 2: 3 / 8, 3: 4 / 8})

    def test_multinomial_without_replacement(self) -> None:
        rg.manual_seed(8)
        found = rg.multinomial(rg.tensor([1.0, 2.0, 3.0]).expand(N, 3), 2)
        assert (found[:, 0] != found[:, 1]).all()
        # The second one by the weights that are left.
        chances = {
            10 * i + j: w / 6 * v / (6 - w)
            for i, w in enumerate((1, 2, 3))
            for j, v in enumerate((1, 2, 3))
            if i != j
        }
        expect(numbers(10 * found[:, 0] + found[:, 1]), chances)


class TestDropout:
    def test_rate_scale_and_gradient(self) -> None:
        rg.manual_seed(9)
        x = rg.ones(N, requires_grad=True)
        y = rg.nn.functional.dropout(x, 0.25)
        expect(numbers(y * 3), {0: 0.25, 4: 0.75})
        y.sum().backward()
        assert rg.equal(x.grad, y.detach())

    def test_nothing_in_evaluation(self) -> None:
        x = rg.randn(10)
        assert rg.equal(rg.nn.functional.dropout(x, 0.5, training=False), x)
        layer = rg.nn.Dropout(0.5).eval()
        assert rg.equal(layer(x), x)


class TestGenerators:
    def test_a_seed_gives_the_same_numbers(self) -> None:
        rg.manual_seed(10)
        a = rg.randn(5), rg.rand(3), rg.randperm(7)
        rg.manual_seed(10)
        b = rg.randn(5), rg.rand(3), rg.randperm(7)
        assert all(map(rg.equal, a, b))
        rg.manual_seed(11)
        assert not rg.equal(rg.randn(5), a[0])
        assert rg.initial_seed() == 11

    def test_generators_are_independent(self) -> None:
        mine = rg.Generator().manual_seed(12)
        want = rg.randn(6, generator=mine)
        mine.manual_seed(12)
        rg.manual_seed(13)
        rg.randn(100)
        assert rg.equal(rg.randn(6, generator=mine), want)

    def test_drawing_goes_on(self) -> None:
        rg.manual_seed(14)
        a, b = rg.rand(4), rg.rand(4)
        assert not rg.equal(a, b)

    def test_state(self) -> None:
        rg.manual_seed(15)
        rg.randn(3)
        state = rg.get_rng_state()
        a = rg.randn(8)
        rg.set_rng_state(state)
        assert rg.equal(rg.randn(8), a)
        mine = rg.Generator().manual_seed(16)
        state = mine.get_state()
        a = rg.rand(2, generator=mine)
        mine.set_state(state)
        assert rg.equal(rg.rand(2, generator=mine), a)

    def test_the_shape_does_not_matter(self) -> None:
        rg.manual_seed(17)
        a = rg.randn(12)
        rg.manual_seed(17)
        assert rg.equal(rg.randn(3, 4).reshape(12), a)
        rg.manual_seed(17)
        assert rg.equal(rg.empty(4, 3).t().normal_().reshape(12), a)


class TestFillsInPlace:
    def test_leaf_that_requires_grad(self) -> None:
        x = rg.ones(3, requires_grad=True)
        for fill in ("uniform_", "normal_", "exponential_", "bernoulli_", "random_"):
            with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
                getattr(x, fill)()
        assert x.tolist() == [1.0, 1.0, 1.0] and x._version == 0
        with rg.no_grad():
            x.normal_()
        assert x._version == 1

    def test_history_ends(self) -> None:
        x = rg.ones(3, requires_grad=True)
        y = x * 2
        y.uniform_()
        (y * x).sum().backward()
        assert rg.equal(x.grad, y.detach())
