"""Sentence pairs out of text files, whatever they are packed in.

A side of a corpus is named by one string, `PATH[:PART]`:

    en.txt                  a text file, one sentence a line
    pairs.tsv:0             a column of a tab-separated file, counted from 0
    pairs.jsonl:en          a key of a file with one JSON object a line
    corpus.zip:en.txt       a member of an archive
    corpus.zip:pairs.tsv:0  a column of a member
    en.txt.gz               gzip opens by itself, on top of any of these but .zip

Reading is a pipe of small generators, and memory holds one block of it at a time:

    file -> [zip member] -> [gzip] -> blocks of bytes -> lines -> [column or key]

Nothing is ever written to disk, and three promises hold all along the pipe:

- A line ends at b"\\n" and nowhere else. Python's own notion of a line also ends at
  U+2028, U+0085, VT, FF and others, which occur inside real sentences; one such
  character would shift every pair after it.
- What is not UTF-8 is refused, never replaced: a wrong letter is worse than an error.
- A fault of a file is an `InputError` that names the file and the line. Faults that
  only the end of a file can show (a bad checksum, unequal line counts, an edit while
  we were reading) arrive at the end of the iteration, after lines were handed out.

Limits. A line may have `MAX_LINE_BYTES`. A plain file may have any size. A compressed
one is refused when it grows beyond `MAX_EXPANDED_BYTES` and also beyond `MAX_RATIO`
times its compressed size: text shrinks 3 to 10 times, a zip bomb 1000 times.
"""

import codecs
import dataclasses
import difflib
import gzip
import hashlib
import itertools
import json
import math
import os
import re
import struct
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Protocol

from flaxformer_mt.errors import InputError

MAX_LINE_BYTES = 2**20  # in any input; a longer line is not a sentence
MAX_EXPANDED_BYTES = 64 * 2**20  # free allowance of a compressed input, and
MAX_RATIO = 200  # how many times its compressed size it may grow beyond that
BLOCK_BYTES = 2**16  # one read; must not exceed MAX_LINE_BYTES (see _lines)

# gzip and zip are read here; of the others we can only say what they are.
_FOREIGN = {".7z", ".bz2", ".lz4", ".lzma", ".rar", ".tar", ".tgz", ".xz", ".zst"}


class _Readable(Protocol):
    """What a layer of the pipe asks of the layer below it."""

    def read(self, size: int = -1, /) -> bytes: ...


# ---- naming a source ---------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Source:
    """One side of a corpus: a file, and which part of it to read."""

    path: Path
    part: str | None  # member of a .zip, column of a .tsv, key of a .jsonl


def parse_source(spec: str) -> Source:
    """Return the file and the part that `PATH[:PART]` names; the file must exist.

    The longest piece of `spec` that ends before a colon (or at its end) and is a file
    is the path, so a file may have colons in its name, and so may a drive (`C:\\x`).
    `~` is the home folder. Which members a zip has is first looked up when it is read.

    Raises:
        InputError: no such file, or a part that does not suit the kind of file.
    """
    spec = os.path.expanduser(spec)
    ends = [len(spec), *(found.start() for found in re.finditer(":", spec))]
    for end in sorted(ends, reverse=True):
        if os.path.isfile(spec[:end]):
            part = spec[end + 1 :] if end < len(spec) else None
            source = Source(Path(spec[:end]), part)
            _check_part(source.path.name, part, shown=_shown(source.path))
            return source
    _refuse_missing(spec)


def _refuse_missing(spec: str) -> NoReturn:
    """Say what is there instead of the file that was asked for."""
    drive = 2 if re.match(r"[A-Za-z]:[\\/]", spec) else 0
    head, _, _ = spec[drive:].partition(":")
    path = Path(spec[:drive] + head)
    shown = _shown(path)
    if not head:
        raise InputError("expected the path of a corpus file, got an empty one.")
    if os.path.isdir(path):
        raise InputError(f"expected a corpus file, got the folder {shown}: add a name.")
    if os.path.exists(path):
        raise InputError(f"{shown} is not a regular file: write its text to one first.")
    files = _files_in(path.parent)
    similar = difflib.get_close_matches(path.name, files, n=1, cutoff=0.75)
    if similar:
        guess = _shown(path.with_name(similar[0]))
        raise InputError(f"there is no file {shown}; did you mean {guess}?")
    raise InputError(f"there is no file {shown}: check the path and its spelling.")


