"""From the model's answer to values: parsed, cleaned, with confidences measured."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from shimmy_vision.domain.answer.json_strings import locate_strings

# Readers of JSON bound how deep it nests, some at 128.
MOST_LEVELS = 100
_FLOOR = 1e-6
_LARGEST = int(sys.float_info.max)
_MOST_DIGITS = len(str(-_LARGEST))
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


class Span(NamedTuple):
    """Bytes [start, end) of the answer came from one token of this probability."""

    start: int
    end: int
    probability: float


class ReadAnswer(NamedTuple):
    """``value`` is the parsed answer; ``confidences`` belong to ``text_blocks`` in order.

    ``adapted`` is True where the value is not what was written, but the nearest that every reader
    of JSON takes.
    """

    value: Any
    confidences: tuple[float, ...]
    adapted: bool = False


def read_answer(data: bytes, spans: Sequence[Span]) -> ReadAnswer:
    """Parse a complete JSON answer.

    A text block's confidence is the geometric mean of its tokens' probabilities
    before the grammar's mask; 0 where no token was chosen by the model.
    Raises ValueError if ``data`` is not JSON, which the grammar rules out.
    """
    written = data.decode("utf-8", errors="replace")
    text = bound_depth(written)
    numbers = _Numbers()
    value = json.loads(text, parse_int=numbers.whole, parse_float=numbers.decimal)
    confidences = tuple(
        _confidence(string.start, string.end, spans)
        for string in locate_strings(text)
        if len(string.path) == 3 and string.path[0] == "text_blocks" and string.path[2] == "text"
    )
    adapted = numbers.adapted or text != written
    return ReadAnswer(_without_lone_surrogates(value), confidences, adapted)


class _Numbers:
    """JSON bounds no number; Python bounds the digits it reads, and floats end in infinity."""

    def __init__(self) -> None:
        self.adapted = False

    def whole(self, digits: str) -> int:
        # Within what is a finite float to those who have nothing else.
        value = int(digits) if len(digits) <= _MOST_DIGITS else _LARGEST * 2
        if abs(value) <= _LARGEST:
            return value
        self.adapted = True
        return -_LARGEST if digits.startswith("-") else _LARGEST

    def decimal(self, digits: str) -> float:
        value = float(digits)
        if math.isfinite(value):
            return value
        self.adapted = True
        return math.copysign(sys.float_info.max, value)


def bound_depth(text: str) -> str:
    """JSON with everything below ``MOST_LEVELS`` levels as a string of its own text."""
    pieces, taken, level, start = list[str](), 0, 0, 0
    for mark in _MARKS.finditer(text):
        match mark[0]:
            case "[" | "{":
                level += 1
                start = mark.start() if level == MOST_LEVELS + 1 else start
            case "]" | "}":
                if level == MOST_LEVELS + 1:
                    pieces += text[taken:start], json.dumps(text[start : mark.end()])
                    taken = mark.end()
                level -= 1
            case _:  # a string, whatever brackets it holds
                pass
    return "".join((*pieces, text[taken:]))


def _confidence(start: int, end: int, spans: Sequence[Span]) -> float:
    logs = [
        math.log(max(_FLOOR, min(1.0, span.probability)))
        for span in spans
        if span.start < end and span.end > start
    ]
    return round(math.exp(sum(logs) / len(logs)), 4) if logs else 0.0


def whole_characters(text: str) -> str:
    """``text`` with U+FFFD in place of each half of a surrogate pair."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _without_lone_surrogates(value: Any) -> Any:
    """JSON may spell half of a surrogate pair; UTF-8 output may not contain one."""
    match value:
        case str():
            return whole_characters(value)
        case list():
            return [_without_lone_surrogates(item) for item in value]
        case dict():
            return {
                _without_lone_surrogates(key): _without_lone_surrogates(item)
                for key, item in value.items()
            }
        case _:
            return value
