"""The loop: it learns, shows, saves, stops, and goes on as if never stopped."""

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from flaxformer_mt import logbook, starter
from flaxformer_mt import session as loop
from flaxformer_mt import train as door
from flaxformer_mt.commentary import tell_end
from flaxformer_mt.config import Config, DataConfig, ModelConfig, TrainConfig
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.errors import (
    DivergedError,
    InputError,
    RunBusyError,
    StoppedError,
    StorageError,
)
from flaxformer_mt.logbook import CLOCKED
from flaxformer_mt.text.encoded import EncodedPairs
from flaxformer_mt.text.preparation import prepare
from flaxformer_mt.train import check, fit
from flaxformer_mt.training import storage
from flaxformer_mt.training.checkpoints import CheckpointStore, load_params, saved_steps
from flaxformer_mt.training.programs import CompileCount
from flaxformer_mt.training.run_folder import PROGRESS, RunFolder
from tests.conftest import leaves

PAIRS = [
    (f"{a} {b}", f"{b[::-1]}.{a}") for a in "abcdef" for b in ("xyz", "uvw", "rst")
]


@pytest.fixture
def config(tmp_path):
    """Eighteen pairs, a tiny model, five batches an epoch, dropout on."""
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{s}\t{t}\n" for s, t in PAIRS), encoding="utf-8")
    return Config(
        run=str(tmp_path / "run"),
        device="cpu",
        data=DataConfig(src=f"{path}:0", tgt=f"{path}:1", validation_fraction=0.2),
        model=ModelConfig(
            max_length=12,
            d_model=16,
            d_ff=32,
            num_heads=2,
            num_encoder_layers=1,
            num_decoder_layers=1,
            dropout_rate=0.2,
        ),
        train=TrainConfig(steps=20, batch_sentences=4, validate_steps=5),
    )


def with_steps(config, **train):
    fields = {"batch_sentences": 4, "validate_steps": 5, **train}
    return config.replace(train=TrainConfig(**fields))


def fingerprint(run):
    """SHA-256 over parameters, losses and step of the latest checkpoint."""
    loaded = load_params(run, "latest")
    digest = hashlib.sha256(str(loaded.step).encode())
    for leaf in leaves(loaded.params):
        digest.update(leaf.tobytes())
    history = [
        {k: v for k, v in entry.items() if k not in CLOCKED}
        for entry in loaded.record["history"]
    ]
    digest.update(json.dumps(history, sort_keys=True).encode())
    return digest.hexdigest()


def test_a_run_learns_and_keeps_the_best(config):
    fitted = fit(with_steps(config, steps=60, learning_rate=1e-2), verbose=False)
    losses = [entry["train_loss"] for entry in fitted.history]
    assert losses[-1] < losses[0]
    assert fitted.step == 60
    assert fitted.best_loss == min(e["validation_loss"] for e in fitted.history)
    assert set(saved_steps(config.run)) >= {fitted.best_step, 60}
    assert load_params(config.run, "best").step == fitted.best_step
    assert isinstance(fitted.translator().translate("a xyz"), str)


def test_a_stopped_run_goes_on_bit_for_bit(config, tmp_path):
    """Resumed at every validation, within epochs, with dropout on."""
    fit(config, verbose=False)
    whole = fingerprint(config.run)
    pieces = config.replace(run=str(tmp_path / "pieces"))
    for steps in (5, 10, 15, 20):
        fit(pieces, verbose=False, more_steps=5)
        assert saved_steps(pieces.run)[-1] == steps
    assert fingerprint(pieces.run) == whole


def test_the_time_left_of_a_training_is_told_what_was_traced_and_compiled(
    config, monkeypatch
):
    told, calls, real_step = [], [], loop.train_step

    def show(self, done, status, *, once=0.0):
        told.append((once, count.seconds))

    def step(*args, **options):
        calls.append(None)
        if len(calls) == 2:
            jax.clear_caches()  # as for a shape that comes for the first time,
            time.sleep(1.0)  # whose tracing takes a while
        return real_step(*args, **options)

    monkeypatch.setattr(loop, "train_step", step)
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_SHOWS", 0.0)
    monkeypatch.setattr(loop.Progress, "show", show)
    with CompileCount() as count:
        fit(config, verbose=False)
    assert told == sorted(told)
    once, compiled = told[-1]
    # What was compiled before the training began to count is not in it.
    assert compiled > 0 and once > 0.5 + compiled


def test_asked_to_stop_it_saves_and_goes_on_bit_for_bit(config, tmp_path, monkeypatch):
    """Rows C20 and C21: between two validations, with exit code 128 + signal."""
    fit(config, verbose=False)
    whole = fingerprint(config.run)
    stopped = config.replace(run=str(tmp_path / "stopped"))
    real_step, calls = loop.train_step, []

    def step_and_signal(*args, **kwargs):
        calls.append(None)
        if len(calls) == 8:
            os.kill(os.getpid(), signal.SIGTERM)
        return real_step(*args, **kwargs)

    monkeypatch.setattr(loop, "train_step", step_and_signal)
    with pytest.raises(StoppedError, match="saved step 8; the same command") as caught:
        fit(stopped, verbose=False)
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert saved_steps(stopped.run)[-1] == 8
    fit(stopped, verbose=False)
    assert fingerprint(stopped.run) == whole
    steps = [json.loads(s)["step"] for s in open_metrics(stopped.run)]
    assert steps == [5, 10, 15, 20]


def open_metrics(run):
    with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as file:
        return file.read().strip().split("\n")


def test_the_same_seed_gives_the_same_run_and_another_seed_another(config, tmp_path):
    """Row N18."""
    prints = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        again = config.replace(run=str(tmp_path / name), seed=seed)
        fit(with_steps(again, steps=5), verbose=False)
        prints.append(fingerprint(again.run))
    assert prints[0] == prints[1] != prints[2]


def test_a_finished_run_says_so_and_changes_nothing(config, capsys):
    fit(config, verbose=False)
    before = fingerprint(config.run)
    fit(config)
    told = capsys.readouterr().err
    assert "already at its end" in told
    assert "finished at step 20" in told and "translate" in told
    assert fingerprint(config.run) == before


def test_a_run_that_has_lost_its_manifests_is_left_as_it_is(config):
    fit(config, verbose=False)
    run = RunFolder.of(config.run).path
    for manifest in (run / "checkpoints" / "manifests").iterdir():
        manifest.unlink()
    before = sorted(path for path in run.rglob("*") if path.is_file())
    with pytest.raises(StorageError, match="a log of validations and no checkpoint"):
        fit(config.replace(seed=5), verbose=False)
    assert sorted(path for path in run.rglob("*") if path.is_file()) == before


def test_a_run_that_another_process_began_meanwhile_is_not_gone_on_with(
    config, monkeypatch
):
    other = config.replace(seed=7)

    def prepare_slowly(*args, **options):
        monkeypatch.setattr(door, "prepare", prepare)
        fit(other, verbose=False, more_steps=5)
        return prepare(*args, **options)

    monkeypatch.setattr(door, "prepare", prepare_slowly)
    with pytest.raises(InputError, match="seed"):
        fit(config, verbose=False)
    assert saved_steps(config.run)[-1] == 5


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_run_that_nobody_can_hear_trains_to_its_end(config, tmp_path):
    """Its log goes to a full disk, or to a reader that has gone."""
    fields = ["--data.src", *config.data.src, "--data.tgt", *config.data.tgt]
    command = [sys.executable, "-m", "flaxformer_mt.train", *fields]
    command += ["--run", config.run, "--train.steps", "2", "--device", "cpu"]
    command += ["--model.max-length", "12", "--model.d-model", "16"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stderr=full)
    assert done.returncode == 0
    assert saved_steps(config.run)[-1] == 2


def test_asked_twice_it_stops_at_once_with_the_code_of_the_signal(capfd):
    for number, error in (
        (signal.SIGTERM, SystemExit),
        (signal.SIGINT, KeyboardInterrupt),
    ):
        requests = loop.StopRequests()
        requests(number, None)
        assert requests.signal_number == number
        with pytest.raises(error) as caught:
            requests(number, None)
        assert caught.value.args == ((143,) if error is SystemExit else ())


@pytest.mark.parametrize(("step", "is_told"), [(20, False), (1200, True)])
def test_the_end_says_so_where_another_step_than_the_last_translates(step, is_told):
    lines, best = [], {"step": 20, "loss": 1.5}
    tell_end(lines.append, "run", step=step, best_by="loss", best=best, seconds=3.0)
    assert lines[0] == (
        f"finished at step {step:,} after 3s; best loss 1.500 at step 20, saved in run"
    )
    assert ("  translating takes step 20, the best, not the last" in lines) == is_told


