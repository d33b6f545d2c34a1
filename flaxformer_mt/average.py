"""Averages the parameters of several steps: `python -m flaxformer_mt.average`.

Steps of one run lie around the same low place of the loss; their mean is often lower
than any one of them (Vaswani et al. 2017, section 6.1, averaged the last 5 or 20). The
training has to keep them first: `--train.keep-last 5` or `--train.keep-best 5`.
"""

import contextlib
import dataclasses
import functools
import operator
import shutil
from collections.abc import Sequence
from typing import Any, Literal

import jax
import numpy as np

from flaxformer_mt.command_line import parse, run_door
from flaxformer_mt.config import Config
from flaxformer_mt.errors import InputError, StorageError
from flaxformer_mt.model.transformer import Transformer, make_model
from flaxformer_mt.terminal import say
from flaxformer_mt.text.batching import EpochBatches, SpecialIds, choose_shapes
from flaxformer_mt.text.encoded import EncodedPairs
from flaxformer_mt.text.prepared import HELD_OUT
from flaxformer_mt.text.tokenizer import Tokenizer
from flaxformer_mt.training import checkpoints, storage
from flaxformer_mt.training.devices import choose_device
from flaxformer_mt.training.run_folder import GUARDED, RunFolder
from flaxformer_mt.training.step import loss_over

ATTEMPTS = 5
DEFAULT_LAST = 5  # steps, or as many as there are


@dataclasses.dataclass(frozen=True, kw_only=True)
class AverageOptions:
    """Averages the parameters of several steps of a run into a folder of its own."""

    # Folder of a trained run that has kept several steps (train.keep_last, keep_best).
    run: str = ""
    # New folder, to translate with.
    out: str = ""
    # How many of the last steps, or of the best. None given: the last 5, or as many as
    # there are.
    last: int = 0
    best: int = 0
    # Where to compute the validation losses; auto takes a GPU where there is one.
    device: Literal["auto", "cpu", "gpu"] = "auto"

    def __post_init__(self) -> None:
        for name in ("run", "out"):
            if not getattr(self, name).strip():
                raise InputError(f"--{name} must name a folder; it was not given.")
        if self.last and self.best:
            raise InputError(
                f"give one of --last and --best; got {self.last} and {self.best}."
            )
        for name in ("last", "best"):
            if (value := getattr(self, name)) and value < 2:
                raise InputError(f"--{name} must be at least 2 steps; got {value}.")


def average_params(run_folder: storage.Folder, steps: Sequence[int]) -> dict[str, Any]:
    """The mean of the steps' parameters: summed as float64, cast back at the end.

    Returns nested dicts of NumPy arrays, as `load_params` does.

    Raises:
      InputError: no step is named, or one is not there.
      StorageError: a step is damaged.
    """
    if not steps:
        raise InputError("an average takes at least one step; got none.")
    trees = (checkpoints.load_params(run_folder, step).params for step in steps)

    def to_sum(tree: Any) -> Any:
        return jax.tree.map(lambda x: x.astype(np.float64), tree)

    first = next(trees)
    total = functools.reduce(
        lambda so_far, tree: jax.tree.map(operator.add, so_far, to_sum(tree)),
        trees,  # one at a time: a model may be large
        to_sum(first),
    )
    return jax.tree.map(
        lambda x, like: (x / len(steps)).astype(like.dtype), total, first
    )


def choose_steps(folder: RunFolder, options: AverageOptions) -> list[int]:
    """The undamaged steps to average, in rising order; a damaged one is told.

    Raises:
      InputError: the run has not kept as many.
    """
    which = "best" if options.best else "latest"
    wanted = options.best or options.last
    chosen = []
    for step in checkpoints.rated_steps(folder.path, which):
        if len(chosen) == (wanted or DEFAULT_LAST):
            break
        try:
            checkpoints.load_params(folder.path, step)
        except StorageError as damage:
            say(f"  step {step} is left out: {damage}")
        else:
            chosen.append(step)
    if len(chosen) < max(wanted, 2):
        have = ", ".join(map(str, sorted(chosen))) or "none"
        raise InputError(
            f"{folder.path} has {len(chosen)} of the {max(wanted, 2)} steps that an "
            f"average takes here ({have}): train with --train.keep-last "
            f"{max(wanted, DEFAULT_LAST)}."
        )
    return sorted(chosen)


def average_now(
    folder: RunFolder, options: AverageOptions
) -> tuple[list[int], dict[str, Any]]:
    """The steps and their mean. A training that goes on meanwhile may take a step away
    between the two: then they are chosen again.

    Raises:
      InputError, StorageError: see choose_steps and average_params.
    """
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(InputError):
            steps = choose_steps(folder, options)
            return steps, average_params(folder.path, steps)
    steps = choose_steps(folder, options)
    return steps, average_params(folder.path, steps)


