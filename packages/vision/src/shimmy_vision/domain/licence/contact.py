"""When to ask the licence server again.

Every hour while access is given, so that a suspension or a renewal is noticed; at once when access
is refused, because the reason may be gone. Never in a hurry after a failure: a server that is down
must not slow down a customer who may go on anyway.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from shimmy_vision.domain.licence.access import Access, Granted, LicenceEvidence

CONFIRM_EVERY = timedelta(hours=1)
RETRY_WHILE_GRANTED = timedelta(minutes=5)
RETRY_WHILE_REFUSED = timedelta(seconds=10)


def decide_contact(
    evidence: LicenceEvidence,
    access: Access,
    tried: datetime | None,
    now: datetime,
    *,
    cap_reached: bool = False,
) -> bool:
    """Whether to confirm the licence now; ``tried`` is when that was last attempted.

    ``cap_reached``: the pages known of are used up, which a larger plan or a new month may have
    changed since.
    """
    granted = isinstance(access, Granted) and not cap_reached
    pause = RETRY_WHILE_GRANTED if granted else RETRY_WHILE_REFUSED
    if tried is not None and tried <= now < tried + pause:
        return False
    if not granted or evidence.proof is None:
        return True
    issued, period_end = evidence.proof.issued, evidence.proof.facts.period_end
    if period_end is not None and issued < period_end <= now:
        return True
    return not issued - CONFIRM_EVERY <= now < issued + CONFIRM_EVERY
