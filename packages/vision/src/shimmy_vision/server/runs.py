"""Jobs on their way: each waits for its turn, works on a thread of the analyst, tells its events.

A run belongs to nobody's connection: whoever wanted it hears its events, and abandons it when the
client has gone. The slot stays taken until the analyst has really stopped, so that no more work is
under way than the line allows.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

from shimmy_vision.errors import ShimmyError
from shimmy_vision.ports.analyst import (
    Analyst,
    DocumentJob,
    ImageJob,
    Job,
    JobEvent,
    PageOutcome,
    UrlJob,
)
from shimmy_vision.ports.cancellation import Cancellation, Reason
from shimmy_vision.ports.tracing import Span, Tracer
from shimmy_vision.server.logs import logger_of
from shimmy_vision.server.meters import Meters
from shimmy_vision.server.problems import crash_error, error_json
from shimmy_vision.server.stage_spans import StageSpans
from shimmy_vision.server.told_events import Finished, RunEvent, Told, ToldEvents
from shimmy_vision.server.waiting_line import Place, WaitingLine, stopping_error

_LOG = logger_of("shimmy_vision.runs")


class Run:
    """One job from its order to its end."""

    def __init__(self, place: Place) -> None:
        self.switch = Cancellation()
        self.started = False
        self.place = place
        self._told = ToldEvents()

    async def events(self) -> AsyncIterator[RunEvent]:
        """What happens, to ``Finished``; for one reader. Raises what the job raised."""
        while True:
            told = await self._told.get()
            if isinstance(told, ShimmyError):
                raise told
            yield told
            if isinstance(told, Finished):
                return

    async def answer(self) -> dict[str, Any]:
        """The whole answer: a result, or a document's pages. Raises what the job raised."""
        pages: list[dict[str, Any]] = []
        async for event in self.events():
            match event:
                case PageOutcome():
                    pages.append(page_json(event))
                case Finished(result=result):
                    return {"pages": pages} if result is None else result
                case _:
                    pass
        raise AssertionError("a run ends with Finished or an error")

    def abandon(self) -> None:
        """Nobody wants it any more: it stops waiting at once, and working as soon as it can."""
        self._stop("interrupted")

    def tell(self, told: Told) -> None:
        """For the run's own work, on the event loop."""
        if not self._told.put(told):
            self.abandon()

    def expire(self) -> None:
        """Its time is over, as ``abandon``."""
        self._stop("deadline")

    def give_up(self) -> None:
        """The server stops and waits no longer: whoever reads is told at once, as ``abandon``."""
        self.tell(stopping_error())
        self._stop("interrupted")

    def _stop(self, reason: Reason) -> None:
        self.switch.cancel(reason)
        self.place.give_up()


class Runs:
    """Starts runs; for one event loop. None works for longer than ``most_seconds``, of a document

    none of its pages.
    """

    def __init__(
        self,
        analyst: Analyst,
        line: WaitingLine,
        meters: Meters,
        most_seconds: float,
        tracer: Tracer,
    ) -> None:
        self._analyst, self.line, self._meters = analyst, line, meters
        self._tracer = tracer
        self._most_seconds = most_seconds
        self._threads = ThreadPoolExecutor(line.slots, thread_name_prefix="analyse")
        self._under_way: dict[asyncio.Task[None], Run] = {}

    def start(
        self, job: Job, seconds: float | None = None, at_end: Callable[[], None] | None = None
    ) -> Run:
        """The run of ``job``; ``seconds`` bounds all of it, its waiting included.

        ``at_end`` is called when it is over, however it ended. Raises BusyError where there is no
        place in the line, UsageError at a stop; ``at_end`` is called then too.
        """
        with ExitStack() as ending:
            if at_end is not None:
                ending.callback(at_end)
            run = Run(self.line.join())
            if seconds is not None:
                timer = asyncio.get_running_loop().call_later(seconds, run.expire)
                ending.callback(timer.cancel)
            task = asyncio.create_task(self._work(job, run))
            self._under_way[task] = run
            ending.callback(self._under_way.pop, task)
            end = ending.pop_all().close
            task.add_done_callback(lambda _task: end())
        return run

    def give_up(self) -> None:
        """At a stop, when there is no more time for those under way and in the line."""
        for run in tuple(self._under_way.values()):
            run.give_up()

    def close(self) -> None:
        """After the line is drained, or when there is no more time for it."""
        self.give_up()
        self._threads.shutdown(wait=False)

    async def _work(self, job: Job, run: Run) -> None:
        kind = _KINDS[type(job)]
        with self._meters.time_job(kind), self._tracer.span("analysis") as span:
            span.note({"shimmy.kind": kind})
            outcome = await self._outcome(job, run, span)
            if outcome != "ok":
                span.fail(outcome)
        self._meters.jobs.labels(kind, outcome).inc()

    async def _outcome(self, job: Job, run: Run, span: Span) -> str:
        """Do it and tell of it; ``ok``, or the code of what came instead."""
        clock = asyncio.get_running_loop().time
        joined = clock()
        try:
            async with run.place:
                run.started = True
                span.note({"shimmy.waited_milliseconds": round(1000 * (clock() - joined), 1)})
                run.tell(Finished(await self._analyse(job, run, StageSpans(span))))
        except ShimmyError as error:
            run.tell(error)
            return error.code
        except asyncio.CancelledError:
            run.tell(_reason(run))
            return "stopped-waiting"
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer
            _LOG.exception("job-failed")
            run.tell(crash_error())
            return "internal"
        return "ok"

    async def _analyse(self, job: Job, run: Run, stages: StageSpans) -> dict[str, Any] | None:
        if isinstance(job, ImageJob):
            # Of its work alone: how long others keep it waiting is not its fault.
            timer = asyncio.get_running_loop().call_later(self._most_seconds, run.expire)
            try:
                return await self._on_a_thread(job, run, stages)
            finally:
                timer.cancel()
        most = self._most_seconds
        seconds = most if job.page_seconds is None else min(job.page_seconds, most)
        return await self._on_a_thread(replace(job, page_seconds=seconds), run, stages)

    async def _on_a_thread(self, job: Job, run: Run, stages: StageSpans) -> dict[str, Any] | None:
        loop = asyncio.get_running_loop()

        def hear(event: JobEvent) -> None:
            stages.hear(event)
            # After the loop has ended nobody listens.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(run.tell, event)

        def work() -> dict[str, Any] | None:
            try:
                return self._analyst.analyse(job, run.switch, hear)
            finally:
                stages.close()

        # What is bound here - the request's id, its trace - is not on another thread by itself.
        return await loop.run_in_executor(self._threads, contextvars.copy_context().run, work)


_KINDS: dict[type[Job], str] = {ImageJob: "image", DocumentJob: "document", UrlJob: "url"}


def _reason(run: Run) -> ShimmyError:
    try:
        run.switch.check()
    except ShimmyError as error:
        return error
    return crash_error()


def page_json(outcome: PageOutcome) -> dict[str, Any]:
    """One page of a document as it is told over HTTP: its result or its error."""
    if outcome.error is not None:
        return {"page": outcome.page, **error_json(outcome.error)}
    return {"page": outcome.page, "result": outcome.result}
