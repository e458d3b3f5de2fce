"""Writes ``docs/subgradients.md``: the gradients at kinks, ties and ends of domains.

PyTorch's column is computed by PyTorch, which must be installed. A test,
``tests/python/test_subgradients.py``, holds the page to what both packages do.

    python tools/subgradients.py
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "docs" / "subgradients.md"
INF = math.inf


@dataclass(frozen=True)
class Case:
    """One row of the page.

    Args:
        call: what the row shows, as an expression of ``m`` (the package) and ``x``, ``y``.
        points: ``x``, and ``y`` where there is one.
        differs: why PyTorch's gradient is another one, where it is.
    """

    call: str
    points: tuple[Any, ...]
    differs: str = ""

    def gradients(self, m: Any) -> list[list[float]]:
        """The gradients of the sum of the result with respect to ``x`` and ``y``.

        Raises:
            RuntimeError: the package has no gradient there.
        """
        leaves = [m.tensor(p, dtype=m.float64, requires_grad=True) for p in self.points]
        names = dict(zip("xy", leaves, strict=False))
        out = eval(self.call, {"m": m, "F": m.nn.functional, "inf": INF, **names})
        grads = m.autograd.grad(out.sum(), leaves, allow_unused=True)
        found = [m.zeros_like(x) if g is None else g for g, x in zip(grads, leaves, strict=True)]
        return [(g.detach() + 0.0).reshape(-1).tolist() for g in found]

    def cell(self, m: Any) -> str:
        """The gradients, those of ``x`` first."""
        try:
            rows = self.gradients(m)
        except RuntimeError:
            return "raises"
        # Zeros have no sign here.
        return "; ".join(", ".join(f"{v:.4g}" if v else "0" for v in row) for row in rows)


def case(call: str, *points: Any, differs: str = "") -> Case:
    """A row."""
    return Case(call, points, differs)


ZERO = [-0.0, 0.0]
TIE = [1.0, 3.0, 3.0, 2.0]
PLANE = [[0.0, 0.0], [3.0, 4.0]]
SECTIONS: dict[str, list[Case]] = {
    "Kinks of one variable": [
        case("m.abs(x)", ZERO),
        case("m.sign(x)", ZERO),
        case("m.sgn(x)", ZERO),
        case("m.relu(x)", ZERO),
        case("F.relu6(x)", [0.0, 6.0]),
        case("F.leaky_relu(x, 0.25)", ZERO),
        case("F.elu(x, 2.0)", ZERO),
        case("F.selu(x)", ZERO),
        case("F.celu(x, 2.0)", ZERO),
        case("F.hardtanh(x)", [-1.0, 1.0]),
        case("F.hardsigmoid(x)", [-3.0, 3.0]),
        case("F.hardswish(x)", [-3.0, 3.0]),
        case("F.hardshrink(x, 1.0)", [-1.0, 1.0]),
        case("F.softshrink(x, 1.0)", [-1.0, 1.0]),
        case("F.threshold(x, 1.0, 5.0)", [1.0]),
        case("F.prelu(x, y)", [0.0], [0.25]),
        case("m.clamp(x, -1.0, 1.0)", [-1.0, 1.0]),
        case("m.clamp(x, max=1.0)", [1.0]),
        case("m.where(x > 0, x, 3 * x)", [0.0]),
        case("m.frac(x)", [1.0]),
        case("m.round(x)", [0.5, 1.0]),
        case("m.floor(x)", [0.5, 1.0]),
        case("m.ceil(x)", [0.5, 1.0]),
        case("m.trunc(x)", [0.5, 1.0]),
        case("m.nan_to_num(x, 0.0, 1.0, -1.0)", [math.nan, INF, -INF, 1.0]),
    ],
    "Ends of domains": [
        case("m.sqrt(x)", [0.0]),
        case("m.rsqrt(x)", [0.0]),
        case("m.log(x)", [0.0]),
        case("m.log1p(x)", [-1.0]),
        case("m.reciprocal(x)", [0.0]),
        case("x ** 0.5", [0.0]),
        case("x ** 1.0", [0.0]),
        case("x ** 0.0", [0.0]),
        case("x ** -1.0", [0.0]),
        case("m.pow(x, y)", [0.0, 0.0, 0.0], [0.0, 1.0, 2.0]),
        case("m.asin(x)", [-1.0, 1.0]),
        case("m.acos(x)", [-1.0, 1.0]),
        case("m.atanh(x)", [-1.0, 1.0]),
        case("m.acosh(x)", [1.0]),
        case("m.erfinv(x)", [-1.0, 1.0]),
        case("m.logit(x)", [0.0, 1.0]),
        case("m.logit(x, 0.25)", [0.0, 0.25, 0.75]),
        case(
            "m.xlogy(x, y)",
            [0.0, 0.0, 1.0],
            [0.0, 1.0, 0.0],
            differs="`0 * log(y)` is 0 for every `y`",
        ),
        case("m.sinc(x)", [0.0]),
        case("m.where(x > 0, m.sqrt(x), x)", [0.0], differs="the root was not chosen"),
    ],
    "Ties of two variables": [
        case("m.maximum(x, y)", [1.0, 2.0], [1.0, 1.0]),
        case("m.minimum(x, y)", [1.0, 2.0], [1.0, 1.0]),
        case("m.fmax(x, y)", [1.0, 2.0], [1.0, math.nan]),
        case("m.fmin(x, y)", [1.0, 2.0], [1.0, math.nan]),
        case("m.clamp(x, min=y)", [1.0], [1.0]),
        case("m.fmod(x, y)", [4.0, -4.0], [2.0, 3.0]),
        case("m.remainder(x, y)", [4.0, -4.0], [2.0, 3.0]),
        case("m.floor_divide(x, y)", [4.0], [2.0], differs="a step has the slope 0"),
        case("m.div(x, y, rounding_mode='trunc')", [4.0], [2.0]),
        case("m.copysign(x, y)", [0.0, 1.0], [1.0, 0.0]),
        case("m.atan2(x, y)", [0.0], [0.0]),
        case("m.hypot(x, y)", [0.0], [0.0], differs="a subgradient, as for a norm"),
        case("m.logaddexp(x, y)", [INF, -INF], [INF, -INF], differs="the limit of equal values"),
    ],
    "Ties in a reduction": [
        case("m.max(x)", TIE),
        case("m.max(x, 0).values", TIE),
        case("m.min(x)", [2.0, 1.0, 1.0]),
        case("m.min(x, 0).values", [2.0, 1.0, 1.0]),
        case("m.amax(x, 0)", TIE),
        case("m.amin(x, 0)", [2.0, 1.0, 1.0]),
        case("m.aminmax(x).max", TIE),
        case("m.median(x)", [2.0, 2.0, 2.0, 1.0]),
        case("m.median(x, 0).values", [2.0, 2.0, 2.0, 1.0]),
        case("m.kthvalue(x, 2).values", [2.0, 1.0, 1.0]),
        case("m.mode(x, 0).values", TIE),
        case("m.sort(x).values[-1]", TIE),
        case("m.topk(x, 1).values", TIE),
        case("m.cummax(x, 0).values", [1.0, 3.0, 3.0]),
        case("m.cummin(x, 0).values", [3.0, 1.0, 1.0]),
        case("m.logsumexp(x, 0)", [-INF, -INF], differs="nothing is in the sum"),
        case("m.prod(x)", [0.0, 2.0, 3.0]),
        case("m.prod(x)", [0.0, 0.0, 3.0]),
        case("m.cumprod(x, 0)", [2.0, 0.0, 3.0]),
        case("m.cumprod(x, 0)", [0.0, 0.0, 3.0]),
        case("m.std(x)", [1.0, 1.0]),
        case("m.var(x)", [1.0, 1.0]),
        case("m.softmax(x, 0)[0]", [INF, 0.0]),
    ],
    "Norms": [
        case("m.norm(x)", [0.0, 0.0]),
        case("m.norm(x, 0)", [0.0, 2.0]),
        case("m.norm(x, 1)", [0.0, 2.0]),
        case("m.norm(x, 2, 1)", PLANE),
        case("m.norm(x, 3)", [0.0, 0.0]),
        case("m.norm(x, 0.5)", [0.0, 4.0]),
        case("m.norm(x, inf)", [0.0, 0.0]),
        case("m.norm(x, inf)", [-2.0, 2.0, 1.0]),
        case("m.norm(x, -inf)", [-2.0, 2.0, 3.0]),
        case("m.linalg.vector_norm(x)", [0.0, 0.0]),
        case("m.dist(x, y)", [1.0, 2.0], [1.0, 2.0]),
        case("F.normalize(x, dim=0)", [0.0, 0.0]),
        case("F.cosine_similarity(x, y, dim=0)", [0.0, 0.0], [1.0, 0.0]),
        case("F.pairwise_distance(x, y, eps=0.0)", [1.0, 2.0], [1.0, 2.0]),
    ],
    "Losses": [
        case("F.l1_loss(x, y, reduction='sum')", [1.0], [1.0]),
        case("F.smooth_l1_loss(x, y, reduction='sum')", [0.0, 1.0, 2.0], [0.0, 0.0, 0.0]),
        case("F.huber_loss(x, y, reduction='sum')", [0.0, 1.0, 2.0], [0.0, 0.0, 0.0]),
        case("F.hinge_embedding_loss(x, m.tensor([-1.0]), reduction='sum')", [1.0]),
        case("F.margin_ranking_loss(x, y, m.tensor([1.0]), reduction='sum')", [1.0], [1.0]),
        case("F.binary_cross_entropy(x, m.tensor([1.0, 0.0], dtype=m.float64))", [0.0, 1.0]),
        case("F.kl_div(x, m.tensor([0.0, 1.0], dtype=m.float64), reduction='sum')", [0.0, 0.0]),
    ],
}


HEAD = """# Subgradients

