"""Whether a JSON Schema has any finite answer: required parts must not need themselves."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any
from urllib.parse import unquote

# A chain of definitions is settled one link a round; longer ones are taken to end well.
_ROUNDS = 200


def has_finite_answer(schema: dict[str, Any]) -> bool:
    """False only where it is proven that there is none; what is not understood is taken to end."""
    targets = {"#": schema} | {name: _find(schema, name) for name in _references(schema)}
    ending: set[str] = set()
    for _ in range(_ROUNDS):
        found = {name for name, one in targets.items() if name not in ending and _ends(one, ending)}
        if "#" in found:
            return True
        if not found:
            return False
        ending |= found
    return True


def _references(schema: object) -> set[str]:
    names, left = set[str](), [schema]
    while left:
        match left.pop():
            case dict() as one:
                if isinstance(name := one.get("$ref"), str):
                    names.add(name)
                left += one.values()
            case list() as many:
                left += many
            case _:
                pass
    return names


def _find(schema: dict[str, Any], reference: str) -> object:
    """What ``reference`` points at; True, which allows everything, where that is not known."""
    if reference != "#" and not reference.startswith("#/"):
        return True
    found: object = schema
    for part in reference.split("/")[1:]:
        name = unquote(part).replace("~1", "/").replace("~0", "~")
        match found:
            case dict() if name in found:
                found = found[name]
            case list() if name.isascii() and name.isdigit() and int(name) < len(found):
                found = found[int(name)]
            case _:
                return True
    return found


def _ends(schema: object, ending: AbstractSet[str]) -> bool:
    """Whether an answer can end if those to the references ``ending`` do."""
    if not isinstance(schema, dict):
        return True
    if isinstance(name := schema.get("$ref"), str) and name not in ending:
        return False
    for keyword in ("anyOf", "oneOf"):
        options = schema.get(keyword)
        if isinstance(options, list) and not any(_ends(one, ending) for one in options):
            return False
    together = schema.get("allOf")
    if isinstance(together, list) and not all(_ends(one, ending) for one in together):
        return False
    return all(_ends(one, ending) for one in _needed(schema))


def _needed(schema: dict[str, Any]) -> list[object]:
    """What stands in every answer."""
    match schema.get("type"):
        case "object":
            properties, required = schema.get("properties"), schema.get("required")
            if isinstance(properties, dict) and isinstance(required, list):
                return [properties.get(one) for one in required if isinstance(one, str)]
        case "array":
            least = schema.get("minItems")
            if isinstance(least, int | float) and least >= 1 and "prefixItems" not in schema:
                return [schema.get("items")]
        case _:
            pass
    return []
