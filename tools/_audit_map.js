// The treemap, the path to what it shows, and the details beside it.

const root = tree();
let path = [root];
const map = el("div", { class: "map", role: "group", keydown: onKey });
const crumbs = el("ol", { class: "crumbs", "aria-label": "Where you are" });
const legend = el("ul", { class: "legend" });
const panel = el("aside", { class: "card panel", "aria-label": "Details" });
const said = el("div", { class: "said", "aria-live": "polite" });

function open(node) {
  path = [...path, node];
  show(true);
}

function climb(depth) {
  const left = path[depth + 1];
  path = path.slice(0, depth + 1);
  show(true, left);
}

function openLayer(name) {
  const node = root.children.find((c) => c.layer && c.layer.name === name);
  if (!node) return;
  path = [root, node];
  show(false);
  document.getElementById("map").scrollIntoView({ block: "start" });
}

function show(focus, left) {
  const here = path[path.length - 1];
  drawCrumbs();
  drawMap(here, focus, left);
  drawPanel(here);
  said.textContent = `${here.name}, ${count(here.bytes)} bytes, ${here.children.length} parts`;
}

function drawCrumbs() {
  crumbs.replaceChildren(...path.map((node, depth) =>
    el("li", {}, depth === path.length - 1
      ? el("span", { class: "name", "aria-current": "location" }, node.name)
      : el("button", { type: "button", class: "name", click: () => climb(depth) }, node.name))));
}

function drawMap(here, focus, left) {
  const [width, height] = [map.clientWidth, map.clientHeight];
  if (!width) return;
  const cells = folded(here.children, width * height).sort(bySize);
  const places = squarify(cells.map((c) => c.bytes), 0, 0, width, height);
  const made = cells.map((node, at) => cell(node, places[at], here));
  map.setAttribute("aria-label",
    `Treemap of ${here.name}. Arrow keys move, Enter opens, Escape goes back.`);
  map.replaceChildren(...made);
  if (!cells.length) map.append(el("p", { class: "empty" }, "Nothing is stored here."));
  const back = cells.findIndex((c) => c === left || (left && c.flat && c.children[0] === left.children[0]));
  const first = made[Math.max(0, back)];
  if (first) first.tabIndex = 0;
  if (first && focus) first.focus({ preventScroll: true });
  drawLegend(cells);
}

function cell(node, [x, y, w, h], here) {
  const leaf = !node.children.length;
  const share = percent(node.bytes / data.file.bytes);
  const label = `${node.name}, ${count(node.bytes)} bytes, ${share} of the file`;
  const made = el("button", {
    type: "button", class: leaf ? "cell leaf" : "cell", tabindex: -1, "aria-label": label,
    title: label, "aria-disabled": leaf ? "true" : null, click: () => { if (!leaf) open(node); },
  });
  Object.assign(made.style, {
    left: `${x}px`, top: `${y}px`, width: `${Math.max(1, w - 1.5)}px`,
    height: `${Math.max(1, h - 1.5)}px`, background: node.kind === "purpose" ? color(node.color) : shade(node),
  });
  if (w > 44 && h > 24) made.append(el("span", { class: "name" }, ending(node.name, (w - 20) / 7.5)));
  const size = [`${bytes(node.bytes)} · ${share}`, bytes(node.bytes)].find((s) => 7 * s.length < w - 18);
  if (size && h > 44) made.append(el("span", { class: "size" }, size));
  if (w <= 44 || h <= 24) made.style.padding = "0";
  return made;
}

/** The end of a name says most where there is no room for all of it. */
function ending(name, room) {
  return name.length > room ? `…${name.slice(1 - Math.floor(room))}` : name;
}

