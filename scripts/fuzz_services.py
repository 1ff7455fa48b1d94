"""The product's server: bodies, conversations over WebSockets, and bytes on the line itself."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import random
import re
import socket
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from fuzz_ground import HELD, Broken, use_support
from fuzz_mutations import mutate_bytes, mutate_json, mutate_request
from fuzz_pictures import mutate_picture

_PATHS = ("/api/vision", "/api/vision/batch", "/v1/chat/completions", "/api/vision/jobs")
_KINDS = (
    "application/json",
    "multipart/form-data; boundary=xyz",
    "image/png",
    "application/pdf",
    "application/json; charset=utf-16",
    "multipart/form-data",
    "text/plain",
    "",
)
_CODE = re.compile(r"[a-z][a-z0-9-]*[a-z0-9]")
_RESULT: dict[str, Any] = {
    "answer": "A cat.",
    "meta": {
        "mode": "full",
        "model": {"family": "4.6"},
        "tokens": {"prompt": 5, "image": 64, "generated": 3, "forced": 0},
        "warnings": [],
    },
}
_SOCKET_TURNS = 400
_LINE_SECONDS = 10.0
_QUIET_SECONDS = 0.03


@functools.cache
def _app() -> tuple[Any, asyncio.AbstractEventLoop]:
    use_support("vision")
    from serving import PlayedAnalyst

    from shimmy_vision.server.app import create_app
    from shimmy_vision.server.app_state import ServerOptions

    app = create_app(PlayedAnalyst(lambda *_: _RESULT), ServerOptions(), lambda: None)
    loop = asyncio.new_event_loop()
    lifespan = app.router.lifespan_context(app)
    loop.run_until_complete(lifespan.__aenter__())
    HELD.callback(loop.close)
    HELD.callback(lambda: loop.run_until_complete(lifespan.__aexit__(None, None, None)))
    return app, loop


@functools.cache
def _ask() -> Callable[[str, str, bytes], Any]:
    import httpx

    app, loop = _app()
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    def ask(path: str, kind: str, body: bytes) -> Any:
        return loop.run_until_complete(
            client.post(path, content=body, headers={"Content-Type": kind})
        )

    return ask


def ask_server(data: bytes) -> str:
    """A sign that names path and kind, then the body of a request to the local server."""
    sign, body = (data[0] if data else 0), data[1:]
    path, kind = _PATHS[sign // 8 % len(_PATHS)], _KINDS[sign % 8]
    if sign >= 128 and kind.startswith(("image/", "application/pdf")):
        # What stands before an empty byte is the query: the fields of a file that comes alone.
        query, _, body = body.partition(b"\0")
        path += "?" + "".join(chr(one) if 32 < one < 127 else f"%{one:02x}" for one in query[:500])
    answer = _ask()(path, kind, body)
    if answer.status_code >= 500 and answer.status_code != 503:
        raise Broken(f"{answer.status_code}: {answer.text[:200]}")
    if answer.status_code in (200, 202):
        return f"answered {answer.status_code}"
    return f"{answer.status_code} {_code_of(answer.json())}"


def _code_of(told: Any) -> str:
    code = told["error"]["code"]
    if not _CODE.fullmatch(code) or code == "internal":
        raise Broken(f"no code of ours: {code[:60]}")
    return str(code)


def converse(data: bytes) -> str:
    """Messages between lines of ``%%``: a text, or behind a ``b`` and an empty byte a file."""
    app, loop = _app()
    messages = [_message(one) for one in data.split(b"\n%%\n")[:40]]
    sent = loop.run_until_complete(_hold(app, messages))
    outcomes = set()
    for one in sent:
        told = json.loads(one)
        if set(told) != {"id", "event", "data"}:
            raise Broken("an answer of another shape")
        if told["event"] == "error":
            outcomes.add(_code_of(told["data"]))
        else:
            outcomes.add(str(told["event"]))
    return " ".join(sorted(outcomes))[:200] or "silent"


def _message(part: bytes) -> dict[str, Any]:
    if part.startswith(b"b\0"):
        return {"type": "websocket.receive", "bytes": part[2:], "text": None}
    text = part.decode("utf-8", "replace")
    return {"type": "websocket.receive", "text": text, "bytes": None}


async def _hold(app: Any, messages: Sequence[dict[str, Any]]) -> list[str]:
    """Each message, some time for its answer, and the client's end."""
    sent: list[str] = []
    coming = [{"type": "websocket.connect"}, *messages]

    async def receive() -> dict[str, Any]:
        if coming:
            await asyncio.sleep(0)
            return coming.pop(0)
        for _ in range(_SOCKET_TURNS):
            if _all_told(sent):
                break
            await asyncio.sleep(0.0005)
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            sent.append(message["text"])

    scope = {
        "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws",
        "path": "/ws/vision", "raw_path": b"/ws/vision", "query_string": b"", "root_path": "",
        "headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 9), "subprotocols": [],
        "server": ("127.0.0.1", 80), "extensions": {}, "state": {},
    }  # fmt: skip
    await asyncio.wait_for(app(scope, receive, send), 60)
    return sent


def _all_told(sent: Sequence[str]) -> bool:
    """Whether nobody is waiting for an end any more, as far as the answers tell."""
    told = [json.loads(one) for one in sent]
    begun = {one["id"] for one in told}
    ended = {one["id"] for one in told if one["event"] in ("result", "done", "error")}
    return bool(told) and begun == ended


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0] if record.exc_info else None
        self.said.append(f"{record.name}: {record.getMessage()[:80]} {kind}")


