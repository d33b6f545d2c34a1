"""The page in a real browser, against the fake of fake_api; one test with the server.

What a person does is done with true events (keys, pointer, an input method's text).
"""

import json
import re
import time

import pytest

pytest.importorskip("starlette", reason="starlette is not installed: extra serve")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: extra serve")

from tests.serving.browser import CTRL, chromium, find_chromium
from tests.serving.fake_api import PAGE, FakeApi, a_training, serving
from tests.text.test_report_page import PAYLOADS

ENGLISH = "Good morning, did you sleep well?"
PERSIAN = "صبح بخیر، آیا شما خواب خوب؟"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    path = find_chromium()
    if path is None:
        pytest.skip("chromium is not installed")
    with chromium(path, tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def api():
    return FakeApi()


@pytest.fixture
def url(api):
    with serving(api.app()) as url:
        yield url


@pytest.fixture
def tab(browser):
    tab = browser.open_tab()
    yield tab
    complaints = tab.complaints
    tab.close()
    assert complaints == []


def open_page(tab, url, path="/"):
    """Returns once the page knows its model."""
    tab.go(url + path)
    tab.wait_for("document.getElementById('model').textContent")
    tab.run("document.getElementById('source').focus()")


def has_word(text):
    words = "[...document.querySelectorAll('.w')].map((e) => e.textContent)"
    return f"{words}.includes({json.dumps(text)})"


def translate(tab, text=ENGLISH):
    tab.type(text)
    tab.wait_for("document.querySelector('.w') && !document.querySelector('.old')")


def asked_at(api, path):
    return [asked for asked in api.asked if asked["path"] == path]


# ---- typing and reading --------------------------------------------------------------


def test_a_translation_comes_as_one_types(tab, url, api):
    api.pause = 0.05
    open_page(tab, url)
    tab.type(ENGLISH)
    tab.wait_for("document.querySelector('#result.streaming')")
    partial = tab.text("#result").strip()
    assert PERSIAN.startswith(partial) and partial != PERSIAN
    tab.wait_for("document.querySelector('.w')")
    assert tab.text("#result") == PERSIAN
    assert tab.text("#announced") == PERSIAN  # for who listens
    assert "8 tokens" in tab.text("#facts")


@pytest.mark.parametrize("is_back", [False, True], ids=["en-fa", "fa-en"])
def test_each_side_is_written_in_its_own_direction(tab, url, api, is_back):
    api.is_back = is_back
    open_page(tab, url)
    translate(tab, PERSIAN if is_back else ENGLISH)
    order = "rtl ltr" if is_back else "ltr rtl"
    assert tab.run(
        "['source', 'result'].map((id) => getComputedStyle("
        "document.getElementById(id)).direction).join(' ')"
    ) == order  # fmt: skip
    lefts = tab.run(
        "[...document.querySelectorAll('.w')].map((e) => "
        "e.getBoundingClientRect().left)"
    )
    assert lefts == sorted(lefts, reverse=not is_back)
    languages = "['source', 'result'].map((id) => document.getElementById(id).lang)"
    assert tab.run(languages) == (["fa", "en"] if is_back else ["en", "fa"])


def test_english_words_in_a_persian_line_keep_their_order(tab, url, api):
    api.is_echo = True
    open_page(tab, url)
    translate(tab, "من Windows Vista دارم")
    first, second = (
        tab.run(f"document.querySelectorAll('.w')[{i}].getBoundingClientRect().left")
        for i in (1, 2)
    )
    assert first < second  # left to right among themselves


def test_the_direction_of_an_unknown_language_is_its_text_s(tab, url, api):
    api.model = {"src_language": "", "src_direction": "auto"}
    open_page(tab, url)
    translate(tab, PERSIAN)
    assert tab.run("getComputedStyle(document.getElementById('source')).direction") == (
        "rtl"
    )


def test_an_outdated_text_is_asked_for_no_more(tab, url, api):
    api.pause = 0.2
    open_page(tab, url)
    tab.type("Good morning my old friend did you sleep well")
    tab.wait_for("document.querySelector('#result.streaming')")
    api.pause = 0
    tab.type(" tea")
    tab.wait_for(has_word("چای"))
    assert [text[-3:] for text in api.finished] == ["tea"]


def test_an_empty_text_has_no_translation_and_asks_for_none(tab, url, api):
    open_page(tab, url)
    translate(tab)
    tab.click("#clear")
    tab.wait_for("!document.getElementById('result').textContent")
    tab.type("  ")
    time.sleep(0.5)
    assert len(api.asked) == 1
    assert tab.run("document.getElementById('trouble').hidden")


def test_an_example_is_translated_when_it_is_chosen(tab, url):
    open_page(tab, url)
    tab.click("#examples li:last-child button")
    tab.wait_for(has_word("کتاب"))
    assert tab.run("document.getElementById('source').value") == (
        "The book is on the table."
    )


# ---- what may go wrong ---------------------------------------------------------------


def test_a_busy_server_is_asked_again_when_it_says_so(tab, url, api):
    api.refusals = [(503, "busy", "the server is busy: ask again.", "1")]
    open_page(tab, url)
    tab.type(ENGLISH)
    tab.wait_for("!document.getElementById('trouble').hidden")
    assert tab.text("#trouble") == "The server is busy: ask again. Trying again in 1 s."
    tab.wait_for("document.querySelector('.w')")
    assert tab.run("document.getElementById('trouble').hidden")
    assert len(asked_at(api, "/api/translate")) == 2
    assert tab.complaints.pop().startswith("Failed to load resource")


def test_a_refusal_is_one_sentence_and_can_be_tried_again(tab, url, api):
    api.refusals = [(422, "invalid", "a prefix must be shorter.", "")]
    open_page(tab, url)
    tab.type(ENGLISH)
    tab.wait_for("!document.getElementById('trouble').hidden")
    assert tab.text("#trouble-text").strip() == "A prefix must be shorter."
    tab.click("#again")
    tab.wait_for("document.querySelector('.w')")
    assert tab.run("document.getElementById('trouble').hidden")
    tab.complaints.pop()


def test_a_server_that_has_gone_is_said_so(browser, api):
    tab = browser.open_tab()
    with serving(api.app()) as url:
        open_page(tab, url)
    tab.type(ENGLISH)
    tab.wait_for("!document.getElementById('trouble').hidden")
    assert "does not answer" in tab.text("#trouble")
    with serving(api.app(), port=int(url.rpartition(":")[2])):
        tab.click("#again")
        tab.wait_for("document.querySelector('.w')")
    tab.close()


def test_a_text_that_is_too_long_is_not_sent(tab, url, api):
    api.model = {"limits": {"characters": 20, "sentences": 64}}
    open_page(tab, url)
    tab.type("x" * 21)
    tab.wait_for("!document.getElementById('trouble').hidden")
    assert "20 characters; this one has 21" in tab.text("#trouble")
    assert tab.text("#count") == "21 of 20"
    assert api.asked == []


def test_what_the_server_remarks_is_read(tab, url, api):
    api.truncated, api.notes = True, ["1 text was translated in pieces"]
    open_page(tab, url)
    translate(tab)
    assert tab.text("#notes") == "1 text was translated in pieces"
    api.notes = []
    tab.type(" tea")
    tab.wait_for(has_word("چای"))
    assert "cut off" in tab.text("#notes")


# ---- choices -------------------------------------------------------------------------


def test_a_beam_shows_its_hypotheses_and_one_can_be_chosen(tab, url, api):
    open_page(tab, url)
    translate(tab)
    tab.click("[value=beam]")
    tab.wait_for("document.querySelectorAll('#ranking li').length === 3")
    asked = api.asked[-1]
    assert (asked["search"], asked["beam_size"], asked["n_best"]) == ("beam", 5, 3)
    second = tab.text("#ranking li:nth-child(2) bdi")
    tab.click("#ranking li:nth-child(2) button")
    assert tab.text("#result") == second
    assert tab.run(
        "document.querySelectorAll('#ranking [aria-pressed=true]').length === 1"
    )


def test_no_more_hypotheses_than_the_beam_is_wide_are_asked_for(tab, url, api):
    open_page(tab, url)
    translate(tab)
    tab.click("[value=beam]")
    tab.run("document.querySelector('[name=beam_size]').focus()")
    tab.press("Home")
    tab.wait_for("document.querySelectorAll('#ranking li').length === 2")
    assert (api.asked[-1]["beam_size"], api.asked[-1]["n_best"]) == (2, 2)


def test_sampling_has_its_knobs_and_another_draw(tab, url, api):
    open_page(tab, url)
    translate(tab)
    tab.click("[value=sample]")
    tab.wait_for("!document.getElementById('draw').closest('[hidden]')")
    for name, key, times in (
        ("temperature", "ArrowLeft", 3),
        ("top_k", "ArrowRight", 5),
        ("repetition_penalty", "ArrowRight", 1),
    ):
        tab.run(f"document.querySelector('[name={name}]').focus()")
        tab.press(key, times=times)
    tab.click("#draw")
    tab.wait_for("document.querySelector('[name=seed]').value !== '0'")
    tab.wait_for("!document.querySelector('.old')")
    asked = api.asked[-1]
    assert asked["search"] == "sample" and asked["seed"] != 0
    assert (asked["temperature"], asked["top_k"]) == (0.7, 5)
    assert asked["repetition_penalty"] == 1.25
    tab.go(url)  # choices outlive a visit
    assert tab.run("document.querySelector('[name=search]:checked').value") == "sample"
    assert tab.run("document.querySelector('[name=top_k]').value") == "5"


# ---- word by word --------------------------------------------------------------------


@pytest.mark.parametrize("is_letters", [False, True], ids=["pieces", "letters"])
def test_a_word_under_the_pointer_tells_what_it_read(tab, url, api, is_letters):
    api.is_letters = is_letters
    open_page(tab, url)
    translate(tab)
    tab.point_at(".w:nth-child(4)")
    tab.wait_for("document.querySelector('#others button')")
    tab.wait_for("document.querySelector('#reads .stripe')")
    assert tab.text("#word") == "شما"
    assert "probable" in tab.text("#chance")
    shares = tab.run(
        "[...document.querySelectorAll('#mirror .s')].map((e) => "
        "Number(e.style.getPropertyValue('--share')))"
    )
    assert len(shares) == len(ENGLISH.split())
    most = ENGLISH.split()[shares.index(max(shares))]
    assert most == tab.text("#reads li:first-child .name") == "you"
    assert tab.run("document.getElementById('mirror').textContent").startswith(ENGLISH)
    assert asked_at(api, "/api/alternatives")[-1]["prefix"] == "صبح بخیر، آیا"
    letters = tab.run("document.querySelectorAll('.letter').length")
    assert letters == (3 if is_letters else 0)


def test_the_shaded_copy_lies_exactly_under_the_text(tab, url):
    open_page(tab, url)
    translate(tab, "word " * 60)
    heights = tab.run(
        "(() => { const s = document.getElementById('source');"
        "const m = document.getElementById('mirror');"
        "const keys = ['fontSize', 'lineHeight', 'fontFamily', 'paddingLeft',"
        "'whiteSpace', 'width', 'letterSpacing', 'overflowWrap'];"
        "return [s.scrollHeight, m.scrollHeight, ...[s, m].map((e) => "
        "JSON.stringify(keys.map((k) => getComputedStyle(e)[k])))]; })()"
    )
    assert heights[0] == heights[1]
    assert heights[2] == heights[3]


def test_a_click_holds_a_word_until_it_is_let_go(tab, url):
    open_page(tab, url)
    translate(tab)
    tab.click(".w:nth-child(1)")
    tab.point_at(".w:nth-child(3)")
    time.sleep(0.3)
    assert tab.text("#word") == "صبح"
    tab.press("Escape")
    assert tab.run("document.getElementById('panel').hidden")


@pytest.mark.parametrize(
    ("word", "prefix"),
    [
        ("این", "صبح بخیر، آیا این "),  # a whole word: others follow
        ("دیگر", "صبح بخیر، آیا دیگر "),
    ],
)
def test_an_alternative_is_where_the_translation_goes_on(tab, url, api, word, prefix):
    open_page(tab, url)
    translate(tab)
    tab.click(".w:nth-child(4)")
    tab.wait_for("document.querySelector('#others button')")
    place = tab.run(
        "[...document.querySelectorAll('#others .name')].findIndex((e) => "
        f"e.textContent === {json.dumps(word)})"
    )
    tab.click(f"#others li:nth-child({place + 1}) button")
    tab.wait_for(has_word(word))
    assert asked_at(api, "/api/translate")[-1]["prefix"] == prefix
    assert tab.text("#pinned-text") == prefix.strip()
    assert tab.text("#word") == word  # and it stays the one that is looked at
    tab.click("#unpin")
    tab.wait_for(has_word("شما"))
    assert asked_at(api, "/api/translate")[-1]["prefix"] == ""


def test_another_text_has_no_prefix_of_the_old_one(tab, url, api):
    open_page(tab, url)
    translate(tab)
    tab.click(".w:nth-child(2)")
    tab.wait_for("document.querySelector('#others button')")
    tab.click("#others li:nth-child(2) button")
    tab.wait_for(has_word("یک"))
    tab.run("document.getElementById('source').focus()")
    tab.type(" tea")
    tab.wait_for(has_word("چای"))
    assert asked_at(api, "/api/translate")[-1]["prefix"] == ""


# ---- by keyboard alone ---------------------------------------------------------------


def focused(tab):
    return tab.run(
        "(() => { const e = document.activeElement;"
        "return e.id || e.name || e.className || e.tagName; })()"
    )


def test_everything_can_be_done_with_keys(tab, url, api):
    tab.go(url)
    tab.wait_for("document.querySelector('#examples button')")
    while focused(tab) != "source":
        tab.press("Tab")
    tab.type(ENGLISH)
    tab.press("Enter", CTRL)
    tab.wait_for("document.querySelector('.w')")
    while not focused(tab).startswith("w"):
        tab.press("Tab")
    tab.press("ArrowLeft", times=3)  # the next one of a line that runs to the left
    tab.press("ArrowLeft", CTRL)  # which is the browser's own
    assert tab.text(".w.on") == "شما"
    tab.press("Enter")
    assert tab.run("document.querySelector('.w.on').ariaPressed") == "true"
    tab.wait_for("document.querySelector('#others button')")
    tab.wait_for("document.getElementById('announced').textContent.includes('reads')")
    while tab.run("!document.activeElement.closest('#others')"):
        tab.press("Tab")
    tab.press("Tab")
    tab.press("Enter")
    tab.wait_for(has_word("یک"))
    assert asked_at(api, "/api/translate")[-1]["prefix"] == "صبح بخیر، آیا یک "
    assert tab.run("document.activeElement.textContent") == "یک"
    tab.press("Escape")
    assert tab.run("document.getElementById('panel').hidden")
    while focused(tab) != "search":
        tab.press("Tab")
    tab.press("ArrowRight")
    tab.wait_for("!document.getElementById('ranking').hidden")
    assert asked_at(api, "/api/translate")[-1]["search"] == "beam"


def test_whatever_has_the_focus_shows_it(tab, url, api):
    open_page(tab, url)
    translate(tab)
    while focused(tab) != "search":
        tab.press("Tab")
    tab.press("ArrowRight", times=2)
    while asked_at(api, "/api/translate")[-1]["search"] != "sample":
        time.sleep(0.02)
    tab.wait_for("document.querySelector('.w') && !document.querySelector('.old')")
    seen = []
    while seen.count("search") < 2:  # once round
        assert len(seen) < 60
        seen.append(focused(tab))
        if seen[-1] == "BODY":  # between the last element and the first
            tab.press("Tab")
            continue
        shown = tab.run(
            "(() => { let e = document.activeElement;"
            "if (e.type === 'radio') e = e.nextElementSibling;"
            "const s = getComputedStyle(e);"
            "return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2; })()"
        )
        assert shown, seen[-1]
        tab.press("Tab")
    assert {"source", "theme", "copy", "temperature", "draw", "forget"} <= set(seen)


# ---- what stays ----------------------------------------------------------------------


def test_history_outlives_a_visit_and_can_be_forgotten(tab, url):
    open_page(tab, url)
    translate(tab, "my friend")
    tab.type(" tea")  # the same text, gone on with
    tab.wait_for(has_word("چای"))
    tab.run("document.getElementById('clear').click()")
    tab.type("water")
    tab.wait_for(has_word("آب"))
    tab.go(url)
    tab.wait_for("document.querySelectorAll('#history li').length === 2")
    assert tab.text("#history li:last-child bdi") == "my friend tea"
    tab.click("#history li:last-child button")
    tab.wait_for(has_word("چای"))
    tab.click("#forget")
    tab.go(url)
    tab.wait_for("document.getElementById('model').textContent")
    assert tab.run("document.getElementById('past').hidden")


@pytest.mark.parametrize(
    "kept", ['"x"', "{}", '[{"text": 1}, null]', "[[]]", "{broken"]
)
def test_a_spoilt_or_forbidden_store_changes_nothing(tab, url, kept):
    open_page(tab, url)
    for name in ("history", "settings", "theme"):
        tab.run(f"localStorage['flaxformer_mt.{name}'] = {json.dumps(kept)}")
    open_page(tab, url)
    translate(tab)
    tab.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source="Object.defineProperty(window, 'localStorage',"
        " { get() { throw new Error('forbidden') } })",
    )
    open_page(tab, url)
    translate(tab)


