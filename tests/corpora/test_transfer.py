"""A download is whole or not there, and goes on after whatever befalls it."""

import errno
import hashlib
import io
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.error
import zipfile
from collections import namedtuple

import filelock
import pytest

from flaxformer_mt import __version__
from flaxformer_mt.corpora import archive as archive_room
from flaxformer_mt.corpora import transfer
from flaxformer_mt.corpora.archive import check_zip
from flaxformer_mt.corpora.transfer import (
    DownloadError,
    FetchOptions,
    check_redirect,
    check_url,
    fetch_file,
)
from flaxformer_mt.errors import (
    InputError,
    RunBusyError,
    StoppedError,
    StorageError,
)
from tests.corpora.conftest import LARGE, MOSES, make_zip

HALF = len(LARGE) // 2
QUICK = FetchOptions(timeout=5, tries=2, pause=0)


@pytest.fixture
def folder(tmp_path):
    """Does not exist yet: a download makes it."""
    return tmp_path / "down loads"


@pytest.fixture
def notes():
    return []


@pytest.fixture
def fetch(site, folder, notes):
    """Fetches the site's file as a.zip."""

    def fetch(options=QUICK, url=None, **more):
        return fetch_file(
            url or site.url,
            folder / "a.zip",
            options=options,
            note=notes.append,
            **more,
        )

    return fetch


def left(folder):
    """The names that a person finds there; lock files are hidden and empty."""
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


DONE = ["a.zip", "a.zip.source.json"]
CUT = ["a.zip.part", "a.zip.part.json"]


def cut_in_half(site, **more):
    """The site sends one half and hangs up, whatever it is asked for."""
    site.answer = lambda h, n: h.serve(LARGE, stop_at=HALF, **more)


def refused(fetch, kind=InputError, **more):
    """What a person is told."""
    with pytest.raises(kind) as caught:
        fetch(**more)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and message.count(". ") == 0
    return message


# ---- when all is well --------------------------------------------------------------


def test_a_file_arrives_whole_with_its_hash_and_its_origin(site, fetch, folder):
    archive = fetch()
    assert archive.path.read_bytes() == LARGE and archive.fresh
    assert archive.sha256 == hashlib.sha256(LARGE).hexdigest()
    assert [m.name for m in archive.members] == [*MOSES, "extra.bin"]
    assert [m.num_lines for m in archive.members][:4] == [3, 1, 3, 3]
    assert left(folder) == DONE
    source = json.loads((folder / "a.zip.source.json").read_text(encoding="utf-8"))
    assert source == {"url": site.url, "size": len(LARGE), "sha256": archive.sha256}


def test_the_server_is_told_who_asks(site, fetch):
    fetch()
    [(_, headers)] = site.requests
    assert headers["User-Agent"] == f"flaxformer-mt/{__version__}"
    assert headers["Accept-Encoding"] == "identity" and "Range" not in headers


def test_what_is_there_and_whole_is_not_fetched_again(site, fetch, folder):
    fetch()
    before = (folder / "a.zip").stat()
    assert not fetch().fresh
    assert len(site.requests) == 1
    assert (folder / "a.zip").stat() == before


def test_a_file_that_a_person_put_there_is_taken(site, fetch, folder):
    folder.mkdir()
    (folder / "a.zip").write_bytes(LARGE)
    assert not fetch().fresh and site.requests == []


def test_what_is_there_and_damaged_is_neither_used_nor_removed(site, fetch, folder):
    damaged = bytearray(LARGE)
    damaged[HALF] ^= 1
    folder.mkdir()
    (folder / "a.zip").write_bytes(damaged)
    message = refused(fetch)
    assert "a.zip is not a whole zip" in message and "move it away" in message
    assert "Bad CRC-32" in message and site.requests == []
    assert (folder / "a.zip").read_bytes() == damaged


def test_a_file_from_another_address_is_not_passed_off_as_this_one(site, fetch, folder):
    fetch()
    message = refused(fetch, url=site.url.replace("files", "other"))
    assert "/files/en-fa.txt.zip and not from" in message and "--folder" in message
    assert left(folder) == DONE and len(site.requests) == 1


def test_a_size_that_is_not_said_is_no_hindrance(site, fetch, folder):
    site.answer = lambda h, n: h.serve(LARGE, Content_Length="")
    assert fetch().size == len(LARGE) and left(folder) == DONE


