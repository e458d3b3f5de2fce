// What colours show: kinds, measures, or marks of a difference; as style.py does.
"use strict";

const MODES = {
  kind: { title: "Kind" },
  bytes: { title: "Saved", text: bytesText },
  seconds: { title: "Time", text: secondsText },
  gradient: { title: "Gradient", text: gradientText },
  mark: { title: "Difference" },
};
const modes = Object.keys(MODES).filter((name) => graph.legend[name]?.length || graph.measures[name] || name === "kind");
let mode = modes.includes("mark") ? "mark" : "kind";

function heat(share) {
  const at = Math.min(Math.max(share, 0), 1) * (graph.ramp.length - 1), i = Math.min(Math.floor(at), graph.ramp.length - 2);
  const [low, high] = [graph.ramp[i], graph.ramp[i + 1]].map((hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16)));
  return `#${low.map((v, k) => Math.round(v + (high[k] - v) * (at - i)).toString(16).padStart(2, "0")).join("")}`;
}

/** A measured value; null where there is none. */
function valueOf(item, measure) {
  const value = items[item][measure];
  return measure === "bytes" ? value || null : value ?? null;
}

function valueText(item, name = mode) {
  const value = graph.measures[name] ? valueOf(item, name) : null;
  return value === null ? "" : MODES[name].text(value);
}

/** The colour of an item, and how much of it its ground has. */
function colorOf(item) {
  const { family, mark } = items[item];
  if (mode === "kind") return [`var(--${family})`, 0.05];
  if (mode === "mark") return mark ? [`var(--${mark})`, 0.14] : ["var(--line)", 0];
  const value = valueOf(item, mode), { low, high } = graph.measures[mode];
  if (value === null) return ["var(--line)", 0];
  if (typeof value === "string") return [graph.ramp.at(-1), 0.26];
  if (value <= 0) return [graph.ramp[0], 0.1];
  return [heat(high > low ? Math.log(value / low) / Math.log(high / low) : 1), 0.22];
}

function legend() {
  const measure = graph.measures[mode];
  if (!measure) {
    $("legend").innerHTML = graph.legend[mode].map((kind) => `<span><i style="background:var(--${kind})"></i>${kind}</span>`).join("");
    return;
  }
  const [low, high] = [measure.low, measure.high].map(MODES[mode].text);
  $("legend").innerHTML = `<span>${measure.title}</span>` +
    `<span>${low}<i class="ramp" style="background:linear-gradient(90deg,${graph.ramp})"></i>${high}</span>`;
}
