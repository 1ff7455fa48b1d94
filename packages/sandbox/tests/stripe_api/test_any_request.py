"""A random walk over every operation and page: whatever is asked, the sandbox itself never fails.

Replies are held against Stripe's description where it is here. A seed names a walk, so a failure
comes again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from shimmy_sandbox.stripe_api.forms import form_pairs
from shimmy_sandbox.stripe_api.parameters import known_parameters

from . import contract
from .conftest import Shop

PREFIXES = {
    "price": "price_", "prices": "price_", "product": "prod", "customer": "cus_", "id": "si_",
    "subscription": "sub_", "charge": "ch_", "payment_intent": "pi_", "invoice": "in_",
    "payment_method": "pm_", "default_payment_method": "pm_", "configuration": "bpc_",
    "test_clock": "clock_",
}  # fmt: skip
PATHS = {
    "customers": "cus_", "products": "prod", "prices": "price_", "subscriptions": "sub_",
    "invoices": "in_", "checkout": "cs_", "billing_portal": "bpc_", "refunds": "re_",
    "disputes": "du_", "charges": "ch_", "payment_intents": "pi_", "payment_methods": "pm_",
    "test_helpers": "clock_", "events": "evt_", "webhook_endpoints": "we_",
    "invoice_payments": "inpay_", "account": "acct_", "payment_method_configurations": "pmc_",
}  # fmt: skip
WORDS = ["", "x", "usd", "http://127.0.0.1:9/", 'email:"x"', "a@b.c"]
NUMBERS = ["0", "1", "5", "-1", "1200", "100000000000000000", "1801486800", "1804852800"]
CARDS = ["4242424242424242", "4000000000000341", "4000002760003184", "4000000000000259", ""]


@dataclass
class Walker:
    """Chooses what to ask; ``ids`` are those it has seen."""

    shop: Shop
    chance: random.Random
    ids: list[str] = field(default_factory=list)

    def some(self, prefix: str) -> str:
        """An id that begins so, or any."""
        return self.chance.choice([one for one in self.ids if one.startswith(prefix)] or self.ids)

    def value(self, kind: Any, name: str) -> Any:
        """Something of ``kind``, right or a little wrong."""
        if isinstance(kind, list):
            return [self.value(kind[0], name) for _ in range(self.chance.randint(1, 2))]
        if isinstance(kind, dict):
            return self.value(self.chance.choice(kind["|"]), name) if "|" in kind else self.of(kind)
        if kind.startswith("e"):
            return self.chance.choice(kind.partition(":")[2].split("|"))
        if kind == "s" and name in PREFIXES and self.chance.random() < 0.85:
            return self.some(PREFIXES[name])
        choices: dict[str, list[Any]] = {
            "m": [{"a": "b"}],
            "i": NUMBERS,
            "b": ["true", "false"],
            "n": ["1.5"],
        }
        return self.chance.choice(choices.get(kind, WORDS))

    def of(self, kinds: dict[str, Any]) -> dict[str, Any]:
        """An object with what is required and some of the rest."""
        chosen = {}
        for name, kind in kinds.items():
            plain = name.removesuffix("*")
            asked = name.endswith("*") or self.chance.random() < 0.25
            if asked and kind != "x" and plain != "expand":
                chosen[plain] = self.value(kind, plain)
        return chosen

    def step(self) -> None:
        """One request to the API, and to the page it leads to."""
        operation = self.chance.choice(list(known_parameters()))
        method, _, path = operation.partition(" ")
        path = f"/v1/{path}".replace("{id}", self.some(PATHS[path.split("/")[0]]))
        asked = self.of(dict(known_parameters()[operation]))
        if operation == "POST checkout/sessions" and self.chance.random() < 0.7:
            line = {"price": self.some("price_"), "quantity": "1"}
            mode = self.chance.choice(["payment", "subscription"])
            asked |= {"success_url": WORDS[3], "line_items": [line], "mode": mode}
        sent = dict(form_pairs(asked))
        named: dict[str, Any] = {"data" if method == "POST" else "params": sent}
        auth = (self.shop.server.api_key, "")
        reply = self.shop.browser.request(method, path, auth=auth, **named)
        assert reply.status_code < 500, (operation, sent, reply.text)
        wrong = contract.problems(method, path, reply.status_code, reply.json())
        assert not wrong, (operation, sent, wrong)
        if reply.status_code == 200:
            self.look_at(reply.json())

    def look_at(self, found: dict[str, Any]) -> None:
        """Remember ids; pay what can be paid, press every button of a portal."""
        listed = found["data"] if isinstance(found.get("data"), list) else []
        for one in (found, *listed):
            if isinstance(one.get("id"), str) and one["id"] not in self.ids:
                self.ids.append(one["id"])
        if found["object"] == "checkout.session" and found["url"]:
            form = {"email": "a@b.c", "card_cvc": "123", "card_expiry": "12/34"}
            form["card_number"] = self.chance.choice(CARDS)
            form["payment_method"] = self.chance.choice(["card", "alipay"])
            assert self.shop.browser.post(found["url"], data=form).status_code < 500
        if found["object"] == "billing_portal.session":
            for action in ("", "/update", "/cancel", "/card", "/confirm", "/pay", "/keep"):
                form = {name: self.some(PREFIXES[name]) for name in
                        ("subscription", "price", "invoice")}  # fmt: skip
                form["card_number"] = self.chance.choice(CARDS)
                for reply in (
                    self.shop.browser.get(found["url"] + action, params=form),
                    self.shop.browser.post(found["url"] + action, data=form),
                ):
                    assert reply.status_code < 500, (action, form, reply.text)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_that_is_asked_breaks_the_sandbox(shop: Shop, seed: int) -> None:
    walker = Walker(shop, random.Random(seed))
    prices = [shop.price(0), shop.price(1200), shop.price(900, recurring=None),
              shop.price(9900, recurring={"interval": "year"})]  # fmt: skip
    subscription = shop.subscribe(prices[1])
    walker.ids += [one for price in prices for one in (price.id, price.product)]
    walker.ids += [subscription.id, subscription.customer, subscription.latest_invoice]
    walker.ids += [subscription["items"].data[0].id, subscription.default_payment_method]
    walker.ids.append(shop.portal(subscription.customer).configuration)
    for number in range(500):
        walker.step()
        if number % 100 == 99:
            shop.advance(days=walker.chance.choice([1, 10, 31]))
