"""One translation looked at closely, as a page that needs nothing beside itself.

`explanation_page` shows where the decoder looked while it wrote each token, how
probable the token was and what else might have come. Its style and its one script are
inside; a policy in its head allows these two by their hashes and forbids whatever else
a browser might fetch. Without JavaScript, and on paper, a table says the same.

L layers, H heads, T target tokens, S source tokens. Weights are embedded in 8 bits, as
round(255 w), so they are off by at most 0.002; the page shows two decimals.

Attention shows where a model reads, which need not be why it chose a word (Jain and
Wallace 2019, "Attention is not Explanation"); the page says so too.
"""

import base64
import hashlib
import html
import json
import math
import unicodedata
from collections.abc import Sequence

import numpy as np

from flaxformer_mt.decoding.explanation import Explanation
from flaxformer_mt.errors import InputError
from flaxformer_mt.text.report_page import (
    STYLE,
    as_percent,
    draw_bar,
    full_name,
    html_table,
    is_invisible,
    short_name,
)

END = ""  # the token that ends a text
MOST_ALTERNATIVES = 5
MOST_READ = 3  # source tokens that the table names beside a target token
LEAST_READ = 0.05  # and the weight from which they are named
LEVELS = 255  # of an embedded weight
SHADES = 9  # steps from a sure token to a doubtful one, class d0 to d9

# Both are shown as one sign: SentencePiece writes a space as U+2581.
_SPACES = {" ": "space", "\u2581": "space, as pieces write it"}
_SPACE_SIGN = "\u2423"
_JOINERS = "\u200c\u200d"
_RTL_CLASSES = ("R", "AL")


def explanation_page(explanations: Sequence[Explanation], *, title: str) -> str:
    """Returns one self-contained HTML page about one translation or several.

    It grows by about L * H * T * S * 4 / 3 bytes and 1 kB a target token for each
    translation: 180 kB for 4 layers, 4 heads, 60 x 60 tokens.

    Raises:
      InputError: there is nothing to explain.
    """
    if not explanations:
        raise InputError(
            "a page needs at least one translation to explain; got none: give it a "
            "text that is not empty."
        )
    several = len(explanations) > 1
    sections = "".join(
        _section(explanation, number if several else 0)
        for number, explanation in enumerate(explanations, 1)
    )
    return _document(title, (_contents(explanations) if several else "") + sections)


def _document(title: str, main: str) -> str:
    """Returns a page around ready HTML, with a policy for the style and the script."""
    style = STYLE + _OWN_STYLE
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src "
        f"'{_hash(_SCRIPT)}'; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en" dir="ltr"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{_plain(title)}</title><style>{style}</style></head>\n"
        f"<body><header><h1>{_running(title)}</h1></header>"
        f"<main>{main}</main><script>{_SCRIPT}</script></body></html>\n"
    )


