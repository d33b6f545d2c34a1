"""From a config to encoded pairs: everything counted, nothing leaked."""

import dataclasses
import gzip
import json
import zipfile

import numpy as np
import pytest

from flaxformer_mt import starter
from flaxformer_mt.config import DataConfig, FilterConfig
from flaxformer_mt.errors import InputError
from flaxformer_mt.text.preparation import prepare
from flaxformer_mt.text.prepared import SRC_TOKENIZER, TGT_TOKENIZER
from flaxformer_mt.text.split import split_pairs
from tests.conftest import ROOT

TATOEBA = ROOT.parent / "shared" / "data" / "tatoeba-en-fa"


def corpus(tmp_path, lines, *, max_length=128, **options):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{s}\t{t}\n" for s, t in lines), encoding="utf-8")
    data = DataConfig(src=f"{path}:0", tgt=f"{path}:1", **options)
    return prepare(data, max_length=max_length)


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
    kept = [*prepared.train, *prepared.validation]
    assert sorted(texts(kept, prepared.src_tokenizer, 0)) == ["a b", "c"]


def test_a_changed_corpus_has_another_fingerprint(tmp_path):
    lines = [("a b", "c d"), ("e", "f")]
    same = corpus(tmp_path, lines).fingerprint()
    assert corpus(tmp_path, lines).fingerprint() == same
    assert corpus(tmp_path, [("a b", "c e"), ("e", "f")]).fingerprint() != same


def test_the_starter_corpus_keeps_its_own_parts_and_origins():
    prepared = prepare(DataConfig(), max_length=128)
    for part in ("train", "validation", "test"):
        lines = (starter.corpus_folder() / f"{part}.tsv").read_bytes().count(b"\n")
        pairs = {"train": prepared.train, "validation": prepared.validation_texts}
        assert len(pairs.get(part, prepared.test_texts)) == lines
    assert {p.group for p in prepared.test_texts} == {"written", "grammar"}
    assert not prepared.tally.dropped


# ---- several corpora, other tokens ---------------------------------------------------


def write_pairs(path, pairs):
    text = "".join(f"{src}\t{tgt}\n" for src, tgt in pairs)
    path.write_text(text, encoding="utf-8")
    return f"{path}:0", f"{path}:1"


WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "ran",
    "to",
    "some",
    "other",
    "red",
    "house",
]


def sentences(count, seed=0):
    rng = np.random.default_rng(seed)
    return [
        (" ".join(rng.choice(WORDS, 6)), " ".join(rng.choice(WORDS, 5))[::-1])
        for _ in range(count)
    ]


def test_several_corpora_are_one_without_a_leak_between_them(tmp_path):
    one, two = sentences(300), sentences(300, seed=1)
    two[:50] = [(src, tgt + " x") for src, tgt in one[:50]]  # share their sources
    two[50] = one[60]
    (src1, tgt1), (src2, tgt2) = (
        write_pairs(tmp_path / f"{i}.tsv", pairs) for i, pairs in enumerate((one, two))
    )
    data = DataConfig(
        src=(src1, src2),
        tgt=(tgt1, tgt2),
        weights=(1.0, 2.0),
        validation_fraction=0.2,
        test_fraction=0.2,
    )
    prepared = prepare(data, max_length=128)
    assert prepared.tally.read == 600
    assert prepared.tally.dropped == {"duplicates": 1}
    assert "first lines" not in str(prepared.notes)
    assert any("line 51 of corpus 2" in note for note in prepared.notes)
    for side, tokenizer in enumerate((prepared.src_tokenizer, prepared.tgt_tokenizer)):
        trained = set(texts(prepared.train, tokenizer, side))
        held_out = {p[side] for p in prepared.validation_texts + prepared.test_texts}
        assert not trained & held_out
    assert set(prepared.train.corpora) == {0, 1}
    last = len(prepared.train) - 1
    assert prepared.place(last).endswith(f"of {src2}")
    at = int(prepared.train.lines[last]) - 1
    assert texts(prepared.train, prepared.src_tokenizer, 0)[last] == two[at][0]


