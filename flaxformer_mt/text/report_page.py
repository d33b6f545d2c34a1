"""The page of a data report: one HTML file that needs nothing beside itself.

`render` turns the report of `python -m flaxformer_mt.prepare` into a page without
scripts and without anything to load: its style is inside, its charts are SVG. A policy
in its head forbids whatever else a browser might fetch, and allows that one style by
its hash.

Text of the corpus is shown as it is and can do nothing. It is escaped; it stands in
elements with dir="auto", so that Persian reads from right to left and moves nothing
around it (Unicode Annex 9); and characters that cannot be seen become small badges.
"""

import base64
import hashlib
import html
import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

MOST_CHARACTERS = 600  # of one text of an example
MOST_EXAMPLES = 20  # of one rule
MOST_BARS = 160  # of one chart; neighbours are added up beyond

DROPPED_SHARE = 0.05  # by one rule, from which it is worth a look
UNKNOWN_SHARE = 0.001
FOREIGN_SHARE = 0.01  # of a script beside a side's own
ODD_FOREIGN_SHARE = 0.001  # of one that is not Latin, which names bring in anywhere
PADDING_SHARE = 0.5
LARGEST_GROUP_SHARE = 0.05

SIDES = {"src": "Source", "tgt": "Target"}
_NO_SCRIPT = {"Common", "Inherited", "Unknown"}
_SHORT_NAMES = {
    0x00: "NUL", 0x09: "TAB", 0x0A: "LF", 0x0D: "CR", 0x1B: "ESC", 0x7F: "DEL",
    0x85: "NEL", 0xA0: "NBSP", 0xAD: "SHY", 0x61C: "ALM", 0x180E: "MVS",
    0x200B: "ZWSP", 0x200C: "ZWNJ", 0x200D: "ZWJ", 0x200E: "LRM", 0x200F: "RLM",
    0x2028: "LSEP", 0x2029: "PSEP", 0x202A: "LRE", 0x202B: "RLE", 0x202C: "PDF",
    0x202D: "LRO", 0x202E: "RLO", 0x202F: "NNBSP", 0x2060: "WJ", 0x2066: "LRI",
    0x2067: "RLI", 0x2068: "FSI", 0x2069: "PDI", 0xFEFF: "BOM",
}  # fmt: skip
# Letters of no ink that Unicode files under letters, not under formats.
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")

Report = Mapping[str, Any]


def render(report: Report) -> str:
    """Return the report as one self-contained HTML page.

    Missing parts are left out or said to be empty; nothing is fetched, nothing runs.

    Args:
        report: what `python -m flaxformer_mt.prepare` writes into report.json.
    """
    sections = [
        (name, title, body)
        for name, title, build in _SECTIONS
        if (body := build(report))
    ]
    contents = "".join(
        f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in sections
    )
    main = "".join(
        f'<section id="{name}"><h2>{title}</h2>{body}</section>'
        for name, title, body in sections
    )
    style_hash = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; base-uri 'none'; "
        "form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en" dir="ltr"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Data report</title><style>{STYLE}</style></head>\n"
        f"<body><header><h1>Data report</h1>{_origin(report)}</header>"
        f'<nav aria-label="Contents"><ul>{contents}</ul></nav>'
        f"<main>{main}</main></body></html>\n"
    )


# ---- text --------------------------------------------------------------------------


def is_invisible(char: str) -> bool:
    """Whether a character leaves no ink, or steers the ink of others."""
    if char == " ":
        return False
    category = unicodedata.category(char)
    return category[0] in "CZ" or char in _BLANK_LETTERS


def short_name(char: str) -> str:
    """Return what a badge says: "ZWNJ", or "U+0001" for what has no short name."""
    return _SHORT_NAMES.get(ord(char), f"U+{ord(char):04X}")


def full_name(char: str) -> str:
    """Return Unicode's name of a character and its number."""
    name = unicodedata.name(char, "") or _SHORT_NAMES.get(ord(char), "")
    return f"U+{ord(char):04X} {name}".strip()


def _shown(text: object) -> str:
    """Return a text escaped, with a badge for each character that cannot be seen."""
    pieces = []
    for char in str(text):
        if is_invisible(char):
            # dir, so that a badge has no say in the direction of the text around it.
            pieces.append(
                f'<span class="mark" dir="ltr" title="{html.escape(full_name(char))}">'
                f"&lt;{short_name(char)}&gt;</span>"
            )
        else:
            pieces.append(html.escape(char))
    return "".join(pieces)


def _inline(text: object) -> str:
    """Return a text that stands within a sentence of ours."""
    return f'<bdi dir="auto">{_shown(text)}</bdi>'


def _sentence(text: object) -> str:
    """Return a sentence of the corpus, as a paragraph of its own direction."""
    text = str(text)
    cut = text[:MOST_CHARACTERS]
    more = ""
    if len(text) > len(cut):
        more = f'<span class="quiet" dir="ltr"> ... {len(text):,} characters</span>'
    if not text:
        return '<p class="text quiet">(empty)</p>'
    return f'<p class="text" dir="auto">{_shown(cut)}{more}</p>'