@pytest.mark.parametrize("is_secure", [True, False])
def test_copy_takes_the_whole_translation(tab, url, is_secure):
    tab.browser.call(
        "Browser.grantPermissions",
        permissions=["clipboardReadWrite", "clipboardSanitizedWrite"],
        browserContextId=tab._context,
    )
    if not is_secure:  # as on a page from another machine
        tab.call(
            "Page.addScriptToEvaluateOnNewDocument",
            source="navigator.clipboard.writeText = undefined",
        )
    open_page(tab, url)
    translate(tab)
    tab.click("#copy")
    tab.wait_for("document.getElementById('copy').textContent === 'Copied'")
    assert tab.run("navigator.clipboard.readText()") == PERSIAN


def test_light_and_dark_follow_the_system_until_one_chooses(tab, url):
    def shade():
        return tab.run("getComputedStyle(document.body).backgroundColor")

    open_page(tab, url)
    light = shade()
    tab.screen(dark=True)
    dark = shade()
    assert light != dark
    tab.click("#theme")  # auto, light, dark
    assert shade() == light
    tab.go(url)
    assert shade() == light
    tab.click("#theme")
    tab.screen(dark=False)
    assert shade() == dark


# ---- hostile texts -------------------------------------------------------------------

ACTS = [
    "<script>hurt=1</script>", "<img src=x onerror=hurt=1>", "<svg onload=hurt=1>",
    "<iframe srcdoc='<script>parent.hurt=1</script>'>", "<body onload=hurt=1>",
    "<details open ontoggle=hurt=1>", "<input autofocus onfocus=hurt=1>",
    "<a href=javascript:hurt=1>x</a>", "<style>*{display:none}</style>",
    "<meta http-equiv=refresh content=0;url=javascript:hurt=1>",
    "<video><source onerror=hurt=1></video>", "<math><mi xlink:href=x>",
    "<link rel=stylesheet href=//example.com/x.css>", "<base href=//example.com>",
    "<form action=//example.com><button>x</button></form>", "${hurt=1}",
]  # fmt: skip
WRAPS = [
    "{}", '">{}', "'>{}", "</textarea></bdi></p>{}", "--><!--{}", "\u202e{}\u2066",
]  # fmt: skip
HOSTILE = [
    *(payload for payload in PAYLOADS if payload.strip()),
    *(wrap.format(act) for act in ACTS for wrap in WRAPS),
]
# Elements that no text of the page is in.
COUNT = (
    "document.querySelectorAll('script, style, link, meta, base, iframe, object, embed,"
    " img, svg, video, audio, math, form, input, a, title, body, details').length"
)


