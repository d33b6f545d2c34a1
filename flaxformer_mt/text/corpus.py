"""A corpus: the lines of two sources, side by side as pairs, and its fingerprint.

Both sides are read in step and nothing of them is kept. That they have unequally many
lines only their ends can show, so that error arrives after pairs were handed out; it
says where a line was probably lost.
"""

import hashlib
import itertools
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.lines import Lines, count, read_lines
from flaxformer_mt.text.sources import MAX_EXPANDED_BYTES, printable

MAX_NEAR = 50  # lines to look through for a lost one: more is not "near" a line
NO_CHANCE = 3.0  # standard deviations by which translations must fit better than others


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
    sides: tuple[Lines, Lines],
    note: Callable[[str], None],
    max_bytes: int,
) -> Iterator[tuple[str, str]]:
    """Yield pairs up to the end of the shorter side, then ask why the other goes on."""
    with ExitStack() as stack:
        for side in sides:  # the other one is still open where one ends or fails
            stack.callback(side.close)
        for pair in itertools.zip_longest(*sides):
            if None in pair:
                break
            yield pair
        else:
            return
    _explain_unequal(specs, note, max_bytes)


def _explain_unequal(
    specs: tuple[str, str], note: Callable[[str], None], max_bytes: int
) -> None:
    """Report blank lines at the end of one side; raise where other lines are lost.

    Both files are read again for it, because the way without faults keeps no record;
    here 8 bytes a line are. What is left over may not decide: of two files that both
    end in a blank line, one that lost a line further up leaves over a blank line too,
    with every pair since the loss shifted by one.
    """
    sides = [_Outline(read_lines(spec, max_bytes=max_bytes)) for spec in specs]
    src, tgt = (printable(spec) for spec in specs)
    if len(sides[0]) == len(sides[1]):
        more = sides[0].count - sides[1].count
        longer, shorter = (src, tgt) if more > 0 else (tgt, src)
        note(
            f"{longer} ends in {count(abs(more), 'blank line')} more than {shorter}: "
            "left out."
        )
        return
    best, first, last = _suspicious_lines(*sides)
    near = f"near line {best:,}"
    if last - first > MAX_NEAR:
        near = f"somewhere in lines {first:,} to {last:,}"
    raise InputError(
        f"source has {sides[0].count:,} lines, target {sides[1].count:,}; first "
        f"suspicious pair {near} of {src} and {tgt}: add or remove lines there until "
        "the counts agree."
    )


class _Outline:
    """What is kept of a side's lines, without the blank ones at its end."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.count = 0  # of all lines
        self.lengths = array("I")  # in characters
        self.ends = array("I")  # the last character, 0 if there is none
        for line in lines:
            line = line.strip()
            self.count += 1
            self.lengths.append(len(line))
            self.ends.append(ord(line[-1]) if line else 0)
        while self.lengths and self.lengths[-1] == 0:
            self.lengths.pop()
            self.ends.pop()

    def __len__(self) -> int:
        return len(self.lengths)


def _suspicious_lines(src: _Outline, tgt: _Outline) -> tuple[int, int, int]:
    """Return the likeliest line at which two sides cease to fit, and a range for it.

    Lines are counted from 1; the range has nine tenths of the probability. It is all
    lines where the sides do not look like translations of one another.

    If the shorter side lost k lines in one place, pairs (i, i) fit before that place
    and pairs (i + k, i) behind it. The place with the best total fit is the likeliest.
    How well two lines fit is a sum of two logarithms of probabilities:

    - A sentence and its translation have lengths in a nearly constant ratio (Gale and
      Church 1993, "A program for aligning sentences in bilingual corpora"). The
      logarithm of the ratio is taken to be Laplace-distributed.
    - They end alike: a "?" goes with a "؟" (Simard, Foster and Isabelle 1992 use
      punctuation so). Which ends go together is counted in the files themselves: of
      the pairs (i, i) and (i + k, i), one is true wherever the loss was.
    """
    longer, shorter = (src, tgt) if len(src) > len(tgt) else (tgt, src)
    shift, number = len(longer) - len(shorter), len(shorter)
    if number == 0:
        return 1, 1, 1
    stay = np.arange(number)  # the partner of line j where nothing is lost before it
    fit = _fit(longer, shorter, stay, stay + shift)

    # scores[i]: the first i pairs are (i, i), and the loss comes then.
    gains = np.cumsum(fit(stay) - fit(stay + shift))
    scores = np.concatenate([[0.0], gains])
    best = int(np.argmax(scores))
    weights = np.cumsum(np.exp(scores - scores[best]))
    first, last = np.searchsorted(weights, weights[-1] * np.array([0.05, 0.95]))
    # Lines that have nothing to do with one another fit somewhere best, too. Half a
    # file apart they show how well, and a sum's size by chance grows with the root.
    partners = np.where(stay < best, stay, stay + shift)
    better = fit(partners) - fit((stay + len(longer) // 2) % len(longer))
    if better.sum() <= NO_CHANCE * np.sqrt(np.square(better).sum()):
        first, last = 0, number
    return best + 1, int(first) + 1, int(last) + 1


def _fit(
    longer: _Outline, shorter: _Outline, *partners: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that says how well the shorter side's lines fit some others.

    It takes and gives [lines of the shorter side]: indices into the longer side, and
    logarithms of probabilities up to a constant.

    Args:
        longer, shorter: the sides.
        partners: candidates of which one is right, for each line; what is usual in
            this corpus is counted in them.
    """
    lengths = [np.array(side.lengths, np.float64) + 1 for side in (longer, shorter)]
    usual = np.log(lengths[0].sum() / lengths[1].sum())

    def misfit(lines: np.ndarray) -> np.ndarray:
        return np.abs(np.log(lengths[0][lines] / lengths[1]) - usual)

    # The width of the distribution. A floor: no two sentences are that exact.
    width = max(np.minimum.reduce([misfit(lines) for lines in partners]).mean(), 0.05)

    ends = [np.array(side.ends, np.int64) for side in (longer, shorter)]
    often = [_how_often(side) for side in ends]

    def both(lines: np.ndarray) -> np.ndarray:
        return ends[0][lines] << 21 | ends[1]  # a code point has 21 bits

    known, counts = np.unique(
        np.concatenate([both(lines) for lines in partners]), return_counts=True
    )

    def fit(lines: np.ndarray) -> np.ndarray:
        pairs = both(lines)
        at = np.minimum(np.searchsorted(known, pairs), len(known) - 1)
        together = np.where(known[at] == pairs, counts[at], 0) / len(partners)
        by_chance = often[0][lines] * often[1] / len(longer)
        # One more on either side, so that what is rare proves little.
        return np.log((together + 1) / (by_chance + 1)) - misfit(lines) / width

    return fit


def _how_often(values: np.ndarray) -> np.ndarray:
    """Return for each value how often it occurs among all of them."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return counts[places]


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
