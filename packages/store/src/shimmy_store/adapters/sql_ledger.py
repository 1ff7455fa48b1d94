"""The ``Ledger`` port in SQL that SQLite, D1 and PostgreSQL share.

No transaction is held open between two statements of ours: what has to happen together is one
batch, and whether it may happen is part of its statements.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from shimmy_store.adapters.ledger_rows import (
    LINK,
    RECORD,
    joined,
    link_of,
    maybe,
    message_of,
    moment,
    record_of,
    stamp,
)
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.notices import Notice
from shimmy_store.ports.database import Database, Row, Statement
from shimmy_store.ports.ledger import (
    CustomerRecord,
    EventState,
    HeardEvent,
    Lease,
    Link,
    Message,
    PendingEvent,
    Stock,
)

_OURS = "EXISTS (SELECT 1 FROM customers WHERE customer = ? AND lease_token = ?)"
_FREE = "lease_token = '', lease_until = 0"


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
            " again, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO NOTHING RETURNING id",
            event.id,
            event.type,
            event.customer,
            event.payment,
            stamp(event.created),
            stamp(event.received),
            state,
            stamp(event.received),
            event.body,
        )
        return bool(rows)

    async def due_events(self, now: datetime, most: int) -> Sequence[PendingEvent]:
        rows = await self._one(
            "SELECT id, type, customer, received, attempts, payment FROM events"
            " WHERE state = 'pending' AND again <= ? ORDER BY number LIMIT ?",
            stamp(now),
            most,
        )
        return [
            PendingEvent(identifier, kind, customer, moment(received), attempts, payment)
            for identifier, kind, customer, received, attempts, payment in rows
        ]

    async def lease_customer(
        self, customer: str, owner: str, now: datetime, until: datetime
    ) -> Lease | None:
        # Another one each time: the same owner may try twice at one moment.
        token = f"{owner} {uuid.uuid4()}"
        taken, _ = await self._database.batch(
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
                    f" AND state IN ('pending', 'parked') AND {_OURS}",
                    (token, customer, customer, token),
                ),
            ]
        )
        return Lease(record_of(taken[0]), token, until) if taken else None

    async def settle_customer(
        self, lease: Lease, record: CustomerRecord, notices: Sequence[Notice], now: datetime
    ) -> bool:
        ours = (record.customer, lease.token)
        statements = [
            Statement(
                "INSERT INTO outbox (key, customer, kind, facts, added) SELECT ?, ?, ?, ?,"
                f" CAST(? AS BIGINT) WHERE {_OURS} ON CONFLICT (key) DO NOTHING",
                (one.key, record.customer, one.kind, one.written(), stamp(now), *ours),
            )
            for one in notices
        ]
        statements += [
            Statement(
                "UPDATE events SET state = 'done', error = NULL WHERE customer = ?"
                f" AND known_to = ? AND state IN ('pending', 'parked') AND {_OURS}",
                (*ours, *ours),
            ),
            # Last: it gives the lease back, on which the others depend.
            Statement(
                "UPDATE customers SET origin = ?, email = ?, email_folded = ?, plan = ?,"
                f" changes = ?, settled = ?, {_FREE}"
                " WHERE customer = ? AND lease_token = ? RETURNING customer",
                (
                    record.origin,
                    record.email,
                    record.email.casefold(),
                    record.plan,
                    record.changes,
                    stamp(now),
                    *ours,
                ),
            ),
        ]
        return bool((await self._database.batch(statements))[-1])

    async def release_customer(self, lease: Lease) -> None:
        await self._one(
            f"UPDATE customers SET {_FREE} WHERE customer = ? AND lease_token = ?",
            lease.record.customer,
            lease.token,
        )

    async def merge_customers(
        self, keeper: Lease, loser: Lease, given_up: Sequence[str], link: str, now: datetime
    ) -> bool:
        kept, lost = keeper.record.customer, loser.record.customer
        both = (kept, keeper.token, lost, loser.token)
        # What the first statements ask for is used up by the last ones: they turn both leases into
        # one of this merge's own, and only with that is the link used.
        merging = f"merge {uuid.uuid4()}"
        good = "EXISTS (SELECT 1 FROM links WHERE id = ? AND used IS NULL AND expires > ?)"
        if_ours = f"{_OURS} AND {_OURS} AND {good}"
        condition = (*both, link, stamp(now))
        statements = [
            Statement(
                "INSERT INTO events (id, type, customer, payment, created, received, state,"
                " again, body) SELECT ?, 'customers.merged', ?, '', CAST(? AS BIGINT),"
                f" CAST(? AS BIGINT), 'pending', CAST(? AS BIGINT), '' WHERE {if_ours}"
                " ON CONFLICT (id) DO NOTHING",
                (f"merge {link}", kept, stamp(now), stamp(now), stamp(now), *condition),
            ),
            Statement(
                f"UPDATE customers SET merged_into = ? WHERE merged_into = ? AND {if_ours}",
                (kept, lost, *condition),
            ),
            Statement(
                "UPDATE customers SET merged_into = ?, given_up = ? WHERE customer = ?"
                f" AND {if_ours}",
                (kept, joined(given_up), lost, *condition),
            ),
            Statement(
                f"UPDATE customers SET lease_token = ? WHERE customer IN (?, ?) AND {if_ours}",
                (merging, kept, lost, *condition),
            ),
            Statement(
                "UPDATE links SET used = ? WHERE id = ? AND used IS NULL"
                f" AND {_OURS} AND {_OURS} RETURNING id",
                (stamp(now), link, kept, merging, lost, merging),
            ),
            Statement(
                f"UPDATE customers SET {_FREE} WHERE customer IN (?, ?) AND lease_token = ?",
                (kept, lost, merging),
            ),
        ]
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

    async def assign_event(self, event: str, customer: str) -> None:
        await self._one(
            "UPDATE events SET customer = ?, state = ? WHERE id = ? AND state = 'pending'",
            customer,
            "pending" if customer else "done",
            event,
        )

    async def postpone_event(self, event: str, error: str, again: datetime | None) -> None:
        await self._postpone("events", "id", "pending", "event-parked", event, error, again)

    async def postpone_message(self, key: str, error: str, again: datetime | None) -> None:
        await self._postpone("outbox", "key", "waiting", "message-parked", key, error, again)

    async def _postpone(
        self,
        table: str,
        column: str,
        waiting: str,
        alarm: str,
        name: str,
        error: str,
        again: datetime | None,
    ) -> None:
        state, due = ("parked", 0) if again is None else (waiting, stamp(again))
        since = "received" if table == "events" else "added"
        statements = [
            Statement(
                f"UPDATE {table} SET attempts = attempts + 1, error = ?, state = ?, again = ?"
                f" WHERE {column} = ? AND state = '{waiting}'",
                (error, state, due, name),
            )
        ]
        if again is None:
            statements.append(
                Statement(
                    f"INSERT INTO alarms (code, subject, raised) SELECT ?, {column}, {since}"
                    f" FROM {table} WHERE {column} = ? AND state = 'parked'"
                    " ON CONFLICT (code, subject) DO NOTHING",
                    (alarm, name),
                )
            )
        await self._database.batch(statements)

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
        # Asked twice, inside and out: of two workers the second one finds the row changed.
        rows = await self._one(
            "UPDATE outbox SET again = ? WHERE state = 'waiting' AND again <= ? AND number IN"
            " (SELECT number FROM outbox WHERE state = 'waiting' AND again <= ?"
            " ORDER BY number LIMIT ?) RETURNING key, kind, facts, customer, attempts, number",
            stamp(until),
            stamp(now),
            stamp(now),
            most,
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
        await self._one(
            f"INSERT INTO links ({LINK}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id)"
            " DO UPDATE SET expires = excluded.expires WHERE links.used IS NULL",
            link.id,
            link.kind,
            joined(link.customers),
            link.browser,
            stamp(link.expires),
            None,
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

    async def raise_alarms(self, alarms: Sequence[Alarm], now: datetime) -> None:
        await self._database.batch(
            [
                Statement(
                    "INSERT INTO alarms (code, subject, raised) VALUES (?, ?, ?)"
                    " ON CONFLICT (code, subject) DO NOTHING",
                    (one.code, one.subject, stamp(now)),
                )
                for one in alarms
            ]
        )

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

    async def take_stock(self) -> Stock:
        events, oldest, messages, alarms = await self._database.batch(
            [
                Statement("SELECT state, COUNT(*) FROM events GROUP BY state"),
                Statement("SELECT MIN(received) FROM events WHERE state IN ('pending', 'parked')"),
                Statement(
                    "SELECT state, COUNT(*), MIN(added) FROM outbox WHERE state <> 'sent'"
                    " GROUP BY state"
                ),
                Statement("SELECT COUNT(*) FROM alarms WHERE acknowledged IS NULL"),
            ]
        )
        waiting = {state: (int(count), added) for state, count, added in messages}
        return Stock(
            {state: int(count) for state, count in events},
            maybe(oldest[0][0]),
            waiting.get("waiting", (0, None))[0],
            maybe(waiting.get("waiting", (0, None))[1]),
            waiting.get("parked", (0, None))[0],
            int(alarms[0][0]),
        )

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