@pytest.mark.parametrize("kind", ["characters", "unigram", "bpe"])
def test_the_number_of_processes_changes_nothing(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("flaxformer_mt.text.preparation.CHUNK_PAIRS", 37)
    src, tgt = write_pairs(tmp_path / "a.tsv", sentences(400) + [("", "x")] * 3)
    data = DataConfig(
        src=src, tgt=tgt, tokenizer=kind, vocab_size=280, limit_pairs=350, processes=1
    )
    alone = prepare(data, max_length=64)
    many = prepare(dataclasses.replace(data, processes=2), max_length=64)
    assert many.fingerprint() == alone.fingerprint()
    assert many.tally == alone.tally and many.notes == alone.notes
    assert many.test_texts == alone.test_texts
    assert alone.tally.kept == 350


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_sentencepiece_is_learned_from_the_training_pairs(tmp_path, kind, shared):
    pairs = sentences(400)
    src, tgt = write_pairs(tmp_path / "a.tsv", pairs)
    data = DataConfig(
        src=src, tgt=tgt, tokenizer=kind, vocab_size=280, shared_vocab=shared
    )
    prepared = prepare(data, max_length=64)
    tokenizers = prepared.src_tokenizer, prepared.tgt_tokenizer
    assert [len(t.vocabulary) for t in tokenizers] == [280, 280]
    same = tokenizers[0].vocabulary.tokens == tokenizers[1].vocabulary.tokens
    assert same == shared
    known = {src for src, _ in pairs}
    assert set(texts(prepared.train, tokenizers[0], 0)) <= known
    assert len(prepared.train[0][0]) < len(texts(prepared.train, tokenizers[0], 0)[0])


def test_a_small_corpus_gives_all_the_pieces_that_it_has(tmp_path):
    src, tgt = write_pairs(tmp_path / "a.tsv", sentences(200))
    prepared = prepare(DataConfig(src=src, tgt=tgt, tokenizer="unigram"), max_length=64)
    told = [
        note for note in prepared.notes if "instead of data.vocab_size=8,000" in note
    ]
    size = len(prepared.src_tokenizer.vocabulary)
    assert told[0].startswith(f"{size:,} pieces are learned") and 260 < size < 400


def test_what_validation_and_test_hold_can_be_limited(tmp_path):
    src, tgt = write_pairs(
        tmp_path / "a.tsv", [(f"s{i}", f"t{i}") for i in range(2000)]
    )
    data = DataConfig(
        src=src, tgt=tgt, validation_fraction=0.2, max_validation_pairs=30, processes=1
    )
    prepared = prepare(data, max_length=64)
    assert len(prepared.validation) == 30
    assert 50 < len(prepared.test_texts) < 150
    # Below the limit nothing moves; above it, the lowest hashes stay.
    more = prepare(dataclasses.replace(data, max_validation_pairs=60), max_length=64)
    assert set(prepared.validation_texts) < set(more.validation_texts)
    assert more.test_texts == prepared.test_texts


def test_a_character_that_only_held_out_text_has_is_told(tmp_path):
    pairs = [(f"s{i}", f"t{i}") for i in range(200)]
    src, tgt = write_pairs(tmp_path / "a.tsv", pairs)
    data = DataConfig(src=src, tgt=tgt, processes=1)
    assert not any(
        "of characters that no" in n for n in prepare(data, max_length=64).notes
    )
    new = next(
        pair
        for pair in ((f"new {i}", f"QZé {i}") for i in range(1000))
        if split_pairs([pair], validation=0.05, test=0.05) == ["test"]
    )
    write_pairs(tmp_path / "a.tsv", [*pairs, new])
    told = " ".join(prepare(data, max_length=64).notes)
    assert "target tokens of validation and test are of characters that no" in told


def test_a_limit_stops_at_so_many_usable_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr("flaxformer_mt.text.preparation.CHUNK_PAIRS", 10)
    pairs = [(f"s{i // 2}", f"t{i // 2}") for i in range(100)]  # each twice
    src, tgt = write_pairs(tmp_path / "a.tsv", pairs)
    prepared = prepare(DataConfig(src=src, tgt=tgt, limit_pairs=12), max_length=64)
    assert prepared.tally.read == 100 and prepared.tally.kept == 12
    kept = set(texts(prepared.train, prepared.src_tokenizer, 0))
    held_out = prepared.validation_texts + prepared.test_texts
    assert kept | {p.src for p in held_out} == {f"s{i}" for i in range(12)}


# ---- the real corpora ------------------------------------------------------------


@pytest.mark.skipif(not TATOEBA.is_dir(), reason="the shared corpora are not here")
def test_tatoeba_is_read_whole_and_split_without_a_leak():
    zip_file = TATOEBA / "Tatoeba.zip"
    prepared = prepare(
        DataConfig(src=f"{zip_file}:en.txt", tgt=f"{zip_file}:fa.txt"), max_length=128
    )
    assert prepared.tally.read == 7677
    trained = set(texts(prepared.train, prepared.src_tokenizer, 0))
    assert not trained & {p.src for p in prepared.validation_texts}
    assert not trained & {p.src for p in prepared.test_texts}
    with_their_vocabularies = prepare(
        DataConfig(
            src=f"{zip_file}:en.txt",
            tgt=f"{zip_file}:fa.txt",
            src_vocab=str(TATOEBA / "en_vocab.json"),
            tgt_vocab=str(TATOEBA / "fa_vocab.json"),
            tgt_normalize="none",
        ),
        max_length=128,
    )
    dropped = with_their_vocabularies.tally.dropped
    assert dropped["characters that the given vocabulary lacks"] > 500


def brute_force(path_src, path_tgt, normalizers, max_length):
    """Kept pairs and counts, by the rules as the README tells them, one by one."""
    kept, counts, seen = [], {}, set()

    def drop(reason):
        counts[reason] = counts.get(reason, 0) + 1

    for raw_src, raw_tgt in zip(path_src, path_tgt, strict=True):
        src, tgt = normalizers[0](raw_src), normalizers[1](raw_tgt)
        short, long = sorted((len(src), len(tgt)))
        if not src or not tgt:
            drop("empty on a side")
        elif src == tgt:
            drop("the same text on both sides")
        elif long > 20 and long > 9 * short:
            drop("one side far longer than the other")
        elif (src, tgt) in seen:
            drop("duplicates")
        elif max(len(src), len(tgt)) + 1 > max_length:
            drop("longer than model.max_length")
            seen.add((src, tgt))
        else:
            kept.append((src, tgt))
            seen.add((src, tgt))
    return kept, counts


def components(pairs):
    """Pairs that share a sentence, by walking from neighbour to neighbour."""
    by_text = {}
    for i, pair in enumerate(pairs):
        for side, text in enumerate(pair):
            by_text.setdefault((side, text), []).append(i)
    component = [-1] * len(pairs)
    for start in range(len(pairs)):
        stack = [start] if component[start] < 0 else []
        while stack:
            i = stack.pop()
            if component[i] < 0:
                component[i] = start
                for side, text in enumerate(pairs[i]):
                    stack += by_text.pop((side, text), [])
    return component


MULTI30K = TATOEBA.parent / "multi30k-en-de"


def tatoeba_lines():
    with zipfile.ZipFile(TATOEBA / "Tatoeba.zip") as archive:
        return [
            archive.read(name).decode("utf-8").removesuffix("\n").split("\n")
            for name in ("en.txt", "fa.txt")
        ]


def multi30k_lines():
    return [
        gzip.decompress((MULTI30K / f"train.{language}.gz").read_bytes())
        .decode("utf-8")
        .removesuffix("\n")
        .split("\n")
        for language in ("en", "de")
    ]


@pytest.mark.skipif(not TATOEBA.is_dir(), reason="the shared corpora are not here")
@pytest.mark.parametrize("corpus_name", ["tatoeba", "multi30k"])
def test_real_corpora_are_counted_and_split_as_by_brute_force(corpus_name):
    """Rows D20 and D21."""
    if corpus_name == "tatoeba":
        lines = tatoeba_lines()
        specs = [f"{TATOEBA / 'Tatoeba.zip'}:{side}.txt" for side in ("en", "fa")]
    else:
        lines = multi30k_lines()
        specs = [str(MULTI30K / f"train.{side}.gz") for side in ("en", "de")]
    # The script rule is not easily said in other words: it is off here.
    data = DataConfig(src=specs[0], tgt=specs[1], filter=FilterConfig(min_script=0))
    prepared = prepare(data, max_length=128)
    normalizers = prepared.src_tokenizer.normalizer, prepared.tgt_tokenizer.normalizer
    kept, counts = brute_force(*lines, normalizers, 128)
    assert prepared.tally.read == len(lines[0])
    assert prepared.tally.dropped == counts
    sides = [
        texts(prepared.train, tokenizer, side)
        for side, tokenizer in enumerate(
            (prepared.src_tokenizer, prepared.tgt_tokenizer)
        )
    ]
    parts = {
        "train": list(zip(*sides, strict=True)),
        "validation": [p[:2] for p in prepared.validation_texts],
        "test": [p[:2] for p in prepared.test_texts],
    }
    together = [pair for pairs in parts.values() for pair in pairs]
    assert sorted(together) == sorted(kept)
    component = dict(zip(together, components(together), strict=True))
    seen = [{component[pair] for pair in pairs} for pairs in parts.values()]
    assert all(seen) and sum(map(len, seen)) == len(set.union(*seen))
    for side in (0, 1):
        texts_of = [{pair[side] for pair in pairs} for pairs in parts.values()]
        assert sum(map(len, texts_of)) == len(set.union(*texts_of))


@pytest.mark.skipif(not TATOEBA.is_dir(), reason="the shared corpora are not here")
def test_the_pairs_that_the_tutorials_vocabularies_lack_are_counted():
    """Row D20: against the same count by brute force."""
    zip_file = TATOEBA / "Tatoeba.zip"
    data = DataConfig(
        src=f"{zip_file}:en.txt",
        tgt=f"{zip_file}:fa.txt",
        src_vocab=str(TATOEBA / "en_vocab.json"),
        tgt_vocab=str(TATOEBA / "fa_vocab.json"),
        src_normalize="none",
        tgt_normalize="none",
        lowercase=True,
        filter=FilterConfig(
            min_script=0, max_ratio=0, identical=False, duplicates=False
        ),
    )
    known = [
        set(json.loads((TATOEBA / f"{side}_vocab.json").read_text(encoding="utf-8")))
        for side in ("en", "fa")
    ]
    lacking = [
        (src, tgt)
        for src, tgt in zip(*tatoeba_lines(), strict=True)
        if src.strip()
        and tgt.strip()
        and not (set(src.lower()) <= known[0] and set(tgt.lower()) <= known[1])
    ]
    dropped = prepare(data, max_length=128).tally.dropped
    assert dropped["characters that the given vocabulary lacks"] == len(lacking) > 500


# ---- tokenizers of another run ---------------------------------------------------


@pytest.fixture(params=["characters", "bpe"])
def other(request, tmp_path):
    """(a folder with the tokenizers of another corpus, what that corpus became)."""
    folder = tmp_path / "other"
    folder.mkdir()
    lines = [(f"Good {word}", f"{word[::-1]} tag") for word in ("day", "week", "year")]
    prepared = corpus(
        *(folder, lines * 4),
        **{"tokenizer": request.param, "vocab_size": 300, "lowercase": True},
        **{"src_normalize": "none", "pad": "[PAD]", "filter": EVERY_PAIR},
    )
    for name, tokenizer in (
        (SRC_TOKENIZER, prepared.src_tokenizer),
        (TGT_TOKENIZER, prepared.tgt_tokenizer),
    ):
        (folder / name).write_text(json.dumps(tokenizer.to_dict()), encoding="utf-8")
    return folder, prepared


EVERY_PAIR = FilterConfig(duplicates=False)
NEW_LINES = [(f"Week  {i} ok", f"keew {i}") for i in range(20)]


def test_given_tokenizers_are_used_as_they_are(tmp_path, other):
    folder, theirs = other
    all_train = {"validation_fraction": 0, "test_fraction": 0}
    prepared = corpus(tmp_path, NEW_LINES, tokenizers=str(folder), **all_train)
    for ours, given in (
        (prepared.src_tokenizer, theirs.src_tokenizer),
        (prepared.tgt_tokenizer, theirs.tgt_tokenizer),
    ):
        assert ours.to_dict() == given.to_dict()
    # Lower case and two spaces: their normalisation, not that of this corpus.
    found = texts(prepared.train, prepared.src_tokenizer, 0)
    assert found and all(text.startswith("week  ") for text in found)
    assert prepared.data.tokenizer == theirs.data.tokenizer
    assert f"tokens: those of {folder}" in " ".join(prepared.notes)
    assert (
        "% of the source tokens are of characters that the given tokenizers lack"
        in (" ".join(prepared.notes))
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"vocab_size": 50}, "data.vocab_size"),
        ({"lowercase": True, "pad": "[P]"}, "data.lowercase, data.pad"),
        ({"tokenizer": "bpe", "shared_vocab": True}, "data.shared_vocab"),
        ({"src_vocab": "letters.json"}, "data.src_vocab"),
    ],
)
def test_what_contradicts_given_tokenizers_is_named(options, named):
    with pytest.raises(InputError, match=f"got {named} as well"):
        DataConfig(tokenizers="weights/old", **options)


def test_given_tokenizers_of_another_kind_or_none_at_all_are_refused(tmp_path, other):
    folder, theirs = other
    with pytest.raises(InputError, match=f"are of kind {theirs.data.tokenizer}"):
        corpus(tmp_path, NEW_LINES, tokenizers=str(folder), tokenizer="unigram")
    with pytest.raises(InputError, match="must hold its tokenizers"):
        corpus(tmp_path, NEW_LINES, tokenizers=str(tmp_path / "none"))
    sampling = {"tokenizers": str(folder), "subword_sampling": 0.1}
    if theirs.data.tokenizer == "bpe":
        assert corpus(tmp_path, NEW_LINES, **sampling).data.subword_sampling == 0.1
    else:
        with pytest.raises(InputError, match="which have no words"):
            corpus(tmp_path, NEW_LINES, **sampling)


def test_characters_that_given_tokenizers_cannot_spell_are_counted(tmp_path):
    letters = tmp_path / "letters.json"
    letters.write_text(json.dumps(list("abcd ")), encoding="utf-8")
    own = {"src_vocab": str(letters), "tgt_vocab": str(letters)}
    theirs = corpus(tmp_path, [("a b", "c d"), ("b", "d")], **own)
    for name in (SRC_TOKENIZER, TGT_TOKENIZER):
        text = json.dumps(theirs.src_tokenizer.to_dict())
        (tmp_path / name).write_text(text, encoding="utf-8")
    prepared = corpus(tmp_path, [("a", "b"), ("x", "d")], tokenizers=str(tmp_path))
    assert prepared.tally.kept == 1
    assert sum(prepared.tally.dropped.values()) == 1