def test_there_are_a_hundred_hostile_texts():
    assert len(HOSTILE) >= 100


def test_no_hostile_text_does_anything(tab, url, api):
    api.is_echo = True
    open_page(tab, url)
    before = tab.run(COUNT)
    for payload in HOSTILE:
        api.notes = [payload]
        tab.run(
            "(() => { const s = document.getElementById('source');"
            f"s.value = {json.dumps(payload)};"
            "s.dispatchEvent(new InputEvent('input'));"
            "s.dispatchEvent(new KeyboardEvent('keydown', "
            "{ key: 'Enter', ctrlKey: true })); })()"
        )
        # The page's strings are well-formed, what is read over the wire is not always.
        note = json.dumps(payload)
        tab.wait_for(
            "document.getElementById('notes').textContent.toWellFormed() === "
            f"{note}.toWellFormed() && document.querySelector('.w')"
        )
    tab.run("document.querySelector('.w').focus()")
    tab.wait_for("document.querySelector('#others button')")
    assert tab.run("document.querySelectorAll('#history li').length") == 30
    assert tab.run(COUNT) == before
    assert tab.run("typeof hurt") == "undefined"
    assert {address.split("/")[2] for address in tab.requests} == {url.split("/")[2]}


def test_no_name_error_example_or_sample_does_anything(tab, url, api):
    for payload in HOSTILE[::16]:
        api.model = {
            "name": payload, "examples": [payload], "src_language": payload,
            "tgt_language": payload, "tgt_direction": payload,
        }  # fmt: skip
        api.refusals = [(422, "invalid", payload, "")]
        open_page(tab, url)
        tab.type(ENGLISH)
        tab.wait_for("!document.getElementById('trouble').hidden")
        tab.complaints.pop()
        assert tab.run("typeof hurt") == "undefined"
        training = a_training(step=2000) | {"run": payload, "state": payload}
        training["validations"][-1]["samples"] = [
            {"src": payload, "tgt": payload, "ref": payload}
        ]
        training["best"]["metric"] = payload
        api.training = training
        tab.go(url + "/training")
        tab.wait_for("document.querySelector('#pairs li')")
        assert tab.run("typeof hurt") == "undefined"
        assert tab.run("document.querySelectorAll('#pairs dd *').length") == 0


