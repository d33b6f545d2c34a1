"""One translator for every entry: line in, line out, whatever its neighbours."""

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformer_mt.config import ModelConfig
from flaxformer_mt.decoding.sampling import SampleOptions
from flaxformer_mt.decoding.translator import Translator, split_text
from flaxformer_mt.model.transformer import init_params, make_model
from flaxformer_mt.text.normalize import Normalizer
from flaxformer_mt.text.tokenizer import CharacterTokenizer
from flaxformer_mt.text.vocabulary import Specials, Vocabulary

TEXTS = ["abc.", "", "b a d", "   ", "cab cab.", "a", "dcba " * 5, "abcd? " * 12]


@pytest.fixture(scope="module")
def translator():
    """A model that knows nothing: its translations are odd, but must be the same."""
    tokenizers = [
        CharacterTokenizer(
            Vocabulary.of_characters([letters], Specials()), Normalizer("basic")
        )
        for letters in ("abcd .?", "xyz w")
    ]
    config = ModelConfig(max_length=40, d_model=16, d_ff=32, num_heads=2)
    sizes = [len(t.vocabulary) for t in tokenizers]
    model = make_model(config, src_vocab_size=sizes[0], tgt_vocab_size=sizes[1])
    return Translator(model, init_params(model, jax.random.key(3)), *tokenizers)


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


def test_unknown_characters_are_translated_and_counted(translator):
    """Row N12."""
    translations, report = translator.decode(["a😀b", "漢漢"])
    assert len(translations) == 2
    assert report.unknown == {"😀": 1, "漢": 2}
    assert "3 characters that the model has never seen" in report.sentences()[0]


def test_a_long_text_is_translated_in_pieces_and_counted(translator):
    """Row N10: never cut silently."""
    _, report = translator.decode(["abcd? " * 12, "abc."])
    assert report.split == 1
    assert "1 texts are longer than the model reads" in " ".join(report.sentences())


def test_a_translation_without_an_end_is_told(translator):
    """Row N15."""
    translations, report = translator.decode(TEXTS)
    longest = [t for t in translations if len(t) >= 40]
    assert report.truncated >= bool(longest)


@given(st.text("ab .?", max_size=200), st.integers(3, 30))
def test_pieces_are_short_enough_and_leave_nothing_out(text, longest):
    text = " ".join(text.split())
    pieces = split_text(text, longest)
    assert all(0 < len(piece) <= longest for piece in pieces) or text == ""
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")


def test_pieces_end_where_sentences_end():
    assert split_text("One two. Three four? Five.", 20) == [
        "One two. Three four?",
        "Five.",
    ]
    assert split_text("سلام. خوبی؟ بله", 11) == ["سلام. خوبی؟", "بله"]
    assert split_text("abcdefgh ij", 4) == ["abcd", "efgh", "ij"]
