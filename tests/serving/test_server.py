"""A true server on a free port: what bytes, slowness and signals do to it."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib import request as urllib_request

import pytest

from flaxformer_mt.errors import InputError
from flaxformer_mt.serving.server import listen
from tests.conftest import ROOT
from tests.serving.fake_model import (
    Client,
    FakeModel,
    fake_client,
    fake_server,
    send,
    wait_until,
)


@pytest.fixture(scope="module")
def port():
    with fake_server() as (port, _):
        yield port


def post(content, *headers):
    """The bytes of a request."""
    lines = [
        "POST /api/translate HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def status_of(answer):
    match = re.match(rb"HTTP/1\.1 (\d+) ", answer)
    return int(match[1]) if match else None


GOOD = b'{"text": "a"}'
LENGTH, LAST = f"Content-Length: {len(GOOD)}", "Connection: close"
RIGHT = post(GOOD, LENGTH, LAST)

BODIES = {
    "chunked": (
        post(b"d\r\n" + GOOD + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked", LAST),
        200,
    ),
    "none": (post(b"", LAST), 400),
    "twice and different": (post(GOOD, LENGTH, "Content-Length: 5"), 400),
    "negative": (post(GOOD, "Content-Length: -1"), 400),
    "a word": (post(GOOD, "Content-Length: many"), 400),
    "digits of another script": (post(GOOD, "Content-Length: \u0661\u0663"), 400),
    "huge": (post(GOOD, "Content-Length: 99999999999999999999"), (400, 413)),
    "too large": (post(b"x" * 70_000, "Content-Length: 70000"), 413),
    "too large, not declared": (
        post(
            b"11170\r\n" + b"x" * 70_000 + b"\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked",
        ),
        413,
    ),
    "bad chunks": (post(b"zz\r\nabc\r\n", "Transfer-Encoding: chunked"), 400),
    "a coding that is not known": (post(GOOD, "Transfer-Encoding: gzip"), (400, 501)),
    "both framings": (
        post(b"0\r\n\r\n", "Transfer-Encoding: chunked", LENGTH),
        400,
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_s1_a_body_is_framed_rightly_or_refused_and_the_connection_closed(port, name):
    content, status = BODIES[name]
    answer = send(port, content)
    allowed = status if isinstance(status, tuple) else (status,)
    assert status_of(answer) in allowed, answer
    if status != 200:
        assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"error"}
    assert status_of(send(port, RIGHT)) == 200


def test_s1_a_body_that_is_longer_than_it_says_is_another_request(port):
    answer = send(port, post(GOOD + b"GARBAGE\r\n\r\n", LENGTH))
    assert status_of(answer) == 200
    assert b"HTTP/1.1 400 " in answer


def test_s1_a_head_that_is_too_large_is_refused(port):
    answer = send(port, post(GOOD, "X: " + "a" * 100_000, LENGTH))
    assert status_of(answer) == 431
    assert send(port, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 99_999).count(b"{") == 2


def test_s1_a_body_that_does_not_come_is_given_up():
    with fake_server(patience=0.3) as (port, _):
        assert status_of(send(port, post(GOOD[:-3], LENGTH))) == 408
        # A head that does not come has nobody to answer.
        assert send(port, b"POST / HTTP/1.1\r\nHost:") == b""
        assert send(port, b"") == b""


NO_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",  # no Host
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET http://evil.com/ HTTP/1.1\r\nHost: evil.com\r\n\r\n",
    b"GET \xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nA: \x00\r\n\r\n",
    b"\x00" * 100,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


@pytest.mark.parametrize("content", NO_HTTP)
def test_s8_what_is_no_http_is_refused_in_json(port, content, caplog):
    answer = send(port, content)
    assert status_of(answer) in (400, 403, 404)
    assert b"content-security-policy" in answer
    assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"error"}
    assert not [r for r in caplog.records if r.exc_info]


def test_s2_clients_that_dawdle_keep_nobody_waiting():
    with fake_server(patience=1.0, connections=40) as (port, _):
        threads = threading.active_count()
        with contextlib.ExitStack() as stack:
            sockets = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                for _ in range(60)
            ]
            for client in sockets:
                with contextlib.suppress(OSError):  # more than there may be: closed
                    client.sendall(b"POST /api/translate HTTP/1.1\r\nHost: local")
            assert status_of(send(port, RIGHT)) == 200
            assert threading.active_count() <= threads + 1
            for client in sockets:  # all are let go
                client.settimeout(20)
                with contextlib.suppress(ConnectionResetError):
                    assert client.recv(1) == b""


def test_s3_a_client_that_does_not_read_is_dropped():
    with fake_server(patience=0.3) as (port, _):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", port))
            many = json.dumps({"text": ["x" * 900] * 60}).encode()
            whole = post(many, f"Content-Length: {len(many)}")
            with pytest.raises(OSError):
                client.settimeout(20)
                while True:  # until the server has had enough
                    client.sendall(whole)
        assert status_of(send(port, RIGHT)) == 200


def test_s4_each_of_many_clients_gets_its_own_translations():
    with fake_client(waiting=4) as (client, engine):

        def ask(number):
            wrong = refused = 0
            for turn in range(15):
                text = f"client {number} turn {turn}"
                while True:
                    response = client.post("/api/translate", json={"text": text})
                    if response.status_code == 200:
                        break
                    assert response.status_code == 503
                    assert response.headers["retry-after"] == "1"
                    refused += 1
                    time.sleep(0.01)
                [found] = response.json()["translations"]
                wrong += found["text"] != text.upper()
            return wrong

        with ThreadPoolExecutor(16) as threads:
            assert sum(threads.map(ask, range(16))) == 0
        sizes = [len(batch) for batch in engine.translator.batches]
        assert sum(sizes) == 16 * 15 and max(sizes) > 1


def test_s12_only_this_machine_can_reach_it_by_default():
    from flaxformer_mt.serve import ServeOptions

    with contextlib.closing(listen(ServeOptions().host, 0)) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_s13_a_port_that_is_taken_is_told():
    with contextlib.closing(listen("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} is in use: give another"):
            listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_told():
    with pytest.raises(InputError, match=r"cannot listen at 192\.0\.2\.1, port 0"):
        listen("192.0.2.1", 0)
    with pytest.raises(InputError, match="--host must be an address"):
        listen("no such host.invalid", 0)


SERVER = """
import sys, threading, time
from flaxformer_mt.serving.server import listen, make_server
from flaxformer_mt.serving.log import begin_log
from tests.serving.fake_model import FakeModel, application, fake_engine
model = FakeModel()
with fake_engine(model, grace=float(sys.argv[1])) as engine:
    begin_log()
    listener = listen("127.0.0.1", 0)
    server = make_server(application(engine), engine.limits)
    model.gate.clear()
    def open_gate():
        while not server.should_exit:
            time.sleep(0.01)
        time.sleep(0.3)
        model.gate.set()
    def tell():
        wanted = int(sys.argv[2])
        while len(engine.waiting) + sum(map(len, model.batches)) < wanted:
            time.sleep(0.01)
        print("all are in the line", flush=True)
    for task in (open_gate, tell):
        threading.Thread(target=task, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    server.run(sockets=[listener])
"""


@contextlib.contextmanager
def server_process(grace=10.0, clients=1):
    """(a server that answers once it is asked to stop, its port).

    clients: with so many requests in its line it says so, once.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(grace), str(clients)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    with process:
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def test_s14_what_is_being_answered_is_finished_and_new_clients_are_refused():
    served = server_process(clients=32)
    with served as (process, port), ThreadPoolExecutor(32) as threads:
        client = Client(port)
        asked = [
            threads.submit(client.post, "/api/translate", json={"text": f"text {i}"})
            for i in range(32)
        ]
        assert process.stdout.readline() == "all are in the line\n"
        process.send_signal(signal.SIGTERM)
        for i, future in enumerate(asked):
            [found] = future.result().json()["translations"]
            assert found["text"] == f"TEXT {i}"
        _, said = process.communicate(timeout=20)
        assert process.returncode == 0
        assert said == "stopping when all is answered; once more stops at once\n"
        with pytest.raises(ConnectionRefusedError):
            client.get("/healthz")


def test_s14_what_cannot_be_finished_ends_with_the_grace():
    with server_process(grace=1.0) as (process, port), ThreadPoolExecutor(1) as threads:
        client = Client(port)
        asked = threads.submit(client.post, "/api/translate", json={"text": "slow"})
        assert process.stdout.readline() == "all are in the line\n"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
        assert process.returncode == 0
        assert "Traceback" not in said
        with contextlib.suppress(Exception):
            asked.result()


def test_s22_a_client_that_is_gone_has_its_work_given_up():
    model = FakeModel()
    body = b'{"text": "slow"}'
    with fake_server(model) as (port, _):
        for number in range(1, 21):
            model.abandoned.clear()
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(post(body, f"Content-Length: {len(body)}"))
                wait_until(lambda: len(model.batches) == number)  # noqa: B023
            assert model.abandoned.wait(10)
        assert status_of(send(port, RIGHT)) == 200


def test_s22_a_client_that_leaves_its_stream_has_its_work_given_up():
    model = FakeModel()
    with fake_server(model) as (port, _):
        body = b'{"text": "slow", "stream": true}'
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(post(body, f"Content-Length: {len(body)}"))
            assert client.recv(100)
            wait_until(lambda: model.batches)  # before, it would not even be begun
        assert model.abandoned.wait(10)


def test_a_client_of_libretranslate_gets_translations(port):
    libretranslatepy = pytest.importorskip(
        "libretranslatepy", reason="the client libretranslatepy is not installed"
    )
    # The client itself asks urllib, which would look for a proxy.
    urllib_request.install_opener(
        urllib_request.build_opener(urllib_request.ProxyHandler({}))
    )
    api = libretranslatepy.LibreTranslateAPI(f"http://127.0.0.1:{port}/")
    assert api.translate("hello there", "en", "fa") == "HELLO THERE"
    assert [each["code"] for each in api.languages()] == ["en", "fa"]
