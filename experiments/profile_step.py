"""Where the time of a training step goes, by kind of operation.

    python -m experiments.profile_step

Takes two steps of each case under JAX's profiler and adds up what XLA's operations took
on each core, by the part of the model that they come from. All-reduce is mostly one
core that waits for the other. Results go to experiments/results/profile.json.
"""

import collections
import glob
import json
import re
import tempfile
from typing import Any

import jax

from experiments.benchmark import (
    CASES,
    ROOT,
    SMALL,
    Case,
    Training,
    model_config,
    random_batch,
)
from experiments.turns import THREADS, share_cores, write_result
from flaxformer_mt.training.devices import divide_cpu

RESULT = ROOT / "experiments" / "results" / "profile.json"
STEPS = 2
# The first that is found in an operation's name is its part.
PARTS = (
    ("all-reduce", ("all-reduce",)),
    ("attention: scores, softmax, reading", ("attend/",)),
    ("attention: projections", ("project_kv", "/query/", "/key/", "/value/", "/out/")),
    ("layer norms", ("norm", "row_mean")),
    ("dropout", ("ropout",)),
    ("feed-forward", ("feed_forward/",)),
    ("output layer and loss", ("/jvp()/", "/transpose(jvp())/")),
    ("embeddings", ("embed", "take")),
)
PROJECTIONS = ("query/", "key/", "value/", "out/")


def names_in(program: str) -> dict[str, str]:
    """The name in the model of each operation of a compiled program. An operation
    without one has that of the last operation of what it calls."""
    names: dict[str, str] = {}
    called: dict[str, str] = {}
    last: dict[str, str] = {}
    computation = ""
    for line in program.splitlines():
        if begin := re.match(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            computation = begin.group(1)
        operation = re.match(r"\s+(?:ROOT )?%([\w.\-]+) = ", line)
        if not operation:
            continue
        if name := re.search(r'op_name="([^"]*)"', line):
            names[operation.group(1)] = last[computation] = name.group(1)
        elif calls := re.search(r"(?:calls|to_apply)=%([\w.\-]+)", line):
            called[operation.group(1)] = calls.group(1)
    for operation, computation in called.items():
        names.setdefault(operation, last.get(computation, ""))
    return names


def part_of(operation: str, name: str) -> str:
    """The part of the model that an operation belongs to."""
    if "attend/" in name and any(layer in name for layer in PROJECTIONS):
        return "attention: projections"
    for part, signs in PARTS:
        if any(sign in operation or sign in name for sign in signs):
            return part
    return "copies, optimizer and the rest"


def profile(case: Case) -> dict[str, Any]:
    """Milliseconds of a step on one core, by part and in all."""
    cfg, vocab_size = model_config(case.preset)
    training = Training(cfg, rows=case.shape.rows)
    batches = [random_batch(case.shape, vocab_size)] * STEPS
    training.run(batches)
    [program] = training.programs.values()
    names = names_in(program.as_text())
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            training.run(batches)
        [file] = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        planes = jax.profiler.ProfileData.from_file(file).planes
        parts: collections.Counter = collections.Counter()
        for plane in planes:
            for line in plane.lines:
                for event in line.events:
                    # A loop's body is counted by itself.
                    if event.name in names and not event.name.startswith("while"):
                        part = part_of(event.name, names[event.name])
                        parts[part] += event.duration_ns
    each = 1e6 * STEPS * training.devices.count
    spent = {part: round(ns / each, 1) for part, ns in parts.most_common()}
    return {"ms_a_core": spent, "sum": round(sum(spent.values()), 1)}


def main() -> None:
    """python -m experiments.profile_step"""
    share_cores()
    jax.config.update("jax_platforms", "cpu")
    divide_cpu(THREADS, rows=THREADS * 8)
    measured = {case.name: profile(case) for case in (*CASES[1:], SMALL)}
    write_result("step", measured, [], module="profile_step", file=RESULT)
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
