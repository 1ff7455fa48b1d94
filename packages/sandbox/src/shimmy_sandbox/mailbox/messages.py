"""Messages as the mailbox keeps them: in memory, in the order in which they came."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email import message_from_bytes, policy
from email.errors import MessageError
from email.message import EmailMessage
from typing import Any, Final, Literal, TypeAlias

Door: TypeAlias = Literal["smtp", "api"]

UNREADABLE: Final = (AttributeError, LookupError, MessageError, ValueError)
"""What the email package raises at headers, bodies and character sets it cannot make sense of."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message; ``sender`` and ``recipients`` are the envelope's bare addresses.

    ``headers`` are decoded and have the names as they were written; a name that came
    several times has its values joined by a comma.
    """

    id: str
    door: Door
    sender: str
    recipients: Sequence[str]
    subject: str
    text: str | None
    html: str | None
    headers: Mapping[str, str]
    received: datetime
    raw: bytes
    idempotency_key: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def is_to(self, address: str) -> bool:
        """Whether ``address`` is a recipient; letter case does not matter."""
        return address.lower() in (one.lower() for one in self.recipients)

    def shown(self) -> dict[str, Any]:
        """The message as JSON, without its raw bytes."""
        return {
            "id": self.id,
            "door": self.door,
            "from": self.sender,
            "to": list(self.recipients),
            "subject": self.subject,
            "text": self.text,
            "html": self.html,
            "headers": dict(self.headers),
            "tags": dict(self.tags),
            "idempotency_key": self.idempotency_key,
            "received": self.received.isoformat(),
        }


@dataclass(slots=True)
class Mailbox:
    """All messages; two servers in two threads put them in."""

    _messages: list[Message] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, message: Message) -> None:
        """Add ``message`` as the newest."""
        with self._lock:
            self._messages.append(message)

    def sent_to(self, address: str = "") -> Sequence[Message]:
        """What has ``address`` as a recipient, oldest first; everything when it is empty."""
        with self._lock:
            return [one for one in self._messages if not address or one.is_to(address)]

    def get(self, identifier: str) -> Message | None:
        """The message with this id."""
        with self._lock:
            return next((one for one in self._messages if one.id == identifier), None)

    def clear(self) -> None:
        """Forget every message."""
        with self._lock:
            self._messages.clear()


def headers_of(mail: EmailMessage) -> dict[str, str]:
    """The decoded headers, one text a name."""
    found: dict[str, str] = {}
    for name, value in mail.items():
        known = next((one for one in found if one.lower() == name.lower()), None)
        if known is None:
            found[name] = str(value)
        else:
            found[known] += f", {value}"
    return found


def read_mail(raw: bytes, sender: str, recipients: Sequence[str], received: datetime) -> Message:
    """A message as it came by SMTP; raises one of ``UNREADABLE`` for what is no message."""
    mail = message_from_bytes(raw, policy=policy.default)
    return Message(
        id=str(uuid.uuid4()),
        door="smtp",
        sender=sender,
        recipients=tuple(recipients),
        subject=str(mail.get("Subject", "")),
        text=_part(mail, "plain"),
        html=_part(mail, "html"),
        headers=headers_of(mail),
        received=received,
        raw=raw,
    )


def _part(mail: EmailMessage, kind: Literal["plain", "html"]) -> str | None:
    part = mail.get_body((kind,))
    if part is None:
        return None
    # On the wire every line ends with CRLF, which nobody wrote.
    return str(part.get_content()).replace("\r\n", "\n")
