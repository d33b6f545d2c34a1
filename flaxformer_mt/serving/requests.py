"""What a client may ask for: bytes -> checked dataclasses.

Anything else is a Refusal that says what was expected, what came and what to do.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qsl

from flaxformer_mt.config import did_you_mean
from flaxformer_mt.decoding.sampling import SampleOptions
from flaxformer_mt.errors import InputError
from flaxformer_mt.serving.limits import Limits, Refusal

Kind = Literal["greedy", "beam", "sample"]
Fields = dict[str, Any]
T = TypeVar("T")

MOST_SHOWN = 40  # characters of what came, in a message


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """How translations are found."""

    search: Kind = "greedy"
    # With "beam": hypotheses at a time, and how many are given.
    beam_size: int = 5
    n_best: int = 1
    # With "sample": see SampleOptions.
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.2
    seed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TranslateRequest:
    """POST /api/translate, and what POST /api/explain has in common with it."""

    texts: tuple[str, ...]
    is_list: bool
    way: Way = Way()
    prefix: str = ""
    stream: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlternativesRequest:
    """POST /api/alternatives"""

    text: str
    prefix: str = ""
    count: int = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class LibreRequest:
    """POST /translate, as LibreTranslate has it."""

    texts: tuple[str, ...]
    is_list: bool
    source: str = "auto"
    target: str = ""
    alternatives: int = 0


# ---- bytes -> fields -----------------------------------------------------------------


def read_json(body: bytes) -> Fields:
    """The fields of a JSON object.

    Raises:
      Refusal: the body is no UTF-8, no JSON, no object, or says a name twice.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(
            400,
            "not_utf8",
            f"the body must be UTF-8; byte {error.start} is not: encode it.",
        ) from None
    try:
        fields = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_number,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise Refusal(
            400, "not_json", f"the body must be JSON; it is not: {_shown(str(reason))}."
        ) from None
    if not isinstance(fields, dict):
        raise Refusal(
            400,
            "not_an_object",
            f"the body must be a JSON object; got {_kind(fields)}: wrap it in braces.",
        )
    return fields


def _unique(pairs: list[tuple[str, Any]]) -> Fields:
    fields: Fields = {}
    for name, value in pairs:
        if name in fields:
            raise ValueError(f"the name {_shown(name)!r} is there twice")
        fields[name] = value
    return fields


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def read_form(body: bytes) -> Fields:
    """The fields of a form (application/x-www-form-urlencoded).

    Raises:
      Refusal: it is no form, or says a name twice.
    """
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),  # curl -d sends letters as they are
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=16,
        )
        return _unique(pairs)
    except ValueError as error:
        raise Refusal(
            400, "not_a_form", f"the body must be a form; it is not: {error}."
        ) from None


# ---- fields -> requests --------------------------------------------------------------


def translate_request(fields: Fields, limits: Limits) -> TranslateRequest:
    """A checked request.

    Raises:
      Refusal: a name, a type or a value is not what was expected.
    """
    known = {"text", "prefix", "stream", *Way.__dataclass_fields__}
    _refuse_unknown(fields, known)
    texts, is_list = _texts(fields, "text", limits)
    stream = _field(fields, "stream", _bool, False)
    if stream and is_list:
        raise _invalid("stream takes one text; got a list: ask for each by itself")
    prefix = _field(fields, "prefix", _text_within(limits), "")
    way = _way(fields, limits)
    return TranslateRequest(
        texts=texts, is_list=is_list, way=way, prefix=prefix, stream=stream
    )


def explain_request(fields: Fields, limits: Limits) -> TranslateRequest:
    """A checked request for one text.

    Raises:
      Refusal: as translate_request; several texts, or a stream, are refused.
    """
    request = translate_request(fields, limits)
    if request.is_list or request.stream:
        raise _invalid("an explanation is of one text and comes as a whole")
    if not request.texts[0].strip():
        raise _invalid("text must have something in it; got an empty one")
    return request


def alternatives_request(fields: Fields, limits: Limits) -> AlternativesRequest:
    """A checked request.

    Raises:
      Refusal: a name, a type or a value is not what was expected.
    """
    _refuse_unknown(fields, {"text", "prefix", "count"})
    texts, is_list = _texts(fields, "text", limits)
    if is_list:
        raise _invalid("text must be a string; got a list: ask for each by itself")
    count = _field(fields, "count", _int, 5)
    _require("count", 1 <= count <= limits.alternatives, count, limits.alternatives)
    prefix = _field(fields, "prefix", _text_within(limits), "")
    return AlternativesRequest(text=texts[0], prefix=prefix, count=count)


def libre_request(fields: Fields, limits: Limits) -> LibreRequest:
    """A checked request. What LibreTranslate has beside these and cannot change a
    translation here (a key) is let be.

    Raises:
      Refusal: a name, a type or a value is not what was expected.
    """
    known = {"q", "source", "target", "format", "alternatives", "api_key"}
    _refuse_unknown(fields, known)
    texts, is_list = _texts(fields, "q", limits)
    if fields.get("format", "text") != "text":
        raise _invalid("format must be text, since markup would be translated")
    digits = fields.get("alternatives", 0)
    if isinstance(digits, str) and digits.isascii() and digits.isdecimal():
        fields = {**fields, "alternatives": int(digits[:4])}  # out of a form
    alternatives = _field(fields, "alternatives", _int, 0)
    most = limits.beam - 1
    if not 0 <= alternatives <= most:
        raise _invalid(f"alternatives must be 0 to {most}; got {alternatives}")
    return LibreRequest(
        texts=texts,
        is_list=is_list,
        source=_field(fields, "source", _text_within(limits), "auto"),
        target=_field(fields, "target", _text_within(limits), ""),
        alternatives=alternatives,
    )


