"""The same programs with hooks, here and in PyTorch: the same calls, with the same gradients."""

import warnings
from importlib import import_module

import pytest
import rustgrad as rg

torch = pytest.importorskip("torch")


class Recorder:
    """What happened in a program, as plain values."""

    def __init__(self, lib):
        self.lib = lib
        self.calls = []

    def plain(self, value):
        if isinstance(value, self.lib.Tensor):
            return [round(x, 5) for x in value.detach().flatten().tolist()]
        if isinstance(value, (tuple, list)):
            return [self.plain(x) for x in value]
        if isinstance(value, dict):
            return {key: self.plain(x) for key, x in value.items()}
        return value if isinstance(value, (int, float, str, type(None))) else type(value).__name__

    def note(self, *values):
        self.calls.append(self.plain(values))

    def hook(self, label):
        return lambda module, *values: self.note(label, type(module).__name__, *values)


def linear(lib, n_in, n_out):
    layer = lib.nn.Linear(n_in, n_out)
    with lib.no_grad():
        layer.weight.copy_((lib.arange(n_in * n_out).reshape(n_out, n_in) + 1) / 10)
        layer.bias.copy_(lib.arange(n_out) / 5)
    return layer


def hooked_net(lib, log):
    """A net with hooks of every kind on every module."""
    nn = lib.nn
    net = nn.Sequential(linear(lib, 2, 3), nn.Sequential(nn.Tanh(), linear(lib, 3, 2)))
    for name, m in net.named_modules():
        m.register_full_backward_hook(log.hook(f"backward {name}"))
        m.register_full_backward_pre_hook(log.hook(f"before backward {name}"))
        m.register_forward_hook(log.hook(f"after {name}"))
        m.register_forward_pre_hook(log.hook(f"before {name}"))
        m.register_full_backward_hook(log.hook(f"first backward {name}"), prepend=True)
        m.register_full_backward_pre_hook(log.hook(f"first before {name}"), prepend=True)
        m.register_forward_hook(log.hook(f"first after {name}"), prepend=True, with_kwargs=True)
    return net


def data(lib, requires_grad=True):
    return lib.tensor([[1.0, 2.0], [3.0, -1.0]], requires_grad=requires_grad)


def order(lib, log):
    x = data(lib)
    hooked_net(lib, log)(x).sum().backward()
    log.note(x.grad)


def all_modules(lib, log):
    modules = import_module(f"{lib.__name__}.nn.modules.module")
    handles = [
        modules.register_module_full_backward_hook(log.hook("all backward")),
        modules.register_module_full_backward_pre_hook(log.hook("all before backward")),
        modules.register_module_forward_pre_hook(log.hook("all before")),
        modules.register_module_forward_hook(log.hook("all after")),
        modules.register_module_forward_hook(log.hook("all after, kwargs"), with_kwargs=True),
    ]
    try:
        net, x = hooked_net(lib, log), data(lib)
        net(x).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    net(x).sum().backward()
    log.note(x.grad)


def registration(lib, log):
    modules = import_module(f"{lib.__name__}.nn.modules.module")

    def note(module, name, value):
        # Not the value: parameters are registered before they are initialised.
        log.note(type(module).__name__, name, type(value).__name__)

    handles = [
        modules.register_module_parameter_registration_hook(note),
        modules.register_module_buffer_registration_hook(note),
        modules.register_module_module_registration_hook(note),
    ]
    try:
        net = hooked_net(lib, log)
        net.extra = lib.nn.Parameter(lib.ones(1))
        net.extra = None
        net.register_parameter("other", None)
        net.register_buffer("mean", lib.zeros(1))
        net.mean = lib.ones(1)
        net.mean = None
        net.append(lib.nn.ReLU())
    finally:
        for handle in handles:
            handle.remove()


def without_gradients_of_inputs(lib, log):
    hooked_net(lib, log)(data(lib, requires_grad=False)).sum().backward()


def recorded_nothing(lib, log):
    with lib.no_grad():
        hooked_net(lib, log)(data(lib))


def retained(lib, log):
    y = hooked_net(lib, log)(data(lib)).sum()
    y.backward(retain_graph=True)
    y.backward()


def second_derivative(lib, log):
    net, x = hooked_net(lib, log), data(lib)
    (g,) = lib.autograd.grad(net(x).square().sum(), x, create_graph=True)
    g.square().sum().backward()
    log.note(x.grad, [p.grad for p in net.parameters()])


def some_gradients(lib, log):
    net, x = hooked_net(lib, log), data(lib)
    log.note(lib.autograd.grad(net(x).sum(), list(net.parameters())))
    net(x).sum().backward(inputs=[net[1][1].weight])
    log.note(lib.autograd.grad(net(x).sum(), [net[0].weight, x]))


def replaced(lib, log):
    net, x = hooked_net(lib, log), data(lib)
    net[1].register_full_backward_hook(lambda m, i, o: (10 * i[0],))
    net[1].register_full_backward_pre_hook(lambda m, o: (o[0] + 1,))
    net[0].register_full_backward_hook(lambda m, i, o: (-i[0],), prepend=True)
    net[1][0].register_full_backward_pre_hook(lambda m, o: (o[0].clamp(-1, 1),), prepend=True)
    net[1].register_full_backward_pre_hook(log.hook("last before"))
    net[1].register_full_backward_hook(log.hook("last"))
    net(x).sum().backward()
    log.note(x.grad, [p.grad for p in net.parameters()])


