"""Whether every way to ask for a translation gives the same, and a long file is safe.

    python -m experiments.check_decode --run FOLDER --lines FILE [--only same stream]

same    500 of the file's lines, alone (a call each), all in one call, and that in
        frames whose shortest is 16, 32 and 64 positions long; greedy, beam 5 and
        sampled. Counts the lines whose text differs anywhere. Bar: 0
stream  100,000 lines, the file's own over and over with a number in front, into
        `flaxformer_mt.translate` and out of it. The time to the first line, and the
        memory of the process all along. Bars: 10 seconds; a last quarter that needs
        at most 5% more than the second

Results go to experiments/results/decode.json. FILE may be compressed with gzip.
"""

import argparse
import gzip
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.benchmark_decode import RESULT
from experiments.turns import write_result
from flaxformer_mt.decoding import frames
from flaxformer_mt.decoding.beam_search import BeamOptions
from flaxformer_mt.decoding.call import SearchOptions
from flaxformer_mt.decoding.sampling import GREEDY, SampleOptions
from flaxformer_mt.decoding.translator import Translator

WAYS: dict[str, SearchOptions] = {
    "greedy": GREEDY,
    "beam_5": BeamOptions(beam_size=5),
    "top_k_10": SampleOptions(temperature=1.0, top_k=10),
}
SHORTEST = (16, 32, 64)


def lines_of(path: Path) -> list[str]:
    """The lines of a file that may be compressed."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    return content.decode("utf-8").splitlines()


def check_same(run: str, lines: list[str], num_lines: int) -> dict[str, Any]:
    """How many lines come out differently, for each way and each manner of asking."""
    translator, lines = Translator.load(run), lines[:num_lines]
    differences: dict[str, dict[str, int]] = {}
    usual = frames.SHORTEST
    for name, way in WAYS.items():
        texts: dict[str, list[str]] = {}
        for shortest in SHORTEST:
            frames.SHORTEST = shortest
            found = translator.stream(lines, way, seed=7)
            texts[f"together, {shortest} wide"] = [each.text for each in found]
        frames.SHORTEST = usual
        texts["alone"] = [
            each.text
            for number, line in enumerate(lines)
            for each in translator.stream([line], way, seed=7, first_line=number)
        ]
        first, *others = texts
        differences[name] = {
            f"{other} / {first}": sum(
                a != b for a, b in zip(texts[first], texts[other], strict=True)
            )
            for other in others
        }
        distinct = len(set(texts[first]))
        print(f"{name}: {differences[name]}, {distinct} distinct texts", flush=True)
    return {"sentences": len(lines), "differences": differences, "bar": 0}


def resident_megabytes(pid: int) -> float:
    """The memory that a process has now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def check_stream(run: str, lines: list[str], num_lines: int) -> dict[str, Any]:
    """How soon the first line comes, and what memory 100,000 take."""
    sent: Iterator[str] = (
        f"{number} {line}"
        for number, line in zip(range(num_lines), itertools.cycle(lines))
    )
    command = [sys.executable, "-m", "flaxformer_mt.translate", "--run", run]
    started = time.perf_counter()
    process = subprocess.Popen(
        *(command,),
        **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True},
        **{"stderr": subprocess.DEVNULL, "encoding": "utf-8"},
    )

    def write() -> None:
        with process.stdin as stdin:
            for line in sent:
                stdin.write(line + "\n")

    threading.Thread(target=write, daemon=True).start()
    first, memory, count = 0.0, [], 0
    for count, _ in enumerate(process.stdout, start=1):
        first = first or time.perf_counter() - started
        if count % (num_lines // 40) == 0:
            memory.append(round(resident_megabytes(process.pid)))
            spent = time.perf_counter() - started
            print(f"{count:,} lines, {spent:.0f} s, {memory[-1]} MB", flush=True)
    seconds = time.perf_counter() - started
    if process.wait() or count != num_lines:
        raise SystemExit(f"translate wrote {count:,} lines of {num_lines:,}.")
    quarter = len(memory) // 4
    growth = max(memory[-quarter:]) / max(memory[quarter : 2 * quarter])
    return {
        "lines": num_lines,
        "first_line_seconds": round(first, 1),
        "lines_a_second": round(num_lines / seconds, 1),
        "megabytes": memory,
        "last_quarter_to_second": round(growth, 3),
        "bars": {"first_line_seconds": 10, "last_quarter_to_second": 1.05},
    }


CHECKS = {"same": (check_same, 500), "stream": (check_stream, 100_000)}


def main() -> None:
    """python -m experiments.check_decode"""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", default="", help="a run's folder (default: starter)")
    parser.add_argument("--lines", type=Path, required=True, help="source sentences")
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS))
    options = parser.parse_args()
    lines = lines_of(options.lines)
    for name in options.only:
        check, num_lines = CHECKS[name]
        result = check(options.run, lines, num_lines)
        about = Path(options.run).name or "the starter"
        command = ["--run", about, "--lines", options.lines.name, "--only", name]
        write_result(name, result, command, module="check_decode", file=RESULT)
        print(json.dumps({name: result}, indent=1))


if __name__ == "__main__":
    main()
