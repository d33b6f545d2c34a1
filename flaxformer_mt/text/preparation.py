"""From files to a prepared corpus: read, clean, split, learn the tokens, encode.

    corpora -> raw chunks -> clean chunks -> [hashes] -> parts -> tokenizers -> ids

Memory holds a chunk a process and a few numbers a pair; the texts between two stages
lie in files without a name, which are gone when the process is, however it ends.
"""

import contextlib
import dataclasses
import functools
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from flaxformer_mt import starter
from flaxformer_mt.config import DataConfig
from flaxformer_mt.errors import InputError
from flaxformer_mt.text import filters
from flaxformer_mt.text.cleaning import (
    CleanChunk,
    Cleaner,
    EncodedChunk,
    Encoder,
    RawChunk,
    TextChunk,
    clean_chunk,
    count_characters,
    encode_chunk,
    make_example,
)
from flaxformer_mt.text.columns import Column, TextColumn, unpack_texts
from flaxformer_mt.text.corpus import read_pairs
from flaxformer_mt.text.encoded import EncodedPairs, EncodedSide
from flaxformer_mt.text.filters import PairFilter, Tally
from flaxformer_mt.text.lines import read_lines
from flaxformer_mt.text.normalize import Normalizer, choose_rule
from flaxformer_mt.text.prepared import (
    SRC_TOKENIZER,
    TGT_TOKENIZER,
    Prepared,
    TextPair,
    column_file,
)
from flaxformer_mt.text.scripts import side_scripts
from flaxformer_mt.text.sources import parse_source
from flaxformer_mt.text.split import (
    PARTS,
    TEST,
    TRAIN,
    VALIDATION,
    Part,
    first_occurrences,
    group_hashes,
    split_groups,
)
from flaxformer_mt.text.subwords import (
    SentencePieceTokenizer,
    TooManyPieces,
    train_sentencepiece,
)
from flaxformer_mt.text.tokenizer import (
    CharacterTokenizer,
    Tokenizer,
    load_tokenizer,
)
from flaxformer_mt.text.vocabulary import (
    Specials,
    Vocabulary,
    read_character_vocabulary,
)
from flaxformer_mt.text.workers import Workers, num_cores

CHUNK_PAIRS = 10_000  # pairs that a process works on at a time
NUM_LINES_FOR_SCRIPT = 2000  # of all corpora, looked at to tell a side's script
HIGH_DROP_SHARE = 0.05  # above it, the share of dropped pairs is a warning
# Above it, the share of tokens that a held-out text spells in bytes or as unknown is.
HIGH_UNKNOWN_SHARE = 0.001
# Files smaller than this are read by one process: starting others takes longer.
BYTES_WORTH_PROCESSES = 16 * 2**20
LEFT_OUT = -1  # the part of a pair that is in none

# What hears of progress: (stage, pairs done, pairs in all or 0 where that is unknown).
Show = Callable[[str, int, int], None]


File = TypeVar("File", Column, TextColumn)


class Corpus(NamedTuple):
    """One pair of sources."""

    src: str
    tgt: str
    part: Part | None = None  # None: the split decides
    labels: str = ""  # a source of one label a pair, for evaluate


class Selected(NamedTuple):
    """What became of each pair that was cleaned."""

    parts: np.ndarray  # [n] int8, places in PARTS, or LEFT_OUT
    num_groups: int
    largest_group: int


def corpora_of(data: DataConfig) -> list[Corpus]:
    """The corpora that a config names; without any, the starter corpus."""
    if data.src:
        corpora = [Corpus(*specs) for specs in zip(data.src, data.tgt, strict=True)]
        for part, src, tgt in (
            ("validation", data.validation_src, data.validation_tgt),
            ("test", data.test_src, data.test_tgt),
        ):
            corpora += [Corpus(src, tgt, part)] if src else []
        return corpora
    paths = {part: starter.corpus_folder() / f"{part}.tsv" for part in PARTS}
    return [
        Corpus(f"{path}:0", f"{path}:1", part, f"{path}:2")
        for part, path in paths.items()
    ]


