"""One translation as a page: right for every script, harmless for every text.

Each test is named after the promise that it keeps.
"""

import base64
import dataclasses
import hashlib
import json
import math
import re
import shutil
import subprocess

import numpy as np
import pytest

from flaxformer_mt.errors import InputError
from flaxformer_mt.evaluation.explain import Explanation, _json, explanation_page
from tests.text.test_report_page import PAYLOADS, Page

PERSIAN = "می\u200cروم."


def random_attention(*shape: int) -> np.ndarray:
    weights = np.random.default_rng(0).exponential(size=shape) ** 3
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def explanation(src=("I", " ", "go", ""), tgt=(*PERSIAN, ""), **changes) -> Explanation:
    """A translation whose every token has probability 1/2 and two alternatives."""
    log_probabilities = (math.log(0.5),) * len(tgt)
    values = {
        "src_text": "".join(src),
        "tgt_text": "".join(tgt),
        "src_tokens": tuple(src),
        "tgt_tokens": tuple(tgt),
        "log_probabilities": log_probabilities,
        "alternatives": tuple(((token, 0.5), ("other", 0.25)) for token in tgt),
        "attention": random_attention(2, 3, len(tgt), len(src)),
        "score": sum(log_probabilities),
        "run": "tiny",
    }
    return Explanation(**values | changes)


def page_of(*explanations: Explanation, title: str = "One sentence") -> Page:
    return Page(explanation_page(explanations or [explanation()], title=title))


def with_everywhere(text: str) -> str:
    """A page with one text wherever a text can stand."""
    one = explanation((text, "b", ""), (text, "y", ""), src_text=text, tgt_text=text)
    one = dataclasses.replace(one, run=text)
    return explanation_page([one, one], title=text)


def shape(page: Page) -> list[tuple]:
    """The elements and the names of their attributes, signs left out."""
    return [
        (tag, tuple(attrs))
        for tag, attrs in page.elements
        if attrs.get("class") not in ("mark", "gap")
    ]


def elements(page: Page, name: str) -> list[dict]:
    """The attributes of the elements of a class."""
    return [at for _, at in page.elements if name in (at.get("class") or "").split()]


def texts_in(page: Page, name: str) -> list[str]:
    """The text of each element of a class."""
    found: dict[int, str] = {}
    for data, ways in page.texts:
        for _, attrs in ways:
            if name in (attrs.get("class") or "").split():
                found[id(attrs)] = found.get(id(attrs), "") + data
    return list(found.values())


def rows_of_table(page: Page) -> list[list[str]]:
    """The cells' texts of each row of the only table."""
    rows: list[dict[int, str]] = []
    last = None
    for data, ways in page.texts:
        inside = dict(ways)
        if "td" not in inside:
            continue
        if inside["tr"] is not last:
            last = inside["tr"]
            rows.append({})
        cell = id(inside["td"])
        rows[-1][cell] = rows[-1].get(cell, "") + data
    return [list(row.values()) for row in rows]


# ---- what is refused ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"src_tokens": ()}, "its source side has none"),
        ({"tgt_tokens": ()}, "its target side has none"),
        ({"log_probabilities": (-1.0,)}, "log_probabilities must have an entry for"),
        ({"alternatives": ()}, "alternatives must have an entry for each of the 2"),
        ({"log_probabilities": (0.5, -1.0)}, "up to 0, in nats; got 0.5"),
        ({"score": math.nan}, "up to 0, in nats; got nan"),
        ({"alternatives": ((("x", 1.5),), ())}, "got 1.5 for 'x' at target position 0"),
        ({"attention": random_attention(1, 1, 3, 2)}, r"got shape \[1, 1, 3, 2\]"),
        ({"attention": random_attention(1, 2, 3)}, r"\[layers, heads, 2 target"),
        ({"attention": np.zeros((0, 1, 2, 3))}, r"got shape \[0, 1, 2, 3\]"),
        ({"attention": np.full((1, 1, 2, 3), np.nan)}, "weights from 0 to 1"),
        ({"attention": np.full((1, 1, 2, 3), 2.0)}, "after the softmax"),
        ({"attention": np.full((1, 1, 2, 3), 0.2)}, "must sum to 1"),
    ],
)
def test_parts_that_do_not_fit_are_refused_in_one_sentence(changes, said):
    with pytest.raises(InputError, match=said) as error:
        explanation(("a", "b", ""), ("x", ""), **changes)
    assert "\n" not in str(error.value)


