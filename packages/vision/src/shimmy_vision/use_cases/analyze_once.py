"""The very same asked several times at once is analysed once, and so counted once."""

from __future__ import annotations

from contextlib import ExitStack

from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.ports.engine import AnyEngine
from shimmy_vision.ports.image_intake import DecodedImage
from shimmy_vision.ports.kept_results import KeptResults
from shimmy_vision.use_cases.analyze_pixels import AnalysisRun, analyze_pixels
from shimmy_vision.use_cases.compose_meta import PageFacts
from shimmy_vision.use_cases.count_page import Analysed
from shimmy_vision.use_cases.keep_result import keep_result
from shimmy_vision.use_cases.recall_result import recall_result


def analyze_once(
    results: KeptResults,
    image: DecodedImage,
    engine: AnyEngine,
    granted: Granted,
    run: AnalysisRun,
    page: PageFacts | None = None,
) -> Analysed:
    """What ``analyze_pixels`` finds, or found for another who asked the very same.

    Who comes while another is at it waits for its result, within his own deadline; where the other
    fails or is stopped, the next one does it. Who wants no kept result waits for nobody.
    """
    with ExitStack() as turn:
        if results.keeps and run.request.cache:
            key = run.result_key(image, engine.description, page)
            turn.enter_context(results.alone(key, run.cancellation))
            kept = recall_result(results, image, engine.description, granted, run, page)
            if kept is not None:
                return Analysed(kept, fresh=False)
        result = analyze_pixels(image, engine, granted, run, page)
        keep_result(results, image, engine.description, run, result, page)
    return Analysed(result, fresh=True)
