"""Trains a translator: `python -m flaxformer_mt.train`, or `fit(config)`.

The loop itself is `Session` in session.py; here a run folder is opened for it, or
refused before anything is written.
"""

import contextlib
import dataclasses
import functools
import json
import math
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flaxformer_mt import __version__, starter
from flaxformer_mt.command_line import parse, run_door, take_option
from flaxformer_mt.config import Config, ModelConfig
from flaxformer_mt.continuation import (
    changed_corpus,
    continued,
    refuse_differences,
)
from flaxformer_mt.errors import (
    DivergedError,
    InputError,
    StoppedError,
    StorageError,
)
from flaxformer_mt.presets import describe_presets, preset
from flaxformer_mt.session import Fitted, Session, StopRequests
from flaxformer_mt.terminal import Stages, Tell, in_words, say
from flaxformer_mt.text.batching import Shape, choose_shapes
from flaxformer_mt.text.preparation import prepare
from flaxformer_mt.text.prepared import Prepared, data_of, open_prepared
from flaxformer_mt.training.checkpoints import (
    CheckpointStore,
    LoadedArrays,
    load_arrays,
    load_params,
    saved_steps,
)
from flaxformer_mt.training.devices import (
    Devices,
    check_versions,
    divide_cpu,
    join_hosts,
)
from flaxformer_mt.training.memory import in_gigabytes
from flaxformer_mt.training.programs import CompileCount, enable_compilation_cache
from flaxformer_mt.training.run_folder import GUARDED, METRICS, TRIAL, RunFolder
from flaxformer_mt.training.self_test import check_numbers
from flaxformer_mt.training.storage import disk_faults, one_sentence
from flaxformer_mt.training.warm_start import config_for_fine_tuning

_check_numbers_once = functools.cache(check_numbers)  # a process may train often
CHECK_STEPS = 3
TRIAL_PAIRS = 8  # translated by a check
HOPELESS = 3.0  # times the loss of a model that knows nothing


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
    return _fit(config, verbose=verbose, show_stages=verbose, more_steps=more_steps)


