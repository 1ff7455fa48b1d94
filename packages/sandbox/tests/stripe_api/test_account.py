"""The account, its ways to pay, and the time that Stripe says it is."""

from __future__ import annotations

from datetime import timedelta
from email.utils import parsedate_to_datetime

from .conftest import Shop


def test_the_account_may_charge_and_is_paid_out(shop: Shop) -> None:
    account = shop.v1.accounts.retrieve_current()
    assert account.id == shop.server.account
    assert (account.charges_enabled, account.payouts_enabled) == (True, True)


def test_ways_to_pay_are_switched_off_and_on_again(shop: Shop) -> None:
    (default,) = shop.v1.payment_method_configurations.list({"limit": 100}).data
    assert default.is_default and default.alipay.display_preference.value == "on"
    for preference, available in (("off", False), ("none", True), ("on", True)):
        asked = {"alipay": {"display_preference": {"preference": preference}}}
        shop.v1.payment_method_configurations.update(default.id, asked)
        (found,) = shop.v1.payment_method_configurations.list().data
        assert (found.alipay.available, found.card.available) == (available, True)


def test_every_answer_says_the_time_of_the_simulated_clock(shop: Shop) -> None:
    shop.server.controls.clock.advance(timedelta(days=3))
    answer = shop.browser.get("/v1/account", auth=(shop.server.api_key, ""))
    said = parsedate_to_datetime(answer.headers["date"])
    assert abs(said - shop.server.controls.clock.now()) < timedelta(minutes=1)