# ---- cuts --------------------------------------------------------------------------


def test_after_a_cut_only_the_rest_is_asked_for(site, fetch, folder, notes):
    site.answer = lambda h, n: h.serve(LARGE, stop_at=HALF if n == 1 else None)
    assert fetch().path.read_bytes() == LARGE
    assert site.ranges() == [None, f"bytes={HALF}-"]
    assert site.requests[1][1]["If-Range"] == '"one"'
    assert notes == ["the connection was cut; trying again"]
    assert left(folder) == DONE


@pytest.mark.parametrize("num_bytes", [0, 2])
def test_a_cut_before_it_can_be_seen_what_comes_is_a_cut(site, fetch, num_bytes):
    site.answer = lambda h, n: h.serve(LARGE, stop_at=num_bytes if n == 1 else None)
    assert fetch().path.read_bytes() == LARGE


def test_a_later_call_goes_on_where_this_one_gave_up(site, fetch, folder, notes):
    cut_in_half(site)
    message = refused(fetch, DownloadError)
    assert "the connection was cut 2 times in a row; 0.02 MB have come" in message
    assert "the same command goes on from there" in message
    assert left(folder) == CUT
    assert (folder / "a.zip.part").read_bytes() == LARGE[:HALF]
    site.requests.clear()
    site.answer = lambda h, n: h.serve(LARGE)
    assert fetch().path.read_bytes() == LARGE
    assert site.ranges() == [f"bytes={HALF}-"]
    assert "going on after 0.02 MB" in notes


def test_a_cut_after_something_new_is_no_reason_to_give_up(site, fetch):
    step = len(LARGE) // 8 + 1
    site.answer = lambda h, n: h.serve(LARGE, stop_at=n * step)
    assert fetch().path.read_bytes() == LARGE  # QUICK gives up after two tries
    assert len(site.requests) == 8


def test_a_stall_is_a_cut(site, fetch, folder, notes):
    def stall_once(handler, number):
        handler.serve(LARGE, stop_at=HALF if number == 1 else None)
        handler.wfile.flush()
        if number == 1:
            site.stalled.wait(5)

    site.answer = stall_once
    options = FetchOptions(timeout=0.2, tries=2, pause=0)
    assert fetch(options).path.read_bytes() == LARGE
    assert site.ranges() == [None, f"bytes={HALF}-"]
    assert notes == ["no byte came for 0.2 seconds; trying again"]


def test_a_server_that_knows_no_ranges_sends_the_whole_again(site, fetch, notes):
    site.answer = lambda h, n: h.serve(
        LARGE, stop_at=HALF if n == 1 else None, ranges=False
    )
    assert fetch().path.read_bytes() == LARGE
    assert site.ranges() == [None, f"bytes={HALF}-"]
    assert "the server sends the file from its beginning" in notes


def test_without_a_mark_of_the_file_nothing_is_joined(site, fetch, folder):
    """Neither an ETag nor a date: the rest could be the rest of something else."""
    cut_in_half(site, ETag="")
    message = refused(fetch, DownloadError)
    assert "the same command tries again" in message
    assert set(site.ranges()) == {None}
    site.answer = lambda h, n: h.serve(LARGE)
    assert fetch().path.read_bytes() == LARGE


def test_a_weak_etag_is_no_mark_and_the_date_is(site, fetch):
    date = "Mon, 01 Jan 2024 00:00:00 GMT"
    cut_in_half(site, ETag='W/"one"', Last_Modified=date)
    refused(fetch, DownloadError)
    assert site.requests[1][1]["If-Range"] == date


@pytest.mark.parametrize("lie", ["200", "206"])
def test_a_file_that_changed_meanwhile_starts_anew(site, fetch, folder, lie):
    """With 206 the server ignores If-Range, but its ETag gives the change away."""
    new = make_zip({**MOSES, "LICENSE": "another\n"}, zipfile.ZIP_STORED) + b""
    cut_in_half(site)
    refused(fetch, DownloadError)

    def changed(handler, number):
        if lie == "206" and "Range" in handler.headers:
            end = len(LARGE) - 1
            handler.reply(
                206,
                bytes(len(LARGE) - HALF),
                ETag='"two"',
                Content_Range=f"bytes {HALF}-{end}/{len(LARGE)}",
            )
        else:
            handler.serve(new, '"two"')

    site.answer = changed
    assert fetch().path.read_bytes() == new
    assert left(folder) == DONE


