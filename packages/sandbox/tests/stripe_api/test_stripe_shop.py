"""The shop set up over the wire: plans on sale, portal, endpoint; seen through the official SDK."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import stripe

from shimmy_sandbox.stripe_api.shop import EVENTS, StockingError, stock_stripe
from shimmy_store.adapters.contract_files import read_webhook_events
from shimmy_store.domain.webhook_event import parse_handled

from .conftest import Receiver, Shop, opened

CONTRACT = Path(__file__).parents[4] / "contracts" / "plans.json"
CATALOGUE: dict[str, Any] = json.loads(CONTRACT.read_text(encoding="utf-8"))
PLANS: list[dict[str, Any]] = CATALOGUE["plans"]
HANDLED = parse_handled(read_webhook_events())
MONTHLY = [one["id"] for one in PLANS if one["interval"] == "month"]
STORE = "http://127.0.0.1:8400"


@pytest.fixture
def stocked(shop: Shop) -> Shop:
    stock_stripe(shop.server, PLANS, STORE, CATALOGUE["currency"])
    return shop


def stock(shop: Shop) -> dict[str, Any]:
    """Everything the shop has set up."""
    v1 = shop.v1
    lists = (v1.products, v1.prices, v1.webhook_endpoints, v1.billing_portal.configurations)
    return {one.id: one.to_dict() for each in lists for one in each.list({"limit": 100}).data} | {
        "events": shop.types()
    }


@dataclass(frozen=True)
class Place:
    """Where a Stripe is, and nothing else about it."""

    url: str


def test_stocking_twice_changes_nothing(stocked: Shop) -> None:
    before = stock(stocked)
    stocked.advance(hours=1)
    again = stock_stripe(Place(stocked.server.url), PLANS, f"{STORE}/", CATALOGUE["currency"])
    assert stock(stocked) == before
    assert {again.configuration, again.endpoint, *again.prices.values()} < set(before)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan["id"])
def test_a_plan_is_a_product_and_a_price(stocked: Shop, plan: Any) -> None:
    asked = {"lookup_keys": [plan["id"]], "active": True, "expand": ["data.product"]}
    (price,) = stocked.v1.prices.list(asked).data
    assert (price.product.id, price.product.name) == (plan["id"], f"Shimmy Vision {plan['name']}")
    assert price.product.metadata.to_dict() == {"plan": plan["id"]}
    assert (price.unit_amount, price.currency) == (plan["unit_amount"], CATALOGUE["currency"])
    cycle = price.recurring and (price.recurring.interval, price.recurring.interval_count)
    assert cycle == (("month", 1) if plan["interval"] == "month" else None)


def test_the_portal_offers_what_the_store_wants(stocked: Shop) -> None:
    (portal,) = stocked.v1.billing_portal.configurations.list().data
    assert (portal.is_default, portal.default_return_url) == (True, f"{STORE}/view-license")
    features = portal.features.to_dict()
    for name in ("invoice_history", "payment_method_update"):
        assert features[name]["enabled"]
    assert sorted(features["customer_update"]["allowed_updates"]) == ["address", "email", "name"]
    cancel = features["subscription_cancel"]
    assert (cancel["enabled"], cancel["mode"]) == (True, "at_period_end")
    assert cancel["cancellation_reason"]["enabled"]
    assert "too_expensive" in cancel["cancellation_reason"]["options"]
    update = features["subscription_update"]
    assert (update["enabled"], update["proration_behavior"]) == (True, "always_invoice")
    assert update["default_allowed_updates"] == ["price"]
    assert update["schedule_at_period_end"]["conditions"] == [{"type": "decreasing_item_amount"}]
    assert [one["product"] for one in update["products"]] == MONTHLY


def test_the_events_are_those_the_store_handles(stocked: Shop) -> None:
    (endpoint,) = stocked.v1.webhook_endpoints.list().data
    assert endpoint.url == f"{STORE}/stripe-webhook"
    assert set(endpoint.enabled_events) == set(EVENTS) == HANDLED
    assert len(endpoint.enabled_events) == len(HANDLED)


def test_a_changed_amount_is_a_new_price_under_the_same_key(stocked: Shop) -> None:
    (old,) = stocked.v1.prices.list({"lookup_keys": ["developer"]}).data
    subscription = stocked.subscribe(old)
    dearer = copy.deepcopy(PLANS)
    dearer[0] |= {"unit_amount": 1500, "name": "Solo"}
    made = stock_stripe(stocked.server, dearer, STORE)
    (new,) = stocked.v1.prices.list({"lookup_keys": ["developer"]}).data
    assert (new.id, new.unit_amount) == (made.prices["developer"], 1500)
    kept = stocked.v1.prices.retrieve(old.id)
    assert (kept.active, kept.lookup_key, kept.unit_amount) == (False, None, 1200)
    assert stocked.v1.products.retrieve("developer").name == "Shimmy Vision Solo"
    (portal,) = stocked.v1.billing_portal.configurations.list().data
    assert portal.features.subscription_update.products[0].prices == [new.id]
    assert len(stocked.v1.prices.list({"limit": 100}).data) == len(PLANS) + 1
    paying = stocked.v1.subscriptions.retrieve(subscription.id)
    assert paying["items"].data[0].price.id == old.id
    before = stock(stocked)
    stock_stripe(stocked.server, dearer, STORE)
    assert stock(stocked) == before


def test_another_interval_or_currency_is_a_new_price_too(stocked: Shop) -> None:
    once = copy.deepcopy(PLANS)
    once[0]["interval"] = "once"
    made = stock_stripe(stocked.server, once, STORE)
    assert stocked.v1.prices.retrieve(made.prices["developer"]).recurring is None
    (portal,) = stocked.v1.billing_portal.configurations.list().data
    offered = [one.product for one in portal.features.subscription_update.products]
    assert offered == MONTHLY[1:]
    euros = stock_stripe(stocked.server, once, STORE, "eur")
    assert not set(euros.prices.values()) & set(made.prices.values())


def test_a_store_that_moved_keeps_its_endpoint_and_its_secret(stocked: Shop) -> None:
    first = stock_stripe(stocked.server, PLANS, STORE)
    stocked.v1.webhook_endpoints.update(first.endpoint, {"disabled": True, "enabled_events": ["*"]})
    moved = stock_stripe(stocked.server, PLANS, "http://127.0.0.1:8500")
    (endpoint,) = stocked.v1.webhook_endpoints.list().data
    assert (endpoint.url, endpoint.status) == ("http://127.0.0.1:8500/stripe-webhook", "enabled")
    assert set(endpoint.enabled_events) == HANDLED
    assert (moved.endpoint, moved.webhook_secret) == (first.endpoint, first.webhook_secret)
    (portal,) = stocked.v1.billing_portal.configurations.list().data
    assert portal.default_return_url == "http://127.0.0.1:8500/view-license"


def test_somebody_elses_endpoint_is_left_alone(shop: Shop, receiver: Receiver) -> None:
    other = shop.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["*"]})
    made = stock_stripe(shop.server, PLANS, STORE)
    assert made.endpoint != other.id
    assert shop.v1.webhook_endpoints.retrieve(other.id).url == receiver.url


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[tuple[Shop, str]]:
    """A shop that was stocked before a restart, and the secret it was told then."""
    state = tmp_path / "stripe.sqlite"
    with opened(state) as shop:
        secret = stock_stripe(shop.server, PLANS, STORE).webhook_secret
    with opened(state) as shop:
        yield shop, secret


def test_events_are_signed_with_the_secret_after_a_restart(
    kept: tuple[Shop, str], receiver: Receiver
) -> None:
    shop, secret = kept
    base = receiver.url.rpartition("/")[0]
    made = stock_stripe(shop.server, PLANS, base)
    assert made.webhook_secret == secret
    shop.v1.customers.create({"name": "Ada"})
    customer = shop.v1.customers.create({"name": "Bob"})
    shop.v1.customers.update(customer.id, {"name": "Bo"})
    assert shop.control("deliveries/idle")["idle"]
    ((header, body),) = receiver.got
    event = stripe.StripeClient(shop.server.api_key).construct_event(body, header, secret)
    assert event.type == "customer.updated"


def test_secrets_are_told_while_they_sign(stocked: Shop) -> None:
    def told() -> Any:
        return stocked.browser.get("/_sim/secrets").json()["secrets"]

    made = stock_stripe(stocked.server, PLANS, STORE)
    assert told() == {made.endpoint: [made.webhook_secret]}
    fresh = stocked.control(f"rotate/{made.endpoint}", {"overlap_seconds": 60})["secret"]
    assert told() == {made.endpoint: [fresh, made.webhook_secret]}
    assert stock_stripe(stocked.server, PLANS, STORE).webhook_secret == fresh
    stocked.advance(seconds=61)
    assert told() == {made.endpoint: [fresh]}


def test_refusals_are_explained(shop: Shop) -> None:
    with pytest.raises(StockingError, match="POST webhook_endpoints: This sandbox delivers to"):
        stock_stripe(shop.server, PLANS, "https://store.example")
    odd = [{**PLANS[0], "unit_amount": -1}]
    with pytest.raises(StockingError, match="POST prices: Invalid non-negative integer") as refused:
        stock_stripe(shop.server, odd, STORE)
    assert refused.value.code == "stocking-refused"
    shop.control("answers", {"kind": "api-error", "path": "/v1/products"})
    with pytest.raises(StockingError, match="GET products/developer: An unknown error"):
        stock_stripe(shop.server, PLANS, STORE)


def test_what_is_stocked_can_be_sold(stocked: Shop) -> None:
    price = stocked.v1.prices.list({"lookup_keys": ["startup"]}).data[0]
    subscription = stocked.subscribe(price)
    stocked.advance(days=14)
    portal = stocked.v1.billing_portal.sessions.create({"customer": subscription.customer})
    assert portal.return_url == f"{STORE}/view-license"
    cheap = stocked.v1.prices.list({"lookup_keys": ["developer"]}).data[0]
    form = {"subscription": subscription.id, "price": cheap.id}
    page = stocked.browser.get(f"{portal.url}/confirm", params=form).text
    assert "Nothing is due today" in page
    lifetime = stocked.v1.prices.list({"lookup_keys": ["lifetime"]}).data[0]
    refused = stocked.browser.get(f"{portal.url}/confirm", params={**form, "price": lifetime.id})
    assert refused.status_code == 400
