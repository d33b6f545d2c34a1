"""A run folder: config, tokenizers, held-out sentences and the log.

With its checkpoints (see checkpoints.py) it is all that translation needs, on any
machine: no path in it points outside.
"""

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

from flaxformer_mt.config import Config
from flaxformer_mt.errors import InputError
from flaxformer_mt.text.prepared import (
    HELD_OUT,
    SRC_TOKENIZER,
    TGT_TOKENIZER,
    Prepared,
    TextPair,
    held_out_rows,
    read_held_out,
)
from flaxformer_mt.text.tokenizer import Tokenizer, load_tokenizer
from flaxformer_mt.training.storage import (
    atomic_write_json,
    atomic_write_text,
    disk_faults,
    one_sentence,
)

CONFIG = "config.json"
# Their SHA-256 is in every manifest: a model is nothing without them.
GUARDED = (CONFIG, SRC_TOKENIZER, TGT_TOKENIZER)
METRICS = "metrics.jsonl"
PROGRESS = "progress.jsonl"
TRIAL = ".flaxformer-mt-check-"  # begins the name of a folder of `train --check`


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The files of a run, by name."""

    path: Path

    @classmethod
    def of(cls, path: str | Path) -> "RunFolder":
        """The folder of that name; `~` is the home folder."""
        try:
            return cls(Path(os.path.expanduser(path)))
        except RuntimeError as error:  # ~somebody who is not there
            raise InputError(f"--run {path}: {error}: write the folder out.") from None

    def exists(self) -> bool:
        """Whether a run has begun here."""
        return (self.path / CONFIG).is_file()

    def check_usable(self) -> None:
        """Raises InputError if something other than a run lies at this path."""
        with one_sentence(f"cannot read {self.path}"):
            self._check_usable()

    def _check_usable(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise InputError(
                f"--run must name a folder; {self.path} is a file: choose another name."
            )
        if self.path.is_dir() and any(self.path.iterdir()) and not self.exists():
            names = {entry.name for entry in self.path.iterdir()}
            # What a run leaves when it is killed before its config is written.
            own = {SRC_TOKENIZER, TGT_TOKENIZER, HELD_OUT, CONFIG}
            own |= {"checkpoints", *(f"{name}.tmp" for name in own)}
            if any(not n.startswith(TRIAL) for n in names - own):
                raise InputError(
                    f"--run {self.path} holds other files and no run: choose a new "
                    "folder."
                )

    def write_config(self, config: Config, prepared: Prepared) -> None:
        """Writes what translation needs beside the parameters; the config last, since
        it is what makes a folder a run."""
        for name, tokenizer in (
            (SRC_TOKENIZER, prepared.src_tokenizer),
            (TGT_TOKENIZER, prepared.tgt_tokenizer),
        ):
            atomic_write_json(self.path / name, tokenizer.to_dict())
        self.write_held_out(prepared)
        atomic_write_json(self.path / CONFIG, config.to_dict())

    def config(self) -> Config:
        """The config that the run was begun with.

        Raises:
          InputError: there is no run here, or its config cannot be read.
        """
        path = self.path / CONFIG
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(
                f"{self.path} is not a run folder: it has no {CONFIG}; train one with "
                "python -m flaxformer_mt.train --run FOLDER."
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"cannot read {path}: {error}.") from error
        return Config.from_dict(fields, run=self.path)

    def tokenizers(self) -> tuple[Tokenizer, Tokenizer]:
        """The source's and the target's tokenizer."""
        return (
            load_tokenizer(self.path / SRC_TOKENIZER),
            load_tokenizer(self.path / TGT_TOKENIZER),
        )

    def write_held_out(self, prepared: Prepared) -> None:
        """Keeps the pairs that the run is never trained on, for evaluate."""
        atomic_write_text(self.path / HELD_OUT, held_out_rows(prepared))

    def held_out(self, part: str) -> list[TextPair]:
        """The pairs kept out of training; none for a model published without them."""
        path = self.path / HELD_OUT
        if not path.is_file():
            return []
        return read_held_out(path, part)

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """The log as one JSON object a line. It is written whole, from the history that
        the checkpoint holds, so that a killed run leaves no line twice."""
        atomic_write_text(self.path / METRICS, "".join(map(_as_row, history)))

    def add_progress(self, row: dict[str, Any]) -> None:
        """Adds a row to what a look at the training from outside is made of. Nothing
        depends on it: after a kill, half a row may be the last one, and steps that are
        taken again come twice.

        Raises:
          StorageError: it cannot be written.
        """
        path = self.path / PROGRESS
        with disk_faults(f"cannot write {path}"), open(path, "ab") as file:
            file.write(b"\n" * _ends_in_half_a_row(path) + _as_row(row).encode())


def _as_row(entry: dict[str, Any]) -> str:
    """The entry as a line of JSON, which has no NaN."""

    def plain(value: Any) -> Any:
        bad = isinstance(value, float) and not math.isfinite(value)
        return None if bad else value

    return json.dumps({name: plain(value) for name, value in entry.items()}) + "\n"


def _ends_in_half_a_row(path: Path) -> bool:
    with open(path, "rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
