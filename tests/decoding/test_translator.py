"""One translator for every entry: line in, line out, whatever its neighbours."""

import functools
import types

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformer_mt.config import ModelConfig
from flaxformer_mt.decoding.sampling import SampleOptions
from flaxformer_mt.decoding.translator import Report, Translator, split_text
from flaxformer_mt.model.transformer import init_params, make_model
from flaxformer_mt.text.normalize import Normalizer
from flaxformer_mt.text.subwords import SentencePieceTokenizer, train_sentencepiece
from flaxformer_mt.text.tokenizer import CharacterTokenizer
from flaxformer_mt.text.vocabulary import Specials, Vocabulary
from tests.conftest import tiny_config

TEXTS = ["abc.", "", "b a d", "   ", "cab cab.", "a", "dcba " * 5, "abcd? " * 12]


NORMALIZER = Normalizer("basic")
TGT_TOKENIZER = CharacterTokenizer(
    Vocabulary.of_characters(["xyz w"], Specials()), NORMALIZER
)


def make_translator(src_tokenizer):
    """A model that knows nothing: its translations are odd, but must be the same."""
    tokenizers = (src_tokenizer, TGT_TOKENIZER)
    config = ModelConfig(max_length=40, d_model=16, d_ff=32, num_heads=2)
    sizes = [len(t.vocabulary) for t in tokenizers]
    model = make_model(config, src_vocab_size=sizes[0], tgt_vocab_size=sizes[1])
    return Translator(model, init_params(model, jax.random.key(3)), *tokenizers)


@functools.cache
def pieces_tokenizer():
    texts = [text for text in TEXTS if text.strip()] * 3
    specials = Specials()
    model = train_sentencepiece(texts, kind="bpe", vocab_size=275, specials=specials)
    return SentencePieceTokenizer(model, specials, NORMALIZER)


@pytest.fixture(scope="module")
def translator():
    letters = Vocabulary.of_characters(["abcd .?"], Specials())
    return make_translator(CharacterTokenizer(letters, NORMALIZER))


@pytest.fixture(scope="module")
def translator_of_pieces():
    return make_translator(pieces_tokenizer())


@pytest.fixture(scope="module")
def translator_without_bytes():
    letters = Vocabulary.with_specials("abcd .?", Specials())
    return make_translator(CharacterTokenizer(letters, NORMALIZER))


def test_a_text_gives_a_text_and_a_list_gives_a_list(translator):
    one = translator.translate("abc.")
    assert isinstance(one, str) and one
    assert translator.translate(["abc."]) == [one]
    assert translator.translate([]) == []


def test_every_line_has_its_line_and_an_empty_one_stays_empty(translator):
    """Row N11."""
    translations = translator.translate(TEXTS)
    assert len(translations) == len(TEXTS)
    assert [not t for t in translations] == [not t.strip() for t in TEXTS]


def test_a_translation_does_not_depend_on_its_neighbours(translator):
    together = translator.translate(TEXTS)
    assert [translator.translate(text) for text in TEXTS] == together
    assert translator.translate(TEXTS * 10) == together * 10
    assert translator.translate(TEXTS[::-1]) == together[::-1]


def test_a_sample_depends_on_seed_and_line_alone(translator):
    together, _ = translator.decode(TEXTS, SampleOptions(), seed=4)
    assert together == translator.decode(TEXTS, SampleOptions(), seed=4)[0]
    assert together != translator.decode(TEXTS, SampleOptions(), seed=5)[0]
    for line, text in enumerate(TEXTS):
        alone, _ = translator.decode([text], SampleOptions(), seed=4, first_line=line)
        assert alone == [together[line]]


def test_the_tutorials_sample_is_repeatable(translator):
    options = {"repetition_penalty": 1.2, "temperature": 0.7, "top_k": 3}
    drawn = translator.sample("abc.", **options, seed=7)
    assert drawn == translator.sample("abc.", **options, seed=7)
    assert translator.sample(["abc."], **options, seed=7) == [drawn]
    assert translator.sample("abc.", repetition_penalty=1.0, temperature=0.0) == (
        translator.translate("abc.")
    )


def test_characters_never_seen_are_spelled_in_bytes_and_counted(translator):
    """Row N12."""
    translations, report = translator.decode(["a😀b", "漢漢"])
    assert len(translations) == 2
    assert report.spelled == {"😀": 1, "漢": 2} and not report.unknown
    assert report.sentences()[0] == (
        "3 characters that the model has never seen were spelled in bytes: 漢 😀"
    )


def test_without_bytes_they_are_read_as_unknown(translator_without_bytes):
    """Row N12."""
    _, report = translator_without_bytes.decode(["a😀b", "漢漢"])
    assert report.unknown == {"😀": 1, "漢": 2} and not report.spelled
    assert report.sentences()[0] == (
        "3 characters that the model has never seen were read as unknown: 漢 😀"
    )


