"""One translator for every entry: line in, line out, whatever its neighbours."""

import collections
import functools
import itertools
import types

import jax
import numpy as np
import pytest

from flaxformer_mt.decoding import search
from flaxformer_mt.decoding.beam_search import BeamOptions
from flaxformer_mt.decoding.lines import AbandonedError, Line
from flaxformer_mt.decoding.sampling import GREEDY, SampleOptions
from flaxformer_mt.decoding.search import Output
from flaxformer_mt.decoding.translation import (
    Report,
)
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.errors import InputError
from flaxformer_mt.model.masks import make_masks
from flaxformer_mt.model.transformer import init_params, make_model
from flaxformer_mt.text.normalize import Normalizer
from flaxformer_mt.text.subwords import SentencePieceTokenizer, train_sentencepiece
from flaxformer_mt.text.tokenizer import CharacterTokenizer
from flaxformer_mt.text.vocabulary import Specials, Vocabulary
from flaxformer_mt.training.programs import CompileCount
from tests.conftest import tiny_config

TEXTS = ["abc.", "", "b a d", "   ", "cab cab.", "a", "dcba " * 5, "abcd? " * 12]


NORMALIZER = Normalizer("basic")
TGT_TOKENIZER = CharacterTokenizer(
    Vocabulary.of_characters(["xyz w"], Specials()), NORMALIZER
)


def make_translator(src_tokenizer, tgt_tokenizer=TGT_TOKENIZER, layers=2):
    """A model that knows nothing: its translations are odd, but must be the same."""
    tokenizers = (src_tokenizer, tgt_tokenizer)
    config = tiny_config(
        max_length=40, num_encoder_layers=layers, num_decoder_layers=layers
    )
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
def into_pieces():
    tokenizer = pieces_tokenizer()
    return make_translator(tokenizer, tokenizer, layers=1)


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
        "1 translation was cut at the length limit",
    ]
    many = Report()
    many.add(one)
    many.add(one)
    assert many.sentences() == [
        "2 characters that the model has never seen were read as unknown: x",
        "2 characters that the model has never seen were spelled in bytes: y",
        "2 texts longer than the model reads were translated in pieces",
        "2 translations were cut at the length limit",
    ]
    assert Report().sentences() == []


def test_a_translation_without_an_end_is_told(translator):
    """Row N15."""
    translations, report = translator.decode(TEXTS)
    longest = [t for t in translations if len(t) >= 40]
    assert report.truncated >= bool(longest)


def test_control_characters_that_a_model_writes_are_left_out_and_counted(monkeypatch):
    """A vocabulary with bytes can spell them; a line of output has to stay one."""
    tokenizer = CharacterTokenizer(
        Vocabulary.of_characters(["ab"], Specials()), NORMALIZER
    )
    eos = tokenizer.vocabulary.eos_id
    wanted = [*tokenizer.encode_normalized("a\x1b\n\x9fb"), eos]
    size = len(tokenizer.vocabulary)
    model = make_model(tiny_config(), src_vocab_size=size, tgt_vocab_size=size)
    translator = Translator(model, {}, tokenizer, tokenizer)
    output = Output(wanted, 0.0, 0.0, [0.0] * len(wanted), truncated=False)
    monkeypatch.setattr(
        search, "decode", lambda params, sources, **_: [[output] for _ in sources]
    )
    translations, report = translator.decode(["ab"])
    assert translations == ["ab"]
    told = ["3 control characters that the model wrote were left out"]
    assert report.sentences() == told


# One answer, whatever is beside it.

SAMPLED = SampleOptions(top_k=5)
BEAM = BeamOptions(beam_size=4, n_best=3)


@pytest.fixture(scope="module")
def small():
    """A model whose target has a few letters and no bytes, so that its translations
    are texts that it can be given again."""
    letters = CharacterTokenizer(
        Vocabulary.with_specials("xyz w", Specials()), NORMALIZER
    )
    return make_translator(letters, letters, layers=1)


LINES = ["xyz", "", "w x", "zz yx wxyz", "w" * 30, "x y z " * 12, "y"]


def same(one, other):
    """Whether two translations are the same, to float32's last digits."""
    if len(one.hypotheses) != len(other.hypotheses):
        return False
    return all(
        (a.text, a.tokens, a.truncated) == (b.text, b.tokens, b.truncated)
        and a.score == pytest.approx(b.score, abs=1e-4)
        and a.token_log_probabilities
        == pytest.approx(b.token_log_probabilities, abs=1e-4)
        for a, b in zip(one.hypotheses, other.hypotheses, strict=True)
    )


