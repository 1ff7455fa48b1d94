"""Whatever was changed by hand at Stripe or Keygen is named, and repaired however often."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from provisioning_town import ProvisioningTown, open_provisioning_town, shapes

from shimmy_ops.domain.steps import Step

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def said(steps: list[Step] | tuple[Step, ...]) -> list[tuple[str, str, str]]:
    return [(step.action, step.kind, step.key) for step in steps]


def _product(town: ProvisioningTown, **changes: Any) -> None:
    town.sdk.v1.products.update("startup", changes)


def _price(town: ProvisioningTown, **changes: Any) -> None:
    (held,) = town.sdk.v1.prices.list({"lookup_keys": ["startup"]}).data
    town.sdk.v1.prices.update(held.id, changes)


def _portal(town: ProvisioningTown, **changes: Any) -> None:
    (held,) = town.sdk.v1.billing_portal.configurations.list({}).data
    town.sdk.v1.billing_portal.configurations.update(held.id, changes)


def _feature(name: str, **changes: Any) -> Callable[[ProvisioningTown], None]:
    return lambda town: _portal(town, features={name: changes})


def _endpoint(town: ProvisioningTown, **changes: Any) -> None:
    (held,) = town.sdk.v1.webhook_endpoints.list({}).data
    town.sdk.v1.webhook_endpoints.update(held.id, changes)


def _keygen(kind: str, **changes: Any) -> Callable[[ProvisioningTown], None]:
    def change(town: ProvisioningTown) -> None:
        listed = town.admin.get(f"{kind}?limit=100").json()["data"]
        held = next(
            one
            for one in listed
            if kind != "policies" or one["attributes"]["metadata"]["plan"] == "startup"
        )
        data = {"type": kind, "attributes": changes}
        reply = town.admin.patch(f"{kind}/{held['id']}", json={"data": data})
        assert reply.status_code == 200, reply.text

    return change


def _detach(town: ProvisioningTown) -> None:
    found = town.look().licensing
    policy = next(one for one in found.policies if one["metadata"]["plan"] == "startup")
    data = [{"type": "entitlements", "id": found.entitlements[0]["id"]}]
    path = f"policies/{policy['id']}/entitlements"
    assert town.admin.request("DELETE", path, json={"data": data}).status_code == 204


def _unentitle(town: ProvisioningTown) -> None:
    (held,) = town.look().licensing.entitlements
    assert town.admin.delete(f"entitlements/{held['id']}").status_code == 204


def _revoke(town: ProvisioningTown) -> None:
    (held,) = town.look().licensing.tokens
    assert town.admin.delete(f"tokens/{held['id']}").status_code == 204


def _unhook(town: ProvisioningTown) -> None:
    (held,) = town.sdk.v1.webhook_endpoints.list({}).data
    town.sdk.v1.webhook_endpoints.delete(held.id)


def _narrow(town: ProvisioningTown) -> None:
    (held,) = town.sdk.v1.billing_portal.configurations.list({}).data
    one = held.features.subscription_update.products[0]
    products = [{"product": one.product, "prices": one.prices}]
    _portal(town, features={"subscription_update": {"products": products}})


METADATA = {"plan": "startup", "interval": "month", "offlineGraceHours": 24}
DRIFTS: dict[str, tuple[Callable[[ProvisioningTown], None], tuple[str, str, str], str]] = {
    "product name": (
        lambda town: _product(town, name="Mug"), ("change", "product", "startup"), "name"
    ),
    "product off": (
        lambda town: _product(town, active=False), ("change", "product", "startup"), "active"
    ),
    "product metadata": (
        lambda town: _product(town, metadata={"plan": "x"}),
        ("change", "product", "startup"), "metadata.plan",
    ),
    "price off": (
        lambda town: _price(town, active=False), ("change", "price", "startup"), "active"
    ),
    "price metadata": (
        lambda town: _price(town, metadata={"plan": ""}),
        ("change", "price", "startup"), "metadata.plan",
    ),
    "price without its key": (
        lambda town: _price(town, lookup_key=""), ("create", "price", "startup"), ""
    ),
    "portal return": (
        lambda town: _portal(town, default_return_url="https://shimmy.example"),
        ("change", "portal", "store"), "default_return_url",
    ),
    "portal prorations": (
        _feature("subscription_update", proration_behavior="none"),
        ("change", "portal", "store"), "features.subscription_update.proration_behavior",
    ),
    "portal quantity": (
        _feature("subscription_update", default_allowed_updates=["price", "quantity"]),
        ("change", "portal", "store"), "features.subscription_update.default_allowed_updates",
    ),
    "portal products": (
        _narrow, ("change", "portal", "store"), "features.subscription_update.products"
    ),
    "portal conditions": (
        _feature("subscription_update", schedule_at_period_end={"conditions": ""}),
        ("change", "portal", "store"),
        "features.subscription_update.schedule_at_period_end.conditions",
    ),
    "portal cancels at once": (
        _feature("subscription_cancel", mode="immediately"),
        ("change", "portal", "store"), "features.subscription_cancel.mode",
    ),
    "portal card": (
        _feature("payment_method_update", enabled=False),
        ("change", "portal", "store"), "features.payment_method_update.enabled",
    ),
    "portal invoices": (
        _feature("invoice_history", enabled=False),
        ("change", "portal", "store"), "features.invoice_history.enabled",
    ),
    "endpoint elsewhere": (
        lambda town: _endpoint(town, url="http://127.0.0.1:9/x"),
        ("change", "endpoint", "store"), "url",
    ),
    "endpoint events": (
        lambda town: _endpoint(town, enabled_events=["*"]),
        ("change", "endpoint", "store"), "enabled_events",
    ),
    "endpoint off": (
        lambda town: _endpoint(town, disabled=True), ("change", "endpoint", "store"), "status"
    ),
    "endpoint gone": (_unhook, ("create", "endpoint", "store"), ""),
    "licence product": (
        _keygen("products", name="Mug"), ("change", "licence-product", "shimmy-vision"), "name"
    ),
    "entitlement": (
        _keygen("entitlements", name="Mug"), ("change", "entitlement", "vision"), "name"
    ),
    "policy name": (_keygen("policies", name="Mug"), ("change", "policy", "startup"), "name"),
    "policy uses": (_keygen("policies", maxUses=5), ("change", "policy", "startup"), "maxUses"),
    "policy machines": (
        _keygen("policies", maxMachines=1), ("change", "policy", "startup"), "maxMachines"
    ),
    "policy strict": (
        _keygen("policies", strict=False), ("change", "policy", "startup"), "strict"
    ),
    "policy keys": (
        _keygen("policies", authenticationStrategy="TOKEN"),
        ("change", "policy", "startup"), "authenticationStrategy",
    ),
    "policy uniqueness": (
        _keygen("policies", machineUniquenessStrategy="UNIQUE_PER_ACCOUNT"),
        ("change", "policy", "startup"), "machineUniquenessStrategy",
    ),
    "policy metadata": (
        _keygen("policies", metadata={**METADATA, "offlineGraceHours": 1}),
        ("change", "policy", "startup"), "metadata.offlineGraceHours",
    ),
    "entitlement detached": (_detach, ("create", "attachment", "startup/vision"), ""),
    "entitlement gone": (_unentitle, ("create", "entitlement", "vision"), ""),
    "token gone": (_revoke, ("create", "token", "shimmy-store"), ""),
}  # fmt: skip


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProvisioningTown]:
    """Provisioned once; every test leaves it as it should be."""
    with (
        pytest.MonkeyPatch.context() as environment,
        open_provisioning_town(tmp_path_factory.mktemp("town"), environment) as town,
    ):
        town.apply()
        yield town


@pytest.mark.parametrize("name", DRIFTS)
def test_what_drifted_is_named_and_repaired_however_often(
    name: str, settled: ProvisioningTown
) -> None:
    harm, step, path = DRIFTS[name]
    town = settled
    before = shapes(town.look())
    # Twice: Stripe answers a write that it has seen today with what it said then.
    for _ in range(2):
        harm(town)
        plan = town.left()
        assert said(plan.steps)[0] == step
        assert [one.path for one in plan.steps[0].changes] == ([path] if path else [])
        town.apply()
        assert town.left().steps == ()
        after = {key: value for key, value in shapes(town.look()).items() if key != "prices"}
        assert after == {key: value for key, value in before.items() if key != "prices"}


def test_the_portals_texts_are_the_profiles(settled: ProvisioningTown) -> None:
    words = {"portal_headline": "Your plan", "terms_url": "http://127.0.0.1:8400/terms"}
    desired = settled.desired(**words)
    (step,) = settled.apply(desired)
    assert [one.path for one in step.changes] == [
        "business_profile.headline",
        "business_profile.terms_of_service_url",
    ]
    assert settled.left(desired).steps == ()
    (portal,) = settled.sdk.v1.billing_portal.configurations.list({}).data
    assert portal.business_profile.headline == "Your plan"
