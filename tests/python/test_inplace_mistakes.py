"""Classic mistakes with writes in place, as they happen in programs.

Each must raise instead of giving a wrong gradient; the error names the tensor, what wrote, what
reads, both lines, and a way out; and what can be left unchanged is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import rustgrad as rg
from rustgrad.autograd import Function, guard

F: Any = rg.nn.functional
graph = rg.autograd.graph


def leaf(*shape: int) -> Any:
    """A leaf with some positive values."""
    n = int(np.prod(shape))
    return (rg.arange(1.0, n + 1) / n).reshape(shape).requires_grad_()


def line() -> int:
    """The line of the caller."""
    return sys._getframe(1).f_lineno


@contextmanager
def mistake(*parts: str, changes: tuple[Any, ...] = ()) -> Iterator[None]:
    """Expects an error that says all the ``parts``, and leaves tensors as they are."""
    before = [(t.detach().clone(), t._version) for t in changes]
    with pytest.raises(RuntimeError) as info:
        yield
    text = str(info.value)
    missing = [part for part in parts if part not in text]
    assert not missing, f"{missing} not in: {text}"
    for t, (values, version) in zip(changes, before, strict=True):
        assert rg.equal(t.detach(), values) and t._version == version


def at(number: int) -> str:
    """How messages name a line of this file."""
    return f"test_inplace_mistakes.py:{number}"


def overwritten(tensor: str, saver: str, saved: int, writer: str, wrote: int) -> tuple[str, ...]:
    """What the error of a saved tensor that was overwritten says."""
    return (
        "one of the variables needed for gradient computation has been modified by an inplace "
        "operation",
        tensor,
        f"{saver} at ",
        at(saved),
        f"It was overwritten by {writer}",
        at(wrote),
        "is at version",
        "Write out of place there, save a clone() before",
        "allow_mutation_on_saved_tensors()",
    )


class TestResultsThatGradientsNeed:
    @pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh", "sqrt", "rsqrt", "reciprocal"])
    def test_of_functions(self, name: str) -> None:
        x = leaf(2, 3)
        saved = line() + 1
        y = getattr(x, name)()
        wrote = line() + 1
        y += 1
        with mistake(*overwritten("[Float [2, 3]]", f"output 0 of {name}", saved, "add_", wrote)):
            y.sum().backward()
        assert x.grad is None

    def test_relu_after_sigmoid(self) -> None:
        """``nn.ReLU(inplace=True)`` behind an activation that saves its result."""
        x = leaf(4, 2)
        gate = rg.nn.Sigmoid()
        rectify = rg.nn.ReLU(inplace=True)
        saved = line() + 1
        h = gate(x)
        wrote = line() + 1
        rectify(h)
        told = overwritten("[Float [4, 2]]", "output 0 of sigmoid", saved, "relu_", wrote)
        with mistake(*told):
            h.sum().backward()

    def test_temperature_of_a_softmax(self) -> None:
        scores = leaf(2, 5)
        saved = line() + 1
        p = scores.softmax(-1)
        wrote = line() + 1
        p /= p.sum(-1, keepdim=True)
        with mistake(*overwritten("[Float [2, 5]]", "output 0 of softmax", saved, "div_", wrote)):
            p.log().sum().backward()

    def test_dropout_in_place_behind_tanh(self) -> None:
        saved = line() + 1
        h = leaf(3, 4).tanh()
        wrote = line() + 1
        F.dropout(h, 0.5, inplace=True)
        with mistake(*overwritten("[Float [3, 4]]", "output 0 of tanh", saved, "dropout_", wrote)):
            h.sum().backward()

    def test_masking_attention_in_place(self) -> None:
        scores = leaf(2, 4, 4)
        mask = rg.ones(4, 4).tril() == 0
        saved = line() + 1
        p = scores.exp()
        wrote = line() + 1
        p.masked_fill_(mask, 0.0)
        told = overwritten("[Float [2, 4, 4]]", "output 0 of exp", saved, "masked_fill_", wrote)
        with mistake(*told):
            (p / p.sum(-1, keepdim=True)).sum().backward()


class TestInputsThatGradientsNeed:
    def test_residual_added_in_place(self) -> None:
        """``h += skip`` after a layer has saved ``h``."""
        layer = rg.nn.Linear(3, 3)
        h = leaf(2, 3) * 1
        saved = line() + 1
        out = layer(h)
        wrote = line() + 1
        h += out
        with mistake(*overwritten("[Float [2, 3]]", "linear", saved, "add_", wrote)):
            (h + out).sum().backward()
        assert layer.weight.grad is None

    def test_normalising_the_input_after_use(self) -> None:
        data, w = rg.arange(6.0).reshape(2, 3), leaf(3)
        saved = line() + 1
        loss = (data * w).sum()
        wrote = line() + 1
        data.sub_(data.mean())
        with mistake(*overwritten("[Float [2, 3]]", "saved by mul", saved, "sub_", wrote)):
            loss.backward()

    def test_refilled_batch_buffer(self) -> None:
        """One buffer for all batches, filled before the backward of the last one has run."""
        buffer, w = rg.ones(2, 3), leaf(3)
        losses = []
        for step in range(2):
            wrote = line() + 1
            buffer.copy_(rg.full((2, 3), step + 1.0))
            saved = line() + 1
            losses.append((buffer * w).sum())
        told = overwritten("[Float [2, 3]]", "saved by mul", saved, "copy_", wrote)
        with mistake(*told):
            losses[0].backward()
        losses[1].backward()
        assert w.grad.tolist() == [4.0, 4.0, 4.0]

    def test_step_between_two_losses_of_one_forward(self) -> None:
        """The discriminator steps before the generator's loss has gone through it."""
        generator, discriminator = rg.nn.Linear(2, 2), rg.nn.Linear(2, 1)
        optimizer = rg.optim.SGD(discriminator.parameters(), lr=0.1)
        fake = generator(rg.ones(4, 2))
        saved = line() + 1
        score = discriminator(fake)
        score.mean().backward(retain_graph=True)
        wrote = line() + 1
        optimizer.step()
        told = overwritten("[Float [1, 2]]", "saved by linear", saved, "an optimizer's step", wrote)
        with mistake(*told):
            (-score.mean()).backward()

    def test_momentum_written_into_a_weight_by_hand(self) -> None:
        w = leaf(3)
        saved = line() + 1
        loss = (w**3).sum()
        wrote = line() + 1
        w.data.mul_(0.9)
        with mistake(*overwritten("[Float [3]]", "saved by pow", saved, "mul_", wrote)):
            loss.backward()
        assert w.grad is None

    def test_write_under_no_grad(self) -> None:
        w = leaf(3)
        saved = line() + 1
        loss = (w * w).sum()
        with rg.no_grad():
            wrote = line() + 1
            w.clamp_(0.5, 0.6)
        with mistake(*overwritten("[Float [3]]", "saved by mul", saved, "clamp_", wrote)):
            loss.backward()

    def test_data_exchanged_with_another_tensor(self) -> None:
        """The graph keeps the old elements: the gradient is that of what was computed."""
        w = leaf(3)
        old = w.detach().clone()
        loss = (w * w).sum()
        w.data = rg.zeros(3)
        loss.backward()
        assert rg.equal(w.grad, 2 * old) and w.sum() == 0

    def test_running_statistics_in_the_graph(self) -> None:
        """Buffers of a normalisation that are updated after the forward has read them."""
        mean, momentum = rg.zeros(3), 0.1
        x = leaf(4, 3)
        saved = line() + 1
        y = x * mean
        wrote = line() + 1
        mean.lerp_(x.detach().mean(0), momentum)
        with mistake(*overwritten("[Float [3]]", "saved by mul", saved, "lerp_", wrote)):
            y.sum().backward()

    def test_running_statistics_with_a_history(self) -> None:
        """An update that forgets ``detach()``: the second step would go through the first."""
        mean, x = rg.zeros(3), leaf(4, 3)
        for step in range(2):
            mean.mul_(0.9).add_(x.square().mean(0), alpha=0.1)
            loss = (x - mean).square().sum()
            if step == 0:
                freed = line() + 1
                loss.backward()
        with mistake("a second time", f"freed by the call at {__file__}:{freed}", "retain_graph"):
            loss.backward()

    def test_index_overwritten(self) -> None:
        table, rows = leaf(4, 2), rg.tensor([0, 1])
        saved = line() + 1
        y = table[rows]
        wrote = line() + 1
        rows += 1
        with mistake(*overwritten("[Long [2]]", "saved by index", saved, "add_", wrote)):
            y.sum().backward()


