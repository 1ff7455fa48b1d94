"""What lies in the outbox goes out: to whom, with what in it, and again where that failed."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from outbox import (
    BUSY,
    MINUTE,
    REFUSED,
    SECOND,
    URL,
    Keys,
    Postman,
    PowerCut,
    Store,
    in_store,
    links_of,
)

from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.domain.convergence import IssuedLicence
from shimmy_store.domain.fulfilment import Alarm, licence_id
from shimmy_store.domain.notices import NoticeKind
from shimmy_store.domain.retry import PARK_AFTER, Crash
from shimmy_store.errors import LicensingError
from shimmy_store.ports.database import Statement
from shimmy_store.use_cases import send_messages
from shimmy_store.use_cases.send_messages import Posted

# What is in them


def test_a_licence_mail_carries_the_key_as_it_is_when_it_is_sent() -> None:
    async def work(store: Store) -> None:
        await store.licensed("cus_1", "ada@example.com")
        store.keys.keys[licence_id("sub_cus_1")] = "KEY-MADE-ANEW"
        assert await store.send() == Posted(1, 0)
        (mail,) = store.postman.mails
        assert (mail.key, mail.to) == (f"licence/{licence_id('sub_cus_1')}", "ada@example.com")
        assert mail.written.subject == "Your Shimmy Developer licence"
        for part in (mail.written.text, mail.written.html):
            assert "KEY-MADE-ANEW" in part
            assert f"{URL}/view-license" in part
            assert "merge" not in part
        assert await store.send() == Posted(0, 0)
        assert len(store.postman.mails) == 1

    in_store(work)


@pytest.mark.parametrize(
    ("kind", "facts", "told"),
    [
        ("renewal-failed", {"until": "2027-05-03T12:00:00+00:00"}, "good until 3 May 2027."),
        ("renewal-failed", {"until": ""}, "could not be charged"),
        ("plan-changed", {"before": "startup"}, "Before: Startup, 50,000 pages a month"),
        ("cancelled", {"reason": "refunded"}, "was refunded"),
        ("cancelled", {"reason": "disputed"}, "is disputed"),
        (
            "cancelled",
            {"reason": "cancelled", "ends": "2027-05-03T12:00:00+00:00"},
            "The last day of your Developer plan is 3 May 2027.",
        ),
        ("cancelled", {"reason": "unpaid", "ends": "2027-05-13T12:00:00+00:00"}, "13 May 2027."),
    ],
)
def test_other_notices_tell_their_facts(kind: NoticeKind, facts: dict[str, str], told: str) -> None:
    async def work(store: Store) -> None:
        identifier = await store.customer("cus_1", "ada@example.com", "sub_1")
        await store.notice(kind, "cus_1", plan="developer", licence=str(identifier), **facts)
        assert await store.send() == Posted(1, 0)
        (mail,) = store.postman.mails
        assert (mail.key, mail.to) == ("n1", "ada@example.com")
        assert told in " ".join(mail.written.text.split())
        assert "KEY-OF" not in mail.written.text

    in_store(work)


@pytest.mark.parametrize(
    ("other", "origin", "address", "offered"),
    [
        ("ada@example.com", "sub_0", "ada@example.com", True),
        ("ADA@Example.com", "sub_0", "ada@example.com", True),
        ("eve@example.com", "sub_0", "ada@example.com", False),
        ("ada@example.com", None, "ada@example.com", False),
        ("strasse@example.com", "sub_0", "straße@example.com", False),
    ],
)
def test_merging_is_offered_to_one_mailbox_with_two_licences(
    other: str, origin: str | None, address: str, offered: bool
) -> None:
    async def work(store: Store) -> None:
        await store.customer("cus_0", other, origin)
        await store.licensed("cus_1", address)
        store.postman.problems = [BUSY, None]
        assert await store.send() == Posted(0, 1)
        store.time += MINUTE
        assert await store.send() == Posted(1, 0)
        (mail,) = store.postman.mails
        assert ("/merge?token=" in mail.written.text) is offered
        assert ("/merge?token=" in mail.written.html) is offered
        assert await links_of(store) == ([("merge", ("cus_0", "cus_1"), "")] if offered else [])

    in_store(work)


def test_an_offer_is_good_for_a_week_from_the_mail_that_arrives() -> None:
    async def work(store: Store) -> None:
        await store.licensed("cus_0", "ada@example.com")
        await store.licensed("cus_1", "ada@example.com")
        store.postman.problems = [BUSY]
        assert await store.send() == Posted(1, 1)
        store.time += timedelta(days=2)
        await store.send()
        # Each mail offers the other one's licence: two links, and no third from trying again.
        rows = await links_of(store)
        assert sorted(rows) == [
            ("merge", ("cus_0", "cus_1"), ""),
            ("merge", ("cus_1", "cus_0"), ""),
        ]
        late = store.postman.mails[1].written.text.partition("/merge?token=")[2].split()[0]
        link = await store.ledger.link(store.office.signer.read(late) or "")
        assert link is not None
        assert link.expires == store.time + timedelta(days=7)

    in_store(work)


def test_an_offer_to_another_mailbox_is_another_one() -> None:
    """Else the holder of the old mailbox had a link that became good again."""

    async def work(store: Store) -> None:
        links = []
        for email in ("ada@example.com", "eve@example.com"):
            await store.customer("cus_0", email, "sub_0")
            identifier = await store.customer("cus_1", email, "sub_1")
            facts = {"licence": str(identifier), "plan": "developer"}
            await store.notice("licence", "cus_1", email, **facts)
            assert await store.send() == Posted(1, 0)
            token = store.postman.mails[-1].written.text.partition("/merge?token=")[2].split()[0]
            link = await store.ledger.link(store.office.signer.read(token) or "")
            assert link is not None
            assert link.mailbox == email
            links.append(link.id)
        assert links[0] != links[1]

    in_store(work)


@pytest.mark.parametrize("sent_first", ["cus_0", "cus_1"])
def test_nobody_who_is_merged_is_offered_a_merge(sent_first: str) -> None:
    async def work(store: Store) -> None:
        await store.customer("cus_0", "ada@example.com", "sub_cus_0")
        await store.customer("cus_1", "ada@example.com", "sub_cus_1")
        merged = "UPDATE customers SET merged_into = 'cus_0' WHERE customer = 'cus_1'"
        await store.database.batch([Statement(merged)])
        await store.licensed(sent_first, "ada@example.com")
        assert await store.send() == Posted(1, 0)
        assert "/merge" not in store.postman.mails[0].written.text

    in_store(work)


# What goes wrong


def test_failures_are_tried_again_ever_later() -> None:
    async def work(store: Store) -> None:
        await store.licensed("cus_1", "ada@example.com")
        store.postman.problems = [BUSY, BUSY, BUSY]
        for seconds in (5, 10, 20):
            assert await store.send() == Posted(0, 1)
            store.time += timedelta(seconds=seconds) - SECOND
            assert await store.send() == Posted(0, 0)
            store.time += SECOND
        assert await store.send() == Posted(1, 0)
        assert await store.ledger.open_alarms() == []

    in_store(work)


def test_what_cannot_be_sent_is_parked_and_others_go_on() -> None:
    async def work(store: Store) -> None:
        await store.licensed("cus_1", "ada@example.com")
        await store.licensed("cus_2", "eve@example.com")
        store.postman.problems = [REFUSED]
        assert await store.send() == Posted(1, 1)
        parked = f"licence/{licence_id('sub_cus_1')}"
        assert await store.ledger.open_alarms() == [Alarm("message-parked", parked)]
        store.time += timedelta(days=9)
        assert await store.send() == Posted(0, 0)
        assert [to for to, _ in store.sent] == ["eve@example.com"]

    in_store(work)


def test_what_fails_for_days_is_parked() -> None:
    async def work(store: Store) -> None:
        await store.licensed("cus_1", "ada@example.com")
        store.postman.problems = [BUSY] * 1000
        end = store.time + PARK_AFTER
        while store.time < end:
            assert await store.send() == Posted(0, 1)
            assert await store.ledger.open_alarms() == []
            store.time += timedelta(hours=1)
        assert await store.send() == Posted(0, 1)
        store.time += PARK_AFTER
        assert await store.send() == Posted(0, 0)
        assert len(await store.ledger.open_alarms()) == 1

    in_store(work)


def test_a_customer_without_address_is_for_a_person_and_others_go_on() -> None:
    async def work(store: Store) -> None:
        await store.licensed("cus_1", "")
        await store.licensed("cus_2", "eve@example.com")
        assert await store.send() == Posted(1, 1)
        assert len(await store.ledger.open_alarms()) == 1
        assert [to for to, _ in store.sent] == ["eve@example.com"]
        await store.customer("cus_1", "ada@example.com", "sub_cus_1")
        assert await store.send() == Posted(1, 0), "once there is an address, it goes there"
        assert store.sent[-1][0] == "ada@example.com"
        assert await store.ledger.open_alarms() == []

    in_store(work)


def test_a_message_that_was_refused_is_sent_when_somebody_says_so() -> None:
    async def work(store: Store) -> None:
        await store.licensed("cus_1", "ada@example.com")
        store.postman.problems = [REFUSED]
        assert await store.send() == Posted(0, 1)
        assert await store.ledger.retry(f"licence/{licence_id('sub_cus_1')}", store.time) == 1
        assert await store.send() == Posted(1, 0)

    in_store(work)


def test_a_message_that_we_cannot_write_waits_and_is_parked_like_any_other() -> None:
    """A mistake of ours: its facts name no licence."""

    async def work(store: Store) -> None:
        await store.customer("cus_1", "ada@example.com", "sub_1")
        await store.notice("licence", "cus_1", plan="developer")
        await store.licensed("cus_2", "eve@example.com")
        assert await store.send() == Posted(1, 1, (Crash("KeyError"),))
        assert await store.send() == Posted(0, 0), "not again at once"
        for _ in range(100):
            store.time += timedelta(hours=1)
            await store.send()
        assert await store.ledger.open_alarms() == [Alarm("message-parked", "n1")]

    in_store(work)


def test_a_token_that_keygen_refuses_is_an_alarm_and_loses_no_mail() -> None:
    async def work(store: Store) -> None:
        await store.licensed("cus_1", "ada@example.com")
        store.keys.problem = LicensingError("licensing-not-allowed", "", retryable=True)
        assert await store.send() == Posted(0, 1)
        assert await store.ledger.open_alarms() == [Alarm("credentials-refused", "keygen")]
        store.keys.problem = None
        store.time += MINUTE
        assert await store.send() == Posted(1, 0)

    in_store(work)


def test_a_licence_that_cannot_be_looked_up_waits() -> None:
    async def work(store: Store) -> None:
        await store.licensed("cus_1", "ada@example.com")
        key = store.keys.keys.pop(licence_id("sub_cus_1"))
        assert await store.send() == Posted(0, 1)
        store.keys.problem = LicensingError("licensing-unreachable", "gone", retryable=True)
        store.time += MINUTE
        assert await store.send() == Posted(0, 1)
        store.keys.problem, store.keys.keys = None, {licence_id("sub_cus_1"): key}
        store.time += MINUTE
        assert await store.send() == Posted(1, 0)

    in_store(work)


def test_two_workers_do_not_send_one_message_twice() -> None:
    async def work(store: Store) -> None:
        for number in range(6):
            await store.licensed(f"cus_{number}", f"{number}@example.com")
        store.postman.lasts = lambda: asyncio.sleep(0.01)
        posted = await asyncio.gather(store.send(), store.send(), store.send())
        assert sum(one.sent for one in posted) == 6
        assert len({one.key for one in store.postman.mails}) == len(store.postman.mails) == 6

    in_store(work)


def test_slow_mails_do_not_let_others_wait_out_their_turn() -> None:
    """Each mail takes half a minute: all together last longer than one is anybody's alone."""

    async def work(store: Store) -> None:
        for number in range(8):
            await store.licensed(f"cus_{number}", f"{number}@example.com")
        other = replace(store, postman=Postman())

        async def lasts() -> None:
            store.time += 30 * SECOND
            other.time = store.time
            if len(store.postman.mails) == 5:
                await other.send()

        store.postman.lasts = lasts
        await store.send()
        keys = [one.key for one in (*store.postman.mails, *other.postman.mails)]
        assert len(keys) == len(set(keys)) == 8
        assert len(other.postman.mails) == 2

    in_store(work)


