"""How fast, and in how much memory, a large corpus is prepared and read back.

    python -m experiments.benchmark_data --pairs 10000000 --folder /tmp/data
    python -m experiments.benchmark_data --only padding \\
        --tatoeba Tatoeba.zip --multi30k FOLDER

Makes a corpus of random sentences (words of a Zipfian vocabulary; lengths like those of
news text; one pair in fifty there before, one in a hundred empty), runs `prepare` on it
in a process of its own while the resident memory of all its processes is added up every
50 ms, then times a fresh process from its start to the first batch. Writes
experiments/results/data.json. Ten million pairs take about a quarter of an hour on two
cores and 8 GB of disk.
"""

import dataclasses
import datetime
import json
import os
import platform
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

RESULTS = Path(__file__).parent / "results" / "data.json"
CHUNK = 100_000
NUM_WORDS = 60_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What to measure."""

    # Pairs of the made corpus.
    pairs: int = 10_000_000
    # Where the corpus and what is prepared from it are put.
    folder: Path = Path("/tmp/flaxformer-data")
    # Tokens of the made corpus.
    tokenizer: Literal["unigram", "bpe", "characters"] = "unigram"
    # size: prepare and read back; padding: of real corpora in at most 8 shapes.
    only: Literal["all", "size", "padding"] = "all"
    # Real corpora for the padding: a zip with en.txt and fa.txt, a folder with
    # train.en.gz and train.de.gz.
    tatoeba: str = ""
    multi30k: str = ""


def words(rng: np.random.Generator, letters: str, joiner: str) -> np.ndarray:
    """Different made-up words, the short ones first, as the common ones are."""
    made: dict[str, None] = {}
    while len(made) < NUM_WORDS:
        size = int(rng.integers(1, 11))
        word = "".join(rng.choice(list(letters), size))
        if joiner and size > 5 and rng.random() < 0.3:
            word = word[:3] + joiner + word[3:]
        made[word] = None
    return np.array(sorted(made, key=lambda word: (len(word), word)))


def make_corpus(folder: Path, pairs: int) -> tuple[Path, Path]:
    """Two text files of so many lines, made anew unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{pairs}.en", folder / f"{pairs}.fa"
    if all(path.exists() for path in paths):
        return paths
    rng = np.random.default_rng(0)
    vocabularies = (
        words(rng, "etaoinshrdlucmfwypvbgkjqxz", ""),
        words(rng, "ایرنمدهوتسبشکزلگفخقپجحعچغصطثضظذژ", "\u200c"),
    )
    ranks = np.arange(1, NUM_WORDS + 1)
    cumulative = np.cumsum(1 / ranks)
    cumulative /= cumulative[-1]
    unfinished = [path.with_suffix(path.suffix + ".tmp") for path in paths]
    with (
        unfinished[0].open("w", encoding="utf-8") as src_file,
        unfinished[1].open("w", encoding="utf-8") as tgt_file,
    ):
        for start in range(0, pairs, CHUNK):
            count = min(CHUNK, pairs - start)
            length = np.clip(rng.lognormal(2.2, 0.55, count), 1, 80)
            longer = length * rng.lognormal(0, 0.15, count)
            kind = rng.random(count)
            for file, vocabulary, lengths in zip(
                (src_file, tgt_file), vocabularies, (length, longer), strict=True
            ):
                sizes = np.maximum(lengths.astype(int), 1)
                ids = np.searchsorted(cumulative, rng.random(sizes.sum()))
                text = vocabulary[ids].tolist()
                ends = np.cumsum(sizes)
                lines = [
                    " ".join(text[end - size : end]) + "."
                    for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)
                ]
                for i in np.flatnonzero(kind < 0.02)[1:]:
                    lines[i] = lines[i - 1]
                for i in np.flatnonzero(kind > 0.99):
                    lines[i] = ""
                file.write("\n".join(lines) + "\n")
            print(f"made {start + count:,} pairs", file=sys.stderr)
    for path, ready in zip(unfinished, paths, strict=True):
        path.rename(ready)
    return paths


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and all below it, added up (Linux)."""
    total, stack = 0, [pid]
    while stack:
        pid = stack.pop()
        try:
            status = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
            total += int(status[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in Path(f"/proc/{pid}/task").iterdir():
                children = (task / "children").read_text(encoding="ascii")
                stack += map(int, children.split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def watched(command: list[str]) -> dict[str, Any]:
    """Runs a command; its seconds, the peak of its memory, what it said."""
    started = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    samples: list[tuple[float, int]] = [(0.0, 0)]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            elapsed = time.monotonic() - started
            samples.append((elapsed, resident_bytes(process.pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    said = []
    for line in process.stderr:
        sys.stderr.write(line)
        said.append(line.rstrip())
    code = process.wait()
    done.set()
    watcher.join()
    if code:
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    return {
        "seconds": round(time.monotonic() - started, 1),
        "peak_rss_mb": round(max(rss for _, rss in samples) / 2**20),
        "said": said,
        "samples": samples,
    }


def peaks(samples: list[tuple[float, int]], stages: dict[str, float]) -> dict[str, int]:
    """Peak memory of each stage in MB; the stages end when the process does, nearly."""
    end, found = samples[-1][0], {}
    for stage, seconds in reversed(stages.items()):
        start = end - seconds
        inside = [rss for elapsed, rss in samples if start <= elapsed <= end]
        found[stage] = round(max(inside, default=0) / 2**20)
        end = start
    return dict(reversed(found.items()))


FIRST_BATCH = """
import time
started = time.time()
import sys
from flaxformer_mt.config import Config, DataConfig, ModelConfig, TrainConfig
from flaxformer_mt.train import batch_shapes
from flaxformer_mt.text.batching import EpochBatches, Prefetch
from flaxformer_mt.text.prepared import open_prepared
imported = time.time()
prepared = open_prepared(sys.argv[1])
opened = time.time()
config = Config(data=DataConfig(prepared=sys.argv[1]),
                train=TrainConfig(batch_sentences=64))
