"""What a caller may ask of one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from shimmy_vision.domain.answer.page_ranges import EVERY_PAGE, PageRange

Mode: TypeAlias = Literal["full", "ocr", "layout", "brief"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class StandardQuestion:
    """One of the product's own modes."""

    mode: Mode = "full"


@dataclass(frozen=True, slots=True)
class CustomQuestion:
    """The caller's own prompt, schema or both; the answer stands under ``answer``."""

    prompt: str | None = None
    schema: dict[str, Any] | None = None


Question: TypeAlias = StandardQuestion | CustomQuestion


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """``max_tokens`` bounds each generated answer; None takes the mode's own bound."""

    max_tokens: int | None = None
    seed: int | None = None
    skip_forced: bool = True


@dataclass(frozen=True, slots=True)
class AnalysisRequest:
    """One image and what to find in it. ``raw`` keeps the model's words in ``meta.raw``;

    ``cache`` False asks the model anew although the very same result is still kept.
    """

    question: Question = StandardQuestion()
    limits: AnswerLimits = AnswerLimits()
    raw: bool = False
    cache: bool = True


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


def reads_text(question: Question) -> bool:
    """Whether the result has ``text_blocks``."""
    return isinstance(question, StandardQuestion) and question.mode in ("full", "ocr")
