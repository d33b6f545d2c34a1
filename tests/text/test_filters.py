"""Each rule leaves out what it says, counts it, and can be switched off."""

import dataclasses

import pytest

from flaxformer_mt.config import DataConfig, FilterConfig
from flaxformer_mt.errors import InputError
from flaxformer_mt.text import filters
from flaxformer_mt.text.filters import PairFilter, Tally, has_control
from flaxformer_mt.text.preparation import prepare

LATIN, ARABIC = frozenset({"Latin"}), frozenset({"Arabic"})
# A pair that one rule alone leaves out, and the option that switches it off.
CASES = {
    filters.CONTROL: ("bell\a", "زنگ", {"control": False}),
    filters.EMPTY: ("", "خالی", {"empty": False, "max_ratio": 0.0}),
    filters.IDENTICAL: ("123", "123", {"identical": False}),
    filters.TOO_LONG: ("a" * 1001, "ب" * 900, {"max_characters": 0}),
    filters.RATIO: ("a", "ب" * 21, {"max_ratio": 0.0}),
    filters.SCRIPT: ("good", "not Persian", {"min_script": 0.0}),
}


@pytest.mark.parametrize("reason", CASES)
def test_a_rule_leaves_out_what_it_says_unless_it_is_switched_off(reason):
    src, tgt, off = CASES[reason]
    scripts = LATIN, ARABIC
    assert PairFilter(FilterConfig(), scripts).reason(src, tgt, src, tgt) == reason
    without = FilterConfig(**off)
    assert PairFilter(without, scripts).reason(src, tgt, src, tgt) is None
    # What it is a step away from stays.
    assert PairFilter(FilterConfig(), scripts).reason("ok", "خوب", "ok", "خوب") is None


@pytest.mark.parametrize(("tgt", "kept"), [("ب" * 20, True), ("ب" * 21, False)])
def test_a_short_translation_may_be_many_times_longer(tgt, kept):
    assert (PairFilter(FilterConfig()).reason("a", tgt, "a", tgt) is None) == kept


def test_every_rule_is_told_in_the_order_of_its_use():
    rules = filters.rules(FilterConfig(), max_length=128, limit_pairs=0)
    assert [rule.reason for rule in rules][:6] == list(CASES)
    assert len({rule.reason for rule in rules}) == len(rules)
    off = FilterConfig(
        **{
            f.name: type(getattr(FilterConfig(), f.name))(0)
            for f in dataclasses.fields(FilterConfig)
        }
    )
    switched = filters.rules(off, max_length=128, limit_pairs=0)
    assert {rule.setting for rule in switched[:6]} == {"off"}


def test_white_space_is_no_control_character():
    for character in map(chr, range(0x250)):
        wanted = ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0
        assert has_control(character) == (wanted and not character.isspace())


def test_a_tally_counts_and_says_so():
    tally = Tally(read=9000)
    for line in range(1, 1001):
        tally.drop("empty on a side", 7 * line)
    assert tally.sentences() == [
        "dropped 1,000 of 9,000 pairs: empty on a side (first lines 7, 14, 21, 28, 35)"
    ]
    assert tally.summary() == "9,000 read: 1,000 empty on a side"
    two = Tally(read=2, num_corpora=2)
    two.drop("empty on a side", 4, corpus=1)
    assert two.sentences()[0].endswith("(line 4 of corpus 2)")


def test_the_filters_count_in_a_corpus_what_they_count_alone(tmp_path):
    good = [(f"sentence {i}", f"جمله {i}") for i in range(300)]
    bad = [CASES[reason][:2] for reason in CASES]
    lines = good + bad + good[:4] + [("  sentence   5", "جمله 5 ")]
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{s}\t{t}\n" for s, t in lines), encoding="utf-8")
    data = DataConfig(src=f"{path}:0", tgt=f"{path}:1")
    tally = prepare(data, max_length=128).tally
    assert tally.dropped == {**dict.fromkeys(CASES, 1), filters.DUPLICATE: 5}
    assert tally.kept == 300 and tally.read == len(lines)
    examples = tally.examples[filters.DUPLICATE]
    assert [e.line for e in examples] == [307, 308, 309, 310, 311]
    assert examples[-1].src == "sentence 5"
    everything = dataclasses.replace(
        data,
        filter=FilterConfig(
            empty=False,
            control=False,
            identical=False,
            duplicates=False,
            max_characters=0,
            max_ratio=0,
            min_script=0,
        ),
    )
    assert prepare(everything, max_length=2000).tally.dropped == {}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_characters": -1}, "data.filter.max_characters must be above 0"),
        ({"max_ratio": 0.5}, "data.filter.max_ratio must be at least 1"),
        ({"min_script": 1.5}, "data.filter.min_script must be between 0 and 1"),
        ({"max_ratio": float("nan")}, "max_ratio must be a finite number"),
    ],
)
def test_a_rule_out_of_range_is_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        FilterConfig(**options)
