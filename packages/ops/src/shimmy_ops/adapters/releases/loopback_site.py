"""A web server on loopback that serves what a link leads to, as a real one would."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import httpx


@contextmanager
def serve_link(link: Path) -> Iterator[str]:
    """Its address; each request follows the link anew."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(link)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def served_digests(client: httpx.Client, paths: Iterable[str]) -> dict[str, str]:
    """SHA-256 of what is served at each path; empty where nothing is."""
    found = {}
    for path in paths:
        reply = client.get(quote(path))
        found[path] = hashlib.sha256(reply.content).hexdigest() if reply.is_success else ""
    return found


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
        """Nobody reads it."""
