"""The shop: stocked from the plans on sale, selling over the wire."""

from __future__ import annotations

import copy
import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shimmy_sandbox.keygen.shop import (
    Address,
    ShopError,
    entitlement_id,
    policy_id,
    renew,
    sell,
    stock_shop,
)

CONTRACT = Path(__file__).parents[4] / "contracts" / "plans.json"
PLANS: list[dict[str, Any]] = json.loads(CONTRACT.read_text(encoding="utf-8"))["plans"]
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
KINDS = ("products", "policies", "entitlements")


@pytest.fixture
def shop(office: Any) -> Any:
    office.server.controls.clock.freeze(NOW)
    stock_shop(office.server, PLANS)
    return office


def stock(office: Any) -> dict[str, Any]:
    """Everything there is, with what is attached."""
    things = {kind: office.admin.get(f"{kind}?limit=100").json()["data"] for kind in KINDS}
    for policy in things["policies"]:
        path = f"policies/{policy['id']}/entitlements"
        things[policy["id"]] = office.admin.get(path).json()["data"]
    return things


def test_stocking_twice_changes_nothing(shop: Any) -> None:
    before = stock(shop)
    shop.server.controls.clock.advance(timedelta(hours=1))
    stock_shop(shop.server, PLANS)
    assert stock(shop) == before
    assert [one["id"] for one in before["products"]] == [shop.server.product]
    assert {one["id"] for one in before["policies"]} == {policy_id(one["id"]) for one in PLANS}


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan["id"])
def test_a_plan_is_a_policy(shop: Any, plan: Any) -> None:
    identifier = str(uuid.uuid5(uuid.UUID(shop.server.account), f"policy/{plan['id']}"))
    policy = shop.admin.get(f"policies/{identifier}").json()["data"]
    assert policy["relationships"]["product"]["data"]["id"] == shop.server.product
    wanted = {
        "name": plan["name"],
        "authenticationStrategy": "MIXED",
        "expirationStrategy": "RESTRICT_ACCESS",
        "floating": plan["machines"] != 1,
        "maxMachines": plan["machines"],
        "strict": True,
        "maxUses": plan["pages_per_month"],
        "duration": None,
        "overageStrategy": "NO_OVERAGE",
        "transferStrategy": "KEEP_EXPIRY",
        "metadata": {
            "plan": plan["id"],
            "interval": plan["interval"],
            "offlineGraceHours": 24,
        },
    }
    assert {name: policy["attributes"][name] for name in wanted} == wanted
    attached = shop.admin.get(f"policies/{identifier}/entitlements").json()["data"]
    assert {one["attributes"]["code"] for one in attached} == set(plan["entitlements"])


def test_changed_plans_change_the_stock(shop: Any) -> None:
    plans = copy.deepcopy(PLANS)
    plans[0] |= {"name": "Solo", "machines": 3, "pages_per_month": 7, "entitlements": ["ocr"]}
    stock_shop(shop.server, plans)
    things = stock(shop)
    changed = {one["id"]: one["attributes"] for one in things["policies"]}[policy_id("developer")]
    seen = (changed["name"], changed["maxMachines"], changed["floating"], changed["maxUses"])
    assert seen == ("Solo", 3, True, 7)
    assert [one["id"] for one in things[policy_id("developer")]] == [entitlement_id("ocr")]
    stock_shop(shop.server, PLANS)
    assert len(stock(shop)["policies"]) == len(PLANS)


@pytest.mark.parametrize(
    ("plan", "expiry"),
    [("developer", "2026-03-03T12:00:00.000Z"), ("lifetime", None)],
)
def test_a_licence_is_sold_for_the_month(shop: Any, plan: str, expiry: str | None) -> None:
    sold = sell(shop.server, plan)
    attributes = sold["attributes"]
    assert attributes["expiry"] == expiry
    assert attributes["metadata"] == {
        "plan": plan,
        "offlineGraceHours": 24,
        "pagesPeriodStart": "2026-01-31T12:00:00.000Z",
        "pagesPeriodEnd": "2026-02-28T12:00:00.000Z",
    }
    assert re.fullmatch(r"([0-9A-F]{6}-){5}V3", attributes["key"])
    assert sold["relationships"]["owner"]["data"] is None
    assert shop.validate(sold)["code"] == "NO_MACHINE"


def test_a_licence_is_sold_as_wished(shop: Any) -> None:
    expiry = NOW - timedelta(days=1)
    sold = [
        sell(
            Address(shop.server.url),
            "startup",
            expiry=expiry,
            metadata={"order_id": number},
            key=f"chosen-key-{number}",
            owner="Buyer@Example.test",
        )
        for number in range(2)
    ]
    assert [one["attributes"]["key"] for one in sold] == ["chosen-key-0", "chosen-key-1"]
    assert sold[0]["attributes"]["expiry"] == "2026-01-30T12:00:00.000Z"
    assert sold[1]["attributes"]["metadata"]["orderId"] == 1
    owners = {one["relationships"]["owner"]["data"]["id"] for one in sold}
    assert owners == {shop.admin.get("users/buyer@example.test").json()["data"]["id"]}
    with pytest.raises(ShopError, match="KEY_TAKEN"):
        sell(shop.server, "startup", key="chosen-key-0")


def test_renewal_is_a_new_month_and_new_pages(shop: Any) -> None:
    sold = sell(shop.server, "developer", metadata={"order_id": 7})
    key = sold["attributes"]["key"]
    shop.admin.post(f"licenses/{sold['id']}/actions/increment-usage")
    clock = shop.server.controls.clock
    clock.freeze(datetime(2026, 2, 27, tzinfo=UTC))
    renewed = renew(shop.server, key)["attributes"]
    assert (renewed["uses"], renewed["expiry"]) == (0, "2026-03-31T12:00:00.000Z")
    assert renewed["metadata"] == {
        "plan": "developer",
        "offlineGraceHours": 24,
        "orderId": 7,
        "pagesPeriodStart": "2026-02-28T12:00:00.000Z",
        "pagesPeriodEnd": "2026-03-28T12:00:00.000Z",
        "pagesResetAt": "2026-02-27T00:00:00.000Z",
    }
    clock.freeze(datetime(2026, 6, 1, tzinfo=UTC))
    late = renew(shop.server, key)["attributes"]
    assert late["metadata"]["pagesPeriodStart"] == "2026-06-01T00:00:00.000Z"
    with pytest.raises(ShopError, match="nothing to renew"):
        renew(shop.server, sell(shop.server, "lifetime")["attributes"]["key"])


def test_refusals_are_explained(shop: Any) -> None:
    with pytest.raises(ShopError, match=r"no plan 'free' is in stock .*developer.*lifetime"):
        sell(shop.server, "free")
    with pytest.raises(ShopError, match="NOT_FOUND: The requested license 'nobodys'"):
        renew(shop.server, "nobodys")