def test_a_page_about_nothing_is_refused():
    with pytest.raises(InputError, match="at least one translation"):
        explanation_page([], title="Nothing")


# ---- text can do nothing -----------------------------------------------------------


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_text_creates_an_element(payload):
    page = Page(with_everywhere(payload))
    assert shape(page) == shape(Page(with_everywhere("word")))
    assert page.comments == []
    assert not [a for _, at in page.elements for a in at if a.startswith("on")]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_control_or_direction_mark_is_left_on_the_page(payload):
    page = with_everywhere(payload)
    # The joiners U+200C and U+200D stay in sentences: they shape letters.
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069"
        "\ufeff\ud800-\udfff]",
        page,
    )
    page.encode("utf-8")


def test_every_text_is_on_the_page_as_it_is():
    text = "a<b&&c>d:\"quoted\"'once'&amp;"
    page = Page(with_everywhere(text))
    assert texts_in(page, "token").count(text) == 4
    assert texts_in(page, "sentence") == [text] * 4
    assert [d for d, ways in page.texts if ways and ways[-1][0] == "title"] == [text]


def test_embedded_data_cannot_end_its_element():
    data = {"text": "</script><script>alert(1)</script><!--"}
    assert "<" not in _json(data)
    assert json.loads(_json(data)) == data


# ---- right to left, and what cannot be seen ----------------------------------------


@pytest.mark.parametrize(
    ("src", "tgt", "directions"),
    [
        ("I go.", "می\u200cروم.", ("ltr", "rtl")),
        ("می\u200cروم.", "Ich gehe.", ("rtl", "ltr")),
        ("«سلام»", "שלום", ("rtl", "rtl")),
        ("1, 2", "(?)", ("ltr", "ltr")),
        ("12 کتاب", "- a کتاب", ("rtl", "ltr")),
    ],
)
def test_each_side_has_its_own_direction(src, tgt, directions):
    page = page_of(explanation((*src, ""), (*tgt, "")))
    assert tuple(at["dir"] for at in elements(page, "sentence")) == directions
    assert tuple(at["dir"] for at in elements(page, "row")) == directions


def test_a_token_without_a_letter_has_the_direction_of_its_side():
    page = page_of(explanation(("a", ""), ("(", "سلام", "ok", "")))
    inner = [
        (data, ways[-1][1]["dir"])
        for data, ways in page.texts
        if len(ways) > 1 and ways[-2][0] == "button" and ways[-1][0] == "bdi"
    ]
    assert inner == [("a", "ltr"), ("(", "rtl"), ("سلام", "rtl"), ("ok", "ltr")]


def test_what_cannot_be_seen_in_a_token_has_a_sign():
    tokens = ("\u2581Haus", " ", "a b", "می\u200cرود", "\u200f", "\xa0", "\n", "")
    page = page_of(explanation(("x", ""), tokens))
    assert texts_in(page, "token")[2:] == [
        "␣Haus", "␣", "a␣b", "میZWNJرود", "RLM", "NBSP", "LF", "end",
    ]  # fmt: skip
    titles = {at["title"] for at in elements(page, "mark") + elements(page, "gap")}
    assert titles >= {"space", "end", "U+200C ZERO WIDTH NON-JOINER"}


def test_a_sentence_keeps_the_joiners_that_shape_its_letters():
    assert texts_in(page_of(), "sentence")[1] == PERSIAN


def test_a_combining_mark_gets_a_place_to_stand_on():
    page = page_of(explanation(("x", ""), ("\u064b", "")))
    assert texts_in(page, "token")[2] == "\u25cc\u064b"


# ---- numbers -----------------------------------------------------------------------


def test_the_table_says_all_without_a_script():
    attention = np.zeros((2, 2, 2, 3))
    attention[0] = [1, 0, 0]  # the first layer, which the table leaves out
    attention[1, 0] = [[0.9, 0.1, 0.0], [0.0, 0.0, 1.0]]
    attention[1, 1] = [[0.5, 0.5, 0.0], [0.0, 0.04, 0.96]]
    page = page_of(
        explanation(
            ("big", "house", ""),
            ("Haus", ""),
            log_probabilities=(math.log(0.125), 0.0),
            alternatives=(
                (("Bau", 0.5), ("Haus", 0.125), *((str(i), 0.01) for i in range(9))),
                (("", 1.0), ("!", 0.00001)),
            ),
            attention=attention,
        )
    )
    first, last = rows_of_table(page)
    assert first[:3] == ["1", "Haus", "12.5%"]
    assert first[3] == "Bau 50.0%Haus 12.5%0 1.0%1 1.0%2 1.0%"
    assert first[4] == "big 0.70house 0.30"
    assert last[:3] == ["2", "end", "100.0%"]
    assert last[3:] == ["end 100.0%! under 0.01%", "end 0.98"]
    assert texts_in(page, "chosen") == ["Haus 12.5%", "end 100.0%"]


