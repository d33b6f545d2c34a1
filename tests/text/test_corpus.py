"""Every fault that a corpus file can have, and what a person is told about it.

The files are written by the tests themselves; each test is named after the promise
that it keeps. Line feeds are written as bytes, so that a test means the same on every
system.
"""

import gzip
import hashlib
import json
import os
import struct
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flaxformer_mt.errors import InputError
from flaxformer_mt.text import corpus
from flaxformer_mt.text.corpus import (
    MAX_LINE_BYTES,
    Source,
    fingerprint,
    parse_source,
    read_lines,
    read_pairs,
)

REPOSITORY = Path(__file__).resolve().parents[2]
REAL_CORPORA = REPOSITORY.parent / "shared" / "data"

ENGLISH = ["Hello.", "How are you?", "I do not know."]
PERSIAN = ["سلام.", "حال شما چطور است؟", "نمی‌دانم."]

# What Python calls a line end besides "\n", and what a sentence may well contain.
SEPARATORS = "\u2028\u2029\u0085\v\f\x1c\x1d\x1e\r"


@pytest.fixture(autouse=True)
def _work_in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name: str, content: str | bytes) -> str:
    """Write a file into the current folder and return its name."""
    data = content if isinstance(content, bytes) else content.encode("utf-8")
    Path(name).write_bytes(data)
    return name


def write_lines(name: str, lines: list[str]) -> str:
    return write(name, "".join(f"{line}\n" for line in lines))


def write_zip(name: str, members: dict[str, str | bytes], method=None) -> str:
    method = zipfile.ZIP_DEFLATED if method is None else method
    with zipfile.ZipFile(name, "w", method) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return name


def read_all(spec: str, **options) -> list[str]:
    return list(read_lines(spec, **options))


def pairs_of(src: str, tgt: str) -> list[tuple[str, str]]:
    """Return all pairs, where nothing is expected to be noted."""
    return list(read_pairs(src, tgt, note=pytest.fail))


def message_of(spec: str, **options) -> str:
    """Return what a person is told when `spec` cannot be read to its end."""
    with pytest.raises(InputError) as caught:
        read_all(spec, **options)
    return one_sentence(str(caught.value))


def pairs_message(src: str, tgt: str) -> str:
    with pytest.raises(InputError) as caught:
        pairs_of(src, tgt)
    return one_sentence(str(caught.value))


def one_sentence(message: str) -> str:
    assert message.isprintable(), f"{message!r} would not fit on one line"
    assert message[-1] in ".?"
    assert ". " not in message
    return message


# ---- naming a source ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "path", "part"),
    [
        ("en.txt", "en.txt", None),
        ("en.txt.gz", "en.txt.gz", None),
        ("pairs.tsv:1", "pairs.tsv", "1"),
        ("pairs.tsv.gz:10", "pairs.tsv.gz", "10"),
        ("x.jsonl:en", "x.jsonl", "en"),
        ("x.jsonl:a:b", "x.jsonl", "a:b"),
        ("c.zip:deep/down/en.txt", "c.zip", "deep/down/en.txt"),
        ("c.zip:pairs.tsv:0", "c.zip", "pairs.tsv:0"),
        ("time 12:30.txt", "time 12:30.txt", None),
        ("C:\\data\\pairs.tsv:0", "C:\\data\\pairs.tsv", "0"),
        ("C:\\data\\en.txt", "C:\\data\\en.txt", None),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="Windows has no colons in file names")
def test_a_source_is_a_file_and_the_part_after_its_colon(spec, path, part):
    write(path, "x\n")
    assert parse_source(spec) == Source(Path(path), part)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no colons in file names")
def test_the_longest_name_that_is_a_file_wins():
    for name in ("a.jsonl", "a.jsonl:b.jsonl", "a.jsonl:b.jsonl:c"):
        write(name, "x\n")
    assert parse_source("a.jsonl:b.jsonl:c") == Source(Path("a.jsonl:b.jsonl:c"), None)
    assert parse_source("a.jsonl:b.jsonl:d") == Source(Path("a.jsonl:b.jsonl"), "d")
    assert parse_source("a.jsonl:c") == Source(Path("a.jsonl"), "c")


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write("en.txt", "x\n")
    assert parse_source("~/en.txt") == Source(tmp_path / "en.txt", None)


def test_a_missing_file_is_answered_with_its_path_and_a_similar_name():
    write("pairs.tsv", "a\tb\n")
    assert message_of("pair.tsv:0") == (
        "there is no file pair.tsv; did you mean pairs.tsv?"
    )
    assert "did you mean" not in message_of("something-else.txt")
    assert "nowhere/pairs.tsv" in message_of("nowhere/pairs.tsv:0").replace("\\", "/")
    assert "C:\\data\\en.txt:" in message_of("C:\\data\\en.txt")


