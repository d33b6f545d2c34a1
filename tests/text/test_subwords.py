"""Subword pieces: every text comes back as it was, and every model learns the same."""

import collections
import functools
import gzip
import itertools
import json
import math
import pickle
import signal
import zipfile

import numpy as np
import pytest
import sentencepiece
from hypothesis import example, given
from hypothesis import strategies as st

from flaxformer_mt.errors import InputError, StoppedError
from flaxformer_mt.text import subwords
from flaxformer_mt.text.normalize import Normalizer
from flaxformer_mt.text.subwords import SentencePieceTokenizer, train_sentencepiece
from flaxformer_mt.text.tokenizer import load_tokenizer
from flaxformer_mt.text.vocabulary import BYTE_TOKENS, Specials
from tests.conftest import ROOT

DATA = ROOT.parent / "shared" / "data"
ALGORITHMS = ["unigram", "bpe"]
VOCAB_SIZE = 300
WORDS = "the cat sat on a mat and another cat sat there with some matter of 123 facts"
SENTENCES = [
    # Every so many words, so that each word stands beside others.
    *(" ".join(WORDS.split()[i::n]) for n in range(1, 9) for i in range(n)),
    "می\u200cخواهم کتاب بخوانم",
    "کتاب من و کتاب تو",
]
NONE = Normalizer("none")


def learn(kind, texts=SENTENCES, vocab_size=VOCAB_SIZE, normalizer=NONE, **options):
    specials = options.pop("specials", Specials())
    model = train_sentencepiece(
        texts, kind=kind, vocab_size=vocab_size, specials=specials, **options
    )
    return SentencePieceTokenizer(model, specials, normalizer)


learned = functools.cache(learn)


@pytest.fixture(params=ALGORITHMS)
def tokenizer(request):
    return learned(request.param)


# Any text; and text out of what SentencePiece takes for something else.
ODD = "▁▅ \0\t\n\r\ufffd\u2047\u200c\ufeff\ue000\U0010ffff<0x41>PADs/catme 12😀👩‍🦰"
ANY = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(ODD)))
HALVES = st.text(st.one_of(st.characters(), st.sampled_from(ODD + "\ud83d\ude00")))
LITERALS = st.lists(
    st.one_of(
        ANY, st.sampled_from(["<PAD>", "<s>", "<UNK>", "<0xE2>", "▁the", "  ", "cat"])
    ),
    max_size=6,
).map("".join)


@pytest.mark.parametrize("kind", ALGORITHMS)
@given(text=st.one_of(ANY, LITERALS))
@example(text=" ")
@example(text="  the  cat ")
@example(text="▁")
@example(text="▁the ▁cat▁")
@example(text="<s><0x41><PAD>\0")
def test_every_text_comes_back_as_it_was(kind, text):
    """Row D15 and all other characters."""
    tokenizer = learned(kind)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("kind", ALGORITHMS)
@pytest.mark.parametrize("rule", ["basic", "persian"])
@given(text=ANY)
def test_what_comes_back_is_the_normalised_text(kind, rule, text):
    normalizer = Normalizer(rule, digits="ascii")
    tokenizer = learned(kind)
    same = SentencePieceTokenizer.__new__(SentencePieceTokenizer)
    same.__dict__ = {**tokenizer.__dict__, "normalizer": normalizer}
    assert same.decode(same.encode(text)) == normalizer(text)


@pytest.mark.parametrize("kind", ALGORITHMS)
@given(
    text=LITERALS,
    strength=st.sampled_from([1e-6, 0.1, 0.5, 0.99]),
    seed=st.integers(0, 9),
)
@example(text="  the  cat▁", strength=0.5, seed=0)
def test_what_was_sampled_decodes_to_the_same_text(kind, text, strength, seed):
    tokenizer = learned(kind)
    rng = np.random.default_rng(seed)
    assert tokenizer.decode(tokenizer.sample(text, strength=strength, rng=rng)) == text


