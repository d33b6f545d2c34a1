"""Few frames, every source in one of them, and rows that lose nothing on the way."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformer_mt.decoding.frames import (
    Frame,
    Source,
    cheapest,
    ladder,
    make_rows,
    move,
    plan,
    special,
)


def sources_of(lengths) -> list[Source]:
    return [Source([1] * length) for length in lengths]


@given(
    max_length=st.integers(2, 3000),
    tokens=st.sampled_from([1, 40, 400, 2048, 16384]),
    hypotheses=st.integers(1, 64),
)
def test_a_model_has_four_frames_at_most_and_one_for_its_longest(
    max_length, tokens, hypotheses
):
    frames = ladder(max_length, tokens, hypotheses=hypotheses)
    assert 1 <= len(frames) <= 4 and len(set(frames)) == len(frames)
    lengths = [frame.length for frame in frames]
    assert max(lengths) == max_length
    assert Frame(1, max_length) in frames
    assert all(frame.rows & (frame.rows - 1) == 0 for frame in frames)
    assert all(f.rows * f.length <= tokens or f.rows == 1 for f in frames)


def test_the_frames_of_some_models_are_these():
    assert ladder(40, 2048) == (Frame(32, 40), Frame(1, 40))
    many = (Frame(64, 32), Frame(16, 128))
    assert ladder(128, 2048) == (*many, Frame(1, 32), Frame(1, 128))
    assert ladder(512, 2048) == (*many, Frame(4, 512), Frame(1, 512))


@given(
    lengths=st.lists(st.integers(1, 200), max_size=150),
    tokens=st.sampled_from([40, 400, 2048]),
    hypotheses=st.sampled_from([1, 5]),
)
def test_every_source_is_planned_once_and_fits_its_frame(lengths, tokens, hypotheses):
    frames = ladder(200, tokens, hypotheses=hypotheses)
    sources = sources_of(lengths)
    batches = plan(sources, frames)
    assert sorted(i for _, members in batches for i in members) == [
        *range(len(sources))
    ]
    for frame, members in batches:
        assert frame in frames
        assert 1 <= len(members) <= frame.rows
        assert max(lengths[i] for i in members) <= frame.length


def test_sources_of_like_length_are_decoded_together():
    frames = ladder(200, 2048)
    lengths = [5, 100] * 64
    for _, members in plan(sources_of(lengths), frames):
        assert len({lengths[i] for i in members}) == 1


def test_a_prefix_needs_its_places_and_one_more():
    assert Source([1] * 5, prefix=[7] * 9).places == 10
    assert Source([1] * 12, prefix=[7] * 9).places == 12


def test_few_rows_take_a_small_frame():
    frames = ladder(128, 2048)
    assert cheapest(frames, count=1, places=3) == Frame(1, 32)
    assert cheapest(frames, count=1, places=33) == Frame(1, 128)
    assert cheapest(frames, count=64, places=3) == Frame(64, 32)


def test_rows_are_filled_up_with_rows_that_have_no_source():
    opening = np.array([True, False, True, False, False])
    sources = [Source([4, 3, 1], (7, 8)), Source([2, 1], (5, 6), [3, 4], opening)]
    rows = make_rows(sources, Frame(4, 6), pad_id=0, vocab_size=5, has=special(sources))
    assert rows.src_ids.tolist() == [
        [4, 3, 1, 0, 0, 0],
        [2, 1, 0, 0, 0, 0],
        [0] * 6,
        [0] * 6,
    ]
    assert rows.src_mask.sum(axis=1).tolist() == [3, 2, 0, 0]
    assert rows.keys.tolist() == [[7, 8], [5, 6], [0, 0], [0, 0]]
    assert rows.opening is not None and rows.opening.tolist() == [
        [True] * 5,
        opening.tolist(),
        [True] * 5,
        [True] * 5,
    ]
    assert rows.boundary is None


def test_a_call_has_arrays_only_for_what_its_sources_have():
    rows = make_rows(
        sources_of([2]), Frame(1, 4), pad_id=0, vocab_size=5, has=frozenset()
    )
    assert rows.prefix is rows.opening is rows.boundary is None
    boundary = np.zeros(5, bool)
    assert special([Source([1])]) == frozenset()
    assert special([Source([1]), Source([1], prefix=[2])]) == {"prefix"}
    assert special([Source([1], boundary=boundary)]) == {"prefix", "boundary"}


@pytest.mark.parametrize("wanted", [(2, 3, 2), (4, 5, 6), (2, 5, 3), (3, 2, 6)])
def test_rows_move_as_they_are_and_what_is_new_is_empty(wanted):
    array = np.arange(1, 5 * 3 * 4 + 1).reshape(5, 3, 4)
    alive = np.ones(5, bool)
    like = (
        jax.ShapeDtypeStruct(wanted, np.int64),
        jax.ShapeDtypeStruct(wanted[:1], np.bool_),
    )
    moved, moved_alive = move((array, alive), [3, 0], like)
    assert moved.shape == wanted
    a, b = min(3, wanted[1]), min(4, wanted[2])
    np.testing.assert_array_equal(moved[:2, :a, :b], array[[3, 0], :a, :b])
    assert np.count_nonzero(moved) == 2 * a * b
    assert moved_alive.tolist() == [True, True] + [False] * (wanted[0] - 2)
