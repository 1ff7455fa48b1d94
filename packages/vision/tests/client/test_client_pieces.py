"""The parts of the client that need no server: events in pieces, types, callbacks."""

from __future__ import annotations

import itertools
import json
import types
import typing
from functools import partial
from typing import Any, Literal, NotRequired, get_args, get_origin, get_type_hints

import pytest
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from hypothesis import given
from hypothesis import strategies as st
from serving import PlayedAnalyst

from shimmy_vision.client import CallbackRefused, answers, calls, check_callback
from shimmy_vision.client.answers import ErrorRecord
from shimmy_vision.client.event_stream import EventStream
from shimmy_vision.client.results import Result
from shimmy_vision.domain.answer.analysis_request import (
    MODES,
    CustomQuestion,
    Question,
    StandardQuestion,
)
from shimmy_vision.domain.answer.result_schema import result_schema
from shimmy_vision.domain.serving.callback_signature import sign_callback
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions
from shimmy_vision.server.describing import ERROR_SCHEMA
from shimmy_vision.server.docs_routes import describe_api

DESCRIBED = describe_api(create_app(PlayedAnalyst(lambda *_: {}), ServerOptions(), lambda: None))


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


def read(pieces: list[bytes]) -> list[tuple[str, str]]:
    stream = EventStream()
    return [event for piece in pieces for event in stream.feed(piece)]


_CUTS = st.lists(st.integers(0, 10_000), max_size=30)


@given(
    events=st.lists(st.tuples(st.sampled_from(["progress", "written", "x"]), st.text())),
    cuts=_CUTS,
    end=st.sampled_from([b"\n", b"\r", b"\r\n"]),
)
def test_events_come_back_however_they_are_cut(
    events: list[tuple[str, str]], cuts: list[int], end: bytes
) -> None:
    sent = [(name, json.dumps({"text": text})) for name, text in events]
    data = KEEPALIVE_COMMENT.join(
        format_sse_event(event=name, data_str=text).replace(b"\n", end) for name, text in sent
    )
    assert read(pieces_of(data, cuts)) == sent


@given(
    data=st.lists(
        st.sampled_from([b"data", b"event", b":", b" ", b"\r", b"\n", b"x", "é".encode(), b"\xff",
                         b"\xef\xbb\xbf"])
    ).map(b"".join),
    cuts=_CUTS,
)  # fmt: skip
def test_any_bytes_are_read_alike_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    assert read(pieces_of(data, cuts)) == read([data])


def test_the_rules_of_event_streams() -> None:
    text = (
        "\ufeffdata: a\ndata:b\ndata:  c\n\n"
        ": said aside\nevent: e\nid: 7\nretry: 1\n\n"
        "event: f\r\ndata\r\rdata: é\n\ndata: unfinished\n"
    )
    assert read([text.encode()]) == [("message", "a\nb\n c"), ("f", ""), ("message", "é")]


def any_order(choices: list[Any]) -> list[Any]:
    return sorted(choices, key=partial(json.dumps, sort_keys=True))