class KeptPairs:
    """The pairs that a run kept for validation, to measure parameters on."""

    def __init__(self, folder: RunFolder, config: Config) -> None:
        src, tgt = folder.tokenizers()
        pairs = folder.held_out("validation")
        self.num_pairs = len(pairs)
        self.batches = held_out_batches(
            config, src, tgt, [(src.encode(p.src), tgt.encode(p.tgt)) for p in pairs]
        )
        self.model: Transformer = make_model(
            config.model,
            src_vocab_size=len(src.vocabulary),
            tgt_vocab_size=len(tgt.vocabulary),
        )

    def loss(self, params: Any) -> float:
        """Nats a token over all pairs: sums added, divided once."""
        batches = (batch for _, batch in self.batches.in_order())
        return loss_over(jax.device_put(params), batches, model=self.model)


def held_out_batches(
    config: Config,
    src: Tokenizer,
    tgt: Tokenizer,
    pairs: list[tuple[list[int], list[int]]],
) -> EpochBatches:
    """Pairs of token ids in batches of the run's size, in order."""
    encoded = EncodedPairs.of(pairs)
    shapes = choose_shapes(
        encoded.lengths,
        batch_sentences=config.train.batch_sentences,
        batch_tokens=config.train.batch_tokens,
        max_length=config.model.max_length,
        max_shapes=config.train.max_shapes,
    )
    s, t = src.vocabulary, tgt.vocabulary
    specials = SpecialIds(s.eos_id, s.pad_id, t.bos_id, t.eos_id, t.pad_id)
    return EpochBatches(encoded, shapes, specials, seed=config.seed)


def compare(
    folder: RunFolder, config: Config, steps: list[int], params: Any
) -> dict[str, float]:
    """The validation loss of the average and of each of its steps, told on the way;
    nothing where the run has no pairs for it."""
    try:
        kept = folder.held_out("validation")
    except InputError as damage:
        say(f"  {damage}")
        kept = []
    if not kept:
        say("  the run kept no validation pairs: what the average gains is not known")
        return {}
    validation = KeptPairs(folder, config)
    losses = {"average": validation.loss(params)}
    for step in steps:
        with contextlib.suppress(InputError):  # gone, where a training goes on
            member = checkpoints.load_params(folder.path, step).params
            losses[str(step)] = validation.loss(member)
    say(f"  validation loss on {validation.num_pairs:,} pairs, nats a token:")
    for name, loss in losses.items():
        say(f"    {name if name == 'average' else f'step {int(name):,}':12} {loss:.4f}")
    lowest = min(losses, key=losses.get)
    if lowest != "average":
        say(f"  step {int(lowest):,} alone is better than the average of them")
    return losses


def refuse_in_use(out: RunFolder) -> None:
    """Raises InputError unless the folder is new or empty."""
    with storage.one_sentence(f"cannot read {out.path}"):
        if out.path.exists() and (not out.path.is_dir() or any(out.path.iterdir())):
            raise InputError(f"--out {out.path} is there already: choose a new folder.")


def write_average(
    folder: RunFolder, out: RunFolder, params: Any, steps: list[int], losses: dict
) -> None:
    """Returns once `out` is a folder to translate and evaluate with."""
    record = {"averaged_steps": steps, "validation_losses": losses}
    loss = losses.get("average")
    checkpoints.publish(
        *(folder.path, out.path, params),
        record=record,
        guarded_files=GUARDED,
        step=steps[-1],
        loss=loss,
    )
    held_out = folder.path / HELD_OUT
    with contextlib.suppress(InputError):  # damaged: `compare` has told
        folder.held_out("test")
        if held_out.is_file():
            with storage.one_sentence(f"cannot write to {out.path}"):
                shutil.copyfile(held_out, out.path / HELD_OUT)


def average(arguments: list[str]) -> None:
    """The door: options from the command line, a model in a new folder."""
    options = parse(AverageOptions, arguments, prog="average")
    folder, out = RunFolder.of(options.run), RunFolder.of(options.out)
    config = folder.config()
    refuse_in_use(out)
    choose_device(options.device)
    steps, params = average_now(folder, options)
    say(f"average of {len(steps)} steps: {', '.join(f'{step:,}' for step in steps)}")
    losses = compare(folder, config, steps, params)
    write_average(folder, out, params, steps, losses)
    say(f"saved in {out.path}")
    say(f"  translate:    python -m flaxformer_mt.translate --run {out.path}")


def main() -> None:
    """python -m flaxformer_mt.average"""
    run_door(average)


if __name__ == "__main__":
    main()
