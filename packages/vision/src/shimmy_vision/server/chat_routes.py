"""``/v1``: what OpenAI's clients need to ask this server about images."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from fastapi.sse import format_sse_event
from starlette.responses import JSONResponse, Response

from shimmy_vision.domain.model.model_family import FAMILIES, ModelFamily
from shimmy_vision.domain.model.served_model import (
    ServedModel,
    find_model,
    is_any_model,
    model_id,
)
from shimmy_vision.errors import ShimmyError, UsageError
from shimmy_vision.ports.analyst import PageOutcome
from shimmy_vision.ports.progress import PageProgress, PageWritten, Written
from shimmy_vision.server.app_state import AppState, StateOf
from shimmy_vision.server.chat_bodies import ChatBody, ChatCompletion, ModelList, ModelObject
from shimmy_vision.server.chat_orders import pdf_refused, plan_chat
from shimmy_vision.server.chat_replies import Envelope, SpokenReply, finish_reason
from shimmy_vision.server.describing import errors, event_schema, json_body
from shimmy_vision.server.intake import aside, read_json
from shimmy_vision.server.json_text import JsonResponse, write_json
from shimmy_vision.server.page_keys import name_pages, read_page_key
from shimmy_vision.server.problems import error_json
from shimmy_vision.server.runs import Run
from shimmy_vision.server.streams import EVENT_STREAM, EventStream, watch_client, with_pings
from shimmy_vision.server.told_events import Finished, RunEvent

_DONE = format_sse_event(data_str="[DONE]")

router = APIRouter(prefix="/v1", tags=["openai"])


@dataclass(frozen=True, slots=True)
class _Exchange:
    """A question on its way; ``named`` is the model that the client named, if any."""

    state: AppState
    run: Run
    free: bool
    named: ModelFamily | None
    with_usage: bool

    async def events(self) -> AsyncGenerator[RunEvent]:
        """The run's own, of which a document has none. Raises what the job raised."""
        async for event in self.run.events():
            match event:
                case PageProgress() | PageWritten() | PageOutcome() | Finished(result=None):
                    self.run.abandon()
                    raise pdf_refused()
                case _:
                    yield event

    async def envelope(self, event: RunEvent) -> Envelope:
        """For what begins with ``event``. Raises UsageError where another model answers."""
        family = await self._family(event)
        if family is not None and self.named not in (None, family):
            raise _unknown(model_id(self.named), [ServedModel(family)])
        known = family or self.named
        return Envelope("default" if known is None else model_id(known), counted=self.with_usage)

    async def _family(self, event: RunEvent) -> ModelFamily | None:
        if isinstance(event, Finished) and event.result is not None:
            family: ModelFamily = event.result["meta"]["model"]["family"]
            return family
        loaded = (await run_sync(self.state.analyst.status)).model
        return None if loaded is None else loaded.family


@router.post(
    "/chat/completions",
    name="chat-completions",
    summary="Ask about an image, as OpenAI's clients do",
    openapi_extra={"requestBody": json_body(ChatBody)},
    responses={
        200: {
            "description": "The reply; with `stream`, its pieces as server-sent events.",
            "model": ChatCompletion,
            "content": {EVENT_STREAM: {"schema": event_schema()}},
        },
        **errors(400, 402, 404, 413, 415, 422, 429, 499, 502, 503, 504),
    },
    response_class=JSONResponse,
)
async def complete(request: Request, state: StateOf) -> Response:
    """One image in the whole conversation, wherever it stands: a data URL, or the URL of an image
    or of a web page. `response_format` is honoured strictly. Without `temperature` and `seed` the
    best token is taken each time; with a `temperature` but no `seed` each answer is another.
    """
    with ExitStack() as held:
        account = held.enter_context(state.baggage.account())
        with state.tracer.span("intake"):
            body = await read_json(request, account, ChatBody)
        named = await _named(body.model, state)
        limits = state.options.limits
        key = read_page_key(request.headers)
        order = await aside(account.held, lambda: plan_chat(body, limits))
        job = await aside(account.held, lambda: name_pages(order.job, key, body.seed))
        run = state.runs.start(job, None, held.pop_all().close)
    options = body.stream_options
    with_usage = options is not None and bool(options.include_usage)
    exchange = _Exchange(state, run, order.free, named, with_usage)
    if body.stream:
        return await _stream(request, exchange)
    async with watch_client(request, run.abandon), aclosing(exchange.events()) as events:
        async for event in events:
            if isinstance(event, Finished) and event.result is not None:
                envelope = await exchange.envelope(event)
                return JsonResponse(envelope.whole(event.result, free=order.free))
    raise AssertionError("a run ends with Finished or an error")


