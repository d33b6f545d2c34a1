"""What a person may rely on: an acknowledged checkpoint is there, whole, or named.

Processes are killed for real. A longer run:

    FLAXFORMER_MT_KILLS=200 pytest <this file>
"""

import errno
import itertools
import logging
import math
import os
import random
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flaxformer_mt.errors import DivergedError, InputError, StorageError
from flaxformer_mt.training import checkpoints, storage
from flaxformer_mt.training.checkpoints import CheckpointStore, load_params
from tests.training.conftest import (
    assert_loads,
    assert_nothing_happened,
    assert_same,
    child_saves_and_dies,
    child_trains,
    contents,
    loss_of,
    make_params,
    make_training,
    names_in,
    needs_fork,
    restore,
    save,
    save_all,
    step_names,
)

NUM_KILLS = int(os.environ.get("FLAXFORMER_MT_KILLS", "10"))


# --- kills --------------------------------------------------------------------------


@needs_fork
def test_a_kill_at_a_random_moment_loses_no_acknowledged_step(children, tmp_path):
    dice, run, saved = random.Random(0), tmp_path / "run", []
    for _ in range(NUM_KILLS):
        children.start(child_trains, run)
        children.wait_for("saved", dice.randint(1, 2))
        time.sleep(dice.uniform(0, 0.12))  # a save takes about 0.05 s
        children.kill()
        saved += children.told["saved"]
        latest = assert_loads(run, "latest")
        # The step after the last acknowledged one may have been finished too.
        assert latest in (saved[-1], saved[-1] + 1)
        assert_loads(run, "best", min(range(latest + 1), key=loss_of))
        if latest > saved[-1]:
            saved.append(latest)
    assert saved == list(range(len(saved)))
    with CheckpointStore(run) as store:
        assert restore(store).step == saved[-1]
        assert names_in(run / "checkpoints/steps") == step_names(*store.steps())
        assert names_in(run / "checkpoints/trash") == []


@needs_fork
@pytest.mark.parametrize(
    ("step", "loss", "best_after", "least_calls"),
    [(3, 0.5, 3, 15), (2, 1.5, 1, 1), (2, 0.5, 2, 1)],
    ids=["a better step", "the same step again", "the same step, rated better"],
)
def test_a_kill_at_any_point_of_a_save_loses_no_step(
    children, tmp_path, step, loss, best_after, least_calls
):
    start = save_all(tmp_path / "start", (1, 1.0), (2, 2.0))
    for num_calls in itertools.count(0):
        run = shutil.copytree(start, tmp_path / f"run{num_calls}")
        children.start(child_saves_and_dies, run, step, loss, num_calls)
        exit_code = children.wait_for("exit")[0]
        best, latest = assert_loads(run, "best"), assert_loads(run, "latest")
        assert (latest, best) in {(2, 1), (step, best_after)}
        with CheckpointStore(run) as store:  # and the sweep leaves only whole steps
            assert restore(store).step == latest
            assert names_in(run / "checkpoints/steps") == step_names(*store.steps())
            assert names_in(run / "checkpoints/trash") == []
        shutil.rmtree(run)
        if exit_code == 0:
            break
        assert exit_code == 137
    assert (latest, best) == (step, best_after)
    assert num_calls > least_calls  # the calls were indeed counted


@needs_fork
def test_a_kill_at_any_point_of_a_save_loses_none_of_the_steps_kept_for_averaging(
    children, tmp_path
):
    losses = (1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)
    start = save_all(tmp_path / "start", *losses, keep_last=3)
    for num_calls in itertools.count(0, 2):
        run = shutil.copytree(start, tmp_path / f"run{num_calls}")
        children.start(child_saves_and_dies, run, 5, 5.0, num_calls, 3)
        exit_code = children.wait_for("exit")[0]
        steps = checkpoints.saved_steps(run)
        # Only step 2 may go, and only once step 5 is there.
        assert steps in ([1, 2, 3, 4], [1, 2, 3, 4, 5], [1, 3, 4, 5])
        for step in steps:
            assert_loads(run, step, step)
        with CheckpointStore(run, keep_last=3) as store:
            assert names_in(run / "checkpoints/steps") == step_names(*store.steps())
        shutil.rmtree(run)
        if exit_code == 0:
            break
    assert steps == [1, 3, 4, 5] and num_calls > 15


