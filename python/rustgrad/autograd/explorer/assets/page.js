// The page: draws what is seen, and answers mouse and keyboard.
"use strict";

const $ = (id) => document.getElementById(id);
const graph = JSON.parse($("data").textContent);
const N = graph.nodes.length;
const hidden = new Set(graph.hidden), roots = new Set(graph.roots);
const opened = new Set(graph.open);
const parentOf = new Int32Array(N + graph.groups.length).fill(-1);
const consumers = Array.from({ length: N }, () => []);

graph.groups.forEach((group, g) => {
  for (const item of group.items) parentOf[item] = g;
  group.portOf = new Map(group.ports.map(([node, out], i) => [2 * node + (out ? 1 : 0), group.items.length + i]));
});
graph.nodes.forEach((node, id) => {
  node.inputs = node.inputs || [];
  for (const edge of node.inputs) if (edge && consumers[edge[0]].at(-1) !== id) consumers[edge[0]].push(id);
});

// ---------------------------------------------------------------------------------- words

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const count = (n, word) => `${n.toLocaleString("en").replace(/,/g, "\u202f")} ${word}${n === 1 ? "" : "s"}`;

function bytesText(value) {
  for (const unit of ["B", "KB", "MB", "GB"]) {
    if (value < 1000) return `${unit === "B" ? value : Number(value.toPrecision(3))} ${unit}`;
    value /= 1000;
  }
  return `${Number(value.toPrecision(3))} TB`;
}

function secondsText(value) {
  for (const [unit, scale] of [["s", 1], ["ms", 1e-3], ["µs", 1e-6]]) {
    if (value >= scale) return `${Number((value / scale).toPrecision(3))} ${unit}`;
  }
  return `${Math.round(value * 1e9)} ns`;
}

const gradientText = (value) => {
  if (typeof value === "string") return value;
  return value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5) ? value.toExponential(1) : String(Number(value.toPrecision(2)));
};
const shapeText = (shape) => (shape === null ? "packed by hooks" : shape.length ? shape.join(" × ") : "scalar");
const nodeName = (id) => {
  const { title, aside, leaf } = graph.nodes[id];
  return aside && !leaf ? `${title} ${aside}` : title;
};

// --------------------------------------------------------------------------------- colours

const sum = (values) => values.reduce((a, b) => a + b, 0);
const MODES = {
  kind: { title: "Kind" },
  bytes: { title: "Saved", text: bytesText, of: (node) => node.bytes || null, join: sum },
  seconds: { title: "Time", text: secondsText, of: (node) => node.seconds ?? null, join: sum },
  gradient: { title: "Gradient", text: gradientText, of: (node) => node.gradient ?? null, join: (v) => Math.max(...v.map(Number)) },
  mark: { title: "Difference" },
};
const modes = Object.keys(MODES).filter((name) => {
  if (name === "kind") return true;
  if (name === "mark") return graph.nodes.some((node) => node.mark);
  return graph.nodes.some((node) => MODES[name].of(node) !== null);
});
let mode = modes.includes("mark") ? "mark" : "kind";

/** For each measure, the value of every item: those of groups join those inside. */
const measured = {};
for (const name of modes) {
  const { of, join } = MODES[name];
  if (!of) continue;
  const values = graph.nodes.map(of);
  const known = values.filter((v) => typeof v === "number" && v > 0);
  for (let g = graph.groups.length - 1; g >= 0; g--) {
    const inside = graph.groups[g].items.map((item) => values[item]).filter((v) => v !== null && v !== undefined);
    values[N + g] = inside.length ? join(inside) : null;
  }
  measured[name] = { values, low: known.reduce((a, b) => Math.min(a, b), Infinity), high: known.reduce((a, b) => Math.max(a, b), 0) };
}

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
function heat(share) {
  const at = Math.min(Math.max(share, 0), 1) * (graph.ramp.length - 1), i = Math.min(Math.floor(at), graph.ramp.length - 2);
  const [low, high] = [rgb(graph.ramp[i]), rgb(graph.ramp[i + 1])];
  return `rgb(${low.map((v, k) => Math.round(v + (high[k] - v) * (at - i))).join(" ")})`;
}

