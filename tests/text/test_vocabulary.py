"""A vocabulary file of one's own: read whole, or refused with the entry named (D25)."""

import json

import pytest

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.vocabulary import (
    BYTE_TOKENS,
    Specials,
    Vocabulary,
    read_character_vocabulary,
)
from tests.conftest import ROOT

TWO_BYTES = ("<0x00>", "<0x01>")
TATOEBA = ROOT.parent / "shared" / "data" / "tatoeba-en-fa"


def test_ids_are_places_and_specials_come_first():
    vocabulary = Vocabulary.of_characters(["ba", "cab"], Specials())
    assert vocabulary.tokens[:6] == ("<PAD>", "<SOS>", "<EOS>", "<UNK>", *TWO_BYTES)
    assert vocabulary.tokens[259:] == ("<0xFF>", "a", "b", "c")
    assert (vocabulary.pad_id, vocabulary.bos_id) == (0, 1)
    assert (vocabulary.eos_id, vocabulary.unk_id) == (2, 3)
    assert vocabulary.byte_ids == tuple(range(4, 260))


def test_rare_characters_are_left_to_the_bytes():
    texts = ["aab", "abc\ud800"]
    assert Vocabulary.of_characters(texts, Specials(), 2).tokens[260:] == ("a", "b")
    counts = {"b": 2, "a": 3, "c": 1, "\ud800": 9}
    assert Vocabulary.of_counts(counts, Specials(), 2).tokens[260:] == ("a", "b")
    assert Vocabulary.of_counts(counts, Specials()).tokens[260:] == ("a", "b", "c")


def test_a_vocabulary_of_ones_own_has_bytes_only_where_it_holds_them_all(tmp_path):
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps(["a", "b"]), encoding="utf-8")
    assert read_character_vocabulary(path, Specials()).byte_ids is None
    path.write_text(json.dumps(["a", *BYTE_TOKENS[::-1]]), encoding="utf-8")
    vocabulary = read_character_vocabulary(path, Specials())
    assert vocabulary.byte_ids == tuple(range(260, 4, -1))
    path.write_text(json.dumps(["a", *BYTE_TOKENS[1:]]), encoding="utf-8")
    with pytest.raises(InputError, match="all 256 byte tokens or none; <0x00> is"):
        read_character_vocabulary(path, Specials())


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
    assert again.byte_ids == vocabulary.byte_ids is not None


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


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("_", "'_' must have two characters or more"),
        ("", "'' must have two characters or more"),
        ("<0x41>", "'<0x41>' is spelled like a byte token"),
        ("<EOS>", "'<EOS>' is there twice"),
    ],
)
def test_a_special_token_cannot_be_spelled_as_what_a_text_may_hold(
    tmp_path, spelling, expected
):
    """Row D25."""
    with pytest.raises(InputError, match=expected):
        Vocabulary.of_characters(["a_"], Specials(pad=spelling))
    path = tmp_path / "vocab.json"
    path.write_text('["a", "_"]', encoding="utf-8")
    with pytest.raises(InputError, match=expected):
        read_character_vocabulary(path, Specials(pad=spelling))


@pytest.mark.skipif(not TATOEBA.is_dir(), reason="the shared corpora are not here")
def test_the_tutorials_vocabularies_can_be_read():
    english = read_character_vocabulary(TATOEBA / "en_vocab.json", Specials())
    persian = read_character_vocabulary(TATOEBA / "fa_vocab.json", Specials())
    assert "q" in english.ids and "\u200c" in persian.ids
