"""Padded batches in few shapes, in an order that two integers determine.

Axes: B rows of a batch, S source width, T target width.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flaxformer_mt.errors import InputError


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


EncodedPair = tuple[Sequence[int], Sequence[int]]  # (src ids, tgt ids), no specials


def pad(
    rows: Sequence[Sequence[int]], width: int, pad_id: int
) -> tuple[np.ndarray, np.ndarray]:
    """Lists of ids as ([B, width] int32, [B, width] bool, True = real)."""
    too_long = max((len(row) for row in rows), default=0)
    if too_long > width:
        raise InputError(f"cannot pad to width={width}: a row has {too_long} ids.")
    ids = np.full((len(rows), width), pad_id, np.int32)
    mask = np.zeros((len(rows), width), bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = True
    return ids, mask


def make_batch(
    pairs: Sequence[EncodedPair], shape: Shape, specials: SpecialIds
) -> Batch:
    """A batch of exactly `shape`; rows past the last pair are padding throughout."""
    s = specials
    empty = [[]] * (shape.rows - len(pairs))
    src = [[*src, s.src_eos] for src, _ in pairs] + empty
    tgt_in = [[s.tgt_bos, *tgt] for _, tgt in pairs] + empty
    labels = [[*tgt, s.tgt_eos] for _, tgt in pairs] + empty
    src_ids, src_mask = pad(src, shape.src_width, s.src_pad)
    tgt_in_ids, tgt_mask = pad(tgt_in, shape.tgt_width, s.tgt_pad)
    label_ids, _ = pad(labels, shape.tgt_width, s.tgt_pad)
    return Batch(src_ids, src_mask, tgt_in_ids, label_ids, tgt_mask)


def choose_widths(
    lengths: np.ndarray, *, num_shapes: int, max_length: int, multiple: int = 4
) -> list[tuple[int, int]]:
    """The nested (S, T) widths, few and tight, that hold every pair.

    Pairs are ordered by their longer side and cut into at most `num_shapes` runs, so
    that the padded positions of both sides together are as few as possible (dynamic
    programming over the distinct lengths).

    Args:
      lengths: [N, 2] int, tokens a side with the one special that each side carries.
      num_shapes: each shape costs a compilation.
      max_length: no width is above it: the model has no more positions.
      multiple: widths are rounded up to a multiple of this, or to max_length.
    """
    rounded = np.minimum(-(-lengths // multiple) * multiple, max_length)
    longer = rounded.max(axis=1)
    cuts = np.unique(longer)  # a run ends at one of these
    counts = np.array([(longer == cut).sum() for cut in cuts])
    widths = np.array([rounded[longer == cut].max(axis=0) for cut in cuts])

    def cost(start: int, stop: int) -> int:
        return int(counts[start:stop].sum() * widths[start:stop].max(axis=0).sum())

    # best[j]: (padded positions, cut indices) of the first j lengths in at most k runs
    best = {j: (cost(0, j), (j,)) for j in range(1, len(cuts) + 1)}
    for _ in range(num_shapes - 1):
        best = {
            j: min(
                [best[j]]
                + [(best[i][0] + cost(i, j), (*best[i][1], j)) for i in range(1, j)]
            )
            for j in best
        }
    stops = best[len(cuts)][1]
    # A shape holds what every shorter one holds, so that "the first that fits" works.
    return [tuple(int(w) for w in widths[:stop].max(axis=0)) for stop in stops]


def choose_shapes(
    pairs: Sequence[EncodedPair],
    *,
    batch_sentences: int,
    max_length: int,
    batch_tokens: int = 0,
    num_shapes: int = 4,
) -> list[Shape]:
    """The shapes for some pairs: `batch_sentences` rows each, or, with `batch_tokens`,
    as many rows as keep the wider side within that many tokens, padding counted."""
    lengths = np.array([(len(src) + 1, len(tgt) + 1) for src, tgt in pairs])
    shapes = []
    widths = choose_widths(lengths, num_shapes=num_shapes, max_length=max_length)
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
        shapes.append(Shape(min(rows, len(pairs)), src_width, tgt_width))
    return shapes


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
    ) -> None:
        self.pairs, self.shapes, self.specials = pairs, list(shapes), specials
        self.seed = seed
        self.shape_of_pair = np.array([self._first_fit(pair) for pair in pairs])

    def _first_fit(self, pair: EncodedPair) -> int:
        src, tgt = len(pair[0]) + 1, len(pair[1]) + 1
        for i, shape in enumerate(self.shapes):
            if src <= shape.src_width and tgt <= shape.tgt_width:
                return i
        raise InputError(f"a pair of {src} and {tgt} tokens fits no batch shape.")

    def __len__(self) -> int:
        """Batches an epoch."""
        rows = np.array([shape.rows for shape in self.shapes])
        counts = np.bincount(self.shape_of_pair, minlength=len(rows))
        return int((-(-counts // rows)).sum())

    def plan(self, epoch: int) -> list[tuple[int, np.ndarray]]:
        """For each batch of an epoch, its shape's index and its pairs' indices."""
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.pairs))
        plan = []
        for i, shape in enumerate(self.shapes):
            members = order[self.shape_of_pair[order] == i]
            starts = range(0, len(members), shape.rows)
            plan += [(i, members[start : start + shape.rows]) for start in starts]
        return [plan[i] for i in rng.permutation(len(plan))]

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on."""
        for shape, members in self.plan(epoch)[start:]:
            pairs = [self.pairs[i] for i in members]
            yield make_batch(pairs, self.shapes[shape], self.specials)

    def in_order(self) -> Iterator[tuple[np.ndarray, Batch]]:
        """(pair indices, batch) over all pairs once, unshuffled, for validation."""
        for i, shape in enumerate(self.shapes):
            members = np.flatnonzero(self.shape_of_pair == i)
            for start in range(0, len(members), shape.rows):
                rows = members[start : start + shape.rows]
                pairs = [self.pairs[j] for j in rows]
                yield rows, make_batch(pairs, shape, self.specials)
