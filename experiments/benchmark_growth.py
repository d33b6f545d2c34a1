"""How the cost of training grows: with sentences, batches, corpora and devices.

    python -m experiments.benchmark_growth [--only length batch devices corpus]

length   a step of 16 sentences, 16 to 512 tokens long: time a sentence
batch    a step of 1 to 512 sentences of 32 tokens: time a step
devices  a step of 64 x 48/64 on 1 to 8 devices, simulated on the same cores, each in a
         process of its own: what dividing costs, for no core is added
corpus   `prepare` on 10^4 to 10^7 made-up pairs: time and memory (ten minutes, one and
         a half with `--pairs 10000 100000 1000000`)

Each figure is the median of several steps after a warm-up. The model is `tutorial` as
it is trained, with dropout; its longest sentence is raised to 512.

Results go to experiments/results/growth.json and, as pictures, to
docs/images/growth-*.png; what is not measured anew stays.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from experiments.benchmark import Training, model_config, random_batch
from experiments.benchmark_data import make_corpus, watched
from experiments.benchmark_multi30k import ROOT
from experiments.turns import THREADS, share_cores, write_result
from flaxformer_mt.evaluation import plots
from flaxformer_mt.text.batching import Shape
from flaxformer_mt.training.devices import divide_cpu

RESULT = ROOT / "experiments" / "results" / "growth.json"
IMAGES = ROOT / "docs" / "images"
LENGTHS = (16, 32, 64, 128, 256, 512)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
DEVICES = (1, 2, 4, 8)
CORPORA = (10**4, 10**5, 10**6, 10**7)
REPEATS = 9
DIVIDE = "--xla_force_host_platform_device_count"
SECONDS = 1.0  # at least, of steps that are timed together


def step_seconds(shape: Shape, cores: int = 0) -> float:
    """Median seconds of a step; as in a run, few rows are not divided."""
    cfg, vocab_size = model_config("tutorial")
    cfg = dataclasses.replace(cfg, max_length=max(shape[1:]))
    training = Training(cfg, rows=shape.rows, cores=cores)
    batch = random_batch(shape, vocab_size, smallest=1)

    def run(count: int) -> float:
        started = time.perf_counter()
        training.run([batch] * count)
        return (time.perf_counter() - started) / count

    run(1)
    count = max(round(SECONDS / REPEATS / run(2)), 1)
    return statistics.median(run(count) for _ in range(REPEATS))


def measure_length() -> dict[str, float]:
    """Milliseconds of a step for each length."""
    return {
        str(length): round(1e3 * step_seconds(Shape(16, length, length)), 3)
        for length in LENGTHS
    }


def measure_batch() -> dict[str, float]:
    """Milliseconds of a step for each number of sentences."""
    return {
        str(rows): round(1e3 * step_seconds(Shape(rows, 32, 32)), 3) for rows in BATCHES
    }


def measure_devices() -> dict[str, float]:
    """Milliseconds of a step on so many simulated devices."""
    found = {}
    for count in DEVICES:
        command = [sys.executable, "-m", "experiments.benchmark_growth"]
        done = subprocess.run(
            [*command, "--devices", str(count)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "XLA_FLAGS": f"{DIVIDE}={count}"},
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        found[str(count)] = round(1e3 * float(done.stdout.split()[-1]), 2)
    return found


def measure_corpus(sizes: Sequence[int] = CORPORA) -> dict[str, dict[str, float]]:
    """Seconds and megabytes of `prepare` for each number of pairs."""
    found = {}
    for pairs in sizes:
        with tempfile.TemporaryDirectory() as folder:
            src, tgt = make_corpus(Path(folder), pairs)
            command = [sys.executable, "-m", "flaxformer_mt.prepare"]
            command += ["--prepared", f"{folder}/prepared", "--data.src", str(src)]
            command += ["--data.tgt", str(tgt), "--data.tokenizer", "unigram"]
            measured = watched(command)
        kept = ("seconds", "peak_rss_mb")
        found[str(pairs)] = {name: measured[name] for name in kept}
        print(f"{pairs:,} pairs: {found[str(pairs)]}", file=sys.stderr)
    return found


MEASURES: dict[str, Callable[[], dict[str, Any]]] = {
    "length": measure_length,
    "batch": measure_batch,
    "devices": measure_devices,
    "corpus": measure_corpus,
}


def draw(name: str, measured: dict[str, Any]) -> None:
    """A picture of a measure."""
    sizes = {
        "length": "tokens of a sentence",
        "batch": "sentences of a batch",
        "devices": "devices, on the same two cores",
        "corpus": "pairs",
    }
    titles = {
        "length": "a step of 16 sentences",
        "batch": "a step, sentences of 32 tokens",
        "devices": "a step of 64 x 48/64",
        "corpus": "prepare",
    }
    values = {
        int(size): value["seconds"] if isinstance(value, dict) else value
        for size, value in measured.items()
    }
    unit = "seconds" if name == "corpus" else "milliseconds"
    picture = plots.growth_curves(
        {unit: sorted(values.items())},
        title=titles[name],
        x_label=sizes[name],
        y_label=unit,
        proportional=name != "devices",
    )
    IMAGES.mkdir(parents=True, exist_ok=True)
    picture.save(IMAGES / f"growth-{name}.png")


def main() -> None:
    """python -m experiments.benchmark_growth"""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--pairs", type=int, nargs="+", default=list(CORPORA))
    parser.add_argument("--devices", type=int, default=0, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    share_cores()
    jax.config.update("jax_platforms", "cpu")
    divide_cpu(asked.devices or THREADS, rows=THREADS * 8)
    if asked.devices:
        print(step_seconds(Shape(64, 48, 64), cores=asked.devices))
        return
    for name in asked.only:
        command = ["--only", name]
        if name == "corpus":
            measured = measure_corpus(asked.pairs)
            command += ["--pairs", *map(str, asked.pairs)]
        else:
            measured = MEASURES[name]()
        print(json.dumps({name: measured}))
        key = "megabytes and seconds" if name == "corpus" else "ms"
        write_result(
            *(name, {key: measured}, command),
            module="benchmark_growth",
            file=RESULT,
        )
        draw(name, measured)


if __name__ == "__main__":
    main()
