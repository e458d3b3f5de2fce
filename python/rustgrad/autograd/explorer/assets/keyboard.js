// Keys of the whole page.
"use strict";

/** The box that an arrow key leads to. */
function neighbour(key) {
  const box = boxOf.get(standIn(chosen));
  if (!box) return chosen;
  const upwards = flips(box.item) ? key === "ArrowDown" : key === "ArrowUp";
  if (key === "ArrowUp" || key === "ArrowDown") {
    const nodes = isGroup(box.item) ? inside(box.item - N) : [box.item], own = new Set(nodes);
    const near = nodes.flatMap((id) => (upwards ? graph.nodes[id].inputs.filter(Boolean).map((e) => e[0]) : consumers[id]));
    const stands = near.filter((id) => !own.has(id) && !hidden.has(id)).map(standIn).filter((item) => item >= 0 && item !== box.item);
    return stands[0] ?? chosen;
  }
  const side = key === "ArrowLeft" ? -1 : 1;
  const ahead = [...boxOf.values()].filter((b) => !b.open && b !== box && side * (b.x + b.w / 2 - box.x - box.w / 2) > 8);
  const cost = (b) => Math.abs(b.x + b.w / 2 - box.x - box.w / 2) + 4 * Math.abs(b.y + b.h / 2 - box.y - box.h / 2);
  return ahead.reduce((a, b) => (a && cost(a) <= cost(b) ? a : b), null)?.item ?? chosen;
}

/** Chooses the box that an arrow key leads to; an output first. */
function walk(key) {
  if (N) choose(chosen < 0 ? standIn(graph.roots[0] ?? N - 1) : neighbour(key));
}

const flips = (item) => parentOf[item] >= 0 && graph.groups[parentOf[item]].flip;

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const key = event.key, onButton = event.target.matches("button");
  if (key.startsWith("Arrow") && event.target.closest("[role=radiogroup]")) return;
  if (key.startsWith("Arrow") && event.shiftKey) {
    pan({ ArrowLeft: 80, ArrowRight: -80 }[key] || 0, { ArrowUp: 80, ArrowDown: -80 }[key] || 0);
  } else if (key.startsWith("Arrow")) walk(key);
  else if ((key === "Enter" || key === " ") && !onButton && isGroup(chosen)) toggle(chosen);
  else if (key === "/") $("query").focus();
  else if (key === "+" || key === "=") zoom(1.25);
  else if (key === "-") zoom(0.8);
  else if (key === "0") fit();
  else if (key === "c") paint(modes[(modes.indexOf(mode) + 1) % modes.length]);
  else if (key === "t") theme();
  else if (key === "e") openAll(true);
  else if (key === "E") openAll(false);
  else if (key === "?") $("keys").showModal();
  else if (key === "Escape") choose(-1);
  else return;
  event.preventDefault();
});