function drawLegend(cells) {
  if (measure && cells.some((node) => node.layer)) {
    const steps = Array.from({ length: STEPS }, (_, at) => dot(`var(--r${at})`));
    const ends = measure.sorted.length ? [measure.sorted[0], measure.sorted.at(-1)].map(measure.show) : ["–", "–"];
    legend.replaceChildren(el("li", {}, ends[0], ...steps, ends[1], ": a fifth of the layers each"),
      el("li", {}, dot(color(8)), "not measured"));
    return;
  }
  const groups = new Map();
  for (const node of cells) if (node.group) groups.set(node.group, node.color);
  legend.replaceChildren(...[...groups].map(([name, shade]) => el("li", {}, dot(color(shade)), name)));
}

function dot(background) {
  const made = el("span", { class: "dot" });
  made.style.background = background;
  return made;
}

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function onKey(event) {
  const move = MOVES[event.key];
  if (move) {
    const next = nearest(document.activeElement, move);
    if (next) focusCell(next);
    event.preventDefault();
  } else if ((event.key === "Escape" || event.key === "Backspace") && path.length > 1) {
    climb(path.length - 2);
    event.preventDefault();
  } else if (event.key === "Home" && map.firstChild) {
    focusCell(map.firstChild);
    event.preventDefault();
  }
}