def test_a_rest_that_does_not_follow_on_is_not_appended(site, fetch):
    def shifted(handler, number):
        if "Range" not in handler.headers:
            return handler.serve(LARGE, stop_at=HALF if number == 1 else None)
        span = f"bytes {HALF + 1}-{len(LARGE) - 1}/{len(LARGE)}"
        return handler.reply(206, LARGE[HALF + 1 :], ETag='"one"', Content_Range=span)

    site.answer = shifted
    assert fetch(FetchOptions(tries=3, pause=0)).path.read_bytes() == LARGE
    assert site.ranges() == [None, f"bytes={HALF}-", None]


def test_a_file_that_shrank_starts_anew(site, fetch):
    cut_in_half(site)
    refused(fetch, DownloadError)
    small = make_zip(MOSES)

    def shrunk(handler, number):
        if "Range" in handler.headers:
            handler.reply(416, Content_Range=f"bytes */{len(small)}")
        else:
            handler.serve(small, '"two"')

    site.answer = shrunk
    assert fetch().path.read_bytes() == small


def test_a_call_that_was_killed_before_the_check_needs_no_server(site, fetch, folder):
    cut_in_half(site)
    refused(fetch, DownloadError)
    (folder / "a.zip.part").write_bytes(LARGE)
    site.requests.clear()
    assert fetch().size == len(LARGE) and site.requests == []
    assert left(folder) == DONE


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"url": 1}', "\x00", "[" * 10**5])
def test_a_part_that_nobody_knows_is_not_gone_on_with(site, fetch, folder, note):
    folder.mkdir()
    (folder / "a.zip.part").write_bytes(b"PK\x03\x04 something")
    (folder / "a.zip.part.json").write_text(note, encoding="utf-8")
    assert fetch().path.read_bytes() == LARGE
    assert site.ranges() == [None]


def test_a_part_of_another_address_is_not_gone_on_with(site, fetch):
    cut_in_half(site)
    refused(fetch, DownloadError)
    site.answer = lambda h, n: h.serve(LARGE)
    site.requests.clear()
    assert fetch(url=site.url + "?mirror").path.read_bytes() == LARGE
    assert site.ranges() == [None]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_asked_again(site, fetch, folder, status, notes):
    site.answer = lambda h, n: h.reply(503) if n == 1 else h.serve(LARGE)
    assert fetch().path.read_bytes() == LARGE and "503" in notes[0]
    site.requests.clear()
    shutil.rmtree(folder)
    site.answer = lambda h, n: h.reply(status)
    message = refused(fetch, DownloadError)
    assert f"answered {status}" in message and "same command" in message
    assert len(site.requests) == 2 and left(folder) == []


def test_waits_between_tries_grow(site, fetch, monkeypatch):
    waits = []
    monkeypatch.setattr(transfer.time, "sleep", waits.append)
    site.answer = lambda h, n: h.reply(503)
    refused(fetch, DownloadError, options=FetchOptions(tries=4, pause=1))
    assert waits == [1, 2, 4]


# ---- sizes -------------------------------------------------------------------------


def test_fewer_bytes_than_said_are_a_cut_even_if_no_more_come(site, fetch, folder):
    site.answer = lambda h, n: h.serve(LARGE + bytes(100), stop_at=len(LARGE))
    message = refused(fetch, DownloadError)
    assert "the connection was cut" in message
    assert left(folder) == CUT


def test_a_server_that_says_too_much_is_believed_when_it_says_that_is_all(site, fetch):
    lie = str(len(LARGE) + 100)
    site.answer = lambda h, n: h.serve(LARGE, Content_Length=lie)
    assert fetch().path.read_bytes() == LARGE
    assert site.ranges() == [None, f"bytes={len(LARGE)}-"]


def test_more_bytes_than_said_leave_nothing_behind(site, fetch, folder):
    """HTTP reads as many as were said; the archive then turns out to lack its end."""
    lie = str(len(LARGE) - 100)
    site.answer = lambda h, n: h.serve(LARGE, Content_Length=lie)
    message = refused(fetch)
    assert "is not a whole zip" in message and "download it again" in message
    assert left(folder) == []


