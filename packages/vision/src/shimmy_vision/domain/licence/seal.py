"""Seals on what is kept between runs: a record that was altered by hand or by a disk is refused.

The key comes from the licence key and the fingerprint, so a record copied from another machine or
licence does not open either. Whoever can run this program can compute it too: this is integrity
against accidents and editors, not secrecy from the machine's owner.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence


def seal_key(licence_key: str, fingerprint: str) -> bytes:
    """32 bytes."""
    return hmac.new(fingerprint.encode(), licence_key.encode(), hashlib.sha256).digest()


def seal(key: bytes, kind: str, fields: Sequence[object]) -> str:
    """The seal of a record of ``kind``; fields are text, integers or None, in order."""
    message = json.dumps([kind, *fields], separators=(",", ":")).encode()
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def holds(key: bytes, kind: str, fields: Sequence[object], found: object) -> bool:
    """Whether ``found`` is the seal of these fields."""
    if not isinstance(found, str) or not found.isascii():
        return False
    return hmac.compare_digest(seal(key, kind, fields), found)


def licence_name(licence_key: str, account: str, fingerprint: str) -> str:
    """What a licence on this machine is called in the state: not its key, which may not be kept.

    With the fingerprint, so that a state that came along to another machine holds nothing there.
    """
    message = f"{account}/{fingerprint}".encode()
    return hmac.new(licence_key.encode(), message, hashlib.sha256).hexdigest()[:32]