def _number(value: object) -> str:
    """Return a count with separators; what is not a number, as escaped text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _inline("-" if value is None else value)
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.2f}" if math.isfinite(value) else "-"
    return f"{int(value):,}"


def _count(number: object, noun: str) -> str:
    """Return "1 pair" or "2,000 pairs"."""
    return f"{_number(number)} {noun if number == 1 else noun + 's'}"


def as_percent(part: float, whole: float) -> str:
    """Return a percentage that never says 0 of something."""
    if not whole:
        return "-"
    percent = 100 * part / whole
    if 0 < percent < 0.01:
        return "under 0.01%"
    return f"{percent:.2f}%" if 0 < percent < 1 else f"{percent:.1f}%"


def _of(report: Report, *keys: str, default: Any = None) -> Any:
    """Return report[key][key]..., or the default where a part is missing."""
    value: Any = report
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return default if value is None else value


def _int(report: Report, *keys: str) -> int | float:
    """Return a count to compute with; 0 where it is missing."""
    value = _of(report, *keys, default=0)
    return value if isinstance(value, (int, float)) and math.isfinite(value) else 0


# ---- building blocks ---------------------------------------------------------------


def html_table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], caption: str = ""
) -> str:
    """Return a table of ready HTML; heads that begin with "#" are over numbers."""
    names = [head.lstrip("#") for head in heads]
    kinds = [_NUM if head.startswith("#") else "" for head in heads]
    head = "".join(
        f'<th scope="col" role="columnheader"{kind}>{name}</th>'
        for name, kind in zip(names, kinds, strict=True)
    )
    body = "".join(
        '<tr role="row">'
        + "".join(
            f'<td role="cell" data-label="{name}"{kind}>{cell}</td>'
            for cell, name, kind in zip(row, names, kinds, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    caption = f"<caption>{caption}</caption>" if caption else ""
    # A phone shows the rows of a broad table as cards. The roles say that it is a
    # table all the same: without them, that layout takes it from screen readers.
    stacked = ' class="stack"' if len(heads) >= 6 else ""
    return (
        f'<div class="wide" tabindex="0"><table role="table"{stacked}>{caption}'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table></div>'
    )


_NUM = ' class="num"'


def draw_bar(share: float, kind: str = "bar") -> str:
    """Return a bar for a table's cell; the number stands beside it."""
    width = 100 * min(max(share, 0.0), 1.0)
    return (
        '<svg class="inline" viewBox="0 0 100 10" preserveAspectRatio="none" '
        'aria-hidden="true"><rect class="track" width="100" height="10"/>'
        f'<rect class="{kind}" width="{width:.2f}" height="10"/></svg>'
    )


def _columns(*parts: str) -> str:
    """Return parts side by side where there is room, one below the other elsewhere."""
    return (
        '<div class="columns">' + "".join(f"<div>{p}</div>" for p in parts) + "</div>"
    )


# The drawing area of a chart, in its own units; a phone shows it at about this size.
_WIDTH, _HEIGHT = 420, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 24, 42


def _chart(title: str, description: str, body: str, x_label: str, y_label: str) -> str:
    """Return a chart with its axes named, and words for those who cannot see it."""
    key = hashlib.sha256((title + description).encode("utf-8", "replace")).hexdigest()
    ids = f"t{key[:10]}", f"d{key[:10]}"
    middle_x = (_LEFT + _WIDTH - _RIGHT) / 2
    base = _HEIGHT - _BOTTOM
    return (
        f'<figure><figcaption>{title}</figcaption><svg class="chart" role="img" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" aria-labelledby="{ids[0]} {ids[1]}">'
        f'<title id="{ids[0]}">{title}</title><desc id="{ids[1]}">{description}</desc>'
        f"{body}"
        f'<line class="axis" x1="{_LEFT}" y1="{base}" x2="{_WIDTH - _RIGHT}" '
        f'y2="{base}"/>'
        f'<text class="label" x="{middle_x:.0f}" y="{_HEIGHT - 6}" '
        f'text-anchor="middle">{x_label}</text>'
        f'<text class="label" x="2" y="12">{y_label}</text></svg></figure>'
    )


def _ticks(top: float) -> list[float]:
    """Return three to six round numbers from 0 to at least `top`."""
    if top <= 0:
        return [0, 1]
    step = 10.0 ** math.floor(math.log10(top))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if top / s <= 5)
    return [i * step for i in range(math.ceil(top / step - 1e-9) + 1)]


def _short(tick: float) -> str:
    """Return a number beside an axis, where room is scarce: "500", "20k", "1.5M"."""
    if tick >= 1e6:
        return f"{tick / 1e6:,g}M"
    return f"{tick / 1e3:g}k" if tick >= 1e4 else f"{tick:,.0f}"


def _y_axis(ticks: Sequence[float], name: Callable[[float], str]) -> str:
    """Return lines across the chart, each with its number."""
    parts = []
    for tick in ticks:
        y = _y(tick, ticks[-1])
        parts.append(
            f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" '
            f'y2="{y:.1f}"/><text class="tick" x="{_LEFT - 5}" y="{y + 3.5:.1f}" '
            f'text-anchor="end">{name(tick)}</text>'
        )
    return "".join(parts)


def _y(value: float, top: float) -> float:
    inner = _HEIGHT - _TOP - _BOTTOM
    return _HEIGHT - _BOTTOM - inner * min(value / top, 1.0)


def _x_tick(x: float, name: str) -> str:
    base = _HEIGHT - _BOTTOM
    return (
        f'<line class="axis" x1="{x:.1f}" y1="{base}" x2="{x:.1f}" y2="{base + 4}"/>'
        f'<text class="tick" x="{x:.1f}" y="{base + 15}" text-anchor="middle">{name}'
        "</text>"
    )


