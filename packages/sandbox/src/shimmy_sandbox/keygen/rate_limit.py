"""So many requests a minute for each address, account and credential, as Keygen counts them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

_WINDOW_SECONDS = 60
DEFAULT_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a request finds left in its minute; ``count`` includes it."""

    limit: int
    count: int
    reset: int
    """When the minute is over, in seconds since 1970."""
    retry_after: int

    @property
    def exceeded(self) -> bool:
        """Whether the request is one too many."""
        return self.count > self.limit

    @property
    def headers(self) -> Mapping[str, str]:
        """What every reply says about it."""
        return {
            "X-RateLimit-Window": "1m",
            "X-RateLimit-Count": str(self.count),
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - self.count)),
            "X-RateLimit-Reset": str(self.reset),
        }


@dataclass(slots=True)
class RateLimiter:
    """Counts in the sandbox's minutes, so that moving its clock starts a new one."""

    limit: int = DEFAULT_LIMIT
    minute: int = -1
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def take(self, address: str, account: str, credential: str, now: datetime) -> Allowance:
        """Count one request."""
        seconds = int(now.timestamp())
        minute, passed = divmod(seconds, _WINDOW_SECONDS)
        if minute != self.minute:
            self.minute = minute
            self.counts.clear()
        who = (address, account, hashlib.sha256(credential.encode()).hexdigest())
        self.counts[who] += 1
        left = _WINDOW_SECONDS - passed
        return Allowance(self.limit, self.counts[who], seconds + left, left)
