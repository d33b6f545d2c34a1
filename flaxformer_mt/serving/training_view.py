"""A training seen from outside: what GET /api/training answers, from files alone.

    config.json       when the run is to end
    metrics.jsonl     an entry for each validation, rewritten whole
    progress.jsonl    rows that grow while it trains (a run may have none):
                      {"step", "epoch", "loss", "learning_rate", "tokens_a_second",
                      "seconds", "steps" or "minutes" (the end), "ended"}, and
                      {"step", "samples": [{"src", "tgt", "ref"}]} at a validation
    checkpoints/lock.pid   the process that trains

Another process may be writing them: half a line is no line yet, and a step that comes
twice, since a run was stopped and resumed, counts as it came last.
"""

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flaxformer_mt.config import Config
from flaxformer_mt.training.run_folder import METRICS, RunFolder
from flaxformer_mt.training.storage import is_held

PROGRESS = "progress.jsonl"
MOST_POINTS = 2000
MOST_BYTES = 32 * 2**20  # of a file; of a longer one its end is read
ENOUGH_STEPS = 100  # that the mean of a whole run says something

Entry = dict[str, Any]


def has_log(folder: RunFolder) -> bool:
    """Whether the run has something to show."""
    return any((folder.path / name).is_file() for name in (METRICS, PROGRESS)) or (
        trainer(folder) is not None
    )


def training_view(folder: RunFolder, after: int = 0) -> Entry:
    """How the run stands, with what is newer than a step.

    Raises:
      FlaxformerError: there is no run.
    """
    config = folder.config()
    validations = _by_step(_rows(folder.path / METRICS))
    rows = list(_rows(folder.path / PROGRESS))
    progress = _by_step(row for row in rows if "samples" not in row)
    samples = {row["step"]: row["samples"] for row in rows if "samples" in row}
    if not progress:  # a run of before there was a progress
        progress = [_as_progress(entry) for entry in validations]
    last = max([*progress, *validations], key=lambda e: e["step"], default={})
    plan = _Plan.of(config, validations, progress[-1] if progress else last)
    state = _state(folder, plan, last)
    speed = last.get("tokens_a_second") if state == "training" else None
    return {
        "run": folder.path.resolve().name,
        "state": state,
        "step": last.get("step", 0),
        "steps": plan.steps,
        "epoch": _number(last.get("epoch")),
        "learning_rate": _number(last.get("learning_rate")),
        "tokens_a_second": _number(speed),
        "seconds_left": (
            plan.seconds_left(last, pace(progress)) if state == "training" else None
        ),
        "best": _best(config, validations),
        "train": thinned(
            [
                [entry["step"], _number(entry.get("loss")), _number(rate)]
                for entry in progress
                if entry["step"] > after
                for rate in [entry.get("learning_rate")]
            ]
        ),
        "validations": thinned(
            [
                _shown(entry, samples.get(entry["step"], entry.get("samples")))
                for entry in validations
                if entry["step"] > after
            ]
        ),
    }


