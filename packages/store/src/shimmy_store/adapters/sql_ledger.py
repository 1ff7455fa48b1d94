"""The ``Ledger`` port in SQL that SQLite, D1 and PostgreSQL share.

No transaction is held open between two statements of ours: what has to happen together is one
batch, and whether it may happen is part of its statements.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from shimmy_store.adapters import ledger_statements as batches
from shimmy_store.adapters.ledger_rows import (
    EVENT,
    LINK,
    MESSAGE,
    RECORD,
    event_of,
    joined,
    link_of,
    maybe,
    message_of,
    record_of,
    stamp,
)
from shimmy_store.adapters.ledger_statements import ERASED, OURS
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.notices import Notice
from shimmy_store.ports.database import Database, Dialect, Row, Statement
from shimmy_store.ports.ledger import (
    CustomerRecord,
    DueWork,
    EventState,
    HeardEvent,
    Lease,
    Link,
    Message,
    PendingEvent,
    Stock,
)

# Without it every worker wants the same rows, and all but one begin anew. Events need no such
# thing: looking at a customer takes longer than a transaction may, so they have leases.
_PASSING_BY: Mapping[Dialect, str] = {"sqlite": "", "postgresql": " FOR UPDATE SKIP LOCKED"}
_SET = (
    "INSERT INTO settings (name, value) VALUES (?, ?)"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)


class SqlLedger:
    """See ``ports.ledger``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _one(self, sql: str, *values: str | int | None) -> Sequence[Row]:
        (rows,) = await self._database.batch([Statement(sql, values)])
        return rows

    async def add_event(self, event: HeardEvent, state: EventState) -> bool:
        rows = await self._one(
            "INSERT INTO events (id, type, customer, payment, created, received, state,"
            f" again, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, CASE WHEN {ERASED} THEN '' ELSE ? END)"
            " ON CONFLICT (id) DO NOTHING RETURNING id",
            event.id,
            event.type,
            event.customer,
            event.payment,
            stamp(event.created),
            stamp(event.received),
            state,
            stamp(event.received),
            event.customer,
            event.body,
        )
        return bool(rows)

    async def unheard(self, events: Sequence[str]) -> frozenset[str]:
        listed = ", ".join("?" for _ in events) or "NULL"
        rows = await self._one(f"SELECT id FROM events WHERE id IN ({listed})", *events)
        return frozenset(events) - {str(one) for (one,) in rows}

    async def heard_through(self) -> datetime | None:
        # The oldest, as long as nothing was compared: with the newest one, whatever was lost before
        # it would never be looked for. What the store tells itself has the time of its own clock.
        ((found,),) = await self._one(
            "SELECT COALESCE((SELECT CAST(value AS BIGINT) FROM settings WHERE name = 'heard'),"
            " (SELECT MIN(created) FROM events WHERE substr(type, 1, 10) <> 'customers.')) AS at"
        )
        return maybe(None if found is None else int(found))

    async def note_heard_through(self, moment: datetime) -> None:
        await self._one(_SET, "heard", str(stamp(moment)))

    async def wake_customers(self, now: datetime) -> None:
        await self._database.batch(batches.wake(now))

    async def due_work(self, now: datetime, most: int) -> Sequence[DueWork]:
        rows = await self._one(
            f"SELECT {EVENT}, heard FROM events JOIN (SELECT MIN(number) AS oldest,"
            " COUNT(*) AS heard FROM events WHERE state = 'pending' AND again <= ?"
            " AND NOT EXISTS (SELECT 1 FROM customers"
            " WHERE customers.customer = events.customer AND lease_until > ?)"
            " GROUP BY customer, CASE WHEN customer = '' THEN number ELSE 0 END"
            " ORDER BY MIN(number) LIMIT ?) AS due ON number = oldest ORDER BY number",
            stamp(now),
            stamp(now),
            most,
        )
        return [DueWork(event_of(row[:-1]), int(row[-1])) for row in rows]

    async def due_events(
        self, now: datetime, most: int, customer: str | None = None
    ) -> Sequence[PendingEvent]:
        whose, named = ("", ()) if customer is None else (" AND customer = ?", (customer,))
        rows = await self._one(
            f"SELECT {EVENT} FROM events WHERE state = 'pending' AND again <= ?{whose}"
            " ORDER BY number LIMIT ?",
            stamp(now),
            *named,
            most,
        )
        return [event_of(row) for row in rows]

    async def lease_customer(
        self, customer: str, owner: str, now: datetime, until: datetime
    ) -> Lease | None:
        # Another one each time: the same owner may try twice at one moment.
        token = f"{owner} {uuid.uuid4()}"
        taken, known = await self._database.batch(
            [
                Statement(
                    "INSERT INTO customers (customer, lease_token, lease_until) VALUES (?, ?, ?)"
                    " ON CONFLICT (customer) DO UPDATE SET lease_token = excluded.lease_token,"
                    " lease_until = excluded.lease_until WHERE customers.lease_until <= ?"
                    f" RETURNING {RECORD}",
                    (customer, token, stamp(until), stamp(now)),
                ),
                # Marked one by one, not by a highest number: numbers are given out before their
                # rows can be seen, so that a lower one may appear later.
                Statement(
                    "UPDATE events SET known_to = ? WHERE customer = ?"
                    f" AND state IN ('pending', 'parked') AND {OURS} RETURNING id",
                    (token, customer, customer, token),
                ),
            ]
        )
        events = tuple(str(identifier) for (identifier,) in known)
        return Lease(record_of(taken[0]), token, until, events) if taken else None

    async def leases_in_the_way(self, now: datetime) -> Sequence[tuple[str, str]]:
        rows = await self._one(
            "SELECT DISTINCT customers.customer, lease_token FROM events JOIN customers"
            " ON customers.customer = events.customer"
            " WHERE state = 'pending' AND again <= ? AND lease_until > ?",
            stamp(now),
            stamp(now),
        )
        return [(str(customer), str(token)) for customer, token in rows]

    async def shorten_lease(self, token: str, until: datetime) -> None:
        # Found by its events, which are few: no index has the token of a lease.
        await self._one(
            "UPDATE customers SET lease_until = ? WHERE lease_token = ? AND lease_until > ?"
            " AND customer IN (SELECT customer FROM events WHERE state = 'pending')",
            stamp(until),
            token,
            stamp(until),
        )

    async def settle_customer(
        self, lease: Lease, record: CustomerRecord, notices: Sequence[Notice], now: datetime
    ) -> bool:
        statements = batches.settle(lease, record, notices, now)
        return bool((await self._database.batch(statements))[-1])

    async def note_origin(self, lease: Lease, origin: str) -> bool:
        return bool(
            await self._one(
                "UPDATE customers SET origin = ? WHERE customer = ? AND lease_token = ?"
                " RETURNING customer",
                origin,
                lease.record.customer,
                lease.token,
            )
        )

    async def release_customer(self, lease: Lease, now: datetime) -> None:
        await self._database.batch(batches.release(lease, now))

    async def merge_customers(
        self, keeper: Lease, loser: Lease, given_up: Sequence[str], link: str, now: datetime
    ) -> bool:
        statements = batches.merge(keeper, loser, given_up, link, now)
        *_, used, _ = await self._database.batch(statements)
        return bool(used)

    async def customer(self, customer: str) -> CustomerRecord | None:
        rows = await self._one(f"SELECT {RECORD} FROM customers WHERE customer = ?", customer)
        return record_of(rows[0]) if rows else None

    async def merged_into(self, customer: str) -> Sequence[CustomerRecord]:
        sql = f"SELECT {RECORD} FROM customers WHERE merged_into = ? ORDER BY customer"
        return [record_of(row) for row in await self._one(sql, customer)]

    async def customers_of(self, email: str) -> Sequence[CustomerRecord]:
        if not email:
            return []
        sql = f"SELECT {RECORD} FROM customers WHERE email_folded = ? ORDER BY customer"
        return [record_of(row) for row in await self._one(sql, email.casefold())]

    async def assign_event(self, event: str, customer: str, now: datetime) -> None:
        await self._one(
            "UPDATE events SET customer = ?, state = ?, settled = ?,"
            f" body = CASE WHEN {ERASED} THEN '' ELSE body END"
            " WHERE id = ? AND state = 'pending'",
            customer,
            "pending" if customer else "done",
            None if customer else stamp(now),
            customer,
            event,
        )

    async def postpone_event(self, event: str, error: str, again: datetime | None) -> None:
        await self._database.batch(batches.postpone_event(event, error, again))

    async def postpone_message(self, key: str, error: str, again: datetime | None) -> None:
        await self._database.batch(batches.postpone_message(key, error, again))

    async def retry(self, name: str | None, now: datetime) -> int:
        _, events, _, messages = await self._database.batch(batches.retry(name, now))
        return len(events) + len(messages)

    async def add_message(self, notice: Notice, customer: str, now: datetime) -> None:
        await self._one(
            "INSERT INTO outbox (key, customer, kind, facts, added) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (key) DO NOTHING",
            notice.key,
            customer,
            notice.kind,
            notice.written(),
            stamp(now),
        )

    async def take_messages(self, now: datetime, until: datetime, most: int) -> Sequence[Message]:
        # Asked twice, inside and out: of two workers the second one finds the row changed, where it
        # does not pass by what the first one is just taking.
        passing_by = _PASSING_BY[self._database.dialect]
        rows = await self._one(
            "WITH due AS (SELECT number FROM outbox WHERE state = 'waiting' AND again <= ?"
            f" ORDER BY number LIMIT ?{passing_by}) UPDATE outbox SET again = ? WHERE"
            " state = 'waiting' AND again <= ? AND number IN (SELECT number FROM due)"
            f" RETURNING {MESSAGE}, number",
            stamp(now),
            most,
            stamp(until),
            stamp(now),
        )
        return [message_of(row[:-1]) for row in sorted(rows, key=lambda row: int(row[-1]))]

    async def mark_sent(self, key: str, now: datetime) -> None:
        await self._one(
            "UPDATE outbox SET sent = ?, state = 'sent', error = NULL"
            " WHERE key = ? AND state <> 'sent'",
            stamp(now),
            key,
        )

    async def add_link(self, link: Link) -> None:
        # Not for one who was erased while the mail with it was written.
        whom = ", ".join("?" for _ in link.customers) or "NULL"
        await self._one(
            f"INSERT INTO links ({LINK}) SELECT ?, ?, ?, ?, CAST(? AS BIGINT), CAST(? AS BIGINT), ?"
            " WHERE NOT EXISTS (SELECT 1 FROM customers WHERE erased IS NOT NULL"
            f" AND customer IN ({whom})) ON CONFLICT (id)"
            " DO UPDATE SET expires = excluded.expires WHERE links.used IS NULL",
            link.id,
            link.kind,
            joined(link.customers),
            link.browser,
            stamp(link.expires),
            None,
            link.mailbox,
            *link.customers,
        )

    async def link(self, identifier: str) -> Link | None:
        rows = await self._one(f"SELECT {LINK} FROM links WHERE id = ?", identifier)
        return link_of(rows[0]) if rows else None

    async def use_link(self, identifier: str, browser: str, now: datetime) -> bool:
        return bool(
            await self._one(
                "UPDATE links SET used = ? WHERE id = ? AND used IS NULL AND expires > ?"
                " AND browser IN ('', ?) RETURNING id",
                stamp(now),
                identifier,
                stamp(now),
                browser,
            )
        )

    async def count_try(self, name: str, period: int) -> int:
        rows = await self._one(
            "INSERT INTO tries (name, period, count) VALUES (?, ?, 1)"
            " ON CONFLICT (name, period) DO UPDATE SET count = tries.count + 1 RETURNING count",
            name,
            period,
        )
        return int(rows[0][0])

    async def raise_alarms(
        self, alarms: Sequence[Alarm], now: datetime, customer: str = ""
    ) -> None:
        await self._database.batch([batches.alarm(one, now, customer) for one in alarms])

    async def open_alarms(self) -> Sequence[Alarm]:
        rows = await self._one(
            "SELECT code, subject FROM alarms WHERE acknowledged IS NULL ORDER BY number"
        )
        return [Alarm(*row) for row in rows]

    async def acknowledge_alarm(self, alarm: Alarm, now: datetime) -> bool:
        return bool(
            await self._one(
                "UPDATE alarms SET acknowledged = ? WHERE code = ? AND subject = ?"
                " AND acknowledged IS NULL RETURNING number",
                stamp(now),
                alarm.code,
                alarm.subject,
            )
        )

    async def prove_writable(self, now: datetime) -> None:
        await self._one(_SET, "written", str(stamp(now)))

    async def take_stock(self) -> Stock:
        every, undone, oldest, messages, alarms = await self._database.batch(
            [
                # All together SQLite counts without looking at one: of a million in 1 ms, not 45.
                Statement("SELECT COUNT(*) FROM events"),
                Statement(
                    "SELECT state, COUNT(*) FROM events"
                    " WHERE state IN ('pending', 'parked', 'unknown') GROUP BY state"
                ),
                Statement("SELECT MIN(received) FROM events WHERE state = 'pending'"),
                Statement(
                    "SELECT state, COUNT(*), MIN(added) FROM outbox WHERE state <> 'sent'"
                    " GROUP BY state"
                ),
                Statement("SELECT COUNT(*) FROM alarms WHERE acknowledged IS NULL"),
            ]
        )
        waiting = {state: (int(count), added) for state, count, added in messages}
        events: dict[EventState, int] = {state: int(count) for state, count in undone}
        # PostgreSQL counts one after the other: what came in between is in the second alone.
        done = max(0, int(every[0][0]) - sum(events.values()))
        return Stock(
            {**events, "done": done} if done else events,
            maybe(oldest[0][0]),
            waiting.get("waiting", (0, None))[0],
            maybe(waiting.get("waiting", (0, None))[1]),
            waiting.get("parked", (0, None))[0],
            int(alarms[0][0]),
        )

    async def bookmark(self) -> str:
        rows = await self._one("SELECT value FROM settings WHERE name = 'bookmark'")
        return str(rows[0][0]) if rows else ""

    async def set_bookmark(self, customer: str) -> None:
        await self._one(_SET, "bookmark", customer)

    async def forget(self, before: datetime, period: int) -> int:
        dropped = await self._database.batch(
            [
                Statement(
                    "UPDATE events SET body = '' WHERE state IN ('done', 'unknown')"
                    " AND received < ? AND body <> '' RETURNING id",
                    (stamp(before),),
                ),
                Statement("DELETE FROM links WHERE expires < ? RETURNING id", (stamp(before),)),
                Statement("DELETE FROM tries WHERE period < ? RETURNING name", (period,)),
                # Their facts name an address that somebody typed.
                Statement(
                    "DELETE FROM outbox WHERE kind = 'sign-in' AND state = 'sent'"
                    " AND sent < ? RETURNING key",
                    (stamp(before),),
                ),
            ]
        )
        return sum(map(len, dropped))