def _histogram_bars(
    counts: Sequence[float], titles: Sequence[str], x_of: Callable[[float], float]
) -> tuple[str, list[float]]:
    """Return the bars, each with its count for who points at it, and the y ticks."""
    ticks = _ticks(max([*counts, 1]))
    if ticks[1] < 1:  # there is no half pair
        ticks = [0.0, 1.0]
    bars = []
    for i, (count, title) in enumerate(zip(counts, titles, strict=True)):
        left, right = x_of(i), x_of(i + 1)
        # A single pair among thousands must not vanish: a bar is a unit high.
        high = max(_HEIGHT - _BOTTOM - _y(count, ticks[-1]), 1.0) if count else 0.0
        gap = min(1.0, (right - left) / 5)
        bars.append(
            f'<rect class="bar" x="{left + gap / 2:.2f}" '
            f'y="{_HEIGHT - _BOTTOM - high:.2f}" width="{right - left - gap:.2f}" '
            f'height="{high:.2f}"><title>{title}</title></rect>'
        )
    return "".join(bars), ticks


def _lengths_chart(side: str, unit: str, lengths: Report) -> str:
    """Return a histogram of lengths with its median and percentiles marked."""
    counts = list(_of(lengths, "counts", default=[]))
    width = max(_int(lengths, "width"), 1)
    if not counts or not any(counts):
        return f'<p class="quiet">{side}, in {unit}: nothing to draw.</p>'
    together = math.ceil(len(counts) / MOST_BARS)
    counts = [sum(counts[i : i + together]) for i in range(0, len(counts), together)]
    width *= together
    end = len(counts) * width

    def x_of(bar: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * bar / len(counts)

    def titled(i: int) -> str:
        low, high = i * width, (i + 1) * width - 1
        span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        return f"{span} {unit}: {_count(counts[i], 'pair')}"

    bars, ticks = _histogram_bars(counts, [titled(i) for i in range(len(counts))], x_of)
    marks, words = [], []
    for row, (key, name) in enumerate(
        (("median", "median"), ("p95", "95%"), ("p99", "99%"))
    ):
        if not isinstance(value := _of(lengths, key), (int, float)):
            continue
        x = x_of(min(value / width, len(counts)))
        y = _TOP + 8 + 12 * row
        # The words of 95% stand before their line, those of 99% behind theirs where
        # there is room, so that they keep apart when the lines are close.
        before = x > _WIDTH - 70 or (key == "p95" and x > _LEFT + 70)
        marks.append(
            f'<line class="mark-line" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" '
            f'y2="{_HEIGHT - _BOTTOM}"/><text class="note" '
            f'x="{x - 4 if before else x + 4:.1f}" y="{y}" '
            f'text-anchor="{"end" if before else "start"}">{name} {_number(value)}'
            "</text>"
        )
        words.append(f"{name} {_number(value)}")
    if "max" in lengths:
        words.append(f"longest {_number(lengths['max'])}")
    x_ticks = "".join(
        _x_tick(x_of(t / width), _short(t)) for t in _ticks(end) if t <= end
    )
    return _chart(
        f"{side} length in {unit}",
        f"Histogram of {_number(sum(counts))} lengths: {', '.join(words)}.",
        _y_axis(ticks, _short) + bars + "".join(marks) + x_ticks,
        f"{unit} in a sentence",
        "pairs",
    )


def _power_of_two(exponent: float) -> str:
    """Return 2 ** exponent as people say it: "1/4", "1", "2.8"."""
    value = 2.0 ** abs(exponent)
    name = f"{value:.0f}" if abs(value - round(value)) < 1e-6 else f"{value:.2g}"
    return f"1/{name}" if exponent < 0 else name


def _ratio_chart(ratio: Report) -> str:
    """Return a histogram of source length over target length, on a log scale."""
    edges = _of(ratio, "edges", default=[])
    counts = _of(ratio, "counts", default=[])
    if len(edges) != len(counts) + 1 or not any(counts):
        return ""
    low, high = edges[0], edges[-1]

    def at(exponent: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (exponent - low) / (high - low)

    titles = [
        f"ratio {2**a:.2f} to {2**b:.2f}: {_count(count, 'pair')}"
        for a, b, count in zip(edges, edges[1:], counts, strict=False)
    ]
    bars, ticks = _histogram_bars(counts, titles, lambda i: at(edges[int(i)]))
    x_ticks = "".join(
        _x_tick(at(e), _power_of_two(e))
        for e in range(math.ceil(low), math.floor(high) + 1)
    )
    equal = ""
    if low < 0 < high:
        equal = (
            f'<line class="mark-line" x1="{at(0):.1f}" y1="{_TOP}" x2="{at(0):.1f}" '
            f'y2="{_HEIGHT - _BOTTOM}"/>'
        )
    return _chart(
        "Source length over target length",
        f"Histogram of {_number(sum(counts))} ratios, from {_power_of_two(low)} to "
        f"{_power_of_two(high)}; at 1 both sides are equally long.",
        _y_axis(ticks, _short) + bars + equal + x_ticks,
        "source characters / target characters",
        "pairs",
    )


def _padding_chart(curve: Sequence[Report]) -> str:
    """Return how padding falls with the number of shapes, a line a side."""
    points = [p for p in curve if _int(p, "shapes") > 0]
    if len(points) < 2:
        return ""
    most = max(_int(p, "shapes") for p in points)
    top = max(*(_int(p, side) for p in points for side in SIDES), 0.01)
    ticks = _ticks(top)

    def x_of(shapes: float) -> float:
        inner = _WIDTH - _LEFT - _RIGHT - 16
        return _LEFT + 8 + inner * math.log(shapes) / max(math.log(most), 1e-9)

    lines = []
    for row, (side, name) in enumerate(SIDES.items()):
        places = [
            (x_of(_int(p, "shapes")), _y(_int(p, side), ticks[-1])) for p in points
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        lines.append(f'<polyline class="line {side}" points="{path}"/>')
        for (x, y), point in zip(places, points, strict=True):
            title = (
                f"{name}, {_count(point['shapes'], 'shape')}: "
                f"{as_percent(_int(point, side), 1)} padding"
            )
            # A ring and a dot can be told apart without colours.
            lines.append(
                f'<circle class="dot {side}" cx="{x:.1f}" cy="{y:.1f}" r="3.5">'
                f"<title>{title}</title></circle>"
            )
        y = _TOP + 10 + 15 * row
        x = _WIDTH - _RIGHT - 78
        lines.append(
            f'<circle class="dot {side}" cx="{x}" cy="{y - 4}" r="3.5"/>'
            f'<text class="note" x="{x + 9}" y="{y}">{name.lower()}</text>'
        )
    # Numbers too near to the one before would overlap.
    x_ticks, last = "", -math.inf
    for shapes in sorted({_int(p, "shapes") for p in points}):
        if x_of(shapes) - last >= 22:
            last = x_of(shapes)
            x_ticks += _x_tick(last, f"{shapes:,}")
    said = "; ".join(
        f"{_count(p['shapes'], 'shape')}: source {as_percent(_int(p, 'src'), 1)}, "
        f"target {as_percent(_int(p, 'tgt'), 1)}"
        for p in points
    )
    return _chart(
        "Padding by number of shapes",
        f"Share of a batch that is padding. {said}.",
        _y_axis(ticks, lambda t: f"{100 * t:.0f}%") + x_ticks + "".join(lines),
        "shapes that batches may have",
        "padding",
    )


# ---- what is worth a look ----------------------------------------------------------


def _is_presentation_form(text: str) -> bool:
    """Whether a character is a letter drawn for one place of a word.

    Arabic presentation forms A and B; the word ligatures and signs from U+FDF0 are
    characters of their own.
    """
    return len(text) == 1 and (
        "\ufb50" <= text <= "\ufdef" or "\ufe70" <= text <= "\ufefc"
    )


def _foreign_scripts(scripts: Report) -> list[tuple[str, float]]:
    """Return the scripts of one side that do not belong, with their shares."""
    letters = {
        name: count
        for name, count in scripts.items()
        if name not in _NO_SCRIPT and isinstance(count, (int, float))
    }
    total = sum(letters.values())
    if not total:
        return []
    own = max(letters, key=lambda name: letters[name])
    found = []
    for name, count in letters.items():
        limit = FOREIGN_SHARE if name == "Latin" else ODD_FOREIGN_SHARE
        if name != own and count / total >= limit:
            found.append((name, count / total))
    return sorted(found, key=lambda item: -item[1])


def _findings(report: Report) -> list[tuple[str, str, str]]:
    """Return (kind, what it is, what to do), the gravest first; "stop" or "look"."""
    found: list[tuple[str, str, str]] = []

    def add(kind: str, what: str, advice: str) -> None:
        found.append((kind, what, advice))

    read, kept = _int(report, "read"), _int(report, "kept")
    if not kept:
        add(
            "stop",
            "No pair is left to train on.",
            "See below which rule dropped them, and give other files or loosen it.",
        )
    overlap = {side: _int(report, "overlap", side) for side in SIDES}
    if any(overlap.values()):
        add(
            "stop",
            f"Held-out sentences are also in the training part: "
            f"{_number(overlap['src'])} source, {_number(overlap['tgt'])} target.",
            "Scores would be too good. Prepare the corpus again; if it stays, report "
            "it, because the split should make this impossible.",
        )
    blocks = _of(report, "misalignments", "blocks", default=[])
    if blocks:
        lines = sum(_int(b, "last") - _int(b, "first") + 1 for b in blocks)
        stretches = (
            f"1 stretch of lines ({_count(lines, 'line')}) seems"
            if len(blocks) == 1
            else f"{len(blocks):,} stretches of lines ({_count(lines, 'line')}) seem"
        )
        add(
            "stop",
            f"{stretches} to be shifted.",
            'Look at the lines named under <a href="#alignment">Alignment</a> in both '
            "files; where a line was lost or added, mend it there and prepare again.",
        )
    for side, name in SIDES.items():
        tokens = _of(report, "tokens", side, default={})
        unknown, total = _int(tokens, "unknown"), _int(tokens, "tokens")
        if unknown and (not total or unknown / total > UNKNOWN_SHARE):
            add(
                "stop",
                f"{name}: {_count(unknown, 'unknown token')} "
                f"({as_percent(unknown, total)}).",
                "The vocabulary does not fit this text. Let it be made from the "
                "corpus, or add what is missing.",
            )
    for rule in _of(report, "rules", default=[]):
        dropped = _int(rule, "dropped")
        if read and dropped / read > DROPPED_SHARE:
            add(
                "look",
                f"The rule {_inline(_of(rule, 'name', default='?'))} dropped "
                f"{_count(dropped, 'pair')} ({as_percent(dropped, read)}).",
                'Read its examples under <a href="#examples">What was dropped</a>: if '
                "they are good sentences, loosen the rule.",
            )
    for side, name in SIDES.items():
        foreign = _foreign_scripts(_of(report, "scripts", side, default={}))
        if foreign:
            names = ", ".join(f"{_inline(n)} ({as_percent(s, 1)})" for n, s in foreign)
            add(
                "look",
                f"{name}: letters of another script: {names}.",
                "Some may be names. If whole sentences are in another language, drop "
                "them: a filter by script does it.",
            )
        listed = {}
        for key in ("characters", "rare_characters"):
            listed |= dict(_entries(report, key, side))
        forms = {c: n for c, n in listed.items() if _is_presentation_form(c)}
        if forms:
            add(
                "look",
                f"{name}: {_count(len(forms), 'presentation form')} of Arabic letters "
                f"({_count(sum(forms.values()), 'time')} in the lists below).",
                "Such text usually comes out of a PDF or an old font, sometimes in "
                "reverse. The persian normalisation turns the forms into letters; "
                "check that the words read the right way round.",
            )
    largest, parts = _int(report, "groups", "largest"), _of(report, "parts", default={})
    if kept and largest / kept > LARGEST_GROUP_SHARE:
        add(
            "look",
            f"{_count(largest, 'pair')} ({as_percent(largest, kept)}) hang together by "
            "shared sentences.",
            "They must stay in one part, which makes the split coarse. Look for a "
            "sentence that is repeated very often, and drop repetitions.",
        )
    if kept and "validation" in parts and not _int(parts, "validation", "pairs"):
        add(
            "look",
            "There are no validation pairs.",
            "The best checkpoint cannot be chosen on unseen text: give more pairs, or "
            "a larger validation fraction.",
        )
    padding = {s: _int(report, "batches", "padding", s) for s in SIDES}
    if max(padding.values()) > PADDING_SHARE:
        add(
            "look",
            f"Batches are {as_percent(max(padding.values()), 1)} padding on a side.",
            "Much of the training time goes into nothing: allow more shapes, or drop "
            "the few longest pairs.",
        )
    return sorted(found, key=lambda item: item[0] != "stop")


# ---- sections ----------------------------------------------------------------------


def _entries(report: Report, key: str, side: str) -> list[tuple[str, int]]:
    """Return the (character, count) entries of a list, whatever else is in it."""
    return [
        (str(entry[0]), entry[1])
        for entry in _of(report, key, side, default=[])
        if len(entry) == 2 and isinstance(entry[1], (int, float))
    ]


def _origin(report: Report) -> str:
    made, version = _of(report, "made"), _of(report, "version")
    parts = []
    if made:
        parts.append(f"Made {_inline(str(made).replace('T', ' '))}")
    if version:
        parts.append(f"flaxformer_mt {_inline(version)}")
    if "seconds" in report:
        parts.append(f"{_int(report, 'seconds'):,.1f} seconds")
    return f'<p class="quiet">{" &middot; ".join(parts)}</p>' if parts else ""


def _verdict(report: Report) -> str:
    read, kept = _int(report, "read"), _int(report, "kept")
    cards = [("pairs read", _number(read), "")]
    cards.append(("usable", _number(kept), as_percent(kept, read) if read else ""))
    for key, name in (("train", "to train on"), ("validation", "to validate")):
        if (pairs := _of(report, "parts", key, "pairs")) is not None:
            cards.append(
                (name, _number(pairs), as_percent(pairs, kept) if kept else "")
            )
    if (pairs := _of(report, "parts", "test", "pairs")) is not None:
        cards.append(
            ("to test", _number(pairs), as_percent(pairs, kept) if kept else "")
        )
    figures = "".join(
        f'<div class="card"><span class="name">{name}</span> '
        f'<span class="big">{number}</span> <span class="quiet">{share}</span></div>'
        for name, number, share in cards
    )
    findings = _findings(report)
    if findings:
        items = "".join(
            f'<li class="{kind}"><span class="kind">'
            f"{'Mend first' if kind == 'stop' else 'Worth a look'}</span> "
            f"<strong>{what}</strong> {advice}</li>"
            for kind, what, advice in findings
        )
        return f'<div class="cards">{figures}</div><ul class="findings">{items}</ul>'
    return (
        f'<div class="cards">{figures}</div><ul class="findings"><li class="fine">'
        '<span class="kind">Fine</span> <strong>Nothing needs a look.</strong> The '
        "sections below are for the curious.</li></ul>"
    )


def _corpora(report: Report) -> str:
    rows = [
        (
            _inline(_of(c, "src", default="?")),
            _inline(_of(c, "tgt", default="?")),
            _number(_of(c, "weight", default=1)),
            _number(_of(c, "read")),
            _number(_of(c, "kept")),
            as_percent(_int(c, "kept"), _int(c, "read")),
        )
        for c in _of(report, "corpora", default=[])
    ]
    parts = []
    if rows:
        heads = ["Source", "Target", "#Weight", "#Read", "#Kept", "#Share"]
        parts.append(html_table(heads, rows))
    normalization = _of(report, "normalization", default={})
    if normalization:
        sides = ", ".join(
            f"{name.lower()} {_inline(normalization[side])}"
            for side, name in SIDES.items()
            if side in normalization
        )
        marks = ""
        if "marks_removed" in normalization:
            removed = _count(normalization["marks_removed"], "invisible direction mark")
            marks = f" {removed} removed."
        parts.append(f"<p>Normalisation: {sides or 'not said'}.{marks}</p>")
    return "".join(parts)


def _filters(report: Report) -> str:
    rules, read = _of(report, "rules", default=[]), _int(report, "read")
    if not rules:
        return '<p class="quiet">No rule was applied.</p>'
    rows = []
    for rule in rules:
        name, setting = _of(rule, "name", default="?"), _of(rule, "setting", default="")
        about = _of(rule, "description", default="")
        off = setting == "off"
        label = f"{_inline(name)}<br><small>{_inline(about)}</small>"
        rows.append(
            (
                f'<span class="{"off" if off else "on"}">{label}</span>',
                _inline(setting),
                _number(_of(rule, "before")),
                _number(_of(rule, "dropped")),
                as_percent(_int(rule, "dropped"), read),
                _number(_of(rule, "after")),
                draw_bar(_int(rule, "after") / read if read else 0),
            )
        )
    heads = ["Rule", "Setting", "#Before", "#Dropped", "#Of all", "#After", "Left"]
    return (
        "<p>The rules in the order in which they were applied; each sees what the ones "
        f"before it left.</p>{html_table(heads, rows)}"
    )


def _pair(place: str, src: object, tgt: object) -> str:
    """Return one pair with the place that it comes from."""
    return (
        f'<div class="pair"><p class="place">{place}</p>'
        f"{_sentence('' if src is None else src)}"
        f"{_sentence('' if tgt is None else tgt)}</div>"
    )


def _place(report: Report, item: Report) -> str:
    """Return the files and the line of an example."""
    corpora, number = _of(report, "corpora", default=[]), _of(item, "corpus")
    line = f"line {_number(_of(item, 'line'))}"
    if len(corpora) > 1 and isinstance(number, int) and 0 <= number < len(corpora):
        corpus = corpora[number]
        return f"{_inline(_of(corpus, 'src', default='?'))}, {line}"
    return line


def _examples(report: Report) -> str:
    parts = []
    for rule in _of(report, "rules", default=[]):
        examples = _of(rule, "examples", default=[])
        if not examples:
            continue
        pairs = "".join(
            _pair(_place(report, e), _of(e, "src"), _of(e, "tgt"))
            for e in examples[:MOST_EXAMPLES]
        )
        parts.append(
            f"<details{' open' if len(parts) < 3 else ''}><summary>"
            f"{_inline(_of(rule, 'name', default='?'))}: "
            f"{_count(_of(rule, 'dropped'), 'pair')}</summary>{pairs}</details>"
        )
    if not parts:
        return ""
    return "<p>The first pairs that each rule dropped, the source first.</p>" + "".join(
        parts
    )


def _split(report: Report) -> str:
    parts, kept = _of(report, "parts", default={}), _int(report, "kept")
    rows = []
    for name, part in parts.items():
        pairs = _int(part, "pairs")
        share = pairs / kept if kept else 0
        rows.append(
            (_inline(name), _number(pairs), as_percent(pairs, kept), draw_bar(share))
        )
    text = [html_table(["Part", "#Pairs", "#Share", "Of all"], rows)] if rows else []
    groups = _of(report, "groups", default={})
    if groups:
        text.append(
            "<p>Pairs that share a sentence stay in one part: "
            f"{_count(_of(groups, 'count'), 'group')}, the largest of "
            f"{_count(_of(groups, 'largest'), 'pair')}.</p>"
        )
    for key, what in (
        ("overlap", "Held-out sentences that are also in the training part"),
        ("repeated", "Kept pairs with a sentence that another kept pair has too"),
    ):
        if key in report:
            text.append(
                f"<p>{what}: {_number(_of(report, key, 'src'))} source, "
                f"{_number(_of(report, key, 'tgt'))} target.</p>"
            )
    return "".join(text)


def _lengths(report: Report) -> str:
    lengths = _of(report, "lengths", default={})
    charts = [
        _lengths_chart(name, unit, lengths[f"{side}_{unit}"])
        for unit in ("characters", "tokens")
        for side, name in SIDES.items()
        if f"{side}_{unit}" in lengths
    ]
    charts += [
        chart for chart in [_ratio_chart(_of(report, "ratio", default={}))] if chart
    ]
    if not charts:
        return ""
    rows = [
        (name, unit, *(_number(_of(values, key)) for key in _LENGTH_KEYS))
        for unit in ("characters", "tokens")
        for side, name in SIDES.items()
        if (values := _of(lengths, f"{side}_{unit}"))
    ]
    table = ""
    if rows:
        heads = ["Side", "In", "#Median", "#95% up to", "#99% up to", "#Longest"]
        table = html_table(heads, rows)
    return _columns(*charts) + table


_LENGTH_KEYS = ("median", "p95", "p99", "max")


def _scripts(report: Report) -> str:
    tables = []
    for side, name in SIDES.items():
        scripts = _of(report, "scripts", side, default={})
        counts = {k: v for k, v in scripts.items() if isinstance(v, (int, float))}
        total = sum(counts.values())
        rows = [
            (
                _inline(script),
                _number(count),
                as_percent(count, total),
                draw_bar(count / total if total else 0, "bar"),
            )
            for script, count in sorted(counts.items(), key=lambda kv: -kv[1])
        ]
        if rows:
            heads = ["Script", "#Characters", "#Share", "Of all"]
            tables.append(html_table(heads, rows, f"{name}"))
    if not tables:
        return ""
    return (
        _columns(*tables) + '<p class="quiet">"Common" is what all scripts share: '
        "spaces, digits, punctuation.</p>"
    )


def _tiles(entries: Sequence[tuple[str, int]]) -> str:
    """Return characters with their counts, one small tile each."""
    tiles = []
    for text, count in entries:
        # A mark that stands on letters gets a place to stand on.
        ground = "\u25cc" if text[:1] and unicodedata.combining(text[0]) else ""
        name = ", ".join(map(full_name, text[:4]))
        odd = " odd" if _is_presentation_form(text) else ""
        shown = _SPACE if text == " " else ground + _shown(text[:20])
        tiles.append(
            f'<li class="tile{odd}" title="{html.escape(name)}">'
            f'<bdi class="char" dir="auto">{shown}</bdi><span>{_number(count)}</span>'
            f"<small>{html.escape(name.split(' ')[0])}</small></li>"
        )
    return f'<ul class="tiles">{"".join(tiles)}</ul>'


_SPACE = '<span class="mark" dir="ltr" title="U+0020 SPACE">&lt;space&gt;</span>'


def _characters(report: Report) -> str:
    parts = []
    for side, name in SIDES.items():
        for key, what in (
            ("characters", "most frequent first"),
            ("rare_characters", "rarest first"),
        ):
            entries = _entries(report, key, side)
            if entries:
                shown = " open" if key == "rare_characters" else ""
                parts.append(
                    f"<details{shown}><summary>{name}, {what}: "
                    f"{_count(len(entries), 'character')}</summary>{_tiles(entries)}"
                    "</details>"
                )
    if not parts:
        return ""
    return (
        "<p>Each with its count and its number in Unicode. What occurs once or twice "
        "is often a slip of the keyboard.</p>" + "".join(parts)
    )


def _tokens(report: Report) -> str:
    rows = []
    for side, name in SIDES.items():
        tokens = _of(report, "tokens", side)
        if not tokens:
            continue
        rows.append(
            (
                name,
                _inline(_of(tokens, "kind", default="?")),
                _number(_of(tokens, "vocabulary")),
                _number(_of(tokens, "tokens")),
                _number(_of(tokens, "characters_per_token")),
                _number(_of(tokens, "bytes")),
                f"{_number(_of(tokens, 'unknown'))} "
                f"({as_percent(_int(tokens, 'unknown'), _int(tokens, 'tokens'))})",
            )
        )
    heads = [
        "Side", "Kind", "#Vocabulary", "#Tokens", "#Characters a token",
        "#Written as bytes", "#Unknown",
    ]  # fmt: skip
    return html_table(heads, rows) if rows else ""


def _alignment(report: Report) -> str:
    found = _of(report, "misalignments", default={})
    blocks = _of(found, "blocks", default=[])
    corpora = _of(report, "corpora", default=[])
    parts = []
    if blocks:
        rows = []
        for block in blocks:
            number, shift = _of(block, "corpus", default=0), _int(block, "shift")
            name = f"corpus {_number(number)}"
            if isinstance(number, int) and 0 <= number < len(corpora):
                name = _inline(_of(corpora[number], "src", default="?"))
            way = "later" if shift > 0 else "earlier"
            rows.append(
                (
                    name,
                    _number(_of(block, "first")),
                    _number(_of(block, "last")),
                    f"{_count(abs(shift), 'line')} {way}",
                )
            )
        heads = ["Corpus", "#From line", "#To line", "The source seems to be"]
        parts.append(
            "<p>In these stretches the lengths of the two sides fit clearly better "
            "when they are moved against each other. A line was probably lost on one "
            "side where a stretch begins, and one added where it ends.</p>"
            + html_table(heads, rows)
        )
    else:
        parts.append(
            "<p>No stretch of lines fits better when the sides are moved against each "
            "other.</p>"
        )
    outliers = _of(found, "outliers", default=[])
    if outliers:
        pairs = "".join(
            _pair(
                f"{_place(report, o)}, ratio {_number(_of(o, 'ratio'))}",
                _of(o, "src"),
                _of(o, "tgt"),
            )
            for o in outliers[:MOST_EXAMPLES]
        )
        parts.append(
            "<h3>Least likely lengths</h3><p>The pairs whose lengths fit each other "
            "least. If most of these are wrong, there may be more like them.</p>"
            + pairs
        )
    return "".join(parts)


def _batches(report: Report) -> str:
    batches = _of(report, "batches")
    if not batches:
        return ""
    shapes = [s for s in _of(batches, "shapes", default=[]) if len(s) == 3]
    sizes = [
        f"{_number(value)} {name} a batch"
        for key, name in (("batch_sentences", "sentences"), ("batch_tokens", "tokens"))
        if (value := _int(batches, key))
    ]
    parts = []
    if sizes:
        parts.append(f"<p>{' and '.join(sizes)}.</p>")
    padding = _of(batches, "padding", default={})
    if padding:
        parts.append(
            f"<p>Padding: {as_percent(_int(padding, 'src'), 1)} of the source, "
            f"{as_percent(_int(padding, 'tgt'), 1)} of the target, in "
            f"{_count(len(shapes), 'shape')}.</p>"
        )
    chart = _padding_chart(_of(batches, "curve", default=[]))
    table = ""
    if shapes:
        heads = ["#Sentences", "#Source tokens", "#Target tokens"]
        table = html_table(heads, [[_number(n) for n in shape] for shape in shapes])
    both = [part for part in (chart, table) if part]
    return "".join(parts) + (_columns(*both) if both else "")


def _next(report: Report) -> str:
    parts = []
    command = _of(report, "command")
    if command:
        parts.append(
            f'<p>Train on it:</p><pre dir="ltr" tabindex="0"><code>{_shown(command)}'
            "</code></pre>"
        )
    notes = _of(report, "notes", default=[])
    if notes:
        items = "".join(f'<li dir="auto">{_shown(note)}</li>' for note in notes)
        parts.append(f"<h3>Notes</h3><ul>{items}</ul>")
    return "".join(parts)


_SECTIONS: tuple[tuple[str, str, Callable[[Report], str]], ...] = (
    ("verdict", "In short", _verdict),
    ("corpora", "What was read", _corpora),
    ("filters", "Filters", _filters),
    ("examples", "What was dropped", _examples),
    ("split", "The split", _split),
    ("lengths", "Lengths", _lengths),
    ("scripts", "Scripts", _scripts),
    ("characters", "Characters", _characters),
    ("tokens", "Tokens", _tokens),
    ("alignment", "Alignment", _alignment),
    ("batches", "Batches", _batches),
    ("next", "What next", _next),
)

# No url(), no import, no font from elsewhere: what a system has can show every script.
STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --quiet: #5b6574; --page: #f6f7f9;
  --card: #ffffff; --rule: #d9dee5; --bar: #2f6fb7; --second: #b3541e; --mark: #8a2f6b;
  --stop: #a4262c; --look: #8a5a00; --fine: #1f6f43; --link: #1d5fa8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --quiet: #9aa5b4;
  --page: #14181f; --card: #1d232c; --rule: #343d4a; --bar: #6aa6e8; --second: #eb9a64;
  --mark: #e79acb; --stop: #ff8f8f; --look: #e9b954; --fine: #71cf9a; --link: #8bbcf2;
  } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1rem; background: var(--page);
  color: var(--ink); font: 1rem/1.5 system-ui, "Noto Sans", "Vazirmatn",
  "Noto Naskh Arabic", "Noto Sans Arabic", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; margin: .5rem 0 0; } h2 { font-size: 1.25rem; margin: 0 0
  .6rem; }
h3 { font-size: 1.05rem; margin: 1.2rem 0 .4rem; } p { margin: .5rem 0; }
a { color: var(--link); } .quiet, small { color: var(--quiet); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1rem; padding: 0;
  margin: .8rem 0; }
section { background: var(--card); border: 1px solid var(--rule); border-radius: .6rem;
  padding: 1rem 1.2rem; margin: 0 0 1rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr));
  gap: .6rem; }
