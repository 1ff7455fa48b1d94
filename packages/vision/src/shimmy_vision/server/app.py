"""The HTTP API as one ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from anyio.to_thread import run_sync
from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import compile_path

from shimmy_vision import __version__
from shimmy_vision.domain.model.served_model import ServedModel
from shimmy_vision.errors import ShimmyError, UsageError
from shimmy_vision.ports.analyst import Analyst
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.tracing import Tracer, Untraced
from shimmy_vision.server import (
    chat_routes,
    docs_routes,
    health_routes,
    job_routes,
    licence_routes,
    local_routes,
    socket_routes,
    vision_routes,
)
from shimmy_vision.server.app_state import (
    STATE,
    AppState,
    OpenLicences,
    ServerOptions,
    open_state,
)
from shimmy_vision.server.callbacks import Callbacks
from shimmy_vision.server.docs_routes import describe_api
from shimmy_vision.server.guard import Guard
from shimmy_vision.server.logs import logger_of
from shimmy_vision.server.problems import error_response

_LOG = logger_of("shimmy_vision.server")
_ALLOWED_HEADERS = (
    *("Authorization", "Content-Type", "Idempotency-Key", "X-API-Key"),
    *("X-Request-Id", "Traceparent"),
)
_ROUTES = (
    vision_routes,
    job_routes,
    socket_routes,
    chat_routes,
    licence_routes,
    health_routes,
    local_routes,
    docs_routes,
)


def create_app(
    analyst: Analyst,
    options: ServerOptions,
    check_ready: Callable[[], None],
    *,
    list_models: Callable[[], Sequence[ServedModel]] = tuple,
    callbacks: Callbacks | None = None,
    licences: OpenLicences | None = None,
    tracer: Tracer | None = None,
) -> FastAPI:
    """``check_ready``, ``list_models`` and ``licences`` as in ``AppState``.

    Without ``callbacks`` no job may name one; without ``licences`` nothing is said of them. The app
    does not close the analyst.
    """
    traced = tracer or Untraced()
    state = open_state(
        analyst, options, check_ready, list_models, traced, callbacks=callbacks, licences=licences
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        warming = asyncio.create_task(_prepare(state)) if options.preload else None
        try:
            yield {STATE: state}
        finally:
            await _drain(state)
            if warming is not None:
                warming.cancel()

    app = FastAPI(
        title="Shimmy Vision",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
    )
    app.state.shimmy = state
    for routes in _ROUTES:
        app.include_router(routes.router)
    app.add_exception_handler(ShimmyError, _refuse)
    app.add_exception_handler(HTTPException, _translate)
    app.add_exception_handler(ClientDisconnect, _nobody)
    app.add_middleware(Guard, rules=options.rules, meters=state.meters, tracer=traced)
    if options.rules.origins:
        app.add_middleware(
            _OtherPages,
            allow_origins=list(options.rules.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=_ALLOWED_HEADERS,
            expose_headers=["Retry-After", "X-Request-Id"],
        )
    return app


class _OtherPages(CORSMiddleware):
    """Refusals in our shape."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """What a browser asks before it lets a page of another origin ask."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        refused = error_response(
            UsageError(
                "origin-refused",
                f"{bytes(response.body).decode()}.",
                hint="Start it with --cors-origin and the page's origin to allow it.",
            )
        )
        refused.headers["Vary"] = "Origin"
        return refused


async def _prepare(state: AppState) -> None:
    """Load the model before anybody asks; what fails then is told in the log and by ``/ready``."""
    try:
        await run_sync(state.analyst.prepare, Cancellation())
        _LOG.info("engine-ready")
    except ShimmyError as error:
        _LOG.info("engine-not-ready", code=error.code)


async def _drain(state: AppState) -> None:
    """Work under way is finished, for as long as the operator allows, callbacks included."""
    deadline = state.ending.begin()
    with suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            await state.line.drained()
            await state.jobs.drained()
    state.runs.close()
    state.jobs.close()


async def _refuse(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ShimmyError)  # noqa: S101 - it is registered for nothing else
    return error_response(error)


async def _translate(request: Request, error: Exception) -> Response:
    """What the framework itself refuses, in our shape."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for nothing else
    if error.status_code == 404:
        return error_response(
            UsageError("path-unknown", "There is nothing at this address.", hint="See /docs.")
        )
    if error.status_code == 405:
        response = error_response(
            UsageError("method-unknown", "This address wants another method.", hint="See /docs.")
        )
        response.headers["Allow"] = _methods_at(request)
        return response
    return error_response(UsageError("request-refused", f"{error.detail}."))


def _methods_at(request: Request) -> str:
    """Of every route there; the framework names those of the first one only."""
    paths = describe_api(request.app)["paths"].items()
    found = [what for path, what in paths if compile_path(path)[0].match(request.url.path)]
    return ", ".join(sorted({method.upper() for what in found for method in what}))


async def _nobody(_request: Request, _error: Exception) -> Response:
    return Response(status_code=499)
