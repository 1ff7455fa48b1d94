"""Whether the store believes Stripe and nobody else, and what time they think it is."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from shimmy_ops.domain.preflight.checking import Check, Failed, Held, Verdict
from shimmy_ops.domain.preflight.facts import Deliveries

PROBE_TYPE = "shimmy.preflight.probe"
"""No type of Stripe's: the store keeps such an event, does nothing, and raises no alarm."""
_ACCEPTED = range(200, 300)
_REFUSED = (400, 401, 403)
_BEARABLE_SECONDS, _EXACT_SECONDS = 120, 5


def probe_event(now: datetime, *, livemode: bool) -> bytes:
    """One id a day: a second probe of the same day leaves nothing more in the ledger."""
    event: dict[str, Any] = {
        "id": f"evt_shimmypreflight{now:%Y%m%d}",
        "object": "event",
        "type": PROBE_TYPE,
        "created": int(now.timestamp()),
        "livemode": livemode,
        "data": {"object": {"object": "shimmy.probe"}},
    }
    return json.dumps(event).encode()


def _accepted(deliveries: Deliveries) -> Verdict:
    if deliveries.genuine in _ACCEPTED:
        return Held(f"An event signed with the kept secret is answered {deliveries.genuine}.")
    return Failed(f"An event signed with the kept secret is answered {deliveries.genuine}.")


def _refused(deliveries: Deliveries) -> Verdict:
    if deliveries.forged in _REFUSED:
        return Held(f"An event signed with another secret is answered {deliveries.forged}.")
    return Failed(f"An event signed with another secret is answered {deliveries.forged}.")


def _stripe_clock(seconds: float) -> Verdict:
    return _bearable("Stripe's", seconds)


def _store_clock(seconds: float) -> Verdict:
    return _bearable("The store's", seconds)


def _bearable(whose: str, seconds: float) -> Verdict:
    found = f"{whose} clock differs from this machine's by {abs(seconds):.0f} s."
    return Failed(found) if abs(seconds) > _BEARABLE_SECONDS else Held(found)


def _exact(stripe: float, store: float) -> Verdict:
    apart = max(abs(stripe), abs(store), abs(stripe - store))
    found = f"Stripe's, the store's and this machine's clock are within {apart:.1f} s."
    return Failed(found) if apart > _EXACT_SECONDS else Held(found)


_CLOCK = "timedatectl set-ntp true, on the machine whose clock is wrong."
DELIVERY_CHECKS = (
    Check(
        "webhook-accepts-genuine", "webhook", "error", "Store accepts what Stripe would sign",
        ("deliveries",), _accepted,
        "Start the store with the environment that shimmy-ops provision --write-env wrote.",
    ),
    Check(
        "webhook-refuses-forged", "webhook", "error", "Store refuses what somebody else signed",
        ("deliveries",), _refused,
        "webhook_url must be the store's own /stripe-webhook: whatever answers there believes all.",
    ),
    Check(
        "clock-stripe", "clock", "error", "This machine's clock is Stripe's",
        ("stripe_clock",), _stripe_clock, _CLOCK,
    ),
    Check(
        "clock-store", "clock", "error", "Store's clock is this machine's",
        ("store_clock",), _store_clock, _CLOCK,
    ),
    Check(
        "clocks-exact", "clock", "warning", "All clocks agree to within seconds",
        ("stripe_clock", "store_clock"), _exact, _CLOCK,
    ),
)  # fmt: skip
