"""What a request may hold: names, types and null, refused with 400 as Keygen does."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shimmy_sandbox.keygen.wire import read_time, refusal, written_time

_NAMES: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict: "object",
    list: "array",
    type(None): "null",
}
LARGEST = 2_147_483_647
"""The largest whole number that Keygen keeps in most places."""
_LARGEST_OF_ALL, _DEEPEST = 2**63 - 1, 2


@dataclass(frozen=True, slots=True)
class Kind:
    """A type as Keygen names it in its refusals, and whether null will do.

    ``only`` names the one value the sandbox understands of a field it does not
    simulate: any other is refused, not silently forgotten.
    """

    name: str
    nullable: bool = False
    simulated: bool = True
    only: Any = None

    def check(self, value: Any, pointer: str) -> Any:
        """``value``, times and ids in their one spelling; 400 at ``pointer`` otherwise."""
        if not self.simulated:
            if value != self.only:
                raise refusal(400, "is not simulated by this sandbox", pointer=pointer)
            return value
        if value is None:
            if self.nullable:
                return None
            raise refusal(400, "cannot be null", pointer=pointer)
        checked = _spelled(self.name, value)
        if checked is _WRONG:
            received = _NAMES.get(type(value), "unknown")
            detail = f"type mismatch (received {received} expected {self.name})"
            raise refusal(400, detail, pointer=pointer)
        if isinstance(checked, int):
            check_whole(checked, pointer, _LARGEST_OF_ALL)
        return checked


TEXT, FLAG, OBJECT, LIST = Kind("string"), Kind("boolean"), Kind("object"), Kind("array")
INTEGER, UUID = Kind("integer"), Kind("UUID string")
TEXT_OR_NULL, INTEGER_OR_NULL = Kind("string", nullable=True), Kind("integer", nullable=True)
TIME_OR_NULL, LIST_OR_NULL = Kind("time", nullable=True), Kind("array", nullable=True)
_WRONG = object()


def unsimulated(only: Any = None) -> Kind:
    """A field of Keygen's that the sandbox takes only at this value."""
    return Kind("anything", simulated=False, only=only)


def checked(sent: Any, known: Mapping[str, Kind], pointer: str) -> dict[str, Any]:
    """The object ``sent`` at ``pointer``, every field checked; nothing sent is an empty object."""
    fields: Mapping[str, Any] = {} if sent is None else OBJECT.check(sent, pointer)
    read = {}
    for name, value in fields.items():
        place = f"{pointer}/{name}"
        if name not in known:
            raise refusal(400, "unpermitted parameter", pointer=place)
        read[name] = known[name].check(value, place)
    return read


def check_depth(value: Any, pointer: str, depth: int = 0) -> None:
    """400 at the first object or array that lies more than two levels below ``value``."""
    if isinstance(value, dict):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return
    if depth > _DEEPEST:
        raise refusal(400, f"maximum depth of {_DEEPEST} exceeded", pointer=pointer)
    for name, item in items:
        check_depth(item, f"{pointer}/{name}", depth + 1)


def _spelled(name: str, value: Any) -> Any:
    match name, value:
        case "string", str():
            return value
        case "boolean", bool():
            return value
        case "integer", int() if not isinstance(value, bool):
            return value
        case "object", dict():
            return value
        case "array", list():
            return value
        case "UUID string", str():
            return _uuid(value)
        case "time", str():
            return _time(value)
        case _:
            return _WRONG


def _uuid(text: str) -> Any:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return _WRONG


def _time(text: str) -> Any:
    try:
        return written_time(read_time(text))
    except (ValueError, OverflowError):
        return _WRONG


def check_whole(value: int, pointer: str, largest: int = LARGEST) -> None:
    """400 when ``value`` does not fit the column Keygen keeps it in."""
    if abs(value) > largest:
        raise refusal(400, "integer is too large", pointer=pointer)
