"""The one place where adapters are constructed and handed to use cases."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from shimmy_vision.adapters.background_sync import BackgroundSync
from shimmy_vision.adapters.child_probe import (
    ChildProbe,
    command_of_this_program,
    report_library,
    report_probe_error,
)
from shimmy_vision.adapters.engine_serving import serve_analyses
from shimmy_vision.adapters.folder_model_store import FolderModelStore, names_in
from shimmy_vision.adapters.hashed_model_files import HashedModelFiles
from shimmy_vision.adapters.http_model_source import HttpModelSource
from shimmy_vision.adapters.keygen_licences import KeygenLicences
from shimmy_vision.adapters.lazy_engine import LazyEngine
from shimmy_vision.adapters.llama_engine import LlamaEngine, LlamaEngineOpener
from shimmy_vision.adapters.llama_library import has_gpu_backend, open_native_library
from shimmy_vision.adapters.llguidance_grammar import LlguidanceSchemas
from shimmy_vision.adapters.pdfium_documents import PdfiumDocuments
from shimmy_vision.adapters.pillow_intake import PillowIntake
from shimmy_vision.adapters.psutil_machine import read_machine_facts
from shimmy_vision.adapters.quiet_libraries import quiet_libraries
from shimmy_vision.adapters.signed_exchange import SignedExchange
from shimmy_vision.adapters.sqlite_licence_state import SqliteLicenceState
from shimmy_vision.adapters.system_machine_id import find_machine_id, in_container
from shimmy_vision.domain.answer.analysis_plan import largest_answer
from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, DocumentRequest
from shimmy_vision.domain.diagnosis import (
    Finding,
    judge_library,
    judge_licence,
    judge_machine,
    judge_models,
)
from shimmy_vision.domain.licence.access import NO_LICENCE, Access, Granted
from shimmy_vision.domain.licence.licence_key import clean_key
from shimmy_vision.domain.licence.licensor import choose_api_url
from shimmy_vision.domain.licence.machine_id import MachineId, fingerprint_of
from shimmy_vision.domain.licence.pinned import PINNED
from shimmy_vision.domain.model.model_choice import recommend_model
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.domain.model.model_manifest import MANIFEST, ModelPin
from shimmy_vision.domain.model.model_request import read_model_request
from shimmy_vision.errors import (
    LibraryError,
    LicenceError,
    ShimmyError,
    UsageError,
)
from shimmy_vision.ports.analyst import PageOutcome
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.document_intake import DocumentLimits
from shimmy_vision.ports.engine import Engine
from shimmy_vision.ports.engine_probe import EngineFiles, EngineOptions
from shimmy_vision.ports.image_intake import IntakeLimits
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.ports.progress import DocumentListener, ProgressListener
from shimmy_vision.settings import Settings
from shimmy_vision.use_cases.analyze_document import (
    DocumentCollaborators,
    analyze_document,
)
from shimmy_vision.use_cases.analyze_image import Collaborators, analyze_image
from shimmy_vision.use_cases.check_model_files import CheckOptions
from shimmy_vision.use_cases.inspect_models import inspect_models
from shimmy_vision.use_cases.locate_model import LocateCollaborators, locate_model
from shimmy_vision.use_cases.open_engine import EngineParts, open_engine
from shimmy_vision.use_cases.pull_model import PullCollaborators
from shimmy_vision.use_cases.read_standing import read_standing
from shimmy_vision.use_cases.sync_pages import sync_pages

# Prompt, markup and ten slices of 64 rows take under 1,100 positions; see docs/architecture.md.
_POSITIONS_BESIDES_ANSWER = 1536
_CONTEXT_STEP = 1024
# The licence server answers in under half a second; on a bad line nobody waits longer for it.
_LICENCE_SECONDS = 5.0
_LAST_SYNC_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class LicenceOrder:
    """What the caller chose about licence and machine; None leaves it to the settings."""

    key: str | None = field(default=None, repr=False)
    machine_id: str | None = field(default=None, repr=False)
    machine_name: str | None = None


@dataclass(frozen=True, slots=True)
class VisionOrder:
    """What the caller chose about the machine rather than about the image.

    ``verify`` reads every byte of the model again although its files have not changed.
    """

    model: str | None
    threads: int
    gpu_layers: int
    max_image_bytes: int
    max_dimension: int
    request: AnalysisRequest
    verify: bool = False
    licence: LicenceOrder = LicenceOrder()
    max_document_bytes: int = 200_000_000


@dataclass(frozen=True, slots=True)
class ModelCommands:
    """What ``shimmy models`` works with; ``recommend`` may ask the native library for GPUs."""

    manifest: Mapping[ModelFamily, ModelPin]
    pull: PullCollaborators
    recommend: Callable[[], ModelFamily]


@dataclass(frozen=True, slots=True)
class Vision:
    """The two jobs with everything they need; ``report`` is told of each page that is done."""

    collaborators: DocumentCollaborators
    report: Callable[[], None]

    def __call__(
        self, data: bytes, request: AnalysisRequest, switch: Cancellation, hear: ProgressListener
    ) -> dict[str, Any]:
        """``analyze_image``."""
        result = analyze_image(data, request, self.collaborators.analysis, switch, hear)
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
        with closing(
            analyze_document(data, request, self.collaborators, switches, hear)
        ) as outcomes:
            for outcome in outcomes:
                self.report()
                yield outcome


@contextmanager
def vision(settings: Settings, order: VisionOrder) -> Iterator[Vision]:
    """Ready to analyse; the engine opens on first use."""
    engines = LazyEngine(partial(_open_engine, settings, order))
    with licensing(settings, order.licence) as licences:
        analysis = Collaborators(
            licensing=licences,
            intake=PillowIntake(),
            intake_limits=IntakeLimits(order.max_image_bytes, order.max_dimension),
            schemas=LlguidanceSchemas(),
            engines=engines,
        )
        sync = BackgroundSync(partial(_sync, licences))
        with ExitStack() as ending:
            ending.callback(_last_sync, licences, sync)
            ending.callback(engines.close)
            limits = DocumentLimits(order.max_document_bytes)
            collaborators = DocumentCollaborators(analysis, PdfiumDocuments(), limits)
            yield Vision(collaborators, sync.poke)


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
    key = None if given is None else clean_key(given)
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
            given_key=key,
            now=_now,
            own_id=machine.source != "kept",
            contained=contained,
        )
    finally:
        server.close()
        state.close()


def _sync(licences: Licensing, *, leaving: bool = False) -> None:
    key = licences.key()
    if key is not None:
        sync_pages(key, licences, leaving=leaving)


def _last_sync(licences: Licensing, sync: BackgroundSync) -> None:
    """What need not be here tomorrow is reported now."""
    sync.close(_LAST_SYNC_SECONDS)
    with suppress(LicenceError):
        if licences.short_lived:
            _sync(licences, leaving=True)


def _now() -> datetime:
    return datetime.now(UTC)


def _open_engine(
    settings: Settings, order: VisionOrder, granted: Granted, cancellation: Cancellation
) -> Engine:
    request = read_model_request(order.model or settings.model)
    probe = _probe(settings)

    def locate() -> EngineFiles:
        checked = locate_model(
            request,
            LocateCollaborators(
                manifest=MANIFEST,
                store=FolderModelStore(settings.models_directory),
                files=_model_files(settings),
                gpu_memory=lambda: _gpu_memory(settings, probe, order.gpu_layers),
                names_in=names_in,
                check=CheckOptions(settings.allow_synthetic, order.verify),
            ),
            cancellation,
        )
        return EngineFiles(
            checked.main,
            checked.projector,
            checked.identity.family,
            checked.identity.synthetic,
            checked.main_sha256,
            checked.projector_sha256,
        )

    answer = largest_answer(order.request.question, order.request.limits.max_tokens)
    context = -(-(answer + _POSITIONS_BESIDES_ANSWER) // _CONTEXT_STEP) * _CONTEXT_STEP
    parts = EngineParts(
        locate=locate,
        probe=probe,
        opener=LlamaEngineOpener(settings.library_directory),
        options=EngineOptions(order.threads, order.gpu_layers, context),
    )
    return open_engine(granted, parts, cancellation)


def model_commands(settings: Settings) -> ModelCommands:
    """Collaborators of ``shimmy models``."""
    store = FolderModelStore(settings.models_directory)
    source = HttpModelSource(settings.model_base_url, offline=settings.offline)
    pull = PullCollaborators(store, source, _model_files(settings))

    def recommend() -> ModelFamily:
        return recommend_model(_gpu_memory(settings, _probe(settings), -1))

    return ModelCommands(MANIFEST, pull, recommend)


def diagnose(settings: Settings) -> tuple[Finding, ...]:
    """Everything ``shimmy doctor`` says."""
    probe, gpu_memory = _probe(settings), None
    try:
        report = probe.describe_library(Cancellation())
        library = judge_library(report.build, report.system_info, "", "")
        gpu_memory = max((gpu.total_memory for gpu in report.gpus), default=None)
        gpus = tuple(
            Finding("GPU", "ok", f"{gpu.description}, {gpu.total_memory / 1e9:.0f} GB")
            for gpu in report.gpus
        )
    except LibraryError as error:
        library, gpus = judge_library("", "", str(error), error.hint), ()
    store, files = FolderModelStore(settings.models_directory), _model_files(settings)
    facts = inspect_models(MANIFEST.values(), store, files)
    models = judge_models(facts, recommend_model(gpu_memory), str(settings.models_directory))
    return (*judge_machine(read_machine_facts()), *library, *gpus, _licence(settings), *models)


def _licence(settings: Settings) -> Finding:
    """What is known of the licence, without asking the server."""
    try:
        with licensing(settings, LicenceOrder()) as licences:
            access = _access(licences)
            given, sandbox = licences.given_key is not None, licences.licensor.sandbox
    except ShimmyError as error:
        return judge_licence("", str(error), error.hint, given=False, sandbox=PINNED.sandbox)
    if isinstance(access, Granted):
        return judge_licence(access.plan, "", "", given=given, sandbox=sandbox)
    return judge_licence("", access.reason, access.remedy, given=given, sandbox=sandbox)


def _access(licences: Licensing) -> Access:
    key = licences.key()
    if key is None:
        return NO_LICENCE
    with licences.state.session(key) as session:
        return read_standing(session, key, licences, licences.now()).access


def serve_engine(settings: Settings, order: VisionOrder, into: IO[bytes], out: IO[bytes]) -> None:
    """For the engine process: answer what comes in until it ends."""
    with vision(settings, order) as analyse:
        serve_analyses(analyse, into, out)


def describe_library_here(directory: Path) -> str:
    """For the trial process: load the library in this one and report it as JSON."""
    return report_library(open_native_library(directory).report())


def try_engine_here(directory: Path, files: EngineFiles, options: EngineOptions) -> None:
    """For the trial process: load, read a blank image of several slices, decode one token.

    Slices of more than one shape: some malformed projectors only crash on the second.
    """
    engine = LlamaEngine(directory, files, options)
    cancellation = Cancellation()
    side = engine.encoder.grid.slice_size
    blank = np.full((side // 2, side + 1, 3), 255, dtype=np.uint8)
    engine.encoder.encode(blank, on_slice=lambda _done, _all: None, cancellation=cancellation)
    with engine.sequence(cancellation) as model:
        model.evaluate_tokens(model.tokenize("x", special=False), cancellation)
        model.logits()
    engine.close()


def probe_error_line(error: ShimmyError) -> str:
    """For the trial process: the error in a form its parent can raise again."""
    return report_probe_error(error)


def _probe(settings: Settings) -> ChildProbe:
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
