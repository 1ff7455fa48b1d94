"""A refusal reaches a client that is still sending, instead of a connection that breaks."""

from __future__ import annotations

import socket
import time

import pytest
from serving import PlayedAnalyst, serve

from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions
from shimmy_vision.server.guard import GuardRules, digest_key

RULES = GuardRules(api_keys=(digest_key("alpha"),), max_body=100_000)


@pytest.mark.parametrize(
    ("key", "size", "status"),
    [(b"wrong", 50_000, b"401"), (b"wrong", 5_000_000, b"401"), (b"alpha", 5_000_000, b"413")],
)
def test_who_sends_on_hears_why_it_was_for_nothing(key: bytes, size: int, status: bytes) -> None:
    app = create_app(PlayedAnalyst(lambda *_: {}), ServerOptions(rules=RULES), lambda: None)
    with serve(app) as url:
        name, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((name, int(port)), timeout=10) as line:
            line.sendall(
                b"POST /api/vision HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n"
                b"X-API-Key: %b\r\nContent-Length: %d\r\n\r\n" % (key, size)
            )
            # By now the server has made up its mind.
            time.sleep(0.2)
            line.sendall(bytes(size))
            assert line.recv(100).startswith(b"HTTP/1.1 " + status)


def test_who_never_stops_sending_is_not_listened_to_for_long() -> None:
    app = create_app(PlayedAnalyst(lambda *_: {}), ServerOptions(rules=RULES), lambda: None)
    with serve(app) as url:
        name, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((name, int(port)), timeout=10) as line:
            line.sendall(
                b"POST /api/vision HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n"
                b"Content-Length: 1000000000\r\n\r\n"
            )
            began = time.monotonic()
            told = line.recv(100)
            assert told.startswith(b"HTTP/1.1 401")
            assert time.monotonic() - began < 9, "its patience with a body is 30 s"