def test_embedded_weights_are_off_by_half_a_level_at_most():
    one = explanation()
    text = next(
        data
        for data, ways in page_of(one).texts
        if ways and ways[-1][1].get("class") == "data"
    )
    data = json.loads(text)
    sizes = [data[name] for name in ("layers", "heads", "rows", "columns")]
    weights = np.frombuffer(base64.b64decode(data["weights"]), np.uint8).reshape(sizes)
    np.testing.assert_allclose(weights / 255, one.attention, atol=0.5 / 255 + 1e-6)


def test_the_last_layer_and_the_mean_over_its_heads_are_chosen_first():
    page = page_of()
    options = [at for tag, at in page.elements if tag == "option"]
    assert [at["value"] for at in options] == ["0", "1", "mean", "0", "1", "2"]
    assert [at["value"] for at in options if "selected" in at] == ["1", "mean"]


def test_a_token_is_shaded_the_more_the_less_probable_it_is():
    probabilities = (1.0, 0.7, 0.3, 1e-9)
    page = page_of(
        explanation(
            ("a",), tuple("wxyz"), log_probabilities=tuple(map(math.log, probabilities))
        )
    )
    shades = [at["class"].split()[1:] for at in elements(page, "token")]
    assert shades == [[], ["d0"], ["d3"], ["d6"], ["d9"]]


def test_a_translation_that_was_cut_off_says_so():
    said = "cut off at the length limit"
    assert said in page_of(explanation(tgt=("x", "y"))).text()
    assert said not in page_of().text()


def test_a_page_of_sixty_by_sixty_tokens_is_below_a_megabyte():
    tokens = (*("ab" * 30)[:-1], "")
    one = explanation(tokens, tokens, attention=random_attention(4, 4, 60, 60))
    assert len(explanation_page([one], title="Long").encode()) < 400_000


# ---- a self-contained page ---------------------------------------------------------


def test_nothing_is_loaded_and_the_policy_allows_one_style_and_one_script():
    text = explanation_page([explanation()], title="One")
    page = Page(text)
    for tag, attrs in page.elements:
        assert not {"src", "srcset", "style", "xlink:href"} & set(attrs), tag
        assert attrs.get("href", "#").startswith("#"), tag
    assert "https://" not in text
    assert re.findall("http://[^\"']*", text) == [
        "http://www.w3.org/2000/svg"
    ]  # a name
    assert not re.search(r"url\(|@import|javascript:|innerHTML|eval\(", text)
    inline = {
        tag: "sha256-" + base64.b64encode(hashlib.sha256(d.encode()).digest()).decode()
        for tag in ("style", "script")
        for d, ways in page.texts
        if ways and ways[-1][0] == tag and "type" not in ways[-1][1]
    }
    policy = next(at["content"] for _, at in page.elements if "http-equiv" in at)
    assert policy == (
        f"default-src 'none'; style-src '{inline['style']}'; script-src "
        f"'{inline['script']}'; base-uri 'none'; form-action 'none'"
    )


def test_what_only_a_script_can_fill_is_hidden_without_one():
    page = page_of()
    assert len(elements(page, "live")) == 5
    assert all("hidden" in attrs for attrs in elements(page, "live"))


def test_a_row_of_tokens_is_one_stop_of_the_tab_key():
    stops = [at["tabindex"] for at in elements(page_of(), "token")]
    assert stops.count("0") == 2
    assert set(stops) == {"0", "-1"}


def test_a_list_on_top_leads_to_each_of_several_translations():
    page = page_of(explanation(), explanation(("Hi", "")), explanation())
    ids = [at["id"] for _, at in page.elements if "id" in at]
    links = [at["href"] for tag, at in page.elements if tag == "a"]
    assert ids == ["t1", "t2", "t3"]
    assert links == ["#t1", "#t2", "#t3"]
    assert not [tag for tag, _ in page_of().elements if tag == "nav"]


