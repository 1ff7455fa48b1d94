"""What the programs of this user ask through the Unix socket before they hand over work."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from shimmy_vision import __version__
from shimmy_vision.errors import UsageError
from shimmy_vision.server.app_state import StateOf
from shimmy_vision.server.guard import is_local_socket

router = APIRouter(include_in_schema=False)


@router.get("/local", name="local")
async def offer(request: Request, state: StateOf) -> JSONResponse:
    """Whether the same command, run there, would do the same here."""
    offered = state.options.local
    if offered is None or not is_local_socket(request.scope):
        raise UsageError("path-unknown", "There is nothing at this address.", hint="See /docs.")
    limits = state.options.limits
    return JSONResponse(
        {
            "version": __version__,
            "settings": offered.settings,
            "model": offered.model,
            "max_dimension": offered.max_dimension,
            "max_image_bytes": limits.max_image_bytes,
            "max_document_bytes": limits.max_document_bytes,
            "max_tokens": limits.max_tokens,
            "stopping": state.line.stopping,
        }
    )
