"""Bad files by the thousand, and what the reader makes of them.

    python -m experiments.fuzz_reader --inputs 10000 --seed 0
    python -m experiments.fuzz_reader --separators 10000
    python -m experiments.fuzz_reader --inputs 10000 --separators 10000    (both)
    python -m experiments.fuzz_reader --only 4711 --seed 0     (one input once more)

Inputs are zip, zip with tsv, txt, tsv, jsonl, gz and vocabulary files with damage done
to them: flipped bits, cuts, swapped blocks, lying headers, wrong encodings, nested
JSON, bombs. Each is written into a temporary folder and read to its end through the
door that a user's file goes through (`read_pairs`, `read_lines`,
`read_character_vocabulary`). It may be read, or refused by an `InputError` of one
printable line; whatever else happens is a failure. A failure is shown with its number,
which with the seed gives the same bytes again, and its bytes are kept.

Separators are corpora whose sentences hold the nine characters that Python, but not
we, calls a line end. They are written as txt, tsv, zip, gz and jsonl, and every one
must give the same pairs back.

Expected: no failure, no input over 5 seconds, under 1 GB of memory at the peak, no
corpus misaligned; the exit code is 1 otherwise. What was measured goes to
`results/fuzz_reader.json`.
"""

import argparse
import collections
import dataclasses
import datetime
import faulthandler
import functools
import gzip
import io
import json
import os
import platform
import random
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from flaxformer_mt import __version__
from flaxformer_mt.errors import InputError
from flaxformer_mt.text.corpus import read_pairs
from flaxformer_mt.text.lines import read_lines
from flaxformer_mt.text.vocabulary import Specials, read_character_vocabulary

RESULT = Path(__file__).resolve().parent / "results" / "fuzz_reader.json"

MAX_SECONDS = 5.0  # for one input
MAX_PEAK_BYTES = 10**9  # of the process
MAX_MESSAGE = 2000  # characters; a longer "line" is a page
HANG_SECONDS = 120  # for one input; then the process shows where it is, and ends
SECONDS_BETWEEN_LINES = 10.0

# What Python calls a line end besides "\n", and what a sentence may well contain.
SEPARATORS = "\u2028\u2029\u0085\v\f\x1c\x1d\x1e\r"

_ENGLISH = [
    "Hello.",
    "I just don't know what to say.",
    'She said "yes", and left.',
    "Ça va, café?",
    "",
    "The museum opens at nine\u2028and closes at five.",
]
_PERSIAN = [
    "سلام.",
    "من فقط نمی‌دانم چه بگویم.",
    "او گفت «بله» و رفت.",
    "\U0001f600 ۱۲۳",
    "",
    "موزه ساعت نه باز می‌شود.",
]
_LETTERS = "abcdefghijklmnopqrstuvwxyz .,?!'ابپتثجچحخدذرزژسشصضطظعغفقکگلمنوهی۰۱۲۳\u200c"


