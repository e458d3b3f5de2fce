// Mouse and touch: drag, pinch, wheel and click.
"use strict";

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
  if (!event.buttons) {
    pointers.delete(event.pointerId); // It was let go elsewhere.
    return;
  }
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
    pan(dx, dy);
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
  else if (target.classList.contains("frame") && !event.target.closest(".head, #heads")) choose(-1);
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
