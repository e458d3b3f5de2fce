"""`why`, errors that say where a history ends, growing graphs, writes from outside."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rustgrad as rg
from rustgrad.autograd import guard, why


def leaf(*values: float) -> rg.Tensor:
    return rg.tensor(values, dtype=rg.float64, requires_grad=True)


HERE = "test_explain.py:"


class TestWhy:
    @pytest.mark.parametrize(
        ("cut", "reason"),
        [
            (lambda x: (x * 2).detach(), "detach"),
            (lambda x: (x * 2).data, "detach"),
            (lambda x: (x * 2).argmax(), "argmax, which has no gradient"),
            (lambda x: x > 0, "gt, which has no gradient"),
            (lambda x: (x * 2).long(), "which has no gradient"),
            (lambda x: x.max(0).indices, "which has no gradient"),
            (lambda x: x.round().int(), "which has no gradient"),
            (lambda x: rg.autograd.grad((x * x).sum(), x)[0], "without create_graph=True"),
        ],
    )
    def test_where_a_history_ends(self, cut, reason) -> None:
        t = cut(leaf(1.0, 2.0))
        text = why(t)
        assert text.startswith("It requires no gradient: ") and reason in text and HERE in text
        # What is computed from it tells the same.
        assert reason in why(t + 1.0) and reason in why((t * 1.0).sum())

    def test_no_grad(self) -> None:
        x = leaf(1.0)
        with rg.no_grad():
            y = x * 2
        with rg.inference_mode():
            z = x.exp()
        assert "mul ran without recording at" in why(y) and "Leave no_grad" in why(y * 3)
        assert "exp ran without recording" in why(z)

    def test_gradients_of_backward(self) -> None:
        x = leaf(1.0)
        (x * x).sum().backward()
        assert "without create_graph=True" in why(x.grad) and HERE in why(x.grad)

    def test_leaves(self) -> None:
        assert "requires_grad_()" in why(rg.ones(2))
        assert "not floating point" in why(rg.arange(2))
        assert "A float is not a tensor" in why(leaf(1.0).item())
        x = leaf(1.0)
        assert "no history that is alive uses it" in why(x)
        y = x * 2
        assert "1 op in graphs that are alive use it" in why(x) and "MulBackward0" in why(x)
        y.sum().backward()
        assert "added its gradient" in why(x)

    def test_results(self) -> None:
        x = leaf(1.0)
        y = x.exp()
        assert "not a leaf" in why(y) and "ExpBackward0" in why(y) and HERE in why(y)
        y.retain_grad()
        assert "no backward has passed" in why(y)
        y.backward()
        assert "has kept its gradient" in why(y)
        y.grad = None
        assert "freed" in why(y)
        z = x * 2
        z.retain_grad()
        z.sum().backward()
        assert "has kept its gradient" in why(z)

    def test_a_recorded_write_gives_a_history_again(self) -> None:
        t = leaf(1.0).detach().clone()
        t.mul_(leaf(2.0))
        assert "not a leaf" in why(t)


class TestErrors:
    def test_backward_without_a_history(self) -> None:
        x = leaf(1.0)
        with pytest.raises(RuntimeError, match=r"grad_fn: its history ends with detach.*" + HERE):
            (x.detach() * 2).sum().backward()
        with pytest.raises(RuntimeError, match="argmax, which has no gradient at .*" + HERE):
            x.argmax().backward()
        (g,) = rg.autograd.grad((x * x).sum(), x)
        with pytest.raises(RuntimeError, match="without create_graph=True at .*" + HERE):
            rg.autograd.grad(g, x)

    def test_targets_without_a_history(self) -> None:
        x = leaf(1.0)
        d = x.detach()
        with pytest.raises(RuntimeError, match="does not require grad .*detach"):
            rg.autograd.grad(x * 2, d)

    def test_plain_data_has_another_story(self) -> None:
        with pytest.raises(RuntimeError, match=r"grad_fn: nothing .* Call requires_grad_\(\)"):
            rg.ones(1).backward()


class TestGrowth:
    def step(self):
        return (leaf(2.0) ** 2).sum()

    def test_total_of_losses(self) -> None:
        with pytest.warns(UserWarning, match="keeps the graphs of all its steps") as caught:
            total = 0.0
            for _ in range(5):
                loss = self.step()
                loss.backward()
                total += loss
        assert len(caught) == 1 and HERE in str(caught[0].message)
        assert caught[0].filename.endswith("test_explain.py")

    def test_in_place_and_before_the_backward(self) -> None:
        with pytest.warns(UserWarning, match="keeps the graphs") as caught:
            total = rg.zeros(())
            for _ in range(5):
                loss = self.step()
                total = total + loss
                loss.backward()
        assert len(caught) == 1

    def test_no_false_alarm(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            total = 0.0
            for _ in range(5):
                loss = self.step()
                loss.backward()
                total += loss.item()
                total = total + loss.detach()
            # Terms of one loss, and several backward passes over a kept graph.
            x = leaf(1.0)
            loss = 0.0
            for _ in range(5):
                loss = loss + (x * x).sum()
            loss.backward(retain_graph=True)
            (loss + 1.0).backward()
            # A recurrence.
            h = x.sum()
            for _ in range(50):
                h = h + 0.1 * h.sin()
            h.backward()


class TestWritesFromOutside:
    def test_through_an_array_that_was_handed_out(self) -> None:
        b = leaf(1.0, 2.0) * 1
        array = b.detach().numpy()
        y = (b * b).sum()
        array[0] = 7.0
        with pytest.raises(RuntimeError, match="modified from outside.*saved by mul at .*" + HERE):
            y.backward()

    def test_unchanged_arrays_are_fine(self) -> None:
        x = leaf(1.0, 2.0)
        array = x.detach().numpy()
        (x * x).sum().backward()
        assert x.grad.tolist() == [2.0, 4.0] and array.tolist() == [1.0, 2.0]

    @pytest.mark.parametrize("late", [False, True])
    def test_guard(self, late: bool) -> None:
        b = leaf(1.0, 2.0, 3.0) * 1
        with guard():
            y = (b[1:] * b[1:]).sum()
        array = b.detach().numpy()
        # The elements that are saved, or others of the same buffer.
        array[2 if late else 0] = 7.0
        if late:
            with pytest.raises(RuntimeError, match="modified from outside"):
                y.backward()
        else:
            y.backward()

    def test_guard_of_foreign_memory_and_dlpack(self) -> None:
        array = np.ones(3)
        with guard():
            x = rg.from_numpy(array).requires_grad_()
            y = (x * x).sum()
        array[1] = 2.0
        with pytest.raises(RuntimeError, match="modified from outside"):
            y.backward()
        t = rg.ones(3) * leaf(1.0)
        view = np.from_dlpack(t.detach())
        assert view.tolist() == [1.0, 1.0, 1.0]

    def test_guard_ends(self) -> None:
        with guard():
            pass
        array = np.ones(1)
        x = rg.from_numpy(array).requires_grad_()
        y = (x * x).sum()
        array[0] = 3.0
        y.backward()
        assert x.grad.item() == 6.0
