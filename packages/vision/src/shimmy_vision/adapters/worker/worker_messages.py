"""Jobs, what is told of them and how they end, as JSON for the pipe to the engine process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, assert_never

from shimmy_vision.adapters.worker.worker_frames import Frame, PipeBrokenError
from shimmy_vision.domain.answer.analysis_request import (
    AnalysisRequest,
    AnswerLimits,
    ChatQuestion,
    ChatTurn,
    CustomQuestion,
    DocumentRequest,
    PageView,
    Question,
    StandardQuestion,
)
from shimmy_vision.domain.answer.page_ranges import PageRange
from shimmy_vision.errors import (
    DeadlineError,
    ImageError,
    ShimmyError,
    error_of_kind,
    kind_of,
)
from shimmy_vision.ports.analyst import (
    DocumentJob,
    EngineStatus,
    ImageJob,
    Job,
    JobEvent,
    PageOutcome,
    Restarted,
    UrlJob,
)
from shimmy_vision.ports.engine import EngineDescription
from shimmy_vision.ports.progress import PageProgress, PageWritten, Progress, Written


def job_frame(job: Job) -> Frame:
    """A job as a frame without its number."""
    match job:
        case ImageJob():
            told = {"image": {"request": request_fields(job.request), "key": job.key}}
            return Frame({"do": "analyse", "job": told}, job.data)
        case DocumentJob():
            return Frame({"do": "analyse", "job": {"document": _paged_fields(job)}}, job.data)
        case UrlJob():
            fields = {**_paged_fields(job), "url": job.url, "view": asdict(job.view)}
            return Frame({"do": "analyse", "job": {"url": fields}})
        case _:
            assert_never(job)


def job_of(frame: Frame) -> Job:
    """The job that ``job_frame`` wrote. Raises PipeBrokenError."""
    match frame.head.get("job"):
        case {"image": fields}:
            return ImageJob(frame.body, request_of(fields["request"]), fields["key"])
        case {"document": fields}:
            return DocumentJob(frame.body, *_paged_of(fields))
        case {"url": fields}:
            request, seconds, told, key = _paged_of(fields)
            return UrlJob(fields["url"], request, PageView(**fields["view"]), seconds, told, key)
        case _:
            raise PipeBrokenError("frame-job-unknown")


def _paged_fields(job: DocumentJob | UrlJob) -> dict[str, Any]:
    return {
        "request": request_fields(job.request.analysis),
        "pages": [[one.first, one.last] for one in job.request.pages],
        "dpi": job.request.dpi,
        "seconds": job.page_seconds,
        "told": sorted(job.told),
        "key": job.key,
    }


def _paged_of(
    fields: Mapping[str, Any],
) -> tuple[DocumentRequest, float | None, frozenset[int], str]:
    pages = tuple(PageRange(first, last) for first, last in fields["pages"])
    request = DocumentRequest(request_of(fields["request"]), pages, fields["dpi"])
    return request, fields["seconds"], frozenset(fields["told"]), fields["key"]


def request_fields(request: AnalysisRequest) -> dict[str, Any]:
    """A request as JSON."""
    flags = {"raw": request.raw, "cache": request.cache, "slices": request.slices}
    return {**_question_fields(request.question), "limits": asdict(request.limits), **flags}


def _question_fields(question: Question) -> dict[str, Any]:
    """Not ``asdict``, which copies the schema: level by level, however many there are."""
    match question:
        case StandardQuestion(mode):
            return {"mode": mode}
        case CustomQuestion(prompt, schema):
            return {"prompt": prompt, "schema": schema}
        case ChatQuestion(turns, schema):
            return {"turns": [asdict(turn) for turn in turns], "schema": schema}
        case _:
            assert_never(question)


def request_of(fields: Mapping[str, Any]) -> AnalysisRequest:
    """The request that ``request_fields`` wrote."""
    limits = AnswerLimits(**fields["limits"])
    flags = {name: fields[name] for name in ("raw", "cache", "slices")}
    return AnalysisRequest(_question(fields), limits, **flags)


def _question(fields: Mapping[str, Any]) -> Question:
    match fields:
        case {"mode": mode}:
            return StandardQuestion(mode)
        case {"prompt": prompt, "schema": schema}:
            return CustomQuestion(prompt, schema)
        case {"turns": turns, "schema": schema}:
            return ChatQuestion(tuple(ChatTurn(**turn) for turn in turns), schema)
        case _:
            raise PipeBrokenError("question-unknown")


def event_fields(event: JobEvent) -> dict[str, Any]:
    """What a job tells, as JSON."""
    match event:
        case Progress(stage, done, total):
            return {"progress": [stage, done, total]}
        case Written(answer, text):
            return {"written": [answer, text]}
        case PageProgress(page, done, total, within):
            return {"page": page, "of": [done, total], **event_fields(within)}
        case PageWritten(page, within):
            return {"page": page, **event_fields(within)}
        case PageOutcome(page, result, error):
            told = None if error is None else error_fields(error)
            return {"outcome": page, "result": result, "error": told}
        case Restarted():
            return {"restarted": True}
        case _:
            assert_never(event)


def event_of(fields: Mapping[str, Any]) -> JobEvent:
    """The event that ``event_fields`` wrote. Raises PipeBrokenError."""
    match fields:
        case {"page": page, "of": [done, total], "progress": [stage, *steps]}:
            return PageProgress(page, done, total, Progress(stage, *steps))
        case {"page": page, "written": [answer, text]}:
            return PageWritten(page, Written(answer, text))
        case {"progress": [stage, done, total]}:
            return Progress(stage, done, total)
        case {"written": [answer, text]}:
            return Written(answer, text)
        case {"outcome": page, "result": result, "error": error}:
            return PageOutcome(page, result, None if error is None else _page_error(error))
        case {"restarted": True}:
            return Restarted()
        case _:
            raise PipeBrokenError("event-unknown")


def _page_error(fields: Mapping[str, Any]) -> ImageError | DeadlineError:
    error = error_of(fields)
    if not isinstance(error, ImageError | DeadlineError):
        raise PipeBrokenError("outcome-unknown")
    return error


def status_fields(status: EngineStatus) -> dict[str, Any]:
    """A status as JSON."""
    return {
        "running": status.running,
        "model": None if status.model is None else asdict(status.model),
        "counters": dict(status.counters),
        "gauges": dict(status.gauges),
    }


def status_of(fields: Mapping[str, Any]) -> EngineStatus:
    """The status that ``status_fields`` wrote."""
    model = fields["model"]
    return EngineStatus(
        fields["running"],
        None if model is None else EngineDescription(**model),
        fields["counters"],
        fields["gauges"],
    )


def error_fields(error: ShimmyError) -> dict[str, Any]:
    """An error as JSON."""
    return {
        "kind": kind_of(error),
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "retryable": error.retryable,
        "retry_after": error.retry_after,
    }


def error_of(fields: Mapping[str, Any]) -> ShimmyError:
    """The error that ``error_fields`` wrote, of the same class."""
    return error_of_kind(
        fields["kind"],
        fields["code"],
        fields["message"],
        hint=fields["hint"],
        retryable=fields["retryable"],
        retry_after=fields["retry_after"],
    )
