"""Connections are few, and whoever holds one without using it makes way for others."""

from __future__ import annotations

import base64
import gc
import json
import socket
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from serving import Gate, Play, PlayedAnalyst, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from shimmy_vision.ports.analyst import Job, JobListener
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import Written
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions
from shimmy_vision.server.guard import GuardRules
from shimmy_vision.server.pace import Pace
from shimmy_vision.server.socket_protocol import SocketProtocol

ENCODED = base64.b64encode(b"\x89PNG\r\n\x1a\nrest").decode()
UPGRADE = (
    b"GET /ws/vision HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
)
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


def answer(*_: Any) -> dict[str, Any]:
    return {"meta": {}}


class Server:
    def __init__(self, url: str) -> None:
        self.url = url
        name, _, port = url.removeprefix("http://").partition(":")
        self.address = (name, int(port))

    def line(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)

    def get(self, path: str = "/health") -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=10)

    def held(self) -> float:
        text = self.get("/metrics").text
        return float(text.partition("\nshimmy_held_bytes ")[2].partition("\n")[0])

    def until_held(self, fits: Callable[[float], bool]) -> None:
        until = time.monotonic() + 60
        while not fits(self.held()):
            assert time.monotonic() < until


Open = Callable[..., Server]


@pytest.fixture
def open_server() -> Iterator[Open]:
    with ExitStack() as opened:

        def opening(
            play: Play = answer,
            longest: int = 1 << 20,
            held: int = 10**9,
            **rules: Any,
        ) -> Server:
            options = ServerOptions(rules=GuardRules(**rules), max_held_bytes=held)
            app = create_app(PlayedAnalyst(play), options, lambda: None)
            return Server(opened.enter_context(serve(app, longest_message=longest)))

        yield opening


def told(line: socket.socket) -> tuple[int, Any, bytes]:
    """Status, error and head of all that comes until the end."""
    data = b""
    while piece := line.recv(65536):
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"], head.lower()


def masked(opcode: int, payload: bytes, *, fin: bool = True, length: int | None = None) -> bytes:
    """A frame as clients send it, of ``length`` where not all of it is here."""
    size = len(payload) if length is None else length
    return struct.pack("!BBQ", (fin << 7) | opcode, 0xFF, size) + bytes(4) + payload


def opened_socket(server: Server) -> socket.socket:
    line = server.line()
    line.sendall(UPGRADE + KEY + b"\r\n")
    assert line.recv(4096).startswith(b"HTTP/1.1 101")
    return line


def test_silent_connections_lock_nobody_out(open_server: Open) -> None:
    server = open_server(connections=8)
    with ExitStack() as lines:
        silent = [lines.enter_context(server.line()) for _ in range(40)]
        assert server.get().status_code == 200
        assert silent[0].recv(1) == b"", "the oldest made way"


def test_where_all_are_at_work_one_too_many_is_told(open_server: Open) -> None:
    gate = Gate()
    server = open_server(gate, connections=3)
    body = json.dumps({"image": ENCODED}).encode()
    head = b"POST /api/vision HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with ExitStack() as lines:
        for _ in range(3):
            lines.enter_context(server.line()).sendall(
                head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            assert gate.begun.acquire(timeout=10)
        refused = server.get()
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (503, "connections-too-many")
        assert error["retryable"]
        assert refused.headers["retry-after"]
        gate.open.set()


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost: 127"])
def test_a_head_has_its_time(open_server: Open, sent: bytes) -> None:
    server = open_server(head_seconds=0.8)
    with server.line() as line:
        began = time.monotonic()
        for at in range(len(sent)):
            line.sendall(sent[at : at + 1])
        if sent:
            status, error, _ = told(line)
            assert (status, error["code"]) == (408, "head-too-slow")
        else:
            assert line.recv(10) == b""
        assert time.monotonic() - began < 9
    with server.line() as line:
        for _ in range(2):
            line.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += line.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200")
        line.sendall(b"GET /he")
        time.sleep(0.1)
        line.sendall(b"a")
        assert told(line)[0] == 408


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 no http\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /api/vision HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        UPGRADE + b"\r\n",
        UPGRADE + b"Sec-WebSocket-Key: short\r\n\r\n",
    ],
)
def test_what_is_no_http_is_told_in_our_shape(open_server: Open, sent: bytes) -> None:
    with open_server().line() as line:
        line.sendall(sent)
        status, error, head = told(line)
    assert (status, error["code"]) == (400, "http-malformed")
    assert set(error) == {"code", "message", "hint", "retryable", "type", "param"}
    assert b"application/json" in head


