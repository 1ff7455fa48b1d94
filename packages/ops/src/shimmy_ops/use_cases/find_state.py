"""What is at Stripe, at Keygen and in the safe."""

from __future__ import annotations

from shimmy_ops.domain.steps import Found, secret_name
from shimmy_ops.domain.wanted import Desired
from shimmy_ops.ports.billing import Billing
from shimmy_ops.ports.licensing import Licensing
from shimmy_ops.ports.safe import Safe


def find_state(desired: Desired, billing: Billing, licensing: Licensing, safe: Safe) -> Found:
    """Reads, and changes nothing. Raises OpsError."""
    at_keygen = licensing.read(desired.profile.keygen_product)
    at_stripe = billing.read([plan.id for plan in desired.offer.plans])
    names = [secret_name("endpoint", one["id"]) for one in at_stripe.endpoints]
    names += [secret_name("token", one["id"]) for one in at_keygen.tokens]
    return Found(at_stripe, at_keygen, safe.held(names))