@pytest.mark.parametrize("kind", ALGORITHMS)
@given(texts=st.lists(HALVES, max_size=5))
@example(texts=["", "the cat", "▁", "", "\ud83d", "\ude00"])
@example(texts=[])
def test_many_texts_get_the_ids_that_each_gets_alone(kind, texts):
    ids, lengths = learned(kind).encode_many(texts)
    alone = [learned(kind).encode_normalized(text) for text in texts]
    assert ids.dtype == lengths.dtype == np.int32
    assert lengths.tolist() == [len(row) for row in alone]
    assert ids.tolist() == [token_id for row in alone for token_id in row]


def corpora():
    """(name, lines) of the shared corpora."""
    for path in sorted((DATA / "multi30k-en-de").glob("*.gz")):
        text = gzip.decompress(path.read_bytes()).decode("utf-8")
        yield path.stem, text.split("\n")
    with zipfile.ZipFile(DATA / "tatoeba-en-fa" / "Tatoeba.zip") as archive:
        for name in ("en.txt", "fa.txt"):
            yield name, archive.read(name).decode("utf-8").split("\n")


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared corpora are not here")
@pytest.mark.parametrize("kind", ALGORITHMS)
def test_every_line_of_the_shared_corpora_comes_back(kind):
    """Learned from a twentieth of them, so that some characters were never seen."""
    sides = dict(corpora())
    lines = [line for side in sides.values() for line in side]
    tokenizer = learn(kind, lines[::20], 2000)
    for name, texts in sides.items():
        ids, lengths = tokenizer.encode_many(texts)
        ends = np.cumsum(lengths)[:-1]
        for text, row in zip(texts, np.split(ids, ends), strict=True):
            assert tokenizer.decode(row) == text, name
    num_bytes, num_unk = tokenizer.count_fallback(tokenizer.encode_many(lines)[0])
    assert num_bytes > 0 and num_unk == 0


def test_ids_are_fixed_for_special_tokens_and_bytes(tokenizer):
    vocabulary = tokenizer.vocabulary
    assert len(vocabulary) == VOCAB_SIZE
    assert vocabulary.tokens[:4] == Specials().spellings()
    assert vocabulary.tokens[4:260] == BYTE_TOKENS
    assert (vocabulary.pad_id, vocabulary.bos_id) == (0, 1)
    assert (vocabulary.eos_id, vocabulary.unk_id) == (2, 3)
    assert vocabulary.byte_ids == tuple(range(4, 260))
    assert [vocabulary.is_special(i) for i in (0, 3, 4)] == [True, True, False]


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_the_algorithm_is_known_again(kind):
    assert learned(kind).algorithm == kind


def test_pieces_are_learned_and_used(tokenizer):
    assert len(tokenizer.encode("the cat sat")) < len("the cat sat")
    cat = tokenizer.encode("cat")  # the same word wherever it stands
    assert tokenizer.encode("the cat")[-len(cat) :] == cat


def test_special_tokens_decode_to_nothing_and_unk_to_a_replacement(tokenizer):
    v = tokenizer.vocabulary
    ids = [v.bos_id, *tokenizer.encode("the cat"), v.eos_id, v.pad_id]
    assert tokenizer.decode(ids) == "the cat"
    assert tokenizer.decode(np.array([*ids, v.unk_id], np.uint16)) == "the cat\ufffd"


def test_half_of_a_surrogate_pair_is_unk(tokenizer):
    ids = tokenizer.encode("the\ud83d cat")
    assert ids.count(tokenizer.vocabulary.unk_id) == 1
    assert tokenizer.decode(ids) == "the\ufffd cat"


def test_characters_never_seen_are_named_and_spelled_in_bytes(tokenizer):
    assert tokenizer.unknown("the 漢 cat▁ é") == ["漢", "▁", "é"]
    assert tokenizer.unknown(WORDS) == []
    ids = np.array(tokenizer.encode("the 漢 é\ud800"))
    assert tokenizer.count_fallback(ids) == (5, 1)
    assert tokenizer.count_fallback(np.array(tokenizer.encode(WORDS))) == (0, 0)


