"""Fetches one archive over HTTP: what is found afterwards is whole, or not there.

    NAME.zip.part         what has come so far; goes on after a cut, a kill, Ctrl-C
    NAME.zip.part.json    whose part it is: address, ETag or date, size of the whole
    NAME.zip              moved there in one rename, after each member's CRC was checked
    NAME.zip.source.json  where it came from, with its SHA-256

The rest of a part is asked for with `Range` and `If-Range` (RFC 9110, sections 13.1.5
and 14.2): a server whose file has changed then sends the whole again, and so does one
that knows no ranges. Nothing is unpacked to disk.
"""

import contextlib
import dataclasses
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import filelock

from flaxformer_mt import __version__
from flaxformer_mt.corpora.archive import BLOCK_BYTES, Archive, read_archive
from flaxformer_mt.errors import (
    FlaxformerError,
    InputError,
    RunBusyError,
    StoppedError,
    StorageError,
)
from flaxformer_mt.terminal import Progress, say
from flaxformer_mt.text.sources import printable
from flaxformer_mt.training.storage import (
    atomic_write_json,
    one_sentence,
    sync_folder,
)

SECONDS_BETWEEN_SHOWS = 0.1
USER_AGENT = f"flaxformer-mt/{__version__}"
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")  # a member; the end of an empty archive
_COME_BACK = {408, 425, 429, 500, 502, 503, 504}  # worth another try


class DownloadError(FlaxformerError):
    """The network or a server failed; nothing that has come is lost."""

    exit_code = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """How patient a download is, and how large it may become."""

    timeout: float = 30.0  # seconds without a byte that count as a cut
    max_bytes: int = 20 * 10**9
    tries: int = 5  # how many in a row may bring nothing new
    pause: float = 1.0  # seconds before the second of them; doubles each time


DEFAULT = FetchOptions()


def fetch_file(
    url: str,
    target: Path,
    *,
    options: FetchOptions = DEFAULT,
    hint: str = "",
    note: Callable[[str], None] = say,
) -> Archive:
    """Returns the zip at `target`, fetched from `url` unless it is there and whole.

    Args:
      hint: what to do where the server has no such file or refuses to give it.
      note: is told what a person may want to know meanwhile.

    Raises:
      InputError: the address, or what is found there, is not what it should be.
      DownloadError: the network or the server failed; a later call goes on.
      StorageError: it cannot be written.
      RunBusyError: another process is fetching the same file.
      StoppedError: Ctrl-C; a later call goes on.
    """
    check_url(url)
    with one_sentence(f"cannot write to {printable(target.parent)}"):
        target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target):
        part = _Part(target)
        if target.exists():
            return _already_there(url, target, part)
        try:
            _fetch(url, part, options, hint, note)
        except KeyboardInterrupt:
            raise StoppedError(
                f"{_mb(part.size())} MB of {printable(target.name)} are there: the "
                "same command goes on.",
                signal.SIGINT,
            ) from None
        return _accept(url, target, part)


def check_url(url: str) -> None:
    """Raises InputError unless `url` is an address that we would open."""
    try:
        parts = urllib.parse.urlsplit(url)
        problem = parts.port == 0 or not parts.hostname or "@" in parts.netloc
    except ValueError:
        problem = True
    if problem or parts.scheme not in ("http", "https") or not _is_plain(url):
        raise InputError(
            "expected an address that starts with http:// or https://, got "
            f"'{printable(url)}': copy it from a browser."
        )


def _is_plain(url: str) -> bool:
    """Whether an address is ASCII without blanks, as HTTP wants it."""
    return url.isascii() and url.isprintable() and " " not in url


def check_redirect(old: str, new: str) -> None:
    """Raises InputError unless a server that we asked at `old` may send us to `new`."""
    scheme = urllib.parse.urlsplit(new).scheme
    downgrade = old.startswith("https:") and scheme == "http"
    if scheme not in ("http", "https") or downgrade:
        why = "which is not encrypted" if downgrade else "which is no web address"
        raise InputError(
            f"{_shown(old)} sends us on to {_shown(new)}, {why}: find the file in a "
            "browser and give its address with --url."
        )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to another web address and to nothing else."""

    def http_error_302(
        self, request: Any, fp: Any, code: int, message: str, headers: Any
    ) -> Any:
        place = headers.get("location")
        if place:
            try:
                check_redirect(
                    request.full_url, urllib.parse.urljoin(request.full_url, place)
                )
            except InputError:
                fp.close()
                raise
        return super().http_error_302(request, fp, code, message, headers)

    http_error_301 = http_error_303 = http_error_302
    http_error_307 = http_error_308 = http_error_302


Ask = Callable[..., http.client.HTTPResponse]


def _asker() -> Ask:
    """What opens http and https alone; build_opener would add file, ftp and data."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener.open


