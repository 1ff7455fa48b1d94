"""Did the licence server really say this, now, in answer to what was asked?

Keygen signs four lines of every reply with Ed25519: the request's method and target, the host, the
date and the body's digest. Replies of anything in between (a hotel's sign-in page, a proxy's 502)
carry no signature and so never pass for the server's word.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

DATE_TOLERANCE = timedelta(minutes=5)
_SIGNED = "(request-target) host date digest"

Fault: TypeAlias = Literal["unsigned", "wrong-digest", "wrong-signature", "wrong-date"]


@dataclass(frozen=True, slots=True)
class Asked:
    """The request as it went out; ``target`` is the raw path with its query."""

    method: str
    target: str
    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Genuine:
    """The server said it at ``date``, to the second."""

    date: datetime


@dataclass(frozen=True, slots=True)
class NotGenuine:
    """``skew`` is how far this clock is ahead of the server's, where only the date is wrong."""

    fault: Fault
    skew: timedelta | None = None


def check_reply(
    asked: Asked, headers: Mapping[str, str], body: bytes, public_key: str, now: datetime
) -> Genuine | NotGenuine:
    """Check a reply; ``headers`` have lower-case names, ``public_key`` is hex."""
    date, digest = _header(headers, "date"), _header(headers, "digest")
    signature = _signature(headers.get("keygen-signature", ""))
    if not date or not digest or signature is None:
        return NotGenuine("unsigned")
    if digest != "sha-256=" + base64.b64encode(hashlib.sha256(body).digest()).decode():
        return NotGenuine("wrong-digest")
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
    messages = (_message(asked, host, date, digest) for host in _hosts(asked))
    if not any(_verifies(key, signature, message) for message in messages):
        return NotGenuine("wrong-signature")
    said = _moment(date)
    if said is None:
        return NotGenuine("wrong-date")
    if abs(now - said) > DATE_TOLERANCE:
        return NotGenuine("wrong-date", now - said)
    return Genuine(said)


def _header(headers: Mapping[str, str], name: str) -> str:
    """Keygen's own copy first: proxies rewrite ``Date``."""
    return headers.get(f"keygen-{name}") or headers.get(name, "")


def _signature(header: str) -> bytes | None:
    # From the beginning of a word only: else a long one is read from each of its letters.
    parts = dict(re.findall(r'\b(\w+)="([^"]*)"', header))
    if parts.get("algorithm") != "ed25519" or parts.get("headers") != _SIGNED:
        return None
    try:
        return base64.b64decode(parts.get("signature", ""), validate=True)
    except ValueError:  # Malformed, or not even ASCII.
        return None


def _hosts(asked: Asked) -> Iterator[str]:
    # Keygen signs the bare host; a self-hosted one behind another port may sign it with its port.
    host = f"[{asked.host}]" if ":" in asked.host else asked.host
    yield host
    if asked.port is not None:
        yield f"{host}:{asked.port}"


def _message(asked: Asked, host: str, date: str, digest: str) -> bytes:
    lines = (
        f"(request-target): {asked.method.lower()} {asked.target}",
        f"host: {host}",
        f"date: {date}",
        f"digest: {digest}",
    )
    # Half a surrogate pair has no bytes in UTF-8, and must not end in an exception.
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _verifies(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _moment(date: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(date)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):  # Not a date, or one beyond the calendar.
        return None
