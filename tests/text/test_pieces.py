"""Texts that are too long, cut where it hurts least, with nothing left out."""

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformer_mt.text.normalize import Normalizer
from flaxformer_mt.text.pieces import split_text
from flaxformer_mt.text.subwords import SentencePieceTokenizer, train_sentencepiece
from flaxformer_mt.text.vocabulary import Specials

TEXTS = ["abc.", "b a d", "cab cab.", "a", "dcba " * 5, "abcd? " * 12]


@functools.cache
def tokenizer_of_pieces() -> SentencePieceTokenizer:
    specials = Specials()
    model = train_sentencepiece(
        TEXTS * 3, kind="bpe", vocab_size=275, specials=specials
    )
    return SentencePieceTokenizer(model, specials, Normalizer("basic"))


def num_bytes(text):
    return len(text.encode())


def num_pieces(text):
    return len(tokenizer_of_pieces().encode_normalized(text))


@pytest.mark.parametrize("length", [len, num_bytes, num_pieces])
@given(text=st.text("ab .?漢", max_size=200), longest=st.integers(4, 30))
def test_pieces_are_short_enough_and_leave_nothing_out(length, text, longest):
    """Row N10."""
    text = " ".join(text.split())
    pieces = split_text(text, longest, length)
    assert all(0 < length(piece) <= longest for piece in pieces) or text == ""
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")


@given(text=st.text("ab .?漢 ", max_size=60))
def test_a_character_that_is_too_long_by_itself_is_not_left_out(text):
    pieces = split_text(text, 2, num_bytes)
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("text", ["a" * 100_000, "ab " * 33_000, "漢. " * 33_000])
def test_the_time_to_cut_a_text_grows_with_the_text(text):
    """Counted in characters measured, so that a slow machine passes as well."""
    measured = 0

    def length(piece):
        nonlocal measured
        measured += len(piece)
        return len(piece)

    pieces = split_text(text, 50, length)
    assert max(map(len, pieces)) <= 50
    assert measured < 30 * len(text)


def test_pieces_end_where_sentences_end():
    assert split_text("One two. Three four? Five.", 20) == [
        "One two. Three four?",
        "Five.",
    ]
    assert split_text("سلام. خوبی؟ بله", 11) == ["سلام. خوبی؟", "بله"]
    assert split_text("abcdefgh ij", 4) == ["abcd", "efgh", "ij"]
    # What is left of a word or sentence that is too long goes with what follows.
    assert split_text("abcdef gh ij", 5) == ["abcde", "f gh", "ij"]
    assert split_text("aaaa        bb", 4) == ["aaaa", "  bb"]  # no piece of spaces
    assert split_text("aa bb cc. dd.", 7) == ["aa bb", "cc. dd."]