# ---- the live view -------------------------------------------------------------------


def open_training(tab, url):
    tab.go(url + "/training")
    tab.wait_for("document.getElementById('state').dataset.state")


def look_again(tab):
    """What the page does by itself every two seconds, now."""
    tab.run("document.dispatchEvent(new Event('visibilitychange'))")


def test_a_run_without_numbers_says_so(tab, url, api):
    api.training = a_training(step=0)
    open_training(tab, url)
    assert tab.text("#state") == "Training"
    assert "Nothing has been written down yet" in tab.text("#empty")
    assert tab.run("document.getElementById('charts').hidden")


def test_the_view_updates_by_itself(tab, url, api):
    api.training = a_training(step=3000)
    open_training(tab, url)
    assert tab.text("#steps") == "step 3,000 of 10,000"
    assert tab.run("document.querySelectorAll('#loss .dot.two').length") == 3
    tiles = tab.text("#tiles")
    for told in ("18,433", "1 h 12 min", "chrF++, step 3,000"):
        assert told in tiles
    api.training = a_training(step=4000)
    tab.wait_for("document.querySelectorAll('#loss .dot.two').length === 4")
    assert tab.text("#steps") == "step 4,000 of 10,000"
    afters = [asked["after"] for asked in asked_at(api, "/api/training")]
    assert afters[0] == 0 and 3000 in afters  # only what is new is asked for again
    label = tab.run("document.querySelector('#loss svg').getAttribute('aria-label')")
    assert "at step 4,000" in label


