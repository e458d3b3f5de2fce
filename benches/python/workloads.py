"""What is timed: programs that run unchanged on either engine.

Each workload is a function that gets the engine, imported as ``torch``, and returns the callable to
time. ``per`` says how many steps of interest one call makes.
"""

import random
from collections.abc import Callable
from typing import NamedTuple


class Workload(NamedTuple):
    """A program: what group of the table it belongs to, how to prepare it, and what a call does."""

    group: str
    make: Callable[..., Callable[[], object]]
    per: int


WORKLOADS: dict[str, Workload] = {}


def workload(group: str, name: str, per: int = 1):
    """Adds the decorated function to the workloads."""

    def add(make):
        assert name not in WORKLOADS, name
        WORKLOADS[name] = Workload(group, make, per)
        return make

    return add


def expression(group: str, name: str, text: str, per: int = 1, **inputs: str) -> None:
    """Adds an expression over inputs, which are expressions themselves."""

    @workload(group, name, per)
    def make(torch):
        seen = {"torch": torch, "F": torch.nn.functional}
        torch.manual_seed(0)
        for key, value in inputs.items():
            seen[key] = eval(value, seen)
        return eval(f"lambda: {text}", seen)


def numbers(torch, *shape: int):
    """Random numbers in the open interval from 0.05 to 0.95."""
    return torch.rand(*shape) * 0.9 + 0.05


# Small tensors: what a call costs.

FOUR = "torch.tensor([1.0, 2.0, 3.0, 4.0])"
LEAF = "torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)"
for name, text in {
    "x * y": "x * y",
    "x * y, recorded": "w * y",
    "x * 2.5": "x * 2.5",
    "x += y": "x.add_(y)",
    "x.exp()": "x.exp()",
    "x.sum()": "x.sum()",
    "x.reshape(2, 2)": "x.reshape(2, 2)",
    "x[1]": "x[1]",
    "m[1, 2]": "m[1, 2]",
    "m[0:2]": "m[0:2]",
    "x[1].item()": "s.item()",
    "x.shape": "x.shape",
    "len(x)": "len(x)",
}.items():
    expression(
        "small tensors", name, text, x=FOUR, y=FOUR, w=LEAF, m="torch.ones(3, 4)", s="x.sum()"
    )
expression("small tensors", "iterate over 100", "[0 for _ in v]", v="torch.ones(100)", per=100)
expression("small tensors", "tensor(3.0)", "torch.tensor(3.0)")
expression("small tensors", "tensor([1.0, 2.0, 3.0])", "torch.tensor([1.0, 2.0, 3.0])")
expression("small tensors", "tensor of 1000 floats", "torch.tensor(v)", v="[0.5] * 1000")
expression("small tensors", "zeros(3)", "torch.zeros(3)")
expression("small tensors", "m @ m, 4 x 4", "m @ m", m="torch.ones(4, 4)")


@workload("small tensors", "chain of 100, no grad (per op)", per=100)
def chain(torch):
    x, y = torch.ones(4), torch.ones(4)

    def run():
        t = x
        for _ in range(100):
            t = t * y
        return t

    return run


@workload("small tensors", "chain of 100, forward and backward (per op)", per=100)
def recorded_chain(torch):
    x, y = torch.ones(4, requires_grad=True), torch.ones(4)

    def run():
        t = x
        for _ in range(100):
            t = t * y
        t.sum().backward()
        x.grad = None

    return run


@workload("small tensors", "scalar network, forward and backward")
def scalar_network(torch):
    """A 2-8-1 network in which every weight is a 0-d tensor."""
    rng = random.Random(0)

    def weight():
        return torch.tensor(rng.uniform(-1, 1), requires_grad=True)

    hidden = [([weight(), weight()], weight()) for _ in range(8)]
    last = [weight() for _ in range(8)]

    def run():
        total = 0.0
        for ([a, b], c), v in zip(hidden, last, strict=True):
            total = total + (a * 0.5 + b * -1.5 + c).tanh() * v
        ((total - 1.0) ** 2).backward()

    return run


@workload("small tensors", "RNN cell in a loop, 50 steps")
def recurrent(torch):
    torch.manual_seed(0)
    w, u = torch.randn(32, 32, requires_grad=True), torch.randn(32, 16, requires_grad=True)
    b = torch.zeros(32, requires_grad=True)
    inputs = torch.randn(50, 8, 16)

    def run():
        h = torch.zeros(8, 32)
        for x in inputs:
            h = (h @ w.t() + x @ u.t() + b).tanh()
        h.sum().backward()

    return run


