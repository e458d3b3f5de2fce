"""What users read when something is wrong: the text of each error, with the program that raises it.

The texts are in ``snapshots/errors.md``, to be read as a whole. After a change of a message::

    python tests/python/test_error_snapshots.py --update
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rustgrad as rg
from rustgrad.autograd import Function, forward_ad
from rustgrad.utils.checkpoint import checkpoint

F: Any = rg.nn.functional
graph = rg.autograd.graph
SNAPSHOTS = Path(__file__).parent / "snapshots" / "errors.md"
# Sections, and in each the programs by their titles.
CASES: dict[str, dict[str, Callable[[], Any]]] = {}


def section(title: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Files a program under a section; its name is its title."""

    def register(program: Callable[[], Any]) -> Callable[[], Any]:
        cases = CASES.setdefault(title, {})
        name = program.__name__.strip("_").replace("_", " ")
        assert name not in cases, f"{title}: {name} is there twice"
        cases[name] = program
        return program

    return register


def leaf(*shape: int) -> Any:
    """A leaf of ones."""
    return rg.ones(*shape, requires_grad=True)


# Backward.


@section("Backward")
def second_backward() -> None:
    x = leaf(3)
    loss = (x * x).sum()
    loss.backward()
    loss.backward()


@section("Backward")
def second_backward_of_a_shared_part() -> None:
    x = leaf(3)
    h = x.exp()
    h.sum().backward()
    rg.autograd.grad((2 * h).sum(), x)


@section("Backward")
def many_elements() -> None:
    leaf(2, 3).exp().backward()


@section("Backward")
def cotangent_of_another_shape() -> None:
    leaf(2, 3).exp().backward(rg.ones(3, 2))


@section("Backward")
def cotangent_that_is_a_number() -> None:
    leaf(2, 3).exp().backward(1.0)


@section("Backward")
def numbers_of_tensors_and_cotangents() -> None:
    x = leaf(2)
    rg.autograd.backward([x.sum(), x.prod()], [rg.ones(())])


@section("Backward")
def unused_input() -> None:
    x, y = leaf(2), leaf(3)
    rg.autograd.grad((x * 2).sum(), [x, y])


@section("Backward")
def no_inputs() -> None:
    rg.autograd.grad(leaf(2).sum(), [])


@section("Backward")
def not_a_tensor() -> None:
    rg.autograd.grad(leaf(2).sum(), "x")


@section("Backward")
def gradient_of_another_shape() -> None:
    leaf(2).grad = rg.ones(3)


@section("Backward")
def gradient_of_another_type() -> None:
    leaf(2).grad = rg.ones(2, dtype=rg.float64)


@section("Backward")
def gradient_that_is_no_tensor() -> None:
    leaf(2).grad = 1.0


# No history.


@section("No history")
def plain_data() -> None:
    rg.ones(2).sum().backward()


@section("No history")
def after_detach() -> None:
    x = leaf(2)
    y = x.detach() * 2
    y.sum().backward()


@section("No history")
def after_no_grad() -> None:
    x = leaf(2)
    with rg.no_grad():
        y = x * 2
    y.sum().backward()


@section("No history")
def of_argmax() -> None:
    scores = leaf(4)
    scores.argmax().backward()


@section("No history")
def after_a_comparison() -> None:
    x = leaf(4)
    accuracy = (x > 0).float().mean()
    accuracy.backward()


@section("No history")
def after_a_cast_to_integers() -> None:
    x = leaf(4)
    x.long().sum().backward()


@section("No history")
def a_gradient_without_create_graph() -> None:
    x = leaf(4)
    (g,) = rg.autograd.grad((x**3).sum(), x)
    rg.autograd.grad(g.sum(), x)


@section("No history")
def target_that_was_detached() -> None:
    x = leaf(4)
    y = x.detach()
    rg.autograd.grad((x * 2).sum(), y)


@section("No history")
def edge_of_a_constant() -> None:
    graph.get_gradient_edge(rg.ones(2))


# Leaves and flags.


