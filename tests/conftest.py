"""Strict numbers, checked shapes, no network, and one tiny model for all rooms."""

import gc
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Shapes on signatures are checked here, and only here: a hook costs time at each call.
from jaxtyping import install_import_hook

install_import_hook(
    [
        "flaxformer_mt.model.masks",
        "flaxformer_mt.model.attention",
        "flaxformer_mt.model.dropout",
        "flaxformer_mt.model.transformer",
        "flaxformer_mt.training.loss",
        "flaxformer_mt.decoding.filters",
    ],
    "beartype.beartype",
)

# Tests may be run beside a training: they take the CPU, and leave a GPU alone.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Their numbers are the same with less optimised code, which compiles in a third of the
# time. A later XLA that does not know one of the flags would refuse to start with it.
FLAGS = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false"
)


def _are_known(flags: str) -> bool:
    environment = {**os.environ, "XLA_FLAGS": flags}
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    return not subprocess.run(command, env=environment, capture_output=True).returncode


if "XLA_FLAGS" not in os.environ:  # asked once: the workers of xdist inherit it
    os.environ["XLA_FLAGS"] = FLAGS if _are_known(FLAGS) else ""
PREFIX = "flaxformer-mt-tests-"
# Compiled programs are kept for the tests that follow, their child processes too, and
# not among those of the person.
if not Path(os.environ.get("FLAXFORMER_MT_CACHE", "")).name.startswith(PREFIX):
    _CACHE = tempfile.TemporaryDirectory(prefix=PREFIX)
    os.environ["FLAXFORMER_MT_CACHE"] = _CACHE.name

import hypothesis
import jax
import numpy as np
import pytest

from flaxformer_mt.config import ModelConfig
from flaxformer_mt.model.transformer import Transformer, init_params, make_model
from flaxformer_mt.text.batching import Batch, Shape, SpecialIds, make_batch

jax.config.update("jax_numpy_rank_promotion", "raise")
# A slow machine is no failure: speed belongs in benchmarks.
hypothesis.settings.register_profile("flaxformer_mt", deadline=None)
hypothesis.settings.load_profile("flaxformer_mt")

ROOT = Path(__file__).resolve().parent.parent

PAD, BOS, EOS, UNK, V = 0, 1, 2, 3, 12
SPECIALS = SpecialIds(src_eos=EOS, src_pad=PAD, tgt_bos=BOS, tgt_eos=EOS, tgt_pad=PAD)
PAIRS = [([4, 5, 6], [7, 8, 9, 10]), ([6, 5, 4, 11, 10], [9, 4])]


# Files that take minutes, in the order in which they are begun: of two processes, none
# is to begin one of them when the other is about to end.
SLOW_FILES = (
    *("test_kill_runs", "test_browser", "test_train", "test_translator"),
    *(
        "test_distributed",
        "test_prepare",
        "test_notebooks",
        "test_devices",
        "test_step",
    ),
    *("test_beam_search", "test_search", "test_checkpoints", "test_resume"),
)


def pytest_configure(config: pytest.Config) -> None:
    """Has pytest-xdist keep the order of the files."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first."""
    order = {name: i for i, name in enumerate(SLOW_FILES)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection but to this machine fails (row P6 of the fault table)."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        local = isinstance(address, (str, bytes)) or address[0] in ("127.0.0.1", "::1")
        if not local:
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def _resident() -> int:
    """Bytes of this process; 0 where nothing tells."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 if statm.is_file() else 0


_room = {"until": 2 * 2**30}  # bytes


@pytest.fixture(autouse=True, scope="module")
def programs_make_room() -> Iterator[None]:
    """Two processes of tests fit into the memory of a small machine: each forgets its
    programs when it has grown by a gigabyte. (What is freed is not all given back.)"""
    yield
    if _resident() > _room["until"]:
        jax.clear_caches()
        gc.collect()
        _room["until"] = max(_room["until"], _resident() + 2**30)


def tiny_config(**changes: object) -> ModelConfig:
    """A model that compiles in a second."""
    sizes = {
        "max_length": 16,
        "d_model": 16,
        "d_ff": 32,
        "num_heads": 2,
        "dropout_rate": 0.1,
    }
    return ModelConfig(**{**sizes, **changes})


def tiny_batch(width: int = 8, rows: int | None = None) -> Batch:
    """Two pairs, padded to a width and to a number of rows."""
    return make_batch(PAIRS, Shape(rows or len(PAIRS), width, width), SPECIALS)


@pytest.fixture(scope="session", params=["pre", "post"])
def model(request: pytest.FixtureRequest) -> Transformer:
    """The tiny model, with either place of the norms."""
    config = tiny_config(norm=request.param)
    return make_model(config, src_vocab_size=V, tgt_vocab_size=V)


@pytest.fixture(scope="session")
def params(model: Transformer) -> dict:
    """Its fresh parameters."""
    return init_params(model, jax.random.key(0))


def leaves(tree: object) -> list[np.ndarray]:
    """The arrays of a pytree, on the host."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
