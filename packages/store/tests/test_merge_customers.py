"""A mailed link merges what its mailbox still is the address of, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pytest
from ledger_places import MINUTE, NOW, in_memory, leased
from purchases_made import DAY, bought, subscription
from stand_ins import Works

from shimmy_store.adapters.signed_links import SignedLinks
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.ports.ledger import Link
from shimmy_store.use_cases.fulfil_customer import fulfil_customer
from shimmy_store.use_cases.merge_customers import Merged, Unmerged, merge_customers

SIGNER = SignedLinks(["a secret " * 4])
BOX = "ada@x.example"


@dataclass(frozen=True)
class Gate:
    """Where links are used."""

    works: Works

    def move(self, customer: str, email: str) -> None:
        """At Stripe; the ledger knows nothing of it yet."""
        before = self.works.till.bought[customer]
        self.works.till.bought[customer] = replace(before, email=email)

    async def merge(self, link: str = "l1") -> Merged | Unmerged:
        return await merge_customers(SIGNER.token(link), SIGNER, self.works.fulfilment())


def tell(story: Callable[[Gate], Awaitable[None]]) -> None:
    async def told(ledger: SqlLedger) -> None:
        works = Works(ledger, NOW)
        for number in (1, 2, 3):
            customer = f"cus_{number}"
            made = bought(customer, subscription(name=f"sub_{number}", age=number * DAY))
            works.till.bought[customer] = replace(made, email=BOX)
            assert await fulfil_customer(customer, works.fulfilment()) == "settled"
        for name, pair in (("l1", ("cus_1", "cus_2")), ("l2", ("cus_2", "cus_3"))):
            await ledger.add_link(Link(name, "merge", pair, "", NOW + MINUTE, mailbox=BOX))
        await story(Gate(works))

    in_memory().tell(told)


def test_two_customers_of_the_mailbox_become_one() -> None:
    async def story(gate: Gate) -> None:
        gate.move("cus_1", " ADA@X.example")
        assert await gate.merge() == Merged("cus_2")
        assert await gate.merge() == "used"

    tell(story)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (BOX, "eve@x.example"),
        ("eve@x.example", BOX),
        ("eve@x.example", "eve@x.example"),
        ("", BOX),
        ("", ""),
    ],
)
def test_who_has_moved_is_not_merged_by_the_old_mailbox(first: str, second: str) -> None:
    async def story(gate: Gate) -> None:
        gate.move("cus_1", first)
        gate.move("cus_2", second)
        assert await gate.merge() == "other-address"
        link = await gate.works.ledger.link("l1")
        assert link is not None
        assert link.used is None
        for customer in ("cus_1", "cus_2"):
            record = await gate.works.ledger.customer(customer)
            assert record is not None
            assert record.merged_into == ""
            await leased(gate.works.ledger, customer)
        assert len(gate.works.cabinet.issued) == 3

    tell(story)


def test_who_was_merged_into_somebody_who_moved_is_not_merged_further() -> None:
    async def story(gate: Gate) -> None:
        assert await gate.merge() == Merged("cus_2")
        gate.move("cus_2", "eve@x.example")
        assert await gate.merge("l2") == "other-address"

    tell(story)


def test_a_link_of_no_mailbox_merges_nothing() -> None:
    async def story(gate: Gate) -> None:
        pair = ("cus_1", "cus_2")
        await gate.works.ledger.add_link(Link("l3", "merge", pair, "", NOW + MINUTE))
        for customer in pair:
            gate.move(customer, "")
        assert await gate.merge("l3") == "other-address"

    tell(story)