def test_peers_that_vanished_are_noticed(open_server: Open, monkeypatch: Any) -> None:
    seen: list[int] = []
    whole = socket.socket.setsockopt

    def note(self: socket.socket, *arguments: Any) -> None:
        if arguments[:2] == (socket.SOL_SOCKET, socket.SO_KEEPALIVE):
            seen.append(arguments[2])
        whole(self, *arguments)

    monkeypatch.setattr("shimmy_vision.server.http_protocol.socket.socket.setsockopt", note)
    server = open_server()
    assert server.get().status_code == 200
    assert seen == [1]


def test_a_body_that_drips_is_too_slow_as_a_whole(open_server: Open) -> None:
    server = open_server(patience=0.4)
    with server.line() as line:
        line.sendall(
            b"POST /api/vision HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
            b"Content-Length: 500\r\n\r\n"
        )
        began = time.monotonic()
        line.settimeout(0.1)
        answer = b""
        while not answer:
            assert time.monotonic() - began < 30, "each piece is in time, all of them are not"
            line.sendall(b"x")
            try:
                answer = line.recv(4096)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408")


def test_the_pace_is_a_kilobyte_a_second() -> None:
    pace = Pace(30, 100)
    assert pace.left(100) == 30
    pace.hear(10)
    assert pace.left(129) == pytest.approx(1.01)
    pace.hear(100_000)
    assert pace.left(129) == 30
    assert pace.left(1000) == 0


def test_what_a_socket_sends_is_accounted_for_on_its_way(open_server: Open) -> None:
    server = open_server(longest=5_000_000, held=3_000_000)
    with ExitStack() as lines:
        line = lines.enter_context(opened_socket(server))
        line.sendall(masked(2, bytes(2_000_000), length=2_500_000))
        server.until_held(lambda held: held >= 2_000_000)
        second = lines.enter_context(opened_socket(server))
        second.sendall(masked(2, bytes(1_500_000), length=2_500_000))
        answer = second.recv(4096)
        assert answer[:1] == b"\x88"
        assert struct.unpack("!H", answer[2:4])[0] == 1013
        assert answer[4:].startswith(b"server-full")
        line.sendall(bytes(500_000))
        assert b"binary-unexpected" in line.recv(4096)
        server.until_held(lambda held: held == 0)
        line.sendall(masked(1, bytes(10_000), fin=False) + masked(0, bytes(10_000), fin=False))
        server.until_held(lambda held: 20_000 <= held < 30_000)
        line.close()
        server.until_held(lambda held: held == 0)


def test_many_small_pieces_are_more_than_they_look(open_server: Open) -> None:
    server = open_server(longest=5_000_000, held=200_000)
    with opened_socket(server) as line:
        line.sendall(masked(2, b"x", fin=False) + masked(0, b"xy", fin=False) * 4000)
        assert struct.unpack("!H", line.recv(4096)[2:4])[0] == 1013


def test_a_message_that_stops_coming_is_given_up(open_server: Open) -> None:
    server = open_server(patience=0.3)
    with opened_socket(server) as line:
        time.sleep(0.6)
        line.sendall(masked(1, b'{"id"', length=500))
        answer = line.recv(4096)
        assert struct.unpack("!H", answer[2:4])[0] == 1008
        assert answer[4:].startswith(b"message-too-slow")
    server.until_held(lambda held: held == 0)


def test_a_lost_socket_leaves_nothing_to_the_collector(
    open_server: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Any]] = []
    whole = SocketProtocol.connection_made

    def note(self: SocketProtocol, transport: Any) -> None:
        made.append(weakref.ref(self.conn))
        whole(self, transport)

    monkeypatch.setattr(SocketProtocol, "connection_made", note)
    server = open_server(longest=5_000_000)
    gc.disable()
    try:
        with opened_socket(server) as line:
            line.sendall(masked(2, bytes(1_000_000), length=2_000_000))
            server.until_held(lambda held: held >= 1_000_000)
        server.until_held(lambda held: held == 0)
        until = time.monotonic() + 60
        while made[0]() is not None and time.monotonic() < until:
            time.sleep(0.02)
        assert made[0]() is None
    finally:
        gc.enable()