def test_after_a_crash_it_is_sent_again_under_the_same_key() -> None:
    async def work(store: Store) -> None:
        await store.licensed("cus_0", "ada@example.com")
        await store.licensed("cus_1", "ada@example.com")
        store.postman.problems = [None, PowerCut()]
        with pytest.raises(PowerCut):
            await store.send()
        # Whoever took it is thought to be at it for a while, which is less than a minute.
        store.time += MINUTE / 2
        assert await store.send() == Posted(0, 0)
        store.time += MINUTE / 2
        assert await store.send() == Posted(1, 0)
        _, before, again = store.postman.mails
        assert again == before

    in_store(work)


def test_what_is_looked_up_too_slowly_is_given_up_before_somebody_else_takes_the_mail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(send_messages, "_WRITING", SECOND / 20)

    class Slow(Keys):
        async def find(self, identifier: uuid.UUID) -> IssuedLicence | None:
            await asyncio.sleep(5)
            return await super().find(identifier)

    async def work(store: Store) -> None:
        await store.licensed("cus_1", "ada@example.com")
        quick = store.keys
        store.keys = Slow(quick.keys)
        assert await store.send() == Posted(0, 1), "and it is no mistake of ours"
        store.keys = quick
        assert await store.send() == Posted(0, 0)
        store.time += MINUTE
        monkeypatch.undo()
        assert await store.send() == Posted(1, 0)

    in_store(work)


@pytest.mark.parametrize(("seconds", "sent"), [(5, 1), (6, 0)])
def test_a_message_that_was_taken_too_slowly_is_left_to_the_next_one(
    monkeypatch: pytest.MonkeyPatch, seconds: int, sent: int
) -> None:
    """A mail takes up to forty seconds: at its end somebody else may have begun to send it."""
    take = SqlLedger.take_messages

    async def work(store: Store) -> None:
        async def slowly(*asked: Any) -> Any:
            taken = await take(*asked)
            store.time += seconds * SECOND
            return taken

        await store.licensed("cus_1", "ada@example.com")
        monkeypatch.setattr(SqlLedger, "take_messages", slowly)
        assert await store.send() == Posted(sent, 1 - sent)
        monkeypatch.setattr(SqlLedger, "take_messages", take)
        store.time += MINUTE
        assert await store.send() == Posted(1 - sent, 0), "it was not put off"
        assert len(store.postman.mails) == 1

    in_store(work)
