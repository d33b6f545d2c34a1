"""Unicode rules, named and versioned: the same before training and translating.

`basic`   NFC; invisible direction marks out; every run of white space one space.
`persian` the same, then Arabic letters and digits to their Persian forms, presentation
          forms to the letters they show, tatweel out, ZWNJ kept but tidied. For text in
          the Arabic script that is Persian, Dari.
`none`    nothing at all.

NFKC is never applied to a text: it would also change ligatures, fractions and
full-width letters that a translator may want back. ZWNJ (U+200C) is part of Persian
spelling and stays. Every rule is idempotent: normalising twice is normalising once.
"""

import dataclasses
import functools
import re
import unicodedata
from collections.abc import Iterable
from typing import Literal, get_args

from flaxformer_mt.errors import InputError

Rule = Literal["basic", "persian", "none"]
Digits = Literal["script", "ascii", "keep"]

NORMALIZER_VERSION = 2  # raised when a rule gives another text for the same input

# Left-to-right and right-to-left marks, the Arabic letter mark, embeddings, overrides,
# isolates, and the byte order mark: they steer a display, they are not text.
_MARKS = (
    0x200E,
    0x200F,
    0x061C,
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    0xFEFF,
)
DIRECTION_MARKS = re.compile(f"[{''.join(map(chr, _MARKS))}]")

ZWNJ = "\u200c"
# Doubled, or beside white space or an edge, where it joins nothing.
_IDLE_ZWNJ = re.compile(rf"{ZWNJ}+(?=\s|{ZWNJ}|$)|(?<=\s){ZWNJ}+|^{ZWNJ}+")

# What the persian rule makes of single letters.
_PERSIAN_LETTERS = {
    0x064A: "\u06cc",  # Arabic yeh -> Persian yeh
    0x0649: "\u06cc",  # alef maksura -> Persian yeh
    0x0643: "\u06a9",  # Arabic kaf -> Persian kaf (keheh)
    0x06AA: "\u06a9",  # swash kaf, a calligrapher's -> Persian kaf
    0x0640: "",  # tatweel only stretches a line
}
# Arabic presentation forms A and B: letters, ligatures and vowel marks as they look at
# one place of a word, out of old fonts and PDF files. The word ligatures and symbols
# from U+FDF0 (the rial sign among them) are characters of their own and stay.
_PRESENTATION_FORMS = (*range(0xFB50, 0xFDF0), *range(0xFE70, 0xFEFD))

_ARABIC_INDIC_DIGITS = range(0x0660, 0x066A)
_PERSIAN_DIGITS = range(0x06F0, 0x06FA)


def _presented_letters() -> dict[int, str]:
    """What each presentation form shows: Unicode's compatibility mapping, after which
    the letters are folded as all others are."""
    table = {}
    for code in _PRESENTATION_FORMS:
        letters = unicodedata.normalize("NFKC", chr(code))
        if letters != chr(code):  # some are ornaments, or not given to any character
            # A vowel mark "alone" maps to space and mark: here it follows its letter.
            table[code] = letters.replace(" ", "").translate(_PERSIAN_LETTERS)
    return table


@functools.cache
def _folding(rule: Rule, digits: Digits) -> tuple[re.Pattern[str], dict[int, str]]:
    """(a pattern that finds the characters a rule changes or removes; what each
    becomes). Searching first is several times faster than translating every text."""
    table = dict.fromkeys(_MARKS, "")
    if rule == "persian":
        table |= _PERSIAN_LETTERS | _presented_letters()
    if digits == "ascii":
        for digit in range(10):
            table[_ARABIC_INDIC_DIGITS[digit]] = chr(ord("0") + digit)
            table[_PERSIAN_DIGITS[digit]] = chr(ord("0") + digit)
    elif digits == "script" and rule == "persian":
        for digit in range(10):
            table[_ARABIC_INDIC_DIGITS[digit]] = chr(_PERSIAN_DIGITS[digit])
    characters = "".join(map(chr, table))
    return re.compile(f"[{re.escape(characters)}]"), table


@dataclasses.dataclass(frozen=True)
class Normalizer:
    """One side's rule. Call it with a text; it is saved with the tokenizer.

    digits: `script` writes Arabic-Indic digits as Persian ones under the persian rule
      and leaves digits alone under basic; `ascii` writes both as 0-9 under either;
      `keep` leaves them. Under `none` digits stay, whatever is asked for.

    Raises:
      InputError: no such rule, or no such choice of digits.
    """

    rule: Rule
    lowercase: bool = False
    digits: Digits = "script"
    version: int = NORMALIZER_VERSION

    def __post_init__(self) -> None:
        for name, choices in (("rule", Rule), ("digits", Digits)):
            if getattr(self, name) not in get_args(choices):
                raise InputError(
                    f"a normaliser's {name} must be one of "
                    f"{', '.join(get_args(choices))}; got {getattr(self, name)!r}."
                )

    def __call__(self, text: str) -> str:
        """The text in its one spelling."""
        if self.rule == "none":
            return text.lower() if self.lowercase else text
        if text.isascii():  # then white space is all there is to tidy
            return " ".join((text.lower() if self.lowercase else text).split())
        text = unicodedata.normalize("NFC", text)
        changed = self.lowercase
        pattern, table = _folding(self.rule, self.digits)
        if pattern.search(text):
            text, changed = text.translate(table), True
        if self.lowercase:
            text = text.lower()
        if self.rule == "persian" and ZWNJ in text:
            text, changed = _IDLE_ZWNJ.sub("", text), True
        if changed:  # a removed mark can leave a letter beside its accent
            text = unicodedata.normalize("NFC", text)
        return " ".join(text.split())


def count_direction_marks(text: str) -> int:
    """How many direction marks a text holds; basic and persian remove them."""
    return 0 if text.isascii() else len(DIRECTION_MARKS.findall(text))


# Letters that Persian has and Arabic has not, or writes with another code point.
_PERSIAN_ONLY = frozenset("پچژگکی")
# Languages written with the letters that the persian rule folds to.
_PERSIAN_LANGUAGES = frozenset(
    {"fa", "fas", "per", "pes", "prs", "farsi", "persian", "dari"}
)


def choose_rule(texts: Iterable[str], language: str = "") -> Rule:
    """The rule that fits a side: by its language where given, else by its script.

    A language is a code as `fa` or `fa-IR`; what is no code of two or three letters,
    nor a name of Persian, is as good as none. Then `persian` needs most letters in the
    Arabic script and at least one in fifty of them a letter that only Persian has, so
    that Arabic stays `basic`.
    """
    code = re.split("[-_]", language.lower())[0]
    if code in _PERSIAN_LANGUAGES:
        return "persian"
    if 2 <= len(code) <= 3 and code.isalpha():
        return "basic"
    letters = arabic = persian = 0
    for text in texts:
        for letter in filter(str.isalpha, text):
            letters += 1
            arabic += "\u0600" <= letter <= "\u06ff"
            persian += letter in _PERSIAN_ONLY
    mostly_arabic_script = letters > 0 and arabic > letters / 2
    return "persian" if mostly_arabic_script and persian > arabic / 50 else "basic"
