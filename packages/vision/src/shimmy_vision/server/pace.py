"""How fast what is sent must arrive, so that nobody holds memory and a connection for nothing."""

from __future__ import annotations

_SLOWEST = 1000.0


class Pace:
    """``patience`` in seconds between two pieces; longer than that as a whole takes 1 kB/s.

    ``now`` is any clock that never goes back.
    """

    def __init__(self, patience: float, now: float) -> None:
        self._patience, self._until = patience, now + patience

    def hear(self, count: int) -> None:
        """So many bytes came."""
        self._until += count / _SLOWEST

    def left(self, now: float) -> float:
        """Seconds that the next piece may take."""
        return max(0.0, min(self._patience, self._until - now))
