"""The ``Mailer`` port by a mail API over HTTPS: Resend's, or one that speaks like it."""

from __future__ import annotations

import asyncio
import hashlib

import httpx

from shimmy_store.adapters.mail_errors import (
    deferred,
    failing,
    login_refused,
    read_recipient,
    read_sender,
    refused,
    sender_refused,
    unreachable,
)
from shimmy_store.errors import MailError
from shimmy_store.ports.mail import Mail

_SECONDS = 10.0
_LONGEST_KEY = 256
_HASHED = "sha256/"
# A key that was used for another body: of this mail, as it was written before, and taken.
_TAKEN_BEFORE = "invalid_idempotent_request"


class ResendMailer:
    """See ``ports.mail``. ``client`` knows the API's address and authenticates.

    Raises SettingsError for a sender that is no address.
    """

    def __init__(
        self, client: httpx.AsyncClient, sender: str, *, seconds: float = _SECONDS
    ) -> None:
        self._client = client
        self._sender = str(read_sender(sender))
        self._seconds = seconds

    async def send(self, mail: Mail) -> None:
        read_recipient(mail)
        body = {
            "from": self._sender,
            "to": [mail.to],
            "subject": mail.written.subject,
            "text": mail.written.text,
            "html": mail.written.html,
            "headers": {"Auto-Submitted": "auto-generated"},
        }
        try:
            # The client's own limits are for each part of a reply; this one is for all of it.
            async with asyncio.timeout(self._seconds):
                reply = await self._client.post(
                    "/emails",
                    json=body,
                    headers={"Idempotency-Key": _short(mail.key)},
                    timeout=self._seconds,
                    follow_redirects=False,
                )
        except (httpx.HTTPError, TimeoutError) as error:
            raise unreachable(type(error).__name__) from error
        problem = _problem(reply)
        if problem is not None:
            raise problem


def _short(key: str) -> str:
    """What may stand in the header, and different for different keys."""
    plain = len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable() and key.strip() == key
    if plain and key and not key.startswith(_HASHED):
        return key
    return _HASHED + hashlib.sha256(key.encode()).hexdigest()


def _problem(reply: httpx.Response) -> MailError | None:
    """What the reply means; None: the mail was taken, now or before."""
    named = _field(reply, "name")
    why = f"status {reply.status_code}"
    match reply.status_code:
        case httpx.codes.OK | httpx.codes.CREATED | httpx.codes.ACCEPTED:
            return None if _field(reply, "id") else unreachable("its reply names no mail")
        case httpx.codes.CONFLICT:
            return None if named == _TAKEN_BEFORE else deferred(why)
        case httpx.codes.UNAUTHORIZED | httpx.codes.FORBIDDEN:
            return login_refused(why)
        case httpx.codes.UNPROCESSABLE_ENTITY if named == "invalid_from_address":
            return sender_refused(why)
        case httpx.codes.UNPROCESSABLE_ENTITY | httpx.codes.BAD_REQUEST:
            return refused(why)
        case httpx.codes.TOO_MANY_REQUESTS:
            return deferred(why)
        case _:
            return failing(why) if reply.is_server_error else unreachable(why)


def _field(reply: httpx.Response, name: str) -> str:
    try:
        read = reply.json()
    except ValueError:
        return ""
    value = read.get(name) if isinstance(read, dict) else None
    return value if isinstance(value, str) else ""
