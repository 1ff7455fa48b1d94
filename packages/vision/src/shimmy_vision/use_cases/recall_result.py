"""A result that is still there answers the very same request again; and how it got there."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from shimmy_vision.domain.answer.result_key import result_key
from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.ports.engine import EngineDescription
from shimmy_vision.ports.image_intake import DecodedImage
from shimmy_vision.ports.kept_results import KeptResults
from shimmy_vision.use_cases.analyze_pixels import AnalysisRun
from shimmy_vision.use_cases.compose_meta import PageFacts, stage_timings


def recall_result(
    results: KeptResults,
    image: DecodedImage,
    engine: EngineDescription | None,
    granted: Granted,
    run: AnalysisRun,
    page: PageFacts | None = None,
) -> dict[str, Any] | None:
    """What ``engine`` answered to the same request about the same image, as of now.

    Times, plan and the gate's notices are this request's own.
    """
    if engine is None or not (results.keeps and run.request.cache):
        return None
    kept = results.find(_key(image, engine, run, page))
    if kept is None:
        return None
    result: dict[str, Any] = kept["result"]
    meta, place = result["meta"], kept["notices_at"]
    meta["licence"] = granted.plan
    meta["warnings"][place:place] = _notices(run)
    meta["timings"] = stage_timings(run.seconds)
    meta["duration_ms"] = round((time.perf_counter() - run.started) * 1000, 1)
    meta["cache"] = {"result": True, "encodings": 0, "states": 0}
    return result


def keep_result(
    results: KeptResults,
    image: DecodedImage,
    engine: EngineDescription,
    run: AnalysisRun,
    result: dict[str, Any],
    page: PageFacts | None = None,
) -> None:
    """Keep ``result`` without what concerned this one request only."""
    if not results.keeps:
        return
    gate, meta = _notices(run), result["meta"]
    warnings = meta["warnings"]
    place = next((index for index, one in enumerate(warnings) if one in gate), 0)
    lasting = {**meta, "warnings": [one for one in warnings if one not in gate]}
    kept = {"result": {**result, "meta": lasting}, "notices_at": place}
    results.keep(_key(image, engine, run, page), kept)


def _notices(run: AnalysisRun) -> list[dict[str, str]]:
    return [{"code": one.code, "message": one.message} for one in run.notices]


def _key(
    image: DecodedImage, engine: EngineDescription, run: AnalysisRun, page: PageFacts | None
) -> str:
    models = engine.main_sha256, engine.projector_sha256
    besides = {"image": asdict(image.info), "page": None if page is None else asdict(page)}
    return result_key(image.pixels, models, run.request, besides)
