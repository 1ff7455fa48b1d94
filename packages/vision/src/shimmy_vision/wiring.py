"""The one place where adapters are constructed and handed to use cases."""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from shimmy_vision.adapters.engine.child_probe import (
    ChildProbe,
    command_of_this_program,
    report_library,
    report_probe_error,
)
from shimmy_vision.adapters.engine.encoder_opening import describe_encoder
from shimmy_vision.adapters.engine.engine_caches import EngineCaches
from shimmy_vision.adapters.engine.lazy_engine import LazyEngine
from shimmy_vision.adapters.engine.llama_engine import LlamaEngine, LlamaEngineOpener
from shimmy_vision.adapters.engine.llama_library import has_gpu_backend, open_native_library
from shimmy_vision.adapters.engine.llguidance_grammar import LlguidanceSchemas
from shimmy_vision.adapters.files.folder_model_store import FolderModelStore, names_in
from shimmy_vision.adapters.files.hashed_model_files import HashedModelFiles
from shimmy_vision.adapters.files.http_model_source import HttpModelSource
from shimmy_vision.adapters.files.pdfium_documents import PdfiumDocuments
from shimmy_vision.adapters.files.pillow_intake import PillowIntake
from shimmy_vision.adapters.licence.background_sync import BackgroundSync
from shimmy_vision.adapters.licence.folder_page_claims import open_claims
from shimmy_vision.adapters.licence.keygen_licences import KeygenLicences
from shimmy_vision.adapters.licence.signed_exchange import SignedExchange
from shimmy_vision.adapters.licence.sqlite_licence_state import SqliteLicenceState
from shimmy_vision.adapters.licence.system_machine_id import find_machine_id, in_container
from shimmy_vision.adapters.payload.payload_vault import describe_library as describe_library
from shimmy_vision.adapters.psutil_machine import read_machine_facts
from shimmy_vision.adapters.quiet_libraries import quiet_libraries
from shimmy_vision.adapters.web.guarded_web import guarded_web
from shimmy_vision.adapters.worker.engine_process import EngineProcess
from shimmy_vision.adapters.worker.engine_serving import serve_jobs
from shimmy_vision.adapters.worker.worker_command import worker_command
from shimmy_vision.domain.answer.analysis_plan import context_size
from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, DocumentRequest, PageView
from shimmy_vision.domain.diagnosis import Finding, judge_licence, judge_machine, judge_models
from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.domain.licence.licence_key import clean_key
from shimmy_vision.domain.licence.licensor import choose_api_url
from shimmy_vision.domain.licence.machine_id import MachineId, fingerprint_of
from shimmy_vision.domain.licence.pinned import PINNED
from shimmy_vision.domain.model.model_choice import recommend_model
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.domain.model.model_manifest import MANIFEST, ModelPin
from shimmy_vision.domain.model.model_request import read_model_request
from shimmy_vision.errors import LicenceError, ShimmyError, UsageError
from shimmy_vision.ports.analyst import EngineStatus, Job, JobEvent, JobListener, PageOutcome
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.document_intake import DocumentLimits
from shimmy_vision.ports.engine import Engine, EngineDescription
from shimmy_vision.ports.engine_probe import EngineFiles, EngineOptions
from shimmy_vision.ports.image_intake import IntakeLimits
from shimmy_vision.ports.kept_results import NothingKept
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.ports.progress import DocumentListener, ProgressListener
from shimmy_vision.ports.serving import Serving
from shimmy_vision.ports.vision_order import LicenceOrder as LicenceOrder
from shimmy_vision.ports.vision_order import VisionOrder as VisionOrder
from shimmy_vision.settings import Settings, child_environment, encoder_order, library_places
from shimmy_vision.use_cases.analyze_document import DocumentCollaborators, analyze_document
from shimmy_vision.use_cases.analyze_image import Collaborators, analyze_image
from shimmy_vision.use_cases.analyze_url import analyze_url
from shimmy_vision.use_cases.analyze_web_page import WebCollaborators
from shimmy_vision.use_cases.check_model_files import CheckOptions
from shimmy_vision.use_cases.check_ready import check_ready
from shimmy_vision.use_cases.exercise_engine import exercise_engine
from shimmy_vision.use_cases.inspect_library import inspect_library
from shimmy_vision.use_cases.inspect_licence import inspect_licence
from shimmy_vision.use_cases.inspect_models import inspect_models
from shimmy_vision.use_cases.list_served import list_served
from shimmy_vision.use_cases.locate_model import LocateCollaborators, locate_model
from shimmy_vision.use_cases.open_engine import EngineParts, open_engine
from shimmy_vision.use_cases.prepare_engine import prepare_engine
from shimmy_vision.use_cases.pull_model import PullCollaborators
from shimmy_vision.use_cases.recover_claims import recover_claims
from shimmy_vision.use_cases.report_pages import report_pages
from shimmy_vision.use_cases.run_job import run_job

