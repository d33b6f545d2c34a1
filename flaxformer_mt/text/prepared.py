"""From a config to encoded pairs: read, normalise, filter, split, tokenize."""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from flaxformer_mt import starter
from flaxformer_mt.config import Config, DataConfig
from flaxformer_mt.errors import InputError
from flaxformer_mt.text import filters
from flaxformer_mt.text.batching import SpecialIds
from flaxformer_mt.text.corpus import read_pairs
from flaxformer_mt.text.filters import Tally
from flaxformer_mt.text.lines import read_lines
from flaxformer_mt.text.normalize import (
    Normalizer,
    choose_rule,
    count_direction_marks,
)
from flaxformer_mt.text.split import Part, split_pairs
from flaxformer_mt.text.tokenizer import CharacterTokenizer
from flaxformer_mt.text.vocabulary import (
    Specials,
    Vocabulary,
    read_character_vocabulary,
)

NUM_LINES_FOR_SCRIPT = 1000  # looked at to choose a side's normalisation
HIGH_DROP_SHARE = 0.05  # above it, the share of dropped pairs is a warning


class TextPair(NamedTuple):
    """A sentence pair that passed the filters, normalised."""

    src: str
    tgt: str
    line: int  # in the corpus it came from, from 1
    group: str = ""  # where the corpus names one: scored apart by evaluate


class RawPair(NamedTuple):
    """A sentence pair as read."""

    src: str
    tgt: str
    line: int
    group: str
    part: Part | None  # None: the split decides


@dataclasses.dataclass(frozen=True)
class Prepared:
    """All that a run needs to know of its corpus."""

    src_tokenizer: CharacterTokenizer
    tgt_tokenizer: CharacterTokenizer
    train: list[tuple[list[int], list[int]]]  # encoded, no specials
    train_lines: list[int]  # where each of them was read
    validation: list[tuple[list[int], list[int]]]
    validation_texts: list[TextPair]
    test_texts: list[TextPair]
    tally: Tally
    notes: list[str]  # sentences for the person, in order

    @property
    def specials(self) -> SpecialIds:
        """The special ids of both sides, for batches."""
        src, tgt = self.src_tokenizer.vocabulary, self.tgt_tokenizer.vocabulary
        return SpecialIds(src.eos_id, src.pad_id, tgt.bos_id, tgt.eos_id, tgt.pad_id)

    def fingerprint(self) -> str:
        """SHA-256 of what the model will see: encoded pairs and vocabularies."""
        digest = hashlib.sha256()
        for tokenizer in (self.src_tokenizer, self.tgt_tokenizer):
            digest.update("\0".join(tokenizer.vocabulary.tokens).encode("utf-8"))
        for pairs in (self.train, self.validation):
            digest.update(b"part")
            for src, tgt in pairs:
                digest.update(np.array([*src, -1, *tgt, -2], np.int32).tobytes())
        return digest.hexdigest()


def prepare(config: Config) -> Prepared:
    """The corpus of a config, ready for batches. Writes nothing.

    Raises:
      InputError: the corpus cannot be read, or leaves no pair to train on.
    """
    data, notes, tally = config.data, [], Tally()
    raw_pairs = iter(_read_raw(data, notes.append))
    # The first lines choose the rules; then they are read like all others.
    head = list(itertools.islice(raw_pairs, NUM_LINES_FOR_SCRIPT))
    normalizers = _normalizers(data, head, notes.append)
    vocabularies = _given_vocabularies(data)
    raw_pairs = itertools.chain(head, raw_pairs)
    keep = _Filter(config, normalizers, vocabularies, tally)
    kept = list(keep(raw_pairs))
    notes += tally.sentences()
    if keep.num_marks:
        notes.append(f"removed {keep.num_marks:,} invisible direction marks")
    if not kept:
        raise InputError(
            f"{_name(data)} gives 0 usable pairs ({tally.summary()}): check that both "
            "sides are text and, if given, that the vocabularies fit."
        )
    over_limit = tally.dropped.get(filters.OVER_LIMIT, 0)
    num_dropped = sum(tally.dropped.values()) - over_limit
    share = num_dropped / max(tally.read - over_limit, 1)
    if share > HIGH_DROP_SHARE:
        notes.append(f"warning: {share:.1%} of the pairs were dropped")
    parts = _split(data, kept, notes.append)
    tokenizers = [
        CharacterTokenizer(
            vocabulary or Vocabulary.of_characters(texts, _specials(data)), normalizer
        )
        for vocabulary, texts, normalizer in zip(
            vocabularies,
            ([p.src for p in parts["train"]], [p.tgt for p in parts["train"]]),
            normalizers,
            strict=True,
        )
    ]

    def encode(part: Part) -> list[tuple[list[int], list[int]]]:
        src, tgt = tokenizers
        return [(src.encode(p.src), tgt.encode(p.tgt)) for p in parts[part]]

    return Prepared(
        *tokenizers,
        train=encode("train"),
        train_lines=[pair.line for pair in parts["train"]],
        validation=encode("validation"),
        validation_texts=parts["validation"],
        test_texts=parts["test"],
        tally=tally,
        notes=notes,
    )


