"""What a person sees while something runs: sentences, progress, translations.

Everything here goes to stderr, so that stdout holds results alone and can be piped.
"""

import re
import sys
import time
from types import TracebackType

import rich.console
import rich.progress

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
    """Prints one line for the person."""
    print(text, file=sys.stderr, flush=True)


def say_translation(src: str, reference: str | None, translation: str) -> None:
    """Prints one sentence, each text on a line of its own: right-to-left text that
    shares its line with left-to-right text is hard to read."""
    say(f"    source       {isolate(src)}")
    if reference is not None:
        say(f"    reference    {isolate(reference)}")
    say(f"    translation  {isolate(translation)}")


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
        self.what, self.total, self.visible = what, max(total, 1e-9), visible
        self.console = rich.console.Console(stderr=True)
        self.bar: rich.progress.Progress | None = None
        self.first_done: float | None = None
        self.started = self.last_line = time.monotonic()

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
            self.task = self.bar.add_task(self.what, total=self.total, status="")
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

    def show(self, done: float, status: str) -> None:
        """Shows how much of the total is done, and a few words beside it."""
        now = time.monotonic()
        if self.first_done is None:  # the first step compiles: no measure of speed
            self.first_done, self.started = done, now
        elapsed, new = now - self.started, done - self.first_done
        left = elapsed / new * (self.total - done) if new > 0 else None
        if left is not None:
            status += f"  {in_words(max(left, 0))} left"
        if self.bar:
            self.bar.update(self.task, completed=done, status=status)
        elif self.visible and now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            say(f"  {self.what}  {done / self.total:4.0%}  {status}")
