"""Provisioning on both simulators, over real sockets: empty, drifted, shared with others, lost."""

from __future__ import annotations

import copy
import dataclasses
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stripe
from provisioning_town import STORE, ProvisioningTown

from shimmy_ops.domain.steps import Step
from shimmy_ops.domain.wanted import TOKEN_PERMISSIONS, Desired
from shimmy_ops.errors import (
    BillingError,
    KeepingError,
    LicensingError,
    OpsError,
    ProvisionError,
)
from shimmy_ops.use_cases import apply_provision as module
from shimmy_ops.use_cases.find_state import find_state
from shimmy_ops.wiring.accounts import open_accounts
from shimmy_sandbox.keygen.shop import stock_shop
from shimmy_sandbox.simulation.faults import Fault
from shimmy_sandbox.stripe_api.shop import stock_stripe

CATALOG = Path(__file__).resolve().parents[3] / "contracts" / "plans.json"
# The simulators' own servers use httpx in the old way, as Stripe's client does.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def said(steps: list[Step] | tuple[Step, ...]) -> list[tuple[str, str, str]]:
    return [(step.action, step.kind, step.key) for step in steps]


def test_an_empty_account_gets_all_of_it_once(town: ProvisioningTown) -> None:
    desired = town.desired()
    assert len(town.apply()) == 25
    assert town.apply() == []
    assert town.left().notes == ()
    products = {one.id: one for one in town.sdk.v1.products.list({"limit": 100}).data}
    prices = {one.lookup_key: one for one in town.sdk.v1.prices.list({"limit": 100}).data}
    assert set(products) == set(prices) == {plan.id for plan in desired.offer.plans}
    for plan in desired.offer.plans:
        price = prices[plan.id]
        assert (price.unit_amount, price.currency) == (plan.unit_amount, "usd")
        assert (price.product, price.metadata.plan) == (plan.id, plan.id)
        assert (price.recurring is not None) == plan.monthly
    (endpoint,) = town.sdk.v1.webhook_endpoints.list({}).data
    assert endpoint.url == f"{STORE}/stripe-webhook"
    assert endpoint.enabled_events == list(desired.offer.events)
    assert endpoint.api_version == desired.offer.api_version == stripe.api_version
    (portal,) = town.sdk.v1.billing_portal.configurations.list({}).data
    features = portal.features
    assert features.subscription_update.proration_behavior == "always_invoice"
    assert features.subscription_cancel.mode == "at_period_end"
    assert features.payment_method_update.enabled and features.invoice_history.enabled
    sold = {one.product: one.prices for one in features.subscription_update.products}
    assert sold == {p.id: [prices[p.id].id] for p in desired.offer.plans if p.monthly}


def test_keygens_side_is_as_the_catalog_says(town: ProvisioningTown) -> None:
    town.apply()
    licensing, plans = town.look().licensing, town.desired().offer.plans
    (product,) = licensing.products
    assert product["code"] == "shimmy-vision"
    policies = {one["metadata"]["plan"]: one for one in licensing.policies}
    for plan in plans:
        policy = policies[plan.id]
        assert (policy["maxUses"], policy["maxMachines"]) == (plan.pages_per_month, plan.machines)
        assert policy["entitlements"] == plan.entitlements
        assert (policy["authenticationStrategy"], policy["product"]) == ("MIXED", product["id"])
        assert policy["machineUniquenessStrategy"] == "UNIQUE_PER_LICENSE"
    (token,) = licensing.tokens
    assert token["permissions"] == list(TOKEN_PERMISSIONS)


def test_made_secrets_lie_in_files_of_their_owners_and_are_the_right_ones(
    town: ProvisioningTown,
) -> None:
    town.apply()
    kept = {one.name: one for one in (town.folder / "secrets").iterdir()}
    found = town.look()
    (endpoint,), (token,) = found.billing.endpoints, found.licensing.tokens
    assert set(kept) == {f"endpoint-{endpoint['id']}", f"token-{token['id']}"} == found.held
    assert stat.S_IMODE((town.folder / "secrets").stat().st_mode) == 0o700
    assert {stat.S_IMODE(one.stat().st_mode) for one in kept.values()} == {0o600}
    secrets = town.admin.get(f"{town.stripe.url}/_sim/secrets").json()["secrets"]
    assert kept[f"endpoint-{endpoint['id']}"].read_text().strip() == secrets[endpoint["id"]][0]
    secret = kept[f"token-{token['id']}"].read_text().strip()
    bearer = {"Authorization": f"Bearer {secret}"}
    me = town.admin.get("me", headers=bearer).json()["data"]
    assert (me["type"], me["id"]) == ("products", found.licensing.products[0]["id"])


def with_amount(desired: Desired, plan: str, amount: int) -> Desired:
    plans = tuple(
        dataclasses.replace(one, unit_amount=amount) if one.id == plan else one
        for one in desired.offer.plans
    )
    return dataclasses.replace(desired, offer=dataclasses.replace(desired.offer, plans=plans))


