"""Scores of translations against references. The only room that imports sacrebleu."""

import dataclasses
from collections.abc import Sequence

from sacrebleu.metrics import BLEU, CHRF

from flaxformer_mt.errors import InputError


@dataclasses.dataclass(frozen=True)
class Scores:
    """How near translations come to their references."""

    num_sentences: int
    chrf: float  # chrF++, 0 to 100 (Popovic 2017)
    bleu: float  # 0 to 100 (Papineni et al. 2002)
    exact_match: float  # per cent of translations equal to their reference
    length_ratio: float  # characters of all translations / of all references
    signatures: dict[str, str]  # what sacreBLEU computed, to quote with a figure


def score(
    translations: Sequence[str],
    references: Sequence[str],
    *,
    bleu_tokenizer: str = "intl",
) -> Scores:
    """chrF++, BLEU and exact matches of whole, detokenised texts (Post 2018).

    bleu_tokenizer: sacreBLEU's; `intl` splits punctuation of every script, where the
    usual `13a` leaves Persian punctuation on its words.

    Raises:
      InputError: not one reference for each translation, or none at all.
    """
    if len(translations) != len(references) or not translations:
        raise InputError(
            "scoring needs one reference for each translation and at least one; got "
            f"{len(translations)} translations and {len(references)} references."
        )
    chrf, bleu = CHRF(word_order=2), BLEU(tokenize=bleu_tokenizer)
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
