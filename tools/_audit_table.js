// Tables to sort and to filter, the head of the page, and its beginning.

const PAGE = 200; // rows that are shown at first

/** A table of rows; a column has a title, what it sorts by, and how it is shown. */
function table(label, columns, all, first) {
  const state = { column: first, down: true, filter: "", limit: PAGE };
  const body = el("tbody");
  const more = el("button", { type: "button", class: "more", click: () => { state.limit = Infinity; draw(); } });
  const tally = el("span", { class: "soft small", role: "status" });
  const heads = columns.map((column, at) => el("th", { scope: "col", class: column.text ? "text" : null },
    el("button", { type: "button", click: () => sort(at) }, column.title, el("span", { class: "arrow", "aria-hidden": "true" }))));

  function sort(at) {
    state.down = state.column === at ? !state.down : !columns[at].text;
    state.column = at;
    draw();
  }

  function compare(a, b) {
    const [x, y] = [a, b].map((row) => columns[state.column].by(row));
    if (!known(x) || !known(y)) return Number(!known(x)) - Number(!known(y)); // unknown: last
    const order = typeof x === "string" ? (x < y ? -1 : Number(x > y)) : x - y;
    return state.down ? -order : order;
  }

  function draw() {
    const wanted = state.filter.toLowerCase();
    const found = all.filter((row) => columns.some((c) => c.text && String(c.by(row) || "").toLowerCase().includes(wanted)));
    found.sort(compare);
    body.replaceChildren(...found.slice(0, state.limit).map((row) =>
      el("tr", {}, ...columns.map((c) => el("td", { class: c.class || (c.text ? "text" : null) }, shown(c, row))))));
    heads.forEach((head, at) => {
      const here = at === state.column;
      if (here) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
      head.querySelector(".arrow").textContent = here ? (state.down ? "↓" : "↑") : "";
    });
    more.hidden = found.length <= state.limit;
    more.textContent = `Show all ${count(found.length)} rows`;
    tally.textContent = wanted ? `${count(found.length)} of ${count(all.length)}` : count(all.length);
    if (!found.length) body.append(el("tr", {}, el("td", { class: "empty", colspan: columns.length }, "No row has this text.")));
  }

  draw();
  const made = el("div", { class: "card" }, el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    el("table", {}, el("thead", {}, el("tr", {}, ...heads)), body)), more);
  return { made, tally, filter: (text) => { state.filter = text; draw(); } };
}

function shown(column, row) {
  const value = column.show ? column.show(row) : column.by(row);
  return known(value) ? value : el("span", { class: "soft" }, "–");
}

const text = (title, key, more) => ({ title, text: true, by: (r) => r[key], ...more });
const number = (title, key, format = count, more = {}) => ({
  title, by: (r) => r[key], show: (r) => (known(r[key]) ? format(r[key]) : null), ...more,
});
const link = (title, key, layer) => ({
  title, text: true, class: "text name", by: (r) => r[key],
  show: (r) => (layer(r) ? el("button", { type: "button", click: () => openLayer(layer(r)) }, r[key] || "") : r[key] || ""),
});

function meter(share, label) {
  const fill = el("i");
  fill.style.width = `${Math.max(2, Math.round(100 * share))}%`;
  return el("span", { class: "metered" }, el("span", { class: "meter", "aria-hidden": "true" }, fill), el("b", {}, label));
}

const layerOf = new Map(data.layers.flatMap((layer) => (layer.tensors || []).map((index) => [data.tensors[index], layer.name])));

function tensorTable() {
  const most = Math.max(1, ...data.tensors.map((t) => t.bytes));
  return table("Tensors", [
    link("Tensor", "name", (t) => layerOf.get(t)), text("Operator", "op"), text("Role", "role"), text("Shape", "shape"),
    { title: "Bytes", by: (t) => t.bytes, show: (t) => meter(t.bytes / most, count(t.bytes)) },
    { title: "Share", by: (t) => t.bytes, show: (t) => percent(t.bytes / data.file.bytes) },
    number("Bits/element", "bits_per_element", (x) => x.toFixed(3)),
    { title: "Zeros", by: (t) => (known(t.zeros) && t.elements ? t.zeros / t.elements : null),
      show: (t) => (known(t.zeros) && t.elements ? percent(t.zeros / t.elements) : null) },
    number("Distinct", "distinct"), number("Over entropy", "efficiency", (x) => `${x.toFixed(3)} ×`),
    number("Largest error", "largest_error", plain), text("Stored as", "rooms"),
  ], data.tensors.map((t) => Object.assign(t, { rooms: [t.layout, t.values, t.coder].filter(known).join(" ").toLowerCase() })), 4);
}

