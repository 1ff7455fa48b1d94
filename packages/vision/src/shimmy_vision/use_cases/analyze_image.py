"""An image in, a strict JSON result out: the product's main job.

The licence gate stands here, before anything is decoded or loaded, so that the
command line, the HTTP server and the library all pass it.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from shimmy_vision.domain.answer.analysis_request import AnalysisRequest
from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import EngineSource
from shimmy_vision.ports.grammar import SchemaGrammar
from shimmy_vision.ports.image_intake import ImageIntake, IntakeLimits
from shimmy_vision.ports.kept_results import KeptResults, NothingKept
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.ports.progress import ProgressListener
from shimmy_vision.use_cases.analyze_once import analyze_once
from shimmy_vision.use_cases.analyze_pixels import AnalysisRun
from shimmy_vision.use_cases.count_page import Analysed, count_page
from shimmy_vision.use_cases.recall_result import recall_result


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What an analysis works with; built by ``wiring`` alone."""

    licensing: Licensing
    intake: ImageIntake
    intake_limits: IntakeLimits
    schemas: SchemaGrammar
    engines: EngineSource
    results: KeptResults = field(default_factory=NothingKept)


def analyze_image(
    data: bytes,
    request: AnalysisRequest,
    collaborators: Collaborators,
    cancellation: Cancellation,
    listener: ProgressListener,
    fetched: float = 0.0,
    *,
    key: str = "",
) -> dict[str, Any]:
    """Analyse the image file in ``data``; the result follows ``result_schema``.

    ``fetched`` are seconds that went into fetching it before; ``key`` is as in ``count_page``.
    Raises LicenceError, SchemaError, ImageError, ModelError, LibraryError or
    StoppedError; whatever the model writes is never an error.
    """
    run = AnalysisRun(collaborators.schemas, request, cancellation, listener)
    run.begin_earlier("fetch", fetched)

    def analyse(granted: Granted) -> Analysed:
        run.begin(granted)
        with run.stage("decode"):
            limits = collaborators.intake_limits
            image = collaborators.intake.decode(data, limits, cancellation)
        engines, results = collaborators.engines, collaborators.results
        # What is known without a model in memory need not wait for one.
        kept = recall_result(results, image, engines.known(), granted, run)
        if kept is not None:
            return Analysed(kept, fresh=False)
        with ExitStack() as lease:
            with run.stage("load"):
                engine = lease.enter_context(engines.use(granted, cancellation))
            return analyze_once(results, image, engine, granted, run)

    # One image is one page, whatever its tiles.
    return count_page(collaborators.licensing, cancellation, analyse, key)
