"""Trains on Multi30k en-de through the command line, and scores what comes out.

    python -m experiments.benchmark_multi30k --multi30k FOLDER --name half_hour
        -- --train.steps 4000 ...                  (any option of train, after the --)
    python -m experiments.benchmark_multi30k --multi30k FOLDER --name half_hour --test

FOLDER holds train, val and test_2016_flickr as .en.gz and .de.gz (Elliott et al. 2016;
github.com/multi30k/dataset). The corpus is prepared once, 8,000 BPE pieces for both
sides, val as validation, so that training pairs that share a sentence with it are left
out. A run that was cut off goes on with the same command, and its minutes add up.

Choices are made on val; `--test` scores test_2016_flickr, and does so once for a name:
a second time it shows what was measured. Scores are greedy, sacreBLEU 13a, cased and
detokenised. The learning curve (minutes of wall time, validation and compilation
included) is that of the run's own metrics.jsonl.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flaxformer_mt.config import did_you_mean

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "experiments" / "results" / "multi30k.json"
PRESET = (
    *("--preset", "tiny", "--model.tied-embeddings", "all"),
    *("--train.metric-pairs", "1014", "--train.show-sentences", "1"),
)
KEPT = ("step", "seconds", "train_loss", "validation_loss", "chrf", "bleu")


def call(module: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess:
    """Runs a door of the package, and ends where that fails."""
    command = [sys.executable, "-m", f"flaxformer_mt.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, check=False, **options)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done


def side(folder: Path, part: str) -> tuple[str, str]:
    """The two files of a part."""
    return str(folder / f"{part}.en.gz"), str(folder / f"{part}.de.gz")


def prepare(folder: Path, prepared: Path) -> None:
    """Prepares the corpus, unless that was done before."""
    if (prepared / "prepared.json").is_file():
        return
    (src, tgt), (val_src, val_tgt) = side(folder, "train"), side(folder, "val")
    call(
        *("prepare", "--prepared", str(prepared)),
        *("--data.src", src, "--data.tgt", tgt),
        *("--data.validation-src", val_src, "--data.validation-tgt", val_tgt),
        *("--data.src-lang", "en", "--data.tgt-lang", "de"),
        *("--data.test-fraction", "0", "--data.tokenizer", "bpe"),
        *("--data.vocab-size", "8000", "--data.shared-vocab"),
    )


def score(run: Path, folder: Path, part: str) -> dict[str, Any]:
    """chrF++ and BLEU of the run's best checkpoint on a part."""
    src, ref = side(folder, part)
    done = call(
        *("evaluate", "--run", str(run), "--src", src, "--ref", ref),
        *("--bleu-tokenizer", "13a", "--json"),
        **{"stdout": subprocess.PIPE, "text": True},
    )
    return json.loads(done.stdout)["scores"]["all"]


def curve(run: Path) -> list[dict[str, Any]]:
    """The validations of a run."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    entries = map(json.loads, lines)
    return [{name: e[name] for name in KEPT if name in e} for e in entries]


def facts() -> dict[str, Any]:
    """Where and when the figures come from."""
    packages = ("jax", "flax", "optax", "numpy", "sacrebleu", "sentencepiece")
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {name: version(name) for name in packages},
    }


def read_results() -> dict[str, Any]:
    """What was measured before, by name."""
    if not RESULT.is_file():
        return {}
    return json.loads(RESULT.read_text(encoding="utf-8"))


def write_results(results: dict[str, Any]) -> None:
    """Replaces the file of results."""
    RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def train(options: argparse.Namespace, run: Path, prepared: Path) -> None:
    """Trains to the end and scores val."""
    prepare(options.multi30k, prepared)
    asked = [*PRESET, *options.options]
    started = time.monotonic()
    call("train", "--data.prepared", str(prepared), "--run", str(run), *asked)
    wall = time.monotonic() - started
    entries = curve(run)
    results = read_results()
    results[options.name] = {
        **facts(),
        "command": "python -m flaxformer_mt.train " + " ".join(asked),
        "minutes_of_this_start": round(wall / 60, 2),
        "minutes": round(entries[-1]["seconds"] / 60, 2),
        "curve": entries,
        "val": score(run, options.multi30k, "val"),
    }
    write_results(results)
    print(json.dumps(results[options.name]["val"], indent=1))


def test(options: argparse.Namespace, run: Path) -> None:
    """Scores the test set, the first time that this is asked for a name."""
    results = read_results()
    if options.name not in results:
        hint = did_you_mean(options.name, results)
        raise SystemExit(f"error: {options.name} was not trained yet{hint}")
    if "test_2016_flickr" not in results[options.name]:
        scores = score(run, options.multi30k, "test_2016_flickr")
        results[options.name]["test_2016_flickr"] = scores
        write_results(results)
    print(json.dumps(results[options.name]["test_2016_flickr"], indent=1))


def main(arguments: list[str]) -> None:
    """python -m experiments.benchmark_multi30k"""
    ours, theirs = arguments, []
    if "--" in arguments:
        place = arguments.index("--")
        ours, theirs = arguments[:place], arguments[place + 1 :]
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmark_multi30k")
    parser.add_argument("--multi30k", type=Path, required=True, help="the corpus")
    parser.add_argument("--name", required=True, help="of the run and its result")
    parser.add_argument("--folder", type=Path, default=ROOT / "weights")
    parser.add_argument("--test", action="store_true", help="score the test set")
    options = parser.parse_args(ours)
    options.options = theirs
    options.multi30k = options.multi30k.absolute()
    folder = options.folder.absolute()
    run = folder / f"multi30k-{options.name}"
    if options.test:
        test(options, run)
    else:
        train(options, run, folder / "multi30k-prepared")


if __name__ == "__main__":
    main(sys.argv[1:])
