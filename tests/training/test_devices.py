"""A run on one device, on several and on two hosts; memory; kept programs.

This file run as a script is a child: one with eight simulated devices, or a host.
"""

import json
import os
import socket
import subprocess
import sys
import types
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from flaxformer_mt.errors import InputError
from flaxformer_mt.model.dropout import hash_bits
from flaxformer_mt.model.transformer import make_model
from flaxformer_mt.text.batching import Shape, make_batch
from flaxformer_mt.training import devices
from flaxformer_mt.training.checkpoints import CheckpointStore, load_params
from flaxformer_mt.training.devices import (
    CompileCount,
    Devices,
    check_memory,
    check_versions,
    choose_device,
    cpu_count,
    describe_device,
    device_memory,
    enable_compilation_cache,
    join_hosts,
    memory_of,
    stay_whole,
)
from flaxformer_mt.training.step import StepOptions, init_state, train_step
from tests.conftest import ROOT, SPECIALS, V, leaves, tiny_config

# --- one tiny training, the same wherever it runs -----------------------------------

MODEL = make_model(
    tiny_config(num_encoder_layers=1, num_decoder_layers=1),
    src_vocab_size=V,
    tgt_vocab_size=V,
)
# What the step learns from, kept for a look: the first gradient to 1e-6.
KEEP_GRADIENT = optax.GradientTransformation(
    init=lambda params: jax.tree.map(jnp.zeros_like, params),
    update=lambda grads, state, params=None: (grads, grads),
)
TX = optax.chain(KEEP_GRADIENT, optax.adam(1e-2))


def batch_of(step):
    """Sixteen pairs, another sixteen for each step."""
    rng = np.random.default_rng(step)
    pairs = [
        tuple(rng.integers(4, V, size=rng.integers(2, 8)).tolist() for _ in range(2))
        for _ in range(16)
    ]
    return make_batch(pairs, Shape(16, 8, 8), SPECIALS)


def start():
    """A state made in NumPy: to draw it with JAX takes as long to compile as a step."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: init_state(MODEL, TX, jax.random.key(0)))
    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    params = jax.tree.map(
        lambda x: rng.normal(0, 0.3, x.shape).astype(x.dtype), shapes.params
    )
    return state.replace(params=params)


class Run:
    """A training on some devices."""

    def __init__(self, where):
        self.where, self.key = where, where.place_state(jax.random.key(1))
        self.state = where.place_state(start())

    def train(self, steps):
        """The loss after each step."""
        options = StepOptions(num_shards=self.where.count)
        losses = []
        for step in steps:
            batch = self.where.place_batch(batch_of(step))
            self.state, totals = train_step(
                self.state, batch, self.key, model=MODEL, tx=TX, options=options
            )
            losses.append(float(totals.mean_loss()))
        return losses

    def gradient(self):
        """That of the last step, as one row of numbers."""
        return flat(self.where.fetch(self.state.opt_state[0]))


def flat(tree):
    return np.concatenate([x.ravel() for x in leaves(tree)])


def restore(store, where, state):
    """The latest step on other devices."""
    shapes = jax.eval_shape(lambda: state)
    restored = store.restore(shapes.params, (shapes.opt_state, shapes.skipped))
    step = np.int32(restored.step)
    tree = state.replace(
        step=step,
        params=restored.params,
        opt_state=restored.training[0],
        skipped=restored.training[1],
    )
    run = Run(where)
    run.state = where.place_state(tree)
    return run, tree


def save(store, run):
    state = run.where.fetch(run.state)
    training = (state.opt_state, state.skipped)
    store.save(int(state.step), state.params, training, {}, loss=None)


# --- the children -------------------------------------------------------------------


def child_with_eight_devices(folder):
    told = {"described": Devices.of("cpu").describe(), "programs": []}
    gradients, losses, runs = {}, {}, {}
    for count in (1, 2, 8):
        run = runs[count] = Run(Devices.over(jax.devices()[:count]))
        before = train_step._cache_size()
        losses[count] = run.train([0])
        gradients[count] = run.gradient()
        losses[count] += run.train(range(1, 50))
        told["programs"].append(train_step._cache_size() - before)
    same_bits(runs[8].where)
    stays_whole(runs[8].where)
    told["travelled"] = travel(folder, runs[1].where, runs[8])
    told["stayed"] = runs[8].train([50, 51])
    np.savez(folder / "gradients", **{str(n): g for n, g in gradients.items()})
    (folder / "told.json").write_text(
        json.dumps({**told, "losses": losses}), encoding="utf-8"
    )


def same_bits(where):
    """Dropout's bits do not depend on where they are made."""
    rows = jax.sharding.NamedSharding(where.mesh, jax.sharding.PartitionSpec("rows"))

    def bits(key):
        return hash_bits(key, (16, 8))

    key = jax.random.key(3)
    spread = jax.jit(bits, out_shardings=rows)(where.place_state(key))
    assert spread.sharding.shard_shape(spread.shape) == (2, 8)
    np.testing.assert_array_equal(spread, jax.jit(bits)(key))