@section("Leaves and flags")
def write_to_a_leaf() -> None:
    w = leaf(2, 3)
    w += 1


@section("Leaves and flags")
def item_of_a_leaf() -> None:
    w = leaf(2, 3)
    w[0] = 0.0


@section("Leaves and flags")
def view_of_a_leaf() -> None:
    w = leaf(2, 3)
    row = w[1]
    row.mul_(2)


@section("Leaves and flags")
def transposing_a_leaf_in_place() -> None:
    leaf(2, 3).t_()


@section("Leaves and flags")
def flag_of_a_result() -> None:
    (leaf(2) * 2).requires_grad_(False)


@section("Leaves and flags")
def flag_of_integers() -> None:
    rg.arange(3).requires_grad_()


@section("Leaves and flags")
def retain_grad_of_a_constant() -> None:
    rg.ones(2).retain_grad()


@section("Leaves and flags")
def numpy_of_a_tensor_with_a_gradient() -> None:
    leaf(2).numpy()


@section("Leaves and flags")
def copying_a_result() -> None:
    import copy

    copy.deepcopy(leaf(2) * 2)


@section("Leaves and flags")
def out_with_a_gradient() -> None:
    rg.add(leaf(2), 1, out=rg.empty(2))


# Writes in place.


@section("Writes in place")
def result_that_its_own_gradient_needs() -> None:
    x = leaf(2, 3)
    y = x.exp()
    y.mul_(2)
    y.sum().backward()


@section("Writes in place")
def input_that_a_product_needs() -> None:
    x, scale = leaf(3), rg.ones(3)
    y = x * scale
    scale[0] = 2.0
    y.sum().backward()


@section("Writes in place")
def step_between_forward_and_backward() -> None:
    w = leaf(3)
    optimizer = rg.optim.SGD([w], lr=0.1)
    first, second = (w * w).sum(), (w * w * w).sum()
    first.backward()
    optimizer.step()
    second.backward()


@section("Writes in place")
def shape() -> None:
    rg.ones(3).add_(rg.ones(2, 3))


@section("Writes in place")
def type_() -> None:
    rg.arange(3).mul_(0.5)


@section("Writes in place")
def expanded() -> None:
    rg.zeros(1, 3).expand(4, 3).add_(1)


@section("Writes in place")
def one_of_several_views() -> None:
    y = leaf(2, 3) * 1
    first, second = y.unbind()
    first.zero_()


@section("Writes in place")
def view_made_under_no_grad() -> None:
    y = leaf(2, 3) * 1
    with rg.no_grad():
        row = y[0]
    row.mul_(2)


@section("Writes in place")
def base_of_a_view_made_under_no_grad() -> None:
    y = leaf(2, 3) * 1
    with rg.no_grad():
        row = y[0]
    y.mul_(2)
    row.sum().backward()


@section("Writes in place")
def inference_tensor() -> None:
    with rg.inference_mode():
        x = rg.ones(3)
    x.add_(1)


@section("Writes in place")
def inference_tensor_in_a_graph() -> None:
    with rg.inference_mode():
        x = rg.ones(3) * 2
    leaf(3) * x


@section("Writes in place")
def detaching_a_view() -> None:
    (leaf(2, 3) * 1)[0].detach_()


@section("Writes in place")
def resizing_with_a_gradient() -> None:
    (leaf(2) * 1).resize_(4)


@section("Writes in place")
def array_over_saved_memory() -> None:
    x = leaf(3)
    h = x * 2
    array = h.detach().numpy()
    y = (h * h).sum()
    array[0] = 7.0
    y.backward()


# Custom functions.


def scale(backward: Callable[..., Any]) -> Any:
    """A function of a tensor and a factor, with this backward."""

    class Scale(Function):
        @staticmethod
        def forward(ctx, x, factor):
            ctx.save_for_backward(x)
            return x * factor

    Scale.backward = staticmethod(backward)
    return Scale


@section("Custom functions")
def too_few_gradients() -> None:
    f = scale(lambda ctx, g: g)
    f.apply(leaf(2), 3.0).sum().backward()


