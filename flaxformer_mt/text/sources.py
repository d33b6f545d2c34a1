"""Sources: one side of a corpus, named by one string and opened as a stream of bytes.

A source is named by `PATH[:PART]`:

    en.txt                  a text file, one sentence a line
    pairs.tsv:0             a column of a tab-separated file, counted from 0
    pairs.jsonl:en          a key of a file with one JSON object a line
    corpus.zip:en.txt       a member of an archive
    corpus.zip:pairs.tsv:0  a column of a member
    en.txt.gz               gzip opens by itself, on top of any of these but .zip

Here the name is checked and the file opened, layer on layer:

    file -> [zip member] -> [gzip] -> stream of bytes

Nothing is ever written to disk. A fault of a file is an `InputError` that names it. An
edit while we were reading can only be seen at the end, after bytes were handed out.

A plain file may have any size. A compressed one is refused when it grows beyond
`MAX_EXPANDED_BYTES` and also beyond `MAX_RATIO` times its compressed size: text shrinks
3 to 10 times, a zip bomb 1000 times.
"""

import dataclasses
import difflib
import gzip
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Protocol

from flaxformer_mt.errors import InputError

MAX_EXPANDED_BYTES = 64 * 2**20  # free allowance of a compressed input, and
MAX_RATIO = 200  # how many times its compressed size it may grow beyond that
MIN_LINE_BYTES = 16  # what a line counts for at least in both
MAX_SHOWN = 500  # characters of a name in a message; a damaged file has names of 64 KiB

# gzip and zip are read here; of the others we can only say what they are.
_FOREIGN = {".7z", ".bz2", ".lz4", ".lzma", ".rar", ".tar", ".tgz", ".xz", ".zst"}


class Readable(Protocol):
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
    require_utf8(spec)
    ends = [len(spec), *(found.start() for found in re.finditer(":", spec))]
    for end in sorted(ends, reverse=True):
        if os.path.isfile(spec[:end]):
            part = spec[end + 1 :] if end < len(spec) else None
            source = Source(Path(spec[:end]), part)
            _check_part(source.path.name, part, shown=printable(source.path))
            return source
    _refuse_missing(spec)


def require_utf8(name: str) -> None:
    """Raises InputError for the name of a file that no report and no saved option can
    hold."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(
            f"{printable(name)} must be UTF-8 as a name, and is not: rename it."
        ) from None


def _refuse_missing(spec: str) -> NoReturn:
    """Say what is there instead of the file that was asked for."""
    drive = 2 if re.match(r"[A-Za-z]:[\\/]", spec) else 0
    head, _, _ = spec[drive:].partition(":")
    path = Path(spec[:drive] + head)
    shown = printable(path)
    if not head:
        raise InputError("expected the path of a corpus file, got an empty one.")
    if os.path.isdir(path):
        raise InputError(f"expected a corpus file, got the folder {shown}: add a name.")
    if os.path.exists(path):
        raise InputError(f"{shown} is not a regular file: write its text to one first.")
    files = _files_in(path.parent)
    similar = difflib.get_close_matches(path.name, files, n=1, cutoff=0.75)
    if similar:
        guess = printable(path.with_name(similar[0]))
        raise InputError(f"there is no file {shown}; did you mean {guess}?")
    raise InputError(f"there is no file {shown}: check the path and its spelling.")


def _files_in(folder: Path) -> list[str]:
    """Return the names of the files in a folder, none if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_file()]
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return []


def file_format(name: str) -> tuple[str, bool]:
    """Return the suffix that says how to read a file, and whether gzip is on top."""
    name = name.lower()
    return Path(name.removesuffix(".gz")).suffix, name.endswith(".gz")


def _check_part(name: str, part: str | None, *, shown: str) -> None:
    """Raise unless `part` is one that a file called `name` can have."""
    kind, gzipped = file_format(name)
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
    return "got none" if part is None else f"got {quoted(part)}"


def printable(name: object, most: int = MAX_SHOWN) -> str:
    """Return a name with escapes where it would break or reorder a line of stderr.

    Of a name beyond `most` characters the middle is left out, as a line is no page.
    """
    # Cut before it is escaped as well: the name may have megabytes.
    text = _without_middle(str(name), most)
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return _without_middle(text, most)


def quoted(text: str) -> str:
    """Return what a person wrote in quotes, with escapes, without a long middle."""
    return _without_middle(repr(text), MAX_SHOWN)


def _without_middle(text: str, most: int) -> str:
    # The end is what tells paths apart, the start what tells most else apart.
    tail = most // 4
    return text if len(text) <= most else f"{text[: most - tail]}…{text[-tail:]}"


def listed(names: Iterable[str], most: int = 12) -> str:
    """Return names joined by commas, the tail of a long list as a count."""
    names = list(names)
    more = [f"and {len(names) - most:,} more"] if len(names) > most else []
    shown = [printable(name, 80) for name in names[:most]]
    return ", ".join(shown + more) or "nothing"


