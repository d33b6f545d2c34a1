"""A step that a manifest vouches for is whole, or the damage to it is named.

Bits are flipped for real, and files cut. A longer run:

    FLAXFORMER_MT_FLIPS=1000 pytest <this file>
"""

import itertools
import math
import os
import random
import shutil
import time

import jax.numpy as jnp
import numpy as np
import pytest

from flaxformer_mt.errors import InputError, StorageError
from flaxformer_mt.training import checkpoints, manifests, storage
from flaxformer_mt.training.checkpoints import CheckpointStore, load_params
from tests.training.conftest import (
    assert_loads,
    assert_same,
    child_trains,
    contents,
    files_of,
    make_params,
    make_training,
    needs_fork,
    restore,
    save,
    save_all,
)

NUM_FLIPS = int(os.environ.get("FLAXFORMER_MT_FLIPS", "100"))


# --- damage -------------------------------------------------------------------------


def check_damage(run, path):
    """Whatever happened to `path`, a file of step 2, no wrong number comes out."""
    item = path.relative_to(run / "checkpoints").parts[2:3]
    notes = []
    loaded = load_params(run, note=notes.append)
    assert_same(loaded.params, make_params(loaded.step))
    with_store = CheckpointStore(run, note=notes.append)
    restored = restore(with_store)  # needs no lock, so the run is not swept here
    if item in (("params",), ("training",)):
        assert restored.step == 1
        assert (loaded.step == 1) == (item == ("params",))
    if 1 in (loaded.step, restored.step):
        assert all(note.startswith("step 2 is damaged (") for note in notes)
        assert all(note.endswith("), using step 1.") for note in notes)
        assert notes or not path.exists()  # a step without manifest was never saved
    return notes


def test_no_flipped_bit_changes_a_number(run):
    dice, noticed = random.Random(1), 0
    for _ in range(NUM_FLIPS):
        path = dice.choice(files_of(run, 2))
        intact = path.read_bytes()
        damaged = bytearray(intact)
        damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        noticed += bool(check_damage(run, path))
        path.write_bytes(intact)
    assert noticed > NUM_FLIPS / 2
    assert_loads(run, "best", 2)


