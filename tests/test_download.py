"""The door `download`: what a person gets, is told, and can train on."""

import gzip
import shlex
import zipfile

import pytest

from flaxformer_mt.command_line import option_names, parse
from flaxformer_mt.config import Config
from flaxformer_mt.download import DownloadOptions, download
from flaxformer_mt.errors import InputError
from flaxformer_mt.text.lines import read_lines
from tests.corpora.conftest import EN, FA, LARGE, MOSES, make_zip
from tests.corpora.conftest import site as site  # a fixture, found by its name

ENGLISH = EN.split("\n")[:-1]
PERSIAN = FA.split("\n")[:-1]
TSV = "".join(
    f"{en}\t{fa}\tCC-BY 2.0 (France) Attribution: tatoeba.org #1 (CK) & #2 (x)\n"
    for en, fa in zip(ENGLISH, PERSIAN, strict=True)
)
ABOUT = "** Info **\n\nCheck for newest version here:\n  manythings.org/anki\n"
ANKI = make_zip({"_about.txt": ABOUT, "pes.txt": TSV})


@pytest.fixture
def get(site, tmp_path, capsys):
    """Runs the door: what it printed, the pairs that its command reads, its options."""

    def get(*arguments):
        folder = ["--folder", str(tmp_path / "my data"), "--url", site.url]
        download([*arguments, *folder])
        out = capsys.readouterr().out
        command = shlex.split(out.rstrip("\n").split("\n")[-1])
        assert command[:3] == ["python", "-m", "flaxformer_mt.train"]
        parse(Config, command[3:], prog="train")  # the train door takes them
        given = dict(zip(command[3::2], command[4::2], strict=True))
        sides = read_lines(given["--data.src"]), read_lines(given["--data.tgt"])
        return out, list(zip(*sides, strict=True)), given

    return get


@pytest.mark.parametrize("corpus", ["tatoeba", "opus:Tatoeba"])
def test_the_command_that_is_printed_reads_the_pairs(site, get, tmp_path, corpus):
    out, pairs, given = get(corpus, "en", "fa")
    assert pairs == [*zip(ENGLISH, PERSIAN, strict=True)]
    assert (given["--data.src-lang"], given["--data.tgt-lang"]) == ("en", "fa")
    assert given["--run"] == f"weights/en-fa-{corpus.removeprefix('opus:')}"
    name = corpus.replace(":", "-") + "-en-fa.zip"
    assert str(tmp_path / "my data" / name) in out
    assert f"{len(LARGE):,} bytes, SHA-256 " in out
    assert "Tatoeba.en-fa.fa: 3 lines" in out
    assert "LICENSE: CC BY 2.0 FR" in out and "README: Corpus Name: Tatoeba" in out


def test_the_other_direction_needs_no_second_download(site, get):
    get("tatoeba", "en", "fa")
    out, pairs, _ = get("tatoeba", "fa", "en")
    assert pairs == [*zip(PERSIAN, ENGLISH, strict=True)]
    assert "was there already, and is whole" in out and len(site.requests) == 1


def test_manythings_becomes_a_tsv_with_the_columns_the_right_way_round(
    site, get, tmp_path
):
    site.answer = lambda h, n: h.serve(ANKI)
    for src, tgt in (("en", "fa"), ("pes", "eng")):
        out, pairs, given = get("manythings", src, tgt)
        sides = (ENGLISH, PERSIAN) if src == "en" else (PERSIAN, ENGLISH)
        assert pairs == [*zip(*sides, strict=True)]
        assert {given["--data.src-lang"], given["--data.tgt-lang"]} == {"en", "fa"}
    assert len(site.requests) == 1
    path = tmp_path / "my data" / "manythings-en-fa.tsv.gz"
    assert gzip.decompress(path.read_bytes()) == TSV.encode()  # attribution and all
    assert "_about.txt: ** Info **" in out
    assert zipfile.is_zipfile(path.with_name("manythings-en-fa.zip"))
    assert not list(path.parent.glob("*.tmp"))


