"""A uvicorn that bounds what a client can hold: sockets, time, memory."""

import asyncio
import contextlib
import errno
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from flaxformer_mt.errors import InputError
from flaxformer_mt.serving.guard import SECURITY
from flaxformer_mt.serving.limits import Limits

_log = logging.getLogger(__name__)
BACKLOG = 1024


class Protocol(H11Protocol):
    """A connection that is closed when its client dawdles: over the head of a request,
    or over taking an answer."""

    limits = Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:
        """A client is there; if too many are, the one that dawdles longest goes."""
        # The kernel has buffers of its own: what does not fit into those is a client
        # that does not read.
        transport.set_write_buffer_limits(0)
        self.dawdling: asyncio.TimerHandle | None = None
        self.not_reading: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > self.limits.connections:
            self._make_room()

    def _await_head(self) -> None:
        """Begins the time in which a request's head has to be there."""
        if self.dawdling is None:
            self.dawdling = self.loop.call_later(self.limits.patience, self.abort)

    def _make_room(self) -> None:
        idle = [c for c in self.connections if c.is_waiting]
        victim = min(idle, key=lambda c: c.dawdling.when(), default=self)
        victim.abort()

    @property
    def is_waiting(self) -> bool:
        """Whether it has no request that is being answered."""
        return self.dawdling is not None

    def abort(self) -> None:
        """Closes the connection at once."""
        self._forget()
        self.transport.abort()

    def _forget(self) -> None:
        for timer in (self.dawdling, self.not_reading):
            if timer is not None:
                timer.cancel()
        self.dawdling = self.not_reading = None

    def handle_events(self) -> None:
        """Reads what is there; a whole head ends the waiting for it."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before and self.dawdling is not None:
            self.dawdling.cancel()
            self.dawdling = None

    def on_response_complete(self) -> None:
        """The next request may come."""
        super().on_response_complete()
        if not self.transport.is_closing() and (
            self.cycle is None or self.cycle.response_complete
        ):
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more."""
        self._forget()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        if self.not_reading is None:
            self.not_reading = self.loop.call_later(self.limits.patience, self.abort)

    def resume_writing(self) -> None:
        """It has read what was there."""
        super().resume_writing()
        if self.not_reading is not None:
            self.not_reading.cancel()
            self.not_reading = None

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP: said in JSON, as everything else."""
        if self.cycle is not None:  # whoever is at the answer has nobody to send it to
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()  # an answer is on its way already
            return
        error = {"code": "not_http", "message": "the request is not HTTP/1.1."}
        content = json.dumps({"error": error}).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(content))),
            ("connection", "close"),
            ("cache-control", "no-store"),
            *SECURITY,
        ]
        response = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (response, h11.Data(data=content), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()


class Server(uvicorn.Server):
    """Ends with 0 after SIGTERM or Ctrl-C, once what is being answered is; at once
    after the second."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the signal is not raised again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield  # where no signal comes
            return
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Asked once: in peace. Asked twice: at once."""
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True
        # Not print, which may not be entered twice: a signal can come in one.
        os.write(2, b"stopping when all is answered; once more stops at once\n")

    def leave(self) -> None:
        """Ends as after a signal; from any thread."""
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
      InputError: the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.getaddrinfo(
            host, port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"--host must be an address of this machine; got {host}: {why}."
        ) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise InputError(_why_not(error, host, port)) from None
    listener.setblocking(False)
    return listener


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use: give another --port, or 0 for any that is free."
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this user: give a --port above 1023."
    return f"cannot listen at {host}, port {port}: {error.strerror}."


def make_server(app: Any, limits: Limits) -> Server:
    """The server of an application; `run(sockets=[listen(...)])` serves."""
    protocol = type("Protocol", (Protocol,), {"limits": limits})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=max(round(limits.keep_alive), 1),
        timeout_graceful_shutdown=max(round(limits.grace), 1),
        h11_max_incomplete_event_size=limits.head,
    )
    return Server(config)
