"""Scores of translations against references. The only room that imports sacrebleu."""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Literal

from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest, Result

from flaxformer_mt.errors import InputError

# Those of sacreBLEU's that work without another package or a download.
BleuTokenizer = Literal["13a", "char", "intl", "none", "zh"]

# sacreBLEU's own default. Any but 0, which sacreBLEU takes for "none".
SEED = "12345"
# Resampling copies the counts of every sentence once a resample: of chrF++ these are
# 3 numbers of 4 bytes for each of 8 orders.
BYTES_A_SENTENCE = 3 * 4 * 8
MAX_RESAMPLING_BYTES = 8e9


@dataclasses.dataclass(frozen=True)
class Scores:
    """How near translations come to their references."""

    num_sentences: int
    chrf: float  # chrF++, 0 to 100 (Popovic 2017)
    bleu: float  # 0 to 100 (Papineni et al. 2002)
    exact_match: float  # per cent of translations equal to their reference
    length_ratio: float  # characters of all translations / of all references
    signatures: dict[str, str]  # what sacreBLEU computed, to quote with a figure


@dataclasses.dataclass(frozen=True)
class Resampled:
    """A score, and what it is on other draws of the same sentences."""

    score: float  # 0 to 100
    mean: float  # over the resamples
    margin: float  # 95% of the resamples lie within about mean - margin, mean + margin


@dataclasses.dataclass(frozen=True)
class Paired:
    """What one metric says of two systems on the same sentences."""

    a: Resampled
    b: Resampled
    p_value: float  # how often chance alone makes a difference like this one; 0 to 1
    signature: str


def score(
    translations: Sequence[str],
    references: Sequence[str],
    *,
    bleu_tokenizer: BleuTokenizer = "intl",
) -> Scores:
    """chrF++, BLEU and exact matches of whole, detokenised texts (Post 2018).

    bleu_tokenizer: sacreBLEU's; `intl` splits punctuation of every script, where the
    usual `13a` leaves Persian punctuation on its words.

    Raises:
      InputError: not one reference for each translation, or none at all.
    """
    _check_lengths(translations, references)
    chrf, bleu = _metrics(bleu_tokenizer).values()
    chrf_score = chrf.corpus_score(list(translations), [list(references)])
    bleu_score = bleu.corpus_score(list(translations), [list(references)])
    equal = sum(a == b for a, b in zip(translations, references, strict=True))
    return Scores(
        num_sentences=len(references),
        chrf=chrf_score.score,
        bleu=bleu_score.score,
        exact_match=100 * equal / len(references),
        length_ratio=sum(map(len, translations)) / max(sum(map(len, references)), 1),
        signatures={
            "chrf": str(chrf.get_signature()),
            "bleu": str(bleu.get_signature()),
        },
    )


def sentence_chrf(
    translations: Sequence[str], references: Sequence[str]
) -> list[float]:
    """chrF++ of each sentence alone, 0 to 100.

    Raises:
      InputError: not one reference for each translation, or none at all.
    """
    _check_lengths(translations, references)
    chrf = CHRF(word_order=2)
    pairs = zip(translations, references, strict=True)
    return [chrf.sentence_score(ours, [ref]).score for ours, ref in pairs]


def paired_bootstrap(
    translations_a: Sequence[str],
    translations_b: Sequence[str],
    references: Sequence[str],
    *,
    bleu_tokenizer: BleuTokenizer = "intl",
    num_resamples: int = 1000,
) -> dict[str, Paired]:
    """{"chrf": ..., "bleu": ...} by sacreBLEU's paired bootstrap (Koehn 2004).

    The numbers are those of `sacrebleu REF -i A B --paired-bs`, with its seed, so that
    they repeat. One thing differs: where two systems cannot be told apart in any
    resample, sacreBLEU gives the smallest p-value there is, and this gives 1.

    Raises:
      InputError: not two translations for each reference, none at all, or so many
        sentences and resamples that memory would not do.
    """
    for translations in (translations_a, translations_b):
        _check_lengths(translations, references)
    check_memory(len(references), num_resamples)
    with _repeatable_and_quiet():
        signatures, results = PairedTest(
            [("A", list(translations_a)), ("B", list(translations_b))],
            _metrics(bleu_tokenizer),
            [list(references)],
            test_type="bs",
            n_samples=num_resamples,
        )()
    named = {"chrf": "chrF2++", "bleu": "BLEU"}  # ours -> sacreBLEU's
    return {
        ours: _paired(*results[theirs], signature=str(signatures[theirs]))
        for ours, theirs in named.items()
    }


def check_memory(num_sentences: int, num_resamples: int) -> None:
    """Raises InputError if so many resamples would not fit into memory."""
    num_bytes = BYTES_A_SENTENCE * num_sentences * num_resamples
    if num_bytes > MAX_RESAMPLING_BYTES:
        most = int(MAX_RESAMPLING_BYTES / BYTES_A_SENTENCE / num_sentences)
        raise InputError(
            f"{num_resamples:,} resamples of {num_sentences:,} sentences would take "
            f"{num_bytes / 1e9:.0f} GB of memory: take at most {most:,} resamples."
        )


def _paired(a: Result, b: Result, *, signature: str) -> Paired:
    """sacreBLEU's two results as one of ours."""
    first, second = (
        Resampled(float(r.score), float(r.mean), float(r.ci)) for r in (a, b)
    )
    p_value = 1.0 if first == second else float(b.p_value)
    return Paired(first, second, p_value, signature)


def _metrics(bleu_tokenizer: BleuTokenizer) -> dict[str, CHRF | BLEU]:
    """chrF++ and BLEU, fresh: a metric remembers what it has scored."""
    # force: a full stop after a space is told on stderr as a mistake, a hundred of
    # them; the score is the same.
    return {
        "chrf": CHRF(word_order=2),
        "bleu": BLEU(tokenize=bleu_tokenizer, force=True),
    }


def _check_lengths(translations: Sequence[str], references: Sequence[str]) -> None:
    if len(translations) != len(references) or not translations:
        raise InputError(
            "scoring needs one reference for each translation and at least one; got "
            f"{len(translations)} translations and {len(references)} references."
        )


@contextlib.contextmanager
def _repeatable_and_quiet() -> Iterator[None]:
    """Fixes the seed that sacreBLEU takes from the environment, and holds back what it
    logs (on Windows that it uses one process)."""
    log = logging.getLogger("sacrebleu")
    seed, level = os.environ.get("SACREBLEU_SEED"), log.level
    os.environ["SACREBLEU_SEED"] = SEED
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
        if seed is None:
            del os.environ["SACREBLEU_SEED"]
        else:
            os.environ["SACREBLEU_SEED"] = seed
