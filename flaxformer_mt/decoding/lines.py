"""Lines to be translated, as they come in: with what each translation begins with, and
a few at a time."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from flaxformer_mt.errors import InputError

# Lines that are sorted by length together, few at first; the last number stays.
WINDOWS = (16, 64, 512, 4096)


class Line(NamedTuple):
    """A text to be translated beside others that it has nothing to do with."""

    text: str
    prefix: str = ""  # what its translation begins with
    seed: int = 0  # a sample depends on it,
    number: int = 0  # on the line's number among those of its own, and on nothing else


# Is called with a line's place and with what gives its translation so far; returns
# whether the line is still wanted.
LineWatch = Callable[[int, Callable[[], str]], bool]


class AbandonedError(Exception):
    """Nobody wants this translation any more, so it was not finished."""


def pair_up(
    lines: Iterable[str | None], prefixes: Iterable[str] | None, prefix: str
) -> Iterator[tuple[str, str] | None]:
    """Lines with their prefixes; None stays None.

    Raises:
      InputError: there are more of one than of the other.
    """
    if prefixes is None:
        for line in lines:
            yield None if line is None else (line, prefix)
        return
    begins, count = iter(prefixes), 0
    for line in lines:
        if line is None:
            yield None
            continue
        begin = next(begins, None)
        if begin is None:
            raise InputError(
                f"there must be a prefix for each line; got {count:,} prefixes and at "
                f"least {count + 1:,} lines."
            )
        count += 1
        yield line, begin
    rest = sum(1 for _ in begins)
    if rest:
        raise InputError(
            f"there must be a prefix for each line; got {count + rest:,} prefixes and "
            f"{count:,} lines."
        )


def windows(
    lines: Iterable[tuple[str, str] | None],
) -> Iterator[tuple[list[tuple[str, str]], bool]]:
    """(lines to sort by length together, whether nothing more is there for now): few at
    first, so that the first translation comes soon."""
    sizes = itertools.chain(WINDOWS, itertools.repeat(WINDOWS[-1]))
    window: list[tuple[str, str]] = []
    size = next(sizes)
    for line in lines:
        if line is not None:
            window.append(line)
        if line is None or len(window) == size:
            if window or line is None:
                yield window, line is None
            size = next(sizes) if line is not None else size
            window = []
    yield window, True
