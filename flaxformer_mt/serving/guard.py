"""What stands before every request: who may ask, how large a question may be, and what
every answer carries. ASGI, without a framework.

A server on the loopback address is reached by any page that a browser has open, so the
names in Host and Origin are looked at: a foreign page comes with its own Origin, and
one that has pointed its name at this machine with its own Host.
"""

import asyncio
import functools
import ipaddress
import json
import logging
import re
import secrets
from collections.abc import Iterable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flaxformer_mt.serving.limits import LOOPBACK, Limits, Refusal, stopping

_log = logging.getLogger(__name__)

SECURITY = (
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
)
LIBRE = ("/translate", "/languages")  # routes that LibreTranslate has
_ENCODED = [(name.encode(), value.encode()) for name, value in SECURITY]
_HOST = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|([0-9A-Za-z._-]+)(?::\d+)?")


class Guard:
    """`Guard(app, limits, names)`: an ASGI application around another one."""

    def __init__(
        self, app: ASGIApp, limits: Limits, names: Iterable[str] = LOOPBACK
    ) -> None:
        """names: what clients may call this server; "*" also any IP address, which no
        foreign page can have for a name."""
        self.app, self.limits = app, limits
        self.names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = _Answer(send)
        body = _Body(receive, self.limits)
        is_libre = scope["path"] in LIBRE
        told = functools.partial(refuse, body=body, is_libre=is_libre)
        try:
            self.check(scope)
            await self.app(scope, body.receive, answer.send)
        except (Refusal, HTTPException) as error:
            if not answer.has_begun:
                await told(as_refusal(error))(scope, receive, answer.send)
        except ClientDisconnect:
            pass
        except asyncio.CancelledError:  # by the server alone, when its grace is over
            if not answer.has_begun:
                await told(stopping())(scope, receive, answer.send)
        except Exception as error:
            refusal = logged(error, scope["path"])
            if not answer.has_begun:
                await told(refusal)(scope, receive, answer.send)

    def check(self, scope: Scope) -> None:
        """Raises Refusal for a request that is not answered, whatever it asks."""
        if len(scope.get("raw_path", b"")) > self.limits.path or (
            len(scope["query_string"]) > self.limits.path
        ):
            raise Refusal(
                414, "path_too_long", f"a path has at most {self.limits.path} bytes."
            )
        scope["app"] = self  # the routes then raise what they do not find
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value)
        hosts = headers.get(b"host", [])
        host = host_name(hosts[0]) if len(hosts) == 1 else None
        if host is None or not self.is_ours(host):
            raise Refusal(
                403,
                "foreign_host",
                "this server answers to its own names alone: give --name NAME to serve "
                "for another.",
            )
        for origin in headers.get(b"origin", []):
            scheme, _, name = origin.lower().partition(b"://")
            if scheme not in (b"http", b"https") or name != hosts[0].lower():
                raise Refusal(
                    403,
                    "foreign_origin",
                    "pages of other sites may not ask this server.",
                )

        if sum(len(name) + len(value) for name, value in scope["headers"]) > (
            self.limits.head
        ):
            raise Refusal(
                431, "head_too_large", f"headers have at most {self.limits.head} bytes."
            )
        if b"content-length" in headers and b"transfer-encoding" in headers:
            raise Refusal(400, "two_lengths", "a body has one length: leave one out.")
        for length in headers.get(b"content-length", []):
            if int(length) > self.limits.body:
                raise too_large(self.limits)

    def is_ours(self, host: str) -> bool:
        """Whether clients may call this server so."""
        return host in self.names or ("*" in self.names and is_address(host))


def host_name(header: bytes) -> str | None:
    """The name in a Host header, without its port; None where it is none."""
    match = _HOST.fullmatch(header.decode("latin-1"))
    return (match[1] or match[2]).lower() if match else None


def is_address(host: str) -> bool:
    """Whether a name is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class _Answer:
    """An answer on its way, with the headers that every answer has."""

    def __init__(self, send: Send) -> None:
        self._send, self.has_begun = send, False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            names = {name for name, _ in message["headers"]}
            more = [pair for pair in _ENCODED if pair[0] not in names]
            if b"cache-control" not in names:
                more.append((b"cache-control", b"no-store"))
            message["headers"] = [*message["headers"], *more]
        await self._send(message)


class _Body:
    """A question on its way in: not too large, and not too slow."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self.limits = receive, limits
        self.size, self.is_whole = 0, False
        self.deadline = asyncio.get_running_loop().time() + limits.patience

    async def receive(self) -> Message:
        """As ASGI has it.

        Raises:
          Refusal: the body is too large, or has not come in time.
        """
        if self.is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(
                408, "too_slow", "the body did not come in time: send it at once."
            ) from None
        if message["type"] == "http.request":
            self.size += len(message.get("body", b""))
            self.is_whole = not message.get("more_body", False)
            if self.size > self.limits.body:
                raise too_large(self.limits)
        return message


def too_large(limits: Limits) -> Refusal:
    """A body above the limit."""
    return Refusal(
        413,
        "too_large",
        f"a body has at most {limits.body:,} bytes: send the texts in several "
        "requests.",
    )


def as_refusal(error: Refusal | HTTPException) -> Refusal:
    """What the framework says of a path or a method, in our words."""
    if isinstance(error, Refusal):
        return error
    headers = {
        name.replace("-", "_"): text for name, text in (error.headers or {}).items()
    }
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return Refusal(
            405, "wrong_method", f"this is asked with {allowed} alone.", **headers
        )
    if error.status_code == 404:
        return Refusal(404, "not_found", "there is nothing here: see /openapi.json.")
    return Refusal(error.status_code, "refused", "the request was refused.", **headers)


def logged(error: Exception, where: str) -> Refusal:
    """What is told of a fault of ours, or of the model: the number of its log entry."""
    number = secrets.token_hex(4)
    _log.error("error %s at %s", number, where, exc_info=error)
    return Refusal(
        500,
        "internal",
        f"something went wrong here; the server's log has it under {number}.",
    )


def refuse(refusal: Refusal, body: Any = None, *, is_libre: bool = False) -> Response:
    """The answer; the connection ends with it where the question was not read.

    is_libre: in LibreTranslate's form, whose clients show the error as it is.
    """
    headers = dict(refusal.headers)
    if refusal.status in (408, 413, 414, 431) or (
        body is not None and not body.is_whole
    ):
        headers["connection"] = "close"
    # ASCII alone: half of a surrogate pair may be in what is quoted.
    content = {"error": refusal.message} if is_libre else refusal.content()
    return Response(json.dumps(content), refusal.status, headers, "application/json")
