"""What the tests of sources, lines and corpora share: files, and what is said of them.

The files are written by the tests themselves, into an empty folder. Line feeds are
written as bytes, so that a test means the same on every system.
"""

import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.lines import read_lines


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """Work in a folder of one's own, where `write` can use short names."""
    monkeypatch.chdir(tmp_path)


def write(name: str, content: str | bytes) -> str:
    """Write a file into the current folder and return its name."""
    data = content if isinstance(content, bytes) else content.encode("utf-8")
    Path(name).write_bytes(data)
    return name


def write_lines(name: str, lines: list[str]) -> str:
    return write(name, "".join(f"{line}\n" for line in lines))


def write_zip(name: str, members: dict[str, str | bytes], method=None) -> str:
    method = zipfile.ZIP_DEFLATED if method is None else method
    with zipfile.ZipFile(name, "w", method) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return name


def read_all(spec: str, **options) -> list[str]:
    return list(read_lines(spec, **options))


def message_of(spec: str, **options) -> str:
    """Return what a person is told when `spec` cannot be read to its end."""
    with pytest.raises(InputError) as caught:
        read_all(spec, **options)
    return one_sentence(str(caught.value))


def one_sentence(message: str) -> str:
    assert message.isprintable(), f"{message!r} would not fit on one line"
    assert message[-1] in ".?"
    assert ". " not in message
    return message


def measured(spec: str, **options) -> tuple[str, int, float]:
    """Return the message, the peak of memory in bytes and the processor's seconds."""
    tracemalloc.start()
    begin = time.process_time()
    try:
        with pytest.raises(InputError) as caught:
            for _ in read_lines(spec, **options):
                pass
        seconds = time.process_time() - begin
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return one_sentence(str(caught.value)), peak, seconds
