// Drawing what is seen of the picture, what is chosen in it and what was found.
"use strict";

let picture, boxOf, chosen = -1, hits = null;
let drawn = null; // The part of the picture that has been drawn, and how.
const DETAILED = 1500;

function arrangeView() {
  picture = scene(graph, opened, sizes);
  boxOf = new Map(picture.boxes.map((box) => [box.item, box]));
  for (const wire of picture.wires) {
    const xs = wire.points.map((p) => p[0]), ys = wire.points.map((p) => p[1]);
    wire.bounds = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  }
  drawn = null;
  drawMap();
}

/** The box that stands for an item: its own, its consumer's, or the closed group around it. */
function standIn(item) {
  if (item < N && hidden.has(item)) item = consumers[item][0] ?? item;
  while (item >= 0 && !boxOf.has(item)) item = parentOf[item] < 0 ? -1 : N + parentOf[item];
  return item;
}

const EVERYWHERE = [-1e9, -1e9, 1e9, 1e9];
const contains = (a, b) => a[0] <= b[0] && a[1] <= b[1] && a[2] >= b[2] && a[3] >= b[3];
const meets = (a, b) => a[0] < b[2] && a[2] > b[0] && a[1] < b[3] && a[3] > b[1];
const boundsOf = (box) => [box.x, box.y, box.x + box.w, box.y + box.h];

/** Moves what is drawn, and draws anew where the view has left that. */
function draw() {
  $("world").setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.k})`);
  $("dots").setAttribute("patternTransform", `translate(${view.x} ${view.y}) scale(${Math.max(view.k, 0.5)})`);
  $("scale").textContent = `${Math.round(view.k * 100)}%`;
  drawMapWindow();
  const w = visible(), small = picture.boxes.length <= DETAILED;
  // Too many boxes to read are drawn as one path of each colour.
  const plain = !small && picture.boxes.filter((box) => meets(boundsOf(box), w)).length > DETAILED;
  if (drawn && drawn.plain === plain && contains(drawn.part, w)) return;
  const [dx, dy] = [(w[2] - w[0]) / 2, (w[3] - w[1]) / 2];
  const part = small || plain ? EVERYWHERE : [w[0] - dx, w[1] - dy, w[2] + dx, w[3] + dy];
  drawn = { plain, part };
  const boxes = picture.boxes.filter((box) => meets(boundsOf(box), part));
  const wires = picture.wires.filter(({ bounds, again }) => !again && meets(bounds, part));
  const frames = boxes.filter((box) => box.open), closed = boxes.filter((box) => !box.open);
  $("frames").innerHTML = frames.filter(({ item }) => items[item].kind !== "phase").map(frame).join("");
  if (plain) drawPlain(closed, wires);
  else drawDetailed(closed, wires);
  $("heads").innerHTML = frames.filter(({ item }) => !plain || items[item].kind === "phase").map(headOfFrame).join("");
  mark();
}

function drawPlain(closed, wires) {
  const colors = new Map();
  for (const { item, x, y, w, h } of closed) {
    const [color] = colorOf(item);
    colors.set(color, `${colors.get(color) || ""}M${x} ${y}h${w}v${h}h${-w}z`);
  }
  $("wires").innerHTML = `<path class="w thin" d="${wires.map((wire) => curve(wire.points)).join("")}"/>`;
  $("cards").innerHTML = [...colors].map(([color, d]) => `<path class="dot" d="${d}" fill="${color}" stroke="${color}"/>`).join("");
}

function drawDetailed(closed, wires) {
  const path = ({ points, far, arrow }) => `<path class="w${far ? " far" : ""}" d="${curve(points)}"${arrow ? ' marker-end="url(#to)"' : ""}/>`;
  $("wires").innerHTML = across(new Set(closed.map((box) => box.item))) + wires.map(path).join("");
  $("cards").innerHTML = closed.map(card).join("");
}

/** Edges between phases. */
function acrossPath(a, b) {
  const [x0, y0, x1, y1] = [a.x + a.w, a.y + a.h / 2, b.x, b.y + b.h / 2], bend = Math.max(PHASE_GAP / 2, (x1 - x0) / 2);
  return `M${x0} ${y0}C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}`;
}

function across(shown) {
  const paths = new Map();
  for (const [u, v] of graph.across) {
    const a = standIn(u), b = standIn(v);
    if (a >= 0 && b >= 0 && (shown.has(a) || shown.has(b))) paths.set(`${a},${b}`, acrossPath(boxOf.get(a), boxOf.get(b)));
  }
  return [...paths.values()].map((d) => `<path class="x" d="${d}"/>`).join("");
}

/** Shows what is chosen and what was found. */
function mark() {
  const stands = chosen < 0 ? -1 : standIn(chosen);
  const found = hits && new Set(hits.map(standIn));
  for (const element of document.querySelectorAll(".card, .frame")) {
    const item = Number(element.dataset.item);
    element.classList.toggle("chosen", item === stands);
    const isCard = element.classList.contains("card");
    element.classList.toggle("hit", Boolean(found && isCard && found.has(item)));
    element.classList.toggle("dim", Boolean(found && isCard && !found.has(item) && item !== stands));
  }
  $("lights").innerHTML = chosen < 0 ? "" : lights();
}

/** The wires of what is chosen: what it takes in one colour, what it gives in another. */
function lights() {
  const item = chosen < N && hidden.has(chosen) ? -1 : standIn(chosen), out = [];
  if (item < 0) return "";
  const light = (d, into, arrow) => out.push(`<path class="lit${into ? " into" : ""}" d="${d}"${arrow ? ' marker-end="url(#lit)"' : ""}/>`);
  const outer = ancestors(item), sources = new Set();
  if (item < N) for (const edge of graph.nodes[item].inputs) if (edge) sources.add(edge[0]);
  for (const wire of picture.wires) {
    if (!wire.whole) continue;
    const gives = item < N ? wire.node === item : wire.from === item;
    const takes = item < N ? sources.has(wire.node) && (wire.to === item || outer.includes(wire.to)) : wire.to === item;
    if (gives || takes) light(curve(wire.whole()), takes, wire.arrow);
    else if (item < N && wire.out && sources.has(wire.node)) light(curve(wire.whole()), true, false);
  }
  for (const [u, v] of graph.across) {
    const a = standIn(u), b = standIn(v);
    if ((a === item || b === item) && a >= 0 && b >= 0) light(acrossPath(boxOf.get(a), boxOf.get(b)), b === item, true);
  }
  return out.join("");
}
