"""How much memory a compiled program takes, and how much there is."""

import contextlib
import os
import re
from pathlib import Path

import jax

from flaxformer_mt.errors import InputError


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
