"""A run's history for TensorBoard. The only room that imports tensorboardX.

tensorboardX is an extra: it is imported when a log is opened, never before. What
counts is the history that the checkpoints hold; the event file is written anew from it
each time training starts, so that a run that was killed and resumed has each step once.
"""

import importlib.util
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flaxformer_mt.training.storage import Folder, disk_faults

if TYPE_CHECKING:
    from tensorboardX.proto.event_pb2 import Event

FOLDER = "tensorboard"  # in the run folder
# TensorBoard reads a file whose name has "tfevents" in it; the end tells ours from
# those that a person keeps beside them.
_NAME, _OURS = "events.out.tfevents", "flaxformer_mt"
TAGS = {
    "train_loss": "loss/train",
    "validation_loss": "loss/validation",
    "chrf": "score/chrF++",
    "bleu": "score/BLEU",
    "learning_rate": "learning_rate",
    "epoch": "epoch",
}


def available() -> bool:
    """Whether tensorboardX is installed, found out without importing it."""
    return importlib.util.find_spec("tensorboardX") is not None


class EventLog:
    """The event file of a run: `EventLog(run_folder, history)`, `write`, `close`.

    An entry of the history becomes a point in each of TAGS; what is missing, None or
    not finite has no point. TensorBoard's relative time is the run's own, stops left
    out.
    """

    def __init__(
        self, run_folder: Folder, history: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Replaces our earlier event files in `<run_folder>/tensorboard` by one that
        holds the history; files of others stay.

        Raises:
          StorageError: the folder or the file cannot be written.
          ModuleNotFoundError: tensorboardX is not installed; see `available`.
        """
        from tensorboardX.record_writer import RecordWriter

        self.folder = Path(run_folder) / FOLDER
        seconds = [_seconds(entry) for entry in history]
        self.began = time.time() - max(seconds, default=0.0)
        with disk_faults(f"cannot write {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            earlier = sorted(self.folder.glob(f"{_NAME}.*.{_OURS}"))
            # Deleted first: killed in between, a run has its points too few times
            # until its next start, never twice.
            for path in earlier:
                path.unlink()
            self.path = self.folder / f"{_NAME}.{_later_than(earlier)}.{_OURS}"
            self.records = RecordWriter(str(self.path))
        self._append([_first_event(self.began), *map(self._event, history)])

    def write(self, entry: Mapping[str, Any]) -> None:
        """Returns once the points of one validation are on the disk.

        Raises:
          StorageError: they cannot be written.
        """
        self._append([self._event(entry)])

    def close(self) -> None:
        """Returns once the file is closed.

        Raises:
          StorageError: what was left cannot be written.
        """
        with disk_faults(f"cannot write {self.path}"):
            self.records.close()

    def _append(self, events: "Iterable[Event]") -> None:
        with disk_faults(f"cannot write {self.path}"):
            for event in events:
                self.records.write(event.SerializeToString())
            self.records.flush()

    def _event(self, entry: Mapping[str, Any]) -> "Event":
        """A validation as TensorBoard has it."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        points = [
            Summary.Value(tag=tag, simple_value=float(entry[key]))
            for key, tag in TAGS.items()
            if _is_finite(entry.get(key))
        ]
        return Event(
            wall_time=self.began + _seconds(entry),
            step=int(entry["step"]),
            summary=Summary(value=points),
        )


def _first_event(wall_time: float) -> "Event":
    """What an event file opens with: the version of its format."""
    from tensorboardX.proto.event_pb2 import Event

    return Event(wall_time=wall_time, file_version="brain.Event:2")


def _later_than(earlier: Iterable[Path]) -> str:
    """The time for a new file's name, in whole seconds: TensorBoard reads the files of
    a folder in the order of their names, and none again that it has left behind."""
    stamps = [path.name.removeprefix(f"{_NAME}.").split(".")[0] for path in earlier]
    last = max((int(stamp) for stamp in stamps if stamp.isdecimal()), default=0)
    return str(max(int(time.time()), last + 1))


def _seconds(entry: Mapping[str, Any]) -> float:
    """How long the run had been going."""
    seconds = entry.get("seconds")
    return float(seconds) if _is_finite(seconds) else 0.0


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
