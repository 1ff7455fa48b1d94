"""How everything should be at Stripe and Keygen: from the catalog and the profile, and pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shimmy_ops.domain.contracts import Offer, Plan
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.steps import MARK, PriceOf

PRODUCT_NAME, PRODUCT_CODE, TOKEN_NAME = "Shimmy Vision", "shimmy-vision", "shimmy-store"
OFFLINE_GRACE_HOURS = 24
TOKEN_PERMISSIONS = (
    "license.create",
    "license.policy.update",
    "license.read",
    "license.reinstate",
    "license.suspend",
    "license.update",
    "license.usage.reset",
    "license.validate",
    "machine.delete",
    "machine.read",
)
"""All that the store asks of Keygen."""
_REASONS = (
    "customer_service",
    "low_quality",
    "missing_features",
    "other",
    "switched_service",
    "too_complex",
    "too_expensive",
    "unused",
)


@dataclass(frozen=True, slots=True)
class Desired:
    """What is sold, and by which set-up."""

    offer: Offer
    profile: Profile


def wanted_product(plan: Plan) -> dict[str, Any]:
    """A plan's product at Stripe, whose id is the plan's."""
    name = f"{PRODUCT_NAME} {plan.name}"
    return {"name": name, "active": True, "metadata": {"plan": plan.id, "shimmy": MARK}}


def price_terms(plan: Plan, currency: str) -> dict[str, Any]:
    """What never changes of a price; another amount is another price."""
    cycle = {"interval": "month", "interval_count": 1} if plan.monthly else None
    return {
        "product": plan.id,
        "currency": currency,
        "unit_amount": plan.unit_amount,
        "recurring": cycle,
    }


def wanted_price(plan: Plan) -> dict[str, Any]:
    """What may be changed of the price that is sold."""
    return {"active": True, "metadata": {"plan": plan.id, "shimmy": MARK}}


def wanted_portal(desired: Desired, prices: Mapping[str, str | PriceOf]) -> dict[str, Any]:
    """What customers may do in the portal; ``prices`` are those of the plans."""
    profile = desired.profile
    texts = {
        "headline": profile.portal_headline,
        "privacy_policy_url": profile.privacy_url,
        "terms_of_service_url": profile.terms_url,
    }
    monthly = [plan.id for plan in desired.offer.plans if plan.monthly]
    return {
        "active": True,
        "default_return_url": profile.return_url,
        "metadata": {"shimmy": MARK},
        "business_profile": {name: text for name, text in texts.items() if text},
        "features": {
            "customer_update": {"enabled": True, "allowed_updates": ["email", "name", "address"]},
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True},
            "subscription_cancel": {
                "enabled": True,
                "mode": "at_period_end",
                "proration_behavior": "none",
                "cancellation_reason": {"enabled": True, "options": list(_REASONS)},
            },
            "subscription_update": {
                "enabled": True,
                "default_allowed_updates": ["price"],
                # More is paid for at once; less begins when what was paid for is used up.
                "proration_behavior": "always_invoice",
                "schedule_at_period_end": {"conditions": [{"type": "decreasing_item_amount"}]},
                "products": [{"product": one, "prices": [prices[one]]} for one in monthly],
            },
        },
    }


def wanted_endpoint(desired: Desired) -> dict[str, Any]:
    """Where events go, and which."""
    return {
        "url": desired.profile.webhook_url,
        "enabled_events": list(desired.offer.events),
        "status": "enabled",
        "metadata": {"shimmy": MARK},
    }


def wanted_licence_product() -> dict[str, Any]:
    """Keygen's product, found again by its code."""
    return {"name": PRODUCT_NAME, "code": PRODUCT_CODE}


def wanted_entitlement(code: str) -> dict[str, Any]:
    """An entitlement, found again by its code."""
    return {"name": code.title(), "code": code}


def wanted_policy(plan: Plan) -> dict[str, Any]:
    """A plan's policy. ``expiry`` is set on each licence, not by a duration.

    No scheme: keys stay short enough to be typed, and everything that is proved offline (machine
    files) is signed with Ed25519 by Keygen whatever the scheme. It can never be changed.
    """
    return {
        "name": plan.name,
        "authenticationStrategy": "MIXED",
        "expirationStrategy": "RESTRICT_ACCESS",
        "machineUniquenessStrategy": "UNIQUE_PER_LICENSE",
        "floating": plan.machines != 1,
        "maxMachines": plan.machines,
        "strict": True,
        "maxUses": plan.pages_per_month,
        "duration": None,
        "overageStrategy": "NO_OVERAGE",
        "transferStrategy": "KEEP_EXPIRY",
        "metadata": {
            "plan": plan.id,
            "interval": "month" if plan.monthly else "once",
            "offlineGraceHours": OFFLINE_GRACE_HOURS,
        },
    }


def wanted_token(profile: Profile) -> dict[str, Any]:
    """The store's token: a product's, which may nothing outside it; single rights where sold."""
    if not profile.keygen_permissions:
        return {"name": TOKEN_NAME}
    return {"name": TOKEN_NAME, "permissions": list(TOKEN_PERMISSIONS)}
