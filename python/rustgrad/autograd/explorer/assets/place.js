// Coordinates of boxes in boxes: what layout.place() does, for each view of the page.
"use strict";

const GAP = 26, WIRE_GAP = 14, LAYER_GAP = 34, PADDING = 18, HEADER = 34, PHASE_GAP = 90;

/** Places all groups that are open. `sizes[item]` is [width, height]; returns one part a group. */
function place(graph, opened, sizes) {
  const n = graph.nodes.length, parts = new Map(), order = [], todo = [0];
  while (todo.length) {
    const g = todo.pop();
    order.push(g);
    for (const item of graph.groups[g].items) if (item >= n && opened.has(item - n)) todo.push(item - n);
  }
  const known = new Map();
  for (const g of order.reverse()) {
    const phased = g === 0 && graph.phases.length > 1;
    parts.set(g, phased ? sideBySide(graph, parts) : placeOne(graph, g, parts, sizes, known));
  }
  return parts;
}

function sideBySide(graph, parts) {
  const n = graph.nodes.length, inner = graph.groups[0].items.map((item) => parts.get(item - n));
  let at = 0;
  const x = inner.map((part) => {
    const middle = at + part.width / 2;
    at += part.width + PHASE_GAP;
    return middle;
  });
  return {
    width: at - PHASE_GAP, height: Math.max(...inner.map((part) => part.height)), x,
    y: inner.map(() => 0), heights: inner.map((part) => part.height),
    widths: inner.map((part) => part.width), offsets: [],
  };
}

function placeOne(graph, g, parts, sizes, known) {
  const n = graph.nodes.length, group = graph.groups[g], shape = graph.shapes[group.shape];
  const items = group.items.length, ports = group.ports.length;
  const inner = group.items.map((item) => (item >= n && parts.get(item - n)) || null);
  const widths = inner.map((part, i) => (part ? part.width : sizes[group.items[i]][0]));
  const tall = inner.map((part, i) => (part ? part.height : sizes[group.items[i]][1]));
  const offset = (cell, node, out) => {
    const part = cell < items ? inner[cell] : null;
    if (!part) return 0;
    const port = graph.groups[group.items[cell] - n].portOf.get(2 * node + (out ? 1 : 0));
    return part.x[port] - part.width / 2;
  };
  const offsets = group.ends.map(([s, t, u]) => [offset(s, u, true), offset(t, u, false)]);
  const framed = group.kind !== "graph" && group.kind !== "phase", least = sizes[n + g][0];
  const key = [group.shape, group.flip, framed, least, widths, tall, offsets].join(";");
  if (known.has(key)) return known.get(key);

  const half = new Float64Array(shape.cells);
  widths.forEach((w, i) => { half[i] = w / 2; });
  const x = columns(shape, group.ends, items + ports, half, offsets);
  let left = Infinity, right = -Infinity;
  for (let c = 0; c < shape.cells; c++) {
    left = Math.min(left, x[c] - half[c]);
    right = Math.max(right, x[c] + half[c]);
  }
  if (!shape.cells) left = right = 0;
  const pad = framed ? PADDING : 0, width = Math.max(right - left + 2 * pad, least);
  const shift = (width - (right - left)) / 2 - left;
  for (let c = 0; c < shape.cells; c++) x[c] += shift;

  let [begin, end] = framed ? [HEADER, PADDING] : [0, 0];
  if (group.flip) [begin, end] = [end, begin];
  const y = new Float64Array(shape.cells), heights = new Float64Array(shape.cells);
  let at = begin;
  for (const layer of shape.layers) {
    if (layer.every((c) => c >= items && c < items + ports)) continue;
    let tallest = 0;
    for (const c of layer) if (c < items) tallest = Math.max(tallest, tall[c]);
    for (const c of layer) {
      heights[c] = c < items ? tall[c] : tallest;
      y[c] = at + (tallest - heights[c]) / 2;
    }
    at += tallest + LAYER_GAP;
  }
  const height = Math.max(at - LAYER_GAP + end, 0);
  group.ports.forEach(([, out], i) => { y[items + i] = out ? height : 0; });
  if (group.flip) for (let c = 0; c < shape.cells; c++) y[c] = height - y[c] - heights[c];
  const part = { width, height, x, y, heights, widths, offsets };
  known.set(key, part);
  return part;
}

