"""Where the numbers are computed: devices and hosts, their memory, compiled programs.

A run has one `Mesh` over all of its devices. The rows of a batch are spread over it and
everything else lies on each device whole; what has to be sent between devices XLA finds
out by itself (GSPMD, Xu et al. 2021).
"""

import contextlib
import dataclasses
import functools
import hashlib
import os
import platform
import re
import shutil
import socket
import stat
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import filelock
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flaxformer_mt.errors import InputError

Device = Literal["auto", "cpu", "gpu"]
Tree = TypeVar("Tree")

# Versions that compute wrong numbers without saying so (jax-ml/jax#39103).
BAD_JAX_VERSIONS = ("0.10.2",)


def check_versions(jax_version: str = jax.__version__) -> None:
    """Raises InputError for a version of JAX that is known to be wrong."""
    if jax_version in BAD_JAX_VERSIONS:
        raise InputError(
            f"jax {jax_version} is known to return wrong results on the CPU: install "
            "another, as in pip install 'jax>=0.10.1,!=0.10.2'."
        )


# --- one device ---------------------------------------------------------------------


def choose_device(wanted: Device) -> jax.Device:
    """The device of this host to compute on, made JAX's default.

    auto takes a GPU where JAX has one and the CPU elsewhere.

    Raises:
      InputError: a GPU is asked for and JAX finds none.
    """
    try:
        # Of this host: jax.devices() begins with those of host 0.
        backend = "cpu" if wanted == "cpu" else None
        device = jax.local_devices(backend=backend)[0]
    except RuntimeError as error:
        raise InputError(
            f"JAX cannot start a device ({_first_line(error)}): unset JAX_PLATFORMS, "
            "or check the driver."
        ) from error
    if wanted == "gpu" and device.platform != "gpu":
        raise InputError(
            "--device gpu needs a GPU that JAX can use; it found only "
            f"{describe_device(device)}: install the extra 'cuda' and check the "
            "driver, or use --device cpu."
        )
    jax.config.update("jax_default_device", device)
    return device


def describe_device(device: jax.Device) -> str:
    """The device in words: "GPU (NVIDIA H100)" or "CPU"."""
    if device.platform == "cpu":
        return "CPU"
    return f"{device.platform.upper()} ({device.device_kind})"


