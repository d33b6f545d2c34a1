"""What a run writes down at each validation, and shows at its end.

metrics.jsonl always; TensorBoard's events and a picture of the curves where the extras
are installed. Between two validations, progress.jsonl, for those who look on.
"""

import time
from typing import Any

from flaxformer_mt.errors import StorageError
from flaxformer_mt.evaluation import event_log, plots
from flaxformer_mt.evaluation.pictures import plots_available
from flaxformer_mt.terminal import Tell, in_words, say_table
from flaxformer_mt.training.run_folder import RunFolder

CURVES = "curves.png"
# Entries of the history that tell of the clock: two equal runs differ in them.
CLOCKED = ("seconds", "data_wait", "validation_share")
SECONDS_BETWEEN_CURVES = 30.0
# Between two rows of the progress: seconds, and a share of the time so far, so that a
# run of a week has some ten thousand of them.
SECONDS_BETWEEN_ROWS, SHARE_BETWEEN_ROWS = 2.0, 1 / 1000
MOST_ROWS = 12  # of the table at the end


class Logbook:
    """The written history of a run, beside its checkpoints."""

    def __init__(
        self, folder: RunFolder, history: list[dict[str, Any]], tell: Tell
    ) -> None:
        self.folder, self.tell = folder, tell
        if history:  # a kill may have come between the checkpoint and the log
            folder.write_metrics(history)
        self.undrawn: tuple[list[dict[str, Any]], int] | None = None
        self.drawn = time.monotonic()
        self.last_row: dict[str, Any] = {}
        self.row_written = 0.0
        self.is_progress_lost = False
        self.events: event_log.EventLog | None = None
        if event_log.available():
            try:
                self.events = event_log.EventLog(folder.path, history)
            except StorageError as error:
                self.tell(f"  no TensorBoard events: {error}")

    def write(self, history: list[dict[str, Any]], best_step: int) -> None:
        """Writes down the newest entry; a picture that cannot be written ends no run.

        Raises:
          StorageError: metrics.jsonl cannot be written.
        """
        self.folder.write_metrics(history)
        try:
            if self.events:
                self.events.write(history[-1])
            # A picture takes half a second, which short epochs would feel.
            self.undrawn = history, best_step
            if time.monotonic() - self.drawn >= SECONDS_BETWEEN_CURVES:
                self._draw()
        except StorageError as error:
            self.tell(f"  warning: {error}")

    # ---- between validations ---------------------------------------------------------

    def row_is_due(self, seconds: float) -> bool:
        """Whether it is time for the next row of the progress.

        seconds: that the run has been going, all starts together.
        """
        between = max(SECONDS_BETWEEN_ROWS, SHARE_BETWEEN_ROWS * seconds)
        return time.monotonic() - self.row_written >= between

    def write_progress(self, row: dict[str, Any]) -> None:
        """Writes down how the run stands: {"step", "epoch", "loss", "learning_rate",
        "tokens_a_second", "seconds"}."""
        self.row_written, self.last_row = time.monotonic(), row
        self._add(row)

    def write_samples(self, step: int, samples: list[dict[str, str]]) -> None:
        """Writes down translations of a validation: {"src", "tgt", "ref"} each."""
        self._add({"step": step, "samples": samples})

    def write_end(self, entry: dict[str, Any]) -> None:
        """Writes down that the run is at its end, whatever its config says.

        entry: the last of the history.
        """
        same = ("step", "epoch", "learning_rate", "seconds")
        row = {"loss": entry["train_loss"], **self.last_row}
        self._add({**row, **{name: entry[name] for name in same}, "ended": True})

    def _add(self, row: dict[str, Any]) -> None:
        if self.is_progress_lost:
            return
        try:
            self.folder.add_progress(row)
        except StorageError as error:
            self.is_progress_lost = True
            self.tell(f"  warning: {error}")

    def _draw(self) -> None:
        history, best_step = self.undrawn or ([], 0)
        self.undrawn, self.drawn = None, time.monotonic()
        if history and plots_available():
            path = self.folder.path / CURVES
            plots.draw_curves(history, path, best_step=best_step or None)

    def close(self) -> None:
        """Draws what is not drawn yet, and lets go of the files."""
        try:
            self._draw()
        except StorageError as error:
            self.tell(f"  warning: {error}")
        finally:
            if self.events:
                self.events.close()

    def tell_table(self, history: list[dict[str, Any]], best_step: int) -> None:
        """Shows the validations as a table, the best one marked."""
        if not history:
            return
        rows = history if len(history) <= MOST_ROWS else _thinned(history, best_step)
        say_table(
            ["step", "epoch", "time", "train loss", "val. loss", "chrF++", "BLEU", ""],
            [
                [
                    f"{entry['step']:,}",
                    f"{entry['epoch']:.2f}",
                    in_words(entry["seconds"]),
                    _number(entry["train_loss"], 3),
                    _number(entry.get("validation_loss"), 3),
                    _number(entry.get("chrf"), 1),
                    _number(entry.get("bleu"), 1),
                    "best" if entry["step"] == best_step else "",
                ]
                for entry in rows
            ],
        )
        if len(rows) < len(history):
            self.tell(
                f"  {len(rows)} of {len(history)} validations; all are in "
                f"{self.folder.path / 'metrics.jsonl'}"
            )
        if not plots_available():
            self.tell("  curves:       not drawn: that takes the extra 'plots'")
        else:
            self.tell(f"  curves:       {self.folder.path / CURVES}")


def _thinned(history: list[dict[str, Any]], best_step: int) -> list[dict[str, Any]]:
    """Some of the entries: the first, the last, the best, and some between."""
    last = len(history) - 1
    chosen = {round(i * last / (MOST_ROWS - 2)) for i in range(MOST_ROWS - 1)}
    return [
        entry
        for i, entry in enumerate(history)
        if i in chosen or entry["step"] == best_step
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