def _files_in(folder: Path) -> list[str]:
    """Return the names of the files in a folder, none if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_file()]
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return []


def _format(name: str) -> tuple[str, bool]:
    """Return the suffix that says how to read a file, and whether gzip is on top."""
    name = name.lower()
    return Path(name.removesuffix(".gz")).suffix, name.endswith(".gz")


def _check_part(name: str, part: str | None, *, shown: str) -> None:
    """Raise unless `part` is one that a file called `name` can have."""
    kind, gzipped = _format(name)
    if kind in _FOREIGN or (kind == ".zip" and gzipped):
        raise InputError(f"{shown} must be unpacked first: only .zip and .gz are read.")
    if kind == ".zip":
        return  # a member's name, which only the archive can check
    if kind == ".tsv":
        # Six digits are plenty; int() itself has a limit, with an error of its own.
        if part is None or not re.fullmatch("[0-9]{1,6}", part):
            raise InputError(
                f"{shown} needs a column number counted from 0, as in {shown}:0, "
                f"{_came(part)}."
            )
    elif kind == ".jsonl":
        if part is None:
            raise InputError(f"{shown} needs the name of a key, as in {shown}:text.")
    elif part is not None:
        raise InputError(
            f"{shown} is plain text and takes no part, {_came(part)}: leave it out "
            "(columns are read from .tsv, keys from .jsonl, members from .zip)."
        )


def _came(part: str | None) -> str:
    return "got none" if part is None else f"got {part!r}"


def _shown(name: object) -> str:
    """Return a name with escapes where it would break or reorder a line of stderr."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(name))


def _listed(names: Iterable[str], most: int = 12) -> str:
    """Return names joined by commas, the tail of a long list as a count."""
    names = [_shown(name) for name in names]
    more = [f"and {len(names) - most:,} more"] if len(names) > most else []
    return ", ".join(names[:most] + more) or "nothing"


