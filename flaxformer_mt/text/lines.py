"""Lines out of a source: bytes are decoded, split, and a column or a key picked.

    stream of bytes -> blocks -> lines -> [column or key]

Each arrow is a small generator, and memory holds one block at a time. The promises:

- A line ends at b"\\n" and nowhere else. Python's own notion of a line also ends at
  U+2028, U+0085, VT, FF and others, which occur inside real sentences; one such
  character would shift every pair after it.
- What is not UTF-8 is refused, never replaced: a wrong letter is worse than an error.
- A fault is an `InputError` that names the file and the line. Faults that only the end
  of a file can show (a bad checksum, an edit while we were reading) arrive at the end
  of the iteration, after lines were handed out.
- A line may have `MAX_LINE_BYTES`.
"""

import codecs
import itertools
import json
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from typing import Any, NoReturn

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.sources import (
    MAX_EXPANDED_BYTES,
    Layer,
    Readable,
    Source,
    faults,
    file_format,
    listed,
    open_source,
    parse_source,
    quoted,
)

MAX_LINE_BYTES = 2**20  # in any input; a longer line is not a sentence
BLOCK_BYTES = 2**16  # one read; must not exceed MAX_LINE_BYTES (see _lines)

Lines = Generator[str, None, None]  # its close() closes the file


def read_lines(spec: str, *, max_bytes: int = MAX_EXPANDED_BYTES) -> Lines:
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


def _read(source: Source, max_bytes: int) -> Lines:
    """Put the pipe together: each generator reads from the one before it."""
    with ExitStack() as stack:
        layer = open_source(stack, source, max_bytes)
        lines = _lines(_blocks(layer.stream, layer.fault), layer.shown)
        yield from _pick(lines, layer)


def _blocks(stream: Readable, what: str) -> Iterator[bytes]:
    """Yield a stream in blocks of `BLOCK_BYTES`."""
    while True:
        with faults(what):
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
        number += block.count(b"\n", 0, start) + 1
        guess = _guess(block[start:].split(b"\n"), error.start - start, sample)
        raise InputError(
            f"{shown} line {number:,}, byte {error.start - start + 1:,}: not UTF-8 "
            f"({guess}): save it as UTF-8."
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


def _guess(lines: list[bytes], at: int, sample: bytes) -> str:
    """Return what a line that is not UTF-8 looks like.

    Args:
        lines: the line, and those behind it in the block, which may tell more.
        at: the index of its first bad byte.
        sample: the start of the file.
    """
    line = lines[0]
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
    return f"looks like {_eight_bit_codec(filter(_is_not_utf8, lines))}"


def _is_not_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def _eight_bit_codec(lines: Iterable[bytes]) -> str:
    """Return the Windows code page that makes the most of the bytes above 7F.

    Letters of a Latin script that are above 7F stand beside ASCII letters, or alone; in
    other scripts whole words are made of them, whatever else is on the line.
    Windows-1256 has Latin vowels scattered among the Arabic letters, and vowel marks
    that hardly anybody writes; Cyrillic text would be full of both.
    """
    # Below C0 are signs, apart from six that are a Persian letter or ZWNJ in 1256.
    letter = rb"[A-Za-z\x81\x8d\x8e\x90\x98\x9d\xc0-\xff]"
    words = re.findall(letter + b"+", b"\n".join(lines))
    foreign = [word for word in words if len(word) > 1 and min(word) > 0x7F]
    # The others are Latin, but those that are pure ASCII are in any file.
    latin = [word for word in words if min(word) <= 0x7F < max(word)]
    if len(foreign) <= len(latin):
        return "Windows-1252"
    letters = b"".join(foreign).decode("cp1256")
    arabic = sum(c >= "\u0600" and not "\u064b" <= c <= "\u0652" for c in letters)
    arabic += letters.count("\u200c")
    return "Windows-1256" if arabic > 0.8 * len(letters) else "a Windows code page"


# ---- columns and keys --------------------------------------------------------------


def _pick(lines: Iterator[str], layer: Layer) -> Iterator[str]:
    """Return the part of each line that this kind of file is read for."""
    kind, _ = file_format(layer.name)
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
                f"{shown} line {number:,} has {count(len(cells), 'column')}, expected "
                f"at least {column + 1} (column {column}, counted from 0): mend the "
                "line or leave it out."
            )


def count(number: int, noun: str) -> str:
    """Return a number with its noun, as in "1 line" and "2,000 lines"."""
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
                f"text under {quoted(key)}."
            ) from error
        yield value


def _value(line: str, key: str) -> str:
    """Return the text under `key`, or raise ValueError with the reason."""
    data = _JSON.decode(line)
    if not isinstance(data, dict):
        raise ValueError(f"it is a {type(data).__name__}, not an object")
    if key not in data:
        raise ValueError(f"there is no key {quoted(key)}, only {listed(data)}")
    value = data[key]
    if not isinstance(value, str):
        raise ValueError(
            f"the value of {quoted(key)} is a {type(value).__name__}, no text"
        )
    if "\n" in value:
        raise ValueError(f"the text of {quoted(key)} has a line break in it")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(
            f"the text of {quoted(key)} has half a surrogate pair"
        ) from None
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