function computeTable() {
  const rowsOf = data.compute.layers;
  const most = Math.max(1, ...rowsOf.map((r) => r.macs || 0));
  return table("Compute", [
    link("Node", "name", (r) => (data.layers.some((l) => l.name === r.name) ? r.name : null)), text("Operator", "op"), text("Output", "out"),
    { title: "MACs", by: (r) => r.macs, show: (r) => (known(r.macs) ? meter(r.macs / most, count(r.macs)) : r.status) },
    number("Skipped by zeros", "skipped"), number("Parameters", "parameters"),
    number("Activation bytes", "activation_bytes"), number("FLOPs/byte", "intensity", (x) => x.toFixed(2)),
    { title: "In total", text: true, by: (r) => (r.in_total ? "yes" : "no") }, text("Inside of", "where"),
  ], rowsOf, 3);
}

function separableTable() {
  return table("Separable pairs", [
    text("Depthwise", "depthwise", { class: "text name" }), text("Pointwise", "pointwise", { class: "text name" }),
    number("Depthwise MACs", "depthwise_macs"), number("Pointwise MACs", "pointwise_macs"), number("Together", "macs"),
    number("Plain convolution", "plain_macs"),
    { title: "Ratio", by: (r) => r.macs / r.plain_macs, show: (r) => percent(r.macs / r.plain_macs) },
  ], data.compute.separable, 5);
}

function activationTable() {
  return table("Activations", [
    text("Node", "name", { class: "text name" }), text("Operator", "op"), text("Shape", "shape"), number("Elements", "elements"),
    number("Zeros", "zero_share", percent), number("Near zero", "near_zero_share", percent), number("Least", "low", plain),
    number("Greatest", "high", plain), number("Fraction bits of 8", "fraction8", String),
    number("of 16", "fraction16", String), number("Channels", "channels"), number("Never fire", "dead"),
  ], data.activations.layers, 4);
}

function diffTable() {
  const signed = (n) => el("span", { class: n > 0 ? "up" : n < 0 ? "down" : "" }, (n > 0 ? "+" : "") + count(n));
  return table("Changes", [
    text("Name", "name", { class: "text name" }), text("Before it was", "was", { class: "text name" }), text("Matched by", "how"),
    number("Before", "before"), number("After", "after"),
    { title: "Change", by: (r) => Math.abs(r.change || 0), show: (r) => signed(r.change || 0) },
  ], data.diff.rows, 5);
}

function budgetTable() {
  return table("Budget", [
    text("What", "what", { class: "text name" }), number("Limit", "limit"), number("Bytes", "bytes"), number("Over", "over"),
    { title: "Fits", text: true, by: (r) => (r.ok ? "yes" : "no") }, text("Advice", "advice"),
  ], data.budget.limits, 3);
}

/** Tabs above one table; the filter goes with the tab. */
function tables() {
  const kinds = [["Tensors", tensorTable]];
  if (data.compute) kinds.push(["Compute", computeTable]);
  if (data.compute && data.compute.separable.length) kinds.push(["Separable", separableTable]);
  if (data.activations) kinds.push(["Activations", activationTable]);
  if (data.diff) kinds.push(["Changes", diffTable]);
  if (data.budget) kinds.push(["Budget", budgetTable]);
  const place = el("div", { id: "table", role: "tabpanel" });
  const tally = el("span");
  const input = el("input", { type: "search", class: "filter", placeholder: "Filter by name, operator, shape …",
    "aria-label": "Filter the table", input: () => current.filter(input.value) });
  let current = null;
  const tabs = kinds.map(([name, make], at) => el("button", {
    type: "button", class: "tab", role: "tab", id: `tab${at}`, "aria-controls": "table", click: () => choose(at),
    keydown: (event) => {
      const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (move) { choose((at + move + kinds.length) % kinds.length); event.preventDefault(); }
    },
  }, name));

  function choose(at, quiet) {
    current = kinds[at][1]();
    current.filter(input.value);
    tabs.forEach((tab, i) => { tab.setAttribute("aria-selected", String(i === at)); tab.tabIndex = i === at ? 0 : -1; });
    place.setAttribute("aria-labelledby", `tab${at}`);
    place.replaceChildren(current.made);
    tally.replaceChildren(current.tally);
    if (!quiet) tabs[at].focus();
  }

  choose(0, true);
  return el("section", {}, el("div", { class: "bar" }, el("div", { class: "tabs", role: "tablist", "aria-label": "Tables" }, ...tabs), tally, input),
    place, notes());
}

