"""The rules that leave a sentence pair out, each with its count and its examples.

Nothing is left out without being counted: `Tally` keeps, for each reason, how many
pairs, and the first few of them with their lines.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from flaxformer_mt.config import FilterConfig
from flaxformer_mt.text.scripts import share_in
from flaxformer_mt.text.vocabulary import Vocabulary

CONTROL = "control characters"
EMPTY = "empty on a side"
IDENTICAL = "the same text on both sides"
TOO_LONG = "more characters than data.filter.max_characters"
RATIO = "one side far longer than the other"
SCRIPT = "letters of another script"
UNKNOWN = "characters that the given vocabulary lacks"
DUPLICATE = "duplicates"
OVER_LIMIT = "past data.limit_pairs"
HELD_OUT = "a sentence of data.validation_src or data.test_src"
LONG = "longer than model.max_length"

# A short sentence may have a long translation without anything being wrong.
MIN_CHARACTERS_FOR_RATIO = 20
NUM_EXAMPLES = 5
EXAMPLE_CHARACTERS = 200  # of a side, in the examples that are kept


class Example(NamedTuple):
    """A pair that was left out."""

    corpus: int  # from 0
    line: int  # from 1
    src: str
    tgt: str


@dataclasses.dataclass
class Tally:
    """What was read, and why some of it was not used."""

    read: int = 0
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    examples: dict[str, list[Example]] = dataclasses.field(default_factory=dict)
    num_corpora: int = 1

    def drop(
        self, reason: str, line: int, src: str = "", tgt: str = "", *, corpus: int = 0
    ) -> None:
        """Counts one pair, and keeps the first few of each reason."""
        self.count(reason, 1, [Example(corpus, line, src, tgt)])

    def count(self, reason: str, number: int, examples: Sequence[Example]) -> None:
        """Counts some pairs that were left out for one reason, in their order."""
        if number:
            self.dropped[reason] = self.dropped.get(reason, 0) + number
            kept = self.examples.setdefault(reason, [])
            kept += examples[: NUM_EXAMPLES - len(kept)]

    @property
    def kept(self) -> int:
        """Pairs that passed every rule."""
        return self.read - sum(self.dropped.values())

    def sentences(self) -> list[str]:
        """One sentence for each reason, most frequent first."""
        return [
            f"dropped {count:,} of {self.read:,} pairs: {reason} "
            f"({'line' if count == 1 else 'first lines'} {self._lines(reason)})"
            for reason, count in sorted(self.dropped.items(), key=lambda kv: -kv[1])
        ]

    def _lines(self, reason: str) -> str:
        return ", ".join(
            f"{e.line:,}"
            + (f" of corpus {e.corpus + 1}" if self.num_corpora > 1 else "")
            for e in self.examples[reason]
        )

    def summary(self) -> str:
        """The counts in one breath: "8,277 read: 8,000 empty on a side, ..."."""
        reasons = ", ".join(
            f"{count:,} {reason}" for reason, count in self.dropped.items()
        )
        return f"{self.read:,} read" + (f": {reasons}" if reasons else "")


def read_tally(fields: dict[str, Any]) -> Tally:
    """A tally out of plain data, as JSON has it."""
    examples = {
        reason: [Example(*example) for example in rows]
        for reason, rows in fields["examples"].items()
    }
    return Tally(**{**fields, "examples": examples})


class Rule(NamedTuple):
    """A rule as a person reads of it."""

    reason: str
    description: str
    setting: str


def rules(options: FilterConfig, max_length: int, limit_pairs: int) -> list[Rule]:
    """Every rule in the order in which they are applied."""

    def switch(on: bool) -> str:
        return "on" if on else "off"

    return [
        Rule(
            CONTROL,
            "a control character other than white space, which no text has",
            switch(options.control),
        ),
        Rule(EMPTY, "a side without anything but white space", switch(options.empty)),
        Rule(
            IDENTICAL,
            "both sides the same once normalised: copied, not translated",
            switch(options.identical),
        ),
        Rule(
            TOO_LONG,
            "a side of more characters than one sentence has",
            f"more than {options.max_characters:,}"
            if options.max_characters
            else "off",
        ),
        Rule(
            RATIO,
            "one side has many times the characters of the other, and more than "
            f"{MIN_CHARACTERS_FOR_RATIO}",
            f"more than {options.max_ratio:g} times" if options.max_ratio else "off",
        ),
        Rule(
            SCRIPT,
            "most letters of a side are of a script that its language is not written "
            "in, as the first lines of the corpus show it",
            f"under {options.min_script:.0%} in the right script"
            if options.min_script
            else "off",
        ),
        Rule(
            UNKNOWN,
            "a character that a vocabulary file of one's own lacks",
            "where a vocabulary file is given",
        ),
        Rule(
            DUPLICATE,
            "the very pair was there before, once normalised",
            switch(options.duplicates),
        ),
        Rule(
            HELD_OUT,
            "a training pair shares a sentence with validation or test files",
            "where given",
        ),
        Rule(
            OVER_LIMIT,
            "pairs after the number that was asked for",
            f"after {limit_pairs:,}" if limit_pairs else "off",
        ),
        Rule(
            LONG,
            "a side of more tokens than the model reads (in prepare, --max-length), "
            "specials included",
            f"more than {max_length:,} tokens",
        ),
    ]


@dataclasses.dataclass(frozen=True)
class PairFilter:
    """The rules that can be decided on one pair alone."""

    options: FilterConfig
    # Scripts of each side; empty: unknown, so that none is wrong.
    scripts: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    vocabularies: tuple[Vocabulary | None, Vocabulary | None] = (None, None)

    def reason(self, raw_src: str, raw_tgt: str, src: str, tgt: str) -> str | None:
        """Why a pair is left out, None if it is not: raw as read, then normalised."""
        options = self.options
        # Control characters are looked for before white space is tidied.
        if options.control and (has_control(raw_src) or has_control(raw_tgt)):
            return CONTROL
        if options.empty and (not src or src.isspace() or not tgt or tgt.isspace()):
            return EMPTY
        if options.identical and src == tgt and src:
            return IDENTICAL
        short, long = sorted((len(src), len(tgt)))
        if options.max_characters and long > options.max_characters:
            return TOO_LONG
        if (
            options.max_ratio
            and long > MIN_CHARACTERS_FOR_RATIO
            and long > options.max_ratio * short
        ):
            return RATIO
        for text, scripts in zip((src, tgt), self.scripts, strict=True):
            if scripts and share_in(text, scripts) < options.min_script:
                return SCRIPT
        for text, vocabulary in zip((src, tgt), self.vocabularies, strict=True):
            if not vocabulary or vocabulary.byte_ids:  # with bytes nothing is unknown
                continue
            if not vocabulary.ids.keys() >= set(text):
                return UNKNOWN
        return None


# C0, DEL and C1, but for those that Unicode counts as white space.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")


def has_control(text: str) -> bool:
    """Whether a text holds a C0 or C1 control character other than white space."""
    return _CONTROL.search(text) is not None
