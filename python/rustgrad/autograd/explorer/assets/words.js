// Numbers, shapes and names as text: as model.py and style.py write them.
"use strict";

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const digits = (value, many) => Number(value.toPrecision(many));
const thousands = (n) => n.toLocaleString("en").replace(/,/g, "\u202f");
const count = (n, one, several = `${one}s`) => `${thousands(n)} ${n === 1 ? one : several}`;
const shapeText = (shape) => (shape.length ? shape.join(" × ") : "scalar");

function bytesText(value) {
  value = digits(value, 3);
  for (const unit of ["B", "KB", "MB", "GB"]) {
    if (value < 1000) return `${digits(value, 3)} ${unit}`;
    value /= 1000;
  }
  return `${digits(value, 3)} TB`;
}

function secondsText(value) {
  value = digits(value, 3);
  for (const [unit, scale] of [["s", 1], ["ms", 1e-3], ["µs", 1e-6]]) {
    if (value >= scale) return `${digits(value / scale, 3)} ${unit}`;
  }
  return `${Math.round(value * 1e9)} ns`;
}

function gradientText(value) {
  if (typeof value === "string") return value; // What is not finite.
  const size = Math.abs(value);
  return size === 0 || (size >= 1e-3 && size < 1e5) ? String(digits(value, 2)) : value.toExponential(1);
}