def test_digits_are_pieces_of_their_own(tokenizer):
    tokens = [tokenizer.vocabulary.tokens[i] for i in tokenizer.encode("cat 123")]
    assert tokens[-3:] == ["1", "2", "3"]


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_the_same_texts_give_the_same_model(kind):
    assert learn(kind).model == learned(kind).model
    assert learn(kind, [*SENTENCES, "zebra"]).model != learned(kind).model


def test_training_and_encoding_are_silent(tokenizer, capfd):
    learn(tokenizer.algorithm)
    with pytest.raises(InputError):
        learn(tokenizer.algorithm, vocab_size=9)
    tokenizer.encode_many(["the cat", "▁"])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_a_vocab_size_that_does_not_fit_names_the_one_that_does(kind):
    for wrong, words in ((100, "at least"), (5000, "at most")):
        with pytest.raises(InputError, match=f"data.vocab_size={wrong} ") as caught:
            learn(kind, vocab_size=wrong)
        sentence = str(caught.value)
        limit = int(sentence.partition(f"must be {words} ")[2].split()[0])
        assert len(learn(kind, vocab_size=limit).vocabulary) == limit
        beyond = limit - 1 if wrong < limit else limit + 1
        with pytest.raises(InputError, match=f"{words} {limit} "):
            learn(kind, vocab_size=beyond)


@pytest.mark.parametrize("kind", ALGORITHMS)
@pytest.mark.parametrize("texts", [[], ["", "  ", "▁"]])
def test_no_text_is_one_sentence(kind, texts):
    with pytest.raises(InputError, match="learned from some text; there is none"):
        learn(kind, texts)


def test_a_vocab_size_below_what_is_always_there_says_so():
    with pytest.raises(InputError, match=r"data\.vocab_size=1 must be above 260"):
        learn("bpe", vocab_size=1)


def test_a_signal_while_pieces_are_learned_stops_as_it_should(monkeypatch):
    """Python runs its handler when the trainer returns, as if that had raised it."""

    def train(**options):
        raise StoppedError("nothing was written.", signal.SIGTERM)

    monkeypatch.setattr(sentencepiece.SentencePieceTrainer, "train", train)
    with pytest.raises(StoppedError):
        learn("bpe")


