"""``meta``: what answered, how long it took, what it saw, what to be wary of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, assert_never

from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, StandardQuestion
from shimmy_vision.domain.answer.result import Warning_
from shimmy_vision.domain.answer.stage_times import milliseconds, stage_milliseconds
from shimmy_vision.domain.image.text_layer import TextLayer
from shimmy_vision.domain.web.web_page import WebPage
from shimmy_vision.ports.engine import EngineDescription
from shimmy_vision.ports.image_intake import ImageInfo
from shimmy_vision.ports.progress import Stage
from shimmy_vision.use_cases.generate_answer import GeneratedAnswer

_SYNTHETIC = Warning_(
    "model-synthetic",
    "Random weights: what is generated here means nothing. Measured values are real.",
)


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Which page of a document was rendered how; ``layer`` is None where no text is asked for.

    ``wished`` where the caller named the ``dpi``: who did is not warned of it.
    """

    page: int
    pages: int
    dpi: int
    layer: TextLayer | None
    wished: bool = False


PageFacts: TypeAlias = DocumentPage | WebPage


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Everything known about a finished analysis; times in seconds.

    ``page`` tells of a document's page, or a web page; ``encodings_kept`` and
    ``states_kept`` how many of the image's tiles and of the model's states were there before.
    """

    request: AnalysisRequest
    plan: str
    engine: EngineDescription
    image: ImageInfo
    image_plan: Mapping[str, Any]
    seconds: Mapping[Stage, float]
    seconds_total: float
    warnings: Sequence[Warning_]
    answers: Sequence[GeneratedAnswer]
    page: PageFacts | None = None
    encodings_kept: int = 0
    states_kept: int = 0


def compose_meta(facts: RunFacts) -> dict[str, Any]:
    """The ``meta`` object, as ``domain.answer.result_schema`` publishes it."""
    question = facts.request.question
    warnings = [*_of_engine(facts.engine), *facts.warnings]
    meta: dict[str, Any] = {
        "model": _model(facts.engine),
        "backend": {
            "name": facts.engine.backend,
            "build": facts.engine.build,
            "device": facts.engine.device,
            "threads": facts.engine.threads,
            "encoder": facts.engine.encoder,
        },
        "licence": facts.plan,
        "mode": question.mode if isinstance(question, StandardQuestion) else "custom",
        "duration_ms": milliseconds(facts.seconds_total),
        "timings": stage_milliseconds(facts.seconds),
        "cache": {"result": False, "encodings": facts.encodings_kept, "states": facts.states_kept},
        "tokens": _tokens(facts.answers),
        "image": {
            "format": facts.image.format,
            "width": facts.image.width,
            "height": facts.image.height,
            "notes": list(facts.image.notes),
            **facts.image_plan,
        },
        **_page(facts.page),
        "warnings": [{"code": one.code, "message": one.message} for one in warnings],
    }
    if facts.request.raw:
        meta["raw"] = [bytes(one.data).decode("utf-8", "replace") for one in facts.answers]
    return meta


def _of_engine(engine: EngineDescription) -> list[Warning_]:
    warnings = [_SYNTHETIC] if engine.synthetic else []
    if engine.encoder_fallback:
        told = f"Images are encoded by libmtmd, more slowly: {engine.encoder_fallback}"
        warnings.append(Warning_("encoder-fallback", told))
    return warnings


def _page(one: PageFacts | None) -> dict[str, Any]:
    match one:
        case None:
            return {}
        case DocumentPage():
            layer = {} if one.layer is None else {"text_layer": one.layer.state}
            return {"document": {"page": one.page, "pages": one.pages, "dpi": one.dpi, **layer}}
        case WebPage():
            viewport = {
                "width": one.width,
                "height": one.height,
                "device_scale": one.device_scale,
            }
            told = {"url": one.url, "title": one.title, "status": one.status}
            seen = {"viewport": viewport, "full_page": one.full_page, "notes": list(one.notes)}
            return {"page": told | seen}
        case _:
            assert_never(one)


def _model(engine: EngineDescription) -> dict[str, Any]:
    kind = " (synthetic, random weights)" if engine.synthetic else ""
    return {
        "family": engine.family,
        "name": f"MiniCPM-V {engine.family}{kind}",
        "synthetic": engine.synthetic,
        "main_sha256": engine.main_sha256,
        "projector_sha256": engine.projector_sha256,
    }


def _tokens(answers: Sequence[GeneratedAnswer]) -> dict[str, int]:
    return {
        "prompt": sum(answer.prompt_tokens for answer in answers),
        "image": sum(answer.image_rows for answer in answers),
        "generated": sum(answer.tokens for answer in answers),
        "forced": sum(answer.forced_tokens for answer in answers),
        "forward_passes": sum(answer.answer_passes for answer in answers),
    }