@dataclasses.dataclass(frozen=True)
class Made:
    """One input: a file, and how to read it."""

    kind: str
    name: str  # of the file
    data: bytes
    parts: tuple[str, ...]  # what is asked of the file: one for lines, two for pairs
    history: tuple[str, ...] = ()  # what was done to it, in words


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one input."""

    verdict: str  # "read", "refused" or "failed"
    said: str  # the message of a refusal, the story of a failure
    seconds: float


# ---- damage to any bytes -----------------------------------------------------------

Random = random.Random
Damage = Callable[[Random, bytes], bytes]


def _span(rng: Random, data: bytes, most: int = 400) -> tuple[int, int]:
    """A stretch of the data, mostly a short one."""
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.randrange(1, most))


def flip_bits(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 8, 64]) if data else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: Random, data: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] if rng.random() < 0.8 else data[start:]


def swap_blocks(rng: Random, data: bytes) -> bytes:
    a, b, c, d = sorted(rng.randrange(len(data) + 1) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def insert_bytes(rng: Random, data: bytes) -> bytes:
    start, _ = _span(rng, data)
    some = rng.randbytes(rng.choice([1, 1, 2, 4, 100]))
    return data[:start] + some + data[start:]


def drop_bytes(rng: Random, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def repeat_bytes(rng: Random, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return data[:end] + data[start:end] * rng.choice([1, 2, 50]) + data[end:]


def overwrite(rng: Random, data: bytes) -> bytes:
    start, end = _span(rng, data, most=20)
    byte = rng.choice([b"\0", b"\xff", b"\n", b"\r", b"\t", b'"', b"\x80"])
    return data[:start] + byte * (end - start) + data[end:]


def overwrite_number(rng: Random, data: bytes) -> bytes:
    """An integer of the sizes that headers have, at a limit or just beyond it."""
    start, _ = _span(rng, data)
    bits = rng.choice([8, 16, 32, 64])
    number = rng.choice([0, 1, 2 ** (bits - 1), 2 ** (bits - 1) - 1, 2**bits - 1])
    some = number.to_bytes(bits // 8, "little")
    return data[:start] + some + data[start + len(some) :]


def nothing_but_noise(rng: Random, data: bytes) -> bytes:
    return rng.randbytes(rng.choice([0, 1, 2, 30, 1000, 70_000]))


def nothing_at_all(rng: Random, data: bytes) -> bytes:
    return b""


ANY_DAMAGE: list[Damage] = [
    flip_bits,
    flip_bits,
    cut,
    swap_blocks,
    insert_bytes,
    drop_bytes,
    repeat_bytes,
    overwrite,
    overwrite_number,
    nothing_but_noise,
    nothing_at_all,
]


# ---- damage to text ----------------------------------------------------------------


def other_encoding(rng: Random, data: bytes) -> bytes:
    codecs = ["cp1252", "cp1256", "cp037", "utf-7", "utf-32"]
    codec = rng.choice([*codecs, "utf-16", "utf-16-le", "utf-16-be"])
    return data.decode("utf-8", "replace").encode(codec, "ignore")


def byte_order_mark(rng: Random, data: bytes) -> bytes:
    mark = rng.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb"])
    return mark * rng.choice([1, 1, 2]) + data


def nul_bytes(rng: Random, data: bytes) -> bytes:
    start, _ = _span(rng, data)
    return data[:start] + b"\0" * rng.choice([1, 2, 5000]) + data[start:]


def long_line(rng: Random, data: bytes) -> bytes:
    start, _ = _span(rng, data)
    letter = rng.choice(["x", "é", "ی", " ", "\t", "{", '"', "\r"])
    number = rng.choice([10_000, 1_000_000, 2**20, 3_000_000]) // len(letter.encode())
    return data[:start] + letter.encode() * number + data[start:]


def bad_utf8(rng: Random, data: bytes) -> bytes:
    bad = [b"\xc0\xaf", b"\xed\xa0\xbd", b"\xf4\x90\x80\x80", b"\xe2\x80", b"\x80"]
    start, _ = _span(rng, data)
    return data[:start] + rng.choice(bad) + data[start:]


def other_line_ends(rng: Random, data: bytes) -> bytes:
    end = rng.choice([b"\r\n", b"\r", b"\n\n", b"\r\r\n", "\u2028".encode()])
    return data.replace(b"\n", end)


TEXT_DAMAGE: list[Damage] = [
    other_encoding,
    byte_order_mark,
    nul_bytes,
    long_line,
    bad_utf8,
    other_line_ends,
]


# ---- damage to JSON ----------------------------------------------------------------


def _strange_value(rng: Random) -> str:
    """JSON, or nearly, that a program may not be ready for."""
    # Around the interpreter's limit of 1,000 as well as far beyond it.
    depth = rng.choice([2, 100, 900, 970, 980, 985, 990, 995, 1000, 100_000])
    depth += rng.randrange(6)
    opening, closing = rng.choice([("[", "]"), ('{"a":', "}"), ('["x",[', "]]")])
    return rng.choice(
        [
            opening * depth + "1" + closing * depth,
            opening * depth,
            "9" * rng.choice([20, 4301, 100_000]),
            "1e" + "9" * rng.choice([1, 3, 400]),
            rng.choice(["NaN", "-Infinity", "null", "true", "{}", "[]", "-0.0", ""]),
            rng.choice([r'"\ud800"', r'"\udfff\ud800"', r'"\ud83d\ude00"', r'"\u00"']),
            rng.choice(
                [r'"\n"', r'"\u0000"', '"\t"', r'"\x"', '"', "'a'", r'"\u2028"']
            ),
            json.dumps("k" * rng.choice([2, 5000, 900_000])),
            json.dumps({"k" * rng.choice([2, 5000, 900_000]): 1}),
            json.dumps({f"{i}\n\u202e": i for i in range(rng.choice([2, 3000]))}),
            json.dumps([list(_LETTERS)] * rng.choice([1, 300])),
        ]
    )


def strange_json(rng: Random, data: bytes) -> bytes:
    """Put a strange value in the place of one of the strings, or beside all."""
    value = _strange_value(rng).encode("utf-8")
    quotes = [at for at in range(len(data)) if data[at : at + 1] == b'"']
    if len(quotes) < 2 or rng.random() < 0.2:
        return rng.choice([value, data + value, value + data])
    first = rng.randrange(0, len(quotes) // 2) * 2
    return data[: quotes[first]] + value + data[quotes[first + 1] + 1 :]


# ---- damage to archives ------------------------------------------------------------

# Offset and width of the fields of a local header and of the central directory's, and
# of the record at the end: sizes, flags, methods, counts and offsets among them.
_FIELDS = {
    b"PK\3\4": [(4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)],
    b"PK\1\2": [
        *[(6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2)],
        *[(32, 2), (34, 2), (38, 4), (42, 4)],
    ],
    b"PK\5\6": [(4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)],
}


def lying_header(rng: Random, data: bytes) -> bytes:
    """Patch a field of one header, or of all its kind, so that they agree."""
    changed = bytearray(data)
    signature = rng.choice(list(_FIELDS))
    offset, width = rng.choice(_FIELDS[signature])
    number = rng.choice(
        [0, 1, 8, 9, 12, 14, 99, 10, 2**15, 2**16 - 1, 2**31, 2**32 - 1]
    )
    if rng.random() < 0.3:
        number = 1 << rng.randrange(8 * width)
    value = (number % 2 ** (8 * width)).to_bytes(width, "little")
    start = data.find(signature)
    while start >= 0 and start + offset + width <= len(data):
        changed[start + offset : start + offset + width] = value
        if rng.random() < 0.3:
            break
        start = data.find(signature, start + 4)
    return bytes(changed)


def zip64_record(rng: Random, data: bytes) -> bytes:
    """Add the records of a large archive, with numbers that are as large."""
    end = data.rfind(b"PK\5\6")
    if end < 0:
        return data
    big = rng.choice([1, 2**31, 2**40, 2**63, 2**64 - 1])
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, big, big, big, big)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, rng.choice([end, big]), 1)
    tail = bytearray(data[end:])
    tail[8:20] = b"\xff" * 12
    return data[:end] + record + locator + bytes(tail)


ZIP_DAMAGE: list[Damage] = [*[lying_header] * 6, zip64_record]


def lying_gzip(rng: Random, data: bytes) -> bytes:
    """Patch the header (method, flags) or the checksum and size at the end."""
    changed = bytearray(data)
    if len(data) > 18:
        at = rng.choice([2, 3, 3, 3, 8, 9, *range(-8, 0)])
        changed[at] = rng.randrange(256)
    return bytes(changed)


def more_gzip(rng: Random, data: bytes) -> bytes:
    """Members of a gzip file follow one another; rubbish may, too."""
    empty = gzip.compress(b"", mtime=0)
    tails = [data, empty, empty * 2000, b"\0" * 100, rng.randbytes(20), data[:15]]
    return data + rng.choice(tails)


# ---- what is damaged ---------------------------------------------------------------


def _sides(rng: Random) -> tuple[list[str], list[str]]:
    """A small corpus; now and then one that is longer than a block of the reader."""
    number = rng.choice([0, 1, 2, 5, 20, 20, 20, 3000])
    en, fa = rng.choices(_ENGLISH, k=number), rng.choices(_PERSIAN, k=number)
    if number and rng.random() < 0.1:
        del rng.choice([en, fa])[rng.randrange(number)]
    return en, fa


def _joined(rng: Random, lines: Sequence[str]) -> bytes:
    end = "\n" if lines and rng.random() < 0.8 else ""
    return ("\n".join(lines) + end).encode("utf-8")


def _tsv(rng: Random) -> bytes:
    en, fa = _sides(rng)
    return _joined(rng, [f"{a}\t{b}" for a, b in zip(en, fa, strict=False)])


def _jsonl(rng: Random) -> bytes:
    ascii_only = rng.random() < 0.5
    rows = zip(*_sides(rng), strict=False)
    return _joined(
        rng,
        [json.dumps({"e": a, "f": b}, ensure_ascii=ascii_only) for a, b in rows],
    )


def _vocabulary(rng: Random) -> bytes:
    letters = rng.sample(_LETTERS, rng.randrange(len(_LETTERS)))
    specials = [
        "<PAD>",
        "<SOS>",
        "<EOS>",
        "<UNK>",
        "ab",
        "",
        letters[:1] and letters[0],
    ]
    tokens = [*rng.sample(specials, rng.choice([0, 0, 0, 1, 3])), *letters]
    return json.dumps(tokens, ensure_ascii=rng.random() < 0.5).encode("utf-8")


@functools.lru_cache(maxsize=4)
def _bomb(kind: str) -> bytes:
    """Text that packs a thousand to one, beyond the allowance or well within it."""
    if kind == "lines":
        return (b"x" * 999 + b"\n") * 70_000
    if kind == "zeros":
        return b"a\n" + b"\0" * 30_000_000
    return b"\n" * 1_000_000


def _zipped(rng: Random, members: Sequence[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    # Of the methods that zip knows, we read two and must say so of the others.
    methods = [zipfile.ZIP_STORED, *[zipfile.ZIP_DEFLATED] * 6, zipfile.ZIP_BZIP2]
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")  # of two members with one name
        for name, data in members:
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.compress_type = rng.choice(methods)
            archive.writestr(info, data)
    return file.getvalue()


_HOSTILE_NAMES = ["../../x.txt", "/x", "a\nb.txt", "\u202etxt.gpj", "x" * 60_000, " "]


def _zip_of_text(rng: Random, damages: list[Damage]) -> Made:
    en, fa = (_joined(rng, side) for side in _sides(rng))
    history = []
    if rng.random() < 0.3:
        en, history = _damaged(rng, en, damages, most=1)
    if rng.random() < 0.01:
        en, history = _bomb(kind := rng.choice(["lines", "zeros", "empty"])), [kind]
    packed = rng.random() < 0.1
    members = [("en.txt.gz" if packed else "en.txt", en), ("fa.txt", fa)]
    if packed:
        members[0] = (members[0][0], gzip.compress(en, mtime=0))
    if rng.random() < 0.1:
        extra = rng.choice([*_HOSTILE_NAMES, "en.txt", "in.zip"])
        members.insert(rng.randrange(3), (extra, b"x\n"))
    if rng.random() < 0.01:
        members += [(f"{i}.txt", b"") for i in range(2000)]
    data = _zipped(rng, members)
    asked = rng.choice(members)[0] if rng.random() < 0.1 else members[0][0]
    parts = (f":{asked}", ":fa.txt") if rng.random() < 0.7 else (f":{asked}",)
    return Made("zip", "c.zip", data, parts, tuple(history))


def _zip_of_tsv(rng: Random, damages: list[Damage]) -> Made:
    tsv, history = _tsv(rng), []
    if rng.random() < 0.3:
        tsv, history = _damaged(rng, tsv, damages, most=1)
    data = _zipped(rng, [("p.tsv", tsv)])
    return Made("zip of tsv", "c.zip", data, _columns(rng, ":p.tsv"), tuple(history))


def _columns(rng: Random, before: str = "") -> tuple[str, str]:
    last = rng.choice(["1", "1", "1", "1", "1", "1", "2", "999999", "x", "٣"])
    return f"{before}:0", f"{before}:{last}"


def _gz(rng: Random, damages: list[Damage]) -> Made:
    text, history = _joined(rng, _sides(rng)[0]), []
    if rng.random() < 0.3:
        text, history = _damaged(rng, text, damages, most=1)
    if rng.random() < 0.01:
        text, history = _bomb(kind := rng.choice(["lines", "zeros", "empty"])), [kind]
    return Made("gz", "a.txt.gz", gzip.compress(text, mtime=0), ("",), tuple(history))


def _make_txt(rng: Random) -> Made:
    return Made("txt", "a.txt", _joined(rng, _sides(rng)[0]), ("",))


def _make_tsv(rng: Random) -> Made:
    return Made("tsv", "p.tsv", _tsv(rng), _columns(rng))


def _make_jsonl(rng: Random) -> Made:
    return Made("jsonl", "p.jsonl", _jsonl(rng), (":e", ":f"))


def _make_vocabulary(rng: Random) -> Made:
    return Made("vocabulary", "v.json", _vocabulary(rng), ())


_PLAIN = [*ANY_DAMAGE, *TEXT_DAMAGE * 2]
# How a file of each kind is made, and what is done to it.
KINDS: list[tuple[Callable[[Random], Made], list[Damage]]] = [
    (lambda rng: _zip_of_text(rng, _PLAIN), [*ANY_DAMAGE, *ZIP_DAMAGE * 2]),
    (lambda rng: _zip_of_tsv(rng, _PLAIN), [*ANY_DAMAGE, *ZIP_DAMAGE]),
    (_make_txt, _PLAIN),
    (_make_tsv, _PLAIN),
    (_make_jsonl, [*_PLAIN, *[strange_json] * 12]),
    (lambda rng: _gz(rng, _PLAIN), [*ANY_DAMAGE, *[lying_gzip] * 4, more_gzip]),
    (_make_vocabulary, [*_PLAIN, *[strange_json] * 12]),
]


def _damaged(
    rng: Random, data: bytes, damages: list[Damage], most: int = 3
) -> tuple[bytes, list[str]]:
    """The data after some damage, and the names of what was done."""
    history = []
    for _ in range(rng.randint(1, most)):
        damage = rng.choice(damages)
        data = damage(rng, data)
        history.append(damage.__name__)
    return data, history


def make_input(seed: int, number: int) -> Made:
    """The input of a number: the same wherever zlib packs alike.

    One in thirty stays whole, so that "refuse everything" is no way to pass.
    """
    rng = random.Random(f"{seed}:{number}")  # a text: hashed, so neighbours differ
    make, damages = KINDS[number % len(KINDS)]
    made = make(rng)
    if rng.random() < 1 / 30:
        return made
    data, history = _damaged(rng, made.data, damages)
    return dataclasses.replace(made, data=data, history=(*made.history, *history))


# ---- reading it --------------------------------------------------------------------


def read_input(made: Made, folder: Path) -> Outcome:
    """What the reader makes of one input, which is written into the folder."""
    path = folder / made.name
    path.write_bytes(made.data)
    started = time.perf_counter()
    try:
        fault = _read(made, path)
        verdict, said = ("failed", fault) if fault else ("read", "")
    except InputError as error:
        said = str(error)
        fault = _fault_of_message(said)
        verdict, said = ("failed", fault) if fault else ("refused", said)
    except Exception:
        verdict, said = "failed", traceback.format_exc()
    return Outcome(verdict, said, time.perf_counter() - started)


def _read(made: Made, path: Path) -> str:
    """What is wrong with what was read, "" if nothing is."""
    if made.kind == "vocabulary":
        vocabulary = read_character_vocabulary(path, Specials())
        return "" if len(vocabulary) > 4 else "a vocabulary without a character"
    specs = [f"{path}{part}" for part in made.parts]
    if len(specs) == 1:
        lines = list(read_lines(specs[0]))
        wrong = made.name == "a.txt" and lines != _lines_of(made.data)
        return (
            "the lines are not those of the file" if wrong else _fault_of_lines(lines)
        )
    sides = [list(s) for s in zip(*read_pairs(*specs, note=_noted), strict=True)]
    if made.name == "p.tsv" and sides:
        rows = [line.split("\t") for line in _lines_of(made.data)]
        columns = [int(part[1:]) for part in made.parts]
        if sides != [[row[c] if row != [""] else "" for row in rows] for c in columns]:
            return "the pairs are not those of the file"
    return next(filter(None, map(_fault_of_lines, sides)), "")


def _lines_of(data: bytes) -> list[str]:
    """The lines of a text, said in the shortest way there is."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return [line.removesuffix(b"\r").decode("utf-8") for line in lines]


