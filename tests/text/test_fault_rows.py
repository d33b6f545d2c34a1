"""Rows of the fault table that no other test of the reader keeps, or keeps in part.

Each test is named after the promise that it keeps, with the row in its docstring.
"""

import gzip
import json
import os
import random
import re
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.corpus import fingerprint, read_pairs
from flaxformer_mt.text.lines import read_lines
from flaxformer_mt.text.sources import MAX_SHOWN, listed, printable, quoted
from flaxformer_mt.text.split import hash_fraction
from tests.conftest import ROOT
from tests.text.conftest import (
    message_of,
    one_sentence,
    read_all,
    write,
    write_lines,
    write_zip,
)

pytestmark = pytest.mark.usefixtures("empty_folder")

TATOEBA = ROOT.parent / "shared" / "data" / "tatoeba-en-fa" / "Tatoeba.zip"
needs_tatoeba = pytest.mark.skipif(
    not TATOEBA.is_file(), reason="no ../shared/data beside the repository"
)


# ---- a lost line -------------------------------------------------------------------


def hint(src: list[str], tgt: list[str]) -> str:
    """What is said of two sides with unequally many lines."""
    write_lines("src.txt", src)
    write_lines("tgt.txt", tgt)
    with pytest.raises(InputError) as caught:
        for _ in read_pairs("src.txt", "tgt.txt", note=pytest.fail):
            pass
    said = one_sentence(str(caught.value))
    return re.search(r"pair (.*) of src\.txt and", said)[1].replace(",", "")


def near(said: str) -> int:
    return int(re.fullmatch(r"near line ([0-9]+)", said)[1])


def without(lines: list[str], place: int, number: int = 1) -> list[str]:
    return lines[:place] + lines[place + number :]


@needs_tatoeba
@pytest.mark.parametrize("number", [1, 3])
def test_a_line_lost_from_a_real_corpus_is_found_within_a_few_lines(number):
    """Row D7: one line, or three together, at 50 random places of either side."""
    sides = [list(read_lines(f"{TATOEBA}:{name}.txt")) for name in ("en", "fa")]
    rng = random.Random(7)
    distances = []
    for _ in range(50):
        place, side = rng.randrange(len(sides[0]) - number), rng.randrange(2)
        changed = list(sides)
        changed[side] = without(sides[side], place, number)
        distances.append(abs(near(hint(*changed)) - place - 1))
    assert statistics.median(distances) <= 2
    assert max(distances) <= 20


@needs_tatoeba
@pytest.mark.parametrize("place", [0, 3838, 7676])
def test_a_line_lost_at_the_start_in_the_middle_or_at_the_end_is_found(place):
    """Row D7."""
    en, fa = (list(read_lines(f"{TATOEBA}:{name}.txt")) for name in ("en", "fa"))
    assert abs(near(hint(without(en, place), fa)) - place - 1) <= 5
    assert abs(near(hint(en, without(fa, place))) - place - 1) <= 5


def test_how_sentences_end_finds_a_line_that_lengths_cannot():
    """Row D7: all are equally long, and which ends belong together is not told."""
    rng = random.Random(3)
    marks = rng.choices(".?!", k=400)
    src = ["Word" + mark for mark in marks]
    tgt = ["واژه" + {".": "۔", "?": "؟", "!": "!"}[mark] for mark in marks]
    for place in (20, 200, 380):
        assert abs(near(hint(without(src, place), tgt)) - place - 1) <= 8


@pytest.mark.parametrize("letters", ["a", "abc"])
def test_where_nothing_tells_the_place_no_place_is_named(letters):
    """Row D7: toy files, whose lines have nothing to do with one another."""
    rng = random.Random(5)
    src, tgt = (
        [
            "".join(rng.choices(letters, k=rng.randint(1, len(letters))))
            for _ in range(n)
        ]
        for n in (1000, 999)
    )
    assert hint(src, tgt) == "somewhere in lines 1 to 1000"
    # Of a few lines any is near.
    assert near(hint(src[:20], tgt[:19])) <= 20


def test_a_hint_is_there_for_the_smallest_files():
    """Row D7."""
    assert near(hint(["a"], [])) == 1
    assert near(hint([], ["a"])) == 1
    assert near(hint(["a", "b"], ["c"])) <= 2


# ---- line ends ---------------------------------------------------------------------


