"""Mail handed over by SMTP and by the API, over real sockets, and what goes wrong meanwhile."""

from __future__ import annotations

import asyncio
import datetime
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email import message_from_bytes, policy
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from secret_mail import HTML, KEY, MAIL, NO_TLS, PASSWORD, SENDER, TEXT, TO, failure

from shimmy_sandbox.mailbox.server import MailboxServer, serve_mailbox
from shimmy_store.adapters.resend_mailer import ResendMailer
from shimmy_store.adapters.smtp_mailer import SmtpMailer
from shimmy_store.errors import MailError, SettingsError
from shimmy_store.ports.mail import Mail, Mailer, Written

HASTE = 0.3


@dataclass
class Post:
    """A running mailbox and a client of its controls."""

    server: MailboxServer
    client: httpx.Client

    def kept(self) -> Any:
        return self.client.get("/_sim/messages").json()

    def control(self, path: str, **order: Any) -> None:
        reply = self.client.post(f"/_sim/{path}", json=order)
        assert reply.status_code == 200, reply.text


@pytest.fixture
def post() -> Iterator[Post]:
    with (
        serve_mailbox() as server,
        httpx.Client(base_url=server.url, verify=NO_TLS, trust_env=False) as client,
    ):
        yield Post(server, client)


def by_smtp(server: MailboxServer, mail: Mail, seconds: float = 10) -> None:
    asyncio.run(SmtpMailer(server.smtp_url, SENDER, seconds=seconds).send(mail))


def by_api(server: MailboxServer, mail: Mail, seconds: float = 10, key: str = "") -> None:
    async def send() -> None:
        async with api_client(server, key) as client:
            await ResendMailer(client, SENDER, seconds=seconds).send(mail)

    asyncio.run(send())


def api_client(server: MailboxServer, key: str = "") -> httpx.AsyncClient:
    bearer = {"Authorization": f"Bearer {key or server.api_key}"}
    return httpx.AsyncClient(base_url=server.url, headers=bearer, verify=NO_TLS, trust_env=False)


# Both ways


@pytest.mark.parametrize("send", [by_smtp, by_api])
def test_a_mail_arrives_as_it_was_written(post: Post, send: Any) -> None:
    send(post.server, MAIL)
    (kept,) = post.kept()
    assert (kept["from"], kept["to"]) == ("licences@shimmy.example", [TO])
    assert (kept["subject"], kept["text"], kept["html"]) == ("Votre clé: 許可證", TEXT, HTML)
    assert kept["headers"]["From"] == SENDER
    assert kept["headers"]["To"] == TO
    assert kept["headers"]["Auto-Submitted"] == "auto-generated"
    raw = post.client.get(f"/_sim/messages/{kept['id']}/raw").content
    parsed = message_from_bytes(raw, policy=policy.default)
    assert parsed.get_content_type() == "multipart/alternative"


@pytest.mark.parametrize("send", [by_smtp, by_api])
@pytest.mark.parametrize(
    "changed",
    [
        replace(MAIL, to=f"{TO}\r\nBcc: eve@example.com"),
        replace(MAIL, to=f"{TO}\nBcc: eve@example.com"),
        replace(MAIL, to=f"{TO}, eve@example.com"),
        replace(MAIL, to=f"{TO},eve@example.com"),
        replace(MAIL, to="ada,eve@example.com"),
        replace(MAIL, to=f"Ada <{TO}>"),
        replace(MAIL, to='adä"b@example.com'),
        replace(MAIL, to=""),
        replace(MAIL, to="ada@"),
        replace(MAIL, written=replace(MAIL.written, subject="a\r\nBcc: eve@example.com")),
        replace(MAIL, written=replace(MAIL.written, subject="a\nb")),
        replace(MAIL, written=replace(MAIL.written, subject="a\u2028b")),
    ],
)
def test_nothing_becomes_another_header_or_recipient(post: Post, send: Any, changed: Mail) -> None:
    error = failure(lambda: send(post.server, changed))
    # Where it is not in ASCII, the server may be the first to refuse it.
    assert error.code in ("mail-unwritable", "mail-refused")
    assert not error.retryable
    assert post.kept() == []


