"""What the server holds: load, slow clients, broken requests, and what batching gives.

    python -m experiments.benchmark_serve            (about five minutes on two cores)

load       10,000 requests from 64 clients that honour Retry-After, each answer compared
           with that of its sentence alone. Bars: every request ends in its own 200, at
           most 20% of the attempts are 503, memory after the last at most 1.05 times
           that after the first 1,000
slow       200 sockets that send a byte a second, and a client that does not. Bar: each
           of its answers in under a second
malformed  2,000 requests that are broken in some way. Bars: no 5xx, no traceback in the
           log, and a good request is answered afterwards
batching   answers a second to 64 clients, as usual (--max-together 128) and one at a
           time (--max-together 1). Bar: 5 times as many

The server is `python -m flaxformer_mt.serve` in a process of its own, at its default
limits, with the starter model, or the run that is given; clients and server share the
machine. Sentences are those that the run was not trained on.

Results go to experiments/results/serve.json, those of other measures stay.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from experiments.benchmark_multi30k import ROOT, facts
from flaxformer_mt import starter
from flaxformer_mt.training.run_folder import RunFolder

RESULT = ROOT / "experiments" / "results" / "serve.json"
CLIENTS, REQUESTS, WARM = 64, 10_000, 1_000
SLOW_SOCKETS, SLOW_SECONDS = 200, 20
MALFORMED = 2_000
BATCHING_REQUESTS = 3_000
SENTENCES = 256


# ---- the server ----------------------------------------------------------------------


class Served(NamedTuple):
    """A server that is ready."""

    port: int
    process: subprocess.Popen
    log: Path

    def memory(self) -> int:
        """Its resident bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii")
        return int(pages.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def threads(self) -> int:
        """How many threads it has."""
        return len(os.listdir(f"/proc/{self.process.pid}/task"))


@contextlib.contextmanager
def served(run: str, *options: str) -> Iterator[Served]:
    """A server in a process of its own, once its programs are compiled."""
    command = [sys.executable, "-m", "flaxformer_mt.serve", "--port", "0"]
    command += [*(["--run", run] if run else []), *options]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with open(log, "wb") as file:
            process = subprocess.Popen(command, cwd=ROOT, stderr=file)
        try:
            server = Served(_port(process, log), process, log)
            asyncio.run(_until_ready(server))
            yield server
        finally:
            process.terminate()
            if process.wait(30) != 0:
                print(f"the server ended with {process.returncode}", file=sys.stderr)


def _port(process: subprocess.Popen, log: Path) -> int:
    while process.poll() is None:
        found = re.search(r"http://localhost:(\d+)", log.read_text(encoding="utf-8"))
        if found:
            return int(found[1])
        time.sleep(0.1)
    raise SystemExit(f"the server did not start: {log.read_text(encoding='utf-8')}")


async def _until_ready(server: Served) -> None:
    while True:
        async with Client(server.port) as client:
            status, _, _ = await client.ask("GET", "/readyz")
        if status == 200:
            return
        await asyncio.sleep(0.5)


# ---- clients -------------------------------------------------------------------------


class Client:
    """A connection that stays open from one request to the next, as a browser's."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the connection."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    async def ask(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json"
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) of the answer."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(
                "127.0.0.1", self.port
            )
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.writer.write(head.encode() + body)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = lines.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in rest)
        content = await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            self.close()
        return int(first.split()[1]), headers, content

    async def translate(self, text: str) -> tuple[str, int]:
        """(its translation, how often the server was busy); waits as it is told to."""
        body, refused = json.dumps({"text": text}).encode(), 0
        while True:
            status, headers, content = await self.ask("POST", "/api/translate", body)
            if status == 200:
                return json.loads(content)["translations"][0]["text"], refused
            if status != 503:
                raise SystemExit(f"status {status}: {content!r}")
            refused += 1
            await asyncio.sleep(float(headers["retry-after"]))


async def translate_all(
    port: int, texts: list[str], clients: int
) -> tuple[list[str], int, list[float]]:
    """(the translations in order, how often the server was busy, seconds of each)."""
    found, seconds = [""] * len(texts), [0.0] * len(texts)
    numbers = iter(range(len(texts)))
    refused = 0

    async def work() -> None:
        nonlocal refused
        async with Client(port) as client:
            for number in numbers:
                began = time.perf_counter()
                found[number], busy = await client.translate(texts[number])
                seconds[number] = time.perf_counter() - began
                refused += busy

    await asyncio.gather(*(work() for _ in range(clients)))
    return found, refused, seconds


def sentences(run: str) -> list[str]:
    """Sentences that the run was not trained on."""
    folder = RunFolder.of(run or starter.model_folder())
    pairs = [*folder.held_out("test"), *folder.held_out("validation")]
    texts = sorted({pair.src for pair in pairs if len(pair.src) <= 100})
    return random.Random(0).sample(texts, min(SENTENCES, len(texts)))


# ---- the measures --------------------------------------------------------------------


def measure_load(run: str) -> dict[str, Any]:
    """Many requests, each of which has to get its own answer."""
    texts = sentences(run)
    with served(run) as server:
        alone, _, _ = asyncio.run(translate_all(server.port, texts, 1))
        expected = dict(zip(texts, alone, strict=True))
        asked = random.Random(1).choices(texts, k=REQUESTS)
        began = time.perf_counter()
        first, busy, early = asyncio.run(
            translate_all(server.port, asked[:WARM], CLIENTS)
        )
        before = server.memory()
        rest, more, late = asyncio.run(
            translate_all(server.port, asked[WARM:], CLIENTS)
        )
        spent = time.perf_counter() - began
        after = server.memory()
        log = server.log.read_text(encoding="utf-8")
    answers = [*first, *rest]
    mixed = sum(expected[a] != b for a, b in zip(asked, answers, strict=True))
    refused = busy + more
    seconds = sorted([*early, *late])
    return {
        "requests": REQUESTS,
        "clients": CLIENTS,
        "different_answers_expected": len(set(alone)),
        "mixed_up": mixed,
        "share_of_503": round(refused / (refused + REQUESTS), 4),
        "requests_a_second": round(REQUESTS / spent, 1),
        "ms_median": round(1e3 * statistics.median(seconds), 1),
        "ms_99th": round(1e3 * seconds[int(0.99 * len(seconds))], 1),
        "memory_mb": [round(size / 1e6, 1) for size in (before, after)],
        "memory_growth": round(after / before, 4),
        "tracebacks": log.count("Traceback"),
        "bars": {"mixed_up": 0, "share_of_503": 0.2, "memory_growth": 1.05},
    }


def measure_slow(run: str) -> dict[str, Any]:
    """Sockets that dawdle, and a client that does not."""
    text = sentences(run)[0]

    async def measure(server: Served) -> tuple[list[float], int]:
        threads, seconds = server.threads(), []
        slow = [
            await asyncio.open_connection("127.0.0.1", server.port)
            for _ in range(SLOW_SOCKETS)
        ]
        head = b"POST /api/translate HTTP/1.1\r\nHost: localhost\r\nX: yyyyyyyyyyyyyyy"
        end = time.perf_counter() + SLOW_SECONDS
        for place in range(SLOW_SECONDS):
            for _, writer in slow:
                writer.write(head[place : place + 1])
            while time.perf_counter() < end - SLOW_SECONDS + place + 1:
                async with Client(server.port) as client:
                    began = time.perf_counter()
                    await client.translate(text)
                    seconds.append(time.perf_counter() - began)
                await asyncio.sleep(0.05)
        more = server.threads() - threads
        for _, writer in slow:
            writer.transport.abort()
        return seconds, more

    with served(run) as server:
        seconds, threads = asyncio.run(measure(server))
    return {
        "slow_sockets": SLOW_SOCKETS,
        "healthy_requests": len(seconds),
        "ms_median": round(1e3 * statistics.median(seconds), 1),
        "ms_longest": round(1e3 * max(seconds), 1),
        "more_threads": threads,
        "bars": {"ms_longest": 1000},
    }


def malformed(rng: random.Random) -> bytes:
    """A request that is broken in some way."""
    body = rng.choice(
        [
            b'{"text": "a"',
            b'{"text": 1}',
            b'{"text": "a", "text": "b"}',
            b'{"text": "\\ud800"}',
            b'{"text": "a", "beam_size": ' + b"9" * 5000 + b"}",
            b"[" * 30_000,
            b'{"text": ' * 3_000,
            b'{"text": "' + b"x" * 2_000 + b'"}',
            b'{"text": "a", "temperature": NaN}',
            b"\xff\xfe\x00",
            b'{"txet": "a"}',
            json.dumps({"text": ["a"] * 65}).encode(),
            rng.randbytes(rng.randrange(200)),
        ]
    )
    path = rng.choice(
        ["/api/translate", "/api/explain", "/api/alternatives", "/translate"]
    )
    headers = [
        f"POST {path} HTTP/1.1",
        rng.choice(["Host: localhost"] * 8 + ["Host: evil.com", "Host: a\r\nHost: b"]),
        rng.choice(
            ["Content-Type: application/json"] * 8 + ["Content-Type: text/plain"]
        ),
        rng.choice(
            [f"Content-Length: {len(body)}"] * 8
            + [
                *(
                    "Content-Length: -1",
                    "Content-Length: x",
                    "Content-Length: 99999999",
                ),
                *("Transfer-Encoding: chunked", "Transfer-Encoding: gzip"),
                f"Content-Length: {len(body)}\r\nContent-Length: 1",
            ]
        ),
        "Connection: close",
    ]
    request = bytearray("\r\n".join(headers).encode() + b"\r\n\r\n" + body)
    if rng.random() < 0.3:
        request[rng.randrange(len(request))] = rng.randrange(256)
    return bytes(request)


def measure_malformed(run: str) -> dict[str, Any]:
    """Broken requests, and whether anything shows."""

    async def send(port: int, request: bytes) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            writer.write(request)
            # What says that more is coming is let go after a second.
            async with asyncio.timeout(1.0):
                while part := await reader.read(65536):
                    answer += part
        writer.close()
        found = re.match(rb"HTTP/1\.1 (\d+) ", answer)
        return int(found[1]) if found else 0

    async def measure(port: int) -> list[int]:
        rng, few = random.Random(2), asyncio.Semaphore(32)

        async def one(request: bytes) -> int:
            async with few:
                return await send(port, request)

        requests = [malformed(rng) for _ in range(MALFORMED)]
        return await asyncio.gather(*map(one, requests))

    async def one_good(port: int) -> str:
        async with Client(port) as client:
            return (await client.translate("Hello."))[0]

    with served(run) as server:
        before = asyncio.run(one_good(server.port))
        statuses = asyncio.run(measure(server.port))
        after = asyncio.run(one_good(server.port))
        log = server.log.read_text(encoding="utf-8")
    counts = {str(s): statuses.count(s) for s in sorted(set(statuses))}
    return {
        "requests": MALFORMED,
        "answers_by_status": counts,  # 0: none, since more was announced than came
        "5xx": sum(status >= 500 for status in statuses),
        "tracebacks": log.count("Traceback"),
        "answered_as_before": before == after,
        "bars": {"5xx": 0, "tracebacks": 0},
    }


def measure_batching(run: str) -> dict[str, Any]:
    """Answers a second, together and one at a time."""
    texts = random.Random(3).choices(sentences(run), k=BATCHING_REQUESTS)
    speeds = {}
    ways = {"together": ("128", 1.0), "one_at_a_time": ("1", 0.2)}
    for name, (together, share) in ways.items():
        some = texts[: int(share * len(texts))]
        with served(run, "--max-together", together) as server:
            asyncio.run(translate_all(server.port, some[:200], CLIENTS))
            began = time.perf_counter()
            asyncio.run(translate_all(server.port, some, CLIENTS))
            speeds[name] = len(some) / (time.perf_counter() - began)
            if name == "one_at_a_time":
                began = time.perf_counter()
                asyncio.run(translate_all(server.port, some, 1))
                speeds["one_client"] = len(some) / (time.perf_counter() - began)
    return {
        "clients": CLIENTS,
        "requests_a_second": {name: round(s, 1) for name, s in speeds.items()},
        "times_as_many": round(speeds["together"] / speeds["one_at_a_time"], 2),
        "bar": 5,
    }


MEASURES = {
    "load": measure_load,
    "slow": measure_slow,
    "malformed": measure_malformed,
    "batching": measure_batching,
}


def write_result(name: str, measured: dict[str, Any], command: list[str]) -> None:
    """Puts one measure among those that were made before."""
    results = json.loads(RESULT.read_text("utf-8")) if RESULT.is_file() else {}
    results[name] = {
        **facts(),
        "command": "python -m experiments.benchmark_serve " + " ".join(command),
        **measured,
    }
    RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """python -m experiments.benchmark_serve"""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only", nargs="+", choices=MEASURES, default=list(MEASURES), metavar="NAME"
    )
    parser.add_argument("--run", default="", help="run folder (default: the starter)")
    options = parser.parse_args()
    command = ["--only", *options.only, *(["--run", options.run] * bool(options.run))]
    for name in options.only:
        measured = MEASURES[name](options.run)
        where = f"{name}, {Path(options.run).name}" if options.run else name
        write_result(where, measured, command)
        print(json.dumps({name: measured}, indent=1))


if __name__ == "__main__":
    main()