def _name(data: DataConfig) -> str:
    return f"{data.src} with {data.tgt}" if data.src else "the starter corpus"


def _specials(data: DataConfig) -> Specials:
    return Specials(bos=data.bos, pad=data.pad, eos=data.eos, unk=data.unk)


def _read_raw(data: DataConfig, note: Callable[[str], None]) -> Iterator[RawPair]:
    if data.src:
        pairs = read_pairs(data.src, data.tgt, note=note)
        for line, (src, tgt) in enumerate(pairs, start=1):
            yield RawPair(src, tgt, line, "", None)
        return
    for part in ("train", "validation", "test"):
        path = starter.corpus_folder() / f"{part}.tsv"
        pairs = read_pairs(f"{path}:0", f"{path}:1", note=note)
        origins = read_lines(f"{path}:2")
        rows = zip(pairs, origins, strict=True)
        for line, ((src, tgt), origin) in enumerate(rows, start=1):
            yield RawPair(src, tgt, line, origin, part)


def _normalizers(
    data: DataConfig, head: list[RawPair], note: Callable[[str], None]
) -> tuple[Normalizer, Normalizer]:
    """Each side's rule: as asked for, or by the language or script."""

    def choose(wanted: str, texts: Iterable[str], language: str) -> Normalizer:
        rule = choose_rule(texts, language) if wanted == "auto" else wanted
        return Normalizer(rule, data.lowercase)

    src = choose(data.src_normalize, (p.src for p in head), data.src_lang)
    tgt = choose(data.tgt_normalize, (p.tgt for p in head), data.tgt_lang)
    note(f"normalisation: source {src.rule}, target {tgt.rule}")
    return src, tgt


def _given_vocabularies(
    data: DataConfig,
) -> tuple[Vocabulary | None, Vocabulary | None]:
    """The vocabularies that the person brought, None where there is none."""
    specials = _specials(data)
    src, tgt = (
        read_character_vocabulary(path, specials) if path else None
        for path in (data.src_vocab, data.tgt_vocab)
    )
    return src, tgt


class _Filter:
    """Normalises pairs and passes on those that can be used; counts the others."""

    def __init__(
        self,
        config: Config,
        normalizers: tuple[Normalizer, Normalizer],
        vocabularies: tuple[Vocabulary | None, Vocabulary | None],
        tally: Tally,
    ) -> None:
        self.config, self.tally = config, tally
        self.normalizers, self.vocabularies = normalizers, vocabularies
        self.num_marks = self.num_kept = 0

    def __call__(self, pairs: Iterable[RawPair]) -> Iterator[tuple[TextPair, Part]]:
        limit = self.config.data.limit_pairs
        for num_read, pair in enumerate(pairs, start=1):
            self.tally.read = num_read
            # The starter corpus keeps its own validation and test whole.
            limited = limit and pair.part in (None, "train")
            if limited and self.num_kept >= limit:
                self.tally.drop(filters.OVER_LIMIT, pair.line)
                continue
            src, tgt = self.normalizers[0](pair.src), self.normalizers[1](pair.tgt)
            reason = self._reason(pair, src, tgt)
            if reason:
                self.tally.drop(reason, pair.line)
                continue
            self.num_marks += sum(
                count_direction_marks(text)
                for text, normalizer in zip(pair[:2], self.normalizers, strict=True)
                if normalizer.rule != "none"
            )
            self.num_kept += 1
            yield TextPair(src, tgt, pair.line, pair.group), pair.part

    def _reason(self, raw: RawPair, src: str, tgt: str) -> str | None:
        # Control characters are looked for before white space is tidied.
        if filters.has_control(raw.src) or filters.has_control(raw.tgt):
            return filters.CONTROL
        if not src.strip() or not tgt.strip():
            return filters.EMPTY
        for text, vocabulary in zip((src, tgt), self.vocabularies, strict=True):
            if vocabulary and not vocabulary.ids.keys() >= set(text):
                return filters.UNKNOWN
        # Each side carries one special beside its characters: EOS, or BOS.
        if max(len(src), len(tgt)) + 1 > self.config.model.max_length:
            return filters.LONG
        return None


def _split(
    data: DataConfig,
    kept: list[tuple[TextPair, Part | None]],
    note: Callable[[str], None],
) -> dict[Part, list[TextPair]]:
    """The pairs of each part; everything trains where the split would leave nothing."""
    texts = [pair for pair, _ in kept]
    places = [part for _, part in kept]
    if data.src:
        places = split_pairs(
            [pair[:2] for pair in texts],
            validation=data.validation_fraction,
            test=data.test_fraction,
        )
    parts: dict[Part, list[TextPair]] = {"train": [], "validation": [], "test": []}
    for pair, place in zip(texts, places, strict=True):
        parts[place].append(pair)
    if not parts["train"]:
        note("the split would leave no pair to train on, so all of them train")
        parts = {"train": texts, "validation": [], "test": []}
    counts = ", ".join(f"{len(pairs):,} {part}" for part, pairs in parts.items())
    note(f"pairs: {counts} (no sentence is in two of them)")
    return parts
