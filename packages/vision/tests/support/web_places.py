"""Servers on loopback for tests of the web: pages to visit, and canaries nobody may reach."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

Answer = tuple[int, Mapping[str, str], bytes]
Page = str | bytes | Answer | Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Site:
    """Serves ``pages`` by path; what is not there is 404."""

    port: int
    pages: dict[str, Page]
    seen: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def serve_site(pages: Mapping[str, Page] | None = None) -> Iterator[Site]:
    """A site on 127.0.0.1; pages may be added while it runs."""
    site = Site(0, dict(pages or {}))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            site.seen.append(self.path)
            site.headers.append({name.lower(): value for name, value in self.headers.items()})
            with suppress(OSError):
                length = int(self.headers.get("Content-Length") or 0)
                site.bodies.append(self.rfile.read(length))
                page = site.pages.get(self.path.partition("?")[0])
                if callable(page):
                    page(self)
                else:
                    self._send(page)

        do_GET = do_POST = do_HEAD = do_OPTIONS = handle_any  # noqa: N815 - http.server's names

        def _send(self, page: str | bytes | Answer | None) -> None:
            status, headers, body = _as_answer(page)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _as_answer(page: str | bytes | Answer | None) -> Answer:
    if page is None:
        return 404, {"Content-Type": "text/plain"}, b"not here"
    if isinstance(page, tuple):
        return page
    body = page.encode() if isinstance(page, str) else page
    return 200, {"Content-Type": "text/html; charset=utf-8"}, body


def redirect(location: str, status: int = 302) -> Answer:
    return status, {"Location": location}, b""


@dataclass
class Canary:
    """Counts whoever connects or sends a packet to ``port`` on 127.0.0.1, and keeps first words."""

    port: int
    lines: list[str] = field(default_factory=list)
    connections: int = 0
    packets: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def hits(self) -> int:
        return self.connections + self.packets


@contextmanager
def keep_canary() -> Iterator[Canary]:
    """TCP and UDP on the same port; answers HTTP so that a browser is content."""
    listener, packets = _bind_both()
    with listener, packets:
        canary = Canary(listener.getsockname()[1])
        ended = threading.Event()
        watchers = [
            threading.Thread(target=watch, args=(part, canary, ended), daemon=True)
            for watch, part in ((_watch_connections, listener), (_watch_packets, packets))
        ]
        for watcher in watchers:
            watcher.start()
        try:
            yield canary
        finally:
            ended.set()
            for watcher in watchers:
                watcher.join()


def _bind_both() -> tuple[socket.socket, socket.socket]:
    """A listener, and a socket for packets on the same port, which somebody else may have."""
    for _ in range(20):
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        packets = socket.socket(type=socket.SOCK_DGRAM)
        try:
            packets.bind(listener.getsockname())
        except OSError:
            listener.close()
            packets.close()
        else:
            return listener, packets
    raise AssertionError("no port is free for both")


def _watch_connections(listener: socket.socket, canary: Canary, ended: threading.Event) -> None:
    listener.settimeout(0.05)
    while not ended.is_set():
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        canary.connections += 1
        threading.Thread(target=_hear, args=(connection, canary), daemon=True).start()


def _hear(connection: socket.socket, canary: Canary) -> None:
    with connection, suppress(OSError):
        connection.settimeout(1)
        canary.lines.append(connection.recv(4096).split(b"\r\n")[0].decode("latin-1"))
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAccess-Control-Allow-Origin: *\r\n"
            b"Connection: close\r\n\r\nok"
        )


def _watch_packets(packets: socket.socket, canary: Canary, ended: threading.Event) -> None:
    packets.settimeout(0.05)
    while not ended.is_set():
        with suppress(TimeoutError):
            packets.recvfrom(4096)
            canary.packets += 1


def need_chromium() -> str:
    """Its path; skips the test where there is none, unless the environment requires it."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    if os.environ.get("SHIMMY_TEST_CHROMIUM") == "required":
        pytest.fail("SHIMMY_TEST_CHROMIUM=required, but no Chromium is on the PATH")
    pytest.skip("no Chromium on the PATH; Debian: apt install chromium")
