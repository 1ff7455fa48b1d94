"""A run as server-sent events: where it is, what the model writes, pages, the result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Send

from shimmy_vision.errors import ShimmyError
from shimmy_vision.ports.analyst import PageOutcome, Restarted
from shimmy_vision.ports.progress import PageProgress, PageWritten, Progress, Written
from shimmy_vision.server.json_text import write_json
from shimmy_vision.server.problems import error_json
from shimmy_vision.server.runs import Run, page_json
from shimmy_vision.server.told_events import Finished, RunEvent

_PING_SECONDS = 15.0
EVENT_STREAM = "text/event-stream"


def event_json(event: RunEvent) -> tuple[str, dict[str, Any]]:
    """An event's name and its data."""
    match event:
        case Progress():
            return "progress", _progress(event)
        case Written():
            return "written", {"answer": event.answer, "text": event.text}
        case PageProgress():
            place = {"page": event.page, "pages_done": event.done, "pages": event.total}
            within = _progress(event.within) if isinstance(event.within, Progress) else {}
            return "progress", {**place, **within}
        case PageWritten():
            written = {"answer": event.within.answer, "text": event.within.text}
            return "written", {"page": event.page, **written}
        case Restarted():
            return "restarted", {}
        case PageOutcome():
            return "page", page_json(event)
        case Finished(result=None):
            return "done", {}
        case Finished():
            return "result", event.result or {}


def _progress(progress: Progress) -> dict[str, Any]:
    percent = None if progress.total == 0 else round(100 * progress.done / progress.total, 1)
    return {
        "stage": progress.stage,
        "done": progress.done,
        "total": progress.total,
        "percent": percent,
    }


async def named_events(run: Run) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """All events of ``run``; an error is the last one, instead of being raised."""
    try:
        async for event in run.events():
            yield event_json(event)
    except ShimmyError as error:
        yield "error", error_json(error)


class EventStream(StreamingResponse):
    """Server-sent events; what produces them is closed with the answer, whatever ended it."""

    def __init__(self, pieces: AsyncGenerator[bytes]) -> None:
        super().__init__(pieces, media_type=EVENT_STREAM, headers={"X-Accel-Buffering": "no"})
        self._pieces = pieces

    async def stream_response(self, send: Send) -> None:
        """Not left to the garbage collector, which would close one in the middle of the other."""
        async with aclosing(self._pieces):
            await super().stream_response(send)


def stream_run(request: Request, run: Run) -> EventStream:
    """Server-sent events until the end of ``run``, which stops when the client is gone."""

    async def lines() -> AsyncGenerator[bytes]:
        async with watch_client(request, run.abandon):
            async for name, data in named_events(run):
                yield format_sse_event(event=name, data_str=write_json(data))

    return EventStream(with_pings(lines()))


@asynccontextmanager
async def watch_client(request: Request, gone: Callable[[], None]) -> AsyncIterator[None]:
    """Call ``gone`` when the client goes, or whatever else ends the block early."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone()

    watcher = asyncio.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()
        gone()


async def with_pings(
    pieces: AsyncGenerator[bytes], seconds: float = _PING_SECONDS
) -> AsyncGenerator[bytes]:
    """``pieces``, and a comment where none comes for ``seconds``: proxies cut what is silent."""
    following: asyncio.Task[bytes | None] | None = None

    async def one() -> bytes | None:
        return await anext(pieces, None)

    try:
        while True:
            following = following or asyncio.create_task(one())
            done, _ = await asyncio.wait({following}, timeout=seconds)
            if not done:
                yield KEEPALIVE_COMMENT
                continue
            piece = following.result()
            following = None
            if piece is None:
                return
            yield piece
    finally:
        if following is not None:
            following.cancel()
            await asyncio.wait({following})
        await pieces.aclose()
