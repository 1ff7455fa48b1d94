"""The native library, the files of a model, and the engine that runs it."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

from shimmy_vision.adapters.engine.child_probe import (
    ChildProbe,
    command_of_this_program,
    report_int8,
    report_library,
    report_probe_error,
)
from shimmy_vision.adapters.engine.encoder_opening import describe_encoder
from shimmy_vision.adapters.engine.int8_trial import try_int8
from shimmy_vision.adapters.engine.llama_engine import LlamaEngine, LlamaEngineOpener
from shimmy_vision.adapters.engine.llama_library import has_gpu_backend, open_native_library
from shimmy_vision.adapters.files.folder_model_store import FolderModelStore, names_in
from shimmy_vision.adapters.files.hashed_model_files import HashedModelFiles
from shimmy_vision.adapters.payload.payload_vault import describe_library as describe_library
from shimmy_vision.domain.answer.analysis_plan import context_size
from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.domain.model.model_manifest import MANIFEST
from shimmy_vision.domain.model.model_request import read_model_request
from shimmy_vision.errors import ShimmyError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import Engine
from shimmy_vision.ports.engine_probe import EngineFiles, EngineOptions
from shimmy_vision.ports.vision_order import VisionOrder
from shimmy_vision.settings import Settings, encoder_order, library_places
from shimmy_vision.use_cases.check_model_files import CheckOptions
from shimmy_vision.use_cases.exercise_engine import exercise_engine
from shimmy_vision.use_cases.locate_model import LocateCollaborators, locate_model
from shimmy_vision.use_cases.open_engine import EngineParts, open_engine


def open_ordered_engine(
    settings: Settings,
    order: VisionOrder,
    opener: LlamaEngineOpener,
    granted: Granted,
    cancellation: Cancellation,
) -> Engine:
    """The engine of the wanted model. Raises what ``open_engine`` raises."""
    context = context_size(order.request.question, order.request.limits.max_tokens)
    shape = order.threads, order.gpu_layers, context, order.sequences
    parts = EngineParts(
        locate=partial(locate_files, settings, order, cancellation),
        probe=engine_probe(settings),
        opener=opener,
        options=EngineOptions(*shape, encoder_order(settings)),
    )
    return open_engine(granted, parts, cancellation)


def locate_files(settings: Settings, order: VisionOrder, cancellation: Cancellation) -> EngineFiles:
    """The checked files of the model that is wanted. Raises ModelError or UsageError."""
    checked = locate_model(
        read_model_request(order.model or settings.model),
        LocateCollaborators(
            manifest=MANIFEST,
            store=FolderModelStore(settings.models_directory),
            files=model_files(settings),
            gpu_memory=lambda: gpu_memory(settings, engine_probe(settings), order.gpu_layers),
            names_in=names_in,
            check=CheckOptions(settings.allow_synthetic, order.verify),
        ),
        cancellation,
    )
    return checked.engine_files


def engine_probe(settings: Settings) -> ChildProbe:
    """Loads the library in a process of its own first."""
    record = settings.state_directory / "probed.json"
    return ChildProbe(command_of_this_program(), settings.library_directory, record)


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


def try_int8_here(
    settings: Settings, directory: Path, files: EngineFiles, options: EngineOptions
) -> str:
    """For the trial process: int8 beside libmtmd, with this projector; the verdict's line."""
    library = open_native_library(directory, library_places(settings))
    return report_int8(try_int8(library, files, options).record())


def probe_error_line(error: ShimmyError) -> str:
    """For the trial process: the error in a form its parent can raise again."""
    return report_probe_error(error)


def model_files(settings: Settings) -> HashedModelFiles:
    """Model files whose digests are kept while they do not change."""
    return HashedModelFiles(settings.state_directory / "digests.json")


def gpu_memory(settings: Settings, probe: ChildProbe, gpu_layers: int) -> int | None:
    """Memory of the largest GPU; a build without a GPU backend is not even asked."""
    if gpu_layers == 0 or not has_gpu_backend(settings.library_directory):
        return None
    gpus = probe.describe_library(Cancellation()).gpus
    return max((gpu.total_memory for gpu in gpus), default=None)
