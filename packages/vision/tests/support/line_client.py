"""A client of the guarded line that says exactly what a test wants said."""

from __future__ import annotations

import asyncio
import base64
import http.client
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from shimmy_vision.adapters.web.guarded_line import GuardedLine, Streams


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


def credential(line: GuardedLine) -> str:
    return "Basic " + base64.b64encode(f"{line.username}:{line.password}".encode()).decode()


def connect(line: GuardedLine) -> socket.socket:
    host, port = line.address.split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def say(line: GuardedLine, head: str, body: bytes = b"", *, known: bool = True) -> Reply:
    """``head`` without its last blank line; the credential is added to it if ``known``."""
    with connect(line) as connection:
        return say_on(connection, line, head, body, known=known)


def say_on(
    connection: socket.socket,
    line: GuardedLine,
    head: str,
    body: bytes = b"",
    *,
    known: bool = True,
) -> Reply:
    added = f"Proxy-Authorization: {credential(line)}\r\n" if known else ""
    first, _, rest = head.partition("\r\n")
    text = f"{first}\r\n{added}{rest}\r\n\r\n" if rest else f"{first}\r\n{added}Host: x\r\n\r\n"
    connection.sendall(text.encode("latin-1") + body)
    answer = http.client.HTTPResponse(connection, method=first.split(" ")[0])
    answer.begin()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    tunnel = first.startswith("CONNECT") and answer.status == 200
    return Reply(answer.status, headers, b"" if tunnel else answer.read())


def get(line: GuardedLine, url: str) -> Reply:
    return say(line, f"GET {url} HTTP/1.1")


@dataclass
class Names:
    """A resolver that answers what the test says, one answer after the other, the last for ever."""

    answers: dict[str, list[list[str]]]
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        answers = self.answers.get(host)
        if not answers:
            try:
                socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
            except OSError:
                raise OSError("no such name") from None
            return [host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@dataclass
class Dialled:
    """Connects to ``port`` on loopback whatever is asked for, and remembers what that was."""

    port: int
    asked: list[tuple[str, int]] = field(default_factory=list)

    def dial(self) -> Callable[[str, int], Awaitable[Streams]]:
        async def connect_instead(address: str, port: int) -> Streams:
            self.asked.append((address, port))
            return await asyncio.open_connection("127.0.0.1", self.port)

        return connect_instead
