"""Texts that are longer than a model reads, cut where it hurts least."""

import re
from collections.abc import Callable, Sequence

# Where a text may be cut, from the best place on, and what stands there when parts are
# put together again: between sentences, between words, between characters.
_CUTS: tuple[tuple[Callable[[str], list[str]], str], ...] = (
    (re.compile(r"(?<=[.!?؟…。])\s+").split, " "),
    (re.compile(" ").split, " "),
    (list, ""),
)


def split_text(
    text: str, longest: int, length: Callable[[str], int] = len
) -> list[str]:
    """The text in pieces of at most `longest` by `length`, as whole as can be.

    Cuts at sentence ends; where a sentence alone is too long, at spaces; where a word
    is, inside the word, but never inside a character. Nothing is left out but the
    spaces at the cuts. But for a few times, `length` is asked for stretches of about
    `longest`, so that the time grows with the text and not with its square.
    """
    pieces = _split(text, longest, length, _CUTS)
    return [piece for piece in pieces if piece.strip()]


def _split(
    text: str,
    longest: int,
    length: Callable[[str], int],
    cuts: Sequence[tuple[Callable[[str], list[str]], str]],
) -> list[str]:
    if not cuts or length(text) <= longest:
        return [text]
    (split, between), *finer = cuts
    parts, pieces, start = split(text), [], 0
    while start < len(parts):
        num = _num_that_fit(parts, start, between, longest, length)
        if num:
            pieces.append(between.join(parts[start : start + num]))
            start += num
            continue
        cut = _split(parts[start], longest, length, finer)
        if len(cut) == 1:  # a character that is too long by itself
            pieces += cut
            start += 1
        else:  # what is left at the end may go with the next part
            *whole, parts[start] = cut
            pieces += whole
    return pieces


def _num_that_fit(
    parts: list[str],
    start: int,
    between: str,
    longest: int,
    length: Callable[[str], int],
) -> int:
    """How many parts from `start` on fit into one piece: doubling, then halving."""

    def fits(num: int) -> bool:
        return length(between.join(parts[start : start + num])) <= longest

    left = len(parts) - start
    num = 1
    while num <= left and fits(num):
        num *= 2
    low, high = num // 2, min(num, left + 1)  # low fit, high do not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
