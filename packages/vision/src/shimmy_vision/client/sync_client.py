"""The client for programs without an event loop."""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from types import TracebackType
from typing import Any, Self, Unpack, cast

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


class Client:
    """Safe to share between threads; close it, or use it in a ``with`` block.

    ``api_key`` is ``SHIMMY_API_KEY``'s where none is given. ``timeout`` is the longest silence in
    seconds that is waited through (None: any). Requests that are refused for now, with 429, 502 or
    503, are sent again ``retries`` times, after as long as the server asks for.

    Every method raises ApiError for what the server says is wrong, ServerUnreachable where nobody
    answers, TimeoutError after too long a silence, and OSError for a file that cannot be read.
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
        self._http = httpx.Client(**self._connection.arguments())

    def analyze(self, image: ImageSource, **options: Unpack[Options]) -> Result:
        """One image's result. Raises ValueError for a PDF, see ``analyze_document``."""
        return cast(Result, self._ask(calls.image_analysis(image, options)))

    def analyze_url(self, url: str, **options: Unpack[Options]) -> Result | Document:
        """The result of an image or a web page; a Document where the URL leads to a PDF."""
        return cast("Result | Document", self._ask(calls.url_analysis(url, options)))

    def analyze_document(
        self, document: ImageSource, **options: Unpack[Options]
    ) -> Generator[Page, None, None]:
        """A PDF's pages, each as soon as it is done; an image counts as a document of one page.

        One page's failure stands in its ``error`` and does not lose the others.
        """
        with closing(self.stream(document, **options)) as events:
            for event in events:
                page = document_page(event)
                if page is not None:
                    yield page

    def stream(
        self,
        image: ImageSource | None = None,
        *,
        url: str | None = None,
        **options: Unpack[Options],
    ) -> Generator[Event, None, None]:
        """What happens, as it happens; the last event is ``Done``.

        Nothing is sent before the first event is asked for. Closing the generator, or leaving the
        loop over it, stops the analysis.
        """
        with self._open(calls.stream_of(image, url, options)) as response:
            events = EventStream()
            with self._connection.translating():
                for piece in response.iter_bytes():
                    for event in read_events(events.feed(piece)):
                        yield event
                        if isinstance(event, Done):
                            return
        raise self._connection.broken()

    def batch(self, items: Iterable[BatchItem], **options: Unpack[Options]) -> list[BatchEntry]:
        """One entry an item, in order; ``options`` hold for whatever an item does not say."""
        return cast("list[BatchEntry]", self._ask(calls.batch(items, options))["items"])

    def submit(
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
        call = calls.job_order(image, url, callback_url, options)
        return cast(OrderedJob, self._ask(call))

    def job(self, job_id: str) -> Job:
        """How a job is, and what it has found so far. Raises ApiError job-unknown."""
        return cast(Job, self._ask(calls.job_state(job_id)))

    def jobs(self) -> list[JobState]:
        """All jobs that the server keeps, the oldest first, without what they found."""
        return cast("list[JobState]", self._ask(calls.JOBS)["jobs"])

    def cancel(self, job_id: str) -> StoppedJob:
        """Stop a job; one that has ended is removed. Raises ApiError job-unknown."""
        return cast(StoppedJob, self._ask(calls.job_stop(job_id)))

    def wait(self, job_id: str, timeout: float | None = None) -> Job:
        """The job once it has ended, however it did; see its ``status``.

        Raises TimeoutError after ``timeout`` seconds; the job goes on then.
        """
        until = None if timeout is None else time.monotonic() + timeout
        for look in itertools.count():
            job = self.job(job_id)
            if job["finished"] is not None:
                return job
            pause = calls.pause_before_look(look)
            if until is not None and time.monotonic() + pause > until:
                break
            time.sleep(pause)
        raise TimeoutError(f"The job {job_id} did not end within {timeout:g} s.")

    def models(self) -> list[ServedModel]:
        """The model in memory; before one is loaded, those of which it may be one."""
        return cast("list[ServedModel]", self._ask(calls.MODELS)["data"])

    def usage(self) -> Usage:
        """Pages used this month, as far as that machine knows. Raises ApiError."""
        return cast(Usage, self._ask(calls.USAGE))

    def validate(self, *, refresh: bool = False) -> Validation:
        """Whether the server's licence holds; ``refresh`` asks the licence server now."""
        return cast(Validation, self._ask(calls.validation(refresh)))

    def ready(self) -> Readiness:
        """Whether the next analysis would be admitted and could run, and why not."""
        return cast(Readiness, self._ask(calls.READY))

    def close(self) -> None:
        """Give connections back."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, call: Call) -> Any:
        with self._open(call) as response:
            with self._connection.translating():
                response.read()
            return answer_of(response)

    @contextmanager
    def _open(self, call: Call) -> Iterator[httpx.Response]:
        response = self._send(call)
        try:
            yield response
        finally:
            response.close()

    def _send(self, call: Call) -> httpx.Response:
        """The first response that is no refusal for now."""
        attempt = 0
        while True:
            answered = self._try(call)
            if isinstance(answered, httpx.Response):
                return answered
            pause = self._connection.pause(attempt, answered)
            if pause is None:
                raise answered
            time.sleep(pause)
            attempt += 1

    def _try(self, call: Call) -> httpx.Response | ApiError:
        with self._connection.translating():
            request = self._http.build_request(**call.arguments())
            response = self._http.send(request, stream=True)
            if call.is_answered(response.status_code):
                return response
            try:
                response.read()
            finally:
                response.close()
            return refusal_of(response)