# ---- opening: file, zip member, gzip -----------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, and raise if it was edited before we were done.

    Size and time of change are compared, as `make` does. The comparison is also made
    after a fault of the contents: an edit is then the likelier cause.
    """
    with faults(f"{printable(path)} cannot be opened"):
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
            f"{printable(path)} was edited while being read: run this again once it is "
            "complete."
        )


@contextmanager
def faults(what: str) -> Iterator[None]:
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
        reason = printable(error) or "it ends too early"
        raise InputError(f"{what}: {reason}; copy or download it again.") from error
    except OSError as error:
        reason = printable(error.strerror or error)
        raise InputError(f"{what}: {reason}; check the file and its disk.") from error


class _Capped:
    """A decompressor that stops before it becomes a bomb; see `MAX_RATIO`.

    It counts what comes out, because a declared size can lie. zlib hands out at most
    what is asked for, so no more than one block is in memory when the count is made.
    """

    def __init__(self, stream: Readable, *, packed: int, max_bytes: int, shown: str):
        self.stream = stream
        self.shown = shown
        self.limit = max(max_bytes, MAX_RATIO * packed)
        self.seen = 0  # bytes that came out so far
        self.lines = 0

    def read(self, size: int = -1, /) -> bytes:
        block = self.stream.read(size)
        self.seen += len(block)
        self.lines += block.count(b"\n")
        # A bomb of bare line ends is small for a bomb, and takes the longest to read.
        if max(self.seen, MIN_LINE_BYTES * self.lines) > self.limit:
            raise InputError(
                f"{self.shown} unpacks to more than the limit of {self.limit:,} bytes, "
                "as a zip bomb does: if it is real text, unpack it first."
            )
        return block


def _find_member(
    archive: zipfile.ZipFile, source: Source
) -> tuple[zipfile.ZipInfo, str | None]:
    """Return the member of an archive that a source names, and the part inside it."""
    shown = printable(source.path)
    # Neither folders nor what has no name at all, as in a damaged archive.
    members = [i for i in archive.infolist() if i.filename[-1:] not in ("", "/")]
    names = [info.filename for info in members]
    has = f"the archive has: {listed(names)}"
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
        raise InputError(f"{shown} has no member {quoted(member)}; {has}.")
    if names.count(member) > 1:
        raise InputError(
            f"{shown} has {names.count(member)} members called {quoted(member)}, and "
            "which one is meant cannot be said: pack it again with one."
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
    if file_format(info.filename)[0] == ".zip":
        raise InputError(f"{shown} is a zip inside a zip: unpack the outer one first.")
    _check_part(info.filename, part, shown=shown)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A stream, and what must be known of it to read on or to complain."""

    stream: Any  # anything with read(size)
    size: int  # bytes in the stream, as far as the file system or the archive knows
    packed: int  # bytes on disk: what the cap of a decompressor is measured by
    name: str  # of the file or member: its suffix says what is inside
    part: str | None  # what is still to be picked from it
    shown: str  # its name in messages
    fault: str  # the start of the sentence when reading fails


def _open_file(stack: ExitStack, source: Source) -> Layer:
    handle = stack.enter_context(_opened(source.path))
    size = os.fstat(handle.fileno()).st_size
    shown = printable(source.path)
    return Layer(
        stream=handle,
        size=size,
        packed=size,
        name=source.path.name,
        part=source.part,
        shown=shown,
        fault=f"{shown} cannot be read",
    )


def _open_zip(stack: ExitStack, below: Layer, source: Source, max_bytes: int) -> Layer:
    """Return a member of the archive as a stream; it is never extracted to disk."""
    fault = f"{below.shown} is not a readable zip"
    with faults(fault):
        archive = stack.enter_context(zipfile.ZipFile(below.stream))
        info, part = _find_member(archive, source)
    shown = f"{below.shown}:{printable(info.filename)}"
    fault = f"{fault} (damaged at member {printable(info.filename)})"
    _check_member(info, part, shown)
    packed = min(below.packed, info.compress_size)  # what an archive declares may lie
    with faults(fault):
        member = stack.enter_context(archive.open(info))
    stream = _Capped(member, packed=packed, max_bytes=max_bytes, shown=shown)
    return Layer(stream, info.file_size, packed, info.filename, part, shown, fault)


def _open_gzip(stack: ExitStack, below: Layer, max_bytes: int) -> Layer:
    fault = f"{below.shown} is not a readable gzip file"
    if below.size == 0:  # gzip itself would take nothing at all for an empty text
        raise InputError(f"{fault}: it is empty; copy or download it again.")
    unpacked = stack.enter_context(gzip.GzipFile(fileobj=below.stream, mode="rb"))
    stream = _Capped(
        unpacked, packed=below.packed, max_bytes=max_bytes, shown=below.shown
    )
    return dataclasses.replace(below, stream=stream, fault=fault)


def open_source(stack: ExitStack, source: Source, max_bytes: int) -> Layer:
    """Return the top of the pipe: each layer reads from the one before it."""
    layer = _open_file(stack, source)
    if file_format(layer.name)[0] == ".zip":
        layer = _open_zip(stack, layer, source, max_bytes)
    if file_format(layer.name)[1]:
        layer = _open_gzip(stack, layer, max_bytes)
    return layer
