"""The ledger's tables, as steps that only ever go forward.

In SQL that SQLite, D1 and PostgreSQL share, but for ``{number}``: a column that numbers rows by
itself. Times are microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping

from shimmy_store.errors import LedgerError
from shimmy_store.ports.database import Database, Dialect, Statement

_NUMBER: Mapping[Dialect, str] = {
    "sqlite": "INTEGER PRIMARY KEY",
    "postgresql": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
}
_TRIES = 20
_SCRIPT_HEAD = "-- Made by `shimmy-store ledger migrations`. Steps that were taken never change."
_TABLE = "CREATE TABLE IF NOT EXISTS migrations (number BIGINT PRIMARY KEY)"
# Of this batch alone, so that it is good behind a pooler that changes sessions between
# transactions. Whoever comes second waits here, not at a table that is half made.
_ONE_AT_A_TIME: Mapping[Dialect, tuple[Statement, ...]] = {
    "sqlite": (),
    "postgresql": (Statement("SELECT pg_advisory_xact_lock(7236834821)"),),
}

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE events (number {number}, id TEXT NOT NULL UNIQUE,"
        " type TEXT NOT NULL, customer TEXT NOT NULL, payment TEXT NOT NULL,"
        " created BIGINT NOT NULL, received BIGINT NOT NULL, state TEXT NOT NULL,"
        " attempts INTEGER NOT NULL DEFAULT 0, known_to TEXT NOT NULL DEFAULT '',"
        " again BIGINT NOT NULL, error TEXT, body TEXT NOT NULL)",
        "CREATE INDEX events_due ON events (state, again)",
        "CREATE INDEX events_of_customers ON events (customer, state)",
        "CREATE TABLE customers (customer TEXT PRIMARY KEY, origin TEXT, settled BIGINT,"
        " email TEXT NOT NULL DEFAULT '', email_folded TEXT NOT NULL DEFAULT '', plan TEXT,"
        " changes INTEGER NOT NULL DEFAULT 0, merged_into TEXT NOT NULL DEFAULT '',"
        " given_up TEXT NOT NULL DEFAULT '', look_again BIGINT,"
        " lease_token TEXT NOT NULL DEFAULT '', lease_until BIGINT NOT NULL DEFAULT 0)",
        "CREATE INDEX customers_by_email ON customers (email_folded)",
        "CREATE INDEX customers_merged ON customers (merged_into)",
        "CREATE INDEX customers_to_look_at ON customers (look_again)",
        "CREATE TABLE outbox (number {number}, key TEXT NOT NULL UNIQUE,"
        " customer TEXT NOT NULL, kind TEXT NOT NULL, facts TEXT NOT NULL, added BIGINT NOT NULL,"
        " state TEXT NOT NULL DEFAULT 'waiting', sent BIGINT,"
        " attempts INTEGER NOT NULL DEFAULT 0, again BIGINT NOT NULL DEFAULT 0, error TEXT)",
        "CREATE INDEX outbox_due ON outbox (state, again)",
        "CREATE INDEX outbox_of_customers ON outbox (customer, state)",
        "CREATE TABLE alarms (number {number}, code TEXT NOT NULL,"
        " subject TEXT NOT NULL, raised BIGINT NOT NULL, acknowledged BIGINT,"
        " UNIQUE (code, subject))",
        "CREATE TABLE links (id TEXT PRIMARY KEY, kind TEXT NOT NULL, customers TEXT NOT NULL,"
        " browser TEXT NOT NULL, expires BIGINT NOT NULL, used BIGINT,"
        " mailbox TEXT NOT NULL DEFAULT '')",
        "CREATE TABLE tries (name TEXT NOT NULL, period BIGINT NOT NULL,"
        " count INTEGER NOT NULL, PRIMARY KEY (name, period))",
        "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    ),
    (
        # When it was done; and when it first came, where somebody had it tried anew.
        "ALTER TABLE events ADD COLUMN settled BIGINT",
        "ALTER TABLE events ADD COLUMN first_heard BIGINT",
        "ALTER TABLE customers ADD COLUMN erased BIGINT",
        "ALTER TABLE alarms ADD COLUMN customer TEXT NOT NULL DEFAULT ''",
        "UPDATE alarms SET customer = COALESCE("
        "(SELECT customer FROM events WHERE id = subject), '') WHERE code = 'event-parked'",
        "UPDATE alarms SET customer = COALESCE("
        "(SELECT customer FROM outbox WHERE key = subject), '') WHERE code = 'message-parked'",
        "CREATE INDEX events_received ON events (received)",
        "CREATE INDEX events_settled ON events (settled)",
        "CREATE INDEX outbox_sent ON outbox (sent)",
        "CREATE INDEX alarms_of_customers ON alarms (customer)",
    ),
)


async def migrate_ledger(database: Database) -> int:
    """Bring the tables up to date; how many steps that took. Raises LedgerError.

    Each step and the note that it is done are one batch, so that of two programs starting at once
    only one takes it: the other's note is refused, and its batch with it. It looks again then.
    """
    taken, problem = 0, None
    for _ in range(_TRIES):
        try:
            done = await _count(database)
            for number, statements in enumerate(MIGRATIONS[done:], done + 1):
                await _step(database, number, statements)
                taken += 1
        except LedgerError as error:
            problem = error
        else:
            return taken
    raise problem or LedgerError("ledger-unusable", "The ledger's tables could not be made.")


def migration_scripts() -> dict[str, str]:
    """The steps for D1 as ``wrangler d1 migrations apply`` takes them: texts by the file's name.

    Wrangler keeps in a table of its own which it ran. Each file also leaves the store's note, the
    same as ``migrate_ledger`` leaves, and begins with it: a step that was taken the other way is
    refused by wrangler, and nothing of it is done.
    """
    scripts = {}
    for number, statements in enumerate(MIGRATIONS, 1):
        steps = [one.replace("{number}", _NUMBER["sqlite"]) for one in statements]
        note = f"INSERT INTO migrations (number) VALUES ({number})"  # noqa: S608 - a number of ours
        lines = [_SCRIPT_HEAD, *(f"{one};" for one in (_TABLE, note, *steps))]
        scripts[f"{number:04}_ledger.sql"] = "\n".join(lines) + "\n"
    return scripts


async def check_ledger(database: Database) -> None:
    """Raises LedgerError for tables that are older than this program, or not there.

    For hosts on which another program makes them: one question, where ``migrate_ledger`` has two.
    A newer schema is of the version that is being rolled out, and good for this one as well.
    """
    try:
        (rows,) = await database.batch([Statement("SELECT COUNT(*) FROM migrations")])
        done = int(rows[0][0])
    except LedgerError as error:
        if "no such table" not in error.message:
            raise
        done = 0
    if done < len(MIGRATIONS):
        raise LedgerError(
            "ledger-not-migrated",
            f"The ledger's tables are at step {done}, and this version needs {len(MIGRATIONS)}.",
            hint="Apply what is left: wrangler d1 migrations apply DB --env test --remote.",
            retryable=True,
        )


async def claim_ledger(database: Database, mode: str) -> None:
    """Keep the mode of whoever comes first. Raises LedgerError for a ledger of the other mode.

    Customers, licences and mails of test payments have no business among those of live ones.
    """
    _, rows = await database.batch(
        [
            Statement(
                "INSERT INTO settings (name, value) VALUES ('mode', ?)"
                " ON CONFLICT (name) DO NOTHING",
                (mode,),
            ),
            Statement("SELECT value FROM settings WHERE name = 'mode'"),
        ]
    )
    kept = str(rows[0][0])
    if kept != mode:
        raise LedgerError(
            "ledger-of-other-mode",
            f"The ledger belongs to a store in {kept} mode, and this one is in {mode} mode.",
            hint="Give each mode a ledger of its own.",
        )


async def _count(database: Database) -> int:
    await database.batch([*_ONE_AT_A_TIME[database.dialect], Statement(_TABLE)])
    (rows,) = await database.batch([Statement("SELECT COUNT(*) FROM migrations")])
    return int(rows[0][0])


async def _step(database: Database, number: int, statements: tuple[str, ...]) -> None:
    note = Statement("INSERT INTO migrations (number) VALUES (?)", (number,))
    numbered = _NUMBER[database.dialect]
    steps = [Statement(one.replace("{number}", numbered)) for one in statements]
    await database.batch([*_ONE_AT_A_TIME[database.dialect], note, *steps])
