// Buttons, and the start.
"use strict";

/** Changes what colours show. */
function paint(name) {
  mode = name;
  for (const button of $("colors").children) {
    const on = button.dataset.mode === name;
    button.setAttribute("aria-checked", String(on));
    button.tabIndex = on ? 0 : -1;
  }
  legend();
  drawn = null;
  drawMap();
  draw();
}

$("colors").innerHTML = modes.map((name) => `<button role="radio" data-mode="${name}">${MODES[name].title}</button>`).join("");
$("colors").hidden = modes.length < 2;
$("colors").addEventListener("click", (event) => {
  if (event.target.dataset.mode) paint(event.target.dataset.mode);
});
$("colors").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  paint(modes[(modes.indexOf(mode) + step + modes.length) % modes.length]);
  $("colors").querySelector("[aria-checked=true]").focus();
});
$("expand").addEventListener("click", () => openAll(true));
$("collapse").addEventListener("click", () => openAll(false));
$("expand").parentElement.hidden = graph.groups.every((group) => group.kind === "graph" || group.kind === "phase");
$("help").addEventListener("click", () => $("keys").showModal());
$("keys").addEventListener("click", (event) => { if (event.target.matches("button")) $("keys").close(); });
$("zoom").addEventListener("click", (event) => {
  const what = event.target.dataset.zoom;
  if (what === "fit") fit();
  else if (what) zoom(what === "in" ? 1.25 : 0.8);
});

function theme(name) {
  const root = document.documentElement;
  root.dataset.theme = name || (root.dataset.theme === "dark" ? "light" : "dark");
  if (picture) {
    drawMap();
    draw();
  }
}
$("theme").addEventListener("click", () => theme());
window.addEventListener("resize", redraw);

theme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
const leaves = graph.nodes.filter((node) => node.leaf).length;
$("summary").textContent = [
  count(N - leaves, "op"), count(leaves, "leaf", "leaves"), `${graph.saved} saved for backward`,
].join(" · ");
arrangeView();
paint(mode);
fit(true);
