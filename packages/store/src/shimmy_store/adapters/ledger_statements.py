"""The ledger's batches: what has to happen together, and only if a lease or a link still holds."""

# ruff: noqa: S608 - every name put into a statement is a literal of ours

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from shimmy_store.adapters.ledger_rows import joined, maybe_stamp, stamp
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.notices import Notice
from shimmy_store.domain.retry import LONGEST, SOON_ATTEMPTS
from shimmy_store.ports.database import Statement
from shimmy_store.ports.ledger import RECURRING, CustomerRecord, Lease

# What somebody decided who did not know yet that the customer is erased.
ERASED = "EXISTS (SELECT 1 FROM customers WHERE customer = ? AND erased IS NOT NULL)"
OURS = "EXISTS (SELECT 1 FROM customers WHERE customer = ? AND lease_token = ?)"
FREE = "lease_token = '', lease_until = 0"
# An alarm that may come again does so a day after somebody has looked: not while they mend it.
_QUIET = timedelta(days=1)
# More than the longest of the first waits, and more than a mail takes.
_APART = timedelta(minutes=2)
# Far more than any lease lasts.
_LEASED = timedelta(minutes=12)


def settle(
    lease: Lease, record: CustomerRecord, notices: Sequence[Notice], now: datetime
) -> list[Statement]:
    """Everything about one customer; the last one returns a row if the lease was ours."""
    ours = (record.customer, lease.token)
    return [
        _look_if_lost(lease, now),
        *(_tell(one, ours, now) for one in notices),
        *_send_again(record, ours, now),
        *(_wipe(record.customer) if record.erased is not None else ()),
        Statement(
            "UPDATE events SET state = 'done', error = NULL, settled = ? WHERE customer = ?"
            f" AND known_to = ? AND state IN ('pending', 'parked') AND {OURS}",
            (stamp(now), *ours, *ours),
        ),
        # Last: it gives the lease back, on which the others depend.
        Statement(
            f"UPDATE customers SET origin = ?, email = {_kept('?')}, email_folded = {_kept('?')},"
            f" plan = {_kept('?', 'NULL')}, changes = {_kept('?', '0')}, settled = ?,"
            f" look_again = {_kept('CAST(? AS BIGINT)', 'NULL')}, {FREE}"
            " WHERE customer = ? AND lease_token = ? RETURNING customer",
            (
                record.origin,
                record.email,
                record.email.casefold(),
                record.plan,
                record.changes,
                stamp(now),
                maybe_stamp(record.look_again),
                *ours,
            ),
        ),
    ]


def _wipe(customer: str) -> tuple[Statement, ...]:
    """What was being written at the moment of the erasing, by somebody who could not see it yet."""
    named = "' ' || customers || ' '"
    return (
        Statement("UPDATE events SET body = '' WHERE customer = ? AND body <> ''", (customer,)),
        Statement(
            f"DELETE FROM links WHERE replace({named}, ?, '') <> {named}", (f" {customer} ",)
        ),
    )


def _kept(value: str, otherwise: str = "''") -> str:
    return f"CASE WHEN erased IS NULL THEN {value} ELSE {otherwise} END"


def _tell(notice: Notice, ours: tuple[str, str], now: datetime) -> Statement:
    return Statement(
        "INSERT INTO outbox (key, customer, kind, facts, added) SELECT ?, ?, ?, ?,"
        f" CAST(? AS BIGINT) WHERE {OURS} AND NOT {ERASED} ON CONFLICT (key) DO NOTHING",
        (notice.key, ours[0], notice.kind, notice.written(), stamp(now), *ours, ours[0]),
    )


def _send_again(
    record: CustomerRecord, ours: tuple[str, str], now: datetime
) -> tuple[Statement, ...]:
    """Messages given up, if the address is another one; not those that are told just now."""
    if not record.email:
        return ()
    moved = "EXISTS (SELECT 1 FROM customers WHERE customer = ? AND lease_token = ? AND email <> ?)"
    given_up = f"customer = ? AND state = 'parked' AND {moved}"
    values = (record.customer, *ours, record.email)
    return (
        Statement(
            "DELETE FROM alarms WHERE code = 'message-parked'"
            f" AND subject IN (SELECT key FROM outbox WHERE {given_up})",
            values,
        ),
        Statement(
            "UPDATE outbox SET state = 'waiting', attempts = 0, again = 0, added = ?, error = NULL"
            f" WHERE {given_up}",
            (stamp(now), *values),
        ),
    )


