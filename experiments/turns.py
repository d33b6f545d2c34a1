"""Two sides that are timed in turns, each in a process of its own.

    peer = Peer(python, "torch_peer")
    peer.ask("open", config=..., threads=2)
    seconds = in_turns({"ours": timed(step), "torch": lambda: peer.seconds("step")}, 11)
    ratio(seconds, "torch", "ours")

The machine's speed changes from minute to minute, so that only neighbouring runs are
compared: a ratio is the median of those of neighbouring runs.
"""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmark_multi30k import ROOT, facts

THREADS = 2
PAUSE = 0.3  # seconds before a turn: the other side's threads stay awake for a while


def share_cores() -> None:
    """Leaves this process, and those that it starts, the cores that each side gets."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[:THREADS]
        os.sched_setaffinity(0, cores)


class Peer:
    """A peer's process, which answers a JSON line with a JSON line."""

    def __init__(self, python: str, module: str, *names: str) -> None:
        """module: what runs there; see `answer_requests`."""
        command = [python, "-m", f"experiments.{module}", *names]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        try:
            self.process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
        except OSError as error:
            raise SystemExit(f"{python} cannot be run: {error.strerror}.") from error

    def ask(self, do: str, **arguments: Any) -> tuple[Any, float]:
        """(what it answers, the seconds that it needed)."""
        self.process.stdin.write(json.dumps({"do": do, "with": arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(
                "A peer's process has ended; what it said stands above. Give "
                "--torch-python a Python with torch==2.13.0 (and ctranslate2==4.8.5, "
                "where that is beside us)."
            )
        answer = json.loads(line)
        return answer["result"], answer["seconds"]

    def seconds(self, do: str, **arguments: Any) -> float:
        """The seconds that it needed."""
        return self.ask(do, **arguments)[1]


def timed(function: Callable[[], Any]) -> Callable[[], float]:
    """The function, but it returns the seconds that it needed."""

    def run() -> float:
        started = time.perf_counter()
        function()
        return time.perf_counter() - started

    return run


def in_turns(
    sides: dict[str, Callable[[], float]],
    repeats: int,
    pause: float = PAUSE,
    warm_up: int = 2,
) -> dict[str, list[float]]:
    """The seconds of each side's runs, one run a turn, after some that do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(-warm_up, repeats):
        for name, run in sides.items():
            time.sleep(pause)
            spent = run()
            if turn >= 0:
                seconds[name].append(spent)
    return seconds


def ratio(seconds: dict[str, list[float]], theirs: str, ours: str) -> float:
    """How many times as long theirs took: the median over neighbouring runs."""
    pairs = zip(seconds[theirs], seconds[ours], strict=True)
    return float(f"{statistics.median(a / b for a, b in pairs):.4g}")


def milliseconds(
    seconds: dict[str, list[float]], each: float = 1.0
) -> dict[str, float]:
    """The median of each side, in so many parts."""
    return {
        name: float(f"{statistics.median(runs) / each * 1e3:.4g}")
        for name, runs in seconds.items()
    }


def matrix_product_speed(dtype: Any = jnp.float32) -> float:
    """Operations a second of a large product of random numbers on this device, several
    of which are under way at a time."""
    on_gpu = jax.default_backend() != "cpu"
    size, count = (8192, 16) if on_gpu else (2048, 1)
    x = jax.random.normal(jax.random.key(0), (size, size)).astype(dtype)
    product = jax.jit(jnp.matmul)

    def run() -> None:
        jax.block_until_ready([product(x, x) for _ in range(count)])

    return count * 2 * size**3 / min(timed(run)() for _ in range(8))


def write_result(
    name: str,
    measured: dict[str, Any],
    command: list[str],
    *,
    module: str,
    file: Path,
) -> None:
    """Puts one measure among those that were made before.

    command: what was given to the module.
    """
    results = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    results[name] = {
        **facts(),
        "command": f"python -m experiments.{module} " + " ".join(command),
        "threads": THREADS,
        **measured,
    }
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
