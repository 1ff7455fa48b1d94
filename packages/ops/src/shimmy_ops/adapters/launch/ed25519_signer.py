"""The ``LaunchSigner`` port: Ed25519."""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shimmy_ops.errors import LaunchError


def fresh_key() -> str:
    """A private key, as it is kept: 64 hexadecimal digits."""
    return Ed25519PrivateKey.generate().private_bytes_raw().hex()


class Ed25519Signer:
    """``kept`` is what ``fresh_key`` made. Raises LaunchError where it is none."""

    def __init__(self, kept: str) -> None:
        try:
            self._key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(kept))
        except ValueError as error:
            raise LaunchError(
                "launch-key-damaged",
                "The launch's key is not one that we made.",
                hint="Bring launch-key back from where secrets are kept.",
            ) from error
        self._public = self._key.public_key()

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._public.public_bytes_raw()).hexdigest()[:32]

    def sign(self, content: bytes) -> str:
        return self._key.sign(content).hex()

    def verify(self, content: bytes, signature: str) -> bool:
        try:
            told = bytes.fromhex(signature)
            self._public.verify(told, content)
        except (ValueError, InvalidSignature):
            return False
        # One signature, one spelling: capitals would be another line with the same meaning.
        return told.hex() == signature
