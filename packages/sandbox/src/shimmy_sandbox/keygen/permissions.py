"""What each bearer may do, by Keygen's own names and defaults.

A licence may less than one thinks: by default it may not read its own policy,
product or owner, nor include them in a file it checks out.
"""

from __future__ import annotations

from shimmy_sandbox.keygen.authentication import UNAUTHENTICATED
from shimmy_sandbox.keygen.call import Call
from shimmy_sandbox.keygen.wire import WireError, refusal

_LICENCE_MAY = frozenset(
    {
        "entitlement.read",
        "license.check-in",
        "license.check-out",
        "license.read",
        "license.usage.increment",
        "license.validate",
        "machine.check-out",
        "machine.create",
        "machine.delete",
        "machine.heartbeat.ping",
        "machine.read",
        "machine.update",
        "token.read",
        "token.revoke",
    }
)
GRANTABLE = _LICENCE_MAY | {
    "license.create",
    "license.delete",
    "license.entitlements.attach",
    "license.entitlements.detach",
    "license.owner.update",
    "license.policy.update",
    "license.reinstate",
    "license.renew",
    "license.revoke",
    "license.suspend",
    "license.tokens.generate",
    "license.update",
    "license.usage.decrement",
    "license.usage.reset",
    "machine.heartbeat.reset",
    "policy.create",
    "policy.delete",
    "policy.entitlements.attach",
    "policy.entitlements.detach",
    "policy.read",
    "policy.update",
    "product.read",
    "product.update",
    "user.create",
    "user.delete",
    "user.read",
    "user.update",
}
"""What a product's token can be given by name; without names it has all of it."""
_PRODUCT_MAY_NOT = frozenset(
    {
        "entitlement.create",
        "entitlement.delete",
        "entitlement.update",
        "product.create",
        "product.delete",
        "product.tokens.generate",
    }
)


def require(call: Call, *actions: str) -> None:
    """401 for nobody, 403 for a bearer who lacks one of ``actions``."""
    role = call.bearer.role
    if role == "anonymous":
        raise refusal(401, UNAUTHENTICATED, "TOKEN_MISSING")
    granted = (call.bearer.token or {}).get("permissions")
    for action in actions:
        if role == "license" and action not in _LICENCE_MAY:
            raise denied("license lacks permission to perform action")
        if role == "product" and action in _PRODUCT_MAY_NOT:
            raise denied("product lacks permission to perform action")
        if granted is not None and action not in granted:
            raise denied("token lacks permission to perform action")


def refuse_licences(call: Call) -> None:
    """403 for a licence: some lists are closed to it, whatever its permissions."""
    if call.bearer.role == "license":
        raise denied()


def require_product(call: Call, product_id: str) -> None:
    """403 for a product that is not the one concerned."""
    if call.bearer.role == "product" and call.bearer.id != product_id:
        raise denied()


def denied(
    reason: str = "ensure the token or license is allowed to access all resources",
) -> WireError:
    """403 as Keygen words it."""
    return refusal(403, f"You do not have permission to complete the request ({reason})")
