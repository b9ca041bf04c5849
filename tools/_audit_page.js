// The page of tools/_audit_html.py: its data, words and colours. Then _audit_map.js, _audit_table.js.
// Text from the report enters as text nodes only.

const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"; // as in _audit_html.py
const TOP = DIGITS.length - 1;
const KIB = 1024;
const MIN_AREA = 620; // px²: what is smaller is shown in groups
const GROUP = 150; // parts in a group
const FAMILIES = [
  [/Conv/, "convolutions", 0], [/Gemm|MatMul|FullyConnected/, "dense layers", 4],
  [/LSTM|GRU|RNN|Scan|Loop/, "recurrent layers", 1], [/Gather|Embed/, "embeddings", 5],
  [/Norm/, "norms", 2], [/Attention/, "attention", 3],
];
const PURPOSES = [ // by colour; the rest is grey
  ["symbols", "frames"], ["gaps", "runs"], ["scales"], ["record"], ["graph"], ["codebook"], ["huffman"],
  ["offsets", "classes"], [], ["names", "hashes", "metadata", "fixed"],
];
const OTHER = ["other tensors", 7];
const CONTAINER = ["container", 8];

/** Make an element: properties by name, handlers as functions, children as nodes or text. */
function el(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties || {})) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function svg(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const named = (text, tag = "span") => el(tag, { class: "name", title: text }, text);
const count = (n) => n.toLocaleString("en-US");
const percent = (x) => `${(100 * x).toFixed(x < 0.0995 ? 2 : 1)} %`;
const plain = (x) => String(Number(x.toPrecision(4)));
const known = (x) => x !== null && x !== undefined;
const color = (index) => `var(--c${index % 10})`;
const sum = (list, of) => list.reduce((total, item) => total + of(item), 0);

/** Three digits and a unit. */
function scaled(n, step, units) {
  let at = 0;
  for (; Math.abs(n) >= step && at < units.length - 1; at++) n /= step;
  if (!at) return `${count(n)} ${units[0]}`.trim();
  return `${n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0)} ${units[at]}`;
}
const bytes = (n) => scaled(n, KIB, ["B", "KiB", "MiB", "GiB"]);
const amount = (n) => scaled(n, 1000, ["", "k", "M", "G", "T"]);
const purposeColor = (name) => {
  const at = PURPOSES.findIndex((names) => names.includes(name));
  return at < 0 ? 8 : at;
};

/* ---- the tree: model, layers, purposes ---- */

function family(op) {
  const found = FAMILIES.find(([pattern]) => op && pattern.test(op));
  return found ? found.slice(1) : OTHER;
}

function purposesOf(owner) {
  return Object.entries(owner.purposes || {}).filter(([, size]) => size > 0).map(([name, size]) => ({
    name, bytes: size, kind: "purpose", color: purposeColor(name), children: [],
  }));
}

function layerNode(layer) {
  const [group, shade] = family(layer.op);
  return {
    name: layer.name || "", bytes: layer.bytes, kind: "layer", layer, group, color: shade,
    children: purposesOf(layer).sort(bySize),
  };
}

function containerNode() {
  const parts = data.frame.map((row) => ({
    name: row.name, bytes: row.bytes, kind: "purpose", color: purposeColor(row.purpose),
    users: row.users, children: [],
  }));
  return {
    name: "container", bytes: sum(parts, (p) => p.bytes), kind: "container", group: CONTAINER[0],
    color: CONTAINER[1], children: parts.sort(bySize),
  };
}

const bySize = (a, b) => b.bytes - a.bytes;

function tree() {
  const children = [...data.layers.map(layerNode), containerNode()];
  children.forEach((child, at) => { child.at = at; });
  return { name: data.file.name, bytes: data.file.bytes, kind: "file", children: children.sort(bySize) };
}

/** What is too small for its own cell, in groups of parts of like size. */
function folded(children, area) {
  const total = sum(children, (c) => c.bytes);
  const shown = children.filter((c) => c.bytes > 0);
  const first = shown.findIndex((c) => (c.bytes / total) * area < MIN_AREA);
  if (first < 0 || shown.length - first < 3) return shown;
  const rest = shown.slice(first);
  const size = rest.length <= 1.5 * GROUP ? rest.length : GROUP;
  const groups = [];
  for (let start = 0; start < rest.length; start += size) {
    const parts = rest.slice(start, start + size);
    const what = parts[0].kind === "purpose" ? "parts" : "layers";
    const from = 1 + shown.slice(0, first + start).filter((c) => c.kind !== "container").length;
    const to = from + parts.filter((c) => c.kind !== "container").length - 1;
    groups.push({
      name: rest.length > size ? `${what} ${from} – ${to}` : `${parts.length} smaller ${what}`, kind: "group",
      bytes: sum(parts, (p) => p.bytes), color: 8, children: parts, flat: true,
    });
  }
  return [...shown.slice(0, first), ...groups];
}

/** Squarified treemap: rectangles [x, y, w, h] for sizes in falling order. */
function squarify(sizes, x, y, w, h) {
  const found = [];
  let left = sum(sizes, (s) => s);
  let at = 0;
  while (at < sizes.length) {
    const side = Math.min(w, h);
    const scale = (w * h) / left;
    let row = [sizes[at]];
    let best = worst(row, scale, side);
    while (at + row.length < sizes.length) {
      const next = [...row, sizes[at + row.length]];
      const ratio = worst(next, scale, side);
      if (ratio > best) break;
      row = next;
      best = ratio;
    }
    const total = sum(row, (s) => s);
    const depth = (total * scale) / side;
    let along = 0;
    for (const size of row) {
      const length = (size / total) * side;
      found.push(w < h ? [x + along, y, length, depth] : [x, y + along, depth, length]);
      along += length;
    }
    if (w < h) { y += depth; h -= depth; } else { x += depth; w -= depth; }
    left -= total;
    at += row.length;
  }
  return found;
}

function worst(row, scale, side) {
  const area = sum(row, (s) => s) * scale;
  const thick = area / side;
  return Math.max(...row.map((s) => Math.max(thick / ((s * scale) / thick), ((s * scale) / thick) / thick)));
}

/* ---- colours by a measure ---- */

const tensorsOf = (layer) => (layer.tensors || []).map((index) => data.tensors[index]);
const ratio = (list, top, bottom) => {
  const parts = list.filter((t) => known(top(t)) && t.elements);
  return parts.length ? sum(parts, top) / sum(parts, bottom) : null;
};
const MEASURES = {
  kind: null,
  "bits an element": { of: (l) => ratio(tensorsOf(l), (t) => 8 * t.bytes, (t) => t.elements), show: plain },
  zeros: { of: (l) => ratio(tensorsOf(l), (t) => t.zeros, (t) => t.elements), show: percent },
  "over entropy": { of: (l) => Math.max(...tensorsOf(l).map((t) => t.efficiency || 0)) || null, show: plain },
};
const STEPS = 5;
let measure = null;

/** Take the measure of every layer; each colour stands for a fifth of them. */
function choose(name) {
  measure = MEASURES[name];
  if (measure && !measure.values) {
    measure.values = new Map(data.layers.map((layer) => [layer, measure.of(layer)]));
    measure.sorted = [...measure.values.values()].filter(known).sort((a, b) => a - b);
  }
  drawMap(path[path.length - 1], false);
}

function shade(node) {
  if (!measure || !node.layer) return color(measure ? 8 : node.color);
  const value = measure.values.get(node.layer);
  if (!known(value)) return color(8);
  const below = measure.sorted.findIndex((other) => other >= value);
  return `var(--r${Math.floor((STEPS * below) / measure.sorted.length)})`;
}

function chooser() {
  const made = el("select", { "aria-label": "Colour layers by", change: () => choose(made.value) },
    ...Object.keys(MEASURES).map((name) => el("option", {}, name)));
  return el("label", { class: "shade" }, "colour by", made);
}
