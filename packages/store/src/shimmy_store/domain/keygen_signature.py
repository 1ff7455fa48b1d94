"""Did Keygen really say this, now, in answer to what was asked?

Keygen signs four lines of every reply with Ed25519: the request's method and target, the host, the
date and the body's digest. What anything in between answers carries no signature of the account.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal, TypeAlias

DATE_TOLERANCE = timedelta(minutes=5)
_SIGNED = "(request-target) host date digest"

Fault: TypeAlias = Literal["unsigned", "wrong-digest", "wrong-signature", "wrong-date"]
Verify: TypeAlias = Callable[[bytes, bytes, bytes], bool]
"""Public key, message, signature: whether they belong together."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The request as it went out; ``target`` is the raw path with its query."""

    method: str
    target: str
    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Replied:
    """What came; ``headers`` have lower-case names, ``body`` is as it was sent."""

    headers: Mapping[str, str]
    body: bytes


def check_reply(
    asked: Asked, reply: Replied, public_key: bytes, verify: Verify, now: datetime
) -> Fault | None:
    """What is wrong with a reply; None: it is genuine."""
    date, digest = _header(reply, "date"), _header(reply, "digest")
    signature = _signature(reply.headers.get("keygen-signature", ""))
    if not date or not digest or signature is None:
        return "unsigned"
    if digest != "sha-256=" + base64.b64encode(hashlib.sha256(reply.body).digest()).decode():
        return "wrong-digest"
    messages = (_message(asked, host, date, digest) for host in _hosts(asked))
    if not any(verify(public_key, message, signature) for message in messages):
        return "wrong-signature"
    said = _moment(date)
    if said is None or abs(now - said) > DATE_TOLERANCE:
        return "wrong-date"
    return None


def _header(reply: Replied, name: str) -> str:
    """Keygen's own copy first: proxies rewrite ``Date``."""
    return reply.headers.get(f"keygen-{name}") or reply.headers.get(name, "")


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


def _moment(date: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(date)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):  # Not a date, or one beyond the calendar.
        return None
