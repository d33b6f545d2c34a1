"""Shifts that cancel are found from lengths alone, and aligned lines raise no alarm.

Each test is named after the promise that it keeps.
"""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

from flaxformer_mt.text import alignment
from flaxformer_mt.text.alignment import Block, length_outliers, suspected_shifts

REAL_CORPORA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def lengths(num_lines: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Lengths that go together as those of English and Persian do."""
    rng = np.random.default_rng(seed)
    roots = np.maximum(rng.normal(5.6, 1.4, num_lines), 1.5)
    noise = rng.normal(0, 0.65, num_lines)
    return _whole(roots), _whole(0.9 * roots + 0.6 + noise)


def _whole(roots: np.ndarray) -> np.ndarray:
    return np.maximum(np.rint(roots**2), 1).astype(np.int64)


def plant(tgt: np.ndarray, first: int, last: int, shift: int = 1) -> np.ndarray:
    """Delete `shift` lines before line `first`, and put as many in after `last`."""
    strangers = np.random.default_rng(first).choice(tgt, shift)
    kept = tgt[first - 1 + shift : last + shift]
    return np.concatenate([tgt[: first - 1], kept, strangers, tgt[last + shift :]])


def real_corpus(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The lengths of a corpus that is not shipped."""
    if not REAL_CORPORA.is_dir():
        pytest.skip(f"{REAL_CORPORA} is absent")
    if name == "tatoeba":
        with zipfile.ZipFile(REAL_CORPORA / "tatoeba-en-fa" / "Tatoeba.zip") as archive:
            sides = [archive.read(f"{lang}.txt") for lang in ("en", "fa")]
    else:
        folder = REAL_CORPORA / "multi30k-en-de"
        sides = [
            gzip.decompress((folder / f"train.{lang}.gz").read_bytes())
            for lang in ("en", "de")
        ]
    src, tgt = (
        np.array([len(line.strip()) for line in side.decode("utf-8").split("\n")[:-1]])
        for side in sides
    )
    return src, tgt


def found(blocks: list[Block], first: int, last: int, shift: int, near: int) -> bool:
    return [b.shift for b in blocks] == [shift] and (
        abs(blocks[0].first - first) <= near and abs(blocks[0].last - last) <= near
    )


# ---- what is found -----------------------------------------------------------------


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_a_planted_shift_is_found_where_it_is(shift):
    src, tgt = lengths(4000)
    blocks = suspected_shifts(src, plant(tgt, 1901, 2200, shift))
    assert found(blocks, 1901, 2200, shift, near=8)


def test_the_shift_says_where_the_source_line_is():
    src, tgt = lengths(1000)
    for by in (-2, -1, 1, 2):
        # Target line n is the translation of source line n + by.
        blocks = suspected_shifts(src, np.roll(tgt, -by))
        assert found(blocks, 1, 1000, by, near=8)


def test_a_source_line_lost_is_a_shift_the_other_way():
    src, tgt = lengths(4000)
    blocks = suspected_shifts(plant(src, 1001, 1400), tgt)
    assert found(blocks, 1001, 1400, -1, near=8)


def test_two_stretches_are_two_blocks():
    src, tgt = lengths(4000)
    tgt = plant(plant(tgt, 501, 700), 3001, 3300, 2)
    one, two = suspected_shifts(src, tgt)
    assert found([one], 501, 700, 1, near=8)
    assert found([two], 3001, 3300, 2, near=8)


def test_a_farther_shift_is_found_where_it_is_looked_for():
    src, tgt = lengths(4000)
    tgt = plant(tgt, 1001, 1400, 5)
    assert suspected_shifts(src, tgt) == []
    blocks = suspected_shifts(src, tgt, max_shift=6)
    assert found(blocks, 1001, 1400, 5, near=8)


def test_a_stretch_over_the_borders_of_the_work_is_one_block(monkeypatch):
    src, tgt = lengths(12_000)
    tgt = plant(tgt, 2001, 9000)
    whole = suspected_shifts(src, tgt)
    assert found(whole, 2001, 9000, 1, near=8)
    monkeypatch.setattr(alignment, "LINES_AT_ONCE", 2 * alignment.WINDOW)
    assert suspected_shifts(src, tgt) == whole


def test_pieces_of_a_large_corpus_set_the_same_standard(monkeypatch):
    src, tgt = lengths(12_000)
    tgt = plant(tgt, 5001, 5200)
    monkeypatch.setattr(alignment, "FIT_LINES", 4000)
    assert found(suspected_shifts(src, tgt), 5001, 5200, 1, near=8)


def test_empty_lines_say_nothing_and_hide_nothing():
    src, tgt = lengths(4000)
    empty = np.random.default_rng(1).random(4000) < 0.3
    src[empty] = tgt[empty] = 0
    assert suspected_shifts(src, tgt) == []
    assert found(suspected_shifts(src, plant(tgt, 1001, 1400)), 1001, 1400, 1, near=10)


@pytest.mark.parametrize("seed", range(3))
def test_a_shift_is_found_beside_a_large_part_that_is_unrelated(seed):
    src, tgt = lengths(5000, seed)
    tgt = plant(tgt, 501, 800)
    tgt[2000:] = np.random.default_rng(seed).permutation(tgt[2000:])
    assert found(suspected_shifts(src, tgt), 501, 800, 1, near=5)


def test_bad_pairs_do_not_set_the_standard():
    src, tgt = lengths(4000)
    tgt = plant(tgt, 1001, 1400)
    bad = np.random.default_rng(2).random(4000) < 0.05
    src[bad], tgt[bad] = 5000, 2
    assert found(suspected_shifts(src, tgt), 1001, 1400, 1, near=10)


# ---- what raises no alarm ----------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_aligned_lines_raise_no_alarm(seed):
    assert suspected_shifts(*lengths(5000, seed)) == []


@pytest.mark.parametrize("seed", range(10))
def test_unrelated_lines_raise_no_alarm(seed):
    src, tgt = lengths(5000, seed)
    assert suspected_shifts(src, np.random.default_rng(seed).permutation(tgt)) == []


def test_a_stretch_of_unrelated_lines_raises_no_alarm():
    src, tgt = lengths(6000)
    tgt[2000:4000] = np.random.default_rng(0).permutation(tgt[2000:4000])
    assert suspected_shifts(src, tgt) == []


def test_lines_sorted_by_length_raise_no_alarm():
    src, tgt = lengths(5000)
    order = np.argsort(src, kind="stable")
    assert suspected_shifts(src[order], tgt[order]) == []


@pytest.mark.parametrize("spread", [2.0, 2.5, 3.0])
def test_long_and_short_lines_in_turn_raise_no_alarm(spread):
    # A dialogue, say, of which the sides have nothing to do with each other.
    rng = np.random.default_rng(0)
    turns = np.tile([4.0, 8.0], 2500)
    for _ in range(3):
        roots = (np.maximum(turns + rng.normal(0, spread, 5000), 1) for _ in range(2))
        assert suspected_shifts(*map(_whole, roots)) == []


@pytest.mark.parametrize("of", [(20, 20), (20, None), (None, 20), (0, 0), (0, None)])
def test_constant_lengths_raise_no_alarm(of):
    sides = lengths(500)
    src, tgt = (
        side if length is None else np.full(500, length)
        for side, length in zip(sides, of, strict=True)
    )
    assert suspected_shifts(src, tgt) == []
    assert len(length_outliers(src, tgt)) == 0


@pytest.mark.parametrize("num_lines", [0, 1, 2, 49])
def test_a_tiny_corpus_raises_no_alarm(num_lines):
    src, tgt = lengths(num_lines)
    assert suspected_shifts(src, np.roll(tgt, 1)) == []
    assert len(length_outliers(src, tgt)) == 0


def test_lines_lost_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\) and \(2,\)"):
        suspected_shifts(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="same number of lines"):
        length_outliers(np.ones(3), np.ones(2))


