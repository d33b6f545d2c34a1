"""A small training to store, and children to kill while they store it.

Children are forked from one server that has the imports behind it (this file run as a
script), so that a kill costs a tenth of a second.
"""

import itertools
import json
import os
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

from flaxformer_mt.errors import StorageError
from flaxformer_mt.training import storage
from flaxformer_mt.training.checkpoints import CheckpointStore, load_params

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


def save_big(store, step):
    noise = np.random.default_rng(0).normal(size=(256, 256))
    store.save(step, {"noise": noise}, None, {}, loss=0.0)


def save_all(run, *steps_and_losses, **keep):
    with CheckpointStore(run, **keep) as store:
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


def assert_nothing_happened(run, store):
    assert store.steps() == [1, 2]
    assert names_in(run / "checkpoints/steps") == step_names(1, 2)
    assert names_in(run / "checkpoints/trash") == []
    assert_loads(run, "best", 2)
    save(store, 3)  # and the store still works
    assert_loads(run, "latest", 3)


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


@pytest.fixture(scope="package")
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


def child_saves_and_dies(run, step, loss, num_calls, keep_last=0):
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
        *((storage, name) for name in ("replace_text", "sync_and_hash")),
        (ocp.CheckpointManager, "save"),
    ]:
        setattr(module, name, mortal(getattr(module, name)))
    store = CheckpointStore(run, keep_last=keep_last).__enter__()
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


@pytest.fixture(scope="package")
def server():
    root = Path(storage.__file__).parents[2]
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


if __name__ == "__main__":
    serve_children()
