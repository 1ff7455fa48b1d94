"""Mail by SMTP, sent by two independent clients, and what goes wrong on request."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, TypeAlias

import aiosmtplib
import httpx
import pytest

from shimmy_sandbox.mailbox.server import MailboxServer, serve_mailbox

from .conftest import TEXT, Post, letter

WAIT = 0.3
Sending: TypeAlias = Callable[[MailboxServer, EmailMessage], Any]


def by_smtplib(server: MailboxServer, mail: EmailMessage) -> Any:
    with smtplib.SMTP("127.0.0.1", server.smtp_port, timeout=20) as client:
        return client.send_message(mail)


def by_aiosmtplib(server: MailboxServer, mail: EmailMessage) -> Any:
    sending = aiosmtplib.send(
        mail, hostname="127.0.0.1", port=server.smtp_port, timeout=20, start_tls=False
    )
    return asyncio.run(sending)


@pytest.fixture(params=[by_smtplib, by_aiosmtplib], ids=["smtplib", "aiosmtplib"])
def send(request: pytest.FixtureRequest) -> Sending:
    sending: Sending = request.param
    return sending


def test_a_message_is_kept_as_it_was_written(post: Post, send: Sending) -> None:
    moment = datetime(2027, 1, 31, 12, tzinfo=UTC)
    post.control("clock", frozen=moment.isoformat())
    send(post.server, letter())
    (kept,) = post.kept()
    assert kept["door"] == "smtp"
    assert (kept["from"], kept["to"]) == ("store@shimmy.example", ["ada@example.com"])
    assert kept["subject"] == "Votre clé : 許可證"
    assert kept["text"] == TEXT
    assert kept["html"] == "<p>Voilà</p>\n"
    assert kept["idempotency_key"] is None
    assert datetime.fromisoformat(kept["received"]) == moment
    headers = kept["headers"]
    assert headers["From"] == "Store <store@shimmy.example>"
    assert headers["To"] == "Ada <ada@example.com>"
    assert headers["Message-ID"] == "<1@shimmy.example>"
    assert headers["Reply-To"] == "help@shimmy.example"
    raw = post.client.get(f"/_sim/messages/{kept['id']}/raw")
    assert raw.headers["content-type"] == "message/rfc822"
    again = message_from_bytes(raw.content, policy=policy.default)
    assert again["Subject"] == kept["subject"]
    assert again.get_content_type() == "multipart/alternative"


def test_messages_of_one_recipient_in_order(post: Post) -> None:
    for number, to in enumerate(("ada@example.com", "bob@example.com, Ada@Example.com", "c@d.fr")):
        by_smtplib(post.server, letter(To=to, Subject=str(number)))
    assert [one["subject"] for one in post.kept()] == ["0", "1", "2"]
    assert [one["subject"] for one in post.kept("ADA@example.com")] == ["0", "1"]
    assert post.kept("nobody@example.com") == []
    assert post.client.delete("/_sim/messages").json() == []
    assert post.kept() == []


def test_several_messages_on_one_connection(post: Post) -> None:
    with smtplib.SMTP("127.0.0.1", post.server.smtp_port, timeout=20) as client:
        client.send_message(letter(Subject="one"))
        client.send_message(letter(Subject="two"))
    assert [one["subject"] for one in post.kept()] == ["one", "two"]


def test_odd_mail_is_kept_or_refused_and_never_breaks_the_list(post: Post) -> None:
    with smtplib.SMTP("127.0.0.1", post.server.smtp_port, timeout=20) as client:
        who = ("a@example.com", "b@example.com")
        client.sendmail(*who, b"Subject: \xff\xfe\r\nReceived: a\r\nreceived: b\r\n\r\nraw \xff")
        client.sendmail(*who, b"Content-Type: application/pdf\r\n\r\nJVBERi0=")
        for bad in (b"Content-Type: text/plain; charset=none-such\r\n\r\n\xff", b"Sender: <\r\n"):
            with pytest.raises(smtplib.SMTPDataError) as refused:
                client.sendmail(*who, bad)
            assert refused.value.smtp_code == 554
    first, second = post.kept()
    assert first["text"].startswith("raw ")
    assert first["headers"]["Received"] == "a, b"
    assert (second["text"], second["html"], second["subject"]) == (None, None, "")


def test_any_login_is_taken_where_none_is_required(post: Post) -> None:
    for name, password in ((post.server.smtp_user, post.server.smtp_password), ("x", "y")):
        with smtplib.SMTP("127.0.0.1", post.server.smtp_port, timeout=20) as client:
            assert client.login(name, password)[0] == 235
            client.send_message(letter())
    assert len(post.kept()) == 2


@pytest.mark.parametrize("way", ["auth_plain", "auth_login"])
def test_only_the_published_login_is_taken_where_one_is_required(way: str) -> None:
    with serve_mailbox(login_required=True) as server:
        assert (server.smtp_user, server.smtp_password) == ("mailbox", "sandbox")
        with smtplib.SMTP("127.0.0.1", server.smtp_port, timeout=20) as client:
            client.ehlo()
            with pytest.raises(smtplib.SMTPSenderRefused) as unknown:
                client.send_message(letter())
            assert unknown.value.smtp_code == 530
            method, name = getattr(client, way), way.removeprefix("auth_").upper()
            client.user, client.password = "mailbox", "wrong"
            with pytest.raises(smtplib.SMTPAuthenticationError) as wrong:
                client.auth(name, method)
            assert wrong.value.smtp_code == 535
            client.password = "sandbox"
            assert client.auth(name, method)[0] == 235
            assert client.send_message(letter()) == {}


REFUSALS = [
    ("connect", "temporary", 421),
    ("connect", "permanent", 554),
    ("mail", "temporary", 451),
    ("mail", "permanent", 550),
    ("rcpt", "temporary", 450),
    ("rcpt", "permanent", 550),
    ("data", "temporary", 451),
    ("data", "permanent", 554),
    ("after-data", "temporary", 451),
    ("after-data", "permanent", 554),
]


def code_of(error: Exception) -> int:
    """What the server said, whoever heard it."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        ((refusal, _),) = error.recipients.values()
        return refusal
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return error.recipients[0].code
    code: int = getattr(error, "smtp_code", 0) or getattr(error, "code", 0)
    return code


