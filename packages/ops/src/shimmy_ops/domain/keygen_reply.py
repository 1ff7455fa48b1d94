"""What Keygen signs of a reply: four lines, and where the signature stands."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SIGNED = "(request-target) host date digest"
_HEX_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class SignedReply:
    """``headers`` have lower-case names; ``target`` is the raw path with its query.

    ``hosts``: what may have been signed as the host, with and without its port.
    """

    method: str
    target: str
    hosts: Sequence[str]
    headers: Mapping[str, str]
    body: bytes


def signed_messages(reply: SignedReply) -> tuple[bytes, ...]:
    """One of these was signed, if the reply is genuine; none where the body is another one."""
    date, digest = _header(reply, "date"), _header(reply, "digest")
    found = base64.b64encode(hashlib.sha256(reply.body).digest()).decode()
    if digest != f"sha-256={found}":
        return ()
    return tuple(
        f"(request-target): {reply.method.lower()} {reply.target}\n"
        f"host: {host}\ndate: {date}\ndigest: {digest}".encode()
        for host in reply.hosts
    )


def signature_of(reply: SignedReply) -> bytes:
    """Empty where there is none that we could verify."""
    # From the beginning of a word only: else a long one is read from each of its letters.
    parts = dict(re.findall(r'\b(\w+)="([^"]*)"', reply.headers.get("keygen-signature", "")))
    if parts.get("algorithm") != "ed25519" or parts.get("headers") != _SIGNED:
        return b""
    return _decoded(parts.get("signature", ""))


def public_key_of(account: Mapping[str, Any]) -> str:
    """64 hex digits; empty where the account's resource tells no such key.

    Keygen writes the key's hexadecimal digits as Base64; its 32 bytes are taken as well.
    """
    meta = account.get("meta")
    keys = meta.get("keys") if isinstance(meta, Mapping) else None
    told = keys.get("ed25519") if isinstance(keys, Mapping) else None
    if not isinstance(told, str):
        return ""
    read = _decoded(told)
    key = read.hex() if len(read) == 32 else read.decode("ascii", "replace").lower()
    return key if _HEX_KEY.fullmatch(key) else ""


def _header(reply: SignedReply, name: str) -> str:
    # Keygen's own copy first: proxies rewrite ``Date``.
    return reply.headers.get(f"keygen-{name}") or reply.headers.get(name, "")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
