"""The answer no."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refused:
    """``reason`` is a clause without a full stop, fit to be shown to whoever asked."""

    reason: str