T = TypeVar("T")

# The licence server answers in under half a second; on a bad line nobody waits longer for it.
_LICENCE_SECONDS = 5.0
_LAST_SYNC_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ModelCommands:
    """What ``shimmy models`` works with; ``recommend`` may ask the native library for GPUs."""

    manifest: Mapping[ModelFamily, ModelPin]
    pull: PullCollaborators
    recommend: Callable[[], ModelFamily]


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
def vision(settings: Settings, order: VisionOrder) -> Iterator[Vision]:
    """Ready to analyse; the engine opens on first use."""
    web = guarded_web(settings.allow_urls, offline=settings.offline)
    caches = EngineCaches(order.caches)
    opener = LlamaEngineOpener(settings.library_directory, caches, library_places(settings))
    engines = LazyEngine(
        partial(_open_engine, settings, order, opener), order.idle_seconds, caches.counters
    )
    with licensing(settings, order.licence) as licences:
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
            ending.callback(_last_sync, licences, sync)
            ending.callback(engines.close)
            limits = DocumentLimits(order.max_document_bytes)
            documents = DocumentCollaborators(analysis, PdfiumDocuments(), limits)
            collaborators = WebCollaborators(documents, web.fetch, web.camera, settings.browser)
            yield Vision(collaborators, sync.poke, caches.numbers, lambda: engines.loaded)


@contextmanager
def licensing(settings: Settings, order: LicenceOrder) -> Iterator[Licensing]:
    """What the licence use cases work with, for the licensor pinned in this build."""
    quiet_libraries()
    try:
        api_url = choose_api_url(PINNED, settings.licence_url)
    except ValueError as error:
        raise UsageError(
            "licence-url-refused", f"SHIMMY_LICENSE_URL: {error}.", hint="Unset it."
        ) from error
    contained = in_container(settings.container)
    state = SqliteLicenceState(
        settings.state_directory / "licence.sqlite",
        PINNED.account,
        host=platform.node() if contained else "",
    )
    given = settings.licence_key if order.key is None else order.key
    machine = find_machine_id(
        order.machine_id, settings.machine_id, settings.machine_id_file, settings.container
    ) or MachineId("kept", state.machine_id())
    fingerprint = fingerprint_of(machine, PINNED.account)
    state.use_fingerprint(fingerprint)
    exchange = SignedExchange(
        api_url,
        PINNED.account,
        PINNED.public_key,
        now=_now,
        timeout=_LICENCE_SECONDS,
        offline=settings.offline,
    )
    server = KeygenLicences(exchange, PINNED.product)
    try:
        yield Licensing(
            # As it is asked, so that messages name the server that was.
            licensor=replace(PINNED, api_url=api_url),
            server=server,
            state=state,
            fingerprint=fingerprint,
            machine_name=order.machine_name or settings.machine_name or platform.node(),
            platform=f"{platform.system()} {platform.machine()}",
            given_key=None if given is None else clean_key(given),
            now=_now,
            own_id=machine.source != "kept",
            contained=contained,
            claims=open_claims(settings.fleet_directory, fingerprint),
        )
    finally:
        server.close()
        state.close()


def _last_sync(licences: Licensing, sync: BackgroundSync) -> None:
    """What need not be here tomorrow is reported now."""
    sync.close(_LAST_SYNC_SECONDS)
    with suppress(LicenceError):
        if licences.short_lived:
            report_pages(licences, leaving=True)


def _now() -> datetime:
    return datetime.now(UTC)


def _open_engine(
    settings: Settings,
    order: VisionOrder,
    opener: LlamaEngineOpener,
    granted: Granted,
    cancellation: Cancellation,
) -> Engine:
    context = context_size(order.request.question, order.request.limits.max_tokens)
    shape = order.threads, order.gpu_layers, context, order.sequences
    parts = EngineParts(
        locate=partial(_locate, settings, order, cancellation),
        probe=engine_probe(settings),
        opener=opener,
        options=EngineOptions(*shape, encoder_order(settings)),
    )
    return open_engine(granted, parts, cancellation)


