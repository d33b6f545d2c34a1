"""Pairs and their order, the explanation of a lost line, and the fingerprint.

Each test is named after the promise that it keeps.
"""

import gzip
import hashlib
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flaxformer_mt.errors import InputError
from flaxformer_mt.text import sources
from flaxformer_mt.text.corpus import fingerprint, read_pairs
from tests.text.conftest import one_sentence, write, write_lines, write_zip

pytestmark = pytest.mark.usefixtures("empty_folder")

REPOSITORY = Path(__file__).resolve().parents[2]
REAL_CORPORA = REPOSITORY.parent / "shared" / "data"

ENGLISH = ["Hello.", "How are you?", "I do not know."]
PERSIAN = ["سلام.", "حال شما چطور است؟", "نمی‌دانم."]

# What Python calls a line end besides "\n", and what a sentence may well contain.
SEPARATORS = "\u2028\u2029\u0085\v\f\x1c\x1d\x1e\r"


def pairs_of(src: str, tgt: str) -> list[tuple[str, str]]:
    """Return all pairs, where nothing is expected to be noted."""
    return list(read_pairs(src, tgt, note=pytest.fail))


def pairs_message(src: str, tgt: str) -> str:
    with pytest.raises(InputError) as caught:
        pairs_of(src, tgt)
    return one_sentence(str(caught.value))


# ---- pairs -------------------------------------------------------------------------


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    pairs=st.lists(
        st.tuples(*[st.text(SEPARATORS + 'aبé  "\u200c', max_size=6)] * 2), max_size=8
    ),
    final_newline=st.booleans(),
)
def test_exotic_separators_never_shift_a_line(pairs, final_newline):
    # One "\r" before the line end belongs to the line end, so no line ends in one.
    pairs = [tuple(text.rstrip("\r") for text in pair) for pair in pairs]
    sides = [list(side) for side in zip(*pairs, strict=True)] or [[], []]
    end = "\n" if pairs and (final_newline or not all(pairs[-1])) else ""
    en, fa = ("\n".join(side) + end for side in sides)
    write("en.txt", en)
    write("fa.txt", fa)
    write("pairs.tsv", "\n".join(map("\t".join, pairs)) + end)
    write_zip("c.zip", {"en.txt": en, "fa.txt": fa})
    write("en.txt.gz", gzip.compress(en.encode("utf-8")))
    write(
        "pairs.jsonl",
        "\n".join(json.dumps(dict(zip("ef", pair, strict=True))) for pair in pairs),
    )

    assert pairs_of("en.txt", "fa.txt") == pairs
    assert pairs_of("pairs.tsv:0", "pairs.tsv:1") == pairs
    assert pairs_of("c.zip:en.txt", "c.zip:fa.txt") == pairs
    assert pairs_of("en.txt.gz", "c.zip:fa.txt") == pairs
    assert pairs_of("pairs.jsonl:e", "pairs.jsonl:f") == pairs


def test_a_corpus_reads_the_same_from_every_container():
    rows = list(zip(ENGLISH, PERSIAN, strict=True))
    tsv = "".join(f"{i}\t{en}\t{fa}\textra\n" for i, (en, fa) in enumerate(rows))
    jsonl = "".join(json.dumps({"en": en, "fa": fa, "n": 1}) + "\n" for en, fa in rows)
    en_text, fa_text = ("".join(f"{x}\n" for x in side) for side in (ENGLISH, PERSIAN))
    write("en.txt", en_text)
    write("fa.txt", fa_text)
    write("p.tsv", tsv)
    write("p.TSV.GZ", gzip.compress(tsv.encode()))
    write("p.jsonl.gz", gzip.compress(jsonl.encode()))
    write_zip(
        "c.zip",
        {
            "sub/en.txt": en_text,
            "sub/fa.txt.gz": gzip.compress(fa_text.encode()),
            "p.tsv": tsv,
            "p.jsonl.gz": gzip.compress(jsonl.encode()),
            "a:b.txt": en_text,
            "a": "the member a has no column b.txt",
        },
    )
    write_zip("stored.zip", {"en.txt": en_text}, zipfile.ZIP_STORED)
    for src, tgt in [
        ("en.txt", "fa.txt"),
        ("p.tsv:1", "p.tsv:2"),
        ("p.TSV.GZ:1", "p.TSV.GZ:2"),
        ("p.jsonl.gz:en", "p.jsonl.gz:fa"),
        ("c.zip:sub/en.txt", "c.zip:sub/fa.txt.gz"),
        ("c.zip:p.tsv:1", "c.zip:p.jsonl.gz:fa"),
        ("c.zip:a:b.txt", "p.tsv:2"),
        ("stored.zip:en.txt", "fa.txt"),
    ]:
        assert pairs_of(src, tgt) == rows, (src, tgt)


def test_empty_lines_on_both_sides_are_a_pair_that_a_filter_can_count():
    write("en.txt", "a\n\nb\n\n")
    write("fa.txt", "x\n\ny\n\n")
    write("p.tsv", "a\tx\n\nb\ty\n\t\n")
    write("p.jsonl", '{"e": "a", "f": "x"}\n\n{"e": "b", "f": "y"}\n\n')
    expected = [("a", "x"), ("", ""), ("b", "y"), ("", "")]
    assert pairs_of("en.txt", "fa.txt") == expected
    assert pairs_of("p.tsv:0", "p.tsv:1") == expected
    assert pairs_of("p.jsonl:e", "p.jsonl:f") == expected


