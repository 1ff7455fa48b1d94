"""A tool's call as a job: its progress told to the agent, and stopped when the agent gives up."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from shimmy_vision.ports.analyst import Analyst, Job, JobEvent, PageOutcome
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import PageProgress, Progress

# How far a job is when a stage begins; what each takes depends on image and machine.
_BEGINS = {
    "fetch": 0.0,
    "decode": 0.1,
    "measure": 0.15,
    "load": 0.2,
    "encode": 0.3,
    "prompt": 0.6,
    "generate": 0.65,
}
_ENDS = dict(zip(_BEGINS, [*list(_BEGINS.values())[1:], 1.0], strict=True))


class Listener(Protocol):
    """The SDK's context, as far as it is needed here."""

    async def report_progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Tell the agent; nothing where it does not want to hear."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """A result, or a document's pages."""

    result: dict[str, Any] | None
    pages: tuple[PageOutcome, ...]


class Calls:
    """``jobs`` at once, the others wait. For one event loop."""

    def __init__(self, analyst: Analyst, jobs: int) -> None:
        self._analyst = analyst
        self._turns = CapacityLimiter(jobs)

    async def run(self, job: Job, listener: Listener) -> Outcome:
        """What ``job`` gives. Raises what it raises; cancelling this stops it."""
        switch, pages = Cancellation(), list[PageOutcome]()
        way, loop = _Way(listener), asyncio.get_running_loop()

        def hear(event: JobEvent) -> None:
            if isinstance(event, PageOutcome):
                pages.append(event)
            # After the loop has ended nobody listens.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(way.hear, event)

        def work() -> dict[str, Any] | None:
            # It may have waited for its turn longer than the agent did.
            switch.check()
            return self._analyst.analyse(job, switch, hear)

        telling = asyncio.create_task(way.tell())
        try:
            # The thread keeps its turn until the job has really stopped.
            result = await run_sync(work, abandon_on_cancel=True, limiter=self._turns)
        finally:
            telling.cancel()
            switch.cancel("interrupted")
        return Outcome(result, tuple(pages))


class _Way:
    """Where a job is, told as a share that only grows; what is overtaken is not told."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._news = asyncio.Event()
        self._share, self._message = 0.0, ""

    def hear(self, event: JobEvent) -> None:
        """For the event loop."""
        share, message = describe_progress(event)
        if share > self._share:
            self._share, self._message = share, message
            self._news.set()

    async def tell(self) -> None:
        """Until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            # One who does not hear it wants the result none the less.
            with suppress(Exception):
                await self._listener.report_progress(self._share, 1.0, self._message)


def describe_progress(event: JobEvent) -> tuple[float, str]:
    """The share that is done, 0 to 1 (0 where the event says nothing of it), and in words."""
    match event:
        case Progress(stage, done, total):
            part = done / total if total else 0.0
            share = _BEGINS[stage] + (_ENDS[stage] - _BEGINS[stage]) * part
            return share, f"{stage} {done} of {total}" if total else stage
        case PageProgress(page, done, total, within):
            share, words = describe_progress(within)
            return (done + share) / max(total, 1), f"page {page}: {words}"
        case _:
            return 0.0, ""