def prepare(
    data: DataConfig,
    *,
    max_length: int,
    folder: Path | None = None,
    show: Show = lambda stage, done, total: None,
) -> Prepared:
    """The corpus of a config, ready for batches.

    Args:
      max_length: tokens a side, specials included; longer pairs are left out.
      folder: where the ids are written; None keeps a small corpus in memory, a larger
        one in files without a name.

    Raises:
      InputError: the corpus cannot be read, or leaves no pair to train on.
    """
    with Preparation(data, max_length, folder, show) as preparation:
        return preparation.run()


def token_kind(tokenizer: Tokenizer) -> str:
    """What data.tokenizer calls a tokenizer of this kind."""
    is_pieces = isinstance(tokenizer, SentencePieceTokenizer)
    return tokenizer.algorithm if is_pieces else tokenizer.kind


def given_tokenizers(data: DataConfig) -> tuple[Tokenizer, Tokenizer] | None:
    """The tokenizers of the run that data.tokenizers names; None where it names none.

    Raises:
      InputError: they are missing or damaged, or not of the kind that is asked for.
    """
    if not data.tokenizers:
        return None
    folder = Path(os.path.expanduser(data.tokenizers))
    src, tgt = (
        load_tokenizer(folder / name) for name in (SRC_TOKENIZER, TGT_TOKENIZER)
    )
    kind = token_kind(src)
    if data.tokenizer not in (kind, DataConfig.tokenizer):
        raise InputError(
            f"data.tokenizer={data.tokenizer} was asked for, but the tokenizers of "
            f"{folder} are of kind {kind}: leave out data.tokenizer or data.tokenizers."
        )
    if kind == "characters" and data.subword_sampling:
        raise InputError(
            "data.subword_sampling cuts words anew, but the tokenizers of "
            f"{folder} are of characters, which have no words: leave it out."
        )
    return src, tgt


def _shares_sentence(hashes: np.ndarray, given: np.ndarray) -> np.ndarray:
    """[n] bool, the pairs of which a side is a side of a pair with a given part."""
    shared = np.zeros(len(hashes), bool)
    for side in hashes.T:
        shared |= np.isin(side, side[given != LEFT_OUT])
    return shared


