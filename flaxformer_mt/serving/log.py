"""The server's log: what went wrong, on stderr; no text of anybody, and no line that a
client could forge."""

import logging
import re
import sys

# Line ends, escapes of terminals, marks that turn the direction of a line.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class OneLine(logging.Formatter):
    """What a client may have written stands there with escapes; a traceback keeps its
    lines, each indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return escaped(super().format(record), keep_indented_lines=True)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The first line."""
        return escaped(super().formatMessage(record))

    def formatException(self, exc_info: object) -> str:
        """The traceback, indented."""
        lines = super().formatException(exc_info).split("\n")
        return "\n".join("    " + line for line in lines)


def escaped(text: str, *, keep_indented_lines: bool = False) -> str:
    """The text without a character that moves the cursor."""
    if keep_indented_lines:
        return "\n".join(map(escaped, text.split("\n")))
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def begin_log() -> None:
    """Writes warnings and errors to stderr from now on; that a client sends what is no
    HTTP is neither."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(message)s"))
    for name in ("flaxformer_mt.serving", "uvicorn.error"):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [handler], False
        is_ours = name.startswith("flaxformer_mt")
        log.setLevel(logging.WARNING if is_ours else logging.ERROR)