@workload("small tensors", "custom functions, chain of 20 (per op)", per=20)
def custom_functions(torch):
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x * x

    x = torch.full((4,), 0.9, requires_grad=True)

    def run():
        t = x
        for _ in range(20):
            t = Cube.apply(t)
        t.sum().backward()

    return run


# Derivatives of higher order.


def mlp(torch, *sizes: int, activation: str = "Tanh"):
    """Linear layers with activations between them."""
    layers = []
    for a, b in zip(sizes, sizes[1:], strict=False):
        layers += [torch.nn.Linear(a, b), getattr(torch.nn, activation)()]
    return torch.nn.Sequential(*layers[:-1])


@workload("derivatives", "Hessian-vector product, MLP 32-64-64-1")
def hessian_vector(torch):
    torch.manual_seed(0)
    model = mlp(torch, 32, 64, 64, 1)
    parameters = list(model.parameters())
    vector = [torch.ones_like(p) for p in parameters]
    x = torch.randn(64, 32)

    def run():
        loss = (model(x) ** 2).mean()
        first = torch.autograd.grad(loss, parameters, create_graph=True)
        dot = sum((g * v).sum() for g, v in zip(first, vector, strict=True))
        return torch.autograd.grad(dot, parameters)

    return run


@workload("derivatives", "PINN, heat equation, MLP 2-32-32-1, 256 points")
def pinn(torch):
    torch.manual_seed(0)
    model = mlp(torch, 2, 32, 32, 1)
    x = torch.rand(256, 1, requires_grad=True)
    t = torch.rand(256, 1, requires_grad=True)

    def run():
        u = model(torch.cat([x, t], 1))
        one = torch.ones_like(u)
        u_x, u_t = torch.autograd.grad(u, (x, t), one, create_graph=True)
        (u_xx,) = torch.autograd.grad(u_x, x, one, create_graph=True)
        ((u_t - 0.1 * u_xx) ** 2).mean().backward()

    return run


