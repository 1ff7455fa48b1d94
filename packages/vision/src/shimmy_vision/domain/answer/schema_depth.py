"""How deep a caller's JSON Schema may nest."""

from __future__ import annotations

from shimmy_vision.errors import SchemaError

MOST_LEVELS = 100


def check_depth(schema: object) -> None:
    """Raise SchemaError if objects and arrays nest deeper than ``MOST_LEVELS``.

    Everything after this may use recursion: copies, JSON, the grammar.
    """
    level: list[object] = [schema]
    for _ in range(MOST_LEVELS):
        level = [inner for one in level for inner in inner_parts(one)]
        if not level:
            return
    raise SchemaError(
        "schema-too-deep",
        f"The schema nests more than {MOST_LEVELS} levels of objects and arrays.",
        hint='Name its parts under "$defs" and refer to them with "$ref".',
    )


def inner_parts(value: object) -> list[object]:
    """The objects and arrays right inside ``value``."""
    match value:
        case dict():
            return [one for one in value.values() if isinstance(one, dict | list)]
        case list():
            return [one for one in value if isinstance(one, dict | list)]
        case _:
            return []
