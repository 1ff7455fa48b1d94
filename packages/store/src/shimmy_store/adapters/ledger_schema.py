"""The ledger's tables, as steps that only ever go forward.

In the SQL that SQLite and D1 share. Times are microseconds since 1970.
"""

from __future__ import annotations

from shimmy_store.ports.database import Database, Statement

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE events (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
        " type TEXT NOT NULL, customer TEXT NOT NULL, payment TEXT NOT NULL,"
        " created BIGINT NOT NULL, received BIGINT NOT NULL, state TEXT NOT NULL,"
        " attempts INTEGER NOT NULL DEFAULT 0,"
        " again BIGINT NOT NULL, error TEXT, body TEXT NOT NULL)",
        "CREATE INDEX events_due ON events (state, again)",
        "CREATE INDEX events_of_customers ON events (customer, state, number)",
        "CREATE TABLE customers (customer TEXT PRIMARY KEY, origin TEXT, settled BIGINT,"
        " lease_owner TEXT NOT NULL DEFAULT '', lease_until BIGINT NOT NULL DEFAULT 0)",
        "CREATE TABLE outbox (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,"
        " customer TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, sent BIGINT,"
        " attempts INTEGER NOT NULL DEFAULT 0, again BIGINT NOT NULL DEFAULT 0, error TEXT)",
        "CREATE TABLE alarms (number INTEGER PRIMARY KEY, code TEXT NOT NULL,"
        " subject TEXT NOT NULL, raised BIGINT NOT NULL, acknowledged BIGINT,"
        " UNIQUE (code, subject))",
    ),
)


async def migrate_ledger(database: Database) -> int:
    """Bring the tables up to date; how many steps that took.

    Each step and the note that it is done are one batch, so that two programs starting at once
    cannot both take it: the second one's note is refused, and its batch with it.
    """
    await database.batch(
        [Statement("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY)")]
    )
    (rows,) = await database.batch([Statement("SELECT COUNT(*) FROM migrations")])
    done = int(rows[0][0])
    for number, statements in enumerate(MIGRATIONS[done:], done + 1):
        await database.batch(
            [
                Statement("INSERT INTO migrations (number) VALUES (?)", (number,)),
                *(Statement(one) for one in statements),
            ]
        )
    return len(MIGRATIONS) - done
