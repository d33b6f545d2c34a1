"""Whatever comes is a checked request or a refusal that can be read."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformer_mt.serving.limits import Limits, Refusal
from flaxformer_mt.serving.requests import (
    TranslateRequest,
    Way,
    alternatives_request,
    explain_request,
    libre_request,
    read_form,
    read_json,
    translate_request,
)
from tests.serving.fake_model import fake_client

LIMITS = Limits()
NO_JSON = [
    b"",
    b"{",
    b"nothing",
    b'{"text": "a",}',
    b'{"text": NaN}',
    b'{"temperature": 1e999}',
    b'{"text": "a", "text": "b"}',
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b'{"seed": ' + b"9" * 5_000 + b"}",
    b"\xff\xfe{",
    b'{"text": "\xed\xa0\x80"}',
    b"\xef\xbb\xbf{}",
    b"[1]",
    b'"a"',
    b"null",
]
WRONG = [
    {},
    {"text": None},
    {"text": 1},
    {"text": []},
    {"text": [1]},
    {"text": ["a", None]},
    {"text": {"a": 1}},
    {"text": "\ud800"},
    {"text": "a", "txet": "b"},
    {"text": "a", "\ud800": "b"},
    {"text": "a", "search": "widest"},
    {"text": "a", "search": None},
    {"text": "a", "beam_size": 0},
    {"text": "a", "beam_size": 9},
    {"text": "a", "beam_size": 5.0},
    {"text": "a", "beam_size": True},
    {"text": "a", "beam_size": 10**40},
    {"text": "a", "n_best": 2},
    {"text": "a", "search": "beam", "n_best": 6},
    {"text": "a", "temperature": -1},
    {"text": "a", "temperature": "hot"},
    {"text": "a", "temperature": 10**300},
    {"text": "a", "top_k": -1},
    {"text": "a", "top_p": 0},
    {"text": "a", "top_p": 1.1},
    {"text": "a", "min_p": 2},
    {"text": "a", "repetition_penalty": 0},
    {"text": "a", "seed": -1},
    {"text": "a", "seed": 2**31},
    {"text": "a", "stream": 1},
    {"text": ["a"], "stream": True},
    {"text": "a", "prefix": None},
]


@pytest.mark.parametrize("body", NO_JSON, ids=range(len(NO_JSON)))
def test_s8_what_is_no_json_object_is_refused(body):
    with pytest.raises(Refusal) as refused:
        read_json(body)
    assert refused.value.status == 400
    assert len(refused.value.message) < 400


@pytest.mark.parametrize("fields", WRONG, ids=range(len(WRONG)))
def test_s8_a_wrong_name_type_or_value_is_refused(fields):
    with pytest.raises(Refusal) as refused:
        translate_request(fields, LIMITS)
    assert refused.value.status == 422
    assert refused.value.message.endswith((".", "?"))


def test_a_name_that_is_almost_right_is_suggested():
    with pytest.raises(Refusal, match=r"did you mean 'beam_size'\?$"):
        translate_request({"text": "a", "beamsize": 2}, LIMITS)


def test_what_is_not_given_has_its_default():
    request = translate_request({"text": "a"}, LIMITS)
    assert request == TranslateRequest(texts=("a",), is_list=False)
    assert request.way == Way()


def test_too_much_is_refused_with_both_numbers():
    with pytest.raises(Refusal, match="at most 1,000 characters; got 1,001") as refused:
        translate_request({"text": ["a", "x" * 1001]}, LIMITS)
    assert refused.value.status == 413 and refused.value.code == "too_long"
    with pytest.raises(Refusal, match="at most 64 texts; got 65") as refused:
        translate_request({"text": ["a"] * 65}, LIMITS)
    assert refused.value.status == 413 and refused.value.code == "too_many"
    with pytest.raises(Refusal, match="prefix must be at most"):
        translate_request({"text": "a", "prefix": "x" * 1001}, LIMITS)


def test_a_narrow_limit_is_the_default_where_no_width_is_given():
    assert translate_request({"text": "a"}, Limits(beam=2)).way.beam_size == 2


def test_an_explanation_is_of_one_text_that_has_something_in_it():
    for fields in ({"text": ["a"]}, {"text": "a", "stream": True}, {"text": " "}):
        with pytest.raises(Refusal):
            explain_request(fields, LIMITS)


def test_next_words_are_as_many_as_one_program_finds():
    assert alternatives_request({"text": "a", "count": 5}, LIMITS).count == 5
    for fields in ({"text": "a", "count": 6}, {"text": "a", "count": 0}, {"text": []}):
        with pytest.raises(Refusal):
            alternatives_request(fields, LIMITS)


def test_a_form_is_read_as_libretranslate_sends_it():
    fields = read_form(b"q=a+b%D8%B3&source=en&target=fa&alternatives=2")
    request = libre_request(fields, LIMITS)
    assert request.texts == ("a bس",) and request.alternatives == 2
    # curl -d sends letters as they are.
    assert read_form("q=Café&source=auto".encode())["q"] == "Café"
    for body in (b"q=a&q=b", b"q=%ff", b"\xff", b"&".join([b"a=b"] * 20)):
        with pytest.raises(Refusal):
            read_form(body)
    with pytest.raises(Refusal, match="format must be text"):
        libre_request({**fields, "format": "html"}, LIMITS)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
names = st.sampled_from(["text", "prefix", "stream", *Way.__dataclass_fields__])


@given(st.dictionaries(names | st.text(max_size=8), values, max_size=6))
def test_s8_any_json_is_a_request_or_a_refusal(fields):
    fields.setdefault("text", "a")
    for read in (translate_request, explain_request, alternatives_request):
        try:
            read(read_json(json.dumps(fields).encode()), LIMITS)
        except Refusal as refusal:
            assert 400 <= refusal.status < 500


@given(st.binary(max_size=60))
def test_s8_any_bytes_are_fields_or_a_refusal(body):
    for read in (read_json, read_form):
        try:
            assert isinstance(read(body), dict)
        except Refusal as refusal:
            assert refusal.status == 400


def test_s8_malformed_requests_leave_no_trace_and_the_next_is_answered(caplog):
    rng = random.Random(0)
    with fake_client() as (client, _):
        bodies = [*NO_JSON, *(json.dumps(fields).encode() for fields in WRONG)]
        for number in range(200):
            body = bytearray(rng.choice(bodies))
            if body and number % 2:
                body[rng.randrange(len(body))] = rng.randrange(256)
            path = rng.choice(["translate", "explain", "alternatives"])
            response = client.post(
                f"/api/{path}",
                content=bytes(body),
                headers={"content-type": "application/json"},
            )
            assert response.status_code < 500, body
            assert response.status_code >= 400 or "error" not in response.json()
        found = client.post("/api/translate", json={"text": "a"})
        assert found.status_code == 200
    assert not [r for r in caplog.records if r.exc_info]
