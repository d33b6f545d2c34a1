"""The rules that drop a sentence pair, each with its count.

Nothing is dropped without being counted: `Tally` keeps, for each reason, how many pairs
and which lines.
"""

import dataclasses
import unicodedata

EMPTY = "empty on a side"
CONTROL = "control characters"
UNKNOWN = "characters that the given vocabulary lacks"
LONG = "longer than model.max_length"
OVER_LIMIT = "past data.limit_pairs"
NUM_LINES_SHOWN = 5


@dataclasses.dataclass
class Tally:
    """What was read, and why some of it was not used."""

    read: int = 0
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    lines: dict[str, list[int]] = dataclasses.field(default_factory=dict)

    def drop(self, reason: str, line: int) -> None:
        """Counts one pair, and keeps the first few line numbers of each reason."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        shown = self.lines.setdefault(reason, [])
        if len(shown) < NUM_LINES_SHOWN:
            shown.append(line)

    @property
    def kept(self) -> int:
        """Pairs that passed every rule."""
        return self.read - sum(self.dropped.values())

    def sentences(self) -> list[str]:
        """One sentence for each reason, most frequent first."""
        return [
            f"dropped {count:,} of {self.read:,} pairs: {reason} "
            f"({'line' if count == 1 else 'first lines'} "
            f"{', '.join(f'{line:,}' for line in self.lines[reason])})"
            for reason, count in sorted(self.dropped.items(), key=lambda kv: -kv[1])
        ]

    def summary(self) -> str:
        """The counts in one breath: "8,277 read: 8,000 empty on a side, ..."."""
        reasons = ", ".join(
            f"{count:,} {reason}" for reason, count in self.dropped.items()
        )
        return f"{self.read:,} read" + (f": {reasons}" if reasons else "")


def has_control(text: str) -> bool:
    """Whether a text holds a C0 or C1 control character other than white space."""
    # isprintable is a fast first sieve: most sentences pass it.
    return not text.isprintable() and any(
        unicodedata.category(c) == "Cc" and not c.isspace() for c in text
    )
