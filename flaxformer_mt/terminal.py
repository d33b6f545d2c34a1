"""What a person sees while something runs: sentences, progress, translations.

Everything here goes to stderr, so that stdout holds results alone and can be piped.
"""

import contextlib
import os
import re
import sys
import time
from collections.abc import Callable
from types import TracebackType

import rich.box
import rich.console
import rich.markup
import rich.progress
import rich.table

Tell = Callable[[str], None]  # takes one line for the person

SECONDS_BETWEEN_LINES = 10.0  # where there is no terminal to redraw

# Hebrew, Arabic and their neighbours and presentation forms.
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")
_ISOLATE, _POP = "\u2068", "\u2069"


def isolate(text: str) -> str:
    """The text, wrapped so that a terminal orders it by its own first letter.

    A right-to-left text is put between FIRST STRONG ISOLATE and POP DIRECTIONAL ISOLATE
    (Unicode Annex 9), so that neither its punctuation nor what stands before it on the
    line jumps to the other side. For display only: never put it into a file.
    """
    return f"{_ISOLATE}{text}{_POP}" if _RIGHT_TO_LEFT.search(text) else text


def say(text: str = "") -> None:
    """Prints one line for the person. Where nobody reads any more, or the disk behind
    stderr is full, work goes on without words."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        with contextlib.suppress(OSError):  # Python would fail again when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def say_translation(src: str, reference: str | None, translation: str) -> None:
    """Prints one sentence, each text on a line of its own: right-to-left text that
    shares its line with left-to-right text is hard to read."""
    say(f"    source       {isolate(src)}")
    if reference is not None:
        say(f"    reference    {isolate(reference)}")
    say(f"    translation  {isolate(translation)}")


def say_table(headers: list[str], rows: list[list[str]]) -> None:
    """Prints a table for the person, numbers to the right."""
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD)
    for header in headers:
        table.add_column(header, justify="right")
    for row in rows:
        table.add_row(*map(rich.markup.escape, row))
    rich.console.Console(stderr=True).print(table)


def in_words(seconds: float) -> str:
    """A duration: "42s", "3:05" or "1:02:03"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Progress:
    """How far something is, how fast, how long still.

    A bar at a terminal; elsewhere a plain line every ten seconds. `with Progress(...)
    as progress: progress.show(done, "loss 1.23")`.
    """

    def __init__(self, what: str, total: float, *, visible: bool = True) -> None:
        """total: 0 where it is not known beforehand."""
        self.has_total = total > 0
        self.what, self.total, self.visible = what, max(total, 1e-9), visible
        self.console = rich.console.Console(stderr=True)
        self.bar: rich.progress.Progress | None = None
        self.first_done: float | None = None
        self.last_line = time.monotonic()
        self.first_time = 0.0

    def __enter__(self) -> "Progress":
        if self.visible and self.console.is_terminal:
            self.bar = rich.progress.Progress(
                rich.progress.TextColumn("{task.description}"),
                rich.progress.BarColumn(bar_width=None),
                rich.progress.TaskProgressColumn(),
                rich.progress.TextColumn("{task.fields[status]}"),
                console=self.console,
                transient=True,
            )
            total = self.total if self.has_total else None
            self.task = self.bar.add_task(self.what, total=total, status="")
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar:
            self.bar.stop()

    def show(self, done: float, status: str, *, once: float = 0.0) -> None:
        """Shows how much of the total is done, and a few words beside it.

        once: seconds, so far, of what does not come again, as compiling: they are no
        measure of speed.
        """
        now = time.monotonic()
        if self.first_done is None:  # what was before is no measure either
            self.first_done, self.first_time = done, now - once
        # Programs may be compiled beside each other, in less time than each for itself.
        elapsed, new = now - once - self.first_time, done - self.first_done
        is_known = elapsed > 0 and new > 0
        left = elapsed / new * (self.total - done) if is_known else None
        if left is not None and self.has_total:
            status += f"  {in_words(max(left, 0))} left"
        if self.bar:
            self.bar.update(self.task, completed=done, status=status)
        elif self.visible and now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            share = f"{done / self.total:4.0%}  " if self.has_total else ""
            say(f"  {self.what}  {share}{status}")


class Stages:
    """The progress of work in several stages, each with its own bar or lines.

    `with Stages() as stages: stages.show("reading", done, total)`; a stage whose total
    is not known (0) shows how much is done and how fast.
    """

    def __init__(self, *, visible: bool = True) -> None:
        self.visible = visible
        self.stage = ""
        self.bar: Progress | None = None
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> "Stages":
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()

    def _end(self) -> None:
        if self.bar:
            self.bar.__exit__(None, None, None)
            self.seconds[self.stage] = time.monotonic() - self.began
        self.bar = None

    def show(self, stage: str, done: int, total: int) -> None:
        """Shows how much of a stage is done; another name ends the stage before."""
        if stage != self.stage:
            self._end()
            self.stage, self.began = stage, time.monotonic()
            self.bar = Progress(stage, total, visible=self.visible).__enter__()
        speed = done / max(time.monotonic() - self.began, 1e-9)
        self.bar.show(done, f"{done:,} pairs, {speed:,.0f} a second" if done else "")
