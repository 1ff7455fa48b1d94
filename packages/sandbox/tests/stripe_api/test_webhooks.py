"""Events and their delivery: signed, retried, held, doubled, reordered, dropped, delayed."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
import stripe

from shimmy_sandbox.stripe_api.deliveries import RETRY_SECONDS
from shimmy_sandbox.stripe_api.identity import API_VERSION

from . import contract
from .conftest import Receiver, Shop, browser_of, endpoint, opened, sdk_of, unix
from .test_renewals import shop_now


def settle(shop: Shop) -> None:
    """Wait until nothing is due."""
    assert shop.control("deliveries/idle", {"timeout_seconds": 20}) == {"idle": True}


def states(shop: Shop) -> list[str]:
    return [one["state"] for one in shop.browser.get("/_sim/deliveries").json()["deliveries"]]


def test_deliveries_are_signed_and_in_order(shop: Shop, receiver: Receiver) -> None:
    made = endpoint(shop, receiver)
    assert made.secret.startswith("whsec_")
    assert made.api_version == API_VERSION
    subscription = shop.subscribe(shop.price())
    settle(shop)
    assert receiver.types == shop.types()
    assert receiver.types[-1] == "checkout.session.completed"
    for signature, body in receiver.got:
        event = shop.sdk.construct_event(body, signature, made.secret)
        assert event.api_version == API_VERSION
        assert event.livemode is False
        assert not contract.event_problems(json.loads(body))
        kept = shop.v1.events.retrieve(event.id)
        assert (kept.type, kept.pending_webhooks) == (event.type, 0)
        assert (event.pending_webhooks, event.created) == (1, kept.created)
        with pytest.raises(stripe.SignatureVerificationError):
            shop.sdk.construct_event(body + b" ", signature, made.secret)
    created = next(
        shop.sdk.construct_event(body, signature, made.secret)
        for signature, body in receiver.got
        if b'"customer.subscription.created"' in body
    )
    assert created.data.object.id == subscription.id
    assert created.data.object["items"].data[0].price.unit_amount == 1200


def test_events_name_the_request_that_caused_them(shop: Shop) -> None:
    options = {"idempotency_key": "make-it-once"}
    customer = shop.v1.customers.create({"email": "a@example.com"}, options)
    updated = shop.v1.customers.update(customer.id, {"name": "Ada", "metadata": {"a": "1"}})
    created, changed = shop.events("customer.created", "customer.updated")
    assert created.request.idempotency_key == "make-it-once"
    assert created.request.id == customer.last_response.headers["request-id"]
    assert changed.data.previous_attributes.to_dict() == {"name": None, "metadata": {"a": None}}
    assert changed.data.object.name == updated.name == "Ada"
    shop.v1.customers.update(customer.id, {"name": "Ada"})
    assert len(shop.events("customer.updated")) == 1
    shop.v1.customers.delete(customer.id)
    assert shop.types()[-1] == "customer.deleted"


def test_only_what_an_endpoint_wants(shop: Shop, receiver: Receiver) -> None:
    made = endpoint(shop, receiver, ["customer.deleted"])
    customer = shop.v1.customers.create({})
    shop.v1.customers.delete(customer.id)
    settle(shop)
    assert receiver.types == ["customer.deleted"]
    assert [one.id for one in shop.v1.events.list({"types": ["customer.deleted"]})]
    shop.v1.webhook_endpoints.update(made.id, {"disabled": True})
    assert shop.v1.webhook_endpoints.retrieve(made.id).status == "disabled"
    shop.v1.customers.delete(shop.v1.customers.create({}).id)
    settle(shop)
    assert len(receiver.got) == 1
    assert "secret" not in shop.v1.webhook_endpoints.retrieve(made.id).to_dict()
    assert "secret" not in shop.v1.webhook_endpoints.list().data[0].to_dict()
    assert shop.v1.webhook_endpoints.delete(made.id).deleted


@pytest.mark.parametrize("status", [500, 302, 404])
def test_only_2xx_counts_and_failures_are_retried(
    shop: Shop, receiver: Receiver, status: int
) -> None:
    endpoint(shop, receiver)
    receiver.answers = [status, status, 204]
    shop.v1.customers.create({})
    settle(shop)
    event = shop.v1.events.list().data[0]
    assert event.pending_webhooks == 1
    assert [one.id for one in shop.v1.events.list({"delivery_success": False})] == [event.id]
    for wait in RETRY_SECONDS[:2]:
        settle(shop)
        shop.advance(seconds=wait)
    settle(shop)
    assert receiver.types == ["customer.created"] * 3
    assert shop.v1.events.retrieve(event.id).pending_webhooks == 0
    assert states(shop) == ["delivered"]
    shop.advance(days=3)
    settle(shop)
    assert len(receiver.got) == 3


def test_an_endpoint_that_never_answers_is_given_up(shop: Shop) -> None:
    shop.control("deliveries", {"retry_seconds": [10, 20]})
    closed = {"url": "http://127.0.0.1:9/none", "enabled_events": ["*"]}
    shop.v1.webhook_endpoints.create(closed)
    shop.v1.customers.create({})
    for _ in range(3):
        settle(shop)
        shop.advance(seconds=30)
    settle(shop)
    (delivery,) = shop.browser.get("/_sim/deliveries").json()["deliveries"]
    assert (delivery["state"], delivery["attempts"]) == ("failed", 3)
    assert "Connect" in delivery["last_problem"]
    assert sum(RETRY_SECONDS) == pytest.approx(3 * 86400, rel=0.01)


def test_held_and_released_in_reverse(shop: Shop, receiver: Receiver) -> None:
    endpoint(shop, receiver)
    shop.control("deliveries", {"hold": True})
    shop.subscribe(shop.price())
    settle(shop)
    assert receiver.got == []
    shop.control("deliveries", {"release": "reversed"})
    settle(shop)
    assert receiver.types == shop.types()[::-1]


def test_doubled_dropped_delayed_resent(shop: Shop, receiver: Receiver) -> None:
    endpoint(shop, receiver)
    shop.control("deliveries", {"duplicate": 1, "drop": ["customer.updated"]})
    customer = shop.v1.customers.create({})
    shop.v1.customers.update(customer.id, {"name": "Ada"})
    settle(shop)
    assert receiver.types == ["customer.created"] * 2
    first, second = (body for _, body in receiver.got)
    assert first == second
    shop.control("deliveries", {"duplicate": 0, "drop": [], "delay_seconds": 60})
    shop.v1.customers.delete(customer.id)
    settle(shop)
    assert len(receiver.got) == 2
    shop.advance(seconds=60)
    settle(shop)
    assert receiver.types[2:] == ["customer.deleted"]
    shop.control("deliveries", {"resend": shop.v1.events.list().data[-1].id})
    settle(shop)
    assert receiver.types[3:] == ["customer.created"]
    for wrong in ({"hold": 1}, {"resend": "evt_none"}, {"lose": True}, {"timestamps": "never"},
                  {"retry_seconds": ["soon"]}, {"drop": [1]}, {"duplicate": -1}):  # fmt: skip
        assert shop.browser.post("/_sim/deliveries", json=wrong).status_code == 400


def test_two_secrets_overlap(shop: Shop, receiver: Receiver) -> None:
    made = endpoint(shop, receiver)
    fresh = shop.control(f"rotate/{made.id}", {"overlap_seconds": 3600})["secret"]
    shop.v1.customers.create({})
    settle(shop)
    signature, body = receiver.got[0]
    assert signature.count("v1=") == 2
    for secret in (made.secret, fresh):
        assert shop.sdk.construct_event(body, signature, secret)
    shop.advance(hours=1)
    shop.v1.customers.create({})
    settle(shop)
    signature, body = receiver.got[1]
    assert signature.count("v1=") == 1
    assert shop.sdk.construct_event(body, signature, fresh)
    with pytest.raises(stripe.SignatureVerificationError):
        shop.sdk.construct_event(body, signature, made.secret)


def test_signatures_carry_real_time_unless_told(shop: Shop, receiver: Receiver) -> None:
    endpoint(shop, receiver)
    shop.v1.customers.create({})
    settle(shop)
    shop.control("deliveries", {"timestamps": "simulated"})
    shop.v1.customers.create({})
    settle(shop)
    real, simulated = (
        int(signature.split(",")[0].removeprefix("t=")) for signature, _ in receiver.got
    )
    assert abs(real - time.time()) < 60
    assert simulated == unix(shop_now(shop))


@pytest.mark.parametrize(
    "url", ["https://example.com/hook", "http://10.0.0.1/", "ftp://127.0.0.1/", "nothing", ""]
)
def test_nothing_is_delivered_beyond_loopback(shop: Shop, url: str) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.webhook_endpoints.create({"url": url, "enabled_events": ["*"]})


def test_the_customer_is_sent_on_when_the_shop_has_answered(shop: Shop, receiver: Receiver) -> None:
    endpoint(shop, receiver, ["checkout.session.completed"])
    assert shop.pay(shop.session(shop.price())).status_code == 303
    assert receiver.types == ["checkout.session.completed"]


def test_many_at_once(shop: Shop, receiver: Receiver) -> None:
    endpoint(shop, receiver)
    price = shop.price()
    failures: list[BaseException] = []

    def buy() -> None:
        try:
            with sdk_of(shop.server) as sdk, browser_of(shop.server) as browser:
                mine = Shop(shop.server, sdk, browser)
                subscription = mine.subscribe(price)
                charge = sdk.v1.charges.list({"customer": subscription.customer}).data[0]
                sdk.v1.refunds.create({"charge": charge.id})
        except BaseException as problem:  # noqa: BLE001 - the test's own thread reports it
            failures.append(problem)

    threads = [threading.Thread(target=buy) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    settle(shop)
    delivered = [json.loads(body)["id"] for _, body in receiver.got]
    assert sorted(delivered) == sorted(event.id for event in shop.events())
    assert len(shop.v1.subscriptions.list().data) == 6


def test_what_waits_is_delivered_after_a_restart(tmp_path: Any, receiver: Receiver) -> None:
    state = tmp_path / "stripe.sqlite"
    with opened(state) as shop:
        made = endpoint(shop, receiver)
        shop.control("deliveries", {"hold": True})
        customer = shop.v1.customers.create({"email": "kept@example.com"})
    assert receiver.got == []
    with opened(state) as shop:
        assert shop.v1.customers.retrieve(customer.id).email == "kept@example.com"
        shop.control("deliveries", {"release": "in-order"})
        settle(shop)
        signature, body = receiver.got[0]
        assert shop.sdk.construct_event(body, signature, made.secret).type == "customer.created"