def test_a_later_end_goes_on_and_other_options_are_refused_by_name(config):
    fit(config, verbose=False)
    assert fit(with_steps(config, steps=25), verbose=False).step == 25
    wrong = config.replace(seed=4, model=ModelConfig(d_model=32))
    with pytest.raises(InputError) as caught:
        fit(wrong, verbose=False)
    assert "seed was 0, is now 4" in str(caught.value)
    assert "model.d_model was 16, is now 32" in str(caught.value)


def test_a_changed_corpus_is_refused(config):
    """Row C17."""
    fit(config, verbose=False)
    path = config.data.src[0].rpartition(":")[0]
    with open(path, "a", encoding="utf-8") as file:
        file.write("new\tline\n")
    with pytest.raises(InputError, match="the corpus has changed since"):
        fit(with_steps(config, steps=30), verbose=False)


def progress_of(run):
    with open(os.path.join(run, PROGRESS), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_a_run_writes_down_how_it_stands_for_those_who_look_on(config, monkeypatch):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_SHOWS", 0.0)
    monkeypatch.setattr(logbook, "SECONDS_BETWEEN_ROWS", 0.0)
    monkeypatch.setattr(logbook, "SHARE_BETWEEN_ROWS", 0.0)
    fitted = fit(dataclasses.replace(config), verbose=True)
    rows = progress_of(fitted.run)
    stands = [row for row in rows if "loss" in row]
    assert {row["step"] for row in stands} <= set(range(1, 21))
    assert len({row["step"] for row in stands}) > 3
    assert all(row["loss"] > 0 and row["tokens_a_second"] > 0 for row in stands)
    samples = {row["step"]: row["samples"] for row in rows if "samples" in row}
    assert list(samples) == [entry["step"] for entry in fitted.history]
    assert {sample["src"] for sample in samples[20]} <= {src for src, _ in PAIRS}
    assert rows[-1]["ended"] and rows[-1]["step"] == 20
    # Half a row of a run that was killed ends before the next begins.
    with open(os.path.join(fitted.run, PROGRESS), "a", encoding="utf-8") as file:
        file.write('{"step": 2')
    fit(dataclasses.replace(config), more_steps=1)
    with open(os.path.join(fitted.run, PROGRESS), encoding="utf-8") as file:
        after = file.read().split('{"step": 2\n')[1]
    assert json.loads(after.strip().split("\n")[-1])["step"] == 21


def test_a_run_whose_progress_cannot_be_written_trains_to_its_end(config, capsys):
    os.makedirs(os.path.join(config.run, PROGRESS))
    with pytest.MonkeyPatch.context() as patch:  # a folder of that name is no run's
        patch.setattr(RunFolder, "check_usable", lambda self: None)
        assert fit(config).step == 20
    assert capsys.readouterr().err.count("progress.jsonl") == 1


def test_without_validation_pairs_training_loss_decides_and_is_said(config, capsys):
    data = DataConfig(
        src=config.data.src,
        tgt=config.data.tgt,
        validation_fraction=0,
        test_fraction=0,
    )
    fitted = fit(config.replace(data=data))
    assert fitted.best_loss == min(e["train_loss"] for e in fitted.history)
    assert (
        "lowest loss of training (no pair is kept for validation)"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_corpus_smaller_than_a_batch_trains(config, tmp_path, count):
    """Row D19."""
    path = tmp_path / "few.tsv"
    path.write_text("".join(f"{s}\t{t}\n" for s, t in PAIRS[:count]), encoding="utf-8")
    data = DataConfig(src=f"{path}:0", tgt=f"{path}:1")
    fitted = fit(
        config.replace(data=data, train=TrainConfig(steps=3, batch_sentences=64)),
        verbose=False,
    )
    assert fitted.step == 3 and np.isfinite(fitted.best_loss)


def test_minutes_end_a_run(config):
    fitted = fit(with_steps(config, minutes=0.001, validate_steps=0), verbose=False)
    assert fitted.step >= 1 and saved_steps(config.run)[-1] == fitted.step


def test_what_is_read_trained_and_saved_is_shown(config, capsys):
    fit(config)
    told = capsys.readouterr().err
    for words in (
        "training on CPU",
        "pairs: ",
        "parameters, 1+1 layers, d_model 16",
        "the lowest loss of validation",
        "training loss",
        "reference",
        "translate --run",
    ):
        assert words in told, words


def test_numbers_that_stop_being_finite_end_the_run_with_its_best_intact(
    config, monkeypatch
):
    """Row N2: no step that is saved holds a value that is not finite."""
    fit(with_steps(config, steps=5), verbose=False)
    step, real_step = saved_steps(config.run)[-1], loop.train_step

    def poisoned(state, *args, **kwargs):
        embedding = state.params["src_embed"]["embedding"] * np.nan
        params = {**state.params, "src_embed": {"embedding": embedding}}
        return real_step(state.replace(params=params), *args, **kwargs)

    monkeypatch.setattr(loop, "train_step", poisoned)
    with pytest.raises(DivergedError) as caught:
        fit(with_steps(config, steps=20), verbose=False)
    assert "updates in a row had a non-finite gradient" in str(caught.value)
    assert f"step {step}, the best, is intact" in str(caught.value)
    assert "the last batch from line " in str(caught.value)
    assert caught.value.exit_code == 3
    for saved in saved_steps(config.run):
        params = load_params(config.run, saved).params
        assert all(np.isfinite(leaf).all() for leaf in leaves(params))


def test_a_stretch_in_which_every_update_was_skipped_is_never_the_best(
    config, monkeypatch
):
    """No validation pairs: its training loss is of no token at all."""
    data = DataConfig(
        src=config.data.src,
        tgt=config.data.tgt,
        validation_fraction=0,
        test_fraction=0,
    )
    first = with_steps(config.replace(data=data), steps=2, validate_steps=2)
    fit(first, verbose=False)
    real_step = loop.train_step

    def skipped(state, batch, *args, **kwargs):
        changes = {"label_smoothing": float("nan")}
        kwargs["options"] = dataclasses.replace(kwargs["options"], **changes)
        return real_step(state, batch, *args, **kwargs)

    monkeypatch.setattr(loop, "train_step", skipped)
    fitted = fit(first, verbose=False, more_steps=2)
    assert (fitted.step, fitted.best_step) == (4, 2)
    assert json.loads(open_metrics(config.run)[-1])["train_loss"] is None


def test_a_published_model_is_not_trained_on(config):
    with pytest.raises(InputError, match="a published model, which is only read"):
        fit(config.replace(run=str(starter.model_folder())), verbose=False)


def test_an_absurd_learning_rate_never_reaches_a_checkpoint(config):
    absurd = with_steps(config, steps=40, learning_rate=1e20, warmup_steps=0)
    with pytest.raises(DivergedError):
        fit(absurd, verbose=False)
    for saved in saved_steps(config.run):
        params = load_params(config.run, saved).params
        assert all(np.isfinite(leaf).all() for leaf in leaves(params))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: (p / "run").write_text("x", encoding="utf-8"), "is a file"),
        (lambda p: (p / "run" / "thesis").mkdir(parents=True), "holds other files"),
    ],
)
def test_a_folder_that_is_no_run_is_left_alone(config, tmp_path, make, expected):
    make(tmp_path)
    with pytest.raises(InputError, match=expected):
        fit(config, verbose=False)