@pytest.mark.parametrize("opts", [GREEDY, SAMPLED, BEAM])
def test_beams_and_samples_are_the_same_alone_and_in_any_batch(small, opts):
    options = {"seed": 3, "scores": True}
    together = list(small.stream(LINES, opts, **options))
    for tokens in (40, 160, 4096):
        again = small.stream(LINES, opts, **options, batch_tokens=tokens)
        assert all(map(same, again, together))
    for line, text in enumerate(LINES):
        [alone] = small.stream([text], opts, **options, first_line=line)
        assert same(alone, together[line])


def test_no_translation_is_longer_than_was_asked(small):
    for opts in (GREEDY, SAMPLED, BEAM):
        for translation in small.stream(LINES, opts, longest=5, scores=True):
            pieces = 1 + translation.src.count("x y z ") // 6
            assert len(translation.hypotheses[0].tokens) <= 5 * pieces


# n-best and scores.


def test_hypotheses_are_given_best_first(small):
    for translation in small.stream(LINES, BEAM):
        if not translation.src:
            assert [h.text for h in translation.hypotheses] == [""]
            continue
        assert len(translation.hypotheses) == 3
        assert len({h.tokens for h in translation.hypotheses}) == 3
        if "x y z x" not in translation.src:  # in pieces: scores add up
            complete = [h.score for h in translation.hypotheses if not h.truncated]
            assert complete == sorted(complete, reverse=True)
        assert translation.text == translation.hypotheses[0].text


@pytest.mark.parametrize("opts", [GREEDY, SAMPLED, BEAM])
def test_the_score_of_a_translation_is_the_one_that_decoding_gave(small, opts):
    eos = ("",)
    given = []
    for translation in small.stream(LINES, opts, scores=True):
        for h in translation.hypotheses:
            ids = small.tgt_tokenizer.encode(h.text)
            shown = tuple(small.tgt_tokenizer.vocabulary.tokens[i] for i in ids) + eos
            if translation.src and not translation.report.split and h.tokens == shown:
                given.append((translation.src, h))
    assert given
    scores = list(small.score((src, h.text) for src, h in given))
    for score, (_, h) in zip(scores, given, strict=True):
        assert score.tokens == h.tokens
        assert score.token_log_probabilities == pytest.approx(
            h.token_log_probabilities, abs=1e-4
        )
        assert score.log_probability == pytest.approx(h.log_probability, abs=1e-4)
        assert score.log_probability == pytest.approx(
            sum(score.token_log_probabilities), abs=1e-4
        )


def test_a_score_does_not_depend_on_its_neighbours(small):
    pairs = [("xyz", "zyx"), ("", "x"), ("w" * 30, "w" * 38), ("x", "")]
    together = list(small.score(pairs))
    assert [len(s.tokens) for s in together] == [4, 2, 39, 1]
    for pair, score in zip(pairs, together, strict=True):
        [alone] = small.score([pair], batch_tokens=40)
        assert alone.tokens == score.tokens
        assert alone.token_log_probabilities == pytest.approx(
            score.token_log_probabilities, abs=1e-4
        )


def test_a_pair_that_is_too_long_is_refused_with_its_line(small):
    pairs = [("x", "y"), ("x", "y" * 40)]
    expected = "^the target of line 12 must have at most 39 tokens; got 40: [^.]*\\.$"
    with pytest.raises(InputError, match=expected):
        list(small.score(pairs, first_line=10))


# Prefix.

PREFIXES = ["x", "zy", "xyz w", "xyz ", "x w "]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("opts", [GREEDY, BEAM])
def test_every_translation_begins_with_its_prefix(small, prefix, opts):
    lines = ["xyz", "w x", "zz yx wxyz"]
    for translation in small.stream(lines, opts, prefix=prefix):
        assert all(h.text.startswith(prefix) for h in translation.hypotheses)


@pytest.mark.parametrize("prefix", ["xyxy", "xx", "zyzyz"])
@pytest.mark.parametrize("kind", [SampleOptions, BeamOptions])
def test_a_prefix_holds_against_the_filters(small, prefix, kind):
    """Its own repetitions too, the last letter of it included."""
    for opts in (kind(no_repeat_ngram=2), kind(no_repeat_ngram=1)):
        translations = list(small.stream(["xyz", "w x"], opts, prefix=prefix))
        for translation in translations:
            assert not translation.report.failed
            assert all(h.text.startswith(prefix) for h in translation.hypotheses)


