"""What a person may rely on: an acknowledged checkpoint is there, whole, or named.

Faults are made for real: processes are killed, bits flipped, disks filled. Children
are forked from one server that has the imports behind it (this file run as a script),
so that a kill costs a tenth of a second. Longer runs:

    FLAXFORMER_MT_KILLS=200 FLAXFORMER_MT_FLIPS=1000 pytest <this file>
"""

import errno
import itertools
import json
import logging
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from flaxformer_mt.errors import DivergedError, InputError, RunBusyError, StorageError
from flaxformer_mt.training import checkpoints
from flaxformer_mt.training.checkpoints import CheckpointStore, load_params

NUM_KILLS = int(os.environ.get("FLAXFORMER_MT_KILLS", "10"))
NUM_FLIPS = int(os.environ.get("FLAXFORMER_MT_FLIPS", "100"))
needs_fork = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="this system has no fork"
)


# --- a small training, every number of which follows from the step ------------------


def make_params(step, vocab=12):
    draw = np.random.default_rng(step)
    return {
        "embed": {"table": draw.normal(size=(vocab, 4)).astype(np.float32)},
        "out": {"kernel": draw.normal(size=(4, 3)).astype(jnp.bfloat16)},
    }


def make_training(step, vocab=12):
    params = make_params(step + 1000, vocab)
    count = np.asarray(step, np.int32)
    adam = optax.ScaleByAdamState(count, params, params)
    return {"opt_state": (optax.EmptyState(), adam), "skipped": np.asarray(step)}


def loss_of(step):
    return ((step * 7 + 5) % 11) / 11 + step / 1e6


def save(store, step, loss=None):
    loss = loss_of(step) if loss is None else loss
    record = {"epoch": step, "history": [0.5] * step}
    store.save(step, make_params(step), make_training(step), record, loss=loss)


def save_all(run, *steps_and_losses):
    with CheckpointStore(run) as store:
        for step, loss in steps_and_losses:
            save(store, step, loss)
    return run


def assert_same(tree, expected):
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        assert type(a) is np.ndarray and a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def assert_loads(run, which, step=None):
    """The step (or any step) loads, whole and without a word."""
    notes = []
    loaded = load_params(run, which, note=notes.append)
    step = loaded.step if step is None else step
    assert (loaded.step, loaded.record["epoch"], notes) == (step, step, [])
    assert_same(loaded.params, make_params(step))
    return step


def restore(store, which="latest"):
    restored = store.restore(make_params(0), make_training(0), which)
    assert_same(restored.params, make_params(restored.step))
    assert_same(restored.training, make_training(restored.step))
    assert len(restored.record["history"]) == restored.step
    return restored


def files_of(run, step):
    """Every file of a step, its manifest first."""
    folder = run / "checkpoints/steps" / f"step_{step:09d}"
    manifest = run / "checkpoints/manifests" / f"step_{step:09d}.json"
    return [manifest, *sorted(path for path in folder.rglob("*") if path.is_file())]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def step_names(*steps):
    return [f"step_{step:09d}" for step in steps]


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    """A run whose step 1 is to fall back on; step 2 is the latest and the best."""
    return save_all(tmp_path_factory.mktemp("two") / "run", (1, 2.0), (2, 1.0))


@pytest.fixture
def run(two_steps, tmp_path):
    return Path(shutil.copytree(two_steps, tmp_path / "run"))


# --- children to kill ---------------------------------------------------------------


def child_trains(run):
    """Resumes and saves on, telling every step that was acknowledged."""
    with CheckpointStore(run) as store:
        step = restore(store).step if store.steps() else -1
        while True:
            step += 1
            save(store, step)
            tell("saved", step)


