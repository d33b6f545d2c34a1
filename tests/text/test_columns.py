"""What is appended comes back, from memory or from a file without a name."""

import numpy as np
import pytest

from flaxformer_mt.text import columns
from flaxformer_mt.text.columns import Column, TextColumn, pack_texts, unpack_texts
from flaxformer_mt.text.encoded import EncodedPairs


@pytest.mark.parametrize("spill", [10, 2**20])
@pytest.mark.parametrize("named", [True, False])
def test_a_column_is_what_was_appended(tmp_path, monkeypatch, spill, named):
    monkeypatch.setattr(columns, "SPILL_BYTES", spill)
    path = tmp_path / "a.bin" if named else None
    column = Column("<u2", path)
    column.append(np.array([1, 2]))
    column.append(np.arange(1000)[::2])
    array = column.finish()
    np.testing.assert_array_equal(array, [1, 2, *range(0, 1000, 2)])
    assert array.dtype == np.uint16 and not array.flags.writeable
    assert isinstance(array, np.memmap) == (named or spill == 10)
    if named:
        assert path.read_bytes() == array.tobytes()
    empty = Column("<i4")
    assert len(empty.finish()) == 0


def test_chunks_of_texts_come_back_in_any_order(monkeypatch):
    monkeypatch.setattr(columns, "SPILL_BYTES", 16)
    texts = TextColumn()
    chunks = [["یک", "two\u2028lines", ""], [], ["\x85", "\r"]]
    for chunk in chunks:
        texts.append(pack_texts(chunk))
    for number in (2, 0, 1, 0):
        assert unpack_texts(texts.chunk(number)) == chunks[number]
    texts.append(pack_texts(["more"]))
    assert unpack_texts(texts.chunk(3)) == ["more"]
    texts.close()


def test_flat_pairs_are_the_pairs():
    pairs = [([4, 5], [6]), ([], [7, 8, 9]), ([1], [])]
    flat = EncodedPairs.of(pairs)
    assert [(src.tolist(), tgt.tolist()) for src, tgt in flat] == pairs
    assert EncodedPairs.of(flat) is flat
    np.testing.assert_array_equal(flat.lengths, [[3, 2], [1, 4], [2, 1]])
    assert len(EncodedPairs.of([])) == 0
    with pytest.raises(IndexError):
        flat[3]


def test_a_fingerprint_is_of_what_the_model_sees():
    pairs = [([4, 5], [6]), ([1], [2])]
    print_of = EncodedPairs.of(pairs).fingerprint()
    assert EncodedPairs.of(pairs).fingerprint() == print_of
    # The same ids, cut elsewhere.
    assert EncodedPairs.of([([4], [6]), ([5, 1], [2])]).fingerprint() != print_of
