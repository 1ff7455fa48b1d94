"""Mails with a link to sign in: to which mailbox, for whose licences, and until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from outbox import BUSY, MINUTE, REFUSED, PowerCut, Store, in_store, links_of

from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.errors import MailError
from shimmy_store.ports.mail import Mail
from shimmy_store.use_cases.redeem_link import SignedIn, redeem_link
from shimmy_store.use_cases.request_sign_in import request_sign_in
from shimmy_store.use_cases.send_messages import Posted, send_messages

BROWSER = "digest-of-a-cookie"


def test_an_unknown_address_gets_nothing_and_is_done() -> None:
    async def work(store: Store) -> None:
        await store.customer("cus_1", "ada@example.com", "sub_1")
        for unknown in ("eve@example.com", "", "no address"):
            await request_sign_in(unknown, BROWSER, store.ledger, store.time)
        assert await store.send() == Posted(3, 0)
        assert await store.send() == Posted(0, 0)
        assert store.sent == []
        assert await links_of(store) == []

    in_store(work)


async def signed_in(store: Store, mail: Mail, browser: str = BROWSER) -> Any:
    token = mail.written.text.partition("/sign-in?token=")[2].split()[0]
    return await redeem_link(token, browser, store.ledger, store.office.signer, store.time)


def test_one_mail_a_mailbox_and_each_opens_only_its_own() -> None:
    async def work(store: Store) -> None:
        await store.customer("cus_1", "straße@x.example", "sub_1")
        await store.customer("cus_2", "strasse@x.example", "sub_2")
        await store.customer("cus_3", "Strasse@X.example", "sub_3")
        await store.customer("cus_4", "strasser@x.example", "sub_4")
        await request_sign_in("STRASSE@x.example", BROWSER, store.ledger, store.time)
        await store.send()
        assert await store.send() == Posted(0, 0)
        found = {one.to: await signed_in(store, one) for one in store.postman.mails}
        assert found == {
            "strasse@x.example": SignedIn(("cus_2", "cus_3")),
            "straße@x.example": SignedIn(("cus_1",)),
        }
        assert len({one.key for one in store.postman.mails}) == 2
        for mail in store.postman.mails:
            assert await signed_in(store, mail) == "used"
            assert await signed_in(store, mail, "another") == "other-browser"
            assert "KEY-OF" not in mail.written.text

    in_store(work)


@pytest.mark.parametrize("problem", [REFUSED, BUSY])
@pytest.mark.parametrize("bad", ["strasse@x.example", "straße@x.example"])
def test_a_mailbox_that_refuses_is_no_matter_of_another(problem: MailError, bad: str) -> None:
    async def work(store: Store) -> None:
        await store.customer("cus_1", "straße@x.example", "sub_1")
        await store.customer("cus_2", "strasse@x.example", "sub_2")
        store.postman.refuses = {bad: problem}
        await request_sign_in("strasse@x.example", BROWSER, store.ledger, store.time)
        for _ in range(4):
            await store.send()
            store.time += MINUTE
        ((to, _),) = store.sent
        assert to == {"strasse@x.example": "straße@x.example"}.get(bad, "strasse@x.example")

    in_store(work)


def test_a_request_that_is_too_old_sends_nothing() -> None:
    async def work(store: Store) -> None:
        await store.customer("cus_1", "ada@example.com", "sub_1")
        await request_sign_in("ada@example.com", BROWSER, store.ledger, store.time)
        store.time += timedelta(minutes=15)
        assert (await store.send()).waiting == 0
        assert store.sent == []
        await request_sign_in("ada@example.com", BROWSER, store.ledger, store.time)
        store.postman.problems = [BUSY] * 100
        for _ in range(20):
            await store.send()
            store.time += MINUTE
        store.postman.problems = []
        assert await store.send() == Posted(0, 0)
        assert store.sent == []
        stock = await store.ledger.take_stock()
        assert (stock.messages_waiting, stock.messages_parked) == (0, 0)

    in_store(work)


def test_a_link_counts_from_the_request_and_not_from_the_mail() -> None:
    async def work(store: Store) -> None:
        await store.customer("cus_1", "ada@example.com", "sub_1")
        await request_sign_in("ada@example.com", BROWSER, store.ledger, store.time)
        store.time += timedelta(minutes=14)
        await store.send()
        store.time += MINUTE
        assert await signed_in(store, store.postman.mails[0]) == "late"

    in_store(work)


class CutOff(SqlLedger):
    """The power goes out before anything is noted as sent."""

    async def mark_sent(self, key: str, now: datetime) -> None:
        raise PowerCut


def test_after_a_crash_at_any_line_there_is_one_link_a_mailbox() -> None:
    async def work(store: Store) -> None:
        await store.customer("cus_1", "straße@x.example", "sub_1")
        await store.customer("cus_2", "strasse@x.example", "sub_2")
        await request_sign_in("strasse@x.example", BROWSER, store.ledger, store.time)
        cut = replace(store.office, ledger=CutOff(store.database))
        # Once over the request, and once over each of the two mails.
        for _ in range(3):
            with pytest.raises(PowerCut):
                await send_messages(cut, lambda: 1.0)
        assert len(store.postman.mails) == 2
        store.time += 2 * MINUTE
        await store.send()
        assert len(store.postman.mails) == 4
        assert len({one.key for one in store.postman.mails}) == 2
        assert len(await links_of(store)) == 2
        first, again = (one for one in store.postman.mails if "ß" in one.to)
        assert first == again
        assert await signed_in(store, first) == SignedIn(("cus_1",))
        assert await signed_in(store, again) == "used"

    in_store(work)
