"""From the model's answer to values: parsed, cleaned, with confidences measured."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from shimmy_vision.domain.answer.json_strings import locate_strings

_FLOOR = 1e-6


class Span(NamedTuple):
    """Bytes [start, end) of the answer came from one token of this probability."""

    start: int
    end: int
    probability: float


class ReadAnswer(NamedTuple):
    """``value`` is the parsed answer; ``confidences`` belong to ``text_blocks`` in order."""

    value: Any
    confidences: tuple[float, ...]


def read_answer(data: bytes, spans: Sequence[Span]) -> ReadAnswer:
    """Parse a complete JSON answer.

    A text block's confidence is the geometric mean of its tokens' probabilities
    before the grammar's mask; 0 where no token was chosen by the model.
    Raises ValueError if ``data`` is not JSON, which the grammar rules out.
    """
    text = data.decode("utf-8", errors="replace")
    value = json.loads(text)
    confidences = tuple(
        _confidence(string.start, string.end, spans)
        for string in locate_strings(text)
        if len(string.path) == 3 and string.path[0] == "text_blocks" and string.path[2] == "text"
    )
    return ReadAnswer(_without_lone_surrogates(value), confidences)


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