# ---- a real browser ----------------------------------------------------------------


def in_browser(text: str, folder) -> tuple[Page, list[str]]:
    """What a browser makes of a page 400 pixels wide, and its complaints."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("chromium is not installed")
    path = folder / "page.html"
    path.write_text(text, encoding="utf-8")
    # The sandbox needs rights that a container may not give; the page is our own.
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--window-size=400,800",
            f"--user-data-dir={folder / 'profile'}",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        timeout=120,
        check=True,
    )
    log = done.stderr.decode("utf-8", "replace").split("\n")
    built = Page(done.stdout.decode("utf-8"))
    return built, [line for line in log if "CONSOLE" in line]


def test_a_browser_runs_the_script_and_no_text(tmp_path):
    tokens = (*PAYLOADS, "")
    # Half of a surrogate pair is in one of them; the page has it as a badge.
    hostile = explanation(tokens, tokens, src_text=PAYLOADS[0], tgt_text=PAYLOADS[1])
    text = explanation_page([hostile, explanation()], title=PAYLOADS[4])
    built, complaints = in_browser(text, tmp_path)
    assert complaints == []
    assert len(elements(built, "cell")) > 10
    assert texts_in(built, "panel")[0].startswith("No token is pointed at")
    made = {"path", "rect", "title"}  # by the script
    tags = [tag for tag, _ in built.elements if tag not in made]
    assert set(tags) <= {tag for tag, _ in Page(text).elements}
    for tag in ("script", "style", "meta", "section", "table"):
        assert tags.count(tag) == [t for t, _ in Page(text).elements].count(tag), tag


PROBE = """
const said = {};
const $ = (selector) => [...document.querySelectorAll(selector)];
const lines = () => $(".lines path").length;
const colours = () => $(".map .cell").map((c) => c.getAttribute("d")).join();
const key = (element, name) => element.dispatchEvent(
  new KeyboardEvent("keydown", { key: name, bubbles: true }));
const place = () => $(".token").indexOf(document.activeElement);
said.rest = lines();
$(".tgt .token")[1].focus();
said.one = lines();
said.panel = $(".panel")[0].innerText.split(/\\s+/).join(" ");
said.on = $(".token.on").length;
key($(".tgt .token")[1], "ArrowLeft"); // the target runs from right to left
said.left = place();
key($(".tgt .token")[2], "ArrowUp"); // to what it reads most
said.up = place();
const before = colours();
$(".layer")[0].value = "0";
$(".layer")[0].dispatchEvent(new Event("change"));
said.changed = colours() !== before;
said.top = $(".top")[0].textContent;
$(".map svg")[0].focus();
key($(".map svg")[0], "ArrowDown");
said.readout = $(".readout")[0].innerText;
said.wide = document.documentElement.scrollWidth - innerWidth;
document.body.append(Object.assign(document.createElement("output"),
  { className: "said", textContent: JSON.stringify(said) }));
"""


def test_tokens_layers_and_cells_can_be_reached_with_the_keys_on_a_narrow_screen(
    tmp_path,
):
    attention = np.zeros((2, 2, 3, 40))
    attention[0, :, :, 7] = 0.25  # the mean of the first layer
    attention[0, :, :, 8] = 0.75
    attention[1, :, 0, 0] = attention[1, :, 2, 5] = 1
    attention[1, :, 1, :4] = 0.25
    src = (*"a long sentence, too long for a screen.", "")
    one = explanation(src, ("من", "رفتم", ""), attention=attention)
    text = explanation_page([one], title="One")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    text = text.replace("</body>", f"<script>{PROBE}</script></body>")
    built, complaints = in_browser(text, tmp_path)
    assert complaints == []
    said = json.loads(texts_in(built, "said")[0])
    assert said["rest"] == 2  # the two strong lines
    assert said["one"] == 4
    assert said["on"] == 1
    assert said["panel"].startswith("target token 2 of 3 رفتم probability 50.0%")
    assert "رفتم 50.0% other 25.0%" in said["panel"]
    assert said["panel"].endswith("a 0.25 ␣ 0.25 l 0.25 o 0.25 n 0.00")
    assert said["left"] == 40 + 2
    assert said["up"] == 5
    assert said["changed"]
    assert said["top"] == "0.75"
    assert said["readout"].startswith("target 2 رفتم reads source 1 a: weight 0.00")
    assert said["wide"] <= 0