@workload("derivatives", "fourth derivative of sin(x) exp(-x)")
def fourth(torch):
    x = torch.linspace(-1, 1, 100, requires_grad=True)

    def run():
        y = x.sin() * (-x).exp()
        for _ in range(4):
            (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return y

    return run


# Training steps.


def training(torch, model, optimizer, loss):
    """One step."""

    def run():
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()

    return run


@workload("training", "MLP 64-32-10, batch 32, Adam")
def small_mlp(torch):
    torch.manual_seed(0)
    model = mlp(torch, 64, 32, 10)
    x, y = torch.randn(32, 64), torch.randint(0, 10, (32,))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return training(torch, model, optimizer, lambda m: torch.nn.functional.cross_entropy(m(x), y))


@workload("training", "MLP 784-512-512-10, batch 64, SGD")
def medium_mlp(torch):
    torch.manual_seed(0)
    model = mlp(torch, 784, 512, 512, 10, activation="ReLU")
    x, y = torch.randn(64, 784), torch.randint(0, 10, (64,))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    return training(torch, model, optimizer, lambda m: torch.nn.functional.cross_entropy(m(x), y))


@workload("training", "MLP 1024-2048-2048-1024, batch 32, AdamW")
def large_mlp(torch):
    torch.manual_seed(0)
    model = mlp(torch, 1024, 2048, 2048, 1024, activation="GELU")
    x, y = torch.randn(32, 1024), torch.randn(32, 1024)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return training(torch, model, optimizer, lambda m: torch.nn.functional.mse_loss(m(x), y))


@workload("training", "30 blocks Linear-GELU-Linear, width 512, batch 16")
def blocks(torch):
    torch.manual_seed(0)
    nn = torch.nn
    layers = nn.ModuleList(
        nn.Sequential(nn.Linear(512, 2048), nn.GELU(), nn.Linear(2048, 512)) for _ in range(30)
    )
    x = torch.randn(16, 512)
    optimizer = torch.optim.SGD(layers.parameters(), lr=1e-3)

    def loss(layers):
        h = x
        for layer in layers:
            h = h + layer(h)
        return (h**2).mean()

    return training(torch, layers, optimizer, loss)


def gpt(torch, layers: int, width: int, heads: int, length: int, batch: int, vocabulary: int):
    """A step of a decoder-only transformer whose attention is written out."""
    nn, F = torch.nn, torch.nn.functional
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x, mask):
            split = (batch, length, heads, width // heads)
            q, k, v = (
                t.reshape(*split).transpose(1, 2) for t in self.qkv(self.norm1(x)).chunk(3, -1)
            )
            scores = q @ k.transpose(-2, -1) / (width // heads) ** 0.5
            weights = F.softmax(scores.masked_fill(mask, float("-inf")), -1)
            mixed = (weights @ v).transpose(1, 2).reshape(batch, length, width)
            x = x + self.out(mixed)
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, width)
            self.places = nn.Embedding(length, width)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary, bias=False)

        def forward(self, tokens):
            x = self.tokens(tokens) + self.places(torch.arange(length))
            mask = torch.ones(length, length).triu(1).bool()
            for block in self.blocks:
                x = block(x, mask)
            return self.head(self.norm(x))

    model = GPT()
    tokens = torch.randint(0, vocabulary, (batch, length))
    targets = torch.randint(0, vocabulary, (batch * length,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return training(
        torch,
        model,
        optimizer,
        lambda m: F.cross_entropy(m(tokens).reshape(batch * length, vocabulary), targets),
    )


@workload("training", "GPT, 2 layers of 64, 8 x 32 tokens, AdamW")
def small_gpt(torch):
    return gpt(torch, layers=2, width=64, heads=4, length=32, batch=8, vocabulary=100)


@workload("training", "GPT, 4 layers of 256, 8 x 128 tokens, AdamW")
def medium_gpt(torch):
    return gpt(torch, layers=4, width=256, heads=8, length=128, batch=8, vocabulary=5000)


# One element at a time.

for n in (10**4, 10**6, 10**7):

    @workload("pointwise", f"chain of 6, forward and backward, 10^{len(str(n)) - 1}")
    def pointwise_chain(torch, n=n):
        torch.manual_seed(0)
        x, y = numbers(torch, n).requires_grad_(), numbers(torch, n)

        def run():
            ((x * y + x).tanh() * y).sigmoid().sum().backward()
            x.grad = None

        return run


for n in (10**5, 10**7):
    expression(
        "pointwise",
        f"x + y, 10^{len(str(n)) - 1}",
        "x + y",
        x=f"torch.rand({n})",
        y=f"torch.rand({n})",
    )
expression(
    "pointwise", "(1000, 1) + (1000,)", "x + y", x="torch.rand(1000, 1)", y="torch.rand(1000)"
)
expression(
    "pointwise", "(1000, 1000) + (1000,)", "x + y", x="torch.rand(1000, 1000)", y="torch.rand(1000)"
)
expression(
    "pointwise",
    "(1000, 1000) * (1000, 1)",
    "x * y",
    x="torch.rand(1000, 1000)",
    y="torch.rand(1000, 1)",
)
MILLION = "torch.rand(10**6) * 0.9 + 0.05"
for name in (
    "abs neg exp exp2 expm1 log log2 log10 log1p sqrt rsqrt sin cos tan asin acos atan sinh cosh "
    "tanh asinh atanh erf erfc erfinv lgamma digamma sigmoid relu floor ceil round trunc "
    "reciprocal square sign"
).split():
    expression("unary, 10^6", name, f"x.{name}()", x=MILLION)
expression("unary, 10^6", "acosh", "x.acosh()", x="torch.rand(10**6) + 1.1")
for name in "gelu silu softplus mish elu leaky_relu logsigmoid".split():
    expression("unary, 10^6", name, f"F.{name}(x)", x="torch.randn(10**6)")
expression("unary, 10^6", "x ** 3", "x ** 3", x=MILLION)
expression("unary, 10^6", "x ** y", "x ** y", x=MILLION, y=MILLION)
expression("unary, 10^6", "x < y", "x < y", x=MILLION, y="torch.rand(10**6)")
expression("unary, 10^6", "to(float64)", "x.double()", x=MILLION)
expression("unary, 10^6", "to(int64)", "x.long()", x=MILLION)
expression("unary, 10^6", "to(bfloat16)", "x.bfloat16()", x=MILLION)
expression("unary, 10^6", "exp, float64", "x.exp()", x="torch.rand(10**6).double()")

# Over dimensions.

SQUARE = "torch.rand(1000, 1000)"
CUBE = "torch.rand(100, 100, 100)"
for dim in range(2):
    expression("reductions", f"sum over dim {dim} of 1000^2", f"x.sum({dim})", x=SQUARE)
for dim in range(3):
    expression("reductions", f"sum over dim {dim} of 100^3", f"x.sum({dim})", x=CUBE)
expression("reductions", "sum of 10^7", "x.sum()", x="torch.rand(10**7)")
for name in "max argmax mean var amax logsumexp norm".split():
    text = "x.norm(dim=1)" if name == "norm" else f"x.{name}(1)"
    expression("reductions", f"{name} over dim 1 of 1000^2", text, x=SQUARE)
expression("reductions", "any of 10^6", "x.any()", x="torch.zeros(10**6).bool()")
for dim in range(2):
    expression("reductions", f"cumsum over dim {dim} of 1000^2", f"x.cumsum({dim})", x=SQUARE)
    expression("reductions", f"cummax over dim {dim} of 1000^2", f"x.cummax({dim})", x=SQUARE)
expression("reductions", "cummax of 10^6", "x.cummax(0)", x="torch.rand(10**6)")
expression("reductions", "cumsum int64 of 10^6", "x.cumsum(0)", x="torch.randint(0, 9, (10**6,))")
expression("reductions", "cumprod int64 of 10^6", "x.cumprod(0)", x="torch.randint(0, 9, (10**6,))")

# Elements moved and chosen.

expression("movement", "transposed copy, 2000^2", "x.t().contiguous()", x="torch.rand(2000, 2000)")
expression("movement", "permuted add, 100^3", "x.permute(2, 0, 1) + y", x=CUBE, y=CUBE)
expression("movement", "cat of 10 x (100, 1000)", "torch.cat(x)", x="[torch.rand(100, 1000)] * 10")
expression(
    "movement", "stack of 10 x 10^5, dim 1", "torch.stack(x, 1)", x="[torch.rand(10**5)] * 10"
)
INDEX = "torch.randint(0, 1000, (1000, 1000))"
expression("movement", "gather, 1000^2", "x.gather(1, i)", x=SQUARE, i=INDEX)
expression(
    "movement", "index_select rows, 1000^2", "x.index_select(0, i)", x=SQUARE,
    i="torch.randint(0, 1000, (1000,))",
)  # fmt: skip
expression("movement", "where, 10^6", "torch.where(m, x, y)", x=MILLION, y=MILLION, m="x > 0.5")
expression("movement", "boolean mask, 10^6", "x[m]", x=MILLION, m="torch.rand(10**6) > 0.5")
expression("movement", "sparse boolean mask, 10^6", "x[m]", x=MILLION, m="torch.rand(10**6) < 0.1")
expression("movement", "masked_fill, 10^6", "x.masked_fill(m, 0.0)", x=MILLION, m="x > 0.5")
expression("movement", "flip, 1000^2", "x.flip(1)", x=SQUARE)


@workload("movement", "embedding of 4096 in 10000 x 256, forward and backward")
def embedding(torch):
    torch.manual_seed(0)
    table = torch.randn(10000, 256, requires_grad=True)
    indices = torch.randint(0, 10000, (4096,))

    def run():
        torch.nn.functional.embedding(indices, table).sum().backward()
        table.grad = None

    return run


# Rows.


def forward_and_backward(name: str, shape: tuple[int, ...], text: str, **inputs: str) -> None:
    """Adds an expression of ``x``, and its sum's gradient."""

    @workload("rows", f"{name}, forward and backward")
    def make(torch):
        torch.manual_seed(0)
        seen = {"torch": torch, "F": torch.nn.functional}
        seen["x"] = x = torch.randn(*shape, requires_grad=True)
        for key, value in inputs.items():
            seen[key] = eval(value, seen)
        f = eval(f"lambda: {text}", seen)
        g = torch.randn_like(f())

        def run():
            f().backward(g)
            x.grad = None

        return run


for name in ("softmax", "log_softmax"):
    expression("rows", f"{name} (4096, 1000)", f"F.{name}(x, 1)", x="torch.randn(4096, 1000)")
    forward_and_backward(f"{name} (4096, 1000)", (4096, 1000), f"F.{name}(x, 1)")
AFFINE = {"w": "torch.ones(768, requires_grad=True)", "b": "torch.zeros(768, requires_grad=True)"}
expression(
    "rows", "layer norm (2048, 768)", "F.layer_norm(x, (768,), w, b)", x="torch.randn(2048, 768)",
    **{k: v.replace(", requires_grad=True", "") for k, v in AFFINE.items()},
)  # fmt: skip
forward_and_backward(
    "layer norm (2048, 768)", (2048, 768), "F.layer_norm(x, (768,), w, b)", **AFFINE
)
forward_and_backward(
    "cross entropy (2048, 5000)", (2048, 5000), "F.cross_entropy(x, y)",
    y="torch.randint(0, 5000, (2048,))",
)  # fmt: skip
expression("rows", "sort 10^6", "x.sort()", x="torch.rand(10**6)")
expression("rows", "sort int64 10^6", "x.sort()", x="torch.randint(0, 10**9, (10**6,))")
expression("rows", "sort 1000^2, dim 1", "x.sort(1)", x=SQUARE)
expression("rows", "topk 10 of 1000^2", "x.topk(10, 1)", x=SQUARE)
expression("rows", "topk 10 of 10^6", "x.topk(10)", x="torch.rand(10**6)")
expression("rows", "unique 10^6", "x.unique()", x="torch.rand(10**6)")
expression(
    "rows", "unique int64 10^6, inverse and counts",
    "x.unique(return_inverse=True, return_counts=True)", x="torch.randint(0, 10**9, (10**6,))",
)  # fmt: skip
expression("rows", "randn 10^6", "torch.randn(10**6)")
expression("rows", "rand 10^6", "torch.rand(10**6)")
expression("rows", "randperm 10^5", "torch.randperm(10**5)")
expression("rows", "dropout 10^6", "F.dropout(x)", x=MILLION)

# Products.

FORMS = {"a @ b": "a @ b", "a.t() @ b": "a.t() @ b", "a @ b.t()": "a @ b.t()"}
FORMS["a.t() @ b.t()"] = "a.t() @ b.t()"
for n in (16, 32, 64, 128, 256, 512, 1024, 2048):
    for form, text in FORMS.items():
        square = f"torch.rand({n}, {n})"
        expression("products", f"{form}, {n}", text, a=square, b=square)
for n in (64, 256, 1024):
    square = f"torch.rand({n}, {n}).double()"
    expression("products", f"a @ b, float64, {n}", "a @ b", a=square, b=square)
for batch, n in ((64, 64), (512, 16)):
    square = f"torch.rand({batch}, {n}, {n})"
    expression("products", f"{batch} of {n}", "a @ b", a=square, b=square)
    expression("products", f"{batch} of {n}, second transposed", "a @ b.mT", a=square, b=square)
expression("products", "matrix-vector 1000", "a @ x", a=SQUARE, x="torch.rand(1000)")
expression(
    "products", "matrix-vector 1000, transposed", "a.t() @ x", a=SQUARE, x="torch.rand(1000)"
)
TALL, SMALL = "torch.rand(10000, 64)", "torch.rand(64, 64)"
expression("products", "(10000, 64) @ (64, 64)", "a @ b", a=TALL, b=SMALL)
expression("products", "(64, 10000) @ (10000, 64)", "a.t() @ a", a=TALL)
expression(
    "products", "linear, batch 32, 1024 to 1024", "F.linear(x, w, b)", x="torch.rand(32, 1024)",
    w="torch.rand(1024, 1024)", b="torch.rand(1024)",
)  # fmt: skip
for n in (256, 512):
    square = f"torch.rand({n}, {n}).bfloat16()"
    expression("products", f"a @ b, bfloat16, {n}", "a @ b", a=square, b=square)

# Optimisers.

OPTIMIZERS = {
    "SGD, momentum": lambda torch, p: torch.optim.SGD(p, lr=1e-3, momentum=0.9),
    "Adam": lambda torch, p: torch.optim.Adam(p, lr=1e-3),
    "AdamW": lambda torch, p: torch.optim.AdamW(p, lr=1e-3),
    "AdamW, fused": lambda torch, p: torch.optim.AdamW(p, lr=1e-3, fused=True),
}
PARAMETERS = {"200 of 32 x 32": (200, 32), "10 of 1000 x 1000": (10, 1000)}


def parameters(torch, count: int, size: int):
    """Parameters with gradients."""
    torch.manual_seed(0)
    made = [torch.nn.Parameter(torch.randn(size, size)) for _ in range(count)]
    for p in made:
        p.grad = torch.randn(size, size)
    return made


for which, (count, size) in PARAMETERS.items():
    for title, optimizer in OPTIMIZERS.items():

        @workload("optimisers", f"{title}, {which}")
        def step(torch, count=count, size=size, optimizer=optimizer):
            return optimizer(torch, parameters(torch, count, size)).step

    @workload("optimisers", f"clip_grad_norm_, {which}")
    def clip(torch, count=count, size=size):
        some = parameters(torch, count, size)
        return lambda: torch.nn.utils.clip_grad_norm_(some, 1.0)

    @workload("optimisers", f"zero_grad, {which}")
    def zero(torch, count=count, size=size):
        optimizer = torch.optim.SGD(parameters(torch, count, size), lr=1e-3)
        return lambda: optimizer.zero_grad(set_to_none=False)
