"""What `translate` writes for each line: in order, one answer a line, as asked for."""

import io
import itertools
import json
import os
import select
import threading

import pytest

from flaxformer_mt.answers import translate_lines
from flaxformer_mt.decoding.sampling import SampleOptions
from flaxformer_mt.decoding.translation import (
    Hypothesis,
    Report,
    Translation,
)
from flaxformer_mt.errors import InputError
from flaxformer_mt.line_stream import (
    input_lines,
    read_ahead,
    with_prefix,
    with_prefixes,
)
from flaxformer_mt.translate_options import TranslateOptions
from tests.fake_translator import WINDOW, FakeTranslator

LONG = 60  # seconds after which a test gives up on an answer; usual is none


def answers(lines: list[str], **options: object) -> str:
    """All that is written for the lines."""
    options, output = TranslateOptions(**options), io.BytesIO()
    prefixed = with_prefix(lines, options.prefix)
    translate_lines(FakeTranslator(), prefixed, options, output)
    return output.getvalue().decode("utf-8")


def test_output_has_the_lines_of_the_input_in_order_over_many_windows():
    translator, output = FakeTranslator(), io.BytesIO()
    lines = [f"line {i}!" if i % 7 else "" for i in range(2500)]
    answered = itertools.count()
    report = translate_lines(
        *(translator, with_prefix(lines, ""), TranslateOptions(), output),
        answered=lambda: next(answered),
    )
    assert output.getvalue().decode().split("\n") == [*map(str.upper, lines), ""]
    assert translator.windows == [WINDOW] * 19 + [2500 - 19 * WINDOW]
    assert next(answered) == 2500
    assert report.split == sum(map(bool, lines))


def test_the_translator_gets_every_option():
    translator = FakeTranslator()
    options = TranslateOptions(
        sample=True,
        seed=5,
        max_tokens=9,
        batch_tokens=77,
        too_long="refuse",
        scores=True,
    )
    translate_lines(translator, with_prefix(["a"], ""), options, io.BytesIO())
    assert translator.asked == [
        {
            "search": SampleOptions(repetition_penalty=1.2),
            "prefix": "",
            "seed": 5,
            "first_line": 0,
            "scores": True,
            "longest": 9,
            "batch_tokens": 77,
            "too_long": "refuse",
        }
    ]


def test_a_translation_is_one_line_even_if_it_holds_a_line_feed():
    assert answers(["a\nb", "c"]) == "A B\nC\n"
    assert answers(["a\nb", "c"], beam=2, n_best=1).count("\n") == 2


# ---- formats -----------------------------------------------------------------------


def test_scores_stand_before_the_text():
    assert answers(["a", ""], scores=True) == "-1.250000\tA\n0.000000\t\n"


def test_n_best_has_a_row_for_each_hypothesis_and_one_for_an_empty_line():
    assert answers(["a", "", "b"], beam=2, n_best=2) == (
        "1\t-1.250000\tA\n1\t-2.250000\tA+\n"
        "2\t0.000000\t\n"
        "3\t-1.250000\tB\n3\t-2.250000\tB+\n"
    )


def rows(text: str) -> list[dict]:
    return [json.loads(line) for line in text.split("\n")[:-1]]


def test_json_has_one_object_a_line():
    text = answers(["سلام\u2028", "cut…"], json=True)
    assert "سلام" in text
    assert rows(text) == [
        {
            "line": 1,
            "src": "سلام\u2028",
            "translation": "سلام\u2028",
            "truncated": False,
        },
        {"line": 2, "src": "cut…", "translation": "CUT…", "truncated": True},
    ]


def test_json_with_scores_has_each_tokens_own():
    (row,) = rows(answers(["a"], json=True, scores=True))
    assert list(row)[4:] == [
        *("score", "log_probability", "tokens", "token_log_probabilities")
    ]
    assert row["score"] == -1.25 and row["log_probability"] == -2.5
    assert row["tokens"] == ["A", ""]
    assert row["token_log_probabilities"] == [-1.0, -1.5]


@pytest.mark.parametrize("scores", [False, True])
def test_json_with_n_best_has_a_list_of_the_same_fields(scores):
    (row,) = rows(answers(["a"], json=True, beam=3, n_best=3, scores=scores))
    assert [each["translation"] for each in row["n_best"]] == ["A", "A+", "A++"]
    for each in row["n_best"]:
        assert {"line", "src", "n_best", *each} == set(row)
    assert row["n_best"][0] == {name: row[name] for name in row["n_best"][0]}
    assert "n_best" not in rows(answers(["a"], json=True, beam=3, n_best=1))[0]


