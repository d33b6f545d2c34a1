"""A run on one device, on several and on two hosts.

This file run as a script is a child: one with eight simulated devices, or a host.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flaxformer_mt.errors import InputError
from flaxformer_mt.model.transformer import make_model
from flaxformer_mt.text.batching import Shape, make_batch
from flaxformer_mt.training.checkpoints import CheckpointStore, load_params
from flaxformer_mt.training.devices import (
    Devices,
    check_versions,
    choose_device,
    cpu_count,
    describe_device,
    divide_cpu,
    join_hosts,
    stay_whole,
)
from flaxformer_mt.training.step import (
    STEPS_IN_FLIGHT,
    StepOptions,
    eval_step,
    eval_step_apart,
    init_state,
    loss_over,
    train_step,
)
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
# On eight devices of two rows a part is one row, on one device it is six, two of which
# fill up the last part.
OPTIONS = StepOptions(accumulate=3)


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
        losses = []
        for step in steps:
            batch = self.where.place_batch(batch_of(step))
            self.state, totals = train_step(
                self.state, batch, self.key, model=MODEL, tx=TX, options=OPTIONS
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
    told["validation"] = {
        str(count): validation_on(Devices.over(jax.devices()[:count]))
        for count in (1, 2, 8)
    }
    gradients, losses, runs = {}, {}, {}
    for count in (1, 2, 8):
        run = runs[count] = Run(Devices.over(jax.devices()[:count]))
        before = train_step._cache_size()
        losses[count] = run.train([0])
        gradients[count] = run.gradient()
        losses[count] += run.train(range(1, 50))
        told["programs"].append(train_step._cache_size() - before)
    stays_whole(runs[8].where)
    told["travelled"] = travel(folder, runs[1].where, runs[8])
    told["stayed"] = runs[8].train([50, 51])
    np.savez(folder / "gradients", **{str(n): g for n, g in gradients.items()})
    (folder / "told.json").write_text(
        json.dumps({**told, "losses": losses}), encoding="utf-8"
    )


def validation_on(where):
    """(nats a token of many batches, whether a device waits for another on the way)"""
    params = where.place_state(start().params)
    batches = [where.place_batch(batch_of(step)) for step in range(30)]
    loss = loss_over(params, batches, model=MODEL, by_core=where.by_core)
    step = eval_step_apart if where.by_core else eval_step
    program = step.lower(params, batches[0], model=MODEL).compile()
    return loss, "all-reduce" in program.as_text()


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
        "agree": [where.agree(7), where.agree(me)],
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


@pytest.mark.parametrize("count", ["2", "8"])
def test_cores_validate_without_waiting_for_each_other(on_devices, count):
    """Where they did, and many batches were handed over, they waited for ever."""
    told = on_devices[0]["validation"]
    loss, waits = told[count]
    assert loss == pytest.approx(told["1"][0], rel=1e-5)
    assert not waits


def test_few_batches_of_a_validation_are_under_way_at_a_time(monkeypatch):
    handed_over = []

    class Sum:
        def __init__(self):
            self.nats = self.num_tokens = self
            self.is_ready = False
            handed_over.append(self)

        def block_until_ready(self):
            self.is_ready = True

    most = []

    def step(*_, **__):
        made = Sum()
        most.append(sum(not one.is_ready for one in handed_over))
        return made

    monkeypatch.setattr("flaxformer_mt.training.step.eval_step", step)
    monkeypatch.setattr("flaxformer_mt.training.step.mean_of", len)
    assert loss_over(None, range(50), model=MODEL) == 50
    assert max(most) == STEPS_IN_FLIGHT + 1


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
        assert host["described"] == "2 x CPU, 2 hosts"
        assert host["agree"] == [True, False]
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
    assert where.agree(3) and where.local == jax.devices()


def test_this_machine_has_memory_and_each_of_its_devices_a_part():
    where = Devices.of("cpu")
    assert 2**24 < where.memory() < 2**50


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


def test_who_only_translates_leaves_a_gpu_to_others(monkeypatch):
    name = "XLA_PYTHON_CLIENT_PREALLOCATE"
    monkeypatch.setenv(name, "")  # so that it is put back
    monkeypatch.delenv(name)
    Devices.of("cpu")
    assert name not in os.environ
    choose_device("cpu")
    assert os.environ[name] == "false"
    monkeypatch.setenv(name, "true")  # the person knows better
    choose_device("cpu")
    assert os.environ[name] == "true"


def test_more_cores_than_there_are_is_one_sentence(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    with pytest.raises(InputError, match=rf"at most {cpu_count()}, .* got 9999"):
        divide_cpu(9999, rows=64)


def test_a_gpu_that_is_not_there_is_one_sentence():
    """Row P2."""
    # Not a mark: a host must join the others before anything asks for a device.
    if jax.default_backend() == "gpu":
        pytest.skip("there is a GPU here")
    with pytest.raises(InputError, match="found only CPU: install the extra 'cuda'"):
        choose_device("gpu")


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
