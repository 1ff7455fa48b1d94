"""Idempotency keys: the same answer for the same request during a day."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shimmy_sandbox.stripe_api.store import Store
from shimmy_sandbox.stripe_api.wire import RefusalError, invalid

KEPT_SECONDS = 24 * 3600
_LONGEST = 255


@dataclass(frozen=True, slots=True)
class KeptReply:
    """What a key's first request was answered."""

    status: int
    body: Mapping[str, Any]
    request: str


@dataclass(slots=True)
class IdempotencyKeys:
    """Keys in use at this moment and those remembered in the store."""

    store: Store
    in_use: set[str] = field(default_factory=set)

    def claim(self, key: str) -> None:
        """``key`` is being used from now on; 409 when it is already."""
        if len(key) > _LONGEST:
            raise invalid(f"Idempotency keys may have at most {_LONGEST} characters")
        if key in self.in_use:
            message = (
                "There is currently another in-progress request using this Idempotent Key (that "
                "probably means you submitted twice, and the other request is still going "
                f"through): {key}. Please try again later."
            )
            kind = "idempotency_error"
            raise RefusalError.of(409, kind, message, code="idempotency_key_in_use")
        self.in_use.add(key)

    def release(self, key: str) -> None:
        """``key`` is used no longer."""
        self.in_use.discard(key)

    def kept(self, key: str, fingerprint: str, now: int) -> KeptReply | None:
        """The reply remembered for ``key``; 400 when it was used for another request."""
        oldest = now - KEPT_SECONDS
        self.store.execute("DELETE FROM replies WHERE created <= ?", oldest)
        found = self.store.rows("SELECT * FROM replies WHERE key = ?", key)
        if not found:
            return None
        if found[0]["fingerprint"] != fingerprint:
            message = (
                "Keys for idempotent requests can only be used with the same parameters they were "
                f"first used with. Try using a key other than '{key}' if you meant to execute a "
                "different request."
            )
            raise RefusalError.of(400, "idempotency_error", message)
        return KeptReply(found[0]["status"], json.loads(found[0]["body"]), found[0]["request"])

    def keep(self, key: str, fingerprint: str, reply: KeptReply, now: int) -> None:
        """Remember ``reply`` for ``key``."""
        self.store.execute(
            "INSERT INTO replies (key, fingerprint, status, body, request, created) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            key,
            fingerprint,
            reply.status,
            json.dumps(reply.body),
            reply.request,
            now,
        )


def fingerprint_of(method: str, path: str, body: bytes) -> str:
    """What must be the same when a key is used again."""
    return hashlib.sha256(b"\n".join((method.encode(), path.encode(), body))).hexdigest()
