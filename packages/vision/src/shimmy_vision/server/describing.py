"""Pieces of the API's description that FastAPI cannot read off the handlers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from pydantic import BaseModel

from shimmy_vision.domain.answer.analysis_request import (
    MODES,
    CustomQuestion,
    Question,
    StandardQuestion,
)
from shimmy_vision.domain.answer.result_schema import result_schema
from shimmy_vision.server.bodies import SourceBody, VisionBody, VisionOptions

Json: TypeAlias = dict[str, Any]

_STATUSES: dict[int, str] = {
    400: "The request or the image is wrong.",
    401: "No licence on this machine, or no API key.",
    402: "The licence has run out, or its pages for this month.",
    403: "The licence does not cover this machine, or this page may not ask.",
    404: "Not found.",
    405: "Another method is wanted.",
    408: "The body did not arrive in time.",
    413: "Larger than this server takes.",
    415: "Of a type that is not taken.",
    422: "The fields or the schema cannot be honoured.",
    429: "Too much at once; see Retry-After.",
    499: "Stopped by the client.",
    500: "A mistake of the server.",
    502: "The engine failed.",
    503: "Something is not installed, or the server is stopping; the hint says what to do.",
    504: "Not done in the time allowed.",
}
ERROR_SCHEMA: Json = {
    "type": "object",
    "title": "Error",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "hint", "retryable", "type", "param"],
            "additionalProperties": False,
            "properties": {
                "code": {"type": "string", "description": "Stable, in kebab case."},
                "message": {"type": "string", "description": "What happened."},
                "hint": {"type": "string", "description": "What to do next; may be empty."},
                "retryable": {
                    "type": "boolean",
                    "description": "The same request may succeed later.",
                },
                "type": {"type": "string", "description": "A family of codes."},
                "param": {"type": "null", "description": "For OpenAI's clients."},
            },
        }
    },
}
REASON: Json = ERROR_SCHEMA["properties"]["error"]
EVENTS = ("progress", "written", "restarted", "page", "result", "done", "error")
_ERROR_REF: Json = {"$ref": "#/components/schemas/Error"}


def errors(*statuses: int) -> dict[int | str, Json]:
    """Responses with the error shape; 401, 403, 408 and 500 may come from every endpoint."""
    always = (401, 403, 408, 500)
    return {
        status: {
            "description": _STATUSES[status],
            "content": {"application/json": {"schema": _ERROR_REF}},
        }
        for status in sorted({*statuses, *always})
    }


def json_body(model: type[BaseModel]) -> Json:
    """``requestBody`` of one JSON object."""
    return {"required": True, "content": {"application/json": {"schema": schema_of(model)}}}


def vision_body(model: type[SourceBody] = VisionBody) -> Json:
    """``requestBody`` of an analysis, in its three forms."""
    form, whole = schema_of(VisionOptions), schema_of(model)
    added = whole["properties"].keys() - schema_of(SourceBody)["properties"].keys()
    binary: Json = {"type": "string", "format": "binary"}
    form = {
        **form,
        "title": whole["title"].replace("Body", "Form"),
        "required": ["file"],
        "properties": {
            "file": binary,
            **form["properties"],
            **{name: whole["properties"][name] for name in sorted(added)},
            "schema": {"type": "string", "description": "JSON Schema, as JSON in a string."},
        },
    }
    content: Json = {
        "application/json": {"schema": whole},
        "multipart/form-data": {"schema": form},
    }
    for kind in ("image/png", "image/jpeg", "image/webp", "application/pdf"):
        content[kind] = {"schema": binary}
    return {"required": True, "content": content}


def result_response() -> Json:
    """A result of any mode, or a document's pages; or events."""
    pages = record(pages=pages_schema())
    return {
        "description": "The result; for a PDF one a page.",
        "content": {
            "application/json": {"schema": {"anyOf": [*result_schemas(), pages]}},
            "text/event-stream": {"schema": event_schema(*EVENTS)},
        },
    }


def pages_schema() -> Json:
    """A document's pages: each with its result or its error."""
    number: Json = {"type": "integer", "minimum": 1}
    result: Json = {"anyOf": [*result_schemas()]}
    with_result, with_error = record(page=number, result=result), record(page=number, error=REASON)
    return {"type": "array", "items": {"anyOf": [with_result, with_error]}}


def event_schema(*names: str) -> Json:
    """One server-sent event of ours; without ``names`` it has none."""
    event: Json = {"event": {"enum": list(names)}} if names else {}
    data: Json = {"type": "string", "contentMediaType": "application/json"}
    return {"type": "object", "required": [*event, "data"], "properties": {**event, "data": data}}


def schema_of(model: type[BaseModel]) -> Json:
    """A model's JSON Schema, complete in itself; for models that do not contain themselves."""
    schema = model.model_json_schema(ref_template="{model}")
    parts = schema.pop("$defs", {})
    complete: Json = _with_parts(schema, parts)
    return complete


def _with_parts(schema: Any, parts: Json) -> Any:
    """``schema`` with each reference to one of ``parts`` replaced by it."""
    match schema:
        case {"$ref": str(name)}:
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            return {**_with_parts(parts[name], parts), **beside}
        case dict():
            return {key: _with_parts(value, parts) for key, value in schema.items()}
        case list():
            return [_with_parts(one, parts) for one in schema]
        case _:
            return schema


def result_schemas() -> Iterable[Json]:
    """Of the result of each mode, and of an own question."""
    standard: list[Question] = [StandardQuestion(mode) for mode in MODES]
    questions = [*standard, CustomQuestion(schema={})]
    for question in questions:
        schema = result_schema(question)
        schema.pop("$schema")
        yield schema


def record(optional: Mapping[str, Json] | None = None, **properties: Json) -> Json:
    """An object that has ``properties``, may have ``optional`` ones, and no others."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": {**properties, **(optional or {})},
        "additionalProperties": False,
    }
