"""Pieces of the API's description that FastAPI cannot read off the handlers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from pydantic import BaseModel

from shimmy_vision.domain.answer.analysis_request import (
    MODES,
    CustomQuestion,
    Question,
    StandardQuestion,
)
from shimmy_vision.domain.answer.result_schema import result_schema
from shimmy_vision.server.bodies import VisionBody, VisionOptions

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


def vision_body() -> Json:
    """``requestBody`` of an analysis, in its three forms."""
    form = schema_of(VisionOptions)
    binary: Json = {"type": "string", "format": "binary"}
    form = {
        **form,
        "title": "VisionForm",
        "required": ["file"],
        "properties": {
            "file": binary,
            **form["properties"],
            "schema": {"type": "string", "description": "JSON Schema, as JSON in a string."},
        },
    }
    content: Json = {
        "application/json": {"schema": schema_of(VisionBody)},
        "multipart/form-data": {"schema": form},
    }
    for kind in ("image/png", "image/jpeg", "image/webp", "application/pdf"):
        content[kind] = {"schema": binary}
    return {"required": True, "content": content}


def result_response() -> Json:
    """A result of any mode, or a document's pages; or events."""
    result: Json = {"anyOf": [*_result_schemas()]}
    page = {
        "anyOf": [
            _record(page={"type": "integer", "minimum": 1}, result=result),
            _record(
                page={"type": "integer", "minimum": 1},
                error=ERROR_SCHEMA["properties"]["error"],
            ),
        ]
    }
    pages = _record(pages={"type": "array", "items": page})
    return {
        "description": "The result; for a PDF one a page.",
        "content": {
            "application/json": {"schema": {"anyOf": [*_result_schemas(), pages]}},
            "text/event-stream": {"schema": {"type": "string"}},
        },
    }


def schema_of(model: type[BaseModel]) -> Json:
    """A model's JSON Schema, complete in itself where it refers to no other."""
    return model.model_json_schema(ref_template="#/components/schemas/{model}")


def _result_schemas() -> Iterable[Json]:
    standard: list[Question] = [StandardQuestion(mode) for mode in MODES]
    questions = [*standard, CustomQuestion(schema={})]
    for question in questions:
        schema = result_schema(question)
        schema.pop("$schema")
        yield schema


def _record(**properties: Json) -> Json:
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }
