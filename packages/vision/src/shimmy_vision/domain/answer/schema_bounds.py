"""What is asked of a caller's JSON Schema before any grammar is made of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from shimmy_vision.domain.answer.json_closing import LONGEST_ENDING
from shimmy_vision.domain.answer.schema_depth import inner_parts
from shimmy_vision.errors import SchemaError

# A grammar's size and the time to make it grow with the divisor; trailing zeros cost nothing.
_LARGEST_DIVISOR = 10_000


def check_bounds(schema: dict[str, Any]) -> None:
    """Raise SchemaError for what would take too long to honour; ``check_depth`` comes first."""
    divisors = sum(_divisor(one) for one in _values_of("multipleOf", schema))
    if divisors > _LARGEST_DIVISOR:
        raise SchemaError(
            "schema-unsupported",
            "The schema cannot be honoured: its multipleOf are too large, together over "
            f"{_LARGEST_DIVISOR:,} without trailing zeros.",
            hint="Remove or rewrite the named feature.",
        )
    if _least(schema) > LONGEST_ENDING:
        raise SchemaError(
            "schema-too-long",
            f"Even the shortest answer to the schema has more than {LONGEST_ENDING:,} characters.",
            hint="Lower minLength or minItems.",
        )


def _values_of(keyword: str, schema: object) -> Iterator[object]:
    """Also where it is a property's name: no number stands there."""
    left = [schema]
    while left:
        one = left.pop()
        if isinstance(one, dict) and keyword in one:
            yield one[keyword]
        left += inner_parts(one)


def _divisor(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    digits = "".join(map(str, Decimal(repr(value)).as_tuple().digits)).rstrip("0")
    return int(digits or 0) if len(digits) <= 20 else 10**20


def _least(schema: object) -> int:
    """A lower bound for the characters of an answer; 1 where nothing is known, as of a $ref."""
    if not isinstance(schema, dict):
        return 1
    found = [_least_of_kind(schema)]
    for keyword, combine in (("anyOf", min), ("oneOf", min), ("allOf", max)):
        options = schema.get(keyword)
        if isinstance(options, list) and options:
            found.append(combine(_least(one) for one in options))
    if "const" in schema:
        found.append(len(json.dumps(schema["const"], ensure_ascii=False)))
    return max(found)


def _least_of_kind(schema: dict[str, Any]) -> int:
    match schema.get("type"):
        case "string":
            return 2 + _count(schema.get("minLength"))
        case "array":
            count = _count(schema.get("minItems"))
            # What "items" says of the first ones, "prefixItems" may say otherwise.
            item = 1 if "prefixItems" in schema else _least(schema.get("items"))
            return 2 + count * item + max(0, count - 1)
        case "object":
            properties, required = schema.get("properties"), schema.get("required")
            if not isinstance(properties, dict) or not isinstance(required, list):
                return 2
            named = [properties.get(one) for one in required if isinstance(one, str)]
            return 2 + sum(3 + _least(one) for one in named)
        case _:
            return 1


def _count(value: object) -> int:
    return max(0, int(value)) if isinstance(value, int | float) and math.isfinite(value) else 0