def test_what_is_no_file_is_refused_at_the_call(tmp_path):
    Path("folder").mkdir()
    for spec, expected in [
        ("", "got an empty one"),
        (":0", "got an empty one"),
        (".", "got the folder ."),
        ("folder", "got the folder folder"),
        ("folder:en.txt", "got the folder folder"),
        ("nul\0.txt", "there is no file nul\\x00.txt"),
        ("nul\0/en.txt", "there is no file nul\\x00"),
        ("x" * 5000, "there is no file xxx"),
    ]:
        assert expected in message_of(spec)
        with pytest.raises(InputError):
            read_lines(spec)  # not only at the first line


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_and_does_not_hang():
    os.mkfifo("pipe.txt")  # a source is read more than once, which a pipe cannot be
    assert "pipe.txt is not a regular file" in message_of("pipe.txt")


def test_a_file_that_may_not_be_opened_is_one_sentence(monkeypatch):
    def refuse(path, mode):
        raise PermissionError(13, "Permission denied")

    write("en.txt", "x\n")
    monkeypatch.setattr(Path, "open", refuse)
    assert "en.txt cannot be opened: Permission denied" in message_of("en.txt")


def test_a_disk_that_fails_is_one_sentence(monkeypatch):
    class Failing:
        def read(self, size):
            raise OSError(5, "Input/output error")

    with pytest.raises(InputError, match="en.txt cannot be read: Input/output error"):
        list(corpus._blocks(Failing(), "en.txt cannot be read"))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            "a.tsv",
            "a.tsv needs a column number counted from 0, as in a.tsv:0, got none",
        ),
        ("a.tsv:", "got ''"),
        ("a.tsv:en", "got 'en'"),
        ("a.tsv:-1", "got '-1'"),
        ("a.tsv:٣", "got '٣'"),
        ("a.tsv:" + "9" * 5000, "needs a column number"),
        ("a.tsv.gz", "a.tsv.gz needs a column number"),
        ("a.jsonl", "a.jsonl needs the name of a key, as in a.jsonl:text"),
        ("a.txt:0", "a.txt is plain text and takes no part, got '0'"),
        ("a.txt:", "a.txt is plain text and takes no part, got ''"),
        ("a.tar.gz", "a.tar.gz must be unpacked first"),
        ("a.zip.gz:en.txt", "a.zip.gz must be unpacked first"),
        ("a.txt.xz", "a.txt.xz must be unpacked first"),
    ],
)
def test_a_part_that_does_not_suit_the_file_is_refused_at_the_call(spec, expected):
    write(spec.partition(":")[0], "x\n")
    with pytest.raises(InputError) as caught:
        read_lines(spec)
    assert expected in one_sentence(str(caught.value))


# ---- lines -------------------------------------------------------------------------


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


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 5, 7, 64])
def test_lines_do_not_depend_on_where_a_block_ends(monkeypatch, block_bytes):
    lines = ["", "a", "نمی‌دانم", "\U0001f600" * 9, "", "x\r", "y"]
    write("a.txt", "\ufeff" + "\r\n".join(lines))
    expected = read_all("a.txt")
    assert expected == lines
    monkeypatch.setattr(corpus, "BLOCK_BYTES", block_bytes)
    lines = list(corpus._lines(_in_blocks("a.txt", max(3, block_bytes)), "a.txt"))
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


def measured(spec: str, **options) -> tuple[str, int, float]:
    """Return the message, the peak of memory in bytes and the processor's seconds."""
    tracemalloc.start()
    begin = time.process_time()
    try:
        with pytest.raises(InputError) as caught:
            for _ in read_lines(spec, **options):
                pass
        seconds = time.process_time() - begin
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return one_sentence(str(caught.value)), peak, seconds


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


