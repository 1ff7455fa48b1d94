"""The ``Ledger`` port in SQL that SQLite and D1 share.

No transaction is held open between two statements of ours: what has to happen together is one
batch, and whether it may happen is part of its statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.ports.database import Database, Statement
from shimmy_store.ports.ledger import (
    CustomerRecord,
    EventState,
    HeardEvent,
    Lease,
    Message,
    PendingEvent,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_STILL_OURS = "EXISTS (SELECT 1 FROM customers WHERE customer = ? AND lease_owner = ?)"


class SqlLedger:
    """See ``ports.ledger``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_event(self, event: HeardEvent, state: EventState) -> bool:
        (rows,) = await self._database.batch(
            [
                Statement(
                    "INSERT INTO events (id, type, customer, payment, created, received, state,"
                    " again, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (id) DO NOTHING RETURNING id",
                    (
                        event.id,
                        event.type,
                        event.customer,
                        event.payment,
                        _stamp(event.created),
                        _stamp(event.received),
                        state,
                        _stamp(event.received),
                        event.body,
                    ),
                )
            ]
        )
        return bool(rows)

    async def due_events(self, now: datetime, most: int) -> Sequence[PendingEvent]:
        (rows,) = await self._database.batch(
            [
                Statement(
                    "SELECT id, type, customer, received, attempts, payment FROM events"
                    " WHERE state = 'pending' AND again <= ? ORDER BY number LIMIT ?",
                    (_stamp(now), most),
                )
            ]
        )
        return [
            PendingEvent(identifier, kind, customer, _moment(received), attempts, payment)
            for identifier, kind, customer, received, attempts, payment in rows
        ]

    async def lease_customer(
        self, customer: str, owner: str, now: datetime, until: datetime
    ) -> Lease | None:
        take = Statement(
            "INSERT INTO customers (customer, lease_owner, lease_until) VALUES (?, ?, ?)"
            " ON CONFLICT (customer) DO UPDATE SET lease_owner = excluded.lease_owner,"
            " lease_until = excluded.lease_until WHERE customers.lease_until <= ?"
            " RETURNING origin, settled",
            (customer, owner, _stamp(until), _stamp(now)),
        )
        # Events heard later than this may tell of something that Stripe did not know yet when it
        # was asked: they stay pending.
        horizon = Statement(
            "SELECT COALESCE(MAX(number), 0) FROM events WHERE customer = ?", (customer,)
        )
        taken, numbers = await self._database.batch([take, horizon])
        if not taken:
            return None
        origin, settled = taken[0]
        record = CustomerRecord(customer, origin, None if settled is None else _moment(settled))
        return Lease(record, owner, until, int(numbers[0][0]))

    async def settle_customer(
        self,
        lease: Lease,
        record: CustomerRecord,
        messages: Sequence[Message],
        now: datetime,
    ) -> bool:
        ours = (record.customer, lease.owner)
        statements = [
            Statement(
                "INSERT INTO outbox (key, customer, kind, body) SELECT ?, ?, ?, ?"
                f" WHERE {_STILL_OURS} ON CONFLICT (key) DO NOTHING",
                (one.key, one.customer, one.kind, one.body, *ours),
            )
            for one in messages
        ]
        statements += [
            Statement(
                "UPDATE events SET state = 'done', error = NULL WHERE customer = ? AND number <= ?"
                f" AND state IN ('pending', 'parked') AND {_STILL_OURS}",
                (record.customer, lease.horizon, *ours),
            ),
            # Last: it gives the lease back, on which the others depend.
            Statement(
                "UPDATE customers SET origin = ?, settled = ?, lease_owner = '', lease_until = 0"
                " WHERE customer = ? AND lease_owner = ? RETURNING customer",
                (record.origin, _stamp(now), *ours),
            ),
        ]
        return bool((await self._database.batch(statements))[-1])

    async def release_customer(self, lease: Lease) -> None:
        await self._database.batch(
            [
                Statement(
                    "UPDATE customers SET lease_owner = '', lease_until = 0"
                    " WHERE customer = ? AND lease_owner = ?",
                    (lease.record.customer, lease.owner),
                )
            ]
        )

    async def assign_event(self, event: str, customer: str) -> None:
        await self._database.batch(
            [
                Statement(
                    "UPDATE events SET customer = ?, state = ? WHERE id = ? AND state = 'pending'",
                    (customer, "pending" if customer else "done", event),
                )
            ]
        )

    async def postpone_event(self, event: str, error: str, again: datetime | None) -> None:
        state, stamp = ("parked", 0) if again is None else ("pending", _stamp(again))
        statements = [
            Statement(
                "UPDATE events SET attempts = attempts + 1, error = ?, state = ?, again = ?"
                " WHERE id = ? AND state = 'pending'",
                (error, state, stamp, event),
            )
        ]
        if again is None:
            statements.append(
                Statement(
                    "INSERT INTO alarms (code, subject, raised) SELECT 'event-parked', id, received"
                    " FROM events WHERE id = ? AND state = 'parked' ON CONFLICT DO NOTHING",
                    (event,),
                )
            )
        await self._database.batch(statements)

    async def due_messages(self, now: datetime, most: int) -> Sequence[Message]:
        (rows,) = await self._database.batch(
            [
                Statement(
                    "SELECT key, customer, kind, body FROM outbox"
                    " WHERE sent IS NULL AND again <= ? ORDER BY number LIMIT ?",
                    (_stamp(now), most),
                )
            ]
        )
        return [Message(*row) for row in rows]

    async def mark_sent(self, key: str, now: datetime) -> None:
        await self._database.batch(
            [
                Statement(
                    "UPDATE outbox SET sent = ? WHERE key = ? AND sent IS NULL", (_stamp(now), key)
                )
            ]
        )

    async def postpone_message(self, key: str, error: str, again: datetime) -> None:
        await self._database.batch(
            [
                Statement(
                    "UPDATE outbox SET attempts = attempts + 1, error = ?, again = ? WHERE key = ?",
                    (error, _stamp(again), key),
                )
            ]
        )

    async def raise_alarms(self, alarms: Sequence[Alarm], now: datetime) -> None:
        await self._database.batch(
            [
                Statement(
                    "INSERT INTO alarms (code, subject, raised) VALUES (?, ?, ?)"
                    " ON CONFLICT (code, subject) DO NOTHING",
                    (one.code, one.subject, _stamp(now)),
                )
                for one in alarms
            ]
        )

    async def open_alarms(self) -> Sequence[Alarm]:
        (rows,) = await self._database.batch(
            [
                Statement(
                    "SELECT code, subject FROM alarms WHERE acknowledged IS NULL ORDER BY number"
                )
            ]
        )
        return [Alarm(*row) for row in rows]

    async def oldest_pending(self) -> datetime | None:
        (rows,) = await self._database.batch(
            [Statement("SELECT MIN(received) FROM events WHERE state IN ('pending', 'parked')")]
        )
        return None if rows[0][0] is None else _moment(rows[0][0])


def _stamp(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(stamp: int) -> datetime:
    return _EPOCH + stamp * _MICROSECOND
