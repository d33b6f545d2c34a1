"""The description of the API, as OpenAPI 3.1 has it: what GET /openapi.json answers."""

from typing import Any

from flaxformer_mt import __version__
from flaxformer_mt.serving.limits import Limits

Schema = dict[str, Any]

TEXT, NUMBER, WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
REFUSALS = {
    "400": "the body is not what it says",
    "403": "a name or a page that is not this server's",
    "405": "another method is asked for",
    "413": "too long, or too many",
    "415": "another Content-Type is asked for",
    "422": "a value is not what was expected",
    "500": "a fault of the server, which its log has under the number that is given",
    "503": "too many wait, or the model is not ready; Retry-After says for how long",
    "504": "it took too long",
}


def description(limits: Limits) -> Schema:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "flaxformer-mt",
            "version": __version__,
            "description": "Translates texts with a model that was trained here.",
        },
        "paths": {
            "/api/model": _get("What the model is", _ref("Model")),
            "/api/translate": _post(
                "Translates a text, or several",
                _ref("TranslateRequest"),
                _ref("TranslateAnswer"),
                stream=True,
            ),
            "/api/explain": _post(
                "How a text is translated: attention, probabilities, alternatives",
                _ref("ExplainRequest"),
                _ref("Explanation"),
            ),
            "/api/alternatives": _post(
                "The likeliest next words of a translation",
                _ref("AlternativesRequest"),
                _ref("AlternativesAnswer"),
            ),
            "/api/training": _get(
                "How the training of the run goes", {"type": "object"}, _AFTER
            ),
            "/healthz": _get("Whether the process is alive", {"type": "object"}),
            "/readyz": _get("Whether the model is ready", {"type": "object"}),
            "/version": _get("Versions of program and model", {"type": "object"}),
            "/translate": _post(
                "Translates, as LibreTranslate has it",
                _ref("LibreRequest"),
                _ref("LibreAnswer"),
                form=True,
            ),
            "/languages": _get(
                "Languages, as LibreTranslate has it", _list({"type": "object"})
            ),
        },
        "components": {"schemas": schemas(limits)},
    }


def schemas(limits: Limits) -> Schema:
    """The parts that the paths refer to."""
    text = {"type": "string", "maxLength": limits.characters}
    several = {**_list(text), "minItems": 1, "maxItems": limits.sentences}
    return {
        "Model": _object(
            name=TEXT,
            src_language=TEXT,
            tgt_language=TEXT,
            src_direction={"enum": ["ltr", "rtl", "auto"]},
            tgt_direction={"enum": ["ltr", "rtl", "auto"]},
            max_length=WHOLE,
            limits={"type": "object"},
            is_training={"type": "boolean"},
            examples=_list(TEXT),
            version=TEXT,
        ),
        "TranslateRequest": _object(
            required=["text"],
            text={"oneOf": [text, several]},
            **_way(limits, text),
            stream={"type": "boolean", "default": False},
        ),
        "TranslateAnswer": _object(
            translations=_list(_ref("Translation")), model=TEXT, seconds=NUMBER
        ),
        "Translation": _object(
            text=TEXT,
            hypotheses=_list(_ref("Hypothesis")),
            truncated={"type": "boolean"},
            notes=_list(TEXT),
        ),
        "Hypothesis": _object(
            text=TEXT,
            score=NUMBER,
            log_probability=NUMBER,
            tokens=_list(TEXT),
            token_log_probabilities=_list(NUMBER),
        ),
        "ExplainRequest": _object(required=["text"], text=text, **_way(limits, text)),
        "Explanation": _object(
            src_tokens=_list(TEXT),
            tgt_tokens=_list(TEXT),
            log_probabilities=_list(NUMBER),
            alternatives=_list(_list({"type": "array"})),
            attention=_list(_list(NUMBER)),
            text=TEXT,
            score=NUMBER,
        ),
        "AlternativesRequest": _object(
            required=["text"],
            text=text,
            prefix=text,
            count=_whole(1, limits.alternatives, min(5, limits.alternatives)),
        ),
        "AlternativesAnswer": _object(
            alternatives=_list(_object(word=TEXT, probability=NUMBER))
        ),
        "LibreRequest": _object(
            required=["q", "source", "target"],
            q={"oneOf": [text, several]},
            source=TEXT,
            target=TEXT,
            format={"enum": ["text"]},
            alternatives=_whole(0, limits.beam - 1, 0),
            api_key=TEXT,
        ),
        "LibreAnswer": _object(translatedText={"oneOf": [TEXT, _list(TEXT)]}),
        # LibreTranslate's routes say the message alone.
        "Error": _object(error={"oneOf": [_object(code=TEXT, message=TEXT), TEXT]}),
    }


_AFTER = [
    {
        "name": "after",
        "in": "query",
        "description": "A step: what is older is left out.",
        "schema": {"type": "integer", "minimum": 0, "default": 0},
    }
]


def _way(limits: Limits, text: Schema) -> Schema:
    """The options of a search."""
    return {
        "search": {"enum": ["greedy", "beam", "sample"], "default": "greedy"},
        "beam_size": _whole(1, limits.beam, min(5, limits.beam)),
        "n_best": _whole(1, limits.beam, 1),
        "temperature": {**NUMBER, "minimum": 0, "maximum": 1000, "default": 1.0},
        "top_k": {**WHOLE, "minimum": 0, "default": 0},
        "top_p": {**NUMBER, "exclusiveMinimum": 0, "maximum": 1, "default": 1.0},
        "min_p": {**NUMBER, "minimum": 0, "maximum": 1, "default": 0.0},
        "repetition_penalty": {
            **NUMBER,
            "minimum": 0.001,
            "maximum": 1000,
            "default": 1.2,
            "description": "With search sample alone.",
        },
        "seed": _whole(0, 2**31 - 1, 0),
        "prefix": {**text, "default": ""},
    }


def _whole(least: int, most: int, default: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most, "default": default}


def _object(required: list[str] | None = None, **properties: Schema) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    return {**schema, "required": required} if required else schema


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema: Schema, kind: str = "application/json") -> Schema:
    return {kind: {"schema": schema}}


def _answers(schema: Schema, refusals: list[str], *, stream: bool = False) -> Schema:
    content = _content(schema)
    if stream:
        content |= _content(TEXT, "text/event-stream")
    answers = {"200": {"description": "the answer", "content": content}}
    for status in refusals:
        answers[status] = {
            "description": REFUSALS[status],
            "content": _content(_ref("Error")),
        }
    return answers


def _get(summary: str, schema: Schema, parameters: list | None = None) -> Schema:
    operation = {
        "summary": summary,
        "responses": _answers(schema, ["403", "405", "500", "503"]),
    }
    return {"get": {**operation, "parameters": parameters or []}}


def _post(
    summary: str,
    body: Schema,
    schema: Schema,
    *,
    stream: bool = False,
    form: bool = False,
) -> Schema:
    content = _content(body)
    if form:
        content |= _content(body, "application/x-www-form-urlencoded")
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": content},
            "responses": _answers(schema, list(REFUSALS), stream=stream),
        }
    }