PIECES_OF_TEXTS = ["a", "ab", "cab", "abc. a", "cab ", "dcba dc", "b a d "]


@pytest.mark.parametrize("prefix", PIECES_OF_TEXTS)
@pytest.mark.parametrize("opts", [GREEDY, BEAM])
def test_every_translation_in_pieces_begins_with_its_prefix(into_pieces, prefix, opts):
    """In the middle of a word as well, which a longer piece may take in."""
    for translation in into_pieces.stream(["abc.", "b a d"], opts, prefix=prefix):
        for h in translation.hypotheses:
            assert h.text.startswith(prefix)


def test_a_longer_piece_may_take_in_the_last_one_of_the_prefix(into_pieces):
    """Which is no end, and the model would rather write the longer one."""
    tokenizer = into_pieces.tgt_tokenizer
    tokens = tokenizer.vocabulary.tokens
    short, longer = next(
        (a, b)
        for a, b in itertools.permutations(range(260, len(tokens)), 2)
        if tokens[b].startswith(tokens[a])
        and len(tokens[a]) > 1
        and tokenizer.encode(tokenizer.decode([a])) == [a]
    )
    given, opening = into_pieces._prefix(tokenizer.decode([short]), 40)
    assert given == [] and opening[short] and opening[longer]
    assert not opening[tokenizer.vocabulary.eos_id]


def test_lines_have_prefixes_of_their_own(small):
    lines, prefixes = ["xyz", "w x", "", "zz"], ["x", "", "y", "zy"]
    together = list(small.stream(lines, prefixes=iter(prefixes)))
    for translation, prefix in zip(together, prefixes, strict=True):
        assert translation.text.startswith(prefix if translation.src else "")
    assert together[1].text == small.translate("w x")