@section("Custom functions")
def too_many_gradients() -> None:
    f = scale(lambda ctx, g: (g, None, g))
    f.apply(leaf(2), 3.0).sum().backward()


@section("Custom functions")
def gradient_of_the_wrong_shape() -> None:
    f = scale(lambda ctx, g: (g[0], None))
    f.apply(leaf(2, 3), 3.0).sum().backward()


@section("Custom functions")
def gradient_that_is_a_number() -> None:
    f = scale(lambda ctx, g: (3.0, None))
    f.apply(leaf(2), 3.0).sum().backward()


@section("Custom functions")
def gradient_of_what_is_no_tensor() -> None:
    f = scale(lambda ctx, g: (g, g.sum()))
    f.apply(leaf(2), 3.0).sum().backward()


@section("Custom functions")
def gradient_on_another_device() -> None:
    f = scale(lambda ctx, g: (g.to("meta"), None))
    f.apply(leaf(2), 3.0).sum().backward()


@section("Custom functions")
def gradient_of_many() -> None:
    class Sum(Function):
        @staticmethod
        def forward(ctx, *terms):
            return terms[0] + terms[1]

        @staticmethod
        def backward(ctx, g):
            return g, g[0]

    Sum.apply(leaf(2, 3), leaf(2, 3)).sum().backward()