async def _stream(request: Request, exchange: _Exchange) -> EventStream:
    """What fails before anything is said has a status of its own, unless that takes so long that

    the client must be told that there is still somebody.
    """
    pieces = with_pings(_pieces(request, exchange))
    first = await anext(pieces)

    async def lines() -> AsyncGenerator[bytes]:
        async with aclosing(pieces):
            yield first
            try:
                async for piece in pieces:
                    yield piece
            except ShimmyError as error:
                yield format_sse_event(data_str=write_json(error_json(error)))
                yield _DONE

    return EventStream(lines())


async def _pieces(request: Request, exchange: _Exchange) -> AsyncGenerator[bytes]:
    def line(data: object) -> bytes:
        return format_sse_event(data_str=write_json(data))

    reply, envelope = SpokenReply(free=exchange.free), None
    async with (
        watch_client(request, exchange.run.abandon),
        aclosing(exchange.events()) as events,
    ):
        async for event in events:
            news = reply.hear(event)
            if envelope is None and isinstance(event, Written | Finished):
                envelope = await exchange.envelope(event)
                yield line(envelope.piece({"role": "assistant", "content": "", "refusal": None}))
            if envelope is not None and news:
                yield line(envelope.piece({"content": news}))
            if envelope is not None and isinstance(event, Finished) and event.result is not None:
                yield line(envelope.piece({}, finish_reason(event.result)))
                if exchange.with_usage:
                    yield line(envelope.usage(event.result))
    yield _DONE


@router.get(
    "/models",
    name="models",
    summary="Models that requests may name",
    responses={200: {"model": ModelList}, **errors(503)},
    response_class=JSONResponse,
)
async def models(state: StateOf) -> Response:
    """The model in memory; before one is loaded, those of which it may be one."""
    served = await _served(state)
    return JSONResponse(ModelList(data=[_object(one) for one in served]).model_dump())


@router.get(
    "/models/{name:path}",
    name="model",
    summary="One of them",
    responses={200: {"model": ModelObject}, **errors(404, 503)},
    response_class=JSONResponse,
)
async def model(name: str, state: StateOf) -> Response:
    """By its id."""
    served = await _served(state)
    found = find_model(name, served)
    if found is None:
        raise _unknown(name, served)
    return JSONResponse(_object(found).model_dump())


def _object(one: ServedModel) -> ModelObject:
    return ModelObject(id=one.id, created=one.created)


async def _named(name: str, state: AppState) -> ModelFamily | None:
    """The family that a request names, or None for any. Raises UsageError model-unknown."""
    if is_any_model(name):
        return None
    served = await _served(state)
    # A folder's model is known only when it is loaded; what answers is checked then.
    found = find_model(name, served or [ServedModel(family) for family in FAMILIES])
    if found is None:
        raise _unknown(name, served)
    return found.family


async def _served(state: AppState) -> Sequence[ServedModel]:
    listed = await run_sync(state.list_models)
    loaded = (await run_sync(state.analyst.status)).model
    if loaded is None:
        return listed
    own = [one for one in listed if one.family == loaded.family]
    return own or [ServedModel(loaded.family)]


def _unknown(name: str, served: Sequence[ServedModel]) -> UsageError:
    answering = ", ".join(one.id for one in served)
    known = f"It answers as {answering}." if answering else "No model is installed."
    return UsageError(
        "model-unknown",
        f"This server does not answer as {name[:100]!r}.",
        hint=f"{known} Leave the choice to it with 'default'.",
    )