# ---- opening: file, zip member, gzip -----------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, and raise if it was edited before we were done.

    Size and time of change are compared, as `make` does. The comparison is also made
    after a fault of the contents: an edit is then the likelier cause.
    """
    with _faults(f"{_shown(path)} cannot be opened"):
        handle = path.open("rb")
    with handle:
        before = os.fstat(handle.fileno())
        try:
            yield handle
        except InputError:
            _check_unchanged(path, before)
            raise
        _check_unchanged(path, before)


def _check_unchanged(path: Path, before: os.stat_result) -> None:
    try:
        after = os.stat(path)
    except OSError:
        after = None
    if after is None or (after.st_size, after.st_mtime_ns) != (
        before.st_size,
        before.st_mtime_ns,
    ):
        raise InputError(
            f"{_shown(path)} was edited while being read: run this again once it is "
            "complete."
        )


@contextmanager
def _faults(what: str) -> Iterator[None]:
    """Turn whatever the libraries below raise into one sentence: `what: reason`.

    A damaged zip alone speaks through BadZipFile, zlib.error, EOFError, RuntimeError
    (encrypted), NotImplementedError (which is a RuntimeError), struct.error and
    ValueError (a name that is not UTF-8, an offset before the start of the file).
    """
    try:
        yield
    except InputError:
        raise  # it is a ValueError too, but already says it all
    except (
        zipfile.BadZipFile,
        gzip.BadGzipFile,  # an OSError, so it must stand before them
        zlib.error,
        EOFError,
        RuntimeError,
        struct.error,
        ValueError,
        OverflowError,
        MemoryError,
    ) as error:
        reason = _shown(error) or "it ends too early"
        raise InputError(f"{what}: {reason}; copy or download it again.") from error
    except OSError as error:
        reason = _shown(error.strerror or error)
        raise InputError(f"{what}: {reason}; check the file and its disk.") from error


class _Capped:
    """A decompressor that stops before it becomes a bomb; see `MAX_RATIO`.

    It counts what comes out, because a declared size can lie. zlib hands out at most
    what is asked for, so no more than one block is in memory when the count is made.
    """

    def __init__(self, stream: _Readable, *, packed: int, max_bytes: int, shown: str):
        self.stream = stream
        self.shown = shown
        self.limit = max(max_bytes, MAX_RATIO * packed)
        self.seen = 0  # bytes that came out so far

    def read(self, size: int = -1, /) -> bytes:
        block = self.stream.read(size)
        self.seen += len(block)
        if self.seen > self.limit:
            raise InputError(
                f"{self.shown} unpacks to more than the limit of {self.limit:,} bytes, "
                "as a zip bomb does: if it is real text, unpack it first."
            )
        return block


def _find_member(
    archive: zipfile.ZipFile, source: Source
) -> tuple[zipfile.ZipInfo, str | None]:
    """Return the member of an archive that a source names, and the part inside it."""
    shown = _shown(source.path)
    # Neither folders nor what has no name at all, as in a damaged archive.
    members = [i for i in archive.infolist() if i.filename[-1:] not in ("", "/")]
    names = [info.filename for info in members]
    has = f"the archive has: {_listed(names)}"
    if source.part is None:
        raise InputError(
            f"{shown} is an archive and needs the name of a member, as in "
            f"{shown}:en.txt; {has}."
        )
    member, part = source.part, None
    head, _, tail = member.rpartition(":")
    if member not in names and head in names:
        member, part = head, tail
    if member not in names:
        raise InputError(f"{shown} has no member {member!r}; {has}.")
    if names.count(member) > 1:
        raise InputError(
            f"{shown} has {names.count(member)} members called {member!r}, and which "
            "one is meant cannot be said: pack it again with one."
        )
    return members[names.index(member)], part


def _check_member(info: zipfile.ZipInfo, part: str | None, shown: str) -> None:
    """Raise unless a member can be read at all."""
    if info.flag_bits & 0x1:
        raise InputError(f"{shown} is encrypted: pack it again without a password.")
    # bzip2 and lzma are left out on purpose: Python unpacks what it has read of them
    # in one go, which for a bomb is gigabytes before anybody can count.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        method = zipfile.compressor_names.get(info.compress_type, "unknown")
        raise InputError(
            f"{shown} is compressed by method {info.compress_type} ({method}), and "
            "only stored and deflated members are read: pack it again as a plain zip."
        )
    if _format(info.filename)[0] == ".zip":
        raise InputError(f"{shown} is a zip inside a zip: unpack the outer one first.")
    _check_part(info.filename, part, shown=shown)


@dataclasses.dataclass(frozen=True)
class _Layer:
    """A stream, and what must be known of it to read on or to complain."""

    stream: Any  # anything with read(size)
    size: int  # bytes in the stream, as far as the file system or the archive knows
    packed: int  # bytes on disk: what the cap of a decompressor is measured by
    name: str  # of the file or member: its suffix says what is inside
    part: str | None  # what is still to be picked from it
    shown: str  # its name in messages
    fault: str  # the start of the sentence when reading fails


def _open_file(stack: ExitStack, source: Source) -> _Layer:
    handle = stack.enter_context(_opened(source.path))
    size = os.fstat(handle.fileno()).st_size
    shown = _shown(source.path)
    return _Layer(
        stream=handle,
        size=size,
        packed=size,
        name=source.path.name,
        part=source.part,
        shown=shown,
        fault=f"{shown} cannot be read",
    )


def _open_zip(
    stack: ExitStack, below: _Layer, source: Source, max_bytes: int
) -> _Layer:
    """Return a member of the archive as a stream; it is never extracted to disk."""
    fault = f"{below.shown} is not a readable zip"
    with _faults(fault):
        archive = stack.enter_context(zipfile.ZipFile(below.stream))
        info, part = _find_member(archive, source)
    shown = f"{below.shown}:{_shown(info.filename)}"
    fault = f"{fault} (damaged at member {_shown(info.filename)})"
    _check_member(info, part, shown)
    packed = min(below.packed, info.compress_size)  # what an archive declares may lie
    with _faults(fault):
        member = stack.enter_context(archive.open(info))
    stream = _Capped(member, packed=packed, max_bytes=max_bytes, shown=shown)
    return _Layer(stream, info.file_size, packed, info.filename, part, shown, fault)


def _open_gzip(stack: ExitStack, below: _Layer, max_bytes: int) -> _Layer:
    fault = f"{below.shown} is not a readable gzip file"
    if below.size == 0:  # gzip itself would take nothing at all for an empty text
        raise InputError(f"{fault}: it is empty; copy or download it again.")
    unpacked = stack.enter_context(gzip.GzipFile(fileobj=below.stream, mode="rb"))
    stream = _Capped(
        unpacked, packed=below.packed, max_bytes=max_bytes, shown=below.shown
    )
    return dataclasses.replace(below, stream=stream, fault=fault)


# ---- reading -----------------------------------------------------------------------


def read_lines(spec: str, *, max_bytes: int = MAX_EXPANDED_BYTES) -> Iterator[str]:
    """Return an iterator over the lines of one source, without their line ends.

    A line ends at b"\\n"; one b"\\r" before it is removed, and so is a byte order mark
    at the start of the file. An empty file has no lines. An empty line of a .tsv or
    .jsonl is an empty line here, whichever column or key was asked for.

    Args:
        spec: `PATH[:PART]`, see `parse_source`.
        max_bytes: how large a compressed source may become; beyond this it may still
            have `MAX_RATIO` times its compressed size. Plain files have no limit.

    Raises:
        InputError: at the call, if there is no such file; while iterating, at the
            first line or byte that is not what it should be.
    """
    return _read(parse_source(spec), max_bytes)


def _read(source: Source, max_bytes: int) -> Iterator[str]:
    """Put the pipe together: each layer reads from the one before it."""
    with ExitStack() as stack:
        layer = _open_file(stack, source)
        if _format(layer.name)[0] == ".zip":
            layer = _open_zip(stack, layer, source, max_bytes)
        if _format(layer.name)[1]:
            layer = _open_gzip(stack, layer, max_bytes)
        lines = _lines(_blocks(layer.stream, layer.fault), layer.shown)
        yield from _pick(lines, layer)


def _blocks(stream: _Readable, what: str) -> Iterator[bytes]:
    """Yield a stream in blocks of `BLOCK_BYTES`."""
    while True:
        with _faults(what):
            block = stream.read(BLOCK_BYTES)
        if not block:
            return
        yield block


def _lines(blocks: Iterator[bytes], shown: str) -> Iterator[str]:
    """Yield the lines of a stream of bytes.

    Whole blocks are decoded and split at once, which is twice as fast as line by
    line and gives the same lines: in UTF-8 the byte 0A is never part of a character.
    """
    first = next(blocks, b"")
    sample = first[:4096]
    if 0 in sample and _looks_like_utf16(sample):
        raise InputError(f"{shown} looks like UTF-16: save it as UTF-8.")
    blocks = itertools.chain([first.removeprefix(codecs.BOM_UTF8)], blocks)
    number = 0  # lines handed out so far
    rest = b""  # of the last block: a line that has not ended yet
    for block in blocks:
        # Only the line that runs into this block can be too long: a block is not.
        end = block.find(b"\n")
        if len(rest) + (end if end >= 0 else len(block)) > MAX_LINE_BYTES:
            raise InputError(
                f"{shown} line {number + 1:,} is longer than the limit of "
                f"{MAX_LINE_BYTES:,} bytes: expected one sentence a line."
            )
        whole, newline, rest = (rest + block).rpartition(b"\n")
        if newline:
            lines = _decode(whole, number, sample, shown)
            yield from lines
            number += len(lines)
    if rest:
        yield from _decode(rest, number, sample, shown)


def _decode(block: bytes, number: int, sample: bytes, shown: str) -> list[str]:
    """Return the lines of a block whose first line has index `number` in its file."""
    try:
        text = block.decode("utf-8")
    except UnicodeDecodeError as error:
        start = block.rfind(b"\n", 0, error.start) + 1
        line = block[start:].partition(b"\n")[0]
        number += block.count(b"\n", 0, start) + 1
        raise InputError(
            f"{shown} line {number:,}, byte {error.start - start + 1:,}: not UTF-8 "
            f"({_guess(line, error.start - start, sample)}): save it as UTF-8."
        ) from error
    lines = text.split("\n")
    if "\r" in text:
        lines = [line.removesuffix("\r") for line in lines]
    return lines


def _looks_like_utf16(sample: bytes) -> bool:
    """Return whether the start of a file reads better as pairs of bytes."""
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    for codec in ("utf-16-le", "utf-16-be"):
        # Every script but the East Asian ones has its spaces as 00 20, and all of
        # them their line ends as 00 0A, a pair that 8-bit text never has.
        text = sample.decode(codec, "ignore")
        if text.count(" ") + text.count("\n") > len(text) / 50:
            return True
    return sample.count(0) > len(sample) / 4


def _guess(line: bytes, at: int, sample: bytes) -> str:
    """Return what a line that is not UTF-8 looks like; `at` is its first bad byte."""
    if sample.startswith(b"\x1f\x8b"):
        return "looks like gzip, which is read from a name that ends in .gz"
    if sample.startswith(b"PK\x03\x04"):
        return "looks like a zip, which is read from a name that ends in .zip"
    if _looks_like_utf16(sample):
        return "looks like UTF-16"
    if re.match(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]", line[at:]):
        return "an overlong form, which the standard forbids"
    if re.match(rb"\xed[\xa0-\xbf]", line[at:]):
        return "half of a surrogate pair, as CESU-8 has"
    text = line.decode("utf-8", "replace")
    beyond_ascii = sum(character > "\x7f" for character in text)
    if beyond_ascii > 2 * text.count("\ufffd"):
        return "the rest of the line is UTF-8, so it was damaged here"
    return f"looks like {_eight_bit_codec(line)}"


def _eight_bit_codec(line: bytes) -> str:
    """Return the Windows code page that makes the most of the bytes above 7F.

    Where most letters are above 7F the script is not Latin. Windows-1256 has Latin
    vowels scattered among the Arabic letters, and Cyrillic text would be full of them.
    """
    high = bytes(byte for byte in line if byte > 0x7F)
    latin = sum(line.count(byte) for byte in range(0x41, 0x7B))
    if len(high) <= latin:
        return "Windows-1252"
    arabic = sum("\u0600" <= letter for letter in high.decode("cp1256", "ignore"))
    return "Windows-1256" if arabic > 0.8 * len(high) else "a Windows code page"


# ---- columns and keys --------------------------------------------------------------


def _pick(lines: Iterator[str], layer: _Layer) -> Iterator[str]:
    """Return the part of each line that this kind of file is read for."""
    kind, _ = _format(layer.name)
    if layer.part is not None and kind == ".tsv":
        return _column(lines, int(layer.part), layer.shown)
    if layer.part is not None and kind == ".jsonl":
        return _values(lines, layer.part, layer.shown)
    return lines


def _column(lines: Iterator[str], column: int, shown: str) -> Iterator[str]:
    """Yield one column of each row. Quotes are letters: .tsv has no quoting rules."""
    for number, line in enumerate(lines, start=1):
        cells = line.split("\t")
        if column < len(cells):
            yield cells[column]
        elif not line:
            yield ""
        else:
            raise InputError(
                f"{shown} line {number:,} has {_count(len(cells), 'column')}, expected "
                f"at least {column + 1} (column {column}, counted from 0): mend the "
                "line or leave it out."
            )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _values(lines: Iterator[str], key: str, shown: str) -> Iterator[str]:
    """Yield the text under one key of each line's JSON object."""
    for number, line in enumerate(lines, start=1):
        try:
            value = _value(line, key) if line else ""
        except (ValueError, RecursionError) as error:
            reason = _reason(error)
            raise InputError(
                f"{shown} line {number:,}: {reason}; expected one JSON object with a "
                f"text under {key!r}."
            ) from error
        yield value


