"""Whatever may answer at the licence server's address, in a thread on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from shimmy_sandbox.keygen.signing import Exchange, SigningKey, signature_headers
from shimmy_vision.domain.licence.pinned import PINNED

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@dataclass
class Heard:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[socket.socket, Heard], None]


@dataclass
class Stranger:
    """Whatever sits at the licence server's address; ``answer`` is how it behaves."""

    listener: socket.socket
    answer: Answer
    heard: list[Heard] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def go_away(self) -> None:
        """From now on connections are refused."""
        self.listener.shutdown(socket.SHUT_RDWR)

    def serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(5)
            self.heard.append(_hear(connection))
            self.answer(connection, self.heard[-1])

    def trickle(self, piece: bytes) -> Answer:
        """Send ``piece`` for ever, often enough that no single wait is long."""

        def forever(connection: socket.socket, _heard: Heard) -> None:
            while not self.stopping.wait(0.02):
                connection.sendall(piece)

        return forever


def _hear(connection: socket.socket) -> Heard:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(4096) or b"\r\n\r\n"
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(4096)
    method, target, _version = first.split(" ")
    return Heard(method, target, headers, body)


@contextmanager
def strangers(answer: Answer = lambda _connection, _heard: None) -> Iterator[Stranger]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.01)
        stranger = Stranger(listener, answer)
        threads: list[threading.Thread] = []

        def accept() -> None:
            while not stranger.stopping.is_set():
                try:
                    connection = listener.accept()[0]
                except TimeoutError:
                    continue
                except OSError:
                    return
                threads.append(threading.Thread(target=stranger.serve, args=(connection,)))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield stranger
        finally:
            stranger.stopping.set()
            for thread in (accepting, *threads):
                thread.join(10)


def relay(url: str, alter: Callable[[Heard, bytes], bytes]) -> Answer:
    """Have the server at ``url`` answer; what comes back is what ``alter`` makes of it."""

    def answer(connection: socket.socket, heard: Heard) -> None:
        headers = {**heard.headers, "connection": "close"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"{heard.method} {heard.target} HTTP/1.1\r\n{lines}\r\n"
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as server:
            server.sendall(head.encode() + heard.body)
            reply = b"".join(iter(lambda: server.recv(65536), b""))
        connection.sendall(alter(heard, reply))

    return answer


def raw(head: str, body: bytes = b"") -> Answer:
    text = head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body
    return lambda connection, _heard: connection.sendall(text)


def signed(
    status: int = 200,
    body: bytes = b'{"data": null}',
    *,
    at: datetime = NOW,
    target: str | None = None,
    method: str | None = None,
    key: SigningKey | None = None,
    sent: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Answer as the server would; ``sent`` is a body put in the place of the signed one."""

    def answer(connection: socket.socket, heard: Heard) -> None:
        asked = Exchange(method or heard.method, target or heard.target, "127.0.0.1")
        said = signature_headers(key or SigningKey(), PINNED.account, asked, body, at)
        shown = body if sent is None else sent
        all_headers = {**said, **(headers or {}), "Content-Length": str(len(shown))}
        lines = "\n".join(f"{name}: {value}" for name, value in all_headers.items())
        raw(f"HTTP/1.1 {status} Said\n{lines}", shown)(connection, heard)

    return answer