.card { border: 1px solid var(--rule); border-radius: .5rem; padding: .5rem .8rem; }
.card .name { display: block; color: var(--quiet); font-size: .9rem; }
.big { font-size: 1.6rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.findings { list-style: none; padding: 0; margin: 1rem 0 0; }
.findings li { border-inline-start: .3rem solid; padding: .4rem .8rem; margin: 0 0
  .6rem; }
.findings strong, .findings li { font-weight: 400; } .findings strong { font-weight:
  650; }
.kind { display: block; font-size: .85rem; font-weight: 650; }
.findings .stop { border-color: var(--stop); } .stop .kind { color: var(--stop); }
.findings .look { border-color: var(--look); } .look .kind { color: var(--look); }
.findings .fine { border-color: var(--fine); } .fine .kind { color: var(--fine); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; overflow-wrap:
  normal; }
caption { text-align: start; font-weight: 650; padding: .3rem 0; }
th, td { text-align: start; padding: .35rem .6rem; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
th { color: var(--quiet); font-weight: 600; } .off { color: var(--quiet); }
.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem,
  100%),
  1fr)); gap: 1rem 1.5rem; align-items: start; }
.columns > div { min-width: 0; }
figure { margin: 0; } figcaption { font-weight: 650; font-size: .95rem; }
svg.chart { width: 100%; height: auto; display: block; }
svg.inline { width: 100%; min-width: 4rem; height: .7rem; display: block;
  margin-top: .4rem; }