def stays_whole(where):
    """What a step returns lies on each device whole, where it is asked to."""

    @jax.jit
    def twice(x, state):
        return x + 1, stay_whole(x + 1, like=state)

    batch = where.place_batch(np.ones((8, 2)))
    spread, whole = twice(batch, where.place_state(np.ones(3)))
    assert whole.is_fully_replicated and not spread.is_fully_replicated
    batch, state = np.ones((8, 2)), np.ones(3)
    np.testing.assert_array_equal(twice(batch, state)[1], whole)  # on one device


def travel(folder, one, run):
    """The losses of a step on one device and one on eight again, after a save each."""
    with CheckpointStore(folder / "run") as store:
        save(store, run)
        single, loaded = restore(store, one, run.state)
        for x, y in zip(leaves(loaded), leaves(run.state), strict=True):
            np.testing.assert_array_equal(x, y)
        losses = single.train([50])
        save(store, single)
        back, loaded = restore(store, run.where, run.state)
        before = [x.copy() for x in leaves(loaded)]
        losses += back.train([51])
        # The step reuses the memory of its state, not that of the host's arrays.
        for x, y in zip(leaves(loaded), before, strict=True):
            np.testing.assert_array_equal(x, y)
    return losses


def child_host(folder):
    join_hosts(True, timeout=60)
    join_hosts(True)  # again: nothing happens
    where = Devices.of("cpu")
    assert jax.config.jax_default_device in where.local and len(where.local) == 1
    run = Run(where)
    losses = run.train([0])
    gradient = run.gradient()
    losses += run.train(range(1, 5))
    me = jax.process_index()
    assert train_step._cache_size() == 1
    told = {
        "described": where.describe(),
        "rows": where.rows(15),
        "writes": where.writes,
        "asked": [bool(where.any_host(False)), bool(where.any_host(me == 1))],
        "losses": losses,
    }
    np.savez(
        folder / f"host{me}",
        gradient=gradient,
        params=flat(where.fetch(run.state.params)),
    )
    if where.writes:  # the other does not wait for it
        with CheckpointStore(folder / "run") as store:
            save(store, run)
    (folder / f"host{me}.json").write_text(json.dumps(told), encoding="utf-8")


def start_child(name, folder, **environment):
    # Its numbers are the same with less optimised code, which compiles in half the
    # time.
    flags = "--xla_llvm_disable_expensive_passes=true"
    flags += " --xla_force_host_platform_device_count="
    return subprocess.Popen(
        [sys.executable, __file__, name, folder],
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("JAX_")},
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": flags + ("8" if "eight" in name else "1"),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )


def wait_for(*children):
    try:
        output = [child.communicate(timeout=300)[0] for child in children]
    finally:
        for child in children:
            child.kill()
    for child, text in zip(children, output, strict=True):
        assert child.returncode == 0, text[-3000:]


