// Boxes as SVG: cards of nodes and closed groups, frames of open ones; as svg.py draws them.
"use strict";

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
  const card = items[item], rows = card.rows || [];
  const head = textWidth(card.title, 13, 600) + (card.aside ? 7 + textWidth(card.aside, 12) : 0) + (isGroup(item) ? 28 : 0);
  // A box is as wide as its values in all colours need.
  const value = Math.max(...modes.map((name) => textWidth(valueText(item, name), 11.5)));
  const line = textWidth(card.line, 11.5) + (value ? value + 14 : 0);
  const widest = Math.max(head, line, 72, ...rows.map(([name, shape]) => textWidth(name, 11) + textWidth(shape, 11) + 26));
  return [Math.ceil(widest) + 32, 46 + (rows.length ? rows.length * 17 + 7 : 0)];
}
const sizes = items.map((_, item) => sizeOf(item));

const translate = (x, y) => `transform="translate(${x} ${y})"`;
const heading = (x, y, kind, title, aside) =>
  `<text class="${kind}" x="${x}" y="${y}">${escape(title)}${aside ? `<tspan class="a" dx="7">${escape(aside)}</tspan>` : ""}</text>`;
const toggleMark = (x, y, plus) =>
  `<g class="toggle" ${translate(x, y)}><circle r="9"/><path d="M-3.5 0H3.5${plus ? "M0 -3.5V3.5" : ""}"/></g>`;

/** The border of an open group. */
function frame({ item, x, y, w, h }) {
  return `<g class="frame" data-item="${item}" ${translate(x, y)}><rect class="g" width="${w}" height="${h}" rx="12"/>` +
    `<rect class="head" width="${w}" height="32" rx="12"/></g>`;
}

/** The name of an open group, above the wires. */
function headOfFrame({ item, x, y, w }) {
  const { kind, title, subtitle } = items[item];
  if (kind === "phase") return heading(x, y - 14, "p", title[0].toUpperCase() + title.slice(1));
  const wide = textWidth(title, 12, 600) + (subtitle ? 7 + textWidth(subtitle, 12) : 0);
  return `<g class="frame" data-item="${item}" ${translate(x, y)}><rect class="plate" x="9" y="8" width="${wide + 10}" height="18" rx="5"/>` +
    `${heading(14, 21, "h", title, subtitle)}${toggleMark(w - 18, 17, false)}</g>`;
}

/** A parameter, as a line of the node that takes it. */
function row([name, shape, leaf], i, w) {
  const color = mode === "kind" || mode === "mark" ? "var(--leaf)" : colorOf(leaf)[0], y = 17 * i;
  return `<g data-item="${leaf}"><rect x="1" y="${48 + y}" width="${w - 2}" height="17" fill="transparent"/>` +
    `<circle cx="23" cy="${56.5 + y}" r="2.5" fill="${color}"/><text class="r" x="31" y="${60 + y}">${escape(name)}</text>` +
    `<text class="r s" x="${w - 11}" y="${60 + y}" text-anchor="end">${escape(shape)}</text></g>`;
}

function card({ item, x, y, w, h }) {
  const { title, aside, line, rows = [], leaf, stacked } = items[item], [color, tint] = colorOf(item), value = valueText(item);
  const size = `width="${w}" height="${h}" rx="${leaf ? 22 : 9}"`;
  return `<g class="card${roots.has(item) ? " root" : ""}" data-item="${item}" role="button" aria-label="${escape(sentence(item))}" ${translate(x, y)}>` +
    (stacked ? [8, 4].map((d) => `<rect class="c" x="${d}" y="${d}" ${size}/>`).join("") : "") +
    `<rect class="c" ${size}/>` +
    (tint ? `<rect ${size} fill="${color}" fill-opacity="${tint}" pointer-events="none"/>` : "") +
    `<rect x="8" y="9" width="4" height="28" rx="2" fill="${color}"/>` +
    heading(20, 20, "t", title, aside) +
    `<text class="l" x="20" y="36">${escape(line)}</text>` +
    (value ? `<text class="l" x="${w - 11}" y="36" text-anchor="end">${escape(value)}</text>` : "") +
    (rows.length ? `<path class="e" d="M1 46H${w - 1}"/>` : "") +
    rows.map((entry, i) => row(entry, i, w)).join("") +
    (isGroup(item) ? toggleMark(w - 18, 17, true) : "") + "</g>";
}

/** What is read aloud of an item. */
function sentence(item) {
  const { title, aside, line } = items[item];
  return `${title}${aside ? ` ${aside}` : ""}, ${line}`;
}
