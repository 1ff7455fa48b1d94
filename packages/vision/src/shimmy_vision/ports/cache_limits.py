"""How much may be kept so that nothing is done twice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """Bounds in bytes of what is kept in memory; 0 keeps nothing.

    ``encodings_bytes`` is for images' rows, ``states_bytes`` for the language model's states after
    instructions and image, ``results_bytes`` for finished results.
    """

    encodings_bytes: int = 0
    states_bytes: int = 0
    results_bytes: int = 0


NOTHING_KEPT = CacheLimits()

ONE_RUN = CacheLimits(encodings_bytes=32_000_000)
"""For a command with an engine of its own: slices of the last few images or pages, of which the

next one may have most as well.
"""


def split_cache(total: int) -> CacheLimits:
    """``total`` bytes as a server divides them: results are small, a large model's states not."""
    results = total // 8
    encodings = (total - results) // 2
    return CacheLimits(encodings, total - results - encodings, results)