# --- one, two and eight devices -----------------------------------------------------


@pytest.fixture(scope="module")
def on_devices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    wait_for(start_child("child_with_eight_devices", folder))
    told = json.loads((folder / "told.json").read_text(encoding="utf-8"))
    return told, np.load(folder / "gradients.npz")


@pytest.mark.parametrize("count", ["2", "8"])
def test_the_first_gradient_and_fifty_losses_are_those_of_one_device(on_devices, count):
    told, gradients = on_devices
    one, several = gradients["1"], gradients[count]
    assert np.linalg.norm(several - one) <= 1e-6 * np.linalg.norm(one)
    losses = told["losses"]
    assert len(losses["1"]) == 50 and losses["1"][-1] < losses["1"][0] - 0.05
    np.testing.assert_allclose(losses[count], losses["1"], rtol=1e-4)


def test_a_step_compiles_once_wherever_its_state_comes_from(on_devices):
    """From the start, and from its own output."""
    assert on_devices[0]["programs"] == [1, 1, 1]


def test_a_checkpoint_of_eight_devices_loads_on_one_and_back(on_devices):
    told, _ = on_devices
    assert told["described"] == "8 x CPU"
    np.testing.assert_allclose(told["travelled"], told["stayed"], rtol=1e-4)


def test_two_hosts_train_as_one(on_devices, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    wait_for(
        *(
            start_child(
                "child_host",
                tmp_path,
                JAX_COORDINATOR_ADDRESS=address,
                JAX_NUM_PROCESSES="2",
                JAX_PROCESS_ID=str(number),
            )
            for number in (1, 0)
        )
    )
    told, gradients = on_devices
    hosts = [
        json.loads((tmp_path / f"host{i}.json").read_text(encoding="utf-8"))
        for i in (0, 1)
    ]
    arrays = [np.load(tmp_path / f"host{i}.npz") for i in (0, 1)]
    assert [host["writes"] for host in hosts] == [True, False]
    for host in hosts:
        assert host["described"] == "2 x CPU, 2 hosts" and host["rows"] == 16
        assert host["asked"] == [False, True]
        np.testing.assert_allclose(host["losses"], told["losses"]["1"][:5], rtol=1e-4)
    one, several = gradients["1"], arrays[0]["gradient"]
    assert np.linalg.norm(several - one) <= 1e-6 * np.linalg.norm(one)
    np.testing.assert_array_equal(arrays[0]["params"], arrays[1]["params"])
    saved = load_params(tmp_path / "run", "latest")
    assert saved.step == 5
    np.testing.assert_array_equal(flat(saved.params), arrays[0]["params"])


def test_one_device_costs_nothing():
    where = Devices.of("cpu")
    batch = batch_of(0)
    assert where.place_batch(batch) is batch
    fresh = jnp.ones(3)
    assert where.place_state([fresh])[0].unsafe_buffer_pointer() == (
        fresh.unsafe_buffer_pointer()
    )
    assert where.any_host(True) is True and where.any_host(False) is False
    assert (where.count, where.num_hosts, where.writes) == (1, 1, True)
    assert where.rows(7) == 7 and where.local == jax.devices()


def test_rows_are_a_multiple_of_the_devices():
    mesh = jax.sharding.AbstractMesh((8,), ("rows",))
    assert [Devices(mesh).rows(n) for n in (1, 8, 9, 64)] == [8, 8, 16, 64]


def test_hosts_that_cannot_be_joined_are_one_sentence(monkeypatch):
    join_hosts(False)
    monkeypatch.setattr(jax.config, "update", lambda name, value: None)
    for name in ("ADDRESS", "NUM_PROCESSES", "PROCESS_ID"):
        prefix = "JAX_COORDINATOR_" if name == "ADDRESS" else "JAX_"
        monkeypatch.delenv(prefix + name, raising=False)

    def initialize(**kwargs):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(
        InputError, match=r"should be defined.*give each JAX_COORDINATO"
    ):
        join_hosts(True)
    monkeypatch.setenv("JAX_PROCESS_ID", "one")
    with pytest.raises(InputError, match="JAX_PROCESS_ID must be a whole number"):
        join_hosts(True)
    # Port 1 of this machine: nobody is there.
    monkeypatch.setenv("JAX_PROCESS_ID", "1")
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "127.0.0.1:1")
    with pytest.raises(InputError, match=r"no answer from 127\.0\.0\.1:1 in 0 s"):
        join_hosts(True, timeout=0)


