"""Looking at every customer: what no webhook told of is healed, and who fails is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
from ledger_places import NOW, due, event, in_memory, leased
from purchases_made import bought, lifetime, subscription
from stand_ins import Till, Works

from shimmy_store.adapters.ledger_schema import migrate_ledger
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.sqlite_database import SqliteDatabase
from shimmy_store.domain.fulfilment import licence_id
from shimmy_store.errors import LedgerError, LicensingError, PaymentsError
from shimmy_store.ports.database import Statement
from shimmy_store.use_cases.continue_reconciling import continue_reconciling
from shimmy_store.use_cases.reconcile_customers import Looked, reconcile_customers


def works_of(ledger: SqlLedger) -> Works:
    works = Works(ledger, NOW)
    works.till.bought = {
        "cus_1": bought("cus_1", lifetime()),
        "cus_2": bought("cus_2", subscription(name="sub_2")),
        "cus_3": bought("cus_3", subscription(name="sub_3")),
    }
    return works


async def reconciled(works: Works) -> list[Looked]:
    return [one async for one in reconcile_customers(works.fulfilment())]


def tell(story: Callable[[Works], Awaitable[None]]) -> None:
    in_memory().tell(lambda ledger: story(works_of(ledger)))


def test_what_no_webhook_told_of_is_healed() -> None:
    async def story(works: Works) -> None:
        settled = [Looked(f"cus_{number}", "settled") for number in (1, 2, 3)]
        assert await reconciled(works) == settled
        made = {licence_id(one) for one in ("pi_1", "sub_2", "sub_3")}
        assert set(works.cabinet.issued) == made
        assert await reconciled(works) == settled, "again, it finds nothing to do"
        assert set(works.cabinet.issued) == made

    tell(story)


def test_a_parked_event_is_done_with_its_customer() -> None:
    async def story(works: Works) -> None:
        await works.ledger.add_event(event("e1"), "pending")
        await works.ledger.postpone_event("e1", "refused", None)
        assert (await works.ledger.take_stock()).events == {"parked": 1}
        await reconciled(works)
        assert (await works.ledger.take_stock()).events == {"done": 1}
        assert await due(works.ledger) == []

    tell(story)


@pytest.mark.parametrize("retryable", [False, True])
@pytest.mark.parametrize("kind", [PaymentsError, LicensingError])
def test_a_customer_that_fails_is_told_of_and_passed_over(
    kind: type[PaymentsError | LicensingError], retryable: bool
) -> None:
    async def story(works: Works) -> None:
        works.till.failing["cus_2"] = kind("some-code", "", retryable=retryable)
        assert await reconciled(works) == [
            Looked("cus_1", "settled"),
            Looked("cus_2", "failed", "some-code"),
            Looked("cus_3", "settled"),
        ]
        works.till.failing.clear()
        again = await reconciled(works)
        assert {one.outcome for one in again} == {"settled"}, "no lease was left behind"

    tell(story)


def test_a_mistake_of_ours_is_one_customers_matter() -> None:
    async def story(works: Works) -> None:
        works.till.crashing["cus_2"] = ZeroDivisionError("an address: a@b.example")
        assert await reconciled(works) == [
            Looked("cus_1", "settled"),
            Looked("cus_2", "failed", "crashed", "ZeroDivisionError"),
            Looked("cus_3", "settled"),
        ]

    tell(story)


def test_a_customer_that_somebody_works_on_is_said_and_left_to_them() -> None:
    async def story(works: Works) -> None:
        await leased(works.ledger, "cus_2", "another")
        outcomes = [one.outcome for one in await reconciled(works)]
        assert outcomes == ["settled", "busy", "settled"]
        assert works.till.asked == ["cus_1", "cus_3"]

    tell(story)


def test_a_ledger_that_fails_is_no_failure_of_a_customer() -> None:
    """Nothing could be noted of the others, either: there is no use in going on."""

    async def story() -> None:
        database = SqliteDatabase(":memory:")
        try:
            await migrate_ledger(database)
            works = works_of(SqlLedger(database))
            looked = reconcile_customers(works.fulfilment())
            assert await anext(looked) == Looked("cus_1", "settled")
            await database.batch([Statement("DROP TABLE customers")])
            with pytest.raises(LedgerError):
                await anext(looked)
        finally:
            await database.close()

    asyncio.run(story())


class _CutOff(Till):
    async def customers(self, after: str = "") -> AsyncGenerator[str, None]:
        yield "cus_1"
        raise PaymentsError("payments-unreachable", "", retryable=True)


def test_a_list_that_breaks_off_is_an_error_and_what_was_done_is_done() -> None:
    async def story(works: Works) -> None:
        works.till = _CutOff(works.till.bought)
        looked = reconcile_customers(works.fulfilment())
        assert await anext(looked) == Looked("cus_1", "settled")
        with pytest.raises(PaymentsError):
            await anext(looked)
        assert set(works.cabinet.issued) == {licence_id("pi_1")}

    tell(story)


async def _continued(works: Works, most: int) -> list[str]:
    return [one.customer async for one in continue_reconciling(works.fulfilment(), most)]


def test_it_goes_on_where_it_ended_and_begins_anew_after_the_last() -> None:
    async def story(works: Works) -> None:
        assert await _continued(works, 2) == ["cus_1", "cus_2"]
        assert await works.ledger.bookmark() == "cus_2"
        assert await _continued(works, 2) == ["cus_3"]
        assert await works.ledger.bookmark() == ""
        assert await _continued(works, 2) == ["cus_1", "cus_2"]

    tell(story)


class _Forgetful(Till):
    async def customers(self, after: str = "") -> AsyncGenerator[str, None]:
        if after:
            raise PaymentsError("payments-refused", "no such customer")
        yield "cus_1"


def test_a_bookmark_that_stripe_does_not_know_is_dropped() -> None:
    async def story(works: Works) -> None:
        works.till = _Forgetful(works.till.bought)
        await works.ledger.set_bookmark("cus_gone")
        with pytest.raises(PaymentsError):
            await _continued(works, 2)
        assert await _continued(works, 2) == ["cus_1"]

    tell(story)
