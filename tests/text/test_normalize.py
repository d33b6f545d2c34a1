"""One spelling for one text: idempotent, ZWNJ kept, direction marks out."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flaxformer_mt.text.normalize import (
    Normalizer,
    choose_rule,
    count_direction_marks,
)

PERSIAN = Normalizer("persian")
BASIC = Normalizer("basic")

# Letters of several scripts with the marks, joiners and accents that rules act upon.
TRICKY = st.text(
    st.one_of(
        st.sampled_from(
            "اآبپيىیكکگـهٔة٠٩۰۹ ي\u200c\u200e\u200f\u202b\u2069\ufeff\u0654é"
        ),
        st.sampled_from("aİıſKe\u0301\u0307\u00a0\u2028\t\n"),
        st.characters(codec="utf-8"),
    ),
    max_size=20,
)


@pytest.mark.parametrize("rule", ["basic", "persian", "none"])
@pytest.mark.parametrize("lowercase", [False, True])
@given(text=TRICKY)
@example(text="\u200cمی\u200c\u200cخواهم \u200c و\u200c ")
@example(text="A\u200f\u0308")
def test_normalising_twice_is_normalising_once(rule, lowercase, text):
    normalize = Normalizer(rule, lowercase)
    once = normalize(text)
    assert normalize(once) == once


def test_zwnj_is_kept_inside_a_word_and_tidied_elsewhere():
    assert PERSIAN("می\u200cخواهم") == "می\u200cخواهم"
    assert PERSIAN("می\u200c\u200cخواهم") == "می\u200cخواهم"
    assert PERSIAN("\u200cمن می\u200c خواهم\u200c") == "من می خواهم"
    assert BASIC("می\u200cخواهم") == "می\u200cخواهم"


def test_arabic_forms_become_persian_ones_under_the_persian_rule_alone():
    assert PERSIAN("كتاب علي ٣٤ سـلام") == "کتاب علی ۳۴ سلام"
    assert BASIC("كتاب علي ٣٤") == "كتاب علي ٣٤"


def test_both_spellings_of_an_accent_become_one():
    assert BASIC("cafe\u0301") == BASIC("café") == "café"
    assert PERSIAN("ا\u0653ب") == PERSIAN("آب")


def test_direction_marks_are_removed_and_counted():
    text = "\u200fسلام\u202b \u2067x\u2069"
    assert BASIC(text) == "سلام x"
    assert count_direction_marks(text) == 4
    assert Normalizer("none")(text) == text


def test_ligatures_and_fractions_are_not_flattened():
    assert BASIC("ﬁ ½ ２") == "ﬁ ½ ２"


def test_the_rule_follows_the_language_or_else_the_script():
    persian = ["می\u200cخواهم کتاب بخوانم.", "پدر چه گفت؟"]
    arabic = ["أريد أن أقرأ كتابا.", "ماذا قال أبي؟"]
    assert choose_rule(persian) == "persian"
    assert choose_rule(arabic) == "basic"
    assert choose_rule(["I want to read."]) == "basic"
    assert choose_rule(["I want to read."], "fa") == "persian"
    assert choose_rule(persian, "ckb") == "basic"
    assert choose_rule([]) == "basic"
