"""Translates lines: `python -m flaxformer_mt.translate < input.txt > output.txt`."""

import contextlib
import itertools
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from flaxformer_mt.answers import answers, translate_lines
from flaxformer_mt.command_line import parse, run_door
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.errors import InputError
from flaxformer_mt.evaluation.explain import explanation_page
from flaxformer_mt.line_stream import (
    PATIENCE,
    Pace,
    PrefixedLine,
    at_line,
    bytes_left,
    input_lines,
    own_reader,
    read_ahead,
    with_prefix,
    with_prefixes,
)
from flaxformer_mt.terminal import isolate, say
from flaxformer_mt.text.lines import read_lines
from flaxformer_mt.training.devices import choose_device
from flaxformer_mt.training.programs import enable_compilation_cache
from flaxformer_mt.training.storage import atomic_write_text
from flaxformer_mt.translate_options import TranslateOptions

MOST_EXPLAINED = 100  # lines on a page that a browser still likes to show


# ---- from a file or a pipe -----------------------------------------------------------


def read_input(
    options: TranslateOptions, stdin: BinaryIO, pace: Pace, *, is_file: bool
) -> Iterator[PrefixedLine | None]:
    """The lines of standard input with their prefixes, read ahead.

    is_file: it never keeps one waiting, so that every batch can be full.
    """
    patience = None if is_file else PATIENCE
    lines = read_ahead(input_lines(stdin, pace.read), patience=patience)
    if options.prefixes:
        return with_prefixes(lines, read_lines(options.prefixes))
    return with_prefix(lines, options.prefix)


def translate_input(translator: Translator, options: TranslateOptions) -> None:
    """Answers the lines of standard input, and tells what happened to them."""
    stdin = own_reader(sys.stdin.fileno())
    total = bytes_left(stdin)
    visible = not sys.stdout.isatty()  # there, the answers show how far it is
    with Pace("translating", total_bytes=total, visible=visible) as pace:
        lines = read_input(options, stdin, pace, is_file=total > 0)
        if options.explain:
            lines = lines_to_explain(translator, lines)
        report = translate_lines(
            translator, lines, options, sys.stdout.buffer, answered=pace.answered
        )
    if options.explain:
        write_page(translator, lines, options)
    for sentence in report.sentences():
        say(sentence)


# ---- the page ------------------------------------------------------------------------


def check_page(page: str) -> None:
    """Raises InputError if no page can be written there."""
    path = Path(os.path.expanduser(page))
    if path.is_dir():
        raise InputError(
            f"--explain must name a file to write; {path} is a folder: add a name, as "
            f"in {path / 'explain.html'}."
        )
    if not path.parent.is_dir():
        raise InputError(
            f"--explain must name a file in a folder that is there; {path.parent} is "
            "not: make it first, or choose another."
        )
    if not os.access(path.parent, os.W_OK):
        raise InputError(
            "--explain must name a file in a folder that can be written; "
            f"{path.parent} cannot: choose another."
        )


def lines_to_explain(
    translator: Translator, lines: Iterable[PrefixedLine | None]
) -> list[PrefixedLine]:
    """All of the lines, before anything is done with them.

    Raises:
      InputError: they are too many for a page, there is nothing on them, or one is
        longer than the model reads.
    """
    real = (line for line in lines if line is not None)
    taken = list(itertools.islice(real, MOST_EXPLAINED + 1))
    if len(taken) > MOST_EXPLAINED:
        raise InputError(
            f"--explain takes at most {MOST_EXPLAINED} lines, and standard input has "
            f"more: choose some, as with head -n {MOST_EXPLAINED}."
        )
    for number, line in enumerate(taken, start=1):
        if not translator.is_blank(line.text):
            with at_line(number):
                translator.check_explainable(line.text)
    if all(translator.is_blank(line.text) for line in taken):
        raise InputError(
            "--explain needs at least one line that is not empty; standard input has "
            "none: give it a sentence."
        )
    return taken


def write_page(
    translator: Translator, lines: list[PrefixedLine], options: TranslateOptions
) -> None:
    """Writes the page of --explain; empty lines have nothing to explain."""
    explanations = []
    for number, line in enumerate(lines, start=1):
        if not translator.is_blank(line.text):
            with at_line(number):
                explanations.append(
                    translator.explain(line.text, options.search(), prefix=line.prefix)
                )
    path = Path(os.path.expanduser(options.explain))
    title = f"Translations by {options.run or 'the starter model'}"
    atomic_write_text(path, explanation_page(explanations, title=title))
    say(f"{path} shows how it was translated")


# ---- at a terminal -------------------------------------------------------------------


def converse(translator: Translator, options: TranslateOptions) -> None:
    """Asks for a sentence, shows its translation, and so on until the input ends."""
    if options.prefixes:
        raise InputError(
            "--prefixes needs its lines from a file or a pipe; standard input is a "
            "terminal: give --prefix, or add < input.txt."
        )
    say("Type a sentence and press Enter; an empty input ends with Ctrl-D.")
    with contextlib.suppress(EOFError):
        for number in itertools.count():
            try:
                text = input("> ")
            except UnicodeDecodeError:
                say("  that was not UTF-8: set the terminal to UTF-8.")
                continue
            line = PrefixedLine(text, options.prefix)
            try:
                answer(translator, line, options, number)
            except InputError as error:
                say(f"  {error}")
    say()


def answer(
    translator: Translator, line: PrefixedLine, options: TranslateOptions, number: int
) -> None:
    """Shows the answer to one line of a conversation.

    number: of the line, from 0.
    """
    for rows, report in answers(translator, [line], options, first_line=number):
        if not options.json:  # for the eye; JSON may be copied elsewhere
            rows = "\n".join(
                "\t".join(map(isolate, row.split("\t"))) for row in rows.split("\n")
            )
        print(rows, end="", flush=True)
        for sentence in report.sentences():
            say(f"  {sentence}")


# ---- the door ------------------------------------------------------------------------


def translate(arguments: list[str]) -> None:
    """The door: options from the command line, sentences from standard input."""
    options = parse(TranslateOptions, arguments, prog="translate")
    if options.explain:
        check_page(options.explain)
    if options.prefixes:
        read_lines(options.prefixes).close()  # a wrong name is told at once
    enable_compilation_cache(choose_device(options.device), note=say)
    translator = Translator.load(options.run or None, note=say)
    longest = translator.model.cfg.max_length
    if options.max_tokens > longest:
        raise InputError(
            f"--max-tokens must be at most {longest}, the length that the model was "
            f"made for; got {options.max_tokens}."
        )
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if at_terminal and not options.explain:
        converse(translator, options)
    else:
        translate_input(translator, options)


def main() -> None:
    """python -m flaxformer_mt.translate"""
    run_door(translate)


if __name__ == "__main__":
    main()