@given(st.text(), st.text())
def test_any_address_and_subject_are_written_or_refused(to: str, subject: str) -> None:
    mailer = SmtpMailer("smtp://127.0.0.1", SENDER)
    try:
        message = mailer._compose(replace(MAIL, to=to, written=Written(subject, "t", "h")))
    except MailError as error:
        assert (error.code, error.retryable) == ("mail-unwritable", False)
        return
    again = message_from_bytes(message.as_bytes(policy=policy.SMTPUTF8), policy=policy.default)
    names = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"]
    assert [one for one in again if one not in ("MIME-Version", "Content-Type")] == names


@pytest.mark.parametrize("to", ["é b@x.example", "é\x00@x.example", "é@x.example>", "é@ö@x.de"])
def test_an_address_beyond_ascii_is_looked_at_too(to: str) -> None:
    error = failure(lambda: SmtpMailer("smtp://127.0.0.1", SENDER)._compose(replace(MAIL, to=to)))
    assert (error.code, error.retryable) == ("mail-unwritable", False)


@pytest.mark.parametrize("send", [by_smtp, by_api])
def test_an_address_beyond_ascii_is_refused_where_the_server_cannot(post: Post, send: Any) -> None:
    error = failure(lambda: send(post.server, replace(MAIL, to="straße@example.com")))
    assert (error.code, error.retryable) == ("mail-refused", False)
    assert post.kept() == []


@pytest.mark.parametrize("sender", ["", "nobody", "a@b\r\nBcc: c@d", "a@b, c@d", "é@b.c", "A <a@b"])
def test_a_sender_that_is_no_address_is_a_setting(sender: str) -> None:
    for make in (
        lambda: SmtpMailer("smtp://127.0.0.1", sender),
        lambda: ResendMailer(httpx.AsyncClient(verify=NO_TLS), sender),
    ):
        if sender == "A <a@b":
            make()
            continue
        with pytest.raises(SettingsError) as raised:
            make()
        assert raised.value.code == "sender-malformed"


# SMTP


def test_a_mail_sent_again_has_the_same_identity(post: Post) -> None:
    for _ in range(2):
        by_smtp(post.server, MAIL)
    by_smtp(post.server, replace(MAIL, key="licence/other"))
    first, second, other = (one["headers"]["Message-ID"] for one in post.kept())
    assert first == second != other
    assert first.endswith("@shimmy.example>")
    date = parsedate_to_datetime(post.kept()[0]["headers"]["Date"])
    age = datetime.datetime.now(datetime.UTC) - date
    assert abs(age) < datetime.timedelta(minutes=5)


@pytest.mark.parametrize(
    ("stage", "kind", "code", "retryable", "kept"),
    [
        ("connect", "temporary", "mail-deferred", True, 0),
        ("connect", "permanent", "mail-unreachable", True, 0),
        ("connect", "drop", "mail-unreachable", True, 0),
        ("mail", "temporary", "mail-deferred", True, 0),
        ("mail", "permanent", "mail-sender-refused", True, 0),
        ("mail", "drop", "mail-unreachable", True, 0),
        ("rcpt", "temporary", "mail-deferred", True, 0),
        ("rcpt", "permanent", "mail-refused", False, 0),
        ("rcpt", "drop", "mail-unreachable", True, 0),
        ("data", "temporary", "mail-deferred", True, 0),
        ("data", "permanent", "mail-refused", False, 0),
        ("data", "drop", "mail-unreachable", True, 0),
        ("after-data", "temporary", "mail-deferred", True, 1),
        ("after-data", "drop", "mail-unreachable", True, 1),
    ],
)
def test_what_goes_wrong_by_smtp(
    post: Post, stage: str, kind: str, code: str, retryable: bool, kept: int
) -> None:
    post.control("smtp", stage=stage, kind=kind)
    error = failure(lambda: by_smtp(post.server, MAIL))
    assert (error.code, error.retryable) == (code, retryable)
    assert len(post.kept()) == kept
    by_smtp(post.server, MAIL)
    ids = [one["headers"]["Message-ID"] for one in post.kept()]
    assert len(ids) == kept + 1
    assert len(set(ids)) == 1