def _fault_of_lines(lines: list[str]) -> str:
    """What no line may ever hold: a line feed, or what UTF-8 has no bytes for."""
    text = "".join(lines)
    if "\n" in text:
        return "a line has a line feed in it"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"a line cannot be written again: {error}"
    return ""


def _fault_of_message(message: str) -> str:
    """What is wrong with a sentence for the person, "" if nothing is."""
    if not message.strip():
        return "the message is empty"
    if not message.isprintable():
        return f"the message is not one printable line: {message[:500]!r}"
    if "Traceback" in message or 'File "' in message:
        return f"the message shows our code: {message[:500]}"
    if len(message) > MAX_MESSAGE:
        return f"the message has {len(message):,} characters: {message[:200]}..."
    return ""


def _noted(note: str) -> None:
    if fault := _fault_of_message(note):
        raise AssertionError(fault)


def peak_bytes() -> int:
    """The most memory that this process had, 0 where the system does not say."""
    # ru_maxrss would begin with that of the process which started this one.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").split("\n"):
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# ---- separators --------------------------------------------------------------------


def make_corpus(seed: int, number: int) -> list[tuple[str, str]]:
    """Random pairs with the nine separators in them, the same on every machine.

    One "\\r" before a line feed belongs to the line end, so no line ends in one.
    """
    rng = random.Random(f"separators:{seed}:{number}")
    letters = SEPARATORS + 'abé  "\u200cیکگ\U0001f600\ufeff'

    def line() -> str:
        text = "".join(rng.choices(letters, k=rng.choice([0, 1, 3, 8, 20])))
        return text.rstrip("\r").lstrip("\ufeff")

    # The longest are more than a block of the reader (64 KiB).
    rows = rng.choice([0, 1, 2, 3, 5, 8, 13, 21, 34]) if number % 100 else 3000
    return [(line(), line()) for _ in range(rows)]