def child_saves_and_dies(run, step, loss, num_calls):
    """Saves a step, and dies just before the call with that number."""
    counter = itertools.count()

    def mortal(function):
        def call(*args, **kwargs):
            if next(counter) == num_calls:
                os._exit(137)
            return function(*args, **kwargs)

        return call

    for module, name in [
        *((os, name) for name in ("replace", "rename", "unlink")),
        *((checkpoints, name) for name in ("_write_text", "_sync_and_hash")),
        (ocp.CheckpointManager, "save"),
    ]:
        setattr(module, name, mortal(getattr(module, name)))
    store = CheckpointStore(run).__enter__()
    counter = itertools.count()
    save(store, step, loss)
    os._exit(0)  # right after save(), without closing anything


def child_holds_the_lock(run):
    with CheckpointStore(run):
        tell("locked", os.getpid())
        time.sleep(600)


def child_has_no_room(run, max_bytes):
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
    os.dup2(1, 2)  # so that anything on stderr is no message that the parent knows
    with CheckpointStore(run) as store:
        try:
            save_big(store, 3)
        except StorageError as error:
            tell("error", str(error))


def save_big(store, step):
    noise = np.random.default_rng(0).normal(size=(256, 256))
    store.save(step, {"noise": noise}, None, {}, loss=0.0)


def tell(word, value):
    os.write(1, f"{json.dumps([word, value])}\n".encode())


def serve_children():
    """Forks a child for every line on stdin: [name of the function, its arguments]."""
    # JAX warns of its threads; it has none yet, for nothing is computed in here.
    warnings.filterwarnings("ignore", message=r"os\.fork", category=RuntimeWarning)
    for line in sys.stdin:
        name, args = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                globals()[name](*args)
            finally:
                os._exit(1 if sys.exc_info()[0] else 0)
        tell("pid", pid)
        tell("exit", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


class Children:
    """One child at a time."""

    def __init__(self, server):
        self.server = server
        self.told = {}

    def start(self, function, *args):
        args = [str(arg) if isinstance(arg, Path) else arg for arg in args]
        print(json.dumps([function.__name__, args]), file=self.server.stdin, flush=True)
        self.told = {}
        self.wait_for("pid")

    def read(self):
        word, value = json.loads(self.server.stdout.readline())
        self.told.setdefault(word, []).append(value)

    def wait_for(self, word, count=1):
        while len(self.told.get(word, [])) < count:
            self.read()
            if "exit" in self.told and word != "exit":
                assert word in self.told, f"the child ended before it told '{word}'"
        return self.told[word]

    def kill(self):
        os.kill(self.told["pid"][0], signal.SIGKILL)
        assert self.wait_for("exit") == [-signal.SIGKILL]


@pytest.fixture(scope="module")
def server():
    root = Path(checkpoints.__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
        text=True,
        encoding="utf-8",
    )
    yield process
    process.stdin.close()
    process.stdout.close()
    process.wait()


@pytest.fixture
def children(server):
    children = Children(server)
    yield children
    if "pid" in children.told and "exit" not in children.told:
        children.kill()  # the test failed with the child running


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
    ("step", "loss", "best_after", "stride"),
    [(3, 0.5, 3, 1), (2, 1.5, 1, 2)],
    ids=["a better step", "the same step again"],
)
def test_a_kill_at_any_point_of_a_save_loses_no_other_step(
    children, tmp_path, step, loss, best_after, stride
):
    start = save_all(tmp_path / "start", (1, 1.0), (2, 2.0))
    for num_calls in itertools.count(0, stride):
        run = shutil.copytree(start, tmp_path / f"run{num_calls}")
        children.start(child_saves_and_dies, run, step, loss, num_calls)
        exit_code = children.wait_for("exit")[0]
        best, latest = assert_loads(run, "best"), assert_loads(run, "latest")
        assert (latest, best) in {(2, 1), (1, 1), (step, best_after)}
        assert step == 2 or latest != 1  # only the step saved again may be missing
        with CheckpointStore(run) as store:  # and the sweep leaves only whole steps
            assert restore(store).step == latest
            assert names_in(run / "checkpoints/steps") == step_names(*store.steps())
            assert names_in(run / "checkpoints/trash") == []
        shutil.rmtree(run)
        if exit_code == 0:
            break
        assert exit_code == 137
    assert (latest, best) == (step, best_after)
    assert num_calls > 15  # the calls were indeed counted


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
    damage(files_of(run, 1)[-1], "empty")
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
    manifest = checkpoints._Manifest.from_text(path.read_text(encoding="utf-8"))
    monkeypatch.setattr(checkpoints, "FORMAT", 2)
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
    manifest = checkpoints._Manifest.from_text(intact.decode("utf-8"))
    num_refused = 0
    for index, bit in itertools.product(range(len(intact)), (0, 2, 5)):
        data = bytearray(intact)
        data[index] ^= 1 << bit
        try:
            text = data.decode("utf-8", errors="replace")
            assert checkpoints._Manifest.from_text(text) == manifest
        except checkpoints._Damaged:
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
    with pytest.raises(InputError, match=r"words\.txt is missing"):
        CheckpointStore(tmp_path, guarded_files=["words.txt"]).__enter__()