def damage(path, how):
    if how == "delete":
        path.unlink()
    else:
        with open(path, "r+b") as file:
            file.truncate(0 if how == "empty" else path.stat().st_size // 2)


@pytest.mark.parametrize("how", ["delete", "halve", "empty"])
def test_any_damaged_file_gives_way_to_the_other_step(run, how):
    for path in files_of(run, 2):
        intact = path.read_bytes()
        damage(path, how)
        check_damage(run, path)
        path.write_bytes(intact)
    assert_loads(run, "best", 2)


def test_a_damaged_step_is_named_with_its_first_file(run):
    damage(run / "checkpoints/steps/step_000000002/params/_METADATA", "empty")
    notes = []
    load_params(run, note=notes.append)
    reason = "1 file differs, first params/_METADATA"
    assert notes == [f"step 2 is damaged ({reason}), using step 1."]
    with pytest.raises(StorageError, match=f"step 2 is damaged .{reason}"):
        load_params(run, 2)  # asked for by number, nothing else will do


def test_a_lost_folder_gives_way_to_the_other_step(run):
    shutil.rmtree(run / "checkpoints/steps/step_000000002")
    with CheckpointStore(run) as store:
        assert restore(store).step == 1


def test_nothing_undamaged_names_every_step_and_touches_nothing(run):
    damage(run / "checkpoints/steps/step_000000001/params/_METADATA", "empty")
    damage(run / "checkpoints/manifests/step_000000002.json", "halve")
    before = contents(run)
    with pytest.raises(StorageError) as caught, CheckpointStore(run) as store:
        restore(store)
    text = str(caught.value)
    assert "step 1 is damaged (1 file differs, first params/_METADATA); step 2" in text
    assert text.count(". ") == 0 and "\n" not in text and caught.value.exit_code == 4
    assert contents(run) == before | {run / "checkpoints/lock": b""}


def test_a_damaged_best_does_not_stay_in_the_place_of_a_good_one(tmp_path):
    run = save_all(tmp_path, (1, 1.0), (2, 3.0), (3, 2.0))
    params = [path for path in files_of(run, 1) if "params" in path.parts]
    damage(params[-1], "empty")  # of a best step its optimizer may be damaged
    assert save_all(run, (4, 4.0), (5, 5.0))
    assert checkpoints.saved_steps(run) == [3, 5]
    assert_loads(run, "best", 3)


def test_a_file_that_nobody_saved_does_no_harm(run):
    for folder in ("steps", "manifests", "steps/step_000000002/params"):
        (run / "checkpoints" / folder / ".DS_Store").write_bytes(b"?")
    assert save_all(run, (3, 3.0))
    assert_loads(run, "best", 2)


def test_a_manifest_of_another_format_is_refused(run, monkeypatch):
    path, notes = files_of(run, 2)[0], []
    manifest = manifests.Manifest.from_text(path.read_text(encoding="utf-8"))
    monkeypatch.setattr(manifests, "FORMAT", 2)
    path.write_text(manifest.to_text(), encoding="utf-8")
    monkeypatch.undo()
    assert load_params(run, note=notes.append).step == 1
    reason = "its manifest has an unknown format"
    assert notes == [f"step 2 is damaged ({reason}), using step 1."]


@pytest.mark.parametrize("text", ["", "[]", "{}", "7", "[" * 100_000, '{"sha256": 1}'])
def test_a_manifest_that_is_something_else_is_damage(run, text):
    files_of(run, 2)[0].write_text(text, encoding="utf-8")
    assert load_params(run, note=print).step == 1


def test_no_flipped_bit_changes_what_a_manifest_says(run):
    intact = files_of(run, 2)[0].read_bytes()
    manifest = manifests.Manifest.from_text(intact.decode("utf-8"))
    num_refused = 0
    for index, bit in itertools.product(range(len(intact)), (0, 2, 5)):
        data = bytearray(intact)
        data[index] ^= 1 << bit
        try:
            text = data.decode("utf-8", errors="replace")
            assert manifests.Manifest.from_text(text) == manifest
        except manifests.Damaged:
            num_refused += 1
    assert num_refused > 2.9 * len(intact)


def test_a_changed_vocabulary_file_stops_the_model(tmp_path):
    vocabulary, notes = tmp_path / "words.txt", []
    vocabulary.write_text("one\ntwo\n", encoding="utf-8")
    with CheckpointStore(tmp_path, guarded_files=["words.txt"]) as store:
        save(store, 1)
    assert load_params(tmp_path).step == 1
    vocabulary.write_text("two\none\n", encoding="utf-8")
    with pytest.raises(StorageError, match=r"words\.txt was changed or removed"):
        load_params(tmp_path, note=notes.append)
    vocabulary.unlink()
    with (
        CheckpointStore(tmp_path, guarded_files=["words.txt"]) as store,
        pytest.raises(InputError, match=r"words\.txt is missing"),
    ):
        save(store, 2)


def test_a_guarded_file_outside_of_the_run_folder_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"x")
    run = tmp_path / "run"
    with CheckpointStore(run, guarded_files=["../secret"]) as store:
        save(store, 1)
    with pytest.raises(StorageError, match=r"\.\./secret is outside"):
        checkpoints.export(run, tmp_path / "a/b/c")


# --- which step is the latest, and which the best -----------------------------------


@pytest.mark.parametrize(
    ("losses", "best_steps"),
    [
        ([1.0, math.nan, math.inf, 1.0, 0.5], [0, 0, 0, 0, 4]),
        ([2, 1, 1, 1], [0, 1, 1, 1]),
        ([math.nan, None, -math.inf, 3.0], [0, 1, 2, 3]),  # no best yet: the latest
        ([np.float32(2), np.asarray(1.0), np.float64(3)], [0, 1, 1]),
    ],
    ids=["not finite", "ties", "no finite one", "scalars"],
)
def test_the_best_step_is_the_earliest_of_the_lowest_finite_losses(
    tmp_path, losses, best_steps
):
    with CheckpointStore(tmp_path) as store:
        for step, (loss, best) in enumerate(zip(losses, best_steps, strict=True)):
            store.save(step, make_params(step), None, {"epoch": step}, loss=loss)
            assert_loads(tmp_path, "best", best)
            assert_loads(tmp_path, "latest", step)
            second = {best} - {step} or {step - 1} - {-1}
            assert store.steps() == sorted({step, *second})


