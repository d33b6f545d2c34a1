"""Padded batches in few shapes, in an order that two integers determine.

Axes: B rows of a batch, S source width, T target width.
"""

import itertools
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.encoded import EncodedPair, EncodedPairs
from flaxformer_mt.text.shapes import choose_widths
from flaxformer_mt.text.tokenizer import Tokenizer

# A shape costs a compilation; with fewer batches an epoch it does not pay.
BATCHES_WORTH_A_SHAPE = 8
BATCHES_AHEAD = 8  # made before they are asked for


class Batch(NamedTuple):
    """Padded token ids, and which of them are real."""

    src_ids: np.ndarray  # [B, S] int32, x1 .. xn EOS PAD
    src_mask: np.ndarray  # [B, S] bool, True = real token
    tgt_in_ids: np.ndarray  # [B, T] int32, BOS y1 .. ym PAD: what the decoder reads
    label_ids: np.ndarray  # [B, T] int32, y1 .. ym EOS PAD: what it must predict
    tgt_mask: np.ndarray  # [B, T] bool, True = real (same positions in both)


class SpecialIds(NamedTuple):
    """Ids that a batch adds. The sides have vocabularies, so also ids, of their own."""

    src_eos: int
    src_pad: int
    tgt_bos: int
    tgt_eos: int
    tgt_pad: int


class Shape(NamedTuple):
    """One compiled size of batch."""

    rows: int  # B
    src_width: int  # S
    tgt_width: int  # T


