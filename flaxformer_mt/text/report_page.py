"""The page of a data report: one HTML file that needs nothing beside itself.

`render` turns the report of `python -m flaxformer_mt.prepare` into a page without
scripts and without anything to load: its style is inside, its charts are SVG. A policy
in its head forbids whatever else a browser might fetch, and allows that one style by
its hash.
"""

import base64
import hashlib
import html
import unicodedata
from collections.abc import Callable, Sequence

from flaxformer_mt.text.hypertext import (
    STYLE,
    as_count,
    as_number,
    as_percent,
    draw_bar,
    full_name,
    html_table,
    inline_text,
    paragraph,
    side_by_side,
    visible,
)
from flaxformer_mt.text.report import SIDE_NAMES, Report, count_of, part_of
from flaxformer_mt.text.report_charts import (
    lengths_chart,
    padding_chart,
    ratio_chart,
)

MOST_EXAMPLES = 20  # of one rule

DROPPED_SHARE = 0.05  # by one rule, from which it is worth a look
UNKNOWN_SHARE = 0.001
FOREIGN_SHARE = 0.01  # of a script beside a side's own
ODD_FOREIGN_SHARE = 0.001  # of one that is not Latin, which names bring in anywhere
PADDING_SHARE = 0.5
LARGEST_GROUP_SHARE = 0.05

_NO_SCRIPT = {"Common", "Inherited", "Unknown"}


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

    read, kept = count_of(report, "read"), count_of(report, "kept")
    if not kept:
        add(
            "stop",
            "No pair is left to train on.",
            "See below which rule dropped them, and give other files or loosen it.",
        )
    overlap = {side: count_of(report, "overlap", side) for side in SIDE_NAMES}
    if any(overlap.values()):
        add(
            "stop",
            f"Held-out sentences are also in the training part: "
            f"{as_number(overlap['src'])} source, {as_number(overlap['tgt'])} target.",
            "Scores would be too good. Prepare the corpus again; if it stays, report "
            "it, because the split should make this impossible.",
        )
    blocks = part_of(report, "misalignments", "blocks", default=[])
    if blocks:
        lines = sum(count_of(b, "last") - count_of(b, "first") + 1 for b in blocks)
        stretches = (
            f"1 stretch of lines ({as_count(lines, 'line')}) seems"
            if len(blocks) == 1
            else f"{len(blocks):,} stretches of lines ({as_count(lines, 'line')}) seem"
        )
        add(
            "stop",
            f"{stretches} to be shifted.",
            'Look at the lines named under <a href="#alignment">Alignment</a> in both '
            "files; where a line was lost or added, mend it there and prepare again.",
        )
    for side, name in SIDE_NAMES.items():
        tokens = part_of(report, "tokens", side, default={})
        unknown, total = count_of(tokens, "unknown"), count_of(tokens, "tokens")
        if unknown and (not total or unknown / total > UNKNOWN_SHARE):
            add(
                "stop",
                f"{name}: {as_count(unknown, 'unknown token')} "
                f"({as_percent(unknown, total)}).",
                "The vocabulary does not fit this text. Let it be made from the "
                "corpus, or add what is missing.",
            )
    for rule in part_of(report, "rules", default=[]):
        dropped = count_of(rule, "dropped")
        if read and dropped / read > DROPPED_SHARE:
            add(
                "look",
                f"The rule {inline_text(part_of(rule, 'name', default='?'))} dropped "
                f"{as_count(dropped, 'pair')} ({as_percent(dropped, read)}).",
                'Read its examples under <a href="#examples">What was dropped</a>: if '
                "they are good sentences, loosen the rule.",
            )
    for side, name in SIDE_NAMES.items():
        foreign = _foreign_scripts(part_of(report, "scripts", side, default={}))
        if foreign:
            names = ", ".join(
                f"{inline_text(n)} ({as_percent(s, 1)})" for n, s in foreign
            )
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
                f"{name}: {as_count(len(forms), 'presentation form')} of Arabic letters"
                f" ({as_count(sum(forms.values()), 'time')} in the lists below).",
                "Such text usually comes out of a PDF or an old font, sometimes in "
                "reverse. The persian normalisation turns the forms into letters; "
                "check that the words read the right way round.",
            )
    largest, parts = (
        count_of(report, "groups", "largest"),
        part_of(report, "parts", default={}),
    )
    if kept and largest / kept > LARGEST_GROUP_SHARE:
        add(
            "look",
            f"{as_count(largest, 'pair')} ({as_percent(largest, kept)}) hang together "
            "by shared sentences.",
            "They must stay in one part, which makes the split coarse. Look for a "
            "sentence that is repeated very often, and drop repetitions.",
        )
    if kept and "validation" in parts and not count_of(parts, "validation", "pairs"):
        add(
            "look",
            "There are no validation pairs.",
            "The best checkpoint cannot be chosen on unseen text: give more pairs, or "
            "a larger validation fraction.",
        )
    padding = {s: count_of(report, "batches", "padding", s) for s in SIDE_NAMES}
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
        for entry in part_of(report, key, side, default=[])
        if len(entry) == 2 and isinstance(entry[1], (int, float))
    ]