# ---- real text ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tatoeba", "multi30k"])
def test_a_real_corpus_raises_no_alarm(name):
    src, tgt = real_corpus(name)
    assert suspected_shifts(src, tgt) == []
    assert suspected_shifts(tgt, src) == []


@pytest.mark.parametrize("name", ["tatoeba", "multi30k"])
def test_of_planted_shifts_in_a_real_corpus_nearly_all_are_found(name):
    src, tgt = real_corpus(name)
    src, tgt = src[:7000], tgt[:7000]
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(20):
        first = int(rng.integers(1, 6900))
        last = first + int(rng.integers(60, min(300, 7000 - first)))
        hits += found(
            suspected_shifts(src, plant(tgt, first, last)), first, last, 1, 15
        )
    assert hits >= 19


# ---- outliers ----------------------------------------------------------------------


def test_the_least_likely_pairs_come_first():
    src, tgt = lengths(1000)
    src[77], tgt[77] = 20, 200
    src[500], tgt[500] = 100, 5
    assert set(length_outliers(src, tgt, 2).tolist()) == {77, 500}
    assert len(length_outliers(src, tgt)) == 10


def test_a_long_sentence_with_a_long_translation_is_no_outlier():
    src, tgt = lengths(1000)
    src[5], tgt[5] = 900, 800
    assert 5 not in length_outliers(src, tgt)


def test_an_empty_side_is_no_outlier():
    src, tgt = lengths(100)
    src[3] = tgt[4] = 0
    outliers = length_outliers(src, tgt, count=100)
    assert len(outliers) == 98
    assert not {3, 4} & set(outliers.tolist())