/** The colour of an item, and how much of it its ground has. */
function colorOf(item) {
  const node = graph.nodes[item];
  if (mode === "kind") return node ? [`var(--${node.family})`, 0.05] : ["var(--inside)", 0.05];
  if (mode === "mark") {
    const mark = node ? node.mark : marksInside(item - N);
    return mark ? [`var(--${mark})`, 0.14] : ["var(--line)", 0];
  }
  const { values, low, high } = measured[mode], value = values[item];
  if (value === null || value === undefined) return ["var(--line)", 0];
  if (!Number.isFinite(Number(value))) return [graph.ramp.at(-1), 0.4];
  if (Number(value) <= 0) return [graph.ramp[0], 0.1];
  return [heat(high > low ? Math.log(value / low) / Math.log(high / low) : 1), 0.22];
}

function marksInside(g) {
  const marks = new Set(graph.groups[g].items.map((item) => (item < N ? graph.nodes[item].mark : marksInside(item - N))));
  marks.delete(undefined);
  return marks.size > 1 ? "changed" : [...marks][0];
}

function valueText(item, name = mode) {
  const value = measured[name] && measured[name].values[item];
  return value === null || value === undefined ? "" : MODES[name].text(value);
}

// ------------------------------------------------------------------------------- sizes

const FONT = getComputedStyle(document.body).fontFamily;
const pen = document.createElement("canvas").getContext("2d"), widths = new Map();
function textWidth(text, size, weight = 400) {
  const key = `${weight} ${size}px|${text}`;
  if (!widths.has(key)) {
    pen.font = `${weight} ${size}px ${FONT}`;
    widths.set(key, pen.measureText(text).width);
  }
  return widths.get(key);
}

function sizeOf(item) {
  const card = graph.nodes[item] || graph.groups[item - N], isGroup = item >= N;
  let head = textWidth(card.title, 13, 600) + (card.aside ? 7 + textWidth(card.aside, 12) : 0) + (isGroup ? 28 : 0);
  const value = Math.max(0, ...Object.keys(measured).map((name) => textWidth(valueText(item, name), 11.5)));
  const line = textWidth(card.line, 11.5) + (value ? value + 14 : 0);
  const rows = card.rows || [];
  for (const [name, shape] of rows) head = Math.max(head, textWidth(name, 11) + textWidth(shape, 11) + 26);
  return [Math.ceil(Math.max(head, line, 72)) + 32, 46 + (rows.length ? rows.length * 17 + 7 : 0)];
}
const sizes = Array.from({ length: N + graph.groups.length }, (_, item) => sizeOf(item));

// -------------------------------------------------------------------------------- drawing

let picture, boxOf, view = { x: 0, y: 0, k: 1 }, chosen = -1, hits = null;
let drawn = null; // The part of the picture that has been drawn, and how.
const canvas = $("canvas"), DETAILED = 1500;

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

function window_() {
  const { width, height } = canvas.getBoundingClientRect();
  return [-view.x / view.k, -view.y / view.k, (width - view.x) / view.k, (height - view.y) / view.k];
}

const meets = (box, w) => box.x < w[2] && box.x + box.w > w[0] && box.y < w[3] && box.y + box.h > w[1];

