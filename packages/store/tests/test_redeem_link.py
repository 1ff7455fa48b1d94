"""A mailed link signs in once, in time, in the browser that asked; strangers learn nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from ledger_places import NOW, in_memory, leased

from shimmy_store.adapters.signed_links import SignedLinks
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.ports.ledger import Link
from shimmy_store.use_cases.redeem_link import SignedIn, Unusable, redeem_link

SIGNER, FORGER = SignedLinks(["a secret " * 4]), SignedLinks(["another one " * 4])
LINK = Link(
    "l1",
    "sign-in",
    ("cus_1", "cus_2"),
    "my browser",
    NOW + timedelta(minutes=15),
    mailbox="ada@x.example",
)
TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Gate:
    """Where links are redeemed."""

    ledger: SqlLedger

    async def redeem(
        self, browser: str = "my browser", *, token: str = "", now: datetime = NOW
    ) -> SignedIn | Unusable:
        token = token or SIGNER.token("l1")
        return await redeem_link(token, browser, self.ledger, SIGNER, now)


async def move(ledger: SqlLedger, customer: str, email: str) -> None:
    """A customer has this address at Stripe."""
    lease = await leased(ledger, customer)
    assert await ledger.settle_customer(lease, replace(lease.record, email=email), [], NOW)


def tell(story: Callable[[Gate], Awaitable[None]], link: Link | None = LINK) -> None:
    async def told(ledger: SqlLedger) -> None:
        for customer in LINK.customers:
            await move(ledger, customer, "Ada@X.example")
        if link is not None:
            await ledger.add_link(link)
        await story(Gate(ledger))

    in_memory().tell(told)


def test_a_link_signs_in_once() -> None:
    async def story(gate: Gate) -> None:
        assert await gate.redeem() == SignedIn(("cus_1", "cus_2"))
        assert await gate.redeem() == "used"
        assert await gate.redeem(now=LINK.expires) == "used"
        kept = await gate.ledger.link("l1")
        assert kept == replace(LINK, used=NOW)

    tell(story)


def test_of_many_at_once_one_gets_in() -> None:
    async def story(gate: Gate) -> None:
        found = await asyncio.gather(*(gate.redeem() for _ in range(8)))
        assert sorted(map(str, found)) == sorted([str(SignedIn(LINK.customers)), *["used"] * 7])

    tell(story)


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (LINK.expires - TICK, SignedIn(LINK.customers)),
        (LINK.expires, "late"),
        (LINK.expires + timedelta(days=9), "late"),
    ],
)
def test_a_link_signs_in_for_its_time(now: datetime, found: object) -> None:
    async def story(gate: Gate) -> None:
        assert await gate.redeem(now=now) == found

    tell(story)


@pytest.mark.parametrize("browser", ["another browser", "", "my browser "])
@pytest.mark.parametrize("state", ["good", "used", "late"])
def test_another_browser_learns_nothing_of_its_state(state: str, browser: str) -> None:
    async def story(gate: Gate) -> None:
        if state == "used":
            await gate.redeem()
        now = LINK.expires if state == "late" else NOW
        assert await gate.redeem(browser, now=now) == "other-browser"
        if state == "good":
            assert await gate.redeem() == SignedIn(LINK.customers), "and does not use it up"

    tell(story)


@pytest.mark.parametrize(
    "token",
    [
        "l1",
        "nonsense",
        "é",
        SIGNER.token("l2"),
        FORGER.token("l1"),
        SIGNER.token("l1")[:-1],
        SIGNER.token("l1") + "A",
        "A" * 100_000,
    ],
)
def test_what_was_not_mailed_is_unknown(token: str) -> None:
    async def story(gate: Gate) -> None:
        for browser in ("my browser", "another browser"):
            assert await gate.redeem(browser, token=token) == "unknown"
        assert await gate.redeem() == SignedIn(LINK.customers), "and does no harm"

    tell(story)


@pytest.mark.parametrize("browser", ["", "my browser"])
def test_an_offer_to_merge_signs_nobody_in(browser: str) -> None:
    """It goes to an address that somebody else may have paid with, and is good for a week."""
    offer = replace(LINK, kind="merge", browser=browser)

    async def story(gate: Gate) -> None:
        assert await gate.redeem() == "unknown"
        assert await gate.ledger.link("l1") == offer, "nor is it used up"

    tell(story, offer)


def test_a_link_that_is_kept_nowhere_is_unknown() -> None:
    async def story(gate: Gate) -> None:
        assert await gate.redeem() == "unknown"

    tell(story, None)


@pytest.mark.parametrize("now_at", ["eve@x.example", "ada@x.example.org", ""])
def test_whoever_has_moved_is_not_signed_in_by_the_old_mailbox(now_at: str) -> None:
    async def story(gate: Gate) -> None:
        await move(gate.ledger, "cus_2", now_at)
        assert await gate.redeem() == SignedIn(("cus_1",))

    tell(story)


def test_a_link_to_a_mailbox_that_is_nobodys_any_more_is_too_old() -> None:
    async def story(gate: Gate) -> None:
        for customer in LINK.customers:
            await move(gate.ledger, customer, "eve@x.example")
        assert await gate.redeem("another browser") == "other-browser"
        assert await gate.redeem() == "late"

    tell(story)


def test_a_link_of_no_mailbox_opens_nothing() -> None:
    async def story(gate: Gate) -> None:
        await move(gate.ledger, "cus_1", "")
        assert await gate.redeem() == "late"

    tell(story, replace(LINK, mailbox=""))
