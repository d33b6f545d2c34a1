// The live view of a run: asks every two seconds for what is new, and draws it.

import { answer, asCount, drawn, made, part, themed } from "./page.js";

const SECONDS = 2; // between two looks
const SECONDS_RESTING = 10; // where nothing trains
const MOST_SECONDS = 15; // where the server is gone
const SMOOTHED = 50; // a point of the bold loss curve is the mean of so small a part
const FEWEST = 30; // points from which a smoothed curve is drawn
const HEIGHT = 240; // of a chart, pixels
const EDGE = { left: 46, right: 24, top: 12, bottom: 30 };

let now = null; // the newest answer
let train = new Map(); // step -> [step, loss, learning rate]
let validations = new Map(); // step -> validation
let failures = 0;
let timer = 0;
let chosenStep = null; // of the samples; null: the newest
let version = ""; // of the samples that are shown

// ---- asking ----

// A loss and the validation of the same step may be written one after the other, so the
// last of both is asked for again.
function after() {
  const last = (map) => (map.size ? Math.max(...map.keys()) : 0);
  return Math.max(0, Math.min(last(train), last(validations)));
}

function take(fresh) {
  const isAnother = now && (fresh.run !== now.run || fresh.step < now.step);
  if (isAnother) {
    [train, validations, chosenStep, now] = [new Map(), new Map(), null, null];
    return false; // what came is only the newest part of it
  }
  now = fresh;
  for (const entry of fresh.train) train.set(entry[0], entry);
  for (const entry of fresh.validations) validations.set(entry.step, entry);
  return true;
}

async function look() {
  clearTimeout(timer);
  let seconds = SECONDS;
  try {
    const isWhole = take(await answer(`/api/training?after=${after()}`));
    failures = 0;
    complain("");
    if (isWhole) show();
    if (!isWhole) seconds = 0;
    else if (now.state !== "training") seconds = SECONDS_RESTING;
  } catch (error) {
    failures += 1;
    seconds = Math.min(SECONDS * failures, MOST_SECONDS);
    complain(`${error.message} Looking again in ${seconds} s.`);
  }
  clearTimeout(timer);
  // A page that nobody sees asks for nothing.
  if (!document.hidden) timer = setTimeout(look, 1000 * seconds);
}

function complain(sentence) {
  part("trouble").hidden = !sentence;
  part("trouble").textContent = sentence;
  document.body.classList.toggle("gone", Boolean(sentence));
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look();
});

// ---- numbers ----

const isNumber = (value) => Number.isFinite(value);

