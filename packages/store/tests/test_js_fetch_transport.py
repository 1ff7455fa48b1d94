"""The Worker's way out: httpx over ``fetch``, on Pyodide, against a server that misbehaves."""

from __future__ import annotations

import gzip
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from kept_ports import free_port
from pyodide_host import ROOT, Pyodide
from store_server import eventually

from shimmy_store.adapters.js_fetch_transport import MOST_BYTES

PROGRAM = Path(__file__).parent / "support" / "fetch_on_pyodide.mjs"
LONG = "x" * 3_000_000
PIECE = b"x" * 65_536


class _Misbehaving(BaseHTTPRequestHandler):
    """What a path is called is what it does."""

    protocol_version = "HTTP/1.1"
    left: ClassVar[list[str]] = []
    sent: ClassVar[dict[str, int]] = {}

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base has it
        """Nothing."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with suppress(ConnectionError):
            getattr(self, "_" + self.path.strip("/").partition("?")[0])(body)

    do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815 - as its base has it

    def _say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _echo(self, body: bytes) -> None:
        told = {
            "method": self.command,
            "path": self.path,
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "body": body.decode(),
        }
        text = b"" if self.command == "HEAD" else json.dumps(told).encode()
        self._say(200, text, X_Mixed_Case="Kept")

    def _redirect(self, _: bytes) -> None:
        self._say(307, b"elsewhere", Location="/echo", Set_Cookie="a=1")

    def _gzip(self, _: bytes) -> None:
        self._say(200, gzip.compress("é".encode() * 1000), Content_Encoding="gzip")

    def _nothing(self, _: bytes) -> None:
        self._say(204)

    def _refused(self, _: bytes) -> None:
        self._say(422, b'{"code": "no"}', Retry_After="7")

    def _large(self, body: bytes) -> None:
        self._say(200, body + LONG.encode())

    def _endless(self, _: bytes) -> None:
        self._drip(PIECE, 0)

    def _drips(self, _: bytes) -> None:
        self._drip(b"x", 0.02)

    def _drip(self, piece: bytes, pause: float) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(piece)
                self.sent[self.path] = self.sent.get(self.path, 0) + len(piece)
                time.sleep(pause)
        except ConnectionError:
            self.left.append(self.path)
            self.close_connection = True

    def _half(self, _: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"only this")
        self.close_connection = True

    def _cut(self, _: bytes) -> None:
        self.close_connection = True

    def _silent(self, _: bytes) -> None:
        # Whoever leaves, closes.
        self.connection.settimeout(60)
        if self.connection.recv(1) == b"":
            self.left.append(self.path)
        self.close_connection = True


@pytest.fixture(scope="module")
def seen(pyodide: Pyodide) -> Iterator[dict[str, Any]]:
    """All that there is to see, in one go."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Misbehaving) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        order = {
            "pyodide": str(pyodide.home),
            "source": str(ROOT / "packages/store/src"),
            "wheels": str(pyodide.bundle / "python_modules"),
            "url": f"http://127.0.0.1:{server.server_port}",
            "gone": f"http://127.0.0.1:{free_port()}/",
        }
        words = ["node", str(PROGRAM), json.dumps(order)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        yield json.loads(done.stdout.splitlines()[-1])
        server.shutdown()


def test_what_is_sent_arrives_as_it_was_written(seen: dict[str, Any]) -> None:
    status, headers, text, _ = seen["echo"]
    told = json.loads(text)
    assert (status, told["method"], told["path"]) == (200, "POST", "/echo?a=%20b&c=%C3%A9")
    assert told["body"] == "é🦀" * 3
    sent = dict(told["headers"])
    assert sent["x-two"] == "a, b"
    assert sent["authorization"] == "Bearer é"
    # What ``fetch`` can decode, it knows best.
    assert sent["accept-encoding"] not in ("", "gzip, deflate, br, zstd")
    assert ["x-mixed-case", "Kept"] in headers


def test_a_request_without_a_body_has_none(seen: dict[str, Any]) -> None:
    told = json.loads(seen["bodiless"][2])
    assert (told["method"], told["body"]) == ("DELETE", "")
    assert seen["head"][0::2] == [200, ""]


def test_a_redirect_is_an_answer_and_nobody_follows_it(seen: dict[str, Any]) -> None:
    status, headers, text, _ = seen["redirect"]
    assert (status, text) == (307, "elsewhere")
    assert ["location", "/echo"] in headers


def test_a_body_is_decoded_once_and_its_length_is_the_decoded_one(seen: dict[str, Any]) -> None:
    status, headers, text, length = seen["gzip"]
    assert (status, text, length) == (200, "é" * 1000, 2000)
    assert "content-encoding" not in dict(headers)
    assert dict(headers).get("content-length") in (None, "2000")


def test_an_empty_answer_and_a_refusal_are_answers(seen: dict[str, Any]) -> None:
    assert (seen["nothing"][0], seen["nothing"][3]) == (204, 0)
    status, headers, text, _ = seen["refused"]
    assert (status, json.loads(text)) == (422, {"code": "no"})
    assert ["retry-after", "7"] in headers


def test_large_bodies_go_both_ways_and_an_endless_one_does_not(seen: dict[str, Any]) -> None:
    assert (seen["large"][0], seen["large"][3]) == (200, 6_000_000)
    assert seen["endless"] == "ReadError"
    assert eventually(lambda: "/endless" in _Misbehaving.left)
    # What lies in the sockets between comes on top.
    assert MOST_BYTES < _Misbehaving.sent["/endless"] < 4 * MOST_BYTES


def test_each_way_to_fail_has_the_name_that_httpx_gives_it(seen: dict[str, Any]) -> None:
    assert seen["half"] == "ReadError"
    assert seen["cut"] == seen["gone"] == seen["odd"] == "NetworkError"


@pytest.mark.parametrize("where", ["silent", "drips"])
def test_who_is_too_slow_is_given_up_and_the_line_with_it(seen: dict[str, Any], where: str) -> None:
    assert seen[where] == "ReadTimeout"
    path = {"silent": "/silent?late", "drips": "/drips"}[where]
    assert eventually(lambda: path in _Misbehaving.left)


def test_whoever_goes_away_closes_the_line(seen: dict[str, Any]) -> None:
    assert seen["left"] == "left"
    assert eventually(lambda: "/silent?left" in _Misbehaving.left)
    assert seen["again"] == 204


def test_no_promise_fails_without_anybody_hearing(seen: dict[str, Any]) -> None:
    assert seen["unheard"] == []
