"""A vocabulary file of one's own: read whole, or refused with the entry named (D25)."""

import json

import pytest

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.vocabulary import (
    Specials,
    Vocabulary,
    read_character_vocabulary,
)
from tests.conftest import ROOT

TATOEBA = ROOT.parent / "shared" / "data" / "tatoeba-en-fa"


def test_ids_are_places_and_specials_come_first():
    vocabulary = Vocabulary.of_characters(["ba", "cab"], Specials())
    assert vocabulary.tokens == ("<PAD>", "<SOS>", "<EOS>", "<UNK>", "a", "b", "c")
    assert (vocabulary.pad_id, vocabulary.bos_id) == (0, 1)
    assert (vocabulary.eos_id, vocabulary.unk_id) == (2, 3)


def test_special_tokens_in_the_file_keep_their_place(tmp_path):
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps(["a", "b", "[pad]"]), encoding="utf-8")
    vocabulary = read_character_vocabulary(path, Specials(pad="[pad]"))
    assert vocabulary.tokens == ("<SOS>", "<EOS>", "<UNK>", "a", "b", "[pad]")
    assert vocabulary.pad_id == 5


def test_a_vocabulary_survives_being_saved():
    vocabulary = Vocabulary.of_characters(["سلام، ۱"], Specials(bos="<s>"))
    again = Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))
    assert again.tokens == vocabulary.tokens
    assert again.specials == vocabulary.specials


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('["a", "b", "a"]', "entry 3: 'a' is there already as entry 1"),
        ('["a", ""]', "entry 2 must be one character; got ''"),
        ('["a", "ab"]', "entry 2 must be one character; got 'ab'"),
        ('["a", 1]', "entry 2 must be a string; got 1"),
        ('["a", null]', "entry 2 must be a string; got null"),
        ('["a", NaN]', "entry 2 must be a string; got NaN"),
        ('["a", ["b"]]', 'entry 2 must be a string; got ["b"]'),
        ('["a", "\\ud800"]', "entry 2 is half of a surrogate pair"),
        ('{"a": 0, "a": 1}', "must hold a JSON list of characters; got a dict"),
        ('"abc"', "must hold a JSON list of characters; got a str"),
        ("[]", "the list is empty"),
        ("", "is not JSON"),
        ('["a", "b"', "is not JSON"),
        ("[" * 200_000, "nested too deep"),
        ("[" + "9" * 5000 + "]", "is not JSON"),
    ],
)
def test_a_bad_vocabulary_is_one_sentence_naming_the_entry(tmp_path, content, expected):
    path = tmp_path / "vocab.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_character_vocabulary(path, Specials())
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_vocabulary_may_begin_with_a_byte_order_mark_but_must_be_utf8(tmp_path):
    path = tmp_path / "vocab.json"
    path.write_bytes(b'\xef\xbb\xbf["a"]')
    assert "a" in read_character_vocabulary(path, Specials()).ids
    path.write_bytes('["é"]'.encode("latin-1"))
    with pytest.raises(InputError, match="must be UTF-8; byte 2"):
        read_character_vocabulary(path, Specials())
    with pytest.raises(InputError, match="no vocabulary file"):
        read_character_vocabulary(tmp_path / "none.json", Specials())


def test_a_special_token_cannot_be_spelled_as_a_letter(tmp_path):
    path = tmp_path / "vocab.json"
    path.write_text('["a", "_"]', encoding="utf-8")
    with pytest.raises(InputError, match="'_' is a single character"):
        read_character_vocabulary(path, Specials(pad="_"))


@pytest.mark.skipif(not TATOEBA.is_dir(), reason="the shared corpora are not here")
def test_the_tutorials_vocabularies_can_be_read():
    english = read_character_vocabulary(TATOEBA / "en_vocab.json", Specials())
    persian = read_character_vocabulary(TATOEBA / "fa_vocab.json", Specials())
    assert "q" in english.ids and "\u200c" in persian.ids
