"""One stretch of training: from where a run folder stands to an end.

`Session` is the loop with its clocks, checkpoints and printing. What is learned from a
batch is the pure function in training/step.py; `fit` in train.py opens the folder.
"""

import contextlib
import dataclasses
import os
import signal
import time
from collections import deque
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from flaxformer_mt import commentary
from flaxformer_mt.config import Config
from flaxformer_mt.continuation import changed_corpus
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.errors import DivergedError, StoppedError, StorageError
from flaxformer_mt.logbook import Logbook
from flaxformer_mt.model.transformer import count_parameters, init_params, make_model
from flaxformer_mt.terminal import Progress, say
from flaxformer_mt.text.batching import Batch, EpochBatches, Prefetch, Shape
from flaxformer_mt.text.prepared import Prepared
from flaxformer_mt.training.checkpoints import CheckpointStore
from flaxformer_mt.training.devices import Devices
from flaxformer_mt.training.environment import environment
from flaxformer_mt.training.loss import Totals
from flaxformer_mt.training.memory import check_memory, memory_of
from flaxformer_mt.training.optimizer import make_optimizer, make_schedule
from flaxformer_mt.training.programs import CompileCount
from flaxformer_mt.training.run_folder import RunFolder
from flaxformer_mt.training.step import (
    STEPS_IN_FLIGHT,
    StepOptions,
    TrainState,
    compile_step,
    compiling_init,
    state_of,
    train_step,
    train_step_by_core,
)
from flaxformer_mt.training.warm_start import warm_start
from flaxformer_mt.validation import Validation, spread

