"""What the caller chose about the machine and the licence rather than about an image."""

from __future__ import annotations

from dataclasses import dataclass, field

from shimmy_vision.domain.answer.analysis_request import AnalysisRequest
from shimmy_vision.ports.cache_limits import NOTHING_KEPT, CacheLimits


@dataclass(frozen=True, slots=True)
class LicenceOrder:
    """What the caller chose about licence and machine; None leaves it to the settings."""

    key: str | None = field(default=None, repr=False)
    machine_id: str | None = field(default=None, repr=False)
    machine_name: str | None = None


@dataclass(frozen=True, slots=True)
class VisionOrder:
    """What the caller chose about the machine rather than about the image.

    ``verify`` reads every byte of the model again although its files have not changed;
    ``sequences`` answers are written at once; ``idle_seconds`` after its last use the model leaves
    memory (None: never).
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
    caches: CacheLimits = NOTHING_KEPT
    sequences: int = 1
    idle_seconds: float | None = None
