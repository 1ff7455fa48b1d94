"""The ``AlertChannel`` port by mail."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import SplitResult, unquote, urlsplit

from shimmy_ops.domain.monitoring.alerting import Notice, notice_subject, notice_text
from shimmy_ops.errors import MonitorError, ProfileError

_TIMEOUT_SECONDS = 20
_PORTS = {"smtp": 587, "smtps": 465}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class SmtpAlerts:
    """``url`` is ``smtp://user:password@host:587`` (STARTTLS) or ``smtps://…``.

    Raises ProfileError for anything else; it is never repeated.
    """

    def __init__(self, url: str, sender: str, to: str) -> None:
        self._place, self._port = _read(url)
        self._sender = sender
        self._to = to

    @property
    def name(self) -> str:
        return "mail"

    def send(self, notice: Notice) -> None:
        try:
            with self._server() as server:
                if self._place.username:
                    server.login(unquote(self._place.username), unquote(self._place.password or ""))
                server.send_message(self._message(notice))
        except (smtplib.SMTPException, OSError, ValueError) as error:
            # Never the server's words: they repeat addresses.
            raise MonitorError(
                "alert-mail-failed",
                f"The alert could not be mailed: {type(error).__name__}.",
                hint="Check the credential mail and the mail server.",
                retryable=True,
            ) from None

    def _message(self, notice: Notice) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = notice_subject(notice)
        message["From"], message["To"] = self._sender, self._to
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="shimmy.invalid")
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(notice_text(notice))
        return message

    @contextmanager
    def _server(self) -> Iterator[smtplib.SMTP]:
        host = self._place.hostname or ""
        if self._place.scheme == "smtps":
            context = ssl.create_default_context()
            with smtplib.SMTP_SSL(
                host, self._port, timeout=_TIMEOUT_SECONDS, context=context
            ) as server:
                yield server
            return
        with smtplib.SMTP(host, self._port, timeout=_TIMEOUT_SECONDS) as server:
            if host not in _LOOPBACK:
                server.starttls(context=ssl.create_default_context())
            yield server


def _read(url: str) -> tuple[SplitResult, int]:
    try:
        place = urlsplit(url)
        if place.scheme in _PORTS and place.hostname:
            return place, place.port or _PORTS[place.scheme]
    except ValueError:
        pass
    raise ProfileError(
        "mail-malformed",
        "The credential mail is no mail server.",
        hint="It is smtp://user:password@host:587 or smtps://user:password@host:465.",
    )