class TestLists:
    def test_hidden_states_in_one_tensor(self) -> None:
        """``h[t] = f(h[t - 1])``: the saved view is outdated by the next write."""
        h = rg.zeros(4, 2)
        w = leaf(2)
        h[0] = 1.0
        for t in range(1, 4):
            saved = line() + 1
            step = h[t - 1] * w
            wrote = line() + 1
            h[t] = step
        told = overwritten("[Float [2]]", "saved by mul", saved, "an assignment", wrote)
        with mistake(*told):
            h[-1].sum().backward()
        # The way out that the message names.
        h = rg.zeros(4, 2)
        h[0] = 1.0
        for t in range(1, 4):
            h[t] = h[t - 1].clone() * w
        h[-1].sum().backward()
        assert rg.allclose(w.grad, 3 * w.detach() ** 2)

    def test_hidden_state_of_a_cell_updated_in_place(self) -> None:
        cell = rg.nn.Linear(3, 3)
        h = leaf(2, 3) * 1
        for _ in range(2):
            saved = line() + 1
            update = cell(h)
            wrote = line() + 1
            h.add_(update.tanh())
        with mistake(*overwritten("[Float [2, 3]]", "linear", saved, "add_", wrote)):
            h.sum().backward()

    def test_cache_of_keys_written_between_steps(self) -> None:
        cache, q = rg.zeros(3, 2), leaf(2)
        scores = []
        for t in range(3):
            wrote = line() + 1
            cache[t] = float(t)
            saved = line() + 1
            scores.append((cache * q).sum())
        told = overwritten("[Float [3, 2]]", "saved by mul", saved, "an assignment", wrote)
        with mistake(*told):
            sum(scores[1:], scores[0]).backward()

    def test_output_of_unbind(self) -> None:
        states = leaf(3, 2) * 1
        made = line() + 1
        first, *_ = states.unbind()
        told = "Output 0 of UnbindBackward0 is a view and is being modified inplace"
        said = ("[mul_]", told, "[Float [2]]", at(made), "[Float [3, 2]]", "out-of-place")
        with mistake(*said, changes=(states, first)):
            first.mul_(2)

    def test_half_of_a_chunk(self) -> None:
        made = line() + 1
        value, gate = (leaf(2, 4) * 1).chunk(2, dim=-1)
        told = ("[mul_]", "Output 0 of SplitWithSizesBackward0 is a view", at(made), "narrow()")
        with mistake(*told, changes=(value, gate)):
            value *= gate.sigmoid()


