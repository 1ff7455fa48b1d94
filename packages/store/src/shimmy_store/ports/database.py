"""A database that runs statements in atomic batches and nothing else.

That is what Cloudflare's D1 offers, so it is all the store asks of SQLite and PostgreSQL too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

Row: TypeAlias = tuple[Any, ...]


class Statement(NamedTuple):
    """SQL with ``?`` for each value; values are text, integers or None."""

    sql: str
    values: tuple[str | int | None, ...] = ()


class Database(Protocol):
    """Raises LedgerError."""

    async def batch(self, statements: Sequence[Statement]) -> Sequence[Sequence[Row]]:
        """Run all or none, in order; what each returned."""
        ...
