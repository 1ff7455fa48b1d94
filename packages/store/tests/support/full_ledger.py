"""Ledgers with something in them, told through the port; and all that lies in one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from ledger_places import MINUTE, NOW, event, leased, notice

from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.ledger_dump import TABLES
from shimmy_store.domain.notices import Notice
from shimmy_store.ports.database import Database, Statement
from shimmy_store.ports.ledger import HeardEvent, Link

ADA = "Ada@Example.com"


def told(identifier: str, customer: str, **body: str) -> HeardEvent:
    """An event whose body has something in it."""
    return replace(event(identifier, customer), body=json.dumps({"id": identifier, **body}))


async def settle(
    ledger: SqlLedger,
    customer: str,
    email: str,
    *,
    notices: Sequence[Notice] = (),
    now: datetime = NOW,
) -> None:
    """The customer has the developer plan by now."""
    lease = await leased(ledger, customer, now=now)
    record = replace(lease.record, origin=f"sub_{customer}", email=email, plan="developer")
    record = replace(record, look_again=now + 1000 * MINUTE)
    assert await ledger.settle_customer(lease, record, notices, now)


async def fill(ledger: SqlLedger) -> None:
    """Two customers with one address, one of them merged into the other; and a third."""
    for number, customer in enumerate(("cus_1", "cus_2", "cus_3"), 1):
        email = ADA if number < 3 else "bob@example.com"
        await ledger.add_event(told(f"evt_{number}", customer, email=email), "pending")
        mail = [notice(f"mail {number}"), notice(f"more {number}")]
        await settle(ledger, customer, email, notices=mail)
    await ledger.add_event(told("evt_open", "cus_1", email=ADA), "pending")
    await ledger.add_event(told("evt_loose", "", email=ADA.lower()), "unknown")
    await ledger.add_event(told("evt_other", "", email="bob@example.com"), "unknown")
    await ledger.add_event(told("evt_odd", "cus_3", say="it's \U0001f980\n100%s ?"), "unknown")
    await ledger.mark_sent("mail 1", NOW + MINUTE)
    await ledger.postpone_message("more 1", "mail-refused", None)
    await ledger.add_link(_link("merge-link", ADA.lower(), "cus_1", "cus_2"))
    await ledger.add_link(_link("others-link", "bob@example.com", "cus_3", "cus_12"))
    typed = {"email": ADA.upper(), "browser": "b", "asked": NOW.isoformat()}
    await ledger.add_message(Notice("sign-in/1", "sign-in", typed), "", NOW)
    others = {**typed, "email": "bob@example.com"}
    await ledger.add_message(Notice("sign-in/2", "sign-in", others), "", NOW)
    await ledger.raise_alarms([Alarm("double-purchase", "sub_cus_1")], NOW, "cus_1")
    await ledger.raise_alarms([Alarm("price-differs", "price_1")], NOW)
    await merge(ledger, "cus_1", "cus_2")


async def merge(ledger: SqlLedger, keeper: str, loser: str) -> None:
    """One customer of two."""
    await ledger.add_link(_link("used-link", "eve@example.com", "cus_8", "cus_9"))
    first, second = await leased(ledger, keeper), await leased(ledger, loser)
    assert await ledger.merge_customers(first, second, ["sub_old"], "used-link", NOW)


def _link(name: str, mailbox: str, *customers: str) -> Link:
    return Link(name, "merge", customers, "", NOW + MINUTE, mailbox=mailbox)


async def everything(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables that a dump has, with all their columns."""
    names = list(TABLES)
    answers = await database.batch([Statement(f"SELECT * FROM {one}") for one in names])  # noqa: S608 - ours
    return {name: [tuple(row) for row in rows] for name, rows in zip(names, answers, strict=True)}
