// The translator: asks while one types, shows what comes, and looks inside it.

import {
  Refusal, answer, asCount, asPercent, ask, button, events, isolated, languageName,
  made, part, remember, remembered, themed, wait,
} from "./page.js";

const TYPING = 300; // milliseconds without a key before a text is sent
const TURNING = 150; // and without a turn of a knob
const HOVER = 60; // over a word before it is looked at
const ASIDE = 150; // on a word before its alternatives are asked for
const MOST_TRIES = 20; // while the server is busy
const MOST_HYPOTHESES = 8; // where the server names no bound
const MOST_HISTORY = 30;
const SAME_TEXT = 60_000; // milliseconds in which a longer text replaces a shorter one
const MOST_NAMED = 4; // source words that a target word reads
const LEAST_NAMED = 0.05; // and the weight from which they are named
const UNSURE = 0.5; // a word less probable is underlined
const LARGEST_SEED = 2 ** 31 - 1;

const source = part("source");
const mirror = part("mirror");
const result = part("result");
const settings = part("settings");

let model = {
  name: "", src_language: "", tgt_language: "", src_direction: "auto",
  tgt_direction: "auto", limits: { characters: Infinity }, examples: [],
};
let prefix = ""; // what the translation must begin with
let running = new AbortController(); // of the newest request for a translation
let looking = new AbortController(); // of what is asked about the one that is shown
let timer = 0;
let shown = null; // the translation that is shown, once it is whole; see showWhole
let word = null; // the place of the word that is looked at
let isHeld = false; // whether it stays when another one is pointed at
let goTo = null; // the word that has the focus once the next translation is there

// ---- asking for a translation ----

function later(milliseconds) {
  clearTimeout(timer);
  running.abort();
  timer = setTimeout(translate, milliseconds);
}