def test_no_container_keeps_a_carriage_return_of_a_line_end():
    """Row D9: CRLF, LF and a missing last line end, mixed."""
    text, tsv = "one\r\ntwo\nthree", "x\tone\r\nx\ttwo\nx\tthree\r\n"
    jsonl = "\r\n".join(json.dumps({"t": word}) for word in ("one", "two", "three"))
    write("a.txt", text)
    write("a.txt.gz", gzip.compress(text.encode()))
    write("a.tsv", tsv)
    write("a.jsonl", jsonl)
    write_zip("a.zip", {"a.txt": text, "a.tsv": tsv, "a.jsonl": jsonl})
    for spec in (
        *("a.txt", "a.txt.gz", "a.tsv:1", "a.jsonl:t"),
        *("a.zip:a.txt", "a.zip:a.tsv:1", "a.zip:a.jsonl:t"),
    ):
        assert read_all(spec) == ["one", "two", "three"], spec


# ---- not UTF-8 ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "codec", "guess"),
    [
        ("سلام", "cp1256", "Windows-1256"),
        ("Hello سلام", "cp1256", "Windows-1256"),  # more Latin letters than others
        ("Tom به خانه رفت\nI am Tom.", "cp1256", "Windows-1256"),
        ("Tom گفت «OK»", "cp1256", "Windows-1256"),
        ("نمي\u200cدانم", "cp1256", "Windows-1256"),
        ("é", "cp1252", "Windows-1252"),
        ("créée", "cp1252", "Windows-1252"),
        ("“Où?”", "cp1252", "Windows-1252"),
        ("wait… – no", "cp1252", "Windows-1252"),
        ("нет", "cp1251", "a Windows code page"),
        ("Tom сказал да", "cp1251", "a Windows code page"),
        ("چه گربه", "cp1256", "Windows-1256"),
        ("γεια", "cp1253", "a Windows code page"),
        ("A", "utf-16-le", "UTF-16"),
        ("A", "utf-16-be", "UTF-16"),
        ("س", "utf-16", "UTF-16"),
    ],
)
def test_the_encoding_of_a_very_short_file_is_guessed(text, codec, guess):
    """Row D11."""
    write("a.txt", text.encode(codec))
    assert f"looks like {guess}" in message_of("a.txt")


def test_lines_further_down_help_to_guess_the_encoding():
    """Row D11: the first bad line has one letter of Persian, which is Latin, too."""
    lines = ["fine", "a و b", "fine", "او به خانه رفت", "حال شما چطور است؟"]
    write("a.txt", "\n".join(lines[:3]).encode("cp1256"))
    assert "looks like Windows-1252" in message_of("a.txt")
    write("a.txt", "\n".join(lines).encode("cp1256"))
    message = message_of("a.txt")
    assert message.startswith("a.txt line 2, byte 3: not UTF-8")
    assert "looks like Windows-1256" in message


# ---- messages ----------------------------------------------------------------------


def test_a_long_name_loses_its_middle_in_a_message():
    """Row D31: a line on stderr is no page."""
    assert printable("x" * MAX_SHOWN) == "x" * MAX_SHOWN
    shown = printable("start" + "x" * 10**6 + "\n.txt")
    assert shown.startswith("start") and shown.endswith("\\n.txt") and "…" in shown
    assert len(shown) == MAX_SHOWN + 1
    assert len(printable("\U000e0001" * 10**6)) == MAX_SHOWN + 1
    assert quoted("en") == "'en'" and len(quoted("\n" * 10**6)) == MAX_SHOWN + 1
    assert len(listed(["y" * 10**6] * 100)) < 12 * 90


def test_what_a_file_says_of_itself_is_no_page_on_stderr():
    """Row D31: names and keys of megabytes, found by the fuzzer."""
    write("p.jsonl", json.dumps({"k" * 900_000: "x", "l": "y"}))
    assert "there is no key 'en', only kkk" in message_of("p.jsonl:en")
    write_zip("c.zip", {"x" * 60_000: "a\n", "y" * 60_000: "b\n", "d.txt": b"\xff"})
    for spec in (
        *("p.jsonl:en", "p.jsonl:" + "k" * 5000),
        *("c.zip:none", "c.zip:" + "z" * 60_000, "c.zip"),
    ):
        assert len(message_of(spec)) < 2000, spec
    write_zip("c.zip", {"en.txt": "a\n" * 50_000, "fa.txt": "b\n"}, zipfile.ZIP_STORED)
    data = bytearray(Path("c.zip").read_bytes())
    data[26:28] = b"\xff\xff"  # the length of the name, in the member's own header
    write("c.zip", bytes(data))
    message = message_of("c.zip:en.txt")
    assert "(damaged at member en.txt)" in message and len(message) < 2000


