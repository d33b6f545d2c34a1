"""Files that survive a kill: what is found afterwards is whole, or it is not there.

A text is written beside its place and moved there in one rename; a step is taken away
with one rename into the trash; everything is synced before anyone is told of it. What
the system says of a failure is turned into one sentence.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from flaxformer_mt.errors import FlaxformerError, InputError, RunBusyError, StorageError

Folder = str | os.PathLike


def atomic_write_text(path: Folder, text: str) -> None:
    """Returns once `path` holds the text; killed before, it holds what it held.

    Raises:
      InputError: there cannot be such a path.
      StorageError: it cannot be written.
    """
    with one_sentence(f"cannot write {path}"):
        replace_text(Path(path), text)


def atomic_write_json(path: Folder, value: Any) -> None:
    """Returns once `path` holds the value as indented JSON; see atomic_write_text.

    Raises:
      InputError: JSON cannot hold the value, or there cannot be such a path.
      StorageError: it cannot be written.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"cannot write {path} as JSON: {error}.") from error
    atomic_write_text(path, text + "\n")


def replace_text(path: Path, text: str) -> None:
    """Does what atomic_write_text does, with the errors as the system has them."""
    replace_bytes(path, text.encode("utf-8"))


def replace_bytes(path: Path, content: bytes) -> None:
    """Does what replace_text does, for bytes."""
    unfinished = path.with_name(path.name + ".tmp")
    try:
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
    sync_folder(path.parent)


@dataclasses.dataclass(frozen=True)
class Place:
    """The paths of a run folder."""

    run: Path

    @classmethod
    def of(cls, run_folder: Folder) -> "Place":
        """Returns the place, as an absolute path."""
        # Orbax accepts a relative path and then fails at the first save.
        return cls(Path(os.path.abspath(os.path.expanduser(run_folder))))

    checkpoints = property(lambda self: self.run / "checkpoints")
    steps = property(lambda self: self.checkpoints / "steps")
    manifests = property(lambda self: self.checkpoints / "manifests")
    trash = property(lambda self: self.checkpoints / "trash")

    def step(self, step: int) -> Path:
        """Returns the folder of a step."""
        return self.steps / f"step_{step:09d}"

    def manifest(self, step: int) -> Path:
        """Returns the file that makes the step a checkpoint."""
        return self.manifests / f"step_{step:09d}.json"

    def make_folders(self) -> None:
        """Returns once the folders are there, and on the disk."""
        for folder in (self.steps, self.manifests, self.trash):
            folder.mkdir(parents=True, exist_ok=True)
        sync_folder(self.checkpoints)
        sync_folder(self.run)


@contextlib.contextmanager
def lock(place: Place) -> Iterator[None]:
    """Holds the run folder; the system lets go of it when this process dies."""
    file_lock = filelock.FileLock(place.checkpoints / "lock")
    pid = place.checkpoints / "lock.pid"  # Windows hides the content of a locked file
    try:
        # Somebody who looks whether it is held holds it for that moment.
        held = file_lock.acquire(timeout=0.2, poll_interval=0.02)
    except filelock.Timeout as error:
        owner = "pid unknown"
        with contextlib.suppress(OSError):
            owner = f"pid {pid.read_text(encoding='utf-8').strip()}"
        busy = f"another training process ({owner}) is using {place.run}: wait for it."
        raise RunBusyError(busy) from error
    with held:
        try:
            replace_text(pid, f"{os.getpid()}\n")
            yield
        finally:
            pid.unlink(missing_ok=True)


def is_held(checkpoints: Path) -> bool:
    """Whether a process holds the run folder that has these checkpoints. Where the
    system cannot be asked, as on Windows, True."""
    try:
        import fcntl
    except ImportError:
        return True
    with (
        contextlib.suppress(FileNotFoundError),
        open(checkpoints / "lock", "rb") as file,
    ):
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def discard(place: Place, step: int) -> None:
    """Takes a step away; killed anywhere in here, what is left is no checkpoint."""
    place.manifest(step).unlink(missing_ok=True)
    sync_folder(place.manifests)
    trash = place.trash / f"step_{step:09d}"
    shutil.rmtree(trash, ignore_errors=True)
    if place.step(step).exists():
        os.rename(place.step(step), trash)
        shutil.rmtree(trash, ignore_errors=True)


def sweep(place: Place) -> None:
    """Removes what is not a checkpoint: trash, unfinished and unacknowledged steps."""
    leftovers = [*place.trash.iterdir(), *place.steps.glob("*.orbax-checkpoint-tmp*")]
    for path in leftovers:
        shutil.rmtree(path, ignore_errors=True)
    for path in place.manifests.glob("*.tmp"):
        path.unlink()
    for path in place.steps.iterdir():
        step = re.fullmatch(r"step_(\d{9,})", path.name)
        if step and not place.manifest(int(step[1])).exists():
            discard(place, int(step[1]))


def check_room(folder: Path, num_bytes: int) -> None:
    """Raises the system's error for a full disk if there is no room for the bytes."""
    if shutil.disk_usage(folder).free < num_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def sync_folder(folder: Path) -> None:
    """Returns once the names in the folder are on the disk."""
    if sys.platform == "win32":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_and_hash(folder: Path) -> dict[str, str]:
    """Returns path -> SHA-256 once a power cut can no longer empty these files.

    Orbax itself leaves its small files to the system.
    """
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
            continue
        with open(path, "r+b") as file:  # Windows syncs only what it could write
            os.fsync(file.fileno())
            sha = hashlib.file_digest(file, "sha256").hexdigest()
            hashes[path.relative_to(folder).as_posix()] = sha
    sync_folder(folder)
    return hashes


def hash_file(path: Path) -> str:
    """Returns the SHA-256 of a file; "" if it cannot be read."""
    try:
        return read_hash(path)
    except OSError:
        return ""


def read_hash(path: Path) -> str:
    """Returns the SHA-256 of a file. Raises OSError if it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256(text: str) -> str:
    """Returns the SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@contextlib.contextmanager
def one_sentence(what: str) -> Iterator[None]:
    """Turns what the system says into an error that a person can act on."""
    try:
        yield
    except (InputError, StorageError, RunBusyError):
        raise
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{what}: a file is in the way.") from error
    except (OSError, ValueError) as error:
        impossible = not isinstance(error, OSError) or error.errno == errno.ENAMETOOLONG
        kind = InputError if impossible else StorageError
        raise kind(f"{what}: {reason(error)}.") from error


@contextlib.contextmanager
def disk_faults(what: str) -> Iterator[None]:
    """Turns what the system says of a disk into an error that a person can act on, and
    leaves every other error as it is."""
    try:
        yield
    except FlaxformerError:
        raise
    except OSError as error:
        raise StorageError(f"{what}: {reason(error)}.") from error


def reason(error: Exception) -> str:
    """Returns a few words; TensorStore hides the system's number in its text."""
    hidden = re.search(r"os_error_code='(\d+)'", str(error))
    number = int(hidden[1]) if hidden else getattr(error, "errno", None)
    if number == errno.ENOSPC:
        return "the disk is full"
    return os.strerror(number).lower() if number else " ".join(str(error).split())[:200]