# --- what is refused ----------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["embed/table", "out/kernel"])
def test_a_parameter_that_is_not_finite_is_never_saved(run, value, name):
    params = make_params(3)
    folder, key = name.split("/")
    params[folder][key][1, 2] = value
    with CheckpointStore(run) as store:
        with pytest.raises(DivergedError, match=f"{name} is not finite") as caught:
            store.save(3, params, None, {}, loss=0.1)
        assert caught.value.exit_code == 3
        assert_nothing_happened(run, store)


@pytest.mark.parametrize(
    ("params", "training", "record", "words"),
    [
        ({}, None, {}, "nested dicts"),
        ([np.ones(2)], None, {}, "nested dicts"),
        (np.ones(2), None, {}, "the name ''"),
        ({"a": np.ones((0, 3))}, None, {}, "any number"),
        ({"a": "text"}, None, {}, "any number"),
        # Orbax gives both of these the same name, and keeps one.
        ({"a.b": {"c": np.ones(1)}, "a": {"b.c": np.ones(1)}}, None, {}, "the name"),
        ({"a/b": np.ones(1)}, None, {}, "the name 'a/b'"),
        ({"a": np.ones(1)}, {"key": "text"}, {}, "cannot store key"),
        ({"a": np.ones(1)}, None, {"when": {1, 2}}, "when: JSON has no set"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name(run, params, training, record, words):
    with CheckpointStore(run) as store:
        with pytest.raises(InputError, match=words):
            store.save(3, params, training, record, loss=1.0)
        assert_nothing_happened(run, store)


def test_a_random_key_is_refused_because_keys_are_derived(run):
    with CheckpointStore(run) as store:
        with pytest.raises(InputError, match="cannot store key"):
            store.save(3, make_params(3), {"key": jax.random.key(0)}, {}, loss=1.0)
        assert_nothing_happened(run, store)


@pytest.mark.parametrize("keep", [{"keep_last": -1}, {"keep_best": -1}])
def test_a_number_of_steps_to_keep_is_not_below_zero(tmp_path, keep):
    with pytest.raises(InputError, match="must be 0 or more; got "):
        CheckpointStore(tmp_path, **keep)


# --- resuming -----------------------------------------------------------------------


def test_a_resumed_training_gets_back_every_bit_in_its_own_tree(run):
    with CheckpointStore(run) as store:
        restored = restore(store)
    assert isinstance(restored.training["opt_state"][1], optax.ScaleByAdamState)
    assert (restored.step, restored.record["history"]) == (2, [0.5, 0.5])


def test_shapes_alone_serve_as_a_template(run):
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype),
        (make_params(0), make_training(0)),
    )
    with CheckpointStore(run) as store:
        assert_same(store.restore(*shapes).params, make_params(2))
        assert store.restore(shapes[0], None, 1).training is None


def without_out():
    return {"embed": make_params(0)["embed"]}, make_training(0)


def with_more():
    return make_params(0) | {"norm": np.ones(3)}, make_training(0)


def other_type():
    return jax.tree.map(lambda x: x.astype(np.float32), make_params(0)), make_training(
        0
    )


def other_optimizer():
    return make_params(0), {"opt_state": optax.EmptyState(), "skipped": np.asarray(0)}


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (
            lambda: (make_params(0, 15), make_training(0, 15)),
            r"1 of 2 arrays differ, e\.g\. params/embed/table: checkpoint "
            r"float32\[12, 4\], this model float32\[15, 4\]",
        ),
        (without_out, r"1 of 2 .* params/out/kernel: .* this model missing"),
        (
            with_more,
            r"1 of 3 .* params/norm: checkpoint missing, this model float64\[3",
        ),
        (other_type, r"1 of 2 .* checkpoint bfloat16\[4, 3\], this model float32"),
        (
            other_optimizer,
            r"5 of 6 .* training/opt_state/1/count: checkpoint int32\[\]",
        ),
    ],
)
def test_another_model_is_told_what_differs(run, template, words):
    with CheckpointStore(run) as store, pytest.raises(InputError, match=words):
        store.restore(*template())


# --- other machines -----------------------------------------------------------------


def test_a_saved_step_remembers_no_device_and_no_path(tmp_path):
    on_device = jax.tree.map(jnp.asarray, make_params(1))
    with CheckpointStore(tmp_path) as store:
        store.save(1, on_device, {"count": jnp.asarray(1)}, {"epoch": 1}, loss=1.0)
    assert_loads(tmp_path, "best", 1)
    for path, data in contents(tmp_path).items():
        assert "_sharding" not in path.name and b"sharding" not in data
        assert os.fsencode(tmp_path) not in data