def test_a_rest_larger_than_was_asked_for_is_refused(site, fetch, folder):
    def too_much(handler, number):
        if number == 1:
            return handler.serve(LARGE, stop_at=HALF)
        span = f"bytes {HALF}-{len(LARGE) - 1}/{len(LARGE)}"
        return handler.reply(206, LARGE, ETag='"one"', Content_Range=span)

    site.answer = too_much
    assert "more than the rest that was asked for" in refused(fetch)
    assert left(folder) == []


def test_a_file_above_the_limit_is_refused_before_it_comes(site, fetch, folder):
    options = FetchOptions(max_bytes=HALF)
    message = refused(fetch, options=options)
    assert "has 0.04 MB, more than the limit of 0.02 MB" in message
    assert "--max-gb" in message and left(folder) == []


def test_a_file_of_unknown_size_stops_at_the_limit(site, fetch, folder):
    site.answer = lambda h, n: h.serve(LARGE * 50, Content_Length="")
    message = refused(fetch, options=FetchOptions(max_bytes=HALF))
    assert "more than the 0.02 MB" in message and left(folder) == []


# ---- what is not a corpus ----------------------------------------------------------

PAGE = b"\n<!DOCTYPE html><html><body>Please log in</body></html>"


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/zip"])
def test_a_web_page_is_told_from_a_zip(site, fetch, folder, kind):
    site.answer = lambda h, n: h.reply(200, PAGE, Content_Type=kind)
    message = refused(fetch)
    assert "sent a web page and not a zip" in message and "--url" in message
    assert left(folder) == []


def test_a_web_page_does_not_cost_the_part_that_is_there(site, fetch, folder):
    cut_in_half(site)
    refused(fetch, DownloadError)
    site.answer = lambda h, n: h.reply(200, PAGE, Content_Type="text/html")
    assert "sent a web page" in refused(fetch)
    assert left(folder) == CUT
    site.answer = lambda h, n: h.serve(LARGE)
    site.requests.clear()
    assert fetch().path.read_bytes() == LARGE
    assert site.ranges() == [f"bytes={HALF}-"]


def test_something_else_is_told_from_a_zip(site, fetch, folder):
    site.answer = lambda h, n: h.reply(200, b"\x1f\x8b\x08 gz", Content_Type="a/gzip")
    assert "sent something else (a/gzip) and not a zip" in refused(fetch)
    assert left(folder) == []


def test_an_empty_answer_is_no_archive(site, fetch, folder):
    site.answer = lambda h, n: h.reply(200)
    assert "sent nothing at all" in refused(fetch)
    assert left(folder) == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [(404, "does not exist"), (410, "does not exist"), (403, "refused")],
)
def test_what_is_not_given_is_not_asked_for_twice(
    site, fetch, folder, status, expected
):
    site.answer = lambda h, n: h.reply(status)
    message = refused(fetch, hint="try another release")
    assert expected in message and str(status) in message
    assert "try another release" in message
    assert len(site.requests) == 1 and left(folder) == []


def test_a_truncated_zip_is_not_kept(site, fetch, folder):
    site.answer = lambda h, n: h.serve(LARGE[:-30])
    assert "is not a whole zip: File is not a zip file" in refused(fetch)
    assert left(folder) == []


def test_one_flipped_bit_is_noticed(site, fetch, folder):
    damaged = bytearray(LARGE)
    damaged[HALF] ^= 1
    site.answer = lambda h, n: h.serve(bytes(damaged))
    message = refused(fetch)
    assert "Bad CRC-32" in message and "extra.bin" in message
    assert left(folder) == []


def test_a_zip_bomb_is_not_kept(site, fetch, folder, monkeypatch):
    monkeypatch.setattr(archive_room, "MAX_EXPANDED_BYTES", 10**6)
    bomb = make_zip({f"{i}.txt": bytes(10**6) for i in range(9)})
    site.answer = lambda h, n: h.serve(bomb)
    assert "as a zip bomb does" in refused(fetch)
    assert left(folder) == []