LOSSES = [5.0, 1.0, 4.0, 2.0, math.inf, 3.0, math.nan, 6.0]  # of the steps 0 to 7


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ({}, [1, 7]),
        ({"keep_last": 1}, [1, 7]),
        ({"keep_last": 3}, [1, 3, 5, 7]),  # neither 4 nor 6, which have no loss
        ({"keep_last": 99}, [0, 1, 2, 3, 5, 7]),
        ({"keep_best": 1}, [1, 7]),
        ({"keep_best": 3}, [1, 3, 5, 7]),
        ({"keep_last": 2, "keep_best": 2}, [1, 3, 5, 7]),
    ],
    ids=str,
)
def test_as_many_steps_are_kept_as_were_asked_for(tmp_path, keep, expected):
    save_all(tmp_path, *enumerate(LOSSES), **keep)
    assert checkpoints.saved_steps(tmp_path) == expected
    assert_loads(tmp_path, "best", 1)
    assert_loads(tmp_path, "latest", 7)


def test_steps_with_a_loss_are_listed_the_latest_or_the_best_first(tmp_path):
    save_all(tmp_path, *enumerate(LOSSES), keep_last=9)
    assert checkpoints.rated_steps(tmp_path, "latest") == [7, 5, 3, 2, 1, 0]
    assert checkpoints.rated_steps(tmp_path, "best") == [1, 3, 5, 2, 0, 7]


def test_fewer_steps_kept_are_fewer_after_the_next_save(tmp_path):
    save_all(tmp_path, (1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), keep_last=3)
    assert checkpoints.saved_steps(tmp_path) == [1, 2, 3, 4]
    assert checkpoints.saved_steps(save_all(tmp_path, (5, 5.0))) == [1, 5]


def test_a_damaged_step_is_not_kept_in_the_place_of_a_good_one(tmp_path):
    save_all(tmp_path, (1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), keep_last=3)
    damage(files_of(tmp_path, 3)[-1], "empty")
    save_all(tmp_path, (5, 5.0), keep_last=3)
    assert checkpoints.saved_steps(tmp_path) == [1, 2, 4, 5]


def test_a_clock_that_goes_back_changes_nothing(tmp_path, monkeypatch):
    """Row C27: neither the latest nor the best is found by a time."""
    now = itertools.count(2e9, -1e6)
    monkeypatch.setattr(time, "time", lambda: next(now))
    save_all(tmp_path, (1, 2.0), (2, 1.0), (3, 3.0))
    for age, step in enumerate((3, 2)):
        for path in files_of(tmp_path, step):
            os.utime(path, (1e9 + age, 1e9 + age))
    assert_loads(tmp_path, "latest", 3)
    assert_loads(tmp_path, "best", 2)


def test_the_latest_step_is_the_one_saved_last_after_going_back(tmp_path):
    with CheckpointStore(tmp_path) as store:
        for step in (1, 9):
            save(store, step, loss=10.0 - step)
        save(store, 5, loss=7.0)  # the run went on from step 1
        assert store.steps() == [5, 9]
        assert_loads(tmp_path, "best", 9)
        assert_loads(tmp_path, "latest", 5)


def test_a_step_saved_twice_holds_what_was_saved_last(run):
    with CheckpointStore(run) as store:
        store.save(2, make_params(7), make_training(7), {"epoch": 7}, loss=0.5)
    loaded = load_params(run)
    assert (loaded.step, loaded.record) == (2, {"epoch": 7})
    assert_same(loaded.params, make_params(7))