async function translate() {
  clearTimeout(timer);
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const text = source.value;
  complain(null);
  const fault = faultOf(text);
  if (fault) return complain(new Refusal(fault));
  if (!text.trim()) return showNothing();
  say("Translating…");
  result.classList.add("old");
  try {
    await patiently(() => stream(text, signal), signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    complain(error);
  }
}

function faultOf(text) {
  const length = [...text].length;
  const { characters } = model.limits;
  if (length > characters)
    return `A text may have ${asCount(characters)} characters; this one has `
      + `${asCount(length)}, so shorten it.`;
  if (!settings.elements.seed.validity.valid)
    return `The seed must be a whole number from 0 to ${LARGEST_SEED}.`;
  return "";
}

// Returns what `attempt` returns; while the server is busy it is made again.
async function patiently(attempt, signal) {
  for (let tries = 1; ; tries++) {
    try {
      const found = await attempt();
      if (tries > 1) complain(null);
      return found;
    } catch (error) {
      if (!(error instanceof Refusal) || error.retryAfter === null) throw error;
      if (tries === MOST_TRIES) {
        complain(null);
        throw error;
      }
      const seconds = Math.max(error.retryAfter, 0.5);
      complain(error, `Trying again in ${seconds} s.`);
      await wait(seconds, signal);
    }
  }
}

async function stream(text, signal) {
  const body = { text, ...choices(), prefix, stream: true };
  const response = await ask("/api/translate", { body, signal });
  complain(null);
  for await (const [name, data] of events(response)) {
    if (signal.aborted) return;
    if (name === "partial") showPartial(data.text);
    if (name === "error") throw refusalOf(data.error);
    if (name === "done") return showWhole(text, data);
  }
  throw new Refusal("The translation broke off before its end.");
}

// What is said within a stream has no header that says when to ask again.
function refusalOf({ code, message }) {
  return new Refusal(message, { retryAfter: code === "not_ready" ? 2 : null });
}

// ---- how to search ----

const WAYS = {
  greedy: "The likeliest token, one after the other.",
  beam: "Several beginnings at a time; the likeliest whole wins.",
  sample: "Tokens drawn at random, the likelier ones more often.",
};

const way = () => settings.elements.search.value;
const knob = (name) => Number(settings.elements[name].value);

function choices() {
  if (way() === "beam") {
    const size = knob("beam_size");
    return { search: "beam", beam_size: size, n_best: Math.min(knob("n_best"), size) };
  }
  if (way() === "sample") {
    const names = ["temperature", "top_k", "repetition_penalty", "seed"];
    return { search: "sample", ...Object.fromEntries(names.map((n) => [n, knob(n)])) };
  }
  return { search: "greedy" };
}

function showSettings() {
  part("way").textContent = WAYS[way()];
  for (const group of settings.querySelectorAll(".knobs"))
    group.hidden = group.dataset.for !== way();
  const { beam_size: size, n_best: count } = settings.elements;
  size.max = model.limits.beam ?? MOST_HYPOTHESES;
  size.min = Math.min(2, size.max);
  count.max = size.value;
  for (const output of settings.querySelectorAll("output")) {
    const input = output.parentElement.querySelector("input");
    const isAll = input.name === "top_k" && Number(input.value) === 0;
    output.textContent = isAll ? "all" : input.value;
    input.setAttribute("aria-valuetext", output.textContent);
    const share = (input.value - input.min) / (input.max - input.min || 1);
    input.style.setProperty("--share", share.toFixed(3));
  }
}

function keepSettings() {
  const values = [...settings.elements].filter((e) => e.name && e.type !== "radio");
  const kept = Object.fromEntries(values.map((e) => [e.name, e.value]));
  remember("settings", { ...kept, search: way() });
}

function restoreSettings() {
  const kept = remembered("settings", {});
  for (const name in kept) {
    const input = settings.elements[name];
    const isWay = name === "search" && Object.hasOwn(WAYS, kept[name]);
    if (input && (isWay || (name !== "search" && Number.isFinite(Number(kept[name])))))
      input.value = kept[name];
  }
  showSettings();
}

// ---- showing a translation ----

const say = (text) => { part("status").textContent = text; };
const announce = (text) => { part("announced").textContent = text; };

function complain(error, remedy = "") {
  part("trouble").hidden = !error;
  part("trouble-text").textContent = error ? `${error.message} ${remedy}` : "";
  part("again").hidden = Boolean(remedy);
  if (!error) return;
  if (!remedy) {
    say("");
    result.classList.remove("streaming");
  }
}

function showNothing() {
  forgetShown();
  say("");
  announce("");
  result.replaceChildren();
  result.classList.remove("old", "streaming");
  part("facts").textContent = "";
  part("notes").hidden = part("ranking").hidden = part("copy").hidden = true;
}

function forgetShown() {
  looking.abort();
  looking = new AbortController();
  shown = null;
  letGo();
}

function showPartial(text) {
  if (shown) forgetShown();
  part("notes").hidden = part("ranking").hidden = part("copy").hidden = true;
  part("facts").textContent = "";
  result.classList.remove("old");
  result.classList.add("streaming");
  result.replaceChildren(text);
}

function showWhole(text, whole) {
  const [translation] = whole.translations;
  forgetShown();
  shown = {
    source: text, hypotheses: translation.hypotheses, seconds: whole.seconds,
    chosen: 0, // of the hypotheses
    target: "", words: [], details: null, // of the chosen one
  };
  say("");
  announce(translation.text);
  showChosen();
  showRanking();
  showNotes(translation);
  keep(text, translation.text);
  if (goTo !== null && shown.words.length) {
    const index = Math.min(goTo, shown.words.length - 1);
    shown.words[index].element.focus();
    hold(index);
  }
  goTo = null;
}

function showNotes({ notes = [], truncated }) {
  const sentences = [...notes];
  if (truncated && !notes.length)
    sentences.push("The translation was cut off at the model's length limit.");
  part("notes").replaceChildren(...sentences.map((note) => made("li", "", note)));
  part("notes").hidden = !sentences.length;
}

function showChosen() {
  const { text, tokens, token_log_probabilities: chances, log_probability: sum } =
    shown.hypotheses[shown.chosen] ?? { text: "", tokens: [] };
  shown.details = null;
  shown.target = text;
  const groups = grouped(tokens ?? []);
  const pieces = text.split(/(\s+)/);
  shown.words = pieces.flatMap((piece, i) => (piece.trim() ? [{
    text: piece, before: pieces.slice(0, i).join(""),
  }] : []));
  const fits = groups.length === shown.words.length;
  shown.words.forEach((entry, i) => {
    entry.group = fits ? groups[i] : null;
    entry.chance = fits && chances ? Math.exp(sumOf(groups[i], tokens, chances)) : null;
    entry.element = wordElement(entry, i);
  });
  let next = 0;
  result.replaceChildren(...pieces.map((piece) => (
    piece.trim() ? shown.words[next++].element : piece)));
  result.classList.remove("old", "streaming");
  part("copy").hidden = !text;
  const facts = [`${asCount(tokens?.length ?? 0)} tokens`];
  if (Number.isFinite(sum) && tokens?.length)
    facts.push(`${asPercent(Math.exp(sum / tokens.length))} sure of a token`);
  if (Number.isFinite(shown.seconds)) facts.push(`${shown.seconds.toFixed(2)} s`);
  part("facts").textContent = facts.join(" · ");
}

function wordElement({ text, chance }, index) {
  // A span, not a button: its letters must take part in the order of the line.
  const element = made("span", "w", text);
  element.setAttribute("role", "button");
  element.tabIndex = index ? -1 : 0; // one stop of the Tab key; arrows go on from there
  element.dataset.index = index;
  if (chance !== null && chance < UNSURE) {
    element.classList.add("doubtful");
    element.style.setProperty("--doubt-share", (1 - chance / UNSURE).toFixed(3));
  }
  return element;
}

const asNats = (value) => (Number.isFinite(value)
  ? value.toFixed(2).replace("-", "\u2212") : "–");

function showRanking() {
  const list = part("ranking");
  const { hypotheses } = shown;
  list.hidden = hypotheses.length < 2;
  list.replaceChildren(...hypotheses.map((hypothesis, i) => {
    const text = isolated(hypothesis.text, model.tgt_direction, model.tgt_language);
    const entry = button("", () => {
      shown.chosen = i;
      letGo();
      showChosen();
      showRanking();
      part("ranking").querySelectorAll("button")[i].focus();
    }, made("span", "rank", String(i + 1)), text,
      made("span", "quiet number", asNats(hypothesis.log_probability)));
    entry.setAttribute("aria-pressed", i === shown.chosen);
    return made("li", "", entry);
  }));
}

// ---- tokens and words ----

const asText = (token) => token.replaceAll("\u2581", " "); // as pieces write a space
const isSpace = (token) => token !== "" && !asText(token).trim();

// Returns the words that tokens make up, each { text, first, last }: a space belongs to
// the word behind it; "", the end of a text, to none.
function grouped(tokens) {
  const words = [];
  let open = null;
  tokens.forEach((token, i) => {
    if (token === "") return;
    const text = asText(token);
    if (!open || (/^\s/.test(text) && open.text)) {
      open = { text: "", first: i, last: i };
      words.push(open);
    }
    open.text += text.trim();
    open.last = i;
  });
  return words.filter((entry) => entry.text);
}

// The log-probability of a word and, where that is a token by itself, of its end; so
// does the server count those of other words.
function sumOf({ first, last }, tokens, values) {
  const begin = isSpace(tokens[first]) ? first + 1 : first;
  const next = tokens[last + 1];
  const end = next !== undefined && (next === "" || isSpace(next)) ? last + 1 : last;
  return values.slice(begin, end + 1).reduce((a, b) => a + b, 0);
}

// Returns what target words read, from what tokens read: { names, weights }, weights
// [target words][source words, then the end]; null where words and tokens differ.
function byWords(explained, words) {
  const { src_tokens: src, tgt_tokens: tgt, attention } = explained;
  const targets = grouped(tgt);
  if (words.some((entry, i) => targets[i]?.text !== entry.text)) return null;
  const sources = grouped(src);
  const weights = words.map((_, i) => {
    const { first, last } = targets[i];
    const begin = isSpace(tgt[first]) && first < last ? first + 1 : first;
    const rows = attention.slice(begin, last + 1);
    const mean = (s) => rows.reduce((sum, row) => sum + row[s], 0) / rows.length;
    const read = sources.map((group) => {
      let sum = 0;
      for (let s = group.first; s <= group.last; s++) sum += mean(s);
      return sum;
    });
    return [...read, src.at(-1) === "" ? mean(src.length - 1) : 0];
  });
  return { names: [...sources.map((group) => group.text), ""], weights };
}

// ---- looking at a word ----

function look(index) {
  if (!shown || index === word) return;
  word = index;
  shown.words.forEach(({ element }, i) => {
    element.classList.toggle("on", i === index);
    element.tabIndex = i === index ? 0 : -1;
  });
  showHeld();
  part("hint").hidden = true;
  part("panel").hidden = part("close").hidden = false;
  part("inside").classList.add("open", "grown");
  // On a phone a sheet has just come over the lower half.
  shown.words[index].element.scrollIntoView({ block: "nearest" });
  const { text, chance } = shown.words[index];
  const name = part("word");
  name.dir = model.tgt_direction;
  name.lang = model.tgt_language;
  name.textContent = text;
  part("chance").textContent = chance === null ? "" : `${asPercent(chance)} probable`;
  showLetters(index);
  showReads(index);
  showOthers(index);
}

function hold(index) {
  look(index);
  isHeld = true;
  showHeld();
}

function letGo() {
  word = null;
  isHeld = false;
  clearTimeout(hovering);
  part("hint").hidden = false;
  part("panel").hidden = part("close").hidden = true;
  part("inside").classList.remove("open");
  shown?.words.forEach(({ element }) => element.classList.remove("on"));
  showHeld();
  mirrorText();
}

function showHeld() {
  part("inside").classList.toggle("held", isHeld);
  shown?.words.forEach(({ element }, i) => {
    element.setAttribute("aria-pressed", isHeld && i === word);
  });
}

function showLetters(index) {
  const { tokens, token_log_probabilities: chances } =
    shown.hypotheses[shown.chosen] ?? {};
  const { group } = shown.words[index];
  const places = [];
  if (group && chances)
    for (let i = group.first; i <= group.last; i++)
      if (!isSpace(tokens[i])) places.push(i);
  const letters = part("letters");
  letters.dir = model.tgt_direction;
  letters.replaceChildren(...(places.length < 2 ? [] : places.map((i) => made("span",
    "letter", isolated(asText(tokens[i]).trim(), model.tgt_direction,
      model.tgt_language),
    made("small", "quiet", asPercent(Math.exp(chances[i])))))));
}

// Returns a promise of what the words of the chosen hypothesis read. It is asked for
// once, as what comes when the translation is given as its own beginning.
function details() {
  if (shown.details) return shown.details;
  const { source: text, target, words } = shown;
  const { signal } = looking;
  const asked = (body) => patiently(
    () => answer("/api/explain", { body, signal }), signal);
  shown.details = (async () => {
    let found = null;
    try {
      found = byWords(await asked({ text, prefix: target }), words);
    } catch (error) {
      if (shown?.chosen !== 0 || error.name === "AbortError") throw error;
    }
    // One that was cut off leaves no room behind itself; the same search finds it too.
    return found ?? byWords(await asked({ text, ...choices(), prefix }), words);
  })();
  const of = shown;
  of.details.catch(() => { of.details = null; }); // it may be asked for again
  return of.details;
}

async function showReads(index) {
  const list = part("reads");
  const of = shown;
  const isStill = () => shown === of && word === index;
  const slow = setTimeout(() => isStill() && list.replaceChildren(waiting()), HOVER);
  let found = null;
  let fault = "This translation cannot be looked into word by word.";
  try {
    found = await details();
  } catch (error) {
    if (error.name !== "AbortError") fault = error.message;
  } finally {
    clearTimeout(slow);
  }
  if (!isStill()) return;
  if (!found) return void list.replaceChildren(made("li", "quiet", fault));
  const weights = found.weights[index];
  const largest = weights.map((weight, s) => [weight, s]).sort((a, b) => b[0] - a[0])
    .filter(([weight], i) => !i || weight >= LEAST_NAMED).slice(0, MOST_NAMED);
  list.replaceChildren(...largest.map(([weight, s]) => made("li", "", ...bar(
    found.names[s] ? isolated(found.names[s], model.src_direction, model.src_language)
      : made("span", "quiet", "the end"), weight))));
  shade(found, weights);
  const names = largest.map(([, s]) => found.names[s] || "the end").join(", ");
  if (document.activeElement === of.words[index].element)
    announce(`${part("chance").textContent}; reads most: ${names}`);
}

const waiting = () => made("li", "quiet", "…");

function bar(name, share) {
  const stripe = made("span", "stripe");
  stripe.style.setProperty("--share", Math.min(Math.max(share, 0), 1).toFixed(3));
  return [made("span", "name", name), stripe,
    made("span", "number", asPercent(share))];
}

// What a word may be replaced by. Asked for each word once it is rested on.
async function showOthers(index) {
  const list = part("others");
  const of = shown;
  const entry = shown.words[index];
  const isStill = () => shown === of && word === index;
  const { signal } = looking;
  if (!entry.others) {
    list.replaceChildren(waiting());
    try {
      await wait(ASIDE / 1000, signal);
      if (!isStill()) return;
      const body = { text: of.source, prefix: entry.before.trimEnd(), count: 5 };
      const { alternatives } = await patiently(
        () => answer("/api/alternatives", { body, signal }), signal);
      entry.others = alternatives;
    } catch (error) {
      if (error.name !== "AbortError" && isStill())
        list.replaceChildren(made("li", "quiet", error.message));
      return;
    }
  }
  if (!isStill()) return;
  list.replaceChildren(...entry.others.map((other) => choice(index, other)));
}

function choice(index, { word: other, probability }) {
  if (!other)
    return made("li", "", ...bar(made("span", "quiet", "(the end)"), probability));
  const name = isolated(other, model.tgt_direction, model.tgt_language);
  const entry = button("", () => goOnFrom(index, other), ...bar(name, probability));
  const isChosen = other === shown.words[index].text;
  entry.classList.toggle("same", isChosen);
  entry.title = isChosen ? "Keep what stands up to here" : "Go on from this word";
  return made("li", "", entry);
}

// Asks for a translation that begins as this one does, with another word in it.
function goOnFrom(index, other) {
  const { before } = shown.words[index];
  const isLast = /[.!?؟。！？…]["'»”’)\]]*$/.test(other)
    || (index === shown.words.length - 1 && other === shown.words[index].text);
  // A space says that the word is whole; after a full stop the end may come as well.
  prefix = before + other + (isLast ? "" : " ");
  goTo = index;
  showPrefix();
  translate();
}

function showPrefix() {
  part("pinned").hidden = !prefix;
  part("pinned-text").dir = model.tgt_direction;
  part("pinned-text").textContent = prefix.trim();
}

// ---- the source behind its field ----

// The field's words are shaded by a copy that lies under it; it also gives its height.
function mirrorText() {
  mirror.replaceChildren(`${source.value}\u200b`);
}

function shade({ names, weights }, row) {
  const pieces = shown.source.split(/(\s+)/);
  const count = pieces.filter((piece) => piece.trim()).length;
  if (source.value !== shown.source || count !== names.length - 1) return;
  const scale = Math.max(...weights.flat(), 0.2);
  let s = 0;
  mirror.replaceChildren(...pieces.map((piece) => {
    if (!piece.trim()) return piece;
    const element = made("span", "s", piece);
    element.style.setProperty("--share", Math.min(row[s++] / scale, 1).toFixed(3));
    return element;
  }), "\u200b");
}

// ---- history ----

let past = remembered("history", []);
if (!Array.isArray(past)) past = [];
past = past.filter((entry) => typeof entry?.text === "string"
  && typeof entry.translation === "string");

function keep(text, translation) {
  const now = Date.now();
  const last = past[0];
  const isSame = last && now - last.when < SAME_TEXT
    && (text.startsWith(last.text.trim()) || last.text.startsWith(text.trim()));
  if (isSame) past.shift();
  past = [{ text, translation, when: now }, ...past.filter((e) => e.text !== text)]
    .slice(0, MOST_HISTORY);
  remember("history", past);
  showPast();
}

function showPast() {
  part("past").hidden = !past.length;
  part("history").replaceChildren(...past.map(({ text, translation }) => made("li", "",
    button("", () => take(text),
      isolated(text, model.src_direction, model.src_language),
      isolated(translation, model.tgt_direction, model.tgt_language)))));
}

// ---- what one does ----

function take(text) {
  source.value = text;
  changed(0);
  source.focus();
}

function changed(milliseconds = TYPING) {
  prefix = "";
  goTo = null;
  showPrefix();
  letGo();
  part("clear").hidden = !source.value;
  part("examples").hidden = Boolean(source.value);
  showCount();
  later(source.value.trim() ? milliseconds : 0);
}

function showCount() {
  const length = [...source.value].length;
  const { characters } = model.limits;
  const isNear = length > 0.8 * characters;
  part("count").textContent = isNear
    ? `${asCount(length)} of ${asCount(characters)}` : "";
  part("count").classList.toggle("over", length > characters);
}

source.addEventListener("input", (event) => {
  mirrorText();
  if (!event.isComposing) changed();
});
source.addEventListener("compositionend", () => changed());
source.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  translate();
});
part("clear").addEventListener("click", () => take(""));
part("again").addEventListener("click", () => (model.name ? translate() : start()));
part("unpin").addEventListener("click", () => {
  prefix = "";
  showPrefix();
  translate();
});
part("forget").addEventListener("click", () => {
  past = [];
  remember("history", past);
  showPast();
  source.focus();
});

