"""A real HTTP server on this machine that can be told to misbehave."""

import contextlib
import io
import threading
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

EN = "Hello.\nI drink tea.\nThank you.\n"
FA = "سلام.\nمن چای می\u200cنوشم.\nمتشکرم.\n"


def make_zip(members: dict[str, str | bytes], method: int = zipfile.ZIP_DEFLATED):
    """The bytes of an archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


MOSES = {
    "README": "Corpus Name: Tatoeba\n\nPackage: Moses format\n",
    "LICENSE": "CC BY 2.0 FR\n",
    "Tatoeba.en-fa.en": EN,
    "Tatoeba.en-fa.fa": FA,
    "Tatoeba.en-fa.xml": "<cesAlign/>",
}
# Stored, so that there is something to cut: about 40 kB.
LARGE = make_zip({**MOSES, "extra.bin": bytes(range(256)) * 160}, zipfile.ZIP_STORED)


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the behaviour that the test has chosen."""

    def do_GET(self) -> None:
        site = self.server.site
        site.requests.append((self.path, dict(self.headers)))
        with contextlib.suppress(ConnectionError):
            site.answer(self, len(site.requests))

    def log_message(self, *arguments: object) -> None:
        """A test's output is its own."""

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """An answer with the given headers; `Content_Length` may lie."""
        headers = {"Content_Length": str(len(body)), **headers}
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def serve(
        self,
        content: bytes,
        etag: str = '"one"',
        *,
        stop_at: int | None = None,
        ranges: bool = True,
        **headers: str,
    ) -> None:
        """The file as a good server gives it, cut after so many bytes of the whole."""
        start = 0
        asked = self.headers.get("Range")
        if asked and ranges and self.headers.get("If-Range") == etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            self.reply(416, Content_Range=f"bytes */{len(content)}")
            return
        headers = {"ETag": etag, "Content_Type": "application/zip", **headers}
        headers.setdefault("Content_Length", str(len(content) - start))
        if start:
            end = len(content) - 1
            headers["Content_Range"] = f"bytes {start}-{end}/{len(content)}"
        self.reply(206 if start else 200, content[start:stop_at], **headers)


class Site:
    """What the server does, and what it was asked."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/files/en-fa.txt.zip"
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.stalled = threading.Event()  # set at the end of a test
        self.answer: Callable[[Handler, int], None] = lambda h, n: h.serve(LARGE)

    def ranges(self) -> list[str | None]:
        """What each request asked for."""
        return [headers.get("Range") for _, headers in self.requests]


@pytest.fixture
def site(monkeypatch):
    """The server, which gives `LARGE` and keeps to all rules until it is told else."""
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.site = Site(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server.site
    server.site.stalled.set()
    server.shutdown()
    server.server_close()
    thread.join()