def misaligned(pairs: list[tuple[str, str]], folder: Path, number: int) -> list[str]:
    """The containers that do not give back the pairs that were put into them."""
    # Without a line feed at the end, a last line that is empty would be none.
    end = "\n" if pairs and (number % 2 or not all(pairs[-1])) else ""
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    en, fa = (("\n".join(side) + end).encode("utf-8") for side in sides)
    tsv = ("\n".join(map("\t".join, pairs)) + end).encode("utf-8")
    rows = ({"e": a, "f": b} for a, b in pairs)
    jsonl = "\n".join(json.dumps(row, ensure_ascii=number % 3 == 0) for row in rows)
    with zipfile.ZipFile(folder / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (("en.txt", en), ("fa.txt", fa), ("p.tsv", tsv)):
            archive.writestr(name, data)
    for name, data in (
        *(("en.txt", en), ("fa.txt", fa), ("p.tsv", tsv)),
        *(("p.jsonl", jsonl.encode("utf-8")),),
        *(("en.txt.gz", gzip.compress(en, 1)), ("p.tsv.gz", gzip.compress(tsv, 1))),
    ):
        (folder / name).write_bytes(data)
    wrong = []
    for what, src, tgt in (
        ("txt", "en.txt", "fa.txt"),
        ("tsv", "p.tsv:0", "p.tsv:1"),
        ("zip", "c.zip:en.txt", "c.zip:fa.txt"),
        ("zip of tsv", "c.zip:p.tsv:0", "c.zip:p.tsv:1"),
        ("gz", "en.txt.gz", "p.tsv.gz:1"),
        ("jsonl", "p.jsonl:e", "p.jsonl:f"),
    ):
        specs = (str(folder / src), str(folder / tgt))
        notes: list[str] = []
        try:
            if list(read_pairs(*specs, note=notes.append)) != pairs or notes:
                wrong.append(what)
        except InputError as error:
            wrong.append(f"{what} ({error})")
    return wrong


# ---- the runs ----------------------------------------------------------------------


def fuzz_inputs(
    numbers: Sequence[int], seed: int, *, say: Callable, save: Path
) -> dict:
    """The figures of reading the inputs of these numbers; failures are shown."""
    verdicts: dict[str, collections.Counter] = collections.defaultdict(
        collections.Counter
    )
    failures, slowest = [], (0.0, -1)
    with tempfile.TemporaryDirectory(prefix="fuzz-reader-") as folder:
        for number in _with_progress(numbers, "inputs", say):
            made = make_input(seed, number)
            outcome = read_input(made, Path(folder))
            verdicts[made.kind][outcome.verdict] += 1
            slowest = max(slowest, (outcome.seconds, number))
            if outcome.verdict != "failed":
                continue
            failures.append(number)
            save.mkdir(parents=True, exist_ok=True)
            kept = save / f"{seed}-{number}-{made.name}"
            kept.write_bytes(made.data)
            say(
                f"input {number} of seed {seed} ({made.kind}: "
                f"{', '.join(made.history) or 'whole'}; read as {made.parts}) failed; "
                f"its bytes are in {kept}; again with --seed {seed} --only {number}\n"
                f"{outcome.said}"
            )
    total = sum(verdicts.values(), collections.Counter())
    return {
        "inputs": len(numbers),
        "seed": seed,
        "read": total["read"],
        "refused": total["refused"],
        "failed": len(failures),
        "first_failures": failures[:20],
        "slowest_seconds": round(slowest[0], 2),
        "slowest_input": slowest[1],
        "peak_mb": round(peak_bytes() / 1e6),
        "kinds": {kind: dict(sorted(c.items())) for kind, c in verdicts.items()},
    }


def fuzz_separators(number: int, seed: int, *, say: Callable) -> dict:
    """The figures of reading so many corpora with separators in their lines."""
    failures, lines = [], 0
    with tempfile.TemporaryDirectory(prefix="fuzz-reader-") as folder:
        for i in _with_progress(range(number), "separators", say):
            pairs = make_corpus(seed, i)
            lines += len(pairs)
            if wrong := misaligned(pairs, Path(folder), i):
                failures.append(i)
                say(f"corpus {i} of seed {seed} is misaligned: {', '.join(wrong)}")
    return {
        "corpora": number,
        "seed": seed,
        "pairs": lines,
        "misaligned": len(failures),
        "first_failures": failures[:20],
    }


def _with_progress(numbers: Sequence[int], what: str, say: Callable) -> Iterator[int]:
    """The numbers, with a plain line now and then on how far they are.

    Where one of them takes for ever, the process shows the code that it is in and ends,
    and leaves the file in its temporary folder.
    """
    last = started = time.monotonic()
    try:
        for done, number in enumerate(numbers):
            now = time.monotonic()
            if now - last >= SECONDS_BETWEEN_LINES:
                last = now
                say(f"  {what}  {done:,} of {len(numbers):,}  {now - started:.0f}s")
            faulthandler.dump_traceback_later(
                HANG_SECONDS, exit=True, file=sys.__stderr__
            )
            yield number
    finally:
        faulthandler.cancel_dump_traceback_later()


def missed_bars(figures: dict) -> list[str]:
    """A sentence for each bar that the figures miss."""
    missed = []
    inputs, separators = figures.get("inputs"), figures.get("separators")
    if inputs and inputs["failed"]:
        missed.append(f"{inputs['failed']:,} inputs failed, expected none")
    if inputs and inputs["slowest_seconds"] > MAX_SECONDS:
        missed.append(
            f"input {inputs['slowest_input']} took {inputs['slowest_seconds']:.1f} "
            f"seconds, expected at most {MAX_SECONDS:.0f}"
        )
    if inputs and inputs["peak_mb"] * 1e6 > MAX_PEAK_BYTES:
        missed.append(
            f"memory peaked at {inputs['peak_mb']:,} MB, expected at most "
            f"{MAX_PEAK_BYTES / 1e6:,.0f}"
        )
    if inputs and not inputs["read"]:
        missed.append("not one input was read, expected those that are whole")
    if separators and separators["misaligned"]:
        missed.append(f"{separators['misaligned']:,} corpora were misaligned")
    return missed


def machine() -> str:
    """The machine in a few words."""
    words = f"{os.cpu_count()} cores, {platform.machine().replace('_', '-')}"
    words += f" ({platform.system()})"
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        words += f", {round(size / 2**30)} GiB"
    return words


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Reads damaged files by the thousand; fails if one gets through."
    )
    parser.add_argument("--inputs", type=int, default=0, help="how many damaged files")
    parser.add_argument("--separators", type=int, default=0, help="how many corpora")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="read the input of this number alone")
    parser.add_argument(
        "--save",
        type=Path,
        default=Path(tempfile.gettempdir()) / "flaxformer-mt-fuzz",
        help="where the bytes of failures are kept (default: %(default)s)",
    )
    parser.add_argument(
        "--result", type=Path, default=RESULT, help="default: %(default)s"
    )
    opts = parser.parse_args(arguments)
    if opts.only is None and not opts.inputs and not opts.separators:
        parser.error("give --inputs, --separators or --only")

    def say(text: str) -> None:
        print(text, flush=True)

    if opts.only is not None:
        return _show_one(opts.seed, opts.only, opts.save, say)
    started, figures = time.monotonic(), {}
    if opts.inputs:
        figures["inputs"] = fuzz_inputs(
            range(opts.inputs), opts.seed, say=say, save=opts.save
        )
    if opts.separators:
        figures["separators"] = fuzz_separators(opts.separators, opts.seed, say=say)
    missed = missed_bars(figures)
    given = sys.argv[1:] if arguments is None else arguments
    facts = {
        "command": " ".join(["python -m experiments.fuzz_reader", *given]),
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "environment": {
            "flaxformer-mt": __version__,
            "python": platform.python_version(),
            "zlib": zlib.ZLIB_RUNTIME_VERSION,
        },
        "wall_seconds": round(time.monotonic() - started, 1),
        **figures,
        "missed_bars": missed,
    }
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    opts.result.write_text(text + "\n", encoding="utf-8")
    say(text)
    for sentence in missed:
        say(f"missed: {sentence}")
    return 1 if missed else 0


def _show_one(seed: int, number: int, save: Path, say: Callable) -> int:
    """Reads one input once more and says what became of it; returns the exit code."""
    figures = {"inputs": fuzz_inputs([number], seed, say=say, save=save)}
    made = make_input(seed, number)
    say(f"{made.kind}, {len(made.data):,} bytes, read as {made.parts}")
    say(f"what was done to it: {', '.join(made.history) or 'nothing'}")
    with tempfile.TemporaryDirectory(prefix="fuzz-reader-") as folder:
        outcome = read_input(made, Path(folder))
    say(f"{outcome.verdict} in {outcome.seconds:.2f} seconds: {outcome.said or 'well'}")
    missed = [bar for bar in missed_bars(figures) if "not one" not in bar]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
