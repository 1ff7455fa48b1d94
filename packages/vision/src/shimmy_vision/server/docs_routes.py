"""The API's description, and a page to read and try it; nothing of it comes from elsewhere."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import HTMLResponse, JSONResponse, Response

from shimmy_vision import __version__
from shimmy_vision.errors import UsageError
from shimmy_vision.server.describing import ERROR_SCHEMA

router = APIRouter(include_in_schema=False)

_ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Shimmy Vision API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="docs/swagger-ui.css"><link rel="icon" href="docs/favicon-32x32.png">
</head><body><div id="ui"></div><script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script></body></html>"""
_START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#ui", deepLinking: true});'
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@router.get("/openapi.json", name="openapi")
async def description(request: Request) -> JSONResponse:
    """OpenAPI 3.1."""
    return JSONResponse(describe_api(request.app))


@router.get("/docs", name="docs")
async def page() -> HTMLResponse:
    """Swagger UI over ``/openapi.json``."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


@router.get("/docs/{name}", name="docs-asset")
async def asset(name: str) -> Response:
    """A file of Swagger UI."""
    if name == "start.js":
        return Response(_START, media_type="text/javascript")
    kind = _ASSETS.get(name)
    if kind is None:
        raise UsageError("path-unknown", "There is nothing at this address.", hint="See /docs.")
    data = files("fastapi_swagger").joinpath("resources", name).read_bytes()
    return Response(data, media_type=kind)


def describe_api(app: FastAPI) -> dict[str, Any]:
    """The description of every endpoint, as ``/openapi.json`` has it."""
    if app.openapi_schema is None:
        described = get_openapi(
            title="Shimmy Vision",
            version=__version__,
            openapi_version="3.1.0",
            summary="Images, PDFs and web pages in, strict JSON out, on your own machine.",
            routes=app.routes,
        )
        components = described.setdefault("components", {})
        _leave_out_frameworks_errors(described)
        components.setdefault("schemas", {})["Error"] = ERROR_SCHEMA
        components["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "An API key of the server."}
        }
        described["security"] = [{}, {"key": []}]
        app.openapi_schema = described
    return app.openapi_schema


def _leave_out_frameworks_errors(described: dict[str, Any]) -> None:
    """FastAPI describes an error of its own for every parameter; ours have one shape."""
    for what in described["paths"].values():
        for operation in what.values():
            responses = operation["responses"]
            if "HTTPValidationError" in str(responses.get("422")):
                del responses["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        described["components"].get("schemas", {}).pop(name, None)
