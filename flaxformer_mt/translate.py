"""Translates lines: `python -m flaxformer_mt.translate < input.txt > output.txt`."""

import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Literal

from flaxformer_mt.command_line import parse, run_door
from flaxformer_mt.decoding.sampling import GREEDY, SampleOptions
from flaxformer_mt.decoding.translator import Report, Translator
from flaxformer_mt.errors import InputError
from flaxformer_mt.terminal import isolate, say
from flaxformer_mt.training.devices import choose_device

LINES_AT_ONCE = 1024  # translated together, then written: memory stays bounded


@dataclasses.dataclass(frozen=True, kw_only=True)
class TranslateOptions:
    """Reads sentences from standard input, a line each, and writes their translations,
    a line each and in order. At a terminal it asks for one sentence after another."""

    # Folder of a trained run. Empty: the starter model, English to Persian.
    run: str = ""
    # Draw translations at random instead of taking the likeliest letters (greedy).
    sample: bool = False
    # With --sample: 0 is greedy, above 1 is bolder; 1.0 if not given.
    temperature: float | None = None
    # With --sample: draw among so many likeliest letters; 0 is all, and if not given.
    top_k: int | None = None
    # With --sample: above 1 makes letters that were used less likely; 1.2 if not given.
    repetition_penalty: float | None = None
    # With --sample: the same seed draws the same translations.
    seed: int = 0
    # Where to compute; auto takes a GPU where there is one.
    device: Literal["auto", "cpu", "gpu"] = "auto"

    def __post_init__(self) -> None:
        if not self.sample:
            for name in ("temperature", "top_k", "repetition_penalty"):
                if getattr(self, name) is not None:
                    raise InputError(
                        f"--{name.replace('_', '-')} must come with --sample, which "
                        "draws at random; got it alone: add --sample, or leave it out."
                    )
        if not 0 <= self.seed < 2**31:
            raise InputError(
                f"--seed must be at least 0 and below 2**31; got {self.seed}."
            )
        self.sample_options()

    def sample_options(self) -> SampleOptions:
        """How tokens are chosen; greedy without --sample."""
        if not self.sample:
            return GREEDY
        given = {
            "temperature": self.temperature,
            "top_k": self.top_k,
            "repetition_penalty": self.repetition_penalty,
        }
        tutorial = {"temperature": 1.0, "top_k": 0, "repetition_penalty": 1.2}
        return SampleOptions(
            **{k: tutorial[k] if v is None else v for k, v in given.items()}
        )


def input_lines(stream: BinaryIO) -> Iterator[str]:
    """The lines of a byte stream, split at "\\n" alone, without a final "\\r".

    Raises:
      InputError: a line is not UTF-8.
    """
    for number, line in enumerate(stream, start=1):
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"standard input must be UTF-8; line {number:,}, byte "
                f"{error.start + 1} is not: convert it, as with iconv -t utf-8."
            ) from None
        yield text.removeprefix("\ufeff") if number == 1 else text


def translate_lines(
    translator: Translator,
    lines: Iterable[str],
    options: TranslateOptions,
    output: BinaryIO,
) -> Report:
    """What to tell the person, after writing one line for each line, in order."""
    whole, first_line = Report(), 0
    opts = options.sample_options()
    lines = iter(lines)
    while chunk := list(itertools.islice(lines, LINES_AT_ONCE)):
        translations, report = translator.decode(
            chunk, opts, seed=options.seed, first_line=first_line
        )
        whole.add(report)
        first_line += len(chunk)
        # A translation is one line, whatever a vocabulary may hold.
        rows = (text.replace("\n", " ") + "\n" for text in translations)
        output.write("".join(rows).encode("utf-8"))
        output.flush()
    return whole


def converse(translator: Translator, options: TranslateOptions) -> None:
    """Asks for a sentence, shows its translation, and so on until the input ends."""
    say("Type a sentence and press Enter; an empty input ends with Ctrl-D.")
    with contextlib.suppress(EOFError):
        for number in itertools.count():
            try:
                text = input("> ")
            except UnicodeDecodeError:
                say("  that was not UTF-8: set the terminal to UTF-8.")
                continue
            translations, report = translator.decode(
                [text], options.sample_options(), seed=options.seed, first_line=number
            )
            print(isolate(translations[0]), flush=True)
            for sentence in report.sentences():
                say(f"  {sentence}")
    say()


def translate(arguments: list[str]) -> None:
    """The door: options from the command line, sentences from standard input."""
    options = parse(TranslateOptions, arguments, prog="translate")
    choose_device(options.device)
    translator = Translator.load(options.run or None, note=say)
    if sys.stdin.isatty() and sys.stdout.isatty():
        converse(translator, options)
        return
    lines = input_lines(sys.stdin.buffer)
    report = translate_lines(translator, lines, options, sys.stdout.buffer)
    for sentence in report.sentences():
        say(sentence)


def main() -> None:
    """python -m flaxformer_mt.translate"""
    run_door(translate)


if __name__ == "__main__":
    main()