def _value(line: str, key: str) -> str:
    """Return the text under `key`, or raise ValueError with the reason."""
    data = _JSON.decode(line)
    if not isinstance(data, dict):
        raise ValueError(f"it is a {type(data).__name__}, not an object")
    if key not in data:
        raise ValueError(f"there is no key {key!r}, only {_listed(data)}")
    value = data[key]
    if not isinstance(value, str):
        raise ValueError(f"the value of {key!r} is a {type(value).__name__}, no text")
    if "\n" in value:
        raise ValueError(f"the text of {key!r} has a line break in it")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"the text of {key!r} has half a surrogate pair") from None
    return value


def _reason(error: Exception) -> str:
    """Return why a line is not the JSON we want, in words that suit one line."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON at character {error.pos + 1:,} ({error.msg})"
    return str(error)


def _unique_keys(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dict; Python would let the last of two keys win."""
    data = dict(items)
    if len(data) < len(items):
        raise ValueError("a key is there twice")
    return data


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_no_constant)


# ---- pairs -------------------------------------------------------------------------


def read_pairs(
    src: str,
    tgt: str,
    *,
    note: Callable[[str], None],
    max_bytes: int = MAX_EXPANDED_BYTES,
) -> Iterator[tuple[str, str]]:
    """Return an iterator over the (source, target) lines of two sources in step.

    Nothing is dropped: two empty lines are the pair ("", ""). Only blank lines at the
    end of one side, where the other has none, are left out and reported.

    Args:
        src, tgt: `PATH[:PART]`, see `parse_source`; both may name the same file.
        note: receives one sentence about blank lines that were left out.
        max_bytes: as in `read_lines`.

    Raises:
        InputError: as `read_lines`; at the end, if one side has more lines.
    """
    sides = (
        read_lines(src, max_bytes=max_bytes),
        read_lines(tgt, max_bytes=max_bytes),
    )
    return _pairs((src, tgt), sides, note, max_bytes)


