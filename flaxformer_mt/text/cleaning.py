"""What one process does with a chunk of a corpus: clean it, count it, encode it.

Each function takes a state, which is the same for all chunks, and a chunk; it gives
back plain arrays and bytes, which travel cheaply between processes.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from flaxformer_mt.text.columns import pack_texts, unpack_texts
from flaxformer_mt.text.filters import (
    EXAMPLE_CHARACTERS,
    NUM_EXAMPLES,
    Example,
    PairFilter,
)
from flaxformer_mt.text.normalize import Normalizer, count_direction_marks
from flaxformer_mt.text.split import PARTS, TRAIN, hash_pair, hash_text
from flaxformer_mt.text.tokenizer import Tokenizer

# ---- reading: raw lines -> normalised pairs that passed the filters ------------------


class RawChunk(NamedTuple):
    """Some lines of a corpus as they were read."""

    corpus: int  # from 0
    first_line: int  # from 1
    num_lines: int  # more than there are in src and tgt where these are not wanted
    src: list[str]
    tgt: list[str]


@dataclasses.dataclass(frozen=True)
class Cleaner:
    """How raw lines become pairs."""

    normalizers: tuple[Normalizer, Normalizer]
    filter: PairFilter


class CleanChunk(NamedTuple):
    """Those of a chunk's pairs that can be used (n of m), and why the others not."""

    corpus: int
    num_read: int  # m
    rows: np.ndarray  # [n] int32, their places in the raw chunk, from 0
    src: bytes  # packed texts
    tgt: bytes
    hashes: np.ndarray  # [n, 2] uint64, of each side's text
    pair_hashes: np.ndarray  # [n] uint64
    characters: np.ndarray  # [n, 2] int32, lengths
    raw_characters: np.ndarray  # [m, 2] int32, lengths as read
    dropped: dict[str, tuple[int, list[Example]]]
    num_marks: int  # direction marks that were removed


def clean_chunk(cleaner: Cleaner, chunk: RawChunk) -> CleanChunk:
    """The pairs of a chunk, normalised and filtered."""
    normalize_src, normalize_tgt = cleaner.normalizers
    rows, srcs, tgts, side_hashes, pair_hashes = [], [], [], [], []
    dropped: dict[str, tuple[int, list[Example]]] = {}
    num_marks = 0
    for row, (raw_src, raw_tgt) in enumerate(zip(chunk.src, chunk.tgt, strict=True)):
        src, tgt = normalize_src(raw_src), normalize_tgt(raw_tgt)
        reason = cleaner.filter.reason(raw_src, raw_tgt, src, tgt)
        if reason:
            count, examples = dropped.get(reason, (0, []))
            if count < NUM_EXAMPLES:
                line = chunk.first_line + row
                examples.append(make_example(chunk.corpus, line, raw_src, raw_tgt))
            dropped[reason] = count + 1, examples
            continue
        for raw, normalizer in ((raw_src, normalize_src), (raw_tgt, normalize_tgt)):
            # isprintable is a fast sieve: marks, as ZWNJ, are not.
            if not raw.isprintable() and normalizer.rule != "none":
                num_marks += count_direction_marks(raw)
        rows.append(row)
        srcs.append(src)
        tgts.append(tgt)
        side_hashes += (hash_text(src), hash_text(tgt))
        pair_hashes.append(hash_pair(src, tgt))
    return CleanChunk(
        corpus=chunk.corpus,
        num_read=chunk.num_lines,
        rows=np.array(rows, np.int32),
        src=pack_texts(srcs),
        tgt=pack_texts(tgts),
        hashes=np.frombuffer(b"".join(side_hashes), "<u8").reshape(-1, 2),
        pair_hashes=np.frombuffer(b"".join(pair_hashes), ">u8").astype(np.uint64),
        characters=_lengths(srcs, tgts),
        raw_characters=_lengths(chunk.src, chunk.tgt),
        dropped=dropped,
        num_marks=num_marks,
    )


