"""Who pads writes the mask; every pair once an epoch; two integers find any batch."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.batching import (
    EpochBatches,
    Shape,
    choose_shapes,
    choose_widths,
    make_batch,
    pad,
)
from tests.conftest import BOS, EOS, PAD, SPECIALS

LENGTHS = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1)


def encoded(lengths):
    """Pairs of some lengths; the first id is the pair's number."""
    return [([100 + i] * s, [100 + i] * t) for i, (s, t) in enumerate(lengths)]


def test_padding_writes_ids_and_mask_together():
    ids, mask = pad([[5, 6], [], [7]], 3, PAD)
    np.testing.assert_array_equal(ids, [[5, 6, PAD], [PAD] * 3, [7, PAD, PAD]])
    np.testing.assert_array_equal(mask, [[1, 1, 0], [0, 0, 0], [1, 0, 0]])
    assert ids.dtype == np.int32 and mask.dtype == bool


def test_padding_never_cuts():
    with pytest.raises(InputError, match="width=2: a row has 4 ids"):
        pad([[1, 2, 3, 4]], 2, PAD)


def test_a_batch_holds_what_the_decoder_reads_and_what_it_must_predict():
    batch = make_batch([([4, 5], [6, 7, 8])], Shape(2, 4, 5), SPECIALS)
    np.testing.assert_array_equal(batch.src_ids[0], [4, 5, EOS, PAD])
    np.testing.assert_array_equal(batch.tgt_in_ids[0], [BOS, 6, 7, 8, PAD])
    np.testing.assert_array_equal(batch.label_ids[0], [6, 7, 8, EOS, PAD])
    np.testing.assert_array_equal(batch.tgt_mask[0], [1, 1, 1, 1, 0])
    assert not batch.src_mask[1].any() and not batch.tgt_mask[1].any()


@given(LENGTHS, st.integers(1, 5))
def test_widths_are_few_nested_and_hold_every_pair(lengths, num_shapes):
    widths = choose_widths(np.array(lengths), num_shapes=num_shapes, max_length=41)
    assert 1 <= len(widths) <= num_shapes
    for narrow, wide in itertools.pairwise(widths):
        assert narrow[0] <= wide[0] and narrow[1] <= wide[1]
    for s, t in lengths:
        assert s <= widths[-1][0] and t <= widths[-1][1]


@pytest.mark.parametrize("max_length", [2, 6, 50, 127, 128])
def test_no_width_is_beyond_the_models_positions(max_length):
    lengths = np.array([(max_length, 1), (2, max_length)])
    assert choose_widths(lengths, num_shapes=4, max_length=max_length)[-1] == (
        max_length,
        max_length,
    )


def test_widths_waste_as_little_as_any_choice_of_cuts():
    lengths = np.array([(4, 4)] * 50 + [(8, 8)] * 10 + [(20, 20)] * 30 + [(40, 40)])
    assert choose_widths(lengths, num_shapes=4, max_length=128) == [
        (4, 4),
        (8, 8),
        (20, 20),
        (40, 40),
    ]
    # With three, the ten short ones are the cheapest to join with a neighbour: 10 pairs
    # of 8 in 20 cost 240 positions more, 50 of 4 in 8 cost 400, one 40 costs less.
    assert choose_widths(lengths, num_shapes=3, max_length=128) == [
        (8, 8),
        (20, 20),
        (40, 40),
    ] or (
        choose_widths(lengths, num_shapes=3, max_length=128)
        == [(4, 4), (20, 20), (40, 40)]
    )


@given(LENGTHS, st.integers(1, 7), st.integers(0, 3))
def test_an_epoch_holds_every_pair_once(lengths, rows, epoch):
    pairs = encoded(lengths)
    shapes = choose_shapes(pairs, batch_sentences=rows, max_length=41)
    batches = EpochBatches(pairs, shapes, SPECIALS, seed=1)
    seen = []
    for batch in batches.epoch(epoch):
        assert batch.src_ids.shape in {(s.rows, s.src_width) for s in shapes}
        seen += batch.src_ids[batch.src_mask.any(axis=1), 0].tolist()
    assert sorted(seen) == [100 + i for i in range(len(pairs))]
    assert len(batches) == len(list(batches.epoch(epoch)))
    in_order = [i for rows, _ in batches.in_order() for i in rows]
    assert sorted(in_order) == list(range(len(pairs)))


@given(LENGTHS, st.integers(0, 2))
def test_an_epoch_goes_on_from_any_batch(lengths, epoch):
    pairs = encoded(lengths)
    batches = EpochBatches(
        pairs, choose_shapes(pairs, batch_sentences=3, max_length=41), SPECIALS, seed=5
    )
    whole = list(batches.epoch(epoch))
    for start in range(len(whole) + 1):
        rest = list(batches.epoch(epoch, start=start))
        assert len(rest) == len(whole) - start
        for a, b in zip(rest, whole[start:], strict=True):
            np.testing.assert_array_equal(a.label_ids, b.label_ids)


def test_epochs_and_seeds_differ_in_order_but_are_repeatable():
    pairs = encoded([(3, 3)] * 50)
    shapes = choose_shapes(pairs, batch_sentences=8, max_length=41)

    def order(seed, epoch):
        batches = EpochBatches(pairs, shapes, SPECIALS, seed=seed)
        return [b.src_ids[:, 0].tolist() for b in batches.epoch(epoch)]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_batches_by_tokens_stay_within_them():
    pairs = encoded([(3, 5)] * 40 + [(30, 20)] * 40)
    for shape in choose_shapes(
        pairs, batch_sentences=64, max_length=41, batch_tokens=200
    ):
        assert shape.rows * max(shape.src_width, shape.tgt_width) <= 200
    with pytest.raises(InputError, match="must hold the longest pair, 32 tokens wide"):
        choose_shapes(pairs, batch_sentences=64, max_length=41, batch_tokens=20)
