"""What is left to do at Keygen. It knows no keys of ours but codes: policies are found in our
product by ``metadata.plan``, the token by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shimmy_ops.domain.drift import drift
from shimmy_ops.domain.steps import Found, LicensingFound, Object, Step, secret_name
from shimmy_ops.domain.wanted import (
    PRODUCT_CODE,
    TOKEN_NAME,
    Desired,
    wanted_entitlement,
    wanted_licence_product,
    wanted_policy,
    wanted_token,
)
from shimmy_ops.errors import ProvisionError


def our_product(desired: Desired, licensing: LicensingFound) -> Object | None:
    """The product of this code, or the one that the profile names. Raises ProvisionError."""
    named = desired.profile.keygen_product
    if not named:
        return next((one for one in licensing.products if one.get("code") == PRODUCT_CODE), None)
    for one in licensing.products:
        if one["id"] == named:
            return one
    raise ProvisionError(
        "licence-product-missing",
        f"Keygen has no product {named}, which the profile names.",
        hint="Correct keygen_product, or leave it out and a product is made.",
    )


def our_policy(desired: Desired, licensing: LicensingFound, plan: str) -> Object | None:
    """A plan's policy in our product. Raises ProvisionError where there are two."""
    product = our_product(desired, licensing)
    found = [
        one
        for one in licensing.policies
        if product is not None
        and one["product"] == product["id"]
        and (one["metadata"] or {}).get("plan") == plan
    ]
    if len(found) > 1:
        raise ProvisionError(
            "policy-ambiguous",
            f"Keygen has several policies of plan {plan}: {', '.join(one['id'] for one in found)}.",
            hint="Keep the one that licences are of; take metadata.plan from the others.",
        )
    return found[0] if found else None


def our_tokens(desired: Desired, found: Found) -> tuple[Object | None, list[Object]]:
    """The store's token, whose secret is held; and others of its name."""
    named = [one for one in found.licensing.tokens if one["name"] == TOKEN_NAME]
    named.sort(key=lambda one: (one["created"], one["id"]))
    wanted = wanted_token(desired.profile)
    usable = [
        one
        for one in named
        if secret_name("token", one["id"]) in found.held and not drift(one, wanted)
    ]
    used = usable[0] if usable else None
    return used, [one for one in named if one is not used]


def plan_licensing(desired: Desired, found: Found) -> Iterator[Step]:
    """In the order of what needs what. Raises ProvisionError."""
    licensing, plans = found.licensing, desired.offer.plans
    product = our_product(desired, licensing)
    yield from _ensure("licence-product", PRODUCT_CODE, product, wanted_licence_product())
    for code in sorted({code for plan in plans for code in plan.entitlements}):
        held = next((one for one in licensing.entitlements if _same(one["code"], code)), None)
        yield from _ensure("entitlement", code, held, wanted_entitlement(code))
    for plan in plans:
        policy = our_policy(desired, licensing, plan.id)
        yield from _ensure("policy", plan.id, policy, wanted_policy(plan))
        attached = policy["entitlements"] if policy else ()
        for code in plan.entitlements:
            if not any(_same(one, code) for one in attached):
                yield Step("create", "attachment", f"{plan.id}/{code}")
    used, others = our_tokens(desired, found)
    if used is None:
        besides = tuple(sorted(str(one["id"]) for one in others))
        yield Step("create", "token", TOKEN_NAME, "", wanted_token(desired.profile), (), besides)
    for other in others:
        yield Step("retire", "token", TOKEN_NAME, other["id"])


def _ensure(kind: Any, key: str, held: Object | None, wanted: dict[str, Any]) -> Iterator[Step]:
    if held is None:
        yield Step("create", kind, key, "", wanted)
    elif changes := drift(held, wanted):
        changed = {change.path.partition(".")[0] for change in changes}
        sent = {name: value for name, value in wanted.items() if name in changed}
        if "metadata" in sent:
            # Keygen replaces metadata whole: what others wrote there stays.
            sent["metadata"] = {**(held["metadata"] or {}), **sent["metadata"]}
        if "maxMachines" in sent or "floating" in sent:
            # Each is judged by the other.
            sent |= {name: wanted[name] for name in ("floating", "maxMachines")}
        yield Step("change", kind, key, held["id"], sent, changes)


def _same(code: str, other: str) -> bool:
    return code.lower() == other.lower()


def note_licensing(desired: Desired, found: Found) -> Iterator[str]:
    """What cannot be changed, or is not ours and yet in the way. Raises ProvisionError."""
    schemes = set()
    for plan in desired.offer.plans:
        policy = our_policy(desired, found.licensing, plan.id)
        if policy is None:
            continue
        schemes.add(policy.get("scheme"))
        for code in policy["entitlements"]:
            if not any(_same(code, one) for one in plan.entitlements):
                yield f"Policy {plan.id} has the entitlement {code}, which the plan does not sell."
    if schemes - {None}:
        yield (
            "Policies sign their keys (a scheme), which can never be changed: Keygen moves no "
            "licence between policies of different schemes, and such keys are long."
        )
    used, others = our_tokens(desired, found)
    if used is None and others:
        yield (
            "The token's secret is not kept here, or its permissions are others: a new token takes "
            "its place, and the store needs the new one."
        )