def several_inputs_and_outputs(lib, log):
    class Several(lib.nn.Module):
        def forward(self, a, n, b, scale=1.0):
            return a * b * scale, n, a.detach(), n * b

    m = Several()
    m.register_full_backward_pre_hook(log.hook("before"))
    m.register_full_backward_hook(log.hook("after"))
    m.register_forward_pre_hook(log.hook("arguments"), with_kwargs=True)
    a, b = (lib.tensor(v, requires_grad=True) for v in ([1.0, 2.0], [3.0, 4.0]))
    for used in ([0], [3], [0, 3]):
        result = m(a, 2, b, scale=0.5)
        sum(result[i].sum() for i in used).backward()
        log.note(a.grad, b.grad)
    result = m(a, 2, b)
    log.note(lib.autograd.grad((result[0] + result[3]).sum(), a))
    result = m(a, 2, b)
    log.note(lib.autograd.grad((result[0] + result[3]).sum(), b))


def shared(lib, log):
    layer = linear(lib, 2, 2)
    layer.register_full_backward_hook(log.hook("shared"))
    layer.register_full_backward_pre_hook(log.hook("before"))
    x = data(lib)
    (layer(layer(x)) + layer(x)).sum().backward()
    log.note(x.grad, layer.weight.grad)


def backward_in_a_hook(lib, log):
    layer, x = linear(lib, 2, 2), data(lib)

    def inner(module, grad_input, grad_output):
        with lib.enable_grad():
            z = lib.ones(1, requires_grad=True)
            (z * z).sum().backward()
            log.note(z.grad)

    layer.register_full_backward_hook(log.hook("before the inner one"))
    layer.register_full_backward_hook(inner)
    layer.register_full_backward_hook(log.hook("after the inner one"))
    layer(x).sum().backward()
    log.note(x.grad)


def removed_between(lib, log):
    layer, x = linear(lib, 2, 2), data(lib)
    handles = [
        layer.register_full_backward_hook(log.hook("early")),
        layer.register_full_backward_pre_hook(log.hook("before")),
    ]
    y = layer(x)
    for handle in handles:
        handle.remove()
    layer.register_full_backward_hook(log.hook("late"))
    y.sum().backward()


def tensors_and_modules(lib, log):
    """Hooks of tensors beside those of modules."""
    net, x = hooked_net(lib, log), data(lib)
    for name, p in net.named_parameters():
        p.register_hook(lambda grad, name=name: log.note("grad", name, grad))
        p.register_post_accumulate_grad_hook(lambda p, name=name: log.note("accumulated", name))
    x.register_hook(lambda grad: log.note("x", grad))
    y = net(x)
    y.register_hook(lambda grad: log.note("y", grad))
    y.retain_grad()
    y.sum().backward()
    log.note(y.grad)


def errors(lib, log):
    class Boom(Exception):
        pass

    def boom(*args):
        raise Boom

    for register in (
        "register_forward_pre_hook",
        "register_forward_hook",
        "register_full_backward_pre_hook",
        "register_full_backward_hook",
    ):
        net, x = hooked_net(lib, log), data(lib)
        net.register_forward_hook(log.hook("always"), always_call=True)
        getattr(net[1][0], register)(boom)
        try:
            net(x).sum().backward()
        except Boom:
            log.note("raised")
        log.note(x.grad, [p.grad for p in net.parameters()])


PROGRAMS = [
    order,
    all_modules,
    registration,
    without_gradients_of_inputs,
    recorded_nothing,
    retained,
    second_derivative,
    some_gradients,
    replaced,
    several_inputs_and_outputs,
    shared,
    backward_in_a_hook,
    removed_between,
    tensors_and_modules,
    errors,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_as_in_pytorch(program):
    logs = [Recorder(rg), Recorder(torch)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for log in logs:
            program(log.lib, log)
    assert logs[0].calls == logs[1].calls
    assert logs[0].calls


@pytest.mark.parametrize(
    "name",
    [
        "register_forward_pre_hook",
        "register_forward_hook",
        "register_full_backward_pre_hook",
        "register_full_backward_hook",
        "register_backward_hook",
        "register_state_dict_pre_hook",
        "register_state_dict_post_hook",
        "register_load_state_dict_pre_hook",
        "register_load_state_dict_post_hook",
        "_register_state_dict_hook",
        "_register_load_state_dict_pre_hook",
    ],
)
def test_signatures(name):
    from inspect import signature

    ours, theirs = (signature(getattr(lib.nn.Module, name)) for lib in (rg, torch))
    assert [(p.name, p.kind, p.default) for p in ours.parameters.values()] == [
        (p.name, p.kind, p.default) for p in theirs.parameters.values()
    ]


@pytest.mark.parametrize("where", ["nn.modules.module", "optim.optimizer"])
def test_names_of_hooks_for_all(where):
    from inspect import signature

    ours, theirs = (import_module(f"{lib}.{where}") for lib in ("rustgrad", "torch"))
    names = [name for name in theirs.__all__ if name.startswith("register_")]
    assert names == [name for name in names if name in ours.__all__]
    for name in names:
        a, b = (list(signature(getattr(m, name)).parameters) for m in (ours, theirs))
        assert a == b
