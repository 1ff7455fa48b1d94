"""A loaded model, ready to read images, and where one comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.grammar import GrammarCompiler
from shimmy_vision.ports.image_encoder import ImageEncoder
from shimmy_vision.ports.language_model import LanguageModel


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """What answered, for ``meta.model`` and ``meta.backend``."""

    family: ModelFamily
    synthetic: bool
    main_sha256: str
    projector_sha256: str
    build: str
    device: str
    threads: int


class Engine(Protocol):
    """One model in memory; one analysis at a time."""

    @property
    def description(self) -> EngineDescription: ...

    @property
    def encoder(self) -> ImageEncoder: ...

    @property
    def model(self) -> LanguageModel: ...

    @property
    def grammars(self) -> GrammarCompiler: ...

    def close(self) -> None:
        """Free the model's memory. Safe to call twice."""
        ...


class EngineSource(Protocol):
    """Opens the engine on first use and keeps it.

    ``granted`` can only come from ``decide_access``: without it there is no engine.
    """

    def open(self, granted: Granted, cancellation: Cancellation) -> Engine:
        """Raises ModelError or LibraryError."""
        ...

    def close(self) -> None:
        """Free what was opened."""
        ...