function columns(shape, ends, base, half, offsets) {
  const lists = () => Array.from({ length: shape.cells }, () => []);
  const above = lists(), below = lists();
  const link = (upper, lower, aside, weight) => {
    above[lower].push([upper, aside, weight]);
    below[upper].push([lower, -aside, weight]);
  };
  const leaving = new Map();
  ends.forEach((_, i) => {
    const way = shape.ways[i];
    if (way && way[1]) leaving.set(way[0], offsets[i][0]);
  });
  for (const [source, first, turns] of shape.trunks) {
    link(source, first, leaving.get(first), 3);
    for (let turn = first + 1; turn < first + turns; turn++) link(turn - 1, turn, 0, 8);
  }
  ends.forEach(([source, target], i) => {
    const way = shape.ways[i];
    if (!way) return;
    if (way[1]) link(way[0] + way[1] - 1, target, -offsets[i][1], 3);
    else link(source, target, offsets[i][0] - offsets[i][1], 1);
  });
  const x = new Float64Array(shape.cells);
  const down = shape.layers.map((layer) => {
    const steps = [];
    let at = 0;
    for (let i = 0; i < layer.length; i++) {
      x[layer[i]] = at;
      if (i + 1 < layer.length) {
        const gap = layer[i] < base && layer[i + 1] < base ? GAP : WIRE_GAP;
        steps.push(half[layer[i]] + half[layer[i + 1]] + gap);
        at += steps[i];
      }
    }
    for (const cell of layer) x[cell] -= at / 2;
    return [layer, steps];
  });
  const up = down.slice().reverse(), both = above.map((near, c) => near.concat(below[c]));
  const sweeps = [];
  for (let i = shape.cells < 3000 ? 6 : 1; i > 0; i--) sweeps.push([above, down], [below, up]);
  sweeps.push([both, down]);
  for (const [side, direction] of sweeps) {
    for (const [layer, steps] of direction) {
      const want = [], weights = [];
      for (const cell of layer) {
        let total = 0, moment = 0;
        for (const [other, aside, weight] of side[cell]) {
          total += weight;
          moment += weight * (x[other] + aside);
        }
        want.push(total ? moment / total : x[cell]);
        weights.push(total || 0.05);
      }
      settle(layer, want, weights, steps, x);
    }
  }
  straighten(above, below, down, x);
  return x;
}

/** Makes chains straight. */
function straighten(above, below, down, x) {
  const cells = x.length, zeros = () => new Float64Array(cells);
  const chain = Int32Array.from(x, (_, c) => c), aside = zeros(), at = zeros(), waits = zeros();
  const want = x.slice(), count = zeros().fill(1);
  for (const [layer] of down) {
    let last = -1;
    layer.forEach((cell, i) => {
      at[cell] = i;
      const near = above[cell].length > 1 ? above[cell].filter(([upper]) => above[upper].length) : above[cell];
      if (near.length !== 1) return;
      const [upper, shift] = near[0];
      if (below[upper].length !== 1 || at[upper] <= last) return;
      last = at[upper];
      const head = chain[upper];
      chain[cell] = head;
      aside[cell] = aside[upper] + shift;
      want[head] += x[cell] - aside[cell];
      count[head] += 1;
    });
  }
  const follows = Array.from({ length: cells }, () => []);
  for (const [layer, steps] of down) {
    steps.forEach((step, i) => {
      const [left, right] = [layer[i], layer[i + 1]];
      follows[chain[left]].push([chain[right], step + aside[left] - aside[right]]);
      waits[chain[right]] += 1;
    });
  }
  const order = [];
  for (let c = 0; c < cells; c++) if (chain[c] === c && !waits[c]) order.push(c);
  for (const cell of order) {
    for (const [other] of follows[cell]) {
      waits[other] -= 1;
      if (!waits[other]) order.push(other);
    }
  }
  const rightmost = want.map((w, c) => w / count[c]), leftmost = new Float64Array(cells);
  for (let c = 0; c < cells; c++) {
    if (above[c].length || below[c].length !== 1) continue;
    const lower = below[c][0][0];
    if (chain[lower] !== c) rightmost[c] = rightmost[chain[lower]] + aside[lower] + x[c] - x[lower];
  }
  leftmost.set(rightmost);
  for (const cell of order) {
    for (const [other, step] of follows[cell]) rightmost[other] = Math.max(rightmost[other], rightmost[cell] + step);
  }
  for (const cell of order.reverse()) {
    for (const [other, step] of follows[cell]) leftmost[cell] = Math.min(leftmost[cell], leftmost[other] - step);
  }
  for (let c = 0; c < cells; c++) x[c] = (leftmost[chain[c]] + rightmost[chain[c]]) / 2 + aside[c];
}

