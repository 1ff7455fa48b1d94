"""A ledger's database that does nothing while a restore has filled half of it.

Whoever worked on half a ledger would make licences twice and mark as new what was heard before.
"""

from __future__ import annotations

from collections.abc import Sequence

from shimmy_store.errors import LedgerError
from shimmy_store.ports.database import Database, Dialect, Row, Statement

RESTORING = "restoring"
MARKED = Statement("SELECT value FROM settings WHERE name = ?", (RESTORING,))
# The one way to undo a batch that every database of ours knows: a row that is there already.
_GATE = Statement(
    "INSERT INTO migrations (number) SELECT number FROM migrations"
    " WHERE EXISTS (SELECT 1 FROM settings WHERE name = ?)",
    (RESTORING,),
)


class GatedDatabase:
    """See ``ports.database``; also raises ``ledger-half-restored``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def dialect(self) -> Dialect:
        return self._database.dialect

    async def batch(self, statements: Sequence[Statement]) -> Sequence[Sequence[Row]]:
        try:
            return (await self._database.batch([_GATE, *statements]))[1:]
        except LedgerError as error:
            # Asked only where it may be that: a server that is gone would be waited for twice.
            if "migrations" in error.message and (await self._database.batch([MARKED]))[0]:
                raise half_restored() from error
            raise

    async def close(self) -> None:
        await self._database.close()


def half_restored() -> LedgerError:
    """What everybody but a restore is told."""
    return LedgerError(
        "ledger-half-restored",
        "The ledger is being restored, or a restore of it was cut off.",
        hint="If none is running, restore it once more: it begins anew.",
        retryable=True,
    )
