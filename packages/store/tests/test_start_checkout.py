"""Beginning a purchase: at the catalog's price, once a form, and never a second subscription."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import pytest
from ledger_places import MINUTE, NOW, a_link, in_memory, leased
from purchases_made import bought, lifetime, subscription
from stand_ins import Desk, Till

from shimmy_store.adapters.contract_files import read_plans
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.domain.catalog import PLAN_IDS, PlanId, parse_catalog
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.purchases import Purchases
from shimmy_store.errors import PaymentsError
from shimmy_store.ports.checkout import PlanChange, Price
from shimmy_store.use_cases.start_checkout import Counter, Way, start_checkout

CATALOG = parse_catalog(read_plans())
PAGE = "https://store.example/view-license"


def prices(*, livemode: bool = False) -> dict[PlanId, Price]:
    return {
        plan.id: Price(
            f"price_{plan.id}", plan.unit_amount, "usd", plan.interval, livemode=livemode
        )
        for plan in CATALOG.plans
    }


@dataclass
class Shop:
    """The counter, and what lies behind it."""

    ledger: SqlLedger
    desk: Desk = field(default_factory=lambda: Desk(prices()))
    till: Till = field(default_factory=Till)
    livemode: bool = False

    async def start(self, plan: PlanId, customer: str = "", attempt: str = "form 1") -> Way:
        counter = Counter(
            CATALOG,
            self.desk,
            self.till,
            self.ledger,
            self.livemode,
            "https://store.example",
            lambda: NOW,
        )
        return await start_checkout(plan, customer, attempt, counter)


def tell(story: Callable[[Shop], Awaitable[None]]) -> None:
    in_memory().tell(lambda ledger: story(Shop(ledger)))


@pytest.mark.parametrize("plan", PLAN_IDS)
def test_somebody_new_goes_to_pay_the_price_that_was_shown(plan: PlanId) -> None:
    async def story(shop: Shop) -> None:
        way = await shop.start(plan)
        (order,) = shop.desk.orders
        assert way == Way("checkout", f"https://pay.example/{order.attempt}")
        assert (order.plan, order.price) == (CATALOG.plan(plan), f"price_{plan}")
        assert order.customer == ""
        assert order.success_url.endswith("/success?session_id={CHECKOUT_SESSION_ID}")
        assert {urlsplit(one).netloc for one in (order.success_url, order.cancel_url)} == (
            {"store.example"}
        )
        assert shop.till.asked == [], "nobody is asked about who is nobody"

    tell(story)


@pytest.mark.parametrize(
    ("price", "alarm"),
    [
        (replace(prices()["startup"], livemode=True), "wrong-mode"),
        (replace(prices()["startup"], unit_amount=1), "price-differs"),
        (replace(prices()["startup"], currency="eur"), "price-differs"),
        (None, None),
    ],
)
@pytest.mark.parametrize("customer", ["", "cus_new", "cus_1"])
def test_what_has_another_price_or_mode_is_not_sold(
    price: Price | None, alarm: str | None, customer: str
) -> None:
    """To nobody: neither at the checkout nor as a change in the portal."""

    async def story(shop: Shop) -> None:
        shop.till.bought["cus_1"] = bought("cus_1", subscription())
        if price is None:
            del shop.desk.prices["startup"]
        else:
            shop.desk.prices["startup"] = price
        for _ in range(2):
            with pytest.raises(PaymentsError) as refused:
                await shop.start("startup", customer)
            assert (refused.value.code, refused.value.retryable) == ("plan-not-on-sale", False)
        assert (shop.desk.orders, shop.desk.portals) == ([], [])
        raised = [(one.code, one.subject) for one in await shop.ledger.open_alarms()]
        assert raised == ([] if alarm is None else [(alarm, "price_startup")])
        assert (await shop.start("developer")).place == "checkout", "the others are sold"

    tell(story)


def test_in_live_mode_only_live_prices_are_sold() -> None:
    async def story(shop: Shop) -> None:
        shop.livemode = True
        with pytest.raises(PaymentsError):
            await shop.start("developer")
        assert await shop.ledger.open_alarms() == [Alarm("wrong-mode", "price_developer")]
        shop.desk.prices = prices(livemode=True)
        assert (await shop.start("developer")).place == "checkout"

    tell(story)


def test_the_same_form_twice_begins_one_purchase() -> None:
    async def story(shop: Shop) -> None:
        twice = await asyncio.gather(shop.start("startup"), shop.start("startup"))
        assert twice[0] == twice[1]
        assert len(shop.desk.begun) == 1
        others = [
            await shop.start("startup", attempt="form 2"),
            await shop.start("developer"),
            await shop.start("startup", "cus_1"),
            await shop.start("startup", "cus_2"),
        ]
        assert len({one.url for one in (twice[0], *others)}) == 5
        assert [one.customer for one in shop.desk.begun.values()] == ["", "", "", "cus_1", "cus_2"]
        again = [await shop.start("startup"), await shop.start("startup", "cus_1")]
        assert again == [twice[0], others[2]]
        assert all(len(name) <= 200 for name in shop.desk.begun), "an idempotency key has 255"

    tell(story)


def test_a_signed_in_buyer_with_nothing_running_buys_as_the_same_customer() -> None:
    async def story(shop: Shop) -> None:
        shop.till.bought["cus_1"] = bought("cus_1", subscription("canceled"))
        assert (await shop.start("startup", "cus_1")).place == "checkout"
        assert shop.desk.orders[0].customer == "cus_1"

    tell(story)


@pytest.mark.parametrize(
    ("held", "change"),
    [
        (subscription(), PlanChange("sub_1", "price_startup")),
        (subscription("trialing"), PlanChange("sub_1", "price_startup")),
        (subscription(ends=NOW + MINUTE), None),
        (subscription("past_due"), None),
        (subscription("unpaid"), None),
        (subscription("paused"), None),
    ],
)
def test_a_running_subscription_is_changed_and_not_bought_again(
    held: object, change: PlanChange | None
) -> None:
    """What ends or owes is put in order first: no change is prepared."""

    async def story(shop: Shop) -> None:
        shop.till.bought["cus_1"] = Purchases("cus_1", (held,))  # type: ignore[arg-type]
        way = await shop.start("startup", "cus_1")
        assert way == Way("portal", "https://billing.example/1")
        assert shop.desk.portals == [("cus_1", PAGE, change)]
        assert shop.desk.orders == []

    tell(story)


def test_whoever_has_lifetime_is_led_to_it() -> None:
    async def story(shop: Shop) -> None:
        shop.till.bought["cus_1"] = bought("cus_1", lifetime())
        assert await shop.start("lifetime", "cus_1") == Way("licence", PAGE)
        assert (await shop.start("enterprise", "cus_1")).place == "checkout"
        assert (await shop.start("lifetime", "cus_2")).place == "checkout"
        assert [one.customer for one in shop.desk.orders] == ["cus_1", "cus_2"]

    tell(story)


def test_lifetime_that_came_with_a_merge_is_not_sold_again() -> None:
    """Nor is the loser's subscription, which is given up, one to change at the keeper's portal."""

    async def story(shop: Shop) -> None:
        shop.till.bought["cus_1"] = bought("cus_1", subscription("canceled"))
        shop.till.bought["cus_2"] = bought("cus_2", lifetime(), subscription(name="sub_2"))
        await shop.ledger.add_link(a_link())
        keeper, loser = [await leased(shop.ledger, one) for one in ("cus_1", "cus_2")]
        assert await shop.ledger.merge_customers(keeper, loser, ["sub_2"], "l1", NOW)
        assert await shop.start("lifetime", "cus_1") == Way("licence", PAGE)
        assert (await shop.start("startup", "cus_1")).place == "checkout"
        assert shop.desk.portals == []

    tell(story)


@pytest.mark.parametrize("retryable", [False, True])
def test_nothing_is_sold_to_whom_stripe_does_not_tell_of(retryable: bool) -> None:
    async def story(shop: Shop) -> None:
        shop.till.failing["cus_1"] = PaymentsError("cut", "", retryable=retryable)
        with pytest.raises(PaymentsError):
            await shop.start("startup", "cus_1")
        assert shop.desk.orders == []

    tell(story)
