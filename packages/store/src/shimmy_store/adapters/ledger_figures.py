"""The ledger's figures over a window: the questions, all asked at one moment, and the answers."""

# ruff: noqa: S608 - every name put into a statement is a literal of ours

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from shimmy_store.adapters.ledger_rows import maybe, moment, stamp
from shimmy_store.ports.database import Row, Statement
from shimmy_store.ports.ledger_desk import (
    CustomerCounts,
    EventCounts,
    KnownAlarm,
    LedgerFigures,
    MailCounts,
)

_MICROSECONDS = 1_000_000
# What the store tells itself (wake, merge, erase) is named "customers.…"; Stripe has no such type.
_HEARD = "received >= ? AND substr(type, 1, 10) <> 'customers.'"
_FIRST_HEARD = "COALESCE(first_heard, received)"
_LIVE = "erased IS NULL AND merged_into = ''"


def ask_figures(since: datetime) -> list[Statement]:
    """One batch."""
    start = (stamp(since),)
    return [
        Statement("SELECT COUNT(*) FROM migrations"),
        Statement("SELECT state, COUNT(*) FROM events GROUP BY state"),
        Statement(f"SELECT type, COUNT(*) FROM events WHERE {_HEARD} GROUP BY type", start),
        Statement(f"SELECT {_FIRST_HEARD} - created FROM events WHERE {_HEARD}", start),
        Statement("SELECT settled - received FROM events WHERE settled >= ?", start),
        Statement("SELECT MIN(received) FROM events WHERE state = 'pending'"),
        Statement(
            "SELECT state, COUNT(*), MIN(added) FROM outbox WHERE state <> 'sent' GROUP BY state"
        ),
        Statement("SELECT sent - added FROM outbox WHERE sent >= ?", start),
        Statement("SELECT COUNT(*) FROM customers WHERE erased IS NULL"),
        Statement(f"SELECT COUNT(*) FROM customers WHERE {_LIVE} AND origin IS NOT NULL"),
        Statement("SELECT COUNT(*) FROM customers WHERE erased IS NULL AND merged_into <> ''"),
        Statement(
            f"SELECT plan, COUNT(*) FROM customers WHERE {_LIVE} AND plan IS NOT NULL GROUP BY plan"
        ),
        Statement(
            "SELECT code, subject, raised FROM alarms WHERE acknowledged IS NULL"
            " ORDER BY raised, number"
        ),
    ]


def read_figures(answers: Sequence[Sequence[Row]]) -> LedgerFigures:
    """From the answers to ``ask_figures``."""
    schema, *answers = answers
    events, mail, customers, alarms = answers[:5], answers[5:7], answers[7:11], answers[11]
    return LedgerFigures(
        int(schema[0][0]),
        _events(events),
        _mail(mail),
        _customers(customers),
        [KnownAlarm(code, subject, moment(raised)) for code, subject, raised in alarms],
    )


def _events(answers: Sequence[Sequence[Row]]) -> EventCounts:
    states, types, delivery, settling, oldest = answers
    return EventCounts(
        _counts(states),
        _counts(types),
        _seconds(delivery),
        _seconds(settling),
        maybe(oldest[0][0]),
    )


def _mail(answers: Sequence[Sequence[Row]]) -> MailCounts:
    left = {state: (int(count), added) for state, count, added in answers[0]}
    waiting, oldest = left.get("waiting", (0, None))
    return MailCounts(
        waiting, left.get("parked", (0, None))[0], _seconds(answers[1]), maybe(oldest)
    )


def _customers(answers: Sequence[Sequence[Row]]) -> CustomerCounts:
    count, with_licence, merged = (int(rows[0][0]) for rows in answers[:3])
    return CustomerCounts(count, with_licence, merged, _counts(answers[3]))


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    return {str(name): int(count) for name, count in sorted(rows)}


def _seconds(rows: Sequence[Row]) -> list[float]:
    return [int(row[0]) / _MICROSECONDS for row in rows]