function asDuration(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.round(hours / 24)} days`;
}

const asRate = (rate) => (rate === 0 ? "0" : rate.toExponential(2).replace("e", " e"));
const asLoss = (loss) => loss.toFixed(3);
const asScore = (score) => score.toFixed(1);
const NAMES = { loss: "validation loss", chrf: "chrF++", bleu: "BLEU" };

// ---- showing ----

const STATES = { training: "Training", finished: "Finished", stopped: "Stopped" };

function show() {
  part("run").textContent = now.run;
  const state = STATES[now.state] ?? now.state;
  if (part("state").textContent !== state) part("state").textContent = state;
  part("state").dataset.state = now.state;
  document.title = `${state} · ${now.run} · flaxformer_mt`;
  showSteps();
  showTiles();
  const isEmpty = !train.size && !validations.size;
  part("empty").hidden = !isEmpty;
  part("charts").hidden = isEmpty;
  if (!isEmpty) showCharts();
  showSamples();
  showTable();
}

function showSteps() {
  const { step, steps } = now;
  part("steps").textContent = !isNumber(step) ? ""
    : `step ${asCount(step)}${isNumber(steps) ? ` of ${asCount(steps)}` : ""}`;
  const progress = part("progress");
  progress.hidden = !(steps > 0);
  if (progress.hidden) return;
  const share = Math.min(step / steps, 1);
  progress.setAttribute("aria-valuenow", Math.round(100 * share));
  progress.firstElementChild.style.setProperty("--share", share.toFixed(4));
}

function showTiles() {
  const best = now.best;
  const isTraining = now.state === "training";
  const last = [...train.values()].at(-1);
  const tiles = [
    ["Training loss", last && isNumber(last[1]) ? asLoss(last[1]) : null],
    ["Best so far", best && isNumber(best.value)
      ? (best.metric === "loss" ? asLoss : asScore)(best.value) : null,
    best && `${NAMES[best.metric] ?? best.metric}, step ${asCount(best.step)}`],
    ["Epoch", isNumber(now.epoch) ? String(Math.floor(100 * now.epoch) / 100) : null],
    ["Learning rate", isNumber(now.learning_rate) ? asRate(now.learning_rate) : null],
    ["Tokens a second", isNumber(now.tokens_a_second)
      ? asCount(Math.round(now.tokens_a_second)) : null],
    ["Time left", isTraining && isNumber(now.seconds_left)
      ? asDuration(now.seconds_left) : null],
  ];
  part("tiles").replaceChildren(...tiles.map(([name, value, remark]) => made("div", "",
    made("dt", "quiet", name), made("dd", "", value ?? "–"),
    made("dd", "quiet small", remark || ""))));
}

function showCharts() {
  const points = [...train.values()].sort((a, b) => a[0] - b[0]);
  const checks = [...validations.values()].sort((a, b) => a.step - b.step);
  const line = (rows, value) => rows.map((row) => [row.step, row[value]])
    .filter(([, y]) => isNumber(y));
  const raw = points.map(([step, loss]) => [step, loss]).filter(([, y]) => isNumber(y));
  const isLong = raw.length >= FEWEST;
  chart("loss", "Loss", "nats a token", asLoss, [
    { name: "training", kind: "one", points: isLong ? smooth(raw) : raw,
      behind: isLong ? raw : [] },
    { name: "validation", kind: "two", points: line(checks, "loss"), dots: true },
  ]);
  const scores = [
    { name: "chrF++", kind: "one", points: line(checks, "chrf"), dots: true },
    { name: "BLEU", kind: "two", points: line(checks, "bleu"), dots: true },
  ];
  part("scores").hidden = scores.every(({ points: p }) => !p.length);
  chart("scores", "Scores", "of 100", asScore, scores, { fromZero: true });
  const rates = points.map(([step, , rate]) => [step, rate])
    .filter(([, y]) => isNumber(y));
  part("rate").hidden = !rates.length;
  chart("rate", "Learning rate", "", asRate, [
    { name: "learning rate", kind: "one", points: rates }], { fromZero: true });
}

// The mean of what stands around a point: unlike a running mean it does not lag behind
// a curve that falls. Towards the ends less stands around.
function smooth(points) {
  const most = Math.max(1, Math.round(points.length / SMOOTHED));
  return points.map(([x], i) => {
    const reach = Math.min(i, points.length - 1 - i, most);
    const around = points.slice(i - reach, i + reach + 1);
    return [x, around.reduce((sum, [, y]) => sum + y, 0) / around.length];
  });
}

// ---- charts ----

const CURSORS = {}; // the step that is pointed at in each chart, or null

// Returns round numbers from below `low` to above `high`, about `count` of them.
function ticks(low, high, count) {
  const rough = (high - low || Math.abs(high) || 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 2.5, 5, 10].find((n) => n * power >= rough) * power;
  const first = Math.floor(low / size + 1e-9);
  const last = Math.max(Math.ceil(high / size - 1e-9), first + 1);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * size);
}

const asTick = (value) => (Math.abs(value) > 0 && Math.abs(value) < 0.01
  ? value.toExponential(0) : Number(value.toPrecision(6)).toLocaleString("en"));

function asSteps(step) {
  if (step >= 1e6) return `${Number((step / 1e6).toFixed(2))} M`;
  return step >= 1e4 ? `${Number((step / 1e3).toFixed(1))} k` : asCount(step);
}

function scales(series, fromZero, width) {
  const all = series.flatMap(({ points, behind = [] }) => [...points,
    ...(points.length ? [] : behind)]);
  const xs = all.map(([x]) => x);
  const ys = all.map(([, y]) => y);
  const sort = (list) => [list.reduce((a, b) => Math.min(a, b), Infinity),
    list.reduce((a, b) => Math.max(a, b), -Infinity)];
  const [lowest, highest] = sort(ys);
  const across = ticks(0, sort(xs)[1], width / 110);
  const up = ticks(fromZero ? Math.min(0, lowest) : lowest, highest, 4);
  const right = Math.max(sort(xs)[1], 1);
  const x = (v) => EDGE.left + (width - EDGE.left - EDGE.right) * (v / right);
  const y = (v) => HEIGHT - EDGE.bottom
    - (HEIGHT - EDGE.top - EDGE.bottom) * ((v - up[0]) / (up.at(-1) - up[0]));
  return { x, y, up, right, width, across: across.filter((v) => v <= right) };
}

const path = (points, { x, y }) => points
  .map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");

function chart(id, title, unit, format, series, { fromZero = false } = {}) {
  const figure = part(id);
  const full = series.filter(({ points }) => points.length);
  if (!full.length) return;
  const svg = figure.querySelector("svg") ?? framed(figure, id);
  const width = Math.max(svg.clientWidth, 240); // one unit is one pixel
  const scale = scales(full, fromZero, width);
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  svg.setAttribute("aria-label", inWords(title, full, format));
  const legend = full.map(({ name, kind }) => made("span", `key ${kind}`, name));
  figure.querySelector("figcaption").replaceChildren(made("strong", "", title),
    ...(unit ? [made("span", "quiet", unit)] : []), made("span", "keys",
      ...(full.length > 1 ? legend : [])));
  svg.replaceChildren(...axes(scale), clipped(id, width),
    ...full.flatMap((one) => curve(one, scale, id)), drawn("g", { class: "cursor" }));
  Object.assign(CURSORS[id], { full, scale, format });
  showCursor(id);
}

// A curve that is higher at first than the scale of its running mean ends at the frame.
function clipped(id, width) {
  return drawn("clipPath", { id: `${id}-frame` }, drawn("rect", {
    x: EDGE.left, y: 0, width: width - EDGE.left, height: HEIGHT - EDGE.bottom + 3,
  }));
}

function axes({ x, y, up, across, width }) {
  const bottom = HEIGHT - EDGE.bottom;
  return [
    ...up.map((v) => drawn("line", {
      class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(v), y2: y(v) })),
    ...up.map((v) => drawn("text", {
      x: EDGE.left - 8, y: y(v) + 4, "text-anchor": "end" }, asTick(v))),
    ...across.map((v) => drawn("text", {
      x: x(v), y: bottom + 20, "text-anchor": v ? "middle" : "start" }, asSteps(v))),
    drawn("line", {
      class: "axis", x1: EDGE.left, x2: width - EDGE.right, y1: bottom, y2: bottom }),
  ];
}

function curve({ points, behind = [], kind, dots }, scale, id) {
  const clip = `url(#${id}-frame)`;
  const parts = [];
  if (behind.length)
    parts.push(drawn("path", { class: `line faint ${kind}`, d: path(behind, scale),
      "clip-path": clip }));
  parts.push(drawn("path", { class: `line ${kind}`, d: path(points, scale) }));
  if (dots && points.length <= 60)
    parts.push(...points.map(([a, b]) => drawn("circle", {
      class: `dot ${kind}`, cx: scale.x(a), cy: scale.y(b), r: 3.2 })));
  return parts;
}

