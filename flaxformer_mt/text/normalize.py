"""Unicode rules, named and versioned: the same before training and translating.

`basic`   NFC; invisible direction marks out; every run of white space one space.
`persian` the same, then Arabic letters and digits to their Persian forms, tatweel out,
          ZWNJ kept but tidied. For text in the Arabic script that is Persian, Dari.
`none`    nothing at all.

NFKC is never used: it would also change ligatures, fractions and full-width letters
that a translator may want back. ZWNJ (U+200C) is part of Persian spelling and stays.
Every rule is idempotent: normalising twice is normalising once.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Iterable
from typing import Literal

Rule = Literal["basic", "persian", "none"]

NORMALIZER_VERSION = 1  # raised when a rule gives another text for the same input

# Left-to-right and right-to-left marks, the Arabic letter mark, embeddings, overrides,
# isolates, and the byte order mark: they steer a display, they are not text.
DIRECTION_MARKS = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff]")

ZWNJ = "\u200c"
# Doubled, or beside white space or an edge, where it joins nothing.
_IDLE_ZWNJ = re.compile(rf"{ZWNJ}+(?=\s|{ZWNJ}|$)|(?<=\s){ZWNJ}+|^{ZWNJ}+")

_PERSIAN_FORMS = str.maketrans(
    {
        "\u064a": "\u06cc",  # Arabic yeh -> Persian yeh
        "\u0649": "\u06cc",  # alef maksura -> Persian yeh
        "\u0643": "\u06a9",  # Arabic kaf -> Persian kaf
        "\u0640": None,  # tatweel only stretches a line
        **{chr(0x660 + digit): chr(0x6F0 + digit) for digit in range(10)},
    }
)


@dataclasses.dataclass(frozen=True)
class Normalizer:
    """One side's rule. Call it with a text; it is saved with the tokenizer."""

    rule: Rule
    lowercase: bool = False
    version: int = NORMALIZER_VERSION

    def __call__(self, text: str) -> str:
        """The text in its one spelling."""
        if self.rule == "none":
            return text.lower() if self.lowercase else text
        text = unicodedata.normalize("NFC", text)
        text = DIRECTION_MARKS.sub("", text)
        if self.lowercase:
            text = text.lower()
        if self.rule == "persian":
            text = text.translate(_PERSIAN_FORMS)
            text = _IDLE_ZWNJ.sub("", text)
        # A removed mark can leave a letter beside its accent, hence NFC once more.
        return " ".join(unicodedata.normalize("NFC", text).split())


def count_direction_marks(text: str) -> int:
    """How many direction marks a text holds; basic and persian remove them."""
    return len(DIRECTION_MARKS.findall(text))


# Letters that Persian has and Arabic has not, or writes with another code point.
_PERSIAN_LETTERS = frozenset("پچژگکی")
# Languages written with the letters that the persian rule folds to.
_PERSIAN_LANGUAGES = frozenset({"fa", "fas", "per", "prs"})


def choose_rule(texts: Iterable[str], language: str = "") -> Rule:
    """The rule that fits a side: by its language where given, else by its script.

    Without a language, `persian` needs most letters in the Arabic script and at least
    one in fifty of them a letter that only Persian has, so that Arabic stays `basic`.
    """
    if language:
        return "persian" if language.lower() in _PERSIAN_LANGUAGES else "basic"
    letters = arabic = persian = 0
    for text in texts:
        for letter in filter(str.isalpha, text):
            letters += 1
            arabic += "\u0600" <= letter <= "\u06ff"
            persian += letter in _PERSIAN_LETTERS
    mostly_arabic_script = letters > 0 and arabic > letters / 2
    return "persian" if mostly_arabic_script and persian > arabic / 50 else "basic"
