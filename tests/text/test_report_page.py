"""The page of a data report shows a corpus, and a corpus can do nothing to it.

Each test is named after the promise that it keeps.
"""

import copy
import html.parser
import re
import shutil
import subprocess

import pytest

from flaxformer_mt.text.report_page import render

PERSIAN = "می\u200cخواهم بروم."


def lengths(total: int) -> dict:
    return {
        "counts": [1003, total - 1010, 0, 7],
        "width": 4,
        "median": 31,
        "p95": 70,
        "p99": 107,
        "max": 15,
    }


REPORT = {
    "format": 1,
    "made": "2026-11-22T19:00:00+00:00",
    "version": "0.1.0",
    "seconds": 12.3,
    "corpora": [
        {"src": "a.en", "tgt": "a.fa", "weight": 1.0, "read": 7677, "kept": 7500},
        {"src": "b.en", "tgt": "b.fa", "weight": 0.5, "read": 0, "kept": 0},
    ],
    "normalization": {"src": "basic", "tgt": "persian", "marks_removed": 12},
    "read": 7677,
    "rules": [
        {
            "name": "empty",
            "description": "a side without anything but white space",
            "setting": "on",
            "before": 7677,
            "dropped": 177,
            "after": 7500,
            "examples": [
                {"corpus": 0, "line": 12, "src": "Let us go.", "tgt": PERSIAN}
            ],
        },
        {
            "name": "script",
            "description": "mostly in another script",
            "setting": "off",
            "before": 7500,
            "dropped": 0,
            "after": 7500,
            "examples": [],
        },
    ],
    "kept": 7500,
    "parts": {
        "train": {"pairs": 6800},
        "validation": {"pairs": 351},
        "test": {"pairs": 349},
    },
    "groups": {"count": 6000, "largest": 25},
    "overlap": {"src": 0, "tgt": 0},
    "repeated": {"src": 1600, "tgt": 300},
    "lengths": {
        "src_characters": lengths(7501),
        "tgt_characters": lengths(7502),
        "src_tokens": lengths(7503),
        "tgt_tokens": lengths(7504),
    },
    "ratio": {"edges": [-3.0, -1.0, 1.0, 3.0], "counts": [12, 7455, 33]},
    "scripts": {
        "src": {"Latin": 250000, "Common": 50000},
        "tgt": {"Arabic": 200000, "Common": 40000},
    },
    "characters": {"src": [["e", 12000], [" ", 9000]], "tgt": [["ا", 20000]]},
    "rare_characters": {"src": [["ß", 1]], "tgt": [["\u064b", 2], ["\u200c", 3]]},
    "tokens": {
        side: {
            "kind": "characters",
            "vocabulary": 330,
            "tokens": 240000,
            "bytes": 12,
            "unknown": 0,
            "characters_per_token": 1.0,
        }
        for side in ("src", "tgt")
    },
    "misalignments": {
        "blocks": [],
        "outliers": [
            {"corpus": 0, "line": 77, "src": "Go.", "tgt": PERSIAN, "ratio": 7.5}
        ],
    },
    "batches": {
        "batch_sentences": 16,
        "batch_tokens": 0,
        "shapes": [[16, 25, 24], [16, 40, 41]],
        "padding": {"src": 0.18, "tgt": 0.19},
        "curve": [
            {"shapes": 1, "src": 0.701, "tgt": 0.712},
            {"shapes": 4, "src": 0.203, "tgt": 0.214},
        ],
    },
    "notes": ["normalisation: source basic, target persian"],
    "command": "python -m flaxformer_mt.train --data.prepared prepared/mine",
}