SECONDS_BETWEEN_SHOWS = 0.5
TRIAL_BATCHES = 2  # of validation, in a check
SECONDS_BETWEEN_SAVES = 600.0  # at most, as steps go
# Hosts ask each other after so many steps whether one of them is to stop.
STEPS_BETWEEN_HOSTS = 16
# Where a validation follows each epoch, but not more often than this: an epoch of a
# tiny corpus is shorter than its validation.
MIN_STEPS_TO_VALIDATE = 100


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What a call of `fit` came to."""

    run: str  # the run folder
    step: int  # updates in all
    best_step: int
    # Nats a token; of validation, or of training where there is none.
    best_loss: float
    history: list[dict[str, Any]]  # a record for each validation
    memory: int  # bytes on each device that the largest step needs, as XLA planned it

    def translator(self) -> Translator:
        """The best model of the run."""
        return Translator.load(self.run)


class StopRequests:
    """Signals that came in; looked at between two steps."""

    def __init__(self) -> None:
        self.signal_number = 0

    def __call__(self, signal_number: int, frame: Any) -> None:
        if self.signal_number and signal_number == signal.SIGINT:  # twice: at once
            raise KeyboardInterrupt
        if self.signal_number:
            raise SystemExit(128 + signal_number)
        self.signal_number = signal_number
        # Not print, which may not be entered twice: a signal can come in one. Who read
        # it may be gone, as `tee` is, which Ctrl-C ends too.
        with contextlib.suppress(OSError):
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
        devices: Devices,
        programs: CompileCount,  # open, so that it counts
        *,
        verbose: bool,
        is_trial: bool = False,  # a check: a little validation is enough
    ) -> None:
        self.programs = programs
        self.seconds_traced = 0.0  # of steps of a new shape, before they are compiled
        self.folder, self.begun, self.asked = folder, begun, asked
        self.prepared, self.shapes = prepared, shapes
        self.store, self.requests, self.devices = store, requests, devices
        self.verbose, self.is_trial = verbose, is_trial
        self.tell = say if verbose else lambda _="": None
        self.patience_lost = self.by_number = False
        self.started = time.monotonic()
        self._make_batches()
        self._make_model()
        self.validation = self._make_validation()
        self._check_memory()
        self._start_or_resume()

    # ---- setting up ----------------------------------------------------------------

    def _make_batches(self) -> None:
        prepared, seed = self.prepared, self.begun.seed
        self.batches = EpochBatches(
            *(prepared.train, self.shapes, prepared.specials),
            seed=seed,
            weights=prepared.data.weights,
            recut=prepared.recut(self.begun.data.subword_sampling, seed=seed),
        )
        self.validation_batches = EpochBatches(
            *(prepared.validation, self.shapes, prepared.specials), seed=seed
        )

    def _make_model(self) -> None:
        src, tgt = self.prepared.src_tokenizer, self.prepared.tgt_tokenizer
        cfg = self.begun.train
        self.model = make_model(
            self.begun.model,
            src_vocab_size=len(src.vocabulary),
            tgt_vocab_size=len(tgt.vocabulary),
            dtype=self._dtype(),
        )
        self.options = StepOptions(
            label_smoothing=cfg.label_smoothing,
            accumulate=cfg.accumulate,
            ema=cfg.ema,
        )
        self.train_step = train_step_by_core if self.devices.by_core else train_step
        horizon = self._end_of(self.begun)
        self.tx = make_optimizer(self.begun.train, num_steps=horizon)
        self.schedule = make_schedule(self.begun.train, num_steps=horizon)

    def _dtype(self) -> Any:
        """What matrices are multiplied in."""
        wanted = self.begun.train.precision
        on_gpu = self.devices.local[0].platform == "gpu"
        if wanted == "bfloat16" or (wanted == "auto" and on_gpu):
            return jnp.bfloat16
        return jnp.float32

    def _make_validation(self) -> Validation:
        every = self.begun.train.validate_steps
        steps = every or max(len(self.batches), MIN_STEPS_TO_VALIDATE)
        tokens = self.batches.tokens[1] / max(len(self.batches), 1)
        return Validation.of(
            *(self.begun.train, self.model, self.prepared),
            *(self.validation_batches, self.devices),
            tokens_between=steps * float(tokens),
            most_batches=TRIAL_BATCHES if self.is_trial else None,
        )

    def _check_memory(self) -> None:
        """Compiles the largest step, and refuses it if it does not fit; before the
        parameters are there, so that they are counted once. What draws them is compiled
        beside it."""
        c = self.begun.model

        def numbers(s: Shape) -> int:  # of a layer: its width, and its attention
            across = s.src_width**2 + s.tgt_width**2 + s.src_width * s.tgt_width
            along = (s.src_width + s.tgt_width) * c.d_model
            return s.rows * (along + c.num_heads * across)

        largest = max(self.shapes, key=numbers)
        ids, real = (
            lambda width, dtype: np.zeros((largest.rows, width), dtype)
            for _ in range(2)
        )
        source, target = largest.src_width, largest.tgt_width
        batch = Batch(
            *(ids(source, np.int32), real(source, bool)),
            *(ids(target, np.int32), ids(target, np.int32), real(target, bool)),
        )
        key = jax.random.key(0)
        state = jax.eval_shape(
            lambda: state_of(
                init_params(self.model, key), self.tx, keep_ema=bool(self.options.ema)
            )
        )
        state = self.devices.like_placed(state)
        with contextlib.ExitStack() as beside:
            if not self.store.steps():  # a run that goes on has its parameters
                beside.enter_context(compiling_init(self.model, key))
            program = compile_step(
                *(state, self._placed(batch), self.devices.place_state(key)),
                **{"model": self.model, "tx": self.tx, "options": self.options},
                by_core=self.devices.by_core,
            )
        self.memory = memory_of(program)
        rows, *widths = largest
        what = f"a step of {rows} sentences, {max(widths)} tokens wide,"
        check_memory(self.memory, self.devices.memory(), what=what)

    def _end_of(self, config: Config) -> int | None:
        """The step at which a config ends; None where the clock decides."""
        kind, amount = config.train.budget
        if kind == "epochs":
            return int(amount) * len(self.batches)
        return int(amount) if kind == "steps" else None

    def _start_or_resume(self) -> None:
        root = jax.random.key(self.begun.seed)
        init_key, dropout_key = jax.random.split(root)
        self.dropout_key = self.devices.place_state(dropout_key)
        self.epoch, self.batch_in_epoch = 0, 0
        self.history: list[dict[str, Any]] = []
        self.totals = [0.0, 0.0]  # nats and tokens since the last validation
        self.seconds_before = 0.0
        self.step = self.saved_step = 0
        self.num_skipped = self.bad_in_row = 0
        self.fingerprint = self.prepared.fingerprint()
        self.wait_since = self.last_saved = time.monotonic()
        self.in_flight: deque[InFlight] = deque()
        self.ready: Prefetch[Batch] | None = None
        if self.store.steps():
            self._resume(init_key)
        else:
            self.state = self.devices.place_state(self._first_state(init_key))
        if not self.devices.agree(self.step):
            raise StorageError(
                f"the hosts of this run do not find the same checkpoint in "
                f"{self.folder.path}: it has to be one folder that all of them see."
            )
        if self.devices.writes:
            self.logbook = Logbook(self.folder, self.history, self.tell)

    def _first_state(self, key: jax.Array) -> TrainState:
        """Fresh parameters, or those of the run to start from."""
        params = init_params(self.model, key)
        if self.begun.init_from:
            src, tgt = self.prepared.src_tokenizer, self.prepared.tgt_tokenizer
            warm = warm_start(self.begun.init_from, self.model, params, src, tgt)
            params = jax.device_put(warm.params)
            for note in warm.notes:
                self.tell(f"  {note}")
        return state_of(params, self.tx, keep_ema=bool(self.options.ema))

    def _resume(self, key: jax.Array) -> None:
        saved = [tokenizer.to_dict() for tokenizer in self.folder.tokenizers()]
        src, tgt = self.prepared.src_tokenizer, self.prepared.tgt_tokenizer
        self._refuse_changed_corpus(saved == [src.to_dict(), tgt.to_dict()])
        # Only the shapes: nothing is computed for what the checkpoint holds.
        keep_ema = bool(self.options.ema)
        shapes = jax.eval_shape(
            lambda: state_of(init_params(self.model, key), self.tx, keep_ema=keep_ema)
        )
        restored = self.store.restore(shapes.params, self._training_of(shapes))
        record = restored.record
        self._refuse_changed_corpus(record["fingerprint"] == self.fingerprint)
        self._tell_other_environment(record["environment"])
        params, ema = restored.params, None
        opt_state, skipped, *raw = restored.training
        if raw:  # what is translated with is the average
            (params,), ema = raw, params
        step = np.int32(restored.step)
        state = TrainState(step, params, opt_state, skipped, ema)
        self.state = self.devices.place_state(state)
        self.step = self.saved_step = restored.step
        self.epoch, self.batch_in_epoch = record["epoch"], record["batch_in_epoch"]
        if self.batch_in_epoch >= len(self.batches):  # other versions, other batches
            self.epoch, self.batch_in_epoch = self.epoch + 1, 0
        self.history, self.totals = record["history"], record["totals"]
        self.seconds_before = record["seconds"]
        self.num_skipped = int(self.state.skipped.total)
        self.bad_in_row = int(self.state.skipped.in_row)
        self.tell(f"  resumed from step {self.step:,}")

    @staticmethod
    def _training_of(state: TrainState) -> tuple:
        """What a checkpoint holds beside the parameters to translate with."""
        raw = () if state.ema is None else (state.params,)
        return (state.opt_state, state.skipped, *raw)

    def _tell_other_environment(self, before: dict[str, str]) -> None:
        now = environment(self.devices)
        changes = [
            f"{name} was {before.get(name, 'not recorded')}, is {value}"
            for name, value in now.items()
            if before.get(name) != value
        ]
        if changes:
            self.tell(f"  the results will not be bit-identical: {'; '.join(changes)}")

    def _refuse_changed_corpus(self, is_same: bool) -> None:
        if not is_same:
            raise changed_corpus(self.folder.path)

    def describe(self) -> None:
        """Tells what will be trained, and on what."""
        commentary.tell_model(
            self.tell,
            self.model.cfg,
            num_parameters=count_parameters(self.state.params),
            tokenizer=self.prepared.data.tokenizer,
            memory=self.memory,
        )
        commentary.tell_batches(self.tell, self.batches)
        commentary.tell_best(
            self.tell,
            self.begun,
            num_held_out=len(self.prepared.validation),
            num_scored=len(self.validation.scored),
        )

    # ---- the loop ------------------------------------------------------------------

    def run(self, more_steps: int) -> None:
        """Trains to the end, validating and saving on the way."""
        self.by_number = bool(more_steps)
        end = self.step + more_steps if more_steps else self._end_of(self.asked)
        minutes = None if more_steps or end else self.asked.train.minutes
        self.ends = {"minutes": minutes} if end is None else {"steps": end}
        self._lose_patience(self.fitted().best_step)
        if self._at_end(end, minutes):
            if self.step and self.validated_step != self.step:
                self._validate_and_save()
            self.tell("already at its end: nothing was left to do")
            self._tell_end()
            return
        self._begin_to_show()
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
        self._tell_end()
        commentary.tell_programs(self.tell, self.programs)

    def close(self) -> None:
        """Lets go of the files that it writes to."""
        if self.devices.writes:
            self.logbook.close()

    @property
    def validated_step(self) -> int:
        """The step of the last validation, 0 before the first."""
        return self.history[-1]["step"] if self.history else 0

    def _at_end(self, end: int | None, minutes: float | None) -> bool:
        if self.patience_lost and not self.by_number:
            return True
        if end is not None:
            return self.step >= end
        # However short the time, a run without a step would be none.
        over = self.step > 0 and self._seconds() >= 60 * minutes
        if self.devices.num_hosts == 1:
            return over
        # Each has a clock of its own, and all have to end at the same step.
        if self.step % STEPS_BETWEEN_HOSTS:
            return False
        return bool(self.devices.any_host(over))

    def _train(
        self, end: int | None, minutes: float | None, progress: Progress
    ) -> None:
        while not self._at_end(end, minutes):
            batch = next(self.ready)
            totals = self._take_step(self._placed(batch))
            self.in_flight.append(
                InFlight(totals, int(batch.tgt_mask.sum()), self._place())
            )
            self.step += 1
            self.batch_in_epoch += 1
            if len(self.in_flight) > STEPS_IN_FLIGHT:
                self._land(progress, minutes)
            epoch_ends = self.batch_in_epoch >= len(self.batches)
            if epoch_ends:
                self.epoch, self.batch_in_epoch = self.epoch + 1, 0
            if self._validation_is_due(epoch_ends):
                self._validate_and_save()
            if self._stop_is_asked():
                self._save_and_stop()
            if time.monotonic() - self.last_saved >= SECONDS_BETWEEN_SAVES:
                # An epoch may take days.
                self._land_all()
                self._save(None)

    def _take_step(self, batch: Batch) -> Totals:
        """The sums of one more step, which is on its way."""
        began, before = time.monotonic(), self.programs.seconds
        self.state, totals = self.train_step(
            *(self.state, batch, self.dropout_key),
            **{"model": self.model, "tx": self.tx, "options": self.options},
        )
        if compiled := self.programs.seconds - before:
            self.seconds_traced += max(time.monotonic() - began - compiled, 0.0)
        return totals

    def _stop_is_asked(self) -> bool:
        """Whether a signal came; on several hosts, to one of them, so that all stop at
        the same step."""
        if self.devices.num_hosts == 1:
            return bool(self.requests.signal_number)
        if self.step % STEPS_BETWEEN_HOSTS:
            return False
        return bool(self.devices.any_host(bool(self.requests.signal_number)))

    def _placed(self, batch: Batch) -> Batch:
        return self.devices.place_batch(batch)

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
        self.nats_shown += nats
        # The step leaves a batch that is not finite out of its totals.
        if landed.num_tokens and not num_tokens:
            self._count_skipped(landed)
        else:
            self.bad_in_row = 0
        now = time.monotonic()
        if progress is None or now - self.last_shown < SECONDS_BETWEEN_SHOWS:
            return
        speed = self.tokens_shown / (now - self.last_shown)
        loss = self.nats_shown / self.tokens_shown if self.tokens_shown else np.nan
        self._begin_to_show()
        seconds = self._seconds()
        if self.devices.writes and self.logbook.row_is_due(seconds):
            self._write_progress(landed.place[0], loss, speed, seconds)
        done = seconds if minutes else self.step
        progress.show(
            done,
            f"epoch {self.epoch + 1}  step {self.step:,}  "
            f"loss {self.totals[0] / max(self.totals[1], 1):.3f}  "
            f"{speed:,.0f} tokens/s",
            once=0.0 if minutes else self.programs.seconds + self.seconds_traced,
        )

    def _begin_to_show(self) -> None:
        """From here, tokens, nats and time are counted for what is shown next."""
        self.tokens_shown, self.nats_shown = 0.0, 0.0
        self.last_shown = time.monotonic()

    def _write_progress(
        self, step: int, loss: float, speed: float, seconds: float
    ) -> None:
        self.logbook.write_progress(
            {
                "step": step,
                "epoch": round(step / len(self.batches), 3),
                "loss": round(loss, 5),
                "learning_rate": float(self.schedule(step - 1)),
                "tokens_a_second": round(speed, 1),
                "seconds": round(seconds, 1),
                **self.ends,
            }
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
        updates = f"{self.bad_in_row} update{'s' if self.bad_in_row > 1 else ''}"
        best = self.fitted().best_step
        kept = f"step {best:,}, the best, is intact" if best else "no step was saved"
        raise DivergedError(
            f"stopped at step {step:,}: {updates} in a row had a "
            "non-finite gradient (norm of the newest that was: "
            f"{float(self.state.skipped.last_norm)}, "
            f"learning rate {float(self.schedule(step - 1)):.3g}, the last batch from "
            f"{places}); {kept}; try a lower --train.learning-rate in a new --run."
        )

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    # ---- validating and saving -----------------------------------------------------

    def _validate_and_save(self) -> None:
        self._land_all()
        began = time.monotonic()
        entry = {
            "step": self.step,
            "epoch": round(self.step / len(self.batches), 3),
            "train_loss": self._train_loss(),
            "learning_rate": float(self.schedule(max(self.step - 1, 0))),
            "seconds": round(self._seconds(), 1),
            "data_wait": round(self._data_wait(), 5),
        }
        if self.prepared.validation:
            entry |= self._validate()
        loss = entry.get("validation_loss", entry["train_loss"])
        entry["loss"] = loss if np.isfinite(loss) else None
        before = self.fitted().best_step
        self.history.append(entry)
        self.totals = [0.0, 0.0]
        best = self.fitted().best_step
        # None of what follows was training.
        spent = time.monotonic() - began
        trained = max(began - self.wait_since, 1e-9)
        entry["validation_share"] = round(spent / (spent + trained), 4)
        self._save(self._rating(entry))
        if self.devices.writes:
            self.logbook.write(self.history, best)
        self._tell(entry, is_best=best != before)
        self._lose_patience(best)
        if self.ready is not None:
            self.waited_before = self.ready.seconds_waited
            self.wait_since = time.monotonic()
            self.last_shown += self.wait_since - began

    def _train_loss(self) -> float:
        nats, num_tokens = self.totals
        # Where every update was skipped there is no loss, and so nothing to be best.
        return nats / num_tokens if num_tokens else float("nan")

    def _validate(self) -> dict[str, Any]:
        """The validation's part of an entry of the history."""
        params = self.state.best_params
        loss = self.validation.loss(params)
        if not np.isfinite(loss):
            self.tell(f"  warning: validation loss {loss}: never the best")
            return {"validation_loss": loss}
        return {"validation_loss": loss, **self.validation.scores(params)}

    def _rating(self, entry: dict[str, Any]) -> float | None:
        """What makes a step the best: the lowest."""
        by = self.begun.train.best_by
        if by == "loss" or entry["loss"] is None:
            return entry["loss"]
        return 100.0 - entry[by] if by in entry else None

    def _lose_patience(self, best: int) -> None:
        """Ends the run if too many validations went by without a new best. Decided from
        the history, as a resumed run has it too."""
        patience = self.asked.train.patience
        since = sum(entry["step"] > best for entry in self.history)
        if patience and since >= patience:
            self.patience_lost = True
            if self.by_number:  # asked for: more than patience would have given
                return
            self.tell(
                f"{since} validations without a better one than that of step {best:,}: "
                "the end (--train.patience)"
            )

    def _data_wait(self) -> float:
        """The share of the training time since the last validation in which the next
        batch was not ready."""
        if self.ready is None:
            return 0.0
        waited = self.ready.seconds_waited - self.waited_before
        return waited / max(time.monotonic() - self.wait_since, 1e-9)

    def _save(self, loss: float | None) -> None:
        record = {
            "epoch": self.epoch,
            "batch_in_epoch": self.batch_in_epoch,
            "history": self.history,
            "totals": self.totals,
            "seconds": self._seconds(),
            "fingerprint": self.fingerprint,
            "environment": environment(self.devices),
        }
        state = self.devices.fetch(self.state)
        if self.devices.writes:
            training = self._training_of(state)
            self.store.save(self.step, state.best_params, training, record, loss=loss)
        self.saved_step = self.step
        self.last_saved = time.monotonic()

    def _save_and_stop(self) -> None:
        self._land_all()
        if self.saved_step != self.step:
            self._save(None)
        raise StoppedError(
            f"saved step {self.step:,}; the same command goes on from here.",
            self.requests.signal_number or signal.SIGTERM,  # of another host
        )

    def _tell(self, entry: dict[str, Any], *, is_best: bool) -> None:
        if not self.verbose:
            return
        commentary.tell_validation(self.tell, entry, is_best=is_best)
        pairs = spread(self.prepared.validation_texts, self.asked.train.show_sentences)
        if not pairs:
            return
        translations, _ = self.translator().decode(
            [pair.src for pair in pairs], longest=self.validation.longest
        )
        commentary.tell_translations(self.tell, pairs, translations)
        if self.devices.writes:
            self.logbook.write_samples(
                entry["step"],
                [
                    {"src": pair.src, "tgt": translation, "ref": pair.tgt}
                    for pair, translation in zip(pairs, translations, strict=True)
                ],
            )

    def _tell_end(self) -> None:
        fitted = self.fitted()
        if self.devices.writes and self.history:
            self.logbook.write_end(self.history[-1])
        if self.verbose:
            self.logbook.tell_table(self.history, fitted.best_step)
        commentary.tell_end(
            *(self.tell, fitted.run),
            step=fitted.step,
            best_by=self.begun.train.best_by,
            best=next((e for e in self.history if e["step"] == fitted.best_step), None),
            seconds=self._seconds(),
        )
        commentary.tell_way_on(self.tell, self.asked, patience_lost=self.patience_lost)

    def translator(self) -> Translator:
        """The model as it is now."""
        return self.validation.translator(self.state.best_params)

    def fitted(self) -> Fitted:
        """Where the run stands."""
        rated = [e for e in self.history if self._rating(e) is not None]
        best = min(rated, key=self._rating, default={"step": 0, "loss": np.nan})
        return Fitted(
            run=str(self.folder.path),
            step=self.step,
            best_step=best["step"],
            best_loss=best["loss"],
            history=list(self.history),
            memory=self.memory,
        )