def pad(
    rows: Sequence[Sequence[int]],
    width: int,
    pad_id: int,
    *,
    begin: int | None = None,
    end: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ids as ([B, width] int32, [B, width] bool, True = real).

    begin, end: an id to put before, or after, each row.
    """
    extra = (begin is not None) + (end is not None)
    lengths = np.array([len(row) + extra for row in rows], np.int64)
    if len(rows) and lengths.max() > width:
        raise InputError(f"cannot pad to width={width}: a row has {lengths.max()} ids.")
    ids = np.full((len(rows), width), pad_id, np.int32)
    first = 0
    if begin is not None:
        ids[:, :1] = begin
        first = 1
    for i, row in enumerate(rows):
        ids[i, first : first + len(row)] = row
    if end is not None:
        ids[np.arange(len(rows)), lengths - 1] = end
    return ids, np.arange(width) < lengths[:, None]


def make_batch(
    pairs: Sequence[EncodedPair], shape: Shape, specials: SpecialIds
) -> Batch:
    """A batch of exactly `shape`; rows past the last pair are padding throughout."""
    src, tgt = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    s, (rows, src_width, tgt_width) = specials, shape
    src_ids, src_mask = pad(src, src_width, s.src_pad, end=s.src_eos)
    tgt_in_ids, tgt_mask = pad(tgt, tgt_width, s.tgt_pad, begin=s.tgt_bos)
    label_ids, _ = pad(tgt, tgt_width, s.tgt_pad, end=s.tgt_eos)

    def fill(array: np.ndarray, value: int) -> np.ndarray:
        short = ((0, rows - len(pairs)), (0, 0))
        return np.pad(array, short, constant_values=value)

    return Batch(
        fill(src_ids, s.src_pad),
        fill(src_mask, False),
        fill(tgt_in_ids, s.tgt_pad),
        fill(label_ids, s.tgt_pad),
        fill(tgt_mask, False),
    )


def choose_shapes(
    lengths: np.ndarray,
    *,
    batch_sentences: int,
    max_length: int,
    batch_tokens: int = 0,
    max_shapes: int = 8,
) -> list[Shape]:
    """The shapes for some pairs, from the cheapest on: `batch_sentences` rows each, or,
    with `batch_tokens`, as many rows as keep the wider side within that many tokens,
    padding counted.

    Args:
      lengths: [N, 2] int, tokens a side with the one special that each side carries.
      max_shapes: a small corpus gets fewer.

    Raises:
      InputError: the longest pair alone has more than `batch_tokens`.
    """
    num_batches = len(lengths) / batch_sentences
    if batch_tokens:
        num_batches = lengths.max(axis=1).sum() / batch_tokens
    worth = 1 + int(num_batches / BATCHES_WORTH_A_SHAPE)
    widths = choose_widths(
        lengths, num_shapes=min(max_shapes, worth), max_length=max_length
    )
    shapes = []
    for src_width, tgt_width in widths:
        rows = batch_sentences
        if batch_tokens:
            rows = batch_tokens // max(src_width, tgt_width)
            if rows < 1:
                raise InputError(
                    f"train.batch_tokens={batch_tokens} must hold the longest pair, "
                    f"{max(src_width, tgt_width)} tokens wide: raise it, or lower "
                    "model.max_length."
                )
        shapes.append(Shape(min(rows, len(lengths)), src_width, tgt_width))
    return shapes


class Recut:
    """Subword regularisation: the words of a pair cut anew in each epoch.

    A cut is a pure function of (seed, epoch, pair), so that a run can resume.
    """

    def __init__(
        self, src: Tokenizer, tgt: Tokenizer, *, strength: float, seed: int
    ) -> None:
        self.tokenizers, self.strength, self.seed = (src, tgt), strength, seed

    def __call__(self, pair: EncodedPair, epoch: int, number: int) -> EncodedPair:
        """The pair of that number as an epoch sees it."""
        rng = np.random.default_rng([self.seed, epoch, number])
        src, tgt = (
            tokenizer.sample(tokenizer.decode(ids), strength=self.strength, rng=rng)
            for ids, tokenizer in zip(pair, self.tokenizers, strict=True)
        )
        return src, tgt

    def lengths(self, pairs: EncodedPairs, max_length: int) -> np.ndarray:
        """[N, 2], the lengths to make room for: cut anew, a text has more pieces."""
        some = range(0, len(pairs), max(len(pairs) // 500, 1))
        before = sum(np.array([*map(len, pairs[i])]) for i in some)
        after = sum(np.array([*map(len, self(pairs[i], 0, i))]) for i in some)
        longer = np.ceil(pairs.lengths * np.maximum(after / before, 1) + 1)
        return np.minimum(longer, max_length).astype(np.int64)


class Plan(Sequence[tuple[int, np.ndarray]]):
    """The batches of one epoch: each a shape's index and its pairs' indices."""

    def __init__(
        self, members: list[np.ndarray], rows: list[int], rng: np.random.Generator
    ) -> None:
        self.members, self.rows = members, rows
        counts = [-(-len(m) // r) for m, r in zip(members, rows, strict=True)]
        self.ends = np.cumsum(counts)
        self.order = rng.permutation(sum(counts))

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, number: int) -> tuple[int, np.ndarray]:
        place = int(self.order[number])
        shape = int(np.searchsorted(self.ends, place, side="right"))
        place -= int(self.ends[shape - 1]) if shape else 0
        rows = self.rows[shape]
        return shape, self.members[shape][place * rows : (place + 1) * rows]


class EpochBatches:
    """The batches of any epoch: their order is a pure function of (seed, epoch).

    Together with a batch's number in its epoch that is all a run needs to resume: no
    state is kept between epochs.
    """

    def __init__(
        self,
        pairs: Sequence[EncodedPair],
        shapes: Sequence[Shape],
        specials: SpecialIds,
        *,
        seed: int,
        weights: Sequence[float] = (),
        recut: Recut | None = None,
    ) -> None:
        """weights: how often a pair of each corpus is read in an epoch; () is once."""
        self.pairs, self.specials = EncodedPairs.of(pairs), specials
        self.shapes = sorted(shapes, key=lambda s: s.src_width + s.tgt_width)
        self.seed, self.weights, self.recut = seed, weights, recut
        lengths = self.pairs.lengths
        if recut and len(self.pairs):
            longest = max(max(shape[1:]) for shape in shapes)
            lengths = recut.lengths(self.pairs, longest)
        self.shape_of_pair = self._cheapest_fit(lengths)
        self.rows = [shape.rows for shape in self.shapes]
        self.readings, self.tokens = self._count_readings()
        self.moves = self._moves(self.readings.sum(axis=1).tolist())

    def _count_readings(self) -> tuple[np.ndarray, np.ndarray]:
        """(readings of each shape and corpus in an epoch, [shapes, corpora]; tokens of
        an epoch, [2 sides])."""
        weights = self.weights or (1.0,)
        bucket = self.shape_of_pair.astype(np.int64)
        if self.weights:
            bucket = bucket * len(weights) + self.pairs.corpora
        size = len(self.shapes) * len(weights)
        counts = np.bincount(bucket, minlength=size)
        readings = [
            self._readings_of(count, weights[i % len(weights)])[0]
            for i, count in enumerate(counts.tolist())
        ]
        # A bucket's pairs are read equally often in the long run.
        share = readings / np.maximum(counts, 1)
        tokens = [
            np.bincount(bucket, weights=lengths, minlength=size) @ share
            for lengths in self.pairs.lengths.T
        ]
        return np.reshape(readings, (-1, len(weights))), np.array(tokens)

    def _cheapest_fit(self, lengths: np.ndarray) -> np.ndarray:
        """The cheapest shape that holds each pair, [N] int8."""
        if not len(lengths):
            return np.zeros(0, np.int8)
        # A table of all lengths, looked up once a pair.
        table = np.full(lengths.max(axis=0) + 1, -1, np.int8)
        for i, shape in reversed(list(enumerate(self.shapes))):
            table[: shape.src_width + 1, : shape.tgt_width + 1] = i
        found = table[lengths[:, 0], lengths[:, 1]]
        if found.min() < 0:
            src, tgt = lengths[found.argmin()]
            raise InputError(f"a pair of {src} and {tgt} tokens fits no batch shape.")
        return found

    def _buckets(self, shape: int) -> list[tuple[np.ndarray, float]]:
        """The pairs of one shape, those of each corpus apart, with its weight."""
        members = np.flatnonzero(self.shape_of_pair == shape)
        if not self.weights:
            return [(members, 1.0)]
        corpora = self.pairs.corpora[members]
        return [
            (members[corpora == corpus], weight)
            for corpus, weight in enumerate(self.weights)
        ]

    @staticmethod
    def _readings_of(size: int, weight: float) -> tuple[int, int, int]:
        """(readings of a bucket of some pairs in an epoch, whole passes, readings
        beyond them)."""
        if not size:
            return 0, 0, 0
        # At least one, or a pair that is alone in its bucket would never be read.
        readings = max(round(weight * size), 1)
        return readings, *divmod(readings, size)

    def _moves(self, counts: list[int]) -> list[tuple[int, int, int]]:
        """(from shape, to shape, how many pairs): what would leave a short batch goes
        to a wider shape, where that makes the positions of all batches fewer."""
        wider = [self._cheapest_around(i) for i in range(len(self.shapes))]

        def outcome(moving: list[bool]) -> tuple[int, list[int], list]:
            left, moves = list(counts), []
            for i, rows in enumerate(self.rows):
                rest = left[i] % rows
                if moving[i] and rest and wider[i] is not None:
                    left[i] -= rest
                    left[wider[i]] += rest
                    moves.append((i, wider[i], rest))
            batches = [-(-n // rows) for n, rows in zip(left, self.rows, strict=True)]
            positions = sum(
                number * shape.rows * (shape.src_width + shape.tgt_width)
                for number, shape in zip(batches, self.shapes, strict=True)
            )
            return positions, batches, moves

        moving = [False] * len(self.shapes)
        best, improved = outcome(moving), True
        while improved:
            improved = False
            for flips in itertools.chain(
                itertools.combinations(range(len(moving)), 1),
                itertools.combinations(range(len(moving)), 2),
            ):
                other = [m != (i in flips) for i, m in enumerate(moving)]
                new = outcome(other)
                if new[0] < best[0]:
                    moving, best, improved = other, new, True
        _, self.batches_of_shape, moves = best
        self.num_batches = sum(self.batches_of_shape)
        return moves

    def _cheapest_around(self, i: int) -> int | None:
        """The cheapest shape that holds all that shape i holds, None for the widest."""
        _, src_width, tgt_width = self.shapes[i]
        for j in range(i + 1, len(self.shapes)):
            wide = self.shapes[j]
            if wide.src_width >= src_width and wide.tgt_width >= tgt_width:
                return j
        return None

    def __len__(self) -> int:
        """Batches an epoch, the same in each."""
        return self.num_batches

    def plan(self, epoch: int) -> Plan:
        """For each batch of an epoch, its shape's index and its pairs' indices."""
        rng = np.random.default_rng([self.seed, epoch])
        order = self._order(epoch, rng)
        # Sorted by shape, and in random order within: NumPy's sort of bytes is a radix
        # sort, which is stable.
        by_shape = order[np.argsort(self.shape_of_pair[order], kind="stable")]
        members = np.split(by_shape, np.cumsum(self.readings.sum(axis=1))[:-1])
        for i, wider, left in self.moves:
            members[wider] = np.concatenate([members[wider], members[i][-left:]])
            members[i] = members[i][:-left]
        return Plan(members, self.rows, rng)

    def _order(self, epoch: int, rng: np.random.Generator) -> np.ndarray:
        """The pairs in the order of an epoch, each as often as its weight says."""
        if not self.weights:
            return rng.permutation(len(self.pairs))
        readings = []
        for shape in range(len(self.shapes)):
            for bucket, weight in self._buckets(shape):
                _, passes, rest = self._readings_of(len(bucket), weight)
                readings += [bucket] * passes
                # The rest moves on through one fixed order, so that each has its turn.
                turns = np.random.default_rng([self.seed, shape]).permutation(bucket)
                places = epoch * rest + np.arange(rest)
                readings.append(turns[places % max(len(bucket), 1)])
        return rng.permutation(np.concatenate(readings))

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on."""
        plan = self.plan(epoch)
        for number in range(start, len(plan)):
            shape, members = plan[number]
            yield self._make_batch(members, self.shapes[shape], epoch)

    def onwards(self, epoch: int, start: int) -> Iterator[Batch]:
        """The batches from a place on, epoch after epoch without an end."""
        while len(self):
            yield from self.epoch(epoch, start=start)
            epoch, start = epoch + 1, 0

    def _make_batch(self, members: np.ndarray, shape: Shape, epoch: int) -> Batch:
        pairs = [self.pairs[i] for i in members.tolist()]
        if self.recut:
            pairs = [
                self._recut_to_fit(pair, shape, epoch, i)
                for pair, i in zip(pairs, members.tolist(), strict=True)
            ]
        return make_batch(pairs, shape, self.specials)

    def _recut_to_fit(
        self, pair: EncodedPair, shape: Shape, epoch: int, number: int
    ) -> EncodedPair:
        """A side as it is cut anew, or as it was where that is too wide."""
        src, tgt = (
            new if len(new) < width else old
            for old, new, width in zip(
                pair, self.recut(pair, epoch, number), shape[1:], strict=True
            )
        )
        return src, tgt

    def in_order(self) -> Iterator[tuple[np.ndarray, Batch]]:
        """(pair indices, batch) over all pairs once, unshuffled, for validation."""
        for i, shape in enumerate(self.shapes):
            members = np.flatnonzero(self.shape_of_pair == i)
            for start in range(0, len(members), shape.rows):
                rows = members[start : start + shape.rows]
                pairs = [self.pairs[j] for j in rows.tolist()]
                yield rows, make_batch(pairs, shape, self.specials)

    def padding(self) -> tuple[float, float]:
        """The share of an epoch's positions that is padding, of source and target,
        empty rows of short batches counted."""
        positions = np.zeros(2)
        for shape, batches in zip(self.shapes, self.batches_of_shape, strict=True):
            positions += batches * shape.rows * np.array(shape[1:])
        src, tgt = 1 - self.tokens / np.maximum(positions, 1)
        return float(src), float(tgt)


Item = TypeVar("Item")


class Prefetch(Generic[Item]):
    """Items made ahead by a thread: `with Prefetch(batches) as ready: next(ready)`.

    `seconds_waited` is how long `next` had to wait in all: near 0 where the thread
    keeps up.
    """

    def __init__(self, items: Iterator[Item], *, ahead: int = BATCHES_AHEAD) -> None:
        self.items = items
        self.ready: queue.Queue = queue.Queue(maxsize=ahead)
        self.seconds_waited = 0.0
        self.end: BaseException | None = None  # how it ended, once it has
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._make, daemon=True)

    def __enter__(self) -> "Prefetch[Item]":
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopping.set()
        self.end = self.end or StopIteration()
        while self.thread.is_alive():
            # The thread may be waiting for room.
            while not self.ready.empty():
                self.ready.get_nowait()
            self.thread.join(timeout=0.01)

    def __iter__(self) -> "Prefetch[Item]":
        return self

    def __next__(self) -> Item:
        if self.end is None:
            started = time.perf_counter()
            item, end = self.ready.get()
            self.seconds_waited += time.perf_counter() - started
            if end is None:
                return item
            self.end = end  # asked once more, it ends once more
        raise self.end

    def _make(self) -> None:
        try:
            for item in self.items:
                if self.stopping.is_set():
                    return
                self.ready.put((item, None))
            self.ready.put((None, StopIteration()))
        except BaseException as error:  # the thread that asks shall hear of it
            self.ready.put((None, error))
