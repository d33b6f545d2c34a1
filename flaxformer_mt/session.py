"""One stretch of training: from where a run folder stands to an end.

`Session` is the loop with its clocks, checkpoints and printing. What is learned from a
batch is the pure function in training/step.py; `fit` in train.py opens the folder.
"""

import dataclasses
import os
import platform
import time
from collections import deque
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import numpy as np

from flaxformer_mt import __version__
from flaxformer_mt.config import Config
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.errors import DivergedError, InputError, StoppedError
from flaxformer_mt.model.transformer import count_parameters, make_model
from flaxformer_mt.terminal import Progress, in_words, say, say_translation
from flaxformer_mt.text.batching import Batch, EpochBatches, Prefetch, Recut, Shape
from flaxformer_mt.text.prepared import Prepared, TextPair
from flaxformer_mt.training.checkpoints import CheckpointStore
from flaxformer_mt.training.devices import describe_device
from flaxformer_mt.training.loss import Totals
from flaxformer_mt.training.optimizer import make_optimizer, make_schedule
from flaxformer_mt.training.run_folder import RunFolder
from flaxformer_mt.training.step import (
    TrainState,
    eval_step,
    init_state,
    train_step,
)

# Steps handed to the device before the host looks at their losses: it never waits for
# the newest step, so the device always has the next one.
STEPS_IN_FLIGHT = 4
# Where a validation follows each epoch, but not more often than this: an epoch of a
# tiny corpus is shorter than its validation.
MIN_STEPS_TO_VALIDATE = 100


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What a call of `fit` came to."""

    run: str  # the run folder
    step: int  # updates in all
    best_step: int
    best_loss: float  # nats a token; of validation, or of training where there is none
    history: list[dict[str, Any]]  # a record for each validation

    def translator(self) -> Translator:
        """The best model of the run."""
        return Translator.load(self.run)


class StopRequests:
    """Signals that came in; looked at between two steps."""

    def __init__(self) -> None:
        self.signal_number = 0

    def __call__(self, signal_number: int, frame: Any) -> None:
        if self.signal_number:  # asked twice: at once
            raise KeyboardInterrupt
        self.signal_number = signal_number
        # Not print, which may not be entered twice: a signal can come in one.
        os.write(2, b"stopping after this step; once more stops at once\n")


class InFlight(NamedTuple):
    """A step that the device may still be computing."""

    totals: Totals
    num_tokens: int  # real target tokens of its batch
    place: tuple[int, int, int]  # step, epoch, number of the batch in it


class Session:
    """One stretch of training: from where the run folder stands to an end."""

    def __init__(
        self,
        folder: RunFolder,
        begun: Config,  # what the run is, as saved: model, data, schedule
        asked: Config,  # when it ends and what it shows, as asked for now
        prepared: Prepared,
        shapes: list[Shape],
        store: CheckpointStore,
        requests: StopRequests,
        *,
        verbose: bool,
    ) -> None:
        self.folder, self.begun, self.asked = folder, begun, asked
        self.prepared, self.shapes = prepared, shapes
        self.store, self.requests = store, requests
        self.verbose = verbose
        self.tell = say if verbose else lambda _="": None
        self._make_batches()
        self._make_model()
        self._start_or_resume()

    # ---- setting up ----------------------------------------------------------------

    def _make_batches(self) -> None:
        prepared, seed = self.prepared, self.begun.seed
        self.batches = EpochBatches(
            *(prepared.train, self.shapes, prepared.specials),
            seed=seed,
            weights=prepared.data.weights,
            recut=recut_of(self.begun, prepared),
        )
        self.validation_batches = EpochBatches(
            *(prepared.validation, self.shapes, prepared.specials), seed=seed
        )

    def _make_model(self) -> None:
        src, tgt = self.prepared.src_tokenizer, self.prepared.tgt_tokenizer
        self.model = make_model(
            self.begun.model,
            src_vocab_size=len(src.vocabulary),
            tgt_vocab_size=len(tgt.vocabulary),
        )
        horizon = self._end_of(self.begun)
        self.tx = make_optimizer(self.begun.train, num_steps=horizon)
        self.schedule = make_schedule(self.begun.train, num_steps=horizon)

    def _end_of(self, config: Config) -> int | None:
        """The step at which a config ends; None where the clock decides."""
        kind, amount = config.train.budget
        if kind == "epochs":
            return int(amount) * len(self.batches)
        return int(amount) if kind == "steps" else None

    def _start_or_resume(self) -> None:
        root = jax.random.key(self.begun.seed)
        init_key, self.dropout_key = jax.random.split(root)
        self.epoch, self.batch_in_epoch = 0, 0
        self.history: list[dict[str, Any]] = []
        self.totals = [0.0, 0.0]  # nats and tokens since the last validation
        self.seconds_before = 0.0
        self.started = time.monotonic()
        self.step = self.saved_step = 0
        self.num_skipped = self.bad_in_row = 0
        self.fingerprint = self.prepared.fingerprint()
        self.in_flight: deque[InFlight] = deque()
        self.ready: Prefetch[Batch] | None = None
        if self.store.steps():
            self._resume(init_key)
        else:
            self.state = init_state(self.model, self.tx, init_key)

    def _resume(self, key: jax.Array) -> None:
        saved = [tokenizer.to_dict() for tokenizer in self.folder.tokenizers()]
        src, tgt = self.prepared.src_tokenizer, self.prepared.tgt_tokenizer
        self._refuse_changed_corpus(saved == [src.to_dict(), tgt.to_dict()])
        # Only the shapes: nothing is computed for what the checkpoint holds.
        shapes = jax.eval_shape(lambda: init_state(self.model, self.tx, key))
        training = (shapes.opt_state, shapes.skipped)
        restored = self.store.restore(shapes.params, training)
        record = restored.record
        self._refuse_changed_corpus(record["fingerprint"] == self.fingerprint)
        params, training = jax.device_put((restored.params, restored.training))
        self.state = TrainState(
            jax.device_put(np.int32(restored.step)), params, *training
        )
        self.step = self.saved_step = restored.step
        self.epoch, self.batch_in_epoch = record["epoch"], record["batch_in_epoch"]
        self.history, self.totals = record["history"], record["totals"]
        self.seconds_before = record["seconds"]
        self.num_skipped = int(self.state.skipped.total)
        self.bad_in_row = int(self.state.skipped.in_row)
        # A kill may have come between the checkpoint and the log.
        self.folder.write_metrics(self.history)
        self.tell(f"  resumed from step {self.step:,}")

    def _refuse_changed_corpus(self, is_same: bool) -> None:
        if not is_same:
            raise InputError(
                f"the corpus has changed since {self.folder.path} was begun: put the "
                "old one back, or choose another --run."
            )

    def describe(self) -> None:
        """Tells what will be trained, and on what."""
        cfg = self.model.cfg
        layers = f"{cfg.num_encoder_layers}+{cfg.num_decoder_layers} layers"
        self.tell(
            f"  model: {count_parameters(self.state.params):,} parameters, {layers}, "
            f"d_model {cfg.d_model}, d_ff {cfg.d_ff}, {cfg.num_heads} heads, "
            f"{cfg.src_vocab_size:,} source and {cfg.tgt_vocab_size:,} target tokens "
            f"({self.prepared.data.tokenizer})"
        )
        shapes = ", ".join(f"{b} x {s}/{t}" for b, s, t in self.shapes)
        self.tell(
            f"  batches: {len(self.batches):,} an epoch, sentences x source/target "
            f"width: {shapes}; each shape compiles at its first step"
        )
        src, tgt = self.batches.padding()
        self.tell(f"  padding: {src:.1%} of the source positions, {tgt:.1%} of target")
        what = (
            "validation"
            if self.prepared.validation
            else "training (no pair is kept for validation)"
        )
        self.tell(f"  the best checkpoint is the one with the lowest loss of {what}")

    # ---- the loop ------------------------------------------------------------------

    def run(self, more_steps: int) -> None:
        """Trains to the end, validating and saving on the way."""
        end = self.step + more_steps if more_steps else self._end_of(self.asked)
        minutes = None if more_steps or end else self.asked.train.minutes
        if self._at_end(end, minutes):
            if self.step and self.validated_step != self.step:
                self._validate_and_save()
            self.tell("already at its end: nothing was left to do")
            self._tell_finished()
            return
        self.tokens_shown, self.last_shown = 0.0, time.monotonic()
        self.waited_before, self.wait_since = 0.0, time.monotonic()
        total = end if end else minutes * 60
        with (
            Progress("training", total, visible=self.verbose) as progress,
            Prefetch(self.batches.onwards(self.epoch, self.batch_in_epoch)) as ready,
        ):
            self.ready = ready
            self._train(end, minutes, progress)
        if self.validated_step != self.step:
            self._validate_and_save()
        self._tell_finished()

    @property
    def validated_step(self) -> int:
        """The step of the last validation, 0 before the first."""
        return self.history[-1]["step"] if self.history else 0

    def _at_end(self, end: int | None, minutes: float | None) -> bool:
        if end is not None:
            return self.step >= end
        # However short the time, a run without a step would be none.
        return self.step > 0 and self._seconds() >= 60 * minutes

    def _train(
        self, end: int | None, minutes: float | None, progress: Progress
    ) -> None:
        while not self._at_end(end, minutes):
            batch = next(self.ready)
            self.state, totals = train_step(
                *(self.state, batch, self.dropout_key),
                model=self.model,
                tx=self.tx,
                label_smoothing=self.begun.train.label_smoothing,
            )
            self.in_flight.append(
                InFlight(totals, int(batch.tgt_mask.sum()), self._place())
            )
            self.step += 1
            self.batch_in_epoch += 1
            if len(self.in_flight) > STEPS_IN_FLIGHT:
                self._land(progress, minutes)
            epoch_ends = self.batch_in_epoch == len(self.batches)
            if epoch_ends:
                self.epoch, self.batch_in_epoch = self.epoch + 1, 0
            if self._validation_is_due(epoch_ends):
                self._validate_and_save()
            if self.requests.signal_number:
                self._save_and_stop()

    def _place(self) -> tuple[int, int, int]:
        """(step, epoch, number in the epoch) of the batch at hand."""
        return self.step + 1, self.epoch, self.batch_in_epoch

    def _validation_is_due(self, epoch_ends: bool) -> bool:
        # Decided from the history, which a checkpoint holds: a run that was stopped
        # validates at the same steps as one that was not.
        every = self.begun.train.validate_steps
        if every:
            return self.step % every == 0
        return epoch_ends and self.step - self.validated_step >= MIN_STEPS_TO_VALIDATE

    def _land(
        self, progress: Progress | None = None, minutes: float | None = None
    ) -> None:
        """Reads the oldest step's loss, which the device has by now."""
        landed = self.in_flight.popleft()
        nats, num_tokens = float(landed.totals.nats), float(landed.totals.num_tokens)
        self.totals[0] += nats
        self.totals[1] += num_tokens
        self.tokens_shown += num_tokens
        # The step leaves a batch that is not finite out of its totals.
        if landed.num_tokens and not num_tokens:
            self._count_skipped(landed)
        else:
            self.bad_in_row = 0
        now = time.monotonic()
        if progress is None or now - self.last_shown < 0.5:
            return
        speed = self.tokens_shown / (now - self.last_shown)
        self.tokens_shown, self.last_shown = 0.0, now
        done = self._seconds() if minutes else self.step
        progress.show(
            done,
            f"epoch {self.epoch + 1}  step {self.step:,}  "
            f"loss {self.totals[0] / max(self.totals[1], 1):.3f}  "
            f"{speed:,.0f} tokens/s",
        )

    def _land_all(self) -> None:
        while self.in_flight:
            self._land()

    def _count_skipped(self, landed: "InFlight") -> None:
        """Tells of an update that was skipped; ends the run after too many in a row."""
        step, epoch, number = landed.place
        self.num_skipped += 1
        self.bad_in_row += 1
        self.tell(
            f"  step {step:,}: non-finite gradient, update skipped ({self.num_skipped})"
        )
        if self.bad_in_row < self.begun.train.max_bad_updates:
            return
        members = self.batches.plan(epoch)[number][1]
        places = ", ".join(self.prepared.place(i) for i in members[:8])
        best = self.fitted().best_step
        kept = f"step {best:,}, the best, is intact" if best else "no step was saved"
        raise DivergedError(
            f"stopped at step {step:,}: {self.bad_in_row} updates in a row had a "
            f"non-finite gradient (norm {float(self.state.skipped.last_norm)}, "
            f"learning rate {float(self.schedule(step - 1)):.3g}, the last batch from "
            f"{places}); {kept}; try a lower --train.learning-rate in a new --run."
        )

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    # ---- validating and saving -----------------------------------------------------

    def _validate_and_save(self) -> None:
        self._land_all()
        nats, num_tokens = self.totals
        # Where every update was skipped there is no loss, and so nothing to be best.
        loss = train_loss = nats / num_tokens if num_tokens else float("nan")
        entry = {
            "step": self.step,
            "epoch": round(self.step / len(self.batches), 3),
            "train_loss": train_loss,
            "learning_rate": float(self.schedule(max(self.step - 1, 0))),
            "seconds": round(self._seconds(), 1),
            "data_wait": round(self._data_wait(), 5),
        }
        if self.prepared.validation:
            loss = entry["validation_loss"] = self._validation_loss()
            if not np.isfinite(loss):
                self.tell(f"  warning: validation loss {loss}: never the best")
        losses = [e["loss"] for e in self.history if e["loss"] is not None]
        best = min(losses, default=np.inf)
        entry["loss"] = loss if np.isfinite(loss) else None
        self.history.append(entry)
        self.totals = [0.0, 0.0]
        self._save(loss)
        self.folder.write_metrics(self.history)
        self._tell_validation(entry, loss < best)
        # None of this was training: what follows is.
        if self.ready is not None:
            self.waited_before = self.ready.seconds_waited
            self.wait_since = time.monotonic()

    def _data_wait(self) -> float:
        """The share of the training time since the last validation in which the next
        batch was not ready."""
        if self.ready is None:
            return 0.0
        waited = self.ready.seconds_waited - self.waited_before
        return waited / max(time.monotonic() - self.wait_since, 1e-9)

    def _validation_loss(self) -> float:
        """Nats a token over all validation pairs: sums added, divided once."""
        sums = [
            eval_step(self.state.params, batch, model=self.model)
            for _, batch in self.validation_batches.in_order()
        ]
        nats, num_tokens = np.sum(
            [(float(t.nats), float(t.num_tokens)) for t in jax.device_get(sums)], axis=0
        )
        return float(nats / num_tokens)

    def _save(self, loss: float | None) -> None:
        record = {
            "epoch": self.epoch,
            "batch_in_epoch": self.batch_in_epoch,
            "history": self.history,
            "totals": self.totals,
            "seconds": self._seconds(),
            "fingerprint": self.fingerprint,
            "environment": environment(),
        }
        training = (self.state.opt_state, self.state.skipped)
        self.store.save(self.step, self.state.params, training, record, loss=loss)
        self.saved_step = self.step

    def _save_and_stop(self) -> None:
        self._land_all()
        if self.saved_step != self.step:
            self._save(None)
        raise StoppedError(
            f"saved step {self.step:,}, stopping; the same command goes on from here.",
            self.requests.signal_number,
        )

    # ---- telling -------------------------------------------------------------------

    def _tell_validation(self, entry: dict[str, Any], is_best: bool) -> None:
        if not self.verbose:
            return
        held_out = entry.get("validation_loss")
        losses = f"training loss {entry['train_loss']:.3f}"
        if held_out is not None:
            losses += f", validation loss {held_out:.3f}"
        mark = ", the best so far" if is_best else ""
        mark += f"; waited for data {entry['data_wait']:.1%} of the time"
        self.tell(
            f"epoch {entry['epoch']:.2f}, step {self.step:,}, "
            f"{in_words(self._seconds())}: {losses}{mark}"
        )
        pairs = spread(self.prepared.validation_texts, self.asked.train.show_sentences)
        if not pairs:
            return
        translations = self.translator().translate([pair.src for pair in pairs])
        for pair, translation in zip(pairs, translations, strict=True):
            say_translation(pair.src, pair.tgt, translation)
            self.tell()

    def translator(self) -> Translator:
        """The model as it is now."""
        src, tgt = self.prepared.src_tokenizer, self.prepared.tgt_tokenizer
        return Translator(self.model, self.state.params, src, tgt)

    def _tell_finished(self) -> None:
        fitted = self.fitted()
        self.tell(
            f"finished at step {fitted.step:,} after {in_words(self._seconds())}; best "
            f"loss {fitted.best_loss:.3f} at step {fitted.best_step:,}, saved in "
            f"{fitted.run}"
        )
        self.tell(
            f"  translate:    python -m flaxformer_mt.translate --run {fitted.run}"
        )
        self.tell(
            f"  evaluate:     python -m flaxformer_mt.evaluate --run {fitted.run}"
        )
        kind, amount = self.asked.train.budget
        self.tell(
            "  go on:        the same command with a later end, as "
            f"--train.{kind} {2 * amount:g}"
        )

    def fitted(self) -> Fitted:
        """Where the run stands."""
        scored = [e for e in self.history if e["loss"] is not None]
        best = min(scored, key=lambda e: e["loss"], default={"step": 0, "loss": np.nan})
        return Fitted(
            run=str(self.folder.path),
            step=self.step,
            best_step=best["step"],
            best_loss=best["loss"],
            history=list(self.history),
        )


def recut_of(config: Config, prepared: Prepared) -> Recut | None:
    """How training cuts words anew in each epoch; None where it does not."""
    if not config.data.subword_sampling:
        return None
    return Recut(
        *(prepared.src_tokenizer, prepared.tgt_tokenizer),
        strength=config.data.subword_sampling,
        seed=config.seed,
    )


def spread(pairs: list[TextPair], count: int) -> list[TextPair]:
    """So many of the pairs, evenly spread: a corpus often changes on its way."""
    count = min(count, len(pairs))
    return [pairs[(2 * i + 1) * len(pairs) // (2 * count)] for i in range(count)]


def environment() -> dict[str, str]:
    """Versions and machine, recorded with each checkpoint."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "flaxformer-mt": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": describe_device(jax.config.jax_default_device or jax.devices()[0]),
        **{package: version(package) for package in packages},
    }