.track, .grid { fill: var(--rule); stroke: none; } .bar { fill: var(--bar); }
.track { opacity: .5; } .bar:hover { fill: var(--second); }
.axis { stroke: var(--quiet); } .grid { stroke: var(--rule); }
.mark-line { stroke: var(--second); stroke-dasharray: 3 3; }
.line { fill: none; stroke-width: 2; } .line.src { stroke: var(--bar); }
.line.tgt { stroke: var(--second); } .dot { stroke-width: 2; }
.dot.src { fill: var(--bar); stroke: var(--bar); }
.dot.tgt { fill: var(--card); stroke: var(--second); }
svg text { fill: var(--quiet); font-size: 10.5px; }
svg .note { fill: var(--ink); paint-order: stroke; stroke: var(--card);
  stroke-width: 3px; }
details { margin: .4rem 0; } summary { cursor: pointer; font-weight: 600; padding:
  .2rem 0; }
.pair { border: 1px solid var(--rule); border-radius: .5rem; margin: .5rem 0;
  padding: .4rem .8rem; display: grid; grid-template-columns: 1fr 1fr; gap: 0 1.5rem; }
.place { grid-column: 1 / -1; color: var(--quiet); font-size: .85rem; margin: 0; }
.text { white-space: pre-wrap; margin: .15rem 0; min-width: 0; }
.mark { font: .72em/1 ui-monospace, "DejaVu Sans Mono", monospace; color: var(--mark);
  border: 1px solid; border-radius: .25rem; padding: 0 .15rem; margin: 0 .1rem;
  unicode-bidi: isolate; display: inline-block; }
