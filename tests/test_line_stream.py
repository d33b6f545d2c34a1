"""Lines in and out: none lost, none waited for needlessly, few in memory."""

import io
import itertools
import os
import subprocess
import sys
import threading

import pytest

from flaxformer_mt import line_stream
from flaxformer_mt.errors import InputError
from flaxformer_mt.line_stream import (
    Pace,
    Postponed,
    PrefixedLine,
    RowWriter,
    apart,
    bytes_left,
    input_lines,
    json_row,
    read_ahead,
    with_prefixes,
)
from flaxformer_mt.text.lines import MAX_LINE_BYTES

LONG = 60  # seconds after which a test gives up on a thread; usual is none


def test_lines_are_split_at_line_feeds_alone():
    odd = "a\u2028b\x0bc\x85d\x1ce\rf"
    stream = io.BytesIO(f"\ufeff{odd}\r\n\n last".encode())
    assert list(input_lines(stream)) == [odd, "", " last"]


def test_a_line_that_is_not_utf8_is_named():
    stream = io.BytesIO(b"good\nbad \xff\n")
    with pytest.raises(InputError, match="line 2, byte 5 is not"):
        list(input_lines(stream))


def test_a_line_that_never_ends_does_not_fill_the_memory():
    class Endless(io.RawIOBase):
        def readline(self, size=-1):
            assert 0 < size < 2 * MAX_LINE_BYTES
            return b"x" * size

    with pytest.raises(InputError, match="line 1 is longer than the limit of 1,048"):
        list(input_lines(Endless()))
    longest = b"x" * MAX_LINE_BYTES
    assert list(input_lines(io.BytesIO(longest + b"\n"))) == [longest.decode()]


def test_a_folder_as_standard_input_is_one_sentence(tmp_path):
    class Folder:
        def readline(self, size):
            raise IsADirectoryError(21, "Is a directory")

    with pytest.raises(InputError, match="standard input cannot be read: Is a dir"):
        list(input_lines(Folder()))


def test_the_bytes_of_each_line_are_noted():
    sizes = []
    assert list(input_lines(io.BytesIO(b"ab\r\n\nlast"), sizes.append))
    assert sizes == [4, 1, 4]


def test_a_pipe_has_no_known_length_and_a_file_only_what_is_left(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"one\ntwo\n")
    with path.open("rb") as file:
        assert bytes_left(file) == 8
        file.readline()
        assert bytes_left(file) == 4
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe, open(writing, "wb"):
        assert bytes_left(pipe) == 0
    assert bytes_left(io.BytesIO(b"no descriptor")) == 0


# ---- reading ahead -----------------------------------------------------------------


def test_the_reader_runs_ahead_by_a_bounded_number_of_lines():
    taken, full = [], threading.Event()

    def lines():
        for number in range(1000):
            taken.append(number)
            if number >= 11:
                full.set()
            yield str(number)

    ahead = read_ahead(lines(), ahead=10, patience=None)
    assert next(ahead) == "0" and full.wait(LONG)
    for answered in range(1, 900):
        # One is with the consumer, one in the reader's hand.
        assert len(taken) <= answered + 10 + 1
        assert next(ahead) == str(answered)
    assert list(ahead) == [str(number) for number in range(900, 1000)]


def test_none_says_that_nothing_is_there_and_is_never_said_twice():
    go_on = threading.Semaphore(0)

    def lines():
        for text in "abc":
            assert go_on.acquire(timeout=LONG)
            yield text

    ahead = read_ahead(lines(), patience=0.0)
    go_on.release()
    assert next(ahead) == "a"  # and not None first: it waits for something to answer
    assert next(ahead) is None
    go_on.release()
    assert next(ahead) == "b"
    assert next(ahead) is None
    go_on.release()
    assert [item for item in ahead if item is not None] == ["c"]


def test_a_file_is_never_said_to_have_nothing_at_the_moment():
    def slow():
        for number in range(50):
            threading.Event().wait(0.001)
            yield number

    assert list(read_ahead(slow(), patience=None)) == list(range(50))


@pytest.mark.parametrize("error", [InputError("bad."), ZeroDivisionError()])
def test_an_error_in_the_thread_comes_after_the_lines_before_it(error):
    def lines():
        yield from "ab"
        raise error

    ahead = read_ahead(lines(), patience=None)
    assert [next(ahead), next(ahead)] == ["a", "b"]
    with pytest.raises(type(error)):
        next(ahead)