def test_bad_input_leaves_nothing_behind(config, tmp_path):
    data = DataConfig(src=f"{tmp_path / 'none.tsv'}:0", tgt=config.data.tgt[0])
    with pytest.raises(InputError):
        fit(config.replace(data=data), verbose=False)
    assert not (tmp_path / "run").exists()


def test_a_second_process_is_refused_with_exit_code_5(config, tmp_path):
    """Row C13."""
    fit(config, verbose=False)
    command = [sys.executable, "-m", "flaxformer_mt.train", "--run", config.run]
    command += ["--data.src", config.data.src[0], "--data.tgt", config.data.tgt[0]]
    command += ["--data.validation-fraction", "0.2", "--model.max-length", "12"]
    command += ["--model.d-model", "16", "--model.d-ff", "32", "--model.num-heads", "2"]
    command += ["--model.num-encoder-layers", "1", "--model.num-decoder-layers", "1"]
    command += ["--model.dropout-rate", "0.2", "--train.batch-sentences", "4"]
    command += ["--train.validate-steps", "5", "--train.steps", "20"]
    with CheckpointStore(config.run):
        second = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8"
        )
    assert second.returncode == 5, second.stderr
    assert "error: " in second.stderr.strip().split("\n")[-1]


def test_a_run_folder_alone_is_enough_to_translate(config, tmp_path):
    """Row C30: moved, with the corpus gone."""
    fitted = fit(config, verbose=False)
    before = fitted.translator().translate([s for s, _ in PAIRS])
    os.remove(config.data.src[0].rpartition(":")[0])
    moved = tmp_path / "elsewhere"
    os.rename(config.run, moved)
    assert Translator.load(moved).translate([s for s, _ in PAIRS]) == before


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_run_on_pieces_trains_resumes_and_translates(config, tmp_path, kind):
    """With the words cut anew in each epoch, bit for bit."""
    data = dataclasses.replace(
        config.data, tokenizer=kind, vocab_size=277, subword_sampling=0.2
    )
    config = with_steps(config.replace(data=data), steps=10)
    fit(config, verbose=False)
    pieces = config.replace(run=str(tmp_path / "pieces"))
    for _ in range(2):
        fit(pieces, verbose=False, more_steps=5)
    assert fingerprint(pieces.run) == fingerprint(config.run)
    translator = Translator.load(config.run, note=lambda _: None)
    assert translator.src_tokenizer.kind == "sentencepiece"
    assert isinstance(translator.translate("a xyz ▁ 漢"), str)
    for entry in load_params(config.run, "latest").record["history"]:
        assert 0 <= entry["data_wait"] <= 1


