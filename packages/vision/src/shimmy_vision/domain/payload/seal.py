"""Is this manifest the maker's word?"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shimmy_vision.domain.payload.manifest import Mode

# How the native library of this installation is held: ``sealed`` by a signature of the pinned key,
# a ``development`` payload by digests that nobody signed, ``unsealed`` by nothing.
Seal: TypeAlias = Literal["sealed", "development", "unsealed"]
SealFault: TypeAlias = Literal["unsigned", "wrong-signature", "wrong-mode"]

# So that a signature of anything else made with the same key is none of a manifest.
_CONTEXT: Final = b"shimmy-vision payload manifest 1\n"


def signed_bytes(manifest: bytes) -> bytes:
    """What is signed for a manifest's canonical bytes."""
    return _CONTEXT + manifest


def judge_seal(
    manifest: bytes, mode: Mode, signature: bytes | None, public_key: str
) -> Seal | SealFault:
    """``public_key`` is 32 bytes in hex, or empty in a build that pins none.

    A build with a key takes nothing but what that key signed. One without cannot tell who signed
    what, and says so.
    """
    if not public_key:
        return "development"
    if signature is None:
        return "unsigned"
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
    try:
        key.verify(signature, signed_bytes(manifest))
    except InvalidSignature:
        return "wrong-signature"
    return "sealed" if mode == "release" else "wrong-mode"


def describe_seal(seal: Seal, version: int | None) -> str:
    """For people: ``doctor`` prints it."""
    match seal:
        case "sealed":
            return f"sealed payload {version}"
        case "development":
            return f"development payload {version}, unsigned"
        case "unsealed":
            return "unsealed development install"
