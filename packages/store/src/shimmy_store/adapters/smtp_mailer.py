"""The ``Mailer`` port by SMTP: to any mail server, encrypted unless it is on this machine."""

from __future__ import annotations

import asyncio
import ssl
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from urllib.parse import SplitResult, unquote, urlsplit

import aiosmtplib

from shimmy_store.adapters.mail_errors import (
    deferred,
    login_refused,
    read_recipient,
    read_sender,
    refused,
    sender_refused,
    unreachable,
    unwritable,
)
from shimmy_store.errors import MailError, SettingsError
from shimmy_store.ports.mail import Mail

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_MESSAGE_IDS = uuid.UUID("b5e0c1a4-9d0d-5c4f-9f43-5b1f8f0c7d2e")
_STEP_SECONDS = 10.0
# A mail takes about eight steps; together they must end before somebody else takes the message.
_STEPS = 3
_GOODBYE_SECONDS = 1.0
_BUSY = range(400, 500)
_REFUSALS = range(500, 600)
# Authentication required, too weak, credentials invalid, encryption required.
_LOGIN_REPLIES = (530, 534, 535, 538)


class SmtpMailer:
    """See ``ports.mail``. ``address`` is ``smtp://`` or ``smtps://[user:password@]host[:port]``.

    ``smtp`` upgrades by STARTTLS and sends nothing where it cannot; only on loopback it goes
    plain. Raises SettingsError for an address or a sender that cannot be used.
    """

    def __init__(
        self,
        address: str,
        sender: str,
        *,
        seconds: float = _STEP_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._place, self._port = _read(address)
        self._sender = read_sender(sender)
        self._seconds = seconds
        self._wrapped = self._place.scheme == "smtps"
        self._upgraded = not self._wrapped and self._place.hostname not in _LOOPBACK
        encrypted = self._wrapped or self._upgraded
        self._tls = tls or (ssl.create_default_context() if encrypted else None)

    async def send(self, mail: Mail) -> None:
        message = self._compose(mail)
        client = self._client()
        try:
            async with asyncio.timeout(_STEPS * self._seconds):
                await client.connect()
                await client.send_message(
                    message, sender=self._sender.addr_spec, recipients=[mail.to]
                )
            # It was taken: what goes wrong from here on is no failure any more.
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=min(self._seconds, _GOODBYE_SECONDS))
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            # Without its cause: that one names the address and repeats the server's words.
            raise _translated(error) from None
        finally:
            client.close()

    def _client(self) -> aiosmtplib.SMTP:
        user, password = self._place.username, self._place.password
        return aiosmtplib.SMTP(
            hostname=self._place.hostname,
            port=self._port,
            username=None if user is None else unquote(user),
            password=None if password is None else unquote(password),
            # Else it asks the network for our name, which may take long and tells it to others.
            local_hostname=self._sender.domain,
            timeout=self._seconds,
            use_tls=self._wrapped,
            start_tls=self._upgraded,
            tls_context=self._tls,
        )

    def _compose(self, mail: Mail) -> EmailMessage:
        message = EmailMessage(policy=policy.SMTP)
        message["From"] = self._sender
        message["To"] = read_recipient(mail)
        message["Subject"] = mail.written.subject
        message["Date"] = datetime.now(UTC)
        # The same each time it is sent, so that a mailbox can tell that it has it.
        identifier = uuid.uuid5(_MESSAGE_IDS, mail.key)
        message["Message-ID"] = f"<{identifier}@{self._sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.written.text, charset="utf-8")
        message.add_alternative(mail.written.html, subtype="html", charset="utf-8")
        return message


def _read(address: str) -> tuple[SplitResult, int | None]:
    try:
        place = urlsplit(address)
        port = place.port
    except ValueError:
        place, port = SplitResult("", "", "", "", ""), None
    known = place.scheme in ("smtp", "smtps") and place.hostname
    if known and place.path in ("", "/") and not place.query and not place.fragment:
        return place, port
    # Without the address: it may hold a password.
    raise SettingsError(
        "smtp-address-malformed",
        "The mail server's address is of another form than smtp://user:password@host:port.",
        hint="Write special characters of user and password in percent-encoding.",
    )


def _translated(error: Exception) -> MailError:
    reply = _reply(error)
    match error:
        case aiosmtplib.SMTPNotSupported():
            return refused("it cannot write to addresses beyond ASCII")
        case aiosmtplib.SMTPResponseException() | aiosmtplib.SMTPRecipientsRefused():
            return _refusal(error, reply, f"reply {reply}")
        case OSError():
            return unreachable(type(error).__name__)
        case ValueError():
            return unwritable()
        case _ if type(error) is aiosmtplib.SMTPException:
            return unreachable("it offers no encryption, or no login that we know")
        case _:
            return unreachable(type(error).__name__)


def _reply(error: Exception) -> int:
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return error.recipients[0].code
    return error.code if isinstance(error, aiosmtplib.SMTPResponseException) else -1


def _refusal(error: Exception, reply: int, why: str) -> MailError:
    if reply in _BUSY:
        return deferred(why)
    if isinstance(error, aiosmtplib.SMTPAuthenticationError) or reply in _LOGIN_REPLIES:
        return login_refused(why)
    if isinstance(error, aiosmtplib.SMTPSenderRefused):
        return sender_refused(why)
    about_mail = aiosmtplib.SMTPRecipientsRefused | aiosmtplib.SMTPDataError
    if isinstance(error, about_mail) and reply in _REFUSALS:
        return refused(why)
    return unreachable(why)
