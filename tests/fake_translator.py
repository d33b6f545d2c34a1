"""A translator for the doors' tests: quick, and it remembers what it was asked."""

from types import SimpleNamespace

from flaxformer_mt.decoding.sampling import GREEDY
from flaxformer_mt.decoding.translation import (
    Hypothesis,
    Report,
    Score,
    Translation,
)
from flaxformer_mt.errors import InputError

WINDOW = 128


class FakeTranslator:
    """Gives back what it gets, in capitals, in windows, as the true one's seams say."""

    def __init__(self) -> None:
        self.asked: list[dict] = []  # what came with each call
        self.windows: list[int] = []  # how many lines were answered together
        self.model = SimpleNamespace(cfg=SimpleNamespace(max_length=50))

    def stream(self, lines, search=GREEDY, *, prefixes=None, prefix="", **options):
        self.asked.append({"search": search, "prefix": prefix, **options})
        window = []
        for line in lines:
            if line is not None:
                begins = prefix if prefixes is None else next(prefixes)
                window.append((line, begins))
            if window and (line is None or len(window) == WINDOW):
                yield from self._answer(window, search, options["scores"])
        yield from self._answer(window, search, options["scores"])

    def _answer(self, window, search, scores):
        if window:
            self.windows.append(len(window))
        for line, prefix in window:
            if line == "too long":
                raise InputError("this line is longer than the model reads.")
            num = getattr(search, "n_best", 1) if line else 1
            yield Translation(
                src=line,
                hypotheses=tuple(_guess(prefix + line, i, scores) for i in range(num)),
                report=Report(split=1) if "!" in line else Report(),
            )
        window.clear()

    def alternatives(self, text, prefix="", *, count=5):
        if text == "too long":
            raise InputError("this text is longer than the model reads.")
        self.asked.append({"text": text, "prefix": prefix})
        return [(f"{prefix}{text}{i}", 0.5 / 2**i) for i in range(count - 1)] + [
            ("", 0.125)
        ]

    def is_blank(self, text):
        return not text.strip()

    def check_explainable(self, text):
        if text == "too long":
            raise InputError("this text is longer than the model reads.")

    def explain(self, text, search=GREEDY, *, prefix=""):
        self.asked.append({"text": text, "search": search, "prefix": prefix})
        return (text, prefix)

    def score(self, pairs, *, first_line=0, batch_tokens=4096):
        for _, tgt in pairs:
            tokens = (*tgt.split(), "")
            yield Score(-0.5 * len(tokens), tokens, (-0.5,) * len(tokens))


def _guess(text: str, rank: int, scores: bool) -> Hypothesis:
    return Hypothesis(
        text=text.upper() + "+" * rank,
        score=-1.25 - rank if text else 0.0,
        log_probability=-2.5 - rank if text else 0.0,
        tokens=("A", "") if scores else (),
        token_log_probabilities=(-1.0, -1.5) if scores else (),
        truncated="…" in text,
    )
