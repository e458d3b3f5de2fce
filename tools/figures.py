"""Draws the figures of the documentation: `python tools/figures.py` writes docs/figures/*.svg.

Lines and text are grey and saturated enough for a light and a dark page.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import rustgrad as rg

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "docs" / "figures"
GREY = "#808080"
COLOURS = ["#e64a19", "#1e88e5", "#43a047", "#ab47bc", "#f9a825"]


def derivatives() -> plt.Figure:
    """A function and its first four derivatives, each by a backward pass through the last."""
    x = rg.linspace(-2.5, 2.5, 401, dtype=rg.float64, requires_grad=True)
    curve = (-x * x).exp() * (2 * x).sin()
    figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for colour, label in zip(COLOURS, ["f", "f′", "f″", "f‴", "f⁗"], strict=True):
        values = curve.detach()
        most = values.abs().max().item()
        axis.plot(
            x.detach().numpy(), (values / most).numpy(), color=colour, label=f"{label} / {most:.3g}"
        )
        (curve,) = rg.autograd.grad(curve.sum(), x, create_graph=True)
    axis.set_xlabel("x")
    axis.set_title("f(x) = exp(−x²) sin 2x, divided by its maximum", color=GREY, fontsize=10)
    axis.legend(frameon=False, labelcolor=GREY, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def ratios() -> plt.Figure:
    """Each group of programs of docs/performance.md: time beside PyTorch's, two threads."""
    text = (ROOT / "docs" / "performance.md").read_text().partition("## All programs")[2]
    groups = {}
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        title, _, table = part.partition("\n")
        cells = [line.split("|")[4].strip() for line in table.splitlines() if line.count("|") == 9]
        values = [float(cell) for cell in cells if re.fullmatch(r"\d+\.\d+", cell)]
        if values:
            groups[f"{title} ({len(values)})"] = values
    figure, axis = plt.subplots(figsize=(7, 0.4 * len(groups) + 0.9), layout="constrained")
    for at, values in enumerate(groups.values()):
        axis.scatter(values, [at] * len(values), s=14, color=COLOURS[1], alpha=0.45, linewidths=0)
        mean = math.exp(sum(map(math.log, values)) / len(values))
        axis.plot([mean, mean], [at - 0.32, at + 0.32], color=COLOURS[0], linewidth=2.5)
    axis.axvline(1, color=GREY, linewidth=1)
    axis.set_xscale("log")
    axis.set_xticks([0.05, 0.1, 0.2, 0.5, 1, 2], ["0.05", "0.1", "0.2", "0.5", "1", "2"])
    axis.set_yticks(range(len(groups)), list(groups))
    axis.invert_yaxis()
    axis.set_xlabel("time with rustgrad : time with PyTorch (line: geometric mean)")
    return figure


def save(figure: plt.Figure, name: str) -> None:
    """Writes a figure, the same bytes each time."""
    for axis in figure.axes:
        axis.set_facecolor("none")
        axis.tick_params(colors=GREY, which="both")
        axis.xaxis.label.set_color(GREY)
        axis.yaxis.label.set_color(GREY)
        for spine in axis.spines.values():
            spine.set_color(GREY)
        for side in "top", "right":
            axis.spines[side].set_visible(False)
    figure.savefig(FIGURES / name, transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def main() -> None:
    plt.rcParams.update({"svg.hashsalt": "rustgrad", "font.size": 9})
    FIGURES.mkdir(exist_ok=True)
    save(derivatives(), "derivatives.svg")
    save(ratios(), "ratios.svg")


if __name__ == "__main__":
    main()
