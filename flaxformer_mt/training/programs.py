"""Compiled programs: kept for the next start in a folder of the user's own, and
counted."""

import contextlib
import hashlib
import os
import platform
import re
import shutil
import stat
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import filelock
import jax
from jax.experimental.compilation_cache import compilation_cache

from flaxformer_mt.errors import first_line_of

MAX_CACHE_BYTES = 512 * 2**20
MIN_FREE_BYTES = 64 * 2**20  # on the disk: a cache is no reason to fill it


def enable_compilation_cache(
    device: jax.Device, *, note: Callable[[str], None]
) -> Path | None:
    """The folder where compiled programs are kept for the next start; None without one.

    It is `flaxformer-mt/xla` in XDG_CACHE_HOME (~/.cache), or FLAXFORMER_MT_CACHE, in
    which an empty value means none; a folder that was given to JAX itself
    (JAX_COMPILATION_CACHE_DIR) is left as it is. A program in it is machine code that
    will be run, so the folder has to be this user's alone. Whatever goes wrong with it,
    programs are compiled as if it were not there; it can be deleted at any time.

    Args:
      device: what will be computed on, already chosen.
      note: is told, in one sentence, why there is no cache where one was wanted.
    """
    given = jax.config.jax_compilation_cache_dir
    if given and Path(given) not in _enabled:
        folder = Path(given)
    else:
        folder = _own_cache(note)
        _use_cache(folder)
    if folder:
        # JAX warns, at each program, of a cache that it cannot read or write.
        ignored = r"Error (reading|writing) persistent compilation cache"
        warnings.filterwarnings("ignore", ignored, UserWarning)
        if device.platform == "cpu":
            _silence_cpu_loader()
    return folder


_enabled: set[Path] = set()  # by this process


def _own_cache(note: Callable[[str], None]) -> Path | None:
    """The folder, ready to be used; None where there is none to be, or cannot be."""
    try:
        folder = _cache_folder()
        if folder is not None:
            _make_own_folder(folder)
            _mend_cache(folder)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or first_line_of(error)
        note(
            f"compiled programs are not kept for the next start: {reason}; give "
            "another folder in FLAXFORMER_MT_CACHE."
        )
        return None
    return folder


def _cache_folder() -> Path | None:
    asked = os.environ.get("FLAXFORMER_MT_CACHE")
    if asked == "":
        return None
    if asked is None:
        base = os.environ.get("XDG_CACHE_HOME", "")
        # The specification says to ignore a relative path.
        base = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
        asked = base / "flaxformer-mt" / "xla"
    # XLA:CPU runs a program that was compiled for another processor, if it meets one,
    # until an instruction is unknown: a home may be on machines of several kinds.
    return Path(os.path.abspath(os.path.expanduser(asked))) / _machine()


def _machine() -> str:
    """A name for this kind of processor, the same on all machines that have it."""
    cpuinfo = ""
    with contextlib.suppress(OSError):  # only Linux has it
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    cpuinfo = cpuinfo.split("\n\n")[0]
    kind = re.findall(
        r"^(?:model name|flags|Features|CPU part)\s*:.*", cpuinfo, re.MULTILINE
    )
    text = "\n".join([platform.system(), platform.processor(), *kind])
    return f"{platform.machine()}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _make_own_folder(folder: Path) -> None:
    """Raises RuntimeError, or OSError, for a folder that others could put a program in,
    and for one that takes no file."""
    for missing in reversed([p for p in (folder, *folder.parents) if not p.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    for path in (folder, *folder.parents) if hasattr(os, "getuid") else ():
        _refuse_shared(path, is_own=path in (folder, folder.parent))
    if shutil.disk_usage(folder).free < MIN_FREE_BYTES:
        raise RuntimeError(f"the disk of {folder} is almost full")
    probe = folder / f"probe-{os.getpid()}"
    try:
        probe.write_bytes(b"can be written")
    finally:
        probe.unlink(missing_ok=True)


def _refuse_shared(path: Path, *, is_own: bool) -> None:
    """Raises RuntimeError where another user could put a folder of theirs, or a file,
    in the place of ours.

    is_own: a folder of this cache; one that it lies in has to be no stricter than /tmp.
    """
    about = path.stat()
    if is_own and about.st_uid != os.getuid():
        raise RuntimeError(f"{path} belongs to another user")
    group = stat.S_IWGRP if is_own else 0
    is_sticky = about.st_mode & stat.S_ISVTX and not is_own
    if about.st_mode & (stat.S_IWOTH | group) and not is_sticky:
        raise RuntimeError(f"{path} can be written by other users (chmod go-w)")


def _mend_cache(folder: Path) -> None:
    """Removes what a process left that was killed, or had no room, while it wrote.

    JAX writes a program and then the time of its last use. A program without a time
    may be half of one, and JAX's eviction fails for good at the first that it meets.
    """
    with filelock.FileLock(folder / ".lockfile", timeout=10):  # JAX's own
        names = {path.name for path in folder.iterdir()}
        for name in names:
            stem, _, kind = name.rpartition("-")
            other = {"cache": "atime", "atime": "cache"}.get(kind)
            if other and f"{stem}-{other}" not in names:
                (folder / name).unlink(missing_ok=True)


def _use_cache(folder: Path | None) -> None:
    name = str(folder) if folder else None
    if jax.config.jax_compilation_cache_dir != name:
        compilation_cache.reset_cache()  # another one may be open
    jax.config.update("jax_compilation_cache_dir", name)
    if folder is None:
        return
    _enabled.add(folder)
    # Every program: dozens of small ones at a start take as long as a large one.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # With a bound JAX holds a lock while it reads or writes, and drops what was not
    # used for longest.
    jax.config.update("jax_compilation_cache_max_size", MAX_CACHE_BYTES)


def _silence_cpu_loader() -> None:
    """XLA:CPU writes 4 kB of false alarm to stderr for each program that it loads on a
    processor with AVX-512 (jax-ml/jax#38445). Its other errors come as exceptions."""
    before = jax.config.jax_logging_level
    jax.config.update("jax_logging_level", "CRITICAL")  # of XLA, and of JAX's loggers
    jax.config.update("jax_logging_level", before)  # of JAX's loggers


class CompileCount:
    """Programs that were compiled, or loaded, while it was open, by name:
    `with CompileCount() as count: ...; count.compiled["train_step"]`."""

    def __init__(self) -> None:
        self.compiled: Counter[str] = Counter()
        self.loaded: Counter[str] = Counter()  # from the cache of an earlier start
        self.seconds = 0.0  # both together
        self._thread = threading.local()

    def __enter__(self) -> "CompileCount":
        jax.monitoring.register_event_listener(self._hit)
        jax.monitoring.register_event_duration_secs_listener(self._done)
        return self

    def __exit__(self, *exception: object) -> None:
        jax.monitoring.unregister_event_listener(self._hit)
        jax.monitoring.unregister_event_duration_listener(self._done)

    def _hit(self, event: str, **about: object) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            self._thread.hit = True  # of the program whose end comes next

    def _done(self, event: str, seconds: float, **about: object) -> None:
        if event != "/jax/core/compile/backend_compile_duration":
            return
        name = str(about.get("fun_name", "")).removeprefix("jit(").removesuffix(")")
        was_hit = getattr(self._thread, "hit", False)
        self._thread.hit = False
        (self.loaded if was_hit else self.compiled)[name] += 1
        self.seconds += seconds
