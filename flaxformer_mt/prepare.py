"""The data doctor: `python -m flaxformer_mt.prepare`.

Reads a corpus, cleans and splits it, learns its tokens, and writes a prepared folder
that `train --data.prepared FOLDER` starts from, with a report on what was done.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import shlex
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import filelock

from flaxformer_mt.command_line import parse, run_door
from flaxformer_mt.config import Config, DataConfig, ModelConfig, TrainConfig, require
from flaxformer_mt.errors import InputError, RunBusyError, StoppedError
from flaxformer_mt.terminal import Stages, in_words, say
from flaxformer_mt.text.preparation import Preparation, Show, corpora_of
from flaxformer_mt.text.prepared import (
    HELD_OUT,
    MANIFEST,
    SRC_TOKENIZER,
    TGT_TOKENIZER,
    Prepared,
    column_file,
    column_names,
    held_out_rows,
    write_manifest,
)
from flaxformer_mt.text.report import BatchSize, make_report
from flaxformer_mt.text.report_page import render
from flaxformer_mt.text.sources import listed, parse_source, require_utf8
from flaxformer_mt.training.storage import disk_faults, sync_folder

REPORT, REPORT_PAGE = "report.json", "report.html"
WRITING = "writing the report"
OWN_FILES = {
    *(MANIFEST, SRC_TOKENIZER, TGT_TOKENIZER, HELD_OUT, REPORT, REPORT_PAGE),
    *(column_file(Path(), name).name for name in column_names()),
}
MARKER = "unfinished.txt"
MARKER_TEXT = "python -m flaxformer_mt.prepare works here; it may be deleted.\n"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """Cleans, splits and tokenizes a corpus, and writes a folder that training starts
    from, with a report on what was done."""

    # Folder to write. It appears when all is done, whole.
    prepared: str = "prepared/mine"
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
    is left beside it, under a hidden name, the next call removes.)

    Raises:
      InputError: the corpus is not usable, or something else is at that place.
      StorageError: the folder cannot be written.
      RunBusyError: another process is writing it.
    """
    places = Places.of(options.prepared)
    # What is refused in any case leaves nothing behind, not even the lock.
    for corpus in corpora_of(options.data):
        parse_source(corpus.src)
        parse_source(corpus.tgt)
    with disk_faults(f"cannot read {places.target}"):
        places.check_target(options.replace)
    with (
        disk_faults(f"cannot write {places.target}"),
        places.held(),
        places.working(options.replace) as folder,
    ):
        clock = StageClock(show)
        with Preparation(
            options.data, options.max_length, folder, clock.show
        ) as preparation:
            prepared = preparation.run()
            clock.show(WRITING, 0, 0)
            size = BatchSize(
                options.batch_sentences, options.batch_tokens, options.max_shapes
            )
            report = make_report(
                preparation, prepared, size, command=train_command(options)
            )
        report |= {"stages": clock.seconds(), "seconds": clock.total()}
        for name, text in (
            (SRC_TOKENIZER, _json(prepared.src_tokenizer.to_dict())),
            (TGT_TOKENIZER, _json(prepared.tgt_tokenizer.to_dict())),
            (HELD_OUT, held_out_rows(prepared)),
            (REPORT, _json(report)),
            (REPORT_PAGE, render(report)),
        ):
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
        write_manifest(folder, prepared)
        places.publish(options.replace)
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

    def total(self) -> float:
        """Seconds of all stages up to now."""
        return round(sum(self.seconds().values()), 1)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