settings.addEventListener("submit", (event) => event.preventDefault());
settings.addEventListener("input", () => {
  showSettings();
  keepSettings();
  later(TURNING);
});
part("draw").addEventListener("click", () => {
  settings.elements.seed.value = Math.floor(Math.random() * (LARGEST_SEED + 1));
  keepSettings();
  translate();
});

part("copy").addEventListener("click", async () => {
  const isCopied = await copy(shown.target);
  part("copy").textContent = isCopied ? "Copied" : "Not copied";
  say(isCopied ? "" : "The browser does not let this page copy.");
  setTimeout(() => { part("copy").textContent = "Copy"; }, 1500);
});

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // a page that did not come over HTTPS or from this machine
    const field = made("textarea", "unseen");
    field.value = text;
    document.body.append(field);
    field.select();
    const isCopied = document.execCommand("copy");
    field.remove();
    part("copy").focus();
    return isCopied;
  }
}

// ---- words under the pointer and the keys ----

let hovering = 0;
const indexOf = (target) => {
  const element = target.closest?.(".w");
  return element ? Number(element.dataset.index) : null;
};

result.addEventListener("pointerover", (event) => {
  clearTimeout(hovering);
  const index = indexOf(event.target);
  if (index === null || isHeld || event.pointerType === "touch") return;
  hovering = setTimeout(() => look(index), HOVER);
});
result.addEventListener("pointerleave", () => clearTimeout(hovering));
result.addEventListener("focusin", (event) => {
  const index = indexOf(event.target);
  if (index === null || index === word) return;
  isHeld = false;
  look(index);
});
result.addEventListener("click", (event) => {
  const index = indexOf(event.target);
  if (index === null) return;
  if (isHeld && index === word) {
    isHeld = false;
    showHeld();
  } else {
    hold(index);
  }
});
result.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own
  const index = indexOf(event.target);
  if (index === null) return;
  const isRtl = getComputedStyle(result).direction === "rtl";
  const forward = isRtl ? "ArrowLeft" : "ArrowRight";
  const back = isRtl ? "ArrowRight" : "ArrowLeft";
  const last = shown.words.length - 1;
  const next = {
    [forward]: index + 1, [back]: index - 1, Home: 0, End: last,
  }[event.key];
  if (next !== undefined) {
    shown.words[Math.min(Math.max(next, 0), last)].element.focus();
  } else if (event.key === "Enter" || event.key === " ") {
    hold(index);
  } else {
    return;
  }
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && word !== null) close();
});
part("close").addEventListener("click", close);

