"""A model for the server's tests: it answers in capitals, or misbehaves as it is told,
and no program is compiled for it."""

import contextlib
import dataclasses
import http.client
import json
import socket
import threading
import time
from types import SimpleNamespace
from urllib.parse import urlencode

import numpy as np

from flaxformer_mt.decoding.explanation import Explanation
from flaxformer_mt.decoding.lines import AbandonedError
from flaxformer_mt.decoding.translation import Hypothesis, Report, Translation
from flaxformer_mt.errors import InputError
from flaxformer_mt.serving.app import Service
from flaxformer_mt.serving.engine import Engine
from flaxformer_mt.serving.limits import LOOPBACK, Limits
from flaxformer_mt.serving.model_card import ModelCard
from flaxformer_mt.serving.server import listen, make_server
from flaxformer_mt.starter import model_folder
from flaxformer_mt.training.run_folder import RunFolder

CARD = ModelCard("fake", "en", "fa", "ltr", "rtl", 50, ("Hello.",), "0" * 64)


class FakeModel:
    """Has what an Engine asks of a Translator.

    Texts: "slow" takes until nobody wants it, "boom" raises, "nan" has no number.
    """

    def __init__(self):
        self.model = SimpleNamespace(cfg=SimpleNamespace(max_length=50))
        self.ids = ()
        self.batches = []  # the lines of each call
        self.searches = []
        self.gate = threading.Event()  # closed: every call waits
        self.gate.set()
        self.abandoned = threading.Event()
        self.prepared = []

    def together(self, lines, search, *, scores, watch):
        self.batches.append([line.text for line in lines])
        self.searches.append(search)
        while not self.gate.wait(0.01):
            if not any(watch(i, str) for i in range(len(lines))):
                break
        return [self._one(i, line, search, watch) for i, line in enumerate(lines)]

    def _one(self, number, line, search, watch):
        if line.text == "boom":
            raise RuntimeError("the model broke\x1b[2J")
        if line.text == "refused":
            return InputError("a prefix must leave room.")
        while line.text == "slow":
            if not watch(number, lambda: "S"):
                self.abandoned.set()
                return AbandonedError()
            time.sleep(0.01)
        if line.text.startswith("in parts"):
            for end in (2, 5):
                watch(number, lambda: line.text.upper()[:end])  # noqa: B023
                time.sleep(0.05)
        report = Report(failed=line.text == "nan", split=line.text == "long")
        text = line.prefix + line.text.upper()
        several = getattr(search, "n_best", 1)
        hypotheses = tuple(_hypothesis(text + "+" * i, i) for i in range(several))
        return Translation(line.text, hypotheses, report)

    def explanation(self, text, best):
        return Explanation(
            src_text=text,
            tgt_text=best.text,
            src_tokens=("A", ""),
            tgt_tokens=("B", ""),
            log_probabilities=(-0.5, -0.1),
            alternatives=((("B", 0.6), ("C", 0.4)), (("", 0.9), ("B", 0.1))),
            attention=np.full((2, 2, 2, 2), 0.5),
            score=-0.6,
        )

    def alternatives(self, text, prefix="", *, count=5):
        return [(f"w{i}", 0.5 / 2**i) for i in range(count - 1)] + [("", 0.01)]

    def prepare(self, search, *, scores):
        self.prepared.append(search)
        yield

    def prepare_alternatives(self, *, count):
        yield

    def prepare_explanation(self):
        yield


def _hypothesis(text, rank):
    return Hypothesis(
        text=text,
        score=-1.25 - rank,
        log_probability=-2.5 - rank,
        tokens=("A", ""),
        token_log_probabilities=(-1.0, -1.5),
        truncated=False,
    )


@contextlib.contextmanager
def fake_engine(model=None, **limits):
    """An engine that is ready, over a fake model."""
    model = model or FakeModel()
    engine = Engine(lambda: model, Limits(**limits), lambda _: CARD)
    engine.start()
    try:
        wait_until(lambda: engine.is_ready)
        yield engine
    finally:
        model.gate.set()
        engine.stop()
        for thread in engine.threads:
            thread.join(10)


def application(engine, names=LOOPBACK, folder=None):
    """The ASGI application of an engine."""
    folder = RunFolder.of(folder or model_folder())
    return Service(engine, folder, engine.limits).application(names)


@dataclasses.dataclass
class Response:
    """What a server answered."""

    status_code: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def text(self):
        return self.content.decode("utf-8")

    def json(self):
        return json.loads(self.content)


class Client:
    """Asks a server on this machine, over a connection for each request."""

    def __init__(self, port):
        self.port = port
        self.own = {"host": f"localhost:{port}"}

    def request(self, method, path, *, headers=None, content=None, **body):
        kind = None
        if "json" in body:
            content, kind = json.dumps(body["json"]).encode(), "application/json"
        if "data" in body:
            content = urlencode(body["data"]).encode()
            kind = "application/x-www-form-urlencoded"
        headers = self.own | ({"content-type": kind} if kind else {}) | (headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            # Paths and names as they are given, however odd.
            connection.putrequest(
                method, path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.putheader("content-length", str(len(content or b"")))
            connection.endheaders(content)
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, **more):
        return self.request("POST", path, **more)


@contextlib.contextmanager
def fake_client(model=None, **limits):
    """(a client of a server over a fake model, the engine)."""
    with fake_server(model, **limits) as (port, engine):
        yield Client(port), engine


@contextlib.contextmanager
def fake_server(model=None, **limits):
    """(the port of a true server on this machine, the engine)."""
    model = model or FakeModel()
    with fake_engine(model, **limits) as engine, served(application(engine)) as port:
        try:
            yield port, engine
        finally:
            model.gate.set()


@contextlib.contextmanager
def served(app):
    """The port of a true server of an application."""
    listener = listen("127.0.0.1", 0)
    server = make_server(app, app.limits)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield listener.getsockname()[1]
    finally:
        server.leave()
        thread.join(30)
        assert not thread.is_alive()


def wait_until(condition, seconds=20.0):
    """Returns once the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def send(port, content, *, timeout=20.0):
    """All that the server answers to some bytes until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
        with contextlib.suppress(ConnectionError):  # it has had enough already
            client.sendall(content)
        parts = []
        with contextlib.suppress(ConnectionResetError):
            while part := client.recv(65536):
                parts.append(part)
        return b"".join(parts)
