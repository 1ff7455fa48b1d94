"""Licence files and machine files: a JSON document, encrypted if asked, signed, armoured."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shimmy_sandbox.keygen.signing import SigningKey

Prefix: TypeAlias = Literal["license", "machine"]
_COLUMNS = 60


@dataclass(frozen=True, slots=True)
class Armour:
    """How a file is sealed; ``secret`` encrypts it, None leaves it readable."""

    prefix: Prefix
    algorithm: str
    secret: str | None


def write_certificate(document: dict[str, Any], armour: Armour, key: SigningKey) -> str:
    """The file's text, final newline included."""
    payload = json.dumps(document, separators=(",", ":")).encode()
    enc = _b64(payload) if armour.secret is None else _encrypted(payload, armour.secret)
    signature = _b64(key.sign(f"{armour.prefix}/{enc}".encode()))
    sealed = json.dumps({"enc": enc, "sig": signature, "alg": armour.algorithm})
    text = _b64(sealed.encode())
    lines = [text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS)]
    name = f"{armour.prefix.upper()} FILE"
    return "\n".join((f"-----BEGIN {name}-----", *lines, f"-----END {name}-----", ""))


def _encrypted(payload: bytes, secret: str) -> str:
    nonce = secrets.token_bytes(12)
    sealed = AESGCM(hashlib.sha256(secret.encode()).digest()).encrypt(nonce, payload, None)
    return ".".join(_b64(part) for part in (sealed[:-16], nonce, sealed[-16:]))


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
