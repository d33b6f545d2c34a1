"""A tokenizer gives back what it read, and saves itself whole."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.normalize import Normalizer
from flaxformer_mt.text.tokenizer import CharacterTokenizer, load_tokenizer
from flaxformer_mt.text.vocabulary import Specials, Vocabulary

LETTERS = "abc می\u200cخواهم؟۱۲"
TOKENIZER = CharacterTokenizer(
    Vocabulary.of_characters([LETTERS], Specials()), Normalizer("persian")
)


@given(st.text(LETTERS))
def test_decoding_what_was_encoded_gives_the_normalised_text(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == TOKENIZER.normalizer(text)


def test_zwnj_survives_the_round_trip():
    assert TOKENIZER.decode(TOKENIZER.encode("می\u200cخواهم")) == "می\u200cخواهم"


def test_unknown_characters_become_unk_and_are_named():
    ids = TOKENIZER.encode("a😀漢")
    assert ids[1:] == [TOKENIZER.vocabulary.unk_id] * 2
    assert TOKENIZER.unknown("a😀漢") == ["😀", "漢"]
    assert TOKENIZER.decode(ids) == "a\ufffd\ufffd"


def test_special_tokens_decode_to_nothing():
    v = TOKENIZER.vocabulary
    ids = [v.bos_id, *TOKENIZER.encode("ab"), v.eos_id, v.pad_id]
    assert TOKENIZER.decode(ids) == "ab"


def test_both_spellings_of_a_letter_get_the_same_ids():
    assert TOKENIZER.encode("مي") == TOKENIZER.encode("می")


def test_a_tokenizer_saves_itself_whole(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(TOKENIZER.to_dict()), encoding="utf-8")
    again = load_tokenizer(path)
    assert again.to_dict() == TOKENIZER.to_dict()
    assert again.encode("مي") == TOKENIZER.encode("مي")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"normalizer_version": 99}, "normaliser version 99"),
        ({"kind": "pieces"}, "unknown kind of tokenizer"),
        ({"tokens": ["a"]}, "must hold its special tokens"),
        ({"tokens": 3}, "is not a tokenizer of ours"),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_refused(tmp_path, change, expected):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({**TOKENIZER.to_dict(), **change}), encoding="utf-8")
    with pytest.raises(InputError, match=expected):
        load_tokenizer(path)


def test_a_missing_or_broken_tokenizer_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="is missing"):
        load_tokenizer(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"kind": ', encoding="utf-8")
    with pytest.raises(InputError, match="is not a tokenizer of ours"):
        load_tokenizer(tmp_path / "half.json")
