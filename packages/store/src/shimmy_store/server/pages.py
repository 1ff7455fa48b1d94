"""Pages from templates, under one look and one set of rules for browsers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from shimmy_store.domain.catalog import Plan

_ASSETS = {
    "favicon.svg": "image/svg+xml",
    "look.css": "text/css",
    "store.css": "text/css",
    "store.js": "text/javascript",
}


def _number(value: int) -> str:
    return f"{value:,}"


def _price(plan: Plan) -> str:
    whole, cents = divmod(plan.unit_amount, 100)
    return f"${whole:,}" + (f".{cents:02}" if cents else "")


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"


def _asset(name: str) -> bytes:
    return (resources.files("shimmy_store.server") / "assets" / name).read_bytes()


_ADDRESSES = {
    name: f"/assets/{hashlib.sha256(_asset(name)).hexdigest()[:12]}/{name}" for name in _ASSETS
}


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("shimmy_store.server"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": _number, "price": _price, "day": _day}
    made.globals["assets"] = _ADDRESSES
    return made


_TEMPLATES = _environment()


def show_page(
    request: Request,
    name: str,
    context: Mapping[str, Any] | None = None,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A page of ours; ``visit`` is there once the request got as far as that."""
    visit = getattr(request.state, "visit", None)
    given = {
        "path": request.url.path,
        "csrf": visit.form_token if visit else "",
        "signed_in": False,
    }
    if visit is not None:
        given["signed_in"] = visit.session is not None
    # An address that leads nowhere has no visit, and is a page of the same store all the same.
    shop = getattr(getattr(request.scope.get("app"), "state", None), "shop", None)
    given["mode"] = "live" if shop is None else shop.settings.mode
    text = _TEMPLATES.get_template(name).render({**given, **(context or {})})
    return HTMLResponse(text, status, headers={"Cache-Control": "no-store", **(headers or {})})


async def show_asset(request: Request) -> Response:
    """A style sheet or script; its address changes with its content."""
    name = request.path_params["name"]
    if name not in _ASSETS:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    # Under another address, of an older or a coming version, nobody may keep it.
    current = request.url.path == _ADDRESSES[name]
    keep = "public, max-age=31536000, immutable" if current else "no-store"
    headers = {"Cache-Control": keep}
    return Response(_asset(name), media_type=_ASSETS[name], headers=headers)
