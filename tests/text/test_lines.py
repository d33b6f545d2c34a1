"""Every fault that a line can have, and what a person is told about it.

Each test is named after the promise that it keeps.
"""

import gzip
import os
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from flaxformer_mt.errors import InputError
from flaxformer_mt.text import lines as room
from flaxformer_mt.text.lines import MAX_LINE_BYTES, read_lines
from tests.text.conftest import (
    measured,
    message_of,
    read_all,
    write,
    write_lines,
    write_zip,
)

pytestmark = pytest.mark.usefixtures("empty_folder")

ENGLISH = ["Hello.", "How are you?", "I do not know."]
PERSIAN = ["سلام.", "حال شما چطور است؟", "نمی‌دانم."]


# ---- lines -------------------------------------------------------------------------


def test_a_disk_that_fails_is_one_sentence(monkeypatch):
    class Failing:
        def read(self, size):
            raise OSError(5, "Input/output error")

    with pytest.raises(InputError, match=r"en\.txt cannot be read: Input/output error"):
        list(room._blocks(Failing(), "en.txt cannot be read"))


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 5, 7, 64])
def test_lines_do_not_depend_on_where_a_block_ends(monkeypatch, block_bytes):
    lines = ["", "a", "نمی‌دانم", "\U0001f600" * 9, "", "x\r", "y"]
    write("a.txt", "\ufeff" + "\r\n".join(lines))
    expected = read_all("a.txt")
    assert expected == lines
    monkeypatch.setattr(room, "BLOCK_BYTES", block_bytes)
    lines = list(room._lines(_in_blocks("a.txt", max(3, block_bytes)), "a.txt"))
    assert lines == expected


def _in_blocks(name: str, size: int):
    data = Path(name).read_bytes()
    return iter([data[at : at + size] for at in range(0, len(data), size)])


def test_both_line_ends_may_be_mixed_and_leave_no_trace():
    write("a.txt", b"one\r\ntwo\nthree\r\n\r\nfour\rfive\r")
    assert read_all("a.txt") == ["one", "two", "three", "", "four\rfive"]
    write("a.txt", b"one\r\r\n")
    assert read_all("a.txt") == ["one\r"]  # one is the line end's, one is the text's
    write("a.tsv", b"one\tuno\r\ntwo\tdos\r\n")
    assert read_all("a.tsv:1") == ["uno", "dos"]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\xef\xbb\xbf", []),
        (b"\n", [""]),
        (b"\r\n", [""]),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\n\n\n", ["a", "", ""]),
        (b"\xef\xbb\xbf\n", [""]),
    ],
)
def test_lines_are_counted_as_wc_counts_them(content, lines):
    write("a.txt", content)
    write("a.txt.gz", gzip.compress(content))
    write_zip("a.zip", {"a.txt": content})
    for spec in ("a.txt", "a.txt.gz", "a.zip:a.txt"):
        assert read_all(spec) == lines


def test_a_byte_order_mark_is_removed_once_and_at_the_start_only():
    content = "\ufeff\ufeffone\n\ufefftwo\n"
    write("a.txt", content)
    write_zip("a.zip", {"a.txt": content})
    assert read_all("a.txt") == ["\ufeffone", "\ufefftwo"]
    assert read_all("a.zip:a.txt") == ["\ufeffone", "\ufefftwo"]
    write("a.jsonl", '\ufeff{"en": "one"}\n')
    assert read_all("a.jsonl:en") == ["one"]


def test_a_line_may_be_as_long_as_the_limit_and_no_longer():
    line = "x" * MAX_LINE_BYTES
    write("a.txt", f"a\n{line}\r\n"[:-2] + "\nb\n")
    assert [len(text) for text in read_lines("a.txt")] == [1, MAX_LINE_BYTES, 1]
    for end in ("\n", ""):
        write("a.txt", f"a\n{line}x{end}")
        assert message_of("a.txt") == (
            "a.txt line 2 is longer than the limit of 1,048,576 bytes: expected one "
            "sentence a line."
        )


def test_an_endless_line_is_refused_in_bounded_memory():
    with open("a.txt", "wb") as file:
        file.truncate(100 * 2**20)  # zeros, which take no room on most disks
    write("b.txt.gz", gzip.compress(b"x" * (60 * 2**20)))
    write_zip("c.zip", {"c.txt": b"x" * (60 * 2**20)})
    # Zeros alone look like UTF-16, so they start with an honest block of text.
    with open("a.txt", "r+b") as file:
        file.write(b"x" * 5000)
    for spec in ("a.txt", "b.txt.gz", "c.zip:c.txt"):
        message, peak, _ = measured(spec)
        assert "line 1 is longer than the limit" in message
        assert peak < 8 * 2**20


