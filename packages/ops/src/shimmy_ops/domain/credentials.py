"""Keys and tokens: which belong to a profile, what looks like one, and how one is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from shimmy_ops.errors import ProfileError

STRIPE_KEY, KEYGEN_TOKEN = "stripe-key", "keygen-token"
MAIL, ALERT_WEBHOOK = "mail", "alert-webhook"
CREDENTIALS = (STRIPE_KEY, KEYGEN_TOKEN, MAIL, ALERT_WEBHOOK)
"""A secret or restricted key and an admin's token, which provisioning needs; where alerts go:
a mail server (``smtp://user:password@host:587`` or ``smtps://…``) and an address that is posted to.
"""
OPERATOR_TOKEN, METRICS_TOKEN, STORE_SECRET = "operator-token", "metrics-token", "store-secret"
"""Made by us, kept where made secrets are kept, and told to the store."""

_MODES: Mapping[str, str] = {"sandbox": "test", "test": "test", "live": "live"}
_SECRETS = re.compile(
    r"(?:sk|rk|pk)_(?:live|test)_\w+"
    r"|whsec_\w+"
    r"|\bre_\w{16,}"
    r"|(?:admin|dev|sales|spprt|read|env|prod|user|activ|token)-[0-9a-f]{16,}"
    r"|\bkey/[\w-]{16,}"
    r"|-----BEGIN"
    r"|//[^/@\s]*:[^/@\s]+@"
)
_SECRET_NAMES = re.compile(r"(?:^|_)(?:secret|token|password|passphrase|key|credential)s?$")
_PUBLIC_PREFIX = re.compile(r"(?:sk|rk)_(?:live|test)_|whsec_|[a-z]+(?:-[a-z]+)?-(?=[0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class GivenSecret:
    """What the environment says of one; ``variable`` was looked for, ``file`` goes first."""

    variable: str
    value: str = field(repr=False, default="")
    file: str = ""


def check_credential(profile: str, name: str, value: str) -> None:
    """Raises ProfileError for a key that is none, or of a mode that is not the profile's."""
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ProfileError("credential-malformed", f"The {name} is not one word of plain letters.")
    if name != STRIPE_KEY:
        return
    mode = _MODES[profile]
    if re.match(rf"(?:sk|rk)_{mode}_\w", value):
        return
    found = re.match(r"(?:sk|rk|pk)_(?:live|test)_", value)
    what = f"begins with {found[0]}" if found else "is no key of Stripe's"
    raise ProfileError(
        "credential-of-other-mode",
        f"The {name} of profile {profile} {what}; a key of {mode} mode is needed here.",
        hint=f"It begins with sk_{mode}_ or rk_{mode}_. It was not used.",
    )


def looks_secret(name: str, value: object) -> bool:
    """Whether a setting of this name and value is, or may be, something that nobody should read."""
    if _SECRET_NAMES.search(name):
        return True
    return isinstance(value, str) and _SECRETS.search(value) is not None


def mask(value: str) -> str:
    """What may be shown: a prefix that everybody's has, and the length."""
    prefix = _PUBLIC_PREFIX.match(value)
    return f"{prefix[0] if prefix else ''}… ({len(value)} characters)"
