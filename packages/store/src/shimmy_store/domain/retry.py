"""When to try again what failed: sooner at first, and never all at the same moment."""

from __future__ import annotations

from datetime import timedelta

_FIRST = timedelta(seconds=5)
_LONGEST = timedelta(hours=1)
# With an hour between the last ones: three days, as long as Stripe itself goes on delivering.
MOST_ATTEMPTS = 80


def decide_retry(attempts: int, chance: float, *, retryable: bool) -> timedelta | None:
    """How long to wait after ``attempts`` failures, the last included; None: a person must look.

    ``chance`` from 0 to 1 spreads the waits between half and the whole of each.
    """
    if not retryable or attempts >= MOST_ATTEMPTS:
        return None
    doublings: int = 2 ** min(attempts - 1, 20)
    return min(_FIRST * doublings, _LONGEST) * (0.5 + chance / 2)
