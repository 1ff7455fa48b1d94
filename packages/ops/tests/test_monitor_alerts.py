"""Alerts are told once, again while they last, and when they are over; nothing is lost."""

from __future__ import annotations

import hashlib
import hmac
import json
import smtplib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled_store import NOW, ago

from shimmy_ops.adapters.monitoring.alert_file import AlertFile
from shimmy_ops.adapters.monitoring.smtp_alerts import SmtpAlerts
from shimmy_ops.adapters.monitoring.webhook_alerts import SIGNATURE, WebhookAlerts
from shimmy_ops.domain.monitoring.alerting import (
    KnownAlert,
    Notice,
    firing_alerts,
    notice_subject,
    trial_notice,
)
from shimmy_ops.domain.monitoring.conditions import Judged, Trouble
from shimmy_ops.errors import MonitorError, OpsError, ProfileError
from shimmy_ops.use_cases.send_alerts import send_alerts
from shimmy_sandbox.mailbox.server import serve_mailbox

REMIND = timedelta(hours=4)
DOWN = Trouble("store-down", "The store is down", "Two probes failed.", "page")
GOOD, BAD = Judged("store-down", ()), Judged("store-down", (DOWN,))
BLIND = Judged("store-down", None)


@dataclass
class Channel:
    """Remembers what was said; refuses where it is told to."""

    name: str = "mail"
    broken: bool = False
    said: list[str] = field(default_factory=list)

    def send(self, notice: Notice) -> None:
        if self.broken:
            raise MonitorError("alert-mail-failed", "no")
        self.said += [f"{one.key} {one.state}" for one in notice.alerts]


@dataclass
class Watch:
    """Each step is a process of its own: all it knows is in the file."""

    path: Path
    channels: Sequence[Channel]

    def step(self, judged: Judged, at: datetime) -> tuple[KnownAlert, ...]:
        book = AlertFile(self.path)
        return send_alerts(book, self.channels, [judged], "sandbox", at, REMIND)


@pytest.fixture
def mail() -> Channel:
    return Channel()


@pytest.fixture
def watch(tmp_path: Path, mail: Channel) -> Watch:
    return Watch(tmp_path / "state" / "alerts.json", [mail])


def test_an_alert_is_told_when_it_begins_and_when_it_ends(watch: Watch, mail: Channel) -> None:
    for minutes, judged in ((9, GOOD), (8, BAD), (7, BAD), (6, BAD), (5, GOOD), (4, GOOD)):
        watch.step(judged, ago(minutes=minutes))
    assert mail.said == ["store-down firing", "store-down resolved"]
    assert watch.step(BAD, NOW)[0].since == NOW
    assert mail.said[2:] == ["store-down firing"]
    assert watch.path.stat().st_mode & 0o777 == 0o600


def test_what_lasts_is_told_again_every_four_hours(watch: Watch, mail: Channel) -> None:
    known = [watch.step(BAD, NOW + timedelta(hours=hours))[0] for hours in range(10)][-1]
    assert len(mail.said) == 3
    assert known.since == NOW


def test_a_rule_that_cannot_tell_leaves_its_alert_as_it_is(watch: Watch, mail: Channel) -> None:
    seen = ((9, BAD), (8, BLIND), (7, BLIND), (6, BAD), (5, BLIND))
    known = [watch.step(judged, ago(minutes=minutes)) for minutes, judged in seen]
    assert mail.said == ["store-down firing"]
    assert known[-1][0].state == "firing"


def test_what_could_not_be_sent_is_sent_at_the_next_sample(watch: Watch, mail: Channel) -> None:
    webhook = Channel("webhook")
    watch.channels = [mail, webhook]
    mail.broken = True
    known = watch.step(BAD, ago(minutes=3))
    (shown,) = firing_alerts(known)
    assert (mail.said, webhook.said, shown.unsent) == ([], ["store-down firing"], ("mail",))
    mail.broken = False
    (shown,) = firing_alerts(watch.step(BAD, ago(minutes=2)))
    assert (shown.unsent, shown.told) == ((), ago(minutes=2))
    assert mail.said == webhook.said == ["store-down firing"]


def test_an_end_that_could_not_be_told_is_told_later(watch: Watch, mail: Channel) -> None:
    watch.step(BAD, ago(minutes=9))
    mail.broken = True
    assert watch.step(GOOD, ago(minutes=8))[0].failed == ("mail",)
    mail.broken = False
    assert watch.step(GOOD, ago(minutes=7)) == ()
    assert mail.said == ["store-down firing", "store-down resolved"]


def test_what_was_over_before_anybody_heard_of_it_is_not_told(watch: Watch, mail: Channel) -> None:
    mail.broken = True
    watch.step(BAD, ago(minutes=9))
    mail.broken = False
    assert watch.step(GOOD, ago(minutes=8)) == ()
    assert mail.said == []


steps = st.lists(st.tuples(st.sampled_from("gbx"), st.booleans()), max_size=12)