def test_a_prefix_that_is_what_the_model_would_write_changes_nothing(small):
    whole = small.translate("zz yx wxyz")
    for num in range(1, len(whole) - 1):
        if whole[:num].split() and "  " not in whole[:num] and whole[0] != " ":
            [translation] = small.stream(["zz yx wxyz"], prefix=whole[:num])
            assert translation.text == whole


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"prefix": "x" * 45}, "^a prefix must leave room for a translation of 40 "),
        ({"prefix": "x" * 4, "longest": 4}, "^a prefix must leave room for a transl"),
        (
            {"prefix": "xq"},
            "^a prefix must be of characters that the model can write; ",
        ),
        ({"prefixes": ["x", "x" * 45]}, "^line 2: a prefix must leave room for a tr"),
        ({"prefixes": ["xq", "x"]}, "^line 1: a prefix must be of characters"),
        ({"prefixes": ["x"]}, "^there must be a prefix for each line; got 1 prefixes"),
        ({"prefixes": ["x"] * 3}, "^there must be a prefix for each line; got 3 pref"),
        ({"seed": -1}, "^seed must be at least 0"),
        ({"seed": 2**31}, "^seed must be at least 0"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence(small, options, expected):
    with pytest.raises(InputError, match=expected) as caught:
        list(small.stream(["xyz", "w"], **options))
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


# Alternatives.


def next_log_probs(translator, text, tgt_ids):
    """[V] float64: what may come after some target tokens, by teacher forcing."""
    eos_id = translator.src_tokenizer.vocabulary.eos_id
    src_ids = np.array([[*translator.src_tokenizer.encode(text), eos_id]])
    width = 12  # one program for all
    inputs = np.full((1, width), translator.ids.pad)
    inputs[0, : len(tgt_ids) + 1] = [translator.ids.bos, *tgt_ids]
    masks = make_masks(np.ones(src_ids.shape, bool), np.ones(inputs.shape, bool))
    logits = teacher(translator.model, translator.params, src_ids, inputs, masks)
    return np.asarray(jax.nn.log_softmax(logits[0, len(tgt_ids)]), np.float64)


@functools.partial(jax.jit, static_argnums=0)
def teacher(model, params, src_ids, inputs, masks):
    return model.apply({"params": params}, src_ids, inputs, masks)


def chance_of_word(translator, text, given, word):
    """The product of the word's tokens, and of the chance that it ends there."""
    tokens = translator.tgt_tokenizer.vocabulary.ids
    eos = translator.ids.eos
    before = [tokens[c] for c in given]
    if not word:
        return np.exp(next_log_probs(translator, text, before)[eos])
    way = [tokens[c] for c in (" " + word if given else word)]
    whole = 0.0
    for i, token in enumerate(way):
        whole += next_log_probs(translator, text, before + way[:i])[token]
    after = np.exp(next_log_probs(translator, text, before + way))
    return np.exp(whole) * (after[eos] + after[tokens[" "]])


@pytest.mark.parametrize("given", ["", "x", "zy x"])
def test_the_chance_of_a_word_is_that_of_its_tokens_and_of_its_end(small, given):
    found = small.alternatives("zz w", given, count=5)
    assert len(found) == 5
    chances = [chance for _, chance in found]
    assert chances == sorted(chances, reverse=True) and sum(chances) <= 1 + 1e-5
    for word, chance in found:
        assert " " not in word
        if len(word) <= 6:
            expected = chance_of_word(small, "zz w", given, word)
            more = 0.0
            if word and not given:  # the beam may hold it after a space as well
                more = chance_of_word(small, "zz w", given, " " + word)
            assert expected * 0.999 <= chance <= (expected + more) * 1.001
    # No short word is likelier than those that are given.
    words = {word for word, _ in found}
    for short in ("", *"xyzw", *map("".join, itertools.product("xyzw", repeat=2))):
        if short not in words and (short or given):
            assert chance_of_word(small, "zz w", given, short) <= chances[-1] + 1e-6


def test_alternatives_in_pieces_are_words_with_chances(into_pieces):
    for given in ("", "cab"):
        found = into_pieces.alternatives("abc.", given, count=5)
        chances = [chance for _, chance in found]
        assert chances == sorted(chances, reverse=True)
        assert chances[-1] > 0 and sum(chances) <= 1 + 1e-5
        assert len({word for word, _ in found}) == len(found)
        assert all(" " not in word for word, _ in found)


def test_alternatives_refuse_what_they_cannot_answer(small):
    assert small.alternatives("") == [("", 1.0)]
    with pytest.raises(InputError, match=r"^count must be 1 to 16; got 17\.$"):
        small.alternatives("x", count=17)
    with pytest.raises(InputError, match="must have at most 38 tokens; got 39"):
        small.alternatives("x", "y" * 39)
    with pytest.raises(InputError, match="must have at most 39 tokens; got"):
        small.alternatives("x" * 50)


# Streams.


def test_a_stream_answers_in_order_and_without_waiting_where_nothing_more_is_there(
    small,
):
    taken = []

    def lines():
        for text in ["xyz", "w x", None, "y", None, None, "zz"]:
            taken.append(text)
            yield text

    answers = small.stream(lines())
    assert [next(answers).src, next(answers).src] == ["xyz", "w x"]
    assert taken == ["xyz", "w x", None]
    assert [answer.src for answer in answers] == ["y", "zz"]


def test_a_stream_holds_but_a_few_windows(small):
    taken = 0

    def lines():
        nonlocal taken
        for _ in range(2000):
            taken += 1
            yield "x"

    answers = small.stream(lines(), longest=2)
    assert next(answers).src == "x"
    assert taken <= 64 + 512 + 1
    assert sum(1 for _ in answers) == 1999


def test_a_stream_can_be_left_early(small):
    answers = small.stream(LINES)
    next(answers)
    answers.close()


def test_a_line_that_is_too_long_is_refused_where_that_is_asked(small):
    lines = ["x", "y" * 40]
    expected = "^line 12 must have at most 39 tokens; got 40: [^.]*\\.$"
    with pytest.raises(InputError, match=expected):
        list(small.stream(lines, too_long="refuse", first_line=10))
    [_, split] = small.stream(lines)
    assert split.report.split == 1


def test_a_model_that_returns_no_number_is_reported(small):
    """Row N14."""
    broken = jax.tree.map(lambda leaf: leaf * np.float32(np.nan), small.params)
    tokenizer = small.tgt_tokenizer
    translator = Translator(small.model, broken, tokenizer, tokenizer)
    for opts in (GREEDY, SAMPLED, BEAM):
        translations, report = translator.decode(["x", "", "y z"], opts)
        assert len(translations) == 3
        assert report.failed == 2 and report.truncated == 0
        assert "its parameters may be damaged" in report.sentences()[-1]


# ---- together ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "opts", [GREEDY, SampleOptions(), BeamOptions(beam_size=2)], ids=str
)
def test_lines_together_come_to_what_each_comes_to_alone(translator, opts):
    lines = [Line(text, seed=i % 2, number=i) for i, text in enumerate(TEXTS)]
    lines += [Line("abc", prefix="xy"), Line("abc", seed=5), Line("abc", number=3)]
    together = translator.together(lines, opts, scores=True)
    for line, found in zip(lines, together, strict=True):
        [alone] = translator.stream(
            [line.text],
            opts,
            seed=line.seed,
            first_line=line.number,
            prefix=line.prefix,
            scores=True,
        )
        assert found.text == alone.text
        assert found.hypotheses[0].tokens == alone.hypotheses[0].tokens