class TestTargets:
    def test_step_by_hand_without_no_grad(self) -> None:
        w = leaf(3)
        (w * w).sum().backward()
        said = "a leaf Variable that requires grad is being used in an in-place operation"
        with mistake("[sub_]", said, "[Float [3]]", "no_grad()", "clone()", changes=(w,)):
            w -= 0.1 * w.grad
        with rg.no_grad():
            w -= 0.1 * w.grad
        assert w.is_leaf and w._version == 1

    def test_row_of_an_embedding_zeroed(self) -> None:
        table = rg.nn.Embedding(4, 2)
        said = "a leaf Variable that requires grad is being used in an in-place operation"
        with mistake("[setitem]", said, "[Float [4, 2]]", "no_grad()", changes=(table.weight,)):
            table.weight[0] = 0.0

    def test_bias_initialised_through_a_view(self) -> None:
        bias = leaf(8)
        made = line() + 1
        forget = bias[2:4]
        said = "a view of a leaf Variable that requires grad is being used in an in-place operation"
        told = ("[fill_]", said, "[Float [2]], made by SliceBackward0", at(made), "[Float [8]]")
        with mistake(*told, "no_grad()", changes=(bias,)):
            forget.fill_(1.0)

    def test_expanded_bias(self) -> None:
        rows = rg.zeros(1, 3).expand(4, 3)
        said = "more than one element of the written-to tensor refers to a single memory location"
        with mistake("[add_]", said, "clone()", "[Float [4, 3]]", "[0, 1]", changes=(rows,)):
            rows += rg.ones(4, 3)

    def test_overlapping_windows(self) -> None:
        windows = rg.arange(6.0).unfold(0, 3, 1)
        said = "more than one element of the written-to tensor refers to a single memory location"
        with mistake("[mul_]", said, "[Float [4, 3]]", "[1, 1]", changes=(windows,)):
            windows *= 2.0

    def test_total_that_should_become_larger(self) -> None:
        total = rg.zeros(3)
        said = "output with shape [3] doesn't match the broadcast shape [2, 3]"
        with mistake("[add_]", said, "use the form out of place", changes=(total,)):
            total += rg.ones(2, 3)

    def test_counter_of_integers(self) -> None:
        count = rg.zeros(3, dtype=rg.int64)
        said = "result type Float can't be cast to the desired output type Long"
        with mistake("[add_]", said, "out of place", changes=(count,)):
            count += rg.ones(3) * 0.5

    def test_view_made_under_no_grad(self) -> None:
        y = leaf(2, 3) * 1
        with rg.no_grad():
            made = line() + 1
            head = y[:, :2]
        said = "A view was created in no_grad mode and is being modified inplace with grad mode"
        told = ("[mul_]", said, "[Float [2, 2]], made by slice", at(made), "[Float [2, 3]]")
        with mistake(*told, "both outside", changes=(y, head)):
            head.mul_(2)

    def test_base_of_a_view_made_under_no_grad(self) -> None:
        y = leaf(2, 3) * 1
        with rg.no_grad():
            made = line() + 1
            head = y[:, :2]
        y.mul_(2)
        said = "A view was created in no_grad mode and its base or another view of its base"
        told = (said, "[Float [2, 2]], made by slice", at(made), "clone() it inside")
        with mistake(*told, changes=(y,)):
            head.sum().backward()

    def test_inference_tensor(self) -> None:
        layer = rg.nn.Linear(2, 2)
        with rg.inference_mode():
            features = layer(rg.ones(1, 2))
        said = "Inplace update to inference tensor outside InferenceMode is not allowed"
        with mistake("[add_]", said, "[Float [1, 2]]", "clone", changes=(features,)):
            features.add_(1)
        with mistake("Inference tensors cannot be saved for backward", "clone", "no_grad()"):
            layer(features)

    def test_detaching_a_view_in_place(self) -> None:
        h = leaf(2, 3) * 1
        last = h[-1]
        with mistake("Can't detach views in-place", "use detach() instead", changes=(h, last)):
            last.detach_()
        assert last.requires_grad

    def test_resizing(self) -> None:
        h = leaf(3) * 1
        with mistake("cannot resize variables that require grad", "[3]", changes=(h,)):
            h.resize_(6)
        x, c = leaf(3), rg.ones(3)
        y = x * c
        c.resize_(6).fill_(9)
        y.sum().backward()
        assert x.grad.tolist() == [1.0, 1.0, 1.0]


