"""A server that speaks as vLLM does: OpenAI's chat completions, streamed, under a JSON Schema.

Its answers are valid by our own grammar, and written with white space as vLLM's are. One fault at a
time can be set; each is counted down, so that the next try may do better.
"""

from __future__ import annotations

import base64
import io
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image

from shimmy_vision.adapters.engine.llguidance_grammar import LlguidanceSchemas
from shimmy_vision.ports.cancellation import Cancellation

GENUINE = {"id": "fleet", "root": "openbmb/MiniCPM-V-4_5", "parent": None, "max_model_len": 8192}


@dataclass
class StandIn:
    """What it is told to do, and what it was asked."""

    url: str = ""
    key: str = ""
    models: list[dict[str, Any]] = field(default_factory=lambda: [dict(GENUINE)])
    fault: str = ""
    faults_left: int = 0
    retry_after: str = "0.01"
    asked: list[dict[str, Any]] = field(default_factory=list)
    listed: int = 0
    hung_up: threading.Event = field(default_factory=threading.Event)
    answering: threading.Event = field(default_factory=threading.Event)
    schemas: LlguidanceSchemas = field(default_factory=LlguidanceSchemas)

    def go_wrong(self, fault: str, times: int = 1000) -> None:
        """From now on, so many times; ``list-…`` are faults of the list of models."""
        self.fault, self.faults_left = fault, times

    def next_fault(self, *, listing: bool = False) -> str:
        if not self.faults_left or self.fault.startswith("list-") is not listing:
            return ""
        self.faults_left -= 1
        return self.fault

    def answer(self, schema: dict[str, Any]) -> str:
        """The shortest that follows the schema, with a text where one fits."""
        shortest = json.loads(self.schemas.close(schema, b"", Cancellation()))
        if "text_blocks" in shortest:
            shortest["text_blocks"] = [{"text": "Größe: 10 €", "kind": "label"}]
        whole = json.dumps(shortest, ensure_ascii=False, separators=(",", ":"))
        if self.schemas.close(schema, whole.encode(), Cancellation()) != whole.encode():
            shortest["text_blocks"] = []
        return json.dumps(shortest, ensure_ascii=False, indent=1)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand_in: StandIn

    def do_GET(self) -> None:
        if self._refused():
            return
        match self.stand_in.next_fault(listing=True):
            case "list-html":
                self._reply(200, b"<html>Sign in</html>", "text/html")
            case "list-500":
                self._reply(500, b"{}")
            case "list-redirect":
                self._redirect()
            case "list-endless":
                self._reply(200, b"[" * (1 << 21))
            case _:
                self.stand_in.listed += 1
                listed = {"object": "list", "data": self.stand_in.models}
                self._reply(200, json.dumps(listed).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._refused():
            return
        self.stand_in.asked.append(body)
        match fault := self.stand_in.next_fault():
            case "429":
                self._reply(429, b"{}", **{"Retry-After": self.stand_in.retry_after})
            case "500" | "400":
                self._reply(int(fault), b'{"message": "about the prompt: secret"}')
            case "html":
                self._reply(200, b"<html>Sign in</html>", "text/html")
            case "redirect":
                self._redirect()
            case _:
                self._stream(body, fault)

    def _refused(self) -> bool:
        key = self.stand_in.key
        if not key or self.headers["Authorization"] == f"Bearer {key}":
            return False
        self._reply(401, b"{}")
        return True

    def _redirect(self) -> None:
        self._reply(307, b"", Location=f"{self.stand_in.url}/elsewhere")

    def _reply(
        self, status: int, body: bytes, kind: str = "application/json", **headers: str
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, body: Mapping[str, Any], fault: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        schema = body["response_format"]["json_schema"]["schema"]
        text = '{"answer": 1' if fault == "invalid" else self.stand_in.answer(schema)
        if fault == "invalid-cut":
            text = '{"answer": "' + "not what was asked for " * 3
        pieces = [text[start : start + 7] for start in range(0, len(text), 7)]
        finish = "length" if fault == "invalid-cut" else "stop"
        if len(pieces) > body["max_tokens"]:
            pieces, finish = pieces[: body["max_tokens"]], "length"
        try:
            self._write(pieces, finish, fault)
        except OSError:
            self.stand_in.hung_up.set()

    def _write(self, pieces: list[str], finish: str, fault: str) -> None:
        self._event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        for number, piece in enumerate(pieces):
            if fault == "cut" and number == 2:
                return
            if fault == "error":
                self._event({"error": {"message": "out of memory"}})
                return
            if fault == "unending":
                self.wfile.write(b"data: " + b"x" * 5000)
                return
            if fault == "garbled":
                self.wfile.write(b"data: {not json\n\n")
                return
            tokens = [{"token": piece, "logprob": -0.5, "bytes": list(piece.encode())}]
            choice = {"delta": {"content": piece}, "logprobs": {"content": tokens}}
            self._event({"choices": [{**choice, "finish_reason": None}]})
            if fault in ("slow", "silent") and number == 1:
                self.stand_in.answering.set()
                end = time.monotonic() + 100
                while time.monotonic() < end:
                    if fault == "slow":
                        self._event({"choices": []})
                    time.sleep(0.02)
                    self._notice_end()
        self._event({"choices": [{"delta": {}, "finish_reason": finish}]})
        usage = {"prompt_tokens": 700, "completion_tokens": len(pieces)}
        self._event({"choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")

    def _notice_end(self) -> None:
        self.connection.settimeout(0.001)
        try:
            if self.connection.recv(1) == b"":
                raise ConnectionResetError
        except TimeoutError:
            pass
        finally:
            self.connection.settimeout(None)

    def _event(self, event: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Who hangs up is no event."""


@contextmanager
def serve_stand_in(secured: tuple[Path, Path] | None = None) -> Iterator[StandIn]:
    """On a free port of loopback, for the block; ``secured`` by a certificate and its key."""
    stand_in = StandIn()
    handler = type("Handler", (_Handler,), {"stand_in": stand_in})
    server = _Server(("127.0.0.1", 0), handler)
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    if secured is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*secured)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        stand_in.url = stand_in.url.replace("http:", "https:")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def image_asked(order: Mapping[str, Any]) -> Image.Image:
    """The picture in the order's one image part."""
    parts = [part for one in order["messages"] for part in one["content"] if isinstance(part, dict)]
    (url,) = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))
