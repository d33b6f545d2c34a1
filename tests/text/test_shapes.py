"""Widths of batches: few, tight, and wide enough for every pair."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flaxformer_mt.text.shapes import choose_widths

LENGTHS = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1)


def positions(lengths, widths):
    """Padded positions of both sides, each pair in the cheapest width that holds it."""
    total = 0
    for s, t in lengths:
        total += min(a + b for a, b in widths if s <= a and t <= b)
    return total


@settings(deadline=None, max_examples=30)
@given(LENGTHS, st.integers(1, 5))
def test_widths_are_few_and_hold_every_pair(lengths, num_shapes):
    widths = choose_widths(np.array(lengths), num_shapes=num_shapes, max_length=41)
    assert 1 <= len(widths) <= num_shapes
    assert [sum(w) for w in widths] == sorted(sum(w) for w in widths)
    assert positions(lengths, widths) >= sum(map(sum, lengths))


@pytest.mark.parametrize("max_length", [2, 6, 50, 127, 128, 300, 1000])
def test_no_width_is_beyond_the_models_positions(max_length):
    lengths = np.array([(max_length, 1), (2, max_length)])
    widths = choose_widths(lengths, num_shapes=4, max_length=max_length)
    assert max(max(width) for width in widths) == max_length
    assert positions(lengths, widths)


def test_widths_waste_nothing_where_nothing_has_to_be_wasted():
    lengths = np.array([(4, 4)] * 50 + [(8, 8)] * 10 + [(20, 20)] * 30 + [(40, 40)])
    widths = choose_widths(lengths, num_shapes=4, max_length=128)
    assert widths == [(4, 4), (8, 8), (20, 20), (40, 40)]
    # With three, one 40 is too dear for a 20, and 50 of 4 or 10 of 8 share.
    assert positions(lengths, choose_widths(lengths, num_shapes=3, max_length=128)) == (
        positions(lengths, [(4, 4), (20, 20), (40, 40)])
    )


def test_widths_are_as_good_as_the_best_of_all():
    """By brute force over all pairs of widths, for two shapes on a small table."""
    rng = np.random.default_rng(1)
    lengths = np.stack([rng.integers(1, 13, 300), rng.integers(1, 13, 300)], axis=1)
    lengths[:, 1] = np.minimum(lengths[:, 1], lengths[:, 0] + 3)
    widest = tuple(lengths.max(axis=0))
    best = min(
        positions(lengths, [(s, t), widest])
        for s in range(1, widest[0] + 1)
        for t in range(1, widest[1] + 1)
    )
    found = choose_widths(lengths, num_shapes=2, max_length=128)
    assert positions(lengths, found) == best


def test_the_same_lengths_give_the_same_widths():
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 100, (500, 2))
    widths = choose_widths(lengths, num_shapes=6, max_length=128)
    assert choose_widths(lengths, num_shapes=6, max_length=128) == widths
    # Their order in the corpus does not matter.
    assert choose_widths(lengths[::-1], num_shapes=6, max_length=128) == widths