@pytest.mark.parametrize("fault", ["a line too few", "a letter that is not UTF-8"])
def test_no_file_stays_open_after_a_refusal(fault, monkeypatch):
    """Row D31: the side that had no fault is closed as well, and at once."""
    write_lines("src.txt", ["a"] * 50_000)
    write("tgt.txt", b"b\n\xff\n" if "UTF-8" in fault else b"b\n")
    opened, real = [], Path.open
    monkeypatch.setattr(Path, "open", lambda *a: opened.append(real(*a)) or opened[-1])
    with pytest.raises(InputError):
        list(read_pairs("src.txt", "tgt.txt", note=pytest.fail))
    assert len(opened) >= 2 and all(handle.closed for handle in opened)


# ---- the same everywhere -----------------------------------------------------------

PLAIN_LOCALE = {
    **{k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))},
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "ascii",
}


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    """A process of its own, in a locale that knows nothing but ASCII."""
    return subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**PLAIN_LOCALE, "PYTHONPATH": str(ROOT), **environment},
    )


def test_a_corpus_is_the_same_text_in_every_locale():
    """Row D30: bytes are UTF-8 whatever the machine is set to."""
    text = "سلام\u2028é\r\nنمی‌دانم\n"
    write("a.txt", text)
    write("a.txt.gz", gzip.compress(text.encode()))
    write("a.jsonl", json.dumps({"t": "سلام é"}, ensure_ascii=False) + "\n")
    write_zip("a.zip", {"a.txt": text, "p.tsv": text})
    write("v.json", json.dumps(list("سلام é"), ensure_ascii=False))
    specs = ["a.txt", "a.txt.gz", "a.jsonl:t", "a.zip:a.txt", "a.zip:p.tsv:0"]
    done = python(
        "import sys\n"
        "from flaxformer_mt.text.corpus import fingerprint\n"
        "from flaxformer_mt.text.vocabulary import *\n"
        f"print([fingerprint(spec) for spec in {specs!r}])\n"
        "vocabulary = read_character_vocabulary('v.json', Specials())\n"
        "print(ascii(vocabulary.tokens[-6:]), sys.stdout.encoding)\n"
    )
    assert done.returncode == 0, done.stderr
    here = [fingerprint(spec) for spec in specs]
    expected = f"{here}\n{tuple('سلام é')!a} ascii\n"
    assert done.stdout.decode("ascii").replace("\r", "") == expected


def test_an_error_about_a_persian_name_is_one_line_in_every_locale():
    """Row D30."""
    done = python(
        "import sys\n"
        "from flaxformer_mt.command_line import run_door\n"
        "from flaxformer_mt.text.lines import read_lines\n"
        "run_door(lambda _: list(read_lines('\\u0641\\u0627.txt')))\n"
    )
    assert done.returncode == 2
    said = done.stderr.decode("ascii")
    assert said.startswith("error: there is no file ") and said.count("\n") == 1


def test_a_pipe_that_breaks_while_a_corpus_is_shown_is_quiet():
    """Row D29: a door that prints lines as it reads them, into `| head`."""
    write_lines("a.txt", ["a line"] * 100_000)
    code = (
        "from flaxformer_mt.command_line import run_door; "
        "from flaxformer_mt.text.lines import read_lines; "
        "run_door(lambda _: [print(line) for line in read_lines('a.txt')])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as child:
        assert child.stdout.readline().strip() == b"a line"
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait() in (0, 141)


def test_where_a_pair_goes_is_the_same_on_every_machine():
    """Row D22, golden: see test_split for what a change of these numbers means."""
    golden = {
        "": 0.8894159948913374,
        "Hello.\tسلام.": 0.8519572238953865,
        "a\u2028b\tنمی\u200cدانم": 0.7124067626208654,
        "\U0001f600\t" + "x" * 1000: 0.9053109286319249,
    }
    assert {text: hash_fraction(text) for text in golden} == golden
    code = (
        "from flaxformer_mt.text.split import hash_fraction, split_pairs; "
        f"print(ascii([hash_fraction(text) for text in {list(golden)!a}])); "
        "pairs = [(f'source {i}', f'target {i % 40}') for i in range(99)]; "
        "print(split_pairs(pairs, validation=0.3, test=0.3))"
    )
    said = {python(code, PYTHONHASHSEED=seed).stdout for seed in ("0", "1", "random")}
    assert len(said) == 1
    assert said.pop().decode("ascii").startswith(ascii(list(golden.values())))