def make_example(corpus: int, line: int, src: str, tgt: str) -> Example:
    """A pair as an example, its sides cut where they are long."""

    def cut(text: str) -> str:
        long = len(text) > EXAMPLE_CHARACTERS
        return text[:EXAMPLE_CHARACTERS] + "…" if long else text

    return Example(corpus, line, cut(src), cut(tgt))


def _lengths(srcs: list[str], tgts: list[str]) -> np.ndarray:
    return np.array([list(map(len, srcs)), list(map(len, tgts))], np.int32).T


# ---- counting: which characters there are --------------------------------------------


class TextChunk(NamedTuple):
    """Pairs that were cleaned (n of them), and the part that each belongs to."""

    src: bytes  # packed texts
    tgt: bytes
    parts: np.ndarray  # [n] int8, places in split.PARTS; below 0: left out


def count_characters(
    state: None, chunk: TextChunk
) -> tuple[dict[str, int], dict[str, int]]:
    """How often each character occurs in a chunk's pairs of train, a side each."""
    counts = []
    for packed in (chunk.src, chunk.tgt):
        texts = unpack_texts(packed)
        text = "".join(texts[i] for i in np.flatnonzero(chunk.parts == TRAIN))
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        found, times = np.unique(points, return_counts=True)
        counts.append(dict(zip(map(chr, found.tolist()), times.tolist(), strict=True)))
    return counts[0], counts[1]


# ---- encoding: texts -> ids ----------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Encoder:
    """How pairs become ids."""

    tokenizers: tuple[Tokenizer, Tokenizer]
    max_length: int  # tokens a side, specials included
    dtypes: tuple[str, str]


class EncodedChunk(NamedTuple):
    """The ids of a chunk's pairs that are in some part and not too long (k of n)."""

    rows: np.ndarray  # [k] int32, places in the chunk
    ids: tuple[np.ndarray, np.ndarray]  # flat, a side each
    lengths: tuple[np.ndarray, np.ndarray]  # [k] int32, tokens without specials
    long_rows: np.ndarray  # places of those that are too long
    # [parts, 2 sides, 3] int64: tokens, of them bytes, of them unknown
    fallback: np.ndarray


def encode_chunk(encoder: Encoder, chunk: TextChunk) -> EncodedChunk:
    """The pairs of a chunk as ids."""
    used = np.flatnonzero(chunk.parts >= 0)
    all_ids, all_lengths = [], []
    for packed, tokenizer in zip(
        (chunk.src, chunk.tgt), encoder.tokenizers, strict=True
    ):
        texts = unpack_texts(packed)
        ids, lengths = tokenizer.encode_many([texts[i] for i in used])
        all_ids.append(ids)
        all_lengths.append(lengths)
    # Each side carries one special beside its tokens: EOS, or BOS.
    fits = np.maximum(*all_lengths) + 1 <= encoder.max_length
    all_ids = [
        ids[np.repeat(fits, lengths)]
        for ids, lengths in zip(all_ids, all_lengths, strict=True)
    ]
    kept_lengths = all_lengths[0][fits], all_lengths[1][fits]
    parts = chunk.parts[used][fits]
    fallback = np.zeros((len(PARTS), 2, 3), np.int64)
    for part in np.unique(parts):
        for side, (ids, lengths, tokenizer) in enumerate(
            zip(all_ids, kept_lengths, encoder.tokenizers, strict=True)
        ):
            of_part = ids[np.repeat(parts == part, lengths)]
            counts = tokenizer.count_fallback(of_part)
            fallback[part, side] = (len(of_part), *counts)
    src, tgt = (
        ids.astype(dtype) for ids, dtype in zip(all_ids, encoder.dtypes, strict=True)
    )
    return EncodedChunk(
        rows=used[fits].astype(np.int32),
        ids=(src, tgt),
        lengths=kept_lengths,
        long_rows=used[~fits].astype(np.int32),
        fallback=fallback,
    )
