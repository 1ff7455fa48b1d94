"""Two customers made one, all at once or not at all, wherever the ledger lies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ledger_places import MINUTE, NOW, Place, a_link, due, event, leased

from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.ports.ledger import CustomerRecord, PendingEvent


async def merge(ledger: SqlLedger, keeper: str, loser: str, name: str, *given_up: str) -> bool:
    """As the holder of a link that was just mailed would."""
    await ledger.add_link(a_link(name))
    leases = [await leased(ledger, one) for one in (keeper, loser)]
    return await ledger.merge_customers(leases[0], leases[1], given_up, name, NOW)


def test_a_merge_does_everything_at_once(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        assert await merge(ledger, "cus_1", "cus_2", "l1", "sub_1", "sub_2")
        loser = CustomerRecord("cus_2", merged_into="cus_1", given_up=("sub_1", "sub_2"))
        assert await ledger.customer("cus_1") == CustomerRecord("cus_1")
        assert await ledger.merged_into("cus_1") == [loser]
        assert await ledger.link("l1") == replace(a_link(), used=NOW)
        (told,) = await ledger.due_events(NOW, 10)
        assert told == PendingEvent(told.id, "customers.merged", "cus_1", NOW, 0)
        lease = await leased(ledger, "cus_1")
        await ledger.settle_customer(lease, lease.record, [], NOW)
        assert await due(ledger) == []

    place.tell(story)


def test_a_customer_settled_later_stays_merged(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        assert await merge(ledger, "cus_1", "cus_2", "l1", "sub_1")
        lease = await leased(ledger, "cus_2")
        record = replace(lease.record, email="a@x")
        await ledger.settle_customer(lease, record, [], NOW)
        assert await ledger.merged_into("cus_1") == [replace(record, settled=NOW)]

    place.tell(story)


def test_whoever_was_merged_into_the_loser_comes_along(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        assert await merge(ledger, "y", "x", "l1", "sub_x")
        assert await merge(ledger, "z", "y", "l2", "sub_y")
        assert await merge(ledger, "a", "b", "l3")
        assert await ledger.merged_into("y") == []
        assert await ledger.merged_into("z") == [
            CustomerRecord("x", merged_into="z", given_up=("sub_x",)),
            CustomerRecord("y", merged_into="z", given_up=("sub_y",)),
        ]
        assert len(await due(ledger)) == 3

    place.tell(story)


@pytest.mark.parametrize("wrong", ["keeper", "loser", "both", "used", "used just now", "late", ""])
def test_a_merge_that_may_not_be_does_nothing(place: Place, wrong: str) -> None:
    """Whoever has a lease keeps it, too."""

    async def story(ledger: SqlLedger) -> None:
        if wrong:
            await ledger.add_link(a_link())
        if wrong.startswith("used"):
            await ledger.use_link("l1", "", NOW if wrong.endswith("now") else NOW - MINUTE)
        if wrong == "late":
            await ledger.add_link(replace(a_link(), expires=NOW))
        await ledger.add_event(event("e1", "cus_2"), "pending")
        past = NOW - MINUTE
        first = [await leased(ledger, one, "a", past) for one in ("cus_1", "cus_2")]
        keeper, loser = [await leased(ledger, one) for one in ("cus_1", "cus_2")]
        before = await ledger.link("l1")
        tried = await ledger.merge_customers(
            first[0] if wrong in ("keeper", "both") else keeper,
            first[1] if wrong in ("loser", "both") else loser,
            ["sub_1"],
            "l1",
            NOW,
        )
        assert not tried
        assert await ledger.link("l1") == before
        assert await due(ledger) == ["e1"]
        for lease in (keeper, loser):
            customer = lease.record.customer
            assert await ledger.customer(customer) == CustomerRecord(customer)
            assert await ledger.settle_customer(lease, lease.record, [], NOW)

    place.tell(story)


def test_a_link_merges_once(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        assert await merge(ledger, "cus_1", "cus_2", "l1")
        assert not await merge(ledger, "cus_3", "cus_4", "l1")
        assert await ledger.merged_into("cus_3") == []
        assert len(await due(ledger)) == 1

    place.tell(story)