@pytest.mark.parametrize(("stage", "kind", "code"), REFUSALS)
def test_refusals(post: Post, send: Sending, stage: str, kind: str, code: int) -> None:
    post.control("smtp", stage=stage, kind=kind)
    with pytest.raises((smtplib.SMTPException, aiosmtplib.SMTPException)) as refused:
        send(post.server, letter())
    assert code_of(refused.value) == code
    assert len(post.kept()) == (stage == "after-data")
    send(post.server, letter(Subject="again"))
    assert post.kept()[-1]["subject"] == "again"


@pytest.mark.parametrize("stage", ["connect", "mail", "rcpt", "data", "after-data"])
def test_drops(post: Post, send: Sending, stage: str) -> None:
    post.control("smtp", stage=stage, kind="drop", times=2)
    for _ in range(2):
        with pytest.raises((smtplib.SMTPException, aiosmtplib.SMTPException, OSError)):
            send(post.server, letter())
    # The hardest case for a sender: kept, and it never hears so.
    assert len(post.kept()) == (2 if stage == "after-data" else 0)
    send(post.server, letter(Subject="again"))
    assert post.kept()[-1]["subject"] == "again"


@pytest.mark.parametrize("stage", ["connect", "mail", "rcpt", "data", "after-data"])
def test_slow(post: Post, stage: str) -> None:
    post.control("smtp", stage=stage, kind="slow", seconds=WAIT)
    start = time.monotonic()
    by_smtplib(post.server, letter())
    assert time.monotonic() - start >= WAIT
    assert len(post.kept()) == 1


def test_who_waits_too_long_leaves_nothing_behind(post: Post) -> None:
    # So long that a sender is gone before it is over, also one that waits for a core itself.
    post.control("smtp", stage="data", kind="slow", seconds=5 * WAIT)
    with smtplib.SMTP("127.0.0.1", post.server.smtp_port, timeout=20) as client:
        client.ehlo()
        client.mail("shop@example.com")
        client.rcpt("ada@example.com")
        assert client.sock is not None
        client.sock.settimeout(WAIT / 3)
        with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
            client.data(letter().as_bytes())
    time.sleep(6 * WAIT)
    assert post.kept() == []


