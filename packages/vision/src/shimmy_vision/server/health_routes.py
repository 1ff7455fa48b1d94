"""Whether the server lives, whether it can work, what it counts."""

from __future__ import annotations

from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from shimmy_vision import __version__
from shimmy_vision.ports.engine import EngineDescription
from shimmy_vision.server.app_state import StateOf, refusal_of
from shimmy_vision.server.describing import errors
from shimmy_vision.server.problems import error_json

router = APIRouter(tags=["operation"])


@router.get("/health", name="health", summary="Liveness", responses=errors())
async def health(state: StateOf) -> dict[str, str]:
    """The web process answers. Says nothing of licence, model or engine: see `/ready`.

    `library` is who answers for the native library: a signature, or nobody.
    """
    return {"status": "ok", "version": __version__, "library": state.options.library}


@router.get(
    "/ready",
    name="ready",
    summary="Readiness",
    responses={**errors(), 503: {"description": "Not now; the reasons say why."}},
)
async def ready(state: StateOf) -> JSONResponse:
    """200 where the next analysis would be admitted and could run, else 503 with reasons."""
    status = await run_sync(state.analyst.status)
    reasons: list[dict[str, Any]] = []
    if state.line.stopping:
        reasons.append({"code": "server-stopping", "message": "The server is about to stop."})
    refused = await run_sync(refusal_of, state)
    if refused is not None:
        reasons.append(error_json(refused)["error"])
    body = {
        "ready": not reasons,
        "model_loaded": status.model is not None,
        **_encoder(status.model),
        "busy": state.line.busy,
        "waiting": state.line.waiting,
        "reasons": reasons,
    }
    return JSONResponse(body, 503 if reasons else 200)


def _encoder(model: EngineDescription | None) -> dict[str, str]:
    """What encodes images, known while a model is in memory, and why it is not the faster one."""
    if model is None:
        return {}
    fallback = {"encoder_fallback": model.encoder_fallback} if model.encoder_fallback else {}
    return {"encoder": model.encoder, **fallback}


@router.get(
    "/metrics",
    name="metrics",
    summary="Counts and times for Prometheus",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **errors()},
    response_class=Response,
)
async def metrics(state: StateOf) -> Response:
    """Prometheus's text format."""
    text = await run_sync(state.meters.exposition)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
