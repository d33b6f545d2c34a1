"""The door `translate`: a line out for each line in, whatever the line is."""

import io
import itertools
import os
import subprocess
import sys

import pytest

from flaxformer_mt import translate as door
from flaxformer_mt.errors import InputError, StorageError
from flaxformer_mt.line_stream import Pace, PrefixedLine
from flaxformer_mt.translate import (
    MOST_EXPLAINED,
    check_page,
    converse,
    lines_to_explain,
    read_input,
    write_page,
)
from flaxformer_mt.translate_options import TranslateOptions
from tests.fake_translator import FakeTranslator

# ---- the input ---------------------------------------------------------------------


def test_the_lines_come_with_their_prefixes(tmp_path):
    stdin = io.BytesIO(b"one\ntwo\n")
    read = list(
        read_input(TranslateOptions(prefix="x"), stdin, Pace("x"), is_file=True)
    )
    assert read == [PrefixedLine("one", "x"), PrefixedLine("two", "x")]
    (tmp_path / "p.tsv").write_bytes("0\tالف\n0\t\n".encode())
    options = TranslateOptions(prefixes=f"{tmp_path / 'p.tsv'}:1")
    stdin.seek(0)
    read = list(read_input(options, stdin, Pace("x"), is_file=True))
    assert read == [PrefixedLine("one", "الف"), PrefixedLine("two", "")]


# ---- the page ----------------------------------------------------------------------


def test_a_page_that_cannot_be_written_is_refused_before_any_work(
    tmp_path, monkeypatch
):
    for page, words in (
        (tmp_path / "none" / "a.html", "not: make it first"),
        (tmp_path, "is a folder: add a name"),
    ):
        with pytest.raises(InputError, match=words):
            door.translate(["--explain", str(page)])
    check_page(str(tmp_path / "new.html"))
    monkeypatch.setattr(door.os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="cannot: choose another"):
        check_page(str(tmp_path / "new.html"))
    assert not any(tmp_path.iterdir())


def test_a_page_takes_so_many_lines_and_no_more():
    line = PrefixedLine("a")
    some = itertools.chain([None], itertools.repeat(line, MOST_EXPLAINED), [None])
    translator = FakeTranslator()
    assert lines_to_explain(translator, some) == [line] * MOST_EXPLAINED
    with pytest.raises(InputError, match=r"at most 100 lines.*head -n 100"):
        # Endless: it stops in time.
        lines_to_explain(translator, itertools.repeat(line))
    with pytest.raises(InputError, match="at least one line that is not empty"):
        lines_to_explain(translator, [PrefixedLine(" "), None])
    long = [line, PrefixedLine(" "), PrefixedLine("too long")]
    with pytest.raises(InputError, match="line 3: this text is longer"):
        lines_to_explain(translator, long)


