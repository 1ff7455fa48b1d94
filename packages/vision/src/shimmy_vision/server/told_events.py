"""What a run has told and its reader has not heard yet: bounded, however slow the reader is."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from shimmy_vision.errors import OutputError, ShimmyError
from shimmy_vision.ports.analyst import JobEvent, PageOutcome
from shimmy_vision.ports.progress import PageProgress, PageWritten, Progress, Written

# From here on the reader lags: it hears where the work is when it has caught up.
_LAGGING = 64
# Each holds a page's whole result.
_MOST_PAGES = 256


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a run that succeeded; ``result`` is None where its pages were told one by one."""

    result: dict[str, Any] | None


RunEvent: TypeAlias = JobEvent | Finished
Told: TypeAlias = RunEvent | ShimmyError


class ToldEvents:
    """For one reader, on one event loop. After the end nothing more is told."""

    def __init__(self) -> None:
        self._unheard: deque[Told] = deque()
        self._pages = 0
        self._news = asyncio.Event()
        self._ended = False

    def __len__(self) -> int:
        return len(self._unheard)

    def put(self, told: Told) -> bool:
        """Whether it was still of interest; False where nobody hears it for being too much."""
        if self._ended:
            return True
        if isinstance(told, PageOutcome):
            self._pages += 1
            if self._pages > _MOST_PAGES:
                self._end(_unread())
                return False
        if isinstance(told, Finished | ShimmyError):
            self._end(told)
        elif len(self._unheard) < _LAGGING or not self._condense(told):
            self._unheard.append(told)
        self._news.set()
        return True

    async def get(self) -> Told:
        """The next one, when there is one."""
        while not self._unheard:
            self._news.clear()
            await self._news.wait()
        told = self._unheard.popleft()
        if isinstance(told, PageOutcome):
            self._pages -= 1
        return told

    def _end(self, told: Finished | ShimmyError) -> None:
        self._ended = True
        self._unheard.append(told)
        self._news.set()

    def _condense(self, told: Told) -> bool:
        """Whether ``told`` needs no place of its own: where the work was, nobody asks later."""
        match told, self._unheard[-1]:
            case (Progress() | PageProgress(), _):
                return True
            case Written() as new, Written() as last if new.answer == last.answer:
                self._unheard[-1] = _joined(last, new)
                return True
            case PageWritten() as new, PageWritten() as last if (
                new.page == last.page and new.within.answer == last.within.answer
            ):
                self._unheard[-1] = replace(last, within=_joined(last.within, new.within))
                return True
            case _:
                return False


def _joined(first: Written, second: Written) -> Written:
    return replace(first, text=first.text + second.text)


def _unread() -> OutputError:
    return OutputError(
        "results-unread",
        f"{_MOST_PAGES} pages' results wait to be read, and nobody takes them.",
        hint="Read the events as they come, or order a job and fetch it later.",
    )
