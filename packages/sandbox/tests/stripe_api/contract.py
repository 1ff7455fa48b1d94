"""Stripe's own description of its API, where this machine has it: replies are held against it.

The project builds and passes without that file; ``WHERE`` says in the tests' output which it was.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

_NAME = "stripe-openapi-trimmed.json"
_BESIDE = Path(__file__).resolve().parents[5] / "shared" / "data" / _NAME
FILE = Path(os.environ.get("SHIMMY_STRIPE_OPENAPI", _BESIDE))
WHERE = (
    f"replies are validated against {FILE.name}"
    if FILE.is_file()
    else f"REPLIES ARE NOT VALIDATED: {_NAME} is not here; name it in SHIMMY_STRIPE_OPENAPI"
)


@cache
def document() -> Mapping[str, Any]:
    """The description; empty where the file is absent."""
    if not FILE.is_file():
        return {}
    read: Mapping[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return read


def operation_of(method: str, path: str) -> str | None:
    """``/v1/prices/{id}`` for a path like ``/v1/prices/price_1``."""
    found = [
        pattern
        for pattern, operations in document().get("paths", {}).items()
        if method.lower() in operations and re.fullmatch(re.sub(r"{\w+}", "[^/]+", pattern), path)
    ]
    # /v1/invoices/create_preview is no invoice.
    return min(found, key=lambda pattern: pattern.count("{"), default=None)


@cache
def _validator(method: str, pattern: str, status: str) -> Draft202012Validator:
    registry: Any = Registry().with_resource(
        "contract", Resource.from_contents(document(), default_specification=DRAFT202012)
    )
    step = f"{pattern.replace('~', '~0').replace('/', '~1')}/{method}/responses/{status}"
    pointer = f"contract#/paths/{step}/content/application~1json/schema"
    return Draft202012Validator({"$ref": pointer}, registry=registry)


@cache
def _object_validator(kind: str) -> Draft202012Validator:
    registry: Any = Registry().with_resource(
        "contract", Resource.from_contents(document(), default_specification=DRAFT202012)
    )
    return Draft202012Validator({"$ref": f"contract#/components/schemas/{kind}"}, registry=registry)


def event_problems(event: Any) -> list[str]:
    """What in the object that an event is about is not as the description says."""
    held = event["data"]["object"]
    return [f"{event['type']} {problem}" for problem in object_problems(held)]


def object_problems(held: Any) -> list[str]:
    """What in an object is not as the description says; nothing where it says nothing."""
    if held["object"] not in document().get("components", {}).get("schemas", {}):
        return []
    found = _object_validator(held["object"]).iter_errors(held)
    return [f"{error.json_path}: {error.message[:200]}" for error in found]


def problems(method: str, path: str, status: int, body: Any) -> list[str]:
    """What in a reply is not as the description says; nothing where it says nothing.

    A list that it leaves out may still hold objects that it describes.
    """
    pattern = operation_of(method, path)
    if pattern is None:
        listed = body.get("data", []) if body.get("object") == "list" else []
        return [problem for one in listed for problem in object_problems(one)]
    validator = _validator(method.lower(), pattern, "200" if status == 200 else "default")
    found = [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(body)]
    if pattern == "/v1/events" and status == 200:
        found += [problem for event in body["data"] for problem in event_problems(event)]
    return found
