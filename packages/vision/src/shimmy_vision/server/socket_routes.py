"""``/ws/vision``: several analyses on one connection, each with its events."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from shimmy_vision.errors import BusyError, ShimmyError, UsageError
from shimmy_vision.server.app_state import AppState
from shimmy_vision.server.bodies import VisionBody
from shimmy_vision.server.intake import aside, invalid_fields
from shimmy_vision.server.json_bounds import read_json_text
from shimmy_vision.server.json_text import write_json
from shimmy_vision.server.logs import logger_of
from shimmy_vision.server.orders import Order, plan_file, plan_order
from shimmy_vision.server.page_keys import check_page_key, name_pages
from shimmy_vision.server.problems import crash_error, error_json
from shimmy_vision.server.runs import Run
from shimmy_vision.server.socket_protocol import STOPPING
from shimmy_vision.server.streams import named_events

Model = TypeVar("Model", bound=BaseModel)

_LOG = logger_of("shimmy_vision.sockets")

MOST_UNFINISHED = 16
_GOING_AWAY = 1001
_IN_A_FRAME = "binary"
_LAST_EVENTS = ("result", "done", "error")

router = APIRouter()


class SocketOrder(VisionBody):
    """An analysis; ``id`` is the client's own and comes back with each event."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    # No browser sends headers of its own with a WebSocket.
    idempotency_key: Annotated[str | None, Field(min_length=1, max_length=255)] = None


class SocketCancel(BaseModel):
    """An analysis that is not wanted any more."""

    model_config = ConfigDict(extra="forbid")

    cancel: Annotated[str, Field(min_length=1, max_length=200)]


@router.websocket("/ws/vision", name="vision-socket")
async def converse(socket: WebSocket) -> None:
    """Text messages are orders, as the body of ``/api/vision`` with an ``id``, or ``{"cancel":

    id}``; with ``"image": "binary"`` the next message is the file. Answers are ``{id, event,
    data}``, as the events of ``/api/vision``.
    """
    await socket.accept()
    await _Conversation(socket, socket.app.state.shimmy).hold()


@dataclass(frozen=True, slots=True)
class _Expected:
    """A file is to come: for ``order``, or for nobody, as its order was refused."""

    order: SocketOrder | None


class _Conversation:
    def __init__(self, socket: WebSocket, state: AppState) -> None:
        self._socket, self._service = socket, state
        self._unfinished: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._expected: _Expected | None = None

    async def hold(self) -> None:
        """Until the client has gone; or, at a stop, until everything under way is told."""
        try:
            while (message := await self._socket.receive())["type"] != "websocket.disconnect":
                await self._hear(message)
            if message.get("code") == STOPPING:
                while self._tasks:
                    await asyncio.wait(self._tasks)
                await self._socket.close(_GOING_AWAY, "server-stopping")
        except asyncio.CancelledError:
            with suppress(WebSocketDisconnect, RuntimeError):
                await self._socket.close(_GOING_AWAY, "server-stopping")
            raise
        except WebSocketDisconnect:
            pass  # It went while it was being answered.
        finally:
            for task in self._tasks:
                task.cancel()
            for run in self._unfinished.values():
                run.abandon()

    async def _hear(self, message: Any) -> None:
        text, expected, self._expected = message.get("text"), self._expected, None
        if text is None:
            order = None if expected is None else expected.order
            if order is not None:
                await self._attempt(order.id, message["bytes"], order)
            elif expected is None:
                await self._refuse(None, _unexpected_file())
            return
        if expected is not None and expected.order is not None:
            await self._refuse(expected.order.id, _missing_file())
        await self._attempt(None, text, None)

    async def _attempt(
        self, told: str | None, content: str | bytes, order: SocketOrder | None
    ) -> None:
        """Take a text, or the file of ``order``; what is wrong with it is told under its id."""
        with ExitStack() as held:
            try:
                account = held.enter_context(self._service.baggage.account())
                account.take(len(content))
                if order is None:
                    fields = await aside(len(content), partial(_read_object, content))
                    told = _id_in(fields)
                    order = await self._consider(fields)
                    if order is None:
                        return
                planned = await aside(len(content), partial(self._plan, order, content))
                self._start(order.id, planned, held)
            except WebSocketDisconnect:
                raise
            except ShimmyError as error:
                await self._refuse(told, error)
            except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer
                _LOG.exception("message-failed")
                await self._refuse(told, crash_error())

    async def _consider(self, fields: dict[str, Any]) -> SocketOrder | None:
        """An order that can be begun; None for what is no order or waits for its file."""
        if "cancel" in fields:
            run = self._unfinished.get(_validate(SocketCancel, fields).cancel)
            # One that has just ended is none that anybody complains about.
            if run is not None:
                run.abandon()
            return None
        in_a_frame = fields.get("image") == _IN_A_FRAME
        if in_a_frame:
            self._expected = _Expected(None)
        order = _validate(SocketOrder, fields)
        self._check_place(order.id)
        if in_a_frame and order.url is None:
            self._expected = _Expected(order)
            return None
        return order

    def _check_place(self, named: str) -> None:
        if named in self._unfinished:
            raise UsageError(
                "order-id-taken",
                "An analysis with this id is still under way.",
                hint="Take another id.",
            )
        if len(self._unfinished) >= MOST_UNFINISHED:
            raise BusyError(
                "orders-too-many",
                f"{MOST_UNFINISHED} analyses of this connection are not finished yet.",
                hint="Wait for one of them, or open another connection.",
                retry_after=1.0,
            )

    def _plan(self, order: SocketOrder, content: str | bytes) -> Order:
        limits = self._service.options.limits
        key = check_page_key(order.idempotency_key) if order.idempotency_key else ""
        if isinstance(content, bytes):
            planned = plan_file(content, order, limits)
        else:
            planned = plan_order(order, limits)
        return replace(planned, job=name_pages(planned.job, key, order.seed))

    def _start(self, named: str, order: Order, held: ExitStack) -> None:
        run = self._service.runs.start(order.job, order.seconds, held.pop_all().close)
        self._unfinished[named] = run
        task = asyncio.create_task(self._tell(named, run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, named: str, run: Run) -> None:
        try:
            async for event, data in named_events(run):
                if event in _LAST_EVENTS:
                    # Before the client hears of it: it may take the same id again at once.
                    self._unfinished.pop(named, None)
                await self._send(named, event, data)
        except WebSocketDisconnect:
            run.abandon()

    async def _refuse(self, named: str | None, error: ShimmyError) -> None:
        await self._send(named, "error", error_json(error))

    async def _send(self, named: str | None, event: str, data: dict[str, Any]) -> None:
        await self._socket.send_text(write_json({"id": named, "event": event, "data": data}))


def _read_object(text: str | bytes) -> dict[str, Any]:
    read = read_json_text(text)
    if not isinstance(read, dict):
        raise UsageError("fields-invalid", "A message is a JSON object.")
    return read


def _id_in(fields: dict[str, Any]) -> str | None:
    """For the answer: what is given as id, if it can be one."""
    named = fields.get("id", fields.get("cancel"))
    return named if isinstance(named, str) and 0 < len(named) <= 200 else None


def _validate(model: type[Model], fields: dict[str, Any]) -> Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise invalid_fields(error) from error


def _unexpected_file() -> UsageError:
    return UsageError(
        "binary-unexpected",
        "A file came without an order before it.",
        hint='Send first: {"id": "...", "image": "binary"}',
    )


def _missing_file() -> UsageError:
    return UsageError(
        "binary-missing",
        "The order named a file in the next message, but that was text.",
        hint="Send the file right after its order, as one binary message.",
    )
