"""A tokenizer of characters gives back what it read, and saves itself whole."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.normalize import Normalizer
from flaxformer_mt.text.tokenizer import CharacterTokenizer, load_tokenizer
from flaxformer_mt.text.vocabulary import BYTE_TOKENS, Specials, Vocabulary

LETTERS = "abc می\u200cخواهم؟۱۲"
PERSIAN = Normalizer("persian")
TOKENIZER = CharacterTokenizer(Vocabulary.of_characters([LETTERS], Specials()), PERSIAN)
WITHOUT_BYTES = CharacterTokenizer(
    Vocabulary.with_specials(sorted(set(LETTERS)), Specials()), PERSIAN
)
BOTH = [TOKENIZER, WITHOUT_BYTES]

# Any text; and text out of what this code looks at, surrogate halves among it.
ANY = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("ab <0x41>PAD▁\0\ufffd😀"))
)
EVEN_HALVES = st.text(st.one_of(st.characters(), st.sampled_from("ab\ud83d\ude00")))


@given(ANY)
@example("<0x41> <PAD> <UNK>")
@example("<0xE2><0x96><0x81>")
@example("a\U0010ffff\0")
def test_decoding_what_was_encoded_gives_the_normalised_text(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == TOKENIZER.normalizer(text)


def test_zwnj_survives_the_round_trip():
    """Row D15."""
    assert TOKENIZER.decode(TOKENIZER.encode("می\u200cکنم")) == "می\u200cکنم"


def test_a_character_that_is_no_token_is_spelled_in_bytes():
    vocabulary = TOKENIZER.vocabulary
    ids = TOKENIZER.encode("a漢")
    assert [vocabulary.tokens[i] for i in ids] == ["a", "<0xE6>", "<0xBC>", "<0xA2>"]
    assert TOKENIZER.unknown("a漢ي") == ["漢"]


def test_bytes_that_are_no_text_become_replacement_characters():
    byte_ids = TOKENIZER.vocabulary.byte_ids
    a = TOKENIZER.vocabulary.ids["a"]
    half = [byte_ids[0xE6], byte_ids[0xBC]]
    assert TOKENIZER.decode([a, *half, a]) == "a\ufffda"
    assert TOKENIZER.decode([a, byte_ids[0xFF], byte_ids[0x41]]) == "a\ufffdA"


def test_without_byte_tokens_an_unknown_character_is_unk():
    ids = WITHOUT_BYTES.encode("a😀漢")
    assert ids[1:] == [WITHOUT_BYTES.vocabulary.unk_id] * 2
    assert WITHOUT_BYTES.unknown("a😀漢") == ["😀", "漢"]
    assert WITHOUT_BYTES.decode(ids) == "a\ufffd\ufffd"


def test_half_of_a_surrogate_pair_is_unk():
    ids = TOKENIZER.encode("a\ud83d\u200c\ude00")
    assert ids.count(TOKENIZER.vocabulary.unk_id) == 2
    assert TOKENIZER.decode(ids) == "a\ufffd\u200c\ufffd"
    assert TOKENIZER.unknown("a\ud83d") == ["\ud83d"]


def test_special_tokens_decode_to_nothing():
    v = TOKENIZER.vocabulary
    ids = [v.bos_id, *TOKENIZER.encode("ab"), v.eos_id, v.pad_id]
    assert TOKENIZER.decode(ids) == "ab"
    assert TOKENIZER.decode(np.array(ids, np.uint16)) == "ab"


def test_both_spellings_of_a_letter_get_the_same_ids():
    """Rows D16 and D17."""
    assert TOKENIZER.encode("مي") == TOKENIZER.encode("می")
    assert TOKENIZER.encode("آ") == TOKENIZER.encode("ا\u0653")


@pytest.mark.parametrize("tokenizer", BOTH)
@given(texts=st.lists(EVEN_HALVES, max_size=6))
@example(texts=["a\ud83d", "\ude00"])
@example(texts=["", "漢", "", "ab"])
@example(texts=[])
def test_many_texts_get_the_ids_that_each_gets_alone(tokenizer, texts):
    ids, lengths = tokenizer.encode_many(texts)
    alone = [tokenizer.encode_normalized(text) for text in texts]
    assert ids.dtype == lengths.dtype == np.int32
    assert lengths.tolist() == [len(row) for row in alone]
    assert ids.tolist() == [token_id for row in alone for token_id in row]


def test_byte_tokens_and_unk_are_counted():
    ids, _ = TOKENIZER.encode_many(["a漢", "\ud800é"])
    assert TOKENIZER.count_fallback(ids) == (5, 1)
    ids, _ = WITHOUT_BYTES.encode_many(["a漢", "\ud800é"])
    assert WITHOUT_BYTES.count_fallback(ids.astype(np.uint16)) == (0, 3)


def test_characters_have_one_spelling_to_sample():
    rng = np.random.default_rng(0)
    assert TOKENIZER.sample("abc", strength=0.5, rng=rng) == TOKENIZER.encode("abc")


@pytest.mark.parametrize("tokenizer", BOTH)
def test_a_tokenizer_saves_itself_whole(tmp_path, tokenizer):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(tokenizer.to_dict()), encoding="utf-8")
    again = load_tokenizer(path)
    assert again.to_dict() == tokenizer.to_dict()
    assert again.encode("مي漢") == tokenizer.encode("مي漢")


@pytest.mark.parametrize(
    "normalizer",
    [Normalizer("basic", True, "ascii"), Normalizer("persian", False, "keep")],
)
def test_a_saved_tokenizer_keeps_every_choice_of_its_normaliser(tmp_path, normalizer):
    """Row D16: the same rule before training and translating."""
    path = tmp_path / "tokenizer.json"
    tokenizer = CharacterTokenizer(TOKENIZER.vocabulary, normalizer)
    path.write_text(json.dumps(tokenizer.to_dict()), encoding="utf-8")
    assert load_tokenizer(path).normalizer == normalizer


def test_a_tokenizer_goes_to_another_process_whole_and_small():
    pickled = pickle.dumps(TOKENIZER)
    assert len(pickled) < 10_000
    again = pickle.loads(pickled)
    assert again.to_dict() == TOKENIZER.to_dict()
    assert again.encode("مي漢") == TOKENIZER.encode("مي漢")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"normalizer_version": 1}, "trained with normaliser version 1, this program"),
        ({"normalizer_version": 99}, "normaliser version 99"),
        ({"kind": "pieces"}, "unknown kind of tokenizer, 'pieces'"),
        ({"kind": ["characters"]}, "unknown kind of tokenizer"),
        ({"normalize": "nfkc"}, "rule must be one of"),
        ({"digits": None}, "digits must be one of"),
        ({"tokens": ["a"]}, "must hold its special tokens"),
        ({"tokens": 3}, "is not a tokenizer of ours"),
        ({"tokens": [*TOKENIZER.vocabulary.tokens, 5]}, "is not a tokenizer of ours"),
        ({"tokens": [*TOKENIZER.vocabulary.tokens, "\ud800"]}, "is not a tokenizer of"),
        ({"specials": {"pad": "_"}}, "must have two characters or more"),
        ({"specials": {"mask": "<M>"}}, "is not a tokenizer of ours"),
        ({"specials": None}, "is not a tokenizer of ours"),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_refused(tmp_path, change, expected):
    """Row D25."""
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({**TOKENIZER.to_dict(), **change}), encoding="utf-8")
    with pytest.raises(InputError, match=expected) as caught:
        load_tokenizer(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_tokenizer_of_version_1_is_refused_by_its_version(tmp_path):
    """It has no `digits`: the sentence must be about the version all the same."""
    old = {**TOKENIZER.to_dict(), "normalizer_version": 1}
    del old["digits"]
    (tmp_path / "old.json").write_text(json.dumps(old), encoding="utf-8")
    with pytest.raises(InputError, match="normaliser version 1, this program has"):
        load_tokenizer(tmp_path / "old.json")


@pytest.mark.parametrize("content", ['{"kind": ', "[]", "3", "null", "{}", "[" * 10**5])
def test_a_missing_or_broken_tokenizer_is_one_sentence(tmp_path, content):
    with pytest.raises(InputError, match="is missing"):
        load_tokenizer(tmp_path / "none.json")
    (tmp_path / "half.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="is not a tokenizer of ours"):
        load_tokenizer(tmp_path / "half.json")


def test_all_byte_tokens_give_back_all_bytes():
    ids = [TOKENIZER.vocabulary.ids[token] for token in BYTE_TOKENS]
    assert TOKENIZER.decode(ids[:128]) == "".join(map(chr, range(128)))
