"""Damage is told, and what is whole still loads: the experiment, in small."""

import pytest

from experiments import damage_runs, kill_runs
from flaxformer_mt.training.checkpoints import saved_steps


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return damage_runs.train_run(tmp_path_factory.mktemp("damage"))


def test_no_flipped_bit_of_a_run_is_silent(run):
    figures = damage_runs.flip_bits(run, 40, 0)
    assert figures["first_failures"] == []
    assert figures["loads"]["told"] > 5 and figures["loads"]["unharmed"] > 5


def test_no_cut_file_of_a_run_is_silent(run):
    figures = damage_runs.cut_files(run)
    assert figures["first_failures"] == []
    loads = figures["loads"]
    assert loads["told"] > 20 and loads["refused"] == (3 * 3 + 2) * 2
    # The manifest of the best, and of the latest; the pairs for evaluate, for each.
    assert loads["gone"] == 4


@pytest.mark.parametrize("kind", ["tmpfs", "limit"])
def test_a_full_disk_loses_nothing_and_is_no_traceback(run, monkeypatch, capfd, kind):
    if kind == "limit":
        pytest.importorskip("resource")
        monkeypatch.setattr(
            damage_runs, "small_disk_kind", lambda folder: damage_runs.SmallFiles
        )
    elif damage_runs.small_disk_kind(run.parent) is damage_runs.SmallFiles:
        pytest.skip("no small disk can be mounted here: that takes root on Linux")
    figures = damage_runs.fill_disks(run, 4)
    assert figures["first_failures"] == []
    assert figures["outcomes"]["refused"] >= 1 and figures["outcomes"]["saved"] >= 1
    assert capfd.readouterr().err == ""


def test_numbers_that_changed_without_a_word_would_be_noticed(run):
    intact = damage_runs.Intact.of(run)
    step = saved_steps(run)[-1]
    intact.digests[step]["params"] = "another"
    which = next(w for w, first in intact.first.items() if first == step)
    assert intact.outcome(run, run / "nothing", which) == ("silent", "")


def test_a_step_that_is_passed_over_without_a_word_would_be_noticed(run):
    intact = damage_runs.Intact.of(run)
    intact.first["latest"] = 2
    there = damage_runs.files_of(run)[0]
    assert intact.outcome(run, there, "latest") == ("silent", "")
    assert intact.outcome(run, run / "nothing", "latest") == ("gone", "")


def test_a_result_says_how_to_measure_it_again(tmp_path):
    path = tmp_path / "results" / "x.json"
    kill_runs.write_result(path, "kill_runs", ["--kills", "3"], {"seconds": 1.0})
    text = path.read_text(encoding="utf-8")
    assert '"command": "python -m experiments.kill_runs --kills 3"' in text
    for name in ("date", "machine", "environment", "jax", "seconds"):
        assert f'"{name}": ' in text
