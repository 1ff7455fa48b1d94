"""The client for programs with an event loop."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self, Unpack, cast

import anyio
import anyio.to_thread
import httpx

from shimmy_vision.client import calls
from shimmy_vision.client.answers import (
    BatchEntry,
    Document,
    Job,
    JobState,
    OrderedJob,
    Readiness,
    ServedModel,
    StoppedJob,
    Usage,
    Validation,
)
from shimmy_vision.client.calls import BatchItem, Call, ImageSource, Options
from shimmy_vision.client.connection import (
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT,
    DEFAULT_URL,
    Connection,
    answer_of,
    refusal_of,
)
from shimmy_vision.client.event_stream import EventStream
from shimmy_vision.client.events import Done, Event, Page, document_page, read_events
from shimmy_vision.client.failures import ApiError
from shimmy_vision.client.results import Result


class AsyncClient:
    """As ``Client``, whose methods say more; close it, or use it in an ``async with`` block.

    A generator that is left early goes on until it is closed: put it into
    ``contextlib.aclosing``.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
    ) -> None:
        self._connection = Connection(base_url, api_key, timeout, retries)
        self._http = httpx.AsyncClient(**self._connection.arguments())

    async def analyze(self, image: ImageSource, **options: Unpack[Options]) -> Result:
        """One image's result. Raises ValueError for a PDF, see ``analyze_document``."""
        return cast(Result, await self._ask(await _read(calls.image_analysis, image, options)))

    async def analyze_url(self, url: str, **options: Unpack[Options]) -> Result | Document:
        """The result of an image or a web page; a Document where the URL leads to a PDF."""
        return cast("Result | Document", await self._ask(calls.url_analysis(url, options)))

    async def analyze_document(
        self, document: ImageSource, **options: Unpack[Options]
    ) -> AsyncGenerator[Page, None]:
        """A PDF's pages, each as soon as it is done; an image counts as a document of one page."""
        async with aclosing(self.stream(document, **options)) as events:
            async for event in events:
                page = document_page(event)
                if page is not None:
                    yield page

    async def stream(
        self,
        image: ImageSource | None = None,
        *,
        url: str | None = None,
        **options: Unpack[Options],
    ) -> AsyncGenerator[Event, None]:
        """What happens, as it happens; the last event is ``Done``."""
        call = await _read(calls.stream_of, image, url, options)
        async with self._open(call) as response:
            events = EventStream()
            with self._connection.translating():
                async for piece in response.aiter_bytes():
                    for event in read_events(events.feed(piece)):
                        yield event
                        if isinstance(event, Done):
                            return
        raise self._connection.broken()

    async def batch(
        self, items: Iterable[BatchItem], **options: Unpack[Options]
    ) -> list[BatchEntry]:
        """One entry an item, in order; ``options`` hold for whatever an item does not say."""
        answer = await self._ask(await _read(calls.batch, items, options))
        return cast("list[BatchEntry]", answer["items"])

    async def submit(
        self,
        image: ImageSource | None = None,
        *,
        url: str | None = None,
        callback_url: str | None = None,
        **options: Unpack[Options],
    ) -> OrderedJob:
        """Order an analysis for later; this program may end. ``callback_url`` is told of its end,

        see ``check_callback``.
        """
        call = await _read(calls.job_order, image, url, callback_url, options)
        return cast(OrderedJob, await self._ask(call))

    async def job(self, job_id: str) -> Job:
        """How a job is, and what it has found so far. Raises ApiError job-unknown."""
        return cast(Job, await self._ask(calls.job_state(job_id)))

    async def jobs(self) -> list[JobState]:
        """All jobs that the server keeps, the oldest first, without what they found."""
        return cast("list[JobState]", (await self._ask(calls.JOBS))["jobs"])

    async def cancel(self, job_id: str) -> StoppedJob:
        """Stop a job; one that has ended is removed. Raises ApiError job-unknown."""
        return cast(StoppedJob, await self._ask(calls.job_stop(job_id)))

    async def wait(
        self,
        job_id: str,
        timeout: float | None = None,
    ) -> Job:
        """The job once it has ended, however it did; see its ``status``.

        Raises TimeoutError after ``timeout`` seconds; the job goes on then.
        """
        with anyio.move_on_after(timeout):
            for look in itertools.count():
                job = await self.job(job_id)
                if job["finished"] is not None:
                    return job
                await anyio.sleep(calls.pause_before_look(look))
        raise TimeoutError(f"The job {job_id} did not end within {timeout:g} s.")

    async def models(self) -> list[ServedModel]:
        """The model in memory; before one is loaded, those of which it may be one."""
        return cast("list[ServedModel]", (await self._ask(calls.MODELS))["data"])

    async def usage(self) -> Usage:
        """Pages used this month, as far as that machine knows. Raises ApiError."""
        return cast(Usage, await self._ask(calls.USAGE))

    async def validate(self, *, refresh: bool = False) -> Validation:
        """Whether the server's licence holds; ``refresh`` asks the licence server now."""
        return cast(Validation, await self._ask(calls.validation(refresh)))

    async def ready(self) -> Readiness:
        """Whether the next analysis would be admitted and could run, and why not."""
        return cast(Readiness, await self._ask(calls.READY))

    async def close(self) -> None:
        """Give connections back."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _ask(self, call: Call) -> Any:
        async with self._open(call) as response:
            with self._connection.translating():
                await response.aread()
            return answer_of(response)

    @asynccontextmanager
    async def _open(self, call: Call) -> AsyncIterator[httpx.Response]:
        response = await self._send(call)
        try:
            yield response
        finally:
            await response.aclose()

    async def _send(self, call: Call) -> httpx.Response:
        """The first response that is no refusal for now."""
        attempt = 0
        while True:
            answered = await self._try(call)
            if isinstance(answered, httpx.Response):
                return answered
            pause = self._connection.pause(attempt, answered)
            if pause is None:
                raise answered
            await anyio.sleep(pause)
            attempt += 1

    async def _try(self, call: Call) -> httpx.Response | ApiError:
        with self._connection.translating():
            request = self._http.build_request(**call.arguments())
            response = await self._http.send(request, stream=True)
            if call.is_answered(response.status_code):
                return response
            try:
                await response.aread()
            finally:
                await response.aclose()
            return refusal_of(response)


async def _read(build: Callable[..., Call], *arguments: Any) -> Call:
    """``build`` may read files, for which nobody else should have to wait."""
    return await anyio.to_thread.run_sync(partial(build, *arguments))
