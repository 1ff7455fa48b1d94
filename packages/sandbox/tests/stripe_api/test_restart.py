"""A restart in the middle of things: nothing is lost, nothing happens twice."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from .conftest import START, opened
from .test_requests import ask


def test_everything_goes_on_after_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "stripe.sqlite"
    headers = {"Idempotency-Key": "kept"}
    with opened(state) as shop:
        shop.freeze()
        shop.control("billing", {"retry_days": [1], "after_retries": "unpaid"})
        subscription = shop.subscribe(shop.price(key="developer"))
        waiting = shop.session(shop.v1.prices.list().data[0])
        challenge = shop.pay(waiting, "4000002760003184").headers["location"]
        first = ask(shop, "POST", "customers", data={"name": "Ada"}, headers=headers)
        types = shop.types()
    # What is kept must not see today's clock for a moment: that may be long after START.
    with opened(state, START) as shop:
        shop.freeze(START + timedelta(hours=1))
        assert shop.types() == types
        again = ask(shop, "POST", "customers", data={"name": "Ada"}, headers=headers)
        assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
        assert shop.browser.get("/_sim/billing").json()["after_retries"] == "unpaid"
        passed = shop.browser.post(challenge, data={"outcome": "complete"})
        assert passed.headers["location"].startswith("http://127.0.0.1:9/thanks")
        shop.freeze(START + timedelta(days=28, hours=2))
        invoices = shop.v1.invoices.list({"subscription": subscription.id}).data
        assert [one.status for one in invoices] == ["paid", "paid"]
        before = shop.types()
    with opened(state, START) as shop:
        shop.freeze(START + timedelta(days=28, hours=2))
        assert shop.types() == before
