"""How much one visit to the web may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VisitLimits:
    """For one page with everything it loads; bytes in both directions."""

    max_bytes: int = 64_000_000
    max_seconds: float = 60.0
    max_requests: int = 1_000


@dataclass(slots=True)
class Tally:
    """What a visit has taken so far; ``exceeded`` says in words which limit it ran into first."""

    limits: VisitLimits
    taken_bytes: int = 0
    requests: int = 0
    exceeded: str = ""

    def add_bytes(self, count: int) -> bool:
        """Whether the visit may go on."""
        self.taken_bytes += count
        if self.taken_bytes > self.limits.max_bytes:
            self._exceed(f"more than {self.limits.max_bytes / 1e6:g} MB")
        return not self.exceeded

    def add_request(self) -> bool:
        """Whether this request may be answered."""
        if self.requests >= self.limits.max_requests:
            self._exceed(f"more than {self.limits.max_requests:,} requests")
        self.requests += 1
        return not self.exceeded

    def end_time(self) -> None:
        """The time allowed is over."""
        self._exceed(f"more than {self.limits.max_seconds:g} s")

    def _exceed(self, what: str) -> None:
        self.exceeded = self.exceeded or what
