"""A true model, tiny, behind the line: nothing changes by who else is asking."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from flaxformer_mt.decoding import search
from flaxformer_mt.decoding.lines import Line
from flaxformer_mt.errors import StorageError
from flaxformer_mt.serving.engine import Engine, Job
from flaxformer_mt.serving.limits import Limits, Refusal
from flaxformer_mt.text.tokenizer import CharacterTokenizer
from flaxformer_mt.text.vocabulary import Specials, Vocabulary
from flaxformer_mt.training.programs import CompileCount
from tests.decoding.test_translator import NORMALIZER, make_translator
from tests.serving.fake_model import (
    CARD,
    Client,
    FakeModel,
    application,
    fake_engine,
    served,
    wait_until,
)

WAYS = [
    {},
    {"prefix": "x"},
    {"search": "sample", "seed": 3},
    {"search": "sample", "temperature": 0.5, "top_k": 4},
    {"search": "beam"},
]


@pytest.fixture(scope="module")
def client():
    letters = Vocabulary.of_characters(["abcd .?"], Specials())
    translator = make_translator(CharacterTokenizer(letters, NORMALIZER), layers=1)
    # A beam of one: each way takes a dozen programs.
    limits = Limits(beam=1, alternatives=1)
    engine = Engine(lambda: translator, limits, lambda _: CARD)
    engine.start()
    try:
        wait_until(lambda: engine.is_ready or engine.failure, 300)
        with served(application(engine)) as port:
            yield Client(port)
    finally:
        engine.stop()


def ask(client, text, way):
    while True:
        response = client.post("/api/translate", json={"text": text, **way})
        if response.status_code != 503:
            assert response.status_code == 200, response.text
            return response.json()["translations"]
        time.sleep(0.01)


@pytest.mark.parametrize("way", WAYS, ids=range(len(WAYS)))
def test_an_answer_is_the_same_alone_and_among_others(client, way):
    texts = ["abc.", "b a d", "cab cab.", "a", "", "dcba " * 5, "abcd? " * 12]
    alone = [ask(client, text, way) for text in texts]
    with ThreadPoolExecutor(28) as threads:
        together = list(threads.map(lambda text: ask(client, text, way), texts * 4))
    for one, other in zip(alone * 4, together, strict=True):
        assert one[0]["text"] == other[0]["text"]
        assert one[0]["hypotheses"][0]["tokens"] == other[0]["hypotheses"][0]["tokens"]


def test_s18_no_length_and_no_option_compiles_anything(client, monkeypatch):
    monkeypatch.setattr(search, "WORTH_COMPILING", 0)  # as if much were asked
    with CompileCount() as count:
        for length in range(1, 60):
            ask(client, "a" * length, WAYS[length % len(WAYS)])
        for size in (2, 11, 30, 64):
            ask(client, ["abcd"[: i % 4 + 1] * (i % 12) for i in range(size)], {})
            ask(client, ["ab" * (i % 9) for i in range(size)], {"prefix": "x y"})
        for number in range(10):
            fields = {"temperature": 0.1 + number, "top_p": 0.9, "seed": number}
            ask(client, "abc", {"search": "sample", **fields})
        for length in (1, 20, 39):
            text = {"text": "a" * length}
            assert client.post("/api/explain", json=text).status_code == 200
            fields = text | {"count": 1, "prefix": "x"}
            found = client.post("/api/alternatives", json=fields)
            assert found.status_code == 200
    assert not count.compiled and not count.loaded


def test_a_way_that_is_not_compiled_yet_keeps_only_its_own_waiting():
    model = FakeModel()
    gate = threading.Event()

    def prepare(search, *, scores):
        if getattr(search, "beam_size", 0) == 3:
            gate.wait(30)
        yield

    model.prepare = prepare
    with fake_engine(model) as engine, served(application(engine)) as port:
        client = Client(port)
        with ThreadPoolExecutor(1) as threads:
            slow = threads.submit(ask, client, "a", {"search": "beam", "beam_size": 3})
            wait_until(lambda: engine.unready)
            assert ask(client, "b", {})[0]["text"] == "B"
            gate.set()
            assert slow.result()[0]["text"] == "A"


def test_there_is_an_answer_as_soon_as_its_own_programs_are_there():
    model, gate = FakeModel(), threading.Event()

    def prepare_explanation():
        gate.wait(30)
        yield

    model.prepare_explanation = prepare_explanation
    engine = Engine(lambda: model, Limits(), lambda _: CARD)
    engine.start()
    try:
        with served(application(engine)) as port:
            client = Client(port)
            wait_until(lambda: engine.translator)
            assert ask(client, "a", {})[0]["text"] == "A"
            response = client.get("/readyz")
            assert response.status_code == 503 and response.headers["retry-after"]
            gate.set()
            wait_until(lambda: engine.is_ready)
            assert client.get("/readyz").status_code == 200
    finally:
        gate.set()
        engine.stop()


def test_a_run_without_a_model_is_asked_again_and_a_damaged_one_ends_it():
    found = [None]
    engine = Engine(lambda: found[0], Limits(), lambda _: CARD)
    engine.start()
    try:
        with served(application(engine)) as port:
            client = Client(port)
            response = client.post("/api/translate", json={"text": "a"})
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "not_ready"
            assert client.get("/readyz").status_code == 503
            assert client.get("/healthz").status_code == 200
    finally:
        engine.stop()

    def damaged():
        raise StorageError("all steps are damaged.")

    failures = []
    engine = Engine(damaged, Limits(), lambda _: CARD)
    engine.on_failure = lambda: failures.append(engine.failure)
    engine.start()
    wait_until(lambda: failures)
    assert isinstance(failures[0], StorageError)
    with pytest.raises(Refusal):
        engine.check()
    engine.stop()


def test_a_request_that_waited_too_long_is_not_begun():
    model = FakeModel()
    with fake_engine(model) as engine:
        jobs = [
            Job(
                way=("greedy", 0, 0),
                group=0,
                deadline=time.monotonic() + seconds,
                lines=(Line(text),),
            )
            for text, seconds in (("late", -1.0), ("in time", 30.0))
        ]
        for job in jobs:
            engine.submit(job)
        assert jobs[1].future.result(20)[0].text == "IN TIME"
        with pytest.raises(TimeoutError):
            jobs[0].future.result(20)
    assert model.batches == [["in time"]]


def waiting_job(seconds: float, way=("greedy", 0, 0)) -> Job:
    deadline = time.monotonic() + seconds
    return Job(way=way, group=0, deadline=deadline, lines=(Line("a"),))


def test_s5_what_nobody_waits_for_takes_no_place_in_the_line():
    engine = Engine(lambda: FakeModel(), Limits(waiting=2), lambda _: CARD)
    engine.translator = FakeModel()  # its threads do not run: all that comes waits
    engine.known.add(("greedy", 0, 0))
    late, unready = waiting_job(0.0), waiting_job(30.0, way=("beam", 3, 1))
    for job in (late, unready):
        engine.submit(job)
    unready.cancel()
    for _ in range(2):
        engine.submit(waiting_job(30.0))
    with pytest.raises(Refusal, match="busy"):
        engine.submit(waiting_job(30.0))
    assert late.future.done() and unready.future.done()


def test_a_way_that_cannot_be_compiled_ends_no_server():
    model = FakeModel()

    def prepare(search, *, scores):
        if getattr(search, "beam_size", 0) == 3:
            raise MemoryError
        yield

    model.prepare = prepare
    with fake_engine(model) as engine, served(application(engine)) as port:
        client = Client(port)
        assert ask(client, "a", {"search": "beam", "beam_size": 3})[0]["text"] == "A"
        assert ask(client, "b", {"search": "beam", "beam_size": 2})[0]["text"] == "B"
        assert engine.failure is None


def test_who_waits_for_a_compilation_is_asked_to_come_again():
    model, gate = FakeModel(), threading.Event()

    def prepare(search, *, scores):
        if getattr(search, "beam_size", 0) == 3:
            gate.wait(30)
        yield

    model.prepare = prepare
    with fake_engine(model, deadline=0.3) as engine:
        with served(application(engine)) as port:
            way = {"search": "beam", "beam_size": 3}
            response = Client(port).post("/api/translate", json={"text": "a", **way})
            assert response.status_code == 503 and response.headers["retry-after"]
            assert response.json()["error"]["code"] == "not_ready"
        gate.set()


def test_long_texts_are_not_put_together_with_many_others():
    lines = tuple(Line("x" * 1000) for _ in range(4))
    job = Job(way=0, group=0, deadline=0.0, lines=lines)
    assert job.cost == 4 * 6
    assert Job(way=0, group=0, deadline=0.0, lines=(Line("short"),)).cost == 1
