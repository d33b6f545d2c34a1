"""A training that is killed again and again ends as if it never had been.

The real command line, real signals. A longer run:

    python -m experiments.kill_runs --kills 200
"""

import os
import re
import shutil
import signal
import time

import numpy as np
import pytest

from experiments import kill_runs
from flaxformer_mt.training import checkpoints
from flaxformer_mt.training.checkpoints import CheckpointStore
from tests.training.conftest import needs_fork

NUM_KILLS = int(os.environ.get("FLAXFORMER_MT_KILLS", "6"))

pytestmark = needs_fork


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kills")


@pytest.fixture(scope="module")
def server(folder):
    with kill_runs.Server(folder / "cache") as server:
        yield server


@pytest.fixture(scope="module")
def truth(server, folder):
    return kill_runs.undisturbed(server, folder, ())


def test_the_undisturbed_run_has_a_best_step_in_its_middle(truth):
    """Otherwise the best would be right by chance."""
    assert 2 < truth.end["best_step"] < truth.end["step"]
    assert len({truth.best(step) for step in truth.losses}) > 3
    shas = {tuple(d.values()) for d in truth.digests.values()}
    assert len(shas) == len(truth.losses) == kill_runs.NUM_VALIDATIONS


@pytest.mark.parametrize(
    ("number", "kills"),
    [
        (signal.SIGKILL, NUM_KILLS),  # rows C1, C4
        (signal.SIGTERM, max(NUM_KILLS // 10, 1)),  # row C20
        (signal.SIGINT, max(NUM_KILLS // 20, 1)),  # row C21
    ],
    ids=["KILL", "TERM", "INT"],
)
def test_signals_at_random_moments_lose_nothing_and_change_no_bit(
    server, folder, truth, number, kills
):
    tally = kill_runs.disturbed_runs(server, folder, truth, kills, number=number)
    assert tally.problems == []
    assert tally.kills == kills and tally.runs >= 1
    assert tally.acknowledged >= kill_runs.NUM_VALIDATIONS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_run_at_once(server, folder, truth, number):
    """Rows C20, C21: without another save, and what was saved is intact."""
    told, path = folder / "twice.told", folder / f"twice{number}"
    run = kill_runs.Disturbed(
        server, kill_runs.command(folder, path), path, told, truth
    )
    run.start()
    assert run.wait(2, 0)
    until = time.monotonic() + 60
    server.signal(number)
    while not server.has_ended() and time.monotonic() < until:
        if "once more stops at once" in told.read_text(encoding="utf-8"):
            server.signal(number)
            break
    assert server.wait() in (130, 128 + number, -number)
    assert kill_runs.checked(run) == []


def test_a_reader_always_gets_a_whole_model_while_the_run_trains(server, folder, truth):
    """Row C29: the best step, with the digest that it had when it was saved."""
    path = folder / "read"
    server.start(kill_runs.command(folder, path), folder / "read.told")
    seen = set()
    while not server.has_ended():
        if not checkpoints.saved_steps(path):
            continue
        for which in ("best", "latest"):
            step, shas = kill_runs.digests_of(path, which, pytest.fail)
            assert shas == truth.digests[step]
            seen.add(step)
    assert server.wait() == 0
    assert len(seen) > 3


# ---- the checks would notice -------------------------------------------------------


def make_truth(run):
    """A run folder with steps 2 (the best), 4 and 6; step 4 is dropped."""
    digests, losses = {}, {2: 1.0, 4: 3.0, 6: 2.0}
    with CheckpointStore(run) as store:
        for step, loss in losses.items():
            arrays = {"a": np.full(3, step, np.float32)}
            store.save(step, arrays, None, {"history": []}, loss=loss)
            digests[step] = kill_runs.digests({"params": arrays}, [])
    return kill_runs.Truth(digests, losses, {})


def lose_the_latest(run, truth):
    (run / "checkpoints/manifests/step_000000006.json").unlink()


def lose_all(run, truth):
    shutil.rmtree(run / "checkpoints/manifests")


def damage_the_latest(run, truth):
    place = run / "checkpoints/steps/step_000000006"
    (place / "params/manifest.ocdbt").write_bytes(b"")


def change_what_was_learned(run, truth):
    truth.digests[6]["params"] = "another"


def change_the_best(run, truth):
    truth.losses[6] = 0.5


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda run, truth: None, None),
        (lose_the_latest, "lost: step 6; the latest is 2"),
        (lose_all, "lost: step 6 and all others"),
        (damage_the_latest, "damaged: no usable checkpoint"),
        (change_what_was_learned, "damaged: step 6 is not what it was"),
        (change_the_best, "best: step 2, expected 6"),
    ],
)
def test_what_a_kill_may_not_do_is_noticed(tmp_path, change, kind):
    run = tmp_path / "run"
    truth = make_truth(run)
    change(run, truth)
    told = tmp_path / "told"
    disturbed = kill_runs.Disturbed(None, [], run, told, truth, {2, 4, 6})
    problems = kill_runs.checked(disturbed)
    assert (problems == []) if kind is None else re.match(kind, problems[0])


@pytest.mark.parametrize(
    ("leftover", "where"),
    [
        ("steps/step_000000008.orbax-checkpoint-tmp", "saving"),
        ("steps/step_000000008", "saving"),
        ("manifests/step_000000008.json.tmp", "saving"),
        ("steps/step_000000004", "deleting"),
        ("trash/step_000000004", "deleting"),
        ("nothing", "starting up"),
    ],
)
def test_where_it_was_killed_is_seen_from_what_is_left(tmp_path, leftover, where):
    run, told = tmp_path / "run", tmp_path / "told"
    disturbed = kill_runs.Disturbed(None, [], run, told, make_truth(run))
    (run / "checkpoints/trash").mkdir(exist_ok=True)
    told.write_text("", encoding="utf-8")
    (run / "checkpoints" / leftover).mkdir()
    assert disturbed.where() == where