@pytest.mark.parametrize("stage", ["connect", "mail", "rcpt", "data", "after-data"])
def test_a_silent_server_is_given_up(post: Post, stage: str) -> None:
    post.control("smtp", stage=stage, kind="slow", seconds=5)
    error = failure(lambda: by_smtp(post.server, MAIL, seconds=HASTE))
    assert (error.code, error.retryable) == ("mail-unreachable", True)


def test_many_slow_steps_together_are_given_up(post: Post) -> None:
    for stage in ("connect", "mail", "rcpt", "data"):
        post.control("smtp", stage=stage, kind="slow", seconds=0.9 * HASTE)
    error = failure(lambda: by_smtp(post.server, MAIL, seconds=HASTE))
    assert (error.code, error.retryable) == ("mail-unreachable", True)


def test_nobody_listens(post: Post) -> None:
    with serve_mailbox() as gone:
        pass
    for send in (by_smtp, by_api):
        error = failure(lambda send=send: send(gone, MAIL))  # type: ignore[misc]
        assert (error.code, error.retryable) == ("mail-unreachable", True)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "http://host",
        "smtp://",
        "smtp://user:pass%3Aw%2Frd@host:99999",
        "smtp://user:pass:w/rd@host",
        "smtps://host/path",
        "smtp://host?query",
        "smtp://[::1",
    ],
)
def test_an_address_of_no_server(address: str) -> None:
    with pytest.raises(SettingsError) as raised:
        SmtpMailer(address, SENDER)
    assert raised.value.code == "smtp-address-malformed"
    told = "".join(traceback.format_exception(raised.value))
    assert PASSWORD not in told
    assert "%2F" not in told


# The API


@pytest.mark.parametrize(
    ("fault", "code", "kept"),
    [
        ({"kind": "status", "status": 500}, "mail-failing", 0),
        ({"kind": "status", "status": 503}, "mail-failing", 0),
        ({"kind": "status", "status": 200}, "mail-unreachable", 0),
        ({"kind": "status", "status": 404}, "mail-unreachable", 0),
        ({"kind": "status", "status": 401}, "mail-login-refused", 0),
        ({"kind": "status-after", "status": 502}, "mail-failing", 1),
        ({"kind": "no-request"}, "mail-unreachable", 0),
        ({"kind": "no-reply"}, "mail-unreachable", 1),
    ],
)
def test_what_goes_wrong_at_the_api(post: Post, fault: Any, code: str, kept: int) -> None:
    post.control("faults", **fault)
    error = failure(lambda: by_api(post.server, MAIL))
    assert (error.code, error.retryable) == (code, True)
    assert len(post.kept()) == kept
    for _ in range(2):
        by_api(post.server, MAIL)
    (arrived,) = post.kept()
    assert arrived["idempotency_key"] == MAIL.key


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("rate_limit_exceeded", "mail-deferred"),
        ("daily_quota_exceeded", "mail-deferred"),
        ("internal_server_error", "mail-failing"),
    ],
)
def test_the_apis_own_refusals(post: Post, answer: str, code: str) -> None:
    post.control("answers", name=answer)
    error = failure(lambda: by_api(post.server, MAIL))
    assert (error.code, error.retryable) == (code, True)
    by_api(post.server, MAIL)
    assert len(post.kept()) == 1