def test_so_many_sockets_are_open_at_once(open_server: Open) -> None:
    server = open_server(sockets=2)
    address = server.url.replace("http://", "ws://") + "/ws/vision"
    with ExitStack() as lines:
        first = lines.enter_context(connect(address, proxy=None))
        lines.enter_context(connect(address, proxy=None))
        with pytest.raises(InvalidStatus) as refused:
            connect(address, proxy=None)
        assert refused.value.response.status_code == 429
        assert json.loads(refused.value.response.body)["error"]["code"] == "sockets-too-many"
        first.close()
        until = time.monotonic() + 60
        while True:
            try:
                lines.enter_context(connect(address, proxy=None))
                break
            except InvalidStatus:
                assert time.monotonic() < until


def test_no_socket_is_at_an_unknown_path(open_server: Open) -> None:
    address = open_server().url.replace("http://", "ws://") + "/ws/nowhere"
    with pytest.raises(InvalidStatus) as refused:
        connect(address, proxy=None)
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body)["error"]["code"] == "path-unknown"


class Chatter:
    """A play that writes without end, until it is stopped."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    def __call__(self, _job: Job, switch: Cancellation, hear: JobListener) -> dict[str, Any]:
        self.begun.set()
        while switch.reason is None:
            hear(Written(0, "x" * 50_000))
            time.sleep(0.002)
        switch.check()
        raise AssertionError


def busy(server: Server) -> int:
    found: int = server.get("/ready").json()["busy"]
    return found


def test_a_stream_that_nobody_reads_is_given_up(open_server: Open) -> None:
    chatter = Chatter()
    server = open_server(chatter, unread_seconds=0.5)
    body = json.dumps({"image": ENCODED, "stream": True}).encode()
    with server.line() as line:
        line.sendall(
            b"POST /api/vision HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        # Not asked for: on a busy machine it may be given up before anybody has looked.
        assert chatter.begun.wait(20)
        until = time.monotonic() + 60
        while busy(server):
            assert time.monotonic() < until, "it is told to nobody"


def test_a_socket_that_nobody_reads_is_given_up(open_server: Open) -> None:
    chatter = Chatter()
    server = open_server(chatter, unread_seconds=0.5)
    with opened_socket(server) as line:
        line.sendall(masked(1, json.dumps({"id": "a", "image": ENCODED}).encode()))
        assert chatter.begun.wait(20)
        until = time.monotonic() + 60
        while busy(server):
            assert time.monotonic() < until


def test_who_reads_slowly_is_served(open_server: Open) -> None:
    def play(_job: Job, _switch: Cancellation, _hear: JobListener) -> dict[str, Any]:
        return {"answer": "x" * 8_000_000}

    # It takes a third longer than this altogether, and hears of it every tenth of it.
    server = open_server(play, unread_seconds=1.2)
    body = json.dumps({"image": ENCODED}).encode()
    with server.line() as line:
        line.sendall(
            b"POST /api/vision HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        count = 0
        while piece := line.recv(600_000):
            count += len(piece)
            time.sleep(0.12)
    assert count > 8_000_000


def test_a_refused_preflight_has_our_shape(open_server: Open) -> None:
    server = open_server(origins=("https://app.example",))
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    response = httpx.options(f"{server.url}/api/vision", headers=asked)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "origin-refused")
    assert "access-control-allow-origin" not in response.headers


def test_messages_beyond_the_limit_still_close_with_1009(open_server: Open) -> None:
    server = open_server(longest=5000)
    with connect(server.url.replace("http", "ws") + "/ws/vision", proxy=None) as line:
        line.send("x" * 6000)
        with pytest.raises(ConnectionClosed) as end:
            line.recv(timeout=10)
    assert end.value.rcvd is not None
    assert end.value.rcvd.code == 1009