function draw() {
  $("world").setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.k})`);
  $("dots").setAttribute("patternTransform", `translate(${view.x} ${view.y}) scale(${Math.max(view.k, 0.5)})`);
  $("scale").textContent = `${Math.round(view.k * 100)}%`;
  drawMapWindow();
  const small = picture.boxes.length <= DETAILED, w = window_();
  const plain = !small && picture.boxes.filter((box) => meets(box, w)).length > DETAILED;
  if (drawn && drawn.plain === plain && (small || plain || (w[0] >= drawn.w[0] && w[1] >= drawn.w[1] && w[2] <= drawn.w[2] && w[3] <= drawn.w[3]))) return;
  const [dx, dy] = [(w[2] - w[0]) / 2, (w[3] - w[1]) / 2];
  const part = small || plain ? [-1e9, -1e9, 1e9, 1e9] : [w[0] - dx, w[1] - dy, w[2] + dx, w[3] + dy];
  drawn = { plain, w: part };
  const seen = picture.boxes.filter((box) => meets(box, part));
  const wires = picture.wires.filter(({ bounds: b, again }) => !again && b[0] < part[2] && b[2] > part[0] && b[1] < part[3] && b[3] > part[1]);
  const frames = seen.filter((box) => box.open);
  $("frames").innerHTML = frames.map(frame).join("");
  $("heads").innerHTML = plain ? "" : frames.map(headOfFrame).join("");
  if (plain) {
    $("wires").innerHTML = `<path class="w" d="${wires.map((wire) => curve(wire.points)).join("")}"/>`;
    const colors = new Map();
    for (const box of seen) {
      if (box.open) continue;
      const [color] = colorOf(box.item);
      colors.set(color, `${colors.get(color) || ""}M${box.x} ${box.y}h${box.w}v${box.h}h${-box.w}z`);
    }
    $("cards").innerHTML = [...colors].map(([color, d]) => `<path d="${d}" fill="${color}"/>`).join("");
  } else {
    const shown = new Set(seen.map((box) => box.item));
    $("wires").innerHTML = across(shown) + wires.map((wire) => `<path class="w${wire.far ? " far" : ""}" d="${curve(wire.points)}"${wire.arrow ? ' marker-end="url(#to)"' : ""}/>`).join("");
    $("cards").innerHTML = seen.filter((box) => !box.open).map(card).join("");
  }
  mark();
}

/** Edges between phases. */
function acrossPath(a, b) {
  const [x0, y0, x1, y1] = [a.x + a.w, a.y + a.h / 2, b.x, b.y + b.h / 2], bend = Math.max(45, (x1 - x0) / 2);
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

const toggleMark = (x, y, plus) =>
  `<g class="toggle" transform="translate(${x} ${y})"><circle r="9"/><path d="M-3.5 0H3.5${plus ? "M0 -3.5V3.5" : ""}"/></g>`;

function frame(box) {
  const group = graph.groups[box.item - N], { x, y, w, h } = box;
  if (group.kind === "phase") return `<text class="p" x="${x}" y="${y - 16}">${escape(group.title[0].toUpperCase() + group.title.slice(1))}</text>`;
  return `<g class="frame" data-item="${box.item}"><rect class="g" x="${x}" y="${y}" width="${w}" height="${h}" rx="12"/>` +
    `<rect class="head" x="${x}" y="${y}" width="${w}" height="32" rx="12"/></g>`;
}

/** The name of a frame, above the wires. */
function headOfFrame(box) {
  const group = graph.groups[box.item - N], { x, y, w } = box;
  if (group.kind === "phase") return "";
  const type = group.type && group.type !== group.title && group.kind === "module" ? group.type : "";
  const wide = textWidth(group.title, 12, 600) + (type ? 7 + textWidth(type, 12) : 0);
  return `<g data-item="${box.item}" class="frame"><rect x="${x + 9}" y="${y + 8}" width="${wide + 10}" height="18" rx="5"/>` +
    `<text class="h" x="${x + 14}" y="${y + 21}">${escape(group.title)}${type ? `<tspan class="a" dx="7">${escape(type)}</tspan>` : ""}</text>` +
    `${toggleMark(x + w - 18, y + 17, false)}</g>`;
}

function card(box) {
  const { item, x, y, w, h } = box, node = graph.nodes[item], group = graph.groups[item - N], what = node || group;
  const [color, tint] = colorOf(item), radius = node && node.leaf ? 22 : 9;
  const rect = `width="${w}" height="${h}" rx="${radius}"`;
  let inner = "";
  if (group && group.stacked) inner += [8, 4].map((d) => `<rect class="c" x="${d}" y="${d}" ${rect}/>`).join("");
  inner += `<rect class="c" ${rect}/>`;
  if (tint) inner += `<rect ${rect} fill="${color}" fill-opacity="${tint}" pointer-events="none"/>`;
  inner += `<rect x="8" y="9" width="4" height="28" rx="2" fill="${color}"/>`;
  inner += `<text class="t" x="20" y="20">${escape(what.title)}${what.aside ? `<tspan class="a" dx="7">${escape(what.aside)}</tspan>` : ""}</text>`;
  inner += `<text class="l" x="20" y="36">${escape(what.line)}</text>`;
  const value = valueText(item);
  if (value) inner += `<text class="l" x="${w - 11}" y="36" text-anchor="end">${escape(value)}</text>`;
  (what.rows || []).forEach(([name, shape, leaf], i) => {
    if (i === 0) inner += `<path class="e" d="M1 46H${w - 1}"/>`;
    const [dot] = mode === "kind" || mode === "mark" ? ["var(--leaf)"] : colorOf(leaf);
    inner += `<g data-item="${leaf}"><rect x="1" y="${48 + 17 * i}" width="${w - 2}" height="17" fill="transparent"/>` +
      `<circle cx="23" cy="${56.5 + 17 * i}" r="2.5" fill="${dot}"/><text class="r" x="31" y="${60 + 17 * i}">${escape(name)}</text>` +
      `<text class="r s" x="${w - 11}" y="${60 + 17 * i}" text-anchor="end">${escape(shape)}</text></g>`;
  });
  if (group) inner += toggleMark(w - 18, 17, true);
  const label = `${what.title}${what.aside ? ` ${what.aside}` : ""}, ${what.line}`;
  return `<g class="card${roots.has(item) ? " root" : ""}" data-item="${item}" role="button" aria-label="${escape(label)}" transform="translate(${x} ${y})">${inner}</g>`;
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

function ancestors(item) {
  const found = new Set();
  for (let g = parentOf[item]; g >= 0; g = parentOf[N + g]) found.add(N + g);
  return found;
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
    const takes = item < N ? sources.has(wire.node) && (wire.to === item || outer.has(wire.to)) : wire.to === item;
    if (gives || takes) light(curve(wire.whole()), takes, wire.arrow);
    else if (item < N && wire.out && sources.has(wire.node)) light(curve(wire.whole()), true, false);
  }
  for (const [u, v] of graph.across) {
    const a = standIn(u), b = standIn(v);
    if ((a === item || b === item) && a >= 0 && b >= 0) light(acrossPath(boxOf.get(a), boxOf.get(b)), b === item, true);
  }
  return out.join("");
}

function legend() {
  if (mode in measured) {
    const { low, high } = measured[mode];
    const text = MODES[mode].text, title = { bytes: "Bytes saved", seconds: "Time of the backward", gradient: "Norm of the gradient" }[mode];
    const limits = high ? [low, high] : [0, 0];
    $("legend").innerHTML = `<span>${title}</span><span>${text(limits[0])}<i class="ramp" style="background:linear-gradient(90deg,${graph.ramp})"></i>${text(limits[1])}</span>`;
    return;
  }
  const kinds = [...new Set(graph.nodes.map((node, id) => (mode === "mark" ? node.mark : hidden.has(id) ? "leaf" : node.family)).filter(Boolean))];
  const order = mode === "mark" ? kinds : kinds.sort((a, b) => (a === "leaf") - (b === "leaf") || a.localeCompare(b));
  $("legend").innerHTML = order.map((kind) => `<span><i style="background:var(--${kind})"></i>${kind}</span>`).join("") || "<span>no difference</span>";
}

// -------------------------------------------------------------------------------- the map

const map = $("map");
function drawMap() {
  const scale = Math.min(150 / picture.width, 190 / picture.height, 0.2), ratio = window.devicePixelRatio || 1;
  map.width = Math.max(1, Math.round(picture.width * scale + 16)) * ratio;
  map.height = Math.max(1, Math.round(picture.height * scale + 16)) * ratio;
  map.style.width = `${map.width / ratio}px`;
  map.style.height = `${map.height / ratio}px`;
  const layer = document.createElement("canvas");
  [layer.width, layer.height] = [map.width, map.height];
  const brush = layer.getContext("2d"), style = getComputedStyle(document.documentElement);
  brush.scale(ratio, ratio);
  const resolve = (color) => (color.startsWith("var(") ? style.getPropertyValue(color.slice(4, -1)).trim() : color);
  for (const box of picture.boxes) {
    if (box.item >= N && graph.groups[box.item - N].kind === "phase") continue;
    brush.globalAlpha = box.open ? 0.12 : 0.85;
    brush.fillStyle = resolve(box.open ? "var(--inside)" : colorOf(box.item)[0]);
    brush.fillRect(8 + box.x * scale, 8 + box.y * scale, Math.max(box.w * scale, 1), Math.max(box.h * scale, 0.8));
  }
  map.state = { scale, ratio, layer };
  drawMapWindow();
}

function drawMapWindow() {
  if (!map.state) return;
  const { scale, ratio, layer } = map.state, brush = map.getContext("2d"), w = window_();
  brush.setTransform(1, 0, 0, 1, 0, 0);
  brush.clearRect(0, 0, map.width, map.height);
  brush.drawImage(layer, 0, 0);
  brush.scale(ratio, ratio);
  brush.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  brush.lineWidth = 1.5;
  const [x0, y0] = [Math.max(8 + w[0] * scale, 2), Math.max(8 + w[1] * scale, 2)];
  const [x1, y1] = [Math.min(8 + w[2] * scale, map.width / ratio - 2), Math.min(8 + w[3] * scale, map.height / ratio - 2)];
  brush.strokeRect(x0, y0, Math.max(x1 - x0, 2), Math.max(y1 - y0, 2));
  const all = w[0] <= 0 && w[1] <= 0 && w[2] >= picture.width && w[3] >= picture.height;
  map.style.visibility = all ? "hidden" : "visible";
}

function mapGo(event) {
  const box = map.getBoundingClientRect(), { scale } = map.state;
  center((event.clientX - box.left - 8) / scale, (event.clientY - box.top - 8) / scale);
}
map.addEventListener("pointerdown", (event) => { map.setPointerCapture(event.pointerId); mapGo(event); });
map.addEventListener("pointermove", (event) => { if (event.buttons) mapGo(event); });

// ------------------------------------------------------------------------------ the view

let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}

/** What of the canvas is not behind the details. */
function room() {
  const { width, height } = canvas.getBoundingClientRect();
  const beside = !$("details").hidden && width > 760 ? 356 : 0;
  return [width - beside, height];
}

/** Shows all, unless that were too small to read: then the beginning. */
function fit(readable = false) {
  const [width, height] = room(), top = graph.phases.length > 1 ? 64 : 28, margin = 28, bottom = 64;
  const whole = Math.min((width - 2 * margin) / picture.width, (height - top - bottom) / picture.height, 1.25);
  if (readable && whole < 0.62) {
    const wide = Math.min((width - 2 * margin) / picture.width, 1);
    const k = Math.max(wide, 0.62);
    const root = [...boxOf.values()].filter((box) => !box.open).reduce((a, b) => (a && a.y <= b.y ? a : b), null);
    const middle = wide >= 0.62 ? picture.width / 2 : root ? root.x + root.w / 2 : 0;
    view = { k, x: width / 2 - middle * k, y: top };
  } else view = { k: whole, x: (width - picture.width * whole) / 2, y: top + Math.max(0, (height - top - bottom - picture.height * whole) / 2) };
  redraw();
}

function zoom(factor, cx, cy) {
  const [width, height] = room();
  const [x, y] = [cx ?? width / 2, cy ?? height / 2], k = Math.min(Math.max(view.k * factor, 0.005), 4);
  view = { k, x: x - ((x - view.x) * k) / view.k, y: y - ((y - view.y) * k) / view.k };
  redraw();
}

function center(x, y) {
  const [width, height] = room();
  view.x = width / 2 - x * view.k;
  view.y = height / 2 - y * view.k;
  redraw();
}

/** Moves the view as little as shows the box. */
function reveal(item) {
  const box = boxOf.get(item);
  if (!box) return;
  if (view.k < 0.45) view.k = 0.8;
  const [width, height] = room(), margin = 60;
  const [x0, y0] = [box.x * view.k + view.x, box.y * view.k + view.y];
  const [x1, y1] = [x0 + box.w * view.k, y0 + Math.min(box.h * view.k, height / 2)];
  if (x0 < 0 || y0 < 0 || x1 > width || y1 > height) center(box.x + box.w / 2, box.y + Math.min(box.h, height / 2 / view.k) / 2);
  else {
    view.x += Math.max(0, margin - x0) - Math.max(0, x1 - width + margin);
    view.y += Math.max(0, margin - y0) - Math.max(0, y1 - height + margin);
    redraw();
  }
}

function toggle(item, open = !opened.has(item - N)) {
  const before = boxOf.get(item), g = item - N;
  if (g <= 0 || graph.groups[g].kind === "phase") return;
  if (open) opened.add(g);
  else opened.delete(g);
  arrangeView();
  const after = boxOf.get(item);
  if (before && after) {
    // The head of the box stays where it is.
    view.x += (before.x + before.w / 2 - after.x - after.w / 2) * view.k;
    view.y += (before.y - after.y) * view.k;
  }
  say(`${graph.groups[g].title} ${open ? "opened" : "closed"}`);
  draw();
  if (chosen === item) details();
}

function openAll(open) {
  graph.groups.forEach((group, g) => {
    if (open || g === 0 || group.kind === "phase") opened.add(g);
    else opened.delete(g);
  });
  arrangeView();
  fit(true);
  draw();
}

// ------------------------------------------------------------------------------- choosing

function say(text) { $("say").textContent = text; }

function choose(item, look = true) {
  chosen = item;
  const stands = item < 0 ? -1 : standIn(item);
  details();
  mark();
  if (item < 0) return;
  if (look) reveal(stands);
  const what = graph.nodes[item] || graph.groups[item - N];
  say(`${what.title}${what.aside ? ` ${what.aside}` : ""}, ${what.line}`);
}

/** Opens what is around an item, and chooses it. */
function goTo(item) {
  const target = item < N && hidden.has(item) ? consumers[item][0] ?? item : item;
  let changed = false;
  for (const group of ancestors(target)) {
    if (!opened.has(group - N)) {
      opened.add(group - N);
      changed = true;
    }
  }
  if (changed) arrangeView();
  chosen = item;
  const box = boxOf.get(target);
  if (changed && box) center(box.x + box.w / 2, box.y + box.h / 2);
  draw();
  choose(item);
}

const link = (id, extra = "") => {
  const node = graph.nodes[id];
  return `<button class="link" data-go="${id}"><i style="background:var(--${node.family})"></i><b>${escape(nodeName(id))}</b><span>${escape(extra || node.line)}</span></button>`;
};
const section = (title, body) => (body ? `<h3>${title}</h3>${body}` : "");

function details() {
  const panel = $("details");
  panel.hidden = chosen < 0;
  document.querySelector("main").classList.toggle("beside", chosen >= 0);
  if (chosen < 0) return;
  panel.innerHTML = chosen < N ? nodeDetails(chosen) : groupDetails(chosen - N);
  panel.scrollTop = 0;
}

function headOf(title, tags) {
  return `<header><h2>${escape(title)}</h2><button class="close" data-close aria-label="Close">×</button></header>` +
    `<div class="tags">${tags.filter(Boolean).join("")}</div>`;
}

function nodeDetails(id) {
  const node = graph.nodes[id];
  const outputs = node.outputs.map(([shape, dtype], i) => `<tr><td>${node.outputs.length > 1 ? `output ${i}` : "output"}</td><td>${shapeText(shape)}<small>${dtype}</small></td></tr>`).join("");
  const saved = (node.saved || []).map(([name, shape, dtype, bytes, leaf]) =>
    `<tr><td>${escape(name)}<small>${shape === null ? "packed by hooks" : `${shapeText(shape)} ${dtype}`}</small></td><td>${bytes === null ? "?" : bytesText(bytes)}${leaf ? "<small>a leaf's, in memory anyway</small>" : ""}</td></tr>`).join("");
  const seen = new Set();
  const inputs = node.inputs.map((edge, i) => {
    if (!edge) return "";
    const many = graph.nodes[edge[0]].outputs.length > 1 ? `output ${edge[1]}` : shapeText(graph.nodes[edge[0]].outputs[edge[1]][0]);
    seen.add(i);
    return link(edge[0], many);
  }).join("");
  const missing = node.inputs.length - seen.size;
  const facts = [
    node.module !== undefined && ["module", node.module || graph.title],
    node.seconds !== undefined && ["time of its backward", secondsText(node.seconds)],
    node.gradient !== undefined && [node.leaf ? "norm of its gradient" : "norm of what arrives", gradientText(node.gradient)],
    ["recorded as number", node.number],
    ...(node.arguments || []).map(([name, value]) => [name, value]),
  ].filter(Boolean);
  return headOf(node.leaf ? node.label || node.title : node.title, [
    `<span><i style="background:var(--${node.family})"></i>${node.leaf ? "leaf" : node.family}</span>`,
    `<span>${escape(node.name)}</span>`,
    roots.has(id) && `<span>output${node.label ? ` ${escape(node.label)}` : ""}</span>`,
    node.mark && `<span>${node.mark}</span>`,
    node.freed && '<span class="warn">freed by a backward</span>',
  ]) +
    (node.site ? section("Recorded at", `<p>${escape(node.site)}</p>${node.source ? `<pre>${escape(node.source)}</pre>` : ""}`) : "") +
    section(node.outputs.length > 1 ? "Outputs" : "Output", `<table>${outputs}</table>`) +
    section("Inputs", inputs + (missing && inputs ? `<p style="color:var(--soft)">and ${count(missing, "input")} without a gradient</p>` : "")) +
    section("Used by", consumers[id].slice(0, 40).map((c) => link(c)).join("")) +
    section("Saved for backward", saved && `<table>${saved}</table>`) +
    (node.origin !== undefined ? section("Recorded by the backward of", link(node.origin)) : "") +
    section("Facts", `<dl>${facts.map(([k, v]) => `<dt>${escape(k)}</dt><dd>${escape(v)}</dd>`).join("")}</dl>`);
}

function inside(g) {
  return graph.groups[g].items.flatMap((item) => (item < N ? [item] : inside(item - N)));
}

function groupDetails(g) {
  const group = graph.groups[g], nodes = inside(g), item = N + g;
  const facts = [["ops", group.count.toLocaleString("en")], ["saved for backward", bytesText(group.bytes)]];
  for (const name of ["seconds", "gradient"]) if (valueText(item, name)) facts.push([{ seconds: "time of its backward", gradient: "largest gradient norm" }[name], valueText(item, name)]);
  const heavy = nodes.filter((id) => graph.nodes[id].bytes).sort((a, b) => graph.nodes[b].bytes - graph.nodes[a].bytes).slice(0, 6);
  return headOf(group.title, [`<span>${group.kind === "module" ? escape(group.type) : "repeated"}</span>`, group.path && `<span>${escape(group.path)}</span>`]) +
    `<button class="action" data-toggle="${item}">${opened.has(g) ? "Close" : "Open"}</button>` +
    section("Facts", `<dl>${facts.map(([k, v]) => `<dt>${k}</dt><dd>${escape(v)}</dd>`).join("")}</dl>`) +
    section("What saves most", heavy.map((id) => link(id, bytesText(graph.nodes[id].bytes))).join(""));
}

$("details").addEventListener("click", (event) => {
  const target = event.target.closest("[data-go],[data-close],[data-toggle]");
  if (!target) return;
  if (target.dataset.go) goTo(Number(target.dataset.go));
  else if (target.dataset.toggle) toggle(Number(target.dataset.toggle));
  else choose(-1);
});

// -------------------------------------------------------------------------------- search

const haystacks = graph.nodes.map((node) => [
  node.title, node.name, node.label, node.aside, node.module, node.site, node.family,
  ...node.outputs.map(([shape, dtype]) => `${shape.join("×")} ${shape.join("x")} [${shape.join(", ")}] ${shape.join(",")} ${dtype}`),
].filter(Boolean).join(" ").toLowerCase());
let at = -1;

function search(text) {
  const query = text.trim().toLowerCase(), list = $("results");
  // "128 x 32" is one word.
  const words = query.replace(/(\d)\s*[x×]\s*(?=\d)/g, "$1×").replace(/,\s+(?=\d)/g, ",").split(/\s+/).filter(Boolean);
  hits = words.length ? graph.nodes.map((_, id) => id).filter((id) => words.every((word) => haystacks[id].includes(word))) : null;
  at = -1;
  list.hidden = !hits;
  $("query").setAttribute("aria-expanded", String(Boolean(hits)));
  $("query").removeAttribute("aria-activedescendant");
  if (hits) {
    const rows = hits.slice(0, 60).map((id, i) => {
      const node = graph.nodes[id], place = [node.module, node.site && node.site.split("/").at(-1), node.phase ? graph.phases[node.phase] : ""].filter(Boolean).join(" · ");
      return `<li role="option" id="hit${i}" aria-selected="false" data-hit="${i}"><i style="background:var(--${node.family})"></i><b>${escape(nodeName(id))}</b><span>${escape(node.line)}</span><small>${escape(place || node.name)}</small></li>`;
    });
    const note = hits.length ? (hits.length > 60 ? `and ${hits.length - 60} more` : "") : "Nothing found";
    list.innerHTML = rows.join("") + (note ? `<li class="note">${note}</li>` : "");
    say(count(hits.length, "match").replace("matchs", "matches"));
  }
  mark();
}

function visit(i) {
  if (!hits || !hits.length) return;
  at = (i + hits.length) % hits.length;
  for (const row of document.querySelectorAll("#results [data-hit]")) {
    const on = Number(row.dataset.hit) === at;
    row.setAttribute("aria-selected", String(on));
    if (on) row.scrollIntoView({ block: "nearest" });
  }
  $("query").setAttribute("aria-activedescendant", `hit${at}`);
  goTo(hits[at]);
}

$("query").addEventListener("input", (event) => search(event.target.value));
$("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === "ArrowDown") visit(event.shiftKey ? at - 1 : at + 1);
  else if (event.key === "ArrowUp") visit(at - 1);
  else if (event.key === "Escape") {
    if ($("results").hidden || !hits) canvas.focus();
    else {
      event.target.value = "";
      search("");
      canvas.focus();
    }
  } else return;
  event.preventDefault();
  event.stopPropagation();
});
$("query").addEventListener("focus", () => { if (hits) $("results").hidden = false; });
$("results").addEventListener("mousedown", (event) => {
  const row = event.target.closest("[data-hit]");
  event.preventDefault();
  if (row) {
    visit(Number(row.dataset.hit));
    $("results").hidden = true;
  }
});

// ---------------------------------------------------------------------- mouse and touch

const pointers = new Map();
let moved = 0, pinch = 0;
canvas.addEventListener("pointerdown", (event) => {
  pointers.set(event.pointerId, [event.clientX, event.clientY]);
  moved = 0;
  $("results").hidden = true;
});
canvas.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const [dx, dy] = [event.clientX - before[0], event.clientY - before[1]];
  moved += Math.abs(dx) + Math.abs(dy);
  pointers.set(event.pointerId, [event.clientX, event.clientY]);
  if (moved < 4) return;
  canvas.setPointerCapture(event.pointerId);
  canvas.classList.add("drag");
  if (pointers.size === 2) {
    const [a, b] = [...pointers.values()], apart = Math.hypot(a[0] - b[0], a[1] - b[1]);
    const box = canvas.getBoundingClientRect();
    if (pinch) zoom(apart / pinch, (a[0] + b[0]) / 2 - box.left, (a[1] + b[1]) / 2 - box.top);
    pinch = apart;
  } else {
    view.x += dx;
    view.y += dy;
    redraw();
  }
});
for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, (event) => {
    pointers.delete(event.pointerId);
    pinch = 0;
    canvas.classList.remove("drag");
  });
}
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = canvas.getBoundingClientRect(), unit = event.deltaMode ? 24 : 1;
  zoom(Math.exp(-event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.0015)), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });
canvas.addEventListener("click", (event) => {
  if (moved >= 4) return;
  const target = event.target.closest("[data-item]");
  if (!target) {
    choose(plainHit(event), false);
    return;
  }
  const item = Number(target.dataset.item);
  if (event.target.closest(".toggle")) toggle(item);
  else if (target.classList.contains("frame") && !event.target.closest(".head, .heads")) choose(-1);
  else choose(item, false);
});
canvas.addEventListener("dblclick", (event) => {
  const target = event.target.closest("[data-item]");
  if (target && !event.target.closest(".toggle")) toggle(Number(target.dataset.item));
});

/** What is under the mouse where boxes are drawn without their own elements. */
function plainHit(event) {
  if (!drawn || !drawn.plain) return -1;
  const box = canvas.getBoundingClientRect();
  const [x, y] = [(event.clientX - box.left - view.x) / view.k, (event.clientY - box.top - view.y) / view.k];
  const found = picture.boxes.find((b) => !b.open && x >= b.x && x <= b.x + b.w && y >= b.y && y <= b.y + b.h);
  return found ? found.item : -1;
}

// ------------------------------------------------------------------------------ keyboard

/** The box that an arrow key leads to. */
function neighbour(key) {
  const box = boxOf.get(standIn(chosen));
  if (!box) return chosen;
  const upwards = flips(box.item) ? key === "ArrowDown" : key === "ArrowUp";
  if (key === "ArrowUp" || key === "ArrowDown") {
    const nodes = box.item < N ? [box.item] : inside(box.item - N), own = new Set(nodes);
    const near = nodes.flatMap((id) => (upwards ? graph.nodes[id].inputs.filter(Boolean).map((e) => e[0]) : consumers[id]));
    const stands = near.filter((id) => !own.has(id) && !hidden.has(id)).map(standIn).filter((item) => item >= 0 && item !== box.item);
    return stands[0] ?? chosen;
  }
  const side = key === "ArrowLeft" ? -1 : 1;
  const ahead = [...boxOf.values()].filter((b) => !b.open && b !== box && side * (b.x + b.w / 2 - box.x - box.w / 2) > 8);
  const cost = (b) => Math.abs(b.x + b.w / 2 - box.x - box.w / 2) + 4 * Math.abs(b.y + b.h / 2 - box.y - box.h / 2);
  return ahead.reduce((a, b) => (a && cost(a) <= cost(b) ? a : b), null)?.item ?? chosen;
}

const flips = (item) => parentOf[item] >= 0 && graph.groups[parentOf[item]].flip;

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const key = event.key, onButton = event.target.matches("button");
  if (key.startsWith("Arrow") && event.target.closest("[role=radiogroup]")) return;
  if (key.startsWith("Arrow") && event.shiftKey) {
    view.x += { ArrowLeft: 80, ArrowRight: -80 }[key] || 0;
    view.y += { ArrowUp: 80, ArrowDown: -80 }[key] || 0;
    redraw();
  } else if (key.startsWith("Arrow")) choose(chosen < 0 ? standIn(graph.roots[0]) : neighbour(key));
  else if ((key === "Enter" || key === " ") && !onButton && chosen >= N) toggle(chosen);
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

// ------------------------------------------------------------------------------- buttons

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

// --------------------------------------------------------------------------------- start

theme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
const leaves = graph.nodes.filter((node) => node.leaf).length;
$("summary").textContent = [
  count(N - leaves, "op"), count(leaves, "leaf").replace("leafs", "leaves"), `${graph.saved} saved for backward`,
].join(" · ");
arrangeView();
paint(mode);
fit(true);
