"""What Stripe lets the account do, and which ways to pay it shows."""

from __future__ import annotations

import stripe

from shimmy_ops.adapters.accounts.stripe_errors import stripe_errors
from shimmy_ops.domain.preflight.facts import Standing

_PAGE = 100


def read_standing(client: stripe.StripeClient) -> Standing:
    """Raises BillingError."""
    with stripe_errors():
        account = client.v1.accounts.retrieve_current().to_dict()
        return Standing(
            bool(account["charges_enabled"]),
            bool(account["payouts_enabled"]),
            bool(account["details_submitted"]),
        )


def read_methods(client: stripe.StripeClient) -> frozenset[str]:
    """Those that the account's default configuration offers. Raises BillingError."""
    with stripe_errors():
        listed = client.v1.payment_method_configurations.list({"limit": _PAGE})
        for found in listed.auto_paging_iter():
            one = found.to_dict()
            if one["is_default"] and one["active"] and not one.get("application"):
                return frozenset(
                    name
                    for name, method in one.items()
                    if isinstance(method, dict)
                    and method.get("available")
                    and (method.get("display_preference") or {}).get("value") == "on"
                )
        return frozenset()