def _fit(
    config: Config,
    *,
    verbose: bool,
    show_stages: bool,
    more_steps: int = 0,
    default_model: ModelConfig | None = None,
    is_trial: bool = False,
) -> Fitted:
    check_versions()
    folder = RunFolder.of(config.run)
    folder.check_usable()
    refuse_published(folder)
    devices = open_devices(config)
    verbose = verbose and devices.writes
    tell = say if verbose else lambda _="": None
    tell(f"flaxformer-mt {__version__}, training on {devices.describe()}")
    enable_compilation_cache(devices.local[0], note=lambda note: tell(f"  {note}"))
    _check_numbers_once(devices.local[0])
    config, prepared = settled(config, tell, default_model)
    if prepared is None:
        with (
            Stages(visible=show_stages and devices.writes) as stages,
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
    check_tying(config, prepared)
    prepared.check_ids()
    if config.train.best_by != "loss" and not prepared.validation_texts:
        raise InputError(
            f"train.best_by={config.train.best_by} needs validation pairs, and the "
            "corpus keeps none: leave it out, or raise --data.validation-fraction."
        )
    shapes = batch_shapes(config, prepared)  # refuses before anything is written
    with (
        stop_requests() as requests,
        CompileCount() as programs,
        open_store(folder, config, devices, tell) as store,
    ):
        if store.steps():  # another process may have begun the run meanwhile
            refuse_differences(folder.config(), config, lambda _="": None)
        elif devices.writes:
            folder.write_config(config, prepared)
        # Other hosts read what the first one has written, or found.
        bool(devices.any_host(False))
        session = Session(
            *(folder, continued(folder.config(), config), config, prepared, shapes),
            *(store, requests, devices, programs),
            verbose=verbose,
            is_trial=is_trial,
        )
        with contextlib.closing(session):
            session.describe()
            session.run(more_steps)
        return session.fitted()


def settled(
    config: Config, tell: Tell, default_model: ModelConfig | None = None
) -> tuple[Config, Prepared | None]:
    """What `decided` gives, if the run that is there can go on with it.

    Raises:
      InputError: it cannot; and see `decided`.
      StorageError: it has lost its checkpoints.
    """
    config, prepared = decided(config, default_model)
    folder = RunFolder.of(config.run)
    # Without a checkpoint nothing would be lost: such a folder begins anew.
    if saved_steps(folder.path):
        refuse_differences(folder.config(), config, tell)
    elif (folder.path / METRICS).is_file():  # it is written after a save alone
        raise StorageError(
            f"{folder.path} has a log of validations and no checkpoint: take "
            "checkpoints/ from a copy, or choose another --run."
        )
    return config, prepared


def decided(
    config: Config, default_model: ModelConfig | None = None
) -> tuple[Config, Prepared | None]:
    """The config with what other folders have decided of it, and the prepared corpus
    where it is one of them.

    Args:
      default_model: a size that is as here was not given; None, those of the dataclass.

    Raises:
      InputError: an option contradicts one of those folders.
    """
    prepared = None
    if config.data.prepared:
        prepared = open_prepared(config.data.prepared)
        config = config.replace(data=data_of(config, prepared))
    return with_sizes_of_source(config, default_model), prepared


def open_devices(config: Config) -> Devices:
    """The devices of a run, joined, divided and chosen before any is touched."""
    train = config.train
    # With a budget of tokens the number of rows differs with their width.
    rows = train.batch_tokens // 64 if train.batch_tokens else train.batch_sentences
    cores = divide_cpu(config.cores, rows=rows)
    join_hosts(config.distributed)
    return Devices.of(config.device, cores=cores)


def with_sizes_of_source(
    config: Config, default_model: ModelConfig | None = None
) -> Config:
    """The config of a fine-tuning with the sizes of the run that it starts from.

    default_model: what was not given has these values; None, those of the dataclass.
    """
    if not config.init_from:
        return config
    # A run that has begun has its sizes already, and needs the source no more.
    path = RunFolder.of(config.run).path
    source = path if saved_steps(path) else config.init_from
    return config_for_fine_tuning(config, source, default_model)


def open_store(
    folder: RunFolder, config: Config, devices: Devices, tell: Tell
) -> contextlib.AbstractContextManager[CheckpointStore]:
    """The run's checkpoints, open for writing on one host and for reading on others."""
    store = CheckpointStore(
        folder.path,
        guarded_files=GUARDED,
        note=tell,
        keep_last=config.train.keep_last,
        keep_best=config.train.keep_best,
    )
    return store if devices.writes else contextlib.nullcontext(store)


def check_tying(config: Config, prepared: Prepared) -> None:
    """Raises InputError where one table is asked for and the vocabularies are two."""
    src, tgt = prepared.src_tokenizer, prepared.tgt_tokenizer
    same = src.vocabulary.tokens == tgt.vocabulary.tokens
    if config.model.tied_embeddings == "all" and not same:
        raise InputError(
            "model.tied_embeddings=all needs one vocabulary for both sides; these have "
            "one each: give --data.shared-vocab with unigram or bpe, or "
            "--model.tied-embeddings target."
        )


def refuse_published(folder: RunFolder) -> None:
    """Raises InputError for the folder of a published model, which is only read."""
    if (folder.path / starter.CARD).is_file():
        raise InputError(
            f"{folder.path} holds a published model, which is only read: choose "
            "another --run."
        )


def batch_shapes(config: Config, prepared: Prepared) -> list[Shape]:
    """The shapes that hold every pair of training and validation; they do not depend on
    the devices."""
    lengths = prepared.lengths
    recut = prepared.recut(config.data.subword_sampling, seed=config.seed)
    if recut:
        longer = recut.lengths(prepared.train, config.model.max_length)
        lengths = np.concatenate([longer, prepared.validation.lengths])
    shapes = choose_shapes(
        lengths,
        batch_sentences=config.train.batch_sentences,
        batch_tokens=config.train.batch_tokens,
        max_length=config.model.max_length,
        max_shapes=config.train.max_shapes,
    )
    parts = config.train.accumulate
    return [shape._replace(rows=shape.rows * parts) for shape in shapes]


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


def check(config: Config, default_model: ModelConfig | None = None) -> None:
    """Tries everything that a run of this config will need, in a folder that is then
    taken away; the run folder itself stays as it is.

    Args:
      default_model: see `decided`.

    Raises:
      FlaxformerError: what would stop the run.
    """
    folder = RunFolder.of(config.run)
    folder.check_usable()
    refuse_published(folder)
    began = time.monotonic()
    # Before a checkpoint is looked at, which starts JAX's devices as they are then.
    open_devices(config.replace(distributed=False))
    near = folder.path.absolute()
    while not near.is_dir():  # on the disk that the run will be on
        if near.exists():
            raise InputError(f"--run {folder.path}: {near} is a file: choose another.")
        near = near.parent
    with _trial_folder(near) as trial:
        say(f"checking in {near}, where nothing stays")
        config, _ = settled(config, say, default_model)
        begun = _check_begun(folder, config) if saved_steps(folder.path) else None
        if begun:
            config = config.replace(init_from="")  # which it needs no more
        fitted = _fit(
            _trial_of(config, f"{trial}/run"),
            **{"verbose": False, "show_stages": True, "is_trial": True},
            default_model=default_model,
        )
        translator = fitted.translator()  # the checkpoint loads
        translator.translate("a")
        corpus = load_params(fitted.run).record["fingerprint"]
    if begun and begun.record["fingerprint"] != corpus:
        raise changed_corpus(folder.path)
    highest = HOPELESS * math.log(len(translator.tgt_tokenizer.vocabulary))
    if not fitted.best_loss <= highest:
        raise DivergedError(
            f"after {CHECK_STEPS} updates the loss was {fitted.best_loss:.3g}, where "
            f"below {highest:.3g} is expected: lower --train.learning-rate, which is "
            f"{config.train.learning_rate:g}."
        )
    say(
        f"  the corpus, {CHECK_STEPS} updates of the largest batch "
        f"({in_gigabytes(fitted.memory)}), validation, saving, loading and "
        f"translating: all is well, after {in_words(time.monotonic() - began)}"
    )


@contextlib.contextmanager
def _trial_folder(near: Path) -> Iterator[str]:
    """A folder that is gone afterwards, however that comes; and so are those of checks
    that were killed on an earlier day."""
    for old in near.glob(f"{TRIAL}*"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > 86_400:
                shutil.rmtree(old, ignore_errors=True)
    with one_sentence(f"cannot write to {near}"):
        trial = tempfile.mkdtemp(prefix=TRIAL, dir=near)
    in_main = threading.current_thread() is threading.main_thread()
    if in_main:  # SIGTERM ends a check as Ctrl-C does; training has its own way
        before = signal.signal(signal.SIGTERM, _stop_check)
    try:
        yield trial
    except StoppedError as stopped:
        stopped.args = ("the check was stopped; nothing of it stays.",)
        raise
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)
        shutil.rmtree(trial, ignore_errors=True)


def _stop_check(signal_number: int, frame: Any) -> None:
    raise StoppedError("", signal_number)


def _check_begun(folder: RunFolder, config: Config) -> LoadedArrays:
    """What the folder's run would go on from; raises what would keep it from that."""
    continued(folder.config(), config)
    # Nobody else may be writing there.
    with CheckpointStore(folder.path, guarded_files=GUARDED, note=say):
        latest = load_arrays(folder.path, "latest", note=say)
    if "training" not in latest.arrays:
        raise InputError(
            f"{folder.path} holds parameters to translate with and no optimizer: begin "
            "another run from them with --init-from."
        )
    say(f"  the run that is there would go on from step {latest.step:,}")
    return latest


def _trial_of(config: Config, run: str) -> Config:
    """A run of a few updates at the peak of the learning rate, in batches of the one
    shape that holds every pair."""
    train = dataclasses.replace(
        config.train,
        **{"epochs": 0, "minutes": 0.0, "steps": CHECK_STEPS},
        schedule="constant",
        warmup_steps=0,
        max_shapes=1,
        max_bad_updates=1,
        validate_steps=0,
        patience=0,
        metric_pairs=min(config.train.metric_pairs, TRIAL_PAIRS),
    )
    # On this host alone: the folder is of this process.
    return config.replace(run=run, train=train, distributed=False)


def preset_for(name: str, arguments: list[str]) -> Config:
    """The preset, without its end where the arguments give another."""
    config = preset(name)
    ends = [
        end
        for end in ("epochs", "steps", "minutes")
        if any(a.split("=")[0] == f"--train.{end}" for a in arguments)
    ]
    if not ends:
        return config
    changes = {"epochs": 0, "steps": 0, "minutes": 0.0}
    if "minutes" in ends and config.train.schedule in ("cosine", "linear"):
        changes["schedule"] = "auto"  # whose end is a number of steps
    return config.replace(train=dataclasses.replace(config.train, **changes))


HELP = """\
--preset NAME    where the options start from; those that are given win:

{presets}

--show-config    print all options as JSON, and end
--check          try all that the run will need, and end: the corpus, one step of the
                 largest batch, validation, saving, loading, translating
"""


def train(arguments: list[str]) -> None:
    """The door: options from the command line, then `fit`.

    `--preset NAME` says where the options start from, `--show-config` prints them and
    ends, `--check` tries everything that a run will need.
    """
    name, arguments = take_option(arguments, "--preset")
    if "--help-all" in arguments:
        print(HELP.format(presets=describe_presets()))
    asked = {flag: flag in arguments for flag in ("--show-config", "--check")}
    arguments = [argument for argument in arguments if argument not in asked]
    start = preset_for(name or "starter", arguments)
    config = parse(Config, arguments, prog="train", default=start)
    if asked["--show-config"]:
        config, _ = decided(config, start.model)
        print(json.dumps(dataclasses.asdict(config), indent=1, ensure_ascii=False))
    elif asked["--check"]:
        check(config, start.model)
    else:
        _fit(config, verbose=True, show_stages=True, default_model=start.model)


def main() -> None:
    """python -m flaxformer_mt.train"""
    run_door(train)


if __name__ == "__main__":
    main()
