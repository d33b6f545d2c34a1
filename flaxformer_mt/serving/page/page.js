// What both pages share. Text becomes text nodes alone: nothing here or elsewhere makes
// HTML out of a string.

const SVG = "http://www.w3.org/2000/svg";

export const part = (id) => document.getElementById(id);

// Returns an element with a class, holding elements and texts.
export function made(name, className = "", ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

export function drawn(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  element.append(...children);
  return element;
}

// A text in its own direction, which has no say in the order of what stands around it.
export function isolated(text, dir = "auto", lang = "") {
  const element = made("bdi", "", text);
  element.dir = dir;
  if (lang) element.lang = lang;
  return element;
}

export function button(className, onClick, ...children) {
  const element = made("button", className, ...children);
  element.type = "button";
  element.addEventListener("click", onClick);
  return element;
}

// ---- what a browser may refuse to keep ----

export function remembered(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`flaxformer_mt.${key}`)) ?? otherwise;
  } catch { // forbidden, or spoilt by hand
    return otherwise;
  }
}

export function remember(key, value) {
  try {
    localStorage.setItem(`flaxformer_mt.${key}`, JSON.stringify(value));
  } catch { // forbidden or full: the page works without a memory
  }
}

// ---- the server ----

// What stands in the way of an answer, as one sentence.
export class Refusal extends Error {
  constructor(message, { status = 0, retryAfter = null } = {}) {
    super(message.charAt(0).toUpperCase() + message.slice(1));
    this.status = status;
    this.retryAfter = retryAfter; // seconds; null: trying again does not help by itself
  }
}

const GONE = "The server does not answer; is it still running?";

async function refusal(response) {
  let message = `The server answered ${response.status}, without a reason.`;
  try {
    message = String((await response.json()).error.message);
  } catch { // no JSON
  }
  let retryAfter = null;
  if (response.status === 503) {
    const seconds = Number(response.headers.get("Retry-After") ?? 2);
    retryAfter = seconds >= 0 && seconds <= 120 ? seconds : 2;
  }
  return new Refusal(message, { status: response.status, retryAfter });
}

// Returns a response that is 200. Raises Refusal; AbortError where `signal` says so.
export async function ask(path, { body, signal } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(GONE);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

export async function answer(path, options) {
  const response = await ask(path, options);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(GONE);
  }
}

// Yields [name, data] of each server-sent event of a response.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let chunk;
    try {
      chunk = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refusal(GONE);
    }
    if (chunk.done) return;
    // A carriage return at the very end may be half of a line's end.
    rest = (rest + chunk.value).replace(/\r\n|\r(?!$)/g, "\n");
    for (let end; (end = rest.indexOf("\n\n")) >= 0; rest = rest.slice(end + 2)) {
      const event = parsed(rest.slice(0, end));
      if (event) yield event;
    }
  }
}

function parsed(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "event") name = value;
    if (field === "data") data.push(value);
  }
  return data.length ? [name, JSON.parse(data.join("\n"))] : null;
}

export const wait = (seconds, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, 1000 * seconds);
  signal?.addEventListener("abort", () => {
    clearTimeout(timer);
    reject(new DOMException("outdated", "AbortError"));
  }, { once: true });
});

// ---- words for things ----

export function languageName(code, otherwise) {
  if (!code) return otherwise;
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code) ?? otherwise;
  } catch { // no code of a language
    return code;
  }
}

// English whatever the browser speaks, since the page does.
export const asCount = (number) => number.toLocaleString("en");

export function asPercent(share) {
  if (share >= 0.995 && share < 1) return "over 99%";
  if (share > 0 && share < 0.01) return "under 1%";
  return `${Math.round(100 * share)}%`;
}

// ---- light and dark ----

const THEMES = { auto: "Auto", light: "Light", dark: "Dark" };

export function themed() {
  let theme = remembered("theme", "auto");
  if (!Object.hasOwn(THEMES, theme)) theme = "auto";
  const switcher = part("theme");
  const show = () => {
    document.documentElement.dataset.theme = theme;
    switcher.textContent = THEMES[theme];
    switcher.setAttribute("aria-label", `Colours: ${THEMES[theme]}`);
    switcher.title = "Colours: as the system, light or dark";
  };
  switcher.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    theme = names[(names.indexOf(theme) + 1) % names.length];
    remember("theme", theme);
    show();
  });
  show();
}
