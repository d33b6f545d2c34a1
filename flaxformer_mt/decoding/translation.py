"""What translating gives: texts with their scores, and what to tell about them."""

import dataclasses
import heapq
import re

# Bytes can spell what no text should bring to a terminal, line ends among it.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclasses.dataclass
class Report:
    """What a person should hear about after translating."""

    # Characters that training never saw, and how often: read as UNK, or as bytes.
    unknown: dict[str, int] = dataclasses.field(default_factory=dict)
    spelled: dict[str, int] = dataclasses.field(default_factory=dict)
    split: int = 0  # texts longer than the model reads, translated in pieces
    truncated: int = 0  # translations that reached the model's length without an end
    controls: int = 0  # control characters that the model wrote
    failed: int = 0  # translations that ended because the model returned no number

    def add(self, other: "Report") -> None:
        """Counts what happened in another call as well."""
        for mine, theirs in (
            (self.unknown, other.unknown),
            (self.spelled, other.spelled),
        ):
            for character, times in theirs.items():
                mine[character] = mine.get(character, 0) + times
        self.split += other.split
        self.truncated += other.truncated
        self.controls += other.controls
        self.failed += other.failed

    def sentences(self) -> list[str]:
        """One sentence for each thing that happened."""
        said = []
        for characters, how in (
            (self.unknown, "read as unknown"),
            (self.spelled, "spelled in bytes"),
        ):
            if characters:
                num, noun, be = _counted(sum(characters.values()), "character")
                most = sorted(characters, key=characters.get, reverse=True)[:10]
                said.append(
                    f"{num} {noun} that the model has never seen {be} {how}: "
                    f"{' '.join(map(ascii_or_self, most))}"
                )
        if self.split:
            num, noun, be = _counted(self.split, "text")
            said.append(
                f"{num} {noun} longer than the model reads {be} translated in pieces"
            )
        if self.truncated:
            num, noun, be = _counted(self.truncated, "translation")
            said.append(f"{num} {noun} {be} cut at the length limit")
        if self.controls:
            num, noun, be = _counted(self.controls, "control character")
            said.append(f"{num} {noun} that the model wrote {be} left out")
        if self.failed:
            num, noun, be = _counted(self.failed, "translation")
            said.append(
                f"{num} {noun} {be} ended early, because the model returned no number: "
                "its parameters may be damaged"
            )
        return said


def _counted(num: int, noun: str) -> tuple[str, str, str]:
    """("1", "text", "was"), ("1,200", "texts", "were")."""
    return f"{num:,}", noun + "s" * (num != 1), "was" if num == 1 else "were"


def without_controls(text: str) -> tuple[str, int]:
    """(the text without its control characters, how many it had)."""
    return _CONTROL.subn("", text)


def ascii_or_self(character: str) -> str:
    """A character as it can be printed: itself, or its escape."""
    return character if character.isprintable() else ascii(character)[1:-1]


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    """One way to translate a text."""

    text: str
    # What the search ranks by, higher is better: its log-probability, in a beam search
    # divided by the norm of its length. NaN where no scores were asked for.
    score: float
    log_probability: float  # nats, of all its tokens, EOS included
    tokens: tuple[str, ...]  # for display; the end is ""
    token_log_probabilities: tuple[float, ...]  # one a token; () where not asked for
    truncated: bool  # reached the limit of length without an end
    token_ids: tuple[int, ...] = ()  # EOS included, where it ended by itself


@dataclasses.dataclass(frozen=True)
class Translation:
    """What a text was translated to."""

    src: str
    hypotheses: tuple[Hypothesis, ...]  # best first, at least one
    report: Report  # what to tell about this text

    @property
    def text(self) -> str:
        """The best translation."""
        return self.hypotheses[0].text


@dataclasses.dataclass(frozen=True)
class Score:
    """What the model thinks of a translation that was given."""

    log_probability: float  # nats, EOS included
    tokens: tuple[str, ...]  # for display; the end is ""
    token_log_probabilities: tuple[float, ...]


def join(parts: list[list[Hypothesis]]) -> tuple[Hypothesis, ...]:
    """The best ways to put the hypotheses of a text's pieces together, as many as a
    piece has."""
    if not parts:
        return (Hypothesis("", 0.0, 0.0, (), (), False),)
    joined = parts[0]
    for part in parts[1:]:
        count = max(len(joined), len(part))
        pairs = [_put_together(a, b) for a in joined for b in part]
        joined = heapq.nlargest(count, pairs, key=lambda h: h.score)
    return tuple(joined)


def _put_together(a: Hypothesis, b: Hypothesis) -> Hypothesis:
    return Hypothesis(
        text=f"{a.text} {b.text}",
        score=a.score + b.score,
        log_probability=a.log_probability + b.log_probability,
        tokens=a.tokens + b.tokens,
        token_log_probabilities=a.token_log_probabilities + b.token_log_probabilities,
        truncated=a.truncated or b.truncated,
        token_ids=a.token_ids + b.token_ids,
    )
