"""Who pads writes the mask; every pair once an epoch; two integers find any batch."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.batching import (
    EpochBatches,
    Prefetch,
    Recut,
    Shape,
    choose_shapes,
    make_batch,
    pad,
)
from flaxformer_mt.text.encoded import EncodedPairs, EncodedSide
from flaxformer_mt.text.normalize import Normalizer
from flaxformer_mt.text.subwords import SentencePieceTokenizer, train_sentencepiece
from flaxformer_mt.text.vocabulary import Specials
from tests.conftest import BOS, EOS, PAD, SPECIALS

LENGTHS = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1)


def encoded(lengths):
    """Pairs of some lengths; the first id is the pair's number."""
    return [([100 + i] * s, [100 + i] * t) for i, (s, t) in enumerate(lengths)]


def lengths_of(pairs):
    """[N, 2], with the special that each side carries."""
    return EncodedPairs.of(pairs).lengths


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


@settings(max_examples=40)
@given(LENGTHS, st.integers(1, 7), st.integers(0, 3))
def test_an_epoch_holds_every_pair_once(lengths, rows, epoch):
    pairs = encoded(lengths)
    shapes = choose_shapes(lengths_of(pairs), batch_sentences=rows, max_length=41)
    batches = EpochBatches(pairs, shapes, SPECIALS, seed=1)
    seen = []
    for batch in batches.epoch(epoch):
        assert batch.src_ids.shape in {(s.rows, s.src_width) for s in shapes}
        seen += batch.src_ids[batch.src_mask.any(axis=1), 0].tolist()
    assert sorted(seen) == [100 + i for i in range(len(pairs))]
    assert len(batches) == len(list(batches.epoch(epoch)))
    in_order = [i for rows, _ in batches.in_order() for i in rows]
    assert sorted(in_order) == list(range(len(pairs)))


@settings(max_examples=40)
@given(LENGTHS, st.integers(0, 2))
def test_an_epoch_goes_on_from_any_batch(lengths, epoch):
    pairs = encoded(lengths)
    batches = EpochBatches(
        pairs,
        choose_shapes(lengths_of(pairs), batch_sentences=3, max_length=41),
        SPECIALS,
        seed=5,
    )
    whole = list(batches.epoch(epoch))
    for start in range(len(whole) + 1):
        rest = list(batches.epoch(epoch, start=start))
        assert len(rest) == len(whole) - start
        for a, b in zip(rest, whole[start:], strict=True):
            np.testing.assert_array_equal(a.label_ids, b.label_ids)


def test_epochs_and_seeds_differ_in_order_but_are_repeatable():
    pairs = encoded([(3, 3)] * 50)
    shapes = choose_shapes(lengths_of(pairs), batch_sentences=8, max_length=41)

    def order(seed, epoch):
        batches = EpochBatches(pairs, shapes, SPECIALS, seed=seed)
        return [b.src_ids[:, 0].tolist() for b in batches.epoch(epoch)]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_batches_by_tokens_stay_within_them():
    pairs = encoded([(3, 5)] * 40 + [(30, 20)] * 40)
    for shape in choose_shapes(
        lengths_of(pairs), batch_sentences=64, max_length=41, batch_tokens=200
    ):
        assert shape.rows * max(shape.src_width, shape.tgt_width) <= 200
    with pytest.raises(InputError, match="must hold the longest pair, 31 tokens wide"):
        choose_shapes(
            lengths_of(pairs), batch_sentences=64, max_length=41, batch_tokens=20
        )


def weighted(counts, weights, seed=0):
    """Batches over corpora of some sizes, all pairs alike."""
    corpora = np.repeat(np.arange(len(counts)), counts).astype(np.uint8)
    side = EncodedSide(
        np.arange(len(corpora), dtype=np.int32), np.ones(len(corpora), np.int32)
    )
    pairs = EncodedPairs(side, side, corpora=corpora)
    return EpochBatches(
        pairs, [Shape(4, 3, 3)], SPECIALS, seed=seed, weights=weights
    ), corpora