# --- one device ---------------------------------------------------------------------


def test_a_version_that_is_silently_wrong_is_refused():
    """Rows N17 and P1: the sentence names the fix."""
    check_versions()
    with pytest.raises(InputError, match=r"pip install 'jax>=0.10.1,!=0.10.2'"):
        check_versions("0.10.2")


def test_the_cpu_is_there_and_named():
    assert describe_device(choose_device("cpu")) == "CPU"
    assert choose_device("auto") == jax.devices()[0]
    assert 1 <= cpu_count() <= os.cpu_count()


def test_a_gpu_that_is_not_there_is_one_sentence():
    """Row P2."""
    # Not a mark: a host must join the others before anything asks for a device.
    if jax.default_backend() == "gpu":
        pytest.skip("there is a GPU here")
    with pytest.raises(InputError, match="found only CPU: install the extra 'cuda'"):
        choose_device("gpu")


# --- memory -------------------------------------------------------------------------


def test_the_memory_of_a_program_counts_what_is_written_in_place_once():
    x = jnp.zeros(1000)
    plain = jax.jit(lambda x: x + 1).lower(x).compile()
    in_place = jax.jit(lambda x: x + 1, donate_argnums=0).lower(x).compile()
    assert (memory_of(plain), memory_of(in_place)) == (8000, 4000)


