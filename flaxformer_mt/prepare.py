"""The data doctor: `python -m flaxformer_mt.prepare`.

Reads a corpus, cleans and splits it, learns its tokens, and writes a prepared folder
that `train --data.prepared FOLDER` starts from, with a report on what was done.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from flaxformer_mt.command_line import parse, run_door
from flaxformer_mt.config import Config, DataConfig, ModelConfig, TrainConfig, require
from flaxformer_mt.errors import InputError, RunBusyError
from flaxformer_mt.terminal import Stages, in_words, say
from flaxformer_mt.text.preparation import Preparation, Show
from flaxformer_mt.text.prepared import (
    HELD_OUT,
    MANIFEST,
    SRC_TOKENIZER,
    TGT_TOKENIZER,
    Prepared,
    held_out_rows,
    write_manifest,
)
from flaxformer_mt.text.report import BatchSize, make_report
from flaxformer_mt.text.report_page import render
from flaxformer_mt.training.storage import one_sentence, sync_folder

REPORT, REPORT_PAGE = "report.json", "report.html"
LOCK = "lock"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """Where the prepared corpus goes, and what batches its report is about."""

    # Folder to write. It appears when all is done, whole.
    prepared: str = "prepared/en-fa"
    # Replace a prepared folder that is there already.
    replace: bool = False
    # Longest sentence, in tokens a side, specials included; as model.max_length.
    max_length: int = ModelConfig.max_length
    # The batches whose shapes and padding the report shows; as train.batch_sentences,
    # train.batch_tokens and train.max_shapes.
    batch_sentences: int = TrainConfig.batch_sentences
    batch_tokens: int = TrainConfig.batch_tokens
    max_shapes: int = TrainConfig.max_shapes
    # Where the sentence pairs come from and which of them are kept.
    data: DataConfig = dataclasses.field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        require(
            bool(self.prepared.strip()),
            "--prepared must name a folder; got an empty name.",
        )
        require(
            not self.data.prepared,
            "prepare writes a prepared folder and does not read one: give its name as "
            "--prepared, not --data.prepared.",
        )
        # The same bounds as in training.
        Config(
            model=ModelConfig(max_length=self.max_length),
            train=TrainConfig(
                batch_sentences=self.batch_sentences,
                batch_tokens=self.batch_tokens,
                max_shapes=self.max_shapes,
            ),
        )


def prepare_folder(
    options: PrepareOptions, *, show: Show = lambda stage, done, total: None
) -> tuple[Prepared, dict[str, Any]]:
    """Writes a prepared folder; returns what it holds, and the report.

    Killed at any point, it leaves the folder as it was: finished, or not there. (What
    is left beside it, under the name with `.partial`, the next call removes.)

    Raises:
      InputError: the corpus is not usable, or something else is at that place.
      StorageError: the folder cannot be written.
      RunBusyError: another process is writing it.
    """
    target = Path(options.prepared).expanduser()
    _check_target(target, options.replace)
    clock = StageClock(show)
    with (
        one_sentence(f"cannot write {target}"),
        _partial_folder(target) as folder,
        Preparation(
            options.data, options.max_length, folder, clock.show
        ) as preparation,
    ):
        prepared = preparation.run()
        clock.show("writing the report", 0, 0)
        report = make_report(
            preparation,
            prepared,
            BatchSize(
                options.batch_sentences, options.batch_tokens, options.max_shapes
            ),
            stages=clock.seconds(),
            command=train_command(options),
        )
        for name, text in (
            (SRC_TOKENIZER, _json(prepared.src_tokenizer.to_dict())),
            (TGT_TOKENIZER, _json(prepared.tgt_tokenizer.to_dict())),
            (HELD_OUT, held_out_rows(prepared)),
            (REPORT, _json(report)),
            (REPORT_PAGE, render(report)),
        ):
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
        write_manifest(folder, prepared)
        _publish(folder, target)
    return prepared, report


class StageClock:
    """How long each stage took."""

    def __init__(self, show: Show) -> None:
        self.show_on = show
        self.begun: dict[str, float] = {"starting": time.monotonic()}

    def show(self, stage: str, done: int, total: int) -> None:
        """Notes when a stage begins, and passes its progress on."""
        self.begun.setdefault(stage, time.monotonic())
        self.show_on(stage, done, total)

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage up to now."""
        times = [*self.begun.values(), time.monotonic()]
        return {
            stage: round(end - begin, 2)
            for stage, (begin, end) in zip(
                self.begun, itertools.pairwise(times), strict=True
            )
        }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _check_target(target: Path, replace: bool) -> None:
    with one_sentence(f"cannot read {target}"):
        if not target.exists() and (_aside(target) / MANIFEST).is_file():
            os.rename(_aside(target), target)  # a killed call was replacing it
        if not target.exists() or (target.is_dir() and not any(target.iterdir())):
            return
        if not (target / MANIFEST).is_file():
            raise InputError(
                f"{target} is there already and no prepared folder: choose another "
                "--prepared."
            )
        if not replace:
            raise InputError(
                f"{target} holds a prepared corpus already: choose another --prepared, "
                "or give --replace to prepare it anew."
            )


