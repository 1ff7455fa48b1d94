"""``/api/vision/jobs``: analyses that are ordered now and fetched later."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from shimmy_vision.server.app_state import AppState, StateOf
from shimmy_vision.server.bodies import JobBody
from shimmy_vision.server.describing import (
    REASON,
    errors,
    pages_schema,
    record,
    result_schemas,
    vision_body,
)
from shimmy_vision.server.intake import read_asked

router = APIRouter(tags=["jobs"])

_TEXT: dict[str, Any] = {"type": "string"}
_NUMBER: dict[str, Any] = {"type": ["number", "null"]}
_COUNT: dict[str, Any] = {"type": ["integer", "null"], "minimum": 0}
_MOMENT: dict[str, Any] = {"type": "string", "format": "date-time"}
_STATE: dict[str, Any] = {
    "id": {**_TEXT, "description": "Nobody can guess it; whoever knows it may fetch and cancel."},
    "status": {"enum": ["waiting", "running", "done", "failed", "cancelled"]},
    "created": _MOMENT,
    "finished": {**_MOMENT, "type": ["string", "null"]},
}
_PROGRESS = record(
    stage=_TEXT, percent=_NUMBER, page=_COUNT, pages_done=_COUNT, pages=_COUNT
)  # fmt: skip
_CALLBACK = record(
    status={"enum": ["waiting", "delivering", "delivered", "failed"]},
    attempts={"type": "integer", "minimum": 0},
    code={"type": ["string", "null"], "description": "Why the last try failed."},
)


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _job() -> dict[str, Any]:
    return record(
        {"result": {"anyOf": [*result_schemas()]}, "pages": pages_schema(), "error": REASON},
        **_STATE,
        progress={"anyOf": [_PROGRESS, {"type": "null"}]},
        callback={"anyOf": [_CALLBACK, {"type": "null"}]},
    )


@router.post(
    "/api/vision/jobs",
    name="job-start",
    summary="Order an analysis and fetch it later",
    status_code=202,
    openapi_extra={"requestBody": vision_body(JobBody)},
    responses={
        202: {
            **_answer("Ordered; Location says where it is found.", record(**_STATE, url=_TEXT)),
            "headers": {"Location": {"schema": _TEXT}},
        },
        **errors(400, 413, 415, 422, 429, 499, 503),
    },
    response_class=JSONResponse,
)
async def start(request: Request, state: StateOf) -> Response:
    """The body is that of `/api/vision`. Jobs take their turn with all other requests; the client
    may go. Finished ones are kept in memory for an hour at most, fewer where they are many or
    large, and none outlasts the server. With `callback_url` the finished job is posted there, as
    JSON with `id`, `status` and `result`, `pages` or `error`, signed in `Shimmy-Signature`.
    """
    with ExitStack() as held:
        account = held.enter_context(state.baggage.account())
        order, asked = await read_asked(request, account, state.options.limits, JobBody)
        delivery = state.jobs.order_callback(asked.callback_url)
        # Who finds no place in the line takes no finished job's place either.
        state.jobs.check_room()
        run = state.runs.start(order.job, order.seconds, held.pop_all().close)
        job = state.jobs.keep(run, delivery)
    url = request.url_for("job", job_id=job.id).path
    return JSONResponse({**job.state(), "url": url}, 202, headers={"Location": url})


@router.get(
    "/api/vision/jobs",
    name="jobs",
    summary="All jobs that are kept",
    responses={
        200: _answer(
            "The oldest first, without their results.",
            record(jobs={"type": "array", "items": record(**_STATE)}),
        ),
        **errors(),
    },
    response_class=JSONResponse,
)
async def list_jobs(state: StateOf) -> Response:
    """Of every client: whoever may ask this server may see and cancel all of them."""
    return JSONResponse({"jobs": [job.state() for job in state.jobs.list()]})


@router.get(
    "/api/vision/jobs/{job_id}",
    name="job",
    summary="A job's state and result",
    responses={
        200: _answer("The pages of a PDF stand here as they are done.", _job()),
        **errors(404),
    },
    response_class=JSONResponse,
)
async def show(job_id: str, state: StateOf) -> Response:
    """`result` for an image or a web page, `pages` for a PDF, `error` where it failed."""
    return Response(state.jobs.find(job_id).whole(), media_type="application/json")


@router.delete(
    "/api/vision/jobs/{job_id}",
    name="job-stop",
    summary="Cancel a job, or remove a finished one",
    responses={
        200: _answer("How it is now.", record(**_STATE, removed={"type": "boolean"})),
        **errors(404),
    },
    response_class=JSONResponse,
)
async def stop(job_id: str, state: StateOf) -> Response:
    """One that waits or runs is cancelled and still found; ask again to remove it. A callback
    that is under way for a removed one is given up.
    """
    return JSONResponse(await _stop(job_id, state))


async def _stop(job_id: str, state: AppState) -> dict[str, Any]:
    job = state.jobs.find(job_id)
    removed = await state.jobs.stop(job)
    return {**job.state(), "removed": removed}