def test_a_price_is_superseded_and_comes_back_as_a_new_one(town: ProvisioningTown) -> None:
    town.apply()
    for amount in (8000, 7900):
        wanted = with_amount(town.desired(), "startup", amount)
        assert said(town.apply(wanted)) == [
            ("create", "price", "startup"),
            ("change", "portal", "store"),
            ("retire", "price", "startup"),
        ]
        assert town.left(wanted).steps == ()
    prices = town.sdk.v1.prices.list({"product": "startup", "limit": 100}).data
    assert [(one.unit_amount, one.active, one.lookup_key) for one in prices] == [
        (7900, True, "startup"),
        (8000, False, None),
        (7900, False, None),
    ]
    (portal,) = town.sdk.v1.billing_portal.configurations.list({}).data
    sold = {one.product: one.prices for one in portal.features.subscription_update.products}
    assert sold["startup"] == [prices[0].id]


def _foreign(town: ProvisioningTown) -> dict[str, Any]:
    """Something of every kind that is somebody else's, more of some than fit on one page."""
    v1, hooks = town.sdk.v1, "http://127.0.0.1:9/other"
    v1.products.create({"id": "mug", "name": "Mug"})
    v1.prices.create({"product": "mug", "currency": "usd", "unit_amount": 5, "lookup_key": "mug"})
    for _ in range(103):
        v1.billing_portal.configurations.create(
            {"features": {"invoice_history": {"enabled": True}}}
        )
    for _ in range(3):
        v1.webhook_endpoints.create({"url": hooks, "enabled_events": ["*"]})
    product = {"type": "products", "attributes": {"name": "Mug", "code": "mug"}}
    made = town.admin.post("products", json={"data": product}).json()["data"]["id"]
    relation = {"product": {"data": {"type": "products", "id": made}}}
    attributes = {"name": "Startup", "metadata": {"plan": "startup"}}
    policy = {"type": "policies", "attributes": attributes, "relationships": relation}
    assert town.admin.post("policies", json={"data": policy}).status_code == 201
    for number in range(103):
        entitlement = {"name": "x", "code": f"x{number}"}
        data = {"type": "entitlements", "attributes": entitlement}
        assert town.admin.post("entitlements", json={"data": data}).status_code == 201
    return _theirs(town)


def _theirs(town: ProvisioningTown) -> dict[str, Any]:
    v1 = town.sdk.v1
    listed = {
        "products": [v1.products.retrieve("mug")],
        "prices": list(v1.prices.list({"product": "mug"}).auto_paging_iter()),
        "portals": list(v1.billing_portal.configurations.list({"limit": 100}).auto_paging_iter()),
        "endpoints": list(v1.webhook_endpoints.list({"limit": 100}).auto_paging_iter()),
    }
    theirs = {
        kind: [one.to_dict() for one in found if not (one.metadata and "shimmy" in one.metadata)]
        for kind, found in listed.items()
    }
    pages = [f"entitlements?page[size]=100&page[number]={number}" for number in (1, 2)]
    ours = {one["id"] for one in town.look().licensing.policies}
    for path in ("products?limit=100", "policies?limit=100", *pages):
        data = town.admin.get(path).json()["data"]
        theirs[path] = [one for one in data if one["id"] not in ours]
    return theirs


def test_what_is_somebody_elses_is_never_touched(town: ProvisioningTown) -> None:
    # Ours is the older one, and so comes on the last page of every list.
    town.apply()
    before = copy.deepcopy(_foreign(town))
    assert town.apply() == []
    assert len(town.apply(with_amount(town.desired(), "startup", 8000))) == 3
    special = town.sdk.v1.prices.create(
        {"product": "startup", "currency": "usd", "unit_amount": 1, "nickname": "a friend's"}
    )
    assert len(town.apply()) == 3
    assert town.sdk.v1.prices.retrieve(special.id).active
    assert _theirs(town) == before


def test_lost_secrets_are_made_anew_and_the_old_ones_end(town: ProvisioningTown) -> None:
    town.apply()
    old = town.look()
    for one in (town.folder / "secrets").iterdir():
        one.unlink()
    assert said(town.apply()) == [
        ("create", "token", "shimmy-store"),
        ("retire", "token", "shimmy-store"),
        ("create", "endpoint", "store"),
        ("retire", "endpoint", "store"),
    ]
    found = town.look()
    assert len(found.billing.endpoints) == len(found.licensing.tokens) == 1
    assert len(found.held) == 2 and not found.held & old.held


def test_a_token_of_other_permissions_is_replaced(town: ProvisioningTown) -> None:
    town.apply(town.desired(keygen_permissions=False))
    assert said(town.apply()) == [
        ("create", "token", "shimmy-store"),
        ("retire", "token", "shimmy-store"),
    ]


