"""From a config to encoded pairs: everything counted, nothing leaked."""

import json

import pytest

from flaxformer_mt import starter
from flaxformer_mt.config import Config, DataConfig, ModelConfig
from flaxformer_mt.errors import InputError
from flaxformer_mt.text.filters import Tally
from flaxformer_mt.text.prepared import prepare
from tests.conftest import ROOT

TATOEBA = ROOT.parent / "shared" / "data" / "tatoeba-en-fa"


def corpus(tmp_path, lines, *, max_length=128, **options):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{s}\t{t}\n" for s, t in lines), encoding="utf-8")
    data = DataConfig(src=f"{path}:0", tgt=f"{path}:1", **options)
    return prepare(Config(data=data, model=ModelConfig(max_length=max_length)))


def texts(pairs, tokenizer, side):
    return [tokenizer.decode(pair[side]) for pair in pairs]


def test_every_dropped_pair_is_counted_with_its_line(tmp_path):
    lines = [
        ("good", "خوب"),
        ("", "خالی"),
        ("bell \a", "زنگ"),
        ("far too long a sentence", "دراز"),
        ("   ", "خالی"),
    ]
    prepared = corpus(tmp_path, lines, max_length=12)
    assert prepared.tally.read == 5 and prepared.tally.kept == 1
    assert prepared.tally.dropped == {
        "empty on a side": 2,
        "control characters": 1,
        "longer than model.max_length": 1,
    }
    assert "dropped 2 of 5 pairs: empty on a side (first lines 2, 5)" in prepared.notes
    assert any("warning: 80.0% of the pairs were dropped" in n for n in prepared.notes)


@pytest.mark.parametrize("length", [10, 11, 12])
def test_the_longest_sentence_is_max_length_with_its_end(tmp_path, length):
    """Row N10: lengths one below, at and above the limit."""
    prepared = corpus(tmp_path, [("a" * length, "b"), ("c", "d")], max_length=12)
    assert prepared.tally.kept == (2 if length + 1 <= 12 else 1)


def test_a_corpus_without_a_usable_pair_is_one_sentence(tmp_path):
    """Row D18."""
    with pytest.raises(InputError) as caught:
        corpus(tmp_path, [("", "a"), ("b", "")])
    assert "0 usable pairs (2 read: 2 empty on a side)" in str(caught.value)
    with pytest.raises(InputError, match=r"0 usable pairs \(0 read\)"):
        corpus(tmp_path, [])


@pytest.mark.parametrize("count", range(1, 8))
def test_a_handful_of_pairs_trains(tmp_path, count):
    """Row D19."""
    prepared = corpus(tmp_path, [(f"s{i}", f"t{i}") for i in range(count)])
    held_out = len(prepared.validation) + len(prepared.test_texts)
    assert len(prepared.train) + held_out == count
    assert prepared.train


def test_no_sentence_of_validation_or_test_is_trained_on(tmp_path):
    """Row D21, with sentences that occur again and again on either side."""
    lines = [(f"s{i % 90}", f"t{i % 70}") for i in range(90)]
    lines += [(f"x{i}", f"y{i // 2}") for i in range(400)]
    prepared = corpus(tmp_path, lines, validation_fraction=0.2, test_fraction=0.2)
    for side, tokenizer in enumerate((prepared.src_tokenizer, prepared.tgt_tokenizer)):
        trained = set(texts(prepared.train, tokenizer, side))
        held_out = {p[side] for p in prepared.validation_texts + prepared.test_texts}
        assert held_out and not trained & held_out
    assert len(prepared.validation) == len(prepared.validation_texts)


def test_both_sides_are_normalised_and_marks_are_counted(tmp_path):
    prepared = corpus(tmp_path, [("cafe\u0301", "\u200fكتاب پ"), ("b", "چ")])
    assert "é" in prepared.src_tokenizer.vocabulary.ids
    assert prepared.tgt_tokenizer.normalizer.rule == "persian"
    assert "ک" in prepared.tgt_tokenizer.vocabulary.ids
    assert "removed 1 invisible direction marks" in prepared.notes
    assert "normalisation: source basic, target persian" in prepared.notes


def test_the_tutorials_options_stay_expressible(tmp_path):
    vocabulary = tmp_path / "vocab.json"
    vocabulary.write_text(json.dumps(list("abc ")), encoding="utf-8")
    prepared = corpus(
        tmp_path,
        [("A b", "x"), ("abd", "y"), ("c", "z"), ("a", "w"), ("b", "v")],
        src_vocab=str(vocabulary),
        lowercase=True,
        limit_pairs=2,
        bos="<START>",
    )
    assert prepared.src_tokenizer.vocabulary.tokens[4:] == tuple("abc ")
    assert prepared.tally.dropped == {
        "characters that the given vocabulary lacks": 1,
        "past data.limit_pairs": 2,
    }
    assert prepared.tgt_tokenizer.vocabulary.specials.bos == "<START>"
    kept = prepared.train + prepared.validation
    assert sorted(texts(kept, prepared.src_tokenizer, 0)) == ["a b", "c"]


def test_a_changed_corpus_has_another_fingerprint(tmp_path):
    lines = [("a b", "c d"), ("e", "f")]
    same = corpus(tmp_path, lines).fingerprint()
    assert corpus(tmp_path, lines).fingerprint() == same
    assert corpus(tmp_path, [("a b", "c e"), ("e", "f")]).fingerprint() != same


def test_a_tally_counts_and_says_so():
    tally = Tally(read=9000)
    for line in range(1, 1001):
        tally.drop("empty on a side", 7 * line)
    assert tally.sentences() == [
        "dropped 1,000 of 9,000 pairs: empty on a side (first lines 7, 14, 21, 28, 35)"
    ]
    assert tally.summary() == "9,000 read: 1,000 empty on a side"


def test_the_starter_corpus_keeps_its_own_parts_and_origins():
    prepared = prepare(Config())
    for part in ("train", "validation", "test"):
        lines = (starter.corpus_folder() / f"{part}.tsv").read_bytes().count(b"\n")
        pairs = {"train": prepared.train, "validation": prepared.validation_texts}
        assert len(pairs.get(part, prepared.test_texts)) == lines
    assert {p.group for p in prepared.test_texts} == {"written", "grammar"}
    assert not prepared.tally.dropped


@pytest.mark.skipif(not TATOEBA.is_dir(), reason="the shared corpora are not here")
def test_tatoeba_is_read_whole_and_split_without_a_leak():
    zip_file = TATOEBA / "Tatoeba.zip"
    prepared = prepare(
        Config(data=DataConfig(src=f"{zip_file}:en.txt", tgt=f"{zip_file}:fa.txt"))
    )
    assert prepared.tally.read == 7677
    trained = set(texts(prepared.train, prepared.src_tokenizer, 0))
    assert not trained & {p.src for p in prepared.validation_texts}
    assert not trained & {p.src for p in prepared.test_texts}
    with_their_vocabularies = prepare(
        Config(
            data=DataConfig(
                src=f"{zip_file}:en.txt",
                tgt=f"{zip_file}:fa.txt",
                src_vocab=str(TATOEBA / "en_vocab.json"),
                tgt_vocab=str(TATOEBA / "fa_vocab.json"),
                tgt_normalize="none",
            )
        )
    )
    dropped = with_their_vocabularies.tally.dropped
    assert dropped["characters that the given vocabulary lacks"] > 500
