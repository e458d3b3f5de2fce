"""Looks at the graph of a small transformer: as a tree, a picture and a page; and at a backward.

Writes `out/graph.svg` and `out/graph.html`; the page opens in any browser and needs no network.
"""

from pathlib import Path

import rustgrad as rg
from rustgrad import nn
from rustgrad.autograd.explorer import backward_steps, diff, explore
from rustgrad.nn import functional as F

OUT = Path(__file__).parents[1] / "out"


class Attention(nn.Module):
    """Causal self-attention with several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: rg.Tensor) -> rg.Tensor:
        batch, time, width = x.shape
        size = width // self.heads
        q, k, v = (
            part.view(batch, time, self.heads, size).transpose(1, 2)
            for part in self.qkv(x).split(width, dim=-1)
        )
        scores = q @ k.transpose(-2, -1) * size**-0.5
        future = rg.triu(rg.ones(time, time), diagonal=1).to(rg.bool)
        weights = F.softmax(scores.masked_fill(future, -rg.inf), dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(batch, time, width))


class Block(nn.Module):
    """Attention and a perceptron, each beside a residual connection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: rg.Tensor) -> rg.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Predicts the next token of a sequence."""

    def __init__(self, tokens: int = 50, width: int = 32, heads: int = 4, blocks: int = 6) -> None:
        super().__init__()
        self.tokens = nn.Embedding(tokens, width)
        self.positions = nn.Embedding(16, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(blocks)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, tokens, bias=False)

    def forward(self, text: rg.Tensor) -> rg.Tensor:
        x = self.tokens(text) + self.positions(rg.arange(text.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def main() -> None:
    rg.manual_seed(0)
    text = rg.randint(0, 50, (2, 16))

    def loss(model: Transformer) -> rg.Tensor:
        return F.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())

    # The function is called with the model traced, so that ops are grouped by module; `gradients`
    # also runs a backward that measures times and norms.
    model = Transformer()
    graph = explore(lambda: loss(model), module=model, gradients=True)
    graph.svg(OUT / "graph.svg")
    graph.html(OUT / "graph.html")
    lines = graph.text().splitlines()
    print("\n".join(lines[:24]))
    print(f"... {len(lines) - 24} more lines; see {OUT / 'graph.html'}\n")

    # What does one more block add?
    deeper = Transformer(blocks=7)
    print(repr(diff(graph, explore(lambda: loss(deeper), module=deeper))), "\n")

    # A backward, step by step, with its values.
    x = rg.tensor([1.0, 2.0], requires_grad=True)
    for step in backward_steps((x * x.sin()).sum(), names={"x": x}):
        sent = ", ".join("-" if g is None else str(g.tolist()) for g in step.grad_inputs)
        print(f"{step.label or step.name:14} {step.grad_outputs[0].tolist()} -> {sent}")
    assert rg.allclose(x.grad, x.sin() + x * x.cos())


if __name__ == "__main__":
    main()
