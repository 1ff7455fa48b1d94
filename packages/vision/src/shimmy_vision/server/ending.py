"""The server's stop: begun once, with one deadline for everything that is under way."""

from __future__ import annotations

import asyncio

from shimmy_vision.server.runs import Runs
from shimmy_vision.server.waiting_line import WaitingLine


class Ending:
    """For one event loop; ``seconds`` is what work under way has from the stop's beginning."""

    def __init__(self, line: WaitingLine, runs: Runs, seconds: float) -> None:
        self._line, self._runs, self._seconds = line, runs, seconds
        self._deadline: float | None = None

    def begin(self) -> float:
        """Take no more, and at the deadline, which is returned, tell all that are left.

        A second time it changes nothing.
        """
        if self._deadline is None:
            loop = asyncio.get_running_loop()
            self._line.stop()
            self._deadline = loop.time() + self._seconds
            loop.call_at(self._deadline, self._runs.give_up)
        return self._deadline