.tiles { list-style: none; padding: 0; margin: .4rem 0; display: grid; gap: .35rem;
  grid-template-columns: repeat(auto-fill, minmax(4.6rem, 1fr)); }
.tile { border: 1px solid var(--rule); border-radius: .4rem; padding: .25rem;
  text-align: center; display: flex; flex-direction: column; font-size: .85rem; }
.tile.odd { border-color: var(--look); border-width: 2px; }
.char { font-size: 1.35rem; line-height: 1.6; min-height: 2.2rem; }
.tile .mark { font-size: .75rem; }
pre { background: var(--page); border: 1px solid var(--rule); border-radius: .4rem;
  padding: .6rem .8rem; white-space: pre-wrap; }
code { font: .92em ui-monospace, "DejaVu Sans Mono", monospace; }
@media (max-width: 40rem) { body { padding: .5rem; } section { padding: .8rem; }
  .pair { grid-template-columns: 1fr; } svg text { font-size: 12.5px; }
  th, td { padding: .35rem .35rem; } table { font-size: .85rem; }
  .stack { font-size: .93rem; } .stack thead { display: none; }
  .stack, .stack tbody, .stack tr { display: block; }
  .stack tr { border-bottom: 1px solid var(--rule); padding: .3rem 0; }
  .stack td { display: flex; justify-content: space-between; gap: 1rem; border: 0;
  padding: .05rem 0; text-align: end; white-space: normal; }
  .stack td::before { content: attr(data-label); color: var(--quiet); flex: none; }
  .stack svg.inline { max-width: 9rem; } }
"""
