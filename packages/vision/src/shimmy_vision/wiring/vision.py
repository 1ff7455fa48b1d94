"""Analyses, in this process and in the engine process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, TypeVar

from shimmy_vision.adapters.engine.engine_caches import EngineCaches
from shimmy_vision.adapters.engine.lazy_engine import LazyEngine
from shimmy_vision.adapters.engine.llama_engine import LlamaEngineOpener
from shimmy_vision.adapters.engine.llguidance_grammar import LlguidanceSchemas
from shimmy_vision.adapters.files.pdfium_documents import PdfiumDocuments
from shimmy_vision.adapters.files.pillow_intake import PillowIntake
from shimmy_vision.adapters.glibc_heaps import share_heaps
from shimmy_vision.adapters.licence.background_sync import BackgroundSync
from shimmy_vision.adapters.web.guarded_web import guarded_web
from shimmy_vision.adapters.worker.engine_serving import serve_jobs
from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, DocumentRequest, PageView
from shimmy_vision.ports.analyst import EngineStatus, Job, JobEvent, JobListener, PageOutcome
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.document_intake import DocumentLimits
from shimmy_vision.ports.engine import EngineDescription
from shimmy_vision.ports.image_intake import IntakeLimits
from shimmy_vision.ports.kept_results import NothingKept
from shimmy_vision.ports.progress import DocumentListener, ProgressListener
from shimmy_vision.ports.vision_order import VisionOrder
from shimmy_vision.settings import Settings, library_places, runs_elsewhere
from shimmy_vision.use_cases.analyze_document import DocumentCollaborators, analyze_document
from shimmy_vision.use_cases.analyze_image import Collaborators, analyze_image
from shimmy_vision.use_cases.analyze_url import analyze_url
from shimmy_vision.use_cases.analyze_web_page import WebCollaborators
from shimmy_vision.use_cases.prepare_engine import prepare_engine
from shimmy_vision.use_cases.recover_claims import recover_claims
from shimmy_vision.use_cases.report_pages import report_pages
from shimmy_vision.use_cases.run_job import run_job
from shimmy_vision.wiring.engines import open_ordered_engine
from shimmy_vision.wiring.fleet import open_remote_engine
from shimmy_vision.wiring.licences import open_licensing, report_last_pages

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Vision:
    """The two jobs with everything they need; ``report`` is told of each page that is done.

    ``counters`` gives counters, which only grow, and gauges, named as the metrics are; ``loaded``
    what is in memory now. Neither waits for anybody.
    """

    collaborators: WebCollaborators
    report: Callable[[], None]
    counters: Callable[[], tuple[dict[str, float], dict[str, float]]]
    loaded: Callable[[], EngineDescription | None]

    def __call__(
        self, data: bytes, request: AnalysisRequest, switch: Cancellation, hear: ProgressListener
    ) -> dict[str, Any]:
        """``analyze_image``."""
        analysis = self.collaborators.documents.analysis
        result = analyze_image(data, request, analysis, switch, hear)
        self.report()
        return result

    def pages(
        self,
        data: bytes,
        request: DocumentRequest,
        switches: Callable[[], Cancellation],
        hear: DocumentListener,
    ) -> Iterator[PageOutcome]:
        """``analyze_document``."""
        documents = self.collaborators.documents
        return self._reported(analyze_document(data, request, documents, switches, hear))

    def at_url(
        self,
        url: str,
        request: DocumentRequest,
        view: PageView,
        switches: Callable[[], Cancellation],
        hear: JobListener,
    ) -> Iterator[dict[str, Any] | PageOutcome]:
        """``analyze_url``."""
        return self._reported(analyze_url(url, request, view, self.collaborators, switches, hear))

    def analyse(
        self, job: Job, cancellation: Cancellation, listener: JobListener
    ) -> dict[str, Any] | None:
        """``run_job``."""

        def hear(event: JobEvent) -> None:
            if isinstance(event, PageOutcome):
                self.report()
            listener(event)

        result = run_job(job, self.collaborators, cancellation, hear)
        self.report()
        return result

    def prepare(self, cancellation: Cancellation) -> None:
        """``prepare_engine``."""
        analysis = self.collaborators.documents.analysis
        prepare_engine(analysis.licensing, analysis.engines, cancellation)

    def status(self) -> EngineStatus:
        """As an ``Analyst`` tells it."""
        return EngineStatus(True, self.loaded(), *self.counters())

    def _reported(self, outcomes: Generator[T, None, None]) -> Iterator[T]:
        with closing(outcomes):
            for outcome in outcomes:
                self.report()
                yield outcome


@contextmanager
def open_vision(settings: Settings, order: VisionOrder) -> Iterator[Vision]:
    """Ready to analyse; the engine opens on first use."""
    web = guarded_web(settings.allow_urls, offline=settings.offline)
    caches = EngineCaches(order.caches)
    opener = LlamaEngineOpener(settings.library_directory, caches, library_places(settings))
    open_engine = (
        partial(open_remote_engine, settings)
        if runs_elsewhere(settings)
        else partial(open_ordered_engine, settings, order, opener)
    )
    engines = LazyEngine(open_engine, order.idle_seconds, caches.counters)
    with open_licensing(settings, order.licence) as licences:
        recover_claims(licences)
        analysis = Collaborators(
            licensing=licences,
            intake=PillowIntake(),
            intake_limits=IntakeLimits(order.max_image_bytes, order.max_dimension),
            schemas=LlguidanceSchemas(),
            engines=engines,
            results=caches.results if order.caches.results_bytes else NothingKept(),
        )
        sync = BackgroundSync(partial(report_pages, licences))
        with ExitStack() as ending:
            ending.callback(report_last_pages, licences, sync)
            ending.callback(engines.close)
            limits = DocumentLimits(order.max_document_bytes)
            documents = DocumentCollaborators(analysis, PdfiumDocuments(), limits)
            collaborators = WebCollaborators(documents, web.fetch, web.camera, settings.browser)
            yield Vision(collaborators, sync.poke, caches.numbers, lambda: engines.loaded)


def serve_engine(settings: Settings, order: VisionOrder, into: IO[bytes], out: IO[bytes]) -> None:
    """For the engine process: do what comes in until it ends."""
    share_heaps()
    with open_vision(settings, order) as runner:
        serve_jobs(runner, into, out)