def release(lease: Lease, now: datetime) -> list[Statement]:
    """Nothing was settled; whoever lost the lease may have written after the one who got it."""
    return [
        _look_if_lost(lease, now),
        Statement(
            f"UPDATE customers SET {FREE} WHERE customer = ? AND lease_token = ?",
            (lease.record.customer, lease.token),
        ),
    ]


def _look_if_lost(lease: Lease, now: datetime) -> Statement:
    """Unknown to every lease so far, so that only a look that begins now settles it."""
    customer, name = lease.record.customer, f"overtaken {lease.token.rpartition(' ')[2]}"
    told = (name, "customers.overtaken", customer)
    return _event_of_ours(told, now, f"NOT {OURS}", (customer, lease.token))


def _event_of_ours(
    told: tuple[str, str, str], now: datetime, condition: str, values: tuple[str | int, ...]
) -> Statement:
    """To look at a customer now: id, type and customer, under a condition."""
    at = stamp(now)
    return Statement(
        "INSERT INTO events (id, type, customer, payment, created, received, state, again, body)"
        " SELECT ?, ?, ?, '', CAST(? AS BIGINT), CAST(? AS BIGINT), 'pending',"
        f" CAST(? AS BIGINT), '' WHERE {condition} ON CONFLICT (id) DO NOTHING",
        (*told, at, at, at, *values),
    )


def wake(now: datetime) -> list[Statement]:
    """The note on the customer becomes an event, so that it is tried again like any other."""
    return [
        *_set_back(now),
        Statement(
            "INSERT INTO events (id, type, customer, payment, created, received, state, again,"
            " body) SELECT 'look ' || customer || ' ' || CAST(look_again AS TEXT),"
            " 'customers.time', customer, '', look_again, look_again, 'pending', look_again, ''"
            " FROM customers WHERE look_again <= ?"
            # Done before by somebody whose clock is ahead: looked at once more.
            " ON CONFLICT (id) DO UPDATE SET state = 'pending', again = excluded.again,"
            " attempts = 0, known_to = '', error = NULL, settled = NULL",
            (stamp(now),),
        ),
        Statement("UPDATE customers SET look_again = NULL WHERE look_again <= ?", (stamp(now),)),
    ]


def _set_back(now: datetime) -> list[Statement]:
    """What waits for longer than anybody may was noted while a clock was ahead: now instead.

    Clocks of several machines may differ by ``_APART``; leases are left alone for longer.
    """
    soon, late = stamp(now + _APART), stamp(now + _APART + LONGEST)
    waits = f"again > ? AND (attempts <= {SOON_ATTEMPTS} OR again > ?)"
    return [
        Statement(
            f"UPDATE events SET again = ? WHERE state = 'pending' AND {waits}",
            (stamp(now), soon, late),
        ),
        Statement(
            f"UPDATE outbox SET again = ? WHERE state = 'waiting' AND {waits}",
            (stamp(now), soon, late),
        ),
        Statement(
            f"UPDATE customers SET {FREE} WHERE lease_until > ? AND customer IN"
            " (SELECT customer FROM events WHERE state = 'pending' AND again <= ?)",
            (stamp(now + _LEASED), stamp(now)),
        ),
    ]


