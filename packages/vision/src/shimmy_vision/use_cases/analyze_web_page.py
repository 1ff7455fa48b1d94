"""A web page in, a strict JSON result out: its picture is analysed as an image is.

The document's own elements stand beside what the model saw, under ``dom_map``.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, PageView
from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.domain.web.page_urls import reported_url
from shimmy_vision.domain.web.web_page import WebPage
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_intake import DecodedImage
from shimmy_vision.ports.page_capture import PageCamera, PageLimits, PageOrder
from shimmy_vision.ports.progress import ProgressListener
from shimmy_vision.ports.web_fetch import WebFetch
from shimmy_vision.use_cases.analyze_document import DocumentCollaborators
from shimmy_vision.use_cases.analyze_once import analyze_once
from shimmy_vision.use_cases.analyze_pixels import AnalysisRun
from shimmy_vision.use_cases.count_page import Analysed, count_page
from shimmy_vision.use_cases.recall_result import recall_result


@dataclass(frozen=True, slots=True)
class WebCollaborators:
    """What the analysis of a URL works with; built by ``wiring`` alone.

    ``browser`` is an executable's path or name; None looks for the usual ones.
    """

    documents: DocumentCollaborators
    fetch: WebFetch
    camera: PageCamera
    browser: str | None = None


def analyze_web_page(
    url: str,
    request: AnalysisRequest,
    view: PageView,
    collaborators: WebCollaborators,
    cancellation: Cancellation,
    listener: ProgressListener,
    fetched: float = 0.0,
    *,
    key: str = "",
) -> dict[str, Any]:
    """Visit the page at ``url``, see it as ``view`` says, and analyse what is seen as one page.

    ``fetched`` are seconds that went into fetching it before; ``key`` is as in ``count_page``. The
    result follows ``result_schema``. Raises as ``PageCamera`` and ``analyze_image`` do; without a
    licence nothing is visited.
    """
    analysis = collaborators.documents.analysis
    run = AnalysisRun(analysis.schemas, request, cancellation, listener)
    run.begin_earlier("fetch", fetched)

    def analyse(granted: Granted) -> Analysed:
        engines, results = analysis.engines, analysis.results
        run.begin(granted)
        with run.stage("fetch"):
            page, png = _visit(url, view, collaborators, cancellation)
        with run.stage("decode"):
            image = _decode(png, collaborators, cancellation)
        kept = recall_result(results, image, engines.known(), granted, run, page)
        if kept is not None:
            return Analysed(kept, fresh=False)
        with ExitStack() as lease:
            with run.stage("load"):
                engine = lease.enter_context(engines.use(granted, cancellation))
            return analyze_once(results, image, engine, granted, run, page)

    # One page is one page, however long it is.
    return count_page(analysis.licensing, cancellation, analyse, key)


def _visit(
    url: str, view: PageView, collaborators: WebCollaborators, cancellation: Cancellation
) -> tuple[WebPage, bytes]:
    limits, usual = collaborators.documents.analysis.intake_limits, PageLimits()
    order = PageOrder(
        url,
        view.width,
        view.height,
        view.device_scale,
        view.full_page,
        collaborators.browser,
        # What no image may be, a page is cut to.
        replace(
            usual,
            max_width=min(usual.max_width, limits.max_dimension),
            max_height=min(usual.max_height, limits.max_dimension),
            max_pixels=min(usual.max_pixels, limits.max_pixels),
        ),
    )
    capture = collaborators.camera.capture(order, cancellation)
    page = WebPage(
        url=reported_url(capture.final_url),
        title=capture.title,
        status=capture.status,
        width=view.width,
        height=view.height,
        device_scale=view.device_scale,
        full_page=view.full_page,
        notes=capture.notes,
        elements=capture.elements,
    )
    return page, capture.png


def _decode(
    png: bytes, collaborators: WebCollaborators, cancellation: Cancellation
) -> DecodedImage:
    """How many bytes a picture of our own takes is not the caller's doing."""
    analysis = collaborators.documents.analysis
    limits = replace(analysis.intake_limits, max_bytes=len(png))
    return analysis.intake.decode(png, limits, cancellation)
