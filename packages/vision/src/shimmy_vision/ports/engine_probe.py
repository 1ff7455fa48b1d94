"""Trying a library and model where a crash cannot hurt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shimmy_vision.domain.model.encoder_choice import EncoderWish, Precision
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.ports.cancellation import Cancellation


@dataclass(frozen=True, slots=True)
class EngineFiles:
    """What an engine is opened from: checked files and their identity."""

    main: Path
    projector: Path
    family: ModelFamily
    synthetic: bool
    main_sha256: str
    projector_sha256: str


@dataclass(frozen=True, slots=True)
class EncoderOrder:
    """Which encoder is wished for; ``precision`` None leaves that to the machine.

    ``folder`` keeps compiled projectors and what was measured; None keeps nothing. ``reason`` says
    why libmtmd was taken although OpenVINO was wished for.
    """

    wish: EncoderWish = "mtmd"
    precision: Precision | None = None
    folder: Path | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to run. ``threads`` 0 takes one per physical core; ``gpu_layers`` -1 all, 0 none.

    ``context_size`` is what each of the ``sequences``, answers in the making, may hold.
    """

    threads: int
    gpu_layers: int
    context_size: int
    sequences: int = 1
    encoder: EncoderOrder = EncoderOrder()


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU the library can use; memory in bytes."""

    name: str
    description: str
    total_memory: int


@dataclass(frozen=True, slots=True)
class LibraryReport:
    """What the native library says of itself: CPU features compiled in, GPUs found.

    ``encoder`` says of OpenVINO what it is, or why it is not used.
    """

    build: str
    system_info: str
    gpus: tuple[Gpu, ...]
    encoder: str = ""
    encoder_usable: bool = True


class EngineProbe(Protocol):
    """Loads the engine once in a child process before this process does."""

    def probe(
        self, files: EngineFiles, options: EngineOptions, cancellation: Cancellation
    ) -> EngineOptions:
        """The options to open with: ``options``, with libmtmd where only the faster encoder failed.

        Raises LibraryError or ModelError with cause and remedy if the child failed or died. What
        passed is remembered and not tried again until a file changes.
        """
        ...

    def describe_library(self, cancellation: Cancellation) -> LibraryReport:
        """Load only the library, in a child. Raises LibraryError."""
        ...