# ---- what is on disk meanwhile -----------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Origin:
    """Whose part it is: enough to ask for the rest of the same file."""

    url: str
    validator: str  # a strong ETag or a date, for If-Range; "" if there is neither
    total: int | None  # bytes of the whole, as far as the server said


class _Part:
    """What has come of a file so far, and whose it is."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(target.name + ".part")
        self.json = target.with_name(target.name + ".part.json")
        self.source = target.with_name(target.name + ".source.json")

    def size(self) -> int:
        """Bytes that are there."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def origin(self, url: str) -> _Origin | None:
        """Whose part it is, if the rest of it can be asked for at `url`."""
        kept = _read_json(self.json)
        try:
            origin = _Origin(**kept)
            fits = origin.total is None or 0 < self.size() <= origin.total
            known = isinstance(origin.validator, str) and bool(origin.validator)
        except TypeError:
            return None
        resumes = origin.url == url and known and fits and self.size() > 0
        return origin if resumes else None

    def start(self, origin: _Origin) -> None:
        """Empties the part and says whose the next bytes are."""
        # In this order: bytes of one file never stand beside the name of another.
        self.json.unlink(missing_ok=True)
        self.path.write_bytes(b"")
        atomic_write_json(self.json, dataclasses.asdict(origin))

    def discard(self) -> None:
        """Removes both files."""
        for path in (self.json, self.path):
            with contextlib.suppress(OSError):
                path.unlink()


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a small file of ours; empty if there is none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


@contextlib.contextmanager
def _lock(target: Path) -> Iterator[None]:
    """Holds the file's name; the system lets go of it when this process dies."""
    lock = filelock.FileLock(target.with_name(f".{target.name}.lock"))
    with one_sentence(f"cannot write to {printable(target.parent)}"):
        try:
            held = lock.acquire(timeout=0)
        except filelock.Timeout:
            raise RunBusyError(
                f"another process is fetching {printable(target)}: wait for it."
            ) from None
    with held:
        yield


def _already_there(url: str, target: Path, part: _Part) -> Archive:
    """The archive that an earlier call, or a person, has put there."""
    came_from = _read_json(part.source).get("url", url)
    if came_from != url:
        raise InputError(
            f"{printable(target)} came from {_shown(str(came_from))} and not from "
            f"{_shown(url)}: give another --folder, or move it away."
        )
    try:
        archive = read_archive(target, printable(target), fresh=False)
    except InputError as error:
        raise InputError(
            f"{str(error).partition('; ')[0].rstrip('.')}: move it away and run the "
            "same command again."
        ) from error
    part.discard()  # of a call that was killed between its last two steps
    return archive


def _accept(url: str, target: Path, part: _Part) -> Archive:
    """The archive under its name, once it is known to be whole."""
    try:
        archive = read_archive(part.path, f"what {_shown(url)} sent", fresh=True)
    except InputError:
        part.discard()  # no rest of it would mend it
        raise
    with one_sentence(f"cannot write {printable(target)}"):
        atomic_write_json(
            part.source, {"url": url, "size": archive.size, "sha256": archive.sha256}
        )
        os.replace(part.path, target)
        sync_folder(target.parent)
    part.discard()
    return dataclasses.replace(archive, path=target)


# ---- the transfer ------------------------------------------------------------------


class _CutError(Exception):
    """A failure after which another try may well go on."""


class _OfflineError(_CutError):
    """The name of the server is not found: soon after a cut, or not at all."""


def _fetch(
    url: str,
    part: _Part,
    options: FetchOptions,
    hint: str,
    note: Callable[[str], None],
) -> None:
    """Returns once the part is as long as the server says; tries again after cuts."""
    ask = _asker()
    most = begun = part.size() if part.origin(url) else 0
    if begun:
        note(f"going on after {_mb(begun)} MB")
    tries, pause = 0, options.pause
    while True:
        tries += 1
        try:
            _attempt(ask, url, part, options, hint, note)
            return
        except _CutError as cut:
            if part.size() > most:  # a cut after something new is no reason to give up
                most, tries, pause = part.size(), 0, options.pause
            elif tries >= options.tries or (
                isinstance(cut, _OfflineError) and most == begun
            ):
                times = f" {tries} times in a row" if tries > 1 else ""
                kept = "nothing has come, and the same command tries again"
                if part.origin(url):
                    kept = (
                        f"{_mb(part.size())} MB have come, and the same command goes "
                        "on from there"
                    )
                raise DownloadError(
                    f"{_shown(url)}: {cut}{times}; {kept}."
                ) from cut.__cause__
            note(f"{cut}; trying again")
        time.sleep(pause)
        pause *= 2


