"""A result that is still there answers the very same request again."""

from __future__ import annotations

import time
from typing import Any

from shimmy_vision.domain.answer.stage_times import milliseconds, stage_milliseconds
from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.ports.engine import EngineDescription
from shimmy_vision.ports.image_intake import DecodedImage
from shimmy_vision.ports.kept_results import KeptResults
from shimmy_vision.use_cases.analyze_pixels import AnalysisRun
from shimmy_vision.use_cases.compose_meta import PageFacts


def recall_result(
    results: KeptResults,
    image: DecodedImage,
    engine: EngineDescription | None,
    granted: Granted,
    run: AnalysisRun,
    page: PageFacts | None = None,
) -> dict[str, Any] | None:
    """What ``engine`` answered to the same request about the same image, as of now.

    Times, plan, the gate's notices and what the encoder ran for, nothing, are this request's own.
    """
    if engine is None or not (results.keeps and run.request.cache):
        return None
    kept = results.find(run.result_key(image, engine, page))
    if kept is None:
        return None
    result: dict[str, Any] = kept["result"]
    meta, place = result["meta"], kept["notices_at"]
    meta["licence"] = granted.plan
    meta["warnings"][place:place] = run.notices_json()
    meta["timings"] = stage_milliseconds(run.seconds)
    meta["duration_ms"] = milliseconds(time.perf_counter() - run.started)
    meta["cache"] = {"result": True, "encodings": 0, "states": 0}
    slices = meta["image"]["slices"]
    slices["reused"] += slices["encoded"]
    slices["encoded"] = 0
    return result
