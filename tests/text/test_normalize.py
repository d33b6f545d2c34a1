"""One spelling for one text: idempotent, ZWNJ kept, direction marks out (D14-D17)."""

import random
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.normalize import (
    Normalizer,
    choose_rule,
    count_direction_marks,
)

PERSIAN = Normalizer("persian")
BASIC = Normalizer("basic")
NONE = Normalizer("none")

EVERY_RULE = [
    Normalizer(rule, lowercase, digits)
    for rule in ("basic", "persian", "none")
    for lowercase in (False, True)
    for digits in ("script", "ascii", "keep")
]

# Letters of several scripts with the marks, joiners and accents that rules act upon.
TRICKY = st.text(
    st.one_of(
        st.sampled_from(
            "اآبپيىیكکڪگـهٔة٠٩۰۹ ي\u200c\u200e\u200f\u202b\u2069\ufeff\u0654éﻙﯾﹱﷲﷺ﷼"
        ),
        st.sampled_from("aİıſKΣe\u0301\u0307\u00a0\u2028\t\n"),
        st.characters(codec="utf-8"),
    ),
    max_size=20,
)
# The Arabic blocks whole, with what may stand beside their letters.
ARABIC_HEAVY = [
    chr(code)
    for code in (
        *(*range(0x600, 0x700), *range(0x750, 0x780), *range(0xFB50, 0xFE00)),
        *(*range(0xFE70, 0xFF00), *range(0x2000, 0x2010), *range(0x202A, 0x2030)),
        *(0x20, 0xA0, 0x41, 0x130, 0x3A3, 0x301, 0x307, 0x345, 0xD800, 0xDC00),
    )
]


@pytest.mark.parametrize("normalize", EVERY_RULE, ids=str)
@given(text=TRICKY)
@example(text="\u200cمی\u200c\u200cخواهم \u200c و\u200c ")
@example(text="A\u200f\u0308")
@example(text="ا\u0640\u0653")
def test_normalising_twice_is_normalising_once(normalize, text):
    """Row D16."""
    once = normalize(text)
    assert normalize(once) == once


def test_ten_thousand_arabic_strings_are_normalised_once_and_for_all():
    """Row D16."""
    rng = random.Random(0)
    for number in range(10_000):
        text = "".join(rng.choices(ARABIC_HEAVY, k=rng.randint(1, 12)))
        normalize = EVERY_RULE[number % len(EVERY_RULE)]
        once = normalize(text)
        assert normalize(once) == once, ascii(text)


def test_zwnj_is_kept_inside_a_word_and_tidied_elsewhere():
    """Row D15."""
    assert PERSIAN("می\u200cخواهم") == "می\u200cخواهم"
    assert PERSIAN("می\u200c\u200cخواهم") == "می\u200cخواهم"
    assert PERSIAN("\u200cمن می\u200c خواهم\u200c") == "من می خواهم"
    assert BASIC("می\u200cخواهم") == "می\u200cخواهم"
    assert BASIC("می\u200c \u200cخواهم") == "می\u200c \u200cخواهم"


def test_arabic_forms_become_persian_ones_under_the_persian_rule_alone():
    """Row D16."""
    assert PERSIAN("كتاب علي ٣٤ سـلام") == "کتاب علی ۳۴ سلام"
    assert PERSIAN("ڪتاب على") == "کتاب علی"
    assert BASIC("كتاب علي ٣٤") == "كتاب علي ٣٤"


@pytest.mark.parametrize(
    ("rule", "digits", "expected"),
    [
        ("persian", "script", "۱۲ ۱۲ 12"),
        ("persian", "ascii", "12 12 12"),
        ("persian", "keep", "١٢ ۱۲ 12"),
        ("basic", "script", "١٢ ۱۲ 12"),
        ("basic", "ascii", "12 12 12"),
        ("basic", "keep", "١٢ ۱۲ 12"),
        ("none", "ascii", "١٢ ۱۲ 12"),
    ],
)
def test_digits_are_written_as_asked(rule, digits, expected):
    assert Normalizer(rule, digits=digits)("١٢ ۱۲ 12") == expected


