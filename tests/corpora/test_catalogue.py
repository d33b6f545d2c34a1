"""The table of corpora: addresses, languages, and what a person is told of a typo."""

import datetime
import re

import pytest

from flaxformer_mt.corpora.catalogue import (
    ANKI_CODES,
    CATALOGUE,
    ISO_639_1,
    find,
    listing,
)
from flaxformer_mt.corpora.transfer import check_url
from flaxformer_mt.errors import InputError


def found(*arguments, release="", url=""):
    return find(*arguments, release=release, url=url)


@pytest.mark.parametrize(
    ("corpus", "stem", "url"),
    [
        (
            "tatoeba",
            "tatoeba-en-fa",
            "https://object.pouta.csc.fi/OPUS-Tatoeba/v2023-04-12/moses/en-fa.txt.zip",
        ),
        (
            "opus:TED2020",
            "opus-TED2020-en-fa",
            "https://object.pouta.csc.fi/OPUS-TED2020/v1/moses/en-fa.txt.zip",
        ),
        (
            "manythings",
            "manythings-en-fa",
            "https://www.manythings.org/anki/pes-eng.zip",
        ),
    ],
)
def test_both_directions_are_one_file_at_the_known_address(corpus, stem, url):
    for src, tgt in (("en", "fa"), ("fa", "en")):
        wanted = found(corpus, src, tgt)
        assert (wanted.stem, wanted.url) == (stem, url)
        assert (wanted.src, wanted.tgt) == (src, tgt)


def test_a_release_of_ones_own_is_in_the_address():
    wanted = found("tatoeba", "de", "fa", release="v2026-07-08")
    assert "/v2026-07-08/moses/de-fa." in wanted.url
    other = found("opus:EUbookshop", "de", "en", release="v2")
    assert other.url.endswith("/OPUS-EUbookshop/v2/moses/de-en.txt.zip")
    assert other.entry.licence == "unknown" and other.label == "EUbookshop"


def test_an_address_of_ones_own_goes_before_the_table():
    mine = "https://mirror.example/x.zip"
    for corpus in ("tatoeba", "manythings", "opus:Whatever"):
        assert found(corpus, "en", "fa", url=mine).url == mine
    # Even a language that the table has no code for.
    assert found("manythings", "en", "qu", url=mine).stem == "manythings-en-qu"


def test_the_spelling_of_a_name_may_be_careless():
    assert found("Tatoeba", "en", "fa").entry.name == "tatoeba"
    assert found("opus:ted2020", "en", "fa").label == "TED2020"


@pytest.mark.parametrize(
    ("arguments", "more", "expected"),
    [
        (("tatoba", "en", "fa"), {}, "no corpus 'tatoba'; did you mean 'tatoeba'?"),
        (("manything", "en", "fa"), {}, "did you mean 'manythings'?"),
        (("xyzzy", "en", "fa"), {}, "'xyzzy'; --list shows those there are."),
        (("opus:TED202", "en", "fa"), {}, "did you mean 'opus:TED2020'? give it as"),
        (("opus:Xyzzyx", "en", "fa"), {}, "not known here: give it as --release v1"),
        (("opus:../../x", "en", "fa"), {}, "as in opus:TED2020; got 'opus:../../x'"),
        (("opus:", "en", "fa"), {}, "as in opus:TED2020"),
        (("tatoeba", "english", "fa"), {}, "source language must be a code like en"),
        (("tatoeba", "en", "../x"), {}, "the target language must be a code"),
        (("tatoeba", "en", "en"), {}, "must differ; got en twice"),
        (("manythings", "fa", "pes"), {}, "must differ; got fa twice"),
        (("manythings", "de", "fa"), {}, "English only; got de and fa: give en"),
        (("manythings", "en", "qu"), {}, "'qu' is not known here: give the three"),
        (("manythings", "en", "fa"), {"release": "v1"}, "has no releases; got"),
        (("tatoeba", "en", "fa"), {"release": "../v1"}, "a name like v1"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(arguments, more, expected):
    with pytest.raises(InputError) as caught:
        found(*arguments, **more)
    message = str(caught.value)
    assert expected in message and "\n" not in message


def test_manythings_takes_its_own_codes_too_and_they_are_one_language():
    """Persian is fa in the rest of the package, which goes by that code."""
    wanted = found("manythings", "eng", "pes")
    assert (wanted.src, wanted.tgt) == ("en", "fa")
    assert wanted.stem == "manythings-en-fa"
    assert found("manythings", "en", "kab").url.endswith("/kab-eng.zip")
    assert found("manythings", "en", "no").url.endswith("/nob-eng.zip")
    assert ISO_639_1["nob"] == "nb"
    assert all(re.fullmatch("[a-z]{3}", code) for code in ANKI_CODES.values())


def test_every_entry_says_when_where_and_under_which_licence():
    names = [entry.name for entry in CATALOGUE]
    assert len(set(names)) == len(names)
    for entry in CATALOGUE:
        assert datetime.date.fromisoformat(entry.looked_up)
        assert entry.licence and entry.licence_note and entry.seen_in and entry.what
        wanted = found(entry.name, "en", "fa")
        check_url(wanted.url)
        assert not set("{}") & set(wanted.url)


def test_the_listing_owns_up_to_what_was_never_tried():
    text = listing()
    for entry in CATALOGUE:
        assert entry.name in text and entry.licence in text
    untried = [entry for entry in CATALOGUE if not entry.tried]
    assert text.count("never tried from here") == len(untried)
    assert "{pair}.txt.zip" in text and "{release}" not in text
    assert "other releases seen: v2026-07-08" in text
