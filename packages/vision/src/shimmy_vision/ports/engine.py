"""A loaded model, ready to read images, and where one comes from."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from shimmy_vision.domain.image.slice_grid import EncoderGrid
from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.grammar import GrammarCompiler
from shimmy_vision.ports.image_encoder import ImageEncoder
from shimmy_vision.ports.language_model import LanguageModel
from shimmy_vision.ports.remote_model import RemoteModel


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """What answered, for ``meta.model`` and ``meta.backend``.

    ``encoder`` names what reads the slices; ``encoder_fallback`` why that is not the faster one.
    """

    family: ModelFamily
    synthetic: bool
    main_sha256: str
    projector_sha256: str
    build: str
    device: str
    threads: int
    encoder: str = "libmtmd"
    encoder_fallback: str = ""
    backend: str = "llama.cpp"


class Engine(Protocol):
    """One model in memory, for several analyses at once."""

    @property
    def description(self) -> EngineDescription: ...

    @property
    def encoder(self) -> ImageEncoder: ...

    def sequence(self, cancellation: Cancellation) -> AbstractContextManager[LanguageModel]:
        """A sequence of one's own for as long as the block lasts; waits while none is free.

        Raises StoppedError when cancelled while waiting.
        """
        ...

    @property
    def grammars(self) -> GrammarCompiler: ...

    def close(self) -> None:
        """Free the model's memory. Safe to call twice."""
        ...


@dataclass(frozen=True, slots=True)
class RemoteEncoder:
    """Slices are encoded where the model is; here they are only planned."""

    grid: EncoderGrid


@dataclass(frozen=True, slots=True)
class RemoteEngine:
    """A model that another machine runs; ``description.main_sha256`` names what is served."""

    description: EngineDescription
    model: RemoteModel
    encoder: RemoteEncoder

    def close(self) -> None:
        """As an engine's."""
        self.model.close()


AnyEngine: TypeAlias = Engine | RemoteEngine


class EngineSource(Protocol):
    """Opens the engine on first use and keeps it, at least while somebody uses it.

    ``granted`` can only come from ``decide_access``: without it there is no engine.
    """

    def use(
        self, granted: Granted, cancellation: Cancellation
    ) -> AbstractContextManager[AnyEngine]:
        """The engine, for as long as the block lasts. Raises ModelError or LibraryError."""
        ...

    def known(self) -> EngineDescription | None:
        """What was opened last, even if it is not in memory now; None before the first time."""
        ...

    def close(self) -> None:
        """Free what was opened."""
        ...
