"""Which account a token of Keygen's is of, and the key that signs what the account says."""

from __future__ import annotations

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shimmy_ops.adapters.accounts.keygen_wire import KeygenWire, keygen_shapes
from shimmy_ops.domain.keygen_reply import (
    SignedReply,
    public_key_of,
    signature_of,
    signed_messages,
)
from shimmy_ops.domain.preflight.facts import KeygenAccount


def read_keygen_account(wire: KeygenWire) -> KeygenAccount:
    """Raises LicensingError."""
    reply = wire.send("GET", "")
    with keygen_shapes():
        found = reply.json()["data"]
        key = public_key_of(found)
        slug = str(found["attributes"].get("slug") or "")
        return KeygenAccount(str(found["id"]), slug, key, signed=_signed(reply, key))


def _signed(reply: httpx.Response, key: str) -> bool:
    """Whether that key has signed the reply; a key of nobody has signed none."""
    url = reply.request.url
    hosts = [url.host, *([f"{url.host}:{url.port}"] if url.port is not None else [])]
    headers = {name.lower(): value for name, value in reply.headers.items()}
    target = url.raw_path.decode("ascii")
    told = SignedReply(reply.request.method, target, hosts, headers, reply.content)
    return any(_verify(key, message, signature_of(told)) for message in signed_messages(told))


def _verify(key: str, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
