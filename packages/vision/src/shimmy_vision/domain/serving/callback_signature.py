"""What proves that a callback comes from the server that knows the secret, and came just now."""

from __future__ import annotations

import hashlib
import hmac

HEADER = "Shimmy-Signature"
TOLERANCE = 300.0
# 12 digits of seconds last for 30,000 years.
_MOST_DIGITS = 12


def sign_callback(body: bytes, secret: str, moment: int) -> str:
    """The header's value, ``t=<unix seconds>,v1=<hex>``: an HMAC-SHA256 of ``t.body``."""
    return f"t={moment},v1={_mac(body, secret, str(moment))}"


def find_forgery(
    body: bytes, header: str, secret: str, now: float, tolerance: float = TOLERANCE
) -> str | None:
    """Why ``body``, exactly as it came, is not to be believed, as a sentence; None if it is.

    Several ``v1`` may stand in ``header`` while a secret is changed. ``now`` in Unix seconds; more
    than ``tolerance`` seconds away from it is refused, so that nobody can send it again later.
    """
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    given = [value for name, _, value in parts if name == "v1"]
    if len(times) != 1 or not _is_time(times[0]):
        return f"The {HEADER} header has no time."
    wanted = _mac(body, secret, times[0]).encode()
    # All of them, whichever fits: time tells nothing.
    if not sum(hmac.compare_digest(wanted, one.encode()) for one in given):
        return f"No signature in the {HEADER} header fits body and secret."
    if abs(now - int(times[0])) > tolerance:
        return f"The signature is more than {tolerance:g} seconds away from now."
    return None


def _is_time(text: str) -> bool:
    # isdigit alone would let other scripts' digits through.
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def _mac(body: bytes, secret: str, moment: str) -> str:
    return hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
