"""A mailbox for each test, on ports of its own, and hands on both of its doors."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

import httpx
import pytest

from shimmy_sandbox.mailbox.server import MailboxServer, serve_mailbox

# Loopback speaks no TLS; without this, every client reads all root certificates first.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass
class Post:
    """A running mailbox and a client of its API and its controls."""

    server: MailboxServer
    client: httpx.Client

    def send(self, key: str | None = None, **changes: Any) -> httpx.Response:
        """``POST /emails``; a change to None leaves the field out."""
        body = {"from": "Store <store@shimmy.example>", "to": "ada@example.com", **HELLO, **changes}
        named = {} if key is None else {"Idempotency-Key": key}
        given = {name: value for name, value in body.items() if value is not None}
        return self.client.post("/emails", json=given, headers=named)

    def kept(self, to: str = "") -> Any:
        """What the mailbox shows."""
        reply = self.client.get("/_sim/messages", params={"to": to} if to else {})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def control(self, path: str, /, **order: Any) -> Any:
        """POST to ``/_sim``; fails when it is refused."""
        reply = self.client.post(f"/_sim/{path}", json=order)
        assert reply.status_code == 200, reply.text
        return reply.json()


HELLO = {"subject": "Your licence", "text": "Key: 123", "html": "<p>Key: 123</p>"}

TEXT = "Voilà:\n\n.a line with a dot\n"


def letter(text: str = TEXT, **headers: str) -> EmailMessage:
    """A message in two parts."""
    mail = EmailMessage()
    wanted = {
        "From": "Store <store@shimmy.example>",
        "To": "Ada <ada@example.com>",
        "Subject": "Votre clé : 許可證",
        "Message-ID": "<1@shimmy.example>",
        "Reply-To": "help@shimmy.example",
        **headers,
    }
    for name, value in wanted.items():
        mail[name] = value
    mail.set_content(text)
    mail.add_alternative("<p>Voilà</p>\n", subtype="html")
    return mail


@contextmanager
def open_post() -> Iterator[Post]:
    """A running mailbox, empty."""
    with serve_mailbox() as server:
        bearer = {"Authorization": f"Bearer {server.api_key}"}
        with httpx.Client(
            base_url=server.url, headers=bearer, verify=NO_TLS, trust_env=False
        ) as client:
            yield Post(server, client)


@pytest.fixture(scope="module")
def standing() -> Iterator[Post]:
    """One mailbox for all tests of a module that only see requests refused."""
    with open_post() as post:
        yield post


@pytest.fixture
def post(capfd: pytest.CaptureFixture[str]) -> Iterator[Post]:
    """A mailbox of one's own; whatever goes wrong on request, the server complains of nothing."""
    with open_post() as post:
        yield post
    assert capfd.readouterr().err == ""
