"""Did Stripe send these bytes, lately? Pure: no network, no re-serialisation, no clock of its own.

``Stripe-Signature`` is ``t=SECONDS,v1=HEX[,v1=HEX…]``: HMAC-SHA256 over ``SECONDS.BODY``. Any
``v1`` may match under any secret, since secrets overlap for a day when they are rotated.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

TOLERANCE = timedelta(seconds=300)
_MOST_SIGNATURES = 20

Verdict: TypeAlias = Literal[
    "genuine", "malformed", "wrong-signature", "too-old", "from-the-future"
]


def check_signature(body: bytes, header: str, secrets: Sequence[str], now: datetime) -> Verdict:
    """Every signature is compared under every secret, in constant time."""
    stamps = re.findall(r"(?:^|,)\s*t=([0-9]{1,12})(?=,|$)", header)
    signatures = re.findall(r"(?:^|,)\s*v1=([0-9a-f]{64})(?=,|$)", header)[:_MOST_SIGNATURES]
    if len(stamps) != 1 or not signatures:
        return "malformed"
    signed = stamps[0].encode() + b"." + body
    # Once a secret: nobody makes us read a long body for each signature that they wrote.
    ours = [_signature(signed, secret) for secret in secrets]
    matches = [hmac.compare_digest(one, other) for one in ours for other in signatures]
    if not any(matches):
        return "wrong-signature"
    age = now - datetime.fromtimestamp(int(stamps[0]), UTC)
    if age > TOLERANCE:
        return "too-old"
    # stripe-python accepts any future: a delivery captured and kept would stay good for ever.
    return "from-the-future" if age < -TOLERANCE else "genuine"


def _signature(signed: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