@pytest.mark.parametrize("state", ["finished", "stopped"])
def test_the_view_says_how_a_run_ended(tab, url, api, state):
    api.training = a_training(state=state)
    open_training(tab, url)
    assert tab.text("#state").lower() == state
    assert "Time left\n–" in tab.text("#tiles").replace("\n\n", "\n")


def test_samples_can_be_read_back_to_the_first_validation(tab, url, api):
    api.training = a_training()
    open_training(tab, url)
    assert "من خانه می‌روم." in tab.text("#pairs")
    tab.run(
        "(() => { const w = document.getElementById('when'); w.value = '1000';"
        "w.dispatchEvent(new Event('change')); })()"
    )
    assert "خانه می‌روم." not in tab.text("#pairs li:nth-child(2) .strong")
    directions = tab.run(
        "[...document.querySelectorAll('#pairs li:first-child dd')]"
        ".map((e) => getComputedStyle(e).direction).join(' ')"
    )
    assert directions == "ltr rtl rtl"


def test_a_chart_is_read_point_by_point_with_keys(tab, url, api):
    api.training = a_training()
    open_training(tab, url)
    tab.run("document.querySelector('#scores svg').focus()")
    tab.press("ArrowRight")
    assert tab.text("#scores .readout") == "step 1,000 · chrF++ 23.4 · BLEU 9.9"
    tab.press("ArrowRight")
    assert tab.text("#scores .readout").startswith("step 2,000")
    tab.press("ArrowRight", CTRL)  # which is the browser's own
    assert tab.text("#scores .readout").startswith("step 2,000")