def merge(
    keeper: Lease, loser: Lease, given_up: Sequence[str], link: str, now: datetime
) -> list[Statement]:
    """The last but one returns a row if both leases were ours and the link was good.

    What the first statements ask for is used up by the last ones: they turn both leases into one of
    this merge's own, and only with that is the link used.
    """
    kept, lost = keeper.record.customer, loser.record.customer
    merging = f"merge {uuid.uuid4()}"
    good = "EXISTS (SELECT 1 FROM links WHERE id = ? AND used IS NULL AND expires > ?)"
    if_ours = f"{OURS} AND {OURS} AND {good}"
    condition = (kept, keeper.token, lost, loser.token, link, stamp(now))
    return [
        _event_of_ours((f"merge {link}", "customers.merged", kept), now, if_ours, condition),
        Statement(
            f"UPDATE customers SET merged_into = ? WHERE merged_into = ? AND {if_ours}",
            (kept, lost, *condition),
        ),
        Statement(
            f"UPDATE customers SET merged_into = ?, given_up = ? WHERE customer = ? AND {if_ours}",
            (kept, joined(given_up), lost, *condition),
        ),
        Statement(
            f"UPDATE customers SET lease_token = ? WHERE customer IN (?, ?) AND {if_ours}",
            (merging, kept, lost, *condition),
        ),
        Statement(
            "UPDATE links SET used = ? WHERE id = ? AND used IS NULL"
            f" AND {OURS} AND {OURS} RETURNING id",
            (stamp(now), link, kept, merging, lost, merging),
        ),
        Statement(
            f"UPDATE customers SET {FREE} WHERE customer IN (?, ?) AND lease_token = ?",
            (kept, lost, merging),
        ),
    ]


def postpone_event(event: str, error: str, again: datetime | None) -> list[Statement]:
    """Again at that time, or never and an alarm."""
    return _postpone(("events", "id", "pending", "event-parked", "received"), event, error, again)


def postpone_message(key: str, error: str, again: datetime | None) -> list[Statement]:
    """Again at that time, or never and an alarm."""
    return _postpone(("outbox", "key", "waiting", "message-parked", "added"), key, error, again)


def _postpone(
    names: tuple[str, str, str, str, str], name: str, error: str, again: datetime | None
) -> list[Statement]:
    table, column, waiting, alarm, since = names
    state, due = ("parked", 0) if again is None else (waiting, stamp(again))
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
                f"INSERT INTO alarms (code, subject, raised, customer) SELECT ?, {column}, {since},"
                f" customer FROM {table} WHERE {column} = ? AND state = 'parked'"
                " ON CONFLICT (code, subject) DO NOTHING",
                (alarm, name),
            )
        )
    return statements


def retry(name: str | None, now: datetime) -> list[Statement]:
    """The second and the fourth return what waits again."""
    # What the figures say of an event's delivery stays true.
    heard = "first_heard = COALESCE(first_heard, received), received"
    tables = (
        ("events", "id", "pending", "event-parked", heard),
        ("outbox", "key", "waiting", "message-parked", "added"),
    )
    statements = []
    for table, column, waiting, alarm, since in tables:
        which = "state = 'parked'" + ("" if name is None else f" AND {column} = ?")
        named = () if name is None else (name,)
        statements += [
            # Acknowledged or not, it would keep the next one from being raised.
            Statement(
                f"DELETE FROM alarms WHERE code = '{alarm}'"
                f" AND subject IN (SELECT {column} FROM {table} WHERE {which})",
                named,
            ),
            Statement(
                f"UPDATE {table} SET state = '{waiting}', attempts = 0, error = NULL, again = ?,"
                f" {since} = ? WHERE {which} RETURNING {column}",
                (stamp(now), stamp(now), *named),
            ),
        ]
    return statements


def alarm(one: Alarm, now: datetime, customer: str) -> Statement:
    """Raised once, or again where it may come again and somebody looked long ago."""
    again: tuple[int, ...] = ()
    conflict = "DO NOTHING"
    if one.code in RECURRING:
        conflict = (
            "DO UPDATE SET raised = excluded.raised, acknowledged = NULL,"
            " customer = excluded.customer"
            " WHERE alarms.acknowledged <= ?"
        )
        again = (stamp(now - _QUIET),)
    return Statement(
        "INSERT INTO alarms (code, subject, raised, customer) VALUES (?, ?, ?, ?)"
        f" ON CONFLICT (code, subject) {conflict}",
        (one.code, one.subject, stamp(now), customer, *again),
    )
