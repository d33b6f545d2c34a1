"""A corpus: the lines of two sources, side by side as pairs, and its fingerprint.

Both sides are read in step and nothing of them is kept. That they have unequally many
lines only their ends can show, so that error arrives after pairs were handed out; it
says where a line was probably lost.
"""

import hashlib
import itertools
import math
from array import array
from collections.abc import Callable, Iterator

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.lines import count, read_lines
from flaxformer_mt.text.sources import MAX_EXPANDED_BYTES, printable


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
    src, tgt = (printable(spec) for spec in specs)
    if len(lengths[0]) == len(lengths[1]):
        longer, shorter = (src, tgt) if counts[0] > counts[1] else (tgt, src)
        blank = count(abs(counts[0] - counts[1]), "blank line")
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
