"""What customers see who have proved who they are: each licence once, and nobody else's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ledger_places import NOW, a_link, in_memory, leased
from purchases_made import DAY, bought, lifetime, subscription
from stand_ins import Works

from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.domain.fulfilment import licence_id
from shimmy_store.use_cases.fulfil_customer import fulfil_customer
from shimmy_store.use_cases.show_licences import Shown, show_licences


@dataclass(frozen=True)
class Desk:
    """Two customers with a licence each, and a third who has paid nothing."""

    ledger: SqlLedger
    works: Works

    async def show(self, *customers: str) -> Sequence[Shown]:
        self.works.cabinet.shown.clear()
        return await show_licences(customers, self.ledger, self.works.cabinet)

    async def merge(self, keeper: str, loser: str, *given_up: str) -> None:
        """And bring both licences to what they should be."""
        await self.ledger.add_link(a_link())
        leases = [await leased(self.ledger, one) for one in (keeper, loser)]
        assert await self.ledger.merge_customers(leases[0], leases[1], given_up, "l1", NOW)
        assert await fulfil_customer(keeper, self.works.fulfilment()) == "settled"


def tell(story: Callable[[Desk], Awaitable[None]]) -> None:
    async def told(ledger: SqlLedger) -> None:
        works = Works(ledger, NOW)
        works.till.bought = {
            "cus_1": bought("cus_1", lifetime()),
            "cus_2": bought("cus_2", subscription(name="sub_2", age=DAY)),
            "cus_3": bought("cus_3", subscription("incomplete", name="sub_3", through=None)),
        }
        for customer in works.till.bought:
            assert await fulfil_customer(customer, works.fulfilment()) == "settled"
        await story(Desk(ledger, works))

    in_memory().tell(told)


def plans(shown: Sequence[Shown]) -> list[tuple[str, str | None]]:
    return [
        (one.customer, None if one.holding is None else one.holding.licence.plan) for one in shown
    ]


def test_each_customer_has_a_licence_in_the_order_asked_for() -> None:
    async def story(desk: Desk) -> None:
        assert plans(await desk.show("cus_2", "cus_1")) == (
            [("cus_2", "developer"), ("cus_1", "lifetime")]
        )
        assert desk.works.cabinet.shown == [licence_id("sub_2"), licence_id("pi_1")]
        assert await desk.show() == []

    tell(story)


def test_a_customer_named_twice_is_shown_once() -> None:
    async def story(desk: Desk) -> None:
        assert plans(await desk.show("cus_1", "cus_1")) == [("cus_1", "lifetime")]
        assert len(desk.works.cabinet.shown) == 1

    tell(story)


def test_whoever_has_paid_nothing_has_nothing() -> None:
    async def story(desk: Desk) -> None:
        assert plans(await desk.show("cus_3", "cus_unknown")) == (
            [("cus_3", None), ("cus_unknown", None)]
        )
        assert desk.works.cabinet.shown == []

    tell(story)


def test_a_licence_that_is_not_made_yet_is_none() -> None:
    async def story(desk: Desk) -> None:
        desk.works.cabinet.issued.clear()
        assert plans(await desk.show("cus_1")) == [("cus_1", None)]

    tell(story)


def test_merged_customers_are_shown_once() -> None:
    async def story(desk: Desk) -> None:
        await desk.merge("cus_1", "cus_2", "sub_2")
        for names in (("cus_1", "cus_2"), ("cus_2", "cus_1"), ("cus_1",)):
            assert plans(await desk.show(*names)) == [("cus_1", "lifetime")]
            assert desk.works.cabinet.shown == [licence_id("pi_1")]
        assert desk.works.till.cancelled == ["sub_2"]
        assert desk.works.cabinet.issued[licence_id("sub_2")].suspended

    tell(story)


def test_proof_of_the_one_merged_away_is_no_proof_of_the_keeper() -> None:
    """An outsider may have paid with the address; its holder merged them, and the key is theirs."""

    async def story(desk: Desk) -> None:
        await desk.merge("cus_1", "cus_2", "sub_2")
        assert plans(await desk.show("cus_2")) == [("cus_2", None)]
        assert plans(await desk.show("cus_2", "cus_3")) == [("cus_2", None), ("cus_3", None)]
        assert desk.works.cabinet.shown == []

    tell(story)
