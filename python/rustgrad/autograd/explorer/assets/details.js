// The panel with the details of what is chosen.
"use strict";

const MOST = 40; // Links of a section.

const section = (title, body) => (body ? `<h3>${title}</h3>${body}` : "");
const rowOf = (left, right) => `<tr><td>${left}</td><td>${right}</td></tr>`;
const small = (text) => `<small>${escape(text)}</small>`;
const factsOf = (facts) => `<dl>${facts.map(([name, value]) => `<dt>${escape(name)}</dt><dd>${escape(value)}</dd>`).join("")}</dl>`;

const link = (id, extra = items[id].line) =>
  `<button class="link" data-go="${id}"><i style="background:var(--${items[id].family})"></i>` +
  `<b>${escape(nameOf(id))}</b><span>${escape(extra)}</span></button>`;

const note = (text) => `<p class="note">${text}</p>`;

function headOf(title, tags) {
  return `<header><h2>${escape(title)}</h2><button class="close" data-close aria-label="Close">×</button></header>` +
    `<div class="tags">${tags.filter(Boolean).join("")}</div>`;
}

/** Shows the details of what is chosen, or nothing. */
function details() {
  const panel = $("details");
  panel.hidden = chosen < 0;
  document.querySelector("main").classList.toggle("beside", chosen >= 0);
  if (chosen < 0) return;
  panel.innerHTML = isGroup(chosen) ? groupDetails(chosen) : nodeDetails(chosen);
  panel.scrollTop = 0;
}

function tagsOf(id) {
  const { family, name, label, mark, freed, leaf } = graph.nodes[id];
  return [
    `<span><i style="background:var(--${family})"></i>${family}</span>`,
    `<span>${escape(name)}</span>`,
    roots.has(id) && `<span>output${label && !leaf ? ` ${escape(label)}` : ""}</span>`,
    mark && `<span>${mark}</span>`,
    freed && '<span class="warn">freed by a backward</span>',
  ];
}

function outputsOf({ outputs }) {
  const name = (i) => (outputs.length > 1 ? `output ${i}` : "output");
  return `<table>${outputs.map(([shape, dtype], i) => rowOf(name(i), escape(shapeText(shape)) + small(dtype))).join("")}</table>`;
}

function inputsOf({ inputs }) {
  const known = inputs.filter(Boolean), missing = inputs.length - known.length;
  const links = known.map(([id, output]) => {
    const { outputs } = graph.nodes[id];
    return link(id, outputs.length > 1 ? `output ${output}` : shapeText(outputs[output][0]));
  });
  return links.join("") + (missing && known.length ? note(`and ${count(missing, "input")} without a gradient`) : "");
}

function usersOf(id) {
  const all = consumers[id], more = all.length - MOST;
  return all.slice(0, MOST).map((user) => link(user)).join("") + (more > 0 ? note(`and ${thousands(more)} more`) : "");
}

function savedOf({ saved = [] }) {
  const rows = saved.map(([name, shape, dtype, bytes, leaf]) => rowOf(
    escape(name) + small(shape === null ? "packed by hooks" : `${shapeText(shape)} ${dtype}`),
    (bytes === null ? "?" : bytesText(bytes)) + (leaf ? small("a leaf's, in memory anyway") : ""),
  ));
  return rows.length ? `<table>${rows.join("")}</table>` : "";
}

function nodeDetails(id) {
  const node = graph.nodes[id];
  const facts = [
    node.module !== undefined && ["module", node.module],
    node.seconds !== undefined && ["time of its backward", secondsText(node.seconds)],
    node.gradient !== undefined && [node.leaf ? "norm of its gradient" : "norm of what arrives", gradientText(node.gradient)],
    ["recorded as number", node.number],
    ...(node.arguments || []),
  ].filter(Boolean);
  return headOf((node.leaf && node.label) || node.title, tagsOf(id)) +
    section("Recorded at", node.site && `<p>${escape(node.site)}</p>${node.source ? `<pre>${escape(node.source)}</pre>` : ""}`) +
    section(node.outputs.length > 1 ? "Outputs" : "Output", outputsOf(node)) +
    section("Inputs", inputsOf(node)) +
    section("Used by", usersOf(id)) +
    section("Saved for backward", savedOf(node)) +
    section("Recorded by the backward of", node.origin !== undefined && link(node.origin)) +
    section("Facts", factsOf(facts));
}

function groupDetails(item) {
  const { title, kind, type, path, bytes = 0, seconds, gradient, count: ops } = items[item];
  const facts = [
    ["ops", thousands(ops)],
    ["saved for backward", bytesText(bytes)],
    seconds !== undefined && ["time of its backward", secondsText(seconds)],
    gradient !== undefined && ["largest gradient norm", gradientText(gradient)],
  ].filter(Boolean);
  const bytesOf = (id) => graph.nodes[id].bytes || 0;
  const heavy = inside(item - N).filter(bytesOf).sort((a, b) => bytesOf(b) - bytesOf(a)).slice(0, 6);
  return headOf(title, [`<span>${kind === "module" ? escape(type) : "repeated"}</span>`, path && `<span>${escape(path)}</span>`]) +
    `<button class="action" data-toggle="${item}">${opened.has(item - N) ? "Close" : "Open"}</button>` +
    section("Facts", factsOf(facts)) +
    section("What saves most", heavy.map((id) => link(id, bytesText(bytesOf(id)))).join(""));
}

$("details").addEventListener("click", (event) => {
  const target = event.target.closest("[data-go],[data-close],[data-toggle]");
  if (!target) return;
  if (target.dataset.go) goTo(Number(target.dataset.go));
  else if (target.dataset.toggle) toggle(Number(target.dataset.toggle));
  else choose(-1);
});