def test_a_step_that_is_not_there_is_answered_with_those_that_are(run):
    with pytest.raises(InputError, match=r"no checkpoint of step 7 \(has 1, 2\)"):
        load_params(run, 7)
    assert_loads(run, 1, 1)


def test_an_empty_run_says_so(tmp_path):
    assert checkpoints.saved_steps(tmp_path / "nowhere") == []
    with pytest.raises(InputError, match="there is no run folder"):
        load_params(tmp_path / "nowhere")
    with pytest.raises(
        StorageError, match=r"no usable .*: nothing was saved in it yet"
    ):
        load_params(tmp_path)


# --- a writer under the reader's feet -----------------------------------------------


@needs_fork
def test_a_reader_always_gets_a_whole_step_while_a_writer_runs(children, tmp_path):
    children.start(child_trains, tmp_path)
    children.wait_for("saved", 2)
    seen, num_rounds = set(), 0
    while num_rounds < 20 or len(seen) < 6:
        num_rounds += 1
        for which in ("best", "latest"):
            loaded = load_params(tmp_path, which, note=pytest.fail)
            assert_same(loaded.params, make_params(loaded.step))
            assert loaded.record["epoch"] == loaded.step
            seen.add(loaded.step)
    children.kill()


def test_a_step_dropped_under_the_reader_is_no_damage(tmp_path, monkeypatch):
    verify, drops = manifests.verify, [2]

    def drop_first(place, manifest, items):
        if drops:
            save(store, drops.pop(), loss=0.5)
            save(store, 3, loss=0.4)
            save(store, 4, loss=0.3)  # now 1 is gone
        verify(place, manifest, items)

    with CheckpointStore(tmp_path) as store:
        save(store, 1, loss=1.0)
        monkeypatch.setattr(manifests, "verify", drop_first)
        assert load_params(tmp_path, note=pytest.fail).step == 4


def test_a_dropped_step_is_not_called_damaged_when_another_is_read(run, monkeypatch):
    """Step 2 goes while it is verified; step 1 stays and could be taken for it."""
    verify, drops = manifests.verify, [2]

    def drop_first(place, manifest, items):
        if drops:
            storage.discard(place, drops.pop())
        verify(place, manifest, items)

    monkeypatch.setattr(manifests, "verify", drop_first)
    (run / "checkpoints/trash").mkdir(exist_ok=True)
    assert load_params(run, note=pytest.fail).step == 1


def test_a_first_step_saved_behind_the_back_of_the_reader_is_found(run, monkeypatch):
    look, blinks = manifests.manifest_texts, [1]
    monkeypatch.setattr(
        manifests,
        "manifest_texts",
        lambda place: {} if blinks.pop() else look(place),
    )
    blinks[:] = [0, 0, 0, 1]  # popped from the end
    assert load_params(run).step == 2


def test_a_step_replaced_under_the_reader_is_read_again(run, monkeypatch):
    read, replacements = checkpoints._read_arrays, [0.5]

    def replace_first(place, manifest, item):
        arrays = read(place, manifest, item)
        if replacements:
            with CheckpointStore(run) as store:
                loss = replacements.pop()
                store.save(2, make_params(7), None, {"epoch": 7}, loss=loss)
        return arrays

    monkeypatch.setattr(checkpoints, "_read_arrays", replace_first)
    loaded = load_params(run)
    assert loaded.record == {"epoch": 7}
    assert_same(loaded.params, make_params(7))


# --- the record ---------------------------------------------------------------------


def test_the_record_comes_back_as_json_would_give_it(tmp_path):
    record = {
        "history": [0.1, math.nan, np.float32(0.5), np.int64(3), jnp.asarray(2)],
        "note": "خط\u2028\ud800",
        3: (True, None, 1e-17),
    }
    with CheckpointStore(tmp_path) as store:
        store.save(np.int64(1), make_params(1), {}, record, loss=1.0)
    assert load_params(tmp_path).record == {
        "history": [0.1, None, 0.5, 3, 2],
        "note": "خط\u2028\ud800",
        "3": [True, None, 1e-17],
    }
