"""From a conversation as OpenAI's clients send it to a job."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shimmy_vision.domain.answer.analysis_request import (
    AnalysisRequest,
    AnswerLimits,
    ChatQuestion,
    ChatTurn,
    DocumentRequest,
    PageView,
    Role,
)
from shimmy_vision.domain.answer.page_ranges import PageRange
from shimmy_vision.domain.image.file_kind import PDF, recognise_file
from shimmy_vision.errors import UsageError
from shimmy_vision.ports.analyst import ImageJob, Job, UrlJob
from shimmy_vision.server.chat_bodies import ChatBody, Message, Part
from shimmy_vision.server.orders import OrderLimits, check_image_size, check_tokens, decode_base64

_MOST_CHARACTERS = 200_000
_LONGEST_URL = 8192
_SEEDS = 2**63
# What is unsupported, and the values with which it changes nothing.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "tools": (None, []),
    "tool_choice": (None, "none"),
    "functions": (None, []),
    "function_call": (None, "none"),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "stop": (None, []),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "web_search_options": (None,),
}
_EXAMPLE = '{"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}'


@dataclass(frozen=True, slots=True)
class ChatOrder:
    """``free`` where the reply is text; else it is JSON."""

    job: Job
    free: bool


def plan_chat(body: ChatBody, limits: OrderLimits) -> ChatOrder:
    """The order in a conversation. Raises UsageError or ImageError."""
    _refuse_unsupported(body)
    conversation = _Conversation()
    for message in body.messages:
        conversation.add(message)
    schema = _schema(body)
    question = ChatQuestion(conversation.checked(), schema)
    analysis = AnalysisRequest(question, _limits(body, limits))
    (url,) = conversation.images
    return ChatOrder(_job(url, analysis, limits), free=schema is None)


def pdf_refused() -> UsageError:
    """The error for a document where an image is wanted."""
    return UsageError(
        "one-image-only",
        "A conversation is about one image; this is a PDF, which may have many pages.",
        hint="POST /api/vision answers for each page of a PDF.",
    )


def _refuse_unsupported(body: ChatBody) -> None:
    for name, harmless in _HARMLESS.items():
        if getattr(body, name) not in harmless:
            raise _unsupported(name)


def _unsupported(name: str) -> UsageError:
    return UsageError(
        "parameter-unsupported",
        f"{name} would change the answer, and is not supported.",
        hint="Leave it out.",
    )


def _schema(body: ChatBody) -> dict[str, Any] | None:
    wanted = body.response_format
    if wanted is None or wanted.type == "text":
        return None
    named = wanted.json_schema.reply_schema if wanted.json_schema is not None else None
    anything = {"type": "object"}
    return anything if wanted.type == "json_object" or named is None else named


def _limits(body: ChatBody, limits: OrderLimits) -> AnswerLimits:
    wanted = body.max_completion_tokens or body.max_tokens
    check_tokens(wanted, limits)
    seed = body.seed
    if seed is None and body.temperature:
        # Who samples and names no seed wants another answer each time.
        seed = secrets.randbelow(_SEEDS)
    return AnswerLimits(
        wanted,
        None if seed is None else seed % _SEEDS,
        temperature=body.temperature,
        top_p=body.top_p,
    )


def _job(url: str, analysis: AnalysisRequest, limits: OrderLimits) -> Job:
    scheme = url[:8].lower()
    if scheme.startswith("data:"):
        data = decode_base64(url)
        if recognise_file(data[:64]) is PDF:
            raise pdf_refused()
        check_image_size(data, limits)
        return ImageJob(data, analysis)
    if scheme.startswith(("https://", "http://")) and len(url) <= _LONGEST_URL:
        # What is a PDF there is refused at its first page, of which nothing is analysed.
        return UrlJob(url, DocumentRequest(analysis, (PageRange(1, 1),)), PageView())
    raise UsageError(
        "image-url-unsupported",
        "image_url is neither a data URL nor begins with https:// or http://.",
        hint=_EXAMPLE,
    )


@dataclass(slots=True)
class _Conversation:
    """Messages become turns; ``images`` are the URLs found on the way."""

    turns: list[ChatTurn] = field(default_factory=list)
    images: list[str] = field(default_factory=list)

    def add(self, message: Message) -> None:
        """Raises UsageError."""
        role = _role(message)
        content = message.content or ""
        parts = [Part(type="text", text=content)] if isinstance(content, str) else content
        before, after, seen = list[str](), list[str](), False
        for part in parts:
            if part.type == "image_url":
                self._see(part)
                seen = True
            else:
                (after if seen else before).append(_words(part))
        told = "\n".join(after) if seen else None
        self.turns.append(ChatTurn(role, "\n".join(before), told))

    def _see(self, part: Part) -> None:
        if part.image_url is None:
            raise UsageError(
                "image-missing", "A part of type image_url has no image_url.", hint=_EXAMPLE
            )
        self.images.append(part.image_url.url)
        if len(self.images) > 1:
            raise UsageError(
                "one-image-only",
                "A conversation is about one image, and here are several.",
                hint="Ask about each in a conversation of its own.",
            )

    def checked(self) -> tuple[ChatTurn, ...]:
        """Its turns. Raises UsageError."""
        if not self.images:
            raise UsageError(
                "image-missing", "There is no image in the conversation.", hint=_EXAMPLE
            )
        if self.turns[-1].role == "assistant":
            raise UsageError(
                "reply-not-asked",
                "The conversation ends with the assistant's words: there is nothing to reply to.",
                hint="End it with a message of role user.",
            )
        if _length(self.turns) > _MOST_CHARACTERS:
            raise UsageError(
                "prompt-too-long",
                f"A conversation may have {_MOST_CHARACTERS:,} characters.",
                hint="Leave out its oldest messages.",
            )
        return tuple(self.turns)


def _role(message: Message) -> Role:
    match message.role:
        case "system" | "developer":
            return "system"
        case "user" | "assistant":
            if message.tool_calls or message.function_call:
                raise _unsupported("messages.tool_calls")
            return message.role
        case "tool" | "function":
            raise _unsupported(f"messages.role {message.role}")


def _words(part: Part) -> str:
    if part.type != "text":
        raise _unsupported(f"messages.content of type {part.type[:50]!r}")
    return part.text or ""


def _length(turns: Sequence[ChatTurn]) -> int:
    return sum(len(turn.text) + len(turn.after_image or "") for turn in turns)
