"""Analyses that nobody waits for: kept here, in memory only, until they are fetched or too old."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from shimmy_vision.domain.serving.job_names import host_of_job, name_job
from shimmy_vision.errors import (
    BusyError,
    DeadlineError,
    OutputError,
    ShimmyError,
    StoppedError,
    UsageError,
)
from shimmy_vision.ports.analyst import PageOutcome, Restarted
from shimmy_vision.ports.progress import PageProgress, Progress
from shimmy_vision.server.callbacks import Callbacks, Delivery, unsigned_callback
from shimmy_vision.server.json_text import write_json
from shimmy_vision.server.logs import logger_of
from shimmy_vision.server.problems import crash_error, error_json
from shimmy_vision.server.runs import Run, page_json
from shimmy_vision.server.told_events import Finished, RunEvent

_LOG = logger_of("shimmy_vision.jobs")

Status: TypeAlias = Literal["waiting", "running", "done", "failed", "cancelled"]

# What an analysis takes that is told to stop, and some more.
_STOPPING_SECONDS = 5.0
_RETRY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class JobLimits:
    """``number`` jobs are kept, finished ones for ``seconds``, with ``held_bytes`` of results."""

    number: int = 1000
    seconds: float = 3600.0
    held_bytes: int = 200_000_000


class KeptJob:
    """One job as its client sees it. Results are kept as the JSON they are answered with."""

    def __init__(self, run: Run, delivery: Delivery | None, host: str | None = None) -> None:
        # Whoever knows it may read the result and cancel the job.
        self.id = name_job(secrets.token_urlsafe(18), host)
        self.run, self.delivery = run, delivery
        self.created, self.finished = datetime.now(UTC), None
        self.ended = asyncio.Event()
        self.held = 0
        self.expiry: asyncio.TimerHandle | None = None
        self.delivering: asyncio.Task[None] | None = None
        self._end: Status | None = None
        self._progress: dict[str, Any] | None = None
        self._pages: list[bytes] = []
        self._told: dict[str, bytes] = {}

    finished: datetime | None

    @property
    def settled(self) -> bool:
        """Whether it is finished, and nobody is still to be told."""
        told = self.delivering is None or self.delivering.done()
        return self.ended.is_set() and told

    @property
    def status(self) -> Status:
        """Where it is now."""
        return self._end or ("running" if self.run.started else "waiting")

    def hear(self, event: RunEvent) -> int:
        """Keep what ``event`` tells; bytes that this takes."""
        match event:
            case Progress():
                self._progress = _progress(event, None)
            case PageProgress():
                self._progress = _progress(event.within, event)
            case Restarted():
                self._progress = None
            case PageOutcome():
                self._pages.append(write_json(page_json(event)).encode())
                return len(self._pages[-1])
            case Finished(result=None):
                self._told["pages"] = b""
            case Finished():
                self._told["result"] = write_json(event.result).encode()
                return len(self._told["result"])
            case _:
                pass
        return 0

    def end(self, error: ShimmyError | None) -> None:
        """``error`` is why it has no result, or only some pages."""
        if error is None:
            self._end = "done"
        else:
            stopped = isinstance(error, StoppedError) and not isinstance(error, DeadlineError)
            self._end = "cancelled" if stopped else "failed"
            self._told = {"error": write_json(error_json(error)["error"]).encode()}
        self.finished = datetime.now(UTC)
        self.ended.set()

    def state(self) -> dict[str, Any]:
        """What the list shows of it."""
        return {
            "id": self.id,
            "status": self.status,
            "created": _iso(self.created),
            "finished": None if self.finished is None else _iso(self.finished),
        }

    def whole(self) -> bytes:
        """Everything, as JSON."""
        callback = None if self.delivery is None else self.delivery.state()
        return self._json({**self.state(), "progress": self._progress, "callback": callback})

    def message(self) -> bytes:
        """What its callback says, as JSON."""
        return self._json({"id": self.id, "status": self.status})

    def _json(self, head: dict[str, Any]) -> bytes:
        parts = dict(self._told)
        if self._pages:
            parts["pages"] = b""
        if "pages" in parts:
            parts["pages"] = b"[%b]" % b", ".join(self._pages)
        told = b"".join(b', "%b": %b' % (name.encode(), part) for name, part in parts.items())
        return write_json(head).encode()[:-1] + told + b"}"


class Jobs:
    """All of them; for one event loop. ``host`` is this one's tag among several."""

    def __init__(
        self, limits: JobLimits, callbacks: Callbacks | None, host: str | None = None
    ) -> None:
        self._limits, self._callbacks, self._host = limits, callbacks, host
        self._kept: dict[str, KeptJob] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.held = 0

    def __len__(self) -> int:
        return len(self._kept)

    def list(self) -> Iterable[KeptJob]:
        """The oldest first."""
        return tuple(self._kept.values())

    def find(self, job_id: str) -> KeptJob:
        """Raises UsageError job-unknown."""
        found = self._kept.get(job_id)
        if found is None:
            raise UsageError(
                "job-unknown",
                "There is no such job, or it was removed.",
                hint=self._where(job_id),
            )
        return found

    def _where(self, job_id: str) -> str:
        other = host_of_job(job_id)
        if other not in (None, self._host):
            return f"Jobs stay where they were ordered: the proxy has to lead here to {other!r}."
        return f"Finished jobs are kept for {self._limits.seconds / 60:g} minutes at most."

    def order_callback(self, url: str | None) -> Delivery | None:
        """Raises UsageError where the server could not deliver, or may not."""
        if url is None:
            return None
        if self._callbacks is None:
            raise unsigned_callback()
        return self._callbacks.order(url)

    def check_room(self) -> None:
        """For one more. Raises BusyError jobs-full where none of those kept is finished."""
        full = len(self._kept) >= self._limits.number
        if full and not any(job.ended.is_set() for job in self._kept.values()):
            raise BusyError(
                "jobs-full",
                f"{len(self._kept)} jobs wait or are worked on.",
                hint="Try again after the time in Retry-After.",
                retry_after=_RETRY_SECONDS,
            )

    def keep(self, run: Run, delivery: Delivery | None) -> KeptJob:
        """``run``, just started, as a job, for which the oldest finished one may have to go."""
        if len(self._kept) >= self._limits.number:
            self._drop_oldest()
        job = KeptJob(run, delivery, self._host)
        self._kept[job.id] = job
        self._spawn(self._follow(job))
        return job

    async def stop(self, job: KeptJob) -> bool:
        """Stop it, or remove it if it is finished; whether it was removed."""
        if job.ended.is_set():
            self._drop(job)
            return True
        job.run.abandon()
        try:
            async with asyncio.timeout(_STOPPING_SECONDS):
                await job.ended.wait()
        except TimeoutError:
            pass  # Its state says that it still runs.
        return False

    async def drained(self) -> None:
        """Until all are finished, and their callbacks delivered or given up."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def close(self) -> None:
        """Forget everything; callbacks that are not delivered yet never will be."""
        for job in self.list():
            self._drop(job)
        for task in tuple(self._tasks):
            task.cancel()

    async def _follow(self, job: KeptJob) -> None:
        failure: ShimmyError | None = None
        try:
            async for event in job.run.events():
                self._hold(job, job.hear(event))
        except ShimmyError as error:
            job.run.abandon()
            failure = error
        except Exception:  # noqa: BLE001 - whatever it is, the job's client is told of an end
            _LOG.exception("job-not-kept")
            job.run.abandon()
            failure = crash_error()
        job.end(failure)
        loop = asyncio.get_running_loop()
        if job.id in self._kept:
            job.expiry = loop.call_later(self._limits.seconds, self._drop, job)
        if job.delivery is not None and self._callbacks is not None:
            delivering = self._callbacks.deliver(job.delivery, job.message)
            job.delivering = self._spawn(delivering)

    def _hold(self, job: KeptJob, count: int) -> None:
        job.held += count
        self.held += count
        while self.held > self._limits.held_bytes and self._drop_oldest():
            pass
        if self.held > self._limits.held_bytes:
            raise OutputError(
                "results-too-large",
                "The results of unfinished jobs fill the memory set aside for them.",
                hint="Ask for fewer pages at once, or for events instead of a job.",
            )

    def _drop_oldest(self) -> bool:
        """Whether there was one that is finished; those whose callback is under way go last."""
        jobs = self._kept.values()
        oldest = next((job for job in jobs if job.settled), None) or next(
            (job for job in jobs if job.ended.is_set()), None
        )
        if oldest is not None:
            self._drop(oldest)
        return oldest is not None

    def _drop(self, job: KeptJob) -> None:
        """Forget it; a callback that is under way is given up."""
        if self._kept.pop(job.id, None) is None:
            return
        self.held -= job.held
        if job.expiry is not None:
            job.expiry.cancel()
        if job.delivery is not None and job.delivering is not None:
            job.delivery.switch.cancel("interrupted")
            job.delivering.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _progress(within: Progress, page: PageProgress | None) -> dict[str, Any]:
    percent = None if within.total == 0 else round(100 * within.done / within.total, 1)
    return {
        "stage": within.stage,
        "percent": percent,
        "page": None if page is None else page.page,
        "pages_done": None if page is None else page.done,
        "pages": None if page is None else page.total,
    }


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