def test_a_run_that_began_anew_replaces_the_old_curves(tab, url, api):
    api.training = a_training(step=5000)
    open_training(tab, url)
    api.training = a_training(step=2000)
    look_again(tab)
    tab.wait_for("document.querySelectorAll('#loss .dot.two').length === 2")


def test_a_view_whose_server_has_gone_keeps_its_curves_and_looks_again(browser, api):
    api.training = a_training()
    tab = browser.open_tab()
    with serving(api.app()) as url:
        open_training(tab, url)
    look_again(tab)
    tab.wait_for("!document.getElementById('trouble').hidden")
    assert "does not answer" in tab.text("#trouble")
    assert tab.run("document.querySelectorAll('#loss .line').length") == 3
    with serving(api.app(), port=int(url.rpartition(":")[2])):
        tab.wait_for("document.getElementById('trouble').hidden")
    tab.close()


def test_a_model_without_a_log_says_so(tab, url, api):
    tab.go(url + "/training")
    tab.wait_for("!document.getElementById('trouble').hidden")
    assert "This model has no training log." in tab.text("#trouble")
    tab.complaints.clear()


# ---- colours, sizes, motion ----------------------------------------------------------

# Draws the backgrounds that lie behind each text one over another, whatever notation
# they are in, and compares them with its colour (WCAG 2.2, 1.4.3).
CONTRASTS = """(() => {
  const canvas = document.createElement("canvas").getContext("2d",
    { willReadFrequently: true });
  const drawn = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) {
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb) => rgb.map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    const isField = ["TEXTAREA", "INPUT", "SELECT"].includes(e.tagName);
    if (!(own || isField) || !e.checkVisibility({ opacityProperty: true })) continue;
    if (e.closest(".unseen, noscript, .skip, #mirror") || e.type === "radio") continue;
    if (e.type === "range") continue;
    const style = getComputedStyle(e);
    const behind = [];
    let opacity = 1;
    for (let a = e; a; a = a.parentElement) {
      behind.unshift(getComputedStyle(a).backgroundColor);
      opacity *= Number(getComputedStyle(a).opacity);
    }
    const colour = e instanceof SVGElement ? style.fill : style.color;
    const [text, back] = [drawn([...behind, colour]), drawn(behind)].map(luminance);
    const ratio = (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    found.push({ ratio: opacity === 1 ? ratio : 0, least: isLarge ? 3 : 4.5,
      what: `${e.tagName} ${e.id} ${e.className.baseVal ?? e.className}` });
  }
  return found;
})()"""