@settings(max_examples=25)
@given(steps)
def test_whatever_fails_nobody_hears_the_same_twice_in_a_row(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[str, bool]]
) -> None:
    channel = Channel()
    watch = Watch(tmp_path_factory.mktemp("alerts") / "alerts.json", [channel])
    wrong = False
    for number, (kind, broken) in enumerate(made):
        channel.broken = broken
        wrong = wrong if kind == "x" else kind == "b"
        judged = {"g": GOOD, "b": BAD, "x": BLIND}[kind]
        known = watch.step(judged, NOW + timedelta(minutes=number))
        assert bool(firing_alerts(known)) == wrong
        if not broken:
            assert (channel.said[-1:] == ["store-down firing"]) == wrong
    assert all(a != b for a, b in zip(channel.said, channel.said[1:], strict=False))


def test_two_samplers_at_once_tell_it_once(tmp_path: Path) -> None:
    channel = Channel()
    watch = Watch(tmp_path / "alerts.json", [channel])
    threads = [threading.Thread(target=watch.step, args=(BAD, NOW)) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert channel.said == ["store-down firing"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1, "alerts": [{}]}', '{"format": 9}'])
def test_a_damaged_file_is_said_and_left_alone(watch: Watch, text: str) -> None:
    watch.path.parent.mkdir()
    watch.path.write_text(text)
    with pytest.raises(MonitorError) as refused:
        watch.step(BAD, NOW)
    assert refused.value.hint
    assert watch.path.read_text() == text


def test_the_subject_names_the_worst_first() -> None:
    ticket = KnownAlert("a", "a", "A", "", "ticket", "firing", NOW, {})
    page = KnownAlert("b", "b", "B", "", "page", "firing", NOW, {})
    subject = notice_subject(Notice("live", (ticket, page)))
    assert subject == "[shimmy live] firing: B and 1 more"


def test_a_mail_arrives() -> None:
    with serve_mailbox(login_required=True) as box:
        login = f"{box.smtp_user}:{box.smtp_password}"
        url = box.smtp_url.replace("//", f"//{login}@")
        SmtpAlerts(url, "Shimmy <a@shimmy.example>", "ops@shimmy.example").send(
            trial_notice("test", NOW)
        )
        (found,) = httpx.get(f"{box.url}/_sim/messages", trust_env=False).json()
        assert found["to"] == ["ops@shimmy.example"]
        assert "FIRING (ticket): Test of alerts" in found["text"]
        wrong = box.smtp_url.replace("//", f"//{box.smtp_user}:{box.smtp_user}@")
        with pytest.raises(MonitorError) as refused:
            SmtpAlerts(wrong, "a@shimmy.example", "ops@shimmy.example").send(
                trial_notice("test", NOW)
            )
    assert "shimmy.example" not in refused.value.message + refused.value.hint


def test_no_password_leaves_this_machine_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server beyond loopback that offers no STARTTLS is not spoken to."""
    with serve_mailbox() as box:
        plain = smtplib.SMTP

        def near(_: str, port: int, **given: Any) -> smtplib.SMTP:
            return plain("127.0.0.1", port, **given)

        monkeypatch.setattr("shimmy_ops.adapters.monitoring.smtp_alerts.smtplib.SMTP", near)
        url = f"smtp://user:{box.smtp_password}@mail.example:{box.smtp_port}"
        with pytest.raises(MonitorError, match="SMTPNotSupportedError"):
            SmtpAlerts(url, "a@b.example", "c@d.example").send(trial_notice("test", NOW))
        assert httpx.get(f"{box.url}/_sim/messages", trust_env=False).json() == []


@pytest.mark.parametrize(
    "url", ["mail.example", "http://x", "smtp://", "smtp://h:port", "smtp://["]
)
def test_an_address_that_is_no_mail_server_is_refused_unseen(url: str) -> None:
    with pytest.raises(ProfileError) as refused:
        SmtpAlerts(url, "a@b.example", "c@d.example")
    assert refused.value.code == "mail-malformed"


@contextmanager
def _listening(status: int) -> Iterator[tuple[str, list[tuple[bytes, str]]]]:
    """An address and what was posted there: bodies and their signatures."""
    heard: list[tuple[bytes, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append((body, self.headers.get(SIGNATURE, "")))
            assert "#" not in self.path
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _webhook(url: str) -> WebhookAlerts:
    return WebhookAlerts(url, lambda: httpx.Client(trust_env=False, timeout=5))


def test_a_webhook_is_posted_and_signed_where_it_has_a_key() -> None:
    with _listening(204) as (url, heard):
        _webhook(f"{url}#the-key").send(trial_notice("test", NOW))
        _webhook(url).send(trial_notice("test", NOW))
    (body, signature), (_, unsigned) = heard
    assert signature == f"sha256={hmac.new(b'the-key', body, hashlib.sha256).hexdigest()}"
    assert unsigned == ""
    assert json.loads(body)["alerts"][0]["key"] == "alert-test"


def test_a_webhook_that_refuses_or_is_not_there_is_said_without_its_address() -> None:
    with _listening(500) as (url, _):
        with pytest.raises(MonitorError, match="answered 500") as refused:
            _webhook(url).send(trial_notice("test", NOW))
        assert url not in str(refused.value) + refused.value.hint
    with pytest.raises(MonitorError, match="ConnectError"):
        _webhook(url).send(trial_notice("test", NOW))


@pytest.mark.parametrize("url", ["http://hooks.example/x", "ftp://x", "x", "https://["])
def test_a_webhook_must_be_https_or_on_loopback(url: str) -> None:
    with pytest.raises(OpsError) as refused:
        _webhook(url)
    assert refused.value.code == "alert-webhook-malformed"