def schema_of(hint: Any) -> Any:
    """JSON Schema of a type, as far as result types need one."""
    origin, arguments = get_origin(hint), get_args(hint)
    if typing.is_typeddict(hint):
        fields = get_type_hints(hint, include_extras=True)
        optional = {name for name, field in fields.items() if get_origin(field) is NotRequired}
        bare = {
            name: get_args(field)[0] if name in optional else field
            for name, field in fields.items()
        }
        return {
            "type": "object",
            "properties": {name: schema_of(field) for name, field in bare.items()},
            "required": sorted(fields.keys() - optional),
        }
    if origin is list:
        return {"type": "array", "items": schema_of(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": any_order([schema_of(argument) for argument in arguments])}
    names = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
    return {} if hint is Any else {"type": names[hint]}


_SAID_ELSEWHERE = {
    "description",
    "format",
    "default",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "pattern",
    "title",
}


def bare(schema: Any) -> Any:
    """A published schema without what a Python type cannot say."""
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key not in _SAID_ELSEWHERE}
    if isinstance(kept.get("type"), list):
        return {"anyOf": any_order([{"type": name} for name in kept["type"]])}
    if "const" in kept:
        return {"enum": [kept["const"]]}
    if isinstance(kept.get("properties"), dict):
        properties = kept["properties"]
        kept["properties"] = {name: bare(value) for name, value in properties.items()}
        # What has a default is not asked for, and always answered.
        constant = {name for name, value in properties.items() if "default" in value}
        kept["required"] = sorted({*kept.get("required", ()), *constant})
    if kept.get("additionalProperties") is False:
        del kept["additionalProperties"]
    for key in ("items", "additionalProperties"):
        if key in kept:
            kept[key] = bare(kept[key])
    if "anyOf" in kept:
        choices = [bare(choice) for choice in kept["anyOf"]]
        # A choice of a choice is one.
        kept["anyOf"] = any_order(
            [one for choice in choices for one in choice.get("anyOf", [choice])]
        )
    return kept


def test_result_types_are_the_published_schemas() -> None:
    ours = schema_of(Result)
    questions: list[Question] = [*map(StandardQuestion, MODES), CustomQuestion(schema={})]
    published = [bare(result_schema(question)) for question in questions]
    parts: dict[str, Any] = {}
    for schema in published:
        parts |= schema["properties"]
    parts["answer"] = {}
    assert ours["properties"] == parts
    always = set.intersection(*(set(schema["required"]) for schema in published))
    assert set(ours["required"]) == always


def test_the_error_type_is_the_published_one() -> None:
    assert schema_of(ErrorRecord) == bare(ERROR_SCHEMA["properties"]["error"])


@pytest.mark.parametrize(
    ("ours", "method", "path", "part"),
    [
        (answers.OrderedJob, "post", "/api/vision/jobs", ()),
        (answers.JobState, "get", "/api/vision/jobs", ("jobs",)),
        (answers.Job, "get", "/api/vision/jobs/{job_id}", ()),
        (answers.StoppedJob, "delete", "/api/vision/jobs/{job_id}", ()),
        (answers.ServedModel, "get", "/v1/models", ("data",)),
        (answers.Usage, "get", "/api/license/usage", ()),
        (answers.Validation, "post", "/api/license/validate", ()),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_answer_types_are_the_described_ones(
    ours: Any, method: str, path: str, part: tuple[str, ...]
) -> None:
    responses = DESCRIBED["paths"][path][method]["responses"]
    (success,) = [response for status, response in responses.items() if status.startswith("2")]
    described = resolved(success["content"]["application/json"]["schema"])
    for name in part:
        described = described["properties"][name]["items"]
    compared = [without_results(bare(described)), without_results(schema_of(ours))]
    assert compared[0] == compared[1]


def resolved(schema: Any) -> Any:
    """With what it refers to in its place."""
    if isinstance(schema, list):
        return [resolved(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return resolved(DESCRIBED["components"]["schemas"][name])
    return {key: resolved(value) for key, value in schema.items()}


def without_results(schema: Any) -> Any:
    """Results and pages are compared by themselves, mode for mode."""
    for name in ("result", "pages", "error"):
        if name in schema["properties"]:
            schema["properties"][name] = {}
    return schema


BODY, SECRET, NOW = b'{"id": "j"}', "s3cret", 1_790_000_000


def test_a_callback_of_the_server_is_accepted() -> None:
    header = sign_callback(BODY, SECRET, NOW)
    for moment in (NOW - 300, NOW, NOW + 300):
        check_callback(BODY, header, SECRET, moment)
    other = sign_callback(BODY, "new", NOW).partition(",")[2]
    check_callback(BODY, f"{header},{other}", SECRET, NOW)
    check_callback(BODY, f"{header}, {other}", "new", NOW)


@given(moment=st.integers(NOW - 10_000, NOW + 10_000), body=st.binary(), other=st.binary())
def test_any_other_callback_is_refused(moment: int, body: bytes, other: bytes) -> None:
    header = sign_callback(body, SECRET, moment)
    if body != other:
        with pytest.raises(CallbackRefused):
            check_callback(other, header, SECRET, moment)
    with pytest.raises(CallbackRefused):
        check_callback(body, header, SECRET + "x", moment)
    if abs(moment - NOW) > 300:
        with pytest.raises(CallbackRefused):
            check_callback(body, header, SECRET, NOW)


@pytest.mark.parametrize(
    "header", ["", "t=1", "v1=00", "t=x,v1=00", "t=1,t=2,v1=0", "t=\u0661,v1=é"]
)
def test_a_header_of_another_shape_is_refused(header: str) -> None:
    with pytest.raises(CallbackRefused):
        check_callback(BODY, header, SECRET, 1)


def test_each_try_of_a_call_has_its_key_and_each_call_another() -> None:
    first, second = (calls.image_analysis(b"\x89PNG", {}) for _ in range(2))
    keys = [one.arguments()["headers"]["Idempotency-Key"] for one in (first, first, second)]
    assert keys[0] == keys[1] != keys[2]
    assert "headers" not in calls.MODELS.arguments()