@pytest.mark.parametrize("as_json", [False, True])
def test_half_a_surrogate_pair_does_not_stop_the_output(as_json):
    """A vocabulary file of one's own may hold one."""

    class Odd(FakeTranslator):
        def stream(self, lines, *args, **kwargs):
            for line in lines:
                guess = Hypothesis("x\ud83d", -1.0, -1.0, (), (), False)
                yield Translation(line, (guess,), Report())

    output = io.BytesIO()
    options = TranslateOptions(json=as_json)
    translate_lines(Odd(), with_prefix(["a"], ""), options, output)
    written = output.getvalue().decode("utf-8")
    assert "x\\ud83d" in written
    if as_json:
        assert json.loads(written)["translation"] == "x\ud83d"


# ---- prefixes and alternatives -----------------------------------------------------


def test_the_prefix_is_for_all_lines_or_each_has_its_own():
    assert answers(["a", "b"], prefix="xy") == "XYA\nXYB\n"
    options, output = TranslateOptions(prefixes="file"), io.BytesIO()
    lines = with_prefixes([*"abc"] * WINDOW, [*"x", "", "z"] * WINDOW)
    translate_lines(FakeTranslator(), lines, options, output)
    assert output.getvalue().decode() == "XA\nB\nZC\n" * WINDOW


def test_alternatives_are_pairs_with_tabs_between():
    assert answers(["a", "", "b"], alternatives=3, prefix="x") == (
        "xa0 0.500000\txa1 0.250000\t 0.125000\n"
        "\n"
        "xb0 0.500000\txb1 0.250000\t 0.125000\n"
    )


def test_alternatives_as_json():
    first, empty = rows(answers(["a", " "], alternatives=2, json=True, prefix="x"))
    assert first == {
        "line": 1,
        "src": "a",
        "prefix": "x",
        "alternatives": [
            {"word": "xa0", "probability": 0.5},
            {"word": "", "probability": 0.125},
        ],
    }
    assert (empty["line"], empty["alternatives"]) == (2, [])


# ---- errors and pipes --------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"alternatives": 2}])
def test_lines_before_an_error_of_the_input_are_answered_first(options):
    options, output = TranslateOptions(**options), io.BytesIO()
    lines = read_ahead(input_lines(io.BytesIO(b"one\ntwo\nbad \xff\nfour\n")))
    with pytest.raises(InputError, match="line 3, byte 5 is not"):
        translate_lines(FakeTranslator(), with_prefix(lines, ""), options, output)
    assert output.getvalue().count(b"\n") == 2


@pytest.mark.parametrize("options", [{}, {"alternatives": 2}])
def test_lines_before_one_that_cannot_be_translated_are_written(options):
    options, output = TranslateOptions(**options), io.BytesIO()
    lines = with_prefix(["one", "too long", "three"], "")
    with pytest.raises(InputError, match="longer than the model reads"):
        translate_lines(FakeTranslator(), lines, options, output)
    assert output.getvalue().count(b"\n") == 1


def test_where_the_output_breaks_off_the_translator_stops():
    """What it has begun with would keep the program from ending."""
    ended = []

    class Busy(FakeTranslator):
        def stream(self, lines, *args, **kwargs):
            try:
                yield from super().stream(lines, *args, **kwargs)
            finally:
                ended.append(True)

    class Broken(io.BytesIO):
        def write(self, rows):
            raise BrokenPipeError

    lines = with_prefix(["a"] * 1000, "")
    # The error holds on to all that was going on.
    with pytest.raises(BrokenPipeError) as caught:
        translate_lines(Busy(), lines, TranslateOptions(), Broken())
    assert ended == [True] and caught.tb is not None


@pytest.mark.parametrize("options", [{}, {"alternatives": 2}, {"json": True}])
def test_a_pipe_that_stays_open_has_its_answer(options):
    """A program writes one line, waits for the answer, and then writes the next."""
    (reads, asks), (hears, answers) = os.pipe(), os.pipe()
    options = TranslateOptions(**options)

    def work():
        with open(reads, "rb") as stdin, open(answers, "wb") as stdout:
            lines = with_prefix(read_ahead(input_lines(stdin)), "")
            translate_lines(FakeTranslator(), lines, options, stdout)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    with open(asks, "wb", buffering=0) as asked, open(hears, "rb") as heard:
        for text in (b"one", b"", b"three"):
            asked.write(text + b"\n")
            assert select.select([heard], [], [], LONG)[0], "it waits for more lines"
            assert (text if options.alternatives else text.upper()) in heard.readline()
        asked.write(b"no end")
        asked.close()
        assert heard.read().count(b"\n") == 1
    thread.join()
