"""Who is asking: tokens and licence keys."""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import re
import secrets
import uuid
from datetime import datetime

from shimmy_sandbox.keygen.call import Bearer
from shimmy_sandbox.keygen.database import Database
from shimmy_sandbox.keygen.wire import WireError, read_time, refusal

UNAUTHENTICATED = "You must be authenticated to complete the request"
_LICENCE_WITH_POLICY = (
    "SELECT licences.*, policies.settings FROM licences "
    "JOIN policies ON policies.id = policy_id WHERE {} = ?"
)
# What Keygen's own tokens look like: the bearer's role, hex digits, the version of the scheme.
_REAL_TOKEN = re.compile(
    r"(?:admin|dev|sales|spprt|read|env|prod|user|activ|token)-[0-9a-f]{16,}v[23]"
)
_REFUSED_AS_REAL = (
    "THIS IS A SANDBOX, NOT KEYGEN: the credential looks like a real Keygen token. "
    "It was neither used nor kept. Take it out of this configuration, "
    "and revoke it if this is not where it belongs."
)
_log = logging.getLogger(__name__)


def new_token(kind: str) -> str:
    """A fresh token; its first word tells it from Keygen's own."""
    return f"sandbox-{kind}-{secrets.token_hex(32)}v3"


def token_digest(token: str) -> str:
    """How a token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


def identify(database: Database, header: str | None, now: datetime) -> Bearer:
    """The bearer an Authorization header names; anonymous without one, 401 or 403 for a bad one."""
    scheme, _, credential = (header or "").partition(" ")
    credential = credential.strip()
    match scheme.lower():
        case "bearer" | "token":
            return _by_token(database, credential, now)
        case "license":
            return _by_key(database, credential, now)
        case "basic":
            return _by_basic(database, credential, now)
        case _:
            return Bearer("anonymous")


def _by_basic(database: Database, credential: str, now: datetime) -> Bearer:
    try:
        name, _, secret = base64.b64decode(credential, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _invalid("TOKEN_INVALID") from None
    if name == "license":
        return _by_key(database, secret, now)
    return _by_token(database, secret if name == "token" else name, now)


def _by_token(database: Database, token: str, now: datetime) -> Bearer:
    if not token:
        return Bearer("anonymous")
    if _REAL_TOKEN.fullmatch(token):
        _log.warning(_REFUSED_AS_REAL)
        raise refusal(401, _REFUSED_AS_REAL, "TOKEN_INVALID")
    if _is_uuid(token):
        raise refusal(
            401,
            "Token format is invalid (this is a token's id, give the token itself)",
            "TOKEN_FORMAT_INVALID",
        )
    row = database.one("SELECT * FROM tokens WHERE digest = ?", token_digest(token))
    if row is None:
        raise _invalid("TOKEN_INVALID")
    if row["expiry"] and read_time(row["expiry"]) < now:
        raise refusal(401, "Token is expired", "TOKEN_EXPIRED")
    if row["kind"] == "license":
        sql = _LICENCE_WITH_POLICY.format("licences.id")
        licence = database.one(sql, row["bearer_id"])
        if licence is None:
            raise _invalid("TOKEN_INVALID")
        # Unlike a key, a licence's token still works while the licence is suspended.
        if licence["settings"]["authenticationStrategy"] not in ("TOKEN", "MIXED"):
            detail = "Token authentication is not allowed by policy"
            raise refusal(403, detail, "TOKEN_NOT_ALLOWED")
    if row["kind"] == "product" and database.by_id("products", row["bearer_id"]) is None:
        raise _invalid("TOKEN_INVALID")
    return Bearer(row["kind"], row["bearer_id"], row)


def _by_key(database: Database, key: str, now: datetime) -> Bearer:
    if not key:
        return Bearer("anonymous")
    licence = database.one(_LICENCE_WITH_POLICY.format("licences.key"), key)
    if licence is None:
        raise _invalid("LICENSE_INVALID")
    settings = licence["settings"]
    if licence["suspended"]:
        raise refusal(403, "License is suspended", "LICENSE_SUSPENDED")
    expired = licence["expiry"] and read_time(licence["expiry"]) < now
    if expired and settings["expirationStrategy"] == "REVOKE_ACCESS":
        raise refusal(403, "License is expired", "LICENSE_EXPIRED")
    if settings["authenticationStrategy"] not in ("LICENSE", "MIXED"):
        detail = "License key authentication is not allowed by policy"
        raise refusal(403, detail, "LICENSE_NOT_ALLOWED")
    return Bearer("license", licence["id"])


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _invalid(code: str) -> WireError:
    return refusal(401, UNAUTHENTICATED, code)