def test_the_same_archive_gives_the_same_tsv(site, get, tmp_path):
    site.answer = lambda h, n: h.serve(ANKI)
    get("manythings", "en", "fa")
    path = tmp_path / "my data" / "manythings-en-fa.tsv.gz"
    before = path.read_bytes()
    path.unlink()
    get("manythings", "en", "fa")
    assert path.read_bytes() == before


def test_another_archive_gives_another_tsv(site, get, tmp_path):
    """One that a person put there too, in place of the first."""
    site.answer = lambda h, n: h.serve(ANKI)
    get("manythings", "en", "fa")
    path = tmp_path / "my data" / "manythings-en-fa.tsv.gz"
    before = path.stat().st_mtime_ns
    get("manythings", "en", "fa")
    assert path.stat().st_mtime_ns == before  # it is not written again for nothing
    more = {"pes.txt": TSV * 2, "_about.txt": ABOUT}
    path.with_name("manythings-en-fa.zip").write_bytes(make_zip(more))
    get("manythings", "en", "fa")
    assert gzip.decompress(path.read_bytes()) == (TSV * 2).encode()


def test_texts_that_are_called_by_their_language_alone_are_found(site, get):
    site.answer = lambda h, n: h.serve(make_zip({"x/en.txt": EN, "x/fa.txt": FA}))
    _, pairs, given = get("tatoeba", "en", "fa")
    assert pairs == [*zip(ENGLISH, PERSIAN, strict=True)]
    assert given["--data.src"].endswith(".zip:x/en.txt")


def test_an_archive_without_the_languages_is_told_and_kept(site, get, tmp_path):
    with pytest.raises(InputError) as caught:
        get("tatoeba", "en", "de")
    assert "one text of each language and has: README, LICENSE" in str(caught.value)
    assert (tmp_path / "my data" / "tatoeba-de-en.zip").read_bytes() == LARGE


def test_texts_that_are_not_in_step_are_told(site, get):
    site.answer = lambda h, n: h.serve(make_zip({**MOSES, "Tatoeba.en-fa.fa": FA + FA}))
    with pytest.raises(InputError, match="3 lines of en and 6 of fa, which are no"):
        get("tatoeba", "en", "fa")


def test_a_file_that_is_not_there_says_what_else_to_try(site, get, tmp_path):
    site.answer = lambda h, n: h.reply(404)
    with pytest.raises(InputError) as caught:
        get("tatoeba", "en", "fa")
    message = str(caught.value)
    assert "try --release v2026-07-08" in message and "--url" in message
    assert f"saved by hand as {tmp_path}" in message and "\n" not in message


def test_the_limits_of_the_command_line_arrive(site, get):
    with pytest.raises(InputError, match=r"more than the limit of 0\.01 MB"):
        get("tatoeba", "en", "fa", "--max-gb", "0.00001")


def test_the_list_fetches_nothing(site, capsys):
    download(["--list"])
    out = capsys.readouterr().out
    assert "manythings" in out and "never tried from here" in out
    assert site.requests == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "as in 'tatoeba en fa'; got nothing: --list"),
        (["tatoeba", "en"], "got tatoeba en: --list"),
        (["tatoeba", "en", "fa", "de"], "unknown argument 'de'"),
        (["tatoeba", "en", "fa", "--flder", "x"], "did you mean '--folder'?"),
        (["tatoeba", "en", "fa", "--timeout", "0"], "at most a million; got 0."),
        (["tatoeba", "en", "fa", "--timeout", "nan"], "at most a million; got nan"),
        (["tatoeba", "en", "fa", "--max-gb", "x"], "--max-gb must be a number"),
        (["tatoeba", "en", "fa", "--folder", ""], "--folder must be a path"),
        (["tatoba", "en", "fa"], "did you mean 'tatoeba'?"),
        (["tatoeba", "en", "fa", "--url", "file:///etc/passwd"], "http:// or https://"),
    ],
)
def test_a_bad_option_is_one_sentence(arguments, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        download(arguments)
    message = str(caught.value)
    assert expected in message and "\n" not in message and "│" not in message
    assert list(tmp_path.iterdir()) == []


def test_what_is_given_by_its_place_is_no_option():
    names = list(option_names(DownloadOptions))
    assert "folder" in names and not {"corpus", "src", "tgt"} & set(names)
