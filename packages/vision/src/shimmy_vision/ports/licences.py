"""Where evidence of a licence comes from."""

from __future__ import annotations

from typing import Protocol

from shimmy_vision.domain.access import LicenceEvidence


class Licences(Protocol):
    """Gathers evidence; the decision itself is ``domain.access.decide_access``."""

    def evidence(self) -> LicenceEvidence:
        """What is known about this machine's licence right now."""
        ...
