"""A corpus that is ready for batches, in memory or as a prepared folder.

    prepared.json          what decided it, counts, and the SHA-256 of every file
    tokenizer.src.json     vocabulary and normaliser of each side
    tokenizer.tgt.json
    train.src.ids.bin      token ids, flat; .lengths, .lines and .corpora beside them
    ...                    the same for tgt, and for validation
    held_out.jsonl         validation and test pairs as text
    report.json .html      what was done to the corpus, for a person

The folder is read back memory-mapped. It is written under another name and renamed as
a whole, so that it is either finished or not there.
"""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flaxformer_mt.config import Config, DataConfig, options_from
from flaxformer_mt.errors import InputError
from flaxformer_mt.text.batching import Recut, SpecialIds
from flaxformer_mt.text.columns import map_array
from flaxformer_mt.text.encoded import EncodedPairs, EncodedSide, digest
from flaxformer_mt.text.filters import Tally, read_tally
from flaxformer_mt.text.tokenizer import Tokenizer, load_tokenizer

MANIFEST = "prepared.json"
SRC_TOKENIZER = "tokenizer.src.json"
TGT_TOKENIZER = "tokenizer.tgt.json"
HELD_OUT = "held_out.jsonl"
FOLDER_FORMAT = 1  # raised when a folder needs translating to be read


class TextPair(NamedTuple):
    """A sentence pair that passed the filters, normalised."""

    src: str
    tgt: str
    line: int  # in the corpus it came from, from 1
    group: str = ""  # where the corpus names one: scored apart by evaluate


@dataclasses.dataclass(frozen=True)
class Prepared:
    """All that a run needs to know of its corpus."""

    data: DataConfig  # what decided it
    max_length: int  # tokens a side that the longest pair may have, specials included
    src_tokenizer: Tokenizer
    tgt_tokenizer: Tokenizer
    train: EncodedPairs
    validation: EncodedPairs
    validation_texts: list[TextPair]
    test_texts: list[TextPair]
    tally: Tally
    notes: list[str]  # sentences for the person, in order

    @property
    def specials(self) -> SpecialIds:
        """The special ids of both sides, for batches."""
        src, tgt = self.src_tokenizer.vocabulary, self.tgt_tokenizer.vocabulary
        return SpecialIds(src.eos_id, src.pad_id, tgt.bos_id, tgt.eos_id, tgt.pad_id)

    @property
    def lengths(self) -> np.ndarray:
        """[N, 2], tokens a side with one special, of training and validation."""
        return np.concatenate([self.train.lengths, self.validation.lengths])

    def recut(self, strength: float, *, seed: int) -> Recut | None:
        """How training cuts words anew in each epoch; None where it does not."""
        if not strength:
            return None
        return Recut(
            *(self.src_tokenizer, self.tgt_tokenizer), strength=strength, seed=seed
        )

    def check_ids(self) -> None:
        """Raises InputError for an id that its vocabulary does not have: a device would
        read another row in its place, without a word."""
        for part, pairs in (("train", self.train), ("validation", self.validation)):
            for name, side, tokenizer in (
                ("source", pairs.src, self.src_tokenizer),
                ("target", pairs.tgt, self.tgt_tokenizer),
            ):
                size = len(tokenizer.vocabulary)
                ids = np.asarray(side.ids)
                if not len(ids) or (ids.min() >= 0 and ids.max() < size):
                    continue
                first = int(np.flatnonzero((ids < 0) | (ids >= size))[0])
                pair = int(np.searchsorted(np.cumsum(side.lengths), first, "right"))
                raise InputError(
                    f"the {name} of pair {pair + 1:,} of {part} (line "
                    f"{int(pairs.lines[pair]):,}) has the token {int(ids[first])}, but "
                    f"the vocabulary has {size:,} tokens, from 0: prepare the corpus "
                    "again."
                )

    def place(self, i: int) -> str:
        """Where the training pair i was read, as "line 12"."""
        line = f"line {int(self.train.lines[i]):,}"
        many = len(self.data.src) > 1
        return f"{line} of {self.data.src[self.train.corpora[i]]}" if many else line

    def fingerprint(self) -> str:
        """SHA-256 of what the model will see: encoded pairs and vocabularies."""
        whole = hashlib.sha256(repr(tuple(self.data.weights)).encode())
        for tokenizer in (self.src_tokenizer, self.tgt_tokenizer):
            whole.update(json.dumps(tokenizer.to_dict(), sort_keys=True).encode())
        for pairs in (self.train, self.validation):
            whole.update(pairs.fingerprint().encode())
        return whole.hexdigest()


