"""A run that was stopped, damaged or moved goes on as if nothing had been.

The rows of the fault table that go through `fit` or the command line. Kills at random
moments are in tests/experiments/test_kill_runs.py, single steps in tests/training.
"""

import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from experiments import kill_runs
from experiments.damage_runs import SmallDisk, SmallFiles, small_disk_kind
from flaxformer_mt import session as loop
from flaxformer_mt.config import Config, DataConfig, ModelConfig, TrainConfig
from flaxformer_mt.errors import InputError, StoppedError, StorageError
from flaxformer_mt.train import fit
from flaxformer_mt.training import storage
from flaxformer_mt.training.checkpoints import saved_steps
from flaxformer_mt.training.run_folder import METRICS, RunFolder
from tests.conftest import ROOT, tiny_config

STEPS, VALIDATE_STEPS = 12, 4
PAIRS = [
    (f"{a} {b}", f"{b[::-1]}.{a}") for a in "abcdef" for b in ("xyz", "uvw", "rst")
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "pairs.tsv"
    path.write_text("".join(f"{s}\t{t}\n" for s, t in PAIRS), encoding="utf-8")
    return path


def make_config(corpus, folder):
    """A tiny model with dropout, three validations in twelve steps."""
    return Config(
        run=str(folder / "run"),
        device="cpu",
        data=DataConfig(src=f"{corpus}:0", tgt=f"{corpus}:1", validation_fraction=0.2),
        model=tiny_config(num_encoder_layers=1, num_decoder_layers=1),
        train=TrainConfig(
            steps=STEPS, validate_steps=VALIDATE_STEPS, batch_sentences=4
        ),
    )


@pytest.fixture
def config(corpus, tmp_path):
    return make_config(corpus, tmp_path)


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """The end of a run that was never stopped."""
    made = make_config(corpus, tmp_path_factory.mktemp("whole"))
    fit(made, verbose=False)
    return kill_runs.end_of(Path(made.run))


def goes_on(config, whole, **options):
    """Trains to the end, and compares that with the run that was never stopped."""
    fit(config, verbose=False, **options)
    assert kill_runs.end_of(Path(config.run)) == whole


def at_step(monkeypatch, number, action):
    """Does something just before the step with that number, counted in this process."""
    real, calls = loop.train_step, itertools.count(1)

    def step(*args, **kwargs):
        if next(calls) == number:
            action()
        return real(*args, **kwargs)

    monkeypatch.setattr(loop, "train_step", step)


def send(*numbers):
    def action():
        for number in numbers:
            os.kill(os.getpid(), number)

    return action


def assert_one_sentence(error, exit_code):
    assert error.exit_code == exit_code
    assert "\n" not in str(error) and str(error).endswith(".")


# ---- stopped -----------------------------------------------------------------------


@pytest.mark.parametrize("step", range(1, STEPS))
def test_from_any_step_it_goes_on_bit_for_bit(config, whole, monkeypatch, step):
    """Row C5."""
    with monkeypatch.context() as patch:
        at_step(patch, step, send(signal.SIGTERM))
        with pytest.raises(StoppedError, match=f"saved step {step}; the same"):
            fit(config, verbose=False)
    assert saved_steps(config.run)[-1] == step
    goes_on(config, whole)


def test_stopped_at_every_step_it_still_ends_the_same(config, whole, monkeypatch):
    for step in range(1, STEPS):
        with monkeypatch.context() as patch:
            at_step(patch, 1, send(signal.SIGTERM))
            with pytest.raises(StoppedError, match=f"saved step {step}; the same"):
                fit(config, verbose=False)
    goes_on(config, whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_saves_and_the_second_ends_at_once(
    config, whole, monkeypatch, capfd, number
):
    """Rows C20, C21."""
    with monkeypatch.context() as patch:
        at_step(patch, 6, send(number))
        with pytest.raises(StoppedError) as caught:
            fit(config, verbose=False)
    assert caught.value.exit_code == 128 + number
    assert saved_steps(config.run) == [4, 6]
    assert "once more stops at once" in capfd.readouterr().err
    with monkeypatch.context() as patch:
        at_step(patch, 4, send(number, number))  # within the tenth step
        twice = KeyboardInterrupt if number == signal.SIGINT else SystemExit
        with pytest.raises(twice) as caught:
            fit(config, verbose=False)
    assert caught.value.args == (() if number == signal.SIGINT else (128 + number,))
    assert saved_steps(config.run)[-1] == 8
    goes_on(config, whole)


def test_an_error_while_translations_are_shown_costs_no_checkpoint(
    config, whole, monkeypatch
):
    """Row C22."""

    def fail(session):
        raise RuntimeError("no words")

    with monkeypatch.context() as patch:
        patch.setattr(loop.Session, "translator", fail)
        with pytest.raises(RuntimeError, match="no words"):
            fit(config, verbose=True)
    assert saved_steps(config.run) == [4]
    goes_on(config, whole)


# ---- disks -------------------------------------------------------------------------


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_too_full_for_a_checkpoint_costs_only_that_step(
    config, whole, monkeypatch
):
    """Row C10."""
    with monkeypatch.context() as patch:
        at_step(patch, 5, lambda: patch.setattr(storage, "check_room", full))
        with pytest.raises(
            StorageError, match="step 8 was not saved: the disk is"
        ) as e:
            fit(config, verbose=False)
    assert_one_sentence(e.value, 4)
    assert saved_steps(config.run) == [4]
    goes_on(config, whole)


@pytest.mark.parametrize("num_before", [0, 1])
def test_a_disk_too_full_for_the_log_stops_a_run_that_goes_on_later(
    config, whole, monkeypatch, num_before
):
    """Rows C11, C25: the log has each validation once, wherever the run was cut."""
    real, calls = storage.replace_text, itertools.count()

    def replace_text(path, text):
        if Path(path).name == METRICS and next(calls) == num_before:
            full()
        real(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "replace_text", replace_text)
        with pytest.raises(StorageError, match=rf"{METRICS}: the disk is full") as e:
            fit(config, verbose=False)
    assert_one_sentence(e.value, 4)
    assert saved_steps(config.run)[-1] == VALIDATE_STEPS * (num_before + 1)
    goes_on(config, whole)


def test_a_folder_that_vanishes_is_one_sentence(config, whole, monkeypatch):
    """Row C12."""
    with monkeypatch.context() as patch:
        at_step(patch, 6, lambda: shutil.rmtree(config.run))
        with pytest.raises(StorageError, match="step 8 was not saved") as caught:
            fit(config, verbose=False)
    assert_one_sentence(caught.value, 4)
    goes_on(config, whole)  # from the start


def test_a_folder_that_may_not_be_written_is_one_sentence(config, whole, tmp_path):
    """Row C12; for root, a file system is mounted that may only be read."""
    if small_disk_kind(tmp_path) is SmallFiles:
        if os.geteuid() == 0:
            pytest.skip("root may write anywhere, and nothing can be mounted here")
        fit(config, verbose=False, more_steps=4)
        os.chmod(Path(config.run) / "checkpoints", 0o500)
        with pytest.raises(StorageError, match="cannot write to") as caught:
            fit(config, verbose=False)
        os.chmod(Path(config.run) / "checkpoints", 0o700)
        assert_one_sentence(caught.value, 4)
        return
    with SmallDisk(tmp_path / "disk", 10**7) as disk:
        config = config.replace(run=str(disk.folder / "run"))
        fit(config, verbose=False, more_steps=4)
        disk.mount("remount", "ro")
        with pytest.raises(StorageError, match="cannot write to") as caught:
            fit(config, verbose=False)
        assert_one_sentence(caught.value, 4)
        disk.mount("remount", "rw")
        goes_on(config, whole)


def test_a_run_without_an_undamaged_step_is_refused_and_left_as_it_is(config):
    """Row C9: it never silently starts from zero."""
    fit(config, verbose=False)
    run = Path(config.run)
    for path in (run / "checkpoints/manifests").iterdir():
        os.truncate(path, path.stat().st_size // 2)

    def contents():
        paths = [path for path in run.rglob("*") if path.is_file()]
        return {p: p.read_bytes() for p in paths if p.name != "lock"}

    before = contents()
    with pytest.raises(StorageError, match="no usable checkpoint in") as caught:
        fit(config, verbose=False)
    assert_one_sentence(caught.value, 4)
    assert contents() == before


# ---- folders and clocks ------------------------------------------------------------


@pytest.mark.parametrize("name", ["a run", "پوشهٔ آزمایش", "~/run", "a/b/c"])
def test_any_folder_name_trains_and_goes_on(config, whole, tmp_path, monkeypatch, name):
    """Row C26."""
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    named = config.replace(run=name)
    fit(named, verbose=False, more_steps=4)
    fit(named, verbose=False)
    end = kill_runs.end_of(tmp_path / name.removeprefix("~/"))
    assert end == whole


@pytest.mark.parametrize("name", ["file", "file/run", "x" * 300, "nul\0"])
def test_an_impossible_folder_is_one_sentence(config, tmp_path, name):
    """Row C26."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        fit(config.replace(run=f"{tmp_path}/{name}"), verbose=False)
    assert_one_sentence(caught.value, 2)


def test_a_clock_that_goes_back_changes_nothing(config, whole, monkeypatch):
    """Row C27."""
    now = itertools.count(2e9, -1000)
    monkeypatch.setattr(time, "time", lambda: next(now))
    fit(config, verbose=False, more_steps=8)
    goes_on(config, whole)


def test_a_run_goes_on_in_another_place(config, whole, tmp_path):
    """Row C30."""
    fit(config, verbose=False, more_steps=8)
    moved = tmp_path / "elsewhere" / "run"
    shutil.copytree(config.run, moved)
    shutil.rmtree(config.run)
    goes_on(config.replace(run=str(moved)), whole)


# ---- another command ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [
        ("", "seed", 1),
        ("data", "lowercase", True),
        ("data", "validation_fraction", 0.3),
        ("data", "tokenizer", "unigram"),
        ("data", "src_normalize", "none"),
        ("data", "limit_pairs", 12),
        ("model", "d_model", 32),
        ("model", "num_heads", 4),
        ("model", "num_encoder_layers", 2),
        ("model", "dropout_rate", 0.3),
        ("model", "norm", "post"),
        ("model", "max_length", 15),
        ("train", "learning_rate", 1e-3),
        ("train", "adam_b2", 0.99),
        ("train", "schedule", "constant"),
        ("train", "warmup_steps", 3),
        ("train", "batch_sentences", 5),
        ("train", "label_smoothing", 0.1),
        ("train", "validate_steps", 3),
    ],
)
def test_an_option_that_would_make_it_another_run_is_refused_by_name(
    begun, table, name, value
):
    """Rows C16, C17."""
    config, before = begun
    changes = {name: value}
    if table:
        options = {**vars(getattr(config, table)), name: value}
        kinds = {"data": DataConfig, "model": ModelConfig, "train": TrainConfig}
        changes = {table: kinds[table](**options)}
    with pytest.raises(InputError) as caught:
        fit(config.replace(**changes), verbose=False)
    assert f"{table}.{name} was ".lstrip(".") in str(caught.value)
    assert f"is now {value!r}" in str(caught.value)
    assert_one_sentence(caught.value, 2)
    assert kill_runs.end_of(Path(config.run)) == before


@pytest.fixture(scope="module")
def begun(corpus, tmp_path_factory):
    """A run that has begun, and what it holds."""
    made = make_config(corpus, tmp_path_factory.mktemp("begun"))
    fit(made, verbose=False, more_steps=4)
    return made, kill_runs.end_of(Path(made.run))


def test_a_run_begun_elsewhere_says_that_its_bits_may_differ(
    config, monkeypatch, capsys
):
    """Row C19."""
    real = loop.environment
    with monkeypatch.context() as patch:
        patch.setattr(loop, "environment", lambda *a: {**real(*a), "numpy": "0.9"})
        fit(config, verbose=False, more_steps=4)
    fit(config, verbose=True)
    told = capsys.readouterr().err
    assert told.count("results will not be bit-identical") == 1
    assert f"numpy was 0.9, is {np.__version__}" in told


def test_the_same_machine_is_told_nothing_of_the_kind(config, capsys):
    fit(config, verbose=False, more_steps=4)
    fit(config, verbose=True)
    assert "bit-identical" not in capsys.readouterr().err


def test_the_hash_seed_of_python_changes_no_bit(tmp_path):
    """Row N18, through the command line: no order of a set or a dict gets in."""
    ends = []
    for seed in ("0", "1"):
        run = tmp_path / seed
        command = [sys.executable, "-m", "flaxformer_mt.train"]
        subprocess.run(
            [*command, *kill_runs.command(tmp_path, run, ("--train.steps", "4"))],
            env=kill_runs.Server(tmp_path / "cache").environment
            | {"PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        config = RunFolder.of(run).config().to_dict()
        ends.append((kill_runs.end_of(run), json.dumps(config)))
    assert ends[0] == ends[1]
