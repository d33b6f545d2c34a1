"""The door `score`: a number out for each pair in, and what they come to."""

import io
import json
import math
import subprocess
import sys

import pytest

from flaxformer_mt import score as door
from flaxformer_mt.command_line import parse
from flaxformer_mt.errors import InputError
from flaxformer_mt.line_stream import Pace
from flaxformer_mt.score import (
    ScoreOptions,
    Totals,
    read_input,
    score_pairs,
    split_pairs,
    whole_pairs,
)
from tests.fake_translator import FakeTranslator, Score

PAIRS = [("one", "a b c"), ("دو", "d")]


def scored(pairs, **options: object) -> tuple[str, Totals]:
    """(what is written for the pairs, what they come to)."""
    output = io.BytesIO()
    options = ScoreOptions(**options)
    totals = score_pairs(FakeTranslator(), pairs, options, output, pace=Pace("x"))
    return output.getvalue().decode("utf-8"), totals


# ---- what goes in ------------------------------------------------------------------


def test_a_line_is_a_source_a_tab_and_a_target():
    assert list(split_pairs(["a b\tc d", "\t", " x\ty "])) == [
        *(("a b", "c d"), ("", ""), (" x", "y "))
    ]


@pytest.mark.parametrize(("line", "tabs"), [("a", "0 TABs"), ("a\tb\tc", "2 TABs")])
def test_a_line_without_one_tab_is_named(line, tabs):
    with pytest.raises(InputError, match=f"input line 2 must be .* it has {tabs}"):
        list(split_pairs(["a\tb", line]))


@pytest.mark.parametrize(("pair", "side"), [(("", "b"), "source"), (("a", " "), "tar")])
def test_an_empty_side_is_named(pair, side):
    with pytest.raises(InputError, match=f"line 2 must have .* its {side}"):
        list(whole_pairs([("a", "b"), pair]))


def test_pairs_are_read_as_in_training_or_from_standard_input(tmp_path, capsys):
    (tmp_path / "x.tsv").write_text("one\ta b c\nدو\td\n", encoding="utf-8")
    (tmp_path / "tgt").write_text("a b c\nd\n\n", encoding="utf-8")
    stdin = io.BytesIO((tmp_path / "x.tsv").read_bytes())
    read = lambda options: list(read_input(options, stdin, Pace("x")))  # noqa: E731
    src, tgt = f"{tmp_path / 'x.tsv'}:0", str(tmp_path / "tgt")
    assert read(ScoreOptions(src=src, tgt=tgt)) == PAIRS
    assert "1 blank line more" in capsys.readouterr().err
    assert stdin.tell() == 0
    assert read(ScoreOptions()) == PAIRS


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--src x", "--src and --tgt must be given together; got src='x', tgt=''."),
        ("--tgt x", "must be given together"),
        ("--per-token --json", "leave one of them out"),
        (
            "--batch-tokens -1",
            "--batch-tokens must be at least 0",
        ),
        ("--beam 3", "unknown option '--beam'"),
    ],
)
def test_a_bad_option_is_one_sentence(arguments, words):
    with pytest.raises(InputError) as caught:
        parse(ScoreOptions, arguments.split(), prog="score")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_told_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(door, "choose_device", lambda device: pytest.fail("work"))
    with pytest.raises(InputError, match="there is no file"):
        door.score(["--src", str(tmp_path / "none"), "--tgt", str(tmp_path / "none")])


# ---- what comes out ----------------------------------------------------------------


def test_a_number_for_each_pair_in_order():
    assert scored(PAIRS)[0] == "-2.000000\n-1.000000\n"


def test_a_number_for_each_token_is_the_mean():
    assert scored(PAIRS, per_token=True)[0] == "-0.500000\n-0.500000\n"


def test_json_has_the_pair_and_every_token():
    first, second = (json.loads(r) for r in scored(PAIRS, json=True)[0].split("\n")[:2])
    assert first == {
        "line": 1,
        "src": "one",
        "tgt": "a b c",
        "log_probability": -2.0,
        "tokens": ["a", "b", "c", ""],
        "token_log_probabilities": [-0.5] * 4,
    }
    assert (second["line"], second["src"]) == (2, "دو")


def test_the_whole_is_sums_divided_once():
    totals = scored(PAIRS)[1]
    assert totals.sentence() == (
        "2 pairs, 6 tokens: 0.5000 nats a token, perplexity 1.65"
    )
    uneven = Totals()
    uneven.add(Score(-9.0, ("a", "b", ""), ()))
    uneven.add(Score(-1.0, ("",), ()))
    assert "2.5000 nats a token, perplexity 12.18" in uneven.sentence()
    assert math.isclose(math.exp(2.5), 12.18, abs_tol=0.01)


def test_no_pairs_and_hopeless_ones_are_no_error():
    assert scored([])[1].sentence() == "0 pairs"
    hopeless = Totals()
    hopeless.add(Score(-9999.0, ("",), ()))
    assert hopeless.sentence().endswith("perplexity inf")


def test_pairs_before_an_error_of_the_input_are_scored_first():
    output = io.BytesIO()
    pairs = whole_pairs(split_pairs(["a\tb", "c\td", "e"]))
    with pytest.raises(InputError, match="line 3"):
        score_pairs(FakeTranslator(), pairs, ScoreOptions(), output, pace=Pace("x"))
    assert output.getvalue().count(b"\n") == 2


def test_a_score_that_is_missing_is_noticed():
    class Lossy(FakeTranslator):
        def score(self, pairs, **options):
            yield from list(super().score(pairs))[:-1]

    with pytest.raises(ValueError, match="longer"):
        score_pairs(Lossy(), PAIRS, ScoreOptions(), io.BytesIO(), pace=Pace("x"))


def test_the_starter_model_finds_a_true_translation_likelier_than_another():
    pairs = "Where is the book?\tکتاب کجاست؟\nWhere is the book?\tمن چای می‌نوشم.\n"
    done = subprocess.run(
        [sys.executable, "-m", "flaxformer_mt.score"],
        input=pairs.encode(),
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    likely, unlikely = map(float, done.stdout.split())
    assert unlikely < likely < 0
    assert "2 pairs, " in done.stderr.decode() and "perplexity" in done.stderr.decode()
