"""Whether customers can pay, manage what they bought, and whether the store hears of it."""

from __future__ import annotations

from shimmy_ops.domain.billing_steps import our_portals
from shimmy_ops.domain.drift import drift
from shimmy_ops.domain.preflight.checking import Check, Failed, Held, Verdict, listed
from shimmy_ops.domain.steps import MARK, BillingFound, Object
from shimmy_ops.domain.wanted import Desired, wanted_endpoint, wanted_portal

_PROVISION = "shimmy-ops provision --profile PROFILE --apply"
_METHODS = "Stripe's dashboard, Settings, Payment methods: switch on what is named."


def _once_methods(desired: Desired, methods: frozenset[str]) -> Verdict:
    return _methods(desired, methods, monthly=False)


def _monthly_methods(desired: Desired, methods: frozenset[str]) -> Verdict:
    return _methods(desired, methods, monthly=True)


def _methods(desired: Desired, methods: frozenset[str], *, monthly: bool) -> Verdict:
    sold = [plan for plan in desired.offer.plans if plan.monthly is monthly]
    wanted = sorted({one for plan in sold for one in plan.payment_methods})
    missing = [one for one in wanted if one not in methods]
    if missing:
        return Failed(f"Not switched on at Stripe: {listed(missing)}.")
    return Held(f"Switched on at Stripe: {listed(wanted)}.")


def _portal_active(billing: BillingFound) -> Verdict:
    active = [one for one in our_portals(billing) if one["active"]]
    if len(active) != 1:
        return Failed(f"{len(active)} of our portal configurations are active, and not one.")
    return Held("One portal configuration of ours is active.")


def _portal_features(desired: Desired, billing: BillingFound) -> Verdict:
    found = our_portals(billing)
    if not found:
        return Failed("There is no portal configuration of ours.")
    prices = {
        plan.id: next((p["id"] for p in billing.prices if p["lookup_key"] == plan.id), "missing")
        for plan in desired.offer.plans
    }
    features = wanted_portal(desired, prices)["features"]
    changes = drift(found[0]["features"], features)
    if changes:
        return Failed(f"The portal differs in {listed(change.path for change in changes)}.")
    return Held(f"The portal offers {listed(sorted(features))}.")


def _portal_return(desired: Desired, billing: BillingFound) -> Verdict:
    found = our_portals(billing)
    if not found or found[0]["default_return_url"] != desired.profile.return_url:
        return Failed("The portal does not lead back to the store's licence page.")
    return Held("The portal leads back to the store's licence page.")


def _ours(desired: Desired, billing: BillingFound) -> list[Object]:
    """Endpoints that are marked ours, those to the store's address first."""
    marked = [one for one in billing.endpoints if (one["metadata"] or {}).get("shimmy") == MARK]
    return sorted(marked, key=lambda one: one["url"] != desired.profile.webhook_url)


def _endpoint(desired: Desired, billing: BillingFound) -> Verdict:
    found = _ours(desired, billing)
    if not found:
        return Failed("Stripe has no webhook endpoint of ours.")
    if found[0]["url"] != desired.profile.webhook_url:
        return Failed("Our webhook endpoint has another address than the profile's.")
    if found[0]["status"] != "enabled":
        return Failed("Stripe has switched our webhook endpoint off.")
    return Held("Our webhook endpoint is enabled, with the profile's address.")


def _endpoint_version(desired: Desired, billing: BillingFound) -> Verdict:
    found, wanted = _ours(desired, billing), desired.offer.api_version
    version = found[0]["api_version"] if found else None
    if version != wanted:
        return Failed(f"Events come in version {version or 'none'} and not {wanted}.")
    return Held(f"Events come in version {wanted}.")


def _endpoint_events(desired: Desired, billing: BillingFound) -> Verdict:
    found = _ours(desired, billing)
    heard = set(found[0]["enabled_events"]) if found else set()
    wanted = set(wanted_endpoint(desired)["enabled_events"])
    missing, needless = sorted(wanted - heard), sorted(heard - wanted)
    if missing or needless:
        parts = [f"missing {listed(missing)}"] if missing else []
        parts += [f"needless {listed(needless)}"] if needless else []
        return Failed(f"The endpoint's events: {'; '.join(parts)}.")
    return Held(f"The endpoint hears exactly the {len(wanted)} events that the store handles.")


def _endpoint_alone(desired: Desired, billing: BillingFound) -> Verdict:
    ours = {one["id"] for one in _ours(desired, billing)}
    others = [
        one
        for one in billing.endpoints
        if one["status"] == "enabled"
        and (one["id"] in ours or one["url"] == desired.profile.webhook_url)
    ]
    if len(others) > 1:
        return Failed(f"{len(others)} enabled endpoints are the store's: it hears all twice.")
    return Held("No second endpoint delivers to the store.")


PAYMENT_CHECKS = (
    Check(
        "once-payment-methods", "payments", "error", "What is paid once has every way to pay",
        ("desired", "methods"), _once_methods, _METHODS,
    ),
    Check(
        "monthly-payment-methods", "payments", "error", "What is paid monthly has its ways to pay",
        ("desired", "methods"), _monthly_methods, _METHODS,
    ),
    Check(
        "portal-active", "payments", "error", "One portal configuration is in use",
        ("billing",), _portal_active, _PROVISION,
    ),
    Check(
        "portal-features", "payments", "error", "Portal lets customers do what they may",
        ("desired", "billing"), _portal_features, _PROVISION,
    ),
    Check(
        "portal-return", "payments", "error", "Portal leads back to the store",
        ("desired", "billing"), _portal_return, _PROVISION,
    ),
    Check(
        "webhook-endpoint", "payments", "error", "Stripe delivers to the store's address",
        ("desired", "billing"), _endpoint, _PROVISION,
    ),
    Check(
        "webhook-version", "payments", "error", "Events come in the version the store reads",
        ("desired", "billing"), _endpoint_version, _PROVISION,
    ),
    Check(
        "webhook-events", "payments", "error", "Endpoint hears exactly what the store handles",
        ("desired", "billing"), _endpoint_events, _PROVISION,
    ),
    Check(
        "webhook-alone", "payments", "warning", "No second endpoint delivers to the store",
        ("desired", "billing"), _endpoint_alone,
        "Stripe's dashboard, Developers, Webhooks: remove the one that is not ours.",
    ),
)  # fmt: skip