# ---- validation and test files of one's own ----------------------------------------


def given_parts(tmp_path, train, validation, test, **options):
    specs = {}
    for name, lines in (("val", validation), ("test", test)):
        path = tmp_path / f"{name}.tsv"
        path.write_text("".join(f"{s}\t{t}\n" for s, t in lines), encoding="utf-8")
        part = "validation" if name == "val" else name
        specs |= {f"{part}_src": f"{path}:0", f"{part}_tgt": f"{path}:1"}
    return corpus(tmp_path, train, **specs, **options)


def test_given_files_are_validation_and_test_and_training_shares_nothing(tmp_path):
    train = [(f"s{i}", f"t{i}") for i in range(40)]
    train += [("v1", "other"), ("other too", "e2"), ("v2", "w2")]
    prepared = given_parts(
        *(tmp_path, train, [("v1", "w1"), ("v2", "w2")], [("e1", "e1."), ("e2.", "e2")])
    )
    held_out = [
        [(pair.src, pair.tgt) for pair in part]
        for part in (prepared.validation_texts, prepared.test_texts)
    ]
    assert held_out == [[("v1", "w1"), ("v2", "w2")], [("e1", "e1."), ("e2.", "e2")]]
    assert len(prepared.train) == 40 and len(prepared.validation) == 2
    assert prepared.tally.dropped == {
        "duplicates": 1,
        "a sentence of data.validation_src or data.test_src": 2,
    }
    assert any("(training shares no sentence" in note for note in prepared.notes)
    assert texts(prepared.train, prepared.src_tokenizer, 0) == [
        s for s, _ in train[:40]
    ]