def test_a_guarded_file_outside_of_the_run_folder_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"x")
    run = tmp_path / "run"
    with CheckpointStore(run, guarded_files=["../secret"]) as store:
        save(store, 1)
    with pytest.raises(StorageError, match=r"\.\./secret is outside"):
        checkpoints.export(run, tmp_path / "a/b/c")


def test_every_file_is_on_the_disk_before_its_manifest_is(tmp_path, monkeypatch):
    """What a power cut may do: all that was not fsynced by then is empty."""
    synced, at_the_end = set(), []
    sync, replace = os.fsync, os.replace

    def fsync(handle):
        sync(handle)
        synced.add(os.fstat(handle).st_ino)

    def put_in_place(source, target):
        replace(source, target)
        if Path(target).parent.name == "manifests":
            at_the_end.append(set(synced))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", put_in_place)
    save_all(tmp_path, (1, 1.0))
    steps = tmp_path / "checkpoints/steps"
    manifest = tmp_path / "checkpoints/manifests/step_000000001.json"
    needed = {path.stat().st_ino for path in [manifest, steps, *steps.rglob("*")]}
    assert needed <= at_the_end[0]


# --- which steps are kept -----------------------------------------------------------


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


def test_the_next_start_sweeps_what_a_kill_left(run):
    place = run / "checkpoints"
    shutil.copytree(place / "steps/step_000000002", place / "steps/step_000000003")
    for leftover in (
        "trash/step_000000000",
        "steps/step_000000004.orbax-checkpoint-tmp",
    ):
        (place / leftover / "params").mkdir(parents=True)
    (place / "manifests/step_000000004.json.tmp").write_bytes(b"{")
    with CheckpointStore(run) as store:
        assert store.steps() == [1, 2]
        assert names_in(place / "steps") == step_names(1, 2)
        assert names_in(place / "trash") == []
        assert len(names_in(place / "manifests")) == 2


# --- saves that fail ----------------------------------------------------------------


def assert_nothing_happened(run, store):
    assert store.steps() == [1, 2]
    assert names_in(run / "checkpoints/steps") == step_names(1, 2)
    assert names_in(run / "checkpoints/trash") == []
    assert_loads(run, "best", 2)
    save(store, 3)  # and the store still works
    assert_loads(run, "latest", 3)


FULL = (
    "step 3 was not saved: the disk is full (needs about 1 MB); earlier checkpoints "
    "are intact."
)