def check_contrast(tab, at_least):
    found = tab.run(CONTRASTS)
    assert len(found) >= at_least
    assert [text for text in found if text["ratio"] < text["least"]] == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_has_enough_contrast(tab, url, api, dark):
    tab.screen(dark=dark)
    api.training, api.is_letters = a_training(), True
    api.notes = ["Something to know."]
    api.refusals = [(422, "invalid", "something to mend.", "")]
    open_page(tab, url)
    check_contrast(tab, 15)
    tab.type(ENGLISH)
    tab.wait_for("!document.getElementById('trouble').hidden")
    check_contrast(tab, 15)
    tab.complaints.pop()
    for way in ("beam", "sample"):
        tab.click(f"[value={way}]")
        tab.wait_for("document.querySelector('.w') && !document.querySelector('.old')")
        tab.click(".w:nth-child(3)")
        tab.wait_for("document.querySelector('#reads .stripe')")
        tab.wait_for("document.querySelector('#others button')")
        check_contrast(tab, 40)
    tab.go(url + "/training")
    tab.wait_for("document.querySelector('#pairs li')")
    check_contrast(tab, 50)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_shades_lines_and_frames_can_be_told_apart(tab, url, dark):
    tab.screen(dark=dark)
    open_page(tab, url)
    ratio = (
        "(() => { const probe = document.createElement('p');"
        "document.body.append(probe);"
        "const c = document.createElement('canvas').getContext('2d');"
        "const light = (...names) => { for (const n of names) {"
        "probe.style.color = n; c.fillStyle = getComputedStyle(probe).color;"
        "c.fillRect(0, 0, 1, 1); }"
        "return [...c.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255)"
        ".map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))"
        ".reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0); };"
        "const compare = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05);"
        "const of = (n) => light(`var(--${n})`);"
        "const shade = light('var(--card)', "
        "'color-mix(in srgb, var(--heat) var(--heat-most), transparent)');"
        "const found = { text_on_shade: compare(of('ink'), shade) / 1.5 };"
        "for (const a of ['edge', 'bar', 'second', 'link', 'doubt', 'stop', 'fine'])"
        "for (const b of ['card', 'page', 'soft'])"
        "found[`${a} on ${b}`] = compare(of(a), of(b));"
        "probe.remove(); return found; })()"
    )
    found = tab.run(ratio)
    assert len(found) == 22
    assert {name: r for name, r in found.items() if r < 3} == {}


