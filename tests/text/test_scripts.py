"""Which script a letter is of, and what a side is written in."""

import pytest

from flaxformer_mt.text.scripts import COMMON, script_of, share_in, side_scripts


@pytest.mark.parametrize(
    ("character", "script"),
    [
        *(("a", "Latin"), ("é", "Latin"), ("Ａ", "Latin"), ("ی", "Arabic")),
        *(("я", "Cyrillic"), ("漢", "Han"), ("の", "Hiragana"), ("ｶ", "Katakana")),
        *(("א", "Hebrew"), ("ह", "Devanagari")),
        *(("1", COMMON), ("۱", COMMON), (" ", COMMON), ("\u200c", COMMON)),
        *(("𝐀", COMMON), ("ª", COMMON), ("\ue000", COMMON), ("😀", COMMON)),
    ],
)
def test_a_letter_has_its_script_and_a_sign_has_none(character, script):
    assert script_of(character) == script


def test_a_side_has_the_scripts_of_a_twentieth_of_its_letters():
    assert side_scripts(["سلام دنیا"] * 30 + ["OK"]) == {"Arabic"}
    assert side_scripts(["漢字とかなカナ"]) == {"Han", "Hiragana", "Katakana"}
    assert side_scripts(["123", "?"]) == frozenset()


def test_the_share_counts_letters_alone():
    arabic = frozenset({"Arabic"})
    for _ in range(2):  # once before and once after the characters are known
        assert share_in("سلام، ۱۲ 34!", arabic) == 1
        assert share_in("ab", arabic) == 0
        assert share_in("سلab", arabic) == 0.5
        assert share_in("12 !", arabic) == 1
        assert share_in("", arabic) == 1
