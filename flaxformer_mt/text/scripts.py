"""Which script a letter belongs to, and which scripts a side of a corpus is written in.

Python's Unicode tables have no script property, but the name of a letter starts with
its script ("ARABIC LETTER YEH"), which is close enough to tell a Persian line from an
English one.
"""

import functools
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

COMMON = "Common"  # digits, punctuation, symbols: they belong to every script
# A script that has at least this share of a side's letters belongs to the side.
SHARE_OF_SIDE = 0.05

# First words of names that are no script: letter-like symbols and variants.
_NOT_A_SCRIPT = frozenset(
    {
        *("MATHEMATICAL", "MODIFIER", "FEMININE", "MASCULINE", "MICRO", "KELVIN"),
        *("ANGSTROM", "OHM", "SCRIPT", "DOUBLE-STRUCK", "BLACK-LETTER", "ALEF"),
        *("BET", "GIMEL", "DALET", "PLANCK", "INFORMATION", "EULER", "TURNED"),
    }
)
_OWN_NAMES = {"CJK": "Han", "IDEOGRAPHIC": "Han"}


@functools.cache
def script_of(character: str) -> str:
    """The script of a letter, as "Latin", "Arabic" or "Han"; else `COMMON`."""
    if not character.isalpha():
        return COMMON
    words = unicodedata.name(character, "").split()
    while words and words[0] in ("FULLWIDTH", "HALFWIDTH"):
        words.pop(0)
    if not words or words[0] in _NOT_A_SCRIPT:
        return COMMON
    return _OWN_NAMES.get(words[0], words[0].capitalize())


def count_scripts(counts: Mapping[str, int]) -> dict[str, int]:
    """How many characters of each script, most first, from a count of characters."""
    scripts: Counter[str] = Counter()
    for character, count in counts.items():
        scripts[script_of(character)] += count
    return dict(scripts.most_common())


def side_scripts(texts: Iterable[str]) -> frozenset[str]:
    """The scripts that a side is written in: those of a twentieth of its letters.

    Several may be: Japanese mixes three. Empty where there is no letter at all.
    """
    scripts = count_scripts(Counter("".join(texts)))
    scripts.pop(COMMON, None)
    total = sum(scripts.values())
    return frozenset(s for s, n in scripts.items() if n >= SHARE_OF_SIDE * total)


@functools.cache
def _known_inside(scripts: frozenset[str]) -> set[str]:
    """Characters seen so far that are no letters of other scripts: it grows."""
    return set()


def share_in(text: str, scripts: frozenset[str]) -> float:
    """The share of a text's letters that are in some scripts; 1 without a letter."""
    known = _known_inside(scripts)
    if known.issuperset(text):  # nearly always, and a tenth of the time of counting
        return 1.0
    letters = inside = 0
    for character in text:
        script = script_of(character)
        if script is COMMON or script in scripts:
            known.add(character)
        if script is not COMMON:
            letters += 1
            inside += script in scripts
    return inside / letters if letters else 1.0
