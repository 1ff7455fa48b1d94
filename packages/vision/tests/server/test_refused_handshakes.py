"""WebSockets that are not opened; found by ``scripts/fuzz.py``."""

from __future__ import annotations

import logging
import socket
from urllib.parse import urlsplit

import pytest
from serving import PlayedAnalyst, serve

from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions

HANDSHAKE = (
    b"GET /ws/no-such HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
FRAMES = b"\x01\x8e\x01\x02\x03\x04" + bytes(14) + b"\x80\x81\x01\x02\x03\x04}"


@pytest.mark.parametrize("sent", [HANDSHAKE, HANDSHAKE + FRAMES], ids=["alone", "with-frames"])
def test_a_socket_at_no_address_is_refused_and_no_error_of_ours(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Any stranger could fill a log with errors, one for each line of theirs."""
    log = logging.getLogger("uvicorn.error")
    log.addHandler(caplog.handler)
    try:
        app = create_app(PlayedAnalyst(lambda *_: None), ServerOptions(), lambda: None)
        with serve(app) as url:
            address = (urlsplit(url).hostname, urlsplit(url).port)
            with socket.create_connection(address, timeout=20) as line:
                line.sendall(sent)
                heard = b"".join(iter(lambda: line.recv(65_536), b""))
    finally:
        log.removeHandler(caplog.handler)
    assert heard.startswith(b"HTTP/1.1 404 ")
    assert b'"path-unknown"' in heard
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []
