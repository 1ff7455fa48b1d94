"""The literal words within a schema's patterns: what an answer that follows them must contain."""

from __future__ import annotations

import json
import re
from typing import Any

# Patterns search by default, so that anything may stand before such a word and nothing but the
# word itself leads out: the grammar's next bytes do not tell of it.
_PARTS = re.compile(
    r"\\(?P<escaped>[^0-9A-Za-z])"  # an escaped sign
    r"|\\[pP]\{[^}]*\}|\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\."  # classes and codes
    r"|\{[0-9,]*\}"  # a count
    r"|\[\^?\]?(?P<class>(?:\\.|[^\]\\])*)\]"
    r"|(?P<plain>[^\\\[\](){}|*+?^$.])",
    re.DOTALL,
)
_OF_FORMATS = {"email": ("@", "."), "uri": (":",), "hostname": (".",)}
_MOST = 64
_LONGEST = 64


def pattern_words(schema: dict[str, Any]) -> tuple[bytes, ...]:
    """Words and single characters, as they stand in JSON; at most 64."""
    words: dict[str, None] = {}
    left: list[object] = [schema]
    while left and len(words) < _MOST:
        match left.pop():
            case dict() as one:
                if isinstance(pattern := one.get("pattern"), str):
                    words |= dict.fromkeys(_words(pattern[:10_000]))
                if isinstance(kind := one.get("format"), str):
                    words |= dict.fromkeys(_OF_FORMATS.get(kind, ()))
                left += one.values()
            case list() as many:
                left += many
            case _:
                pass
    chosen = list(words)[:_MOST]
    return tuple(
        json.dumps(one, ensure_ascii=False)[1:-1].encode("utf-8", "replace") for one in chosen
    )


def _words(pattern: str) -> list[str]:
    found, run, end = list[str](), "", 0
    for part in _PARTS.finditer(pattern):
        character = part["plain"] or part["escaped"]
        if character is None or part.start() != end:
            found, run = [*found, run], ""
        end = part.end()
        if character is not None:
            run += character
            found.append(character)
        elif part["class"]:
            found += [one for one in part["class"] if one not in "\\-^"]
    return [one[:_LONGEST] for one in (*found, run) if one]
