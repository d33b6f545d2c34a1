"""A zip, read to its end before anything in it is believed; nothing is unpacked to
disk."""

import dataclasses
import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.sources import (
    MAX_EXPANDED_BYTES,
    MAX_RATIO,
    faults,
    printable,
)

BLOCK_BYTES = 2**18


@dataclasses.dataclass(frozen=True)
class Member:
    """A file inside an archive."""

    name: str
    size: int  # bytes, unpacked
    num_lines: int


@dataclasses.dataclass(frozen=True)
class Archive:
    """A zip on disk, each of whose members was read and has its checksum."""

    path: Path
    size: int
    sha256: str
    members: tuple[Member, ...]
    fresh: bool  # False: it was there already


def read_archive(path: Path, shown: str, *, fresh: bool) -> Archive:
    """The archive, each member read to its end and compared with its checksum.

    Raises:
      InputError: it is damaged, or grows as a zip bomb does.
    """
    size = path.stat().st_size
    members = tuple(check_zip(path, shown))
    with path.open("rb") as file:
        sha = hashlib.file_digest(file, "sha256").hexdigest()
    return Archive(path, size, sha, members, fresh)


def check_zip(path: Path, shown: str) -> Iterator[Member]:
    """Yields the members of a zip, each read to its end; nothing is written.

    What an archive declares can lie, so bytes are counted as they come out, over all
    members together: `sources.MAX_RATIO` and `sources.MAX_EXPANDED_BYTES` hold here
    too.

    Raises:
      InputError: it is damaged, encrypted, or grows beyond that.
    """
    with faults(f"{shown} is not a whole zip"):
        room = max(MAX_EXPANDED_BYTES, MAX_RATIO * path.stat().st_size)
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            if not infos:
                raise InputError(f"{shown} is an empty zip: check the address.")
            for info in infos:
                member = _read_member(archive, info, room, shown)
                room -= member.size
                yield member


def _read_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, room: int, shown: str
) -> Member:
    """A member, read to its end, of at most `room` bytes."""
    # As in sources.py: of the other methods Python unpacks what it has read in one go.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(
            f"{shown} has {printable(info.filename)} packed by method "
            f"{info.compress_type}, and only stored and deflated members are read."
        )
    size, num_lines, last = 0, 0, b"\n"
    with archive.open(info) as stream:
        while block := stream.read(BLOCK_BYTES):
            size += len(block)
            if size > room:
                raise InputError(
                    f"{shown} unpacks to more than {MAX_RATIO} times its size, as a "
                    "zip bomb does."
                )
            num_lines += block.count(b"\n")
            last = block[-1:]
    if size != info.file_size:
        raise InputError(
            f"{shown} is damaged: {printable(info.filename)} has {size:,} bytes and "
            f"says {info.file_size:,}; download it again."
        )
    return Member(info.filename, size, num_lines + (last != b"\n"))
