"""``POST /api/vision`` and ``/api/vision/batch``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.sse import format_sse_event
from pydantic import Field
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from shimmy_vision.errors import ShimmyError
from shimmy_vision.ports.cancellation import stop_error
from shimmy_vision.server.app_state import AppState, StateOf
from shimmy_vision.server.bodies import VisionBody, VisionOptions
from shimmy_vision.server.describing import (
    errors,
    event_schema,
    json_body,
    result_response,
    vision_body,
)
from shimmy_vision.server.intake import aside, read_json, read_order
from shimmy_vision.server.json_bounds import JsonBounds
from shimmy_vision.server.json_text import JsonResponse, write_json
from shimmy_vision.server.logs import logger_of
from shimmy_vision.server.orders import Order, plan_order
from shimmy_vision.server.page_keys import name_pages, read_page_key
from shimmy_vision.server.problems import crash_error, error_json
from shimmy_vision.server.runs import Run
from shimmy_vision.server.status_codes import status_of
from shimmy_vision.server.streams import (
    EVENT_STREAM,
    EventStream,
    stream_run,
    watch_client,
    with_pings,
)

_LOG = logger_of("shimmy_vision.server")
_MOST_ITEMS = 64
# A prompt of the longest in each item, escaped letter by letter.
_BOUNDS = JsonBounds(_MOST_ITEMS, 10_000_000, 200_000)

router = APIRouter(tags=["vision"])


class BatchItem(VisionBody):
    """One of a batch; what it does not say, the batch's own fields say."""

    id: Annotated[str | None, Field(max_length=200, description="Comes back with the result.")] = (
        None
    )


class BatchBody(VisionOptions):
    """Several images, documents or pages at once."""

    items: Annotated[list[BatchItem], Field(min_length=1, max_length=_MOST_ITEMS)]
    stream: Annotated[bool, Field(description="Each result as it is done, in any order.")] = False


@router.post(
    "/api/vision",
    name="vision",
    summary="Analyse an image, a PDF or a web page",
    openapi_extra={"requestBody": vision_body()},
    responses={
        200: result_response(),
        **errors(400, 402, 413, 415, 422, 429, 499, 502, 503, 504),
    },
    response_class=JSONResponse,
)
async def analyse(request: Request, state: StateOf) -> Response:
    """A result in JSON; with `stream` or `Accept: text/event-stream` events: `progress`,
    `written` (what the model writes, as it writes), `page` (of a PDF), and at the end `result`,
    `done` (of a PDF) or `error`.
    """
    with ExitStack() as held:
        account = held.enter_context(state.baggage.account())
        order, streamed = await read_order(request, account, state.options.limits)
        run = state.runs.start(order.job, order.seconds, held.pop_all().close)
    if streamed:
        return stream_run(request, run)
    async with watch_client(request, run.abandon):
        return JsonResponse(await run.answer())


@router.post(
    "/api/vision/batch",
    name="vision-batch",
    summary="Analyse several at once",
    openapi_extra={"requestBody": json_body(BatchBody)},
    responses={
        200: {
            "description": "One entry an item, in order; each with its status.",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["items"],
                        "properties": {"items": {"type": "array", "items": {"type": "object"}}},
                    }
                },
                EVENT_STREAM: {"schema": event_schema("item", "done")},
            },
        },
        **errors(400, 413, 415, 422, 429, 499),
    },
    response_class=JSONResponse,
)
async def analyse_batch(request: Request, state: StateOf) -> Response:
    """One failure does not lose the others: each entry has `index`, `id`, `status` and either
    `result`, `pages` or `error`. With `stream`, events `item` in the order in which they are done.
    """
    with ExitStack() as held:
        account = held.enter_context(state.baggage.account())
        with state.tracer.span("intake"):
            body = await read_json(request, account, BatchBody, _BOUNDS)
        batch = _Batch(body, state, read_page_key(request.headers))
        if body.stream:
            lines = with_pings(_batch_lines(request, batch, held.pop_all()))
            return EventStream(lines)
        async with watch_client(request, batch.abandon):
            answers = await asyncio.gather(*batch.start())
            if batch.gone:
                raise ClientDisconnect
            return JsonResponse({"items": answers})


async def _batch_lines(request: Request, batch: _Batch, held: ExitStack) -> AsyncGenerator[bytes]:
    with held:
        async with watch_client(request, batch.abandon):
            for done in asyncio.as_completed(batch.start()):
                yield format_sse_event(event="item", data_str=write_json(await done))
    yield format_sse_event(event="done", data_str="{}")


class _Batch:
    """Items of one request; no more of them wait in the line at once than are worked on there.

    So a batch takes its turn as many single requests would, and never fills the line by itself.
    """

    def __init__(self, body: BatchBody, state: AppState, key: str) -> None:
        self._body, self._service, self._key = body, state, key
        self._runs: set[Run] = set()
        self.gone = False
        self._turn = asyncio.Semaphore(state.options.slots)

    def start(self) -> list[asyncio.Task[dict[str, Any]]]:
        """One task an item, in order."""
        items = enumerate(self._body.items)
        return [asyncio.create_task(self._one(index, item)) for index, item in items]

    def abandon(self) -> None:
        """Nobody wants it any more."""
        self.gone = True
        for run in tuple(self._runs):
            run.abandon()

    async def _one(self, index: int, item: BatchItem) -> dict[str, Any]:
        entry: dict[str, Any] = {"index": index, "id": item.id, "status": 200}
        async with self._turn:
            try:
                answer = await self._analyse(index, item)
            except ShimmyError as error:
                return _failed(entry, error)
            except Exception:  # noqa: BLE001 - whatever it is, it is this entry's alone
                _LOG.exception("batch-item-failed")
                return _failed(entry, crash_error())
        return {**entry, **(answer if "pages" in answer else {"result": answer})}

    async def _analyse(self, index: int, item: BatchItem) -> dict[str, Any]:
        self._check_wanted()
        whole, limits = _with_defaults(item, self._body), self._service.options.limits
        key = f"{self._key}/{index}" if self._key else ""

        def plan() -> Order:
            order = plan_order(whole, limits)
            return replace(order, job=name_pages(order.job, key, whole.seed))

        order = await aside(len(item.image or ""), plan)
        self._check_wanted()
        run = self._service.runs.start(order.job, order.seconds)
        self._runs.add(run)
        try:
            return await run.answer()
        finally:
            self._runs.discard(run)

    def _check_wanted(self) -> None:
        if self.gone:
            raise stop_error("interrupted")


def _failed(entry: dict[str, Any], error: ShimmyError) -> dict[str, Any]:
    return {**entry, "status": status_of(error), **error_json(error)}


def _with_defaults(item: BatchItem, body: BatchBody) -> VisionBody:
    """The item with the batch's own fields where it does not say otherwise."""
    names = [name for name in VisionOptions.model_fields if name not in item.model_fields_set]
    return item.model_copy(update={name: getattr(body, name) for name in names})