function notes() {
  const lines = [];
  if (data.compute) lines.push(...data.compute.assumed, ...data.compute.notes);
  if (data.activations) lines.push(...data.activations.notes);
  if (data.undrawn) lines.push(`Histograms are drawn for the ${data.tensors.length - data.undrawn} largest tensors.`);
  return el("ul", { class: "notes" }, ...lines.slice(0, 60).map((line) => el("li", { class: "name" }, line)));
}

/* ---- the head ---- */

function facts() {
  const [t, c] = [data.totals, data.compute];
  const list = [["size", bytes(data.file.bytes), `${count(data.file.bytes)} bytes`],
    ["elements", amount(t.elements), `in ${count(t.tensors)} tensors`]];
  if (known(t.bits_per_element)) list.push(["bits an element", t.bits_per_element.toFixed(2), "of what is stored"]);
  if (known(t.efficiency)) list.push(["over entropy", `${t.efficiency.toFixed(3)} ×`, "coded bits to order-0 entropy"]);
  if (known(t.zeros) && t.elements) list.push(["zeros", percent(t.zeros / t.elements), `${count(t.zeros)} elements`]);
  if (c) {
    list.push(["MACs", (c.complete ? "" : "≥ ") + amount(c.macs), c.skipped ? `${percent(c.skipped / c.macs)} by zeros` : `${amount(c.flops)} FLOPs`]);
    list.push(["peak activations", (c.peak.complete ? "" : "≥ ") + bytes(c.peak.bytes), c.peak.node ? `at ${c.peak.node}` : ""]);
  }
  return el("dl", { class: "facts" }, ...list.map(([label, value, note]) =>
    el("div", { class: "fact" }, el("dt", {}, label), el("dd", {}, value), el("dd", { class: "note" }, note))));
}

function banners() {
  const made = [];
  if (data.estimate) made.push(el("p", { class: "banner" }, `An estimate: what dcconvert would make of ${data.source.name}. ${data.estimate.says}`));
  if (data.problems.length) {
    made.push(el("div", { class: "banner bad", role: "alert" }, "This file is damaged",
      el("ul", {}, ...data.problems.map((p) => el("li", {}, `${p.place}: ${p.code} ${p.reason}`)))));
  }
  if (data.budget && !data.budget.ok) {
    const over = data.budget.limits.filter((l) => !l.ok);
    made.push(el("div", { class: "banner bad", role: "alert" }, "Over budget",
      el("ul", {}, ...over.map((l) => el("li", {}, `${l.what}: ${count(l.bytes)} of ${count(l.limit)} bytes, ${count(l.over)} too many. ${l.advice || ""}`)))));
  }
  if (data.diff) {
    const change = data.diff.bytes;
    const words = change ? `${count(Math.abs(change))} bytes ${change > 0 ? "more" : "less"} than` : "As many bytes as";
    made.push(el("p", { class: "banner" }, `${words} ${data.diff.baseline.name}`));
  }
  return made;
}

function themeSwitch() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const made = el("button", { type: "button", class: "switch", click: () => { chosen = isDark() ? "light" : "dark"; apply(); } });
  const isDark = () => (chosen ? chosen === "dark" : dark.matches);
  function apply() {
    document.documentElement.dataset.theme = isDark() ? "dark" : "light";
    made.textContent = isDark() ? "Light" : "Dark";
    made.setAttribute("aria-label", isDark() ? "Switch to light colours" : "Switch to dark colours");
  }
  dark.addEventListener("change", apply);
  apply();
  return made;
}

function start() {
  const file = data.file;
  const about = [file.format, file.producer, file.content_id ? `id ${file.content_id.slice(0, 12)}` : null].filter(known).join(" · ");
  document.getElementById("page").append(
    el("header", { class: "head" }, el("div", {}, named(file.name, "h1"), el("p", { class: "soft" }, about)), themeSwitch()),
    ...banners(), facts(),
    el("section", { id: "map" }, el("div", { class: "bar" }, el("nav", { "aria-label": "Path in the treemap" }, crumbs), chooser()),
      el("div", { class: "split" }, el("div", {}, map, legend), panel)),
    tables(), el("footer", {}, `Made by dcaudit ${data.version}. Everything on this page is in this file.`), said);
  show(false);
  new ResizeObserver(() => drawMap(path[path.length - 1], map.contains(document.activeElement))).observe(map);
}