class TestFunctions:
    def test_input_that_a_function_saved(self) -> None:
        class Square(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            def backward(ctx, g):
                return 2 * g * ctx.saved_tensors[0]

        h = leaf(3) * 1
        saved = line() + 1
        y = Square.apply(h)
        wrote = line() + 1
        h.zero_()
        with mistake(*overwritten("[Float [3]]", "saved by SquareBackward", saved, "zero_", wrote)):
            y.sum().backward()

    def test_forgotten_mark(self) -> None:
        class Clip(Function):
            @staticmethod
            def forward(ctx, x, limit):
                return x.clamp_(-limit, limit)

            @staticmethod
            def backward(ctx, g):
                return g, None

        h = leaf(3) * 1
        wrote = Clip.forward.__code__.co_firstlineno + 2
        told = ("[Clip]", "without ctx.mark_dirty()", "argument 'x' of Clip.forward", "[3]")
        with mistake(*told, f"overwritten by clamp_ at {__file__}:{wrote}", "clone()"):
            Clip.apply(h, 0.5)

    def test_marked_view_made_under_no_grad(self) -> None:
        class Double(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.mark_dirty(x)
                return x.mul_(2)

            @staticmethod
            def backward(ctx, g):
                return 2 * g

        h = leaf(3) * 1
        with rg.no_grad():
            made = line() + 1
            head = h[:2]
        with mistake("[Double]", "A view was created in no_grad mode", "[Float [2]]", at(made)):
            Double.apply(head)

    def test_output_that_is_the_input(self) -> None:
        class Through(Function):
            @staticmethod
            def forward(ctx, x):
                return x

            @staticmethod
            def backward(ctx, g):
                return -g

        h = leaf(3) * 1
        made = line() + 1
        y = Through.apply(h)
        told = ("[mul_]", "created inside a custom Function", "ThroughBackward", at(made))
        with mistake(*told, "cloning the output", changes=(h,)):
            y.mul_(2)


class TestOtherMemory:
    def test_array_written_after_it_was_handed_out(self) -> None:
        h = leaf(3) * 1
        array = h.detach().numpy()
        saved = line() + 1
        y = (h * h).sum()
        array *= 2
        told = ("modified from outside", "[Float [3]]", "saved by mul", at(saved), "NumPy array")
        with mistake(*told, "Copy the array before it is written"):
            y.backward()

    def test_watched_view_without_elements(self) -> None:
        """Its first element would lie behind the buffer."""
        x = rg.zeros(0, 3, requires_grad=True)
        x.detach().numpy()
        (x[:, 1] * x[:, 2]).sum().backward()
        assert x.grad.shape == (0, 3)

    def test_array_handed_out_after_the_forward(self) -> None:
        """Only a guard can see it: without one it would cost every op a hash."""
        h = leaf(3) * 1
        with guard():
            saved = line() + 1
            y = (h * h).sum()
        h.detach().numpy()[0] = 5.0
        with mistake("modified from outside", "[Float [3]]", "saved by mul", at(saved)):
            y.backward()

    def test_array_that_a_tensor_was_made_from(self) -> None:
        array = np.ones((2, 3), dtype=np.float32)
        batch, w = rg.from_numpy(array), leaf(3)
        with guard():
            saved = line() + 1
            loss = (batch * w).sum()
        array[:] = 0
        with mistake("modified from outside", "[Float [2, 3]]", "saved by mul", at(saved)):
            loss.backward()


class TestRightAnswers:
    """What looks like a mistake and is none."""

    def test_activation_in_place_behind_a_linear_layer(self) -> None:
        layer, x = rg.nn.Linear(3, 2), leaf(4, 3)
        F.relu(layer(x), inplace=True).sum().backward()
        got = layer.weight.grad.clone()
        layer.zero_grad()
        F.relu(layer(x)).sum().backward()
        assert rg.equal(got, layer.weight.grad)

    def test_product_with_itself(self) -> None:
        x = leaf(3)
        y = x * 1
        y.mul_(y)
        y[1:].add_(y[:-1])
        y.sum().backward()
        want = 2 * x.detach() * rg.tensor([2.0, 2.0, 1.0])
        assert rg.allclose(x.grad, want)

    def test_retained_gradient_follows_the_write(self) -> None:
        h = leaf(3) * 1
        h.retain_grad()
        h.mul_(3)
        h.sum().backward()
        assert h.grad.tolist() == [1.0, 1.0, 1.0]

    def test_retained_gradient_of_the_value_before(self) -> None:
        """A hook stays with the value for which it was registered."""
        h = leaf(3) * 1
        seen: list[Any] = []
        h.register_hook(seen.append)
        h.mul_(3)
        h.sum().backward()
        assert seen[0].tolist() == [3.0, 3.0, 3.0]

    @pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh"])
    def test_remedies(self, name: str) -> None:
        x = leaf(2, 3)
        getattr(x, name)().add(1).sum().backward()
        want, x.grad = x.grad, None
        y = getattr(x, name)().clone()
        y.add_(1)
        y.sum().backward()
        assert rg.equal(x.grad, want)
        x.grad = None
        with graph.allow_mutation_on_saved_tensors():
            y = getattr(x, name)()
            y.add_(1)
            y.sum().backward()
        assert rg.equal(x.grad, want)

    @pytest.mark.parametrize("write", ["gt_", "floor_divide_", "heaviside_", "logical_and_", "eq_"])
    def test_ops_without_a_gradient_end_the_history(self, write: str) -> None:
        """Their result is constant: what the target was before must not get its gradient."""
        x = leaf(2, 3)
        y = x * 2
        getattr(y[0], write)(rg.full((3,), 0.5))
        y.sum().backward()
        assert x.grad.tolist() == [[0.0] * 3, [2.0] * 3]


def test_no_message_forgets_its_op() -> None:
    """A refused write names the op that was called, whatever it is made of."""
    w = leaf(2, 2)
    for name, args in {
        "add_": (1,),
        "zero_": (),
        "tril_": (),
        "index_add_": (0, rg.tensor([0]), rg.ones(1, 2)),
        "addmm_": (rg.ones(2, 2), rg.ones(2, 2)),
        "uniform_": (),
        "clamp_": (0.0,),
    }.items():
        with pytest.raises(RuntimeError, match=r"^\[\w+_\] a leaf Variable") as info:
            getattr(w, name)(*args)
        assert re.match(r"\[(\w+_)\]", str(info.value)), str(info.value)