def test_nothing_is_made_where_its_secret_could_not_be_kept(town: ProvisioningTown) -> None:
    (town.folder / "secrets").write_text("a file, no folder")
    with pytest.raises(KeepingError) as refused:
        town.apply()
    assert refused.value.code == "secrets-folder-unusable"
    assert {one["method"] for one in town.keygen.controls.seen} <= {"GET"}
    assert {one["method"] for one in town.stripe.controls.seen} <= {"GET"}


def test_a_made_secret_that_others_may_read_is_not_used(town: ProvisioningTown) -> None:
    town.apply()
    for one in (town.folder / "secrets").iterdir():
        one.chmod(0o644)
    with pytest.raises(KeepingError) as refused:
        town.look()
    assert refused.value.code == "secret-file-open"


def test_a_stocked_sandbox_is_adopted_by_its_products_id(town: ProvisioningTown) -> None:
    plans = json.loads(CATALOG.read_text())["plans"]
    stock_shop(town.keygen, plans)
    stock_stripe(town.stripe, plans, STORE)
    desired = town.desired(keygen_product=town.keygen.product)
    steps = said(town.apply(desired))
    assert ("create", "policy", "startup") not in steps
    assert ("create", "price", "startup") not in steps
    plan = town.left(desired)
    assert plan.steps == () and "delivers to the store, too" in plan.notes[0]


WRONG: dict[str, tuple[Callable[[ProvisioningTown], None], str, bool]] = {
    "stripe fails": (
        lambda town: town.stripe.controls.faults.add(_status(500)), "billing-unreachable", True
    ),
    "keygen fails": (
        lambda town: town.keygen.controls.faults.add(_status(503)), "licensing-failing", True
    ),
    "keygen is no keygen": (
        lambda town: town.keygen.controls.faults.add(_status(200)), "licensing-malformed", False
    ),
    "keygen refuses": (
        lambda town: town.keygen.controls.faults.add(_status(422)), "licensing-refused", False
    ),
    "keygen redirects": (
        lambda town: town.keygen.controls.faults.add(_status(302)), "licensing-not-allowed", False
    ),
}  # fmt: skip


def _status(status: int) -> Any:
    return Fault("status", status=status, times=-1)


@pytest.mark.parametrize("name", WRONG)
def test_what_goes_wrong_is_said_in_our_words(name: str, town: ProvisioningTown) -> None:
    harm, code, retryable = WRONG[name]
    harm(town)
    with pytest.raises(OpsError) as refused:
        town.look()
    assert (refused.value.code, refused.value.retryable) == (code, retryable)


def test_a_wrong_token_is_said_and_not_repeated(
    town: ProvisioningTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIMMY_OPS_SANDBOX_KEYGEN_TOKEN", "some-other-token")
    with pytest.raises(LicensingError) as refused:
        town.look()
    assert refused.value.code == "licensing-not-allowed"
    assert "some-other-token" not in f"{refused.value.message}{refused.value.hint}"


@pytest.mark.parametrize("kind", ["product", "price", "portal", "endpoint"])
def test_a_write_that_is_sent_again_happens_once(kind: str, town: ProvisioningTown) -> None:
    desired = town.desired()
    step = next(one for one in town.left().steps if (one.action, one.kind) == ("create", kind))
    step = dataclasses.replace(step, attributes=_without_prices(step.attributes))
    with open_accounts(desired.profile, town.folder, retries=0) as accounts:
        if kind == "price":
            accounts.billing.perform(town.left().steps[13], "one")
        first = accounts.billing.perform(step, "one")
        assert accounts.billing.perform(step, "one") == first
        other = dataclasses.replace(step, besides=("x",))
        if kind == "product":
            with pytest.raises(BillingError) as refused:
                accounts.billing.perform(other, "one")
            assert refused.value.code == "billing-refused"
        else:
            assert accounts.billing.perform(other, "one").id != first.id
            assert accounts.billing.perform(step, "two").id != first.id


def _without_prices(attributes: Any) -> dict[str, Any]:
    """A portal as it can be before there is a price."""
    if "features" not in attributes:
        return dict(attributes)
    features = {**attributes["features"], "subscription_update": {"enabled": False}}
    return {**attributes, "features": features}


def test_somebody_who_changes_it_all_the_time_is_noticed(
    town: ProvisioningTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = find_state

    def find_and_change(*given: Any) -> Any:
        found = genuine(*given)
        if found.billing.products:
            town.sdk.v1.products.update("startup", {"name": "Mug"})
            found = genuine(*given)
        return found

    town.apply()
    monkeypatch.setattr(module, "find_state", find_and_change)
    with pytest.raises(ProvisionError) as refused:
        town.apply()
    assert refused.value.code == "provision-unsettled" and refused.value.retryable