@pytest.mark.parametrize("when", ["arrays", "manifest", "folder"])
def test_a_full_disk_costs_only_the_step_that_it_stops(run, monkeypatch, when):
    def save_half(manager, step, **_):
        folder = manager.directory / f"step_{step:09d}.orbax-checkpoint-tmp"
        (folder / "params").mkdir(parents=True)
        # This is how Orbax tells of it.
        raise ValueError("RESOURCE_EXHAUSTED: ... [os_error_code='28' source locations")

    replace = os.replace

    def cannot_replace(source, target):
        if when == "folder":  # the manifest is there, but may not stay there
            replace(source, target)
        raise OSError(errno.ENOSPC, "No space left on device")

    with CheckpointStore(run) as store:
        with monkeypatch.context() as patch, pytest.raises(StorageError) as caught:
            if when == "arrays":
                patch.setattr(ocp.CheckpointManager, "save", save_half)
            else:
                patch.setattr(os, "replace", cannot_replace)
            save(store, 3)
        assert str(caught.value) == FULL
        assert_nothing_happened(run, store)


@needs_fork
def test_a_file_that_may_not_grow_costs_only_its_step(children, run):
    children.start(child_has_no_room, run, 50_000)
    text = children.wait_for("error")[0]
    assert children.wait_for("exit") == [0]
    assert text.startswith("step 3 was not saved: file too large (needs about 1 MB)")
    with CheckpointStore(run) as store:
        assert_nothing_happened(run, store)


