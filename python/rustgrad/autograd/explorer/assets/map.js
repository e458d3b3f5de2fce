// The map: the whole picture in small, with the window in it.
"use strict";

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
    if (items[box.item].kind === "phase") continue;
    brush.globalAlpha = box.open ? 0.12 : 0.85;
    brush.fillStyle = resolve(box.open ? "var(--inside)" : colorOf(box.item)[0]);
    brush.fillRect(8 + box.x * scale, 8 + box.y * scale, Math.max(box.w * scale, 1), Math.max(box.h * scale, 0.8));
  }
  map.state = { scale, ratio, layer };
  drawMapWindow();
}

function drawMapWindow() {
  if (!map.state) return;
  const { scale, ratio, layer } = map.state, brush = map.getContext("2d"), w = visible();
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
