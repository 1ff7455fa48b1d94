"""What a caller may ask of one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from shimmy_vision.domain.answer.page_ranges import EVERY_PAGE, PageRange
from shimmy_vision.domain.answer.schema_depth import check_depth

Mode: TypeAlias = Literal["full", "ocr", "layout", "brief"]
MODES: tuple[Mode, ...] = get_args(Mode)

SliceWish: TypeAlias = Literal["auto", "all"]
SLICE_WISHES: tuple[SliceWish, ...] = get_args(SliceWish)


@dataclass(frozen=True, slots=True)
class StandardQuestion:
    """One of the product's own modes."""

    mode: Mode = "full"


@dataclass(frozen=True, slots=True)
class CustomQuestion:
    """The caller's own prompt, schema or both; the answer stands under ``answer``.

    Raises SchemaError for a schema that nests too deep, before anything copies or sends it.
    """

    prompt: str | None = None
    schema: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        check_depth(self.schema)


Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """What one side said; where ``after_image`` is not None, the image stands after ``text``."""

    role: Role
    text: str
    after_image: str | None = None


@dataclass(frozen=True, slots=True)
class ChatQuestion:
    """A conversation about the image, which stands in exactly one of its ``turns``.

    The reply to the last turn stands under ``answer``: a text, or what follows ``schema``, which
    must not nest too deep, as in ``CustomQuestion``.
    """

    turns: tuple[ChatTurn, ...]
    schema: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if sum(turn.after_image is not None for turn in self.turns) != 1:
            raise ValueError("a conversation is about one image")
        check_depth(self.schema)


Question: TypeAlias = StandardQuestion | CustomQuestion | ChatQuestion


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """``max_tokens`` bounds each generated answer; None takes the mode's own bound.

    ``temperature`` and ``top_p`` as in ``SamplingRule``; None takes the best token without a
    ``seed``, and the model's usual values with one.
    """

    max_tokens: int | None = None
    seed: int | None = None
    skip_forced: bool = True
    temperature: float | None = None
    top_p: float | None = None


@dataclass(frozen=True, slots=True)
class AnalysisRequest:
    """One image and what to find in it. ``raw`` keeps the model's words in ``meta.raw``;

    ``cache`` False asks the model anew although the very same result is still kept; ``slices``
    ``all`` has every slice of the image looked at, also blank ones and those that a brief
    description does without.
    """

    question: Question = StandardQuestion()
    limits: AnswerLimits = AnswerLimits()
    raw: bool = False
    cache: bool = True
    slices: SliceWish = "auto"


@dataclass(frozen=True, slots=True)
class DocumentRequest:
    """One document and what to find on each of its ``pages``.

    ``dpi`` is the sharpness to render at; None takes what text needs for the encoder.
    """

    analysis: AnalysisRequest = AnalysisRequest()
    pages: tuple[PageRange, ...] = EVERY_PAGE
    dpi: int | None = None


@dataclass(frozen=True, slots=True)
class PageView:
    """How a web page is seen: ``width`` and ``height`` of the viewport in CSS pixels."""

    width: int = 1280
    height: int = 800
    device_scale: float = 1.0
    full_page: bool = True


def callers_schema(question: Question) -> dict[str, Any] | None:
    """The schema that the caller brought, if any."""
    return None if isinstance(question, StandardQuestion) else question.schema


def reads_text(question: Question) -> bool:
    """Whether the result has ``text_blocks``."""
    return isinstance(question, StandardQuestion) and question.mode in ("full", "ocr")
