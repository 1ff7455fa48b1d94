"""May this machine analyse an image now? The one decision every entry point passes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class LicenceEvidence:
    """What is known about the licence.

    ``edition`` is "preview" until licences are sold: a preview build grants
    access until ``expires`` and says so in every result.
    """

    edition: str
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class Granted:
    """Access is given; ``notice`` is shown to the user when not empty."""

    edition: str
    notice: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Access is refused; ``code`` is stable, ``reason`` and ``remedy`` are for people."""

    code: str
    reason: str
    remedy: str


Access: TypeAlias = Granted | Refused


def decide_access(evidence: LicenceEvidence | None, now: datetime) -> Access:
    """Decide from evidence alone; ``now`` must be timezone-aware."""
    if evidence is None:
        return Refused(
            "licence-missing",
            "This machine has no licence.",
            "Activate a key with: shimmy license activate KEY",
        )
    if evidence.expires is not None and now >= evidence.expires:
        return Refused(
            "licence-expired",
            f"The licence expired on {evidence.expires:%Y-%m-%d}.",
            "Renew it, then run: shimmy license refresh",
        )
    if evidence.edition == "preview":
        return Granted("preview", "Preview build: licences are not enforced yet.")
    return Granted(evidence.edition, "")
