"""The mean of several steps: exact, in a folder of its own, and compared with them."""

import json
import os
import shutil

import jax
import numpy as np
import pytest

from flaxformer_mt import average as door
from flaxformer_mt.average import AverageOptions, average_params
from flaxformer_mt.config import Config, DataConfig, TrainConfig
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.errors import InputError
from flaxformer_mt.train import fit
from flaxformer_mt.training import checkpoints
from flaxformer_mt.training.checkpoints import CheckpointStore, load_params
from flaxformer_mt.training.run_folder import GUARDED, RunFolder
from tests.conftest import leaves, tiny_config

PAIRS = [
    (f"{a} {b}", f"{b[::-1]}.{a}") for a in "abcdef" for b in ("xyz", "uvw", "rst")
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that has kept its steps 2, 4, 6 and 8."""
    folder = tmp_path_factory.mktemp("average")
    path = folder / "pairs.tsv"
    path.write_text("".join(f"{s}\t{t}\n" for s, t in PAIRS), encoding="utf-8")
    config = Config(
        run=str(folder / "run"),
        device="cpu",
        data=DataConfig(src=f"{path}:0", tgt=f"{path}:1", validation_fraction=0.3),
        model=tiny_config(num_encoder_layers=1, num_decoder_layers=1),
        train=TrainConfig(steps=8, validate_steps=2, batch_sentences=4),
    )
    init = CheckpointStore.__init__

    def keeping(store, *args, **options):
        init(store, *args, **{**options, "keep_last": 4})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointStore, "__init__", keeping)
        fit(config, verbose=False)
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def average(run, out, *options):
    door.average(["--run", str(run), "--out", str(out), "--device", "cpu", *options])


def test_the_mean_is_that_of_the_steps_in_their_own_precision(trained):
    members = [leaves(load_params(trained, step).params) for step in (2, 6, 8)]
    mean = average_params(trained, [2, 6, 8])
    for i, leaf in enumerate(leaves(mean)):
        expected = np.mean([m[i].astype(np.float64) for m in members], axis=0)
        assert leaf.dtype == np.float32
        np.testing.assert_array_equal(leaf, expected.astype(np.float32))
    one = load_params(trained, 4).params
    assert jax.tree.structure(mean) == jax.tree.structure(one)
    for a, b in zip(leaves(average_params(trained, [4])), leaves(one), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(InputError, match="at least one step"):
        average_params(trained, [])


def test_large_and_small_numbers_are_added_as_float64(tmp_path):
    """In float32, 2**25 + 1 - 2**25 is 0."""
    with CheckpointStore(tmp_path, keep_last=3) as store:
        for step, value in enumerate((2.0**25, 3.0, -(2.0**25))):
            store.save(step, {"a": np.float32([value])}, None, {}, loss=step)
    assert average_params(tmp_path, [0, 1, 2])["a"] == [1.0]


def test_an_average_is_a_folder_to_translate_with(run, tmp_path, capsys):
    """Its record names the steps; the losses told are those of the training."""
    out = tmp_path / "mean"
    average(run, out, "--last", "3")
    told = capsys.readouterr().err
    assert "average of 3 steps: 4, 6, 8" in told
    loaded = load_params(out)
    assert loaded.step == 8 and loaded.record["averaged_steps"] == [4, 6, 8]
    for a, b in zip(
        leaves(loaded.params), leaves(average_params(run, [4, 6, 8])), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    losses = loaded.record["validation_losses"]
    history = load_params(run, "latest").record["history"]
    for entry in history[1:]:
        assert losses[str(entry["step"])] == pytest.approx(entry["loss"], abs=1e-5)
    for loss in losses.values():
        assert f"{loss:.4f}" in told
    assert isinstance(Translator.load(out, note=print).translate("a xyz"), str)
    assert RunFolder.of(out).held_out("test") == RunFolder.of(run).held_out("test")
    with pytest.raises(InputError, match="is there already"):
        average(run, out)


def test_the_last_five_or_as_many_as_there_are_is_the_default(run, tmp_path):
    average(run, tmp_path / "a")
    assert load_params(tmp_path / "a").record["averaged_steps"] == [2, 4, 6, 8]


def test_the_best_steps_are_those_of_the_lowest_losses(run, tmp_path):
    history = load_params(run, "latest").record["history"]
    best = sorted(history, key=lambda entry: entry["loss"])[:2]
    average(run, tmp_path / "a", "--best", "2")
    steps = load_params(tmp_path / "a").record["averaged_steps"]
    assert steps == sorted(entry["step"] for entry in best)


def test_a_damaged_step_is_left_out_and_told(run, tmp_path, capsys):
    os.truncate(run / "checkpoints/steps/step_000000006/params/_METADATA", 5)
    average(run, tmp_path / "a", "--last", "2")
    assert load_params(tmp_path / "a").record["averaged_steps"] == [4, 8]
    assert "step 6 is left out: no usable checkpoint" in capsys.readouterr().err


def test_too_few_steps_are_refused_with_what_keeps_more(tmp_path, run):
    with pytest.raises(InputError, match=r"has 4 of the 9 .*--train\.keep-last 9"):
        average(run, tmp_path / "a", "--last", "9")
    few = tmp_path / "few"
    checkpoints.export(run, few)
    with pytest.raises(InputError, match=r"1 of the 2 steps .*--train\.keep-last 5"):
        average(few, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_without_validation_pairs_it_says_that_nothing_is_compared(
    run, tmp_path, capsys
):
    (run / "held_out.jsonl").unlink()
    average(run, tmp_path / "a")
    assert "kept no validation pairs" in capsys.readouterr().err
    assert load_params(tmp_path / "a").record["validation_losses"] == {}


def test_an_average_that_is_worse_than_one_of_its_steps_says_so(run, tmp_path, capsys):
    params = jax.tree.map(lambda x: x * 50, load_params(run, 8).params)
    with CheckpointStore(run, guarded_files=GUARDED, keep_last=5) as store:
        store.save(10, params, None, {}, loss=1.0)
    average(run, tmp_path / "a", "--last", "2")
    assert "step 8 alone is better than the average" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"out": "b"}, "--run must name a folder"),
        ({"run": "a"}, "--out must name a folder"),
        ({"run": "a", "out": "b", "last": 1}, "--last must be at least 2"),
        ({"run": "a", "out": "b", "best": -3}, "--best must be at least 2"),
        ({"run": "a", "out": "b", "last": 2, "best": 2}, "one of --last and --best"),
    ],
)
def test_options_that_make_no_average_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        AverageOptions(**options)


def test_a_step_that_a_training_takes_away_meanwhile_is_no_error(
    run, tmp_path, monkeypatch
):
    real, times = door.average_params, []

    def gone_at_first(folder, steps):
        times.append(steps)
        if len(times) == 1:
            raise InputError("no checkpoint of step")
        return real(folder, steps)

    monkeypatch.setattr(door, "average_params", gone_at_first)
    average(run, tmp_path / "out")
    assert len(times) == 2 and (tmp_path / "out" / "config.json").is_file()


def test_a_folder_that_holds_something_is_left_alone(run, tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter").write_text("x", encoding="utf-8")
    for name in ("file", "thesis", "run"):
        before = json.dumps(sorted(map(str, tmp_path.rglob("*"))))
        with pytest.raises(InputError, match="is there already"):
            average(run, tmp_path / name)
        assert json.dumps(sorted(map(str, tmp_path.rglob("*")))) == before
    with pytest.raises(InputError, match="is not a run folder"):
        average(tmp_path / "nothing", tmp_path / "a")
