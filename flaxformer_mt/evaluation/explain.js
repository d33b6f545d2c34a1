"use strict";

const STEPS = 20; // the strongest colour stands for a multiple of 1 / 20
const LEVELS = 40; // of colour in a heat map
const FAINTEST = 0.02; // of the scale: no line is drawn below
const OVERVIEW = 0.3; // of the scale: nor here, while no token is pointed at
const MOST_NAMED = 5;
const SVG = "http://www.w3.org/2000/svg";

function drawn(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  return element;
}

function made(name, className, ...children) {
  const element = document.createElement(name);
  element.className = className;
  element.append(...children);
  return element;
}

function asNumber(weight) {
  return weight > 0 && weight < 0.005 ? "under 0.01" : weight.toFixed(2);
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

function middle(element) {
  const box = element.getBoundingClientRect();
  return (box.left + box.right) / 2;
}

function explain(section) {
  const part = (selector) => section.querySelector(selector);
  const data = JSON.parse(part("script.data").textContent);
  const bytes = Uint8Array.from(atob(data.weights), (c) => c.charCodeAt(0));
  const rows = { src: part(".row.src"), tgt: part(".row.tgt") };
  const tokens = {};
  for (const side in rows) tokens[side] = [...rows[side].querySelectorAll(".token")];
  const alternatives = section.querySelectorAll("ol.alternatives");
  const lines = part(".lines");
  const panel = part(".panel");
  const other = { src: "tgt", tgt: "src" };
  const words = { src: "source", tgt: "target" };
  const T = data.rows;
  const S = data.columns;
  const fromRight = rows.src.dir === "rtl";
  let weights; // [T, S] of the chosen layer and head
  let scale;
  let held = null; // the token that was clicked
  let shown = null; // the token that the lines are about

  function choose() {
    const layer = Number(part(".layer").value);
    const head = part(".head").value;
    const first = head === "mean" ? 0 : Number(head);
    const last = head === "mean" ? data.heads - 1 : first;
    weights = new Float64Array(T * S);
    for (let h = first; h <= last; h++) {
      const start = (layer * data.heads + h) * T * S;
      for (let i = 0; i < T * S; i++) weights[i] += bytes[start + i];
    }
    weights = weights.map((sum) => sum / (255 * (last - first + 1)));
    const largest = weights.reduce((a, b) => Math.max(a, b), 0);
    scale = Math.ceil(largest * STEPS - 1e-9) / STEPS;
    part(".top").textContent = scale;
  }

  function between(side, a, b) { // token a of a side, token b of the other
    return side === "tgt" ? weights[a * S + b] : weights[b * S + a];
  }

  function most({ side, index }) { // [token of the other side, weight], largest first
    return tokens[other[side]]
      .map((_, i) => [i, between(side, index, i)])
      .sort((a, b) => b[1] - a[1]);
  }

  function copy(side, index) {
    return tokens[side][index].firstChild.cloneNode(true);
  }

  // ---- lines ----

  function drawLines() {
    const box = lines.getBoundingClientRect();
    const places = { src: [], tgt: [] };
    for (const side in places)
      places[side] = tokens[side].map((token) => middle(token) - box.left);
    const hidden = (x) => x < 0 || x > box.width; // scrolled out of sight
    const paths = [];
    for (let t = 0; t < T; t++) {
      if (shown && shown.side === "tgt" && shown.index !== t) continue;
      for (let s = 0; s < S; s++) {
        if (shown && shown.side === "src" && shown.index !== s) continue;
        const share = weights[t * S + s] / scale;
        if (share < (shown ? FAINTEST : OVERVIEW)) continue;
        const [a, b, h] = [places.src[s], places.tgt[t], box.height];
        if (hidden(a) && hidden(b)) continue;
        paths.push(drawn("path", {
          d: `M${a} 0C${a} ${h / 2} ${b} ${h / 2} ${b} ${h}`,
          "stroke-width": (0.5 + 5 * share).toFixed(2),
          "stroke-opacity": ((shown ? 0.9 : 0.35) * (0.1 + 0.9 * share)).toFixed(2),
        }));
      }
    }
    lines.replaceChildren(...paths);
  }

  function shade() {
    for (const side in tokens) {
      rows[side].classList.toggle("lit", shown !== null && shown.side !== side);
      tokens[side].forEach((token, i) => {
        const on = shown !== null && shown.side === side && shown.index === i;
        token.classList.toggle("on", on);
        token.setAttribute("aria-pressed", on && held !== null);
        const weight = shown && shown.side !== side
          ? between(shown.side, shown.index, i) / scale : 0;
        token.style.setProperty("--weight", weight.toFixed(3));
      });
    }
  }

  // ---- what is said about a token ----

  function scaleOf(entries) { // [element, weight, words, chosen?]
    return made("ol", "scale", ...entries.map(([element, weight, number, chosen]) => {
      const stripe = made("span", "stripe");
      stripe.style.setProperty("--weight", weight);
      const name = made("span", "name", element);
      return made("li", chosen ? "chosen" : "", name, stripe,
        made("span", "number", number));
    }));
  }

  function cellsOf(i) { // of the table below
    return alternatives[i].closest("tr").cells;
  }

  function said(i) {
    return cellsOf(i)[2].textContent;
  }

  function probability(i) {
    return Number(cellsOf(i)[2].firstChild.value);
  }

  function describe() {
    if (!shown) {
      const doubted = tokens.tgt
        .map((_, i) => [copy("tgt", i), probability(i), said(i)])
        .sort((a, b) => a[1] - b[1])
        .slice(0, MOST_NAMED);
      panel.replaceChildren(
        made("div", "", made("p", "quiet", "No token is pointed at: the lines are the "
          + "strongest of all tokens.")),
        made("div", "", made("p", "quiet", "least sure of"), scaleOf(doubted)));
      return;
    }
    const { side, index } = shown;
    const head = made("div", "",
      made("p", "quiet", `${words[side]} token ${index + 1} of ${tokens[side].length}`),
      made("p", "big", copy(side, index)));
    const parts = [head];
    if (side === "tgt") {
      head.append(made("p", "", `probability ${said(index)}`));
      const listed = [...alternatives[index].children].map((item) => {
        const number = item.querySelector("data");
        return [item.firstChild.cloneNode(true), Number(number.value),
          number.textContent, item.className === "chosen"];
      });
      parts.push(made("div", "", made("p", "quiet", "likeliest tokens here"),
        scaleOf(listed)));
    }
    const strongest = most(shown).slice(0, MOST_NAMED)
      .map(([i, weight]) => [copy(other[side], i), weight, asNumber(weight)]);
    const about = side === "tgt" ? "source tokens it reads most" : "is read most by";
    parts.push(made("div", "", made("p", "quiet", about), scaleOf(strongest)));
    panel.replaceChildren(...parts);
  }

  function show(what) {
    shown = what;
    shade();
    drawLines();
    describe();
  }

  function reveal(side, index) { // where its row is scrolled, without moving the page
    const row = rows[side].getBoundingClientRect();
    const token = tokens[side][index].getBoundingClientRect();
    if (token.left < row.left || token.right > row.right)
      rows[side].scrollLeft += (token.left + token.right - row.left - row.right) / 2;
  }

  function goTo(side, index) {
    tokens[side].forEach((token, i) => { token.tabIndex = i === index ? 0 : -1; });
    tokens[side][index].focus();
  }

  function listen(side) {
    const row = rows[side];
    const find = (event) => {
      const token = event.target.closest(".token");
      return token ? { side, index: tokens[side].indexOf(token) } : null;
    };
    row.addEventListener("pointerover", (event) => {
      if (!held && find(event)) show(find(event));
    });
    row.addEventListener("pointerleave", () => { if (!held) show(null); });
    row.addEventListener("focusin", (event) => {
      const what = find(event);
      if (!what) return;
      if (held) held = what;
      reveal(other[side], most(what)[0][0]);
      show(what);
    });
    row.addEventListener("focusout", () => { if (!held) show(null); });
    row.addEventListener("click", (event) => {
      const what = find(event);
      if (!what) return;
      held = held && held.side === side && held.index === what.index ? null : what;
      reveal(other[side], most(what)[0][0]);
      show(what);
    });
    row.addEventListener("keydown", (event) => {
      const what = find(event);
      if (!what) return;
      const last = tokens[side].length - 1;
      const right = row.dir === "rtl" ? -1 : 1;
      const moves = { ArrowRight: right, ArrowLeft: -right, Home: -last, End: last };
      if (event.key in moves)
        goTo(side, clamp(what.index + moves[event.key], 0, last));
      else if (event.key === (side === "src" ? "ArrowDown" : "ArrowUp"))
        goTo(other[side], most(what)[0][0]);
      else if (event.key === "Escape") { held = null; show(what); }
      else return;
      event.preventDefault();
    });
    row.addEventListener("scroll", drawLines, { passive: true });
  }

  // ---- heat map ----

  let cell = 16; // pixels
  let at = null; // [t, s] that the cursor is on
  const labels = { src: [], tgt: [] };
  const cursor = drawn("rect", { class: "cursor", visibility: "hidden" });
  const name = drawn("title", {});
  cursor.append(name);
  const picture = drawn("svg", {
    role: "img", tabindex: 0,
    "aria-label": "Attention: rows are target tokens, columns are source tokens. "
      + "The arrow keys go from cell to cell.",
  });
  const column = (s) => (fromRight ? S - 1 - s : s);

  function layOut(width, smallest) {
    cell = clamp(Math.floor((width - 100) / S), smallest, 32);
    const across = made("div", "across");
    const down = made("div", "down");
    if (!rows.src.classList.contains("letters")) across.classList.add("sideways");
    for (const [side, place] of [["src", across], ["tgt", down]]) {
      labels[side] = tokens[side].map((_, i) => made("span", "", copy(side, i)));
      for (const label of labels[side]) {
        label.style[side === "src" ? "width" : "height"] = `${cell}px`;
        label.style.fontSize = `${Math.min(cell - 2, 16)}px`;
      }
      place.append(...labels[side]);
    }
    picture.setAttribute("width", S * cell);
    picture.setAttribute("height", T * cell);
    const map = made("div", "map", made("span", "corner"), across, down, picture);
    map.dir = fromRight ? "rtl" : "ltr";
    part(".map-scroll").replaceChildren(map);
    drawMap();
  }

  function drawMap() { // one path for all cells of a colour: 40 elements at any size
    const squares = Array.from({ length: LEVELS + 1 }, () => []);
    for (let t = 0; t < T; t++)
      for (let s = 0; s < S; s++) {
        const level = Math.round((LEVELS * weights[t * S + s]) / scale);
        const corner = `${column(s) * cell} ${t * cell}`;
        squares[level].push(`M${corner}h${cell}v${cell}h-${cell}z`);
      }
    const paths = [];
    for (let level = 1; level <= LEVELS; level++)
      if (squares[level].length)
        paths.push(drawn("path", {
          class: "cell", d: squares[level].join(""),
          "fill-opacity": (level / LEVELS).toFixed(3),
        }));
    picture.replaceChildren(...paths, cursor);
    point(at);
  }

  function point(place) {
    if (at) {
      labels.tgt[at[0]].classList.remove("near");
      labels.src[at[1]].classList.remove("near");
    }
    at = place;
    cursor.setAttribute("visibility", at ? "visible" : "hidden");
    const readout = part(".readout");
    if (!at) {
      readout.replaceChildren(made("span", "quiet",
        "Point at a cell, or go there with the arrow keys, to read its weight."));
      return;
    }
    const [t, s] = at;
    labels.tgt[t].classList.add("near");
    labels.src[s].classList.add("near");
    const box = { x: column(s) * cell, y: t * cell, width: cell, height: cell };
    for (const key in box) cursor.setAttribute(key, box[key]);
    const weight = asNumber(weights[t * S + s]);
    const [target, source] = [copy("tgt", t), copy("src", s)];
    name.textContent = `${target.textContent} \u2190 ${source.textContent}: ${weight}`;
    readout.replaceChildren(`target ${t + 1} `, made("strong", "", target),
      ` reads source ${s + 1} `, made("strong", "", source), ": weight ",
      made("strong", "", weight));
  }

  function listenToMap() {
    const follow = (event) => {
      const box = picture.getBoundingClientRect();
      const x = clamp(Math.floor((event.clientX - box.left - 1) / cell), 0, S - 1);
      const y = clamp(Math.floor((event.clientY - box.top - 1) / cell), 0, T - 1);
      point([y, column(x)]);
    };
    picture.addEventListener("pointermove", follow);
    picture.addEventListener("pointerdown", follow);
    picture.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") point(null);
    });
    picture.addEventListener("keydown", (event) => {
      const right = fromRight ? -1 : 1;
      const move = { ArrowRight: [0, right], ArrowLeft: [0, -right], ArrowUp: [-1, 0],
        ArrowDown: [1, 0] }[event.key];
      if (!move) return;
      const [t, s] = at || [0, 0];
      point([clamp(t + move[0], 0, T - 1), clamp(s + move[1], 0, S - 1)]);
      labels.tgt[at[0]].scrollIntoView({ block: "nearest", inline: "nearest" });
      labels.src[at[1]].scrollIntoView({ block: "nearest", inline: "nearest" });
      event.preventDefault();
    });
  }

  // ---- all together ----

  function fit() {
    layOut(part(".map-scroll").clientWidth, 13);
  }

  function changed() {
    choose();
    show(shown);
    drawMap();
  }

  for (const element of section.querySelectorAll(".live"))
    element.removeAttribute("hidden");
  choose();
  fit();
  show(null);
  for (const side in rows) listen(side);
  listenToMap();
  for (const box of section.querySelectorAll("select"))
    box.addEventListener("change", changed);
  let width = section.clientWidth;
  // In the next frame, since the map changes the height of what is observed.
  new ResizeObserver(() => requestAnimationFrame(() => {
    if (matchMedia("print").matches) return;
    if (section.clientWidth !== width) fit();
    width = section.clientWidth;
    drawLines();
  })).observe(section);
  addEventListener("beforeprint", () => layOut(640, 4)); // paper does not scroll
  addEventListener("afterprint", fit);
}

document.querySelectorAll("section.translation").forEach(explain);
