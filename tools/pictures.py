"""Takes the pictures of the graph explorer: `python tools/pictures.py` writes docs/images/*.png.

Needs Chromium and Playwright, as the tests of the page do, and looks best with the font Inter.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import rustgrad as rg
from playwright.sync_api import Browser, sync_playwright
from rustgrad import nn
from rustgrad.autograd.explorer import Graph, explore
from rustgrad.nn import functional as F

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
sys.path.insert(0, str(ROOT / "examples"))
from explore_graph import Transformer  # noqa: E402


def transformer() -> tuple[Graph, str]:
    """A small transformer, coloured by gradients, with the details of a layer."""
    model, text = Transformer(), rg.randint(0, 50, (2, 16))

    def loss() -> rg.Tensor:
        return F.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())

    graph = explore(loss, module=model, gradients=True)
    (layer,) = (
        node.id for node in graph.find("LinearBackward blocks.0.attention.qkv") if not node.is_leaf
    )
    return graph, f"paint('gradient'); goTo({layer}); fit(true); zoom(0.72, room()[0] / 2, 28)"


def derivatives() -> tuple[Graph, str]:
    """A network, its backward and its double backward, with the wires of a node."""
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    graph = explore(lambda: model(rg.ones(4, 3)).square().mean(), module=model, backward=2)
    tanh = next(node.id for node in graph.nodes if node.phase == 1 and "Tanh" in node.name)
    return graph, f"choose({tanh}); $('details').hidden = true; fit()"


def take(browser: Browser, name: str, graph: Graph, actions: str, theme: str) -> None:
    """Opens the page of a graph and takes a picture of it."""
    page = browser.new_page(
        viewport={"width": 1280, "height": 800}, device_scale_factor=1.5, color_scheme=theme
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.html"
        graph.html(path)
        page.goto(path.as_uri())
        page.evaluate(actions)
        page.evaluate("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")
        page.screenshot(path=IMAGES / f"{name}.png")
    page.close()


def main() -> None:
    rg.manual_seed(0)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        take(browser, "explorer", *transformer(), "light")
        take(browser, "explorer_backward", *derivatives(), "dark")
        browser.close()


if __name__ == "__main__":
    main()