What the gradient is where a function has none, or several: at kinks, where values tie, and at the
ends of domains. The gradient is that of the sum of the result with respect to `x`, and after a
semicolon with respect to `y`. Where PyTorch gives the same the last column says `=`.

This page is written by `tools/subgradients.py`; a test holds it to what both packages do.

The rules behind it:

- A kink has the slope 0 where that is a subgradient (`abs`, `relu`, `hardtanh` outside of its open
  interval), and a step (`sign`, `round`, `floor`) has the slope 0 everywhere.
- `leaky_relu`, `prelu`, `elu` and `selu`, whose slopes jump from one positive number to another, have
  the slope of the left side.
- `clamp` passes the gradient on its borders, as PyTorch's does.
- Two values that tie share a gradient equally; so do all that tie in `amax`, `amin`, `max()`,
  `min()` and `median()`. Reductions that return an index give all of it to that index.
- A norm has the gradient 0 at the zero vector.
- Slopes that are infinite stay infinite, unless the gradient that arrives is 0: what was not chosen
  has no say.
"""


def page(torch: Any, rustgrad: Any) -> str:
    """The page."""
    lines = [HEAD]
    for title, cases in SECTIONS.items():
        lines.append(
            f"\n## {title}\n\n| expression | at | gradient | PyTorch |\n|---|---|---|---|\n"
        )
        for c in cases:
            ours, theirs = c.cell(rustgrad), c.cell(torch)
            at = "; ".join(f"{n} = {p}" for n, p in zip("xy", c.points, strict=False))
            other = "=" if ours == theirs else f"{theirs}: {c.differs}" if c.differs else theirs
            call = c.call.replace("m.", "").replace("|", "\\|")
            lines.append(f"| `{call}` | `{at}` | {ours} | {other} |\n")
    return "".join(lines)


def main() -> None:
    """Writes the page."""
    import rustgrad
    import torch

    PAGE.write_text(page(torch, rustgrad))


if __name__ == "__main__":
    main()
