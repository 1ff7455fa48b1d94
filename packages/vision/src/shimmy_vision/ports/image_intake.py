"""From a file's bytes to upright sRGB pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.ports.cancellation import Cancellation


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """What is refused before it is decoded; a JPEG has one scan, a progressive one about ten."""

    max_bytes: int = 50_000_000
    max_dimension: int = 30_000
    max_pixels: int = 80_000_000
    max_scans: int = 100


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the file was; ``width`` and ``height`` are those of the upright image.

    ``notes`` tell what was done to get to plain pixels, in words.
    """

    format: str
    width: int
    height: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Pixels ready to be measured and encoded."""

    pixels: RgbPixels
    info: ImageInfo


class ImageIntake(Protocol):
    """Decodes one file."""

    def decode(
        self, data: bytes, limits: IntakeLimits, cancellation: Cancellation | None = None
    ) -> DecodedImage:
        """Raises ImageError: image-empty, image-unsupported, image-too-large,
        image-dimension-too-large, image-too-many-pixels, image-too-many-scans, image-truncated or
        image-corrupt; StoppedError when cancelled, which is noticed between two pieces of the file.
        """
        ...
