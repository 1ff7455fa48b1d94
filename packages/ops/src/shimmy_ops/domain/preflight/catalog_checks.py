"""Whether what is sold is what the catalog says, at Stripe and at Keygen."""

from __future__ import annotations

from collections.abc import Iterable

from shimmy_ops.domain.contracts import Plan
from shimmy_ops.domain.drift import drift
from shimmy_ops.domain.licensing_steps import our_policy
from shimmy_ops.domain.preflight.checking import Check, Failed, Held, Need, Verdict, listed
from shimmy_ops.domain.preflight.facts import Unasked
from shimmy_ops.domain.provisioning import plan_provision
from shimmy_ops.domain.steps import BillingFound, Found, LicensingFound
from shimmy_ops.domain.wanted import (
    Desired,
    price_terms,
    wanted_policy,
    wanted_price,
    wanted_product,
)

_PROVISION = "shimmy-ops provision --profile PROFILE --plan shows it, --apply repairs it."


def _contracts(desired: Desired | Unasked) -> Verdict:
    if isinstance(desired, Unasked):
        return Failed(desired.why, desired.remedy)
    return Held(f"The catalog sells {len(desired.offer.plans)} plans.")


def _products(desired: Desired, billing: BillingFound) -> Verdict:
    held = {one["id"]: one for one in billing.products}
    wrong = [
        plan.id
        for plan in desired.offer.plans
        if plan.id not in held or drift(held[plan.id], wanted_product(plan))
    ]
    return _sum("product", wrong, desired.offer.plans)


def _prices(desired: Desired, billing: BillingFound) -> Verdict:
    currency = desired.offer.currency
    wrong = [plan.id for plan in desired.offer.plans if not _is_priced(plan, currency, billing)]
    return _sum("price", wrong, desired.offer.plans)


def _is_priced(plan: Plan, currency: str, billing: BillingFound) -> bool:
    wanted = {**price_terms(plan, currency), **wanted_price(plan)}
    holders = [one for one in billing.prices if one["lookup_key"] == plan.id]
    return len(holders) == 1 and not drift(holders[0], wanted)


def _policies(desired: Desired, licensing: LicensingFound) -> Verdict:
    wrong = [plan.id for plan in desired.offer.plans if not _is_licensed(plan, desired, licensing)]
    return _sum("policy", wrong, desired.offer.plans)


def _is_licensed(plan: Plan, desired: Desired, licensing: LicensingFound) -> bool:
    policy = our_policy(desired, licensing, plan.id)
    if policy is None or drift(policy, wanted_policy(plan)):
        return False
    attached = {code.lower() for code in policy["entitlements"]}
    return {code.lower() for code in plan.entitlements} <= attached


def _sum(kind: str, wrong: list[str], plans: Iterable[Plan]) -> Verdict:
    if wrong:
        return Failed(f"Missing or otherwise than the catalog: {kind} of {listed(wrong)}.")
    return Held(f"Each of {len(list(plans))} plans has its {kind} as the catalog says.")


def _provisioned(
    desired: Desired, billing: BillingFound, licensing: LicensingFound, held: frozenset[str]
) -> Verdict:
    steps = plan_provision(desired, Found(billing, licensing, held)).steps
    if steps:
        named = listed(f"{one.action} {one.kind} {one.key}" for one in steps[:3])
        more = f" and {len(steps) - 3} more" if len(steps) > 3 else ""
        return Failed(f"Provisioning would still {named}{more}.")
    return Held("Provisioning has nothing left to do.")


def _notes(
    desired: Desired, billing: BillingFound, licensing: LicensingFound, held: frozenset[str]
) -> Verdict:
    notes = plan_provision(desired, Found(billing, licensing, held)).notes
    if notes:
        return Failed(" ".join(notes))
    return Held("Nothing that is not ours is in the way.")


_STATE: tuple[Need, ...] = ("desired", "billing", "licensing", "held")
CATALOG_CHECKS = (
    Check(
        "contracts-readable", "catalog", "error", "Catalog and events can be read",
        ("desired",), _contracts, "Reinstall shimmy-ops.", hears_all=True,
    ),
    Check(
        "stripe-products", "catalog", "error", "Stripe's products are the catalog's",
        ("desired", "billing"), _products, _PROVISION,
    ),
    Check(
        "stripe-prices", "catalog", "error", "Stripe's prices are the catalog's",
        ("desired", "billing"), _prices, _PROVISION,
    ),
    Check(
        "keygen-policies", "catalog", "error", "Keygen's policies are the catalog's",
        ("desired", "licensing"), _policies, _PROVISION,
    ),
    Check(
        "provision-complete", "catalog", "error", "Provisioning has nothing left to do",
        _STATE, _provisioned, _PROVISION,
    ),
    Check(
        "provision-undisturbed", "catalog", "warning", "Nothing of others is in the way",
        _STATE, _notes, "Remove at Stripe or Keygen what is named, or leave it knowingly.",
    ),
)  # fmt: skip