def _hash(inline: str) -> str:
    """Returns what a policy calls an inline style or script."""
    digest = hashlib.sha256(inline.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


# ---- text --------------------------------------------------------------------------


def _direction(text: str, otherwise: str = "ltr") -> str:
    """Returns "rtl" or "ltr" by the first strong letter (Unicode Annex 9, P2)."""
    for char in text:
        kind = unicodedata.bidirectional(char)
        if kind == "L" or kind in _RTL_CLASSES:
            return "ltr" if kind == "L" else "rtl"
    return otherwise


def _badge(char: str) -> str:
    """Returns a small frame with the short name of a character of no ink."""
    # dir, so that a badge has no say in the direction of the text around it.
    return (
        f'<span class="mark" dir="ltr" title="{html.escape(full_name(char))}">'
        f"{short_name(char)}</span>"
    )


def _visible(text: str) -> str:
    """Returns a token escaped, with a sign for whatever in it cannot be seen."""
    pieces = []
    for char in text:
        if char in _SPACES:
            pieces.append(
                f'<span class="gap" title="{_SPACES[char]}">{_SPACE_SIGN}</span>'
            )
        else:
            pieces.append(_badge(char) if is_invisible(char) else html.escape(char))
    return "".join(pieces)


def _token(token: str, otherwise: str) -> str:
    """Returns a token to look at; `otherwise` is its direction if it has no letter."""
    if token == END:
        return '<span class="mark end" dir="ltr" title="end">end</span>'
    # A mark that stands on letters gets a place to stand on.
    ground = "\u25cc" if unicodedata.category(token[0])[0] == "M" else ""
    return f'<bdi dir="{_direction(token, otherwise)}">{ground}{_visible(token)}</bdi>'


def _running(text: str) -> str:
    """Returns a sentence escaped; joiners stay, since the letters' shapes need them."""
    if not text:
        return '<span class="quiet">(empty)</span>'
    shown = "".join(
        _badge(char)
        if is_invisible(char) and char not in _JOINERS
        else html.escape(char)
        for char in text
    )
    return f'<bdi dir="{_direction(text)}">{shown}</bdi>'


def _sentence(text: str) -> str:
    """Returns a sentence as a paragraph of its own direction."""
    direction = _direction(text)
    return f'<p class="text sentence" dir="{direction}">{_running(text)}</p>'


def _plain(text: str) -> str:
    """Returns a text for where no element can stand: invisible characters by name."""
    return "".join(
        f"&lt;{short_name(char)}&gt;" if is_invisible(char) else html.escape(char)
        for char in text
    )


# ---- one translation ---------------------------------------------------------------


def _contents(explanations: Sequence[Explanation]) -> str:
    """Returns the list on top of a page of several translations."""
    items = "".join(
        f'<li><a href="#t{number}">{_running(e.src_text)}</a>'
        f' <span class="quiet">{_running(e.tgt_text)}</span></li>'
        for number, e in enumerate(explanations, 1)
    )
    return f'<nav aria-label="Translations"><ol class="translations">{items}</ol></nav>'


def _section(explanation: Explanation, number: int) -> str:
    """Returns all about one translation; number 0: it is the only one."""
    e = explanation
    weights = np.rint(np.clip(e.attention, 0, 1) * LEVELS).astype(np.uint8)
    heading = f"<h2>Translation {number}</h2>" if number else ""
    return (
        f'<section id="t{number or 1}" class="translation">{heading}'
        '<div class="pair"><div><p class="place">Source</p>'
        f"{_sentence(e.src_text)}</div>"
        f'<div><p class="place">Translation</p>{_sentence(e.tgt_text)}</div></div>'
        f"{_facts(e)}{_lines(e)}{_map()}{_tokens_table(e, weights)}"
        f"{_embedded(weights)}</section>"
    )


def _facts(e: Explanation) -> str:
    """Returns a line of numbers about the whole."""
    mean = e.score / len(e.tgt_tokens)
    facts = [
        f"log-probability {e.score:.2f} nats ({mean:.2f} a token)",
        f"{len(e.src_tokens):,} source tokens",
        f"{len(e.tgt_tokens):,} target tokens",
    ]
    if e.run:
        facts.append(f"run {_running(e.run)}")
    if e.tgt_tokens[-1] != END:
        facts.append("cut off at the length limit")
    return f'<p class="quiet">{" &middot; ".join(facts)}</p>'


def _shade(log_probability: float) -> int:
    """Returns 0 for a sure token to SHADES for one that the model hardly believed."""
    return round(SHADES * (1 - math.exp(min(log_probability, 0.0))))


def _row(e: Explanation, side: str) -> str:
    """Returns the tokens of a side as buttons, in the direction of its text."""
    tokens = e.src_tokens if side == "src" else e.tgt_tokens
    text = e.src_text if side == "src" else e.tgt_text
    direction = _direction(text)
    buttons = "".join(
        '<button type="button" class="token'
        + (f" d{_shade(e.log_probabilities[i])}" if side == "tgt" else "")
        # One stop of the Tab key a row; the arrow keys go on from there.
        + f'" tabindex="{-1 if i else 0}">{_token(token, direction)}</button>'
        for i, token in enumerate(tokens)
    )
    letters = " letters" if sum(len(t) > 1 for t in tokens) <= len(tokens) / 10 else ""
    name = "Source" if side == "src" else "Target"
    return (
        f'<div class="row {side}{letters}" role="toolbar" aria-label="{name} tokens" '
        f'dir="{direction}"><div class="inner">{buttons}</div></div>'
    )


def _lines(e: Explanation) -> str:
    """Returns both rows of tokens with room for lines, and the choice of what to see.

    What only the script can fill is hidden until it runs.
    """
    num_layers, num_heads = np.shape(e.attention)[:2]
    layers = "".join(
        f'<option value="{i}"{" selected" if i == num_layers - 1 else ""}>{i + 1}'
        f"{' (last)' if i == num_layers - 1 and i else ''}</option>"
        for i in range(num_layers)
    )
    heads = '<option value="mean" selected>mean of all</option>' + "".join(
        f'<option value="{i}">{i + 1}</option>' for i in range(num_heads)
    )
    swatches = "".join(
        f'<span class="swatch d{i}"></span>' for i in range(SHADES, -1, -1)
    )
    return (
        "<h3>Token by token</h3>"
        '<p class="live" hidden>Point at a token, tap it or go there with the arrow '
        "keys: lines show what it reads or what reads it. A click holds it. Attention "
        "says where the model looks, which need not be why it chose a word.</p>"
        '<div class="controls live" hidden>'
        f'<label>Layer <select class="layer">{layers}</select></label>'
        f'<label>Head <select class="head">{heads}</select></label></div>'
        f'<div class="rows"><p class="legend">Source tokens</p>{_row(e, "src")}'
        '<svg class="lines live" aria-hidden="true" hidden></svg>'
        f'{_row(e, "tgt")}<p class="legend">Target tokens; <span class="nowrap">'
        f"probability 0 {swatches} 1</span></p></div>"
        '<div class="panel live" aria-live="polite" hidden></div>'
    )


def _map() -> str:
    """Returns the place of the heat map, which the script draws."""
    return (
        '<div class="live" hidden><h3>Heat map</h3><p class="legend">A row is a target '
        'token, a column a source token; <span class="nowrap">weight 0 '
        '<span class="ramp"></span> <span class="top">1</span></span></p>'
        '<p class="readout" aria-live="polite"></p>'
        '<div class="map-scroll"></div></div>'
    )


def _tokens_table(e: Explanation, weights: np.ndarray) -> str:
    """Returns a row a target token: all that can be said without a script."""
    tgt_direction, src_direction = _direction(e.tgt_text), _direction(e.src_text)
    looked = weights[-1].mean(axis=0) / LEVELS  # [T, S]
    rows = []
    for i, token in enumerate(e.tgt_tokens):
        probability = math.exp(min(e.log_probabilities[i], 0.0))
        rows.append(
            (
                str(i + 1),
                _token(token, tgt_direction),
                _probability(probability),
                draw_bar(probability),
                _alternatives(e.alternatives[i], token, tgt_direction),
                _read(e.src_tokens, looked[i], src_direction),
            )
        )
    heads = [
        "#Position", "Token", "#Probability", "As a bar", "Likeliest tokens",
        "Reads most",
    ]  # fmt: skip
    return (
        '<h3>Target tokens</h3><p>"Reads most": the mean over the heads of the last '
        f"layer.</p>{html_table(heads, rows)}"
    )


def _probability(probability: float) -> str:
    """Returns a percentage to read, with a number for the script."""
    return f'<data value="{probability:.4f}">{as_percent(probability, 1)}</data>'


def _read(tokens: Sequence[str], weights: np.ndarray, direction: str) -> str:
    """Returns the tokens [S] of the largest weights [S], and these."""
    largest = np.argsort(-weights, kind="stable")[:MOST_READ]
    items = "".join(
        f"<li>{_token(tokens[s], direction)} "
        f'<data value="{weights[s]:.2f}">{weights[s]:.2f}</data></li>'
        for s in largest
        if weights[s] >= LEAST_READ or s == largest[0]
    )
    return f'<ol class="entries">{items}</ol>'


def _alternatives(
    alternatives: Sequence[tuple[str, float]], chosen: str, direction: str
) -> str:
    """Returns the likeliest tokens of one position, the chosen one marked."""
    items = "".join(
        ('<li class="chosen">' if token == chosen else "<li>")
        + f"{_token(token, direction)} {_probability(probability)}</li>"
        for token, probability in alternatives[:MOST_ALTERNATIVES]
    )
    return f'<ol class="entries alternatives">{items}</ol>'


def _embedded(weights: np.ndarray) -> str:
    """Returns weights [L, H, T, S] uint8 for the script, as JSON with Base64 in it."""
    layers, heads, rows, columns = weights.shape
    data = {
        "layers": layers, "heads": heads, "rows": rows, "columns": columns,
        "weights": base64.b64encode(weights.tobytes()).decode(),
    }  # fmt: skip
    return f'<script type="application/json" class="data">{_json(data)}</script>'


def _json(data: object) -> str:
    """Returns JSON that can end no script element, whatever text is in it."""
    return json.dumps(data).replace("<", "\\u003c")


# No url(), no import: what is added to the style of the data report's page.
_OWN_STYLE = """
:root { --heat: #0a3f8f; --doubt: #f0a133; }
@media (prefers-color-scheme: dark) { :root { --heat: #b9dcff; --doubt: #b36b00; } }
[hidden] { display: none !important; }
h3 { margin: 1.8rem 0 .4rem; }
.pair { padding: .6rem 1rem; } .place { margin: 0; }
.sentence { font-size: 1.3rem; line-height: 1.7; }
ol.translations { padding: 0; list-style-position: inside; }
ol.translations li { margin: .15rem 0; overflow: hidden; white-space: nowrap;
  text-overflow: ellipsis; }
.controls { display: flex; flex-wrap: wrap; gap: .5rem 1.2rem; margin: .6rem 0 1rem; }
select { font: inherit; color: var(--ink); background: var(--page); padding: .15rem
  .3rem; border: 1px solid var(--rule); border-radius: .3rem; }
.row { overflow-x: auto; scrollbar-width: thin; padding: .25rem 0 .35rem; }
/* Automatic margins centre what is narrow and, unlike centring, keep reachable what is
   broad. */
.inner { display: flex; gap: .3rem; width: max-content; margin: 0 auto;
  padding: 0 .25rem; }
.token { position: relative; isolation: isolate; font: inherit; line-height: 1.5;
  color: var(--ink); background: none; border: 1px solid var(--rule); border-radius:
  .35rem; padding: .2rem .5rem; min-width: 1.8rem; white-space: nowrap; cursor: pointer;
  flex: none; }
.letters .inner { gap: 1px; }
.letters .token { padding: .2rem 0; min-width: 1.05rem; border-radius: .2rem; }
.letters .token:has(.mark) { padding: .2rem .1rem; }
.token::before, .token::after, .swatch::before { content: ""; position: absolute;
  inset: 0; border-radius: inherit; z-index: -1; opacity: 0; }
.token::before, .swatch::before { background: var(--doubt); }
.token::after { background: var(--heat); opacity: calc(.5 * var(--weight, 0)); }
.lit .token::before { opacity: 0; }
.d1::before { opacity: .08 } .d2::before { opacity: .16 } .d3::before { opacity: .25 }
.d4::before { opacity: .34 } .d5::before { opacity: .43 } .d6::before { opacity: .52 }
.d7::before { opacity: .61 } .d8::before { opacity: .7 } .d9::before { opacity: .8 }
.token.on { border-color: var(--ink); box-shadow: 0 0 0 1px var(--ink); }
.token:focus-visible, .map svg:focus-visible { outline: 3px solid var(--link);
  outline-offset: 1px; }
.token .mark, .map .mark { font-size: .62em; line-height: 1.3; margin: 0; padding: 0
  .2em; }
.token .mark { vertical-align: .15em; }
.gap { color: var(--mark); opacity: .75; }
.lines { display: block; width: 100%; height: 8.5rem; overflow: hidden; }
.lines path { fill: none; stroke: var(--bar); }
header { margin-bottom: 1rem; } .nowrap { white-space: nowrap; }
.legend { color: var(--quiet); font-size: .9rem; margin: .3rem 0; }
.swatch { position: relative; isolation: isolate; display: inline-block; width: 1.1rem;
  height: .9rem; border: 1px solid var(--rule); vertical-align: -.1rem;
  margin-inline-end: -1px; }
.ramp { display: inline-block; width: 9rem; height: .9rem; vertical-align: -.1rem;
  border: 1px solid var(--rule); background: linear-gradient(to right, transparent,
  var(--heat)); }
.panel { border: 1px solid var(--rule); border-radius: .5rem; padding: .6rem 1rem;
  min-height: 11.5rem; display: grid; gap: .2rem 2rem; align-content: start;
  grid-template-columns: repeat(auto-fit, minmax(min(15rem, 100%), 1fr)); }
.panel .big { font-weight: 500; font-size: 1.8rem; } .panel p { margin: 0 0 .2rem; }
.scale { display: grid; grid-template-columns: minmax(2.5rem, max-content) 1fr
  max-content;
  gap: .1rem .6rem; align-items: center; margin: 0; padding: 0; list-style: none; }
.scale li { display: contents; }
.scale .number { text-align: end; min-width: 3.4rem; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.scale .stripe { height: .75rem; background: linear-gradient(var(--bar), var(--bar))
  no-repeat; background-size: calc(100% * var(--weight)) 100%; border-inline-start: 1px
  solid var(--rule); }
.chosen { font-weight: 650; }
.entries { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap;
  gap: 0 1.1rem; }
.entries li { white-space: nowrap; } .entries data { color: var(--quiet);
  font-weight: 400; font-size: .93em; }
td bdi { font-size: 1.1em; } td .mark, .panel .mark, .readout .mark { vertical-align:
  .1em; }
td svg.inline { min-width: 3rem; }
.readout { min-height: 1.6em; }
.map-scroll { overflow: auto; max-height: 85vh; scrollbar-width: thin; }
.map { display: grid; grid-template-columns: max-content max-content; width:
  max-content; margin: 0 auto; line-height: 1; }
.map svg { display: block; border: 1px solid var(--rule); cursor: crosshair;
  touch-action: pan-x pan-y; }
.map .cell { fill: var(--heat); shape-rendering: crispEdges; }
.map .cursor { fill: none; stroke: var(--second); stroke-width: 2;
  pointer-events: all; }
.map .corner, .map .across, .map .down { background: var(--card); position: sticky;
  z-index: 1; }
.map .across { top: 0; display: flex; } .map .down { inset-inline-start: 0; }
.map .corner { top: 0; inset-inline-start: 0; z-index: 2; }
.across > span { display: flex; align-items: center; justify-content: flex-end;
  padding-bottom: .3rem; flex-direction: column; overflow: hidden; }
.down > span { display: flex; align-items: center; justify-content: flex-end;
  padding-inline-end: .4rem; max-width: 9rem; overflow: hidden; white-space: nowrap; }
.map .near { background: var(--second); color: var(--card); }
.map .near .mark, .map .near .gap { color: inherit; }
.sideways > span > *, .across .mark { writing-mode: vertical-rl; }
.across .mark { padding: .2em 0; }
.sideways > span > * { transform: rotate(180deg); max-height: 9rem; }
@media (max-width: 40rem) { .sentence { font-size: 1.15rem; } .panel { padding: .5rem; }
  .lines { height: 7rem; } .letters .token { min-width: 1.25rem; }
  .stack .entries { justify-content: flex-end; }
  .stack tr { padding: .6rem 0; } }
@media print { .controls, p.live, .lines, .panel, .readout { display: none !important; }
  body { max-width: none; padding: 0; } section { border: 0; padding: 0; }
  .row, .map-scroll { overflow: visible; max-height: none; }
  .inner { flex-wrap: wrap; width: auto; }
  .map > * { position: static !important; } tr { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""

# It makes elements and copies those of the page; it never makes HTML out of text.
_SCRIPT = """
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
    name.textContent = `${target.textContent} \\u2190 ${source.textContent}: ${weight}`;
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
"""
