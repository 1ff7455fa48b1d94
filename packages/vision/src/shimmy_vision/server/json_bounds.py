"""What JSON may look like before it is parsed: its values take up to a hundred times its length.

A body of 20 MB may be one image, or ten million empty lists, which would take gigabytes and hold
everybody else up while they are made. Looking at it first costs next to nothing.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any, AnyStr

from pydantic_core import from_json

from shimmy_vision.errors import UsageError

# Each member, element, list and object has one of them outside of strings.
_MOST_MARKS = 100_000
# Of the longest prompts together with the longest schemas; images come on top.
_MOST_BESIDE = 2_000_000
# Escaped ones count too: they have to be looked at one by one. A conversation of quotes has fewer.
_MOST_QUOTES = 500_000
_MOST_FIELDS = 100


@dataclass(frozen=True, slots=True)
class JsonBounds:
    """``files`` strings may be as long as they like; all else has ``beside`` bytes."""

    files: int = 1
    beside: int = _MOST_BESIDE
    marks: int = _MOST_MARKS


ONE_FILE = JsonBounds()


def read_json_text(data: bytes | str, bounds: JsonBounds = ONE_FILE) -> Any:
    """What ``data`` says. Raises UsageError json-malformed, json-too-complex, fields-too-large, or

    fields-invalid for an object of very many members.
    """
    if isinstance(data, str):
        _check(data, '"', "\\", "[{,:", bounds)
    else:
        _check(data, b'"', b"\\", b"[{,:", bounds)
    try:
        read = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise UsageError("json-malformed", f"This is not JSON: {error}.") from error
    check_fields(read)
    return read


def check_fields(read: Any) -> None:
    """Each unknown field would be an error of its own. Raises UsageError fields-invalid."""
    if isinstance(read, dict) and len(read) > _MOST_FIELDS:
        raise UsageError(
            "fields-invalid",
            f"An object here has {_MOST_FIELDS} fields at most.",
            hint="See /docs.",
        )


def _check(data: AnyStr, quote: AnyStr, slash: AnyStr, marks: AnyStr, bounds: JsonBounds) -> None:
    if data.count(quote) > _MOST_QUOTES:
        raise _too_complex(bounds)
    outside, longest = _measure(data, quote, slash, bounds.files)
    if len(data) - longest > bounds.beside:
        raise UsageError(
            "fields-too-large",
            f"Besides its files a request may have {bounds.beside / 1e6:g} MB here.",
            hint="Shorten prompt or schema.",
        )
    rest = quote.join(outside)
    if sum(rest.count(marks[at : at + 1]) for at in range(len(marks))) > bounds.marks:
        raise _too_complex(bounds)


def _measure(data: AnyStr, quote: AnyStr, slash: AnyStr, files: int) -> tuple[list[AnyStr], int]:
    """What stands outside of strings, and how long the ``files`` longest strings are together."""
    outside: list[AnyStr] = []
    longest: list[int] = []
    at = 0
    while (opened := data.find(quote, at)) >= 0:
        outside.append(data[at:opened])
        closed = _end_of_string(data, opened + 1, quote, slash)
        if len(longest) < files:
            heapq.heappush(longest, closed - opened)
        else:
            heapq.heappushpop(longest, closed - opened)
        at = closed + 1
    outside.append(data[at:])
    return outside, sum(longest)


def _end_of_string(data: AnyStr, begin: int, quote: AnyStr, slash: AnyStr) -> int:
    """Where the quote stands that no backslash precedes, or one that another takes back."""
    at = begin
    while (found := data.find(quote, at)) >= 0:
        if data[found - 1 : found] != slash:
            return found
        piece = data[at:found]
        if (len(piece) - len(piece.rstrip(slash))) % 2 == 0:
            return found
        at = found + 1
    return len(data)


def _too_complex(bounds: JsonBounds) -> UsageError:
    return UsageError(
        "json-too-complex",
        f"The request's JSON has more than {bounds.marks:,} members and elements.",
        hint="Send fewer items, or a smaller schema.",
    )
