"""What is asked and what is answered, in this process. S rows: RELIABILITY's faults."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from flaxformer_mt import __version__
from flaxformer_mt.serving.app import event, to_json
from flaxformer_mt.serving.log import OneLine, escaped
from tests.serving.fake_model import (
    FakeModel,
    application,
    fake_client,
    wait_until,
)

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "javascript:alert(1)",
    "</textarea><script>1</script>",
    "\u202eevil\u202c",
    "\x1b[2J",
    "a\r\nSet-Cookie: b=c\r\n\r\nd",
    "{{7*7}}${7*7}",
    "\u2028\u2029",
    "<!--",
    "\ufeff",
]


@pytest.fixture(scope="module")
def client():
    with fake_client() as (client, _):
        yield client


def error_of(response):
    """(status, code) of a refusal, in the form that all have."""
    assert response.headers["content-type"] == "application/json"
    content = response.json()
    assert set(content) == {"error"}
    assert set(content["error"]) == {"code", "message"}
    assert content["error"]["message"].endswith(".")
    return response.status_code, content["error"]["code"]


def translate(client, **fields):
    return client.post("/api/translate", json=fields)


# ---- translating ---------------------------------------------------------------------


def test_a_text_is_answered_with_its_translation_and_its_numbers(client):
    response = translate(client, text="hello")
    assert response.status_code == 200
    content = response.json()
    assert content["model"] == "fake" and content["seconds"] >= 0
    [translation] = content["translations"]
    assert translation == {
        "text": "HELLO",
        "hypotheses": [
            {
                "text": "HELLO",
                "score": -1.25,
                "log_probability": -2.5,
                "tokens": ["A", ""],
                "token_log_probabilities": [-1.0, -1.5],
            }
        ],
        "truncated": False,
        "notes": [],
    }


def test_a_list_is_answered_in_its_order(client):
    texts = ["b", "", "a", "b"]
    found = translate(client, text=texts).json()["translations"]
    assert [each["text"] for each in found] == ["B", "", "A", "B"]


def test_several_hypotheses_come_best_first_and_as_many_as_asked(client):
    fields = {"text": "a", "search": "beam", "beam_size": 4, "n_best": 2}
    [found] = translate(client, **fields).json()["translations"]
    assert [each["text"] for each in found["hypotheses"]] == ["A", "A+"]


def test_a_prefix_begins_the_translation(client):
    [found] = translate(client, text="a", prefix="P").json()["translations"]
    assert found["text"] == "PA"


def test_what_a_person_should_hear_comes_as_notes(client):
    [found] = translate(client, text="long").json()["translations"]
    assert found["notes"] == [
        "1 text longer than the model reads was translated in pieces"
    ]


def events_of(response):
    assert response.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in response.text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        found.append(
            (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        )
    return found


def test_a_stream_shows_parts_and_ends_with_the_answer(client):
    found = events_of(translate(client, text="in parts", stream=True))
    parts = [content["text"] for name, content in found[:-1] if name == "partial"]
    assert (
        1 <= len(parts) == len(found) - 1
    )  # one that comes at the end may be left out
    assert parts == ["IN", "IN PA"][: len(parts)]
    name, content = found[-1]
    assert name == "done"
    assert content["translations"][0]["text"] == "IN PARTS"


def test_an_event_is_one_line_of_data_whatever_the_text():
    for text in HOSTILE:
        content = event("partial", {"text": text})
        assert content.count("\n") == 3 and "\r" not in content


def test_an_explanation_has_a_weight_for_each_pair_of_tokens(client):
    content = client.post("/api/explain", json={"text": "a"}).json()
    assert content["attention"] == [[0.5, 0.5], [0.5, 0.5]]
    assert content["alternatives"][0] == [["B", 0.6], ["C", 0.4]]
    assert content["text"] == "A" and content["tgt_tokens"] == ["B", ""]


def test_as_many_next_words_come_as_asked_for(client):
    response = client.post("/api/alternatives", json={"text": "a", "count": 2})
    assert response.json()["alternatives"] == [
        {"word": "w0", "probability": 0.5},
        {"word": "w1", "probability": 0.25},
    ]


def test_a_number_that_is_none_is_null():
    assert (
        to_json({"a": [float("nan"), float("inf"), 1.5]}) == '{"a": [null, null, 1.5]}'
    )


def test_half_of_a_surrogate_pair_is_an_escape():
    assert json.loads(to_json({"a": "\ud83d"})) == {"a": "\ud83d"}


# ---- LibreTranslate ------------------------------------------------------------------


def test_libretranslate_takes_json_and_forms(client):
    fields = {"q": "hello", "source": "en", "target": "fa", "format": "text"}
    for how in ({"json": fields}, {"data": fields}):
        response = client.post("/translate", **how)
        assert response.json() == {"translatedText": "HELLO"}


def test_libretranslate_answers_a_list_with_a_list(client):
    fields = {"q": ["a", "b"], "source": "auto", "target": "fa", "alternatives": 1}
    assert client.post("/translate", json=fields).json() == {
        "translatedText": ["A", "B"],
        "detectedLanguage": [{"confidence": 0, "language": "en"}] * 2,
        "alternatives": [["A+"], ["B+"]],
    }


def test_libretranslate_refuses_other_languages(client):
    fields = {"q": "a", "source": "en", "target": "de"}
    response = client.post("/translate", json=fields)
    assert response.status_code == 400
    # A sentence, as its clients show it.
    assert "from en to fa" in response.json()["error"]


def test_libretranslate_lists_the_languages(client):
    assert client.get("/languages").json() == [
        {"code": "en", "name": "English", "targets": ["fa"]},
        {"code": "fa", "name": "Persian", "targets": []},
    ]


# ---- facts ---------------------------------------------------------------------------


def test_the_model_is_described(client):
    content = client.get("/api/model").json()
    assert content["name"] == "fake" and content["version"] == __version__
    assert (content["src_direction"], content["tgt_direction"]) == ("ltr", "rtl")
    assert content["limits"]["characters"] == 1000


def test_the_version_has_the_models_fingerprint(client):
    content = client.get("/version").json()
    assert content == {"version": __version__, "model": "fake", "sha256": "0" * 64}


def test_every_route_is_described():
    with fake_client() as (client, engine):
        described = client.get("/openapi.json").json()["paths"]
        routes = application(engine).app.routes
    methods = {
        route.path: route.methods - {"HEAD"}
        for route in routes
        if not route.path.startswith("/static/")
    }
    assert set(described) == set(methods) - {"/", "/training", "/openapi.json"}
    for path, operations in described.items():
        assert {name.upper() for name in operations} == methods[path]


def test_every_reference_of_the_description_leads_somewhere(client):
    text = client.get("/openapi.json").text
    schemas = json.loads(text)["components"]["schemas"]
    found = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert found <= set(schemas)


# ---- faults --------------------------------------------------------------------------


def test_s5_a_full_line_is_refused_at_once_and_the_others_are_answered():
    model = FakeModel()
    with fake_client(model, waiting=3, deadline=60.0) as (client, _):
        model.gate.clear()
        with ThreadPoolExecutor(40) as threads:
            asked = [threads.submit(translate, client, text="text 0")]
            wait_until(lambda: model.batches)
            asked += [
                threads.submit(translate, client, text=f"text {i}")
                for i in range(1, 40)
            ]
            wait_until(lambda: sum(future.done() for future in asked) >= 36)
            model.gate.set()
        responses = [future.result() for future in asked]
        refused = [r for r in responses if r.status_code != 200]
        assert len(refused) == 36  # one is translated, three wait
        for response in refused:
            assert error_of(response) == (503, "busy")
            assert response.headers["retry-after"] == "1"
        for i, response in enumerate(responses):
            if response.status_code == 200:
                text = response.json()["translations"][0]["text"]
                assert text == f"TEXT {i}"


def test_s6_a_request_beyond_its_deadline_is_given_up_and_the_worker_is_free():
    model = FakeModel()
    with fake_client(model, deadline=1.0) as (client, _):
        assert error_of(translate(client, text="slow")) == (504, "timeout")
        assert model.abandoned.wait(10)
        assert translate(client, text="a").status_code == 200


def test_s6_a_stream_beyond_its_deadline_ends_with_an_error():
    with fake_client(deadline=1.0) as (client, _):
        found = events_of(translate(client, text="slow", stream=True))
    assert found[0][0] == "partial"
    assert found[-1][0] == "error" and found[-1][1]["error"]["code"] == "timeout"


def test_s7_a_fault_of_the_model_is_a_number_in_the_log_and_the_next_is_answered(
    client, caplog
):
    for text in ("boom", "nan"):
        with caplog.at_level(logging.ERROR, "flaxformer_mt.serving"):
            response = translate(client, text=text)
        assert error_of(response) == (500, "internal")
        assert "broke" not in response.text and "Traceback" not in response.text
        number = response.json()["error"]["message"].split()[-1].rstrip(".")
        [record] = [r for r in caplog.records if number in r.getMessage()]
        assert record.exc_info
        assert translate(client, text="a").status_code == 200


def test_s7_one_broken_request_does_not_break_those_it_was_put_together_with():
    model = FakeModel()
    with fake_client(model) as (client, engine):
        model.gate.clear()
        with ThreadPoolExecutor(4) as threads:
            first = threads.submit(translate, client, text="first")
            wait_until(lambda: model.batches)
            rest = [
                threads.submit(translate, client, text=text)
                for text in ("a", "boom", "b")
            ]
            wait_until(lambda: len(engine.waiting) == 3)
            model.gate.set()
        assert first.result().status_code == 200
        assert [r.result().status_code for r in rest] == [200, 500, 200]


def test_s9_what_is_hostile_comes_back_as_json_and_nothing_else(client):
    for text in HOSTILE:
        response = translate(client, text=text)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        [found] = response.json()["translations"]
        assert found["text"] == text.upper()


def test_s9_every_answer_has_the_content_policy(client):
    for response in (
        client.get("/"),
        client.get("/nothing"),
        client.request("PUT", "/"),
        client.get("/api/model"),
        client.post("/api/translate", content=b"{"),
        client.get("/", headers={"host": "evil.com"}),
        translate(client, text="boom"),
        translate(client, text="a", stream=True),
    ):
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in response.headers


def test_s10_the_log_stays_on_its_line():
    record = logging.LogRecord(
        "x", logging.ERROR, "", 0, "at %s", ("/\r\nforged \x1b[2J\u202e",), None
    )
    assert OneLine("%(message)s").format(record) == "at /\\r\\nforged \\x1b[2J\\u202e"
    assert escaped("سلام\u200cها") == "سلام\u200cها"  # ZWNJ is a letter's neighbour


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.com"}, 403),
        ({"host": "localhost.evil.com:8000"}, 403),
        ({"host": "localhost:8000@evil.com"}, 403),
        ({"host": ""}, 403),
        ({"host": "10.0.0.1:8000"}, 403),
        ({"origin": "http://evil.com"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:9000"}, 403),
        ({"origin": "file://localhost:8000"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "application/json", "host": "127.0.0.1"}, 200),
        ({"host": "LOCALHOST:8000", "origin": "http://localhost:8000"}, 200),
        ({"host": "[::1]:8000", "origin": "http://[::1]:8000"}, 200),
    ],
)
def test_s11_pages_of_others_and_names_of_others_are_refused(client, headers, status):
    headers = {"content-type": "application/json"} | headers
    response = client.post("/api/translate", content=b'{"text": "a"}', headers=headers)
    assert response.status_code == status
    if status != 200:
        error_of(response)


def test_s11_a_form_of_another_site_is_refused(client):
    fields = {"q": "a", "source": "en", "target": "fa"}
    headers = {"origin": "http://evil.com"}
    response = client.post("/translate", data=fields, headers=headers)
    assert response.status_code == 403
    assert response.json() == {"error": "pages of other sites may not ask this server."}


PATHS = [
    "/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/static/../serve.py",
    "/static/%2e%2e%2fapp.py",
    "/static/..%5capp.py",
    "/static/index.html%00.js",
    "/static//etc/passwd",
    "/static/",
    "/static",
    "/%00",
    "//evil.com/",
    "/api/translate/",
    "/API/model",
    "/%E2%80%AE",
    "/static/page.py",
]


@pytest.mark.parametrize("path", PATHS)
def test_s15_no_path_leads_anywhere_but_to_what_is_served(client, path):
    assert error_of(client.get(path)) == (404, "not_found")


def test_s15_a_long_path_is_refused(client):
    assert error_of(client.get("/" + "a" * 3000)) == (414, "path_too_long")
    assert error_of(client.get("/?" + "a" * 3000)) == (414, "path_too_long")


def test_s16_no_header_is_made_of_what_somebody_wrote(client):
    for text in HOSTILE:
        headers = translate(client, text=text, prefix=text).headers
        assert headers.keys() == translate(client, text="a").headers.keys()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "NOSUCH"])
def test_s20_another_method_is_told_which_ones_there_are(client, method):
    response = client.request(method, "/api/translate")
    assert error_of(response) == (405, "wrong_method")
    assert response.headers["allow"] == "POST"
    response = client.request(method, "/api/model")
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}


def test_s20_head_has_the_headers_of_get_and_no_body(client):
    response = client.request("HEAD", "/healthz")
    assert response.status_code == 200 and not response.content
    assert client.request("HEAD", "/api/translate").status_code == 405


def test_s21_health_is_answered_while_a_translation_runs():
    model = FakeModel()
    with fake_client(model) as (client, _):
        model.gate.clear()
        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(translate, client, text="a")
            wait_until(lambda: model.batches)
            assert client.get("/healthz").json() == {"status": "ok"}
            assert client.get("/readyz").json() == {"status": "ready"}
            model.gate.set()
            assert running.result().status_code == 200
