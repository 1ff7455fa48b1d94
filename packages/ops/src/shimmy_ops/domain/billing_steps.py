"""What is left to do at Stripe. Products and lookup keys are plans' ids; all else has a mark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shimmy_ops.domain.contracts import Plan
from shimmy_ops.domain.drift import drift
from shimmy_ops.domain.steps import (
    MARK,
    BillingFound,
    Found,
    Object,
    PriceOf,
    Step,
    secret_name,
)
from shimmy_ops.domain.wanted import (
    Desired,
    price_terms,
    wanted_endpoint,
    wanted_portal,
    wanted_price,
    wanted_product,
)


@dataclass(frozen=True, slots=True)
class _Pricing:
    """``current``: the price to sell; ``steps`` bring it about; ``old`` end when all is done."""

    current: str | PriceOf
    steps: tuple[Step, ...]
    old: tuple[str, ...]


def plan_billing(desired: Desired, found: Found) -> Iterator[Step]:
    """Old prices and endpoints go last, when nothing of ours names them any more."""
    billing, plans = found.billing, desired.offer.plans
    for plan in plans:
        held = [one for one in billing.products if one["id"] == plan.id]
        yield from _ensure_product(plan, held)
    pricing = {plan.id: _price(plan, desired.offer.currency, billing) for plan in plans}
    for one in pricing.values():
        yield from one.steps
    yield from _portal(desired, {plan: one.current for plan, one in pricing.items()}, billing)
    yield from _endpoint(desired, found)
    for product in billing.products:
        # Stripe refuses to end the price that a product names as its default.
        if product["id"] in pricing and product.get("default_price") in pricing[product["id"]].old:
            current = {"default_price": pricing[product["id"]].current}
            changes = drift(product, current)
            yield Step("change", "product", product["id"], product["id"], current, changes)
    for plan_id, one in pricing.items():
        for old in one.old:
            changes = drift({"active": True}, {"active": False})
            yield Step("retire", "price", plan_id, old, {"active": False}, changes)


def _ensure_product(plan: Plan, held: list[Object]) -> Iterator[Step]:
    wanted = wanted_product(plan)
    if not held:
        yield Step("create", "product", plan.id, "", wanted)
    elif changes := drift(held[0], wanted):
        yield Step("change", "product", plan.id, plan.id, wanted, changes)


def _price(plan: Plan, currency: str, billing: BillingFound) -> _Pricing:
    terms, wanted = price_terms(plan, currency), wanted_price(plan)
    holders = [one for one in billing.prices if one["lookup_key"] == plan.id]
    ours = [one for one in billing.prices if _is_ours(one, plan)]
    kept = next((one for one in holders if not drift(one, terms)), None)
    old = tuple(str(one["id"]) for one in ours if one["active"] and one is not kept)
    if kept is not None:
        changes = drift(kept, wanted)
        step = Step("change", "price", plan.id, kept["id"], wanted, changes)
        return _Pricing(str(kept["id"]), (step,) if changes else (), old)
    sent = {name: value for name, value in terms.items() if value is not None}
    key = {"lookup_key": plan.id, "transfer_lookup_key": True}
    besides = tuple(sorted(str(one["id"]) for one in ours))
    changes = drift(holders[0], terms) if holders else ()
    made = Step("create", "price", plan.id, "", {**sent, **wanted, **key}, changes, besides)
    return _Pricing(PriceOf(plan.id), (made,), old)


def _is_ours(price: Object, plan: Plan) -> bool:
    """Of the plan's product, and called after the plan; an operator's special price is neither."""
    named = price["lookup_key"] == plan.id or (price["metadata"] or {}).get("plan") == plan.id
    return named and price["product"] == plan.id


def our_portals(billing: BillingFound) -> list[Object]:
    """The marked configurations, the one in use first."""
    marked = [one for one in billing.portals if (one["metadata"] or {}).get("shimmy") == MARK]
    return sorted(marked, key=_use)


def _use(portal: Object) -> tuple[bool, bool, int, str]:
    return (not portal["active"], not portal["is_default"], portal["created"], portal["id"])


def _portal(
    desired: Desired, prices: Mapping[str, str | PriceOf], billing: BillingFound
) -> Iterator[Step]:
    wanted, ours = wanted_portal(desired, prices), our_portals(billing)
    if not ours:
        sent = {name: value for name, value in wanted.items() if name != "active"}
        yield Step("create", "portal", MARK, "", sent)
        return
    if changes := drift(ours[0], wanted):
        yield Step("change", "portal", MARK, ours[0]["id"], wanted, changes)
    for other in ours[1:]:
        if other["active"]:
            changes = drift(other, {"active": False})
            yield Step("retire", "portal", MARK, other["id"], {"active": False}, changes)


def our_endpoints(desired: Desired, found: Found) -> tuple[Object | None, list[Object]]:
    """The endpoint in use, whose secret is held; and the others that carry the mark."""
    marked = [
        one for one in found.billing.endpoints if (one["metadata"] or {}).get("shimmy") == MARK
    ]
    marked.sort(key=lambda one: (one["created"], one["id"]))
    usable = [
        one
        for one in marked
        if secret_name("endpoint", one["id"]) in found.held
        and one["api_version"] == desired.offer.api_version
    ]
    used = usable[0] if usable else None
    return used, [one for one in marked if one is not used]


def _endpoint(desired: Desired, found: Found) -> Iterator[Step]:
    wanted = wanted_endpoint(desired)
    used, others = our_endpoints(desired, found)
    if used is None:
        version = {"api_version": desired.offer.api_version}
        sent = {name: value for name, value in wanted.items() if name != "status"}
        besides = tuple(sorted(str(one["id"]) for one in others))
        yield Step("create", "endpoint", MARK, "", {**sent, **version}, (), besides)
    elif changes := drift(used, wanted):
        yield Step("change", "endpoint", MARK, used["id"], wanted, changes)
    for other in others:
        yield Step("retire", "endpoint", MARK, other["id"])


def note_billing(desired: Desired, found: Found) -> Iterator[str]:
    """What is not ours and yet in the way."""
    used, others = our_endpoints(desired, found)
    if used is None and others:
        yield (
            "The endpoint's secret is not kept here, or its API version is another: a new endpoint "
            "takes its place, and the store needs the new secret."
        )
    ours = {one["id"] for one in (used, *others) if one is not None}
    for one in found.billing.endpoints:
        if one["url"] == desired.profile.webhook_url and one["id"] not in ours:
            yield f"Endpoint {one['id']} is not ours and delivers to the store, too: remove it."
