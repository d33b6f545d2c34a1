"""Files, locks and full disks: what is on the disk is whole, and the rest is named.

Faults are made for real: disks are filled, and the lock's owner is killed.
"""

import errno
import math
import os
import shutil
import subprocess
from pathlib import Path

import orbax.checkpoint as ocp
import pytest

from flaxformer_mt.errors import InputError, RunBusyError, StorageError
from flaxformer_mt.training import checkpoints, storage
from flaxformer_mt.training.checkpoints import CheckpointStore, load_params
from tests.training.conftest import (
    assert_loads,
    assert_nothing_happened,
    child_has_no_room,
    child_holds_the_lock,
    names_in,
    needs_fork,
    save,
    save_all,
    save_big,
    step_names,
)

# --- files --------------------------------------------------------------------------


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    storage.atomic_write_json(path, {"name": "ترجمه"})
    assert path.read_bytes() == '{\n  "name": "ترجمه"\n}\n'.encode()
    with pytest.raises(InputError, match="as JSON"):
        storage.atomic_write_json(path, {"loss": math.nan})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot write .*: the disk is full"):
        storage.atomic_write_text(path, "new")
    assert path.read_bytes() == '{\n  "name": "ترجمه"\n}\n'.encode()
    assert names_in(tmp_path) == ["config.json"]


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


# --- disks that do not take it ------------------------------------------------------


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


@pytest.mark.parametrize("foreseen", [True, False])
def test_a_small_disk_that_fills_up_keeps_what_it_had(
    small_disk, two_steps, monkeypatch, capfd, foreseen
):
    if not foreseen:  # as where another process fills it in between
        monkeypatch.setattr(storage, "check_room", lambda *_: None)
    for kilobytes in (300, 400, 600):
        disk = small_disk(kilobytes)
        run = Path(shutil.copytree(two_steps, disk / "run"))
        with CheckpointStore(run) as store:
            with pytest.raises(StorageError) as caught:
                save_big(store, 3)
            assert str(caught.value) == FULL
            assert_nothing_happened(run, store)
    assert capfd.readouterr().err == ""


def test_a_folder_that_vanishes_is_one_sentence(run):
    with CheckpointStore(run) as store:
        shutil.rmtree(run)
        with pytest.raises(StorageError, match="step 3 was not saved: no such file"):
            save(store, 3)


# --- one writer ---------------------------------------------------------------------


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


def test_a_failed_save_leaves_the_run_unlocked(run):
    with (
        pytest.raises(InputError),
        CheckpointStore(run, guarded_files=["missing"]) as store,
    ):
        save(store, 3)
    assert save_all(run, (3, 0.5))


# --- folders ------------------------------------------------------------------------


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
    assert (tmp_path / name.removeprefix("~/") / "checkpoints").is_dir()
    assert_loads(name, "best", 1)
    assert load_params(Path(name)).step == 1


@pytest.mark.parametrize("name", ["file", "file/run", "x" * 300, "nul\0"])
def test_an_impossible_folder_is_one_sentence(tmp_path, name):
    (tmp_path / "file").write_bytes(b"")
    for attempt in (load_params, save_all):
        with pytest.raises(InputError) as caught:
            attempt(f"{tmp_path}/{name}")
        assert "\n" not in str(caught.value) and caught.value.exit_code == 2
