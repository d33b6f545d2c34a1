"""The server as the page sees it, with invented answers that come at once.

No model, no run: a translation is the source's words looked up in WORDS, and what a
test wants to happen is set on `FakeApi`.
"""

import asyncio
import contextlib
import dataclasses
import json
import math
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

import flaxformer_mt

PAGE = Path(flaxformer_mt.__file__).parent / "serving" / "page"
KINDS = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
WORDS = {
    "good": "صبح", "morning": "بخیر", "did": "آیا", "you": "شما", "sleep": "خواب",
    "well": "خوب", "the": "آن", "book": "کتاب", "is": "است", "on": "روی",
    "table": "میز", "i": "من", "go": "می‌روم", "home": "خانه", "friend": "دوست",
    "my": "من", "old": "قدیمی", "we": "ما", "water": "آب", "tea": "چای",
}  # fmt: skip
MARKS = {",": "،", "?": "؟", ";": "؛"}
BACK = {persian: english for english, persian in WORDS.items()} | {
    persian: english for english, persian in MARKS.items()
}
FEW_SURE = (0.97, 0.82, 0.44, 0.91, 0.13, 0.73)  # probabilities, one word after another


@dataclasses.dataclass
class FakeApi:
    """What the fake answers, and what it was asked."""

    is_back: bool = False  # from Persian into English
    is_letters: bool = False  # tokens are letters
    is_echo: bool = False  # a translation is the text itself
    is_training: bool = True
    pause: float = 0.0  # seconds between two words of a stream
    # (status, code, message, Retry-After) for the next translations, one each
    refusals: list[tuple[int, str, str, str]] = dataclasses.field(default_factory=list)
    model: dict[str, Any] = dataclasses.field(default_factory=dict)  # changes of it
    training: dict[str, Any] | None = None
    truncated: bool = False
    notes: list[str] = dataclasses.field(default_factory=list)
    asked: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    finished: list[str] = dataclasses.field(default_factory=list)  # texts not aborted

    # ---- invented answers ----

    def describe(self) -> dict[str, Any]:
        sides = [("en", "ltr"), ("fa", "rtl")]
        (src, src_way), (tgt, tgt_way) = sides[::-1] if self.is_back else sides
        examples = ["Good morning, did you sleep well?", "The book is on the table."]
        if self.is_back:
            examples = ["صبح بخیر، آیا شما خوب خواب؟"]
        return {
            "name": "starter", "src_language": src, "tgt_language": tgt,
            "src_direction": src_way, "tgt_direction": tgt_way, "max_length": 128,
            "limits": {"characters": 1000, "sentences": 64},
            "is_training": self.is_training, "examples": examples, "version": "0.1.0",
        } | self.model  # fmt: skip

    def words(self, text: str, draw: int = 0) -> list[str]:
        """Words of a translation; another draw turns them round."""
        if self.is_echo:
            return text.split()
        table = BACK if self.is_back else WORDS
        found = []
        for word, mark in re.findall(r"([\w\u200c]+)([^\w\s]*)", text):
            known = table.get(word.lower(), word)
            found.append(known + "".join(
                (BACK if self.is_back else MARKS).get(m, m) for m in mark))  # fmt: skip
        turn = draw % max(len(found), 1)
        return found[turn:] + found[:turn]

    def tokens(self, words: list[str]) -> list[str]:
        if self.is_letters:
            return [*" ".join(words), ""]
        cut = [("▁" + w[:2], w[2:]) if len(w) > 4 else ("▁" + w,) for w in words]
        return [*(token for word in cut for token in word), ""]

    def hypothesis(self, words: list[str], worse: int = 0) -> dict[str, Any]:
        tokens = self.tokens(words)
        chances = [
            math.log(FEW_SURE[(i + worse) % len(FEW_SURE)]) for i in range(len(tokens))
        ]
        total = sum(chances) - worse
        return {
            "text": " ".join(words),
            "score": total / len(tokens),
            "log_probability": total,
            "tokens": tokens,
            "token_log_probabilities": chances,
        }

    def translation(self, request: dict[str, Any]) -> dict[str, Any]:
        words = self.words(request["text"], request.get("seed", 0))
        begin = request.get("prefix", "").split()
        words = begin + words[len(begin) :]
        count = request.get("n_best", 1) if request.get("search") == "beam" else 1
        orders = [words] + [words[:i] + words[i:][::-1] for i in range(count - 1)]
        return {
            "text": " ".join(words),
            "hypotheses": [self.hypothesis(order, i) for i, order in enumerate(orders)],
            "truncated": self.truncated,
            "notes": self.notes,
        }

    def explanation(self, request: dict[str, Any]) -> dict[str, Any]:
        src = self.tokens(request["text"].split())
        best = self.translation(request)["hypotheses"][0]
        tgt = best["tokens"]
        attention = []
        for place in places(tgt):
            row = [math.exp(-2 * abs(place - other)) for other in places(src)]
            attention.append([weight / sum(row) for weight in row])
        return {
            "src_tokens": src, "tgt_tokens": tgt, "attention": attention,
            "log_probabilities": best["token_log_probabilities"],
            "alternatives": [[[token, 0.6], ["x", 0.1]] for token in tgt],
            "text": best["text"], "score": best["score"],
        }  # fmt: skip

    def other_words(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        begin = request["prefix"].split()
        words = self.words(request["text"])
        here = words[len(begin)] if len(begin) < len(words) else ""
        others = ["a", "the", "one"] if self.is_back else ["یک", "این", "دیگر"]
        return [
            {"word": word, "probability": probability}
            for word, probability in zip(
                [here, *others, ""], (0.44, 0.21, 0.12, 0.05, 0.01), strict=True
            )
        ]

    # ---- routes ----

    async def get_model(self, _: Request) -> Response:
        return answer(self.describe())

    async def translate(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append({"path": request.url.path, **body})
        if self.refusals:
            status, code, message, retry_after = self.refusals.pop(0)
            headers = {"Retry-After": retry_after} if retry_after else {}
            error = {"error": {"code": code, "message": message}}
            return answer(error, status, headers)
        return StreamingResponse(self.stream(body), media_type="text/event-stream")

    async def stream(self, body: dict[str, Any]) -> AsyncIterator[str]:
        translation = self.translation(body)
        words = translation["text"].split()
        for i in range(1, len(words)):
            yield event("partial", {"text": " ".join(words[:i])})
            await asyncio.sleep(self.pause)
        self.finished.append(body["text"])
        yield event(
            "done",
            {"translations": [translation], "model": "starter", "seconds": 0.12},
        )

    async def explain(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append({"path": request.url.path, **body})
        return answer(self.explanation(body))

    async def alternatives(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append({"path": request.url.path, **body})
        return answer({"alternatives": self.other_words(body)})

    async def get_training(self, request: Request) -> Response:
        if self.training is None:
            error = {"code": "no_run", "message": "This model has no training log."}
            return answer({"error": error}, 404)
        after = int(request.query_params.get("after", 0))
        self.asked.append({"path": request.url.path, "after": after})
        return answer(
            self.training
            | {
                "train": [e for e in self.training["train"] if e[0] > after],
                "validations": [
                    e for e in self.training["validations"] if e["step"] > after
                ],
            }
        )

    async def page(self, request: Request) -> Response:
        names = {"/": "index.html", "/training": "training.html"}
        name = names.get(request.url.path) or request.path_params["name"]
        path = PAGE / name
        headers = {
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
        }
        kind = f"{KINDS[path.suffix]}; charset=utf-8"
        return Response(path.read_bytes(), headers=headers, media_type=kind)

    def app(self) -> Starlette:
        post = {"methods": ["POST"]}
        return Starlette(
            routes=[
                Route("/api/model", self.get_model),
                Route("/api/translate", self.translate, **post),
                Route("/api/explain", self.explain, **post),
                Route("/api/alternatives", self.alternatives, **post),
                Route("/api/training", self.get_training),
                Route("/", self.page),
                Route("/training", self.page),
                Route("/static/{name}", self.page),
            ]
        )


def places(tokens: list[str]) -> list[int]:
    """The number of the word that each token is in; the end is a word by itself."""
    begins = [token[:1] in ("▁", " ", "") for token in tokens]
    return [sum(begins[: i + 1]) - begins[0] for i in range(len(tokens))]


def answer(
    data: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Data as JSON in ASCII, which can hold half of a surrogate pair."""
    return Response(json.dumps(data), status, headers, "application/json")


def event(name: str, data: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def a_training(
    *, state: str = "training", step: int = 6000, steps: int = 10000
) -> dict[str, Any]:
    """A run with a falling loss and a validation each 1,000 steps."""
    rate = lambda s: 7e-4 * min(s / 1000, (1000 / max(s, 1)) ** 0.5)  # noqa: E731
    loss = lambda s: 1.6 + 6 * math.exp(-s / 1500)  # noqa: E731
    train = [
        [s, loss(s) + 0.25 * math.sin(s * 12.9898) * math.sin(s * 0.7), rate(s)]
        for s in range(20, step + 1, 20)
    ]
    samples = [
        ("The book is on the table.", "کتاب روی میز است.", "کتاب روی میز است."),
        ("I go home.", "من خانه می‌روم.", "من به خانه می‌روم."),
        ("We drink tea.", "ما چای", "ما چای می‌نوشیم."),
        ("My old friend has come.", "دوست قدیمی", "دوست قدیمی من آمده است."),
    ]
    validations = [
        {
            "step": s,
            "loss": loss(s) + 0.2 + s / 40000,
            "bleu": 30 * (1 - math.exp(-s / 2500)),
            "chrf": 55 * (1 - math.exp(-s / 1800)),
            "samples": [
                {"src": src, "tgt": " ".join(tgt.split()[: max(1, s // 1000)]),
                 "ref": ref}
                for src, tgt, ref in samples
            ],
        }
        for s in range(1000, step + 1, 1000)
    ]  # fmt: skip
    best = validations[-1] if validations else None
    return {
        "run": "tea-and-bread", "state": state, "step": step, "steps": steps,
        "epoch": step / 800, "learning_rate": rate(step), "tokens_a_second": 18432.7,
        "seconds_left": 4321.0 if state == "training" else None,
        "best": best
        and {"step": best["step"], "metric": "chrf", "value": best["chrf"]},
        "train": train, "validations": validations,
    }  # fmt: skip


@contextlib.contextmanager
def serving(app: Any, port: int = 0) -> Iterator[str]:
    """The address where an application answers until the block ends."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="error", lifespan="off",
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive() and time.monotonic() < until
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
