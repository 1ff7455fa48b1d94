"""Erasing one person from the ledger, as one batch.

A worker who holds the customer's lease is left to end: what it writes about the customer then is
dropped by its own statements (``ledger_statements``), and the event that is added here tells to
look once more after it.
"""

# ruff: noqa: S608 - every name put into a statement is a literal of ours

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TypeAlias

from shimmy_store.adapters.ledger_rows import moment, stamp
from shimmy_store.adapters.ledger_traces import Traces
from shimmy_store.ports.database import FORGETS, Row, Statement
from shimmy_store.ports.ledger_desk import Erased

# The table whose rows a statement returns; none for those that do not count.
Step: TypeAlias = tuple[str, Statement]

_COUNTED = ("customers", "events", "outbox", "links", "alarms")
_WHOSE = "customer IN (SELECT customer FROM customers WHERE customer = ? OR merged_into = ?)"


def erase_rows(customer: str, traces: Traces, now: datetime) -> list[Step]:
    """The last one returns when the customer was erased for the first time.

    Who is merged into the customer is asked again by the statements themselves: a merge may have
    come in between.
    """
    at, whose = stamp(now), (customer, customer)
    return [
        # Only events may tell of them so far.
        (
            "",
            Statement(
                "INSERT INTO customers (customer) VALUES (?) ON CONFLICT (customer) DO NOTHING",
                (customer,),
            ),
        ),
        ("", _look_again(customer, at)),
        *_of_group(whose),
        *_loose(traces),
        (
            "customers",
            Statement(
                f"{FORGETS}UPDATE customers SET email = '', email_folded = '', plan = NULL,"
                " changes = 0, given_up = '', look_again = NULL, erased = COALESCE(erased, ?)"
                f" WHERE {_WHOSE} AND (erased IS NULL OR email <> '') RETURNING customer",
                (at, *whose),
            ),
        ),
        ("", Statement("SELECT erased FROM customers WHERE customer = ?", (customer,))),
    ]


def _look_again(customer: str, at: int) -> Statement:
    return Statement(
        "INSERT INTO events (id, type, customer, payment, created, received, state, again, body)"
        " SELECT 'erase ' || customer, 'customers.erased', customer, '', CAST(? AS BIGINT),"
        " CAST(? AS BIGINT), 'pending', CAST(? AS BIGINT), '' FROM customers"
        " WHERE (customer = ? OR merged_into = ?) AND erased IS NULL ON CONFLICT (id) DO NOTHING",
        (at, at, at, customer, customer),
    )


def _of_group(whose: tuple[str, str]) -> Iterator[Step]:
    yield (
        "events",
        Statement(f"UPDATE events SET body = '' WHERE {_WHOSE} AND body <> '' RETURNING id", whose),
    )
    # Its message goes with it; events are looked at again without anybody's asking.
    yield (
        "alarms",
        Statement(
            f"DELETE FROM alarms WHERE {_WHOSE} AND code = 'message-parked' RETURNING number", whose
        ),
    )
    yield "outbox", Statement(f"DELETE FROM outbox WHERE {_WHOSE} RETURNING key", whose)


def _loose(traces: Traces) -> Iterator[Step]:
    for name in traces.events:
        sql = "UPDATE events SET body = '' WHERE id = ? AND body <> '' RETURNING id"
        yield "events", Statement(sql, (name,))
    for key in traces.messages:
        yield "outbox", Statement("DELETE FROM outbox WHERE key = ? RETURNING key", (key,))
    named = "' ' || customers || ' '"
    for name in traces.names:
        sql = f"DELETE FROM links WHERE replace({named}, ?, '') <> {named} RETURNING id"
        yield "links", Statement(sql, (f" {name} ",))


def read_erased(steps: Sequence[Step], answers: Sequence[Sequence[Row]]) -> Erased:
    """From the answers to ``erase_rows``."""
    counts = dict.fromkeys(_COUNTED, 0)
    for (table, _), rows in zip(steps, answers, strict=True):
        if table:
            counts[table] += len(rows)
    return Erased(moment(answers[-1][0][0]), counts)