def cpu_count() -> int:
    """How many processors the scheduler lets this process use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


ROWS_WORTH_A_CORE = 8  # of a batch; with fewer, a core waits more than it works


def divide_cpu(cores: int, *, rows: int) -> int:
    """How many cores of the CPU a training is to use, each a device of JAX's: their
    number if it is given (not 0), else as many as there are, and as a batch of so many
    rows keeps busy.

    Two cores that each take half of the rows need two thirds of the time that they
    need together for each matrix product in turn. Must come before anything touches a
    device; afterwards, the devices that there are stay.
    """
    wanted = cores or min(cpu_count(), max(rows // ROWS_WORTH_A_CORE, 1))
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return cores  # the person has divided it
    # Once devices are there, JAX refuses.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", wanted)
    return wanted


# --- all devices of a run -----------------------------------------------------------


def join_hosts(distributed: bool, *, timeout: int = 300) -> None:
    """Returns once all processes of a distributed run have found each other.

    Slurm, Open MPI, Kubernetes and cloud TPUs tell JAX where its processes are; plain
    machines do by JAX_COORDINATOR_ADDRESS (host:port of process 0), JAX_NUM_PROCESSES
    and JAX_PROCESS_ID. Must come before anything touches a device.

    Args:
      timeout: seconds to wait for the others.

    Raises:
      InputError: nothing says where the processes are, or one of them did not come.
    """
    if not distributed or jax.distributed.is_initialized():
        return
    # It would take SIGTERM for itself, on which a run saves and stops.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        # JAX reads the address from the environment, but not these two.
        num_processes = _number_in("JAX_NUM_PROCESSES")
        process_id = _number_in("JAX_PROCESS_ID")
        if process_id:
            _wait_for_coordinator(os.environ.get("JAX_COORDINATOR_ADDRESS"), timeout)
        jax.distributed.initialize(
            num_processes=num_processes,
            process_id=process_id,
            initialization_timeout=timeout,
        )
    except InputError:
        raise
    except Exception as error:  # each way to start processes has errors of its own
        raise InputError(
            f"--distributed could not join the hosts of the run ({_first_line(error)})"
            ": start one process a host under Slurm or Open MPI, or give each "
            "JAX_COORDINATOR_ADDRESS (host:port of process 0), JAX_NUM_PROCESSES and "
            "JAX_PROCESS_ID (from 0)."
        ) from error


def _number_in(variable: str) -> int | None:
    text = os.environ.get(variable, "")
    if text and not text.isdecimal():
        raise InputError(f"{variable} must be a whole number, 0 or more; got {text!r}.")
    return int(text) if text else None


def _wait_for_coordinator(address: str | None, timeout: float) -> None:
    """Raises OSError where nobody answers: JAX would end the process with a dump."""
    host, separator, port = (address or "").rpartition(":")
    end = time.monotonic() + timeout
    while separator:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise OSError(f"no answer from {address} in {timeout} s") from error
            time.sleep(0.2)


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0].rstrip(". ")


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices of a run, on all of its hosts.

    With a single device nothing is placed anywhere: it is JAX's default, arrays go
    there as they always do, and a step costs what it costs without this class.
    """

    mesh: Mesh  # of one axis, "rows"

    @classmethod
    def of(cls, wanted: Device, *, cores: int = 0) -> "Devices":
        """All devices of a kind; of this host, the first becomes JAX's default.

        Args:
          cores: of a CPU on one host, only so many; 0: all.

        Raises:
          InputError: see choose_device.
        """
        first = choose_device(wanted)
        devices = jax.devices(first.platform)
        if first.platform == "cpu" and cores and jax.process_count() == 1:
            devices = devices[:cores]
        return cls.over(devices)

    @classmethod
    def over(cls, devices: list[jax.Device]) -> "Devices":
        """Exactly these devices."""
        return cls(Mesh(np.array(devices), ("rows",)))

    @property
    def count(self) -> int:
        """Devices on all hosts together."""
        return self.mesh.size

    @property
    def by_core(self) -> bool:
        """Whether these are the cores of a CPU, each a device of its own."""
        return self.count > 1 and self.mesh.devices.flat[0].platform == "cpu"

    @property
    def num_hosts(self) -> int:
        """Hosts (processes) that the devices belong to."""
        return len({device.process_index for device in self.mesh.devices.flat})

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes files and tells of the run."""
        return jax.process_index() == 0

    @property
    def local(self) -> list[jax.Device]:
        """The devices of this host."""
        return list(self.mesh.local_devices)

    def describe(self) -> str:
        """In words: "CPU", "8 x CPU" or "2 x GPU (NVIDIA H100), 2 hosts"."""
        kinds = Counter(map(describe_device, self.mesh.devices.flat))
        text = " + ".join(
            kind if number == 1 else f"{number} x {kind}"
            for kind, number in kinds.items()
        )
        return text if self.num_hosts == 1 else f"{text}, {self.num_hosts} hosts"

    def rows(self, wanted: int) -> int:
        """The rows of a batch that is to have at least `wanted`: each device gets as
        many."""
        return -(-wanted // self.count) * self.count

    def place_batch(self, batch: Tree, *, parts: int = 1) -> Tree:
        """The batch, each device with its part of the rows, filled up with empty rows
        where they do not divide.

        Args:
          batch: arrays [B, ...] on the host; a row of zeros, whose masks are False,
            counts for nothing. Every host has made the whole batch, and takes from it
            what is for its own devices.
          parts: that the step makes of the rows of each device.
        """
        if self.count == 1:
            return batch  # the step itself takes it from the host
        unit = self.count * parts

        def fill(x: np.ndarray) -> np.ndarray:
            return np.pad(x, ((0, -len(x) % unit), *((0, 0),) * (x.ndim - 1)))

        if len(jax.tree.leaves(batch)[0]) % unit:
            batch = jax.tree.map(fill, batch)
        return self._place(batch, NamedSharding(self.mesh, PartitionSpec("rows")))

    def place_state(self, tree: Tree) -> Tree:
        """The tree, whole on each device; every host has to bring the same values.

        Args:
          tree: arrays on the host, or fresh from JAX. They count as given away: the
            step may reuse their memory.
        """
        if self.count == 1:
            return jax.device_put(tree)
        if self.num_hosts == 1:
            return jax.device_put(tree, self._everywhere)
        # Between hosts device_put would send and compare every array.
        return jax.jit(lambda same: same, out_shardings=self._everywhere)(tree)

    def like_placed(self, tree: Tree) -> Tree:
        """The shapes of a tree as place_state would place it, to compile for."""
        if self.count == 1:
            return tree
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self._everywhere),
            tree,
        )

    def _place(self, tree: Tree, sharding: NamedSharding) -> Tree:
        if self.num_hosts == 1:
            return jax.device_put(tree, sharding)

        def place(x: np.ndarray) -> jax.Array:
            return jax.make_array_from_callback(x.shape, sharding, x.__getitem__)

        return jax.tree.map(place, tree)

    @property
    def _everywhere(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())

    def fetch(self, tree: Tree) -> Tree:
        """The same tree with NumPy arrays, from arrays that lie whole on each device;
        no host waits for another."""
        return jax.device_get(tree)

    def any_host(self, flag: bool) -> Any:
        """What is true on every host as soon as `flag` is on one of them.

        On several hosts an array that the device has yet to compute, after the steps
        that it was given before: asking for its truth waits for it. All hosts must ask
        after the same step.
        """
        if self.num_hosts == 1:
            return flag
        flags = np.full(self.count, flag)
        placed = self._place(flags, NamedSharding(self.mesh, PartitionSpec("rows")))
        return _any(placed, everywhere=self._everywhere)

    def memory(self) -> int | None:
        """Bytes that each device of this host can use, None where nobody tells."""
        have = device_memory(self.local[0])
        shared = self.local[0].platform == "cpu"  # one memory for all of them
        return have // len(self.local) if have is not None and shared else have


def stay_whole(tree: Tree, *, like: Any) -> Tree:
    """Inside a jitted step: the tree, whole on every device that `like`, an argument
    placed by place_state, lies on.

    XLA is free to spread an output over the devices; a next step that takes such a one
    for its state would have to be compiled again.
    """
    mesh = jax.typeof(jax.tree.leaves(like)[0]).sharding.mesh
    if mesh.empty:  # one device
        return tree
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.lax.with_sharding_constraint(tree, everywhere)


@functools.partial(jax.jit, static_argnames="everywhere")
def _any(flags: jax.Array, everywhere: NamedSharding) -> jax.Array:
    return jax.lax.with_sharding_constraint(jnp.any(flags), everywhere)


# --- memory -------------------------------------------------------------------------


def memory_of(compiled: jax.stages.Compiled) -> int:
    """Bytes on each device while the program runs, as XLA has planned them: arguments,
    outputs and what lies between, without what it writes in place; 0 where the backend
    does not tell.

    `train_step.lower(...).compile()` is such a program. A call with the same arguments
    afterwards does not compile again.
    """
    plan = compiled.memory_analysis()
    if plan is None:
        return 0
    return (
        plan.argument_size_in_bytes
        + plan.output_size_in_bytes
        - plan.alias_size_in_bytes
        + plan.temp_size_in_bytes
    )


def device_memory(device: jax.Device, *, root: Path = Path("/")) -> int | None:
    """Bytes that JAX can use on a device, None where nobody tells.

    A GPU's are those that JAX has set aside. The CPU's are the memory that is free now
    or can be freed, within the limit of a container; on macOS all that the machine has.

    Args:
      root: where /proc and /sys are.
    """
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    free = _number_after("MemAvailable:", root / "proc/meminfo")
    if free is None:
        with contextlib.suppress(AttributeError, ValueError, OSError):
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return None
    return max(0, min([free * 1024, *_container_memory(root)]))


def _container_memory(root: Path) -> list[int]:
    """Bytes left below each limit that the process is under, cgroup v1 and v2."""
    folders = []
    for line in _read(root / "proc/self/cgroup").split("\n"):
        if line.count(":") < 2:
            continue
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        # A container often has no name for the path outside: then the top is its own.
        own = top / path.lstrip("/")
        folders += [(f, *names) for f in (own, *own.parents) if f.is_relative_to(top)]
    left = []
    for folder, limit, used in folders:
        numbers = [_read(folder / name).strip() for name in (limit, used)]
        if all(number.isdecimal() for number in numbers):  # not "max"
            cached = _number_after("inactive_file ", folder / "memory.stat") or 0
            left.append(int(numbers[0]) - int(numbers[1]) + cached)
    return left


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number_after(word: str, path: Path) -> int | None:
    found = re.search(rf"^{re.escape(word)}\s*(\d+)", _read(path), re.MULTILINE)
    return int(found[1]) if found else None


def check_memory(needed: int, have: int | None, *, what: str) -> None:
    """Raises InputError, saying what to lower, where a program cannot fit.

    Args:
      needed, have: bytes, as from memory_of and Devices.memory; None is let pass.
      what: the program, as in "a step of 64 sentences, 128 wide".
    """
    if have is not None and needed > have:
        raise InputError(
            f"{what} needs {in_gigabytes(needed)} of memory on each device, but "
            f"{in_gigabytes(have)} can be used: lower --train.batch-sentences or "
            "--train.batch-tokens (and raise --train.accumulate by as much, for the "
            "same updates), or lower --model.max-length."
        )


def in_gigabytes(num_bytes: int) -> str:
    """Bytes for a person: "1.4 GB", or "12 MB" where that is less than a tenth."""
    if num_bytes < 1e8:
        return f"{num_bytes / 1e6:.0f} MB"
    return f"{num_bytes / 1e9:,.1f} GB"


# --- compiled programs --------------------------------------------------------------

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
        reason = getattr(error, "strerror", None) or _first_line(error)
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
    cpuinfo = _read(Path("/proc/cpuinfo")).split("\n\n")[0]
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