def test_a_fault_of_one_recipient(post: Post) -> None:
    post.control("smtp", stage="rcpt", kind="permanent", to="BOB@example.com", times=-1)
    by_smtplib(post.server, letter())
    both = letter(To="ada@example.com, bob@example.com")
    refused = by_smtplib(post.server, both)
    assert list(refused) == ["bob@example.com"]
    assert [one["to"] for one in post.kept()] == [["ada@example.com"]] * 2
    (waiting,) = post.client.get("/_sim/smtp").json()["faults"]
    assert (waiting["to"], waiting["times"]) == ("BOB@example.com", -1)
    assert post.client.delete("/_sim/smtp").json() == {"faults": []}
    assert by_smtplib(post.server, both) == {}


def test_a_fault_after_the_data_of_one_recipient(post: Post) -> None:
    post.control("smtp", stage="after-data", kind="drop", to="bob@example.com")
    by_smtplib(post.server, letter())
    with pytest.raises(smtplib.SMTPServerDisconnected):
        by_smtplib(post.server, letter(To="bob@example.com"))
    assert [one["to"] for one in post.kept()] == [["ada@example.com"], ["bob@example.com"]]


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({}, "stage must be one of"),
        ([], "a fault is an object"),
        ({"stage": "quit", "kind": "drop"}, "stage must be one of ['connect', 'mail', 'rcpt'"),
        ({"stage": "mail", "kind": "explode"}, "kind must be one of ['temporary'"),
        ({"stage": ["mail"], "kind": "drop"}, "stage must be one of"),
        ({"stage": "mail", "kind": "drop", "when": 1}, "a fault is an object with some of"),
        ({"stage": "rcpt", "kind": "drop", "to": 1}, "to is not an address"),
        ({"stage": "connect", "kind": "drop", "to": "a@b.fr"}, "no recipient is known yet"),
        ({"stage": "rcpt", "kind": "drop", "times": 0}, "times must be a whole number"),
        ({"stage": "rcpt", "kind": "drop", "times": True}, "times must be a whole number"),
        ({"stage": "rcpt", "kind": "slow"}, "seconds goes with slow"),
        ({"stage": "rcpt", "kind": "drop", "seconds": 1}, "seconds goes with slow"),
        ({"stage": "rcpt", "kind": "slow", "seconds": 1e9}, "seconds must be a number from 0"),
        ({"stage": "rcpt", "kind": "slow", "seconds": "1"}, "seconds must be a number from 0"),
    ],
)
def test_wrong_orders_are_refused(standing: Post, order: Any, words: str) -> None:
    reply = standing.client.post("/_sim/smtp", json=order)
    assert reply.status_code == 400
    assert words in reply.json()["error"]
    assert standing.client.get("/_sim/smtp").json() == {"faults": []}


def test_no_json_and_odd_questions_are_refused(standing: Post) -> None:
    client = standing.client
    for path in ("smtp", "answers", "thinking"):
        reply = client.post(f"/_sim/{path}", content=b"{")
        assert (reply.status_code, "not JSON" in reply.json()["error"]) == (400, True)
    assert client.get("/_sim/messages?from=x").status_code == 400
    assert client.delete("/_sim/messages?to=x").status_code == 400
    assert client.get("/_sim/messages/none/raw").status_code == 404


def test_it_listens_on_loopback_and_stops_under_a_waiting_sender() -> None:
    before = set(threading.enumerate())
    with serve_mailbox() as server:
        assert server.smtp_url == f"smtp://127.0.0.1:{server.smtp_port}"
        order = {"stage": "connect", "kind": "slow", "seconds": 200}
        assert httpx.post(f"{server.url}/_sim/smtp", json=order).status_code == 200
        waiting = socket.create_connection(("127.0.0.1", server.smtp_port), timeout=20)
        idle = smtplib.SMTP("127.0.0.1", server.smtp_port, timeout=20)
        start = time.monotonic()
    # By itself the slow one would go on for minutes.
    assert time.monotonic() - start < 60
    with waiting, suppress(ConnectionResetError):
        assert waiting.recv(1) == b"", "no greeting comes any more"
    with pytest.raises(smtplib.SMTPServerDisconnected):
        idle.noop()
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.smtp_port), timeout=20)
    # Of those before, which are other tests', some may have ended meanwhile.
    assert set(threading.enumerate()) <= before


def test_a_port_in_use() -> None:
    with serve_mailbox() as server:
        for ports in ((0, server.smtp_port), (server.port, 0)):
            with pytest.raises(OSError, match="in use"), serve_mailbox(*ports):
                pass
