"""Trains a translator: `python -m flaxformer_mt.train`, or `fit(config)`.

The loop itself is `Session` in session.py; here a run folder is opened for it, or
refused before anything is written.
"""

import contextlib
import dataclasses
import signal
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from flaxformer_mt import __version__, starter
from flaxformer_mt.command_line import parse, run_door
from flaxformer_mt.config import Config, DataConfig
from flaxformer_mt.errors import InputError
from flaxformer_mt.session import Fitted, Session, StopRequests, recut_of
from flaxformer_mt.terminal import Stages, say
from flaxformer_mt.text.batching import Shape, choose_shapes
from flaxformer_mt.text.preparation import prepare
from flaxformer_mt.text.prepared import Prepared, open_prepared
from flaxformer_mt.training.checkpoints import CheckpointStore, saved_steps
from flaxformer_mt.training.devices import (
    check_versions,
    choose_device,
    describe_device,
)
from flaxformer_mt.training.run_folder import GUARDED, RunFolder
from flaxformer_mt.training.storage import disk_faults

# What may differ when a run goes on: where it computes, when it ends, what it shows.
MAY_DIFFER = (
    *("run", "device", "epochs", "steps", "minutes", "show_sentences"),
    # How the corpus is read: what it is, its fingerprint tells.
    *("prepared", "processes"),
)


def fit(config: Config, verbose: bool = True, *, more_steps: int = 0) -> Fitted:
    """Trains until the config's end, or for `more_steps` beyond what is done already.

    A run folder that has a run goes on where it was. Ctrl-C and SIGTERM save first.

    Raises:
      InputError: the corpus or an option is not usable, or the folder's run was begun
        with other options.
      DivergedError: too many updates in a row were not finite.
      StorageError, RunBusyError: the run folder cannot be written.
      StoppedError: asked to stop; the current step is saved.
    """
    if more_steps < 0:
        raise InputError(f"more_steps must be 0 or more; got {more_steps}.")
    check_versions()
    folder = RunFolder.of(config.run)
    folder.check_usable()
    refuse_published(folder)
    device = choose_device(config.device)
    tell = say if verbose else lambda _="": None
    tell(f"flaxformer-mt {__version__}, training on {describe_device(device)}")
    prepared = None
    if config.data.prepared:
        prepared = open_prepared(config.data.prepared)
        config = config.replace(data=data_of(config, prepared))
    # Without a checkpoint nothing would be lost: such a folder begins anew.
    if saved_steps(folder.path):
        refuse_differences(folder.config(), config)
    if prepared is None:
        with (
            Stages(visible=verbose) as stages,
            # A large corpus is kept in files without a name.
            disk_faults(f"cannot write to {tempfile.gettempdir()} (TMPDIR)"),
        ):
            prepared = prepare(
                config.data, max_length=config.model.max_length, show=stages.show
            )
    for note in prepared.notes:
        tell(f"  {note}")
    if not len(prepared.train):
        raise InputError(f"{config.data.prepared} holds no pair to train on.")
    shapes = batch_shapes(config, prepared)  # refuses before anything is written
    with (
        stop_requests() as requests,
        CheckpointStore(folder.path, guarded_files=GUARDED, note=tell) as store,
    ):
        if not store.steps():
            folder.write_config(config, prepared)
        session = Session(
            *(folder, folder.config(), config, prepared, shapes, store, requests),
            verbose=verbose,
        )
        session.describe()
        session.run(more_steps)
        return session.fitted()


def refuse_published(folder: RunFolder) -> None:
    """Raises InputError for the folder of a published model, which is only read."""
    if (folder.path / starter.CARD).is_file():
        raise InputError(
            f"{folder.path} holds a published model, which is only read: choose "
            "another --run."
        )


def data_of(config: Config, prepared: Prepared) -> DataConfig:
    """The options that a prepared folder was made with, as those of a run.

    Raises:
      InputError: an option was given that the folder has decided otherwise, or its
        sentences are longer than the model reads.
    """
    asked = config.data
    own = ("prepared", "subword_sampling", "processes")
    _refuse_decided("data", asked, prepared.data, DataConfig(), own)
    sampling = asked.subword_sampling or prepared.data.subword_sampling
    if sampling and prepared.data.tokenizer == "characters":
        raise InputError(
            f"data.subword_sampling={sampling} cuts words anew, but {asked.prepared} "
            "was prepared with data.tokenizer=characters, which has no words: leave it "
            "out, or prepare again with unigram or bpe."
        )
    longest = int(prepared.lengths.max())
    if longest > config.model.max_length:
        raise InputError(
            f"{asked.prepared} has sentences of {longest} tokens, but "
            f"model.max_length={config.model.max_length}: give --model.max-length "
            f"{prepared.max_length}, or prepare again with a lower --max-length."
        )
    # The corpus stands in the folder's own options, and is not read again.
    return dataclasses.replace(
        prepared.data,
        **{"src": (), "tgt": (), "weights": ()},
        prepared=asked.prepared,
        subword_sampling=sampling,
        processes=asked.processes,
    )


def _refuse_decided(
    table: str, asked: Any, decided: Any, plain: Any, own: tuple[str, ...] = ()
) -> None:
    """Raises InputError for an option that was given and that a folder has decided
    otherwise; one that was given its default cannot be told from one that was not."""
    for field in dataclasses.fields(plain):
        name = f"{table}.{field.name}"
        wanted, was, default = (
            getattr(options, field.name) for options in (asked, decided, plain)
        )
        if dataclasses.is_dataclass(default):
            _refuse_decided(name, wanted, was, default)
        elif field.name not in own and wanted != default and wanted != was:
            raise InputError(
                f"{name}={wanted!r} was asked for, but the prepared folder has "
                f"{was!r}: leave it out, or prepare again with it."
            )


def batch_shapes(config: Config, prepared: Prepared) -> list[Shape]:
    """The shapes that hold every pair of training and validation."""
    lengths = prepared.lengths
    recut = recut_of(config, prepared)
    if recut:
        longer = recut.lengths(prepared.train, config.model.max_length)
        lengths = np.concatenate([longer, prepared.validation.lengths])
    return choose_shapes(
        lengths,
        batch_sentences=config.train.batch_sentences,
        batch_tokens=config.train.batch_tokens,
        max_length=config.model.max_length,
        max_shapes=config.train.max_shapes,
    )


def refuse_differences(begun: Config, asked: Config) -> None:
    """Raises InputError if a run would go on with other options than it began with."""

    def flat(config: Config) -> dict[str, Any]:
        return {
            f"{table}.{name}" if table else name: value
            for table, fields in (
                ("", {"seed": config.seed}),
                ("data", dataclasses.asdict(config.data)),
                ("model", dataclasses.asdict(config.model)),
                ("train", dataclasses.asdict(config.train)),
            )
            for name, value in fields.items()
            if name not in MAY_DIFFER
        }

    old, new = flat(begun), flat(asked)
    differing = [name for name in old if old[name] != new[name]]
    if differing:
        listed = "; ".join(f"{n} was {old[n]!r}, is now {new[n]!r}" for n in differing)
        raise InputError(
            f"{asked.run} holds a run that was begun with other options ({listed}): "
            "repeat them, or choose another --run."
        )


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Ctrl-C and SIGTERM as requests, in the main thread; elsewhere none can come."""
    requests, before = StopRequests(), {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, requests)
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train(arguments: list[str]) -> None:
    """The door: options from the command line, then `fit`."""
    fit(parse(Config, arguments, prog="train"))


def main() -> None:
    """python -m flaxformer_mt.train"""
    run_door(train)


if __name__ == "__main__":
    main()