shapes = batch_shapes(config, prepared)
batches = EpochBatches(prepared.train, shapes, prepared.specials, seed=0)
with Prefetch(batches.onwards(0, 0)) as ready:
    batch = next(ready)
    first = time.time()
    for _ in range(500):
        next(ready)
    last = time.time()
import json
print(json.dumps({"import": imported - started, "open_and_verify": opened - imported,
    "shapes_and_plan": first - opened, "first_batch": first - started,
    "batches_a_second": 500 / (last - first)}))
"""


def measure_size(options: BenchmarkOptions) -> dict[str, Any]:
    """Preparing and reading back a made corpus."""
    src, tgt = make_corpus(options.folder, options.pairs)
    target = options.folder / f"prepared-{options.pairs}-{options.tokenizer}"
    command = [
        *(sys.executable, "-m", "flaxformer_mt.prepare", "--replace"),
        *("--prepared", str(target), "--data.src", str(src), "--data.tgt", str(tgt)),
        *("--data.tokenizer", options.tokenizer, "--batch-sentences", "64"),
    ]
    prepared = watched(command)
    said, samples = prepared.pop("said"), prepared.pop("samples")
    report = json.loads((target / "report.json").read_text(encoding="utf-8"))
    stages = report["stages"]
    sentences = 2 * sum(part["pairs"] for part in report["parts"].values())
    started = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", FIRST_BATCH, str(target)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    first = json.loads(result.stdout)
    return {
        "pairs": options.pairs,
        "bytes": src.stat().st_size + tgt.stat().st_size,
        "tokenizer": options.tokenizer,
        "prepare": prepared,
        "stages": stages,
        "peak_rss_mb_of_stages": peaks(samples, stages),
        "pairs_a_second": round(options.pairs / prepared["seconds"]),
        "sentences_tokenized_a_second": round(sentences / stages["tokenizing"]),
        "read_back": {name: round(value, 2) for name, value in first.items()},
        "read_back_process_seconds": round(time.monotonic() - started, 1),
        "padding": report["batches"]["padding"],
        "shapes": report["batches"]["shapes"],
        "notes": [line.strip() for line in said if "dropped" in line],
    }


def measure_padding(options: BenchmarkOptions) -> list[dict[str, Any]]:
    """The padding of real corpora in at most eight shapes."""
    rows = []
    sources = []
    if options.tatoeba:
        pair = f"{options.tatoeba}:en.txt", f"{options.tatoeba}:fa.txt"
        sources.append(("tatoeba", pair, ["characters"], [False]))
    if options.multi30k:
        pair = f"{options.multi30k}/train.en.gz", f"{options.multi30k}/train.de.gz"
        sources.append(("multi30k", pair, ["bpe", "unigram"], [False, True]))
    for name, (src, tgt), tokenizers, sharing in sources:
        for tokenizer in tokenizers:
            for shared in sharing:
                for sentences, tokens in ((16, 0), (64, 0), (16, 2048)):
                    target = options.folder / "padding"
                    command = [
                        *(sys.executable, "-m", "flaxformer_mt.prepare", "--replace"),
                        *("--prepared", str(target), "--data.src", src),
                        *("--data.tgt", tgt, "--data.tokenizer", tokenizer),
                        *("--batch-sentences", str(sentences)),
                        *("--batch-tokens", str(tokens)),
                        *(["--data.shared-vocab"] if shared else []),
                    ]
                    watched(command)
                    report = json.loads(
                        (target / "report.json").read_text(encoding="utf-8")
                    )
                    batches = report["batches"]
                    rows.append(
                        {
                            "corpus": name,
                            "tokenizer": tokenizer,
                            "shared": shared,
                            "batch_sentences": sentences,
                            "batch_tokens": tokens,
                            "shapes": len(batches["shapes"]),
                            "padding": batches["padding"],
                        }
                    )
                    print(json.dumps(rows[-1]), file=sys.stderr)
    return rows


def main() -> None:
    """python -m experiments.benchmark_data"""
    options = tyro.cli(BenchmarkOptions)
    result = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    result["command"] = "python -m experiments.benchmark_data " + " ".join(
        arg if not arg.startswith("/") else "..." for arg in sys.argv[1:]
    )
    result["date"] = datetime.date.today().isoformat()
    result["machine"] = f"{os.cpu_count()} cores, {platform.machine()}"
    result["versions"] = {
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "scipy", "sentencepiece")},
    }
    if options.only != "padding":
        result["size"] = measure_size(options)
    if options.only != "size":
        result["padding"] = measure_padding(options)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
