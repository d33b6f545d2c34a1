"""Two runs on the same sentences: which pairs, which spelling, which verdict."""

import pytest

from flaxformer_mt.evaluation.comparison import (
    common_pairs,
    compare,
    differing_rules,
    in_digits,
    verdict_of,
)
from flaxformer_mt.evaluation.metrics import Paired, Resampled
from flaxformer_mt.text.normalize import Normalizer
from flaxformer_mt.text.prepared import TextPair

BASIC, LOWER = Normalizer("basic"), Normalizer("basic", lowercase=True)
PERSIAN = Normalizer("persian")

TEXTS = [
    f"{who} {does} the {what} near the {where}."
    for who in ("Sara", "My uncle", "Nobody")
    for does in ("saw", "did not paint")
    for what in ("old wall", "boat")
    for where in ("river", "city of Shiraz", "school")
]
PAIRS = [TextPair(f"source {i}", text, i + 1) for i, text in enumerate(TEXTS)]


def spoil(texts):
    """Every other text with its words in another order."""
    return [" ".join(reversed(t.split())) if i % 2 else t for i, t in enumerate(texts)]


def compared(a, b, normalizer_a=BASIC, normalizer_b=BASIC, **options):
    return compare(
        PAIRS, a, b, normalizer_a, normalizer_b, **{"num_resamples": 200, **options}
    )


# ---- which pairs ---------------------------------------------------------------------


def pairs_of(*texts):
    return [TextPair(f"src {t}", f"tgt {t}", i) for i, t in enumerate(texts)]


def test_only_pairs_that_both_runs_kept_are_common_in_the_order_of_the_first():
    a, b = pairs_of("1", "2", "3", "4"), pairs_of("4", "9", "2")
    for_a, for_b = common_pairs(a, b, (BASIC, BASIC), (BASIC, BASIC))
    assert [pair.src for pair in for_a] == ["src 2", "src 4"]
    assert [pair.line for pair in for_b] == [2, 0]


def test_a_source_with_another_target_is_another_pair():
    a, b = [TextPair("hello", "سلام", 1)], [TextPair("hello", "درود", 1)]
    assert common_pairs(a, b, (BASIC, BASIC), (BASIC, BASIC)) == ([], [])


@pytest.mark.parametrize("swapped", [False, True])
def test_each_run_reads_a_common_pair_in_its_own_spelling(swapped):
    """A run that lowercases and one that does not keep the same pair differently."""
    cased = [TextPair("Sara reads.", "كتاب", 1)]
    lower = [TextPair("sara reads.", "کتاب", 1)]
    sides = [(cased, (BASIC, BASIC)), (lower, (LOWER, PERSIAN))]
    (a, rules_a), (b, rules_b) = reversed(sides) if swapped else sides
    assert common_pairs(a, b, rules_a, rules_b) == (a, b)


# ---- which spelling ------------------------------------------------------------------


def test_runs_that_spell_differently_are_scored_in_the_spelling_of_the_first():
    lowered = [text.lower() for text in TEXTS]
    result = compared(lowered, TEXTS, LOWER, BASIC)
    assert result.a.exact_match == result.b.exact_match == 100
    assert result.sentences[0].ref == TEXTS[0].lower()
    assert result.sentences[0].translation_b == TEXTS[0].lower()
    assert compared(TEXTS, lowered, BASIC, LOWER).b.exact_match == 0


def test_references_alone_are_normalised_where_the_runs_agree():
    """As evaluate does for one run: a translation is scored as it came."""
    result = compared(TEXTS, TEXTS, LOWER, LOWER)
    assert result.a.exact_match == 0 and result.sentences[0].translation_a == TEXTS[0]


def test_differing_rules_are_named():
    assert differing_rules(BASIC, BASIC) == ""
    assert differing_rules(LOWER, PERSIAN) == (
        "rule basic in A, persian in B; lowercase True in A, False in B"
    )


# ---- which verdict -------------------------------------------------------------------


def test_a_run_against_itself_has_no_verdict():
    translations = spoil(TEXTS)
    result = compared(translations, translations)
    assert result.verdict == "all translations are the same"
    assert {test.p_value for test in result.tests.values()} == {1.0}
    assert result.most_different(5) == []


@pytest.mark.parametrize("swapped", [False, True])
def test_a_spoiled_run_is_detected_whichever_comes_first(swapped):
    both = (spoil(TEXTS), TEXTS) if swapped else (TEXTS, spoil(TEXTS))
    result = compared(*both)
    better = "B" if swapped else "A"
    assert result.verdict.startswith(f"{better} is better: p = 0.00")
    scores = {"A": result.a, "B": result.b}
    assert scores[better].chrf == pytest.approx(100)


def paired(a, b, p_value):
    return Paired(Resampled(a, a, 1.0), Resampled(b, b, 1.0), p_value, "")


@pytest.mark.parametrize(
    ("chrf", "bleu", "sentence"),
    [
        (
            paired(51, 50, 0.012),
            paired(31, 30, 0.0249),
            "A is better: p = 0.012 by chrF++, 0.0249 by BLEU",
        ),
        (
            paired(50, 51, 1 / 1001),
            paired(30, 31, 0.03),
            "B is better: p = 0.001 by chrF++, 0.03 by BLEU",
        ),
        (
            paired(51, 50, 0.4),
            paired(30, 31, 0.0501),
            "no difference that 1,000 resamples can tell: p = 0.4 by chrF++, 0.0501 by "
            "BLEU",
        ),
        (
            paired(51, 50, 0.012),
            paired(31, 30, 0.2),
            "by chrF++, A is better, p = 0.012; by BLEU, no difference that 1,000 "
            "resamples can tell, p = 0.2",
        ),
        (
            paired(51, 50, 0.012),
            paired(30, 31, 0.02),
            "by chrF++, A is better, p = 0.012; by BLEU, B is better, p = 0.02",
        ),
    ],
)
def test_a_verdict_is_one_plain_sentence(chrf, bleu, sentence):
    tests = {"chrf": chrf, "bleu": bleu}
    assert verdict_of(tests, num_sentences=500, num_resamples=1000) == sentence


def test_a_handful_of_sentences_gives_no_verdict():
    tests = {"chrf": paired(90, 10, 0.001), "bleu": paired(90, 10, 0.001)}
    verdict = verdict_of(tests, num_sentences=9, num_resamples=1000)
    assert verdict.startswith("no verdict: it takes 10 sentences at least")


@pytest.mark.parametrize(
    ("p_value", "digits"),
    [(1.0, "1"), (0.4, "0.4"), (0.012, "0.012"), (1 / 1001, "0.001"), (1e-5, "1e-05")],
)
def test_p_values_are_short(p_value, digits):
    assert in_digits(p_value) == digits


# ---- which sentences -----------------------------------------------------------------


def test_the_sentences_that_differ_most_come_first_whoever_is_better():
    a, b = list(TEXTS), list(TEXTS)
    a[3] = "x"  # nothing right
    b[7] = TEXTS[7].replace("the", "a", 1)  # nearly right
    b[9] = " ".join(TEXTS[9].split()[:-1])
    shown = compared(a, b).most_different(10)
    assert [s.src for s in shown] == ["source 3", "source 9", "source 7"]
    assert shown[0].chrf_a < 5 and shown[0].chrf_b == pytest.approx(100)
    assert compared(a, b).most_different(1) == shown[:1]
