"""The time as a simulator sees it; nothing in the sandbox reads the real clock elsewhere."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class SimulatedClock:
    """Real time shifted, or standing still; safe to move from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offset = timedelta(0)
        self._frozen: datetime | None = None

    def now(self) -> datetime:
        """The simulated moment, timezone-aware UTC."""
        with self._lock:
            return self._frozen or datetime.now(UTC) + self._offset

    def real(self) -> datetime:
        """The true moment, whatever this clock shows: others' clocks are not simulated."""
        return datetime.now(UTC)

    def set(self, moment: datetime) -> None:
        """It is ``moment`` now, and time goes on from there."""
        with self._lock:
            self._frozen = None
            self._offset = moment.astimezone(UTC) - datetime.now(UTC)

    def freeze(self, moment: datetime) -> None:
        """It is ``moment`` until the clock is moved again."""
        with self._lock:
            self._frozen = moment.astimezone(UTC)

    def advance(self, step: timedelta) -> None:
        """Move by ``step``; a frozen clock stays frozen."""
        with self._lock:
            if self._frozen is not None:
                self._frozen += step
            else:
                self._offset += step

    def reset(self) -> None:
        """Back to real time."""
        with self._lock:
            self._offset, self._frozen = timedelta(0), None
