"""The whole ledger at one moment, as lines that prove themselves whole."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from shimmy_store.domain.ledger_dump import write_dump
from shimmy_store.ports.ledger_desk import LedgerCopies


async def dump_ledger(copies: LedgerCopies, mode: str, now: datetime) -> Iterator[bytes]:
    """Everything is read before the first line is there. Raises LedgerError."""
    copy = await copies.read()
    made = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return write_dump(mode, made, copy.schema, copy.tables)
