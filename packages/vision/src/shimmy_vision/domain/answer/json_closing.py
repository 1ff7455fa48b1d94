"""Finish a JSON answer that was cut anywhere, so that it is valid under its schema.

The grammar is asked byte by byte what may come next and the byte that leads out
soonest is taken. Because every byte is one the grammar allows, the result is
valid by construction; the search only has to end. It ends quickly for ordinary
schemas; where a pattern has no short way out from the cut, earlier cuts are
tried, down to the empty answer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

_QUOTE, _BACKSLASH = ord('"'), ord("\\")
# Outside strings: leave, then move on, then the shortest values, then deeper nesting.
_WAYS_OUT = b'}],:"nft0123456789-.eE[{'
_STEPS = 20_000
_ATTEMPTS = 6


class ByteGrammar(Protocol):
    """A schema's grammar over single bytes, with an undo."""

    def allowed(self) -> Sequence[int]:
        """Bytes that may come next."""
        ...

    def is_complete(self) -> bool:
        """Whether the bytes so far are a whole answer."""
        ...

    def push(self, data: bytes) -> int:
        """Consume as many bytes as are allowed; how many."""
        ...

    def pop(self, count: int) -> None:
        """Undo the last ``count`` bytes."""
        ...


def close_json(prefix: bytes, grammar: ByteGrammar) -> bytes | None:
    """The shortest way found from ``prefix`` (a fresh ``grammar``) to a whole answer.

    None if the schema has no finite answer that the search could find.
    """
    prefix = trim_partial_character(prefix)
    kept = grammar.push(prefix)
    while True:
        for attempt in range(_ATTEMPTS):
            closed = _walk_out(prefix[:kept], grammar, random.Random(attempt))  # noqa: S311 - no secret
            if closed is not None:
                return closed
        if kept == 0:
            return None
        earlier = kept // 2
        grammar.pop(kept - earlier)
        kept = earlier


def trim_partial_character(prefix: bytes) -> bytes:
    """Without a UTF-8 sequence or a backslash escape that was cut in the middle."""
    text = prefix.decode("utf-8", errors="ignore").encode()
    tail = text[-6:]
    at = tail.rfind(b"\\")
    if at < 0:
        return text
    start = len(text) - len(tail) + at
    run = len(text[: start + 1]) - len(text[: start + 1].rstrip(b"\\"))
    if run % 2 == 0:  # the backslash is itself escaped
        return text
    escape = text[start + 1 :]
    whole = len(escape) >= 5 if escape.startswith(b"u") else len(escape) >= 1
    return text if whole else text[:start]


def _walk_out(prefix: bytes, grammar: ByteGrammar, rng: random.Random) -> bytes | None:
    """Walk from ``prefix`` to completion; on failure the grammar is back at ``prefix``."""
    added = bytearray()
    inside, escaped = _string_state(prefix)
    while not grammar.is_complete():
        choices = grammar.allowed()
        if not choices or len(added) >= _STEPS:
            grammar.pop(len(added))
            return None
        byte = _in_string(choices, rng) if inside else _outside(choices, rng)
        if grammar.push(bytes([byte])) != 1:
            grammar.pop(len(added))
            return None
        added.append(byte)
        inside, escaped = _advance(byte, inside=inside, escaped=escaped)
    return prefix + bytes(added)


def _in_string(choices: Sequence[int], rng: random.Random) -> int:
    if _QUOTE in choices:
        return _QUOTE
    plain = [byte for byte in choices if byte != _BACKSLASH]
    letters = [byte for byte in plain if chr(byte).isalnum() and byte < 0x80]
    return rng.choice(letters or plain or list(choices))


def _outside(choices: Sequence[int], rng: random.Random) -> int:
    best = [byte for byte in _WAYS_OUT if byte in choices]
    if not best:
        return rng.choice(list(choices))
    digits = [byte for byte in best if chr(byte).isdigit()]
    # Any digit may be the one a numeric bound needs, so they take turns.
    return rng.choice(digits) if best[0] in digits else best[0]


def _string_state(data: bytes) -> tuple[bool, bool]:
    inside = escaped = False
    for byte in data:
        inside, escaped = _advance(byte, inside=inside, escaped=escaped)
    return inside, escaped


def _advance(byte: int, *, inside: bool, escaped: bool) -> tuple[bool, bool]:
    if escaped:
        return inside, False
    if byte == _QUOTE:
        return not inside, False
    return inside, inside and byte == _BACKSLASH