def test_a_given_validation_leaves_the_share_of_the_test(tmp_path):
    train = [(f"s{i}", f"t{i}") for i in range(200)]
    path = tmp_path / "v.tsv"
    path.write_text("a\tb\n", encoding="utf-8")
    prepared = corpus(
        *(tmp_path, train), validation_src=f"{path}:0", validation_tgt=f"{path}:1"
    )
    assert len(prepared.validation) == 1
    assert 2 <= len(prepared.test_texts) <= 30
    assert len(prepared.train) == 200 - len(prepared.test_texts)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"validation_src": "a"}, "got only data.validation_src"),
        ({"test_src": "a", "test_tgt": "b"}, "got no data.src"),
    ],
)
def test_half_of_a_part_or_a_part_of_nothing_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        DataConfig(**options)


def test_a_limit_counts_the_pairs_that_are_left_beside_files_of_ones_own(
    tmp_path, monkeypatch
):
    """Those that share a sentence with them have gone before."""
    monkeypatch.setattr("flaxformer_mt.text.preparation.CHUNK_PAIRS", 10)
    lines = [(f"source {i}", f"target {i}") for i in range(100)]
    for name, pairs in (("train", lines), ("own", lines[:35])):
        text = "".join(f"{src}\t{tgt} {name}\n" for src, tgt in pairs)
        (tmp_path / f"{name}.tsv").write_text(text, encoding="utf-8")
    data = DataConfig(
        src=f"{tmp_path}/train.tsv:0",
        tgt=f"{tmp_path}/train.tsv:1",
        validation_src=f"{tmp_path}/own.tsv:0",
        validation_tgt=f"{tmp_path}/own.tsv:1",
        test_fraction=0.0,
        limit_pairs=20,
        processes=1,
    )
    prepared = prepare(data, max_length=64)
    assert len(prepared.train) == 20 and len(prepared.validation) == 35