def make_machine(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


MEMINFO = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n"}
V2 = {
    **MEMINFO,
    "proc/self/cgroup": "0::/a/b\n",
    "sys/fs/cgroup/a/b/memory.max": "max\n",
    "sys/fs/cgroup/a/memory.max": "3000000\n",
    "sys/fs/cgroup/a/memory.current": "1000000\n",
    "sys/fs/cgroup/a/memory.stat": "anon 5\nactive_file 7\ninactive_file 400000\n",
}
V1 = {
    **MEMINFO,
    "proc/self/cgroup": "8:pids:/\n4:cpu,memory:/docker/x\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "500000\n",
}
NO_LIMIT = {**V1, "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [(MEMINFO, 8_192_000), (V2, 2_400_000), (V1, 1_500_000), (NO_LIMIT, 8_192_000)],
    ids=["no container", "v2", "v1", "v1 without a limit"],
)
def test_the_memory_of_a_container_is_what_is_left_of_its_limit(
    tmp_path, files, expected
):
    device = jax.devices("cpu")[0]
    assert device_memory(device, root=make_machine(tmp_path, files)) == expected


def test_this_machine_has_memory_and_each_of_its_devices_a_part():
    where = Devices.of("cpu")
    assert 2**24 < where.memory() < 2**50


def test_what_does_not_fit_says_what_to_lower():
    check_memory(10, 10, what="a step")
    check_memory(10, None, what="a step")
    with pytest.raises(
        InputError,
        match=r"^a step needs 3.1 GB .* but 12 MB can .*--train.batch-sentences or "
        r"--train.batch-tokens .*--train.accumulate .*--model.max-length",
    ):
        check_memory(3_100_000_000, 12_000_000, what="a step")


# --- kept programs ------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Turns the cache on in a folder; afterwards JAX is as it was."""
    names = [
        "jax_compilation_cache_dir",
        "jax_compilation_cache_max_size",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    ]
    before = {name: getattr(jax.config, name) for name in names}
    monkeypatch.setenv("FLAXFORMER_MT_CACHE", str(tmp_path / "cache"))
    notes = []

    def enable():
        notes.clear()
        return enable_compilation_cache(jax.devices()[0], note=notes.append), notes

    yield enable
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def compute():
    """A program that is compiled, or loaded, at every call."""

    def kept_program(x):
        return jax.nn.softmax(x @ x.T) @ jnp.sin(x)

    x = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
    with CompileCount() as count:
        out = np.asarray(jax.jit(kept_program)(x))
    kinds = {"compiled": count.compiled, "loaded": count.loaded}
    assert count.seconds > 0
    return out, {kind: c["kept_program"] for kind, c in kinds.items()}


def test_a_kept_program_gives_the_same_bits_and_no_word_on_stderr(cache, capfd):
    fresh, counted = compute()
    assert counted == {"compiled": 1, "loaded": 0}
    folder, notes = cache()
    assert notes == [] and folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    kept, counted = compute()
    assert counted == {"compiled": 1, "loaded": 0}
    loaded, counted = compute()
    assert counted == {"compiled": 0, "loaded": 1}
    np.testing.assert_array_equal(kept, fresh)
    np.testing.assert_array_equal(loaded, fresh)
    assert capfd.readouterr() == ("", "")
    assert cache() == (folder, [])  # a second run in the same process


@pytest.mark.parametrize("level", ["folder", "above"])
def test_a_folder_that_others_can_write_to_is_not_used(cache, level):
    folder, _ = cache()
    (folder if level == "folder" else folder.parent.parent).chmod(0o777)
    used, notes = cache()
    assert used is None and "can be written by other users" in notes[0]
    assert jax.config.jax_compilation_cache_dir is None


def test_a_folder_of_another_user_is_not_used(cache, monkeypatch):
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    used, notes = cache()
    assert used is None and "belongs to another user" in notes[0]


def test_no_cache_is_used_where_none_is_wanted(cache, monkeypatch):
    monkeypatch.setenv("FLAXFORMER_MT_CACHE", "")
    assert cache() == (None, [])


def test_the_cache_is_found_where_the_system_keeps_such_things(cache, monkeypatch):
    monkeypatch.delenv("FLAXFORMER_MT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/there")
    folder = devices._cache_folder()
    assert folder.parent == Path("/there/flaxformer-mt/xla")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    parent = devices._cache_folder().parent
    assert parent == Path("/home/me/.cache/flaxformer-mt/xla")


def test_a_folder_given_to_jax_is_left_as_it_is(cache, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    assert cache() == (tmp_path, [])
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_cannot_be_written_costs_the_cache_and_no_more(
    cache, tmp_path, monkeypatch
):
    (tmp_path / "cache").write_bytes(b"")  # a file is in the way
    used, notes = cache()
    assert used is None and "directory" in notes[0].lower()
    (tmp_path / "cache").unlink()
    full = types.SimpleNamespace(free=0)
    with monkeypatch.context() as patched:
        patched.setattr(devices.shutil, "disk_usage", lambda path: full)
        used, notes = cache()
    assert used is None and "almost full" in notes[0]
    assert compute()[1] == {"compiled": 1, "loaded": 0}


def test_a_cache_that_breaks_later_is_compiled_around(cache):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folder, _ = cache()
        compute()
        for path in folder.glob("*-cache"):
            path.write_bytes(path.read_bytes()[:-100])
        assert compute()[1] == {"compiled": 1, "loaded": 0}  # a damaged program
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        assert compute()[1] == {"compiled": 1, "loaded": 0}  # no folder


def test_half_a_program_of_a_killed_process_is_removed(cache):
    folder, _ = cache()
    compute()
    whole = sorted(path.name for path in folder.iterdir())
    (folder / "jit_f-12-cache").write_bytes(b"half")
    (folder / "jit_g-34-atime").write_bytes(b"12345678")
    cache()
    assert sorted(path.name for path in folder.iterdir()) == whole
    assert compute()[1] == {"compiled": 0, "loaded": 1}


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
