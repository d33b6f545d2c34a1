"""Every fault that a file, an archive or a gzip can have, and what a person is told.

Each test is named after the promise that it keeps.
"""

import gzip
import os
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from flaxformer_mt.errors import InputError
from flaxformer_mt.text import sources
from flaxformer_mt.text.lines import read_lines
from flaxformer_mt.text.sources import Source, parse_source
from tests.text.conftest import (
    measured,
    message_of,
    one_sentence,
    read_all,
    write,
    write_lines,
    write_zip,
)

pytestmark = pytest.mark.usefixtures("empty_folder")


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


# ---- archives ----------------------------------------------------------------------


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
    with (
        pytest.raises(InputError, match=r"^c\.zip is bad: [^;]+; copy or"),
        sources.faults("c.zip is bad"),
    ):
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
    write_zip("c.zip", dict.fromkeys(members, "a\n"))
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
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile("c.zip", "w") as archive,
    ):
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


def test_a_bomb_of_bare_line_ends_hands_out_few_of_them():
    """Row D5: as bytes they are within the allowance; as lines they take longest."""
    write_zip("c.zip", {"en.txt": b"\n" * 60_000_000})
    lines, handed_out = read_lines("c.zip:en.txt"), 0
    with pytest.raises(InputError, match="unpacks to more than the limit"):
        for _ in lines:
            handed_out += 1
    assert handed_out < 5_000_000


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
    monkeypatch.setattr(sources, "MAX_RATIO", 2)
    limit = 2 * os.path.getsize("c.zip")
    assert f"the limit of {limit:,} bytes" in message_of("c.zip:en.txt", max_bytes=1)


def test_text_that_shrinks_well_is_no_bomb_and_the_limit_can_be_raised(monkeypatch):
    text = b"".join(b"%d The same again.\n" % (i % 997) for i in range(20_000))
    write("en.txt.gz", gzip.compress(text))
    ratio = len(text) / os.path.getsize("en.txt.gz")
    assert 20 < ratio < 200
    assert len(read_all("en.txt.gz", max_bytes=0)) == 20_000  # the ratio allows it
    monkeypatch.setattr(sources, "MAX_RATIO", ratio / 2)
    assert "unpacks to more than" in message_of("en.txt.gz", max_bytes=0)
    assert len(read_all("en.txt.gz", max_bytes=len(text))) == 20_000


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


# ---- edits -------------------------------------------------------------------------


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
    with pytest.raises(InputError, match=r"en\.txt was edited while being read"):
        list(lines)


def test_an_edit_explains_the_damage_that_it_causes():
    text = "\n".join(str(i * 7919 % 100_003) for i in range(200_000))
    write_zip("c.zip", {"en.txt": text})
    lines = read_lines("c.zip:en.txt")
    next(lines)
    os.truncate("c.zip", os.path.getsize("c.zip") // 2)
    with pytest.raises(InputError, match=r"c\.zip was edited while being read"):
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