def _pairs(
    specs: tuple[str, str],
    sides: tuple[Iterator[str], Iterator[str]],
    note: Callable[[str], None],
    max_bytes: int,
) -> Iterator[tuple[str, str]]:
    """Yield pairs up to the end of the shorter side, then ask why the other goes on."""
    for pair in itertools.zip_longest(*sides):
        if None in pair:
            _explain_unequal(specs, note, max_bytes)
            return
        yield pair


def _explain_unequal(
    specs: tuple[str, str], note: Callable[[str], None], max_bytes: int
) -> None:
    """Report blank lines at the end of one side; raise where other lines are lost.

    Both files are read again for it, because the way without faults keeps no record;
    here the lengths are stored, 4 bytes a line. What is left over may not decide: of
    two files that both end in a blank line, one that lost a line further up leaves
    over a blank line too, with every pair since the loss shifted by one.
    """
    counts, lengths = [], []
    for spec in specs:
        lines = map(str.strip, read_lines(spec, max_bytes=max_bytes))
        side = array("I", map(len, lines))
        counts.append(len(side))
        while side and side[-1] == 0:
            side.pop()
        lengths.append(side)
    src, tgt = (_shown(spec) for spec in specs)
    if len(lengths[0]) == len(lengths[1]):
        longer, shorter = (src, tgt) if counts[0] > counts[1] else (tgt, src)
        blank = _count(abs(counts[0] - counts[1]), "blank line")
        note(f"{longer} ends in {blank} more than {shorter}: left out.")
        return
    near = _suspicious_line(*lengths)
    raise InputError(
        f"source has {counts[0]:,} lines, target {counts[1]:,}; first suspicious pair "
        f"near line {near:,} of {src} and {tgt}: add or remove lines there until the "
        "counts agree."
    )