def test_a_bomb_whose_size_is_a_lie_is_noticed(tmp_path):
    bomb = make_zip({"a.txt": bytes(10**7)})
    size = (10**7).to_bytes(4, "little")
    (tmp_path / "bomb.zip").write_bytes(bomb.replace(size, b"\x64\x00\x00\x00"))
    with pytest.raises(InputError, match=r"bomb\.zip is not a whole zip: Bad CRC-32"):
        list(check_zip(tmp_path / "bomb.zip", "bomb.zip"))


def test_other_methods_and_empty_archives_are_refused(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(make_zip({"a.txt": "a"}, zipfile.ZIP_BZIP2))
    with pytest.raises(InputError, match=r"a\.txt packed by method 12"):
        list(check_zip(path, "x.zip"))
    path.write_bytes(make_zip({}))
    with pytest.raises(InputError, match="an empty zip"):
        list(check_zip(path, "x.zip"))


def test_a_member_that_points_outside_is_read_and_never_written(site, fetch, folder):
    site.answer = lambda h, n: h.serve(make_zip({"../../evil.txt": "boo"}))
    assert fetch().members[0].name == "../../evil.txt"
    assert left(folder) == DONE and not (folder.parent / "evil.txt").exists()


# ---- addresses ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/a.zip",
        "data:,PK",
        "example.org/a.zip",
        "http://",
        "http://x:y@example.org/a.zip",
        "http://example.org:port/a.zip",
        "http://example.org/a b.zip",
        "http://example.org/\r\nHost: x",
        "http://example.org/آ.zip",
        "http://[::1/a.zip",
        "",
    ],
)
def test_only_web_addresses_are_opened(url):
    with pytest.raises(InputError, match="starts with http") as caught:
        check_url(url)
    assert "\n" not in str(caught.value)


def test_a_redirect_is_followed_and_the_part_is_still_this_address(site, fetch):
    def moved(handler, number):
        if handler.path.startswith("/files/"):
            return handler.reply(302, Location="/moved.zip")
        return handler.serve(LARGE, stop_at=HALF if number == 2 else None)

    site.answer = moved
    assert fetch().path.read_bytes() == LARGE
    assert [path for path, _ in site.requests] == [
        "/files/en-fa.txt.zip",
        "/moved.zip",
        "/files/en-fa.txt.zip",
        "/moved.zip",
    ]
    assert site.ranges()[3] == f"bytes={HALF}-"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/a.zip"])
def test_a_redirect_out_of_the_web_is_refused(site, fetch, folder, status, place):
    site.answer = lambda h, n: h.reply(status, Location=place)
    message = refused(fetch)
    assert f"sends us on to {place}, which is no web address" in message
    assert left(folder) == [] and len(site.requests) == 1


def test_a_redirect_must_not_drop_the_encryption():
    with pytest.raises(InputError, match="not encrypted"):
        check_redirect("https://a.org/x.zip", "http://a.org/x.zip")
    check_redirect("http://a.org/x.zip", "https://a.org/x.zip")
    check_redirect("https://a.org/x.zip", "https://b.org/x.zip")


def test_a_circle_of_redirects_ends(site, fetch, folder):
    site.answer = lambda h, n: h.reply(302, Location=h.path)
    assert "round in a circle (302)" in refused(fetch)
    assert left(folder) == []


def test_a_machine_without_a_network_is_told_at_once(fetch, folder, monkeypatch):
    def no_name(*arguments, **more):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    monkeypatch.setattr(transfer.time, "sleep", lambda s: pytest.fail("it waited"))
    message = refused(fetch, DownloadError, url="https://object.pouta.csc.fi/a.zip")
    assert "object.pouta.csc.fi is not found (is this machine online?)" in message
    assert "nothing has come, and the same command tries again" in message
    assert left(folder) == []