def test_python_ends_while_a_thread_waits_for_a_pipe_that_stays_open():
    code = (
        "from flaxformer_mt.line_stream import input_lines, own_reader, read_ahead\n"
        "import sys\n"
        "lines = read_ahead(input_lines(own_reader(sys.stdin.fileno())))\n"
        "print(next(lines), next(lines), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        child.stdin.write(b"hello\n")
        child.stdin.flush()
        assert child.wait(LONG) == 0, child.stderr.read()
        assert child.stdout.read() == b"hello None\n"
        assert child.stderr.read() == b""


# ---- prefixes and errors -----------------------------------------------------------


def test_each_line_has_its_prefix_and_none_stays_none():
    lines = with_prefixes(["a", None, "b"], ["x", ""])
    texts, prefixes = apart(lines)
    assert (next(texts), next(prefixes)) == ("a", "x")
    assert list(texts) == [None, "b"] and list(prefixes) == [""]


@pytest.mark.parametrize(
    ("prefixes", "counts"),
    [
        (["x"], "got 1 in --prefixes and at least 2 in standard input"),
        (["x"] * 5, "got 5 in --prefixes and 3 in standard input"),
    ],
)
def test_unequal_numbers_of_prefixes_are_told_after_the_lines_before(prefixes, counts):
    postponed = Postponed()
    lines = postponed.until_error(with_prefixes(["a", "b", "c"], prefixes))
    assert list(lines) == [PrefixedLine(t, "x") for t in "abc"[: len(prefixes)]]
    with pytest.raises(InputError, match=counts):
        postponed.raise_now()


def test_more_lines_than_prefixes_are_told_before_the_pipe_ends():
    endless = with_prefixes(itertools.repeat("a"), ["x"] * 3)
    with pytest.raises(InputError, match="at least 4"):
        list(endless)


# ---- writing -----------------------------------------------------------------------


class Flushes(io.BytesIO):
    """Remembers what had been written at each flush."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def flush(self):
        self.seen.append(self.getvalue())


def test_rows_are_handed_over_before_more_lines_are_waited_for(monkeypatch):
    monkeypatch.setattr(line_stream.time, "monotonic", lambda: 0.0)
    output = Flushes()
    with RowWriter(output) as writer:
        for item in writer.flushed_before("ab"):
            for _ in range(100):
                writer.write(item)
    assert output.seen == [b"a" * 100, b"a" * 100 + b"b" * 100]


def test_rows_are_handed_over_now_and_then_while_work_goes_on(monkeypatch):
    clock = itertools.count(step=0.02)
    monkeypatch.setattr(line_stream.time, "monotonic", lambda: next(clock))
    output = Flushes()
    with RowWriter(output) as writer:
        for _ in range(40):
            writer.write("x")
    assert 8 <= len(output.seen) <= 20
    assert output.seen[-1] == b"x" * 40


def test_rows_before_an_error_are_handed_over():
    output = Flushes()
    with pytest.raises(InputError), RowWriter(output) as writer:
        writer.write("one\n")
        raise InputError("two.")
    assert output.seen == [b"one\n"]


def test_half_a_surrogate_pair_is_written_as_its_escape():
    output = io.BytesIO()
    with RowWriter(output) as writer:
        writer.write(json_row({"a": "\ud83d سلام"}))
    assert output.getvalue() == '{"a": "\\ud83d سلام"}\n'.encode()


def test_what_is_no_number_is_null_in_json():
    row = json_row({"a": float("nan"), "b": [1.5, (float("-inf"), "x")]})
    assert row == '{"a": null, "b": [1.5, [null, "x"]]}\n'


# ---- how far -----------------------------------------------------------------------


@pytest.mark.parametrize("total", [200, 0])
def test_how_far_it_is_is_told_by_the_bytes_that_are_answered(
    monkeypatch, capsys, total
):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    with Pace("translating", total_bytes=total) as pace:
        for _ in range(200):
            pace.read(1)  # the reader is far ahead
        for _ in range(140):
            clock[0] += 0.125
            pace.answered()
    lines = capsys.readouterr().err.strip().split("\n")
    assert len(lines) == 1 and lines[0].startswith("translating")
    assert "lines, 8 a second" in lines[0]
    assert (" 52%" in lines[0]) == ("%" in lines[0]) == (total > 0)


def test_what_is_over_in_a_moment_shows_no_progress(capsys):
    with Pace("translating") as pace:
        for _ in range(1000):
            pace.read(1)
            pace.answered()
    assert pace.progress is None and capsys.readouterr().err == ""
