"""Where the numbers are computed: the devices of a run, on one host or several.

A run has one `Mesh` over all of its devices. The rows of a batch are spread over it and
everything else lies on each device whole; what has to be sent between devices XLA finds
out by itself (GSPMD, Xu et al. 2021).
"""

import contextlib
import dataclasses
import functools
import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flaxformer_mt.errors import InputError, first_line_of
from flaxformer_mt.training.memory import device_memory

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


def choose_device(wanted: Device, *, alone: bool = False) -> jax.Device:
    """The device of this host to compute on, made JAX's default.

    auto takes a GPU where JAX has one and the CPU elsewhere.

    Args:
      alone: take most of a GPU's memory at once, as JAX does by itself; else only what
        is needed, so that one can translate beside a training.

    Raises:
      InputError: a GPU is asked for and JAX finds none.
    """
    if not alone:  # read when the first device is touched
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        # Of this host: jax.devices() begins with those of host 0.
        backend = "cpu" if wanted == "cpu" else None
        device = jax.local_devices(backend=backend)[0]
    except RuntimeError as error:
        raise InputError(
            f"JAX cannot start a device ({first_line_of(error)}): unset JAX_PLATFORMS, "
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

    Raises:
      InputError: more cores are asked for than there are.
    """
    wanted = cores or min(cpu_count(), max(rows // ROWS_WORTH_A_CORE, 1))
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return cores  # the person has divided it
    if cores > cpu_count():
        raise InputError(
            f"--cores must be at most {cpu_count()}, which this process may use; got "
            f"{cores}."
        )
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
            "--distributed could not join the hosts of the run "
            f"({first_line_of(error)}): start one process a host under Slurm or Open "
            "MPI, or give each JAX_COORDINATOR_ADDRESS (host:port of process 0), "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID (from 0)."
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
        first = choose_device(wanted, alone=True)
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

    def place_batch(self, batch: Tree) -> Tree:
        """The batch, each device with its part of the rows, filled up with empty rows
        where they do not divide.

        Args:
          batch: arrays [B, ...] on the host; a row of zeros, whose masks are False,
            counts for nothing. Every host has made the whole batch, and takes from it
            what is for its own devices.
        """
        if self.count == 1:
            return batch  # the step itself takes it from the host

        def fill(x: np.ndarray) -> np.ndarray:
            return np.pad(x, ((0, -len(x) % self.count), *((0, 0),) * (x.ndim - 1)))

        if len(jax.tree.leaves(batch)[0]) % self.count:
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

    def agree(self, number: int) -> bool:
        """Whether all hosts come with the same number."""
        if self.num_hosts == 1:
            return True
        numbers = np.full(self.count, number, np.int32)
        placed = self._place(numbers, NamedSharding(self.mesh, PartitionSpec("rows")))
        return bool(_all_same(placed, everywhere=self._everywhere))

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
    mesh = _mesh_of(like)
    if mesh is None:
        return tree
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.lax.with_sharding_constraint(tree, everywhere)


def sum_over_rows(
    function: Callable[[Any, Any, jax.Array], Tree], params: Any, batch: Any
) -> Tree:
    """Inside a jitted step: the sum over the devices of what each makes of its rows.

    Args:
      function: of the parameters, a device's rows of the batch, and the number that the
        first of them has in the batch; its results are sums over rows.
      params: placed by place_state. batch: placed by place_batch.
    """

    def add(sums: Tree) -> Tree:
        return jax.lax.psum(sums, "rows")

    whole = PartitionSpec()
    return _over_rows(function, params, batch, after=add, lies=whole)


def apart_over_rows(
    function: Callable[[Any, Any, jax.Array], Tree], params: Any, batch: Any
) -> Tree:
    """Inside a jitted step: what each device makes of its rows, one beside the other,
    [devices, ...]; none of them waits for another.

    Args: as of sum_over_rows. On a single device, what the function returns.
    """

    def put_beside(sums: Tree) -> Tree:
        return jax.tree.map(lambda x: x[None], sums)

    rows = PartitionSpec("rows")
    return _over_rows(function, params, batch, after=put_beside, lies=rows)


def _over_rows(
    function: Callable[[Any, Any, jax.Array], Tree],
    params: Any,
    batch: Any,
    *,
    after: Callable[[Tree], Tree],
    lies: PartitionSpec,
) -> Tree:
    mesh = _mesh_of(params)
    if mesh is None:
        return function(params, batch, jnp.zeros((), jnp.int32))

    def on_one(params: Any, rows: Any) -> Tree:
        first = jax.lax.axis_index("rows") * len(jax.tree.leaves(rows)[0])
        return after(function(params, rows, first))

    return jax.shard_map(
        on_one,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec("rows")),
        out_specs=lies,
        check_vma=False,  # a sum of gradients is what psum makes of them, no more
    )(params, batch)


def _mesh_of(placed: Any) -> Any:
    """The devices that an argument of a jitted function lies on; None: a single one."""
    mesh = jax.typeof(jax.tree.leaves(placed)[0]).sharding.mesh
    return None if mesh.empty else mesh


@functools.partial(jax.jit, static_argnames="everywhere")
def _any(flags: jax.Array, everywhere: NamedSharding) -> jax.Array:
    return jax.lax.with_sharding_constraint(jnp.any(flags), everywhere)


@functools.partial(jax.jit, static_argnames="everywhere")
def _all_same(numbers: jax.Array, everywhere: NamedSharding) -> jax.Array:
    same = jnp.min(numbers) == jnp.max(numbers)
    return jax.lax.with_sharding_constraint(same, everywhere)