function inWords(title, full, format) {
  const said = full.map(({ name, points }) => `${name} from ${format(points[0][1])} at `
    + `step ${asCount(points[0][0])} to ${format(points.at(-1)[1])} at step `
    + `${asCount(points.at(-1)[0])}`);
  return `${title}: ${said.join("; ")}. Arrow keys read single points.`;
}

function framed(figure, id) {
  const svg = drawn("svg", {
    class: "chart", height: HEIGHT, role: "img", tabindex: 0 });
  const readout = made("p", "readout quiet");
  readout.setAttribute("aria-live", "polite");
  figure.replaceChildren(made("figcaption"), svg, readout);
  CURSORS[id] = { step: null };
  const point = (step) => {
    CURSORS[id].step = step;
    showCursor(id);
  };
  svg.addEventListener("pointermove", (event) => {
    const { width, right } = CURSORS[id].scale;
    const inside = event.clientX - svg.getBoundingClientRect().left - EDGE.left;
    point(nearest(id, (right * inside) / (width - EDGE.left - EDGE.right)));
  });
  svg.addEventListener("pointerleave", () => point(null));
  svg.addEventListener("blur", () => point(null));
  svg.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own
    const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const all = stepsOf(id);
    const at = CURSORS[id].step === null ? (way > 0 ? -1 : all.length)
      : all.indexOf(nearest(id, CURSORS[id].step));
    // A key goes on by a fiftieth of the curve, not by each of 2,000 points.
    const stride = Math.max(1, Math.round(all.length / 50));
    point(all[Math.min(Math.max(at + way * stride, 0), all.length - 1)]);
  });
  return svg;
}

