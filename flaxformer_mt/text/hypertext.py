"""Ready HTML for pages that need nothing beside themselves: text, numbers, tables.

Text of a corpus is shown as it is and can do nothing. It is escaped; it stands in
elements with dir="auto", so that Persian reads from right to left and moves nothing
around it (Unicode Annex 9); and characters that cannot be seen become small badges.
"""

import html
import math
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

MOST_CHARACTERS = 600  # of one text of an example
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

STYLE = (Path(__file__).parent / "hypertext.css").read_text(encoding="utf-8")


# ---- text and numbers --------------------------------------------------------------


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


def visible(text: object) -> str:
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


def inline_text(text: object) -> str:
    """Return a text that stands within a sentence of ours."""
    return f'<bdi dir="auto">{visible(text)}</bdi>'


def paragraph(text: object) -> str:
    """Return a sentence of the corpus, as a paragraph of its own direction."""
    text = str(text)
    cut = text[:MOST_CHARACTERS]
    more = ""
    if len(text) > len(cut):
        more = f'<span class="quiet" dir="ltr"> ... {len(text):,} characters</span>'
    if not text:
        return '<p class="text quiet">(empty)</p>'
    return f'<p class="text" dir="auto">{visible(cut)}{more}</p>'


def as_number(value: object) -> str:
    """Return a count with separators; what is not a number, as escaped text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return inline_text("-" if value is None else value)
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.2f}" if math.isfinite(value) else "-"
    return f"{int(value):,}"


def as_count(number: object, noun: str) -> str:
    """Return "1 pair" or "2,000 pairs"."""
    return f"{as_number(number)} {noun if number == 1 else noun + 's'}"


def as_percent(part: float, whole: float) -> str:
    """Return a percentage that never says 0 of something."""
    if not whole:
        return "-"
    percent = 100 * part / whole
    if 0 < percent < 0.01:
        return "under 0.01%"
    return f"{percent:.2f}%" if 0 < percent < 1 else f"{percent:.1f}%"


# ---- tables and bars ----------------------------------------------------------------


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


def side_by_side(*parts: str) -> str:
    """Return parts side by side where there is room, one below the other elsewhere."""
    return (
        '<div class="columns">' + "".join(f"<div>{p}</div>" for p in parts) + "</div>"
    )