@dataclasses.dataclass(frozen=True)
class Places:
    """The folder that is wanted, and the hidden ones beside it."""

    target: Path
    work: Path  # where it is written until it is finished
    old: Path  # where a folder is for a moment that is being replaced
    lock: Path  # held while any of them changes; never removed

    @classmethod
    def of(cls, name: str) -> "Places":
        """The places for a folder of that name; a link stands for what it names."""
        require_utf8(name)
        target = Path(os.path.expanduser(name)).resolve()
        require(bool(target.name), f"--prepared must name a folder; got {target}.")
        work, old, lock = (
            target.with_name(f".{target.name}.{what}")
            for what in ("preparing", "replaced", "lock")
        )
        return cls(target, work, old, lock)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """No other process prepares this folder meanwhile."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.lock.touch()  # where this fails, the lock would say that it is held
        try:
            with filelock.FileLock(self.lock, blocking=False):
                yield
        except filelock.Timeout:
            raise RunBusyError(
                f"another process is preparing {self.target}: wait for it, or choose "
                "another --prepared."
            ) from None

    @contextlib.contextmanager
    def working(self, replace: bool) -> Iterator[Path]:
        """The folder to write in, empty; it is gone afterwards."""
        if not self.target.exists() and (self.old / MANIFEST).is_file():
            os.rename(self.old, self.target)  # a killed call was replacing it
            (self.target / MARKER).unlink(missing_ok=True)  # or had begun to remove it
        self.check_target(replace)
        self._remove(self.work)
        self._remove(self.old)
        self.work.mkdir()
        (self.work / MARKER).write_text(MARKER_TEXT, encoding="utf-8")
        try:
            yield self.work
        finally:
            self._remove(self.work)

    def check_target(self, replace: bool) -> None:
        """Raises InputError if something is there that is not to be written over."""
        target = self.target
        if not target.exists() or (target.is_dir() and not any(target.iterdir())):
            return
        if not (target / MANIFEST).is_file():
            raise InputError(
                f"{target} is there already and no prepared folder: choose another "
                "--prepared."
            )
        foreign = {entry.name for entry in target.iterdir()} - OWN_FILES
        if replace and foreign:
            raise InputError(
                f"{target} also holds {listed(sorted(foreign))}, which prepare did not "
                "write: move it away, or choose another --prepared."
            )
        if not replace:
            raise InputError(
                f"{target} holds a prepared corpus already: choose another --prepared, "
                "or give --replace to prepare it anew."
            )

    def _remove(self, folder: Path) -> None:
        """Removes a folder of ours, and refuses any other."""
        if not folder.exists():
            return
        ours = (folder / MARKER).is_file() or (folder / MANIFEST).is_file()
        if not ours and any(folder.iterdir()):
            raise InputError(
                f"{folder} is in the way and was not made by prepare: move it away."
            )
        clear_folder(folder)

    def publish(self, replace: bool) -> None:
        """Gives the finished folder its name, once every byte of it is on the disk."""
        for path in self.work.iterdir():
            # Opened for writing, as Windows syncs nothing else.
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        sync_folder(self.work)
        self.check_target(replace)  # it took a while
        (self.work / MARKER).unlink()
        if self.target.exists():
            os.rename(self.target, self.old)
        os.rename(self.work, self.target)
        sync_folder(self.target.parent)
        if self.old.exists():
            clear_folder(self.old)


def clear_folder(folder: Path) -> None:
    """Removes a folder of ours. Killed in here, what is left is still known as ours,
    and as no finished one."""
    (folder / MARKER).write_text(MARKER_TEXT, encoding="utf-8")
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.name != MARKER:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / MARKER).unlink()
    folder.rmdir()


def train_command(options: PrepareOptions) -> str:
    """The command that trains on a prepared folder."""
    folder = shlex.quote(options.prepared)
    command = f"python -m flaxformer_mt.train --data.prepared {folder}"
    if options.max_length != ModelConfig.max_length:
        command += f" --model.max-length {options.max_length}"
    for name in ("batch_sentences", "batch_tokens", "max_shapes"):
        value = getattr(options, name)
        if value != getattr(TrainConfig, name):
            command += f" --train.{name.replace('_', '-')} {value}"
    return f"{command} --run weights/{shlex.quote(Path(options.prepared).name)}"


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
            f"  {name}: {tokens['vocabulary']:,} tokens ({tokens['kind']}, the "
            f"256 bytes and 4 specials included), "
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


def _stop(signal_number: int, frame: Any) -> NoReturn:
    """Ends as Ctrl-C does, which cleans up."""
    raise StoppedError("nothing was written.", signal_number)


def prepare(arguments: list[str]) -> None:
    """The door: options from the command line, then a prepared folder."""
    options = parse(PrepareOptions, arguments, prog="prepare")
    signal.signal(signal.SIGTERM, _stop)
    started = time.monotonic()
    with Stages() as stages:
        _, report = prepare_folder(options, show=stages.show)
    print_summary(options, report, time.monotonic() - started)


def main() -> None:
    """python -m flaxformer_mt.prepare"""
    run_door(prepare)


if __name__ == "__main__":
    main()