def test_a_closed_door_is_told(site, fetch, folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a.zip"
        assert "refuses connections" in refused(fetch, DownloadError, url=url)
    assert left(folder) == []


def test_a_certificate_that_cannot_be_trusted_is_final(fetch, monkeypatch):
    error = ssl.SSLCertVerificationError("failed")
    error.verify_message = "certificate has expired"

    def ask(*arguments, **more):
        raise urllib.error.URLError(error)

    monkeypatch.setattr(transfer, "_asker", lambda: ask)
    message = refused(fetch, DownloadError)
    assert "cannot be trusted (certificate has expired)" in message


def test_an_answer_that_is_no_http_is_a_cut(site, fetch, folder):
    site.answer = lambda h, n: h.wfile.write(b"SSH-2.0\r\n\r\n")
    assert "the connection was cut" in refused(fetch, DownloadError)
    assert left(folder) == []


# ---- this machine ------------------------------------------------------------------


def test_a_full_disk_is_told_before_anything_comes(site, fetch, folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda p: usage(1, 1, HALF))
    message = refused(fetch, StorageError)
    assert "0.04 MB are still to come and 0.02 MB are free" in message
    assert "make room" in message and left(folder) == []


def test_a_disk_that_fills_up_keeps_what_has_come(site, fetch, folder, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        # The first sync is that of the small file beside the part.
        patch.setattr(transfer, "atomic_write_json", lambda path, v: write(path, v))
        patch.setattr(transfer.os, "fsync", full)
        message = refused(fetch, StorageError)
    assert "the disk is full" in message and "the same command goes on" in message
    assert left(folder) == CUT
    assert fetch().path.read_bytes() == LARGE
    assert len(site.requests) == 1


def write(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is of Linux")
def test_a_write_that_fails_is_one_sentence(site, fetch, folder, monkeypatch):
    folder.mkdir()
    os.symlink("/dev/full", folder / "a.zip.part")
    message = refused(fetch, StorageError)
    assert "a.zip.part" in message and "the disk is full" in message
    assert not (folder / "a.zip").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(site, fetch, folder):
    folder.write_text("a file is in the way", encoding="utf-8")
    assert "down loads: a file is in the way" in refused(fetch)
    assert site.requests == []


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs Unix permissions")
def test_a_folder_of_others_is_one_sentence(site, fetch, folder):
    folder.mkdir(mode=0o500)
    root = os.geteuid() == 0  # who may write anywhere, so it plays somebody else
    if root:
        os.seteuid(65534)
    try:
        message = refused(fetch, StorageError)
    finally:
        if root:
            os.seteuid(0)
    assert "cannot write to" in message and "permission denied" in message
    assert site.requests == [] and left(folder) == []


def test_two_at_once_do_not_mix(site, fetch, folder):
    folder.mkdir()
    other = (
        "import sys, filelock\n"
        "with filelock.FileLock(sys.argv[1]):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    lock = folder / ".a.zip.lock"
    with subprocess.Popen(
        [sys.executable, "-c", other, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline().strip() == b"held"
        assert "another process is fetching" in refused(fetch, RunBusyError)
        assert site.requests == [] and left(folder) == []
        process.stdin.close()
    assert fetch().fresh
    with filelock.FileLock(lock, timeout=0):  # and it is let go of afterwards
        pass


def test_ctrl_c_keeps_the_part_and_says_that_it_goes_on(
    site, fetch, folder, monkeypatch
):
    def press(meter, done):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transfer._Meter, "show", press)
        message = refused(fetch, StoppedError)
    assert "a.zip are there: the same command goes on" in message
    assert left(folder) == CUT
    assert LARGE.startswith((folder / "a.zip.part").read_bytes())
    assert fetch().path.read_bytes() == LARGE


def test_progress_counts_what_an_earlier_call_brought(site, fetch, monkeypatch):
    shown = []
    cut_in_half(site)
    refused(fetch, DownloadError)
    monkeypatch.setattr(
        transfer.Progress,
        "show",
        lambda self, done, status: shown.append((done, status)),
    )
    site.answer = lambda h, n: h.serve(LARGE)
    fetch()
    assert shown[0][0] > HALF and shown[-1][0] == len(LARGE)
    assert shown[-1][1].startswith("0.04 of 0.04 MB  ")
    assert shown[-1][1].endswith(" MB/s")


def test_the_zip_check_counts_lines_as_the_reader_does(tmp_path):
    stream = io.BytesIO(make_zip({"a": "x\ny", "b": "x\ny\n", "c": "", "d/": ""}))
    (tmp_path / "x.zip").write_bytes(stream.getvalue())
    counts = [(m.name, m.num_lines) for m in check_zip(tmp_path / "x.zip", "x")]
    assert counts == [("a", 2), ("b", 2), ("c", 0)]