@contextlib.contextmanager
def _partial_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target, of this process alone, emptied of what a killed one
    has left; it is gone afterwards."""
    folder = target.with_name(target.name + ".partial")
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK, blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise RunBusyError(
            f"another process is preparing {target}: wait for it, or choose another "
            "--prepared."
        ) from None
    try:
        for left in folder.iterdir():
            if left.name != LOCK:
                left.unlink()
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _aside(target: Path) -> Path:
    """Where a folder that is being replaced is for a moment."""
    return target.with_name(target.name + ".old")


def _publish(folder: Path, target: Path) -> None:
    """Gives a finished folder its name, once every byte of it is on the disk."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
    (folder / LOCK).unlink(missing_ok=True)
    old = _aside(target)
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.rename(target, old)
    os.rename(folder, target)
    sync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def train_command(options: PrepareOptions) -> str:
    """The command that trains on a prepared folder."""
    command = f"python -m flaxformer_mt.train --data.prepared {options.prepared}"
    if options.max_length != ModelConfig.max_length:
        command += f" --model.max-length {options.max_length}"
    for name in ("batch_sentences", "batch_tokens", "max_shapes"):
        value = getattr(options, name)
        if value != getattr(TrainConfig, name):
            command += f" --train.{name.replace('_', '-')} {value}"
    return f"{command} --run weights/{Path(options.prepared).name}"


def print_summary(
    options: PrepareOptions, report: dict[str, Any], seconds: float
) -> None:
    """Tells a person what was done and what to look at."""
    for note in report["notes"]:
        say(f"  {note}")
    for side, name in (("src", "source"), ("tgt", "target")):
        tokens, lengths = report["tokens"][side], report["lengths"]
        length = lengths[f"{side}_tokens"]
        scripts = [s for s in report["scripts"][side] if s != "Common"]
        say(
            f"  {name}: {tokens['vocabulary']:,} tokens ({tokens['kind']}), "
            f"{tokens['tokens']:,} in the text ({tokens['bytes']:,} in bytes, "
            f"{tokens['unknown']:,} unknown); a sentence has {length['median']:.0f}, "
            f"one in a hundred over {length['p99']:.0f}; letters: "
            f"{', '.join(scripts[:4]) or 'none'}"
        )
    overlap = report["overlap"]
    say(
        f"  held-out sentences that training has too: {overlap['src']:,} source, "
        f"{overlap['tgt']:,} target"
    )
    for block in report["misalignments"]["blocks"][:5]:
        say(
            f"  warning: lines {block['first']:,} to {block['last']:,} of corpus "
            f"{block['corpus'] + 1} fit better with the other side shifted by "
            f"{block['shift']:+}: look at them"
        )
    batches = report["batches"]
    shapes = ", ".join(f"{b} x {s}/{t}" for b, s, t in batches["shapes"])
    padding = batches["padding"]
    say(f"  batches, sentences x source/target width: {shapes}")
    say(
        f"  padding: {padding['src']:.1%} of the source positions, "
        f"{padding['tgt']:.1%} of target"
    )
    say(
        f"prepared in {in_words(seconds)}: {options.prepared}; the report is "
        f"{Path(options.prepared) / REPORT_PAGE}"
    )
    say(f"  train:  {report['command']}")


def prepare(arguments: list[str]) -> None:
    """The door: options from the command line, then a prepared folder."""
    options = parse(PrepareOptions, arguments, prog="prepare")
    started = time.monotonic()
    with Stages() as stages:
        _, report = prepare_folder(options, show=stages.show)
    print_summary(options, report, time.monotonic() - started)


def main() -> None:
    """python -m flaxformer_mt.prepare"""
    run_door(prepare)


if __name__ == "__main__":
    main()