@pytest.mark.parametrize("way", ["greedy", "beam", "sample"])
def test_a_phone_needs_no_sideways_scrolling(browser, url, api, way):
    api.training = a_training()
    tab = browser.open_tab(width=360, height=740, is_phone=True)
    open_page(tab, url)
    tab.click(f"[value={way}]")
    translate(tab, ENGLISH + " " + "x" * 60)
    tab.click(".w:nth-child(2)")
    tab.wait_for("document.querySelector('#others button')")
    wide = "document.documentElement.scrollWidth"
    assert tab.run(wide) == 360
    small = tab.run(
        "[...document.querySelectorAll('button, select, summary, input, a')]"
        ".filter((e) => e.checkVisibility() && !e.closest('.skip'))"
        ".filter((e) => e.getBoundingClientRect().height < 24)"
        ".map((e) => e.id || e.name || e.textContent)"
    )
    assert small == []  # WCAG 2.2, 2.5.8
    # The word that is looked at is not under the sheet that tells of it.
    assert tab.run(
        "document.querySelector('.w.on').getBoundingClientRect().bottom <= "
        "document.getElementById('inside').getBoundingClientRect().top"
    )
    tab.go(url + "/training")
    tab.wait_for("document.querySelector('#pairs li')")
    assert tab.run(wide) == 360
    assert tab.complaints == []
    tab.close()


def test_nothing_moves_for_who_asked_for_that(tab, url, api):
    api.pause = 0.3
    moves = (
        "getComputedStyle(document.getElementById('result'), '::after').animationName"
    )
    for is_reduced, name in ((True, "none"), (False, "blink")):
        tab.screen(reduced_motion=is_reduced)
        open_page(tab, url)
        tab.type(ENGLISH)
        tab.wait_for("document.querySelector('#result.streaming')")
        assert tab.run(moves) == name


# ---- the files themselves ------------------------------------------------------------

FILES = sorted(PAGE.iterdir())


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_a_file_of_the_page_has_nothing_inline_and_nothing_from_elsewhere(path):
    text = path.read_text(encoding="utf-8")
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    if path.suffix == ".html":
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", text)
    if path.suffix == ".js":
        assert not re.search(
            r"(inner|outer)HTML|insertAdjacent|document\.write|\beval\b|new Function|"
            r"srcdoc|DOMParser|createContextualFragment|setAttribute\(\"(style|on)",
            text,
        )
    if path.suffix == ".css":
        assert not re.search(r"url\(|@import", text)


@pytest.mark.parametrize(
    ("page", "script"), [("index", "translate"), ("training", "training")]
)
def test_what_a_script_looks_for_is_on_its_page(page, script):
    markup = (PAGE / f"{page}.html").read_text(encoding="utf-8")
    ids = re.findall(r'\sid="([^"]+)"', markup)
    assert len(ids) == len(set(ids))
    code = (PAGE / f"{script}.js").read_text(encoding="utf-8")
    wanted = set(re.findall(r'part\("([^"]+)"\)', code))
    assert wanted <= set(ids)
    named = re.findall(r'(?:for|aria-labelledby|aria-describedby)="([^"]+)"', markup)
    assert {name for each in named for name in each.split()} - {"beam", "sample"} <= (
        set(ids)
    )


# ---- the true server -----------------------------------------------------------------


def test_the_server_and_the_page_understand_each_other(tab):
    from tests.serving.fake_model import FakeModel, fake_server

    with fake_server(FakeModel()) as (port, _):
        url = f"http://localhost:{port}"
        open_page(tab, url)
        assert tab.text("#examples") == "Hello."
        translate(tab, "in parts")
        assert tab.text("#result") == "IN PARTS"
        tab.click("[value=beam]")
        tab.wait_for("document.querySelectorAll('#ranking li').length === 3")
        tab.click("[value=sample]")
        tab.wait_for("document.getElementById('ranking').hidden")
        tab.wait_for("document.querySelector('.w')")
        tab.click(".w:nth-child(2)")
        tab.wait_for("document.querySelector('#others button')")
        tab.click("#others li:nth-child(1) button")
        tab.wait_for(has_word("w0"))
        assert tab.text("#result").startswith("IN w0 ")
        assert tab.run("document.getElementById('trouble').hidden")