function focusCell(next) {
  for (const each of map.children) each.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

/** The cell that is nearest in a direction; what lies straight ahead goes first. */
function nearest(from, [dx, dy]) {
  const a = from.getBoundingClientRect();
  let [best, least] = [null, Infinity];
  for (const other of map.children) {
    const b = other.getBoundingClientRect();
    const ahead = dx ? (dx > 0 ? b.left - a.right : a.left - b.right) : (dy > 0 ? b.top - a.bottom : a.top - b.bottom);
    if (other === from || ahead < -1) continue;
    const aside = dx
      ? Math.max(0, b.top - a.bottom, a.top - b.bottom) + 0.01 * Math.abs(b.top - a.top)
      : Math.max(0, b.left - a.right, a.left - b.right) + 0.01 * Math.abs(b.left - a.left);
    if (ahead + 4 * aside < least) [best, least] = [other, ahead + 4 * aside];
  }
  return best;
}

/* ---- details ---- */

function drawPanel(here) {
  const parts = here.kind === "file" ? data.purposes.map(([name, size]) => [name, size])
    : here.children.map((c) => [c.name, c.bytes]).slice(0, 40);
  const body = [el("h3", { class: "name" }, here.kind === "file" ? "all of the file" : here.name)];
  body.push(el("p", { class: "soft small" }, `${count(here.bytes)} B · ${percent(here.bytes / data.file.bytes)} of the file`));
  if (here.layer) body.push(layerRows(here.layer));
  if (here.kind !== "group") body.push(stack(parts, here.bytes), purposeList(parts, here.bytes));
  if (here.layer) body.push(...(here.layer.tensors || []).map((index) => tensorBlock(data.tensors[index])));
  panel.replaceChildren(...body);
  panel.scrollTop = 0;
}

function stack(parts, total) {
  const made = el("div", { class: "stack", "aria-hidden": "true" });
  for (const [name, size] of parts.filter(([, n]) => n > 0)) {
    const part = el("span", { title: `${name} ${bytes(size)}` });
    Object.assign(part.style, { flex: `${size / total} 0 0`, background: color(purposeColor(name.split(" ")[0])) });
    made.append(part);
  }
  return made;
}

function purposeList(parts, total) {
  return el("ul", { class: "purposes" }, ...parts.filter(([, n]) => n > 0).map(([name, size]) =>
    el("li", {}, dot(color(purposeColor(name.split(" ")[0]))), el("span", {}, name.replaceAll("_", " ")),
      el("span", { class: "num" }, bytes(size)), el("span", { class: "num soft" }, percent(size / total)))));
}

function rows(pairs) {
  const made = el("dl", { class: "rows" });
  for (const [label, value] of pairs) if (known(value)) made.append(el("dt", {}, label), el("dd", {}, value));
  return made;
}

function layerRows(layer) {
  const costs = data.compute ? data.compute.layers.filter((r) => r.name === layer.name) : [];
  const macs = costs.every((r) => !known(r.macs)) ? null : sum(costs, (r) => r.macs || 0);
  const skipped = sum(costs, (r) => r.skipped || 0);
  return rows([
    ["operator", layer.op], ["elements", known(layer.elements) ? count(layer.elements) : null],
    ["output", costs.length ? costs[0].out : null], ["MACs", macs ? count(macs) : null],
    ["skipped by zeros", skipped ? `${count(skipped)} (${percent(skipped / macs)})` : null],
  ]);
}

function tensorBlock(t) {
  const zeros = known(t.zeros) && t.elements ? `${count(t.zeros)} (${percent(t.zeros / t.elements)})` : null;
  const rooms = [t.layout, t.values, t.coder].filter(known).join(" · ").toLowerCase() || null;
  return el("div", { class: "tensor" }, named(t.name || "", "h3"), t.histogram ? histogram(t) : null,
    rows([
      ["role", t.role], ["shape", t.shape], ["type", (t.number && t.number !== t.dtype ? `${t.number} for ` : "") + t.dtype],
      ["stored as", rooms], ["bytes", count(t.bytes)], ["same as", known(t.tied_to) ? data.tensors[t.tied_to].name : null],
      ["bits an element", known(t.bits_per_element) ? plain(t.bits_per_element) : null],
      ["over entropy", known(t.efficiency) ? `${t.efficiency.toFixed(3)} ×` : null],
      ["zeros", zeros], ["distinct values", known(t.distinct) ? count(t.distinct) : null], ["levels", t.levels],
      ["format", t.q_format], ["largest error", known(t.largest_error) ? plain(t.largest_error) : null],
      ["status", t.status === "ok" ? null : `${t.status}: ${t.reason || ""}`],
    ]));
}

/** Places from 0 to 1000: each digit is a step, the last digit goes on without a mark. */
function marksOf(digits) {
  const places = [];
  let at = 0;
  for (const digit of digits) {
    const step = DIGITS.indexOf(digit);
    at += step;
    if (step < TOP) places.push(at);
  }
  return places;
}

/** Counts as bars, levels as ticks below them, zero as a dashed line. */
function histogram(t) {
  const heights = [...t.histogram].map((digit) => (100 * DIGITS.indexOf(digit)) / TOP);
  const width = 1000 / heights.length;
  const bars = heights.map((h, at) => (h ? `M${(at * width).toFixed(1)} 100v${(-h).toFixed(1)}h${(width * 0.86).toFixed(1)}v${h.toFixed(1)}z` : "")).join("");
  const places = marksOf(t.marks || "");
  const marks = places.map((at) => `M${at} 106v12`).join("");
  const drawing = svg("svg", { class: "histogram", viewBox: "0 0 1000 120", preserveAspectRatio: "none", role: "img",
    "aria-label": `Values of ${t.name} from ${plain(t.low)} to ${plain(t.high)}${marks ? `, ${places.length} levels marked` : ""}` });
  drawing.append(svg("path", { class: "bars", d: bars }));
  drawing.append(svg("path", { class: "axis", d: "M0 102h1000", "vector-effect": "non-scaling-stroke" }));
  if (marks) drawing.append(svg("path", { class: "marks", d: marks, "vector-effect": "non-scaling-stroke" }));
  if (t.low < 0 && t.high > 0) {
    const zero = (-1000 * t.low) / (t.high - t.low);
    drawing.append(svg("path", { class: "zero", d: `M${zero.toFixed(1)} 0v100`, "vector-effect": "non-scaling-stroke" }));
  }
  return el("div", {}, drawing, el("div", { class: "ends" }, el("span", {}, plain(t.low)),
    el("span", {}, marks ? `${known(t.levels) ? t.levels : places.length} levels` : ""), el("span", {}, plain(t.high))));
}
