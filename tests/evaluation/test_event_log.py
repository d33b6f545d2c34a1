"""The event file: every step once, whatever became of the run before."""

import importlib.util
import struct
import sys
import time

import pytest

from flaxformer_mt.errors import StorageError
from flaxformer_mt.evaluation.event_log import FOLDER, EventLog, available

needs_tensorboard = pytest.mark.skipif(
    not available(), reason="tensorboardX, the extra `tensorboard`, is not installed"
)


def entry(step, **more):
    return {
        "step": step,
        "epoch": step / 100,
        "train_loss": 5.0 - step / 1000,
        "learning_rate": 0.001,
        "seconds": step / 10,
        **more,
    }


def read(run_folder):
    """The events of all files in TensorBoard's folder, in the order of their names."""
    from tensorboardX.proto.event_pb2 import Event

    events = []
    for path in sorted((run_folder / FOLDER).iterdir()):
        content, place = path.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            events.append(Event.FromString(content[place + 12 : place + 12 + length]))
            place += 12 + length + 4  # a checksum after the length and after the data
    return events


def points(run_folder):
    return [
        (event.step, value.tag, value.simple_value)
        for event in read(run_folder)
        for value in event.summary.value
    ]


def steps(run_folder, tag="loss/train"):
    return [step for step, name, _ in points(run_folder) if name == tag]


@needs_tensorboard
def test_an_entry_becomes_a_point_of_each_of_its_values(tmp_path):
    log = EventLog(tmp_path)
    log.write(entry(100, validation_loss=4.5, loss=4.5, chrf=31.5, bleu=12.25))
    log.close()
    assert read(tmp_path)[0].file_version == "brain.Event:2"
    assert points(tmp_path) == [
        (100, "loss/train", pytest.approx(4.9)),
        (100, "loss/validation", 4.5),
        (100, "score/chrF++", 31.5),
        (100, "score/BLEU", 12.25),
        (100, "learning_rate", pytest.approx(0.001)),
        (100, "epoch", 1.0),
    ]


@needs_tensorboard
def test_a_resumed_run_has_every_step_once(tmp_path):
    history = [entry(step) for step in (100, 200, 300)]
    killed = EventLog(tmp_path)
    for one in history:
        killed.write(one)
    killed.records.close()  # the system does that for a killed process
    # Two entries were in the last checkpoint; the third is trained once more.
    resumed = EventLog(tmp_path, history[:2])
    assert steps(tmp_path) == [100, 200]
    resumed.write(history[2])
    resumed.close()
    assert steps(tmp_path) == [100, 200, 300]
    assert len(list((tmp_path / FOLDER).iterdir())) == 1


@needs_tensorboard
def test_a_new_file_is_named_after_the_one_it_replaces(tmp_path):
    """TensorBoard, running, never goes back to a name that it has left behind."""
    names = []
    for _ in range(3):
        EventLog(tmp_path).close()
        names += [path.name for path in (tmp_path / FOLDER).iterdir()]
    assert names == sorted(set(names)) and len(names) == 3


@needs_tensorboard
def test_files_of_others_stay(tmp_path):
    (tmp_path / FOLDER).mkdir()
    others = ["events.out.tfevents.1700000000.host", "notes.txt", "x.flaxformer_mt"]
    for name in others:
        (tmp_path / FOLDER / name).write_bytes(b"")
    EventLog(tmp_path, [entry(1)]).close()
    EventLog(tmp_path, [entry(1)]).close()
    names = {path.name for path in (tmp_path / FOLDER).iterdir()}
    assert names > set(others) and len(names) == 4
    assert steps(tmp_path) == [1]


@needs_tensorboard
def test_what_is_written_can_be_read_at_once(tmp_path):
    log = EventLog(tmp_path, [entry(100)])
    log.write(entry(200))
    assert steps(tmp_path) == [100, 200]  # before it is closed
    log.close()


@needs_tensorboard
def test_values_that_are_no_numbers_have_no_point(tmp_path):
    bad = entry(100, train_loss=float("nan"), loss=None, validation_loss=None)
    EventLog(tmp_path, [bad | {"learning_rate": float("inf")}]).close()
    assert points(tmp_path) == [(100, "epoch", 1.0)]


@needs_tensorboard
def test_relative_time_is_the_runs_own(tmp_path):
    """However long it lay between two stretches of training."""
    log = EventLog(tmp_path, [entry(100), entry(200)])
    log.write(entry(300))
    log.close()
    start, *times = [event.wall_time for event in read(tmp_path)]
    assert [t - start for t in times] == pytest.approx([10, 20, 30], abs=1e-3)
    assert times[1] <= time.time()  # the history is past, however fast this was


@needs_tensorboard
def test_the_checksums_are_those_of_the_format(tmp_path):
    from tensorboardX.crc32c import crc32c

    EventLog(tmp_path, [entry(1)]).close()
    (path,) = (tmp_path / FOLDER).iterdir()
    content = path.read_bytes()
    length, masked = struct.unpack_from("<QI", content)
    crc = crc32c(content[:8]) & 0xFFFFFFFF
    expected = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked == expected and length < 100


@needs_tensorboard
def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / FOLDER).write_text("a file", encoding="utf-8")
    with pytest.raises(StorageError, match=r"cannot write .*tensorboard: file exists"):
        EventLog(tmp_path)


def test_it_is_found_without_being_imported(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert available() is False
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "tensorboardX", None)  # an import would fail
    assert available() is True
