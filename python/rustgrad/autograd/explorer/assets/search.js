// The search for nodes.
"use strict";

const LISTED = 60; // Matches that are listed.
let at = -1; // The match that was visited last.

const haystacks = graph.nodes.map((node) => [
  node.title, node.leaf ? "" : node.name, node.label, node.aside, node.module, node.site, node.family,
  ...node.outputs.map(([shape, dtype]) => `${shape.join("×")} ${shape.join("x")} [${shape.join(",")}] ${dtype}`),
].filter(Boolean).join(" ").toLowerCase());

/** The words of a query; a shape is one: "128 x 32", "[128, 32]". */
function wordsOf(query) {
  const shapes = query.toLowerCase().replace(/(\d)\s*[x×]\s*(?=\d)/g, "$1×").replace(/,\s+(?=\d)/g, ",");
  return shapes.split(/\s+/).filter(Boolean);
}

function search(query) {
  const words = wordsOf(query), list = $("results");
  const found = (id) => words.every((word) => haystacks[id].includes(word));
  hits = words.length ? [...graph.nodes.keys()].filter(found) : null;
  at = -1;
  list.hidden = !hits;
  $("query").setAttribute("aria-expanded", String(Boolean(hits)));
  $("query").removeAttribute("aria-activedescendant");
  if (hits) {
    const more = hits.length - LISTED, last = !hits.length ? "Nothing found" : more > 0 ? `and ${thousands(more)} more` : "";
    list.innerHTML = hits.slice(0, LISTED).map(match).join("") + (last && `<li class="note">${last}</li>`);
    say(count(hits.length, "match", "matches"));
  }
  mark();
}

/** A line of the list. */
function match(id, i) {
  const { module, site, phase, name, line, family } = graph.nodes[id];
  const where = [module, site && site.split("/").at(-1), phase ? graph.phases[phase] : ""].filter(Boolean).join(" · ");
  return `<li role="option" id="hit${i}" aria-selected="false" data-hit="${i}"><i style="background:var(--${family})"></i>` +
    `<b>${escape(nameOf(id))}</b><span>${escape(line)}</span><small>${escape(where || name)}</small></li>`;
}

/** Goes to a match, the first after the last. */
function visit(i) {
  if (!hits || !hits.length) return;
  at = (i + hits.length) % hits.length;
  for (const row of document.querySelectorAll("#results [data-hit]")) {
    const on = Number(row.dataset.hit) === at;
    row.setAttribute("aria-selected", String(on));
    if (on) row.scrollIntoView({ block: "nearest" });
  }
  if (at < LISTED) $("query").setAttribute("aria-activedescendant", `hit${at}`);
  else $("query").removeAttribute("aria-activedescendant");
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