def _origin(report: Report) -> str:
    made, version = part_of(report, "made"), part_of(report, "version")
    parts = []
    if made:
        parts.append(f"Made {inline_text(str(made).replace('T', ' '))}")
    if version:
        parts.append(f"flaxformer_mt {inline_text(version)}")
    if "seconds" in report:
        parts.append(f"{count_of(report, 'seconds'):,.1f} seconds")
    return f'<p class="quiet">{" &middot; ".join(parts)}</p>' if parts else ""


def _verdict(report: Report) -> str:
    read, kept = count_of(report, "read"), count_of(report, "kept")
    cards = [("pairs read", as_number(read), "")]
    cards.append(("usable", as_number(kept), as_percent(kept, read) if read else ""))
    for key, name in (("train", "to train on"), ("validation", "to validate")):
        if (pairs := part_of(report, "parts", key, "pairs")) is not None:
            cards.append(
                (name, as_number(pairs), as_percent(pairs, kept) if kept else "")
            )
    if (pairs := part_of(report, "parts", "test", "pairs")) is not None:
        cards.append(
            ("to test", as_number(pairs), as_percent(pairs, kept) if kept else "")
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
            inline_text(part_of(c, "src", default="?")),
            inline_text(part_of(c, "tgt", default="?")),
            as_number(part_of(c, "weight", default=1)),
            as_number(part_of(c, "read")),
            as_number(part_of(c, "kept")),
            as_percent(count_of(c, "kept"), count_of(c, "read")),
        )
        for c in part_of(report, "corpora", default=[])
    ]
    parts = []
    if rows:
        heads = ["Source", "Target", "#Weight", "#Read", "#Kept", "#Share"]
        parts.append(html_table(heads, rows))
    normalization = part_of(report, "normalization", default={})
    if normalization:
        sides = ", ".join(
            f"{name.lower()} {inline_text(normalization[side])}"
            for side, name in SIDE_NAMES.items()
            if side in normalization
        )
        marks = ""
        if "marks_removed" in normalization:
            removed = as_count(
                normalization["marks_removed"], "invisible direction mark"
            )
            marks = f" {removed} removed."
        parts.append(f"<p>Normalisation: {sides or 'not said'}.{marks}</p>")
    return "".join(parts)