def _locate(settings: Settings, order: VisionOrder, cancellation: Cancellation) -> EngineFiles:
    """The checked files of the model that is wanted. Raises ModelError or UsageError."""
    checked = locate_model(
        read_model_request(order.model or settings.model),
        LocateCollaborators(
            manifest=MANIFEST,
            store=FolderModelStore(settings.models_directory),
            files=_model_files(settings),
            gpu_memory=lambda: _gpu_memory(settings, engine_probe(settings), order.gpu_layers),
            names_in=names_in,
            check=CheckOptions(settings.allow_synthetic, order.verify),
        ),
        cancellation,
    )
    return checked.engine_files


def model_commands(settings: Settings) -> ModelCommands:
    """Collaborators of ``shimmy models``."""
    store = FolderModelStore(settings.models_directory)
    source = HttpModelSource(settings.model_base_url, offline=settings.offline)
    pull = PullCollaborators(store, source, _model_files(settings))
    recommend = lambda: recommend_model(_gpu_memory(settings, engine_probe(settings), -1))  # noqa: E731
    return ModelCommands(MANIFEST, pull, recommend)


def diagnose(settings: Settings) -> tuple[Finding, ...]:
    """Everything ``shimmy doctor`` says."""
    library, gpu_memory = inspect_library(engine_probe(settings))
    store, files = FolderModelStore(settings.models_directory), _model_files(settings)
    facts = inspect_models(MANIFEST.values(), store, files)
    models = judge_models(facts, recommend_model(gpu_memory), str(settings.models_directory))
    return (*judge_machine(read_machine_facts()), *library, _licence(settings), *models)


def _licence(settings: Settings) -> Finding:
    try:
        with licensing(settings, LicenceOrder()) as licences:
            return inspect_licence(licences)
    except ShimmyError as error:
        return judge_licence("", str(error), error.hint, given=False, sandbox=PINNED.sandbox)


def serve_engine(settings: Settings, order: VisionOrder, into: IO[bytes], out: IO[bytes]) -> None:
    """For the engine process: do what comes in until it ends."""
    with vision(settings, order) as runner:
        serve_jobs(runner, into, out)


@contextmanager
def analyst(settings: Settings, order: VisionOrder, jobs: int) -> Iterator[EngineProcess]:
    """An analyst whose ``jobs`` at once are done in a process of their own."""
    environment = child_environment(settings, order.licence)
    with closing(EngineProcess(worker_command(order), environment, jobs=jobs)) as opened:
        yield opened


@contextmanager
def serving(settings: Settings, order: VisionOrder, jobs: int) -> Iterator[Serving]:
    """Everything that ``shimmy serve`` works with."""
    given = order.licence
    with licensing(settings, given) as licences, analyst(settings, order, jobs) as opened:
        # Quick: digests of files that have not changed are kept.
        locate = partial(_locate, settings, replace(order, verify=False), Cancellation())
        yield Serving(
            analyst=opened,
            check_ready=partial(check_ready, licences, opened, locate),
            list_models=partial(list_served, locate),
            licences=partial(licensing, settings, given),
            post=guarded_web(settings.allow_urls, offline=settings.offline).post,
        )


def describe_library_here(settings: Settings, directory: Path) -> str:
    """For the trial process: load the library in this one and report it as JSON."""
    report = open_native_library(directory, library_places(settings)).report()
    return report_library(report, *describe_encoder(encoder_order(settings)))


def try_engine_here(
    settings: Settings, directory: Path, files: EngineFiles, options: EngineOptions
) -> None:
    """For the trial process: load, and run once."""
    with closing(LlamaEngine(directory, files, options, None, library_places(settings))) as engine:
        exercise_engine(engine, Cancellation())


def probe_error_line(error: ShimmyError) -> str:
    """For the trial process: the error in a form its parent can raise again."""
    return report_probe_error(error)


def engine_probe(settings: Settings) -> ChildProbe:
    """Loads the library in a process of its own first."""
    record = settings.state_directory / "probed.json"
    return ChildProbe(command_of_this_program(), settings.library_directory, record)


def _model_files(settings: Settings) -> HashedModelFiles:
    return HashedModelFiles(settings.state_directory / "digests.json")


def _gpu_memory(settings: Settings, probe: ChildProbe, gpu_layers: int) -> int | None:
    """Memory of the largest GPU; a build without a GPU backend is not even asked."""
    if gpu_layers == 0 or not has_gpu_backend(settings.library_directory):
        return None
    gpus = probe.describe_library(Cancellation()).gpus
    return max((gpu.total_memory for gpu in gpus), default=None)
