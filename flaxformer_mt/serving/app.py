"""The routes: what is asked, what is answered. Starlette, over an Engine."""

import asyncio
import contextlib
import functools
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, Router

from flaxformer_mt import __version__
from flaxformer_mt.decoding.explanation import Explanation
from flaxformer_mt.decoding.lines import AbandonedError, Line
from flaxformer_mt.decoding.translation import Hypothesis, Translation
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.errors import FlaxformerError, InputError
from flaxformer_mt.serving.engine import (
    EXPLAIN,
    WORDS,
    Engine,
    Job,
    group_of,
    search_of,
    way_of,
)
from flaxformer_mt.serving.guard import Guard, logged
from flaxformer_mt.serving.limits import (
    LOOPBACK,
    Limits,
    Refusal,
    not_ready,
    too_slow,
)
from flaxformer_mt.serving.model_card import ModelCard
from flaxformer_mt.serving.openapi import description
from flaxformer_mt.serving.requests import (
    AlternativesRequest,
    Fields,
    LibreRequest,
    TranslateRequest,
    Way,
    alternatives_request,
    explain_request,
    libre_request,
    read_form,
    read_json,
    translate_request,
)
from flaxformer_mt.serving.training_view import has_log, training_view
from flaxformer_mt.training.run_folder import RunFolder

PAGE = Path(__file__).parent / "page"
KINDS = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
LARGEST_STEP = 2**53


