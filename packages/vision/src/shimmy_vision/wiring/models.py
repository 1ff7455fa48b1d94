"""What ``shimmy models`` and ``shimmy doctor`` work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shimmy_vision.adapters.files.folder_model_store import FolderModelStore
from shimmy_vision.adapters.files.http_model_source import HttpModelSource
from shimmy_vision.adapters.installation.built_files import is_single_file
from shimmy_vision.adapters.psutil_machine import read_machine_facts
from shimmy_vision.domain.diagnosis import Finding, judge_licence, judge_machine, judge_models
from shimmy_vision.domain.licence.pinned import PINNED
from shimmy_vision.domain.model.model_choice import recommend_model
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.domain.model.model_manifest import MANIFEST, ModelPin
from shimmy_vision.errors import ShimmyError
from shimmy_vision.ports.vision_order import LicenceOrder
from shimmy_vision.settings import Settings
from shimmy_vision.use_cases.inspect_library import inspect_library
from shimmy_vision.use_cases.inspect_licence import inspect_licence
from shimmy_vision.use_cases.inspect_models import inspect_models
from shimmy_vision.use_cases.pull_model import PullCollaborators
from shimmy_vision.wiring.engines import engine_probe, gpu_memory, model_files
from shimmy_vision.wiring.licences import open_licensing


@dataclass(frozen=True, slots=True)
class ModelCommands:
    """What ``shimmy models`` works with; ``recommend`` may ask the native library for GPUs."""

    manifest: Mapping[ModelFamily, ModelPin]
    pull: PullCollaborators
    recommend: Callable[[], ModelFamily]


def model_commands(settings: Settings) -> ModelCommands:
    """Collaborators of ``shimmy models``."""
    store = FolderModelStore(settings.models_directory)
    source = HttpModelSource(settings.model_base_url, offline=settings.offline)
    pull = PullCollaborators(store, source, model_files(settings))
    recommend = lambda: recommend_model(gpu_memory(settings, engine_probe(settings), -1))  # noqa: E731
    return ModelCommands(MANIFEST, pull, recommend)


def diagnose(settings: Settings) -> tuple[Finding, ...]:
    """Everything ``shimmy doctor`` says."""
    library, gpu_memory = inspect_library(engine_probe(settings), addable=not is_single_file())
    store, files = FolderModelStore(settings.models_directory), model_files(settings)
    facts = inspect_models(MANIFEST.values(), store, files)
    models = judge_models(facts, recommend_model(gpu_memory), str(settings.models_directory))
    return (*judge_machine(read_machine_facts()), *library, _licence(settings), *models)


def _licence(settings: Settings) -> Finding:
    try:
        with open_licensing(settings, LicenceOrder()) as licences:
            return inspect_licence(licences)
    except ShimmyError as error:
        return judge_licence("", str(error), error.hint, given=False, sandbox=PINNED.sandbox)