def test_what_cannot_be_explained_is_said_in_its_own_words(translator):
    with pytest.raises(InputError, match=r"^there is nothing to explain"):
        translator.explain("\u200e")
    with pytest.raises(
        InputError, match=r"^a text to be explained must have at most 39"
    ):
        translator.explain("abcd? " * 12)


def test_a_line_that_is_refused_leaves_the_others_alone(translator):
    lines = [Line("abc"), Line("abc", prefix="x" * 200), Line("cab")]
    found = translator.together(lines)
    assert isinstance(found[1], InputError)
    assert [found[0].text, found[2].text] == [
        translator.translate(text) for text in ("abc", "cab")
    ]


def test_who_watches_a_line_sees_the_beginning_of_its_translation(translator):
    texts, seen = [text for text in TEXTS if text.strip()], {}

    def watch(number, text):
        seen.setdefault(number, []).append(text())
        return True

    found = translator.together([Line(text) for text in texts], watch=watch)
    assert seen
    for number, parts in seen.items():
        if not found[number].report.split:
            assert all(found[number].text.startswith(part.rstrip()) for part in parts)


def test_a_line_that_nobody_wants_is_given_up(translator):
    found = translator.together([Line("dcba " * 5)] * 2, watch=lambda *_: False)
    assert all(isinstance(each, AbandonedError) for each in found)
    wanted = translator.together([Line("dcba " * 5)] * 2, watch=lambda i, _: i == 1)
    assert wanted[1].text == translator.translate("dcba " * 5)


def test_a_line_that_is_done_is_kept_when_its_neighbour_is_given_up(translator):
    lines = [Line("abc", number=i) for i in range(12)]
    alone = translator.together(lines, SampleOptions())
    lengths = [len(each.hypotheses[0].token_ids) for each in alone]
    # Somebody looks at every eighth token; at one look some have ended, not all.
    looks = -(-min(lengths) // search.TOKENS_BETWEEN_CHECKS)
    assert looks * search.TOKENS_BETWEEN_CHECKS < max(lengths)
    seen = collections.Counter()

    def watch(number, text):
        seen[number] += 1
        return seen[number] < looks

    found = translator.together(lines, SampleOptions(), watch=watch)
    kept = [each for each in found if not isinstance(each, AbandonedError)]
    assert kept and len(kept) < len(found)
    for before, after in zip(alone, found, strict=True):
        assert isinstance(after, AbandonedError) or after.text == before.text


def test_after_preparing_nothing_is_compiled(monkeypatch):
    letters = Vocabulary.of_characters(["abcd .?"], Specials())
    fresh = make_translator(CharacterTokenizer(letters, NORMALIZER), layers=1)
    opts = BeamOptions(beam_size=3)
    for _ in fresh.prepare(opts, scores=True):
        pass
    for _ in fresh.prepare_explanation():
        pass
    for _ in fresh.prepare_alternatives(count=1):
        pass
    monkeypatch.setattr(search, "WORTH_COMPILING", 0)
    with CompileCount() as count:
        for size in (1, 5, 40):
            lines = [Line("abcd"[: i % 4 + 1] * (i % 9)) for i in range(size)]
            fresh.together(lines, opts, scores=True)
            fresh.together([*lines, Line("a", prefix="x")], opts, scores=True)
        fresh.alternatives("abc", "x", count=1)
        best = fresh.together([Line("abc")], opts, scores=True)[0].hypotheses[0]
        fresh.explanation("abc", best)
    assert not count.compiled and not count.loaded
