"""From the user's wish to a checked pair of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from shimmy_vision.domain.model.model_choice import choose_model
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.domain.model.model_manifest import ModelPin
from shimmy_vision.domain.model.model_request import (
    AnyModel,
    ModelFolder,
    ModelRequest,
    PinnedModel,
    pick_pair,
)
from shimmy_vision.errors import ModelError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.model_files import ModelFiles, ignore_bytes
from shimmy_vision.ports.model_store import ModelStore
from shimmy_vision.use_cases.check_model_files import (
    CheckedPair,
    CheckOptions,
    ModelPair,
    check_model_files,
)
from shimmy_vision.use_cases.list_models import list_models
from shimmy_vision.use_cases.verify_model import verify_model


@dataclass(frozen=True, slots=True)
class LocateCollaborators:
    """``gpu_memory`` is asked only when nobody named a model; ``names_in`` lists a folder."""

    manifest: Mapping[ModelFamily, ModelPin]
    store: ModelStore
    files: ModelFiles
    gpu_memory: Callable[[], int | None]
    names_in: Callable[[Path], Sequence[str]]
    check: CheckOptions


def locate_model(
    request: ModelRequest, collaborators: LocateCollaborators, cancellation: Cancellation
) -> CheckedPair:
    """Raises ModelError model-not-installed with the command that installs it, or what is wrong."""
    match request:
        case PinnedModel(family=family):
            return _pinned(collaborators.manifest[family], collaborators, cancellation)
        case AnyModel():
            listed = list_models(collaborators.manifest.values(), collaborators.store)
            installed = [one.pin.family for one in listed if one.state == "installed"]
            family = choose_model(collaborators.gpu_memory(), installed)
            return _pinned(collaborators.manifest[family], collaborators, cancellation)
        case ModelFolder(path=path):
            return _folder(Path(path).expanduser(), collaborators, cancellation)
        case _:
            assert_never(request)


def _pinned(
    pin: ModelPin, collaborators: LocateCollaborators, cancellation: Cancellation
) -> CheckedPair:
    return verify_model(
        pin,
        collaborators.store,
        collaborators.files,
        ignore_bytes,
        cancellation,
        rehash=collaborators.check.rehash,
    )


def _folder(
    folder: Path, collaborators: LocateCollaborators, cancellation: Cancellation
) -> CheckedPair:
    if folder.suffix == ".gguf":
        folder = folder.parent
    names = pick_pair(collaborators.names_in(folder))
    if names is None:
        raise ModelError(
            "model-pair-not-found",
            f"{folder} does not hold exactly one main model and one projector.",
            hint="Put one .gguf and its mmproj….gguf into a folder of their own.",
        )
    pair = ModelPair(folder / names[0], folder / names[1], None)
    return check_model_files(
        pair, collaborators.files, collaborators.check, ignore_bytes, cancellation
    )
