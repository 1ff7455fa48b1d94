"""httpx over JavaScript's ``fetch``, for Pyodide: a Worker has neither sockets nor TLS of its own.

Whole bodies both ways, no redirects followed, one limit of time for all of an exchange and one of
size for what comes back. Logs nothing. The one place that translates ``fetch``'s errors.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

import httpx

# What ``fetch`` writes by itself, or refuses to be told; and it decodes other encodings than httpx.
_ITS_OWN = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}
)
# ``fetch`` has decoded the body, and its length is another one now.
_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding"})
# A Worker has 128 MB for everything; a hundred of Stripe's subscriptions are about one.
MOST_BYTES = 16_000_000


class JsFetchTransport(httpx.AsyncBaseTransport):
    """Holds nothing open, so that one may serve all requests of an isolate."""

    def __init__(self) -> None:
        # Only Pyodide has them.
        self._js: Any = importlib.import_module("js")
        self._ffi: Any = importlib.import_module("pyodide.ffi")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx's errors, as its own transports do."""
        body = await request.aread()
        ending = self._js.AbortController.new()
        done = False
        try:
            async with asyncio.timeout(_seconds(request)):
                reply = await self._fetch(request, body, ending)
                content = await self._whole(request, reply)
            done = True
        except TimeoutError as error:
            raise httpx.ReadTimeout("No answer in time.", request=request) from error
        finally:
            if not done:
                ending.abort()
        headers = [(str(name), str(value)) for name, value in reply.headers]
        kept = [one for one in headers if one[0].lower() not in _OF_THE_WIRE]
        return httpx.Response(int(reply.status), headers=kept, content=content, request=request)

    async def _fetch(self, request: httpx.Request, body: bytes, ending: Any) -> Any:
        try:
            return await self._js.fetch(str(request.url), self._order(request, body, ending))
        except self._ffi.JsException as error:
            # Whether it was sent before the way broke off, ``fetch`` does not say.
            raise httpx.NetworkError("No answer came.", request=request) from error

    async def _whole(self, request: httpx.Request, reply: Any) -> bytes:
        """All of the body, in pieces: nobody knows before how long it is."""
        content = bytearray()
        reader = reply.body.getReader() if reply.body else None
        try:
            while reader is not None and not (piece := await reader.read()).done:
                content += piece.value.to_bytes()
                if len(content) > MOST_BYTES:
                    raise httpx.ReadError("The answer is too long.", request=request)
        except self._ffi.JsException as error:
            raise httpx.ReadError("The answer broke off.", request=request) from error
        return bytes(content)

    def _order(self, request: httpx.Request, body: bytes, ending: Any) -> Any:
        headers = [
            [name, value]
            for name, value in request.headers.multi_items()
            if name.lower() not in _ITS_OWN
        ]
        order = {
            "method": request.method,
            "headers": headers,
            # A redirect is an answer like another: whoever asked decides.
            "redirect": "manual",
            "signal": ending.signal,
        }
        if body:
            order["body"] = body
        return self._ffi.to_js(order, dict_converter=self._js.Object.fromEntries)


def _seconds(request: httpx.Request) -> float | None:
    """The longest of httpx's limits, for everything; None: none was set."""
    limits = request.extensions.get("timeout", {}).values()
    return max((float(one) for one in limits if one is not None), default=None)
