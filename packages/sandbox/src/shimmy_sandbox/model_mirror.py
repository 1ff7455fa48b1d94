"""A model hub on loopback that serves a folder and fails on request.

Faults are a value; the HTTP skin asks it what to do with each reply. Requests
for ``/REPOSITORY/resolve/REVISION/FILE`` are answered from ``FILE`` in the folder
(or from the same relative path, if it exists).
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_CHUNK = 64 * 1024


@dataclass(slots=True)
class Faults:
    """What goes wrong; each counter says for how many replies.

    ``cut_after``        close the connection after so many bytes of the body
    ``lie_about_length`` add so much to the announced Content-Length
    ``corrupt_at``       flip the byte at this offset of the file
    ``ignore_range``     answer 200 with the whole file to a range request
    ``change_tag``       a new ETag for every reply, as if the file changed
    ``weak_tags``        ETags that forbid byte-exact comparison, so clients send no If-Range
    ``web_page``         answer 200 with a sign-in page, as hotel networks do
    ``status``           answer with this status and no file
    ``redirect_to``      answer 302 to this base address
    ``extra_bytes``      send so many bytes after the end of the file
    ``delay``            seconds before each chunk
    """

    cut_after: int | None = None
    cut_times: int = 1
    lie_about_length: int = 0
    lie_times: int = 1
    corrupt_at: int | None = None
    corrupt_times: int = 1
    ignore_range: bool = False
    change_tag: bool = False
    weak_tags: bool = False
    web_page: bool = False
    status: int | None = None
    status_times: int = 1
    retry_after: str = ""
    redirect_to: str = ""
    extra_bytes: int = 0
    delay: float = 0.0


@dataclass(slots=True)
class MirrorState:
    """The served folder, its faults and what was asked."""

    folder: Path
    faults: Faults = field(default_factory=Faults)
    requests: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def spend(self, counter: str) -> bool:
        """Use up one occurrence of a fault; False when none is left."""
        with self.lock:
            left: int = getattr(self.faults, counter)
            setattr(self.faults, counter, max(0, left - 1))
            return left > 0

    def find(self, path: str) -> Path | None:
        """The file a URL path stands for; None outside the folder."""
        for relative in (path.lstrip("/"), path.rsplit("/", 1)[-1]):
            candidate = (self.folder / relative).resolve()
            if candidate.is_file() and candidate.is_relative_to(self.folder.resolve()):
                return candidate
        return None


@contextmanager
def serve_models(folder: Path, faults: Faults | None = None, port: int = 0) -> Iterator[Mirror]:
    """Serve ``folder`` on 127.0.0.1 until the block ends."""
    mirror = Mirror(MirrorState(folder, faults or Faults()), port)
    mirror.start()
    try:
        yield mirror
    finally:
        mirror.stop()


class Mirror:
    """The running server; ``url`` is its base address."""

    def __init__(self, state: MirrorState, port: int) -> None:
        self.state = state
        handler = type("Handler", (_Handler,), {"state": state})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self) -> None:
        """Until the server stops."""
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: MirrorState
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Silent: tests read ``state.requests``."""

    def do_GET(self) -> None:
        state, faults = self.state, self.state.faults
        state.requests.append((self.path, self.headers.get("Range", "")))
        if faults.redirect_to:
            self._empty(302, {"Location": faults.redirect_to + self.path})
        elif faults.status is not None and state.spend("status_times"):
            retry = {"Retry-After": faults.retry_after} if faults.retry_after else {}
            self._empty(faults.status, retry)
        elif faults.web_page:
            self._page()
        elif (path := state.find(self.path)) is None:
            self._empty(404, {})
        else:
            # A client that has seen enough hangs up; that is no fault of the mirror.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._file(path)

    def _file(self, path: Path) -> None:
        size, tag = path.stat().st_size, self._tag(path)
        start = self._start(tag)
        if start >= size > 0 and start:
            self._empty(416, {"Content-Range": f"bytes */{size}"})
            return
        length = size - start
        if self.state.faults.lie_about_length and self.state.spend("lie_times"):
            length += self.state.faults.lie_about_length
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(length + self.state.faults.extra_bytes))
        self.send_header("ETag", tag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        self._body(path, start)

    def _body(self, path: Path, start: int) -> None:
        faults = self.state.faults
        cut = faults.cut_after if self._will("cut_after", "cut_times") else None
        corrupt = faults.corrupt_at if self._will("corrupt_at", "corrupt_times") else None
        sent = 0
        with path.open("rb") as file:
            file.seek(start)
            while chunk := bytearray(file.read(_CHUNK)):
                at = start + sent
                if corrupt is not None and at <= corrupt < at + len(chunk):
                    chunk[corrupt - at] ^= 0xFF
                if cut is not None and sent + len(chunk) > cut:
                    self.wfile.write(chunk[: cut - sent])
                    self.close_connection = True
                    return
                time.sleep(faults.delay)
                self.wfile.write(chunk)
                sent += len(chunk)
        self.wfile.write(b"\0" * faults.extra_bytes)
        # A body shorter than announced can only end with the connection.
        self.close_connection = True

    def _will(self, fault: str, counter: str) -> bool:
        return getattr(self.state.faults, fault) is not None and self.state.spend(counter)

    def _tag(self, path: Path) -> str:
        status = path.stat()
        serial = len(self.state.requests) if self.state.faults.change_tag else 0
        seed = f"{path}{status.st_size}{status.st_mtime_ns}{serial}"
        tag = f'"{hashlib.sha256(seed.encode()).hexdigest()[:16]}"'
        return f"W/{tag}" if self.state.faults.weak_tags else tag

    def _start(self, tag: str) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if match is None or self.state.faults.ignore_range or condition not in (None, tag):
            return 0
        return int(match[1])

    def _page(self) -> None:
        page = b"<!doctype html><title>Sign in</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def _empty(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()