def test_other_failures_of_the_trainer_are_one_sentence():
    with pytest.raises(InputError, match=r"data\.vocab_size=-5 pieces") as caught:
        learn("bpe", vocab_size=-5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("failure", [InputError("line 7 is gone"), KeyboardInterrupt()])
def test_a_failure_of_the_corpus_is_told_as_it_is(failure):
    def texts():
        yield SENTENCES[0]
        raise failure

    with pytest.raises(type(failure)) as caught:
        learn("bpe", texts())
    assert caught.value is failure


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_a_sentence_beyond_the_trainers_own_limit_is_learned_from(kind):
    """SentencePiece passes sentences of over 4,192 bytes by in silence."""
    long = "zebra quux " * 1000
    assert learn(kind, [*SENTENCES, long], 305).unknown("zebra quux") == []


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_text_that_the_trainer_would_pass_by_is_learned_from(kind):
    """A NUL, its sign for an unknown character, half of a surrogate pair."""
    odd = [f"{text} x{mark}y" for text in SENTENCES for mark in "\0▅\ud800▁\t\n"]
    assert learn(kind, odd).unknown("the cat x y") == []


@pytest.mark.parametrize("kind", ALGORITHMS)
@pytest.mark.parametrize("pad", ["cat", "▁cat", "the cat", "a,b", "<s>", "\n\n"])
def test_special_tokens_may_be_spelled_like_words(kind, pad):
    """The word in a text is not the special token."""
    specials = Specials(pad=pad)
    tokenizer = learn(kind, SENTENCES * 9, specials=specials)
    for text in (*SENTENCES, *specials.spellings(), f"the {pad}"):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert 0 not in ids


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_rare_characters_can_be_left_to_the_bytes(kind):
    texts = [*SENTENCES * 9, "漢"]
    whole, partial = (
        learn(kind, texts, character_coverage=share) for share in (1.0, 0.999)
    )
    assert whole.unknown("the 漢") == []
    assert partial.unknown("the 漢") == ["漢"]
    assert partial.decode(partial.encode("the 漢")) == "the 漢"


# Sampling


def test_a_sample_is_a_function_of_the_generator(tokenizer):
    def draw(seed):
        rng = np.random.default_rng(seed)
        return [tokenizer.sample(WORDS, strength=0.3, rng=rng) for _ in range(5)]

    assert draw(0) == draw(0) != draw(1)
    again = pickle.loads(pickle.dumps(tokenizer))
    rng = np.random.default_rng(0)
    assert draw(0)[0] == again.sample(WORDS, strength=0.3, rng=rng)


def test_strength_zero_is_the_best_and_more_is_more_varied(tokenizer):
    rng = np.random.default_rng(0)
    best = tokenizer.encode(WORDS)
    assert tokenizer.sample(WORDS, strength=0, rng=rng) == best

    def share_changed(strength):
        drawn = [
            tokenizer.sample("cat", strength=strength, rng=rng) for _ in range(300)
        ]
        return sum(ids != tokenizer.encode("cat") for ids in drawn) / 300

    few, more, most = (share_changed(strength) for strength in (0.01, 0.2, 0.7))
    assert few < more < most


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_at_the_least_strength_a_sample_is_what_sentencepiece_says(kind):
    """Our lattice and our merges are the library's."""
    rng = np.random.default_rng(0)
    for text in [*SENTENCES, WORDS, "unseen 漢字 words, matted cats  twice"]:
        best = learned(kind).encode(text)
        assert learned(kind).sample(text, strength=1e-9, rng=rng) == best


@pytest.mark.parametrize("strength", [-0.1, 1.0, float("nan")])
def test_a_strength_that_means_nothing_is_refused(tokenizer, strength):
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"strength must be in \[0, 1\)"):
        tokenizer.sample("cat", strength=strength, rng=rng)


def scores_of(tokenizer):
    """SentencePiece's own score of each piece."""
    return {
        piece: tokenizer._processor.get_score(i)
        for i, piece in enumerate(tokenizer.vocabulary.tokens)
        if i >= 260
    }


def segmentations(word, scores):
    """Every way to cut a word into pieces, with its score."""
    if not word:
        return {(): 0.0}
    return {
        (word[:n], *rest): scores[word[:n]] + score
        for n in range(1, len(word) + 1)
        if word[:n] in scores
        for rest, score in segmentations(word[n:], scores).items()
    }


def test_a_unigram_sample_has_the_probability_of_its_segmentation():
    """Kudo 2018, section 3.2: ~ P ** alpha over all segmentations, alpha = 0.2 at 0.1,
    counted by hand for one word."""
    tokenizer = learned("unigram")
    every = segmentations("▁matter", scores_of(tokenizer))
    weights = {pieces: np.exp(0.2 * score) for pieces, score in every.items()}
    total = sum(weights.values())
    rng = np.random.default_rng(0)
    num, counts = 4000, dict.fromkeys(every, 0)
    for _ in range(num):
        ids = tokenizer.sample("matter", strength=0.1, rng=rng)
        counts[tuple(tokenizer.vocabulary.tokens[i] for i in ids)] += 1
    assert len(every) > 3
    for pieces, weight in weights.items():
        assert counts[pieces] / num == pytest.approx(weight / total, abs=0.03), pieces


def outcomes(symbols, scores, p):
    """How likely BPE-dropout ends in each segmentation: algorithm 1 written out, over
    every choice of merges that are left out of a step."""
    merges = [
        i for i, (a, b) in enumerate(itertools.pairwise(symbols)) if a + b in scores
    ]
    ends = collections.Counter()
    for kept in itertools.product([False, True], repeat=len(merges)):
        share = math.prod(1 - p if keep else p for keep in kept)
        left = [i for i, keep in zip(merges, kept, strict=True) if keep]
        if not left:
            ends[symbols] += share
            continue
        i = max(left, key=lambda i: scores[symbols[i] + symbols[i + 1]])
        merged = (*symbols[:i], symbols[i] + symbols[i + 1], *symbols[i + 2 :])
        for end, part in outcomes(merged, scores, p).items():
            ends[end] += share * part
    return ends