VOID = {"meta", "br", "link", "img", "input", "hr", "base", "embed", "source"}


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: its elements, and the text with ways in."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, dict]] = []
        self.elements: list[tuple[str, dict]] = []
        self.texts: list[tuple[str, list[tuple[str, dict]]]] = []
        self.comments: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {tag} {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open[-1][0] == tag, f"{self.open[-1]} is closed by {tag}"
        self.open.pop()

    def handle_data(self, data):
        self.texts.append((data, list(self.open)))

    def handle_comment(self, data):
        self.comments.append(data)

    @property
    def shape(self) -> list[tuple[str, tuple]]:
        """The elements and the names of their attributes, badges left out."""
        return [
            (tag, tuple(attrs))
            for tag, attrs in self.elements
            if attrs.get("class") != "mark"
        ]

    def text(self) -> str:
        return "".join(data for data, _ in self.texts)


def places(report: object, path: tuple = ()) -> list[tuple]:
    """The ways to every text in a report."""
    if isinstance(report, str):
        return [path]
    items = (
        report.items()
        if isinstance(report, dict)
        else enumerate(report)
        if isinstance(report, list)
        else ()
    )
    return [place for key, value in items for place in places(value, (*path, key))]


def changed(place: tuple, value: object) -> dict:
    """The report with something else in one place."""
    report = copy.deepcopy(REPORT)
    inside = report
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    return report


def without(place: tuple) -> dict:
    report = copy.deepcopy(REPORT)
    inside = report
    for key in place[:-1]:
        inside = inside[key]
    del inside[place[-1]]
    return report


# ---- text can do nothing -----------------------------------------------------------

PAYLOADS = [
    "<script>alert(1)</script>",
    "</p></div><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "</title><script>alert(1)</script>",
    "</style><style>*{display:none}</style>",
    "</desc></svg><iframe src=https://example.com>",
    "--><!-- <b>",
    "<![CDATA[<b>]]>",
    "<?php <b> ?>",
    "</details></section></main></body></html>",
    '<meta http-equiv="refresh" content="0;url=https://example.com">',
    "<base href=https://example.com/>",
    "&lt;script&gt;&#60;b&#62;&amp;",
    "javascript:alert(1)",
    "\u202e\u2066<b>reversed</b>",
    "\u2069\u2069\u202c</bdi><b>out of the isolate",
    "\u0000<\u0000b>\u0007\u001b[31m",
    "\ud800<b>half a pair\udfff",
    "`${alert(1)}` {{7*7}} <%= 1 %>",
    "\u2028<b>\u2029\u0085\u200f\ufeff",
]


# Names of scripts and of parts are keys; the others are values.
@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_text_creates_an_element(payload):
    for place in places(REPORT):
        # A letter of each kind keeps what the page says of it (no setting "off").
        plain, hostile = (Page(render(changed(place, t))) for t in ("word", payload))
        if place[-2:-1] != ("examples",) and "etting" not in str(place[-1]):
            assert hostile.shape == plain.shape, place
        assert hostile.comments == []
        assert not [a for _, at in hostile.elements for a in at if a.startswith("on")]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_name_creates_an_element(payload):
    def page(name):
        report = changed(("scripts", "src", name), 70_000)
        report["parts"][name] = {"pairs": 3}
        return Page(render(report))

    assert page(payload).shape == page("Word").shape


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_control_or_direction_mark_is_left_on_the_page(payload):
    for place in places(REPORT):
        page = render(changed(place, payload))
        assert not re.search(
            "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff"
            "\ud800-\udfff]",
            page,
        ), place
        page.encode("utf-8")


def test_every_text_is_on_the_page_as_it_is():
    text = "if a < b && c > d: \"quoted\" 'once' &amp;"
    for place in places(REPORT):
        # A character's tile has room for few of them.
        if place[0] not in ("made", "characters", "rare_characters"):
            assert text in Page(render(changed(place, text))).text(), place


# ---- right to left -----------------------------------------------------------------


def test_text_of_the_corpus_has_its_own_direction():
    for place in places(REPORT):
        if place[0] == "command":  # a command is always left to right
            continue
        page = Page(render(changed(place, "سلامدنیا")))
        around = [ways for data, ways in page.texts if "سلامدنیا" in data]
        assert around, place
        for ways in around:
            # The innermost element that says a direction.
            directions = [attrs["dir"] for _, attrs in ways if "dir" in attrs]
            assert directions[-1] == "auto", place


def test_what_cannot_be_seen_becomes_a_badge():
    text = "a\u200cb\u200fc\x01d\xa0e\u202ef\tg"
    page = Page(render(changed(("rules", 0, "examples", 0, "tgt"), text)))
    badges = [
        (data, ways[-1][1]["title"])
        for data, ways in page.texts
        if ways and ways[-1][1].get("class") == "mark"
    ]
    for badge in (
        ("<ZWNJ>", "U+200C ZERO WIDTH NON-JOINER"),
        ("<RLM>", "U+200F RIGHT-TO-LEFT MARK"),
        ("<U+0001>", "U+0001"),
        ("<NBSP>", "U+00A0 NO-BREAK SPACE"),
        ("<RLO>", "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("<TAB>", "U+0009 TAB"),
    ):
        assert badge in badges


def test_a_badge_has_no_say_in_the_direction_around_it():
    page = Page(render(REPORT))
    marks = [at for _, at in page.elements if at.get("class") == "mark"]
    assert marks
    assert all(attrs["dir"] == "ltr" for attrs in marks)


# ---- a self-contained page ---------------------------------------------------------


def test_nothing_is_loaded_and_nothing_runs():
    page = render(REPORT)
    parsed = Page(page)
    tags = {tag for tag, _ in parsed.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form"}
    for tag, attrs in parsed.elements:
        assert not {"src", "srcset", "style", "xlink:href"} & set(attrs), tag
        assert attrs.get("href", "#").startswith("#"), tag
    assert "http://" not in page
    assert "https://" not in page
    assert not re.search(r"url\(|@import|javascript:", page)


def test_the_policy_allows_the_one_style_and_nothing_else():
    page = render(REPORT)
    policy = next(
        attrs["content"]
        for _, attrs in Page(page).elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_contents_lead_to_every_section():
    page = Page(render(REPORT))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [at["href"][1:] for tag, at in page.elements if tag == "a"]
    sections = [at["id"] for tag, at in page.elements if tag == "section"]
    assert links[: len(sections)] == sections
    assert len(sections) == 12
    assert set(links) <= set(ids)


def test_a_chart_has_words_for_those_who_cannot_see_it():
    page = Page(render(REPORT))
    ids = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    charts = [at for tag, at in page.elements if tag == "svg" and "role" in at]
    assert len(charts) == 6
    for chart in charts:
        title, description = chart["aria-labelledby"].split()
        assert {title, description} <= ids


# ---- numbers -----------------------------------------------------------------------


def test_charts_hold_every_count():
    titles = [
        data
        for data, ways in Page(render(REPORT)).texts
        if ways and ways[-1][0] == "title"
    ]
    for total in (7501, 7502, 7503, 7504):
        assert any(t.endswith(f": {total - 1010:,} pairs") for t in titles), total
    assert titles.count("0 to 3 characters: 1,003 pairs") == 2
    assert titles.count("8 to 11 tokens: 0 pairs") == 2
    assert "ratio 0.12 to 0.50: 12 pairs" in titles
    assert "ratio 0.50 to 2.00: 7,455 pairs" in titles
    assert "Source, 1 shape: 70.1% padding" in titles
    assert "Target, 4 shapes: 21.4% padding" in titles


def test_very_long_sentences_make_bars_of_several_lengths_and_lose_no_pair():
    report = copy.deepcopy(REPORT)
    report["lengths"] = {"src_characters": {"counts": [1] * 5001, "width": 2}}
    titles = [
        d for d, ways in Page(render(report)).texts if ways and ways[-1][0] == "title"
    ]
    bars = [t for t in titles if " characters: " in t]
    assert 50 < len(bars) <= 160
    assert sum(int(t.split(": ")[1].split()[0]) for t in bars) == 5001


def test_the_verdict_says_what_was_read_and_what_is_usable():
    text = Page(render(REPORT)).text()
    assert (
        text.index("7,677") < text.index("7,500") < text.index("Nothing needs a look")
    )


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("rules", 0, "dropped"), 400, "The rule empty dropped 400 pairs (5.2%)."),
        (
            ("misalignments", "blocks"),
            [{"corpus": 0, "first": 1201, "last": 1300, "shift": 1}],
            "1 stretch of lines (100 lines) seems to be shifted.",
        ),
        (("tokens", "tgt", "unknown"), 300, "Target: 300 unknown tokens (0.12%)."),
        (("overlap", "src"), 3, "in the training part: 3 source, 0 target."),
        (("scripts", "tgt", "Latin"), 9000, "Target: letters of another script: Latin"),
        (("scripts", "src", "Cyrillic"), 500, "script: Cyrillic (0.20%)"),
        (("rare_characters", "tgt"), [["\ufefb", 2]], "1 presentation form"),
        (("characters", "tgt"), [["\ufb8e", 2]], "1 presentation form"),
        (("kept",), 0, "No pair is left to train on."),
        (("groups", "largest"), 1000, "1,000 pairs (13.3%) hang together"),
        (("parts", "validation", "pairs"), 0, "There are no validation pairs."),
        (("batches", "padding", "tgt"), 0.6, "Batches are 60.0% padding on a side."),
    ],
)
def test_what_is_worth_a_look_is_said_first(place, value, said):
    text = Page(render(changed(place, value))).text()
    assert said in text
    assert text.index(said) < text.index("What was read", text.index(said))
    assert "Nothing needs a look" not in text


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("rules", 0, "dropped"), 383),
        (("tokens", "tgt", "unknown"), 240),
        (("scripts", "tgt", "Latin"), 1900),  # names
        (("scripts", "src", "Cyrillic"), 200),
        (("rare_characters", "tgt"), [["\ufdfc", 2]]),  # the rial sign
    ],
)
def test_what_is_usual_raises_no_alarm(place, value):
    assert "Nothing needs a look" in render(changed(place, value))