def test_half_of_a_surrogate_pair_is_read_as_unknown(translator):
    translations, report = translator.decode(["a\ud83d"])
    assert len(translations) == 1
    assert report.unknown == {"\ud83d": 1} and not report.spelled


def test_a_model_of_pieces_translates_like_one_of_characters(translator_of_pieces):
    """Rows N10 to N12: it has the same promises to keep."""
    together, report = translator_of_pieces.decode([*TEXTS, "漢"])
    assert [not t for t in together] == [not t.strip() for t in [*TEXTS, "漢"]]
    assert report.spelled == {"漢": 1}
    assert translator_of_pieces.translate(TEXTS) == together[:-1]


def test_a_long_text_is_translated_in_pieces_and_counted(translator):
    """Row N10: never cut silently."""
    _, report = translator.decode(["abcd? " * 12, "abc."])
    assert report.split == 1
    assert "1 text longer than the model reads was translated in pieces" in (
        report.sentences()
    )


def test_what_is_too_long_is_measured_in_tokens(translator, translator_of_pieces):
    """Row N10: as many letters are more tokens in bytes, and fewer in pieces."""
    text = "abcd " * 7 + "a"
    assert len(translator.src_tokenizer.encode(text)) == 36
    assert translator.decode([text])[1].split == 0
    assert translator.decode([text.replace("a", "漢")])[1].split == 1
    whole = "abcd? " * 9  # 54 letters
    assert len(translator_of_pieces.src_tokenizer.encode(whole)) < 39
    assert translator_of_pieces.decode([whole])[1].split == 0


@pytest.mark.parametrize("text", ["漢" * 200, "abcd? " * 40, "a" * 500, "😀 a. " * 30])
def test_pieces_lose_no_token_and_fit_the_model(translator, text):
    """Row N10: a character of several tokens is not cut in two."""
    pieces = translator._pieces(text, Report())
    tokenizer = translator.src_tokenizer
    assert max(map(len, pieces)) <= 39
    decoded = [tokenizer.decode(ids) for ids in pieces]
    assert "\ufffd" not in "".join(decoded)
    assert "".join(decoded).replace(" ", "") == text.replace(" ", "")


def test_a_character_of_more_tokens_than_the_model_reads_is_read_in_parts():
    tokenizer = pieces_tokenizer()
    model = types.SimpleNamespace(cfg=types.SimpleNamespace(max_length=3))
    tiny = Translator(model, None, tokenizer, tokenizer)
    pieces = tiny._pieces("漢", Report())
    assert max(map(len, pieces)) == 2
    assert [i for ids in pieces for i in ids] == tokenizer.encode("漢")


def test_a_report_says_one_and_many():
    one = Report(unknown={"x": 1}, spelled={"y": 1}, split=1, truncated=1)
    assert one.sentences() == [
        "1 character that the model has never seen was read as unknown: x",
        "1 character that the model has never seen was spelled in bytes: y",
        "1 text longer than the model reads was translated in pieces",
        "1 translation was cut at the model's max_length",
    ]
    many = Report()
    many.add(one)
    many.add(one)
    assert many.sentences() == [
        "2 characters that the model has never seen were read as unknown: x",
        "2 characters that the model has never seen were spelled in bytes: y",
        "2 texts longer than the model reads were translated in pieces",
        "2 translations were cut at the model's max_length",
    ]
    assert Report().sentences() == []


def test_a_translation_without_an_end_is_told(translator):
    """Row N15."""
    translations, report = translator.decode(TEXTS)
    longest = [t for t in translations if len(t) >= 40]
    assert report.truncated >= bool(longest)


def num_bytes(text):
    return len(text.encode())


def num_pieces(text):
    return len(pieces_tokenizer().encode_normalized(text))


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


def test_control_characters_that_a_model_writes_are_left_out_and_counted(monkeypatch):
    """A vocabulary with bytes can spell them; a line of output has to stay one."""
    tokenizer = CharacterTokenizer(
        Vocabulary.of_characters(["ab"], Specials()), Normalizer("basic")
    )
    eos = tokenizer.vocabulary.eos_id
    wanted = [*tokenizer.encode_normalized("a\x1b\n\x9fb"), eos]
    size = len(tokenizer.vocabulary)
    model = make_model(tiny_config(), src_vocab_size=size, tgt_vocab_size=size)
    translator = Translator(model, {}, tokenizer, tokenizer)
    monkeypatch.setattr(
        translator, "_decode_batch", lambda rows, *_: [wanted] * len(rows)
    )
    translations, report = translator.decode(["ab"])
    assert translations == ["ab"]
    told = ["3 control characters that the model wrote were left out"]
    assert report.sentences() == told