def test_a_bpe_sample_has_the_probability_of_its_segmentation():
    """Provilkov et al. 2020, algorithm 1, counted by hand for one word."""
    tokenizer = learned("bpe")
    expected = outcomes(tuple("▁matter"), scores_of(tokenizer), 0.4)
    assert len(expected) > 3 and math.isclose(sum(expected.values()), 1)
    rng = np.random.default_rng(0)
    num, counts = 4000, collections.Counter()
    for _ in range(num):
        ids = tokenizer.sample("matter", strength=0.4, rng=rng)
        counts[tuple(tokenizer.vocabulary.tokens[i] for i in ids)] += 1
    assert counts.keys() <= expected.keys()
    for pieces, share in expected.items():
        assert counts[pieces] / num == pytest.approx(share, abs=0.03), pieces


# Saving


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_a_tokenizer_saves_itself_whole(tmp_path, kind):
    path = tmp_path / "tokenizer.json"
    persian = Normalizer("persian", True, "ascii")
    tokenizer = learn(kind, specials=Specials(bos="<s>"), normalizer=persian)
    path.write_text(json.dumps(tokenizer.to_dict()), encoding="utf-8")
    again = load_tokenizer(path)
    assert again.to_dict() == tokenizer.to_dict()
    assert again.normalizer == persian
    assert again.encode("THE كتاب 漢") == tokenizer.encode("the کتاب 漢")


def test_a_tokenizer_goes_to_another_process_by_its_model(tokenizer):
    rng = np.random.default_rng(0)
    tokenizer.sample(WORDS, strength=0.1, rng=rng)  # fills what is kept of words
    pickled = pickle.dumps(tokenizer)
    assert len(pickled) < len(tokenizer.model) + 1000
    again = pickle.loads(pickled)
    assert again.to_dict() == tokenizer.to_dict()
    assert again.encode("the cat 漢▁") == tokenizer.encode("the cat 漢▁")


def changed(tokenizer, **changes):
    return json.dumps({**tokenizer.to_dict(), **changes})


def test_a_damaged_tokenizer_is_one_sentence(tmp_path, tokenizer):
    """Row D26."""
    model = tokenizer.to_dict()["model"]
    flipped = ("A" if model[5000] != "A" else "B") + model[5001:]
    cases = {
        changed(tokenizer, model=model[:5000] + flipped): "is damaged",
        changed(tokenizer, model=model[:-400]): "is damaged",
        changed(tokenizer, model="@" + model): "is not a tokenizer of ours",
        changed(tokenizer, model=None): "is not a tokenizer of ours",
        changed(tokenizer, model_sha256="0" * 64): "is damaged",
        changed(tokenizer, normalizer_version=1): "normaliser version 1, this program",
        changed(tokenizer, specials={"pad": "<P>"}): "has other special tokens",
        changed(tokenizer, specials=[]): "is not a tokenizer of ours",
    }
    path = tmp_path / "tokenizer.json"
    for content, expected in cases.items():
        path.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=expected) as caught:
            load_tokenizer(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("model", [b"", b"no model", bytes(1000)])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(InputError, match="SentencePiece model"):
        SentencePieceTokenizer(model, Specials(), NONE)


def test_a_model_that_another_program_trained_is_refused(monkeypatch):
    """Its own normaliser would run: ZWNJ would become a space (PEERS.md, fact 3)."""
    train = subwords.sentencepiece.SentencePieceTrainer.train

    def with_nfkc(**options):
        train(**{**options, "normalization_rule_name": "nmt_nfkc"})

    monkeypatch.setattr(subwords.sentencepiece.SentencePieceTrainer, "train", with_nfkc)
    with pytest.raises(InputError, match="was not trained by this program"):
        learn("bpe")
