"""When to try again what failed: sooner at first, and never all at the same moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.errors import StoreError

# Longer than Stripe itself goes on delivering, and than a weekend with a holiday.
PARK_AFTER = timedelta(days=4)
# A store that was off for days comes back to old work that was hardly tried: an hour of tries.
LEAST_ATTEMPTS = 66
# What waits longer than this, a person should know of, whatever it waits for.
LATE_AFTER = timedelta(minutes=30)
_FIRST = timedelta(seconds=5)
# For a quarter of an hour at least: whatever was away is back within a minute for every customer.
_SOON, SOON_ATTEMPTS = timedelta(seconds=30), 60
LONGEST = timedelta(hours=1)
# A key that was revoked or a permission that is missing: wrong for everybody, mended by one person.
_CREDENTIALS: Mapping[str, str] = {
    "payments-not-allowed": "stripe",
    "licensing-not-allowed": "keygen",
    "keygen-signature-wrong": "keygen",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why work failed; ``crash`` names the kind of an error that nobody expected."""

    code: str
    retryable: bool
    crash: str = ""

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """What a person should mend though it is tried again meanwhile."""
        whose = _CREDENTIALS.get(self.code)
        return (Alarm("credentials-refused", whose),) if whose else ()


@dataclass(frozen=True, slots=True)
class Crash:
    """A mistake of ours that work met: the kind of its error, and the event that told of it."""

    kind: str
    event: str = ""


def read_failure(error: Exception) -> Failure:
    """Also of a mistake of ours: it may concern this object only, and be mended meanwhile."""
    if isinstance(error, StoreError):
        return Failure(error.code, error.retryable)
    return Failure("crashed", retryable=True, crash=type(error).__name__)


def decide_retry(
    attempts: int, age: timedelta, chance: float, *, retryable: bool
) -> timedelta | None:
    """How long to wait after ``attempts`` failures, the last included; None: a person must look.

    ``age`` is how long the work has been there. ``chance`` from 0 to 1 spreads the waits between
    half and the whole of each.
    """
    if not retryable or (age >= PARK_AFTER and attempts >= LEAST_ATTEMPTS):
        return None
    first, before, longest = _FIRST, 1, _SOON
    if attempts > SOON_ATTEMPTS:
        first, before, longest = _SOON, SOON_ATTEMPTS, LONGEST
    doublings: int = 2 ** min(attempts - before, 20)
    return min(first * doublings, longest) * (0.5 + chance / 2)