@functools.cache
def _line() -> tuple[tuple[str, int], _Errors]:
    use_support("vision")
    from serving import PlayedAnalyst, serve

    from shimmy_vision.server.app import create_app
    from shimmy_vision.server.app_state import ServerOptions

    app = create_app(PlayedAnalyst(lambda *_: _RESULT), ServerOptions(), lambda: None)
    parts = urlsplit(HELD.enter_context(serve(app, drain_seconds=0.1)))
    errors = _Errors()
    for name in ("uvicorn.error", "shimmy_vision", "asyncio"):
        logging.getLogger(name).addHandler(errors)
        HELD.callback(logging.getLogger(name).removeHandler, errors)
    return (str(parts.hostname), int(parts.port or 0)), errors


def write_on_line(data: bytes) -> str:
    """Bytes on a connection, and soon its end; answers, if any, are HTTP, and none is a crash."""
    place, errors = _line()
    errors.said.clear()
    heard = _exchange(place, data, _QUIET_SECONDS)
    if errors.said:
        raise Broken(f"logged {errors.said[0]}")
    if heard and not heard.startswith(b"HTTP/1.1 "):
        raise Broken("what is no HTTP")
    if b"HTTP/1.1 500" in heard or b'"internal"' in heard:
        raise Broken(f"a crash: {heard[:100]!r}")
    alive = _exchange(place, b"GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n", _LINE_SECONDS)
    if not alive.startswith(b"HTTP/1.1 200"):
        raise Broken("nobody else is answered any more")
    found = re.findall(rb"HTTP/1.1 (\d+)|\"code\": ?\"([a-z-]+)\"", heard)
    return " ".join(sorted({(one or two).decode() for one, two in found})) or "silent"


def _exchange(place: tuple[str, int], data: bytes, quiet: float) -> bytes:
    """What is answered until the line ends, or nothing more comes for ``quiet`` seconds."""
    heard = b""
    with socket.create_connection(place, timeout=_LINE_SECONDS) as line:
        try:
            line.sendall(data)
            line.settimeout(5 * quiet)
            while (piece := line.recv(65_536)) and len(heard) < 1 << 20:
                heard += piece
                line.settimeout(quiet)
        except (ConnectionError, TimeoutError):
            return heard  # Cut off, as it may be, or more is waited for.
    return heard


def mutate_asked(
    chance: random.Random, data: bytes, others: Sequence[bytes], words: Sequence[bytes]
) -> bytes:
    """A body behind its sign: a form in its parts, a file in its own, JSON in its shape."""
    if chance.random() < 0.05:
        return bytes((chance.randrange(256),)) + data[1:]
    body = data[1:]
    if b"--xyz" in body and chance.random() < 0.8:
        return data[:1] + _mutate_form(chance, body, words)
    if body.startswith((b"\x89PNG", b"\xff\xd8")) and chance.random() < 0.5:
        return data[:1] + mutate_picture(chance, body, [body], words)
    return mutate_request(chance, data, others, words)


def _mutate_form(chance: random.Random, body: bytes, words: Sequence[bytes]) -> bytes:
    parts = body.split(b"--xyz")
    at, how = chance.randrange(len(parts)), chance.random()
    if how < 0.2:
        parts[at:at] = [parts[at]] * chance.choice((1, 2, 60))
    elif how < 0.3:
        del parts[at]
    elif how < 0.5:
        parts[at] = _header_in(chance, parts[at])
    elif how < 0.8:
        parts[at] = mutate_bytes(chance, parts[at], parts, words)
    else:
        name = chance.choice(_FIELDS)
        value = chance.choice((b"", b"1", b"-1", b"true", b"9" * 400, b"{", b"[[]]", b"\xff\xfe"))
        head = b'\r\nContent-Disposition: form-data; name="%b"\r\n\r\n' % name
        parts.insert(max(at, 1), head + value + b"\r\n")
    return b"--xyz".join(parts)


def _header_in(chance: random.Random, part: bytes) -> bytes:
    head, blank, rest = part.partition(b"\r\n\r\n")
    return head + b"\r\n" + chance.choice(_HEADERS) + blank + rest


def mutate_talk(
    chance: random.Random, data: bytes, others: Sequence[bytes], words: Sequence[bytes]
) -> bytes:
    """One of the messages, or their order."""
    parts = data.split(b"\n%%\n")
    for _ in range(chance.choice((1, 1, 2, 3))):
        at, how = chance.randrange(len(parts)), chance.random()
        if how < 0.15:
            parts[at:at] = [parts[at]] * chance.choice((1, 2, 20))
        elif how < 0.25 and len(parts) > 1:
            del parts[at]
        elif how < 0.35:
            parts.insert(at, chance.choice(others).split(b"\n%%\n")[0])
        elif parts[at].startswith(b"b\0"):
            parts[at] = b"b\0" + mutate_picture(chance, parts[at][2:], [parts[at][2:]], words)
        else:
            parts[at] = mutate_json(chance, parts[at], others, words)
    return b"\n%%\n".join(parts)


_FIELDS = (
    b"file", b"image", b"url", b"mode", b"prompt", b"schema", b"pages", b"dpi", b"scale", b"seed",
    b"viewport", b"full_page", b"stream", b"max_tokens", b"slices", b"timeout_ms", b"cache", b"x",
    b"", b"\xff", b"callback_url",
)  # fmt: skip
_HEADERS = (
    b"Content-Type: application/json", b"Content-Type: multipart/mixed; boundary=xyz",
    b"Content-Transfer-Encoding: base64", b"Content-Type: text/plain; charset=no-such",
    b'Content-Disposition: form-data; name="file"; filename="../../x"', b"X: " + b"y" * 5000,
    b'Content-Disposition: form-data; name="file"; filename*=utf-8\'\'%ff%00', b": nothing",
    b"Content-Disposition: attachment", b'Content-Disposition: form-data; filename="a"', b"\0: \0",
)  # fmt: skip
