"""A database that runs statements in atomic batches and nothing else.

That is what Cloudflare's D1 offers, so it is all the store asks of SQLite and PostgreSQL too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

Row: TypeAlias = tuple[Any, ...]
Dialect: TypeAlias = Literal["sqlite", "postgresql"]


# Begins a statement after which no journal may hold what it took away; a comment to SQL.
FORGETS = "/* forgets */ "


class Statement(NamedTuple):
    """SQL with ``?`` for each value; values are text, integers or None."""

    sql: str
    values: tuple[str | int | None, ...] = ()


class Database(Protocol):
    """Raises LedgerError."""

    @property
    def dialect(self) -> Dialect:
        """Which SQL it understands, where that differs."""
        ...

    async def batch(self, statements: Sequence[Statement]) -> Sequence[Sequence[Row]]:
        """Run all or none, in order; what each returned."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go."""
        ...
