"""A finished result, kept for ``recall_result``."""

from __future__ import annotations

from typing import Any

from shimmy_vision.ports.engine import EngineDescription
from shimmy_vision.ports.image_intake import DecodedImage
from shimmy_vision.ports.kept_results import KeptResults
from shimmy_vision.use_cases.analyze_pixels import AnalysisRun
from shimmy_vision.use_cases.compose_meta import PageFacts


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
    gate, meta = run.notices_json(), result["meta"]
    warnings = meta["warnings"]
    place = next((index for index, one in enumerate(warnings) if one in gate), 0)
    lasting = {**meta, "warnings": [one for one in warnings if one not in gate]}
    kept = {"result": {**result, "meta": lasting}, "notices_at": place}
    results.keep(run.result_key(image, engine, page), kept)