def _attempt(
    ask: Ask,
    url: str,
    part: _Part,
    options: FetchOptions,
    hint: str,
    note: Callable[[str], None],
) -> None:
    """Asks once for what is missing and writes what comes."""
    origin = part.origin(url)
    have = part.size() if origin else 0
    if origin and have == origin.total:
        return  # an earlier call was stopped before it could check
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    if origin:
        headers |= {"Range": f"bytes={have}-", "If-Range": origin.validator}
    request = urllib.request.Request(url, headers=headers)
    try:
        with _network(url, options.timeout):
            response = ask(request, timeout=options.timeout)
    except urllib.error.HTTPError as error:
        with error:
            if not _is_all(error, have):
                _refused(error, url, part, hint)
            return
    with response:
        _receive(response, url, part, origin, options, note)


def _is_all(error: urllib.error.HTTPError, have: int) -> bool:
    """Whether the server says that what is here is the whole file."""
    return error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}"


def _refused(
    error: urllib.error.HTTPError, url: str, part: _Part, hint: str
) -> NoReturn:
    """Raises what an answer other than success means."""
    answer = f"the server answered {error.code} ({printable(error.reason)})"
    if error.code == 416:
        part.discard()
        raise _CutError("the file on the server is shorter than what had come")
    if error.code in _COME_BACK:
        raise _CutError(answer)
    if 300 <= error.code < 400:
        raise InputError(
            f"{_shown(url)} sends us round in a circle ({error.code}): find the file "
            "in a browser and give its address with --url."
        )
    what_now = hint or "check the address"
    if error.code in (404, 410):
        raise InputError(f"{_shown(url)} does not exist ({answer}): {what_now}.")
    raise InputError(f"{_shown(url)} was refused ({answer}): {what_now}.")


def _receive(
    response: http.client.HTTPResponse,
    url: str,
    part: _Part,
    origin: _Origin | None,
    options: FetchOptions,
    note: Callable[[str], None],
) -> None:
    """Writes the body of a response to the part, behind what is there or anew."""
    have, total = _span(response, url, part, origin)
    if total is not None and total > options.max_bytes:
        raise InputError(
            f"{_shown(url)} has {_mb(total)} MB, more than the limit of "
            f"{_mb(options.max_bytes)} MB: raise --max-gb if it is meant to."
        )
    with _network(url, options.timeout):
        block = _head(response)
    if len(block) < 4 and len(block) != total:
        raise _CutError("the connection was cut")
    if not have:
        # Before anything is thrown away: a page to log in at must not cost the part.
        _check_start(block, response, url)
    with _disk(part):
        free = shutil.disk_usage(part.path.parent).free
        if total is not None and free < total - have:
            raise StorageError(
                f"{_mb(total - have)} MB are still to come and {_mb(free)} MB are free "
                f"in {printable(part.path.parent)}: make room, and the same command "
                "goes on."
            )
        if not have:
            if origin:
                note("the server sends the file from its beginning")
            part.start(_Origin(url, _validator(response), total))
    meter = _Meter(part.path.name.removesuffix(".part"), total)
    with meter, contextlib.ExitStack() as stack:
        with _disk(part):
            file = stack.enter_context(part.path.open("ab", buffering=0))
        while block:
            have += len(block)
            if have > options.max_bytes or (total is not None and have > total):
                part.discard()
                raise InputError(
                    f"{_shown(url)} sends more than the "
                    f"{_mb(options.max_bytes if total is None else total)} MB that "
                    "were to come: nothing of it was kept."
                )
            with _disk(part):
                while block:  # nothing is held back: a full disk tells at once
                    block = block[file.write(block) :]
            meter.show(have)
            with _network(url, options.timeout):
                block = response.read1(BLOCK_BYTES)
        with _disk(part):
            os.fsync(file.fileno())
    if total is not None and have < total:
        raise _CutError("the connection was cut")


