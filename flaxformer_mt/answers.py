"""What `translate` writes for each line: a text, rows with scores, or JSON."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from flaxformer_mt.decoding.translation import (
    Hypothesis,
    Report,
    Translation,
)
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.line_stream import (
    Postponed,
    PrefixedLine,
    RowWriter,
    apart,
    at_line,
    json_row,
    one_line,
)
from flaxformer_mt.translate_options import TranslateOptions


def stream(
    translator: Translator,
    lines: Iterable[PrefixedLine | None],
    options: TranslateOptions,
    *,
    first_line: int = 0,
) -> Iterator[Translation]:
    """One translation a line, in order, as the options ask for it."""
    texts, prefixes = apart(lines)
    return translator.stream(
        texts,
        options.search(),
        seed=options.seed or 0,
        first_line=first_line,
        scores=options.scores,
        prefix=options.prefix,
        prefixes=prefixes if options.prefixes else None,
        longest=options.max_tokens or None,
        batch_tokens=options.batch_tokens,
        too_long=options.too_long,
    )


def translation_row(
    translation: Translation, number: int, options: TranslateOptions
) -> str:
    """A translation as it is written: with --n-best several rows, else one.

    number: of the line, from 1.
    """
    best, *_ = hypotheses = translation.hypotheses
    if options.json:
        row = {"line": number, "src": translation.src} | _fields(best, options)
        if (options.n_best or 1) > 1:
            row["n_best"] = [_fields(each, options) for each in hypotheses]
        return json_row(row)
    if options.n_best is not None:
        return "".join(
            f"{number}\t{each.score:.6f}\t{one_line(each.text)}\n"
            for each in hypotheses
        )
    score = f"{best.score:.6f}\t" if options.scores else ""
    return f"{score}{one_line(best.text)}\n"


def _fields(hypothesis: Hypothesis, options: TranslateOptions) -> dict[str, Any]:
    fields = {
        "translation": one_line(hypothesis.text),
        "truncated": hypothesis.truncated,
    }
    if options.scores:
        fields |= {
            "score": hypothesis.score,
            "log_probability": hypothesis.log_probability,
            "tokens": hypothesis.tokens,
            "token_log_probabilities": hypothesis.token_log_probabilities,
        }
    return fields


def alternatives_row(
    line: PrefixedLine,
    words: list[tuple[str, float]],
    number: int,
    options: TranslateOptions,
) -> str:
    """The likeliest next words of a line, with their probabilities, as one row."""
    if not options.json:
        return "\t".join(f"{one_line(w)} {p:.6f}" for w, p in words) + "\n"
    return json_row(
        {
            **{"line": number, "src": line.text, "prefix": line.prefix},
            "alternatives": [{"word": w, "probability": p} for w, p in words],
        }
    )


def answers(
    translator: Translator,
    lines: Iterable[PrefixedLine | None],
    options: TranslateOptions,
    *,
    first_line: int = 0,
) -> Iterator[tuple[str, Report]]:
    """(what to write for a line, what to tell about it), in order."""
    if not options.alternatives:
        translations = stream(translator, lines, options, first_line=first_line)
        for number, translation in enumerate(translations, start=first_line + 1):
            yield translation_row(translation, number, options), translation.report
        return
    real = (line for line in lines if line is not None)
    for number, line in enumerate(real, start=first_line + 1):
        words = []
        if line.text.strip():
            with at_line(number):
                words = translator.alternatives(
                    line.text, line.prefix, count=options.alternatives
                )
        yield alternatives_row(line, words, number, options), Report()


def translate_lines(
    translator: Translator,
    lines: Iterable[PrefixedLine | None],
    options: TranslateOptions,
    output: BinaryIO,
    *,
    answered: Callable[[], Any] = lambda: None,
) -> Report:
    """What to tell the person, after answering each line, in order.

    answered: called after each line.

    Raises:
      InputError: the lines ended in an error; those before it are answered.
    """
    whole, postponed = Report(), Postponed()
    with RowWriter(output) as writer:
        lines = writer.flushed_before(postponed.until_error(lines))
        # Closed at once where the output breaks off: it has begun with later lines.
        with contextlib.closing(answers(translator, lines, options)) as rows:
            for row, report in rows:
                writer.write(row)
                whole.add(report)
                answered()
    postponed.raise_now()
    return whole
