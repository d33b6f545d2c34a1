"""Bad files end in a sentence, lines never shift, and a broken reader is noticed.

Row D31, and D8, of the fault table. `FLAXFORMER_MT_FUZZ=10000` raises both counts to
those of a release.
"""

import contextlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import fuzz_reader
from experiments.fuzz_reader import (
    KINDS,
    MAX_PEAK_BYTES,
    MAX_SECONDS,
    SEPARATORS,
    Made,
    fuzz_inputs,
    fuzz_separators,
    main,
    make_corpus,
    make_input,
    missed_bars,
    read_input,
)
from flaxformer_mt.text import lines as lines_room
from flaxformer_mt.text import sources as sources_room
from tests.conftest import ROOT

RAISED = os.environ.get("FLAXFORMER_MT_FUZZ")
INPUTS = int(RAISED or 500)
CORPORA = int(RAISED or 300)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The command, in a process of its own, whose memory is then nobody else's."""
    result = tmp_path_factory.mktemp("fuzz") / "result.json"
    command = [
        *(sys.executable, "-m", "experiments.fuzz_reader"),
        *("--inputs", str(INPUTS), "--separators", str(CORPORA), "--seed", "0"),
        *("--save", str(result.parent / "kept"), "--result", str(result)),
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    assert result.exists(), done.stderr
    return done, json.loads(result.read_text(encoding="utf-8"))


def test_a_damaged_file_is_read_or_refused_in_one_sentence(run):
    done, facts = run
    assert facts["inputs"]["failed"] == 0, done.stdout
    inputs = facts["inputs"]
    assert inputs["read"] + inputs["refused"] == inputs["inputs"] == INPUTS


def test_no_damaged_file_takes_long_or_much_memory(run):
    inputs = run[1]["inputs"]
    assert inputs["slowest_seconds"] <= MAX_SECONDS
    assert inputs["peak_mb"] * 1e6 <= MAX_PEAK_BYTES


def test_files_of_every_kind_are_refused_and_some_are_read(run):
    """A reader that refused everything, or damage that did none, would prove little."""
    kinds = run[1]["inputs"]["kinds"]
    assert len(kinds) == len(KINDS)
    for kind, verdicts in kinds.items():
        assert verdicts["read"] > 0 and verdicts["refused"] > 0, kind


def test_no_separator_shifts_a_line_in_any_container(run):
    done, facts = run
    assert facts["separators"]["misaligned"] == 0, done.stdout
    assert facts["separators"]["corpora"] == CORPORA
    held = {c for i in range(50) for pair in make_corpus(0, i) for c in "".join(pair)}
    assert held >= set(SEPARATORS) and len(SEPARATORS) == 9


def test_the_result_says_where_its_figures_come_from(run):
    done, facts = run
    assert done.returncode == 0 and done.stderr == ""
    assert facts["command"].startswith("python -m experiments.fuzz_reader --inputs")
    assert {"date", "machine", "environment", "wall_seconds"} <= set(facts)
    assert facts["missed_bars"] == []


# ---- replaying ---------------------------------------------------------------------


def test_a_number_gives_the_same_input_again_and_another_seed_another():
    for number in range(50):
        assert make_input(0, number) == make_input(0, number)
    assert any(make_input(0, n) != make_input(1, n) for n in range(7))


def test_one_input_can_be_read_once_more(tmp_path):
    # A process of its own: how much memory it takes is one of the bars.
    command = (sys.executable, "-m", "experiments.fuzz_reader", "--only", "9")
    done = subprocess.run(
        [*command, "--save", str(tmp_path / "kept")],
        **{"cwd": ROOT, "capture_output": True, "text": True},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert "what was done to it: " in said and " seconds: " in said


def test_something_must_be_asked_for(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "give --inputs, --separators or --only" in capsys.readouterr().err


# ---- a broken reader is noticed ----------------------------------------------------


def read_some(tmp_path: Path, kind: int, count: int = 60) -> tuple[dict, list[str]]:
    """(the figures, what was shown) of inputs of one kind."""
    said: list[str] = []
    numbers = range(kind, kind + count * len(KINDS), len(KINDS))
    return fuzz_inputs(numbers, 0, say=said.append, save=tmp_path / "kept"), said


def pythons_lines(block: bytes, *rest: object) -> list[str]:
    return block.decode("utf-8", "replace").splitlines() or [""]


def lines_at_every_cr(block: bytes, *rest: object) -> list[str]:
    return block.decode("utf-8", "replace").replace("\r", "\n").split("\n")


@pytest.mark.parametrize("broken", [pythons_lines, lines_at_every_cr])
def test_a_reader_that_splits_elsewhere_is_noticed(broken, monkeypatch):
    monkeypatch.setattr(lines_room, "_decode", broken)
    said: list[str] = []
    figures = {"separators": fuzz_separators(20, 0, say=said.append)}
    assert figures["separators"]["misaligned"] > 5
    assert "corpora were misaligned" in missed_bars(figures)[0]
    assert any("is misaligned: txt" in line and "zip of tsv" in line for line in said)


def test_a_fault_that_is_not_caught_is_noticed_and_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(sources_room, "faults", lambda what: contextlib.nullcontext())
    monkeypatch.setattr(lines_room, "faults", lambda what: contextlib.nullcontext())
    for kind in (0, 5):
        figures, said = read_some(tmp_path, kind)
        assert figures["failed"] > 5
        assert "inputs failed" in missed_bars({"inputs": figures})[0]
        number = figures["first_failures"][0]
        assert f"again with --seed 0 --only {number}" in said[0]
        assert "Traceback" in said[0]
        made = make_input(0, number)
        kept = tmp_path / "kept" / f"0-{number}-{made.name}"
        assert kept.read_bytes() == made.data


def test_letters_that_are_replaced_are_noticed(monkeypatch, tmp_path):
    def replacing(block, *rest):
        lines = block.decode("utf-8", "replace").split("\n")
        return [line.removesuffix("\r") for line in lines]

    monkeypatch.setattr(lines_room, "_decode", replacing)
    for kind in (2, 3):  # txt, tsv
        assert read_some(tmp_path, kind)[0]["failed"] > 0


def test_a_message_must_be_one_printable_line_and_no_page(monkeypatch, tmp_path):
    made = Made("txt", "a.txt", b"\xff", ("",))
    assert read_input(made, tmp_path).verdict == "refused"
    for guess, fault in (
        ("two\nlines", "not one printable line"),
        ("\u202eback", "not one printable line"),
        ("Traceback (most recent call last)", "shows our code"),
        ("x" * 3000, "characters"),
    ):
        monkeypatch.setattr(lines_room, "_guess", lambda *_, guess=guess: guess)
        outcome = read_input(made, tmp_path)
        assert outcome.verdict == "failed" and fault in outcome.said


def test_each_bar_that_is_missed_is_said():
    good = {"failed": 0, "slowest_seconds": 1.0, "slowest_input": 3, "peak_mb": 90}
    assert missed_bars({"inputs": {**good, "read": 1}}) == []
    for change, expected in (
        ({"failed": 2}, "2 inputs failed, expected none"),
        ({"slowest_seconds": 5.1}, "input 3 took 5.1 seconds, expected at most 5"),
        ({"peak_mb": 1001}, "memory peaked at 1,001 MB, expected at most 1,000"),
        ({"read": 0}, "not one input was read"),
    ):
        missed = missed_bars({"inputs": {**good, "read": 1, **change}})
        assert len(missed) == 1 and expected in missed[0]


def test_a_missed_bar_is_exit_code_1(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(lines_room, "_decode", pythons_lines)
    arguments = ["--separators", "5", "--result", str(tmp_path / "result.json")]
    assert main(arguments) == 1
    assert "missed: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "damage", fuzz_reader.ANY_DAMAGE + fuzz_reader.TEXT_DAMAGE + fuzz_reader.ZIP_DAMAGE
)
def test_damage_of_every_sort_can_be_done_to_anything(damage):
    for data in (b"", b"x", b"PK\5\6" + b"\0" * 18, "سلام\n".encode() * 9):
        for seed in range(5):
            assert isinstance(damage(random.Random(seed), data), bytes)
