"""Lines as they come and go: what the doors read from a file or a pipe, and write.

    bytes -> input_lines -> read_ahead -> with_prefixes -> a translator -> RowWriter

A thread reads ahead, up to a bounded number of lines. Where a pipe has nothing more at
the moment, `None` goes along with the lines: answer what you have. So a program that
writes one line and waits has its answer, and a million lines never fill the memory.
"""

import collections
import contextlib
import json
import math
import os
import queue
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, TypeVar

from flaxformer_mt.errors import InputError
from flaxformer_mt.terminal import Progress
from flaxformer_mt.text.lines import MAX_LINE_BYTES
from flaxformer_mt.text.sources import faults

AHEAD = 1024  # lines that wait to be taken
PATIENCE = 0.01  # seconds: a program that writes line after line is faster than this
SECONDS_BETWEEN_FLUSHES = 0.05
SECONDS_BEFORE_PROGRESS = 3.0
SECONDS_BETWEEN_SHOWS = 0.1

Item = TypeVar("Item")


# ---- in --------------------------------------------------------------------------


def own_reader(descriptor: int) -> BinaryIO:
    """A byte stream over an open file that a thread may still read when Python ends.

    Python closes sys.stdin at its end, and dies of it where a thread is reading there.
    """
    return open(descriptor, "rb", closefd=False)


def bytes_left(stream: BinaryIO) -> int:
    """How many bytes a file still has to be read; 0 for a pipe or a terminal."""
    try:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            return 0
        return max(status.st_size - stream.tell(), 0)
    except OSError:
        return 0


def input_lines(
    stream: BinaryIO, note_size: Callable[[int], Any] = lambda num_bytes: None
) -> Iterator[str]:
    """The lines of a byte stream, split at "\\n" alone, without a final "\\r".

    note_size: gets the bytes of each line, before the line is handed out.

    Raises:
      InputError: a line is not UTF-8, or too long to be one; nothing can be read.
    """
    number = 0
    while True:
        with faults("standard input cannot be read"):
            line = stream.readline(MAX_LINE_BYTES + 1)
        if not line:
            return
        number += 1
        if len(line.removesuffix(b"\n")) > MAX_LINE_BYTES:
            raise InputError(
                f"standard input line {number:,} is longer than the limit of "
                f"{MAX_LINE_BYTES:,} bytes: expected one sentence a line."
            )
        note_size(len(line))
        text = _decoded(line.removesuffix(b"\n").removesuffix(b"\r"), number)
        yield text.removeprefix("\ufeff") if number == 1 else text


def _decoded(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"standard input must be UTF-8; line {number:,}, byte "
            f"{error.start + 1} is not: convert it, as with iconv -t utf-8."
        ) from None


class _End(NamedTuple):
    """What a thread puts last: the error that it met, if any."""

    error: BaseException | None


def read_ahead(
    items: Iterable[Item], *, ahead: int = AHEAD, patience: float | None = PATIENCE
) -> Iterator[Item | None]:
    """The items, taken by a thread of its own; None where the next is not there yet.

    After a None it waits as long as it takes, and so it does for the first item. What
    goes wrong in the thread is raised here, after the items before it.

    Args:
      ahead: items that may wait to be taken; beyond, the thread waits.
      patience: seconds before a None; None, there is never one.
    """
    waiting: queue.Queue = queue.Queue(maxsize=ahead)
    # A daemon: it may wait for a pipe that never ends.
    threading.Thread(target=_fill, args=(waiting, items), daemon=True).start()
    return _drain(waiting, patience)


def _fill(waiting: queue.Queue, items: Iterable[Any]) -> None:
    end = _End(None)
    try:
        for item in items:
            waiting.put(item)
    except BaseException as error:
        end = _End(error)
    waiting.put(end)


def _drain(waiting: queue.Queue, patience: float | None) -> Iterator[Any]:
    seconds = None
    while True:
        try:
            item = waiting.get(timeout=seconds)
        except queue.Empty:
            seconds = None
            yield None
            continue
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            return
        yield item
        seconds = patience


# ---- prefixes ----------------------------------------------------------------------


class PrefixedLine(NamedTuple):
    """A line, and the beginning that its translation must have."""

    text: str
    prefix: str = ""


def with_prefix(lines: Iterable[str | None], prefix: str) -> Iterator[Any]:
    """Each line with the same beginning; None stays None."""
    for line in lines:
        yield None if line is None else PrefixedLine(line, prefix)