def _span(
    response: http.client.HTTPResponse,
    url: str,
    part: _Part,
    origin: _Origin | None,
) -> tuple[int, int | None]:
    """(bytes of the part that stay, bytes of the whole or None if that is not said)."""
    length = response.length  # of this body, from Content-Length
    if response.status == 200:
        return 0, length
    spec = response.headers.get("Content-Range", "")
    span = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", spec.strip())
    if response.status != 206 or origin is None or span is None:
        raise InputError(
            f"{_shown(url)} was answered by {response.status} with the range "
            f"'{printable(spec)}', which is not a file: check the address."
        )
    start, end = int(span[1]), int(span[2])
    total = origin.total if span[3] == "*" else int(span[3])
    same_file = _validator(response) in ("", origin.validator) and (
        origin.total in (None, total)
    )
    if start != part.size() or not same_file:
        part.discard()
        raise _CutError("the file on the server has changed")
    if end < start or (length is not None and length > end - start + 1):
        part.discard()
        raise InputError(
            f"{_shown(url)} sends more than the rest that was asked for: nothing of it "
            "was kept."
        )
    return start, total


def _validator(response: http.client.HTTPResponse) -> str:
    """What `If-Range` may be given: a strong ETag, else the date; "" for neither."""
    etag = response.headers.get("ETag", "").strip()
    if etag.startswith('"'):  # a weak one, W/"...", says nothing of the bytes
        return etag
    return response.headers.get("Last-Modified", "").strip()


def _head(response: http.client.HTTPResponse) -> bytes:
    """The first bytes of a body: enough to know what it is, if there are as many."""
    head = b""
    while len(head) < 512 and (block := response.read1(BLOCK_BYTES)):
        head += block
    return head


def _check_start(block: bytes, response: http.client.HTTPResponse, url: str) -> None:
    """Raises InputError unless a body starts as a zip does."""
    if block.startswith(_ZIP_STARTS):
        return
    kind = response.headers.get_content_type()
    page = kind in ("text/html", "application/xhtml+xml") or re.match(
        rb"\s*(<!doctype html|<html)", block, re.IGNORECASE
    )
    if not block and not page:
        raise InputError(f"{_shown(url)} sent nothing at all: check the address.")
    what = "a web page" if page else f"something else ({printable(kind)})"
    raise InputError(
        f"{_shown(url)} sent {what} and not a zip: open it in a browser to see what it "
        "says, and give the address of the file itself with --url."
    )


@contextlib.contextmanager
def _network(url: str, timeout: float) -> Iterator[None]:
    """Turns what the network raises into a cut, or into a sentence where it is final.

    An answer of a server (HTTPError) passes through: it is read by the caller.
    """
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except InputError:
        raise  # of a redirect; it is a ValueError too, but already says it all
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        host = printable(urllib.parse.urlsplit(url).hostname)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadError(
                f"the certificate of {host} cannot be trusted "
                f"({printable(reason.verify_message)}): check this machine's clock and "
                "certificates."
            ) from error
        if isinstance(reason, socket.gaierror):
            raise _OfflineError(
                f"{host} is not found (is this machine online?)"
            ) from error
        if isinstance(reason, TimeoutError):
            raise _CutError(f"no byte came for {timeout:g} seconds") from error
        if isinstance(reason, ConnectionRefusedError):
            raise _CutError(f"{host} refuses connections") from error
        if isinstance(error, ValueError):
            raise InputError(f"{_shown(url)}: {printable(error)}.") from error
        raise _CutError("the connection was cut") from error


@contextlib.contextmanager
def _disk(part: _Part) -> Iterator[None]:
    """Turns what the disk raises into one sentence."""
    with one_sentence(
        f"cannot go on writing {printable(part.path)} (what has come stays; the same "
        "command goes on)"
    ):
        yield


class _Meter:
    """Shows how far a download is; `show` may be called for each block."""

    def __init__(self, what: str, total: int | None) -> None:
        self.total = total
        self.progress = Progress(what, total or 1, visible=total is not None)
        self.last = self.started = 0.0
        self.first: int | None = None

    def __enter__(self) -> "_Meter":
        self.progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.__exit__(*error)

    def show(self, done: int) -> None:
        """Shows how many bytes are there, those of earlier calls included."""
        now = time.monotonic()
        if self.first is None:
            self.first, self.started = done, now
        if now - self.last < SECONDS_BETWEEN_SHOWS and done != self.total:
            return
        self.last = now
        speed = (done - self.first) / max(now - self.started, 1e-3)
        total = "?" if self.total is None else _mb(self.total)
        self.progress.show(done, f"{_mb(done)} of {total} MB  {_mb(speed)} MB/s")


def _mb(num_bytes: float) -> str:
    """Megabytes in a few digits: "0.04", "12.3", "1,204"."""
    mb = num_bytes / 1e6
    return f"{mb:,.2f}" if mb < 1 else f"{mb:,.1f}" if mb < 100 else f"{mb:,.0f}"


def _shown(url: str) -> str:
    """An address for a message: without what a query may hold, and not too long."""
    short = printable(url.partition("?")[0])
    return short if len(short) <= 200 else f"{short[:200]}..."