@pytest.mark.parametrize(
    ("line", "byte", "guess"),
    [
        ("déjà vu".encode("cp1252"), 2, "looks like Windows-1252"),
        ("À bientôt".encode("cp1252"), 1, "looks like Windows-1252"),
        ("café".encode("latin-1"), 4, "looks like Windows-1252"),
        ("حال شما چطور است".encode("cp1256"), 1, "looks like Windows-1256"),
        ("پژوهشگر گفت که چه".encode("cp1256"), 1, "looks like Windows-1256"),
        ("привет, как дела".encode("cp1251"), 1, "looks like a Windows code page"),
        (b"a \xc0\xaf b", 3, "an overlong form"),
        (b"a \xe0\x80\xaf b", 3, "an overlong form"),
        (b"a \xf0\x80\x80\xaf b", 3, "an overlong form"),
        (b"a \xed\xa0\xbd\xed\xb8\x80 b", 3, "half of a surrogate pair"),
        ("سلام دنیا".encode()[:-1], 16, "it was damaged here"),
        (b"\xff", 1, "looks like Windows"),
    ],
)
def test_what_is_not_utf8_is_refused_with_its_place_and_a_guess(line, byte, guess):
    good = "خوب است\n".encode() * 3411  # more than a block, so that lines are counted
    write("en.txt", good + line + b"\n" + good)
    message = message_of("en.txt")
    assert message.startswith(f"en.txt line 3,412, byte {byte}: not UTF-8 (")
    assert guess in message
    write_zip("c.zip", {"en.txt": good + line})
    assert f"c.zip:en.txt line 3,412, byte {byte}: not" in message_of("c.zip:en.txt")


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("lines", [ENGLISH, PERSIAN, ["Привет, как дела?"] * 3, ["Hi"]])
def test_utf16_is_recognised_even_where_its_bytes_happen_to_be_utf8(codec, lines):
    write("en.txt", "\n".join(lines).encode(codec))
    assert "looks like UTF-16" in message_of("en.txt")


def test_utf16_without_a_space_is_recognised_by_its_byte_order_mark():
    write("zh.txt", "你好世界".encode("utf-16"))
    assert "looks like UTF-16" in message_of("zh.txt")


def test_a_file_packed_under_a_plain_name_is_recognised():
    write("en.txt", gzip.compress(b"Hello.\n" * 9))
    assert "looks like gzip" in message_of("en.txt")
    write_zip("en.txt", {"en.txt": os.urandom(999)}, zipfile.ZIP_STORED)
    assert "looks like a zip" in message_of("en.txt")


def test_a_stray_nul_reaches_the_filters_that_count_it():
    write("en.txt", "Hello, how are\0 you today?\n" + "I am fine.\n" * 20)
    assert "\0" in read_all("en.txt")[0]


# ---- columns and keys --------------------------------------------------------------


def test_a_row_without_the_column_is_refused_with_its_line():
    write_lines("p.tsv", ["a\tb\tc"] * 1999 + ["a\tb", "a\tb\tc"])
    assert read_all("p.tsv:1") == ["b"] * 2001
    assert message_of("p.tsv:2") == (
        "p.tsv line 2,000 has 2 columns, expected at least 3 (column 2, counted from "
        "0): mend the line or leave it out."
    )
    write_lines("p.tsv", ["a"])
    assert "p.tsv line 1 has 1 column, expected at least 2" in message_of("p.tsv:1")


def test_quotes_empty_cells_and_extra_columns_are_taken_as_they_are():
    write_lines("p.tsv", ['"one\tuno"', "\t", "x\ty\tz\t", "", ' " \t'])
    assert read_all("p.tsv:0") == ['"one', "", "x", "", ' " ']
    assert read_all("p.tsv:1") == ['uno"', "", "y", "", ""]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON at character 2"),
        ("Hello.", "not JSON at character 1"),
        ('{"en": "a"} {"en": "b"}', "not JSON at character 13 (Extra data)"),
        ('["en"]', "it is a list, not an object"),
        ("null", "it is a NoneType, not an object"),
        ('{"EN": "a", "fa": "b"}', "there is no key 'en', only EN, fa"),
        ("{}", "there is no key 'en', only nothing"),
        ('{"en": null}', "the value of 'en' is a NoneType, no text"),
        ('{"en": 3}', "the value of 'en' is a int, no text"),
        ('{"en": "a", "en": "b"}', "a key is there twice"),
        ('{"en": "a", "x": {"y": 1, "y": 2}}', "a key is there twice"),
        ('{"en": "a", "x": NaN}', "NaN is not JSON"),
        ('{"en": "a", "x": -Infinity}', "-Infinity is not JSON"),
        ('{"en": "a", "x": ' + "1" * 5000 + "}", "4300 digits"),
        ("[" * 100_000, "nested too deeply"),
        ('{"en": "\\ud800"}', "the text of 'en' has half a surrogate pair"),
        ('{"en": "a\\nb"}', "the text of 'en' has a line break in it"),
        ('{"en": "a\tb"}', "Invalid control character"),
        (" ", "not JSON at character"),
    ],
)
def test_a_line_that_is_not_the_json_we_want_is_refused(line, reason):
    write_lines("p.jsonl", ['{"en": "fine"}'] * 1233 + [line])
    message = message_of("p.jsonl:en")
    assert message.startswith("p.jsonl line 1,234: ")
    assert reason in message
    assert "expected one JSON object with a text under 'en'" in message


def test_a_whole_surrogate_pair_is_one_character():
    write_lines("p.jsonl", ['{"en": "\\ud83d\\ude00 \\u2028"}'])
    assert read_all("p.jsonl:en") == ["\U0001f600 \u2028"]


# ---- size --------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_file():
    write("en.txt", "یک جمله‌ی کوتاه\n" * 200_000)  # 6 MB
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_lines("en.txt")) == 200_000
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()
