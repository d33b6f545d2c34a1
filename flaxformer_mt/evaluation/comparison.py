"""Two runs on the same sentences: which is better, and could it be chance?

A is the run that is named first, B the other. Everything here works on texts; who
translates them is the door's business (evaluate.py).
"""

import dataclasses
from collections.abc import Sequence

from flaxformer_mt.evaluation.metrics import (
    BleuTokenizer,
    Paired,
    Scores,
    paired_bootstrap,
    score,
    sentence_chrf,
)
from flaxformer_mt.text.normalize import Normalizer
from flaxformer_mt.text.prepared import TextPair

SIGNIFICANT = 0.05  # a p-value below it counts as a difference
# Resampling a handful of sentences says nothing: one sentence drawn a thousand times
# always gives the same winner.
MIN_SENTENCES = 10


@dataclasses.dataclass(frozen=True)
class ComparedSentence:
    """One sentence in both translations."""

    src: str
    ref: str  # as it was scored
    translation_a: str
    translation_b: str
    chrf_a: float  # chrF++ of this sentence alone, 0 to 100
    chrf_b: float
    group: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What two runs scored, and whether they differ."""

    a: Scores
    b: Scores
    tests: dict[str, Paired]  # "chrf" and "bleu"
    verdict: str
    sentences: list[ComparedSentence]

    def most_different(self, count: int) -> list[ComparedSentence]:
        """The sentences whose chrF++ differs most, the largest difference first; those
        that both translate alike are never among them."""
        different = [s for s in self.sentences if s.translation_a != s.translation_b]
        different.sort(key=lambda s: abs(s.chrf_a - s.chrf_b), reverse=True)
        return different[:count]


def common_pairs(
    kept_a: Sequence[TextPair],
    kept_b: Sequence[TextPair],
    normalizers_a: tuple[Normalizer, Normalizer],
    normalizers_b: tuple[Normalizer, Normalizer],
) -> tuple[list[TextPair], list[TextPair]]:
    """The pairs that both runs kept out of training, in A's order: (as A spells them,
    as B spells them), of equal length.

    A run keeps its pairs as its own normalisers, (source's, target's), write them. They
    are compared as both normalisers in turn write them, so that a pair is the same pair
    where only one run lowercases.
    """

    def key(pair: TextPair) -> tuple[str, ...]:
        return tuple(
            theirs(ours(text))
            for ours, theirs, text in zip(
                normalizers_a, normalizers_b, (pair.src, pair.tgt), strict=True
            )
        )

    of_b = {key(pair): pair for pair in kept_b}
    common = [(pair, of_b[key(pair)]) for pair in kept_a if key(pair) in of_b]
    return [a for a, _ in common], [b for _, b in common]


def differing_rules(a: Normalizer, b: Normalizer) -> str:
    """How two normalisers differ, in words; "" where they do not."""
    names = [field.name for field in dataclasses.fields(Normalizer)]
    differing = [name for name in names if getattr(a, name) != getattr(b, name)]
    return "; ".join(
        f"{name} {getattr(a, name)} in A, {getattr(b, name)} in B" for name in differing
    )


def compare(
    pairs: Sequence[TextPair],
    translations_a: Sequence[str],
    translations_b: Sequence[str],
    normalizer_a: Normalizer,
    normalizer_b: Normalizer,
    *,
    bleu_tokenizer: BleuTokenizer = "intl",
    num_resamples: int = 1000,
) -> Comparison:
    """Both runs' scores, sacreBLEU's paired bootstrap, a verdict and every sentence.

    References are written as A's target normaliser writes them. Where B's is another,
    A's goes over both runs' translations too, so that neither loses by its spelling.

    Raises:
      InputError: not two translations for each pair, no pair at all, or too many
        resamples for the memory.
    """
    references = [normalizer_a(pair.tgt) for pair in pairs]
    if normalizer_a != normalizer_b:
        translations_a = [normalizer_a(text) for text in translations_a]
        translations_b = [normalizer_a(text) for text in translations_b]
    both = (translations_a, translations_b)
    a, b = (score(t, references, bleu_tokenizer=bleu_tokenizer) for t in both)
    tests = paired_bootstrap(
        *both, references, bleu_tokenizer=bleu_tokenizer, num_resamples=num_resamples
    )
    sentences = [
        ComparedSentence(pair.src, ref, *texts_and_scores, pair.group)
        for pair, ref, *texts_and_scores in zip(
            *(pairs, references, *both),
            *(sentence_chrf(t, references) for t in both),
            strict=True,
        )
    ]
    alike = list(translations_a) == list(translations_b)
    verdict = (
        "all translations are the same"
        if alike
        else verdict_of(tests, num_sentences=len(pairs), num_resamples=num_resamples)
    )
    return Comparison(a, b, tests, verdict, sentences)


def verdict_of(
    tests: dict[str, Paired], *, num_sentences: int, num_resamples: int
) -> str:
    """One plain sentence: which run is better by which metric, and its p-value."""
    if num_sentences < MIN_SENTENCES:
        return (
            f"no verdict: it takes {MIN_SENTENCES} sentences at least, and better "
            f"hundreds; got {num_sentences}"
        )
    chrf, bleu = tests["chrf"], tests["bleu"]
    if _better(chrf) == _better(bleu):
        return (
            f"{_found(chrf, num_resamples)}: p = {in_digits(chrf.p_value)} by chrF++, "
            f"{in_digits(bleu.p_value)} by BLEU"
        )
    return "; ".join(
        f"by {name}, {_found(test, num_resamples)}, p = {in_digits(test.p_value)}"
        for name, test in (("chrF++", chrf), ("BLEU", bleu))
    )


def _better(test: Paired) -> str:
    """ "A", "B", or "" where the difference may be chance."""
    if test.p_value >= SIGNIFICANT or test.a.score == test.b.score:
        return ""
    return "A" if test.a.score > test.b.score else "B"


def _found(test: Paired, num_resamples: int) -> str:
    better = _better(test)
    if better:
        return f"{better} is better"
    return f"no difference that {num_resamples:,} resamples can tell"


def in_digits(p_value: float) -> str:
    """A p-value to four places, or to its first digit where it is smaller still."""
    rounded = f"{p_value:.4f}".rstrip("0").rstrip(".")
    return rounded if p_value >= 0.0001 else f"{p_value:.0e}"
