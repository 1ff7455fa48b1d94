"""From what a client sent to a job: the same rules for every way of asking."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from shimmy_vision.domain.answer.analysis_request import (
    AnalysisRequest,
    AnswerLimits,
    CustomQuestion,
    DocumentRequest,
    PageView,
    Question,
    StandardQuestion,
)
from shimmy_vision.domain.answer.page_ranges import EVERY_PAGE, parse_pages
from shimmy_vision.domain.image.file_kind import PDF, recognise_file
from shimmy_vision.errors import ImageError, UsageError
from shimmy_vision.ports.analyst import DocumentJob, ImageJob, Job, UrlJob
from shimmy_vision.server.bodies import SourceBody, VisionOptions


@dataclass(frozen=True, slots=True)
class OrderLimits:
    """What this server takes; the engine's memory is laid out for ``max_tokens``."""

    max_image_bytes: int = 50_000_000
    max_document_bytes: int = 200_000_000
    max_tokens: int = 4096


@dataclass(frozen=True, slots=True)
class Order:
    """A job, and the seconds that all of it may take."""

    job: Job
    seconds: float | None


def plan_order(body: SourceBody, limits: OrderLimits) -> Order:
    """The order in a JSON body. Raises UsageError or ImageError."""
    if (body.image is None) == (body.url is None):
        raise UsageError(
            "source-unclear",
            "A request names either image or url.",
            hint='{"image": "data:image/png;base64,..."} or {"url": "https://..."}',
        )
    if body.url is not None:
        return _plan_url(body.url, body, limits)
    return plan_file(decode_base64(body.image or ""), body, limits)


def plan_file(data: bytes, options: VisionOptions, limits: OrderLimits) -> Order:
    """The order about a file's bytes. Raises UsageError or ImageError."""
    request = _request(options, limits)
    if recognise_file(data[:64]) is PDF:
        if len(data) > limits.max_document_bytes:
            raise ImageError(
                "document-too-large",
                f"A document may have {limits.max_document_bytes / 1e6:g} MB here.",
            )
        return Order(DocumentJob(data, request, _seconds(options)), None)
    check_image_size(data, limits)
    return Order(ImageJob(data, request.analysis), _seconds(options))


def _plan_url(url: str, options: VisionOptions, limits: OrderLimits) -> Order:
    """What is behind it may be a document, whose pages have each their own time."""
    width, height = (int(side) for side in (options.viewport or "1280x800").split("x"))
    view = PageView(width, height, options.scale or 1.0, options.full_page)
    return Order(UrlJob(url, _request(options, limits), view, _seconds(options)), None)


def decode_base64(text: str) -> bytes:
    """Of base64 or of a data URL. Raises ImageError image-not-base64."""
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise ImageError(
                "image-not-base64",
                "The data URL does not hold base64.",
                hint="data:image/png;base64,iVBORw0...",
            )
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(
            "image-not-base64",
            f"The image is not base64: {error}.",
            hint="Encode the file's bytes in standard base64, with padding.",
        ) from error


def check_image_size(data: bytes, limits: OrderLimits) -> None:
    """Raises ImageError image-too-large."""
    if len(data) > limits.max_image_bytes:
        raise ImageError(
            "image-too-large", f"An image may have {limits.max_image_bytes / 1e6:g} MB here."
        )


def _seconds(options: VisionOptions) -> float | None:
    return None if options.timeout_ms is None else options.timeout_ms / 1000


def _request(options: VisionOptions, limits: OrderLimits) -> DocumentRequest:
    wanted = options.max_tokens
    check_tokens(wanted, limits)
    analysis = AnalysisRequest(
        _question(options),
        AnswerLimits(wanted, options.seed),
        raw=options.raw,
        cache=options.cache,
        slices=options.slices,
    )
    pages = EVERY_PAGE if options.pages is None else parse_pages(options.pages)
    return DocumentRequest(analysis, pages, options.dpi)


def check_tokens(wanted: int | None, limits: OrderLimits) -> None:
    """Raises UsageError where an answer could not fit the engine's context."""
    if wanted is not None and wanted > limits.max_tokens:
        raise UsageError(
            "max-tokens-too-large",
            f"Answers may have {limits.max_tokens:,} tokens here.",
            hint="Start the server with a larger --max-tokens.",
        )


def _question(options: VisionOptions) -> Question:
    if options.prompt is None and options.answer_schema is None:
        return StandardQuestion(options.mode or "full")
    if options.mode is not None:
        raise UsageError(
            "mode-with-question",
            "mode cannot be combined with prompt or schema.",
            hint="Leave out mode: your own question replaces it.",
        )
    return CustomQuestion(options.prompt, options.answer_schema)
