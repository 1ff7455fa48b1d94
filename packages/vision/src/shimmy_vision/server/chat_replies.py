"""What becomes of an analysis in a conversation: a completion, whole or piece by piece."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from shimmy_vision.domain.answer.string_decoding import StringDecoder
from shimmy_vision.errors import LibraryError
from shimmy_vision.ports.analyst import Restarted
from shimmy_vision.ports.progress import Written
from shimmy_vision.server.chat_bodies import ChatCompletion, Choice, Reply, Usage
from shimmy_vision.server.json_text import write_json
from shimmy_vision.server.told_events import Finished, RunEvent

Json: TypeAlias = dict[str, Any]


def content_of(result: Json, *, free: bool) -> str:
    """The reply in ``result``: its text, or compact JSON."""
    answer = result["answer"]
    return answer if free else write_json(answer, compact=True)


def finish_reason(result: Json) -> Literal["stop", "length"]:
    """Why the reply ended where it does."""
    cuts = ("answer-truncated", "answer-broken-off")
    cut = any(one["code"] in cuts for one in result["meta"]["warnings"])
    return "length" if cut else "stop"


def usage_of(result: Json) -> Usage:
    """What it took."""
    tokens = result["meta"]["tokens"]
    asked, written = tokens["prompt"] + tokens["image"], tokens["generated"]
    return Usage(prompt_tokens=asked, completion_tokens=written, total_tokens=asked + written)


class SpokenReply:
    """The reply as the client has heard it, which cannot be unsaid."""

    def __init__(self, *, free: bool) -> None:
        self._free = free
        self._heard = ""
        self._begin()

    def _begin(self) -> None:
        self._written, self._decoder = "", StringDecoder()

    def hear(self, event: RunEvent) -> str:
        """What the client has not heard yet. Raises LibraryError answer-changed where the engine

        began again and then said something else.
        """
        match event:
            case Written(text=text):
                self._written += self._decoder.feed(text) if self._free else text
            case Restarted():
                self._begin()
            case Finished(result=dict(result)):
                self._complete(content_of(result, free=self._free))
                if len(self._written) < len(self._heard):
                    raise _changed()
            case _:
                pass
        return self._news()

    def _complete(self, content: str) -> None:
        """A result that was kept was not written now; a reply that was cut may end differently,

        and then stays cut, as its finish reason says.
        """
        if not self._written or content.startswith(self._written):
            self._written = content

    def _news(self) -> str:
        if self._written.startswith(self._heard):
            news = self._written[len(self._heard) :]
            self._heard = self._written
            return news
        if self._heard.startswith(self._written):
            return ""
        raise _changed()


def _changed() -> LibraryError:
    return LibraryError(
        "answer-changed",
        "The engine had to begin again, and its answer is another one this time.",
        hint="Ask again.",
        retryable=True,
    )


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all pieces of one completion have in common; ``counted`` ones end with the usage."""

    model: str
    counted: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, result: Json, *, free: bool) -> Json:
        """``chat.completion``."""
        reply = Reply(content=content_of(result, free=free))
        completion = ChatCompletion(
            id=self.id,
            created=self.created,
            model=self.model,
            choices=[Choice(message=reply, finish_reason=finish_reason(result))],
            usage=usage_of(result),
        )
        return completion.model_dump()

    def piece(self, delta: Json, finish: str | None = None) -> Json:
        """``chat.completion.chunk`` with ``delta``."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self.counted else {}
        return {**self._chunk(), "choices": [choice], **usage}

    def usage(self, result: Json) -> Json:
        """The piece after the last, with what it took."""
        return {**self._chunk(), "choices": [], "usage": usage_of(result).model_dump()}

    def _chunk(self) -> Json:
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
        }
