"""The doors: one line on stderr, exit code 2, and a suggestion for a typo."""

import os
import re
import subprocess
import sys

import pytest

from flaxformer_mt import __main__ as program
from flaxformer_mt.average import AverageOptions
from flaxformer_mt.command_line import option_names, parse
from flaxformer_mt.config import Config
from flaxformer_mt.download import DownloadOptions
from flaxformer_mt.errors import InputError
from flaxformer_mt.evaluate import EvaluateOptions
from flaxformer_mt.prepare import PrepareOptions
from flaxformer_mt.score import ScoreOptions
from flaxformer_mt.serve import ServeOptions
from flaxformer_mt.translate import TranslateOptions


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--train.lerning-rate", "1"], "did you mean '--train.learning-rate'?"),
        (["--modle.d-model", "64"], "did you mean '--model.d-model'?"),
        (["--train.epoch", "3"], "did you mean '--train.epochs'?"),
        (["--train.step=3"], "did you mean '--train.steps'?"),
        (["--data.scr", "x"], "did you mean '--data.src'?"),
        (["--sead", "1"], "did you mean '--seed'?"),
        (["--rum", "x"], "did you mean '--run'?"),
        (["--divice", "cpu"], "did you mean '--device'?"),
        (["--model.numheads", "2"], "did you mean '--model.num-heads'?"),
        (["--train.batch-sentence", "2"], "did you mean '--train.batch-sentences'?"),
        (["--qqqqqq"], "unknown option '--qqqqqq': --help-all lists the options."),
        (["corpus.txt"], "unknown argument 'corpus.txt'"),
        # Tyro's own words, which docs/troubleshooting.md explains.
        (["--train.epochs"], "Missing value for argument '--train.epochs'"),
        (["--train.epochs", "three"], "epochs must be a whole number; got 'three'"),
        (["--train.minutes", "x"], "--train.minutes must be a number; got 'x'"),
        (["--train.learning-rate", "-1"], "train.learning_rate must be above 0"),
        (["--model.num-heads", "7"], "got d_model=96, num_heads=7."),
        (["--model.dropout-rate", "1"], "below 1; got 1.0"),
        (["--train.batch-sentences", "0"], "at least 1; got 0"),
        (["--device", "tpu"], "tpu"),
        (
            ["--train.schedule", "cosin"],
            "for argument '--train.schedule'. Expected one of",
        ),
        (["--data.src", "a.tsv:0"], "got only data.src"),
    ],
)
def test_a_bad_option_is_one_sentence(arguments, expected):
    with pytest.raises(InputError) as caught:
        parse(Config, arguments, prog="train")
    message = str(caught.value)
    assert expected in message
    assert "\n" not in message and "│" not in message
    assert "Error parsing" not in message


def test_everyday_options_have_the_names_that_the_readme_uses():
    arguments = (
        "--data.src a:1 --data.tgt b:2 --data.src-lang en --data.tgt-lang fa "
        "--train.minutes 30 --train.learning-rate 0.01 --train.batch-tokens 500 "
        "--train.batch-sentences 8 --model.d-model 64 --model.num-heads 8 --seed 3 "
        "--run r --data.lowercase --data.src-vocab v.json --data.limit-pairs 9 "
        "--data.bos <S> --model.max-length 50"
    )
    config = parse(Config, arguments.split(), prog="train")
    assert (config.data.src_lang, config.data.lowercase) == ("en", True)
    assert config.train.budget == ("minutes", 30)
    assert (config.model.d_model, config.seed, config.run) == (64, 3, "r")
    assert (config.data.bos, config.data.limit_pairs) == ("<S>", 9)


def test_sampling_options_need_sampling():
    parse(TranslateOptions, ["--sample", "--temperature", "0"], prog="translate")
    with pytest.raises(InputError, match="--top-k must come with --sample"):
        parse(TranslateOptions, ["--top-k", "3"], prog="translate")
    for arguments in (
        ["--sample", "--temperature", "-1"],
        ["--sample", "--temperature", "nan"],
        ["--sample", "--top-k", "-1"],
        ["--sample", "--repetition-penalty", "0"],
    ):
        with pytest.raises(InputError, match="must be"):
            parse(TranslateOptions, arguments, prog="translate")


def test_references_need_their_sentences():
    with pytest.raises(InputError, match="must be given together"):
        parse(EvaluateOptions, ["--src", "a.txt"], prog="evaluate")


def test_no_option_of_the_vocabulary_sizes_is_offered(capsys):
    """They follow from the tokenizers; a person who set them could only be wrong."""
    with pytest.raises(SystemExit) as stop:
        parse(Config, ["--help-all"], prog="train")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "--train.minutes" in shown and "model.src-vocab-size" not in shown
    assert all(
        f"--{name}" in shown for name in option_names(Config) if "size" not in name
    )


DOORS = {
    "train": (Config, {"check", "show-config", "preset"}),
    "translate": (TranslateOptions, set()),
    "serve": (ServeOptions, set()),
    "evaluate": (EvaluateOptions, set()),
    "score": (ScoreOptions, set()),
    "prepare": (PrepareOptions, set()),
    "average": (AverageOptions, set()),
    "download": (DownloadOptions, set()),
}


@pytest.mark.parametrize("door", DOORS)
def test_help_fits_a_screen_and_names_options_that_there_are(door, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    kind, others = DOORS[door]
    with pytest.raises(SystemExit) as stop:
        parse(kind, ["--help"], prog=door)
    assert stop.value.code == 0
    lines = capsys.readouterr().out.rstrip().split("\n")
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    known = {*option_names(kind), *others, "help-all", "help"}
    named = {name for line in lines for name in re.findall(r"--([a-z][\w.-]*)", line)}
    assert {name.rstrip(".") for name in named} - known <= {"data", "no-replace"}


@pytest.mark.parametrize("door", DOORS)
def test_all_options_are_shown_when_asked_for(door, capsys):
    kind, _ = DOORS[door]
    with pytest.raises(SystemExit):
        parse(kind, ["--help-all"], prog=door)
    shown = capsys.readouterr().out
    assert all(f"--{name}" in shown for name in option_names(kind) if len(name) < 20)


def test_every_door_is_in_the_list_of_commands():
    assert set(DOORS) == set(program.DOORS)


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "flaxformer_mt", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def test_an_error_is_one_line_with_exit_code_2_and_debug_shows_more(tmp_path):
    plain = run("translate", "--run", str(tmp_path / "none"))
    assert plain.returncode == 2
    assert plain.stdout == ""
    assert plain.stderr.startswith("error: ") and plain.stderr.count("\n") == 1
    assert "is not a run folder" in plain.stderr
    traced = run("translate", "--debug", "--run", str(tmp_path / "none"))
    assert traced.returncode == 2 and "Traceback" in traced.stderr
    assert not (tmp_path / "none").exists()


def test_a_letter_that_stdout_lacks_is_written_as_its_number():
    code = (
        "from flaxformer_mt.command_line import open_closed_streams\n"
        "open_closed_streams()\nprint('\xb1 \u0633')"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True
    )
    assert done.stdout.split() == [b"\\xb1", b"\\u0633"], done.stderr


def test_the_program_names_its_commands_and_its_version():
    assert run("--version").stdout.startswith("flaxformer-mt 0.")
    assert "translate" in run().stdout
    wrong = run("trian")
    assert wrong.returncode == 2
    assert wrong.stderr == "error: unknown command 'trian'; did you mean 'train'?\n"