def _filters(report: Report) -> str:
    rules, read = part_of(report, "rules", default=[]), count_of(report, "read")
    if not rules:
        return '<p class="quiet">No rule was applied.</p>'
    rows = []
    for rule in rules:
        name, setting = (
            part_of(rule, "name", default="?"),
            part_of(rule, "setting", default=""),
        )
        about = part_of(rule, "description", default="")
        off = setting == "off"
        label = f"{inline_text(name)}<br><small>{inline_text(about)}</small>"
        rows.append(
            (
                f'<span class="{"off" if off else "on"}">{label}</span>',
                inline_text(setting),
                as_number(part_of(rule, "before")),
                as_number(part_of(rule, "dropped")),
                as_percent(count_of(rule, "dropped"), read),
                as_number(part_of(rule, "after")),
                draw_bar(count_of(rule, "after") / read if read else 0),
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
        f"{paragraph('' if src is None else src)}"
        f"{paragraph('' if tgt is None else tgt)}</div>"
    )


def _place(report: Report, item: Report) -> str:
    """Return the files and the line of an example."""
    corpora, number = part_of(report, "corpora", default=[]), part_of(item, "corpus")
    line = f"line {as_number(part_of(item, 'line'))}"
    if len(corpora) > 1 and isinstance(number, int) and 0 <= number < len(corpora):
        corpus = corpora[number]
        return f"{inline_text(part_of(corpus, 'src', default='?'))}, {line}"
    return line


def _examples(report: Report) -> str:
    parts = []
    for rule in part_of(report, "rules", default=[]):
        examples = part_of(rule, "examples", default=[])
        if not examples:
            continue
        pairs = "".join(
            _pair(_place(report, e), part_of(e, "src"), part_of(e, "tgt"))
            for e in examples[:MOST_EXAMPLES]
        )
        parts.append(
            f"<details{' open' if len(parts) < 3 else ''}><summary>"
            f"{inline_text(part_of(rule, 'name', default='?'))}: "
            f"{as_count(part_of(rule, 'dropped'), 'pair')}</summary>{pairs}</details>"
        )
    if not parts:
        return ""
    return "<p>The first pairs that each rule dropped, the source first.</p>" + "".join(
        parts
    )


def _split(report: Report) -> str:
    parts, kept = part_of(report, "parts", default={}), count_of(report, "kept")
    rows = []
    for name, part in parts.items():
        pairs = count_of(part, "pairs")
        share = pairs / kept if kept else 0
        rows.append(
            (
                inline_text(name),
                as_number(pairs),
                as_percent(pairs, kept),
                draw_bar(share),
            )
        )
    text = [html_table(["Part", "#Pairs", "#Share", "Of all"], rows)] if rows else []
    groups = part_of(report, "groups", default={})
    if groups:
        text.append(
            "<p>Pairs that share a sentence stay in one part: "
            f"{as_count(part_of(groups, 'count'), 'group')}, the largest of "
            f"{as_count(part_of(groups, 'largest'), 'pair')}.</p>"
        )
    for key, what in (
        ("overlap", "Held-out sentences that are also in the training part"),
        ("repeated", "Kept pairs with a sentence that another kept pair has too"),
    ):
        if key in report:
            text.append(
                f"<p>{what}: {as_number(part_of(report, key, 'src'))} source, "
                f"{as_number(part_of(report, key, 'tgt'))} target.</p>"
            )
    return "".join(text)


def _lengths(report: Report) -> str:
    lengths = part_of(report, "lengths", default={})
    charts = [
        lengths_chart(name, unit, lengths[f"{side}_{unit}"])
        for unit in ("characters", "tokens")
        for side, name in SIDE_NAMES.items()
        if f"{side}_{unit}" in lengths
    ]
    charts += [
        chart for chart in [ratio_chart(part_of(report, "ratio", default={}))] if chart
    ]
    if not charts:
        return ""
    rows = [
        (name, unit, *(as_number(part_of(values, key)) for key in _LENGTH_KEYS))
        for unit in ("characters", "tokens")
        for side, name in SIDE_NAMES.items()
        if (values := part_of(lengths, f"{side}_{unit}"))
    ]
    table = ""
    if rows:
        heads = ["Side", "In", "#Median", "#95% up to", "#99% up to", "#Longest"]
        table = html_table(heads, rows)
    return side_by_side(*charts) + table


_LENGTH_KEYS = ("median", "p95", "p99", "max")


def _scripts(report: Report) -> str:
    tables = []
    for side, name in SIDE_NAMES.items():
        scripts = part_of(report, "scripts", side, default={})
        counts = {k: v for k, v in scripts.items() if isinstance(v, (int, float))}
        total = sum(counts.values())
        rows = [
            (
                inline_text(script),
                as_number(count),
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
        side_by_side(*tables) + '<p class="quiet">"Common" is what all scripts share: '
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
        shown = _SPACE if text == " " else ground + visible(text[:20])
        tiles.append(
            f'<li class="tile{odd}" title="{html.escape(name)}">'
            f'<bdi class="char" dir="auto">{shown}</bdi><span>{as_number(count)}</span>'
            f"<small>{html.escape(name.split(' ')[0])}</small></li>"
        )
    return f'<ul class="tiles">{"".join(tiles)}</ul>'


_SPACE = '<span class="mark" dir="ltr" title="U+0020 SPACE">&lt;space&gt;</span>'


def _characters(report: Report) -> str:
    parts = []
    for side, name in SIDE_NAMES.items():
        for key, what in (
            ("characters", "most frequent first"),
            ("rare_characters", "rarest first"),
        ):
            entries = _entries(report, key, side)
            if entries:
                shown = " open" if key == "rare_characters" else ""
                parts.append(
                    f"<details{shown}><summary>{name}, {what}: "
                    f"{as_count(len(entries), 'character')}</summary>{_tiles(entries)}"
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
    for side, name in SIDE_NAMES.items():
        tokens = part_of(report, "tokens", side)
        if not tokens:
            continue
        rows.append(
            (
                name,
                inline_text(part_of(tokens, "kind", default="?")),
                as_number(part_of(tokens, "vocabulary")),
                as_number(part_of(tokens, "tokens")),
                as_number(part_of(tokens, "characters_per_token")),
                as_number(part_of(tokens, "bytes")),
                f"{as_number(part_of(tokens, 'unknown'))} ("
                + as_percent(count_of(tokens, "unknown"), count_of(tokens, "tokens"))
                + ")",
            )
        )
    heads = [
        "Side", "Kind", "#Vocabulary", "#Tokens", "#Characters a token",
        "#Written as bytes", "#Unknown",
    ]  # fmt: skip
    return html_table(heads, rows) if rows else ""


def _alignment(report: Report) -> str:
    found = part_of(report, "misalignments", default={})
    blocks = part_of(found, "blocks", default=[])
    corpora = part_of(report, "corpora", default=[])
    parts = []
    if blocks:
        rows = []
        for block in blocks:
            number, shift = (
                part_of(block, "corpus", default=0),
                count_of(block, "shift"),
            )
            name = f"corpus {as_number(number)}"
            if isinstance(number, int) and 0 <= number < len(corpora):
                name = inline_text(part_of(corpora[number], "src", default="?"))
            way = "later" if shift > 0 else "earlier"
            rows.append(
                (
                    name,
                    as_number(part_of(block, "first")),
                    as_number(part_of(block, "last")),
                    f"{as_count(abs(shift), 'line')} {way}",
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
    outliers = part_of(found, "outliers", default=[])
    if outliers:
        pairs = "".join(
            _pair(
                f"{_place(report, o)}, ratio {as_number(part_of(o, 'ratio'))}",
                part_of(o, "src"),
                part_of(o, "tgt"),
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
    batches = part_of(report, "batches")
    if not batches:
        return ""
    shapes = [s for s in part_of(batches, "shapes", default=[]) if len(s) == 3]
    sizes = [
        f"{as_number(value)} {name} a batch"
        for key, name in (("batch_sentences", "sentences"), ("batch_tokens", "tokens"))
        if (value := count_of(batches, key))
    ]
    parts = []
    if sizes:
        parts.append(f"<p>{' and '.join(sizes)}.</p>")
    padding = part_of(batches, "padding", default={})
    if padding:
        parts.append(
            f"<p>Padding: {as_percent(count_of(padding, 'src'), 1)} of the source, "
            f"{as_percent(count_of(padding, 'tgt'), 1)} of the target, in "
            f"{as_count(len(shapes), 'shape')}.</p>"
        )
    chart = padding_chart(part_of(batches, "curve", default=[]))
    table = ""
    if shapes:
        heads = ["#Sentences", "#Source tokens", "#Target tokens"]
        table = html_table(heads, [[as_number(n) for n in shape] for shape in shapes])
    both = [part for part in (chart, table) if part]
    return "".join(parts) + (side_by_side(*both) if both else "")


def _next(report: Report) -> str:
    parts = []
    command = part_of(report, "command")
    if command:
        parts.append(
            f'<p>Train on it:</p><pre dir="ltr" tabindex="0"><code>{visible(command)}'
            "</code></pre>"
        )
    notes = part_of(report, "notes", default=[])
    if notes:
        items = "".join(f'<li dir="auto">{visible(note)}</li>' for note in notes)
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