def test_the_page_explains_each_line_that_is_not_empty(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(door, "explanation_page", lambda parts, title: f"{parts}")
    page, translator = tmp_path / "page.html", FakeTranslator()
    options = TranslateOptions(explain=str(page), beam=2)
    lines = [PrefixedLine("a", "x"), PrefixedLine(""), PrefixedLine("b", "")]
    write_page(translator, lines, options)
    assert page.read_text(encoding="utf-8") == "[('a', 'x'), ('b', '')]"
    assert {asked["search"] for asked in translator.asked} == {options.search()}
    assert "page.html" in capsys.readouterr().err
    page.unlink()
    page.mkdir()
    with pytest.raises(StorageError):
        write_page(translator, lines, options)


# ---- at a terminal -----------------------------------------------------------------


def talk(monkeypatch, capsys, texts, **options) -> tuple[str, str]:
    """What a conversation shows: (on stdout, on stderr)."""
    said = iter(texts)

    def ask(prompt):
        for text in said:
            return text
        raise EOFError

    monkeypatch.setattr("builtins.input", ask)
    converse(FakeTranslator(), TranslateOptions(**options))
    return capsys.readouterr()


def test_at_a_terminal_it_asks_for_one_sentence_after_another(monkeypatch, capsys):
    out, _ = talk(monkeypatch, capsys, ["سلام", "Hello."])
    assert out == "\u2068سلام\u2069\nHELLO.\n"


def test_a_conversation_shows_scores_and_several_translations(monkeypatch, capsys):
    out, _ = talk(monkeypatch, capsys, ["a"], scores=True)
    assert out == "-1.250000\tA\n"
    out, _ = talk(monkeypatch, capsys, ["a", "سلام"], beam=2, n_best=2)
    assert out == (
        "1\t-1.250000\tA\n1\t-2.250000\tA+\n"
        "2\t-1.250000\t\u2068سلام\u2069\n2\t-2.250000\t\u2068سلام+\u2069\n"
    )
    out, _ = talk(monkeypatch, capsys, ["سلام"], json=True)
    assert "\u2068" not in out and out.startswith('{"line": 1, ')


def test_a_conversation_goes_on_after_a_line_that_cannot_be_translated(
    monkeypatch, capsys
):
    out, err = talk(monkeypatch, capsys, ["too long", "hi!"])
    assert out == "HI!\n"
    assert "longer than the model reads" in err and "translated in pieces" in err


def test_a_conversation_has_no_file_of_prefixes(monkeypatch, capsys):
    with pytest.raises(InputError, match=r"add < input\.txt"):
        talk(monkeypatch, capsys, [], prefixes="file")


# ---- the program -------------------------------------------------------------------


def translate(text: bytes, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "flaxformer_mt.translate", *arguments]
    return subprocess.run(command, input=text, capture_output=True)


LINES = b"\nWhere is the book?\n\n  \nI drink tea.\n\n"


def test_the_starter_model_translates_a_file_line_by_line():
    """Rows N11 and D30: empty lines stay empty, bytes are UTF-8 everywhere."""
    done = translate(LINES)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode("utf-8").split("\n")
    assert [bool(line) for line in lines] == [False, True, False, False, True] + [
        False
    ] * 2
    assert "\u2068" not in done.stdout.decode("utf-8")
    sampled = [
        translate(
            LINES, "--sample", "--temperature", "0.7", "--top-k", "12", "--seed", s
        )
        for s in ("7", "7", "8")
    ]
    assert sampled[0].stdout == sampled[1].stdout
    assert sampled[0].stdout.count(b"\n") == LINES.count(b"\n")


def test_characters_that_are_unknown_are_counted_on_stderr():
    """Row N12."""
    done = translate("\U0001f600 Hello.\n".encode())
    assert done.returncode == 0 and done.stdout.count(b"\n") == 1
    told = done.stderr.decode("utf-8")
    assert "1 character that the model has never seen was" in told


def test_input_that_is_not_utf8_is_one_sentence():
    done = translate("\ncafé\n".encode("latin-1"))
    assert done.returncode == 2 and done.stdout == b"\n"
    assert done.stderr.decode().startswith(
        "error: standard input must be UTF-8; line 2"
    )


def test_a_reader_that_has_enough_is_no_error():
    """Row D29."""
    command = f'"{sys.executable}" -m flaxformer_mt.translate | head -n 1'
    text = b"Hello.\n" * 3000
    done = subprocess.run(command, shell=True, input=text, capture_output=True)
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == 1
    assert b"Traceback" not in done.stderr and b"Broken" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_behind_stdout_is_one_sentence():
    command = f'"{sys.executable}" -m flaxformer_mt.translate > /dev/full'
    done = subprocess.run(command, shell=True, input=b"Hello.\n", capture_output=True)
    assert done.returncode == StorageError.exit_code
    assert done.stderr.decode().splitlines()[-1] == (
        "error: the output cannot be written: No space left on device."
    )
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_is_closed_is_no_traceback(closed):
    """Row D29."""
    command = f'"{sys.executable}" -m flaxformer_mt.translate {closed}'
    text = None if closed == "<&-" else b"Hello.\n"
    done = subprocess.run(command, shell=True, input=text, capture_output=True)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert done.stdout.count(b"\n") == (closed == "2>&-")