@pytest.fixture
def small_disk(tmp_path):
    """Returns a function that puts a disk of so many kilobytes under a new folder."""
    mounted = []

    def make(kilobytes):
        folder = tmp_path / f"disk{kilobytes}"
        folder.mkdir()
        size = f"size={kilobytes}k"
        command = ["mount", "-t", "tmpfs", "-o", size, "flaxformer-test", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no small disk can be mounted here: that takes root on Linux")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_small_disk_that_fills_up_keeps_what_it_had(small_disk, two_steps):
    for kilobytes in (250, 400, 600):
        disk = small_disk(kilobytes)
        run = Path(shutil.copytree(two_steps, disk / "run"))
        with CheckpointStore(run) as store:
            with pytest.raises(StorageError) as caught:
                save_big(store, 3)
            assert str(caught.value) == FULL
            assert_nothing_happened(run, store)


def test_a_folder_that_vanishes_is_one_sentence(run):
    with CheckpointStore(run) as store:
        shutil.rmtree(run)
        with pytest.raises(StorageError, match="step 3 was not saved: no such file"):
            save(store, 3)


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


# --- one writer, many readers -------------------------------------------------------


@needs_fork
def test_a_second_writer_is_told_the_pid_and_a_dead_one_blocks_nobody(children, run):
    children.start(child_holds_the_lock, run)
    pid = children.wait_for("locked")[0]
    with pytest.raises(RunBusyError, match=rf"another .* \(pid {pid}\)") as caught:
        CheckpointStore(run).__enter__()
    assert caught.value.exit_code == 5
    assert_loads(run, "best", 2)  # readers do not care
    children.kill()
    assert (run / "checkpoints/lock.pid").exists()  # stale now
    save_all(run, (3, 0.5))
    assert not (run / "checkpoints/lock.pid").exists()


def test_a_failed_start_leaves_the_run_unlocked(run):
    with pytest.raises(InputError):
        CheckpointStore(run, guarded_files=["missing"]).__enter__()
    assert save_all(run, (3, 0.5))


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
    verify, drops = checkpoints._verify, [2]

    def drop_first(place, manifest, items):
        if drops:
            save(store, drops.pop(), loss=0.5)
            save(store, 3, loss=0.4)
            save(store, 4, loss=0.3)  # now 1 is gone
        verify(place, manifest, items)

    with CheckpointStore(tmp_path) as store:
        save(store, 1, loss=1.0)
        monkeypatch.setattr(checkpoints, "_verify", drop_first)
        assert load_params(tmp_path, note=pytest.fail).step == 4


def test_a_dropped_step_is_not_called_damaged_when_another_is_read(run, monkeypatch):
    """Step 2 goes while it is verified; step 1 stays and could be taken for it."""
    verify, drops = checkpoints._verify, [2]

    def drop_first(place, manifest, items):
        if drops:
            checkpoints._discard(place, drops.pop())
        verify(place, manifest, items)

    monkeypatch.setattr(checkpoints, "_verify", drop_first)
    (run / "checkpoints/trash").mkdir(exist_ok=True)
    assert load_params(run, note=pytest.fail).step == 1


def test_a_first_step_saved_behind_the_back_of_the_reader_is_found(run, monkeypatch):
    look, blinks = checkpoints._manifest_texts, [1]
    monkeypatch.setattr(
        checkpoints,
        "_manifest_texts",
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


# --- other machines, other folders --------------------------------------------------


def test_a_saved_step_remembers_no_device_and_no_path(tmp_path):
    on_device = jax.tree.map(jnp.asarray, make_params(1))
    with CheckpointStore(tmp_path) as store:
        store.save(1, on_device, {"count": jnp.asarray(1)}, {"epoch": 1}, loss=1.0)
    assert_loads(tmp_path, "best", 1)
    for path, data in contents(tmp_path).items():
        assert "_sharding" not in path.name and b"sharding" not in data
        assert os.fsencode(tmp_path) not in data


def test_a_run_folder_can_be_moved(run, tmp_path):
    moved = run.rename(tmp_path / "elsewhere")
    assert_loads(moved, "best", 2)
    assert save_all(moved, (3, 0.5))
    assert_loads(moved, "best", 3)


def test_reading_writes_nothing(run):
    shutil.rmtree(run / "checkpoints/trash", ignore_errors=True)
    paths = [run, *run.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    # Root may write all the same: then the times of the folders would tell.
    before = [(path, path.stat().st_mtime_ns) for path in paths]
    assert_loads(run, "best", 2)
    assert_loads(run, "latest", 2)
    assert checkpoints.saved_steps(run) == [1, 2]
    assert [
        (path, path.stat().st_mtime_ns) for path in [run, *run.rglob("*")]
    ] == before
    for path in paths:
        path.chmod(0o755)


@pytest.mark.parametrize("name", ["with spaces", "پوشهٔ آزمایش", "~/run", "a/b/c", "."])
def test_any_folder_name_will_do(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    save_all(name, (1, 1.0))
    assert_loads(name, "best", 1)
    assert load_params(Path(name)).step == 1


@pytest.mark.parametrize("name", ["file", "file/run", "x" * 300, "nul\0"])
def test_an_impossible_folder_is_one_sentence(tmp_path, name):
    (tmp_path / "file").write_bytes(b"")
    for attempt in (load_params, save_all):
        with pytest.raises(InputError) as caught:
            attempt(f"{tmp_path}/{name}")
        assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_an_empty_run_says_so(tmp_path):
    assert checkpoints.saved_steps(tmp_path / "nowhere") == []
    with pytest.raises(InputError, match="there is no run folder"):
        load_params(tmp_path / "nowhere")
    with pytest.raises(
        StorageError, match=r"no usable .*: nothing was saved in it yet"
    ):
        load_params(tmp_path)


def test_a_step_that_is_not_there_is_answered_with_those_that_are(run):
    with pytest.raises(InputError, match=r"no checkpoint of step 7 \(has 1, 2\)"):
        load_params(run, 7)
    assert_loads(run, 1, 1)


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


# --- small files --------------------------------------------------------------------


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    checkpoints.atomic_write_json(path, {"name": "ترجمه"})
    assert path.read_bytes() == '{\n  "name": "ترجمه"\n}\n'.encode()
    with pytest.raises(InputError, match="as JSON"):
        checkpoints.atomic_write_json(path, {"loss": math.nan})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot write .*: the disk is full"):
        checkpoints.atomic_write_text(path, "new")
    assert path.read_bytes() == '{\n  "name": "ترجمه"\n}\n'.encode()
    assert names_in(tmp_path) == ["config.json"]


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


def test_saving_and_loading_are_silent(run, caplog, capfd):
    with caplog.at_level(logging.INFO):
        save_all(run, (3, 0.5))
        load_params(run)
    assert caplog.messages == []
    assert capfd.readouterr() == ("", "")


if __name__ == "__main__":
    serve_children()
