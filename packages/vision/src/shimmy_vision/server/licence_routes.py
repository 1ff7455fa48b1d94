"""``/api/license``: what is known of this machine's licence. No key goes in or out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from shimmy_vision.errors import LicenceError, UsageError
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.server.app_state import AppState, StateOf
from shimmy_vision.server.describing import errors, record, schema_of
from shimmy_vision.server.intake import media_type, parse_json, read_body, unsupported_media
from shimmy_vision.server.json_text import JsonResponse
from shimmy_vision.use_cases.choose_key import choose_key
from shimmy_vision.use_cases.describe_usage import describe_usage
from shimmy_vision.use_cases.read_standing import read_standing
from shimmy_vision.use_cases.refuse_standing import refuse_standing
from shimmy_vision.use_cases.use_sound_state import use_sound_state
from shimmy_vision.use_cases.validate_licence import validate_licence

router = APIRouter(tags=["licence"])

_LONGEST_QUESTION = 64_000

_TEXT: dict[str, Any] = {"type": ["string", "null"]}
_MOMENT: dict[str, Any] = {"type": ["string", "null"], "format": "date-time"}
_COUNT: dict[str, Any] = {"type": ["integer", "null"], "minimum": 0}
_LIMIT: dict[str, Any] = {"anyOf": [_COUNT, {"const": "unlimited"}]}
_REFUSED = record(code={"type": "string"}, message={"type": "string"}, hint={"type": "string"})
_USAGE = record(
    plan=_TEXT,
    pages_used=_COUNT,
    pages_allowed=_LIMIT,
    resets=_MOMENT,
    not_yet_counted=_COUNT,
    analysed_on_this_machine=_COUNT,
    confirmed={**_MOMENT, "description": "When the licence server was heard last."},
    sandbox={"type": "boolean"},
    refused={
        "anyOf": [_REFUSED, {"type": "null"}],
        "description": "What the next analysis would meet.",
    },
)
_VALIDATION = record(
    valid={"type": "boolean"},
    code={**_TEXT, "description": "Why it is not valid; stable, in kebab case."},
    message=_TEXT,
    hint=_TEXT,
    plan=_TEXT,
    expires=_MOMENT,
    good_without_server_until=_MOMENT,
    machines_allowed=_LIMIT,
    notices={
        "type": "array",
        "items": record(code={"type": "string"}, message={"type": "string"}),
    },
    sandbox={"type": "boolean"},
)


class LicenceQuestion(BaseModel):
    """How the licence is validated."""

    model_config = ConfigDict(extra="forbid")

    refresh: Annotated[
        bool, Field(description="Ask the licence server now; else what is kept is judged.")
    ] = False


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


@router.get(
    "/api/license/usage",
    name="licence-usage",
    summary="Pages used this month",
    responses={200: _answer("What this machine knows.", _USAGE), **errors(404, 503)},
    response_class=JSONResponse,
)
async def usage(state: StateOf) -> Response:
    """Without asking the licence server; 401 where this machine has no licence."""
    return JsonResponse(_written(await run_sync(_with_licences, state, _usage)))


@router.post(
    "/api/license/validate",
    name="licence-validate",
    summary="Whether the next analysis would be admitted",
    openapi_extra={
        "requestBody": {
            "required": False,
            "content": {"application/json": {"schema": schema_of(LicenceQuestion)}},
        }
    },
    responses={
        200: _answer("Valid or not: that too is an answer.", _VALIDATION),
        **errors(400, 404, 413, 415, 422, 429, 499, 503),
    },
    response_class=JSONResponse,
)
async def validate(request: Request, state: StateOf) -> Response:
    """A licence that is missing, expired, used up or of another machine is 200 with `valid` false
    and its `code`. Where the licence server cannot be heard, what it said last stands.
    """
    with state.baggage.account() as account:
        data = await read_body(request, account, _LONGEST_QUESTION)
    question = LicenceQuestion()
    if data:
        if media_type(request) != "application/json":
            raise unsupported_media(media_type(request), "application/json")
        question = parse_json(data, LicenceQuestion)
    # One after the other, or whoever asks again and again would take all threads, and the licence
    # server's patience.
    async with state.refreshing if question.refresh else nullcontext():
        work = partial(validate_licence, refresh=question.refresh)
        return JsonResponse(_written(await run_sync(_with_licences, state, work)))


def _with_licences(state: AppState, work: Callable[[Licensing], dict[str, Any]]) -> dict[str, Any]:
    """On a thread: it reads files, and may wait for the licence server."""
    if state.licences is None:
        raise UsageError("path-unknown", "This server says nothing of licences.", hint="See /docs.")
    with state.licences() as licensing:
        at_hand = licensing.given_key is not None
        return use_sound_state(licensing, lambda: work(licensing), key_at_hand=at_hand)


def _usage(licensing: Licensing) -> dict[str, Any]:
    key = choose_key(licensing)
    with licensing.state.session(key) as session:
        standing = read_standing(session, key, licensing, licensing.now())
    proof = standing.evidence.proof
    refused = refuse_standing(standing, licensing)
    return {
        "plan": None if proof is None else proof.facts.plan,
        "not_yet_counted": None,
        "analysed_on_this_machine": standing.record.total,
        **describe_usage(standing),
        "confirmed": None if proof is None else proof.issued,
        "sandbox": licensing.licensor.sandbox,
        "refused": None if refused is None else _reason(refused),
    }


def _reason(error: LicenceError) -> dict[str, str]:
    return {"code": error.code, "message": error.message, "hint": error.hint}


def _written(report: dict[str, Any]) -> dict[str, Any]:
    """With moments as text."""
    return {
        name: _moment(value) if isinstance(value, datetime) else value
        for name, value in report.items()
    }


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