def thinned(points: list[Any]) -> list[Any]:
    """At most MOST_POINTS of them, evenly, the last among them."""
    if len(points) <= MOST_POINTS:
        return points
    last = len(points) - 1
    return [points[round(i * last / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]


# ---- files ---------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[Entry]:
    """The objects of a file of JSON lines that have a step; none without a file."""
    content = b""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        start = max(os.fstat(file.fileno()).st_size - MOST_BYTES, 0)
        file.seek(start)
        content = file.read(MOST_BYTES + 2**20)
        if start:
            content = content.partition(b"\n")[2]
    for line in content.split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and type(row.get("step")) is int:
                yield row


def _by_step(rows: Iterator[Entry] | Sequence[Entry]) -> list[Entry]:
    """In the order of steps. A step that is lower than the one before it means that the
    run went back to a checkpoint: what lay beyond is not a part of it any more."""
    kept: list[Entry] = []
    for row in rows:
        while kept and kept[-1]["step"] >= row["step"]:
            kept.pop()
        kept.append(row)
    return kept


def trainer(folder: RunFolder) -> int | None:
    """The process that trains into the folder; None where there is none.

    One that was killed leaves its number, which another process may have by now: the
    lock tells.
    """
    checkpoints = folder.path / "checkpoints"
    try:
        pid = int((checkpoints / "lock.pid").read_text(encoding="ascii")[:20])
        return pid if is_held(checkpoints) else None
    except (OSError, ValueError):
        return None


# ---- what they come to ---------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Plan:
    """When a run ends."""

    steps: int | None
    seconds: float | None  # of training, in all

    @classmethod
    def of(cls, config: Config, validations: list[Entry], last: Entry) -> "_Plan":
        # As the newest start had it: the config tells of the first.
        if _number(last.get("steps")):
            return cls(int(last["steps"]), None)
        if _number(last.get("minutes")):
            return cls(None, 60.0 * last["minutes"])
        kind, amount = config.train.budget
        if kind == "steps":
            return cls(int(amount), None)
        if kind == "minutes":
            return cls(None, 60.0 * amount)
        # Epochs have as many steps as the run has shown so far.
        known = [e for e in [*validations, last] if _number(e.get("epoch"))]
        if not known:
            return cls(None, None)
        return cls(round(amount * known[-1]["step"] / known[-1]["epoch"]), None)

    def is_over(self, last: Entry) -> bool:
        """Whether the run has come to its end."""
        if self.steps is not None:
            # Of epochs, whose steps are an estimate, to a thousandth.
            return last.get("step", 0) >= self.steps * 0.999
        seconds = _number(last.get("seconds"))
        return bool(self.seconds and seconds and seconds >= self.seconds)

    def seconds_left(self, last: Entry, pace: float | None) -> float | None:
        """How long it will take from here; pace: seconds a step."""
        seconds = _number(last.get("seconds"))
        if self.seconds is not None and seconds is not None:
            return round(max(self.seconds - seconds, 0.0), 1)
        if self.steps is None or pace is None:
            return None
        return round(max(self.steps - last["step"], 0) * pace, 1)


def pace(progress: list[Entry]) -> float | None:
    """Seconds a step, over the later half of what is known: at its beginning a run
    compiles. None where there is too little to tell."""
    rows = [row for row in progress if _number(row.get("seconds")) is not None]
    if not rows:
        return None
    last = rows[-1]
    later = [row for row in rows[:-1] if row["step"] >= last["step"] / 2] or rows[-2:-1]
    if later:
        steps = last["step"] - later[0]["step"]
        return max(last["seconds"] - later[0]["seconds"], 0.0) / steps
    return last["seconds"] / last["step"] if last["step"] >= ENOUGH_STEPS else None


def _state(folder: RunFolder, plan: _Plan, last: Entry) -> str:
    if trainer(folder) is not None:
        return "training"
    return "finished" if plan.is_over(last) or last.get("ended") else "stopped"


def _as_progress(entry: Entry) -> Entry:
    return {**entry, "loss": entry.get("train_loss")}


def _best(config: Config, validations: list[Entry]) -> Entry | None:
    by = config.train.best_by
    rated = [e for e in validations if _number(e.get(by)) is not None]
    if not rated:
        return None
    best = (min if by == "loss" else max)(rated, key=lambda e: e[by])
    return {"step": best["step"], "metric": by, "value": best[by]}


def _shown(entry: Entry, samples: Any) -> Entry:
    """A validation for the page."""
    shown: Entry = {"step": entry["step"], "loss": _number(entry.get("loss"))}
    for name in ("bleu", "chrf"):
        if _number(entry.get(name)) is not None:
            shown[name] = entry[name]
    shown["samples"] = [
        {side: str(sample.get(side, "")) for side in ("src", "tgt", "ref")}
        for sample in samples or []
        if isinstance(sample, dict)
    ]
    return shown


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None
