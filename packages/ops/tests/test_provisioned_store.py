"""The store, started on what provisioning made and wrote, sells, moves and ends a licence."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from operated_town import OperatedTown
from store_server import Store, eventually, key_on
from visiting import licence_at_keygen

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def test_a_plan_is_sold_changed_and_paid_back(operated: OperatedTown) -> None:
    store, town = operated.store, operated.town
    assert store.settings.keygen_token != town.keygen.admin_token
    visitor = store.visitor()
    key = key_on(store.buy("developer", "ada@example.com", visitor).text)
    assert key in eventually(lambda: _mailed(store, "ada@example.com"))
    assert httpx.get(f"{store.url}/health", trust_env=False).json()["status"] == "ok"
    policies = store.settings.policies
    assert _policy(store, key) == policies["developer"]
    page = visitor.open("/view-license")
    customer = re.search(r'name="customer" value="(cus_\w+)"', page.text)
    assert customer
    portal = visitor.submit("/create-portal-session", customer=customer[1])
    assert portal.headers["location"].startswith(town.stripe.url)
    (subscription,) = town.sdk.v1.subscriptions.list({"customer": customer[1]}).data
    (price,) = town.sdk.v1.prices.list({"lookup_keys": ["startup"]}).data
    item = {"id": subscription["items"].data[0].id, "price": price.id}
    change = {"items": [item], "proration_behavior": "always_invoice"}
    town.sdk.v1.subscriptions.update(subscription.id, change)
    eventually(lambda: _policy(store, key) == policies["startup"])
    for charge in town.sdk.v1.charges.list({"customer": customer[1]}).data:
        town.sdk.v1.refunds.create({"charge": charge.id})
    eventually(lambda: licence_at_keygen(store, key)["attributes"]["suspended"])


def _mailed(store: Store, address: str) -> str | None:
    found = [one["text"] for one in store.mails(address)]
    return found[-1] if found else None


def _policy(store: Store, key: str) -> Any:
    return licence_at_keygen(store, key)["relationships"]["policy"]["data"]["id"]