/** Least squares at the distances that cells need: isotonic regression. */
function settle(layer, want, weights, steps, x) {
  const blocks = [];
  let shift = 0;
  for (let i = 0; i < layer.length; i++) {
    let mean = want[i] - shift, w = weights[i], count = 1;
    while (blocks.length && blocks[blocks.length - 1][0] >= mean) {
      const [other, weight, many] = blocks.pop();
      mean = (other * weight + mean * w) / (weight + w);
      w += weight;
      count += many;
    }
    blocks.push([mean, w, count]);
    if (i < steps.length) shift += steps[i];
  }
  let i = 0;
  shift = 0;
  for (const [mean, , count] of blocks) {
    for (let k = 0; k < count; k++, i++) {
      x[layer[i]] = mean + shift;
      if (i < steps.length) shift += steps[i];
    }
  }
}

/** A smooth path that starts and ends upright; points with the same x are joined straight. */
function curve(points) {
  const f = (v) => Math.round(v * 10) / 10;
  let [x0, y0] = points[0], d = `M${f(x0)} ${f(y0)}`;
  for (const [x1, y1] of points.slice(1)) {
    if (Math.abs(x0 - x1) < 0.5) d += `L${f(x0)} ${f(y1)}`;
    else {
      const half = f((y0 + y1) / 2);
      d += `C${f(x0)} ${half} ${f(x1)} ${half} ${f(x1)} ${f(y1)}`;
      x0 = x1;
    }
    y0 = y1;
  }
  return d;
}

/** All boxes that are seen, outer ones first, and all wires, in the coordinates of the picture. */
function scene(graph, opened, sizes) {
  const n = graph.nodes.length, parts = place(graph, opened, sizes);
  const boxes = [], wires = [], todo = [[0, 0, 0]];
  while (todo.length) {
    const [g, left, top] = todo.pop(), part = parts.get(g), group = graph.groups[g];
    group.items.forEach((item, cell) => {
      const w = part.widths[cell], x = left + part.x[cell] - w / 2, y = top + part.y[cell];
      const open = item >= n && opened.has(item - n);
      boxes.push({ item, x, y, w, h: part.heights[cell], open, parent: g });
      if (open) todo.push([item - n, x, y]);
    });
    if (group.shape >= 0) addWires(graph, group, part, left, top, opened, wires);
  }
  return { boxes, wires, width: parts.get(0).width, height: parts.get(0).height };
}

function addWires(graph, group, part, left, top, opened, wires) {
  const n = graph.nodes.length, shape = graph.shapes[group.shape], items = group.items.length;
  const low = (c) => top + part.y[c] + part.heights[c], high = (c) => top + part.y[c];
  const leave = (c, aside) => [left + part.x[c] + aside, group.flip ? high(c) : low(c)];
  const enter = (c, aside) => [left + part.x[c] + aside, group.flip ? low(c) : high(c)];
  const closed = (c) => c < items && !(group.items[c] >= n && opened.has(group.items[c] - n));
  const through = (way, points) => {
    for (let turn = way[0]; turn < way[0] + way[1]; turn++) points.push(enter(turn, 0), leave(turn, 0));
  };
  const trunks = new Map(shape.trunks.map((trunk) => [trunk[1], trunk])), drawn = new Set();
  group.ends.forEach(([source, target, node], i) => {
    const way = shape.ways[i], [leaves, reaches] = part.offsets[i];
    const bent = way && way[1], start = leave(source, leaves), end = enter(target, reaches);
    if (bent && trunks.has(way[0])) {
      const points = [start], trunk = trunks.get(way[0]);
      through([trunk[1], trunk[2]], points);
      wires.push({ points, arrow: false, node, to: -1, from: group.items[source] ?? -1 });
      trunks.delete(way[0]);
    }
    const tail = [bent ? leave(way[0] + way[1] - 1, 0) : start, end];
    // Made when asked for: the ways of all wires together may be long.
    const whole = () => {
      const points = [start];
      if (bent) through(way, points);
      return [...points, end];
    };
    const key = tail.join();
    wires.push({
      points: tail, whole, arrow: closed(target), node, far: way === null, again: drawn.has(key),
      from: source < items ? group.items[source] : -1, to: target < items ? group.items[target] : -1,
      out: target >= items,
    });
    drawn.add(key);
  });
}
