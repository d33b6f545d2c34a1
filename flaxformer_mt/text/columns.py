"""Arrays that grow by appending, on disk, so that memory does not grow with a corpus.

A `Column` with a path becomes that file; without one it stays in memory while it is
small and then moves to a file that has no name, which is gone when the process is.
"""

import tempfile
from pathlib import Path
from typing import IO

import numpy as np

SPILL_BYTES = 64 * 2**20  # of a column without a path, before it moves to disk


def _nameless(folder: Path | None) -> tempfile.SpooledTemporaryFile:
    """A file in memory that moves to disk as it grows; a kill leaves nothing behind."""
    return tempfile.SpooledTemporaryFile(max_size=SPILL_BYTES, dir=folder)


class Column:
    """One array, written piece by piece."""

    def __init__(
        self,
        dtype: np.typing.DTypeLike,
        path: Path | None = None,
        *,
        folder: Path | None = None,
    ) -> None:
        """folder: of the file without a name; None: the system's for such files."""
        self.dtype = np.dtype(dtype)
        self.count = 0
        self.file: IO[bytes] = (
            # Read back through a memory map, and closed with it.
            path.open("wb+") if path else _nameless(folder)
        )

    def append(self, values: np.ndarray) -> None:
        """Writes some values at the end."""
        self.file.write(np.ascontiguousarray(values, self.dtype).tobytes())
        self.count += len(values)

    def finish(self) -> np.ndarray:
        """The whole array, read-only: a memory map where it is on disk. Once."""
        with self.file:
            if isinstance(self.file, tempfile.SpooledTemporaryFile):
                if self.count * self.dtype.itemsize < SPILL_BYTES:
                    self.file.seek(0)
                    return np.frombuffer(self.file.read(), self.dtype)
                self.file.rollover()
            self.file.flush()
            # A map stays when its file is closed.
            return map_array(self.file, self.dtype, self.count)

    def close(self) -> None:
        """Closes the file of an array that is not finished."""
        self.file.close()


def map_array(file: IO[bytes] | Path, dtype: np.dtype, count: int) -> np.ndarray:
    """A read-only memory map of `count` values; an empty file cannot be mapped."""
    if not count:
        return np.zeros(0, dtype)
    return np.memmap(file, dtype, mode="r", shape=(count,))


class TextColumn:
    """Texts without a line break in them, written in chunks and read in the same."""

    def __init__(self, folder: Path | None = None) -> None:
        self.file = _nameless(folder)
        self.ends: list[int] = [0]  # where each chunk ends, in bytes

    def append(self, chunk: bytes) -> None:
        """Writes a chunk, from `pack_texts`."""
        self.file.seek(self.ends[-1])
        self.file.write(chunk)
        self.ends.append(self.ends[-1] + len(chunk))

    def chunk(self, number: int) -> bytes:
        """The chunk that was appended as number `number`, from 0."""
        start, end = self.ends[number : number + 2]
        self.file.seek(start)
        return self.file.read(end - start)

    def close(self) -> None:
        """Gives the file up."""
        self.file.close()


def pack_texts(texts: list[str]) -> bytes:
    """Texts without a line break as bytes, for `unpack_texts`."""
    return "".join(text + "\n" for text in texts).encode("utf-8")


def unpack_texts(chunk: bytes) -> list[str]:
    """The inverse of `pack_texts`."""
    return chunk.decode("utf-8").split("\n")[:-1]