def test_the_first_lines_past_a_limit_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("flaxformer_mt.text.preparation.CHUNK_PAIRS", 10)
    text = "".join(f"source {i}\ttarget {i}\n" for i in range(200))
    (tmp_path / "train.tsv").write_text(text, encoding="utf-8")
    source = f"{tmp_path}/train.tsv"
    data = DataConfig(src=f"{source}:0", tgt=f"{source}:1", limit_pairs=15, processes=1)
    prepared = prepare(data, max_length=64)
    examples = prepared.tally.examples["past data.limit_pairs"]
    assert [example.line for example in examples][:3] == [16, 17, 18]


def test_a_corpus_in_a_script_of_its_own_is_kept_among_many_others(tmp_path):
    sides = []
    for number in range(25):
        word = "λόγος" if number == 7 else "word"
        text = "".join(f"{word} {number} {i}\ttarget {i}\n" for i in range(20))
        (tmp_path / f"{number}.tsv").write_text(text, encoding="utf-8")
        sides.append(f"{tmp_path}/{number}.tsv")
    data = DataConfig(
        src=tuple(f"{path}:0" for path in sides),
        tgt=tuple(f"{path}:1" for path in sides),
        processes=1,
    )
    prepared = prepare(data, max_length=64)
    assert "letters of another script" not in str(prepared.tally.dropped)
    assert sum(prepared.tally.dropped.values()) == 0