def test_an_empty_report_is_still_a_page():
    assert "No pair is left" in Page(render({})).text()


def test_any_part_may_be_missing_or_empty():
    def parts(value, path=()):
        if path:
            yield path
        items = (
            value.items()
            if isinstance(value, dict)
            else enumerate(value)
            if isinstance(value, list)
            else ()
        )
        for key, inner in items:
            yield from parts(inner, (*path, key))

    for place in parts(REPORT):
        if not isinstance(place[-1], int):
            Page(render(without(place)))
            Page(render(changed(place, None)))
        inside = REPORT
        for key in place:
            inside = inside[key]
        if isinstance(inside, dict | list):
            Page(render(changed(place, type(inside)())))


# ---- a real browser ----------------------------------------------------------------


def test_a_browser_builds_the_page_as_written_and_has_nothing_to_complain_of(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("chromium is not installed")
    report = copy.deepcopy(REPORT)
    report["rules"][0]["examples"] = [
        {"corpus": 0, "line": i, "src": text, "tgt": PERSIAN}
        for i, text in enumerate(PAYLOADS)
    ]
    page = render(report)
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    # The sandbox needs rights that a container may not give; the page is our own.
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        timeout=120,
        check=True,
    )
    complaints = [
        line for line in done.stderr.decode("utf-8", "replace").split("\n")
        if "CONSOLE" in line
    ]  # fmt: skip
    assert complaints == []
    built = Page(done.stdout.decode("utf-8"))
    assert [tag for tag, _ in built.elements] == [t for t, _ in Page(page).elements]
