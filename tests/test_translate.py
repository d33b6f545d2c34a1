"""The door `translate`: a line out for each line in, whatever the line is."""

import io
import subprocess
import sys

import pytest

from flaxformer_mt.decoding.translator import Report
from flaxformer_mt.errors import InputError
from flaxformer_mt.translate import (
    TranslateOptions,
    converse,
    input_lines,
    translate_lines,
)


class Echo:
    """A translator that gives back what it gets, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def decode(self, texts, opts, *, seed, first_line):
        self.asked.append((len(texts), first_line))
        return list(texts), Report(unknown={"x": 1}, split=1)


def test_lines_are_split_at_line_feeds_alone():
    odd = "a\u2028b\x0bc\x85d\x1ce\rf"
    stream = io.BytesIO(f"\ufeff{odd}\r\n\n last".encode())
    assert list(input_lines(stream)) == [odd, "", " last"]


def test_a_line_that_is_not_utf8_is_named():
    stream = io.BytesIO(b"good\nbad \xff\n")
    with pytest.raises(InputError, match="line 2, byte 5 is not"):
        list(input_lines(stream))


def test_output_has_the_lines_of_the_input_in_order_over_many_chunks():
    translator, output = Echo(), io.BytesIO()
    lines = [f"line {i}" if i % 7 else "" for i in range(2500)]
    report = translate_lines(translator, lines, TranslateOptions(), output)
    assert output.getvalue().decode().split("\n") == [*lines, ""]
    assert translator.asked == [(1024, 0), (1024, 1024), (452, 2048)]
    assert report.unknown == {"x": 3} and report.split == 3


def test_a_translation_is_one_line_even_if_it_holds_a_line_feed():
    output = io.BytesIO()
    translate_lines(Echo(), ["a\nb", "c"], TranslateOptions(), output)
    assert output.getvalue() == b"a b\nc\n"


def test_at_a_terminal_it_asks_for_one_sentence_after_another(monkeypatch, capsys):
    said = iter(["سلام", "Hello."])

    def ask(prompt):
        for text in said:
            return text
        raise EOFError

    monkeypatch.setattr("builtins.input", ask)
    translator = Echo()
    converse(translator, TranslateOptions())
    assert capsys.readouterr().out == "\u2068سلام\u2069\nHello.\n"
    assert translator.asked == [(1, 0), (1, 1)]


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
    done = translate("café\n".encode("latin-1"))
    assert done.returncode == 2
    assert done.stderr.decode().startswith(
        "error: standard input must be UTF-8; line 1"
    )


def test_a_reader_that_has_enough_is_no_error():
    """Row D29."""
    command = f'"{sys.executable}" -m flaxformer_mt.translate | head -n 1'
    text = b"Hello.\n" * 3000
    done = subprocess.run(command, shell=True, input=text, capture_output=True)
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == 1
    assert b"Traceback" not in done.stderr and b"Broken" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_is_closed_is_no_traceback(closed):
    """Row D29."""
    command = f'"{sys.executable}" -m flaxformer_mt.translate {closed}'
    text = None if closed == "<&-" else b"Hello.\n"
    done = subprocess.run(command, shell=True, input=text, capture_output=True)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert done.stdout.count(b"\n") == (closed == "2>&-")