@section("Custom functions")
def without_a_backward() -> None:
    class Identity(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

    Identity.apply(leaf(2)).sum().backward()


@section("Custom functions")
def without_a_forward() -> None:
    class Nothing(Function):
        pass

    Nothing.apply(leaf(2))


@section("Custom functions")
def calling_an_instance() -> None:
    scale(lambda ctx, g: (g, None))()(leaf(2), 3.0)


@section("Custom functions")
def saving_what_is_no_tensor() -> None:
    class Scale(Function):
        @staticmethod
        def forward(ctx, x, factor):
            ctx.save_for_backward(x, factor)
            return x * factor

    Scale.apply(leaf(2), 3.0)


@section("Custom functions")
def saved_tensors_that_were_freed() -> None:
    f = scale(lambda ctx, g: (g * 3, None))
    y = f.apply(leaf(2), 3.0)
    context = y.grad_fn
    y.sum().backward()
    context.saved_tensors  # noqa: B018


@section("Custom functions")
def second_backward_of_one() -> None:
    f = scale(lambda ctx, g: (g * ctx.saved_tensors[0], None))
    y = f.apply(leaf(2), 3.0).sum()
    y.backward()
    y.backward()


@section("Custom functions")
def saved_tensor_that_was_written() -> None:
    f = scale(lambda ctx, g: (g * ctx.saved_tensors[0], None))
    h = leaf(2) * 1
    y = f.apply(h, 3.0)
    h.add_(1)
    y.sum().backward()


@section("Custom functions")
def marked_but_not_returned() -> None:
    class Add(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.add_(1) * 2

    Add.apply(leaf(2) * 1)


@section("Custom functions")
def written_but_not_marked() -> None:
    class Add(Function):
        @staticmethod
        def forward(ctx, x):
            return x.add_(1)

    Add.apply(leaf(2) * 1)


@section("Custom functions")
def marked_leaf() -> None:
    class Add(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.add_(1)

    Add.apply(leaf(2))


@section("Custom functions")
def returned_input_that_is_written() -> None:
    class Identity(Function):
        @staticmethod
        def forward(ctx, x):
            return x

    Identity.apply(leaf(2) * 1).mul_(2)


@section("Custom functions")
def once_differentiable_twice() -> None:
    @rg.autograd.function.once_differentiable
    def backward(ctx, g):
        return g * ctx.saved_tensors[0], None

    x = leaf(2)
    y = scale(backward).apply(x, 3.0).sum()
    (g,) = rg.autograd.grad(y, x, create_graph=True)
    g.sum().backward()


@section("Custom functions")
def intermediate_of_forward_in_a_second_derivative() -> None:
    class Cube(Function):
        @staticmethod
        def forward(ctx, x):
            square = x * x
            ctx.save_for_backward(square)
            return square * x

        @staticmethod
        def backward(ctx, g):
            return 3 * g * ctx.saved_tensors[0]

    x = leaf(2)
    (g,) = rg.autograd.grad(Cube.apply(x).sum(), x, create_graph=True)
    g.sum().backward()


# Hooks.


@section("Hooks")
def hook_that_returns_a_number() -> None:
    h = leaf(2) * 2

    def double(grad):
        return 2.0

    h.register_hook(double)
    h.sum().backward()


@section("Hooks")
def hook_that_returns_another_shape() -> None:
    h = leaf(2, 3) * 2
    h.register_hook(lambda grad: grad[0])
    h.sum().backward()


@section("Hooks")
def hook_of_a_constant() -> None:
    rg.ones(2).register_hook(print)


@section("Hooks")
def hook_that_cannot_be_called() -> None:
    (leaf(2) * 2).register_hook(3)


@section("Hooks")
def hook_of_a_node_that_returns_too_few() -> None:
    y = leaf(2) * leaf(2)
    y.grad_fn.register_hook(lambda inputs, outputs: inputs[:1])
    y.sum().backward()


@section("Hooks")
def post_accumulate_hook_of_a_result() -> None:
    (leaf(2) * 2).register_post_accumulate_grad_hook(print)


@section("Hooks")
def hook_in_no_mode() -> None:
    graph.register_multi_grad_hook([leaf(2)], print, mode="some")


# Saved tensors.


@section("Saved tensor hooks")
def unpack_that_returns_an_array() -> None:
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t.numpy()):
        y = leaf(2).exp()
    y.sum().backward()


@section("Saved tensor hooks")
def pack_that_writes() -> None:
    with graph.saved_tensors_hooks(lambda t: t.zero_(), lambda t: t):
        leaf(2).exp()


@section("Saved tensor hooks")
def disabled() -> None:
    with graph.disable_saved_tensors_hooks("offloading is off here"), graph.save_on_cpu():
        pass


@section("Saved tensor hooks")
def mutation_and_a_backward_outside() -> None:
    with graph.allow_mutation_on_saved_tensors():
        y = leaf(2).exp().sum()
    y.backward()


# Checkpoints.


@section("Checkpoints")
def another_op() -> None:
    calls = []

    def f(x):
        calls.append(x)
        return x.sin().exp() if len(calls) == 1 else x.cos().exp()

    checkpoint(f, leaf(2)).sum().backward()


@section("Checkpoints")
def another_shape() -> None:
    sizes = [3, 2]
    checkpoint(lambda x: x[: sizes.pop(0)].exp().sum(), leaf(4)).backward()


@section("Checkpoints")
def fewer_ops() -> None:
    depth = [2, 1]

    def f(x):
        for _ in range(depth.pop(0)):
            x = x.exp()
        return x

    checkpoint(f, leaf(2)).sum().backward()


@section("Checkpoints")
def an_argument_that_was_written() -> None:
    x = leaf(2) * 1
    y = checkpoint(lambda t: t.exp().sum(), x)
    x.add_(1)
    y.backward()


# Anomalies.


@section("Anomalies")
def nan_in_backward() -> None:
    x = rg.tensor([-1.0, 4.0], requires_grad=True)
    with rg.autograd.detect_anomaly():
        y = x.sqrt().sum()
        y.backward()


@section("Anomalies")
def nan_in_a_custom_function() -> None:
    f = scale(lambda ctx, g: (g / 0 * 0, None))
    with rg.autograd.detect_anomaly():
        f.apply(leaf(2), 3.0).sum().backward()


@section("Anomalies")
def growing_graph() -> None:
    total = 0.0
    for _ in range(3):
        loss = (leaf(2) ** 2).sum()
        loss.backward()
        total += loss


# Forward mode.


@section("Forward mode")
def no_level() -> None:
    forward_ad.make_dual(rg.ones(2), rg.ones(2))


@section("Forward mode")
def tangent_of_another_shape() -> None:
    with forward_ad.dual_level():
        forward_ad.make_dual(rg.ones(2), rg.ones(3))


@section("Forward mode")
def tangent_of_another_type() -> None:
    with forward_ad.dual_level():
        forward_ad.make_dual(rg.ones(2), rg.ones(2, dtype=rg.float64))


@section("Forward mode")
def dual_of_integers() -> None:
    with forward_ad.dual_level():
        forward_ad.make_dual(rg.arange(2), rg.arange(2))


@section("Forward mode")
def level_that_is_not_open() -> None:
    forward_ad.exit_dual_level()


@section("Forward mode")
def jvp_without_a_tuple() -> None:
    rg.func.jvp(rg.sin, rg.ones(2), rg.ones(2))


# Shapes.


@section("Shapes")
def add() -> None:
    rg.ones(2, 3) + rg.ones(2, 4)


@section("Shapes")
def where() -> None:
    rg.where(rg.ones(3) > 0, rg.ones(2), rg.ones(3))


@section("Shapes")
def matmul() -> None:
    rg.ones(4, 2, 3) @ rg.ones(4, 2, 3)


@section("Shapes")
def mm() -> None:
    rg.mm(rg.ones(2, 3), rg.ones(2, 3))


@section("Shapes")
def bmm() -> None:
    rg.bmm(rg.ones(2, 3, 4), rg.ones(3, 4, 5))


@section("Shapes")
def dot() -> None:
    rg.dot(rg.ones(2), rg.ones(3))


@section("Shapes")
def linear() -> None:
    rg.nn.Linear(3, 4)(rg.ones(2, 5))


@section("Shapes")
def einsum() -> None:
    rg.einsum("ij,jk->ik", rg.ones(2, 3), rg.ones(4, 5))


@section("Shapes")
def sum_() -> None:
    rg.ones(2, 3).sum(dim=2)


@section("Shapes")
def view() -> None:
    rg.ones(2, 3).view(4, -1)


@section("Shapes")
def view_of_strides() -> None:
    rg.ones(2, 3).t().view(6)


@section("Shapes")
def expand() -> None:
    rg.ones(2, 3).expand(4, 3)


@section("Shapes")
def permute() -> None:
    rg.ones(2, 3).permute(0, 0)


@section("Shapes")
def cat() -> None:
    rg.cat([rg.ones(2, 3), rg.ones(3, 2)])


@section("Shapes")
def stack() -> None:
    rg.stack([rg.ones(2, 3), rg.ones(3, 2)])


@section("Shapes")
def index() -> None:
    rg.ones(2, 3)[0, 5]


@section("Shapes")
def index_of_tensors() -> None:
    rg.ones(2, 3)[rg.tensor([0, 1]), rg.tensor([0, 1, 2])]


@section("Shapes")
def mask() -> None:
    rg.ones(2, 3)[rg.ones(3, 2) > 0]


@section("Shapes")
def gather() -> None:
    rg.ones(2, 3).gather(1, rg.tensor([[0], [3]]))


@section("Shapes")
def cross_entropy() -> None:
    F.cross_entropy(rg.ones(2, 3), rg.tensor([0, 1, 2]))


@section("Shapes")
def mse_loss() -> None:
    F.mse_loss(rg.ones(2), rg.ones(3))


@section("Shapes")
def layer_norm() -> None:
    F.layer_norm(rg.ones(2, 3), (4,))


@section("Shapes")
def embedding() -> None:
    F.embedding(rg.tensor([0, 7]), rg.ones(5, 2))


@section("Shapes")
def set_item() -> None:
    x = rg.ones(2, 3)
    x[0] = rg.ones(2)


# Other arguments.


@section("Arguments")
def unknown_argument() -> None:
    rg.add(rg.ones(2), 1, beta=3)


@section("Arguments")
def missing_argument() -> None:
    rg.add(rg.ones(2))


@section("Arguments")
def type_of_an_argument() -> None:
    rg.zeros(2, dtype="float")


@section("Arguments")
def devices() -> None:
    rg.ones(2, device="meta") + rg.ones(2)


@section("Arguments")
def device_that_is_not_there() -> None:
    rg.ones(2, device="cuda")


@section("Arguments")
def mean_of_integers() -> None:
    rg.arange(3).mean()


@section("Arguments")
def class_that_is_none() -> None:
    F.cross_entropy(rg.ones(2, 3), rg.tensor([0, 5]))


@section("Arguments")
def none_as_an_element() -> None:
    rg.ones(2)[0] = None


@section("Arguments")
def parameters_that_are_none() -> None:
    rg.optim.SGD([1, 2], lr=0.1)


@section("Arguments")
def learning_rate() -> None:
    rg.optim.SGD([leaf(1)], lr=-1)


@section("Arguments")
def state_of_another_module() -> None:
    state = {"weight": rg.ones(3, 3), "foo": rg.ones(1)}
    rg.nn.Linear(2, 2).load_state_dict(state)


# The file.

HERE = Path(__file__).name


def told(program: Callable[[], Any]) -> str:
    """What a program raises or warns of, without what differs from place to place."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            program()
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
        else:
            assert caught, f"{program.__name__}: the program neither raises nor warns"
            text = f"{caught[0].category.__name__}: {caught[0].message}"
    first = program.__code__.co_firstlineno

    # A line is counted from the first one that is shown.
    def line(match: re.Match[str]) -> str:
        return f"program.py:{int(match[1]) - first - 1}"

    text = re.sub(rf"[^\s'\"(]*{re.escape(HERE)}:(\d+)", line, text)
    text = re.sub(r"0x[0-9a-f]+", "0x...", text)
    return re.sub(r"[^\s'\"(]*/(rustgrad/[\w/]+\.py):\d+", r"\1:LINE", text)


def shown(program: Callable[[], Any]) -> str:
    """The body of a program."""
    lines = inspect.getsource(program).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("def ")) + 1
    body = textwrap.dedent("\n".join(lines[start:]))
    return re.sub(r"  # noqa.*", "", body)


def document() -> dict[tuple[str, str], str]:
    """What the file says of each program."""
    return {
        (title, name): f"### {name}\n\n```python\n{shown(f)}\n```\n\n```text\n{told(f)}\n```\n"
        for title, cases in CASES.items()
        for name, f in cases.items()
    }


HEAD = """# What errors say

Written by `python tests/python/test_error_snapshots.py --update`, and held by the test of that
name. `leaf(2, 3)` is a tensor of ones that requires grad; `scale(backward)` is a custom function
`Scale` with `forward(ctx, x, factor)` that saves `x`. Lines are counted from the program's first.
"""


def write() -> None:
    """Writes the file anew."""
    parts = [HEAD]
    entries = document()
    for title in CASES:
        parts.append(f"\n## {title}\n")
        parts += [f"\n{text}" for (of, _), text in entries.items() if of == title]
    SNAPSHOTS.write_text("".join(parts))


@pytest.fixture(scope="module")
def snapshots() -> dict[tuple[str, str], str]:
    """The file, by section and title."""
    found = {}
    for part in re.split(r"\n(?=## )", SNAPSHOTS.read_text())[1:]:
        title, *entries = re.split(r"\n(?=### )", part)
        for entry in entries:
            name = entry.splitlines()[0].removeprefix("### ")
            found[title.strip().removeprefix("## "), name] = entry.strip()
    return found


@pytest.mark.parametrize(
    ("title", "name"), [(title, name) for title, cases in CASES.items() for name in cases]
)
def test_message(snapshots: dict, title: str, name: str) -> None:
    program = CASES[title][name]
    got = f"### {name}\n\n```python\n{shown(program)}\n```\n\n```text\n{told(program)}\n```"
    assert got == snapshots.get((title, name), "(not in the file: run this file with --update)")


def test_nothing_else_is_in_the_file(snapshots: dict) -> None:
    assert set(snapshots) == {(title, name) for title, cases in CASES.items() for name in cases}


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(f"usage: {HERE} --update")
    write()