# ---- archives ----------------------------------------------------------------------


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


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_truncated_archive_is_refused_at_every_percent(method):
    text = "\n".join(f"{i * 7919 % 1000} سلام" for i in range(3000))
    write_zip("c.zip", {"en.txt": text, "fa.txt": text}, method)
    write("en.txt.gz", gzip.compress(text.encode("utf-8")))
    for name, member, words in [
        ("c.zip", ":fa.txt", "c.zip is not a readable zip"),
        ("en.txt.gz", "", "en.txt.gz is not a readable gzip file"),
    ]:
        whole = Path(name).read_bytes()
        for percent in range(100):
            write(name, whole[: len(whole) * percent // 100])
            message = message_of(name + member)
            assert words in message and "download it again" in message
        write(name, whole[:-1])
        assert words in message_of(name + member)


def test_damage_inside_an_archive_names_the_member():
    text = "".join(f"{i * 7919 % 1000}\n" for i in range(3000))
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        write_zip("c.zip", {"en.txt": text, "fa.txt": text}, method)
        whole = Path("c.zip").read_bytes()
        seen = set()
        for at in range(40, len(whole) // 3, 97):  # inside the data of en.txt
            write("c.zip", whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            seen.add(message_of("c.zip:en.txt").partition(" (damaged")[2][:18])
            assert read_all("c.zip:fa.txt")  # the other member is whole
        assert seen == {" at member en.txt)"}


def test_damage_inside_a_gzip_file_is_refused():
    text = "".join(f"{i * 7919 % 1000}\n" for i in range(3000))
    whole = gzip.compress(text.encode("utf-8"), mtime=0)
    for at in [*range(12, len(whole), 61), len(whole) - 1, len(whole) - 8]:
        write("a.txt.gz", whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        message = message_of("a.txt.gz")
        assert "a.txt.gz is not a readable gzip file" in message or "line" in message
    write("a.txt.gz", text)
    assert "download it again" in message_of("a.txt.gz")
    write("a.txt.gz", whole + b"rubbish")
    assert "download it again" in message_of("a.txt.gz")
    write("a.txt.gz", b"")
    assert "a.txt.gz is not a readable gzip file: it is empty" in message_of("a.txt.gz")


@pytest.mark.parametrize(
    "error",
    [
        zipfile.BadZipFile("x"),
        zlib.error("x"),
        RuntimeError("x"),
        NotImplementedError("x"),
        EOFError(),
        gzip.BadGzipFile("x"),
        struct.error("x"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"),
        OverflowError("x"),
        MemoryError(),
    ],
)
def test_whatever_the_libraries_raise_ends_in_one_sentence(error):
    with pytest.raises(InputError, match="^c.zip is bad: [^;]+; copy or"):
        with corpus._faults("c.zip is bad"):
            raise error


def patch_zip(name: str, *, at_local: int, at_central: int, value: bytes) -> None:
    """Overwrite a header field in both places where an archive has it."""
    data = bytearray(Path(name).read_bytes())
    for signature, offset in ((b"PK\3\4", at_local), (b"PK\1\2", at_central)):
        start = data.index(signature) + offset
        data[start : start + len(value)] = value
    Path(name).write_bytes(data)


def test_an_encrypted_member_is_said_to_be_encrypted():
    write_zip("c.zip", {"en.txt": "Hello.\n"})
    patch_zip("c.zip", at_local=6, at_central=8, value=b"\1\0")
    assert message_of("c.zip:en.txt") == (
        "c.zip:en.txt is encrypted: pack it again without a password."
    )


@pytest.mark.parametrize("number", [9, 99, 255])
def test_an_unknown_compression_method_is_named(number):
    write_zip("c.zip", {"en.txt": "Hello.\n"})
    patch_zip("c.zip", at_local=8, at_central=10, value=struct.pack("<H", number))
    assert f"compressed by method {number} (" in message_of("c.zip:en.txt")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_python_unpacks_without_a_bound_are_refused(method):
    write_zip("c.zip", {"en.txt": b"\n" * 10_000_000}, method)
    message, peak, _ = measured("c.zip:en.txt")
    assert "only stored and deflated members are read" in message
    assert peak < 2**20


def test_a_wrong_member_is_answered_with_the_right_ones():
    write_zip("c.zip", {"en.txt": "a\n", "fa.txt": "b\n", "sub/": ""})
    expected = "c.zip has no member 'x.txt'; the archive has: en.txt, fa.txt."
    assert message_of("c.zip:x.txt") == expected
    for member in ("sub/", "", "EN.TXT", "x.tsv:0"):
        assert f"no member {member!r}; the archive has" in message_of(f"c.zip:{member}")
    write_zip("many.zip", {f"{i}.txt": "" for i in range(1000)})
    assert message_of("many.zip:x").endswith("10.txt, 11.txt, and 988 more.")
    write_zip("nameless.zip", {"Xx.txt": ""})
    whole = Path("nameless.zip").read_bytes()
    write("nameless.zip", whole.replace(b"Xx.txt", b"\0x.txt"))  # ends at the NUL
    assert "no member 'x'; the archive has: nothing" in message_of("nameless.zip:x")
    write_zip("none.zip", {})
    assert "the archive has: nothing" in message_of("none.zip:en.txt")


@pytest.mark.parametrize("members", [["en.txt"], ["en.txt", "fa.txt"]])
def test_an_archive_is_never_read_without_the_name_of_a_member(members):
    write_zip("c.zip", {member: "a\n" for member in members})
    assert message_of("c.zip") == (
        "c.zip is an archive and needs the name of a member, as in c.zip:en.txt; the "
        f"archive has: {', '.join(members)}."
    )


def test_a_member_is_asked_for_its_own_part():
    write_zip("c.zip", {"p.tsv": "a\tb\n", "en.txt": "a\n", "in.zip": b"", "n.gz": b""})
    assert "c.zip:p.tsv needs a column number" in message_of("c.zip:p.tsv")
    assert "c.zip:en.txt is plain text and takes no" in message_of("c.zip:en.txt:0")
    assert "c.zip:in.zip is a zip inside a zip" in message_of("c.zip:in.zip")
    assert "c.zip:n.gz is not a readable gzip file" in message_of("c.zip:n.gz")


def test_two_members_of_one_name_are_refused():
    with pytest.warns(UserWarning, match="Duplicate name"):
        with zipfile.ZipFile("c.zip", "w") as archive:
            archive.writestr("en.txt", "first\n")
            archive.writestr("en.txt", "second\n")
            archive.writestr("fa.txt", "only\n")
    assert "c.zip has 2 members called 'en.txt'" in message_of("c.zip:en.txt")
    assert read_all("c.zip:fa.txt") == ["only"]


def test_a_bomb_is_refused_by_what_comes_out_of_it():
    bomb = (b"x" * 999 + b"\n") * 80_000  # 80 MB, just beyond the allowance
    write_zip("c.zip", {"en.txt": bomb})
    write("en.txt.gz", gzip.compress(bomb, compresslevel=9))
    assert len(bomb) / os.path.getsize("c.zip") > 300
    for spec in ("c.zip:en.txt", "en.txt.gz"):
        message, peak, seconds = measured(spec)
        assert f"{spec} unpacks to more than the limit of 67,108,864 bytes" in message
        assert peak < 4 * 2**20
        assert seconds < 5  # tracemalloc included


def test_a_bomb_of_empty_lines_or_of_zeros_is_refused():
    for bomb in (b"\n" * 10_000_000, b"a" + b"\0" * 10_000_000):
        write_zip("c.zip", {"en.txt": bomb})
        write_zip("c2.zip", {"en.txt.gz": gzip.compress(bomb)})
        for spec in ("c.zip:en.txt", "c2.zip:en.txt.gz"):
            _, peak, seconds = measured(spec, max_bytes=2**20)
            assert peak < 8 * 2**20
            assert seconds < 2


def test_a_bomb_inside_a_bomb_is_refused_though_nothing_comes_out_of_it():
    nothing = gzip.compress(b"", mtime=0) * 100_000  # 2 MB that unpack to no byte
    write_zip("c.zip", {"en.txt.gz": nothing})
    message = message_of("c.zip:en.txt.gz", max_bytes=2**20)
    assert "unpacks to more than the limit of 1,048,576 bytes" in message


@pytest.mark.parametrize("declared", [0, 10, 2**31])
def test_a_declared_size_is_not_believed(declared):
    write_zip("c.zip", {"en.txt": (b"x" * 99 + b"\n") * 300_000})
    size = struct.pack("<I", declared)
    patch_zip("c.zip", at_local=22, at_central=24, value=size)
    message, peak, seconds = measured("c.zip:en.txt", max_bytes=2**20)
    assert "c.zip" in message
    assert peak < 4 * 2**20
    assert seconds < 2


def test_a_declared_compressed_size_does_not_lift_the_limit(monkeypatch):
    with zipfile.ZipFile("c.zip", "w") as archive:
        bomb = (b"x" * 99 + b"\n") * 300_000
        archive.writestr("en.txt", bomb, zipfile.ZIP_DEFLATED)
        archive.writestr("padding.txt", os.urandom(2_000_000))
    patch_zip("c.zip", at_local=18, at_central=20, value=struct.pack("<I", 2**31 - 1))
    monkeypatch.setattr(corpus, "MAX_RATIO", 2)
    limit = 2 * os.path.getsize("c.zip")
    assert f"the limit of {limit:,} bytes" in message_of("c.zip:en.txt", max_bytes=1)


def test_text_that_shrinks_well_is_no_bomb_and_the_limit_can_be_raised(monkeypatch):
    text = b"".join(b"%d The same again.\n" % (i % 997) for i in range(20_000))
    write("en.txt.gz", gzip.compress(text))
    ratio = len(text) / os.path.getsize("en.txt.gz")
    assert 20 < ratio < 200
    assert len(read_all("en.txt.gz", max_bytes=0)) == 20_000  # the ratio allows it
    monkeypatch.setattr(corpus, "MAX_RATIO", ratio / 2)
    assert "unpacks to more than" in message_of("en.txt.gz", max_bytes=0)
    assert len(read_all("en.txt.gz", max_bytes=len(text))) == 20_000
    both = read_pairs("en.txt.gz", "en.txt.gz", note=pytest.fail, max_bytes=len(text))
    assert sum(1 for _ in both) == 20_000
    with pytest.raises(InputError, match="unpacks to more than"):
        list(read_pairs("en.txt.gz", "en.txt.gz", note=pytest.fail, max_bytes=0))
    write("one.txt", "a\n")
    with pytest.raises(InputError, match="source has 20,000 lines, target 1;"):
        list(read_pairs("en.txt.gz", "one.txt", note=print, max_bytes=len(text)))
    with pytest.raises(InputError, match="unpacks to more than"):
        fingerprint("en.txt.gz", max_bytes=0)


def test_a_plain_file_has_no_limit():
    write("en.txt", b"a\n" * 100_000)
    assert len(read_all("en.txt", max_bytes=0)) == 100_000


@pytest.mark.parametrize(
    "member", ["../../evil.txt", "/evil.txt", "..\\evil.txt", "sub/../evil.txt"]
)
def test_nothing_is_ever_written(tmp_path, member):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    link = zipfile.ZipInfo("link.txt")
    link.external_attr = 0o120777 << 16  # a symbolic link, as Unix archives have them
    with zipfile.ZipFile(inside / "c.zip", "w") as archive:
        archive.writestr(member, "Hello.\n")
        archive.writestr(link, "/etc/passwd")

    def tree():
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    before = tree()
    assert read_all(f"{inside / 'c.zip'}:{member}") == ["Hello."]
    assert read_all(f"{inside / 'c.zip'}:link.txt") == ["/etc/passwd"]
    assert tree() == before


def test_names_cannot_break_or_reorder_a_line_of_stderr():
    write_zip("c.zip", {"a\nb\x1b[31m.txt": "x\n", "\u202egnp.txt": b"\xff"})
    assert "a\\nb\\x1b[31m.txt, \\u202egnp.txt" in message_of("c.zip:x")
    assert "c.zip:\\u202egnp.txt line 1" in message_of("c.zip:\u202egnp.txt")


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


# ---- pairs -------------------------------------------------------------------------


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


# ---- identity and edits ------------------------------------------------------------


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


@pytest.mark.parametrize("edit", ["appended", "touched", "removed", "replaced", "cut"])
def test_a_file_that_is_edited_while_being_read_is_refused(edit):
    write_lines("en.txt", ["سلام"] * 50_000)
    lines = read_lines("en.txt")
    next(lines)
    seen = os.stat("en.txt")
    if edit == "appended":
        with open("en.txt", "ab") as file:
            file.write(b"more\n")
        os.utime("en.txt", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    elif edit == "touched":
        os.utime("en.txt", ns=(seen.st_atime_ns, seen.st_mtime_ns + 1_000_000_000))
    elif edit == "removed":
        os.remove("en.txt")
    elif edit == "replaced":
        write("new.txt", "other\n")
        os.replace("new.txt", "en.txt")
    else:
        os.truncate("en.txt", 100_000)  # in the middle of a character
    with pytest.raises(InputError, match="en.txt was edited while being read"):
        list(lines)


def test_an_edit_explains_the_damage_that_it_causes():
    text = "\n".join(str(i * 7919 % 100_003) for i in range(200_000))
    write_zip("c.zip", {"en.txt": text})
    lines = read_lines("c.zip:en.txt")
    next(lines)
    os.truncate("c.zip", os.path.getsize("c.zip") // 2)
    with pytest.raises(InputError, match="c.zip was edited while being read"):
        list(lines)


def test_a_reader_that_stops_early_closes_the_file():
    write_lines("en.txt", ["a"] * 10)
    opened = []
    real = Path.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", lambda *a: opened.append(real(*a)) or opened[-1])
        lines = read_lines("en.txt")
        next(lines)
        lines.close()
    assert [handle.closed for handle in opened] == [True]


# ---- size and truth ----------------------------------------------------------------


def test_memory_does_not_grow_with_the_file():
    write("en.txt", "یک جمله‌ی کوتاه\n" * 200_000)  # 6 MB
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_lines("en.txt")) == 200_000
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()


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
