// Opening and closing groups, and choosing items.
"use strict";

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
  say(`${items[item].title} ${open ? "opened" : "closed"}`);
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

function say(text) { $("say").textContent = text; }

function choose(item, look = true) {
  chosen = item;
  const stands = item < 0 ? -1 : standIn(item);
  details();
  mark();
  if (item < 0) return;
  if (look) reveal(stands);
  else uncover(stands);
  say(sentence(item));
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
