"""What Stripe's own description says, where this machine has it: parameters and operations.

Every reply the SDK gets in these tests is held against it as well, in ``conftest``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from shimmy_sandbox.stripe_api.parameters import known_parameters
from shimmy_sandbox.stripe_api.routes import ROUTES, route_for

from . import contract

# Real operations that the description leaves out.
BESIDE = {
    "DELETE customers/{id}",
    "GET account",
    "GET customers/{id}/payment_methods",
    "GET invoices/{id}/lines",
    "GET payment_method_configurations",
    "POST payment_method_configurations/{id}",
    "POST payment_methods/{id}/attach",
    "POST payment_methods/{id}/detach",
}
# Objects of which the description keeps the branches of card and link only.
TRIMMED = {"POST checkout/sessions.payment_method_options"}


def described() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation with the schema of its parameters."""
    for path, operations in contract.document().get("paths", {}).items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path.removeprefix('/v1/')}"
            content = operation.get("requestBody", {}).get("content", {})
            schema: Any = next((one["schema"] for one in content.values()), {})
            names = dict(schema.get("properties", {}))
            required = set(schema.get("required", []))
            for one in operation.get("parameters", []):
                if one["in"] == "query":
                    names[one["name"]] = one["schema"]
                    required |= {one["name"]} if one.get("required") else set()
            yield name, {"properties": names, "required": sorted(required), "type": "object"}


def compare(kind: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """Where the sandbox's table and the description differ; what is not simulated is not read."""
    if kind == "x":
        return
    if "anyOf" in schema:
        yield from _compare_choices(kind, schema["anyOf"], path)
    elif isinstance(kind, dict):
        yield from _compare_object(kind, schema, path)
    elif isinstance(kind, list):
        yield from compare(kind[0], schema.get("items", {}), f"{path}[]")
    elif kind.startswith("e"):
        listed = {one for one in schema.get("enum", []) if one}
        if set(kind.partition(":")[2].split("|")) != listed:
            yield f"{path}: other choices"
    elif kind in _TYPES:
        there = schema.get("type")
        if _TYPES[kind] not in (there if isinstance(there, list) else [there]):
            yield f"{path}: {_TYPES[kind]} there is {there}"


_TYPES = {"s": "string", "i": "integer", "b": "boolean", "n": "number"}


def _compare_choices(kind: Any, shapes: list[Any], path: str) -> Iterator[str]:
    kinds = kind["|"] if isinstance(kind, dict) and "|" in kind else [kind]
    for one in shapes:
        if one.get("type") != "null" and one.get("enum") != [""]:
            found = [list(compare(each, one, path)) for each in kinds if each != "c"]
            if all(found):
                yield from min(found, key=len)


def _compare_object(kind: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    there, needed = set(schema.get("properties", {})), set(schema.get("required", []))
    mine = {name.removesuffix("*") for name in kind}
    required = {name.removesuffix("*") for name in kind if name.endswith("*")}
    if path in TRIMMED:
        mine &= there
    if mine != there or required != needed:
        yield f"{path}: {sorted(mine ^ there)} {sorted(required ^ needed)}"
    for name, below in kind.items():
        plain = name.removesuffix("*")
        if plain in there:
            yield from compare(below, schema["properties"][plain], f"{path}.{plain}")


def test_our_parameters_are_stripes(capfd: pytest.CaptureFixture[str]) -> None:
    """Where the description is absent, this says so on the terminal and compares nothing."""
    with capfd.disabled():
        # Workers of a parallel run share only their standard error with the terminal.
        print(f"\nstripe_api: {contract.WHERE}", file=sys.stderr)
    wrong = [
        problem
        for name, schema in described()
        for problem in compare(known_parameters()[name], schema, name)
    ]
    assert not wrong


def test_every_operation_has_parameters_and_a_handler() -> None:
    assert set(ROUTES) == set(known_parameters())
    there = {name for name, _ in described()}
    assert not there or set(ROUTES) - there == BESIDE
    assert there <= set(ROUTES)


def test_fixed_paths_come_before_ids() -> None:
    assert route_for("GET", "customers/search") == ("GET customers/search", "")
    assert route_for("GET", "customers/cus_1") == ("GET customers/{id}", "cus_1")
    assert route_for("POST", "invoices/create_preview") == ("POST invoices/create_preview", "")
    assert route_for("GET", "customers/") is None
    assert route_for("GET", "customers/a/b/c") is None


def test_a_wrong_reply_is_noticed() -> None:
    if not contract.FILE.is_file():
        print(contract.WHERE)
        return
    assert contract.problems("get", "/v1/prices/price_1", 200, {"id": 1})
    assert contract.problems("get", "/v1/prices/price_1", 400, {"error": {"message": "x"}})
    listed = {"object": "list", "data": [{"object": "line_item", "id": "il_1"}]}
    assert contract.problems("get", "/v1/invoices/in_1/lines", 200, listed)
    assert not contract.problems("get", "/v1/prices/p", 400, {
        "error": {"message": "x", "type": "api_error"}
    })  # fmt: skip
    assert contract.operation_of("POST", "/v1/invoices/create_preview") == (
        "/v1/invoices/create_preview"
    )
