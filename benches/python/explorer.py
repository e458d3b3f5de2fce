"""Time to explore large graphs: the goal is less than a second to lay out and write 10,000 nodes.

    python benches/python/explorer.py [--nodes 10000] [--rounds 5]

Three graphs: a loop (`loop`), whose repeated blocks are laid out once; forty values that two loops
of ops mix (`woven`); and one without repetition (`tangled`). The table shows the best of several
rounds, in seconds of the processor, since other processes do not belong to it. `svg` opens all
boxes, which `html` leaves to the browser.
"""

import argparse
import random
import time
from collections.abc import Callable

import rustgrad as rg
from rustgrad.autograd.explorer import Graph, explore


def total(values: list[rg.Tensor]) -> rg.Tensor:
    """One number that all values lead to."""
    result = values[0]
    for value in values[1:]:
        result = result + value
    return result.sum()


def loop(nodes: int) -> rg.Tensor:
    """``h x + 1`` again and again."""
    x = rg.ones(4, requires_grad=True)
    h = x
    for _ in range(nodes // 2):
        h = h * x + 1.0
    return h.sum()


def woven(nodes: int) -> rg.Tensor:
    """Forty values; each step multiplies one by another."""
    draw, x = random.Random(0), rg.ones(4, requires_grad=True)
    values = [x * float(i) for i in range(40)]
    for _ in range(nodes // 2):
        a, b = draw.randrange(40), draw.randrange(40)
        values[a] = (values[a] * values[b]).sin()
    return total(values)


def tangled(nodes: int) -> rg.Tensor:
    """Twenty-four values; any op on any two near ones."""
    draw, x = random.Random(1), rg.ones(4, requires_grad=True)
    values = [x * float(i) for i in range(24)]
    ops = [rg.add, rg.mul, rg.sub, lambda a, _: a.sin(), lambda a, _: a.exp()]
    for _ in range(nodes):
        a = draw.randrange(24)
        b = (a + draw.choice([-1, 1, 0, 2])) % 24
        values[a] = draw.choice(ops)(values[a], values[b])
    return total(values)


def best(run: Callable[[], object], rounds: int) -> float:
    """Least seconds of the processor."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{'graph':10}{'nodes':>8}{'edges':>8}", end="")
    print("".join(f"{name:>10}" for name in ("explore", "html", "svg", "text", "dot", "json")))
    for make in (loop, woven, tangled):
        loss = make(options.nodes)
        graph: Graph = explore(loss)
        runs: list[Callable[[], object]] = [
            lambda loss=loss: explore(loss),
            graph.html,
            lambda graph=graph: graph.svg(expand=True),
            graph.text,
            graph.dot,
            graph.json,
        ]
        print(f"{make.__name__:10}{len(graph):8}{len(graph.edges):8}", end="")
        print("".join(f"{best(run, options.rounds):10.3f}" for run in runs))


if __name__ == "__main__":
    main()