def _suspicious_line(src: array, tgt: array) -> int:
    """Return the line, counted from 1, after which two sides no longer fit.

    A sentence and its translation have lengths in a nearly constant ratio (Gale and
    Church 1993, "A program for aligning sentences in bilingual corpora"). If the
    shorter side lost k lines in one place, pairs (i, i) fit before that place and
    pairs (i + k, i) behind it. The place returned is the one with the best total fit:
    usually within a few lines where one piece is missing, and a hint otherwise.

    Args:
        src, tgt: lengths of the lines in characters, [number of lines].
    """
    longer, shorter = (src, tgt) if len(src) > len(tgt) else (tgt, src)
    usual = math.log((sum(longer) + 1) / (sum(shorter) + 1))
    shift = len(longer) - len(shorter)

    def misfit(i: int, j: int) -> float:
        return abs(math.log((longer[i] + 1) / (shorter[j] + 1)) - usual)

    place, lowest, total = 0, 0.0, 0.0
    for i in range(len(shorter)):
        total += misfit(i, i) - misfit(i + shift, i)
        if total < lowest:
            place, lowest = i + 1, total
    return place + 1


# ---- identity ----------------------------------------------------------------------


def fingerprint(spec: str, *, max_bytes: int = MAX_EXPANDED_BYTES) -> str:
    """Return the SHA-256 of the lines of a source as 64 hexadecimal digits.

    The lines are hashed as they are read, in UTF-8 with "\\n" between them, so that
    the same text has the same fingerprint in a .txt, a .zip or a column of a .tsv.

    Raises:
        InputError: as `read_lines`.
    """
    digest = hashlib.sha256()
    lines = read_lines(spec, max_bytes=max_bytes)
    between = b""
    while some := list(itertools.islice(lines, 4096)):
        digest.update(between + "\n".join(some).encode("utf-8"))
        between = b"\n"
    return digest.hexdigest()
