"""One exchange on the guarded line: a client's request, and what passes to and from its server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeAlias
from urllib.parse import urlsplit

import h11

_PIECE = 65_536
_LONGEST_HEAD = 65_536
_CLOSE_SECONDS = 2.0
LINE_HEADER = "x-shimmy-line"
"""On answers of the line's own, with their status: to a browser they look like the server's."""

# Of one connection only, so not passed on; the proxy's credential least of all.
_OF_ONE_HOP = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te"),
        *(b"proxy-authenticate", b"trailer", b"transfer-encoding", b"upgrade"),
        LINE_HEADER.encode(),
    )
)

Headers: TypeAlias = list[tuple[bytes, bytes]]
Read: TypeAlias = Callable[[int], Awaitable[bytes]]


class BadUpstream(Exception):  # noqa: N818 - not an error of ours but news from a server
    """The server's answer is no HTTP, and nothing of it was passed on yet."""


class Client:
    """The browser's end; ``count`` hears of every byte to and from the server."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        count: Callable[[int], None],
    ) -> None:
        self.reader, self.writer, self.count = reader, writer, count
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)

    async def read_head(self) -> h11.Request | None:
        """None if the client leaves without a word. Raises h11.ProtocolError."""
        event = await next_event(self.http, self.reader.read)
        return event if isinstance(event, h11.Request) else None

    async def send(self, event: h11.Event) -> None:
        """Raises OSError when the client is gone."""
        data = self.http.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()

    async def reply(self, status: int, text: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        """An answer of our own; ``text`` is one line."""
        if self.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.abort()
            return
        body = text.encode()
        named = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        ours = [(LINE_HEADER, str(status)), ("Connection", "close")]
        all_headers = [*named, *ours, *headers]
        await self.send(h11.Response(status_code=status, headers=all_headers))
        await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())

    def abort(self) -> None:
        """Cut: the client learns that what it has is not all."""
        self.writer.transport.abort()

    async def close(self) -> None:
        """Give the last bytes a moment to leave."""
        self.writer.close()
        try:
            await asyncio.wait_for(self.writer.wait_closed(), _CLOSE_SECONDS)
        except (OSError, TimeoutError, asyncio.CancelledError):
            self.abort()


async def next_event(http: h11.Connection, read: Read) -> object:
    """The next event of ``http``, of as many pieces as it needs."""
    while True:
        event = http.next_event()
        if event is not h11.NEED_DATA:
            return event
        http.receive_data(await read(_PIECE))


async def forward(
    client: Client,
    request: h11.Request,
    url: str,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """A plain request to ``url``, written anew in both directions.

    Raises BadUpstream; h11.ProtocolError and OSError when it breaks off in the middle.
    """
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kept = [(name, value) for name, value in _kept(request.headers) if name != b"host"]
    headers = [(b"Host", parts.netloc.encode()), *kept, (b"Connection", b"close")]
    if any(name == b"transfer-encoding" for name, _ in request.headers):
        headers.append((b"Transfer-Encoding", b"chunked"))
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)
    head = h11.Request(method=request.method, target=target, headers=headers)
    await _send(client, http, writer, head)
    while isinstance(event := await next_event(client.http, client.reader.read), h11.Data):
        await _send(client, http, writer, h11.Data(data=bytes(event.data)))
    _must_end(event)
    await _send(client, http, writer, h11.EndOfMessage())
    await _return_answer(client, http, reader)


async def _send(
    client: Client, http: h11.Connection, writer: asyncio.StreamWriter, event: h11.Event
) -> None:
    data = http.send(event) or b""
    client.count(len(data))
    writer.write(data)
    await writer.drain()


async def _return_answer(
    client: Client, http: h11.Connection, reader: asyncio.StreamReader
) -> None:
    async def counted(size: int) -> bytes:
        data = await reader.read(size)
        client.count(len(data))
        return data

    try:
        event = await next_event(http, counted)
        while isinstance(event, h11.InformationalResponse) and event.status_code != 101:
            event = await next_event(http, counted)
    except h11.ProtocolError as error:
        raise BadUpstream from error
    if not isinstance(event, h11.Response):
        raise BadUpstream
    headers = [*_kept(event.headers), (b"Connection", b"close")]
    answer = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
    await client.send(answer)
    while isinstance(event := await next_event(http, counted), h11.Data):
        await client.send(h11.Data(data=bytes(event.data)))
    _must_end(event)
    await client.send(h11.EndOfMessage())


def _kept(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    named = {
        word.strip().lower()
        for name, value in headers
        if name == b"connection"
        for word in value.split(b",")
    }
    return [(name, value) for name, value in headers if name not in _OF_ONE_HOP | named]


def _must_end(event: object) -> None:
    """What is no body any more is its end, or the connection broke."""
    if type(event) is not h11.EndOfMessage:
        raise EOFError


async def tunnel(
    client: Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Bytes in both directions until one side ends."""
    await next_event(client.http, client.reader.read)  # the request's end, which has no body
    await client.send(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
    early, _ = client.http.trailing_data
    client.count(len(early))
    writer.write(early)
    ways = {
        asyncio.ensure_future(_copy(client.reader, writer, client.count)),
        asyncio.ensure_future(_copy(reader, client.writer, client.count)),
    }
    try:
        # A half-closed TLS connection carries nothing any more that a browser would wait for.
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(client.writer.drain(), _CLOSE_SECONDS)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Callable[[int], None]
) -> None:
    while data := await reader.read(_PIECE):
        count(len(data))
        writer.write(data)
        await writer.drain()