def with_prefixes(
    lines: Iterable[str | None], prefixes: Iterable[str]
) -> Iterator[PrefixedLine | None]:
    """Each line with a beginning of its own; None stays None.

    Raises:
      InputError: there are more lines than beginnings, or fewer; as soon as that is
        known, after the lines before.
    """
    prefixes, number = iter(prefixes), 0
    for line in lines:
        if line is None:
            yield None
            continue
        prefix = next(prefixes, None)
        if prefix is None:
            raise _unequal(f"{number:,}", f"at least {number + 1:,}")
        number += 1
        yield PrefixedLine(line, prefix)
    if more := sum(1 for _ in prefixes):
        raise _unequal(f"{number + more:,}", f"{number:,}")


def _unequal(num_prefixes: str, num_lines: str) -> InputError:
    return InputError(
        "--prefixes must have a line for each line of standard input; got "
        f"{num_prefixes} in --prefixes and {num_lines} in standard input: add lines "
        "until they agree (an empty one forces nothing)."
    )


def apart(
    lines: Iterable[PrefixedLine | None],
) -> tuple[Iterator[str | None], Iterator[str]]:
    """(the lines alone, the prefixes of the lines that were taken so far)."""
    taken: collections.deque[str] = collections.deque()

    def texts() -> Iterator[str | None]:
        for line in lines:
            if line is not None:
                taken.append(line.prefix)
            yield None if line is None else line.text

    def prefixes() -> Iterator[str]:
        while taken:
            yield taken.popleft()

    return texts(), prefixes()


# ---- errors ------------------------------------------------------------------------


class Postponed:
    """An error of the input, kept until the lines before it are answered."""

    def __init__(self) -> None:
        self.error: InputError | None = None

    def until_error(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items up to an error, as if they ended there."""
        try:
            yield from items
        except InputError as error:
            self.error = error

    def raise_now(self) -> None:
        """Raises the error, if there was one."""
        if self.error is not None:
            raise self.error


@contextlib.contextmanager
def at_line(number: int) -> Iterator[None]:
    """Says in an error which line it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"line {number:,}: {error}") from error


# ---- out -----------------------------------------------------------------------------


def one_line(text: str) -> str:
    """The text as one line, whatever a vocabulary may hold."""
    return text.replace("\n", " ")


def json_row(fields: dict[str, Any]) -> str:
    """The fields as a line of JSON, letters as they are; what is no number is null."""
    return json.dumps(_finite(fields), ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """The value with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class RowWriter:
    """Writes rows as UTF-8, and hands them over a few times a second, and whenever
    nothing is left to do; half of a surrogate pair is written as its escape, which
    JSON reads back."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.has_unflushed = False
        self.last_flush = time.monotonic()

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.flush()

    def write(self, rows: str) -> None:
        """Writes one row or several, each with its "\\n"."""
        self.stream.write(rows.encode("utf-8", "backslashreplace"))
        self.has_unflushed = True
        if time.monotonic() - self.last_flush >= SECONDS_BETWEEN_FLUSHES:
            self.flush()

    def flush(self) -> None:
        """Hands over what was written."""
        if self.has_unflushed:
            self.stream.flush()
            self.has_unflushed = False
            self.last_flush = time.monotonic()

    def flushed_before(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items; what was written is handed over before each is asked for."""
        for item in items:
            yield item
            self.flush()


class Pace:
    """Shows how many lines are answered and how fast, once it takes a while."""

    def __init__(self, what: str, *, total_bytes: int = 0, visible: bool = True):
        """total_bytes: of the input; 0 where it is not known."""
        self.what, self.total_bytes, self.visible = what, total_bytes, visible
        self.sizes: collections.deque[int] = collections.deque()  # not answered yet
        self.num_lines = self.num_bytes = 0
        self.began = self.last_show = time.monotonic()
        self.progress: Progress | None = None
        self.stack = contextlib.ExitStack()

    def __enter__(self) -> "Pace":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stack.close()

    def read(self, num_bytes: int) -> None:
        """Notes that a line was read; from any thread."""
        self.sizes.append(num_bytes)

    def answered(self) -> None:
        """Notes that the next line is answered, and shows it now and then."""
        self.num_lines += 1
        self.num_bytes += self.sizes.popleft() if self.sizes else 0
        now = time.monotonic()
        if (
            not self.visible
            or now - self.began < SECONDS_BEFORE_PROGRESS
            or now - self.last_show < SECONDS_BETWEEN_SHOWS
        ):
            return
        self.last_show = now
        if self.progress is None:
            self.progress = self.stack.enter_context(
                Progress(self.what, self.total_bytes)
            )
        speed = self.num_lines / (now - self.began)
        self.progress.show(
            self.num_bytes, f"{self.num_lines:,} lines, {speed:,.0f} a second"
        )
