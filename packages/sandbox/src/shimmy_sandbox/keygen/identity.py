"""Who the sandbox licensor is: the same in every sandbox, so that clients may pin it.

``contracts/sandbox-licensor.json`` repeats account, product and public key for
the product's sandbox builds. Nothing here is a secret: everybody can read it,
and whatever the sandbox signs proves nothing but that a sandbox signed it.
"""

from __future__ import annotations

from typing import Final

ACCOUNT_ID: Final = "56e72fd8-1f0a-5437-bf22-1cebce5340eb"
ACCOUNT_SLUG: Final = "shimmy-sandbox"
PRODUCT_ID: Final = "06afcbe1-c09e-54ec-95cc-52f980e8a3ee"

ADMIN_ID: Final = "5e9a6c1e-6c0a-5b52-9f5b-0d5c1f0a7a11"
ADMIN_TOKEN: Final = "sandbox-admin-not-a-secret"  # noqa: S105 - published, worth nothing
