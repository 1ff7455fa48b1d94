"""A document in, one strict JSON result a page out, each as it is done.

Every page passes the licence gate as an image does, and is counted as one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from shimmy_vision.domain.answer.analysis_request import DocumentRequest, reads_text
from shimmy_vision.domain.answer.page_ranges import choose_pages
from shimmy_vision.domain.answer.result import Warning_
from shimmy_vision.domain.image.page_scale import LEAST_READABLE, PixelLimits, choose_dpi
from shimmy_vision.domain.image.text_layer import read_layer
from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.errors import DeadlineError, ImageError
from shimmy_vision.ports.analyst import PageOutcome
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.document_intake import DocumentIntake, DocumentLimits, OpenDocument
from shimmy_vision.ports.engine import AnyEngine
from shimmy_vision.ports.image_intake import DecodedImage
from shimmy_vision.ports.progress import (
    DocumentListener,
    PageProgress,
    PageWritten,
    Progress,
    Written,
)
from shimmy_vision.use_cases.analyze_image import Collaborators
from shimmy_vision.use_cases.analyze_once import analyze_once
from shimmy_vision.use_cases.analyze_pixels import AnalysisRun
from shimmy_vision.use_cases.compose_meta import DocumentPage
from shimmy_vision.use_cases.count_page import Analysed, count_page
from shimmy_vision.use_cases.pass_gate import pass_gate


@dataclass(frozen=True, slots=True)
class DocumentCollaborators:
    """What the analysis of a document works with; built by ``wiring`` alone.

    Limits of ``analysis`` on an image's pixels hold for a page's rendering.
    """

    analysis: Collaborators
    documents: DocumentIntake
    limits: DocumentLimits


def analyze_document(
    data: bytes,
    request: DocumentRequest,
    collaborators: DocumentCollaborators,
    switches: Callable[[], Cancellation],
    listener: DocumentListener,
    *,
    told: Collection[int] = (),
    fetched: float = 0.0,
    key: str = "",
) -> Generator[PageOutcome, None, None]:
    """Analyse the chosen pages of the document in ``data``, one each time the next is asked for.

    Pages in ``told`` were done before: they are left out, and count as done in what is reported.
    ``switches`` gives the switch of the opening, then of each page about to begin: a fresh one
    where each has its own deadline, always the same to stop them all. A page that cannot be read,
    or ran out of time, is an outcome and the next follows. Everything else ends the iteration:
    UsageError where a page is not there; ImageError where the document cannot be opened;
    LicenceError, also when a cap is reached between two pages; SchemaError, ModelError,
    LibraryError and StoppedError. What was yielded before stands and is counted. ``fetched`` are
    seconds that went into fetching the document before; they are told with the first page. ``key``
    with its number names each page to ``count_page``.
    """
    # How many pages it has is known only afterwards.
    pass_gate(collaborators.analysis.licensing)
    switch = switches()
    with collaborators.documents.open(data, collaborators.limits, switch) as document:
        pages = choose_pages(request.pages, document.page_count)
        left = [page for page in pages if page not in told]
        for done, page in enumerate(left, len(pages) - len(left)):
            hear = partial(_tell, listener, page, done, len(pages))
            hear(Progress("decode", 0, 0))
            switch = switches()
            switch.check()
            run = AnalysisRun(collaborators.analysis.schemas, request.analysis, switch, hear)
            run.begin_earlier("fetch", fetched if page == left[0] else 0.0)
            reader = _PageReader(document, page, request, collaborators.analysis, run)
            yield _outcome(reader, f"{key}/{page}" if key else "")


def _tell(
    listener: DocumentListener, page: int, done: int, total: int, within: Progress | Written
) -> None:
    match within:
        case Progress():
            listener(PageProgress(page, done, total, within))
        case Written():
            listener(PageWritten(page, within))


@dataclass(frozen=True, slots=True)
class _PageReader:
    """One page of an open document, on its way to a result."""

    document: OpenDocument
    page: int
    request: DocumentRequest
    collaborators: Collaborators
    run: AnalysisRun

    def read(self, granted: Granted) -> Analysed:
        """The page's result, once it is admitted."""
        run, results = self.run, self.collaborators.results
        run.begin(granted)
        with ExitStack() as lease:
            with run.stage("load"):
                opening = self.collaborators.engines.use(granted, run.cancellation)
                engine = lease.enter_context(opening)
            with run.stage("decode"):
                facts, image = self._render(engine)
            return analyze_once(results, image, engine, granted, run, facts)

    def _render(self, engine: AnyEngine) -> tuple[DocumentPage, DecodedImage]:
        document, page, cancellation = self.document, self.page, self.run.cancellation
        limits = self.collaborators.intake_limits
        size = document.page_size(page, cancellation)
        within = PixelLimits(limits.max_dimension, limits.max_pixels)
        dpi = choose_dpi(size, engine.encoder.grid, within, self.request.dpi)
        if dpi < LEAST_READABLE and self.request.dpi is None:
            self.run.warnings.append(_coarse(dpi))
        image = document.render(page, dpi, cancellation)
        layer = None
        if reads_text(self.request.analysis.question):
            characters = document.characters(page, dpi, cancellation)
            layer = read_layer(characters, image.info.width, image.info.height)
        wished = self.request.dpi is not None
        return DocumentPage(page, document.page_count, dpi, layer, wished), image


def _outcome(reader: _PageReader, key: str) -> PageOutcome:
    licensing = reader.collaborators.licensing
    try:
        result = count_page(licensing, reader.run.cancellation, reader.read, key)
    except (ImageError, DeadlineError) as error:
        return PageOutcome(reader.page, None, error)
    return PageOutcome(reader.page, result, None)


def _coarse(dpi: int) -> Warning_:
    return Warning_(
        "page-downscaled",
        f"The page is so large that it was rendered at {dpi} dpi: small letters may be lost.",
    )
