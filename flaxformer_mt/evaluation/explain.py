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
from pathlib import Path

import numpy as np

from flaxformer_mt.decoding.explanation import Explanation
from flaxformer_mt.errors import InputError
from flaxformer_mt.text.hypertext import (
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

# No url(), no import in it: what is added to the style of all pages.
_OWN_STYLE = (Path(__file__).parent / "explain.css").read_text(encoding="utf-8")
# It makes elements and copies those of the page; it never makes HTML out of text.
_SCRIPT = (Path(__file__).parent / "explain.js").read_text(encoding="utf-8")


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