function stepsOf(id) {
  const all = CURSORS[id].full.flatMap(({ points }) => points.map(([x]) => x));
  return [...new Set(all)].sort((a, b) => a - b);
}

function nearest(id, step) {
  const distance = (other) => Math.abs(other - step);
  return stepsOf(id).reduce((a, b) => (distance(b) < distance(a) ? b : a));
}

function showCursor(id) {
  const { step, full, scale, format } = CURSORS[id];
  const svg = part(id).querySelector("svg");
  const readout = part(id).querySelector(".readout");
  const group = svg.querySelector(".cursor");
  if (step === null) {
    group.replaceChildren();
    readout.textContent = full.map(({ name, points }) =>
      `${name} ${format(points.at(-1)[1])}`).join(" · ");
    return;
  }
  // The last point of each curve up to there.
  const here = full.map((one) => [one, one.points.findLast(([x]) => x <= step)])
    .filter(([, found]) => found);
  group.replaceChildren(
    drawn("line", { x1: scale.x(step), x2: scale.x(step), y1: EDGE.top,
      y2: HEIGHT - EDGE.bottom }),
    ...here.map(([{ kind }, [x, y]]) => drawn("circle", {
      class: `dot ${kind}`, cx: scale.x(x), cy: scale.y(y), r: 4.2 })));
  readout.textContent = [`step ${asCount(step)}`, ...here.map(([{ name }, [, y]]) =>
    `${name} ${format(y)}`)].join(" · ");
}

// ---- validations ----

function showSamples() {
  const steps = [...validations.values()].filter(({ samples }) => samples?.length)
    .map(({ step }) => step).sort((a, b) => b - a);
  part("samples").hidden = !steps.length;
  if (!steps.length) return;
  const select = part("when");
  if (select.options[0]?.value !== String(steps[0])
    || select.options.length !== steps.length)
    select.replaceChildren(...steps.map((step) => {
      const option = made("option", "", asCount(step));
      option.value = step;
      return option;
    }));
  const step = steps.includes(chosenStep) ? chosenStep : steps[0];
  select.value = String(step);
  const { samples } = validations.get(step);
  if (version === JSON.stringify(samples)) return; // what someone reads stays
  version = JSON.stringify(samples);
  part("pairs").replaceChildren(...samples.map(pairOf));
}

function pairOf({ src, tgt, ref }) {
  const side = (name, text, className = "") => {
    const place = made("dd", className, text || made("span", "quiet", "(empty)"));
    place.dir = "auto";
    return [made("dt", "quiet small", name), place];
  };
  return made("li", "", made("dl", "",
    ...side("Source", src), ...side("Translation", tgt, "strong"),
    ...(ref ? side("Reference", ref) : [])));
}

function showTable() {
  const rows = [...validations.values()].sort((a, b) => b.step - a.step);
  part("table").hidden = !rows.length;
  const cell = (value, format) => made("td", "num",
    isNumber(value) ? format(value) : "–");
  part("rows").replaceChildren(...rows.map((row) => {
    const line = made("tr", row.step === now.best?.step ? "best" : "",
      cell(row.step, asCount), cell(row.loss, asLoss), cell(row.chrf, asScore),
      cell(row.bleu, asScore));
    return line;
  }));
}

part("when").addEventListener("change", (event) => {
  const step = Number(event.target.value);
  chosenStep = event.target.selectedIndex === 0 ? null : step;
  showSamples();
});

new ResizeObserver(() => {
  if (now && !part("charts").hidden) showCharts();
}).observe(part("charts"));

themed();
look();
