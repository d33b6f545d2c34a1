"""A training seen from its files, while another process writes them."""

import json
import os

import filelock
import pytest

from flaxformer_mt.config import Config
from flaxformer_mt.errors import InputError
from flaxformer_mt.serving.training_view import (
    MOST_POINTS,
    has_log,
    pace,
    thinned,
    training_view,
)
from flaxformer_mt.training.run_folder import RunFolder
from tests.serving.fake_model import Client, application, fake_engine, served

VALIDATION = {
    "step": 100,
    "epoch": 1.0,
    "train_loss": 2.0,
    "learning_rate": 0.001,
    "seconds": 50.0,
    "loss": 1.5,
    "chrf": 30.0,
}


HELD = []


def run_of(folder, validations=(), progress=(), *, trains=False, **train):
    config = Config()
    fields = config.to_dict()
    fields["train"] |= {"epochs": 0, "steps": 400, **train}
    (folder / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    for name, rows in (("metrics", validations), ("progress", progress)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    if trains:
        (folder / "checkpoints").mkdir()
        pid = folder / "checkpoints" / "lock.pid"
        pid.write_text("12345\n", encoding="utf-8")
        lock = filelock.FileLock(folder / "checkpoints" / "lock")
        lock.acquire()
        HELD.append(lock)  # until the tests have ended
    return RunFolder(folder)


def row(step, loss, **more):
    return {"step": step, "loss": loss, "learning_rate": 0.01, **more}


def test_a_run_that_trains_tells_how_far_it_is(tmp_path):
    now = row(200, 1.75, epoch=2.0, tokens_a_second=900.0, seconds=100.0)
    samples = {"step": 100, "samples": [{"src": "a", "tgt": "b", "ref": "c"}]}
    progress = [row(50, 3.0), samples, now]
    view = training_view(run_of(tmp_path, [VALIDATION], progress, trains=True))
    assert view["state"] == "training"
    assert (view["step"], view["steps"], view["epoch"]) == (200, 400, 2.0)
    assert view["tokens_a_second"] == 900.0
    assert view["seconds_left"] == 100.0  # 200 steps took 100 seconds
    assert view["best"] == {"step": 100, "metric": "loss", "value": 1.5}
    assert view["train"] == [[50, 3.0, 0.01], [200, 1.75, 0.01]]
    [validation] = view["validations"]
    assert validation == {
        "step": 100,
        "loss": 1.5,
        "chrf": 30.0,
        "samples": samples["samples"],
    }


def test_a_run_that_ended_before_its_time_is_finished(tmp_path):
    """As by patience; its last row has the step of its last validation."""
    ended = row(100, 2.0, ended=True)
    view = training_view(run_of(tmp_path, [VALIDATION], [row(50, 3.0), ended]))
    assert view["state"] == "finished" and view["steps"] == 400


def test_a_later_end_than_the_config_tells_counts(tmp_path):
    now = row(500, 1.0, steps=1000, seconds=50.0)
    view = training_view(run_of(tmp_path, [VALIDATION], [now], trains=True))
    assert (view["step"], view["steps"], view["seconds_left"]) == (500, 1000, 50.0)


def test_the_time_that_is_left_is_told_without_the_compilation():
    compiled = row(1, 6.0, seconds=40.0)
    assert pace([]) is None and pace([compiled]) is None
    steady = [row(step, 5.0, seconds=40.0 + step / 10) for step in (11, 21, 41, 61)]
    assert pace([compiled, steady[0]]) == pytest.approx(0.11)
    assert pace([compiled, *steady]) == pytest.approx(0.1)


def test_a_run_without_a_progress_has_its_validations_for_a_curve(tmp_path):
    view = training_view(run_of(tmp_path, [VALIDATION]))
    assert view["train"] == [[100, 2.0, 0.001]]
    assert view["state"] == "stopped"
    assert view["tokens_a_second"] is None and view["seconds_left"] is None


def test_a_run_at_its_end_is_finished(tmp_path):
    view = training_view(run_of(tmp_path, [VALIDATION], steps=100))
    assert view["state"] == "finished"


def test_minutes_end_a_run_by_its_clock(tmp_path):
    folder = run_of(tmp_path, [VALIDATION], trains=True, steps=0, minutes=2.0)
    view = training_view(folder)
    assert view["steps"] is None and view["seconds_left"] == 70.0


def test_epochs_are_counted_in_steps(tmp_path):
    folder = run_of(tmp_path, [VALIDATION], steps=0, epochs=7)
    assert training_view(folder)["steps"] == 700


def test_only_what_is_newer_comes(tmp_path):
    folder = run_of(tmp_path, [VALIDATION], [row(n, 1.0) for n in (50, 100, 150)])
    view = training_view(folder, after=100)
    assert [point[0] for point in view["train"]] == [150]
    assert view["validations"] == []
    assert view["best"]["step"] == 100


def test_half_a_line_and_what_is_no_row_are_left_out(tmp_path):
    folder = run_of(tmp_path, [VALIDATION], [row(50, 1.0)])
    with open(tmp_path / "progress.jsonl", "ab") as file:
        file.write(b'[1]\n{"step": "x"}\n\xff\n{"step": 60, "lo')
    assert [p[0] for p in training_view(folder)["train"]] == [50]


def test_a_run_that_went_back_has_each_step_once(tmp_path):
    rows = [row(10, 1.0), row(20, 2.0), row(30, 3.0), row(20, 4.0)]
    folder = run_of(tmp_path, [], rows)
    assert [p[:2] for p in training_view(folder)["train"]] == [[10, 1.0], [20, 4.0]]


def test_a_loss_that_is_no_number_is_none(tmp_path):
    folder = run_of(tmp_path, [], [row(10, float("nan"))])
    assert training_view(folder)["train"] == [[10, None, 0.01]]


def test_a_trainer_that_was_killed_is_none(tmp_path):
    folder = run_of(tmp_path, [VALIDATION])
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "lock").touch()
    # The number may be that of another process by now.
    for pid in (str(os.getpid()), "1", "999999999", "nobody", "", "-7" * 9):
        lock = tmp_path / "checkpoints" / "lock.pid"
        lock.write_text(pid, encoding="utf-8")
        assert training_view(folder)["state"] == "stopped"


def test_many_points_are_thinned_and_the_last_stays():
    points = list(range(100_001))
    kept = thinned(points)
    assert len(kept) == MOST_POINTS
    assert kept[0] == 0 and kept[-1] == points[-1] and kept == sorted(set(kept))
    assert thinned(points[:10]) == points[:10]


def test_a_folder_without_a_run_is_told(tmp_path):
    assert not has_log(RunFolder(tmp_path))
    with pytest.raises(InputError):
        training_view(RunFolder(tmp_path))


def test_the_view_is_answered_while_there_is_no_model(tmp_path):
    run_of(tmp_path, [VALIDATION])
    with fake_engine() as engine, served(application(engine, folder=tmp_path)) as port:
        client = Client(port)
        assert client.get("/api/training").json()["step"] == 100
        assert client.get("/api/training?after=100").json()["validations"] == []
        assert client.get("/api/training?after=-1").status_code == 422
        assert client.get("/api/training?after=" + "9" * 99).status_code == 422
        assert client.get("/api/model").json()["is_training"] is True