def test_every_digit_of_both_scripts_is_folded():
    arabic, persian = "٠١٢٣٤٥٦٧٨٩", "۰۱۲۳۴۵۶۷۸۹"
    assert PERSIAN(arabic) == persian
    for digits in (arabic, persian):
        assert Normalizer("persian", digits="ascii")(digits) == "0123456789"


def test_presentation_forms_become_the_letters_they_show():
    shown = "ﻛﺘﺎﺏ ﻋﻠﻲ ﻻ ﭘﯾ"  # as old PDF files hold them
    assert PERSIAN(shown) == "کتاب علی لا پی"
    assert PERSIAN("ب\ufe70") == "ب\u064b"  # the vowel mark follows its letter
    assert PERSIAN("ب\ufe71") == "ب\u064b"
    assert BASIC(shown) == shown


def test_every_presentation_form_of_a_letter_is_folded():
    for code in (*range(0xFB50, 0xFDF0), *range(0xFE70, 0xFEFD)):
        form = chr(code)
        if unicodedata.decomposition(form):
            # The same text as from the letters that Unicode says it shows.
            letters = unicodedata.normalize("NFKC", form).replace(" ", "")
            assert PERSIAN(form) == PERSIAN(letters) != form, hex(code)
        elif unicodedata.category(form) != "Cn":
            assert PERSIAN(form) == form, hex(code)


def test_word_ligatures_and_the_rial_sign_stay():
    assert PERSIAN("ﷲ ﷺ ﷽ ۱۰۰۰﷼") == "ﷲ ﷺ ﷽ ۱۰۰۰﷼"


def test_both_spellings_of_an_accent_become_one():
    """Row D17."""
    assert BASIC("cafe\u0301") == BASIC("café") == "café"
    assert PERSIAN("ا\u0653ب") == PERSIAN("آب")


def test_direction_marks_are_removed_and_counted():
    """Row D14."""
    text = "\u200fسلام\u202b \u2067x\u2069"
    assert BASIC(text) == "سلام x"
    assert count_direction_marks(text) == 4
    assert count_direction_marks("plain") == 0
    assert NONE(text) == text
    every = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    assert BASIC(f"x{every}\ufeffy") == PERSIAN(f"x{every}\ufeffy") == "xy"


def test_every_kind_of_white_space_becomes_one_space():
    spaces = "\u00a0\u1680\u2000\u2009\u202f\u205f\u3000\u2028\u2029\u0085\t\r\n \v\f"
    for normalize in (BASIC, PERSIAN):
        assert normalize(f"{spaces}é{spaces}b{spaces}") == "é b"
        assert normalize("  a \t\n b ") == "a b"
    assert NONE(f"  a{spaces}") == f"  a{spaces}"


def test_lowercase_is_applied_where_asked_for():
    assert Normalizer("basic", True)("ABC  É") == "abc é"
    assert Normalizer("basic", True)("ABC") == "abc"
    assert Normalizer("none", True)(" A É") == " a é"
    assert BASIC("ABC É") == "ABC É"


def test_ligatures_and_fractions_are_not_flattened():
    assert BASIC("ﬁ ½ ２") == PERSIAN("ﬁ ½ ２") == "ﬁ ½ ２"


@pytest.mark.parametrize("normalize", EVERY_RULE, ids=str)
def test_half_of_a_surrogate_pair_passes(normalize):
    assert "\ud83d" in normalize("é\ud83d\u200f\ude00")


def test_a_rule_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="rule must be one of basic, persian, none"):
        Normalizer("nfkc")
    with pytest.raises(InputError, match="digits must be one of script, ascii, keep"):
        Normalizer("basic", digits="roman")


def test_the_rule_follows_the_language_or_else_the_script():
    persian = ["می\u200cخواهم کتاب بخوانم.", "پدر چه گفت؟"]
    arabic = ["أريد أن أقرأ كتابا.", "ماذا قال أبي؟"]
    assert choose_rule(persian) == "persian"
    assert choose_rule(arabic) == "basic"
    assert choose_rule(["I want to read."]) == "basic"
    assert choose_rule(["I want to read."], "fa") == "persian"
    assert choose_rule(persian, "ckb") == "basic"
    assert choose_rule([]) == "basic"
