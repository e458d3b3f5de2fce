// The view: which part of the picture is seen, and how large.
"use strict";

let view = { x: 0, y: 0, k: 1 };
const canvas = $("canvas");

/** The part of the picture that is in the window: left, top, right, bottom. */
function visible() {
  const { width, height } = canvas.getBoundingClientRect();
  return [-view.x / view.k, -view.y / view.k, (width - view.x) / view.k, (height - view.y) / view.k];
}

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
  pan(width / 2 - x * view.k - view.x, height / 2 - y * view.k - view.y);
}

function pan(dx, dy) {
  view.x += dx;
  view.y += dy;
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
    pan(Math.max(0, margin - x0) - Math.max(0, x1 - width + margin), Math.max(0, margin - y0) - Math.max(0, y1 - height + margin));
  }
}

/** Moves the view to the left if the details hide the box. */
function uncover(item) {
  const box = boxOf.get(item);
  if (!box) return;
  const left = box.x * view.k + view.x, hidden = left + box.w * view.k + 20 - room()[0];
  if (hidden > 0) pan(-Math.min(hidden, Math.max(left - 20, 0)), 0);
}
