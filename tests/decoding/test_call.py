"""One call of a translator: who watches it, and what is left of it after an error."""

import threading
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from flaxformer_mt.decoding.call import Text, WatchedTexts, worker_threads
from flaxformer_mt.decoding.frames import Source
from flaxformer_mt.decoding.search import Output
from flaxformer_mt.decoding.translation import Report

TOKENIZER = SimpleNamespace(decode=lambda ids: "".join(map(chr, ids)))


def outputs(text):
    return [Output(list(map(ord, text)), 0.0, 0.0, [], False)]


def text_of(pieces):
    return Text("", 0, 0, [Source([1])] * pieces, Report())


def seen(watched, members, alive, so_far):
    """What somebody sees who looks at a batch of these pieces."""
    told = []
    watched.watch = lambda line, text: told.append((line, text())) or True
    assert watched.of_batch(members)(alive, lambda owner: so_far[owner])
    return told


def test_a_text_is_shown_with_all_that_its_pieces_have_come_to():
    texts = [text_of(1), text_of(3)]
    watched = WatchedTexts(TOKENIZER, None, texts, [0, 5])
    members = [(1, 0), (0, 0), (1, 1)]
    beginning = [outputs("Hel"), outputs("Ab"), outputs("Sec")]
    shown = seen(watched, members, [0, 1, 2], beginning)
    assert shown == [(5, "Hel Sec"), (0, "Ab"), (5, "Hel Sec")]
    # The first piece has ended: it is not looked at any more, but it is all there.
    later = [outputs("Hello."), outputs("Abc"), outputs("Second p")]
    assert seen(watched, members, [2], later) == [(5, "Hello. Second p")]
    # What waits in another frame is not at hand: it is shown as it was.
    assert seen(watched, members, [0], [outputs("Hello."), [], []])[0] == (
        *(5, "Hello. Second p"),
    )


def test_a_piece_that_another_batch_has_finished_is_shown():
    text = text_of(2)
    watched = WatchedTexts(TOKENIZER, None, [text], [0])
    assert seen(watched, [(0, 1)], [0], [outputs("end")]) == [(0, "end")]
    first, second = Future(), Future()
    text.parts[:] = [(first, 1), (second, 0)]
    assert seen(watched, [(0, 1)], [0], [outputs("end")]) == [(0, "end")]
    first.set_result([[], outputs("Begin")])
    assert seen(watched, [(0, 1)], [0], [outputs("end")]) == [(0, "Begin end")]


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_piece_that_came_to_nothing_disturbs_nobody(end):
    text, future = text_of(2), Future()
    watched = WatchedTexts(TOKENIZER, None, [text], [0])
    text.parts[:] = [(future, 0), (Future(), 0)]
    if end == "failed":
        future.set_exception(RuntimeError())
    else:
        future.cancel()
    assert seen(watched, [(0, 1)], [0], [outputs("end")]) == [(0, "end")]


def test_half_a_letter_and_control_characters_are_not_shown():
    watched = WatchedTexts(TOKENIZER, None, [text_of(1)], [0])
    assert seen(watched, [(0, 0)], [0], [outputs("a\x1bb\ufffd")]) == [(0, "ab")]


def test_after_an_error_what_waits_is_not_begun():
    begun, gate = [], threading.Event()

    def work(number):
        begun.append(number)
        gate.wait(10)

    with pytest.raises(RuntimeError), worker_threads() as workers:
        futures = [workers.submit(work, i) for i in range(100)]
        threading.Timer(0.2, gate.set).start()
        raise RuntimeError
    assert len(begun) < 100 and futures[-1].cancelled()