function close() {
  const { element } = shown.words[word];
  const wasInside = part("inside").contains(document.activeElement);
  letGo();
  if (!wasInside) return;
  element.focus(); // which looks at it again
  letGo();
}

// ---- the beginning ----

function showModel() {
  const from = languageName(model.src_language, "");
  const to = languageName(model.tgt_language, "");
  part("source-name").textContent = from || "Text";
  part("target-name").textContent = to || "Translation";
  part("model").textContent = model.name;
  source.placeholder = from ? `Type a sentence in ${from}` : "Type a sentence";
  for (const element of [source, mirror]) element.dir = model.src_direction;
  result.dir = model.tgt_direction;
  source.lang = mirror.lang = model.src_language;
  result.lang = model.tgt_language;
  part("to-training").hidden = !model.is_training;
  part("examples").replaceChildren(...model.examples.map((text) => made("li", "",
    button("chip", () => take(text),
      isolated(text, model.src_direction, model.src_language)))));
}

async function start() {
  try {
    model = await patiently(() => answer("/api/model"));
  } catch (error) {
    return complain(error);
  }
  complain(null);
  showModel();
  showSettings();
  showPast();
  showCount();
  mirrorText();
  if (source.value.trim()) changed(0); // a browser may put back what was typed
}

themed();
restoreSettings();
start();
