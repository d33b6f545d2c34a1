"""Compiled programs are kept safely, and counted."""

import os
import types
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from flaxformer_mt.training import programs
from flaxformer_mt.training.programs import CompileCount, enable_compilation_cache


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
    folder = programs._cache_folder()
    assert folder.parent == Path("/there/flaxformer-mt/xla")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    parent = programs._cache_folder().parent
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
        patched.setattr(programs.shutil, "disk_usage", lambda path: full)
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