def test_a_corpus_is_read_as_often_as_its_weight_says():
    batches, corpora = weighted([30, 20, 10], (0.5, 1.0, 2.5))
    for epoch in range(3):
        plan = batches.plan(epoch)
        read = np.concatenate([members for _, members in plan])
        times = np.bincount(read, minlength=60)
        assert times[corpora == 0].sum() == 15 and times[corpora == 0].max() == 1
        assert (times[corpora == 1] == 1).all()
        assert times[corpora == 2].sum() == 25
        assert set(times[corpora == 2]) == {2, 3}
        assert len(plan) == len(batches) == -(-60 // 4)
    # The other half in the next epoch: each has its turn.
    halves = [
        {i for _, members in batches.plan(epoch) for i in members if corpora[i] == 0}
        for epoch in (0, 1)
    ]
    assert halves[0] | halves[1] == set(range(30))


def test_a_pair_that_is_alone_in_its_shape_is_read_whatever_its_weight():
    batches, _ = weighted([9, 1], (0.05, 0.3))
    assert len(batches) == 1
    read = {
        i for epoch in range(9) for _, members in batches.plan(epoch) for i in members
    }
    assert read == set(range(10))


@settings(max_examples=40)
@given(LENGTHS, st.integers(1, 9))
def test_short_batches_are_filled_where_that_saves_positions(lengths, rows):
    pairs = encoded(lengths)
    shapes = choose_shapes(
        lengths_of(pairs), batch_sentences=rows, max_length=41, max_shapes=4
    )
    batches = EpochBatches(pairs, shapes, SPECIALS, seed=0)
    positions = sum(
        batch.src_ids.size + batch.tgt_in_ids.size for batch in batches.epoch(0)
    )
    counts = np.bincount(batches.shape_of_pair, minlength=len(shapes))
    unfilled = sum(
        -(-count // shape.rows) * shape.rows * (shape.src_width + shape.tgt_width)
        for count, shape in zip(counts, batches.shapes, strict=True)
    )
    assert positions <= unfilled
    tokens = lengths_of(pairs).sum(axis=0)
    for side, share in enumerate(batches.padding()):
        places = sum(batch[2 * side].size for batch in batches.epoch(0))
        np.testing.assert_allclose(share, 1 - tokens[side] / places)


def test_batches_go_on_into_the_next_epoch():
    pairs = encoded([(3, 3)] * 10)
    shapes = [Shape(4, 4, 4)]
    batches = EpochBatches(pairs, shapes, SPECIALS, seed=3)
    onwards = batches.onwards(1, 2)
    wanted = [*batches.epoch(1, start=2), *batches.epoch(2), *batches.epoch(3)]
    for batch in wanted:
        np.testing.assert_array_equal(next(onwards).src_ids, batch.src_ids)
    assert list(EpochBatches([], [], SPECIALS, seed=0).onwards(0, 0)) == []


def test_items_are_made_ahead_and_arrive_in_order():
    made = []

    def items():
        for i in range(20):
            made.append(i)
            yield i

    with Prefetch(items(), ahead=4) as ready:
        assert next(ready) == 0
        deadline = time.monotonic() + 5
        while len(made) < 5 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(made) >= 5  # nobody asked for these yet
        assert list(ready) == list(range(1, 20))
        assert list(ready) == []


def test_a_fault_of_the_thread_reaches_who_asks():
    def items():
        yield 1
        raise InputError("the corpus was taken away")

    with Prefetch(items()) as ready:
        assert next(ready) == 1
        for _ in range(2):  # whoever asks again hears it again
            with pytest.raises(InputError, match="taken away"):
                next(ready)


def test_no_thread_is_left_behind():
    before = threading.active_count()
    with Prefetch(iter(range(1000)), ahead=2) as ready:
        next(ready)
    assert threading.active_count() == before
    with pytest.raises(StopIteration):
        next(ready)


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def subwords(request):
    """A tokenizer of pieces, and pairs of texts that it has learned from."""
    rng = np.random.default_rng(0)
    words = ["unhappily", "rewriting", "walked", "walking", "happiness", "written"]
    texts = [" ".join(rng.choice(words, 5)) for _ in range(300)]
    model = train_sentencepiece(
        texts, kind=request.param, vocab_size=280, specials=Specials()
    )
    tokenizer = SentencePieceTokenizer(model, Specials(), Normalizer("basic"))
    return tokenizer, [(tokenizer.encode(t), tokenizer.encode(t)) for t in texts]


def test_words_are_cut_anew_in_each_epoch_and_say_the_same(subwords):
    """Subword regularisation; a pure function of seed and epoch, as all of a batch."""
    tokenizer, encoded_pairs = subwords
    pairs = EncodedPairs.of(encoded_pairs)
    recut = Recut(tokenizer, tokenizer, strength=0.3, seed=1)
    lengths = recut.lengths(pairs, 64)
    assert lengths.shape == (300, 2) and (lengths >= pairs.lengths).all()
    shapes = choose_shapes(lengths, batch_sentences=8, max_length=64)
    batches = EpochBatches(pairs, shapes, SPECIALS, seed=1, recut=recut)

    def epoch(number, start=0):
        return [
            [
                tokenizer.decode(row[mask][:-1])
                for row, mask in zip(*batch[:2], strict=True)
            ]
            for batch in batches.epoch(number, start=start)
        ], [batch.src_ids.tolist() for batch in batches.epoch(number, start=start)]

    said, ids = epoch(0)
    whole = sorted(tokenizer.decode(src) for src, _ in encoded_pairs)
    assert sorted(text for batch in said for text in batch if text) == whole
    assert epoch(0)[1] == ids
    assert epoch(0, start=3)[1] == ids[3:]
    fresh = EpochBatches(pairs, shapes, SPECIALS, seed=1)
    uncut = [batch.src_ids.tolist() for batch in fresh.epoch(0)]
    differing = sum(a != b for a, b in zip(uncut, ids, strict=False))
    assert differing > len(ids) / 2


def test_a_cut_that_is_too_wide_is_left_as_it_was(subwords):
    tokenizer, encoded_pairs = subwords
    pairs = EncodedPairs.of(encoded_pairs)
    recut = Recut(tokenizer, tokenizer, strength=0.9, seed=1)
    widest = int(pairs.lengths.max())
    batches = EpochBatches(
        pairs, [Shape(8, widest, widest)], SPECIALS, seed=1, recut=recut
    )
    for batch in batches.epoch(0):
        assert batch.src_ids.shape[1] == widest
