"""Who verifies Ed25519 here: OpenSSL where ``cryptography`` is installed, else our own."""

from __future__ import annotations

from shimmy_store.domain.ed25519 import verify_ed25519
from shimmy_store.domain.keygen_signature import Verify


def ed25519_verifier() -> Verify:
    """The faster one of those that this host has.

    They accept the same under every key that settings let through; OpenSSL also takes keys that
    are written in another way than theirs.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return verify_ed25519

    def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify
