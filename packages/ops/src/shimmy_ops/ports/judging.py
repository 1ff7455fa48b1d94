"""Who knows of holes, and who knows what is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Protocol

from shimmy_ops.domain.judging.holes import Audited
from shimmy_ops.domain.judging.inventory import Installed


class HoleFeed(Protocol):
    """A service that knows published holes."""

    def audit(self, lock: PurePath) -> Audited:
        """One lock file; not reached is an answer. Raises ReleaseError where nobody can ask."""


class Distributions(Protocol):
    """What is installed where this runs."""

    def find(self, names: Sequence[str]) -> dict[str, Installed]:
        """By canonical name; those that are not there are left out."""