class Service:
    """The answers: `Service(engine, folder, limits).application()` is an ASGI app."""

    def __init__(self, engine: Engine, folder: RunFolder, limits: Limits) -> None:
        self.engine, self.folder, self.limits = engine, folder, limits
        self.card_without_model = ModelCard.of(folder, None)
        self.files = page_files()
        # A view reads whole files: one at a time, however many look.
        self.views = asyncio.Lock()

    def application(self, names: Iterable[str] = LOOPBACK) -> Guard:
        """names: what clients may call the server; see Guard."""
        get = functools.partial(Route, methods=["GET"])
        post = functools.partial(Route, methods=["POST"])
        routes = [
            get("/", self.file("index.html")),
            get("/training", self.file("training.html")),
            *(
                get(f"/static/{name}", self.file(name))
                for name in self.files
                if not name.endswith(".html")
            ),
            get("/api/model", self.model),
            post("/api/translate", self.translate),
            post("/api/explain", self.explain),
            post("/api/alternatives", self.alternatives),
            get("/api/training", self.training),
            get("/healthz", self.healthz),
            get("/readyz", self.readyz),
            get("/version", self.version),
            get("/openapi.json", self.openapi),
            post("/translate", self.libre_translate),
            get("/languages", self.libre_languages),
        ]
        return Guard(Router(routes, redirect_slashes=False), self.limits, names)

    # ---- the page and facts ----------------------------------------------------------

    def file(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """The route of a file, which was read when the server started."""

        async def send(request: Request) -> Response:
            if name not in self.files:
                raise Refusal(404, "not_found", f"this server has no {name}.")
            content, kind = self.files[name]
            headers = {"cache-control": "no-cache"}
            return Response(content, media_type=kind, headers=headers)

        return send

    @property
    def card(self) -> ModelCard:
        """What is known of the model."""
        return self.engine.card or self.card_without_model

    async def model(self, request: Request) -> Response:
        """GET /api/model"""
        is_training = await asyncio.to_thread(has_log, self.folder)
        return answer(self.card.content(self.limits, is_training=is_training))

    async def healthz(self, request: Request) -> Response:
        """GET /healthz: the process is alive."""
        return answer({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        """GET /readyz: all that is usually asked for is compiled."""
        if self.engine.failure is not None:
            raise not_ready("there is no model to translate with: see the log.")
        if not self.engine.is_ready:
            raise not_ready("the model is getting ready: ask again in a moment.")
        return answer({"status": "ready"})

    async def version(self, request: Request) -> Response:
        """GET /version"""
        card = self.card
        return answer(
            {"version": __version__, "model": card.name, "sha256": card.sha256}
        )

    async def openapi(self, request: Request) -> Response:
        """GET /openapi.json"""
        return answer(description(self.limits))

    async def training(self, request: Request) -> Response:
        """GET /api/training"""
        text = request.query_params.get("after", "0")
        if not (text.isascii() and text.isdecimal() and len(text) <= 16):
            raise Refusal(422, "invalid", "after must be a step, a whole number.")
        async with self.views:
            try:
                view = await asyncio.to_thread(training_view, self.folder, int(text))
            except FlaxformerError as error:
                raise Refusal(404, "no_run", str(error)) from None
        return answer(view)

    # ---- translating -----------------------------------------------------------------

    async def translate(self, request: Request) -> Response:
        """POST /api/translate"""
        asked = translate_request(await read_fields(request, JSON), self.limits)
        began = time.monotonic()
        if asked.stream:
            return self.stream(asked, began)
        job = self.translation_job(asked, began)
        translations = await self.result(job, request)
        return answer(self.translated(translations, asked.way, began))

    def translation_job(self, asked: TranslateRequest, began: float) -> Job:
        """The job, already in the line."""
        lines = tuple(
            Line(text, asked.prefix, asked.way.seed, number)
            for number, text in enumerate(asked.texts)
        )
        return self.submit(asked.way, lines, began)

    def submit(
        self,
        way: Way,
        lines: tuple[Line, ...],
        began: float,
        partial: Callable[[str], Any] | None = None,
    ) -> Job:
        """A job that translates lines, already in the line."""
        translator = self.translator()
        job = Job(
            way=way_of(way),
            group=group_of(way),
            deadline=began + self.limits.deadline,
            lines=lines,
            search=search_of(translator, way),
            partial=partial,
        )
        self.engine.submit(job)
        return job

    def translator(self) -> Translator:
        """The model. Raises Refusal while there is none."""
        self.engine.check()
        return self.engine.translator

    async def result(self, job: Job, request: Request | None = None) -> Any:
        """What a job comes to.

        Raises:
          Refusal: its text cannot be translated, or not in time.
          ClientDisconnect: who asked is gone.
        """
        gone = asyncio.ensure_future(disconnect(request)) if request else None
        future = asyncio.wrap_future(job.future)
        left = max(job.deadline - time.monotonic(), 0.0)
        try:
            waits = {future} | ({gone} if gone else set())
            await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if future.done():
                return future.result()
            if gone is not None and gone.done():
                raise ClientDisconnect
            if job.way not in self.engine.known:
                raise not_ready("what this takes is being compiled: ask again soon.")
            raise too_slow(self.limits.deadline)
        except (TimeoutError, AbandonedError):
            raise too_slow(self.limits.deadline) from None
        except InputError as error:
            raise Refusal(422, "invalid", str(error)) from None
        finally:
            job.cancel()
            future.cancel()
            if gone is not None:
                gone.cancel()

    def translated(
        self, translations: list[Translation], way: Way, began: float
    ) -> Fields:
        """What POST /api/translate answers."""
        if any(translation.report.failed for translation in translations):
            raise RuntimeError("the model returned no number: is it damaged?")
        return {
            "translations": [shown(each, way.n_best) for each in translations],
            "model": self.card.name,
            "seconds": round(time.monotonic() - began, 4),
        }

    def stream(self, asked: TranslateRequest, began: float) -> Response:
        """The answer as server-sent events."""
        loop, parts = asyncio.get_running_loop(), asyncio.Queue()

        def partial(text: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(parts.put_nowait, text)

        lines = (Line(asked.texts[0], asked.prefix, asked.way.seed),)
        job = self.submit(asked.way, lines, began, partial)
        events = self.events(job, parts, asked.way, began)
        return StreamingResponse(
            events,
            media_type="text/event-stream",
            headers={"x-accel-buffering": "no"},
        )

    async def events(
        self, job: Job, parts: asyncio.Queue, way: Way, began: float
    ) -> AsyncIterator[str]:
        """What has come so far, again and again, and at last the whole answer."""
        whole = asyncio.ensure_future(self.result(job))
        part: asyncio.Future | None = None
        try:
            while not whole.done():
                part = asyncio.ensure_future(parts.get())
                await asyncio.wait({part, whole}, return_when=asyncio.FIRST_COMPLETED)
                if not part.done():
                    part.cancel()
                    break
                yield event("partial", {"text": part.result()})
            try:
                yield event("done", self.translated(await whole, way, began))
            except Refusal as refusal:
                yield event("error", refusal.content())
            except Exception as error:
                yield event("error", logged(error, "/api/translate").content())
        finally:
            job.cancel()
            whole.cancel()
            if part is not None:
                part.cancel()

    async def explain(self, request: Request) -> Response:
        """POST /api/explain"""
        asked = explain_request(await read_fields(request, JSON), self.limits)
        began = time.monotonic()
        [translation] = await self.result(self.translation_job(asked, began), request)
        if translation.report.failed:
            raise RuntimeError("the model returned no number: is it damaged?")
        best = translation.hypotheses[0]
        if translation.report.split:
            raise Refusal(
                422, "too_long", "the text is longer than the model reads: split it."
            )
        job = Job(
            way=EXPLAIN,
            group=object(),
            deadline=began + self.limits.deadline,
            task=lambda translator: translator.explanation(asked.texts[0], best),
        )
        self.engine.submit(job)
        explanation = await self.result(job, request)
        return answer(explained(explanation, best))

    async def alternatives(self, request: Request) -> Response:
        """POST /api/alternatives"""
        fields = await read_fields(request, JSON)
        asked = alternatives_request(fields, self.limits)
        job = self.words_job(asked)
        self.engine.submit(job)
        words = await self.result(job, request)
        return answer(
            {
                "alternatives": [
                    {"word": word, "probability": probability}
                    for word, probability in words[: asked.count]
                ]
            }
        )

    def words_job(self, asked: AlternativesRequest) -> Job:
        """The job of finding next words; always as many, so that one program does."""
        most = self.limits.alternatives
        return Job(
            way=WORDS,
            group=object(),
            deadline=time.monotonic() + self.limits.deadline,
            task=lambda translator: translator.alternatives(
                asked.text, asked.prefix, count=most
            ),
        )

    # ---- as LibreTranslate has it ----------------------------------------------------

    async def libre_translate(self, request: Request) -> Response:
        """POST /translate"""
        asked = libre_request(await read_fields(request, JSON, FORM), self.limits)
        src, _ = self.check_languages(asked)
        count = asked.alternatives + 1
        size = max(count, self.limits.usual_beam)
        way = Way(search="beam", beam_size=size, n_best=count)
        way = way if asked.alternatives else Way()
        lines = tuple(Line(text, number=i) for i, text in enumerate(asked.texts))
        job = self.submit(way, lines, time.monotonic())
        translations = await self.result(job, request)
        if any(translation.report.failed for translation in translations):
            raise RuntimeError("the model returned no number: is it damaged?")
        return answer(libre_translated(asked, translations, src))

    def check_languages(self, asked: LibreRequest) -> tuple[str, str]:
        """The model's languages. Raises Refusal for others."""
        src, tgt = self.card.codes()
        if asked.source not in (src, "auto") or asked.target not in (tgt, ""):
            raise Refusal(
                400,
                "other_languages",
                f"this model translates from {src} to {tgt}: ask for these.",
            )
        return src, tgt

    async def libre_languages(self, request: Request) -> Response:
        """GET /languages"""
        return answer(self.card.libre_languages())


# ---- in ------------------------------------------------------------------------------


async def read_fields(request: Request, *kinds: str) -> Fields:
    """The fields of a body of one of these kinds.

    Raises:
      Refusal: it is of another kind, or not what it says.
    """
    said = request.headers.getlist("content-type")
    kind = said[0].split(";")[0].strip().lower() if len(said) == 1 else ""
    if kind not in kinds:
        raise Refusal(415, "wrong_type", f"Content-Type must be {' or '.join(kinds)}.")
    body = await request.body()
    return read_json(body) if kind == JSON else read_form(body)


async def disconnect(request: Request) -> None:
    """Returns when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def page_files() -> dict[str, tuple[bytes, str]]:
    """name -> (content, media type) of the page's files. Read once: no path that
    anybody sends ever comes near the file system."""
    return {
        path.name: (path.read_bytes(), KINDS[path.suffix])
        for path in sorted(PAGE.glob("*"))
        if path.suffix in KINDS
    }


# ---- out -----------------------------------------------------------------------------


def answer(content: Any) -> Response:
    """The content as JSON; what is no number is null, and half of a surrogate pair is
    written as its escape."""
    return Response(to_json(content).encode("utf-8"), media_type=JSON)


def to_json(content: Any) -> str:
    """Letters as they are; U+2028 and the like need no care in JSON."""
    text = json.dumps(finite(content), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def finite(value: Any) -> Any:
    """The value with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def event(name: str, content: Fields) -> str:
    """A server-sent event; JSON has no line end in it."""
    return f"event: {name}\ndata: {to_json(content)}\n\n"


def shown(translation: Translation, n_best: int) -> Fields:
    """A translation as POST /api/translate has it."""
    hypotheses = translation.hypotheses[:n_best]
    return {
        "text": hypotheses[0].text,
        "hypotheses": [hypothesis_shown(each) for each in hypotheses],
        "truncated": hypotheses[0].truncated,
        "notes": translation.report.sentences(),
    }


def hypothesis_shown(hypothesis: Hypothesis) -> Fields:
    """A hypothesis as the API has it; numbers to six digits."""
    each = [round(p, 6) for p in hypothesis.token_log_probabilities]
    return {
        "text": hypothesis.text,
        "score": round(hypothesis.score, 6),
        "log_probability": round(hypothesis.log_probability, 6),
        "tokens": list(hypothesis.tokens),
        "token_log_probabilities": each,
    }


def explained(explanation: Explanation, best: Hypothesis) -> Fields:
    """An explanation as POST /api/explain has it."""
    # [T, S]: the last layer, the mean of its heads.
    attention = explanation.attention[-1].mean(axis=0)
    return {
        "src_tokens": list(explanation.src_tokens),
        "tgt_tokens": list(explanation.tgt_tokens),
        "log_probabilities": [round(p, 6) for p in explanation.log_probabilities],
        "alternatives": [
            [[token, round(probability, 6)] for token, probability in listed]
            for listed in explanation.alternatives
        ],
        "attention": [[round(float(w), 4) for w in row] for row in attention],
        "text": best.text,
        "score": round(best.score, 6),
    }


def libre_translated(
    asked: LibreRequest, translations: list[Translation], src: str
) -> Fields:
    """What LibreTranslate answers: texts, or lists of them where a list came."""

    def as_asked(values: list[Any]) -> Any:
        return values if asked.is_list else values[0]

    content = {"translatedText": as_asked([each.text for each in translations])}
    if asked.source == "auto":
        detected = {"confidence": 0, "language": src}
        content["detectedLanguage"] = as_asked([detected] * len(translations))
    if asked.alternatives:
        content["alternatives"] = as_asked(
            [
                [each.text for each in t.hypotheses[1 : asked.alternatives + 1]]
                for t in translations
            ]
        )
    return content