def held_out_rows(prepared: Prepared) -> str:
    """The pairs kept out of training as JSON, one a line, sealed, for evaluate."""
    rows = [
        {"part": part, "line": p.line, "src": p.src, "tgt": p.tgt, "group": p.group}
        for part, pairs in (
            ("validation", prepared.validation_texts),
            ("test", prepared.test_texts),
        )
        for p in pairs
    ]
    return sealed("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def sealed(rows: str) -> str:
    """The lines under a first one with their SHA-256: a lost pair would change every
    score without a word."""
    return json.dumps({"sha256": _sha256(rows)}) + "\n" + rows


def _sha256(rows: str) -> str:
    return hashlib.sha256(rows.encode("utf-8")).hexdigest()


def read_held_out(path: Path, part: str) -> list[TextPair]:
    """The inverse of `held_out_rows` for one part.

    Raises:
      InputError: the file is damaged.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        seal, _, rows = text.partition("\n")
        first = json.loads(seal)
        if "part" in first:  # as it was before there were seals
            rows = text
        elif first["sha256"] != _sha256(rows):
            raise ValueError("its SHA-256 is not the one that it begins with")
        return [
            TextPair(row["src"], row["tgt"], row["line"], row["group"])
            for row in map(json.loads, filter(None, rows.split("\n")))
            if row["part"] == part
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({error}): the pairs that were kept out of training "
            "are not known; put a copy back, or give evaluate pairs of your own."
        ) from error


# ---- the folder ------------------------------------------------------------------


def write_manifest(folder: Path, prepared: Prepared) -> None:
    """Writes prepared.json for a folder whose columns are written already."""
    columns = {
        f"{part}.{name}": {
            "dtype": column.dtype.str,
            "count": len(column),
            "sha256": pairs.digests()[name],
        }
        for part, pairs in (
            ("train", prepared.train),
            ("validation", prepared.validation),
        )
        for name, column in pairs.columns().items()
    }
    texts = {
        name: _digest_file(folder / name)
        for name in (SRC_TOKENIZER, TGT_TOKENIZER, HELD_OUT)
    }
    manifest = {
        "format": FOLDER_FORMAT,
        "data": dataclasses.asdict(prepared.data),
        "max_length": prepared.max_length,
        "tally": dataclasses.asdict(prepared.tally),
        "notes": prepared.notes,
        "columns": columns,
        "files": texts,
    }
    manifest["sha256"] = _digest_of(manifest)
    text = json.dumps(manifest, ensure_ascii=False, indent=1)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _digest_of(manifest: dict[str, Any]) -> str:
    """SHA-256 of a manifest, but for its own place for it."""
    rest = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _digest_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def column_file(folder: Path, name: str) -> Path:
    """The file of a column, as `train.src.ids`."""
    return folder / f"{name}.bin"


def column_names() -> list[str]:
    """The columns of a prepared folder."""
    columns = EncodedPairs.of([]).columns()
    return [f"{part}.{name}" for part in ("train", "validation") for name in columns]


def open_prepared(path: str | Path) -> Prepared:
    """The corpus of a prepared folder, memory-mapped, every byte of it verified.

    Raises:
      InputError: not a prepared folder, of another version, or damaged.
    """
    folder = Path(os.path.expanduser(path))
    manifest = _read_manifest(folder)
    try:
        data = options_from(DataConfig, manifest["data"], prefix="data.")
        for name, sha256 in manifest["files"].items():
            if _digest_file(folder / name) != sha256:
                raise _damaged(folder / name)
        parts = {
            part: _open_pairs(folder, part, manifest["columns"])
            for part in ("train", "validation")
        }
        held_out = folder / HELD_OUT
        return Prepared(
            data=data,
            max_length=manifest["max_length"],
            src_tokenizer=load_tokenizer(folder / SRC_TOKENIZER),
            tgt_tokenizer=load_tokenizer(folder / TGT_TOKENIZER),
            train=parts["train"],
            validation=parts["validation"],
            validation_texts=read_held_out(held_out, "validation"),
            test_texts=read_held_out(held_out, "test"),
            tally=read_tally(manifest["tally"]),
            notes=[*manifest["notes"]],
        )
    except FileNotFoundError as error:
        raise InputError(
            f"{error.filename} is missing from a prepared folder: prepare it again."
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}.") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder / MANIFEST} is not what prepare writes ({error!r}): prepare the "
            "corpus again."
        ) from error


def _damaged(path: Path) -> InputError:
    return InputError(
        f"{path} is not as prepare wrote it (its SHA-256 differs): prepare again, or "
        "copy the folder again."
    )


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        written = manifest["format"]
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{folder} is not a prepared folder: it has no {MANIFEST}; make one with "
            "python -m flaxformer_mt.prepare."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot read {path}: {error}: prepare again.") from error
    if written != FOLDER_FORMAT:
        raise InputError(
            f"{folder} has format {written}, this version reads format "
            f"{FOLDER_FORMAT}: prepare the corpus again."
        )
    if manifest.get("sha256") != _digest_of(manifest):
        raise _damaged(path)
    return manifest


def _open_pairs(folder: Path, part: str, columns: dict[str, Any]) -> EncodedPairs:
    def column(name: str) -> np.ndarray:
        known = columns[f"{part}.{name}"]
        path = column_file(folder, f"{part}.{name}")
        dtype = np.dtype(known["dtype"])
        if path.stat().st_size != known["count"] * dtype.itemsize:
            raise _damaged(path)
        array = map_array(path, dtype, known["count"])
        if digest(array) != known["sha256"]:
            raise _damaged(path)
        return array

    src, tgt = (
        EncodedSide(column(f"{side}.ids"), column(f"{side}.lengths"))
        for side in ("src", "tgt")
    )
    pairs = EncodedPairs(src, tgt, column("lines"), column("corpora"))
    pairs.known_digests = {
        name: columns[f"{part}.{name}"]["sha256"] for name in pairs.columns()
    }
    return pairs


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
        **{"validation_src": "", "validation_tgt": "", "test_src": "", "test_tgt": ""},
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