# ---- validation, patience, the best ------------------------------------------------


def test_translations_are_scored_and_the_share_of_the_time_is_told(config, capsys):
    """As many pairs as are asked for; with a small share of the time, none."""
    fitted = fit(with_steps(config, steps=5, best_by="chrf", metric_pairs=3))
    (entry,) = fitted.history
    assert 0 <= entry["chrf"] <= 100 and 0 <= entry["bleu"] <= 100
    assert entry["scored_pairs"] == 3
    assert any("nw:2" in text for text in entry["signatures"].values())
    assert 0 < entry["validation_share"] < 1
    told = capsys.readouterr().err
    assert "chrF++" in told and "validation took" in told
    little = with_steps(config.replace(run=f"{config.run}2"), steps=5)
    fitted = fit(little)
    assert "chrf" not in fitted.history[0]
    told = capsys.readouterr().err
    assert "  0 of " in told and "leaves no time for more" in told


def test_the_best_by_a_metric_is_the_highest_not_the_lowest_loss(config, monkeypatch):
    scores = iter([10.0, 30.0, 30.0, 20.0])
    losses = iter([1.0, 2.0, 3.0, 0.5])
    monkeypatch.setattr(
        loop.Session,
        "_validate",
        lambda self: {"validation_loss": next(losses), "bleu": next(scores)},
    )
    fitted = fit(with_steps(config, steps=20, best_by="bleu"), verbose=False)
    assert (fitted.best_step, fitted.best_loss) == (10, 2.0)
    assert load_params(config.run, "best").step == 10


def test_patience_ends_a_run_and_is_kept_over_a_stop(config, monkeypatch):
    """Row by row from the history: two without a better one, whoever computed them."""
    losses = iter([3.0, 1.0, 2.0, 2.5, 2.0, 2.0, 2.0])
    monkeypatch.setattr(
        loop.Session, "_validate", lambda self: {"validation_loss": next(losses)}
    )
    patient = with_steps(config, steps=100, patience=2)
    fit(with_steps(config, steps=15), verbose=False)
    fitted = fit(patient, verbose=False)
    assert (fitted.step, fitted.best_step) == (20, 10)
    assert fit(patient, verbose=False).step == 20
    # Steps that are asked for by number are taken.
    assert fit(patient, verbose=False, more_steps=12).step == 32


def test_other_options_of_training_are_allowed_when_asked(config, capsys):
    fit(config, verbose=False)
    other = with_steps(config, steps=22, learning_rate=1e-4)
    with pytest.raises(InputError, match="--allow-changes"):
        fit(other, verbose=False)
    fitted = fit(other.replace(allow_changes=True))
    told = capsys.readouterr().err
    assert "not bit-identical: train.learning_rate was 0.003, is now 0.0001" in told
    assert fitted.step == 22
    assert fitted.history[-1]["learning_rate"] < 1e-4
    larger = dataclasses.replace(config.model, d_ff=64)
    with pytest.raises(InputError, match=r"model\.d_ff"):
        fit(config.replace(model=larger, allow_changes=True), verbose=False)


