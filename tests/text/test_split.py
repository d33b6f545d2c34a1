"""Nothing shared between the parts, and nothing that moves."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flaxformer_mt.text.split import (
    MAX_HELD_OUT_GROUP,
    TEST,
    TRAIN,
    VALIDATION,
    first_occurrences,
    group_pairs,
    hash_text,
    split_groups,
    split_pairs,
)

SENTENCES = st.sampled_from("abcdefghijklmnop")
PAIRS = st.lists(st.tuples(SENTENCES, SENTENCES), max_size=40)


@given(PAIRS)
def test_no_sentence_is_in_two_parts(pairs):
    parts = split_pairs(pairs, validation=0.3, test=0.3)
    for side in (0, 1):
        for sentence in {pair[side] for pair in pairs}:
            places = {
                p
                for pair, p in zip(pairs, parts, strict=True)
                if pair[side] == sentence
            }
            assert len(places) == 1


@given(PAIRS)
def test_groups_are_exactly_what_shared_sentences_connect(pairs):
    groups = group_pairs(pairs)
    for i, a in enumerate(pairs):
        reached, frontier = {i}, [a]
        while frontier:  # by brute force
            x = frontier.pop()
            for j, y in enumerate(pairs):
                if j not in reached and (x[0] == y[0] or x[1] == y[1]):
                    reached.add(j)
                    frontier.append(y)
        assert {j for j, g in enumerate(groups) if g == groups[i]} == reached
        assert groups[i] == min(reached)


def test_a_chain_of_shared_sentences_is_one_group():
    assert group_pairs([("a", "1"), ("b", "2"), ("c", "1"), ("b", "1")]) == [0] * 4
    # The same text on different sides connects nothing.
    assert group_pairs([("a", "b"), ("b", "c")]) == [0, 1]


def test_the_split_is_the_same_on_every_machine():
    """Golden: a change here moves sentences between training and test of every user's
    corpus. If that is meant, say so in the changelog and put the new letters here."""
    pairs = [(f"source {i}", f"target {i}") for i in range(30)]
    letters = {"train": ".", "validation": "v", "test": "t"}
    parts = split_pairs(pairs, validation=0.2, test=0.2)
    assert "".join(letters[part] for part in parts) == ".t...tt...t.....vvt..tvt..t..."


@given(PAIRS, PAIRS)
def test_appended_lines_move_no_pair_that_they_do_not_touch(pairs, more):
    more = [(src.upper(), tgt.upper()) for src, tgt in more]  # shares no sentence
    before = split_pairs(pairs, validation=0.3, test=0.3)
    assert split_pairs(pairs + more, validation=0.3, test=0.3)[: len(pairs)] == before


def test_the_parts_have_about_the_shares_that_were_asked_for():
    pairs = [(f"s{i}", f"t{i}") for i in range(20_000)]
    parts = split_pairs(pairs, validation=0.1, test=0.05)
    assert abs(parts.count("validation") / 20_000 - 0.1) < 0.01
    assert abs(parts.count("test") / 20_000 - 0.05) < 0.01
    assert set(split_pairs(pairs, validation=0, test=0)) == {"train"}


def test_a_large_group_does_not_push_the_others_out_of_a_limit():
    groups = np.array([0] * 60 + list(range(60, 200)))
    hashes = np.zeros(200, np.uint64)  # the large group has the lowest hash
    hashes[60:] = np.arange(60, 200)
    parts = split_groups(groups, hashes, validation=0, test=0.5, max_test=50)
    assert (parts == TEST).sum() == 50 and not (parts[:60] == TEST).any()


def test_a_pair_that_trains_goes_on_to_train_where_a_limit_binds():
    """Whatever is added to groups that are there."""
    rng = np.random.default_rng(0)
    sizes = rng.zipf(2.2, size=3000).clip(max=MAX_HELD_OUT_GROUP // 4)
    groups = np.repeat(np.cumsum(sizes) - sizes, sizes)
    hashes = rng.integers(0, 2**63, len(groups), dtype=np.uint64) * 2
    shares = {"validation": 0.1, "test": 0.1, "max_validation": 90, "max_test": 90}
    before = split_groups(groups, hashes, **shares)
    assert set(before.tolist()) == {TRAIN, VALIDATION, TEST}
    for _ in range(40):
        more = rng.choice(groups, size=20)
        theirs = rng.integers(0, 2**63, len(more), dtype=np.uint64) * 2
        grown = [np.concatenate(both) for both in ((groups, more), (hashes, theirs))]
        after = split_groups(*grown, **shares)[: len(groups)]
        assert (after[before == TRAIN] == TRAIN).all()


def test_a_very_large_group_trains():
    size = MAX_HELD_OUT_GROUP + 1
    groups, hashes = np.zeros(size, np.int64), np.zeros(size, np.uint64)
    assert (split_groups(groups, hashes, validation=0, test=1.0) == TRAIN).all()
    fewer = split_groups(groups[1:], hashes[1:], validation=0, test=1.0)
    assert (fewer == TEST).all()


@given(PAIRS)
def test_duplicates_are_all_but_the_first_of_their_like(pairs):
    hashes = np.array(
        [[int.from_bytes(hash_text(t), "little") for t in pair] for pair in pairs],
        np.uint64,
    ).reshape(-1, 2)
    wanted = [pairs.index(pair) == i for i, pair in enumerate(pairs)]
    assert first_occurrences(hashes).tolist() == wanted
