"""Lines as they come in."""

import itertools

import pytest

from flaxformer_mt.decoding.lines import WINDOWS, pair_up, windows
from flaxformer_mt.errors import InputError


def test_windows_hold_every_line_in_order_and_are_small_at_first():
    lines = [(str(i), "") for i in range(sum(WINDOWS) + WINDOWS[-1] + 3)]
    found = list(windows(iter(lines)))
    assert [line for window, _ in found for line in window] == lines
    assert [len(window) for window, _ in found] == [*WINDOWS, WINDOWS[-1], 3]
    assert [is_all for _, is_all in found] == [False] * (len(found) - 1) + [True]


def test_a_window_ends_where_nothing_more_is_there_at_the_moment():
    lines = [("a", ""), None, None, ("b", ""), ("c", ""), None]
    found = list(windows(iter(lines)))
    assert found == [
        ([("a", "")], True),
        ([], True),
        ([("b", ""), ("c", "")], True),
        ([], True),
    ]


def test_a_window_is_given_before_the_next_line_is_asked_for():
    """Whoever types waits for a translation, not for more lines of their own."""
    read = []

    def lines():
        for i in itertools.count():
            read.append(i)
            yield (str(i), "")

    next(windows(lines()))
    assert len(read) == WINDOWS[0]


def test_every_line_has_its_prefix():
    lines = ["a", None, "b"]
    assert list(pair_up(lines, None, "x")) == [("a", "x"), None, ("b", "x")]
    assert list(pair_up(lines, ["1", "2"], "")) == [("a", "1"), None, ("b", "2")]


@pytest.mark.parametrize(
    ("lines", "prefixes", "told"),
    [
        (["a", "b"], ["1"], "got 1 prefixes and at least 2 lines"),
        (["a"], ["1", "2", "3"], "got 3 prefixes and 1 lines"),
    ],
)
def test_as_many_prefixes_as_lines_are_asked_for(lines, prefixes, told):
    with pytest.raises(InputError, match=told):
        list(pair_up(lines, prefixes, ""))