def test_checkpoints_are_kept_for_averaging(config):
    fit(with_steps(config, steps=20, keep_last=3), verbose=False)
    assert {10, 15, 20} <= set(saved_steps(config.run))


def test_fine_tuning_starts_from_the_other_run(config, capsys):
    fit(config, verbose=False)
    new = config.replace(
        run=f"{config.run}-fine",
        init_from=config.run,
        model=ModelConfig(max_length=12, dropout_rate=0.2),
        train=TrainConfig(steps=1, learning_rate=1e-9, batch_sentences=4),
    )
    fitted = fit(new)
    told = capsys.readouterr().err
    assert "starts from step" in told and "the optimizer starts anew" in told
    for x, y in zip(
        leaves(load_params(fitted.run).params),
        leaves(load_params(config.run, "best").params),
        strict=True,
    ):
        np.testing.assert_allclose(x, y, atol=1e-6)


def test_one_table_for_two_vocabularies_is_refused(config):
    model = dataclasses.replace(config.model, tied_embeddings="all")
    with pytest.raises(InputError, match=r"--data\.shared-vocab"):
        fit(config.replace(model=model), verbose=False)
    assert not os.path.exists(config.run)


# ---- --check -----------------------------------------------------------------------


def test_a_check_finds_all_well_and_leaves_nothing(config, tmp_path, capsys):
    before = sorted(tmp_path.iterdir())
    check(config)
    assert "all is well" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_a_check_looks_at_the_run_that_is_there(config, tmp_path, capsys):
    """What would keep it from going on is found, and the run stays as it is; what it
    started from is needed no more."""
    source = config.replace(run=f"{config.run}-source")
    fit(with_steps(source, steps=1), verbose=False)
    config = config.replace(init_from=source.run)
    fit(with_steps(config, steps=3), verbose=False)
    before = fingerprint(config.run)
    shutil.rmtree(source.run)
    check(config)
    told = capsys.readouterr().err
    assert "would go on from step 3" in told and "all is well" in told
    assert fingerprint(config.run) == before and saved_steps(config.run) == [3]
    with pytest.raises(InputError, match=r"train\.learning_rate was 0\.003"):
        check(with_steps(config, steps=20, learning_rate=1.0))
    with CheckpointStore(config.run), pytest.raises(RunBusyError):
        check(config)
    with open(tmp_path / "pairs.tsv", "a", encoding="utf-8") as file:
        file.write("a rst\ttsr a\n")
    with pytest.raises(InputError, match="the corpus has changed"):
        check(config)


def test_a_check_that_is_stopped_leaves_nothing(config, tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        signal.raise_signal(signal.SIGTERM)

    before = sorted(tmp_path.iterdir())
    killed = tmp_path / ".flaxformer-mt-check-killed"
    killed.mkdir()
    os.utime(killed, (0, 0))  # of an earlier day
    monkeypatch.setattr(door, "prepare", stop)
    with pytest.raises(StoppedError, match="nothing of it stays") as stopped:
        check(config)
    assert stopped.value.exit_code == 143
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("rate", [1e20, 300.0])
def test_a_check_catches_an_absurd_learning_rate(config, tmp_path, rate):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DivergedError, match=r"--train\.learning-rate"):
        check(with_steps(config, learning_rate=rate))
    assert sorted(tmp_path.iterdir()) == before


def test_a_check_catches_a_full_disk_and_a_folder_that_takes_no_file(
    config, tmp_path, monkeypatch
):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "sync_and_hash", full)
        with pytest.raises(StorageError, match="the disk is full"):
            check(config)
    blocked = config.replace(run="/proc/nowhere/run")
    with pytest.raises(StorageError, match="cannot write to"):
        check(blocked)
    missing = dataclasses.replace(config.data, src="none.txt", tgt="none.txt")
    with pytest.raises(InputError, match=r"none\.txt"):
        check(config.replace(data=missing))


def test_an_id_that_no_vocabulary_has_is_named_before_a_device_sees_it(config):
    prepared = prepare(config.data, max_length=12)
    prepared.check_ids()
    for wrong in (-1, 5000):
        pairs = EncodedPairs.of([([4, 5], [4]), ([4, wrong], [4])])
        with pytest.raises(InputError, match=rf"pair 2 of train .* token {wrong}, but"):
            dataclasses.replace(prepared, train=pairs).check_ids()
