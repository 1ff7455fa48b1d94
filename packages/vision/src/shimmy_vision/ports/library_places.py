"""Where a packed native library is unpacked, and what is remembered of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shimmy_vision.domain.payload.pinned import PUBLIC_KEY


@dataclass(frozen=True, slots=True)
class PayloadPlaces:
    """``unpacked`` is where libraries are kept between runs, ``record`` which versions were seen.

    Without them nothing is kept. ``allow_older`` lets an older version in. ``public_key`` is that
    of this build, in hex.
    """

    unpacked: Path | None = None
    record: Path | None = None
    allow_older: bool = False
    public_key: str = PUBLIC_KEY
