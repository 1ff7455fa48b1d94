"""What the server answers besides results: documents, batches, jobs, readiness, the licence.

They mirror the API's own description (``/openapi.json``); a test keeps them the same.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

from shimmy_vision.client.results import Result


class ErrorRecord(TypedDict):
    """What went wrong: a stable code, what happened, what to do (may be empty)."""

    code: str
    message: str
    hint: str
    retryable: bool
    type: str
    param: None


class DocumentPage(TypedDict):
    """A page, counted from 1: with a result, or with what went wrong with it alone."""

    page: int
    result: NotRequired[Result]
    error: NotRequired[ErrorRecord]


class Document(TypedDict):
    """What a URL gives where it leads to a PDF."""

    pages: list[DocumentPage]


class BatchEntry(TypedDict):
    """One of a batch: ``status`` is the HTTP status it would have had alone.

    It has one of ``result``, ``pages`` (of a PDF) and ``error``.
    """

    index: int
    id: str | None
    status: int
    result: NotRequired[Result]
    pages: NotRequired[list[DocumentPage]]
    error: NotRequired[ErrorRecord]


class Readiness(TypedDict):
    """Whether the next analysis would be admitted and could run; ``reasons`` say why not."""

    ready: bool
    model_loaded: bool
    encoder: NotRequired[str]
    encoder_fallback: NotRequired[str]
    busy: int
    waiting: int
    reasons: list[dict[str, Any]]


class ServedModel(TypedDict):
    """A model that the server may answer with; ``created`` in Unix seconds, 0 where unknown."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: Literal["openbmb"]


JobStatus: TypeAlias = Literal["waiting", "running", "done", "failed", "cancelled"]


class JobState(TypedDict):
    """A job without what it found; times in ISO 8601, UTC."""

    id: str
    status: JobStatus
    created: str
    finished: str | None


class OrderedJob(JobState):
    """A job just ordered; ``url`` is the path where the server tells of it."""

    url: str


class StoppedJob(JobState):
    """A job that was to end; ``removed``: it had ended before, and is gone now."""

    removed: bool


class JobProgress(TypedDict):
    """Where a job is; the pages are a document's."""

    stage: str
    percent: float | None
    page: int | None
    pages_done: int | None
    pages: int | None


class CallbackState(TypedDict):
    """Whether a job's callback has arrived; ``code`` is why the last try failed."""

    status: Literal["waiting", "delivering", "delivered", "failed"]
    attempts: int
    code: str | None


class Job(JobState):
    """Once done with ``result`` or ``pages`` (of a PDF, as they are done), or with ``error``."""

    progress: JobProgress | None
    callback: CallbackState | None
    result: NotRequired[Result]
    pages: NotRequired[list[DocumentPage]]
    error: NotRequired[ErrorRecord]


class Refusal(TypedDict):
    """Why the next analysis would be refused."""

    code: str
    message: str
    hint: str


class Usage(TypedDict):
    """Pages of this month; times in ISO 8601, UTC, None where nothing is known or counted."""

    plan: str | None
    pages_used: int | None
    pages_allowed: int | Literal["unlimited"] | None
    resets: str | None
    not_yet_counted: int | None
    analysed_on_this_machine: int | None
    confirmed: str | None
    sandbox: bool
    refused: Refusal | None


class Notice(TypedDict):
    """What the licence's owner should know."""

    code: str
    message: str


class Validation(TypedDict):
    """Whether the next analysis would be admitted; ``code``, ``message`` and ``hint`` say why not.

    Times in ISO 8601, UTC.
    """

    valid: bool
    code: str | None
    message: str | None
    hint: str | None
    plan: str | None
    expires: str | None
    good_without_server_until: str | None
    machines_allowed: int | Literal["unlimited"] | None
    notices: list[Notice]
    sandbox: bool
