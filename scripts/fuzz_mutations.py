"""What becomes of an input: bytes changed at random, or a JSON document changed in its shape."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

Mutation: TypeAlias = Callable[[random.Random, bytes, Sequence[bytes], Sequence[bytes]], bytes]

LONGEST = 64 * 1024
ODD_NUMBERS = (
    *(0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF),
    *(0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1),
)
_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1e308, 10**400, "", "x", "\ud800", "\0", "é" * 50),
    *([], {}, [[]], {"": {}}, "9" * 5000, float("nan"), float("inf"), ["a"] * 200),
)
_DEEP = 2000


def mutate_bytes(
    chance: random.Random, data: bytes, others: Sequence[bytes], words: Sequence[bytes]
) -> bytes:
    """One to eight small changes: bits, numbers, pieces, words of the format, another input."""
    changed = bytearray(data or b"\0")
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        chance.choice(_CHANGES)(chance, changed, others, words)
        if not changed:
            changed += b"\0"
    return bytes(changed[:LONGEST])


def _flip(chance: random.Random, data: bytearray, *_: Any) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _number(chance: random.Random, data: bytearray, *_: Any) -> None:
    at, size = chance.randrange(len(data)), chance.choice((1, 2, 4, 8))
    value = chance.choice(ODD_NUMBERS) & ((1 << 8 * size) - 1)
    data[at : at + size] = value.to_bytes(size, chance.choice(("little", "big")))


def _cut(chance: random.Random, data: bytearray, *_: Any) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.choice((1, 2, 16, len(data)))]


def _repeat(chance: random.Random, data: bytearray, *_: Any) -> None:
    at, length = chance.randrange(len(data)), chance.choice((1, 4, 32, 256))
    piece = bytes(data[at : at + length])
    data[at:at] = piece * chance.choice((1, 2, 16, 500)) if len(data) < LONGEST else b""


def _insert(chance: random.Random, data: bytearray, *_: Any) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.randbytes(chance.choice((1, 2, 8, 64)))


def _word(
    chance: random.Random, data: bytearray, _others: Sequence[bytes], words: Sequence[bytes]
) -> None:
    if words:
        at, word = chance.randrange(len(data) + 1), chance.choice(words)
        data[at : at + chance.choice((0, len(word)))] = word


def _splice(
    chance: random.Random, data: bytearray, others: Sequence[bytes], _words: Sequence[bytes]
) -> None:
    other = chance.choice(others)
    at, start = chance.randrange(len(data)), chance.randrange(len(other) or 1)
    data[at:] = other[start : start + LONGEST]


_CHANGES = (_flip, _flip, _number, _cut, _repeat, _insert, _word, _word, _splice)


def mutate_json(
    chance: random.Random, data: bytes, others: Sequence[bytes], words: Sequence[bytes]
) -> bytes:
    """Another value somewhere in the document; now and then bytes that are no JSON."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_bytes(chance, data, others, words)
    if chance.random() < 0.2:
        return mutate_bytes(chance, data, others, words)
    for _ in range(chance.choice((1, 1, 2, 4))):
        document = change_json(chance, document, words)
    try:
        return json.dumps(document).encode()[:LONGEST]
    except (ValueError, RecursionError):
        return data


def change_json(chance: random.Random, value: Any, words: Sequence[bytes] = ()) -> Any:
    """``value`` with something in it replaced, left out, doubled or wrapped."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        name = chance.choice(list(value))
        return _in_object(chance, dict(value), name, words)
    if isinstance(value, list) and value and chance.random() < 0.85:
        items = list(value)
        at = chance.randrange(len(items))
        items[at] = change_json(chance, items[at], words)
        return items * 50 if len(items) < 5 and chance.random() < 0.02 else items
    if words and chance.random() < 0.4:
        return chance.choice(words).decode("utf-8", "replace")
    if chance.random() < 0.05:
        for _ in range(chance.choice((10, 150, _DEEP // 10))):
            value = [value] if chance.random() < 0.5 else {"items": value}
        return value
    return chance.choice(_ODD)


def _in_object(chance: random.Random, value: dict[str, Any], name: str, words: Any) -> Any:
    how = chance.random()
    if how < 0.1:
        del value[name]
    elif how < 0.2 and words:
        value[chance.choice(words).decode("utf-8", "replace")] = value[name]
    elif how < 0.25:
        value[name] = copy.deepcopy(value)
    else:
        value[name] = change_json(chance, value[name], words)
    return value


def mutate_request(
    chance: random.Random, data: bytes, others: Sequence[bytes], words: Sequence[bytes]
) -> bytes:
    """A body behind a first sign, which mostly stays: as JSON where it is some."""
    if chance.random() < 0.1:
        return mutate_bytes(chance, data, others, words)
    how = mutate_json if data[1:2] == b"{" else mutate_bytes
    return data[:1] + how(chance, data[1:], others, words)
