"""The sandbox's signing key and the signature of every reply.

The private key is in this file for everybody to read: whatever it signs proves
nothing but that a sandbox said it. Sandbox builds of the product pin its public
half and say SANDBOX wherever they speak.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SANDBOX_SEED = hashlib.sha256(b"shimmy sandbox licence server, not for production").digest()
_ACCEPTED = re.compile(
    r'(?:keyid="(?P<keyid>[^"]+)")?(?:\s*,\s*)?algorithm="(?P<algorithm>[^"]+)"(?:\s*;\s*)?',
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key pair from a 32-byte seed."""

    seed: bytes = SANDBOX_SEED

    @property
    def public_hex(self) -> str:
        """The public key as 64 hex digits, as Keygen's dashboard shows it."""
        return self._private().public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature."""
        return self._private().sign(message)

    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What of a request is signed into its reply; ``target`` is the raw path with its query."""

    method: str
    target: str
    host: str


def unacceptable_signature(header: str | None, account: str) -> str | None:
    """Why a Keygen-Accept-Signature header cannot be honoured; None when it can.

    Keygen itself would sign with RSA and P-256 too; the sandbox has no such keys.
    """
    if not header:
        return None
    asked = _ACCEPTED.fullmatch(header)
    if asked is None:
        return "invalid accept-signature header (malformed)"
    if asked["algorithm"].lower() != "ed25519":
        return "invalid accept-signature header (unsupported algorithm)"
    if asked["keyid"] and asked["keyid"] != account:
        return "invalid accept-signature header (keyid not found)"
    return None


def signature_headers(
    key: SigningKey, account: str, exchange: Exchange, body: bytes, now: datetime
) -> dict[str, str]:
    """Date, Digest and signature headers of a reply with ``body``; the host without its port."""
    date = format_datetime(now, usegmt=True)
    digest = "sha-256=" + base64.b64encode(hashlib.sha256(body).digest()).decode()
    signed = "\n".join(
        (
            f"(request-target): {exchange.method.lower()} {exchange.target}",
            f"host: {re.sub(r':[0-9]*$', '', exchange.host)}",
            f"date: {date}",
            f"digest: {digest}",
        )
    )
    signature = base64.b64encode(key.sign(signed.encode("latin-1"))).decode()
    return {
        "Date": date,
        "Digest": digest,
        "Keygen-Date": date,
        "Keygen-Digest": digest,
        "Keygen-Signature": (
            f'keyid="{account}", algorithm="ed25519", signature="{signature}", '
            'headers="(request-target) host date digest"'
        ),
    }
