"""What never changes about the sandbox's account; published, so no secret."""

from __future__ import annotations

import secrets

API_VERSION = "2026-10-28.endive"
API_KEY = "sk_test_shimmySandboxNotASecret"
PUBLISHABLE_KEY = "pk_test_shimmySandboxNotASecret"
ACCOUNT_ID = "acct_shimmySandbox"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def random_text(length: int) -> str:
    """``length`` letters and digits nobody can guess."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def new_id(prefix: str) -> str:
    """A fresh object id such as ``cus_…``; checkout sessions carry Stripe's ``cs_test_``."""
    return f"{prefix}_{random_text(24)}"