def _way(fields: Fields, limits: Limits) -> Way:
    kind = _field(fields, "search", _string, "greedy")
    if kind not in ("greedy", "beam", "sample"):
        raise _invalid(f"search must be greedy, beam or sample; got {_shown(kind)!r}")
    readers: dict[str, Callable] = {
        **dict.fromkeys(("beam_size", "n_best", "top_k", "seed"), _int),
        **dict.fromkeys(("temperature", "top_p", "min_p"), _float),
        "repetition_penalty": _float,
    }
    defaults = {name: getattr(Way, name) for name in readers}
    defaults["beam_size"] = limits.usual_beam
    values = {
        name: _field(fields, name, read, defaults[name])
        for name, read in readers.items()
    }
    way = Way(search=kind, **values)
    _check_way(way, limits)
    return way


def _check_way(way: Way, limits: Limits) -> None:
    _require("beam_size", 1 <= way.beam_size <= limits.beam, way.beam_size, limits.beam)
    most = way.beam_size if way.search == "beam" else 1
    if not 1 <= way.n_best <= most:
        more = "" if way.search == "beam" else ": several come with search beam alone"
        raise _invalid(f"n_best must be 1 to {most}; got {way.n_best}{more}")
    if not 0 <= way.seed < 2**31:
        raise _invalid(f"seed must be at least 0 and below 2**31; got {way.seed}")
    if way.top_k >= 2**31:
        raise _invalid(f"top_k must be below 2**31; got {way.top_k}")
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    try:
        SampleOptions(**{name: getattr(way, name) for name in names})
    except InputError as error:
        raise _invalid(str(error).rstrip(".")) from None


def _texts(fields: Fields, name: str, limits: Limits) -> tuple[tuple[str, ...], bool]:
    """(the texts, whether they came as a list)."""
    if name not in fields:
        raise _invalid(f"{name} must be given: the text to translate")
    value = fields[name]
    texts = value if isinstance(value, list) else [value]
    if len(texts) > limits.sentences:
        raise Refusal(
            413,
            "too_many",
            f"{name} must be at most {limits.sentences} texts; got {len(texts)}: send "
            "them in several requests.",
        )
    if not texts:
        raise _invalid(f"{name} must hold at least one text; got an empty list")
    read = _text_within(limits)
    return tuple(read(name, text) for text in texts), isinstance(value, list)


def _text_within(limits: Limits) -> Callable[[str, Any], str]:
    def read(name: str, value: Any) -> str:
        text = _string(name, value)
        if len(text) > limits.characters:
            raise Refusal(
                413,
                "too_long",
                f"{name} must be at most {limits.characters:,} characters; got "
                f"{len(text):,}: split it.",
            )
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise _invalid(f"{name} must be text; got half of a surrogate pair")
        return text

    return read


def _field(
    fields: Mapping[str, Any], name: str, read: Callable[[str, Any], T], default: T
) -> T:
    return read(name, fields[name]) if name in fields else default


def _string(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _invalid(f"{name} must be a string; got {_kind(value)}")
    return value


def _bool(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _invalid(f"{name} must be true or false; got {_kind(value)}")
    return value


def _int(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _invalid(f"{name} must be a whole number; got {_kind(value)}")
    if abs(value) > 2**53:
        raise _invalid(f"{name} must be a number that is usual; got a huge one")
    return value


def _float(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _invalid(f"{name} must be a number; got {_kind(value)}")
    if abs(value) > 2**53:
        raise _invalid(f"{name} must be a number that is usual; got a huge one")
    return float(value)


def _require(name: str, is_right: bool, value: int, most: int) -> None:
    if not is_right:
        raise _invalid(f"{name} must be 1 to {most}; got {value}")


def _refuse_unknown(fields: Fields, known: set[str]) -> None:
    for name in fields:
        if name not in known:
            hint = did_you_mean(name[:MOST_SHOWN], sorted(known))
            names = ", ".join(sorted(known))
            raise _invalid(
                f"unknown name {_shown(name)!r}" + (hint or f"; there are {names}")
            )


def _invalid(sentence: str) -> Refusal:
    end = "" if sentence.endswith("?") else "."
    return Refusal(422, "invalid", sentence.rstrip(".") + end)


def _kind(value: Any) -> str:
    """What a value is, in JSON's words."""
    names = {
        **{bool: "a boolean", int: "a number", float: "a number", str: "a string"},
        **{list: "a list", dict: "an object", type(None): "null"},
    }
    return names[type(value)]


def _shown(text: str) -> str:
    """As much of what came as a message can hold."""
    return text if len(text) <= MOST_SHOWN * 4 else text[: MOST_SHOWN * 4] + " ..."