class Preparation:
    """One corpus on its way; the stages are in the order of `run`."""

    def __init__(
        self, data: DataConfig, max_length: int, folder: Path | None, show: Show
    ) -> None:
        self.given = given_tokenizers(data)
        if self.given:  # from here on its kind is known
            kind = token_kind(self.given[0])
            data = dataclasses.replace(data, tokenizer=kind)
        self.data, self.max_length = data, max_length
        self.folder, self.show = folder, show
        self.corpora = corpora_of(data)
        self.specials = Specials(bos=data.bos, pad=data.pad, eos=data.eos, unk=data.unk)
        self.notes: list[str] = []
        self.tally = Tally(num_corpora=len(self.corpora) if data.src else 1)
        self.processes = self._choose_processes()
        self.files = contextlib.ExitStack()
        # One value a pair that was cleaned, n in all.
        self.src_texts = self._keep(TextColumn(folder))
        self.tgt_texts = self._keep(TextColumn(folder))
        self.chunk_pairs: list[int] = []
        self.hashes = self._keep(Column(np.uint64, folder=folder))  # two a pair
        self.pair_hashes = self._keep(Column(np.uint64, folder=folder))
        self.lines = self._keep(Column(np.int64, folder=folder))
        self.corpus_of_pair = self._keep(Column(np.uint8, folder=folder))
        self.characters = self._keep(Column(np.int32, folder=folder))  # two a pair
        # Two a line that was read, a column each corpus.
        self.raw_characters = [
            self._keep(Column(np.int32, folder=folder)) for _ in self.corpora
        ]
        self.num_read = [0] * len(self.corpora)
        self.num_marks = 0

    def _keep(self, file: File) -> File:
        """A file that is closed when all is done."""
        self.files.callback(file.close)
        return file

    def __enter__(self) -> "Preparation":
        return self

    def __exit__(self, *exception: object) -> None:
        self.files.close()

    def run(self) -> Prepared:
        """Every stage in its order."""
        self.vocabularies = self._given_vocabularies()
        self.read()
        self.selected = self.select()
        self.counts = self.count_characters()
        return self.encode(self.learn_tokenizers())

    def _choose_processes(self) -> int:
        if self.data.processes:
            return self.data.processes
        specs = {spec for corpus in self.corpora for spec in (corpus.src, corpus.tgt)}
        files = {parse_source(spec).path for spec in specs}
        size = sum(os.path.getsize(path) for path in files)
        return num_cores() if size > BYTES_WORTH_PROCESSES else 1

    # ---- reading -----------------------------------------------------------------

    def read(self) -> None:
        """Fills the columns with the pairs that pass the filters."""
        self.show("reading", 0, 0)
        cleaner = self._make_cleaner()
        # Pairs that share a sentence with files of one's own leave later, and are not
        # to count.
        has_own = bool(self.data.validation_src or self.data.test_src)
        limit = 0 if has_own else self.data.limit_pairs
        self.is_full, seen, num_kept = False, set(), 0
        with Workers(clean_chunk, cleaner, processes=self.processes) as workers:
            for chunk in workers.map(self._raw_chunks()):
                if self.is_full and self._is_limited(chunk.corpus):
                    self._count_over_limit(chunk.corpus, chunk.num_read)
                    continue
                self._take(chunk)
                if limit and self._is_limited(chunk.corpus):
                    seen.update(chunk.pair_hashes.tolist())
                    num_kept += len(chunk.rows)
                    unique = len(seen) if self.data.filter.duplicates else num_kept
                    self.is_full = unique >= limit
        if self.num_marks:
            self.notes.append(f"removed {self.num_marks:,} invisible direction marks")

    def _is_limited(self, corpus: int) -> bool:
        """Whether data.limit_pairs is about a corpus: the starter corpus keeps its own
        validation and test whole."""
        return bool(self.data.limit_pairs) and self.corpora[corpus].part in (
            None,
            "train",
        )

    def _count_over_limit(self, corpus: int, number: int) -> None:
        first = filters.Example(corpus, self.num_read[corpus] + 1, "", "")
        self.num_read[corpus] += number
        self.tally.read += number
        self.tally.count(filters.OVER_LIMIT, number, [first])
        self.show("reading", self.tally.read, 0)

    def _raw_chunks(self) -> Iterator[RawChunk]:
        for number, corpus in enumerate(self.corpora):
            pairs = read_pairs(corpus.src, corpus.tgt, note=self.notes.append)
            first_line = 1
            while some := list(itertools.islice(pairs, CHUNK_PAIRS)):
                # What is past the limit is counted, and not sent to be cleaned.
                skipped = self.is_full and self._is_limited(number)
                sides = zip(*some, strict=True) if not skipped else ([], [])
                src, tgt = map(list, sides)
                yield RawChunk(number, first_line, len(some), src, tgt)
                first_line += len(some)

    def _take(self, chunk: CleanChunk) -> None:
        """Adds the pairs of a chunk to the columns."""
        first_line = self.num_read[chunk.corpus] + 1
        self.num_read[chunk.corpus] += chunk.num_read
        self.tally.read += chunk.num_read
        for reason, (number, examples) in chunk.dropped.items():
            self.tally.count(reason, number, examples)
        self.num_marks += chunk.num_marks
        self.raw_characters[chunk.corpus].append(chunk.raw_characters.ravel())
        if not len(chunk.rows):
            return
        self.src_texts.append(chunk.src)
        self.tgt_texts.append(chunk.tgt)
        self.chunk_pairs.append(len(chunk.rows))
        self.hashes.append(chunk.hashes.ravel())
        self.pair_hashes.append(chunk.pair_hashes)
        self.lines.append(first_line + chunk.rows)
        self.corpus_of_pair.append(np.full(len(chunk.rows), chunk.corpus))
        self.characters.append(chunk.characters.ravel())
        self.show("reading", self.tally.read, 0)

    def _make_cleaner(self) -> Cleaner:
        """How raw lines become pairs, by what the first lines of each corpus show."""
        share = max(NUM_LINES_FOR_SCRIPT // len(self.corpora), 100)
        heads = []
        for corpus in self.corpora:
            pairs = read_pairs(corpus.src, corpus.tgt, note=lambda _: None)
            heads.append(list(itertools.islice(pairs, share)))
        srcs, tgts = ([p[i] for head in heads for p in head] for i in (0, 1))
        data = self.data
        if self.given:
            src, tgt = (tokenizer.normalizer for tokenizer in self.given)
        else:
            src = self._normalizer(data.src_normalize, srcs, data.src_lang)
            tgt = self._normalizer(data.tgt_normalize, tgts, data.tgt_lang)
        self.normalizers = src, tgt
        self.notes.append(f"normalisation: source {src.rule}, target {tgt.rule}")
        # Of each corpus, however many others there are.
        self.scripts = tuple(
            frozenset().union(
                *(side_scripts(normalize(pair[i]) for pair in head) for head in heads)
            )
            for i, normalize in enumerate((src, tgt))
        )
        return Cleaner(
            self.normalizers, PairFilter(data.filter, self.scripts, self.vocabularies)
        )

    def _normalizer(self, wanted: str, texts: list[str], language: str) -> Normalizer:
        rule = choose_rule(texts, language) if wanted == "auto" else wanted
        return Normalizer(rule, self.data.lowercase, self.data.digits)

    def _given_vocabularies(self) -> tuple[Vocabulary | None, Vocabulary | None]:
        """The vocabularies that the person brought, None where there is none."""
        if self.given:
            src, tgt = (tokenizer.vocabulary for tokenizer in self.given)
            return src, tgt
        src, tgt = (
            read_character_vocabulary(path, self.specials) if path else None
            for path in (self.data.src_vocab, self.data.tgt_vocab)
        )
        return src, tgt

    # ---- choosing ----------------------------------------------------------------

    def select(self) -> Selected:
        """Which pairs are used, and in which part."""
        self.show("grouping pairs that share a sentence", 0, 0)
        self.all_hashes = hashes = self.hashes.finish().reshape(-1, 2)
        self.lengths = self.characters.finish().reshape(-1, 2)
        self.raw_lengths = [c.finish().reshape(-1, 2) for c in self.raw_characters]
        self.all_lines = self.lines.finish()
        self.all_corpora = corpora = self.corpus_of_pair.finish()
        used = np.ones(len(hashes), bool)
        given = self._given_parts(corpora)
        if self.data.filter.duplicates:
            # Of two equal pairs the one of a validation or test file stays.
            order = np.argsort(given == LEFT_OUT, kind="stable")
            used[order] = first_occurrences(hashes[order])
            self._drop(filters.DUPLICATE, np.flatnonzero(~used))
        if self.data.src and (given != LEFT_OUT).any():
            shared = used & (given == LEFT_OUT) & _shares_sentence(hashes, given)
            used &= ~shared
            self._drop(filters.HELD_OUT, np.flatnonzero(shared))
        if self.data.limit_pairs:
            limited = np.isin(
                corpora, [i for i in range(len(self.corpora)) if self._is_limited(i)]
            )
            over = np.flatnonzero(used & limited)[self.data.limit_pairs :]
            used[over] = False
            if len(over):  # these come first: what was not even read lies behind them
                self.tally.examples.pop(filters.OVER_LIMIT, None)
            self._drop(filters.OVER_LIMIT, over)
        rows = np.flatnonzero(used)
        if not len(rows):
            raise self._nothing_left()
        parts = np.full(len(hashes), LEFT_OUT, np.int8)
        # Ids of groups are places among `rows`.
        groups = group_hashes(hashes[rows])
        parts[rows] = split_groups(
            groups,
            self.pair_hashes.finish()[rows],
            validation=self._share(VALIDATION, self.data.validation_fraction),
            test=self._share(TEST, self.data.test_fraction),
            max_validation=self.data.max_validation_pairs,
            max_test=self.data.max_test_pairs,
        )
        is_given = used & (given != LEFT_OUT)
        parts[is_given] = given[is_given]
        if not (parts == TRAIN).any():
            self.notes.append(
                "the split would leave no pair to train on, so all of them train"
            )
            parts[used & ~is_given] = TRAIN
        _, sizes = np.unique(groups, return_counts=True)
        return Selected(parts, len(sizes), int(sizes.max()))

    def _given_parts(self, corpora: np.ndarray) -> np.ndarray:
        """The part of each pair whose corpus has one, else LEFT_OUT; [n] int8."""
        given = np.full(len(corpora), LEFT_OUT, np.int8)
        for number, corpus in enumerate(self.corpora):
            if corpus.part:
                given[corpora == number] = PARTS.index(corpus.part)
        return given

    def _share(self, part: int, fraction: float) -> float:
        """The share of the pairs to hold out, none where there are files of their
        own."""
        has_own = any(corpus.part == PARTS[part] for corpus in self.corpora)
        return 0.0 if has_own and self.data.src else fraction

    def _nothing_left(self) -> InputError:
        advice = (
            "check that both sides are text and, if given, that the vocabularies fit; "
            "--data.filter switches rules off."
        )
        if filters.LONG in self.tally.dropped:
            advice = (
                "no pair is left to train on: allow longer sentences with "
                "--model.max-length (in prepare, --max-length)."
            )
        if not self.tally.read:
            advice = "there is not one line in it."
        names = f"{' and '.join(self.data.src)} with {' and '.join(self.data.tgt)}"
        return InputError(
            f"{names if self.data.src else 'the starter corpus'} gives 0 usable pairs "
            f"({self.tally.summary()}): {advice}"
        )

    def _drop(self, reason: str, rows: np.ndarray) -> None:
        """Counts pairs that were cleaned but are not used."""
        wanted = filters.NUM_EXAMPLES - len(self.tally.examples.get(reason, []))
        shown = rows[:wanted]
        examples = [
            make_example(int(self.all_corpora[row]), int(self.all_lines[row]), *texts)
            for row, texts in zip(shown, self.texts_of(shown), strict=True)
        ]
        self.tally.count(reason, len(rows), examples)

    def texts_of(self, rows: np.ndarray) -> list[tuple[str, str]]:
        """The texts of a few pairs that were cleaned."""
        ends = np.cumsum(self.chunk_pairs)
        found = []
        for row in rows:
            chunk = int(np.searchsorted(ends, row, side="right"))
            place = int(row - (ends[chunk] - self.chunk_pairs[chunk]))
            src, tgt = (
                unpack_texts(column.chunk(chunk))[place]
                for column in (self.src_texts, self.tgt_texts)
            )
            found.append((src, tgt))
        return found

    # ---- tokens ------------------------------------------------------------------

    def _text_chunks(self) -> Iterator[TextChunk]:
        """The cleaned pairs with their parts, chunk by chunk."""
        start = 0
        for number, size in enumerate(self.chunk_pairs):
            yield TextChunk(
                self.src_texts.chunk(number),
                self.tgt_texts.chunk(number),
                self.selected.parts[start : start + size],
            )
            start += size

    def count_characters(self) -> tuple[Counter[str], Counter[str]]:
        """How often each character occurs in the training pairs, a side each."""
        counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        done, total = 0, len(self.selected.parts)
        self.show("counting characters", done, total)
        with Workers(count_characters, None, processes=self.processes) as workers:
            for number, chunk in enumerate(workers.map(self._text_chunks())):
                for side, more in zip(counts, chunk, strict=True):
                    side.update(more)
                done += self.chunk_pairs[number]
                self.show("counting characters", done, total)
        return counts

    def learn_tokenizers(self) -> tuple[Tokenizer, Tokenizer]:
        """A tokenizer for each side, from the training pairs where none are given."""
        data = self.data
        if self.given:
            sizes = " and ".join(f"{len(t.vocabulary):,}" for t in self.given)
            self.notes.append(
                f"tokens: those of {data.tokenizers} ({data.tokenizer}, {sizes})"
            )
            return self.given
        if data.tokenizer == "characters":
            src, tgt = (
                CharacterTokenizer(
                    given
                    or Vocabulary.of_counts(counts, self.specials, data.min_count),
                    normalizer,
                )
                for given, counts, normalizer in zip(
                    self.vocabularies, self.counts, self.normalizers, strict=True
                )
            )
            return src, tgt
        self.show(f"learning {data.vocab_size:,} pieces", 0, 0)
        srcs, tgts = self._texts_to_learn_from()
        learned = []
        for texts in [srcs + tgts] if data.shared_vocab else [srcs, tgts]:
            learned.append(self._learn_pieces(texts))
        src, tgt = (
            SentencePieceTokenizer(model, self.specials, normalizer)
            for model, normalizer in zip(
                (learned[0], learned[-1]), self.normalizers, strict=True
            )
        )
        return src, tgt

    def _learn_pieces(self, texts: list[str]) -> bytes:
        """A SentencePiece model of data.vocab_size pieces, or of all that there are."""
        learn = functools.partial(
            train_sentencepiece,
            texts,
            kind=self.data.tokenizer,
            specials=self.specials,
        )
        try:
            return learn(vocab_size=self.data.vocab_size)
        except TooManyPieces as error:
            self.notes.append(
                f"{error.most:,} pieces are learned, all that the text gives, instead "
                f"of data.vocab_size={self.data.vocab_size:,}"
            )
            return learn(vocab_size=error.most)

    def _texts_to_learn_from(self) -> tuple[list[str], list[str]]:
        """Training pairs drawn at random, always the same ones, half the sentences a
        side."""
        train = np.flatnonzero(self.selected.parts == TRAIN)
        most = max(self.data.vocab_sentences // 2, 1)
        chosen = np.zeros(len(self.selected.parts), bool)
        rng = np.random.default_rng(0)
        chosen[rng.permutation(train)[:most]] = True
        sides: tuple[list[str], list[str]] = ([], [])
        start = 0
        for number, size in enumerate(self.chunk_pairs):
            rows = np.flatnonzero(chosen[start : start + size])
            start += size
            for side, column in zip(
                sides, (self.src_texts, self.tgt_texts), strict=True
            ):
                if len(rows):
                    texts = unpack_texts(column.chunk(number))
                    side += [texts[row] for row in rows]
        return sides

    # ---- encoding ----------------------------------------------------------------

    def encode(self, tokenizers: tuple[Tokenizer, Tokenizer]) -> Prepared:
        """The prepared corpus: ids of every pair in its part."""
        dtypes = tuple(
            "<u2" if len(tokenizer.vocabulary) <= 2**16 else "<i4"
            for tokenizer in tokenizers
        )
        columns = {
            part: PairColumns(self._part_column(PARTS[part]), dtypes)
            for part in (TRAIN, VALIDATION)
        }
        held_out: dict[int, list[TextPair]] = {VALIDATION: [], TEST: []}
        self.labels = [
            list(read_lines(corpus.labels)) if corpus.labels else []
            for corpus in self.corpora
        ]
        # Tokens, of them in bytes, of them unknown: a part, a side each.
        self.fallback = np.zeros((len(PARTS), 2, 3), np.int64)
        encoder = Encoder(tokenizers, self.max_length, dtypes)
        start, parts = 0, self.selected.parts
        self.show("tokenizing", 0, len(parts))
        with Workers(encode_chunk, encoder, processes=self.processes) as workers:
            for number, chunk in enumerate(workers.map(self._text_chunks())):
                if len(chunk.long_rows):
                    self._drop(filters.LONG, start + chunk.long_rows)
                    parts[start + chunk.long_rows] = LEFT_OUT
                rows = start + chunk.rows
                for part, of_part in columns.items():
                    of_part.append(
                        chunk,
                        parts[rows] == part,
                        self.all_lines[rows],
                        self.all_corpora[rows],
                    )
                for part, pairs in held_out.items():
                    pairs += self._held_out(rows[parts[rows] == part], number, start)
                self.fallback += chunk.fallback
                start += self.chunk_pairs[number]
                self.show("tokenizing", start, len(parts))
        return self._finish(
            tokenizers, columns[TRAIN], columns[VALIDATION], *held_out.values()
        )

    def _part_column(self, part: str) -> Callable[[str, str], Column]:
        """What makes the columns of a part: in the folder, or without a name."""

        def column(name: str, dtype: str) -> Column:
            path = column_file(self.folder, f"{part}.{name}") if self.folder else None
            return self._keep(Column(dtype, path))

        return column

    def _held_out(self, rows: np.ndarray, number: int, start: int) -> list[TextPair]:
        """Some pairs of the chunk of that number as text."""
        if not len(rows):
            return []
        sides = (
            unpack_texts(column.chunk(number))
            for column in (self.src_texts, self.tgt_texts)
        )
        texts = list(zip(*sides, strict=True))
        found = []
        for row in rows:
            line, labels = int(self.all_lines[row]), self.labels[self.all_corpora[row]]
            label = labels[line - 1] if labels else ""
            found.append(TextPair(*texts[row - start], line, label))
        return found

    def _finish(
        self,
        tokenizers: tuple[Tokenizer, Tokenizer],
        train: "PairColumns",
        validation: "PairColumns",
        validation_texts: list[TextPair],
        test_texts: list[TextPair],
    ) -> Prepared:
        if not train.lines.count:
            raise self._nothing_left()
        counts = (train.lines.count, len(validation_texts), len(test_texts))
        self.notes += self.tally.sentences()
        over_limit = self.tally.dropped.get(filters.OVER_LIMIT, 0)
        num_dropped = sum(self.tally.dropped.values()) - over_limit
        share = num_dropped / max(self.tally.read - over_limit, 1)
        if share > HIGH_DROP_SHARE:
            self.notes.append(f"warning: {share:.1%} of the pairs were dropped")
        self.notes.append(
            "pairs: "
            + ", ".join(
                f"{count:,} {part}" for count, part in zip(counts, PARTS, strict=True)
            )
            + (
                " (training shares no sentence with the others)"
                if self.data.validation_src or self.data.test_src
                else " (no sentence is in two of them)"
            )
        )
        self._note_unknown()
        return Prepared(
            data=self.data,
            max_length=self.max_length,
            src_tokenizer=tokenizers[0],
            tgt_tokenizer=tokenizers[1],
            train=train.finish(),
            validation=validation.finish(),
            validation_texts=validation_texts,
            test_texts=test_texts,
            tally=self.tally,
            notes=self.notes,
        )

    def _note_unknown(self) -> None:
        """Warns where text is not covered by the tokens: held-out text alone where they
        were learned from all other."""
        first, whose, lacking = (
            (TRAIN, "", "that the given tokenizers lack")
            if self.given
            else (VALIDATION, " of validation and test", "that no training pair has")
        )
        for side, name in enumerate(("source", "target")):
            tokens, in_bytes, unknown = self.fallback[first:, side].sum(axis=0)
            share = (in_bytes + unknown) / max(tokens, 1)
            if share > HIGH_UNKNOWN_SHARE:
                self.notes.append(
                    f"warning: {share:.2%} of the {name} tokens{whose} are of "
                    f"characters {lacking}"
                )


class PairColumns:
    """The arrays of one part while they grow."""

    def __init__(
        self, column: Callable[[str, str], Column], dtypes: tuple[str, ...]
    ) -> None:
        self.ids = [
            column(f"{side}.ids", dtype)
            for side, dtype in zip(("src", "tgt"), dtypes, strict=True)
        ]
        self.lengths = [column(f"{side}.lengths", "<i4") for side in ("src", "tgt")]
        self.lines = column("lines", "<i8")
        self.corpora = column("corpora", "<u1")

    def append(
        self,
        chunk: EncodedChunk,
        chosen: np.ndarray,
        lines: np.ndarray,
        corpora: np.ndarray,
    ) -> None:
        """Adds the chosen pairs of a chunk; all arrays are one value a pair of it."""
        for side in (0, 1):
            lengths = chunk.lengths[side]
            self.ids[side].append(chunk.ids[side][np.repeat(chosen, lengths)])
            self.lengths[side].append(lengths[chosen])
        self.lines.append(lines[chosen])
        self.corpora.append(corpora[chosen])

    def finish(self) -> EncodedPairs:
        """The pairs."""
        src, tgt = (
            EncodedSide(ids.finish(), lengths.finish())
            for ids, lengths in zip(self.ids, self.lengths, strict=True)
        )
        return EncodedPairs(src, tgt, self.lines.finish(), self.corpora.finish())
