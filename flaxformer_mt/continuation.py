"""What a run that goes on takes from its beginning, and what may be asked anew."""

import dataclasses
from pathlib import Path
from typing import Any

from flaxformer_mt.config import Config
from flaxformer_mt.errors import InputError
from flaxformer_mt.terminal import Tell, say

# What may differ when a run goes on: where it computes, when it ends, what it shows.
MAY_DIFFER = (
    *("epochs", "steps", "minutes", "show_sentences", "patience"),
    *("keep_last", "keep_best"),
    # How the corpus is read: what it is, its fingerprint tells.
    *("prepared", "processes"),
)
# What --allow-changes lets differ: neither the batches nor what is stored.
CHANGEABLE = {
    *("train.learning_rate", "train.schedule", "train.warmup_steps"),
    *("train.adam_b1", "train.adam_b2", "train.label_smoothing", "train.precision"),
    *("train.max_bad_updates", "train.metric_pairs", "train.validation_share"),
    *("train.validate_steps", "model.dropout_rate"),
    *("model.attention_dropout_rate", "model.feed_forward_dropout_rate"),
}


def refuse_differences(begun: Config, asked: Config, tell: Tell = say) -> None:
    """Raises InputError if a run would go on with other options than it began with."""
    old, new = _decisive(begun), _decisive(asked)
    if asked.train.minutes and asked.train.schedule == "auto":
        # No clock can end a cosine: the schedule is that of the beginning.
        new["train.schedule"] = old["train.schedule"]
    differing = [name for name in old if old[name] != new[name]]
    listed = "; ".join(f"{n} was {old[n]!r}, is now {new[n]!r}" for n in differing)
    changeable = CHANGEABLE.issuperset(differing)
    if "train.schedule" in differing and begun.train.minutes:
        # The beginning's end, which no cosine can go by, stays.
        changeable &= asked.train.schedule not in ("cosine", "linear")
    if differing and asked.allow_changes and changeable:
        tell(f"  the run goes on with other options, so not bit-identical: {listed}")
    elif differing:
        raise InputError(
            f"{asked.run} holds a run that was begun with other options ({listed}): "
            "repeat them, or choose another --run"
            + (", or go on all the same with --allow-changes." if changeable else ".")
        )


def _decisive(config: Config) -> dict[str, Any]:
    """The options that decide what is learned, by their dotted names."""
    return {
        f"{table}.{name}" if table else name: value
        for table, fields in (
            ("", {"seed": config.seed, "init_from": config.init_from}),
            ("data", dataclasses.asdict(config.data)),
            ("model", dataclasses.asdict(config.model)),
            ("train", dataclasses.asdict(config.train)),
        )
        for name, value in fields.items()
        if name not in MAY_DIFFER
    }


def changed_corpus(run: Path) -> InputError:
    """The error for a run whose corpus is not the one that it was begun with."""
    return InputError(
        f"the corpus has changed since {run} was begun: put the old one back, or "
        "choose another --run."
    )


def continued(begun: Config, asked: Config) -> Config:
    """The options that a run goes on with: those it was begun with, unless the person
    allows changes."""
    if not asked.allow_changes:
        return begun
    # The schedule goes by the end that the run began with.
    ends = {n: getattr(begun.train, n) for n in ("epochs", "steps", "minutes")}
    schedule = asked.train.schedule
    if asked.train.minutes and schedule == "auto":  # as in refuse_differences
        schedule = begun.train.schedule
    train = dataclasses.replace(asked.train, **ends, schedule=schedule)
    return begun.replace(train=train, model=asked.model)
