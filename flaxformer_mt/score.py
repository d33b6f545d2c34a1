"""How probable given translations are: `python -m flaxformer_mt.score < pairs.tsv`.

The model is made to write each translation as it stands (forced decoding); what it
would have thought of every token on the way is added up.
"""

import dataclasses
import itertools
import math
import sys
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Literal

from flaxformer_mt.command_line import parse, run_door
from flaxformer_mt.decoding.translation import (
    Score,
)
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.errors import InputError
from flaxformer_mt.line_stream import (
    Pace,
    Postponed,
    RowWriter,
    bytes_left,
    input_lines,
    json_row,
    own_reader,
)
from flaxformer_mt.terminal import say
from flaxformer_mt.text.corpus import read_pairs
from flaxformer_mt.text.lines import count
from flaxformer_mt.text.sources import parse_source
from flaxformer_mt.training.devices import choose_device
from flaxformer_mt.training.programs import enable_compilation_cache

Pair = tuple[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Reads pairs of a sentence and a translation, and writes the log-probability of
    each translation in nats, one number a line and in order."""

    # Folder of a trained run. Empty: the starter model, English to Persian.
    run: str = ""
    # Sentences and their translations, PATH[:PART] as in training. Empty: pairs with a
    # TAB between from standard input, one a line.
    src: str = ""
    tgt: str = ""
    # Divide by the number of tokens, the end among them.
    per_token: bool = False
    # Write a JSON object for each pair, with the log-probability of every token.
    json: bool = False
    # How many tokens are scored together, at most; 0 is what suits the device.
    batch_tokens: int = 0
    # Where to compute; auto takes a GPU where there is one.
    device: Literal["auto", "cpu", "gpu"] = "auto"

    def __post_init__(self) -> None:
        if bool(self.src) != bool(self.tgt):
            raise InputError(
                f"--src and --tgt must be given together; got src={self.src!r}, "
                f"tgt={self.tgt!r}."
            )
        if self.per_token and self.json:
            raise InputError(
                "--per-token is for numbers alone; --json has the sum and every token "
                "to divide by: leave one of them out."
            )
        if self.batch_tokens < 0:
            raise InputError(
                "--batch-tokens must be at least 0 (0: as suits); got "
                f"{self.batch_tokens}."
            )


@dataclasses.dataclass
class Totals:
    """What the pairs come to together: sums, divided once."""

    num_pairs: int = 0
    num_tokens: int = 0
    nats: float = 0.0  # minus the log-probability

    def add(self, score: Score) -> None:
        """Counts one pair."""
        self.num_pairs += 1
        self.num_tokens += len(score.tokens)
        self.nats -= score.log_probability

    def sentence(self) -> str:
        """The mean and the perplexity of a token, the end of each text among them."""
        if not self.num_tokens:
            return "0 pairs"
        mean = self.nats / self.num_tokens
        perplexity = math.exp(mean) if mean < 700 else math.inf  # floats end there
        return (
            f"{count(self.num_pairs, 'pair')}, {count(self.num_tokens, 'token')}: "
            f"{mean:.4f} nats a token, perplexity {perplexity:,.2f}"
        )


def split_pairs(lines: Iterable[str]) -> Iterator[Pair]:
    """(source, target) of each line, which has one TAB between them.

    Raises:
      InputError: a line has no TAB, or more than one.
    """
    for number, line in enumerate(lines, start=1):
        num_tabs = line.count("\t")
        if num_tabs != 1:
            raise InputError(
                f"standard input line {number:,} must be a source, one TAB and a "
                f"target; it has {count(num_tabs, 'TAB')}: mend it, or give files with "
                "--src and --tgt."
            )
        src, _, tgt = line.partition("\t")
        yield src, tgt


def whole_pairs(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """The pairs as they are.

    Raises:
      InputError: a side is empty.
    """
    for number, pair in enumerate(pairs, start=1):
        for side, text in zip(("source", "target"), pair, strict=True):
            if not text.strip():
                raise InputError(
                    f"line {number:,} must have a text on both sides; its {side} is "
                    "empty: mend the pair or leave it out."
                )
        yield pair


def score_row(score: Score, pair: Pair, number: int, options: ScoreOptions) -> str:
    """What is written for a pair; number: of its line, from 1."""
    if options.json:
        return json_row(
            {
                **{"line": number, "src": pair[0], "tgt": pair[1]},
                "log_probability": score.log_probability,
                "tokens": score.tokens,
                "token_log_probabilities": score.token_log_probabilities,
            }
        )
    num = len(score.tokens) if options.per_token else 1
    return f"{score.log_probability / num:.6f}\n"


def score_pairs(
    translator: Translator,
    pairs: Iterable[Pair],
    options: ScoreOptions,
    output: BinaryIO,
    *,
    pace: Pace,
) -> Totals:
    """What all pairs come to, after writing a row for each of them, in order.

    Raises:
      InputError: the pairs ended in an error; those before it are scored.
    """
    totals, postponed = Totals(), Postponed()
    # One copy is scored, the other written beside its score.
    pairs, shown = itertools.tee(postponed.until_error(pairs))
    scores = translator.score(pairs, batch_tokens=options.batch_tokens)
    both = zip(scores, shown, strict=True)
    with RowWriter(output) as writer:
        for number, (score, pair) in enumerate(both, start=1):
            writer.write(score_row(score, pair, number, options))
            totals.add(score)
            pace.answered()
    postponed.raise_now()
    return totals


def read_input(options: ScoreOptions, stdin: BinaryIO, pace: Pace) -> Iterator[Pair]:
    """The pairs of --src and --tgt, or of standard input."""
    if options.src:
        return whole_pairs(read_pairs(options.src, options.tgt, note=say))
    return whole_pairs(split_pairs(input_lines(stdin, pace.read)))


def score(arguments: list[str]) -> None:
    """The door: options from the command line, numbers on standard output."""
    options = parse(ScoreOptions, arguments, prog="score")
    for spec in filter(None, (options.src, options.tgt)):
        parse_source(spec)  # a wrong name is told at once
    enable_compilation_cache(choose_device(options.device), note=say)
    translator = Translator.load(options.run or None, note=say)
    stdin = own_reader(sys.stdin.fileno())
    if sys.stdin.isatty() and not options.src:
        say("Type a sentence, a TAB and its translation, a line each; Ctrl-D ends.")
    total = 0 if options.src else bytes_left(stdin)
    visible = not sys.stdout.isatty()  # there, the rows show how far it is
    with Pace("scoring", total_bytes=total, visible=visible) as pace:
        pairs = read_input(options, stdin, pace)
        totals = score_pairs(translator, pairs, options, sys.stdout.buffer, pace=pace)
    say(totals.sentence())


def main() -> None:
    """python -m flaxformer_mt.score"""
    run_door(score)


if __name__ == "__main__":
    main()
