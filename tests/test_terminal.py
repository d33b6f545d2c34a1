"""What a person sees: right-to-left text in one piece, durations, progress lines."""

import pytest

from flaxformer_mt import terminal
from flaxformer_mt.terminal import Progress, in_words, isolate, say_translation


def test_right_to_left_text_is_isolated_and_other_text_untouched():
    assert isolate("سلام.") == "\u2068سلام.\u2069"
    assert isolate("Hello.") == "Hello."
    assert isolate("") == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0s"), (59.4, "59s"), (60, "1:00"), (185, "3:05"), (3723, "1:02:03")],
)
def test_durations_are_short(seconds, words):
    assert in_words(seconds) == words


def test_each_text_of_a_translation_has_a_line_of_its_own(capsys):
    say_translation("Hello.", "سلام.", "درود.")
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[0] for line in err.strip().split("\n")] == [
        "source",
        "reference",
        "translation",
    ]


def test_without_a_terminal_progress_is_a_plain_line_now_and_then(capsys, monkeypatch):
    clock = iter(range(0, 10_000, 6))
    monkeypatch.setattr(terminal.time, "monotonic", lambda: float(next(clock)))
    with Progress("training", 100) as progress:
        for done in (10, 20, 30, 40):
            progress.show(done, "loss 1.5")
    lines = capsys.readouterr().err.strip().split("\n")
    assert 1 < len(lines) < 4
    assert "training" in lines[-1] and "%" in lines[-1] and "left" in lines[-1]
    assert "\x1b" not in lines[-1]


def test_the_time_left_does_not_count_what_was_compiled_on_the_way(capsys, monkeypatch):
    times = iter([0.0, 0.0, 100.0, 110.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(times))
    with Progress("training", 100) as progress:
        progress.show(0, "loss 2", once=0.0)
        progress.show(10, "loss 1.5", once=95.0)
        progress.show(20, "loss 1", once=95.0)
    first, second = capsys.readouterr().err.strip().split("\n")
    assert first.endswith("loss 1.5  45s left")
    assert second.endswith("loss 1  1:00 left")


def test_progress_can_be_silent(capsys):
    with Progress("training", 100, visible=False) as progress:
        progress.show(50, "x")
    assert capsys.readouterr() == ("", "")
