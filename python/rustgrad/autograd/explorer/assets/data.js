// The graph, and what is looked up in it. Items are nodes, then groups.
"use strict";

const $ = (id) => document.getElementById(id);
const graph = JSON.parse($("data").textContent);
const N = graph.nodes.length;
const hidden = new Set(graph.hidden), roots = new Set(graph.roots);
const opened = new Set(graph.open);
const parentOf = new Int32Array(N + graph.groups.length).fill(-1);
const consumers = Array.from({ length: N }, () => []);

graph.groups.forEach((group, g) => {
  for (const item of group.items) parentOf[item] = g;
  group.portOf = new Map(group.ports.map(([node, out], i) => [2 * node + (out ? 1 : 0), group.items.length + i]));
});
graph.nodes.forEach((node, id) => {
  node.inputs = node.inputs || [];
  for (const edge of node.inputs) if (edge && consumers[edge[0]].at(-1) !== id) consumers[edge[0]].push(id);
});

const items = [...graph.nodes, ...graph.groups];
const isGroup = (item) => item >= N;
const nameOf = (item) => {
  const { title, aside, leaf } = items[item];
  return aside && !leaf ? `${title} ${aside}` : title;
};

/** The groups around an item, inner ones first. */
function ancestors(item) {
  const found = [];
  for (let g = parentOf[item]; g >= 0; g = parentOf[N + g]) found.push(N + g);
  return found;
}

/** The nodes in a group. */
function inside(g) {
  return graph.groups[g].items.flatMap((item) => (isGroup(item) ? inside(item - N) : [item]));
}