def test_saving_and_loading_are_silent(run, caplog, capfd):
    with caplog.at_level(logging.INFO):
        save_all(run, (3, 0.5))
        load_params(run)
    assert caplog.messages == []
    assert capfd.readouterr() == ("", "")


# --- publishing ---------------------------------------------------------------------


def test_a_published_model_translates_and_is_small(tmp_path):
    source, target = tmp_path / "run", tmp_path / "published"
    source.mkdir()
    (source / "words.txt").write_bytes(b"one\r\ntwo\n")
    with CheckpointStore(source, guarded_files=["words.txt"]) as store:
        save(store, 1, loss=1.0)
        save(store, 2, loss=2.0)
    assert checkpoints.export(source, target, record={"epoch": 1}) == 1
    assert_loads(target, "best", 1)
    assert (target / "words.txt").read_bytes() == b"one\r\ntwo\n"
    assert names_in(target) == ["checkpoints", "words.txt"]
    assert names_in(target / "checkpoints") == ["manifests", "steps"]
    files = contents(target)
    assert len(files) < 20 and sum(map(len, files.values())) < 8_000
    with pytest.raises(InputError, match="already holds a checkpoint"):
        checkpoints.export(source, target)
    with CheckpointStore(target) as store, pytest.raises(InputError, match="published"):
        restore(store)


def test_all_arrays_of_a_step_come_back_by_name(run):
    loaded = checkpoints.load_arrays(run)
    assert (loaded.step, sorted(loaded.arrays)) == (2, ["params", "training"])
    table = make_params(2)["embed"]["table"]
    np.testing.assert_array_equal(loaded.arrays["params"]["embed/table"], table)
    assert loaded.arrays["training"]["skipped"] == 2


# ---- what is taken away --------------------------------------------------------------


def test_a_shared_file_that_is_damaged_for_a_while_takes_no_step_away(tmp_path):
    config = tmp_path / "config.json"
    config.write_text("{}", encoding="utf-8")
    keep = {"guarded_files": ["config.json"], "keep_last": 3, "keep_best": 3}
    with CheckpointStore(tmp_path, **keep) as store:
        for step, loss in ((1, 0.9), (2, 0.5), (3, 0.6)):
            save(store, step, loss)
        config.write_text("{ }", encoding="utf-8")
        save(store, 4, 0.7)
        config.write_text("{}", encoding="utf-8")
        assert store.steps() == [2, 3, 4]
    assert_loads(tmp_path, "best", 2)


def test_a_shared_file_that_was_damaged_after_resuming_is_not_vouched_for(tmp_path):
    config = tmp_path / "config.json"
    config.write_text("{}", encoding="utf-8")
    for step in (1, 2):
        with CheckpointStore(tmp_path, guarded_files=["config.json"]) as store:
            if step == 2:
                restore(store)
                config.write_text("damaged", encoding="utf-8")
            save(store, step, 0.5)
    with pytest.raises(StorageError):
        load_params(tmp_path, "latest", note=lambda _: None)
    config.write_text("{}", encoding="utf-8")
    assert_loads(tmp_path, "latest", 2)


def test_a_step_that_cannot_be_read_for_a_moment_is_kept(tmp_path, monkeypatch):
    with CheckpointStore(tmp_path) as store:
        save(store, 1, 0.5)
        save(store, 2, 0.9)
        read = storage.read_hash

        def broken(path):
            if "step_000000001" in str(path):
                raise OSError(errno.EIO, "Input/output error")
            return read(path)

        monkeypatch.setattr(storage, "read_hash", broken)
        save(store, 3, 0.95)
        monkeypatch.undo()
        save(store, 4, 0.96)
    assert_loads(tmp_path, "best", 1)


def test_a_best_step_whose_optimizer_is_damaged_still_translates(tmp_path):
    with CheckpointStore(tmp_path) as store:
        save(store, 1, 0.5)
        save(store, 2, 0.9)
        step = tmp_path / "checkpoints/steps/step_000000001"
        damaged = next((step / "training").rglob("_METADATA"))
        damaged.write_bytes(damaged.read_bytes()[:-1])
        save(store, 3, 0.95)
    assert_loads(tmp_path, "best", 1)
