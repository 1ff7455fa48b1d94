"""A streamed chat completion, as servers with OpenAI's API send it: event by event."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

from shimmy_vision.domain.answer.answer_reading import Span

DONE = "[DONE]"
_MODEST = 1 << 40


class ChatStreamError(ValueError):
    """What came is no chat completion; its one argument is a code that says why."""


@dataclass(slots=True)
class ChatPieces:
    """What came so far; ``finish`` is why it ended, empty until it did."""

    data: bytearray = field(default_factory=bytearray)
    spans: list[Span] = field(default_factory=list)
    finish: str = ""
    prompt_tokens: int = 0
    tokens: int = 0

    def take(self, event: str) -> str:
        """One event's data; the text that it brought. Raises ChatStreamError."""
        try:
            told = json.loads(event)
        except (ValueError, RecursionError) as error:
            raise ChatStreamError("event-not-json") from error
        if not isinstance(told, dict) or "error" in told:
            raise ChatStreamError("error-told")
        self._count(told.get("usage"))
        choices = told.get("choices")
        if not isinstance(choices, list):
            raise ChatStreamError("event-without-choices")
        return "".join(self._choice(one) for one in choices)

    def _count(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        self.prompt_tokens = _whole(usage.get("prompt_tokens"), self.prompt_tokens)
        self.tokens = _whole(usage.get("completion_tokens"), self.tokens)

    def _choice(self, choice: Any) -> str:
        if not isinstance(choice, dict) or not isinstance(choice.get("delta"), dict | None):
            raise ChatStreamError("choice-of-another-shape")
        text = (choice.get("delta") or {}).get("content") or ""
        if not isinstance(text, str):
            raise ChatStreamError("choice-of-another-shape")
        if isinstance(choice.get("finish_reason"), str):
            self.finish = choice["finish_reason"]
        start = len(self.data)
        self.data += text.encode("utf-8", "replace")
        if text:
            self._span(start, choice.get("logprobs"))
        return text

    def _span(self, start: int, logprobs: Any) -> None:
        """One for what came at once: several tokens share it, with their mean."""
        content = logprobs.get("content") if isinstance(logprobs, dict) else None
        logs = [
            float(one["logprob"])
            for one in (content if isinstance(content, list) else ())
            if isinstance(one, dict) and _is_modest(one.get("logprob"))
        ]
        self.tokens += max(1, len(logs))
        if logs:
            probability = math.exp(min(0.0, sum(logs) / len(logs)))
            self.spans.append(Span(start, len(self.data), probability))


def squeeze_json(data: bytes, spans: list[Span]) -> tuple[bytes, list[Span]]:
    """``data``, which may be cut, without white space between values; ``spans`` move along."""
    kept, moved = bytearray(), [0]
    inside = escaped = False
    for byte in data:
        blank = not inside and byte in b" \t\r\n"
        if not blank:
            kept.append(byte)
        moved.append(len(kept))
        if escaped:
            escaped = False
        elif inside and byte == ord("\\"):
            escaped = True
        elif byte == ord('"'):
            inside = not inside
    placed = [Span(moved[one.start], moved[one.end], one.probability) for one in spans]
    return bytes(kept), [one for one in placed if one.start < one.end]


def _is_modest(value: Any) -> bool:
    """A number, and one that can be reckoned with: JSON knows larger ones, and this reader NaN."""
    return isinstance(value, int | float) and abs(value) < _MODEST


def _whole(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and 0 <= value < _MODEST else otherwise
