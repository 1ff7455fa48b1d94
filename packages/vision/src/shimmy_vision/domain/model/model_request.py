"""Which model the user means: a pinned version or a folder with a pair of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from shimmy_vision.domain.model.model_family import FAMILIES, ModelFamily
from shimmy_vision.errors import UsageError


@dataclass(frozen=True, slots=True)
class PinnedModel:
    """One of the manifest's versions."""

    family: ModelFamily


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that holds a main file and a projector."""

    path: str


@dataclass(frozen=True, slots=True)
class AnyModel:
    """No wish was given: the best installed one for this machine."""


ModelRequest: TypeAlias = PinnedModel | ModelFolder | AnyModel


def read_model_request(word: str | None) -> ModelRequest:
    """``4.6``, ``minicpm-v-4.6``, a path, or nothing.

    Raises UsageError for a bare word that is neither a version nor path-like.
    """
    if not word:
        return AnyModel()
    family = family_of(word)
    if family is not None:
        return PinnedModel(family)
    if "/" in word or "\\" in word or word.startswith(".") or word.endswith(".gguf"):
        return ModelFolder(word)
    raise UsageError(
        "unknown-model",
        f"There is no MiniCPM-V version '{word}'.",
        hint=f"Use one of {', '.join(FAMILIES)}, or a folder: --model ./my-models/",
    )


def family_of(word: str) -> ModelFamily | None:
    """The version that is meant by a name as people write it, like ``MiniCPM-V-4_6``."""
    wanted = word.lower().removeprefix("minicpm-v").strip("-_ v").replace("_", ".")
    return next((one for one in FAMILIES if wanted in (one, one.removesuffix(".0"))), None)


def pick_pair(names: Sequence[str]) -> tuple[str, str] | None:
    """(main, projector) among GGUF file names; None unless there is exactly one of each."""
    files = [name for name in names if name.lower().endswith(".gguf")]
    projectors = [name for name in files if "mmproj" in name.lower()]
    mains = [name for name in files if name not in projectors]
    return (mains[0], projectors[0]) if len(mains) == len(projectors) == 1 else None