@pytest.mark.parametrize(
    ("tail", "said"), [("\n", "1 blank line"), ("\n \n\t\r\n", "3 blank lines")]
)
def test_blank_lines_at_the_end_of_one_side_are_reported_and_left_out(tail, said):
    notes = []
    write("en.txt", "a\nb\n" + tail)
    write("fa.txt", "x\ny")
    assert list(read_pairs("en.txt", "fa.txt", note=notes.append)) == [
        ("a", "x"),
        ("b", "y"),
    ]
    assert notes == [f"en.txt ends in {said} more than fa.txt: left out."]
    assert list(read_pairs("fa.txt", "en.txt", note=notes.append)) == [
        ("x", "a"),
        ("y", "b"),
    ]
    assert notes[1] == notes[0]


def sentences(number: int) -> tuple[list[str], list[str]]:
    """Return two sides whose lengths go together, as those of a translation do."""
    lengths = [5 + i * 7919 % 89 for i in range(number)]
    return ["s" * n for n in lengths], ["t" * (n + n // 5) for n in lengths]


@pytest.mark.parametrize("place", [0, 4_000, 8_276])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("final", ["", "\n\n"])
def test_a_lost_line_is_refused_and_found(place, side, final):
    sides = sentences(8_277)
    del sides[side][place]
    for name, lines in zip(("en.txt", "fa.txt"), sides, strict=True):
        write(name, "\n".join(lines) + "\n" + final)
    counts = [8_277 + len(final)] * 2
    counts[side] -= 1
    assert pairs_message("en.txt", "fa.txt") == (
        f"source has {counts[0]:,} lines, target {counts[1]:,}; first suspicious pair "
        f"near line {place + 1:,} of en.txt and fa.txt: add or remove lines there "
        "until the counts agree."
    )


def test_a_side_that_was_cut_off_or_is_empty_is_found_too():
    en, fa = sentences(500)
    write_lines("en.txt", en)
    write_lines("fa.txt", fa[:400])
    write("none.txt", b"")
    assert "near line 401 of" in pairs_message("en.txt", "fa.txt")
    assert "target 0; first suspicious pair near line 1 of" in pairs_message(
        "en.txt", "none.txt"
    )
    assert pairs_of("none.txt", "none.txt") == []


def test_pairs_come_before_the_error_that_only_the_end_can_show():
    write_lines("en.txt", ["a", "b", "c"])
    write_lines("fa.txt", ["x", "y"])
    pairs = read_pairs("en.txt", "fa.txt", note=pytest.fail)
    assert [next(pairs), next(pairs)] == [("a", "x"), ("b", "y")]
    with pytest.raises(InputError, match="source has 3 lines, target 2"):
        next(pairs)


def test_both_specs_are_checked_at_the_call():
    write("en.txt", "a\n")
    with pytest.raises(InputError, match="there is no file"):
        read_pairs("en.txt", "fa.txt", note=pytest.fail)


# ---- identity ----------------------------------------------------------------------


def test_a_fingerprint_is_of_the_text_and_not_of_its_container():
    lines = [f"{i} سلام" for i in range(10_000)]
    text = "\n".join(lines)
    expected = hashlib.sha256(text.encode("utf-8")).hexdigest()
    write("a.txt", text)
    write("b.txt", "\ufeff" + text.replace("\n", "\r\n") + "\r\n")
    write("a.txt.gz", gzip.compress(text.encode("utf-8")))
    write_zip("a.zip", {"a.txt": text})
    write("a.tsv", text.replace("\n", "\tx\n") + "\tx")
    for spec in ("a.txt", "b.txt", "a.txt.gz", "a.zip:a.txt", "a.tsv:0"):
        assert fingerprint(spec) == expected
    write("a.txt", text + "!")
    assert fingerprint("a.txt") != expected


def test_a_limit_goes_for_pairs_and_fingerprints_too(monkeypatch):
    text = b"".join(b"%d The same again.\n" % (i % 997) for i in range(20_000))
    write("en.txt.gz", gzip.compress(text))
    monkeypatch.setattr(sources, "MAX_RATIO", 2)
    both = read_pairs("en.txt.gz", "en.txt.gz", note=pytest.fail, max_bytes=len(text))
    assert sum(1 for _ in both) == 20_000
    with pytest.raises(InputError, match="unpacks to more than"):
        list(read_pairs("en.txt.gz", "en.txt.gz", note=pytest.fail, max_bytes=0))
    write("one.txt", "a\n")
    with pytest.raises(InputError, match="source has 20,000 lines, target 1;"):
        list(read_pairs("en.txt.gz", "one.txt", note=print, max_bytes=len(text)))
    with pytest.raises(InputError, match="unpacks to more than"):
        fingerprint("en.txt.gz", max_bytes=0)


# ---- truth -------------------------------------------------------------------------


def test_the_real_corpora_are_read_whole():
    if not REAL_CORPORA.is_dir():
        pytest.skip("no ../shared/data beside the repository, see its README")
    archive = REAL_CORPORA / "tatoeba-en-fa" / "Tatoeba.zip"
    pairs = pairs_of(f"{archive}:en.txt", f"{archive}:fa.txt")
    assert len(pairs) == 7_677
    assert all(src and tgt for src, tgt in pairs)
    flickr = REAL_CORPORA / "multi30k-en-de"
    train = read_pairs(
        str(flickr / "train.en.gz"), str(flickr / "train.de.gz"), note=pytest.fail
    )
    assert sum(1 for _ in train) == 29_000
