"""Where the string values of a JSON text stand, so that they can be tied to their tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]

_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r"[-+0-9.eE]+|true|false|null")


@dataclass(frozen=True, slots=True)
class StringValue:
    """A string at ``path``; between its quotes stand bytes [start, end) of the text."""

    path: Path
    start: int
    end: int


def locate_strings(text: str) -> list[StringValue]:
    """Every string value of a valid JSON text, in order of appearance; keys are left out."""
    found: list[tuple[Path, int, int]] = []
    _value(text, _skip(text, 0), (), found)
    offsets = _byte_offsets(text, sorted({at for _, start, end in found for at in (start, end)}))
    return [StringValue(path, offsets[start], offsets[end]) for path, start, end in found]


def _value(text: str, at: int, path: Path, found: list[tuple[Path, int, int]]) -> int:
    opening = text[at]
    if opening == '"':
        end = _string_end(text, at)
        found.append((path, at + 1, end - 1))
        return end
    if opening in "{[":
        return _container(text, at, path, found)
    scalar = _SCALAR.match(text, at)
    if scalar is None:
        raise ValueError(f"not JSON at character {at}")
    return scalar.end()


def _container(text: str, at: int, path: Path, found: list[tuple[Path, int, int]]) -> int:
    is_object, closing = text[at] == "{", "}" if text[at] == "{" else "]"
    at, index = _skip(text, at + 1), 0
    while text[at] != closing:
        key: str | int = index
        if is_object:
            end = _string_end(text, at)
            key = json.loads(text[at:end])
            at = _skip(text, _skip(text, end) + 1)
        at = _skip(text, _value(text, at, (*path, key), found))
        if text[at] == ",":
            at = _skip(text, at + 1)
        index += 1
    return at + 1


def _string_end(text: str, at: int) -> int:
    at += 1
    while text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return at + 1


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _byte_offsets(text: str, characters: list[int]) -> dict[int, int]:
    return dict(_running_lengths(text, characters))


def _running_lengths(text: str, characters: list[int]) -> Iterator[tuple[int, int]]:
    previous = total = 0
    for at in characters:
        total += len(text[previous:at].encode())
        previous = at
        yield at, total
