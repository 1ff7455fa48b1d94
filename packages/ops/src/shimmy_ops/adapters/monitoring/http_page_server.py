"""The page on loopback, with the standard library's server: one operator looks, nobody else may.

A request must name this server as its host: a page elsewhere whose name was made to lead here (DNS
rebinding) is refused. Nothing is kept by browsers, nothing is written, nothing is logged.
"""

from __future__ import annotations

import json
import socketserver
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

from shimmy_ops.adapters.monitoring.jinja_page import JinjaPage, Link
from shimmy_ops.adapters.monitoring.threading_shelf import PictureShelf, Shelved
from shimmy_ops.domain.monitoring.documents import picture_document
from shimmy_ops.domain.monitoring.windows import FIRST_WINDOW, WINDOWS
from shimmy_ops.errors import MonitorError

LOOPBACK = "127.0.0.1"
_HTML, _JSON, _TEXT = ("text/html; charset=utf-8", "application/json", "text/plain; charset=utf-8")
_PATIENCE_SECONDS, _RETRY_SECONDS, _SMALLEST_REFRESH = 20.0, 5, 5
_LARGEST_BODY = 65536


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gets."""

    status: HTTPStatus
    kind: str
    body: str
    headers: Sequence[tuple[str, str]] = ()


class PageServer(ThreadingHTTPServer):
    """Listens from the beginning; ``serve_forever`` answers. Raises MonitorError for the port."""

    daemon_threads = True

    def __init__(self, port: int, page: JinjaPage, shelf: PictureShelf, refresh: float) -> None:
        self.page, self.shelf = page, shelf
        self.refresh_seconds = max(_SMALLEST_REFRESH, round(refresh))
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            raise MonitorError(
                "page-port-refused",
                f"Port {port} of this machine cannot be used: "
                f"{getattr(error, 'strerror', None) or 'no such port'}.",
                hint="--port N takes another one; 0 any that is free.",
            ) from error

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a browser of this machine calls us."""
        return (f"{LOOPBACK}:{self.server_port}", f"localhost:{self.server_port}")

    def server_bind(self) -> None:
        """As the base class, without looking up this machine's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout: ClassVar[float] = 10.0

    def do_GET(self) -> None:
        self._send(self._answer(), with_body=True)

    def do_HEAD(self) -> None:
        self._send(self._answer(), with_body=False)

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Every other method is known, and refused."""
        if name.startswith("do_"):
            return self._refuse_method
        raise AttributeError(name)

    def _refuse_method(self) -> None:
        length = self.headers.get("Content-Length", "0")
        # A body left unread would cut the connection before the answer is read.
        known = length.isdecimal() and len(length) < 10
        self.rfile.read(min(_LARGEST_BODY, int(length)) if known else 0)
        status = HTTPStatus.METHOD_NOT_ALLOWED
        said = "This page is only read: GET or HEAD.\n"
        self._send(Answer(status, _TEXT, said, (("Allow", "GET, HEAD"),)), with_body=True)

    def _answer(self) -> Answer:
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            said = f"This server answers only as {' and '.join(self.server.hosts)}.\n"
            return Answer(HTTPStatus.MISDIRECTED_REQUEST, _TEXT, said)
        place = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(place.query).items()}
        window = query.get("window", FIRST_WINDOW)
        if place.path not in ("/", "/picture.json"):
            return Answer(HTTPStatus.NOT_FOUND, _TEXT, "There is / and /picture.json.\n")
        if window not in WINDOWS:
            said = f"window is one of {', '.join(WINDOWS)}.\n"
            return Answer(HTTPStatus.BAD_REQUEST, _TEXT, said)
        shelved = self.server.shelf.read(window, _PATIENCE_SECONDS)
        if shelved is None or shelved.picture is None:
            return _nothing_yet(shelved)
        if place.path == "/picture.json":
            return Answer(HTTPStatus.OK, _JSON, json.dumps(picture_document(shelved.picture)))
        refreshing = query.get("refresh") != "off"
        page = self.server.page.render(
            shelved.picture,
            refresh_seconds=self.server.refresh_seconds if refreshing else 0,
            links=page_links(window, refreshing=refreshing),
            trouble=shelved.trouble,
        )
        return Answer(HTTPStatus.OK, _HTML, page)

    def _send(self, answer: Answer, *, with_body: bool) -> None:
        body = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def end_headers(self) -> None:
        """Rules for browsers, also where the base class answers a request it cannot read."""
        policy = f"{self.server.page.policy}; frame-ancestors 'none'"
        for name, value in (
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        """Nothing of Python's version."""
        return "shimmy-ops"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: the terminal belongs to the samples."""


def _nothing_yet(shelved: Shelved | None) -> Answer:
    said = "The first sample is being taken."
    if shelved is not None:
        said = f"Nothing could be sampled yet: {shelved.trouble}"
    retry = str(_RETRY_SECONDS)
    headers = (("Retry-After", retry), ("Refresh", retry))
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, f"{said}\n", headers)


def page_links(window: str, *, refreshing: bool) -> tuple[Link, ...]:
    """The windows, and how to stop or begin refreshing."""

    def address(shown: str, going_on: bool) -> str:
        return f"/?{urlencode({'window': shown} | ({} if going_on else {'refresh': 'off'}))}"

    shown = tuple(Link(one, address(one, refreshing), one == window) for one in WINDOWS)
    text = "Stop refreshing" if refreshing else "Refresh by itself"
    return (*shown, Link(text, address(window, not refreshing), here=False))
