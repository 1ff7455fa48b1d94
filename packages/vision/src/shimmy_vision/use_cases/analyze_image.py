"""An image in, a strict JSON result out: the product's main job.

The licence gate stands here, before anything is decoded or loaded, so that the
command line, the HTTP server and the library all pass it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shimmy_vision.domain.answer.analysis_request import AnalysisRequest
from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import EngineSource
from shimmy_vision.ports.grammar import SchemaGrammar
from shimmy_vision.ports.image_intake import ImageIntake, IntakeLimits
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.ports.progress import ProgressListener
from shimmy_vision.use_cases.analyze_pixels import AnalysisRun, analyze_pixels
from shimmy_vision.use_cases.count_page import count_page


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What an analysis works with; built by ``wiring`` alone."""

    licensing: Licensing
    intake: ImageIntake
    intake_limits: IntakeLimits
    schemas: SchemaGrammar
    engines: EngineSource


def analyze_image(
    data: bytes,
    request: AnalysisRequest,
    collaborators: Collaborators,
    cancellation: Cancellation,
    listener: ProgressListener,
) -> dict[str, Any]:
    """Analyse the image file in ``data``; the result follows ``result_schema``.

    Raises LicenceError, SchemaError, ImageError, ModelError, LibraryError or
    StoppedError; whatever the model writes is never an error.
    """
    run = AnalysisRun(collaborators.schemas, request, cancellation, listener)

    def analyse(granted: Granted) -> dict[str, Any]:
        run.begin(granted)
        with run.stage("decode"):
            image = collaborators.intake.decode(data, collaborators.intake_limits)
        with run.stage("load"):
            engine = collaborators.engines.open(granted, cancellation)
        return analyze_pixels(image, engine, granted, run)

    # One image is one page, whatever its tiles.
    return count_page(collaborators.licensing, cancellation, analyse)