def test_a_slow_api_is_given_up_and_the_mail_arrives_once(post: Post) -> None:
    post.control("faults", kind="slow", seconds=2 * HASTE)
    error = failure(lambda: by_api(post.server, MAIL, seconds=HASTE))
    assert (error.code, error.retryable) == ("mail-unreachable", True)
    by_api(post.server, MAIL)
    assert len(post.kept()) == 1


def test_a_reply_that_never_ends_is_given_up() -> None:
    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            for _ in range(600):
                await asyncio.sleep(HASTE / 6)
                writer.write(b" ")
        finally:
            writer.transport.abort()

    async def send() -> None:
        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = httpx.AsyncClient(base_url=url, verify=NO_TLS, trust_env=False)
        async with server, client:
            await ResendMailer(client, SENDER, seconds=HASTE).send(MAIL)

    began = time.monotonic()
    error = failure(lambda: asyncio.run(send()))
    assert (error.code, error.retryable) == ("mail-unreachable", True)
    # All of it takes half a minute.
    assert time.monotonic() - began < 15


def test_what_was_taken_before_it_was_written_anew_is_taken(post: Post) -> None:
    by_api(post.server, MAIL)
    by_api(post.server, replace(MAIL, written=replace(MAIL.written, text="with an offer")))
    (kept,) = post.kept()
    assert kept["text"] == TEXT


def test_two_at_once_with_one_key(post: Post) -> None:
    post.control("thinking", seconds=1)

    async def both() -> tuple[BaseException | None, BaseException | None]:
        async with api_client(post.server) as client:
            mailer: Mailer = ResendMailer(client, SENDER)
            sending = mailer.send(MAIL), mailer.send(MAIL)
            return await asyncio.gather(*sending, return_exceptions=True)

    (error,) = [one for one in asyncio.run(both()) if one is not None]
    assert isinstance(error, MailError)
    assert (error.code, error.retryable) == ("mail-deferred", True)
    assert len(post.kept()) == 1


def test_a_key_that_the_api_does_not_know(post: Post) -> None:
    error = failure(lambda: by_api(post.server, MAIL, key="wrong"))
    assert (error.code, error.retryable) == ("mail-login-refused", True)


def test_keys_too_long_or_odd_stay_different(post: Post) -> None:
    long = "k" * 256
    shortened = "sha256/" + "0" * 64
    keys = [long, long + "1", long + "2", "clé", "a\nb", shortened]
    for key in keys:
        by_api(post.server, replace(MAIL, key=key))
        by_api(post.server, replace(MAIL, key=key))
    used = [one["idempotency_key"] for one in post.kept()]
    assert len(used) == len(set(used)) == len(keys)
    assert used[0] == long
    by_api(post.server, replace(MAIL, key=used[1]))
    assert len(post.kept()) == len(keys) + 1


def answered(status: int, **how: Any) -> tuple[MailError, int]:
    """What the mailer makes of a reply, and how many requests it sent."""
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, **how)

    async def send() -> None:
        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(
            transport=transport, base_url="https://api.example", follow_redirects=True
        ) as client:
            await ResendMailer(client, SENDER).send(MAIL)

    return failure(lambda: asyncio.run(send())), len(seen)


def test_redirects_are_not_followed() -> None:
    error, requests = answered(307, headers={"Location": "https://elsewhere.example/emails"})
    assert (error.code, error.retryable, requests) == ("mail-unreachable", True, 1)


@pytest.mark.parametrize(
    ("status", "name", "code", "retryable"),
    [
        (400, "validation_error", "mail-refused", False),
        (422, "validation_error", "mail-refused", False),
        (422, "invalid_from_address", "mail-sender-refused", True),
        (403, "validation_error", "mail-login-refused", True),
        (409, "concurrent_idempotent_requests", "mail-deferred", True),
        (409, "", "mail-deferred", True),
    ],
)
def test_named_refusals(status: int, name: str, code: str, retryable: bool) -> None:
    body = {"statusCode": status, "name": name, "message": f"{TO} {KEY}"}
    error, _ = answered(status, json=body)
    assert (error.code, error.retryable) == (code, retryable)
