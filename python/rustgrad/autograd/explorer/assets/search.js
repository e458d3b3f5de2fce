// The search for nodes.
"use strict";

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
      return `<li role="option" id="hit${i}" aria-selected="false" data-hit="${i}"><i style="background:var(--${node.family})"></i><b>${escape(nameOf(id))}</b><span>${escape(node.line)}</span><small>${escape(place || node.name)}</small></li>`;
    });
    const note = hits.length ? (hits.length > 60 ? `and ${hits.length - 60} more` : "") : "Nothing found";
    list.innerHTML = rows.join("") + (note ? `<li class="note">${note}</li>` : "");
    say(count(hits.length, "match", "matches"));
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
